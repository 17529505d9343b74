"""Reading Stripe's own API, against a local Stripe over real HTTP."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from bridge.domain.account import Party, unite
from bridge.domain.document import document
from bridge.domain.facts import Fact, Rank, Stamp
from bridge.domain.fold import History, fold
from bridge.errors import ConfigError, SourceError, SourceUnreadError
from bridge.sources import discover
from bridge.sources.stripe.api import StripeApi, connect
from bridge.webhook.source import Event
from tests.support.local_stripe import (
    KEY,
    SECRET_PART,
    LocalStripe,
    coupon,
    customer,
    discount,
    item,
    price,
    subscription,
)
from tests.support.processes import ROOT, environment

NOW = 1_790_000_000
"""The local Stripe's clock (seconds)."""

AT = (NOW - 2) * 1000
"""What a reading at NOW is stamped with at the latest: the request began before NOW,
and of the second in which it began not all is told."""


@pytest.fixture
def stripe() -> Iterator[LocalStripe]:
    with LocalStripe() as running:
        running.clock = lambda: NOW + 0.9
        yield running


def options(stripe: LocalStripe, **said: Any) -> dict[str, Any]:
    defaults = {option.name: option.default for option in discover()["stripe"].options}
    return {
        **defaults,
        "STRIPE_API_KEY": KEY,
        "STRIPE_API_BASE": stripe.url,
        "STRIPE_MODE": "test",
        **said,
    }


def reading(stripe: LocalStripe, **said: Any) -> StripeApi:
    made = connect(options(stripe, **said))
    assert made is not None
    return made


def by_thing(facts: list[Fact]) -> dict[str, Fact]:
    assert len(facts) == len({fact.thing for fact in facts})
    return {fact.thing: fact for fact in facts}


def traits(facts: list[Fact]) -> dict[str, Any]:
    """What the facts alone make of the account."""
    party = Party("stripe:cus_1", fold(History(facts)))
    return dict(document(unite("cus_1", [party]), now=AT).traits)


def events_facts(kind: str, thing: dict[str, Any], at: int = AT) -> list[Fact]:
    """The facts that a webhook tells of *thing*."""
    source = discover()["stripe"]
    body = {"id": f"evt_{at}", "type": kind, "data": {"object": thing}}
    handler = source.handlers[kind]
    event = Event(body["id"], kind, at, body)
    defaults = {option.name: option.default for option in source.options}
    return list(handler.facts(event, handler.schema.load(body), defaults))


def test_what_is_read_is_what_webhooks_would_have_told(stripe: LocalStripe) -> None:
    one, other = customer("cus_1"), subscription("sub_1", "cus_1")
    stripe.put(one, other)
    # In an event the price's product is an id.
    other = subscription("sub_1", "cus_1", item(price(product="prod_1")))

    told = by_thing(reading(stripe).party("stripe:cus_1"))

    expected = [
        *events_facts("customer.updated", one),
        *events_facts("customer.subscription.updated", other),
    ]
    assert {"customer", "subscription:sub_1", "read"} == set(told)
    for fact in expected:
        assert fact.value == told[fact.thing].value
        assert fact.after == told[fact.thing].after


def test_every_fact_has_the_instant_that_the_first_reply_surely_contains(
    stripe: LocalStripe,
) -> None:
    stripe.put(customer("cus_1"), subscription("sub_1", "cus_1"))
    stripe.delay = 0.05

    facts = reading(stripe).party("stripe:cus_1")

    at = facts[0].stamp.at
    assert AT - 5000 < at <= AT
    assert {
        ("stripe:cus_1", Stamp(False, at, Rank.FROM_API), f"read:{at}", "read")
    } == {(fact.party, fact.stamp, fact.event, fact.kind) for fact in facts}
    assert {} == by_thing(facts)["read"].value


def test_a_slow_first_reply_counts_from_its_request(stripe: LocalStripe) -> None:
    stripe.put(customer("cus_1"))
    stripe.delay = 1.05

    facts = reading(stripe).party("stripe:cus_1")

    assert {True} == {AT - 5000 < fact.stamp.at <= AT - 1000 for fact in facts}


