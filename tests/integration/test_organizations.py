"""The life of an organization: written from the parties of its accounts, and left by them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from random import Random
from typing import Any

import pytest

from bridge import actions
from bridge.accounts import Search, listing
from bridge.config import Config
from bridge.desired import ORGANIZATION
from bridge.domain.document import TRAITS
from bridge.domain.facts import Fact
from bridge.domain.mass import Limits
from bridge.explain import explanation
from bridge.guard import Guard
from bridge.plan import plan, report, totals
from bridge.reconcile import Reconciler
from bridge.store import dump, keys, operator
from bridge.store.index import Index, sums
from bridge.store.inspect import StateReader
from bridge.store.mass import Mass
from bridge.store.shadow import Shadow
from bridge.store.view import Outcome
from tests.support.desk import Bench, customer, link, subscription

CONFIG = Config({trait: trait for trait in (*TRAITS, ORGANIZATION)})
HOLDING = "organization:holding"
ACCOUNTS = {"cus_1": "acme", "cus_2": "birch", "cus_3": "cedar"}


@pytest.fixture
def desk(desk: Bench) -> Iterator[Bench]:
    desk.set(config=CONFIG)
    yield desk
    # Whatever happened, no two writes of one account were in flight at a time.
    assert not [entry for entry in desk.vitally.log() if entry["overlap"]]


def joins(name: str, organization: str | None = "holding", **more: Any) -> Fact:
    """A snapshot of a customer in an organization."""
    account = more.pop("account", ACCOUNTS.get(name, name))
    return customer(name, account=account, organization=organization, **more)


def pays(name: str, unit: int, currency: str = "usd", **more: Any) -> Fact:
    return subscription(name, f"sub_{name}", unit=unit, currency=currency, **more)


THREE = (
    joins("cus_1"),
    pays("cus_1", 10_000),
    joins("cus_2"),
    pays("cus_2", 2_500),
    joins("cus_3"),
    pays("cus_3", 700, "eur"),
)


def test_an_organization_is_the_sum_of_its_accounts_currencies_apart(
    desk: Bench,
) -> None:
    desk.settles(*THREE)

    there = desk.account(HOLDING)
    assert ("holding", 3) == (there["name"], there["accountsCount"])
    traits = there["traits"]
    assert {"mrrUSD": 125, "mrrEUR": 7, "subscriptionStatus": "active"} == {
        name: value
        for name, value in traits.items()
        if name.startswith("mrr") or name == "subscriptionStatus"
    }
    assert [there["id"]] * 3 == [
        desk.account(name)["organizationId"] for name in ACCOUNTS.values()
    ]


def test_an_account_that_was_never_written_leaves_with_its_party(desk: Bench) -> None:
    desk.set(bridge_create="never")
    desk.does(joins("cus_1"), pays("cus_1", 100))
    assert {b"acme"} == desk.redis.smembers(keys.children("holding"))

    desk.does(link("cus_1", "birch", at=9))

    assert {b"birch"} == desk.redis.smembers(keys.children("holding"))


# --- Lives, in any order --------------------------------------------------------------

LIVES: dict[str, tuple[tuple[Fact, ...], dict[str, Any]]] = {
    "one account ends": (
        (pays("cus_3", 700, "eur", at=9, status="canceled"),),
        {"mrr": 125, "mrrUSD": None, "mrrEUR": None, "subscriptionStatus": "active"},
    ),
    "all end": (
        tuple(pays(name, 1, at=9, status="canceled") for name in ACCOUNTS),
        {"mrr": None, "mrrUSD": None, "mrrEUR": None, "subscriptionStatus": "churned"},
    ),
    "one account leaves": (
        (joins("cus_3", None, at=9, kind="updated"),),
        {"mrr": 125, "mrrUSD": None, "mrrEUR": None, "subscriptionStatus": "active"},
    ),
    "all leave": (
        tuple(joins(name, None, at=9, kind="updated") for name in ACCOUNTS),
        {"mrr": None, "mrrUSD": None, "mrrEUR": None, "subscriptionStatus": None},
    ),
    "one account pays more": (
        (pays("cus_1", 20_000, at=9),),
        # What was known of `mrr` before a second currency came stays, as everywhere.
        {"mrrUSD": 225, "mrrEUR": 7, "subscriptionStatus": "active"},
    ),
}


@pytest.mark.parametrize("life", LIVES)
def test_a_life_ends_the_same_whatever_came_first(desk: Bench, life: str) -> None:
    facts, expected = LIVES[life]
    desk.settles(*THREE)
    desk.settles(*facts)
    traits = desk.traits(HOLDING)
    assert expected == {name: traits.get(name) for name in expected}

    desk.redis.flushdb()
    desk.vitally.clear()
    every = [*THREE, *facts]
    Random(life).shuffle(every)
    for fact in every:
        desk.does(fact)
        desk.passes(6000)
    desk.settles()
    again = (desk.vitally.account(HOLDING) or {"traits": {}})["traits"]
    assert expected == {name: again.get(name) for name in expected}


def test_what_an_organization_holds_is_written_only_where_it_differs(
    desk: Bench,
) -> None:
    desk.settles(*THREE)
    desk.vitally.forget()
    desk.settles(joins("cus_1", at=5, kind="updated"), pays("cus_1", 10_000, at=5))

    assert [] == desk.writes()


def test_an_account_of_a_known_organization_is_linked_by_its_creation(
    desk: Bench,
) -> None:
    desk.settles(*THREE)
    desk.vitally.forget()
    desk.settles(joins("cus_4", account="delta"), pays("cus_4", 100))

    put, post, organization = desk.bodies()
    id_ = desk.account(HOLDING)["id"]
    assert ["holding", id_] == [put["organizationId"], post["organizationId"]]
    assert {"traits": {"mrrUSD": 126}} == organization
    assert id_ == desk.account("delta")["organizationId"]


@pytest.mark.parametrize("position", ["400", "404"])
def test_an_organization_that_somebody_deleted_holds_up_no_number(
    desk: Bench, position: str
) -> None:
    desk.vitally.turn(unknown_organization=position)
    desk.settles(*THREE)
    desk.client.delete(HOLDING)
    desk.exists("delta", "Delta")
    desk.settles(joins("cus_4", account="delta"), pays("cus_4", 100))
    desk.settles(joins("cus_5", account="elm"), pays("cus_5", 100))

    assert [1, 1] == [desk.traits(name)["mrr"] for name in ("delta", "elm")]
    assert 127 == desk.traits(HOLDING)["mrrUSD"]
    assert None is desk.breaker.reason()
    assert 0 == desk.check().parked
    # It is another one now, and all of its accounts are linked to that.
    id_ = desk.account(HOLDING)["id"]
    desk.passes(6000)
    desk.settles()
    names = (*ACCOUNTS.values(), "delta", "elm")
    assert [id_] * 5 == [desk.account(name)["organizationId"] for name in names]


@pytest.mark.parametrize("position", ["400", "404"])
def test_numbers_go_on_without_an_organization_that_must_not_be_created(
    desk: Bench, position: str
) -> None:
    desk.settles(*THREE)
    desk.set(bridge_create="never")
    desk.exists("delta", "Delta")
    desk.client.delete(HOLDING)
    desk.vitally.turn(unknown_organization=position)
    desk.settles(joins("cus_4", account="delta"), pays("cus_4", 100))

    assert 1 == desk.traits("delta")["mrr"]
    ledger = desk.redis.hget(keys.account("delta"), "ledger")
    assert b"organizationId" not in ledger
    desk.vitally.forget()
    desk.settles(pays("cus_4", 200, at=9))
    assert 2 == desk.traits("delta")["mrr"]
    refused = [
        e for e in desk.vitally.log() if "delta" in e["path"] and e["status"] != 200
    ]
    assert [] == refused


# --- Heads ----------------------------------------------------------------------------


def test_a_head_may_be_an_account_too_or_the_organization_alone(desk: Bench) -> None:
    both = joins("cus_9", "cus_9", account="cus_9", called="Both")
    alone = joins("cus_8", "cus_8", account="cus_8", called="Alone", head=True)
    desk.settles(both, pays("cus_9", 900), alone, pays("cus_8", 800))

    assert ("Both", 9) == (desk.name("organization:cus_9"), desk.traits("cus_9")["mrr"])
    assert 9 == desk.traits("organization:cus_9")["mrr"]
    assert "Alone" == desk.name("organization:cus_8")
    assert 8 == desk.traits("organization:cus_8")["mrr"]
    assert None is desk.vitally.account("cus_8")
    # It becomes an account of another organization after all.
    desk.settles(joins("cus_8", account="cus_8", called="Alone", at=5, kind="updated"))
    assert (8, 8) == (desk.traits("cus_8")["mrr"], desk.traits(HOLDING)["mrr"])
    assert None is desk.traits("organization:cus_8").get("mrr")


def test_an_organization_may_wait_until_somebody_creates_it(desk: Bench) -> None:
    desk.set(bridge_create="never")
    desk.exists("acme", "Acme")
    desk.settles(joins("cus_1"), pays("cus_1", 100))
    ((held, _),) = desk.look.listed(keys.HELD)
    assert (HOLDING, "unknown to Vitally, and BRIDGE_CREATE=never") == (
        held.party,
        held.why,
    )

    desk.exists(HOLDING, "Holding")
    actions.retry(desk.redis, HOLDING)
    desk.settles()
    there = desk.account(HOLDING)
    assert ("Holding", 1) == (there["name"], there["traits"]["mrr"])
    assert there["id"] == desk.account("acme")["organizationId"]


# --- Whatever dies in between ---------------------------------------------------------


def test_an_organization_is_written_though_the_worker_dies_after_its_account(
    desk: Bench,
) -> None:
    desk.settles(*THREE)
    desk.tell(pays("cus_1", 20_000, at=9))
    assert "updated" == desk.next()
    desk.pop()  # whatever else waits dies with the worker
    desk.redis.delete("rq:queue:bridge")
    assert 125 == desk.traits(HOLDING)["mrrUSD"]
    desk.sweep()
    desk.settles()

    assert 225 == desk.traits(HOLDING)["mrrUSD"]


def test_an_account_moves_between_organizations_and_counts_in_one_of_them(
    desk: Bench,
) -> None:
    desk.settles(*THREE)
    desk.tell(joins("cus_1", "other", at=9, kind="updated"))
    # It stays where it is in Vitally until the other one is there.
    assert "unchanged" == desk.next()
    desk.redis.delete("rq:queue:bridge")
    desk.settles()

    assert (25, 100) == (
        desk.traits(HOLDING)["mrrUSD"],
        desk.traits("organization:other")["mrr"],
    )
    other = desk.account("organization:other")
    assert other["id"] == desk.account("acme")["organizationId"]
    assert [2, 1] == [desk.account(HOLDING)["accountsCount"], other["accountsCount"]]
    desk.settles(joins("cus_1", None, at=10, kind="updated"))
    assert None is desk.account("acme")["organizationId"]
    assert None is desk.traits("organization:other").get("mrr")


def test_what_is_forgotten_counts_no_more(desk: Bench) -> None:
    desk.settles(*THREE)
    for name in ("cus_2", "cus_3"):
        assert operator.forget(desk.redis, f"stripe:{name}") is not None
    desk.settles()
    assert 100 == desk.traits(HOLDING)["mrr"]

    assert {b"acme"} == desk.redis.smembers(keys.children("holding"))
    assert operator.forget(desk.redis, "stripe:cus_1") is not None
    desk.settles()
    stored = [raw.decode() for raw in desk.redis.scan_iter("vb1:*")]
    assert not [name for name in stored if "holding" in name]
    assert 0 == desk.redis.hlen(keys.INDEX)


def crm(organization: str | None, *, at: int = 0) -> Fact:
    """What a CRM says of an account whose money is elsewhere."""
    fact = joins("cus_1", organization, account="acme", at=at, kind="updated")
    return fact._replace(party="hubspot:1")


def test_an_organization_has_all_parties_of_its_accounts_whoever_names_it(
    desk: Bench,
) -> None:
    desk.settles(crm("holding"), joins("cus_1", None), pays("cus_1", 10_000))
    assert (100, 100) == (desk.traits()["mrr"], desk.traits(HOLDING)["mrr"])
    # Of two sources that differ the first decides, for the link and for the sum.
    desk.settles(joins("cus_1", "other", at=9, kind="updated"))
    linked = desk.account("acme")["organizationId"]
    counted = {of: desk.traits(of).get("mrr") for of in (HOLDING,)}
    if (other := desk.vitally.account("organization:other")) is not None:
        counted["organization:other"] = other["traits"].get("mrr")
    assert [100] == [
        mrr for of, mrr in counted.items() if desk.account(of)["id"] == linked
    ]
    assert [100] == [mrr for mrr in counted.values() if mrr]
    # The party that has the money moves; the account stays and is empty.
    desk.settles(link("cus_1", "zeta", at=10), joins("cus_1", None, at=11))
    assert None is desk.traits(HOLDING).get("mrr")


def test_an_account_that_contributes_the_same_is_not_summed_again(desk: Bench) -> None:
    desk.settles(*THREE)
    before = desk.redis.hget(keys.party(HOLDING), "nudges")
    for name in ("stripe:cus_1", "stripe:cus_2"):
        desk.leases.look_again([name], 1)
        desk.settles()
    assert before == desk.redis.hget(keys.party(HOLDING), "nudges")
    path = "/resources/accounts*"
    failing = {"kind": "status", "status": 503, "match": {"path": path}}
    desk.vitally.break_with([{**failing, "times": 3, "body": {}}])
    desk.settles(pays("cus_1", 20_000, at=9))

    assert int(before) + 2 >= int(desk.redis.hget(keys.party(HOLDING), "nudges"))
    assert 225 == desk.traits(HOLDING)["mrrUSD"]


def test_a_worker_that_starts_finds_what_an_older_one_took_for_a_customer(
    desk: Bench,
) -> None:
    desk.settles(*THREE)
    desk.tell(pays("cus_1", 20_000, at=9))
    assert "updated" == desk.next()
    desk.redis.delete(keys.party(HOLDING), "rq:queue:bridge")
    desk.redis.zrem(keys.LATER, HOLDING)
    desk.redis.zrem(keys.DIRTY, HOLDING)
    desk.leases.look_again(Shadow(desk.redis).unclaimed(), 1)
    desk.settles()

    assert 225 == desk.traits(HOLDING)["mrrUSD"]


def test_without_the_line_nothing_is_written_to_organizations_and_all_leave(
    desk: Bench,
) -> None:
    desk.settles(*THREE)
    desk.set(config=Config())
    desk.vitally.forget()
    desk.settles(*(pays(name, 900, at=9) for name in ACCOUNTS))

    assert {*ACCOUNTS.values()} == {one["account"] for one in desk.vitally.writes()}
    assert not desk.redis.exists(keys.children("holding"))
    assert 125 == desk.traits(HOLDING)["mrrUSD"]


def test_what_changes_while_an_organization_is_written_is_written_next(
    desk: Bench,
) -> None:
    desk.settles(*THREE)
    view = desk.leases.begin(HOLDING)
    assert view is not None
    desk.tell(pays("cus_1", 20_000, at=9))
    assert "updated" == desk.next()
    (claim,) = desk.leases.ack(view, Outcome("unchanged"))

    assert HOLDING == claim.party
    desk.queue.push(claim, "newer facts")
    desk.settles()
    assert 225 == desk.traits(HOLDING)["mrrUSD"]


def test_an_organization_that_appears_during_a_job_is_linked_by_the_next(
    desk: Bench,
) -> None:
    desk.does(joins("cus_1"), pays("cus_1", 10_000))
    desk.tell(joins("cus_2"))
    party = desk.popped()
    desk.leases.begin(party)
    desk.leases.move(party, "birch")
    view = desk.leases.begin(party)
    assert view is not None
    assert {"holding": None} == view.organizations
    desk.jobs.run(HOLDING)  # only the accounts that it has by now are made due
    desk.leases.ack(view, Outcome("unchanged"))

    due = desk.due_in("cus_2")
    assert due is not None
    assert due < 1
    desk.settles()
    assert desk.account(HOLDING)["id"] == desk.account("birch")["organizationId"]


def test_an_organization_is_due_when_a_date_of_one_of_its_accounts_is(
    desk: Bench,
) -> None:
    soon = time.time_ns() // 1_000_000 + 3_600_000
    ends = [{"unit": "500", "interval": "month", "until": soon}]
    desk.settles(*THREE[:4])
    desk.settles(pays("cus_2", 0, at=5, items=ends))
    assert (105, soon) == (
        desk.traits(HOLDING)["mrr"],
        pytest.approx(desk.redis.zscore(keys.LATER, HOLDING), abs=60_000),
    )


def test_an_export_between_an_account_and_its_organization_owes_the_rest(
    desk: Bench,
) -> None:
    desk.settles(*THREE)
    desk.tell(pays("cus_1", 20_000, at=9))
    assert "updated" == desk.next()
    desk.redis.zrem(keys.LATER, HOLDING)  # it was read before that
    lines = [*dump.export(desk.redis)]
    desk.redis.flushdb()
    [*dump.load(desk.redis, lines)]
    desk.settles()

    assert 225 == desk.traits(HOLDING)["mrrUSD"]
    assert 3 == desk.redis.scard(keys.children("holding"))
    assert not desk.redis.exists(keys.members(HOLDING))


def test_an_export_while_the_last_account_leaves_owes_the_rest(desk: Bench) -> None:
    desk.settles(joins("cus_1"), pays("cus_1", 10_000))
    desk.tell(joins("cus_1", None, at=9, kind="updated"))
    assert "updated" == desk.next()
    desk.redis.zrem(keys.LATER, HOLDING)
    lines = [*dump.export(desk.redis)]
    desk.redis.flushdb()
    [*dump.load(desk.redis, lines)]
    desk.settles()

    assert None is desk.traits(HOLDING).get("mrr")


def test_a_party_counts_in_its_organization_once_it_has_an_account(desk: Bench) -> None:
    desk.settles(joins("cus_7", account=None), pays("cus_7", 700))
    assert (None, 2) == (desk.vitally.account(HOLDING), desk.check().held)
    desk.settles(link("cus_7", "delta"))

    assert 7 == desk.traits(HOLDING)["mrr"]


def test_a_mass_change_of_organizations_waits_for_a_word(desk: Bench) -> None:
    desk.context.guard = Guard(desk.redis, Limits(0.05, 0.1, 5))
    desk.vitally.turn(rate_limit=1_000_000)
    desk.redis.hset(keys.RATE, "limit", 1_000_000)
    many = range(20)
    for n in many:
        desk.does(joins(f"cus_{n}", f"o{n}", account=f"a{n}"), pays(f"cus_{n}", 100))
    desk.passes(60_000)
    desk.settles()
    for n in many:
        desk.does(pays(f"cus_{n}", 100, at=9, status="canceled"))
    for _ in range(3):
        desk.passes(6000)
        desk.work()
    parked = {raw.decode() for raw in desk.redis.zrange(keys.MASS, 0, -1)}

    assert {"stripe", "organization"} == {party.partition(":")[0] for party in parked}
    assert [desk.traits(f"organization:o{n}").get("mrr") for n in many].count(1) > 15
    actions.release(desk.redis)
    desk.settles()
    assert {None} == {desk.traits(f"organization:o{n}").get("mrr") for n in many}
    assert 0 == desk.check().mass_parties


def test_an_organization_waits_while_one_of_its_accounts_is_held(desk: Bench) -> None:
    desk.context.guard = Guard(desk.redis, Limits(0.05, 0.1, 5))
    desk.vitally.turn(rate_limit=1_000_000)
    desk.redis.hset(keys.RATE, "limit", 1_000_000)
    money = {n: ("usd", "eur")[n % 2] for n in range(20)}
    for n, code in money.items():
        desk.does(joins(f"cus_{n}", account=f"a{n}"), pays(f"cus_{n}", 100, code))
    desk.passes(60_000)
    desk.settles()
    for n, code in money.items():
        desk.does(pays(f"cus_{n}", 100, code, at=9, status="canceled"))
    for _ in range(3):
        desk.passes(6000)
        desk.work()

    parked = {one.party: one.why for one, _ in desk.look.listed(keys.PARKED)}
    assert f"that of {len(parked) - 1} of its customers" in parked[HOLDING]
    assert (10, 10) == tuple(
        desk.traits(HOLDING)[f"mrr{code}"] for code in ("USD", "EUR")
    )
    actions.release(desk.redis)
    desk.settles()
    assert "churned" == desk.traits(HOLDING)["subscriptionStatus"]
    assert 0 == desk.check().mass_parties


def test_an_organization_is_in_no_number_of_accounts(desk: Bench) -> None:
    desk.settles(*THREE)
    index, found = Index(desk.redis), listing(desk.redis, Search())
    (seen,) = Mass(desk.redis).weigh("acme", {"USD down": 1}, anew=True)

    assert {"USD": (2, 125), "EUR": (1, 7)} == sums(index.rows())
    assert [3] * 4 == [index.count(), found.total, found.every, seen.accounts]
    assert 125_000 == seen.total
    assert 1 == listing(desk.redis, Search(HOLDING)).total
    desk.tell(pays("cus_1", 20_000, at=9), joins("cus_2", "other", at=9))
    made = plan(desk.redis, lambda: desk.redis, CONFIG, "customer")
    come_to = totals(made, desk.check(), 0.8)
    assert (1, 0, 3) == tuple(come_to[n] for n in ("accounts", "created", "writes"))


def test_an_organization_that_keeps_changing_is_written_at_growing_intervals(
    desk: Bench,
) -> None:
    desk.settles(*THREE)
    desk.vitally.forget()
    for at in range(10, 20):
        for name in ACCOUNTS:
            desk.does(pays(name, at * 100, at=at))
        desk.passes(300)
        desk.work()
    desk.settles()

    writes = [one for one in desk.vitally.writes() if one["account"] == HOLDING]
    assert len(writes) <= 4
    assert {"mrr": 57, "mrrUSD": None, "mrrEUR": None} == {
        name: desk.traits(HOLDING).get(name) for name in ("mrr", "mrrUSD", "mrrEUR")
    }


# --- Off by default -------------------------------------------------------------------


def test_nothing_is_read_written_or_stored_for_who_has_no_organizations(
    desk: Bench,
) -> None:
    desk.set(config=Config())
    desk.settles(customer(), subscription())
    [*Reconciler(desk.redis, desk.client, Config(), int).read()]
    stored = [raw.decode() for raw in desk.redis.scan_iter("vb1:*")]

    assert not [name for name in stored if "organization" in name or "child" in name]
    assert not {"organization", "known"} & desk.claim().keys() - {"known"}
    record = {raw.decode() for raw in desk.redis.hkeys(keys.account("acme"))}
    assert not {"id", "known"} & record
    assert not [e for e in desk.vitally.log() if "organizations" in e["path"]]
    assert ["PUT", "POST"] == [method for method, _ in desk.writes()]


# --- Seen by people -------------------------------------------------------------------


def test_a_dry_run_shows_organizations_and_writes_none(desk: Bench) -> None:
    desk.set(bridge_dry_run=True)
    desk.leases.begin_dry_run()
    desk.does(*THREE)
    desk.passes(6000)
    desk.work()
    found = {
        one.account: one
        for one in plan(desk.redis, lambda: desk.redis, CONFIG, "customer")
    }

    assert [] == desk.writes()
    assert {HOLDING, *ACCOUNTS.values()} == found.keys()
    assert ((None, 125), True) == (
        found[HOLDING].changes["mrrUSD"],
        found[HOLDING].create,
    )
    now = desk.check()
    assert {"USD": (0.0, 125.0), "EUR": (0.0, 7.0)} == totals(found.values(), now, 0.8)[
        "mrr"
    ]
    # Each change shows, though nothing is written.
    desk.does(pays("cus_3", 700, at=9, status="canceled"))
    desk.passes(6000)
    desk.work()
    assert 125 == Index(desk.redis).some([HOLDING])[HOLDING].mrr
    desk.set(bridge_dry_run=False)
    desk.leases.end_dry_run()
    desk.settles()
    assert 125 == desk.traits(HOLDING)["mrr"]


def test_a_plan_foresees_organizations_before_any_job(desk: Bench) -> None:
    desk.settles(*THREE)
    desk.tell(joins("cus_1", "other", at=9, kind="updated"))
    found = {
        one.account: one
        for one in plan(desk.redis, lambda: desk.redis, CONFIG, "customer")
    }

    assert (125, 25) == found[HOLDING].changes["mrrUSD"]
    assert (None, 100) == found["organization:other"].changes["mrr"]
    desk.work()
    desk.settles()
    found = {
        one.account: one
        for one in plan(desk.redis, lambda: desk.redis, CONFIG, "customer")
    }
    assert {0} == {one.requests for one in found.values()}


def test_an_organization_can_be_found_and_explained(desk: Bench) -> None:
    desk.settles(*THREE)
    find = Index(desk.redis).find
    told = explanation(StateReader(desk.redis), HOLDING, CONFIG)

    assert ["acme"] == [row.account for row in find("stripe:cus_1")]
    assert [[HOLDING]] * 2 == [
        [row.account for row in find(text)] for text in (HOLDING, "holding")
    ]
    assert told is not None
    assert {"wanted": 125, "vitally": 125} == {
        name: told["traits"]["mrrUSD"][name] for name in ("wanted", "vitally")
    }
    assert ["stripe:cus_1", "stripe:cus_2", "stripe:cus_3"] == [
        one.party for one in told["parties"]
    ]
    assert {} == told["to_write"]


def test_a_reading_shows_what_others_did_to_organizations(desk: Bench) -> None:
    desk.settles(*THREE)
    reader = Reconciler(desk.redis, desk.client, CONFIG, int)
    [*reader.read()]
    assert ([], [], []) == report(desk.redis, CONFIG, 4)[1:]

    desk.client.update("acme", {"organizationId": None})
    [*reader.read()]
    (lost,) = report(desk.redis, CONFIG, 4).drift
    assert ("acme", ORGANIZATION, "holding", None) == lost
    desk.leases.look_again(Shadow(desk.redis).party_of_each(["acme"]), 1)
    desk.settles()
    assert desk.account(HOLDING)["id"] == desk.account("acme")["organizationId"]

    desk.client.update(HOLDING, {"traits": {"mrrUSD": 1}})
    desk.exists("organization:stranger", "Stranger")
    [*reader.read()]
    drift, missing, unknown = report(desk.redis, CONFIG, 5)[1:]
    assert [(HOLDING, "mrrUSD", 125, 1)] == [(*one,) for one in drift]
    assert ([], ["organization:stranger"]) == (missing, unknown)
    parties = Shadow(desk.redis).party_of_each([HOLDING])
    desk.leases.look_again(parties, 1)
    desk.settles()
    assert 125 == desk.traits(HOLDING)["mrrUSD"]
    desk.client.delete(HOLDING)
    [*reader.read()]
    assert [HOLDING] == report(desk.redis, CONFIG, 4).missing


def test_a_workspace_without_organizations_keeps_its_accounts_right(
    desk: Bench,
) -> None:
    path = "/resources/organizations*"
    missing = {"kind": "status", "status": 404, "match": {"path": path}}
    desk.vitally.break_with([{**missing, "times": None, "body": {"error": "no"}}])
    desk.settles(*THREE)

    assert (None, 100) == (desk.breaker.reason(), desk.traits()["mrr"])
    (parked, _), *rest = desk.look.listed(keys.PARKED)
    assert (HOLDING, HOLDING, []) == (parked.party, parked.account, rest)
    assert "are organizations switched on in Vitally?" in parked.why
    assert 3 == [*Reconciler(desk.redis, desk.client, CONFIG, int).read()][-1]
    desk.vitally.mend()
    assert 1 == actions.retry_all(desk.redis, actions.parties_of(desk.redis, [HOLDING]))
    desk.settles()
    assert 125 == desk.traits(HOLDING)["mrrUSD"]
