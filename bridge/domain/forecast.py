"""Forecasts what a subscription will pay: all that is scheduled becomes dates of its items.

Known are its scheduled end, the end of its trial (which converts), the phases of its
schedule, and the ends of discounts and prices. What may still happen (a payment that fails
or applies a pending update, a renewal at another price) is not forecast.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import pairwise
from math import inf
from typing import Any

from bridge.domain.money import NeverToldError, Policy, UnknownError
from bridge.domain.sources import HAVE_SCHEDULES, TELL_SCHEDULES
from bridge.domain.subscription import (
    Subscription,
    at,
    cancels_at,
    dates,
    detail,
    discount_ends,
    payment,
    period_ends,
)
from bridge.domain.values import DAY_MS, LIVE, Item

FAR = 365 * DAY_MS
"""How far ahead a forecast looks, in milliseconds."""

TRAITS = frozenset({"forecastMrr", "forecastMrrChange", "forecastAt"})

BESIDE = ("items", "schedule", "priced")
"""Details that are no traits, but that traits need."""

END = {"from": inf}
"""What comes after the last phase."""

ForecastPoint = tuple[int, str | None, str | None]
"""From when (ms; 0: now), in which currency, and how much a month; None: it does not count."""


def wanted(details: Iterable[tuple[str, Any]], use: Collection[str]) -> dict[str, Any]:
    """Those of a subscription's *details* that the traits in *use* need."""
    needs = {*use} | ({"schedule", "priced"} if TRAITS & {*use} else set())
    needs |= {"items"} if {"seats", "billingInterval"} & {*use} else set()
    return {name: told for name, told in details if name in needs}


def forecast(sub: Subscription, policy: Policy, now: int) -> list[ForecastPoint]:
    """What *sub* pays *now* (ms) and later, in minor units, exact fractions as text.

    Raises UnknownError if something is scheduled and not known.
    """
    plan, found = planned(sub, policy), list[ForecastPoint]()
    for date in (0, *sorted(d for d in changes(plan, policy) if d <= now + FAR)):
        when = max(date, now)
        then = at(plan, when) if date else sub
        counts = then.status in policy.statuses
        paid = str(payment(then, policy, when).monthly) if counts else None
        if not found or found[-1][1:] != (then.currency, paid):
            found.append((date, then.currency, paid))
    return found


def changes(plan: Subscription, policy: Policy) -> set[int]:
    """When (ms) what is *planned* of a subscription may change what it pays."""
    ends = discount_ends(plan) if policy.discounts == "active" else set()
    return dates(plan) | ends


def planned(sub: Subscription, policy: Policy) -> Subscription:
    """The same with all that is scheduled as dates of its items, for `at` to apply."""
    sub = sub.undated or sub
    if sub.status not in {*LIVE, "trialing"}:
        return sub
    value: Any = _own(sub, policy)
    schedule = detail(sub, "schedule") if sub.source in HAVE_SCHEDULES else {}
    if "unread" in schedule:
        error = UnknownError if sub.source in TELL_SCHEDULES else NeverToldError
        raise error(f"{sub.id}: {schedule['unread']}")
    ends = cancels_at(sub), schedule.get("ends")
    last = min((end for end in ends if end is not None), default=inf)
    own: dict[str, Any] = {"from": 0, "items": value.get("items", ())}
    own["discounts"] = value.get("discounts", ())
    later = [{**own, **one} for one in schedule.get("phases", ())]
    lasting = [one for one in own["discounts"] if one.get("duration") != "once"]
    if lasting and not all(phase["discounts"] for phase in later):
        raise NeverToldError(f"{sub.id}: whether its discounts stay is not told")
    phases = [own, *later, END]
    value["items"] = [*_within(phases, "items", last)]
    value["discounts"] = [*_within(phases, "discounts", last)]
    status = "active" if sub.status == "trialing" else sub.status
    return sub._replace(status=status, value=value, rivals=())


def _own(sub: Subscription, policy: Policy) -> Any:
    """The value of *sub* with its trial and its discounts as dates, and always with items."""
    value: Any = {**sub.value}
    if sub.status == "trialing":
        if "trial_end" not in value:
            raise NeverToldError(f"{sub.id}: the end of its trial is in no event")
        value["trialing_until"] = value["trial_end"]
        if value.get("mrr") == "0":  # what it will pay is in its items alone
            del value["mrr"]
            value |= detail(sub, "priced")
    if "mrr" in value:
        value["items"] = [{"unit": value.pop("mrr"), "interval": "month"}]
    if policy.discounts == "active":
        value = _with_ends(sub, value, sub.items)
        items = value.get("items", ())
        value["items"] = [_with_ends(sub, item, [item]) for item in items]
    return value


def _with_ends(sub: Subscription, part: Any, items: Sequence[Item]) -> Any:
    """A *part* of *sub* with *items*; a discount for one invoice ends with their period."""
    part = {**part, "discounts": [*part.get("discounts", ())]}
    for place, one in enumerate(part["discounts"]):
        if one.get("duration") == "once" and "ends" not in one:
            ends = () if sub.status == "trialing" else period_ends(sub, items)
            if not ends:
                raise NeverToldError(f"{sub.id}: when its discount ends is not told")
            part["discounts"][place] = {**one, "ends": min(ends)}
    return part


def _within(phases: list[Any], name: str, last: float) -> Iterator[Any]:
    """The items or discounts of all *phases*, each for the time of its own, until *last*."""
    for phase, following in pairwise(phases):
        for one in phase[name]:
            begins = max(one.get("from", 0), phase["from"])
            ends = min(one.get("until", inf), following["from"], last)
            span = {"from": begins} if begins else {}
            yield {**one, **span, **({"until": ends} if ends < inf else {})}