def test_an_ended_subscription_is_final_and_read_as_well(stripe: LocalStripe) -> None:
    stripe.put(
        customer("cus_1"),
        subscription("sub_1", "cus_1", status="canceled", ended_at=1_770_000_000),
        subscription("sub_2", "cus_1", status="incomplete_expired"),
    )

    told = by_thing(reading(stripe).party("stripe:cus_1"))

    assert told["subscription:sub_1"].stamp.final
    assert told["subscription:sub_2"].stamp.final
    assert 1_770_000_000_000 == told["subscription:sub_1"].value["ended_at"]
    assert not told["customer"].stamp.final


def test_other_customers_subscriptions_are_not_read(stripe: LocalStripe) -> None:
    stripe.put(customer("cus_1"), subscription("sub_2", "cus_2"))

    assert ["customer", "read"] == [
        fact.thing for fact in reading(stripe).party("stripe:cus_1")
    ]


def test_more_than_a_page_of_subscriptions_is_read_to_the_end(
    stripe: LocalStripe,
) -> None:
    ids = [f"sub_{n}" for n in range(205)]
    stripe.put(customer("cus_1"), *(subscription(id_, "cus_1") for id_ in ids))

    told = by_thing(reading(stripe).party("stripe:cus_1"))

    assert {f"subscription:{id_}" for id_ in ids} == set(told) - {"customer", "read"}
    assert ["/v1/customers/cus_1", *["/v1/subscriptions"] * 3] == stripe.paths()


def test_the_tiers_of_a_tiered_price_are_read(stripe: LocalStripe) -> None:
    tiers = [
        {"up_to": 5, "unit_amount_decimal": "700", "flat_amount": None},
        {"up_to": None, "unit_amount_decimal": "650", "flat_amount": None},
    ]
    tiered = price("price_t", None, tiers_mode="graduated", tiers=tiers)
    stripe.put(tiered, customer("cus_1"))
    stripe.put(subscription("sub_1", "cus_1", item(tiered, quantity=8)))
    stripe.put(subscription("sub_2", "cus_1", item(tiered, quantity=1)))

    facts = reading(stripe).party("stripe:cus_1")

    assert 61.5 == traits(facts)["mrr"]
    assert 1 == stripe.paths().count("/v1/prices/price_t")


def test_terms_that_never_change_are_read_once_for_all_customers(
    stripe: LocalStripe,
) -> None:
    tiers = [{"up_to": None, "unit_amount_decimal": "700"}]
    tiered = price("price_t", None, tiers_mode="volume", tiers=tiers, nickname=None)
    stripe.put(tiered, tiered["product"])
    for n in (1, 2):
        stripe.put(customer(f"cus_{n}"))
        stripe.put(subscription(f"sub_{n}", f"cus_{n}", item(tiered)))
    source = reading(stripe)

    values = [
        by_thing(source.party(f"stripe:cus_{n}"))[f"subscription:sub_{n}"].value
        for n in (1, 2)
    ]

    assert values[0]["items"] == values[1]["items"]
    assert 1 == stripe.paths().count("/v1/prices/price_t")
    # A name may change.
    assert 2 == stripe.paths().count("/v1/products/prod_1")


def test_discounts_come_with_their_terms(stripe: LocalStripe) -> None:
    half = coupon("HALF", percent=50.0)
    tenth = coupon("TENTH", percent=10.0)
    stripe.put(half, tenth, customer("cus_1"))
    stripe.put(
        subscription(
            "sub_1",
            "cus_1",
            item(price(unit=10000), discounts=[discount(tenth, id_="di_2")]),
            discounts=[discount(half, id_="di_1")],
        )
    )

    facts = reading(stripe).party("stripe:cus_1")

    assert 45 == traits(facts)["mrr"]


def test_what_a_coupon_applies_to_is_read(stripe: LocalStripe) -> None:
    limited = coupon("SOME", applies_to={"products": ["prod_2"]})
    other = price("price_2", 2000, product={"id": "prod_2", "object": "product"})
    stripe.put(limited, customer("cus_1", discount=discount(limited)))
    stripe.put(
        subscription("sub_1", "cus_1", item(price(unit=1000)), item(other, id_="si_2"))
    )

    facts = reading(stripe).party("stripe:cus_1")

    told = by_thing(facts)
    assert ["prod_2"] == told["customer"].value["discounts"][0]["products"]
    assert 20 == traits(facts)["mrr"]


