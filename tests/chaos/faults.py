"""Everything that may go wrong in a run.

A fault is a function of the world and of what was drawn for it; what stands behind its
`yield` undoes it, `seconds` later. Two faults never hurt one target at once.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import methodcaller
from pathlib import Path
from typing import Any, NamedTuple

import orjson
from urllib3 import HTTPConnectionPool, Timeout, make_headers
from urllib3.exceptions import HTTPError

from bridge.webhook.auth import STRIPE, sign
from tests.chaos.world import NEXT_SECRET, PASSWORD, SLOW, World, script
from tests.support import proxy as proxies
from tests.support.server import RedisServer
from tests.support.stack import HERE
from tests.support.stripe import SECRET, Stripe, delivery

Play = Callable[..., Generator[None] | None]


class Fault(NamedTuple):
    """One fault, and what is drawn for it.

    *calm*: seconds that its target is left alone after its end.
    """

    play: Play
    target: str
    calm: float
    choices: Mapping[str, Sequence[Any]]

    def draw(self, rng: random.Random) -> dict[str, Any]:
        """Draw its parameters."""
        return {name: rng.choice(these) for name, these in self.choices.items()}


FAULTS: dict[str, Fault] = {}


def fault(
    target: str, *, name: str = "", calm: float = 1.0, **choices: Any
) -> Callable[[Play], Play]:
    """Put a function into the table, by its name."""

    def add(play: Play) -> Play:
        FAULTS[name or play.__name__] = Fault(play, target, calm, choices)
        return play

    return add


# Redis

UNREADY = 2.5
"""Seconds after which readiness must have noticed a Redis that is away."""

SHORT = (0.3, 0.8, 1.5)


def replicaof(server: RedisServer, *master: str) -> None:
    with server.client() as client:
        client.replicaof(*master)


for name, seconds, begin, end in (
    ("killed", SHORT, methodcaller("kill"), methodcaller("restart")),
    (
        "full",
        SHORT,
        methodcaller("config", maxmemory=1),
        methodcaller("config", maxmemory=0),
    ),
    (
        "may_evict",
        (2.6, 3),
        methodcaller("config", maxmemory_policy="allkeys-lru"),
        methodcaller("config", maxmemory_policy="noeviction"),
    ),
    ("stalled", SHORT, methodcaller("pause"), methodcaller("resume")),
    (
        "read_only",
        (1, 2, 3),
        lambda server: replicaof(server, HERE, "1"),
        lambda server: replicaof(server, "NO", "ONE"),
    ),
):

    @fault("redis", name=f"redis_{name}", seconds=seconds)
    def redis_ill(
        world: World, seconds: float, begin: Any = begin, end: Any = end
    ) -> Generator[None]:
        world.disturb()
        begin(world.stack.redis_server)
        begun = time.monotonic()
        yield
        if time.monotonic() - begun > UNREADY:
            for web in world.stack.webs:
                if web.get("/readyz")[0] == 200:
                    world.wrong(f"I7: {web.url} was ready without a Redis")
        end(world.stack.redis_server)
        world.disturb()


@fault("redis")
def redis_forgets_scripts(world: World) -> None:
    world.stack.redis.script_flush()


# The links to Redis

LINKS = ("web", "worker")

COMMANDS = (
    *(("web", command) for command in (b"EVALSHA", b"EXEC|EVALSHA", b"rq:job")),
    ("worker", b"BLMOVE"),
    ("worker", b"ZADD.*rq:wip"),
    ("worker", b"LREM.*intermediate"),
    ("worker", b"ZREM.*rq:wip"),
    *(
        ("worker", script(name))
        for name in ("begin", "renew", "ack", "release", "postpone", "move")
    ),
)
"""Whose command, and which."""


def link_of(world: World, link: str) -> proxies.Proxy:
    world.disturb()
    return world.links[link]


@fault("link", link=LINKS, seconds=(1, 2), each=(0.05, 0.3))
def link_slow(world: World, link: str, seconds: float, each: float) -> Generator[None]:
    link_of(world, link).on(b"", proxies.delay(each), times=None)
    yield
    link_of(world, link).mend()


@fault("link", link=LINKS, seconds=(0.5, 1.5, 2.5))
def link_stalled(world: World, link: str, seconds: float) -> Generator[None]:
    link_of(world, link).stall()
    yield
    link_of(world, link).flow()


@fault("link", link=LINKS, seconds=(0.3, 1, 2))
def link_refused(world: World, link: str, seconds: float) -> Generator[None]:
    link_of(world, link).refuse()
    yield
    link_of(world, link).accept()


@fault("link", link=LINKS)
def link_reset(world: World, link: str) -> None:
    link_of(world, link).reset()


for name, act in {
    "reply_lost": proxies.LOSE_REPLY,
    "reply_stalled": proxies.HOLD_REPLY,
    "reply_truncated": proxies.truncate(3),
    "request_lost": proxies.LOSE_REQUEST,
    "request_cut": proxies.cut(10),
    "request_late": proxies.HOLD_LATE._replace(seconds=4.0),
}.items():

    @fault("link", name=f"redis_{name}", command=COMMANDS, times=(1, 2, 3))
    def redis_command(
        world: World, command: tuple[str, bytes], times: int, act: proxies.Act = act
    ) -> None:
        link, pattern = command
        link_of(world, link).on(pattern, act, times=times)


# The processes

PLACES = (0, 1)
LEASE = 6.0


@fault("worker", place=PLACES, calm=2)
def worker_killed(world: World, place: int) -> None:
    world.replaced_worker(place).kill()


@fault("worker", child=(0, 1))
def worker_child_killed(world: World, child: int) -> None:
    world.disturb()
    pid = world.workers[1].pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for one in children[child:][:1]:
        os.kill(int(one), signal.SIGKILL)


@fault("worker", place=PLACES, calm=2)
def worker_stopped(world: World, place: int) -> None:
    world.leave(world.replaced_worker(place))


@fault("worker", place=PLACES, seconds=(1.0, 8.0))
def worker_paused(world: World, place: int, seconds: float) -> Generator[None]:
    world.disturb()
    begun = time.monotonic()
    os.killpg(world.workers[place].pid, signal.SIGSTOP)
    yield
    os.killpg(world.workers[place].pid, signal.SIGCONT)
    world.disturb()
    if seconds > LEASE - 1:
        world.naps.append((begun * 1000, (time.monotonic() + 1) * 1000))


@fault("web", calm=2)
def web_killed(world: World) -> None:
    world.stack.webs.pop(0).running.kill()
    world.sender()
    world.new_web()


@fault("web", calm=2)
def web_stopped(world: World) -> None:
    world.new_web()
    running = world.stack.webs.pop(0).running
    world.sender()
    world.leave(running)


# Vitally

ANSWERS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "vitally_limits": [
        {"kind": "status", "status": 429, "headers": headers, "times": times}
        for headers in ({"Retry-After": "1"}, {"RateLimit-Reset": "1"}, {})
        for times in (1, 3)
    ],
    "vitally_fails": [
        {"kind": "status", "status": status, "body": body, "times": times}
        for status, body in ((500, {"error": "x"}), (502, "<html>"), (503, ""))
        for times in (1, 8)
    ],
    "vitally_breaks_off": [
        {"kind": "reset_before"},
        {"kind": "reset_after_commit"},
        {"kind": "timeout_after_commit"},
        {"kind": "delay", "seconds": 3},
        {"kind": "truncated"},
        {"kind": "hang_up"},
    ],
    "vitally_lies": [
        {"kind": "non_json"},
        {"kind": "redirect"},
        {"kind": "oversize", "bytes": 2_000_000},
        {"kind": "slow_headers", "seconds": 0.2},
        {"kind": "slow_body", "seconds": 0.2},
        {"kind": "status", "status": 200, "body": "<html>sign in</html>"},
        {
            "kind": "status",
            "status": 200,
            "body": "\x1f\x8b no gzip",
            "headers": {"Content-Encoding": "gzip"},
        },
    ],
    "vitally_refuses": [
        {"kind": "status", "status": status, "body": {"error": "Refused."}}
        for status in (400, 404, 409, 422)
    ],
}
"""What the next write is answered; see the simulator's faults."""

