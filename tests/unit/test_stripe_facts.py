"""What the Stripe source makes of events, beyond the recorded ones."""

from __future__ import annotations

import contextlib
import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from marshmallow import Schema, ValidationError

import bridge.sources.stripe
from bridge.domain.facts import Fact
from bridge.errors import PayloadError
from bridge.settings import Settings
from bridge.sources.stripe import SOURCE
from bridge.sources.stripe.facts import RANKS, rewound
from bridge.webhook.source import Delivery, Event, Verified
from bridge.webhook.values import digest

FIXTURES = Path(bridge.sources.stripe.__file__).parent / "fixtures"
DEFAULTS = {option.name: option.default for option in SOURCE.options}
SECRET = "whsec_example"
NOW = 1_793_520_000.0


def read(name: str) -> dict[str, Any]:
    """Return the body of one fixture."""
    found: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_bytes())
    return found


def subscribed(**changes: Any) -> dict[str, Any]:
    """Return `customer.subscription.updated` with the subscription changed."""
    body = read("customer.subscription.updated__activated")
    body["data"]["object"].update(changes)
    return body


def split(body: Any) -> Event:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    (event,) = SOURCE.split(Verified(Delivery("POST", "", {}, raw)))
    return event


def fact(body: Any, **options: Any) -> Fact:
    event = split(body)
    handler = SOURCE.handlers[event.type]
    loaded = handler.schema.load(event.body)
    (found,) = handler.facts(event, loaded, {**DEFAULTS, **options})
    return found


def item(**changes: Any) -> dict[str, Any]:
    found = read("customer.subscription.updated__activated")["data"]["object"]
    first: dict[str, Any] = found["items"]["data"][0]
    return {**first, **changes}


# --- the door -------------------------------------------------------------------


def test_the_options_are_read_from_the_environment() -> None:
    environ = {
        "STRIPE_WEBHOOK_SECRET": "whsec_one, whsec_two",
        "STRIPE_MODE": "test",
        "REDIS_URL": "redis://localhost",
        "VITALLY_API_KEY": "example",
        "VITALLY_SUBDOMAIN": "example",
    }
    settings = Settings.from_env(environ, SOURCE.options)

    expected = {
        **DEFAULTS,
        "STRIPE_WEBHOOK_SECRET": ("whsec_one", "whsec_two"),
        "STRIPE_MODE": "test",
    }
    assert expected == dict(settings.sources)
    assert "whsec" not in repr(settings)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"id": "\xff"}',
        b'"evt_1"',
        b"[]",
        b"null",
        b'{"id": "evt_1", "type": "x", "created": NaN}',
        b"[" * 200_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        {},
        {"object": "event", "type": "x", "created": 1},
        {"object": "event", "id": "", "type": "x", "created": 1},
        {"object": "event", "id": "e" * 256, "type": "x", "created": 1},
        {"object": "event", "id": 1, "type": "x", "created": 1},
        {"object": "event", "id": "evt_1", "created": 1},
        {"object": "event", "id": "evt_1", "type": ["x"], "created": 1},
        {"object": "event", "id": "evt_1", "type": "x"},
        {"object": "event", "id": "evt_1", "type": "x", "created": True},
        {"object": "event", "id": "evt_1", "type": "x", "created": 1.5},
        {"object": "event", "id": "evt_1", "type": "x", "created": "1"},
        {"object": "event", "id": "evt_1", "type": "x", "created": -1},
        {"object": "event", "id": "evt_1", "type": "x", "created": 10**18},
        {"object": "event", "id": "evt_1", "type": "x", "created": 10**30},
        {"object": "list", "id": "evt_1", "type": "x", "created": 1},
        {"object": None, "id": "evt_1", "type": "x", "created": 1},
        {"id": "evt_1", "type": "x", "created": 1},
        {"id": "evt_1", "type": "x", "created": 1, "data": []},
    ],
)
def test_what_is_no_event_is_a_payload_error(body: Any) -> None:
    with pytest.raises(PayloadError):
        split(body)


