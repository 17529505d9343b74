"""Everything that may go wrong in a run: a table, and how each fault is made.

A fault has a target; two never hurt one target at once. `draw` makes its parameters,
`begin` makes it happen, `end` undoes it after `seconds`.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from hashlib import sha1
from pathlib import Path
from typing import Any, NamedTuple

from bridge.store import lease_scripts
from tests.chaos import noise
from tests.chaos.world import World
from tests.support import proxy as proxies
from tests.support.processes import Running

Using = Mapping[str, Any]
Draw = Callable[[random.Random], dict[str, Any]]
Play = Callable[[World, Using], None]

UNREADY = 2.5
"""Seconds after which readiness must have noticed a Redis that is away."""

LEASE = 6.0


class Fault(NamedTuple):
    """One row of the table; *covers* are rows of the matrix that it was made for.

    *calm*: seconds that its target is left alone after its end.
    """

    name: str
    covers: str
    target: str
    draw: Draw
    begin: Play
    end: Play | None = None
    calm: float = 0.5


def _between(least: float, most: float) -> Draw:
    return lambda rng: {"seconds": round(rng.uniform(least, most), 1)}


def _any_of(**choices: Any) -> Draw:
    return lambda rng: {name: rng.choice(these) for name, these in choices.items()}


# Redis


def _ill(play: Callable[[World], None]) -> Play:
    """Begin something that Redis is ill with."""

    def begin(world: World, using: Using) -> None:
        world.disturb()
        play(world)
        world.ill_since = time.monotonic()

    return begin


def _well(play: Callable[[World], None]) -> Play:
    """End it; by then nobody may call the bridge ready."""

    def end(world: World, using: Using) -> None:
        since, world.ill_since = world.ill_since, None
        if since is not None and time.monotonic() - since > UNREADY:
            for web in world.stack.webs:
                if web.get("/readyz")[0] == 200:
                    world.wrong(f"I7: {web.url} was ready without a Redis")
        play(world)
        world.disturb()

    return end


def _config(**values: Any) -> Callable[[World], None]:
    return lambda world: world.stack.redis_server.config(**values)


def _replica(world: World) -> None:
    world.stack.redis.replicaof("127.0.0.1", "1")


def _master(world: World) -> None:
    world.stack.redis.replicaof("NO", "ONE")


def _forget_scripts(world: World, using: Using) -> None:
    world.stack.redis.script_flush()


# The links to Redis


def _link(world: World, using: Using) -> proxies.Proxy:
    world.disturb()
    return world.links[using["link"]]


COMMANDS: Mapping[str, tuple[bytes, ...]] = {
    "web": (b"EVALSHA", b"EXEC|EVALSHA", b"rq:job"),
    "worker": (
        b"BLMOVE",
        b"ZADD.*rq:wip",
        b"LREM.*intermediate",
        b"ZREM.*rq:wip",
        b"SMEMBERS",
        *(
            sha1(text.encode()).hexdigest().encode()
            for text in (
                lease_scripts.TAKE,
                lease_scripts.KEEP,
                lease_scripts.ACK,
                lease_scripts.LEAVE,
                lease_scripts.POSTPONE,
                lease_scripts.MOVE,
            )
        ),
    ),
}

ACTS = {
    "reply lost": proxies.LOSE_REPLY,
    "reply stalled": proxies.HOLD_REPLY,
    "reply truncated": proxies.truncate(3),
    "request lost": proxies.LOSE_REQUEST,
    "request cut": proxies.cut(10),
    "request late": proxies.HOLD_LATE._replace(seconds=4.0),
}


def _draw_command(rng: random.Random) -> dict[str, Any]:
    link = rng.choice(tuple(COMMANDS))
    place = rng.randrange(len(COMMANDS[link]))
    return {"link": link, "command": place, "times": rng.randint(1, 3)}


def _on_command(act: str) -> Play:
    def begin(world: World, using: Using) -> None:
        pattern = COMMANDS[using["link"]][using["command"]]
        _link(world, using).on(pattern, ACTS[act], times=using["times"])

    return begin


def _draw_link(least: float, most: float) -> Draw:
    return lambda rng: {
        "link": rng.choice(tuple(COMMANDS)),
        "seconds": round(rng.uniform(least, most), 1),
    }


def _slow(world: World, using: Using) -> None:
    late = proxies.delay(using["each"])
    _link(world, using).on(b"", late, times=None)


# Workers and webs


def _draw_worker(rng: random.Random) -> dict[str, Any]:
    return {"place": rng.randrange(2)}


def _gone(world: World, place: int) -> Running:
    world.disturb()
    running = world.workers[place]
    world.stack.workers.remove(running)
    return running


def _kill_worker(world: World, using: Using) -> None:
    place = using["place"]
    _gone(world, place).kill()
    world.workers[place] = world.new_worker(place)


def _stop_worker(world: World, using: Using) -> None:
    place = using["place"]
    running = _gone(world, place)
    world.workers[place] = world.new_worker(place)
    running.signal(signal.SIGTERM)
    world.leaving.append((running, time.monotonic()))


def _kill_child(world: World, using: Using) -> None:
    world.disturb()
    pid = world.workers[1].pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for child in children[using["child"] :][:1]:
        os.kill(int(child), signal.SIGKILL)


def _pause_worker(world: World, using: Using) -> None:
    world.disturb()
    os.killpg(world.workers[using["place"]].pid, signal.SIGSTOP)


def _wake_worker(world: World, using: Using) -> None:
    os.killpg(world.workers[using["place"]].pid, signal.SIGCONT)
    world.disturb()
    now = time.monotonic()
    if using["seconds"] > LEASE - 1:
        world.naps.append(((now - using["seconds"]) * 1000, (now + 1) * 1000))


def _kill_web(world: World, using: Using) -> None:
    world.stack.webs.pop(0).running.kill()
    world.sender()
    world.new_web()


def _stop_web(world: World, using: Using) -> None:
    world.new_web()
    running = world.stack.webs.pop(0).running
    world.sender()
    running.signal(signal.SIGTERM)
    world.leaving.append((running, time.monotonic()))


# Vitally


def _answers(*kinds: Mapping[str, Any]) -> Draw:
    return lambda rng: {
        "fault": {
            **rng.choice(kinds),
            "match": {"method": rng.choice(("PUT", "PUT", "POST"))},
        }
    }


def _answer(world: World, using: Using) -> None:
    world.stack.vitally.break_with([using["fault"]])


LIMITED = [
    {"kind": "status", "status": 429, "headers": headers, "times": times}
    for headers in ({"Retry-After": "1"}, {"RateLimit-Reset": "1"}, {})
    for times in (1, 3)
]
FAILING = [
    {"kind": "status", "status": status, "body": body, "times": times}
    for status, body in ((500, {"error": "x"}), (502, "<html>"), (503, ""))
    for times in (1, 8)
]
REFUSING = [
    {"kind": "status", "status": status, "body": {"error": "Refused."}}
    for status in (400, 404, 409, 422)
]
BREAKING = [
    {"kind": "reset_before"},
    {"kind": "reset_after_commit"},
    {"kind": "timeout_after_commit"},
    {"kind": "delay", "seconds": 3},
    {"kind": "truncated"},
    {"kind": "hang_up"},
]
LYING = [
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
]


def _refuse_key(world: World, using: Using) -> None:
    world.stack.vitally.rotate()


def _take_key(world: World, using: Using) -> None:
    world.stack.vitally.rotate(world.stack.environ["VITALLY_API_KEY"])


def _on_write(world: World, using: Using) -> None:
    world.vitally.on(b"^P", WIRE[using["act"]], times=1)


WIRE = {
    "cut before": proxies.LOSE_REQUEST,
    "cut after 40": proxies.cut(40),
    "reply lost": proxies.LOSE_REPLY,
    "reply stalled": proxies.HOLD_REPLY,
    "reply cut": proxies.truncate(60),
    "late": proxies.HOLD_LATE._replace(seconds=9.0),
}


ROWS = (
    Fault(
        "redis_killed",
        "F1",
        "redis",
        _between(0.2, 3),
        _ill(lambda world: world.stack.redis_server.kill()),
        _well(lambda world: world.stack.redis_server.restart()),
    ),
    Fault("redis_forgets_scripts", "F1", "redis", _any_of(), _forget_scripts),
    Fault(
        "redis_full",
        "F2",
        "redis",
        _between(0.5, 3),
        _ill(_config(maxmemory=1)),
        _well(_config(maxmemory=0)),
    ),
    Fault(
        "redis_may_evict",
        "F2",
        "redis",
        _between(2.6, 3),
        _ill(_config(maxmemory_policy="allkeys-lru")),
        _well(_config(maxmemory_policy="noeviction")),
    ),
    Fault(
        "redis_stalled",
        "F3",
        "redis",
        _between(0.5, 3),
        _ill(lambda world: world.stack.redis_server.pause()),
        _well(lambda world: world.stack.redis_server.resume()),
    ),
    Fault(
        "redis_read_only",
        "F18",
        "redis",
        _between(1, 3),
        _ill(_replica),
        _well(_master),
    ),
    Fault(
        "link_slow",
        "F3",
        "link",
        lambda rng: _draw_link(1, 2)(rng) | {"each": rng.choice((0.05, 0.3))},
        _slow,
        lambda world, using: _link(world, using).mend(),
    ),
    Fault(
        "link_stalled",
        "F3",
        "link",
        _draw_link(0.5, 2.5),
        lambda world, using: _link(world, using).stall(),
        lambda world, using: _link(world, using).flow(),
    ),
    Fault(
        "link_refused",
        "F4",
        "link",
        _draw_link(0.3, 2),
        lambda world, using: _link(world, using).refuse(),
        lambda world, using: _link(world, using).accept(),
    ),
    Fault(
        "link_reset",
        "F4",
        "link",
        _any_of(link=tuple(COMMANDS)),
        lambda world, using: _link(world, using).reset(),
    ),
    *(
        Fault(
            f"redis_{act.replace(' ', '_')}",
            "F4",
            "link",
            _draw_command,
            _on_command(act),
        )
        for act in ACTS
    ),
    Fault("worker_killed", "F5", "worker", _draw_worker, _kill_worker, calm=2),
    Fault("worker_child_killed", "F6", "worker", _any_of(child=(0, 1)), _kill_child),
    Fault("worker_stopped", "F7", "worker", _draw_worker, _stop_worker, calm=2),
    Fault(
        "worker_paused",
        "F20",
        "worker",
        lambda rng: _draw_worker(rng) | {"seconds": rng.choice((1.0, 8.0))},
        _pause_worker,
        _wake_worker,
    ),
    Fault("web_killed", "F7", "web", _any_of(), _kill_web, calm=2),
    Fault("web_stopped", "F7", "web", _any_of(), _stop_web, calm=2),
    Fault("vitally_limits", "F8", "vitally", _answers(*LIMITED), _answer),
    Fault("vitally_fails", "F9", "vitally", _answers(*FAILING), _answer),
    Fault(
        "vitally_away",
        "F9",
        "vitally",
        _between(0.5, 3),
        lambda world, using: world.vitally.refuse(),
        lambda world, using: world.vitally.accept(),
    ),
    Fault("vitally_breaks_off", "F10", "vitally", _answers(*BREAKING), _answer),
    Fault("vitally_lies", "F10", "vitally", _answers(*LYING), _answer),
    Fault("wire_to_vitally", "F10", "vitally", _any_of(act=tuple(WIRE)), _on_write),
    Fault("vitally_refuses", "F11", "vitally", _answers(*REFUSING), _answer),
    Fault("key_refused", "F12", "vitally", _between(1, 2), _refuse_key, _take_key),
    Fault(
        "told_again", "F13", "sender", _any_of(events=(1, 5), times=(2, 8)), noise.again
    ),
    Fault(
        "poison", "F15", "sender", _any_of(place=range(len(noise.POISON))), noise.poison
    ),
    Fault("clock_wrong", "F16", "sender", _any_of(skew=noise.SKEWS), noise.skewed),
    Fault(
        "secret_rotated", "F17", "sender", _any_of(secret=noise.SECRETS), noise.rotated
    ),
    Fault("burst", "F19", "sender", _any_of(), noise.burst),
    Fault("looked_at", "F22", "sender", _any_of(), noise.look),
)

FAULTS: Mapping[str, Fault] = {row.name: row for row in ROWS}
