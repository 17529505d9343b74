"""Every trait can say which subscriptions, items and events it came from."""

from __future__ import annotations

from typing import Any

from bridge.domain.account import Account, Party, unite
from bridge.domain.document import Ledger
from bridge.domain.explanation import explain, explained, facts_of
from bridge.domain.facts import Fact, Stamp
from bridge.domain.fold import History, fold
from bridge.domain.money import Policy
from bridge.domain.traits import TABLE, instant

NOW = 1_700_000_000_000


def account(*more: Fact, **subscriptions: dict[str, Any]) -> Account:
    facts = [*more] + [
        Fact(
            "stripe:cus_1",
            f"subscription:{name}",
            Stamp(False, NOW, 0),
            f"evt_{name}",
            "customer.subscription.created",
            {"status": "active", "currency": "usd"} | value,
            name,
        )
        for name, value in subscriptions.items()
    ]
    return unite("acme", [Party("stripe:cus_1", fold(History(facts)))])


YEARLY = {"price": "price_1", "unit": "120000", "interval": "year", "quantity": 2}


def test_without_a_subscription_there_is_nothing_to_explain() -> None:
    assert {} == explain(account())


def test_each_trait_is_explained() -> None:
    tried = {"items": [YEARLY], "trial_end": NOW}

    assert set(TABLE) == set(explain(account(sub_1=tried)))


def test_money_is_worked_out_item_by_item() -> None:
    half = {"coupon": "half", "percent": "50", "duration": "forever"}
    told = explain(account(sub_1={"items": [YEARLY], "discounts": [half]}))["mrr"]
    expected = {
        "subscription": "sub_1",
        "party": "stripe:cus_1",
        "event": "evt_sub_1",
        "status": "active",
        "currency": "usd",
        "monthly": "10000",
        "items": [
            {
                "price": "price_1",
                "quantity": 2,
                "interval": "year",
                "count": 1,
                "factor": "1/12",
                "gross": "20000",
                "discounts": ["half"],
                "monthly": "10000",
            }
        ],
    }

    assert [expected] == told


def test_what_is_not_known_says_why() -> None:
    told = explain(account(sub_1={"items": [YEARLY], "discounts": [{"id": "di_1"}]}))

    assert (
        "sub_1: the terms of discount di_1 are not known" == told["mrr"][0]["unknown"]
    )


def test_a_date_that_is_not_known_says_why() -> None:
    told = explain(account(sub_1={"items": [YEARLY], "cancel_at_period_end": True}))

    why = "sub_1: the end of its period is not in the event"
    assert [why] == [cause["unknown"] for cause in told["cancelAt"]]


def test_a_subscription_whose_order_is_not_certain_says_so() -> None:
    rival = Fact(
        *("stripe:cus_1", "subscription:sub_1", Stamp(False, NOW, 0), "evt_z", "k"),
        *({"status": "active"}, "rival"),
    )
    sure = explain(account(sub_1={}))["subscriptionStatus"]
    unsure = explain(account(rival, sub_1={}))["subscriptionStatus"]

    assert [None, True] == [cause.get("ambiguous") for cause in (*sure, *unsure)]


def test_an_end_is_that_of_what_was_live() -> None:
    ended = {"status": "canceled", "ended_at": NOW, "items": [YEARLY]}
    tried = ended | {"trial_end": NOW}
    told = explain(account(sub_1=ended, sub_2=tried))["churnedAt"]

    assert [NOW, None] == [cause["value"] for cause in told]


def test_a_factor_is_for_one_month() -> None:
    quarterly = YEARLY | {"interval": "month", "count": 3}
    told = explain(account(sub_1={"items": [quarterly]}))["mrr"]

    assert ["1/3"] == [item["factor"] for item in told[0]["items"]]


def test_what_a_source_tells_as_it_is_names_the_event() -> None:
    stage = Fact(
        *("hubspot:1", "trait:stage", Stamp(False, NOW, 2), "evt_1", "k"),
        *({"is": "customer"}, "a"),
    )
    said = explain(unite("acme", [Party("hubspot:1", fold(History([stage])))]))

    cause = {"source": "hubspot", "party": "hubspot:1", "event": "evt_1"}
    assert {"stage": [cause | {"value": "customer"}]} == said


def test_only_what_counts_is_in_the_sum() -> None:
    both = account(sub_1={"items": [YEARLY]}, sub_2={"status": "past_due", "items": []})

    told = explain(both, Policy(statuses=frozenset({"active"})))["mrr"]

    assert ["sub_1"] == [cause["subscription"] for cause in told]


def test_a_date_names_the_subscription_that_gave_it() -> None:
    ends = {"ends": NOW + 1000}
    told = explain(account(sub_1={"items": [YEARLY | ends]}))["nextRenewalDate"]

    assert [("sub_1", NOW + 1000)] == [(c["subscription"], c["value"]) for c in told]


KEYS = {**dict.fromkeys(TABLE), "mrr": "billing.mrr", "planName": "planName"}
PLAN = YEARLY | {"name": "Pro"}


def wrote(at: int, did: str = "updated", **traits: Any) -> dict[str, Any]:
    """A line of an account's history."""
    named = {"mrr": "billing.mrr"}
    return {
        "at": at,
        "did": did,
        "traits": {named.get(k, k): traits[k] for k in traits},
    }


def test_a_trait_tells_what_is_wanted_and_when_vitally_had_what() -> None:
    ledger = Ledger(None, {"billing.mrr": 99, "planName": "Pro"})
    history = [wrote(NOW + 9, "dry run", mrr=200), wrote(NOW, mrr=99, planName="Old")]

    found = explained(account(sub_1={"items": [PLAN]}), ledger, history, KEYS)

    causes = found["because"]
    mrr = {"key": "billing.mrr", "wanted": 200, "vitally": 99, "because": causes["mrr"]}
    seen = {"seen_at": instant(NOW), "seen_by": "write"}
    plan = {"key": "planName", "wanted": "Pro", "vitally": "Pro"}
    assert {
        "mrr": mrr | seen,
        "planName": plan | {"because": causes["planName"]},
    } == found["traits"]
    assert {"billing.mrr": 200} == found["to_write"]
    assert "active" == found["facts_say"]["subscriptionStatus"]


def test_what_is_not_known_is_not_there() -> None:
    unsure = {"items": [{"price": "price_1", "interval": "year"}]}

    found = explained(account(sub_1=unsure), Ledger(None, {"billing.mrr": 9}), [], KEYS)

    mrr = {"key": "billing.mrr", "vitally": 9, "because": found["because"]["mrr"]}
    assert mrr == found["traits"]["mrr"]
    assert "its unit amount is not in the event" in found["unknown"]["mrr"]
    assert {} == explained(account(), Ledger(), [], KEYS)["traits"]


def test_what_nobody_tells_any_more_is_wanted_no_more() -> None:
    found = explained(account(), Ledger(None, {"billing.mrr": 9}), [], KEYS)

    gone = {"key": "billing.mrr", "wanted": None, "vitally": 9, "because": []}
    assert ({"mrr": gone}, ["billing.mrr"]) == (found["traits"], found["gone"])


def test_facts_are_told_as_data() -> None:
    value = {"status": "active", "currency": "usd"}
    fact = Fact("a:1", "b", Stamp(False, NOW, 0), "evt", "kind", value, "a")
    told = {"party": "a:1", "thing": "b", "event": "evt", "kind": "kind", "at": NOW}

    assert [told | {"ambiguous": False, "value": value}] == facts_of(
        Party("a:1", fold(History([fact])))
    )
