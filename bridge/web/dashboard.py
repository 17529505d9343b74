"""Makes rq-dashboard show our queue: JSON jobs, our connection, our errors.

Its web module is written for its own command line: it has no option for the workers'
serializer or for the connection. So four of its names are replaced, once per process.
The names and the reasons are those of version 0.9.0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache, partial
from http import HTTPStatus
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from flask import Flask, Response, abort, current_app, g, redirect, request, url_for
from redis import Redis
from werkzeug.wrappers import Response as AnyResponse

from bridge.queue import NAME
from bridge.store import audit

PREFIX = "/queues"

OUR_QUEUE = f"{PREFIX}/0/view/jobs"
"""The jobs of our queue; `ready` adds its name."""

SERIALIZER = "json"
"""RQ's name for the serializer that our jobs have."""

REGISTRIES = "queued|started|failed|deferred|finished|scheduled|canceled"

KNOWN = {
    "instance_number": "0",
    "registry_name": REGISTRIES,
    "per_page": "[1-9][0-9]{0,2}",
    "order": "asc|dsc",
    "page": "[1-9][0-9]{0,5}",
    "job_id": "[A-Za-z0-9_-]{1,255}",
}
"""Accepted parts of an address; rq-dashboard fails on others. RQ's ids:
https://python-rq.org/docs/jobs/"""

MISSING = (
    "The queues are shown by rq-dashboard, which is not installed. "
    "pip install rq-dashboard six"
)


def add_dashboard(app: Flask, redis: Redis) -> None:
    """Add the pages of rq-dashboard under PREFIX, or one that says it is missing."""
    try:
        dashboard = adapted()
    except ImportError:
        app.add_url_rule(f"{PREFIX}/", "queues", lambda: abort(501, MISSING))
        return
    # Only a label: pages show it, and the real URL contains a password.
    app.config["RQ_DASHBOARD_REDIS_URL"] = ("redis",)
    app.extensions["bridge.redis"] = redis
    vars(app)["redis_conn"] = redis
    name = dashboard.blueprint.name

    @app.before_request
    def ready() -> AnyResponse | None:
        """Fail with Redis' own error, which the pages would partly swallow."""
        parts = request.view_args or {}
        if request.blueprint != name or "filename" in parts:
            return None
        redis.ping()
        if not _is_known(parts, redis):
            abort(404)
        if parts.get("queue_name", NAME) is None:
            ours = parts | {"queue_name": NAME}
            return redirect(url_for(request.endpoint or "", **ours))
        return None

    @app.after_request
    def audited(answer: Response) -> Response:
        """Note who did what, as of our own actions."""
        is_action = (request.method, request.blueprint) == ("POST", name)
        if is_action and answer.status_code < HTTPStatus.BAD_REQUEST:
            audit.record(redis, g.user.name, "queue", request.path)
        return answer

    app.register_blueprint(dashboard.blueprint, url_prefix=PREFIX)


@cache
def adapted() -> Any:
    """Return rq-dashboard's web module, fit for us. Raises ImportError."""
    web: Any = import_module("rq_dashboard.web")
    json = partial(partial, serializer=SERIALIZER)
    web.config.serializer = SERIALIZER
    # Without it the list of workers breaks while one of them runs a JSON job.
    web.Worker = SimpleNamespace(all=json(web.Worker.all))
    # The default, pickle, would run code from anybody who can write to Redis.
    web.Job = SimpleNamespace(fetch=json(web.Job.fetch))
    web.requeue_job = json(web.requeue_job)
    # The original opens a connection per request, without our time-outs and TLS options.
    web.from_url = lambda url, **_: (None, current_app.extensions["bridge.redis"])
    return web


def _is_known(parts: Mapping[str, Any], redis: Redis) -> bool:
    """Whether the parts of an address name something that there may be."""
    queue = parts.get("queue_name") or NAME
    return all(
        re.fullmatch(KNOWN[name], str(part))
        for name, part in parts.items()
        if name in KNOWN
    ) and (queue == NAME or bool(redis.sismember("rq:queues", f"rq:queue:{queue}")))
