"""All that waits for a person, read from the state, and clustered by cause."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Sequence
from importlib.resources import files

from redis import Redis

from bridge.domain.clusters import (
    DELETED,
    DRIFT,
    FAILED_JOB,
    HELD,
    MASS_CHANGE,
    PARKED,
    QUARANTINED,
    Cause,
    Causes,
    Cluster,
    Mark,
    Waiting,
)
from bridge.domain.clusters import clusters as clustered
from bridge.queue import Queue
from bridge.store import keys
from bridge.store.inspect import StateReader
from bridge.store.quarantine import Quarantine
from bridge.store.shadow import Shadow

TABLE = tomllib.loads(files(__package__).joinpath("causes.toml").read_text("utf-8"))
CAUSES: Causes = {kind: tuple(Cause(**x) for x in rows) for kind, rows in TABLE.items()}

LONGEST = 500
"""Most characters of a reason; a quarantined delivery may have thousands of mistakes."""

LISTS = {MASS_CHANGE: keys.MASS, HELD: keys.HELD, PARKED: keys.PARKED}


def clusters(
    redis: Redis, by_hand: Collection[str] = (), marks: Sequence[Mark] = ()
) -> list[Cluster]:
    """Everything that waits for a person, by cause. Raises redis' own errors.

    Traits in *by_hand* are left to people; *marks* are what was changed and when.
    """
    return clustered(waiting(redis, by_hand), CAUSES, marks)


def waiting(redis: Redis, by_hand: Collection[str] = ()) -> Iterator[Waiting]:
    """Each thing that waits for a person."""
    parked = set()
    for kind, key in LISTS.items():
        for one, since in StateReader(redis).listed(key):
            # What is part of a mass change is parked, too.
            if one.party not in parked:
                account, events = one.account or "", one.held + one.parked
                yield Waiting(kind, one.party, one.why, since, account, events)
            parked.add(one.party)
    for kept in Quarantine(redis).all():
        reason = kept.reason[:LONGEST]
        yield Waiting(QUARANTINED, kept.id, reason, kept.since, kept.source)
    for job in Queue(redis).failed():
        # A parked party names its failed job by itself.
        if job.party not in parked:
            yield Waiting(FAILED_JOB, job.id, job.reason, job.ended_at, job.party)

    yield from _drift(redis, by_hand)


def _drift(redis: Redis, by_hand: Collection[str]) -> Iterator[Waiting]:
    """Each trait that others have changed in Vitally, each account that they deleted."""
    for name, ledger in Shadow(redis).drifted():
        since = ledger.read_at
        if ledger.missing:
            yield Waiting(DELETED, name, "deleted in Vitally", since, name)
        for key in sorted({*ledger.seen} & {*ledger.traits} - {*by_hand}):
            reason = f"{key} is not what the bridge wrote"
            yield Waiting(DRIFT, name, reason, since, name)
