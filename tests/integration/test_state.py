"""`export`, `import` and `forget`: the whole state in a file, and a customer out of it."""

from __future__ import annotations

import gzip
import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis import Redis
from rq.registry import FailedJobRegistry

from bridge.domain.facts import Fact, Stamp, pointer
from bridge.store import audit, dump, keys, operator
from bridge.store.connect import milliseconds
from bridge.store.quarantine import Kept, Quarantine
from bridge.store.refresh import Cursor
from tests.support.command import Run, called
from tests.support.desk import Bench, bench, customer, subscription
from tests.support.processes import ROOT
from tests.support.server import RedisServer

PARTY = "stripe:cus_1"


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


def test_a_state_goes_through_standard_output_and_input(
    environ: dict[str, str], desk: Bench, other: RedisServer, tmp_path: Path
) -> None:
    """A container may have no disk, and a Redis that is reached only from inside."""
    fill(desk)
    commands = "python -m bridge export - | REDIS_URL=$TO python -m bridge import -"
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/sh", "-c", commands],
        cwd=ROOT,
        env={**environ, "PATH": path, "TO": other.url},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "it contains personal data" in done.stderr
    assert "keys are there" in done.stdout
    assert not (ROOT / "-").exists()
    with bench(other.client()) as fresh:
        assert content(desk.redis) == content(fresh.redis)


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


ROWS = (
    *("[", "7 8", "[[]]", "null", '["vb1:x"]', '["other", "string", -1, "x"]'),
    *('["vb1:x", "sting", -1, "x"]', '["vb1:x", "string", null, "x"]', "[" * 5000),
    *('["vb1:x", "hash", -1, 7]', '["vb1:x", "stream", -1, [["a", {"b": "c"}]]]'),
    *(
        '["vb1:party:stripe:a", "hash", -1, {"rev": "x"}]',
        '["vb1:x", "string", -1, {}]',
    ),
)
"""Lines that `export` does not write."""


@pytest.mark.parametrize("row", ROWS)
def test_a_file_with_a_line_of_another_kind_is_refused_in_a_sentence(
    run: Run, redis: Redis, tmp_path: Path, row: str
) -> None:
    run("export", str(tmp_path / "good"))
    head, *rows, _ = gzip.decompress((tmp_path / "good").read_bytes()).splitlines()
    lines = [head, *rows, row.encode(), b'{"lines":%d}' % (len(rows) + 1)]
    (tmp_path / "bad").write_bytes(gzip.compress(b"\n".join(lines)))
    redis.flushdb()
    said = run("import", str(tmp_path / "bad"), status=1).err

    assert "nothing is changed" in said or "empty this Redis before" in said


def test_a_file_whose_compression_is_damaged_is_refused(
    run: Run, tmp_path: Path
) -> None:
    packed = gzip.compress(b"x" * 99)
    (tmp_path / "bad").write_bytes(packed[:10] + b"\xff" * 9 + packed[19:])

    assert "damaged" in run("import", str(tmp_path / "bad"), status=1).err


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
    assert [[], ["held"]] == [acme["states"], held["states"]]
    assert "stripe:cus_1" in run("accounts", "find", "sub_1").line("acme")
    assert "nothing is found\n" == run("accounts", "find", "globex").out


def test_accounts_are_found_by_their_state(run: Run, desk: Bench) -> None:
    untold = {"items": [{"price": "p", "interval": "month"}]}
    lately = {"status": "canceled", "at": 9, "ended_at": milliseconds(desk.redis)}
    desk.does(
        *(customer(name, account=name, called=name) for name in ("one", "two", "six")),
        *(subscription("one"), subscription("two", **untold)),
        *(subscription("six"), subscription("six", **lately)),
        customer("four", account=None),
    )

    for words, found in (
        (["--state", "unknown"], ["two"]),
        (["--state", "unknown", "one"], []),
        (["--state", "held"], [None]),
        (["--state", "churned"], ["six"]),
        (["--state", "drift"], []),
        ([], ["one", "six", "two", None]),
    ):
        data = run("accounts", "find", *words, "--json").json
        assert (words, found) == (words, [one["account"] for one in data])
    said = run("accounts", "find", "--state", "unknown")
    assert "two two active unknown USD stripe:two" == said.line("two")


def test_a_customer_met_in_mid_life_is_marked_where_its_account_is_found(
    run: Run, desk: Bench
) -> None:
    desk.does(customer("late", account="late"), subscription("late"))
    desk.redis.sadd(keys.INCOMPLETE, "stripe:late")

    assert ["incomplete"] == run("accounts", "find", "late", "--json").json[0]["states"]
    assert "stripe:late (incomplete history)" in run("accounts", "find", "late").line(
        "late"
    )


