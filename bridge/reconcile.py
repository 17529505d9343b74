"""Reading what Vitally has of all accounts, page by page, and noting what is otherwise."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from redis import Redis

from bridge.config import Config
from bridge.domain.document import Ledger, same
from bridge.domain.traits import Known
from bridge.errors import BridgeError, VitallyMissingError
from bridge.store import keys
from bridge.store.shadow import Seen, Shadow
from bridge.vitally.client import Vitally

PAGE = 100
"""Accounts that Vitally lists in one request."""

NO_TRAITS = frozenset({"organizationId"})
"""Keys of `bridge.toml` that are no traits in Vitally."""

LOST = 0.5
"""Where more than this part of our accounts is not listed, it is another workspace."""

FEW = 20
"""So many accounts may be missing, whatever part of all they are."""


class Reconciler:
    """Reads Vitally's list of accounts; *wait* is called before each request."""

    def __init__(
        self,
        redis: Redis,
        vitally: Vitally,
        config: Config,
        wait: Callable[[], None],
    ) -> None:
        self._redis: Any = redis
        self._shadow = Shadow(redis)
        self._vitally = vitally
        self._wait = wait
        written = {key for key in config.traits.values() if key}
        self._keys = frozenset(written - NO_TRAITS)

    def read(self) -> Iterator[int]:
        """Read the whole list, or go on where it was interrupted.

        Yields after each page how many accounts were read so far. Raises VitallyError,
        and BridgeError where the list is that of another workspace.
        """
        place = {k.decode(): v.decode() for k, v in self._hash().items()}
        began, cursor = int(place.get("began", 0)), place.get("cursor") or None
        if not began:
            began = self._shadow.now()
            self._redis.hset(keys.LISTING, mapping={"began": began})
        read, more = int(place.get("read", 0)), True
        while more:
            self._wait()
            page = self._vitally.accounts("activeOrChurned", PAGE, cursor, "createdAt")
            self._note(began, page.results)
            cursor, more = page.next, page.next is not None
            read += len(page.results)
            at = {"cursor": cursor or "", "read": read}
            self._redis.hset(keys.LISTING, mapping=at)
            yield read
        self._find_missing(began, read)
        self._redis.set(keys.LISTED, began)
        self._redis.delete(keys.LISTING)

    def _hash(self) -> Mapping[bytes, bytes]:
        place: Mapping[bytes, bytes] = self._redis.hgetall(keys.LISTING)
        return place

    def _note(self, began: int, accounts: Sequence[Mapping[str, Any]]) -> None:
        shown = {
            str(one["externalId"]): one.get("traits") or {}
            for one in accounts
            if one.get("externalId")
        }
        ledgers = self._shadow.ledgers([*shown])
        self._shadow.note(
            began,
            [
                Seen(name, text, otherwise(ledger, traits, self._keys))
                for (name, traits), (text, ledger) in zip(
                    shown.items(), ledgers, strict=True
                )
            ],
        )

    def _find_missing(self, began: int, read: int) -> None:
        """Note our accounts that the list did not show, each after one more look."""
        ours = [one for one in self._shadow.known() if one[1]]
        absent = [name for name, _, ledger in ours if ledger.read_at < began]
        if len(absent) > max(FEW, LOST * len(ours)):
            self._redis.delete(keys.LISTING)
            raise BridgeError(
                f"Vitally lists {read} accounts, and {len(absent)} of the "
                f"{len(ours)} that the bridge has written are not among them: "
                "is it the same workspace?"
            )
        for name in absent:
            self._wait()
            self.look(name)

    def look(self, name: str) -> None:
        """Read one account. Raises VitallyError."""
        began = self._shadow.now()
        ((text, ledger),) = self._shadow.ledgers([name])
        try:
            shown = self._vitally.get(name).get("traits") or {}
        except VitallyMissingError:
            seen = Seen(name, text, {}, missing=True)
        else:
            seen = Seen(name, text, otherwise(ledger, shown, self._keys))
        self._shadow.note(began, [seen])


def otherwise(
    ledger: Ledger, shown: Mapping[str, Any], ours: Collection[str]
) -> dict[str, Known]:
    """The traits that Vitally has otherwise than the *ledger* says; None: not there."""
    every = {*ours, *ledger.traits}
    return {
        key: shown.get(key)
        for key in sorted(every)
        if not same(ledger.traits.get(key), shown.get(key))
    }
