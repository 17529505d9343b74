"""Chargebee: which of its events are read, and how a delivery is proved and split."""

from __future__ import annotations

from collections.abc import Mapping

from bridge.errors import PayloadError
from bridge.options import Option, text
from bridge.sources.chargebee import facts
from bridge.webhook import auth
from bridge.webhook.auth import judged_pair
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

USERNAME, PASSWORD = "CHARGEBEE_WEBHOOK_USERNAME", "CHARGEBEE_WEBHOOK_PASSWORD"

OPTIONS = (
    Option(
        USERNAME,
        text,
        "User of the webhook's basic authentication; neither this nor the password: "
        "the source is off.",
    ),
    Option(
        PASSWORD,
        text,
        "Password of the webhook's basic authentication.",
        secret=True,
    ),
)


def verify(delivery: Delivery, options: Options, now: float) -> Verified:
    """Check HTTP Basic. Raises SignatureError."""
    pair = f"{options[USERNAME] or ''}:{options[PASSWORD] or ''}"
    return auth.verify(auth.BASIC, delivery, [pair], now)


def split(delivery: Verified) -> tuple[Event]:
    """Return the delivery's one event. Raises PayloadError where it holds none."""
    body = json_object(delivery.body)
    id_, kind, at = (body.get(k) for k in ("id", "event_type", "occurred_at"))
    if not is_name(id_):
        raise PayloadError("the body has no id, so it is no event")
    if not is_name(kind):
        raise PayloadError("the event has no event_type", id_)
    if type(at) is not int or not 0 <= at <= LATEST:
        raise PayloadError("the event has no occurred_at", id_)
    return (Event(id_, kind, at * 1000, body),)


def ignores(event: Event, options: Options) -> str | None:
    """Nothing but the type tells whether an event is for us."""
    return None


_INVOICE = "a subscription's status and MRR do not depend on its invoices"
_CONTRACT = "a contract names no customer; the subscription's own events tell of it"
_REMINDER = "nothing has changed yet"
_RAMP = "a ramp names no customer; the subscription's own events tell what it changes"
_FEATURES = "features are no money"

WITHOUT_EFFECT: Mapping[str, str] = {
    **{
        f"invoice_{word}": _INVOICE
        for word in ("generated", "generated_with_backdating", "updated", "deleted")
    },
    **{
        f"contract_term_{word}": _CONTRACT
        for word in ("created", "renewed", "terminated", "completed", "cancelled")
    },
    "subscription_trial_end_reminder": _REMINDER,
    "subscription_renewal_reminder": _REMINDER,
    "subscription_cancellation_reminder": _REMINDER,
    "subscription_changes_scheduled": _REMINDER,
    "subscription_scheduled_changes_removed": _REMINDER,
    **{
        f"subscription_ramp_{word}": _RAMP
        for word in ("created", "drafted", "updated", "applied", "deleted")
    },
    **{
        f"subscription_entitlements_{word}": _FEATURES
        for word in ("created", "updated")
    },
    **{
        f"payment_{word}": _INVOICE
        for word in ("initiated", "succeeded", "failed", "refunded")
    },
    "customer_moved_out": "it goes on at another site, which tells of it",
}
"""Types that one might expect to be read, with the reason."""

SOURCE = Source(
    name="chargebee",
    title="Chargebee",
    options=OPTIONS,
    enabled=lambda options: bool(options[USERNAME] or options[PASSWORD]),
    verify=verify,
    split=split,
    ignores=ignores,
    handlers=facts.HANDLERS,
    without_effect=WITHOUT_EFFECT,
    table=read_by(facts.TableLines()),
    weak=lambda options: judged_pair(USERNAME, PASSWORD, options),
)
