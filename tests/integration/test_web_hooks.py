"""What a sender is answered, and in which order it is checked."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis

from bridge.errors import SignatureError, StorageError
from bridge.ingest import Receipt
from bridge.settings import Settings
from bridge.store.health import Watch
from bridge.web import create_app
from bridge.web.body import LIMIT
from bridge.webhook.source import Delivery, Event, Source, Verified

ENVIRON = {
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "VITALLY_API_KEY": "sk_example",
    "VITALLY_SUBDOMAIN": "acme",
}

SECRET = "whsec_example"  # an example, to be found nowhere in a log

Receive = Callable[[Delivery], Receipt]


def verify(delivery: Delivery, options: Any, now: float) -> Verified:
    if delivery.headers.get("x-signature") != SECRET:
        raise SignatureError("the signature does not fit")
    return Verified(delivery)


def no_event(verified: Verified) -> list[Event]:
    return []


EXAMPLE = Source(
    "example", "Example", (), lambda _: True, verify, no_event, lambda *_: None
)


class Ingress:
    """Verifies, notes the delivery, and answers what the test wants."""

    def __init__(self) -> None:
        self.sources = {"example": EXAMPLE}
        self.seen: list[Delivery] = []
        self.answer: Receipt | Exception = Receipt("queued", "evt_1")

    def receive(self, source: Source, delivery: Delivery, now: float) -> Receipt:
        source.verify(delivery, {}, now)
        self.seen.append(delivery)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def ingress() -> Ingress:
    return Ingress()


@pytest.fixture
def client(redis: Redis, ingress: Ingress, watch: Watch) -> FlaskClient:
    settings = Settings.from_env(ENVIRON)
    return create_app(settings, ingress=ingress, redis=redis, watch=watch).test_client()


def post(client: FlaskClient, body: Any = b"{}", **more: Any) -> Any:
    signed = {"X-Signature": SECRET}
    return client.post("/webhooks/example", data=body, headers=signed, **more)


@pytest.mark.parametrize(
    ("receipt", "told"),
    [
        (Receipt("queued", "evt_1"), {"receipt": "queued", "event": "evt_1"}),
        (
            Receipt("ignored", "evt_1", "no effect"),
            {"receipt": "ignored", "event": "evt_1", "reason": "no effect"},
        ),
        (Receipt("quarantined"), {"receipt": "quarantined"}),
        (
            Receipt("queued", None, None, {"queued": 2}),
            {"receipt": "queued", "counts": {"queued": 2}},
        ),
    ],
)
def test_a_receipt_is_answered_202_without_what_is_not_there(
    client: FlaskClient, ingress: Ingress, receipt: Receipt, told: dict[str, Any]
) -> None:
    ingress.answer = receipt
    answer = post(client)

    assert answer.status_code == 202
    assert answer.json == told
    assert answer.content_type == "application/json"


def test_the_delivery_is_what_was_sent(client: FlaskClient, ingress: Ingress) -> None:
    client.post(
        "/webhooks/example?token=a%20b&x=1",
        data=b'{"a": 1}',
        headers={"X-Signature": SECRET, "X-Forwarded-Proto": "https"},
        content_type="text/plain",
    )
    (seen,) = ingress.seen

    assert seen.method == "POST"
    assert seen.url == "https://localhost/webhooks/example?token=a%20b&x=1"
    assert seen.body == b'{"a": 1}'
    assert seen.headers["content-type"] == "text/plain"
    assert seen.headers["x-signature"] == SECRET


def test_the_public_url_replaces_what_the_proxy_says(
    redis: Redis, ingress: Ingress, watch: Watch
) -> None:
    environ = ENVIRON | {"BRIDGE_PUBLIC_URL": "https://hooks.example.com"}
    app = create_app(
        Settings.from_env(environ), ingress=ingress, redis=redis, watch=watch
    )
    post(app.test_client())

    assert ingress.seen[0].url == "https://hooks.example.com/webhooks/example"


@pytest.mark.parametrize("method", ["POST", "GET", "HEAD", "OPTIONS", "PUT", "ODD"])
@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/webhooks/other", 404),
        ("/webhooks/example/", 404),
        ("/webhooks//example", 404),
        ("/webhooks/EXAMPLE", 404),
        ("/webhooks/", 404),
        ("/webhooks/example", 405),
    ],
)
def test_an_unknown_source_is_404_before_a_method_is_405(
    client: FlaskClient, method: str, path: str, status: int
) -> None:
    if method == "POST" and status == 405:
        status = 401
    answer = client.open(path, method=method)

    assert answer.status_code == status
    assert answer.content_type == "application/json"


@pytest.mark.parametrize("path", ["/", "/nothing", "/console/", "/webhooks"])
def test_elsewhere_404_is_json_too(client: FlaskClient, path: str) -> None:
    answer = client.get(path)

    assert (answer.status_code, answer.json) == (404, {"error": "not found"})


def test_elsewhere_405_is_json_too(client: FlaskClient) -> None:
    answer = client.post("/healthz")

    assert answer.status_code == 405
    assert answer.json == {"error": "method not allowed"}
    assert "GET" in answer.headers["Allow"]


def test_a_body_of_a_mebibyte_is_taken(client: FlaskClient, ingress: Ingress) -> None:
    answer = post(client, b"x" * LIMIT)

    assert answer.status_code == 202
    assert len(ingress.seen[0].body) == LIMIT


def test_a_larger_body_is_413_whoever_sends_it(client: FlaskClient) -> None:
    answer = client.post("/webhooks/example", data=b"x" * (LIMIT + 1))

    assert answer.status_code == 413


@pytest.mark.parametrize(("size", "status"), [(LIMIT, 202), (3 * LIMIT, 413)])
def test_a_body_in_chunks_is_measured_while_it_is_read(
    client: FlaskClient, size: int, status: int
) -> None:
    answer = client.post(
        "/webhooks/example",
        input_stream=io.BytesIO(b"x" * size),
        headers={"X-Signature": SECRET, "Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )

    assert answer.status_code == status


def test_a_body_that_ends_early_is_not_taken(
    client: FlaskClient, ingress: Ingress
) -> None:
    answer = client.post(
        "/webhooks/example",
        input_stream=io.BytesIO(b"half"),
        headers={"X-Signature": SECRET},
        environ_overrides={"CONTENT_LENGTH": "8"},
    )

    assert answer.status_code == 400
    assert ingress.seen == []


def test_a_stranger_is_told_nothing_but_401(client: FlaskClient) -> None:
    answer = client.post("/webhooks/example", data=b"{}")

    assert (answer.status_code, answer.json) == (401, {"error": "unauthorized"})


def test_what_is_not_stored_is_to_be_sent_again(
    client: FlaskClient, ingress: Ingress
) -> None:
    ingress.answer = StorageError("no room")
    answer = post(client)

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert answer.json == {"error": "not stored, send it again"}


def test_after_a_failure_redis_is_not_asked_until_it_was_seen_well(
    client: FlaskClient, ingress: Ingress, watch: Watch
) -> None:
    ingress.answer = StorageError("time-out")
    post(client)
    ingress.answer = Receipt("queued")
    refused = post(client).status_code
    asked = len(ingress.seen)
    watch.look()
    taken = post(client).status_code

    assert (refused, asked, taken) == (503, 1, 202)


def test_a_stranger_is_401_even_while_redis_is_away(
    client: FlaskClient, watch: Watch
) -> None:
    watch.failed()
    answer = client.post("/webhooks/example", data=b"{}")

    assert answer.status_code == 401


def test_a_fault_of_ours_is_500_without_its_words(
    client: FlaskClient, ingress: Ingress, caplog: pytest.LogCaptureFixture
) -> None:
    ingress.answer = KeyError("card 4242")
    answer = post(client)

    assert (answer.status_code, answer.json) == (500, {"error": "internal error"})
    assert [r.levelname for r in caplog.records if r.exc_info] == ["ERROR"]


def test_a_delivery_is_one_log_line_without_body_header_or_query(
    client: FlaskClient, ingress: Ingress, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bridge.web")
    ingress.answer = Receipt("ignored", "evt_1", "no effect")
    client.post(
        "/webhooks/example?token=query-example",
        data=b"body-example",
        headers={"X-Signature": SECRET},
    )
    (record,) = caplog.records
    said = record.__dict__["fields"]
    ms = said.pop("ms")

    assert 0 <= ms < 2000
    assert said == {
        "source": "example",
        "event": "evt_1",
        "receipt": "ignored",
        "reason": "no effect",
        "status": 202,
    }
    assert not any(
        secret in str(record.__dict__)
        for secret in ("query-example", "body-example", SECRET)
    )


def test_the_reason_of_a_401_is_for_the_log(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bridge.web")
    client.post("/webhooks/example", data=b"{}")
    said = caplog.records[0].__dict__["fields"]

    assert (said["status"], said["reason"]) == (401, "the signature does not fit")


def test_an_odd_path_is_not_logged(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bridge.web")
    client.post("/webhooks/a%0Ab")

    assert "source" not in caplog.records[0].__dict__["fields"]
