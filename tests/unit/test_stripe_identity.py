"""Where Stripe's objects name their account, and the list of places in bridge.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.domain.account import Identity, identify
from bridge.domain.fold import History, fold
from bridge.errors import ConfigError
from bridge.sources import discover, load
from bridge.sources.stripe import SOURCE
from bridge.webhook.source import Event

ENVIRON = {
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "VITALLY_API_KEY": "sk_test_example",
    "VITALLY_BASE_URL": "http://127.0.0.1:1",
}
TABLE = """
[sources.stripe]
account = ["subscription.metadata.team", "customer.metadata.vitally", "customer.id"]
"""
CUSTOMER: dict[str, Any] = {"id": "cus_1", "object": "customer"}
SUBSCRIPTION = {"id": "sub_1", "customer": "cus_1", "status": "active"}
CHECKOUT = {"id": "cs_1", "customer": "cus_1", "client_reference_id": "by-checkout"}


def options(folder: Path, text: str = "", **environ: str) -> dict[str, Any]:
    path = folder / "bridge.toml"
    path.write_text(text, encoding="utf-8")
    settings, _ = load({**ENVIRON, **environ, "BRIDGE_CONFIG": str(path)})
    return dict(settings.sources)


def named(told: list[tuple[str, dict[str, Any]]], values: dict[str, Any]) -> Identity:
    """The identity of the party of which *told* (type and object) were events."""
    facts = []
    for n, (kind, thing) in enumerate(told):
        event = Event(f"evt_{n}", kind, n * 1000, {"data": {"object": thing}})
        handler = SOURCE.handlers[kind]
        facts += handler.facts(event, handler.schema.load(event.body), values)
    return identify(fold(History(facts)))


def customer(**metadata: str) -> tuple[str, dict[str, Any]]:
    return "customer.updated", {**CUSTOMER, "metadata": metadata}


def subscription(id_: str = "sub_1", **metadata: str) -> tuple[str, dict[str, Any]]:
    whole = {**SUBSCRIPTION, "id": id_, "metadata": metadata}
    return "customer.subscription.updated", whole


def checkout(**more: Any) -> tuple[str, dict[str, Any]]:
    return "checkout.session.completed", {**CHECKOUT, **more}


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        ("cus_1", [customer()]),
        ("cus_1", [subscription()]),
        ("vit", [customer(vitally="vit"), subscription()]),
        ("team", [customer(vitally="vit"), subscription(team="team")]),
        (None, [subscription("sub_1", team="a"), subscription("sub_2", team="b")]),
        ("team", [subscription("sub_1", team="team"), subscription("sub_2")]),
    ],
)
def test_the_first_place_that_names_an_account_wins(expected, told, tmp_path) -> None:
    values = options(tmp_path, TABLE)

    assert expected == named(told, values).account
    assert expected == named(told[::-1], values).account


@pytest.mark.parametrize(
    ("expected", "told"),
    [
        ("by-customer", [customer(key="by-customer"), checkout()]),
        ("by-sub", [customer(), subscription(key="by-sub"), checkout()]),
        (None, [customer(), subscription(), checkout()]),
        (None, [customer(), subscription(), checkout(client_reference_id=None)]),
    ],
)
def test_with_a_key_alone_a_checkout_that_a_buyer_writes_names_none(
    expected, told, tmp_path
) -> None:
    values = options(tmp_path, STRIPE_ACCOUNT_ID_KEY="key")

    assert expected == named(told, values).account
    assert expected == named(told[::-1], values).account


def test_a_checkout_names_one_where_the_file_lists_the_place(tmp_path) -> None:
    places = 'account = ["customer.metadata.key", "checkout.client_reference_id"]'
    values = options(tmp_path, f"[sources.stripe]\n{places}\n")

    assert "by-checkout" == named([customer(), checkout()], values).account
    told = [checkout(), customer(key="by-customer")]
    assert "by-customer" == named(told, values).account


def test_what_a_buyer_claims_is_told_to_whoever_links_the_party(tmp_path) -> None:
    values = options(tmp_path, STRIPE_ACCOUNT_ID_KEY="key")
    told = [checkout(id="cs_2", client_reference_id="b" * 300), checkout(), customer()]

    said = f"claims {'b' * 100}, by-checkout: link it if so"
    assert said in named(told, values).reason
    assert said in named(told[::-1], values).reason


def test_a_claim_is_no_fact_where_the_customer_s_id_is_the_account(tmp_path) -> None:
    kind, thing = checkout()
    handler = SOURCE.handlers[kind]
    event = Event("evt_1", kind, 0, {"data": {"object": thing}})

    assert [] == list(
        handler.facts(event, handler.schema.load(event.body), options(tmp_path))
    )


def test_without_any_rule_a_checkout_names_nothing(tmp_path) -> None:
    assert None is named([checkout()], options(tmp_path)).account


def test_a_checkout_without_a_customer_is_nobody_s(tmp_path) -> None:
    values = options(tmp_path, STRIPE_ACCOUNT_ID_KEY="key")

    assert None is named([checkout(customer=None)], values).account


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("account = []", "sources.stripe.account must be a list of places"),
        ('account = "customer.id"', "sources.stripe.account must be a list of places"),
        (
            'account = ["customer.name"]',
            "sources.stripe.account.0 must be one of customer.id, ",
        ),
        (
            'account = ["customer.id", "customer.metadata"]',
            "sources.stripe.account.1 must be one of ",
        ),
        ("account = [7]", "sources.stripe.account.0 must be one of customer.id, "),
        ("acount = []", "sources.stripe.acount is unknown; there are account"),
    ],
)
def test_a_mistake_in_the_table_is_named_with_its_place(line, said, tmp_path) -> None:
    with pytest.raises(ConfigError) as caught:
        options(tmp_path, f"[sources.stripe]\n{line}\n")

    assert said in str(caught.value)


def test_a_table_of_no_source_is_named(tmp_path) -> None:
    with pytest.raises(ConfigError) as caught:
        options(tmp_path, "[sources]\nsolaris = 1\n")

    assert "sources.solaris must be a table" in str(caught.value)
    assert "stripe" in discover()
