"""How each fault is made, and undone: what is done to which process or proxy.

Each takes the world and what the plan drew for it; nothing here asks a generator but
the makers of parameters (`Draw`).
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Mapping
from hashlib import sha1
from pathlib import Path
from typing import Any

from bridge.store.connect import load
from tests.chaos.world import World
from tests.support import proxy as proxies
from tests.support.processes import Running

Using = Mapping[str, Any]
Draw = Callable[[random.Random], dict[str, Any]]
Play = Callable[[World, Using], None]

UNREADY = 2.5
"""Seconds after which readiness must have noticed a Redis that is away."""

LEASE = 6.0


def between(least: float, most: float) -> Draw:
    return lambda rng: {"seconds": round(rng.uniform(least, most), 1)}


def any_of(**choices: Any) -> Draw:
    return lambda rng: {name: rng.choice(these) for name, these in choices.items()}


# Redis


def ill(play: Callable[[World], None]) -> Play:
    """Begin something that Redis is ill with."""

    def begin(world: World, using: Using) -> None:
        world.disturb()
        play(world)
        world.ill_since = time.monotonic()

    return begin


def well(play: Callable[[World], None]) -> Play:
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


def config(**values: Any) -> Callable[[World], None]:
    return lambda world: world.stack.redis_server.config(**values)


def replica(world: World) -> None:
    world.stack.redis.replicaof("127.0.0.1", "1")


def master(world: World) -> None:
    world.stack.redis.replicaof("NO", "ONE")


def forget_scripts(world: World, using: Using) -> None:
    world.stack.redis.script_flush()


# The links to Redis


def link(world: World, using: Using) -> proxies.Proxy:
    world.disturb()
    return world.links[using["link"]]


COMMANDS: Mapping[str, tuple[bytes, ...]] = {
    "web": (b"EVALSHA", b"EXEC|EVALSHA", b"rq:job"),
    "worker": (
        b"BLMOVE",
        b"ZADD.*rq:wip",
        b"LREM.*intermediate",
        b"ZREM.*rq:wip",
        *(
            sha1(load(name).encode()).hexdigest().encode()
            for name in ("begin", "renew", "ack", "release", "postpone", "move")
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


def draw_command(rng: random.Random) -> dict[str, Any]:
    link = rng.choice(tuple(COMMANDS))
    place = rng.randrange(len(COMMANDS[link]))
    return {"link": link, "command": place, "times": rng.randint(1, 3)}


def on_command(act: str) -> Play:
    def begin(world: World, using: Using) -> None:
        pattern = COMMANDS[using["link"]][using["command"]]
        link(world, using).on(pattern, ACTS[act], times=using["times"])

    return begin


def draw_link(least: float, most: float) -> Draw:
    return lambda rng: {
        "link": rng.choice(tuple(COMMANDS)),
        "seconds": round(rng.uniform(least, most), 1),
    }


def slow(world: World, using: Using) -> None:
    late = proxies.delay(using["each"])
    link(world, using).on(b"", late, times=None)


# Workers and webs


def draw_worker(rng: random.Random) -> dict[str, Any]:
    return {"place": rng.randrange(2)}


def gone(world: World, place: int) -> Running:
    world.disturb()
    running = world.workers[place]
    world.stack.workers.remove(running)
    return running


def kill_worker(world: World, using: Using) -> None:
    place = using["place"]
    gone(world, place).kill()
    world.workers[place] = world.new_worker(place)


def stop_worker(world: World, using: Using) -> None:
    place = using["place"]
    running = gone(world, place)
    world.workers[place] = world.new_worker(place)
    running.signal(signal.SIGTERM)
    world.leaving.append((running, time.monotonic()))


def kill_child(world: World, using: Using) -> None:
    world.disturb()
    pid = world.workers[1].pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for child in children[using["child"] :][:1]:
        os.kill(int(child), signal.SIGKILL)


def pause_worker(world: World, using: Using) -> None:
    world.disturb()
    os.killpg(world.workers[using["place"]].pid, signal.SIGSTOP)


def wake_worker(world: World, using: Using) -> None:
    os.killpg(world.workers[using["place"]].pid, signal.SIGCONT)
    world.disturb()
    now = time.monotonic()
    if using["seconds"] > LEASE - 1:
        world.naps.append(((now - using["seconds"]) * 1000, (now + 1) * 1000))


def kill_web(world: World, using: Using) -> None:
    world.stack.webs.pop(0).running.kill()
    world.sender()
    world.new_web()


def stop_web(world: World, using: Using) -> None:
    world.new_web()
    running = world.stack.webs.pop(0).running
    world.sender()
    running.signal(signal.SIGTERM)
    world.leaving.append((running, time.monotonic()))


# Vitally


def answers(*kinds: Mapping[str, Any]) -> Draw:
    return lambda rng: {
        "fault": {
            **rng.choice(kinds),
            "match": {"method": rng.choice(("PUT", "PUT", "POST"))},
        }
    }


def answer(world: World, using: Using) -> None:
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


def refuse_key(world: World, using: Using) -> None:
    world.stack.vitally.rotate()


def take_key(world: World, using: Using) -> None:
    world.stack.vitally.rotate(world.stack.environ["VITALLY_API_KEY"])


def on_write(world: World, using: Using) -> None:
    world.vitally.on(b"^P", WIRE[using["act"]], times=1)


WIRE = {
    "cut before": proxies.LOSE_REQUEST,
    "cut after 40": proxies.cut(40),
    "reply lost": proxies.LOSE_REPLY,
    "reply stalled": proxies.HOLD_REPLY,
    "reply cut": proxies.truncate(60),
    "late": proxies.HOLD_LATE._replace(seconds=9.0),
}
