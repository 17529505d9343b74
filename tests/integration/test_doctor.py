"""The traps that `doctor` finds: one at a time, all at once, and none that is not there."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import orjson
import pytest

from bridge import settings, traps
from bridge.cli import doctor as command
from bridge.config import read
from bridge.ingest import Ingress
from bridge.sources import discover
from bridge.sources.stripe.facts import needed_events
from bridge.store import keys
from bridge.traps import CANARY, TRAPS, Evidence, pasted
from bridge.webhook.source import Delivery, Verified
from tests.support.command import called
from tests.support.desk import Bench, customer, subscription
from tests.support.desk import settings as settings_of
from tests.support.local_stripe import KEY, LocalStripe, event, webhook_endpoint
from tests.support.local_stripe import customer as stripe_customer
from tests.support.vitally import Simulator

NAMES = [trap.name for trap in TRAPS]
TOKEN = "sk_test_example"
HEADER = base64.b64encode(f"{TOKEN}:".encode()).decode()
URL = "https://bridge.example.com/webhooks/stripe"

WELL = {"revenue_trait": "mrr", "revenue_default": "mrr", "clock_ahead": 0.0}
WELL |= {"currency_trait": "billingCurrency", "churn_rule": "date"}
SET: dict[str, dict[str, Any]] = {
    "revenue_not_mapped": {"vitally": {"revenue_trait": "plan_amount"}},
    "revenue_default": {"vitally": {"revenue_default": "arr_times_12"}},
    "no_currency_trait": {"vitally": {"currency_trait": ""}},
    "editable": {"edit": 500},
    "churn_rule": {"vitally": {"churn_rule": "is_none_of"}},
    "evicting_redis": {"redis": {"maxmemory-policy": "allkeys-lru"}},
    "no_append_only_file": {"redis": {"appendonly": "no"}},
    "wrong_address": {"env": {"VITALLY_REGION": "us"}},
    "wrong_key": {"env": {"VITALLY_API_KEY": HEADER}},
    "stripe_events": {"stripe": ["customer.updated"]},
    "modes_mixed": {"env": {"STRIPE_MODE": "live"}},
    "clocks_apart": {"vitally": {"clock_ahead": 90.0}},
}
"""Trap -> what is otherwise where somebody is caught in it."""

HIDING = {"wrong_address", "wrong_key", "revenue_not_mapped", "modes_mixed"}
"""Traps behind which others cannot be seen."""


class Case:
    """A workspace, a Stripe, a Redis and settings, with some of the traps."""

    def __init__(self, desk: Bench, stripe: LocalStripe, redis_url: str) -> None:
        self.desk, self.stripe = desk, stripe
        self.environ = {
            "REDIS_URL": redis_url,
            "VITALLY_REGION": "eu",
            "VITALLY_SUBDOMAIN": "acme",
            "VITALLY_API_KEY": TOKEN,
            "STRIPE_WEBHOOK_SECRET": "whsec_example_of_a_test",
            "STRIPE_API_KEY": KEY,
            "STRIPE_API_BASE": stripe.url,
            "STRIPE_MODE": "test",
        }
        self.set()

    def set(self, names: Iterable[str] = ()) -> None:
        """Have the traps of these *names*, and no other."""
        chosen = [SET[name] for name in names]
        merged: dict[str, dict[str, Any]] = {"vitally": {}, "redis": {}, "env": {}}
        for part, into in merged.items():
            for one in chosen:
                into.update(one.get(part, {}))
        self.desk.vitally.turn(**WELL | merged["vitally"])
        policy = {"maxmemory-policy": "noeviction", "appendonly": "yes"}
        for name, value in (policy | merged["redis"]).items():
            self.desk.redis.config_set(name, value)
        self.changed = self.environ | merged["env"]
        events = next((o["stripe"] for o in chosen if "stripe" in o), needed_events({}))
        self.stripe.put(webhook_endpoint("we_1", URL, events))
        if self.desk.vitally.account("acme"):
            edited = next((one["edit"] for one in chosen if "edit" in one), 450)
            assert self.desk.vitally.edit("acme", mrr=edited)

    def doctor(self, *words: str, **more: Any) -> list[dict[str, str]]:
        """What doctor says now."""
        environ = {**self.changed, **more}
        found: list[dict[str, str]] = called(
            "doctor", *words, "--json", environ=environ, status=None
        ).json
        return found

    def found(self, *words: str, **more: Any) -> set[str]:
        """The traps that doctor finds now."""
        alarms = [one for one in self.doctor(*words, **more) if "trap" in one]
        return {one["trap"] for one in alarms if one["grade"] in {"BAD", "warn"}}

    def grade(self, trap: str) -> str:
        """The grade of a *trap* now; "": nothing is said about it."""
        return next((o["grade"] for o in self.doctor() if o.get("trap") == trap), "")


@pytest.fixture
def empty(
    desk: Bench, redis_server: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Case]:
    """A new workspace, in the EU; in the US there is another one, of somebody else."""
    with ExitStack() as ending:
        stripe = ending.enter_context(LocalStripe())
        other = ending.enter_context(Simulator(("sk_test_another",)))
        for table in (settings.HOSTS, traps.ELSEWHERE):
            monkeypatch.setitem(table, "us", other.url)
            monkeypatch.setitem(table, "eu", desk.vitally.url)
        desk.redis.zadd(keys.WORKERS, {"one": 2**50})
        case = Case(desk, stripe, redis_server.url)
        ending.callback(case.set)
        yield case


@pytest.fixture
def case(empty: Case) -> Case:
    """The same, with accounts that the bridge wrote an hour ago."""
    desk = empty.desk
    desk.vitally.custom_fields = [{"path": "lifecycle_stage", "type": "string"}]
    desk.does(customer(), subscription())
    desk.does(
        customer("cus_2", account="euro"), subscription("cus_2", "s2", currency="eur")
    )
    gone = subscription("cus_3", "s3", at=1, status="canceled", kind="deleted")
    desk.does(customer("cus_3", account="gone"), gone)
    desk.passes(3_600_000)
    return empty


# --- The matrix ----------------------------------------------------------------------


def test_each_trap_has_a_way_into_it_and_a_function_that_says_how_it_shows():
    assert list(SET) == NAMES
    assert 12 == len({getattr(traps, name).__doc__ for name in NAMES})


def test_nothing_is_alleged_of_what_is_well(case):
    findings = case.doctor()

    assert [] == [one for one in findings if one["grade"] in {"BAD", "warn"}]
    notes = {o["trap"] for o in findings if o["grade"] == "note" and "trap" in o}
    assert {"editable"} == notes


def test_nothing_is_alleged_of_what_is_empty(empty):
    assert set() == empty.found()
    assert "note" == empty.grade("revenue_not_mapped")


@pytest.mark.parametrize("name", NAMES)
def test_each_trap_is_found_and_no_other(case, name):
    case.set([name])

    assert {name} == case.found()


def test_all_that_hide_nothing_are_found_at_once(case):
    there = {*NAMES} - HIDING
    case.set(there)

    assert there == case.found()


def test_who_cures_what_is_found_finds_them_all(case):
    """Where nothing can be read any more, the rest is found once it can."""
    there, cured = set(NAMES), []
    while found := case_found(case, there):
        assert found <= there
        there -= found
        cured += sorted(found)

    assert sorted(NAMES) == sorted(cured)


def case_found(case: Case, there: set[str]) -> set[str]:
    case.set(there)
    return case.found()


def test_what_is_found_names_the_click(case):
    case.set(["no_currency_trait"])
    (alarm,) = (one for one in case.doctor() if one["grade"] == "BAD")

    assert "it shows 450 EUR as 450, 450 USD as 450" in alarm["what"]
    assert "→ Currency: choose `billingCurrency`" in alarm["what"]


# --- What else they look like --------------------------------------------------------


@pytest.mark.parametrize(
    ("switches", "name"),
    [
        ({"lifecycle": "unmapped"}, "revenue_not_mapped"),
        ({"revenue_trait": "vitally.custom.old mrr"}, ""),
        ({"revenue_default": "arr_by_12"}, "revenue_default"),
        ({"revenue_default": "arr_on_screens"}, ""),
        ({"home_currency": "EUR"}, ""),
        ({"home_currency": "JPY"}, ""),
        ({"churn_rule": "is_none_of", "churn_date": "detected"}, "churn_rule"),
        ({"churn_rule": "is_one_of"}, ""),
        ({"keep_last_revenue": "off"}, ""),
        ({"null_trait": "keep"}, ""),
        ({"clock_ahead": 4.0}, ""),
        ({"clock_ahead": -30.0}, "clocks_apart"),
        ({"error_form": "object", "rate_limit": 3}, ""),
    ],
)
def test_what_is_known_of_vitally_in_no_way_makes_no_difference(case, switches, name):
    case.desk.vitally.turn(**switches)

    assert {name} - {""} == case.found()


def test_what_was_written_a_moment_ago_is_no_evidence(case):
    case.set(["revenue_not_mapped", "churn_rule"])
    case.desk.redis.delete(*case.desk.redis.keys("vb1:account:*"))
    for name in ("acme", "euro", "gone"):
        case.desk.redis.hset(keys.account(name), "wrote_at", 2**50)

    assert set() == case.found()


def test_a_date_that_vitally_does_not_follow_is_no_problem_but_a_warning(
    empty, tmp_path
):
    file = tmp_path / "bridge.toml"
    file.write_text('[traits]\nnextRenewalDate = "billing.renews"\n')
    empty.desk.set(config=read(str(file)))
    empty.desk.does(customer(), subscription())
    empty.desk.passes(3_600_000)
    (said,) = (o for o in empty.doctor(BRIDGE_CONFIG=file) if o["grade"] == "warn")

    assert "nextRenewalDate is empty, though acme has the trait" in said["what"]


@pytest.mark.parametrize(
    ("told", "own", "rate"),
    [
        (450, 450, 1.0),
        (19.99, 20, 1.0),
        (29.5, 30, 1.0),
        (19.99, 239.88, 12.0),
        (19.99, 240, 12.0),
        (29.5, 360, 12.0),
        (450, 37.5, 1 / 12),
        (9.99, 9.99, 1.0),
        (100, 117.5, 1.175),
        (5, 5, None),
        (0, 0, None),
        (100, True, None),
        ("100", 100, None),
        ([1], {"a": 1}, None),
    ],
)
def test_what_became_of_an_amount_is_told_but_for_rounding(told, own, rate):
    """Whole units of 5 EUR may be 5 USD though it was converted."""
    seen = seen_of()
    seen.add("acme", {"traits": {"mrr": told}, "mrr": own}, None, False)

    assert rate == seen.samples[0].rate


def test_currencies_are_compared_where_they_are_known_and_large_enough():
    seen = seen_of()
    for code, told, own in ((None, 450, 450), (None, 90, 120), ("JPY", 230, 1)):
        seen.add("acme", {"traits": {"mrr": told}, "mrr": own}, code, False)
    seen.add("dollars", {"traits": {"mrr": 450}, "mrr": 450}, "USD", False)

    assert [] == [t.name for t in TRAPS if t.judged(seen)[0] in {"bad", "warn"}]


@pytest.mark.parametrize(
    ("fields", "is_found"),
    [
        ([], False),
        ([{"path": "vitally.custom.mrr", "type": "number"}], False),
        ([{"path": "vitally.custom.mrr", "type": "string"}], True),
        ([{"path": "vitally.custom.another", "type": "number"}], True),
    ],
)
def test_a_custom_trait_that_is_missing_or_a_text_is_found(
    empty, tmp_path, fields, is_found
):
    file = tmp_path / "bridge.toml"
    file.write_text('[traits]\nmrr = "vitally.custom.mrr"\n')
    empty.desk.vitally.custom_fields = fields

    found = empty.found(BRIDGE_CONFIG=file)

    assert ({"revenue_not_mapped"} if is_found else set()) == found


def test_an_edit_that_is_left_to_people_is_no_trap(case, tmp_path):
    file = tmp_path / "bridge.toml"
    file.write_text('[vitally]\nkeep_hand_edits = ["mrr"]\n')
    case.set(["editable"])

    assert set() == case.found(BRIDGE_CONFIG=file)


def test_an_edit_that_a_reading_has_shown_is_found(case):
    case.desk.vitally.edit("acme", planName="Mine")
    called("reconcile", environ=case.changed)
    case.desk.vitally.edit("acme", planName="Pro")

    assert {"editable"} == case.found()


# --- Addresses and keys --------------------------------------------------------------


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"VITALLY_REGION": "us"}, "the region in"),
        ({"VITALLY_BASE_URL": "http://nobody.invalid"}, "cannot be resolved"),
    ],
)
def test_a_wrong_address_is_said_with_its_reason(case, own, words):
    said = [
        one["what"] for one in case.doctor(**own) if "address is wrong" in one["what"]
    ]

    assert words in said[0]


def test_a_wrong_subdomain_is_told_from_a_wrong_region(case, monkeypatch):
    """Vitally's US host without a subdomain takes the key, that with it does not."""
    monkeypatch.setitem(traps.ELSEWHERE, "us", case.desk.vitally.url)
    monkeypatch.setitem(traps.ELSEWHERE, "eu", settings.HOSTS["us"])
    (said,) = (
        one["what"]
        for one in case.doctor(VITALLY_REGION="us")
        if one.get("trap") == "wrong_address"
    )

    assert "the subdomain in" in said


