"""Traits from the metadata of Stripe's customers, subscriptions, prices and products."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.config import USED, parse
from bridge.domain.account import unite
from bridge.domain.document import TRAITS, document
from bridge.domain.facts import Stamp
from bridge.domain.money import STRIPE
from bridge.domain.values import REFRESHED
from bridge.errors import ConfigError
from bridge.sources import tables
from bridge.sources.chargebee import SOURCE as CHARGEBEE
from bridge.sources.stripe import SOURCE
from tests.support import chargebee
from tests.support.reader import Reader, folded
from tests.support.stripe_cases import BOTH, events, seconds

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
    "before that what is trialing": (
        [active(0, status="trialing", **TEAM)],
        {"team": "blue", "tier": 1},
    ),
    "nothing is": (
        [active(0, status="canceled", ended_at=0)],
        {"team": None, "tier": None},
    ),
    "a product that was not told of": ([active(0)], {"family": "?"}),
    "a price that changed later": ([active(1), priced(2, "7")], {"tier": 7}),
    "a price that changed before": ([priced(0, "7"), active(1)], {"tier": 1}),
    "one of two prices without the key": (
        [active(0, items=[item("1"), NO_TIER])],
        {"tier": 1},
    ),
    "an impossible type": (
        [CREATED | {"metadata": {"startup": 7}}, active(0, metadata={"the team": {}})],
        {"isStartup": "?", "team": "?"},
    ),
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


@pytest.mark.parametrize("status", ["active", "cancelled"])
def test_a_source_that_cannot_tell_a_trait_leaves_it_to_the_one_that_can(
    status: str,
) -> None:
    use = {"accountBalance", "firstPaidAt", "paymentMethodExpiresAt"}
    on: Any = {USED: use}
    told = [{**CREATED, "balance": 0}, active(1), product(0, "apps")]
    reader, other = (
        Reader(source, table, **on)
        for source, table in ((SOURCE, {"traits": LINES}), (CHARGEBEE, None))
    )
    facts = reader.facts(*events({"events": told}, "items"))
    born = chargebee.event("customer_created", 0, customer=chargebee.customer())
    own = chargebee.subscription(status=status, cancelled_at=chargebee.seconds(0))
    theirs = other.facts(
        born, chargebee.event("subscription_changed", 1, subscription=own)
    )
    policy = STRIPE._replace(use=reader.use)

    alone, both, none = (
        document(unite("acme", folded(some)), policy)
        for some in (facts, facts + theirs, theirs)
    )

    names = {*use, "family", "team", "tier"}
    picked = [{n: d.traits[n] for n in names & d.traits.keys()} for d in (alone, both)]
    assert picked[0] == picked[1]
    assert {"apps", 0, None} == {
        picked[0][name]
        for name in ("family", "accountBalance", "paymentMethodExpiresAt")
    }
    assert not names & {*none.traits, *none.unknown}


def test_the_newest_word_on_a_product_counts() -> None:
    """Its event, if that came after it was read."""
    reader = Reader(SOURCE, {"traits": LINES})
    told = [active(1), product(2, "apps", "product.updated")]
    seen = []
    for day in (0, 3):
        facts = reader.facts(*events({"events": told}, "items"))
        at = seconds(day) * 1000
        value = {"details": {"prod_1": {"family": "tools"}}}
        read = facts[0]._replace(
            thing=REFRESHED, value=value, stamp=Stamp(False, at, 4), after="r"
        )
        policy = STRIPE._replace(use=reader.use)
        doc = document(unite("acme", folded([*facts, read])), policy)
        seen.append(doc.traits["family"])

    assert ["apps", "tools"] == seen


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
            "sources.stripe.traits.seats is a name of the bridge's own",
        ),
        # What other traits need is kept under these.
        ({"items": "price.metadata.x"}, "sources.stripe.traits.items is a name"),
        ({"schedule": "price.metadata.x"}, "sources.stripe.traits.schedule is a"),
    ],
)
def test_a_mistake_is_named(line: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        parse({"sources": {"stripe": {"traits": line}}}, tables)

    (problem,) = refused.value.problems
    assert problem.startswith(words)
