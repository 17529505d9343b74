"""A client of Vitally's APIs: one request at a time, each failure has a type.

https://docs.vitally.io/en/articles/9880654-rest-api-accounts. The REST API has
no bulk request, idempotency key or version; only the reply confirms a write. The Analytics
API takes batches, has a key and a host of its own, and confirms nothing.

A request has one deadline, from the connection to the last byte of the reply (see
`bridge.outgoing`). Where the thread has a deadline of its own (`bridge.deadline`), a
request gets no more than is left of that.
"""

from __future__ import annotations

import base64
import binascii
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import orjson
from urllib3 import Timeout
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NameResolutionError,
    NewConnectionError,
    SSLError,
)

from bridge.deadline import left, within
from bridge.domain.facts import organization_id
from bridge.errors import (
    VitallyMissingError,
    VitallyRefusedError,
    VitallyUnavailableError,
)
from bridge.outgoing import SENT, content, pools
from bridge.vitally.replies import Rate, Reply, instant, rate, value

BODY_CAP = 1 << 20
"""Most bytes of a reply that are read; a page of 100 accounts has about 200 KB."""

PAGE = 100
"""Most rows of a page, and most messages of a batch."""

SHORTEST_SECRET = 6
"""A shorter key is not blotted out, because that would blot out ordinary words."""

FAILURES: tuple[tuple[type[Exception], str], ...] = (
    (NameResolutionError, "its host name cannot be resolved"),
    (NewConnectionError, "the connection was refused or its host is unreachable"),
    (ConnectTimeoutError, "no connection within the time allowed"),
    (SSLError, "the TLS connection failed (certificate or protocol)"),
    (Exception, "the connection broke before the answer was complete"),
)
"""Exception -> a sentence without path or id; the first match counts."""


class Page(NamedTuple):
    """One page of a list; *next* is the cursor of the one after it, or None.

    *results* may be empty although there is a next page.
    """

    results: list[dict[str, Any]]
    next: str | None


class Call(NamedTuple):
    """One request, over: its *method*, and *status*; 0: no whole answer.

    It *began* at this time (seconds since 1970) and took *seconds*. *clock*: what time its
    reply said it was; None: nothing was said.
    """

    method: str
    status: int
    began: float
    seconds: float
    clock: float | None = None


