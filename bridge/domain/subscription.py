"""What one subscription means: whether it is live, what it pays, when it renews.

Statuses are Stripe's words (https://docs.stripe.com/api/subscriptions/object);
other sources speak them too. Instants are milliseconds since the epoch.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from bridge.domain import values
from bridge.domain.facts import source_of
from bridge.domain.fold import State
from bridge.domain.money import PricedItem, Unknown, discounted, item_amount, monthly
from bridge.domain.policy import INTERVALS, STRIPE, Policy
from bridge.domain.values import ENDED, LIVE, UNTOLD, VOID, Discount, Item

NO_CURRENCY = "its currency is not in the event"

SECOND = 1000
"""Milliseconds."""


class Subscription(NamedTuple):
    """One subscription as it is now.

    *ended_at* is when it stopped paying (for `unpaid` the start of the spell), None
    while it has not. *was_live* says whether it ever paid or should have.
    """

    id: str
    party: str
    status: str
    value: values.Subscription
    ended_at: int | None
    was_live: bool
    had_trial: bool
    event: str
    customer_discounts: Sequence[Discount] = ()
    rivals: tuple[Subscription, ...] = ()

    @property
    def ambiguous(self) -> bool:
        """Whether it may as well be one of its *rivals*."""
        return bool(self.rivals)

    @property
    def is_live(self) -> bool:
        """Whether it counts in MRR."""
        return self.status in LIVE

    @property
    def items(self) -> list[Item]:
        """Licensed, recurring items: metered usage and one-time prices are no MRR."""
        return [
            item
            for item in self.value.get("items", ())
            if item.get("usage") not in {"metered", UNTOLD} and not item.get("one_time")
        ]

    @property
    def source(self) -> str:
        """The source that tells of it, which decides what its minor units are."""
        return source_of(self.party)

    @property
    def is_partial(self) -> bool:
        """Whether some of its items, or all, are not told; its *mrr* may be."""
        items = self.value.get("items")
        return bool(self.value.get("more")) or not (items or "mrr" in self.value)

    @property
    def currency(self) -> str | None:
        """ISO code in lower case, where the event tells it."""
        return self.value.get("currency")

    @property
    def trial_end(self) -> int | None:
        """A trial that was cut short ended with the subscription."""
        end = self.value.get("trial_end")
        if end is None or self.status not in ENDED or self.ended_at is None:
            return end
        return min(end, self.ended_at)


def read(
    id_: str,
    state: State,
    deleted_at: int | None,
    customer_discounts: Sequence[Discount] = (),
) -> Subscription:
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
        state.trial,
        state.fact.event,
        customer_discounts,
    )


def _was_live(state: State, ended: int | None) -> bool:
    """Seen live, or first met as canceled and not within its trial."""
    if state.seen & {"active", "past_due", "unpaid"}:
        return True
    until = state.value.get("trialing_until")
    if until is not None and "trialing" in state.seen:
        return ended is None or ended > until
    trial = state.value.get("trial_end")
    if state.seen == {"canceled"}:
        return trial is None or ended is None or ended > trial
    if trial is None or ended is None:
        return False
    is_lost = state.seen <= {"trialing", "canceled"}
    return is_lost and _outlived(state.value, trial, ended)


DAY = 86_400_000
CYCLES = {"day": (1, 1), "week": (7, 7), "month": (28, 31), "year": (365, 366)}
"""Interval -> the least and the most days that it has."""


def _outlived(value: values.Subscription, trial: int, ended: int) -> bool:
    """Whether one that was only seen in its trial was live after it: that word was lost.

    It *ended* (ms) after the *trial* by more than its longest billing cycle (a year,
    where none is told), or in a period that began when the trial ended or later. In
    between it may have ended for want of a payment method, and never was live.
    """
    longest = 0
    for item in value.get("items", ()):
        least, most = CYCLES.get(item.get("interval", ""), CYCLES["year"])
        count = item.get("count", 1)
        longest = max(longest, most * count * DAY)
        period_end = item.get("ends", value.get("ends", 0))
        if ended > trial and period_end - least * count * DAY >= trial:
            return True
    return ended > trial + (longest or CYCLES["year"][1] * DAY)


def at(sub: Subscription, now: int) -> Subscription:
    """The subscription as its own dates make it at *now* (ms), without an event.

    An item and a discount count from `from` until `until`. Where no item does, it has
    not begun or is over. `trialing_until` is the end of a trial during which its
    source calls it active.
    """
    value, trial = sub.value.copy(), sub.value.get("trialing_until", 0)
    items = value.get("items", ())
    standing = [item for item in items if holds(item, now)]
    if items:
        value["items"] = standing
    if "discounts" in value:
        value["discounts"] = [d for d in value["discounts"] if holds(d, now)]
    currencies = {i["currency"] for i in standing if "currency" in i}
    if len(currencies) == 1:
        value["currency"] = currencies.pop()
    rivals = tuple(at(rival, now) for rival in sub.rivals)
    found = sub._replace(value=value, rivals=rivals)
    if sub.status == "active" and trial > now:
        return found._replace(status="trialing")
    if sub.status not in LIVE or standing or not items:
        return found
    if any(item.get("from", 0) > now for item in items):
        return found._replace(status="incomplete")
    ended = max(item["until"] for item in items)
    return found._replace(status=VOID, ended_at=ended, was_live=ended > trial)


def holds(dated: Item | Discount, now: int) -> bool:
    """Whether an item or a discount counts at *now* (ms)."""
    return bool(dated.get("from", 0) <= now < dated.get("until", now + 1))


def dates(sub: Subscription) -> set[int]:
    """The instants (ms) at which `at` may change."""
    if sub.status in ENDED:
        return set()
    value = sub.value
    every = [*value.get("items", ()), *value.get("discounts", ())]
    found = {one[key] for one in every for key in ("from", "until") if key in one}
    found |= {value["trialing_until"]} if "trialing_until" in value else set()
    return found.union(*map(dates, sub.rivals))


class Working(NamedTuple):
    """How one subscription's MRR comes about: minor units a month, line by line."""

    total: Fraction
    lines: tuple[PricedItem, ...]


