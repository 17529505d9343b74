"""The simulated Vitally of the tests: switches, faults and a log on the product's."""

from __future__ import annotations

import io
import re
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields
from email.utils import formatdate
from functools import partial
from threading import Event, Lock
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson
from werkzeug.test import run_wsgi_app

from bridge.vitally.replies import GOOD
from bridge.vitally.simulator import EXAMPLE_KEY, WRITE_METHODS, Handler
from tests.support.vitally.network import (
    Answer,
    Entry,
    Exchange,
    Fault,
    gone,
    http_bytes,
)
from tests.support.vitally.switches import Switched, in_the_beginning

ANALYTICS = "/analytics/"
PATH = re.compile(r"/resources/(account|organization)s(?:/([^/]+)(/healthScores)?)?")


def monotonic_ms() -> float:
    return time.monotonic() * 1000


class Listening(Handler):
    """Keeps connections, and lets the *simulator* play each request with its fault."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __init__(self, simulator: Simulator, *of_the_server: Any) -> None:
        self.simulator = simulator
        super().__init__(*of_the_server)

    def setup(self) -> None:
        super().setup()
        self.simulator.connections.add(self.connection)

    def finish(self) -> None:
        self.simulator.connections.discard(self.connection)
        super().finish()

    def parse_request(self) -> bool:
        self.started = monotonic_ms()
        return super().parse_request()

    def run_wsgi(self) -> None:
        length = self.headers.get("Content-Length", "0")
        self.content = self.rfile.read(int(length)) if length.isdigit() else b""
        self.close_connection |= not self.simulator.play(self)

    def answered(self) -> Answer:
        """Do what the request asks."""
        environ = self.make_environ() | {"wsgi.input": io.BytesIO(self.content)}
        parts, status, headers = run_wsgi_app(self.simulator.answer, environ)
        return Answer(int(status[:3]), dict(headers), b"".join(parts))


class Simulator(Switched):
    """A local Vitally whose network may fail, and which logs what it is asked."""

    def __init__(self, keys: tuple[str, ...] = (EXAMPLE_KEY,), **switches: Any) -> None:
        self._first = (keys, switches)
        self._log_lock = Lock()
        self._log: list[Entry] = []
        self._in_flight: dict[int, tuple[Entry, socket.socket]] = {}
        self._faults: list[Fault] = []
        self.connections: set[socket.socket] = set()
        self.handler = partial(Listening, self)
        super().__init__(keys, **switches)

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
        """Return the account with this external id, with its `lifecycle`.

        `organization:ID` is the organization with that external id.
        """
        id_ = external_id.removeprefix("organization:")
        of = self if id_ == external_id else self.organizations
        with self.lock:
            found = of.by_external_id.get(id_)
            shown = of.shown(found) if found else None
        return shown and {**shown, "lifecycle": self.stage(shown)}

    def log(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the requests after number *since*, in the order of their arrival."""
        with self._log_lock:
            names = [field.name for field in fields(Entry)]
            return [{n: getattr(e, n) for n in names} for e in self._log[since:]]

    def writes(self) -> list[dict[str, Any]]:
        """Return the REST requests that write, in the order of their arrival."""
        of_rest = (one for one in self.log() if not one["path"].startswith(ANALYTICS))
        return [entry for entry in of_rest if entry["method"] in WRITE_METHODS]

    def batches(self) -> list[dict[str, Any]]:
        """Return the requests to the Analytics API, in the order of their arrival."""
        return [one for one in self.log() if one["path"].startswith(ANALYTICS)]

    def instances(self) -> dict[str, dict[str, Any]]:
        """Return the instances of custom objects by their external ids."""
        with self.lock:
            self.custom_objects.catch_up()
            every = self.custom_objects.instances.values()
            return {str(one["externalId"]): {**one} for one in every}

    def forget(self) -> None:
        """Forget the requests up to now."""
        with self._log_lock:
            self._log.clear()

    def break_with(self, faults: list[Mapping[str, Any]]) -> None:
        """Add faults: the fields of `Fault`; the first that strikes has the request."""
        read = [Fault(**fields) for fields in faults]
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
        self.mend()
        with self.lock, self._log_lock:
            self.clear()
            self._log.clear()
            self._in_flight.clear()
        keys, switches = self._first
        self.rotate(*keys)
        self.custom_fields = ()
        self.turn(**in_the_beginning() | switches)

    def play(self, arrival: Listening) -> bool:
        """Answer a request, or fail to; False: close the connection."""
        path = urlsplit(arrival.path).path
        if path == "/":
            arrival.connection.sendall(http_bytes(arrival.answered()))
            return True
        body = _parsed(arrival.content)
        with self.lock:
            strikes = (f for f in self._faults if f.strikes(arrival.command, path))
            fault = next(strikes, None)
            account = self._external_id(arrival.command, path, body)
        entry = Entry(
            0,
            arrival.command,
            arrival.path,
            account,
            body,
            arrival.started,
            fault=fault and fault.kind,
        )
        self._begin(entry, arrival.connection)
        exchange = Exchange(
            arrival.connection,
            entry,
            fault or Fault("answer"),
            commit=lambda: self._committed(arrival, entry),
            idle=self._idle,
            end=self._end,
            stop=self.stopping,
        )
        try:
            stays: bool = getattr(exchange, exchange.fault.kind)()
            return stays
        finally:
            self._end(entry)

    def _begin(self, entry: Entry, connection: socket.socket) -> None:
        with self._log_lock:
            self._log.append(entry)
            entry.n = len(self._log)
            # A thread that was woken late may meet a request long given up, when the
            # next one is in flight already: that is no overlap.
            is_write = entry.method in WRITE_METHODS and entry.account is not None
            if not is_write or gone(connection):
                return
            # Asked here and not only by the thread that waits: a client that has closed
            # its connection may begin the next write before that thread wakes up.
            for other, its in list(self._in_flight.values()):
                if other.account == entry.account and gone(its):
                    self._ended(other)
                elif other.account == entry.account:
                    entry.overlap = True
            self._in_flight[id(entry)] = entry, connection

    def _end(self, entry: Entry) -> None:
        """Note that a request is over; only the first time counts."""
        with self._log_lock:
            self._ended(entry)

    def _ended(self, entry: Entry) -> None:
        if entry.ended is None:
            entry.ended = monotonic_ms()
        self._in_flight.pop(id(entry), None)

    def _external_id(self, method: str, path: str, body: Any) -> str | None:
        """The external id of the account (or `organization:ID`) that a request is about."""
        if not (found := PATH.fullmatch(path)):
            return None
        is_account = found[1] == "account"
        of, prefix = (self, "") if is_account else (self.organizations, "organization:")
        if found[2]:
            name = unquote(found[2])
            account = of.find(name)
            return prefix + str(account["externalId"] if account else name)
        given = body.get("externalId") if isinstance(body, dict) else None
        return prefix + given if method == "POST" and isinstance(given, str) else None

    def _committed(self, arrival: Listening, entry: Entry) -> Answer:
        """Do what is asked; the answer is in the form that the switches say."""
        answer = arrival.answered()
        if arrival.command in WRITE_METHODS and answer.status in GOOD:
            entry.committed = monotonic_ms()
        if "RateLimit-Remaining" in answer.headers:  # not that of the Analytics API
            is_free = answer.status in {401, 429}
            entry.cost = 0 if is_free else self.cost(arrival.command)
            entry.remaining = int(answer.headers["RateLimit-Remaining"])
        headers, shown = dict(answer.headers), _parsed(answer.body)
        at = time.time() + self.switches["clock_ahead"]
        headers["Date"] = formatdate(at, usegmt=True)
        if answer.status == 429 and self.switches["retry_after"] == "present":
            headers["Retry-After"] = headers["RateLimit-Reset"]
        if answer.status not in GOOD and self.switches["error_form"] == "object":
            if isinstance(words := shown["error"], str):
                shown = {"error": {"message": words}}
            answer = answer._replace(body=orjson.dumps(shown))
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
