"""What the sender and the onlookers do wrong, or too much of."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import orjson
from urllib3 import HTTPConnectionPool, Timeout
from urllib3.exceptions import HTTPError

from bridge.webhook.auth import STRIPE, sign
from tests.chaos.world import NEXT_SECRET, PASSWORD, SLOW, World
from tests.support.stack import HERE
from tests.support.stripe import SECRET, Stripe, delivery

Using = Mapping[str, Any]

AT_ONCE = 12

SKEWS = (-1000, -200, 200, 1000)
"""Seconds that the sender's clock is wrong by; the tolerance is 300."""

SECRETS = ("next", "wrong")

_SUBSCRIPTION = {
    "id": "evt_poison",
    "object": "event",
    "type": "customer.subscription.updated",
    "created": 1_790_000_000,
    "livemode": False,
}

POISON: tuple[tuple[bytes, tuple[int, ...]], ...] = (
    (b"", (202,)),
    (b"no json", (202,)),
    (b"[" * 10_000 + b"]" * 10_000, (202,)),
    (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, (202,)),
    (b'{"id":"' + b"x" * 2_000_000 + b'"}', (413,)),
    (b'{"id":"evt_\\u0000","type":"customer.created","data":{}}', (202,)),
    (b'{"id":"\\ud800","type":"customer.created"}', (202,)),
    (b'{"id":"evt_huge","type":"customer.created","created":1e999}', (202,)),
    (b'{"id":"evt_nan","created":NaN}', (202,)),
    (b'{"id":"evt_big","created":' + b"9" * 400 + b"}", (202,)),
    (b'{"id":"evt_a","id":"evt_b","type":"x","type":"y"}', (202,)),
    (b"\xff\xfe{}", (202,)),
    (orjson.dumps(_SUBSCRIPTION), (202,)),
    (orjson.dumps(_SUBSCRIPTION | {"data": {"object": {"id": 7}}}), (202,)),
    (orjson.dumps(_SUBSCRIPTION | {"type": "x" * 5000}), (202,)),
    (orjson.dumps(_SUBSCRIPTION | {"api_version": 7, "data": []}), (202,)),
)
"""Bodies of an authentic sender, and what each may be answered."""


def again(world: World, using: Using) -> None:
    """Some events that were taken come again, each several times at once."""
    known = sorted(world.taken)[: using["events"]]
    numbers = [n for n, event in enumerate(world.events) if event["id"] in known]
    at_once(world, numbers * using["times"])


def burst(world: World, using: Using) -> None:
    """One customer changes a great many times at once."""
    first, count = using["first"], using["count"]
    if world.events[first]["id"] not in world.taken:
        at_once(world, list(range(first, first + count)))


def at_once(world: World, numbers: list[int]) -> None:
    """Post these events in threads of their own; they end by themselves."""
    pool = ThreadPoolExecutor(AT_ONCE)
    for number in numbers:
        pool.submit(world.post, number)
    pool.shutdown(wait=False)


def poison(world: World, using: Using) -> None:
    """Something that no schema knows; it is never a server's error."""
    body, allowed = POISON[using["place"]]
    headers = sign(STRIPE, SECRET, body, time.time(), headers={})
    answer = world.ask(lambda: world.stripe.raw(body, headers), "poison")
    if answer is not None and answer.status not in (*allowed, 503):
        world.wrong(f"I1: poison {using['place']} was answered {answer.status}")


def skewed(world: World, using: Using) -> None:
    """The sender's clock is wrong; far too wrong is no authentic sender."""
    number = min(3, len(world.events) - 1)
    event = world.events[number]
    body, headers = delivery(event, SECRET, time.time() + using["skew"])
    answer = world.ask(lambda: world.stripe.raw(body, headers), "skewed")
    _judge(world, answer and answer.status, number, good=abs(using["skew"]) < 300)


def rotated(world: World, using: Using) -> None:
    """The sender signs with its next secret, or somebody with a wrong one."""
    secrets = {"next": NEXT_SECRET, "wrong": "whsec_wrong_example"}
    stripe = Stripe([web.url for web in world.stack.webs], secrets[using["secret"]])
    number = min(4, len(world.events) - 1)
    event = world.events[number]
    answer = world.ask(lambda: stripe.post(event), "rotated")
    _judge(world, answer and answer.status, number, good=using["secret"] == "next")
    stripe.close()


def _judge(world: World, status: int | None, number: int, *, good: bool) -> None:
    """Only the right sender is let in, and nobody else even hears of Redis."""
    right = {202, 503, None} if good else {401, None}
    if status not in right:
        world.wrong(f"I7: a delivery was answered {status}, not one of {right}")
    if status == 202:
        event = world.events[number]
        with world.lock:
            world.taken[event["id"]] = event


def look(world: World, using: Using) -> None:
    """Somebody looks at everything there is to look at."""
    token = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
    headers = {"Authorization": f"Basic {token}"}
    for web in world.stack.webs:
        pool = HTTPConnectionPool(HERE, web.port, retries=False, timeout=Timeout(SLOW))
        for path in (
            "/healthz",
            "/readyz",
            "/metrics",
            "/console/",
            "/console/queues/",
        ):
            _seen(world, pool, path, headers)
        pool.close()


def _seen(world: World, pool: HTTPConnectionPool, path: str, headers: Any) -> None:
    try:
        reply = pool.request("GET", path, headers=headers, redirect=False)
    except HTTPError as error:
        world.wrong(f"I7: {path} was not answered: {type(error).__name__}")
        return
    if reply.status >= 500 and reply.status != 503:
        world.wrong(f"I7: {path} was answered {reply.status}")
    if path == "/healthz" and reply.status != 200:
        world.wrong(f"I7: {path} was answered {reply.status}")
