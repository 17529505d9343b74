"""The cases of `tests/cases` in Stripe's words: their events, and the traits they mean.

How a case is written: `tests/cases/README.md`.
"""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bridge.domain.traits import OPTIONAL

Case = Mapping[str, Any]
Json = dict[str, Any]

FOLDER = Path(__file__).parents[1] / "cases"
DAY_0 = datetime(2026, 11, 1, tzinfo=UTC)
BOTH = "both"
"""A rendering that is two: endpoints of two versions are sent each event twice."""

VERSIONS = {"plan": "2016-07-06", "price": "2020-08-27", "items": "2025-03-31.basil"}

NOT_IN_PLANS = {"discounts", "one_time", "package", "tax", "tax_behavior"}
"""Keys of an item that a rendering from before prices cannot carry."""

INSTANTS = {"nextRenewalDate", "churnedAt", "trialEndDate", "cancelAt"}
INSTANTS |= {"startedAt", "pastDueSince", "forecastAt"}
INSTANTS |= {"paymentFailedAt", "paymentRetryAt", "firstPaidAt", "lastPaidAt"}
EVENT = {"type": "subscription.updated", "livemode": True, "account": None}
EVENT |= {"previous": None}
"""What an event says of itself alone, where the case does not."""

DAYS = ("trial_end", "cancel_at", "ended_at", "canceled_at", "start_date")
OBJECT_DAYS = ("created", "start", "end", "next_payment_attempt", "paid_at")


@cache
def cases_of(path: Path) -> list[Case]:
    """The cases of one file."""
    found: list[Case] = tomllib.loads(path.read_text(encoding="utf-8"))["case"]
    return found


def every() -> Iterator[tuple[Case, str]]:
    """Each case of Stripe's files with each rendering that can carry it."""
    for path in sorted(FOLDER.glob("stripe*.toml")):
        for case in cases_of(path):
            for rendering in renderings(case):
                yield case, rendering


def in_turn() -> Iterator[tuple[Case, str]]:
    """Each case once; each next one in the next rendering."""
    every_one = {case["name"]: case for case, _ in every()}.values()
    for turn, case in enumerate(every_one):
        told = renderings(case)
        yield case, told[turn % len(told)]


def parameters(told: Iterable[tuple[Case, str]]) -> list[Any]:
    """Such pairs for a test, named."""
    return [
        pytest.param(case, rendering, id=f"{case['name']} [{rendering}]")
        for case, rendering in told
    ]


def expected(case: Case) -> Json:
    """The traits that the case is about, in Vitally's form."""
    return {trait: _value(trait, value) for trait, value in case["traits"].items()}


def use(case: Case) -> frozenset[str]:
    """The optional traits that the case is about."""
    return frozenset(OPTIONAL.keys() & case["traits"].keys())


def _value(trait: str, value: Any) -> Any:
    if value == "null":
        return None
    if trait in INSTANTS and value != "left out":
        at = DAY_0 + timedelta(days=value)
        return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return value


# --- The maker: a case in Stripe's words ----------------------------------------


def seconds(day: float) -> int:
    return int((DAY_0 + timedelta(days=day)).timestamp())


def events(case: Case, rendering: str) -> Iterator[Json]:
    """The case's events, in the order in which they happened.

    Ids are in the opposite order, so that nothing can lean on them.
    """
    if rendering == BOTH:
        for old, new in zip(events(case, "price"), events(case, "items"), strict=True):
            yield from (old, new | {"data": _with_ids(new["data"])})
        return
    for n, (told, earlier) in enumerate(_told(case)):
        kind = told["type"]
        is_sub = kind.startswith("subscription.") and "object" not in told
        make = _raw if "object" in told else _subscription if is_sub else _customer
        now = make(told, rendering)
        data: Json = {"object": now}
        if earlier and kind.endswith(".updated"):
            data["previous_attributes"] = _previous(make(earlier, rendering), now)
        if told["previous"]:
            data["previous_attributes"] = told["previous"]
        prefix = "customer." if is_sub else ""
        yield {
            "id": f"evt_{900 - n}",
            "object": "event",
            "api_version": VERSIONS[rendering],
            "created": seconds(told["day"]),
            "livemode": told["livemode"],
            "account": told["account"],
            "type": prefix + kind,
            "data": data,
        }


