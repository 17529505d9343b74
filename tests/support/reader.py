"""A source read without signature and storage: the ingress's way, then the worker's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from bridge.config import USED, Table
from bridge.domain.account import Identity, Party, identify, unite
from bridge.domain.document import Document, document
from bridge.domain.facts import Fact, PartyKind, PartyName
from bridge.domain.fold import History, compact, fold
from bridge.domain.money import STRIPE
from bridge.webhook.source import Delivery, Event, Source, Verified
from tests.support.lives import by_party


class Reader:
    """A *source* under a *table* of `bridge.toml` and *options* of the environment."""

    def __init__(
        self, source: Source, table: Mapping[str, Any] | None = None, **options: Any
    ) -> None:
        read = source.table(table) if table else Table()
        assert not read.problems
        defaults = {option.name: option.default for option in source.options}
        self.source = source
        self.options = {**defaults, **options, **read.values}
        self.use = frozenset(options.get(USED, ())) | {*read.computed}

    def events(self, *bodies: Any) -> list[Event]:
        """The events of deliveries: bytes as they are, anything else as JSON."""
        raw = (b if isinstance(b, bytes) else json.dumps(b).encode() for b in bodies)
        deliveries = (Verified(Delivery("POST", "/", {}, body)) for body in raw)
        return [event for one in deliveries for event in self.source.split(one)]

    def facts(self, *bodies: Any) -> list[Fact]:
        """What deliveries tell; nothing of what is ignored."""
        return [*self.facts_of(self.events(*bodies))]

    def facts_of(self, events: Iterable[Event]) -> Iterator[Fact]:
        """The same of events."""
        for event in events:
            handler = self.source.handler(event.type, self.options)
            if handler is not None and self.source.ignores(event, self.options) is None:
                loaded = handler.schema.load(event.body)
                yield from handler.facts(event, loaded, self.options)

    def why_not(self, body: Any) -> str:
        """Why the one event of a delivery is ignored; "" it is not."""
        (event,) = self.events(body)
        if self.source.handler(event.type, self.options) is None:
            return f"no handler of {event.type}"
        return self.source.ignores(event, self.options) or ""

    def outcome(self, *bodies: Any, now: int = 0) -> tuple[set[Identity], Document]:
        """Whose the deliveries' parties are, and the document of them as one account.

        It is the same in whatever order the events come, and twice over.
        """
        told = [[*self.facts_of([event])] for event in self.events(*bodies)]
        crm = frozenset({self.source.name} if self.source.crm else ())
        policy = STRIPE._replace(crm=crm, use=self.use)
        found = []
        for order in (told, told[::-1], [*told[::2], *told]):
            parties = folded(chain.from_iterable(order))
            names = {identify(party.things) for party in parties}
            found.append((names, document(unite("account", parties), policy, now)))
        assert all(one == found[0] for one in found)
        return found[0]


def folded(facts: Iterable[Fact]) -> list[Party]:
    """The parties of these facts, compacted and folded, each with its source's catalogue."""
    things = {
        PartyName.parse(party): fold(compact(History(own)))
        for party, own in by_party(facts).items()
    }
    shared = {
        name.id: own for name, own in things.items() if name.kind == PartyKind.CATALOGUE
    }
    return [
        Party(f"{name.source}:{name.id}", own, shared)
        for name, own in things.items()
        if name.kind != PartyKind.CATALOGUE
    ]
