"""The HTTP client for the APIs of all sources: JSON with GET and POST, and its errors.

Connections are kept alive. It does not retry and does not follow redirects. It raises
only SourceError, whose text never quotes a key, a reply or a customer.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from functools import cached_property, partial
from http import HTTPStatus
from math import floor
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from marshmallow import ValidationError

from bridge.deadline import left, within
from bridge.domain.facts import READ, Fact, Rank
from bridge.domain.values import REFRESHED, AnyValue
from bridge.errors import PayloadError, SourceError, SourceUnreadError
from bridge.webhook.source import Event, Page, json_object
from bridge.webhook.values import kept

TIMEOUT = 8.0
"""A request fails after this many seconds without a byte, or without a connection."""

GOOD = {HTTPStatus.OK, HTTPStatus.MULTI_STATUS}
"""Statuses of success; the second one if some objects of a batch do not exist."""

GONE = {HTTPStatus.NOT_FOUND, HTTPStatus.GONE}

ID = "{id}"
"""Stands for an object's id in a path."""

Json = dict[str, Any]


class Reply(NamedTuple):
    """The JSON of a reply, and the source's time (ms) no later than the request.

    The time is the reply's `Date`, less the time that the reply took.
    """

    body: Any
    at: int

    @property
    def second(self) -> int:
        """The last whole second (ms) that the reply covers completely.

        More may have happened in the current second after the source read its data. For
        sources whose events have no smaller unit.
        """
        return (self.at // 1000 - 1) * 1000


@dataclass(frozen=True, kw_only=True)
class HttpApi:
    """The API at *base* of the source *title*, whose key is in the setting *key*."""

    title: str
    key: str
    base: str
    headers: Mapping[str, str] = field(repr=False)
    does: str = "read"
    """What the key is for, in the error of a 403."""
    permission: re.Pattern[bytes] = re.compile(rb"(?!)")
    """Matches the names of permissions in the text of a 403."""
    missing: bytes = b""
    """Text in the body of a 400 that means that there is no such object."""
    wait: float = 2.0
    """Seconds to wait after a 429 without `Retry-After`."""
    timeout: float = TIMEOUT
    longest: float = 60.0
    """Most seconds from a request to the last byte of its reply, of a large list too."""
    most: int = 64 * 1024 * 1024
    """Most bytes of a reply that are read."""
    read: Callable[[bytes], Any] = json_object
    """Reads the body of a reply; raises PayloadError."""
    judge: Callable[[int, bytes], SourceError | None] = lambda *_: None
    """What the status and the body of a failure mean; None: what HTTP says."""

    def get(
        self, path: str, id_: str = "", query: Mapping[str, Any] | None = None
    ) -> Reply | None:
        """Read *path*, where `{id}` stands for *id_*; None: there is no such thing.

        What is empty in the *query* is left out.
        """
        # `..` would leave the folder of the path; no valid id has control characters or
        # lone surrogates.
        if ID in path and not (id_.isprintable() and id_.strip(".")):
            return None
        url = path.replace(ID, quote(id_, safe=""))
        if asked := kept(query or {}):
            url += f"?{urlencode(asked, doseq=True)}"
        return self._ask("GET", path, url)

    def post(self, path: str, asked: Json | None = None, **form: Any) -> Reply:
        """Read what is *asked* for with JSON, or with a *form* as urllib3 takes it."""
        reply = self._ask("POST", path, path, **(form or {"json": asked}))
        if reply is None:
            raise SourceError(f"{self.where} has no {path} (404)")
        return reply

    @property
    def where(self) -> str:
        """The API and its address, for messages; without what else a URL may contain."""
        address = urlsplit(self.base).netloc.rpartition("@")[2]
        return f"{self.title}'s API at {address}"

    def check_key(self, *paths: str) -> bool:
        """Ask for one thing of each list at *paths*. Raises SourceError.

        It is *refused* if the key may not read some, and then names all of these.
        """
        reasons = []
        for path in paths:
            try:
                self.get(path, query={"limit": 1})
            except SourceError as error:
                if not error.refused:
                    raise
                reasons.append(error.reason)
        if reasons:
            raise SourceError("; ".join(dict.fromkeys(reasons)), refused=True)
        return True

    @cached_property
    def _pool(self) -> Any:
        # Imported late, because the web process does not need it.
        from urllib3 import Timeout  # noqa: PLC0415

        from bridge.outgoing import pools  # noqa: PLC0415

        # The addresses of a host are tried in turn, each for the whole time-out.
        host = urlsplit(self.base).hostname
        addresses = len(socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM))
        timeout = Timeout(self.timeout, connect=self.timeout / addresses)
        own = {"Accept-Encoding": "gzip", "User-Agent": "vitally-bridge"}
        return pools(timeout=timeout, headers={**own, **self.headers})

    def _ask(self, method: str, path: str, url: str, **body: Any) -> Reply | None:
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - as above

        from bridge.outgoing import ask  # noqa: PLC0415 - as above

        began = time.monotonic()
        if (rest := left()) < self.timeout:
            body["timeout"] = rest
        try:
            with within(self.longest):
                reply, data = ask(
                    self._pool, method, self.base + url, self.most, **body
                )
        except (HTTPError, OSError, ValueError) as error:
            # ValueError: a key that is no valid header; its message would quote the key.
            kind = type(error).__name__
            raise SourceError(f"{self.where} does not answer ({kind})") from None
        took = time.monotonic() - began
        what = path.partition(f"/{ID}")[0]
        is_missing = reply.status == HTTPStatus.BAD_REQUEST and self.missing in data
        if reply.status in GONE or (is_missing and self.missing):
            return None
        if reply.status not in GOOD:
            raise self._failure(reply, data, what)
        try:
            at = parsedate_to_datetime(reply.headers["Date"]).timestamp() - took
            return Reply(self.read(data), floor(at * 1000))
        except (KeyError, PayloadError, TypeError, ValueError):
            reason = f"{self.title}'s reply about {what} cannot be read"
            raise SourceError(reason) from None

    def _failure(self, reply: Any, data: bytes, what: str) -> SourceError:
        """The error for a reply that is neither a success nor 404."""
        if (own := self.judge(reply.status, data)) is not None:
            return own
        match reply.status:
            case HTTPStatus.TOO_MANY_REQUESTS:
                after = reply.headers.get("Retry-After", "")
                wait = float(after) if re.fullmatch(r"[0-9]{1,9}", after) else self.wait
                return SourceError(f"{self.where} wants fewer requests (429)", wait)
            case HTTPStatus.UNAUTHORIZED:
                reason = f"{self.title} refuses {self.key} (401)"
                return SourceError(reason, refused=True)
            case HTTPStatus.FORBIDDEN:
                names = {name.decode() for name in self.permission.findall(data)}
                listed = ", ".join(sorted(names))
                lacks = f": it lacks the permission {listed}" if names else ""
                reason = f"{self.key} may not {self.does} {what} (403){lacks}"
                return SourceError(reason, refused=True)
        return SourceError(f"{self.where} answered {reply.status} about {what}")


