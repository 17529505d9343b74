"""Reads a customer with everything it has from Stripe's API, as facts like its webhooks'.

A list of subscriptions does not contain everything that their values need. The rest is
read with single requests and put where an event of an older version would have it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any
from zlib import crc32

from marshmallow import ValidationError

from bridge.domain.facts import READ, Fact, Rank
from bridge.domain.values import (
    BILLING,
    ENDED,
    GRANTS,
    LIVE,
    METHOD,
    PAYMENTS,
    PAYS,
    REFRESHED,
    TERMS,
    TRAIT,
    UNREAD,
    AnyValue,
    Billing,
    Dated,
    Grant,
    InvoiceStep,
    Refreshed,
    Tiers,
    Value,
)
from bridge.errors import ConfigError, SourceError, SourceUnreadError
from bridge.sources.http import TIMEOUT, HttpApi, Json, all_rows, read_at, understood
from bridge.sources.stripe import schemas, snapshot
from bridge.sources.stripe.connected import account_and_id, qualified
from bridge.sources.stripe.facts import PREFIX, kept_beside, needed_events, places
from bridge.sources.stripe.schemas import CUSTOMER, HAPPENED, PAGE, SUBSCRIPTION
from bridge.sources.stripe.snapshot import essence, is_final
from bridge.webhook.fields import Payload
from bridge.webhook.source import (
    Event,
    Options,
    Page,
    SourceChange,
    forecasts,
    grants,
    is_name,
    pays,
)
from bridge.webhook.values import kept

VERSION = "2025-08-27.basil"
"""The last version whose discounts contain their coupon (clover has only its id). So item
discounts with terms fit into the four levels that a list may expand."""

MOST = 100
"""Objects per page."""

MOST_TERMS = 1000
"""Most prices and coupons that are cached."""

MOST_ACCOUNTS = 16
"""Most connected accounts to which connections are kept."""

LISTS = ("customers", "subscriptions", "prices", "products", "coupons", "events")
"""Lists that the key must be able to read."""

OWNED = {"subscription": "subscriptions", "credit_grant": "billing/credit_grants"}
"""What names a customer, and where it is read."""

SUMMARY = "billing/credit_balance_summary"
"""Where what is left of a credit grant is read."""

METHODS = ("default_payment_method", "default_source")

PHASES = ["phases.items.price"]
PHASES += [f"phases.{of}discounts.coupon" for of in ("", "items.")]
PHASES += [f"phases.{of}discounts.discount" for of in ("", "items.")]
"""What the phases of a schedule only name."""

CHUNK = 20
"""Most event types that one list may request: https://docs.stripe.com/api/events/list"""


