"""A mass change is held for a word, and single customers' endings go on."""

from __future__ import annotations

import threading
from dataclasses import replace
from fractions import Fraction

import pytest

from bridge.domain.facts import Fact
from bridge.domain.mass import CHURNED, GRACE_MS, LONG_GRACE_MS, Limits
from bridge.guard import Guard
from bridge.store import keys
from bridge.store import mass as store
from bridge.store.connect import milliseconds
from bridge.store.inspect import figures
from bridge.store.mass import Mass
from tests.support.command import Run
from tests.support.desk import NOON, Bench, customer, subscription
from tests.support.visitor import Visitor
from tests.support.waiting import eventually

ACCOUNTS = 60
WEEK = {"price": "price_1", "name": "Pro", "interval": "week"}


def weekly(n: int, at: int = 0, cents: int = 1000) -> Fact:
    """The weekly subscription of customer *n*."""
    item = WEEK | {"unit": str(cents), "ends": NOON + 86_400_000}
    return subscription(f"cus_{n}", f"sub_{n}", at=at, items=[item])


def ends(n: int) -> Fact:
    """The end of the subscription of customer *n*."""
    return subscription(f"cus_{n}", f"sub_{n}", at=9, status="canceled", kind="deleted")


def passes(desk: Bench, *facts: Fact, ms: int = 0) -> int:
    """Take facts in, let *ms* pass, do all jobs: how many writes that makes."""
    before = len(desk.writes())
    for fact in facts:
        taken = desk.accept.facts("stripe", [fact])
        if taken.claim:
            desk.jobs.run(fact.party)
    for _ in range(2 if ms else 0):
        desk.passes(ms)
        while (job := desk.pop()) is not None:
            desk.jobs.run(job.args[0])
    desk.check()
    return len(desk.writes()) - before


@pytest.fixture
def shop(desk: Bench) -> Bench:
    """A desk with sixty accounts; more than five that move are too many."""
    desk.context.guard = Guard(desk.redis, Limits(0.05, 0.1, 5))
    desk.vitally.turn(rate_limit=1_000_000)
    desk.redis.hset(keys.RATE, "limit", 1_000_000)
    for n in range(ACCOUNTS):
        told = [customer(f"cus_{n}", account=f"acme-{n}"), weekly(n)]
        desk.accept.facts("stripe", told)
        desk.jobs.run(f"stripe:cus_{n}")
    passes(desk, ms=60_000)
    assert 0 == figures(desk.redis).pending
    return desk


def mass(desk: Bench) -> int:
    """How many parties are held for a word."""
    return figures(desk.redis).mass_parties


def test_a_burst_of_endings_is_held_and_then_released(shop: Bench, run: Run) -> None:
    assert 1 == passes(shop, *(ends(n) for n in range(20)))
    assert 0 == passes(shop, ms=GRACE_MS) + passes(shop, ms=LONG_GRACE_MS)
    assert (19, 19) == (mass(shop), shop.check().parked)
    said = run("mass", "--json").json
    assert {"stripe customer.subscription.deleted": 19} == said["causes"]
    assert [f"acme-{n}" for n in sorted(range(1, 20), key=str)] == [
        one["account"] for one in said["accounts"]
    ]
    assert "20 of 60 accounts would be churned within an hour" in run("mass").out

    # Neither a new event, nor a retry, nor another ending slips out.
    new = customer("cus_5", account="acme-5", called="Renamed", at=20, kind="updated")
    assert 0 == passes(shop, new, ends(30))
    run("retry", "--parked")
    assert 0 == passes(shop, ms=1)
    assert 20 == mass(shop)

    run("release", "--yes")
    assert 20 == passes(shop, ms=1)
    assert (0, 0, 0) == (mass(shop), shop.check().parked, shop.check().pending)
    assert "mrr" not in shop.traits("acme-5")
    # The next ones are judged again.
    assert 1 == passes(shop, *(ends(n) for n in range(31, 40)))
    assert 0 < mass(shop)


