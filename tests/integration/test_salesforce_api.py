"""Reading Salesforce's own API, against a local Salesforce over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bridge.domain.account import Party, unite
from bridge.domain.document import Document, document
from bridge.domain.facts import Fact
from bridge.domain.fold import History, State, compact, fold
from bridge.domain.refresh import restamped
from bridge.domain.values import REFRESHED
from bridge.errors import ConfigError, SourceError, SourceUnreadError
from bridge.sources.salesforce import SOURCE
from bridge.sources.salesforce.api import SLOW, SalesforceApi, connect
from bridge.sources.salesforce.facts import RecordId
from tests.support.local_api import Reply
from tests.support.local_salesforce import (
    ID,
    KINDS,
    SECRET,
    SECRET_PART,
    LocalSalesforce,
    instant,
)
from tests.support.reader import Reader, folded
from tests.support.salesforce import ACCOUNT, DEAL, ORG, message, notification

NOW = 1_793_520_000
"""2026-11-01T08:00:00Z: the local Salesforce's clock (seconds)."""

RULES: dict[str, Any] = {
    "account": "Vitally_Id__c",
    "traits": {
        "industry": "Industry",
        "seats": {"field": "Seats__c", "as": "number"},
    },
}
DEALS = {"mrr": "MRR__c", "renews": "Renews__c", "ended": "Ended__c", "currency": "usd"}
BOTH = {**RULES, "opportunities": DEALS}
PARTY = f"salesforce:{ACCOUNT}"
KEYS = {"SALESFORCE_CLIENT_ID": ID, "SALESFORCE_CLIENT_SECRET": SECRET}


class Org(LocalSalesforce):
    """Salesforce, and a bridge that reads it."""

    def reader(self, table: Any = None) -> Reader:
        base = {"SALESFORCE_API_BASE": self.url, "SALESFORCE_ORG_ID": ORG}
        return Reader(SOURCE, table or BOTH, **base, **KEYS)

    def api(self, table: Any = None) -> SalesforceApi:
        made = connect(self.reader(table).options)
        assert made is not None
        return made

    def document(self, **table: Any) -> Document:
        return document(unite("1", folded(self.api(table).party(PARTY))))

    def filled(self, count: int) -> list[str]:
        """Keep so many Accounts; their ids, the newest first."""
        ids = [str(RecordId().read(f"001xx{n:010d}")) for n in range(count)]
        for n, id_ in enumerate(ids):
            self.clock = lambda n=n: NOW + n
            self.account(id_, Name=f"No. {n}", Vitally_Id__c=f"acme-{n}", Seats__c=n)
        return ids[::-1]


@pytest.fixture
def org() -> Iterator[Org]:
    with Org() as running:
        running.clock = lambda: NOW
        running.account(ACCOUNT, Name="Acme", Vitally_Id__c="acme", Seats__c=25.0)
        yield running


@pytest.fixture(scope="module")
def lasting() -> Iterator[Org]:
    """The same for many examples."""
    with Org() as running:
        yield running


def failure(org: Org) -> SourceError:
    with pytest.raises(SourceError) as raised:
        org.api().party(PARTY)
    assert not any(part in str(raised.value) for part in (SECRET_PART, SECRET))
    return raised.value


# --- Settings and tokens ------------------------------------------------------------


def test_the_api_needs_three_settings_or_none(org: Org) -> None:
    assert None is connect(Reader(SOURCE).options)
    some = Reader(SOURCE, SALESFORCE_CLIENT_SECRET=SECRET).options
    (said,) = SOURCE.lacks(some)
    with pytest.raises(ConfigError) as raised:
        connect(some)

    assert "set SALESFORCE_API_BASE and SALESFORCE_CLIENT_ID" in said
    assert (said,) == raised.value.problems
    assert [[], []] == [
        [*SOURCE.lacks(one.options)] for one in (Reader(SOURCE), org.reader())
    ]


