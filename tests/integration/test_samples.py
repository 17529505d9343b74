"""A minute's sample and the marks: what was when, and what somebody changed."""

from __future__ import annotations

from dataclasses import replace

from bridge import __version__
from bridge.settings import Settings
from bridge.sources import options
from bridge.store import keys, operator, samples
from bridge.store.samples import MOST_SAMPLES, marks, take
from tests.support.desk import Bench, customer, subscription

SECRET = "sk_live_example_of_a_secret"


def words(desk: Bench) -> list[str]:
    return [mark.text for mark in reversed(marks(desk.redis))]


def begin(desk: Bench, settings: Settings | None = None, rules: str = "r") -> None:
    """What a worker does when it starts."""
    chosen = settings or desk.context.settings
    samples.mark_changes(desk.redis, chosen, rules, options())


def test_one_sample_a_minute_is_taken_and_a_day_is_kept(desk: Bench) -> None:
    desk.redis.lpush(keys.SAMPLES, *["[1,0,0,0,0,0,0,0,null]"] * MOST_SAMPLES)
    desk.redis.delete(keys.SAMPLED)
    desk.does(customer(), subscription())
    for _ in range(3):
        take(desk.redis)
    found = samples.samples(desk.redis)

    assert MOST_SAMPLES == len(found)
    assert (2, 2, 2, 0, None) == (
        found[-1].accepted,
        found[-1].received,
        found[-1].writes,
        found[-1].pending,
        found[-1].oldest_ms,
    )
    assert 1 == found[-2].at


def test_the_sweeper_takes_them(desk: Bench) -> None:
    desk.passes(0)
    desk.passes(0)

    assert 1 == len(samples.samples(desk.redis))


def test_what_is_otherwise_than_at_the_last_start_is_marked_once(desk: Bench) -> None:
    now = desk.context.settings
    begin(desk)
    begin(desk)
    other = replace(now, vitally_api_key=SECRET, bridge_create="never")
    begin(desk, other)
    begin(desk, other, rules="s")
    desk.redis.set(keys.SETUP, b'{"version": "0.0.1"}')
    begin(desk, other, rules="s")

    assert [
        f"deploy of {__version__}",
        "change of VITALLY_API_KEY, BRIDGE_CREATE",
        "change of rules",
        f"deploy of {__version__}",
    ] == words(desk)
    kept = b"".join(desk.redis.lrange(keys.MARKS, 0, -1)) + desk.redis.get(keys.SETUP)
    assert SECRET.encode() not in kept


def test_a_pause_and_its_end_are_marked(desk: Bench) -> None:
    operator.pause(desk.redis, "a look")
    operator.resume(desk.redis)
    operator.resume(desk.redis)

    assert ["pause: a look", "resume"] == words(desk)
