"""What OpenTelemetry's collector and Sentry get of real processes, and what they do not."""

from __future__ import annotations

import gzip
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_service

from bridge.store import keys
from tests.support.stack import Stack
from tests.support.stripe import Shop
from tests.support.waiting import eventually

CANARY = "canary"
"""In whatever must not leave: names, addresses, keys, broken data."""


class Collector:
    """Takes what is posted; while it *stalls*, no request is answered."""

    def __init__(self) -> None:
        self.posted: list[tuple[str, bytes]] = []
        self.stalls = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                is_packed = self.headers.get("Content-Encoding") == "gzip"
                collector.posted.append(
                    (self.path, gzip.decompress(body) if is_packed else body)
                )
                if collector.stalls.is_set():
                    time.sleep(60)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.address = f"127.0.0.1:{self.server.server_address[1]}"

    def spans(self) -> list[Any]:
        """All spans that came."""
        requests = [
            trace_service.ExportTraceServiceRequest.FromString(body)
            for path, body in self.posted
            if path == "/v1/traces"
        ]
        return [
            span
            for request in requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def errors(self) -> list[bytes]:
        """All that Sentry got."""
        return [body for path, body in self.posted if path.startswith("/api/")]


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,))
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


@pytest.fixture
def stack(collector: Collector, tmp_path) -> Iterator[Stack]:
    environ = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector.address}",
        "OTEL_BSP_SCHEDULE_DELAY": 100,
        "SENTRY_DSN": f"http://example@{collector.address}/1",
        "LOG_LEVEL": "WARNING",
    }
    with Stack(tmp_path, **environ) as made:
        made.web()
        made.worker()
        yield made.ready()


def called(event: dict[str, Any]) -> dict[str, Any]:
    event["data"]["object"] |= {"name": CANARY, "email": f"{CANARY}@example.org"}
    return event


def test_a_delivery_is_one_trace_from_its_arrival_to_the_write(
    stack: Stack, collector: Collector
) -> None:
    shop, stripe = Shop(prefix=f"cus_{CANARY}"), stack.stripe()
    told = stripe.post(called(shop.signs_up())).told
    eventually(lambda: len(collector.spans()) >= 4, what="the spans")
    spans = {span.name: span for span in collector.spans()}
    web, job = spans["delivery"], spans["job"]

    assert {"delivery", "job", "PUT Vitally", "POST Vitally"} == set(spans)
    assert 1 == len({span.trace_id for span in spans.values()})
    assert (b"", web.span_id) == (web.parent_span_id, job.parent_span_id)
    assert job.span_id == spans["POST Vitally"].parent_span_id
    marks = {one.key: one.value.string_value for one in web.attributes}
    assert [202] == [
        one.value.int_value
        for one in web.attributes
        if one.key == "http.response.status_code"
    ]
    assert told["delivery"] == marks["vitally_bridge.delivery"]
    starts = [spans[name].start_time_unix_nano for name in ("delivery", "PUT Vitally")]
    assert sorted(starts) == starts
    assert job.end_time_unix_nano >= spans["POST Vitally"].end_time_unix_nano


def test_no_word_of_a_sender_and_no_secret_leaves(
    stack: Stack, collector: Collector
) -> None:
    shop, stripe = Shop(prefix=f"cus_{CANARY}"), stack.stripe()
    event = called(shop.signs_up())
    stack.redis.hset(keys.facts(f"stripe:{shop.id}"), "x\ty", f"{CANARY}@example.org")
    id_ = stripe.post(event).told["delivery"]
    (error, *_) = eventually(collector.errors, what="an error")
    eventually(collector.spans, what="spans")

    assert id_.encode() in error
    assert b'"filename":"sync.py"' in error or b"workers/sync.py" in error
    everything = b"".join(body for _, body in collector.posted)
    secrets = [CANARY, "sk_test_example", "whsec_example", "stripe-signature", "rediss"]
    assert [] == [word for word in secrets if word.encode() in everything]


def test_a_collector_that_stalls_holds_up_neither_deliveries_nor_the_end(
    stack: Stack, collector: Collector
) -> None:
    collector.stalls.set()
    stripe = stack.stripe()
    assert {202} == {stripe.post(called(Shop().signs_up())).status for _ in range(20)}
    stack.settled()
    eventually(lambda: collector.posted)

    assert 0 == stack.webs[0].running.terminate()
    assert 0 == stack.workers[0].terminate()


def test_a_process_that_ends_sends_what_it_has(
    stack: Stack, collector: Collector
) -> None:
    web = stack.web(OTEL_BSP_SCHEDULE_DELAY=60_000)
    web.deliver()

    assert 0 == web.running.terminate()
    assert ["delivery"] == [span.name for span in collector.spans()]
