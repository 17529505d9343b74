"""What the rules of a table make of events: facts in our words, and nothing guessed."""

from __future__ import annotations

import json
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import ValidationError

from bridge.domain.account import Party, identify, unite
from bridge.domain.document import Document, document
from bridge.domain.facts import Fact
from bridge.domain.fold import History, fold
from bridge.domain.traits import instant as shown
from bridge.errors import PayloadError
from bridge.sources.generic import make, overridden, recipes
from bridge.sources.generic.values import CONVERTERS, instant
from bridge.webhook.source import Delivery, Event, Source, Verified
from tests.support.reader import Reader

BASE = {
    "verify": "basic",
    "secret_env": "EXAMPLE_SECRET",
    "id": "id",
    "type": "type",
    "at": "at",
    "party": "who",
}
AT = 1_772_355_600_000
"""2026-03-01T09:00:00Z."""
DAY = 86_400_000

BOOK = tomllib.loads(
    (Path(__file__).parents[1] / "cases" / "generic.toml").read_text("utf-8")
)


def source(**lines: Any) -> Source:
    made = make("example", {**BASE, **lines}, {})
    assert () == made.problems
    assert made.source is not None
    return made.source


def split(reads: Source, body: Any, **headers: str) -> list[Event]:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return list(reads.split(Verified(Delivery("POST", "", named, sent))))


def facts(reads: Source, *bodies: Any) -> list[Fact]:
    return Reader(reads).facts(*bodies)


def event(**more: Any) -> dict[str, Any]:
    return {"id": "evt_1", "type": "a.b", "at": AT, "who": "acme", **more}


def sub(**more: Any) -> dict[str, Any]:
    return dated(overridden(BOOK["event"], more))


