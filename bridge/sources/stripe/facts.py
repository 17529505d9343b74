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

from bridge.domain.facts import TO_REFRESH, Fact, Rank, Value, catalogue, pointer
from bridge.sources.stripe import snapshot
from bridge.sources.stripe.identity import account, claim, rules
from bridge.sources.stripe.schemas import CUSTOMER, SUBSCRIPTION
from bridge.webhook.bodies import is_name
from bridge.webhook.schemas import Payload, reloaded
from bridge.webhook.source import Event, Options
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


def customer_facts(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the customer's snapshot; *loaded* is from `CUSTOMER_EVENT`."""
    now = loaded["data"]["object"]
    deleted = event.type == "customer.deleted"
    take = partial(snapshot.customer, rules=rules(options))
    yield _fact(
        event,
        party=now["id"],
        thing="customer",
        final=deleted,
        value=take(now, deleted=deleted),
        before=_before(event, loaded, CUSTOMER, take),
    )


def subscription_facts(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the subscription's snapshot; *loaded* is from `SUBSCRIPTION_EVENT`.

    Raises ValidationError where the subscription names no customer.
    """
    now = loaded["data"]["object"]
    party = snapshot.owner(now)
    if party is None:
        raise ValidationError({"customer": ["Neither customer nor customer_account."]})
    deleted = event.type == "customer.subscription.deleted"
    take = partial(snapshot.subscription, rules=rules(options))
    yield _fact(
        event,
        party=party,
        thing=f"subscription:{now['id']}",
        final=deleted or now["status"] in FINAL,
        value=take(now, deleted_at=event.at if deleted else None),
        before=_before(event, loaded, SUBSCRIPTION, take),
    )


def discount_facts(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the discount's terms and scope; *loaded* is from `DISCOUNT_EVENT`.

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
        yield _fact(event, party=party, thing=thing, final=deleted, value=value)


def checkout_facts(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the account that a checkout names, or that its buyer claims.

    *loaded* is from `CHECKOUT_EVENT`.
    """
    now = loaded["data"]["object"]
    party = snapshot.owner(now)
    places = rules(options)
    value = account("checkout", now, party, places) or claim(now, places)
    if party and value and value.get("account") != party:
        yield _fact(event, party=party, thing=f"checkout:{now['id']}", value=value)


def listed(
    kind: str, take: Callable[[Any], Value]
) -> Callable[[Event, Any, Options], Iterator[Fact]]:
    """Facts of what belongs to no customer: party `KIND:id` of the catalogue.

    Its thing is `KIND:id@created`, since an id may be used again.
    """

    def facts(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
        now = loaded["data"]["object"]
        name, created = f"{kind}:{now['id']}", _begun(event, now["created"])
        thing = name if created is None else f"{name}@{created // 1000}"
        value = {**take(now), **kept(created=created)}
        if event.type.endswith(".deleted"):
            value["deleted"] = True
        made = _fact(event, party="", thing=thing, value=value)
        yield made._replace(party=catalogue("stripe", name))

    return facts


def _begun(event: Event, told: int | None) -> int | None:
    """When the object of *event* began (ms): as *told*, else by its creation."""
    is_new = event.type.endswith(".created")
    return event.at if told is None and is_new else told


def thin_facts(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield that a thing has to be read; *loaded* is from `THIN_EVENT`.

    Raises ValidationError where it is neither a customer nor a subscription.
    """
    related = loaded["related_object"]
    if related["type"] not in {"customer", "subscription"}:
        raise ValidationError({"related_object": ["Not a customer or subscription."]})
    made = _fact(event, party="", thing=TO_REFRESH, value={"event": event.id})
    party = pointer("stripe", f"{related['type']}:{related['id']}")
    yield made._replace(party=party)


def _fact(  # noqa: PLR0913 - the parts of a fact
    event: Event,
    *,
    party: str,
    thing: str,
    value: Value,
    final: bool = False,
    before: str | None = None,
) -> Fact:
    rank = RANKS.get(event.type.rpartition(".")[2], RANKS["updated"])
    essence = snapshot.essence(value)
    return event.fact(
        f"stripe:{party}",
        thing,
        value,
        rank,
        final=final,
        essence=essence,
        before=before,
    )


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
        then = reloaded(
            schema,
            loaded["data"]["object"],
            rewound(event.body["data"]["object"], previous),
            previous,
        )
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
