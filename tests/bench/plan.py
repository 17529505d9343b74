"""A plan over many accounts, and `doctor`, as one types them."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from redis import Redis

from bridge.sources import load
from bridge.store import keys
from tests.bench.report import Figure, figure, say
from tests.support.desk import bench, customer, subscription
from tests.support.processes import ROOT
from tests.support.server import RedisServer
from tests.support.vitally import Simulator

ACCOUNTS = 50_000

PATTERNS = 20
"""Different accounts; all others are like one of them."""

AT_ONCE = 1000

RENAMED = '[traits]\nmrr = "billing.mrr"\n'


def over_many(folder: Path) -> dict[str, Figure]:
    """Return seconds, and CPU seconds a core, of plans and of `doctor`."""
    other = folder / "other.toml"
    other.write_text(RENAMED, encoding="utf-8")
    with RedisServer(folder / "redis") as server, Simulator() as vitally:
        environ = {
            "REDIS_URL": server.url,
            "VITALLY_API_KEY": "sk_test_example",
            "VITALLY_BASE_URL": vitally.url,
            "STRIPE_WEBHOOK_SECRET": "whsec_example",
        }
        with server.client() as redis:
            say(f"plan: {ACCOUNTS:,} accounts with two subscriptions each")
            fill(redis, environ)
            runs = {
                "plan": (["plan", "--json"], {}),
                "plan anew": (["plan", "--json"], {"BRIDGE_CONFIG": str(other)}),
                "doctor": (["doctor", "--json"], {}),
            }
            found: dict[str, Figure] = {}
            for name, (words, more) in runs.items():
                say(f"plan: {name}")
                seconds, cpu = _timed(redis, words, environ | more)
                found[name] = figure([seconds])
                found[f"{name} cpu"] = figure([cpu / (os.cpu_count() or 1)])
    return found


def _timed(
    redis: Redis, words: list[str], environ: dict[str, str]
) -> tuple[float, float]:
    """Seconds of a command, and CPU seconds of it and of Redis."""
    begun, before = time.monotonic(), _cpu(redis)
    subprocess.run(
        [sys.executable, "-m", "bridge", *words],
        cwd=ROOT,
        env=os.environ | environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return time.monotonic() - begun, _cpu(redis) - before


def _cpu(redis: Redis) -> float:
    own = resource.getrusage(resource.RUSAGE_CHILDREN)
    info: Any = redis.info("cpu")
    server = info["used_cpu_user"] + info["used_cpu_sys"]
    return own.ru_utime + own.ru_stime + float(server)


def fill(redis: Redis, environ: dict[str, str], accounts: int = ACCOUNTS) -> None:
    """Some accounts by way of events and jobs, then many that are like these."""
    client: Any = redis
    names = [f"pattern{n}" for n in range(PATTERNS)]
    with bench(redis) as desk:
        desk.vitally.turn(rate_limit=1_000_000)
        desk.set(config=load(environ)[1])
        for n, name in enumerate(names):
            units = {f"{name}-a": 900 + n, f"{name}-b": 100 * n}
            desk.does(customer(name, account=name, called=f"Company {n}"))
            desk.does(*(subscription(name, sub, kind="created") for sub in units))
            desk.settles(
                *(subscription(name, s, at=9, unit=u) for s, u in units.items())
            )
        desk.passes(60_000)
        desk.settles()
    patterns = [[*_hashes(client, name)] for name in names]
    parts = ("received", "accepted", "settled")
    counted = {part: int(client.hget(keys.COUNTERS, part)) for part in parts}
    for start in range(PATTERNS, accounts, AT_ONCE):
        with client.pipeline(transaction=False) as pipe:
            for n in range(start, min(accounts, start + AT_ONCE)):
                old, new = names[n % PATTERNS].encode(), f"acme-{n}".encode()
                for key, fields in patterns[n % PATTERNS]:
                    copy = {f.replace(old, new): v.replace(old, new) for f, v in fields}
                    pipe.hset(key.replace(old, new), mapping=copy)
                pipe.sadd(keys.members(new.decode()), f"stripe:{new.decode()}")
            pipe.execute()
    for part, some in counted.items():
        client.hset(keys.COUNTERS, part, some * accounts // PATTERNS)


def _hashes(
    client: Any, name: str
) -> Iterator[tuple[bytes, list[tuple[bytes, bytes]]]]:
    """The hashes of a party and its account, and the row in the index."""
    party = f"stripe:{name}"
    for key in (keys.facts(party), keys.party(party), keys.account(name)):
        yield key.encode(), [*client.hgetall(key).items()]
    yield keys.INDEX.encode(), [(name.encode(), client.hget(keys.INDEX, name))]
