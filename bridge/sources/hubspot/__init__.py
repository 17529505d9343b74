"""HubSpot: its settings, and how a delivery is authenticated and split."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from bridge.errors import PayloadError
from bridge.settings import base_url, declared, only, several, text, variable
from bridge.sources.crm import Rules
from bridge.sources.hubspot.api import connect
from bridge.sources.hubspot.facts import HANDLERS, TABLE, of_company, of_deal, rules_of
from bridge.webhook import auth
from bridge.webhook.auth import weaknesses
from bridge.webhook.fields import LATEST
from bridge.webhook.source import (
    Delivery,
    Event,
    Options,
    Source,
    Verified,
    each,
    is_name,
    json_value,
)
from bridge.webhook.values import kept

VARIABLE = "HUBSPOT_CLIENT_SECRET"


class Variables:
    """HubSpot's environment variables."""

    HUBSPOT_CLIENT_SECRET = variable(
        only("the client secret of an app", several), secret=True
    )
    """Client secret of the sending app; one or several, comma-separated. Unset: the source
    is off. Also set BRIDGE_PUBLIC_URL: HubSpot signs the address it calls."""
    HUBSPOT_ACCESS_TOKEN = variable(
        only("an access token of HubSpot", text), secret=True
    )
    """Access token of a private app, to read companies, their deals and owners."""
    HUBSPOT_API_BASE = variable(base_url, shown="HubSpot's own")
    """Replaces `https://api.hubapi.com`, e.g. `http://127.0.0.1:12111`."""


