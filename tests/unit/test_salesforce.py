"""Salesforce: who may send an outbound message, what is kept of it, what it means."""

from __future__ import annotations

import itertools
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from bridge.domain.account import Identity
from bridge.domain.document import Document
from bridge.domain.fold import History, fold
from bridge.errors import PayloadError, SignatureError
from bridge.sources.salesforce import SOURCE
from bridge.sources.salesforce.facts import Record
from bridge.webhook.source import Delivery, Verified
from tests.support.reader import Reader
from tests.support.salesforce import (
    ACCOUNT,
    DEAL,
    ORG,
    SESSION,
    TOKEN,
    account,
    deal,
    message,
    notification,
    stamp,
    url,
)

RULES = {
    "account": "Vitally_Id__c",
    "traits": {
        "industry": "Industry",
        "seats": {"field": "Seats__c", "as": "number"},
        "renewal": {"field": "Renewal__c", "as": "date"},
        "isPartner": {"field": "Partner__c", "as": "boolean"},
        "target": {"field": "Target__c", "as": "money"},
    },
}
FIELDS = {
    "mrr": "MRR__c",
    "currency": "CurrencyIsoCode",
    "renews": "Renews__c",
    "ended": "Ended__c",
}
DEALS = {"opportunities": FIELDS}
DIAERESIS = "T\N{LATIN SMALL LETTER U WITH DIAERESIS}r"

events = Reader(SOURCE).events


def outcome(*told: str, **table: Any) -> tuple[set[Identity], Document]:
    """Whose the records of a message are, and what they mean."""
    return Reader(SOURCE, table).outcome(message(*told))


def verified(body: bytes, org: str = ORG) -> Verified:
    options = {"SALESFORCE_ORG_ID": org, "SALESFORCE_WEBHOOK_TOKEN": TOKEN}
    return SOURCE.verify(Delivery("POST", url(), {}, body), options, 0)


# --- Who may send it -----------------------------------------------------------------


@pytest.mark.parametrize("org", [ORG, ORG[:15]])
@pytest.mark.parametrize("own", [ORG, ORG[:15]])
def test_the_right_token_and_organisation_are_believed(org: str, own: str) -> None:
    assert verified(message(account(), org=org), org=own)


@pytest.mark.parametrize(
    "org",
    [
        *("", ORG.lower(), ORG[:14], "00Dxx0000000002"),
        f"{ORG}</OrganizationId><x>",
        f"{ORG}</OrganizationId><OrganizationId>00Dxx0000000002",
    ],
)
def test_another_organisation_is_refused_and_a_second_one(org: str) -> None:
    with pytest.raises(SignatureError):
        verified(message(account(), org=org))


def test_a_record_s_own_organisation_is_a_field_like_any_other() -> None:
    assert verified(message(account(OrganizationId="00Dxx0000000002")))


@pytest.mark.parametrize("missing", ["SALESFORCE_ORG_ID", "SALESFORCE_WEBHOOK_TOKEN"])
def test_without_both_settings_the_source_is_off(missing: str) -> None:
    whole = {"SALESFORCE_ORG_ID": ORG, "SALESFORCE_WEBHOOK_TOKEN": TOKEN}

    assert SOURCE.enabled(whole)
    assert not SOURCE.enabled({**whole, missing: None})


ENTITY = (
    b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'
    + message(account(Name="&b;")).partition(b"?>")[2]
)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"\0", b"{}", b"<a>" * 100_000 + b"</a>" * 100_000),
        b'<?xml version="1.0" encoding="none"?><a/>',
        b'<?xml version="1.0" encoding="big5"?><a/>',
        b'<!DOCTYPE x SYSTEM "file:///etc/hostname"><a/>',
        ENTITY,
        message(account())[:-1],
        message(account()).replace(b"?>", b"?><!DOCTYPE x>", 1),
    ],
)
def test_what_is_no_message_names_no_organisation(body: bytes) -> None:
    with pytest.raises(SignatureError):
        verified(body)


