"""Every recipe reads the deliveries that lie beside it, as the facts beside them say.

`REGOLD=1 pytest tests/unit/test_recipes.py` writes the facts anew. What is named
`read.…` is no delivery but what the reader gives to the rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import pytest
from marshmallow import ValidationError

import bridge.sources.generic
from bridge.domain.account import Party, identify, unite
from bridge.domain.document import Document, document
from bridge.domain.facts import Fact
from bridge.domain.fold import History, fold
from bridge.sources.generic import make
from bridge.webhook.source import Delivery, Event, Source, Verified

FOLDER = Path(bridge.sources.generic.__path__[0]) / "fixtures"
UNFINISHED = {"standard-webhooks", "cloudevents"}
"""Recipes whose events every sender makes up: they say only how to prove and split."""


def source(recipe: str, said: Mapping[str, Any] | None = None) -> Source:
    made = make(recipe, {"recipe": recipe, **(said or {})}, {})

    assert () == made.problems
    assert made.source is not None
    return made.source


def facts_of(path: Path, said: Mapping[str, Any] | None = None) -> list[Fact]:
    """Return what the recipe in whose folder the file lies makes of it."""
    reads, body = source(path.parent.name, said), path.read_bytes()
    kind = path.name.partition("__")[0]
    if kind.startswith("read."):
        told = {**orjson.loads(body), "party": "blue-door"}
        events = [Event(kind, kind, 1_772_355_600_000, told)]
    else:
        events = list(reads.split(Verified(Delivery("POST", "", {}, body))))

    assert [kind] == [event.type for event in events]
    return [f for e in events for f in reads.handlers[e.type].facts(e, {}, {})]


def doc_of(*names: str, said: Mapping[str, Any] | None = None) -> Document:
    """The document of an account of which these deliveries are all that is known."""
    facts = [f for name in names for f in facts_of(FOLDER / name, said)]
    things = fold(History(facts))
    account = identify(things).account
    assert account is not None
    now = max(fact.stamp.at for fact in facts)
    return document(unite(account, [Party(facts[0].party, things)]), now=now)


def test_the_mrr_of_paddle_is_that_of_the_recurring_items() -> None:
    doc = doc_of("paddle/subscription.updated__monthly_yearly_and_one_time.json")

    assert {
        "mrr": 3 * 49 + 50,
        "nextRenewalDate": "2026-04-01T09:00:00.000Z",
        "churnedAt": None,
        "subscriptionStatus": "active",
        "planName": "Pro, Support",
        "billingCurrency": "EUR",
        "cancelAt": None,
    } == doc.traits


def test_yen_have_no_cents() -> None:
    assert 5000 == doc_of("paddle/subscription.past_due__in_yen.json").traits["mrr"]


def test_a_discount_without_terms_leaves_the_mrr_unknown() -> None:
    doc = doc_of("paddle/subscription.updated__with_a_discount.json")

    assert "mrr" not in doc.traits
    assert "dsc_0example" in doc.unknown["mrr"]


@pytest.mark.parametrize(
    ("recipe", "trial", "live", "over", "churned"),
    [
        (
            "paddle",
            "subscription.created__in_a_trial.json",
            "subscription.updated__monthly_yearly_and_one_time.json",
            "subscription.canceled__at_an_instant_with_nanoseconds.json",
            "2026-04-01T09:00:00.987Z",
        ),
        (
            "maxio",
            "signup_success__in_a_trial.form",
            "renewal_success__in_new_york_time.form",
            "subscription_state_change__canceled.form",
            "2026-03-20T09:00:00.000Z",
        ),
        (
            "lemonsqueezy",
            "customer_created__with_a_name.json",
            "subscription_updated__price_unknown.json",
            "subscription_expired__over.json",
            "2026-04-01T09:00:00.000Z",
        ),
    ],
)
def test_an_older_event_loses_in_any_order(
    recipe: str, trial: str, live: str, over: str, churned: str
) -> None:
    names = [f"{recipe}/{name}" for name in (trial, live, over)]
    docs = [doc_of(*order) for order in (names, names[::-1], [*names[1:], names[0]])]

    assert docs[0] == docs[1] == docs[2]
    assert ("churned", churned, None) == (
        docs[0].traits["subscriptionStatus"],
        docs[0].traits["churnedAt"],
        docs[0].traits["mrr"],
    )


def test_a_subscription_is_canceled_beside_another_without_churn() -> None:
    name = "paddle/subscription.canceled__at_an_instant_with_nanoseconds.json"
    other = {"events": {"subscription": {"id": "'another'"}}}
    facts = [
        *facts_of(FOLDER / name),
        *facts_of(FOLDER / "paddle/subscription.past_due__in_yen.json", other),
    ]
    doc = document(unite("x", [Party(facts[0].party, fold(History(facts)))]))

    assert (None, 5000) == (doc.traits["churnedAt"], doc.traits["mrr"])


def test_a_canceled_subscription_of_recurly_is_paid_until_its_end() -> None:
    doc = doc_of(
        "recurly/read.account__a_company.json",
        "recurly/read.subscription__canceled_is_paid_until_its_end.json",
    )

    assert ("active", 199.98, "2026-06-01T09:00:00.000Z", None) == tuple(
        doc.traits[t] for t in ("subscriptionStatus", "mrr", "cancelAt", "churnedAt")
    )


def test_the_add_ons_of_recurly_are_paid_as_often_as_its_plan() -> None:
    doc = doc_of(
        "recurly/read.account__a_company.json",
        "recurly/read.subscription__quarterly_with_an_add_on.json",
    )

    assert (2 * 99.99 + 10, "Pro, Support") == (
        pytest.approx(doc.traits["mrr"]),
        doc.traits["planName"],
    )


def test_only_the_fixed_prices_of_orb_that_go_on_are_mrr() -> None:
    doc = doc_of("orb/subscription.plan_changed__fixed_usage_past_and_one_time.json")

    assert 5 * 12.5 + 100 == doc.traits["mrr"]


def test_tiers_of_orb_leave_the_mrr_unknown() -> None:
    doc = doc_of("orb/subscription.plan_changed__tiers_have_no_unit.json")

    assert "mrr" in doc.unknown


def test_only_a_won_opportunity_of_close_counts() -> None:
    lead = "close/lead.updated__renamed.json"
    won = doc_of(lead, "close/opportunity.updated__won_and_paid_yearly.json")
    still = doc_of(lead, "close/opportunity.updated__still_open.json")

    assert ("Blue Door", 100) == (won.name.text, won.traits["mrr"])
    assert {} == still.traits


def test_a_subscription_of_lemon_squeezy_names_its_customer() -> None:
    doc = doc_of("lemonsqueezy/subscription_updated__price_unknown.json")

    assert "Blue Door" == doc.name.text
    assert "mrr" in doc.unknown


@pytest.mark.parametrize(
    "name",
    [
        "paddle/subscription.created__in_a_trial.json",
        "maxio/signup_success__in_a_trial.form",
        "lemonsqueezy/subscription_updated__price_unknown.json",
    ],
)
def test_a_word_of_tomorrow_is_not_read_as_active(name: str) -> None:
    told = {"events": {"subscription": {"status": {"path": "'hibernating'"}}}}

    with pytest.raises(ValidationError, match="status"):
        facts_of(FOLDER / name, told)


def test_a_site_of_maxio_may_name_its_currency_itself() -> None:
    name = "maxio/renewal_success__in_new_york_time.form"
    said = {"events": {"subscription": {"currency": "'jpy'"}}}

    assert 99 == doc_of(name).traits["mrr"]
    assert 9900 == doc_of(name, said=said).traits["mrr"]


def test_the_parts_of_a_recipe_can_be_taken_away() -> None:
    name = "maxio/renewal_success__in_new_york_time.form"
    doc = doc_of(name, said={"events": {"subscription": {"mrr": False}}})

    assert "mrr" in doc.unknown
    assert "2026-04-01T09:00:00.000Z" == doc.traits["nextRenewalDate"]
