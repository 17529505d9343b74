"""A system without code of its own: from lines of TOML to right accounts in Vitally."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from urllib3 import PoolManager

import bridge.sources.generic
from bridge.webhook.auth import Scheme, sign
from tests.support.local_api import ByPath, Reply
from tests.support.processes import ROOT, start
from tests.support.stack import Stack, Web
from tests.support.waiting import eventually

README = Path(bridge.sources.generic.__path__[0]) / "README.md"
EXAMPLE = re.compile(r"<!-- example: generic -->\s*```toml\n(.*?)```", re.DOTALL)
SHOP = Scheme(header="x-shop-signature", signed="{body}")
RECURLY = Scheme(
    header="recurly-signature",
    signed="{timestamp}.{body}",
    separator=",",
    timestamp_first=True,
    unit="ms",
)
UUID = "0123456789abcdef0123456789abcdef"


def example() -> str:
    """The lines of the README's example."""
    (found,) = EXAMPLE.findall(README.read_text(encoding="utf-8"))
    return "\n".join(line.strip() for line in found.splitlines())


def post(
    web: Web, name: str, scheme: Scheme, secret: str, told: Any
) -> tuple[int, Any]:
    """Deliver *told*, signed now; the status, and what the receipt says."""
    body = orjson.dumps(told)
    headers = sign(scheme, secret, body, time.time())
    with PoolManager(retries=False, timeout=10) as pool:
        url = f"{web.url}/webhooks/{name}"
        reply = pool.request("POST", url, body=body, headers=headers)
        return reply.status, orjson.loads(reply.data)


def event(number: int, **more: Any) -> dict[str, Any]:
    data = {"id": "s1", "customer_id": 17, "state": "live", "currency": "USD"}
    data |= {"account_id": "acme-101"}
    data |= {"price_cents": 4900, "seats": 3, "per": "month"}
    data |= {"renews_at": "2026-12-24T09:00:00Z", **more}
    sent = f"2026-11-24T09:00:{number:02}Z"
    return {"id": f"e{number}", "type": "subscription.changed", "sent_at": sent} | {
        "data": data
    }


KEY = "an example secret"


def configured(folder: Path, toml: str) -> str:
    path = folder / "bridge.toml"
    path.write_text(toml, encoding="utf-8")
    return str(path)


def test_the_example_of_the_readme_is_less_than_twenty_lines() -> None:
    assert len([line for line in example().splitlines() if line]) < 20


@contextmanager
def shop(folder: Path, toml: str) -> Iterator[tuple[Stack, Web]]:
    """A whole bridge with the source `shop`."""
    config = configured(folder, toml)
    with Stack(folder, BRIDGE_CONFIG=config, SHOP_WEBHOOK_SECRET=KEY) as stack:
        web = stack.web()
        stack.worker()
        stack.ready()
        yield stack, web


def test_a_source_of_a_few_lines_keeps_an_account_right(tmp_path: Path) -> None:
    with shop(tmp_path, example()) as (stack, web):
        answers = [
            post(web, "shop", SHOP, KEY, body)
            for body in (event(2), event(1, seats=2), event(2))
        ]
        forged = post(web, "shop", SHOP, "another", event(3, seats=99))
        odd = post(web, "shop", SHOP, KEY, event(4, state="odd"))

        assert [202, 202, 202] == [status for status, _ in answers]
        assert "duplicate" == answers[2][1]["receipt"]
        assert (401, {"error": "unauthorized"}) == forged
        assert (202, "quarantined") == (odd[0], odd[1]["receipt"])
        assert "subscription.status: is not in its lookup" in odd[1]["reason"]
        assert eventually(
            stack.has(
                "acme-101",
                mrr=147,
                nextRenewalDate="2026-12-24T09:00:00.000Z",
                subscriptionStatus="active",
                seats=3,
            )
        )
        post(web, "shop", SHOP, KEY, event(5, state="over"))
        assert eventually(
            stack.has("acme-101", mrr=None, churnedAt="2026-11-24T09:00:05.000Z")
        )


