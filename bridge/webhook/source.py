"""The shape of a source: data that says how one sender's deliveries are read, and as what.

A delivery that is proved is split into events, and an event tells facts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NewType, Protocol, TypeGuard

import orjson
from marshmallow import Schema

from bridge.config import Lines, Table, check
from bridge.domain.facts import Fact, Stamp
from bridge.domain.values import AnyValue, Value
from bridge.errors import PayloadError
from bridge.settings import Option
from bridge.webhook.fields import BROKEN
from bridge.webhook.values import digest

LONGEST_ID = 255
"""Characters of an event's id and type."""

_MARK = orjson.dumps(BROKEN).strip(b'"')

_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""An escape of JSON; the group is half a pair of surrogates, without its other half."""

Options = Mapping[str, Any]
"""A source's own settings, parsed: the values of its `Source.options` by name."""


class Delivery(NamedTuple):
    """One HTTP request from a source; header names are lower case.

    A header that was sent twice is in *headers* as one value joined by a comma.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


Verified = NewType("Verified", Delivery)
"""A delivery whose sender has been proved; only a verifier makes one."""


class Event(NamedTuple):
    """One thing that happened; *body* is the parsed content, *at* in milliseconds.

    *refusal*: why this part of a delivery is no event that can be read; "" it is one.
    """

    id: str
    type: str
    at: int
    body: Mapping[str, Any]
    refusal: str = ""

    def fact(  # noqa: PLR0913 - the parts of a fact
        self,
        party: str,
        thing: str,
        value: AnyValue,
        rank: int,
        *,
        final: bool = False,
        at: int | None = None,
        essence: Value | None = None,
        before: str | None = None,
    ) -> Fact:
        """Return what this event tells of a *thing* of *party*.

        *at* (ms) is the thing's own version where it has one, *essence* the part of the
        value that every rendering of the event has alike. Raises ValidationError where
        the value could not be kept.
        """
        stamp = Stamp(final, self.at if at is None else at, rank)
        after = digest(value if essence is None else essence)
        return Fact(party, thing, stamp, self.id, self.type, value, after, before)


def json_value(body: bytes) -> Any:
    r"""Return what *body* says in JSON. Raises PayloadError.

    Half a character (`"\ud83d"`), which JSON can write and no text can hold, is read as
    BROKEN: an id with it is refused, a name is cleaned. A number is at most a double.
    """
    try:
        return orjson.loads(body)
    except (ValueError, RecursionError):
        mended = _ESCAPE.sub(lambda escape: _MARK if escape[1] else escape[0], body)
    try:
        return orjson.loads(mended)
    except (ValueError, RecursionError):
        raise PayloadError("the body is no JSON that can be read") from None


def json_object(body: bytes) -> dict[str, Any]:
    """Return the one JSON object that *body* is. Raises PayloadError."""
    value = json_value(body)
    if not isinstance(value, dict):
        raise PayloadError("the body is no JSON object")
    return value


def is_name(value: Any) -> TypeGuard[str]:
    """Whether *value* can be the id or the type of an event."""
    if type(value) is not str or not 0 < len(value) <= LONGEST_ID:
        return False
    return value.isprintable()


def refused(error: PayloadError) -> Event:
    """Return the event that stands for what cannot be read as one."""
    return Event(error.event or "", "", 0, {}, error.reason)


def each(make: Callable[[Any], Event], parts: Sequence[Any]) -> Iterator[Event]:
    """Yield the event that *make* reads of each part of a batch.

    A part that is none does not stop the others: it is an event with its refusal. Where
    it is all there is, its PayloadError is raised.
    """
    for part in parts:
        try:
            yield make(part)
        except PayloadError as error:
            if len(parts) == 1:
                raise
            yield refused(error)


Facts = Callable[[Event, Any, Options], Iterable[Fact]]
"""(event, what its schema made of the body, options) -> what the event tells."""


@dataclass(frozen=True, slots=True)
class Handler:
    """How one type of event is validated, what facts it yields, and why we want it."""

    schema: Schema
    facts: Facts
    meaning: str
    creates: bool = False
    """True where the event may be the first of an account (`create_account`)."""


class Handlers(dict[str, Handler]):
    """Type of an event -> its handler; each function that makes facts adds its own."""

    def on(
        self, schema: Schema, meanings: Mapping[str, str], creates: Collection[str] = ()
    ) -> Callable[[Facts], Facts]:
        """Let a function read the types in *meanings*; those in *creates* begin accounts."""

        def add(facts: Facts) -> Facts:
            for kind, meaning in meanings.items():
                self[kind] = Handler(schema, facts, meaning, kind in creates)
            return facts

        return add


class SourceApi(Protocol):
    """A source's own API, asked by the worker; both raise SourceError.

    The facts' stamps hold the last whole instant that the reply surely contains, with
    rank FROM_API; their event is `read:<that instant, ms>`, their kind `read`.
    """

    def party(self, party: str) -> Sequence[Fact]:
        """All that the source has of *party*; empty where it knows no such party."""

    def owner(self, thing: str) -> str | None:
        """The party that *thing* (`subscription:sub_1`) belongs to; None: it is gone."""


class Weakness(NamedTuple):
    """What is weak about a secret; *refused*: the processes do not start with it."""

    text: str
    refused: bool = True


class Page(NamedTuple):
    """A part of a list; *after* says where it goes on, "" that it does not."""

    rows: Sequence[Any]
    after: str


class Archive(SourceApi, Protocol):
    """An API that can list, too; each call is one request. Both raise SourceError."""

    def parties(self, since: int | None, after: str) -> Page:
        """Parties that began *since* (seconds), those that follow the party *after*.

        In an order that stays; a new one comes before all others.
        """

    def events(self, since: int, after: str) -> Page:
        """Bodies (JSON objects) of the events since then that its handlers read."""


def read_by(schema: Schema) -> Callable[[Mapping[str, Any]], Table]:
    """Read a source's table by a *schema* that makes a Table of it."""

    def table(lines: Mapping[str, Any]) -> Table:
        loaded, problems = check(schema, lines)
        return Table(problems=problems) if problems else loaded

    return table


