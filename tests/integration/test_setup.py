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


def test_what_is_missing_is_added_and_nothing_is_taken_off_unasked(stripe, run):
    stripe.put(webhook_endpoint("we_1", URL, [*NEEDED[1:], "invoice.paid"]))
    stripe.put(webhook_endpoint("we_2", f"{HOST}/other", ["*"], created=1))
    look = run("stripe", "--url", HOST, "--dry-run", "--json").json
    before = [one["enabled_events"] for one in shown(stripe)]
    done = run("stripe", "--url", HOST)
    mine, other = (one["enabled_events"] for one in shown(stripe))
    pruned = run("stripe", "--url", HOST, "--prune")

    assert ["changed"] == [one["did"] for one in look["endpoints"]]
    assert [[*NEEDED[1:], "invoice.paid"], ["*"]] == before
    assert [f"  + {NEEDED[0]}"] == done.out.splitlines()[1:]
    assert "we_1 also sends" in done.err
    assert "--prune takes it off: invoice.paid" in done.err
    assert ([*NEEDED[1:], "invoice.paid", NEEDED[0]], ["*"]) == (mine, other)
    assert ["  - invoice.paid"] == pruned.out.splitlines()[1:]
    assert {*NEEDED} == {*shown(stripe)[0]["enabled_events"]}


def test_all_events_stay_all_events_until_they_are_pruned(stripe, run):
    stripe.put(webhook_endpoint("we_1", URL, ["*"]))
    said = run("stripe", "--url", HOST)
    kept = shown(stripe)[0]["enabled_events"]
    run("stripe", "--url", HOST, "--prune")

    assert said.out.startswith("unchanged we_1: ")
    assert (["*"], NEEDED) == (kept, shown(stripe)[0]["enabled_events"])


def test_a_disabled_endpoint_is_named_and_enabled_only_on_request(stripe, run):
    stripe.put(webhook_endpoint("we_1", URL, NEEDED, status="disabled"))
    said = run("stripe", "--url", URL, status=1)
    was = shown(stripe)[0]["status"]
    run("stripe", "--url", URL, "--enable")

    assert "we_1 is disabled and sends nothing: --enable enables it" in said.err
    assert ("disabled", "enabled") == (was, shown(stripe)[0]["status"])


def test_connected_accounts_get_an_endpoint_of_their_own(stripe, run):
    run("stripe", "--url", HOST)
    first, second = (run("stripe", "--url", HOST, STRIPE_CONNECT="true") for _ in "ab")
    marks = [one["metadata"]["vitally_bridge_connect"] for one in shown(stripe)]

    assert ["false", "true"] == marks
    assert "created we_2: it sends events of the connected accounts" in first.out
    assert "STRIPE_WEBHOOK_SECRET=whsec_example_we_2" in first.out
    assert 2 == second.out.count("unchanged we_")


@pytest.mark.parametrize(
    ("named", "did"),
    [
        ("none", ["unchanged we_1", "unchanged we_2", "created we_3"]),
        ("we_2", ["unchanged we_1", "unchanged we_2"]),
        ("we_9", None),
    ],
)
def test_an_endpoint_made_by_hand_is_whose_a_person_says(stripe, run, named, did):
    """Stripe shows neither `connect` nor, of these, an `application`."""
    stripe.put(*(webhook_endpoint(id_, URL, NEEDED[1:]) for id_ in ("we_1", "we_2")))
    words = ("stripe", "--url", HOST)
    asked = run(*words, STRIPE_CONNECT="true", status=1)
    choice = (*words, "--connect-endpoint", named)
    seen = run(*choice, "--dry-run", STRIPE_CONNECT="true", status=1 - bool(did))
    untouched = [(dict(o["metadata"]), o["enabled_events"]) for o in shown(stripe)]
    run(*choice, STRIPE_CONNECT="true", status=1 - bool(did))
    again = run(*words, STRIPE_CONNECT="true", status=None)

    assert "whether we_2, we_1 sends" in asked.err
    assert "--connect-endpoint" in asked.err
    assert [({}, NEEDED[1:])] * 2 == untouched
    assert bool(did) == again.out.startswith("unchanged we_")
    assert bool(did) == ("Only looked" in seen.out)