def test_404_to_everything_is_a_wrong_address(case):
    case.desk.vitally.break_with([{"kind": "status", "status": 404, "times": None}])

    assert {"wrong_address"} == case.found()


def test_a_key_that_nobody_takes_is_a_wrong_key(case):
    case.desk.vitally.rotate("another_example")

    assert {"wrong_key"} == case.found()


@pytest.mark.parametrize("region", ["us", "eu"])
@pytest.mark.parametrize("status", [503, 429, 401, 0])
def test_what_passes_is_no_wrong_address(case, monkeypatch, region, status):
    """The key's own host takes it a moment later, which says nothing of the region."""
    monkeypatch.setitem(settings.HOSTS, "us", case.desk.vitally.url)
    monkeypatch.setitem(traps.ELSEWHERE, "us", case.desk.vitally.url)
    fault = {"kind": "status", "status": status} if status else {"kind": "reset_before"}
    case.desk.vitally.break_with([fault])
    findings = case.doctor(VITALLY_REGION=region)

    traps_found = [o["trap"] for o in findings if o["grade"] == "BAD" and "trap" in o]
    assert (["wrong_key"] if status == 401 else []) == traps_found
    assert 1 == sum(one["grade"] == "BAD" for one in findings)


@pytest.mark.parametrize(
    "own",
    [
        {"VITALLY_API_KEY": HEADER},
        {"VITALLY_API_KEY": "sk_test_of_nobody"},
        {"VITALLY_REGION": "us"},
        {"VITALLY_BASE_URL": "http://nobody.invalid"},
        {"STRIPE_MODE": "live"},
    ],
)
def test_one_trouble_is_one_problem(case, own):
    assert 1 == sum(one["grade"] == "BAD" for one in case.doctor(**own))


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (TOKEN, ""),
        (f"Basic {HEADER}", ""),
        (HEADER, "lacks the word Basic"),
        (f"{TOKEN}:", "a colon at its end"),
        (f"Bearer {TOKEN}", "another scheme"),
        (f"basic {HEADER}", "another scheme"),
        (f"Basic {TOKEN}", "not the token and a colon"),
        (f"Basic {encoded(TOKEN)}", "not the token and a colon"),
        (f"Basic {encoded('user:secret')}", "not the token and a colon"),
        (encoded(f"{HEADER}:"), "lacks the word Basic"),
        ("c2VjcmV0", ""),
    ],
)
def test_what_was_pasted_is_told_by_its_form_and_not_quoted(key, words):
    said = pasted(key)

    assert words in said
    assert bool(words) == bool(said)
    assert TOKEN not in said


