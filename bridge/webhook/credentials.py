"""Proof of a sender that signs nothing: it shows a secret, compared in constant time."""

from __future__ import annotations

import hmac
from base64 import b64decode
from urllib.parse import parse_qsl

from bridge.errors import SignatureError
from bridge.webhook.source import Delivery, Verified


def basic(delivery: Delivery, username: str, password: str) -> Verified:
    """Prove HTTP Basic; either may be empty. Raises SignatureError."""
    scheme, _, told = delivery.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        raise SignatureError("no Basic authorization header")
    try:
        shown = b64decode(told, validate=True)
    except ValueError:
        raise SignatureError("the authorization header is no base64") from None
    return _equal(delivery, shown, f"{username}:{password}")


def token(delivery: Delivery, name: str, secret: str) -> Verified:
    """Prove the secret in the URL, `?NAME=…` once alone. Raises SignatureError."""
    query = parse_qsl(delivery.url.partition("?")[2], keep_blank_values=True)
    shown = [value for key, value in query if key == name]
    if len(shown) != 1:
        raise SignatureError(f"the URL has not one {name}")
    return _equal(delivery, shown[0].encode("utf-8", "surrogatepass"), secret)


def _equal(delivery: Delivery, shown: bytes, secret: str) -> Verified:
    if not hmac.compare_digest(shown, secret.encode("utf-8", "surrogatepass")):
        raise SignatureError("the secret is not ours")
    return Verified(delivery)
