"""Traits from the metadata of Stripe's customers, subscriptions, prices and products."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.config import parse
from bridge.domain.document import TRAITS
from bridge.errors import ConfigError
from bridge.sources import tables
from bridge.sources.stripe import SOURCE
from tests.support.reader import Reader
from tests.support.stripe_cases import BOTH, events

LINES = {
    "isStartup": {"place": "customer.metadata.startup", "as": "boolean"},
    "team": "subscription.metadata.the team",
    "tier": {"place": "price.metadata.tier", "as": "number"},
    "family": "product.metadata.family",
}
CREATED = {"day": 0, "type": "customer.created", "metadata": {"startup": "true"}}


def active(day: int, id_: str = "sub_1", **more: Any) -> dict[str, Any]:
    return {"day": day, "id": id_, "status": "active", "items": [item("1")], **more}


def item(tier: str, **more: Any) -> dict[str, Any]:
    own = {"unit": 5000, "ends": 30, "product": "prod_1"}
    return {**own, "metadata": {"tier": tier}, **more}


def product(day: int, family: str, kind: str = "product.created") -> dict[str, Any]:
    told = {
        "id": "prod_1",
        "name": "Pro",
        "metadata": {"family": family},
        "created": -9,
    }
    return {"day": day, "type": kind, "object": told}


def priced(day: int, tier: str) -> dict[str, Any]:
    told = {"id": "price_1", "metadata": {"tier": tier}, "created": -9}
    return {"day": day, "type": "price.updated", "object": told}


NO_TIER = {"unit": 5000, "ends": 30, "product": "prod_1", "metadata": {}}
TEAM = {"metadata": {"the team": "blue"}}

LIVES: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "a customer alone": ([CREATED], {"isStartup": True, "team": "?", "tier": "?"}),
    "of all four": (
        [CREATED, active(1, **TEAM), product(0, "apps")],
        {"isStartup": True, "team": "blue", "tier": 1, "family": "apps"},
    ),
    "changed": (
        [
            *(
                CREATED,
                CREATED | {"day": 3, "type": "customer.updated", "metadata": {}},
            ),
            *(active(1, **TEAM), active(3, metadata={"the team": "red"})),
            *(product(0, "apps"), product(2, "tools", "product.updated")),
        ],
        {"isStartup": None, "team": "red", "family": "tools"},
    ),
    "changed within a second": (
        [
            CREATED | {"day": 1},
            {"day": 1, "type": "customer.updated", "metadata": {"startup": "false"}},
            {"day": 1, "type": "customer.updated", "name": "Acme"},
        ],
        {"isStartup": False},
    ),
    "no such key": (
        [CREATED | {"metadata": {}}, active(0, metadata={})],
        {"team": None, "isStartup": None},
    ),
    "another type": (
        [CREATED | {"metadata": {"startup": "maybe"}}, active(0, items=[item("big")])],
        {"isStartup": "?", "tier": "?"},
    ),
    "they agree": ([active(0, **TEAM), active(0, "sub_2", **TEAM)], {"team": "blue"}),
    "they do not": (
        [active(0, **TEAM), active(0, "sub_2", items=[item("1"), item("2")])],
        {"team": "?", "tier": "?"},
    ),
    "only what is live": (
        [active(0, **TEAM), active(0, "sub_2", status="canceled", ended_at=0)],
        {"team": "blue", "tier": 1},
    ),
    "nothing is": (
        [active(0, status="canceled", ended_at=0)],
        {"team": None, "tier": None},
    ),
    "a product that was not told of": ([active(0)], {"family": "?"}),
    "a price that changed later": ([active(1), priced(2, "7")], {"tier": 7}),
    "a price that changed before": ([priced(0, "7"), active(1)], {"tier": 1}),
    "a price without the key": ([active(0, items=[NO_TIER])], {"tier": None}),
}


@pytest.mark.parametrize("rendering", ["plan", "items", BOTH])
@pytest.mark.parametrize(("life", "expected"), LIVES.values(), ids=LIVES)
def test_metadata_becomes_traits_in_any_order(
    life: list[dict[str, Any]], expected: dict[str, Any], rendering: str
) -> None:
    reader = Reader(SOURCE, {"traits": LINES})

    _, doc = reader.outcome(*events({"events": life}, rendering))

    assert expected == {name: doc.traits.get(name, "?") for name in expected}


def test_other_traits_are_as_they_were() -> None:
    told = [*events({"events": [CREATED, active(1, **TEAM), product(0, "a")]}, "items")]

    _, own = Reader(SOURCE, {"traits": LINES}).outcome(*told)
    _, doc = Reader(SOURCE).outcome(*told)

    assert doc.traits == {n: v for n, v in own.traits.items() if n in TRAITS}
    assert LINES.keys() == own.traits.keys() - {*TRAITS}


def test_the_file_names_them() -> None:
    config = parse({"sources": {"stripe": {"traits": LINES}}}, tables)

    assert {"team", "tier", "family"} == config.policy.use
    assert {*TRAITS, *LINES} == config.traits.keys()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({"team": "customer.name"}, "sources.stripe.traits.team must be a place, or "),
        (
            {"team": {"place": "price.metadata.x", "as": "y"}},
            "sources.stripe.traits.team must be a place",
        ),
        (
            {"seats": "customer.metadata.seats"},
            "sources.stripe.traits.seats is a trait of the bridge",
        ),
    ],
)
def test_a_mistake_is_named(line: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse({"sources": {"stripe": {"traits": line}}}, tables)

    (problem,) = refused.value.problems
    assert problem.startswith(words)
