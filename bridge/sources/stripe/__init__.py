"""Stripe: which of its events are read, and how a delivery is proved and split."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from bridge.errors import PayloadError
from bridge.options import Option, base_url, one_of, several, text
from bridge.sources.stripe import identity
from bridge.sources.stripe.api import connect
from bridge.sources.stripe.facts import HANDLERS
from bridge.webhook import auth
from bridge.webhook.auth import judged
from bridge.webhook.fields import LATEST
from bridge.webhook.source import (
    Delivery,
    Event,
    Options,
    Source,
    Verified,
    is_name,
    json_object,
    read_by,
)

THIN_OBJECT = "v2.core.event"
"""What an event without the object itself says that it is."""

_INVOICE = "a subscription's status says whether it is paid"
_PHASE = "a phase counts when it begins, and the subscription changes then"

WITHOUT_EFFECT = {
    **{
        f"invoice.{word}": _INVOICE
        for word in ("paid", "payment_failed", "marked_uncollectible", "voided")
    },
    **{
        f"subscription_schedule.{word}": _PHASE
        for word in (
            *("created", "updated", "released", "canceled"),
            *("completed", "aborted", "expiring"),
        )
    },
    "entitlements.active_entitlement_summary.updated": "no trait is made of it",
}
"""Types that a list of billing events has and no trait needs, with the reason."""

OPTIONS = (
    Option(
        "STRIPE_WEBHOOK_SECRET",
        several,
        "Signing secret of the endpoint (`whsec_…`); one or several, comma-separated. "
        "Unset: the source is off.",
        secret=True,
    ),
    Option(
        "STRIPE_MODE",
        one_of("live", "test"),
        "Events of the other mode are ignored.",
        "live",
    ),
    Option(
        "STRIPE_ACCOUNT_ID_KEY",
        text,
        "Metadata key, on the customer or the subscription, that holds the Vitally "
        "external id.",
        shown="the customer id is the external id",
    ),
    Option(
        "STRIPE_API_KEY",
        text,
        "Restricted, read-only key: re-reads what an event cannot tell, and backfill.",
        secret=True,
    ),
    Option(
        "STRIPE_API_BASE",
        base_url,
        "Replaces `https://api.stripe.com`, e.g. `http://127.0.0.1:12111`.",
        shown="Stripe's own",
    ),
)


def verify(delivery: Delivery, options: Options, now: float) -> Verified:
    """Check `Stripe-Signature`; *now* in seconds. Raises SignatureError."""
    secrets = options["STRIPE_WEBHOOK_SECRET"] or ()
    return auth.verify(auth.STRIPE, delivery, secrets, now)


def split(delivery: Verified) -> tuple[Event]:
    """Return the delivery's one event. Raises PayloadError where it holds none."""
    body = json_object(delivery.body)
    name, kind, created = body.get("id"), body.get("type"), body.get("created")
    if not is_name(name):
        raise PayloadError("the body has no id, so it is no event")
    is_thin, data = body.get("object") == THIN_OBJECT, body.get("data")
    # One that does not say what it is may be an event, with an object in it.
    untold = "event" if isinstance(data, dict) and "object" in data else None
    if not is_thin and body.get("object", untold) != "event":
        raise PayloadError("the body is no event", name)
    if not is_name(kind):
        raise PayloadError("the event has no type", name)
    at = _milliseconds(created, is_thin=is_thin)
    if at is None:
        raise PayloadError("the event has no time of creation", name)
    return (Event(name, kind, at, body),)


def _milliseconds(created: Any, *, is_thin: bool) -> int | None:
    """When an event was created, which it says in whole seconds, a thin one in text."""
    try:
        at = datetime.fromisoformat(created).timestamp() if is_thin else created
    except (OverflowError, TypeError, ValueError):
        return None
    if type(at) is not (float if is_thin else int) or not 0 <= at <= LATEST:
        return None
    return round(at * 1000)


def ignores(event: Event, options: Options) -> str | None:
    """Return why *event* is not for this bridge, or None."""
    mode = options["STRIPE_MODE"]
    live = event.body.get("livemode")
    if live is not None and bool(live) != (mode == "live"):
        return f"an event of the other mode; STRIPE_MODE is {mode}"
    if event.body.get("account"):
        return "an event of a connected account; only the own account is read"
    return None


SOURCE = Source(
    name="stripe",
    title="Stripe",
    options=OPTIONS,
    enabled=lambda options: bool(options["STRIPE_WEBHOOK_SECRET"]),
    verify=verify,
    split=split,
    ignores=ignores,
    handlers=HANDLERS,
    without_effect=WITHOUT_EFFECT,
    api=connect,
    archive=connect,
    key="STRIPE_API_KEY",
    table=read_by(identity.TableLines()),
    weak=lambda options: judged(
        "STRIPE_WEBHOOK_SECRET", options["STRIPE_WEBHOOK_SECRET"]
    ),
)
