"""What a job does with an account: create, update, hold, park, retry, leave alone."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.request import Request, urlopen

import pytest
from redis import Redis

from bridge.config import Config
from bridge.domain.document import TRAITS
from bridge.domain.facts import Fact
from bridge.domain.money import Policy
from bridge.store import keys, lease
from bridge.store.view import Outcome
from tests.support.desk import Bench, bench, customer, subscription
from tests.support.round_trips import round_trips
from tests.support.waiting import eventually

NEVER = "unknown to Vitally, and BRIDGE_CREATE=never"
NO_SUBSCRIPTION = "unknown to Vitally, and no subscription is known yet"
DAY = 86_400_000
REFUSED: dict[str, Any] = {"status": 400, "body": {"error": "mrr must be an integer"}}


@pytest.fixture
def hasty(redis: Redis) -> Iterator[Bench]:
    """A desk whose requests to Vitally have half a second."""
    with bench(redis, deadline=0.5) as made:
        yield made


def created(desk: Bench) -> None:
    """An account that the bridge created, long enough ago to be written at once."""
    assert ["created"] == desk.rests(customer(), subscription(at=1))


# --- What a write carries -------------------------------------------------------------


def test_an_unknown_account_is_updated_first_and_then_created(desk: Bench) -> None:
    assert ["created"] == desk.does(customer(), subscription())

    assert [("PUT", 404), ("POST", 200)] == desk.writes()
    assert ("Acme", 450) == (desk.name(), desk.traits()["mrr"])


def test_a_write_carries_only_what_differs_and_no_difference_is_no_request(
    desk: Bench,
) -> None:
    created(desk)
    assert ["unchanged"] == desk.does(subscription(at=2))
    assert "1" == desk.claim()["known"]
    assert (2, 1) == (len(desk.writes()), desk.check().saved)

    assert ["updated"] == desk.does(subscription(at=3, unit=90000))
    assert {"traits": {"mrr": 900}} == desk.bodies()[-1]


@pytest.mark.parametrize("account", ["acme", None])
def test_facts_stay_few_however_many_events_came(
    desk: Bench, account: str | None
) -> None:
    for n in range(30):
        named = customer(account=account, at=n, kind="updated", called=f"Acme {n}")
        desk.tell(named, subscription(at=n, unit=n))
    desk.work()

    assert desk.redis.hlen(keys.facts("stripe:cus_1")) <= 6
    assert (0 if account else 60) == desk.check().held
    desk.rests(customer(at=99, kind="updated"))
    assert 0.29 == desk.traits()["mrr"]


def test_an_older_event_never_wins(desk: Bench) -> None:
    desk.does(customer(), subscription(at=5, unit=500))

    assert ["unchanged"] == desk.does(subscription(at=3, unit=300))
    assert 5 == desk.traits()["mrr"]


def test_a_customer_that_was_only_ever_deleted_creates_nothing(desk: Bench) -> None:
    assert ["unchanged"] == desk.does(customer(kind="deleted", deleted=True))

    assert ([], 1) == (desk.writes(), desk.standing().settled)
    assert "known" not in desk.claim()


def test_traits_are_written_under_the_keys_of_the_file(desk: Bench) -> None:
    names = dict.fromkeys(TRAITS) | {"mrr": "billing.mrr", "planName": "planName"}
    desk.set(config=Config(names))
    desk.does(customer(), subscription())

    assert {"billing.mrr": 450, "planName": "Pro"} == desk.traits()


def test_unknown_traits_are_left_out_and_counted(desk: Bench) -> None:
    tiered = subscription(items=[{"price": "price_1", "scheme": "tiered"}])
    desk.does(customer(), tiered)

    assert "mrr" not in desk.traits()
    assert 1 == desk.check().unknown


def test_huge_amounts_are_no_poison(desk: Bench) -> None:
    huge = {"unit": str(2**53), "quantity": 2**31, "interval": "day"}
    items = [huge | {"price": f"price_{n}"} for n in range(20)]

    assert desk.does(customer(), subscription(items=items)) in (["created"], ["parked"])


def test_a_discount_that_ends_is_seen_at_its_end_without_an_event(desk: Bench) -> None:
    desk.set(config=replace(Config(), policy=Policy(discounts="active")))
    ends = time.time_ns() // 1_000_000 + 1500
    half = {"coupon": "half", "percent": "50", "duration": "repeating", "ends": ends}
    desk.does(customer(), subscription(unit=10_000, discounts=[half]))

    assert 50 == desk.traits()["mrr"]
    assert (1, set()) == (desk.redis.zcard(keys.LATER), desk.dirty())
    eventually(lambda: desk.sweeper.tick() or desk.work())
    assert (100, 0) == (desk.traits()["mrr"], desk.redis.zcard(keys.LATER))


def test_a_dry_run_writes_nothing_and_leaves_all_pending(desk: Bench) -> None:
    desk.set(bridge_dry_run=True)
    assert ["dry_run"] == desk.does(customer(), subscription())
    desk.passes(3_600_000)
    desk.sweep()

    assert [] == desk.does(subscription(at=5, unit=7700))
    assert ([], 3) == (desk.writes(), desk.check().pending)


def test_after_a_dry_run_all_is_written_without_a_further_event(desk: Bench) -> None:
    desk.set(bridge_dry_run=True)
    desk.does(customer(), subscription(), customer("cus_2", account="two"))
    desk.set(bridge_dry_run=False)

    assert 2 == desk.leases.end_dry_run()
    desk.passes(1000)
    assert ["created", "created"] == desk.work()
    assert (3, 450) == (desk.check().settled, desk.traits()["mrr"])


def test_many_that_wait_for_the_end_of_a_dry_run_are_let_go_step_by_step(
    desk: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One script for 300,000 of them held Redis up for seconds."""
    monkeypatch.setattr(lease, "SPREAD", 2)
    desk.set(bridge_dry_run=True)
    desk.does(*(customer(f"cus_{n}", account=f"a{n}") for n in range(5)))
    steps, run = [], desk.leases._run
    monkeypatch.setattr(
        desk.leases, "_run", lambda *args: steps.append(run(*args)) or steps[-1]
    )

    assert 5 == desk.leases.end_dry_run()
    assert [2, 2, 1] == steps
    due = [at for _, at in desk.redis.zrange(keys.LATER, 0, -1, withscores=True)]
    assert 3 * lease.APART_MS <= due[-1] - due[0] < 10_000
    assert not desk.redis.exists(keys.DRY_RUN)


