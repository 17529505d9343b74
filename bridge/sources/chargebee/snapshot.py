"""How a customer or subscription becomes the small value that a fact carries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bridge.sources.chargebee.schemas import STATUSES
from bridge.webhook.values import kept, milliseconds

Loaded = Mapping[str, Any]
"""What a schema of this source returns."""


def customer(loaded: Loaded) -> dict[str, Any]:
    """Value of thing `customer`, whose account is told apart."""
    person = (loaded["first_name"] or "", loaded["last_name"] or "")
    return kept(
        name=(loaded["company"] or "").strip() or " ".join(person).strip(),
        email=loaded["email"],
        deleted=loaded["deleted"],
    )


def subscription(loaded: Loaded, *, recounted: bool) -> dict[str, Any]:
    """Value of thing `subscription:…` as it was at its version.

    *recounted*: Chargebee has just counted its MRR, so that 0 is no gap.
    """
    status = "canceled" if loaded["deleted"] else STATUSES[loaded["status"]]
    at = loaded["version"]
    stopped = milliseconds(loaded["cancelled_at"])
    ends = milliseconds(_ends(loaded))
    is_over = status == "canceled"
    if not is_over and (stopped or 0) <= at:
        stopped = ends if loaded["status"] == "non_renewing" else None
    return kept(
        status=status,
        currency=loaded["currency_code"],
        **_money(loaded, recounted=recounted),
        ends=ends,
        trial_end=milliseconds(loaded["trial_end"]),
        cancel_at=None if is_over else stopped,
        ended_at=min(stopped or at, at) if is_over else None,
    )


def _ends(loaded: Loaded) -> int | None:
    """When it renews: with its contract, else its next bill, else its term."""
    contract = loaded["contract_term"] or {}
    if contract.get("status") == "active" and contract["contract_end"]:
        return int(contract["contract_end"])
    found: int | None = loaded["next_billing_at"] or loaded["current_term_end"]
    return found


def _money(loaded: Loaded, *, recounted: bool) -> dict[str, Any]:
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
    """Recurring items; the plan alone has a name."""
    rhythm = {
        "interval": loaded["billing_period_unit"],
        "count": loaded["billing_period"],
    }
    if loaded["plan_id"]:
        own = {k: loaded[f"plan_{k}"] for k in ("quantity", "unit_price", "amount")}
        yield kept(name=loaded["plan_id"], **_amount(own), **rhythm)
    for item in loaded["addons"] or ():
        yield kept(**_amount(item), **rhythm)
    for item in loaded["subscription_items"] or ():
        if item["item_type"] != "charge":
            name = item["item_price_id"] if item["item_type"] == "plan" else None
            usage = None if item["metered_quantity"] is None else "metered"
            yield kept(name=name, usage=usage, **_amount(item), **rhythm)


def _amount(item: Loaded) -> dict[str, Any]:
    """The total of an item, else its price and quantity."""
    if item["amount"] is not None:
        return {"unit": item["amount"]}
    quantity = item["quantity"]
    return {"unit": item["unit_price"], "quantity": None if quantity == 1 else quantity}
