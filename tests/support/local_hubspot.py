"""A small honest HubSpot over real HTTP: what the bridge reads of its API, and faults.

Beside it HubSpot's webhooks: makers of events, and a sender that signs them.
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable, Mapping
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qs, urlsplit

import orjson
from urllib3 import PoolManager, Timeout

from bridge.webhook.auth import HUBSPOT, sign

Json = dict[str, Any]

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


class Asked(NamedTuple):
    """One request as it came."""

    method: str
    path: str
    query: Mapping[str, str]
    body: Any
    headers: Mapping[str, str]


class RefusedError(Exception):
    """A reply that is an error of HubSpot's."""

    def __init__(self, status: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"status": "error", "message": message, **more}


class LocalHubspot:
    """Runs inside `with`, on a free port; *clock* gives its `Date` (seconds)."""

    def __init__(self, token: str = TOKEN) -> None:
        self.token = token
        self.clock: Callable[[], float] = time.time
        self.delay = 0.0
        self.log: list[Asked] = []
        self.more = False
        self._records: dict[str, dict[str, Json]] = {"companies": {}, "deals": {}}
        self._users: dict[str, Json] = {}
        self._merged: dict[str, str] = {}
        self._archived: set[tuple[str, str]] = set()
        self._bound: dict[tuple[str, str], bool] = {}
        self._faults: list[tuple[int | str, str]] = []
        self._released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._server.hubspot = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

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

    def user(self, id_: int, *, archived: bool = False, **told: str) -> None:
        """Keep one of HubSpot's users."""
        self._users[str(id_)] = {"id": str(id_), **told}
        if archived:
            self._archived.add(("owners", str(id_)))

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

    def fail(self, fault: int | str, where: str = "") -> None:
        """Answer the next request that *where* is in with a status, or `garbage`."""
        self._faults.append((fault, where))

    def paths(self) -> list[str]:
        """The paths of all requests in order."""
        return [asked.path for asked in self.log]

    def next_fault(self, path: str) -> int | str | None:
        """Take the fault that this request meets."""
        for n, (fault, where) in enumerate(self._faults):
            if where in path:
                del self._faults[n]
                return fault
        return None

    def hang(self) -> None:
        """Wait until the end."""
        self._released.wait(60)

    def answer(self, asked: Asked) -> Json:
        """Return the body of a reply; raises RefusedError."""
        if asked.headers.get("Authorization") != f"Bearer {self.token}":
            raise RefusedError(401, f"{SECRET_PART} is not valid")
        match asked.path.split("/")[2:]:
            case ["v3", "objects", kind, "batch", "read"]:
                return self._batch(kind, asked)
            case ["v3", "objects", kind, id_]:
                return self._one(kind, self._merged.get(id_, id_), asked)
            case ["v3", "owners", id_]:
                return self._user(id_, asked)
            case ["v4", "associations", "deals", "companies", "batch", "read"]:
                return {"results": self._companies(asked), "status": "COMPLETE"}
        raise RefusedError(404, "no such resource")

    def _one(self, kind: str, id_: str, asked: Asked) -> Json:
        gone = (kind, id_) in self._archived
        wants_gone = asked.query.get("archived") == "true"
        found = self._records[kind].get(id_)
        if found is None or gone != wants_gone:
            raise RefusedError(404, "resource not found")
        names = asked.query.get("properties", "").split(",")
        linked = asked.query.get("associations")
        rows = self._links(kind, id_)
        paging = {"paging": {"next": {"after": "9"}}} if self.more else {}
        bound = {linked: {"results": rows, **paging}} if linked and rows else None
        return _shown(id_, found, names, gone) | (
            {"associations": bound} if bound else {}
        )

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

    def _batch(self, kind: str, asked: Asked) -> Json:
        ids = [row["id"] for row in asked.body["inputs"]]
        if len(ids) > MOST:
            raise RefusedError(400, "the maximum batch size is 100")
        found = self._records[kind]
        there = [i for i in ids if i in found and (kind, i) not in self._archived]
        names = asked.body["properties"]
        return {
            "status": "COMPLETE",
            "results": [_shown(id_, found[id_], names, False) for id_ in there],
        }

    def _companies(self, asked: Asked) -> list[Json]:
        rows: list[Json] = []
        for row in asked.body["inputs"]:
            ends = [
                {
                    "toObjectId": int(of),
                    "associationTypes": [
                        {"category": "HUBSPOT_DEFINED", "typeId": 341, "label": None}
                    ],
                }
                for (deal, of) in self._bound
                if deal == row["id"]
            ]
            rows += [{"from": {"id": row["id"]}, "to": ends}] if ends else []
        return rows

    def _user(self, id_: str, asked: Asked) -> Json:
        gone = ("owners", id_) in self._archived
        if id_ not in self._users or gone != (asked.query.get("archived") == "true"):
            raise RefusedError(404, "resource not found")
        return self._users[id_]

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _shown(id_: str, properties: Json, names: list[str], gone: bool) -> Json:
    """A record with the properties that were asked for, and those that always come."""
    own = {"hs_object_id": id_, "createdate": "2026-01-01T08:00:00.000Z"}
    asked = {name: properties.get(name) for name in names if name}
    told = {"id": id_, "properties": {**own, **asked}, "archived": gone}
    return told | ({"archivedAt": "2026-10-01T08:00:00.000Z"} if gone else {})


BROKEN: Mapping[int | str | None, str] = {
    "garbage": f'{{"id": "{SECRET_PART}',
    "odd": f'{{"id": 7, "is": "{SECRET_PART}"}}',
}
"""Bodies of replies that are no records."""


def _fail(fault: int | str | None) -> None:
    """Raise what a fault is answered with; nothing where there is none."""
    if fault == 403:
        context = {"context": {"requiredGranularScopes": ["crm.objects.owners.read"]}}
        raise RefusedError(403, f"sorry, {SECRET_PART}", errors=[context])
    if isinstance(fault, int):
        raise RefusedError(fault, f"sorry, {SECRET_PART}")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer("GET", None)

    def do_POST(self) -> None:
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer("POST", json.loads(raw))

    def _answer(self, method: str, body: Any) -> None:
        hubspot: LocalHubspot = self.server.hubspot  # type: ignore[attr-defined]
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        asked = Asked(method, url.path, query, body, dict(self.headers))
        hubspot.log.append(asked)
        time.sleep(hubspot.delay)
        fault = hubspot.next_fault(self.path)
        if fault == "hang":
            hubspot.hang()
            self.close_connection = True
            return
        if fault in BROKEN:
            self._send(hubspot, 200, BROKEN[fault])
            return
        try:
            _fail(fault)
            self._send(hubspot, 200, json.dumps(hubspot.answer(asked)))
        except RefusedError as error:
            self._send(hubspot, error.status, json.dumps(error.body))

    def _send(self, hubspot: LocalHubspot, status: int, text: str) -> None:
        body = text.encode()
        self.send_response_only(status)
        self.send_header("Date", formatdate(hubspot.clock(), usegmt=True))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == 429:
            self.send_header("Retry-After", "3")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: the log is `LocalHubspot.log`."""
