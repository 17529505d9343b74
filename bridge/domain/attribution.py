"""Attributes every cent of an account's MRR to a rule, and counts it as other tools would.

Amounts are exact, in major units a month of the one currency of the MRR.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

from bridge.domain.account import Account
from bridge.domain.document import chosen, views_of
from bridge.domain.money import (
    STRIPE,
    Policy,
    PricedItem,
    exact,
    money,
    monthly,
)
from bridge.domain.subscription import Subscription, payment
from bridge.domain.traits import TABLE, AccountView, Known, Result, Unknown, instant
from bridge.domain.values import Discount, Item


class MrrPart(NamedTuple):
    """A part of the MRR: what it is, the *rule* that makes it so, and its *amount*.

    *event* is the one that told of the subscription.
    """

    subscription: str
    text: str
    rule: str
    amount: Fraction = Fraction(0)
    event: str = ""


def mrr_parts(account: Account, policy: Policy, now: int) -> list[MrrPart]:
    """The parts that sum up to the MRR of *account* at *now* (ms), the last rounding.

    Also what does not count, with an amount of 0. None at all: the MRR is not known, or
    is not computed from subscriptions.
    """
    source, result = chosen(account, policy, now).get("mrr", ("", None))
    views = views_of(account, policy, now)
    is_told = source in account.told.get("mrr", {})
    if isinstance(result, Unknown) or source not in views or is_told:
        return []
    found = list(_of_view(views[source]))
    for other, view in views.items():
        if other != source:
            rule = f"owners: {source} sets mrr"
            found += [MrrPart(s.id, f"{other} does not count", rule) for s in view.all]
    if result is None or isinstance(result, str):
        return [*found, MrrPart("", "no subscription counts: no MRR", "empty: null")]
    off = Fraction(str(result)) - sum((s.amount for s in found), Fraction(0))
    rule = "rounded once, half up, to the currency's decimals"
    return [*found, MrrPart("", "rounding", rule, off)]


def _of_view(view: AccountView) -> Iterator[MrrPart]:
    policy, now = view.policy, view.now
    currencies = {s.currency for s in view.counting if payment(s, policy, now).monthly}
    for sub in view.all:
        if sub.status not in policy.statuses:
            listed = ", ".join(sorted(policy.statuses))
            text = f"its status is {sub.status}: it does not count"
            yield MrrPart(sub.id, text, f"statuses: {listed}", event=sub.event)
            continue
        code = sub.currency or ""
        rate = Fraction(1)
        if len(currencies) > 1:  # The MRR is known, so every rate is.
            rate = policy.rate(code) or rate
        for part in _of_subscription(sub, view):
            amount = exact(part.amount, code, sub.source) * rate
            rule = part.rule if rate == 1 else f"{part.rule}; rates.{code}"
            yield part._replace(amount=amount, rule=rule, event=sub.event)


def _of_subscription(sub: Subscription, view: AccountView) -> Iterator[MrrPart]:
    """The parts of one subscription, in minor units of its own currency."""
    if "mrr" in sub.value:
        text, told = "the source's own figure", Fraction(sub.value["mrr"])
        yield MrrPart(sub.id, text, f"{sub.source}: mrr", told)
        return
    before = _priced(sub, view, 0)
    for item, priced in zip(sub.items, before, strict=True):
        yield from _of_item(sub, item, priced, view.policy)
    rule = f"discounts: {view.policy.discounts}"
    for place, (label, discount) in enumerate(_discounts(sub), 1):
        after = _priced(sub, view, place)
        pairs = [*zip(after, before, strict=True)]
        cut = sum(new.monthly - old.monthly for new, old in pairs)
        counts = any(len(new.taken) > len(old.taken) for new, old in pairs)
        how = "less" if counts else "does not count:"
        lasts = discount.get("duration", "")
        ends = f", until {instant(discount['ends'])[:10]}" if "ends" in discount else ""
        text = f"{how} discount {label}{f' ({lasts})' if lasts else ''}{ends}"
        yield MrrPart(sub.id, text, rule, Fraction(cut))
        before = after
    for item in sub.value.get("items", ()):
        name = _name(item)
        if item.get("one_time"):
            yield MrrPart(sub.id, f"{name}: paid once", "one-time prices: no MRR")
        elif item not in sub.items:
            yield MrrPart(sub.id, f"{name}: paid by usage", "metered usage: no MRR")


def _of_item(
    sub: Subscription, item: Item, priced: PricedItem, policy: Policy
) -> Iterator[MrrPart]:
    interval, count = priced.interval
    gross = priced.gross * (1 + priced.tax)
    share = monthly(Fraction(1), interval, count, policy)
    paid = exact(gross / share, sub.currency or "", sub.source)
    rhythm = interval if count == 1 else f"{count} {interval}s"
    tiers = f" in {item.get('tiers_mode')} tiers" if "tiers" in item else ""
    price = money(float(paid), sub.currency)
    text = f"{priced.quantity:,} x {_name(item)}{tiers}: {price} every {rhythm}"
    rule = f"price per {rhythm}"
    if share != 1:
        rule += f", {share} of it a month"
    yield MrrPart(sub.id, text, rule, gross)
    if priced.tax:
        text = f"less the {float(priced.tax * 100):g} % tax in its price"
        yield MrrPart(sub.id, text, "inclusive tax: no MRR", priced.gross - gross)


def _priced(sub: Subscription, view: AccountView, most: int) -> list[PricedItem]:
    """The items of *sub* with only the first *most* of its discounts."""
    left = most
    value = sub.value.copy()
    items: list[Item] = []
    for item in value.get("items", ()):
        own = item.get("discounts", [])
        items.append({**item, "discounts": own[:left]} if own else item)
        left = max(0, left - len(own)) if item in sub.items else left
    value["items"] = items
    value["discounts"] = value.get("discounts", [])[:left]
    return payment(sub._replace(value=value), view.policy, view.now).items


def _discounts(sub: Subscription) -> list[tuple[str, Discount]]:
    """Label and terms of each discount of *sub*, in the order in which they apply."""
    holders: list[Sequence[Discount]] = [i.get("discounts", ()) for i in sub.items]
    every = [d for own in (*holders, sub.value.get("discounts", ())) for d in own]
    return [(str(d.get("coupon") or d.get("id") or "without a name"), d) for d in every]


def _name(item: Item) -> str:
    names = (item.get("name"), item.get("product_name"), item.get("price"))
    return next(filter(None, names), "an item")


# --- As others count -------------------------------------------------------------------


class Note(NamedTuple):
    """What a tool says of itself where a subscription *is_so*; the amount stays ours there."""

    is_so: Callable[[Subscription], bool]
    text: str


CANCELS = Note(
    lambda sub: bool(sub.value.get("cancel_at_period_end") or "cancel_at" in sub.value),
    "may leave a subscription out from the day of its cancellation (a setting)",
)
PAST_DUE = Note(
    lambda sub: sub.status == "past_due",
    "counts a past-due subscription only for the days that its settings give it",
)
METERED = Note(
    lambda sub: len(sub.items) < len(sub.value.get("items", ())),
    "also counts metered usage, which is in no event",
)


class Tool(NamedTuple):
    """How a tool counts otherwise: its choice of *discounts*, and its notes."""

    discounts: str
    notes: Sequence[Note]


TOOLS = {
    "Stripe": Tool("forever", [CANCELS]),
    "ChartMogul": Tool("active", [PAST_DUE]),
    "ProfitWell": Tool("active", [PAST_DUE, METERED]),
}
"""https://docs.stripe.com/billing/subscriptions/analytics/glossary,
https://help.chartmogul.com, https://www.paddle.com/help (ProfitWell Metrics)"""

