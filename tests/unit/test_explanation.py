"""Every trait can say which subscriptions, items and events it came from."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from bridge.domain.account import Account, Party, unite
from bridge.domain.document import Ledger
from bridge.domain.explanation import causes, explained, facts_of
from bridge.domain.facts import Fact, Stamp
from bridge.domain.fold import History, fold
from bridge.domain.money import STRIPE, Policy
from bridge.domain.traits import ALWAYS, OPTIONAL, instant
from bridge.explain import aloud

NOW = 1_700_000_000_000


def fact(thing: str, value: dict[str, Any], event: str = "evt_1") -> Fact:
    stamp = Stamp(False, NOW, 0)
    return Fact("stripe:cus_1", thing, stamp, event, "k", value, repr(value))


def sub(id_: str = "sub_1", event: str = "evt_1", **value: Any) -> Fact:
    value = {"status": "active", "currency": "usd", "items": [YEARLY]} | value
    return fact(f"subscription:{id_}", value, event)


def account(*facts: Fact) -> Account:
    return unite("acme", [Party("stripe:cus_1", fold(History(facts)))])


YEARLY = {"price": "price_1", "unit": "120000", "interval": "year", "quantity": 2}
QUARTERLY = YEARLY | {"interval": "month", "count": 3}
HALF = {"coupon": "half", "percent": "50", "duration": "forever"}
OVER = {"status": "canceled", "ended_at": NOW}

TERMS = "sub_1: the terms of discount di_1 are not known"
PERIOD = "sub_1: the end of its period is not in the event"


def test_each_trait_is_explained_where_there_is_a_subscription() -> None:
    assert {} == causes(account())
    assert set(ALWAYS) == set(causes(account(sub(trial_end=NOW))))


def test_each_optional_trait_is_explained_in_json_and_in_words() -> None:
    told = {"startedAt": NOW, "cancelReason": "unused", "cancelComment": None}
    told |= {"collectionMethod": "send_invoice", "schedule": {}}
    every = STRIPE._replace(use=frozenset(OPTIONAL))
    found = causes(account(sub(cancel_at=NOW + 1, details=told)), every, NOW)

    assert {n for n, trait in OPTIONAL.items() if trait.about == "all"} <= found.keys()
    assert orjson.dumps(found)
    words = {aloud(cause) for name in OPTIONAL for cause in found.get(name, ())}
    moves = "pays 200 USD a month, then does not count from 2023-11-14 22:13:20 UTC on"
    assert {"is unused", "pays 200 USD a month", moves} <= words


def test_where_it_is_not_known_which_ends_first_none_is_named() -> None:
    items = [{key: one for key, one in YEARLY.items() if key != "ends"}]
    ending = sub(cancel_at_period_end=True, items=items)

    found = causes(account(ending), STRIPE._replace(use=frozenset(OPTIONAL)), NOW)

    assert [] == found["cancelReason"]


def test_money_is_worked_out_item_by_item() -> None:
    item = {"price": "price_1", "quantity": 2, "interval": "year", "count": 1}
    item |= {"factor": "1/12", "gross": "20000", "discounts": ["half"]}
    item |= {"monthly": "10000"}
    cause = {"subscription": "sub_1", "party": "stripe:cus_1", "event": "evt_1"}
    cause |= {"status": "active", "currency": "usd", "monthly": "10000"}
    cause |= {"items": [item]}

    assert [cause] == causes(account(sub(discounts=[HALF])))["mrr"]
    (quarterly,) = causes(account(sub(items=[QUARTERLY])))["mrr"]
    assert "1/3" == quarterly["items"][0]["factor"]


@pytest.mark.parametrize(
    ("trait", "key", "expected", "facts"),
    [
        ("mrr", "unknown", [TERMS], [sub(discounts=[{"id": "di_1"}])]),
        ("cancelAt", "unknown", [PERIOD], [sub(cancel_at_period_end=True)]),
        (
            "nextRenewalDate",
            "value",
            [NOW + 1],
            [sub(items=[YEARLY | {"ends": NOW + 1}])],
        ),
        # An end is that of what was live.
        (
            "churnedAt",
            "value",
            [NOW, None],
            [sub(**OVER), sub("sub_2", **OVER, trial_end=NOW)],
        ),
        ("planName", "value", [["Pro"]], [sub(items=[YEARLY | {"name": "Pro"}])]),
        # Only what counts is in the sum.
        ("mrr", "subscription", ["sub_1"], [sub(), sub("sub_2", status="past_due")]),
        ("subscriptionStatus", "ambiguous", [None], [sub()]),
        (
            "subscriptionStatus",
            "ambiguous",
            [True],
            [sub(), sub(event="e", currency="eur")],
        ),
        ("mrr", "ambiguous", [True], [sub(), sub(event="e", currency="eur")]),
    ],
)
def test_a_cause_says_what_a_subscription_gave(trait, key, expected, facts) -> None:
    told = causes(account(*facts), Policy(statuses=frozenset({"active"})))[trait]

    assert expected == [cause.get(key) for cause in told]
    assert all(cause["party"] == "stripe:cus_1" for cause in told)


def test_what_a_source_tells_as_it_is_names_the_event() -> None:
    found = causes(account(fact("trait:stage", {"is": "customer"})))

    cause = {"source": "stripe", "party": "stripe:cus_1", "event": "evt_1"}
    assert {"stage": [cause | {"value": "customer"}]} == found


KEYS = {**dict.fromkeys(ALWAYS), "mrr": "billing.mrr", "planName": "planName"}


def wrote(at: int, did: str = "updated", **traits: Any) -> dict[str, Any]:
    """A line of an account's history."""
    named = {{"mrr": "billing.mrr"}.get(k, k): v for k, v in traits.items()}
    return {"at": at, "did": did, "traits": named}


