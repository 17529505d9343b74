"""One subscription: whether it is live, what it pays, when it renews.

Statuses are Stripe's (https://docs.stripe.com/api/subscriptions/object); other
sources use them too. Instants are milliseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from bridge.domain import values
from bridge.domain.facts import source_of
from bridge.domain.fold import State
from bridge.domain.money import (
    INTERVALS,
    STRIPE,
    ZERO,
    Policy,
    PricedItem,
    UnknownError,
    discounted,
    item_amount,
    monthly,
    total,
)
from bridge.domain.sources import TELL_QUANTITY
from bridge.domain.values import (
    DAY_MS,
    ENDED,
    LIVE,
    SECOND_MS,
    UNTOLD,
    VOID,
    Dated,
    Item,
)

NO_CURRENCY = "its currency is not in the event"
SEVERAL_CURRENCIES = "its items have several currencies"
NO_PERIOD = "the end of its period is not in the event"
NOT_ALL_ITEMS = "the event holds only a part of its items"
NO_ITEMS = "its items are not in the event"

OF_AN_INSTANT = frozenset({"from", "until", "currency"})
"""Keys of an item or discount that decide what its subscription is at an instant."""

CYCLES = {"day": (1, 1), "week": (7, 7), "month": (28, 31), "year": (365, 366)}
"""Interval -> its fewest and most days."""


class Subscription(NamedTuple):
    """One subscription as it is now.

    *ended_at*: when it stopped paying (for `unpaid`, the start of the spell); None: it
    has not. *was_live*: whether it ever paid or should have. *rivals*: what it may be
    instead, if the order of its events is not known. *late_since*: when it became
    `past_due` or `unpaid` (0: not known; None: it is neither). *seen*: every status it had. *undated*: the same
    before `at`, with all of its dates; None: it has none.
    """

    id: str
    party: str
    status: str
    value: values.Subscription
    ended_at: int | None
    was_live: bool
    had_trial: bool
    event: str
    rivals: tuple[Subscription, ...] = ()
    late_since: int | None = None
    seen: frozenset[str] = frozenset()
    undated: Subscription | None = None

    @property
    def is_live(self) -> bool:
        """Whether it counts in MRR."""
        return self.status in LIVE

    @property
    def source(self) -> str:
        """The source that reports it, which decides its minor units."""
        return source_of(self.party)

    @property
    def currency(self) -> str | None:
        """ISO code in lower case, if the event has it."""
        return self.value.get("currency")

    @property
    def items(self) -> list[Item]:
        """Licensed, recurring items; metered usage and one-time prices are not MRR."""
        return licensed(self.value.get("items", ()))

    @property
    def is_partial(self) -> bool:
        """Whether some or all of its items are unknown; its *mrr* may still be known."""
        items = self.value.get("items")
        return bool(self.value.get("more")) or not (items or "mrr" in self.value)

    @property
    def trial_end(self) -> int | None:
        """When its trial ends; a trial that was cut short ended with the subscription."""
        end = self.value.get("trial_end")
        if end is None or self.status not in ENDED or self.ended_at is None:
            return end
        return min(end, self.ended_at)


def licensed(items: Iterable[Item]) -> list[Item]:
    """Those of the *items* that are neither usage nor paid once."""
    return [
        item
        for item in items
        if item.get("usage") not in {"metered", UNTOLD} and not item.get("one_time")
    ]


# --- Life and death -------------------------------------------------------------------


def read(id_: str, state: State, deleted_at: int | None) -> Subscription:
    """Read one folded subscription; *deleted_at*: when its customer was deleted."""
    value, status = state.value, str(state.value["status"])
    ended: int | None = None
    if status in ENDED:
        ended = value.get("ended_at", state.fact.stamp.at)
    elif deleted_at is not None:
        status, ended = "canceled", deleted_at
    elif status == "unpaid":
        ended = state.unpaid_since
    return Subscription(
        id_,
        state.fact.party,
        status,
        value,
        ended,
        _was_live(state, ended),
        state.had_trial,
        state.fact.event,
        late_since=state.late_since,
        seen=state.seen,
    )


def _was_live(state: State, ended: int | None) -> bool:
    """Whether it was seen live, or first seen as canceled and not within its trial."""
    if state.seen & {*LIVE, "unpaid"}:
        return True
    until, trial = state.value.get("trialing_until"), state.value.get("trial_end")
    if until is not None and "trialing" in state.seen:
        return ended is None or ended > until
    if state.seen == {"canceled"}:
        return trial is None or ended is None or ended > trial
    if trial is None or ended is None or not state.seen <= {"trialing", "canceled"}:
        return False
    return _outlived(state.value, trial, ended)


def _outlived(value: values.Subscription, trial: int, ended: int) -> bool:
    """Whether a subscription only seen in its *trial* was live later (a lost event).

    It was, if it *ended* in a period that began after the trial, or more than its longest
    billing cycle after the trial (a year, if no cycle is known). If it ended earlier, it
    may have lacked a payment method and never have been live.
    """
    longest = 0
    for item in value.get("items", ()):
        least, most = CYCLES.get(item.get("interval", ""), CYCLES["year"])
        count = item.get("count", 1)
        longest = max(longest, most * count * DAY_MS)
        period_end = item.get("ends", value.get("ends", 0))
        if ended > trial and period_end - least * count * DAY_MS >= trial:
            return True
    return ended > trial + (longest or CYCLES["year"][1] * DAY_MS)


# --- What its dates change without an event -------------------------------------------


def at(sub: Subscription, now: int) -> Subscription:
    """The subscription at *now* (ms), according to its own dates.

    An item or discount counts from `from` until `until`. If no item counts, the
    subscription has not begun or has ended. `trialing_until` is the end of a trial during
    which the source calls it active.
    """
    if not sub.rivals and _is_timeless(sub.value):
        return sub
    value, trial = sub.value.copy(), sub.value.get("trialing_until", 0)
    items = value.get("items", [])
    standing = [item for item in items if holds(item, now)]
    if items:
        value["items"] = standing
    if "discounts" in value:
        value["discounts"] = [d for d in value["discounts"] if holds(d, now)]
    currencies = {item["currency"] for item in standing if "currency" in item}
    if len(currencies) == 1:
        value["currency"] = currencies.pop()
    rivals = tuple(at(rival, now) for rival in sub.rivals)
    dated = sub._replace(value=value, rivals=rivals, undated=sub)
    if sub.status == "active" and trial > now:
        return dated._replace(status="trialing")
    if not sub.is_live or standing or not items:
        return dated
    if any(item.get("from", 0) > now for item in items):
        return dated._replace(status="incomplete")
    ended = max(item["until"] for item in items)
    return dated._replace(status=VOID, ended_at=ended, was_live=ended > trial)


def _is_timeless(value: values.Subscription) -> bool:
    """Whether it has no dates at which it changes, and no currencies to choose from."""
    return "trialing_until" not in value and all(
        OF_AN_INSTANT.isdisjoint(one)
        for one in (*value.get("items", ()), *value.get("discounts", ()))
    )


def holds(dated: Dated, now: int) -> bool:
    """Whether an item, a discount or a grant counts at *now* (ms)."""
    return dated.get("from", 0) <= now < dated.get("until", now + 1)


def dates(sub: Subscription) -> set[int]:
    """The instants (ms) at which `at` may change."""
    if sub.status in ENDED:
        return set()
    value = sub.value
    dated = [*value.get("items", ()), *value.get("discounts", ())]
    own = {one[key] for one in dated for key in ("from", "until") if key in one}
    own |= {value["trialing_until"]} if "trialing_until" in value else set()
    return own.union(*map(dates, sub.rivals))


def discount_ends(sub: Subscription) -> set[int]:
    """The instants (ms) at which a discount ends."""
    holders = (sub.value, *sub.items)
    every = (d for one in holders for d in one.get("discounts", ()))
    return {d["ends"] for d in every if "ends" in d}


# --- What it pays -----------------------------------------------------------------------


class Payment(NamedTuple):
    """What a subscription pays: minor units a month, in total and by item."""

    monthly: Fraction
    items: list[PricedItem]


def payment(sub: Subscription, policy: Policy = STRIPE, now: int = 0) -> Payment:
    """What *sub* pays at *now* (ms). Raises UnknownError if that is not known.

    If the source gives the amount itself (`mrr`, minor units a month), that is used.
    """
    try:
        return _payment(sub, policy, now)
    except UnknownError as error:
        raise error.about(sub.id) from error


def _payment(sub: Subscription, policy: Policy, now: int) -> Payment:
    if sub.currency is None:
        several = any("currency" in item for item in sub.value.get("items", ()))
        raise UnknownError(SEVERAL_CURRENCIES if several else NO_CURRENCY)
    items: list[PricedItem] = []
    if "mrr" in sub.value:
        amount = Fraction(sub.value["mrr"])
    else:
        items = _priced(sub, sub.currency, policy, now)
        amount = total(items)
    if amount.numerator < 0:
        raise UnknownError("its amounts add up to less than zero")
    return Payment(amount, items)


def _priced(
    sub: Subscription, currency: str, policy: Policy, now: int
) -> list[PricedItem]:
    """The items of *sub* after all discounts and inclusive taxes."""
    if sub.is_partial:
        raise UnknownError(NOT_ALL_ITEMS)
    licensed = sub.items
    if not licensed and any(i.get("usage") == UNTOLD for i in sub.value["items"]):
        raise UnknownError("the price of its usage is not in the event")
    items: list[PricedItem] = []
    for item in licensed:
        try:
            own = item.get("discounts", ())
            priced = [_priced_item(sub, item, policy)]
            items += discounted(priced, own, currency, policy, now)
        except UnknownError as error:
            raise error.about(item.get("price", "an item")) from error
    # Discounts apply to the displayed price, including its inclusive tax.
    paid = discounted(items, sub.value.get("discounts", ()), currency, policy, now)
    return [item.without_tax() for item in paid]


def _priced_item(sub: Subscription, item: Item, policy: Policy) -> PricedItem:
    """An item before discounts, with the tax that its price includes."""
    amount = item_amount(item)
    if item.get("interval") not in INTERVALS:
        raise UnknownError("its interval is not in the event")
    rhythm = item["interval"], item.get("count", 1)
    gross = monthly(amount, *rhythm, policy)
    return PricedItem(
        gross,
        item.get("product"),
        rhythm,
        item.get("name") or item.get("product_name") or item.get("price", ""),
        item.get("quantity", 1),
        gross,
        tax=_inclusive_tax(sub, item),
    )


def _inclusive_tax(sub: Subscription, item: Item) -> Fraction:
    """The inclusive tax as a share of the net price.

    The item's own rates replace the subscription's; events do not contain automatic rates.
    """
    rates = item.get("tax") or sub.value.get("tax") or ()
    if None in rates:
        raise UnknownError("the rate of its tax is not in the event")
    if item.get("inclusive") and not rates and sub.value.get("automatic_tax"):
        raise UnknownError("its price includes a tax whose rate is not in the event")
    return sum((Fraction(rate) for rate in rates if rate), ZERO) / 100


# --- When it renews and ends ------------------------------------------------------------


def cancels_at(sub: Subscription) -> int | None:
    """The scheduled end; None: there is none."""
    value = sub.value
    if "cancel_at" in value:
        return value["cancel_at"]
    if not value.get("cancel_at_period_end"):
        return None
    ends = period_ends(sub, value.get("items", ()))
    if not ends or value.get("more"):
        raise UnknownError(f"{sub.id}: {NO_PERIOD}")
    return min(ends)


def renews_at(sub: Subscription) -> int | None:
    """The earliest period end of a licensed item that will renew; None: it will not."""
    if sub.value.get("cancel_at_period_end") or sub.value.get("no_renewal"):
        return None
    if sub.is_partial:
        raise UnknownError(f"{sub.id}: {NOT_ALL_ITEMS}")
    licensed = sub.items
    if not licensed and "mrr" not in sub.value:
        return None
    ends = period_ends(sub, licensed)
    if not ends or _is_shared(sub, licensed):
        raise UnknownError(f"{sub.id}: {NO_PERIOD}")
    stop = sub.value.get("cancel_at")
    # Some write the last second of a period, others the first after it.
    going_on = (end for end in ends if stop is None or end + SECOND_MS < stop)
    return min(going_on, default=None)


def _is_shared(sub: Subscription, licensed: Sequence[Item]) -> bool:
    """Whether the only known period may be that of metered usage, which is not a renewal.

    If intervals differ, the subscription's own period is that of the shortest one.
    """
    if any("ends" in item for item in licensed):
        return False
    of_all, of_licensed = (
        {(item.get("interval"), item.get("count", 1)) for item in items}
        for items in (sub.value.get("items", ()), licensed)
    )
    return not of_all <= of_licensed


def period_ends(sub: Subscription, items: Sequence[Item]) -> list[int]:
    """The ends of its periods: on the items since 2025-03-31.basil, on the subscription before."""
    own = [item["ends"] for item in items if "ends" in item]
    return own or ([sub.value["ends"]] if "ends" in sub.value else [])


def plan_names(sub: Subscription) -> set[str]:
    """Nickname, else the product's name, else the lookup key, of each licensed item."""
    of_items = (
        i.get("name") or i.get("product_name") or i.get("lookup") for i in sub.items
    )
    return {name for name in (*of_items, sub.value.get("plan")) if name}


