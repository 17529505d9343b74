"""What is kept in Redis comes back as it was, and takes little room."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.facts import Fact, Rank, Stamp, catalogue, pointer, source_of
from bridge.domain.fold import History, Retained, Step, compact, fold
from bridge.domain.values import REFRESHED, TO_REFRESH
from bridge.store import codec
from bridge.store.codec import TAB, field, read, rewrite, row
from tests.support.lives import by_party, law, stories, wild_facts


def stored(history: History) -> dict[bytes, bytes]:
    """The hash that holds *past*, written into an empty one."""
    _, retained = rewrite(History([]), history)
    rows = {field(fact).encode(): row(fact) for fact in history.facts}
    return rows | {name.encode(): text.encode() for name, text in retained.items()}


def content(history: History) -> tuple[dict[str, Fact], dict[str, Retained]]:
    return {field(fact): fact for fact in history.facts}, dict(history.retained)


@law()
@given(wild_facts())
def test_any_past_comes_back(facts: list[Fact]) -> None:
    history = History(facts)

    assert content(history) == content(read("x:1", stored(history)))


@law(50)
@given(stories())
def test_a_life_folds_alike_from_its_rows(story) -> None:
    for party, facts in by_party(story.facts).items():
        # As they are kept: of most e-mail addresses the domain alone.
        history = compact(read(party, stored(History(facts))))

        assert fold(history) == fold(read(party, stored(history)))


@law()
@given(wild_facts(12), st.data())
def test_a_rewritten_hash_holds_the_compacted_past(facts, data) -> None:
    """Twice, with facts that came between: joins are put where they changed."""
    cut = data.draw(st.integers(0, len(facts)))
    history = History(facts[:cut])
    rows = stored(history)
    for more in ([], facts[cut:]):
        rows |= {field(fact).encode(): row(fact) for fact in more}
        old = read("x:1", rows)
        new = compact(old)
        gone, put = rewrite(old, new)
        rows = {name: text for name, text in rows.items() if name.decode() not in gone}
        rows |= {name.encode(): text.encode() for name, text in put.items()}

        assert {field(fact) for fact in new.facts} == set(content(read("x:1", rows))[0])
    assert fold(History(facts)) == fold(read("x:1", rows))


def test_a_field_is_the_thing_and_the_event() -> None:
    fact = Fact("x:1", "customer", Stamp(False, 1000, 2), "evt_1", "k", {}, "a", "b")

    assert f"customer{TAB}evt_1" == field(fact)
    assert b'[0,1000,2,"k","a","b",{}]' == row(fact)


def test_a_spell_past_due_has_a_row_that_the_version_before_reads_and_leaves() -> None:
    """That version took exactly five elements from every row without an event."""
    late = Retained(
        frozenset({"active", "past_due"}),
        in_time=frozenset({Step(1000, 2, "evt_1", "a", "b")}),
        late=frozenset({Step(2000, 2, "evt_2", None, "c")}),
    )
    history = History([], {"subscription:s": late})

    gone, put = rewrite(History([]), history)

    spell = f"late:subscription:s{TAB}"
    steps = '[[1000,2,"evt_1","a","b"]],[[2000,2,"evt_2",null,"c"]]'
    rows = {
        f"subscription:s{TAB}": '[["active","past_due"],0,0,[],[]]',
        spell: f"[[],0,0,{steps}]",
    }
    assert ([], rows) == (gone, put)
    raw = {name.encode(): text.encode() for name, text in put.items()}
    assert history == History([], read("x:1", raw).retained)
    over = History([], {"subscription:s": late._replace(late=frozenset())})
    assert ([spell], {}) == rewrite(history, over)


def test_a_long_spell_past_due_keeps_its_beginning_in_a_short_row() -> None:
    words = ["active", *["past_due"] * 200]
    facts = [
        Fact("x:1", "subscription:s", Stamp(False, n, 2), f"{n}", "k", {"status": w}, w)
        for n, w in enumerate(words)
    ]

    rows = stored(compact(History(facts)))

    assert 1 == fold(read("x:1", rows))["subscription:s"].late_since
    assert len(rows[f"late:subscription:s{TAB}".encode()]) < 1000


def test_joins_stand_under_the_thing_alone() -> None:
    retained = Retained(
        frozenset({"unpaid", "active"}),
        True,
        False,
        frozenset({Step(1000, 2, "evt_1", "a", "b")}),
        frozenset({Step(2000, 2, "evt_2", None, "c")}),
    )

    gone, put = rewrite(History([]), History([], {"subscription:s": retained}))

    paid, unpaid = '[1000,2,"evt_1","a","b"]', '[2000,2,"evt_2",null,"c"]'
    told = f'[["active","unpaid"],1,0,[{paid}],[{unpaid}]]'
    assert ([], {f"subscription:s{TAB}": told}) == (gone, put)
    assert (
        retained
        == read("x:1", {f"subscription:s{TAB}".encode(): told.encode()}).retained[
            "subscription:s"
        ]
    )


def test_what_did_not_change_is_not_written_again() -> None:
    history = History(
        [Fact("x", "t", Stamp(False, 1, 2), "e", "k", {}, "a")], {"t": Retained()}
    )

    assert ([], {}) == rewrite(history, history)


def test_an_empty_hash_is_an_empty_history() -> None:
    assert History([]) == read("x:1", {})


def test_names_that_stand_in_redis_are_spelled_as_ever_and_say_their_source() -> None:
    named = ["pointer:stripe:customer:cus_1", "catalogue:stripe:coupon:half"]

    assert named == [
        pointer("stripe", "customer:cus_1"),
        catalogue("stripe", "coupon:half"),
    ]
    assert ("thin", "read", 0) == (TO_REFRESH, REFRESHED, Rank.CREATED)
    assert {"stripe"} == {source_of(party) for party in ("stripe:cus_1", *named)}


def taken_in(facts: list[Fact]) -> dict[str, Any]:
    """Thing -> the value that is stored of it."""
    parts = iter(codec.rows(facts))
    table = {str(name).encode(): text for name, text in zip(parts, parts, strict=True)}
    return {fact.thing: fact.value for fact in read("x:1", table).facts}


@pytest.mark.parametrize(
    ("name", "email", "kept"),
    [
        ("Acme", "ada@shop.example", "shop.example"),
        (None, "ada@shop.example", "ada@shop.example"),
        ("Acme", None, None),
        ("Acme", "no address", "no address"),
    ],
)
def test_an_address_is_kept_only_where_it_is_the_name(name, email, kept) -> None:
    value = {"name": name, "email": email}
    fact = Fact("x:1", "customer", Stamp(False, 1, 1), "e", "k", value, "a")

    assert {"name": name, "email": kept} == taken_in([fact])["customer"]


def test_a_name_that_comes_beside_an_address_is_enough() -> None:
    """Generic sources tell both as things of their own."""
    values = {"email": {"email": "ada@shop.example"}, "name": {"name": "Acme"}}
    email, name = (
        Fact("x:1", thing, Stamp(False, 1, 1), "e", "k", value, "a")
        for thing, value in values.items()
    )
    plan = name._replace(thing="subscription:1")

    assert {"email": "shop.example"} == taken_in([email, name])["email"]
    assert values["email"] == taken_in([email, plan])["email"]
