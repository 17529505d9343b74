"""What an account's traits must be, worked out slowly from the words of the contract.

Nothing here knows how the bridge computes: histories instead of winners, all ways
through a second instead of degrees, a tier looked up for every single unit. Traits
that cannot be known are absent. It knows what `lives.py` makes and no more: every
item has a product, a rhythm and an end, every subscription all of its items.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from math import floor
from typing import Any, NamedTuple

from bridge.domain.facts import Fact
from bridge.domain.values import Value

Snapshots = list[tuple[int, Value]]
"""What was true of one thing and since when (ms), in order; the last is true now."""

Lives = Mapping[str, Mapping[str, Snapshots]]
"""The histories of an account by party and thing."""

LIVE = ("active", "past_due")
ENDED = ("canceled", "incomplete_expired")
GOING = ("trialing", "paused", "incomplete")
DECIMALS = {"jpy": 0, "kwd": 3}


class UnknownError(Exception):
    """The facts do not tell."""


# --- The order of facts -------------------------------------------------------


def possible(facts: Iterable[Fact]) -> list[Lives]:
    """All histories that may be meant, where nothing tells what came last."""
    own: dict[tuple[str, str], list[Fact]] = {}
    for fact in facts:
        own.setdefault((fact.party, fact.thing), []).append(fact)
    found: list[Lives] = []
    for pasts in itertools.product(*map(endings, own.values())):
        lives: dict[str, dict[str, Snapshots]] = {}
        for (party, thing), past in zip(own, pasts, strict=True):
            lives.setdefault(party, {})[thing] = past
        found.append(lives)
    return found


def endings(facts: Collection[Fact]) -> list[Snapshots]:
    """The history of a thing with each of the snapshots that may be its last."""
    usual = history(facts)
    if not is_ambiguous(facts):
        return [usual]
    at = max(f.stamp.at for f in facts)
    tied = [f for f in {f.event: f for f in facts}.values() if f.stamp.at == at]
    strongest = max(f.stamp.rank for f in tied)
    if chain_end(tied, facts) is None:
        tied = [f for f in tied if f.stamp.rank == strongest]
    by_content = {f.after: (at, f.value) for f in sorted(tied, key=_weight)}
    rest = [one for one in usual if one not in by_content.values()]
    return [
        [*rest, *(one for one in by_content.values() if one != last), last]
        for last in by_content.values()
    ]


def history(facts: Iterable[Fact]) -> Snapshots:
    """All snapshots of one thing in their order: final ones last, then by second."""
    told = {fact.event: fact for fact in facts}.values()
    ordered: list[Fact] = []
    for final in (False, True):
        for at in sorted({f.stamp.at for f in told if f.stamp.final == final}):
            tied = [f for f in told if f.stamp.final == final and f.stamp.at == at]
            ordered += in_second(tied, before=told)
    return [(f.stamp.at, f.value) for f in ordered]


def in_second(tied: Collection[Fact], before: Iterable[Fact]) -> list[Fact]:
    """The facts of one second, with the one that is true at its end last."""
    ranked = sorted(tied, key=_weight)
    end = chain_end(tied, before)
    last = [f for f in ranked if f.after == end] if end else ranked[-1:]
    return [f for f in ranked if f is not last[-1]] + last[-1:]


def is_ambiguous(facts: Collection[Fact]) -> bool:
    """Nothing but an event's id says which snapshot is true now.

    Or the steps say so, but one that two events tell can be one step or two.
    """
    if any(f.stamp.final for f in facts):
        return False
    at = max(f.stamp.at for f in facts)
    tied = [f for f in facts if f.stamp.at == at]
    if len({f.after for f in tied}) == 1:
        return False
    if chain_end(tied, facts) is not None:
        return any(_comes_back(step, tied) for step in _told_twice(tied))
    strongest = max(f.stamp.rank for f in tied)
    return len({f.after for f in tied if f.stamp.rank == strongest}) > 1


def _told_twice(tied: Collection[Fact]) -> set[tuple[Any, Any]]:
    told = [(f.before, f.after) for f in tied if f.before not in {None, f.after}]
    return {step for step in told if told.count(step) > 1}


def _comes_back(step: tuple[Any, Any], tied: Collection[Fact]) -> bool:
    """Whether other steps lead from the end of *step* to its beginning."""
    reached = {step[1]}
    for _ in tied:
        reached |= {f.after for f in tied if f.before in reached}
    return step[0] in reached


def chain_end(tied: Collection[Fact], facts: Iterable[Fact]) -> str | None:
    """Where the steps of a second lead, whichever way through all of them is taken.

    None where there is no such way, or several that end differently. It begins with
    the creation, else with the greatest fact of an earlier second, if that is on it.
    A snapshot that is on no way is placed before it by its rank, or not at all.
    """
    if any(f.stamp.final for f in tied):
        return None
    steps = {(f.before, f.after) for f in tied if f.before not in {None, f.after}}
    ways = list(_ways(steps))
    if not ways:
        return None
    at = next(iter(tied)).stamp.at
    older = [f for f in facts if f.stamp.at < at and not f.stamp.final]
    born = sorted((f for f in tied if f.stamp.rank == 0), key=_weight)
    start = (born or sorted(older, key=_weight))[-1:]
    from_start = [way for way in ways if start and way[0] == start[0].after]
    ends = {way[-1] for way in from_start or ways}
    on_the_way = {state for step in steps for state in step}
    beside = [f for f in tied if f.after not in on_the_way]
    strongest = max(f.stamp.rank for f in tied if (f.before, f.after) in steps)
    placed = all(f.stamp.rank < strongest for f in beside)
    return ends.pop() if len(ends) == 1 and placed else None


def _ways(
    steps: Collection[tuple[Any, Any]], here: str | None = None
) -> Iterator[tuple[str, ...]]:
    """Every way that takes each step once, as the states it passes."""
    if not steps and here is not None:
        yield (here,)
    for before, after in steps:
        if here is None or before == here:
            rest = set(steps) - {(before, after)}
            yield from ((before, *way) for way in _ways(rest, after))


def _weight(fact: Fact) -> tuple[int, int, str]:
    return fact.stamp.at, fact.stamp.rank, fact.event


# --- The traits ---------------------------------------------------------------


class Sub(NamedTuple):
    """One subscription with what the customer adds to it."""

    past: Snapshots
    deleted_at: int | None
    customer_discounts: Sequence[Value]
    beside: Collection[str]

    @property
    def now(self) -> Value:
        return self.past[-1][1]

    @property
    def status(self) -> str:
        told = str(self.now["status"])
        gone = self.deleted_at is not None and told not in ENDED
        return "canceled" if gone else told

    @property
    def ever_live(self) -> bool:
        words = {value["status"] for _, value in self.past}
        if words & {"active", "past_due", "unpaid"}:
            return True
        trial = self.now.get("trial_end")
        if words == {"canceled"}:
            return trial is None or self.ended > trial
        if not words <= {"trialing", "canceled"} or self.status != "canceled":
            return False
        return trial is not None and self._went_on(trial)

    def _went_on(self, trial: int) -> bool:
        """Far beyond its trial, or into a period that is not the trial's."""
        if self.ended <= trial:
            return False
        days = {"day": (1, 1), "week": (7, 7), "month": (28, 31), "year": (365, 366)}
        begun, longest = [], 0
        for item in self.now["items"]:
            cycle = item.get("count", 1) * 86_400_000
            shorter, longer = days[item["interval"]]
            begun.append(item["ends"] - shorter * cycle)
            longest = max(longest, longer * cycle)
        return self.ended - trial > longest or any(at >= trial for at in begun)

    @property
    def ended(self) -> int:
        if self.now["status"] in ENDED:
            return int(self.now.get("ended_at", self.past[-1][0]))
        if self.deleted_at is not None:
            return self.deleted_at
        spell = self.past[-1][0]
        for at, value in reversed(self.past):
            if value["status"] != "unpaid":
                break
            spell = at
        return spell