# --- Stripe --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "found"),
    [
        ({}, set()),
        ({"status": "disabled"}, {"stripe_events"}),
        ({"url": "https://bridge.example.com/other"}, {"stripe_events"}),
        ({"url": "https://bridge.example.com/behind/webhooks/stripe"}, set()),
        ({"enabled_events": ["*"]}, set()),
        ({"livemode": True}, {"modes_mixed"}),
    ],
)
def test_stripe_s_endpoint_must_be_on_and_ours(case, more, found):
    made = webhook_endpoint("we_1", more.pop("url", URL), needed_events({}), **more)
    case.stripe.put(made)

    assert found == case.found()


def test_of_two_endpoints_that_of_our_own_address_counts(case):
    case.set(["stripe_events"])
    other = "https://staging.example.com/webhooks/stripe"
    case.stripe.put(webhook_endpoint("we_2", other, ["*"]))

    assert set() == case.found()
    ours = {"BRIDGE_PUBLIC_URL": "https://bridge.example.com"}
    assert {"stripe_events"} == case.found(**ours)


OURS = {"BRIDGE_PUBLIC_URL": "https://Bridge.example.com:443"}
NEEDED = needed_events({})


@pytest.mark.parametrize(
    "other", ["https://app.example.com", f"{URL[:26]}.example.org"]
)
def test_an_endpoint_of_another_app_is_not_ours(case, other):
    case.stripe.put(webhook_endpoint("we_1", f"{other}/webhooks/stripe", ["*"]))

    assert {"stripe_events"} == case.found(**OURS)


