"""The tables of `tests/cases/recipes`: lives as a vendor tells them, and their traits.

Each is delivered in order, backwards and twice over, with ids that rise and ids that
fall, and read at each of its looks. How a table is written: `tests/cases/README.md`.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from bridge.domain.account import Identity, identify, unite
from bridge.domain.document import document
from bridge.domain.facts import Fact
from bridge.domain.money import STRIPE
from bridge.sources.generic import make, recipes
from bridge.sources.http import as_read
from bridge.webhook.source import Delivery, Event, Source, Verified
from tests.support.reader import Reader, folded
from tests.support.recipe_cases import (
    DAY_0,
    Book,
    Case,
    Told,
    books,
    expected,
    looks,
    milliseconds,
)
from tests.support.stripe_cases import seconds


def parameters() -> list[Any]:
    return [
        pytest.param(book, case, rising, id=f"{book.recipe} {case['name']} {ids}")
        for book in books()
        for case in book.cases
        for ids, rising in (("falling", False), ("rising", True))
    ]


def source(book: Book, case: Case) -> Source:
    made = make(book.recipe, {"recipe": book.recipe, **case.get("lines", {})}, {})

    assert () == made.problems
    assert made.source is not None
    return made.source


def facts_of(reads: Source, book: Book, told: Told) -> Iterator[Fact]:
    """The way of the ingress, without signature; or that of the reader."""
    if told.read:
        party, at = str(book.said["party"]), milliseconds(told.at)
        event = Event(told.read, told.read, at, {**told.body, "party": party})
        found = reads.handlers[event.type].facts(event, {}, {})
        things = {fact.thing: fact.value for fact in found}
        yield from as_read(f"{book.recipe}:{party}", things.items(), at)
    else:
        body = Delivery("POST", "", told.headers, told.encoded(book.recipe))
        yield from Reader(reads).facts_of(reads.split(Verified(body)))


@pytest.mark.parametrize(("book", "case", "rising"), parameters())
def test_a_life_has_its_traits_in_whatever_order_it_is_delivered(
    book: Book, case: Case, rising: bool
) -> None:
    reads, told = source(book, case), book.told(case, rising=rising)
    for order in (told, told[::-1], [*told[::2], *told]):
        facts = [fact for one in order for fact in facts_of(reads, book, one)]
        parties = folded(facts)
        account = unite("account", parties)
        docs = [
            document(account, STRIPE, seconds(look.now) * 1000) for look in looks(case)
        ]

        for look, doc in zip(looks(case), docs, strict=True):
            found = {t: doc.traits.get(t, "left out") for t in look.traits}
            assert expected(look, DAY_0) == found
        wanted = case.get("account", book.said["account"])
        assert {Identity(wanted)} == {identify(p.things) for p in parties}
        for (look, doc), (later, after) in pairwise(
            zip(looks(case), docs, strict=True)
        ):
            if doc.traits != after.traits:
                assert doc.until is not None, "nobody would look again"
                assert look.now < (doc.until / 1000 - seconds(0)) / 86400 <= later.now


def test_no_two_lives_of_a_recipe_have_one_name() -> None:
    for book in books():
        assert len(book.cases) == len({case["name"] for case in book.cases})


def test_a_recipe_that_tells_of_money_has_a_dozen_lives() -> None:
    kinds = {
        name: {rule.get("kind", word) for word, rule in said.get("events", {}).items()}
        for name, said in recipes().items()
    }
    lives = {book.recipe: len(book.cases) for book in books()}

    assert {name for name in kinds if "subscription" in kinds[name]} == set(lives)
    assert {} == {name: n for name, n in lives.items() if n < 12}
