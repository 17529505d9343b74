"""How a set of facts becomes one state per thing, whatever order it came in.

`fold` is a function of a set: order, repetition and grouping of deliveries cannot
matter. `compact` drops what no later fact can make matter again, so that
`fold(compact(S) + T) == fold(S + T)` for every T, late ones included.

The order of the snapshots of one thing (facts of Stripe, whose clock has whole
seconds): a final snapshot beats everything; then the later instant; inside one
instant the chain of `before` and `after`; then the rank of the event's type; then
the event's id. An id says nothing about time, so the state is *ambiguous* then: its
`rivals` may be the newest as well, and a trait on which they differ is left out.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from bridge.domain.facts import Fact, Rank, Stamp
from bridge.domain.renderings import told_once
from bridge.domain.tie_break import Step, end_of, in_order, is_doubtful
from bridge.domain.values import Value

WHOLE = frozenset({Rank.CREATED, Rank.FROM_API})
"""Ranks that tell a thing from its beginning on."""


class Retained(NamedTuple):
    """What compaction must not forget about a thing; it only grows, in any order.

    *seen* holds every status it ever had, *creation_seen* whether its creation was seen
    or the whole of it was read, *trial* whether it ever had a trial. *paid* are the steps
    of the latest instant at which it was seen not `unpaid`, *unpaid* those since that
    instant at which it was.
    """

    seen: frozenset[str] = frozenset()
    creation_seen: bool = False
    trial: bool = False
    paid: frozenset[Step] = frozenset()
    unpaid: frozenset[Step] = frozenset()


class History(NamedTuple):
    """All that is kept of one party: its facts, and what is retained of each thing."""

    facts: Collection[Fact]
    retained: Mapping[str, Retained] = {}


class State(NamedTuple):
    """A thing as it is now: the winning *fact*, and what was retained of its history.

    *unpaid_since* (ms) is the first moment of the present spell of `unpaid`, None
    outside one. *rivals* are the states that may as well be the newest: events of one
    instant whose order nothing tells.
    """

    fact: Fact
    seen: frozenset[str]
    creation_seen: bool
    trial: bool
    unpaid_since: int | None
    rivals: tuple[State, ...] = ()

    @property
    def ambiguous(self) -> bool:
        """Whether only the event's id decided."""
        return bool(self.rivals)

    @property
    def value(self) -> Any:
        """The winning snapshot: one of `values`, by the kind of its thing."""
        return self.fact.value


def fold(history: History) -> dict[str, State]:
    """Return the state of every thing of one party."""
    return {
        thing: _state(_united(events), history.retained.get(thing, Retained()))
        for thing, events in _by_thing(history.facts).items()
    }


def compact(history: History) -> History:
    """Return the least that folds to the same, whatever may still arrive."""
    kept: list[Fact] = []
    retained: dict[str, Retained] = {}
    for thing, events in _by_thing(history.facts).items():
        if len(events) == 1 and thing not in history.retained:
            kept += next(iter(events.values()))
            continue
        facts = _united(events)
        needed = _needed(facts)
        for event in dict.fromkeys(map(_event, needed)):
            kept += events[event]
        all_of_it = _to_keep(_join(facts, history.retained.get(thing, Retained())))
        if thing in history.retained or all_of_it != _to_keep(
            _join(needed, Retained())
        ):
            retained[thing] = all_of_it
    return History(kept, retained)


def _to_keep(retained: Retained) -> Retained:
    """Outside a spell of `unpaid` the newest facts, which are kept, tell *paid*."""
    return retained if retained.unpaid else retained._replace(paid=frozenset())


def status(value: Value) -> str:
    """The word under which `seen` remembers a snapshot."""
    if value.get("deleted"):
        return "deleted"
    return str(value.get("status", "present"))


def _word(fact: Fact) -> str:
    """The same where the source tells of a trial only when it ends."""
    word = status(fact.value)
    in_trial = fact.stamp.at < fact.value.get("trialing_until", 0)
    return "trialing" if in_trial and word == "active" else word


Event = tuple[str, str, Stamp, str]
Renderings = dict[Event, list[Fact]]


def _event(fact: Fact) -> Event:
    """What all renderings of an event have in common; an id may be of several events."""
    return fact.event, fact.kind, fact.stamp, fact.after


