"""A small honest Stripe over real HTTP: what the bridge reads of its API, and faults.

Objects are kept whole, in the rendering of 2025-08-27.basil; a reply leaves out what
is not expanded, as Stripe's does. Lists are newest first and paged by a cursor.
"""

from __future__ import annotations

import copy
import json
import re
import threading
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_args
from urllib.parse import unquote

from tests.support.local_api import Asked, Json, LocalApi, RefusedError, Reply

KEY = "rk_test_example"
SECRET_PART = "exampleXYZ"
"""What Stripe's own error texts show of a key; no message of ours may."""

LISTED = ("customers", "subscriptions", "subscription_items", "events")
LISTED += ("prices", "products", "coupons", "accounts", "webhook_endpoints", "invoices")
LISTED += ("subscription_schedules", "billing.credit_grants")

MOST_ENDPOINTS = 16
"""https://docs.stripe.com/webhooks#limits"""

REFERENCES = {("subscription", "discounts"), ("subscription_item", "discounts")}
REFERENCES |= {("price", "product"), ("discount", "promotion_code")}
METHODS = ("default_payment_method", "default_source")
REFERENCES |= {(one, name) for name in METHODS for one in ("subscription", "customer")}
REFERENCES |= {(None, METHODS[0])}
REFERENCES |= {(None, "price"), (None, "coupon"), (None, "discount")}  # of a phase
"""Shown as ids unless they are expanded: (object, field)."""

INCLUDED = {("price", "tiers"), ("price", "currency_options")}
INCLUDED |= {("coupon", "applies_to")}
"""Left out unless they are expanded."""

EXPANDABLE = {name for _, name in REFERENCES | INCLUDED}
DEEPEST = 4
FIRST_ITEMS = 10
"""Items of a subscription that are shown with it."""

OBJECTS: Mapping[str, Json] = json.loads(
    Path(__file__).with_name("stripe_objects.json").read_bytes()
)

SORRY = {"error": {"type": "api_error", "message": f"sorry, {SECRET_PART}"}}


def refused(status: int, message: str, **more: str) -> RefusedError:
    """An error as Stripe answers it."""
    error = {"type": "invalid_request_error", "message": message, **more}
    return RefusedError(Reply({"error": error}, status))


