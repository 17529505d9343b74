"""Billing lives to test the domain with: what happened, and the facts it left behind.

`wild_facts` are any facts at all, for laws that hold for every set. `stories` are
lives as Stripe tells them: the events of one second say what they replaced, ids are
in no order, ends are final. A story knows its truth, and a *fair* one can be told
from its facts alone; hard seconds have tests of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2s
from itertools import pairwise
from typing import NamedTuple

import orjson
from hypothesis import settings
from hypothesis import strategies as st

from bridge.domain.account import Account, Party, unite
from bridge.domain.document import Document, document
from bridge.domain.facts import Fact, Stamp
from bridge.domain.fold import History, fold
from bridge.domain.values import Value
from tests.support.oracle import Lives

DAY = 86_400_000
START = 1_700_000_000_000
SECOND = 1000

RANKS = {
    "created": 0,
    "trial_will_end": 1,
    "updated": 2,
    "paused": 3,
    "resumed": 3,
    "deleted": 4,
}
FINAL = {"canceled", "incomplete_expired"}

NEXT = {
    "incomplete": ("active", "incomplete_expired"),
    "trialing": ("active", "past_due", "paused", "canceled"),
    "active": ("past_due", "paused", "unpaid", "canceled"),
    "past_due": ("active", "unpaid", "canceled"),
    "unpaid": ("active", "canceled"),
    "paused": ("active", "canceled"),
}

ENDS = START + 30 * DAY

MONTHLY = {"product": "prod_1", "interval": "month", "ends": ENDS}
YEARLY = {"product": "prod_2", "interval": "year", "ends": START + 365 * DAY}
TIERS = [
    {"up_to": 5, "unit": "700"},
    {"up_to": 10, "unit": "650", "flat": "100"},
    {"up_to": None, "unit": "600"},
]

ITEMS: tuple[dict[str, object], ...] = (
    {**MONTHLY, "unit": "5000", "name": "Pro"},
    {**MONTHLY, "unit": "0.5", "quantity": 333, "lookup": "api"},
    {**MONTHLY, "unit": "1999", "count": 3, "product_name": "Quarterly"},
    {**MONTHLY, "interval": "week", "unit": "999", "quantity": 0},
    {**MONTHLY, "interval": "day", "unit": "7", "tax": ["19"], "inclusive": True},
    {**MONTHLY, "unit": "1000", "quantity": 250, "package": {"by": 100, "round": "up"}},
    {
        **MONTHLY,
        "quantity": 8,
        "scheme": "tiered",
        "tiers_mode": "graduated",
        "tiers": TIERS,
    },
    {
        **MONTHLY,
        "quantity": 12,
        "scheme": "tiered",
        "tiers_mode": "volume",
        "tiers": TIERS,
    },
    {**MONTHLY, "quantity": 8, "scheme": "tiered"},
    {**MONTHLY, "usage": "metered", "unit": "5", "ends": START + DAY},
    {**MONTHLY, "one_time": True, "unit": "9900"},
    {**YEARLY, "unit": "120000", "name": "Year"},
    {
        **YEARLY,
        "unit": "9999",
        "discounts": [{"coupon": "c", "percent": "33.3", "duration": "forever"}],
    },
)
"""Items in every way of pricing; one of them without its tiers."""

BUNDLES: tuple[dict[str, object], ...] = tuple(
    {"currency": currency, "items": [ITEMS[n] for n in chosen]}
    for currency, chosen in (
        ("usd", (0,)),
        ("usd", (0, 11)),
        ("usd", (1, 2)),
        ("usd", (3, 4)),
        ("usd", (4,)),
        ("usd", (5, 6)),
        ("usd", (7, 12)),
        ("usd", (8,)),
        ("usd", (9,)),
        ("usd", (0, 9, 10)),
        ("jpy", (0,)),
        ("kwd", (1,)),
        ("usd", (2, 4, 12)),
    )
)
"""What a subscription may hold: its currency and items."""

DISCOUNTS: tuple[dict[str, object], ...] = (
    {"coupon": "half", "percent": "50", "duration": "forever"},
    {"coupon": "once", "percent": "50", "duration": "once"},
    {"coupon": "some", "amount": "1500", "currency": "usd", "duration": "forever"},
    {"coupon": "euro", "amount": "1500", "currency": "eur", "duration": "forever"},
    {
        "coupon": "one",
        "percent": "10",
        "duration": "forever",
        "products": ["prod_2"],
    },
    {"id": "di_1"},
)
"""Discounts that count, that do not, and one whose terms are not known."""


class Story(NamedTuple):
    """A generated account: every fact it left, and what truly happened, in order."""

    facts: tuple[Fact, ...]
    truth: Lives


def digest(value: Value) -> str:
    """What stands for *value* in a chain."""
    told = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return blake2s(told, digest_size=6).hexdigest()


def law(examples: int = 150) -> settings:
    """How often a law is tried; without a deadline, since machines differ."""
    return settings(deadline=None, max_examples=examples)


def by_party(facts: Iterable[Fact]) -> dict[str, list[Fact]]:
    """The facts of each party."""
    found: dict[str, list[Fact]] = {}
    for fact in facts:
        found.setdefault(fact.party, []).append(fact)
    return found


def account_of(histories: Mapping[str, History]) -> Account:
    """One account of all parties of *pasts*."""
    return unite(
        "acme", [Party(name, fold(history)) for name, history in histories.items()]
    )


def document_of(facts: Iterable[Fact]) -> Document:
    """The way of the worker: facts of all parties, folded, united, mapped."""
    histories = {party: History(own) for party, own in by_party(facts).items()}
    return document(account_of(histories))


WILD_VALUES = {
    "a": {"status": "active", "currency": "usd"},
    "b": {"status": "unpaid", "currency": "usd"},
    "c": {"status": "trialing", "trial_end": START},
    "d": {"status": "past_due", "currency": "eur"},
    "e": {"status": "active", "trialing_until": START + SECOND},
}


WILD_THINGS = ("subscription:sub_1", "subscription:sub_2")


@st.composite
def wild_facts(draw: st.DrawFn, most: int = 9) -> list[Fact]:
    """Any facts of one party in the same few seconds; a thing is born once at most."""
    ids = draw(st.lists(st.integers(0, 99), unique=True, max_size=most))
    facts = [draw(_wild(f"evt_{n:02}")) for n in ids]
    born = [thing for thing in WILD_THINGS if draw(st.booleans())]
    return facts + [draw(_wild_birth(thing)) for thing in born]


@st.composite
def _wild(draw: st.DrawFn, event: str) -> Fact:
    after = draw(st.sampled_from("abcde"))
    before = draw(st.sampled_from([None, "a", "b", "c", "d", "e"]))
    rank = draw(st.sampled_from([1, 2, 2, 2, 3, 4]))
    final = draw(st.integers(0, 9)) == 0
    at = START + SECOND * draw(st.integers(0, 2))
    value = WILD_VALUES[after] | ({"status": "canceled"} if final else {})
    thing = draw(st.sampled_from(WILD_THINGS))
    stamp = Stamp(final, at, rank)
    return Fact("x:1", thing, stamp, event, "k", value, after + "!" * final, before)


@st.composite
def _wild_birth(draw: st.DrawFn, thing: str) -> Fact:
    after = draw(st.sampled_from("abcde"))
    event = f"evt_{draw(st.integers(0, 99)):02}_{thing[-1]}"
    stamp = Stamp(False, START + SECOND * draw(st.integers(0, 2)), 0)
    return Fact("x:1", thing, stamp, event, "k", WILD_VALUES[after], after)


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """One account, of one or two customers with up to three subscriptions each."""
    facts: list[Fact] = []
    truth: dict[str, dict[str, History]] = {}
    for n in range(draw(st.integers(1, 2))):
        party = f"stripe:cus_{n}"
        told = draw(_customers(party))
        for m in range(draw(st.integers(0, 3 - n))):
            told += draw(_subscriptions(party, f"subscription:sub_{n}{m}"))
        for fact in told:
            history = truth.setdefault(party, {}).setdefault(fact.thing, [])
            history.append((fact.stamp.at, fact.value))
        facts += told
    return Story(tuple(facts), truth)


@st.composite
def _customers(draw: st.DrawFn, party: str) -> list[Fact]:
    teller = _Teller(draw, party, "customer")
    base: dict[str, object] = {"account": "acme", "email": "pay@example.com"}
    teller.tell("created", base)
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from(["Acme", "Acme Ltd", None]))
        discounts = draw(st.sampled_from([[], *([d] for d in DISCOUNTS)]))
        told = base | ({"name": name} if name else {})
        told |= {"discounts": discounts} if discounts else {}
        teller.tell("updated", told)
    if draw(st.integers(0, 5)) == 0:
        teller.tell("deleted", base | {"deleted": True})
    return teller.facts


@st.composite
def _subscriptions(draw: st.DrawFn, party: str, thing: str) -> list[Fact]:
    teller = _Teller(draw, party, thing)
    status = draw(st.sampled_from(["incomplete", "trialing", "active", "active"]))
    value: dict[str, object] = {"status": status, **draw(st.sampled_from(BUNDLES))}
    if status == "trialing":
        value["trial_end"] = teller.at + 14 * DAY
    teller.tell("created", value)
    for _ in range(draw(st.integers(0, 6))):
        if teller.ended:
            break
        draw(st.sampled_from(STEPS))(draw, teller)
    return teller.facts


class _Teller:
    """Tells the facts of one thing and keeps its seconds fair.

    *states* are those of the present second, the one it began with first.
    """

    def __init__(self, draw: st.DrawFn, party: str, thing: str) -> None:
        self._draw, self._party, self._thing = draw, party, thing
        self.facts: list[Fact] = []
        self.at = START + DAY * draw(st.integers(0, 3))
        self._states: list[str] = []
        self._start_is_known = True

    @property
    def value(self) -> dict[str, object]:
        return dict(self.facts[-1].value)

    @property
    def ended(self) -> bool:
        return self.facts[-1].stamp.final

    def tell(self, word: str, value: Value) -> None:
        """Let *value* become true, with an event of type *word* that says so."""
        before = self.facts[-1].after if self.facts else None
        after = digest(value)
        if before is not None:
            pauses = [1] if self._is_hard(before, after) else [0, 0, 0, 1, 60, 86_400]
            self.pass_time(self._draw(st.sampled_from(pauses)))
        self._states.append(after)
        self._event(word, value, before if word == "updated" else None)

    def again(self, word: str) -> None:
        """Tell the present state once more, with an event of another type."""
        self._event(word, self.facts[-1].value, None)

    def pass_time(self, seconds: int) -> None:
        """A round trip begins where the second before ended, if that can be told."""
        if seconds:
            here = {f.after for f in self.facts if f.stamp.at == self.at}
            if here:
                self._start_is_known = len(here) == 1
            self.at += seconds * SECOND
            self._states = [self.facts[-1].after]

    def _is_hard(self, before: str, after: str) -> bool:
        """A step that is taken twice, or a round trip from nobody knows where."""
        walked = (before, after) in pairwise(self._states) and before != after
        return walked or (after == self._states[0] and not self._start_is_known)

    def _event(self, word: str, value: Value, before: str | None) -> None:
        salt = self._draw(st.integers(0, 0xFFF))
        event = f"evt_{salt:03x}_{self._party[-1]}{self._thing[-2:]}_{len(self.facts)}"
        final = value.get("status") in FINAL or bool(value.get("deleted"))
        stamp = Stamp(final, self.at, RANKS[word])
        kind = f"{self._thing.partition(':')[0]}.{word}"
        after = digest(value)
        self.facts.append(
            Fact(self._party, self._thing, stamp, event, kind, value, after, before)
        )


Step = Callable[[st.DrawFn, _Teller], None]


def _status(draw: st.DrawFn, teller: _Teller) -> None:
    old = str(teller.value["status"])
    new = draw(st.sampled_from(NEXT[old]))
    alone = new in FINAL or "unpaid" in {old, new}
    if alone:
        teller.pass_time(draw(st.sampled_from([1, 10 * 86_400, 30 * 86_400])))
    ended = {"ended_at": teller.at} if new == "canceled" else {}
    word = "deleted" if new == "canceled" else "updated"
    teller.tell(word, teller.value | {"status": new} | ended)
    if new == "paused":
        teller.again("paused")
    if alone:
        teller.pass_time(1)


def _items(draw: st.DrawFn, teller: _Teller) -> None:
    teller.tell("updated", teller.value | draw(st.sampled_from(BUNDLES)))


def _discount(draw: st.DrawFn, teller: _Teller) -> None:
    one = draw(st.sampled_from(DISCOUNTS))
    teller.tell("updated", teller.value | {"discounts": [one]})


def _cancel(draw: st.DrawFn, teller: _Teller) -> None:
    value = teller.value
    if not value.pop("cancel_at_period_end", None):
        value["cancel_at_period_end"] = True
    teller.tell("updated", value)


def _cancel_at(draw: st.DrawFn, teller: _Teller) -> None:
    days = draw(st.sampled_from([10, 400]))
    teller.tell("updated", teller.value | {"cancel_at": START + days * DAY})


def _nothing(draw: st.DrawFn, teller: _Teller) -> None:
    teller.tell("updated", teller.value)


def _remind(draw: st.DrawFn, teller: _Teller) -> None:
    teller.again("trial_will_end")


STEPS: tuple[Step, ...] = (
    _status,
    _status,
    _items,
    _discount,
    _cancel,
    _cancel,
    _cancel_at,
    _nothing,
    _remind,
)
