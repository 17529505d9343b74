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
    Option(
        "STRIPE_API_BASE",
        base_url,
        None,
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
    reason = _refusal(body)
    if reason is not None:
        raise PayloadError(reason, name)
    if not is_name(kind):
        raise PayloadError("the event has no type", name)
    at = _thin_time(created) if body.get("object") == THIN_OBJECT else _time(created)
    if at is None:
        raise PayloadError("the event has no time of creation", name)
    return (Event(name, kind, at, body),)


def _time(seconds: Any) -> int | None:
    """Milliseconds of an event's `created`."""
    if type(seconds) is not int or not 0 <= seconds <= LATEST:
        return None
    return seconds * 1000


def _thin_time(text: Any) -> int | None:
    """Milliseconds of a thin event's `created`, which is text."""
    try:
        at = datetime.fromisoformat(text).timestamp()
    except (OverflowError, TypeError, ValueError):
        return None
    return round(at * 1000) if 0 <= at <= LATEST else None


def ignores(event: Event, options: Options) -> str | None:
    """Return why *event* is not for this bridge, or None."""
    mode = options["STRIPE_MODE"]
    live = event.body.get("livemode")
    if live is not None and bool(live) != (mode == "live"):
        return f"an event of the other mode; STRIPE_MODE is {mode}"
    if event.body.get("account"):
        return "an event of a connected account; only the own account is read"
    return None


def _refusal(body: dict[str, Any]) -> str | None:
    """Why the object is no event; one that does not say what it is may be one."""
    kind = body.get("object", "event")
    if kind == THIN_OBJECT:
        return None
    if kind != "event":
        return "the body is no event"
    data = body.get("data")
    if "object" not in body and not (isinstance(data, dict) and "object" in data):
        return "the body is no event"
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
