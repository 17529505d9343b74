"""Chargebee: how its webhooks are authenticated, split into events, and read.

Each resource has a version in milliseconds, which orders its events; if two have the same
version, the event that occurred later wins. A deleted resource never comes back; a
cancelled one may. `events.toml` lists the events that are read.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from marshmallow import post_load

from bridge.config import Lines, Table
from bridge.config import text as line
from bridge.domain.facts import Fact, Rank
from bridge.domain.values import VOID, AnyValue, Subscription
from bridge.errors import PayloadError
from bridge.settings import Option, text
from bridge.sources.chargebee import resources
from bridge.sources.chargebee.resources import Shown
from bridge.webhook import auth
from bridge.webhook.fields import LATEST
from bridge.webhook.source import (
    Delivery,
    Event,
    Handlers,
    Options,
    Source,
    Verified,
    is_name,
    json_object,
    read_by,
)
from bridge.webhook.values import kept

USERNAME, PASSWORD = "CHARGEBEE_WEBHOOK_USERNAME", "CHARGEBEE_WEBHOOK_PASSWORD"

OPTIONS = (
    Option(
        USERNAME,
        text,
        "User for the webhook's basic authentication. Without user and password the "
        "source is off.",
    ),
    Option(
        PASSWORD, text, "Password for the webhook's basic authentication.", secret=True
    ),
)

ACCOUNT = "chargebee.account"
"""Name of the option that `[sources.chargebee]` in `bridge.toml` sets."""

META_DATA = "meta_data."

EVENTS = tomllib.loads(files(__package__).joinpath("events.toml").read_text("utf-8"))
"""The event types and their meanings, by the function that reads them."""

RECOUNTED = "mrr_updated"
"""The event whose MRR is certain; other events may come before Chargebee computes it."""

LATER = 10
"""Above all of `Rank`: from here on, a rank is how long after its version an event came."""

HANDLERS = Handlers()


class TableLines(Lines):
    """`[sources.chargebee]`: `account = "cf_vitally_id"` or `"meta_data.KEY"`."""

    account = line(
        r"(cf_|meta_data\.).*", "must be cf_… (a custom field) or meta_data.KEY"
    )

    @post_load
    def table(self, lines: Any, **_: Any) -> Table:
        """Return the content of the table."""
        return Table({ACCOUNT: lines["account"]} if lines else {})


def verify(delivery: Delivery, options: Options, now: float) -> Verified:
    """Check HTTP Basic. Raises SignatureError."""
    return auth.verify(auth.BASIC, delivery, [_pair(options)], now)


def _pair(options: Options) -> str:
    return f"{options[USERNAME] or ''}:{options[PASSWORD] or ''}"


def split(delivery: Verified) -> tuple[Event]:
    """Return the delivery's one event. Raises PayloadError if there is none."""
    body = json_object(delivery.body)
    id_, kind, at = (body.get(k) for k in ("id", "event_type", "occurred_at"))
    if not is_name(id_):
        raise PayloadError("the body has no id, so it is not an event")
    if not is_name(kind):
        raise PayloadError("the event has no event_type", id_)
    if type(at) is not int or not 0 <= at <= LATEST:
        raise PayloadError("the event has no occurred_at", id_)
    return (Event(id_, kind, at * 1000, body),)


@HANDLERS.on(
    resources.CUSTOMER_EVENT,
    EVENTS["customer"],
    creates={"customer_created", "customer_changed", "customer_moved_in"},
)
def customer(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the customer."""
    shown = _resource(event, loaded, "customer")
    value = resources.customer(shown, _account(event, "customer", shown["id"], options))
    yield _fact(event, shown, shown["id"], "customer", value)


@HANDLERS.on(resources.SUBSCRIPTION_EVENT, EVENTS["subscription"])
def subscription(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the subscription, and its customer where the event has one."""
    shown = _resource(event, loaded, "subscription")
    owner, thing = shown["customer_id"], f"subscription:{shown['id']}"
    account = _account(event, "subscription", owner, options)
    value = resources.subscription(shown, account, recounted=event.type == RECOUNTED)
    yield _fact(event, shown, owner, thing, value)
    beside = loaded["content"]["customer"]
    if beside is not None and beside["id"] == owner:
        yield from customer(event, loaded, options)


@HANDLERS.on(resources.SUBSCRIPTION_EVENT, EVENTS["moved_out"])
def moved_out(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield that a subscription no longer belongs to its customer.

    It goes on with another customer, which has its own event.
    https://apidocs.chargebee.com/docs/api/events/webhook/subscription_moved_out
    """
    shown = _resource(event, loaded, "subscription")
    owner, thing = shown["customer_id"], f"subscription:{shown['id']}"
    account = _account(event, "subscription", owner, options)
    value: Subscription = {"account": account, "status": VOID}
    yield _fact(event, shown, owner, thing, kept(value))


def _resource(event: Event, loaded: Any, kind: str) -> Shown:
    """A resource; its version and end come from the event if only that has them."""
    shown = loaded["content"][kind]
    version = event.at if shown["version"] is None else shown["version"]
    deleted = bool(shown["deleted"]) or event.type == f"{kind}_deleted"
    return {**shown, "version": version, "deleted": deleted}


def _account(event: Event, kind: str, customer: str, options: Options) -> str:
    """The account that a resource names, in the place that `bridge.toml` sets; else "".

    Without such a place it is the customer's own id.
    """
    place: str | None = options.get(ACCOUNT)
    if place is None:
        return customer
    body = event.body["content"][kind]
    if place.startswith(META_DATA):
        body = body.get("meta_data")
    word = body.get(place.removeprefix(META_DATA)) if isinstance(body, dict) else None
    name = str(word).strip() if type(word) in {str, int} else ""
    return name if is_name(name) else ""


def _fact(event: Event, shown: Shown, party: str, thing: str, value: AnyValue) -> Fact:
    seconds = max(0, event.at - shown["version"]) // 1000
    rank = LATER + 2 * seconds + (event.type == RECOUNTED)
    if event.type == "customer_created":
        rank = Rank.CREATED
    name, final, at = f"chargebee:{party}", shown["deleted"], shown["version"]
    return event.fact(name, thing, value, rank, final=final, at=at)


SOURCE = Source(
    name="chargebee",
    title="Chargebee",
    options=OPTIONS,
    enabled=lambda options: bool(options[USERNAME] or options[PASSWORD]),
    verify=verify,
    split=split,
    handlers=HANDLERS,
    without_effect=EVENTS["without_effect"],
    table=read_by(TableLines()),
    weak=lambda options: auth.judged_pair(USERNAME, PASSWORD, options),
    proof=lambda options: (auth.BASIC, [_pair(options)]),
)
