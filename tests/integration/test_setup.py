"""`setup`: Stripe's webhook endpoint as the bridge needs it, against a local Stripe."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bridge.sources import discover
from bridge.sources.stripe.api import VERSION
from bridge.sources.stripe.facts import needed_events
from tests.support.command import Run, called
from tests.support.local_stripe import KEY, SECRET_PART, LocalStripe, webhook_endpoint

HOST = "https://bridge.example.com"
URL = f"{HOST}/webhooks/stripe"
NEEDED = needed_events({})


@pytest.fixture
def stripe() -> Iterator[LocalStripe]:
    with LocalStripe() as running:
        yield running


@pytest.fixture
def run(stripe: LocalStripe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)  # no bridge.toml
    return partial(
        called,
        "setup",
        environ={
            "STRIPE_SETUP_KEY": KEY,
            "STRIPE_API_BASE": stripe.url,
            "STRIPE_MODE": "test",
        },
    )


def shown(stripe: LocalStripe) -> list[dict[str, Any]]:
    return stripe.listed("webhook_endpoints")


def test_the_first_run_creates_the_endpoint_and_prints_its_secret_once(stripe, run):
    first, second = (run("stripe", "--url", HOST) for _ in range(2))
    (made,) = shown(stripe)

    assert (URL, NEEDED, VERSION) == (
        made["url"],
        made["enabled_events"],
        made["api_version"],
    )
    assert "STRIPE_WEBHOOK_SECRET=whsec_example_we_1" in first.out.splitlines()
    assert second.out.startswith("unchanged we_1: ")
    assert "whsec_" not in second.out + second.err
    assert "own page" in second.err


def test_an_endpoint_is_brought_up_to_date_and_says_how(stripe, run):
    stripe.put(webhook_endpoint("we_1", URL, [*NEEDED[1:], "charge.failed"]))
    stripe.put(webhook_endpoint("we_2", f"{HOST}/other", ["*"], created=1))
    look = run("stripe", "--url", HOST, "--dry-run", "--json").json
    before = [one["enabled_events"] for one in shown(stripe)]
    done = run("stripe", "--url", HOST).out.splitlines()
    mine, other = (one["enabled_events"] for one in shown(stripe))

    assert ["changed"] == [one["did"] for one in look["endpoints"]]
    assert [[*NEEDED[1:], "charge.failed"], ["*"]] == before
    assert [f"  + {NEEDED[0]}", "  - charge.failed"] == done[1:]
    assert (NEEDED, ["*"]) == (mine, other)


def test_a_disabled_endpoint_is_named_and_enabled_only_on_request(stripe, run):
    stripe.put(webhook_endpoint("we_1", URL, NEEDED, status="disabled"))
    said = run("stripe", "--url", URL, status=1)
    was = shown(stripe)[0]["status"]
    run("stripe", "--url", URL, "--enable")

    assert "we_1 is disabled and sends nothing: --enable enables it" in said.err
    assert ("disabled", "enabled") == (was, shown(stripe)[0]["status"])


def test_connected_accounts_get_an_endpoint_of_their_own(stripe, run):
    stripe.put(webhook_endpoint("we_old", URL, NEEDED))
    first, second = (run("stripe", "--url", HOST, STRIPE_CONNECT="true") for _ in "ab")
    made = [one["metadata"] for one in shown(stripe)]

    assert [{}, {"vitally_bridge_connect": "true"}] == made
    assert "created we_2: it sends events of the connected accounts" in first.out
    assert "STRIPE_WEBHOOK_SECRET=whsec_example_we_2" in first.out
    assert 2 == second.out.count("unchanged we_")


def test_events_of_traits_in_use_are_needed_too(stripe, run, tmp_path):
    run("stripe", "--url", HOST)
    (tmp_path / "bridge.toml").write_text('[traits]\nuse = ["lastPaidAt"]\n')
    said = run("stripe", "--url", HOST).out
    (made,) = shown(stripe)

    assert "  + invoice.paid" in said.splitlines()
    assert [*NEEDED, "invoice.paid"] == made["enabled_events"][: len(NEEDED) + 1]


def test_a_second_endpoint_of_the_same_url_is_named(stripe, run):
    stripe.put(webhook_endpoint("we_1", URL, NEEDED))
    stripe.put(webhook_endpoint("we_2", f"{URL}/", NEEDED))

    assert "each event comes twice" in run("stripe", "--url", HOST, status=1).err


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"STRIPE_SETUP_KEY": ""}, "STRIPE_SETUP_KEY is required"),
        ({"STRIPE_SETUP_KEY": "rk_test_other"}, "Stripe refuses STRIPE_SETUP_KEY (401"),
        ({"STRIPE_SETUP_KEY": "sk_live_example"}, "STRIPE_SETUP_KEY is a live key"),
        (
            {"STRIPE_SETUP_KEY": "", "STRIPE_API_KEY": KEY},
            "webhook_endpoints (403): it lacks the permission rak_webhook_write; another",
        ),
    ],
)
def test_a_key_that_may_not_is_told_what_it_lacks(stripe, run, settings, words):
    stripe.forbidden = {"webhook_write"}
    status = 78 if "required" in words or "live" in words else 1
    said = run("stripe", "--url", HOST, status=status, **settings)

    assert words in said.err
    assert SECRET_PART not in said.err


def test_what_stripe_has_against_it_is_said_in_its_words(stripe, run):
    stripe.put(*(webhook_endpoint(f"we_{n}", f"{HOST}/{n}", ["*"]) for n in range(16)))

    said = run("stripe", "--url", HOST, status=1).err
    assert "Stripe: You have reached the maximum of 16." in said


def test_the_key_may_be_in_a_file(stripe, run, tmp_path):
    file = tmp_path / "key"
    file.write_text(f"{KEY}\n")
    words = ("stripe", "--url", HOST, "--key-file", str(file))

    assert run(*words, STRIPE_SETUP_KEY="").out.startswith("created we_1: ")


@pytest.mark.parametrize(
    ("given", "called_at"),
    [
        (HOST, URL),
        (f"{HOST}/", URL),
        (f"{URL}/", URL),
        (f"{HOST}/bridge", f"{HOST}/bridge/webhooks/stripe"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/webhooks/stripe"),
        ("http://bridge.example.com", None),
        ("https://user:pass@bridge.example.com", None),
        (f"{HOST}?token=1", None),
        ("bridge.example.com", None),
        ("https://[broken", None),
        ("", None),
    ],
)
def test_the_address_is_checked_and_completed(run, given, called_at):
    words = ("stripe", "--print", "--json", "--url", given)
    said = run(*words, status=0 if called_at else 2)

    assert called_at == (said.json["url"] if called_at else None)
    assert ("this machine" in said.err) == ("127." in given)


@pytest.mark.parametrize("source", discover())
def test_each_source_says_what_to_click_without_any_request(stripe, run, source):
    said = run(source, "--print", BRIDGE_PUBLIC_URL=HOST).out

    assert f"{HOST}/webhooks/{source}" in said
    assert "\nEvents:\n  " in said
    assert [] == stripe.log


@pytest.mark.parametrize("source", sorted({*discover()} - {"stripe"}))
def test_a_source_that_only_a_person_can_set_up_says_so(run, source):
    said = run(source, "--url", HOST, status=1).err

    assert f"setup {source} --print" in said


def test_hubspot_needs_a_subscription_for_each_property(run, tmp_path):
    toml = """
        [sources.hubspot]
        account = "vitally_id"
        [sources.hubspot.traits]
        seats = "seats"
        [sources.hubspot.deals]
        mrr = "hs_mrr"
    """
    plain = run("hubspot", "--print", "--json", "--url", HOST).json["events"]
    (tmp_path / "bridge.toml").write_text(re.sub("(?m)^ +", "", toml))
    told = run("hubspot", "--print", "--json", "--url", HOST).json
    every, config = told["events"], told["file"]["config"]
    rows = config["subscriptions"]["legacyCrmObjects"]
    words = run("hubspot", "--print", "--url", HOST).out
    in_words = json.loads(words.partition("The same as a file:\n")[2])

    assert ["company.propertyChange name", "company.creation"] == plain[:2]
    assert not any(one.startswith("deal.") for one in plain)
    assert {
        "company.propertyChange vitally_id",
        "company.propertyChange seats",
        "deal.propertyChange hs_mrr",
        "deal.propertyChange dealstage",
        "company.associationChange",
    } < {*every}
    assert not any("hs_is_closed_won" in one for one in every)
    named = [(one["subscriptionType"], one.get("propertyName", "")) for one in rows]
    assert every == [" ".join(pair).strip() for pair in named]
    assert f"{HOST}/webhooks/hubspot" == config["settings"]["targetUrl"]
    assert told["file"] == in_words
