"""The webhooks' HTTP: turns a request into a delivery, and its receipt into an answer.

The order of the checks is part of the contract: 404, 405, 413, 401, then the content.
"""

from __future__ import annotations

import logging
import re
import time
from base64 import b32encode
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from http import HTTPStatus
from secrets import token_bytes
from threading import Semaphore
from typing import Any, NamedTuple, ParamSpec, TypeVar

import orjson
from flask import Response, request
from redis import Redis
from werkzeug.exceptions import HTTPException

from bridge.errors import SignatureError, StorageError
from bridge.ingest import Ingress, Receipt
from bridge.log import ABOUT, fields
from bridge.store.durations import DELIVERY, Durations, status_class
from bridge.store.health import Disk, Watch
from bridge.store.refused import NOBODY, REASONS, Refusals
from bridge.web.failures import WAIT, Failures, address
from bridge.webhook.source import Delivery, Source

LOG = logging.getLogger("bridge.web")

P = ParamSpec("P")
T = TypeVar("T")

JSON = "application/json"

LIMIT = 1024 * 1024
"""Bytes of the largest body that is accepted."""

DELIVERIES = 8
"""Most deliveries that call Redis at once, as many as connections."""

TURN, WITHIN = 0.3, 1.65
"""Seconds that a delivery may wait for its turn; in which it has to be on the disk."""

NOT_STORED = "not stored, send it again"
BUSY = "too many deliveries at once"

HEADERS = {
    HTTPStatus.METHOD_NOT_ALLOWED: {"Allow": "POST"},
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": "5"},
}
"""Extra headers by status; `Retry-After` is longer than a check of Redis takes."""

NAME = re.compile(r"[a-z0-9_-]{1,40}")
"""Valid names of sources; nothing else of an unknown path is logged."""

LONGEST_REASON = 200

REPORT = 60.0
"""Seconds between two lines about failed signatures that are not logged each."""


class Reply(NamedTuple):
    """Status, body for the sender, and for us alone the reason, in words and by kind.

    *kind*, of what was refused, is one of `bridge.store.refused.REASONS`.
    """

    status: int
    content: Mapping[str, Any]
    reason: str | None = None
    kind: str = ""


NOT_FOUND = Reply(404, {"error": "no such source"}, kind="unknown_source")
NOT_ALLOWED = Reply(405, {"error": "POST only"}, kind="method")

KINDS = {413: "too_large", 503: "not_stored"}
"""Status of a body that was not read -> its kind; any other did not arrive whole."""


