"""What the web app answers senders and monitors, and in which order it is checked.

That a body is whole, and of what size, is for real senders: tests/e2e/test_stalled.py.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis
from werkzeug.test import TestResponse

from bridge.errors import SignatureError, StorageError
from bridge.ingest import Receipt
from bridge.lamps import CONDITIONS
from bridge.settings import Settings
from bridge.sources import options
from bridge.store import keys
from bridge.store.connect import connect
from bridge.store.health import DOWN, Watch
from bridge.store.inspect import figures
from bridge.web import create_app, hooks
from bridge.web.front import BUSY, environ_of
from bridge.webhook.source import Acknowledgement, Delivery, Source, Verified
from tests.support.server import RedisServer

SECRET = "whsec_example"  # an example, to be found nowhere in a log
PATH = "/webhooks/example"
SOAP = Acknowledgement(200, "text/xml", b"<Ack/>")


def verify(delivery: Delivery, options: Any, now: float) -> Verified:
    if delivery.headers.get("x-signature") != SECRET:
        raise SignatureError("the signature does not fit")
    return Verified(delivery)


def source(name: str, answer: Acknowledgement | None = None) -> Source:
    return Source(name, name, (), bool, verify, list, max, ack=answer)


class Ingress:
    """Verifies, notes the delivery, and answers what the test wants."""

    def __init__(self) -> None:
        self.sources = {"example": source("example"), "soap": source("soap", SOAP)}
        self.options: dict[str, Any] = {}
        self.seen: list[Delivery] = []
        self.answer: Receipt | Exception = Receipt("queued", "evt_1")

    def receive(self, source: Source, delivery: Delivery, now: float) -> Receipt:
        source.verify(delivery, self.options, now)
        self.seen.append(delivery)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.fixture
def ingress() -> Ingress:
    return Ingress()


@pytest.fixture
def make(ingress: Ingress, redis: Redis, watch: Watch) -> Callable[..., FlaskClient]:
    """Make the app's client, with more settings, perhaps of another Redis."""

    def client(redis: Redis = redis, watch: Watch = watch, **more: str) -> FlaskClient:
        environ = {
            "REDIS_URL": "redis://127.0.0.1:1/0",
            "VITALLY_API_KEY": "sk_example",
            "VITALLY_SUBDOMAIN": "acme",
        }
        given: Any = {"ingress": ingress, "redis": redis, "watch": watch}
        return create_app(
            Settings.from_env(environ | more, options()), **given
        ).test_client()

    return client


@pytest.fixture
def client(make: Callable[..., FlaskClient]) -> FlaskClient:
    return make()


def post(client: FlaskClient, path: str = PATH, **more: Any) -> TestResponse:
    return client.post(path, headers={"X-Signature": SECRET}, **more)


@pytest.mark.parametrize(
    ("receipt", "content"),
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
    client: FlaskClient, ingress: Ingress, receipt: Receipt, content: dict[str, Any]
) -> None:
    ingress.answer = receipt
    answer = post(client)
    shown = content | {"delivery": ingress.seen[0].id}

    assert (202, shown) == (answer.status_code, answer.json)
    assert "application/json" == answer.content_type


@pytest.mark.parametrize(
    ("failure", "answer"),
    [
        (None, (200, "text/xml", b"<Ack/>")),
        (
            StorageError("full"),
            (503, "application/json", b'{"error":"not stored, send it again"}'),
        ),
    ],
)
def test_a_sender_gets_the_answer_that_it_wants_where_it_is_ours(
    client: FlaskClient, ingress: Ingress, failure: Exception | None, answer: Any
) -> None:
    ingress.answer = failure or ingress.answer
    got = post(client, "/webhooks/soap")

    assert answer == (got.status_code, got.content_type, got.data)