# --- What it is made of -----------------------------------------------------------------


def intervals(sub: Subscription) -> set[str]:
    """How often its licensed items are billed (`3 months`); without any, its usage."""
    items = _told_items(sub)
    usage = [item for item in items if item.get("usage") == "metered"]
    rhythms = set()
    for item in licensed(items) or usage:
        interval, count = item.get("interval"), item.get("count", 1)
        if interval not in INTERVALS:
            raise UnknownError(f"{sub.id}: its interval is not in the event")
        rhythms.add(interval if count == 1 else f"{count} {interval}s")
    return rhythms


def seats(sub: Subscription) -> str | None:
    """The quantities of its licensed items, added up: exact text; None: it has none."""
    own = licensed(_told_items(sub))
    if sub.source not in TELL_QUANTITY and any("quantity" not in item for item in own):
        raise UnknownError(f"{sub.id}: its quantity is not in the event")
    count = sum((Fraction(item.get("quantity", 1)) for item in own), ZERO)
    return str(count) if own else None


def detail(sub: Subscription, name: str) -> Any:
    """What its source tells for the optional trait *name*; None: that there is none."""
    details = sub.value.get("details", {})
    if name not in details:
        raise UnknownError(f"{sub.id}: its {name} is in no event that was kept")
    return details[name]


def told(sub: Subscription, name: str) -> list[Any]:
    """What it, or each of its licensed items, tells for the trait *name*; None: nothing.

    An item without it is passed over where another one has it.
    """
    if name in sub.value.get("details", {}):
        return [sub.value["details"][name]]
    _told_items(sub)
    details = [item.get("details", {}) for item in sub.items]
    if not details or any(name not in one for one in details):
        return [detail(sub, name)]
    values = [one[name] for one in details]
    return [value for value in values if value is not None] or values


def _told_items(sub: Subscription) -> list[Item]:
    """All of its items. Raises UnknownError if some or all of them are not known.

    A source that gives the amount itself may tell them as a detail.
    """
    if items := sub.value.get("details", {}).get("items"):
        return list(items)
    if sub.is_partial or "items" not in sub.value:
        raise UnknownError(f"{sub.id}: {NOT_ALL_ITEMS if sub.is_partial else NO_ITEMS}")
    return sub.value["items"]
