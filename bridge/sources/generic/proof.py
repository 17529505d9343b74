"""How the sender of a generic source is proved: a row of the signatures, or a secret."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, validate

from bridge.sources.generic.paths import one_of, schema
from bridge.webhook import auth


def _hmac(header: str, **lines: Any) -> auth.Scheme:
    try:
        return auth.Scheme(header=header.lower(), **lines)
    except ValueError as error:
        raise ValidationError({"signed": [str(error)]}) from None


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
SCHEMES: Mapping[str, tuple[Schema, Callable[..., auth.Scheme | auth.Shown]]] = {
    "hmac": (HMAC, _hmac),
    "standard-webhooks": (schema(scheme=TEXT), lambda: auth.STANDARD_WEBHOOKS),
    "basic": (schema(scheme=TEXT), lambda: auth.BASIC),
    "header": (
        schema(scheme=TEXT, header=NEEDED, prefix=TEXT),
        lambda header, prefix="": auth.Shown("header", header.lower(), prefix),
    ),
    "query": (
        schema(scheme=TEXT, name=NEEDED),
        lambda name: auth.Shown("query", name),
    ),
}
"""Word of `scheme` -> the lines of its table, and the scheme made of them."""


class Verify(fields.Field[Any]):
    """The word of a scheme, or a table with it and the scheme's own lines."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> auth.Scheme | auth.Shown:
        given = {"scheme": value} if isinstance(value, str) else value
        if not isinstance(given, dict) or given.get("scheme") not in SCHEMES:
            known = ", ".join(SCHEMES)
            raise ValidationError({"scheme": [f"must be one of {known}"]})
        lines, make = SCHEMES[given["scheme"]]
        rest: dict[str, Any] = lines.load(given)
        del rest["scheme"]
        return make(**rest)
