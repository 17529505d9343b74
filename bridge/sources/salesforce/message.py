"""How an outbound message is read: SOAP in, records out; nothing here trusts the XML."""

from __future__ import annotations

from contextlib import suppress
from xml.etree.ElementTree import Element, ParseError, tostring

from defusedxml.ElementTree import fromstring

from bridge.errors import PayloadError
from bridge.webhook.source import Event, is_name
from bridge.webhook.values import milliseconds

OUTBOUND = "{http://soap.sforce.com/2005/09/outbound}"
TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"

Fields = dict[str, str | None]
"""Selected fields of a record: text, None where they are empty (`xsi:nil`)."""


def parse(body: bytes) -> Element:
    """Read a message without its session. Raises PayloadError.

    A DTD is refused, and with it every entity of the sender's own.
    """
    try:
        root: Element = fromstring(body, forbid_dtd=True)
    except (ParseError, ValueError, LookupError):
        raise PayloadError("the body is no XML that can be read") from None
    for parent in root.iter():
        for session in [one for one in parent if _name(one) == "SessionId"]:
            parent.remove(session)
    return root


def without_session(root: Element) -> bytes:
    """Return the message as it is kept. Raises PayloadError where it is too deep."""
    try:
        return tostring(root)
    except RecursionError:
        raise PayloadError("the body is too deep") from None


def organisations(root: Element) -> set[str]:
    """Ids of the organisations that a message says it is from; there should be one."""
    return {_text(one) for one in root.iter(f"{OUTBOUND}OrganizationId")}


def notifications(root: Element) -> list[Element]:
    """Return what a message tells, up to a hundred records."""
    return list(root.iter(f"{OUTBOUND}Notification"))


def event(told: Element) -> Event:
    """Read one of them: what its record was when it was sent. Raises PayloadError.

    A notification that is sent again tells the record as it is by then, so that an
    event is the notification and the version of the record.
    """
    id_ = (told.findtext(f"{OUTBOUND}Id") or "").strip()
    record = told.find(f"{OUTBOUND}sObject")
    if not is_name(id_) or record is None:
        raise PayloadError("a notification has no Id, or no record")
    kind = record.get(TYPE, "").rpartition(":")[2]
    if not is_name(kind):
        raise PayloadError("a record does not say what it is", id_)
    fields = {_name(field): _text(field) or None for field in record}
    at = version(fields)
    return Event(f"{id_}:{at}", kind, at, fields)


def version(fields: Fields) -> int:
    """When a record was last changed, in milliseconds; 0 where it does not say."""
    for name in ("SystemModstamp", "LastModifiedDate"):
        with suppress(ValueError):
            return milliseconds(fields.get(name) or "")
    return 0


def _name(element: Element) -> str:
    """An element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def _text(element: Element) -> str:
    return (element.text or "").strip()