# --- Accounts that Vitally does not have, or has already ------------------------------


@pytest.mark.parametrize(
    ("policy", "reason"), [("never", NEVER), ("subscription", NO_SUBSCRIPTION)]
)
def test_an_account_that_is_not_to_be_created_is_held_and_looked_for_daily(
    desk: Bench, policy: str, reason: str
) -> None:
    desk.set(bridge_create=policy)
    assert ["held"] == desk.does(customer())

    assert (1, reason) == (desk.standing().held, desk.standing().why)
    assert ([("PUT", 404)], set()) == (desk.writes(), desk.dirty())
    assert DAY / 1000 - 5 < (desk.due_in() or 0) <= DAY / 1000
    desk.passes(DAY + 1000)
    assert ["held"] == desk.work()
    assert [("PUT", 404)] * 2 == desk.writes()

    desk.exists("acme", "By hand")
    desk.passes(DAY + 1000)
    assert ["updated"] == desk.work()
    assert "By hand" == desk.name()
    assert (1, 0) == (desk.standing().settled, desk.standing().held)


def test_a_held_account_is_tried_again_with_the_next_event(desk: Bench) -> None:
    desk.set(bridge_create="subscription")
    assert ["held"] == desk.does(customer())

    assert ["created"] == desk.does(subscription())
    assert (2, 0) == (desk.standing().settled, desk.standing().held)
    assert desk.due_in() is None