TAGS = ("</notifications>", "<SessionId>", "</SessionId>", "<Id>04l</Id>", "<sObject/>")
PIECES = st.sampled_from([account(), deal(), "<Notification>", *TAGS, "&amp;", "&x;"])


@given(st.lists(PIECES | st.text(st.characters(codec="utf-8")), max_size=6))
def test_no_message_is_more_than_refused(pieces: list[str]) -> None:
    """It is 401 or the quarantine; anything else would be a 500."""
    with suppress(SignatureError, PayloadError, ValidationError):
        body = verified(message(*pieces)).body
        Reader(SOURCE, {**RULES, **DEALS}).facts(body)


# --- What is kept of it --------------------------------------------------------------


def test_no_session_is_kept_and_all_else_is() -> None:
    told = account(Name=DIAERESIS)
    body = message(told, session=f"{SESSION}<![CDATA[{SESSION}]]>")
    kept = verified(body)

    assert SESSION.encode() in body
    assert SESSION.encode() not in kept.body
    assert b"SessionId" not in kept.body
    assert events(body) == events(kept.body)
    assert DIAERESIS == events(kept.body)[0].body["Name"]


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("", "no notification"),
        ("<Notification><Id>04l</Id></Notification>", "no record"),
        ("<Notification><sObject/></Notification>", "no Id"),
        ("<Notification><Id>04l</Id><sObject/></Notification>", "has no type"),
        (notification("Account", id_="x" * 256), "no Id"),
    ],
)
def test_a_message_without_a_record_says_why(told: str, reason: str) -> None:
    with pytest.raises(PayloadError, match=reason):
        events(message(told))


def test_a_message_has_an_event_for_each_record() -> None:
    body = message(*(account(n, Id=f"001xx{n:010d}") for n in range(100)))

    assert 100 == len({event.id for event in events(body)}) == len(events(body))
    assert 100 == len({fact.party for fact in Reader(SOURCE).facts(body)})


def test_a_notification_that_is_sent_again_is_the_same_event_if_it_says_the_same() -> (
    None
):
    first, again, newer = events(
        *(
            message(notification("Account", "04l1", Id=ACCOUNT, **stamp(minute)))
            for minute in (1, 1, 2)
        )
    )

    assert first == again
    assert first.id != newer.id


def test_the_answer_is_an_acknowledgement() -> None:
    answer = SOURCE.ack

    assert answer is not None
    assert 200 == answer.status
    assert answer.content_type.startswith("text/xml")
    assert b"<Ack>true</Ack>" in answer.body


# --- Accounts ------------------------------------------------------------------------


def test_an_account_is_its_name_and_the_traits_that_the_table_names() -> None:
    names, doc = outcome(
        account(
            Vitally_Id__c="acme",
            Industry="Retail & more",
            Seats__c="25.0",
            Renewal__c="2027-03-31",
            Partner__c="true",
            Target__c="1.25E7",
            Other__c="not asked for",
        ),
        **RULES,
    )

    assert ({Identity("acme")}, "Blue Door") == (names, doc.name.text)
    assert {
        "industry": "Retail & more",
        "seats": 25,
        "renewal": "2027-03-31T00:00:00.000Z",
        "isPartner": True,
        "target": 12500000,
    } == doc.traits


def test_a_field_that_is_blank_is_a_cleared_one() -> None:
    _, doc = outcome(account(1, Industry="Retail"), account(2, Industry=" "), **RULES)

    assert doc.traits["industry"] is None


OF_ACCOUNTS = {
    "Name": ["Acme", "Blue Door", None],
    "Vitally_Id__c": ["sf-1", "sf-2", None],
    "Industry": ["Retail", None],
    "Seats__c": ["5", "7", None],
}


def selections(of: dict[str, list[Any]]) -> st.SearchStrategy[list[dict[str, Any]]]:
    """What several messages select, each any of these fields."""
    any_of = {name: st.sampled_from(values) for name, values in of.items()}
    return st.lists(st.fixed_dictionaries({}, optional=any_of), min_size=1, max_size=6)


