"""The commands of the one on call, against real state."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from bridge.config import read
from bridge.domain.traits import instant
from bridge.errors import BridgeError, ConfigError, StorageError
from bridge.ingest import Ingress
from bridge.sources import discover
from bridge.store import keys
from bridge.store.quarantine import Kept, Quarantine
from bridge.webhook.source import Delivery, Verified
from tests.support.command import Command, line
from tests.support.desk import Bench, customer, settings, subscription
from tests.support.processes import ROOT, environment, free_port

EVENT = {
    "id": "evt_q",
    "object": "event",
    "type": "customer.created",
    "created": 1_767_225_600,
    "livemode": True,
    "data": {"object": {"id": "cus_q", "name": "Queued", "metadata": {}}},
}


def as_json(result: Result) -> Any:
    return json.loads(result.output)


def test_status_of_nothing_at_all(run: Command) -> None:
    result = run("status")

    assert "received 0 = accepted" in line(result, "received")
    assert "none heard for 15 s" in line(result, "workers")
    assert "none" in line(result, "oldest unsettled")


def test_status_counts_as_the_state_does(run: Command, desk: Bench) -> None:
    desk.tell(customer(), subscription())
    desk.work()
    desk.tell(customer("cus_2", account=None))
    desk.work()
    desk.tell(customer("cus_3", account="three"))
    desk.breaker.open("Vitally refuses the key (401): no")

    data = as_json(run("status", "--json"))
    result = run("status")

    assert [4, 4, 2, 1, 1, 0] == [
        data[word]
        for word in ("received", "accepted", "settled", "pending", "held", "parked")
    ]
    assert "settled 2" in line(result, "settled")
    assert "STOPPED: Vitally refuses the key" in line(result, "writes")


def test_why_tells_the_traits_the_facts_and_their_events(
    run: Command, desk: Bench
) -> None:
    fact = subscription(unit=12300)
    desk.tell(customer(), fact)
    desk.work()

    result = run("why", "acme")

    assert "account acme: Acme" in result.output
    assert fact.event in result.output
    assert "mrr 123 123" in line(result, "mrr")
    assert "2 of 2 events settled" in line(result, "party stripe:cus_1")
    assert result.output == run("why", "stripe:cus_1").output


def test_why_as_data_says_what_is_still_to_be_written(
    run: Command, desk: Bench
) -> None:
    desk.tell(customer(), subscription(unit=100))
    desk.work()
    desk.tell(subscription(at=5, unit=200))

    data = as_json(run("why", "acme", "--json"))

    assert (1, {"mrr": 2}) == (data["written"]["mrr"], data["to_write"])
    assert 1 == data["parties"][0]["rev"] - data["parties"][0]["settled"]


def test_why_says_what_nobody_tells_any_more(run: Command, desk: Bench) -> None:
    desk.tell(customer(), subscription(unit=100))
    desk.tell(customer("cus_2"))
    desk.work()
    desk.tell(customer(at=5, kind="updated", account="other"))
    first = desk.pop()
    assert first is not None
    desk.leases.move("stripe:cus_1", "other")

    assert "mrr 1 none: nobody tells it any more" in line(run("why", "acme"), "mrr")
    assert as_json(run("why", "acme", "--json"))["to_write"]["mrr"] is None


def test_why_as_data_tells_when_vitally_had_what(
    run: Command, desk: Bench, environ: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "bridge.toml"
    file.write_text('[traits]\nmrr = "billing.mrr"\nplanName = false\n')
    environ["BRIDGE_CONFIG"] = str(file)
    desk.set(config=read(str(file)))
    desk.tell(customer(), subscription(unit=100))
    desk.work()
    (last,) = desk.look.record("acme", ["stripe:cus_1"]).history
    desk.tell(subscription(at=5, unit=200))

    data = as_json(run("why", "acme", "--json"))
    mrr = data["traits"]["mrr"]
    (cause,) = mrr.pop("because")

    told = {"key": "billing.mrr", "wanted": 2, "vitally": 1, "seen_by": "write"}
    assert told | {"seen_at": instant(last["at"])} == mrr
    assert ("sub_1", "200") == (cause["subscription"], cause["monthly"])
    assert {"billing.mrr": 2} == data["to_write"]
    assert "planName" not in data["traits"]
    result = run("why", "acme")
    assert "planName (switched off) Pro" in line(result, "planName")
    assert "mrr as billing.mrr 1 2 20" in line(result, "mrr as")


def test_why_of_an_account_nobody_knows_is_an_error_in_words(run: Command) -> None:
    result = run("why", "nobody", fails=BridgeError)

    assert "no such account or party" in str(result.exception)


def test_why_of_an_account_with_an_odd_name(run: Command, desk: Bench) -> None:
    desk.tell(customer(account="a b/ü%"), subscription())
    desk.work()

    assert "account a b/ü%: Acme" in run("why", "a b/ü%").output


def test_why_of_a_held_party_says_what_to_do(run: Command, desk: Bench) -> None:
    desk.tell(customer(account=None))
    desk.work()

    assert "link stripe:cus_1 ACCOUNT" in run("why", "stripe:cus_1").output
    data = as_json(run("why", "stripe:cus_1", "--json"))
    assert (None, 1) == (data["account"], data["parties"][0]["held"])
    assert ["customer"] == [fact["thing"] for fact in data["facts"]]


def test_why_of_a_party_whose_job_has_not_run(run: Command, desk: Bench) -> None:
    desk.tell(customer())

    result = run("why", "stripe:cus_1")

    assert "held" not in result.output


def test_nothing_is_held_and_nothing_is_parked(run: Command) -> None:
    assert ["nothing is held\n", "nothing is parked\n"] == [
        run("held").output,
        run("parked").output,
    ]
    assert [] == as_json(run("held", "--json"))


def test_held_and_parked_are_listed_with_the_reason(run: Command, desk: Bench) -> None:
    desk.tell(customer(account=None))
    desk.work()
    desk.fault("status", "PUT", status=400, body={"error": "mrr must be an integer"})
    desk.tell(customer("cus_2", account="two"))
    desk.work()

    assert "neither the customer nor" in line(run("held"), "stripe:cus_1")
    assert "mrr must be an integer" in line(run("parked"), "stripe:cus_2")
    assert ["stripe:cus_1"] == [row["party"] for row in as_json(run("held", "--json"))]


@pytest.mark.parametrize("named", ["acme", "stripe:cus_1"])
def test_why_says_how_an_account_stands_that_cannot_be_worked_out(
    run: Command, desk: Bench, named: str
) -> None:
    desk.tell(customer(), subscription())
    desk.work()
    desk.redis.hset(keys.facts("stripe:cus_1"), "subscription:x\te", b"[0, 1]")

    assert "by a fault of the bridge: ValueError" in run("why", named).output
    assert "party stripe:cus_1: 2 of 2 events settled" in run("why", named).output
    data = as_json(run("why", named, "--json"))
    assert ["stripe:cus_1"] == [one["party"] for one in data["parties"]]


def test_a_link_moves_a_party_and_its_removal_moves_it_back(
    run: Command, desk: Bench
) -> None:
    desk.tell(customer(account=None), subscription(unit=100))
    desk.work()

    assert "goes to acme" in run("link", "stripe:cus_1", "acme").output
    desk.work()
    assert 1 == desk.traits()["mrr"]

    assert "where its source says" in run("link", "stripe:cus_1", "--remove").output
    for _ in range(3):
        desk.work()
        desk.passes(6000)
    assert ({}, 4) == (desk.traits(), desk.standing().held + desk.standing().settled)


def test_a_link_of_a_party_nobody_named_has_to_be_meant(
    run: Command, desk: Bench
) -> None:
    result = run("link", "stripe:cus_9", "acme", fails=BridgeError)
    assert "no event has named this party" in str(result.exception)

    run("link", "stripe:cus_9", "acme", "--unseen")
    assert ["unchanged"] == desk.work()
    desk.tell(customer("cus_9", account="elsewhere"))
    desk.work()
    assert ["acme"] == [one["externalId"] for one in desk.vitally.accounts()]


@pytest.mark.parametrize("words", [["stripe:cus_1"], ["stripe:cus_1", "a", "--remove"]])
def test_a_link_is_to_an_account_or_removed(run: Command, words: list[str]) -> None:
    assert 2 == run("link", *words, fails=SystemExit).exit_code


def test_the_quarantine_is_listed_shown_replayed_and_dropped(
    run: Command, desk: Bench
) -> None:
    shelf = Quarantine(desk.redis)
    body = json.dumps(EVENT).encode()
    old = "an old version did not read it"
    shelf.put(Kept("good", 0, "stripe", "evt_q", old, body))
    shelf.put(Kept("bad", 0, "stripe", "", "no JSON", b"no json"))
    shelf.put(Kept("foreign", 0, "elsewhere", "", "no", b"{}"))

    assert "an old version" in line(run("quarantine", "list"), "good")
    rows = as_json(run("quarantine", "list", "--json"))
    assert {"good", "bad", "foreign"} == {row["id"] for row in rows}
    assert body.decode() == run("quarantine", "show", "good").output
    result = run("quarantine", "replay", "--all", fails=BridgeError)
    assert "good queued" in line(result, "good")
    assert "bad quarantined" in line(result, "bad")
    assert "is off" in line(result, "foreign")
    assert {"bad", "foreign"} <= {one.id for one in shelf.all()}
    assert shelf.get("good") is None
    assert ["created"] == desk.work()
    run("quarantine", "drop", "bad")
    assert shelf.get("bad") is None
    run("quarantine", "drop", "bad", fails=BridgeError)


def test_a_replay_that_is_refused_again_stays_one_entry(
    run: Command, desk: Bench, environ: dict[str, str]
) -> None:
    said = settings(desk.vitally.url, environ["REDIS_URL"])
    ingress = Ingress(said, desk.redis, discover().values())
    delivery = Delivery("POST", "/webhooks/stripe", {}, b"no json")
    ingress.take_in(ingress.sources["stripe"], Verified(delivery))
    for _ in range(3):
        run("quarantine", "replay", "--all", fails=BridgeError)

    assert 1 == len(list(Quarantine(desk.redis).all()))
    assert (1, 1) == (desk.check().received, desk.check().quarantined)
    assert "1 event in 1 delivery" in run("status").output
    assert "1 event in 1 delivery" in run("doctor", fails=BridgeError).output


ODD = "x\nforged\x1b[2J\x9b\u202e\x7f"
"""A line of its own, escapes of a terminal, and a change of direction."""


@pytest.mark.parametrize(
    "words",
    [
        ("held",),
        ("held", "--json"),
        ("why", "acme"),
        ("why", "acme", "--json"),
        ("why", f"stripe:{ODD}"),
        ("quarantine", "list"),
        ("quarantine", "list", "--json"),
        ("quarantine", "show", "odd"),
        ("doctor",),
        ("status",),
        ("discard", f"stripe:{ODD}", "--yes"),
        ("quarantine", "replay", "--all"),
    ],
)
def test_no_sender_can_steer_a_terminal_or_forge_a_line(
    run: Command, desk: Bench, words: list[str]
) -> None:
    named = {"called": ODD, "event": ODD, "vitally_id": ODD}
    desk.tell(customer(**named), subscription(sub=ODD, event=ODD))
    desk.work()
    desk.tell(customer(ODD, account=None, called=ODD))
    desk.work()
    body = f"{ODD}".encode().replace(b"\n", b"\r") + b"\xff"
    Quarantine(desk.redis).put(Kept("odd", 0, "stripe", ODD, ODD, body))
    fails = BridgeError if words[0] == "doctor" or "replay" in words else None

    output = run(*words, fails=fails).output

    for shown in output.split("\n"):
        assert shown.isprintable()
        assert not shown.startswith("forged")


def test_a_body_is_shown_as_it_came_only_where_that_is_asked_for(
    run: Command, desk: Bench
) -> None:
    Quarantine(desk.redis).put(Kept("odd", 0, "stripe", "", "no", b"a\n\x1b\xff\n"))

    assert "a\n\\u001b\\xff\n" == run("quarantine", "show", "odd").output
    assert b"a\n\x1b\xff\n" == run("quarantine", "show", "odd", "--raw").stdout_bytes


def test_doctor_finds_nothing_wrong_where_nothing_is(run: Command, desk: Bench) -> None:
    desk.tell(customer(), subscription())
    desk.work()
    desk.redis.zadd(keys.WORKERS, {"one": 2**50})

    result = run("doctor")

    assert "the counting is right: 2 events accepted" in result.output
    assert "every customer was seen from its creation" in result.output
    assert "BAD" not in result.output


def test_doctor_names_what_is_wrong(run: Command, desk: Bench) -> None:
    desk.tell(subscription("cus_late", account="late"), customer("cus_2", account=None))
    desk.work()
    desk.breaker.open("Vitally refuses the key (401): no")
    desk.vitally.rotate("another_example")
    desk.redis.hincrby(keys.COUNTERS, "settled", 3)

    result = run("doctor", fails=BridgeError)

    for words in (
        "no worker heard for 15 s",
        "all writes are stopped: Vitally refuses the key",
        "Invalid API key. (401)",
        "incomplete histories: stripe:cus_late",
        "the counting is off: settled: counted 4, found 1",
        "1 party is held: python -m bridge held",
    ):
        assert words in result.output
    findings = as_json(run("doctor", "--json", fails=BridgeError))
    grades = [finding["grade"] for finding in findings]
    assert sorted(grades, key=["BAD", "note", "ok"].index) == grades
    assert grades == [line.split()[0] for line in result.stdout.splitlines()]


def test_doctor_counts_right_after_moves_and_removals(
    run: Command, desk: Bench
) -> None:
    desk.tell(customer(), subscription())
    desk.work()
    desk.tell(customer(at=5, kind="updated", account="other"))
    for _ in range(3):
        desk.work()
        desk.passes(6000)
    desk.redis.zadd(keys.WORKERS, {"one": 2**50})

    assert "the counting is right: 3 events accepted" in run("doctor").output


def test_a_redis_that_is_away_is_told_in_words(
    run: Command, environ: dict[str, str]
) -> None:
    environ["REDIS_URL"] = f"redis://:hidden_example@127.0.0.1:{free_port()}/0"

    result = run("status", fails=StorageError)

    assert "Redis does not answer" in str(result.exception)
    assert "hidden_example" not in str(result.exception)


def test_settings_that_are_wrong_are_told_all_at_once(
    run: Command, environ: dict[str, str]
) -> None:
    environ |= {"REDIS_URL": "http://x", "WORKER_PROCESSES": "0"}

    result = run("status", fails=ConfigError)

    assert 2 == len(getattr(result.exception, "problems", ()))


def test_a_mistake_is_a_sentence_and_no_traceback(environ: dict[str, str]) -> None:
    command = [sys.executable, "-m", "bridge", "why", "nobody"]
    ended = subprocess.run(
        command,
        env=environment(environ),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert 1 == ended.returncode
    assert ended.stderr.startswith("vitally-bridge: nobody: no such account")
    assert "Traceback" not in ended.stderr
