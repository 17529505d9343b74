"""A workspace of the simulator: its accounts and organizations, and how they change."""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Mapping
from typing import Any

import orjson

from bridge.vitally.simulator.account import Record, shown_account, updated
from bridge.vitally.simulator.schema import RefusalError
from bridge.vitally.simulator.switches import Switches

PAGE_CAP = 100
"""Most rows of a page, and the default: the vendor's pagination page."""

_DUPLICATES = {
    "conflict409": (409, "An account with this externalId already exists."),
    "bad400": (400, "externalId already exists"),
}


class Records:
    """Accounts, or organizations, by Vitally's id and by external id."""

    def __init__(self) -> None:
        self._by_id: dict[str, Record] = {}
        self._by_external: dict[str, Record] = {}

    def all(self) -> list[Record]:
        """Return every record, oldest first."""
        return list(self._by_id.values())

    def find(self, name: str, precedence: str = "id") -> Record | None:
        """Return the record that *name*, either id, stands for."""
        both = (self._by_id.get(name), self._by_external.get(name))
        first, second = both if precedence == "id" else both[::-1]
        return first or second

    def by_external(self, external_id: str) -> Record | None:
        """Return the record with exactly this external id."""
        return self._by_external.get(external_id)

    def add(self, external_id: str, name: str, now: int) -> Record:
        """Add an empty record; *now* in milliseconds."""
        record = Record(str(uuid.uuid4()), external_id, name, now, now)
        self._by_id[record.id] = self._by_external[external_id] = record
        return record

    def remove(self, record: Record) -> None:
        """Forget a record; a new one with its external id starts from scratch."""
        del self._by_id[record.id]
        del self._by_external[record.external_id]


class Workspace:
    """All that one simulated workspace holds."""

    def __init__(self) -> None:
        self.accounts = Records()
        self.organizations = Records()

    def create(self, body: Mapping[str, Any], switches: Switches, now: int) -> Record:
        """Create an account of a checked *body*; a second one is as *switches* say."""
        found = self.accounts.by_external(body["externalId"])
        if found is not None and switches.duplicate_create in _DUPLICATES:
            raise RefusalError(*_DUPLICATES[switches.duplicate_create])
        self._organization(body)
        record = found or self.accounts.add(body["externalId"], body["name"], now)
        return self.update(record, body, switches, now)

    def update(
        self, record: Record, body: Mapping[str, Any], switches: Switches, now: int
    ) -> Record:
        """Merge a checked *body* into an account; null removes a trait."""
        if "organizationId" in body:
            record.organization = self._organization(body)
        if "accountOwnerId" in body:
            record.owner = None
        record.name = body.get("name", record.name)
        for name, value in body.get("traits", {}).items():
            if value is None and switches.null_trait == "drop":
                record.traits.pop(name, None)
            else:
                record.traits[name] = value
        revenue = record.traits.get(switches.revenue_trait)
        record.last_revenue = record.last_revenue if revenue is None else revenue
        record.updated = max(now, record.updated)
        return record

    def _organization(self, body: Mapping[str, Any]) -> str | None:
        wanted = body.get("organizationId")
        if wanted is None:
            return None
        found = self.organizations.find(wanted)
        if found is None:
            raise RefusalError(400, "Organization not found.")
        return found.id


def shown_organization(record: Record, workspace: Workspace) -> dict[str, Any]:
    """Return an organization, as far as accounts need one."""
    # A Record has no clock: an organization's own object is shaped like an account's.
    shown = shown_account(record, Switches(background_touch="off"), record.updated)
    del shown["accountOwnerId"], shown["organizationId"]
    members = (a for a in workspace.accounts.all() if a.organization == record.id)
    return {**shown, "organizationOwnerId": None, "accountsCount": len(list(members))}


def page(
    records: list[Record], query: Mapping[str, str], switches: Switches, now: int
) -> tuple[list[Record], str | None]:
    """Return one page, newest first, and the cursor of the next.

    The cursor is the last row's place in the order, so that a row that moves while
    somebody pages by `updatedAt` is missed, as with the real one.
    """

    def place(record: Record) -> tuple[int, str]:
        by_creation = query.get("sortBy") == "createdAt"
        at = record.created if by_creation else updated(record, switches, now)
        return at, record.id

    limit, cursor = _limit(query, switches), query.get("from")
    if switches.empty_pages == "on" and cursor is None and records:
        return [], _cursor((2**53, ""))
    below = _place(cursor) if cursor is not None else None
    rows = sorted(records, key=place, reverse=True)
    rows = [row for row in rows if below is None or place(row) < below]
    shown = rows[:limit]
    return shown, _cursor(place(shown[-1])) if len(rows) > limit else None


def _limit(query: Mapping[str, str], switches: Switches) -> int:
    said = query.get("limit", str(PAGE_CAP))
    limit = int(said) if said.isascii() and said.isdigit() else 0
    if limit < 1 or (limit > PAGE_CAP and switches.over_limit_page == "400"):
        raise RefusalError(400, f"limit must be from 1 to {PAGE_CAP}")
    return min(limit, PAGE_CAP)


def _cursor(place: tuple[int, str]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(place)).decode()


def _place(cursor: str) -> tuple[int, str]:
    try:
        at, name = orjson.loads(base64.urlsafe_b64decode(cursor))
        return int(at), str(name)
    except (binascii.Error, ValueError, TypeError):
        raise RefusalError(400, "from is no cursor") from None