NO_TABLE = read_by(Lines())
"""Of a source that has no lines there."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a sender wants to read where a delivery became ours."""

    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Source:
    """All the bridge knows about one sender of webhooks."""

    name: str
    title: str
    options: tuple[Option, ...]
    enabled: Callable[[Options], bool]
    verify: Callable[[Delivery, Options, float], Verified]
    """(delivery, options, now in seconds) -> Verified, or raises SignatureError."""
    split: Callable[[Verified], Iterable[Event]]
    """Events of a delivery, those that cannot be read too (`Event.refusal`); raises
    PayloadError where the body as a whole cannot be read."""
    ignores: Callable[[Event, Options], str | None] = lambda *_: None
    """The reason to ignore an event whatever its type is, or None."""
    handlers: Mapping[str, Handler] = field(default_factory=dict)
    without_effect: Mapping[str, str] = field(default_factory=dict)
    """Types that one might expect to be read -> why they are not."""
    api: Callable[[Options], SourceApi | None] = lambda _: None
    """The source's own API; None without its key, or where deliveries tell everything."""
    archive: Callable[[Options], Archive | None] | None = None
    """The same where it can list, too; else None."""
    key: str = ""
    """Name of the setting with the key of the API."""
    answer: Answer | None = None
    """What is answered in place of 202 and a receipt."""
    crm: bool = False
    """Knows customers better than money: comes last where a trait is about money."""
    table: Callable[[Mapping[str, Any]], Table] = NO_TABLE
    """Reads the source's own table of `bridge.toml`."""
    weak: Callable[[Options], Iterable[Weakness]] = lambda _: ()
    """What is weak about the secrets that guard it, where it is on."""
