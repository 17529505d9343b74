"""A small honest HubSpot over real HTTP: what the bridge reads of its API, and faults.

Beside it HubSpot's webhooks: makers of events, and a sender that signs them.
"""

from __future__ import annotations

import base64
import copy
import itertools
import operator
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
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
"""Records that a batch or a page may ask for."""

SEARCHES = 5
"""Searches in a second."""

TYPES = {"deals": (341, 5), "companies": (342, 6)}
"""Association types from a deal to a company and back: any, and the primary one."""

SIGNS: Mapping[str, Callable[[int, int], bool]] = {
    "GT": operator.gt,
    "GTE": operator.ge,
    "LT": operator.lt,
    "LTE": operator.le,
}

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
        self.listed = 500
        """Associations of one record that a reply lists."""
        self.found = 10_000
        """Records that one search lists in all its pages."""
        self._records: dict[str, dict[str, Json]] = {
            "companies": {},
            "deals": {},
            "owners": {},
        }
        self._merged: dict[str, str] = {}
        self._archived: dict[tuple[str, str], str] = {}
        self._bound: dict[tuple[str, str], bool] = {}
        self._index: dict[str, dict[str, Json]] | None = None
        self._searches: list[float] = []

    def company(self, id_: int, **properties: str | None) -> None:
        """Keep a company, or change some of its properties."""
        self._change("companies", id_, properties)

    def _change(self, kind: str, id_: int, properties: Mapping[str, Any]) -> None:
        record = self._records[kind].setdefault(str(id_), {"createdate": self._now()})
        record.update(hs_lastmodifieddate=self._now(), **properties)

    def _now(self) -> str:
        return iso(self.clock())

    def hold_index(self) -> None:
        """From now on the search does not learn of changes."""
        self._index = copy.deepcopy(self._records)

    def deal(
        self, id_: int, *companies: int, primary: bool = True, **properties: Any
    ) -> None:
        """Keep a deal of *companies*; the first is the *primary* one."""
        self._change("deals", id_, properties)
        self._bound = {k: v for k, v in self._bound.items() if k[0] != str(id_)}
        for n, of in enumerate(companies):
            self._bound[str(id_), str(of)] = primary and n == 0

    def user(self, id_: int, **properties: str) -> None:
        """Keep one of HubSpot's users."""
        self._records["owners"][str(id_)] = {"id": str(id_), **properties}

    def delete(self, kind: str, id_: int, *, forget: bool = False) -> None:
        """Archive a record; with *forget* nothing of what it was bound to is kept."""
        self._archived[kind, str(id_)] = self._now()
        if forget:
            self._bound = {k: v for k, v in self._bound.items() if str(id_) not in k}

    def restore(self, kind: str, id_: int) -> None:
        """Take a record out of the archive."""
        del self._archived[kind, str(id_)]

    def merge(self, old: int, new: int) -> None:
        """Let the id of one company lead to another's record."""
        self._merged[str(old)] = str(new)
        into = [id_ for id_, left in self._merged.items() if left == str(new)]
        self._change("companies", new, {"hs_merged_object_ids": ";".join(into)})

    def answer(self, asked: Asked) -> Reply:
        """Return the reply to a request; raises RefusedError."""
        if asked.headers.get("Authorization") != f"Bearer {self.token}":
            raise RefusedError(refused(401, f"{SECRET_PART} is not valid"))
        query = dict(asked.query)
        match asked.path.split("/")[2:]:
            case ["v3", "objects", kind, "batch", "read"]:
                return self._batch(kind, asked.body)
            case ["v3", "objects", kind, "search"]:
                return self._search(kind, asked.body)
            case ["v3", "objects", kind]:
                return self._list(kind, query)
            case ["v3", "objects", kind, id_]:
                return self._one(kind, self._merged.get(id_, id_), query)
            case ["v3", "owners", id_]:
                return Reply(self._found("owners", id_, query))
            case ["v4", "associations", kind, _, "batch", "read"]:
                return self._ends(kind, asked.body)
        raise RefusedError(refused(404, "no such resource"))

    def _found(self, kind: str, id_: str, query: Json) -> Json:
        """A record, where it is archived or not as is asked."""
        is_gone = (kind, id_) in self._archived
        found = self._records[kind].get(id_)
        if found is None or is_gone != (query.get("archived") == "true"):
            raise RefusedError(refused(404, "resource not found"))
        return found

    def _one(self, kind: str, id_: str, query: Json) -> Reply:
        self._found(kind, id_, query)
        shown = self._shown(kind, id_, query.get("properties", "").split(","))
        linked, rows = query.get("associations"), self._links(kind, id_)
        if linked and rows:
            is_all = len(rows) <= self.listed
            paging = {} if is_all else {"paging": {"next": {"after": "9"}}}
            shown["associations"] = {linked: {"results": rows[: self.listed], **paging}}
        return Reply(shown)

    def _alive(self, kind: str) -> dict[str, Json]:
        """The records that are neither deleted nor merged into others."""
        gone = {id_ for other, id_ in self._archived if other == kind}
        gone |= self._merged.keys() if kind == "companies" else set()
        return {id_: one for id_, one in self._records[kind].items() if id_ not in gone}

    def _list(self, kind: str, query: Json) -> Reply:
        """A page of the live or of the deleted records, with a cursor that says nothing."""
        limit, after = int(query.get("limit", 10)), query.get("after", "")
        ids = sorted(self._alive(kind), key=int)
        if query.get("archived") == "true":
            ids = sorted(
                (id_ for other, id_ in self._archived if other == kind), key=int
            )
        first = ids.index(base64.b64decode(after).decode()) + 1 if after else 0
        rows = [self._shown(kind, id_) for id_ in ids[first : first + limit]]
        is_last = first + limit >= len(ids)
        return _page(rows, "" if is_last else base64.b64encode(rows[-1]["id"].encode()))

    def _search(self, kind: str, body: Json) -> Reply:
        """A page of the records that pass all filters, as the index has them."""
        self._searches = [*self._searches[-SEARCHES:], time.monotonic()]
        if (
            len(self._searches) > SEARCHES
            and self._searches[-1] < self._searches[0] + 1
        ):
            raise RefusedError(refused(429, "secondly limit", policyName="SECONDLY"))
        (group,), (order,) = body["filterGroups"], body["sorts"]
        limit, first = body["limit"], int(body.get("after", 0))
        if len(group["filters"]) > 3 or limit > MOST or first + limit > self.found:
            raise RefusedError(refused(400, "too many filters, or too far"))
        index = self._alive(kind) if self._index is None else self._index[kind]
        rows = {id_: {"hs_object_id": id_, **one} for id_, one in index.items()}
        for one in group["filters"]:
            name, sign, bound = (
                one["propertyName"],
                SIGNS[one["operator"]],
                one["value"],
            )
            rows = {i: r for i, r in rows.items() if sign(_ms(r[name]), int(bound))}
        down, by = order["direction"] == "DESCENDING", order["propertyName"]
        ids = sorted(rows, key=lambda id_: _ms(rows[id_][by]), reverse=down)
        shown = [self._shown(kind, id_, (), rows) for id_ in ids[first : first + limit]]
        return _page(
            shown, str(first + limit) if first + limit < len(ids) else "", len(ids)
        )

    def _shown(
        self, kind: str, id_: str, names: Iterable[str] = (), among: Any = None
    ) -> Json:
        """A record with the properties that were asked for, and those that always come."""
        record = (among or self._records[kind])[id_]
        own = {name: record[name] for name in ("createdate", "hs_lastmodifieddate")}
        asked = {name: record.get(name) for name in names if name}
        deleted = self._archived.get((kind, id_))
        return {
            "id": id_,
            "properties": {"hs_object_id": id_, **own, **asked},
            "createdAt": own["createdate"],
            "updatedAt": own["hs_lastmodifieddate"],
            "archived": deleted is not None,
            **({"archivedAt": deleted} if deleted else {}),
        }

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

    def _batch(self, kind: str, body: Json) -> Reply:
        ids = [row["id"] for row in body["inputs"]]
        if len(ids) > MOST:
            raise RefusedError(refused(400, "the maximum batch size is 100"))
        there = self._alive(kind)
        rows = [self._shown(kind, i, body["properties"]) for i in ids if i in there]
        return Reply({"status": "COMPLETE", "results": rows})

    def _ends(self, kind: str, body: Json) -> Reply:
        """What each record is associated with, page by page, and by which types."""
        side, rows = 0 if kind == "deals" else 1, []
        for row in body["inputs"]:
            bound = [pair for pair in self._bound.items() if pair[0][side] == row["id"]]
            first = int(row.get("after", 0))
            last = first + self.listed
            to = []
            for pair, primary in bound[first:last]:
                label = {"category": "HUBSPOT_DEFINED", "label": None}
                numbers = TYPES[kind][: 1 + primary]
                types = [{**label, "typeId": number} for number in numbers]
                to.append(
                    {"toObjectId": int(pair[1 - side]), "associationTypes": types}
                )
            more = {"next": {"after": str(last), "link": "?"}}
            paging = {"paging": more} if last < len(bound) else {}
            rows += [{"from": {"id": row["id"]}, "to": to, **paging}] if to else []
        return Reply({"results": rows, "status": "COMPLETE"})


def iso(seconds: float) -> str:
    """An instant as HubSpot's replies have it."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def _ms(value: str) -> int:
    """A number, or an instant in milliseconds."""
    if value.isdigit():
        return int(value)
    return round(datetime.fromisoformat(value).timestamp() * 1000)


def _page(rows: list[Json], after: str | bytes, total: int | None = None) -> Reply:
    told = after.decode() if isinstance(after, bytes) else after
    paging = {"paging": {"next": {"after": told, "link": "?"}}} if told else {}
    count = {} if total is None else {"total": total}
    return Reply({"results": rows, **count, **paging})
