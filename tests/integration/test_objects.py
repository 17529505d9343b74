"""Subscriptions as instances of a custom object: sent, looked for, sent again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from bridge.config import Config
from bridge.desired import ORGANIZATION
from bridge.domain.account import unite
from bridge.domain.document import TRAITS
from bridge.domain.instance import instances
from bridge.store import keys
from bridge.store.connect import milliseconds
from bridge.store.objects import LONGEST_REST_MS, Objects
from bridge.store.operator import forget
from tests.support.command import Run, Said
from tests.support.desk import Bench, bench, customer, link, subscription
from tests.support.server import RedisServer
from tests.support.vitally.custom_objects import EXAMPLE_TOKEN
from workers import objects as step

OBJECT = "obj-1"
LINKS = {"stripe": "https://dashboard.stripe.com/subscriptions/{}"}


def switch_on(desk: Bench) -> Bench:
    """Make subscriptions instances; only the simulator's delay is between them."""
    desk.vitally.custom_objects.objects[OBJECT] = {"id": OBJECT, "name": "Subscription"}
    desk.set(
        config=Config(subscription_object=OBJECT, links=LINKS),
        vitally_analytics_token=EXAMPLE_TOKEN,
        vitally_analytics_url=desk.vitally.url,
    )
    return desk


@pytest.fixture
def on(desk: Bench) -> Bench:
    return switch_on(desk)


def config_file(folder: Path) -> Path:
    """A `bridge.toml` that switches it on."""
    file = folder / "bridge.toml"
    file.write_text(f'[vitally.objects]\nsubscription = "{OBJECT}"', encoding="utf-8")
    return file


