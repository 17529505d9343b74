"""Salesforce: its settings, and how an outbound message is authenticated and split.

A notification contains the fields that its message selects, as they were when it was sent,
so each field is a thing of its own. The record's SystemModstamp says which of two
notifications is newer. A deletion is not final: a record can be undeleted.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element, ParseError, tostring

from defusedxml.ElementTree import fromstring

from bridge.errors import PayloadError, SignatureError
from bridge.settings import base_url, declared, text, variable
from bridge.sources import crm
from bridge.sources.salesforce.api import (
    KEY,
    ORGANISATION,
    SIGNIFICANT,
    connect,
    incomplete,
)
from bridge.sources.salesforce.facts import HANDLERS, TABLE, rules_of, version
from bridge.webhook import auth
from bridge.webhook.source import (
    Acknowledgement,
    Delivery,
    Event,
    Options,
    Source,
    Verified,
    each,
    is_name,
)

TOKEN = "SALESFORCE_WEBHOOK_TOKEN"  # noqa: S105 - the name of a setting


class Variables:
    """Salesforce's environment variables."""

    SALESFORCE_ORG_ID = variable(text, shown="the source is off")
    """Id of the sending organization (*Setup → Company Information*)."""
    SALESFORCE_WEBHOOK_TOKEN = variable(text, secret=True)
    """The secret in the endpoint's URL: `/webhooks/salesforce?token=…`. Unset: the source
    is off."""
    SALESFORCE_API_BASE = variable(base_url)
    """Your *My Domain*, e.g. `https://acme.my.salesforce.com`, to read Accounts and
    Opportunities, and for backfill."""
    SALESFORCE_CLIENT_ID = variable(text)
    """Consumer key of an app with the client credentials flow."""
    SALESFORCE_CLIENT_SECRET = variable(text, secret=True)
    """Consumer secret of that app."""


IN_URL = auth.Credential("query", "token")

EXAMPLE = b"00Dxx0000000001EAA"
"""The organization of the recorded messages."""

OUTBOUND = "{http://soap.sforce.com/2005/09/outbound}"
TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"

ACK = Acknowledgement(
    200,
    "text/xml; charset=utf-8",
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b'<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/">'
    b"<soapenv:Body>"
    b'<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound">'
    b"<Ack>true</Ack></notificationsResponse></soapenv:Body></soapenv:Envelope>",
)
"""After any other answer Salesforce resends the whole message for 24 hours."""

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
    at = version(body)
    return Event(f"{id_}:{at}", kind, at, body)


def _text(element: Element) -> str:
    return (element.text or "").strip()


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


SOURCE = Source(
    name="salesforce",
    title="Salesforce",
    options=declared(Variables),
    enabled=lambda options: bool(options[ORGANISATION] and options[TOKEN]),
    verify=verify,
    split=split,
    ignores=ignores,
    handlers=HANDLERS,
    api=connect,
    archive=connect,
    key=KEY,
    ack=ACK,
    crm=True,
    table=TABLE,
    weak=lambda options: auth.weaknesses(TOKEN, options[TOKEN]),
    lacks=incomplete,
    proof=lambda options: (IN_URL, [options[TOKEN] or ""]),
    fitted=lambda body, options: body.replace(EXAMPLE, options[ORGANISATION].encode()),
)
