"""Traces for OpenTelemetry: each delivery is one, from its arrival to the write.

The lines about deliveries and jobs become spans. The ids of a trace are made from the
delivery's id, so that nothing more has to travel with a job.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from hashlib import blake2s
from multiprocessing.util import Finalize
from secrets import token_hex
from typing import Any, cast

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from bridge import __version__
from bridge.log import ABOUT

PATIENCE = 3.0
"""Seconds that the collector has, unless OTEL_EXPORTER_OTLP_TIMEOUT says otherwise; more
would hold up the end of a process whose collector is gone."""

NAME = "vitally-bridge"

ERROR, FAILED = 500, {"retried", "parked"}
"""Statuses from here on, and outcomes, that make a span an error."""

LINES = {
    "bridge.web": ("delivery", SpanKind.SERVER),
    "workers.job": ("job", SpanKind.CONSUMER),
}
"""Logger -> message of its lines that become spans, and of which kind."""

STATUS, METHOD = "http.response.status_code", "http.request.method"

NAMES = ("source", "receipt", "outcome", "traits", "delivery", "deliveries")
NOTED = {"status": STATUS, **{name: f"vitally_bridge.{name}" for name in NAMES}}
"""Field of a line -> attribute of its span. No other field leaves."""


def start(_endpoint: str) -> None:
    """Send spans to the collector; OpenTelemetry reads its OTEL_… variables itself."""
    spans = Spans()
    for name in LINES:
        logger = logging.getLogger(name)
        logger.addHandler(spans)
        logger.setLevel(logging.INFO)  # whatever LOG_LEVEL lets be printed


class Ids:
    """Makes ids: of a span that sets *delivery*, from its id, of any other at random."""

    delivery = ""

    def generate_trace_id(self) -> int:
        """Of the next trace."""
        return ids(self.delivery or token_hex())[0]

    def generate_span_id(self) -> int:
        """Of the next span."""
        return ids(self.delivery or token_hex())[1]

    def is_trace_id_random(self) -> bool:
        """Whether samplers may rely on it: a digest is as good as random."""
        return True


def ids(delivery: str) -> tuple[int, int]:
    """The ids of a delivery's trace and of its first span."""
    digest = blake2s(delivery.encode(), digest_size=24).digest()
    return int.from_bytes(digest[:16]), int.from_bytes(digest[16:])


class Spans(logging.Handler):
    """Makes spans of lines, one line at a time."""

    def __init__(self) -> None:
        super().__init__()
        self._ids = Ids()
        named = {"OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"} & {*os.environ}
        self._provider = TracerProvider(
            resource=Resource.create(None if named else {"service.name": NAME}),
            id_generator=cast("Any", self._ids),
            shutdown_on_exit=False,
        )
        patience = None if "OTEL_EXPORTER_OTLP_TIMEOUT" in os.environ else PATIENCE
        exporter = OTLPSpanExporter(timeout=patience)
        # The web's worker is a process of multiprocessing, and does not run atexit's.
        Finalize(None, self._provider.shutdown, exitpriority=1)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(NAME, __version__)

    def emit(self, record: logging.LogRecord) -> None:
        """Make the span of a line about a delivery or a job."""
        name, kind = LINES.get(record.name, ("", SpanKind.INTERNAL))
        if record.msg == name:
            try:
                self._span(record, kind)
            except Exception:  # noqa: BLE001 - it must not disturb what is told
                self.handleError(record)

    def _span(self, record: logging.LogRecord, kind: SpanKind) -> None:
        """A job is in the trace of its oldest delivery, and has links to the others."""
        line = {**ABOUT.get(), **getattr(record, "fields", {})}
        parent, (first, *others) = Context(), self._contexts(line)
        if first is not None:
            parent = set_span_in_context(NonRecordingSpan(first), parent)
        self._ids.delivery = line.get("delivery", "")
        span = self._tracer.start_span(
            record.msg,
            parent,
            kind,
            {NOTED[key]: value for key, value in line.items() if key in NOTED},
            [Link(other) for other in others if other],
            start_time=_ns(record.created - line["ms"] / 1000),
        )
        self._ids.delivery = ""
        if line.get("status", 0) >= ERROR or line.get("outcome") in FAILED:
            span.set_status(StatusCode.ERROR)
        for call in getattr(record, "calls", ()):
            self._tracer.start_span(
                f"{call.method} Vitally",
                set_span_in_context(span, parent),
                SpanKind.CLIENT,
                {METHOD: call.method, STATUS: call.status},
                start_time=_ns(call.began),
            ).end(_ns(call.began + call.seconds))
        span.end(_ns(record.created))

    def _contexts(self, line: Mapping[str, Any]) -> list[SpanContext | None]:
        return [*map(self._context, line.get("deliveries", ()))] or [None]

    def _context(self, delivery: str) -> SpanContext:
        """The first span of a delivery's trace, sampled or not as in its web process."""
        trace_id, span_id = ids(delivery)
        decision = self._provider.sampler.should_sample(None, trace_id, "delivery")
        sampled = int(decision.decision is Decision.RECORD_AND_SAMPLE)
        return SpanContext(trace_id, span_id, True, TraceFlags(sampled))


def _ns(seconds: float) -> int:
    return int(seconds * 1e9)
