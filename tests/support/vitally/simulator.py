"""The simulated Vitally of the tests: switches, faults and a log on the product's."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from threading import Event
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson

from bridge.vitally.replies import GOOD
from bridge.vitally.simulator import EXAMPLE_KEY, WRITE_METHODS, stage
from tests.support.vitally.faults import Fault, fault, struck
from tests.support.vitally.network import (
    PLAYED,
    Answer,
    Exchange,
    Listening,
    gone,
    http_bytes,
)
from tests.support.vitally.switches import Switched, Switches
from tests.support.vitally.traffic import Entry, Traffic, monotonic_ms

_NO_FAULT = Fault("answer")
_PATH = re.compile(r"/resources/accounts/([^/]+)(/healthScores)?")


class Simulator(Switched):
    """A local Vitally whose network may fail, and which logs what it is asked."""

    def __init__(
        self, keys: tuple[str, ...] = (EXAMPLE_KEY,), switches: Switches | None = None
    ) -> None:
        self._first = (keys, switches or Switches())
        self._traffic = Traffic()
        self._faults: list[Fault] = []
        self.connections: set[socket.socket] = set()
        self.handler = partial(Listening, self)
        super().__init__(*self._first)

    def start(self) -> Simulator:
        self.stopping = Event()
        return super().start()

    def stop(self) -> None:
        """Close the port and every connection."""
        self.stopping.set()
        super().stop()
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def account(self, external_id: str) -> dict[str, Any] | None:
        """Return the account with this external id, with its `lifecycle`."""
        with self.lock:
            found = self.by_external_id.get(external_id)
            shown = self.shown(found) if found else None
        return shown and {**shown, "lifecycle": stage(shown)}

    def log(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the requests after number *since*, in the order of their arrival."""
        return self._traffic.entries(since)

    def writes(self) -> list[dict[str, Any]]:
        """Return the requests that write, in the order of their arrival."""
        return [entry for entry in self.log() if entry["method"] in WRITE_METHODS]

    def break_with(self, faults: list[Mapping[str, Any]]) -> None:
        """Add faults (`faults.fault` says their form); raises ValueError."""
        read = [fault(said) for said in faults]
        with self.lock:
            self._faults += read

    def mend(self) -> None:
        """Take every fault away."""
        with self.lock:
            self._faults.clear()

    def rotate(self, *keys: str) -> None:
        """Replace the keys that are taken; none: every key is refused."""
        with self.lock:
            self.keys = keys

    def reset(self) -> None:
        """Forget accounts, log, faults; keys and switches as in the beginning."""
        with self.lock:
            self.clear()
            self.keys, switches = self._first
            self._apply(switches)
            self._faults.clear()
            self._traffic.forget()

    def play(self, arrival: Listening) -> bool:
        """Answer a request, or fail to; False: close the connection."""
        path = urlsplit(arrival.path).path
        if path == "/":
            arrival.connection.sendall(http_bytes(arrival.answered()))
            return True
        body = _parsed(arrival.content)
        with self.lock:
            hit = struck(self._faults, arrival.command, path)
            account = self._external_id(arrival.command, path, body)
        entry = self._traffic.begin(
            lambda n: Entry(
                n,
                arrival.command,
                arrival.path,
                account,
                body,
                arrival.started,
                fault=hit.kind if hit else None,
            ),
            writes=arrival.command in WRITE_METHODS,
            gone=lambda: gone(arrival.connection),
        )
        exchange = Exchange(
            arrival.connection,
            entry,
            hit or _NO_FAULT,
            commit=lambda: self._committed(arrival, entry),
            idle=self._idle,
            end=self._traffic.end,
            stop=self.stopping,
        )
        try:
            return PLAYED[exchange.fault.kind](exchange)
        finally:
            self._traffic.end(entry)

    def _external_id(self, method: str, path: str, body: Any) -> str | None:
        """The external id of the account that a request is about."""
        if found := _PATH.fullmatch(path):
            name = unquote(found[1])
            account = self.find(name)
            return account["externalId"] if account else name
        is_creation = (method, path) == ("POST", "/resources/accounts")
        said = body.get("externalId") if isinstance(body, dict) else None
        return said if is_creation and isinstance(said, str) else None

    def _committed(self, arrival: Listening, entry: Entry) -> Answer:
        answer = self._in_form(arrival.answered())
        if arrival.command in WRITE_METHODS and answer.status in GOOD:
            entry.committed = monotonic_ms()
        entry.cost = 0 if answer.status in {401, 429} else self.cost(arrival.command)
        entry.remaining = int(answer.headers["RateLimit-Remaining"])
        return answer

    def _in_form(self, answer: Answer) -> Answer:
        """The answer as `error_form` and `retry_after` say."""
        headers, shown = answer.headers, _parsed(answer.body)
        if answer.status == 429 and self.switches.retry_after == "present":
            headers = {**headers, "Retry-After": headers["RateLimit-Reset"]}
        if answer.status not in GOOD and self.switches.error_form == "object":
            if isinstance(words := shown["error"], str):
                shown = {"error": {"message": words}}
            return answer._replace(headers=headers, body=orjson.dumps(shown))
        return answer._replace(headers=headers)

    def _idle(self) -> Answer:
        """An empty answer that costs nothing, with the rate limit as it is."""
        with self.lock:
            bucket = self.bucket(self.keys[0] if self.keys else "")
            return Answer(200, self.rate_headers(bucket), b"")


def _parsed(body: bytes) -> Any:
    """The JSON of *body*, or None where it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