ESCAPED = re.compile(r"%(3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)
"""Escapes in a URL that HubSpot decodes before it signs."""

NUMBERS = ("occurredAt", "portalId", "subscriptionId", "eventId")
"""Together with the record's id these identify an event; `eventId` alone does not."""

MOST = 10_000
"""Most events of one delivery: far more than HubSpot sends or a mebibyte can hold."""

SUBJECTS = ("objectId", "fromObjectId", "primaryObjectId")

OBJECTS = {"0-2": "company", "0-3": "deal"}
"""`objectTypeId` of the generic `object.*` events -> the name in the older types."""

WON = "dealstage"
"""The property of a deal that decides whether it is won."""

COMPUTED = "hs_is_closed_won"
"""A property that HubSpot computes: it has no webhook, and need not have one."""

REDACTED = "REDACTED"
"""Sent instead of the value of a sensitive property."""


def verify(delivery: Delivery, options: Options, now: float) -> Verified:
    """Check `X-HubSpot-Signature-v3`; *now* in seconds. Raises SignatureError."""
    url = ESCAPED.sub(lambda escape: chr(int(escape[1], 16)), delivery.url)
    called = delivery._replace(url=url)
    return auth.verify(auth.HUBSPOT, called, options[VARIABLE] or (), now)


def split(delivery: Verified) -> list[Event]:
    """Return the events of a delivery, up to 100. Raises PayloadError."""
    body = json_value(delivery.body)
    rows = body if isinstance(body, list) else [body]
    if len(rows) > MOST:
        raise PayloadError(f"the body holds more than {MOST} events")
    return list(each(_event, rows))


def _event(body: Any) -> Event:
    if not isinstance(body, dict) or not is_name(body.get("subscriptionType")):
        raise PayloadError("the body is not an event, or contains something else")
    at, *numbers = (body.get(name) for name in NUMBERS)
    if type(at) is not int or not 0 <= at <= LATEST * 1000:
        raise PayloadError("an event has no occurredAt")
    if {*map(type, numbers)} != {int}:
        raise PayloadError("an event's ids are not whole numbers")
    subjects = (body.get(name) for name in SUBJECTS)
    subject = next((id_ for id_ in subjects if type(id_) is int), 0)
    return Event("-".join(map(str, [*numbers, subject, at])), kind(body), at, body)


def kind(body: Mapping[str, Any]) -> str:
    """Type of an event in the older form: `company.creation` for `object.creation`."""
    given: str = body["subscriptionType"]
    about, _, what = given.partition(".")
    if about != "object":
        return given
    is_bound = what == "associationChange"
    return f"{_ends(body)[0] if is_bound else _object(body.get('objectTypeId'))}.{what}"


def ignores(event: Event, options: Options) -> str | None:
    """Return why *event* changes no account under these *options*, or None."""
    rules, (about, _, what) = rules_of(options), event.type.partition(".")
    if event.type not in HANDLERS:
        return None
    if rules.deals is None and (about == "deal" or what == "associationChange"):
        return "deals are read only if there is a table [sources.hubspot.deals]"
    if what == "associationChange" and {*_ends(event.body)} != {*OBJECTS.values()}:
        return "it does not associate a deal with a company"
    return _unread(about, event.body, rules) if what == "propertyChange" else None


def wanted(about: str, rules: Rules) -> list[str]:
    """The properties of a `company` or a `deal` whose changes matter."""
    deals = rules.deals
    return [WON, *of_deal(deals)] if about == "deal" and deals else of_company(rules)


def subscriptions(options: Options) -> Iterator[tuple[str, str]]:
    """Yield the type of each subscription that is needed, and its property, or ""."""
    rules = rules_of(options)
    for one in HANDLERS:
        about, _, what = one.partition(".")
        if rules.deals or (about == "company" and what != "associationChange"):
            names = wanted(about, rules) if what == "propertyChange" else [""]
            yield from ((one, name) for name in names if name != COMPUTED)


def component(options: Options, url: str) -> dict[str, Any]:
    """The webhooks of a project on HubSpot's platform, as a file of the project has them.

    https://developers.hubspot.com/docs/apps/developer-platform/add-features/configure-webhooks
    """
    rows = [
        kept({"subscriptionType": one, "propertyName": name, "active": True})
        for one, name in subscriptions(options)
    ]
    settings = {"targetUrl": url, "maxConcurrentRequests": 10}
    config = {"settings": settings, "subscriptions": {"legacyCrmObjects": rows}}
    return {"uid": "vitally_bridge", "type": "webhooks", "config": config}


def _unread(about: str, body: Mapping[str, Any], rules: Rules) -> str | None:
    """Why a property does not matter; the schema rejects invalid names."""
    name = body.get("propertyName")
    if is_name(name) and name not in wanted(about, rules):
        return f"nothing is made of the property {name} of a {about}"
    if about == "company" and body.get("propertyValue") == REDACTED:
        return f"the property {name} is sensitive: HubSpot does not send its value"
    return None


def _object(id_: Any) -> str:
    return OBJECTS.get(id_, id_) if is_name(id_) else "object"


def _ends(body: Mapping[str, Any]) -> list[str]:
    """The kinds of records in an association: `["deal", "company"]`."""
    ends = [body.get("fromObjectTypeId"), body.get("toObjectTypeId")]
    if not all(map(is_name, ends)):
        words = body.get("associationType")
        name = words.lower().removesuffix("_unlabeled") if is_name(words) else ""
        ends = [*name.split("_to_")]
    return [_object(end) for end in ends]


def lacks(options: Options) -> Iterator[str]:
    """Yield what is missing to read deals."""
    if rules_of(options).deals and not options["HUBSPOT_ACCESS_TOKEN"]:
        yield "HubSpot's deals cannot be read: set HUBSPOT_ACCESS_TOKEN."


SOURCE = Source(
    name="hubspot",
    title="HubSpot",
    options=declared(Variables),
    enabled=lambda options: bool(options[VARIABLE]),
    verify=verify,
    split=split,
    ignores=ignores,
    handlers=HANDLERS,
    api=connect,
    archive=connect,
    key="HUBSPOT_ACCESS_TOKEN",
    crm=True,
    table=TABLE,
    weak=lambda options: weaknesses(VARIABLE, options[VARIABLE]),
    lacks=lacks,
    proof=lambda options: (auth.HUBSPOT, options[VARIABLE] or ()),
    events=lambda options: [" ".join(one).strip() for one in subscriptions(options)],
    component=component,
)
