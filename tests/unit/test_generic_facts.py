"""What the rules of a table make of events: facts in our words, and nothing guessed."""

from __future__ import annotations

import json
from contextlib import suppress
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
from bridge.sources.generic import make, recipes
from bridge.sources.generic.values import CONVERTERS, instant
from bridge.webhook.source import Delivery, Event, Source, Verified

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


def source(**said: Any) -> Source:
    made = make("example", {**BASE, **said}, {})
    assert () == made.problems
    assert made.source is not None
    return made.source


def split(reads: Source, body: Any, **headers: str) -> list[Event]:
    told = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return list(reads.split(Verified(Delivery("POST", "", named, told))))


def facts(reads: Source, body: Any) -> list[Fact]:
    found: list[Fact] = []
    for event in split(reads, body):
        handler = reads.handlers.get(event.type)
        if handler is not None:
            found += handler.facts(event, handler.schema.load(event.body), {})
    return found


def event(**more: Any) -> dict[str, Any]:
    return {"id": "evt_1", "type": "a.b", "at": AT, "who": "acme", **more}


def things(reads: Source, body: Any) -> dict[str, Any]:
    return {fact.thing: fact.value for fact in facts(reads, body)}


def doc(reads: Source, *bodies: Any) -> Document:
    found = fold(History([fact for body in bodies for fact in facts(reads, body)]))
    return document(unite("acme", [Party("example:acme", found)]))


def refusal(reads: Source, body: Any) -> str:
    with pytest.raises(ValidationError) as refused:
        facts(reads, body)
    return str(refused.value.messages)