def minutes(desk: Bench, number: int = 12, step: int = 20) -> None:
    """Let so many minutes pass, and all be done that is due after each *step* of seconds."""
    for _ in range(number * 60 // step):
        desk.passes(step * 1000)
        desk.work()


def traits(desk: Bench, id_: str = "stripe:sub_1") -> dict[str, Any]:
    return desk.vitally.instances()[id_]["traits"]


def sent(desk: Bench) -> list[str]:
    """The ids of all that was sent, in order."""
    return [one["externalId"] for b in desk.vitally.batches() for one in b["body"]]


def reads(desk: Bench) -> int:
    """The requests of REST that were made for instances."""
    return sum("customObjects" in one["path"] for one in desk.vitally.log())


def rows(desk: Bench, account: str = "acme") -> set[str]:
    """The looks that are owed to the instances of an account."""
    return {raw.decode()[0] for raw in desk.redis.hvals(keys.instances(account))}


# --- The usual way --------------------------------------------------------------------


def test_an_instance_follows_the_accounts_numbers_and_a_look_confirms_it(
    on: Bench,
) -> None:
    assert ["created"] == on.does(customer(), subscription())
    assert [] == on.vitally.batches()
    on.passes(1000)
    assert ["objects"] == on.work()
    assert (["stripe:sub_1"], 0, {"1"}) == (sent(on), reads(on), rows(on))
    on.passes(10_000)
    assert ["objects"] == on.work()
    assert (1, {"0"}, None) == (reads(on), rows(on), on.due_in())

    found = on.vitally.instances()["stripe:sub_1"]
    assert ("Pro", "acme") == (
        found["name"],
        on.vitally.by_id[found["customerId"]]["externalId"],
    )
    assert {
        "mrr": 450,
        "planName": "Pro",
        "seats": 1,
        "billingInterval": "month",
        "billingCurrency": "USD",
        "subscriptionStatus": "active",
        "nextRenewalDate": "2026-01-31T00:00:00.000Z",
        "link": "https://dashboard.stripe.com/subscriptions/sub_1",
    } == found["traits"]
    assert 0 == on.check().objects_late
    assert {} == on.redis.hgetall(keys.OBJECTS_OWED)


def test_nothing_is_sent_without_a_change_and_nothing_at_all_unless_it_is_on(
    desk: Bench,
) -> None:
    desk.settles(customer(), subscription())
    minutes(desk)
    assert ([], 0) == (desk.vitally.batches(), reads(desk))
    switch_on(desk)
    desk.does(subscription(at=1))
    minutes(desk)
    before = len(desk.vitally.log())
    desk.does(subscription(at=2))
    minutes(desk)

    assert (["stripe:sub_1"], before) == (sent(desk), len(desk.vitally.log()))


def test_only_changed_instances_are_sent_and_ended_ones_stay(on: Bench) -> None:
    on.does(customer(), subscription(), subscription(sub="sub_2", unit=100))
    minutes(on)
    on.does(subscription(sub="sub_2", at=5, status="canceled"))
    minutes(on)

    assert ["stripe:sub_1", "stripe:sub_2", "stripe:sub_2"] == sent(on)
    ended = traits(on, "stripe:sub_2")
    assert ("churned", "2026-01-01T00:00:05.000Z") == (
        ended["subscriptionStatus"],
        ended["churnedAt"],
    )
    assert {"mrr", "nextRenewalDate", "seats"} & ended.keys() == set()
    assert {"0"} == rows(on)


def test_a_burst_is_one_batch_and_one_look(on: Bench) -> None:
    on.does(customer(), subscription())
    minutes(on)
    on.vitally.forget()
    on.does(*(subscription(at=n, unit=100 * n) for n in range(1, 9)))
    minutes(on)

    assert (1, 1, 8) == (len(on.vitally.batches()), reads(on), traits(on)["mrr"])


def test_the_units_of_a_change_are_little_more_than_those_of_the_numbers(
    on: Bench,
) -> None:
    on.does(customer(), subscription())
    minutes(on)
    on.vitally.forget()
    on.does(subscription(at=1, unit=100))
    minutes(on)

    assert 10 + 1 == sum(one["cost"] for one in on.vitally.log())


# --- What may go wrong ----------------------------------------------------------------


def test_what_is_not_shown_is_sent_again_with_growing_pauses_and_lights_a_lamp(
    on: Bench,
) -> None:
    on.vitally.turn(analytics_delay=10_000.0)
    on.does(customer(), subscription())
    minutes(on, 2)
    assert 3 == len(sent(on))
    minutes(on, 10)
    assert 5 == len(sent(on))
    assert 1 == on.check().objects_late
    on.vitally.turn(analytics_delay=0.0)
    minutes(on, 60)

    assert (450, {"0"}, 0) == (traits(on)["mrr"], rows(on), on.check().objects_late)
    messages = [one["messageId"] for b in on.vitally.batches() for one in b["body"]]
    assert len(messages) == len({*messages})


@pytest.mark.parametrize("late", [65, 300])
def test_an_older_batch_that_arrives_after_a_newer_one_is_found(
    on: Bench, late: int
) -> None:
    on.vitally.turn(analytics_delay=10_000.0)
    on.does(customer(), subscription(unit=100))
    on.passes(1000)
    on.work()
    (older,) = on.vitally.custom_objects.waiting
    on.vitally.custom_objects.waiting.clear()
    on.vitally.turn(analytics_delay=0.0)
    on.does(subscription(at=1, unit=200))
    for second in range(0, 1500, 5):
        on.passes(5000)
        on.work()
        if second == late:
            assert 2 == traits(on)["mrr"]
            on.vitally.custom_objects.waiting.append((0.0, older[1]))
            assert 1 == traits(on)["mrr"]

    assert (2, {"0"}) == (traits(on)["mrr"], rows(on))


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"kind": "status", "status": 500}, "answered 500"),
        ({"kind": "status", "status": 401, "body": {"error": "no"}}, "answered 401"),
        ({"kind": "reset_after_commit"}, "the connection broke"),
        ({"kind": "reset_before"}, "the connection broke"),
    ],
)
def test_numbers_are_written_while_the_analytics_api_fails(
    on: Bench, fault: dict[str, Any], reason: str
) -> None:
    match = {"path": "/analytics/*"}
    on.vitally.break_with([{"match": match, "times": 3, **fault}])
    on.does(customer(), subscription())
    on.passes(1000)
    on.work()
    tried = len(on.vitally.batches())
    assert (1, 450) == (tried, on.traits()["mrr"])
    assert reason in str(on.check().objects_failing)
    on.does(customer("cus_2", account="birch"), subscription("cus_2", sub="sub_2"))
    on.passes(1000)
    on.work()
    assert tried == len(on.vitally.batches())  # nobody tries for a while
    on.settles(subscription(at=1, unit=100))
    minutes(on, 30)

    assert (1, 1, None) == (
        on.traits()["mrr"],
        traits(on)["mrr"],
        on.check().objects_failing,
    )
    assert {"0"} == rows(on)


