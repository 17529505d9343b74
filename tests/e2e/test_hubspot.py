"""HubSpot's deliveries all the way: from a signed batch to the right accounts."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bridge.store.inspect import StateReader
from tests.support.command import called
from tests.support.local_hubspot import (
    BORN,
    PUBLIC,
    SECRET,
    TOKEN,
    Json,
    LocalHubspot,
    Sender,
    association,
    changed,
    company,
    event,
    merge,
)
from tests.support.stack import Stack
from tests.support.waiting import eventually

TABLE = """
[sources.hubspot.traits]
lifecycleStage = "lifecyclestage"
accountManager = { property = "hubspot_owner_id", as = "owner" }

[sources.hubspot.deals]
mrr = "hs_mrr"
renews = "renews_on"
currency = "usd"
"""

COMPANIES = 110
"""More than a page of them."""

_ids = itertools.count(700_001)


def now(more: int = 0) -> int:
    """This moment and *more* milliseconds, as `at` of an event; readings are of now."""
    return int(time.time() * 1000) - BORN + more


class Shop:
    """A bridge that HubSpot calls, with a token for HubSpot's API or without."""

    def __init__(self, stack: Stack, hubspot: LocalHubspot) -> None:
        self.stack = stack
        self.hubspot = hubspot
        self.last = 0
        self._sender = Sender(stack.webs[0].url)

    def post(self, *events: Json) -> Json:
        """Deliver *events* at once and wait for the end of all work."""
        status, answer = self._sender.post(*events)
        assert 202 == status
        self.stack.settled()
        return answer

    def company(self, name: str, *deals: str, **properties: str) -> int:
        """A company, told of, that has *deals* of these amounts from the beginning."""
        id_, at = next(_ids), now()
        self.hubspot.company(id_, name=name, **properties)
        for amount in deals:
            self.deal(id_, amount=amount)
        values = {"name": name, **properties}
        changes = (changed(id_, key, value, at=at) for key, value in values.items())
        self.post(company("creation", id_, at=at), *changes)
        return id_

    def deal(self, *companies: int, amount: str = "450.00", won: bool = True) -> int:
        """A deal that HubSpot has; nothing is told of it."""
        self.last = next(_ids)
        own = {"hs_mrr": amount, "dealname": "Pro", "renews_on": "2027-11-01"}
        closed = "true" if won else "false"
        self.hubspot.deal(self.last, *companies, hs_is_closed_won=closed, **own)
        return self.last

    def traits(self, id_: int | str) -> dict[str, Any]:
        traits: dict[str, Any] = self.stack.account(str(id_))["traits"]
        return traits

    def name(self, id_: int) -> str:
        return str(self.stack.account(str(id_))["name"])

    def pays(self, id_: int) -> tuple[float | None, bool]:
        """What an account pays a month, and whether it has churned."""
        traits = self.traits(id_)
        return traits.get("mrr"), bool(traits.get("churnedAt"))

    def writes(self, account: int | str, since: int = 0) -> list[Json]:
        """The writes of an account, from the write number *since* on."""
        every = self.stack.vitally.writes()[since:]
        return [one for one in every if one["account"] == str(account)]


@contextmanager
def shop(folder: Path, *, token: bool, table: str = TABLE) -> Iterator[Shop]:
    file = folder / "bridge.toml"
    file.write_text(table, encoding="utf-8")
    with LocalHubspot() as hubspot:
        environ = {
            "HUBSPOT_CLIENT_SECRET": SECRET,
            "HUBSPOT_API_BASE": hubspot.url,
            "BRIDGE_PUBLIC_URL": PUBLIC,
            "BRIDGE_CONFIG": file,
        }
        environ |= {"HUBSPOT_ACCESS_TOKEN": TOKEN} if token else {}
        with Stack(folder, **environ) as stack:
            stack.web()
            stack.worker()
            yield Shop(stack.ready(), hubspot)


