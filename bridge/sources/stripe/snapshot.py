"""The values of facts about customers, subscriptions and everything that belongs to them.

Only JSON types: money is decimal text in minor units, instants are milliseconds since the
epoch (UTC). None, False, empty values and unknown things are left out; nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from marshmallow import ValidationError

from bridge.domain.forecast import wanted
from bridge.domain.values import (
    DUE,
    ENDED,
    LONGEST,
    TERMS,
    Billing,
    Coupon,
    Customer,
    Discount,
    InvoiceStep,
    Item,
    Named,
    Names,
    Package,
    Subscription,
    Terms,
    Tier,
    Trait,
    Value,
)
from bridge.sources.crm import TraitMapping
from bridge.sources.stripe.schemas import ITEM, PRICE, SCHEDULE
from bridge.webhook.fields import UNREAD, Label, UnixTime, cleaned
from bridge.webhook.values import kept, month_end, unless

Loaded = Any
"""What a schema of this source returns: a mapping with a key per field."""

NOTHING: Loaded = {}
NO_PRICE: Loaded = dict.fromkeys(PRICE.fields)


OF = "organization", "head"
"""Kinds of places on a customer that name its organization, not its account. The second:
the customer that it is named after is no account."""


class Place(NamedTuple):
    """A place that names an account: a kind of object, and its field or metadata *key*."""

    kind: str
    field: str
    key: str | None = None


Places = tuple[Place, ...]
"""From the strongest to the weakest."""


class Keeps(NamedTuple):
    """What is kept beside the usual: for optional traits in *use*, and own *traits*."""

    use: Collection[str] = ()
    traits: Mapping[str, TraitMapping] = {}

    def of(self, kind: str, loaded: Loaded) -> dict[str, Any]:
        """The own traits that the metadata of an object of this *kind* tells.

        None: it has no such key. A value of another type than it should be is left out.
        """
        found: dict[str, Any] = {}
        for name, mapping in self.traits.items():
            of, _, key = mapping.field.partition(".metadata.")
            if of == kind and isinstance(metadata := loaded.get("metadata"), dict):
                with suppress(ValueError):
                    if isinstance(text := metadata.get(key, ""), str):
                        found[name] = mapping.convert(cleaned(text))
        return found


NO_MORE = Keeps()


def owner(loaded: Loaded) -> str | None:
    """Return the customer of an object, else its account (Accounts v2)."""
    customer: str | None = loaded["customer"] or loaded["customer_account"]
    return customer


def account(kind: str, loaded: Loaded, of: str | None, places: Places) -> Names:
    """The account that an object of *kind* (of customer *of*) names; the first place wins."""
    for rank, place in enumerate(places):
        name: Any = None
        if place.kind in OF:
            continue
        if place.field == "id":
            name = of
        elif place.kind == kind:
            metadata = loaded["metadata"] or {}
            name = metadata.get(place.key) if place.key else loaded[place.field]
            name = name.strip() if isinstance(name, str) else None
        if name:
            usual = 0 if kind == "customer" or (rank == 0 and name == of) else 1
            names = Names(account=name)
            return names if rank == usual else {**names, "rank": rank}
    return {}


def organization(loaded: Loaded, places: Places) -> Names:
    """The organization that a customer names; the first place wins."""
    for place in places:
        if place.kind in OF:
            told = (loaded["metadata"] or {}).get(place.key)
            name = loaded["id"] if place.field == "id" else told
            if isinstance(name, str) and (name := name.strip()):
                is_head = place.kind == OF[1] and name == loaded["id"]
                return kept(Names(organization=name, head=is_head))
    return {}


def customer(loaded: Loaded, places: Places, *, deleted: bool = False) -> Customer:
    """Value of thing `customer`."""
    value: Customer = {
        "name": loaded["name"],
        "email": loaded["email"],
        "deleted": deleted,
        "discounts": _discounts(loaded),
    }
    names = account("customer", loaded, loaded["id"], places)
    return {**names, **organization(loaded, places), **kept(value)}


def trait(loaded: Loaded, name: str, keeps: Keeps) -> Trait:
    """Value of thing `trait:…` of a customer; {}: it is not one of a customer."""
    is_own = keeps.traits[name].field.startswith("customer.")
    if not is_own or loaded["metadata"] is None:
        return {}
    found = keeps.of("customer", loaded)
    return {"is": found[name]} if name in found else {"bad": keeps.traits[name].kind}


def subscription(
    loaded: Loaded, places: Places, *, deleted_at: Any = None, keeps: Keeps = NO_MORE
) -> Subscription:
    """Value of thing `subscription:…`; *deleted_at* of a deletion's event.

    *keeps*: what is kept of it beside that.

    Raises ValidationError if the plan of an item without a price is invalid.
    """
    page = loaded["items"] or {"data": [], "has_more": True}
    items, more = page["data"], page["has_more"]
    if not items and loaded["plan"] is not None:
        # Before items existed, a subscription was one plan and one quantity.
        alone = {"plan": loaded["plan"], "quantity": loaded["quantity"]}
        items, more = [ITEM.load(alone)], False
    spare = loaded["plan"] if len(items) <= 1 else None
    prices = [_price(item, spare) for item in items]
    of_prices = (price["currency"] for price in prices if price["currency"])
    currency: Any = loaded["currency"] or next(of_prices, None)
    pairs = zip(items, prices, strict=True)
    value: Subscription = {
        "status": loaded["status"] if deleted_at is None else "canceled",
        "currency": currency,
        "items": [_item(*pair, currency, keeps) for pair in pairs],
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
        "automatic_tax": (loaded["automatic_tax"] or NOTHING).get("enabled"),
        "details": keeps.of("subscription", loaded)
        | (wanted(_details(loaded, currency), keeps.use) if keeps.use else {}),
    }
    return {**account("subscription", loaded, owner(loaded), places), **kept(value)}


def _details(loaded: Loaded, currency: str | None) -> Iterator[tuple[str, Any]]:
    """What a subscription tells of optional traits, in every version (`billing`: to 2019).

    The reason is the customer's own (`feedback`), else Stripe's:
    https://docs.stripe.com/api/subscriptions/object#subscription_object-cancellation_details
    """
    at = (UnixTime().read(loaded[key]) for key in ("start_date", "created"))
    started = next((one for one in at if one is not UNREAD), None)
    if started is not None:
        yield "startedAt", started
    if method := Label().read(loaded["collection_method"] or loaded["billing"]):
        yield "collectionMethod", method
    with suppress(ValidationError):
        yield "schedule", _scheduled(loaded, currency)
    why = loaded["cancellation_details"]
    if isinstance(why, dict):
        reasons = (Label().read(why.get(key)) for key in ("feedback", "reason"))
        yield "cancelReason", next(filter(None, reasons), None)
        if isinstance(text := why.get("comment") or "", str):
            yield "cancelComment", cleaned(text, LONGEST) or None


def _scheduled(loaded: Loaded, currency: str | None) -> dict[str, Any]:
    """What will change by a schedule, if it was read. Raises ValidationError.

    A pending update changes nothing before it applies: it waits for a payment, and is
    dropped without one (https://docs.stripe.com/billing/subscriptions/pending-updates).
    """
    whole = loaded["schedule"]
    if not isinstance(whole, dict):
        return {"unread": f"its schedule {whole} was not read"} if whole else {}
    schedule = SCHEDULE.load(whole)
    if schedule["status"] not in {"active", "not_started"}:
        return {}
    now = (schedule["current_phase"] or {}).get("start_date") or 0
    phases = [one for one in schedule["phases"] or () if one["start_date"]]
    later = [
        {**_phase(one, currency, one["start_date"]), "discounts": _discounts(one)}
        for one in phases
        if one["start_date"] > now
    ]
    ends = phases and schedule["end_behavior"] == "cancel"
    return {"phases": later, "ends": phases[-1]["end_date"] if ends else None}


def _phase(phase: Loaded, currency: str | None, start: int) -> dict[str, Any]:
    """What a subscription pays from *start* on (ms); nothing during a trial."""
    own = {"tax": _inclusive(phase["default_tax_rates"]), "from": phase["trial_end"]}
    items = (_item(i, _price(i, None), currency) for i in phase["items"] or ())
    return {"from": start, "items": [{**item, **kept(own)} for item in items]}


def _price(item: Loaded, spare: Loaded | None) -> Loaded:
    """An item's price, else its plan, else the *spare* one, else an empty one.

    Before 2020-08-27 the plan alone tells the tiers, beside a price too
    (https://docs.stripe.com/changelog/2020-08-27/deprecates-auto-expansion-plan-tiers).
    """
    price, plan = item["price"], spare if item["plan"] is None else item["plan"]
    if price is None:
        return NO_PRICE if plan is None else PRICE.load(plan)
    if price["billing_scheme"] == "tiered" and not price["tiers"]:
        with suppress(ValidationError):
            return {**price, "tiers": PRICE.load(plan)["tiers"]}
    return price


def _item(
    item: Loaded, price: Loaded, currency: str | None, keeps: Keeps = NO_MORE
) -> Item:
    """One item; without amounts if its price has them in another *currency* alone.

    A price may have amounts in several currencies; an event contains only the price's
    own: https://docs.stripe.com/products-prices/pricing-model#multicurrency
    """
    other: Any = currency if price["currency"] not in {None, currency} else None
    amounts: Any = (price["currency_options"] or {}).get(other) if other else price
    product, recurring = price["product"] or NOTHING, price["recurring"] or price
    package = price["transform_quantity"] or price["transform_usage"]
    value: Item = {
        "price": price["id"],
        "product": product.get("id"),
        "name": price["nickname"],
        "product_name": product.get("name") or price["name"],
        "lookup": price["lookup_key"],
        "unit": amounts and _unit(amounts),
        "quantity": unless(1, item["quantity"]),
        "interval": recurring["interval"],
        "count": unless(1, recurring["interval_count"]),
        "ends": item["current_period_end"],
        "usage": unless("licensed", recurring["usage_type"]),
        "one_time": price["type"] == "one_time",
        "scheme": unless("per_unit", price["billing_scheme"]),
        "tiers_mode": price["tiers_mode"],
        "tiers": [_tier(tier) for tier in price["tiers"] or () if not other],
        "package": package and Package(by=package["divide_by"], round=package["round"]),
        "priced_as": other and f"{price['id']}:{other}",
        "inclusive": (amounts or price)["tax_behavior"] == "inclusive",
        "tax": _inclusive(item["tax_rates"]) or (["0"] if item["tax_rates"] else []),
        "discounts": _discounts(item),
        "details": keeps.of("price", price) | keeps.of("product", product),
    }
    return kept(value)


def _unit(priced: Loaded) -> Any:
    """The cost of one unit; the exact amount, if there is one, before the rounded."""
    exact, rounded = priced["unit_amount_decimal"], priced["unit_amount"]
    return exact or rounded or priced["amount_decimal"] or priced["amount"]


def _tier(tier: Loaded) -> Tier:
    flat = tier["flat_amount_decimal"] or tier["flat_amount"]
    value: Tier = {"up_to": tier["up_to"], "unit": _unit(tier), "flat": flat}
    return {**kept(value), "up_to": tier["up_to"]}


def _inclusive(rates: Iterable[Loaded] | None) -> list[str | None]:
    """Percentages of taxes that the price includes; others do not matter.

    None for a rate without a percentage, or if it is unknown whether it is included.
    """
    return [
        rate["percentage"] if rate["inclusive"] else None
        for rate in rates or ()
        if rate["inclusive"] is not False
    ]


def _discounts(loaded: Loaded) -> list[Discount]:
    """Discounts in Stripe's order; of duplicates, the more complete one."""
    fullest: dict[Any, Discount] = {}
    for one in (*(loaded["discounts"] or ()), loaded.get("discount")):
        if one is not None:
            value, key = _discount(one), one["id"] or len(fullest)
            if len(value) >= len(fullest.get(key, ())):
                fullest[key] = value
    return [value for value in fullest.values() if value]


def _discount(loaded: Loaded) -> Discount:
    """A discount; without terms it keeps its beginning, which identifies the coupon."""
    coupon = loaded["coupon"] or (loaded["source"] or NOTHING).get("coupon") or NOTHING
    start: Any = None if coupon.get("duration") else loaded["start"]
    value: Discount = {
        "id": loaded["id"],
        "coupon": coupon.get("id"),
        "start": start,
        "ends": loaded["end"],
    }
    return {**kept(value), **terms(coupon)}


def discount(
    loaded: Loaded, places: Places, *, start: Any, deleted: bool, replaces: Any
) -> Discount:
    """Value of thing `discount:…`, which began at *start*.

    If it belongs to neither a subscription nor an item, it is the whole customer's.
    """
    value: Discount = {
        "start": start,
        "subscription": loaded["subscription"],
        "item": loaded["subscription_item"],
        "replaces": replaces,
        "deleted": deleted,
    }
    names = account("discount", loaded, owner(loaded), places)
    return {**names, **_discount(loaded), **kept(value)}


def terms(coupon: Loaded) -> Terms:
    """What a coupon takes off, and from which products.

    `products` is [] if it applies to all. If it is left out, it is unknown: Stripe sends
    `applies_to` only on request, and so in no event
    (https://docs.stripe.com/api/coupons/object).
    """
    amount = coupon.get("amount_off")
    value: Terms = {
        "percent": coupon.get("percent_off_precise") or coupon.get("percent_off"),
        "amount": amount,
        "currency": amount and coupon.get("currency"),
        "duration": coupon.get("duration"),
    }
    products = (coupon.get("applies_to") or {}).get("products")
    return kept(value) if products is None else {**kept(value), "products": products}


def shared(
    kind: str, loaded: Loaded, keeps: Keeps = NO_MORE, *, created: Any, deleted: bool
) -> Coupon | Named:
    """Value of a `coupon`, a `price`, the `plan` that it also is, or a `product`, by its *kind*.

    For all but a coupon only the names, because only they can change. A plan does not
    tell the lookup key.
    """
    if kind == "coupon":
        return {**terms(loaded), **kept(Coupon(created=created, deleted=deleted))}
    value: Named = {
        "name": loaded.get("nickname") or loaded["name"],
        "lookup": loaded.get("lookup_key"),
        "created": created,
        "deleted": deleted,
        "details": keeps.of("price" if kind == "plan" else kind, loaded),
    }
    # Its place is version 1.0's: a row is the same only byte by byte.
    return kept(value) | {"lookup": value["lookup"]} if kind == "price" else kept(value)


def invoice(loaded: Loaded, at: int, *, failed: bool = False) -> InvoiceStep | None:
    """The step that an invoice has taken, as told *at* (ms); None: none that matters.

    *failed*: an attempt to charge it has just failed. Raises ValidationError without a
    status.
    """
    step = loaded["status"] or {True: "paid", False: "open"}.get(loaded["paid"])
    if step is None:
        raise ValidationError({"status": ["Neither status nor paid."]})
    if step == "open":
        step = "failed" if failed else "open" if loaded["attempt_count"] else DUE
    if step == "draft" or (step == DUE and loaded["amount_paid"] == "0"):
        return None
    paid_at = (loaded["status_transitions"] or NOTHING).get("paid_at")
    value: InvoiceStep = {"id": loaded["id"], "step": step, "at": paid_at or at}
    value |= {"currency": loaded["currency"], "amount": loaded["amount_paid"]}
    value["retry"] = loaded["next_payment_attempt"]
    return kept(value)


def billing(loaded: Loaded, *, deleted: bool = False) -> Billing:
    """Value of thing `billing`; of a subscription the method of payment alone."""
    if deleted:
        return {"balance": "0"}
    place = loaded if loaded["invoice_settings"] is None else loaded["invoice_settings"]
    ways = [place and place["default_payment_method"], loaded["default_source"]]
    method = next((w for w in [*ways, loaded["default_card"]] if w is not None), None)
    value: Billing = {} if method is None else {"method": method}
    if balance := loaded["balance"] or loaded["account_balance"]:
        value |= kept(Billing(balance=balance, currency=loaded["currency"]))
    return value


def method(loaded: Loaded) -> Billing:
    """Value of thing `method:…`; what is not a card does not expire."""
    card = loaded["card"] or loaded
    year, month = card["exp_year"], card["exp_month"]
    return {"expires": month_end(year, month)} if year and month else {}


def is_final(value: Value) -> bool:
    """Whether a thing with this *value* has ended for good."""
    return bool(value.get("deleted")) or value.get("status") in ENDED


def essence(value: Value) -> dict[str, Any]:
    """The part of a *value* that is equal in every version of Stripe's API.

    The place of a period's end changed with 2025-03-31, and the content of discounts then
    and with 2025-09-30. So only the end itself and the ids of discounts are included. Tiers
    came until 2020-08-27, and the API alone tells what a product does.
    """
    items = value.get("items", ())
    ends = [part["ends"] for part in (*items, value) if "ends" in part]
    hidden = {"ends", "details", "single", "start", "tiers"}
    hidden |= {"product_name", "priced_as", *(TERMS if "coupon" in value else ())}
    # Version 1.0 left it out, and told the same event without it.
    hidden |= {"lookup"} if value.get("lookup", "") is None else set()
    whole = {**_bare(value, hidden), "ends": min(ends, default=None)}
    if items:
        whole["items"] = [_bare(item, hidden - {"details"}) for item in items]
    # When it began never changes, and was not told in every version.
    whole |= kept({"details": _bare(value.get("details", {}), {"startedAt"})})
    return whole


def _bare(part: Value, hidden: set[str]) -> dict[str, Any]:
    """A *part* without the *hidden* keys, and with only the ids of its discounts."""
    shown = {key: value for key, value in part.items() if key not in hidden}
    if "discounts" in part:
        shown["discounts"] = [one.get("id") or one for one in part["discounts"]]
    return shown
