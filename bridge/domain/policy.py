"""The choices about money that a business makes; the defaults are Stripe's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

DISCOUNTS = ("forever", "active", "all", "none")
"""Which discounts lower the MRR: those without an end; all until their end; all that
are attached, whatever their end; none."""

STATUSES = ("active", "past_due", "trialing", "paused", "unpaid")
"""Statuses that may count in MRR."""

EMPTY = ("null", "zero")
"""What `mrr` is while no subscription counts. In Vitally any number, even 0, marks the
account as subscribed."""


INTERVALS = ("day", "week", "month", "year")
"""How often an item may be paid."""


class Policy(NamedTuple):
    """How money is read; *week* and *day*: how many there are in a month.

    *rates* maps a currency to what one major unit of it is worth in *base*; they are
    used for accounts that pay in several currencies. *owners* lists, for a trait or the
    name, the sources that set it, the strongest first; *crm* names the sources that
    know customers better than money.
    """

    discounts: str = "forever"
    statuses: frozenset[str] = frozenset({"active", "past_due"})
    empty: str = "null"
    week: Fraction = Fraction(52, 12)
    day: Fraction = Fraction(365, 12)
    base: str | None = None
    rates: Mapping[str, Fraction] = {}
    owners: Mapping[str, Sequence[str]] = {}
    crm: frozenset[str] = frozenset()

    def order(self, trait: str, *, billing: bool) -> Callable[[str], tuple[Any, ...]]:
        """Sorts sources by who sets *trait*: as listed, else *billing* before CRM."""
        listed = {source: n for n, source in enumerate(self.owners.get(trait, ()))}
        last = len(listed)
        return lambda source: (
            listed.get(source, last),
            (source in self.crm) == billing,
            source,
        )

    def per_month(self, interval: str) -> Fraction:
        """How many of *interval*, one of INTERVALS, there are in a month."""
        a_month = {"week": self.week, "day": self.day}
        a_month |= {"month": Fraction(1), "year": Fraction(1, 12)}
        return a_month[interval]

    def rate(self, currency: str) -> Fraction | None:
        """What one unit of *currency* is worth in *base*; None: not known."""
        return Fraction(1) if currency == self.base else self.rates.get(currency)


STRIPE = Policy()
"""https://docs.stripe.com/billing/subscriptions/analytics/glossary"""