class LocalStripe(LocalApi):
    """Stripe as it is with the objects that were `put`."""

    faults: Mapping[str, Reply] = {
        "429": Reply(SORRY, 429, {"Retry-After": "1"}),
        "500": Reply(SORRY, 500),
        "html": Reply(f"<html>{SECRET_PART}</html>".encode(), 502),
        "garbage": Reply(f'{{"id": "{SECRET_PART}'.encode()),
    }

    def __init__(self, key: str = KEY) -> None:
        super().__init__()
        self.key = key
        self.forbidden: set[str] = set()
        self._now = threading.local()
        self.clear()

    def clear(self) -> None:
        """Keep nothing any more."""
        self.left: dict[str, int] = {}
        """Of credit grants of which something was spent, by id."""
        self._kept: dict[str, dict[str, dict[str, Json]]] = {"": _nothing()}

    @property
    def _objects(self) -> dict[str, dict[str, Json]]:
        """What the account has that the present request is about."""
        return self._kept[getattr(self._now, "account", "")]

    def put(self, *objects: Json, account: str = "") -> None:
        """Keep objects (or newer ones of the same id) by their `object`.

        Those of a connected *account* are shown only to a request that names it.
        """
        if account not in self._kept:
            self._kept[account] = _nothing()
            self.put({"object": "account", "id": account, "created": len(self._kept)})
        for one in objects:
            self._kept[account][f"{one['object']}s"][one["id"]] = one

    def listed(self, kind: str) -> list[Json]:
        """All that was put of a *kind*: `events`."""
        return [*self._objects[kind].values()]

    def forget(self, kind: str, id_: str) -> None:
        """Let an object be gone: 404."""
        del self._objects[kind][id_]

    def answer(self, asked: Asked) -> Reply:
        """An object or a page of a list, with what is asked to be expanded."""
        if asked.headers.get("Authorization") != f"Bearer {self.key}":
            raise refused(401, f"Invalid API Key provided: sk_test_*****{SECRET_PART}")
        self._now.account = asked.headers.get("Stripe-Account", "")
        if self._now.account not in self._kept:
            raise refused(403, f"The key does not have access ({SECRET_PART})")
        _, _, kind, *rest = map(unquote, asked.path.split("/"))
        if kind == "billing" and rest:
            kind = f"billing.{rest.pop(0)}"
            if kind == "billing.credit_balance_summary":
                return Reply(self._left_of(dict(asked.query)))
        if kind not in LISTED or len(rest) > 1:
            raise refused(404, f"Unrecognized request URL ({asked.path})")
        right = kind[:-1].removesuffix("_endpoint").replace(".", "_")
        right += "_read" if asked.body is None else "_write"
        if {kind, right} & self.forbidden:
            raise refused(
                403,
                f"The provided key 'rk_test_****{SECRET_PART}' does not have the "
                "required permissions for this endpoint. Having the "
                f"'rak_{right}' permission would allow this request.",
            )
        if asked.body is not None:
            return Reply(self._written(kind, rest, asked.body))
        expand = _expanded(asked)
        shown = self._one(kind, rest[0]) if rest else self._page(kind, asked)
        return Reply(_rendered(shown, expand))

    def _left_of(self, query: Mapping[str, str]) -> Json:
        """What can be used now of the one credit grant that is asked for."""
        if query.get("filter[type]") != "credit_grant":
            raise refused(400, "This Stripe knows one filter[type]: credit_grant")
        grant = self._one("billing.credit_grants", query["filter[credit_grant]"])
        if query.get("customer") != grant["customer"]:
            raise refused(400, "The credit grant belongs to another customer")
        money = grant["amount"]["monetary"]
        left = self.left.get(grant["id"], money["value"])
        now, ends = self.clock(), grant["expires_at"] or float("inf")
        usable = left if grant["effective_at"] <= now < ends else 0
        shown = {"type": "monetary", "monetary": {**money, "value": usable}}
        rows = [{"available_balance": shown, "ledger_balance": shown}]
        return {"object": "billing.credit_balance_summary", "balances": rows}

    def _written(self, kind: str, rest: list[str], form: Json) -> Json:
        """An endpoint, created or updated; only its creation tells its secret."""
        if kind != "webhook_endpoints":
            raise refused(405, f"This Stripe has no POST of {kind}")
        for event in {*form.get("enabled_events[]", ())} - known_events():
            raise refused(400, f"Invalid enabled_events: {event}")
        if not rest:
            return self._created(form)
        shown = self._one(kind, rest[0])
        shown["metadata"] |= _metadata(form)
        shown["enabled_events"] = form.get("enabled_events[]", shown["enabled_events"])
        off = {"true": "disabled", "false": "enabled"}
        shown["status"] = off.get(form.get("disabled", ""), shown["status"])
        return shown

    def _created(self, form: Json) -> Json:
        known = len(self._objects["webhook_endpoints"])
        if known == MOST_ENDPOINTS:
            raise refused(400, f"You have reached the maximum of {MOST_ENDPOINTS}.")
        for name in {"url", "enabled_events[]"} - form.keys():
            raise refused(400, f"Missing required param: {name}.")
        made = webhook_endpoint(
            f"we_{known + 1}",
            form["url"],
            form["enabled_events[]"],
            created=known,
            api_version=form.get("api_version"),
            metadata=_metadata(form),
        )
        self.put(made)
        return {**made, "secret": f"whsec_example_{made['id']}"}

    def _one(self, kind: str, id_: str) -> Json:
        found = self._objects[kind].get(id_)
        if found is None:
            text = f"No such {kind[:-1]}: '{id_}'"
            raise refused(404, text, code="resource_missing")
        if found.get("deleted"):
            return {"id": id_, "object": kind[:-1], "deleted": True}
        return found

    def _page(self, kind: str, asked: Asked) -> Json:
        query = dict(asked.query)
        limit, after = int(query.get("limit", 10)), query.get("starting_after")
        if not 1 <= limit <= 100:
            raise refused(400, "This value must be between 1 and 100")
        rows = [row for row in self._rows(kind, asked) if not row.get("deleted")]
        if after is not None:
            ids = [row["id"] for row in rows]
            if after not in ids:
                raise refused(
                    400, f"No such object: '{after}'", code="resource_missing"
                )
            rows = rows[ids.index(after) + 1 :]
        more = len(rows) > limit
        return {"object": "list", "has_more": more, "data": rows[:limit]}

    def _rows(self, kind: str, asked: Asked) -> list[Json]:
        """All of a list, the newest first; without a status the ended are left out."""
        query, types = dict(asked.query), _several(asked, "types")
        if kind not in LISTED or len(types) > 20:
            raise refused(400, f"{kind} are not listed so")
        if kind == "subscription_items":
            items = self._one("subscriptions", query.get("subscription", ""))["items"]
            return list(items["data"])
        status, since = query.get("status"), int(query.get("created[gte]", 0))
        until = float(query.get("created[lt]", "inf"))

        def is_wanted(row: Json) -> bool:
            if kind == "events":
                return not types or row["type"] in types
            if kind in {"customers", "accounts", "webhook_endpoints"}:
                return True
            if query.get("customer") not in {None, row.get("customer")}:
                return False
            if "status" not in row:
                return True
            ended = row["status"] == "canceled"
            return status in ("all", row["status"]) or (status is None and not ended)

        oldest = sorted(self._objects[kind].values(), key=lambda row: row["created"])
        return [
            row
            for row in oldest[::-1]
            if since <= row["created"] < until and is_wanted(row)
        ]


def _metadata(form: Json) -> Json:
    return {k[9:-1]: v for k, v in form.items() if k.startswith("metadata[")}


def _nothing() -> dict[str, dict[str, Json]]:
    return {kind: {} for kind in LISTED}