@pytest.mark.parametrize(
    ("as_", "value", "expected"),
    [
        (None, "a", "a"),
        (None, 1.5, 1.5),
        (None, True, True),
        ("text", 12, "12"),
        ("text", " a ", "a"),
        ("text", "a" * 2001, "a" * 1999 + "…"),
        (None, "a\tb" + "c" * 2000, "a b" + "c" * 1996 + "…"),
        ("number", "12.50", 12.5),
        ("number", 12, 12),
        ("boolean", "True", True),
        ("boolean", False, False),
        ("major", 29.99, 29.99),
        ("major", "30.00", 30),
        ("minor", "2999", 29.99),
        ("day", "2026-03-01", "2026-03-01"),
        ("day", "2026-03-01T23:30:00-05:00", "2026-03-02"),
        ("instant", "2026-03-01T10:00:00.1239+01:00", "2026-03-01T09:00:00.123Z"),
        ("instant", "2026-03-01 04:00:00 -0500", "2026-03-01T09:00:00.000Z"),
        ("instant", "2026-03-01", "2026-03-01T00:00:00.000Z"),
        ("instant", AT // 1000, "2026-03-01T09:00:00.000Z"),
        ("instant", AT + 1, "2026-03-01T09:00:00.001Z"),
        ("instant", AT * 1000 + 2_999, "2026-03-01T09:00:00.002Z"),
        ("instant", str(AT), "2026-03-01T09:00:00.000Z"),
        ("instant", f"/Date({AT})/", "2026-03-01T09:00:00.000Z"),
    ],
)
def test_a_trait_is_what_its_line_says(
    as_: str | None, value: Any, expected: Any
) -> None:
    line = {"path": "x"} | ({"as": as_} if as_ else {})
    reads = source(events={"x": {"currency": "'usd'", "traits": {"plan": line}}})

    found = things(reads, event(x=value))["trait:plan"]
    assert (expected, type(expected)) == (found["is"], type(found["is"]))


@pytest.mark.parametrize(
    ("as_", "value"),
    [
        (None, {"a": 1}),
        (None, ["a"]),
        (None, 2**53 + 1),
        (None, 2**64),
        (None, float("1e300")),
        ("text", float("1e300")),
        ("number", -(2**60)),
        ("minor", "1e99"),
        ("major", 10**40),
        ("number", "ten"),
        ("number", "1e400"),
        ("number", True),
        ("number", 2**60),
        ("boolean", 2),
        ("boolean", "perhaps"),
        ("minor", "1,50"),
        ("instant", "yesterday"),
        ("instant", -1),
        ("instant", True),
        ("instant", {"a": 1}),
        ("instant", 10**17),
        ("instant", "0001-01-01T00:00:00+14:00"),
        ("day", "2026-02-30"),
    ],
)
def test_what_a_value_must_not_be_is_refused_without_quoting_it(
    as_: str | None, value: Any
) -> None:
    line = {"path": "x"} | ({"as": as_} if as_ else {})
    reads = source(events={"x": {"currency": "'usd'", "traits": {"plan": line}}})

    said = refusal(reads, event(x=value))
    assert "traits.plan" in said
    assert str(value) not in said


def test_absent_is_no_opinion_and_null_clears_where_it_may() -> None:
    clears = {"path": "data.plan", "null_clears": True}
    reads = source(traits={"plan": clears, "tier": "data.tier"})
    said = {"plan": None, "tier": None}

    assert {} == things(reads, event(data={}))
    assert {} == things(reads, event())
    assert ({"is": None}, None) == (
        things(reads, event(data=said)).get("trait:plan"),
        things(reads, event(data=said)).get("trait:tier"),
    )


def test_an_empty_field_of_a_form_is_null() -> None:
    lines = {"plan": {"path": "plan", "null_clears": True}}
    reads = source(body="form", traits=lines)

    assert {"is": None} == things(reads, b"id=1&type=a&at=2026-03-01&who=x&plan=")[
        "trait:plan"
    ]


def test_a_lookup_says_what_a_word_means() -> None:
    line = {"path": "x", "lookup": {"1": "gold", "true": "yes"}}
    reads = source(traits={"tier": line})
    rest = source(traits={"tier": {"path": "x", "lookup": {"*": "other", "1": "gold"}}})

    assert ["gold", "gold", "yes"] == [
        things(reads, event(x=x))["trait:tier"]["is"] for x in (1, "1", True)
    ]
    assert "is not in its lookup" in refusal(reads, event(x="2"))
    assert ["gold", "other"] == [
        things(rest, event(x=x))["trait:tier"]["is"] for x in ("1", "2")
    ]


SUBSCRIPTION = {
    "when": "sub.*",
    "id": "sub",
    "status": "state",
    "currency": "code",
    "ends": "renews",
    "mrr": {"amount": "price", "quantity": "seats", "interval": "per"},
}


def sub(**more: Any) -> dict[str, Any]:
    told = {"sub": "s1", "state": "active", "code": "USD", "renews": "2026-04-01"}
    told |= {"type": "sub.new", "price": 1000, "seats": 2, "per": "month"}
    return event(**told | more)


def test_a_subscription_is_read_as_any_other_is() -> None:
    found = doc(source(events={"subscription": SUBSCRIPTION}), sub())

    assert {
        "mrr": 20,
        "nextRenewalDate": "2026-04-01T00:00:00.000Z",
        "churnedAt": None,
        "subscriptionStatus": "active",
        "planName": None,
        "billingCurrency": "USD",
        "cancelAt": None,
    } == found.traits


def test_a_party_that_only_a_subscription_tells_of_has_a_whole_history() -> None:
    reads = source(events={"subscription": SUBSCRIPTION})
    found = fold(History(facts(reads, sub())))

    assert "acme" == identify(found).account
    assert () == unite("acme", [Party("example:acme", found)]).incomplete


def test_a_customer_that_is_told_of_keeps_its_name() -> None:
    customer = {"when": "customer.*", "name": "name"}
    reads = source(events={"subscription": SUBSCRIPTION, "customer": customer})
    told = event(type="customer.new", id="evt_0", at=AT - 1, name="Acme Inc")

    assert "Acme Inc" == doc(reads, sub(), told).name.text


def test_an_account_is_named_by_a_path_or_not_at_all() -> None:
    reads = source(account="account", events={"subscription": SUBSCRIPTION})
    named = fold(History(facts(reads, sub(account="acme-101"))))
    unnamed = fold(History(facts(reads, sub())))

    assert "acme-101" == identify(named).account
    assert None is identify(unnamed).account


def test_a_rule_of_traits_alone_can_name_the_account() -> None:
    reads = source(account="account", traits={"tier": "tier"})
    found = things(reads, event(account=7, tier="gold"))

    assert {"account": "7"} == found["account"]


@pytest.mark.parametrize(
    ("per", "mrr"),
    [
        ("day", 608.33),
        ("Weekly", 86.67),
        ("months", 20),
        ("quarter", 6.67),
        ("semi-annual", 3.33),
        ("annually", 1.67),
    ],
)
def test_an_interval_may_be_any_word_for_it(per: str, mrr: float) -> None:
    reads = source(events={"subscription": SUBSCRIPTION})

    assert mrr == doc(reads, sub(per=per)).traits["mrr"]


def test_an_interval_of_which_nobody_tells_how_many_is_not_known() -> None:
    money = {**SUBSCRIPTION["mrr"], "count": "every"}
    reads = source(events={"subscription": {**SUBSCRIPTION, "mrr": money}})

    assert 20 == doc(reads, sub(every=1)).traits["mrr"]
    assert "interval" in doc(reads, sub()).unknown["mrr"]


@pytest.mark.parametrize(
    "less", [{"price": None}, {"per": None}, {"code": None}], ids=str
)
def test_an_mrr_of_which_a_part_is_not_known_is_not_known(less: dict[str, Any]) -> None:
    found = doc(source(events={"subscription": SUBSCRIPTION}), sub(**less))

    assert "mrr" in found.unknown
    assert "2026-04-01T00:00:00.000Z" == found.traits["nextRenewalDate"]


def test_without_an_mrr_block_it_is_not_known_and_never_zero() -> None:
    rule = {name: line for name, line in SUBSCRIPTION.items() if name != "mrr"}

    assert "mrr" in doc(source(events={"subscription": rule}), sub()).unknown


@pytest.mark.parametrize(
    ("code", "mrr"),
    [("USD", 59.98), ("JPY", 60), ("KWD", 59.98), ("UGX", 60), ("ISK", 60)],
)
def test_an_amount_in_major_units_is_exact_in_any_currency(code: str, mrr: Any) -> None:
    money = {**SUBSCRIPTION["mrr"], "amount": {"path": "price", "as": "major"}}
    reads = source(events={"subscription": {**SUBSCRIPTION, "mrr": money}})

    assert mrr == doc(reads, sub(price=29.99, code=code)).traits["mrr"]


@pytest.mark.parametrize(
    ("code", "mrr"),
    [("USD", 60.02), ("JPY", 6002), ("KWD", 6.002), ("UGX", 6002), ("ISK", 6002)],
)
def test_an_amount_in_minor_units_has_the_currency_s_decimals(
    code: str, mrr: Any
) -> None:
    reads = source(events={"subscription": SUBSCRIPTION})

    assert mrr == doc(reads, sub(price=3001, code=code)).traits["mrr"]


def test_items_may_say_their_own_and_leave_the_rest_to_the_event() -> None:
    money = {**SUBSCRIPTION["mrr"], "items": "items", "count": "every", "name": "name"}
    reads = source(events={"subscription": {**SUBSCRIPTION, "mrr": money}})
    items = [
        {"price": 1200, "seats": 3, "name": "Pro"},
        {"price": "600.5", "seats": "2.5", "per": "year", "every": 1, "name": "Plus"},
    ]
    found = doc(reads, sub(items=items, every=2))

    assert round(12 * 3 / 2 + 6.005 * 2.5 / 12, 2) == found.traits["mrr"]
    assert "Plus, Pro" == found.traits["planName"]
    assert {} == doc(reads, sub(items=[])).traits
    assert "mrr" in doc(reads, sub(items=None)).unknown


@pytest.mark.parametrize(
    ("more", "place"),
    [
        ({"state": "odd"}, "status"),
        ({"state": None}, "status"),
        ({"sub": None}, "id"),
        ({"at": None}, "'at'"),
        ({"who": {"a": 1}}, "party"),
        ({"code": "dollars"}, "currency"),
        ({"per": "fortnight"}, "mrr.interval"),
        ({"price": "free"}, "mrr.amount"),
        ({"seats": -1}, "mrr.quantity"),
    ],
)
def test_a_mistake_of_the_sender_is_named_with_its_line(
    more: dict[str, Any], place: str
) -> None:
    said = refusal(source(events={"subscription": SUBSCRIPTION}), sub(**more))

    assert place in said
    assert "subscription" in said


def test_an_event_without_a_party_changes_nothing() -> None:
    assert [] == facts(source(events={"subscription": SUBSCRIPTION}), sub(who=None))


def test_a_subscription_ends_by_its_status_or_by_a_rule() -> None:
    ended = {"when": "state == 'gone' || over", "at": "gone_at"}
    lookup = {"path": "state", "lookup": {"live": "active", "dead": "canceled"}}
    rule = {**SUBSCRIPTION, "status": lookup, "ended": ended}
    reads = source(events={"subscription": rule})
    live = sub(state="live", at=AT - 1, id="evt_0")

    for more, at in (
        ({"state": "dead"}, "2026-03-01T09:00:00.000Z"),
        ({"state": "dead", "gone_at": "2026-02-28"}, "2026-02-28T00:00:00.000Z"),
        ({"state": "gone", "gone_at": "2026-02-28"}, "2026-02-28T00:00:00.000Z"),
        ({"state": "live", "over": True}, "2026-03-01T09:00:00.000Z"),
    ):
        found = doc(reads, live, sub(**more))
        assert (at, None) == (found.traits["churnedAt"], found.traits["mrr"])
    assert None is doc(reads, live, sub(state="live")).traits["churnedAt"]


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
    told = [
        event(**{"id": f"evt_{n}", "at": AT + 1000 * n, **fields})
        for n, fields in enumerate(selections)
    ]
    mixed = data.draw(st.permutations(told))
    found = fold(History([fact for body in mixed for fact in facts(reads, body)]))

    last = {name: value for fields in selections for name, value in fields.items()}
    account = unite("account", [Party("example:acme", found)])
    assert last.get("ours") == identify(found).account
    assert (last.get("name") or last.get("mail") or "account") == (
        account.name(str).text
    )


def test_the_customer_s_own_account_comes_before_its_subscriptions() -> None:
    told = {"account": "ours", "when": "customer.*"}
    subscription = {**SUBSCRIPTION, "account": "theirs"}
    reads = source(events={"subscription": subscription, "customer": told})
    customer = event(type="customer.new", id="evt_0", ours="acc-1")
    bodies = [customer, event(type="sub.new", theirs="acc-2", sub="s", state="active")]

    found = fold(History([f for body in bodies for f in facts(reads, body)]))

    assert "acc-1" == identify(found).account


def test_a_deleted_customer_ends_what_it_had() -> None:
    customer = {"when": "customer.*", "deleted": "type == 'customer.deleted'"}
    reads = source(events={"subscription": SUBSCRIPTION, "customer": customer})
    gone = event(id="evt_9", type="customer.deleted", at=AT + 1000)

    assert "2026-03-01T09:00:01.000Z" == doc(reads, sub(), gone).traits["churnedAt"]


def test_a_path_that_does_not_fit_is_refused_without_quoting() -> None:
    reads = source(traits={"names": "join(', ', names)"})
    said = refusal(reads, event(names=["a", {"secret": "of a customer"}]))

    assert "its path does not fit what came" in said
    assert "secret" not in said


def test_a_rule_is_for_its_types_alone_and_all_that_fit_are_used() -> None:
    whens = {"a": "sub.new", "b": ["sub.*", "plan"], "c": "*", "d": "[a].?"}
    events = {
        name: {"when": when, "traits": {name: "id"}} for name, when in whens.items()
    }
    reads = source(events=events)

    def used(kind: str) -> set[str]:
        return things(reads, event(type=kind)).keys() - {"customer"}

    assert {"trait:a", "trait:b", "trait:c"} == used("sub.new")
    assert {"trait:b", "trait:c"} == used("sub.newer")
    assert {"trait:b", "trait:c"} == used("plan")
    assert {"trait:c"} == used("plans")
    assert {"trait:c"} == used("xsub.new")
    assert {"trait:c"} == used("a.x")
    assert {"trait:c", "trait:d"} == used("[a].?")


# Splitting


def test_events_are_split_and_know_the_delivery() -> None:
    reads = source(
        split="events", id={"header": "x-id"}, type="kind", at="delivery.sent"
    )
    body = {"sent": AT, "events": [{"kind": "a"}, {"kind": "b"}]}
    found = split(reads, body, x_id="7")

    assert [("7", "a"), ("7:2", "b")] == [(e.id, e.type) for e in found]
    assert AT == found[1].body["delivery"]["sent"]


def test_a_list_of_events_needs_no_split_and_a_list_of_ids_has_values() -> None:
    reads = source(split="ids", id="value", type="delivery.kind")

    assert ["1", "2"] == [e.id for e in split(source(), [event(id=n) for n in (1, 2)])]
    assert ["5", "6"] == [e.id for e in split(reads, {"ids": ["5", "6"], "kind": "k"})]
    assert [] == split(reads, {"kind": "k"})


def test_an_event_without_an_id_is_called_by_what_was_sent() -> None:
    bodies = [{"type": "a", "n": 1}, {"type": "a", "n": 2}]
    names = [split(source(), body)[0].id for body in bodies]

    assert len(set(names)) == 2
    assert names[0] == split(source(), bodies[0])[0].id


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff",
        b"1",
        b'"a"',
        b"null",
        b"[1]",
        b"[" * 2000,
        b"{}",
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
    ("body", "found"),
    [
        (b"a=1&b[c]=2&b[d][e]=3", {"a": "1", "b": {"c": "2", "d": {"e": "3"}}}),
        (b"a[0][b]=1&a[1][b]=2", {"a": [{"b": "1"}, {"b": "2"}]}),
        (b"a[]=1&a[]=2", {"a": ["1", "2"]}),
        (b"a[]=1", {"a": ["1"]}),
        (b"a[b]=1&a[b]=2", {"a": {"b": ["1", "2"]}}),
        (b"a=&b=+x%20y", {"a": None, "b": " x y"}),
    ],
)
def test_a_form_with_brackets_is_nested(body: bytes, found: Any) -> None:
    (event,) = split(source(body="form", type="'a'"), body)

    assert found == event.body


