"""Turns each Chargebee event, and each resource read from its API, into stamped facts.

The order of stamps: a deletion beats everything; then the higher `resource_version`
(milliseconds; each change of a resource has a higher one); within one version, which can
have several events because Chargebee counts the MRR afterwards, the time of the event.

What was read from the API is stamped in the same way, as if an event had told it in the
second in which it was read. It must not be stamped with that second itself, as facts of
Stripe are. Chargebee's lists may be minutes old: an old state, stamped as new, would hide
the events that came before the read and that the list did not yet have. The version says
how old the state is. Within one version a read comes after every event of its second or
before, and before every later one, so a recount that follows it still wins.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

from bridge.config import USED
from bridge.domain.facts import READ, Fact, Rank
from bridge.domain.values import BILLING, PAYMENTS, VOID, AnyValue, Subscription
from bridge.sources.chargebee import resources
from bridge.sources.chargebee.resources import Loaded
from bridge.webhook.source import Event, Handlers, Options, is_name, pays
from bridge.webhook.values import kept

PREFIX = "chargebee:"

ACCOUNT, ORGANIZATION = "chargebee.account", "chargebee.organization"
"""Name of the option that `[sources.chargebee]` in `bridge.toml` sets."""

META_DATA = "meta_data."

EVENTS = tomllib.loads(files(__package__).joinpath("events.toml").read_text("utf-8"))
"""The event types and their meanings, by the function that reads them."""

MOVED_OUT = "subscription_moved_out"

RECOUNTED = "mrr_updated"
"""The event whose MRR is certain; other events may come before Chargebee computes it."""

LATER = 10
"""Above all of `Rank`: from here on, a rank is how long after its version an event came."""

LAG_MS = 300_000
"""A list may be this old (ms): https://apidocs.chargebee.com/docs/api/list-ops."""

HANDLERS, PAYMENT_HANDLERS = Handlers(), Handlers()
"""The second are used only while a trait about payments is in use."""


BEGIN = {"customer_created", "customer_changed", "customer_moved_in"}


@HANDLERS.on(resources.CUSTOMER_EVENT, EVENTS["customer"], creates=BEGIN)
def customer(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the customer."""
    shown = _resource(event, loaded, "customer")
    value = resources.customer(shown, _account(event, "customer", shown["id"], options))
    if of := _named(event, "customer", options.get(ORGANIZATION, "")):
        value["organization"] = of
    yield _fact(event, shown, shown["id"], "customer", value)
    if pays(options) and event.type != READ:  # its invoices are not read
        yield _fact(event, shown, shown["id"], BILLING, {})


@HANDLERS.on(resources.SUBSCRIPTION_EVENT, EVENTS["subscription"])
def subscription(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the subscription, and its customer where the event has one.

    One that moved goes on with another customer, which has its own event.
    https://apidocs.chargebee.com/docs/api/events/webhook/subscription_moved_out
    """
    shown = _resource(event, loaded, "subscription")
    owner, thing = shown["customer_id"], f"subscription:{shown['id']}"
    account = _account(event, "subscription", owner, options)
    use, recounted = options.get(USED, ()), event.type == RECOUNTED
    value = resources.subscription(shown, account, use, recounted=recounted)
    if event.type == MOVED_OUT:
        value = kept(Subscription(account=account, status=VOID))
    yield _fact(event, shown, owner, thing, value)
    beside = loaded["content"]["customer"]
    if beside and beside["id"] == owner and event.type != MOVED_OUT:
        yield from customer(event, loaded, options)


@PAYMENT_HANDLERS.on(resources.INVOICE_EVENT, EVENTS["invoice"])
def invoice(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the step that an invoice took; all are kept, so none replaces another."""
    shown, failed = loaded["content"]["invoice"], event.type == "payment_failed"
    if step := shown and resources.invoice(shown, event.at, failed=failed):
        party = PREFIX + shown["customer_id"]
        yield event.fact(party, PAYMENTS, step, Rank.UPDATED, essence={})


def _resource(event: Event, loaded: Any, kind: str) -> Loaded:
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
    return customer if place is None else _named(event, kind, place)


def _named(event: Event, kind: str, place: str) -> str:
    """What a resource has in a *place* that `bridge.toml` sets; "": no name."""
    body = event.body["content"][kind]
    if place.startswith(META_DATA):
        body = body.get("meta_data")
    word = body.get(place.removeprefix(META_DATA)) if isinstance(body, dict) else None
    name = str(word).strip() if type(word) in {str, int} else ""
    return name if is_name(name) else ""


def _fact(event: Event, shown: Loaded, party: str, thing: str, value: AnyValue) -> Fact:
    late, is_read = event.at - shown["version"], event.type == READ
    rank = LATER + 2 * max(0, late // 1000) + (event.type == RECOUNTED or is_read)
    if event.type == "customer_created":
        rank = Rank.CREATED
    # A list without an MRR may be older than the recount of the same version.
    elif is_read and (late < 0 or (late < LAG_MS and "items" in value)):
        rank = Rank.FROM_API
    name, final, at = PREFIX + party, shown["deleted"], shown["version"]
    return event.fact(name, thing, value, rank, final=final, at=at)