@pytest.mark.parametrize(
    ("duplicate", "faults", "status"),
    [
        ("conflict409", [], 409),
        ("bad400", [], 400),
        ("conflict409", [("already exists", 422)], 422),
    ],
)
def test_a_creation_that_finds_the_account_updates_it(
    desk: Bench, duplicate: str, faults: list[tuple[str, int]], status: int
) -> None:
    desk.vitally.turn(duplicate_create=duplicate)
    desk.exists("acme", "By hand")
    desk.fault("status", "PUT", status=404, body={"error": "not yet"})
    for error, code in faults:
        desk.fault("status", "POST", status=code, body={"error": f"externalId {error}"})

    assert ["updated"] == desk.does(customer(), subscription())

    (_, *writes) = desk.writes()
    assert [("PUT", 404), ("POST", status), ("PUT", 200)] == writes
    assert ("By hand", 450) == (desk.name(), desk.traits()["mrr"])


@pytest.mark.parametrize(
    "kind", ["reset_before", "reset_after_commit", "truncated", "non_json"]
)
def test_a_creation_that_is_not_confirmed_is_repeated_without_a_second_account(
    desk: Bench, kind: str
) -> None:
    desk.fault(kind, "POST")
    assert ["retried"] == desk.does(customer(), subscription())
    desk.passes(2000)
    desk.work()

    assert ["acme"] == [one["externalId"] for one in desk.vitally.accounts()]
    assert ("Acme", 450) == (desk.name(), desk.traits()["mrr"])


# --- Faults of Vitally ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "status", "reason"),
    [
        ("PUT", 401, "refuses the key (401)"),
        ("PUT", 403, "refuses the key (403)"),
        ("POST", 404, "base URL or subdomain"),
    ],
)
def test_a_refused_key_or_a_wrong_address_stops_all_writes_and_keeps_all_work(
    desk: Bench, method: str, status: int, reason: str
) -> None:
    desk.fault("status", method, status=status, body={"error": "no"})
    assert ["retried"] == desk.does(customer())

    assert reason in (desk.breaker.reason() or "")
    assert ({"cus_1"}, 1) == (desk.dirty(), desk.check().pending)
    desk.passes(5000)
    assert desk.breaker.reason() is None
    assert ["created"] == desk.work()


@pytest.mark.parametrize(
    ("headers", "seconds"), [({"Retry-After": "7"}, 7), ({"RateLimit-Reset": "4"}, 4)]
)
def test_a_429_waits_as_told_and_is_no_failed_attempt(
    desk: Bench, headers: dict[str, str], seconds: int
) -> None:
    created(desk)
    desk.fault("status", "PUT", status=429, body={"error": "slow"}, headers=headers)
    assert ["waited"] == desk.does(subscription(at=2, unit=100))

    assert seconds - 3 < (desk.due_in() or 0) <= seconds
    assert seconds * 1000 - 3000 < desk.throttle.wait() <= seconds * 1000
    assert 0 == desk.look.record("acme", ["stripe:cus_1"]).tries
    desk.passes(seconds * 1000 + 100)
    assert ["updated"] == desk.work()
    assert {"traits": {"mrr": 1}} == desk.bodies()[-1]


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_fault_of_vitally_is_retried_with_growing_patience(
    desk: Bench, status: int
) -> None:
    created(desk)
    desk.fault("status", "PUT", status=status, times=3)
    desk.tell(subscription(at=2, unit=100))
    waits = []
    for _ in range(3):
        assert ["retried"] == desk.work()
        waits.append(round(desk.due_in() or 0))
        desk.passes(waits[-1] * 1000 + 500)

    assert [1, 2, 4] == waits
    assert ["updated"] == desk.work()
    assert 1 == desk.traits()["mrr"]
    assert 0 == desk.look.record("acme", ["stripe:cus_1"]).tries


