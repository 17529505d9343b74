"""Salesforce's outbound messages: how one is proved, split, and acknowledged."""

from __future__ import annotations

from collections.abc import Iterator

from bridge.errors import PayloadError, SignatureError
from bridge.settings import Option, text
from bridge.sources.salesforce import facts, message, rules
from bridge.webhook import auth
from bridge.webhook.auth import judged
from bridge.webhook.source import (
    Answer,
    Delivery,
    Event,
    Options,
    Source,
    Verified,
    each,
    read_by,
)

TOKEN = auth.Shown("query", "token")

SIGNIFICANT = 15
"""Characters of an id that tell it apart; three more are a checksum."""

OPTIONS = (
    Option(
        "SALESFORCE_ORG_ID",
        text,
        "Id of the organisation that sends (*Setup → Company Information*).",
        shown="the source is off",
    ),
    Option(
        "SALESFORCE_WEBHOOK_TOKEN",
        text,
        "The secret in the endpoint's URL: `/webhooks/salesforce?token=…`. Unset: the "
        "source is off.",
        secret=True,
    ),
)

ACK = Answer(
    200,
    "text/xml; charset=utf-8",
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b'<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/">'
    b"<soapenv:Body>"
    b'<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound">'
    b"<Ack>true</Ack></notificationsResponse></soapenv:Body></soapenv:Envelope>",
)
"""Anything else has the whole message sent again, for 24 hours."""


def verify(delivery: Delivery, options: Options, now: float) -> Verified:
    """Check the URL's token, then the organisation. Raises SignatureError.

    What is verified has no session any more: the body goes on without its SessionId.
    """
    auth.verify(TOKEN, delivery, [options["SALESFORCE_WEBHOOK_TOKEN"] or ""], now)
    try:
        root = message.parse(delivery.body)
        body = message.without_session(root)
    except PayloadError as error:
        raise SignatureError(f"its organisation is not known: {error}") from None
    told = {id_[:SIGNIFICANT] for id_ in message.organisations(root)}
    if told != {(options["SALESFORCE_ORG_ID"] or "")[:SIGNIFICANT]}:
        raise SignatureError("the message is not from our organisation")
    return Verified(delivery._replace(body=body))


def split(delivery: Verified) -> Iterator[Event]:
    """Yield one event for each record. Raises PayloadError where there is none."""
    told = message.notifications(message.parse(delivery.body))
    if not told:
        raise PayloadError("the message holds no notification")
    yield from each(message.event, told)


def ignores(event: Event, options: Options) -> str | None:
    """Return why *event* is not for this bridge, or None."""
    if not event.body:
        return "the record is empty: it was deleted before the message was sent"
    if event.type == facts.OPPORTUNITY:
        return facts.untold(event.body, rules.rules(options))
    return None


SOURCE = Source(
    name="salesforce",
    title="Salesforce",
    options=OPTIONS,
    enabled=lambda options: bool(
        options["SALESFORCE_ORG_ID"] and options["SALESFORCE_WEBHOOK_TOKEN"]
    ),
    verify=verify,
    split=split,
    ignores=ignores,
    handlers=facts.HANDLERS,
    answer=ACK,
    crm=True,
    table=read_by(rules.TableLines()),
    weak=lambda options: judged(
        "SALESFORCE_WEBHOOK_TOKEN", options["SALESFORCE_WEBHOOK_TOKEN"]
    ),
)