def test_a_coupon_that_applies_to_nothing_named_is_for_all(stripe: LocalStripe) -> None:
    half = coupon("HALF", percent=50.0)
    other = price("price_2", 2000, product={"id": "prod_2", "object": "product"})
    items = item(price(unit=1000)), item(other, id_="si_2")
    stripe.put(half, customer("cus_1"))
    stripe.put(subscription("sub_1", "cus_1", *items, discounts=[discount(half)]))

    facts = reading(stripe).party("stripe:cus_1")

    told = by_thing(facts)
    terms = {"coupon": "HALF", "percent": "50", "duration": "forever", "products": []}
    (kept,) = told["read"].value["discounts"].values()
    assert terms == kept
    assert 15 == traits(facts)["mrr"]


@pytest.mark.parametrize("fate", ["deleted", "made again"])
def test_a_coupon_that_is_gone_keeps_the_terms_that_the_discount_holds(
    stripe: LocalStripe, fate: str
) -> None:
    gone = coupon("HALF")
    stripe.put(customer("cus_1"))
    stripe.put(subscription("sub_1", "cus_1", discounts=[discount(gone)]))
    if fate == "made again":
        products = {"products": ["prod_9"]}
        stripe.put(coupon("HALF", created=gone["created"] + 1, applies_to=products))

    facts = reading(stripe).party("stripe:cus_1")

    (value,) = by_thing(facts)["subscription:sub_1"].value["discounts"]
    # Nobody can tell any more which products it is for.
    assert ("50", None) == (value["percent"], value.get("products"))
    assert 24.5 == traits(facts)["mrr"]


def test_a_plan_without_a_nickname_has_its_product_s_name(stripe: LocalStripe) -> None:
    nameless = price(nickname=None)
    stripe.put(nameless["product"], customer("cus_1"))
    stripe.put(subscription("sub_1", "cus_1", item(nameless), item(id_="si_2")))

    facts = reading(stripe).party("stripe:cus_1")

    assert "Everything, Pro" == traits(facts)["planName"]


def test_a_product_that_is_gone_leaves_the_plan_without_a_name(
    stripe: LocalStripe,
) -> None:
    stripe.put(customer("cus_1"))
    stripe.put(subscription("sub_1", "cus_1", item(price(nickname=None))))

    facts = reading(stripe).party("stripe:cus_1")

    assert None is traits(facts)["planName"]


def test_all_items_of_a_long_subscription_are_read(stripe: LocalStripe) -> None:
    half = discount(coupon("HALF"))
    items = [item(id_=f"si_{n}", discounts=[half]) for n in range(120)]
    stripe.put(half["coupon"], customer("cus_1"))
    stripe.put(subscription("sub_1", "cus_1", *items))

    facts = reading(stripe).party("stripe:cus_1")

    assert 120 * 24.5 == traits(facts)["mrr"]
    assert 2 == stripe.paths().count("/v1/subscription_items")
    assert 1 == stripe.paths().count("/v1/coupons/HALF")


def test_ended_subscriptions_cost_no_further_request(stripe: LocalStripe) -> None:
    gone = discount(coupon("HALF"))
    stripe.put(customer("cus_1"))
    stripe.put(
        subscription(
            "sub_1",
            "cus_1",
            item(price(unit=None, nickname=None)),
            discounts=[gone],
            status="canceled",
        )
    )

    reading(stripe).party("stripe:cus_1")

    assert ["/v1/customers/cus_1", "/v1/subscriptions"] == stripe.paths()


def test_a_customer_that_stripe_does_not_know_has_no_facts(stripe: LocalStripe) -> None:
    assert [] == reading(stripe).party("stripe:cus_9")


@pytest.mark.parametrize("id_", ["..", ".", "a\nb", "a\ud800"])
def test_an_id_that_is_no_step_of_a_path_is_not_asked_for(
    stripe: LocalStripe, id_: str
) -> None:
    assert [] == reading(stripe).party(f"stripe:{id_}")
    assert None is reading(stripe).owner(f"subscription:{id_}")
    assert [] == stripe.paths()


