"""What a person can do about parties: link one to an account, try some again."""

from __future__ import annotations

import time
from collections.abc import Iterable

from redis import Redis

from bridge.domain.facts import Fact, Stamp
from bridge.domain.values import LINK
from bridge.errors import BridgeError
from bridge.queue import Queue
from bridge.store.accept import Accept
from bridge.store.inspect import Look
from bridge.store.lease import Claim, Leases


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
    claims = Leases(redis).claim_by_hand(party)
    Queue(redis).push_all(claims, "tried again by hand")
    return len(claims)


def parties_of(redis: Redis, names: Iterable[str]) -> list[str]:
    """The parties in *names* and those of the accounts in *names*, each once.

    Raises BridgeError where a name is neither.
    """
    look = Look(redis)
    parties: dict[str, None] = {}
    for name in names:
        own = [name] if look.standing(name) else look.members_of(name)
        if not own:
            raise BridgeError(f"{name}: no such account or party here; nothing is done")
        parties |= dict.fromkeys(own)
    return list(parties)
