"""Which of HubSpot's events are read, what for, and why the others are not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.sources.hubspot import facts, schemas
from bridge.sources.hubspot.rules import Rules, rules
from bridge.webhook.bodies import is_name
from bridge.webhook.source import Event, Handler, Options

OBJECTS = {"0-2": "company", "0-3": "deal"}
"""`objectTypeId` of the generic `object.*` events -> what the older types call it."""

WON = "dealstage"
"""The property of a deal that decides whether it is won."""

REDACTED = "REDACTED"
"""Told in place of the value of a sensitive property."""

HANDLERS: Mapping[str, Handler] = {
    "company.creation": Handler(
        schemas.RECORD, facts.begun, "a new company", creates=True
    ),
    "company.propertyChange": Handler(
        schemas.CHANGE,
        facts.changed,
        "name, account or one of the traits of `[sources.hubspot]` changed",
        creates=True,
    ),
    "company.deletion": Handler(
        schemas.RECORD, facts.deleted, "the company and its deals end"
    ),
    "company.restore": Handler(
        schemas.RECORD, facts.begun, "the company is back", creates=True
    ),
    "company.merge": Handler(
        schemas.MERGE, facts.merged, "the merged companies are one account from now on"
    ),
    "company.associationChange": Handler(
        schemas.ASSOCIATION, facts.associated, "the company got or lost a deal"
    ),
    "deal.creation": Handler(schemas.RECORD, facts.deal, "a deal that may be won"),
    "deal.propertyChange": Handler(
        schemas.CHANGE, facts.deal, "stage, amount, dates or name of a deal changed"
    ),
    "deal.deletion": Handler(schemas.RECORD, facts.deal, "the deal is gone"),
    "deal.restore": Handler(schemas.RECORD, facts.deal, "the deal is back"),
    "deal.merge": Handler(schemas.MERGE, facts.merged_deal, "two deals became one"),
    "deal.associationChange": Handler(
        schemas.ASSOCIATION, facts.associated, "the deal got or lost its company"
    ),
}


def kind(body: Mapping[str, Any]) -> str:
    """Type of an event in the older words: `company.creation` for `object.creation`."""
    said: str = body["subscriptionType"]
    about, _, what = said.partition(".")
    if about != "object":
        return said
    if what == "associationChange":
        return f"{_ends(body)[0]}.{what}"
    return f"{_object(body.get('objectTypeId'))}.{what}"


def ignores(event: Event, options: Options) -> str | None:
    """Return why *event* changes no account under these *options*, or None."""
    found, (about, _, what) = rules(options), event.type.partition(".")
    if event.type not in HANDLERS:
        return None
    if found.deals is None and (about == "deal" or what == "associationChange"):
        return "deals are read only where [sources.hubspot.deals] says so"
    if what == "associationChange" and {*_ends(event.body)} != {*OBJECTS.values()}:
        return "it binds no deal to a company"
    return _unread(about, event.body, found) if what == "propertyChange" else None


def _unread(about: str, body: Mapping[str, Any], rules: Rules) -> str | None:
    """Why a property does not matter; what is no property's name is for the schema."""
    name, deals = body.get("propertyName"), rules.deals
    wanted = [WON, *deals.properties] if about == "deal" and deals else rules.properties
    if is_name(name) and name not in wanted:
        return f"nothing is made of the property {name} of a {about}"
    if about == "company" and body.get("propertyValue") == REDACTED:
        return f"the property {name} is sensitive: its value is not told"
    return None


def _object(id_: Any) -> str:
    return OBJECTS.get(id_, id_) if is_name(id_) else "object"


def _ends(body: Mapping[str, Any]) -> tuple[str, str]:
    """What an association binds: `("deal", "company")`."""
    ids = body.get("fromObjectTypeId"), body.get("toObjectTypeId")
    if is_name(ids[0]) and is_name(ids[1]):
        return _object(ids[0]), _object(ids[1])
    words = body.get("associationType")
    if not is_name(words):
        return "object", "object"
    first, _, second = words.lower().removesuffix("_unlabeled").partition("_to_")
    return first, second
