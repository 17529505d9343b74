"""The simulator as one object: what it holds, and how a request meets it."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from dataclasses import asdict
from threading import Lock, Thread
from typing import Any, Self

from bridge.vitally.replies import GOOD
from bridge.vitally.simulator.account import lifecycle, shown_account
from bridge.vitally.simulator.api import WRITES, Answer, Api
from bridge.vitally.simulator.control import PREFIX, controlled
from bridge.vitally.simulator.faults import Fault, fault, struck
from bridge.vitally.simulator.listener import Arrival, Listener
from bridge.vitally.simulator.manners import MANNERS, Exchange, gone, http_bytes
from bridge.vitally.simulator.page import accounts_page
from bridge.vitally.simulator.routes import Request, parsed
from bridge.vitally.simulator.switches import Switches, changed
from bridge.vitally.simulator.traffic import Entry, Traffic, monotonic_ms

EXAMPLE_KEY = "sk_test_example"

_NO_FAULT = Fault("answer")
_LOOPBACK = frozenset({"127.0.0.1", "::1"})


class Simulator:
    """A local Vitally: `with Simulator() as vitally: ... vitally.url`.

    Stopped and started again it keeps its address and all it holds.
    """

    def __init__(
        self,
        keys: tuple[str, ...] = (EXAMPLE_KEY,),
        switches: Switches | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._first = (keys, switches or Switches())
        self._address = (host, port)
        self._lock = Lock()
        self._traffic = Traffic()
        self._faults: list[Fault] = []
        self._api = Api(*self._first)
        self._listener: Listener | None = None

    def start(self) -> Self:
        """Begin to listen, in threads of this process."""
        self._listener = Listener(self._address, self.respond)
        self._address = self._listener.bound
        poll = (0.02,)
        Thread(target=self._listener.serve_forever, args=poll, daemon=True).start()
        return self

    def stop(self) -> None:
        """Close the port and every connection."""
        if self._listener is not None:
            self._listener.end()
            self._listener = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The base URL: `http://127.0.0.1:43211`."""
        return f"http://{self._address[0]}:{self._address[1]}"

    @property
    def authorization(self) -> str:
        """The `Authorization` header of the first key."""
        pair = f"{self._api.keys[0]}:".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    def log(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the requests after number *since*, in the order of their arrival."""
        return self._traffic.entries(since)

    def writes(self) -> list[dict[str, Any]]:
        """Return the requests that write, in the order of their arrival."""
        return [entry for entry in self.log() if entry["method"] in WRITES]

    def accounts(self) -> list[dict[str, Any]]:
        """Return every account, ignored ones too, each with its `lifecycle`."""
        now = time.time_ns() // 1_000_000
        with self._lock:
            switches = self._api.switches
            return [
                {
                    **shown_account(record, switches, now),
                    "lifecycle": lifecycle(record, switches).stage,
                }
                for record in self._api.workspace.accounts.all()
            ]

    def account(self, external_id: str) -> dict[str, Any] | None:
        """Return the account with this external id."""
        found = (a for a in self.accounts() if a["externalId"] == external_id)
        return next(found, None)

    def break_with(self, faults: list[Mapping[str, Any]]) -> None:
        """Add faults (`faults.fault` says their form); raises ValueError."""
        read = [fault(said) for said in faults]
        with self._lock:
            self._faults += read

    def mend(self) -> None:
        """Take every fault away."""
        with self._lock:
            self._faults.clear()

    def turn(self, **changes: Any) -> dict[str, Any]:
        """Turn switches by name and return all of them; raises ValueError."""
        with self._lock:
            self._api.switches = changed(self._api.switches, changes)
            if any(name.startswith("rate_") for name in changes):
                self._api.forget_budgets()
            return asdict(self._api.switches)

    def rotate(self, *keys: str) -> None:
        """Replace the keys that are taken; none: every key is refused."""
        with self._lock:
            self._api.keys = keys

    def reset(self) -> None:
        """Forget accounts, log, faults; keys and switches as in the beginning."""
        with self._lock:
            self._api = Api(*self._first)
            self._faults.clear()
            self._traffic.forget()

    def page(self) -> str:
        """Return the HTML page of the accounts."""
        accounts = self.accounts()
        writes = len(self.writes())
        return accounts_page(accounts, f"{len(accounts)} accounts, {writes} writes")

    def respond(self, arrival: Arrival) -> bool:
        """Answer a request, or fail to; False: close the connection."""
        own = self._own(arrival)
        if own is None:
            return self._play(arrival)
        arrival.connection.sendall(http_bytes(own))
        return True

    def _own(self, arrival: Arrival) -> Answer | None:
        """Answer what is the simulator's own: its page and its side door."""
        request = arrival.request
        if request.path == "/":
            kind = {"Content-Type": "text/html; charset=utf-8"}
            return Answer(200, kind, self.page().encode())
        if not request.path.startswith(PREFIX):
            return None
        if arrival.peer not in _LOOPBACK:
            return Answer(403, {}, b'{"error": "Only from this machine."}')
        return controlled(
            self, request.method, request.path, request.query, request.body
        )

    def _play(self, arrival: Arrival) -> bool:
        request = arrival.request
        with self._lock:
            hit = struck(self._faults, request.method, request.path)
            account = self._api.external_id(request)
        entry = self._traffic.begin(
            lambda n: Entry(
                n,
                request.method,
                request.target,
                account,
                parsed(request.body),
                arrival.started,
                fault=hit.kind if hit else None,
            ),
            writes=request.method in WRITES,
            gone=lambda: gone(arrival.connection),
        )
        exchange = Exchange(
            arrival.connection,
            entry,
            hit or _NO_FAULT,
            commit=lambda: self._commit(request, entry),
            idle=lambda: self._idle(request),
            end=self._traffic.end,
            stop=arrival.stop,
        )
        try:
            return MANNERS[exchange.fault.kind](exchange)
        finally:
            self._traffic.end(entry)

    def _commit(self, request: Request, entry: Entry) -> Answer:
        with self._lock:
            clock = time.monotonic()
            at = time.time_ns() // 1_000_000
            answer = self._api.answer(request._replace(at=at, clock=clock))
            if request.method in WRITES and answer.status in GOOD:
                entry.committed = monotonic_ms()
        entry.cost, entry.remaining = answer.cost, answer.remaining
        return answer

    def _idle(self, request: Request) -> Answer:
        with self._lock:
            return self._api.idle(request)
