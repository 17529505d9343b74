"""What a person can do about what waits: link it, try it again, replay it."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from itertools import islice

from redis import Redis

from bridge.domain.facts import Fact, Stamp, organization_id, vacated
from bridge.domain.values import LINK
from bridge.errors import BridgeError
from bridge.ingest import Ingress, Receipt
from bridge.queue import Queue
from bridge.sources import discover
from bridge.store.accept import Accept
from bridge.store.index import MANY, Index
from bridge.store.inspect import StateReader
from bridge.store.lease import APART_MS, Claim, Leases
from bridge.store.mass import Mass
from bridge.store.operator import discard_all
from bridge.store.quarantine import Kept
from bridge.wording import command

LIKE = 0.75
"""How alike (of 1) two ids are if one may have been meant as the other."""

FEW = 200
"""So many parties are queued at once; of more, one after another becomes due."""


def link(redis: Redis, party: str, account: str | None) -> None:
    """Assign *party* to *account*, or (None) to the one that its source names.

    All its facts so far move there. Raises StorageError and redis' own errors.
    """
    at = time.time_ns() // 1_000_000
    event = f"link_{at}"
    value = {"account": account} if account else {}
    fact = Fact(party, LINK, Stamp(False, at, 0), event, "link", value, after=event)
    taken = Accept(redis).facts("operator", [fact])
    if taken.claim:
        Queue(redis).push(Claim(party, taken.claim), f"link {event}")


def retry(redis: Redis, party: str) -> int:
    """Try at once what waits of *party*: how many jobs were queued for that.

    0: nothing waits, or a job is on its way. Raises redis' own errors.
    """
    claims = Leases(redis).claim("by hand", party)
    Queue(redis).push_all(claims, "tried again by hand")
    return len(claims)


def retry_all(redis: Redis, parties: Sequence[str]) -> int:
    """Do so for all *parties*; return how many had something to try.

    Of many, one after another is tried, `APART_MS` apart.
    """
    if len(parties) > FEW:
        return Leases(redis).make_due(parties, APART_MS)
    return sum(retry(redis, party) for party in parties)


def replay(ingress: Ingress, kept: Kept) -> Receipt:
    """Read a quarantined delivery again; what can be read leaves the quarantine.

    Raises StorageError and redis' own errors.
    """
    if source := ingress.sources.get(kept.source):
        return ingress.replay(source, kept)
    reason = f"the source {kept.source} is off: left where it is"
    return Receipt("quarantined", kept.event or None, reason)


def clear(redis: Redis, jobs: Collection[str]) -> int:
    """Remove failed *jobs*, and try their parties again; return how many jobs."""
    queue = Queue(redis)
    failed = [job for job in queue.failed() if job.id in jobs]
    retry_all(redis, [job.party for job in failed if job.party])
    for job in failed:
        queue.forget(job.id)
    return len(failed)


def release(redis: Redis) -> list[str]:
    """Have written what is held as a mass change; its parties. Raises redis' own errors."""
    parties = Mass(redis).end(released=True)
    retry_all(redis, parties)
    return parties


def discard_mass(redis: Redis) -> list[str]:
    """Discard what is held as a mass change; its parties. Raises redis' own errors."""
    parties = Mass(redis).end(released=False)
    discard_all(redis, parties)
    return parties


def parties_of(redis: Redis, names: Iterable[str]) -> list[str]:
    """The parties in *names* and those of the accounts in *names*, each once.

    An account without any party is the party that stands for it. Raises BridgeError where
    a name is neither.
    """
    state = StateReader(redis)
    parties: dict[str, None] = {}
    for name in names:
        own = [name] if state.standing(name) else state.members_of(name)
        if own and organization_id(name):
            own = [name]
        if not (own or state.record(name, []).written):
            raise unknown(redis, name)
        parties |= dict.fromkeys(own or [vacated(name)])
    return list(parties)


def unknown(redis: Redis, name: str) -> BridgeError:
    """The error for a *name* that nothing has here, with what may have been meant."""
    parties = [f"{source}:{name}" for source in discover()]
    standings = zip(parties, StateReader(redis).standings(parties), strict=True)
    meant = [party for party, standing in standings if standing]
    hint = f" (did you mean {meant[0]}?)" if meant else like(redis, name)
    return BridgeError(f"{name}: no such account or party here{hint}")


def like(redis: Redis, name: str) -> str:
    """A hint at the account that *name* may have been meant for; "": there is none."""
    rows = [*islice(Index(redis).stream(), MANY)]
    meant = [r.account for r in rows if name.strip() and r.matches(name.lower())]
    if len(meant) > 1:
        return f" (`{command('accounts', 'find', name)}` shows {len(meant):,} like it)"
    meant = meant or get_close_matches(name, [r.account for r in rows], 1, LIKE)
    return f" (did you mean {meant[0]}?)" if meant else ""


def new_account(redis: Redis, name: str) -> str:
    """A warning where a link to *name* may make a new account; "": it is known here."""
    state = StateReader(redis)
    is_known = state.members_of(name) or state.record(name, []).written
    words = f"{name}: a new account, unless Vitally has it"
    return "" if is_known else words + like(redis, name)
