"""Reading a sender's own API, for one whose deliveries tell little.

GET alone, of the one host that its table names. What comes is read by the rules whose
types are `read.THING`. Nothing that is raised here quotes a key or a reply.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from math import floor
from time import monotonic
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from marshmallow import ValidationError
from urllib3 import PoolManager, Timeout, make_headers
from urllib3.exceptions import HTTPError

from bridge.domain.facts import Fact, Rank, Stamp
from bridge.domain.values import REFRESHED
from bridge.errors import PayloadError, SourceError, SourceUnreadError
from bridge.sources.generic.paths import read
from bridge.webhook.bodies import json_value
from bridge.webhook.encodings import segment
from bridge.webhook.fields import LATEST
from bridge.webhook.source import Event, Handler
from bridge.webhook.values import digest

TIMEOUT = 8.0
"""Seconds without a byte after which a request has failed."""

MOST = 4 * 1024 * 1024
"""Bytes of a reply that are read."""


class Reply(NamedTuple):
    """What the sender told; *at*: its clock (ms), not after it was asked."""

    body: Any
    at: int


class HttpReader:
    """See `Reader`; *said* is the loaded table `read` of source *name*."""

    def __init__(
        self,
        name: str,
        said: Mapping[str, Any],
        key: str,
        handlers: Mapping[str, Handler],
    ) -> None:
        self._name = name
        self._said = said
        self._handlers = handlers
        self._host = urlsplit(said["base"]).netloc
        proof = {"authorization": f"Bearer {key}"}
        if said["scheme"] == "basic":
            proof = make_headers(basic_auth=key if ":" in key else f"{key}:")
        self._pool = PoolManager(
            headers={"accept": "application/json", **said["headers"], **proof},
            timeout=Timeout(TIMEOUT),
            retries=False,
        )

    def owner(self, thing: str) -> str | None:
        """See `Reader.owner`."""
        kind, _, id_ = thing.partition(":")
        asked = self._said["owners"].get(kind)
        if asked is None:
            raise SourceUnreadError(f"read.owners has no {kind}")
        reply = self._get(asked["url"], id_)
        found = self._told(asked, "party", reply.body) if reply else None
        return f"{self._name}:{found}" if found else None

    def party(self, party: str) -> list[Fact]:
        """See `Reader.party`."""
        id_, at = party.partition(":")[2], LATEST * 1000
        found: dict[str, Fact] = {}
        for thing, asked in self._said["things"].items():
            reply = self._get(asked["url"], id_)
            if reply is None:
                return []
            at = min(at, reply.at)
            for body in self._bodies(asked, reply.body):
                kind = f"read.{thing}"
                event = Event(kind, kind, reply.at, {**body, "party": id_})
                found |= {f.thing: f for f in self._facts(event) if f.event == kind}
        return as_read(found.values(), party, at)

    def _facts(self, event: Event) -> list[Fact]:
        handler = self._handlers.get(event.type)
        try:
            return list(handler.facts(event, {}, {})) if handler else []
        except ValidationError as error:
            raise SourceUnreadError(f"{event.type}: {error.messages}") from None

    def _bodies(self, asked: Mapping[str, Any], whole: Any) -> Iterator[dict[str, Any]]:
        """Objects of a reply, each with those *beside* it that are read for it."""
        if self._told(asked, "more", whole):
            raise SourceUnreadError(f"{self._host} has more than one page")
        rows = self._told(asked, "each", whole) if "each" in asked else [whole]
        if rows is None or not all(isinstance(row, dict) for row in rows):
            raise self._unreadable()
        for row in rows:
            yield {
                **row,
                **{n: self._beside(b, row) for n, b in asked["beside"].items()},
            }

    def _beside(self, asked: Mapping[str, Any], row: Any) -> Any:
        id_ = self._told(asked, "id", row)
        reply = self._get(asked["url"], id_) if id_ else None
        return reply.body if reply else None

    def _told(self, asked: Mapping[str, Any], line: str, body: Any) -> Any:
        try:
            return read(asked, line, body)
        except ValidationError:
            raise self._unreadable() from None

    def _unreadable(self) -> SourceUnreadError:
        return SourceUnreadError(f"the reply of {self._host} cannot be read")

    def _get(self, path: str, id_: str) -> Reply | None:
        """Read one address; None where there is no such thing."""
        step = segment(id_)
        if step is None:
            return None
        url = self._said["base"] + path.replace("{id}", step)
        began = monotonic()
        try:
            reply = self._pool.request(
                "GET", url, redirect=False, preload_content=False
            )
            body = reply.read(MOST + 1, decode_content=True)
            reply.close()
        except HTTPError as error:
            kind = type(error).__name__
            raise SourceError(f"{self._host} does not answer ({kind})") from None
        if reply.status in {404, 410}:
            return None
        if reply.status != 200:  # noqa: PLR2004
            raise _failure(
                self._host, reply.status, reply.headers.get("retry-after", "")
            )
        took = monotonic() - began
        try:
            at = parsedate_to_datetime(reply.headers["date"]).timestamp() - took
            # Its events may know no smaller unit than a second.
            return Reply(json_value(body), (floor(at) - 1) * 1000)
        except (KeyError, PayloadError, TypeError, ValueError):
            raise self._unreadable() from None


def as_read(facts: Iterable[Fact], party: str, at: int) -> list[Fact]:
    """What was read of *party* at one instant (ms), and that it was read."""
    stamp = Stamp(False, at, Rank.FROM_API)
    reading = Fact(party, REFRESHED, stamp, "", "", {}, digest({}))
    return [
        fact._replace(party=party, stamp=stamp, event=f"read:{at}", kind="read")
        for fact in (*facts, reading)
    ]


def _failure(host: str, status: int, after: str) -> SourceError:
    wait = float(after) if after.isascii() and after.isdigit() else None
    return SourceError(f"{host} answered {status}", wait, refused=status in {401, 403})
