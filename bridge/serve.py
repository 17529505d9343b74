"""The web process: a parent that runs one granian worker, and the app inside it.

Granian reads headers outside of Python, and `bridge.web.front` reads bodies on one loop.
So a stalled sender costs one socket, for at most ten seconds.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import socket
import sys
import threading
import time
from functools import partial
from typing import TYPE_CHECKING

from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from bridge import log
from bridge.errors import BridgeError
from bridge.log import fields
from bridge.settings import Settings
from bridge.sources import load, switched_on, weak_secrets
from bridge.stop import Stop, on_stop

if TYPE_CHECKING:
    from bridge.web.front import Front

LOG = logging.getLogger("bridge.serve")

HOST = "0.0.0.0"  # noqa: S104 - a platform's router calls from outside

CONNECTIONS = 8192
"""Most open connections, idle ones included; fewer if the system allows fewer open
files."""

BACKLOG = 2048
"""Connections that may wait to be accepted."""

OTHER_FILES = 256
"""Open files for other purposes than clients: Redis, logs, the loop."""

HEADER_SECONDS = 10
"""A connection is closed if it is idle, or its headers are incomplete, for so long."""

READ_AHEAD = 64 * 1024
"""Bytes of a request buffered outside of Python, and so the longest headers."""

GRACE = 8
"""Seconds that a worker has to finish its requests; a delivery takes at most 2."""

PORT_WAIT = 3.0
"""Seconds to wait for the port while the worker of a killed parent still holds it."""

PARENT_POLL = 0.5
"""Seconds between a worker's checks that its parent still lives."""

CRASHES = 3
"""The process ends after this many crashes of the worker in a row."""

CRASH_LOOP = 60.0
"""Seconds; crashes further apart than this are not in a row."""

GRANIAN_LOG = {
    "formatters": {},
    "handlers": {},
    "loggers": {"_granian": {"handlers": [], "propagate": True}},
}
"""Granian logs through the root logger, which `bridge.log` has configured."""


def serve(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT; return the exit status.

    Raises BridgeError where the port cannot be had.
    """
    log.configure(settings.log_level, settings.log_format)
    port = free_port(settings.port)
    sources = sorted(source.name for source in switched_on(settings.sources))
    LOG.info("listening", extra=fields(port=port, sources=sources))
    for weak in weak_secrets(settings):
        LOG.warning("weak secret", extra=fields(reason=weak))
    for doubt in settings.doubts:
        LOG.warning("settings", extra=fields(reason=doubt))
    if not sources:
        LOG.warning("no source is switched on; every delivery is answered with 404")
    crashes, started = 0, time.monotonic()
    while crashes < CRASHES:
        if _run(port):
            return 0
        crashes = 0 if time.monotonic() - started > CRASH_LOOP else crashes + 1
        started = time.monotonic()
    LOG.error("the web worker keeps dying; giving up")
    return 1


def _run(port: int) -> bool:
    """Serve; False where granian gave up because its worker died twice at once."""
    on_stop(partial(sys.exit, 0))
    server = MPServer(
        "bridge.serve:application",
        address=HOST,
        port=port,
        interface=Interfaces.ASGINL,
        loop=Loops.asyncio,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(
            header_read_timeout=HEADER_SECONDS * 1000, max_buffer_size=READ_AHEAD
        ),
        workers=1,
        backlog=BACKLOG,
        backpressure=connections(),
        workers_kill_timeout=GRACE,
        respawn_failed_workers=True,
        respawn_interval=0.1,
        websockets=False,
        log_level=LogLevels.error,
        log_dictconfig=GRANIAN_LOG,
    )
    server.main_loop_interrupt = Stop()  # its own locks itself up at two signals
    try:
        server.serve(target_loader=partial(application, os.getpid()), wrap_loader=False)
    except SystemExit:
        # A worker that got the signal before its parent did looks like a crash.
        return bool(server.interrupt_signal)
    return True


def connections() -> int:
    """Return how many clients may be there at once, and let the system allow them.

    Many systems allow a process 1,024 open files, and more where it asks for them.
    """
    wanted = CONNECTIONS + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(wanted - OTHER_FILES, wanted // 2)


def application(parent: int) -> Front:
    """Make the app, inside the worker of the process *parent*."""
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    # Ctrl-C reaches the whole group of a terminal, and the parent then sends SIGTERM;
    # granian 2.8.7 locks itself up when the second signal meets the first.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    from bridge.web.front import front  # noqa: PLC0415 - not into the parent's memory

    settings, config = load(os.environ)
    log.configure(settings.log_level, settings.log_format)
    threading.Thread(target=_end_with, args=[parent], name="end", daemon=True).start()
    app = front(settings, config)
    LOG.info("web worker ready", extra=fields(pid=os.getpid()))
    return app


def _end_with(parent: int) -> None:
    """End this process after its parent, which can no longer do it, has died."""
    while os.getppid() == parent:
        time.sleep(PARENT_POLL)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(0)


def free_port(port: int) -> int:
    """Return *port* once it is free, or any free port for 0.

    Granian lets several processes share a port, so that it would not notice another.
    Raises BridgeError.
    """
    deadline = time.monotonic() + PORT_WAIT
    while True:
        try:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((HOST, port))
                return int(probe.getsockname()[1])
        except OSError as error:
            if time.monotonic() > deadline or isinstance(error, PermissionError):
                reason = f"port {port} is not available: {error.strerror}; set PORT"
                raise BridgeError(reason) from None
        time.sleep(0.1)