def test_two_endpoints_of_our_address_may_share_the_events(case):
    case.stripe.put(webhook_endpoint("we_1", URL, NEEDED[:3]))
    case.stripe.put(webhook_endpoint("we_2", f"{URL}/", NEEDED[3:], created=1))

    assert set() == case.found(**OURS)


def comes_in(case: Case, account: str | None, over: str) -> None:
    """An event is taken in that came *over* a delivery of this id; "": from the list."""
    chosen = settings_of(case.desk.vitally.url, "redis://127.0.0.1:1/0")
    chosen = replace(chosen, sources={**chosen.sources, "STRIPE_CONNECT": True})
    ingress = Ingress(chosen, case.desk.redis, discover().values())
    told = event(f"evt_{over}{account}", time.time() - 5, stripe_customer("cus_1"))
    told |= {"account": account, "livemode": True}
    delivery = Delivery("POST", "", {}, orjson.dumps(told), over)
    taken = ingress.take_in(ingress.sources["stripe"], Verified(delivery))
    assert taken.receipt in {"queued", "coalesced"}


def test_behind_a_gateway_and_from_a_destination_nothing_is_alleged(case):
    """Stripe's list has neither the gateway's other side, nor v2 event destinations."""
    case.stripe.put(webhook_endpoint("we_1", "https://gate.example.com/in", NEEDED))
    comes_in(case, None, "")
    by_the_list = case.found(**OURS)
    comes_in(case, None, "d1")
    (said,) = (o for o in case.doctor(**OURS) if o.get("trap") == "stripe_events")
    connect = {**OURS, "STRIPE_CONNECT": "true"}
    of_others = case.found(**connect)
    comes_in(case, "acct_1", "d2")

    assert {"stripe_events"} == by_the_list == of_others
    assert "note" == said["grade"]
    assert "events of your own account come in, but" in said["what"]
    assert set() == case.found(**connect)


