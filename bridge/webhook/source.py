"""The definition of a source: data and functions that read one sender's deliveries.

A delivery is verified and split into events, and each event yields facts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, NewType, Protocol, TypeGuard

import orjson
from marshmallow import Schema

from bridge.config import USED, Lines, Table, check
from bridge.domain.facts import Fact, Stamp
from bridge.domain.forecast import TRAITS as FORECASTS
from bridge.domain.traits import OPTIONAL
from bridge.domain.values import AnyValue, Value
from bridge.errors import PayloadError
from bridge.settings import Option
from bridge.webhook.fields import BROKEN
from bridge.webhook.values import digest

LONGEST_ID = 255
"""Most characters of an event's id and type."""

_MARK = orjson.dumps(BROKEN).strip(b'"')

_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""An escape in JSON; the group matches a lone surrogate."""

Options = Mapping[str, Any]
"""A source's own settings, parsed: the values of its `Source.options` by name."""


class Delivery(NamedTuple):
    """One HTTP request from a source; header names are lower case.

    A header that was sent twice is in *headers* as one value joined by a comma. *id* is
    the bridge's own; "": it did not come over HTTP.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    id: str = ""


Verified = NewType("Verified", Delivery)
"""A delivery whose sender is verified; only a verifier makes one."""


def pays(options: Options) -> bool:
    """Whether a trait about payments is in use, so that they are taken in."""
    return any(OPTIONAL[name].about == "payers" for name in options.get(USED, ()))


def forecasts(options: Options) -> bool:
    """Whether a forecast is in use."""
    return not FORECASTS.isdisjoint(options.get(USED, ()))


def grants(options: Options) -> bool:
    """Whether a trait in use counts credit grants."""
    return "creditBalance" in options.get(USED, ())


Wants = Callable[[Options], bool]
"""One of these functions."""


class Event(NamedTuple):
    """One thing that happened; *body* is the parsed content, *at* in milliseconds.

    *refusal*: why this part of a delivery cannot be read as an event; "": it can.
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
        """Return the fact of this event about a *thing* of *party*.

        *at* (ms) is the thing's own version, if it has one. *essence* is the part of the
        value that is equal in every rendering of the event. Raises ValidationError if
        the value cannot be stored.
        """
        stamp = Stamp(final, self.at if at is None else at, rank)
        after = digest(value if essence is None else essence)
        return Fact(party, thing, stamp, self.id, self.type, value, after, before)


def json_value(body: bytes) -> Any:
    r"""Parse *body* as JSON. Raises PayloadError.

    Half a character (`"\ud83d"`), which JSON can contain but no text can, becomes
    BROKEN: an id with it is refused, a name is cleaned. Numbers are at most doubles.
    """
    try:
        return orjson.loads(body)
    except (ValueError, RecursionError):
        mended = _ESCAPE.sub(lambda escape: _MARK if escape[1] else escape[0], body)
    try:
        return orjson.loads(mended)
    except (ValueError, RecursionError):
        raise PayloadError("the body is not valid JSON") from None


def json_object(body: bytes) -> dict[str, Any]:
    """Parse *body* as one JSON object. Raises PayloadError."""
    value = json_value(body)
    if not isinstance(value, dict):
        raise PayloadError("the body is not a JSON object")
    return value


def is_name(value: Any) -> TypeGuard[str]:
    """Whether *value* can be the id or the type of an event."""
    if type(value) is not str or not 0 < len(value) <= LONGEST_ID:
        return False
    return value.isprintable()


def refused(error: PayloadError) -> Event:
    """Return an event that stands for something that cannot be read."""
    return Event(error.event or "", "", 0, {}, error.reason)


def each(make: Callable[[Any], Event], parts: Sequence[Any]) -> Iterator[Event]:
    """Yield the event that *make* returns for each part of a batch.

    A part that cannot be read becomes an event with a refusal, so it does not stop the
    others. If there is only one part, its PayloadError is raised.
    """
    for part in parts:
        try:
            yield make(part)
        except PayloadError as error:
            if len(parts) == 1:
                raise
            yield refused(error)


