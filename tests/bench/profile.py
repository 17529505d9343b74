"""Where the time of the ingress goes: the app in this process, under cProfile."""

from __future__ import annotations

import cProfile
import io
import os
import pstats
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bridge import log
from bridge.sources import load
from bridge.web import create_app
from tests.bench import ingress
from tests.bench.figure import say
from tests.support.server import RedisServer
from tests.support.stripe import SECRET
from tests.support.waiting import eventually

EVENTS = 3000
LINES = 40

PLAIN = {"CONTENT_TYPE", "CONTENT_LENGTH"}


def show(folder: Path) -> None:
    """Print the dearest functions of both workloads, in themselves and in all."""
    with RedisServer(folder / "redis") as server:
        environ = {
            "REDIS_URL": server.url,
            "VITALLY_API_KEY": "sk_test_example",
            "VITALLY_BASE_URL": "http://127.0.0.1:9",
            "STRIPE_WEBHOOK_SECRET": SECRET,
            "STRIPE_MODE": "test",
        }
        log.configure("INFO", "json", os.open(os.devnull, os.O_WRONLY))
        app = create_app(load(environ)[0]).wsgi_app
        eventually(lambda: _play(app, ingress.requests("new", 1)) == {"202"}, 10)
        for workload in ingress.PER_CUSTOMER:
            say(f"profile: {EVENTS} events, customers {workload}")
            requests = ingress.requests(workload, EVENTS)
            with cProfile.Profile() as profile:
                _play(app, requests)
            stats = pstats.Stats(profile, stream=sys.stdout).strip_dirs()
            for order in ("cumulative", "tottime"):
                stats.sort_stats(order).print_stats(LINES)


def _play(app: Any, requests: Iterable[bytes]) -> set[str]:
    """Answer *requests*; return the statuses."""
    statuses: set[str] = set()
    for request in requests:
        list(app(_environ(request), lambda status, _: statuses.add(status[:3])))
    return statuses


def _environ(request: bytes) -> dict[str, Any]:
    """What a WSGI server makes of *request*."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    method, path, _ = first.split()
    named = (line.split(": ", 1) for line in lines)
    headers = {name.upper().replace("-", "_"): value for name, value in named}
    return {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SERVER_NAME": "bridge.example",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(body),
        **{k if k in PLAIN else f"HTTP_{k}": v for k, v in headers.items()},
    }