def test_whose_events_an_endpoint_sends_is_asked_where_stripe_does_not_show_it(case):
    case.changed |= {**OURS, "STRIPE_CONNECT": "true"}
    case.stripe.put(webhook_endpoint("we_2", URL, NEEDED[1:], created=1))
    lacking = case.found()
    case.stripe.put(webhook_endpoint("we_2", URL, NEEDED, created=1))
    (said,) = (o for o in case.doctor() if o.get("trap") == "stripe_events")
    mark = {"vitally_bridge_connect": "true"}
    case.stripe.put(webhook_endpoint("we_2", URL, NEEDED, created=1, metadata=mark))

    assert {"stripe_events"} == lacking
    assert ("note", True) == (said["grade"], "--connect-endpoint" in said["what"])
    assert "ok" == case.grade("stripe_events")


def test_connected_accounts_need_an_endpoint_and_may_send_test_events(case):
    """Their test events come to the live endpoint too, and are ignored."""
    chosen = settings_of(case.desk.vitally.url, "redis://127.0.0.1:1/0")
    ingress = Ingress(chosen, case.desk.redis, discover().values())
    body = orjson.dumps(
        event("evt_1", time.time() - 5, {"object": "customer", "id": "cus_9"})
    )
    delivery = Verified(Delivery("POST", "", {}, body))
    assert "ignored" == ingress.take_in(ingress.sources["stripe"], delivery).receipt
    own, theirs = needed_events({}), {"application": "ca_example", "livemode": True}
    live = {"STRIPE_MODE": "live", "STRIPE_API_KEY": "rk_live_example"}
    case.stripe.key = live["STRIPE_API_KEY"]
    case.stripe.put(webhook_endpoint("we_1", URL, own, livemode=True))
    assert {"modes_mixed"} == case.found(**live)

    live["STRIPE_CONNECT"] = "true"
    assert {"stripe_events"} == case.found(**live)
    case.stripe.put(webhook_endpoint("we_2", URL, own, **theirs))
    assert set() == case.found(**live)
    (dies,) = (one["what"] for one in case.doctor(**live) if "dies" in one["what"])
    assert "events of connected accounts are not in its list" in dies


