"""`status`, `why` and `doctor`, against real state, and what all commands have alike."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bridge.config import read
from bridge.domain.traits import instant
from bridge.store import keys
from bridge.store.quarantine import Kept, Quarantine
from bridge.wording import moment
from tests.support.command import called
from tests.support.desk import NOON, customer, subscription
from tests.support.local_stripe import KEY, LocalStripe
from tests.support.processes import ROOT, environment, free_port
from tests.support.server import RedisServer

PARTY = "stripe:cus_1"


def test_status_of_nothing_at_all(run):
    said = run("status")

    assert "received 0 = accepted" in said.line("received")
    assert "none heard for 15 s" in said.line("workers")
    assert "none" in said.line("oldest unsettled")


def test_status_counts_as_the_state_does(run, desk):
    desk.tell(customer(), subscription())
    desk.work()
    desk.tell(customer("cus_2", account=None))
    desk.work()
    desk.tell(customer("cus_3", account="three"))
    desk.breaker.open("Vitally refuses the key (401): no")

    data = run("status", "--json").json
    said = run("status")

    names = ("received", "accepted", "settled", "pending", "held", "parked")
    assert [4, 4, 2, 1, 1, 0] == [data[name] for name in names]
    assert "settled 2" in said.line("settled")
    assert "stopped: Vitally refuses the key" in said.line("writes")


# why


def test_why_tells_the_traits_the_facts_and_their_events(run, desk):
    fact = subscription(unit=12300)
    desk.tell(customer(), fact)
    desk.work()

    said = run("why", "acme")

    assert "account acme: Acme" in said.out
    assert fact.event in said.out
    assert "mrr 123 123" in said.line("mrr")
    assert "2 of 2 events settled" in said.line("party stripe:cus_1")
    assert said.out == run("why", PARTY).out


def test_why_names_the_parts_of_the_mrr_and_their_rules(run, desk):
    desk.tell(customer(), subscription(unit=12300))
    desk.work()

    said = run("why", "acme")

    part = "sub_1 1 x Pro: 123.00 USD every month +123.00 price per month"
    assert part == said.line("sub_1")
    assert said.line("all").startswith("all rounding 0 ")
    assert "MRR 123.00 USD" == said.line("MRR")


def test_why_names_what_each_other_trait_comes_from(run, desk):
    desk.tell(customer(), subscription(status="canceled", at=5))
    desk.work()

    words = run("why", "acme").out.partition("BECAUSE\n")[2]
    because = dict(
        line.split(maxsplit=1) for line in words.split("\n\n")[0].split("\n")
    )

    assert "no subscription of the account counts for it now" == because["planName"]
    assert because["subscriptionStatus"].startswith("sub_1 is canceled, by event ")
    assert "mrr" not in because


@pytest.mark.parametrize(
    ("currency", "unit", "part", "rounding", "total"),
    [("usd", 10000, "8.333333", "0", "25.00"), ("jpy", 100, "8.3333", "0", "25")],
)
def test_the_parts_that_why_shows_add_up_to_the_mrr(
    run, desk, currency, unit, part, rounding, total
):
    yearly = [{"price": "p", "name": "Year", "unit": str(unit), "interval": "year"}]
    paid = {"items": yearly, "currency": currency}
    subs = [subscription(sub=f"sub_{n}", **paid) for n in "123"]
    desk.does(customer(), *subs)

    said = run("why", "acme")

    for n in "123":
        assert f" +{part} price per year" in said.line(f"sub_{n}")
    assert f"rounding {rounding} " in said.line("all")
    assert f"MRR {total} {currency.upper()}" == said.line("MRR")


def test_why_says_what_each_subscription_pays_where_the_sum_is_not_known(run, desk):
    desk.does(customer(), subscription(event="e1"))
    desk.does(subscription(sub="sub_2", currency="eur", event="e2"))

    said = run("why", "acme")

    assert "sub_1 pays 450 USD a month, by event e1" == said.line("sub_1")
    assert "sub_2 pays 450 EUR a month, by event e2" == said.line("sub_2")


def test_why_says_of_a_reading_of_an_api_when_it_was(run, desk):
    subs = [
        subscription(sub=s, currency=c) for s, c in (("sub_1", "usd"), ("sub_2", "eur"))
    ]
    for fact in (customer(), *subs):
        desk.does(fact._replace(kind="read", event=f"read:{NOON}"))

    said = run("why", "acme")

    read = "read from the API at 2026-01-01 00:00:00 UTC"
    assert f"customer acme <- {read}" == said.line("customer")
    assert f"sub_1 pays 450 USD a month, {read}" == said.line("sub_1")
    assert f"stripe {read} stripe:cus_1 queued, settled" in said.out
    assert "read:" not in said.out


def test_why_names_what_can_be_done_about_what_is_parked(run, desk):
    desk.fault("status", "PUT", status=422, body={"error": "mrr must be an integer"})
    desk.tell(customer(), subscription())
    assert ["parked"] == desk.work()

    said = run("why", "acme").line("to try it again")

    assert f"retry {PARTY}; to discard it: " in said
    assert said.endswith(f" discard {PARTY}")


def test_why_says_what_nobody_tells_any_more(run, desk):
    desk.tell(customer(), subscription(unit=100))
    desk.tell(customer("cus_2"))
    desk.work()
    desk.tell(customer(at=5, kind="updated", account="other"))
    assert desk.pop() is not None
    desk.leases.move(PARTY, "other")

    assert "mrr 1 none: no party supports it any more" in run("why", "acme").line("mrr")
    assert run("why", "acme", "--json").json["to_write"]["mrr"] is None


def test_why_as_data_tells_what_vitally_has_since_when_and_what_is_to_be_written(
    run, desk, environ, tmp_path
):
    file = tmp_path / "bridge.toml"
    file.write_text('[traits]\nmrr = "billing.mrr"\nplanName = false\n')
    environ["BRIDGE_CONFIG"] = str(file)
    desk.set(config=read(str(file)))
    desk.tell(customer(), subscription(unit=100))
    desk.work()
    (last,) = desk.look.record("acme", [PARTY]).history
    desk.tell(subscription(at=5, unit=200))

    data = run("why", "acme", "--json").json
    mrr = data["traits"]["mrr"]
    (cause,) = mrr.pop("because")

    told = {"key": "billing.mrr", "wanted": 2, "vitally": 1, "seen_by": "write"}
    assert told | {"seen_at": instant(last["at"])} == mrr
    assert ("sub_1", "200") == (cause["subscription"], cause["monthly"])
    assert (1, {"billing.mrr": 2}) == (data["written"]["billing.mrr"], data["to_write"])
    assert 1 == data["parties"][0]["rev"] - data["parties"][0]["settled"]
    assert "planName" not in data["traits"]
    said = run("why", "acme")
    assert "planName (switched off) Pro" == said.line("planName (")
    assert "mrr as billing.mrr 1 2 20" in said.line("mrr as")

    file.write_text('[traits]\nmrr = "revenue"\nplanName = false\n')
    renamed = run("why", "acme")
    assert "mrr as revenue (not written) 2" == renamed.line("mrr as")
    stays = "billing.mrr 1 nothing, so Vitally's value stays"
    assert stays == renamed.line("billing.mrr")


def test_why_and_status_say_what_a_failed_write_waits_for(run, desk):
    desk.redis.zadd(keys.WORKERS, {"one": 2**50})
    desk.tell(customer())
    desk.fault("status", "PUT", status=503, body={"error": "down"})
    desk.work()

    said = run("why", "acme")
    at = run("why", "acme", "--json").json["next_try"]

    assert f"1 try so far; 503: down; next try {moment(at)} UTC" in said.out
    shown = run("status")
    assert "writes not before Vitally answers" == shown.line("writes")
    assert "once Vitally answers" in shown.line("to be written")


def test_why_of_an_account_with_an_odd_name(run, desk):
    desk.tell(customer(account="a b/ü%"), subscription())
    desk.work()

    assert "account a b/ü%: Acme" in run("why", "a b/ü%").out


def test_why_of_a_held_party_says_what_to_do(run, desk):
    desk.tell(customer(account=None))
    assert "held" not in run("why", PARTY).out
    desk.work()

    assert "link stripe:cus_1 ACCOUNT" in run("why", PARTY).out
    data = run("why", PARTY, "--json").json
    assert (None, 1) == (data["account"], data["parties"][0]["held"])
    assert ["customer"] == [fact["thing"] for fact in data["facts"]]


@pytest.mark.parametrize("named", ["acme", PARTY])
def test_why_says_how_an_account_stands_that_cannot_be_worked_out(run, desk, named):
    desk.tell(customer(), subscription())
    desk.work()
    desk.redis.hset(keys.facts(PARTY), "subscription:x\te", b"[0, 1]")

    said = run("why", named).out
    assert "because of an error in the bridge: ValueError" in said
    assert "party stripe:cus_1: 2 of 2 events settled" in said
    assert "created name='Acme' mrr=450" in said
    data = run("why", named, "--json").json
    assert ("acme", [PARTY]) == (data["account"], [p["party"] for p in data["parties"]])


# doctor


def test_doctor_finds_nothing_wrong_where_nothing_is(run, desk):
    desk.tell(customer(), subscription())
    desk.work()
    desk.redis.zadd(keys.WORKERS, {"one": 2**50})

    said = run("doctor").out

    assert "the counting is right: 2 events accepted" in said
    assert "every customer was seen from its creation" in said
    assert "BAD" not in said


def test_doctor_names_what_is_wrong(run, desk):
    desk.tell(subscription("cus_late", account="late"), customer("cus_2", account=None))
    desk.work()
    desk.breaker.open("Vitally refuses the key (401): no")
    desk.vitally.rotate("another_example")
    desk.redis.hincrby(keys.COUNTERS, "settled", 3)

    said = run("doctor", status=1)

    for words in (
        "No worker has been heard from for 15 s.",
        "All writes have stopped: Vitally refuses the key",
        "Invalid API key. (401)",
        "incomplete histories: stripe:cus_late",
        "the counting is off: settled: counted 4, found 1",
        "Parties held, their account not known: 1. See the reasons",
    ):
        assert words in said.out
    findings = run("doctor", "--json", status=1).json
    grades = [finding["grade"] for finding in findings]
    assert sorted(grades, key=["BAD", "warn", "note", "ok"].index) == grades
    assert grades == [line.split()[0] for line in said.out.splitlines()]


def test_doctor_says_where_to_look_if_vitally_does_not_answer(run, desk):
    desk.vitally.stop()

    said = run("doctor", status=1).line("BAD Vitally at")

    assert "(no answer); look at Vitally's status page, the address and" in said


def test_doctor_says_of_redis_what_readiness_says(run, desk):
    desk.redis.config_set("maxmemory-policy", "allkeys-lru")
    try:
        said = run("doctor", status=1)
    finally:
        desk.redis.config_set("maxmemory-policy", "noeviction")

    evicts = "BAD Redis may evict keys (maxmemory-policy is allkeys-lru); it must be"
    assert said.line("BAD Redis").startswith(evicts)


DIES = "if Redis' machine dies: "
LAST = f"{DIES}the last seconds of Stripe "


@pytest.mark.parametrize(
    ("own", "config", "words"),
    [
        ({}, {}, f"note {LAST}may be lost; set STRIPE_API_KEY or BRIDGE_DURABILITY=fs"),
        (
            {"STRIPE_API_KEY": KEY},
            {},
            f"ok {LAST}come again from its own list (STRIPE_",
        ),
        ({}, {"appendonly": "no"}, f"note {DIES}all events since a snapshot of Stripe"),
        (
            {"BRIDGE_DURABILITY": "fsync"},
            {},
            f"ok {LAST}stay, as a 2xx waits for the d",
        ),
        (
            {"BRIDGE_DURABILITY": "fsync"},
            {"appendfsync": "no"},
            f"note {LAST}may be lost; set STRIPE_API_KEY or",
        ),
        (
            {"BRIDGE_DURABILITY": "fsync"},
            {"appendfsync": "no"},
            "BAD BRIDGE_DURABILITY is fsync, and Redis cannot",
        ),
        (
            {"BRIDGE_ALLOW_EVICTION": "true"},
            {"maxmemory-policy": "allkeys-lru"},
            "warn Redis may evict keys (allkeys-lru): what it evicts, nothing finds",
        ),
    ],
)
def test_doctor_says_of_each_source_what_protects_it(environ, own, config, words):
    with RedisServer() as server, LocalStripe() as stripe:
        server.config(**config)
        places = {"REDIS_URL": server.url, "STRIPE_API_BASE": stripe.url}
        own = {"STRIPE_MODE": "test", **places, **own}
        said = called("doctor", environ=environ | own, status=1)

    assert said.line(" ".join(words.split()[:3])).startswith(words)


def test_doctor_asks_the_sources_about_their_keys(run, desk):
    desk.redis.zadd(keys.WORKERS, {"one": 2**50})
    desk.redis.hset(keys.KEYS_REFUSED, "stripe", "as a worker was told before")
    with LocalStripe() as stripe:
        own = {"STRIPE_API_KEY": KEY, "STRIPE_API_BASE": stripe.url}
        well = run("doctor", STRIPE_MODE="test", **own)
        stripe.forbidden.add("prices")
        lacks = run("doctor", status=1, STRIPE_MODE="test", **own)
        other = run("doctor", status=1, STRIPE_MODE="live", **own)

    assert "ok Stripe takes STRIPE_API_KEY" == well.line("ok Stripe")
    assert "as a worker" not in well.out
    assert "as a worker was told before" in run("status").out
    said = "BAD STRIPE_API_KEY may not read prices (403): it lacks the permission rak_p"
    assert lacks.line("BAD STRIPE").startswith(said)
    mixed = other.line("BAD Stripe's modes")
    assert "STRIPE_API_KEY is a test key" in mixed


def test_doctor_counts_right_after_moves_and_removals(run, desk):
    desk.tell(customer(), subscription())
    desk.work()
    desk.tell(customer(at=5, kind="updated", account="other"))
    for _ in range(3):
        desk.work()
        desk.passes(6000)
    desk.redis.zadd(keys.WORKERS, {"one": 2**50})

    assert "the counting is right: 3 events accepted" in run("doctor").out


# every command

ODD = "x\nforged\x1b[2J\x9b\u202e\x7f"
"""A line of its own, escapes of a terminal, and a change of direction."""


def test_no_sender_can_steer_a_terminal_or_forge_a_line(run, desk):
    desk.tell(
        customer(called=ODD, event=ODD, vitally_id=ODD),
        subscription(sub=ODD, event=ODD),
    )
    desk.work()
    desk.tell(customer(ODD, account=None, called=ODD))
    desk.work()
    body = f"{ODD}".encode().replace(b"\n", b"\r") + b"\xff"
    Quarantine(desk.redis).put(Kept("odd", 0, "stripe", ODD, ODD, body))
    for words, status in (
        (("held",), 0),
        (("held", "--json"), 0),
        (("why", "acme"), 0),
        (("why", "acme", "--json"), 0),
        (("why", f"stripe:{ODD}"), 0),
        (("quarantine", "list"), 0),
        (("quarantine", "list", "--json"), 0),
        (("quarantine", "show", "odd"), 0),
        (("doctor",), 1),
        (("status",), 0),
        (("quarantine", "replay", "--all"), 1),
        (("discard", f"stripe:{ODD}"), 2),
        (("discard", f"stripe:{ODD}", "--yes"), 0),
    ):
        for shown in "".join(run(*words, status=status)).split("\n"):
            assert shown.isprintable()
            assert not shown.startswith("forged")


def test_a_redis_that_is_away_is_told_in_words(run):
    away = f"redis://:hidden_example@127.0.0.1:{free_port()}/0"
    said = run("status", REDIS_URL=away, status=1)

    assert "Redis does not answer" in said.err
    assert "hidden_example" not in said.err


def test_settings_that_are_wrong_are_told_all_at_once(run):
    said = run("status", REDIS_URL="http://x", WORKER_PROCESSES="0", status=78)

    assert 2 == said.err.count("vitally-bridge: ")


def test_a_redis_that_takes_nothing_is_told_in_words(run, desk):
    desk.redis.config_set("maxmemory", 1)
    try:
        said = run("pause", status=1)
    finally:
        desk.redis.config_set("maxmemory", 0)

    words = "vitally-bridge: Redis did not do it (OutOfMemoryError); is it full"
    assert said.err.startswith(words)


def test_a_mistake_is_a_sentence_and_no_traceback(environ):
    """As a process."""
    ended = subprocess.run(
        [sys.executable, "-m", "bridge", "why", "nobody"],
        env=environment(environ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert 1 == ended.returncode
    assert ended.stderr.startswith("vitally-bridge: nobody: no such account or party")
    assert "Traceback" not in ended.stderr
