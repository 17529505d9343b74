"""Authentication of senders: by a signature, or by a secret that each delivery contains.

Each scheme is data, and `verify` handles all of them. A signature header is a list of
parts with one *separator*; a *prefix* marks a signature and, if the timestamp is in the
same header, another prefix marks that. So one rule reads `t=1,v1=ab,v1=cd` (Stripe),
`v1,ab v1,cd` (Standard Webhooks), `1,ab,cd` (Recurly) and a plain `ab` (HubSpot).
"""

from __future__ import annotations

import hmac
import re
import tomllib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.resources import files
from secrets import token_hex
from typing import Literal, NamedTuple
from urllib.parse import parse_qsl, urlencode

from bridge.errors import SignatureError
from bridge.webhook.source import Delivery, Verified, Weakness
from bridge.webhook.values import FIRST_MS

LONGEST_HEADER = 4096
"""Most characters of a header; a longer one is refused."""

LEAST = 16
"""Least characters of a secret that alone guards an endpoint, so that it cannot be guessed."""

VENDORS_OWN = "whsec_"
"""Prefix of secrets that the sender generates, whose length nobody here can choose."""


def _whole(text: str) -> float:
    if not (text.isascii() and text.isdigit()):
        raise ValueError("no whole number")
    return float(text)


def _either(text: str) -> float:
    """Seconds, or milliseconds where they would be after the year 5000."""
    return _whole(text) / (1 if _whole(text) < FIRST_MS else 1000)


def _iso(text: str) -> float:
    instant = datetime.fromisoformat(text)
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()


KEYS: Mapping[str, Callable[[str], bytes]] = {
    "text": str.encode,
    "hex": bytes.fromhex,
    # The padding may be missing, as in Standard Webhooks.
    "base64": lambda text: b64decode(text + "=" * (-len(text) % 4), validate=True),
}
"""How the key is derived from the secret's text; each raises ValueError."""

DIGESTS: Mapping[str, Callable[[bytes], bytes]] = {
    "hex": lambda digest: digest.hex().encode(),
    "base64": b64encode,
}
"""How a digest is written in the header."""

INSTANTS: Mapping[str, tuple[Callable[[str], float], Callable[[float], str]]] = {
    "s": (_whole, lambda now: str(int(now))),
    "ms": (lambda text: _whole(text) / 1000, lambda now: str(int(now * 1000))),
    "either": (_either, lambda now: str(int(now * 1000))),
    "iso": (_iso, lambda now: datetime.fromtimestamp(now, UTC).isoformat()),
}
"""Unit of a timestamp -> (text to seconds, raises ValueError; seconds to text)."""

