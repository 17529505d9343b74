"""A small honest Stripe over real HTTP: what the bridge reads of its API, and faults.

Objects are kept whole, in the rendering of 2025-08-27.basil; a reply leaves out what
is not expanded, as Stripe's does. Lists are newest first and paged by a cursor.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, unquote, urlsplit

Json = dict[str, Any]

KEY = "rk_test_example"
SECRET_PART = "exampleXYZ"
"""What Stripe's own error texts show of a key; no message of ours may."""

LISTED = ("customers", "subscriptions", "subscription_items", "events")
KINDS = (*LISTED, "prices", "products", "coupons")

REFERENCES = {("subscription", "discounts"), ("subscription_item", "discounts")}
REFERENCES |= {("price", "product"), ("discount", "promotion_code")}
"""Shown as ids unless they are expanded: (object, field)."""

INCLUDED = {("price", "tiers"), ("coupon", "applies_to")}
"""Left out unless they are expanded."""

EXPANDABLE = {name for _, name in REFERENCES | INCLUDED}
DEEPEST = 4
FIRST_ITEMS = 10
"""Items of a subscription that are shown with it."""

PERMISSIONS = {
    "customers": "rak_customer_read",
    "subscriptions": "rak_subscription_read",
    "events": "rak_event_read",
}


class Asked(NamedTuple):
    """One request as it came: path, query in order, and headers."""

    path: str
    query: list[tuple[str, str]]
    headers: Mapping[str, str]


class RefusedError(Exception):
    """A reply that is an error of Stripe's."""

    def __init__(self, status: int, message: str, **more: str) -> None:
        super().__init__(message)
        self.status = status
        kind = "invalid_request_error"
        self.body = {"error": {"type": kind, "message": message, **more}}


class LocalStripe:
    """Runs inside `with`, on a free port; *clock* gives its `Date` (seconds)."""

    def __init__(self, key: str = KEY) -> None:
        self.key = key
        self.clock: Callable[[], float] = time.time
        self.delay = 0.0
        self.log: list[Asked] = []
        self.forbidden: set[str] = set()
        self.released = threading.Event()
        self._objects: dict[str, dict[str, Json]] = {kind: {} for kind in KINDS}
        self._faults: list[tuple[str, str]] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self._server.stripe = self  # type: ignore[attr-defined]
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def put(self, *objects: Json) -> None:
        """Keep objects (or newer ones of the same id) by their `object`."""
        for one in objects:
            self._objects[f"{one['object']}s"][one["id"]] = one

    def forget(self, kind: str, id_: str) -> None:
        """Let an object be gone: 404."""
        del self._objects[kind][id_]

    def fail(self, fault: str, times: int = 1, where: str = "") -> None:
        """Answer the next requests with a *fault*, those that *where* is in alone.

        `429`, `500`, `html` (a proxy's page), `garbage` (200), `hang`, `reset`.
        """
        self._faults += [(fault, where)] * times

    def paths(self) -> list[str]:
        """The paths of all requests in order."""
        return [asked.path for asked in self.log]

    def next_fault(self, path: str) -> str | None:
        """Take the fault that this request meets."""
        with self._lock:
            for n, (fault, where) in enumerate(self._faults):
                if where in path:
                    del self._faults[n]
                    return fault
        return None

    def answer(self, asked: Asked) -> Json:
        """Return the body of a reply; raises RefusedError."""
        if asked.headers.get("Authorization") != f"Bearer {self.key}":
            shown = f"Invalid API Key provided: sk_test_*****{SECRET_PART}"
            raise RefusedError(401, shown)
        _, _, kind, *rest = unquote(asked.path).split("/")
        if kind not in KINDS or len(rest) > 1:
            raise RefusedError(404, f"Unrecognized request URL ({asked.path})")
        if kind in self.forbidden:
            lacks = PERMISSIONS[kind]
            raise RefusedError(
                403,
                f"The provided key 'rk_test_****{SECRET_PART}' does not have the "
                f"required permissions for this endpoint. Having the '{lacks}' "
                "permission would allow this request to continue.",
            )
        expand = [v for k, v in asked.query if re.fullmatch(r"expand\[\d*\]", k)]
        for path in expand:
            _check_expansion(path)
        if rest:
            return _rendered(self._one(kind, rest[0]), _paths(expand))
        return self._page(kind, asked, expand)

    def _one(self, kind: str, id_: str) -> Json:
        found = self._objects[kind].get(id_)
        if found is None:
            text = f"No such {kind[:-1]}: '{id_}'"
            raise RefusedError(404, text, code="resource_missing")
        if found.get("deleted"):
            return {"id": id_, "object": kind[:-1], "deleted": True}
        return found

    def _page(self, kind: str, asked: Asked, expand: list[str]) -> Json:
        said = dict(asked.query)
        limit, after = int(said.get("limit", 10)), said.get("starting_after")
        if not 1 <= limit <= 100:
            raise RefusedError(400, "This value must be between 1 and 100")
        rows = [row for row in self._rows(kind, said, asked) if not row.get("deleted")]
        if after is not None:
            rows = _following(rows, after)
        told = {
            "object": "list",
            "url": asked.path,
            "has_more": len(rows) > limit,
            "data": rows[:limit],
        }
        return _rendered(told, _paths(expand))

    def _rows(self, kind: str, said: Mapping[str, str], asked: Asked) -> list[Json]:
        if kind not in LISTED:
            raise RefusedError(404, f"{kind} are not listed here")
        if kind == "subscription_items":
            found = self._one("subscriptions", said.get("subscription", ""))
            return list(found["items"]["data"])
        oldest = sorted(self._objects[kind].values(), key=lambda row: row["created"])
        newest = oldest[::-1]
        wanted = [row for row in newest if row["created"] >= _since(said)]
        if kind == "subscriptions":
            return _subscriptions(wanted, said)
        types = {v for k, v in asked.query if re.fullmatch(r"types\[\d*\]", k)}
        if len(types) > 20:
            raise RefusedError(400, "You may pass up to 20 event types")
        return [row for row in wanted if not types or row["type"] in types]

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _following(rows: list[Json], after: str) -> list[Json]:
    ids = [row["id"] for row in rows]
    if after not in ids:
        more = {"code": "resource_missing", "param": "starting_after"}
        raise RefusedError(400, f"No such object: '{after}'", **more)
    return rows[ids.index(after) + 1 :]


