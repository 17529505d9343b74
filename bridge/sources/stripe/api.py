"""How Stripe's API is asked, and what a failure of it means.

Nothing that is raised here quotes a key, a reply or a customer.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, NamedTuple

from bridge.errors import (
    ConfigError,
    PayloadError,
    SourceError,
    SourceUnreadError,
)
from bridge.webhook.bodies import json_value
from bridge.webhook.encodings import segment
from bridge.webhook.source import Options

VERSION = "2025-08-27.basil"
"""The last version whose discounts hold their coupon (clover has its id alone), so that
item discounts with terms fit into the four levels that a list may expand."""

TIMEOUT = 8.0
"""Seconds without a byte after which a request has failed."""

MOST = 100
"""Objects of a page."""

DEFAULT_WAIT = 2.0
"""Seconds to wait after a 429 that does not say."""

LIBRARY = (
    "STRIPE_API_KEY is set, but Stripe's library is not installed: pip install stripe"
)

Json = dict[str, Any]


class Reply(NamedTuple):
    """What Stripe told; *at*: Stripe's clock (seconds), not after it was asked."""

    body: Json
    at: float


class Api:
    """Reads Stripe; raises SourceError alone."""

    def __init__(self, client: Any, errors: type[Exception]) -> None:
        self._client = client
        self._errors = errors

    def get(self, *path: str, **params: Any) -> Reply | None:
        """Read one object or page; None where Stripe has no such thing."""
        steps = [step for part in path if (step := segment(part))]
        if len(steps) < len(path):
            return None
        url = "/v1/" + "/".join(steps)
        began = time.monotonic()
        try:
            response = self._client.raw_request("get", url, **params)
        except self._errors as error:
            if _is_missing(error):
                return None
            raise _failure(error, path[0]) from None
        took = time.monotonic() - began
        try:
            body = json_value(response.body)
            at = parsedate_to_datetime(response.headers["Date"]).timestamp() - took
        except (KeyError, PayloadError, TypeError, ValueError):
            raise _unreadable(path[0]) from None
        if not isinstance(body, dict):
            raise _unreadable(path[0])
        return Reply(body, at)

    def page(self, *path: str, after: str = "", **params: Any) -> tuple[Reply, str]:
        """Read a page of a list, and the id to go on after; "": it was the last."""
        params |= {"starting_after": after} if after else {}
        reply = self.get(*path, limit=MOST, **params)
        if reply is None:
            raise SourceUnreadError(f"Stripe has no such {path[0]}, or not any more")
        rows = reply.body.get("data")
        if not isinstance(rows, list) or not all(map(_is_object, rows)):
            raise _unreadable(path[0])
        more = reply.body.get("has_more") and rows
        return reply, rows[-1]["id"] if more else ""

    def every(self, *path: str, **params: Any) -> Iterator[Json]:
        """Read a list to its end."""
        more, after = True, ""
        while more:
            reply, after = self.page(*path, after=after, **params)
            yield from reply.body["data"]
            more = bool(after)


def connect(options: Options, timeout: float = TIMEOUT) -> Api | None:
    """The API with the key of the *options*, None without one. Raises ConfigError."""
    key, mode = options["STRIPE_API_KEY"], options["STRIPE_MODE"]
    if key is None:
        return None
    other = "test" if mode == "live" else "live"
    if f"k_{other}_" in key:
        raise ConfigError([f"STRIPE_API_KEY is a {other} key; STRIPE_MODE is {mode}"])
    try:
        # Late: 23 MB that a bridge without a key does not need.
        import stripe  # noqa: PLC0415
    except ImportError:
        raise ConfigError([LIBRARY]) from None
    # It would log whole replies, and tell Stripe about this machine.
    logging.getLogger("stripe").setLevel(logging.WARNING)
    stripe.enable_telemetry = False
    base = options["STRIPE_API_BASE"]
    client = stripe.StripeClient(
        key,
        base_addresses={"api": base} if base else {},
        stripe_version=VERSION,
        max_network_retries=0,
        http_client=stripe.RequestsClient(timeout=timeout),
    )
    return Api(client, stripe.StripeError)


def _is_object(row: Any) -> bool:
    return isinstance(row, dict) and isinstance(row.get("id"), str)


def _is_missing(error: Any) -> bool:
    gone: bool = error.http_status == HTTPStatus.NOT_FOUND
    return gone or bool(error.code == "resource_missing")


def _unreadable(resource: str) -> SourceError:
    return SourceError(f"Stripe's reply about {resource} cannot be read")


def _failure(error: Any, resource: str) -> SourceError:
    """What an *error* of Stripe's library about a *resource* means."""
    status = error.http_status
    if status is None:
        kind = type(error.__cause__ or error).__name__
        return SourceError(f"Stripe's API does not answer ({kind})")
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return SourceError("Stripe's API wants fewer requests (429)", _wait(error))
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return SourceError(_refusal(error, resource), refused=True)
    if status < HTTPStatus.BAD_REQUEST:
        return _unreadable(resource)
    code = f", {error.code}" if error.code else ""
    return SourceError(f"Stripe's API answered {status}{code} about {resource}")


def _wait(error: Any) -> float:
    headers: Mapping[str, str] = error.headers
    try:
        return max(0.0, float(headers["Retry-After"]))
    except (KeyError, ValueError):
        return DEFAULT_WAIT


def _refusal(error: Any, resource: str) -> str:
    """Stripe's own text names the permission that lacks, and a part of the key."""
    if error.http_status == HTTPStatus.UNAUTHORIZED:
        return "Stripe refuses STRIPE_API_KEY (401)"
    named = re.search(r"\brak_[a-z_]+\b", str(error))
    lacks = f": it lacks the permission {named[0]}" if named else ""
    return f"STRIPE_API_KEY may not read {resource} (403){lacks}"