class Hooks:
    """Answers `/webhooks/<source>`.

    Where a *disk* is given, what was stored has to be on it. What is refused is
    counted by source, also for *known* ones that are off.
    """

    def __init__(
        self,
        ingress: Ingress,
        watch: Watch,
        public_url: str | None,
        disk: Disk | None = None,
        known: Iterable[Source] = (),
    ) -> None:
        self._ingress = ingress
        self._watch = watch
        self._public_url = public_url
        self._disk = disk
        self._turns = Semaphore(DELIVERIES)
        self._known = {*ingress.sources, *(source.name for source in known)}
        self._refusals = Refusals()
        self._durations = Durations()
        self._failures = Failures(free=60, free_in_all=600, gap=0.25, longest=1.0)
        watch.callbacks += [self._refusals.flush, self._durations.flush]
        watch.callbacks.append(self._report)

    def view(self, name: str) -> Response:
        """Answer one request, and log one line about it; of many failed ones, their sum.

        The delivery's id is in every line about it, the worker's too, and beside the
        receipt in the reply, unless the sender wants one of its own.
        """
        begun = time.perf_counter()
        # 12 letters and digits, as the scripts expect; none begins like an option.
        id_ = b32encode(token_bytes(8))[:12].decode().lower()
        ABOUT.set({"delivery": id_})
        source = self._ingress.sources.get(name)
        status, content, reason, kind = self._answer(name, source, id_)
        own = source.ack if source and status == HTTPStatus.ACCEPTED else None
        status = own.status if own else status
        seconds = time.perf_counter() - begun
        known = name if name in self._known else NOBODY
        self._durations.add(DELIVERY, seconds, known, status_class(status))
        wait = 0.0
        if status == HTTPStatus.UNAUTHORIZED:
            wait = request.environ[WAIT] = self._failures.wait(address(request.environ))
        if not wait:
            LOG.info(
                "delivery",
                extra=fields(
                    source=name if NAME.fullmatch(name) else None,
                    event=content.get("event"),
                    receipt=content.get("receipt"),
                    counts=content.get("counts"),
                    reason=reason,
                    status=status,
                    ms=round(seconds * 1000, 2),
                ),
            )
        if kind:
            self._refusals.add(known, status, kind, reason or REASONS[kind], id_)
        if own:
            return Response(own.body, status, content_type=own.content_type)
        body, headers = orjson.dumps(content), HEADERS.get(HTTPStatus(status))
        return Response(body, status, headers, content_type=JSON)

    def _report(self, _redis: Redis) -> None:
        """Log once a minute how many failed signatures were not logged each."""
        if slowed := self._failures.slowed(REPORT):
            LOG.warning("signatures failed", extra=fields(deliveries=slowed))

    def _answer(self, name: str, source: Source | None, id_: str) -> Reply:
        if source is None or request.method != "POST":
            return NOT_FOUND if source is None else NOT_ALLOWED
        try:
            receipt = self._receive(source, self._delivery(name, id_))
        except HTTPException as error:  # the body is too large, or not there
            is_busy = error.code == HTTPStatus.SERVICE_UNAVAILABLE
            reason = BUSY if is_busy else None
            code = error.code or 400
            kind = KINDS.get(code, "incomplete")
            return Reply(code, {"error": error.description}, reason, kind)
        except SignatureError as error:
            reason = str(error)[:LONGEST_REASON]
            return Reply(401, {"error": "unauthorized"}, reason, error.kind)
        except StorageError as error:
            reason = str(error)[:LONGEST_REASON]
            return Reply(503, {"error": NOT_STORED}, reason, "not_stored")
        except Exception:
            LOG.exception("delivery failed", extra=fields(source=name))
            return Reply(500, {"error": "internal error"}, kind="error")
        content = {k: v for k, v in receipt._asdict().items() if v is not None}
        return Reply(202, {**content, "delivery": id_}, receipt.reason)

    def _delivery(self, name: str, id_: str) -> Delivery:
        """Read the request; raises HTTPException where its body is not there whole."""
        environ, body = request.environ, request.get_data()
        base, query = self._public_url, environ.get("QUERY_STRING")
        if not base:
            base = f"{environ['wsgi.url_scheme']}://{environ.get('HTTP_HOST', '')}"
        url = f"{base}/webhooks/{name}" + (f"?{query}" if query else "")
        headers = {header_name(k): v for k, v in environ.items() if header_name(k)}
        return Delivery("POST", url, headers, body, id_)

    def _receive(self, source: Source, delivery: Delivery) -> Receipt:
        """Hand a delivery on, unless Redis is known not to take it."""
        until = time.monotonic() + WITHIN
        if not self._turns.acquire(timeout=TURN):
            raise StorageError(BUSY)
        try:
            # Looked at before the event is written: which run of Redis may have it.
            health, now = self._watch.health(), time.time()
            if health.refusals:
                source.verify(delivery, self._ingress.options, now)
                raise StorageError(health.refusals[0])
            receipt = self._watched(self._ingress.receive, source, delivery, now)
        finally:
            self._turns.release()
        if self._disk and receipt.receipt != "ignored":
            self._watched(self._disk.wait, health.run, until)
        return receipt

    def _watched(self, call: Callable[P, T], *args: P.args, **more: P.kwargs) -> T:
        """Tell the watch if a *call* fails."""
        try:
            return call(*args, **more)
        except StorageError:
            self._watch.failed()
            raise


@lru_cache(maxsize=256)
def header_name(key: str) -> str:
    """Return the header that WSGI calls *key*, in lower case; "": it is none."""
    if key.startswith("HTTP_") or key in {"CONTENT_TYPE", "CONTENT_LENGTH"}:
        return key.removeprefix("HTTP_").replace("_", "-").lower()
    return ""