def test_a_trait_tells_what_is_wanted_and_when_vitally_had_what() -> None:
    ledger = Ledger(None, {"billing.mrr": 99, "planName": "Pro"})
    history = [wrote(NOW + 9, "dry run", mrr=200), wrote(NOW, mrr=99, planName="Old")]
    own = account(sub(items=[YEARLY | {"name": "Pro"}]))

    found = explained(own, ledger, history, KEYS)

    causes = found["because"]
    mrr = {"key": "billing.mrr", "wanted": 200, "vitally": 99, "because": causes["mrr"]}
    seen = {"seen_at": instant(NOW), "seen_by": "write"}
    plan = {"key": "planName", "wanted": "Pro", "vitally": "Pro"}
    plan |= {"because": causes["planName"]}
    assert {"mrr": mrr | seen, "planName": plan} == found["traits"]
    assert {"billing.mrr": 200} == found["to_write"]
    assert "active" == found["facts_say"]["subscriptionStatus"]


def test_an_old_reading_does_not_prove_what_may_have_been_written_since() -> None:
    ledger = Ledger(None, {"billing.mrr": 99}, {}, NOW - 1)
    lines = [wrote(NOW, planName="Pro")] * 5
    few, full = (explained(account(), ledger, h, KEYS) for h in (lines[1:], lines))

    assert "read" == few["traits"]["mrr"]["seen_by"]
    assert "seen_by" not in full["traits"]["mrr"]


def test_what_is_not_known_is_not_there_and_what_nobody_tells_is_gone() -> None:
    ledger = Ledger(None, {"billing.mrr": 9})
    unsure = sub(items=[{"price": "price_1", "interval": "year"}])

    unknown, gone = (explained(account(*f), ledger, [], KEYS) for f in ([unsure], []))

    mrr = {"key": "billing.mrr", "vitally": 9, "because": unknown["because"]["mrr"]}
    assert mrr == unknown["traits"]["mrr"]
    assert "its unit amount is not in the event" in unknown["unknown"]["mrr"]
    mrr = {"key": "billing.mrr", "wanted": None, "vitally": 9, "because": []}
    assert ({"mrr": mrr}, ["billing.mrr"]) == (gone["traits"], gone["gone"])
    assert {} == explained(account(), Ledger(), [], KEYS)["traits"]


def test_facts_are_told_as_data() -> None:
    party = Party("stripe:cus_1", fold(History([fact("b", {"status": "active"})])))

    told = {"party": party.name, "thing": "b", "event": "evt_1", "kind": "k", "at": NOW}
    told |= {"ambiguous": False, "value": {"status": "active"}}
    assert [told] == facts_of(party)
