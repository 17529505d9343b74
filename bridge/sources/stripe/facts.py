"""Turns each Stripe event into a stamped fact about one party, or about the catalogue.

The order of stamps: a final snapshot (a canceled subscription never comes back) beats all
others, then the later `created` (whole seconds, so ties are common), then the rank of
the type. The digests *before* and *after* let `fold` order ties.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.resources import files
from typing import Any

from marshmallow import ValidationError

from bridge.config import USED
from bridge.domain.facts import Fact, Rank, catalogue, pointer
from bridge.domain.values import (
    BILLING,
    GRANTS,
    METHOD,
    PAYMENTS,
    PAYS,
    TO_REFRESH,
    TRAIT,
    AnyValue,
    Notice,
    Value,
)
from bridge.sources.stripe import schemas, snapshot
from bridge.sources.stripe.schemas import CUSTOMER, SUBSCRIPTION, event_of
from bridge.sources.stripe.snapshot import Keeps, Place, Places
from bridge.webhook.fields import Payload
from bridge.webhook.source import (
    Event,
    Handlers,
    Options,
    Wants,
    forecasts,
    grants,
    is_name,
    pays,
)
from bridge.webhook.values import digest, kept

DEEPEST = 8
"""Most levels to which previous attributes are restored; Stripe's reach four."""

PREFIX = "stripe:"

V1 = "v1."
"""Prefix of the types of events that say only which object changed."""

ACCOUNT, ORGANIZATION = "stripe.account", "stripe.organization"
TRAITS = "stripe.traits"
"""Names of the options that `[sources.stripe]` in `bridge.toml` sets."""

EVENTS = tomllib.loads(files(__package__).joinpath("events.toml").read_text("utf-8"))
"""The event types and their meanings, by the function that reads them."""

THIN = [V1 + kind for kind in (*EVENTS["customer"], *EVENTS["subscription"])]
RANKS = {word: Rank[rank] for word, rank in EVENTS["ranks"].items()}

HANDLERS = Handlers()
OPTIONAL: Mapping[Wants, Handlers] = {w: Handlers() for w in (pays, grants, forecasts)}
"""Those that are used only while a trait in use wants them."""


def places(options: Options) -> Places:
    """The list in `bridge.toml`, else the places that STRIPE_ACCOUNT_ID_KEY implies.

    After them come those that name the organization.
    """
    key, listed = options["STRIPE_ACCOUNT_ID_KEY"], options.get(ACCOUNT)
    if key and not listed:
        listed = [Place(kind, "metadata", key) for kind in ("customer", "subscription")]
    return *(listed or (Place("customer", "id"),)), *options.get(ORGANIZATION, ())


def kept_beside(options: Options) -> Keeps:
    """What is kept beside the usual, as `[traits] use` and `[sources.stripe.traits]` say."""
    return Keeps(options.get(USED, ()), options.get(TRAITS, {}))


def needed_events(options: Options) -> list[str]:
    """The types of events that an endpoint must send, in the order of `events.toml`."""
    more = (own for is_wanted, own in OPTIONAL.items() if is_wanted(options))
    needed = [kind for own in (HANDLERS, *more) for kind in own]
    return [kind for kind in needed if not kind.startswith(V1)]


BEGIN = {"customer.created", "customer.updated"}