@pytest.mark.parametrize(
    ("more", "base"),
    [
        ({}, "https://localhost"),
        ({"BRIDGE_PUBLIC_URL": "https://b.example"}, "https://b.example"),
    ],
)
def test_the_delivery_is_what_was_sent(
    make: Callable[..., FlaskClient], ingress: Ingress, more: dict[str, str], base: str
) -> None:
    query = "?token=a%20b&x=1"
    sent = {"base_url": "https://localhost", "content_type": "text/plain"}
    post(make(**more), PATH + query, data=b'{"a": 1}', **sent)
    (seen,) = ingress.seen

    assert ("POST", base + PATH + query) == (seen.method, seen.url)
    assert b'{"a": 1}' == seen.body
    assert {
        "content-type": "text/plain",
        "content-length": "8",
        "host": "localhost",
        "x-signature": SECRET,
    } == {name: seen.headers[name] for name in seen.headers if name != "user-agent"}


@pytest.mark.parametrize(
    ("forwarded", "scheme"),
    [
        (b"https", "https"),
        (b"HTTPS, http", "https"),
        (b"http", "http"),
        (b"ftp", "http"),
        (b"//evil.example", "http"),
        (b"", "http"),
    ],
)
def test_the_scheme_is_the_one_that_the_client_used(
    forwarded: bytes, scheme: str
) -> None:
    environ = environ_of(
        {
            "method": "GET",
            "scheme": "http",
            "raw_path": b"/console/queues",
            "query_string": b"",
            "http_version": "1.1",
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 50_000),
            "headers": [(b"x-forwarded-proto", forwarded)],
        }
    )

    assert scheme == environ["wsgi.url_scheme"]


def test_a_query_of_other_bytes_than_text_is_the_same_with_percents() -> None:
    scope = {"method": "GET", "scheme": "http", "raw_path": b"/", "http_version": "1.1"}
    peers = {"server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1), "headers": []}
    query = b"q=%C3%A9+a&b=\x93\xff;[c]"
    environ = environ_of({**scope, **peers, "query_string": query})

    assert "q=%C3%A9+a&b=%93%FF;[c]" == environ["QUERY_STRING"]


@pytest.mark.parametrize("method", ["POST", "GET", "HEAD", "OPTIONS", "PUT", "ODD"])
@pytest.mark.parametrize("path", ["other", "example/", "/example", "EXAMPLE", ""])
def test_an_unknown_source_is_404_whatever_the_method(
    client: FlaskClient, method: str, path: str
) -> None:
    answer = client.open(f"/webhooks/{path}", method=method)

    assert (404, "application/json") == (answer.status_code, answer.content_type)


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "ODD"])
def test_of_a_source_only_a_post_is_taken(client: FlaskClient, method: str) -> None:
    answer = client.open(PATH, method=method)

    assert (405, "POST") == (answer.status_code, answer.headers["Allow"])


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        *(
            ("GET", path, 404, "not found")
            for path in ("/", "/nothing", "/console/", "/webhooks")
        ),
        ("POST", "/healthz", 405, "method not allowed"),
    ],
)
def test_elsewhere_a_refusal_is_json_too(
    client: FlaskClient, method: str, path: str, status: int, error: str
) -> None:
    answer = client.open(path, method=method)

    assert (status, {"error": error}) == (answer.status_code, answer.json)
    assert ("GET" in answer.headers.get("Allow", "")) == (status == 405)


def test_what_is_not_stored_is_to_be_sent_again_and_redis_is_left_alone_until_well(
    client: FlaskClient, ingress: Ingress, watch: Watch
) -> None:
    ingress.answer = StorageError("no room")
    answer = post(client)
    ingress.answer = Receipt("queued")
    refused = post(client)
    stranger = client.post(PATH)
    asked = len(ingress.seen)
    watch.check()

    for one in (answer, refused):
        assert (503, "5") == (one.status_code, one.headers["Retry-After"])
        assert {"error": "not stored, send it again"} == one.json
    assert (401, 1) == (stranger.status_code, asked)
    assert 202 == post(client).status_code