def everything(redis: Redis) -> str:
    """All of the state as text, bodies in the quarantine too."""
    bodies = [kept.body.decode(errors="replace") for kept in Quarantine(redis).all()]
    jobs = map(str, redis.scan_iter(match="rq:*"))
    return "\n".join([*dump.export(redis), *bodies, *jobs])


def test_nothing_is_left_of_whom_is_forgotten_but_the_counts(
    run: Run, desk: Bench
) -> None:
    fill(desk)
    Quarantine(desk.redis).put(Kept("2f", 0, "stripe", "", "no", b'{"of": "cus_1"}'))
    audit.record(desk.redis, "ada", "retry", "stripe:cus_1")
    desk.redis.zadd(keys.mass("churned"), {"acme": 1})
    desk.redis.zadd(keys.MASS, {PARTY: 1})
    desk.redis.hset(keys.MASS_HOLD, "churned", "")
    Cursor(desk.redis, "stripe", 7).put(PARTY)
    for _ in range(2):
        desk.tell(customer(at=2))
        job = desk.pop()
        assert job is not None
        failed = FailedJobRegistry(queue=desk.queue._rq)
        failed.add(job, 60, "ValueError: acme")
        desk.redis.hdel(keys.party(PARTY), "claim")
    pointed = pointer("stripe", "subscription:sub_1")
    desk.tell(Fact(pointed, "thin", Stamp(False, 1, 1), "evt", "k", {}, "a"))
    before = desk.check()

    for party in ("cus_1", "cus_2", "cus_3"):
        said = run("forget", f"stripe:{party}", "--yes", "--json").json
        counted = desk.check()
        assert before.received == counted.received
        if party == "cus_1":
            assert (5, 5) == (said["events"], counted.forgotten)
            assert {"facts", "party", "account", "history", "index", "journal"} <= {
                *said["removed"]
            }
            assert (1, 1) == (said["removed"]["quarantine"], said["removed"]["audit"])
            assert ("Acme" in str(said), "acme" in str(said)) == (False, False)
    assert (7, 0, 0) == (counted.forgotten, counted.held, counted.parked)
    left = everything(desk.redis)
    assert [] == [word for word in ("cus_", "acme", "Acme", "sub_1") if word in left]

    desk.rests(customer(), subscription(at=5))
    assert 450 == desk.traits()["mrr"]


@pytest.mark.parametrize(
    ("source", "body", "of", "is_kept"),
    [
        ("stripe", '{"id": "cus_77", "quantity": 42}', 1, True),
        ("stripe", '{"of": "cus_42"}', 1, False),
        ("hubspot", '{"of": "cus_42"}', 1, True),
        ("stripe", '{"of": "cus_421"}', 1, True),
        ("hubspot", '{"account": "Birch \\u00e9"}', 1, False),
        ("salesforce", "<Account>Birch \u00e9</Account>", 1, False),
        ("hubspot", '{"name": "Birch \u00e9, a copy"}', 1, True),
        ("stripe", '{"unit_amount_decimal": "42"}', 1, "doubtful"),
        ("stripe", '[{"of": "cus_42"}, {"of": "cus_77"}]', 2, "doubtful"),
    ],
)
def test_only_deliveries_of_whom_is_forgotten_leave_the_quarantine(
    run: Run, desk: Bench, source: str, body: str, of: int, *, is_kept: bool | str
) -> None:
    desk.rests(
        customer("cus_42", account="42"), customer("cus_9", account="Birch \u00e9")
    )
    shelf = Quarantine(desk.redis)
    shelf.put(Kept("1f", 0, source, "", "no", body.encode(), of=of))

    names = ("42", "Birch \u00e9")
    remains = [run("forget", n, "--yes", "--json").json["remains"] for n in names]

    assert bool(is_kept) == (shelf.get("1f") is not None)
    assert (is_kept == "doubtful") == any("1f" in one[-1] for one in remains)


def test_of_the_audit_only_the_id_is_taken(run: Run, desk: Bench) -> None:
    desk.rests(customer(), customer("cus_7", account="7"))
    audit.record(desk.redis, "cus_1", "retry", "stripe:cus_10 and cus_1-b tried again")
    old = audit.record(desk.redis, "ann", "link", "stripe:cus_1 -> 7: 1 job")
    later = [*old._replace(who="bob"), "what a later version adds"]
    desk.redis.lpush(keys.AUDIT, b"no JSON", orjson.dumps(later))
    before = audit.latest(desk.redis)

    run("forget", PARTY, "--yes")
    run("forget", "7", "--yes")

    *_, bob, ann, first = audit.latest(desk.redis)
    gone = old._replace(text="(forgotten) -> (forgotten): 1 job")
    assert [gone._replace(who="bob"), gone, before[-1]] == [bob, ann, first]


