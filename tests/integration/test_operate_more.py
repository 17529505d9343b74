"""The commands that act: retry, discard, pause and resume, against real state."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis
from rq import Queue as RqQueue
from rq.registry import FailedJobRegistry
from rq.serializers import JSONSerializer
from urllib3 import PoolManager, make_headers

from bridge.errors import BridgeError
from bridge.queue import NAME
from bridge.store import keys, operator
from bridge.store.inspect import drained_in
from tests.support.command import Command, Result, line
from tests.support.desk import Bench, customer, link, subscription
from tests.support.processes import ROOT, environment
from tests.support.stack import Stack
from tests.support.stripe import Shop
from tests.support.waiting import eventually
from workers.throttle import Throttle


@pytest.fixture
def run(run: Command, desk: Bench) -> Command:
    """Call a command here; the counting adds up after each."""

    def checked(*words: str, **more: Any) -> Result:
        result = run(*words, **more)
        desk.check()
        return result

    return checked


REFUSED = {"status": 400, "body": {"error": "mrr must be an integer"}}


def park(desk: Bench, *names: str) -> None:
    """Let the first change of each customer be parked."""
    for name in names:
        desk.fault("status", "PUT", **REFUSED)
        desk.tell(customer(name, account=name))
        assert ["parked"] == desk.work()


def hold(desk: Bench, name: str = "cus_9") -> None:
    desk.tell(customer(name, account=None))
    assert ["held"] == desk.work()


def recount(run: Command, desk: Bench) -> str:
    """What `doctor` says of the counting, after it has found nothing wrong."""
    desk.redis.zadd(keys.WORKERS, {"one": 2**50})
    return line(run("doctor"), "ok  the counting is")


# retry


def test_a_parked_party_is_tried_again_at_once(run: Command, desk: Bench) -> None:
    park(desk, "cus_1")

    assert "1 job queued\n" == run("retry", "stripe:cus_1").output

    assert ["created"] == desk.work()
    assert "5 events" not in recount(run, desk)
    assert (1, 0) == (desk.standing().settled, desk.standing().parked)


def test_an_account_s_parties_are_all_tried_again(run: Command, desk: Bench) -> None:
    desk.fault("status", "PUT", **REFUSED, times=2)
    desk.tell(customer(), customer("cus_2"))
    desk.work()
    assert 2 == desk.check().parked

    assert "2 jobs queued\n" == run("retry", "acme").output

    assert ["created", "unchanged"] == desk.work()
    assert 0 == desk.check().parked


def test_all_that_is_parked_or_held_is_tried_again(run: Command, desk: Bench) -> None:
    park(desk, "cus_1", "cus_2")
    hold(desk)

    assert "2 jobs queued\n" == run("retry", "--parked").output
    assert ["created", "created"] == desk.work()
    assert "1 job queued\n" == run("retry", "--held").output
    assert ["held"] == desk.work()
    assert "0 jobs queued\n" == run("retry", "--parked").output


def test_many_are_tried_again_with_a_word_on_the_way(run: Command, desk: Bench) -> None:
    names = {f"stripe:cus_{number}": number for number in range(1100)}
    desk.redis.zadd(keys.PARKED, names)

    result = run("retry", "--parked")

    assert "1,100 jobs queued\n" == result.stdout
    assert "500 of 1,100 parties ...\n1,000 of 1,100 parties ...\n" == result.stderr
    assert 1100 == desk.queue.depth()


def test_what_waits_for_its_next_try_does_not_wait(run: Command, desk: Bench) -> None:
    desk.fault("status", "PUT", status=503)
    desk.tell(customer())
    assert ["retried"] == desk.work()
    assert desk.due_in()

    run("retry", "acme")

    assert desk.due_in() is None
    assert ["created"] == desk.work()


def test_two_retries_are_one_job(run: Command, desk: Bench) -> None:
    park(desk, "cus_1")
    run("retry", "cus_1")

    result = run("retry", "stripe:cus_1")

    assert "0 jobs queued" in result.output
    assert (
        "1 more: nothing waits there, or a job is on its way already" in result.output
    )
    assert 1 == desk.queue.depth()


def test_where_nothing_waits_nothing_is_tried(run: Command, desk: Bench) -> None:
    """A settled party may have an appointment: the last look at a doubtful write."""
    desk.fault("reset_after_commit", "PUT")
    desk.tell(customer())
    desk.work()
    desk.passes(2000)
    assert ["created"] == desk.work()

    assert "0 jobs queued" in run("retry", "acme").output

    assert 20 < (desk.due_in() or 0) <= 30


def test_a_name_that_nobody_knows_is_told_before_anything_is_done(
    run: Command, desk: Bench
) -> None:
    park(desk, "cus_1")

    result = run("retry", "stripe:cus_1", "nobody", fails=BridgeError)

    assert "nobody: no such account or party here" in str(result.exception)
    assert 0 == desk.queue.depth()


@pytest.mark.parametrize("words", [[], ["acme", "--held"]])
def test_a_retry_is_of_names_or_of_a_whole_list(run: Command, words: list[str]) -> None:
    assert 2 == run("retry", *words, fails=SystemExit).exit_code


def test_a_retry_says_that_writes_have_stopped(run: Command, desk: Bench) -> None:
    park(desk, "cus_1")
    desk.breaker.open("Vitally refuses the key (401): no")

    assert "writes are stopped: Vitally refuses" in run("retry", "--parked").output

    operator.pause(desk.redis, "a look")
    assert "writes are paused (a look)" in run("retry", "--parked").output


# discard


def test_a_removal_that_vitally_refuses_is_listed_tried_again_and_given_up(
    run: Command, desk: Bench
) -> None:
    """The account that its last party left has nobody to send an event."""
    refusal = {"kind": "status", "match": {"method": "PUT", "path": "*/acme"}}
    for what in (["retry", "--parked"], ["discard", "vacated:acme", "--yes"]):
        desk.tell(customer(at=1, kind="updated"), subscription(at=1))
        for _ in range(3):
            desk.work()
            desk.passes(10_000)
        desk.vitally.break_with([refusal | REFUSED])
        desk.tell(customer(at=2, kind="updated", account="other"))
        assert "parked" in desk.work()
        assert "its traits cannot be removed" in line(run("parked"), "vacated:acme")
        run(*what)
        desk.work()
        assert "nothing is parked\n" == run("parked").output
        desk.redis.flushall()

    assert 450 == desk.traits()["mrr"]


def test_what_is_given_up_counts_as_settled_and_its_facts_stay(
    run: Command, desk: Bench
) -> None:
    park(desk, "cus_1")
    writes = len(desk.writes())

    result = run("discard", "stripe:cus_1", "--yes")

    assert "stripe:cus_1: 1 event given up; its facts stay\n" == result.output
    assert (1, 0, 0) == (
        desk.check().settled,
        desk.check().parked,
        desk.check().parked_parties,
    )
    assert "settled 1 in Vitally, or nothing to write; 1 discarded" in line(
        run("status"), "settled"
    )
    assert "the counting is right: 1 event accepted" in recount(run, desk)
    assert ([], writes) == (desk.work(), len(desk.writes()))
    desk.tell(subscription("cus_1", account="cus_1"))
    assert ["created"] == desk.work()
    assert 450 == desk.traits("cus_1")["mrr"]


def test_giving_up_is_in_the_journal_and_in_the_account_s_history(
    run: Command, desk: Bench
) -> None:
    park(desk, "cus_1")
    run("discard", "stripe:cus_1", "--yes")

    _, last = desk.redis.xrevrange(keys.JOURNAL, count=1)[0]
    assert (b"stripe:cus_1", b"discarded") == (last[b"p"], last[b"r"])
    assert line(run("why", "cus_1"), "20").endswith("discarded")


def test_the_other_party_of_the_account_stays_parked(run: Command, desk: Bench) -> None:
    desk.fault("status", "PUT", **REFUSED, times=2)
    desk.tell(customer(), customer("cus_2"))
    desk.work()

    run("discard", "stripe:cus_1", "--yes")

    assert (1, 1) == (desk.check().settled, desk.check().parked)
    assert 1 == desk.standing("cus_2").parked


def test_an_event_that_came_meanwhile_is_not_given_up(
    run: Command, desk: Bench
) -> None:
    park(desk, "cus_1")
    desk.tell(subscription("cus_1", account="cus_1"))

    run("discard", "stripe:cus_1", "--yes")

    assert (1, 1) == (desk.standing().settled, desk.standing().pending)
    assert ["created"] == desk.work()
    assert (2, 0) == (desk.standing().settled, desk.standing().pending)


def test_an_event_that_waits_for_its_next_try_goes_on_waiting(
    run: Command, desk: Bench
) -> None:
    park(desk, "cus_1")
    desk.fault("status", "PUT", status=503)
    desk.tell(subscription("cus_1", account="cus_1"))
    assert ["retried"] == desk.work()
    assert 1 == desk.standing().parked

    run("discard", "stripe:cus_1", "--yes")

    assert desk.due_in()
    desk.passes(2000)
    assert ["created"] == desk.work()


def test_a_held_party_is_given_up_and_can_be_linked_later(
    run: Command, desk: Bench
) -> None:
    desk.set(bridge_create="never")
    desk.tell(customer())
    assert ["held"] == desk.work()
    assert desk.due_in()

    run("discard", "stripe:cus_1", "--yes")

    assert (desk.due_in(), 1) == (None, desk.check().settled)
    desk.set(bridge_create="customer")
    desk.tell(link("cus_1", "other"))
    desk.work()
    assert "Acme" == desk.name("other")


def test_giving_up_wants_the_party_typed(run: Command, desk: Bench) -> None:
    park(desk, "cus_1")

    wrong = run("discard", "stripe:cus_1", typed="yes\n", fails=BridgeError)

    assert "that is not the party; nothing is given up" in str(wrong.exception)
    assert "mrr must be an integer" in wrong.stderr
    assert 1 == desk.check().parked
    run("discard", "stripe:cus_1", typed="stripe:cus_1\n")
    assert 0 == desk.check().parked


def test_nothing_is_given_up_where_nothing_waits(run: Command, desk: Bench) -> None:
    desk.tell(customer())
    desk.work()

    for party in ("stripe:cus_1", "stripe:nobody"):
        result = run("discard", party, "--yes", fails=BridgeError)
        assert f"{party}: neither parked nor held" in str(result.exception)
    assert operator.discard(desk.redis, "stripe:cus_1") is None
    assert 0 == desk.check().discarded


def test_giving_up_during_a_job_counts_each_event_once(
    run: Command, desk: Bench
) -> None:
    """The job has read what is then given up."""
    park(desk, "cus_1")
    desk.tell(subscription("cus_1", account="cus_1"))
    lease = desk.leases.take("cus_1", "stripe:cus_1")
    assert lease is not None
    desk.leases.release(lease)
    refuse = desk.client.update

    def meanwhile(*args: Any) -> Any:
        operator.discard(desk.redis, "stripe:cus_1")
        return refuse(*args)

    desk.client.update = meanwhile  # type: ignore[method-assign]
    desk.work()

    assert (2, 0, 0) == (
        desk.standing().settled,
        desk.standing().parked,
        desk.standing().pending,
    )
    assert 2 == desk.check().settled


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_done_by_hand_the_counting_adds_up(
    run: Command, desk: Bench, seed: int
) -> None:
    chance = random.Random(seed)
    names = ("cus_1", "cus_2", "cus_3")
    for step in range(60):
        name = chance.choice(names)
        account = chance.choice(["a", "b", None])
        party = f"stripe:{name}"
        steps: list[Callable[[], object]] = [
            lambda n=name, a=account, s=step: desk.tell(
                customer(n, at=s, kind="updated", account=a)
            ),
            lambda: desk.fault("status", "*", status=chance.choice([400, 404, 503])),
            desk.work,
            desk.work,
            desk.sweep,
            lambda: desk.passes(chance.choice([100, 3000, 40_000])),
            lambda p=party: desk.queue.push_all(
                desk.leases.claim_by_hand(p), "by hand"
            ),
            lambda p=party: operator.discard(desk.redis, p),
            lambda: operator.pause(desk.redis, "a look"),
            lambda: operator.resume(desk.redis),
        ]
        chance.choice(steps)()
        desk.check()
    operator.resume(desk.redis)
    desk.vitally.mend()
    desk.breaker.close()
    run("retry", "--parked")
    for _ in range(6):
        desk.sweep()
        desk.passes(100_000)
        desk.work()

    assert (0, 0, set()) == (desk.check().pending, desk.check().parked, desk.dirty())


# pause and resume


def test_a_pause_is_shown_and_stops_what_a_worker_has_in_hand(
    run: Command, desk: Bench
) -> None:
    desk.tell(customer())
    desk.tell(customer("cus_2", account="two"))

    run("pause", "--reason", "Vitally looks into \x1b[2Jacme")

    assert ["retried", "retried"] == desk.work()
    assert [] == desk.writes()
    shown = run("status")
    assert "PAUSED by hand: Vitally looks into" in line(shown, "writes")
    assert "\x1b" not in shown.output
    assert "2 parties, about 2 s once writes go on" in line(shown, "to be written")
    assert "paused by hand: Vitally looks into" in line(
        run("doctor", fails=BridgeError), "note  all writes"
    )
    said = run("resume").output
    assert "writes go on\nto be written: 2 parties, drained in about 2 s\n" == said
    desk.passes(2100)
    assert ["created", "created"] == desk.work()
    assert "writes were not paused" in run("resume").output
    assert "nothing" in line(run("status"), "to be written")


def test_a_pause_does_not_close_by_a_probe_nor_hide_a_refused_key(
    run: Command, desk: Bench
) -> None:
    run("pause")
    desk.breaker.open("Vitally refuses the key (401): no")

    desk.sweeper.probe()

    assert desk.breaker.reason() is None
    assert "no reason given" == operator.paused(desk.redis)
    desk.breaker.open("Vitally refuses the key (401): no")
    assert "writes are stopped: Vitally refuses the key" in run("resume").output


def test_a_pause_holds_for_all_workers_and_over_restarts(stack: Stack) -> None:
    web = stack.web()
    workers = [stack.worker(), stack.worker()]
    stripe = stack.ready().stripe()
    operator.pause(stack.redis, "a look")
    for worker in workers:
        worker.wait_for("writes paused by hand")
    shops = [Shop() for _ in range(5)]
    answers = [stripe.post(shop.signs_up()).status for shop in shops]
    stack.redis_server.kill()
    stack.redis_server.restart()
    workers[0].terminate()
    workers.append(stack.worker())
    workers[2].wait_for("writes paused by hand")
    time.sleep(2.5)  # longer than a gate is shut, and than a claim is fresh

    assert [202] * 5 == answers
    assert [] == stack.vitally.writes()
    assert (
        200,
        {"ready": True, "notes": ["All writes are paused by hand: a look."]},
    ) == (
        eventually(lambda: web.get("/readyz")[0] == 200 and 200),
        json.loads(web.get("/readyz")[1]),
    )
    figures = web.get("/metrics")[1]
    assert "vitally_bridge_paused 1.0" in figures
    assert "vitally_bridge_pending 5.0" in figures
    assert 0 < float(figures.split("\nvitally_bridge_drain_seconds ")[1].split()[0]) < 4
    for worker in workers:
        assert 1 == worker.output.count("writes paused by hand"), worker.output

    operator.resume(stack.redis)

    stack.settled()
    assert {shop.id for shop in shops} == set(stack.creations())
    for worker in workers[1:]:
        worker.wait_for("writes resumed")
    assert '{"ready":true}' == web.get("/readyz")[1]


def test_a_write_that_has_begun_is_finished_in_spite_of_a_pause(stack: Stack) -> None:
    desk = Bench(stack.redis, stack.vitally, 7.5)
    stack.vitally.break_with(
        [{"kind": "delay", "match": {"method": "PUT"}, "seconds": 1.0}]
    )
    stack.worker()
    desk.tell(customer())
    eventually(stack.vitally.writes)

    operator.pause(stack.redis, "a look")

    # Vitally does not have it: the creation is a second write, and has to wait.
    eventually(lambda: desk.writes() == [("PUT", 404)])
    time.sleep(2.5)
    assert [("PUT", 404)] == desk.writes()
    operator.resume(stack.redis)
    eventually(lambda: desk.name() == "Acme")


def test_facts_that_no_job_can_work_out_are_parked_with_the_place(
    stack: Stack,
) -> None:
    desk = Bench(stack.redis, stack.vitally, 7.5)
    desk.tell(customer())
    desk.tell(customer("bad", account="bad"))
    row = keys.facts("stripe:bad")
    stack.redis.hset(row, "subscription:sub\tevt", b"[0, 1, 2]")
    stack.worker()
    queue = RqQueue(NAME, connection=stack.redis, serializer=JSONSerializer)
    failed = FailedJobRegistry(queue=queue)
    stack.environ["CONSOLE_PASSWORD"] = "example-password"
    web = stack.web()

    eventually(lambda: desk.check().parked == 1, 15)
    login = make_headers(basic_auth="admin:example-password")
    with PoolManager() as http:
        url = f"{web.url}/console/queues/0/data/queues.json"
        console = http.request("GET", url, headers=login).json()["queues"]
        ready = http.request("GET", f"{web.url}/readyz")

    ((standing, _),) = desk.look.listed(keys.PARKED)
    (job,) = failed.get_job_ids()
    assert [1] == [one["failed_job_registry_count"] for one in console]
    assert "stripe:bad" == standing.party
    assert "ValueError at codec.py" in standing.why
    assert standing.why.endswith(job)
    assert 200 == ready.status
    assert "Acme" == desk.name()
    stack.redis.hdel(row, "subscription:sub\tevt")
    desk.tell(customer("bad", account="bad", kind="updated", at=9))
    eventually(lambda: desk.check().settled == 3)


# how long it takes


@pytest.mark.parametrize(
    ("writes", "units", "cost", "seconds"),
    [(0, 800, 10, 0), (80, 800, 10, 60), (320, 800, 10, 240), (3, 5, 10, 180)],
)
def test_what_waits_takes_its_share_of_the_limit(
    writes: int, units: float, cost: float, seconds: float
) -> None:
    assert seconds == drained_in(writes, units, cost)


@pytest.mark.parametrize(("share", "cost"), [(0.8, 10), (1.0, 1), (0.05, 30)])
def test_the_throttle_takes_as_long_as_was_said_or_a_minute_less(
    redis: Redis, share: float, cost: int
) -> None:
    throttle = Throttle(redis, share)
    redis.hset(keys.RATE, mapping={"limit": 300, "cost": cost})
    begun = time.monotonic()
    for writes in range(1, 700):
        wait, _ = throttle.reserve(10**9)
        about = drained_in(writes, 300 * share, cost)
        passed = time.monotonic() - begun
        # A minute of the throttle is a millisecond longer.
        assert about - 60.1 - passed <= wait / 1000 <= about * 1.001


def test_status_knows_what_replies_say_a_write_costs(run: Command, desk: Bench) -> None:
    for number in range(160):
        desk.redis.zadd(keys.DIRTY, {f"stripe:cus_{number}": 1})
    assert "160 parties, drained in about 2 min" in line(run("status"), "to be written")

    desk.redis.hset(keys.RATE, mapping={"limit": 1000, "cost": 40})

    data = json.loads(run("status", "--json").stdout)
    assert (480, 40) == (data["drain_seconds"], data["cost"])


# as a process


def test_a_redis_that_takes_nothing_is_told_in_words(
    environ: dict[str, str], desk: Bench
) -> None:
    desk.redis.config_set("maxmemory", 1)
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "bridge", "pause"],
            env=environment(environ),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        desk.redis.config_set("maxmemory", 0)

    assert 1 == ended.returncode
    words = "vitally-bridge: Redis did not do it (OutOfMemoryError); is it full"
    assert ended.stderr.startswith(words), ended.stderr


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["discard", "nobody"], 1, "vitally-bridge: nobody: neither parked nor held"),
        (["retry", "nobody"], 1, "vitally-bridge: nobody: no such account or party"),
        (["retry"], 2, "name parties or accounts"),
        (["pause"], 0, ""),
        (["resume"], 0, ""),
    ],
)
def test_a_mistake_is_a_sentence_and_a_status(
    environ: dict[str, str], words: list[str], status: int, said: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "bridge", *words],
        env=environment(environ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert status == ended.returncode, ended.stderr
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