def test_an_account_that_must_not_be_created_has_no_instances(
    on: Bench, run: Run, tmp_path: Path
) -> None:
    on.set(bridge_create="never")
    on.does(customer(), subscription())
    minutes(on)

    assert ([], 0) == (on.vitally.batches(), reads(on))
    told = {"BRIDGE_CONFIG": config_file(tmp_path), "BRIDGE_CREATE": "never"}
    (planned,) = run("plan", "--json", **told).json["accounts"]
    assert "instances" not in planned


def test_an_account_whose_batch_is_refused_holds_up_no_other(on: Bench) -> None:
    refused = {"kind": "status", "status": 400, "match": {"path": "/analytics/*"}}
    on.vitally.break_with([refused])
    on.does(customer(), subscription())
    on.passes(1100)
    on.work()
    on.does(customer("cus_2", account="birch"), subscription("cus_2", sub="sub_2"))
    on.passes(6000)
    on.work()
    assert ["stripe:sub_1", "stripe:sub_2"] == sent(on)
    minutes(on, 30)

    assert ["stripe:sub_1", "stripe:sub_2", "stripe:sub_1"] == sent(on)
    assert {"0"} == rows(on) == rows(on, "birch")


@pytest.mark.parametrize("when", ["before the batch", "after it", "after the look"])
def test_a_death_loses_nothing(
    on: Bench, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the mark and the batch, the batch and its row, the look and its row."""
    batch, instance = on.context.analytics.batch, on.context.vitally.instance

    class DeathError(BaseException):
        pass

    def die(*given: Any) -> None:
        monkeypatch.undo()
        if when == "after it":
            batch(*given)
        if when == "after the look":
            instance(*given)
        raise DeathError

    where = "instance" if when == "after the look" else "batch"
    who = on.context.vitally if where == "instance" else on.context.analytics
    monkeypatch.setattr(who, where, die)
    on.does(customer(), subscription())
    with pytest.raises(DeathError):
        minutes(on, 1)
    on.redis.delete(keys.lease("acme"))
    on.sweep()
    minutes(on, 30)

    assert (450, {"0"}, set()) == (traits(on)["mrr"], rows(on), on.dirty())


def test_a_change_back_follows_a_batch_without_an_answer(on: Bench) -> None:
    on.does(customer(), subscription(unit=100))
    minutes(on)
    on.vitally.break_with(
        [{"kind": "reset_after_commit", "match": {"path": "/analytics/*"}}]
    )
    on.does(subscription(at=1, unit=200))
    on.passes(1100)
    on.work()
    assert 2 == traits(on)["mrr"]
    on.does(subscription(at=2, unit=100))
    minutes(on, 20)

    assert (1, 1, {"0"}) == (on.traits()["mrr"], traits(on)["mrr"], rows(on))


def test_a_lost_lease_sends_nothing(on: Bench) -> None:
    on.does(customer(), subscription())
    on.passes(1000)
    read = on.jobs.sync.objects.store.read

    def read_and_lose(account: str) -> dict[str, str]:
        on.redis.set(keys.lease(account), "12345")
        return read(account)

    on.jobs.sync.objects.store.read = read_and_lose  # type: ignore[method-assign]

    assert ["retried"] == on.work()
    assert [] == on.vitally.batches()


def test_a_dry_run_sends_nothing_and_its_end_does(on: Bench) -> None:
    on.does(customer(), subscription())
    on.set(bridge_dry_run=True)
    on.leases.begin_dry_run()
    on.passes(2000)
    assert ["dry_run"] == on.work()
    assert [] == on.vitally.batches()
    on.set(bridge_dry_run=False)
    on.leases.end_dry_run()
    minutes(on)

    assert 450 == traits(on)["mrr"]


ANALYTICS, LOOKS = {"path": "/analytics/*"}, {"path": "/resources/customObjects*"}


def drift(desk: Bench, by: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on Vitally keeps another `mrr` than it was sent."""
    real = desk.vitally.custom_objects.put

    def put(object_id: str, body: Any, found: Any = None) -> Any:
        had = body.get("traits", {})
        other = had | ({"mrr": had["mrr"] * by} if had.get("mrr") else {})
        return real(object_id, {**body, "traits": other}, found)

    monkeypatch.setattr(desk.vitally.custom_objects, "put", put)


def test_what_vitally_shows_otherwise_is_not_sent_for_ever_nor_holds_up_a_change(
    on: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    drift(on, 1.17, monkeypatch)
    on.does(customer(), subscription())
    hours = []
    for _ in range(3):
        minutes(on, 24 * 60 // 3, step=240)
        hours.append(len(sent(on)))
    assert 7 == hours[1] == hours[2]
    assert 1 == on.check().objects_late
    on.does(subscription(at=1, unit=200))
    on.passes(1100)
    on.work()
    assert (8, 2 * 1.17) == (len(sent(on)), traits(on)["mrr"])
    monkeypatch.undo()
    on.does(subscription(at=2, unit=100))
    minutes(on, 15)

    assert (1, {"0"}, 0) == (traits(on)["mrr"], rows(on), on.check().objects_late)


@pytest.mark.parametrize("status", [429, 401])
def test_an_answer_to_a_look_is_heeded_as_any_other_of_rest(
    on: Bench, status: int
) -> None:
    on.does(customer(), subscription())
    on.passes(1000)
    on.work()
    fault = {"kind": "status", "status": status, "headers": {"Retry-After": "60"}}
    on.vitally.break_with([{**fault, "match": LOOKS, "times": 1}])
    on.passes(10_000)
    on.work()
    is_paused = on.redis.pttl(keys.PAUSE) > 50_000

    assert (status == 429, status == 401) == (
        is_paused,
        on.context.breaker.reason() is not None,
    )
    assert None is on.check().objects_failing
    assert [b"acme"] == [*on.redis.hkeys(keys.OBJECTS_OWED)]


def test_the_analytics_api_is_left_alone_as_long_as_it_says(on: Bench) -> None:
    fault = {"kind": "status", "status": 429, "headers": {"Retry-After": "300"}}
    on.vitally.break_with([{**fault, "match": ANALYTICS, "times": 1}])
    on.does(customer(), subscription())
    on.passes(1000)
    on.work()

    until = int(on.redis.hget(keys.OBJECTS_REST, "until")) - milliseconds(on.redis)
    assert 290_000 < until <= 300_000
    assert not on.redis.exists(keys.PAUSE)

    Objects(on.redis).fail("years", 0, 10.0**9)
    assert LONGEST_REST_MS == Objects(on.redis).rest(0)


def test_a_failure_is_forgotten_once_nobody_tries_and_those_who_wait_go_on_apart(
    on: Bench,
) -> None:
    fault = {"kind": "status", "status": 401, "match": ANALYTICS, "times": 1}
    on.vitally.break_with([fault])
    on.context.chance = iter(n / 40 for n in range(40)).__next__
    for n in range(20):
        on.does(customer(f"c{n}", account=f"a{n}"), subscription(f"c{n}", sub=f"s{n}"))
    on.passes(1000)
    on.work()
    waits = [at for _, at in on.redis.zrange(keys.LATER, 1, -1, withscores=True)]
    assert max(waits) - min(waits) > 10_000
    assert None is not on.check().objects_failing
    for n in range(20):
        forget(on.redis, f"stripe:c{n}")
    minutes(on, 20)

    assert None is on.check().objects_failing


def test_a_step_that_another_worker_dropped_is_found(on: Bench) -> None:
    on.does(customer(), subscription())
    config = on.context.config
    on.set(config=Config())
    on.passes(1000)
    assert ["unchanged"] == on.work()
    on.set(config=config)
    on.sweeper.take_samples()
    minutes(on)

    assert ({"0"}, 450) == (rows(on), traits(on)["mrr"])


def test_a_look_takes_no_longer_than_it_may_and_the_next_goes_on(
    on: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "SECONDS", 0.1)
    on.vitally.turn(analytics_delay=10_000.0)
    on.does(customer(), *(subscription(sub=f"s{n}") for n in range(6)))
    on.passes(1100)
    on.work()
    on.vitally.break_with(
        [{"kind": "delay", "seconds": 0.06, "match": LOOKS, "times": 1000}]
    )
    on.passes(10_000)
    on.work()
    assert 2 <= reads(on) <= 3
    on.vitally.turn(analytics_delay=0.0)
    on.vitally.mend()
    minutes(on, 30)

    assert {"0"} == rows(on)


def test_a_lease_that_is_lost_in_a_look_is_not_asked_for_again_at_once(
    on: Bench,
) -> None:
    on.does(customer(), subscription())
    on.passes(1000)
    on.work()
    real = on.context.vitally.instance

    def instance(*given: str) -> Any:
        on.redis.delete(keys.lease("acme"))
        return real(*given)

    on.context.vitally.instance = instance  # type: ignore[method-assign]
    on.passes(10_000)
    assert ["retried"] == on.work()
    due = on.due_in()
    assert due is not None
    assert due > 9


# --- Many, moved, over, forgotten -----------------------------------------------------


def test_a_large_customer_is_sent_in_parts_between_the_jobs_of_others(
    on: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "PAGE", 20)
    on.does(customer(), *(subscription(sub=f"s{n}") for n in range(70)))
    counts = []
    for _ in range(9):
        on.passes(11_000)
        on.work()
        counts.append(len(sent(on)))

    assert [20, 40, 60, 70, 70] == counts[:5]
    assert (70, {"0"}, 4) == (len(on.vitally.instances()), rows(on), reads(on))


def test_another_custom_object_gets_all_of_them(on: Bench) -> None:
    on.does(customer(), subscription())
    minutes(on)
    on.vitally.custom_objects.objects["obj-2"] = {"id": "obj-2", "name": "Plan"}
    on.set(config=replace(on.context.config, subscription_object="obj-2"))
    on.does(subscription(at=1))
    minutes(on)
    every = on.vitally.custom_objects.instances.values()

    assert [OBJECT, "obj-2"] == [one["customObjectId"] for one in every]
    assert {"0"} == rows(on)


def test_an_instance_moves_with_its_party(on: Bench) -> None:
    on.does(customer(), subscription())
    minutes(on)
    on.settles(link("cus_1", "birch", at=9))
    minutes(on)
    found = on.vitally.instances()["stripe:sub_1"]

    assert "birch" == on.vitally.by_id[found["customerId"]]["externalId"]
    assert (set(), {"0"}) == (rows(on), rows(on, "birch"))


def test_a_message_of_the_account_it_came_from_may_arrive_late(on: Bench) -> None:
    on.vitally.turn(analytics_delay=10_000.0)
    on.does(customer(), subscription())
    on.passes(1000)
    on.work()
    (older,) = on.vitally.custom_objects.waiting
    on.vitally.custom_objects.waiting.clear()
    on.vitally.turn(analytics_delay=0.0)
    on.settles(link("cus_1", "birch", at=9))
    minutes(on, 1)
    on.vitally.custom_objects.waiting.append((0.0, older[1]))
    minutes(on, 30)
    found = on.vitally.instances()["stripe:sub_1"]

    assert "birch" == on.vitally.by_id[found["customerId"]]["externalId"]
    assert {"0"} == rows(on, "birch")


def test_many_older_messages_that_arrive_late_are_found(on: Bench) -> None:
    on.vitally.turn(analytics_delay=10_000.0)
    own, subs = on.vitally.custom_objects, [f"s{n}" for n in range(7)]
    on.does(customer(), *(subscription(sub=s, unit=100) for s in subs))
    on.passes(1100)
    on.work()
    older = [message for _, message in own.waiting]
    assert 7 == len(older)
    own.waiting.clear()
    on.vitally.turn(analytics_delay=0.0)
    on.does(*(subscription(sub=s, unit=200, at=1) for s in subs))
    minutes(on, 2)
    own.waiting += [(0.0, message) for message in older]
    minutes(on, 40)

    assert {2} == {traits(on, f"stripe:{s}")["mrr"] for s in subs}
    assert {"0"} == rows(on)


def test_many_that_are_over_end_although_others_were_updated_since(on: Bench) -> None:
    subs = [f"s{n}" for n in range(7)]
    on.does(customer(), *(subscription(sub=s) for s in subs))
    minutes(on)
    for n in range(1205):
        other = {"externalId": f"x{n}", "name": "x", "traits": {}}
        on.vitally.custom_objects.put(OBJECT, other)
    void = {"status": "void", "items": None, "currency": None}
    on.does(*(subscription(sub=s, at=9, **void) for s in subs))
    minutes(on, 30)

    states = {traits(on, f"stripe:{s}")["subscriptionStatus"] for s in subs}
    assert {"churned"} == states
    assert {"0"} == rows(on)


def test_the_subscription_of_an_account_is_no_instance_of_its_organization(
    on: Bench,
) -> None:
    keyed = {trait: trait for trait in (*TRAITS, ORGANIZATION)}
    on.set(config=replace(on.context.config, traits=keyed))
    on.settles(customer(organization="holding"), subscription())
    minutes(on)

    assert (["stripe:sub_1"], 450) == (
        sent(on),
        on.traits("organization:holding")["mrr"],
    )
    assert (set(), {"0"}) == (rows(on, "organization:holding"), rows(on))


def test_what_is_no_subscription_any_more_ends_here_and_not_where_it_went(
    on: Bench,
) -> None:
    on.does(customer(), subscription(), subscription(sub="sub_2"))
    on.does(customer("cus_2", account="birch"))
    minutes(on)
    void = {"status": "void", "items": None, "currency": None}
    on.does(subscription("cus_2", sub="sub_2", at=8))
    minutes(on)
    on.does(subscription(at=9, **void), subscription(sub="sub_2", at=9, **void))
    minutes(on, 30)
    gone, moved = (on.vitally.instances()[f"stripe:sub_{n}"] for n in (1, 2))

    assert "churned" == gone["traits"]["subscriptionStatus"]
    assert "active" == moved["traits"]["subscriptionStatus"]
    assert "birch" == on.vitally.by_id[moved["customerId"]]["externalId"]
    assert {"0"} == rows(on) == rows(on, "birch")


def test_forgetting_a_party_forgets_what_was_sent(on: Bench) -> None:
    on.does(customer(), subscription())
    minutes(on)
    gone = forget(on.redis, "stripe:cus_1")

    assert gone is not None
    assert 1 == gone.keys["instances"]
    assert [] == [*on.redis.scan_iter("vb1:instances:*")]


def test_what_redis_keeps_of_an_instance_is_a_handful_of_bytes(on: Bench) -> None:
    on.does(customer(), subscription())
    minutes(on)

    assert 18 == len(on.redis.hget(keys.instances("acme"), "stripe:sub_1"))


# --- What people see ------------------------------------------------------------------


def test_new_rules_have_instances_sent(desk: Bench, run: Run, tmp_path: Path) -> None:
    desk.rests(customer(), subscription())
    on, file = switch_on(desk), config_file(tmp_path)
    said = run("replay", "--rules", "--yes", "--no-wait", BRIDGE_CONFIG=file)
    minutes(on)

    assert "1 of 1 account differ" in said.err
    assert ["stripe:sub_1"] == sent(on)


def test_apply_says_that_instances_follow(
    desk: Bench, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.rests(customer(), subscription())
    on, plan = switch_on(desk), tmp_path / "plan.json"
    on.redis.zadd(keys.WORKERS, {"one": 2**50})
    steps = (partial(on.passes, 1000), on.work)
    monkeypatch.setattr("bridge.cli.plan.time.sleep", lambda _: [go() for go in steps])
    file = config_file(tmp_path)
    run("plan", "--out", str(plan), BRIDGE_CONFIG=file)

    said = run("apply", str(plan), BRIDGE_CONFIG=file).out

    told = "now right in Vitally; instances of 1 account follow within minutes"
    assert f"1 account {told}\n" == said


def test_why_and_plan_show_what_is_not_there_yet(
    on: Bench, run: Run, tmp_path: Path
) -> None:
    file = config_file(tmp_path)

    def said(*words: str) -> Said:
        return run(*words, BRIDGE_CONFIG=file)

    on.does(customer(), subscription(), subscription(sub="sub_2"))
    assert {"stripe:sub_1": "to be sent", "stripe:sub_2": "to be sent"} == (
        said("why", "acme", "--json").json["instances"]
    )
    (planned,) = said("plan", "--json").json["accounts"]
    assert (2, {}) == (planned["instances"], planned["changes"])
    assert "acme (instances) none -> 2" == said("plan").line("acme")
    minutes(on, 1)
    on.does(subscription(at=9, unit=1))
    on.passes(1000)
    on.work()
    why = said("why", "acme")

    assert "2 subscriptions as a custom object, 1 shown by Vitally" in why.out
    assert ["  stripe:sub_1: sent"] == [
        line for line in why.out.splitlines() if line.startswith("  stripe:")
    ]
    minutes(on)
    assert [] == said("plan", "--json").json["accounts"]
    assert "instances" not in run("why", "acme", "--json").json


# --- Any order ------------------------------------------------------------------------


@contextmanager
def emptied(server: RedisServer) -> Iterator[Any]:
    """A client of a Redis with nothing in it."""
    with server.client() as redis:
        redis.flushall()
        yield redis


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("event"), st.integers(1, 4), st.integers(1, 4)),
        st.tuples(st.just("time"), st.sampled_from([1000, 11_000, 61_000])),
        st.tuples(st.just("hold")),
        st.tuples(st.just("arrive"), st.integers(0, 9)),
        st.tuples(st.just("lose"), st.integers(0, 9)),
    ),
    max_size=20,
)


@examples(max_examples=12)
@given(steps=STEPS)
def test_in_whatever_order_batches_arrive_the_newest_is_there_in_the_end(
    redis_server: RedisServer, steps: list[tuple[Any, ...]]
) -> None:
    """What is held arrives within five minutes, or never."""
    with (
        emptied(redis_server) as redis,
        bench(redis) as desk,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(step, "PAGE", 2)
        switch_on(desk).settles(customer())
        own, held, clock = desk.vitally.custom_objects, [], 0
        for at, (what, *how) in enumerate(steps):
            if what == "event":
                desk.does(subscription(sub=f"s{how[0]}", at=at, unit=100 * how[1]))
            elif what in {"time", "hold"}:
                if what == "hold":
                    desk.vitally.turn(analytics_delay=10_000.0)
                ms = how[0] if how else 11_000
                desk.passes(ms)
                desk.work()
                clock += ms
                held += [(clock, message) for _, message in own.waiting]
                own.waiting.clear()
                desk.vitally.turn(analytics_delay=0.0)
            elif held:
                since, message = held.pop(how[0] % len(held))
                if what == "arrive" and clock - since < 300_000:
                    own.waiting.append((0.0, message))
                    desk.vitally.instances()
        own.waiting += [(0.0, m) for since, m in held if clock - since < 300_000]
        minutes(desk, 16)
        (view,) = desk.leases.peek([("acme", ["stripe:cus_1"], None)])
        account, config = unite("acme", view.parties, view.now), desk.context.config
        shall = instances(account, OBJECT, config.policy, view.now, LINKS)
        shown = desk.vitally.instances()

        assert shall.keys() == shown.keys()
        assert [] == [id_ for id_, one in shall.items() if not one.is_shown(shown[id_])]
