"""Folds a set of facts into one state per thing, independent of their order.

`fold` is a function of a set, so the order, repetition and grouping of deliveries cannot
matter. `compact` drops facts that can never matter again, so that
`fold(compact(S) + T) == fold(S + T)` for every T, late ones included.

The order of the snapshots of one thing (facts of Stripe, whose clock has whole
seconds): a final snapshot beats everything; then the later instant wins; within one
instant the chain of `before` and `after` decides, then the rank of the event's type, then
the event's id. An id says nothing about time: if it decides, the state has *rivals*, each
of which may be the newest, and a trait on which they differ is left out.

One event may come in several renderings: Stripe sends it to each endpoint in the
endpoint's own version (https://docs.stripe.com/webhooks/versioning). All have the same
instant and state (`after`), and each may contain what another one lacks.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import reduce
from operator import attrgetter
from typing import Any, NamedTuple

from bridge.domain.facts import Fact, Rank, Stamp
from bridge.domain.values import Value

LATE = frozenset({"past_due", "unpaid"})
"""Statuses of a subscription whose payment is overdue."""

MOST_LATE = 16
"""Most steps of a spell that are stored; a late event may still end it at any of them."""

MOST_TWICE = 8
"""Most repeated steps that are examined; with more, the order counts as doubtful."""

BY_KEY = attrgetter("key")
"""Sort key of facts if no chain decides."""

SAME = ("id", "price", "coupon")
"""Two rows of a list are the same thing if they agree in these keys."""


class Step(NamedTuple):
    """A snapshot without its value: when it was true, and which state it replaced."""

    at: int
    rank: int
    event: str
    before: str | None
    after: str

    @classmethod
    def of(cls, fact: Fact) -> Step:
        """The step that a *fact* took."""
        return cls(fact.stamp.at, fact.stamp.rank, fact.event, fact.before, fact.after)

    @property
    def moves(self) -> bool:
        """Whether the step is known to have changed something."""
        return self.before is not None and self.before != self.after


Steps = frozenset[Step]


class Retained(NamedTuple):
    """What compaction must keep of a thing's history; it only grows, in any order.

    *seen*: every status it ever had. *creation_seen*: its creation was seen, or it was
    read from the API. *had_trial*: it ever had a trial. *paid*: the steps of the latest
    instant at which it was not `unpaid`. *unpaid*: the steps to `unpaid` since then.
    *in_time* and *late*: the same for LATE, of which `unpaid` is one.
    """

    seen: frozenset[str] = frozenset()
    creation_seen: bool = False
    had_trial: bool = False
    paid: Steps = frozenset()
    unpaid: Steps = frozenset()
    in_time: Steps = frozenset()
    late: Steps = frozenset()

    def marks(self, facts: Collection[Fact]) -> tuple[frozenset[str], bool, bool]:
        """*seen*, *creation_seen* and *had_trial*, extended by *facts*."""
        return (
            self.seen.union([_word(fact) for fact in facts]),
            self.creation_seen
            or any(f.is_read or f.stamp.rank == Rank.CREATED for f in facts),
            self.had_trial or any("trial_end" in fact.value for fact in facts),
        )

    def joined(self, facts: Collection[Fact]) -> Retained:
        """The same, extended by *facts*."""
        words = {Step.of(fact): _word(fact) for fact in facts}
        return Retained(
            *self.marks(facts),
            *_spell(self.paid, self.unpaid, words, {"unpaid"}),
            *_spell(self.in_time, self.late, words, LATE),
        )

    def kept(self) -> Retained:
        """The part that has to be stored: outside a spell, no steps; of LATE the first.

        The steps before it then follow from the newest facts, which are kept.
        """
        kept = self if self.unpaid else self._replace(paid=frozenset())
        late = frozenset(in_order(self.late)[:MOST_LATE])
        return kept._replace(in_time=self.in_time if late else late, late=late)


def _spell(
    out: Steps, into: Steps, words: Mapping[Step, str], names: Collection[str]
) -> tuple[Steps, Steps]:
    """The steps of the latest instant out of statuses with these *names*, and those since."""
    new = {step for step, word in words.items() if word in names}
    out |= words.keys() - new
    last = max((step.at for step in out), default=0)
    return (
        frozenset(step for step in out if step.at == last),
        frozenset(step for step in into | new if step.at >= last),
    )


NOTHING = Retained()


class History(NamedTuple):
    """Everything kept of one party: its facts, and what is retained of each thing."""

    facts: Collection[Fact]
    retained: Mapping[str, Retained] = {}


class State(NamedTuple):
    """A thing as it is now: the winning *fact*, and what was retained of its history.

    *unpaid_since* (ms) is the start of the current spell of `unpaid`; None: it is not
    unpaid. *late_since*: the same for LATE; 0: the start was not seen. *rivals* are other states that may be the newest: they come from events of
    one instant whose order is unknown.
    """

    fact: Fact
    seen: frozenset[str]
    creation_seen: bool
    had_trial: bool
    unpaid_since: int | None = None
    late_since: int | None = None
    rivals: tuple[State, ...] = ()

    @property
    def value(self) -> Any:
        """The winning snapshot: one of the kinds of `values.py`, by its thing."""
        return self.fact.value


def fold(history: History) -> dict[str, State]:
    """Return the state of every thing of one party."""
    states: dict[str, State] = {}
    for thing, events in _by_thing(history.facts).items():
        facts = _united(events)
        before = history.retained.get(thing, NOTHING)
        marks = before.marks(facts)
        # The steps only tell since when it is unpaid or late.
        first, *rivals = (
            State(fact, *marks, *_since(fact, before.joined(facts)))
            if status(fact.value) in LATE
            else State(fact, *marks)
            for fact in candidates(facts)
        )
        states[thing] = first._replace(rivals=tuple(rivals)) if rivals else first
    return states


def compact(history: History) -> History:
    """Return the smallest history that folds to the same, whatever may still arrive."""
    kept: list[Fact] = []
    retained: dict[str, Retained] = {}
    for thing, events in _by_thing(history.facts).items():
        before = history.retained.get(thing)
        if len(events) == 1 and before is None:
            kept += next(iter(events.values()))
            continue
        facts = _united(events)
        needed = _needed(facts)
        for event in dict.fromkeys(map(_event, needed)):
            kept += events[event]
        least = (before or Retained()).joined(needed)
        every = least.joined(facts)
        if before is not None or every.kept() != least.kept():
            retained[thing] = every.kept()
    return History(kept, retained)


def status(value: Value) -> str:
    """The status of a snapshot, as `seen` stores it; of a payment, all of it."""
    if "step" in value:
        return json.dumps(value, sort_keys=True, separators=(",", ":"))
    return "deleted" if value.get("deleted") else str(value.get("status", "present"))


def _word(fact: Fact) -> str:
    """The same, for sources that only say when a trial ends."""
    word = status(fact.value)
    in_trial = fact.stamp.at < fact.value.get("trialing_until", 0)
    return "trialing" if in_trial and word == "active" else word


def _since(fact: Fact, retained: Retained) -> tuple[int | None, int]:
    """When it became `unpaid` (None: it is not) and LATE (0: not seen)."""
    is_unpaid = status(fact.value) == "unpaid"
    unpaid = _began(fact, retained.paid, retained.unpaid) if is_unpaid else None
    is_new = any(step.rank == Rank.CREATED for step in retained.late)
    was_seen = is_new or retained.in_time
    return unpaid, _began(fact, retained.in_time, retained.late) if was_seen else 0


def _began(fact: Fact, out: Steps, into: Steps) -> int:
    """The start of a spell; the chain orders steps of one instant."""
    last = max((step.at for step in out), default=None)
    shared = {step for step in into if step.at == last}
    if last is not None and shared:
        steps = in_order(shared | out)
        end = end_of(steps, [])
        ended = {s for s in steps if s.after == end} if end else {steps[-1]}
        if last == fact.stamp.at or ended & shared:
            return last
    spell = (step.at for step in into if step.at != last)
    return min(spell, default=fact.stamp.at)


def _needed(facts: list[Fact]) -> list[Fact]:
    """The newest instant's distinct steps and the one fact before it.

    A step that two events report is kept twice, because that makes its order doubtful.
    """
    top, tied, older = _newest(facts)
    if top.stamp.final:
        return [top]
    steps: defaultdict[tuple[str | None, str, bool], list[Fact]] = defaultdict(list)
    for fact in tied:
        steps[fact.before, fact.after, fact.stamp.rank == Rank.CREATED].append(fact)
    return [*older, *(fact for same in steps.values() for fact in same[-2:])]


# --- The order of one thing's facts -------------------------------------------------------


def _newest(facts: Collection[Fact]) -> tuple[Fact, list[Fact], list[Fact]]:
    """The last fact by key, all facts of its instant, and the one before that, if any."""
    ordered = sorted(facts, key=BY_KEY)
    top, at = ordered[-1], ordered[-1].stamp.at
    older = [fact for fact in ordered if fact.stamp.at < at]
    return top, [fact for fact in ordered if fact.stamp.at == at], older[-1:]


def candidates(facts: Collection[Fact]) -> list[Fact]:
    """The snapshot that is true now, and those that may be true instead."""
    if len(facts) == 1:
        return [*facts]
    top, tied, older = _newest(facts)
    if top.stamp.final or len({f.after for f in tied}) == 1:
        return [top]
    steps = [Step.of(fact) for fact in tied]
    end = end_of(steps, [Step.of(fact) for fact in older])
    if end is None:
        return _each(top, [f for f in tied if f.stamp.rank == top.stamp.rank])
    last = max((f for f in tied if f.after == end), key=BY_KEY)
    return _each(last, tied) if is_doubtful(steps) else [last]


def _each(first: Fact, tied: Iterable[Fact]) -> list[Fact]:
    """*first*, and one fact of *tied* for each other state."""
    last = {fact.after: fact for fact in tied if fact.after != first.after}
    return [first, *(last[after] for after in sorted(last))]


def in_order(steps: Iterable[Step]) -> list[Step]:
    """Sort *steps* as facts are sorted; one without a `before` comes first."""
    return sorted(steps, key=lambda s: (s[:3], s.before or "", s.after))


def is_doubtful(steps: Iterable[Step]) -> bool:
    """Whether a repeated step may really have happened twice: other steps lead back."""
    taken = Counter((step.before or "", step.after) for step in steps if step.moves)
    twice = [edge for edge, times in taken.items() if times > 1]
    return len(twice) > MOST_TWICE or any(
        before in _reached(taken, after) for before, after in twice
    )


def end_of(tied: Sequence[Step], older: Sequence[Step]) -> str | None:
    """The state to which the steps of one instant lead; None: they do not say.

    The steps are edges from `before` to `after`. An order that takes each edge once is a
    trail, and the degrees of the states give its two ends. A round trip (cancel and
    un-cancel) ends where it began; only the fact before it shows where that is.
    """
    edges = {(step.before or "", step.after) for step in tied if step.moves}
    if not edges:
        return None
    surplus = Counter(after for _, after in edges)
    surplus.subtract(before for before, _ in edges)
    ends = [*(+surplus).elements()]
    if not ends:
        starts = [s.after for s in tied if s.rank == Rank.CREATED]
        starts = starts or [s.after for s in older]
        ends = [start for start in starts[-1:] if start in surplus]
    if len(ends) != 1:
        return None
    above = max(step.rank for step in tied if step.moves)
    beside = [step for step in tied if not step.moves and step.after not in surplus]
    backwards = {(after, before) for before, after in edges}
    is_one_trail = _reached(backwards, ends[0]) == surplus.keys()
    is_last = all(step.rank < above for step in beside)
    return ends[0] if is_one_trail and is_last else None


def _reached(edges: Iterable[tuple[str, str]], start: str) -> set[str]:
    """*start* and every state that the *edges* lead to from it."""
    near: defaultdict[str, set[str]] = defaultdict(set)
    for before, after in edges:
        near[before].add(after)
    reached, waiting = {start}, [start]
    while waiting:
        new = near[waiting.pop()] - reached
        reached |= new
        waiting += new
    return reached


# --- One event in several renderings ------------------------------------------------------

EventKey = tuple[str, str, Stamp, str]


def _event(fact: Fact) -> EventKey:
    """What all renderings of an event have in common; an id may be of several events."""
    return fact.event, fact.kind, fact.stamp, fact.after


def _by_thing(facts: Iterable[Fact]) -> dict[str, dict[EventKey, list[Fact]]]:
    """The renderings of each event of each thing, those that repeat another left out."""
    things: defaultdict[str, dict[EventKey, list[Fact]]] = defaultdict(dict)
    for fact in facts:
        renderings = things[fact.thing].setdefault(_event(fact), [])
        said = [(one.before, one.value) for one in renderings]
        if (fact.before, fact.value) not in said:
            renderings.append(fact)
    return things


def _united(events: Mapping[EventKey, Sequence[Fact]]) -> list[Fact]:
    """A fact for every event, with all that its renderings say.

    Where they do not agree on what the event replaced, one for each.
    """
    facts: list[Fact] = []
    for renderings in events.values():
        if len(renderings) == 1 and not renderings[0].rendering:
            facts += renderings
            continue
        value = united([fact.value for fact in renderings])
        by_before = {fact.before: fact for fact in renderings}
        facts += [f._replace(value=value, rendering="") for f in by_before.values()]
    return facts


def united(values: Sequence[Value]) -> Value:
    """What *values* say together; where they differ, what the fullest of them says."""
    fullest = sorted(values, key=lambda v: (-_size(v), json.dumps(v, sort_keys=True)))
    return reduce(_filled, fullest)


def _size(value: Any) -> int:
    """The number of single values in it."""
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    return sum(map(_size, value)) if isinstance(value, list) else 1


def _filled(one: Any, other: Any) -> Any:
    """*one* with what it leaves out and *other* says; of two lists the longer one."""
    if isinstance(one, dict) and isinstance(other, dict):
        both = {key: _filled(one[key], other[key]) for key in one if key in other}
        return {**other, **one, **both}
    if not (isinstance(one, list) and isinstance(other, list)):
        return one
    if len(one) != len(other):
        short, long = sorted((one, other), key=len)
        named = {row["id"]: row for row in short if _is_named(row)}
        return [
            _filled(row, named.get(row["id"], row)) if _is_named(row) else row
            for row in long
        ]
    return [
        _filled(row, beside) if _are_same(row, beside) else row
        for row, beside in zip(one, other, strict=True)
    ]


def _is_named(row: Any) -> bool:
    return isinstance(row, dict) and isinstance(row.get("id"), str)


def _are_same(row: Any, other: Any) -> bool:
    if not (isinstance(row, dict) and isinstance(other, dict)):
        return False
    return all(row[k] == other[k] for k in SAME if k in row and k in other)
