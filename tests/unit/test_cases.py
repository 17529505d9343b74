"""The tables of `tests/cases`: Stripe's events of a case, and the traits they mean.

Every case is told in each rendering of Stripe's API that can carry it, and delivered
in order, backwards and twice over. How a table is written: `tests/cases/README.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import orjson
import pytest

from bridge.demo import lives
from bridge.domain.account import Identity, Party, identify, unite
from bridge.domain.document import Document, document
from bridge.domain.facts import Fact, PartyKind, catalogue, kind_of
from bridge.domain.fold import History, compact, fold
from bridge.sources.stripe import SOURCE
from bridge.webhook.source import Delivery, Verified
from tests.support.lives import by_party
from tests.support.stripe_cases import (
    FOLDER,
    Case,
    cases_of,
    events,
    expected,
    parameters,
    renderings,
)


def facts(case: Case, bodies: Iterable[bytes]) -> Iterator[Fact]:
    """The way of the ingress, without signature and storage."""
    options = {
        "STRIPE_MODE": "live",
        "STRIPE_ACCOUNT_ID_KEY": case.get("account_key"),
        "STRIPE_WEBHOOK_SECRET": ("whsec_example",),
        "STRIPE_API_KEY": None,
    }
    for body in bodies:
        for event in SOURCE.split(Verified(Delivery("POST", "/", {}, body))):
            if SOURCE.ignores(event, options) is None:
                handler = SOURCE.handlers[event.type]
                yield from handler.facts(
                    event, handler.schema.load(event.body), options
                )


def outcome(found: Iterable[Fact]) -> tuple[set[Identity], Document]:
    """Whose account it is, and the document of all parties together."""
    histories = {party: compact(History(own)) for party, own in by_party(found).items()}
    folded = {name: fold(history) for name, history in histories.items()}
    shared = {
        n: things for n, things in folded.items() if kind_of(n) == PartyKind.CATALOGUE
    }
    prefix = catalogue("stripe", "")
    listed = {name.removeprefix(prefix): things for name, things in shared.items()}
    own = {n: things for n, things in folded.items() if n not in shared}
    parties = [Party(name, things, listed) for name, things in own.items()]
    return (
        {identify(party.things) for party in parties},
        document(unite("account", parties)),
    )


@pytest.mark.parametrize(("case", "rendering"), parameters())
def test_a_case_has_its_traits_in_whatever_order_it_is_delivered(
    case: Case, rendering: str
) -> None:
    bodies = [orjson.dumps(event) for event in events(case, rendering)]
    for order in (bodies, bodies[::-1], [*bodies[::2], *bodies]):
        identities, doc = outcome(facts(case, order))
        found = {trait: doc.traits.get(trait, "left out") for trait in case["traits"]}

        assert expected(case) == found
        if "held" in case:
            assert any(case["held"] in identity.reason for identity in identities)
        else:
            wanted = case.get("accounts", ["cus_1"])
            assert {Identity(account) for account in wanted} == identities


DEMO = cases_of(Path(lives.__file__).with_name("lives.toml"))


@pytest.mark.parametrize("life", DEMO, ids=[life["name"] for life in DEMO])
def test_a_life_of_the_demo_is_a_case_like_these(life: Case) -> None:
    case = {**life, "account_key": lives.ACCOUNT_KEY}
    (rendering,) = renderings(case)
    told = [
        event | {"livemode": True}
        for event in events(case, rendering)
        if event["type"] in SOURCE.handlers
    ]
    identities, doc = outcome(facts(case, map(orjson.dumps, told)))
    found = {name: value for name, value in doc.traits.items() if value is not None}

    assert {Identity(account) for account in life["accounts"]} == identities
    assert expected(case) == found


def test_no_case_is_told_in_no_rendering() -> None:
    for path in FOLDER.glob("stripe*.toml"):
        told = cases_of(path)

        assert [] == [case["name"] for case in told if not renderings(case)]
        assert len(told) == len({case["name"] for case in told})