def test_a_deleted_customer_is_final_and_all_it_had_is_read(
    stripe: LocalStripe,
) -> None:
    stripe.put(customer("cus_1", deleted=True))
    stripe.put(subscription("sub_1", "cus_1", status="canceled", ended_at=NOW - 50))

    told = by_thing(reading(stripe).party("stripe:cus_1"))

    assert Stamp(True, told["read"].stamp.at, Rank.FROM_API) == told["customer"].stamp
    assert {"account": "cus_1", "deleted": True} == told["customer"].value
    assert "canceled" == told["subscription:sub_1"].value["status"]


def test_reading_a_deletion_does_not_take_the_account_of_its_metadata_away(
    stripe: LocalStripe,
) -> None:
    stripe.put(customer("cus_1", deleted=True))
    stripe.put(subscription("sub_1", "cus_1", status="canceled", ended_at=NOW - 50))

    facts = reading(stripe, STRIPE_ACCOUNT_ID_KEY="vitally_id").party("stripe:cus_1")

    assert {"subscription:sub_1", "read"} == set(by_thing(facts))


def test_the_account_is_named_by_the_metadata_that_the_settings_say(
    stripe: LocalStripe,
) -> None:
    stripe.put(customer("cus_1", metadata={"vitally_id": "acme-101"}))

    facts = reading(stripe, STRIPE_ACCOUNT_ID_KEY="vitally_id").party("stripe:cus_1")

    assert "acme-101" == by_thing(facts)["customer"].value["account"]


@pytest.mark.parametrize(
    ("seconds", "winner"), [(-1, "read"), (0, "read"), (1, "customer.updated")]
)
def test_an_older_event_loses_against_what_was_read_and_a_newer_one_wins(
    stripe: LocalStripe, seconds: int, winner: str
) -> None:
    stripe.put(customer("cus_1", name="As read"))
    read = reading(stripe).party("stripe:cus_1")
    at = read[0].stamp.at + seconds * 1000
    told = events_facts("customer.updated", customer("cus_1", name="As told"), at)

    assert winner == fold(History([*told, *read]))["customer"].fact.kind
    assert winner == fold(History([*read, *told]))["customer"].fact.kind


def test_whose_a_thing_is_can_be_asked(stripe: LocalStripe) -> None:
    stripe.put(customer("cus_1"), subscription("sub_1", "cus_1"))
    source = reading(stripe)

    assert "stripe:cus_1" == source.owner("subscription:sub_1")
    assert None is source.owner("subscription:sub_9")
    assert "stripe:cus_1" == source.owner("customer:cus_1")


def test_the_version_is_one_in_which_a_discount_holds_its_coupon(
    stripe: LocalStripe,
) -> None:
    stripe.put(customer("cus_1"))

    reading(stripe).party("stripe:cus_1")

    assert {"2025-08-27.basil"} == {
        asked.headers["Stripe-Version"] for asked in stripe.log
    }


def test_stripe_learns_nothing_of_this_machine(stripe: LocalStripe) -> None:
    stripe.put(customer("cus_1"))

    reading(stripe).party("stripe:cus_1")

    for asked in stripe.log:
        assert "X-Stripe-Client-Telemetry" not in asked.headers
        assert "X-Stripe-Client-User-Agent" not in asked.headers
        assert "vitally-bridge" == asked.headers["User-Agent"]


@pytest.mark.parametrize(
    ("fault", "reason", "retry_after"),
    [
        ("429", "Stripe's API wants fewer requests (429)", 1.0),
        ("500", "Stripe's API answered 500 about customers", None),
        ("html", "Stripe's API answered 502 about customers", None),
        ("garbage", "Stripe's reply about customers cannot be read", None),
        ("reset", "Stripe's API does not answer (ProtocolError)", None),
    ],
)
def test_a_failure_is_one_error_with_a_reason(
    stripe: LocalStripe, fault: str, reason: str, retry_after: float | None
) -> None:
    stripe.put(customer("cus_1"))
    stripe.fail(fault)

    with pytest.raises(SourceError) as raised:
        reading(stripe).party("stripe:cus_1")

    error = raised.value
    assert (reason, retry_after, False) == (
        error.reason,
        error.retry_after,
        error.refused,
    )
    assert 1 == len(stripe.log)


