"""How the sender of a generic source is proved: a row of the signatures, or a secret."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate

from bridge.errors import PayloadError, SignatureError
from bridge.sources.generic.forms import parsed
from bridge.sources.generic.lines import Path, Search
from bridge.webhook import credentials
from bridge.webhook.encodings import DIGESTS, INSTANTS, KEYS
from bridge.webhook.signatures import STANDARD_WEBHOOKS, Scheme, verify
from bridge.webhook.source import Delivery, Verified

Proof = Callable[[Delivery, Iterable[str], float], Verified]
"""(delivery, secrets, now in seconds) -> Verified, or raises SignatureError."""


def signed(scheme: Scheme) -> Proof:
    """A signature of *scheme*."""
    return lambda delivery, secrets, now: verify(scheme, delivery, secrets, now)


def basic(_: Mapping[str, Any]) -> Proof:
    """HTTP Basic; each secret is `user:password`."""

    def proof(delivery: Delivery, secrets: Iterable[str], _: float) -> Verified:
        pairs = (secret.partition(":") for secret in secrets if secret.strip(":"))
        return _any(credentials.basic(delivery, p[0], p[2]) for p in pairs)

    return proof


def query(said: Mapping[str, Any]) -> Proof:
    """A secret in the URL."""

    def proof(delivery: Delivery, secrets: Iterable[str], _: float) -> Verified:
        return _any(credentials.token(delivery, said["name"], s) for s in secrets)

    return proof
