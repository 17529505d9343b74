"""How HubSpot's API is asked, and what a failure of it means.

Nothing that is raised here quotes a token, a reply or a customer.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from math import floor
from typing import Any, NamedTuple
from urllib.parse import urlencode

import orjson
from marshmallow import Schema, ValidationError

from bridge.errors import PayloadError, SourceError, SourceUnreadError
from bridge.webhook.bodies import json_value

HOST = "https://api.hubapi.com"

TIMEOUT = 8.0
"""Seconds without a byte after which a request has failed."""

WAIT = 10.0
"""Seconds to wait after a 429 that does not say: the limit is one of ten seconds.

https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines
"""

GOOD = {HTTPStatus.OK, HTTPStatus.MULTI_STATUS}
"""The latter where some of a batch are not there."""


class Reply(NamedTuple):
    """What HubSpot told; *at*: its clock (ms) when it was asked, or shortly before."""

    body: Any
    at: int


class Api:
    """Reads HubSpot; raises SourceError alone."""

    def __init__(self, base: str, token: str, timeout: float = TIMEOUT) -> None:
        # Late: the web process has no need of it.
        import urllib3  # noqa: PLC0415

        self._failure: type[Exception] = urllib3.exceptions.HTTPError
        self._pool = urllib3.connection_from_url(
            base, maxsize=4, retries=False, timeout=urllib3.Timeout(timeout)
        )
        self._headers = {
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
            "User-Agent": "vitally-bridge",
        }

    def get(self, schema: Schema, path: str, query: Mapping[str, str]) -> Reply | None:
        """Read one object; None where HubSpot has no such thing."""
        url = f"{path}?{urlencode(query)}" if query else path
        return self._read(schema, "GET", url)

    def post(self, schema: Schema, path: str, asked: Mapping[str, Any]) -> Reply:
        """Read the objects that are *asked* for."""
        found = self._read(schema, "POST", path, orjson.dumps(asked))
        if found is None:
            raise SourceError(f"HubSpot's API has no {path} (404)")
        return found

    def _read(
        self, schema: Schema, method: str, url: str, body: bytes | None = None
    ) -> Reply | None:
        began = time.monotonic()
        try:
            reply = self._pool.request(
                method, url, body=body, headers=self._headers, redirect=False
            )
        except self._failure as error:
            reason = f"HubSpot's API does not answer ({type(error).__name__})"
            raise SourceError(reason) from None
        took = time.monotonic() - began
        if reply.status == HTTPStatus.NOT_FOUND:
            return None
        if reply.status not in GOOD:
            raise _refusal(reply.status, reply.headers, reply.data)
        try:
            at = parsedate_to_datetime(reply.headers["Date"]).timestamp() - took
            return Reply(schema.load(json_value(reply.data)), floor(at * 1000))
        except ValidationError as error:
            reason = ", ".join(sorted(map(str, error.messages_dict)))
            raise SourceUnreadError(f"HubSpot's reply lacks {reason}") from None
        except (KeyError, PayloadError, TypeError, ValueError):
            raise SourceError("HubSpot's reply cannot be read") from None


def _refusal(status: int, headers: Mapping[str, str], body: bytes) -> SourceError:
    """What an answer means that is neither good nor 404."""
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return SourceError("HubSpot's API wants fewer requests (429)", _wait(headers))
    if status == HTTPStatus.UNAUTHORIZED:
        reason = "HubSpot refuses HUBSPOT_ACCESS_TOKEN (401)"
        return SourceError(reason, refused=True)
    if status == HTTPStatus.FORBIDDEN:
        scopes = sorted({*re.findall(rb"crm\.[a-z_.]{1,80}\.read\b", body)})
        lacks = ", ".join(scope.decode() for scope in scopes) or "a scope"
        reason = f"HUBSPOT_ACCESS_TOKEN may not read that (403): it lacks {lacks}"
        return SourceError(reason, refused=True)
    return SourceError(f"HubSpot's API answered {status}")


def _wait(headers: Mapping[str, str]) -> float:
    try:
        return max(0.0, float(headers["Retry-After"]))
    except (KeyError, ValueError):
        return WAIT
