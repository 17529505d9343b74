"""How a set of facts becomes one state per thing, whatever order it came in.

`fold` is a function of a set: order, repetition and grouping of deliveries cannot
matter. `compact` drops what no later fact can make matter again, so that
`fold(compact(S) + T) == fold(S + T)` for every T, late ones included.

The order of the snapshots of one thing (facts of Stripe, whose clock has whole
seconds): a final snapshot beats everything; then the later instant; inside one
instant the chain of `before` and `after`; then the rank of the event's type; then
the event's id, which is *ambiguous*.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from bridge.domain.facts import Fact, Value

Moment = tuple[int, int, str]
"""(instant in ms, rank, event id): when a snapshot was true, with its tie-breaks."""


class Joins(NamedTuple):
    """What compaction must not forget about a thing; each field is a join.

    *seen* holds every status it ever had, *born* whether its creation was seen,
    *trial* whether it ever had a trial. *paid* is the latest moment at which it was
    not `unpaid`, *unpaid* the moments after that at which it was.
    """

    seen: frozenset[str] = frozenset()
    born: bool = False
    trial: bool = False
    paid: Moment | None = None
    unpaid: frozenset[Moment] = frozenset()


class Past(NamedTuple):
    """All that is kept of one party: its facts, and the joins of each thing."""

    facts: Collection[Fact]
    joins: Mapping[str, Joins] = {}


class State(NamedTuple):
    """A thing as it is now: the winning *fact* and what its past says.

    *ambiguous* where only the event's id decided. *unpaid_since* (ms) is the first
    moment of the present spell of `unpaid`, None outside one.
    """

    fact: Fact
    ambiguous: bool
    seen: frozenset[str]
    born: bool
    trial: bool
    unpaid_since: int | None

    @property
    def value(self) -> Value:
        """The winning snapshot."""
        return self.fact.value


def fold(past: Past) -> dict[str, State]:
    """Return the state of every thing of one party."""
    return {
        thing: _state(facts, past.joins.get(thing, Joins()))
        for thing, facts in _by_thing(past.facts).items()
    }


def compact(past: Past) -> Past:
    """Return the least that folds alike, whatever may still arrive."""
    kept: list[Fact] = []
    joins: dict[str, Joins] = {}
    for thing, facts in _by_thing(past.facts).items():
        needed = _needed(facts)
        said = _join(facts, past.joins.get(thing, Joins()))
        kept += needed
        if thing in past.joins or said != _join(needed, Joins()):
            joins[thing] = said
    return Past(kept, joins)


def status(value: Value) -> str:
    """The word under which `seen` remembers a snapshot."""
    if value.get("deleted"):
        return "deleted"
    return str(value.get("status", "present"))


def _by_thing(facts: Iterable[Fact]) -> dict[str, list[Fact]]:
    things: defaultdict[str, dict[str, Fact]] = defaultdict(dict)
    for fact in facts:
        things[fact.thing][fact.event] = fact
    return {thing: list(by_event.values()) for thing, by_event in things.items()}


def _state(facts: list[Fact], before: Joins) -> State:
    fact, ambiguous = winner(facts)
    joins = _join(facts, before)
    return State(
        fact,
        ambiguous,
        joins.seen,
        joins.born,
        joins.trial,
        _unpaid_since(fact, joins),
    )


def _join(facts: Iterable[Fact], before: Joins) -> Joins:
    facts = list(facts)
    moments = {(f.stamp.at, f.stamp.rank, f.event): status(f.value) for f in facts}
    paid = [m for m, word in moments.items() if word != "unpaid"]
    last = max(paid + ([before.paid] if before.paid else []), default=None)
    unpaid = before.unpaid | {m for m, word in moments.items() if word == "unpaid"}
    return Joins(
        before.seen | set(moments.values()),
        before.born or any(f.stamp.rank == 0 for f in facts),
        before.trial or any("trial_end" in f.value for f in facts),
        last,
        frozenset(m for m in unpaid if last is None or m > last),
    )


def _unpaid_since(fact: Fact, joins: Joins) -> int | None:
    if status(fact.value) != "unpaid":
        return None
    if joins.paid and joins.paid[0] == fact.stamp.at:
        return fact.stamp.at
    return min((moment[0] for moment in joins.unpaid), default=fact.stamp.at)


def _needed(facts: list[Fact]) -> list[Fact]:
    """The newest instant's distinct steps and the one fact before it."""
    top = max(facts, key=lambda f: f.key)
    if top.stamp.final:
        return [top]
    steps: dict[tuple[str | None, str, bool], Fact] = {}
    for fact in sorted(_at(facts, top.stamp.at), key=lambda f: f.key):
        steps[fact.before, fact.after, fact.stamp.rank == 0] = fact
    older = _before(facts, top.stamp.at)
    return [*older, *steps.values()]


def _at(facts: Iterable[Fact], at: int) -> list[Fact]:
    return [f for f in facts if f.stamp.at == at]


def _before(facts: Iterable[Fact], at: int) -> list[Fact]:
    """The predecessor of an instant, as a list of none or one; no chain here."""
    older = [f for f in facts if f.stamp.at < at]
    return [max(older, key=lambda f: f.key)] if older else []


def winner(facts: Collection[Fact]) -> tuple[Fact, bool]:
    """Return the snapshot that is true now, and whether that is *ambiguous*."""
    top = max(facts, key=lambda f: f.key)
    tied = _at(facts, top.stamp.at)
    if top.stamp.final or len({f.after for f in tied}) == 1:
        return top, False
    end = _chain_end(tied, _before(facts, top.stamp.at))
    if end is not None:
        return max((f for f in tied if f.after == end), key=lambda f: f.key), False
    rivals = {f.after for f in tied if f.stamp.rank == top.stamp.rank}
    return top, len(rivals) > 1


def _chain_end(tied: list[Fact], older: list[Fact]) -> str | None:
    """Where the steps of one instant lead, or None where they do not say.

    The steps are edges from `before` to `after`; an order that takes each once is a
    trail, whose two ends the degrees give. Where it is a round trip (cancel and
    un-cancel) it ends where it began, which the predecessor has to tell.
    """
    edges = {
        (f.before, f.after)
        for f in tied
        if f.before is not None and f.before != f.after
    }
    if not edges:
        return None
    surplus: Counter[str] = Counter()
    for before, after in edges:
        surplus[after] += 1
        surplus[before] -= 1
    ends = [node for node, degree in surplus.items() if degree > 0]
    births = [f.after for f in tied if f.stamp.rank == 0]
    starts = births or [f.after for f in older]
    nodes = {node for edge in edges for node in edge}
    if not ends and starts and starts[0] in nodes:
        end = starts[0]
    elif len(ends) == 1 and surplus[ends[0]] == 1:
        end = ends[0]
    else:
        return None
    above = max(f.stamp.rank for f in tied if (f.before, f.after) in edges)
    strangers = [
        f for f in tied if (f.before, f.after) not in edges and f.after not in nodes
    ]
    beaten = all(f.stamp.rank < above for f in strangers)
    return end if beaten and _connected(edges, end) else None


def _connected(edges: Collection[tuple[str, str]], start: str) -> bool:
    near: defaultdict[str, set[str]] = defaultdict(set)
    for before, after in edges:
        near[before].add(after)
        near[after].add(before)
    reached, waiting = {start}, [start]
    while waiting:
        new = near[waiting.pop()] - reached
        reached |= new
        waiting += new
    return reached == set(near)