def dated(value: Any) -> Any:
    """Put the instant in the place of `day 1.5`."""
    if isinstance(value, dict):
        return {key: dated(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [dated(inner) for inner in value]
    if isinstance(value, str) and value.startswith("day "):
        return AT + int(float(value.removeprefix("day ")) * DAY)
    return value


def things(reads: Source, body: Any) -> dict[str, Any]:
    return {fact.thing: fact.value for fact in facts(reads, body)}


def doc(reads: Source, *bodies: Any, now: int = 0) -> Document:
    folded = fold(History(facts(reads, *bodies)))
    return document(unite("acme", [Party("example:acme", folded)]), now=now)


def refusal(reads: Source, body: Any) -> str:
    with pytest.raises(ValidationError) as refused:
        facts(reads, body)
    return str(refused.value.messages)


def subscriptions(**rule: Any) -> Source:
    return source(events={"subscription": overridden(BOOK["rule"], rule)})


# --- Values ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("as_", "taken", "refused"),
    [
        (
            None,
            [
                *(("a", "a"), (1.5, 1.5), (True, True)),
                ("a\tb" + "c" * 2000, "a b" + "c" * 1996 + "…"),
            ],
            [{"a": 1}, ["a"], 2**53 + 1, 2**64, 1e300],
        ),
        ("text", [(12, "12"), (" a ", "a"), ("a" * 2001, "a" * 1999 + "…")], [1e300]),
        (
            "number",
            [("12.50", 12.5), (12, 12)],
            [-(2**60), "ten", "1e400", True, 2**60],
        ),
        ("boolean", [("True", True), (False, False)], [2, "perhaps"]),
        ("major", [(29.99, 29.99), ("30.00", 30)], [10**40]),
        ("minor", [("2999", 29.99)], ["1e99", "1,50"]),
        (
            "day",
            [
                ("2026-03-01", "2026-03-01"),
                ("2026-03-01T23:30:00-05:00", "2026-03-02"),
            ],
            ["2026-02-30"],
        ),
        (
            "instant",
            [
                ("2026-03-01T10:00:00.1239+01:00", "2026-03-01T09:00:00.123Z"),
                ("2026-03-01 04:00:00 -0500", "2026-03-01T09:00:00.000Z"),
                ("2026-03-01", "2026-03-01T00:00:00.000Z"),
                (AT + 1, "2026-03-01T09:00:00.001Z"),
                (AT * 1000 + 2_999, "2026-03-01T09:00:00.002Z"),
                *((at, shown(AT)) for at in (AT // 1000, str(AT), f"/Date({AT})/")),
                (AT / 1000 + 0.25, shown(AT + 250)),
                ("20260301", "2026-03-01T00:00:00.000Z"),
                ("/Date(86400000)/", "1970-01-02T00:00:00.000Z"),
            ],
            [
                *("yesterday", -1, True, {"a": 1}, 10**17, "0001-01-01T00:00:00+14:00"),
                *(0, "0", 2026, 99_999_999, "20260301120000"),
            ],
        ),
    ],
    ids=str,
)
def test_a_trait_is_what_its_line_says_or_refused_without_quoting_it(
    as_: str | None, taken: list[tuple[Any, Any]], refused: list[Any]
) -> None:
    line = {"path": "x"} | ({"as": as_} if as_ else {})
    reads = source(events={"x": {"currency": "'usd'", "traits": {"plan": line}}})

    for value, expected in taken:
        read = things(reads, event(x=value))["trait:plan"]["is"]
        assert (expected, type(expected)) == (read, type(read))
    for value in refused:
        words = refusal(reads, event(x=value))
        assert "traits.plan" in words
        assert str(value) not in words


def test_absent_is_no_opinion_and_null_clears_where_it_may() -> None:
    clears = {"path": "data.plan", "null_clears": True}
    reads = source(traits={"plan": clears, "tier": "data.tier"})
    nulls = things(reads, event(data={"plan": None, "tier": None}))

    assert {} == things(reads, event(data={})) == things(reads, event())
    assert ({"is": None}, None) == (nulls.get("trait:plan"), nulls.get("trait:tier"))


def test_an_empty_field_of_a_form_is_null() -> None:
    lines = {"plan": {"path": "plan", "null_clears": True}}
    read = things(
        source(body="form", traits=lines), b"id=1&type=a&at=2026-03-01&who=x&plan="
    )

    assert {"is": None} == read["trait:plan"]


def test_a_lookup_says_what_a_word_means() -> None:
    def tier(value: Any, **lookup: str) -> Any:
        reads = source(traits={"tier": {"path": "x", "lookup": lookup}})
        return things(reads, event(x=value))["trait:tier"]["is"]

    assert ["gold"] * 2 == [tier(x, **{"1": "gold"}) for x in (1, "1")]
    assert "yes" == tier(True, true="yes")
    assert "other" == tier("2", **{"*": "other", "1": "gold"})
    with pytest.raises(ValidationError, match="is not in its lookup"):
        tier("2", **{"1": "gold"})


def test_a_path_that_does_not_fit_is_refused_without_quoting() -> None:
    reads = source(traits={"names": "join(', ', names)"})
    words = refusal(reads, event(names=["a", {"secret": "of a customer"}]))

    assert "its path does not fit the event" in words
    assert "secret" not in words


# --- Rules ----------------------------------------------------------------------


@pytest.mark.parametrize("case", BOOK["case"], ids=lambda case: case["name"])
def test_what_a_rule_makes_of_events(case: dict[str, Any]) -> None:
    rule = overridden(BOOK["rule"], case.get("rule", {}))
    reads = source(events={"subscription": rule, **case.get("rules", {})})
    bodies = [sub(**more) for more in case.get("events", [{}])]

    for look in case.get("looks", [case]):
        read = doc(reads, *bodies, now=AT + look.get("now", 0) * DAY)
        wanted = {t: None if v == "null" else v for t, v in look["traits"].items()}
        traits = read.traits if "whole" in case else wanted
        assert wanted == {t: read.traits.get(t, "left out") for t in traits}
        assert look.get("why", "") in read.unknown.get("mrr", "")
        assert case.get("called", read.name.text) == read.name.text
        if "looks" in case:
            ends = look["until"] * DAY + AT if "until" in look else None
            assert ends == read.until


@pytest.mark.parametrize(
    ("as_", "price", "expected"),
    [
        ("major", 29.99, {"USD": 59.98, "JPY": 60, "KWD": 59.98, "UGX": 60, "ISK": 60}),
        (
            "minor",
            3001,
            {"USD": 60.02, "JPY": 6002, "KWD": 6.002, "UGX": 6002, "ISK": 6002},
        ),
    ],
)
def test_an_amount_is_exact_in_the_decimals_of_any_currency(
    as_, price, expected
) -> None:
    reads = subscriptions(mrr={"amount": {"path": "price", "as": as_}})

    assert expected == {
        code: doc(reads, sub(price=price, code=code)).traits["mrr"] for code in expected
    }


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"state": "odd"}, "status"),
        ({"state": False}, "status"),
        ({"sub": False}, "id"),
        ({"at": False}, "'at'"),
        ({"who": {"a": 1}}, "party"),
        ({"code": "dollars"}, "currency"),
        ({"per": "fortnight"}, "mrr.interval"),
        ({"price": "free"}, "mrr.amount"),
        ({"seats": -1}, "mrr.quantity"),
        ({"since": AT, "days": 9e15}, "trial_days"),
    ],
)
def test_a_mistake_of_the_sender_is_named_with_its_line(more, place) -> None:
    words = refusal(subscriptions(starts="since", trial_days="days"), sub(**more))

    assert place in words
    assert "subscription" in words