def test_a_mass_change_can_be_given_up(shop: Bench, run: Run) -> None:
    passes(shop, *(ends(n) for n in range(20)))
    passes(shop, ms=GRACE_MS)
    passes(shop, ms=LONG_GRACE_MS)
    run("discard", "--mass", "--yes")

    assert 0 == passes(shop, ms=LONG_GRACE_MS)
    assert (0, 0, 19) == (mass(shop), shop.check().parked, shop.check().discarded)
    assert "nothing waits" in run("mass").out


def test_single_endings_go_on_each_after_a_moment(shop: Bench) -> None:
    for n in range(5):
        assert 1 == passes(shop, ends(n)) + passes(shop, ms=GRACE_MS)
        shop.passes(60_000)
    assert 0 == mass(shop)
    # After an hour they no longer count.
    shop.passes(3_600_000)
    assert 1 == passes(shop, ends(6))


def test_a_change_that_was_taken_back_is_not_written(shop: Bench) -> None:
    passes(shop, *(ends(n) for n in range(1, 20)))
    passes(shop, ms=LONG_GRACE_MS)
    held = mass(shop)
    again = subscription("cus_9", "sub_new", at=30, items=weekly(9).value["items"])

    passes(shop, again, ms=6000)
    assert held - 1 == mass(shop)


def test_a_rule_that_changes_all_mrr_is_held(shop: Bench) -> None:
    policy = shop.context.config.policy._replace(week=Fraction(52, 15))
    shop.set(config=replace(shop.context.config, policy=policy))

    def looks() -> int:
        before = len(shop.writes())
        for n in range(ACCOUNTS):
            shop.queue.push_all(shop.leases.claim("look", f"stripe:cus_{n}"), "look")
        return passes(shop, ms=1) + len(shop.writes()) - before

    looks()
    assert 0 == passes(shop, ms=LONG_GRACE_MS)
    assert 1 == len([one for one in shop.bodies() if one["traits"].get("mrr") == 34.67])
    assert ACCOUNTS - 1 == mass(shop)


def test_first_contact_and_renewals_are_no_mass_change(shop: Bench) -> None:
    later = [
        subscription(
            f"cus_{n}",
            f"sub_{n}",
            at=5,
            items=[WEEK | {"unit": "1000", "ends": 2 * NOON}],
        )
        for n in range(ACCOUNTS)
    ]
    new = [customer(f"cus_{n}", account=f"acme-{n}") for n in range(100, 120)]
    gone = [ends(n) for n in range(100, 120)]

    assert ACCOUNTS <= passes(shop, *later, *new, *gone, ms=6000)
    assert 0 == mass(shop)


@pytest.mark.parametrize(("percent", "writes"), [(24, ACCOUNTS), (60, 1)])
def test_mrr_that_goes_up_may_move_more(shop: Bench, percent: int, writes: int) -> None:
    raised = [weekly(n, at=3, cents=1000 + 10 * percent) for n in range(ACCOUNTS)]

    assert writes == passes(shop, *raised) + passes(shop, ms=LONG_GRACE_MS)
    assert ACCOUNTS - writes == mass(shop)


def test_the_steps_of_new_customers_are_no_mass_change(shop: Bench) -> None:
    numbers = range(100, 160)
    begun = [
        fact
        for n in numbers
        for fact in (customer(f"cus_{n}", account=f"acme-{n}"), weekly(n))
    ]
    passes(shop, *begun, ms=1000)

    steps = [weekly(n, at=3, cents=5000) for n in numbers]
    assert len(numbers) == passes(shop, *steps, ms=5000)
    assert 0 == mass(shop)


@pytest.mark.parametrize("action", ["release", "discard"])
def test_a_mass_change_is_one_cluster_of_the_console(
    shop: Bench, visit: Visitor, action: str
) -> None:
    passes(shop, *(ends(n) for n in range(20)))
    passes(shop, ms=LONG_GRACE_MS)
    (one,) = visit.data("attention.json")["clusters"]

    assert ("mass change", 19) == (one["kind"], one["count"])
    page = visit.page(f"attention/{one['id']}/{action}")
    visit.post(page, "cluster", id=one["id"], do=action, sure="yes")
    assert {"release": 19, "discard": 0}[action] == passes(shop, ms=1)
    assert 0 == mass(shop)