def test_what_cannot_be_read_of_stripe_is_no_alarm(case):
    case.stripe.forbidden = {"webhook_read"}
    assert "note" == case.grade("stripe_events")
    case.changed["STRIPE_API_KEY"] = ""
    assert "note" == case.grade("stripe_events")
    case.changed |= {"STRIPE_WEBHOOK_SECRET": "", "STRIPE_API_KEY": KEY}
    case.stripe.forbidden = set()
    case.stripe.put(webhook_endpoint("we_1", URL, ["customer.updated"]))
    assert "" == case.grade("stripe_events")


# --- The canary ----------------------------------------------------------------------

SHOWN_BY_WRITING = ["revenue_not_mapped", "revenue_default", "churn_rule"]


@pytest.mark.parametrize("name", ["", *SHOWN_BY_WRITING])
def test_the_canary_shows_what_no_account_shows_yet(empty, monkeypatch, name):
    monkeypatch.setattr(command, "ENOUGH", 4.0)
    empty.set([name] if name else [])

    assert {name} - {""} == empty.found("--canary", "--yes")
    assert empty.desk.vitally.account(CANARY) is None


def test_a_canary_waits_for_what_vitally_derives_later(empty):
    empty.desk.vitally.turn(derived_after=0.3)

    assert set() == empty.found("--canary", "--yes")


