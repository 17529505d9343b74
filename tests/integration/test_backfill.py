"""`vitally-bridge backfill` and `gaps`: a local Stripe, a real Redis."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime
from functools import partial
from typing import Any

import orjson
import pytest
from redis import Redis

from bridge.cli import backfill as subject
from bridge.domain.refresh import restamped
from bridge.ingest import Ingress
from bridge.sources import discover
from bridge.store import keys
from bridge.store.inspect import StateReader, figures
from bridge.webhook.source import Delivery, Verified
from bridge.wording import moment
from tests.support.command import Run, called
from tests.support.desk import QUEUE, Bench, settings
from tests.support.desk import customer as desk_customer
from tests.support.local_api import Asked, Reply
from tests.support.local_stripe import (
    KEY,
    LocalStripe,
    customer,
    event,
    item,
    price,
    refused,
    subscription,
)
from tests.support.processes import Running
from tests.support.server import RedisServer
from tests.support.waiting import eventually

BACKFILL = [sys.executable, "-m", "bridge", "backfill", "stripe", "--yes"]
DAY = 86_400
FIRST_OF_2026 = 1_767_225_600


@pytest.fixture
def environ(redis: Redis, redis_server: RedisServer, stripe: LocalStripe) -> Any:
    """The settings of a command that reads Stripe's API, and no more."""
    api = {"STRIPE_API_KEY": KEY, "STRIPE_API_BASE": stripe.url, "STRIPE_MODE": "test"}
    return {"REDIS_URL": redis_server.url, **api}


@pytest.fixture
def backfill(run: Run) -> Run:
    return partial(run, *BACKFILL[3:])


@pytest.fixture
def gaps(run: Run) -> Run:
    return partial(run, "gaps", "stripe")


@pytest.fixture
def deliver(desk: Bench, environ: dict[str, str]) -> Any:
    """Take events in as their webhooks would."""
    chosen = settings(desk.vitally.url, environ["REDIS_URL"], STRIPE_MODE="test")
    ingress = Ingress(chosen, desk.redis, discover().values())

    def deliver(*events: dict[str, Any]) -> None:
        for one in events:
            delivery = Delivery("POST", "", {}, orjson.dumps(one))
            ingress.take_in(ingress.sources["stripe"], Verified(delivery))

    return deliver


def shop(stripe: LocalStripe, count: int) -> list[str]:
    """Put *count* customers with a subscription each; their ids."""
    ids = [f"cus_{n}" for n in range(count)]
    for n, id_ in enumerate(ids):
        stripe.put(customer(id_, created=FIRST_OF_2026 + n * DAY))
        stripe.put(subscription(f"sub_{n}", id_))
    return ids


def everything(redis: Redis) -> dict[bytes, bytes | None]:
    found: Any = redis.keys()
    return {key: redis.dump(key) for key in found}


def readings(redis: Redis, ids: list[str]) -> list[int]:
    """How often each customer was taken in."""
    rows: Any = (redis.hkeys(keys.facts(f"stripe:{id_}")) for id_ in ids)
    return [sum(name.startswith(b"customer\tread:") for name in row) for row in rows]


def read_singly(stripe: LocalStripe) -> Counter[str]:
    """How often each customer itself was asked for."""
    paths = (path.removeprefix("/v1/customers/") for path in stripe.paths())
    return Counter(path for path in paths if path.startswith("cus_"))


def test_what_stripe_has_stands_in_vitally(stripe, backfill, desk):
    tiers = [{"up_to": None, "unit_amount_decimal": "700", "flat_amount": None}]
    tiered = price("price_t", None, tiers_mode="graduated", tiers=tiers)
    stripe.put(tiered, customer("cus_1", name="Acme"))
    stripe.put(subscription("sub_1", "cus_1", item(tiered, quantity=3)))

    assert "1 customer read: 1 queued" in backfill().err
    assert ["created"] == desk.work()
    account = desk.vitally.account("cus_1")
    status = account["traits"]["subscriptionStatus"]
    assert ("Acme", 21, "active") == (account["name"], account["traits"]["mrr"], status)
    assert 0 == desk.redis.scard(keys.INCOMPLETE)


