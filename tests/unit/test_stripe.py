"""What the Stripe source makes of events, beyond the recorded ones."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest
from marshmallow import ValidationError

from bridge.domain.account import Identity
from bridge.domain.facts import Fact
from bridge.domain.fold import History, fold
from bridge.errors import PayloadError
from bridge.sources.stripe import SOURCE
from bridge.sources.stripe.facts import RANKS, rewound
from bridge.webhook.source import Event
from bridge.webhook.values import digest
from tests.sources.known import FOLDER
from tests.support.reader import Reader

FIXTURES = FOLDER / "stripe" / "fixtures"
NOW = 1_793_520_000


def read(name: str) -> dict[str, Any]:
    """The body of one fixture."""
    found: dict[str, Any] = json.loads((FIXTURES / f"{name}.json").read_bytes())
    return found


def subscribed(previous: Any = "as recorded", **changes: Any) -> dict[str, Any]:
    """`customer.subscription.updated` with the subscription changed."""
    body = read("customer.subscription.updated__activated")
    body["data"]["object"].update(changes)
    if previous != "as recorded":
        body["data"]["previous_attributes"] = previous
    return body


def item(**changes: Any) -> dict[str, Any]:
    """The item of that subscription, changed."""
    first: dict[str, Any] = subscribed()["data"]["object"]["items"]["data"][0]
    return {**first, **changes}


def priced(**changes: Any) -> dict[str, Any]:
    """The same with its price changed."""
    return item(price={**item()["price"], **changes})


def having(*items: Any, **more: Any) -> dict[str, Any]:
    """What makes these the items of the subscription."""
    return {"items": {"data": [*items], **more}}


def split(body: Any) -> Event:
    (event,) = Reader(SOURCE).events(body)
    return event


def fact(body: Any, **options: Any) -> Fact:
    (found,) = Reader(SOURCE, STRIPE_MODE="live", **options).facts(body)
    return found


# --- the door -------------------------------------------------------------------


def event(**changes: Any) -> dict[str, Any]:
    """A body that is just an event, changed; what is None is left out."""
    whole = {"object": "event", "id": "evt_1", "type": "x", "created": 1, **changes}
    return {key: value for key, value in whole.items() if value is not None}


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"\xff\xfe", b'{"id": "\xff"}', b'"evt_1"', b"[]", b"null"),
        b'{"id": "evt_1", "type": "x", "created": NaN}',
        b"[" * 200_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
        {},
        *(event(id=id_) for id_ in (None, "", "e" * 256, 1)),
        *(event(type=kind) for kind in (None, ["x"])),
        *(event(created=at) for at in (None, True, 1.5, "1", -1, 10**18, 10**30)),
        event(object="list"),
        {**event(), "object": None},
        event(object=None),
        event(object=None, data=[]),
    ],
)
def test_what_is_no_event_is_a_payload_error(body: Any) -> None:
    with pytest.raises(PayloadError):
        split(body)


THIN = {
    "id": "evt_thin_example",
    "object": "v2.core.event",
    "type": "v1.customer.subscription.updated",
    "created": "2026-11-01T08:00:00.250Z",
    "related_object": {"id": "sub_1", "type": "subscription", "url": "/v1/x"},
}


def test_a_thin_event_says_that_a_thing_has_to_be_read() -> None:
    found = fact(THIN)

    assert ("pointer:stripe:subscription:sub_1", "thin", NOW * 1000 + 250) == (
        found.party,
        found.thing,
        found.stamp.at,
    )


@pytest.mark.parametrize(
    "change",
    [
        {"created": NOW},
        {"created": "yesterday"},
        {"created": "1793000000000"},
        {"created": "1960-01-01T00:00:00Z"},
        {"related_object": None},
        {"related_object": {"id": "in_1", "type": "invoice"}},
    ],
)
def test_a_thin_event_about_nothing_known_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises((PayloadError, ValidationError)):
        fact(THIN | change)


@pytest.mark.parametrize(
    ("mode", "changes", "ignored"),
    [
        ("live", {"livemode": True}, False),
        ("live", {"livemode": False}, True),
        ("test", {"livemode": True}, True),
        ("test", {"livemode": False}, False),
        ("test", {}, False),
        ("live", {"account": "acct_example_other"}, True),
        ("live", {"account": ""}, False),
    ],
)
def test_events_of_others_are_ignored_with_the_reason(
    mode: str, changes: dict[str, Any], ignored: bool
) -> None:
    """A mode that is missing counts as right."""
    body = event(type="customer.created", **changes)

    assert ignored == bool(Reader(SOURCE, STRIPE_MODE=mode).why_not(body))


# --- stamps and digests -----------------------------------------------------------


def test_every_handled_type_has_a_rank() -> None:
    words = {kind.rpartition(".")[2] for kind in SOURCE.handlers}
    assert {*words, "plan.updated"} == set(RANKS)


def test_an_event_is_the_one_that_version_1_0_stored() -> None:
    body = read("price.updated__renamed")
    body["data"]["object"]["lookup_key"] = None
    found = fact(body)
    value = {key: one for key, one in found.value.items() if key != "lookup"}
    stored = found._replace(value=value, after="114bb77ed2f5")
    (state,) = fold(History([stored, found._replace(rendering="1")])).values()
    own = Reader(SOURCE, {"traits": {"tier": "price.metadata.tier"}})
    (subscription,) = own.facts(read("customer.subscription.created__active"))

    assert stored.after == found.after
    assert (found.value, ()) == (state.value, state.rivals)
    assert "6785fbcc21a5" == subscription.after
    # A row is compared byte by byte.
    assert ["name", "lookup", "created"] == [
        *fact(read("price.updated__renamed")).value
    ]


def test_an_older_event_has_a_lesser_stamp_and_a_final_one_the_greatest() -> None:
    older = fact({**subscribed(), "created": 1_793_000_000})
    newer = fact(subscribed())
    final = fact({**subscribed(status="canceled"), "created": 1_792_000_000})

    assert older.stamp < newer.stamp < final.stamp
    assert 1_793_000_000_000 == older.stamp.at


def test_what_an_event_replaced_is_what_the_event_before_it_told() -> None:
    created, activated, renewed, swapped = (
        fact(read(f"customer.subscription.{name}"))
        for name in (
            "created__incomplete",
            "updated__activated",
            "updated__renewed",
            "updated__price_changed_with_partial_plan",
        )
    )

    assert created.after == activated.before
    assert activated.after == renewed.before == swapped.before


def test_a_change_of_what_is_not_read_is_no_new_state() -> None:
    found = fact(subscribed({"latest_invoice": "in_example_0"}))

    assert found.after == found.before


def test_toggles_of_one_second_match_one_another() -> None:
    on, off = (
        fact(
            subscribed({"cancel_at_period_end": not state}, cancel_at_period_end=state)
        )
        for state in (True, False)
    )

    assert (on.before, on.after) == (off.after, off.before)


@pytest.mark.parametrize(
    "previous", [None, {}, {"status": "no such status"}, {"items": []}, {"id": None}]
)
def test_a_state_before_that_cannot_be_read_is_unknown(previous: Any) -> None:
    assert fact(subscribed(previous)).before is None


def test_previous_attributes_are_put_back_key_by_key_and_lists_whole() -> None:
    shown = {"a": {"b": 1, "c": [1, 2], "d": {"e": 1}}, "f": 1}
    text = json.dumps(shown)
    previous = {"a": {"c": [9], "d": None, "g": 2}, "f": {"h": 1}}
    expected = {"a": {"b": 1, "c": [9], "d": None, "g": 2}, "f": {"h": 1}}

    assert expected == rewound(shown, previous)
    assert text == json.dumps(shown)


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
    customer = read("customer.updated__renamed")
    customer["data"]["object"]["metadata"] = metadata
    for body in (customer, subscribed(metadata=metadata)):
        value = fact(body, STRIPE_ACCOUNT_ID_KEY="vitally").value

        assert account == value.get("account")


def test_a_new_account_id_is_a_new_state() -> None:
    body = read("customer.updated__metadata_changed")
    moved = fact(body, STRIPE_ACCOUNT_ID_KEY="vitally_id")

    assert "birch-202" == moved.value["account"]
    assert moved.before != moved.after


TABLE = (
    'account = ["subscription.metadata.team", "customer.metadata.key", "customer.id"]'
)
TRUSTING = 'account = ["customer.metadata.key", "checkout.client_reference_id"]'


Told = tuple[str, dict[str, Any]]
"""The type of an event, and the object that it shows."""


def customer(**metadata: str) -> Told:
    return "customer.updated", {"id": "cus_1", "metadata": metadata}


def subscription(id_: str = "sub_1", **metadata: str) -> Told:
    whole = {"id": id_, "customer": "cus_1", "status": "active", "metadata": metadata}
    return "customer.subscription.updated", whole


def checkout(**more: Any) -> Told:
    whole = {"id": "cs_1", "customer": "cus_1", "client_reference_id": "by-checkout"}
    return "checkout.session.completed", {**whole, **more}


def named(told: list[Told], lines: str = "", key: str | None = None) -> Identity:
    """Whose the party is of which these were events, in whatever order they came."""
    reader = Reader(SOURCE, tomllib.loads(lines), STRIPE_ACCOUNT_ID_KEY=key)
    bodies = [
        event(id=f"evt_{n}", type=kind, created=n, data={"object": thing})
        for n, (kind, thing) in enumerate(told)
    ]
    ((identity,), _) = reader.outcome(*bodies)
    return identity


@pytest.mark.parametrize(
    ("lines", "key", "expected", "told"),
    [
        (TABLE, None, "cus_1", [customer()]),
        (TABLE, None, "cus_1", [subscription()]),
        (TABLE, None, "vit", [customer(key="vit"), subscription()]),
        (TABLE, None, "team", [customer(key="vit"), subscription(team="team")]),
        (TABLE, None, None, [subscription(team="a"), subscription("sub_2", team="b")]),
        (TABLE, None, "team", [subscription(team="team"), subscription("sub_2")]),
        # A buyer writes what a checkout names: it counts only where it is listed.
        ("", "key", "by-cus", [customer(key="by-cus"), checkout()]),
        ("", "key", "by-sub", [customer(), subscription(key="by-sub"), checkout()]),
        ("", "key", None, [customer(), subscription(), checkout()]),
        ("", "key", None, [customer(), checkout(client_reference_id=None)]),
        (TRUSTING, None, "by-checkout", [customer(), checkout()]),
        (TRUSTING, None, "by-cus", [checkout(), customer(key="by-cus")]),
    ],
)
def test_the_first_place_that_names_an_account_wins(
    lines: str, key: str | None, expected: Any, told: list[Told]
) -> None:
    assert expected == named(told, lines, key).account


def test_what_a_buyer_claims_is_told_to_whoever_links_the_party() -> None:
    told = [checkout(id="cs_2", client_reference_id="b" * 300), checkout(), customer()]

    reason = named(told, key="key").reason
    assert f"claims {'b' * 100}, by-checkout: link it if so" in reason


@pytest.mark.parametrize(
    ("key", "shown"), [(None, checkout()), ("key", checkout(customer=None))]
)
def test_a_claim_of_nobody_or_where_the_id_is_the_account_is_no_fact(
    key: str | None, shown: Told
) -> None:
    body = event(type=shown[0], data={"object": shown[1]})

    assert [] == Reader(SOURCE, STRIPE_ACCOUNT_ID_KEY=key).facts(body)


# --- snapshots --------------------------------------------------------------------


PLAN = {"id": "plan-gold", "amount": 2900, "currency": "eur", "interval": "week"}
NONSENSE = {"id": 7, "currency": "currency"}
FULL = {"id": "di_1", "coupon": {"id": "c", "percent_off": 50.0}, "end": None}
HALF = {"id": "di_1", "coupon": "c", "percent": "50"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (having(item(), has_more=True), {"more": True}),
        ({"items": None}, {"more": True}),
        (having(), {"more": None}),
        (
            {**having(item(price=None, plan=None)), "plan": PLAN, "currency": None},
            {"currency": "eur"},
        ),
        (
            {"discount": FULL, "discounts": ["di_0", "di_1"]},
            {"discounts": [{"id": "di_0"}, HALF]},
        ),
        ({"discount": "di_1", "discounts": [FULL]}, {"discounts": [HALF]}),
        (
            {"discounts": [{"coupon": "a"}, {"coupon": "b"}, {}]},
            {"discounts": [{"coupon": "a"}, {"coupon": "b"}]},
        ),
    ],
)
def test_a_subscription_says_what_is_told_of_it(
    changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    value = fact(subscribed(**changes)).value

    assert expected == {key: value.get(key) for key in expected}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (having(item(quantity=0)), {"quantity": 0}),
        (having(item(quantity=1)), {"quantity": None}),
        (having(item(quantity=None)), {"quantity": None}),
        (having(item(quantity=2)), {"quantity": 2}),
        # The plan is the item's that is alone; beside a price it is not judged.
        (
            {**having(item(price=None, plan=None)), "plan": PLAN, "currency": None},
            {"unit": "2900"},
        ),
        ({**having(item(price=None, plan=None), item()), "plan": PLAN}, {"unit": None}),
        ({**having(item(plan=NONSENSE)), "plan": NONSENSE}, {"unit": "5000"}),
        (having(priced(unit_amount=1, unit_amount_decimal="0.50")), {"unit": "0.5"}),
        (
            having(priced(type="one_time", recurring=None)),
            {"one_time": True, "interval": None},
        ),
        (
            having(priced(transform_quantity={"round": "up"})),
            {"package": {"by": None, "round": "up"}},
        ),
        # A tax that does not say what it takes.
        (having(item(tax_rates=[{"inclusive": True}])), {"tax": [None]}),
        (having(item(tax_rates=[{"percentage": 20}])), {"tax": [None]}),
        (having(item(tax_rates=[{"inclusive": None}])), {"tax": [None]}),
    ],
)
def test_an_item_says_what_is_told_of_it(
    changes: dict[str, Any], expected: dict[str, Any]
) -> None:
    first = fact(subscribed(**changes)).value["items"][0]

    assert expected == {key: first.get(key) for key in expected}


@pytest.mark.parametrize(
    "changes",
    [
        {"id": ""},
        {"customer": None},
        {"status": "dormant"},
        {"currency": "dollars"},
        {"trial_end": 10**15},
        {"quantity": -1},
        having({"price": {"id": "p", "unit_amount": 2**60}}),
        having({"price": {"id": "p", "unit_amount_decimal": "1e9"}}),
        having({"price": {"id": "p", "interval_count": 0}}),
        having({"price": {"id": "p", "interval": "fortnight"}}),
        having({"quantity": 2**53 + 1}),
        having(item(price=None, plan=NONSENSE)),
        {"discounts": [{"id": "d", "coupon": {"id": "c", "percent_off": 101}}]},
    ],
)
def test_nothing_absurd_reaches_the_domain(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        fact(subscribed(**changes))
