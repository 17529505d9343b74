"""When a change goes on, waits a little, or is held as part of a mass change."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.domain.mass import (
    CHURNED,
    GRACE_MS,
    LONG_GRACE_MS,
    Limits,
    Window,
    decide,
    of_mrr,
    reason,
)

LIMITS = Limits(0.05, 0.1, 20)
HOLD = None


def churn(number: int, *, of: int = 1000, recent: int = 1, **more: Any) -> Window:
    """The last of *number* accounts that churn within the hour, just counted."""
    rank = number - 1
    seen = Window(CHURNED, False, of, of, number, number, recent, rank, 0)
    return seen._replace(**more)


def mrr(number: int, percent: float, *, way: str = "down", recent: int = 4) -> Window:
    """The last of *number* of a thousand accounts that move *percent* of 1,000,000."""
    amount, rank = round(10_000 * percent), number - 1
    return Window(f"USD {way}", False, 1000, 1_000_000, number, amount, recent, rank, 0)


@pytest.mark.parametrize(
    ("seen", "wait"),
    [
        # The first hundredth at once, at least one.
        (churn(1, of=3), 0),
        (churn(10), 0),
        (churn(11), GRACE_MS),
        (churn(2, of=30), GRACE_MS),
        # Then after a moment, in which a burst would show itself.
        (churn(11, age_ms=1000), GRACE_MS - 1000),
        (churn(11, age_ms=GRACE_MS), 0),
        (churn(50, age_ms=60_000), 0),
        (churn(20, of=30, age_ms=GRACE_MS), 0),
        # A longer moment while they come fast.
        (churn(17, recent=16), GRACE_MS),
        (churn(17, recent=17), LONG_GRACE_MS),
        (churn(8, of=30, recent=7), LONG_GRACE_MS),
        # Too many: also for those that were counted before.
        (churn(51), HOLD),
        (churn(51, rank=0, age_ms=60_000), HOLD),
        (churn(21, of=30), HOLD),
        # While the hold lasts, each one joins.
        (churn(1, is_held=True), HOLD),
        # MRR: by what moves, and more than a few accounts.
        (mrr(10, 99), 0),
        (mrr(20, 99), GRACE_MS),
        (mrr(21, 10), GRACE_MS),
        # One customer after another is daily business.
        (mrr(20, 99, recent=3), 0),
        (mrr(21, 10.1), HOLD),
        (mrr(21, 25, way="up"), GRACE_MS),
        (mrr(21, 25.1, way="up"), HOLD),
    ],
)
def test_a_change_goes_on_waits_or_is_held(seen: Window, wait: int | None) -> None:
    assert wait == decide(seen, LIMITS)


def test_the_reason_says_what_would_happen() -> None:
    assert "51 of 1,000 accounts would be churned" in reason(churn(51))
    assert "120.00 of 1,000.00 USD of MRR would go down" in reason(mrr(21, 12))
    yen = mrr(21, 12)._replace(measure="JPY down")
    assert "120 of 1,000 JPY of MRR would go down" in reason(yen)
    assert ("EUR up", 1500) == of_mrr("EUR", 1.5)
