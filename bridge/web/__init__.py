"""The Flask app of the web process: webhooks, health, metrics and the console."""

from __future__ import annotations

import logging
import os
import socket
import threading
from functools import partial

import orjson
from flask import Flask, Response
from redis import Redis
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Rule
from werkzeug.wrappers import Response as AnyResponse

from bridge.alerts import Alerts
from bridge.config import Config
from bridge.ingest import Ingress
from bridge.log import fields
from bridge.settings import Settings
from bridge.sources import every
from bridge.store import keys
from bridge.store.connect import connect, leads
from bridge.store.health import Disk, Watch
from bridge.store.inspect import figures
from bridge.web.console import mount_console
from bridge.web.health import add_health
from bridge.web.hooks import JSON, Hooks

LOG = logging.getLogger("bridge.web")

PATIENCE = 0.45
"""Seconds for each step of a call to Redis; a free connection, connecting, the script and
the job stay below 2 s together."""

CONNECTIONS = 8
"""A delivery needs one for about a millisecond; small Redis plans allow 20 in all."""


SENDER_MS = 15_000
"""How long a web process leads after its last check; the slowest one is shorter."""


def create_app(
    settings: Settings,
    config: Config | None = None,
    *,
    ingress: Ingress | None = None,
    redis: Redis | None = None,
    watch: Watch | None = None,
) -> Flask:
    """Make the app; what is not given is made from *settings*, and a watch started.

    Without a *config* the rules are those of an empty `bridge.toml`.

    A *watch* that is given is the caller's to start and stop. That a body is whole and
    not too large is for the server to see to: `bridge.web.front`.
    """
    redis = redis or connect(
        settings.redis_url,
        verify_tls=settings.redis_tls_verify,
        timeout=PATIENCE,
        most=CONNECTIONS,
    )
    flushes = settings.bridge_durability == "fsync"
    if watch is None:
        watch = Watch.of(redis, settings)
        watch.start()
    sources = every(settings.sources)
    hooks = Hooks(
        ingress or Ingress(settings, redis, sources),
        watch,
        settings.bridge_public_url,
        Disk(redis) if flushes else None,
        sources,
    )
    if settings.bridge_alert_url:
        alone = Alerts(redis, settings, watch.health, partial(leads_alone, redis))
        args = (threading.Event(),)
        threading.Thread(target=alone.run, args=args, daemon=True).start()
    app = Flask("bridge.web", static_folder=None, template_folder=None)
    app.url_map.merge_slashes = False
    # Any method, because 404 for an unknown source comes before 405.
    app.url_map.add(Rule("/webhooks/<name>", endpoint="webhook"))
    app.view_functions["webhook"] = hooks.view
    health = add_health(app, redis, watch, settings)
    app.register_error_handler(HTTPException, refuse)
    app.register_error_handler(Exception, fail)
    mount_console(app, settings, config or Config(), redis, health)
    return app


def leads_alone(redis: Redis) -> bool:
    """Whether this process sends alerts because no worker can."""
    name = f"{socket.gethostname()}-{os.getpid()}"
    return not figures(redis).heard and leads(redis, keys.ALERTING, name, SENDER_MS)


def refuse(error: HTTPException) -> AnyResponse:
    """Answer in JSON what Flask would say in HTML."""
    answer = error.get_response()
    answer.set_data(orjson.dumps({"error": error.name.lower()}))
    answer.content_type = JSON
    return answer


def fail(error: Exception) -> Response:
    """Log the error; the client only learns that there was one."""
    LOG.error("request failed", exc_info=error, extra=fields())
    return Response(orjson.dumps({"error": "internal error"}), 500, content_type=JSON)