def test_a_change_of_nobody_is_refused_where_no_thing_may_tell_whose_it_is() -> None:
    rule = {"kind": "thin", "id": "sub"}
    reads = source(events={"x": rule})

    assert "party" in refusal(reads, event(who=None, sub="s1"))


def test_an_event_without_a_party_changes_nothing() -> None:
    assert [] == facts(subscriptions(), sub(who=False))


def test_a_party_that_only_a_subscription_tells_of_has_a_whole_history() -> None:
    folded = fold(History(facts(subscriptions(), sub())))

    assert "acme" == identify(folded).account
    assert () == unite("acme", [Party("example:acme", folded)]).incomplete


def test_an_account_is_named_by_a_path_or_not_at_all() -> None:
    reads = subscriptions(account="account")
    accounts = [
        identify(fold(History(facts(reads, body)))).account
        for body in (sub(account="acme-101"), sub())
    ]

    assert ["acme-101", None] == accounts


@pytest.mark.parametrize("lines", [{}, {"events": {"customer": {}}}])
def test_a_source_names_the_organization_for_all_its_rules(lines: Any) -> None:
    reads = source(organization="org", traits={"tier": "tier"}, **lines)

    told = things(reads, event(org="initech", tier="gold"))["organization"]
    assert {"organization": "initech"} == told


def test_a_rule_of_traits_alone_can_name_the_account() -> None:
    reads = source(account="account", traits={"tier": "tier"})

    assert {"account": "7"} == things(reads, event(account=7, tier="gold"))["account"]


def test_the_customer_s_own_account_comes_before_its_subscriptions() -> None:
    rule = overridden(BOOK["rule"], {"account": "theirs"})
    customer = {"account": "ours", "when": "customer.*"}
    reads = source(events={"subscription": rule, "customer": customer})
    bodies = [
        event(type="customer.new", id="evt_0", ours="acc-1"),
        event(type="sub.new", theirs="acc-2", sub="s", state="active"),
    ]

    assert "acc-1" == identify(fold(History(facts(reads, *bodies)))).account


PARTS = {"name": "name", "email": "mail", "account": "ours"}
SAYS = {
    "name": ["Acme", "Blue Door", None],
    "mail": ["a@example.com", None],
    "ours": ["acc-1", "acc-2"],
}


@given(st.data())
def test_what_an_event_does_not_have_of_a_customer_is_no_news(
    data: st.DataObject,
) -> None:
    """Each part is what the newest event that has it says, in whatever order."""
    reads = source(events={"customer": PARTS})
    any_of = {name: st.sampled_from(values) for name, values in SAYS.items()}
    drawn = st.fixed_dictionaries({}, optional=any_of)
    selections = data.draw(st.lists(drawn, min_size=1, max_size=6))
    bodies = [
        event(**{"id": f"evt_{n}", "at": AT + 1000 * n, **fields})
        for n, fields in enumerate(selections)
    ]
    folded = fold(History(facts(reads, *data.draw(st.permutations(bodies)))))

    last = {name: value for fields in selections for name, value in fields.items()}
    account = unite("account", [Party("example:acme", folded)])
    assert last.get("ours") == identify(folded).account
    assert (last.get("name") or last.get("mail") or "account") == (
        account.name(str).text
    )


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("sub.new", "abc"),
        ("sub.newer", "bc"),
        ("plan", "bc"),
        ("plans", "c"),
        ("xsub.new", "c"),
        ("a.x", "c"),
        ("[a].?", "cd"),
    ],
)
def test_a_rule_is_for_its_types_alone_and_all_that_fit_are_used(
    kind, expected
) -> None:
    whens = {"a": "sub.new", "b": ["sub.*", "plan"], "c": "*", "d": "[a].?"}
    rules = {
        name: {"when": when, "traits": {name: "id"}} for name, when in whens.items()
    }
    used = things(source(events=rules), event(type=kind)).keys() - {"customer"}

    assert {f"trait:{name}" for name in expected} == used


def test_events_of_one_instant_come_in_the_order_of_their_types() -> None:
    reads = subscriptions(order=["sub.begun", "sub.*", "sub.over"])
    ranks = [
        {f.stamp.rank for f in facts(reads, sub(type=kind)) if f.thing != "customer"}
        for kind in ("sub.begun", "sub.changed", "sub.over")
    ]

    assert [{0}, {1}, {2}] == ranks


# --- Splitting ------------------------------------------------------------------


def test_events_are_split_and_know_the_delivery() -> None:
    reads = source(
        split="events", id={"header": "x-id"}, type="kind", at="delivery.sent"
    )
    body = {"sent": AT, "events": [{"kind": "a"}, {"kind": "b"}]}
    events = split(reads, body, x_id="7")

    assert [("7", "a"), ("7:2", "b")] == [(e.id, e.type) for e in events]
    assert AT == events[1].body["delivery"]["sent"]