for name, answers in ANSWERS.items():

    @fault("vitally", name=name, answer=answers, method=("PUT", "PUT", "POST"))
    def vitally_answers(world: World, answer: Any, method: str) -> None:
        world.stack.vitally.break_with([{**answer, "match": {"method": method}}])


@fault("vitally", seconds=SHORT)
def vitally_away(world: World, seconds: float) -> Generator[None]:
    world.vitally.refuse()
    yield
    world.vitally.accept()


@fault("vitally", seconds=(1, 2))
def key_refused(world: World, seconds: float) -> Generator[None]:
    world.stack.vitally.rotate()
    yield
    world.stack.vitally.rotate(world.stack.environ["VITALLY_API_KEY"])


WIRE = (
    proxies.LOSE_REQUEST,
    proxies.cut(40),
    proxies.LOSE_REPLY,
    proxies.HOLD_REPLY,
    proxies.truncate(60),
    proxies.HOLD_LATE._replace(seconds=9.0),
)


@fault("vitally", act=WIRE)
def wire_to_vitally(world: World, act: proxies.Act) -> None:
    world.vitally.on(b"^P", act)


# The sender and the onlookers


@fault("sender", events=(1, 5), times=(2, 8))
def told_again(world: World, events: int, times: int) -> None:
    """Some events that were taken come again, each several times at once."""
    known = sorted(world.taken)[:events]
    numbers = [n for n, event in enumerate(world.events) if event["id"] in known]
    at_once(world, numbers * times)


