"""What follows Vitally's answers, and what each end of a job means for the account."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.desired import creation_refused
from bridge.domain.account import Account, Name
from bridge.domain.document import Change, Document, Ledger
from bridge.domain.fold import History
from bridge.errors import (
    SourceError,
    VitallyError,
    VitallyKeyError,
    VitallyLimitedError,
    VitallyMissingError,
    VitallyRefusedError,
    VitallyUnavailableError,
)
from bridge.store.view import Lease, Member, View
from bridge.vitally.client import Call
from tests.support.lives import law
from workers import outcomes
from workers.write import Written, WrongAddressError

NOW = 1_700_000_000_000
MINUTE, DAY = 60_000, 86_400_000

TRAITS = {"mrr": 50, "churnedAt": None}
DOC = Document(Name(2, "Acme"), TRAITS, {"planName": "why"})
CHANGE = Change("Acme", {"mrr": 50})
DONE = Written("updated", CHANGE, None, 1)

NOT_SENT = VitallyUnavailableError("refused", sent=False)
UNSURE = VitallyUnavailableError("time-out")


def view(name: str = "x:1", **more: Any) -> View:
    """The account `acme` of one party, at rest but for what is *more*."""
    member = Member(name, 1, History([]), {})
    rest = dict.fromkeys(View._fields, 0) | {"lease": Lease("acme", name, 1)}
    rest |= {"own": member, "members": (member,), "catalogues": {}}
    rest |= {"children": (), "organizations": {}}
    rest |= {"ledger": Ledger(), "written": True, "now": NOW, "unconfirmed_traits": ()}
    return View(**(rest | more))


# --- What the account's history says ----------------------------------------------------


def drifted(**seen: Any) -> Ledger:
    """What was written, and what a reading has shown."""
    return Ledger(None, {"mrr": 40}, seen, NOW - 9)


NEWS = {"dirty_since": NOW - 5}
WAITING = Member("x:1", 1, History([]), {}, 0, "1 abc")
LAST = view()._replace(members=(), dirty_since=NOW)
WHOLE = "all traits again: one write is uncertain, or it was asked for"


@pytest.mark.parametrize(
    ("then", "had", "cause"),
    [
        (view(**NEWS), None, None),
        (view(**NEWS, ledger=drifted()), {"mrr": 40}, None),
        (view(**NEWS, ledger=Ledger(None, {"mrr": 50})), None, None),
        (view(ledger=drifted(mrr=1)), {"mrr": 1}, "others had changed it in Vitally"),
        (view(**NEWS, ledger=drifted(planName="x")), {"mrr": 40}, None),
        # What was there before we ever wrote is nobody's drift.
        (view(**NEWS, ledger=Ledger(None, {}, {"mrr": 1}, 9)), {"mrr": 1}, None),
        (view(ledger=Ledger(missing=True)), None, "it was deleted in Vitally"),
        # What was never written was not deleted; it is about to be created.
        (view(**NEWS, ledger=Ledger(missing=True), written=False), None, None),
        (LAST, None, "its last party has left it"),
        (LAST._replace(left="x:2"), None, "x:2 has left it"),
        (view(**NEWS, left="x:2"), None, "x:2 has left it"),
        (view(**NEWS, unconfirmed_writes=2), None, WHOLE),
        (view(), None, "no new event: worked out again"),
        # What was parked is tried again with the deliveries that it came with.
        (view(members=(WAITING,)), None, None),
    ],
)
def test_a_write_says_what_vitally_had_and_what_it_is_for(
    then: View, had: dict[str, Any] | None, cause: str | None
) -> None:
    line = outcomes.written(then, DOC, DONE).history or {}

    assert had == line.get("had")
    assert cause == line.get("cause")


# --- Vitally's answers ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "row", "word", "delay"),
    [
        (NOT_SENT, 0, "retry", 500),
        (UNSURE, 1, "retry", 500),
        (VitallyUnavailableError("sorry", 503), 1, "retry", 500),
        (VitallyMissingError("gone", 404), 1, "retry", 500),
        (VitallyLimitedError("slow down", 7.0), 2, "limited", 7000),
        (VitallyLimitedError("slow down", None), 2, "limited", 2000),
        (VitallyLimitedError("slow down", 0), 2, "limited", 50),
        (VitallyLimitedError("slow down", -5), 2, "limited", 50),
        (VitallyLimitedError("slow down", 1.5), 2, "limited", 1500),
        (VitallyLimitedError("slow down", 86_400), 2, "limited", 600_000),
        (VitallyKeyError("no", 401), 3, "stopped", 1000),
        (VitallyKeyError("no", 403), 3, "stopped", 1000),
        (WrongAddressError("no", 404), 4, "stopped", 1000),
        (VitallyRefusedError("bad trait", 400), 5, "parked", 0),
        (VitallyRefusedError("bad trait", 422), 5, "parked", 0),
    ],
)
def test_the_table_of_answers_decides(
    error: VitallyError, row: int, word: str, delay: int
) -> None:
    decision = outcomes.failed(error, view(), 0.5)

    assert outcomes.REACTIONS[row] is outcomes.reaction_to(error)
    assert (word, delay) == (decision.word, decision.delay_ms)
    assert (word == "parked") == (decision.park is not None)
    assert (word == "stopped") == bool(decision.breaker)


def test_every_error_of_vitally_s_is_in_the_table_of_answers() -> None:
    errors = {row.error for row in outcomes.REACTIONS} - {WrongAddressError}

    assert set(VitallyError.__subclasses__()) - {VitallyMissingError} == errors


@pytest.mark.parametrize(
    ("tries", "longest"),
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
    tries: int, longest: int
) -> None:
    decision = outcomes.failed(UNSURE, view(tries=tries, since=NOW), 1.0)

    assert longest == decision.delay_ms
    said = {"failed": outcomes.with_status(UNSURE)}
    assert {"tries": str(tries + 1), "since": str(NOW)} | said == decision.fields


@law(50)
@given(st.integers(0, 100), st.floats(0, 1))
def test_a_wait_is_anything_up_to_the_longest(tries: int, chance: float) -> None:
    longest, some = (
        outcomes.failed(UNSURE, view(tries=tries), n).delay_ms for n in (1, chance)
    )

    assert 250 <= some <= longest


@pytest.mark.parametrize(("since", "noted"), [(0, NOW), (NOW - DAY, NOW - DAY)])
def test_failures_are_counted_from_the_first(since: int, noted: int) -> None:
    decision = outcomes.failed(UNSURE, view(tries=4, since=since), 1.0)

    said = {"failed": outcomes.with_status(UNSURE)}
    assert {"tries": "5", "since": str(noted)} | said == decision.fields


@pytest.mark.parametrize(
    ("age", "is_parked"),
    [(0, False), (3 * DAY - 1, False), (3 * DAY, True), (30 * DAY, True)],
)
@pytest.mark.parametrize("tries", [0, 3, 90])
def test_after_three_days_a_change_is_parked_with_the_last_answer(
    age: int, tries: int, *, is_parked: bool
) -> None:
    tired = view(tries=tries, since=NOW - age)
    park = outcomes.failed(VitallyUnavailableError("sorry", 503), tired, 1.0).park

    refusal = outcomes.failed(VitallyRefusedError("bad trait", 422), tired, 1.0).park

    assert refusal is not None
    assert ("parked", "bad trait") == (refusal.to, refusal.why)
    assert is_parked == (park is not None)
    assert park is None or "tried for 3 days; the last answer: sorry" == park.why


@pytest.mark.parametrize(
    ("calls", "is_uncertain"),
    [
        ([("GET", 200), ("PUT", 429)], False),
        ([("PUT", 404), ("POST", 409), ("PUT", 429)], False),
        ([("PUT", 200), ("PUT", 429)], True),
        ([("POST", 201), ("GET", 200), ("PUT", 429)], True),
    ],
)
def test_what_vitally_took_stays_unconfirmed_whatever_comes_after_it(
    calls: list[tuple[str, int]], *, is_uncertain: bool
) -> None:
    made = [Call(*call, 0.0, 0.0) for call in calls]

    failed = outcomes.failed(VitallyLimitedError("slow", 1.0), view(), 1.0, made)

    assert is_uncertain == ("doubt" not in failed.fields)


def test_what_vitally_refuses_is_parked_with_its_own_reason_however_long_ago() -> None:
    tired = view(tries=9, since=NOW - 30 * DAY)
    park = outcomes.failed(VitallyRefusedError("bad trait", 422), tired, 1.0).park

    assert park is not None
    assert "bad trait" == park.why


def test_a_limit_is_no_failed_attempt() -> None:
    error = VitallyLimitedError("slow down", 1.0)

    assert {"doubt": "0", "sent": "[]"} == outcomes.failed(
        error, view(tries=3), 1.0
    ).fields


@pytest.mark.parametrize(
    ("error", "owed", "noted"),
    [(UNSURE, 0, None), (NOT_SENT, 0, "0"), (NOT_SENT, 2, "2")],
)
def test_only_a_request_that_surely_did_not_arrive_leaves_no_doubt(
    error: VitallyError, owed: int, noted: str | None
) -> None:
    decision = outcomes.failed(error, view(unconfirmed_writes=owed), 1.0)

    assert noted == decision.fields.get("doubt")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (VitallyKeyError("no", 401), "Vitally refuses the key (401)"),
        (WrongAddressError("nothing", 404), "Vitally cannot be reached: nothing"),
    ],
)
def test_the_breaker_tells_a_wrong_key_from_a_wrong_address(
    error: VitallyKeyError, reason: str
) -> None:
    assert reason == outcomes.failed(error, view(), 1.0).breaker


@pytest.mark.parametrize(
    ("error", "delay"),
    [
        (SourceError("no answer"), MINUTE),
        (SourceError("slow down", 7.0), 7000),
        (SourceError("slow down", 7.0, refused=True), 60 * MINUTE),
    ],
)
def test_a_source_is_asked_again_as_it_says(error: SourceError, delay: int) -> None:
    assert delay == outcomes.after_refresh(error)


# --- The pace of an account -----------------------------------------------------------


@pytest.mark.parametrize(
    ("pace", "rest", "expected"),
    [(3, 10_000, 3), (3, 15_000, 3), (3, 15_001, 1), (1, 7000, 2), (1, 7001, 1)],
)
def test_after_a_rest_the_pace_is_fresh(pace: int, rest: int, expected: int) -> None:
    assert expected == outcomes.next_pace(pace, NOW - rest, NOW)


@pytest.mark.parametrize(
    ("pace", "rest", "wait"), [(0, 0, 0), (3, 5000, 0), (3, 4999, 1), (99, 0, 5000)]
)
def test_a_rested_account_waits_for_nothing(pace: int, rest: int, wait: int) -> None:
    assert wait == outcomes.pace_wait(pace, NOW - rest, NOW)


@pytest.mark.parametrize(
    ("took", "pace", "rest"),
    [(600, 0, 1200), (600, 3, 5000), (4000, 3, 8000), (60_000, 3, 10_000)],
)
def test_a_long_job_rests_twice_as_long_and_not_less_than_its_pace(
    took: int, pace: int, rest: int
) -> None:
    assert rest == outcomes.rest(took, pace)


# --- Ends of a job --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("until", "more", "later"),
    [
        (None, {}, 0),
        (NOW + DAY, {}, DAY),
        (NOW + DAY, {"now": NOW + 2 * DAY}, 1),
        (NOW + DAY, {"unconfirmed_writes": 1, "confirm_at": NOW + MINUTE}, MINUTE),
    ],
)
def test_what_is_owed_and_what_changes_by_itself_is_looked_at_at_the_earlier_instant(
    until: int | None, more: dict[str, int], later: int
) -> None:
    doc = DOC._replace(until=until)

    assert later == outcomes.unchanged(view(**more), doc).later_ms


def test_after_a_write_the_ledger_is_the_document() -> None:
    done = Written("created", CHANGE, Name(2, "Acme"), 2)

    outcome = outcomes.written(view(wrote_at=NOW - 1000, pace=1), DOC, done)

    assert Ledger(Name(2, "Acme"), TRAITS) == outcome.ledger
    assert ("created", "settled", 2) == (outcome.word, outcome.to, outcome.writes)
    assert outcome.known
    assert {"pace": "2", "wrote_at": str(NOW)} == outcome.fields
    assert set(outcome.unset) == {*outcomes.FORGOTTEN, *outcomes.CERTAIN}


def test_who_is_held_begins_anew() -> None:
    gone = {*outcomes.FORGOTTEN, *outcomes.CERTAIN}

    assert gone == set(outcomes.held(view(), "unknown to Vitally").unset)


@pytest.mark.parametrize(
    ("writes", "confirm_in", "later"), [(2, 0, 30_000), (1, 9000, 9000), (1, 0, 0)]
)
def test_after_a_doubtful_request_the_whole_is_written_once_more(
    writes: int, confirm_in: int, later: int
) -> None:
    owing = view(unconfirmed_writes=writes, confirm_at=NOW + confirm_in)

    outcome = outcomes.written(owing, DOC, DONE)

    assert later == outcome.later_ms
    assert (str(NOW + later) if later else None) == outcome.fields.get("confirm_at")
    assert bool(later) == ("doubt" not in outcome.unset)


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
def test_an_account_is_created_only_as_the_policy_says(
    policy: str, account: Account | None, reason: str | None
) -> None:
    refusal = creation_refused(policy, account)

    assert refusal is None if reason is None else reason in str(refusal)
