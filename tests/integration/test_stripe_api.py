"""Reading Stripe's own API, against a local Stripe over real HTTP."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from bridge.config import USED
from bridge.domain.account import Party, unite
from bridge.domain.document import document
from bridge.domain.facts import Fact, Rank, Stamp
from bridge.domain.fold import History, fold
from bridge.domain.forecast import TRAITS as FORECASTS
from bridge.domain.money import STRIPE
from bridge.domain.traits import instant
from bridge.errors import ConfigError, SourceError, SourceUnreadError
from bridge.sources.http import HttpApi
from bridge.sources.stripe import SOURCE, endpoint
from bridge.sources.stripe.api import LISTS, VERSION, StripeApi, connect, http_of
from bridge.sources.stripe.facts import needed_events
from bridge.webhook.source import Event
from tests.support.local_stripe import (
    KEY,
    SECRET_PART,
    Json,
    LocalStripe,
    coupon,
    customer,
    discount,
    item,
    known_events,
    price,
    subscription,
    webhook_endpoint,
)
from tests.support.processes import ROOT, environment

NOW = 1_790_000_000
"""The local Stripe's clock (seconds)."""

AT = (NOW - 2) * 1000
"""What a refresh at NOW is stamped with at the latest: the request began before NOW,
and of the second in which it began not all is told."""

DEFAULTS = {option.name: option.default for option in SOURCE.options}


@pytest.fixture
def stripe() -> Iterator[LocalStripe]:
    with LocalStripe() as running:
        running.clock = lambda: NOW + 0.9
        yield running


def options(stripe: LocalStripe, **more: Any) -> dict[str, Any]:
    own = {"STRIPE_API_KEY": KEY, "STRIPE_API_BASE": stripe.url, "STRIPE_MODE": "test"}
    return {**DEFAULTS, **own, **more}


def api(stripe: LocalStripe, **more: Any) -> StripeApi:
    made = connect(options(stripe, **more))
    assert made is not None
    return made


def read(stripe: LocalStripe, **more: Any) -> dict[str, Fact]:
    """The facts of `cus_1` by their things."""
    facts = api(stripe, **more).party("stripe:cus_1")
    assert len(facts) == len({fact.thing for fact in facts})
    return {fact.thing: fact for fact in facts}


def failure(stripe: LocalStripe, **more: Any) -> SourceError:
    with pytest.raises(SourceError) as raised:
        read(stripe, **more)
    return raised.value


def told(kind: str, thing: Json, at: int = AT) -> list[Fact]:
    """The facts that a webhook tells of *thing*."""
    body = {"data": {"object": thing}}
    handler = SOURCE.handlers[kind]
    event = Event(f"evt_{at}", kind, at, body)
    return list(handler.facts(event, handler.schema.load(body), DEFAULTS))


# --- what is read -------------------------------------------------------------------


def test_what_is_read_is_what_webhooks_would_have_told(stripe: LocalStripe) -> None:
    stripe.put(customer("cus_1"), subscription("sub_1", "cus_1"))
    stripe.put(subscription("sub_2", "cus_2"))
    # In an event the price's product is an id.
    shown = subscription("sub_1", "cus_1", item(price(product="prod_1")))

    facts = read(stripe)

    expected = [
        *told("customer.updated", customer("cus_1")),
        *told("customer.subscription.updated", shown),
    ]
    assert {"customer", "subscription:sub_1", "read"} == set(facts)
    for fact in expected:
        assert fact.value == facts[fact.thing].value
        assert fact.after == facts[fact.thing].after


@pytest.mark.parametrize("delay", [0.05, 1.05])
def test_every_fact_has_the_instant_that_the_first_reply_surely_contains(
    stripe: LocalStripe, delay: float
) -> None:
    """A slow reply counts from its request."""
    stripe.put(customer("cus_1"), subscription("sub_1", "cus_1"))
    stripe.delay = delay

    facts = read(stripe)

    at = facts["read"].stamp.at
    assert AT - 5000 < at <= AT - 1000 * int(delay)
    stamp = Stamp(False, at, Rank.FROM_API)
    assert {("stripe:cus_1", stamp, f"read:{at}", "read")} == {
        (fact.party, fact.stamp, fact.event, fact.kind) for fact in facts.values()
    }
    assert {} == facts["read"].value


