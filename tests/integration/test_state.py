"""`export` and `import`: a file of the whole state is the whole state."""

from __future__ import annotations

import gzip
import json
import stat
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from bridge.store import dump, keys
from bridge.store.quarantine import Kept, Quarantine
from tests.support.command import Run, called
from tests.support.desk import Bench, bench, customer, subscription
from tests.support.server import RedisServer


@pytest.fixture
def other(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "other") as server:
        yield server


@pytest.fixture
def there(environ: dict[str, str], other: RedisServer) -> Run:
    """Call a command for the other Redis."""
    return partial(called, environ={**environ, "REDIS_URL": other.url})


def content(redis: Redis) -> list[list[Any]]:
    """Keys and values."""
    _, *lines, _ = map(json.loads, dump.export(redis))
    return [[line[0], line[-1]] for line in lines]


def fill(desk: Bench) -> None:
    """A settled, a held, a parked and a pending party, and a quarantined delivery."""
    desk.rests(customer(), subscription(at=1))
    desk.tell(customer("cus_2", account=None))
    desk.work()
    desk.fault("status", "PUT", status=400, body={"error": "no"})
    desk.tell(customer("cus_3", account="cus_3"))
    desk.work()
    Quarantine(desk.redis).put(Kept("1f", 0, "stripe", "evt_1", "no", b"\xff\x00"))
    desk.redis.set(keys.reads("stripe", "1"), 1, px=60_000)


def test_what_is_imported_is_what_was_exported(
    run: Run, there: Run, desk: Bench, other: RedisServer, tmp_path: Path
) -> None:
    fill(desk)
    file = tmp_path / "state.jsonl.gz"

    said = run("export", str(file), "--json").json
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)
    assert f"{said['keys']} keys are there" in there("import", str(file)).out

    with bench(other.client()) as fresh:
        assert content(desk.redis) == content(fresh.redis)
        was, now = (one.check()._replace(now_ms=0) for one in (desk, fresh))
        assert was == now._replace(oldest_ms=was.oldest_ms)
        assert 0 < fresh.redis.pttl(keys.reads("stripe", "1")) <= 60_000


def test_an_export_under_load_adds_up_and_what_it_owes_is_written(
    run: Run, there: Run, desk: Bench, other: RedisServer, tmp_path: Path
) -> None:
    fill(desk)
    stop, begun = threading.Event(), threading.Event()

    def load() -> None:
        for at in range(2, 100_000):
            desk.tell(customer(f"cus_{at}", account=f"a{at % 7}"), subscription(at=at))
            if at % 3 == 0:
                desk.work()
            begun.set()
            if stop.is_set():
                return

    thread = threading.Thread(target=load)
    thread.start()
    begun.wait(10)
    file = tmp_path / "state.jsonl.gz"
    run("export", str(file))
    stop.set()
    thread.join()

    there("import", str(file))

    with bench(other.client()) as fresh:
        counted = fresh.check()
        assert counted.pending > 0
        while fresh.dirty():
            fresh.sweep()
            fresh.work()
            fresh.passes(6000)
        assert 0 == fresh.check().pending


def test_an_import_needs_an_empty_redis_and_a_whole_file(
    run: Run, there: Run, desk: Bench, tmp_path: Path
) -> None:
    fill(desk)
    file, half = tmp_path / "state.jsonl.gz", tmp_path / "half.gz"
    run("export", str(file))
    lines = gzip.decompress(file.read_bytes()).splitlines(keepends=True)

    assert "exists already" in run("export", str(file), status=1).err
    assert "cannot be merged" in run("import", str(file), status=1).err
    for text, expected in (
        (lines[:-1], "its end is missing"),
        (lines[1:], "not an export"),
        (
            [lines[0].replace(b'"format":1', b'"format":2'), *lines[1:]],
            "another version",
        ),
    ):
        half.write_bytes(gzip.compress(b"".join(text)))
        assert expected in there("import", str(half), status=1).err
    half.write_bytes(file.read_bytes()[:-20])
    assert "damaged" in there("import", str(half), status=1).err
    there("import", str(file))


def test_an_account_and_a_held_party_are_found(run: Run, desk: Bench) -> None:
    fill(desk)

    acme, *_ = run("accounts", "find", "ACME", "--json").json
    assert {
        "account": "acme",
        "name": "Acme",
        "parties": ["stripe:cus_1"],
        "mrr": 450,
        "status": "active",
    }.items() <= acme.items()
    (held,) = run("accounts", "find", "cus_2", "--json").json
    assert (None, ["stripe:cus_2"], "held") == (
        held["account"],
        held["parties"],
        held["status"],
    )
    assert "stripe:cus_1" in run("accounts", "find", "sub_1").line("acme")
    assert "nothing is found\n" == run("accounts", "find", "globex").out
