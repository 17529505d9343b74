"""One reading of a customer: every object once, and all of it true at one instant.

A list of subscriptions cannot hold everything that their values need; what is missing
is read singly and put where an event of an older version would show it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from math import floor
from typing import Any

from marshmallow import ValidationError

from bridge.errors import SourceUnreadError
from bridge.sources.stripe.api import Api, Json
from bridge.sources.stripe.facts import FINAL
from bridge.sources.stripe.schemas import CUSTOMER, SUBSCRIPTION

LIVE = frozenset({"active", "past_due"})
"""Statuses whose plans are named."""

Terms = dict[tuple[str, str, str], Json]
"""What never changes of prices and coupons, by kind, id and creation."""


class Reading:
    """Reads with *api*; *terms* are remembered from one reading to the next."""

    at: int = 0
    """The last whole instant (ms) that everything read here surely contains.

    Stripe's clock when the first request was sent, which is its `Date` less the time
    that the reply took, less a second: in the second that had begun more may have
    happened after Stripe looked, and its events know no smaller unit.
    """

    def __init__(self, api: Api, terms: Terms) -> None:
        self._api = api
        self._terms = terms
        self._names: dict[str, Any] = {}

    def get(self, *path: str, **params: object) -> Json | None:
        """Read one object; None where there is none."""
        reply = self._api.get(*path, **params)
        if reply is None:
            return None
        self.at = self.at or (floor(reply.at) - 1) * 1000
        return reply.body

    def customer(self, id_: str) -> Json | None:
        """Read a customer, with what its discount applies to."""
        found = self.get("customers", id_)
        if found is not None:
            understood(CUSTOMER.load, found)
            self._complete_discounts([found.get("discount")])
        return found

    def subscriptions(self, customer: str) -> Iterator[Json]:
        """Read all subscriptions there ever were, those that go on completed."""
        expand = ["data.discounts", "data.items.data.discounts"]
        for found in self._api.every(
            "subscriptions", customer=customer, status="all", expand=expand
        ):
            if understood(SUBSCRIPTION.load, found)["status"] not in FINAL:
                self._complete(found)
            yield found

    def _complete(self, subscription: Json) -> None:
        items = subscription.get("items") or {}
        if items.get("has_more"):
            every = self._api.every(
                "subscription_items",
                subscription=subscription["id"],
                expand=["data.discounts"],
            )
            items |= {"data": list(every), "has_more": False}
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
            price["product"] = {"id": id_, "name": self._name(id_)}

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
            found = self.get(kind, told["id"], expand=[name]) or {}
            same = found.get("created") == told.get("created")
            self._terms[key] = {name: found.get(name)} if same else {}
        return self._terms[key]

    def _name(self, product: str) -> Any:
        if product not in self._names:
            self._names[product] = (self.get("products", product) or {}).get("name")
        return self._names[product]


def understood(read: Callable[[Json], Any], raw: Json) -> Any:
    """What *read* makes of *raw*. Raises SourceUnreadError."""
    try:
        return read(raw)
    except ValidationError as error:
        fields = ", ".join(sorted(map(str, error.messages_dict)))
        reason = f"{raw.get('id')} is not understood: {fields}"
        raise SourceUnreadError(reason) from None