Facts = Callable[[Event, Any, Options], Iterable[Fact]]
"""(event, its body as the schema loaded it, options) -> the event's facts."""


@dataclass(frozen=True, slots=True)
class Handler:
    """How one type of event is validated, what facts it yields, and why we want it."""

    schema: Schema
    facts: Facts
    meaning: str
    creates: bool = False
    """Whether the event may be the first of an account (`create_account`)."""


class Handlers(dict[str, Handler]):
    """Type of an event -> its handler; functions that yield facts register with `on`."""

    def on(
        self, schema: Schema, meanings: Mapping[str, str], creates: Collection[str] = ()
    ) -> Callable[[Facts], Facts]:
        """Register a function for the types in *meanings*; those in *creates* begin accounts."""

        def add(facts: Facts) -> Facts:
            for kind, meaning in meanings.items():
                self[kind] = Handler(schema, facts, meaning, kind in creates)
            return facts

        return add


class SourceApi(Protocol):
    """A source's own API, which the worker calls. All methods raise SourceError.

    The facts are stamped with the last instant that the reply surely covers and rank
    FROM_API; their event is `read:<that instant, ms>`, their kind `read`. A thing with a
    version of its own may be stamped with that instead. The last fact is REFRESHED.
    """

    def party(self, party: str) -> Sequence[Fact]:
        """Everything the source has about *party*; empty if it knows no such party."""

    def owner(self, thing: str) -> str | None:
        """The party that *thing* (`subscription:sub_1`) belongs to; None: it no longer exists."""

    def probe(self) -> bool:
        """Check that the key may read what the bridge reads; False: that cannot be asked."""


class Weakness(NamedTuple):
    """What is weak about a secret; *refused*: the processes do not start with it."""

    text: str
    refused: bool = True


class Page(NamedTuple):
    """A page of a list; *after* is where the next one begins, "" if there is none.

    *note* is what a person should know of it, such as what was passed over. *at* is the
    last instant (ms) that it surely covers, if it comes with a time.
    """

    rows: Sequence[Any]
    after: str
    note: str = ""
    at: int = 0


class SourceChange(NamedTuple):
    """Something that happened at a source, as a list of its API shows it.

    *at* is when, in milliseconds on the source's clock. It has the *body* of an event
    (JSON, as a webhook has it); or, from a source that lists no events, the *facts* of
    one party as they are now, stamped like those of `SourceApi.party`; like those they
    have to be `restamped` before they are taken in. *is_new*: the party began then, so
    the bridge must know it.
    """

    at: int
    body: Mapping[str, Any] | None = None
    facts: Sequence[Fact] = ()
    born: int = 0


class Archive(SourceApi, Protocol):
    """An API that can also list; a page is a request or a few. Both raise SourceError."""

    def parties(self, since: int | None, after: str) -> Page:
        """Parties created *since* (seconds), those that follow the party *after*.

        The order is stable; a new party comes before all others, or after them.
        """

    def changes(self, since: int, until: int, after: str) -> Page:
        """Each `SourceChange` from *since* to *until* (ms), of kinds that matter to us.

        Those that follow *after*, the place in which the page before ended. Where that is
        in a list that is read no more, as `bridge.toml` was changed: SourceUnreadError.
        """


class SetUp(NamedTuple):
    """What was done at a sender about one endpoint, or is to be done.

    It sends the events of *whom*. Its *secret* is told only where it was created. *left*:
    what a person has to do about it; *notes*: what a person may want to know.
    """

    did: str
    """`created`, `changed`, or `unchanged`."""
    id: str
    whom: str
    added: Sequence[str] = ()
    removed: Sequence[str] = ()
    secret: str | None = None
    left: Sequence[str] = ()
    notes: Sequence[str] = ()


def read_by(
    schema: Schema, make: Callable[[Any], Table] = lambda loaded: loaded
) -> Callable[[Mapping[str, Any]], Table]:
    """Return a reader of a source's table; *make* turns what *schema* loads into a Table."""

    def table(lines: Mapping[str, Any]) -> Table:
        loaded, problems = check(schema, lines)
        return Table(problems=problems) if problems else make(loaded)

    return table