TIERS = [
    {"up_to": 5, "unit_amount_decimal": "700", "flat_amount": None},
    {"up_to": None, "unit_amount_decimal": "650", "flat_amount": None},
]
TIERED = price("price_t", None, tiers_mode="graduated", tiers=TIERS, nickname=None)
NAMELESS = price(nickname=None)
EITHER = price("price_e", currency_options={"eur": {"unit_amount": 4500}})
HALF, TENTH = coupon("HALF"), coupon("TENTH", percent=10.0)
SOME = coupon("SOME", applies_to={"products": ["prod_2"]})
ANOTHER = coupon("HALF", created=HALF["created"] + 1, applies_to={"products": ["x"]})
OTHER = price("price_2", 2000, product={"id": "prod_2", "object": "product"})
TWO = item(price(unit=1000)), item(OTHER, id_="si_2")
MANY = [item(id_=f"si_{n}", discounts=[discount(HALF)]) for n in range(120)]


def having(*items: Json, id_: str = "sub_1", **more: Any) -> Json:
    return subscription(id_, "cus_1", *items, **more)


LIMITED = [SOME, customer("cus_1", discount=discount(SOME)), having(*TWO)]
DEARER = item(price(unit=10000), discounts=[discount(TENTH, id_="di_2")])
TWICE = [having(item(TIERED, quantity=8)), having(item(TIERED), id_="sub_2")]
OVER = having(item(TIERED), discounts=[discount(HALF)], status="canceled")
HALVED = {"discounts": [discount(HALF)]}

READ: dict[str, tuple[list[Json], Json, str]] = {
    "tiers": ([TIERED, *TWICE], {"mrr": 61.5}, "prices/price_t products/prod_1"),
    "what a price costs in the subscription's currency": (
        [EITHER, having(item(EITHER, quantity=2), currency="eur")],
        {"mrr": 90, "billingCurrency": "EUR"},
        "prices/price_e",
    ),
    "terms of discounts": (
        [HALF, TENTH, having(DEARER, **HALVED)],
        {"mrr": 45},
        "coupons/HALF coupons/TENTH",
    ),
    "what a coupon is for": (LIMITED, {"mrr": 20}, "coupons/SOME"),
    "that it is for all": ([HALF, having(*TWO, **HALVED)], {"mrr": 15}, "coupons/HALF"),
    "a coupon that is gone, whose discount has its terms": (
        [having(**HALVED)],
        {"mrr": 24.5},
        "coupons/HALF",
    ),
    "one that was made again": (
        [ANOTHER, having(**HALVED)],
        {"mrr": 24.5},
        "coupons/HALF",
    ),
    "a product's name where a plan has none": (
        [NAMELESS["product"], having(item(NAMELESS), item(id_="si_2"))],
        {"planName": "Everything, Pro"},
        "products/prod_1",
    ),
    "a product that is gone": (
        [having(item(NAMELESS))],
        {"planName": None},
        "products/prod_1",
    ),
    "all items of a long subscription": (
        [HALF, having(*MANY)],
        {"mrr": 120 * 24.5},
        "subscription_items subscription_items coupons/HALF",
    ),
    "nothing of what has ended": ([OVER], {"mrr": None}, ""),
}
"""What is read -> where Stripe has what, a trait, and what is asked for beside lists."""


@pytest.mark.parametrize(("objects", "expected", "asked"), READ.values(), ids=READ)
def test_what_no_event_tells_is_read(
    stripe: LocalStripe, objects: list[Json], expected: Json, asked: str
) -> None:
    stripe.put(customer("cus_1"), *objects)

    facts = read(stripe)

    party = Party("stripe:cus_1", fold(History(facts.values())))
    traits = document(unite("cus_1", [party]), now=AT).traits
    assert expected == {name: traits[name] for name in expected}
    always = ("/v1/customers/cus_1", "/v1/subscriptions")
    beside = [path for path in stripe.paths() if path not in always]
    assert asked.split() == [path.removeprefix("/v1/") for path in beside]


def phase(start: int, *items: Json, end: int = 0, **more: Any) -> Json:
    own = {"start_date": start, "end_date": end, "discounts": [], "items": [*items]}
    return {**own, "default_tax_rates": [], "trial_end": None, **more}


