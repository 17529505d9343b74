"""Stripe's own API: a customer with all it has, as the facts its webhooks would tell.

A list of subscriptions cannot hold everything that their values need; what is missing
is read singly and put where an event of an older version would show it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bridge.domain.facts import Fact, Rank
from bridge.domain.values import REFRESHED, TERMS, Value
from bridge.errors import ConfigError, SourceUnreadError
from bridge.sources.http import TIMEOUT, HttpApi, Json, understood
from bridge.sources.stripe import snapshot
from bridge.sources.stripe.facts import FINAL, HANDLERS, PREFIX, V1
from bridge.sources.stripe.identity import rules
from bridge.sources.stripe.schemas import CUSTOMER, SUBSCRIPTION
from bridge.webhook.source import Event, Options, Page

VERSION = "2025-08-27.basil"
"""The last version whose discounts hold their coupon (clover has its id alone), so that
item discounts with terms fit into the four levels that a list may expand."""

MOST = 100
"""Objects of a page."""

MOST_TERMS = 1000
"""Prices and coupons that are remembered."""

KINDS = [kind for kind in HANDLERS if not kind.startswith(V1)]
CHUNK = 20
"""Types of events that one list may ask for: https://docs.stripe.com/api/events/list"""

LIVE = frozenset({"active", "past_due"})
"""Statuses whose plans are named."""


class StripeApi:
    """Reads customers one by one, and lists customers and events."""

    def __init__(self, http: HttpApi, options: Options) -> None:
        self._http = http
        self._accounts = rules(options)
        self._terms: dict[tuple[str, str, str], Json] = {}
        """What never changes of prices and coupons, by kind, id and creation."""
        self._names: dict[str, Any] = {}
        """Names of products, which may change: known during one refresh."""

    def party(self, party: str) -> list[Fact]:
        """See `SourceApi.party`; all is as old as the first reply."""
        self._names.clear()
        if len(self._terms) > MOST_TERMS:
            self._terms.clear()
        id_ = party.removeprefix(PREFIX)
        first = self._http.get("customers/{id}", id_)
        if first is None:
            return []
        told = list(self._told(self._object(first.body, "customers"), id_))
        event = Event(f"read:{first.second}", "read", first.second, {})
        facts = [
            event.fact(
                party,
                thing,
                value,
                Rank.FROM_API,
                final=final,
                essence=snapshot.essence(value),
            )
            for thing, value, final in told
        ]
        # What only the API tells is no snapshot.
        return [
            *facts,
            event.fact(party, REFRESHED, apart(v for _, v, _ in told), Rank.FROM_API),
        ]

    def owner(self, thing: str) -> str | None:
        """See `SourceApi.owner`."""
        kind, _, id_ = thing.partition(":")
        if kind == "customer":
            return PREFIX + id_
        found = self._get("subscriptions", id_)
        if found is None:
            return None
        owner = snapshot.owner(understood(SUBSCRIPTION.load, found, id_))
        return PREFIX + owner if owner else None

    def parties(self, since: int | None, after: str) -> Page:
        """See `Archive.parties`; the deleted are not in it."""
        created = {} if since is None else {"created[gte]": since}
        found = self._page("customers", created, after.removeprefix(PREFIX))
        rows = [PREFIX + row["id"] for row in found.rows]
        return Page(rows, rows[-1] if found.after else "")

    def events(self, since: int, after: str) -> Page:
        """See `Archive.events`; *after* is the chunk of types and the last event."""
        chunk, _, last = after.partition(":")
        first = int(chunk or 0)
        kinds = numbered("types", KINDS[first : first + CHUNK])
        found = self._page("events", {**kinds, "created[gte]": since}, last)
        rest = first if found.after else first + CHUNK
        return Page(found.rows, f"{rest}:{found.after}" if rest < len(KINDS) else "")

    def _told(self, customer: Json, id_: str) -> Iterator[tuple[str, Value, bool]]:
        """Yield things, their values, and whether these are final.

        Of a deleted customer Stripe keeps the id alone. Where its metadata named the
        account, saying so would take its account away; its subscriptions, which all
        have ended with it, tell what matters.
        """
        gone = bool(customer.get("deleted"))
        understood(CUSTOMER.load, customer, id_)
        self._complete_discounts([customer.get("discount")])

        def whole(raw: Json) -> Value:
            return snapshot.customer(CUSTOMER.load(raw), self._accounts, deleted=gone)

        def part(raw: Json) -> Value:
            return snapshot.subscription(SUBSCRIPTION.load(raw), self._accounts)

        if not gone or self._accounts[0].field == "id":
            yield "customer", understood(whole, customer, id_), gone
        expand = ["data.discounts", "data.items.data.discounts"]
        asked = {"customer": id_, "status": "all", **numbered("expand", expand)}
        for raw in self._every("subscriptions", asked):
            loaded = understood(SUBSCRIPTION.load, raw, raw["id"])
            if loaded["status"] not in FINAL:
                self._complete(raw)
            value = understood(part, raw, raw["id"])
            yield f"subscription:{raw['id']}", value, value["status"] in FINAL

    # --- what a list leaves out ---

    def _complete(self, subscription: Json) -> None:
        items = subscription.get("items") or {}
        if items.get("has_more"):
            asked = {
                "subscription": subscription["id"],
                **numbered("expand", ["data.discounts"]),
            }
            every = list(self._every("subscription_items", asked))
            items |= {"data": every, "has_more": False}
        for item in items.get("data", ()):
            self._complete_discounts(item.get("discounts"))
            self._complete_price(item.get("price"), subscription["status"] in LIVE)
        self._complete_discounts(subscription.get("discounts"))

    def _complete_price(self, price: Any, is_named: bool) -> None:
        if not isinstance(price, dict):
            return
        if price.get("billing_scheme") == "tiered":
            price["tiers"] = self._term("prices", price, "tiers").get("tiers")
        id_ = price.get("product")
        if is_named and not price.get("nickname") and isinstance(id_, str):
            if id_ not in self._names:
                self._names[id_] = (self._get("products", id_) or {}).get("name")
            price["product"] = {"id": id_, "name": self._names[id_]}

    def _complete_discounts(self, discounts: Iterable[Any] | None) -> None:
        for discount in discounts or ():
            coupon = discount.get("coupon") if isinstance(discount, dict) else None
            if isinstance(coupon, dict):
                term = self._term("coupons", coupon, "applies_to")
                if term:
                    # What was asked for and is not there is for all products.
                    coupon["applies_to"] = term["applies_to"] or {"products": []}

    def _term(self, kind: str, told: Json, name: str) -> Json:
        """What *told* leaves out, from the object itself.

        A coupon may be gone, and another one made under its id: then what is told is
        all that is known.
        """
        key = (kind, told["id"], str(told.get("created")))
        if key not in self._terms:
            found = self._get(kind, told["id"], numbered("expand", [name])) or {}
            same = found.get("created") == told.get("created")
            self._terms[key] = {name: found.get(name)} if same else {}
        return self._terms[key]

    # --- requests ---

    def _get(
        self, kind: str, id_: str, query: Mapping[str, Any] | None = None
    ) -> Json | None:
        """Read one object; None where there is none."""
        reply = self._http.get(f"{kind}/{{id}}", id_, query)
        return None if reply is None else self._object(reply.body, kind)

    def _object(self, body: Any, kind: str) -> Json:
        if not isinstance(body, dict):
            raise self._http.unreadable(kind)
        return body

    def _page(self, kind: str, query: Mapping[str, Any], after: str) -> Page:
        """Read a page of a list, the one that follows the id *after*."""
        more = {"starting_after": after} if after else {}
        reply = self._http.get(kind, query={"limit": MOST, **query, **more})
        if reply is None:
            raise SourceUnreadError(f"Stripe has no such {kind}, or not any more")
        body = self._object(reply.body, kind)
        rows = body.get("data")
        if not isinstance(rows, list) or not all(
            isinstance(row, dict) and isinstance(row.get("id"), str) for row in rows
        ):
            raise self._http.unreadable(kind)
        return Page(rows, rows[-1]["id"] if body.get("has_more") and rows else "")

    def _every(self, kind: str, query: Mapping[str, Any]) -> Iterator[Json]:
        """Read a list to its end."""
        more, after = True, ""
        while more:
            rows, after = self._page(kind, query, after)
            yield from rows
            more = bool(after)