UNPUBLISHED = "how it counts {}s is not published"


class Count(NamedTuple):
    """What a tool would show, and *why*; an *mrr* of None: none, or not *known*."""

    tool: str
    mrr: Known
    known: bool
    why: tuple[str, ...]


def counts(account: Account, policy: Policy, now: int) -> list[Count]:
    """The tools that count *account* otherwise than *policy* does, or may do so."""
    source, ours = chosen(account, policy, now).get("mrr", ("", None))
    if source not in views_of(account, policy, now):
        return []
    found = []
    for name, tool in TOOLS.items():
        its = policy._replace(discounts=tool.discounts, statuses=STRIPE.statuses)
        mrr, why = _count(views_of(account, its, now)[source], tool)
        known = not isinstance(mrr, Unknown)
        if known and mrr != ours:
            listed = " and ".join(sorted(its.statuses))
            if its.discounts != policy.discounts:
                why = (DISCOUNTED[its.discounts], *why)
            if its.statuses != policy.statuses:
                why = (f"counts what is {listed}", *why)
        if why and (known or not isinstance(ours, Unknown)):
            shown = None if isinstance(mrr, Unknown) else mrr
            found.append(Count(name, shown, known, why))
    return found


DISCOUNTED = {
    "forever": "takes off only the discounts that last forever",
    "active": "takes off every discount until it ends",
}


def _count(view: AccountView, tool: Tool) -> tuple[Result, tuple[str, ...]]:
    rhythms = {item.get("interval") for sub in view.counting for item in sub.items}
    if odd := {"day", "week"} & rhythms:
        reason = UNPUBLISHED.format("s and ".join(sorted(odd)))
        return Unknown(reason), (reason,)
    mrr = TABLE["mrr"].read(view)
    why = [note.text for note in tool.notes if any(map(note.is_so, view.counting))]
    return mrr, (mrr.reason,) if isinstance(mrr, Unknown) else tuple(why)
