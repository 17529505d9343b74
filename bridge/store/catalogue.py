"""What many parties use: who uses it, and how a change of it reaches them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from redis import Redis

from bridge.domain.catalogue import references
from bridge.domain.facts import PartyKind, catalogue, kind_of, source_of
from bridge.domain.fold import State, fold
from bridge.store import codec, keys
from bridge.store.scripts import load
from bridge.store.view import Catalogues, Member

BATCH = 500
"""Parties that one step of a spread reaches."""

APART_MS = 20
"""Between two parties of a spread, so that it never crowds out what just happened."""


def used(
    redis: Redis, members: Sequence[Member], *, register: bool = True
) -> Catalogues:
    """What *members* use of their sources' catalogues.

    They are put on the list of those to be told of a change before it is read, so
    that no change is missed; without *register* (for people who look) they are not.
    """
    wanted = sorted(
        {
            (catalogue(source_of(member.name), thing), member.name, thing)
            for member in members
            if kind_of(member.name) != PartyKind.CATALOGUE
            for thing in references(member.things)
        }
    )
    if not wanted:
        return {}
    with redis.pipeline(transaction=True) as pipe:
        for listed, name, _ in wanted:
            if register:
                pipe.sadd(keys.uses(listed), name)
        for listed, _, _ in wanted:
            pipe.hgetall(keys.facts(listed))
        replies = pipe.execute()[-len(wanted) :]
    found: dict[str, dict[str, Mapping[str, State]]] = {}
    for (listed, name, thing), raw in zip(wanted, replies, strict=True):
        if raw:
            things = fold(codec.read(listed, raw))
            found.setdefault(source_of(name), {})[thing] = things
    return found


class Spread:
    """Reaches the parties that use a thing of a catalogue."""

    def __init__(self, redis: Redis) -> None:
        self._spread = redis.register_script(load("spread"))

    def reach(self, party: str) -> int:
        """Let a part of those who use *party* be looked at again; how many."""
        return int(self._spread(args=[party, BATCH, APART_MS]))
