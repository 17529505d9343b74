"""How one of Chargebee's events becomes stamped facts about one customer.

Each resource has a version in milliseconds, which orders its snapshots; of two with one
version the event that occurred later wins. What is deleted never comes back, what is
cancelled may.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from marshmallow import post_load

from bridge.config import Lines, text
from bridge.domain.facts import Fact, Rank
from bridge.domain.values import VOID, Value
from bridge.sources.chargebee import schemas, snapshot
from bridge.webhook.source import Event, Handlers, Options, Table, is_name

ACCOUNT = "chargebee.account"
"""Name of the option that `[sources.chargebee]` of `bridge.toml` gives."""

META_DATA = "meta_data."

RECOUNTED = "mrr_updated"
"""The event that tells an MRR for sure; others may come before it is counted."""

HANDLERS = Handlers()

LATER = 10
"""Above all of `Rank`: ranks from here on tell how late after its version."""


class TableLines(Lines):
    """`[sources.chargebee]`: `account = "cf_vitally_id"` or `"meta_data.KEY"`."""

    account = text(
        r"(cf_|meta_data\.).*", "must be cf_… (a custom field) or meta_data.KEY"
    )

    @post_load
    def table(self, lines: Any, **_: Any) -> Table:
        """Return what the table says."""
        return Table({ACCOUNT: lines["account"]} if lines else {})


@HANDLERS.on(
    schemas.CUSTOMER_EVENT,
    {
        "customer_created": "a new customer: name, account",
        "customer_changed": "name or account changed",
        "customer_moved_in": "a customer of another site comes here",
        "customer_deleted": "the customer and all it had ends",
    },
    creates={"customer_created", "customer_changed", "customer_moved_in"},
)
def customer_facts(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the customer."""
    now = _resource(event, loaded, "customer")
    own = _account(event, "customer", now["id"], options)
    value = {**snapshot.customer(now), **own}
    yield _fact(event, now, now["id"], "customer", value)


@HANDLERS.on(
    schemas.SUBSCRIPTION_EVENT,
    {
        "subscription_created": "a new subscription",
        "subscription_created_with_backdating": "the same, from earlier on",
        "subscription_started": "one of the future begins",
        "subscription_activated": "a trial becomes paid",
        "subscription_activated_with_backdating": "the same, earlier",
        "subscription_changed": "plan, quantity or term changed",
        "subscription_changed_with_backdating": "the same, earlier",
        "subscription_trial_extended": "the trial ends later",
        "subscription_renewed": "a new term",
        "subscription_items_renewed": "items with a rhythm of their own",
        "subscription_cancellation_scheduled": "it will end, and is live",
        "subscription_scheduled_cancellation_removed": "it goes on",
        "subscription_cancelled": "it ended (`cancelled_at`)",
        "subscription_canceled_with_backdating": "the same, earlier",
        "subscription_reactivated": "a cancelled one is live again",
        "subscription_reactivated_with_backdating": "the same, earlier",
        "subscription_pause_scheduled": "a pause to come: no renewal",
        "subscription_scheduled_pause_removed": "it is not paused",
        "subscription_paused": "paused, which is no churn",
        "subscription_resumption_scheduled": "still paused",
        "subscription_scheduled_resumption_removed": "still paused",
        "subscription_resumed": "goes on after a pause",
        **{
            f"subscription_advance_invoice_schedule_{word}": "terms billed in advance: "
            "the next bill"
            for word in ("added", "updated", "removed")
        },
        "subscription_moved_in": "it is this customer's now",
        "subscription_movement_failed": "it stayed where it was",
        "subscription_business_entity_changed": "it goes on, or went away",
        "subscription_deleted": "it ended, and never comes back",
        RECOUNTED: "the MRR, which Chargebee counts after the event",
    },
)
def subscription_facts(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the subscription, and its customer where the event has one."""
    now = _resource(event, loaded, "subscription")
    owner = now["customer_id"]
    own = _account(event, "subscription", owner, options)
    value = snapshot.subscription(now, recounted=event.type == RECOUNTED)
    yield _fact(event, now, owner, f"subscription:{now['id']}", {**value, **own})
    customer = loaded["content"]["customer"]
    if customer is not None and customer["id"] == owner:
        yield from customer_facts(event, loaded, options)


@HANDLERS.on(
    schemas.SUBSCRIPTION_EVENT,
    {"subscription_moved_out": "it is another customer's now"},
)
def moved_out(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield that a subscription is its customer's no more.

    It goes on with another customer, of whom an event of its own tells.
    https://apidocs.chargebee.com/docs/api/events/webhook/subscription_moved_out
    """
    now = _resource(event, loaded, "subscription")
    owner, thing = now["customer_id"], f"subscription:{now['id']}"
    own = _account(event, "subscription", owner, options)
    yield _fact(event, now, owner, thing, {"status": VOID, **own})


def _resource(event: Event, loaded: Any, kind: str) -> dict[str, Any]:
    """A resource with what the event alone may tell: its version, and its end."""
    now = loaded["content"][kind]
    version = event.at if now["version"] is None else now["version"]
    deleted = bool(now["deleted"]) or event.type == f"{kind}_deleted"
    return {**now, "version": version, "deleted": deleted}


def _account(
    event: Event, kind: str, customer: str, options: Options
) -> dict[str, str]:
    """`account` where the resource names one, in the place that the file gives."""
    place = options.get(ACCOUNT)
    if place is None:
        return {"account": customer}
    told = event.body["content"][kind]
    if place.startswith(META_DATA):
        told = told.get("meta_data")
        place = place.removeprefix(META_DATA)
    found = told.get(place) if isinstance(told, dict) else None
    name = str(found).strip() if type(found) in {str, int} else None
    return {"account": name} if is_name(name) else {}


def _fact(
    event: Event, now: Mapping[str, Any], party: str, thing: str, value: Value
) -> Fact:
    seconds = max(0, event.at - now["version"]) // 1000
    rank = LATER + 2 * seconds + (event.type == RECOUNTED)
    if event.type == "customer_created":
        rank = Rank.CREATED
    return event.fact(
        f"chargebee:{party}",
        thing,
        value,
        rank,
        final=now["deleted"],
        at=now["version"],
    )
