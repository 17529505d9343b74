"""How one of HubSpot's events becomes stamped facts about companies.

An event tells one property or none, so that each property is a thing of its own. What
only the API can tell is asked for by facts without content: of a company itself, or by
a pointer, which is held while there is no token.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from marshmallow import ValidationError, fields

from bridge.domain.facts import Fact, Rank, pointer
from bridge.domain.values import REFRESH_TWICE, TO_REFRESH, Value
from bridge.sources.hubspot.rules import OWNER, Rules, rules
from bridge.webhook.fields import UNREAD, Payload, Text, Whole, cleaned
from bridge.webhook.source import Event, Handlers, Options
from bridge.webhook.values import TraitMapping, kept

HANDLERS = Handlers()

PREFIX = "hubspot:"

Property = str | None
"""The value of a property: always a text; None where it was cleared."""


class Record(Payload):
    """An event about one record: https://developers.hubspot.com/docs/api-reference/webhooks-webhooks-v3/guide."""

    object_id = Whole(required=True, data_key="objectId")


class Change(Record):
    """A property got another value."""

    name = Text(255, required=True, data_key="propertyName")
    value = Text(1 << 16, data_key="propertyValue")


class Merge(Payload):
    """Records became one: the primary one, or a new one."""

    primary = Whole(required=True, data_key="primaryObjectId")
    merged = fields.List(Whole(), required=True, data_key="mergedObjectIds")
    new = Whole(data_key="newObjectId")


class Association(Payload):
    """Two records were bound together, or are not any more."""

    from_id = Whole(required=True, data_key="fromObjectId")
    to_id = Whole(required=True, data_key="toObjectId")


def told(
    company: str,
    said: Mapping[str, Property],
    rules: Rules,
    read: Callable[[TraitMapping, Property], Any],
) -> Iterator[tuple[str, Value]]:
    """Yield the things that the properties *said* tell of a *company*.

    *read* makes the trait of a text, or UNREAD.
    """
    if "name" in said:
        yield "name", {"name": shown(said["name"]), **named(company, rules)}
    if rules.account in said:
        yield "account", kept(account=stripped(said[rules.account]))
    for trait, line in rules.traits.items():
        value = read(line, said[line.field]) if line.field in said else UNREAD
        if value is not UNREAD:
            yield f"trait:{trait}", {"is": value, **named(company, rules)}


def named(company: str, rules: Rules) -> dict[str, str]:
    """The account of a company whose own id names it; else a property will tell."""
    return {} if rules.account else {"account": company}


def stripped(text: Property) -> Property:
    """Return *text* without blanks around it, None where nothing is left."""
    return (text or "").strip() or None


def shown(text: Property) -> Property:
    """The same for a name."""
    found = stripped(text)
    return found and cleaned(found)


@HANDLERS.on(
    Change(),
    {
        "company.propertyChange": "name, account or one of the traits of "
        "`[sources.hubspot]` changed"
    },
    creates={"company.propertyChange"},
)
def changed(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield what a property of a company tells."""
    found, company = rules(options), str(loaded["object_id"])
    name, text = loaded["name"], loaded["value"]
    for thing, value in told(company, {name: text}, found, _heard):
        yield event.fact(PREFIX + company, thing, value, Rank.UPDATED)
    if text and TraitMapping(name, OWNER) in found.traits.values():
        yield _ask(event, f"company:{company}")


@HANDLERS.on(
    Record(),
    {
        "company.creation": "a new company",
        "company.restore": "the company is back",
    },
    creates={"company.creation", "company.restore"},
)
def begun(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield a company that is new, or back."""
    company = str(loaded["object_id"])
    rank = Rank.CREATED if event.type == "company.creation" else Rank.UPDATED
    value = named(company, rules(options))
    yield event.fact(PREFIX + company, "customer", value, rank)
    yield event.fact(PREFIX + company, TO_REFRESH, {}, Rank.UPDATED)


@HANDLERS.on(Record(), {"company.deletion": "the company and its deals end"})
def deleted(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield a company's end, not final: it can be restored."""
    company = str(loaded["object_id"])
    value = {**named(company, rules(options)), "deleted": True}
    yield event.fact(PREFIX + company, "customer", value, Rank.CREATED)


@HANDLERS.on(
    Merge(),
    {"company.merge": "the merged companies are one account from now on"},
)
def merged(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the final end of companies that became one.

    Each belongs to the account of the one that is left, and goes on as it was until that
    one is known. Where a property names the account, only the API can tell it; it is
    asked once more where it was asked in the second of the merge.
    """
    found, left = rules(options), str(loaded["new"] or loaded["primary"])
    gone = {str(id_) for id_ in (loaded["primary"], *loaded["merged"])} - {left}
    for company in sorted(gone):
        value = {**named(left, found), "deleted": True, "into": PREFIX + left}
        yield event.fact(PREFIX + company, "customer", value, Rank.CREATED, final=True)
    asked = [left] if found.account or found.deals else []
    for company in asked + (sorted(gone) if found.account else []):
        yield _ask(event, f"company:{company}", **{REFRESH_TWICE: True})


@HANDLERS.on(
    Record(),
    {
        "deal.creation": "a deal that may be won",
        "deal.deletion": "the deal is gone",
        "deal.restore": "the deal is back",
    },
)
@HANDLERS.on(
    Change(),
    {"deal.propertyChange": "stage, amount, dates or name of a deal changed"},
)
def deal(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield that a deal's company has to be read."""
    yield _ask(event, f"deal:{loaded['object_id']}")


@HANDLERS.on(Merge(), {"deal.merge": "two deals became one"})
def merged_deal(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the same for the deal that is left."""
    yield _ask(event, f"deal:{loaded['new'] or loaded['primary']}")


@HANDLERS.on(
    Association(),
    {
        "company.associationChange": "the company got or lost a deal",
        "deal.associationChange": "the deal got or lost its company",
    },
)
def associated(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the same for a company that got or lost a deal."""
    side = "to_id" if event.type.startswith("deal.") else "from_id"
    yield _ask(event, f"company:{loaded[side]}")


def _heard(line: TraitMapping, text: Property) -> Any:
    """A trait as an event tells it; the name of a user is not in it."""
    if line.kind == OWNER:
        return UNREAD if text else None
    try:
        return line.convert(text)
    except ValueError as error:
        raise ValidationError({line.field: [f"It {error}."]}) from None


def _ask(event: Event, thing: str, **how: Any) -> Fact:
    return event.fact(pointer("hubspot", thing), TO_REFRESH, how, Rank.UPDATED)