@pytest.mark.parametrize(
    "body", [b"a=1&a[b]=2", b"[a]=1", b"a[b=1", b"a" + b"[b]" * 21 + b"=1", b"a=\xff"]
)
def test_a_form_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(PayloadError):
        split(source(body="form", type="'a'"), body)


CLOUD = {"source": "/shop", "id": "1", "type": "com.example.sold", "time": "2026-03-01"}


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (
            {"content_type": "application/cloudevents+json"},
            CLOUD | {"data": {"who": 1}},
        ),
        (
            {"content_type": "application/cloudevents-batch+json"},
            [CLOUD | {"data": {"who": 1}}],
        ),
    ],
)
def test_a_cloudevent_is_one_alone_and_in_a_batch(
    headers: dict[str, str], body: Any
) -> None:
    said = {**recipes()["cloudevents"], "party": "data.who"}
    reads = make("cloud", said, {}).source
    assert reads is not None
    (event,) = split(reads, body, **headers)

    assert ("/shop 1", "com.example.sold") == event[:2]
    assert {"who": 1} == event.body["data"]


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.sampled_from(["active", "usd", "month", "2026-03-01", "s1", 1e308]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["data", "id", "type", "at", "items", "price", "status", "who"]
            ),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)
READERS = [
    *(
        make(name, {"party": "data.id", **recipe}, {}).source
        for name, recipe in recipes().items()
    ),
    source(events={"subscription": SUBSCRIPTION}, traits={"a": "sort(data)[0]"}),
]