def test_what_stripe_shows_itself_outweighs_what_a_person_says(stripe, run):
    stripe.put(webhook_endpoint("we_1", URL, NEEDED, application="ca_example"))
    stripe.put(webhook_endpoint("we_2", URL, NEEDED))
    words = ("stripe", "--url", HOST, "--connect-endpoint", "none")
    said = run(*words, STRIPE_CONNECT="true").out.splitlines()

    assert said[0].startswith("unchanged we_2: it sends events of your own account")
    assert said[1].startswith("unchanged we_1: it sends events of the connected")


@pytest.mark.parametrize("fault", ["429", "500", "garbage"])
def test_what_was_created_before_a_failure_has_told_its_secret(stripe, run, fault):
    whole, creations = stripe.answer, []

    def answer(asked):
        creations.append(asked.body)
        if len([body for body in creations if body is not None]) == 2:
            return stripe.faults[fault]
        return whole(asked)

    stripe.answer = answer
    said = run("stripe", "--url", HOST, STRIPE_CONNECT="true", status=1)

    assert "STRIPE_WEBHOOK_SECRET=whsec_example_we_1" in said.out.splitlines()


def test_events_of_traits_in_use_are_needed_too(stripe, run, tmp_path):
    run("stripe", "--url", HOST)
    (tmp_path / "bridge.toml").write_text('[traits]\nuse = ["lastPaidAt"]\n')
    said = run("stripe", "--url", HOST).out
    (made,) = shown(stripe)

    assert "  + invoice.paid" in said.splitlines()
    assert [*NEEDED, "invoice.paid"] == made["enabled_events"][: len(NEEDED) + 1]


def test_a_second_endpoint_of_the_same_url_is_named_and_left_alone(stripe, run):
    stripe.put(webhook_endpoint("we_1", URL, NEEDED))
    stripe.put(webhook_endpoint("we_2", f"{URL}/", NEEDED))

    assert "so it comes twice" in run("stripe", "--url", HOST).err


def test_two_endpoints_may_share_the_events(stripe, run):
    stripe.put(webhook_endpoint("we_1", URL, NEEDED[:3]))
    stripe.put(webhook_endpoint("we_2", URL, NEEDED[3:]))
    said = run("stripe", "--url", HOST)

    assert said.out.startswith("unchanged we_")
    assert "twice" not in said.err


@pytest.mark.parametrize("url", ["https://BRIDGE.example.com", f"{HOST}:443/"])
def test_the_same_address_in_another_form_is_the_same_endpoint(stripe, run, url):
    stripe.put(webhook_endpoint("we_1", URL, NEEDED))

    assert run("stripe", "--url", url).out.startswith("unchanged we_1: ")


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
    "content", [b"", b" \n", b"rk_\xff", f"{KEY}\n{KEY}".encode(), b"two words"]
)
def test_what_is_no_key_is_said_and_no_other_is_used(stripe, run, tmp_path, content):
    file = tmp_path / "key"
    file.write_bytes(content)
    own = {"STRIPE_SETUP_KEY": "", "STRIPE_API_KEY": KEY}
    words = ("stripe", "--url", HOST, "--key-file", str(file))
    said = [run(*words, status=2, **own)]
    if content.isascii() and content.strip():
        own["STRIPE_SETUP_KEY"] = content.decode()
        said.append(run("stripe", "--url", HOST, status=2, **own))

    assert {True} == {"one key and nothing else" in one.err for one in said}
    assert [] == stripe.log


@pytest.mark.parametrize(
    ("given", "called_at"),
    [
        (HOST, URL),
        (f"{HOST}/", URL),
        (f"{URL}/", URL),
        (rf"{HOST}/\d", rf"{HOST}/\d/webhooks/stripe"),
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


def test_without_an_address_one_is_asked_for_and_nothing_else(run):
    said = run("stripe", status=78, BRIDGE_PUBLIC_URL="")

    assert "vitally-bridge: give --url, or set BRIDGE_PUBLIC_URL\n" == said.err


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