@given(st.data())
def test_messages_that_select_this_or_that_end_alike_in_any_order(
    data: st.DataObject,
) -> None:
    """Each field is what the newest message that selects it says."""
    selected = data.draw(selections(OF_ACCOUNTS))
    told = [
        notification("Account", Id=ACCOUNT, **stamp(n), **fields)
        for n, fields in enumerate(selected)
    ]
    names, doc = outcome(*data.draw(st.permutations(told)), **RULES)

    last = {name: value for fields in selected for name, value in fields.items()}
    seats = {"5": 5, "7": 7, None: None}
    traits = {"industry": last.get("Industry"), "seats": seats[last.get("Seats__c")]}
    of = {"industry": "Industry", "seats": "Seats__c"}
    assert {t: traits[t] for t, name in of.items() if name in last} == doc.traits
    assert {last.get("Vitally_Id__c")} == {name.account for name in names}
    assert (last.get("Name") or "account") == doc.name.text


def test_of_a_list_of_selected_fields_these_alone_are_cleared_by_their_absence() -> (
    None
):
    table = {**RULES, "selected": ["Seats__c"]}
    _, doc = outcome(account(1, Industry="Retail", Seats__c="5"), account(2), **table)

    assert {"industry": "Retail", "seats": None} == doc.traits


def test_the_last_change_tells_the_version_where_the_stamp_is_not_selected() -> None:
    last = {"SystemModstamp": None, "LastModifiedDate": "2026-11-01T09:00:00.000Z"}
    _, doc = outcome(account(60, Name="Old"), account(Name="New", **last))

    assert "New" == doc.name.text


def test_without_a_rule_the_id_of_18_characters_is_the_account() -> None:
    names, _ = outcome(account(1), account(2, Id=ACCOUNT[:15]), deal(), **DEALS)

    assert {Identity(ACCOUNT)} == names


def test_without_the_field_of_the_rule_a_record_names_no_account() -> None:
    names, _ = outcome(account(), deal(), **RULES, **DEALS)

    assert {None} == {name.account for name in names}


@pytest.mark.parametrize(
    "whole",
    [
        *("04l1I000000fztEQAQ", "001xx000003DGb1AAG"),
        *("AAAAAAAAAAAAAAA555", "000000000000000AAA"),
    ],
)
def test_an_id_of_15_characters_is_made_18(whole: str) -> None:
    ids = [Record().load({"Id": id_})["id"] for id_ in (whole[:15], whole)]

    assert [whole, whole] == ids


@pytest.mark.parametrize("bad", ["", "001", "001xx000003DGb1A", "001xx000003DGb\u00e9"])
def test_anything_else_is_no_id(bad: str) -> None:
    with pytest.raises(ValidationError, match="15 or 18"):
        Record().load({"Id": bad})


def test_an_account_that_is_deleted_ends_and_can_be_undeleted() -> None:
    life = [deal(1, MRR__c="100", CurrencyIsoCode="USD"), account(2, Industry="Retail")]
    life += [account(3, IsDeleted="true")]
    _, gone = outcome(*life, **DEALS)
    _, back = outcome(*life, account(4), **DEALS)

    assert ("churned", "2026-11-01T00:03:00.000Z") == (
        gone.traits["subscriptionStatus"],
        gone.traits["churnedAt"],
    )
    assert (100, None) == (back.traits["mrr"], back.traits["churnedAt"])


def test_a_deletion_wins_over_what_changed_in_the_same_moment() -> None:
    gone = account(1, IsDeleted="true", Industry="Retail")
    found = Reader(SOURCE, RULES).facts(message(gone, account(1)))

    assert fold(History(found))["customer"].value["deleted"]
    assert "trait:industry" not in {fact.thing for fact in found}


def test_an_account_s_history_is_whole_from_the_first_record_on() -> None:
    found = Reader(SOURCE).facts(message(account()))

    assert fold(History(found))["customer"].creation_seen