@given(st.sampled_from(READERS), JSON, st.data())
def test_whatever_an_authentic_sender_says_is_facts_or_a_refusal(
    reads: Source, body: Any, data: st.DataObject
) -> None:
    """Nothing but PayloadError and ValidationError, which ingest quarantines."""
    told = body if isinstance(body, dict) else {"data": body}
    kind = data.draw(st.sampled_from(list(reads.handlers))).replace("*", "x")
    for event in (Event("e", kind, 0, told), Event("e", kind, AT, told)):
        try:
            found = list(reads.handlers[kind].facts(event, {}, {}))
        except ValidationError:
            continue
        document(unite("x", [Party("x", fold(History(found)))]))
    try:
        split(reads, body)
    except PayloadError:
        return


@given(st.sampled_from(list(CONVERTERS)), JSON)
def test_a_converter_returns_or_refuses(word: str, value: Any) -> None:
    with suppress(ValueError):
        json.dumps(CONVERTERS[word](value))


@given(st.integers(0, 253_402_300_799_000))
def test_an_instant_in_iso_8601_is_the_same_millisecond(at: int) -> None:
    assert at == instant(shown(at))


# --- What changes by time alone, and what comes in one instant ----------------------

DAY = 86_400_000
DATED = {
    **SUBSCRIPTION["mrr"],
    "items": "items",
    "from": "since",
    "until": "till",
    "usage": "metered",
    "currency": "money",
    "discounts": "off",
    "discount": "code",
}