def _by_thing(facts: Iterable[Fact]) -> dict[str, Renderings]:
    """The renderings of each event of each thing, those that repeat another left out."""
    things: defaultdict[str, Renderings] = defaultdict(dict)
    for fact in facts:
        renderings = things[fact.thing].setdefault(_event(fact), [])
        same = (
            one.before == fact.before and one.value == fact.value for one in renderings
        )
        if not any(same):
            renderings.append(fact)
    return things


def _united(events: Renderings) -> list[Fact]:
    """A fact for every event, with all that its renderings say."""
    return [fact for renderings in events.values() for fact in told_once(renderings)]


def _state(facts: list[Fact], before: Retained) -> State:
    fact, rivals = winner(facts)
    retained = _join(facts, before)

    def state(fact: Fact) -> State:
        since = _unpaid_since(fact, retained)
        return State(fact, retained.seen, retained.creation_seen, retained.trial, since)

    return state(fact)._replace(rivals=tuple(map(state, rivals)))


def _step(fact: Fact) -> Step:
    return Step(fact.stamp.at, fact.stamp.rank, fact.event, fact.before, fact.after)


def _join(facts: Iterable[Fact], before: Retained) -> Retained:
    words = {_step(fact): (_word(fact), fact) for fact in facts}
    unpaid = {step for step, (word, _) in words.items() if word == "unpaid"}
    paid = before.paid | (set(words) - unpaid)
    last = max((step.at for step in paid), default=0)
    return Retained(
        before.seen | {word for word, _ in words.values()},
        before.creation_seen or any(step.rank in WHOLE for step in words),
        before.trial or any("trial_end" in f.value for _, f in words.values()),
        frozenset(step for step in paid if step.at == last),
        frozenset(step for step in before.unpaid | unpaid if step.at >= last),
    )


def _unpaid_since(fact: Fact, retained: Retained) -> int | None:
    """The first instant of the spell; inside one instant the chain tells the last."""
    if status(fact.value) != "unpaid":
        return None
    last = max((step.at for step in retained.paid), default=None)
    shared = {step for step in retained.unpaid if step.at == last}
    if last is not None and shared:
        steps = in_order(shared | retained.paid)
        end = end_of(steps, [])
        ended = {s for s in steps if s.after == end} if end else {steps[-1]}
        if last == fact.stamp.at or ended & shared:
            return last
    spell = (step.at for step in retained.unpaid if step.at != last)
    return min(spell, default=fact.stamp.at)


def _needed(facts: list[Fact]) -> list[Fact]:
    """The newest instant's distinct steps and the one fact before it.

    A step that two events tell is kept twice, since that makes it doubtful.
    """
    top = max(facts, key=lambda f: f.key)
    if top.stamp.final:
        return [top]
    steps: defaultdict[tuple[str | None, str, bool], list[Fact]] = defaultdict(list)
    for fact in sorted(_at(facts, top.stamp.at), key=lambda f: f.key):
        steps[fact.before, fact.after, fact.stamp.rank == 0].append(fact)
    newest = [fact for told in steps.values() for fact in told[-2:]]
    return [*_before(facts, top.stamp.at), *newest]


def _at(facts: Iterable[Fact], at: int) -> list[Fact]:
    return [f for f in facts if f.stamp.at == at]


def _before(facts: Iterable[Fact], at: int) -> list[Fact]:
    """The predecessor of an instant, as a list of none or one; no chain here."""
    older = [f for f in facts if f.stamp.at < at]
    return [max(older, key=lambda f: f.key)] if older else []


def winner(facts: Collection[Fact]) -> tuple[Fact, list[Fact]]:
    """Return the snapshot that is true now, and those that may be true instead."""
    if len(facts) == 1:
        return next(iter(facts)), []
    top = max(facts, key=lambda f: f.key)
    tied = sorted(_at(facts, top.stamp.at), key=lambda f: f.key)
    if top.stamp.final or len({f.after for f in tied}) == 1:
        return top, []
    steps = [_step(fact) for fact in tied]
    end = end_of(steps, [_step(f) for f in _before(facts, top.stamp.at)])
    if end is not None:
        last = max((f for f in tied if f.after == end), key=lambda f: f.key)
        return last, _others(last, tied) if is_doubtful(steps) else []
    return top, _others(top, [f for f in tied if f.stamp.rank == top.stamp.rank])


def _others(fact: Fact, tied: Iterable[Fact]) -> list[Fact]:
    """Those of *tied* that say something else, one for each that can be said."""
    said = {f.after: f for f in tied}
    return [said[after] for after in sorted(said) if after != fact.after]
