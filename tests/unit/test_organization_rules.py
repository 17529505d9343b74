"""The lines of `bridge.toml` that say which organization a customer belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import permutations
from typing import Any

import pytest

from bridge.domain.account import MEMBER_OF, identify
from bridge.domain.fold import History, fold
from bridge.sources import discover, tables
from bridge.sources.generic import make
from tests.support import chargebee, local_hubspot, salesforce
from tests.support.lives import by_party
from tests.support.reader import Reader

PARENT = "001xx000003DHP0AAO"
GENERIC = {
    "verify": {"scheme": "query", "name": "token"},
    "secret_env": "EXAMPLE_SECRET",
    "type": "type",
    "at": "at",
    "party": "who",
    "events": {"customer": {"organization": "parent || who"}},
}


def stripe(at: int = 1, id_: str = "cus_1", **metadata: Any) -> dict[str, Any]:
    shown = {"id": id_, "object": "customer", "metadata": metadata}
    head = {"id": f"evt_{at}", "object": "event", "type": "customer.updated"}
    return {**head, "created": at, "livemode": True, "data": {"object": shown}}


def placed(reader: Reader, *bodies: Any) -> dict[str, tuple[str | None, str]]:
    """Party -> its account and organization; the same in any order."""
    found = []
    for order in permutations(bodies):
        things = {
            p: fold(History(f)) for p, f in by_party(reader.facts(*order)).items()
        }
        identities = {party: identify(own) for party, own in things.items()}
        found.append({p: (i.account, i.organization) for p, i in identities.items()})
    assert found == [found[0]] * len(found)
    return {name: place for name, place in found[0].items() if place[0]}


@pytest.mark.parametrize(
    ("listed", "heads", "metadata", "place"),
    [
        (["customer.metadata.org"], "both", {"org": " o1 "}, ("cus_1", "o1")),
        (["customer.metadata.org"], "both", {}, ("cus_1", "")),
        (["customer.metadata.org", "customer.id"], "both", {}, ("cus_1", "cus_1")),
        (
            ["customer.metadata.org", "customer.id"],
            "organization",
            {},
            ("organization:cus_1", ""),
        ),
        (
            ["customer.metadata.org", "customer.id"],
            "organization",
            {"org": "o1"},
            ("cus_1", "o1"),
        ),
        # A parent may name itself, so that only those who do are organizations.
        (
            ["customer.metadata.org"],
            "organization",
            {"org": "cus_1"},
            ("organization:cus_1", ""),
        ),
    ],
)
def test_stripe_s_metadata_names_an_organization(
    listed: list[str], heads: str, metadata: dict[str, str], place: tuple[str, str]
) -> None:
    table = {"organization": listed, "heads": heads}
    reader = Reader(discover()["stripe"], table)

    assert {"stripe:cus_1": place} == placed(
        reader, stripe(1, org="old"), stripe(2, **metadata)
    )


def test_without_the_line_stripe_s_facts_are_as_ever() -> None:
    (fact,) = Reader(discover()["stripe"]).facts(stripe(org="o1"))

    assert {"account": "cus_1"} == fact.value


@pytest.mark.parametrize(
    ("listed", "heads", "place"),
    [
        (["hs_parent_company_id"], "both", ("1", "2")),
        (["hs_parent_company_id", "id"], "organization", ("1", "2")),
        ([], "both", ("1", "")),
    ],
)
def test_hubspot_s_parent_company_is_an_organization(
    listed: list[str], heads: str, place: tuple[str, str]
) -> None:
    table = {"organization": listed, "heads": heads} if listed else {}
    bodies = (
        local_hubspot.company("creation", 1),
        local_hubspot.changed(1, "hs_parent_company_id", "3", at=1),
        local_hubspot.changed(1, "hs_parent_company_id", "2", at=2),
    )
    found = placed(Reader(discover()["hubspot"], table), *bodies)

    assert {"hubspot:1": place} == found


@pytest.mark.parametrize(
    ("heads", "place"), [("both", ("1", "1")), ("organization", ("organization:1", ""))]
)
def test_a_company_that_lost_its_parent_is_its_own_head(
    heads: str, place: tuple[str, str]
) -> None:
    table = {"organization": ["hs_parent_company_id", "id"], "heads": heads}
    bodies = (
        local_hubspot.company("creation", 1),
        local_hubspot.changed(1, "hs_parent_company_id", "2", at=1),
        local_hubspot.changed(1, "hs_parent_company_id", "", at=2),
    )

    assert {"hubspot:1": place} == placed(Reader(discover()["hubspot"], table), *bodies)


@pytest.mark.parametrize(
    ("heads", "gone"), [("both", ("2", "")), ("organization", None)]
)
def test_a_merged_company_is_in_no_organization_that_an_id_seems_to_name(
    heads: str, gone: tuple[str, str] | None
) -> None:
    """The one that is left may have a parent. Where heads are no accounts, the API knows."""
    table = {"organization": ["hs_parent_company_id", "id"], "heads": heads}
    reader = Reader(discover()["hubspot"], table)
    bodies = (
        local_hubspot.changed(1, "hs_parent_company_id", "7", at=1),
        local_hubspot.changed(2, "hs_parent_company_id", "8", at=1),
        local_hubspot.company("creation", 2),
        local_hubspot.merge(2, 1, at=9),
    )
    found = placed(reader, *bodies)

    assert (("2", "8"), gone) == (found["hubspot:2"], found.get("hubspot:1"))


@pytest.mark.parametrize(
    ("parent", "place"),
    [
        (PARENT[:15], (salesforce.ACCOUNT, PARENT)),
        (None, (salesforce.ACCOUNT, salesforce.ACCOUNT)),
    ],
)
def test_salesforce_s_parent_id_is_an_organization_in_its_long_form(
    parent: str | None, place: tuple[str, str]
) -> None:
    reader = Reader(discover()["salesforce"], {"organization": ["ParentId", "Id"]})
    told = salesforce.message(salesforce.account(1, ParentId=parent))

    assert {f"salesforce:{salesforce.ACCOUNT}": place} == placed(reader, told)


def test_a_field_of_chargebee_s_customer_names_an_organization() -> None:
    reader = Reader(discover()["chargebee"], {"organization": "cf_parent"})
    body = chargebee.customer(cf_parent=" o1 ")
    told = chargebee.event("customer_changed", 0, customer=body)

    assert {"chargebee:cb_1": ("cb_1", "o1")} == placed(reader, told)


@pytest.mark.parametrize(
    ("parent", "organization"), [({"parent": "o1"}, "o1"), ({}, "acme")]
)
def test_a_path_names_an_organization(
    parent: Mapping[str, str], organization: str
) -> None:
    made = make("example", GENERIC, {})
    assert made.source is not None
    body = {"type": "customer.new", "at": 1_793_520_000, "who": "acme", **parent}

    assert {"example:acme": ("acme", organization)} == placed(Reader(made.source), body)
    assert (MEMBER_OF,) == made.traits


@pytest.mark.parametrize("name", ["organization", "vacated", "pointer"])
def test_no_source_may_be_called_like_a_kind_of_party(name: str) -> None:
    assert make(name, GENERIC, {}).problems


@pytest.mark.parametrize(
    ("name", "lines", "problem"),
    [
        ("stripe", {"organization": []}, "organization must be a list of places"),
        ("stripe", {"organization": ["subscription.metadata.a"]}, "must be one of"),
        ("stripe", {"heads": "account"}, "heads must be one of both, organization"),
        ("hubspot", {"organization": "parent"}, "must be a list of a property and id"),
        ("salesforce", {"heads": "none"}, "heads must be one of both, organization"),
        ("chargebee", {"organization": "parent"}, "organization must be cf_"),
    ],
)
def test_a_mistake_is_named(name: str, lines: dict[str, Any], problem: str) -> None:
    (said,) = tables({name: lines}).problems

    assert problem in said


def test_each_source_with_a_rule_lets_accounts_be_linked() -> None:
    rules: dict[str, Any] = {
        "stripe": ["customer.id"],
        "hubspot": ["id"],
        "salesforce": ["Id"],
        "chargebee": "cf_parent",
    }
    for name, rule in rules.items():
        assert [MEMBER_OF] == [*tables({name: {"organization": rule}}).traits]