def test_a_failure_in_the_middle_yields_no_half_customer(stripe: LocalStripe) -> None:
    stripe.put(customer("cus_1"))
    stripe.put(*(subscription(f"sub_{n}", "cus_1") for n in range(101)))
    stripe.fail("500", where="starting_after")

    with pytest.raises(SourceError):
        reading(stripe).party("stripe:cus_1")

    assert 103 == len(reading(stripe).party("stripe:cus_1"))


def test_an_api_that_hangs_is_given_up(stripe: LocalStripe) -> None:
    hasty = connect(options(stripe), timeout=0.2)
    assert hasty is not None
    stripe.fail("hang")

    with pytest.raises(SourceError, match=r"does not answer \(ReadTimeoutError\)"):
        hasty.party("stripe:cus_1")


def test_an_api_that_is_not_there_is_an_error_in_words() -> None:
    with LocalStripe() as stripe:
        source = reading(stripe)

    with pytest.raises(SourceError, match=r"does not answer \(NewConnectionError\)"):
        source.party("stripe:cus_1")


def test_a_wrong_key_is_refused_and_never_shown(stripe: LocalStripe) -> None:
    with pytest.raises(SourceError) as raised:
        reading(stripe, STRIPE_API_KEY="rk_test_wrong").party("stripe:cus_1")

    assert raised.value.refused
    assert "Stripe refuses STRIPE_API_KEY (401)" == str(raised.value)


def test_a_permission_that_lacks_is_named(stripe: LocalStripe) -> None:
    stripe.put(customer("cus_1"))
    stripe.forbidden.add("subscriptions")

    with pytest.raises(SourceError) as raised:
        reading(stripe).party("stripe:cus_1")

    assert raised.value.refused
    assert (
        "STRIPE_API_KEY may not read subscriptions (403): "
        "it lacks the permission rak_subscription_read"
    ) == str(raised.value)


def test_an_object_that_is_not_understood_is_an_error_of_its_own(
    stripe: LocalStripe,
) -> None:
    stripe.put(customer("cus_1"))
    stripe.put(subscription("sub_1", "cus_1", status=["no status"]))

    with pytest.raises(SourceUnreadError, match="sub_1 is not understood: status"):
        reading(stripe).party("stripe:cus_1")


@pytest.mark.parametrize("fault", ["429", "500", "html", "garbage"])
def test_no_reply_is_ever_logged(
    stripe: LocalStripe, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    caplog.set_level(logging.DEBUG)
    stripe.put(customer("cus_1", name=SECRET_PART))
    stripe.fail(fault, where="subscriptions")

    with pytest.raises(SourceError) as raised:
        reading(stripe).party("stripe:cus_1")

    assert SECRET_PART not in caplog.text
    assert KEY not in caplog.text
    assert SECRET_PART not in str(raised.value)


def test_without_a_key_there_is_no_api(stripe: LocalStripe) -> None:
    assert None is connect(options(stripe, STRIPE_API_KEY=None))


@pytest.mark.parametrize(
    ("key", "mode"),
    [("sk_live_example", "test"), ("rk_test_example", "live")],
)
def test_a_key_of_the_other_mode_is_a_mistake_of_the_settings(
    stripe: LocalStripe, key: str, mode: str
) -> None:
    with pytest.raises(ConfigError, match=f"STRIPE_MODE is {mode}"):
        connect(options(stripe, STRIPE_API_KEY=key, STRIPE_MODE=mode))


def test_the_http_client_is_loaded_only_with_a_key() -> None:
    code = (
        "import sys, bridge.sources as s; s.discover(); print('urllib3' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )

    assert "False" == done.stdout.strip()


def test_the_local_stripe_expands_four_levels_and_no_more(stripe: LocalStripe) -> None:
    expand = {"expand[0]": "data.items.data.price.tiers"}

    with pytest.raises(SourceError, match="answered 400"):
        reading(stripe)._http.get("subscriptions", query=expand)


def test_instants_are_utc(stripe: LocalStripe) -> None:
    stripe.put(customer("cus_1"))

    at = reading(stripe).party("stripe:cus_1")[0].stamp.at

    began = datetime.fromtimestamp(at / 1000, UTC)
    assert (2026, 9) == (began.year, began.month)