@HANDLERS.on(event_of(schemas.Customer), EVENTS["customer"], creates=BEGIN)
def customer_facts(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the customer's snapshot."""
    shown, is_gone = loaded["data"]["object"], event.type == "customer.deleted"
    make = partial(snapshot.customer, places=places(options))
    before, party = _before(event, loaded, CUSTOMER, make), PREFIX + shown["id"]
    yield _fact(event, party, "customer", make(shown, deleted=is_gone), before)
    for name in kept_beside(options).traits:
        own = partial(snapshot.trait, name=name, keeps=kept_beside(options))
        if told := own(shown):
            before = _before(event, loaded, CUSTOMER, own)
            yield _fact(event, party, TRAIT + name, told, before)
    if pays(options):
        yield _billing(event, loaded, party, BILLING)


@HANDLERS.on(event_of(schemas.Subscription), EVENTS["subscription"])
def subscription_facts(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the subscription's snapshot.

    Raises ValidationError where the subscription names no customer.
    """
    shown = loaded["data"]["object"]
    customer = snapshot.owner(shown)
    if customer is None:
        raise ValidationError({"customer": ["Neither customer nor customer_account."]})
    is_gone = event.type == "customer.subscription.deleted"
    keeps = kept_beside(options)
    make = partial(snapshot.subscription, places=places(options), keeps=keeps)
    value = make(shown, deleted_at=event.at if is_gone else None)
    before = _before(event, loaded, SUBSCRIPTION, make)
    party, thing = PREFIX + customer, f"subscription:{shown['id']}"
    yield _fact(event, party, thing, value, before)
    if pays(options):
        yield _billing(event, loaded, party, PAYS + shown["id"])


@HANDLERS.on(event_of(schemas.Discount), EVENTS["discount"])
def discount_facts(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the discount's terms and scope.

    A discount without an id (before 2017) is identified by the object that it is part of.
    One of a single payment is no customer's (https://docs.stripe.com/api/discounts/object).
    """
    shown = loaded["data"]["object"]
    id_, customer = shown["id"], snapshot.owner(shown)
    is_once = any(shown[key] for key in ("checkout_session", "invoice", "invoice_item"))
    lasts = shown["subscription"] or shown["subscription_item"] or not is_once
    if id_ and customer and lasts:
        old = (loaded["data"]["previous_attributes"] or {}).get("id")
        value = snapshot.discount(
            shown,
            places(options),
            start=_begun(event, shown["start"]),
            deleted=event.type == "customer.discount.deleted",
            replaces=old if is_name(old) and old != id_ else None,
        )
        yield _fact(event, PREFIX + customer, f"discount:{id_}", value)


@HANDLERS.on(event_of(schemas.Product), EVENTS["product"])
@HANDLERS.on(event_of(schemas.Price), EVENTS["price"])
@HANDLERS.on(event_of(schemas.Coupon), EVENTS["coupon"])
def catalogue_facts(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield what belongs to no customer: party `coupon:id` of the catalogue.

    Its thing is `coupon:id@created`, because an id may be reused. A deletion without a
    creation time is a thing of its own, so that no later deletion replaces it.
    """
    shown, (word, _, verb) = loaded["data"]["object"], event.type.partition(".")
    kind, is_gone = "price" if word == "plan" else word, verb == "deleted"
    created = _begun(event, shown["created"])
    name = thing = f"{kind}:{shown['id']}"
    if created is not None:
        thing = f"{name}@{created // 1000}"
    elif is_gone:
        thing = f"{name}@deleted:{event.id}"
    keeps = kept_beside(options)
    value = snapshot.shared(word, shown, keeps, created=created, deleted=is_gone)
    yield _fact(event, catalogue("stripe", name), thing, value)


@HANDLERS.on(event_of(schemas.Checkout), EVENTS["checkout"])
def checkout_facts(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the account that a checkout names, else the one that its buyer claims.

    The URL of a Payment Link can set a checkout's `client_reference_id`, so a buyer could
    name somebody else's account. It names one only if `bridge.toml` lists the place (https://docs.stripe.com/payment-links/url-parameters).
    """
    shown = loaded["data"]["object"]
    customer, listed = snapshot.owner(shown), places(options)
    value = snapshot.account("checkout", shown, customer, listed)
    claimed = (shown["client_reference_id"] or "").strip()
    fields = {place.field for place in listed if place.kind not in snapshot.OF}
    if not value and claimed and {"id", "client_reference_id"}.isdisjoint(fields):
        value = {"claims": claimed}
    if customer and value and value.get("account") != customer:
        yield _fact(event, PREFIX + customer, f"checkout:{shown['id']}", value)


@OPTIONAL[pays].on(event_of(schemas.Invoice), EVENTS["invoice"])
def invoice_facts(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the step that an invoice took; all are kept, so none replaces another."""
    shown, failed = loaded["data"]["object"], event.type == "invoice.payment_failed"
    customer = snapshot.owner(shown)
    step = snapshot.invoice(shown, event.at, failed=failed)
    if customer and step:
        yield event.fact(PREFIX + customer, PAYMENTS, step, Rank.UPDATED, essence={})


@OPTIONAL[pays].on(event_of(schemas.Method), EVENTS["method"])
def method_facts(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield when a method of payment expires; one that was detached is paid with no more."""
    shown = loaded["data"]["object"]
    if customer := shown["customer"]:
        thing = METHOD + shown["id"]
        yield _fact(event, PREFIX + customer, thing, snapshot.method(shown))


@OPTIONAL[forecasts].on(event_of(schemas.Owned), EVENTS["schedule"])
@OPTIONAL[grants].on(event_of(schemas.Owned), EVENTS["grant"])
def owned_facts(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield that a customer has to be read.

    No event has the price of a phase, or what is left of a credit grant.
    """
    shown = loaded["data"]["object"]
    owner, grant = snapshot.owner(shown), shown["credit_grant"]
    party = PREFIX + owner if owner else pointer("stripe", f"credit_grant:{grant}")
    is_grant = event.type in EVENTS["grant"]
    if owner and is_grant:
        yield _fact(event, party, GRANTS, {})
    if options["STRIPE_API_KEY"] and (owner or grant):
        # What is read in the event's own second is older than the event.
        notice = kept(Notice(event=event.id, twice=is_grant))
        yield _fact(event, party, TO_REFRESH, notice)


@HANDLERS.on(schemas.Thin(), dict.fromkeys(THIN, "the same, read with STRIPE_API_KEY"))
def thin_facts(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield that a thing has to be read.

    Raises ValidationError if it is neither a customer nor a subscription.
    """
    related = loaded["related_object"]
    if related["type"] not in {"customer", "subscription"}:
        raise ValidationError({"related_object": ["Not a customer or subscription."]})
    party = pointer("stripe", f"{related['type']}:{related['id']}")
    yield _fact(event, party, TO_REFRESH, {"event": event.id})


def _begun(event: Event, told: int | None) -> int | None:
    """When the object of *event* began (ms): *told* by the event, else at its creation."""
    is_new = event.type.endswith(".created")
    return event.at if told is None and is_new else told


def _fact(
    event: Event, party: str, thing: str, value: AnyValue, before: str | None = None
) -> Fact:
    verb = RANKS.get(event.type.rpartition(".")[2], Rank.UPDATED)
    rank = RANKS.get(event.type, verb)
    # In the catalogue an id may be reused.
    final = party.startswith(PREFIX) and snapshot.is_final(value)
    essence = snapshot.essence(value)
    return event.fact(
        party, thing, value, rank, final=final, essence=essence, before=before
    )


def _billing(event: Event, loaded: Any, party: str, thing: str) -> Fact:
    """What a customer or a subscription has and pays with."""
    make = partial(snapshot.billing, deleted=event.type == "customer.deleted")
    value = make(schemas.BILLING.load(event.body["data"]["object"]))
    before = _before(event, loaded, schemas.BILLING, make)
    return _fact(event, party, thing, value, before)


def _before(
    event: Event, loaded: Any, schema: Payload, make: Callable[[Any], Value]
) -> str | None:
    """Digest of the state that *event* replaced; None if it does not say."""
    previous = loaded["data"]["previous_attributes"]
    if not previous:
        return None
    shown = rewound(event.body["data"]["object"], previous)
    try:
        return digest(snapshot.essence(make(schema.load(shown))))
    except ValidationError:
        return None


def rewound(
    shown: Mapping[str, Any], previous: Mapping[str, Any], depth: int = 1
) -> dict[str, Any]:
    """Return *shown* with the *previous* attributes restored.

    Objects are patched key by key; anything else, lists too, is replaced whole, as
    Stripe gives it: https://docs.stripe.com/api/events/object
    """
    patched = dict(shown)
    for key, old in previous.items():
        new = patched.get(key)
        if isinstance(old, dict) and isinstance(new, dict) and depth < DEEPEST:
            patched[key] = rewound(new, old, depth + 1)
        else:
            patched[key] = old
    return patched
