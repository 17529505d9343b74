"""Salesforce's side in a test: outbound messages and the URL that they go to."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from urllib.parse import quote
from xml.sax.saxutils import escape

ORG = "00Dxx0000000001EAA"
TOKEN = "example-webhook-token"
SESSION = "00Dxx0000000001!ExampleSessionOfAnAdministrator"

ACCOUNT = "001xx000003DGb1AAG"
DEAL = "006xx000001a2bcAAA"

_numbers = itertools.count(1)


def url(base: str = "http://bridge.example", token: str = TOKEN) -> str:
    return f"{base}/webhooks/salesforce?token={quote(token)}"


def message(*notifications: str, org: str = ORG, session: str = SESSION) -> bytes:
    """A whole message; its session is one that must never be kept."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"'
        ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>'
        '<notifications xmlns="http://soap.sforce.com/2005/09/outbound">'
        f"<OrganizationId>{org}</OrganizationId><ActionId>04kxx0000000001</ActionId>"
        f"<SessionId>{session}</SessionId>{''.join(notifications)}"
        "</notifications></soapenv:Body></soapenv:Envelope>"
    ).encode()


def notification(kind: str, id_: str | None = None, **fields: str | None) -> str:
    """One record; a field that is None is said to be nil."""
    name = id_ or f"04lxx{next(_numbers):010d}AAA"
    return (
        f'<Notification><Id>{name}</Id><sObject xsi:type="sf:{kind}"'
        ' xmlns:sf="urn:sobject.enterprise.soap.sforce.com">'
        f"{''.join(_field(*one) for one in fields.items())}</sObject></Notification>"
    )


def _field(name: str, value: str | None) -> str:
    if value is None:
        return f'<sf:{name} xsi:nil="true"/>'
    return f"<sf:{name}>{escape(value)}</sf:{name}>"


def stamp(minute: int) -> Mapping[str, str]:
    """The version of a record: a minute of 2026-11-01."""
    hours, minutes = divmod(minute, 60)
    return {"SystemModstamp": f"2026-11-01T{hours:02d}:{minutes:02d}:00.000Z"}


def account(minute: int = 0, **fields: str | None) -> str:
    own = {"Id": ACCOUNT, "Name": "Blue Door", **stamp(minute)}
    return notification("Account", **{**own, **fields})


def deal(minute: int = 0, *, won: bool = True, **fields: str | None) -> str:
    own = {"Id": DEAL, "AccountId": ACCOUNT, "IsWon": str(won).lower(), **stamp(minute)}
    return notification("Opportunity", **{**own, **fields})
