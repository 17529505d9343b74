"""The order inside one instant: steps from state to state, and where they lead."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

MOST_TWICE = 8


class Step(NamedTuple):
    """A snapshot without its value: when it was true, and which state it replaced."""

    at: int
    rank: int
    event: str
    before: str | None
    after: str


def in_order(steps: Iterable[Step]) -> list[Step]:
    """Sort *steps* as facts are; one that says nothing of before comes first."""
    return sorted(steps, key=lambda s: (s[:3], s.before or "", s.after))


def is_doubtful(steps: Iterable[Step]) -> bool:
    """Whether a step that two events tell can have been taken twice: others lead back.

    Where more than MOST_TWICE are told twice nobody looks any further.
    """
    taken = Counter((s.before or "", s.after) for s in steps if _moves(s))
    twice = [edge for edge, times in taken.items() if times > 1]
    return len(twice) > MOST_TWICE or any(
        before in _reached(taken, after) for before, after in twice
    )


def _moves(step: Step) -> bool:
    return step.before is not None and step.before != step.after


def end_of(tied: list[Step], older: list[Step]) -> str | None:
    """Where the steps of one instant lead, or None where they do not say.

    The steps are edges from `before` to `after`; an order that takes each once is a
    trail, whose two ends the degrees give. Where it is a round trip (cancel and
    un-cancel) it ends where it began, which the predecessor has to tell.
    """
    edges = {(s.before or "", s.after) for s in tied if _moves(s)}
    if not edges:
        return None
    surplus: Counter[str] = Counter()
    for before, after in edges:
        surplus[after] += 1
        surplus[before] -= 1
    ends = [node for node, degree in surplus.items() if degree > 0]
    starts = [s.after for s in tied if s.rank == 0] or [s.after for s in older]
    start = starts[-1] if starts else None
    nodes = {node for edge in edges for node in edge}
    if not ends and start in nodes:
        end = start
    elif len(ends) == 1 and surplus[ends[0]] == 1:
        end = ends[0]
    else:
        return None
    above = max(s.rank for s in tied if _moves(s))
    strangers = [s for s in tied if not _moves(s) and s.after not in nodes]
    beaten = all(s.rank < above for s in strangers)
    both_ways = {*edges, *((after, before) for before, after in edges)}
    return end if beaten and _reached(both_ways, end) == nodes else None


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
