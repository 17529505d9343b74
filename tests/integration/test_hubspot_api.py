"""Reading HubSpot's own API, against a local HubSpot over real HTTP."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.domain.account import Party, unite
from bridge.domain.document import document
from bridge.domain.facts import Fact, Rank, Stamp
from bridge.domain.fold import History, fold
from bridge.errors import SourceError, SourceUnreadError
from bridge.sources.hubspot import SOURCE
from bridge.sources.hubspot.api import HubspotApi, connect
from tests.support.local_hubspot import SECRET_PART, TOKEN, LocalHubspot
from tests.support.processes import ROOT, environment

NOW = 1_793_520_007
"""The local HubSpot's clock (seconds); its `Date` has no fractions."""

DEALS = {"mrr": "hs_mrr", "renews": "renews_on", "ended": "ended_on", "currency": "usd"}
TRAITS = {
    "stage": "lifecyclestage",
    "seats": {"property": "seats", "as": "number"},
    "csm": {"property": "hubspot_owner_id", "as": "owner"},
}


@pytest.fixture
def hubspot() -> Iterator[LocalHubspot]:
    with LocalHubspot() as running:
        running.clock = lambda: NOW + 0.9
        yield running


def options(hubspot: LocalHubspot, **said: Any) -> dict[str, Any]:
    table = SOURCE.table(said)
    assert not table.problems
    defaults = {option.name: option.default for option in SOURCE.options}
    own = {"HUBSPOT_ACCESS_TOKEN": TOKEN, "HUBSPOT_API_BASE": hubspot.url}
    return {**defaults, **own, **table.values}


def reading(hubspot: LocalHubspot, **said: Any) -> HubspotApi:
    made = connect(options(hubspot, **said))
    assert made is not None
    return made


def read(hubspot: LocalHubspot, company: int = 1, **said: Any) -> dict[str, Fact]:
    """The facts of a reading by their things."""
    facts = reading(hubspot, **said).party(f"hubspot:{company}")
    assert len(facts) == len({fact.thing for fact in facts})
    return {fact.thing: fact for fact in facts}


def values(hubspot: LocalHubspot, company: int = 1, **said: Any) -> dict[str, Any]:
    return {thing: f.value for thing, f in read(hubspot, company, **said).items()}


def test_without_a_token_there_is_no_api(hubspot: LocalHubspot) -> None:
    assert None is connect({**options(hubspot), "HUBSPOT_ACCESS_TOKEN": None})


def test_a_company_is_read_in_one_request(hubspot: LocalHubspot) -> None:
    hubspot.company(1, name="Acme", lifecyclestage="customer", seats="25", other="x")

    found = values(hubspot, traits=TRAITS)

    assert {
        "customer": {"account": "1"},
        "name": {"name": "Acme", "account": "1"},
        "trait:stage": {"is": "customer", "account": "1"},
        "trait:seats": {"is": 25, "account": "1"},
        "trait:csm": {"is": None, "account": "1"},
        "read": {},
    } == found
    (asked,) = hubspot.log
    assert "name,lifecyclestage,seats,hubspot_owner_id" == asked.query["properties"]


def test_every_fact_has_the_instant_that_the_reply_surely_contains(
    hubspot: LocalHubspot,
) -> None:
    hubspot.company(1, name="Acme")
    hubspot.delay = 0.2

    found = list(read(hubspot).values())

    (at,) = {fact.stamp.at for fact in found}
    assert NOW * 1000 - 1200 < at <= NOW * 1000 - 200
    assert {(Stamp(False, at, Rank.FROM_API), f"read:{at}", "read")} == {
        (fact.stamp, fact.event, fact.kind) for fact in found
    }


def test_the_account_is_named_by_the_property_of_the_table(
    hubspot: LocalHubspot,
) -> None:
    hubspot.company(1, name="Acme", vitally_id=" acme-101 ")
    hubspot.company(2, name="Other")

    assert {"account": "acme-101"} == values(hubspot, account="vitally_id")["account"]
    assert {} == values(hubspot, account="vitally_id")["customer"]
    assert {} == values(hubspot, 2, account="vitally_id")["account"]


