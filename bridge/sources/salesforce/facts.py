"""Turns records of Salesforce, from messages and from the API, into stamped facts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any

from marshmallow import ValidationError, fields

from bridge.domain.facts import Fact, Rank
from bridge.domain.values import (
    ORGANIZATION,
    VOID,
    AnyValue,
    Customer,
    Names,
    Part,
    Subscription,
    Trait,
    part,
)
from bridge.sources import crm
from bridge.sources.crm import field_name, won_deal
from bridge.webhook.fields import UNREAD, Checked, Label, Payload, Word
from bridge.webhook.source import Event, Handlers, Options, is_name
from bridge.webhook.values import decimal, kept, milliseconds

PREFIX = "salesforce:"

ID = re.compile("[A-Za-z0-9]{15}([A-Za-z0-9]{3})?")

HANDLERS = Handlers()

rules_of = partial(crm.rules_of, "salesforce")


TABLE = crm.table(
    "salesforce",
    "field",
    "opportunities",
    field_name("field", required=True),
    selected=fields.List(
        field_name("field"),
        load_default=[],
        error_messages={"invalid": "must be a list of names of fields"},
    ),
)
"""Reads `[sources.salesforce]`."""


def version(fields: crm.Fields) -> int:
    """When a record was last changed, in milliseconds; 0 if it does not say."""
    for name in ("SystemModstamp", "LastModifiedDate"):
        with suppress(ValueError):
            return milliseconds(fields.get(name) or "")
    return 0


class RecordId(Checked):
    """A record's id, stored in its form of 18 characters.

    Each of the last three encodes which of five characters are upper case.
    """

    must = "be an id of 15 or 18 characters"

    def read(self, value: Any) -> Any:
        if type(value) is not str or not ID.fullmatch(value):
            return UNREAD
        for five in (value[:5], value[5:10], value[10:15])[: 18 - len(value)]:
            upper = sum(letter.isupper() << bit for bit, letter in enumerate(five))
            value += "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"[upper]
        return value


class Record(Payload):
    """The fields of any record; an Account has no others."""

    id = RecordId(required=True, data_key="Id")
    name = Label(data_key="Name")
    deleted = Word("true", "false", data_key="IsDeleted")


class Opportunity(Record):
    """A deal; *account* is its company."""

    account = RecordId(data_key="AccountId")
    won = Word("true", "false", data_key="IsWon")


NAMED = "name, account and the traits that `bridge.toml` names"
WON = "a won deal is a subscription, where `bridge.toml` names its fields"


@HANDLERS.on(Record(), {"Account": NAMED}, creates={"Account"})
def account(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the customer and its parts.

    A record with any field exists, unless it says that it is deleted.
    """
    rules, fields, id_ = rules_of(options), event.body, loaded["id"]
    is_deleted, fact = loaded["deleted"] == "true", partial(_fact, event, loaded, id_)
    yield fact("customer", rules.customer(id_, deleted=is_deleted))
    if rules.parent and rules.selects(fields, rules.parent):
        parent = crm.read(fields, rules.parent, _parent)
        yield fact(ORGANIZATION, rules.membership(id_, parent or ""))
    if rules.account and rules.selects(fields, rules.account):
        named = crm.read(fields, rules.account, _external)
        yield fact("account", kept(Names(account=named)))
    if rules.selects(fields, "Name"):
        yield fact("name", kept(Customer(name=loaded["name"])))
    for trait, line in rules.traits.items():
        if rules.selects(fields, line.field) and not is_deleted:
            is_ = crm.read(fields, line.field, line.convert)
            yield fact(f"trait:{trait}", Trait({"is": is_}))


@HANDLERS.on(Opportunity(), {"Opportunity": WON})
def opportunity(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield a won deal as a subscription, and its parts.

    Any other deal is void, so a deal that was won and then lost is not a subscription.
    So is a deal without a monthly amount (a one-time sale). An amount that a message does
    not select stays as it was.
    """
    rules, fields, owner = rules_of(options), event.body, loaded["account"]
    deals, id_ = rules.deals, f"opp-{loaded['id']}"
    if deals is None or owner is None:
        return
    is_deleted, fact = loaded["deleted"] == "true", partial(_fact, event, loaded, owner)
    is_won = loaded["won"] == "true" and not is_deleted
    if not is_won or rules.selects(fields, deals.mrr):
        void: Subscription = {"status": VOID}
        mrr = crm.read(fields, deals.mrr, decimal) if is_won else None
        currency = fields.get(deals.currency, deals.currency)
        value = won_deal(mrr=mrr, currency=currency, at=event.at) or void
        value["account"] = rules.account_of(owner)
        yield fact(f"subscription:{id_}", kept(value))
    if is_deleted:
        return
    if rules.selects(fields, "Name"):
        yield fact(part(id_, "plan"), kept(Part(plan=loaded["name"])))
    if rules.selects(fields, deals.renews):
        ends = crm.read(fields, deals.renews, milliseconds)
        yield fact(part(id_, "ends"), kept(Part(ends=ends)))
    if rules.selects(fields, deals.ended):
        ended = crm.read(fields, deals.ended, milliseconds)
        yield fact(part(id_, "ended"), kept(Part(ended=ended)))


def _parent(text: str) -> str:
    """An id of Salesforce in its long form, or another name as it is."""
    return str(RecordId().read(text)) if ID.fullmatch(text) else _external(text)


def _external(text: str) -> str:
    if not is_name(text):
        raise ValueError("must be an id of at most 255 characters")
    return text


def _fact(event: Event, loaded: Any, party: str, thing: str, value: AnyValue) -> Fact:
    if not event.at:
        reason = "Select it for the outbound message: it tells which record is newer."
        raise ValidationError({"SystemModstamp": [reason]})
    rank = Rank.DELETED if loaded["deleted"] == "true" else Rank.CREATED
    return event.fact(PREFIX + party, thing, value, rank)
