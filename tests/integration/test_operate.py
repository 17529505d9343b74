"""The commands of the person on call, against real state: what waits, and by hand."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from rq import Queue as RqQueue
from rq.registry import FailedJobRegistry
from rq.serializers import JSONSerializer

from bridge.queue import NAME
from bridge.store import keys, operator
from bridge.store.inspect import drained_in
from bridge.store.quarantine import Kept, Quarantine
from bridge.throttle import Throttle
from bridge.webhook.source import Delivery, Verified
from tests.support.command import Run, Said
from tests.support.desk import Bench, customer, link, subscription
from tests.support.failures import seed
from tests.support.stripe import Shop
from tests.support.waiting import eventually

REFUSED = {"status": 400, "body": {"error": "mrr must be an integer"}}
KEY_REFUSED = "Vitally refuses the key (401): no"
PARTY = "stripe:cus_1"


@pytest.fixture
def run(run: Run, desk: Bench) -> Run:
    """Call a command here; the counting adds up after each."""

    def checked(*words: str, **more: Any) -> Said:
        said = run(*words, **more)
        desk.check()
        return said

    return checked


def park(desk: Bench, *names: str) -> None:
    """Let the first change of each customer be parked."""
    for name in names:
        desk.fault("status", "PUT", **REFUSED)
        desk.tell(customer(name, account=name))
        assert ["parked"] == desk.work()


def hold(desk: Bench, name: str = "cus_9") -> None:
    desk.tell(customer(name, account=None))
    assert ["held"] == desk.work()


# what waits, and links


def test_nothing_is_held_and_nothing_is_parked(run):
    assert "nothing is held\n" == run("held").out
    assert "nothing is parked\n" == run("parked").out
    assert [] == run("held", "--json").json


def test_held_and_parked_are_listed_with_the_reason(run, desk):
    hold(desk, "cus_1")
    park(desk, "cus_2")

    assert "neither the customer nor" in run("held").line("stripe:cus_1")
    assert "mrr must be an integer" in run("parked").line("stripe:cus_2")
    assert ["stripe:cus_1"] == [row["party"] for row in run("held", "--json").json]


def test_many_are_summed_up_by_cause_first(run, desk):
    seed(desk.redis, 50)

    for command, causes in (
        (["held"], 2),
        (["parked"], 2),
        (["quarantine", "list"], 1),
    ):
        summed, listed = run(*command).out.split("\n\n")
        assert summed.startswith("HOW MANY")
        assert causes == len(summed.splitlines()) - 1
        assert 10 * causes == len(listed.splitlines()) - 1
        assert 10 * causes == len(run(*command, "--json").json)


def test_a_link_moves_a_party_and_its_removal_moves_it_back(run, desk):
    desk.tell(customer(account=None), subscription(unit=100))
    desk.work()

    assert "goes to acme" in run("link", PARTY, "acme").out
    desk.work()
    assert 1 == desk.traits()["mrr"]

    assert "where its source says" in run("link", PARTY, "--remove").out
    for _ in range(3):
        desk.work()
        desk.passes(6000)
    assert ({}, 4) == (desk.traits(), desk.standing().held + desk.standing().settled)


def test_a_link_to_an_account_that_is_not_known_warns_and_asks_at_a_terminal(run, desk):
    desk.rests(customer(account="globex-7"), subscription(at=1))
    hold(desk)
    warning = "globex 7: a new account, unless Vitally has it (did you mean globex-7?)"
    link_it = ("link", "stripe:cus_9", "globex 7")

    assert "that is not globex 7" in run(*link_it, typed="no\n", status=1).err
    assert "stripe:cus_9" in run("held").out
    run(*link_it, typed="globex 7\n")
    assert warning in run(*link_it, "--yes", typed="\n").err
    said = run(*link_it)
    assert (warning, "why 'globex 7'`\n") == (said.err.strip(), said.out[-16:])
    assert "" == run("link", "stripe:cus_9", "globex-7").err
    assert "PARTY comes first" in run("link", "globex-7", PARTY, status=2).err


def test_a_link_of_a_party_nobody_named_has_to_be_meant(run, desk):
    said = run("link", "stripe:cus_9", "acme", status=1)
    assert "no event has named this party" in said.err

    run("link", "stripe:cus_9", "acme", "--unseen")
    assert ["unchanged"] == desk.work()
    desk.tell(customer("cus_9", account="elsewhere"))
    desk.work()
    assert ["acme"] == [one["externalId"] for one in desk.vitally.accounts()]


@pytest.mark.parametrize(
    "words",
    [
        ("link", PARTY),
        ("link", PARTY, " "),
        ("link", PARTY, "a", "--remove"),
        ("retry",),
        ("retry", "acme", "--held"),
        ("quarantine", "replay"),
        ("quarantine", "replay", "one", "--all"),
    ],
)
def test_one_of_two_ways_has_to_be_said(run, words):
    assert "Usage: " in run(*words, status=2).err


# retry


def park_both(desk: Bench) -> None:
    """Two parties of one account."""
    desk.fault("status", "PUT", **REFUSED, times=2)
    desk.tell(customer(), customer("cus_2"))
    desk.work()
    assert 2 == desk.check().parked


def fail(desk: Bench) -> None:
    desk.fault("status", "PUT", status=503)
    desk.tell(customer())
    assert ["retried"] == desk.work()
    assert desk.due_in()


@pytest.mark.parametrize(
    ("before", "words", "queued", "outcomes"),
    [
        (lambda desk: park(desk, "cus_1"), [PARTY], 1, ["created"]),
        (park_both, ["acme"], 2, ["created", "unchanged"]),
        (lambda desk: park(desk, "a", "b"), ["--parked"], 2, ["created"] * 2),
        (hold, ["--parked"], 0, []),
        (hold, ["--held"], 1, ["held"]),
        (fail, ["acme"], 1, ["created"]),
    ],
)
def test_what_waits_is_tried_again_at_once(run, desk, before, words, queued, outcomes):
    before(desk)

    said = run("retry", *words).out

    assert said.startswith("1 job queued" if queued == 1 else f"{queued} jobs queued")
    assert desk.due_in() is None
    assert outcomes == desk.work()
    assert 0 == desk.check().parked


def test_many_are_tried_again_one_after_another(run, desk):
    names = {f"stripe:cus_{number}": number for number in range(1100)}
    desk.redis.zadd(keys.PARKED, names)

    said = run("retry", "--parked")

    assert "1,100 parties tried again within 22 s\n" == said.out
    desk.passes(11_000)
    assert desk.queue.depth() >= 551
    desk.passes(11_000)
    assert 1100 == desk.queue.depth()


def test_two_retries_are_one_job(run, desk):
    park(desk, "cus_1")
    run("retry", "cus_1")

    more = "1 more need no job: nothing waits there, or one is on its way already"
    assert f"0 jobs queued\n{more}\n" == run("retry", PARTY).out
    assert 1 == desk.queue.depth()


def test_where_nothing_waits_nothing_is_tried(run, desk):
    """A settled party may have an appointment: the last look at a doubtful write."""
    desk.fault("reset_after_commit", "PUT")
    desk.tell(customer())
    desk.work()
    desk.passes(2000)
    assert ["created"] == desk.work()

    assert "0 jobs queued" in run("retry", "acme").out

    assert 20 < (desk.due_in() or 0) <= 30


def test_a_name_that_nobody_knows_is_told_before_anything_is_done(run, desk):
    park(desk, "cus_1")

    said = run("retry", PARTY, "nobody", status=1)

    assert "nobody: no such account or party here" in said.err
    assert 0 == desk.queue.depth()


def test_a_retry_says_that_writes_have_stopped(run, desk):
    park(desk, "cus_1")
    desk.breaker.open(KEY_REFUSED)
    assert "writes are stopped: Vitally refuses" in run("retry", "--parked").out

    operator.pause(desk.redis, "a look")
    assert "writes are paused (a look)" in run("retry", "--parked").out


# discard


def test_a_removal_that_vitally_refuses_is_listed_tried_again_and_given_up(run, desk):
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
        assert "its traits cannot be removed" in run("parked").line("vacated:acme")
        run(*what)
        desk.work()
        assert "nothing is parked\n" == run("parked").out
        desk.redis.flushall()

    assert 450 == desk.traits()["mrr"]


def test_what_is_given_up_counts_as_settled_and_its_facts_stay(run, desk):
    park(desk, "cus_1")
    writes = len(desk.writes())

    said = run("discard", PARTY, "--yes")

    assert "stripe:cus_1: 1 event discarded; its facts stay\n" == said.out
    counted = desk.check()
    assert (1, 0, 0) == (counted.settled, counted.parked, counted.parked_parties)
    settled = "settled 1 in Vitally, or nothing to write; 1 discarded"
    assert settled == run("status").line("settled")
    _, last = desk.redis.xrevrange(keys.JOURNAL, count=1)[0]
    assert (b"stripe:cus_1", b"discarded") == (last[b"p"], last[b"r"])
    newest = run("why", "cus_1").out.partition("(UTC)\n")[2].splitlines()[0]
    assert newest.endswith(" discarded")
    desk.redis.zadd(keys.WORKERS, {"one": 2**50})
    right = "ok the counting is right: 1 event accepted"
    assert right == run("doctor").line("ok the counting")
    assert ([], writes) == (desk.work(), len(desk.writes()))
    desk.tell(subscription("cus_1", account="cus_1"))
    assert ["created"] == desk.work()
    assert 450 == desk.traits("cus_1")["mrr"]


def test_the_other_party_of_the_account_stays_parked(run, desk):
    park_both(desk)

    run("discard", PARTY, "--yes")

    assert (1, 1) == (desk.check().settled, desk.standing("cus_2").parked)


@pytest.mark.parametrize("waits", [False, True])
def test_an_event_that_came_meanwhile_is_not_given_up(run, desk, waits):
    """It may wait for a job, or for its next try."""
    park(desk, "cus_1")
    desk.tell(subscription("cus_1", account="cus_1"))
    if waits:
        desk.fault("status", "PUT", status=503)
        assert ["retried"] == desk.work()
        assert 1 == desk.standing().parked

    run("discard", PARTY, "--yes")

    assert (1, 1) == (desk.standing().settled, desk.standing().pending)
    assert waits == bool(desk.due_in())
    desk.passes(2000)
    assert ["created"] == desk.work()
    assert (2, 0) == (desk.standing().settled, desk.standing().pending)


def test_a_held_party_is_given_up_and_can_be_linked_later(run, desk):
    desk.set(bridge_create="never")
    desk.tell(customer())
    assert ["held"] == desk.work()
    assert desk.due_in()

    run("discard", PARTY, "--yes")

    assert (desk.due_in(), 1) == (None, desk.check().settled)
    desk.set(bridge_create="customer")
    desk.tell(link("cus_1", "other"))
    desk.work()
    assert "Acme" == desk.name("other")


def test_giving_up_wants_the_party_typed(run, desk):
    park(desk, "cus_1")

    wrong = run("discard", PARTY, typed="yes\n", status=1)

    assert "that is not stripe:cus_1; nothing is done" in wrong.err
    assert "mrr must be an integer" in wrong.err
    assert 1 == desk.check().parked
    run("discard", PARTY, typed=f"{PARTY}\n")
    assert 0 == desk.check().parked


def test_nothing_is_given_up_where_nothing_waits(run, desk):
    desk.tell(customer())
    desk.work()

    for party in (PARTY, "stripe:nobody"):
        said = run("discard", party, "--yes", status=1)
        assert f"{party}: neither parked nor held" in said.err
    assert operator.discard(desk.redis, PARTY) is None
    assert 0 == desk.check().discarded


def test_giving_up_during_a_job_counts_each_event_once(desk):
    """The job has read what is then given up."""
    park(desk, "cus_1")
    desk.tell(subscription("cus_1", account="cus_1"))
    update = desk.client.update

    def meanwhile(*args: Any) -> Any:
        operator.discard(desk.redis, PARTY)
        return update(*args)

    desk.client.update = meanwhile  # type: ignore[method-assign]
    desk.work()

    one = desk.standing()
    assert (2, 0, 0) == (one.settled, one.parked, one.pending)
    assert 2 == desk.check().settled


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_done_by_hand_the_counting_adds_up(run, desk, seed):
    chance = random.Random(seed)
    for step in range(60):
        name = chance.choice(("cus_1", "cus_2", "cus_3"))
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
                desk.leases.claim("by hand", p), "hand"
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


def test_a_pause_is_shown_and_stops_what_a_worker_has_in_hand(run, desk):
    desk.tell(customer())
    desk.tell(customer("cus_2", account="two"))

    run("pause", "--reason", "Vitally looks into \x1b[2Jacme")

    assert ["waited", "waited"] == desk.work()
    assert [] == desk.writes()
    shown = run("status")
    assert "paused (Vitally looks into" in shown.line("writes")
    assert "\x1b" not in shown.out
    assert "2 parties, about 2 s once writes go on" in shown.line("to be written")
    paused = run("doctor", status=1).line("note All writes")
    assert "paused by hand: Vitally looks into" in paused
    waiting = "writes go on\nto be written: 2 parties, about 2 s once a worker runs\n"
    assert waiting == run("resume").out
    desk.passes(2100)
    assert ["created", "created"] == desk.work()
    assert "writes were not paused" in run("resume").out
    assert "nothing" in run("status").line("to be written")


def test_a_pause_does_not_close_by_a_probe_nor_hide_a_refused_key(run, desk):
    run("pause")
    desk.breaker.open(KEY_REFUSED)

    desk.sweeper.probe()

    assert desk.breaker.reason() is None
    assert "no reason given" == operator.paused(desk.redis)
    desk.breaker.open(KEY_REFUSED)
    assert "writes are stopped: Vitally refuses the key" in run("resume").out


def test_a_pause_holds_for_all_workers_and_over_restarts(stack):
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
    eventually(lambda: web.get("/readyz")[0] == 200)
    ready = {"ready": True, "notes": ["All writes are paused by hand: a look."]}
    assert ready == json.loads(web.get("/readyz")[1])
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


def test_a_write_that_has_begun_is_finished_in_spite_of_a_pause(stack):
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


def test_facts_that_no_job_can_work_out_are_parked_with_the_place(stack):
    desk = Bench(stack.redis, stack.vitally, 7.5)
    desk.tell(customer("bad", account="bad"))
    row = keys.facts("stripe:bad")
    stack.redis.hset(row, "subscription:sub\tevt", b"[0, 1, 2]")
    stack.worker()
    web = stack.web()
    eventually(lambda: desk.check().parked == 1)

    ((standing, _),) = desk.look.listed(keys.PARKED)
    queue = RqQueue(NAME, connection=stack.redis, serializer=JSONSerializer)
    # RQ files a failed job after the party was parked.
    (job,) = eventually(FailedJobRegistry(queue=queue).get_job_ids)
    assert "ValueError at codec.py" in standing.why
    assert standing.why.endswith(job)
    assert ["ValueError at bridge/store/codec.py"] == [
        failed.reason for failed in desk.queue.failed()
    ]
    eventually(lambda: web.get("/readyz")[0] == 200)
    stack.redis.hdel(row, "subscription:sub\tevt")
    desk.tell(customer("bad", account="bad", kind="updated", at=9))
    eventually(lambda: desk.check().settled == 2)


# how long it takes


@pytest.mark.parametrize(
    ("writes", "units", "cost", "seconds"),
    [(0, 800, 10, 0), (76, 800, 10, 60), (304, 800, 10, 240), (3, 5, 10, 180)],
)
def test_what_waits_takes_its_share_of_the_limit(writes, units, cost, seconds):
    assert seconds == drained_in(writes, units, cost)


@pytest.mark.parametrize(("share", "cost"), [(0.8, 10), (1.0, 1), (0.05, 30)])
def test_the_throttle_takes_as_long_as_was_said_or_a_minute_less(redis, share, cost):
    throttle = Throttle(redis, share)
    redis.hset(keys.RATE, mapping={"limit": 300, "cost": cost})
    begun = time.monotonic()
    for writes in range(1, 700):
        wait, _ = throttle.reserve(10**9)
        about = drained_in(writes, 300 * share, cost)
        passed = time.monotonic() - begun
        # A minute of the throttle is a millisecond longer.
        assert about - 60.1 - passed <= wait / 1000 <= about * 1.001


def test_status_knows_what_replies_say_a_write_costs(run, desk):
    desk.redis.zadd(keys.DIRTY, {f"stripe:cus_{number}": 1 for number in range(160)})
    shown = run("status")
    assert "160 parties, about 2 min once a worker runs" in shown.line("to be written")
    assert "writes not before a worker runs" == shown.line("writes")
    desk.redis.zadd(keys.WORKERS, {"one": 2**50})
    assert "160 parties, drained in about 2 min" in run("status").line("to be written")

    desk.redis.hset(keys.RATE, mapping={"limit": 1000, "cost": 40})

    data = run("status", "--json").json
    assert (505, 40) == (data["drain_seconds"], data["cost"])


# the quarantine

EVENT = {
    "id": "evt_q",
    "object": "event",
    "type": "customer.created",
    "created": 1_767_225_600,
    "livemode": True,
    "data": {"object": {"id": "cus_q", "name": "Queued", "metadata": {}}},
}


def test_the_quarantine_is_listed_shown_replayed_and_dropped(run, desk):
    shelf = Quarantine(desk.redis)
    body = json.dumps(EVENT).encode()
    old = "an old version did not read it"
    assert "the quarantine is empty\n" == run("quarantine", "list").out
    shelf.put(Kept("good", 0, "stripe", "evt_q", old, body))
    shelf.put(Kept("bad", 0, "stripe", "", "no JSON", b"no json"))
    shelf.put(Kept("foreign", 0, "elsewhere", "", "no", b"{}"))

    assert "an old version" in run("quarantine", "list").line("good")
    rows = run("quarantine", "list", "--json").json
    assert {"good", "bad", "foreign"} == {row["id"] for row in rows}
    assert body.decode() == run("quarantine", "show", "good").out
    said = run("quarantine", "replay", "--all", status=1)
    assert "good queued" == said.line("good")
    assert "bad quarantined" in said.line("bad")
    assert "is off" in said.line("foreign")
    assert "2 of 3 stay in the quarantine" in said.err
    assert {"bad", "foreign"} <= {one.id for one in shelf.all()}
    assert shelf.get("good") is None
    assert ["created"] == desk.work()
    run("quarantine", "drop", "bad")
    assert shelf.get("bad") is None
    run("quarantine", "drop", "bad", status=1)


def test_a_replay_that_is_refused_again_stays_one_entry(run, desk, ingress):
    delivery = Delivery("POST", "/webhooks/stripe", {}, b"no json")
    ingress.take_in(ingress.sources["stripe"], Verified(delivery))
    for _ in range(3):
        run("quarantine", "replay", "--all", status=1)

    assert 1 == len(list(Quarantine(desk.redis).all()))
    assert (1, 1) == (desk.check().received, desk.check().quarantined)
    assert "1 event in 1 delivery" in run("status").out
    assert "1 event in 1 delivery" in run("doctor", status=1).out


def test_a_body_is_shown_as_it_came_only_where_that_is_asked_for(run, desk):
    Quarantine(desk.redis).put(Kept("odd", 0, "stripe", "", "no", b"a\n\x1b\xff\n"))

    assert "a\n\\u001b\\xff\n" == run("quarantine", "show", "odd").out
    assert "a\n\x1b\udcff\n" == run("quarantine", "show", "odd", "--raw").out