@cache
def known_events() -> frozenset[str]:
    """All that an endpoint can be asked to send, as Stripe's own library lists it."""
    from stripe.params import WebhookEndpointCreateParams  # noqa: PLC0415 - it is slow

    listed = WebhookEndpointCreateParams.__annotations__["enabled_events"]
    return frozenset(get_args(get_args(listed)[0]))


def _expanded(asked: Asked) -> list[list[str]]:
    """The paths that are to be expanded."""
    expand = [path.split(".") for path in _several(asked, "expand")]
    for path in expand:
        if len(path) > DEEPEST:
            raise refused(400, f"You cannot expand more than {DEEPEST} levels.")
        if path[-1] not in EXPANDABLE:
            raise refused(400, f"This property cannot be expanded ({path[-1]}).")
    return expand


def _several(asked: Asked, name: str) -> list[str]:
    """The values of a list in a query: `name[]=a&name[]=b`, or with numbers."""
    return [v for k, v in asked.query if re.fullmatch(rf"{name}\[\d*\]", k)]


def _rendered(value: Any, expand: Iterable[list[str]]) -> Any:
    """*value* as it is shown with those paths expanded."""
    if isinstance(value, list):
        return [_rendered(one, expand) for one in value]
    if not isinstance(value, dict) or value.get("object") == "event":
        return value  # an event shows its object as it was
    shown: Json = {}
    for name, inner in value.items():
        below = [path[1:] for path in expand if path[0] == name]
        place = (value.get("object"), name)
        if place in REFERENCES and not below:
            shown[name] = _ids(inner)
        elif place not in INCLUDED or below:
            whole = _first_items(inner) if place == ("subscription", "items") else inner
            shown[name] = _rendered(whole, [path for path in below if path])
    return shown


def _first_items(items: Json) -> Json:
    rows = items["data"]
    more = len(rows) > FIRST_ITEMS
    return {**items, "data": rows[:FIRST_ITEMS], "has_more": more}


def _ids(value: Any) -> Any:
    if isinstance(value, list):
        return [_ids(one) for one in value]
    return value["id"] if isinstance(value, dict) else value


# --- objects ------------------------------------------------------------------------


def made(kind: str, id_: str, **more: Any) -> Json:
    """An object of Stripe's, as `stripe_objects.json` has its kind but for *more*."""
    return {"id": id_, "object": kind, **copy.deepcopy(OBJECTS[kind]), **more}


def customer(id_: str, **more: Any) -> Json:
    """A customer, whose name and address tell its id."""
    own = {"name": f"The {id_}", "email": f"{id_}@shop.example"}
    return made("customer", id_, **{**own, **more})


def price(id_: str = "price_1", unit: int | None = 4900, **more: Any) -> Json:
    """A monthly price; without a *unit* it is tiered."""
    amounts = {"unit_amount": unit, "unit_amount_decimal": unit and str(unit)}
    scheme = "tiered" if unit is None else "per_unit"
    return made("price", id_, **{**amounts, "billing_scheme": scheme, **more})


def item(of: Json | None = None, *, id_: str = "si_1", **more: Any) -> Json:
    """One line of a subscription."""
    return made("subscription_item", id_, price=of or price(), **more)


def subscription(id_: str, of: str, *items: Json, **more: Any) -> Json:
    """A subscription of customer *of*; active, of one item, unless *more* says else."""
    lines = {"object": "list", "data": list(items) or [item()]}
    return made("subscription", id_, **{"customer": of, "items": lines, **more})


def coupon(id_: str = "HALF", *, percent: float = 50.0, **more: Any) -> Json:
    """A coupon that lasts for ever, for all products."""
    return made("coupon", id_, percent_off=percent, **more)


def discount(of: Json, *, id_: str = "di_1", **more: Any) -> Json:
    """A coupon at work."""
    return made("discount", id_, coupon=of, **more)


def credit_grant(id_: str, of: str, value: int, **more: Any) -> Json:
    """Credit of so many cents for a customer, from the beginning and without an end."""
    amount = {"type": "monetary", "monetary": {"currency": "usd", "value": value}}
    own = {"customer": of, "amount": amount, "category": "paid", "effective_at": 0}
    own |= {"expires_at": None, "voided_at": None, "created": 0, "livemode": False}
    return {"id": id_, "object": "billing.credit_grant", **own, **more}


def webhook_endpoint(id_: str, url: str, events: list[str], **more: Any) -> Json:
    """Where Stripe sends these *events*: https://docs.stripe.com/api/webhook_endpoints."""
    own = {"url": url, "enabled_events": events, "metadata": {}, "application": None}
    own |= {"api_version": None, "status": "enabled", "livemode": False, "created": 0}
    return {"id": id_, "object": "webhook_endpoint", **own, **more}


def event(id_: str, created: float, told: Any, **more: Any) -> dict[str, Any]:
    """An event that an object was *told* of; of a customer, unless *more* says else."""
    return {
        "id": id_,
        "object": "event",
        "api_version": "2025-08-27.basil",
        "type": "customer.updated",
        "created": int(created),
        "livemode": False,
        "data": {"object": told, "previous_attributes": {}},
        **more,
    }