def test_a_list_of_events_needs_no_split_and_a_list_of_ids_has_values() -> None:
    reads = source(split="ids", id="value", type="delivery.kind")

    assert ["1", "2"] == [e.id for e in split(source(), [event(id=n) for n in (1, 2)])]
    assert ["5", "6"] == [e.id for e in split(reads, {"ids": ["5", "6"], "kind": "k"})]
    assert [] == split(reads, {"kind": "k"})


def test_an_event_without_an_id_is_called_by_what_was_sent() -> None:
    one, other, same = (split(source(), {"type": "a", "n": n})[0].id for n in (1, 2, 1))

    assert one == same != other


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"\xff", b"1", b'"a"', b"null", b"[1]", b"[" * 2000, b"{}"),
        b'{"id": "1"}',
        b'{"id": "1", "type": ""}',
        b'{"id": "1", "type": {"a": 1}}',
        b'{"id": {"a": 1}, "type": "a"}',
        b'{"id": "' + b"a" * 300 + b'", "type": "a"}',
        json.dumps([{"type": "a"}] * 1001).encode(),
    ],
)
def test_what_is_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(PayloadError):
        split(source(), body)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"a=1&b[c]=2&b[d][e]=3", {"a": "1", "b": {"c": "2", "d": {"e": "3"}}}),
        (b"a[0][b]=1&a[1][b]=2", {"a": [{"b": "1"}, {"b": "2"}]}),
        (b"a[]=1&a[]=2", {"a": ["1", "2"]}),
        (b"a[]=1", {"a": ["1"]}),
        (b"a[b]=1&a[b]=2", {"a": {"b": ["1", "2"]}}),
        (b"a=&b=+x%20y", {"a": None, "b": " x y"}),
        (b"a=1&a[b]=2", None),
        (b"[a]=1", None),
        (b"a[b=1", None),
        (b"a" + b"[b]" * 21 + b"=1", None),
        (b"a=\xff", None),
    ],
)
def test_a_form_with_brackets_is_nested_and_what_is_none_refused(
    body: bytes, expected: Any
) -> None:
    reads = source(body="form", type="'a'")
    if expected is None:
        with pytest.raises(PayloadError):
            split(reads, body)
    else:
        assert [expected] == [event.body for event in split(reads, body)]


CLOUD = {"source": "/shop", "id": "1", "type": "com.example.sold", "time": "2026-03-01"}


@pytest.mark.parametrize("batch", [False, True])
def test_a_cloudevent_is_one_alone_and_in_a_batch(batch: bool) -> None:
    reads = make("cloud", {**recipes()["cloudevents"], "party": "data.who"}, {}).source
    assert reads is not None
    body = CLOUD | {"data": {"who": 1}}
    form = "application/cloudevents" + ("-batch+json" if batch else "+json")
    (event,) = split(reads, [body] if batch else body, content_type=form)

    assert ("/shop 1", "com.example.sold") == event[:2]
    assert {"who": 1} == event.body["data"]


# --- Anything -------------------------------------------------------------------

KEYS = ["data", "id", "type", "at", "items", "price", "status", "who"]
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from(["active", "usd", "month", "2026-03-01", "s1", 1e308]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6)
    ),
    max_leaves=12,
)
READERS = [
    *(
        make(name, {"party": "data.id", **recipe}, {}).source
        for name, recipe in recipes().items()
    ),
    source(events={"subscription": BOOK["rule"]}, traits={"a": "sort(data)[0]"}),
]


@given(st.sampled_from(READERS), JSON, st.data())
def test_whatever_an_authentic_sender_says_is_facts_or_a_refusal(
    reads: Source, body: Any, data: st.DataObject
) -> None:
    """Nothing but PayloadError and ValidationError, which ingest quarantines."""
    told = body if isinstance(body, dict) else {"data": body}
    kind = data.draw(st.sampled_from(list(reads.handlers))).replace("*", "x")
    for event in (Event("e", kind, 0, told), Event("e", kind, AT, told)):
        with suppress(ValidationError):
            every = list(reads.handlers[kind].facts(event, {}, {}))
            document(unite("x", [Party("x", fold(History(every)))]))
    with suppress(PayloadError):
        split(reads, body)


@given(st.sampled_from(list(CONVERTERS)), JSON)
def test_a_converter_returns_or_refuses(word: str, value: Any) -> None:
    with suppress(ValueError):
        json.dumps(CONVERTERS[word](value))


@given(st.integers(0, 253_402_300_799_000))
def test_an_instant_in_iso_8601_is_the_same_millisecond(at: int) -> None:
    assert at == instant(shown(at))