@pytest.mark.parametrize(
    ("field", "value", "must"),
    [
        ("Seats__c", "many", "must be a number"),
        ("Renewal__c", "soon", "must be a day"),
        ("Renewal__c", "1772323200", "must be a day"),
        ("Renewal__c", "20260301120000", "must be a day"),
        ("Partner__c", "yes", "must be true or false"),
        ("Vitally_Id__c", "x" * 256, "at most 255"),
        ("IsDeleted", "perhaps", "one of true, false"),
        ("SystemModstamp", None, "Select it"),
    ],
)
def test_a_value_that_cannot_be_meant_is_named(
    field: str, value: str, must: str
) -> None:
    with pytest.raises(ValidationError, match=must) as refused:
        outcome(account(**{field: value}), **RULES)

    assert {field} == refused.value.messages_dict.keys()


# --- Opportunities -------------------------------------------------------------------

MONEY = {"MRR__c": "450.5", "CurrencyIsoCode": "USD", "Renews__c": "2027-11-01"}
WON = deal(1, **MONEY)
NOTHING = dict.fromkeys(["mrr", "subscriptionStatus", "churnedAt"], "left out")
PAYS = {"mrr": 450.5, "subscriptionStatus": "active", "churnedAt": None}
OVER = {
    "mrr": None,
    "subscriptionStatus": "churned",
    "churnedAt": "2026-11-01T00:02:00.000Z",
}
ONE_CURRENCY = {"opportunities": {"mrr": "MRR__c", "currency": "EUR"}}


def other(**fields: str | None) -> str:
    """A second deal of the company."""
    return deal(2, **{**MONEY, "Id": "006xx000001a2bdAAA", **fields})


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        pytest.param(told, wanted, id=name)
        for name, told, wanted in [
            (
                "a won deal is a subscription",
                [account(), WON],
                {
                    **PAYS,
                    "nextRenewalDate": "2027-11-01T00:00:00.000Z",
                    "planName": None,
                    "billingCurrency": "USD",
                    "cancelAt": None,
                },
            ),
            ("its name is the plan's", [deal(1, Name="A", **MONEY)], {"planName": "A"}),
            (
                "yen have no decimals",
                [deal(1, MRR__c="5000", CurrencyIsoCode="JPY")],
                {"mrr": 5000, "billingCurrency": "JPY"},
            ),
            (
                "dinars have three",
                [deal(1, MRR__c="5.125", CurrencyIsoCode="KWD")],
                {"mrr": 5.125},
            ),
            (
                "an exponent is a number",
                [deal(1, MRR__c="1.0E4", CurrencyIsoCode="EUR")],
                {"mrr": 10000},
            ),
            (
                "without a currency the amount is not known",
                [deal(1, **{**MONEY, "CurrencyIsoCode": None})],
                {"mrr": "left out", "subscriptionStatus": "active"},
            ),
            ("one sold once is none", [other(MRR__c=None)], NOTHING),
            ("nor is one for nothing", [other(MRR__c="0.0")], NOTHING),
            ("one sold once beside it", [WON, other(MRR__c=None)], PAYS),
            ("one for nothing beside it", [WON, other(MRR__c="0.0")], PAYS),
            ("one never won", [account(), deal(1, won=False, **MONEY)], NOTHING),
            ("won, then lost", [WON, deal(2, won=False, **MONEY)], OVER),
            ("won, then lost without an amount", [WON, deal(2, won=False)], OVER),
            ("lost, then won", [deal(0, won=False, **MONEY), WON], PAYS),
            ("deleted", [WON, deal(2, IsDeleted="true", **MONEY)], OVER),
            (
                "deleted without saying more",
                [WON, deal(2, IsDeleted="true", IsWon=None)],
                OVER,
            ),
            ("one of two is over", [WON, other(Ended__c="2026-10-31")], PAYS),
            ("without its IsWon nothing is told", [WON, deal(2, IsWon=None)], PAYS),
            ("without its amount nothing is told", [WON, deal(2)], PAYS),
            (
                "a contract that is over ended on its day",
                [deal(1, **MONEY, Ended__c="2026-10-31")],
                {**OVER, "churnedAt": "2026-10-31T00:00:00.000Z"},
            ),
            (
                "one that will end is live until then",
                [deal(1, **MONEY, Ended__c="2027-10-31")],
                {
                    **PAYS,
                    "cancelAt": "2027-10-31T00:00:00.000Z",
                    "nextRenewalDate": None,
                },
            ),
        ]
    ],
)
def test_a_deal_has_its_traits_in_whatever_order_it_is_told(
    told: list[str], wanted: dict[str, Any]
) -> None:
    names, doc = outcome(*told, **DEALS)

    assert wanted == {trait: doc.traits.get(trait, "left out") for trait in wanted}
    assert {Identity(ACCOUNT)} == names