def numbered(name: str, values: Iterable[str]) -> dict[str, str]:
    """A list as Stripe's queries write it: `expand[0]=…&expand[1]=…`."""
    return {f"{name}[{n}]": value for n, value in enumerate(values)}


def apart(values: Iterable[Value]) -> Value:
    """What no webhook tells: `tiers` by price, `names` by product, terms by discount.

    It is kept beside them, so that the next webhook does not take it away.
    """
    tiers: dict[str, Any] = {}
    names: dict[str, str] = {}
    discounts: dict[str, Value] = {}
    for value in values:
        if value.get("status") in FINAL:
            continue
        items = value.get("items", ())
        for item in items:
            if "tiers" in item:
                tiers[item["price"]] = _picked(item, ("tiers", "tiers_mode"))
            if "product_name" in item and item.get("product"):
                names[item["product"]] = item["product_name"]
        for one in (
            one for part in (value, *items) for one in part.get("discounts", ())
        ):
            if one.get("id"):
                discounts[one["id"]] = _picked(one, ("coupon", *TERMS))
    every = (("tiers", tiers), ("names", names), ("discounts", discounts))
    return {name: told for name, told in every if told}


def _picked(value: Value, names: Iterable[str]) -> Value:
    return {name: value[name] for name in names if name in value}


def connect(options: Options, timeout: float = TIMEOUT) -> StripeApi | None:
    """The API with the key of the *options*, None without one. Raises ConfigError."""
    key, mode = options["STRIPE_API_KEY"], options["STRIPE_MODE"]
    if key is None:
        return None
    other = "test" if mode == "live" else "live"
    if f"k_{other}_" in key:
        raise ConfigError([f"STRIPE_API_KEY is a {other} key; STRIPE_MODE is {mode}"])
    base = options["STRIPE_API_BASE"] or "https://api.stripe.com"
    http = HttpApi(
        title="Stripe",
        key="STRIPE_API_KEY",
        base=f"{base}/v1/",
        headers={"Authorization": f"Bearer {key}", "Stripe-Version": VERSION},
        permission=re.compile(rb"\brak_[a-z_]+\b"),
        missing=b"resource_missing",
        timeout=timeout,
    )
    return StripeApi(http, options)
