"""Reading HubSpot's own API, against a local HubSpot over real HTTP.

What every source's client does (faults, ids in paths): `test_http_api.py`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.domain.account import identify, unite
from bridge.domain.document import Document, document
from bridge.domain.facts import Fact, Rank, Stamp
from bridge.domain.fold import History, fold
from bridge.errors import SourceError, SourceUnreadError
from bridge.sources.hubspot import SOURCE
from bridge.sources.hubspot.api import HubspotApi, connect
from bridge.webhook.source import SourceChange
from tests.support.local_api import Reply
from tests.support.local_hubspot import SECRET_PART, TOKEN, LocalHubspot, changed
from tests.support.reader import Reader, folded

NOW = 1_793_520_007
"""The local HubSpot's clock (seconds); its `Date` has no fractions."""

DEALS = {"mrr": "hs_mrr", "renews": "renews_on", "ended": "ended_on", "currency": "usd"}
TRAITS = {
    "stage": "lifecyclestage",
    "seats": {"property": "seats", "as": "number"},
    "csm": {"property": "hubspot_owner_id", "as": "owner"},
}


class Shop(LocalHubspot):
    """HubSpot, and a bridge that reads it."""

    def __init__(self) -> None:
        super().__init__()
        # One API keeps to the rate of searches that HubSpot allows.
        self._apis: dict[str, HubspotApi] = {}

    def api(self, **table: Any) -> HubspotApi:
        options = {"HUBSPOT_ACCESS_TOKEN": TOKEN, "HUBSPOT_API_BASE": self.url}
        made = connect(Reader(SOURCE, table, **options).options)
        assert made is not None
        return made

    def facts(self, company: int = 1, **table: Any) -> dict[str, Fact]:
        """The facts of a company by their things."""
        facts = self.api(**table).party(f"hubspot:{company}")
        assert len(facts) == len({fact.thing for fact in facts})
        return {fact.thing: fact for fact in facts}

    def values(self, company: int = 1, **table: Any) -> dict[str, Any]:
        return {thing: f.value for thing, f in self.facts(company, **table).items()}

    def deals(self, company: int = 1) -> dict[str, Any]:
        """The subscriptions of a company, by their deals."""
        found = self.values(company, deals=DEALS)
        begin = "subscription:deal-"
        return {
            thing.removeprefix(begin): value
            for thing, value in found.items()
            if thing.startswith(begin)
        }

    def document(self, **table: Any) -> Document:
        return document(unite("1", folded(self.facts(**table).values())))

    def changes(
        self, since: float, until: float, **table: Any
    ) -> dict[str, SourceChange]:
        """What happened from hour *since* to hour *until* after NOW, by party."""
        api = self._apis.setdefault(str(table), self.api(**table))
        found, after = [], "0:"
        first, end = (1000 * round(NOW + 3600 * hour) for hour in (since, until))
        while after:
            rows, after, *_ = api.changes(first, end, after)
            found += rows
        return {change.facts[0].party: change for change in found}

    def at(self, hour: float) -> None:
        """Let it be *hour* after NOW."""
        self.clock = lambda: NOW + 3600 * hour

    def wins(self, id_: int, *companies: int, **more: Any) -> None:
        """A deal of these companies is won."""
        own = {"hs_is_closed_won": "true", "hs_mrr": "450.50", "dealname": "Pro"}
        self.deal(id_, *companies, **{**own, **more})


@pytest.fixture
def hubspot() -> Iterator[Shop]:
    with Shop() as running:
        running.clock = lambda: NOW + 0.9
        running.company(1)
        yield running


def test_without_a_token_there_is_no_api() -> None:
    assert None is connect(Reader(SOURCE).options)


