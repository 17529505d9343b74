"""HubSpot: how a delivery of it is proved and split, and how it is set up."""

from __future__ import annotations

import re
from typing import Any

from bridge.errors import PayloadError
from bridge.options import Option, base_url, several, text
from bridge.sources.hubspot.api import connect
from bridge.sources.hubspot.handlers import HANDLERS, ignores, kind
from bridge.sources.hubspot.rules import TableLines
from bridge.webhook import auth
from bridge.webhook.auth import judged
from bridge.webhook.bodies import is_name, json_value
from bridge.webhook.fields import LATEST
from bridge.webhook.source import (
    Delivery,
    Event,
    Options,
    Source,
    Verified,
    each,
    read_by,
)

OPTIONS = (
    Option(
        "HUBSPOT_CLIENT_SECRET",
        several,
        None,
        "Client secret of the app that sends; one or several, comma-separated. Unset: "
        "the source is off. HubSpot signs the address it calls: set BRIDGE_PUBLIC_URL.",
        secret=True,
    ),
    Option(
        "HUBSPOT_ACCESS_TOKEN",
        text,
        None,
        "Access token of a private app: reads companies, their deals and owners.",
        secret=True,
    ),
    Option(
        "HUBSPOT_API_BASE",
        base_url,
        None,
        "Replaces `https://api.hubapi.com`, e.g. `http://127.0.0.1:12111`.",
        shown="HubSpot's own",
    ),
)

ESCAPED = re.compile(r"%(3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)
"""The characters of a URL that HubSpot signs as they are, not as they are sent."""

NUMBERS = ("occurredAt", "portalId", "subscriptionId", "eventId")
"""With the record's id they tell one event from all others; `eventId` alone does not."""

MOST = 10_000
"""Events of one delivery: far more than HubSpot sends, and than fit into a mebibyte."""

SUBJECTS = ("objectId", "fromObjectId", "primaryObjectId")


def verify(delivery: Delivery, options: Options, now: float) -> Verified:
    """Check `X-HubSpot-Signature-v3`; *now* in seconds. Raises SignatureError."""
    secrets = options["HUBSPOT_CLIENT_SECRET"] or ()
    url = ESCAPED.sub(lambda found: chr(int(found[1], 16)), delivery.url)
    called = delivery._replace(url=url)
    return auth.verify(auth.HUBSPOT, called, secrets, now)


def split(delivery: Verified) -> list[Event]:
    """Return the events of a delivery, up to 100. Raises PayloadError."""
    found = json_value(delivery.body)
    rows = found if isinstance(found, list) else [found]
    if len(rows) > MOST:
        raise PayloadError(f"the body holds more than {MOST} events")
    return list(each(_event, rows))


def _event(body: Any) -> Event:
    if not isinstance(body, dict) or not is_name(body.get("subscriptionType")):
        raise PayloadError("the body is no event, or holds what is none")
    at, *numbers = (body.get(name) for name in NUMBERS)
    if type(at) is not int or not 0 <= at <= LATEST * 1000:
        raise PayloadError("an event has no time at which it occurred")
    if {*map(type, numbers)} != {int}:
        raise PayloadError("an event has no whole numbers as its ids")
    subjects = (body.get(name) for name in SUBJECTS)
    subject = next((id_ for id_ in subjects if type(id_) is int), 0)
    return Event("-".join(map(str, [*numbers, subject, at])), kind(body), at, body)


SOURCE = Source(
    name="hubspot",
    title="HubSpot",
    options=OPTIONS,
    enabled=lambda options: bool(options["HUBSPOT_CLIENT_SECRET"]),
    verify=verify,
    split=split,
    ignores=ignores,
    handlers=HANDLERS,
    reader=connect,
    key="HUBSPOT_ACCESS_TOKEN",
    crm=True,
    table=read_by(TableLines()),
    weak=lambda options: judged(
        "HUBSPOT_CLIENT_SECRET", options["HUBSPOT_CLIENT_SECRET"]
    ),
)