def logged(caplog: pytest.LogCaptureFixture) -> dict[str, Any]:
    """The fields of the one line about a delivery."""
    (record,) = [r for r in caplog.records if r.message == "delivery"]
    fields: dict[str, Any] = record.__dict__["fields"]
    return fields


def test_of_many_failed_signatures_one_line_a_minute_tells_the_sum(
    client: FlaskClient,
    watch: Watch,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.INFO, "bridge.web")
    monkeypatch.setattr(hooks, "REPORT", 0.0)
    statuses = {client.post(PATH).status_code for _ in range(70)}
    watch.check()
    watch.check()

    assert {401} == statuses
    assert 60 == sum(r.message == "delivery" for r in caplog.records)
    assert [{"deliveries": 10}] == [
        r.__dict__["fields"] for r in caplog.records if r.message == "signatures failed"
    ]


def test_a_fault_of_ours_is_500_without_its_words(
    client: FlaskClient, ingress: Ingress, caplog: pytest.LogCaptureFixture
) -> None:
    ingress.answer = KeyError("card 4242")
    answer = post(client)

    assert (500, {"error": "internal error"}) == (answer.status_code, answer.json)
    assert ["ERROR"] == [r.levelname for r in caplog.records if r.exc_info]


def test_a_delivery_is_one_log_line_without_body_header_or_query(
    client: FlaskClient, ingress: Ingress, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bridge.web")
    ingress.answer = Receipt("ignored", "evt_1", "no effect")
    post(client, f"{PATH}?token=query-example", data=b"body-example")
    line = logged(caplog)

    assert 0 <= line.pop("ms") < 2000
    assert {
        "source": "example",
        "event": "evt_1",
        "receipt": "ignored",
        "reason": "no effect",
        "status": 202,
    } == line
    for secret in ("query-example", "body-example", SECRET):
        assert secret not in str(caplog.records[0].__dict__)


def test_a_stranger_is_told_nothing_but_401_and_the_log_why(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bridge.web")
    answer = client.post(PATH, data=b"{}")
    line = logged(caplog)

    assert (401, {"error": "unauthorized"}) == (answer.status_code, answer.json)
    assert (401, "the signature does not fit") == (line["status"], line["reason"])


def test_the_log_says_why_a_delivery_was_not_even_read(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bridge.web")
    unread = {"wsgi.input": BUSY, "wsgi.input_terminated": True}
    answer = post(client, environ_overrides=unread)
    line = logged(caplog)

    assert {"error": "not stored, send it again"} == answer.json
    assert (503, "too many deliveries at once") == (line["status"], line["reason"])


def test_an_odd_path_is_not_logged(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bridge.web")
    client.post("/webhooks/a%0Ab")

    assert "source" not in logged(caplog)


def test_what_is_refused_is_counted_by_source_and_reason_and_journaled(
    client: FlaskClient, redis: Redis, watch: Watch
) -> None:
    client.post(PATH)
    client.post("/webhooks/stripe")
    client.post("/webhooks/no-such")
    client.get(PATH)
    post(client)
    watch.check()

    assert {
        "example:malformed": 1,
        "stripe:unknown_source": 1,
        "unknown:unknown_source": 1,
        "example:method": 1,
    } == figures(redis).refused
    ((_, first),) = redis.xrange(keys.REFUSED, count=1)
    said = {b"s": b"example", b"c": b"401", b"k": b"malformed"}
    assert said | {b"w": b"the signature does not fit"} == {
        key: value for key, value in first.items() if key != b"d"
    }


def hear(redis: Redis, worker: str, ago: float = 0.0) -> None:
    redis.zadd(keys.WORKERS, {worker: round((time.time() - ago) * 1000)})


@pytest.mark.parametrize(
    ("state", "status", "content"),
    [
        ({"heard": 1}, 200, {"ready": True}),
        (
            {"heard": 20},
            503,
            {"ready": False, "reasons": ["No worker has been heard from for 15 s."]},
        ),
        (
            {"heard": 1, keys.BREAKER: "refused (401)"},
            503,
            {"ready": False, "reasons": ["All writes have stopped: refused (401)."]},
        ),
        (
            {"heard": 1, keys.PAUSED: "a test"},
            200,
            {"ready": True, "notes": ["All writes are paused by hand: a test."]},
        ),
        (
            {"heard": 1, keys.PAUSED: ""},
            200,
            {"ready": True, "notes": ["All writes are paused by hand: ."]},
        ),
    ],
)
def test_readiness_says_why_not(
    client: FlaskClient,
    redis: Redis,
    state: dict[str, Any],
    status: int,
    content: dict[str, Any],
) -> None:
    hear(redis, "w1", state.pop("heard"))
    hear(redis, "w2", ago=60)
    for key, text in state.items():
        redis.set(key, text)
    answer = client.get("/readyz")

    assert (status, content) == (answer.status_code, answer.json)


def test_metrics_are_the_figures(client: FlaskClient, redis: Redis) -> None:
    hear(redis, "w1")
    redis.hset(
        keys.COUNTERS,
        mapping={
            "received": 7,
            "held": 2,
            "outcome:updated": 3,
            "refused:stripe:stale": 4,
        },
    )
    redis.zadd(keys.DIRTY, {"stripe:cus_1": round((time.time() - 30) * 1000)})
    redis.set(keys.DRY_RUN, 1)
    answer = client.get("/metrics")
    rows = [x for x in answer.text.splitlines() if not x.startswith("#")]
    metrics = {name: float(value) for name, value in (x.rsplit(" ", 1) for x in rows)}
    known = {
        "redis_up": 1,
        "received_total": 7,
        "accepted_total": 0,
        "duplicate_total": 0,
        "ignored_total": 0,
        "quarantined_total": 0,
        "quarantine_bytes": 0,
        "quarantine_dropped_total": 0,
        "settled": 0,
        "pending": 0,
        "held": 2,
        "parked": 0,
        "jobs_waiting": 0,
        "parties_dirty": 1,
        "parties_held": 0,
        "parties_parked": 0,
        "parties_mass_change": 0,
        "parties_incomplete": 0,
        "accounts_unknown": 0,
        "events_unread": 0,
        "accounts_drift": 0,
        "accounts_objects_late": 0,
        "vitally_listed_timestamp_seconds": 0,
        "writes_total": 0,
        "writes_saved_total": 0,
        "workers": 1,
        "stopped": 0,
        "paused": 0,
        "dry_run": 1,
        "discarded_total": 0,
        "forgotten_total": 0,
        'jobs_total{outcome="updated"}': 3,
        'refused_total{reason="stale",source="stripe"}': 4,
        **{
            f'lamp{{kind="{row.kind}",level="{row.level}"}}': int(row.kind == "dry_run")
            for row in CONDITIONS
        },
    }

    assert answer.content_type.startswith("text/plain; version=")
    assert 30 <= metrics.pop("vitally_bridge_oldest_seconds") < 40
    assert 0 < metrics.pop("vitally_bridge_drain_seconds")
    assert {f"vitally_bridge_{name}": value for name, value in known.items()} == metrics


def test_with_a_dead_redis_only_liveness_is_true(
    make: Callable[..., FlaskClient],
) -> None:
    with RedisServer() as server:
        redis = connect(server.url, verify_tls=True, timeout=0.45, most=2)
        watch = Watch(redis)
        client = make(redis, watch)
        watch.check()
        server.kill()
        # Found out first by a page, later by the watch: told alike.
        first = client.get("/readyz")
        watch.check()
        second = client.get("/readyz")
        metrics, alive = client.get("/metrics"), client.get("/healthz")
        watch.stop()
        redis.close()

    assert first.json == second.json == {"ready": False, "reasons": [DOWN]}
    assert (200, 200) == (metrics.status_code, alive.status_code)
    assert "vitally_bridge_redis_up 0.0" in metrics.text
    assert "vitally_bridge_received" not in metrics.text
    assert {"alive": True} == alive.json
