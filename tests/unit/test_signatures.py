"""What is signed is believed; whatever else comes is a SignatureError, and no other."""

from __future__ import annotations

import base64
import time
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import quote

import pytest
import stripe
from hypothesis import example, given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from bridge.errors import SignatureError
from bridge.sources.generic import recipes
from bridge.webhook.auth import (
    BASIC,
    HUBSPOT,
    LONGEST_HEADER,
    SCHEMES,
    STANDARD_WEBHOOKS,
    STRIPE,
    Credential,
    Scheme,
    prove,
    sign,
    verify,
)
from bridge.webhook.source import Delivery
from tests.unit.test_vectors import verifier

NOW = 1_700_000_000.0
BODY = b'{"id": "evt_example", "text": "\xc3\xa4"}'
TEXT_SECRET = "whsec_example"
BASE64_SECRET = "whsec_" + base64.b64encode(b"an example key of some length").decode()
HEX_SECRET = b"an example key".hex()

UNTIMED = Scheme(header="x-example-signature", signed="{body}", algorithm="sha512")
MARKED_FIRST = Scheme(
    header="x-example",
    signed="{timestamp}{body}",
    separator=",",
    timestamp_prefix="t=",
    timestamp_first=True,
)


TABLES = {name: recipe["verify"] for name, recipe in recipes().items()}
HMAC = {
    name: Scheme(**{k: v for k, v in lines.items() if k != "scheme"})
    for name, lines in TABLES.items()
    if "signed" in lines
}
SECRETS = {
    STRIPE: TEXT_SECRET,
    STANDARD_WEBHOOKS: BASE64_SECRET,
    SCHEMES["svix"]: BASE64_SECRET,
    HUBSPOT: TEXT_SECRET,
    UNTIMED: TEXT_SECRET,
    MARKED_FIRST: TEXT_SECRET,
    **dict.fromkeys(HMAC.values(), HEX_SECRET),
}
"""Every scheme there is, those of the recipes too, and a secret that it can use."""

SCHEMES = pytest.mark.parametrize("scheme", SECRETS, ids=lambda scheme: scheme.header)
ANY_SCHEME = st.sampled_from(list(SECRETS))
ORB = HMAC["orb"]


def signed(scheme: Scheme, body: bytes = BODY, now: float = NOW) -> Delivery:
    url = "https://bridge.example.com/webhooks/x?a=1"
    ids = {"webhook-id": "msg_example", "svix-id": "msg_example"}
    headers = sign(scheme, SECRETS[scheme], body, now, url=url, headers=ids)
    return Delivery("POST", url, headers, body)


def is_refused(
    scheme: Scheme | Credential,
    delivery: Delivery,
    secrets: tuple[str, ...] = (),
    now: float = NOW,
) -> bool:
    """True for a SignatureError, False for a proof; any other exception fails."""
    try:
        verify(scheme, delivery, secrets or (SECRETS[scheme],), now)
    except SignatureError:
        return True
    return False


def test_the_recipes_sign_in_every_way_that_is_promised() -> None:
    assert {
        *("paddle", "recurly", "maxio", "orb", "close", "lago", "lemonsqueezy")
    } == set(HMAC)


@SCHEMES
def test_any_of_several_secrets_will_do(scheme: Scheme) -> None:
    delivery, secrets = signed(scheme), ("", "%", "ff", SECRETS[scheme])

    assert delivery == verify(scheme, delivery, secrets, NOW)
    assert is_refused(scheme, delivery, ("", "%", "ff", BASE64_SECRET + "ABCD"))
    with pytest.raises(SignatureError):
        verify(scheme, delivery, (), NOW)


@SCHEMES
def test_an_empty_secret_proves_nothing(scheme: Scheme) -> None:
    with pytest.raises(SignatureError):
        sign(scheme, "", BODY, NOW, headers={"webhook-id": "a", "svix-id": "a"})
    with pytest.raises(SignatureError):
        verify(scheme, signed(scheme), ("", "whsec_"), NOW)


@SCHEMES
def test_hex_may_be_in_upper_case_and_base64_may_not(scheme: Scheme) -> None:
    delivery = signed(scheme)
    mark, text = scheme.prefix, delivery.headers[scheme.header]
    begins = text.rindex(mark) + len(mark) if mark else text.rfind(",") + 1
    upper = text[:begins] + text[begins:].upper()
    headers = {**delivery.headers, scheme.header: upper}

    expected = scheme.encoding == "base64"
    assert expected == is_refused(scheme, delivery._replace(headers=headers))


