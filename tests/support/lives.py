"""Billing lives to test the domain with: what happened, and the facts it left behind.

`wild_facts` are any facts at all, for laws that hold for every set. `stories` are
lives as Stripe tells them: the events of one second say what they replaced, ids are
in no order, ends are final. A story knows its truth, and a *fair* one can be told
from its facts alone; hard seconds have tests of their own.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import settings
from hypothesis import strategies as st

from bridge.domain.account import Account, Party, unite
from bridge.domain.document import Document, document
from bridge.domain.facts import Fact, Rank, Stamp
from bridge.domain.fold import History, fold
from bridge.domain.values import Value
from bridge.webhook.values import digest
from tests.support.oracle import Lives

SECOND = 1000
DAY = 86_400 * SECOND
START = 1_700_000_000 * SECOND

FINAL = {"canceled", "incomplete_expired"}

DATA: dict[str, dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("lives.toml").read_text("utf-8")
)


def _item(line: dict[str, Any]) -> dict[str, Any]:
    whole = {"product": "prod_1", "interval": "month", "ends": 30, **line}
    if "tiers" in line:
        whole["tiers"] = [{"up_to": None, **tier} for tier in line["tiers"]]
    return {**whole, "ends": START + whole["ends"] * DAY}


BUNDLES = [
    {"currency": currency, "items": [_item(DATA["items"][name]) for name in names]}
    for currency, bundles in DATA["bundles"].items()
    for names in bundles
]

DISCOUNTS = list(DATA["discounts"].values())

WILD_VALUES = {
    name: {k: START + v * SECOND if type(v) is int else v for k, v in value.items()}
    for name, value in DATA["wild"].items()
}


class Story(NamedTuple):
    """A generated account: every fact it left, and what truly happened, in order."""

    facts: tuple[Fact, ...]
    truth: Lives


def law(examples: int = 150) -> settings:
    """How often a law is tried; a fifth of it with `--hypothesis-profile=quick`."""
    return settings(max_examples=examples * settings.default.max_examples // 100)


def by_party(facts: Iterable[Fact]) -> dict[str, list[Fact]]:
    """The facts of each party."""
    found: dict[str, list[Fact]] = {}
    for fact in facts:
        found.setdefault(fact.party, []).append(fact)
    return found


def account_of(histories: Mapping[str, History]) -> Account:
    """One account of all parties of *histories*."""
    return unite(
        "acme", [Party(name, fold(history)) for name, history in histories.items()]
    )


def document_of(facts: Iterable[Fact]) -> Document:
    """The way of the worker: facts of all parties, folded, united, mapped."""
    histories = {party: History(own) for party, own in by_party(facts).items()}
    return document(account_of(histories))


WILD_THINGS = ("subscription:sub_1", "subscription:sub_2")
SECONDS = st.integers(0, 2).map(lambda n: START + SECOND * n)
DIGESTS = st.sampled_from("abcde")


@st.composite
def wild_facts(draw: st.DrawFn, most: int = 9) -> list[Fact]:
    """Any facts of one party in the same few seconds; a thing is born once at most."""
    ids = draw(st.lists(st.integers(0, 99), unique=True, max_size=most))
    facts = [draw(_wild(f"evt_{n:02}")) for n in ids]
    for thing in WILD_THINGS:
        if draw(st.booleans()):
            event = f"evt_{draw(st.integers(0, 99)):02}_{thing[-1]}"
            after, stamp = draw(DIGESTS), Stamp(False, draw(SECONDS), Rank.CREATED)
            value = WILD_VALUES[after]
            facts.append(Fact("x:1", thing, stamp, event, "k", value, after))
    return facts


@st.composite
def _wild(draw: st.DrawFn, event: str) -> Fact:
    after = draw(DIGESTS)
    before = draw(st.sampled_from([None, "a", "b", "c", "d", "e"]))
    rank = draw(st.sampled_from([1, 2, 2, 2, 3, 4]))
    final = draw(st.integers(0, 9)) == 0
    value = WILD_VALUES[after] | ({"status": "canceled"} if final else {})
    thing = draw(st.sampled_from(WILD_THINGS))
    stamp = Stamp(final, draw(SECONDS), rank)
    return Fact("x:1", thing, stamp, event, "k", value, after + "!" * final, before)


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """One account, of one or two customers with up to three subscriptions each."""
    facts: list[Fact] = []
    truth: dict[str, dict[str, Any]] = {}
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
        teller.tell("updated", told | ({"discounts": discounts} if discounts else {}))
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
        if not teller.facts[-1].stamp.final:
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
    def value(self) -> dict[str, Any]:
        return dict(self.facts[-1].value)

    def tell(self, word: str, value: Value) -> None:
        """Let *value* become true, with an event of type *word* that says so."""
        before = self.facts[-1].after if self.facts else None
        after = digest(value)
        if before is not None:
            pauses = [1] if self._is_hard(before, after) else [0, 0, 0, 1, 60, 86_400]
            self.pass_time(self._draw(st.sampled_from(pauses)))
        self._states.append(after)
        self._event(word, value, before if word == "updated" else None)

    def change(self, word: str = "updated", **changes: Any) -> None:
        """Let these parts of the value become true."""
        self.tell(word, self.value | changes)

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
        ranks = {"trial_will_end": Rank.NOTICE, "paused": Rank.SWITCHED}
        stamp = Stamp(final, self.at, ranks.get(word) or Rank[word.upper()])
        kind = f"{self._thing.partition(':')[0]}.{word}"
        after = digest(value)
        self.facts.append(
            Fact(self._party, self._thing, stamp, event, kind, value, after, before)
        )


def _status(draw: st.DrawFn, teller: _Teller) -> None:
    old = teller.value["status"]
    new = draw(st.sampled_from(DATA["next"][old]))
    alone = new in FINAL or "unpaid" in {old, new}
    if alone:
        teller.pass_time(draw(st.sampled_from([1, 10 * 86_400, 30 * 86_400])))
    if new == "canceled":
        teller.change("deleted", status=new, ended_at=teller.at)
    else:
        teller.change(status=new)
    if new == "paused":
        teller.again("paused")
    if alone:
        teller.pass_time(1)


def _items(draw: st.DrawFn, teller: _Teller) -> None:
    teller.change(**draw(st.sampled_from(BUNDLES)))


def _discount(draw: st.DrawFn, teller: _Teller) -> None:
    teller.change(discounts=[draw(st.sampled_from(DISCOUNTS))])


def _cancel(draw: st.DrawFn, teller: _Teller) -> None:
    value = teller.value
    if not value.pop("cancel_at_period_end", None):
        value["cancel_at_period_end"] = True
    teller.tell("updated", value)


def _cancel_at(draw: st.DrawFn, teller: _Teller) -> None:
    teller.change(cancel_at=START + draw(st.sampled_from([10, 400])) * DAY)


def _nothing(draw: st.DrawFn, teller: _Teller) -> None:
    teller.change()


def _remind(draw: st.DrawFn, teller: _Teller) -> None:
    teller.again("trial_will_end")


STEPS = (
    *(_status, _status, _items, _discount, _cancel, _cancel, _cancel_at),
    *(_nothing, _remind),
)
