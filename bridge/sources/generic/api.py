"""Reads a sender's API as its table describes, for senders whose events contain little.

Only GET, and only to the host that the table names. The rules whose types are
`read.THING` read the replies. Errors never quote a key or a reply.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from bridge.domain.facts import Fact
from bridge.errors import SourceUnreadError
from bridge.sources.generic.values import read
from bridge.sources.http import HttpApi, as_read, understood
from bridge.webhook.fields import LATEST
from bridge.webhook.source import Event, Handler, json_value

MOST = 4 * 1024 * 1024
"""Most bytes of a reply that are read."""


class GenericApi:
    """Reads the API that the loaded table `read` of source *name* describes."""

    def __init__(
        self,
        name: str,
        table: Mapping[str, Any],
        key: str,
        handlers: Mapping[str, Handler],
    ) -> None:
        self._name = name
        self._table = table
        self._handlers = handlers
        proof = f"Bearer {key}"
        if table["scheme"] == "basic":
            pair = key if ":" in key else f"{key}:"
            proof = f"Basic {b64encode(pair.encode()).decode()}"
        usual = {"accept": "application/json"}
        self._http = HttpApi(
            title=urlsplit(table["base"]).netloc,
            key=table["key_env"][0],
            base=table["base"],
            headers={**usual, **table["headers"], "authorization": proof},
            most=MOST,
            read=json_value,
        )

    def owner(self, thing: str) -> str | None:
        """See `SourceApi.owner`."""
        kind, _, id_ = thing.partition(":")
        line = self._table["owners"].get(kind)
        if line is None:
            raise SourceUnreadError(f"read.owners has no {kind}")
        reply = self._http.get(line["url"], id_)
        owner = self._value(line, reply.body, "party") if reply else None
        return f"{self._name}:{owner}" if owner else None

    def probe(self) -> bool:
        """See `SourceApi.probe`; its table names no request without an id."""
        return False

    def party(self, party: str) -> list[Fact]:
        """See `SourceApi.party`."""
        id_, at = party.partition(":")[2], LATEST * 1000
        facts: list[Fact] = []
        for thing, line in self._table["things"].items():
            kind, reply = f"read.{thing}", self._http.get(line["url"], id_)
            if reply is None:
                return []
            at = min(at, reply.second)
            if kind in self._handlers:
                for body in self._bodies(line, reply.body):
                    event = Event(kind, kind, reply.second, {**body, "party": id_})
                    own = understood(self._facts, event, kind)
                    # Without the implied customer fact: another reply has the customer.
                    facts += [fact for fact in own if fact.event == kind]
        told: Any = {fact.thing: fact.value for fact in facts}
        return as_read(party, told.items(), at)

    def _facts(self, event: Event) -> list[Fact]:
        return list(self._handlers[event.type].facts(event, {}, {}))

    def _bodies(self, line: Mapping[str, Any], whole: Any) -> Iterator[dict[str, Any]]:
        """Objects of a reply, each with the objects *beside* it."""
        if self._value(line, whole, "more"):
            raise SourceUnreadError(f"{self._http.title} has more than one page")
        rows = self._value(line, whole, "each") if "each" in line else [whole]
        if rows is None or not all(isinstance(row, dict) for row in rows):
            raise SourceUnreadError(f"{self._http.title} gives no list of objects")
        for row in rows:
            yield row | {n: self._beside(b, row) for n, b in line["beside"].items()}

    def _beside(self, line: Mapping[str, Any], row: Any) -> Any:
        id_ = self._value(line, row, "id")
        reply = self._http.get(line["url"], id_) if id_ else None
        return reply.body if reply else None

    def _value(self, line: Mapping[str, Any], body: Any, name: str) -> Any:
        what = f"the reply of {self._http.title}"
        return understood(lambda whole: read(line, whole, name), body, what)