def test_a_value_that_is_no_such_thing_is_left_out_and_logged(
    hubspot: LocalHubspot, caplog: pytest.LogCaptureFixture
) -> None:
    hubspot.company(1, name="Acme", seats="a secret number")
    with caplog.at_level(logging.WARNING):
        found = values(hubspot, traits=TRAITS)

    assert "trait:seats" not in found
    assert "name" in found
    assert [record.msg for record in caplog.records] == ["left out"]
    assert "secret" not in caplog.text


def test_a_company_that_hubspot_does_not_know_has_no_facts(
    hubspot: LocalHubspot,
) -> None:
    assert {} == values(hubspot)


@pytest.mark.parametrize("id_", ["..", ".", "a\nb", "a\ud800"])
def test_an_id_that_is_no_step_of_a_path_is_not_asked_for(
    hubspot: LocalHubspot, id_: str
) -> None:
    assert [] == reading(hubspot).party(f"hubspot:{id_}")
    assert [] == hubspot.paths()


def test_a_deleted_company_is_gone_but_can_come_back(hubspot: LocalHubspot) -> None:
    hubspot.company(1, name="Acme")
    hubspot.deal(9, 1, hs_is_closed_won="true", hs_mrr="450")
    hubspot.delete("companies", 1)

    found = read(hubspot, deals=DEALS)

    assert {"customer", "read"} == set(found)
    assert {"account": "1", "deleted": True} == found["customer"].value
    assert not found["customer"].stamp.final


@pytest.mark.parametrize(
    ("said", "account"), [({}, "2"), ({"account": "vitally_id"}, "acme")]
)
def test_a_merged_company_is_finally_part_of_the_one_that_is_left(
    hubspot: LocalHubspot, said: dict[str, Any], account: str
) -> None:
    hubspot.company(2, name="Left", vitally_id="acme")
    hubspot.merge(1, 2)

    found = read(hubspot, **said, traits=TRAITS)

    assert {"customer", "read"} == set(found)
    gone = {"account": account, "deleted": True, "into": "hubspot:2"}
    assert gone == found["customer"].value
    assert found["customer"].stamp.final


# --- users --------------------------------------------------------------------------


def test_an_owner_s_name_is_read_once(hubspot: LocalHubspot) -> None:
    for company in (1, 2):
        hubspot.company(company, hubspot_owner_id="70")
    hubspot.user(70, firstName="Ada", lastName="Example", email="ada@shop.example")
    source = reading(hubspot, traits=TRAITS)

    names = [
        fact.value["is"]
        for company in (1, 2)
        for fact in source.party(f"hubspot:{company}")
        if fact.thing == "trait:csm"
    ]

    assert ["Ada Example"] * 2 == names
    assert 1 == hubspot.paths().count("/crm/v3/owners/70")


def test_a_deactivated_owner_has_a_name_too(hubspot: LocalHubspot) -> None:
    hubspot.company(1, hubspot_owner_id="70")
    hubspot.user(70, archived=True, email="ada@shop.example")

    assert "ada@shop.example" == values(hubspot, traits=TRAITS)["trait:csm"]["is"]


def test_an_owner_that_nobody_knows_is_left_out(hubspot: LocalHubspot) -> None:
    hubspot.company(1, hubspot_owner_id="70")

    assert "trait:csm" not in values(hubspot, traits=TRAITS)


# --- deals --------------------------------------------------------------------------


def won(hubspot: LocalHubspot, id_: int, *companies: int, **more: Any) -> None:
    told = {"hs_is_closed_won": "true", "hs_mrr": "450.50", "dealname": "Pro", **more}
    hubspot.deal(id_, *companies, **told)


def test_a_won_deal_is_a_subscription_of_its_company(hubspot: LocalHubspot) -> None:
    hubspot.company(1)
    won(hubspot, 9, 1, deal_currency_code="EUR", renews_on="2027-11-01")
    won(hubspot, 8, 1, hs_is_closed_won="false")
    won(hubspot, 7, 2)

    found = values(hubspot, deals=DEALS)

    assert ["subscription:deal-9"] == [t for t in found if t.startswith("sub")]
    assert {
        "status": "active",
        "currency": "eur",
        "mrr": "45050",
        "plan": "Pro",
        "ends": 1_825_027_200_000,
    } == found["subscription:deal-9"]
    assert ["/crm/v3/objects/companies/1", "/crm/v3/objects/deals/batch/read"] == (
        hubspot.paths()
    )


