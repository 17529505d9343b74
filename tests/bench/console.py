"""What looking at many accounts costs, and how long deliveries wait meanwhile."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import quantiles
from threading import Event, Thread

import urllib3

from tests.bench import machine, plan
from tests.bench.report import Figure, figure, say
from tests.support.processes import ROOT
from tests.support.stack import Stack, Web

PASSWORD = "console-example"

PAGES = {"overview": "/console/", "accounts": "/console/accounts"}
ANSWERS = {"metrics": "/metrics", "readyz": "/readyz"}

LOOKS = 5
DELIVERIES = 400
PAUSE = 0.01
"""Seconds between two deliveries."""


def over_many(folder: Path) -> dict[str, Figure]:
    """Return CPU seconds of pages and answers, and milliseconds of deliveries."""
    found: dict[str, Figure] = {}
    with Stack(folder, CONSOLE_USERNAME="ada", CONSOLE_PASSWORD=PASSWORD) as stack:
        say(f"console: {plan.ACCOUNTS:,} accounts with two subscriptions each")
        environ = {name: str(value) for name, value in stack.environ.items()}
        plan.fill(stack.redis, environ)
        web = stack.web()
        pids = web.running.pid, stack.redis_server.pid
        for name, path in (PAGES | ANSWERS).items():
            _look(web, path)
            times = []
            for _ in range(LOOKS):
                before = machine.clock(*pids)
                _look(web, path)
                times.append(machine.spent(before, machine.clock(*pids)))
            found[f"{name} cpu"] = figure(times)
        found["status cpu"] = figure([_status(environ)])
        _deliveries(web)
        found["delivery alone"] = figure([_deliveries(web)])
        stop = Event()
        visitor = Thread(target=_visit, args=(web, stop))
        visitor.start()
        found["delivery beside"] = figure([_deliveries(web)])
        stop.set()
        visitor.join()
    return found


def _look(web: Web, path: str) -> None:
    headers = urllib3.make_headers(basic_auth=f"ada:{PASSWORD}")
    status = web.ask("GET", path, headers=headers).status
    assert status in {200, 503}, status


def _visit(web: Web, stop: Event) -> None:
    """Reload the page of all accounts over and over."""
    while not stop.is_set():
        _look(web, PAGES["accounts"])


def _deliveries(web: Web) -> float:
    """Milliseconds within which 99 of 100 deliveries are answered."""
    took = []
    for _ in range(DELIVERIES):
        time.sleep(PAUSE)
        took.append(web.deliver()[1] * 1000)
    return quantiles(took, n=100)[98]


def _status(environ: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "bridge", "status"],
        cwd=ROOT,
        env=os.environ | environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
