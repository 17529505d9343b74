"""What the recipes make of the deliveries that lie beside them, in Vitally's words.

The facts of each are golden (`tests/sources`); whole lives are in `tests/cases/recipes`.
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
from bridge.webhook.source import Event
from tests.support.reader import Reader

FOLDER = Path(bridge.sources.generic.__path__[0]) / "fixtures"

TRIAL, YEN = "paddle in_a_trial", "paddle in_yen"
CANCELED = "paddle at_an_instant_with_nanoseconds"
NEW_YORK, LEMONS = "maxio in_new_york_time", "lemonsqueezy price_unknown"


def facts_of(name: str, lines: Mapping[str, Any]) -> list[Fact]:
    """Return what a recipe makes of the fixture that is called so."""
    recipe, _, what = name.partition(" ")
    (path,) = [
        p for p in FOLDER.glob(f"{recipe}/*__{what}.*") if ".facts" not in p.name
    ]
    kind = path.name.partition("__")[0]
    source = make(recipe, {"recipe": recipe, **lines}, {}).source
    assert source is not None
    if kind.startswith("read."):
        body = {**orjson.loads(path.read_bytes()), "party": "blue-door"}
        events = [Event(kind, kind, 1_772_355_600_000, body)]
    else:
        events = Reader(source).events(path.read_bytes())

    assert [kind] == [event.type for event in events]
    return [*Reader(source).facts_of(events)]


def doc_of(*names: str, **lines: Any) -> Document:
    """The document of an account of which these deliveries are all that is known."""
    facts = [fact for name in names for fact in facts_of(name, lines)]
    things = fold(History(facts))
    account = identify(things).account
    assert account is not None
    now = max(fact.stamp.at for fact in facts)
    return document(unite(account, [Party(facts[0].party, things)]), now=now)


SUBSCRIPTION = {
    "mrr": 3 * 49 + 50,
    "nextRenewalDate": "2026-04-01T09:00:00.000Z",
    "churnedAt": None,
    "subscriptionStatus": "active",
    "planName": "Pro, Support",
    "billingCurrency": "EUR",
    "cancelAt": None,
}
CANCELED_AND_PAID = {
    "subscriptionStatus": "active",
    "mrr": 199.98,
    "cancelAt": "2026-06-01T09:00:00.000Z",
    "churnedAt": None,
}
ADD_ON = {"mrr": pytest.approx(2 * 99.99 + 10), "planName": "Pro, Support"}
RENEWED = {"mrr": "left out", "nextRenewalDate": "2026-04-01T09:00:00.000Z"}
OPEN = {"subscriptionStatus": "left out", "mrr": "left out"}


@pytest.mark.parametrize(
    ("recipe", "names", "rule", "expected"),
    [
        ("paddle", "monthly_yearly_and_one_time", {}, SUBSCRIPTION),
        ("paddle", "in_yen", {}, {"mrr": 5000}),
        ("paddle", "with_a_discount", {}, {"mrr": "left out"}),
        ("recurly", "a_company canceled_is_paid_until_its_end", {}, CANCELED_AND_PAID),
        ("recurly", "a_company quarterly_with_an_add_on", {}, ADD_ON),
        ("orb", "fixed_usage_past_and_one_time", {}, {"mrr": 5 * 12.5 + 100}),
        ("orb", "tiers_have_no_unit", {}, {"mrr": "left out"}),
        ("close", "renamed won_and_paid_yearly", {}, {"name": "Blue Door", "mrr": 100}),
        ("close", "renamed still_open", {}, OPEN),
        ("lemonsqueezy", "price_unknown", {}, {"name": "Blue Door", "mrr": "left out"}),
        ("maxio", "in_new_york_time", {}, {"mrr": 99}),
        # A site may name its currency itself, and take a part of a recipe away.
        ("maxio", "in_new_york_time", {"currency": "'jpy'"}, {"mrr": 9900}),
        ("maxio", "in_new_york_time", {"mrr": False}, RENEWED),
    ],
)
def test_a_delivery_has_its_traits(recipe, names, rule, expected) -> None:
    lines = {"events": {"subscription": rule}} if rule else {}
    doc = doc_of(*(f"{recipe} {name}" for name in names.split()), **lines)
    traits = {"name": doc.name.text, **doc.traits}

    assert expected == {trait: traits.get(trait, "left out") for trait in expected}


def test_a_discount_without_terms_is_named() -> None:
    doc = doc_of("paddle with_a_discount")

    assert "dsc_0example" in doc.unknown["mrr"]


@pytest.mark.parametrize(
    ("names", "churned"),
    [
        ([TRIAL, "paddle monthly_yearly_and_one_time", CANCELED], "04-01T09:00:00.987"),
        (["maxio in_a_trial", NEW_YORK, "maxio canceled"], "03-20T09:00:00.000"),
        (
            ["lemonsqueezy with_a_name", LEMONS, "lemonsqueezy over"],
            "04-01T09:00:00.000",
        ),
    ],
)
def test_an_older_event_loses_in_any_order(names: list[str], churned: str) -> None:
    docs = [doc_of(*order) for order in (names, names[::-1], [*names[1:], names[0]])]

    assert docs[0] == docs[1] == docs[2]
    assert ("churned", f"2026-{churned}Z", None) == tuple(
        docs[0].traits[t] for t in ("subscriptionStatus", "churnedAt", "mrr")
    )


def test_a_subscription_is_canceled_beside_another_without_churn() -> None:
    other = {"events": {"subscription": {"id": "'another'"}}}
    facts = [*facts_of(CANCELED, {}), *facts_of(YEN, other)]
    doc = document(unite("x", [Party(facts[0].party, fold(History(facts)))]))

    assert (None, 5000) == (doc.traits["churnedAt"], doc.traits["mrr"])


@pytest.mark.parametrize("name", [TRIAL, "maxio in_a_trial", LEMONS])
def test_a_word_of_tomorrow_is_not_read_as_active(name: str) -> None:
    lines = {"events": {"subscription": {"status": {"path": "'hibernating'"}}}}

    with pytest.raises(ValidationError, match="status"):
        facts_of(name, lines)