def test_deals_are_the_traits_of_the_account(hubspot: LocalHubspot) -> None:
    hubspot.company(1, name="Acme")
    won(hubspot, 9, 1, renews_on="2027-11-01")
    won(hubspot, 8, 1, hs_mrr="1.2E2", dealname="Add-on", renews_on="2027-06-01")
    facts = list(read(hubspot, deals=DEALS).values())

    traits = document(unite("1", [Party("hubspot:1", fold(History(facts)))])).traits

    assert (570.5, "USD", "active", "Add-on, Pro", "2027-06-01T00:00:00.000Z") == (
        traits["mrr"],
        traits["billingCurrency"],
        traits["subscriptionStatus"],
        traits["planName"],
        traits["nextRenewalDate"],
    )


@pytest.mark.parametrize("amount", [None, "", "0", "0.00"])
def test_a_won_deal_without_an_amount_a_month_is_no_subscription(
    hubspot: LocalHubspot, amount: str | None
) -> None:
    hubspot.company(1)
    won(hubspot, 9, 1, hs_mrr=amount)

    assert "subscription:deal-9" not in values(hubspot, deals=DEALS)


@pytest.mark.parametrize(
    ("day", "told"),
    [
        ("2026-10-31", {"status": "canceled", "ended_at": 1_793_404_800_000}),
        ("2026-11-02", {"status": "active", "cancel_at": 1_793_577_600_000}),
    ],
)
def test_a_deal_ends_on_its_day(
    hubspot: LocalHubspot, day: str, told: dict[str, Any]
) -> None:
    hubspot.company(1)
    won(hubspot, 9, 1, ended_on=day)

    found = values(hubspot, deals=DEALS)["subscription:deal-9"]

    assert told == {k: v for k, v in found.items() if k not in {*ALWAYS}}


ALWAYS = ("currency", "mrr", "plan")


def test_a_currency_without_cents_has_no_cents(hubspot: LocalHubspot) -> None:
    hubspot.company(1)
    won(hubspot, 9, 1, deal_currency_code="JPY", hs_mrr="30000")

    assert "30000" == values(hubspot, deals=DEALS)["subscription:deal-9"]["mrr"]


def test_without_any_currency_the_amount_is_not_known(hubspot: LocalHubspot) -> None:
    hubspot.company(1)
    won(hubspot, 9, 1)
    facts = list(read(hubspot, deals={"mrr": "hs_mrr"}).values())

    found = document(unite("1", [Party("hubspot:1", fold(History(facts)))]))

    assert "mrr" not in found.traits
    assert "currency" in found.unknown["mrr"]


def test_many_deals_are_read_by_the_hundred(hubspot: LocalHubspot) -> None:
    hubspot.company(1)
    for id_ in range(1000, 1205):
        won(hubspot, id_, 1)

    found = values(hubspot, deals=DEALS)

    assert 205 == len([thing for thing in found if thing.startswith("sub")])
    assert 3 == hubspot.paths().count("/crm/v3/objects/deals/batch/read")


def test_more_deals_than_a_reply_lists_are_not_taken_for_all(
    hubspot: LocalHubspot,
) -> None:
    hubspot.company(1)
    won(hubspot, 9, 1)
    hubspot.more = True

    with pytest.raises(SourceUnreadError, match="more deals"):
        values(hubspot, deals=DEALS)


def test_a_deal_of_two_companies_counts_for_the_primary_one(
    hubspot: LocalHubspot,
) -> None:
    hubspot.company(1)
    hubspot.company(2)
    won(hubspot, 9, 1, 2)

    assert "subscription:deal-9" in values(hubspot, deals=DEALS)
    assert "subscription:deal-9" not in values(hubspot, 2, deals=DEALS)
    assert "hubspot:1" == reading(hubspot, deals=DEALS).owner("deal:9")


def test_without_a_primary_company_a_deal_is_the_only_one_s(
    hubspot: LocalHubspot,
) -> None:
    hubspot.company(1)
    won(hubspot, 9, 1, primary=False)
    won(hubspot, 8, 1, 2, primary=False)
    source = reading(hubspot, deals=DEALS)

    found = values(hubspot, deals=DEALS)

    assert ["subscription:deal-9"] == [t for t in found if t.startswith("sub")]
    assert ["hubspot:1", None] == [source.owner(f"deal:{id_}") for id_ in (9, 8)]


