"""What the HubSpot source makes of events, beyond the recorded ones."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

import bridge.sources.hubspot
from bridge.domain.account import Party, identify, unite
from bridge.domain.document import document
from bridge.domain.facts import Fact
from bridge.domain.fold import History, fold
from bridge.domain.values import TO_REFRESH
from bridge.errors import PayloadError, SignatureError
from bridge.sources.hubspot import SOURCE
from bridge.webhook.auth import HUBSPOT, sign
from bridge.webhook.source import Delivery, Event, Verified
from tests.support.local_hubspot import (
    association,
    changed,
    company,
    event,
    merge,
)

FIXTURES = Path(bridge.sources.hubspot.__file__).parent / "fixtures"
NAMES = sorted(p.name for p in FIXTURES.glob("*__*.json") if ".facts." not in p.name)
DEFAULTS = {option.name: option.default for option in SOURCE.options}
SECRET = "example-client-secret"
NOW = 1_793_520_000.0
URL = "https://bridge.example.com/webhooks/hubspot"


def options(**said: Any) -> dict[str, Any]:
    """The options under a table of `bridge.toml`."""
    table = SOURCE.table(said)
    assert not table.problems
    return {**DEFAULTS, **table.values}


def split(body: Any) -> list[Event]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return list(SOURCE.split(Verified(Delivery("POST", "", {}, raw))))


def facts(*told: dict[str, Any], **said: Any) -> list[Fact]:
    """The facts of events under a table; none of what is ignored."""
    under, found = options(**said), []
    for one in split(list(told)):
        if SOURCE.ignores(one, under) is None:
            handler = SOURCE.handlers[one.type]
            found += handler.facts(one, handler.schema.load(one.body), under)
    return found


def values(*told: dict[str, Any], **said: Any) -> dict[str, Any]:
    """Thing -> value of the facts."""
    return {fact.thing: dict(fact.value) for fact in facts(*told, **said)}


def folded(found: list[Fact], party: str = "hubspot:1") -> Party:
    mine = [fact for fact in found if fact.party == party]
    return Party(party, fold(History(mine)))


# --- the door -------------------------------------------------------------------


def proved(called: str, signed: str, **changes: Any) -> bool:
    """Whether a delivery to the URL *called* is believed, its signature over *signed*."""
    headers = sign(HUBSPOT, SECRET, b"[]", NOW, url=signed)
    delivery = Delivery("POST", called, headers, b"[]")._replace(**changes)
    try:
        found = {**DEFAULTS, "HUBSPOT_CLIENT_SECRET": ("another", SECRET)}
        return bool(SOURCE.verify(delivery, found, NOW))
    except SignatureError:
        return False


def test_the_called_address_and_the_body_are_signed() -> None:
    assert proved(URL, URL)
    assert not proved(URL, URL, body=b"[ ]")
    assert not proved(URL, URL, method="PUT")
    assert not proved(URL, "http://127.0.0.1:8000/webhooks/hubspot")


@pytest.mark.parametrize(
    ("called", "signed", "believed"),
    [
        ("?a=%3A%2f%3F%40%21%24%27%28%29%2A%2C%3B", "?a=:/?@!$'()*,;", True),
        ("?a=b%20c%26%3D%25", "?a=b%20c%26%3D%25", True),
        ("?a=b%20c", "?a=b c", False),
        ("?a=%3A", "?a=%3A", False),
    ],
)
def test_a_listed_escape_is_signed_as_the_character(
    called: str, signed: str, believed: bool
) -> None:
    assert believed == proved(URL + called, URL + signed)


@pytest.mark.parametrize(
    ("age", "believed"), [(299, True), (301, False), (-301, False)]
)
def test_a_signature_is_good_for_five_minutes_both_ways(
    age: int, believed: bool
) -> None:
    headers = sign(HUBSPOT, SECRET, b"[]", NOW - age, url=URL)

    assert believed == proved(URL, URL, headers=headers)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[",
        b"\xff",
        b"7",
        b"null",
        b"[null]",
        b"[[]]",
        b"[" * 200_000,
        {},
        {**company("creation", 1), "subscriptionType": None},
        {**company("creation", 1), "subscriptionType": "x" * 256},
        {**company("creation", 1), "occurredAt": "1793520000000"},
        {**company("creation", 1), "occurredAt": -1},
        {**company("creation", 1), "occurredAt": 10**18},
        {**company("creation", 1), "eventId": True},
        {**company("creation", 1), "portalId": None},
        ["company.creation"],
    ],
)
def test_what_is_no_event_is_a_payload_error(body: Any) -> None:
    with pytest.raises(PayloadError):
        split(body)


def test_what_is_no_event_stands_among_its_siblings_with_the_reason() -> None:
    first, second, third = split([company("creation", 1), 7, company("creation", 2)])

    assert ("company.creation", "") == (first.type, first.refusal) == third[1::3]
    assert "the body is no event, or holds what is none" == second.refusal


@given(st.binary(max_size=200))
def test_any_bytes_are_events_or_a_payload_error(body: bytes) -> None:
    with contextlib.suppress(PayloadError):
        split(body)


def test_nothing_at_all_is_no_event() -> None:
    assert [] == split([])


def test_a_hundred_events_of_one_delivery_are_a_hundred() -> None:
    told = [changed(1, "name", f"Name {n}") for n in range(100)]

    assert 100 == len({one.id for one in split(told)})


def test_an_event_is_the_same_at_every_attempt_and_another_for_each_record() -> None:
    one = changed(1, "name", "Acme")
    (first, again, other, later) = split(
        [
            one,
            {**one, "attemptNumber": 3},
            {**one, "objectId": 2},
            {**one, "occurredAt": one["occurredAt"] + 1},
        ]
    )

    assert first.id == again.id
    assert 3 == len({first.id, other.id, later.id})


# --- both vocabularies ------------------------------------------------------------

PAIRS = [
    (company("creation", 1), {"objectTypeId": "0-2"}),
    (company("deletion", 1), {"objectTypeId": "0-2"}),
    (company("restore", 1), {"objectTypeId": "0-2"}),
    (changed(1, "name", "Acme"), {"objectTypeId": "0-2", "isSensitive": False}),
    (merge(1, 2), {"objectTypeId": "0-2"}),
    (event("deal.creation", objectId=9), {"objectTypeId": "0-3"}),
    (changed(9, "dealstage", "won", "deal"), {"objectTypeId": "0-3"}),
    (event("deal.deletion", objectId=9), {"objectTypeId": "0-3"}),
    (
        association("deal", 9, 1),
        {"fromObjectTypeId": "0-3", "toObjectTypeId": "0-2", "associationTypeId": 5},
    ),
    (association("company", 1, 9), {}),
]


@pytest.mark.parametrize(
    ("old", "more"), PAIRS, ids=lambda p: p.get("subscriptionType", "")
)
def test_the_generic_types_tell_the_same(
    old: dict[str, Any], more: dict[str, Any]
) -> None:
    what = old["subscriptionType"].partition(".")[2]
    new = {**old, **more, "subscriptionType": f"object.{what}"}
    if more and what == "associationChange":
        del new["associationType"]

    assert facts(old, deals={"mrr": "hs_mrr"}) == facts(new, deals={"mrr": "hs_mrr"})


def reason(told: dict[str, Any], **said: Any) -> str:
    (one,) = split(told)
    found = SOURCE.ignores(one, options(**said))
    if found is None:
        assert one.type not in SOURCE.handlers
        return f"no handler of {one.type}"
    return found


DEALS = {"mrr": "hs_mrr"}


@pytest.mark.parametrize(
    ("told", "said", "because"),
    [
        (changed(1, "industry", "RETAIL"), {}, "the property industry of a company"),
        (changed(9, "dealstage", "won", "deal"), {}, "deals are read only where"),
        (event("deal.creation", objectId=9), {}, "deals are read only where"),
        (association("company", 1, 9), {}, "deals are read only where"),
        (
            changed(9, "description", "x", "deal"),
            {"deals": DEALS},
            "the property description of a deal",
        ),
        (association("deal", 9, 5, "CONTACT"), {"deals": DEALS}, "binds no deal"),
        (
            {**association("deal", 9, 5), "associationType": ["?"]},
            {"deals": DEALS},
            "binds no deal",
        ),
        (changed(1, "name", "REDACTED"), {}, "is sensitive"),
        (event("contact.creation", objectId=5), {}, "no handler of contact.creation"),
        (
            event("object.creation", objectId=5, objectTypeId="0-1"),
            {},
            "no handler of 0-1.creation",
        ),
        (event("object.creation", objectId=5, objectTypeId={}), {}, "object.creation"),
        (event("object.x", objectId=5, objectTypeId="0-2"), {}, "no handler"),
    ],
)
def test_what_changes_no_account_is_ignored_with_the_reason(
    told: dict[str, Any], said: dict[str, Any], because: str
) -> None:
    assert because in reason(told, **said)


# --- companies ----------------------------------------------------------------------

TRAITS = {
    "stage": "lifecyclestage",
    "seats": {"property": "seats", "as": "number"},
    "renews": {"property": "renewal_date", "as": "date"},
    "csm": {"property": "hubspot_owner_id", "as": "owner"},
}


def test_each_property_is_a_thing_of_its_own_stamped_with_its_time() -> None:
    found = facts(
        changed(1, "lifecyclestage", "customer", at=5),
        changed(1, "seats", "25", at=7),
        traits=TRAITS,
    )

    assert [("trait:stage", "customer"), ("trait:seats", 25)] == [
        (fact.thing, fact.value["is"]) for fact in found
    ]
    assert 2 == found[1].stamp.at - found[0].stamp.at


def test_a_long_or_odd_name_or_text_is_cut_and_cleaned() -> None:
    said = changed(1, "name", "Blue\nDoor\ud83d" + "x" * 3000)
    stage = changed(1, "lifecyclestage", "y\x00" * 2000, at=2)

    found = values(said, stage, traits=TRAITS)

    assert "Blue Door\ufffd" + "x" * 244 + "…" == found["name"]["name"]
    assert "y " * 999 + "y…" == found["trait:stage"]["is"]


def test_half_a_character_in_an_account_s_id_leaves_the_company_held() -> None:
    named = facts(changed(1, "code", "acme\ud83d"), account="code")
    identity = identify(folded(named).things)

    assert None is identity.account
    assert "cannot be an account's id" in identity.reason


def test_a_property_may_be_two_traits_and_the_account() -> None:
    both = {"stage": "code", "copy": "code"}

    found = values(changed(1, "code", "acme"), account="code", traits=both)

    assert {
        "account": {"account": "acme"},
        "trait:stage": {"is": "acme"},
        "trait:copy": {"is": "acme"},
    } == found


def test_a_cleared_property_is_known_to_be_empty() -> None:
    found = values(
        changed(1, "lifecyclestage", ""),
        changed(1, "seats", None),
        changed(1, "hubspot_owner_id", ""),
        traits=TRAITS,
    )

    assert {"trait:stage", "trait:seats", "trait:csm"} == set(found)
    assert [None] * 3 == [value["is"] for value in found.values()]


def test_the_name_of_a_user_has_to_be_read() -> None:
    (asked,) = facts(changed(1, "hubspot_owner_id", "70"), traits=TRAITS)

    assert ("pointer:hubspot:company:1", TO_REFRESH) == (asked.party, asked.thing)


def test_a_value_that_is_not_what_the_table_says_is_refused() -> None:
    with pytest.raises(ValidationError, match="must be a number"):
        facts(changed(1, "seats", "many"), traits=TRAITS)


def test_a_company_s_own_id_is_its_account_unless_a_property_names_it() -> None:
    told = [company("creation", 1), changed(1, "name", "Acme")]

    assert "1" == identify(folded(facts(*told)).things).account
    named = facts(*told, changed(1, "vitally_id", " acme "), account="vitally_id")
    assert "acme" == identify(folded(named).things).account
    unnamed = facts(*told, account="vitally_id")
    assert None is identify(folded(unnamed).things).account


@pytest.mark.parametrize("turn", [1, -1])
def test_an_older_change_loses(turn: int) -> None:
    told = [
        changed(1, "name", "Older", at=1),
        changed(1, "name", "Newer", at=2),
    ]

    account = unite("1", [folded(facts(*told[::turn]))])

    assert "Newer" == account.name(str).text


@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize("back", [True, False])
def test_a_deleted_company_can_be_restored(turn: int, back: bool) -> None:
    told = [company("creation", 1), company("deletion", 1, at=5)]
    told += [company("restore", 1, at=9)] if back else []

    things = folded(facts(*told[::turn])).things

    assert back == (not things["customer"].value.get("deleted"))
    assert things["customer"].creation_seen


def test_a_company_is_read_when_it_begins() -> None:
    assert {"customer": {"account": "1"}, TO_REFRESH: {}} == values(
        company("creation", 1)
    )


# --- merges -------------------------------------------------------------------------


@pytest.mark.parametrize("turn", [1, -1])
def test_merged_companies_belong_to_the_one_that_is_left(turn: int) -> None:
    told = [
        company("creation", 1),
        company("creation", 2),
        changed(2, "name", "Later", at=99),
        merge(1, 2, at=9),
    ]
    found = facts(*told[::turn])

    kept, gone = folded(found), folded(found, "hubspot:2")

    assert "1" == identify(kept.things).account
    assert "1" == identify(gone.things).account
    assert gone.things["customer"].value["deleted"]
    assert gone.things["customer"].fact.stamp.final


def test_a_merge_may_make_a_new_company_of_both() -> None:
    found = facts(merge(1, 2, new=3))

    assert {"hubspot:1": "3", "hubspot:2": "3"} == {
        fact.party: fact.value["account"] for fact in found
    }


def test_who_was_merged_has_no_say_in_the_account_any_more() -> None:
    told = facts(
        changed(2, "name", "Kept", at=1),
        changed(2, "lifecyclestage", "customer", at=1),
        changed(1, "name", "A newer name", at=5),
        changed(1, "lifecyclestage", "lead", at=5),
        merge(2, 1, at=9),
        traits={"stage": "lifecyclestage"},
    )

    found = document(unite("2", [folded(told), folded(told, "hubspot:2")]))

    assert ("Kept", {"stage": "customer"}) == (found.name.text, found.traits)


def test_where_a_property_names_the_account_merged_companies_are_read() -> None:
    found = facts(merge(1, 2, new=3), account="vitally_id")

    assert [
        ("hubspot:1", "customer", {"deleted": True, "into": "hubspot:3"}),
        ("hubspot:2", "customer", {"deleted": True, "into": "hubspot:3"}),
        ("pointer:hubspot:company:3", TO_REFRESH, {"twice": True}),
        ("pointer:hubspot:company:1", TO_REFRESH, {"twice": True}),
        ("pointer:hubspot:company:2", TO_REFRESH, {"twice": True}),
    ] == [(fact.party, fact.thing, fact.value) for fact in found]


# --- deals --------------------------------------------------------------------------


def test_a_deal_asks_whose_it_is() -> None:
    told = [
        event("deal.creation", objectId=9),
        changed(9, "dealstage", "closedwon", "deal"),
        changed(9, "hs_mrr", "450.00", "deal"),
        event("deal.deletion", objectId=9),
        event("deal.restore", objectId=9),
        {**merge(9, 8), "subscriptionType": "deal.merge"},
    ]

    found = facts(*told, deals=DEALS)

    assert [("pointer:hubspot:deal:9", TO_REFRESH)] * 6 == [
        (fact.party, fact.thing) for fact in found
    ]


@pytest.mark.parametrize(
    "told", [association("deal", 9, 1), association("company", 1, 9)]
)
def test_an_association_names_the_company_that_has_to_be_read(
    told: dict[str, Any],
) -> None:
    (asked,) = facts(told, deals=DEALS)

    assert "pointer:hubspot:company:1" == asked.party


# --- the table ----------------------------------------------------------------------


def test_the_traits_of_the_table_are_told() -> None:
    assert ["stage", "seats", "renews", "csm"] == [*SOURCE.table({"traits": TRAITS})[1]]


# --- garbage ------------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.sampled_from(NAMES), st.data())
def test_any_change_of_an_event_yields_facts_or_is_refused(
    name: str, data: st.DataObject
) -> None:
    body = json.loads((FIXTURES / name).read_bytes())
    one = data.draw(st.sampled_from(body if isinstance(body, list) else [body]))
    one[data.draw(st.sampled_from(sorted(one)))] = data.draw(JSON)
    try:
        found = SOURCE.split(Verified(Delivery("", "", {}, json.dumps(one).encode())))
    except PayloadError:
        return
    under = options(account="vitally_id", traits=TRAITS, deals=DEALS)
    for told in found:
        handler = SOURCE.handlers.get(told.type)
        if SOURCE.ignores(told, under) is None and handler is not None:
            with contextlib.suppress(ValidationError):
                for fact in handler.facts(told, handler.schema.load(told.body), under):
                    json.dumps(fact.value, allow_nan=False)
