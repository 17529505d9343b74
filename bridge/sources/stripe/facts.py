"""How one of Stripe's events becomes a stamped fact about one party, or the catalogue.

The stamp's order: a final snapshot (a canceled subscription never comes back) beats all
others, then the later `created` (whole seconds, so that ties are common), then the rank
of the type; the digests *before* and *after* let fold order what is tied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from marshmallow import ValidationError

from bridge.domain.facts import Fact, Rank, catalogue, pointer
from bridge.domain.values import TO_REFRESH, Value
from bridge.sources.stripe import schemas, snapshot
from bridge.sources.stripe.identity import account, claim, rules
from bridge.sources.stripe.schemas import CUSTOMER, SUBSCRIPTION
from bridge.webhook.fields import Payload
from bridge.webhook.source import Event, Handlers, Options, is_name
from bridge.webhook.values import digest, kept

RANKS = {
    "created": Rank.CREATED,
    "trial_will_end": Rank.NOTICE,
    "pending_update_applied": Rank.NOTICE,
    "pending_update_expired": Rank.NOTICE,
    "updated": Rank.UPDATED,
    "completed": Rank.UPDATED,
    "paused": Rank.SWITCHED,
    "resumed": Rank.SWITCHED,
    "deleted": Rank.DELETED,
}
"""Last word of an event's type -> its rank among events of one second."""

FINAL = frozenset({"canceled", "incomplete_expired"})
"""Statuses that a subscription never leaves."""

DEEPEST = 8
"""Levels to which previous attributes are put back; Stripe's own reach four."""

HANDLERS = Handlers()

PREFIX = "stripe:"

V1 = "v1."
"""Beginning of the types of events that tell only which object changed."""


