"""Chargebee: which of its events are read, and how a delivery is proved and split."""

from __future__ import annotations

from collections.abc import Mapping

from bridge.errors import PayloadError
from bridge.options import Option, text
from bridge.sources.chargebee import facts, schemas
from bridge.webhook import auth
from bridge.webhook.auth import judged_pair
from bridge.webhook.bodies import is_name, json_object
from bridge.webhook.fields import LATEST
from bridge.webhook.source import (
    Delivery,
    Event,
    Handler,
    Options,
    Source,
    Verified,
    read_by,
)

USERNAME, PASSWORD = "CHARGEBEE_WEBHOOK_USERNAME", "CHARGEBEE_WEBHOOK_PASSWORD"

OPTIONS = (
    Option(
        USERNAME,
        text,
        None,
        "User of the webhook's basic authentication; neither this nor the password: "
        "the source is off.",
    ),
    Option(
        PASSWORD,
        text,
        None,
        "Password of the webhook's basic authentication.",
        secret=True,
    ),
)


def verify(delivery: Delivery, options: Options, now: float) -> Verified:
    """Check HTTP Basic. Raises SignatureError."""
    return auth.basic(delivery, options[USERNAME] or "", options[PASSWORD] or "")


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


def _subscription(meaning: str) -> Handler:
    return Handler(schemas.SUBSCRIPTION_EVENT, facts.subscription_facts, meaning)


def _customer(meaning: str, *, creates: bool = True) -> Handler:
    return Handler(
        schemas.CUSTOMER_EVENT, facts.customer_facts, meaning, creates=creates
    )


HANDLERS: Mapping[str, Handler] = {
    "customer_created": _customer("a new customer: name, account"),
    "customer_changed": _customer("name or account changed"),
    "customer_moved_in": _customer("a customer of another site comes here"),
    "customer_deleted": _customer("the customer and all it had ends", creates=False),
    "subscription_created": _subscription("a new subscription"),
    "subscription_created_with_backdating": _subscription("the same, from earlier on"),
    "subscription_started": _subscription("one of the future begins"),
    "subscription_activated": _subscription("a trial becomes paid"),
    "subscription_activated_with_backdating": _subscription("the same, earlier"),
    "subscription_changed": _subscription("plan, quantity or term changed"),
    "subscription_changed_with_backdating": _subscription("the same, earlier"),
    "subscription_trial_extended": _subscription("the trial ends later"),
    "subscription_renewed": _subscription("a new term"),
    "subscription_items_renewed": _subscription("items with a rhythm of their own"),
    "subscription_cancellation_scheduled": _subscription("it will end, and is live"),
    "subscription_scheduled_cancellation_removed": _subscription("it goes on"),
    "subscription_cancelled": _subscription("it ended (`cancelled_at`)"),
    "subscription_canceled_with_backdating": _subscription("the same, earlier"),
    "subscription_reactivated": _subscription("a cancelled one is live again"),
    "subscription_reactivated_with_backdating": _subscription("the same, earlier"),
    "subscription_pause_scheduled": _subscription("a pause to come: no renewal"),
    "subscription_scheduled_pause_removed": _subscription("it is not paused"),
    "subscription_paused": _subscription("paused, which is no churn"),
    "subscription_resumption_scheduled": _subscription("still paused"),
    "subscription_scheduled_resumption_removed": _subscription("still paused"),
    "subscription_resumed": _subscription("goes on after a pause"),
    **{
        f"subscription_advance_invoice_schedule_{word}": _subscription(
            "terms billed in advance: the next bill"
        )
        for word in ("added", "updated", "removed")
    },
    facts.MOVED_OUT: Handler(
        schemas.SUBSCRIPTION_EVENT, facts.moved_out, "it is another customer's now"
    ),
    "subscription_moved_in": _subscription("it is this customer's now"),
    "subscription_movement_failed": _subscription("it stayed where it was"),
    "subscription_business_entity_changed": _subscription("it goes on, or went away"),
    "subscription_deleted": _subscription("it ended, and never comes back"),
    facts.RECOUNTED: _subscription("the MRR, which Chargebee counts after the event"),
}

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
    handlers=HANDLERS,
    without_effect=WITHOUT_EFFECT,
    table=read_by(facts.TableLines()),
    weak=lambda options: judged_pair(USERNAME, PASSWORD, options),
)