def phased(*phases: Json, **more: Any) -> Json:
    own = {"id": "sub_sched_1", "object": "subscription_schedule", "status": "active"}
    own |= {"current_phase": {"start_date": NOW - 9}, "end_behavior": "release"}
    return {**own, "created": NOW - 9, "phases": [*phases], **more}


def off(terms: Json | None = None, **more: Any) -> list[Json]:
    given = {"coupon": terms, "discount": None, "promotion_code": None, **more}
    return [given]


FIRST = phase(NOW - 9, {"price": price(), "quantity": 1}, end=NOW + 100)
SECOND = phase(NOW + 100, {"price": TIERED, "quantity": 8}, end=NOW + 200)
THIRD = {"price": OTHER, "quantity": 2, "discounts": off(TENTH)}
LAST = phase(NOW + 200, THIRD, end=NOW + 300, discounts=off(HALF))
LIKE = phase(NOW + 200, {"price": OTHER}, discounts=off(discount=discount(HALF)))
CODE = phase(NOW + 200, {"price": OTHER}, discounts=off(promotion_code="promo_1"))
TRIAL = phase(NOW + 200, {"price": OTHER}, trial_end=NOW + 250)

PHASES: dict[str, tuple[Json, Any, int | None]] = {
    "the last phase goes on": (phased(FIRST, SECOND), 54.5, 100),
    "with the terms of its coupons": (phased(FIRST, SECOND, LAST), 18, 200),
    "with a discount that it keeps": (phased(FIRST, LIKE), 10, 200),
    "with a code whose terms are not told": (phased(FIRST, CODE), None, None),
    "after its trial": (phased(FIRST, TRIAL), 20, 250),
    "it ends with the last": (phased(FIRST, LAST, end_behavior="cancel"), 0, 300),
    "it is released": (phased(FIRST, SECOND, status="released"), 49, None),
    "nothing follows": (phased(FIRST), 49, None),
    "it has no phase any more": (phased(end_behavior="cancel"), 49, None),
}
FORECAST = STRIPE._replace(use=FORECASTS)


@pytest.mark.parametrize(("schedule", "mrr", "seconds"), PHASES.values(), ids=PHASES)
def test_the_phases_of_a_schedule_are_read_where_a_forecast_wants_them(
    stripe: LocalStripe, schedule: Json, mrr: Any, seconds: int | None
) -> None:
    own = having(item(price()), schedule="sub_sched_1")
    stripe.put(customer("cus_1"), HALF, TENTH, TIERED, schedule, own)

    facts = read(stripe, **{USED: FORECASTS})

    party = Party("stripe:cus_1", fold(History(facts.values())))
    traits = document(unite("cus_1", [party]), FORECAST, AT).traits
    assert mrr == traits.get("forecastMrr")
    at = traits.get("forecastAt")
    assert (None if seconds is None else instant((NOW + seconds) * 1000)) == at
    asked = "/v1/subscription_schedules/sub_sched_1"
    assert 1 == stripe.paths().count(asked)
    read(stripe)
    assert 1 == stripe.paths().count(asked)


def test_metadata_that_is_a_trait_is_read_and_stays_when_an_event_lacks_it(
    stripe: LocalStripe,
) -> None:
    table = {"a": "product.metadata.a", "b": "customer.metadata.b"}
    read_ = SOURCE.table({"traits": table})
    stripe.put(NAMELESS["product"] | {"metadata": {"a": "1"}}, having(item(NAMELESS)))
    stripe.put(customer("cus_1", metadata={"b": "2"}))
    policy = STRIPE._replace(use=frozenset(read_.computed))
    before = [*read(stripe, **read_.values).values()]
    later = told("customer.subscription.updated", having(item(NAMELESS)), AT + 9000)

    for facts in (before, [*before, *later]):
        party = Party("stripe:cus_1", fold(History(facts)))
        traits = document(unite("cus_1", [party]), policy).traits
        assert {"a": "1", "b": "2"} == {name: traits[name] for name in table}


@pytest.mark.parametrize(
    ("listed", "products"), [([HALF], []), ([], None), ([ANOTHER], None)]
)
def test_whom_a_coupon_is_for_is_kept_where_it_can_be_told(
    stripe: LocalStripe, listed: list[Json], products: Any
) -> None:
    stripe.put(customer("cus_1"), having(discounts=[discount(HALF)]), *listed)

    facts = read(stripe)

    terms = {"coupon": "HALF", "percent": "50", "duration": "forever"}
    terms |= {} if products is None else {"products": products}
    (shown,) = facts["subscription:sub_1"].value["discounts"]
    assert {"id": "di_1", **terms} == shown
    assert {"di_1": terms} == facts["read"].value["discounts"]