def test_a_company_is_read_in_one_request(hubspot: Shop) -> None:
    hubspot.company(1, name="Acme", lifecyclestage="customer", seats="25", other="x")

    found = hubspot.values(traits=TRAITS)

    assert {
        "customer": {"account": "1"},
        "name": {"name": "Acme", "account": "1"},
        "trait:stage": {"is": "customer", "account": "1"},
        "trait:seats": {"is": 25, "account": "1"},
        "trait:csm": {"is": None, "account": "1"},
        "read": {},
    } == found
    (asked,) = hubspot.log
    properties = "name,lifecyclestage,seats,hubspot_owner_id"
    assert [("properties", properties)] == asked.query


def test_every_fact_has_the_instant_that_the_reply_surely_contains(
    hubspot: Shop,
) -> None:
    hubspot.delay = 0.2

    found = [*hubspot.facts().values()]

    (at,) = {fact.stamp.at for fact in found}
    assert NOW * 1000 - 1200 < at <= NOW * 1000 - 200
    assert {(Stamp(False, at, Rank.FROM_API), f"read:{at}", "read")} == {
        (fact.stamp, fact.event, fact.kind) for fact in found
    }


def test_the_account_is_named_by_the_property_of_the_table(hubspot: Shop) -> None:
    hubspot.company(1, name="Acme", vitally_id=" acme-101 ")
    hubspot.company(2, name="Other")

    named, other = (hubspot.values(id_, account="vitally_id") for id_ in (1, 2))

    assert ({"account": "acme-101"}, {}) == (named["account"], named["customer"])
    assert {} == other["account"]