@pytest.mark.parametrize(
    "switches",
    [
        {"derived_after": 60.0},
        {"lifecycle": "unmapped"},
        {"currency_trait": ""},
        {"home_currency": "EUR"},
    ],
)
def test_what_does_not_move_in_time_cannot_be_read(empty, monkeypatch, switches):
    """Nor is a canary counted that an earlier run has left behind, as churned."""
    monkeypatch.setattr(command, "ENOUGH", 4.0)
    empty.desk.exists(CANARY, CANARY, churnedAt="2026-01-01T00:00:00.000Z")
    empty.desk.vitally.turn(**switches)
    alarms = [one for one in empty.doctor("--canary", "--yes") if "trap" in one]
    grades = {one["trap"]: one["grade"] for one in alarms}

    assert {"BAD", "warn"}.isdisjoint(grades.values())
    assert "note" == grades["no_currency_trait"]
    is_moved = not {"derived_after", "lifecycle"} & switches.keys()
    assert ("ok" if is_moved else "note") == grades["revenue_not_mapped"]
    assert empty.desk.vitally.account(CANARY) is None


@pytest.mark.parametrize(
    ("typed", "own", "status"),
    [("no", {}, 1), ("", {}, 2), (CANARY, {"BRIDGE_DRY_RUN": "true"}, 1)],
)
def test_no_canary_is_written_unasked(empty, typed, own, status):
    called(
        "doctor", "--canary", environ=empty.changed, typed=typed, status=status, **own
    )

    assert [] == empty.desk.writes()


def test_a_canary_that_cannot_be_written_is_said(empty):
    empty.desk.fault("status", "POST", status=400, body={"error": "no more accounts"})
    (said,) = (o for o in empty.doctor("--canary", "--yes") if CANARY in o["what"])

    assert "BAD" == said["grade"]
    assert "no more accounts" in said["what"]


# --- Time ----------------------------------------------------------------------------


@pytest.mark.parametrize("who", ["vitally", "stripe", "both"])
def test_who_does_not_answer_holds_up_nobody(case, monkeypatch, who):
    monkeypatch.setattr(traps, "PATIENCE", 0.4)
    monkeypatch.setattr(command, "PATIENCE", 0.4)
    monkeypatch.setattr(command, "ENOUGH", 1.0)
    if who != "stripe":
        fault = {"kind": "timeout_after_commit", "times": None}
        case.desk.vitally.break_with([fault])
    if who != "vitally":
        case.stripe.fail("hang", times=20)
    begun = time.monotonic()
    findings = case.doctor()

    assert time.monotonic() - begun < 4
    said = " ".join(one["what"] for one in findings if one["grade"] != "ok")
    assert ("no complete answer" in said) == (who != "stripe")
    assert ("Stripe's API at" in said) == (who != "vitally")
    assert "note" == case_grade(findings, "editable")
    case.desk.vitally.mend()


def case_grade(findings: list[dict[str, str]], trap: str) -> str:
    return next(one["grade"] for one in findings if one.get("trap") == trap)


def test_what_was_seen_so_far_counts():
    """Each trap can be judged where nothing could be read."""
    levels = {t.name: t.judged(seen_of())[0] for t in TRAPS}

    assert {"note", "ok"} == set(levels.values())


def seen_of(**own: Any) -> Evidence:
    """What is seen where nothing could be read but what is in *own*."""
    values = {
        "STRIPE_WEBHOOK_SECRET": None,
        "STRIPE_MODE": "live",
        "STRIPE_API_KEY": None,
    }
    made = replace(
        settings_of("http://127.0.0.1:1", "redis://127.0.0.1:1"), sources=values
    )
    return Evidence(made, read(None), **own)


def test_that_the_clock_is_right_only_vitally_s_clock_says():
    (trap,) = (one for one in TRAPS if one.name == "clocks_apart")

    assert ("ok", "") == trap.judged(seen_of(ahead={"Redis": 0.0}))
    assert ("ok", trap.good) == trap.judged(seen_of(ahead={"Vitally": 0.5}))


def test_an_event_of_the_other_mode_is_no_problem_but_a_warning():
    (trap,) = (one for one in TRAPS if one.name == "modes_mixed")

    assert "warn" == trap.judged(seen_of(other_mode=True))[0]