def _since(said: Mapping[str, str]) -> int:
    return int(said.get("created[gte]", 0))


def _subscriptions(rows: Iterable[Json], said: Mapping[str, str]) -> list[Json]:
    """Without a status the ended are not shown."""
    status, customer = said.get("status"), said.get("customer")
    found = [row for row in rows if customer in {None, row["customer"]}]
    if status is None:
        return [row for row in found if row["status"] != "canceled"]
    return [row for row in found if status in ("all", row["status"])]


def _check_expansion(path: str) -> None:
    names = path.split(".")
    if len(names) > DEEPEST:
        raise RefusedError(
            400,
            f"You cannot expand more than {DEEPEST} levels of a property. "
            f"Property: {path}",
        )
    if names[-1] not in EXPANDABLE:
        raise RefusedError(400, f"This property cannot be expanded ({names[-1]}).")


def _paths(expand: Iterable[str]) -> list[list[str]]:
    return [path.split(".") for path in expand]


def _rendered(value: Any, expand: list[list[str]]) -> Any:
    """*value* as it is shown with those paths expanded."""
    if isinstance(value, list):
        return [_rendered(one, expand) for one in value]
    if not isinstance(value, dict) or value.get("object") == "event":
        return value  # an event shows its object as it was
    shown: Json = {}
    for name, inner in value.items():
        below = [path[1:] for path in expand if path[0] == name]
        deeper = [path for path in below if path]
        place = (value.get("object"), name)
        if place in INCLUDED and not below:
            continue
        if place in REFERENCES and not below:
            shown[name] = _ids(inner)
        elif place == ("subscription", "items"):
            shown[name] = _rendered(_first_items(inner), deeper)
        else:
            shown[name] = _rendered(inner, deeper)
    return shown


def _first_items(items: Json) -> Json:
    rows = items["data"]
    more = len(rows) > FIRST_ITEMS
    return {**items, "data": rows[:FIRST_ITEMS], "has_more": more}