@HANDLERS.on(
    schemas.CUSTOMER_EVENT,
    {
        "customer.created": "a new customer: name, account",
        "customer.updated": "name, account or discount changed",
        "customer.deleted": "the customer and all it had ends",
    },
    creates={"customer.created", "customer.updated"},
)
def customer_facts(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the customer's snapshot."""
    now = loaded["data"]["object"]
    deleted = event.type == "customer.deleted"
    take = partial(snapshot.customer, rules=rules(options))
    value = take(now, deleted=deleted)
    before = _before(event, loaded, CUSTOMER, take)
    party = PREFIX + now["id"]
    yield _fact(event, party, "customer", value, final=deleted, before=before)


@HANDLERS.on(
    schemas.SUBSCRIPTION_EVENT,
    {
        "customer.subscription.created": "a new subscription",
        "customer.subscription.updated": "renewal, plan, quantity, status or scheduled "
        "end changed",
        "customer.subscription.deleted": "the subscription ended",
        "customer.subscription.paused": "paused, which is no churn",
        "customer.subscription.resumed": "goes on after a pause",
        "customer.subscription.trial_will_end": "a trial ends soon",
        "customer.subscription.pending_update_applied": "a change that waited for its "
        "payment took effect",
        "customer.subscription.pending_update_expired": "a change that waited for its "
        "payment was dropped",
    },
)
def subscription_facts(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the subscription's snapshot.

    Raises ValidationError where the subscription names no customer.
    """
    now = loaded["data"]["object"]
    party = snapshot.owner(now)
    if party is None:
        raise ValidationError({"customer": ["Neither customer nor customer_account."]})
    deleted = event.type == "customer.subscription.deleted"
    take = partial(snapshot.subscription, rules=rules(options))
    value = take(now, deleted_at=event.at if deleted else None)
    before = _before(event, loaded, SUBSCRIPTION, take)
    thing, final = f"subscription:{now['id']}", deleted or now["status"] in FINAL
    yield _fact(event, PREFIX + party, thing, value, final=final, before=before)


WHOLE = list(HANDLERS)
"""Types about a customer or a subscription; of each there is one without content, too."""


@HANDLERS.on(
    schemas.DISCOUNT_EVENT,
    {
        "customer.discount.created": "a discount begins: coupon, end, scope",
        "customer.discount.updated": "another coupon, or another end",
        "customer.discount.deleted": "the discount is over",
    },
)
def discount_facts(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the discount's terms and scope.

    One without an id, from before 2017, is told by the object that it is part of.
    """
    now = loaded["data"]["object"]
    party = snapshot.owner(now)
    if now["id"] and party:
        deleted = event.type == "customer.discount.deleted"
        start = _begun(event, now["start"])
        value = snapshot.discount(now, rules(options), start=start, deleted=deleted)
        before = (loaded["data"]["previous_attributes"] or {}).get("id")
        if is_name(before) and before != now["id"]:
            value["replaces"] = before
        thing = f"discount:{now['id']}"
        yield _fact(event, PREFIX + party, thing, value, final=deleted)


CATALOGUE: Mapping[str, tuple[str, Callable[[Any], Value]]] = {
    "coupon": ("coupon", snapshot.terms_of),
    "price": ("price", snapshot.price),
    "plan": ("price", snapshot.price),
    "product": ("product", snapshot.product),
}
"""First word of an event's type -> what its object is to us, and its value."""


@HANDLERS.on(
    schemas.PRODUCT_EVENT,
    dict.fromkeys(
        ("product.created", "product.updated"),
        "name of a plan whose price has no nickname",
    ),
)
@HANDLERS.on(
    schemas.PRICE_EVENT,
    dict.fromkeys(
        ("price.created", "price.updated", "plan.created", "plan.updated"),
        "name of a plan: nickname or lookup key",
    ),
)
@HANDLERS.on(
    schemas.COUPON_EVENT,
    dict.fromkeys(
        ("coupon.created", "coupon.updated", "coupon.deleted"),
        "terms of discounts that name only the coupon",
    ),
)
def catalogue_facts(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield what belongs to no customer: party `coupon:id` of the catalogue.

    Its thing is `coupon:id@created`, since an id may be used again. A deletion that does
    not say of which is a thing of its own: no later one may take its place.
    """
    now = loaded["data"]["object"]
    kind, take = CATALOGUE[event.type.partition(".")[0]]
    name, created = f"{kind}:{now['id']}", _begun(event, now["created"])
    deleted = event.type.endswith(".deleted")
    thing = name if created is None else f"{name}@{created // 1000}"
    if created is None and deleted:
        thing = f"{name}@deleted:{event.id}"
    value = {**take(now), **kept(created=created, deleted=deleted)}
    yield _fact(event, catalogue("stripe", name), thing, value)


@HANDLERS.on(
    schemas.CHECKOUT_EVENT,
    {
        "checkout.session.completed": "the account that it names, in a place that "
        "`bridge.toml` lists"
    },
)
def checkout_facts(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the account that a checkout names, or that its buyer claims."""
    now = loaded["data"]["object"]
    party = snapshot.owner(now)
    places = rules(options)
    value = account("checkout", now, party, places) or claim(now, places)
    if party and value and value.get("account") != party:
        yield _fact(event, PREFIX + party, f"checkout:{now['id']}", value)


def _begun(event: Event, told: int | None) -> int | None:
    """When the object of *event* began (ms): as *told*, else by its creation."""
    is_new = event.type.endswith(".created")
    return event.at if told is None and is_new else told


@HANDLERS.on(
    schemas.THIN_EVENT,
    {V1 + kind: "the same, read with STRIPE_API_KEY" for kind in WHOLE},
)
def thin_facts(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield that a thing has to be read.

    Raises ValidationError where it is neither a customer nor a subscription.
    """
    related = loaded["related_object"]
    if related["type"] not in {"customer", "subscription"}:
        raise ValidationError({"related_object": ["Not a customer or subscription."]})
    party = pointer("stripe", f"{related['type']}:{related['id']}")
    yield _fact(event, party, TO_REFRESH, {"event": event.id})


def _fact(event: Event, party: str, thing: str, value: Value, **more: Any) -> Fact:
    rank = RANKS.get(event.type.rpartition(".")[2], Rank.UPDATED)
    essence = snapshot.essence(value)
    return event.fact(party, thing, value, rank, essence=essence, **more)


def _before(
    event: Event, loaded: Any, schema: Payload, take: Callable[[Any], Value]
) -> str | None:
    """Digest of the state that *event* replaced; None where it does not say so."""
    previous = loaded["data"]["previous_attributes"]
    if not previous:
        return None
    if not previous.keys() & schema.fields.keys():
        return digest(snapshot.essence(take(loaded["data"]["object"])))
    try:
        then = schema.load(rewound(event.body["data"]["object"], previous))
        return digest(snapshot.essence(take(then)))
    except ValidationError:
        return None


def rewound(
    now: Mapping[str, Any], previous: Mapping[str, Any], depth: int = 1
) -> dict[str, Any]:
    """Return *now* with the *previous* attributes put back.

    Objects are patched key by key; anything else, lists too, is replaced whole, as
    Stripe gives it: https://docs.stripe.com/api/events/object
    """
    found = dict(now)
    for key, old in previous.items():
        new = found.get(key)
        if isinstance(old, dict) and isinstance(new, dict) and depth < DEEPEST:
            found[key] = rewound(new, old, depth + 1)
        else:
            found[key] = old
    return found