NO_TABLE = read_by(Lines())
"""For a source without lines of its own."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What a sender expects to be answered once its delivery is accepted."""

    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Source:
    """Everything the bridge knows about one sender of webhooks."""

    name: str
    title: str
    options: tuple[Option, ...]
    enabled: Callable[[Options], bool]
    verify: Callable[[Delivery, Options, float], Verified]
    """(delivery, options, now in seconds) -> Verified, or raises SignatureError."""
    split: Callable[[Verified], Iterable[Event]]
    """The events of a delivery, including those that cannot be read (`Event.refusal`).
    Raises PayloadError if the whole body cannot be read."""
    headers: Collection[str] = ()
    """Names of the headers that events are read from, in lower case."""
    ignores: Callable[[Event, Options], str | None] = lambda *_: None
    """The reason to ignore an event, whatever its type; else None."""
    handlers: Mapping[str, Handler] = field(default_factory=dict)
    optional: Mapping[Wants, Mapping[str, Handler]] = field(default_factory=dict)
    """More of them, while `[traits] use` wants them."""
    without_effect: Mapping[str, str] = field(default_factory=dict)
    """Types that one might expect to matter -> why they do not."""
    api: Callable[[Options], SourceApi | None] = lambda _: None
    """The source's own API; None without its key, or if deliveries contain everything."""
    archive: Callable[[Options], Archive | None] | None = None
    """The same, if the API can also list; else None."""
    keeps_days: int = 0
    """How many days back its API can list what happened; 0: without limit."""
    unlisted: Callable[[Options], str] = lambda _: ""
    """What that list leaves out; "": nothing."""
    key: str = ""
    """Name of the setting with the key of the API."""
    ack: Acknowledgement | None = None
    """What is answered instead of 202 and a receipt."""
    crm: bool = False
    """Whether it knows customers better than money, and so comes last for money traits."""
    table: Callable[[Mapping[str, Any]], Table] = NO_TABLE
    """Reads the source's own table of `bridge.toml`."""
    weak: Callable[[Options], Iterable[Weakness]] = lambda _: ()
    """Weaknesses of the secrets that guard it, if it is on."""
    lacks: Callable[[Options], Iterable[str]] = lambda _: ()
    """Why it cannot do what its settings ask for, if it is on."""
    proof: Callable[[Options], tuple[Any, Sequence[str]]] = lambda _: (None, ())
    """How it authenticates, and its secrets, for `auth.prove`."""
    fitted: Callable[[bytes, Options], bytes] = lambda *given: given[0]
    """Fits one of its recorded deliveries to the settings, so that it has an effect."""
    events: Callable[[Options], Sequence[str]] | None = None
    """The types of events that its endpoint must send; None: all that have a handler."""
    component: Callable[[Options, str], Any] = lambda *_: None
    """(options, URL) -> the same as a file for the sender's own tools; None: it has none."""
    set_up: Callable[..., Iterable[SetUp]] | None = None
    """(options, URL, the options of `setup`) -> its endpoints, each once it is done.
    Raises SourceError, ConfigError. None: only a person can set it up."""
    link: Callable[[Options], str] = lambda _: ""
    """The address of a subscription's page, with `{}` for its id; "": not known."""
    recipe: str = ""
    """The recipe that its table names."""

    def handler(self, kind: str, options: Options) -> Handler | None:
        """How events of this *kind* are read; None: they have no effect."""
        more = (own for is_wanted, own in self.optional.items() if is_wanted(options))
        return next((own[kind] for own in (self.handlers, *more) if kind in own), None)

    @property
    def secret(self) -> str:
        """Name of the setting with the secret that guards it."""
        return next(option.name for option in self.options if option.secret)

    def missing(self, options: Options) -> str:
        """Name of the first setting that it lacks to be on, while it is off."""
        names = [option.name for option in self.options]
        return next((name for name in names if not options.get(name)), names[0])