def test_what_comes_while_a_job_waits_for_its_slot_is_judged(shop: Bench) -> None:
    passes(shop, *(ends(n) for n in range(1, 20)))
    passes(shop, ms=LONG_GRACE_MS)
    shop.throttle.pause(2000)
    shop.redis.delete(keys.SLOTS)
    before = len(shop.writes())
    shop.tell(
        customer("cus_50", account="acme-50", called="New", at=20, kind="updated")
    )
    words: list[str] = []
    running = threading.Thread(target=lambda: words.append(shop.next()))
    running.start()
    eventually(lambda: shop.redis.exists(keys.SLOTS))
    shop.tell(ends(50))
    running.join()

    assert (["waited"], before) == (words, len(shop.writes()))


def test_a_job_that_died_after_it_was_counted_is_counted_and_written_once(
    shop: Bench,
) -> None:
    shop.tell(ends(0))
    view = shop.leases.begin(shop.popped())
    assert view is not None
    assert (0, "") == shop.context.guard.judge(view.account, {CHURNED: 1})

    # Its lease may last a moment longer than the first look.
    shop.sweep(8000)
    shop.sweep(8000)
    assert 1 == passes(shop, ms=1)
    assert 1 == shop.redis.zcard(keys.mass(CHURNED))


def test_sums_over_many_accounts_are_used_for_longer(
    shop: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To sum up a million takes a worker half a minute."""
    mass, lives = Mass(shop.redis), []
    for many in (ACCOUNTS + 1, ACCOUNTS // 3):
        monkeypatch.setattr(store, "MANY", many)
        mass.weigh("acme-1", {CHURNED: 1}, anew=True)
        lives.append(round(shop.redis.pttl(keys.MASS_TOTALS) / store.TOTALS_MS))

    assert [1, 4] == lives


def test_the_sum_of_many_amounts_is_kept_and_right(desk: Bench) -> None:
    """To add them all up again for each would stop Redis for long."""
    mass, now = Mass(desk.redis), milliseconds(desk.redis)
    key, amounts = keys.mass("usd up"), keys.mass("usd up:amounts")
    names = [f"acme-{n}" for n in range(1500)]

    def counts(account: str, amount: int) -> None:
        (window,) = mass.weigh(account, {"usd up": amount})
        every = [int(one) for one in desk.redis.hvals(amounts)]
        assert (len(every), sum(every)) == (window.number, window.amount)

    # An older version counted without a sum.
    desk.redis.zadd(key, {name: now - 1000 + n for n, name in enumerate(names)})
    desk.redis.hset(amounts, mapping=dict.fromkeys(names, 100))
    counts("new", 7)
    counts("acme-1", 9)
    desk.redis.zadd(key, {"acme-2": 1})  # that was more than an hour ago
    counts("another", 1)
    desk.redis.hdel(amounts, "acme-3")  # it is forgotten
    desk.redis.zrem(key, "acme-3")
    counts("new", 8)
    assert b"1500" == desk.redis.hget(keys.mass("usd up:sum"), "number")
    desk.redis.hset(keys.mass("usd up:sum"), "sum", 5)  # so it is not added up
    (window,) = mass.weigh("new", {"usd up": 10})
    assert 7 == window.amount
    assert desk.redis.pttl(keys.mass("usd up:sum")) <= 60_000
    desk.redis.pexpire(keys.mass("usd up:sum"), 30_000)
    mass.weigh("new", {"usd up": 11})
    assert desk.redis.pttl(keys.mass("usd up:sum")) <= 30_000  # it is right again soon
    desk.redis.delete(keys.mass("usd up:sum"))
    counts("new", 12)
