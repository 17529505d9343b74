"""A body without what is personal or secret in it, for a fixture: its structure is kept.

What is replaced is replaced alike wherever it stands, and never recognisably: the *salt*
is forgotten. Kept are numbers, instants, and short words that nothing marks as personal.
"""

from __future__ import annotations

import re
from contextlib import suppress
from hashlib import blake2s
from typing import Any
from urllib.parse import parse_qsl, urlencode

import orjson

PERSONAL = re.compile(
    "names?|e?mails?|phone|mobile|fax|address|street|line|city|zip|postal|postcode|"
    "company|organi[sz]ation|business|contact|owner|user|username|login|first|last|ip|"
    "url|website|domain|subdomain|host|link|token|secret|password|signature|session|"
    "cookie|vat|identifier|iban|card|key|auth|description|notes?|memo|message|comment|"
    "subject|title|reference|birthday|values?|label"
)
"""Words of a key whose text is replaced whatever it is."""

TIMES = re.compile(
    "at|on|times?|date|timestamp|created|updated|occurred|start|started|ends?|ended|"
    "expires|period|anchor|now"
)
"""Words of a key whose long numbers are instants."""

PART = re.compile(r"[^\[\]]+")
WORDS = re.compile(r"[a-z]+|[A-Z][a-z]*|[A-Z]+")
MAIL = re.compile(r"[^\s@<>\"']+@[^\s@<>\"']+")
RUN = re.compile(r"[0-9]{9,}")
INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9:.]+ ?(Z|[+-][0-9:]{4,6})?)?")
PLAIN = re.compile(r"[A-Za-z0-9_.:/+-]{0,36}")
"""Ids, types, statuses, currencies; what is longer may be a token."""


def scrubbed(body: bytes, salt: bytes) -> bytes | None:
    """Return *body*, JSON or a form, without what is personal; None for any other."""
    for form in (_json, _form):
        with suppress(ValueError, TypeError, RecursionError):
            return form(body, salt)
    return None


def _json(body: bytes, salt: bytes) -> bytes:
    return orjson.dumps(_value("", orjson.loads(body), salt))


def _form(body: bytes, salt: bytes) -> bytes | None:
    pairs = parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=True)
    named = [(name, (PART.findall(name) or [name])[-1], value) for name, value in pairs]
    found = [(_run(name, salt), _text(key, value, salt)) for name, key, value in named]
    return urlencode(found).encode() or None


def _value(key: str, value: Any, salt: bytes) -> Any:
    if isinstance(value, dict):
        return {_run(k, salt): _value(k, inner, salt) for k, inner in value.items()}
    if isinstance(value, list):
        return [_value(key, inner, salt) for inner in value]
    if isinstance(value, str):
        return _text(key, value, salt)
    if type(value) is int and not _is(key, TIMES):
        return int(_run(str(value), salt))
    return value


def _is(key: str, about: re.Pattern[str]) -> bool:
    """Whether a word of *key* tells so; the words of an id or a type tell nothing."""
    words = [word.lower() for word in WORDS.findall(key)]
    if words[-1:] in (["id"], ["type"], ["event"]) or "event" in words:
        return False
    return any(about.fullmatch(word) for word in words)


def _text(key: str, value: str, salt: bytes) -> str:
    if not value or INSTANT.fullmatch(value) or value in {"true", "false"}:
        return value
    if MAIL.search(value):
        return f"user-{_hash(value, salt)}@example.com"
    if _is(key, PERSONAL) or not PLAIN.fullmatch(value):
        return f"text-{_hash(value, salt)}"
    return value if _is(key, TIMES) else _run(value, salt)


def _run(text: str, salt: bytes) -> str:
    """Replace long runs of digits, and e-mail addresses, in what is no free text."""
    if MAIL.search(text):
        return f"user-{_hash(text, salt)}@example.com"
    return RUN.sub(lambda run: _digits(run[0], salt), text)


def _digits(run: str, salt: bytes) -> str:
    """As many digits, the first of them the same."""
    number = int(_hash(run, salt, 32), 16)
    return run[0] + str(number % 10 ** (len(run) - 1)).zfill(len(run) - 1)


def _hash(value: str, salt: bytes, size: int = 4) -> str:
    told = value.encode("utf-8", "surrogatepass")
    return blake2s(told, key=salt, digest_size=size).hexdigest()
