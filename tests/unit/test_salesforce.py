"""Salesforce: who may send an outbound message, what is kept of it, what it means."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from bridge.domain.account import Identity, Party, identify, unite
from bridge.domain.document import Document, document
from bridge.domain.facts import Fact
from bridge.domain.fold import History, compact, fold
from bridge.domain.policy import STRIPE
from bridge.errors import PayloadError, SignatureError
from bridge.sources.salesforce import SOURCE, Record
from bridge.webhook.source import Delivery, Event, Verified
from tests.support.lives import by_party
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

OPTIONS = {"SALESFORCE_ORG_ID": ORG, "SALESFORCE_WEBHOOK_TOKEN": TOKEN}

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
DEALS = {
    "opportunities": {
        "mrr": "MRR__c",
        "currency": "CurrencyIsoCode",
        "renews": "Renews__c",
        "ended": "Ended__c",
    }
}


def verified(body: bytes, address: str = url(), **options: Any) -> Verified:
    delivery = Delivery("POST", address, {}, body)
    return SOURCE.verify(delivery, {**OPTIONS, **options}, 0)


def events(*notifications: str) -> list[Event]:
    return list(SOURCE.split(verified(message(*notifications))))


def facts(told: Iterable[Event], said: Mapping[str, Any]) -> Iterator[Fact]:
    """The way of the ingress, without storage."""
    table = SOURCE.table(said)
    assert not table.problems
    options = {**OPTIONS, **table.values}
    for event in told:
        handler = SOURCE.handlers.get(event.type)
        if handler is not None and SOURCE.ignores(event, options) is None:
            loaded = handler.schema.load(event.body)
            yield from handler.facts(event, loaded, options)


def outcome(*notifications: str, **said: Any) -> tuple[set[Identity], Document]:
    """What the records mean; the same in whatever order they come, and twice over."""
    told = events(*notifications)
    found = []
    for order in (told, told[::-1], [*told[::2], *told]):
        by_name = by_party(facts(order, said)).items()
        histories = {party: compact(History(own)) for party, own in by_name}
        parties = [Party(name, fold(history)) for name, history in histories.items()]
        names = {identify(party.things) for party in parties}
        policy = STRIPE._replace(crm=frozenset({"salesforce"}))
        found.append((names, document(unite("account", parties), policy)))
    assert all(one == found[0] for one in found)
    return found[0]


# --- Who may send it -----------------------------------------------------------------


@pytest.mark.parametrize("org", [ORG, ORG[:15]])
@pytest.mark.parametrize("own", [ORG, ORG[:15]])
def test_the_right_token_and_organisation_are_believed(org: str, own: str) -> None:
    assert verified(message(account(), org=org), SALESFORCE_ORG_ID=own)


@pytest.mark.parametrize(
    "address",
    [
        "http://bridge.example/webhooks/salesforce",
        url(token=""),
        url(token="wrong"),
        url(token=TOKEN.upper()),
        f"{url()}&token={TOKEN}",
        f"{url()}&token=",
        url().replace("token", "tokens"),
        f"http://[::{url().partition('example')[2]}x",
        url(token="\N{SNOWMAN}"),
    ],
)
def test_another_token_is_refused(address: str) -> None:
    with pytest.raises(SignatureError):
        verified(message(account()), address)


@pytest.mark.parametrize(
    "org", ["", ORG.lower(), ORG[:14], "00Dxx0000000002", f"{ORG}</OrganizationId><x>"]
)
def test_another_organisation_is_refused(org: str) -> None:
    with pytest.raises(SignatureError):
        verified(message(account(), org=org))


def test_a_message_of_two_organisations_is_refused() -> None:
    two = f"{ORG}</OrganizationId><OrganizationId>00Dxx0000000002"

    with pytest.raises(SignatureError):
        verified(message(account(), org=two))


def test_a_record_s_own_organisation_is_a_field_like_any_other() -> None:
    assert verified(message(account(OrganizationId="00Dxx0000000002")))


@pytest.mark.parametrize("missing", sorted(OPTIONS))
def test_without_both_settings_the_source_is_off(missing: str) -> None:
    assert SOURCE.enabled(OPTIONS)
    assert not SOURCE.enabled({**OPTIONS, missing: None})


ENTITY = (
    b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]>'
    + message(account(Name="&b;")).partition(b"?>")[2]
)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0",
        b"{}",
        b"<a>" * 100_000 + b"</a>" * 100_000,
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


@given(st.binary())
def test_no_body_is_more_than_refused(body: bytes) -> None:
    with pytest.raises(SignatureError):
        verified(body)


@given(st.text(st.characters(codec="utf-8")))
def test_no_address_is_more_than_refused(address: str) -> None:
    with pytest.raises(SignatureError):
        verified(message(account()), f"http://x/webhooks/salesforce?{address}")


TAGS = ("</notifications>", "<SessionId>", "</SessionId>", "<Id>04l</Id>", "<sObject/>")
PIECES = st.sampled_from([account(), deal(), "<Notification>", *TAGS, "&amp;", "&x;"])


@given(st.lists(PIECES | st.text(st.characters(codec="utf-8")), max_size=6))
def test_no_message_is_more_than_refused(pieces: list[str]) -> None:
    """It is 401 or the quarantine; anything else would be a 500."""
    with suppress(SignatureError, PayloadError, ValidationError):
        told = list(SOURCE.split(verified(message(*pieces))))
        list(facts(told, {**RULES, **DEALS}))


# --- What is kept of it --------------------------------------------------------------


def test_no_session_is_kept() -> None:
    body = message(account(), session=f"{SESSION}<![CDATA[{SESSION}]]>")
    kept = verified(body)

    assert SESSION.encode() in body
    assert SESSION.encode() not in kept.body
    assert b"SessionId" not in kept.body
    assert list(SOURCE.split(kept)) == list(SOURCE.split(Verified(kept)))


def test_all_else_is_kept() -> None:
    kept = verified(message(account(Name="T\N{LATIN SMALL LETTER U WITH DIAERESIS}r")))

    assert (
        "T\N{LATIN SMALL LETTER U WITH DIAERESIS}r"
        == (next(iter(SOURCE.split(kept))).body["Name"])
    )


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ("", "no notification"),
        ("<Notification><Id>04l</Id></Notification>", "no record"),
        ("<Notification><sObject/></Notification>", "no Id"),
        ("<Notification><Id>04l</Id><sObject/></Notification>", "what it is"),
        (notification("Account", id_="x" * 256), "no Id"),
    ],
)
def test_a_message_without_a_record_says_why(told: str, reason: str) -> None:
    with pytest.raises(PayloadError, match=reason):
        events(told)


def test_a_message_has_an_event_for_each_record() -> None:
    many = [account(n, Id=f"001xx{n:010d}") for n in range(100)]
    told = events(*many)

    assert 100 == len({event.id for event in told}) == len(told)
    assert 100 == len({fact.party for fact in facts(told, {})})


def test_a_notification_that_is_sent_again_is_the_same_event_only_if_it_says_the_same() -> (
    None
):
    first, again, newer = (
        events(notification("Account", "04l1", Id=ACCOUNT, **stamp(minute)))[0]
        for minute in (1, 1, 2)
    )

    assert first == again
    assert first.id != newer.id


def test_the_answer_is_an_acknowledgement() -> None:
    answer = SOURCE.answer

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

    assert {Identity("acme")} == names
    assert "Blue Door" == doc.name.text
    assert {
        "industry": "Retail & more",
        "seats": 25,
        "renewal": "2027-03-31T00:00:00.000Z",
        "isPartner": True,
        "target": 12500000,
    } == doc.traits


@pytest.mark.parametrize("empty", [None, " "])
def test_a_field_that_is_empty_is_a_cleared_one(empty: str | None) -> None:
    told = (account(1, Industry="Retail"), account(2, Industry=empty))
    _, doc = outcome(*told, **RULES)

    assert doc.traits["industry"] is None


def test_what_a_message_does_not_select_is_no_news() -> None:
    one = notification(
        "Account",
        Id=ACCOUNT,
        Name="Acme",
        Vitally_Id__c="sf-1",
        Industry="Retail",
        Seats__c="5",
        **stamp(1),
    )
    two = notification("Account", Id=ACCOUNT, Industry="Energy", **stamp(2))
    names, doc = outcome(one, two, **RULES)

    assert {Identity("sf-1")} == names
    assert "Acme" == doc.name.text
    assert {"industry": "Energy", "seats": 5} == doc.traits


@pytest.mark.parametrize("field", ["Name", "Vitally_Id__c"])
def test_a_name_and_an_id_can_be_cleared_too(field: str) -> None:
    told = {"Name": "Acme", "Vitally_Id__c": "sf-1"}
    names, doc = outcome(
        account(1, **told), account(2, **{**told, field: None}), **RULES
    )

    assert (field == "Name") == (doc.name.text == "account")
    assert (field == "Name") == (names == {Identity("sf-1")})


FIELDS = {
    "Name": ["Acme", "Blue Door", None],
    "Vitally_Id__c": ["sf-1", "sf-2"],
    "Industry": ["Retail", None],
    "Seats__c": ["5", "7", None],
}


@given(st.data())
def test_messages_that_select_this_or_that_end_alike_in_any_order(
    data: st.DataObject,
) -> None:
    """Each field is what the newest message that selects it says."""
    any_of = {name: st.sampled_from(values) for name, values in FIELDS.items()}
    drawn = st.fixed_dictionaries({}, optional=any_of)
    selections = data.draw(st.lists(drawn, min_size=1, max_size=6))
    told = [
        notification("Account", Id=ACCOUNT, **stamp(n), **fields)
        for n, fields in enumerate(selections)
    ]
    names, doc = outcome(*data.draw(st.permutations(told)), **RULES)

    last = {name: value for fields in selections for name, value in fields.items()}
    seats = {"5": 5, "7": 7, None: None}
    traits = {"industry": last.get("Industry"), "seats": seats[last.get("Seats__c")]}
    told_traits = {"industry": "Industry", "seats": "Seats__c"}
    assert {t: traits[t] for t, name in told_traits.items() if name in last} == (
        doc.traits
    )
    assert {last.get("Vitally_Id__c")} == {name.account for name in names}
    assert (last.get("Name") or "account") == doc.name.text


def test_of_a_list_of_selected_fields_these_alone_are_cleared_by_their_absence() -> (
    None
):
    said = {**RULES, "selected": ["Seats__c"]}
    _, doc = outcome(account(1, Industry="Retail", Seats__c="5"), account(2), **said)
    _, nil = outcome(account(1, Industry="Retail"), account(2, Industry=None), **said)

    assert {"industry": "Retail", "seats": None} == doc.traits
    assert {"industry": None, "seats": None} == nil.traits


def test_an_older_record_loses() -> None:
    _, doc = outcome(
        account(5, Name="New", Industry="Retail"),
        account(4, Name="Old", Industry="Mining"),
        **RULES,
    )

    assert ("New", "Retail") == (doc.name.text, doc.traits["industry"])


def test_the_last_change_tells_the_version_where_the_stamp_is_not_selected() -> None:
    last = {"SystemModstamp": None, "LastModifiedDate": "2026-11-01T09:00:00.000Z"}
    _, doc = outcome(account(60, Name="Old"), account(Name="New", **last))

    assert "New" == doc.name.text


def test_a_record_without_a_version_says_what_to_select() -> None:
    with pytest.raises(ValidationError, match="Select it") as refused:
        outcome(account(SystemModstamp=None))

    assert {"SystemModstamp"} == refused.value.messages_dict.keys()


def test_without_a_rule_the_id_of_18_characters_is_the_account() -> None:
    names, _ = outcome(account(1), account(2, Id=ACCOUNT[:15]), deal(), **DEALS)

    assert {Identity(ACCOUNT)} == names


@pytest.mark.parametrize(
    ("short", "whole"),
    [
        ("04l1I000000fztE", "04l1I000000fztEQAQ"),
        ("001xx000003DGb1", "001xx000003DGb1AAG"),
        ("AAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAA555"),
        ("000000000000000", "000000000000000AAA"),
    ],
)
def test_an_id_of_15_characters_is_made_18(short: str, whole: str) -> None:
    assert (
        whole
        == Record().load({"Id": short})["id"]
        == Record().load({"Id": whole})["id"]
    )


@pytest.mark.parametrize("bad", ["", "001", "001xx000003DGb1A", "001xx000003DGb\u00e9"])
def test_anything_else_is_no_id(bad: str) -> None:
    with pytest.raises(ValidationError, match="15 or 18"):
        Record().load({"Id": bad})


def test_without_the_field_of_the_rule_a_record_names_no_account() -> None:
    names, _ = outcome(account(), deal(), **RULES, **DEALS)

    assert {None} == {name.account for name in names}


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
    found = list(facts(events(account(1, IsDeleted="true"), account(1)), {}))

    assert fold(History(found))["customer"].value["deleted"]
    assert "trait:industry" not in {
        fact.thing for fact in facts(events(account(IsDeleted="true")), RULES)
    }


def test_an_account_s_history_is_whole_from_the_first_record_on() -> None:
    assert fold(History(list(facts(events(account()), {}))))["customer"].creation_seen


def test_a_long_name_or_text_is_cut() -> None:
    _, doc = outcome(account(Name="x" * 3000, Industry="y" * 3000), **RULES)

    assert "x" * 254 + "…" == doc.name.text
    assert "y" * 1999 + "…" == doc.traits["industry"]


@pytest.mark.parametrize(
    ("field", "value", "must"),
    [
        ("Seats__c", "many", "must be a number"),
        ("Renewal__c", "soon", "must be a day"),
        ("Partner__c", "yes", "must be true or false"),
        ("Vitally_Id__c", "x" * 256, "at most 255"),
        ("IsDeleted", "perhaps", "one of true, false"),
    ],
)
def test_a_value_that_cannot_be_meant_is_named(
    field: str, value: str, must: str
) -> None:
    with pytest.raises(ValidationError, match=must) as refused:
        outcome(account(**{field: value}), **RULES)

    assert {field} == refused.value.messages_dict.keys()


@given(
    st.dictionaries(st.sampled_from(["Seats__c", "Renewal__c", "Target__c"]), st.text())
)
def test_no_value_is_more_than_refused(fields: dict[str, str]) -> None:
    """A ValidationError is the quarantine; anything else would be a 500."""
    event = Event("04l", "Account", 1000, {"Id": ACCOUNT, **fields})
    try:
        list(facts([event], RULES))
    except ValidationError:
        return


# --- Opportunities -------------------------------------------------------------------

MONEY = {"MRR__c": "450.5", "CurrencyIsoCode": "USD", "Renews__c": "2027-11-01"}


def test_a_deal_is_nothing_without_a_table_of_its_fields() -> None:
    (event,) = events(deal(**MONEY))

    assert "[sources.salesforce.opportunities]" in str(SOURCE.ignores(event, OPTIONS))


def test_a_deal_of_no_company_is_ignored_with_the_reason() -> None:
    (event,) = events(deal(AccountId=None))
    options = SOURCE.table(DEALS).values

    assert "AccountId" in str(SOURCE.ignores(event, options))


def test_an_empty_record_was_deleted_before_it_was_sent() -> None:
    (event,) = events(notification("Account"))

    assert "empty" in str(SOURCE.ignores(event, OPTIONS))


def test_a_won_deal_is_a_subscription() -> None:
    _, doc = outcome(account(), deal(1, **MONEY), **DEALS)

    assert {
        "mrr": 450.5,
        "nextRenewalDate": "2027-11-01T00:00:00.000Z",
        "churnedAt": None,
        "subscriptionStatus": "active",
        "planName": None,
        "billingCurrency": "USD",
        "cancelAt": None,
    } == doc.traits


@pytest.mark.parametrize(
    ("amount", "code", "mrr"),
    [
        ("5000", "JPY", 5000),
        ("5.125", "KWD", 5.125),
        ("1.0E4", "EUR", 10000),
    ],
)
def test_an_amount_is_in_major_units_of_its_currency(
    amount: str, code: str, mrr: float
) -> None:
    _, doc = outcome(deal(MRR__c=amount, CurrencyIsoCode=code), **DEALS)

    assert (mrr, code) == (doc.traits["mrr"], doc.traits["billingCurrency"])


def test_a_currency_may_be_one_for_all() -> None:
    said = {"opportunities": {"mrr": "MRR__c", "currency": "EUR"}}
    _, doc = outcome(deal(**MONEY), **said)

    assert (450.5, "EUR") == (doc.traits["mrr"], doc.traits["billingCurrency"])


def test_a_deal_s_name_is_the_plan_s_where_it_is_selected() -> None:
    _, doc = outcome(deal(Name="Team, three years", **MONEY), **DEALS)

    assert "Team, three years" == doc.traits["planName"]


def test_an_amount_in_a_currency_that_is_not_told_is_not_known() -> None:
    _, doc = outcome(deal(**{**MONEY, "CurrencyIsoCode": None}), **DEALS)

    assert "mrr" not in doc.traits
    assert "active" == doc.traits["subscriptionStatus"]


@pytest.mark.parametrize("amount", [None, "0.0"])
def test_a_won_deal_without_an_amount_a_month_was_sold_once(amount: str | None) -> None:
    once = deal(2, **{**MONEY, "Id": "006xx000001a2bdAAA", "MRR__c": amount})
    _, alone = outcome(once, **DEALS)
    _, beside = outcome(deal(1, **MONEY), once, **DEALS)

    assert {} == alone.traits
    assert 450.5 == beside.traits["mrr"]


def test_a_deal_that_was_never_won_says_nothing_about_money() -> None:
    _, doc = outcome(account(), deal(1, won=False, **MONEY), **DEALS)

    assert {} == doc.traits


def test_a_deal_that_was_won_and_then_lost_pays_no_more() -> None:
    _, doc = outcome(deal(1, **MONEY), deal(2, won=False, **MONEY), **DEALS)

    assert (None, "churned") == (doc.traits["mrr"], doc.traits["subscriptionStatus"])
    assert "2026-11-01T00:02:00.000Z" == doc.traits["churnedAt"]


def test_a_deal_that_was_lost_and_then_won_pays() -> None:
    _, doc = outcome(deal(1, won=False, **MONEY), deal(2, **MONEY), **DEALS)

    assert (450.5, None) == (doc.traits["mrr"], doc.traits["churnedAt"])


def test_a_deal_that_is_deleted_pays_no_more() -> None:
    _, doc = outcome(deal(1, **MONEY), deal(2, IsDeleted="true", **MONEY), **DEALS)

    assert (None, "churned") == (doc.traits["mrr"], doc.traits["subscriptionStatus"])


def test_one_of_two_deals_that_is_over_is_no_churn() -> None:
    other = {**MONEY, "Id": "006xx000001a2bdAAA", "Ended__c": "2026-10-31"}
    _, doc = outcome(deal(1, **MONEY), deal(2, **other), **DEALS)

    assert (450.5, None) == (doc.traits["mrr"], doc.traits["churnedAt"])


def test_a_contract_that_is_over_is_churn_when_it_ended() -> None:
    _, doc = outcome(deal(1, **MONEY, Ended__c="2026-10-31"), **DEALS)

    assert "2026-10-31T00:00:00.000Z" == doc.traits["churnedAt"]
    assert doc.traits["mrr"] is None


def test_a_contract_that_will_end_is_live_until_then() -> None:
    _, doc = outcome(deal(1, **MONEY, Ended__c="2027-10-31"), **DEALS)

    assert ("2027-10-31T00:00:00.000Z", None) == (
        doc.traits["cancelAt"],
        doc.traits["nextRenewalDate"],
    )
    assert 450.5 == doc.traits["mrr"]


@pytest.mark.parametrize(
    ("fields", "must"),
    [
        ({"IsWon": None, **MONEY}, "IsWon must be selected"),
        ({}, "MRR__c must be selected"),
    ],
)
def test_a_message_that_tells_too_little_of_a_deal_changes_nothing(
    fields: dict[str, str | None], must: str
) -> None:
    (event,) = events(deal(2, **fields))
    _, doc = outcome(deal(1, **MONEY), deal(2, **fields), **DEALS)

    assert must in str(SOURCE.ignores(event, SOURCE.table(DEALS).values))
    assert (450.5, None) == (doc.traits["mrr"], doc.traits["churnedAt"])


PARTS: dict[str, list[str | None]] = {
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
    any_of = {name: st.sampled_from(values) for name, values in PARTS.items()}
    drawn = st.fixed_dictionaries({}, optional=any_of)
    first = {"MRR__c": "50", "CurrencyIsoCode": "USD"}
    selections = [first, *data.draw(st.lists(drawn, max_size=5))]
    told = [
        deal(n, **({"CurrencyIsoCode": "USD"} | fields))
        for n, fields in enumerate(selections)
    ]
    _, doc = outcome(*data.draw(st.permutations(told)), **DEALS)

    last = {name: value for fields in selections for name, value in fields.items()}
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


@pytest.mark.parametrize("over", [{"won": False}, {"IsDeleted": "true", "IsWon": None}])
def test_a_deal_that_is_over_need_not_tell_what_it_paid(over: dict[str, Any]) -> None:
    _, doc = outcome(deal(1, **MONEY), deal(2, **over), **DEALS)

    assert (None, "churned") == (doc.traits["mrr"], doc.traits["subscriptionStatus"])


def test_an_amount_that_every_message_selects_is_cleared_by_its_absence() -> None:
    said = {**DEALS, "selected": ["MRR__c"]}
    _, doc = outcome(deal(1, **MONEY), deal(2), **said)

    assert (None, "churned") == (doc.traits["mrr"], doc.traits["subscriptionStatus"])


def test_a_deal_belongs_to_its_company() -> None:
    fact, *_ = facts(events(deal(AccountId=ACCOUNT[:15], **MONEY)), DEALS)
    names, _ = outcome(deal(**MONEY), **DEALS)

    assert (f"salesforce:{ACCOUNT}", f"subscription:opp-{DEAL}") == (
        fact.party,
        fact.thing,
    )
    assert {Identity(ACCOUNT)} == names


# --- The table -----------------------------------------------------------------------


def test_the_table_s_traits_are_known_by_name() -> None:
    assert sorted(RULES["traits"]) == sorted(SOURCE.table(RULES).traits)


def test_every_way_to_leave_out_a_line_is_a_table() -> None:
    whole = {**RULES, **DEALS, "selected": ["Name"]}
    for names in itertools.combinations(whole, 2):
        assert not SOURCE.table({name: whole[name] for name in names}).problems
