"""A small honest HubSpot over real HTTP: what the bridge reads of its API, and faults.

Beside it HubSpot's webhooks: makers of events, and a sender that signs them.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping
from typing import Any

import orjson
from urllib3 import PoolManager, Timeout

from bridge.webhook.auth import HUBSPOT, sign
from tests.support.local_api import Asked, Json, LocalApi, RefusedError, Reply

TOKEN = "pat-na1-example"
SECRET = "example-client-secret"
PUBLIC = "https://bridge.example.com"
"""What HubSpot calls; a proxy hands it on."""

SECRET_PART = "exampleXYZ"
"""In HubSpot's error texts; no message of ours may show it."""

BORN = 1_793_520_000_000
"""When the first event of a test occurs (ms)."""

MOST = 100
"""Records that a batch may ask for."""

_numbers = itertools.count(1)


# --- webhooks -----------------------------------------------------------------------


def event(kind: str, *, at: int = 0, **more: Any) -> Json:
    """One element of a delivery, *at* milliseconds after BORN."""
    number = next(_numbers)
    return {
        "eventId": 310_000_000 + number,
        "subscriptionId": 2_400_000 + number,
        "portalId": 10_020_030,
        "appId": 4_005_006,
        "occurredAt": BORN + at,
        "subscriptionType": kind,
        "attemptNumber": 0,
        "changeSource": "CRM_UI",
        "sourceId": "userId:50060070",
        **more,
    }


def company(what: str, id_: int, *, at: int = 0) -> Json:
    """`company.creation`, `company.deletion` or `company.restore`."""
    return event(f"company.{what}", at=at, objectId=id_)


def changed(
    id_: int, name: str, value: str | None, kind: str = "company", *, at: int = 0
) -> Json:
    """A property of a company or deal got another value."""
    told = {"propertyName": name, "propertyValue": value}
    return event(f"{kind}.propertyChange", at=at, objectId=id_, **told)


def merge(primary: int, *merged: int, new: int | None = None, at: int = 0) -> Json:
    """Companies became one."""
    told = {"primaryObjectId": primary, "mergedObjectIds": list(merged)}
    told |= {"newObjectId": new} if new else {}
    return event("company.merge", at=at, numberOfPropertiesMoved=3, **told)


def association(
    kind: str,
    first: int,
    second: int,
    other: str = "",
    *,
    removed: bool = False,
    at: int = 0,
) -> Json:
    """A record of *kind* was bound to one of the *other* kind, or is not any more."""
    other = other or {"deal": "COMPANY", "company": "DEAL"}[kind]
    return event(
        f"{kind}.associationChange",
        at=at,
        fromObjectId=first,
        toObjectId=second,
        associationType=f"{kind.upper()}_TO_{other}",
        associationRemoved=removed,
        isPrimaryAssociation=True,
    )


class Sender:
    """Posts deliveries to a bridge, signed for the address that HubSpot calls."""

    def __init__(self, url: str, secret: str = SECRET) -> None:
        self._url = f"{url}/webhooks/hubspot"
        self._secret = secret
        self._pool = PoolManager(retries=False, timeout=Timeout(10))

    def post(self, *events: Json) -> tuple[int, Json]:
        """Deliver *events* at once; status and what the bridge says."""
        body = orjson.dumps(events)
        called = f"{PUBLIC}/webhooks/hubspot"
        headers = sign(HUBSPOT, self._secret, body, time.time(), url=called)
        reply = self._pool.request("POST", self._url, body=body, headers=headers)
        return reply.status, orjson.loads(reply.data)


# --- the API ------------------------------------------------------------------------


def refused(status: int, message: str, **more: Any) -> Reply:
    """A reply that is an error of HubSpot's."""
    return Reply({"status": "error", "message": message, **more}, status)


SCOPES = {"context": {"requiredGranularScopes": ["crm.objects.owners.read"]}}


