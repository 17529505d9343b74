"""The tables of `tests/cases/chargebee.toml`: lives as Chargebee tells them.

Each is delivered in order, backwards and twice over, with ids that rise and ids that
fall. How a table is written: `tests/cases/README.md`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator

import orjson
import pytest

from bridge.domain.account import Identity, Party, identify, unite
from bridge.domain.document import document
from bridge.domain.facts import Fact
from bridge.domain.fold import History, compact, fold
from bridge.sources.chargebee import SOURCE
from bridge.webhook.source import Delivery, Verified
from tests.support.lives import by_party
from tests.support.recipe_cases import FOLDER, Book, Case, Told, expected, looks

TABLE = FOLDER.parent / "chargebee.toml"
BOOK = Book("chargebee", tomllib.loads(TABLE.read_text(encoding="utf-8")))


def facts_of(told: Told) -> Iterator[Fact]:
    """The way of the ingress, without the password and without storage."""
    delivery = Delivery("POST", "/", {}, orjson.dumps(told.body))
    for event in SOURCE.split(Verified(delivery)):
        handler = SOURCE.handlers[event.type]
        yield from handler.facts(event, handler.schema.load(event.body), {})


@pytest.mark.parametrize("rising", [True, False], ids=["rising", "falling"])
@pytest.mark.parametrize("case", BOOK.cases, ids=lambda case: str(case["name"]))
def test_a_life_has_its_traits_in_whatever_order_it_is_delivered(
    case: Case, rising: bool
) -> None:
    told = BOOK.told(case, rising=rising)
    (look,) = looks(case)
    for order in (told, told[::-1], [*told[::2], *told]):
        facts = [fact for one in order for fact in facts_of(one)]
        parties = [
            Party(name, fold(compact(History(own))))
            for name, own in by_party(facts).items()
        ]
        doc = document(unite("account", parties))

        found = {trait: doc.traits.get(trait, "left out") for trait in look.traits}
        assert expected(look) == found
        assert {Identity(BOOK.said["account"])} == {identify(p.things) for p in parties}


def test_the_names_of_the_lives_are_their_own() -> None:
    names = [case["name"] for case in BOOK.cases]

    assert sorted(set(names)) == names