def test_a_token_is_taken_once_and_again_if_it_is_refused(org: Org) -> None:
    api = org.api()
    assert api.probe()
    assert api.party(PARTY)
    assert 1 == org.tokens
    org.fail("expired")

    assert api.party(PARTY)
    assert 2 == org.tokens


@pytest.mark.parametrize(
    ("fault", "where", "reason", "refused", "wait"),
    [
        ("client", "token", "SALESFORCE_CLIENT_SECRET (invalid_client)", True, None),
        ("expired", "query", "refuses the token of SALESFORCE_CLIENT_", True, None),
        ("forbidden", "query", "SALESFORCE_CLIENT_SECRET may not read", True, None),
        ("limit", "query", "fewer requests (REQUEST_LIMIT_EXCEEDED)", False, 60.0),
        ("500", "query", "answered 500", False, None),
        ("odd", "query", "is not understood: records", False, None),
        ("odd", "token", "token is not understood: access_token, id", False, None),
    ],
)
def test_a_failure_is_one_error_with_a_reason(
    org: Org, fault: str, where: str, reason: str, refused: bool, wait: float | None
) -> None:
    org.fail(fault, where=where)
    error = failure(org)

    assert reason in error.reason
    assert (refused, wait) == (error.refused, error.retry_after)


def test_the_key_of_another_organisation_is_refused(org: Org) -> None:
    org.org = "00Dxx0000000002"
    error = failure(org)

    assert error.refused
    assert "belongs to the organization 00Dxx0000000002" in error.reason
    assert [] == org.queries()


@pytest.mark.parametrize(
    ("table", "name"),
    [
        ({"traits": {"x": "Secret__c"}}, "'Secret__c' on entity 'Account'"),
        (
            {"opportunities": {"mrr": "MRR__c", "currency": "Cur__c"}},
            "'Cur__c' on entity 'Opp",
        ),
    ],
)
def test_a_field_that_may_not_be_read_is_named(
    org: Org, table: dict[str, Any], name: str
) -> None:
    with pytest.raises(
        SourceError, match=f"may not read all: No such .*{name}"
    ) as raised:
        org.api(table).probe()

    assert raised.value.refused
    assert SECRET_PART not in raised.value.reason


# --- One party ----------------------------------------------------------------------


def test_an_account_with_its_deals_is_the_document_of_its_messages(org: Org) -> None:
    own = {"MRR__c": 450.5, "Renews__c": "2027-11-01"}
    org.deal(DEAL, ACCOUNT, Name="Pro", IsWon=True, **own)
    org.deal("006xx000001a2bdAAA", ACCOUNT, Name="Lost", IsWon=False, **own)

    found = org.document()

    assert "Acme" == found.name.text
    assert {
        "seats": 25,
        "industry": None,
        "mrr": 450.5,
        "planName": "Pro",
        "subscriptionStatus": "active",
        "nextRenewalDate": "2027-11-01T00:00:00.000Z",
        "billingCurrency": "USD",
        "cancelAt": None,
        "churnedAt": None,
    } == found.traits
    assert 2 == len(org.queries())


def test_a_record_says_the_same_as_its_message(org: Org) -> None:
    """So what was told is not told again as missing."""
    deal = org.deal(DEAL, ACCOUNT, Name="Pro", IsWon=True, MRR__c=99.0)
    account = org.account(ACCOUNT, Industry=" Mining ")
    sent = [
        notification(kind, None, **{name: _xml(row.get(name)) for name in KINDS[kind]})
        for kind, row in (("Account", account), ("Opportunity", deal))
    ]
    told = org.reader().facts(message(*sent))
    read = [one for one in org.api().party(PARTY) if one.thing != REFRESHED]

    assert {fact.thing: fact.value for fact in told} == {
        fact.thing: fact.value for fact in read
    }


def _xml(value: Any) -> str | None:
    """A value of JSON as a message has it."""
    if isinstance(value, bool):
        return str(value).lower()
    return None if value is None else str(value).replace("+0000", "Z")