def _with_ids(data: Json) -> Json:
    """The same with the ids of its discounts alone, as since 2025-03-31, without tiers."""
    data = copy.deepcopy(data)
    for part in data.values():
        for item in part.get("items", {}).get("data", ()):
            item["price"].pop("tiers", None)
    return {
        key: part | {"discounts": [_id_of(one) for one in part["discounts"]]}
        if isinstance(part, dict) and "discounts" in part
        else part
        for key, part in data.items()
    }


def _id_of(discount: Any) -> Any:
    return discount["id"] if isinstance(discount, dict) else discount


def _told(case: Case) -> Iterator[tuple[Json, Json]]:
    """All that is true at each event, and all that was before of the same object."""
    known: dict[str, Json] = {}
    for told in case["events"]:
        earlier = known.get(_id(told), {})
        known[_id(told)] = earlier | EVENT | told
        yield known[_id(told)], earlier


def _id(told: Case) -> str:
    if "object" in told:
        return f"{told['type'].rpartition('.')[0]}:{told['object']['id']}"
    customer = str(told.get("customer", "cus_1"))
    is_sub = str(told.get("type", "subscription.")).startswith("subscription.")
    return str(told.get("id", "sub_1")) if is_sub else customer


def _raw(told: Case, rendering: str) -> Json:
    """An object of another kind, as the case writes it, its instants in days."""
    return _dated(told["object"])


def _dated(given: Json) -> Json:
    """An object whose instants were in days."""
    instants = {key: _day(given.get(key)) for key in OBJECT_DAYS}
    inner = {key: _dated(one) for key, one in given.items() if isinstance(one, dict)}
    return {
        **{key: None if one == "null" else one for key, one in given.items()},
        **inner,
        **{key: at for key, at in instants.items() if at is not None},
    }


def _previous(before: Json, now: Json) -> Json:
    """What changed, as it was: objects key by key, lists whole."""
    return {
        key: _previous(old, now[key])
        if isinstance(old, dict) and isinstance(now.get(key), dict)
        else old
        for key, old in (dict.fromkeys(now) | before).items()
        if old != now.get(key)
    }


def _picked(told: Case, *keys: str) -> Json:
    found = {key: told[key] for key in keys if key in told}
    return {key: None if value == "null" else value for key, value in found.items()}


def _customer(told: Case, rendering: str) -> Json:
    own = _picked(told, "name", "email", "metadata", "balance", "invoice_settings")
    own |= _picked(told, "default_card")
    own |= {"currency": told["holds"]} if "holds" in told else {}
    return {"id": _id(told), "object": "customer", **own, **_discounts(told, rendering)}


def _subscription(told: Case, rendering: str) -> Json:
    items = [_item(item, told, rendering) for item in told.get("items", ())]
    ends = [item["ends"] for item in told.get("items", ()) if "ends" in item]
    on_items = rendering == "items"
    return {
        "id": _id(told),
        "object": "subscription",
        "customer": told.get("customer", "cus_1"),
        "status": told["status"],
        "cancel_at_period_end": told.get("cancel_at_period_end", False),
        "items": {"object": "list", "data": items, "has_more": told.get("more", False)},
        "default_tax_rates": _taxes(told),
        **({"currency": told.get("currency", "usd")} if on_items else {}),
        **{key: _day(told.get(key)) for key in DAYS},
        **({} if on_items or not ends else {"current_period_end": seconds(min(ends))}),
        **_picked(told, "metadata", "pause_collection", "automatic_tax"),
        **_picked(told, "schedule", "pending_update", "cancellation_details"),
        **_collection(told, rendering),
        **_picked(told, "default_payment_method"),
        **_discounts(told, rendering),
    }


