"""The Accounts API, client against simulator, over real HTTP."""

from __future__ import annotations

import re
from itertools import chain
from typing import Any

import pytest

from bridge.errors import VitallyMissingError, VitallyRefusedError
from bridge.vitally.simulator import BLANK

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

ACME = {"externalId": "acme-101", "name": "Acme"}


def many(vitally, count: int, **extra: Any) -> None:
    for index in range(count):
        vitally.create({"externalId": f"a-{index}", "name": f"A {index}", **extra})


def externals(accounts) -> list[str]:
    return [account["externalId"] for account in accounts]


def test_a_creation_answers_the_whole_object_which_either_id_finds(vitally):
    made = vitally.create({**ACME, "traits": {"mrr": 99.5}})
    own = {**ACME, "traits": {"mrr": 99.5}, "mrr": 99.5, "id": made["id"]}
    at = {"createdAt": made["createdAt"], "updatedAt": made["createdAt"]}

    assert list(BLANK) == list(made)
    assert {**BLANK, **own, **at} == made
    assert INSTANT.fullmatch(made["createdAt"])
    assert [made, made] == [vitally.get("acme-101"), vitally.get(made["id"])]


def test_an_update_merges_traits_and_null_removes_one(vitally):
    vitally.create({**ACME, "traits": {"kept": 1, "gone": 2}})

    got = vitally.update("acme-101", {"name": "New", "traits": {"gone": None, "b": 3}})

    assert ({"kept": 1, "b": 3}, "New") == (got["traits"], got["name"])


def test_values_are_stored_as_sent(vitally):
    traits = {"hspot.date": 1712349466167, "text": "1", "yes": True, "n": [1, {"a": 2}]}

    assert traits == vitally.create({**ACME, "traits": traits})["traits"]


def test_an_unknown_account_is_missing(vitally):
    for ask in (vitally.get, vitally.health, vitally.delete):
        with pytest.raises(VitallyMissingError):
            ask("nobody")
    with pytest.raises(VitallyMissingError):
        vitally.update("nobody", {"name": "N"})


def test_a_deleted_account_starts_from_scratch(vitally):
    first = vitally.create({**ACME, "traits": {"old": 1}})
    vitally.delete("acme-101")

    second = vitally.create(ACME)

    assert {} == second["traits"]
    assert first["id"] != second["id"]


def test_the_health_scores_of_an_account_are_asked_for(vitally):
    vitally.create(ACME)

    assert isinstance(vitally.health("acme-101"), dict)


@pytest.mark.parametrize(
    "external_id", ["a/b", "ü &?#%", "a+b", "a%2Fb", "..a", "x" * 200, "a:b@c", "日本"]
)
def test_every_id_survives_the_way_there_and_back(vitally, external_id):
    vitally.create({"externalId": external_id, "name": "N"})

    vitally.update(external_id, {"traits": {"here": True}})

    got = vitally.get(external_id)
    assert (external_id, {"here": True}) == (got["externalId"], got["traits"])


@pytest.mark.parametrize(
    "bad", ["", ".", "..", "a\nb", "a\x00", "\x7f", "\x85", "\ud800"]
)
def test_an_id_that_no_address_can_carry_is_refused_unsent(vitally, simulator, bad):
    with pytest.raises(VitallyRefusedError):
        vitally.update(bad, {"name": "N"})

    assert [] == simulator.log()


def test_a_body_that_is_no_json_is_refused_unsent(vitally, simulator):
    with pytest.raises(VitallyRefusedError):
        vitally.create({**ACME, "traits": {"who": object()}})

    assert [] == simulator.log()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"externalId": 101, "name": "Acme"}, "/externalId must be string"),
        ({"externalId": "acme-101"}, "must have required property 'name'"),
        ({**ACME, "traits": []}, "/traits must be object"),
    ],
)
def test_a_wrong_property_is_refused_with_its_path(vitally, body, reason):
    with pytest.raises(VitallyRefusedError) as refused:
        vitally.create(body)

    assert (400, reason) == (refused.value.status, refused.value.reason)


def test_only_null_may_be_written_to_the_owner(vitally):
    vitally.create(ACME)
    freed = vitally.update("acme-101", {"accountOwnerId": None})

    assert freed["accountOwnerId"] is None
    with pytest.raises(VitallyRefusedError, match="/accountOwnerId must be null"):
        vitally.update("acme-101", {"accountOwnerId": "u-1"})


