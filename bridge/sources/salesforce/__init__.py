"""Salesforce's outbound messages: authentication, splitting, facts, acknowledgement.

A notification contains the fields that its message selects, as they were when it was sent,
so each field is a thing of its own. The record's SystemModstamp says which of two
notifications is newer. A deletion is not final: a record can be undeleted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Any
from xml.etree.ElementTree import Element, ParseError, tostring

from defusedxml.ElementTree import fromstring
from marshmallow import ValidationError, fields

from bridge.domain.facts import Fact, Rank
from bridge.domain.values import (
    VOID,
    AnyValue,
    Customer,
    Names,
    Part,
    Subscription,
    Trait,
    part,
)
from bridge.errors import PayloadError, SignatureError
from bridge.settings import Option, text
from bridge.sources import crm
from bridge.sources.crm import field_name, won_deal
from bridge.webhook import auth
from bridge.webhook.fields import UNREAD, Checked, Label, Payload, Word
from bridge.webhook.source import (
    Answer,
    Delivery,
    Event,
    Handlers,
    Options,
    Source,
    Verified,
    each,
    is_name,
)
from bridge.webhook.values import decimal, kept, milliseconds

ORGANISATION, TOKEN = "SALESFORCE_ORG_ID", "SALESFORCE_WEBHOOK_TOKEN"

OPTIONS = (
    Option(
        ORGANISATION,
        text,
        "Id of the sending organization (*Setup → Company Information*).",
        shown="the source is off",
    ),
    Option(
        TOKEN,
        text,
        "The secret in the endpoint's URL: `/webhooks/salesforce?token=…`. Unset: the "
        "source is off.",
        secret=True,
    ),
)

IN_URL = auth.Shown("query", "token")

SIGNIFICANT = 15
"""Characters of an id that identify it; three more are a checksum."""

ID = re.compile("[A-Za-z0-9]{15}([A-Za-z0-9]{3})?")

EXAMPLE = b"00Dxx0000000001EAA"
"""The organization of the recorded messages."""

OUTBOUND = "{http://soap.sforce.com/2005/09/outbound}"
TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"

ACK = Answer(
    200,
    "text/xml; charset=utf-8",
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b'<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/">'
    b"<soapenv:Body>"
    b'<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound">'
    b"<Ack>true</Ack></notificationsResponse></soapenv:Body></soapenv:Envelope>",
)
"""After any other answer Salesforce resends the whole message for 24 hours."""

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


# --- A message ------------------------------------------------------------------


def verify(delivery: Delivery, options: Options, now: float) -> Verified:
    """Check the URL's token, then the organization. Raises SignatureError.

    The verified body no longer contains the SessionId.
    """
    auth.verify(IN_URL, delivery, [options[TOKEN] or ""], now)
    try:
        root = _parsed(delivery.body)
        for parent in root.iter():
            for session in parent.findall("{*}SessionId"):
                parent.remove(session)
        body = tostring(root)
    except (PayloadError, RecursionError) as error:
        raise SignatureError(f"its organization is not known: {error}") from None
    ids = {_text(one)[:SIGNIFICANT] for one in root.iter(f"{OUTBOUND}OrganizationId")}
    if ids != {(options[ORGANISATION] or "")[:SIGNIFICANT]}:
        raise SignatureError("the message is not from our organization", "mismatch")
    return Verified(delivery._replace(body=body))


def split(delivery: Verified) -> Iterator[Event]:
    """Yield one event for each record, up to a hundred. Raises PayloadError."""
    notifications = [*_parsed(delivery.body).iter(f"{OUTBOUND}Notification")]
    if not notifications:
        raise PayloadError("the message contains no notification")
    yield from each(_event, notifications)


def _parsed(body: bytes) -> Element:
    """Parse XML; a DTD is refused, and with it all custom entities."""
    try:
        root: Element = fromstring(body, forbid_dtd=True)
    except (ParseError, ValueError, LookupError):
        raise PayloadError("the body is not valid XML") from None
    return root


def _event(notification: Element) -> Event:
    """The event of a record as it was when it was sent. Raises PayloadError.

    A resent notification contains the record's current state, so an event is identified
    by the notification and the version of the record.
    """
    id_ = (notification.findtext(f"{OUTBOUND}Id") or "").strip()
    record = notification.find(f"{OUTBOUND}sObject")
    if not is_name(id_) or record is None:
        raise PayloadError("a notification has no Id, or no record")
    kind = record.get(TYPE, "").rpartition(":")[2]
    if not is_name(kind):
        raise PayloadError("a record has no type", id_)
    body = {field.tag.rpartition("}")[2]: _text(field) or None for field in record}
    at = _version(body)
    return Event(f"{id_}:{at}", kind, at, body)


def _text(element: Element) -> str:
    return (element.text or "").strip()


def _version(fields: crm.Fields) -> int:
    """When a record was last changed, in milliseconds; 0 if it does not say."""
    for name in ("SystemModstamp", "LastModifiedDate"):
        with suppress(ValueError):
            return milliseconds(fields.get(name) or "")
    return 0


# --- Its records ----------------------------------------------------------------


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


def ignores(event: Event, options: Options) -> str | None:
    """Return why *event* is not for this bridge, or None."""
    if not event.body:
        return "the record is empty: it was deleted before the message was sent"
    if event.type == "Opportunity":
        return _too_little(event.body, rules_of(options))
    return None


def _too_little(fields: crm.Fields, rules: crm.Rules) -> str | None:
    """What a message about an Opportunity lacks; None: nothing that is needed.

    For a lost or deleted deal nothing more is needed.
    """
    won, deals = fields.get("IsWon"), rules.deals
    if deals is None:
        return "bridge.toml has no [sources.salesforce.opportunities]"
    if not fields.get("AccountId"):
        return "the deal names no company; AccountId must be selected"
    if fields.get("IsDeleted") == "true" or won not in {None, "true"}:
        return None
    if won is None:
        return "the deal does not say whether it is won; IsWon must be selected"
    if not any(rules.selects(fields, name) for name in ("Name", *deals.fields)):
        return f"the deal does not say what it pays; {deals.mrr} must be selected"
    return None


@HANDLERS.on(
    Record(),
    {"Account": "name, account and the traits that `bridge.toml` names"},
    creates={"Account"},
)
def account(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the customer and its parts.

    A record with any field exists, unless it says that it is deleted.
    """
    rules, fields, id_ = rules_of(options), event.body, loaded["id"]
    is_deleted, fact = loaded["deleted"] == "true", partial(_fact, event, loaded, id_)
    value = Customer(account=rules.own(id_), deleted=is_deleted)
    yield fact("customer", kept(value))
    if rules.account and rules.selects(fields, rules.account):
        named = crm.read(fields, rules.account, _external)
        yield fact("account", kept(Names(account=named)))
    if rules.selects(fields, "Name"):
        yield fact("name", kept(Customer(name=loaded["name"])))
    for trait, line in rules.traits.items():
        if rules.selects(fields, line.field) and not is_deleted:
            is_ = crm.read(fields, line.field, line.convert)
            yield fact(f"trait:{trait}", Trait({"is": is_}))