@SCHEMES
def test_too_old_and_too_new_are_refused(scheme: Scheme) -> None:
    delivery = signed(scheme)
    ages = (-301, -299, 299, 301)

    expected = [scheme.is_timed, False, False, scheme.is_timed]
    assert expected == [is_refused(scheme, delivery, now=NOW + age) for age in ages]


@given(ANY_SCHEME, st.data())
def test_any_mutated_byte_of_the_body_is_refused(
    scheme: Scheme, data: st.DataObject
) -> None:
    delivery = signed(scheme)
    place = data.draw(st.integers(0, len(BODY) - 1))
    bit = data.draw(st.integers(1, 255))
    body = bytearray(BODY)
    body[place] ^= bit

    assert is_refused(scheme, delivery._replace(body=bytes(body)))
    assert is_refused(scheme, delivery._replace(body=BODY + bytes([bit])))
    assert is_refused(scheme, delivery._replace(body=BODY[:place]))


def test_any_mutated_part_of_what_else_is_signed_is_refused() -> None:
    delivery = signed(HUBSPOT)
    renamed = signed(STANDARD_WEBHOOKS)
    renamed = renamed._replace(headers={**renamed.headers, "webhook-id": "msg_other"})

    assert is_refused(HUBSPOT, delivery._replace(method="PUT"))
    assert is_refused(HUBSPOT, delivery._replace(url=delivery.url + "&b=2"))
    assert is_refused(STANDARD_WEBHOOKS, renamed)


@given(ANY_SCHEME, st.data())
def test_any_mutated_header_is_refused(scheme: Scheme, data: st.DataObject) -> None:
    delivery = signed(scheme)
    names = {scheme.header, scheme.timestamp_header} - {""}
    name = data.draw(st.sampled_from(sorted(names)))
    value = delivery.headers[name]
    place = data.draw(st.integers(0, len(value) - 1))
    changed = value[:place] + data.draw(st.characters(codec=None)) + value[place + 1 :]
    headers = {**delivery.headers, name: changed}

    # White space round a part is no part of it: `t=1, v1=ab`. Hex has no case.
    harmless = changed.split() == value.split() or value == changed.strip()
    if scheme.encoding == "hex" and changed.isascii():
        harmless |= value.lower() == changed.lower()
    assert harmless or is_refused(scheme, delivery._replace(headers=headers))


GARBAGE = st.one_of(
    st.text(st.characters(codec=None), max_size=60),
    st.text("0123456789,;=. v1thsabcdef", max_size=60),
    st.from_regex(r"t=.{0,12},v1=.{0,70}", fullmatch=True),
    st.from_regex(r"v1,.{0,50}( v1,.{0,50}){0,3}", fullmatch=True),
)


@given(
    ANY_SCHEME,
    st.dictionaries(
        st.sampled_from(
            sorted({n for s in SECRETS for n in (s.header, s.timestamp_header) if n})
        ),
        GARBAGE,
    ),
    st.lists(st.text(st.characters(codec=None), max_size=30), max_size=3),
)
@example(ORB, {ORB.header: "v1=a", ORB.timestamp_header: "0001-01-01T00:00+14:00"}, [])
@example(ORB, {ORB.header: "v1=a", ORB.timestamp_header: "9999-12-31T23:59-14:00"}, [])
@example(STRIPE, {"stripe-signature": "t=" + "9" * 4000 + ",v1=a"}, [])
@example(HUBSPOT, {"x-hubspot-signature-v3": "\x00", HUBSPOT.timestamp_header: "٣"}, [])
def test_any_garbage_is_refused(
    scheme: Scheme, headers: dict[str, str], secrets: list[str]
) -> None:
    delivery = Delivery("POST", "\ud800", headers, BODY)

    assert is_refused(scheme, delivery, (*secrets, SECRETS[scheme]))


T = "t=1700000000"