def test_a_list_is_newest_first_and_goes_on_at_its_cursor(vitally):
    many(vitally, 5)

    first = vitally.accounts(limit=2, sort="createdAt")
    second = vitally.accounts(limit=2, cursor=first.next, sort="createdAt")
    third = vitally.accounts(limit=2, cursor=second.next, sort="createdAt")

    pages = [first.results, second.results, third.results]
    assert [2, 2, 1] == [len(page) for page in pages]
    assert {f"a-{i}" for i in range(5)} == set(externals(chain.from_iterable(pages)))
    times = [account["createdAt"] for page in pages for account in page]
    assert sorted(times, reverse=True) == times
    assert third.next is None


def test_a_list_hides_churned_accounts_unless_asked_and_ignored_ones_always(vitally):
    gone = {"churnedAt": "2026-01-02T03:04:05Z"}
    vitally.create(ACME)
    vitally.create({"externalId": "left", "name": "L", "traits": gone})
    vitally.create({"externalId": "no", "name": "N", "traits": {"ignored": True}})
    listed = {
        status: set(externals(vitally.accounts(status=status).results))
        for status in (None, "churned", "activeOrChurned")
    }

    assert {
        None: {"acme-101"},
        "churned": {"left"},
        "activeOrChurned": {"acme-101", "left"},
    } == listed


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ({"status": "lost"}, "status must be one of"),
        ({"cursor": "garbage"}, "cursor"),
        ({"limit": 0}, "limit"),
    ],
)
def test_a_wrong_parameter_of_a_list_is_refused(vitally, query, reason):
    with pytest.raises(VitallyRefusedError, match=reason):
        vitally.accounts(**query)


def test_an_organization_has_its_accounts_and_null_takes_one_out(vitally):
    made = vitally._one(
        "POST", "/resources/organizations", {"externalId": "org", "name": "Org"}
    )
    vitally.create({**ACME, "organizationId": made["id"]})
    vitally.create({"externalId": "b", "name": "B", "organizationId": made["id"]})

    page = vitally.accounts(organization="org", limit=1)
    rest = vitally.accounts(organization=made["id"], limit=1, cursor=page.next)
    both = {*externals(page.results), *externals(rest.results)}

    assert {"acme-101", "b"} == both
    assert vitally.update("b", {"organizationId": None})["organizationId"] is None
    assert ["acme-101"] == externals(vitally.accounts(organization="org").results)


def test_a_probe_is_one_cheap_get(vitally, simulator):
    vitally.probe()

    (entry,) = simulator.log()
    assert ("GET", "/resources/accounts?limit=1", 1) == (
        entry["method"],
        entry["path"],
        entry["cost"],
    )


def test_a_wrong_route_is_a_404(vitally):
    with pytest.raises(VitallyMissingError):
        vitally._one("GET", "/resources/nothing")


@pytest.mark.parametrize(
    ("traits", "derived", "stage"),
    [
        ({}, (None, None, None, None), "subscribed"),
        ({"mrr": 0}, (0, None, None, None), "subscribed"),
        (
            {"trialEndDate": "2026-03-01T00:00:00+02:00"},
            (None, None, None, "2026-02-28T22:00:00.000Z"),
            "trial",
        ),
        (
            {"mrr": 5, "nextRenewalDate": 1712349466167},
            (5, "2024-04-05T20:37:46.167Z", None, None),
            "subscribed",
        ),
        ({"churnedAt": "not a date"}, (None, None, None, None), "subscribed"),
    ],
)
def test_the_fields_of_the_lifecycle_follow_the_traits(
    vitally, simulator, traits, derived, stage
):
    got = vitally.create({**ACME, "traits": traits})

    names = ["mrr", "nextRenewalDate", "churnedAt", "trialEndDate"]
    assert derived == tuple(got[name] for name in names)
    assert stage == simulator.account("acme-101")["lifecycle"]


def test_a_churned_account_shows_its_last_revenue_until_it_is_back(vitally):
    vitally.create({**ACME, "traits": {"mrr": 50}})
    gone = {"mrr": None, "churnedAt": "2026-01-01T00:00:00.000Z"}
    churned = vitally.update("acme-101", {"traits": gone})
    back = vitally.update("acme-101", {"traits": {"churnedAt": None}})

    assert (50, None) == (churned["mrr"], back["mrr"])
    assert "mrr" not in churned["traits"]
