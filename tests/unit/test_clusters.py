"""A thousand failures of five causes are five clusters, whatever ids the reasons name."""

from __future__ import annotations

import re
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.attention import CAUSES
from bridge.domain import clusters as domain
from bridge.domain.account import UNNAMED
from bridge.domain.clusters import (
    ACTIONS,
    Mark,
    Waiting,
    without_ids,
)

clusters = partial(domain.clusters, causes=CAUSES)

TEMPLATES = (
    ("parked", "/externalId must NOT have more than {} characters: {}"),
    ("parked", "/traits/mrr must be integer, got {} for {}"),
    ("parked", "organization {} of {} does not exist"),
    ("held", UNNAMED + "; its buyer, who may write what he likes, claims {}, {}"),
    ("held", "could not be read: no {} until {}"),
    ("quarantined", "customer.updated: data.object.items.{n}.price: not {}"),
    ("quarantined", "customer.updated: data.object.items.{n}.plan: not {}"),
)
"""Reasons of seven causes; no two may become one, whatever is put in."""

WORDS = st.text("abcdefghijklmnopqrstuvwxyzABC", min_size=3, max_size=12)
IDS = st.one_of(
    st.integers(0, 10**12).map(str),
    st.uuids().map(str),
    st.datetimes().map(lambda at: f"{at:%Y-%m-%dT%H:%M:%S.%fZ}"),
    st.dates().map(lambda at: f"{at:%B %d, %Y}"),
    st.emails(domains=st.just("example.com")).filter(lambda e: "'" not in e),
    st.builds("{}_{}1{}".format, st.sampled_from(["cus", "sub"]), WORDS, WORDS),
    WORDS.map(lambda word: f"'{word}'"),
    WORDS.map(lambda word: f'"{word} & {word}"'),
    WORDS.map(lambda word: f"stripe:cus_{word}9"),
)


@given(st.lists(st.tuples(st.sampled_from(TEMPLATES), IDS, IDS), min_size=1))
def test_the_same_cause_is_one_cluster_and_no_two_causes_are(rows) -> None:
    waiting = [
        Waiting(kind, f"party{n}", text.format(first, second, n=n), n)
        for n, ((kind, text), first, second) in enumerate(rows)
    ]

    made = clusters(waiting)

    assert len({row[0] for row in rows}) == len(made), [one.title for one in made]
    assert len(rows) == sum(one.size for one in made)
    assert len(made) == len({one.id for one in made})


@given(WORDS, WORDS)
def test_its_own_names_are_taken_out_even_if_they_look_like_words(party, account):
    reasons = {
        clusters(
            [Waiting("parked", f"stripe:{name}", f"{own} is away ({name})", 1, own)]
        )[0].title
        for name, own in ((f"{party}Q", f"{account}Z"), ("Qq", "Zz"))
    }

    assert 1 == len(reasons)


@pytest.mark.parametrize(
    ("reason", "left"),
    [
        ("row 17 of 90", "row * of *"),
        ("ids 1, 2 and 3", "ids * and *"),
        ("the account's name isn't 'O'Brien'", "the account's name isn't *"),
        ("STRIPE_API_KEY is not set for account_id", None),
        ("no cus_NffrFeUfNV at 10:31:07.5 (Nov 29, 2026)", "no * at *)"),
        ("data.object.items.0.price: Missing.", "data.object.items.*.price: Missing."),
        ("ann.lee@example.com\tis\n taken", "* is taken"),
        ("x" * 500, "x" * 160 + "*"),
    ],
)
def test_ids_leave_a_reason_and_words_stay(reason: str, left: str | None) -> None:
    assert (reason if left is None else left) == without_ids(reason)


def test_a_cluster_says_how_many_since_when_and_what_was_changed_before() -> None:
    marks = [Mark(5, "old"), Mark(10, "deployed 2.0"), Mark(300, "key changed")]
    made = clusters(
        [
            Waiting("held", f"stripe:cus_{n}", UNNAMED, 100 + n, events=2)
            for n in range(9)
        ],
        marks=marks,
    )

    (one,) = made
    assert ("no account is named", 9, 18) == (one.title, one.size, one.events)
    assert (100, 108, "deployed 2.0") == (one.since, one.until, one.changed.text)
    assert ["stripe:cus_8", "stripe:cus_7"] == [e.name for e in one.things[:2]]
    assert "STRIPE_ACCOUNT_ID_KEY" in one.cause
    assert ("retry", "link", "discard") == tuple(one.actions)


def test_the_largest_cluster_comes_first() -> None:
    waiting = [Waiting("parked", f"a:{n}", "one", n) for n in range(2)]
    waiting += [Waiting("drift", f"b{n}", "two", n) for n in range(5)]

    assert ["two", "one"] == [one.title for one in clusters(waiting)]


@pytest.mark.parametrize(
    ("kind", "reason", "word"),
    [
        (
            "held",
            "needs STRIPE_API_KEY: an event came without content",
            "Set STRIPE_API_KEY",
        ),
        ("held", "unknown to Vitally, and BRIDGE_CREATE=never", "BRIDGE_CREATE"),
        (
            "parked",
            "/externalId must NOT have more than 100 characters",
            "the id in the source",
        ),
        (
            "parked",
            "an error in the bridge: KeyError at a.py:3; its traceback",
            "traceback",
        ),
        ("parked", "mrr must be an integer", "type in Vitally"),
        ("quarantined", "customer.updated: data: Missing data.", "API version"),
        ("quarantined", "the body is not valid JSON", "dropped"),
    ],
)
def test_a_known_cause_says_what_helps(kind: str, reason: str, word: str) -> None:
    assert word in clusters([Waiting(kind, "x:1", reason, 1)])[0].helps


def test_each_kind_has_causes_and_something_to_do() -> None:
    assert set(ACTIONS) == set(CAUSES)
    for kind, rows in CAUSES.items():
        assert ACTIONS[kind]
        assert all(re.compile(row.pattern) for row in rows)
