"""What Stripe itself says of a customer, as the facts that its webhooks would tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from bridge.domain.catalogue import TERMS
from bridge.domain.facts import REFRESHED, Fact, Rank, Stamp, Value
from bridge.sources.stripe import snapshot
from bridge.sources.stripe.api import Api, Json, connect
from bridge.sources.stripe.facts import FINAL
from bridge.sources.stripe.handlers import HANDLERS, THIN
from bridge.sources.stripe.identity import rules
from bridge.sources.stripe.reading import Reading, Terms, understood
from bridge.sources.stripe.schemas import CUSTOMER, SUBSCRIPTION
from bridge.webhook.source import Options, Page
from bridge.webhook.values import digest

PREFIX = "stripe:"

MOST_TERMS = 1000
"""Prices and coupons that are remembered."""

KINDS = [kind for kind in HANDLERS if not kind.startswith(THIN)]
CHUNK = 20
"""Types of events that one list may ask for: https://docs.stripe.com/api/events/list"""


class StripeReader:
    """Reads customers one by one, and lists customers and events."""

    def __init__(self, api: Api, options: Options) -> None:
        self._api = api
        self._options = options
        self._terms: Terms = {}

    def party(self, party: str) -> list[Fact]:
        """See `Reader.party`."""
        return self._read(self._reading(), party.removeprefix(PREFIX))

    def owner(self, thing: str) -> str | None:
        """See `Reader.owner`."""
        kind, _, id_ = thing.partition(":")
        if kind == "customer":
            return PREFIX + id_
        found = self._api.get("subscriptions", id_)
        if found is None:
            return None
        owner = snapshot.owner(understood(SUBSCRIPTION.load, found.body))
        return PREFIX + owner if owner else None

    def parties(self, since: int | None, after: str) -> Page:
        """See `Archive.parties`; the deleted are not in it."""
        created = {"created": {"gte": since}} if since is not None else {}
        last = after.removeprefix(PREFIX)
        reply, last = self._api.page("customers", after=last, **created)
        rows = [PREFIX + row["id"] for row in reply.body["data"]]
        return Page(rows, rows[-1] if last else "")

    def events(self, since: int, after: str) -> Page:
        """See `Archive.events`; *after* is the chunk of types and the last event."""
        chunk, _, last = after.partition(":")
        first = int(chunk or 0)
        kinds = KINDS[first : first + CHUNK]
        reply, last = self._api.page(
            "events", after=last, types=kinds, created={"gte": since}
        )
        rest = first if last else first + CHUNK
        return Page(reply.body["data"], f"{rest}:{last}" if rest < len(KINDS) else "")

    def _reading(self) -> Reading:
        if len(self._terms) > MOST_TERMS:
            self._terms.clear()
        return Reading(self._api, self._terms)

    def _read(self, reading: Reading, id_: str) -> list[Fact]:
        customer = reading.customer(id_)
        if customer is None:
            return []
        told = list(self._told(customer, reading.subscriptions(id_)))
        read = apart(value for _, value, _ in told)
        return [
            Fact(
                party=f"{PREFIX}{id_}",
                thing=thing,
                stamp=Stamp(final, reading.at, Rank.FROM_API),
                event=f"read:{reading.at}",
                kind="read",
                value=value,
                # What is kept of the reading itself is no snapshot.
                after=digest(value if thing == REFRESHED else snapshot.essence(value)),
            )
            for thing, value, final in [*told, (REFRESHED, read, False)]
        ]

    def _told(
        self, customer: Json, subscriptions: Iterator[Json]
    ) -> Iterator[tuple[str, Value, bool]]:
        """Yield things, their values, and whether these are final.

        Of a deleted customer Stripe keeps the id alone. Where its metadata named the
        account, saying so would take its account away; its subscriptions, which all
        have ended with it, tell what matters.
        """
        places = rules(self._options)
        gone = bool(customer.get("deleted"))

        def whole(raw: Json) -> Value:
            return snapshot.customer(CUSTOMER.load(raw), places, deleted=gone)

        def part(raw: Json) -> Value:
            return snapshot.subscription(SUBSCRIPTION.load(raw), places)

        if not gone or places[0].field == "id":
            yield "customer", understood(whole, customer), gone
        for raw in subscriptions:
            value = understood(part, raw)
            yield f"subscription:{raw['id']}", value, value["status"] in FINAL


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


def reader(options: Options) -> StripeReader | None:
    """The reader with the *options*' key, None without one. Raises ConfigError."""
    api = connect(options)
    return StripeReader(api, options) if api else None
