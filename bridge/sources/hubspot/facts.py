"""Turns HubSpot's events into stamped facts about companies.

An event contains at most one property, so each property is a thing of its own. If the
event lacks what is needed, a fact without content requests a read from the API: a fact of
the company, or of a pointer if the company is not known. Without a token pointers are
held.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from importlib.resources import files
from typing import Any, TypeVar

from marshmallow import fields

from bridge.config import currency
from bridge.domain.facts import Fact, Rank, pointer
from bridge.domain.values import (
    ORGANIZATION,
    TO_REFRESH,
    Customer,
    Names,
    Notice,
    Trait,
)
from bridge.sources import crm
from bridge.sources.crm import Deals, Fields, Rules, TraitMapping
from bridge.webhook.fields import UNREAD, Payload, Text, Whole, cleaned
from bridge.webhook.source import Event, Handlers, Options
from bridge.webhook.values import kept

EVENTS = tomllib.loads(files(__package__).joinpath("events.toml").read_text("utf-8"))
"""The event types and their meanings, by the function that reads them."""

HANDLERS = Handlers()

PREFIX = "hubspot:"

OWNER = "owner"
"""Converter of a property that contains the id of a HubSpot user."""

NamedValue = TypeVar("NamedValue", Customer, Trait)

rules_of = partial(crm.rules_of, "hubspot")


TABLE = crm.table("hubspot", "property", "deals", currency(), OWNER)
"""Reads `[sources.hubspot]`."""


def of_company(rules: Rules) -> list[str]:
    """The properties that are read of a company, each once."""
    traits = (line.field for line in rules.traits.values())
    named = ("name", rules.account, rules.parent, *traits)
    return list(dict.fromkeys(filter(None, named)))


def of_deal(deals: Deals) -> list[str]:
    """The properties that are read of a deal."""
    return ["dealname", "hs_is_closed_won", "deal_currency_code", *deals.fields]


# --- What events and the API tell of a company ----------------------------------


def company(
    id_: str, fields: Fields, rules: Rules, read: Callable[[TraitMapping], Any]
) -> Iterator[tuple[str, Names]]:
    """Yield the things that properties say about a company, each with its value.

    *read* returns a trait's value from its property, or UNREAD.
    """

    def named(value: NamedValue) -> NamedValue:
        if rules.account_of(id_):
            value["account"] = rules.account_of(id_)
        return value

    if "name" in fields:
        yield "name", named(Customer(name=shown(fields["name"])))
    if rules.account in fields:
        yield "account", kept(Names(account=stripped(fields[rules.account]) or ""))
    if rules.parent in fields:
        yield ORGANIZATION, rules.membership(id_, stripped(fields[rules.parent]) or "")
    for trait, line in rules.traits.items():
        value = read(line) if line.field in fields else UNREAD
        if value is not UNREAD:
            yield f"trait:{trait}", named(Trait({"is": value}))


def stripped(text: str | None) -> str | None:
    """Return *text* without blanks around it; None if nothing is left."""
    return (text or "").strip() or None


def shown(text: str | None) -> str | None:
    """The same for a name."""
    return cleaned((text or "").strip()) or None


# --- What events tell -----------------------------------------------------------


class Record(Payload):
    """An event about one record: https://developers.hubspot.com/docs/api-reference/webhooks-webhooks-v3/guide."""

    object_id = Whole(required=True, data_key="objectId")


class PropertyChange(Record):
    """A property got another value; it is always a text."""

    name = Text(255, required=True, data_key="propertyName")
    value = Text(1 << 16, data_key="propertyValue")


class Merge(Payload):
    """Records were merged into the primary one, or into a new one."""

    primary = Whole(required=True, data_key="primaryObjectId")
    merged = fields.List(Whole(), required=True, data_key="mergedObjectIds")
    new = Whole(data_key="newObjectId")


class Association(Payload):
    """An association between two records was added or removed."""

    from_id = Whole(required=True, data_key="fromObjectId")
    to_id = Whole(required=True, data_key="toObjectId")


@HANDLERS.on(PropertyChange(), EVENTS["changed"], creates=EVENTS["changed"])
def changed(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the thing of a company's property; the name of a user has to be read."""
    rules, id_ = rules_of(options), str(loaded["object_id"])
    name, text = loaded["name"], loaded["value"]

    def read(line: TraitMapping) -> Any:
        is_user = line.kind == OWNER and text
        return UNREAD if is_user else crm.read({name: text}, name, line.convert)

    for thing, value in company(id_, {name: text}, rules, read):
        yield event.fact(PREFIX + id_, thing, value, Rank.UPDATED)
    if text and TraitMapping(name, OWNER) in rules.traits.values():
        yield _ask(event, f"company:{id_}")


@HANDLERS.on(Record(), EVENTS["begun"], creates=EVENTS["begun"])
def begun(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield a company that is new, or back."""
    id_ = str(loaded["object_id"])
    rank = Rank.CREATED if event.type == "company.creation" else Rank.UPDATED
    value = rules_of(options).customer(id_)
    yield event.fact(PREFIX + id_, "customer", value, rank)
    yield event.fact(PREFIX + id_, TO_REFRESH, {}, Rank.UPDATED)


@HANDLERS.on(Record(), EVENTS["deleted"])
def deleted(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield a company's end, not final: it can be restored."""
    id_ = str(loaded["object_id"])
    value = rules_of(options).customer(id_, deleted=True)
    yield event.fact(PREFIX + id_, "customer", value, Rank.CREATED)


@HANDLERS.on(Merge(), EVENTS["merged"])
def merged(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the final end of companies that were merged.

    Each belongs to the account of the remaining company, and stays as it was until that
    company is known. If a property names the account, or it may be an organization alone,
    only the API knows it; it is read again if its answer is from the very second of the
    merge.
    """
    rules, left = rules_of(options), str(loaded["new"] or loaded["primary"])
    gone = sorted({str(i) for i in (loaded["primary"], *loaded["merged"])} - {left})
    may_be_head = "head" in rules.membership(left)
    told = {"account": ""} if may_be_head else {}
    value = rules.customer(left, deleted=True, into=PREFIX + left, **told)
    for id_ in gone:
        yield event.fact(PREFIX + id_, "customer", value, Rank.CREATED, final=True)
        if rules.organization:
            no = Names()
            yield event.fact(PREFIX + id_, ORGANIZATION, no, Rank.CREATED, final=True)
    is_unsure = bool(rules.account) or may_be_head
    if is_unsure or rules.deals:
        for id_ in [left, *(gone if is_unsure else ())]:
            yield _ask(event, f"company:{id_}", Notice(twice=True))


@HANDLERS.on(Record(), EVENTS["deal"])
@HANDLERS.on(PropertyChange(), EVENTS["changed_deal"])
def deal(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield that a deal's company has to be read."""
    yield _ask(event, f"deal:{loaded['object_id']}")


@HANDLERS.on(Merge(), EVENTS["merged_deal"])
def merged_deal(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the same for the deal that remains."""
    yield _ask(event, f"deal:{loaded['new'] or loaded['primary']}")


@HANDLERS.on(Association(), EVENTS["associated"])
def associated(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the same for a company that got or lost a deal."""
    side = "to_id" if event.type.startswith("deal.") else "from_id"
    yield _ask(event, f"company:{loaded[side]}")


def _ask(event: Event, thing: str, notice: Notice | None = None) -> Fact:
    party = pointer("hubspot", thing)
    return event.fact(party, TO_REFRESH, notice or {}, Rank.UPDATED)