@fault("sender")
def burst(world: World) -> None:
    """One customer changes a great many times at once."""
    first = len(world.events) - world.burst
    if world.events[first]["id"] not in world.taken:
        at_once(world, list(range(first, len(world.events))))


def at_once(world: World, numbers: Sequence[int]) -> None:
    """Post these events in threads of their own; they end by themselves."""
    pool = ThreadPoolExecutor(12)
    for number in numbers:
        pool.submit(world.post, number)
    pool.shutdown(wait=False)


SHOWN = {
    "id": "evt_poison",
    "object": "event",
    "type": "customer.subscription.updated",
    "created": 1_790_000_000,
    "livemode": False,
}

TOO_LONG = b'{"id":"' + b"x" * 2_000_000 + b'"}'

POISON = (
    b"",
    b"no json",
    b"[" * 10_000 + b"]" * 10_000,
    b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    TOO_LONG,
    b'{"id":"evt_\\u0000","type":"customer.created","data":{}}',
    b'{"id":"\\ud800","type":"customer.created"}',
    b'{"id":"evt_huge","type":"customer.created","created":1e999}',
    b'{"id":"evt_nan","created":NaN}',
    b'{"id":"evt_big","created":' + b"9" * 400 + b"}",
    b'{"id":"evt_a","id":"evt_b","type":"x","type":"y"}',
    b"\xff\xfe{}",
    orjson.dumps(SHOWN),
    orjson.dumps(SHOWN | {"data": {"object": {"id": 7}}}),
    orjson.dumps(SHOWN | {"type": "x" * 5000}),
    orjson.dumps(SHOWN | {"api_version": 7, "data": []}),
)
"""Bodies of an authentic sender."""


@fault("sender", body=POISON)
def poison(world: World, body: bytes) -> None:
    """Something that no schema knows; it is never a server's error."""
    headers = sign(STRIPE, SECRET, body, time.time(), headers={})
    answer = world.ask(lambda: world.stripe.raw(body, headers), "poison")
    right = {413 if body is TOO_LONG else 202, 503}
    if answer is not None and answer.status not in right:
        world.wrong(f"I1: poison {body[:60]!r} was answered {answer.status}")


@fault("sender", skew=(-1000, -200, 200, 1000))
def clock_wrong(world: World, skew: int) -> None:
    """The sender's clock is wrong by seconds; the tolerance is 300."""
    body, headers = delivery(world.events[3], SECRET, time.time() + skew)
    answer = world.ask(lambda: world.stripe.raw(body, headers), "skewed")
    _judge(world, answer and answer.status, 3, is_authentic=abs(skew) < 300)


@fault("sender", secret=(NEXT_SECRET, "whsec_wrong_example"))
def secret_rotated(world: World, secret: str) -> None:
    """The sender signs with its next secret, or somebody with a wrong one."""
    stripe = Stripe([web.url for web in world.stack.webs], secret)
    answer = world.ask(lambda: stripe.post(world.events[4]), "rotated")
    _judge(world, answer and answer.status, 4, is_authentic=secret == NEXT_SECRET)
    stripe.close()


def _judge(
    world: World, status: int | None, number: int, *, is_authentic: bool
) -> None:
    """Only the right sender is let in, and nobody else even hears of Redis."""
    right = {202, 503, None} if is_authentic else {401, None}
    if status not in right:
        world.wrong(f"I7: a delivery was answered {status}, not one of {right}")
    if status == 202:
        world.took(number)


PAGES = ("/healthz", "/readyz", "/metrics", "/console/", "/console/queues/")


@fault("sender")
def looked_at(world: World) -> None:
    """Somebody looks at everything there is to look at."""
    headers = make_headers(basic_auth=f"admin:{PASSWORD}")
    for web in world.stack.webs:
        pool = HTTPConnectionPool(HERE, web.port, retries=False, timeout=Timeout(SLOW))
        for path in PAGES:
            try:
                reply = pool.request("GET", path, headers=headers, redirect=False)
            except HTTPError as error:
                world.wrong(f"I7: {path} was not answered: {type(error).__name__}")
                continue
            right = reply.status < 500 or (reply.status == 503 and path != "/healthz")
            if not right:
                world.wrong(f"I7: {path} was answered {reply.status}")
        pool.close()