@pytest.mark.parametrize("kind", ["delay", "timeout_after_commit"])
def test_a_write_that_times_out_is_repeated_whole_and_once_more_later(
    hasty: Bench, kind: str
) -> None:
    every = set(TRAITS) - {"trialEndDate"}
    created(hasty)
    hasty.fault(kind, "PUT", seconds=0.8)
    assert ["retried"] == hasty.does(subscription(at=2, unit=100))
    hasty.passes(2000)
    assert ["updated"] == hasty.work()

    assert every == set(hasty.bodies()[-1]["traits"])
    assert 25 < (hasty.due_in() or 0) <= 30
    assert 0 == hasty.check().pending
    hasty.passes(31_000)
    assert ["updated"] == hasty.work()
    assert every == set(hasty.bodies()[-1]["traits"])
    assert hasty.due_in() is None


def test_the_last_look_at_a_doubtful_write_is_not_brought_forward_by_an_event(
    desk: Bench,
) -> None:
    """The doubtful request may still arrive in these 30 s and be left standing."""
    created(desk)
    desk.fault("reset_before", "PUT")
    desk.does(subscription(at=2, unit=100))
    desk.passes(2000)
    assert ["updated"] == desk.work()
    desk.passes(2000)
    assert ["updated"] == desk.does(subscription(at=3, unit=200))

    desk.client.update("acme", {"traits": {"mrr": 1}})  # the late one arrives
    desk.passes(31_000)
    desk.work()
    assert 2 == desk.traits()["mrr"]


def test_a_refused_change_is_parked_with_the_reason(desk: Bench) -> None:
    created(desk)
    desk.fault("status", "PUT", **REFUSED)
    assert ["parked"] == desk.does(subscription(at=2, unit=150))

    standing = desk.standing()
    assert (1, "mrr must be an integer") == (standing.parked, standing.why)
    assert [standing.party] == [s.party for s, _ in desk.look.listed(keys.PARKED)]
    assert (set(), None) == (desk.dirty(), desk.due_in())

    desk.tell(subscription(at=3, unit=250))
    assert (1, 1) == (desk.standing().parked, desk.standing().pending)
    assert ["updated"] == desk.work()
    assert 2.5 == desk.traits()["mrr"]
    standing = desk.standing()
    assert (4, 0, "") == (standing.settled, standing.parked, standing.why)


def test_a_parked_change_is_tried_again_by_hand(desk: Bench) -> None:
    created(desk)
    desk.fault("status", "PUT", **REFUSED)
    desk.does(subscription(at=2, unit=150))
    desk.queue.push_all(desk.leases.claim("by hand", "stripe:cus_1"), "by hand")

    assert ["updated"] == desk.work()
    assert 0 == desk.check().parked


def test_a_creation_refused_with_400_is_parked_after_one_more_put(desk: Bench) -> None:
    desk.fault("status", "POST", **REFUSED)
    assert ["parked"] == desk.does(customer())

    assert [("PUT", 404), ("POST", 400), ("PUT", 404)] == desk.writes()
    assert "mrr must be an integer" == desk.standing().why


def test_a_change_that_failed_for_three_days_is_parked(desk: Bench) -> None:
    created(desk)
    desk.fault("status", "PUT", status=503, times=None)
    assert ["retried"] == desk.does(subscription(at=2, unit=150))
    desk.passes(3 * DAY)

    assert ["parked"] == desk.work()
    assert desk.standing().why.startswith("tried for 3 days; the last answer: ")


# --- Names ----------------------------------------------------------------------------


def renamed(called: str | None = "Acme Two", **more: Any) -> Fact:
    return customer(at=5, kind="updated", called=called, **more)


def test_the_first_update_of_an_account_vitally_had_has_no_name(desk: Bench) -> None:
    desk.exists("acme", "By hand")
    desk.rests(customer(), subscription())
    desk.does(renamed())

    assert "By hand" == desk.name()
    assert all("name" not in body for body in desk.bodies()[1:])


