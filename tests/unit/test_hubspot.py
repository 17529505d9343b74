"""What HubSpot's events become, beyond the recorded ones."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from marshmallow import ValidationError

from bridge.domain.account import Party, identify, unite
from bridge.domain.document import document
from bridge.domain.facts import Fact
from bridge.domain.values import TO_REFRESH
from bridge.errors import PayloadError, SignatureError
from bridge.sources.hubspot import SOURCE
from bridge.webhook.auth import HUBSPOT, sign
from bridge.webhook.source import Delivery
from tests.support.local_hubspot import (
    SECRET,
    Json,
    association,
    changed,
    company,
    event,
    merge,
)
from tests.support.reader import Reader, folded

NOW = 1_793_520_000.0
URL = "https://bridge.example.com/webhooks/hubspot"
TRAITS = {
    "stage": "lifecyclestage",
    "seats": {"property": "seats", "as": "number"},
    "csm": {"property": "hubspot_owner_id", "as": "owner"},
}
DEALS = {"mrr": "hs_mrr"}
STAGE, SEATS, OWNER = "lifecyclestage", "seats", "hubspot_owner_id"

NEW = company("creation", 1)
split = Reader(SOURCE).events


def facts(*events: Json, **table: Any) -> list[Fact]:
    """The facts of a delivery under a table; none of what is ignored."""
    return Reader(SOURCE, table).facts(list(events))


def values(*events: Json, **table: Any) -> dict[str, Any]:
    """Thing -> value of the facts."""
    return {fact.thing: dict(fact.value) for fact in facts(*events, **table)}


def parties(*events: Json, **table: Any) -> dict[str, Party]:
    """The companies, folded; the same whichever event comes first."""
    found, other = folded(facts(*events, **table)), facts(*events[::-1], **table)
    of = {party.name: party for party in found}
    assert of == {party.name: party for party in folded(other)}
    return of


def account_of(*events: Json, **table: Any) -> str | None:
    """The account of company 1."""
    return identify(parties(*events, **table)["hubspot:1"].things).account


# --- the door -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("called", "signed", "believed"),
    [
        ("", "", True),
        ("", "?a=1", False),
        ("?a=%3A%2f%3F%40%21%24%27%28%29%2A%2C%3B", "?a=:/?@!$'()*,;", True),
        ("?a=b%20c%26%3D%25", "?a=b%20c%26%3D%25", True),
        ("?a=b%20c", "?a=b c", False),
        ("?a=%3A", "?a=%3A", False),
    ],
)
def test_the_called_address_is_signed_a_listed_escape_as_its_character(
    called: str, signed: str, believed: bool
) -> None:
    headers = sign(HUBSPOT, SECRET, b"[]", NOW, url=URL + signed)
    delivery = Delivery("POST", URL + called, headers, b"[]")
    wrong = nullcontext() if believed else pytest.raises(SignatureError)

    with wrong:
        SOURCE.verify(delivery, {"HUBSPOT_CLIENT_SECRET": (SECRET,)}, NOW)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"[", b"\xff", b"7", b"null", b"[null]", b"[[]]", b"[" * 200_000),
        {},
        ["company.creation"],
        *({**NEW, "subscriptionType": kind} for kind in (None, "x" * 256)),
        *({**NEW, "occurredAt": at} for at in ("1793520000000", -1, 10**18)),
        {**NEW, "eventId": True},
        {**NEW, "portalId": None},
    ],
)
def test_what_is_no_event_is_a_payload_error(body: Any) -> None:
    with pytest.raises(PayloadError):
        split(body)


def test_what_is_no_event_stands_among_its_siblings_with_the_reason() -> None:
    first, second, third = split([NEW, 7, company("creation", 2)])

    assert ("company.creation", "") == (first.type, first.refusal) == third[1::3]
    assert "the body is not an event, or contains something else" == second.refusal


def test_an_event_is_the_same_at_every_attempt_and_another_for_each_record() -> None:
    one = changed(1, "name", "Acme")
    later = one["occurredAt"] + 1
    changes = ({"attemptNumber": 3}, {"objectId": 2}, {"occurredAt": later})
    first, again, *others = split([one, *({**one, **change} for change in changes)])

    assert first.id == again.id
    assert 3 == len({first.id, *(other.id for other in others)})


def test_a_delivery_has_none_or_a_hundred_events() -> None:
    hundred = [changed(1, "name", f"Name {n}") for n in range(100)]

    assert [] == split([])
    assert 100 == len({one.id for one in split(hundred)})


# --- both vocabularies ------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "more"),
    [
        *((company(what, 1), {}) for what in ("creation", "deletion", "restore")),
        (changed(1, "name", "Acme"), {"isSensitive": False}),
        (merge(1, 2), {}),
        *(
            (event(f"deal.{what}", objectId=9), {"objectTypeId": "0-3"})
            for what in ("creation", "deletion", "restore")
        ),
        (changed(9, "dealstage", "won", "deal"), {"objectTypeId": "0-3"}),
        (
            association("deal", 9, 1),
            {
                "fromObjectTypeId": "0-3",
                "toObjectTypeId": "0-2",
                "associationType": None,
            },
        ),
        (association("company", 1, 9), {}),
    ],
    ids=lambda part: part.get("subscriptionType", ""),
)
def test_the_generic_types_tell_the_same(old: Json, more: Json) -> None:
    what = old["subscriptionType"].partition(".")[2]
    new = {"objectTypeId": "0-2", **old, **more, "subscriptionType": f"object.{what}"}

    assert facts(old, deals=DEALS) == facts(new, deals=DEALS)


@pytest.mark.parametrize(
    ("body", "table", "because"),
    [
        (changed(1, "industry", "RETAIL"), {}, "the property industry of a company"),
        (changed(9, "dealstage", "won", "deal"), {}, "deals are read only if"),
        (event("deal.creation", objectId=9), {}, "deals are read only if"),
        (association("company", 1, 9), {}, "deals are read only if"),
        (changed(9, "x", "x", "deal"), {"deals": DEALS}, "the property x of a deal"),
        (association("deal", 9, 5, "CONTACT"), {"deals": DEALS}, "does not associate"),
        (
            {**association("deal", 9, 5), "associationType": ["?"]},
            {"deals": DEALS},
            "does not associate",
        ),
        (changed(1, "name", "REDACTED"), {}, "is sensitive"),
        (event("contact.creation", objectId=5), {}, "no handler of contact.creation"),
        (event("object.creation", objectTypeId="0-1"), {}, "handler of 0-1.creation"),
        (event("object.creation", objectTypeId={}), {}, "handler of object.creation"),
        (event("object.x", objectTypeId="0-2"), {}, "no handler of company.x"),
    ],
)
def test_what_changes_no_account_is_ignored_with_the_reason(
    body: Json, table: Json, because: str
) -> None:
    assert because in Reader(SOURCE, table).why_not(body)


# --- companies ----------------------------------------------------------------------


def test_each_property_is_a_thing_of_its_own_stamped_with_its_time() -> None:
    stage, seats = changed(1, STAGE, "customer", at=5), changed(1, SEATS, "25", at=7)

    found = facts(stage, seats, traits=TRAITS)

    assert [("trait:stage", "customer"), ("trait:seats", 25)] == [
        (fact.thing, fact.value["is"]) for fact in found
    ]
    assert 2 == found[1].stamp.at - found[0].stamp.at


def test_a_long_or_odd_name_or_text_is_cut_and_cleaned() -> None:
    name = changed(1, "name", "Blue\nDoor\ud83d" + "x" * 3000)
    stage = changed(1, STAGE, "y\x00" * 2000, at=2)

    found = values(name, stage, traits=TRAITS)

    assert "Blue Door\ufffd" + "x" * 244 + "…" == found["name"]["name"]
    assert "y " * 999 + "y…" == found["trait:stage"]["is"]


def test_half_a_character_in_an_account_s_id_leaves_the_company_held() -> None:
    found = parties(changed(1, "code", "acme\ud83d"), account="code")
    identity = identify(found["hubspot:1"].things)

    assert None is identity.account
    assert "cannot be an account's id" in identity.reason


def test_a_property_may_be_two_traits_and_the_account() -> None:
    traits = {"stage": "code", "copy": "code"}

    assert {
        "account": {"account": "acme"},
        "trait:stage": {"is": "acme"},
        "trait:copy": {"is": "acme"},
    } == values(changed(1, "code", "acme"), account="code", traits=traits)


def test_a_cleared_property_is_known_to_be_empty() -> None:
    told = [changed(1, STAGE, ""), changed(1, SEATS, None), changed(1, OWNER, "")]

    assert dict.fromkeys(["trait:stage", "trait:seats", "trait:csm"]) == {
        thing: value["is"] for thing, value in values(*told, traits=TRAITS).items()
    }


def test_a_value_that_is_not_what_the_table_says_is_refused() -> None:
    with pytest.raises(ValidationError, match="must be a number"):
        facts(changed(1, SEATS, "many"), traits=TRAITS)


def test_a_company_s_own_id_is_its_account_unless_a_property_names_it() -> None:
    told = [NEW, changed(1, "name", "Acme")]
    named = changed(1, "vitally_id", " acme ")

    assert "1" == account_of(*told)
    assert "acme" == account_of(*told, named, account="vitally_id")
    assert None is account_of(*told, account="vitally_id")


@pytest.mark.parametrize("back", [True, False])
def test_a_deleted_company_can_be_restored(back: bool) -> None:
    told = [NEW, company("deletion", 1, at=5)]
    told += [company("restore", 1, at=9)] if back else []

    customer = parties(*told)["hubspot:1"].things["customer"]

    assert back == (not customer.value.get("deleted"))
    assert customer.creation_seen


def test_a_company_is_read_when_it_begins() -> None:
    assert {"customer": {"account": "1"}, TO_REFRESH: {}} == values(NEW)


# --- merges -------------------------------------------------------------------------


def test_merged_companies_belong_to_the_one_that_is_left() -> None:
    found = parties(
        NEW,
        company("creation", 2),
        changed(2, "name", "Later", at=99),
        merge(1, 2, at=9),
    )
    gone = found["hubspot:2"].things

    assert ["1", "1"] == [identify(party.things).account for party in found.values()]
    assert gone["customer"].value["deleted"]
    assert gone["customer"].fact.stamp.final


def test_who_was_merged_has_no_say_in_the_account_any_more() -> None:
    found = parties(
        changed(2, "name", "Kept", at=1),
        changed(2, STAGE, "customer", at=1),
        changed(1, "name", "A newer name", at=5),
        changed(1, STAGE, "lead", at=5),
        merge(2, 1, at=9),
        traits={"stage": STAGE},
    )

    made = document(unite("2", [*found.values()]))

    assert ("Kept", {"stage": "customer"}) == (made.name.text, made.traits)


@pytest.mark.parametrize("account", ["", "vitally_id"])
def test_a_merge_may_make_a_new_company_of_both(account: str) -> None:
    """Where a property names the account all three have to be read."""
    gone = {"deleted": True, "into": "hubspot:3"} | (
        {} if account else {"account": "3"}
    )
    asked = ["company:3", "company:1", "company:2"] if account else []

    found = facts(merge(1, 2, new=3), **({"account": account} if account else {}))

    assert [
        *((f"hubspot:{id_}", "customer", gone) for id_ in (1, 2)),
        *((f"pointer:hubspot:{one}", TO_REFRESH, {"twice": True}) for one in asked),
    ] == [(fact.party, fact.thing, fact.value) for fact in found]


# --- what has to be read --------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "thing"),
    [
        (changed(1, OWNER, "70"), "company:1"),
        *(
            (event(f"deal.{what}", objectId=9), "deal:9")
            for what in ("creation", "deletion", "restore")
        ),
        (changed(9, "dealstage", "closedwon", "deal"), "deal:9"),
        (changed(9, "hs_mrr", "450.00", "deal"), "deal:9"),
        ({**merge(9, 8), "subscriptionType": "deal.merge"}, "deal:9"),
        (association("deal", 9, 1), "company:1"),
        (association("company", 1, 9), "company:1"),
    ],
)
def test_an_event_that_does_not_tell_it_names_what_has_to_be_read(
    body: Json, thing: str
) -> None:
    (asked,) = facts(body, deals=DEALS, traits=TRAITS)

    assert (f"pointer:hubspot:{thing}", TO_REFRESH) == (asked.party, asked.thing)


def test_the_traits_of_the_table_are_told() -> None:
    assert ["stage", "seats", "csm"] == [*SOURCE.table({"traits": TRAITS}).traits]