def test_a_thin_event_says_that_a_thing_has_to_be_read() -> None:
    thin = {
        "id": "evt_thin_example",
        "object": "v2.core.event",
        "type": "v1.customer.subscription.updated",
        "created": "2026-11-01T08:00:00.250Z",
        "related_object": {"id": "sub_1", "type": "subscription", "url": "/v1/x"},
    }
    found = fact(thin)

    assert "pointer:stripe:subscription:sub_1" == found.party
    assert ("thin", 1_793_520_000_250) == (found.thing, found.stamp.at)


@pytest.mark.parametrize(
    "change",
    [
        {"created": 1_793_520_000},
        {"created": "yesterday"},
        {"created": "1960-01-01T00:00:00Z"},
        {"related_object": None},
        {"related_object": {"id": "in_1", "type": "invoice"}},
    ],
)
def test_a_thin_event_about_nothing_known_is_refused(change) -> None:
    thin = {
        "id": "evt_thin_example",
        "object": "v2.core.event",
        "type": "v1.customer.updated",
        "created": "2026-11-01T08:00:00Z",
        "related_object": {"id": "cus_1", "type": "customer"},
    }
    with pytest.raises((PayloadError, ValidationError)):
        fact(thin | change)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_event_or_a_payload_error(body: bytes) -> None:
    with contextlib.suppress(PayloadError):
        split(body)


@pytest.mark.parametrize(
    ("mode", "changes", "ignored"),
    [
        ("live", {}, False),
        ("live", {"livemode": False}, True),
        ("test", {}, True),
        ("test", {"livemode": False}, False),
        ("test", {"livemode": None}, False),
        ("live", {"account": "acct_example_other"}, True),
        ("live", {"account": None}, False),
    ],
)
def test_events_of_others_are_ignored_with_the_reason(
    mode: str, changes: dict[str, Any], ignored: bool
) -> None:
    event = split({**subscribed(), **changes})
    reason = SOURCE.ignores(event, {**DEFAULTS, "STRIPE_MODE": mode})

    assert ignored == bool(reason)


def test_a_missing_mode_counts_as_right() -> None:
    body = subscribed()
    del body["livemode"]

    assert SOURCE.ignores(split(body), DEFAULTS) is None


# --- stamps and digests -----------------------------------------------------------


def test_every_handled_type_has_a_rank() -> None:
    assert set(RANKS) == {kind.rpartition(".")[2] for kind in SOURCE.handlers}


def test_an_older_event_has_a_lesser_stamp_and_a_final_one_the_greatest() -> None:
    older = fact({**subscribed(), "created": 1_793_000_000})
    newer = fact(subscribed())
    final = fact({**subscribed(status="canceled"), "created": 1_792_000_000})

    assert older.stamp < newer.stamp < final.stamp
    assert 1_793_000_000_000 == older.stamp.at


def test_what_an_event_replaced_is_what_the_event_before_it_told() -> None:
    created = fact(read("customer.subscription.created__incomplete"))
    activated = fact(read("customer.subscription.updated__activated"))
    renewed = fact(read("customer.subscription.updated__renewed"))
    swapped = fact(
        read("customer.subscription.updated__price_changed_with_partial_plan")
    )

    assert created.after == activated.before
    assert activated.after == renewed.before == swapped.before


def test_a_change_of_what_is_not_read_is_no_new_state() -> None:
    body = subscribed()
    body["data"]["previous_attributes"] = {"latest_invoice": "in_example_0"}
    found = fact(body)

    assert found.after == found.before


def test_toggles_of_one_second_match_one_another() -> None:
    on = subscribed(cancel_at_period_end=True)
    on["data"]["previous_attributes"] = {"cancel_at_period_end": False}
    off = subscribed(cancel_at_period_end=False)
    off["data"]["previous_attributes"] = {"cancel_at_period_end": True}

    assert (fact(on).before, fact(on).after) == (fact(off).after, fact(off).before)


@pytest.mark.parametrize(
    "previous", [None, {}, {"status": "no such status"}, {"items": []}, {"id": None}]
)
def test_a_state_before_that_cannot_be_read_is_unknown(previous: Any) -> None:
    body = subscribed()
    body["data"]["previous_attributes"] = previous

    assert fact(body).before is None