class LocalHubspot(LocalApi):
    """Runs inside `with`, on a free port; *clock* gives its `Date` (seconds)."""

    faults: Mapping[str, Reply] = {
        **{str(n): refused(n, f"sorry, {SECRET_PART}") for n in (401, 429, 500)},
        "403": refused(403, f"sorry, {SECRET_PART}", errors=[SCOPES]),
        "garbage": Reply(f'{{"id": "{SECRET_PART}'.encode()),
        "odd": Reply({"id": 7, "is": SECRET_PART}),
    }

    def __init__(self, token: str = TOKEN) -> None:
        super().__init__()
        self.token = token
        self.more = False
        self._records: dict[str, dict[str, Json]] = {
            "companies": {},
            "deals": {},
            "owners": {},
        }
        self._merged: dict[str, str] = {}
        self._archived: set[tuple[str, str]] = set()
        self._bound: dict[tuple[str, str], bool] = {}

    def company(self, id_: int, **properties: str | None) -> None:
        """Keep a company, or change some of its properties."""
        self._records["companies"].setdefault(str(id_), {}).update(properties)

    def deal(
        self, id_: int, *companies: int, primary: bool = True, **properties: Any
    ) -> None:
        """Keep a deal of *companies*; the first is the *primary* one."""
        self._records["deals"].setdefault(str(id_), {}).update(properties)
        self._bound = {k: v for k, v in self._bound.items() if k[0] != str(id_)}
        for n, of in enumerate(companies):
            self._bound[str(id_), str(of)] = primary and n == 0

    def user(self, id_: int, **properties: str) -> None:
        """Keep one of HubSpot's users."""
        self._records["owners"][str(id_)] = {"id": str(id_), **properties}

    def delete(self, kind: str, id_: int, *, forget: bool = False) -> None:
        """Archive a record; with *forget* nothing of what it was bound to is kept."""
        self._archived.add((kind, str(id_)))
        if forget:
            self._bound = {k: v for k, v in self._bound.items() if str(id_) not in k}

    def restore(self, kind: str, id_: int) -> None:
        """Take a record out of the archive."""
        self._archived.discard((kind, str(id_)))

    def merge(self, old: int, new: int) -> None:
        """Let the id of one company lead to another's record."""
        self._merged[str(old)] = str(new)

    def answer(self, asked: Asked) -> Reply:
        """Return the reply to a request; raises RefusedError."""
        if asked.headers.get("Authorization") != f"Bearer {self.token}":
            raise RefusedError(refused(401, f"{SECRET_PART} is not valid"))
        query = dict(asked.query)
        match asked.path.split("/")[2:]:
            case ["v3", "objects", "deals", "batch", "read"]:
                return self._deals(asked.body)
            case ["v3", "objects", kind, id_]:
                return self._one(kind, self._merged.get(id_, id_), query)
            case ["v3", "owners", id_]:
                return Reply(self._found("owners", id_, query))
            case ["v4", "associations", "deals", "companies", "batch", "read"]:
                return self._companies(asked.body)
        raise RefusedError(refused(404, "no such resource"))

    def _found(self, kind: str, id_: str, query: Json) -> Json:
        """A record, where it is archived or not as is asked."""
        is_gone = (kind, id_) in self._archived
        found = self._records[kind].get(id_)
        if found is None or is_gone != (query.get("archived") == "true"):
            raise RefusedError(refused(404, "resource not found"))
        return found

    def _one(self, kind: str, id_: str, query: Json) -> Reply:
        properties = self._found(kind, id_, query)
        shown = _shown(id_, properties, query.get("properties", "").split(","))
        if (kind, id_) in self._archived:
            shown |= {"archived": True, "archivedAt": "2026-10-01T08:00:00.000Z"}
        linked, rows = query.get("associations"), self._links(kind, id_)
        if linked and rows:
            paging = {"paging": {"next": {"after": "9"}}} if self.more else {}
            shown["associations"] = {linked: {"results": rows, **paging}}
        return Reply(shown)

    def _links(self, kind: str, id_: str) -> list[Json]:
        """Each association is there without a label, and the primary one with it too."""
        side = 0 if kind == "deals" else 1
        what = ("deal_to_company", "company_to_deal")[side]
        rows: list[Json] = []
        for pair, primary in self._bound.items():
            if pair[side] == id_:
                other = pair[1 - side]
                rows += [{"id": other, "type": what}] if primary else []
                rows.append({"id": other, "type": f"{what}_unlabeled"})
        return rows

    def _deals(self, body: Json) -> Reply:
        ids = [row["id"] for row in body["inputs"]]
        if len(ids) > MOST:
            raise RefusedError(refused(400, "the maximum batch size is 100"))
        found = self._records["deals"]
        there = [i for i in ids if i in found and ("deals", i) not in self._archived]
        rows = [_shown(id_, found[id_], body["properties"]) for id_ in there]
        return Reply({"status": "COMPLETE", "results": rows})

    def _companies(self, body: Json) -> Reply:
        label = {"category": "HUBSPOT_DEFINED", "typeId": 341, "label": None}
        rows = []
        for row in body["inputs"]:
            ends = [int(of) for deal, of in self._bound if deal == row["id"]]
            to = [{"toObjectId": of, "associationTypes": [label]} for of in ends]
            rows += [{"from": {"id": row["id"]}, "to": to}] if to else []
        return Reply({"results": rows, "status": "COMPLETE"})


def _shown(id_: str, properties: Json, names: list[str]) -> Json:
    """A record with the properties that were asked for, and those that always come."""
    own = {"hs_object_id": id_, "createdate": "2026-01-01T08:00:00.000Z"}
    asked = {name: properties.get(name) for name in names if name}
    return {"id": id_, "properties": {**own, **asked}, "archived": False}
