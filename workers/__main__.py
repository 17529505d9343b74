"""`python -m workers`: starts the worker process or processes.

With `WORKER_PROCESSES` of one, this process is the worker. With more, it runs that many
child processes, each of which ends by itself when this one is gone.
"""

from __future__ import annotations

import gc
import os
import signal
import sys

if __name__ == "__main__":
    # A platform may stop it before everything is imported; nothing has to be finished then.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM, signal.SIGINT])
    # A large account has tens of thousands of objects, none of them garbage. Scanning
    # them repeatedly would take a fifth of its job, and of the imports a tenth.
    gc.set_threshold(100_000, 50, 100)

import logging
import random
import socket

from bridge import log as logs
from bridge import telemetry
from bridge.config import Config
from bridge.errors import EXIT_CONFIG, ConfigError
from bridge.keep import keep
from bridge.settings import Settings
from bridge.sources import load
from bridge.stop import stop_event
from workers.process import RENEW, Process, unsignalled


def main() -> int:
    """Run until SIGTERM, then exit with 0; exit with EXIT_CONFIG for wrong settings."""
    try:
        return work(*load(os.environ))
    except ConfigError as error:
        for problem in error.problems:
            sys.stderr.write(f"workers: {problem}\n")
        return EXIT_CONFIG


def work(settings: Settings, config: Config) -> int:
    """Work in this process, or run the processes that do. Raises ConfigError."""
    logs.configure(settings.log_level, settings.log_format)
    # Its DEBUG lines contain paths, and so ids of accounts.
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    # Before RQ installs its own handlers.
    stop = stop_event()
    if settings.worker_processes > 1:
        modules = [("workers",)] * settings.worker_processes
        return keep(modules, stop, WORKER_PROCESSES="1")
    with unsignalled():
        telemetry.start(settings)
    name = f"{socket.gethostname()}-{os.getpid()}-{random.randrange(16**4):04x}"  # noqa: S311 (a name, no secret)
    status = Process(settings, config, name, stop).run()
    if status == RENEW:
        os.execv(sys.executable, [sys.executable, "-m", "workers"])  # noqa: S606 (itself)
    return status


if __name__ == "__main__":
    sys.exit(main())
