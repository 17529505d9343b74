"""Interprets a reply of Vitally: its rate limit, its reason, its error.

Pure functions: bytes and headers in, values or errors out. Recorded forms of `error`: a
text (401), and an object in the style of a JSON schema validator (400).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, NamedTuple

import orjson

from bridge.errors import (
    VitallyError,
    VitallyKeyError,
    VitallyLimitedError,
    VitallyMissingError,
    VitallyRefusedError,
    VitallyUnavailableError,
)

REASON_LENGTH = 300
"""Most characters of a reason that are kept."""

GOOD = range(200, 300)

EPOCH = 1e9
"""From this on a wait is an instant in seconds since 1970, as others' `RateLimit-Reset`."""

_NUMBER = re.compile(r"\s*[0-9]{1,12}(\.[0-9]{1,6})?\s*", re.ASCII)
_ANY = re.compile("")
_DUPLICATE = re.compile(
    r"\balready\b|(?<!not )\bexists\b|\bunique\b|(?<!not have )\bduplicate",
    re.IGNORECASE,
)

ALREADY_EXISTS: Mapping[int, re.Pattern[str]] = {
    409: _ANY,  # a production client lists it among the codes it handles (2024-05)
    400: _DUPLICATE,  # inference: every other refusal of a body is a 400 (2024-05)
    422: _DUPLICATE,  # inference: the usual third way; not documented, not recorded
}
"""Refusals of a creation that mean that the account exists: status -> reason.

Vitally does not document how it answers a second creation. A refusal without a row here
stays a refusal; to support another form, add a row and a test.
"""

_ERRORS: tuple[tuple[Collection[int], type[VitallyError]], ...] = (
    ((401, 403), VitallyKeyError),
    ((404,), VitallyMissingError),
    ((408, 425), VitallyUnavailableError),
    (range(400, 500), VitallyRefusedError),
)
"""The error for a status other than 2xx and 429: the first row that matches, else
VitallyUnavailableError (5xx, and 3xx because the host is fixed)."""

Headers = Mapping[str, str]
"""Headers of a reply; reading ignores the case of a name."""


class Rate(NamedTuple):
    """The `RateLimit-*` headers: units per minute, and units left.

    *kind* is the method of the request that it answers, since kinds cost different units;
    "": it was refused, and says nothing of that. It was sent so many seconds *ago*.
    """

    limit: int
    remaining: int
    kind: str = ""
    ago: float = 0.0


class Reply(NamedTuple):
    """One whole answer."""

    status: int
    headers: Headers
    body: bytes


def rate(headers: Headers) -> Rate | None:
    """Read `RateLimit-Limit: 1000, 1000;window=60` and `RateLimit-Remaining`.

    The names have no `X-`: https://docs.vitally.io/pushing-data-to-vitally/rest-api.
    Garbage in one of them is None: a guess would steer every worker.
    """
    limit = _number(headers.get("RateLimit-Limit", "").partition(",")[0])
    remaining = _number(headers.get("RateLimit-Remaining", ""))
    if limit is None or remaining is None:
        return None
    return Rate(int(limit), int(remaining))


def retry_after(headers: Headers, now: float) -> float | None:
    """Seconds to wait after a 429: `Retry-After`, else `RateLimit-Reset`, else None.

    An instant, as a date or in seconds since the epoch, is compared with the reply's own
    `Date`, so that our clock (*now*, seconds since the epoch) matters only where there is
    none.
    """
    for name in ("Retry-After", "RateLimit-Reset"):
        words = headers.get(name, "")
        found = _number(words)
        if found is not None and found < EPOCH:
            return found
        until = instant(words) if found is None else found
        if until is not None:
            sent = instant(headers.get("Date", ""))
            return max(0.0, until - (now if sent is None else sent))
    return None


def value(reply: Reply, secrets: Collection[str], now: float) -> Any:
    """Return the parsed body of a good reply, `{}` for a 204; else raise VitallyError.

    *secrets* are blotted out of a reason that repeats them.
    """
    if reply.status == HTTPStatus.NO_CONTENT:
        return {}
    if reply.status not in GOOD:
        raise error(reply, secrets, now)
    try:
        return orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        kind = "an HTML page" if _is_html(reply) else "a body that is not JSON"
        raise VitallyUnavailableError(f"answered {kind}", reply.status) from None


def error(reply: Reply, secrets: Collection[str], now: float) -> VitallyError:
    """Return the error that a reply other than 2xx means."""
    words = reason(reply, secrets)
    kinds = (kind for statuses, kind in _ERRORS if reply.status in statuses)
    made: VitallyError = next(kinds, VitallyUnavailableError)(words, reply.status)
    if reply.status == HTTPStatus.TOO_MANY_REQUESTS:
        made = VitallyLimitedError(words, retry_after(reply.headers, now))
    made.quotes = True
    return made


def already_exists(error: VitallyError) -> bool:
    """Tell whether a refused creation means that the account exists."""
    known = ALREADY_EXISTS.get(error.status or 0)
    return known is not None and known.search(error.reason) is not None


def reason(reply: Reply, secrets: Collection[str] = ()) -> str:
    """Return why Vitally says no, in one short line without *secrets*.

    A validation error becomes `/externalId must be string`.
    """
    words = _reason(reply.body)
    if words is None and not _is_html(reply):
        words = reply.body[: 4 * REASON_LENGTH].decode("utf-8", "replace")
    for secret in filter(None, secrets):
        words = words.replace(secret, "…") if words else words
    line = " ".join(re.sub(r"[\x00-\x20\x7f-\x9f]+", " ", words or "").split())
    return line[:REASON_LENGTH] or f"answered {reply.status} without a reason"


def _reason(body: bytes) -> str | None:
    """Text of `error` (a text or an object), `message` or `detail`."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(parsed, dict):
        return None
    for name in ("error", "message", "detail"):
        payload = parsed.get(name)
        if isinstance(payload, str) and payload:
            return payload
        if isinstance(payload, dict):
            return _validation(payload)
    return None


def _validation(payload: Mapping[str, Any]) -> str | None:
    """Every `instancePath` with its message, else the message of the whole."""
    rows = payload.get("errors")
    reasons = [
        f"{row.get('instancePath') or ''} {row.get('message') or ''}".strip()
        for row in (rows if isinstance(rows, list) else [])
        if isinstance(row, dict)
    ]
    message = payload.get("message")
    whole = message if isinstance(message, str) else None
    return "; ".join(filter(None, reasons)) or whole


def _is_html(reply: Reply) -> bool:
    head = reply.body[:200].lstrip().lower()
    return head.startswith(b"<") or "html" in reply.headers.get("Content-Type", "")


def _number(words: str) -> float | None:
    """Read a number of at most twelve digits, not negative; else None."""
    return float(words) if _NUMBER.fullmatch(words) else None


def instant(words: str) -> float | None:
    """Read an HTTP date, in seconds since the epoch; else None."""
    try:
        return parsedate_to_datetime(words).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
