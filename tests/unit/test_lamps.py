"""Each lamp is lit by its own figure, says so in a sentence, and says what to do."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.lamps import CONDITIONS, LATE_MS, lamps
from bridge.settings import Settings
from bridge.sources import options
from bridge.store.complete import Checkpoint
from bridge.store.health import DOWN, SNAPSHOT, RedisHealth
from bridge.store.inspect import Failing, Figures

HOUR = 3_600_000
NOW = 1_800_000_000_000

WELL = dict.fromkeys(Figures._fields, 0) | {
    "oldest_ms": None,
    "workers": {"one": 0},
    "breaker": None,
    "paused": None,
    "dry_run": False,
    "failing": None,
    "objects_failing": None,
    "complete": {},
    "backfilled": {},
    "keys_refused": {},
    "limit": 1000,
    "cost": 10,
    "outcomes": {},
    "refused": {},
    "refused_lately": {
        "stripe:mismatch": 41,
        "stripe:stale": 6,
        "stripe:unknown_source": 7,
    },
    "refused_now": {"stripe:mismatch": 4, "unknown:unknown_source": 99},
    "now_ms": NOW,
}
STRIPE = {"STRIPE_WEBHOOK_SECRET": "whsec_example", "STRIPE_API_KEY": "rk_live_example"}
SETTINGS = Settings.from_env(
    STRIPE, options(), without={"REDIS_URL", "VITALLY_API_KEY"}
)


def lit(redis: RedisHealth | None = None, **more: Any) -> dict[str, str]:
    """Kind -> sentence of what is lit where all but *more* is well."""
    found = lamps(Figures(**(WELL | more)), redis or RedisHealth(0, ()), SETTINGS)
    return {lamp.kind: lamp.text for lamp in found}


def test_no_lamp_is_lit_where_all_is_well() -> None:
    assert {} == lit()


@pytest.mark.parametrize(
    ("more", "kind", "words"),
    [
        ({"workers": {"one": 15_000}}, "no_worker", "heard from for 15 s"),
        ({"breaker": "Vitally refuses the key (401): no"}, "key_refused", "(401): no."),
        ({"breaker": "the key (401): Invalid key."}, "key_refused", "Invalid key."),
        ({"breaker": "Vitally cannot be reached: 404"}, "wrong_address", "404."),
        (
            {"failing": Failing("answered 502", NOW - 60_000, NOW - 2000, NOW + 4000)},
            "vitally_failing",
            "Vitally has failed for 60 s: answered 502; the next try in 4 s.",
        ),
        ({"dry_run": True}, "dry_run", "BRIDGE_DRY_RUN"),
        ({"objects_failing": "401: no"}, "objects", "as custom objects: 401: no."),
        ({"objects_late": 2}, "objects", "those of 2 accounts, sent several times."),
        ({"paused": ""}, "paused", "paused by hand: ."),
        ({"scarce_at": NOW - 60_000}, "limit_shared", "too: 60 s ago they"),
        ({"oldest_ms": HOUR}, "late", "for 60 min"),
        ({"parked_parties": 1200}, "parked", "1,200"),
        ({"drift": 7}, "drift", "changed or deleted in Vitally: 7"),
        ({"quarantined_lately": 2}, "quarantine", "last hour: 2."),
        (
            {"refused_now": {"stripe:mismatch": 5}},
            "wrong_signatures",
            "41 deliveries in the last hour had a wrong signature: is STRIPE_WEBHOOK_SEC",
        ),
        ({"refused_now": {"stripe:stale": 6}}, "wrong_signatures", "clock right"),
        (
            {"refused_now": {"stripe:unknown_source": 5}},
            "wrong_signatures",
            "7 deliveries in the last hour had no source to take them: set STRIPE_WEBH",
        ),
        ({"keys_refused": {"stripe": "no (401)"}}, "source_key", "no (401)."),
        (
            {
                "complete": {
                    "stripe": Checkpoint(
                        0, NOW, missing=7, types=["a", "b"], gap_at=NOW - 1000
                    )
                }
            },
            "gap",
            "list: stripe 7 (a, b), the last at 2027-01-15 07:59:59 UTC.",
        ),
        ({"unread": 3}, "unread", ": 3."),
        ({"held_parties": 4}, "held", ": 4."),
        ({"redis": RedisHealth(0, (DOWN,))}, "redis", DOWN),
        ({"redis": RedisHealth(0, (), (SNAPSHOT,))}, "redis", SNAPSHOT),
        ({"redis": RedisHealth(0, (), memory=0.81)}, "redis_memory", "81%"),
        (
            {"redis": RedisHealth(0, (), appends=False)},
            "redis_not_durable",
            "append-only",
        ),
    ],
)
def test_one_figure_lights_one_lamp(more: dict[str, Any], kind: str, words: str):
    found = lit(**more)

    assert [kind] == [*found]
    assert words in found[kind]
    assert ".." not in found[kind]


@pytest.mark.parametrize(
    "more",
    [
        {"oldest_ms": LATE_MS - 1},
        {"oldest_ms": HOUR, "dirty": 50_000},
        {"oldest_ms": HOUR, "paused": "", "workers": {"one": 0}},
        {"oldest_ms": HOUR, "breaker": "Vitally refuses the key (401)"},
        {"oldest_ms": HOUR, "dry_run": True},
    ],
)
def test_a_change_is_not_late_while_it_has_to_wait(more: dict[str, Any]) -> None:
    assert "late" not in lit(**more)


def test_what_is_late_is_so_since_its_event_came() -> None:
    figures = Figures(**(WELL | {"oldest_ms": HOUR}))
    (lamp,) = lamps(figures, RedisHealth(0, ()), SETTINGS)

    assert NOW - HOUR == lamp.since_ms


@pytest.mark.parametrize("refusals", [(), (DOWN,)])
def test_without_figures_redis_is_down(refusals: tuple[str, ...]) -> None:
    found = lamps(None, RedisHealth(0, refusals), SETTINGS)

    assert [("redis", "bad", DOWN)] == [lamp[:3] for lamp in found]


def test_a_redis_that_is_full_is_not_said_to_be_down() -> None:
    assert {"redis": "Redis is full."} == {
        lamp.kind: lamp.text
        for lamp in lamps(None, RedisHealth(0, ("Redis is full.",)), SETTINGS)
    }


def test_every_condition_has_its_own_kind_a_meaning_and_a_first_thing_to_do() -> None:
    kinds = [row.kind for row in CONDITIONS]

    assert len(kinds) == len(set(kinds))
    assert all(row.meaning.endswith(".") for row in CONDITIONS)
    assert all(row.hint.endswith(".") for row in CONDITIONS)


@pytest.mark.parametrize(
    ("backfilled", "is_lit"),
    [({}, True), ({"stripe": NOW - 1}, True), ({"stripe": NOW}, False)],
)
def test_an_emptied_redis_is_told_until_each_source_was_read_whole(
    backfilled: dict[str, int], is_lit: bool
) -> None:
    found = lit(emptied=NOW, backfilled=backfilled)

    assert is_lit == ("redis_emptied" in found)


def test_a_source_that_is_off_or_has_no_key_is_no_longer_compared() -> None:
    place = Checkpoint(0, NOW - HOUR, missing=7, types=["a"], gap_at=NOW - 1000)

    assert {} == lit(complete={"chargebee": place})
    assert {"gap", "completeness"} == lit(complete={"stripe": place}).keys()
