"""What a job does with an account: create, update, hold, park, retry, leave alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any
from urllib.request import Request, urlopen

import pytest
from redis import Redis

from bridge.config import Config
from bridge.domain.document import TRAITS
from bridge.domain.facts import Fact
from bridge.store import keys
from bridge.store.view import Outcome
from tests.support.desk import Bench, bench, customer, subscription
from tests.support.round_trips import round_trips
from tests.support.waiting import eventually

JSON = "application/json"
NEVER = "unknown to Vitally, and BRIDGE_CREATE=never"
NO_SUBSCRIPTION = "unknown to Vitally, and no subscription is known yet"
DAY = 86_400_000


@pytest.fixture
def hasty(redis: Redis) -> Iterator[Bench]:
    """A desk whose requests to Vitally have half a second."""
    with bench(redis, deadline=0.5) as made:
        yield made


def created(desk: Bench, **of: Any) -> None:
    """An account that the bridge created, long enough ago to be written at once."""
    desk.tell(customer(**of), subscription(at=1))
    assert ["created"] == desk.work()
    desk.passes(60_000)


def test_an_unknown_account_is_updated_first_and_then_created(desk: Bench) -> None:
    desk.tell(customer(), subscription())

    assert ["created"] == desk.work()

    assert [("PUT", 404), ("POST", 200)] == desk.writes()
    assert ("Acme", 450) == (desk.name(), desk.traits()["mrr"])


def test_a_write_carries_only_what_differs(desk: Bench) -> None:
    created(desk)
    desk.tell(subscription(at=2, unit=90000))

    assert ["updated"] == desk.work()

    assert {"traits": {"mrr": 900}} == desk.bodies()[-1]


def test_no_difference_is_no_request(desk: Bench) -> None:
    created(desk)
    before = len(desk.writes())
    desk.tell(subscription(at=2))

    assert ["unchanged"] == desk.work()

    assert before == len(desk.writes())
    assert 1 == desk.check().saved


def test_facts_stay_few_however_many_events_came(desk: Bench) -> None:
    desk.tell(customer(), *(subscription(at=n, unit=n) for n in range(1, 60)))
    desk.work()

    assert 4 >= desk.redis.hlen(keys.facts("stripe:cus_1"))
    assert 0.59 == desk.traits()["mrr"]


def test_an_older_event_never_wins(desk: Bench) -> None:
    desk.tell(customer(), subscription(at=5, unit=500))
    desk.work()
    desk.tell(subscription(at=3, unit=300))

    assert ["unchanged"] == desk.work()

    assert 5 == desk.traits()["mrr"]


def test_a_customer_that_was_only_ever_deleted_creates_nothing(desk: Bench) -> None:
    desk.tell(customer(kind="deleted", deleted=True))

    assert ["unchanged"] == desk.work()

    assert [] == desk.writes()
    assert 1 == desk.standing().settled


@pytest.mark.parametrize(
    ("policy", "reason"), [("never", NEVER), ("subscription", NO_SUBSCRIPTION)]
)
def test_an_account_that_is_not_to_be_created_is_held_and_looked_for_daily(
    desk: Bench, policy: str, reason: str
) -> None:
    desk.set(bridge_create=policy)
    desk.tell(customer())

    assert ["held"] == desk.work()

    assert (1, reason) == (desk.standing().held, desk.standing().why)
    assert [("PUT", 404)] == desk.writes()
    assert set() == desk.dirty()
    assert DAY / 1000 - 5 < (desk.due_in() or 0) <= DAY / 1000
    desk.passes(DAY + 1000)
    assert ["held"] == desk.work()
    assert [("PUT", 404)] * 2 == desk.writes()


def test_a_held_account_is_written_once_vitally_has_it(desk: Bench) -> None:
    desk.set(bridge_create="never")
    desk.tell(customer(), subscription())
    desk.work()
    desk.exists("acme", "By hand")
    desk.passes(DAY + 1000)

    assert ["updated"] == desk.work()

    assert ("By hand", 450) == (desk.name(), desk.traits()["mrr"])
    assert (2, 0) == (desk.standing().settled, desk.standing().held)


def test_a_held_account_is_tried_again_with_the_next_event(desk: Bench) -> None:
    desk.set(bridge_create="subscription")
    desk.tell(customer())
    assert ["held"] == desk.work()
    desk.tell(subscription())

    assert ["created"] == desk.work()

    assert (2, 0) == (desk.standing().settled, desk.standing().held)
    assert desk.due_in() is None


def test_a_creation_that_finds_the_account_updates_it(desk: Bench) -> None:
    desk.exists("acme", "By hand")
    desk.fault("status", "PUT", status=404, body={"error": "not yet"})
    desk.tell(customer(), subscription())

    assert ["updated"] == desk.work()

    assert [("POST", 200), ("PUT", 404), ("POST", 409), ("PUT", 200)] == desk.writes()
    assert ("By hand", 450) == (desk.name(), desk.traits()["mrr"])


def test_a_duplicate_told_as_400_updates_it_too(desk: Bench) -> None:
    desk.vitally.turn(duplicate_create="bad400")
    desk.exists("acme", "By hand")
    desk.fault("status", "PUT", status=404, body={"error": "not yet"})
    desk.tell(customer(), subscription())

    assert ["updated"] == desk.work()

    assert 450 == desk.traits()["mrr"]


def test_a_duplicate_told_as_422_updates_it_too(desk: Bench) -> None:
    desk.exists("acme", "By hand")
    desk.fault("status", "PUT", status=404, body={"error": "not yet"})
    exists = {"error": "externalId already exists"}
    desk.fault("status", "POST", status=422, body=exists)
    desk.tell(customer(), subscription())

    assert ["updated"] == desk.work()


def test_404_to_put_and_post_stops_all_writes_with_the_reason(desk: Bench) -> None:
    desk.fault("status", "POST", status=404, body={"error": "Cannot POST"})
    desk.tell(customer())

    assert ["retried"] == desk.work()

    assert "base URL or subdomain" in (desk.breaker.reason() or "")
    assert 1 == desk.check().pending
    desk.sweeper.probe()
    assert desk.breaker.reason() is None
    desk.passes(2000)
    assert ["created"] == desk.work()


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_all_writes_and_keeps_all_work(
    desk: Bench, status: int
) -> None:
    desk.fault("status", "PUT", status=status, body={"error": "Invalid API key."})
    desk.tell(customer())

    assert ["retried"] == desk.work()

    assert f"refuses the key ({status})" in (desk.breaker.reason() or "")
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
    desk.tell(subscription(at=2, unit=100))

    assert ["retried"] == desk.work()

    assert seconds - 0.5 < (desk.due_in() or 0) <= seconds
    assert seconds * 1000 - 500 < desk.throttle.wait() <= seconds * 1000
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


@pytest.mark.parametrize(
    "kind", ["reset_before", "reset_after_commit", "truncated", "non_json"]
)
def test_a_creation_that_is_not_confirmed_is_repeated_without_a_second_account(
    desk: Bench, kind: str
) -> None:
    desk.fault(kind, "POST")
    desk.tell(customer(), subscription())

    assert ["retried"] == desk.work()
    desk.passes(2000)
    desk.work()

    assert ["acme"] == [one["externalId"] for one in desk.vitally.accounts()]
    assert ("Acme", 450) == (desk.name(), desk.traits()["mrr"])


@pytest.mark.parametrize("kind", ["delay", "timeout_after_commit"])
def test_a_write_that_times_out_is_repeated_whole_and_once_more_later(
    hasty: Bench, kind: str
) -> None:
    created(hasty)
    hasty.fault(kind, "PUT", seconds=0.8)
    hasty.tell(subscription(at=2, unit=100))
    assert ["retried"] == hasty.work()
    hasty.passes(2000)

    assert ["updated"] == hasty.work()

    assert set(TRAITS) - {"trialEndDate"} == set(hasty.bodies()[-1]["traits"])
    assert 29 < (hasty.due_in() or 0) <= 30
    assert 0 == hasty.check().pending
    hasty.passes(31_000)
    assert ["updated"] == hasty.work()
    assert set(TRAITS) - {"trialEndDate"} == set(hasty.bodies()[-1]["traits"])
    assert hasty.due_in() is None


def test_the_last_look_at_a_doubtful_write_is_not_brought_forward_by_an_event(
    desk: Bench,
) -> None:
    """The doubtful request may still arrive in these 30 s and be left standing."""
    created(desk)
    desk.fault("reset_before", "PUT")
    desk.tell(subscription(at=2, unit=100))
    desk.work()
    desk.passes(2000)
    assert ["updated"] == desk.work()
    desk.passes(2000)
    desk.tell(subscription(at=3, unit=200))
    assert ["updated"] == desk.work()

    desk.client.update("acme", {"traits": {"mrr": 1}})  # the late one arrives
    desk.passes(31_000)
    desk.work()

    assert 2 == desk.traits()["mrr"]


def test_a_refused_change_is_parked_with_the_reason(desk: Bench) -> None:
    created(desk)
    refusal = {"error": "mrr must be an integer"}
    desk.fault("status", "PUT", status=400, body=refusal)
    desk.tell(subscription(at=2, unit=150))

    assert ["parked"] == desk.work()

    standing = desk.standing()
    assert (1, "mrr must be an integer") == (standing.parked, standing.why)
    assert set() == desk.dirty()
    assert [standing.party] == [s.party for s, _ in desk.look.listed(keys.PARKED)]
    assert desk.due_in() is None


def test_a_parked_change_is_tried_again_with_the_next_event(desk: Bench) -> None:
    created(desk)
    desk.fault("status", "PUT", status=422, body={"error": "no"})
    desk.tell(subscription(at=2, unit=150))
    assert ["parked"] == desk.work()
    desk.tell(subscription(at=3, unit=250))
    assert (1, 1) == (desk.standing().parked, desk.standing().pending)

    assert ["updated"] == desk.work()

    assert 2.5 == desk.traits()["mrr"]
    assert (4, 0, "") == (
        desk.standing().settled,
        desk.standing().parked,
        desk.standing().why,
    )


def test_a_parked_change_is_tried_again_by_hand(desk: Bench) -> None:
    created(desk)
    desk.fault("status", "PUT", status=400, body={"error": "no"})
    desk.tell(subscription(at=2, unit=150))
    desk.work()

    desk.queue.push_all(desk.leases.claim_by_hand("stripe:cus_1"), "by hand")

    assert ["updated"] == desk.work()
    assert 0 == desk.check().parked


def test_a_creation_refused_with_400_is_parked_after_one_more_put(desk: Bench) -> None:
    desk.fault("status", "POST", status=400, body={"error": "name too long"})
    desk.tell(customer())

    assert ["parked"] == desk.work()

    assert [("PUT", 404), ("POST", 400), ("PUT", 404)] == desk.writes()
    assert "name too long" == desk.standing().why


def test_a_change_that_failed_for_three_days_is_parked(desk: Bench) -> None:
    created(desk)
    desk.fault("status", "PUT", status=503, times=None)
    desk.tell(subscription(at=2, unit=150))
    assert ["retried"] == desk.work()
    desk.passes(3 * DAY)

    assert ["parked"] == desk.work()

    assert desk.standing().why.startswith("tried for 3 days; the last answer: ")


def test_the_first_update_of_an_account_vitally_had_has_no_name(desk: Bench) -> None:
    desk.exists("acme", "By hand")
    desk.tell(customer(), subscription())
    desk.work()
    desk.passes(60_000)
    desk.tell(customer(at=5, kind="updated", called="Acme Two"))
    desk.work()

    assert "By hand" == desk.name()
    assert all("name" not in body for body in desk.bodies()[1:])


def test_a_name_the_bridge_wrote_follows_the_customer(desk: Bench) -> None:
    created(desk)
    desk.tell(customer(at=5, kind="updated", called="Acme Two"))
    desk.work()

    assert "Acme Two" == desk.name()


def test_a_name_of_lower_rank_replaces_none(desk: Bench) -> None:
    created(desk)
    desk.tell(customer(at=5, kind="updated", called=None, email="a@example.com"))
    desk.work()

    assert "Acme" == desk.name()


def test_a_name_changed_by_hand_is_left_alone_once_a_reply_shows_it(
    desk: Bench,
) -> None:
    created(desk)
    desk.client.update("acme", {"name": "By hand"})
    desk.tell(subscription(at=2, unit=100))
    desk.work()
    desk.passes(60_000)
    desk.tell(customer(at=5, kind="updated", called="Acme Two"))
    desk.work()

    assert "By hand" == desk.name()


def test_a_name_changed_by_hand_is_left_alone_by_the_very_next_write(
    desk: Bench,
) -> None:
    created(desk)
    desk.client.update("acme", {"name": "By hand"})
    desk.tell(customer(at=5, kind="updated", called="Acme Two"))
    desk.work()

    assert "By hand" == desk.name()


def test_a_name_changed_by_hand_survives_a_doubtful_write(desk: Bench) -> None:
    created(desk)
    desk.client.update("acme", {"name": "By hand"})
    desk.fault("status", "PUT", status=503)
    desk.tell(subscription(at=2, unit=100))
    desk.work()
    desk.passes(2000)
    desk.work()

    assert ("By hand", 1) == (desk.name(), desk.traits()["mrr"])


def test_an_account_that_keeps_changing_is_written_at_growing_intervals(
    desk: Bench,
) -> None:
    desk.tell(customer(), subscription(unit=100))
    assert ["created"] == desk.work()
    waits = []
    for n in range(2, 6):
        desk.tell(subscription(at=n, unit=100 * n))
        assert ["retried"] == desk.work()
        waits.append(round(desk.due_in() or 0))
        desk.passes(waits[-1] * 1000 + 100)
        assert ["updated"] == desk.work()

    assert [1, 2, 5, 5] == waits
    assert 5 == desk.traits()["mrr"]


def test_a_dry_run_writes_nothing(desk: Bench) -> None:
    desk.set(bridge_dry_run=True)
    desk.tell(customer(), subscription())

    assert ["unchanged"] == desk.work()

    assert [] == desk.writes()
    assert 2 == desk.check().settled


def test_after_a_dry_run_the_next_event_writes_all(desk: Bench) -> None:
    desk.set(bridge_dry_run=True)
    desk.tell(customer(), subscription())
    desk.work()
    desk.set(bridge_dry_run=False)
    desk.tell(subscription(at=5))

    assert ["created"] == desk.work()

    assert 450 == desk.traits()["mrr"]


def test_traits_are_written_under_the_keys_of_the_file(desk: Bench) -> None:
    names = dict.fromkeys(TRAITS) | {"mrr": "billing.mrr", "planName": "planName"}
    desk.set(config=Config(names))
    desk.tell(customer(), subscription())
    desk.work()

    assert {"billing.mrr": 450, "planName": "Pro"} == desk.traits()


def test_unknown_traits_are_left_out_and_counted(desk: Bench) -> None:
    fact = subscription(items=[{"price": "price_1", "scheme": "tiered"}])
    desk.tell(customer(), fact)
    desk.work()

    assert "mrr" not in desk.traits()
    assert 1 == desk.check().unknown


def test_huge_amounts_are_no_poison(desk: Bench) -> None:
    items = [
        {
            "price": f"price_{n}",
            "unit": str(2**53),
            "quantity": 2**31,
            "interval": "day",
        }
        for n in range(20)
    ]
    desk.tell(customer(), subscription(items=items))

    assert desk.work() in (["created"], ["parked"])


def test_a_party_that_cannot_be_folded_blocks_and_spins_nobody(desk: Bench) -> None:
    desk.tell(customer("bad", account="bad"), customer("good", account="good"))
    row = keys.facts("stripe:bad")
    desk.redis.hset(row, "subscription:sub\tevt", b"[0, 1, 2]")
    job = desk.pop()
    assert job is not None

    with pytest.raises(ValueError, match="unpack"):
        desk.jobs.run(job.args[0])

    assert ["created"] == desk.work()
    assert [] == list(desk.redis.scan_iter(match=keys.lease("*")))


def test_two_jobs_of_one_account_never_write_at_the_same_time(desk: Bench) -> None:
    created(desk)
    desk.vitally.break_with([{"kind": "delay", "seconds": 0.3, "times": None}])
    desk.tell(subscription(at=2, unit=100))
    desk.tell(customer("cus_2", at=2), subscription("cus_2", "sub_2", unit=1000))
    jobs = [desk.pop(), desk.pop()]
    threads = [
        threading.Thread(target=desk.jobs.run, args=(job.args[0],))
        for job in jobs
        if job is not None
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    eventually(lambda: desk.passes(2000) or desk.work() or not desk.dirty(), 5)
    assert 11 == desk.traits()["mrr"]
    assert not any(one["overlap"] for one in desk.vitally.writes())


def told(trait: str, value: Any, at: int = 5) -> Fact:
    """A trait that a source tells as it is."""
    fact = customer(at=at, kind="updated")
    return fact._replace(thing=f"trait:{trait}", value={"is": value})


def organization(desk: Bench, external_id: str) -> str:
    """Let Vitally have an organization; its id there."""
    body = json.dumps({"externalId": external_id, "name": external_id}).encode()
    request = Request(
        f"{desk.vitally.url}/resources/organizations",
        body,
        {"Authorization": desk.vitally.authorization, "Content-Type": JSON},
    )
    with urlopen(request, timeout=5) as reply:
        return str(json.load(reply)["id"])


def test_an_account_is_put_into_the_organization_of_its_source(desk: Bench) -> None:
    desk.set(config=Config({trait: trait for trait in (*TRAITS, "organizationId")}))
    vitally = organization(desk, "holding")
    desk.tell(customer(), told("organizationId", "holding"), subscription(at=1))

    assert ["created"] == desk.work()

    found = desk.vitally.account("acme")
    assert found is not None
    assert (vitally, 450) == (found["organizationId"], found["traits"]["mrr"])
    assert "organizationId" not in found["traits"]
    desk.passes(60_000)
    desk.tell(told("organizationId", None, at=6))
    desk.work()
    assert None is desk.vitally.account("acme")["organizationId"]


def test_an_organization_that_vitally_does_not_have_holds_up_nothing(
    desk: Bench,
) -> None:
    desk.set(config=Config({trait: trait for trait in (*TRAITS, "organizationId")}))
    desk.tell(customer(), told("organizationId", "nobody"), subscription(at=1))

    assert ["created"] == desk.work()

    assert 450 == desk.traits()["mrr"]
    assert 0 == desk.check().parked
    desk.passes(60_000)
    before = len(desk.writes())
    desk.tell(customer(at=7, kind="updated"))
    assert ["unchanged"] == desk.work()
    assert before == len(desk.writes())


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

    desk.jobs.sync._ack(view, desk.unchanged())

    assert at_once == (desk.due_in() is None)
    assert 1 == desk.check().pending
    desk.passes(4100)
    desk.work()
    assert "Acme Ltd" == desk.name()


def test_a_job_with_one_write_asks_redis_five_times(desk: Bench) -> None:
    """And once more in a worker, which tells the throttle what the reply said."""
    desk.tell(customer(), subscription())
    desk.work()
    desk.passes(6000)
    desk.tell(subscription(unit=900, at=5))

    trips = round_trips(desk.redis, lambda: desk.jobs.run("stripe:cus_1"))

    assert 9 == desk.traits()["mrr"]
    # begin, the price that it uses, a slot, unconfirmed, acknowledged
    assert ["EVALSHA", "MULTI", "EVALSHA", "EVALSHA", "EVALSHA"] == trips


def test_the_facts_of_a_held_party_are_compacted(desk: Bench) -> None:
    for n in range(30):
        desk.tell(customer(account=None, at=n, kind="updated", called=f"Acme {n}"))
        desk.tell(subscription(at=n, unit=n))
    desk.work()

    assert 60 == desk.check().held
    assert desk.redis.hlen(keys.facts("stripe:cus_1")) <= 6
    desk.tell(customer(at=99, account="acme", kind="updated"))
    desk.work()
    assert 0.29 == desk.traits()["mrr"]


def test_two_workers_that_hold_one_party_lose_nothing(desk: Bench) -> None:
    words = ("incomplete", "past_due", "active", "unpaid", "unpaid", "unpaid")
    told = [subscription(at=n, status=word) for n, word in enumerate(words)]
    desk.tell(customer(account=None), *told[:3])
    slow = desk.leases.begin("stripe:cus_1")
    desk.tell(*told[3:])
    fast = desk.leases.begin("stripe:cus_1")
    assert slow is not None
    assert fast is not None

    nobody = Outcome("held", "held", "nobody's")
    desk.leases.ack(fast, nobody)
    desk.leases.ack(slow, nobody)

    now = desk.leases.members(["stripe:cus_1"])[0]
    assert fast.own.things == now.things
    assert desk.check().held