def _day(day: float | str | None) -> int | None:
    return seconds(day) if isinstance(day, int | float) else None


def _collection(told: Case, rendering: str) -> Json:
    """How it is paid: until 2019 its name was `billing`."""
    name = "billing" if rendering == "plan" else "collection_method"
    return {name: told["collection_method"]} if "collection_method" in told else {}


def _item(item: Case, told: Case, rendering: str) -> Json:
    on_items = rendering == "items" and "ends" in item
    price = _price(item, item.get("currency", told.get("currency", "usd")))
    return {
        "id": "si_1",
        "object": "subscription_item",
        **_picked(item, "quantity"),
        **({"current_period_end": seconds(item["ends"])} if on_items else {}),
        **({"plan": _plan(price)} if rendering == "plan" else {"price": price}),
        **({} if rendering == "plan" else {"tax_rates": _taxes(item)}),
        **(_discounts(item, rendering) if rendering == "items" else {}),
    }


def _price(item: Case, currency: str) -> Json:
    unit = item.get("unit")
    recurring = {
        "interval": item.get("every", "month"),
        "interval_count": item.get("count", 1),
        "usage_type": item.get("usage", "licensed"),
    }
    return {
        "id": item.get("price", "price_1"),
        "object": "price",
        "currency": currency,
        "nickname": item.get("name"),
        "product": None
        if item.get("product") == "null"
        else item.get("product", "prod_1"),
        "lookup_key": item.get("lookup"),
        "unit_amount": unit if isinstance(unit, int) else None,
        "unit_amount_decimal": None if unit is None else str(unit),
        "billing_scheme": item.get("scheme", "per_unit"),
        "transform_quantity": item.get("package"),
        "type": "one_time" if item.get("one_time") else "recurring",
        "recurring": None if item.get("one_time") else recurring,
        **_picked(item, "tax_behavior", "tiers", "tiers_mode", "metadata"),
    }


def _plan(price: Json) -> Json:
    """The older form of a price: its interval stands on itself."""
    names = {"unit_amount": "amount", "unit_amount_decimal": "amount_decimal"}
    kept = ("id", "currency", "nickname", "product", "billing_scheme")
    renamed = {new: price[old] for old, new in names.items()}
    tiers = _picked(price, "tiers", "tiers_mode", "metadata")
    return {key: price[key] for key in kept} | renamed | tiers | price["recurring"]


def _taxes(told: Case) -> list[Json]:
    return [{"percentage": rate, "inclusive": True} for rate in told.get("tax", ())]


def _discounts(told: Case, rendering: str) -> Json:
    """One object where Stripe had one, else a list with the coupon as a source."""
    given = told.get("discounts", ())
    if rendering != "items":
        return {"discount": {"id": "di_0", "coupon": given[0]} if given else None}
    return {
        "discounts": [
            one
            if isinstance(one, str)
            else {"id": f"di_{n}", "source": {"type": "coupon", "coupon": one}}
            for n, one in enumerate(given)
        ]
    }


# --- Which rendering can carry which case ----------------------------------------


def renderings(case: Case) -> list[str]:
    """The renderings that can carry all of the case's events."""
    told = [now for now, _ in _told(case)]
    every = [r for r in VERSIONS if r == "items" or all(_fits(t, r) for t in told)]
    found = list(case.get("renderings", every))
    return [*found, BOTH] if {"price", "items"} <= set(found) else found


def _fits(told: Case, rendering: str) -> bool:
    items = told.get("items", ())
    given = told.get("discounts", ())
    rhythms = {(item.get("every"), item.get("count")) for item in items}
    keys = {key for item in items for key in item}
    forbidden = NOT_IN_PLANS if rendering == "plan" else {"discounts"}
    told_once = len(given) <= 1 and not any(isinstance(one, str) for one in given)
    modern = rendering == "plan" and {"tax", "automatic_tax"} & set(told)
    empty = rendering != "items" and not items and "status" in told
    return told_once and len(rhythms) <= 1 and not (keys & forbidden or modern or empty)