# --- What else may go wrong -----------------------------------------------------------


@pytest.mark.parametrize(
    "shown",
    [
        {},
        {"traits": ["mrr"], "mrr": "450", "churnedAt": ["x"]},
        {"traits": {"mrr": 450, "billingCurrency": ["USD"]}, "mrr": 450},
        {"traits": None, "externalId": {"a": 1}},
    ],
)
def test_odd_replies_end_nothing(case, shown):
    fields = {"kind": "status", "status": 200, "body": ["odd", {"path": ["odd"]}]}
    account = {"kind": "status", "status": 200, "body": {"id": 1, **shown}}
    case.desk.vitally.break_with(
        [
            {**fields, "match": {"path": "*customFields*"}},
            {**account, "times": None, "match": {"path": "/resources/accounts/*"}},
        ]
    )
    findings = case.doctor()

    assert not [one for one in findings if "not checked" in one["what"]]
    assert "ok" == next(o["grade"] for o in findings if "takes the key" in o["what"])


def test_a_check_that_fails_is_a_finding_and_ends_no_other(case, monkeypatch):
    def broken(*_: Any) -> Iterator[tuple[str, str]]:
        yield "note", "so far"
        raise KeyError("secret of a customer")

    monkeypatch.setattr(command, "_redis", broken)
    findings = {one["what"]: one["grade"] for one in case.doctor()}

    assert "note" == findings["so far"]
    assert "warn" == findings["Redis: not checked (KeyError)"]
    assert "ok" == findings["Stripe takes STRIPE_API_KEY"]


def test_a_redis_that_forbids_info_is_read_as_far_as_it_may(case):
    case.desk.redis.execute_command(
        "ACL SETUSER blind on >blind-example ~* &* +@all -info -config"
    )
    url = case.environ["REDIS_URL"].replace("redis://", "redis://blind:blind-example@")
    findings = case.doctor(REDIS_URL=url)
    case.desk.redis.acl_deluser("blind")

    said = [one["what"] for one in findings]
    assert "Redis answers" in said
    assert any(words.startswith("the counting is right") for words in said)
    assert not [words for words in said if "not checked" in words]
    assert "note" == case_grade(findings, "evicting_redis")


SCALED = """
import time
from bridge import cli, traps
from bridge.cli import doctor
doctor.ENOUGH, doctor.LATE, traps.DELETING = 2.5, 0.2, 0.9
doctor._counting = lambda redis: (time.sleep(20) for _ in "1")
cli.main()
"""
"""Doctor in a third of its time, with a check that no deadline reaches."""


def test_who_is_slow_holds_up_nobody_to_the_end_of_the_process(case):
    """Slow and not hanging: each request is answered, and all of them would take 8 s.

    The canary's time ends early enough to delete it.
    """
    environ = {**os.environ, **case.changed, "VITALLY_BASE_URL": case.desk.vitally.url}
    case.stripe.delay = 1.0
    fault = {"kind": "delay", "seconds": 0.5, "times": None}
    case.desk.vitally.break_with([fault])
    begun = time.monotonic()
    words = [sys.executable, "-c", SCALED, "doctor", "--canary", "--yes", "--json"]
    done = subprocess.run(words, env=environ, capture_output=True, check=False)

    assert time.monotonic() - begun < 2.5 + 0.2 + 5
    assert b"the counting did not answer in time" in done.stdout
    assert b"wrong_address" not in done.stdout
    assert "POST" in [one["method"] for one in case.desk.vitally.log()]
    case.desk.vitally.mend()
    assert case.desk.vitally.account(CANARY) is None


def test_the_counting_of_many_accounts_is_not_scanned(case, monkeypatch):
    """Within its ten seconds it can scan some hundred thousand."""
    monkeypatch.setattr(command, "MANY", -1)

    said = [one["what"] for one in case.doctor()]
    assert [] == [words for words in said if words.startswith("the counting is")]
    assert any("was not checked: to scan" in words for words in said)
