"""Stripe: which of its events are read, and how a delivery is proved and split."""

from __future__ import annotations

from typing import Any, TypeGuard

import orjson

from bridge.errors import PayloadError
from bridge.options import Option, one_of, several, text
from bridge.sources.stripe.facts import customer_facts, subscription_facts
from bridge.sources.stripe.schemas import CUSTOMER_EVENT, SUBSCRIPTION_EVENT
from bridge.webhook import signatures
from bridge.webhook.fields import LATEST
from bridge.webhook.source import (
    Delivery,
    Event,
    Handler,
    Options,
    Source,
    Verified,
)

LONGEST = 255
"""Characters of an event's id and type."""

OPTIONS = (
    Option(
        "STRIPE_WEBHOOK_SECRET",
        several,
        None,
        "Signing secret of the endpoint (`whsec_…`); one or several, comma-separated. "
        "Unset: the source is off.",
        secret=True,
    ),
    Option(
        "STRIPE_MODE",
        one_of("live", "test"),
        "live",
        "Events of the other mode are ignored.",
    ),
    Option(
        "STRIPE_ACCOUNT_ID_KEY",
        text,
        None,
        "Metadata key, on the customer or the subscription, that holds the Vitally "
        "external id.",
        shown="the customer id is the external id",
    ),
    Option(
        "STRIPE_API_KEY",
        text,
        None,
        "Restricted, read-only key: re-reads what an event cannot tell, and backfill.",
        secret=True,
    ),
)


def verify(delivery: Delivery, options: Options, now: float) -> Verified:
    """Check `Stripe-Signature`; *now* in seconds. Raises SignatureError."""
    secrets = options["STRIPE_WEBHOOK_SECRET"] or ()
    return signatures.verify(signatures.STRIPE, delivery, secrets, now)


def split(delivery: Verified) -> tuple[Event]:
    """Return the delivery's one event. Raises PayloadError where it holds none."""
    try:
        body = orjson.loads(delivery.body)
    except (ValueError, RecursionError):
        raise PayloadError("the body is no JSON that can be read") from None
    if not isinstance(body, dict):
        raise PayloadError("the body is no JSON object")
    name, kind, created = body.get("id"), body.get("type"), body.get("created")
    if not _is_name(name):
        raise PayloadError("the body has no id, so it is no event")
    reason = _refusal(body)
    if reason is not None:
        raise PayloadError(reason, name)
    if not _is_name(kind):
        raise PayloadError("the event has no type", name)
    if type(created) is not int or not 0 <= created <= LATEST:
        raise PayloadError("the event has no time of creation", name)
    return (Event(name, kind, created * 1000, body),)


def ignores(event: Event, options: Options) -> str | None:
    """Return why *event* is not for this bridge, or None."""
    mode = options["STRIPE_MODE"]
    live = event.body.get("livemode")
    if live is not None and bool(live) != (mode == "live"):
        return f"an event of the other mode; STRIPE_MODE is {mode}"
    if event.body.get("account"):
        return "an event of a connected account; only the own account is read"
    return None


def _is_name(value: Any) -> TypeGuard[str]:
    return type(value) is str and 0 < len(value) <= LONGEST


def _refusal(body: dict[str, Any]) -> str | None:
    """Why the object is no event; one that does not say what it is may be one."""
    kind = body.get("object", "event")
    if kind == "v2.core.event":
        return "thin events are not read yet; choose snapshot events in Stripe"
    if kind != "event":
        return "the body is no event"
    data = body.get("data")
    if "object" not in body and not (isinstance(data, dict) and "object" in data):
        return "the body is no event"
    return None


def _customer(meaning: str, *, creates: bool) -> Handler:
    return Handler(CUSTOMER_EVENT, customer_facts, meaning, creates=creates)


def _subscription(meaning: str) -> Handler:
    return Handler(SUBSCRIPTION_EVENT, subscription_facts, meaning)


SOURCE = Source(
    name="stripe",
    title="Stripe",
    options=OPTIONS,
    enabled=lambda options: bool(options["STRIPE_WEBHOOK_SECRET"]),
    verify=verify,
    split=split,
    ignores=ignores,
    handlers={
        "customer.created": _customer("a new customer: name, account", creates=True),
        "customer.updated": _customer(
            "name, account or discount changed", creates=True
        ),
        "customer.deleted": _customer(
            "the customer and all it had ends", creates=False
        ),
        "customer.subscription.created": _subscription("a new subscription"),
        "customer.subscription.updated": _subscription(
            "renewal, plan, quantity, status or scheduled end changed"
        ),
        "customer.subscription.deleted": _subscription("the subscription ended"),
        "customer.subscription.paused": _subscription("paused, which is no churn"),
        "customer.subscription.resumed": _subscription("goes on after a pause"),
        "customer.subscription.trial_will_end": _subscription("a trial ends soon"),
        "customer.subscription.pending_update_applied": _subscription(
            "a change that waited for its payment took effect"
        ),
        "customer.subscription.pending_update_expired": _subscription(
            "a change that waited for its payment was dropped"
        ),
    },
)