def revenue(
    sub: Subscription, policy: Policy = STRIPE, now: int = 0
) -> Fraction | Unknown:
    """Minor units a month, exact; or why it is not known. *now* in milliseconds."""
    found = worked(sub, policy, now)
    return found if isinstance(found, Unknown) else found.total


def worked(
    sub: Subscription, policy: Policy = STRIPE, now: int = 0
) -> Working | Unknown:
    """Return the MRR of a subscription with all that led to it.

    A source that says the amount itself (`mrr`, minor units a month) is believed.
    """
    if lacks := _untold(sub):
        return Unknown(f"{sub.id}: {lacks}")
    if "mrr" in sub.value:
        return _paid(sub, [Fraction(sub.value["mrr"])], ())
    lines: list[PricedItem] = []
    for item in sub.items:
        line = _line(sub, item, policy, now)
        if isinstance(line, Unknown):
            return Unknown(f"{sub.id}: {item.get('price', 'an item')}: {line.reason}")
        lines.append(line)
    own = sub.value.get("discounts") or sub.customer_discounts
    paid = discounted(lines, own, sub.currency or "", policy, now)
    if isinstance(paid, Unknown):
        return Unknown(f"{sub.id}: {paid.reason}")
    # Discounts are taken off the price as it is shown, with the tax that is part of it.
    net = [line.without_tax() for line in paid]
    return _paid(sub, [line.monthly for line in net], tuple(net))


def _paid(
    sub: Subscription, amounts: Sequence[Fraction], lines: tuple[PricedItem, ...]
) -> Working | Unknown:
    total = sum(amounts, Fraction(0))
    if total < 0:
        return Unknown(f"{sub.id}: its amounts come to less than nothing")
    return Working(total, lines)


def _untold(sub: Subscription) -> str:
    """What of the whole subscription no event tells; "": nothing."""
    every = sub.value.get("items", ())
    if sub.currency is None:
        several = any("currency" in item for item in every)
        return "its items have several currencies" if several else NO_CURRENCY
    if "mrr" in sub.value:
        return ""
    if sub.is_partial:
        return "the event holds only a part of its items"
    is_usage = not sub.items and any(i.get("usage") == UNTOLD for i in every)
    return "what is paid for usage is not in the event" if is_usage else ""


