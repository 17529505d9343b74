"""Events of one instant whose order nothing tells: nothing is tossed."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest

from bridge.domain.account import Identity, Party, identify, unite
from bridge.domain.document import Document, document
from bridge.domain.explanation import explain
from bridge.domain.facts import Fact, Stamp
from bridge.domain.fold import History, compact, fold
from bridge.domain.traits import MOST_VIEWS
from bridge.webhook.values import digest

SUB = "subscription:s1"


def fact(event: str, value: dict[str, Any], thing: str = SUB, **said: Any) -> Fact:
    stamp = Stamp(said.get("final", False), said.get("at", 1000), said.get("rank", 0))
    return Fact("shop:1", thing, stamp, event, "changed", value, digest(value))


def sub(unit: int = 5000, **more: Any) -> dict[str, Any]:
    item = {"unit": str(unit), "interval": "month"}
    return {"status": "active", "currency": "usd", "items": [item], "ends": 9000} | more


def party(*facts: Fact) -> Party:
    return Party("shop:1", fold(compact(History(facts))))


def doc(*facts: Fact) -> Document:
    return document(unite("acme", [party(*facts)]), now=2000)


def test_what_differs_is_left_out_and_the_rest_is_known_whatever_the_ids() -> None:
    first, second = sub(5000), sub(7000)
    docs = {
        (tuple(d.traits.items()), tuple(d.unknown.items()))
        for ids in permutations(("a", "b"))
        for d in [doc(fact(ids[0], first), fact(ids[1], second))]
    }
    (traits, unknown) = docs.pop()

    assert not docs
    assert "mrr" not in dict(traits)
    assert ("active", "1970-01-01T00:00:09.000Z", None) == tuple(
        dict(traits)[t] for t in ("subscriptionStatus", "nextRenewalDate", "churnedAt")
    )
    assert "nothing tells which of them is the last" in dict(unknown)["mrr"]
    assert dict(unknown)["mrr"].startswith("s1: ")


def test_events_that_say_the_same_are_no_tie() -> None:
    found = doc(fact("a", sub()), fact("b", sub()))

    assert (50, {}) == (found.traits["mrr"], found.unknown)


def test_a_later_event_settles_it() -> None:
    found = doc(fact("a", sub(1)), fact("b", sub(2)), fact("c", sub(3000), at=1001))

    assert 30 == found.traits["mrr"]


def test_a_rank_settles_it() -> None:
    assert 30 == doc(fact("a", sub(3000), rank=1), fact("b", sub(2))).traits["mrr"]


def test_whether_it_ended_is_left_open() -> None:
    over = {"status": "canceled", "currency": "usd", "ended_at": 1000}
    found = doc(fact("a", sub()), fact("b", over))

    assert {"mrr", "churnedAt", "subscriptionStatus"} <= found.unknown.keys()


def test_two_that_are_open_are_tried_together() -> None:
    """Either may have ended, and only if both have, the customer has churned."""
    over = {"status": "canceled", "currency": "usd", "ended_at": 1000}
    other = "subscription:s2"
    found = doc(
        fact("a", sub()),
        fact("b", over),
        fact("c", sub(), other),
        fact("d", over, other),
    )

    assert {"churnedAt", "subscriptionStatus", "mrr"} <= found.unknown.keys()


def test_too_many_open_ones_are_not_tried() -> None:
    things = [f"subscription:s{n}" for n in range(MOST_VIEWS.bit_length())]
    facts = [fact(e, sub(u), t) for t in things for e, u in (("a", 1), ("b", 2))]
    found = doc(*facts)

    assert {} == found.traits
    assert {"mrr", "subscriptionStatus"} <= found.unknown.keys()


def test_whether_the_customer_was_deleted_is_left_open() -> None:
    found = doc(
        fact("a", {"name": "Acme"}, "customer"),
        fact("b", {"deleted": True}, "customer"),
        fact("c", sub()),
    )

    assert {"mrr", "churnedAt", "subscriptionStatus"} <= found.unknown.keys()


def test_a_trait_that_two_events_tell_otherwise_is_left_out() -> None:
    found = doc(
        fact("a", {"is": 1}, "trait:seats"),
        fact("b", {"is": 2}, "trait:seats"),
        fact("a", {"is": "x"}, "trait:tier"),
    )

    assert ({"tier": "x"}, {"seats"}) == (found.traits, {*found.unknown})


def test_two_customers_of_one_account_that_tell_a_trait_otherwise_leave_it_out() -> (
    None
):
    first = party(fact("a", {"is": 1}, "trait:seats"), fact("a", {"is": 1}, "trait:x"))
    other = party(fact("b", {"is": 2}, "trait:seats"), fact("b", {"is": 1}, "trait:x"))
    parties = [first, other._replace(name="shop:2")]
    docs = [document(unite("acme", told)) for told in (parties, parties[::-1])]

    for found in docs:
        assert ({"x": 1}, {"seats"}) == (found.traits, {*found.unknown})


@pytest.mark.parametrize("thing", ["customer", "account", SUB])
def test_an_account_that_two_events_name_otherwise_is_nobody_s(thing: str) -> None:
    things = fold(
        History(
            [fact("a", {"account": "x"}, thing), fact("b", {"account": "y"}, thing)]
        )
    )
    identity = identify(things)

    assert None is identity.account
    assert "x, y" in identity.reason


def test_an_account_that_both_name_is_the_account() -> None:
    things = fold(
        History(
            [
                fact("a", {"account": "x", "name": "A"}, "customer"),
                fact("b", {"account": "x", "name": "B"}, "customer"),
            ]
        )
    )

    assert Identity("x") == identify(things)


def test_it_is_said_where_an_amount_comes_from() -> None:
    account = unite("acme", [party(fact("a", sub(1)), fact("b", sub(2)))])

    assert explain(account, now=2000)["mrr"][0]["ambiguous"]