@pytest.mark.parametrize(
    ("fact", "name"),
    [(renamed(), "Acme Two"), (renamed(None, email="a@example.com"), "Acme")],
)
def test_a_name_the_bridge_wrote_follows_the_customer_but_to_no_lower_rank(
    desk: Bench, fact: Fact, name: str
) -> None:
    created(desk)
    desk.does(fact)

    assert name == desk.name()


def rename(desk: Bench) -> None:
    desk.does(renamed())


def write_and_rename(desk: Bench) -> None:
    desk.rests(subscription(at=2, unit=100))
    desk.does(renamed())


def write_in_doubt(desk: Bench) -> None:
    desk.fault("status", "PUT", status=503)
    desk.does(subscription(at=2, unit=100))
    desk.passes(2000)
    desk.work()
    assert 1 == desk.traits()["mrr"]


@pytest.mark.parametrize("then", [rename, write_and_rename, write_in_doubt])
def test_a_name_changed_by_hand_is_left_alone(
    desk: Bench, then: Callable[[Bench], None]
) -> None:
    created(desk)
    desk.client.update("acme", {"name": "By hand"})
    then(desk)

    assert "By hand" == desk.name()


# --- Organizations --------------------------------------------------------------------


def in_organization(external_id: str | None, at: int = 5) -> Fact:
    fact = customer(at=at, kind="updated")
    return fact._replace(thing="trait:organizationId", value={"is": external_id})


@pytest.fixture
def holding(desk: Bench) -> str:
    """The id in Vitally of the one organization, which the desk writes, too."""
    desk.set(config=Config({trait: trait for trait in (*TRAITS, "organizationId")}))
    url = f"{desk.vitally.url}/resources/organizations"
    body = json.dumps({"externalId": "holding", "name": "Holding"}).encode()
    headers = {"Authorization": desk.vitally.authorization}
    headers |= {"Content-Type": "application/json"}
    with urlopen(Request(url, body, headers), timeout=5) as reply:
        return str(json.load(reply)["id"])


def test_an_account_is_put_into_the_organization_of_its_source(
    desk: Bench, holding: str
) -> None:
    placed = in_organization("holding")
    assert ["created"] == desk.rests(customer(), placed, subscription(at=1))

    account = desk.account("acme")
    assert (holding, 450) == (account["organizationId"], account["traits"]["mrr"])
    assert "organizationId" not in account["traits"]
    desk.does(in_organization(None, at=6))
    assert None is desk.account("acme")["organizationId"]


@pytest.mark.usefixtures("holding")
def test_an_organization_that_vitally_does_not_have_holds_up_nothing(
    desk: Bench,
) -> None:
    nobody = in_organization("nobody")
    assert ["created"] == desk.rests(customer(), nobody, subscription(at=1))

    assert (450, 0) == (desk.traits()["mrr"], desk.check().parked)
    before = len(desk.writes())
    assert ["unchanged"] == desk.does(customer(at=7, kind="updated"))
    assert before == len(desk.writes())


@pytest.mark.usefixtures("holding")
def test_a_write_of_which_the_second_request_must_wait_is_not_forgotten(
    desk: Bench,
) -> None:
    """What the first one wrote is undone, too, where the facts go back."""
    desk.rests(customer(), subscription(at=1))
    limited = {
        "status": 429,
        "body": {"error": "slow"},
        "headers": {"Retry-After": "1"},
    }
    desk.fault("status", match={"method": "PUT", "nth": 2}, **limited)

    assert ["waited"] == desk.does(
        in_organization("holding"), subscription(at=6, unit=1)
    )
    desk.does(subscription(at=7))
    desk.passes(6000)
    desk.work()

    assert 450 == desk.traits()["mrr"]


# --- Several jobs ---------------------------------------------------------------------


