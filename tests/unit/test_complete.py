"""How far a source is complete: which span is compared next, and what is news."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.store.complete import EVERY_MS, LAG_MS, NEWS_MS, OVERLAP_MS, Checkpoint

NOW = 1_800_000_000_000
PLACE = Checkpoint(0, NOW - EVERY_MS - LAG_MS, run="a", checked=NOW - EVERY_MS)


@pytest.mark.parametrize(
    ("place", "run", "due", "until"),
    [
        (PLACE, "a", True, NOW - LAG_MS),
        (PLACE._replace(checked=NOW - EVERY_MS + 1), "a", False, NOW - LAG_MS),
        # Redis was started anew: at once, and up to now.
        (PLACE._replace(checked=NOW), "b", True, NOW),
        # Nobody compared for a while: up to now, too.
        (PLACE._replace(checked=NOW - 3 * EVERY_MS), "a", True, NOW),
        # In the middle of a span it goes on, unless Redis was started anew.
        (PLACE._replace(until=7, after="x", checked=NOW), "a", True, 7),
        (PLACE._replace(until=7, after="x", checked=NOW), "b", True, NOW),
        # It never goes back.
        (PLACE._replace(up_to=NOW), "a", True, NOW),
    ],
)
def test_the_span_that_is_compared_next(
    place: Checkpoint, run: str, due: bool, until: int
) -> None:
    begun = place.begun(NOW, run)

    assert due == place.is_due(NOW, run)
    assert (until, run) == (begun.until, begun.run)
    assert ("" if until != 7 else "x") == begun.after


def test_a_span_reaches_back_but_not_before_the_very_first() -> None:
    assert NOW - OVERLAP_MS == Checkpoint(0, NOW).since
    assert NOW - 5 == Checkpoint(NOW - 5, NOW).since


def test_what_a_list_no_longer_shows_is_not_claimed() -> None:
    month = 30 * 86_400_000

    assert 0 == PLACE.begun(NOW, "a", month).first
    assert NOW - month == Checkpoint(0, NOW - month - 1).begun(NOW, "a", month).first


def test_only_the_last_page_of_a_span_moves_the_place() -> None:
    begun = PLACE._replace(reason="away").begun(NOW, "a")
    middle = begun.read("second", [], NOW)
    end = middle.read("", [], NOW + 1)

    assert (PLACE.up_to, "second", "") == (middle.up_to, middle.after, middle.reason)
    assert (NOW - LAG_MS, 0, NOW + 1) == (end.up_to, end.until, end.checked)
    assert not end.is_due(NOW + 1, "a")


def test_what_was_missing_is_summed_while_it_is_news() -> None:
    one = PLACE.begun(NOW, "a").read("", ["b", "a", "b"], NOW)
    soon = one.read("", ["c", "c"], NOW + NEWS_MS - 1)
    late = one.read("", ["c", "c"], NOW + NEWS_MS)

    assert (3, 3) == (one.missing, one.total)
    assert (5, 5) == (soon.missing, soon.total)
    assert (["a", "b", "c"], ["c"]) == (soon.types, late.types)
    assert (2, 5) == (late.missing, late.total)
    assert not one.is_news(NOW + NEWS_MS)
    assert not PLACE.is_news(NOW)


@given(
    pages=st.lists(st.tuples(st.booleans(), st.integers(1, 400_000)), max_size=20),
    restarts=st.sets(st.integers(0, 19)),
)
def test_spans_leave_nothing_out(
    pages: list[tuple[bool, int]], restarts: set[int]
) -> None:
    """Whatever happened between two places was in a span whose pages were all read."""
    place, now, run, covered = Checkpoint(NOW, NOW), NOW, 0, NOW
    for number, (is_last, ms) in enumerate(pages):
        now, run = now + ms, run + (number in restarts)
        if not place.is_due(now, str(run)):
            continue
        began = place.begun(now, str(run))
        assert began.since <= covered
        place = began.read("" if is_last else f"{number}", [], now)
        if is_last:
            covered = began.until
        assert covered == place.up_to
