"""What an authentic sender may write: odd texts hold up no money, odd numbers are kept.

Nothing of it is answered 500, and nothing of it becomes a null that nobody told.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from bridge.webhook.auth import STRIPE, Scheme, sign
from tests.support.stack import Stack, Web
from tests.support.stripe import SECRET
from tests.support.stripe_cases import Case, events
from tests.support.waiting import eventually

KEY = "an example secret"
SHOP = Scheme(header="x-shop-signature", signed="{body}")
TOML = """
[sources.shop]
verify = { scheme = "hmac", header = "x-shop-signature", signed = "{body}" }
secret_env = "SHOP_WEBHOOK_SECRET"
id = "id"
at = "at"
party = "who"

[sources.shop.events.customer]
name = "name"

[sources.shop.traits]
seats = "seats"
size = "to_number(size)"
total = "sum(sizes || `[]`)"
spent = { path = "spent", as = "major" }
since = { path = "since", as = "instant" }
"""
CASE: Case = {
    "events": [
        {
            "day": 0,
            "status": "active",
            "items": [{"unit": 5000, "ends": 30, "name": "NAME"}],
        }
    ]
}
NUMBERS = count(1)


class Senders:
    """A shop and Stripe, who post raw bytes to one bridge."""

    def __init__(self, web: Web) -> None:
        self._web = web

    def post(self, name: str, scheme: Scheme, secret: str, body: bytes) -> Any:
        headers = sign(scheme, secret, body, time.time())
        path = f"/webhooks/{name}"
        reply = self._web.ask("POST", path, body=body, headers=headers)
        return reply.status, reply.json()["receipt"]

    def shop(self, told: str) -> Any:
        """Tell of customer *n*: *told* follows its id in the JSON."""
        n = next(NUMBERS)
        body = f'{{"id": "e{n}", "at": "2026-11-24T09:00:00Z", "who": "c{n}", {told}}}'
        return self.post("shop", SHOP, KEY, body.encode())

    def stripe(self, *changes: tuple[str, str]) -> Any:
        """Tell of a subscription, with texts of its JSON replaced."""
        body = json.dumps(next(events(CASE, "items")))
        for old, new in changes:
            assert old in body
            body = body.replace(old, new)
        return self.post("stripe", STRIPE, SECRET, body.encode())


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder: Path = tmp_path_factory.mktemp("odd")
    config = folder / "bridge.toml"
    config.write_text(TOML, encoding="utf-8")
    environ = {"BRIDGE_CONFIG": config, "SHOP_WEBHOOK_SECRET": KEY}
    with Stack(folder, STRIPE_MODE="live", **environ) as made:
        made.web()
        made.worker()
        yield made.ready()


@pytest.fixture
def senders(stack: Stack) -> Senders:
    return Senders(stack.webs[0])


@pytest.mark.parametrize(
    "told",
    [
        '"seats": 9007199254740993',
        '"seats": -18446744073709551616',
        '"seats": 1e300',
        '"seats": 1e400',
        '"seats": NaN',
        '"size": "18446744073709551616"',
        f'"size": "{"9" * 5000}"',
        '"size": "1e400"',
        '"size": "-Infinity"',
        '"size": "nan"',
        '"sizes": [9007199254740992, 9007199254740992]',
        '"sizes": [1e308, 1e308]',
        '"spent": "1e999999"',
        '"spent": 9007199254740993',
        '"spent": true',
        '"since": 999999999999999999',
        '"since": "9999-12-31T23:59:59-14:00"',
        '"since": -1',
    ],
)
def test_a_number_without_bounds_is_quarantined(senders: Senders, told: str) -> None:
    assert (202, "quarantined") == senders.shop(told)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"unit_amount": 5000', '"unit_amount": 1e400'),
        ('"unit_amount": 5000', '"unit_amount": 9007199254740993'),
        ('decimal": "5000"', 'decimal": "1e999999"'),
        ('decimal": "5000"', 'decimal": "NaN"'),
        ('decimal": "5000"', 'decimal": "5000,5"'),
        ('"interval_count": 1', '"interval_count": true'),
        ('"interval_count": 1', '"interval_count": 0'),
        ('"current_period_end": 1796083200', '"current_period_end": 1e17'),
        ('"customer": "cus_1"', r'"customer": "cus_\ud83d"'),
        ('"id": "evt_900"', r'"id": "evt_\ud83d"'),
    ],
)
def test_so_is_what_stripe_does_not_write(senders: Senders, old: str, new: str) -> None:
    assert (202, "quarantined") == senders.stripe((old, new))


@pytest.mark.parametrize(
    ("number", "text", "shown"),
    [
        (1, "n" * 2500, "n" * 254 + "…"),
        (2, r"Pro \ud83d", "Pro \ufffd"),
        (3, r"Pro\u0000\u001b[31m\nPlan", "Pro [31m Plan"),
        (4, r"Pro \ud83d\ude00", "Pro 😀"),
    ],
)
def test_a_long_or_odd_name_holds_up_no_money(
    stack: Stack, senders: Senders, number: int, text: str, shown: str
) -> None:
    owner = f"cus_odd_{number}"
    answer = senders.stripe(
        ("NAME", text), ("evt_900", f"evt_odd_{number}"), ('"cus_1"', f'"{owner}"')
    )

    assert (202, "queued") == answer
    assert eventually(stack.has(owner, mrr=50, planName=shown))


def test_so_of_a_generic_source(stack: Stack, senders: Senders) -> None:
    n = next(NUMBERS) + 1
    answer = senders.shop(rf'"name": "{"n" * 3000}\ud83d", "seats": "s\u0007\ud83d"')

    assert (202, "queued") == answer
    assert eventually(stack.has(f"c{n}", seats="s \ufffd"))
    assert "n" * 254 + "…" == stack.account(f"c{n}")["name"]


def test_an_id_of_half_a_character_is_never_another_one(senders: Senders) -> None:
    assert (202, "quarantined") == senders.shop(r'"who": "c\ud83d"')
