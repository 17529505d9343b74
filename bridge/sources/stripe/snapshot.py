"""How a loaded customer or subscription becomes the small value that a fact carries.

JSON types only: money is decimal text in minor units, instants are milliseconds since
the epoch (UTC), and a key whose value is None, False or empty is left out. What Stripe
does not say is left out too, never guessed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bridge.domain.values import (
    TERMS,
    Customer,
    Discount,
    Item,
    Named,
    Package,
    Subscription,
    Terms,
    Tier,
    Value,
)
from bridge.sources.stripe import identity
from bridge.sources.stripe.schemas import ITEM, PRICE
from bridge.webhook.values import kept

Loaded = Any
"""What a schema of this source returns: a mapping with a key for each field."""


def customer(
    loaded: Loaded, rules: identity.Rules, *, deleted: bool = False
) -> Customer:
    """Value of thing `customer`; the *rules* say where its account is named."""
    names = identity.account("customer", loaded, loaded["id"], rules)
    value: Customer = {
        "name": loaded["name"],
        "email": loaded["email"],
        "account": names.get("account"),
        "rank": names.get("rank"),
        "deleted": deleted,
        "discounts": _discounts(loaded),
    }
    return kept(value)


def subscription(
    loaded: Loaded, rules: identity.Rules, *, deleted_at: Any = None
) -> Subscription:
    """Value of thing `subscription:…`; *deleted_at* of a deletion's event.

    Raises ValidationError where a plan that stands for a price is no plan.
    """
    items, more = _items(loaded)
    tax = loaded["automatic_tax"]
    terms = [_terms(item, loaded) for item in items]
    currency: Any = loaded["currency"] or next(
        (price["currency"] for price in terms if price and price["currency"]), None
    )
    names = identity.account("subscription", loaded, owner(loaded), rules)
    value: Subscription = {
        "status": loaded["status"] if deleted_at is None else "canceled",
        "currency": currency,
        "account": names.get("account"),
        "rank": names.get("rank"),
        "items": [
            _item(item, price, currency)
            for item, price in zip(items, terms, strict=True)
        ],
        "more": more,
        "ends": loaded["current_period_end"],
        "trial_end": loaded["trial_end"],
        "ended_at": deleted_at if loaded["ended_at"] is None else loaded["ended_at"],
        "cancel_at": loaded["cancel_at"],
        "cancel_at_period_end": loaded["cancel_at_period_end"],
        "paused": loaded["pause_collection"] is not None,
        "discounts": _discounts(loaded),
        "single": loaded["discounts"] is None and loaded["discount"] is not None,
        "tax": _inclusive(loaded["default_tax_rates"]),
        "automatic_tax": _when(tax, tax and tax["enabled"]),
    }
    return kept(value)


def owner(loaded: Loaded) -> str | None:
    """Return the customer of an object, else its account (Accounts v2)."""
    found: str | None = loaded["customer"] or loaded["customer_account"]
    return found


def discount(
    loaded: Loaded, rules: identity.Rules, *, start: Any, deleted: bool
) -> Discount:
    """Value of thing `discount:…`, which began at *start*.

    With neither scope it is the whole customer's.
    """
    names = identity.account("discount", loaded, owner(loaded), rules)
    value: Discount = {
        "start": start,
        "subscription": loaded["subscription"],
        "item": loaded["subscription_item"],
        "deleted": deleted,
        "account": names.get("account"),
        "rank": names.get("rank"),
    }
    return {**_discount(loaded), **kept(value)}


def price(loaded: Loaded) -> Named:
    """Value of thing `price:…` (a plan too): its names, which alone can change."""
    return kept(Named(name=loaded["nickname"], lookup=loaded["lookup_key"]))


def product(loaded: Loaded) -> Named:
    """Value of thing `product:…`."""
    return kept(Named(name=loaded["name"]))


def essence(value: Value) -> dict[str, Any]:
    """What of a *value* every version of Stripe's API shows alike.

    Where a period's end stands has changed with 2025-03-31, and what of a discount is
    shown with it and with 2025-09-30; so of these only the end itself and the ids.
    """
    items = value.get("items", ())
    ends = [part["ends"] for part in (*items, value) if "ends" in part]
    kinds = {"ends", "single", "start", *(TERMS if "coupon" in value else ())}
    found = {key: told for key, told in value.items() if key not in kinds}
    found["ends"] = min(ends, default=None)
    if items:
        found["items"] = [_bare({k: i[k] for k in i if k != "ends"}) for i in items]
    return _bare(found)


def _bare(part: dict[str, Any]) -> dict[str, Any]:
    """With the ids of its discounts alone, where these have some."""
    if "discounts" not in part:
        return part
    ids = [one.get("id") or one for one in part["discounts"]]
    return {**part, "discounts": ids}


def _items(loaded: Loaded) -> tuple[list[Loaded], bool]:
    """Items, and whether there are more than these (or any at all) to be known of.

    Before items existed, a subscription was one plan and one quantity.
    """
    page = loaded["items"]
    if page and page["data"]:
        return page["data"], bool(page["has_more"])
    if loaded["plan"] is None:
        return [], page is None
    alone = {"plan": loaded["plan"], "quantity": loaded["quantity"]}
    return [ITEM.load(alone)], False


def _terms(item: Loaded, loaded: Loaded) -> Loaded | None:
    """Price of an item: its own, else its plan, else the plan of a lone item."""
    if item["price"] is not None:
        price: Loaded = item["price"]
        return price
    plan = item["plan"]
    if plan is None and len((loaded["items"] or {}).get("data") or ()) <= 1:
        plan = loaded["plan"]
    return None if plan is None else PRICE.load(plan)


def _item(item: Loaded, price: Loaded | None, currency: str | None) -> Item:
    """One item; without a price only what the item itself says."""
    value: Item = {
        **(_priced(price, currency) if price else Item()),
        "quantity": _but(1, item["quantity"]),
        "ends": item["current_period_end"],
        "tax": _inclusive(item["tax_rates"]) or (["0"] if item["tax_rates"] else []),
        "discounts": _discounts(item),
    }
    return kept(value)


def _when(condition: Any, value: Any) -> Any:
    """The *value* where the *condition* holds; else None, which is left out."""
    return value if condition else None


def _but(usual: Any, value: Any) -> Any:
    """The *value* where it is not the *usual* one, which is left out."""
    return _when(value != usual, value)


def _priced(price: Loaded, currency: str | None) -> Item:
    """What a price says; nothing of amounts where they are in another currency.

    A price may have amounts in several currencies, of which an event shows the price's
    own only: https://docs.stripe.com/products-prices/pricing-model#multicurrency
    """
    recurring = price["recurring"] or price
    product = price["product"] or {"id": None, "name": None}
    known = price["currency"] in {None, currency}
    return {
        "price": price["id"],
        "product": product["id"],
        "name": price["nickname"],
        "product_name": product["name"] or price["name"],
        "lookup": price["lookup_key"],
        "unit": _when(known, _amount(price, "unit_amount", "amount")),
        "interval": recurring["interval"],
        "count": _but(1, recurring["interval_count"]),
        "usage": _but("licensed", recurring["usage_type"]),
        "one_time": price["type"] == "one_time",
        "scheme": _but("per_unit", price["billing_scheme"]),
        "tiers_mode": price["tiers_mode"],
        "tiers": [_tier(tier) for tier in price["tiers"] or () if known],
        "package": _package(price["transform_quantity"] or price["transform_usage"]),
        "inclusive": price["tax_behavior"] == "inclusive",
    }


def _amount(loaded: Loaded, *names: str) -> Any:
    """Return the first amount that is given, exact before rounded."""
    keys = (key for name in names for key in (f"{name}_decimal", name))
    return next((loaded[key] for key in keys if loaded[key] is not None), None)


def _tier(tier: Loaded) -> Tier:
    unit, flat = _amount(tier, "unit_amount", "amount"), _amount(tier, "flat_amount")
    return {"up_to": tier["up_to"], **kept(Tier(up_to=None, unit=unit, flat=flat))}


def _package(package: Loaded | None) -> Any:
    """How units are sold in packages; what is not told of it stays None."""
    return package and Package(by=package["divide_by"], round=package["round"])


def _discounts(loaded: Loaded) -> list[Discount]:
    """Discounts in Stripe's order; where one is told twice, the fuller telling."""
    told = list(loaded["discounts"] or ())
    if loaded.get("discount") is not None:
        told.append(loaded["discount"])
    found: dict[Any, Discount] = {}
    for one in told:
        value = _discount(one)
        key = one["id"] or len(found)
        if len(value) >= len(found.get(key, ())):
            found[key] = value
    return [value for value in found.values() if value]