_NAME = re.compile(r"\{(body|timestamp|method|url|header:[a-z0-9-]+)\}")
"""The names in `signed`; splitting by this yields literals and names alternately."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """How one kind of sender signs; header names are lower case.

    *signed* is a template of the signed text, with `{body}`, `{timestamp}`, `{method}`,
    `{url}` and `{header:NAME}`. The timestamp is in *timestamp_header*, else in the part
    of *header* with *timestamp_prefix*, else in its first part (*timestamp_first*), else
    there is none. *tolerance* is in seconds, both ways. *otherwise* is the scheme to use
    if *header* is absent.
    """

    header: str
    signed: str
    separator: str = ""
    prefix: str = ""
    timestamp_header: str = ""
    timestamp_prefix: str = ""
    timestamp_first: bool = False
    unit: Literal["s", "ms", "either", "iso"] = "s"
    tolerance: int = 300
    algorithm: Literal["sha1", "sha256", "sha512"] = "sha256"
    key: Literal["text", "hex", "base64"] = "text"
    key_prefix: str = ""
    encoding: Literal["hex", "base64"] = "hex"
    otherwise: Scheme | None = None

    def __post_init__(self) -> None:
        """Refuse a scheme that leaves the body unsigned or names what is unknown."""
        if "{" in _NAME.sub("", self.signed):
            raise ValueError(f"{self.signed!r} names what no delivery has")
        names = _NAME.findall(self.signed)
        if "body" not in names or self.is_timed != ("timestamp" in names):
            must = "the body, and the time where there is one, must be signed"
            raise ValueError(must)

    @property
    def is_timed(self) -> bool:
        """Whether deliveries have a signed timestamp."""
        return any((self.timestamp_header, self.timestamp_prefix, self.timestamp_first))


TABLE = tomllib.loads(files(__package__).joinpath("schemes.toml").read_text("utf-8"))
SCHEMES = {name: Scheme(**lines) for name, lines in TABLE.items()}
STRIPE, HUBSPOT = SCHEMES["stripe"], SCHEMES["hubspot"]
STANDARD_WEBHOOKS = replace(SCHEMES["standard-webhooks"], otherwise=SCHEMES["svix"])


class Credential(NamedTuple):
    """A secret that each delivery contains, after *prefix*.

    *place*: `user:password` of HTTP Basic, the header *name* (lower case), or the URL's
    query, where `NAME=…` must occur exactly once.
    """

    place: Literal["basic", "header", "query"]
    name: str = ""
    prefix: str = ""


BASIC = Credential("basic", "authorization")


# --- Proofs ---------------------------------------------------------------------


def verify(
    scheme: Scheme | Credential, delivery: Delivery, secrets: Iterable[str], now: float
) -> Verified:
    """Check that the sender of *delivery* has one of *secrets*; raises SignatureError.

    *now* is in seconds since the epoch. A secret that cannot be a key (empty, or not
    in the scheme's encoding) is skipped.
    """
    if isinstance(scheme, Credential):
        candidates, message = _presented(scheme, delivery), b""
    else:
        if scheme.otherwise and scheme.header not in delivery.headers:
            scheme = scheme.otherwise
        candidates, message = _signed(scheme, delivery, now)
    for secret in secrets:
        expected = _expected(scheme, secret, message)
        # A sum, not any(): comparing every candidate keeps the time constant.
        if expected and sum(hmac.compare_digest(expected, c) for c in candidates):
            return Verified(delivery)
    raise SignatureError("it does not match the secret", "mismatch")


def sign(  # noqa: PLR0913 - one argument for each thing that a scheme may sign
    scheme: Scheme,
    secret: str,
    body: bytes,
    now: float,
    *,
    url: str = "",
    headers: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Return the headers that authenticate *body*, including the given *headers*.

    *now* is in seconds since the epoch. Raises SignatureError where *secret* cannot be
    a key of the scheme, or a header that the scheme signs is not among *headers*.
    """
    sent = dict(headers or {})
    timestamp = INSTANTS[scheme.unit][1](now) if scheme.is_timed else ""
    message = _message(scheme, Delivery("POST", url, sent, body), timestamp)
    signature = _expected(scheme, secret, message)
    if signature is None:
        raise SignatureError("the secret cannot be a key of this scheme")
    parts = [scheme.prefix + signature.decode()]
    if scheme.timestamp_header:
        sent[scheme.timestamp_header] = timestamp
    elif scheme.is_timed:
        parts.insert(0, scheme.timestamp_prefix + timestamp)
    return {**sent, scheme.header: scheme.separator.join(parts)}


def prove(
    scheme: Scheme | Credential, secrets: Sequence[str], delivery: Delivery, now: float
) -> Delivery:
    """Return *delivery* as a sender with the first of *secrets* makes it.

    The inverse of `verify`. Raises SignatureError without a usable secret.
    """
    if not secrets:
        raise SignatureError("it has no secret to sign with")
    secret, sent = secrets[0], dict(delivery.headers)
    if isinstance(scheme, Scheme):
        names = [n.partition(":")[2] for n in _NAME.findall(scheme.signed)]
        sent = {name: f"msg_{token_hex(8)}" for name in names if name} | sent
        sent = sign(scheme, secret, delivery.body, now, url=delivery.url, headers=sent)
        return delivery._replace(headers=sent)
    given = (_expected(scheme, secret, b"") or b"").decode()
    if scheme.place == "query":
        query = urlencode({scheme.name: given})
        return delivery._replace(url=f"{delivery.url}?{query}")
    basic = f"Basic {b64encode(given.encode()).decode()}"
    shown = given.encode().decode("latin-1")
    sent[scheme.name] = basic if scheme.place == "basic" else shown
    return delivery._replace(headers=sent)


def _presented(scheme: Credential, delivery: Delivery) -> list[bytes]:
    """What a delivery contains where its secret should be.

    A `+` in a query is a blank, or itself, where somebody pasted a secret into a URL.
    """
    if scheme.place == "query":
        query = delivery.url.partition("?")[2]
        both = f"{query}&{query.replace('+', '%2B')}"
        pairs = parse_qsl(both, keep_blank_values=True)
        values = [value for key, value in pairs if key == scheme.name]
        if len(values) != 2:  # noqa: PLR2004 - one, read in both ways
            wrong = f"the URL must have exactly one {scheme.name}"
            raise SignatureError(wrong, "malformed" if values else "missing")
        return [_bytes(value) for value in values]
    header = delivery.headers.get(scheme.name, "")
    if scheme.place == "header":
        mark = header[: len(scheme.prefix)]
        # The word before the secret has no case: RFC 7235, 2.1.
        if scheme.name == "authorization" and mark.lower() == scheme.prefix.lower():
            header = scheme.prefix + header[len(mark) :]
        # Its bytes, which came in as Latin-1: the secret as the sender encodes it.
        return [_bytes(header), header.encode("latin-1", "backslashreplace")]
    word, _, encoded = header.partition(" ")
    try:
        given = b64decode(encoded, validate=True)
    except ValueError:
        raise SignatureError("the authorization header is not base64") from None
    if word.lower() != "basic":
        raise SignatureError("no Basic authorization header", "missing")
    return [given]


def _signed(
    scheme: Scheme, delivery: Delivery, now: float
) -> tuple[list[bytes], bytes]:
    """The signatures of a delivery, and the bytes that are signed."""
    header = delivery.headers.get(scheme.header)
    if header is None or len(header) > LONGEST_HEADER:
        wrong, kind = ("too long a", "malformed") if header else ("no", "missing")
        raise SignatureError(f"{wrong} {scheme.header} header", kind)
    parts = header.split(scheme.separator) if scheme.separator else [header]
    parts = [part.strip() for part in parts]
    timestamp = _timestamp(scheme, parts, delivery, now) if scheme.is_timed else ""
    mark, is_hex = scheme.prefix, scheme.encoding == "hex"
    shown = [part.removeprefix(mark) for part in parts if part.startswith(mark)]
    candidates = [_bytes(part.lower() if is_hex else part) for part in shown]
    return candidates, _message(scheme, delivery, timestamp)


def _timestamp(scheme: Scheme, parts: list[str], delivery: Delivery, now: float) -> str:
    """The signed timestamp; refused if it is too old or in the future."""
    mark = scheme.timestamp_prefix
    if scheme.timestamp_header:
        times = [delivery.headers.get(scheme.timestamp_header, "")]
    elif mark:
        times = [part.removeprefix(mark) for part in parts if part.startswith(mark)]
    else:
        times = [parts.pop(0)]
    # Two timestamps in one header: it is unknown which one was signed.
    if len(times) != 1:
        raise SignatureError(f"{scheme.header} must have exactly one timestamp")
    try:
        age = now - INSTANTS[scheme.unit][0](times[0])
    except ValueError:
        raise SignatureError("the timestamp cannot be read") from None
    if not abs(age) <= scheme.tolerance:
        raise SignatureError("the timestamp is outside the tolerance", "stale")
    return times[0]


def _message(scheme: Scheme, delivery: Delivery, timestamp: str) -> bytes:
    """Return the bytes that are signed."""
    known = {"timestamp": timestamp, "method": delivery.method, "url": delivery.url}
    known |= {f"header:{name}": value for name, value in delivery.headers.items()}
    message = b""
    for index, piece in enumerate(_NAME.split(scheme.signed)):
        if index % 2 == 0:
            message += piece.encode()
        elif piece == "body":
            message += delivery.body
        elif known.get(piece):
            message += _bytes(known[piece])
        else:
            raise SignatureError(f"{piece} is signed but missing")
    return message


def _bytes(text: str) -> bytes:
    """Encode any text, lone surrogates included, each to different bytes."""
    return text.encode("utf-8", "surrogatepass")


def _expected(scheme: Scheme | Credential, secret: str, message: bytes) -> bytes | None:
    """The signature or secret to expect with this secret; None if it cannot be a key."""
    if isinstance(scheme, Credential):
        password = ":" if scheme.place == "basic" and ":" not in secret else ""
        return _bytes(scheme.prefix + secret + password) if secret else None
    try:
        key = KEYS[scheme.key](secret.removeprefix(scheme.key_prefix))
    except ValueError:
        return None
    digest = hmac.digest(key, message, scheme.algorithm)
    return DIGESTS[scheme.encoding](digest) if key else None


# --- Secrets that are too weak --------------------------------------------------


def is_key(scheme: Scheme | Credential, secret: str) -> bool:
    """Whether *secret* can be a key of *scheme*; if not, it matches nothing."""
    return _expected(scheme, secret, b"") is not None


def weaknesses(name: str, secrets: str | Iterable[str] | None) -> Iterator[Weakness]:
    """Yield the weaknesses of the *secrets* in variable *name*; any one of them is accepted."""
    for secret in [secrets] if isinstance(secrets, str) else secrets or ():
        holds = f"{name} holds a secret of {len(secret)} characters"
        if len(secret) >= LEAST:
            continue
        if secret.startswith(VENDORS_OWN) and secret != VENDORS_OWN:
            yield Weakness(f"{holds}, fewer than {LEAST}: is it whole?", refused=False)
        else:
            yield Weakness(f"{holds}; it must have at least {LEAST}")


def weaknesses_of_pair(
    username: str, password: str, values: Mapping[str, str | None]
) -> Iterator[Weakness]:
    """Yield the same for HTTP Basic, where user and password guard together.

    *username* and *password* are the names of their variables in *values*.
    """
    user, word = values[username] or "", values[password] or ""
    if ":" in user:
        yield Weakness(f"{username} must not have a colon: HTTP Basic ends it there")
    if len(word) < 2:  # noqa: PLR2004 - none, or a single character
        yield Weakness(f"{password} must be set, and not to a single character")
    elif len(user) + len(word) < LEAST:
        both = f"{username} and {password} have {len(user) + len(word)} characters"
        yield Weakness(f"{both} together; they must have at least {LEAST}")