def test_when_a_discount_ends_is_kept(stripe: LocalStripe) -> None:
    months = coupon("MONTHS", duration="repeating")
    stripe.put(customer("cus_1"), having(discounts=[discount(months, end=NOW + 9)]))

    known = read(stripe)["read"].value["discounts"]

    assert (NOW + 9) * 1000 == known["di_1"]["ends"]


def test_terms_that_never_change_are_read_once_for_all_customers(
    stripe: LocalStripe,
) -> None:
    stripe.put(TIERED, TIERED["product"])
    for n in (1, 2):
        stripe.put(customer(f"cus_{n}"))
        stripe.put(subscription(f"sub_{n}", f"cus_{n}", item(TIERED)))
    source = api(stripe)

    one, two = (source.party(f"stripe:cus_{n}")[1].value for n in (1, 2))

    assert one["items"] == two["items"]
    assert 1 == stripe.paths().count("/v1/prices/price_t")
    # A name may change.
    assert 2 == stripe.paths().count("/v1/products/prod_1")


def test_a_price_may_get_another_currency_and_another_amount_in_it(
    stripe: LocalStripe,
) -> None:
    stripe.put(customer("cus_1"), having(item(EITHER), currency="chf"))
    source, units = api(stripe), []

    for options in ({}, {"chf": {"unit_amount": 5000}}, {"chf": {"unit_amount": 0}}):
        stripe.put({**EITHER, "currency_options": options})
        facts = {fact.thing: fact.value for fact in source.party("stripe:cus_1")}
        units.append(facts["subscription:sub_1"]["items"][0].get("unit"))

    assert [None, "5000", "0"] == units


def test_more_than_a_page_of_subscriptions_is_read_to_the_end(
    stripe: LocalStripe,
) -> None:
    ids = [f"sub_{n}" for n in range(205)]
    stripe.put(customer("cus_1"), *(having(id_=id_) for id_ in ids))

    facts = read(stripe)

    assert {f"subscription:{id_}" for id_ in ids} == set(facts) - {"customer", "read"}
    assert ["/v1/customers/cus_1", *["/v1/subscriptions"] * 3] == stripe.paths()


def test_an_ended_subscription_is_final_and_read_as_well(stripe: LocalStripe) -> None:
    stripe.put(
        customer("cus_1"),
        having(status="canceled", ended_at=1_770_000_000),
        having(id_="sub_2", status="incomplete_expired"),
    )

    facts = read(stripe)

    assert facts["subscription:sub_1"].stamp.final
    assert facts["subscription:sub_2"].stamp.final
    assert 1_770_000_000_000 == facts["subscription:sub_1"].value["ended_at"]
    assert not facts["customer"].stamp.final


@pytest.mark.parametrize("key", [None, "vitally_id"])
def test_a_deleted_customer_is_final_and_all_it_had_is_read(
    stripe: LocalStripe, key: str | None
) -> None:
    """It does not take the account away that its metadata named."""
    stripe.put(customer("cus_1", deleted=True))
    stripe.put(having(status="canceled", ended_at=NOW - 50))

    facts = read(stripe, STRIPE_ACCOUNT_ID_KEY=key)

    own = facts.pop("customer", None)
    assert {"subscription:sub_1", "read"} == set(facts)
    assert "canceled" == facts["subscription:sub_1"].value["status"]
    assert bool(own) == (key is None)
    if own:
        assert Stamp(True, facts["read"].stamp.at, Rank.FROM_API) == own.stamp
        assert {"account": "cus_1", "deleted": True} == own.value


def test_the_account_is_named_by_the_metadata_that_the_settings_say(
    stripe: LocalStripe,
) -> None:
    stripe.put(customer("cus_1", metadata={"vitally_id": "acme-101"}))

    facts = read(stripe, STRIPE_ACCOUNT_ID_KEY="vitally_id")

    assert "acme-101" == facts["customer"].value["account"]