def test_a_value_that_is_no_such_thing_is_left_out_and_logged(
    hubspot: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    hubspot.company(1, name="Acme", seats="a secret number")
    with caplog.at_level(logging.WARNING):
        found = hubspot.values(traits=TRAITS)

    assert {"customer", "name", "trait:stage", "trait:csm", "read"} == found.keys()
    assert ["left out"] == [record.msg for record in caplog.records]
    assert "secret" not in caplog.text


@pytest.mark.parametrize("id_", ["2", "..", "a\nb", "a\ud800"])
def test_a_company_that_hubspot_does_not_know_has_no_facts(
    hubspot: Shop, id_: str
) -> None:
    assert [] == hubspot.api().party(f"hubspot:{id_}")


def test_a_deleted_company_is_gone_but_can_come_back(hubspot: Shop) -> None:
    hubspot.wins(9, 1)
    hubspot.delete("companies", 1)

    found = hubspot.facts(deals=DEALS)

    assert {"customer", "read"} == set(found)
    assert {"account": "1", "deleted": True} == found["customer"].value
    assert not found["customer"].stamp.final


@pytest.mark.parametrize(
    ("table", "account"), [({}, "2"), ({"account": "vitally_id"}, "acme")]
)
def test_a_merged_company_is_finally_part_of_the_one_that_is_left(
    hubspot: Shop, table: dict[str, Any], account: str
) -> None:
    hubspot.company(2, name="Left", vitally_id="acme")
    hubspot.merge(1, 2)

    found = hubspot.facts(**table, traits=TRAITS)

    assert {"customer", "read"} == set(found)
    gone = {"account": account, "deleted": True, "into": "hubspot:2"}
    assert gone == found["customer"].value
    assert found["customer"].stamp.final


@pytest.mark.parametrize(
    ("heads", "parent", "place"),
    [
        ("both", None, ("2", "")),
        ("both", "8", ("2", "")),
        ("organization", None, ("organization:2", "")),
        ("organization", "8", ("2", "")),
    ],
)
def test_a_merged_company_is_an_organization_only_if_the_one_that_is_left_is(
    hubspot: Shop, heads: str, parent: str | None, place: tuple[str, str]
) -> None:
    hubspot.company(2, hs_parent_company_id=parent)
    hubspot.merge(1, 2)
    rules = {"organization": ["hs_parent_company_id", "id"], "heads": heads}
    found = identify(fold(History([*hubspot.facts(**rules).values()])))

    assert place == (found.account, found.organization)


# --- users --------------------------------------------------------------------------


def test_an_owner_s_name_is_read_once(hubspot: Shop) -> None:
    for company in (1, 2):
        hubspot.company(company, hubspot_owner_id="70")
    hubspot.user(70, firstName="Ada", lastName="Example", email="ada@shop.example")
    api = hubspot.api(traits=TRAITS)

    facts = [*api.party("hubspot:1"), *api.party("hubspot:2")]

    assert ["Ada Example"] * 2 == [
        fact.value["is"] for fact in facts if fact.thing == "trait:csm"
    ]
    assert 1 == hubspot.paths().count("/crm/v3/owners/70")


def test_a_deactivated_owner_has_a_name_too_and_an_unknown_one_is_left_out(
    hubspot: Shop,
) -> None:
    hubspot.company(1, hubspot_owner_id="70")
    hubspot.company(2, hubspot_owner_id="71")
    hubspot.user(70, email="ada@shop.example")
    hubspot.delete("owners", 70)

    assert "ada@shop.example" == hubspot.values(traits=TRAITS)["trait:csm"]["is"]
    assert "trait:csm" not in hubspot.values(2, traits=TRAITS)


# --- deals --------------------------------------------------------------------------


def test_a_won_deal_is_a_subscription_of_its_company(hubspot: Shop) -> None:
    hubspot.wins(9, 1, deal_currency_code="EUR", renews_on="2027-11-01")
    hubspot.wins(8, 1, hs_is_closed_won="false")
    hubspot.wins(7, 2)

    assert {
        "9": {
            "status": "active",
            "currency": "eur",
            "mrr": "45050",
            "plan": "Pro",
            "ends": 1_825_027_200_000,
        }
    } == hubspot.deals()
    assert ["/crm/v3/objects/companies/1", "/crm/v3/objects/deals/batch/read"] == (
        hubspot.paths()
    )


def test_deals_are_the_traits_of_the_account(hubspot: Shop) -> None:
    hubspot.wins(9, 1, renews_on="2027-11-01")
    hubspot.wins(8, 1, hs_mrr="1.2E2", dealname="Add-on", renews_on="2027-06-01")

    traits = hubspot.document(deals=DEALS).traits

    assert {
        "mrr": 570.5,
        "billingCurrency": "USD",
        "subscriptionStatus": "active",
        "planName": "Add-on, Pro",
        "nextRenewalDate": "2027-06-01T00:00:00.000Z",
    } == {name: value for name, value in traits.items() if value is not None}


def test_without_any_currency_the_amount_is_not_known(hubspot: Shop) -> None:
    hubspot.wins(9, 1)

    found = hubspot.document(deals={"mrr": "hs_mrr"})

    assert "mrr" not in found.traits
    assert "currency" in found.unknown["mrr"]


@pytest.mark.parametrize("amount", [None, "", "0", "0.00"])
def test_a_won_deal_without_an_amount_a_month_is_no_subscription(
    hubspot: Shop, amount: str | None
) -> None:
    hubspot.wins(9, 1, hs_mrr=amount)

    assert {} == hubspot.deals()


@pytest.mark.parametrize(
    ("properties", "wanted"),
    [
        (
            {"ended_on": "2026-10-31"},
            {"status": "canceled", "ended_at": 1_793_404_800_000},
        ),
        (
            {"ended_on": "2026-11-02"},
            {"status": "active", "cancel_at": 1_793_577_600_000},
        ),
        ({"deal_currency_code": "JPY", "hs_mrr": "30000"}, {"mrr": "30000"}),
    ],
)
def test_a_deal_ends_on_its_day_and_yen_have_no_cents(
    hubspot: Shop, properties: dict[str, str], wanted: dict[str, Any]
) -> None:
    hubspot.wins(9, 1, **properties)

    found = hubspot.deals()["9"]

    assert wanted == {name: found[name] for name in wanted}
    assert not {"ended_at", "cancel_at"} & found.keys() - wanted.keys()


def test_many_deals_are_read_by_the_hundred(hubspot: Shop) -> None:
    for id_ in range(1000, 1205):
        hubspot.wins(id_, 1)

    assert 205 == len(hubspot.deals())
    assert 3 == hubspot.paths().count("/crm/v3/objects/deals/batch/read")


def test_more_deals_than_a_reply_lists_are_read_to_the_last(hubspot: Shop) -> None:
    for id_ in range(1000, 2050):
        hubspot.wins(id_, 1)
    hubspot.at(2)
    hubspot.company(1)

    assert 1050 == len(hubspot.deals())
    (change,) = hubspot.changes(1, 3, deals=DEALS).values()
    assert 1050 == sum("deal" in fact.thing for fact in change.facts)


def test_a_deal_counts_for_its_primary_company_else_for_the_only_one(
    hubspot: Shop,
) -> None:
    hubspot.company(2)
    hubspot.wins(7, 1, 2)
    hubspot.wins(8, 1, 2, primary=False)
    hubspot.wins(9, 1, primary=False)
    api = hubspot.api(deals=DEALS)

    assert [{"7", "9"}, set()] == [set(hubspot.deals(id_)) for id_ in (1, 2)]
    assert ["hubspot:1", None, "hubspot:1"] == [
        api.owner(f"deal:{id_}") for id_ in (7, 8, 9)
    ]


def test_whose_a_thing_is_can_be_asked(hubspot: Shop) -> None:
    """Of a deleted deal while HubSpot knows it."""
    for deal in (6, 9):
        hubspot.wins(deal, 1)
    hubspot.wins(8)
    hubspot.delete("deals", 9)
    hubspot.delete("deals", 6, forget=True)
    api = hubspot.api(deals=DEALS)

    assert "hubspot:1" == api.owner("company:1")
    assert [] == hubspot.log
    assert ["hubspot:1", None, None, None] == [
        api.owner(f"deal:{id_}") for id_ in (9, 8, 7, 6)
    ]


@pytest.mark.parametrize(
    ("name", "value", "must"),
    [("hs_mrr", "much", "a number"), ("renews_on", "soon", "a day")],
)
def test_a_deal_that_cannot_be_understood_is_an_error_without_its_value(
    hubspot: Shop, name: str, value: str, must: str
) -> None:
    hubspot.wins(9, 1, **{name: value})

    with pytest.raises(SourceUnreadError, match=f"{name} of a deal: It must be {must}"):
        hubspot.deals()


# --- lists --------------------------------------------------------------------------


def test_all_companies_are_listed_by_id_whatever_one_search_lists(
    hubspot: Shop,
) -> None:
    """Seven searches: faster than HubSpot allows they would be refused."""
    hubspot.found = 200
    for id_ in range(2, 601):
        hubspot.company(id_)
    hubspot.at(3)
    hubspot.company(700)
    api, found, after = hubspot.api(), [], ""

    while not found or after:
        rows, after, *_ = api.parties(None, after)
        found += rows

    ids = [*range(1, 601), 700]
    assert [f"hubspot:{id_}" for id_ in ids] == found
    assert 7 == len(hubspot.log)
    assert (["hubspot:600", "hubspot:700"], "") == api.parties(None, "hubspot:599")[:2]
    assert (["hubspot:700"], "") == api.parties(NOW + 3600, "")[:2]


def happenings(hubspot: Shop) -> None:
    """What happens to companies a day before, in hour 10, and in hour 12."""
    hubspot.at(-30)
    for id_ in (*range(2, 9), 20, 21):
        hubspot.company(id_, name=f"Company {id_}")
    for deal, company in ((70, 7), (80, 8)):
        hubspot.wins(deal, company)
    hubspot.delete("companies", 20)
    hubspot.at(10)
    hubspot.company(2, name="New name")
    hubspot.company(3, lifecyclestage="lead")
    for id_ in (30, 31):
        hubspot.company(id_, name="New one")
    for id_ in (31, 4):
        hubspot.delete("companies", id_)
    hubspot.merge(5, 6)
    hubspot.wins(70, 7, hs_mrr="500")
    hubspot.delete("deals", 80)
    hubspot.at(12)
    hubspot.company(21, name="Later")


def test_the_changes_of_a_span_are_found(hubspot: Shop) -> None:
    happenings(hubspot)

    found = hubspot.changes(9, 11, deals=DEALS)

    assert {f"hubspot:{id_}" for id_ in (2, 3, 4, 5, 6, 7, 8, 30, 31)} == found.keys()
    since = 1000 * (NOW + 9 * 3600)
    assert ["hubspot:30"] == [
        party for party, one in found.items() if one.born >= since
    ]
    assert {1000 * (NOW + 36_000)} == {change.at for change in found.values()}
    values = {
        int(party[8:]): {fact.thing: fact.value for fact in change.facts}
        for party, change in found.items()
    }
    gone = [id_ for id_, own in values.items() if own["customer"].get("deleted")]
    assert [4, 5, 31] == sorted(gone)
    assert "hubspot:6" == values[5]["customer"]["into"]
    assert "50000" == values[7]["subscription:deal-70"]["mrr"]
    assert {"customer", "name", "read"} == values[8].keys()
    # A worker that reads the same companies one by one reads the same.
    assert values == {id_: hubspot.values(id_, deals=DEALS) for id_ in values}
    assert {} == hubspot.changes(13, 14, deals=DEALS)
    # What changed again belongs to a later span: its webhooks may be on their way.
    hubspot.hold_index()
    hubspot.at(14)
    hubspot.company(2)
    hubspot.wins(70, 7)
    again = hubspot.changes(9, 11, deals=DEALS)
    assert {f"hubspot:{id_}" for id_ in (2, 7)} == found.keys() - again.keys()
    assert again.keys() < found.keys()


def test_a_company_that_changed_after_its_span_comes_in_the_next_with_its_beginning(
    hubspot: Shop,
) -> None:
    hubspot.at(1)
    hubspot.company(40, name="New one")
    hubspot.at(3)
    hubspot.company(40, name="Renamed")

    assert "hubspot:40" not in hubspot.changes(0, 2)
    assert 1000 * (NOW + 3600) == hubspot.changes(2, 4)["hubspot:40"].born


def test_changes_of_one_instant_are_all_found_at_little_cost(hubspot: Shop) -> None:
    hubspot.found = 100
    for id_ in range(2, 151):
        hubspot.company(id_)
        hubspot.wins(1000 + id_, id_)

    assert 150 == len(hubspot.changes(0, 1))
    # Two requests for a page of companies, and one for those that were deleted.
    assert 2 * 2 + 1 == len(hubspot.log)
    hubspot.log.clear()
    assert 150 == len(hubspot.changes(0, 1, deals=DEALS))
    # Four for a page of companies, five for one of deals, and one for either's deleted.
    assert 2 * 4 + 2 * 5 + 2 == len(hubspot.log)


def test_a_place_in_a_list_that_is_read_no_more_is_refused(hubspot: Shop) -> None:
    assert [] == hubspot.api(deals=DEALS).changes(0, 1, "3:").rows
    with pytest.raises(SourceUnreadError, match="deals are not read"):
        hubspot.api().changes(0, 1, "3:")


def test_what_was_deleted_is_looked_for_about_once_an_hour(hubspot: Shop) -> None:
    hubspot.wins(9, 1)
    hubspot.company(2)
    hubspot.at(10.2)
    hubspot.delete("companies", 2)
    hubspot.delete("deals", 9)
    deals = "/crm/v3/objects/deals"

    assert {} == hubspot.changes(10.1, 10.3, deals=DEALS)
    assert deals not in hubspot.paths()
    # A span that crosses a full hour, and a long one.
    for since, until in ((10.9, 11.03), (10.15, 10.7)):
        hubspot.log.clear()
        found = hubspot.changes(since, until, deals=DEALS)
        assert {"hubspot:1", "hubspot:2"} == found.keys()
        # The company of a deleted deal takes one request.
        assert [deals, f"{deals}/9"] == [
            asked.path for asked in hubspot.log if asked.path in {deals, f"{deals}/9"}
        ]
    assert {} == hubspot.changes(11.9, 12.03, deals=DEALS)


def test_a_search_that_is_behind_costs_nothing_but_time(hubspot: Shop) -> None:
    hubspot.company(1, name="Before")
    hubspot.hold_index()
    hubspot.company(1, name="After")

    found = hubspot.changes(0, 1)["hubspot:1"]

    assert {"After"} == {
        fact.value["name"] for fact in found.facts if fact.thing == "name"
    }


@pytest.mark.parametrize(("seconds", "name"), [(-2, "Read"), (2, "Told")])
def test_what_was_listed_and_what_was_told_are_ordered_by_time(
    hubspot: Shop, seconds: int, name: str
) -> None:
    reader = Reader(SOURCE)
    hubspot.company(1, name="Read")
    told = changed(1, "name", "Told") | {"occurredAt": 1000 * (NOW + seconds)}

    listed = hubspot.changes(0, 1)["hubspot:1"].facts

    (party,) = folded([*reader.facts([told]), *listed])
    assert name == party.things["name"].value["name"]


def test_a_company_that_cannot_be_read_holds_up_no_other(
    hubspot: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    hubspot.company(2)
    hubspot.wins(9, 1, hs_mrr="much")

    with caplog.at_level(logging.WARNING):
        found = hubspot.changes(0, 1, deals=DEALS)

    assert {"hubspot:2"} == found.keys()
    assert "much" not in caplog.text


# --- failures -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "reason", "refused"),
    [
        ("401", "refuses HUBSPOT_ACCESS_TOKEN (401)", True),
        ("403", "(403): it lacks the permission crm.objects.owners.read", True),
        ("odd", "is not understood: createdAt, id, properties", False),
    ],
)
def test_a_failure_is_one_error_with_a_reason(
    hubspot: Shop, fault: str, reason: str, refused: bool
) -> None:
    hubspot.fail(fault)

    with pytest.raises(SourceError) as raised:
        hubspot.values()

    assert reason in raised.value.reason
    assert refused == raised.value.refused
    assert not any(part in str(raised.value) for part in (SECRET_PART, TOKEN))
    assert 1 == len(hubspot.log)


@pytest.mark.parametrize(
    ("rows", "paging", "reason"),
    [
        ([], "9", "is not understood: paging"),
        ([], {"next": "9"}, "is not understood: paging"),
        ([], {"next": {"after": ["9"]}}, "is not understood: paging"),
        ([], {"next": {"after": "9"}}, "page is empty, and not the last"),
    ],
)
def test_a_page_that_says_wrongly_what_follows_is_an_error(
    hubspot: Shop, rows: Any, paging: Any, reason: str
) -> None:
    page = Reply({"results": rows, "paging": paging})
    hubspot.faults = {**hubspot.faults, "page": page}
    hubspot.fail("page")

    with pytest.raises(SourceUnreadError, match=reason):
        hubspot.api().parties(None, "")


def test_a_probe_says_whether_the_key_is_refused(hubspot: Shop) -> None:
    api = hubspot.api(deals=DEALS)
    assert api.probe()
    hubspot.fail("401", where="deals")
    with pytest.raises(SourceError) as raised:
        api.probe()

    assert raised.value.refused


@pytest.mark.parametrize("where", ["batch/read", "owners"])
def test_a_failure_in_the_middle_yields_no_half_company(
    hubspot: Shop, where: str
) -> None:
    hubspot.company(1, hubspot_owner_id="70")
    hubspot.wins(9, 1)
    hubspot.fail("500", where=where)

    with pytest.raises(SourceError):
        hubspot.values(deals=DEALS, traits=TRAITS)


def test_a_429_that_does_not_say_waits_for_the_ten_seconds_of_hubspot_s_limit(
    hubspot: Shop,
) -> None:
    hubspot.fail("429")

    with pytest.raises(SourceError) as raised:
        hubspot.values()

    assert 10.0 == raised.value.retry_after
