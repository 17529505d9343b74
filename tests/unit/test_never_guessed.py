"""Whatever of a subscription is missing or damaged: its number is right, or left out.

Every place of every case that one event tells is damaged in every way. Only what Stripe's
own documents give a default, or tell by leaving it out, may make another number.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache, partial
from pathlib import Path as File
from typing import Any

import orjson
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from marshmallow import ValidationError

from bridge.domain.account import unite
from bridge.domain.document import document
from bridge.errors import PayloadError
from bridge.sources import chargebee, stripe
from tests.support.lives import law
from tests.support.reader import Reader, folded
from tests.support.recipe_cases import books, looks
from tests.support.stripe_cases import events, every, seconds
from tests.unit import test_recipe_cases

Json = Any
Path = tuple[Any, ...]

MISSING = object()
DAMAGES = (MISSING, None, "?", "", -1, 0.5, 1e300, True, {}, [], [None])
"""What stands in place of a value, or nothing does."""

DEFAULTS = {
    # One, or one by one: https://docs.stripe.com/api/subscriptions/create
    "quantity",
    "interval_count",
    "transform_quantity",
    # Licensed: plans of before 2017 do not say it.
    "usage_type",
    # None there: no discount, no tax; a list without a next page.
    "discount",
    "discounts",
    "tax_rates",
    "default_tax_rates",
    "tax_behavior",
    "automatic_tax",
    "enabled",
    "has_more",
    # A tier costs a unit's amount, a flat one or both.
    "flat_amount",
    # Of products and time, which the policy and other cases are about.
    "product",
    "applies_to",
    "products",
    "type",
}
"""Keys without which a number may be another one."""


def paths(value: Json, above: Path = ()) -> Iterator[Path]:
    """Every place in *value*, the inner ones too."""
    if isinstance(value, dict | list):
        rows = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in rows:
            yield (*above, key)
            yield from paths(inner, (*above, key))


def beside(body: Json, path: Path) -> Json:
    """The object or list that the last key of *path* is in."""
    for key in path[:-1]:
        body = body[key]
    return body


def is_enough(body: Json, path: Path) -> bool:
    """Whether it can be left out: a unit's amount of a tier that has a flat one."""
    inner = beside(body, path)
    return isinstance(inner, dict) and "flat_amount" in inner


def damaged(body: Json, path: Path, damage: object) -> Json:
    found = copy.deepcopy(body)
    inner = beside(found, path)
    if damage is MISSING:
        del inner[path[-1]]
    else:
        inner[path[-1]] = damage
    return found


def check(
    number: Callable[[Json], object], body: Json, path: Path, damage: object
) -> None:
    """Whether what *number* reads of a damaged body is right, left out or refused."""
    with suppress(ValidationError, PayloadError):
        read = number(damaged(body, path, damage))

        assert read in {number(body), "left out", None}, (path, damage)


def mrr(case: Json, body: Json) -> object:
    reader = Reader(stripe.SOURCE, STRIPE_ACCOUNT_ID_KEY=case.get("account_key"))
    doc = reader.outcome(body)[1]
    return doc.traits.get("mrr", "left out")


ALONE = [
    (case, next(iter(events(case, rendering))))
    for case, rendering in every()
    if len(case["events"]) == 1 and isinstance(case["traits"].get("mrr"), int | float)
]

PLACES = [
    (case, body, path)
    for case, body in ALONE
    for path in paths(body["data"]["object"], ("data", "object"))
    if not DEFAULTS & set(path) and not is_enough(body, path)
]


ONE_OF_EACH = {
    (path, *sorted(k for k, v in beside(body, path).items() if v)): (case, body, path)
    for case, body, path in PLACES
    if "items" in path and isinstance(path[-1], str)
}.values()
"""A place of each kind, beside the same keys."""


@pytest.mark.parametrize("damage", DAMAGES[:2], ids=["missing", "null"])
def test_a_price_without_what_it_says_has_no_number_of_its_own(damage) -> None:
    for case, body, path in ONE_OF_EACH:
        check(partial(mrr, case), body, path, damage)


@law(400)
@given(st.sampled_from(PLACES), st.sampled_from(DAMAGES))
def test_no_damage_makes_another_number(place, damage) -> None:
    case, body, path = place
    # A list without one of its rows is a list; an amount below nothing is an amount.
    assume(damage is not MISSING or isinstance(path[-1], str))
    assume(damage != -1 or "amount" not in str(path[-1]))

    check(partial(mrr, case), body, path, damage)


def test_there_is_enough_to_damage() -> None:
    assert len(PLACES) > 1000
    assert len(OF_CHARGEBEE) > 500


# --- Chargebee ------------------------------------------------------------------

LEFT_OUT_IF_NONE = {"addons", "coupons", "discounts", "free_quantity"}
"""Chargebee writes these only where there are some."""

FIXTURES = File(chargebee.__file__).parent / "fixtures"
BODIES = [
    orjson.loads(path.read_bytes())
    for path in sorted(FIXTURES.glob("subscription_*.json"))
    if ".facts." not in path.name
]
OF_CHARGEBEE = [
    (body, path)
    for body in BODIES
    for path in paths(body["content"]["subscription"], ("content", "subscription"))
    if not LEFT_OUT_IF_NONE & set(path)
]


@law(400)
@given(st.sampled_from(OF_CHARGEBEE), st.sampled_from(DAMAGES))
def test_nor_does_one_of_chargebee_s(place, damage) -> None:
    body, path = place
    assume(damage is not MISSING or isinstance(path[-1], str))
    assume(damage != -1 or path[-1] not in {"amount", "plan_amount", "unit_price"})

    check(mrr_of_chargebee, body, path, damage)


def mrr_of_chargebee(body: Json) -> object:
    doc = Reader(chargebee.SOURCE).outcome(body)[1]
    return doc.traits.get("mrr", "left out")


# --- Recipes --------------------------------------------------------------------

LEFT_OUT_TOO = {"add_ons", "end_date", "product_price_in_cents"}
"""An add-on that is none; an interval that is open; Maxio's own price of a product."""

OfRecipe = tuple[Any, Any, Any, Any, Path]


@cache
def of_recipes() -> list[OfRecipe]:
    """Every place of the last delivery of every life that has an MRR by it alone."""
    found: list[OfRecipe] = []
    for book in books():
        for case in book.cases:
            reads = test_recipe_cases.source(book, case)
            last = book.told(case, rising=True)[-1]
            if isinstance(mrr_of_recipe(reads, book, case, last), int | float):
                every = [p for p in paths(last.body) if not LEFT_OUT_TOO & set(p)]
                found += [(reads, book, case, last, path) for path in every]
    return found


def mrr_of_recipe(reads: Any, book: Any, case: Any, told: Any) -> object:
    facts = test_recipe_cases.facts_of(reads, book, told)
    account = unite("account", folded(facts))
    now = seconds(looks(case)[-1].now) * 1000
    return document(account, now=now).traits.get("mrr", "left out")


@law(100)
@given(st.data(), st.sampled_from([MISSING, None, "?", True, {}, []]))
def test_nor_does_one_of_a_recipe_s(data, damage) -> None:
    reads, book, case, told, path = data.draw(st.sampled_from(of_recipes()))
    assume(isinstance(path[-1], str))

    def number(body: Json) -> object:
        return mrr_of_recipe(reads, book, case, told._replace(body=body))

    check(number, told.body, path, damage)
