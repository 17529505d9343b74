"""When a write is tried again, and what each end of a job means for the account."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.account import Account, Name
from bridge.domain.document import Change, Document, Ledger
from bridge.domain.fold import History
from bridge.errors import (
    VitallyError,
    VitallyKeyError,
    VitallyLimitedError,
    VitallyMissingError,
    VitallyRefusedError,
    VitallyUnavailableError,
)
from bridge.store.view import Member, View
from tests.support.lives import law
from workers import outcome, retry
from workers.answers import ANSWERS, Row
from workers.retry import GiveUp, Wait
from workers.write import Written, WrongAddressError

NOW = 1_700_000_000_000
MINUTE = 60_000
DAY = 86_400_000

TRAITS = {"mrr": 50, "churnedAt": None}
DOC = Document(Name(2, "Acme"), TRAITS, {"planName": "why"})
CHANGE = Change("Acme", {"mrr": 50})


# --- The table ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("tries", "ceiling"),
    [
        (0, 1000),
        (1, 2000),
        (2, 4000),
        (5, 32_000),
        (9, 512_000),
        (10, 15 * MINUTE),
        (10_000, 15 * MINUTE),
    ],
)
def test_the_longest_wait_doubles_with_each_try_up_to_a_quarter_of_an_hour(
    tries, ceiling
) -> None:
    assert Wait(ceiling, tries + 1, NOW) == retry.after_failure(tries, NOW, NOW, 1.0)


@law(50)
@given(st.integers(0, 100), st.floats(0, 1))
def test_a_wait_is_anything_up_to_the_longest(tries: int, chance: float) -> None:
    longest = retry.after_failure(tries, NOW, NOW, 1.0)
    found = retry.after_failure(tries, NOW, NOW, chance)

    assert isinstance(found, Wait)
    assert isinstance(longest, Wait)
    assert 250 <= found.delay_ms <= longest.delay_ms


def test_the_first_failure_notes_when_it_was() -> None:
    assert Wait(500, 1, NOW) == retry.after_failure(0, 0, NOW, 0.5)
    assert Wait(1000, 2, NOW - DAY) == retry.after_failure(1, NOW - DAY, NOW, 0.5)


@pytest.mark.parametrize(
    ("age", "given_up"),
    [(0, False), (3 * DAY - 1, False), (3 * DAY, True), (30 * DAY, True)],
)
def test_it_is_given_up_after_three_days_however_often_it_was_tried(
    age, given_up
) -> None:
    found = retry.after_failure(3, NOW - age, NOW, 0.5)

    assert given_up == isinstance(found, GiveUp)
    assert not given_up or found == GiveUp(3)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(None, 2000), (0, 50), (-5, 50), (1.5, 1500), (60, 60_000), (86_400, 600_000)],
)
def test_vitally_is_left_alone_for_as_long_as_it_says_within_reason(
    seconds, expected
) -> None:
    assert expected == retry.after_limit(seconds)


# --- The pace of an account ------------------------------------------------------


def test_an_account_that_keeps_changing_is_written_at_growing_intervals() -> None:
    at, pace, wrote_at, writes = NOW, 0, 0, []
    for _ in range(7):
        at += retry.pace_wait(pace, wrote_at, at)
        pace, wrote_at = retry.next_pace(pace, wrote_at, at), at
        writes.append(at)

    assert [1000, 2000, 5000, 5000, 5000, 5000] == [b - a for a, b in pairwise(writes)]


@pytest.mark.parametrize(
    ("pace", "rest", "expected"),
    [(3, 10_000, 3), (3, 15_000, 3), (3, 15_001, 1), (1, 7000, 2), (1, 7001, 1)],
)
def test_after_a_rest_the_pace_is_fresh(pace, rest, expected) -> None:
    assert expected == retry.next_pace(pace, NOW - rest, NOW)


def test_a_rested_account_waits_for_nothing() -> None:
    assert 0 == retry.pace_wait(0, NOW, NOW)
    assert 0 == retry.pace_wait(3, NOW - 5000, NOW)
    assert 1 == retry.pace_wait(3, NOW - 4999, NOW)
    assert 5000 == retry.pace_wait(99, NOW, NOW)


# --- Ends of a job ------------------------------------------------------------------


def view(*names: str, **own: Any) -> View:
    """The account `acme` of the parties *names*, at rest but for what *own* says."""
    members = tuple(Member(n, 1, History([]), {}, "acme") for n in names or ("x:1",))
    rest = dict.fromkeys(View._fields, 0) | {"account": "acme", "members": members}
    rest |= {"ledger": Ledger(), "exists": True, "now": NOW, "own": members[0]}
    rest |= {"unconfirmed_traits": (), "lease": None}
    return View(**(rest | own))


VACANT = view("vacated:acme")


def test_what_does_not_differ_is_settled_without_a_write() -> None:
    found = outcome.unchanged(view(), DOC)

    assert ("unchanged", "settled", 0) == (found.word, found.to, found.writes)
    assert {"planName": "why"} == found.unknown
    assert [True, False] == [
        outcome.unchanged(view(exists=known), DOC).known for known in (True, False)
    ]
    assert {"tries", "since", "not_before"} == set(found.unset)


def test_a_document_that_changes_by_itself_is_looked_at_then() -> None:
    doc = DOC._replace(until=NOW + DAY)

    assert DAY == outcome.unchanged(view(), doc).later_ms
    assert 0 == outcome.unchanged(view(), DOC).later_ms
    assert 1 == outcome.unchanged(view(now=NOW + 2 * DAY), doc).later_ms


def test_of_two_looks_the_earlier_one_counts() -> None:
    doc = DOC._replace(until=NOW + DAY)
    owing = view(unconfirmed_writes=1, confirm_at=NOW + MINUTE)

    assert MINUTE == outcome.unchanged(owing, doc).later_ms


def test_a_dry_run_says_what_it_would_have_written() -> None:
    found = outcome.dry(view(), CHANGE)

    line = {"at": NOW, "did": "dry run", "traits": {"mrr": 50}, "name": "Acme"}
    assert ("unchanged", line) == (found.word, found.history)
    assert found.ledger is None


def test_an_account_that_vitally_does_not_have_is_held_and_looked_for_daily() -> None:
    found = outcome.held(view(), "unknown to Vitally")

    assert ("held", "held", "unknown to Vitally") == (found.word, found.to, found.why)
    assert DAY == found.later_ms


def test_an_account_without_parties_is_not_held_but_forgotten() -> None:
    found = outcome.held(VACANT, "its last party has left it")

    assert ("unchanged", "settled") == (found.word, found.to)
    assert "ledger" in found.unset
    assert 0 == found.later_ms


def test_after_a_write_the_ledger_is_the_document() -> None:
    done = Written("created", CHANGE, Name(2, "Acme"), 2)

    found = outcome.written(view(wrote_at=NOW - 1000, pace=1), DOC, done)

    assert Ledger(Name(2, "Acme"), TRAITS) == found.ledger
    assert ("created", "settled", 2, True) == (
        found.word,
        found.to,
        found.writes,
        found.known,
    )
    assert {"pace": "2", "wrote_at": str(NOW)} == found.fields
    assert {"tries", "since", "not_before", "doubt", "confirm_at", "sent"} == set(
        found.unset
    )


def test_after_a_doubtful_request_the_whole_is_written_once_more() -> None:
    done = Written("updated", CHANGE, None, 1)

    first = outcome.written(view(unconfirmed_writes=2), DOC, done)
    early = outcome.written(
        view(unconfirmed_writes=1, confirm_at=NOW + 9000), DOC, done
    )
    last = outcome.written(view(unconfirmed_writes=1, confirm_at=NOW), DOC, done)

    assert [30_000, 9000, 0] == [first.later_ms, early.later_ms, last.later_ms]
    assert str(NOW + 30_000) == first.fields["confirm_at"]
    assert "doubt" not in first.unset
    assert "doubt" not in early.unset
    assert "doubt" in last.unset


def test_what_the_last_party_left_behind_has_no_ledger() -> None:
    found = outcome.written(VACANT, DOC, Written("updated", CHANGE, None, 1))

    assert found.ledger is None
    assert "ledger" in found.unset
    assert not found.known


UNSENT = VitallyUnavailableError("refused", sent=False)
UNSURE = VitallyUnavailableError("time-out", sent=True)


@pytest.mark.parametrize(
    ("error", "word", "delay"),
    [
        (VitallyLimitedError("slow down", 7.0), "limited", 7000),
        (VitallyLimitedError("slow down", None), "limited", 2000),
        (VitallyKeyError("no", 401), "stopped", 1000),
        (VitallyKeyError("no", 403), "stopped", 1000),
        (VitallyRefusedError("bad trait", 400), "parked", 0),
        (VitallyRefusedError("bad trait", 422), "parked", 0),
        (UNSENT, "retry", 500),
        (UNSURE, "retry", 500),
        (VitallyUnavailableError("sorry", 503), "retry", 500),
        (VitallyMissingError("gone", 404), "retry", 500),
    ],
)
def test_every_failure_leads_somewhere(error: VitallyError, word, delay) -> None:
    found = outcome.failed(error, view(), 0.5)

    assert (word, delay) == (found.word, found.delay_ms)
    assert (word == "parked") == (found.park is not None)
    assert (word == "stopped") == bool(found.breaker)
    assert (word == "limited") == bool(found.pause_ms)


def test_a_limit_is_no_failed_attempt() -> None:
    found = outcome.failed(VitallyLimitedError("slow down", 1.0), view(tries=3), 1.0)

    assert {"doubt": "0", "sent": "[]"} == found.fields


def test_a_failed_attempt_is_counted_from_the_first() -> None:
    first = outcome.failed(UNSURE, view(), 1.0)
    later = outcome.failed(UNSURE, view(tries=4, since=NOW - DAY), 1.0)

    assert {"tries": "1", "since": str(NOW)} == first.fields
    assert {"tries": "5", "since": str(NOW - DAY)} == later.fields


def test_only_a_request_that_surely_did_not_arrive_leaves_no_doubt() -> None:
    assert "doubt" not in outcome.failed(UNSURE, view(), 1.0).fields
    assert "0" == outcome.failed(UNSENT, view(), 1.0).fields["doubt"]
    assert (
        "2" == outcome.failed(UNSENT, view(unconfirmed_writes=2), 1.0).fields["doubt"]
    )


def test_after_three_days_of_failures_the_change_is_parked_with_the_last_answer() -> (
    None
):
    tired = view(tries=90, since=NOW - 3 * DAY)

    found = outcome.failed(VitallyUnavailableError("sorry", 503), tired, 1.0)

    assert "parked" == found.word
    assert found.park is not None
    assert "tried for 3 days; the last answer: sorry" == found.park.why


def test_a_refused_change_is_parked_with_vitally_s_reason() -> None:
    found = outcome.failed(VitallyRefusedError("bad trait", 422), view(), 1.0)

    assert found.park is not None
    assert ("parked", "bad trait") == (found.park.to, found.park.why)


def test_the_breaker_tells_a_wrong_key_from_a_wrong_address() -> None:
    key = outcome.failed(VitallyKeyError("no", 401), view(), 1.0)
    address = outcome.failed(WrongAddressError("nothing there", 404), view(), 1.0)

    assert "Vitally refuses the key (401): no" == key.breaker
    assert "Vitally cannot be reached: nothing there" == address.breaker


EMPTY = Account("acme", (), (), (), False)
PAYING = EMPTY._replace(subscriptions=("a subscription",))


@pytest.mark.parametrize(
    ("policy", "account", "reason"),
    [
        ("customer", EMPTY, None),
        ("customer", PAYING, None),
        ("subscription", EMPTY, "no subscription is known"),
        ("subscription", PAYING, None),
        ("never", PAYING, "BRIDGE_CREATE=never"),
        ("customer", None, "its last party has left it"),
    ],
)
def test_an_account_is_created_only_as_the_policy_says(policy, account, reason) -> None:
    found = outcome.creation_refused(policy, account)

    assert found is None if reason is None else reason in str(found)


@pytest.mark.parametrize("row", ANSWERS, ids=lambda row: row.answer[:30])
def test_the_table_of_answers_says_what_is_decided(row: Row) -> None:
    assert row.word == outcome.failed(row.error, view("x:1"), 0.5).word


def test_every_error_of_vitally_s_is_in_the_table_of_answers() -> None:
    leaves = set(VitallyError.__subclasses__()) - {VitallyMissingError}

    assert leaves == {
        next(c for c in type(row.error).__mro__ if c in leaves) for row in ANSWERS
    }


@pytest.mark.parametrize(
    ("took", "pace", "wanted"),
    [(600, 0, 1200), (600, 3, 5000), (4000, 3, 8000), (60_000, 3, 10_000)],
)
def test_a_long_job_rests_twice_as_long_and_not_less_than_its_pace(
    took: int, pace: int, wanted: int
) -> None:
    assert wanted == retry.rest(took, pace)
