"""Deliveries that were refused are counted in the process, and told to Redis at times."""

from __future__ import annotations

from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError

from bridge.deliveries import Line, deliveries
from bridge.store import keys
from bridge.store.connect import connect
from bridge.store.inspect import SPAN_MS, figures
from bridge.store.refused import JOURNAL, ONCE, Refusals
from tests.support.processes import free_port
from tests.support.round_trips import round_trips

WRONG = ("stripe", 401, "mismatch", "it does not match the secret", "d1")


def test_a_burst_costs_one_call_and_is_counted_whole(redis: Redis) -> None:
    tally = Refusals()
    for _ in range(2 * ONCE):
        tally.add(*WRONG)
    tally.add("unknown", 404, "unknown_source", "\ud800", "d2")

    assert ["EVALSHA"] == round_trips(redis, lambda: tally.flush(redis))[-1:]
    assert [] == round_trips(redis, lambda: tally.flush(redis))
    seen = figures(redis)
    counts = {"stripe:mismatch": 2 * ONCE, "unknown:unknown_source": 1}
    assert counts == seen.refused == seen.refused_lately == seen.refused_now
    shown = deliveries(redis, most=2 * ONCE).lines
    assert ONCE == len(shown)
    assert ("unknown", "404: ?", "d2") == _of(shown[0])
    assert ("stripe", f"401: {WRONG[3]}", "d1") == _of(shown[1])
    assert 0 <= seen.now_ms - shown[0].at < 60_000
    kinds = [row[b"k"] for _, row in redis.xrevrange(keys.REFUSED, count=2)]
    assert [b"unknown_source", b"mismatch"] == kinds


def _of(line: Line) -> tuple[str, str, str]:
    return line.source, line.reason, line.delivery


def test_what_redis_did_not_take_is_handed_over_later(redis: Redis) -> None:
    tally = Refusals()
    tally.add(*WRONG)
    away = connect(
        f"redis://127.0.0.1:{free_port()}", verify_tls=True, timeout=0.1, most=1
    )
    with pytest.raises(RedisError):
        tally.flush(away)
    tally.add(*WRONG)
    tally.flush(redis)

    assert {"stripe:mismatch": 2} == figures(redis).refused
    assert 2 == len(deliveries(redis).lines)


@pytest.mark.parametrize(
    ("spans", "found"),
    [(1, (2, 2)), (2, (2, 1)), (5, (2, 1)), (6, (1, 1))],
)
def test_what_came_long_ago_did_not_come_lately(
    redis: Redis, spans: int, found: Any
) -> None:
    tally = Refusals()
    tally.add(*WRONG)
    tally.flush(redis)
    now = figures(redis).now_ms // SPAN_MS
    redis.delete(keys.REFUSED_LATELY)
    old, older = f"{now - spans}:stripe:mismatch", f"{now - 7}:stripe:mismatch"
    redis.hset(keys.REFUSED_LATELY, mapping={old: 1, older: 1})
    tally.add(*WRONG)
    tally.flush(redis)
    seen = figures(redis)
    lately = seen.refused_lately["stripe:mismatch"]

    assert found == (lately, seen.refused_now["stripe:mismatch"])
    assert 2 == seen.refused["stripe:mismatch"]
    assert not redis.hexists(keys.REFUSED_LATELY, older)


def test_the_journal_of_the_refused_is_capped(redis: Redis) -> None:
    tally = Refusals()
    for _ in range(2 * JOURNAL // ONCE):
        for _ in range(ONCE):
            tally.add(*WRONG)
        tally.flush(redis)

    assert JOURNAL <= redis.xlen(keys.REFUSED) <= JOURNAL + ONCE
