"""Reading a sender's own API, for one whose deliveries tell little.

GET alone, of the one host that its table names. What comes is read by the rules whose
types are `read.THING`. Nothing that is raised here quotes a key or a reply.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from marshmallow import ValidationError

from bridge.domain.facts import Fact, Rank, Stamp
from bridge.domain.values import REFRESHED
from bridge.errors import SourceUnreadError
from bridge.sources.generic.paths import read
from bridge.sources.http import HttpApi
from bridge.webhook.fields import LATEST
from bridge.webhook.source import Event, Handler
from bridge.webhook.values import digest

MOST = 4 * 1024 * 1024
"""Bytes of a reply that are read."""


class GenericApi:
    """Reads the API that the loaded table `read` of source *name* describes."""

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
        proof = f"Bearer {key}"
        if said["scheme"] == "basic":
            pair = key if ":" in key else f"{key}:"
            proof = f"Basic {b64encode(pair.encode()).decode()}"
        self._http = HttpApi(
            title=urlsplit(said["base"]).netloc,
            key=said["key_env"][0],
            base=said["base"],
            headers={
                "accept": "application/json",
                **said["headers"],
                "authorization": proof,
            },
            most=MOST,
        )

    def owner(self, thing: str) -> str | None:
        """See `SourceApi.owner`."""
        kind, _, id_ = thing.partition(":")
        asked = self._said["owners"].get(kind)
        if asked is None:
            raise SourceUnreadError(f"read.owners has no {kind}")
        reply = self._http.get(asked["url"], id_)
        found = self._told(asked, "party", reply.body) if reply else None
        return f"{self._name}:{found}" if found else None

    def party(self, party: str) -> list[Fact]:
        """See `SourceApi.party`."""
        id_, at = party.partition(":")[2], LATEST * 1000
        found: dict[str, Fact] = {}
        for thing, asked in self._said["things"].items():
            reply = self._http.get(asked["url"], id_)
            if reply is None:
                return []
            at = min(at, reply.second)
            for body in self._bodies(asked, reply.body):
                kind = f"read.{thing}"
                event = Event(kind, kind, reply.second, {**body, "party": id_})
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
            raise SourceUnreadError(f"{self._http.title} has more than one page")
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
        reply = self._http.get(asked["url"], id_) if id_ else None
        return reply.body if reply else None

    def _told(self, asked: Mapping[str, Any], line: str, body: Any) -> Any:
        try:
            return read(asked, line, body)
        except ValidationError:
            raise self._unreadable() from None

    def _unreadable(self) -> SourceUnreadError:
        return SourceUnreadError(f"the reply of {self._http.title} cannot be read")


def as_read(facts: Iterable[Fact], party: str, at: int) -> list[Fact]:
    """What was read of *party* at one instant (ms), and that it was read."""
    stamp = Stamp(False, at, Rank.FROM_API)
    reading = Fact(party, REFRESHED, stamp, "", "", {}, digest({}))
    return [
        fact._replace(party=party, stamp=stamp, event=f"read:{at}", kind="read")
        for fact in (*facts, reading)
    ]
