"""Recorded replies, and some that nobody should send, read without a network."""

from __future__ import annotations

from contextlib import suppress

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import (
    VitallyError,
    VitallyLimitedError,
    VitallyRefusedError,
    VitallyUnavailableError,
)
from bridge.vitally.replies import (
    Rate,
    Reply,
    already_exists,
    rate,
    reason,
    retry_after,
    value,
)

RECORDED_400 = {
    "error": {
        "message": "validation failed",
        "errors": [
            {
                "instancePath": "/externalId",
                "schemaPath": "#/properties/externalId/type",
                "keyword": "type",
                "params": {"type": "string"},
                "message": "must be string",
            }
        ],
    }
}
RECORDED_401 = {"error": "Authorization header not present."}


def reply(status: int, body: object, **headers: str) -> Reply:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    return Reply(status, {k.replace("_", "-"): v for k, v in headers.items()}, content)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, RECORDED_400, "/externalId must be string"),
        (401, RECORDED_401, "Authorization header not present."),
        (400, {"message": "externalId is required"}, "externalId is required"),
        (400, {"error": {"message": "validation failed"}}, "validation failed"),
        (400, {"error": {"errors": [3, {}]}}, '{"error":{"errors":[3,{}]}}'),
        (400, {"error": None}, '{"error":null}'),
        (500, b"", "answered 500 without a reason"),
        (502, b"\n<html>oops</html>", "answered 502 without a reason"),
        (503, b"upstream\tis\r\n\x1b[31mdown", "upstream is [31mdown"),
        (500, b"\xff\xfe", "��"),
    ],
)
def test_a_reason_is_one_readable_line(status, body, expected):
    assert expected == reason(reply(status, body))


def test_a_reason_is_short():
    assert 300 == len(reason(reply(400, {"error": "x" * 5000})))


def test_a_reason_never_repeats_the_key():
    body = {"error": "Invalid key sk_test_example in Basic c2tfdGVzdDo="}

    words = reason(reply(401, body), ("sk_test_example", "c2tfdGVzdDo="))

    assert "Invalid key … in Basic …" == words


def test_the_recorded_rate_is_read():
    headers = {
        "RateLimit-Limit": "1000, 1000;window=60",
        "RateLimit-Remaining": "990",
        "RateLimit-Reset": "1",
    }

    assert Rate(1000, 990) == rate(headers)


@pytest.mark.parametrize("name", ["Limit", "Remaining"])
@pytest.mark.parametrize("bad", ["", "many", "-1", "1e9", "nan", "٣", "9" * 40])
def test_a_garbled_rate_is_no_rate(name, bad):
    headers = {"RateLimit-Limit": "10", "RateLimit-Remaining": "10"}

    assert Rate(10, 10) == rate(headers)
    assert rate({**headers, f"RateLimit-{name}": bad}) is None


NOW = 1_784_600_000.0


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"RateLimit-Reset": "7"}, 7.0),
        ({"Retry-After": "3", "RateLimit-Reset": "7"}, 3.0),
        ({"Retry-After": "soon", "RateLimit-Reset": "7"}, 7.0),
        (
            {
                "Retry-After": "Tue, 21 Jul 2026 10:00:30 GMT",
                "Date": "Tue, 21 Jul 2026 10:00:00 GMT",
            },
            30.0,
        ),
        ({"Retry-After": "Tue, 21 Jul 2020 10:00:30 GMT"}, 0.0),
        ({"RateLimit-Reset": "1784600004"}, 4.0),
        ({"Retry-After": "1784600004.5", "RateLimit-Reset": "7"}, 4.5),
        (
            {
                "RateLimit-Reset": "1784628030",
                "Date": "Tue, 21 Jul 2026 10:00:00 GMT",
            },
            30.0,
        ),
        ({"RateLimit-Reset": "1784599000"}, 0.0),
        ({"RateLimit-Reset": "Tue, 21 Jul 2026 10:00:30 GMT"}, 28030.0),
    ],
)
def test_the_wait_is_retry_after_else_the_reset(headers, expected):
    assert expected == retry_after(headers, NOW)


def test_a_429_carries_its_wait():
    with pytest.raises(VitallyLimitedError) as limited:
        value(reply(429, {"error": "Slow down"}, Retry_After="12"), (), NOW)

    assert 12.0 == limited.value.retry_after


@pytest.mark.parametrize("body", [b"", b"OK", b"<html>", b'{"id": "cut'])
def test_a_200_without_json_is_unavailable(body):
    with pytest.raises(VitallyUnavailableError):
        value(reply(200, body), (), NOW)


def test_a_204_is_empty():
    assert {} == value(reply(204, b""), (), NOW)


@given(
    status=st.integers(100, 999),
    body=st.binary(max_size=60) | st.text(max_size=60).map(str.encode),
    headers=st.dictionaries(
        st.sampled_from(["Retry-After", "RateLimit-Reset", "Date", "Content-Type"]),
        st.text(max_size=30),
    ),
)
def test_no_reply_raises_anything_but_ours(status, body, headers):
    with suppress(VitallyError):
        value(Reply(status, headers, body), ("sk_test_example",), NOW)


@pytest.mark.parametrize(
    ("status", "words", "exists"),
    [
        (409, "answered 409 without a reason", True),
        (409, "Conflict", True),
        (400, "Account with externalId acme-101 already exists", True),
        (400, "externalId must be unique", True),
        (400, "Duplicate externalId", True),
        (400, "an account with this externalId exists", True),
        (422, "externalId has already been taken", True),
        (400, "/externalId must be string", False),
        (400, "organization does not exist", False),
        (400, "no such organization exist", False),
        (400, "/traits must NOT have duplicate items", False),
        (404, "it already exists", False),
        (413, "already exists", False),
        (500, "duplicate", False),
    ],
)
def test_which_refusals_of_a_creation_say_that_the_account_is_there(
    status, words, exists
):
    assert exists == already_exists(VitallyRefusedError(words, status))
