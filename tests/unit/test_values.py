"""Every fact that a source makes of its fixtures holds what `values` says of its kind."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import UnionType
from typing import (
    Any,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

import pytest

from bridge.domain import values
from bridge.domain.values import Item, Subscription, Tier

ROOT = Path(__file__).parents[2]
FACTS = sorted((ROOT / "bridge" / "sources").rglob("*.facts.json"))


KINDS: Mapping[str, Any] = {
    **dict.fromkeys((values.CUSTOMER, values.NAME, values.EMAIL), values.Customer),
    **dict.fromkeys(("account", "checkout", values.LINK), values.Names),
    "subscription": values.Subscription,
    "part": values.Part,
    "discount": values.Discount,
    "coupon": values.Coupon,
    "price": values.Named,
    "product": values.Named,
    "extra": values.Extra,
    values.PAYMENTS: values.InvoiceStep,
    values.BILLING: values.Billing,
    "trait": values.Trait,
    values.TO_REFRESH: values.Notice,
    values.REFRESHED: values.Refreshed,
}
"""What the name of a thing begins with, up to its colon -> what its value may hold."""


def mistakes(value: Any, kind: Any, place: str = "value") -> Iterator[str]:
    """Where *value* is not of *kind*: a TypedDict, or what its keys may hold."""
    origin, args = get_origin(kind), get_args(kind)
    if is_typeddict(kind):
        yield from _of_keys(value, kind, place)
    elif origin is Required:
        yield from mistakes(value, args[0], place)
    elif origin in {Union, UnionType}:
        if not any(not list(mistakes(value, one)) for one in args):
            yield f"{place}: {value!r}"
    elif origin in {list, Mapping}:
        inner = value if origin is list else value.values()
        for one in inner:
            yield from mistakes(one, args[-1], place)
    elif type(value) is not kind:
        yield f"{place}: {value!r}"


def _of_keys(value: Mapping[str, Any], kind: Any, place: str) -> Iterator[str]:
    hints = get_type_hints(kind, include_extras=True)
    for key, hint in hints.items():
        if key in value:
            yield from mistakes(value[key], hint, f"{place}.{key}")
        elif get_origin(hint) is Required:
            yield f"{place}.{key} is missing"
    yield from (f"{place}.{key} is not known" for key in value.keys() - hints.keys())


@pytest.mark.parametrize("path", FACTS, ids=lambda path: path.name)
def test_a_fact_holds_what_its_kind_may_hold(path: Path) -> None:
    for fact in json.loads(path.read_text()):
        kind = KINDS[fact["thing"].partition(":")[0]]

        assert [] == list(mistakes(fact["value"], kind, fact["thing"]))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ({}, Subscription),
        ({"status": 1}, Subscription),
        ({"status": "active", "curency": "usd"}, Subscription),
        ({"status": "active", "items": [{"unit": 100}]}, Subscription),
        ({"tiers": [{"unit": "1"}]}, Item),
        ({"up_to": "10"}, Tier),
    ],
)
def test_what_a_kind_does_not_hold_is_found(value: Any, kind: Any) -> None:
    assert len(list(mistakes(value, kind))) == 1