class Vitally:
    """A client of one API of a workspace; threads may share it.

    *authorization* is the ready header value. *observe* gets the `Rate` of every reply
    that tells one, *after* the `Call` of every request; neither may raise. *deadline* is
    in seconds and counts for a whole request, from the connection to the last byte of the
    reply.
    """

    def __init__(
        self,
        base_url: str,
        authorization: str,
        *,
        observe: Callable[[Rate], None] | None = None,
        after: Callable[[Call], None] = lambda _: None,
        deadline: float = 7.5,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._deadline = deadline
        self._observe = observe
        self._after = after
        self._secrets = _secrets(authorization)
        self._headers = {
            "Authorization": authorization,
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "User-Agent": "vitally-bridge",
        }
        self._pool = pools().connection_from_url(self.base_url)

    def __repr__(self) -> str:
        return f"Vitally({self.base_url!r})"

    def update(self, account: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Merge *body* (name, traits, organizationId) into an account; return it.

        Traits that are left out stay, null removes one.
        """
        return self._one("PUT", _resource(account), body)

    def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an account: externalId and name, perhaps traits, organizationId."""
        if of := organization_id(str(body["externalId"])):
            body = {**body, "externalId": of}
        return self._one("POST", _address("organizations" if of else "accounts"), body)

    def get(self, account: str) -> dict[str, Any]:
        """Return an account by its external id or by Vitally's."""
        return self._one("GET", _resource(account))

    def health(self, account: str) -> Any:
        """Return the health score breakdown; its shape is not documented.

        Raises VitallyRefusedError for an organization: Vitally has none of it.
        """
        if organization_id(account):
            raise VitallyRefusedError("an organization has no health scores")
        return self._request("GET", _address("accounts", account, "healthScores"))

    def delete(self, account: str) -> None:
        """Destroy an account and all that belongs to it alone. For people only."""
        self._request("DELETE", _resource(account))

    def accounts(
        self,
        status: str | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        sort: str | None = None,
        organization: str | None = None,
    ) -> Page:
        """List accounts, newest first; only those of an *organization*, if it is given.

        *status* is active (Vitally's default: hides churned ones), churned or
        activeOrChurned; *limit* 1 to 100; *sort* updatedAt (Vitally's default, may
        skip what changes meanwhile) or createdAt.
        """
        query = {"status": status, "limit": limit, "from": cursor, "sortBy": sort}
        of = ("organizations", organization) if organization else ()
        return self._page(_address(*of, "accounts"), query)

    def everything(self, kind: str, cursor: str | None) -> Page:
        """List all "accounts" or "organizations", in an order that no change disturbs."""
        how = {"status": "activeOrChurned", "limit": str(PAGE), "sortBy": "createdAt"}
        return self._page(_address(kind), {**how, "from": cursor})

    def instance(self, object_id: str, external_id: str) -> dict[str, Any] | None:
        """Return the instance of a custom object with this external id; None: there is none.

        https://docs.vitally.io/pushing-data-to-vitally/rest-api/custom-objects does not
        say whether a search answers the first match as it is or in a page: either is read.
        """
        path = _address("customObjects", object_id, "instances", "search")
        try:
            found = self._one("GET", f"{path}?{urlencode({'externalId': external_id})}")
        except VitallyMissingError:
            return None
        rows = _rows(found.get("results", [found]))
        return next((row for row in rows if row.get("externalId") == external_id), None)

    def instances(self, object_id: str, cursor: str | None = None) -> Page:
        """List the instances of a custom object, those updated last first."""
        path = _address("customObjects", object_id, "instances")
        return self._page(path, {"limit": PAGE, "from": cursor})

    def batch(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Have the Analytics API take at most 100 *messages*; it applies them later.

        https://docs.vitally.io/en/articles/9874151-vitally-s-https-analytics-api-batch
        """
        self._request("POST", "/analytics/v1/batch", messages)

    def custom_fields(self) -> list[dict[str, Any]]:
        """List the custom traits of accounts; the key of one is its `path`.

        https://docs.vitally.io/en/articles/9880864-rest-api-custom-traits
        """
        found = self._request("GET", "/resources/customFields?model=accounts")
        return _rows(found) if isinstance(found, list) else []

    def probe(self) -> None:
        """Ask for one account to see whether the key works; raises VitallyError.

        VitallyMissingError here means a wrong base URL or subdomain.
        """
        self.accounts(limit=1)

    def close(self) -> None:
        """Close the kept connections."""
        self._pool.close()

    def _one(
        self, method: str, path: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        payload = self._request(method, path, body)
        if not isinstance(payload, dict) or (
            "error" in payload and "id" not in payload
        ):
            raise VitallyUnavailableError("answered 200 without an account", 200)
        return payload

    def _page(self, path: str, query: Mapping[str, str | int | None]) -> Page:
        given = urlencode({k: v for k, v in query.items() if v is not None})
        payload = self._one("GET", f"{path}?{given}" if given else path)
        results, after = _rows(payload.get("results")), payload.get("next")
        if not isinstance(after, str | None):
            raise VitallyUnavailableError("answered 200 without a page", 200)
        return Page(results, after or None)

    def _request(self, method: str, path: str, body: object = None) -> Any:
        """Send one request and return its parsed reply; raises VitallyError."""
        try:
            sent = None if body is None else orjson.dumps(body)
        except TypeError as error:
            raise VitallyRefusedError(f"the body is not JSON: {error}") from None
        began, status, clock = time.monotonic(), 0, None
        # urllib3 takes no time-out of none, and so late nothing is sent anyway.
        most = max(min(self._deadline, left()), 1e-9)
        SENT.set(False)
        try:
            with within(most):
                reply = self._exchange(method, path, sent, most)
            status, clock = reply.status, instant(reply.headers.get("Date", ""))
        except (HTTPError, OSError) as error:
            words = next(words for kind, words in FAILURES if isinstance(error, kind))
            if time.monotonic() >= began + most:
                words = f"no complete answer within {round(most, 2):g} s"
            raise VitallyUnavailableError(words, sent=SENT.get()) from error
        finally:
            seconds = time.monotonic() - began
            self._after(Call(method, status, time.time() - seconds, seconds, clock))
        return value(reply, self._secrets, time.time())

    def _exchange(
        self, method: str, path: str, sent: bytes | None, most: float
    ) -> Reply:
        """Send a request and read its whole reply."""
        began = time.monotonic()
        response = self._pool.urlopen(
            method,
            path,
            body=sent,
            headers=self._headers,
            timeout=Timeout(total=most, connect=min(most, self._deadline / 2)),
            redirect=False,
            preload_content=False,
            decode_content=False,
        )
        with response:
            observed = rate(response.headers)
            if observed is not None and self._observe is not None:
                ago = time.monotonic() - began
                kind = method if response.status < HTTPStatus.BAD_REQUEST else ""
                self._observe(observed._replace(kind=kind, ago=ago))
            body = content(response, BODY_CAP)
        if len(body) > BODY_CAP:
            words = f"answered more than {BODY_CAP} bytes"
            raise VitallyUnavailableError(words, response.status)
        return Reply(response.status, response.headers, body)


def _rows(results: Any) -> list[dict[str, Any]]:
    """The rows of a page; raises VitallyUnavailableError where they are none."""
    if not isinstance(results, list):
        raise VitallyUnavailableError("answered 200 without a page", 200)
    if not all(isinstance(one, dict) for one in results):
        raise VitallyUnavailableError("answered 200 without accounts", 200)
    return results


def _address(*parts: str) -> str:
    """Path of a resource, each part percent-encoded whole.

    Raises VitallyRefusedError for an id that no path can carry: an empty one would
    address the list, and URL libraries resolve `.` and `..` away.
    """
    for part in parts:
        unprintable = (unicodedata.category(c) in {"Cc", "Cs"} for c in part)
        if part in {"", ".", ".."} or any(unprintable):
            raise VitallyRefusedError("the id cannot be part of a web address")
    return "/resources/" + "/".join(quote(part, safe="") for part in parts)


def _resource(account: str) -> str:
    """Path of an account, or of the organization that it is."""
    of = organization_id(account)
    return _address("organizations", of) if of else _address("accounts", account)


def _secrets(authorization: str) -> tuple[str, ...]:
    """Every form in which the key could come back in a reply."""
    encoded = authorization.removeprefix("Basic ")
    forms = [authorization, encoded]
    with suppress(binascii.Error, UnicodeDecodeError):
        pair = base64.b64decode(encoded, validate=True).decode()
        forms += [pair, pair.partition(":")[0]]
    return tuple(form for form in forms if len(form) >= SHORTEST_SECRET)
