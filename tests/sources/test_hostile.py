"""Whatever an authentic sender sends gets a receipt: it is never an error of ours.

Every recorded delivery of every source (JSON; Salesforce's XML has its own tests) is
changed in a few places into what no sender should send, and taken in with a real Redis. That it can be told apart again is the
counting's: each event is in one of the four.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

from bridge.ingest import Ingress
from bridge.sources.generic import make
from bridge.store.accept import STRENGTH
from bridge.store.inspect import figures
from bridge.store.quarantine import Quarantine
from bridge.webhook.source import Delivery, Source, Verified
from tests.sources.known import every
from tests.support import desk
from tests.support.lives import law
from tests.support.server import RedisServer

KNOWN = {known.name: known for known in every()}
JSON = [n for n, k in KNOWN.items() if any(p.suffix == ".json" for p in k.bodies)]
SECRET = "an example secret"
FORM: dict[str, Any] = {
    "verify": "standard-webhooks",
    "secret_env": "FORM_SECRET",
    "body": "form",
    "party": "payload.id || a || b",
    "at": "'2026-01-01T00:00:00Z'",
    "traits": {"n": "to_number(payload.n)", "m": {"path": "b", "as": "number"}},
    "events": {
        "subscription": {
            "id": "a || 'x'",
            "status": "payload.id",
            "currency": "'usd'",
            "mrr": {"items": "payload.items", "amount": "amount", "quantity": "n"},
        }
    },
}


def deep(levels: int, opens: str, closes: str) -> str:
    return opens * levels + "1" + closes * levels


ABSURD = (
    *("null", "true", "0", "-1", "1.5", "1e308", "1e400", "-1e-400", "NaN", "Infinity"),
    *(str(2**53), str(2**53 + 1), str(2**63), str(-(2**70)), "9" * 30, "9" * 5000),
    *('""', '" "', '"\\ud800"', '"\\u0000"', '"\\u202e\\u001b[31m"', '"\\n"'),
    *('"1e9999"', '"NaN"', '"-0"', f'"{"9" * 30}"', f'"{"9" * 5000}"', '"x"'),
    *('"2026-13-45"', '"0001-01-01T00:00:00Z"', '"2026-01-01T00:00:00+99:99"'),
    *(f'"{"x" * 70_000}"', f'"{"é" * 300}"', '".."', '"../.."', '"<script>"'),
    *("[]", "{}", "[null]", "[[]]", "[{}]", '{"id": null}', '{"a": 1, "a": 2}'),
    *('{"data": []}', '{"data": null}', '{"data": [null]}', '{"": ""}', '["a", 1]'),
    *(deep(100, "[", "]"), deep(1000, "[", "]"), deep(5000, "[", "]")),
    *(deep(100, '{"a":', "}"), deep(1000, '{"a":', "}")),
)
"""JSON, and what only looks like it, in place of a value."""


@cache
def form() -> Source:
    found = make("form", FORM, {"FORM_SECRET": SECRET}).source
    assert found is not None
    return found


@pytest.fixture(scope="module")
def client(redis_server: RedisServer) -> Iterator[Redis]:
    with redis_server.client() as made:
        made.flushall()
        yield made


def taken(client: Redis, source: Source, options: dict[str, Any], body: bytes) -> str:
    """The receipt of *body*; a replay of what is quarantined changes nothing."""
    base = desk.settings("http://127.0.0.1:1", "redis://127.0.0.1:1/0")
    said = replace(base, sources={**base.sources, **options})
    ingress = Ingress(said, client, [source])
    receipt = ingress.take_in(source, Verified(Delivery("POST", "/", {}, body)))
    before = figures(client)
    parts = before.accepted + before.duplicate + before.ignored + before.quarantined
    assert before.received == parts
    for kept in Quarantine(client).all():
        if kept.body == body:
            assert "quarantined" == ingress.replay(source, kept).receipt
            after = figures(client)._replace(now_ms=before.now_ms)
            assert before == after._replace(oldest_ms=before.oldest_ms)
            Quarantine(client).drop(kept.id)
    return receipt.receipt


def places(value: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield above
    if isinstance(value, dict | list):
        rows = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in rows:
            yield from places(inner, (*above, key))


def changed(value: Any, place: tuple[Any, ...], new: Any) -> Any:
    if not place:
        return new
    copy = value.copy()
    copy[place[0]] = changed(value[place[0]], place[1:], new)
    return copy


@st.composite
def hostile(draw: st.DrawFn, name: str) -> bytes:
    """A recorded delivery with something absurd in up to three places."""
    bodies = [p for p in KNOWN[name].bodies if p.suffix == ".json"]
    whole = json.loads(draw(st.sampled_from(bodies)).read_bytes())
    absurd: list[str] = []
    for _ in range(draw(st.integers(1, 3))):
        absurd.append(draw(st.sampled_from(ABSURD)))
        where = draw(st.sampled_from(sorted(places(whole), key=str)))
        whole = changed(whole, where, f"place {len(absurd)}")
    if draw(st.booleans()):
        whole = [whole, whole] if draw(st.booleans()) else [7, whole]
    text = json.dumps(whole)
    for number, raw in enumerate(absurd, 1):
        text = text.replace(f'"place {number}"', raw)
    return text.encode()


def switched_on(name: str) -> tuple[Source, dict[str, Any]]:
    known = KNOWN[name]
    return known.source, {**known.options, **known.on}


@pytest.mark.parametrize("name", JSON)
def test_whatever_is_sent_gets_a_receipt(client: Redis, name: str) -> None:
    source, options = switched_on(name)

    @given(hostile(name) | st.binary(max_size=50))
    @law(40 if KNOWN[name].off else 150)
    def is_held(body: bytes) -> None:
        assert taken(client, source, options, body) in STRENGTH

    is_held()


PIECES = (
    *(b"a", b"b", b"payload", b"[", b"]", b"=", b"&", b"%5B", b"%5D", b"[id]", b"[n]"),
    *(b"[items]", b"[amount]", b"[0]", b"[]", b"1", b"9" * 30, b"9" * 5000, b"1e400"),
    *(b"%", b"%zz", b"\xff", b"+", b"%ed%a0%80", b"nan", b"\x00", b"%00", b"[b]" * 30),
)


def test_whatever_form_is_sent_gets_a_receipt(client: Redis) -> None:
    @given(st.lists(st.sampled_from(PIECES), max_size=25).map(b"".join))
    @law(300)
    def is_held(body: bytes) -> None:
        assert taken(client, form(), {}, body) in STRENGTH

    is_held()


MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize(
    "body",
    [
        *(b"&", b"a=1&", b"a[]=1&", b"a[b]=1&", b"%", b"%41", b"a[", b"[", b"[b]"),
        b"payload[id]=1&payload[n]=" + b"9" * 1_000_000,
        "&".join(f"a[{n}]=1" for n in range(90_000)).encode(),
    ],
    ids=lambda body: body[:20].decode(),
)
def test_a_form_as_large_as_may_be_gets_a_receipt(client: Redis, body: bytes) -> None:
    whole = body * (MEBIBYTE // len(body))

    assert taken(client, form(), {}, whole) in STRENGTH


@pytest.mark.parametrize("part", ["{}", "1", "[]", '{"a":[[[[[]]]]]}'])
def test_a_batch_as_long_as_may_be_is_one_entry(client: Redis, part: str) -> None:
    source, options = switched_on("hubspot")
    body = f"[{','.join([part] * (MEBIBYTE // (len(part) + 1)))}]".encode()

    assert "quarantined" == taken(client, source, options, body)