@HANDLERS.on(
    Opportunity(),
    {
        "Opportunity": "a won deal is a subscription, where `bridge.toml` names its fields"
    },
)
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
        value["account"] = rules.own(owner)
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


def _external(text: str) -> str:
    if not is_name(text):
        raise ValueError("must be an id of at most 255 characters")
    return text


def _fact(event: Event, loaded: Any, party: str, thing: str, value: AnyValue) -> Fact:
    if not event.at:
        reason = "Select it for the outbound message: it tells which record is newer."
        raise ValidationError({"SystemModstamp": [reason]})
    rank = Rank.DELETED if loaded["deleted"] == "true" else Rank.CREATED
    return event.fact(f"salesforce:{party}", thing, value, rank)


SOURCE = Source(
    name="salesforce",
    title="Salesforce",
    options=OPTIONS,
    enabled=lambda options: bool(options[ORGANISATION] and options[TOKEN]),
    verify=verify,
    split=split,
    ignores=ignores,
    handlers=HANDLERS,
    answer=ACK,
    crm=True,
    table=TABLE,
    weak=lambda options: auth.judged(TOKEN, options[TOKEN]),
    proof=lambda options: (IN_URL, [options[TOKEN] or ""]),
    sample=lambda body, options: body.replace(EXAMPLE, options[ORGANISATION].encode()),
)