def test_previous_attributes_are_put_back_key_by_key_and_lists_whole() -> None:
    now = {"a": {"b": 1, "c": [1, 2], "d": {"e": 1}}, "f": 1}
    previous = {"a": {"c": [9], "d": None, "g": 2}, "f": {"h": 1}}
    kept = copy.deepcopy(now)

    assert {"a": {"b": 1, "c": [9], "d": None, "g": 2}, "f": {"h": 1}} == rewound(
        now, previous
    )
    assert kept == now


def test_previous_attributes_of_any_depth_are_put_back() -> None:
    deep: dict[str, Any] = {}
    for _ in range(900):
        deep = {"metadata": deep}

    assert deep == rewound(deep, deep)


def test_a_digest_does_not_know_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1}) != digest({"a": 1})
    assert 12 == len(digest({}))


# --- parties and accounts ---------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "party"),
    [
        ({"customer": "cus_1"}, "stripe:cus_1"),
        ({"customer": {"id": "cus_1", "object": "customer"}}, "stripe:cus_1"),
        ({"customer": "cus_1", "customer_account": "acct_1"}, "stripe:cus_1"),
        ({"customer": None, "customer_account": "acct_1"}, "stripe:acct_1"),
    ],
)
def test_the_party_is_the_customer_else_its_account(
    changes: dict[str, Any], party: str
) -> None:
    found = fact(subscribed(**changes))

    assert (party, party) == (found.party, f"stripe:{found.value['account']}")


def test_a_subscription_of_nobody_is_refused() -> None:
    with pytest.raises(ValidationError):
        fact(subscribed(customer=None))


@pytest.mark.parametrize(
    ("metadata", "account"),
    [
        ({"vitally": " birch-101 "}, "birch-101"),
        ({"vitally": "  "}, None),
        ({"vitally": ""}, None),
        ({"vitally": 7}, None),
        ({"other": "x"}, None),
        (None, None),
    ],
)
def test_the_account_is_what_the_metadata_names(metadata: Any, account: Any) -> None:
    options = {"STRIPE_ACCOUNT_ID_KEY": "vitally"}
    customer = read("customer.updated__renamed")
    customer["data"]["object"]["metadata"] = metadata

    assert account == fact(subscribed(metadata=metadata), **options).value.get(
        "account"
    )
    assert account == fact(customer, **options).value.get("account")


def test_a_new_account_id_is_a_new_state() -> None:
    moved = fact(
        read("customer.updated__metadata_changed"), STRIPE_ACCOUNT_ID_KEY="vitally_id"
    )

    assert "birch-202" == moved.value["account"]
    assert moved.before != moved.after


# --- snapshots --------------------------------------------------------------------


def test_a_quantity_of_zero_is_kept_and_none_is_one() -> None:
    items = [item(quantity=quantity) for quantity in (0, 1, None, 2)]
    value = fact(subscribed(items={"data": items})).value

    assert [0, None, None, 2] == [one.get("quantity") for one in value["items"]]


def test_more_items_than_are_shown_are_told() -> None:
    shown = {"data": [item()], "has_more": True}

    assert fact(subscribed(items=shown)).value["more"]
    assert fact(subscribed(items=None)).value["more"]
    assert "more" not in fact(subscribed(items={"data": []})).value


def test_an_item_without_a_price_is_the_plan_of_a_lone_item() -> None:
    plan = {"id": "plan-gold", "amount": 2900, "currency": "eur", "interval": "week"}
    bare = item(price=None, plan=None)
    lone = fact(subscribed(items={"data": [bare]}, plan=plan, currency=None)).value
    two = fact(subscribed(items={"data": [bare, item()]}, plan=plan)).value

    assert ("eur", "2900") == (lone["currency"], lone["items"][0]["unit"])
    assert "unit" not in two["items"][0]


def test_a_plan_beside_a_price_is_not_judged() -> None:
    nonsense = {"id": 7, "currency": "currency"}
    value = fact(subscribed(items={"data": [item(plan=nonsense)]}, plan=nonsense)).value

    assert "5000" == value["items"][0]["unit"]
    with pytest.raises(ValidationError):
        fact(subscribed(items={"data": [item(price=None, plan=nonsense)]}))