def test_whose_a_thing_is_can_be_asked(hubspot: LocalHubspot) -> None:
    won(hubspot, 9, 1)
    won(hubspot, 8)
    source = reading(hubspot, deals=DEALS)

    assert "hubspot:1" == source.owner("company:1")
    assert [] == hubspot.log
    assert ["hubspot:1", None, None] == [
        source.owner(f"deal:{id_}") for id_ in (9, 8, 7)
    ]


def test_of_a_deleted_deal_the_company_is_told_while_hubspot_knows_it(
    hubspot: LocalHubspot,
) -> None:
    won(hubspot, 9, 1)
    won(hubspot, 8, 1)
    hubspot.delete("deals", 9)
    hubspot.delete("deals", 8, forget=True)
    source = reading(hubspot, deals=DEALS)

    assert ["hubspot:1", None] == [source.owner(f"deal:{id_}") for id_ in (9, 8)]


@pytest.mark.parametrize(
    ("name", "value", "must"),
    [("hs_mrr", "much", "a number"), ("renews_on", "soon", "a day")],
)
def test_a_deal_that_cannot_be_understood_is_an_error_without_its_value(
    hubspot: LocalHubspot, name: str, value: str, must: str
) -> None:
    hubspot.company(1)
    won(hubspot, 9, 1, **{name: value})

    with pytest.raises(
        SourceUnreadError, match=rf"{name} of a deal: It must be {must}"
    ):
        values(hubspot, deals=DEALS)


# --- failures -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "reason", "retry_after", "refused"),
    [
        (429, "wants fewer requests (429)", 3.0, False),
        (500, "answered 500 about /crm/v3/objects/companies", None, False),
        (401, "refuses HUBSPOT_ACCESS_TOKEN (401)", None, True),
        (403, "(403): it lacks the permission crm.objects.owners.read", None, True),
        ("garbage", "cannot be read", None, False),
        ("odd", "is not understood: id, properties", None, False),
    ],
)
def test_a_failure_is_one_error_with_a_reason(
    hubspot: LocalHubspot,
    fault: int | str,
    reason: str,
    retry_after: float | None,
    refused: bool,
) -> None:
    hubspot.company(1, name="Acme")
    hubspot.fail(fault)

    with pytest.raises(SourceError) as raised:
        values(hubspot)

    error = raised.value
    assert reason in error.reason
    assert (retry_after, refused) == (error.retry_after, error.refused)
    assert SECRET_PART not in str(error)
    assert TOKEN not in str(error)
    assert 1 == len(hubspot.log)


@pytest.mark.parametrize("where", ["batch/read", "owners"])
def test_a_failure_in_the_middle_yields_no_half_company(
    hubspot: LocalHubspot, where: str
) -> None:
    hubspot.company(1, hubspot_owner_id="70")
    won(hubspot, 9, 1)
    hubspot.fail(500, where)

    with pytest.raises(SourceError):
        values(hubspot, deals=DEALS, traits=TRAITS)


def test_an_api_that_hangs_is_given_up(hubspot: LocalHubspot) -> None:
    hasty = connect(options(hubspot), timeout=0.2)
    assert hasty is not None
    hubspot.fail("hang")

    with pytest.raises(SourceError, match=r"does not answer \(ReadTimeoutError\)"):
        hasty.party("hubspot:1")


def test_an_api_that_is_not_there_is_an_error_in_words() -> None:
    with LocalHubspot() as hubspot:
        source = reading(hubspot)

    with pytest.raises(SourceError, match=r"does not answer \("):
        source.party("hubspot:1")


def test_a_wrong_token_is_refused(hubspot: LocalHubspot) -> None:
    hubspot.token = "another"

    with pytest.raises(SourceError, match="refuses HUBSPOT_ACCESS_TOKEN") as raised:
        values(hubspot)
    assert raised.value.refused


def test_a_bridge_without_a_token_does_without_the_http_client() -> None:
    code = (
        "import sys; from bridge.sources.hubspot import SOURCE; "
        "SOURCE.api({'HUBSPOT_ACCESS_TOKEN': None}); print('urllib3' in sys.modules)"
    )

    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )

    assert "False" == done.stdout.strip()
