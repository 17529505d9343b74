"""How the sender of a generic source is proved: a row of the signatures, or a secret."""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from marshmallow import ValidationError, fields, validate

from bridge.errors import PayloadError, SignatureError
from bridge.sources.generic.forms import field
from bridge.sources.generic.lines import TableSchema
from bridge.webhook import auth
from bridge.webhook.auth import (
    DIGESTS,
    INSTANTS,
    KEYS,
    STANDARD_WEBHOOKS,
    Scheme,
    verify,
)
from bridge.webhook.bodies import json_value
from bridge.webhook.source import Delivery, Verified

Proof = Callable[[Delivery, Iterable[str], float], Verified]
"""(delivery, secrets, now in seconds) -> Verified, or raises SignatureError."""

One = Callable[[Delivery, str], Verified]
"""(delivery, one secret) -> Verified; raises SignatureError or ValueError."""


def signed(scheme: Scheme) -> Proof:
    """A signature of *scheme*."""
    return lambda delivery, secrets, now: verify(scheme, delivery, secrets, now)


def shown(one: One) -> Proof:
    """A secret that the delivery shows, any of several."""

    def proof(delivery: Delivery, secrets: Iterable[str], _: float) -> Verified:
        for secret in secrets:
            with suppress(SignatureError, ValueError):
                return one(delivery, secret)
        raise SignatureError("no secret matches")

    return proof


def _basic(delivery: Delivery, secret: str) -> Verified:
    username, _, password = secret.partition(":")
    return auth.basic(delivery, username, password)


def _query(name: str) -> Proof:
    return shown(lambda delivery, secret: auth.token(delivery, name, secret))


def _header(header: str, prefix: str = "") -> Proof:
    def one(delivery: Delivery, secret: str) -> Verified:
        value = delivery.headers.get(header.lower(), "")
        return _equal(delivery, value, prefix + secret)

    return shown(one)


def _body(path: list[str], form: str = "json") -> Proof:
    """A secret that stands in the body: of what nobody has proved only it is read."""
    read = SECRETS[form]

    def proof(delivery: Delivery, secrets: Iterable[str], now: float) -> Verified:
        value = read(delivery, path)
        return shown(lambda same, secret: _equal(same, value, secret))(
            delivery, secrets, now
        )

    return proof


def _in_json(delivery: Delivery, path: list[str]) -> Any:
    """Its parser takes linear time, and gives up where a body is deep."""
    try:
        value = json_value(delivery.body)
    except PayloadError as error:
        raise SignatureError(error.reason) from None
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _in_form(delivery: Delivery, path: list[str]) -> Any:
    """Look for one name among the fields, without making objects of the others."""
    return field(delivery.body, path[0] + "".join(f"[{key}]" for key in path[1:]))


def _equal(delivery: Delivery, value: Any, secret: str) -> Verified:
    told = value.encode("utf-8", "surrogatepass") if isinstance(value, str) else b""
    if not hmac.compare_digest(told, secret.encode("utf-8", "surrogatepass")):
        raise SignatureError("the secret is not ours")
    return Verified(delivery)


def _hmac(**said: Any) -> Proof:
    said["header"] = said["header"].lower()
    try:
        return signed(Scheme(**said))
    except ValueError as error:
        raise ValidationError({"signed": [str(error)]}) from None


def one_of(*words: str, **options: Any) -> fields.String:
    """One of *words*."""
    check = validate.OneOf(words, error=f"must be one of {', '.join(words)}")
    return fields.String(validate=check, **options)


TEXT, NEEDED = fields.String(), fields.String(required=True)
TOLERANCE = validate.Range(1, 86_400, error="must be seconds, at most a day")
HMAC = {
    "header": NEEDED,
    "signed": NEEDED,
    **dict.fromkeys(("separator", "prefix", "timestamp_header"), TEXT),
    **dict.fromkeys(("timestamp_prefix", "key_prefix"), TEXT),
    "timestamp_first": fields.Boolean(),
    "unit": one_of(*INSTANTS),
    "tolerance": fields.Integer(strict=True, validate=TOLERANCE),
    "algorithm": one_of("sha256", "sha512", "sha1"),
    "key": one_of(*KEYS),
    "encoding": one_of(*DIGESTS),
}
SECRETS: Mapping[str, Callable[[Delivery, list[str]], Any]] = {
    "json": _in_json,
    "form": _in_form,
}
"""Word of `form` -> how the secret at a path is read; None: it is not there once."""

KEY = re.compile(r"[A-Za-z0-9_-]{1,100}(\.[A-Za-z0-9_-]{1,100}){0,9}")


class Keys(fields.Field[list[str]]):
    """The keys to a secret: a plain path like `auth.token`."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> list[str]:
        if not isinstance(value, str) or not KEY.fullmatch(value):
            raise ValidationError("must be a plain path, like auth.token")
        return value.split(".")


BODY = {"path": Keys(required=True), "form": one_of(*SECRETS)}

SCHEMES: Mapping[str, tuple[Mapping[str, Any], Callable[..., Proof]]] = {
    "hmac": (HMAC, _hmac),
    "standard-webhooks": ({}, lambda: signed(STANDARD_WEBHOOKS)),
    "basic": ({}, lambda: shown(_basic)),
    "header": ({"header": NEEDED, "prefix": TEXT}, _header),
    "query": ({"name": NEEDED}, _query),
    "body": (BODY, _body),
}
"""Word of `scheme` -> the other lines of its table, and the proof made of them."""


class Verify(fields.Field[Any]):
    """The word of a scheme, or a table with it and the scheme's own lines."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Proof:
        said = {"scheme": value} if isinstance(value, str) else value
        if not isinstance(said, dict) or said.get("scheme") not in SCHEMES:
            known = ", ".join(SCHEMES)
            raise ValidationError({"scheme": [f"must be one of {known}"]})
        lines, make = SCHEMES[said["scheme"]]
        schema = TableSchema.from_dict({**lines, "scheme": TEXT})()
        rest: dict[str, Any] = schema.load(said)
        del rest["scheme"]
        return make(**rest)