def _line(
    sub: Subscription, item: Item, policy: Policy, now: int
) -> PricedItem | Unknown:
    amount = item_amount(item)
    if isinstance(amount, Unknown):
        return amount
    if item.get("interval") not in INTERVALS:
        return Unknown("its interval is not in the event")
    tax = _inclusive_tax(sub, item)
    if isinstance(tax, Unknown):
        return tax
    rhythm = (item["interval"], item.get("count", 1))
    gross = monthly(amount, *rhythm, policy)
    line = PricedItem(
        gross,
        item.get("product"),
        rhythm,
        item.get("name") or item.get("product_name") or item.get("price", ""),
        item.get("quantity", 1),
        gross,
        tax=tax,
    )
    own = item.get("discounts", ())
    after = discounted([line], own, sub.currency or "", policy, now)
    return after if isinstance(after, Unknown) else after[0]


def changes_at(sub: Subscription, policy: Policy, now: int) -> int | None:
    """When the MRR of a subscription changes by itself (ms): a discount ends."""
    if policy.discounts != "active":
        return None
    every = [*(sub.value.get("discounts") or sub.customer_discounts)]
    every += [d for item in sub.items for d in item.get("discounts", ())]
    return min((d["ends"] for d in every if d.get("ends", 0) > now), default=None)


def _inclusive_tax(sub: Subscription, item: Item) -> Fraction | Unknown:
    """The share of the net price that inclusive tax adds to it.

    The item's own rates replace the subscription's; an automatic rate is not told.
    """
    rates = item.get("tax") or sub.value.get("tax") or ()
    known = [Fraction(rate) for rate in rates if rate is not None]
    if len(known) < len(rates):
        return Unknown("the rate of its tax is not in the event")
    if item.get("inclusive") and not rates and sub.value.get("automatic_tax"):
        return Unknown("its price includes a tax whose rate is not in the event")
    return sum(known, Fraction(0)) / 100


def cancels_at(sub: Subscription) -> int | Unknown | None:
    """The scheduled end, None where there is none."""
    value = sub.value
    if "cancel_at" in value:
        return value["cancel_at"]
    if not value.get("cancel_at_period_end"):
        return None
    ends = _period_ends(sub, value.get("items", ()))
    if not ends or value.get("more"):
        return Unknown(f"{sub.id}: the end of its period is not in the event")
    return min(ends)


def renews_at(sub: Subscription) -> int | Unknown | None:
    """The earliest period end of a licensed item that will renew; None: it will not."""
    if sub.value.get("cancel_at_period_end") or sub.value.get("no_renewal"):
        return None
    if sub.is_partial:
        return Unknown(f"{sub.id}: the event holds only a part of its items")
    if not sub.items and "mrr" not in sub.value:
        return None
    ends = _period_ends(sub, sub.items)
    if not ends or _is_shared(sub):
        return Unknown(f"{sub.id}: the end of its period is not in the event")
    stop = sub.value.get("cancel_at")
    # Some write the last second of a period, others the first after it.
    going_on = (end for end in ends if stop is None or end + SECOND < stop)
    return min(going_on, default=None)


def _is_shared(sub: Subscription) -> bool:
    """Whether the one period there is may be that of usage, which is no renewal.

    Of several intervals the subscription's own period is the shortest one's.
    """
    if any("ends" in item for item in sub.items):
        return False
    every = {(i.get("interval"), i.get("count", 1)) for i in sub.value.get("items", ())}
    return bool(every - {(i.get("interval"), i.get("count", 1)) for i in sub.items})


def _period_ends(sub: Subscription, items: Sequence[Item]) -> list[int]:
    """On the items since 2025-03-31.basil, on the subscription before."""
    own = [item["ends"] for item in items if "ends" in item]
    return own or ([sub.value["ends"]] if "ends" in sub.value else [])


def plan_names(sub: Subscription) -> set[str]:
    """Nickname, else the product's name, else the lookup key, of each licensed item."""
    found = (
        item.get("name") or item.get("product_name") or item.get("lookup")
        for item in sub.items
    )
    return {name for name in (*found, sub.value.get("plan")) if name}