@pytest.mark.parametrize(
    ("seconds", "winner"), [(-1, "read"), (0, "read"), (1, "customer.updated")]
)
def test_an_older_event_loses_against_what_was_read_and_a_newer_one_wins(
    stripe: LocalStripe, seconds: int, winner: str
) -> None:
    stripe.put(customer("cus_1", name="As read"))
    known = read(stripe)["customer"]
    at = known.stamp.at + seconds * 1000
    (event,) = told("customer.updated", customer("cus_1", name="As told"), at)

    for order in ([event, known], [known, event]):
        assert winner == fold(History(order))["customer"].fact.kind


def test_whose_a_thing_is_can_be_asked(stripe: LocalStripe) -> None:
    stripe.put(customer("cus_1"), having())
    source = api(stripe)

    assert "stripe:cus_1" == source.owner("subscription:sub_1")
    assert None is source.owner("subscription:sub_9")
    assert "stripe:cus_1" == source.owner("customer:cus_1")
    assert [] == source.party("stripe:cus_9")


# --- requests, and what goes wrong --------------------------------------------------


def test_stripe_learns_the_version_and_nothing_of_this_machine(
    stripe: LocalStripe,
) -> None:
    """The version is one in which a discount holds its coupon."""
    stripe.put(customer("cus_1"))

    read(stripe)

    for asked in stripe.log:
        assert "2025-08-27.basil" == asked.headers["Stripe-Version"]
        assert "X-Stripe-Client-Telemetry" not in asked.headers
        assert "X-Stripe-Client-User-Agent" not in asked.headers
        assert "vitally-bridge" == asked.headers["User-Agent"]


def test_a_failure_in_the_middle_yields_no_half_customer(stripe: LocalStripe) -> None:
    stripe.put(customer("cus_1"), *(having(id_=f"sub_{n}") for n in range(101)))
    stripe.fail("500", where="starting_after")

    assert " answered 500 about subscriptions" in failure(stripe).reason
    assert 103 == len(read(stripe))


def test_a_wrong_key_is_refused_and_never_shown(stripe: LocalStripe) -> None:
    error = failure(stripe, STRIPE_API_KEY="rk_test_wrong")

    assert error.refused
    assert "Stripe refuses STRIPE_API_KEY (401)" == str(error)


def test_a_permission_that_lacks_is_named(stripe: LocalStripe) -> None:
    stripe.put(customer("cus_1"))
    stripe.forbidden.add("subscriptions")
    error = failure(stripe)

    assert error.refused
    assert (
        "STRIPE_API_KEY may not read subscriptions (403): "
        "it lacks the permission rak_subscription_read"
    ) == str(error)


def test_an_object_that_is_not_understood_is_an_error_of_its_own(
    stripe: LocalStripe,
) -> None:
    stripe.put(customer("cus_1"), having(status=["no status"]))
    error = failure(stripe)

    assert isinstance(error, SourceUnreadError)
    assert "sub_1 is not understood: status" == str(error)


