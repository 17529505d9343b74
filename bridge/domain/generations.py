"""Things of a catalogue whose id can be used again: made anew, it is another thing.

A coupon (or a plan) that was deleted may be made anew under its id with other terms;
whoever had the old one keeps it. A thing is its id *and* its creation, and each
creation is a thing of its own among the facts of the id: `coupon:SAVE@1795000200`.
What does not say when it was created (`coupon:SAVE`; all facts of version 0.1) belongs
to the last creation before it was told.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from bridge.domain.facts import Rank
from bridge.domain.fold import State


class Generation(NamedTuple):
    """One thing of several that had an id: *states* as they were told, the last newest.

    It was there from *created* (ms; None: since before anything known) until *gone*
    (None: still).
    """

    created: int | None
    gone: int | None
    states: tuple[State, ...]

    def may_be(self, begun: int | None, seen: int) -> bool:
        """Whether it is what something refers to that was *seen* and *begun* (ms)."""
        if self.created is not None and self.created > (
            seen if begun is None else begun
        ):
            return False
        return begun is None or self.gone is None or self.gone >= begun


def created(state: State) -> int | None:
    """When the thing that a state is of was made (ms); None: it does not say."""
    told = state.value.get("created")
    if told is None and state.fact.stamp.rank == Rank.CREATED:
        return state.fact.stamp.at
    return told


def generations(states: Iterable[State]) -> list[Generation]:
    """All things that had one id, the oldest first."""
    ordered = sorted(states, key=lambda state: state.fact.key)
    begins = sorted({at for at in map(created, ordered) if at is not None})
    found: dict[int | None, list[State]] = {None: [], **{at: [] for at in begins}}
    for state in ordered:
        at = created(state)
        if at is None:
            told = state.fact.stamp.at
            at = max((one for one in begins if one <= told), default=None)
        found[at].append(state)
    ends = [*begins, None]
    return [
        Generation(begin, _gone(own, end), tuple(own))
        for (begin, own), end in zip(found.items(), ends, strict=True)
        if own
    ]


def _gone(states: Iterable[State], following: int | None) -> int | None:
    """When it was deleted, at the latest when the next one of its id was made."""
    told = (s.fact.stamp.at for s in states if s.value.get("deleted"))
    return min((at for at in (*told, following) if at is not None), default=None)


def there_at(states: Iterable[State], seen: int) -> State | None:
    """The newest state of what had the id when it was *seen* (ms)."""
    there = [g for g in generations(states) if g.may_be(None, seen)]
    return there[-1].states[-1] if there else None