EXTRA = """
[sources.shop.events.component]
kind = "extra"
when = "component.*"
id = "data.subscription_id"
at = "sent_at"
"""


def test_what_is_told_of_a_subscription_alone_reaches_its_account(
    tmp_path: Path,
) -> None:
    with shop(tmp_path, example() + EXTRA) as (stack, web):
        component = {"id": "e1", "type": "component.added", "sent_at": 1_764_000_000}
        bodies = ({**component, "data": {"subscription_id": "s1"}}, event(2))
        answers = [post(web, "shop", SHOP, KEY, body)[1] for body in bodies]

        assert ["queued", "queued"] == [answer["receipt"] for answer in answers]
        assert eventually(stack.has("acme-101", subscriptionStatus="active", seats=3))
        assert "mrr" not in stack.account("acme-101")["traits"]


def test_a_source_without_its_secret_is_off(tmp_path: Path) -> None:
    with Stack(tmp_path, BRIDGE_CONFIG=configured(tmp_path, example())) as stack:
        web = stack.web()

        assert (404, {"error": "no such source"}) == post(
            web, "shop", SHOP, KEY, event(1)
        )


def test_a_wrong_table_stops_the_start_with_its_places(tmp_path: Path) -> None:
    toml = example().replace('id = "data.id"', 'id = "data["').replace("mrr =", "mmr =")
    config = configured(tmp_path, toml)
    environ = {"REDIS_URL": "redis://127.0.0.1:1/0", "VITALLY_API_KEY": "x"}
    environ |= {"VITALLY_BASE_URL": "http://127.0.0.1:9", "BRIDGE_CONFIG": config}
    for line in ("web", "worker"):
        with start(line, environ, tmp_path) as running:
            assert 78 == running.wait()
            for place in ("id: 'data[' is no JMESPath", "mmr: is unknown"):
                assert f"sources.shop.events.subscription.{place}" in running.output


def recorded(name: str) -> Any:
    path = ROOT / "bridge/sources/generic/fixtures/recurly" / f"{name}.json"
    return orjson.loads(path.read_bytes())


@pytest.fixture
def api() -> Iterator[ByPath]:
    """What Recurly's API says of one customer with one subscription."""
    row = recorded("read.subscription__quarterly_with_an_add_on")
    plan = row["plan"]
    rows = [{**row, "plan": {"id": plan["id"]}}]
    with ByPath() as local:
        local.replies = {
            f"/subscriptions/uuid-{UUID}": Reply(row),
            "/accounts/code-blue-door": Reply(recorded("read.account__a_company")),
            "/accounts/code-blue-door/subscriptions?limit=200": Reply(
                {"has_more": False, "data": rows}
            ),
            f"/plans/{plan['id']}": Reply(plan),
        }
        yield local


def test_what_a_thin_event_does_not_tell_is_read(tmp_path: Path, api: ByPath) -> None:
    toml = f'[sources.recurly]\nrecipe = "recurly"\nread.base = "{api.url}"\n'
    environ = {
        "BRIDGE_CONFIG": configured(tmp_path, toml),
        "RECURLY_WEBHOOK_SECRET": KEY,
        "RECURLY_API_KEY": "example-key",
    }
    thin = {"id": "x", "object_type": "subscription", "event_type": "renewed"}
    thin |= {"uuid": UUID, "event_time": "2026-03-01T09:00:00Z"}
    with Stack(tmp_path, **environ) as stack:
        web = stack.web()
        stack.worker()
        stack.ready()

        assert 202 == post(web, "recurly", RECURLY, KEY, thin)[0]
        assert eventually(stack.has("blue-door", mrr=209.98, planName="Pro, Support"))
        assert "Blue Door" == stack.account("blue-door")["name"]
        assert {"Basic ZXhhbXBsZS1rZXk6"} == {
            asked.headers["authorization"] for asked in api.log
        }