def test_an_account_that_was_left_to_another_keeps_no_name(
    run: Run, desk: Bench
) -> None:
    desk.rests(customer(account="old", called="Ada"), customer("cus_2", account="old"))
    desk.rests(customer(at=5, kind="updated", called="Ada"))

    run("forget", PARTY, "--yes")

    assert "Ada" not in everything(desk.redis)


def test_an_account_is_forgotten_with_all_its_parties(run: Run, desk: Bench) -> None:
    desk.rests(customer(), customer("cus_2"), subscription(at=1))

    assert "is forgotten" in run("forget", "acme", typed="acme\n").out

    assert 3 == desk.check().forgotten
    assert "acme" not in everything(desk.redis)


def test_the_account_of_one_that_is_forgotten_is_looked_at_again(
    run: Run, desk: Bench
) -> None:
    desk.rests(customer(), subscription(at=1), customer("cus_2"))

    run("forget", PARTY, "--yes")

    assert ["updated"] == desk.work()
    assert ({}, "acme") == (desk.traits(), desk.standing("cus_2").account)


def test_a_job_that_waits_while_its_party_is_forgotten_leaves_nothing(
    run: Run, desk: Bench
) -> None:
    desk.tell(customer())
    operator.forget(desk.redis, PARTY)
    assert 1 == desk.queue.depth()

    desk.work()

    assert set() == desk.dirty()
    assert 0 == desk.check().held_parties
    assert "cus_1" not in everything(desk.redis)


def test_who_is_being_written_is_forgotten_when_that_is_done(desk: Bench) -> None:
    desk.tell(customer())
    view = desk.leases.begin(PARTY)
    assert view is not None
    desk.leases.move(PARTY, "acme")
    view = desk.leases.begin(PARTY)
    assert view is not None

    assert operator.forget(desk.redis, PARTY) is None
    desk.leases.release(view.lease)
    assert operator.forget(desk.redis, PARTY) is not None
    desk.check()


@pytest.mark.parametrize("is_back", [True, False])
def test_an_account_forgets_who_has_just_left_it(desk: Bench, *, is_back: bool) -> None:
    desk.rests(customer(), customer("cus_2"))
    desk.leases.move(PARTY, "other")
    assert PARTY.encode() == desk.redis.hget(keys.account("acme"), "left")

    if is_back:
        desk.leases.move(PARTY, "acme")
    assert operator.forget(desk.redis, PARTY) is not None

    assert desk.redis.hget(keys.account("acme"), "left") is None


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (["forget", PARTY], 2, "give --yes"),
        (["forget", "cus_1", "--yes"], 1, "did you mean stripe:cus_1?"),
        (["why", "acmi"], 1, "did you mean acme?"),
        (["why", "stripe:cus_"], 1, "accounts find stripe:cus_` shows 2 like it"),
        (["plan", "cus_1x"], 1, "no such account or party here"),
        (["plan", "acmee"], 1, "did you mean acme?"),
        (["retry", "sub_1"], 1, "did you mean acme?"),
        (["forget", "nobody", "--yes"], 1, "no such account or party here"),
    ],
)
def test_what_was_meant_is_said(run: Run, desk: Bench, words, status, expected):
    desk.rests(customer(), subscription(at=1), customer("cus_2", account="two"))

    assert expected in run(*words, status=status).err
    assert 0 == desk.check().forgotten


def test_a_write_that_was_on_its_way_is_made_good_after_an_import(
    run: Run, there: Run, desk: Bench, other: RedisServer, tmp_path: Path
) -> None:
    desk.rests(customer(), subscription(at=1))
    desk.redis.hset(keys.account("acme"), "doubt", 1)
    run("export", str(tmp_path / "state"))

    there("import", str(tmp_path / "state"))

    with bench(other.client()) as fresh:
        fresh.sweep()
        assert ["created"] == fresh.work()
        assert 450 == fresh.traits()["mrr"]


def test_no_event_is_in_the_ring_without_its_party(desk: Bench) -> None:
    """Sent again to the imported state, it would pass for a duplicate."""
    desk.tell(customer())
    names = []
    for line in dump.export(desk.redis):
        names.append(json.loads(line)[0] if line[0] == "[" else "")
        if names[-1] == keys.DIRTY:  # the ring is still to come, or was just read
            desk.tell(customer("cus_2"))

    assert {keys.RECENT, keys.party(PARTY), keys.party("stripe:cus_2")} <= {*names}