@pytest.mark.parametrize(
    "header",
    [
        *("", T, "v1={good}", f"{T},v1=", f"{T},v0={{good}}", f"{T},{T},v1={{good}}"),
        f"{T},v1={{good}},t=1699999999,v1={{good}}",
        *("t=+1700000000,v1={good}", "t=-1,v1={good}", "t=1_700_000_000,v1={good}"),
        *("t=1.7e9,v1={good}", "t=nan,v1={good}", "t=,v1={good}"),
        "t=\u0661\u0667\u0660\u0660\u0660\u0660\u0660\u0660\u0660\u0660,v1={good}",
        f"t={'9' * 400},v1={{good}}",
        *(f"{T}\x00,v1={{good}}", f"{T},v1={{good}}\xff", "T=1700000000,V1={good}"),
        f"{T},v1={{good}}{',' * LONGEST_HEADER}",
    ],
)
def test_a_malformed_header_is_refused(header: str) -> None:
    good = sign(STRIPE, TEXT_SECRET, BODY, NOW)["stripe-signature"].partition("v1=")[2]
    headers = {"stripe-signature": header.format(good=good)}

    assert is_refused(STRIPE, Delivery("POST", "", headers, BODY))


def test_a_header_that_is_signed_and_missing_is_refused() -> None:
    delivery = signed(STANDARD_WEBHOOKS)
    without = {k: v for k, v in delivery.headers.items() if k != "webhook-id"}

    assert is_refused(STANDARD_WEBHOOKS, delivery._replace(headers=without))
    with pytest.raises(SignatureError):
        sign(STANDARD_WEBHOOKS, BASE64_SECRET, BODY, NOW)


def test_a_scheme_must_sign_the_body_and_its_time() -> None:
    for signed_text in ("{timestamp}", "{body}", "{timestamp}.{body}.{query}"):
        with pytest.raises(ValueError, match=r"sign|names"):
            replace(STRIPE, signed=signed_text)


def test_stripe_believes_what_we_sign() -> None:
    header = sign(STRIPE, TEXT_SECRET, BODY, time.time())["stripe-signature"]

    assert stripe.WebhookSignature.verify_header(BODY, header, TEXT_SECRET, 300)


def test_we_believe_what_stripe_signs_with_any_of_several_secrets() -> None:
    make = stripe.WebhookSignature.generate_signature_header
    old = make(BODY.decode(), "whsec_old_example", int(NOW))
    new = make(BODY.decode(), TEXT_SECRET, int(NOW))
    rotated = f"{old},{new.partition(',')[2]},v0=abc"
    deliveries = [
        Delivery("POST", "", {"stripe-signature": header}, BODY)
        for header in (new, rotated, old)
    ]

    expected = [False, False, True]
    assert expected == [is_refused(STRIPE, delivery) for delivery in deliveries]
    assert not is_refused(STRIPE, deliveries[2], ("whsec_x", "whsec_old_example"))
    assert stripe.WebhookSignature.verify_header(BODY, rotated, TEXT_SECRET, None)


def test_standard_webhooks_believes_what_we_sign() -> None:
    headers = {"webhook-id": "msg_example"}
    sent = sign(STANDARD_WEBHOOKS, BASE64_SECRET, BODY, time.time(), headers=headers)

    assert {"id": "evt_example", "text": "ä"} == Webhook(BASE64_SECRET).verify(
        BODY, sent
    )


@pytest.mark.parametrize("name", ["webhook", "svix"])
def test_we_believe_what_standard_webhooks_signs(name: str) -> None:
    unpadded = BASE64_SECRET.rstrip("=")
    instant = datetime.fromtimestamp(NOW, UTC)
    signature = Webhook(unpadded).sign("msg_example", instant, BODY.decode())
    headers = {
        f"{name}-id": "msg_example",
        f"{name}-timestamp": "1700000000",
        f"{name}-signature": f"v1a,other v1,b3RoZXI= {signature}",
    }
    delivery = Delivery("POST", "", headers, BODY)

    assert not is_refused(STANDARD_WEBHOOKS, delivery, (unpadded,))
    assert is_refused(STANDARD_WEBHOOKS, delivery, (BASE64_SECRET[:-4] + "AAAA",))


# --- Secrets that are shown -----------------------------------------------------

URL = f"https://bridge.example.com/webhooks/x?token={quote('a:b:c')}"
SHOWN = {
    BASIC: {"authorization": "Basic " + base64.b64encode(b"a:b:c").decode()},
    Credential("header", "authorization", "Bearer "): {"authorization": "Bearer a:b:c"},
    Credential("query", "token"): {},
}
"""Every way to show a secret, and the headers of a right one."""

