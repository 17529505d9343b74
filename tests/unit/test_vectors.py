"""What the vendors publish as rightly signed is believed, by a table as by code.

Each vector is a few lines of the vendor's own tests or examples, under its licence.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pytest

from bridge.errors import SignatureError
from bridge.sources.generic import make
from bridge.webhook.source import Delivery, Verified

HUBSPOT = {
    "scheme": "hmac",
    "header": "x-hubspot-signature-v3",
    "signed": "{method}{url}{body}{timestamp}",
    "timestamp_header": "x-hubspot-request-timestamp",
    "unit": "ms",
    "encoding": "base64",
}


class Vector(NamedTuple):
    """A signed delivery; *said* is the table that reads it, *at* in seconds."""

    said: Mapping[str, Any]
    secret: str
    at: float
    headers: Mapping[str, str]
    body: bytes
    url: str = ""


VECTORS = {
    # PaddleHQ/paddle-python-sdk, examples/webhook_verification.py, Apache-2.0
    "paddle": Vector(
        {"recipe": "paddle"},
        "pdl_ntfset_" + "01hs0t3tw21j988db1pam5xg8m_GrOWLNef+vmtjJYq4mSnHNzvc8uWoJ1I",
        1710498758,
        {
            "paddle-signature": "ts=1710498758;h1=558bf93944dbeb4790c7a8af6cb2ea435c8ca9"
            "c8396aafc1a4e37424ac132744"
        },
        b'{"data":{"id":"ctm_01hs0tqf76sxmp7ba5e4mw1sc8","name":"John Doe","email":'
        b'"blackhole+verification2@paddle.com","locale":"en","status":"active",'
        b'"created_at":"2024-03-15T10:32:37.862Z","updated_at":"2024-03-15T10:32:37.862Z"'
        b',"custom_data":null,"import_meta":null,"marketing_consent":false},"event_id":'
        b'"evt_01hs0tqfme2xwb2hvwv87p8y3w","event_type":"customer.created","occurred_at":'
        b'"2024-03-15T10:32:38.286848Z","notification_id":'
        b'"ntf_01hs0tqfrhgkyp39x4wyvy7h6n"}',
    ),
    # recurly/recurly-client-ruby, spec/recurly/webhooks_spec.rb, MIT
    "recurly": Vector(
        {"recipe": "recurly"},
        "354fab5bd35f5a0d50845ee7e30165244468b13c2c343f104e4e730a59326d9d",
        1663103925,
        {
            "recurly-signature": "1663103925004,ad24699f3beaa24c9af2cc7ada3ce4c835da0090"
            "194241b9d3add83d27f14bc3"
        },
        b'{"id":"rjxwmwedwqug","object_type":"account","site_id":"qc326l1hl8k9",'
        b'"event_type":"created","event_time":"2022-09-13T21:18:40Z","account_code":'
        b'"adfas23zzz14123"}',
    ),
    # orbcorp/orb-python, tests/api_resources/test_webhooks.py, Apache-2.0
    "orb": Vector(
        {"recipe": "orb"},
        "c-UGKYdnhHh436B_sMouYAPUvXyWpzOdunZBV5dFSD8",
        1711554149,
        {
            "x-orb-timestamp": "2024-03-27T15:42:29.551",
            "x-orb-signature": "v1=9d25de966891ab0bc18754faf8d83d0980b44ae330fcc130b41a6c"
            "f3daf1f391",
        },
        b'{"id": "o4mmewpfNNTnjfZc", "created_at": "2024-03-27T15:42:29+00:00", "type": '
        b'"resource_event.test", "properties": {"message": "A test webhook from Orb. '
        b'Happy testing!"}}',
    ),
    # HubSpot/hubspot-api-python, tests/spec/utils/test_signature.py, Apache-2.0
    "hubspot": Vector(
        {"verify": HUBSPOT, "party": "'x'", "at": "'2026-01-01'"},
        "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy",
        1693657560,
        {
            "x-hubspot-request-timestamp": "1693657560000",
            "x-hubspot-signature-v3": "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y=",
        },
        b"{'example_field':'example_value'}",
        "https://www.example.com/webhook_uri",
    ),
    # standard-webhooks/standard-webhooks, libraries/python/tests, MIT
    "standard-webhooks": Vector(
        {"recipe": "standard-webhooks", "party": "'x'"},
        "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        1614265330,
        {
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": "1614265330",
            "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        },
        b'{"test": 2432232314}',
    ),
}


def verifier(
    said: Mapping[str, Any], *secrets: str
) -> Callable[[Delivery, float], Verified]:
    """The verification of a table whose secrets these are."""
    names = [f"EXAMPLE_{n}" for n in range(len(secrets))]
    table = {**said, "secret_env": names or ["EXAMPLE_0"]}
    made = make("example", table, dict(zip(names, secrets, strict=True)))

    assert () == made.problems
    assert made.source is not None
    prove = made.source.verify
    return lambda delivery, now: prove(delivery, {}, now)


def is_refused(prove: Any, delivery: Delivery, now: float) -> bool:
    try:
        prove(delivery, now)
    except SignatureError:
        return True
    return False


@pytest.mark.parametrize("name", VECTORS)
def test_a_published_vector_is_believed(name: str) -> None:
    vector = VECTORS[name]
    delivery = Delivery("POST", vector.url, vector.headers, vector.body)
    prove = verifier(vector.said, vector.secret)
    rotated = verifier(vector.said, "another-example", vector.secret)

    assert delivery == prove(delivery, vector.at)
    assert delivery == rotated(delivery, vector.at)


@pytest.mark.parametrize("name", VECTORS)
def test_a_published_vector_with_anything_else_is_refused(name: str) -> None:
    vector = VECTORS[name]
    delivery = Delivery("POST", vector.url, vector.headers, vector.body)
    prove = verifier(vector.said, vector.secret)
    cut = {k: v[:-1] for k, v in vector.headers.items()}

    assert is_refused(prove, delivery._replace(body=vector.body + b"\n"), vector.at)
    assert is_refused(prove, delivery._replace(headers=cut), vector.at)
    assert is_refused(prove, delivery._replace(headers={}), vector.at)
    assert is_refused(prove, delivery, time.time())
    assert is_refused(prove, delivery, vector.at - 400)
    assert is_refused(verifier(vector.said, "another"), delivery, vector.at)
    assert is_refused(verifier(vector.said), delivery, vector.at)


@pytest.mark.parametrize("stamp", ["1663103925", "1663103925004"])
def test_recurly_s_time_may_be_in_seconds(stamp: str) -> None:
    """Its pages say milliseconds, and show seconds."""
    vector = VECTORS["recurly"]
    header = vector.headers["recurly-signature"].replace("1663103925004", stamp)
    delivery = Delivery("POST", "", {"recurly-signature": header}, vector.body)
    prove = verifier(vector.said, vector.secret)
    with pytest.raises(SignatureError) as refused:
        prove(delivery, vector.at + 301)
    assert "tolerance" in str(refused.value)

    assert (stamp == "1663103925") == is_refused(prove, delivery, vector.at)
