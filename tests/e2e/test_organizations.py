"""Organizations all the way: from two sources' deliveries to Vitally, commands, console."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from urllib3.util import make_headers

from bridge.store import keys
from tests.support.command import called
from tests.support.local_hubspot import PUBLIC, Sender, changed, company
from tests.support.local_hubspot import SECRET as HUBSPOT_SECRET
from tests.support.stack import Stack
from tests.support.stripe import Shop, Stripe
from tests.support.waiting import eventually

USER = "admin:example-password"

TABLE = """
[sources.stripe]
organization = ["customer.metadata.org_id"]

[sources.hubspot]
organization = ["hs_parent_company_id", "id"]
heads = "organization"
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder: Path = tmp_path_factory.mktemp("organizations")
    (folder / "bridge.toml").write_text(TABLE)
    with Stack(
        folder,
        BRIDGE_CONFIG=folder / "bridge.toml",
        STRIPE_ACCOUNT_ID_KEY="account",
        HUBSPOT_CLIENT_SECRET=HUBSPOT_SECRET,
        BRIDGE_PUBLIC_URL=PUBLIC,
        CONSOLE_PASSWORD="example-password",
    ) as stack:
        stack.web()
        stack.worker()
        yield stack.ready()


def test_two_sources_make_one_organization_through_a_worker_s_death(
    stack: Stack,
) -> None:
    stripe, hubspot = Stripe([stack.webs[0].url]), Sender(stack.webs[0].url)
    hubspot.post(company("creation", 77), changed(77, "name", "The Group", at=1))
    shops = {name: Shop() for name in ("acme", "birch")}
    for name, shop in shops.items():
        stripe.deliver(shop.signs_up(account=name))
        metadata = {"account": name, "org_id": "77"}
        stripe.deliver(shop.is_changed(metadata=metadata))
        stripe.deliver(shop.begins())
    read = partial(stack.vitally.account, "organization:77")
    of = partial(_traits, stack)
    eventually(
        lambda: of("organization:77").get("mrr") == 2 * of("acme").get("mrr", -1)
    )
    organization: Any = eventually(
        lambda: (o := read()) and o["accountsCount"] == 2 and o
    )
    assert "The Group" == organization["name"]

    shops["acme"].last += 60
    stripe.deliver(shops["acme"].changes(quantity=3))
    eventually(lambda: of("acme")["mrr"] == 3 * of("birch")["mrr"])
    stack.workers[0].signal(signal.SIGKILL)
    stack.worker()
    eventually(lambda: of("organization:77")["mrr"] == 4 * of("birch")["mrr"])

    stripe.close()
    _is_seen_by_people(stack)
    # A version that knows no organizations has taken this one for a customer.
    stack.workers[1].signal(signal.SIGKILL)
    stack.redis.delete(keys.party("organization:77"))
    stack.redis.hset(keys.account("organization:77"), "doubt", 2)
    writes = _writes(stack)
    stack.worker()
    eventually(lambda: _writes(stack) > writes)


def _is_seen_by_people(stack: Stack) -> None:
    """Commands and the console say of the organization what Vitally has."""
    of = partial(_traits, stack)
    run = partial(called, environ={**os.environ, **_texts(stack)})
    told = run("why", "organization:77", "--json").json
    assert of("organization:77")["mrr"] == told["traits"]["mrr"]["wanted"]
    assert "organization:77" in run("why", "organization:77").out
    found = {
        one["account"] for one in run("accounts", "find", "The Group", "--json").json
    }
    assert {"organization:77"} == found
    eventually(lambda: not run("plan", "--json").json["totals"]["writes"])
    assert ([], []) == tuple(
        run("reconcile", "--json").json[k] for k in ("drift", "missing")
    )
    ask = partial(stack.webs[0].ask, "GET", headers=make_headers(basic_auth=USER))
    shown = orjson.loads(ask("/console/accounts/organization:77.json").data)
    assert told["traits"]["mrr"]["wanted"] == shown["traits"]["mrr"]["wanted"]
    listed = orjson.loads(ask("/console/accounts.json?q=The+Group").data)
    assert ["organization:77"] == [one["account"] for one in listed["accounts"]]
    sums = orjson.loads(ask("/console/.json").data)["mrr"]
    assert sum(of(name)["mrr"] for name in ("acme", "birch")) == sums["USD"][1]


def _writes(stack: Stack) -> int:
    return sum(w["account"] == "organization:77" for w in stack.vitally.writes())


def _texts(stack: Stack) -> dict[str, str]:
    return {name: str(value) for name, value in stack.environ.items()}


def _traits(stack: Stack, account: str) -> dict[str, Any]:
    there = stack.vitally.account(account)
    return there["traits"] if there else {}
