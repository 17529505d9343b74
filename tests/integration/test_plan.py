"""What a plan says, and what is written by it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import orjson
import pytest
from redis import Redis
from redis.exceptions import NoPermissionError

from bridge import plan as plans
from bridge.desired import rules
from bridge.sources import load
from bridge.store import keys
from bridge.store.connect import milliseconds
from bridge.store.samples import mark_changes
from bridge.store.shadow import Seen, Shadow
from tests.support.command import Run
from tests.support.desk import Bench, customer, link, subscription
from tests.support.processes import ROOT
from tests.support.server import RedisServer

RENAMED = '[traits]\nmrr = "billing.mrr"\n'


def planned(run: Run, *words: str, **environ: object) -> Any:
    return run("plan", *words, "--json", **environ).json


@pytest.fixture(autouse=True)
def _same_rules(desk: Bench, environ: dict[str, str]) -> None:
    """Commands and jobs have one `bridge.toml`."""
    desk.set(config=load(environ)[1])


@pytest.fixture
def file(desk: Bench, run: Run, tmp_path: Path) -> str:
    """A plan that makes one account."""
    path = str(tmp_path / "plan.json")
    desk.tell(customer(), subscription())
    run("plan", "--out", path)
    return path


@pytest.fixture
def renamed(tmp_path: Path) -> str:
    """The path of a `bridge.toml` with another key."""
    path = tmp_path / "bridge.toml"
    path.write_text(RENAMED)
    return str(path)


# --- What it says ---------------------------------------------------------------------


def test_a_plan_has_each_change_and_what_all_cost(desk: Bench, run: Run) -> None:
    desk.tell(customer(), subscription())

    assert {
        "accounts": [
            {
                "account": "acme",
                "create": True,
                "changes": {
                    "mrr": [None, 450],
                    "nextRenewalDate": [None, "2026-01-31T00:00:00.000Z"],
                    "subscriptionStatus": [None, "active"],
                    "planName": [None, "Pro"],
                    "billingCurrency": [None, "USD"],
                },
                "name": [None, "Acme"],
                "state": ANY,
            }
        ],
        "totals": {
            "accounts": 1,
            "created": 1,
            "writes": 1,
            "units": 20,  # no reading is known: an update is tried first
            "minutes": 0,
            "mrr": {"USD": [0.0, 450.0]},
            "subscribed": 1,
            "unsubscribed": 0,
        },
    } == planned(run)
    assert "mrr in all, USD: 0.00 -> 450.00" in run("plan").out
    assert [] == desk.vitally.log()


def test_the_sums_have_the_decimals_of_their_currency(desk: Bench, run: Run) -> None:
    desk.tell(customer(), subscription(unit=83, currency="jpy"))

    assert "mrr in all, JPY: 0 -> 83" == run("plan").line("mrr in all")


def test_the_sums_are_those_of_all_accounts(acme: Bench, run: Run) -> None:
    for name, status in (("cus_2", "active"), ("cus_3", "active")):
        acme.tell(customer(name, account=name), subscription(name, status=status))
    acme.settles()
    acme.tell(subscription("cus_2", at=5, unit=1000, currency="eur"))
    acme.tell(subscription("cus_3", at=5, status="canceled"))
    totals = planned(run)["totals"]

    assert {"EUR": [0, 10], "USD": [1350, 450]} == totals["mrr"]
    assert (2, 0, 1) == tuple(
        totals[name] for name in ("writes", "subscribed", "unsubscribed")
    )


def test_a_new_name_is_part_of_a_plan(acme: Bench, run: Run) -> None:
    acme.tell(customer(at=5, kind="updated", called="Acme Inc"))
    (row,) = planned(run)["accounts"]

    assert (["Acme", "Acme Inc"], {}) == (row["name"], row["changes"])


def test_a_deleted_account_has_no_name_in_vitally(acme: Bench, run: Run) -> None:
    shadow = Shadow(acme.redis)
    ((ledger, _),) = shadow.ledgers(["acme"])
    shadow.note(shadow.now(), [Seen("acme", ledger, {}, missing=True, drifted=True)])
    (row,) = planned(run)["accounts"]

    assert ([None, "Acme"], True) == (row["name"], row["create"])


@pytest.mark.parametrize("name", ["acme", "stripe:cus_1"])
def test_one_account_is_planned_by_any_of_its_names(
    acme: Bench, run: Run, name: str
) -> None:
    acme.tell(
        subscription(at=5, unit=1000),
        customer("cus_2", account="two"),
    )

    assert ["acme"] == [one["account"] for one in planned(run, name)["accounts"]]


def test_a_row_that_is_damaged_ends_a_plan_with_a_sentence(
    desk: Bench, run: Run
) -> None:
    desk.tell(customer())
    desk.redis.hset(keys.facts("stripe:cus_1"), "subscription:x\tevt", b"[0, 1, 2]")

    said = run("plan", status=1).err
    assert "stripe:cus_1 cannot be worked out: ValueError at codec.py" in said


def test_who_is_not_known_cannot_be_planned(desk: Bench, run: Run) -> None:
    desk.tell(customer(account=None))

    assert "acme-9: no such account" in run("plan", "acme-9", status=1).err
    assert "stripe:cus_1 is held" in run("plan", "stripe:cus_1", status=1).err


def test_an_account_that_must_not_be_created_is_not_planned(
    desk: Bench, run: Run
) -> None:
    run("reconcile")
    desk.tell(customer(), subscription())

    assert [] == planned(run, BRIDGE_CREATE="never")["accounts"]
    assert 1 == len(planned(run)["accounts"])


# --- What has changed is found --------------------------------------------------------


def moved_away(desk: Bench) -> None:
    desk.tell(link("cus_1", "other", at=5))


def parked_and_discarded(desk: Bench) -> None:
    desk.fault("status", status=422)
    desk.does(subscription(at=5, unit=100))
    desk.redis.zrem(keys.DIRTY, "stripe:cus_1")


HAPPENINGS: dict[str, tuple[Callable[[Bench], object], dict[str, Any]]] = {
    "a new event": (
        lambda desk: desk.tell(subscription(at=5, unit=100)),
        {"acme": {"mrr": [450, 1]}},
    ),
    "a party that goes": (
        moved_away,
        {"acme": {"mrr": [450, None]}, "other": {"mrr": [None, 450]}},
    ),
    "a party that comes": (
        lambda desk: desk.tell(customer("cus_2"), subscription("cus_2", "sub_2")),
        {"acme": {"mrr": [450, 900]}},
    ),
    "a refusal": (parked_and_discarded, {"acme": {"mrr": [450, 1]}}),
    "an unconfirmed write": (
        lambda desk: desk.redis.hset(keys.account("acme"), "doubt", 2),
        {"acme": {"mrr": [450, 450]}},
    ),
    "another write": (
        lambda desk: desk.redis.hset(
            keys.account("acme"), "seen", '[{"mrr": 7}, 1, false]'
        ),
        {"acme": {"mrr": [7, 450]}},
    ),
    "a deletion": (
        lambda desk: desk.redis.hset(keys.account("acme"), "seen", "[{}, 1, true]"),
        {"acme": {"mrr": [None, 450]}},
    ),
}


@pytest.mark.parametrize("cores", [1, 2])
@pytest.mark.parametrize("what", HAPPENINGS)
def test_what_has_changed_since_an_account_was_at_rest_is_found(
    acme: Bench, run: Run, what: str, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [] == planned(run)["accounts"]
    if cores > 1:
        monkeypatch.setattr(plans, "MANY", 1)
    happens, expected = HAPPENINGS[what]
    happens(acme)

    assert expected == {
        one["account"]: {"mrr": one["changes"]["mrr"]}
        for one in planned(run)["accounts"]
    }


def test_what_was_given_up_is_planned_again(acme: Bench, run: Run) -> None:
    acme.fault("status", status=422)
    acme.does(subscription(at=5, unit=100))
    run("discard", "stripe:cus_1", "--yes")

    assert 1 == len(planned(run)["accounts"])


def test_an_account_at_rest_is_not_computed_again(
    acme: Bench, run: Run, renamed: str
) -> None:
    acme.redis.delete(keys.facts("stripe:cus_1"))

    assert {"accounts": [], "mrr": {"USD": [450, 450]}} == {
        "accounts": (found := planned(run))["accounts"],
        "mrr": found["totals"]["mrr"],
    }
    assert 1 == len(planned(run, BRIDGE_CONFIG=renamed)["accounts"])


# --- New rules ------------------------------------------------------------------------


def test_new_rules_write_nothing_before_they_are_applied(
    acme: Bench, run: Run, environ: dict[str, str], renamed: str, tmp_path: Path
) -> None:
    file, sent = str(tmp_path / "plan.json"), len(acme.writes())
    found = planned(run, "--out", file, BRIDGE_CONFIG=renamed)

    assert {"billing.mrr": [None, 450]} == found["accounts"][0]["changes"]
    assert {"USD": [450, 450]} == found["totals"]["mrr"]
    assert 0 == found["totals"]["subscribed"]
    acme.set(config=load({**environ, "BRIDGE_CONFIG": renamed})[1])
    acme.passes(600_000)
    acme.work()
    assert [] == acme.writes()[sent:]

    run("apply", file, "--no-wait", BRIDGE_CONFIG=renamed)
    acme.passes(100)
    acme.work()

    assert {"mrr": 450, "billing.mrr": 450}.items() <= acme.traits().items()
    assert [] == planned(run, BRIDGE_CONFIG=renamed)["accounts"]


def test_an_account_is_written_by_new_rules_when_one_of_its_dates_is_reached(
    desk: Bench, environ: dict[str, str], renamed: str
) -> None:
    until = milliseconds(desk.redis) + 3_600_000
    item = {"price": "price_1", "unit": "45000", "interval": "month", "until": until}
    desk.rests(customer(), subscription(items=[item]))
    desk.set(config=load({**environ, "BRIDGE_CONFIG": renamed})[1])
    desk.passes(1_800_000)

    assert [] == desk.work()
    desk.passes(1_800_000)
    assert ["updated"] == desk.work()
    assert 450 == desk.traits()["billing.mrr"]


# --- Writing it -----------------------------------------------------------------------


def test_a_plan_is_applied_as_it_is(desk: Bench, run: Run, file: str) -> None:
    run("apply", file, "--no-wait")
    desk.work()

    assert 450 == desk.traits()["mrr"]


@pytest.mark.parametrize("what", ["facts", "rules", "drift"])
def test_a_plan_from_which_something_has_moved_is_refused(
    desk: Bench, run: Run, file: str, renamed: str, what: str
) -> None:
    if what == "facts":
        desk.tell(subscription(at=5, unit=1))
    if what == "drift":
        desk.exists("acme", "Acme", mrr=3)
        run("reconcile")
    later = len(desk.vitally.writes())
    environ = {"BRIDGE_CONFIG": renamed} if what == "rules" else {}
    result = run("apply", file, status=3, **environ)

    assert "acme: it is not what the plan says any more" in result.err
    assert later == len(desk.vitally.writes())
    assert 0 == desk.redis.zcard(keys.LATER)


def test_a_plan_is_refused_where_a_trait_moved_that_it_does_not_write(
    acme: Bench, run: Run, renamed: str, tmp_path: Path
) -> None:
    file = str(tmp_path / "names.json")
    run("plan", "--out", file, BRIDGE_CONFIG=renamed)
    changes = orjson.loads(Path(file).read_bytes())["accounts"][0]["changes"]
    acme.rests(subscription(at=5, status="past_due"))
    result = run("apply", file, status=3, BRIDGE_CONFIG=renamed)

    assert "subscriptionStatus" not in changes
    assert "acme: it is not what the plan says any more" in result.err


def test_a_plan_by_other_rules_than_the_workers_have_is_refused_at_once(
    desk: Bench, run: Run, environ: dict[str, str], file: str, renamed: str
) -> None:
    config = load({**environ, "BRIDGE_CONFIG": renamed})[1]
    mark_changes(desk.redis, desk.context.settings, rules(config), ())

    assert "the workers started with other rules" in run("apply", file, status=3).err
    assert 0 == desk.redis.zcard(keys.LATER)


def test_a_dry_run_applies_nothing_and_says_so(run: Run, file: str) -> None:
    result = run("apply", file, status=1, BRIDGE_DRY_RUN="true")

    assert "nothing is written in a dry run" in result.err


def test_without_a_worker_a_plan_is_queued_and_not_written(run: Run, file: str) -> None:
    assert "no worker was heard" in run("apply", file, status=1).err


def test_a_plan_of_nothing_is_applied(acme: Bench, run: Run, tmp_path: Path) -> None:
    path = str(tmp_path / "plan.json")
    run("plan", "--out", path)

    assert "0 accounts now right" in run("apply", path).out
    assert 1 == len(acme.writes()) - 1


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "{}", '{"accounts": 1}', '{"accounts": [{"changes": {}}]}'),
        f'{{"accounts": [{{"account": {"[" * 1000}{"]" * 1000}}}]}}',
    ],
)
def test_a_file_that_is_no_plan_is_refused(run: Run, tmp_path: Path, text: str) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(text.encode())

    assert "is no plan; make one with" in run("apply", str(path), status=1).err


def test_a_plan_in_a_file_is_the_one_in_json(run: Run, file: str) -> None:
    assert planned(run) == orjson.loads(Path(file).read_bytes())


# --- The recipe for pull requests -----------------------------------------------------

RECIPE = (ROOT / "deploy" / "plan.github.yml").read_text()


@pytest.fixture
def reader(redis: Redis, redis_server: RedisServer) -> Iterator[str]:
    """The URL of the recipe's user."""
    (user,) = re.findall(r"^#   (ACL SETUSER .+)$", RECIPE, re.MULTILINE)
    redis.execute_command(*user.split())
    yield redis_server.url.replace("://", "://plan:example-password@")
    redis.execute_command("ACL DELUSER", "plan")


def test_a_pull_request_gets_the_plan_from_a_redis_that_it_can_only_read(
    acme: Bench, reader: str, tmp_path: Path
) -> None:
    (script,) = re.findall(r"run: \|\n((?: {10}.*\n)+)", RECIPE)
    (tmp_path / "bridge.toml").write_text(RENAMED)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environ = {"REDIS_URL": reader, "VITALLY_SUBDOMAIN": "example", "PATH": path}
    subprocess.run(
        ["bash", "-e"],
        input=textwrap.dedent(script).encode(),
        cwd=tmp_path,
        env=environ | {"PYTHONPATH": str(ROOT)},
        check=True,
    )
    comment = (tmp_path / "comment.md").read_text()

    assert re.search(r"^acme +billing\.mrr +none +-> +450$", comment, re.MULTILINE)
    assert 1 == len(orjson.loads((tmp_path / "plan.json").read_bytes())["accounts"])
    with Redis.from_url(reader) as client, pytest.raises(NoPermissionError):
        client.set(keys.PAUSED, "")
