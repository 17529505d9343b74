"""Reading what Vitally has of all accounts, page by page, and noting what is otherwise."""

from __future__ import annotations

from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any

from redis import Redis

from bridge.config import Config
from bridge.desired import ORGANIZATION
from bridge.domain.document import Ledger, same
from bridge.domain.facts import organization, organization_id
from bridge.domain.traits import Known
from bridge.errors import BridgeError, VitallyMissingError, VitallyRefusedError
from bridge.store import keys
from bridge.store.connect import each
from bridge.store.shadow import Seen, Shadow
from bridge.vitally.client import Page, Vitally

FRESH_MS = 600_000
"""How young a reading must be that another one would show nothing new."""

KINDS = ("accounts", "organizations")
"""What Vitally lists; organizations only where accounts belong to some."""

KEPT = 3600
"""Seconds for which an interrupted reading can go on where it was."""

READS = 30
"""Seconds after a request of a reading for which nobody else begins one."""

LOST = 0.5
"""Where more than this part of our accounts is not listed, it is another workspace."""

Shown = Mapping[str, Any]
"""An account or an organization as Vitally shows it."""

FEW = 20
"""So many accounts may be missing, whatever part of all they are."""


class Reconciler:
    """Reads Vitally's list of accounts; *wait* is called before each request.

    *who* reads is known to others, so that only one does.
    """

    def __init__(
        self,
        redis: Redis,
        vitally: Vitally,
        config: Config,
        wait: Callable[[], None],
        who: str = "by hand",
    ) -> None:
        self._redis: Any = redis
        self._shadow = Shadow(redis)
        self._vitally = vitally
        self._wait = wait
        self._who = who
        self._by_hand = config.by_hand
        written = {key for key in config.traits.values() if key}
        self._keys = frozenset(written - {ORGANIZATION})

    def read(self) -> Iterator[int]:
        """Read the whole list, or go on where it was interrupted.

        Yields after each request how many accounts were read so far. Raises VitallyError,
        and BridgeError where the list is that of another workspace.
        """
        raw = self._redis.hgetall(keys.LISTING).items()
        place = {name.decode(): value.decode() for name, value in raw}
        began = int(place.get("began") or self._shadow.now())
        read, kind = int(place.get("read", 0)), place.get("kind", KINDS[0])
        cursor = place.get("cursor") or None
        more, passed = "whole" not in place, {cursor}
        while more:
            self._turn()
            if read and not self._redis.exists(keys.LISTING):  # Redis was restarted
                began, read, kind = self._shadow.now(), 0, KINDS[0]
                cursor, passed = None, {None}
            page = self._page(kind, cursor, began)
            cursor, more = page.next, page.next is not None
            if more and cursor in passed:
                self._redis.delete(keys.LISTING)
                raise BridgeError("Vitally's list of accounts leads back to itself")
            passed.add(cursor)
            read += len(page.results)
            if not more and kind == KINDS[0] and self._shadow.organizations():
                more, kind, passed = True, KINDS[1], {None}
            at = {"cursor": cursor or "", "kind": kind} if more else {"whole": 1}
            self._redis.hset(keys.LISTING, mapping={"began": began, "read": read, **at})
            self._redis.expire(keys.LISTING, KEPT)
            yield read
        for name in self._absent(began, read):
            self._turn()
            self.look(name)
            yield read
        self._redis.set(keys.LISTED, began)
        self._redis.delete(keys.LISTING, keys.READER)

    def is_fresh(self) -> bool:
        """Whether Vitally was read so lately that another reading would be idle."""
        return self._shadow.now() - int(self._redis.get(keys.LISTED) or 0) < FRESH_MS

    def _turn(self) -> None:
        self._wait()
        self._redis.set(keys.READER, self._who, ex=READS)

    def _page(self, kind: str, cursor: str | None, began: int) -> Page:
        """Read a page, and note what it shows."""
        try:
            page = self._vitally.everything(kind, cursor)
        except VitallyRefusedError:
            # The cursor may be too old; the next reading begins with the first page.
            self._redis.delete(keys.LISTING)
            raise
        except VitallyMissingError:
            if kind == KINDS[0]:
                raise
            page = Page([], None)  # organizations are switched off
        self._note(began, kind, page.results)
        return page

    def _note(self, began: int, kind: str, accounts: Sequence[Shown]) -> None:
        name = organization if kind == KINDS[1] else str
        shown = {
            name(str(one["externalId"])): one
            for one in accounts
            if one.get("externalId") and isinstance(one.get("traits"), dict | None)
        }
        ledgers = self._shadow.ledgers([*shown])
        rows = zip(shown.items(), ledgers, strict=True)
        ids = self._ids(ledger for _, ledger in ledgers)
        seen = [self._seen(name, known, one, ids) for (name, one), known in rows]
        self._shadow.note(began, seen)

    def _ids(self, ledgers: Iterable[Ledger]) -> dict[str, str]:
        """Organization that accounts were put into -> Vitally's own id of it, if known."""
        names = sorted({str(one.traits.get(ORGANIZATION) or "") for one in ledgers})
        records = [keys.account(organization(name)) for name in names]
        ids = zip(names, each(self._redis, "hget", records, "id"), strict=True)
        return {name: id_.decode() for name, id_ in ids if id_}

    def _seen(
        self, name: str, known: tuple[str, Ledger], shown: Shown, ids: Mapping[str, str]
    ) -> Seen:
        text, ledger = known
        by_currency = ledger.traits.keys() if organization_id(name) else frozenset()
        other = otherwise(ledger, shown.get("traits") or {}, self._keys | by_currency)
        is_in = shown.get(ORGANIZATION)
        id_ = ids.get(str(ledger.traits.get(ORGANIZATION)))
        if id_ and is_in != id_:
            other[ORGANIZATION] = is_in
        ours = other.keys() & ledger.traits.keys() - self._by_hand
        return Seen(name, text, other, drifted=bool(ours))

    def _absent(self, began: int, read: int) -> Sequence[str]:
        """Our accounts that the list did not show, each of which gets one more look."""
        ours, absent = self._shadow.unseen(began)
        if len(absent) > max(FEW, LOST * ours):
            self._redis.delete(keys.LISTING)
            raise BridgeError(
                f"Vitally lists {read} accounts, and {len(absent)} of the "
                f"{ours} that the bridge has written are not among them: "
                "is it the same workspace?"
            )
        return absent

    def look(self, name: str) -> bool:
        """Read one account; False: it is being written. Raises VitallyError."""
        began = self._shadow.now()
        ((text, ledger),) = self._shadow.ledgers([name])
        try:
            shown = self._vitally.get(name)
        except VitallyMissingError:
            seen = Seen(name, text, {}, missing=True, drifted=bool(text))
        else:
            seen = self._seen(name, (text, ledger), shown, self._ids([ledger]))
        return self._shadow.note(began, [seen]) > 0


def otherwise(
    ledger: Ledger, shown: Mapping[str, Any], ours: Collection[str]
) -> dict[str, Known]:
    """The traits that Vitally has otherwise than the *ledger* says; None: not there."""
    return {
        key: shown.get(key)
        for key in sorted(ours)
        if not same(ledger.traits.get(key), shown.get(key))
    }