def _discount(discount: Loaded) -> Discount:
    """A discount; without its terms it says when it began, which tells whose they are."""
    coupon: Any = discount["coupon"] or (discount["source"] or {}).get("coupon") or {}
    value: Discount = {
        "id": discount["id"],
        "coupon": coupon.get("id"),
        "start": _when(not coupon.get("duration"), discount["start"]),
        "ends": discount["end"],
    }
    return {**kept(value), **terms_of(coupon)}


def terms_of(coupon: Loaded) -> Terms:
    """Value of thing `coupon:…`: what it takes off, and of what.

    `products` is [] where it is for all. Without it nobody has told: Stripe shows `applies_to` only where it is asked
    to expand it, and so in no event (https://docs.stripe.com/api/coupons/object).
    """
    amount = coupon.get("amount_off")
    products = (coupon.get("applies_to") or {}).get("products")
    terms: Terms = {
        "percent": coupon.get("percent_off"),
        "amount": amount,
        "currency": _when(amount, coupon.get("currency")),
        "duration": coupon.get("duration"),
    }
    limited: Terms = {} if products is None else {"products": products}
    return {**kept(terms), **limited}


def _inclusive(rates: Iterable[Loaded] | None) -> list[str | None]:
    """Percentages that are part of the price; what is added to it is no matter.

    None of a rate that does not say how much it is, or whether it is part of the price.
    """
    return [
        rate["percentage"] if rate["inclusive"] else None
        for rate in rates or ()
        if rate["inclusive"] is not False
    ]