def dated(now: int, body: dict[str, Any], **more: Any) -> Document:
    reads = source(events={"subscription": {**SUBSCRIPTION, "mrr": DATED, **more}})
    found = fold(History(facts(reads, body)))
    return document(unite("acme", [Party("example:acme", found)]), now=now)


def priced(**more: Any) -> dict[str, Any]:
    return {"price": 1200, "seats": 1, "per": "month", **more}


def test_an_item_counts_from_its_beginning_until_its_end() -> None:
    body = sub(items=[priced(), priced(since=AT + DAY, till=AT + 3 * DAY)])
    found = [dated(AT + n * DAY, body) for n in range(5)]

    assert [12, 24, 24, 12, 12] == [doc.traits["mrr"] for doc in found]
    assert [AT + DAY, AT + 3 * DAY, AT + 3 * DAY, None, None] == [
        doc.until for doc in found
    ]


def test_what_a_row_does_not_say_of_its_dates_the_event_says_for_all() -> None:
    body = sub(items=[priced(), priced(till=AT + DAY)], till=AT + 2 * DAY)

    assert [24, 12, None] == [dated(AT + n * DAY, body).traits["mrr"] for n in range(3)]


def test_usage_is_left_aside_beside_others_and_unknown_alone() -> None:
    usage = {"metered": True}

    assert 12 == dated(AT, sub(items=[priced(), usage])).traits["mrr"]
    assert "usage" in dated(AT, sub(items=[usage])).unknown["mrr"]
    assert "active" == dated(AT, sub(items=[usage])).traits["subscriptionStatus"]