def test_an_account_that_keeps_changing_is_written_at_growing_intervals(
    desk: Bench,
) -> None:
    assert ["created"] == desk.does(customer(), subscription(unit=100))
    waits = []
    for n in range(2, 6):
        assert ["paced"] == desk.does(subscription(at=n, unit=100 * n))
        waits.append(round(desk.due_in() or 0))
        desk.passes(waits[-1] * 1000 + 100)
        assert ["updated"] == desk.work()

    assert [1, 2, 5, 5] == waits
    assert 5 == desk.traits()["mrr"]


@pytest.mark.parametrize("is_known", [False, True])
def test_a_party_that_cannot_be_folded_blocks_and_spins_nobody(
    desk: Bench, *, is_known: bool
) -> None:
    desk.tell(customer("bad", account="bad"), customer("good", account="good"))
    if is_known:
        desk.leases.move("stripe:bad", "bad")
    row = keys.facts("stripe:bad")
    desk.redis.hset(row, "subscription:sub\tevt", b"[0, 1, 2]")
    with pytest.raises(ValueError, match="unpack"):
        desk.next()

    # The lease of its account, if it has one, ends by itself: nobody prolongs it.
    assert desk.leases.held is None
    assert ["created"] == desk.work()
    assert [keys.lease("bad").encode()] * is_known == desk.redis.keys(keys.lease("*"))


def test_two_jobs_of_one_account_never_write_at_the_same_time(desk: Bench) -> None:
    created(desk)
    desk.vitally.break_with([{"kind": "delay", "seconds": 0.3, "times": None}])
    desk.tell(subscription(at=2, unit=100))
    desk.tell(customer("cus_2", at=2), subscription("cus_2", "sub_2", unit=1000))
    parties = [desk.popped(), desk.popped()]
    jobs = [threading.Thread(target=desk.jobs.run, args=(one,)) for one in parties]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()

    eventually(lambda: desk.passes(2000) or desk.work() or not desk.dirty())
    assert 11 == desk.traits()["mrr"]
    assert not any(one["overlap"] for one in desk.vitally.writes())


@pytest.mark.parametrize(("took", "at_once"), [(0.0, True), (2.0, False)])
def test_a_long_job_lets_others_go_first_before_its_newer_facts(
    desk: Bench, took: float, *, at_once: bool
) -> None:
    desk.tell(customer())
    desk.leases.move("stripe:cus_1", "acme")
    view = desk.leases.begin("stripe:cus_1")
    assert view is not None
    desk.leases.since -= took
    desk.tell(customer(at=5, called="Acme Ltd", kind="updated"))
    desk.jobs.sync._ack(view, Outcome("unchanged", known=True))

    assert at_once == (desk.due_in() is None)
    assert 1 == desk.check().pending
    desk.passes(4100)
    desk.work()
    assert "Acme Ltd" == desk.name()


def test_two_workers_that_hold_one_party_lose_nothing(desk: Bench) -> None:
    words = ("incomplete", "past_due", "active", "unpaid", "unpaid", "unpaid")
    facts = [subscription(at=n, status=word) for n, word in enumerate(words)]
    desk.tell(customer(account=None), *facts[:3])
    slow = desk.leases.begin("stripe:cus_1")
    desk.tell(*facts[3:])
    fast = desk.leases.begin("stripe:cus_1")
    assert slow is not None
    assert fast is not None
    for view in (fast, slow):
        desk.leases.ack(view, Outcome("held", "held", "nobody's"))

    (member,) = desk.leases.members(["stripe:cus_1"])
    assert fast.own.things == member.things
    assert desk.check().held


def test_a_job_with_one_write_asks_redis_six_times(desk: Bench) -> None:
    """And once more in a worker, which tells the throttle what the reply said."""
    desk.rests(customer(), subscription())
    desk.rests(subscription(unit=800, at=4))
    desk.tell(subscription(unit=900, at=5))

    trips = round_trips(desk.redis, lambda: desk.jobs.run("stripe:cus_1"))

    assert 9 == desk.traits()["mrr"]
    # begin, the price that it uses, what moves, a slot, unconfirmed, acknowledged
    assert ["EVALSHA", "MULTI", *["EVALSHA"] * 4] == trips
