"""How a customer or subscription becomes the small value that a fact carries."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from bridge.domain.values import Customer, Subscription
from bridge.sources.chargebee.schemas import STATUSES
from bridge.webhook.values import kept

Loaded = Any
"""What a schema of this source returns: a mapping with a key for each field."""


def customer(loaded: Loaded) -> Customer:
    """Value of thing `customer`, whose account is told apart."""
    person = filter(None, (loaded["first_name"], loaded["last_name"]))
    name = loaded["company"] or " ".join(person)
    email, deleted = loaded["email"], loaded["deleted"]
    return kept(Customer(name=name, email=email, deleted=deleted))


def subscription(loaded: Loaded, *, recounted: bool) -> Subscription:
    """Value of thing `subscription:…` as it was at its version.

    *recounted*: Chargebee has just counted its MRR, so that 0 is no gap.
    """
    status = "canceled" if loaded["deleted"] else STATUSES[loaded["status"]]
    at, is_over, ends = loaded["version"], status == "canceled", _ends(loaded)
    ended: Any = min(loaded["cancelled_at"] or at, at) if is_over else None
    stops: Any = None if is_over else _stops(loaded, ends)
    money = _money(loaded, recounted=recounted)
    value: Subscription = {
        "status": status,
        "currency": loaded["currency_code"],
        "mrr": money.get("mrr"),
        "plan": money.get("plan"),
        "items": money.get("items"),
        "discounts": money.get("discounts"),
        "ends": ends,
        "no_renewal": not is_over and _pauses(loaded, ends),
        "trial_end": loaded["trial_end"],
        "cancel_at": stops,
        "ended_at": ended,
    }
    return kept(value)


def _pauses(loaded: Loaded, ends: Any) -> bool:
    """Whether a pause to come begins before the renewal: nothing is billed then."""
    pause = loaded["pause_date"]
    if pause is None or ends is None:
        return False
    return bool(loaded["version"] < pause <= ends)


def _stops(loaded: Loaded, ends: Any) -> Any:
    """When what is not over will end (ms): as scheduled, or with its contract."""
    at, stopped = loaded["version"], loaded["cancelled_at"]
    if (stopped or 0) <= at:
        stopped = ends if loaded["status"] == "non_renewing" else None
    contract = _contract(loaded) or {}
    with_it = contract.get("action_at_term_end") == "cancel"
    last = contract["contract_end"] if with_it else None
    return min((end for end in (stopped, last) if end is not None), default=None)


def _ends(loaded: Loaded) -> Any:
    """When it renews (ms): with its contract, else its next bill, else its term.

    Where items have their own, the earliest of those that are no usage.
    """
    contract, items = _contract(loaded), loaded["subscription_items"] or ()
    if contract is not None:
        return contract["contract_end"]
    own = [_renews(item) for item in items if _is_licensed(item)]
    return min((end for end in own if end is not None), default=_renews(loaded))


def _contract(loaded: Loaded) -> Any:
    """The contract term that holds, if its end is told."""
    found: Loaded = loaded["contract_term"] or {}
    is_active = found.get("status") == "active" and found["contract_end"]
    return found if is_active else None


def _renews(told: Loaded) -> Any:
    """The end of an item's or subscription's own period."""
    return told["next_billing_at"] or told["current_term_end"]


def _is_licensed(item: Loaded) -> bool:
    """Whether an item is neither paid once nor usage."""
    return item["item_type"] != "charge" and item["metered_quantity"] is None


def _money(loaded: Loaded, *, recounted: bool) -> Any:
    """The MRR that Chargebee says, else the items that it can be counted from.

    Chargebee counts after the event: until then 0 stands where there is a price.
    """
    items = list(_items(loaded))
    said = loaded["mrr"]
    if said is not None and (recounted or said != "0"):
        return {"mrr": said, "plan": ", ".join(i["name"] for i in items if "name" in i)}
    told = [*(loaded["coupons"] or ()), *(loaded["discounts"] or ())]
    discounts = [{"id": one["coupon_id"] or one["id"]} for one in told]
    # Without any item nothing is known, which is not nothing.
    return {"items": items or [{}], "discounts": discounts}


def _items(loaded: Loaded) -> Iterator[dict[str, Any]]:
    """Recurring items; the plan alone has a name. Without items there is a plan."""
    if loaded["plan_id"] or not loaded["subscription_items"]:
        names = ("quantity", "free_quantity", "unit_price", "amount")
        own = {name: loaded[f"plan_{name}"] for name in names}
        yield kept(name=loaded["plan_id"], **_amount(own), **_rhythm(loaded))
    for item in loaded["addons"] or ():
        yield _item(item, loaded)
    for item in loaded["subscription_items"] or ():
        if item["item_type"] != "charge":
            yield _item(item, loaded)


def _item(item: Loaded, loaded: Loaded) -> dict[str, Any]:
    """An item or addon; what it pays after a trial of its own is not known before."""
    is_plan = item["item_type"] == "plan"
    has_own = item["billing_period"] or item["billing_period_unit"]
    in_trial = (item["trial_end"] or 0) > loaded["version"]
    own = None if _contract(loaded) else _renews(item)
    return kept(
        name=item["item_price_id"] if is_plan else None,
        usage=None if item["metered_quantity"] is None else "metered",
        ends=own,
        **({} if in_trial and not is_plan else _amount(item)),
        **_rhythm(item if has_own else loaded),
    )


def _rhythm(told: Loaded) -> dict[str, Any]:
    """How often an item, or a whole subscription, is paid; half of it is nothing."""
    unit, period = told["billing_period_unit"], told["billing_period"]
    return {"interval": unit, "count": period} if unit and period else {}


def _amount(item: Loaded) -> dict[str, Any]:
    """The total of an item, else its price and the quantity that is not free.

    https://apidocs.chargebee.com/docs/api/subscriptions: `amount` is what comes of price,
    quantity, free quantity and tiers.
    """
    if item["amount"] is not None:
        return {"unit": item["amount"]}
    if item["quantity"] is None:
        return {}
    quantity = max(0, item["quantity"] - (item["free_quantity"] or 0))
    return {"unit": item["unit_price"], "quantity": None if quantity == 1 else quantity}
