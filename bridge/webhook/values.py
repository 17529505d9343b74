"""What every source does to the small values that its facts carry."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from hashlib import blake2s
from typing import Any, TypeVar, overload

import orjson
from marshmallow import ValidationError

from bridge.domain.money import bridged
from bridge.domain.values import MOST, Subscription, Value
from bridge.webhook.fields import UNREAD, Currency


def is_bounded(value: Any) -> bool:
    """Whether all numbers in *value* are finite and at most MOST, either way."""
    if isinstance(value, Mapping):
        return all(map(is_bounded, value.values()))
    if isinstance(value, list | tuple):
        return all(map(is_bounded, value))
    # NaN is not between.
    return type(value) not in {int, float} or -MOST <= value <= MOST


def digest(value: Value) -> str:
    """Return 12 hexadecimal digits that stand for *value*, whatever its keys' order.

    Every fact's value comes by here. Raises ValidationError where it could not be kept,
    or not as it is: a number without bounds, text that is none.
    """
    if not is_bounded(value):
        raise ValidationError({"value": [f"It holds a number beyond {MOST}."]})
    try:
        told = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise ValidationError({"value": [f"It cannot be kept: {error}."]}) from None
    return blake2s(told, digest_size=6).hexdigest()


Told = TypeVar("Told", bound=Value)


@overload
def kept(told: Told, /) -> Told: ...
@overload
def kept(**told: Any) -> dict[str, Any]: ...
def kept(told: Value | None = None, /, **pairs: Any) -> Any:
    """What is told: None, False and empty are left out, 0 is not."""
    every = {**(told or {}), **pairs}
    return {key: value for key, value in every.items() if value or type(value) is int}


def won_deal(  # noqa: PLR0913 - what a deal says
    *,
    mrr: Decimal | None,
    currency: Any,
    at: int,
    renews: Any = None,
    ended: Any = None,
    plan: Any = None,
) -> Subscription | None:
    """What a deal of a CRM that is won is as a subscription, *at* its version (ms).

    None without an amount a month (*mrr*, major units): it was sold once. With an end
    (*ended*, ms) in the future it is live until then.
    """
    if not mrr:
        return None
    code = Currency().read(currency)
    known = "" if code is UNREAD else code
    minor = bridged(mrr, known).normalize()
    is_over = ended is not None and ended <= at
    value: Subscription = {
        "status": "canceled" if is_over else "active",
        "currency": known,
        # Also without a currency, when it is not known: a subscription that renews.
        "mrr": format(minor, "f"),
        "plan": plan,
        "ends": renews,
    }
    if is_over:
        value["ended_at"] = ended
    else:
        value["cancel_at"] = ended
    return kept(value)