def test_an_amount_that_every_message_selects_is_cleared_by_its_absence() -> None:
    _, doc = outcome(WON, deal(2), **DEALS, selected=["MRR__c"])

    assert OVER == {trait: doc.traits[trait] for trait in OVER}


def test_a_currency_may_be_one_for_all() -> None:
    _, doc = outcome(WON, **ONE_CURRENCY)

    assert (450.5, "EUR") == (doc.traits["mrr"], doc.traits["billingCurrency"])


@pytest.mark.parametrize(
    ("told", "table", "because"),
    [
        (WON, {}, "[sources.salesforce.opportunities]"),
        (deal(AccountId=None), DEALS, "AccountId"),
        (deal(IsWon=None, **MONEY), DEALS, "IsWon must be selected"),
        (deal(), DEALS, "MRR__c must be selected"),
        (notification("Account"), {}, "empty"),
    ],
)
def test_what_tells_too_little_is_ignored_with_the_reason(
    told: str, table: dict[str, Any], because: str
) -> None:
    assert because in Reader(SOURCE, table).why_not(message(told))


OF_DEALS = {
    "MRR__c": ["100", "200"],
    "Renews__c": ["2027-11-01", "2028-11-01", None],
    "Ended__c": ["2026-10-31", "2027-12-31", None],
    "Name": ["Team", "Scale", None],
}


@given(st.data())
def test_messages_about_a_deal_that_select_this_or_that_end_alike_in_any_order(
    data: st.DataObject,
) -> None:
    """Each field is what the newest message that selects it says."""
    selected = [{"MRR__c": "50"}, *data.draw(selections(OF_DEALS))]
    told = [
        deal(n, CurrencyIsoCode="USD", **fields) for n, fields in enumerate(selected)
    ]
    _, doc = outcome(*data.draw(st.permutations(told)), **DEALS)

    last = {name: value for fields in selected for name, value in fields.items()}
    renews, end = last.get("Renews__c"), last.get("Ended__c")
    renewal: str | None = f"{renews}T00:00:00.000Z" if renews else "left out"
    if renews and end and renews > end:
        renewal = None
    wanted = {
        "mrr": int(last["MRR__c"] or 0),
        "subscriptionStatus": "active",
        "churnedAt": None,
        "planName": last.get("Name"),
        "nextRenewalDate": renewal,
    }
    if end == "2026-10-31":
        wanted = dict.fromkeys(wanted) | {
            "subscriptionStatus": "churned",
            "churnedAt": "2026-10-31T00:00:00.000Z",
        }
    assert wanted == {name: doc.traits.get(name, "left out") for name in wanted}


def test_a_deal_belongs_to_its_company() -> None:
    told = message(deal(AccountId=ACCOUNT[:15], **MONEY))
    fact, *_ = Reader(SOURCE, DEALS).facts(told)

    assert f"salesforce:{ACCOUNT}" == fact.party
    assert f"subscription:opp-{DEAL}" == fact.thing


# --- The table -----------------------------------------------------------------------


def test_every_way_to_leave_out_a_line_is_a_table() -> None:
    whole = {**RULES, **DEALS, "selected": ["Name"]}
    for names in itertools.combinations(whole, 2):
        assert not SOURCE.table({name: whole[name] for name in names}).problems

    assert sorted(RULES["traits"]) == sorted(SOURCE.table(RULES).traits)
