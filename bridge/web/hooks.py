"""The webhooks' HTTP: from a request to one delivery, from its receipt to an answer.

The order of the checks is part of the contract: 404, 405, 413, 401, then the content.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

import orjson
from flask import Flask, Response, request
from werkzeug.routing import Rule

from bridge.errors import SignatureError, StorageError
from bridge.ingest import Receipt
from bridge.log import fields
from bridge.store.health import Watch
from bridge.web.body import Unread, read
from bridge.webhook.source import Delivery, Source

LOG = logging.getLogger("bridge.web")

JSON = "application/json"

RETRY_AFTER = "5"
"""Seconds after which a sender may try again; a watch looks more often."""

NAME = re.compile(r"[a-z0-9_-]{1,40}")
"""What a source may be called; nothing else of an unknown path is logged."""

LONGEST_REASON = 200

SOURCES = "bridge.sources"
"""Where the app keeps the names of its sources."""


class Receiver(Protocol):
    """What the web process needs of `bridge.ingest.Ingress`."""

    @property
    def sources(self) -> Mapping[str, Source]:
        """Return the sources that are switched on."""

    def receive(self, source: Source, delivery: Delivery, now: float) -> Receipt:
        """Take one delivery; raises SignatureError and StorageError."""


class Flushed:
    """A receiver whose receipts wait until what they are for is on Redis' disk."""

    def __init__(self, receiver: Receiver, flush: Callable[[], None]) -> None:
        self.sources = receiver.sources
        self._receiver = receiver
        self._flush = flush

    def receive(self, source: Source, delivery: Delivery, now: float) -> Receipt:
        """Take one delivery; raises SignatureError and StorageError."""
        receipt = self._receiver.receive(source, delivery, now)
        if receipt.receipt != "ignored":
            self._flush()
        return receipt


class Answer(NamedTuple):
    """What the sender is told; *why* goes into the log alone.

    *own* is a body with its content type that the sender reads in place of *content*.
    """

    status: int
    content: Mapping[str, Any]
    why: str | None = None
    headers: Mapping[str, str] = {}
    own: tuple[bytes, str] | None = None


NOT_FOUND = Answer(404, {"error": "no such source"})
NOT_ALLOWED = Answer(405, {"error": "POST only"}, headers={"Allow": "POST"})
FAILED = Answer(500, {"error": "internal error"})


def unauthorized(why: str) -> Answer:
    """Tell the sender nothing but 401."""
    return Answer(401, {"error": "unauthorized"}, why)


def unavailable(why: str) -> Answer:
    """Not stored: send it again."""
    error = {"error": "not stored, send it again"}
    return Answer(503, error, why, {"Retry-After": RETRY_AFTER})


def unread(error: Unread) -> Answer:
    """Say why the body is not there."""
    if error.code == HTTPStatus.SERVICE_UNAVAILABLE:
        return unavailable("too many deliveries at once")
    return Answer(error.code, {"error": error.description})


def accepted(receipt: Receipt, source: Source) -> Answer:
    """Say what became of the delivery, without what there is nothing to say of."""
    content = {k: v for k, v in receipt._asdict().items() if v is not None}
    if source.answer is None:
        return Answer(202, content, receipt.reason)
    own = source.answer
    return Answer(own.status, content, receipt.reason, {}, (own.body, own.content_type))


class Hooks:
    """Answers `/webhooks/<source>`."""

    def __init__(
        self,
        ingress: Receiver,
        watch: Watch,
        options: Mapping[str, Any],
        public_url: str | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.sources = frozenset(ingress.sources)
        self._ingress = ingress
        self._watch = watch
        self._options = options
        self._public_url = public_url
        self._clock = clock

    def view(self, source: str) -> Response:
        """Answer one request, and log one line about it."""
        begun = time.perf_counter()
        answer = self._answer(source, request.environ)
        _log(source, answer, begun)
        body, kind = answer.own or (orjson.dumps(answer.content), JSON)
        return Response(body, answer.status, answer.headers, content_type=kind)

    def _answer(self, name: str, environ: dict[str, Any]) -> Answer:
        source = self._ingress.sources.get(name)
        if source is None or environ["REQUEST_METHOD"] != "POST":
            return NOT_FOUND if source is None else NOT_ALLOWED
        try:
            return self._take(source, self._delivery(name, environ))
        except Unread as error:
            return unread(error)
        except SignatureError as error:
            return unauthorized(str(error)[:LONGEST_REASON])
        except StorageError as error:
            self._watch.failed()
            return unavailable(str(error)[:LONGEST_REASON])
        except Exception:
            LOG.exception("delivery failed", extra=fields(source=name))
            return FAILED

    def _take(self, source: Source, delivery: Delivery) -> Answer:
        """Hand it on, unless Redis is known not to take it."""
        now = self._clock()
        refusal = self._watch.refuses()
        if refusal is None:
            return accepted(self._ingress.receive(source, delivery, now), source)
        source.verify(delivery, self._options, now)
        return unavailable(refusal)

    def _delivery(self, name: str, environ: dict[str, Any]) -> Delivery:
        query = environ.get("QUERY_STRING")
        base = self._public_url or _called(environ)
        url = f"{base}/webhooks/{name}" + (f"?{query}" if query else "")
        return Delivery("POST", url, headers(environ), read(environ))


def headers(environ: Mapping[str, Any]) -> dict[str, str]:
    """Return a request's headers, names in lower case."""
    return {
        header_name(key): value
        for key, value in environ.items()
        if key[:5] == "HTTP_" or key in UNMARKED
    }


UNMARKED = frozenset({"CONTENT_TYPE", "CONTENT_LENGTH"})
"""Headers that WSGI has without the usual `HTTP_` before their names."""


@lru_cache(maxsize=256)
def header_name(key: str) -> str:
    """Return the header that WSGI calls *key*; senders use the same ones always."""
    return key.removeprefix("HTTP_").replace("_", "-").lower()


def add_hooks(app: Flask, hooks: Hooks) -> None:
    """Route every method here: an unknown source is 404 before a method is 405."""
    app.url_map.add(Rule("/webhooks/<source>", endpoint="webhook"))
    app.view_functions["webhook"] = hooks.view
    app.extensions[SOURCES] = hooks.sources


def sources_of(app: Flask) -> Collection[str]:
    """Return the names of the sources that are switched on."""
    names: Collection[str] = app.extensions[SOURCES]
    return names


def _called(environ: Mapping[str, Any]) -> str:
    """Scheme and host as the sender called them."""
    return f"{environ['wsgi.url_scheme']}://{environ.get('HTTP_HOST', '')}"


def _log(source: str, answer: Answer, begun: float) -> None:
    content = answer.content
    LOG.info(
        "delivery",
        extra=fields(
            source=source if NAME.fullmatch(source) else None,
            event=content.get("event"),
            receipt=content.get("receipt"),
            counts=content.get("counts"),
            reason=answer.why,
            status=answer.status,
            ms=round((time.perf_counter() - begun) * 1000, 2),
        ),
    )