IN_A_TABLE = {
    "basic": "basic",
    "header": {"scheme": "header", "header": "Authorization", "prefix": "Bearer "},
    "query": {"scheme": "query", "name": "token"},
}
TEXT = st.text(st.characters(codec=None), max_size=60)


@pytest.mark.parametrize("scheme", SHOWN, ids=lambda scheme: scheme.place)
def test_a_secret_that_is_shown_is_believed(scheme: Credential) -> None:
    delivery = Delivery("POST", URL, SHOWN[scheme], BODY)
    table = {"verify": IN_A_TABLE[scheme.place], "party": "'x'", "at": "'2026-01-01'"}

    assert delivery == verifier(table, "another", "a:b:c")(delivery, NOW)
    assert is_refused(scheme, delivery, ("a:b:d", ""))
    assert is_refused(scheme, Delivery("POST", "", {}, b"{}"), ("a:b:c",))


@pytest.mark.parametrize("scheme", [s for s in SHOWN if s.place != "query"])
def test_the_name_of_an_authentication_has_no_case(scheme: Credential) -> None:
    word, _, secret = SHOWN[scheme]["authorization"].partition(" ")
    for name in (word, word.lower(), word.upper()):
        delivery = Delivery("POST", "", {"authorization": f"{name} {secret}"}, BODY)
        assert not is_refused(scheme, delivery, ("a:b:c",))
    wrong = Delivery("POST", "", {"authorization": f"Bearers {secret}"}, BODY)
    assert is_refused(scheme, wrong, ("a:b:c",))


@pytest.mark.parametrize(
    ("secret", "codec"),
    [("schl\xfcssel-example", "latin-1"), ("schl\xfcssel-\N{SNOWMAN}", "utf-8")],
)
def test_a_secret_in_a_header_may_have_any_letters(secret: str, codec: str) -> None:
    scheme = Credential("header", "x-token")
    sent = secret.encode(codec).decode("latin-1")  # as WSGI has the header

    assert not is_refused(
        scheme, Delivery("POST", "", {"x-token": sent}, BODY), (secret,)
    )
    proved = prove(scheme, [secret], Delivery("POST", "", {}, BODY), NOW)
    assert not is_refused(scheme, proved, (secret,))
    assert secret.encode() == proved.headers["x-token"].encode("latin-1")


@pytest.mark.parametrize("called", ["a+b/c==", "a%2Bb%2Fc%3D%3D", "a%2bb/c=="])
def test_a_secret_may_be_pasted_into_a_url_as_it_is(called: str) -> None:
    delivery = Delivery("POST", f"/webhooks/x?token={called}&a=1", {}, BODY)

    assert not is_refused(Credential("query", "token"), delivery, ("a+b/c==",))
    assert is_refused(Credential("query", "token"), delivery, ("a+b/c=",))


def test_a_table_names_headers_as_the_vendor_writes_them() -> None:
    lines = {
        "scheme": "hmac",
        "header": "X-Example-Signature",
        "signed": "{header:X-Example-Id}:{timestamp}:{body}",
        "timestamp_header": "X-Example-Timestamp",
    }
    table = {"verify": lines, "party": "'x'", "at": "'2026-01-01'"}
    names = {k: v.lower() for k, v in lines.items() if k != "scheme"}
    sent = {"x-example-id": "msg_example"}
    headers = sign(Scheme(**names), TEXT_SECRET, BODY, NOW, headers=sent)
    delivery = Delivery("POST", "", headers, BODY)

    assert delivery == verifier(table, TEXT_SECRET)(delivery, NOW)


@given(st.sampled_from(list(SHOWN)), TEXT, st.none() | TEXT)
@example(Credential("query", "token"), "http://[", None)
@example(Credential("query", "token"), "http://[::1", None)
@example(Credential("query", "token"), "//[x]/", None)
@example(Credential("query", "token"), "\ud800?token=\ud800", None)
@example(Credential("query", "token"), "?token=a:b:c&token=a:b:c", None)
def test_any_garbage_that_is_shown_is_refused(
    scheme: Credential, url: str, header: str | None
) -> None:
    headers = {} if header is None else {"authorization": header}

    assert is_refused(scheme, Delivery("POST", url, headers, BODY), ("a:b:c", "x" * 99))