@pytest.mark.parametrize("fault", ["429", "500", "html", "garbage"])
def test_no_reply_is_ever_logged(
    stripe: LocalStripe, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    caplog.set_level(logging.DEBUG)
    stripe.put(customer("cus_1", name=SECRET_PART))
    stripe.fail(fault, where="subscriptions")
    error = failure(stripe)

    assert SECRET_PART not in caplog.text + str(error)
    assert KEY not in caplog.text


def test_a_probe_names_all_that_the_key_may_not_read(stripe: LocalStripe) -> None:
    api = connect(options(stripe))
    assert api
    assert api.probe()
    stripe.forbidden |= {"prices", "coupons"}
    with pytest.raises(SourceError) as raised:
        api.probe()

    assert raised.value.refused
    assert "lacks the permission rak_price_read" in raised.value.reason
    assert "lacks the permission rak_coupon_read" in raised.value.reason
    wrong = connect(options(stripe, STRIPE_API_KEY="rk_test_wrong"))
    with pytest.raises(SourceError, match=r"^Stripe refuses STRIPE_API_KEY \(401\)$"):
        wrong and wrong.probe()
    assert 3 * len(LISTS) == len(stripe.log)


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
    expand = {"expand[]": "data.items.data.price.tiers"}

    with pytest.raises(SourceError, match="answered 400"):
        api(stripe)._http.get("subscriptions", query=expand)


# --- Its webhook endpoints -------------------------------------------------------------

URL = "https://bridge.example.com/webhooks/stripe"


def setting_up(stripe: LocalStripe) -> HttpApi:
    http = http_of(options(stripe), does="change")
    assert http is not None
    return http


def test_all_events_that_are_read_are_events_that_an_endpoint_can_send() -> None:
    needed = needed_events(DEFAULTS)

    assert "customer.subscription.updated" in needed
    assert set(needed) <= known_events()


def test_an_endpoint_is_created_with_the_version_of_our_own_requests(
    stripe: LocalStripe,
) -> None:
    needed = needed_events(DEFAULTS)
    made = endpoint.create(setting_up(stripe), URL, needed, connect=False)
    (shown,) = endpoint.endpoints(setting_up(stripe))

    assert "whsec_example_we_1" == made.secret
    assert made._replace(secret=None) == shown
    assert endpoint.Endpoint("we_1", URL, needed, True, False, None, False) == shown
    assert [VERSION] == [
        one["api_version"] for one in stripe.listed("webhook_endpoints")
    ]


def test_a_connect_endpoint_is_known_again(stripe: LocalStripe) -> None:
    http = setting_up(stripe)
    endpoint.create(http, URL, ["customer.updated"], connect=True)
    stripe.put(webhook_endpoint("we_old", URL, ["*"], application="ca_example"))

    assert [True, True] == [one.is_connect for one in endpoint.endpoints(http)]


def test_an_update_sets_exactly_the_events_and_can_enable(stripe: LocalStripe) -> None:
    http = setting_up(stripe)
    off = webhook_endpoint("we_1", URL, ["charge.failed"], status="disabled")
    stripe.put(off)
    kept = endpoint.update(http, "we_1", ["customer.updated"], enable=False)
    enabled = endpoint.update(http, "we_1", ["customer.updated"], enable=True)

    assert (["customer.updated"], False) == (kept.events, kept.is_enabled)
    assert enabled.is_enabled


@pytest.mark.parametrize(
    ("one", "two", "is_same"),
    [
        ("https://B.example.com/x", "https://b.example.com:443/x/", True),
        ("http://b.example.com:80/x", "http://b.example.com/x", True),
        ("https://b.example.com:8443/x", "https://b.example.com/x", False),
        ("https://b.example.com/X", "https://b.example.com/x", False),
        ("https://b.example.com.example.org/x", "https://b.example.com/x", False),
        ("https://b.example.com/x?a=1", "https://b.example.com/x", False),
        ("https://[broken/x", "https://[broken/y", False),
        ("https://b.example.com:port/x", "https://b.example.com/x", False),
    ],
)
def test_urls_are_compared_by_what_they_mean(one: str, two: str, is_same: bool) -> None:
    assert is_same == (endpoint.normalized(one) == endpoint.normalized(two))


def test_all_pages_of_endpoints_are_read(
    stripe: LocalStripe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.sources.stripe.api.MOST", 1)
    stripe.put(*(webhook_endpoint(f"we_{n}", URL, ["*"], created=n) for n in range(3)))

    ids = [one.id for one in endpoint.endpoints(setting_up(stripe))]

    assert ["we_2", "we_1", "we_0"] == ids


def test_missing_events_are_those_that_none_of_them_sends(stripe: LocalStripe) -> None:
    stripe.put(webhook_endpoint("we_1", URL, ["a", "c"]))
    stripe.put(webhook_endpoint("we_2", URL, ["*"], created=1))
    every, some = endpoint.endpoints(setting_up(stripe))

    assert [] == endpoint.missing([every], ["a", "b"])
    assert ["b"] == endpoint.missing([some], ["a", "b"])
    assert ["b"] == endpoint.missing([every, some], ["a", "b"], times=2)
    assert ["a"] == endpoint.missing([every._replace(is_enabled=False)], ["a"])


def test_a_key_that_may_not_change_endpoints_is_told_which_permission_it_lacks(
    stripe: LocalStripe,
) -> None:
    stripe.forbidden = {"webhook_write"}
    with pytest.raises(SourceError) as raised:
        endpoint.create(setting_up(stripe), URL, ["customer.updated"], connect=False)

    expected = "STRIPE_API_KEY may not change webhook_endpoints (403): it lacks the"
    assert f"{expected} permission rak_webhook_write" == raised.value.reason
