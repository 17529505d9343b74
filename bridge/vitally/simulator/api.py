"""The simulated REST API: who may ask, what it costs, what the answer looks like."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import unquote

import orjson

from bridge.vitally.simulator.budget import Budget, budget
from bridge.vitally.simulator.routes import ROUTES, Desk, Request, parsed
from bridge.vitally.simulator.schema import RefusalError
from bridge.vitally.simulator.switches import Switches
from bridge.vitally.simulator.workspace import Workspace

WRITES = frozenset({"POST", "PUT", "DELETE"})


class Answer(NamedTuple):
    """What is answered; *headers* has the rate limit already."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    cost: int = 0
    remaining: int = 0


class Api:
    """One simulated workspace behind its REST API; the caller holds the lock."""

    def __init__(self, keys: tuple[str, ...], switches: Switches) -> None:
        self.keys = keys
        self.switches = switches
        self.workspace = Workspace()
        self.forget_budgets()

    def forget_budgets(self) -> None:
        """Begin every rate limit anew."""
        self._budgets: dict[str, Budget] = {}

    def answer(self, request: Request) -> Answer:
        """Do what *request* asks and answer; never raises."""
        left, cost = self._budget("", request.clock), 0
        try:
            left = self._budget(self._authenticated(request), request.clock)
            cost = self._paid(request, left)
            status, shown = self._routed(request)
        except RefusalError as refusal:
            status, shown = refusal.status, {"error": self._error(refusal)}
        headers = self._headers(left, request.clock)
        if status == HTTPStatus.TOO_MANY_REQUESTS and (
            self.switches.retry_after == "present"
        ):
            headers["Retry-After"] = headers["RateLimit-Reset"]
        body = b"" if shown is None else orjson.dumps(shown)
        return Answer(status, headers, body, cost, left.remaining(request.clock))

    def idle(self, request: Request) -> Answer:
        """Return an empty answer that costs nothing, with the rate limit as it is."""
        left = self._budget(self.keys[0] if self.keys else "", request.clock)
        headers = self._headers(left, request.clock)
        return Answer(200, headers, b"", 0, left.remaining(request.clock))

    def external_id(self, request: Request) -> str | None:
        """Return the external id of the account that *request* is about."""
        found = re.fullmatch(
            r"/resources/accounts/([^/]+)(/healthScores)?", request.path
        )
        if found is not None:
            name = unquote(found[1])
            record = self.workspace.accounts.find(name, self.switches.id_precedence)
            return record.external_id if record else name
        if (request.method, request.path) != ("POST", "/resources/accounts"):
            return None
        said = parsed(request.body)
        said = said.get("externalId") if isinstance(said, dict) else None
        return said if isinstance(said, str) else None

    def _authenticated(self, request: Request) -> str:
        """Return the key; it is the user of HTTP Basic, the password is empty."""
        if request.authorization is None:
            raise RefusalError(401, "Authorization header not present.")
        scheme, _, encoded = request.authorization.partition(" ")
        try:
            pair = base64.b64decode(encoded, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            pair = ""
        key, colon, password = pair.partition(":")
        if scheme != "Basic" or not colon or password or key not in self.keys:
            raise RefusalError(401, "Invalid API key.")
        return key

    def _paid(self, request: Request, left: Budget) -> int:
        cost = self.switches.write_cost if request.method in WRITES else 1
        if not left.take(cost, request.clock):
            raise RefusalError(429, "Too many requests, please try again later.")
        return cost

    def _budget(self, key: str, clock: float) -> Budget:
        name = key if self.switches.rate_scope == "key" else ""
        if name not in self._budgets:
            self._budgets[name] = budget(self.switches, clock)
        return self._budgets[name]

    def _headers(self, left: Budget, clock: float) -> dict[str, str]:
        limit = self.switches.rate_limit
        window = f"{limit};window={self.switches.rate_seconds:g}"
        return {
            "RateLimit-Limit": f"{limit}, {window}",
            "RateLimit-Remaining": str(left.remaining(clock)),
            "RateLimit-Reset": str(left.reset(clock)),
        }

    def _error(self, refusal: RefusalError) -> Any:
        if isinstance(refusal.error, str) and self.switches.error_form == "object":
            return {"message": refusal.error}
        return refusal.error

    def _routed(self, request: Request) -> tuple[int, Any]:
        for method, pattern, handle in ROUTES:
            found = re.fullmatch(pattern, request.path)
            if method == request.method and found is not None:
                desk = Desk(self.workspace, self.switches, request)
                return handle(desk, *map(unquote, found.groups()))
        raise RefusalError(404, f"Cannot {request.method} {request.path}")