def test_the_exact_amount_goes_before_the_rounded_one() -> None:
    price = {**item()["price"], "unit_amount": 1, "unit_amount_decimal": "0.50"}
    value = fact(subscribed(items={"data": [item(price=price)]})).value

    assert "0.5" == value["items"][0]["unit"]


def test_a_one_time_price_says_so() -> None:
    price = {**item()["price"], "type": "one_time", "recurring": None}
    value = fact(subscribed(items={"data": [item(price=price)]})).value

    assert value["items"][0]["one_time"]
    assert "interval" not in value["items"][0]


def test_a_discount_told_twice_is_told_once_and_in_full() -> None:
    full = {"id": "di_1", "coupon": {"id": "c", "percent_off": 50.0}, "end": None}
    value = fact(subscribed(discount=full, discounts=["di_0", "di_1"])).value
    other = fact(subscribed(discount="di_1", discounts=[full])).value

    assert [
        {"id": "di_0"},
        {"id": "di_1", "coupon": "c", "percent": "50"},
    ] == value["discounts"]
    assert [value["discounts"][1]] == other["discounts"]


def test_discounts_without_ids_are_each_kept() -> None:
    unnamed = [{"coupon": "a"}, {"coupon": "b"}, {}]

    expected = [{"coupon": "a"}, {"coupon": "b"}]
    assert expected == fact(subscribed(discounts=unnamed)).value["discounts"]


def test_a_package_without_its_size_is_kept_as_one_that_is_not_known() -> None:
    price = {**item()["price"], "transform_quantity": {"round": "up"}}
    value = fact(subscribed(items={"data": [item(price=price)]})).value

    assert {"by": None, "round": "up"} == value["items"][0]["package"]


@pytest.mark.parametrize(
    "rate", [{"inclusive": True}, {"percentage": 20}, {"inclusive": None}]
)
def test_a_tax_that_does_not_say_what_it_takes_is_not_known(rate) -> None:
    value = fact(subscribed(items={"data": [item(tax_rates=[rate])]})).value

    assert [None] == value["items"][0]["tax"]


@pytest.mark.parametrize(
    "changes",
    [
        {"id": ""},
        {"status": "dormant"},
        {"currency": "dollars"},
        {"trial_end": 10**15},
        {"quantity": -1},
        {"items": {"data": [{"price": {"id": "p", "unit_amount": 2**60}}]}},
        {"items": {"data": [{"price": {"id": "p", "unit_amount_decimal": "1e9"}}]}},
        {"items": {"data": [{"price": {"id": "p", "interval_count": 0}}]}},
        {"items": {"data": [{"price": {"id": "p", "interval": "fortnight"}}]}},
        {"items": {"data": [{"quantity": 2**53 + 1}]}},
        {"discounts": [{"id": "d", "coupon": {"id": "c", "percent_off": 101}}]},
    ],
)
def test_nothing_absurd_reaches_the_domain(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        fact(subscribed(**changes))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["id", "data", "x"]), inner, max_size=2)
    ),
    max_leaves=4,
)
NAMES = sorted(
    path.stem
    for path in FIXTURES.glob("*.json")
    if not path.name.endswith(".facts.json")
)


@given(st.sampled_from(NAMES), st.data())
def test_any_change_of_an_event_yields_a_fact_or_is_refused(
    name: str, data: st.DataObject
) -> None:
    body = read(name)
    place: Any = body["data"] if "data" in body else body["related_object"]
    while True:
        keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
        key = data.draw(st.sampled_from(keys))
        if not (isinstance(place[key], dict | list) and place[key]):
            break
        place = place[key]
    place[key] = data.draw(JSON)
    event = Event(body["id"], body["type"], 1_793_520_000_000, body)
    handler = SOURCE.handlers[event.type]

    try:
        loaded = handler.schema.load(body)
    except ValidationError as refusal:
        with pytest.raises(ValidationError) as caught:
            Schema.load(handler.schema, body)
        assert refusal.messages == caught.value.messages  # noqa: PT017
        return
    assert loaded == Schema.load(handler.schema, body)
    with contextlib.suppress(ValidationError):
        for found in handler.facts(event, loaded, DEFAULTS):
            assert found == Fact(**json.loads(json.dumps(found._asdict())))._replace(
                stamp=found.stamp
            )
