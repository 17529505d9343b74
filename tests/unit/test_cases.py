"""The tables of `tests/cases`: Stripe's events of a case, and the traits they mean.

Every case is told in each rendering of Stripe's API that can carry it, and delivered
in order, backwards and twice over. How a table is written: `tests/cases/README.md`.
"""

from __future__ import annotations

from typing import Any

import pytest

from bridge.config import USED
from bridge.demo import lives
from bridge.domain.account import Identity, unite
from bridge.domain.document import TRAITS, document
from bridge.domain.forecast import TRAITS as FORECASTS
from bridge.domain.money import STRIPE as POLICY
from bridge.domain.traits import OPTIONAL
from bridge.sources.stripe import SOURCE
from tests.support.reader import Reader, folded
from tests.support.stripe_cases import (
    DAY_0,
    FOLDER,
    Case,
    cases_of,
    events,
    every,
    expected,
    parameters,
    renderings,
    seconds,
    use,
)


def now(case: Case) -> int:
    """The instant of its last event (ms) where it looks ahead, else long before all."""
    if not use(case) & FORECASTS:
        return 0
    return seconds(max(event["day"] for event in case["events"])) * 1000


@pytest.mark.parametrize(("case", "rendering"), parameters(every()))
def test_a_case_has_its_traits_in_whatever_order_it_is_delivered(
    case: Case, rendering: str
) -> None:
    own: Any = {"STRIPE_ACCOUNT_ID_KEY": case.get("account_key"), USED: use(case)}
    reader = Reader(SOURCE, **own)

    identities, doc = reader.outcome(*events(case, rendering), now=now(case))

    traits = {trait: doc.traits.get(trait, "left out") for trait in case["traits"]}
    assert expected(case) == traits
    if "held" in case:
        assert any(case["held"] in identity.reason for identity in identities)
    else:
        accounts = case.get("accounts", ["cus_1"])
        assert {Identity(account) for account in accounts} == identities


ONE_OF_EACH = {case["name"]: (case, rendering) for case, rendering in every()}


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_an_optional_trait_that_is_off_changes_nothing(name: str) -> None:
    case, rendering = ONE_OF_EACH[name]
    told, key = [*events(case, rendering)], case.get("account_key")
    _, doc = Reader(SOURCE, STRIPE_ACCOUNT_ID_KEY=key).outcome(*told)
    on: Any = {USED: frozenset(OPTIONAL), "STRIPE_ACCOUNT_ID_KEY": key}
    _, more = Reader(SOURCE, **on).outcome(*told)

    assert not OPTIONAL.keys() & {*doc.traits, *doc.unknown, *doc.stays}
    traits = {name: v for name, v in more.traits.items() if name in TRAITS}
    unknown = {name: v for name, v in more.unknown.items() if name in TRAITS}
    assert (doc.traits, doc.unknown) == (traits, unknown)


def test_a_case_means_the_same_in_a_connected_account() -> None:
    """All ids that name something are another account's, and nothing else is."""
    differ = []
    for name, (case, rendering) in ONE_OF_EACH.items():
        own: Any = {"STRIPE_ACCOUNT_ID_KEY": case.get("account_key"), USED: use(case)}
        told = [one for one in events(case, rendering) if not one["account"]]
        for one in told:
            kind = one["type"].split(".")[-2]
            one["data"]["object"].setdefault("object", kind)
        theirs = [one | {"account": "acct_1"} for one in told]
        parties = [
            folded(Reader(SOURCE, **own, STRIPE_CONNECT=True).facts(*bodies))
            for bodies in (told, theirs)
        ]
        docs = [document(unite("a", some), POLICY, now(case)) for some in parties]
        names = [
            f"stripe:acct_1/{one.name.removeprefix('stripe:')}" for one in parties[0]
        ]
        if docs[0].traits != docs[1].traits or names != [p.name for p in parties[1]]:
            differ.append(name)

    assert [] == differ


MONTH = lives.in_order(int(DAY_0.timestamp()))


@pytest.mark.parametrize("life", lives.LIVES, ids=lambda life: life["name"])
def test_a_life_of_the_demo_is_a_case_like_these(life: Case) -> None:
    reader = Reader(SOURCE, STRIPE_ACCOUNT_ID_KEY=lives.ACCOUNT_KEY, STRIPE_MODE="test")

    told = (one.event for one in MONTH if one.who == life["name"])
    identities, doc = reader.outcome(*told)

    traits = {name: value for name, value in doc.traits.items() if value is not None}
    assert {Identity(account) for account in life["accounts"]} == identities
    assert expected(life) == traits


def test_no_case_is_told_in_no_rendering() -> None:
    for path in FOLDER.glob("stripe*.toml"):
        told = cases_of(path)

        assert [] == [case["name"] for case in told if not renderings(case)]
        assert len(told) == len({case["name"] for case in told})
