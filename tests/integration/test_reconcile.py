"""What Vitally really has: readings, drift, plans, and what is written by them."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest

from bridge.config import Config
from bridge.desired import ORGANIZATION
from bridge.domain.document import TRAITS
from bridge.reconcile import Reconciler
from bridge.store import keys
from bridge.store.inspect import figures
from bridge.store.shadow import Seen, Shadow
from tests.support.command import Run
from tests.support.desk import Bench, customer, subscription
from tests.support.processes import Running
from tests.support.waiting import eventually


def as_json(run: Run, *words: str) -> Any:
    return run(*words, "--json").json


def by_hand(desk: Bench, **traits: Any) -> None:
    """Change an account in Vitally, as a person would."""
    desk.client.update("acme", {"traits": traits})


def test_nothing_has_drifted_after_a_write(acme: Bench, run: Run) -> None:
    found = as_json(run, "reconcile")

    assert {"read": 1, "drift": [], "missing": [], "unknown": []} == found
    assert [] == as_json(run, "plan")["accounts"]


def test_an_edit_by_hand_is_found_planned_and_mended(acme: Bench, run: Run) -> None:
    right = acme.traits()["mrr"]
    by_hand(acme, mrr=900, planName=None)

    assert [
        {"account": "acme", "trait": "mrr", "wanted": right, "vitally": 900},
        {"account": "acme", "trait": "planName", "wanted": "Pro", "vitally": None},
    ] == as_json(run, "reconcile")["drift"]
    assert {"mrr": [900, right], "planName": [None, "Pro"]} == as_json(
        run, "plan", "acme"
    )["accounts"][0]["changes"]

    run("reconcile", "--fix")
    acme.passes(100)
    acme.work()

    assert {"mrr": right, "planName": "Pro"}.items() <= acme.traits().items()
    assert [] == as_json(run, "reconcile")["drift"]


def test_the_next_event_mends_what_a_reading_has_shown(acme: Bench, run: Run) -> None:
    right = acme.traits()["mrr"]
    by_hand(acme, mrr=900)
    run("reconcile")
    acme.tell(customer(at=9, kind="updated"))
    acme.work()

    assert right == acme.traits()["mrr"]


def test_a_trait_that_is_left_to_people_stays(acme: Bench, run: Run) -> None:
    by_hand(acme, planName="Special")
    acme.set(config=Config(by_hand=frozenset({"planName"})))
    run("reconcile")
    acme.tell(subscription(at=9, unit=7700))
    acme.work()

    assert {"mrr": 77, "planName": "Special"}.items() <= acme.traits().items()


def test_a_deleted_account_is_found_and_made_again(acme: Bench, run: Run) -> None:
    before = acme.traits()
    acme.client.delete("acme")
    sent = len(acme.writes())

    assert ["acme"] == as_json(run, "reconcile", "--fix")["missing"]
    acme.passes(100)
    acme.work()

    assert before == acme.traits()
    assert [("POST", 200)] == acme.writes()[sent:]


def test_no_reading_is_believed_to_have_shown_a_key_that_is_new(
    acme: Bench, run: Run
) -> None:
    run("reconcile")
    by_hand(acme, until="2027-01-01T00:00:00.000Z")
    acme.set(config=Config({**dict.fromkeys(TRAITS), "cancelAt": "until"}))
    acme.tell(customer(at=9, kind="updated"))
    acme.work()

    assert "until" not in acme.traits()


def test_the_organization_is_no_trait_that_a_reading_misses(acme: Bench) -> None:
    config = Config({**dict.fromkeys(TRAITS), ORGANIZATION: ORGANIZATION})
    shown = {"traits": {ORGANIZATION: "org"}}
    acme.redis.hset(keys.account("acme"), "ledger", orjson.dumps(shown))
    Reconciler(acme.redis, acme.client, config, int).look("acme")

    assert 0 == acme.check().drift


def test_what_nobody_here_knows_is_listed(desk: Bench, run: Run) -> None:
    desk.client.create({"externalId": "stranger", "name": "S"})

    assert ["stranger"] == as_json(run, "reconcile")["unknown"]

    run("why", "nobody", "--live", status=1)
    desk.client.delete("stranger")
    desk.redis.decrby(keys.LISTED, 1)

    assert [] == as_json(run, "reconcile")["unknown"]


def test_what_vitally_has_right_before_the_first_event_is_not_written(
    acme: Bench, run: Run
) -> None:
    traits = {key: value for key, value in acme.traits().items() if value is not None}
    for key in acme.redis.keys("vb1:*"):
        acme.redis.delete(key)
    by_hand(acme, **traits)
    run("reconcile")
    sent = len(acme.writes())
    acme.tell(customer(), subscription())
    acme.work()

    assert [] == acme.writes()[sent:]
    assert 2 == acme.check().settled
    # From then on it is as if the bridge had written it, and for good.
    assert -1 == acme.redis.ttl(keys.account("acme"))
    by_hand(acme, mrr=900)
    assert ["mrr"] == [one["trait"] for one in as_json(run, "reconcile")["drift"]]
    assert 1 == acme.check().drift


def test_what_a_reading_did_not_show_is_made_by_one_request(
    desk: Bench, run: Run
) -> None:
    run("reconcile")
    desk.tell(customer(), subscription())
    desk.work()

    assert [("POST", 200)] == desk.writes()


def test_long_after_a_reading_one_look_saves_an_update(desk: Bench, run: Run) -> None:
    run("reconcile")
    desk.redis.decrby(keys.LISTED, 11 * 60_000)
    desk.client.create({"externalId": "two", "name": "Made meanwhile"})
    sent = len(desk.writes())
    desk.tell(customer(), customer("cus_2", account="two"), subscription("cus_2"))
    desk.work()

    assert [("POST", 200), ("PUT", 200)] == desk.writes()[sent:]


@pytest.fixture
def many(desk: Bench) -> Bench:
    """Vitally has 250 accounts."""
    desk.vitally.turn(rate_limit=1_000_000)
    for n in range(250):
        desk.vitally.add({"externalId": f"a{n}", "name": "A"})
    return desk


def test_an_interrupted_reading_goes_on(many: Bench, run: Run) -> None:
    config = Config()
    assert 100 == next(Reconciler(many.redis, many.client, config, int).read())
    many.client.create({"externalId": "new", "name": "Came meanwhile"})
    requests = len(many.vitally.log())

    assert 250 == as_json(run, "reconcile")["read"]
    assert 2 == len(many.vitally.log(requests))


def test_a_reading_during_which_redis_was_restarted_begins_again(many: Bench) -> None:
    reading = Reconciler(many.redis, many.client, Config(), int).read()
    assert 100 == next(reading)
    many.redis.hset(keys.RUN, "id", "another")
    many.take(customer())
    many.leases.begin("stripe:cus_1")

    assert [100, 200, 250] == [*reading]


def test_a_reading_waits_where_vitally_says_so_and_misses_nothing(
    many: Bench, run: Run
) -> None:
    headers = {"Retry-After": "1", "RateLimit-Remaining": "1000000"}
    many.fault("status", "GET", status=429, headers=headers, times=2)
    many.vitally.turn(empty_pages="on")

    assert 250 == len({*as_json(run, "reconcile")["unknown"]})


def test_a_reading_that_is_stopped_goes_on(
    many: Bench, environ: dict[str, str], run: Run, tmp_path: Path
) -> None:
    many.fault("delay", "GET", seconds=60, match={"method": "GET", "nth": 2})
    words = [sys.executable, "-m", "bridge", "reconcile"]
    requests = len(many.vitally.log())
    with Running(words, environ=environ, folder=tmp_path) as running:
        eventually(lambda: len(many.vitally.log(requests)) == 2)
        running.signal(signal.SIGINT)
        assert 130 == running.wait()
    assert "stopped after 100 accounts" in running.output

    assert 250 == as_json(run, "reconcile")["read"]
    assert 4 == len(many.vitally.log(requests))


def test_a_reading_that_was_interrupted_at_its_end_looks_for_the_rest_only(
    desk: Bench,
) -> None:
    for n in range(3):
        desk.does(customer(f"cus_{n}", account=f"a{n}"))
    desk.passes(60_000)
    for n in range(3):
        desk.client.delete(f"a{n}")
    begun = Reconciler(desk.redis, desk.client, Config(), int).read()
    assert [0, 0] == [next(begun), next(begun)]
    requests = len(desk.vitally.log())

    assert [0, 0] == [*Reconciler(desk.redis, desk.client, Config(), int).read()]
    assert 2 == len(desk.vitally.log(requests))
    assert 3 == desk.check().drift


def test_what_is_written_while_vitally_is_read_is_not_looked_for(many: Bench) -> None:
    reading = Reconciler(many.redis, many.client, Config(), int).read()
    assert 100 == next(reading)
    many.rests(customer(account="new"))
    many.does(customer("cus_2", account="newer"))
    requests = len(many.vitally.log())

    assert 250 == [*reading][-1]
    # Two pages, and one look for the account that was written long before, it seems.
    assert 3 == len(many.vitally.log(requests))
    assert 0 == many.check().drift


def test_a_cursor_that_vitally_refuses_is_not_tried_again(
    many: Bench, run: Run
) -> None:
    many.redis.hset(keys.LISTING, mapping={"began": 1, "cursor": "old", "read": 9})
    run("reconcile", status=1)

    assert 250 == as_json(run, "reconcile")["read"]


def test_a_list_that_leads_back_to_itself_is_not_read_for_ever(
    many: Bench, run: Run
) -> None:
    page = [{"externalId": "a"}]
    body = {"results": page, "next": "again"}
    many.fault("status", "GET", status=200, body=body, times=None)

    assert "leads back to itself" in run("reconcile", status=1).err
    assert 0 == many.redis.exists(keys.LISTING)


def test_what_has_no_external_id_or_is_listed_twice_does_no_harm(
    acme: Bench, run: Run
) -> None:
    acme.client.create({"externalId": "none", "name": "Made in Vitally"})
    acme.client.create({"externalId": "twice", "name": "Listed twice"})
    acme.vitally.by_external_id["none"]["externalId"] = None
    acme.vitally.by_external_id["twice"]["externalId"] = "acme"
    acme.vitally.by_external_id["twice"]["traits"] = acme.traits()

    found = as_json(run, "reconcile")

    assert {"read": 3, "drift": [], "missing": [], "unknown": []} == found


def test_drift_is_counted_until_it_is_mended(acme: Bench, run: Run) -> None:
    acme.tell(customer("cus_2", account="gone"), subscription("cus_2"))
    acme.rests()
    assert None is figures(acme.redis).listed_at
    by_hand(acme, mrr=900, theirs="kept")
    acme.client.delete("gone")
    run("reconcile")

    assert 2 == acme.check().drift
    assert "2; Vitally was read 0 s ago" in run("status").line("accounts others")
    assert (
        "others have changed or deleted in Vitally: 2." in run("doctor", status=1).out
    )

    run("reconcile", "--fix")
    acme.passes(100)
    assert ["created", "updated"] == sorted(acme.work())
    assert 0 == acme.check().drift
    assert "kept" == acme.traits()["theirs"]


def test_what_is_left_to_people_is_no_drift(
    acme: Bench, run: Run, environ: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "bridge.toml"
    lines = 'keep_hand_edits = ["planName"]\n[traits]\ncancelAt = false\n'
    file.write_text(f"[vitally]\n{lines}")
    environ["BRIDGE_CONFIG"] = str(file)
    by_hand(acme, planName="Special", cancelAt="2027-01-01T00:00:00.000Z")

    assert [] == as_json(run, "reconcile")["drift"]
    assert 0 == figures(acme.redis).drift
    assert {} == as_json(run, "why", "acme")["to_write"]
    said = " ".join(run("why", "acme").out.split())
    assert "planName Special Pro, but it is left" in said


def test_a_reading_of_another_workspace_changes_nothing(desk: Bench, run: Run) -> None:
    for n in range(21):
        desk.tell(customer(f"cus_{n}", account=f"a{n}"))
    desk.work()
    desk.passes(60_000)
    desk.vitally.reset()

    assert "same workspace" in run("reconcile", status=1).err
    assert [] == as_json(run, "plan")["accounts"]


def test_what_was_written_since_a_reading_began_is_not_taken_from_it(
    acme: Bench,
) -> None:
    wrote_at = int(acme.redis.hget(keys.account("acme"), "wrote_at"))
    shadow = Shadow(acme.redis)
    ((ledger, _),) = shadow.ledgers(["acme"])
    seen = [Seen("acme", ledger, {"mrr": 1})]

    assert [0, 1] == [shadow.note(wrote_at + late, seen) for late in (0, 1)]


def test_nothing_is_taken_from_a_reading_while_an_account_is_written(
    acme: Bench,
) -> None:
    view = acme.leases.begin("stripe:cus_1")
    assert view is not None
    acme.leases.mark_unconfirmed(view.lease, 2, ["mrr"])
    shadow = Shadow(acme.redis)
    ((ledger, _),) = shadow.ledgers(["acme"])

    assert 0 == shadow.note(shadow.now(), [Seen("acme", ledger, {"mrr": 1})])


def test_nothing_is_taken_from_a_reading_that_a_write_overtook(acme: Bench) -> None:
    began: list[int] = []
    shadow, real = Shadow(acme.redis), acme.client.update

    def update(*args: Any) -> Any:
        began.append(shadow.now())  # the job began before that, and ends after it
        return real(*args)

    acme.client.update = update  # type: ignore[method-assign]
    acme.does(subscription(at=1, unit=90000))
    ((ledger, _),) = shadow.ledgers(["acme"])

    assert 0 == shadow.note(began[0], [Seen("acme", ledger, {"mrr": 450})])


def read_during_the_next_job(acme: Bench) -> None:
    """Have all accounts in Vitally read once the next job has begun."""
    real = acme.leases.begin

    def begin(party: str) -> Any:
        view = real(party)
        acme.leases.begin = real  # type: ignore[method-assign]
        [*Reconciler(acme.redis, acme.client, Config(), lambda: None).read()]
        return view

    acme.leases.begin = begin  # type: ignore[method-assign]


def test_what_is_read_during_a_job_without_a_write_is_left_to_the_next(
    acme: Bench,
) -> None:
    by_hand(acme, mrr=900)
    acme.tell(customer(at=1))
    read_during_the_next_job(acme)

    assert ["unchanged"] == acme.work()
    acme.passes(1000)
    assert ["updated"] == acme.work()
    assert 450 == acme.traits()["mrr"]


def test_what_is_read_during_a_job_that_writes_something_else_is_mended(
    acme: Bench,
) -> None:
    by_hand(acme, mrr=900)
    acme.tell(subscription(at=1, status="past_due"))
    read_during_the_next_job(acme)
    acme.work()
    assert 900 == acme.traits()["mrr"]
    acme.passes(60_000)
    acme.work()

    assert 450 == acme.traits()["mrr"]
    assert 0 == acme.check().drift


def test_a_dry_run_is_said_first(
    desk: Bench, run: Run, environ: dict[str, str]
) -> None:
    desk.set(bridge_dry_run=True)
    desk.leases.begin_dry_run()
    desk.tell(customer(), subscription())
    desk.work()
    environ["BRIDGE_DRY_RUN"] = "true"

    assert run("status").out.startswith("DRY RUN: nothing is written to Vitally")
    assert "dry run" in run("status").line("pending")
    assert run("doctor", status=1).out.startswith("DRY RUN")
    assert 1 == len(as_json(run, "plan")["accounts"])


def test_why_says_what_vitally_was_seen_to_have(acme: Bench, run: Run) -> None:
    assert "write" == as_json(run, "why", "acme")["traits"]["mrr"]["seen_by"]
    by_hand(acme, mrr=900)
    assert 450 == as_json(run, "why", "acme")["traits"]["mrr"]["vitally"]

    live = as_json(run, "why", "acme", "--live")["traits"]["mrr"]

    assert (900, 450, "read") == (live["vitally"], live["wanted"], live["seen_by"])
    assert "mrr 900 450" in run("why", "stripe:cus_1").line("mrr")

    view = acme.leases.begin("stripe:cus_1")
    assert view is not None
    acme.leases.mark_unconfirmed(view.lease, 2, ["mrr"])

    assert "it is being written" in run("why", "acme", "--live").err


def test_why_names_no_command_that_a_dry_run_refuses(
    acme: Bench, run: Run, environ: dict[str, str]
) -> None:
    by_hand(acme, mrr=900)

    assert "to write what differs: " in run("why", "acme", "--live").out
    environ["BRIDGE_DRY_RUN"] = "true"
    assert "to write what differs" not in run("why", "acme").out


def test_what_was_never_in_vitally_was_not_deleted_there(desk: Bench, run: Run) -> None:
    desk.set(bridge_create="never")
    assert ["held"] == desk.does(customer(account="acme"))

    assert "it was deleted" not in run("why", "acme", "--live").out
    assert as_json(run, "why", "acme")["missing"] is False


def test_why_says_that_an_account_was_deleted(acme: Bench, run: Run) -> None:
    acme.client.delete("acme")

    said = run("why", "acme", "--live").out
    assert "it was deleted there" in said
    assert "others changed it" not in said
    assert None is as_json(run, "why", "acme")["traits"]["mrr"]["vitally"]