def test_a_deleted_account_is_gone_but_can_come_back(org: Org) -> None:
    org.account(ACCOUNT, IsDeleted=True)
    facts = {fact.thing: fact for fact in org.api(RULES).party(PARTY)}

    assert facts["customer"].value["deleted"]
    assert not any(fact.stamp.final for fact in facts.values())
    org.account(ACCOUNT, IsDeleted=False)
    assert 25 == org.document(**RULES).traits["seats"]


@pytest.mark.parametrize("id_", ["001xx000003DGb9AAG", "", "x' OR Id != '", "00\n"])
def test_a_party_that_salesforce_does_not_know_has_no_facts(org: Org, id_: str) -> None:
    assert [] == org.api().party(f"salesforce:{id_}")


def test_the_short_form_of_an_id_is_the_same_party(org: Org) -> None:
    org.account(ACCOUNT[:15])

    assert {PARTY} == {fact.party for fact in org.api().party(PARTY[:-3])}


def test_whose_a_deal_is_can_be_asked(org: Org) -> None:
    org.deal(DEAL, ACCOUNT, IsWon=False)
    api = org.api()

    assert [PARTY, None] == [
        api.owner(thing) for thing in (f"subscription:opp-{DEAL}", "opp-y'\\")
    ]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"MRR__c": "much"}, "Opportunity 006.* is not understood: MRR__c"),
        ({"SystemModstamp": None}, "is not understood: SystemModstamp"),
    ],
)
def test_a_record_that_cannot_be_understood_is_an_error_without_its_value(
    org: Org, record: dict[str, Any], reason: str
) -> None:
    org.deal(DEAL, ACCOUNT, IsWon=True, **record)

    with pytest.raises(SourceUnreadError, match=reason):
        org.api().party(PARTY)


def test_a_field_of_several_parts_is_no_value(org: Org) -> None:
    org.faults = {
        "parts": Reply({"records": [{**org.account(ACCOUNT), "Industry": {}}]})
    }
    org.fail("parts", where="query")

    with pytest.raises(SourceUnreadError, match="Industry is no single value"):
        org.api().party(PARTY)


# --- The order of reads and messages ------------------------------------------------


MOMENTS = st.tuples(st.sampled_from(["edit", "send", "read"]), st.integers(1, 400))