class StripeApi:
    """Reads customers one by one, and lists customers and events.

    Of the key's own account, or of the *account* connected to it.
    """

    def __init__(self, http: HttpApi, options: Options, account: str = "") -> None:
        self._http, self._account = http, account
        self._connected = lru_cache(MOST_ACCOUNTS)(
            lambda account: StripeApi(_within(http, account), options, account)
        )
        self._lists = [*LISTS, *(["accounts"] if options.get("STRIPE_CONNECT") else [])]
        self._kinds = needed_events(options)
        self._places = places(options)
        self._keeps = kept_beside(options)
        self._subscription = partial(snapshot.subscription, keeps=self._keeps)
        self._forecasts = forecasts(options)
        self._lists += ["subscription_schedules"] if self._forecasts else []
        self._pays = pays(options)
        self._lists += ["invoices"] if self._pays else []
        self._counts_grants = grants(options)
        self._lists += [OWNED["credit_grant"]] if self._counts_grants else []
        self._term = lru_cache(MOST_TERMS)(self._read_term)
        # A price may get more currencies, and other amounts in them.
        self._amounts = lru_cache(self._read_term)
        self._product = lru_cache(self._read_product)

    def party(self, party: str) -> list[Fact]:
        """See `SourceApi.party`; everything is stamped with the time of the first reply."""
        account, id_ = account_and_id(party.removeprefix(PREFIX))
        if account != self._account:
            return self._connected(account).party(party)
        self._amounts.cache_clear()
        self._product.cache_clear()
        expand = {"expand[]": [METHODS[1], f"invoice_settings.{METHODS[0]}"]}
        first = self._http.get("customers/{id}", id_, expand if self._pays else None)
        if first is None:
            return []
        values = dict(self._values(first.body, id_))
        if self._counts_grants:
            found = () if first.body.get("deleted") else self._grants(id_, first.second)
            values[GRANTS] = {"grants": [*found]}
        fact = partial(read_at(first.second).fact, party, rank=Rank.FROM_API)
        facts = [
            fact(thing, value, final=is_final(value), essence=essence(value))
            for thing, value in values.items()
        ]
        if self._pays:
            facts += self._invoices(party, id_, first.second)
        return [*facts, fact(REFRESHED, only_of_the_api(values.values()))]

    def owner(self, thing: str) -> str | None:
        """See `SourceApi.owner`."""
        kind, _, id_ = thing.partition(":")
        if kind == "customer":
            return PREFIX + id_
        account, id_ = account_and_id(id_)
        api = self._connected(account) if account else self
        raw = api._get(OWNED[kind], id_)  # noqa: SLF001 - one of its own
        owner = raw and snapshot.owner(understood(schemas.OWNED.load, raw, id_))
        return PREFIX + (account and f"{account}/") + owner if owner else None

    def probe(self) -> bool:
        """See `SourceApi.probe`."""
        return self._http.check_key(*self._lists)

    def parties(self, since: int | None, after: str) -> Page:
        """See `Archive.parties`; deleted customers are not listed.

        After those of the own account come those of each connected account. One that the
        key may not read is passed over, with a note.
        """
        account, last = account_and_id(after.removeprefix(PREFIX))
        if account != self._account:
            try:
                page = self._connected(account).parties(since, after)
            except SourceError as error:
                if not error.refused:
                    raise
                page = Page([], "", f"{account} is passed over: {error.reason}")
        else:
            page = page_of(self._http, "customers", {"created[gte]": since}, last)
            begin = PREFIX + (account and f"{account}/")
            rows = [begin + row["id"] for row in page.rows]
            page = Page(rows, rows[-1] if page.after else "")
        if page.after or self._account or "accounts" not in self._lists:
            return page
        try:
            following = page_of(self._http, "accounts", {"limit": 1}, account).rows
        except SourceError as error:
            if account or not error.refused:
                raise
            return page._replace(note=f"no connected account is read: {error.reason}")
        after = f"{PREFIX}{following[0]['id']}/" if following else ""
        return page._replace(after=after)

    def changes(self, since: int, until: int, after: str) -> Page:
        """See `Archive.changes`; *after* is a chunk of those types, and its last event.

        If other types are needed meanwhile, the list begins anew.
        """
        mark = f"{crc32(' '.join(self._kinds).encode())}:"
        _, chunk, last = after.split(":") if after.startswith(mark) else ("", "0", "")
        first = int(chunk)
        span = {"created[gte]": since // 1000, "created[lt]": -(-until // 1000)}
        kinds = self._kinds[first : first + CHUNK]
        page = page_of(self._http, "events", {"types[]": kinds, **span}, last)
        rest = first if page.after else first + CHUNK
        rows = [SourceChange(_instant(body), body) for body in page.rows]
        return Page(
            rows, f"{mark}{rest}:{page.after}" if rest < len(self._kinds) else ""
        )

    def _values(self, customer: Json, id_: str) -> Iterator[tuple[str, AnyValue]]:
        """Yield the customer and its subscriptions by the names of their things.

        Stripe keeps only the id of a deleted customer. If its metadata named the account,
        a customer fact without it would take the account away; so only its subscriptions
        are yielded, which all ended with it.
        """
        is_gone = bool(customer.get("deleted"))
        value = self._value(CUSTOMER, snapshot.customer, customer, deleted=is_gone)
        if not is_gone or self._places[0].field == "id":
            yield "customer", value
            for name in self._keeps.traits:
                if own := snapshot.trait(CUSTOMER.load(customer), name, self._keeps):
                    yield TRAIT + name, own
        expand = ["data.discounts", "data.items.data.discounts"]
        if self._pays:
            expand += [f"data.{name}" for name in METHODS]
            yield from _billing(customer, BILLING)
        query = {"customer": id_, "status": "all", "expand[]": expand}
        for raw in every(self._http, "subscriptions", query):
            if self._forecasts and (planned := raw.get("schedule")):
                raw["schedule"] = understood(self._schedule, planned, planned)
            value = self._value(SUBSCRIPTION, self._subscription, raw)
            yield f"subscription:{raw['id']}", value
            if self._pays:
                yield from _billing(raw, PAYS + raw["id"])

    def _invoices(self, party: str, id_: str, at: int) -> Iterator[Fact]:
        """Yield the steps of all invoices of a customer, as read *at* an instant (ms)."""
        for raw in every(self._http, "invoices", {"customer": id_}):
            event = Event(raw["id"], READ, at, {})
            step: InvoiceStep | None = {"id": raw["id"], "step": UNREAD, "at": at}
            with suppress(ValidationError):
                step = snapshot.invoice(schemas.INVOICE.load(raw), at)
            if step:
                yield event.fact(party, PAYMENTS, step, Rank.FROM_API, essence={})

    def _grants(self, id_: str, at: int) -> Iterator[Grant]:
        """Yield what a customer's grants of money have left *at* an instant, or will have.

        Credit cannot be used before it takes effect, so until then all of it is left.
        """
        for raw in every(self._http, OWNED["credit_grant"], {"customer": id_}):
            grant = understood(schemas.GRANT.load, raw, raw["id"])
            start, money = grant["effective_at"] or 0, grant["amount"]["monetary"]
            ends: Any = grant["voided_at"] or grant["expires_at"]
            if money and at < (ends or at + 1):
                left = money["value"] if at < start else self._left(raw["id"], id_)
                span: Dated = {"from": start, "until": ends}
                yield {"currency": money["currency"], "left": left, **kept(span)}

    def _left(self, grant: str, id_: str) -> str:
        """What is left of one credit grant of a customer. Raises SourceError."""
        which = {"filter[type]": "credit_grant", "filter[credit_grant]": grant}
        reply = self._http.get(SUMMARY, query={"customer": id_, **which})
        shown = understood(schemas.LEFT.load, reply.body if reply else {}, grant)
        rows = (row["available_balance"]["monetary"] for row in shown["balances"])
        return next((money["value"] for money in rows), "0")

    def _value(
        self, schema: Payload, make: Callable[..., AnyValue], raw: Json, **more: bool
    ) -> AnyValue:
        """The value that *make* returns for an object. Raises SourceUnreadError."""

        def read(raw: Json) -> AnyValue:
            if schema.load(raw).get("status") not in ENDED:
                self._complete(raw)
            shown = qualified(self._account, raw) if self._account else raw
            return make(schema.load(shown), self._places, **more)

        value: AnyValue = understood(read, raw, str(raw.get("id")))
        return value

    def _complete(self, raw: Json) -> None:
        """Add what a list leaves out of a customer or a subscription."""
        items = raw.get("items") or {}
        if items.get("has_more"):
            query = {"subscription": raw["id"], "expand[]": "data.discounts"}
            items["data"] = list(every(self._http, "subscription_items", query))
            items["has_more"] = False
        for part in (raw, *items.get("data", ())):
            for discount in (part.get("discount"), *(part.get("discounts") or ())):
                coupon = discount.get("coupon") if isinstance(discount, dict) else None
                if isinstance(coupon, dict):
                    self._complete_coupon(coupon)
            if isinstance(price := part.get("price"), dict):
                self._complete_price(price, raw)

    def _schedule(self, id_: str) -> Json | None:
        """A schedule with the prices and the terms of its phases."""
        schedule = self._get("subscription_schedules", id_, **{"expand[]": PHASES})
        for phase in (schedule or {}).get("phases") or ():
            items = phase.get("items") or ()
            for part in (phase, *items):
                part["discounts"] = [
                    one.get("discount") or {"id": one.get("promotion_code"), **one}
                    for one in part.get("discounts") or ()
                ]
            self._complete({**phase, "items": {"data": items}})
        return schedule

    def _complete_price(self, price: Json, of: Json) -> None:
        """Add what is left out of a *price* that a subscription or a phase is *of*."""
        own, created = price.get("currency"), price.get("created")
        if of.get("currency", own) != own:
            price |= self._amounts("prices", price["id"], created, "currency_options")
        elif price.get("billing_scheme") == "tiered":
            price |= self._term("prices", price["id"], created, "tiers")
        product = price.get("product")
        wants = any(o.field.startswith("product.") for o in self._keeps.traits.values())
        is_nameless = of.get("status") in LIVE and not price.get("nickname")
        if isinstance(product, str) and (is_nameless or wants):
            price["product"] = {"id": product, **self._product(product)}

    def _complete_coupon(self, coupon: Json) -> None:
        scope = self._term("coupons", coupon["id"], coupon.get("created"), "applies_to")
        if scope:
            # If it was requested and is absent, the coupon applies to all products.
            coupon["applies_to"] = scope["applies_to"] or {"products": []}

    def _read_term(self, kind: str, id_: str, created: Any, name: str) -> Json:
        """A part of a price or a coupon that lists leave out.

        If a coupon is gone and another one has its id, they are unknown.
        """
        raw = self._get(kind, id_, **{"expand[]": name}) or {}
        return {name: raw.get(name)} if raw.get("created") == created else {}

    def _read_product(self, product: str) -> Any:
        """What may change of a product, so it is cached only during one refresh."""
        return picked(self._get("products", product) or {}, ("name", "metadata"))

    def _get(self, kind: str, id_: str, **query: Any) -> Json | None:
        """Read one object; None if there is none."""
        reply = self._http.get(f"{kind}/{{id}}", id_, query)
        return reply.body if reply else None


def page_of(http: HttpApi, kind: str, query: Mapping[str, Any], after: str) -> Page:
    """Read the page of a list that follows the id *after*. Raises SourceError."""
    reply = http.get(kind, query={"limit": MOST, **query, "starting_after": after})
    if reply is None:
        raise SourceUnreadError(f"Stripe has no such {kind}, or not any more")
    page = understood(PAGE.load, reply.body, kind)
    rows = page["data"]
    return Page(rows, rows[-1]["id"] if page["has_more"] and rows else "")


def every(http: HttpApi, kind: str, query: Mapping[str, Any]) -> Iterator[Json]:
    """Read a list to its end. Raises SourceError."""
    return all_rows(partial(page_of, http, kind, query))


def _billing(raw: Json, thing: str) -> Iterator[tuple[str, AnyValue]]:
    """Yield what a customer or a subscription has and pays with, and its cards."""
    yield thing, {**snapshot.billing(schemas.BILLING.load(raw)), "status": "read"}
    places = (raw, raw.get("invoice_settings"))
    for one in (p.get(n) for p in places if isinstance(p, dict) for n in METHODS):
        if isinstance(one, dict) and is_name(one.get("id")):
            card: Billing = {"status": UNREAD}
            with suppress(ValidationError):
                card = snapshot.method(schemas.METHOD.load(one))
            yield METHOD + one["id"], card


def _instant(event: Json) -> int:
    """When an event of a list was made (ms). Raises SourceUnreadError."""
    seconds: int = understood(HAPPENED.load, event, str(event["id"]))["created"]
    return 1000 * seconds


def only_of_the_api(values: Iterable[Value]) -> Refreshed:
    """What no webhook contains: amounts by price, `names` by product, terms and end by discount.

    It is stored beside the *values*, so that the next webhook does not remove it.
    """
    going = [value for value in values if value.get("status") not in ENDED]
    items = [item for value in going for item in value.get("items", ())]
    discounts = [one for part in (*going, *items) for one in part.get("discounts", ())]
    priced = [item for item in items if {"tiers", "priced_as"} & item.keys()]
    parts = ((i.get("priced_as", i["price"]), i) for i in priced)
    named = [i for i in items if "product_name" in i and i.get("product")]
    lasting = ("coupon", "ends", *TERMS)
    refreshed: Refreshed = {
        "tiers": {name: picked(i, Tiers.__annotations__) for name, i in parts},
        "names": {i["product"]: i["product_name"] for i in named},
        "details": {i["product"]: i["details"] for i in items if i.get("details")},
        "discounts": {d["id"]: picked(d, lasting) for d in discounts if d.get("id")},
    }
    return kept(refreshed)


def picked(value: Any, names: Collection[str]) -> Any:
    """The parts of a *value* that have these *names*."""
    return {name: value[name] for name in names if name in value}


def wrong_mode(options: Options, name: str = "STRIPE_API_KEY") -> str:
    """Why the key in option *name* cannot belong to the mode; "": it may."""
    key, mode = options[name] or "", options["STRIPE_MODE"]
    other = "test" if mode == "live" else "live"
    is_wrong = f"k_{other}_" in key
    return f"{name} is a {other} key; STRIPE_MODE is {mode}." if is_wrong else ""


def http_of(
    options: Options, name: str = "STRIPE_API_KEY", **more: Any
) -> HttpApi | None:
    """A client with the key in option *name*, None without one. Raises ConfigError."""
    if not (key := options[name]):
        return None
    if wrong := wrong_mode(options, name):
        raise ConfigError([wrong])
    base = options["STRIPE_API_BASE"] or "https://api.stripe.com"
    return HttpApi(
        title="Stripe",
        key=name,
        base=f"{base}/v1/",
        headers={"Authorization": f"Bearer {key}", "Stripe-Version": VERSION},
        permission=re.compile(rb"\brak_[a-z_]+\b"),
        missing=b"resource_missing",
        **more,
    )


def _within(http: HttpApi, account: str) -> HttpApi:
    """The same client for what the connected *account* has."""
    return replace(http, headers={**http.headers, "Stripe-Account": account})


def connect(options: Options, timeout: float = TIMEOUT) -> StripeApi | None:
    """The API with the key of the *options*, None without one. Raises ConfigError."""
    http = http_of(options, timeout=timeout)
    return StripeApi(http, options) if http else None
