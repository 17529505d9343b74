"""The whole Accounts API of Vitally, one request at a time, every failure typed.

https://docs.vitally.io/en/articles/9880654-rest-api-accounts. There is no bulk
request, no idempotency key and no version; a write is confirmed by its reply alone.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

from urllib3 import BaseHTTPResponse, HTTPConnectionPool, Timeout
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    SSLError,
)

from bridge.errors import VitallyUnavailableError
from bridge.vitally.connection import Exchange, pool
from bridge.vitally.reply import Rate, Reply, rate, value
from bridge.vitally.request import address, content, secrets

BODY_CAP = 1 << 20
"""Bytes of a reply that are read; a page of 100 accounts has about 200 KB."""

_FAILURES: tuple[tuple[type[Exception], str], ...] = (
    (NameResolutionError, "its host name cannot be resolved"),
    (NewConnectionError, "the connection was refused or its host is unreachable"),
    (ConnectTimeoutError, "no connection within the time allowed"),
    (SSLError, "the TLS connection failed (certificate or protocol)"),
    (Exception, "the connection broke before the answer was complete"),
)
"""What went wrong, in words without path or id; the first that fits."""


class Page(NamedTuple):
    """One page of a list; *next* is the cursor of the one after it, or None.

    *results* may be empty although there is a next page.
    """

    results: list[dict[str, Any]]
    next: str | None


class Vitally:
    """A client of one workspace; threads may share it, forks get their own pool.

    *authorization* is the ready header value. *observe* gets the `Rate` of every
    reply that tells one and must not raise. *deadline* is in seconds and counts for a
    whole request, from the connection to the last byte of the reply.
    """

    def __init__(
        self,
        base_url: str,
        authorization: str,
        *,
        observe: Callable[[Rate], None] | None = None,
        deadline: float = 7.5,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._deadline = deadline
        self._observe = observe
        self._secrets = secrets(authorization)
        self._headers = {
            "Authorization": authorization,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": "vitally-bridge",
        }
        self._exchange = Exchange()
        self._pool = self._new_pool()
        self._process = os.getpid()

    def __repr__(self) -> str:
        return f"Vitally({self.base_url!r})"

    def update(self, account: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Merge *body* (name, traits, organizationId) into an account; return it.

        Traits that are left out stay, null removes one.
        """
        return self._one("PUT", address("accounts", account), body)

    def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an account: externalId and name, perhaps traits, organizationId."""
        return self._one("POST", address("accounts"), body)

    def get(self, account: str) -> dict[str, Any]:
        """Return an account by its external id or by Vitally's."""
        return self._one("GET", address("accounts", account))

    def health(self, account: str) -> Any:
        """Return the health score breakdown; its shape is not documented."""
        return self._request("GET", address("accounts", account, "healthScores"))

    def delete(self, account: str) -> None:
        """Destroy an account and all that belongs to it alone. For people only."""
        self._request("DELETE", address("accounts", account))

    def accounts(
        self,
        status: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        sort: str | None = None,
    ) -> Page:
        """List accounts, newest first.

        *status* is active (Vitally's default: hides churned ones), churned or
        activeOrChurned; *limit* 1 to 100; *sort* updatedAt (Vitally's default, may
        skip what changes meanwhile) or createdAt.
        """
        query = {"status": status, "limit": limit, "from": cursor, "sortBy": sort}
        return self._page(address("accounts"), query)

    def organization_accounts(
        self, organization: str, limit: int | None = None, cursor: str | None = None
    ) -> Page:
        """List the accounts of an organization."""
        query = {"limit": limit, "from": cursor}
        return self._page(address("organizations", organization, "accounts"), query)

    def custom_fields(self, model: str = "accounts") -> list[dict[str, Any]]:
        """List the traits that the workspace defines: label, type, path."""
        found = self._request(
            "GET", f"{address('customFields')}?{urlencode({'model': model})}"
        )
        if not isinstance(found, list):
            raise VitallyUnavailableError("answered no list of custom fields", 200)
        return found

    def probe(self) -> None:
        """Ask for one account to see whether the key works; raises VitallyError.

        VitallyMissingError here means a wrong base URL or subdomain.
        """
        self.accounts(limit=1)

    def close(self) -> None:
        """Close the kept connections."""
        self._pool.close()
        self._pool = self._new_pool()

    def _one(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        found = self._request(method, path, body)
        if not isinstance(found, dict) or (found.keys() & {"error", "id"}) == {"error"}:
            raise VitallyUnavailableError("answered 200 without an account", 200)
        return found

    def _page(self, path: str, query: Mapping[str, str | int | None]) -> Page:
        given = urlencode({k: v for k, v in query.items() if v is not None})
        found = self._one("GET", f"{path}?{given}" if given else path)
        results, after = found.get("results"), found.get("next")
        if not isinstance(results, list) or not isinstance(after, str | None):
            raise VitallyUnavailableError("answered 200 without a page", 200)
        return Page(results, after or None)

    def _request(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> Any:
        """Send one request and return its parsed reply; raises VitallyError."""
        sending = content(body)
        if self._process != os.getpid():
            self._pool, self._process = self._new_pool(), os.getpid()
        self._exchange.begin(self._deadline)
        try:
            reply = self._exchanged(method, path, sending)
        except (HTTPError, OSError) as error:
            raise self._failure(error) from error
        return value(reply, self._secrets, time.time())

    def _exchanged(self, method: str, path: str, sending: bytes | None) -> Reply:
        response = self._pool.urlopen(
            method,
            path,
            body=sending,
            headers=self._headers,
            timeout=Timeout(total=self._deadline, connect=self._deadline / 2),
            retries=False,
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        try:
            told = rate(response.headers)
            if told is not None and self._observe is not None:
                self._observe(told._replace(write=method != "GET"))
            reply = Reply(response.status, response.headers, _whole(response))
        except BaseException:
            # A write ends when its connection is closed: leave none open behind us.
            response.close()
            raise
        response.release_conn()
        return reply

    def _failure(self, error: Exception) -> VitallyUnavailableError:
        sent = self._exchange.sent
        if time.monotonic() >= self._exchange.until:
            words = f"no complete answer within {self._deadline:g} s"
            return VitallyUnavailableError(words, sent=sent)
        words = next(words for kind, words in _FAILURES if isinstance(error, kind))
        return VitallyUnavailableError(words, sent=sent)

    def _new_pool(self) -> HTTPConnectionPool:
        parts = urlsplit(self.base_url)
        return pool(parts.scheme, parts.hostname or "", parts.port, self._exchange)


def _whole(response: BaseHTTPResponse) -> bytes:
    """Return the body; raises VitallyUnavailableError where it is too large."""
    body = bytearray()
    for chunk in _chunks(response):
        body += chunk
        if len(body) > BODY_CAP:
            raise VitallyUnavailableError(
                f"answered more than {BODY_CAP} bytes", response.status
            )
    return bytes(body)


def _chunks(response: BaseHTTPResponse) -> Iterable[bytes]:
    # To the empty read: only there does urllib3 notice a body that is too short.
    return iter(lambda: response.read(1 << 16), b"")
