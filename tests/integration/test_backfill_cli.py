"""`vitally-bridge backfill` as a process: a local Stripe, a real Redis."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis import Redis

from bridge.ingest import Ingress
from bridge.sources import discover
from bridge.store import keys
from bridge.store.inspect import Look
from bridge.webhook.source import Delivery, Verified
from tests.support.command import Process
from tests.support.desk import QUEUE, Bench, settings
from tests.support.desk import customer as desk_customer
from tests.support.local_stripe import (
    LocalStripe,
    customer,
    item,
    price,
    subscription,
)
from tests.support.processes import ROOT, Running, environment
from tests.support.server import RedisServer
from tests.support.waiting import eventually

BACKFILL = [sys.executable, "-m", "bridge", "backfill"]
DAY = 86_400
FIRST_OF_2026 = 1_767_225_600


@pytest.fixture
def environ(stripe_environ: dict[str, str]) -> dict[str, str]:
    return stripe_environ


@pytest.fixture
def backfill(read_stripe: Process) -> Process:
    return partial(read_stripe, "backfill")


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


def readings(redis: Redis, id_: str) -> int:
    """How often a customer was taken in."""
    names: Any = redis.hkeys(keys.facts(f"stripe:{id_}"))
    return sum(name.startswith(b"customer\tread:") for name in names)


def read_singly(stripe: LocalStripe) -> Counter[str]:
    """How often each customer itself was asked for."""
    paths = (path.removeprefix("/v1/customers/") for path in stripe.paths())
    return Counter(path for path in paths if path.startswith("cus_"))


def test_what_stripe_has_stands_in_vitally(
    stripe: LocalStripe, backfill: Process, desk: Bench
) -> None:
    tiers = [{"up_to": None, "unit_amount_decimal": "700", "flat_amount": None}]
    tiered = price("price_t", None, tiers_mode="graduated", tiers=tiers)
    stripe.put(tiered, customer("cus_1", name="Acme"))
    stripe.put(subscription("sub_1", "cus_1", item(tiered, quantity=3)))

    done = backfill("stripe")

    assert "1 customer read: 1 queued" in done.stderr
    assert ["created"] == desk.work()
    account: Any = desk.vitally.account("cus_1")
    assert ("Acme", 21, "active") == (
        account["name"],
        account["traits"]["mrr"],
        account["traits"]["subscriptionStatus"],
    )
    assert 0 == desk.redis.scard(keys.INCOMPLETE)


def test_a_customer_takes_a_request_or_two(
    stripe: LocalStripe, backfill: Process
) -> None:
    shop(stripe, 20)

    backfill("stripe")

    # Two for each, and two for the list: once to count, once to read.
    assert 2 * 20 + 2 == len(stripe.log)


def test_the_cost_is_said_before(stripe: LocalStripe, backfill: Process) -> None:
    shop(stripe, 20)

    done = backfill("stripe", VITALLY_BUDGET_SHARE="0.5")

    cost, minutes, *_ = done.stderr.splitlines()
    assert "20 customers of Stripe to read" == cost
    assert minutes.startswith("24 s for one write to Vitally each (10 units) at 50%")


def test_the_cost_is_what_vitally_s_replies_have_taught(
    stripe: LocalStripe, backfill: Process, redis: Redis
) -> None:
    redis.hset(keys.RATE, mapping={"limit": 1000, "cost": 1})
    shop(stripe, 20)

    done = backfill("stripe", "--yes")

    assert "2 s for one write to Vitally each (1 unit) at 80%" in done.stderr


def test_more_than_a_page_is_read_and_live_events_are_not_kept_waiting(
    stripe: LocalStripe, environ: dict[str, str], redis: Redis, tmp_path: Path
) -> None:
    ids = shop(stripe, 130)

    with Running(
        [*BACKFILL, "stripe"], environ=environ, folder=tmp_path, name="b"
    ) as running:
        running.wait_for("100 jobs wait for a worker")
        assert 100 == redis.llen(QUEUE)
        redis.delete(QUEUE)
        assert 0 == running.wait(), running.output

    assert [1] * 130 == [readings(redis, id_) for id_ in ids]
    assert "130 customers read: 130 queued" in running.output
    assert not redis.exists(keys.backfill("stripe"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_backfill_goes_on_where_it_stopped(
    stripe: LocalStripe,
    environ: dict[str, str],
    backfill: Process,
    redis: Redis,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    ids = shop(stripe, 110)
    stripe.delay = 0.01
    with Running(
        [*BACKFILL, "stripe"], environ=environ, folder=tmp_path, name="b"
    ) as running:
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

    done = backfill("stripe")

    again = {id_ for id_, times in read_singly(stripe).items() if times > 1}
    # The one at which it stopped may have been on its way.
    assert len(again) <= 1
    assert set(ids) == set(read_singly(stripe))
    assert all(readings(redis, id_) for id_ in ids)
    assert {1} == {readings(redis, id_) for id_ in set(ids) - again}
    assert "those that follow stripe:cus_" in done.stderr


def test_a_dry_run_shows_the_documents_and_changes_nothing(
    stripe: LocalStripe, backfill: Process, desk: Bench
) -> None:
    stripe.put(customer("cus_1", name="Acme"), subscription("sub_1", "cus_1"))
    backfill("stripe")
    desk.work()
    stripe.put(
        subscription("sub_1", "cus_1", item(price(unit=9900))),
        customer("cus_2", name="Basil", created=1_768_000_000),
        subscription("sub_2", "cus_2", item(price(unit=None))),
        customer("cus_3", created=1_766_000_000),
    )
    before = everything(desk.redis)

    done = backfill("stripe", "--dry-run")

    assert before == everything(desk.redis)
    assert "nothing was written" in done.stderr
    second, first, third = done.stdout.split("stripe:")[1:]
    assert second.startswith("cus_2: account cus_2, 'Basil'\n")
    assert "mrr is left out: sub_2" in second
    assert "  subscriptionStatus = active  <- not written yet\n" in second
    assert first.startswith("cus_1: account cus_1, 'Acme'\n")
    assert "  subscriptionStatus = active\n" in first
    assert third.endswith("'The cus_3'\n  no subscription, so no traits\n")


def test_a_dry_run_compares_with_what_vitally_has(
    stripe: LocalStripe, backfill: Process, desk: Bench
) -> None:
    stripe.clock = lambda: FIRST_OF_2026
    stripe.put(customer("cus_1"), subscription("sub_1", "cus_1"))
    backfill("stripe")
    desk.work()
    stripe.clock = lambda: FIRST_OF_2026 + 60
    stripe.put(subscription("sub_1", "cus_1", item(price(unit=9900))))

    done = backfill("stripe", "--dry-run", "--customer", "cus_1")

    assert "  mrr = 99  <- 49\n" in done.stdout


def test_a_dry_run_says_who_would_be_held(
    stripe: LocalStripe, backfill: Process
) -> None:
    stripe.put(customer("cus_1"))

    done = backfill("stripe", "--dry-run", STRIPE_ACCOUNT_ID_KEY="vitally_id")

    assert "stripe:cus_1: held, neither the customer nor" in done.stdout


def test_only_customers_since_a_day(
    stripe: LocalStripe, backfill: Process, redis: Redis
) -> None:
    ids = shop(stripe, 6)

    backfill("stripe", "--since", "2026-01-04")

    assert [0, 0, 0, 1, 1, 1] == [readings(redis, id_) for id_ in ids]


def test_only_the_customers_that_are_named(
    stripe: LocalStripe, backfill: Process, redis: Redis
) -> None:
    ids = shop(stripe, 4)

    named = ("--customer", "cus_3", "--customer", "cus_1", "--customer", "cus_1")
    backfill("stripe", *named)

    assert [0, 1, 0, 1] == [readings(redis, id_) for id_ in ids]
    assert "/v1/customers" not in stripe.paths()


def test_a_customer_that_does_not_exist_is_said(
    stripe: LocalStripe, backfill: Process, redis: Redis
) -> None:
    shop(stripe, 1)

    done = backfill("stripe", "--customer", "cus_9", "--customer", "cus_0", status=1)

    assert "stripe:cus_9: there is no such customer" in done.stderr
    assert 1 == readings(redis, "cus_0")


def test_stripe_s_hiccups_are_waited_for(
    stripe: LocalStripe, backfill: Process, redis: Redis
) -> None:
    ids = shop(stripe, 3)
    stripe.fail("429", where="/v1/customers?")
    stripe.fail("500", where="/v1/customers/cus_1")
    stripe.fail("reset", where="/v1/subscriptions")

    done = backfill("stripe")

    assert [1, 1, 1] == [readings(redis, id_) for id_ in ids]
    assert "wants fewer requests (429); trying again in 1 s" in done.stderr


def test_a_refused_key_ends_it_at_once(stripe: LocalStripe, backfill: Process) -> None:
    done = backfill("stripe", status=1, STRIPE_API_KEY="rk_test_wrong")

    assert "vitally-bridge: Stripe refuses STRIPE_API_KEY (401)" in done.stderr
    assert 1 == len(stripe.log)
    assert "rk_test" not in done.stderr


def test_a_permission_that_lacks_in_the_middle_is_named(
    stripe: LocalStripe, backfill: Process
) -> None:
    shop(stripe, 2)
    stripe.forbidden.add("subscriptions")

    done = backfill("stripe", status=1)

    assert "it lacks the permission rak_subscription_read; stopped" in done.stderr


def test_a_customer_that_is_not_understood_holds_up_no_other(
    stripe: LocalStripe, backfill: Process, redis: Redis
) -> None:
    ids = shop(stripe, 3)
    stripe.put(subscription("sub_x", "cus_1", status="of the future"))

    done = backfill("stripe", status=1)

    assert "stripe:cus_1: sub_x is not understood: status" in done.stderr
    assert "1 customer could not be read" in done.stderr
    assert [1, 0, 1] == [readings(redis, id_) for id_ in ids]
    assert not redis.exists(keys.backfill("stripe"))


def test_another_source_is_told_who_can(backfill: Process) -> None:
    done = backfill("acme", status=1)

    assert "acme cannot be read afterwards; what can: stripe" in done.stderr


def test_without_a_key_the_settings_are_wrong(backfill: Process) -> None:
    done = backfill("stripe", status=78, STRIPE_API_KEY="")

    assert "STRIPE_API_KEY is required to read Stripe's own API" in done.stderr


def test_an_interrupted_one_for_others_is_not_mixed_up(
    stripe: LocalStripe, backfill: Process, redis: Redis
) -> None:
    ids = shop(stripe, 4)
    told = {"after": "stripe:cus_2", "since": str(FIRST_OF_2026)}
    redis.hset(keys.backfill("stripe"), mapping=told)

    done = backfill("stripe", status=1)
    assert "go on with the same --since, or say --restart" in done.stderr

    backfill("stripe", "--since", "2026-01-01")
    assert [1, 1, 0, 0] == [readings(redis, id_) for id_ in ids]

    redis.hset(keys.backfill("stripe"), mapping=told)
    backfill("stripe", "--restart")
    assert all(readings(redis, id_) for id_ in ids)


def test_where_it_stopped_may_be_gone(
    stripe: LocalStripe, backfill: Process, redis: Redis
) -> None:
    shop(stripe, 2)
    told = {"after": "stripe:cus_9", "since": ""}
    redis.hset(keys.backfill("stripe"), mapping=told)

    done = backfill("stripe", status=1)

    assert "Stripe has no such customers, or not any more; say --restart" in done.stderr


@pytest.mark.parametrize(("answer", "taken"), [(b"n\n", 0), (b"y\n", 1)])
def test_at_a_terminal_it_asks(
    stripe: LocalStripe,
    environ: dict[str, str],
    redis: Redis,
    answer: bytes,
    taken: int,
) -> None:
    shop(stripe, 1)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [*BACKFILL, "stripe"],
        cwd=ROOT,
        env=environment(environ),
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        os.write(ours, answer)
        output, _ = process.communicate(timeout=30)
    finally:
        process.kill()
        os.close(ours)
        os.close(theirs)

    assert b"Go on? [y/N]" in output
    assert taken == readings(redis, "cus_0")


def test_redis_that_goes_away_ends_it_with_a_way_on(
    stripe: LocalStripe, environ: dict[str, str], tmp_path: Path
) -> None:
    shop(stripe, 60)
    stripe.delay = 0.02
    with RedisServer() as server:
        told = environ | {"REDIS_URL": server.url}
        with Running(
            [*BACKFILL, "stripe"], environ=told, folder=tmp_path, name="b"
        ) as running:
            eventually(lambda: len(read_singly(stripe)) >= 5)
            server.kill()
            assert 1 == running.wait()

    assert "vitally-bridge: Redis " in running.output
    assert "the same command goes on from there" in running.output
    assert "Traceback" not in running.output


@pytest.mark.parametrize(("seconds", "mrr"), [(-60, 49), (60, 99)])
def test_an_older_webhook_after_it_loses_and_a_newer_one_wins(
    stripe: LocalStripe,
    backfill: Process,
    desk: Bench,
    environ: dict[str, str],
    seconds: int,
    mrr: int,
) -> None:
    stripe.clock = lambda: FIRST_OF_2026
    stripe.put(customer("cus_1"), subscription("sub_1", "cus_1"))
    backfill("stripe")
    desk.work()
    desk.passes(60_000)
    other = item(price(unit=9900, product="prod_1"))
    event = {
        "id": "evt_1",
        "object": "event",
        "type": "customer.subscription.updated",
        "created": FIRST_OF_2026 + seconds,
        "livemode": False,
        "data": {"object": subscription("sub_1", "cus_1", other)},
    }
    found = settings(desk.vitally.url, environ["REDIS_URL"], STRIPE_MODE="test")
    ingress = Ingress(found, desk.redis, discover().values())
    source = ingress.sources["stripe"]

    ingress.take_in(source, Verified(Delivery("POST", "", {}, orjson.dumps(event))))
    desk.work()

    account: Any = desk.vitally.account("cus_1")
    assert mrr == account["traits"]["mrr"]


def test_what_ended_long_ago_does_not_jump_the_queue(
    stripe: LocalStripe, backfill: Process, desk: Bench
) -> None:
    ended = subscription("sub_1", "cus_1", status="canceled", ended_at=FIRST_OF_2026)
    stripe.put(customer("cus_1"), ended)
    desk.tell(desk_customer("cus_2"))

    backfill("stripe")

    assert ["stripe-cus_2-1", "stripe-cus_1-1"] == desk.queue.waiting()


def test_a_backfill_counts_like_events(
    stripe: LocalStripe, backfill: Process, desk: Bench
) -> None:
    shop(stripe, 3)

    backfill("stripe")

    assert 3 == desk.check().accepted
    job = desk.pop()
    assert job is not None
    assert "workers.jobs.create_account" == job.func_name
    standing = Look(desk.redis).standing("stripe:cus_1")
    assert standing is not None
    assert 1 == standing.pending
