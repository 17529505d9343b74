"""The order inside one instant: steps from state to state, and where they lead."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple


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
    """Whether a step that two events tell can have been taken twice: it led back."""
    told = Counter((s.before or "", s.after) for s in steps if _moves(s))
    twice = [edge for edge, times in told.items() if times > 1]
    if not twice:
        return False
    circle = _circles(told)
    return any(circle[before] == circle[after] for before, after in twice)


def _circles(edges: Collection[tuple[str, str]]) -> dict[str, str]:
    """Map each state to the name of its circle: states that lead to one another.

    Kosaraju's strongly connected components, in the time of the number of edges.
    """
    ahead, back = _neighbours(edges), _neighbours((b, a) for a, b in edges)
    found: dict[str, str] = {}
    for root in reversed(_left(ahead)):
        waiting = [root]
        while waiting:
            state = waiting.pop()
            if state not in found:
                found[state] = root
                waiting += back[state]
    return found


def _left(ahead: Mapping[str, Collection[str]]) -> list[str]:
    """States in the order in which a walk into the depth leaves them for good."""
    order: list[str] = []
    seen: set[str] = set()
    for root in list(ahead):
        stack = [(root, False)]
        while stack:
            state, done = stack.pop()
            if done:
                order.append(state)
            elif state not in seen:
                seen.add(state)
                stack.append((state, True))
                stack += [(near, False) for near in ahead[state]]
    return order


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
    return end if beaten and _connected(edges, end) else None


def _connected(edges: Collection[tuple[str, str]], start: str) -> bool:
    both = {*edges, *((after, before) for before, after in edges)}
    return _reached(both, start) == {node for edge in edges for node in edge}


def _reached(edges: Iterable[tuple[str, str]], start: str) -> set[str]:
    near = _neighbours(edges)
    reached, waiting = {start}, [start]
    while waiting:
        new = near[waiting.pop()] - reached
        reached |= new
        waiting += new
    return reached


def _neighbours(edges: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """Every state of *edges* with those that it leads to."""
    near: defaultdict[str, set[str]] = defaultdict(set)
    for before, after in edges:
        near[before].add(after)
        near[after]
    return near