def expected(parties: Lives) -> dict[str, Any]:
    """The traits of the account that is made of *parties*."""
    subs = [sub for things in parties.values() for sub in _subs(things)]
    found: dict[str, Any] = {}
    for trait, work in TRAITS.items() if subs else ():
        try:
            found[trait] = work(subs)
        except UnknownError:
            continue
    return found


def agreed(lives: Iterable[Lives]) -> dict[str, Any]:
    """The traits that are the same in all *lives*; each may be true."""
    every = [expected(one) for one in lives]
    unsaid = object()
    return {
        trait: value
        for trait, value in every[0].items()
        if all(other.get(trait, unsaid) == value for other in every)
    }


def _subs(things: Mapping[str, Snapshots]) -> Iterator[Sub]:
    customer = things.get("customer")
    at, last = customer[-1] if customer else (0, {})
    deleted = at if last.get("deleted") else None
    told = [past for thing, past in things.items() if thing != "customer"]
    going = [past[-1][1] for past in told if past[-1][1]["status"] not in ENDED]
    beside = {i["product"] for now in going for i in now["items"]}
    for past in told:
        yield Sub(past, deleted, last.get("discounts", ()), beside)


def _live(subs: Iterable[Sub]) -> list[Sub]:
    return [sub for sub in subs if sub.status in LIVE]


