"""The demo: a month of eight customers, played through everything, on this machine."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from shlex import quote
from threading import Event

from redis import Redis

from bridge.demo.life import LIVES
from bridge.demo.play import play, settled
from bridge.demo.post import DAY, letters
from bridge.demo.stack import HOME, DemoError, EndedError, Stack, running
from bridge.demo.steps import DAYS
from bridge.demo.table import table, verdicts
from bridge.store.connect import connect
from bridge.store.inspect import Figures
from bridge.vitally.client import Vitally

__all__ = ["DemoError", "EndedError", "run"]

Say = Callable[[str], None]

WATCH_SECONDS = 0.5

COMMANDS = (f"why {LIVES[0].account}", "status")
"""What one may ask of the bridge that stays up."""

NEXT = "What to do next: look around in the console, or paste into another terminal"


def run(seed: int, *, stays: bool, say: Say, stop: Event, now: float) -> bool:
    """Play the month before *now* (seconds) and tell it; return whether all is right.

    With *stays* everything stays up until *stop* is set. Raises DemoError,
    EndedError (*stop* was set before the end), BridgeError.
    """
    folder = Path(tempfile.mkdtemp(prefix="vitally-bridge-demo-"))
    try:
        say("Starting Redis, the Vitally simulator, web and worker ...")
        with running(folder, stop) as stack:
            is_right = _month(stack, seed, now, say, stop)
            if stays:
                say(_addresses(stack))
                _stay(stack, stop)
        if not stays:
            say(_again())
    except DemoError:
        say(f"The logs are in {folder}")
        raise
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if is_right:
        shutil.rmtree(folder, ignore_errors=True)
    else:
        say(f"The logs are in {folder}")
    return is_right


def _month(stack: Stack, seed: int, now: float, say: Say, stop: Event) -> bool:
    today = int(now) // DAY * DAY
    start = today - DAYS * DAY
    posted = letters(LIVES, start, Random(seed))  # noqa: S311 - no secret
    day = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=start)
    say(f"Playing {DAYS} days of {len(LIVES)} customers from {day:%d %B %Y}:\n")
    play(stack, posted, day, say, stop)
    with connect(stack.redis_url, verify_tls=True, timeout=5, most=2) as redis:
        seen = _wait(redis, len(posted), say, stop)
    client = Vitally(stack.vitally.url, stack.vitally.authorization)
    accounts = client.accounts(status="activeOrChurned", sort="createdAt").results
    client.close()
    found = verdicts(LIVES, accounts, start)
    right = sum(verdict.is_right for verdict in found)
    say(f"{table(found)}\n\n{_figures(seen)}")
    say(f"{right} of {len(found)} accounts are right.")
    return right == len(found)


def _wait(redis: Redis, sent: int, say: Say, stop: Event) -> Figures:
    say("\nWaiting until everything has reached Vitally ...")
    begun = time.monotonic()
    seen, is_settled = settled(redis, sent, stop)
    took = time.monotonic() - begun
    said = f"done after {took:.1f} s" if is_settled else f"not after {took:.0f} s"
    say(f"... {said}.\n")
    return seen


def _figures(seen: Figures) -> str:
    share = seen.writes / max(1, seen.received)
    return (
        f"{seen.received} deliveries: {seen.accepted} accepted, "
        f"{seen.duplicate} duplicate, {seen.ignored} ignored, "
        f"{seen.quarantined} quarantined. Of the accepted: {seen.settled} settled, "
        f"{seen.pending} pending, {seen.held} held, {seen.parked} parked.\n"
        f"{seen.writes} requests that write to Vitally, {share:.2f} for each delivery."
    )


def _addresses(stack: Stack) -> str:
    rows = (
        ("web", f"{stack.web_url}/readyz"),
        ("metrics", f"{stack.web_url}/metrics"),
        ("console", f"{stack.web_url}/console/"),
        ("", f"user admin, password {stack.password}"),
        ("Vitally", f"{stack.vitally.url}/"),
        ("Redis", stack.redis_url),
        ("logs", str(stack.folder)),
    )
    lines = [f"  {name:<9}{address}" for name, address in rows]
    where, python = _typed()
    begin = f"{where}REDIS_URL={stack.redis_url} {python} -m bridge"
    return "\n".join(
        [
            "\nEverything stays up until Ctrl-C:\n",
            *lines,
            f"\n{NEXT}{'' if where else ' in this folder'}:\n",
            *(f"  {begin} {command}" for command in COMMANDS),
            "",
        ]
    )


def _again() -> str:
    """What to do next where nothing has stayed up."""
    where, python = _typed()
    is_make = not where and Path("Makefile").is_file()
    demo = "make demo" if is_make else f"{where}{python} -m bridge demo"
    said = " and ".join(f"`{command}`" for command in COMMANDS)
    return (
        f"\nWhat to do next: {demo}\n"
        f"It plays the same month and stays up, with lines to paste for {said},\n"
        "and the address, user and password of the console."
    )


def _typed() -> tuple[str, str]:
    """How a shell comes to our packages (nothing: as it is), and to this Python."""
    python = Path(sys.executable)
    if not (HOME / "pyproject.toml").is_file():
        return "", quote(str(python))  # installed: they are found from everywhere
    if python.is_relative_to(HOME):
        python = python.relative_to(HOME)
    where = "" if Path.cwd() == HOME else f"cd {quote(str(HOME))} && "
    return where, quote(str(python))


def _stay(stack: Stack, stop: Event) -> None:
    """Until the user ends it; raises DemoError where a process ends before."""
    while not stop.wait(WATCH_SECONDS):
        stack.check()