@pytest.fixture(scope="module")
def with_token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("hubspot"), token=True) as made:
        yield made


@pytest.fixture(scope="module")
def without(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with shop(tmp_path_factory.mktemp("hubspot"), token=False) as made:
        yield made


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A property names the account; HubSpot's clock is two seconds late."""
    table = f'[sources.hubspot]\naccount = "vitally_id"\n{TABLE}'
    folder = tmp_path_factory.mktemp("hubspot")
    with shop(folder, token=True, table=table) as made:
        made.hubspot.clock = lambda: time.time() - 2
        yield made


@pytest.mark.parametrize("generic", [False, True], ids=["older", "generic"])
def test_a_company_is_an_account_in_both_vocabularies(
    without: Shop, generic: bool
) -> None:
    id_ = next(_ids)
    told = [
        company("creation", id_),
        changed(id_, "name", "Blue Door", at=1),
        changed(id_, "lifecyclestage", "customer", at=2),
    ]
    if generic:
        for one in told:
            what = one["subscriptionType"].partition(".")[2]
            one |= {"subscriptionType": f"object.{what}", "objectTypeId": "0-2"}

    receipt = without.post(*told)

    assert {"queued": 1, "coalesced": 2} == receipt["counts"]
    assert "Blue Door" == without.name(id_)
    assert {"lifecycleStage": "customer"} == without.traits(id_)


def test_a_delivery_of_a_hundred_changes_is_one_write_for_each_company(
    without: Shop,
) -> None:
    pair = next(_ids), next(_ids)

    def told(first: int) -> list[Json]:
        return [
            changed(id_, "lifecyclestage", f"stage {n}", at=now(n))
            for n in range(first, first + 50)
            for id_ in pair
        ]

    def methods() -> list[list[str]]:
        return [[one["method"] for one in without.writes(id_)] for id_ in pair]

    receipt = without.post(*told(0))

    assert {"queued": 2, "coalesced": 98} == receipt["counts"]
    # An account that Vitally does not have is asked for first.
    assert [["PUT", "POST"]] * 2 == methods()

    again = told(50)
    assert {"queued": 2, "coalesced": 98} == without.post(*again)["counts"]
    assert [["PUT", "POST", "PUT"]] * 2 == methods()
    assert ["stage 99"] * 2 == [without.traits(id_)["lifecycleStage"] for id_ in pair]
    assert {"duplicate": 100} == without.post(*again)["counts"]


def test_what_no_account_needs_is_ignored_and_counted(without: Shop) -> None:
    industry = changed(next(_ids), "industry", "RETAIL")

    receipt = without.post(industry, event("contact.creation", objectId=7))

    assert {"ignored": 2} == receipt["counts"]
    assert "industry" in receipt["reason"]


def test_a_bad_event_of_a_batch_does_not_stop_its_siblings(without: Shop) -> None:
    one, other = next(_ids), next(_ids)
    told = [changed(n, "name", f"Company {n}") for n in (one, other)]
    odd = {**changed(next(_ids), "name", "Acme"), "objectId": "?"}

    receipt = without.post({"foo": 1}, *told, odd)

    assert "quarantined" == receipt["receipt"]
    assert {"queued": 2, "quarantined": 2} == receipt["counts"]
    assert "not an event" in receipt["reason"]
    assert [f"Company {n}" for n in (one, other)] == [*map(without.name, (one, other))]


def test_without_a_token_deals_are_held_with_what_they_need(without: Shop) -> None:
    deal = next(_ids)

    without.post(event("deal.creation", objectId=deal, at=now()))

    found = StateReader(without.stack.redis).standing(f"pointer:hubspot:deal:{deal}")
    assert found is not None
    assert 1 == found.held
    assert "needs HUBSPOT_ACCESS_TOKEN" in (found.why or "")


def test_a_company_met_in_mid_life_is_read_whole(with_token: Shop) -> None:
    id_ = next(_ids)
    with_token.hubspot.user(70, firstName="Ada", lastName="Example")
    with_token.hubspot.company(
        id_, name="Blue Door", lifecyclestage="customer", hubspot_owner_id="70"
    )
    with_token.deal(id_)

    with_token.post(changed(id_, "lifecyclestage", "customer"))

    assert "Blue Door" == with_token.name(id_)
    assert {
        "lifecycleStage": "customer",
        "accountManager": "Ada Example",
        "mrr": 450,
        "subscriptionStatus": "active",
        "planName": "Pro",
        "billingCurrency": "USD",
        "nextRenewalDate": "2027-11-01T00:00:00.000Z",
    } == with_token.traits(id_)


def test_deals_reach_their_company(with_token: Shop) -> None:
    id_ = with_token.company("Acme")
    deal = with_token.deal(id_, won=False)
    with_token.post(event("deal.creation", objectId=deal, at=now()))
    assert "mrr" not in with_token.traits(id_)

    with_token.hubspot.deal(deal, id_, hs_is_closed_won="true")
    with_token.post(changed(deal, "dealstage", "closedwon", "deal", at=now()))
    assert (450, False) == with_token.pays(id_)

    with_token.hubspot.deal(deal, id_, hs_is_closed_won="false")
    with_token.post(changed(deal, "dealstage", "closedlost", "deal", at=now()))
    assert (None, True) == with_token.pays(id_)


def test_one_of_two_deals_that_ends_is_no_churn(with_token: Shop) -> None:
    id_ = with_token.company("Acme", "50", "450")
    assert (500, False) == with_token.pays(id_)

    with_token.hubspot.delete("deals", with_token.last)
    with_token.post(event("deal.deletion", objectId=with_token.last, at=now()))

    assert (50, False) == with_token.pays(id_)


def test_a_deal_moves_to_another_company(with_token: Shop) -> None:
    new, old = with_token.company("New"), with_token.company("Old", "450")
    deal = with_token.last
    assert (450, False) == with_token.pays(old)

    with_token.hubspot.deal(deal, new)
    with_token.post(
        association("deal", deal, old, removed=True, at=now()),
        association("deal", deal, new, at=now()),
    )

    assert (None, True) == with_token.pays(old)
    assert (450, False) == with_token.pays(new)


def test_a_merged_company_leaves_its_account(with_token: Shop) -> None:
    kept = with_token.company("Kept", lifecyclestage="customer")
    gone = with_token.company("Gone", "450", lifecyclestage="lead")
    assert (450, False) == with_token.pays(gone)
    before = len(with_token.stack.vitally.writes())

    with_token.hubspot.merge(gone, kept)
    with_token.hubspot.deal(with_token.last, kept)
    with_token.post(merge(kept, gone, at=now()))

    assert (450, False) == with_token.pays(kept)
    writes = with_token.writes(kept, before)
    assert not any(one["body"]["traits"].get("churnedAt") for one in writes)
    assert "customer" == with_token.traits(kept)["lifecycleStage"]
    assert "Kept" == with_token.name(kept)
    assert {} == {k: v for k, v in with_token.traits(gone).items() if v is not None}


@pytest.mark.parametrize("late", [False, True], ids=["at once", "told before it is so"])
def test_a_merge_into_a_new_record_is_one_write_and_no_churn(
    named: Shop, late: bool
) -> None:
    """HubSpot makes a third company of two, each with a deal of 100.

    What it tells of that may come before its API knows, and in the second of the merge.
    """
    first, other, new = (next(_ids) for _ in range(3))
    deals = []
    for id_ in (first, other):
        named.hubspot.company(id_, name=f"Co {id_}", vitally_id=f"hs-{id_}")
        deals.append(named.deal(id_, amount="100"))
        named.post(company("creation", id_, at=now(-5000)))
    accounts = [f"hs-{first}", f"hs-{other}"]
    assert [100, 100] == [named.traits(one)["mrr"] for one in accounts]
    before = len(named.stack.vitally.writes())

    def happens() -> None:
        named.hubspot.company(new, name=f"Co {first}", vitally_id=f"hs-{first}")
        for deal in deals:
            named.hubspot.deal(deal, new)
        named.hubspot.merge(first, new)
        named.hubspot.merge(other, new)

    if not late:
        happens()
    named.post(merge(first, first, other, new=new, at=now()))
    if late:
        happens()

    assert eventually(lambda: named.traits(accounts[0])["mrr"] == 200)
    assert eventually(lambda: not any(named.traits(accounts[1]).values()))
    kept, left = (
        [write["body"]["traits"] for write in named.writes(account, before)]
        for account in accounts
    )
    # The sum changes once, or once for each of the two.
    assert len([traits for traits in kept if "mrr" in traits]) <= 2
    assert not any(traits.get("churnedAt") for traits in kept)
    assert [None] == [traits["mrr"] for traits in left if "mrr" in traits]


def test_a_deleted_company_churns_and_a_restored_one_is_back(with_token: Shop) -> None:
    id_ = with_token.company("Acme", "450")

    with_token.hubspot.delete("companies", id_)
    with_token.post(company("deletion", id_, at=now()))
    assert (None, True) == with_token.pays(id_)

    with_token.hubspot.restore("companies", id_)
    with_token.post(company("restore", id_, at=now()))
    assert (450, False) == with_token.pays(id_)


def test_a_backfill_reads_all_and_gaps_find_what_no_webhook_told(
    tmp_path: Path,
) -> None:
    first = next(_ids)
    ids = range(first, first + COMPANIES)
    with shop(tmp_path, token=True) as made:
        for id_ in ids:
            made.hubspot.company(id_, name=f"Company {id_}")
        made.deal(first)
        told = called("backfill", "hubspot", "--yes", environ=made.stack.environ)
        made.stack.settled()
        assert f"{COMPANIES} customers of HubSpot to read" in told.err
        assert [f"Company {id_}" for id_ in ids] == [*map(made.name, ids)]
        assert (450, False) == made.pays(first)

        for id_ in ids[1:7]:
            made.hubspot.company(id_, name=f"New {id_}")
        made.post(*(changed(id_, "name", f"New {id_}", at=now()) for id_ in ids[1:4]))
        made.hubspot.deal(made.last, hs_mrr="500")  # of no company any more
        made.hubspot.company(first)
        made.hubspot.delete("companies", ids[7])
        made.hubspot.merge(ids[8], ids[9])
        made.hubspot.company(ids[-1] + 1, name="The last")
        lost = [first, *ids[4:8], ids[-1] + 1]
        told = called("gaps", "hubspot", "--json", environ=made.stack.environ)
        made.stack.settled()

        assert [f"hubspot:{id_}" for id_ in lost] == sorted(
            one["event"] for one in told.json["events"]
        )
        assert (COMPANIES + 1, 6) == (told.json["read"], told.json["taken in"])
        # The merged one has no webhooks of its own that could be missing.
        assert 1 == told.json["filled in"]
        assert [f"New {id_}" for id_ in ids[1:7]] == [*map(made.name, ids[1:7])]
        assert "The last" == made.name(ids[-1] + 1)
        assert (None, True) == made.pays(first)
        again = called("gaps", "hubspot", "--json", environ=made.stack.environ)
        assert [] == again.json["events"]


def test_no_log_holds_a_secret_or_a_name(with_token: Shop) -> None:
    id_ = with_token.company("Jane Roe Example")
    web, worker = with_token.stack.webs[0].running, with_token.stack.workers[0]

    eventually(lambda: str(id_) in web.output)
    for private in (SECRET, TOKEN, "Jane Roe", "Ada Example"):
        assert not [log for log in (web.output, worker.output) if private in log], (
            private
        )