def test_the_cost_is_said_before_and_is_a_request_or_two(stripe, backfill, redis):
    shop(stripe, 20)

    cost, minutes, unread, *_ = backfill(VITALLY_BUDGET_SHARE="0.5").err.splitlines()

    assert "20 customers of Stripe to read" == cost
    assert minutes.startswith("25 s for one write to Vitally each (10 units) at 50%")
    assert unread.startswith("VITALLY_API_KEY is not set here")
    # Two for each, and two for the list: once to count, once to read.
    assert 2 * 20 + 2 == len(stripe.log)
    # What Vitally's replies have taught counts.
    redis.hset(keys.RATE, mapping={"limit": 1000, "cost": 1})
    said = backfill().err
    assert "2 s for one write to Vitally each (1 unit) at 80%" in said


def test_more_than_a_page_is_read_and_live_events_are_not_kept_waiting(
    stripe, environ, redis, tmp_path
):
    ids = shop(stripe, 130)

    with Running(BACKFILL, environ=environ, folder=tmp_path) as running:
        running.wait_for("100 jobs wait for a worker")
        assert 100 == redis.llen(QUEUE)
        redis.delete(QUEUE)
        assert 0 == running.wait(), running.output

    assert [1] * 130 == readings(redis, ids)
    assert "130 customers read: 130 queued" in running.output
    assert not redis.exists(keys.backfill("stripe"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_backfill_goes_on_where_it_stopped(
    stripe, environ, backfill, redis, tmp_path, number
):
    ids = shop(stripe, 110)
    stripe.delay = 0.01
    with Running(BACKFILL, environ=environ, folder=tmp_path) as running:
        eventually(lambda: len(read_singly(stripe)) >= 20)
        running.signal(number)
        running.wait()
    before = read_singly(stripe)
    assert 20 <= len(before) < 110
    if number == signal.SIGINT:
        assert 130 == running.process.returncode
        assert "the same command goes on from there" in running.output
        assert "Traceback" not in running.output
    redis.delete(QUEUE)

    said = backfill()

    again = {id_ for id_, times in read_singly(stripe).items() if times > 1}
    # The one at which it stopped may have been on its way.
    assert len(again) <= 1
    assert set(ids) == set(read_singly(stripe))
    assert all(readings(redis, ids))
    assert {1} == set(readings(redis, [id_ for id_ in ids if id_ not in again]))
    assert "those that follow stripe:cus_" in said.err


def test_a_dry_run_shows_the_documents_and_changes_nothing(stripe, backfill, desk):
    stripe.clock = lambda: FIRST_OF_2026
    stripe.put(customer("cus_1", name="Acme"), subscription("sub_1", "cus_1"))
    backfill()
    desk.work()
    stripe.clock = lambda: FIRST_OF_2026 + 60
    stripe.put(
        subscription("sub_1", "cus_1", item(price(unit=9900))),
        customer("cus_2", name="Basil", created=1_768_000_000),
        subscription("sub_2", "cus_2", item(price(unit=None))),
        customer("cus_3", created=1_766_000_000),
    )
    before = everything(desk.redis)

    said = backfill("--dry-run")

    assert before == everything(desk.redis)
    assert "nothing was written" in said.err
    second, first, third = said.out.split("stripe:")[1:]
    assert second.startswith("cus_2: account cus_2, 'Basil'\n")
    assert "(not written) unknown: sub_2" in " ".join(second.split())
    assert "subscriptionStatus  (not written)  active" in second
    assert first.startswith("cus_1: account cus_1, 'Acme'\n")
    assert "subscriptionStatus active active" in " ".join(first.split())
    assert "mrr 49 99" in " ".join(first.split())
    assert 7 == first.count("(written)")
    assert third.endswith("'The cus_3'\nno trait is known\n")
    said = backfill("--dry-run", STRIPE_ACCOUNT_ID_KEY="vitally_id")
    assert "stripe:cus_1: held, neither the customer nor" in said.out


@pytest.mark.parametrize(
    ("words", "status", "taken"),
    [
        ("--since 2026-01-04", 0, [0, 0, 0, 1, 1, 1]),
        ("--customer cus_3 --customer cus_1 --customer cus_1", 0, [0, 1, 0, 1, 0, 0]),
        ("--customer cus_9 --customer cus_0", 1, [1, 0, 0, 0, 0, 0]),
        ("--customer cus_0 --restart", 2, [0] * 6),
    ],
)
def test_only_the_customers_that_are_asked_for(
    stripe, backfill, redis, words, status, taken
):
    ids = shop(stripe, 6)

    said = backfill(*words.split(), status=status).err

    assert taken == readings(redis, ids)
    assert ("--customer" in words) == ("/v1/customers" not in stripe.paths())
    unknown = "stripe:cus_9: there is no such customer"
    assert (status == 1) == (unknown in said)


def test_stripe_s_hiccups_are_waited_for(stripe, backfill, redis):
    ids = shop(stripe, 3)
    stripe.fail("429", where="/v1/customers?")
    stripe.fail("500", where="/v1/customers/cus_1")
    stripe.fail("reset", where="/v1/subscriptions")

    said = backfill()

    assert [1, 1, 1] == readings(redis, ids)
    assert "wants fewer requests (429); trying again in 1 s" in said.err


@pytest.mark.parametrize("forbidden", ["accounts", "acct_1"])
def test_own_customers_are_read_whatever_connected_accounts_allow(
    stripe, backfill, forbidden
):
    stripe.put(customer("cus_1"))
    stripe.put(account="acct_1")
    whole = stripe.answer

    def answer(asked: Asked) -> Reply:
        if asked.headers.get("Stripe-Account") == forbidden:
            raise refused(403, "The key does not have access")
        return whole(asked)

    stripe.forbidden, stripe.answer = {forbidden}, answer
    said = backfill(STRIPE_CONNECT="true")

    assert "1 customer read: 1 queued" in said.err
    assert "1 customer of Stripe to read" in said.err
    assert "connected account" in said.err or "acct_1 is passed over" in said.err


def test_a_refused_key_ends_it_at_once(stripe, backfill):
    said = backfill(status=1, STRIPE_API_KEY="rk_test_wrong").err

    assert "vitally-bridge: Stripe refuses STRIPE_API_KEY (401)" in said
    assert 1 == len(stripe.log)
    assert "rk_test" not in said


def test_a_permission_that_lacks_is_named(stripe, backfill, gaps):
    shop(stripe, 2)
    stripe.forbidden |= {"subscriptions", "events"}

    said = backfill(status=1).err
    assert "it lacks the permission rak_subscription_read; stopped" in said
    assert (
        "vitally-bridge: STRIPE_API_KEY may not read events (403): it lacks the "
        "permission rak_event_read; stopped after 0 changes\n"
    ) == gaps(status=1).err


def test_a_customer_that_is_not_understood_holds_up_no_other(stripe, backfill, redis):
    ids = shop(stripe, 3)
    stripe.put(subscription("sub_x", "cus_1", status="of the future"))

    said = backfill(status=1).err

    assert "stripe:cus_1: sub_x is not understood: status" in said
    assert "1 customer could not be read" in said
    assert [1, 0, 1] == readings(redis, ids)
    assert not redis.exists(keys.backfill("stripe"))


@pytest.mark.parametrize("command", ["backfill", "gaps"])
def test_what_cannot_be_read_is_told_who_can_and_what_it_takes(run, command):
    said = run(command, "acme", status=1).err
    assert "acme has no API that the bridge can read; these have: " in said
    assert "stripe" in said
    said = run(command, "stripe", status=78, STRIPE_API_KEY="").err
    assert "STRIPE_API_KEY is required to read Stripe's own API" in said


def test_an_interrupted_one_for_others_is_not_mixed_up(stripe, backfill, redis):
    ids = shop(stripe, 4)
    stopped = partial(redis.hset, keys.backfill("stripe"))
    stopped(mapping={"after": "stripe:cus_2", "since": FIRST_OF_2026})

    said = backfill(status=1).err
    assert "repeat that one to go on, or use --restart" in said
    backfill("--since", "2026-01-01")
    assert [1, 1, 0, 0] == readings(redis, ids)

    stopped(mapping={"after": "stripe:cus_2", "since": FIRST_OF_2026})
    backfill("--restart")
    assert all(readings(redis, ids))

    stopped(mapping={"after": "stripe:cus_9", "since": ""})
    said = backfill(status=1).err
    assert "Stripe has no such customers, or not any more; say --restart" in said


@pytest.mark.parametrize(("answer", "taken"), [("y\n", 0), ("yes\n", 1)])
def test_at_a_terminal_it_asks(stripe, run, redis, answer, taken):
    shop(stripe, 1)

    said = run("backfill", "stripe", typed=answer, status=1 - taken)

    assert "Type yes to go on" in said.err
    assert [taken] == readings(redis, ["cus_0"])


def test_without_a_terminal_it_goes_on_since_it_removes_nothing(stripe, run, redis):
    shop(stripe, 1)
    run("backfill", "stripe")

    assert [1] == readings(redis, ["cus_0"])


class Watched(LocalStripe):
    """Does something when a certain request comes; the first is number 0."""

    def __init__(self) -> None:
        super().__init__()
        self.point = -1
        self.act: Callable[[], object] = lambda: None

    def reply(self, asked: Asked, url: str) -> Reply | None:
        if len(self.log) == self.point:
            self.act()
        return super().reply(asked, url)


STOPS: dict[str, tuple[int, Callable[[Watched, RedisServer], object]]] = {
    "Ctrl-C": (130, lambda *_: os.kill(os.getpid(), signal.SIGINT)),
    "the key is refused": (1, lambda stripe, _: setattr(stripe, "key", "another")),
    "Stripe is away": (1, lambda stripe, _: stripe.fail("reset")),
    "Redis is away": (1, lambda _, redis: redis.kill()),
}
"""What ends a backfill at once, with the status."""


@pytest.mark.parametrize("what", STOPS)
def test_wherever_it_is_interrupted_it_goes_on_and_ends_right(what, monkeypatch):
    """A list to count, the same to read, and two requests for each customer."""
    monkeypatch.setattr(subject, "TRIES", 1)
    # A worker that another test has run in this process may have left its own.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    status, act = STOPS[what]
    with Watched() as stripe, RedisServer() as server:
        ids = shop(stripe, 3)
        api = {"STRIPE_API_KEY": KEY, "STRIPE_API_BASE": stripe.url}
        own = {"REDIS_URL": server.url, "STRIPE_MODE": "test", **api}
        call = partial(called, "backfill", "stripe", environ=own)
        stripe.act = partial(act, stripe, server)
        for point in range(2 + 2 * len(ids)):
            stripe.log.clear()
            stripe.point = point
            said = call(status=status).err
            assert point == 0 or "the same command goes on from there" in said
            stripe.point, stripe.key = -1, KEY
            if server.process.poll() is not None:
                server.restart()

            call()

            with closing(server.client()) as redis:
                # The one at which it stopped may have been on its way.
                assert sum(readings(redis, ids)) in {3, 4}
                assert all(readings(redis, ids))
                assert not redis.exists(keys.backfill("stripe"))
                redis.flushdb()


@pytest.mark.parametrize(
    ("command", "fault"), [("backfill", "hang"), ("gaps", "reset")]
)
def test_a_source_that_is_away_is_said_in_time_with_its_address(
    stripe, environ, tmp_path, command, fault
):
    stripe.fail(fault, times=9)
    words = [*BACKFILL[:3], command, "stripe"]
    with Running(words, environ=environ, folder=tmp_path) as running:
        eventually(lambda: stripe.log)
        began = time.monotonic()
        running.wait_for(" does not answer ")
        took = time.monotonic() - began
        running.signal(signal.SIGINT)
        assert 130 == running.wait()

    # Nine, since this machine may be busy; it is eight from the first request.
    assert took < 9
    where = stripe.url.removeprefix("http://")
    assert f"Stripe's API at {where} does not answer (" in running.output
    assert "; trying again in 1 s" in running.output
    assert KEY not in running.output


@pytest.mark.parametrize("command", ["backfill", "gaps"])
def test_what_ended_while_nobody_listened_is_found(
    stripe, run, backfill, desk, command
):
    stripe.clock = lambda: FIRST_OF_2026
    stripe.put(customer("cus_1"), subscription("sub_1", "cus_1"))
    backfill()
    desk.work()
    assert 49 == desk.vitally.account("cus_1")["traits"]["mrr"]
    stripe.clock, ended = time.time, int(time.time()) - DAY
    gone = subscription("sub_1", "cus_1", status="canceled", ended_at=ended)
    stripe.put(gone, event("evt_1", ended, gone, type="customer.subscription.deleted"))

    run(command, "stripe")
    desk.passes(60_000)
    desk.work()

    traits = desk.vitally.account("cus_1")["traits"]
    assert (None, "churned") == (traits.get("mrr"), traits["subscriptionStatus"])
    assert int(datetime.fromisoformat(traits["churnedAt"]).timestamp()) == ended


def test_lists_end_at_the_last_page_and_not_at_the_first_thousand(
    stripe, run, backfill, desk, gaps
):
    shop(stripe, 1050)
    said = run("backfill", "stripe", typed="no\n", status=1).err
    assert "1,050 customers of Stripe to read" in said

    items = (item(id_=f"si_{n}") for n in range(1050))
    stripe.put(customer("cus_x"), subscription("sub_x", "cus_x", *items))
    stripe.put(*(subscription(f"sub_y{n}", "cus_y") for n in range(1050)))
    stripe.put(customer("cus_y"))
    backfill("--customer", "cus_x", "--customer", "cus_y")
    desk.work()
    assert [1050 * 49] * 2 == [
        desk.vitally.account(id_)["traits"]["mrr"] for id_ in ("cus_x", "cus_y")
    ]

    for n in range(1050):
        happens(stripe, n)
    assert "1,050 changes of 30 days" in gaps("--dry-run").out


def test_redis_that_goes_away_ends_it_with_a_way_on(stripe, environ):
    shop(stripe, 60)
    stripe.delay = 0.02

    with RedisServer() as server, ThreadPoolExecutor(1) as beside:

        def kill() -> None:
            eventually(lambda: len(read_singly(stripe)) >= 5)
            server.kill()

        killed = beside.submit(kill)
        away = {**environ, "REDIS_URL": server.url}
        said = called("backfill", "stripe", "--yes", environ=away, status=1).err
        killed.result()

    assert "vitally-bridge: Redis " in said
    assert "the same command goes on from there" in said


@pytest.mark.parametrize(("seconds", "mrr"), [(-60, 49), (60, 99)])
def test_an_older_webhook_after_it_loses_and_a_newer_one_wins(
    stripe, backfill, desk, deliver, seconds, mrr
):
    stripe.clock = lambda: FIRST_OF_2026
    stripe.put(customer("cus_1"), subscription("sub_1", "cus_1"))
    backfill()
    desk.work()
    desk.passes(60_000)
    other = subscription("sub_1", "cus_1", item(price(unit=9900, product="prod_1")))

    kind = "customer.subscription.updated"
    deliver(event("evt_1", FIRST_OF_2026 + seconds, other, type=kind))
    desk.work()

    assert mrr == desk.vitally.account("cus_1")["traits"]["mrr"]


def test_a_full_queue_is_waited_for_before_the_customer_is_read(
    stripe, environ, redis, tmp_path
):
    shop(stripe, 1)
    redis.rpush(QUEUE, *range(100))

    with Running(BACKFILL, environ=environ, folder=tmp_path) as running:
        running.wait_for("100 jobs wait for a worker")
        assert not read_singly(stripe)
        redis.delete(QUEUE)
        assert 0 == running.wait(), running.output

    assert [1] == readings(redis, ["cus_0"])


class Overtaking(LocalStripe):
    """After each of so many reads of subscriptions something happens."""

    def __init__(self) -> None:
        super().__init__()
        self.times = 0
        self.act: Callable[[], object] = lambda: None

    def reply(self, asked: Asked, url: str) -> Reply | None:
        found = super().reply(asked, url)
        if self.times and asked.path == "/v1/subscriptions":
            left, self.times = self.times - 1, 0
            self.act()
            self.times = left
        return found


@pytest.mark.parametrize(
    ("times", "word"), [(1, "coalesced"), (9, "read by a worker meanwhile")]
)
def test_a_read_that_a_worker_overtook_does_not_beat_the_worker_s(
    desk, environ, times, word
):
    with Overtaking() as stripe:
        environ |= {"STRIPE_API_BASE": stripe.url}
        chosen = settings(desk.vitally.url, environ["REDIS_URL"], **environ)
        source = discover()["stripe"]
        api = source.api(chosen.sources)
        stripe.put(customer("cus_1"))

        def changes() -> None:
            """A minute later the price is another, and a worker reads it."""
            stripe.clock = lambda: time.time() + 60 * (10 - stripe.times)
            stripe.put(subscription("sub_1", "cus_1", item(price(unit=9900))))
            known = StateReader(desk.redis).member("stripe:cus_1").party({})
            facts = restamped(api.party("stripe:cus_1"), known)
            Ingress(chosen, desk.redis, [source]).admit(source, facts)

        stripe.put(subscription("sub_1", "cus_1"))
        stripe.times, stripe.act = times, changes
        said = called(*BACKFILL[3:], environ=environ)
        desk.work()

    assert f"1 customer read: 1 {word}" in said.err
    assert 99 == desk.vitally.account("cus_1")["traits"]["mrr"]


def test_only_a_whole_backfill_says_that_what_redis_lost_is_back(
    stripe, backfill, redis
):
    shop(stripe, 2)
    stripe.forbidden.add("subscriptions")
    backfill("--restart", status=1)
    assert {} == figures(redis).backfilled
    stripe.forbidden.clear()
    for words in (["--restart", "--since", "2026-01-01"], ["--customer", "cus_1"]):
        backfill(*words)
        assert {} == figures(redis).backfilled

    backfill()

    assert {"stripe"} == figures(redis).backfilled.keys()


def test_what_ended_long_ago_does_not_jump_the_queue(stripe, backfill, desk):
    ended = subscription("sub_1", "cus_1", status="canceled", ended_at=FIRST_OF_2026)
    stripe.put(customer("cus_1"), ended)
    desk.tell(desk_customer("cus_2"))

    backfill()

    assert ["stripe-cus_2-1", "stripe-cus_1-1"] == desk.queue.waiting()


def test_a_backfill_counts_like_events(stripe, backfill, desk):
    shop(stripe, 3)

    backfill()

    assert 3 == desk.check().accepted
    assert "workers.jobs.create_account" == desk.pop().func_name
    assert 1 == StateReader(desk.redis).standing("stripe:cus_1").pending


# gaps


def happens(
    stripe: LocalStripe, number: int, *, ago: int = DAY, **more: Any
) -> dict[str, Any]:
    """Put an event that tells of a customer of its own."""
    told = customer(f"cus_{number}")
    happened = event(f"evt_{number}", time.time() - ago, told, **more)
    stripe.put(happened)
    return happened


def taken(redis: Any) -> set[str]:
    """Ids of all events that have left facts."""
    found = redis.scan_iter(match=keys.facts("*"), count=1000)
    return {
        name.decode().partition("\t")[2] for key in found for name in redis.hkeys(key)
    }


def test_exactly_the_missing_events_are_taken_in(stripe, desk, deliver, gaps):
    events = [happens(stripe, n) for n in range(230)]
    missing = {n for n in range(230) if n % 7 == 3}
    deliver(*(e for n, e in enumerate(events) if n not in missing))
    before = desk.check()

    *listed, counted = gaps().out.splitlines()

    assert {one["id"] for one in events} == taken(desk.redis)
    assert f"230 changes of 30 days: {230 - len(missing)} seen before" in counted
    assert {f"evt_{n}" for n in missing} == {line.split()[-1] for line in listed}
    after = desk.check()
    assert len(missing) == after.accepted - before.accepted
    assert before.duplicate == after.duplicate  # they are only looked up
    assert len(missing) == after.waiting - before.waiting
    assert "230 changes of 30 days: 230 seen before\n" == gaps().out


def test_a_dry_run_says_what_is_missing_and_changes_nothing(
    stripe, desk, deliver, gaps
):
    events = [happens(stripe, n) for n in range(6)]
    happens(stripe, 6, livemode=True)
    happens(stripe, 7, data={"object": {"id": 7}})
    happens(stripe, 8, data="nothing that is an event")
    deliver(*events[:4])
    before = everything(desk.redis)

    *listed, counted = gaps("--dry-run").out.splitlines()

    assert before == everything(desk.redis)
    what = "9 changes of 30 days: 1 ignored, 2 missing, 2 quarantined, 4 seen before"
    assert what == counted
    missing = [line for line in listed if "  missing  " in line]
    assert {"evt_4", "evt_5"} == {line.split()[-1] for line in missing}
    assert "customer.updated" in missing[0]
    # A real one does what was said, and keeps what is not understood.
    assert [line.replace("missing", "taken in") for line in listed] == (
        gaps().out.splitlines()[:-1]
    )
    assert 2 == desk.redis.zcard(keys.QUARANTINED)
    assert "9 changes of 30 days: 1 ignored, 8 seen before\n" == gaps().out


def test_only_so_far_back_and_only_what_is_read(stripe, redis, gaps):
    happens(stripe, 1, ago=2 * DAY - 100)
    happens(stripe, 2, ago=2 * DAY + 100)
    happens(stripe, 3, type="invoice.paid")

    said = gaps("--days", "2")

    assert {"evt_1"} == taken(redis)
    assert "1 change of 2 days: 1 taken in" in said.out


def test_every_handled_type_is_asked_for_once_in_lists_of_twenty(stripe, gaps):
    gaps("--dry-run")

    lists = [
        [value for name, value in asked.query if name.startswith("types[")]
        for asked in stripe.log
    ]
    handled = discover()["stripe"].handlers
    asked = [kind for kinds in lists for kind in kinds]
    # What begins with its API's version is a thin event, which that list has not.
    assert [kind for kind in handled if not kind.startswith("v1.")] == asked
    assert all(0 < len(kinds) <= 20 for kinds in lists)


def test_stripe_s_hiccups_lose_no_page(stripe, redis, gaps):
    for n in range(120):
        happens(stripe, n)
    stripe.fail("429", where="starting_after")
    stripe.fail("garbage")

    said = gaps()

    assert 120 == len(taken(redis))
    assert "trying again in 1 s" in said.err


def test_an_interrupted_one_goes_on_but_not_for_ever(stripe, redis, gaps, monkeypatch):
    monkeypatch.setattr(subject, "TRIES", 1)
    for n in range(230):
        happens(stripe, n)
    stripe.fail("500", where="starting_after")

    said = gaps(status=1).err
    assert "the same command goes on from there" in said
    place = orjson.loads(redis.hget(keys.GAPS, "stripe"))
    days, since, until, _ = place
    span = f"{moment(since)} to {moment(until)} UTC"
    # What the source no longer understands is no place to go on from.
    strange = place[-1].rpartition(":")[0] + ":evt_x"
    redis.hset(keys.GAPS, "stripe", orjson.dumps([days, since, until, strange]))
    said = gaps(status=1).err
    assert f"going on where it was interrupted, with {span}" in said
    assert "the next run begins anew" in said
    assert not redis.exists(keys.GAPS)

    redis.hset(keys.GAPS, "stripe", orjson.dumps(place))
    assert "130 changes of 30 days" in gaps().out
    # Where other types are needed meanwhile, the place is one of another list.
    other = "7:0:" + place[-1].rpartition(":")[2]
    redis.hset(keys.GAPS, "stripe", orjson.dumps([days, since, until, other]))
    assert "230 changes of 30 days" in gaps().out
    day = 1000 * DAY + 1000
    old = [days, since - day, until - day, place[-1]]
    redis.hset(keys.GAPS, "stripe", orjson.dumps(old))
    said = gaps()
    assert "going on" not in said.err
    assert "230 changes of 30 days: 230 seen before" in said.out
