"""What an account shall be in Vitally, whoever joins it and leaves it, in any order."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config import Config
from bridge.desired import Desired, desired_state, is_ending
from bridge.domain.document import TRAITS, Change, Document, Ledger, settled
from bridge.domain.facts import Fact, Stamp
from bridge.domain.fold import History, fold
from bridge.domain.mass import CHURNED
from bridge.guard import moves
from bridge.store.view import Member, View
from tests.support.lives import by_party, law, stories
from tests.unit.test_outcomes import view
from workers.outcomes import unconfirmed

CONFIG = Config(traits={t: t for t in (*TRAITS, "stage", "seats")} | {"mrr": "b.mrr"})

NOBODY = Member("stripe:gone", 1, History([]), {})

ANSWERED, ARRIVED, LOST = "answered", "arrived, not answered", "lost"


def crm(party: str, **traits: Any) -> list[Fact]:
    """A company of a CRM that tells *traits* as they are."""
    things = {"customer": {}, **{f"trait:{t}": {"is": v} for t, v in traits.items()}}
    stamp = Stamp(False, 0, 0)
    return [
        Fact(party, thing, stamp, f"evt_{party}", "k", value, "a")
        for thing, value in things.items()
    ]


COMPANIES = [
    *crm("crm:1", stage="lead", seats=5),
    *crm("crm:2", stage=None),
    *crm("other:1", stage="won", mrr=7),
]


class Side(NamedTuple):
    """What Vitally has, what we know of that, and what was never confirmed."""

    traits: dict[str, Any]
    ledger: Ledger
    sent: tuple[str, ...] = ()
    sure: bool = True


def seen(parties: Sequence[Member], side: Side) -> View:
    return view(
        own=parties[0] if parties else NOBODY,
        members=tuple(parties),
        ledger=side.ledger,
        unconfirmed_traits=side.sent,
        unconfirmed_writes=0 if side.sure else 2,
    )


def goal(parties: Sequence[Member], side: Side) -> Desired:
    return desired_state(seen(parties, side), CONFIG)


def written(parties: Sequence[Member], side: Side, fate: str) -> Side:
    """Both sides after a write, whatever became of it."""
    target = goal(parties, side)
    doc, change = target.document, target.change
    after = dict(side.traits) if fate == LOST else {**side.traits, **change.traits}
    if fate != ANSWERED:
        sent = tuple({*doc.traits, *side.sent})  # as `workers.write` marks them
        return Side(after, side.ledger, sent, sure=False)
    left = tuple(unconfirmed(seen(parties, side), doc))
    return Side(after, settled(doc, side.ledger, named=None), left)


def members(facts: Sequence[Fact]) -> list[Member]:
    histories = {name: History(own) for name, own in by_party(facts).items()}
    return [Member(n, 1, history, fold(history)) for n, history in histories.items()]


def kept(doc: Document) -> Collection[str]:
    """Keys that keep what they have."""
    return {CONFIG.traits[trait] for trait in (*doc.unknown, *doc.stays)}


@law(200)
@given(stories(), st.data())
def test_who_joined_and_left_leaves_nothing_behind(story, data: st.DataObject) -> None:
    everybody = members([*story.facts, *COMPANIES])
    side = Side({"theirs": "by hand"}, Ledger())
    steps = data.draw(
        st.lists(
            st.tuples(
                st.lists(st.sampled_from(everybody), unique_by=lambda m: m.name),
                st.sampled_from([ANSWERED, ANSWERED, ARRIVED, LOST]),
            ),
            min_size=1,
            max_size=5,
        )
    )
    for parties, fate in steps:
        side = written(parties, side, fate)
    side = written(steps[-1][0], side, ANSWERED)

    alone = goal(steps[-1][0], Side({}, Ledger())).document
    wanted = {key: value for key, value in alone.traits.items() if value is not None}
    found = {key: value for key, value in side.traits.items() if value is not None}
    spared = {key: v for key, v in found.items() if key in kept(alone)}
    assert {"theirs": "by hand", **wanted, **spared} == found
    assert goal(steps[-1][0], side).change.is_empty


@law(50)
@given(stories())
def test_whoever_comes_back_is_told_again(story) -> None:
    everybody = members([*story.facts, *COMPANIES])
    first = written(everybody, Side({}, Ledger()), ANSWERED)
    none = written([], first, ANSWERED)

    again = written(everybody, none, ANSWERED)

    assert not any(v is not None for v in none.traits.values())
    assert first.traits.items() <= again.traits.items()


@pytest.mark.parametrize(
    ("had", "shall", "ends"),
    [
        ({"b.mrr": 5}, {"b.mrr": None}, True),
        ({"b.mrr": 0, "churnedAt": None}, {"b.mrr": None}, True),
        ({"b.mrr": None, "churnedAt": None}, {"churnedAt": "2026-01-01"}, True),
        ({"b.mrr": 5}, {"b.mrr": 4}, False),
        ({"b.mrr": 5}, {"planName": None}, False),
        ({"churnedAt": "2026-01-01"}, {"churnedAt": "2026-01-02"}, False),
        # First contact with what ended long ago.
        ({}, {"b.mrr": None, "churnedAt": "2026-01-01"}, False),
        ({"b.mrr": None}, {"b.mrr": None, "churnedAt": None}, False),
    ],
)
def test_an_ending_takes_away_what_vitally_is_known_to_have(
    had: dict[str, Any], shall: dict[str, Any], *, ends: bool
) -> None:
    one = goal([], Side({}, Ledger()))._replace(change=Change(None, shall))

    assert ends == is_ending(seen([], Side({}, Ledger(None, had))), one, CONFIG)


def test_only_what_the_bridge_wrote_and_nobody_released_moves() -> None:
    ledger = Ledger(None, {"b.mrr": 5, "billingCurrency": "USD", "churnedAt": None})
    wrote = seen([], Side({}, ledger))._replace(written=True)
    one = goal([], Side({}, ledger))
    gone = one._replace(change=Change(None, {"b.mrr": None}))
    more = one._replace(change=Change(None, {"b.mrr": 7.5}))

    assert {CHURNED: 1, "USD down": 5000} == moves(wrote, gone, CONFIG)
    assert {"USD up": 2500} == moves(
        wrote._replace(wrote_at=0, now=10**9), more, CONFIG
    )
    assert {} == moves(wrote._replace(written=False), gone, CONFIG)
    assert {} == moves(wrote._replace(released=1), gone, CONFIG)