def _licensed(sub: Sub) -> list[Value]:
    return [
        item
        for item in sub.now["items"]
        if item.get("usage") != "metered" and not item.get("one_time")
    ]


def _iso(ms: int) -> str:
    whole = datetime.fromtimestamp(ms // 1000, UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03}Z"


def _mrr(subs: list[Sub]) -> Fraction | None:
    worth = [(sub.now["currency"], _worth(sub)) for sub in _live(subs)]
    if not worth:
        return None
    total = sum((amount for _, amount in worth), Fraction(0))
    if not total:
        return Fraction(0)
    currency = _one({code for code, amount in worth if amount})
    scale = 10 ** DECIMALS.get(currency, 2)
    return Fraction(floor(total + Fraction(1, 2)), scale)


def _one(found: set[Any]) -> Any:
    if len(found) != 1:
        raise UnknownError
    return next(iter(found))


def _worth(sub: Sub) -> Fraction:
    """Minor units a month, exact."""
    lines = []
    for item in _licensed(sub):
        taxes = sum((Fraction(rate) / 100 for rate in item.get("tax", ())), Fraction(0))
        line = [_month(_gross(item), item), item, 1 + taxes]
        for discount in item.get("discounts", ()):
            _take(discount, [line], sub.now["currency"])
        lines.append(line)
    own = sub.now.get("discounts")
    among = {item["product"] for item in sub.now["items"]}
    counting = [d for d in own or sub.customer_discounts if _counts(d)]
    for discount in counting:
        if "products" not in discount and any(Fraction(line[0]) for line in lines):
            others = among if own else sub.beside
            last = discount is counting[-1]
            if len(others) > 1 and not (
                last and _is_one_amount(discount, lines, others)
            ):
                raise UnknownError
        _take(discount, lines, sub.now["currency"])
    return sum((Fraction(line[0]) / line[2] for line in lines), Fraction(0))


def _counts(discount: Value) -> bool:
    if "duration" not in discount or not {"percent", "amount"} & discount.keys():
        raise UnknownError
    return bool(discount["duration"] == "forever")


def _is_one_amount(
    discount: Value, lines: list[list[Any]], products: Collection[str]
) -> bool:
    """Whether it is the same amount off whichever product's lines."""
    left = []
    for product in products:
        tried = [list(line) for line in lines]
        only = {**discount, "products": [product]}
        hit = [line for line in tried if line[1]["product"] == product]
        enough = hit and "amount" in discount
        if not enough or sum(line[0] for line in hit) < _month(
            Fraction(discount["amount"]), hit[0][1]
        ):
            return False
        _take(only, tried, discount.get("currency", ""))
        left.append(sum((Fraction(line[0]) / line[2] for line in tried), Fraction(0)))
    return len(set(left)) == 1


def _month(amount: Fraction, item: Value) -> Fraction:
    a_year = {"month": 12, "year": 1, "week": 52, "day": 365}[item["interval"]]
    return amount * a_year / 12 / item.get("count", 1)


def _gross(item: Value) -> Fraction:
    quantity = item.get("quantity", 1)
    if item.get("scheme") == "tiered":
        return _in_tiers(item, quantity)
    package = item.get("package")
    if package:
        whole, rest = divmod(quantity, package["by"])
        quantity = whole + (package["round"] == "up" and rest > 0)
    return Fraction(item["unit"]) * quantity


def _in_tiers(item: Value, quantity: int) -> Fraction:
    tiers = item.get("tiers")
    if not tiers:
        raise UnknownError

    def tier(unit: int) -> Value:
        fits = [t for t in tiers if t["up_to"] is None or unit <= t["up_to"]]
        found: Value = fits[0]
        return found

    units = [tier(n) for n in range(1, quantity + 1)]
    if item.get("tiers_mode") == "volume":
        units = [tier(quantity)] * quantity
    entered = [t for t in tiers if t in units]
    return sum(
        [
            *(Fraction(t.get("unit", 0)) for t in units),
            *(Fraction(t.get("flat", 0)) for t in entered),
        ],
        Fraction(0),
    )


def _take(discount: Value, lines: list[list[Any]], currency: str) -> None:
    """Take *discount* off each line's share."""
    only = discount.get("products")
    hit = [line for line in lines if only is None or line[1]["product"] in only]
    total = sum(Fraction(line[0]) for line in hit)
    if not total:
        return
    share = Fraction(discount.get("percent", 0)) / 100
    if "amount" in discount:
        rhythms = {(line[1]["interval"], line[1].get("count", 1)) for line in hit}
        if discount["currency"] != currency or len(rhythms) > 1:
            raise UnknownError
        off = _month(Fraction(discount["amount"]), hit[0][1])
        share = min(Fraction(1), off / total)
    for line in hit:
        line[0] *= 1 - share


def _renewal(subs: list[Sub]) -> str | None:
    ends = [
        item["ends"]
        for sub in _live(subs)
        for item in _licensed(sub)
        if not sub.now.get("cancel_at_period_end")
        and item["ends"] < sub.now.get("cancel_at", float("inf"))
    ]
    return _iso(min(ends)) if ends else None


def _churned(subs: list[Sub]) -> str | None:
    if any(sub.status in (*LIVE, *GOING) for sub in subs):
        return None
    ends = [sub.ended for sub in subs if sub.ever_live]
    return _iso(max(ends)) if ends else None


def _trial_end(subs: list[Sub]) -> str | None:
    ever = [v["trial_end"] for s in subs for _, v in s.past if "trial_end" in v]
    if not ever:
        raise UnknownError
    ends = []
    for sub in subs:
        end = sub.now.get("trial_end")
        if end is not None:
            ends.append(min(end, sub.ended) if sub.status in ENDED else end)
    return _iso(max(ends)) if ends else None


def _status(subs: list[Sub]) -> str:
    words = {sub.status for sub in subs}
    for word in (*reversed(LIVE), *GOING, "unpaid"):
        if word in words:
            return word
    return "churned" if any(sub.ever_live for sub in subs) else "unconverted"


def _plan(subs: list[Sub]) -> str | None:
    items = [item for sub in _live(subs) for item in _licensed(sub)]
    names = [i.get("name", i.get("product_name", i.get("lookup"))) for i in items]
    return ", ".join(sorted({name for name in names if name})) or None


def _currency(subs: list[Sub]) -> str:
    trialing = [sub for sub in subs if sub.status == "trialing"]
    told = _live(subs) or trialing
    found = {sub.now["currency"] for sub in told}
    if len(found) > 1:
        found = {s.now["currency"] for s in told if not _is_free(s)} or found
    return str(_one(found)).upper()


def _is_free(sub: Sub) -> bool:
    try:
        return not _worth(sub)
    except UnknownError:
        return False


def _cancel_at(subs: list[Sub]) -> str | None:
    ends = []
    for sub in _live(subs):
        if "cancel_at" in sub.now:
            ends.append(sub.now["cancel_at"])
        elif sub.now.get("cancel_at_period_end"):
            ends.append(min(item["ends"] for item in sub.now["items"]))
    return _iso(min(ends)) if ends else None


TRAITS = {
    "mrr": _mrr,
    "nextRenewalDate": _renewal,
    "churnedAt": _churned,
    "trialEndDate": _trial_end,
    "subscriptionStatus": _status,
    "planName": _plan,
    "billingCurrency": _currency,
    "cancelAt": _cancel_at,
}
