"""Whom a table believes: every scheme, and nobody else, whatever comes."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.sources.generic import recipes
from bridge.webhook.auth import STANDARD_WEBHOOKS, Scheme, sign
from bridge.webhook.source import Delivery
from tests.unit.test_vectors import HUBSPOT, is_refused, verifier

NOW = 1_800_000_000.0
BODY = b'{"id": "evt_example", "token": "example-token"}'
REST = {"party": "'x'", "at": "'2026-01-01'"}
SECRET = "6578616d706c65"
"""Text, hexadecimal and base64 alike."""

ATTIO = {"scheme": "hmac", "header": "attio-signature", "signed": "{body}"}
PROOFS = {name: recipe["verify"] for name, recipe in recipes().items()}
SIGNED: Mapping[str, Mapping[str, Any]] = {
    **{n: said for n, said in PROOFS.items() if "signed" in said},
    "attio": ATTIO,
    "hubspot": HUBSPOT,
}
"""Every table of an HMAC scheme."""

SHOWN = {
    "basic": (
        "basic",
        {"authorization": "Basic " + base64.b64encode(b"a:b:c").decode()},
    ),
    "bearer": (
        {"scheme": "header", "header": "Authorization", "prefix": "Bearer "},
        {"authorization": "Bearer a:b:c"},
    ),
    "query": ({"scheme": "query", "name": "token"}, {}),
}
"""Every scheme whose deliveries show the secret, and what a right one shows."""

URL = f"https://bridge.example.com/webhooks/x?token={quote('a:b:c')}"


def scheme_of(name: str) -> Scheme:
    if name == "standard-webhooks":
        return STANDARD_WEBHOOKS
    return Scheme(**{k: v for k, v in SIGNED[name].items() if k != "scheme"})


def signed(name: str, body: bytes = BODY, now: float = NOW) -> Delivery:
    url, ids = "https://bridge.example.com/webhooks/x", {"webhook-id": "msg_example"}
    headers = sign(scheme_of(name), SECRET, body, now, url=url, headers=ids)
    return Delivery("POST", url, headers, body)


def prove_of(name: str, *secrets: str) -> Any:
    said = "standard-webhooks" if name == "standard-webhooks" else SIGNED[name]
    return verifier({**REST, "verify": said}, *secrets)


@pytest.mark.parametrize("name", [*SIGNED, "standard-webhooks"])
def test_what_was_signed_is_verified(name: str) -> None:
    prove, delivery = prove_of(name, "another", SECRET), signed(name)
    timed = scheme_of(name).is_timed

    assert not is_refused(prove, delivery, NOW)
    assert timed == is_refused(prove, delivery, NOW + 301)
    assert timed == is_refused(prove, delivery, NOW - 301)
    assert is_refused(prove, delivery._replace(body=BODY + b" "), NOW)
    assert is_refused(prove_of(name, "another"), delivery, NOW)


def test_the_recipes_sign_in_every_way_that_is_promised() -> None:
    promised = {"paddle", "recurly", "maxio", "orb", "close", "lago", "lemonsqueezy"}

    assert promised | {"attio", "hubspot"} == set(SIGNED)


@pytest.mark.parametrize("name", SHOWN)
def test_a_secret_that_is_shown_is_believed(name: str) -> None:
    said, headers = SHOWN[name]
    delivery = Delivery("POST", URL, headers, BODY)
    prove = verifier({**REST, "verify": said}, "another", "a:b:c")

    assert not is_refused(prove, delivery, NOW)
    assert is_refused(verifier({**REST, "verify": said}, "a:b:d"), delivery, NOW)
    assert is_refused(prove, Delivery("POST", "", {}, b"{}"), NOW)


TEXT = st.text(st.characters(codec=None), max_size=60)
NAMES = st.sampled_from(
    [
        "authorization",
        "webhook-id",
        "webhook-signature",
        "webhook-timestamp",
        "paddle-signature",
        "x-signature",
        "attio-signature",
    ]
)


@given(
    st.sampled_from([*SIGNED, *SHOWN, "standard-webhooks"]),
    TEXT,
    st.dictionaries(NAMES, TEXT),
    st.one_of(
        st.binary(max_size=60),
        st.sampled_from([b"", b"{", b"[]", b"null", b"a[b=1", b"\xff", b"[" * 5000]),
    ),
)
def test_any_garbage_is_refused_and_nothing_else_happens(
    name: str, url: str, headers: dict[str, str], body: bytes
) -> None:
    said = SHOWN[name][0] if name in SHOWN else SIGNED.get(name, name)
    prove = verifier({**REST, "verify": said}, SECRET, "a secret of nobody")

    assert is_refused(prove, Delivery("POST", url, headers, body), NOW)


@given(st.sampled_from(["http://[", "http://[::1", "//[x]/", "\ud800?token=\ud800"]))
def test_a_host_that_is_none_is_refused(url: str) -> None:
    prove = verifier({**REST, "verify": SHOWN["query"][0]}, SECRET)

    assert is_refused(prove, Delivery("POST", url, {}, BODY), NOW)