def _ids(value: Any) -> Any:
    if isinstance(value, list):
        return [_ids(one) for one in value]
    return value["id"] if isinstance(value, dict) else value


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # a reply is one packet: two would wait for one another

    def do_GET(self) -> None:
        stripe: LocalStripe = self.server.stripe  # type: ignore[attr-defined]
        url = urlsplit(self.path)
        asked = Asked(url.path, parse_qsl(url.query), dict(self.headers))
        stripe.log.append(asked)
        fault = stripe.next_fault(self.path)
        if fault is not None:
            self._fail(stripe, fault)
            return
        stripe.released.wait(stripe.delay)
        try:
            self._send(200, json.dumps(stripe.answer(asked)))
        except RefusedError as error:
            self._send(error.status, json.dumps(error.body))

    def _fail(self, stripe: LocalStripe, fault: str) -> None:
        said = {"error": {"type": "api_error", "message": f"sorry, {SECRET_PART}"}}
        match fault:
            case "429":
                self._send(429, json.dumps(said), **{"Retry-After": "1"})
            case "500":
                self._send(500, json.dumps(said))
            case "html":
                self._send(502, f"<html>{SECRET_PART}</html>")
            case "garbage":
                self._send(200, f'{{"id": "{SECRET_PART}')
            case "hang":
                stripe.released.wait(60)
                self.close_connection = True
            case "reset":
                now = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, now)
                self.close_connection = True

    def _send(self, status: int, text: str, **headers: str) -> None:
        body = text.encode()
        stripe: LocalStripe = self.server.stripe  # type: ignore[attr-defined]
        self.send_response_only(status)
        self.send_header("Date", formatdate(stripe.clock(), usegmt=True))
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Request-Id", "req_example")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: the log is `LocalStripe.log`."""


def customer(id_: str, *, created: int = 1_767_000_000, **more: Any) -> Json:
    """A customer of Stripe."""
    return {
        "id": id_,
        "object": "customer",
        "created": created,
        "name": f"The {id_}",
        "email": f"{id_}@shop.example",
        "metadata": {},
        "discount": None,
        "livemode": False,
        **more,
    }


def price(id_: str = "price_1", unit: int | None = 4900, **more: Any) -> Json:
    """A monthly price; without a *unit* it is tiered."""
    return {
        "id": id_,
        "object": "price",
        "created": 1_760_000_000,
        "billing_scheme": "per_unit" if unit is not None else "tiered",
        "currency": "usd",
        "nickname": "Pro",
        "lookup_key": None,
        "product": {"id": "prod_1", "object": "product", "name": "Everything"},
        "recurring": {
            "interval": "month",
            "interval_count": 1,
            "usage_type": "licensed",
        },
        "tax_behavior": "exclusive",
        "tiers_mode": None,
        "type": "recurring",
        "unit_amount": unit,
        "unit_amount_decimal": None if unit is None else str(unit),
        **more,
    }


def item(of: Json | None = None, *, id_: str = "si_1", **more: Any) -> Json:
    """One line of a subscription."""
    return {
        "id": id_,
        "object": "subscription_item",
        "created": 1_767_000_000,
        "current_period_end": 1_800_000_000,
        "discounts": [],
        "price": of or price(),
        "quantity": 1,
        "tax_rates": [],
        **more,
    }


def subscription(
    id_: str, of: str, *items: Json, created: int = 1_767_000_000, **more: Any
) -> Json:
    """A subscription of customer *of*; active, of one item, unless *more* says else."""
    return {
        "id": id_,
        "object": "subscription",
        "automatic_tax": {"enabled": False},
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "created": created,
        "currency": "usd",
        "customer": of,
        "default_tax_rates": [],
        "discounts": [],
        "ended_at": None,
        "items": {"object": "list", "data": list(items) or [item()]},
        "livemode": False,
        "metadata": {},
        "pause_collection": None,
        "status": "active",
        "trial_end": None,
        **more,
    }


def coupon(id_: str = "HALF", *, percent: float = 50.0, **more: Any) -> Json:
    """A coupon that lasts for ever, for all products."""
    return {
        "id": id_,
        "object": "coupon",
        "created": 1_760_000_000,
        "amount_off": None,
        "applies_to": None,
        "currency": None,
        "duration": "forever",
        "percent_off": percent,
        **more,
    }


def discount(of: Json, *, id_: str = "di_1", **more: Any) -> Json:
    """A coupon at work."""
    return {
        "id": id_,
        "object": "discount",
        "coupon": of,
        "customer": "cus_1",
        "end": None,
        "start": 1_767_000_000,
        "subscription": None,
        **more,
    }