def observed(org: Org, moments: list[tuple[str, int]]) -> tuple[list[Fact], Any]:
    """What messages and reads tell of an Account, and the newest value that they told.

    One edit begins a transaction, which gives the record its version, and the next one
    ends it, after ten minutes at most; until then everybody sees the record as it was.
    """
    reader, api, told = org.reader(RULES), org.api(RULES), []
    now, began, record = NOW, 0, org.account(ACCOUNT, Seats__c=0)
    newest = None
    for what, seconds in moments:
        now += seconds
        org.clock = lambda now=now: now + 0.9
        if began and (what == "edit" or now - began >= SLOW // 1000):
            record = org.account(ACCOUNT, Seats__c=began, SystemModstamp=instant(began))
            began = 0
        elif what == "edit":
            began = now
        if what == "read":
            known = fold(History([one for one in told if one.kind == "read"]))
            told += restamped(api.party(PARTY), Party(PARTY, known))
        elif what == "send":
            shown = {name: _xml(record.get(name)) for name in KINDS["Account"]}
            told += reader.facts(message(notification("Account", None, **shown)))
        newest = newest if what == "edit" else record["Seats__c"]
    return told, newest


@settings(max_examples=50, deadline=None)
@given(moments=st.lists(MOMENTS, max_size=12), seed=st.randoms(use_true_random=False))
@example(moments=[("edit", 9), ("read", 9), ("edit", 9), ("send", 9)], seed=Random(1))
def test_the_newest_state_that_was_told_counts_in_any_order(
    lasting: Org, moments: list[tuple[str, int]], seed: Random
) -> None:
    """Also one that was told while a newer one was not visible yet."""
    lasting.clock = lambda: NOW
    told, newest = observed(lasting, [("send", 1), *moments])
    seed.shuffle(told)

    state = fold(compact(History(told)))["trait:seats"]

    assert not state.rivals
    assert newest == state.value["is"]


def reads(org: Org, *tables: Any, days: int = 1) -> Party:
    """The party after it was read with each of these tables, *days* apart."""
    party = Party(PARTY, {})
    told: list[Fact] = []
    for n, table in enumerate(tables):
        at(org, (n + 1) * days * DAY)
        told += restamped(org.api(table).party(PARTY), party)
        party = Party(PARTY, fold(compact(History(told))))
    return party


@pytest.mark.parametrize("days", [0, 1])
def test_of_two_reads_of_one_version_the_later_one_counts(org: Org, days: int) -> None:
    """`bridge.toml` names another field."""
    other = {**RULES, "account": "Industry"}
    found = [
        reads(org, *tables, days=days).things["account"]
        for tables in ([RULES, other], [other, RULES], [RULES, other, RULES, other])
    ]

    assert [{}, {"account": "acme"}, {}] == [state.value for state in found]
    assert not any(state.rivals for state in found)


def test_a_lost_deal_ended_with_its_version_however_often_it_is_read(org: Org) -> None:
    org.deal(DEAL, ACCOUNT, IsWon=True, MRR__c=9)
    told = org.api().party(PARTY)
    at(org, 60)
    org.deal(DEAL, ACCOUNT, IsWon=False)
    read = map(_fact, reads(org, BOTH, BOTH).things.values())

    traits = document(unite("1", [Party(PARTY, fold(History([*told, *read])))])).traits

    assert (None, "2026-11-01T08:01:00.000Z") == (traits["mrr"], traits["churnedAt"])


@pytest.mark.parametrize(("days", "status"), [(0, "active"), (1, "churned")])
def test_the_end_of_a_contract_is_compared_with_the_read(
    org: Org, days: int, status: str
) -> None:
    """No message says so on that day."""
    org.clock = lambda: NOW - 60
    org.deal(DEAL, ACCOUNT, IsWon=True, MRR__c=9, Ended__c="2026-11-02")

    traits = document(unite("1", [reads(org, BOTH, days=days)])).traits

    assert status == traits["subscriptionStatus"]


def test_a_deal_that_moved_leaves_the_account_that_had_it(org: Org) -> None:
    at(org, 5)
    org.deal(DEAL, ACCOUNT, IsWon=True, MRR__c=9)
    party = Party(PARTY, fold(History(org.api().party(PARTY))))
    at(org, 5 + LATE + 1)
    org.deal(DEAL, "001xx000003DGb2AAG")
    read = restamped(org.api().party(PARTY), party)

    party = Party(PARTY, fold(History([*map(_fact, party.things.values()), *read])))

    assert None is document(unite("1", [party])).traits["mrr"]


def _fact(state: State) -> Fact:
    return state.fact


# --- Lists --------------------------------------------------------------------------


def listed(ask: Any) -> list[Any]:
    """The rows of a list, page by page to the end."""
    rows, after, more = [], "", True
    while more:
        page = ask(after)
        rows += page.rows
        more, after = bool(page.after), page.after
    return rows


def test_parties_are_listed_to_the_last_page_the_newest_first(org: Org) -> None:
    ids = org.filled(403)
    org.account(ids[7], IsDeleted=True)
    org.batch = 150
    api = org.api()
    wanted = [f"salesforce:{id_}" for id_ in ids if id_ != ids[7]]

    found = listed(lambda after: api.parties(None, after))

    assert wanted == [one for one in found if one != PARTY]
    # Each list has two pages, but for the last one.
    assert [True, False, True, False, True] == [bool(soql) for soql in org.queries()]
    since = NOW + 403 - 100
    young = listed(lambda after: api.parties(since, after))
    assert wanted[:99] == young
    assert wanted[50:99] == listed(
        lambda after: api.parties(since, after or wanted[49])
    )


def changes(org: Org, since: int, until: int, table: Any = None) -> list[Any]:
    """What has changed, in seconds from NOW: when, which party, whether it began then."""
    api, span = org.api(table), (1000 * (NOW + since), 1000 * (NOW + until))
    return [
        (one.at // 1000 - NOW, one.facts[0].party, one.born >= span[0])
        for one in listed(lambda after: api.changes(*span, after))
    ]


NEW, OLD = "001xx000003DGb2AAG", "001xx000003DGb3AAG"
DAY = 86_400
LATE = SLOW // 1000


def at(org: Org, seconds: int) -> None:
    """Let it be so many seconds after NOW."""
    org.clock = lambda: NOW + seconds


def test_changes_are_whole_accounts_in_a_few_requests(org: Org) -> None:
    """One that lacked its deals would end them."""
    org.account(OLD)
    org.deal(DEAL, ACCOUNT, Name="Pro", IsWon=True, MRR__c=9)
    at(org, 2 * DAY)
    org.deal("006xx000001a2bdAAA", None, IsWon=True)
    org.account(ACCOUNT, Name="Blue Door")
    org.account(NEW)
    api = org.api()

    page = api.changes(1000 * (NOW + 2 * DAY), 1000 * (NOW + 3 * DAY), "")

    assert [PARTY, f"salesforce:{NEW}"] == [one.facts[0].party for one in page.rows]
    born = [1000 * NOW, 1000 * (NOW + 2 * DAY)]
    assert born == [one.born for one in page.rows]
    alike = [
        [(fact.thing, fact.stamp.rank, fact.value) for fact in facts]
        for facts in (api.party(PARTY), page.rows[0].facts)
    ]
    assert alike[0] == alike[1]
    assert 3 + 2 == len(org.queries())
    at(org, 4 * DAY)
    org.deal(DEAL, ACCOUNT, IsWon=False)
    assert [(4 * DAY, PARTY, False)] == changes(org, 4 * DAY, 5 * DAY)
    assert [] == changes(org, 4 * DAY, 5 * DAY, RULES)


def test_a_change_that_was_not_visible_then_is_in_the_next_list(org: Org) -> None:
    assert [(0, PARTY, False)] == changes(org, LATE, LATE + 60)
    assert [] == changes(org, LATE + 1, LATE + 60)


@pytest.mark.parametrize(
    ("until", "again", "found"),
    [
        (100, 99, [(0, PARTY, True), (99, PARTY, True)]),
        (100, 100, []),
        (DAY, DAY + 1, []),
    ],
)
def test_what_changes_again_is_left_to_the_next_list(
    org: Org, until: int, again: int, found: list[Any]
) -> None:
    at(org, again)
    org.deal(DEAL, ACCOUNT, IsWon=False)

    assert found == changes(org, 0, until)
    assert [(again, PARTY, False)] == changes(org, until, until + 99)[-1:]


def test_a_deleted_account_has_changed_but_is_not_new(org: Org) -> None:
    org.account(ACCOUNT, IsDeleted=True)

    assert [(0, PARTY, False)] == changes(org, 0, 1)


def test_an_account_that_cannot_be_understood_hides_no_other(
    org: Org, caplog: pytest.LogCaptureFixture
) -> None:
    org.deal(DEAL, ACCOUNT, IsWon=True, MRR__c="much")
    org.account(NEW)

    assert [(0, f"salesforce:{NEW}", True)] == changes(org, 0, 1)
    assert {"left out"} == {record.msg for record in caplog.records}
    assert "much" not in caplog.text


def test_a_place_in_a_list_that_is_read_no_more_is_refused(org: Org) -> None:
    with pytest.raises(SourceUnreadError, match="Opportunity is not read"):
        org.api({"account": "Vitally_Id__c"}).changes(0, 1, "Opportunity:006xx")


def test_a_list_of_changes_ends_at_the_last_page(org: Org) -> None:
    ids = org.filled(403)
    org.deal(DEAL, ids[0], IsWon=True)

    assert 405 == len(changes(org, 0, 10_000))