def test_an_item_without_its_quantity_has_no_amount() -> None:
    assert "mrr" in dated(AT, sub(items=[{"price": 1200, "per": "month"}])).unknown


@pytest.mark.parametrize(
    ("usual", "own", "mrr", "currency"),
    [
        ("USD", "USD", 12, "USD"),
        (None, "EUR", 12, "EUR"),
        ("USD", "EUR", "left out", "USD"),
        ("USD", "credits", "left out", "USD"),
        (None, "credits", "left out", "left out"),
        (None, None, "left out", "left out"),
    ],
)
def test_an_item_s_currency_is_the_subscription_s_or_its_amount_is_not_known(
    usual: str | None, own: str | None, mrr: Any, currency: str
) -> None:
    found = dated(AT, sub(code=usual, items=[priced(money=own)])).traits

    assert (mrr, currency) == tuple(
        found.get(trait, "left out") for trait in ("mrr", "billingCurrency")
    )


def test_a_discount_counts_between_its_dates() -> None:
    off = [{"code": "save", "since": AT + DAY, "till": AT + 2 * DAY}]
    found = [dated(AT + n * DAY, sub(items=[priced()], off=off)) for n in range(3)]

    assert [12, "left out", 12] == [doc.traits.get("mrr", "left out") for doc in found]
    assert "save" in found[1].unknown["mrr"]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({"path": "state", "lookup": {"on": "active"}}, ["trialing", "active"]),
        (False, ["trialing", "active"]),
        ("word", ["active", "active"]),
        (
            {"path": "state", "lookup": {"on": "active", "test": "trialing"}},
            ["active", "active"],
        ),
    ],
)
def test_a_trial_lasts_until_its_end_where_no_status_can_tell_it(
    status: Any, words: list[str]
) -> None:
    body = sub(state="on", word="active", items=[priced()], ends_trial=AT + DAY)
    lines = {"status": status} if status else {}
    own = {k: v for k, v in SUBSCRIPTION.items() if k != "status"}
    reads = source(
        events={
            "subscription": {**own, "mrr": DATED, "trial_end": "ends_trial", **lines}
        }
    )
    account = unite("acme", [Party("example:acme", fold(History(facts(reads, body))))])

    assert words == [
        document(account, now=now).traits["subscriptionStatus"]
        for now in (AT, AT + DAY)
    ]


def test_a_trial_may_be_told_by_its_days() -> None:
    lines = {"starts": "since", "trial_days": "days", "trial_end": "till"}
    body = sub(items=[priced()], since=AT, days="1.5")
    told = {**body, "till": AT + DAY}

    assert "2026-03-02T21:00:00.000Z" == dated(AT, body, **lines).traits["trialEndDate"]
    assert "2026-03-02T09:00:00.000Z" == dated(AT, told, **lines).traits["trialEndDate"]
    reads = source(events={"subscription": {**SUBSCRIPTION, **lines}})
    assert "trial_days" in refusal(reads, sub(since=AT, days=9e15))


def test_events_of_one_instant_come_in_the_order_of_their_types() -> None:
    lines = {"order": ["sub.begun", "sub.*", "sub.over"], "when": "sub.*"}
    reads = source(events={"subscription": {**SUBSCRIPTION, **lines}})
    ranks = [
        next(
            f.stamp.rank for f in facts(reads, sub(type=kind)) if f.thing != "customer"
        )
        for kind in ("sub.begun", "sub.changed", "sub.over")
    ]

    assert [0, 1, 2] == ranks
