"""How the sender of a generic source is proved: a row of the signatures, or a secret."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from bridge.errors import SignatureError
from bridge.sources.generic.paths import one_of, schema
from bridge.webhook import auth
from bridge.webhook.source import Delivery, Verified

Proof = Callable[[Delivery, Iterable[str], float], Verified]
"""(delivery, secrets, now in seconds) -> Verified, or raises SignatureError."""


def _signed(scheme: auth.Scheme) -> Proof:
    """A signature of *scheme*."""
    return lambda delivery, secrets, now: auth.verify(scheme, delivery, secrets, now)


def _shown(one: Callable[[Delivery, str], Verified]) -> Proof:
    """A secret that the delivery shows, any of several."""

    def proof(delivery: Delivery, secrets: Iterable[str], _: float) -> Verified:
        for secret in secrets:
            with suppress(SignatureError, ValueError):
                return one(delivery, secret)
        raise SignatureError("no secret matches")

    return proof


def _hmac(**lines: Any) -> Proof:
    try:
        return _signed(auth.Scheme(**{**lines, "header": lines["header"].lower()}))
    except ValueError as error:
        raise ValidationError({"signed": [str(error)]}) from None


def _basic(delivery: Delivery, secret: str) -> Verified:
    username, _, password = secret.partition(":")
    return auth.basic(delivery, username, password)


def _header(header: str, prefix: str = "") -> Proof:
    name = header.lower()
    return _shown(lambda d, s: auth.same(d, d.headers.get(name, ""), prefix + s))


def _query(name: str) -> Proof:
    return _shown(lambda delivery, secret: auth.token(delivery, name, secret))


TEXT, NEEDED = fields.String(), fields.String(required=True)
TOLERANCE = validate.Range(1, 86_400, error="must be seconds, at most a day")
HMAC = schema(
    scheme=TEXT,
    header=NEEDED,
    signed=NEEDED,
    separator=TEXT,
    prefix=TEXT,
    timestamp_header=TEXT,
    timestamp_prefix=TEXT,
    timestamp_first=fields.Boolean(),
    unit=one_of(*auth.INSTANTS),
    tolerance=fields.Integer(strict=True, validate=TOLERANCE),
    algorithm=one_of("sha256", "sha512", "sha1"),
    key=one_of(*auth.KEYS),
    key_prefix=TEXT,
    encoding=one_of(*auth.DIGESTS),
)
SCHEMES: Mapping[str, tuple[Schema, Callable[..., Proof]]] = {
    "hmac": (HMAC, _hmac),
    "standard-webhooks": (
        schema(scheme=TEXT),
        lambda: _signed(auth.STANDARD_WEBHOOKS),
    ),
    "basic": (schema(scheme=TEXT), lambda: _shown(_basic)),
    "header": (schema(scheme=TEXT, header=NEEDED, prefix=TEXT), _header),
    "query": (schema(scheme=TEXT, name=NEEDED), _query),
}
"""Word of `scheme` -> the lines of its table, and the proof made of them."""


class Verify(fields.Field[Proof]):
    """The word of a scheme, or a table with it and the scheme's own lines."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Proof:
        given = {"scheme": value} if isinstance(value, str) else value
        if not isinstance(given, dict) or given.get("scheme") not in SCHEMES:
            known = ", ".join(SCHEMES)
            raise ValidationError({"scheme": [f"must be one of {known}"]})
        lines, make = SCHEMES[given["scheme"]]
        rest: dict[str, Any] = lines.load(given)
        del rest["scheme"]
        return make(**rest)