def all_rows(page: Callable[[str], Page], after: str = "") -> Iterator[Any]:
    """Read a list to its end, from the place *after* on ("": its beginning).

    *page* returns what follows a place. Raises SourceUnreadError if that leads back.
    """
    places = set[str]()
    while after not in places:
        places.add(after)
        one = page(after)
        yield from one.rows
        if not (after := one.after):
            return
    raise SourceUnreadError("its list leads back to where it was")


def as_read(
    party: str, things: Iterable[tuple[str, AnyValue]], at: int, *, final: bool = False
) -> list[Fact]:
    """The facts of a *party* that was read at one instant of its source's clock (ms)."""
    tell = partial(read_at(at).fact, party, rank=Rank.FROM_API)
    told = [tell(thing, value, final=final) for thing, value in things]
    return [*told, refreshed(party, at)]


def refreshed(party: str, at: int) -> Fact:
    """The fact that a *party* was read *at* an instant (ms)."""
    return read_at(at).fact(party, REFRESHED, {}, Rank.FROM_API)


def read_at(at: int, body: Mapping[str, Any] | None = None) -> Event:
    """The event that stands for what was read of an API *at* an instant (ms)."""
    return Event(f"{READ}:{at}", READ, at, body or {})


def understood(read: Callable[[Any], Any], raw: Any, what: str) -> Any:
    """A reply as *read* loads it. Raises SourceUnreadError, which names the wrong fields."""
    try:
        return read(raw)
    except ValidationError as error:
        names = ", ".join(sorted(map(str, error.messages_dict)))
        raise SourceUnreadError(f"{what} is not understood: {names}") from None
