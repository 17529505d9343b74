"""The demo: a month of eight customers, played through everything, on this machine."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from random import Random
from shlex import quote
from threading import Event
from typing import Any, NamedTuple

import orjson
from redis import Redis
from urllib3 import HTTPConnectionPool, Timeout
from urllib3.exceptions import HTTPError

from bridge.demo.lives import DAY, LIVES, Delivery, Life, deliveries, instant
from bridge.demo.stack import HERE, HOME, DemoError, EndedError, Stack, running
from bridge.store.connect import connect
from bridge.store.inspect import Figures, figures
from bridge.vitally.client import Vitally
from bridge.webhook.auth import STRIPE, sign

Say = Callable[[str], None]

DAYS = 30
"""Length of the month; it ended at the last midnight (UTC)."""

DAY_SECONDS = 0.2
"""How long a day takes."""

TRIES = 5
"""So often a delivery that is answered 503 is sent, as Stripe would."""

SETTLE_SECONDS = 30.0
POLL_SECONDS = 0.05
WATCH_SECONDS = 0.5

UNAVAILABLE = 503
ACCEPTED = 202

DATES = ("nextRenewalDate", "cancelAt", "churnedAt", "trialEndDate")
"""Traits whose expected value is a day."""

HEADINGS = ("status", "mrr", "plan", "renews", "cancels", "churned", "trial end")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

COMMANDS = (f"why {LIVES[0]['accounts'][0]}", "status")
"""What one may ask of the bridge that stays up."""

NEXT = "What to do next: look around in the console, or paste into another terminal"


def run(seed: int, *, stays: bool, say: Say, stop: Event, now: float) -> bool:
    """Play the month before *now* (seconds) and tell it; return whether all is right.

    With *stays* everything stays up until *stop* is set. Raises DemoError,
    EndedError (*stop* was set before the end), RedisServerError.
    """
    folder = Path(tempfile.mkdtemp(prefix="vitally-bridge-demo-"))
    keeps = False
    try:
        say("Starting Redis, the Vitally simulator, web and worker ...")
        with running(folder, stop) as stack:
            is_right = _month(stack, seed, now, say, stop)
            if stays:
                say(_addresses(stack))
                while not stop.wait(WATCH_SECONDS):
                    stack.check()
        if not stays:
            say(_again())
        keeps = not is_right
    except DemoError:
        keeps = True
        raise
    finally:
        if keeps:
            say(f"The logs are in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return is_right


def _month(stack: Stack, seed: int, now: float, say: Say, stop: Event) -> bool:
    start = (int(now) // DAY - DAYS) * DAY
    posted = deliveries(LIVES, start, Random(seed))  # noqa: S311 - no secret
    first = EPOCH + timedelta(seconds=start)
    say(f"Playing {DAYS} days of {len(LIVES)} customers from {first:%d %B %Y}:\n")
    _play(stack, posted, first, say, stop)
    with connect(stack.redis_url, verify_tls=True, timeout=5, most=2) as redis:
        seen = _settled(redis, len(posted), say, stop)
    client = Vitally(stack.vitally.url, stack.vitally.authorization)
    accounts = client.accounts(status="activeOrChurned", sort="createdAt").results
    client.close()
    found = verdicts(LIVES, accounts, start)
    right = sum(not verdict.differences for verdict in found)
    say(f"{table(found)}\n\n{_figures(seen)}")
    say(f"{right} of {len(found)} accounts are right.")
    return right == len(found)


# --- The deliveries ------------------------------------------------------------------


def _play(
    stack: Stack, posted: Sequence[Delivery], first: datetime, say: Say, stop: Event
) -> None:
    """Send all *posted*, day by day, and say what happens; *first* is the first day.

    Raises DemoError where a delivery is not taken, EndedError when *stop* is set.
    """
    with HTTPConnectionPool(
        HERE, stack.port, timeout=Timeout(10), retries=False
    ) as pool:
        for day, of_day in groupby(posted, key=lambda delivery: int(delivery.day)):
            shown = f"{first + timedelta(days=day):%d %b}"
            for delivery in of_day:
                receipt = _send(pool, stack, delivery, stop)
                note = f" ({delivery.note})" if delivery.note else ""
                words = f"{delivery.words}{note}"
                say(f"  {shown:<6}  {delivery.who:<14}  {words:<40}  {receipt}")
                shown = ""
            _pause(DAY_SECONDS, stop)


def _send(
    pool: HTTPConnectionPool, stack: Stack, delivery: Delivery, stop: Event
) -> str:
    """Post one delivery, again while Redis is slow, and return its receipt."""
    body, answered = orjson.dumps(delivery.event), ""
    for _ in range(TRIES):
        kind = {"Content-Type": "application/json; charset=utf-8"}
        signed = sign(STRIPE, stack.webhook_secret, body, time.time(), headers=kind)
        try:
            reply = pool.request("POST", "/webhooks/stripe", body, headers=signed)
        except HTTPError as error:
            stack.check()
            raise DemoError(f"the web process does not answer: {error}") from error
        if reply.status == ACCEPTED:
            return str(reply.json()["receipt"])
        answered = f"{reply.status}: {reply.data.decode(errors='replace')}"
        if reply.status != UNAVAILABLE:
            break
        _pause(1, stop)
    raise DemoError(f"the web process answered {answered}")


def _settled(redis: Redis, sent: int, say: Say, stop: Event) -> Figures:
    """Wait until all *sent* deliveries are settled; return the figures then."""
    say("\nWaiting until everything has reached Vitally ...")
    begun = time.monotonic()
    while True:
        seen, took = figures(redis), time.monotonic() - begun
        if seen.received >= sent and not (seen.pending + seen.held + seen.dirty):
            say(f"... done after {took:.1f} s.\n")
            return seen
        if took > SETTLE_SECONDS:
            say(f"... not after {took:.0f} s.\n")
            return seen
        _pause(POLL_SECONDS, stop)


def _pause(seconds: float, stop: Event) -> None:
    if stop.wait(seconds):
        raise EndedError("ended before the month was over")


# --- What Vitally has, beside what was expected --------------------------------------


class Verdict(NamedTuple):
    """One account: what was *expected*, what was *found*, and where they differ."""

    account: str
    expected: Mapping[str, Any]
    found: Mapping[str, Any]
    differences: Sequence[str]


def verdicts(
    lives: Iterable[Life], accounts: Sequence[Mapping[str, Any]], start: int
) -> list[Verdict]:
    """Compare *accounts*, as Vitally lists them, with the *lives*.

    An account that is missing, there twice or not expected is a difference, too.
    """
    left = {
        one["externalId"]: {"name": one["name"], **one["traits"]} for one in accounts
    }
    more = len(accounts) - len(left)
    found = [
        _verdict(life, left.pop(life["accounts"][0], None), start) for life in lives
    ]
    found += [Verdict(name, {}, has, ["not expected"]) for name, has in left.items()]
    if more:
        found.append(Verdict("", {}, {}, [f"{more} accounts are there twice"]))
    return found


def _verdict(life: Life, found: Mapping[str, Any] | None, start: int) -> Verdict:
    (account,), name = life["accounts"], life["name"]
    expected = {"name": name, **life["traits"]}
    for trait in expected.keys() & DATES:
        at = EPOCH + timedelta(seconds=instant(expected[trait], start))
        expected[trait] = f"{at:%Y-%m-%dT%H:%M:%S}.000Z"
    if found is None:
        return Verdict(account, expected, {}, ["Vitally has no such account"])
    stays = life.get("stays", {})
    expected |= {k: v for k, v in stays.items() if found.get(k) == v}
    differences = [
        f"{trait}: Vitally has {found.get(trait)!r}, expected {expected.get(trait)!r}"
        for trait in sorted(expected.keys() | found.keys())
        if found.get(trait) != expected.get(trait)
    ]
    return Verdict(account, expected, found, differences)


def table(verdicts: Sequence[Verdict]) -> str:
    """Draw the verdicts: for each account a line of Vitally, one of what was expected."""
    rows = [["", "account", "", *HEADINGS]]
    notes: list[list[str]] = [[]]
    for account, expected, found, differences in verdicts:
        name = str(found.get("name", expected.get("name", "")))
        rows.append(["✗" if differences else "✓", name, "in Vitally", *_cells(found)])
        rows.append(["", account, "expected", *_cells(expected)])
        notes += [[], [f"    {words}" for words in differences]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines: list[str] = []
    for row, note in zip(rows, notes, strict=True):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines += ["  ".join(cells).rstrip(), *note]
    return "\n".join(lines)


def _cells(traits: Mapping[str, Any]) -> list[str]:
    mrr = traits.get("mrr")
    return [
        str(traits.get("subscriptionStatus", "-")),
        "-" if mrr is None else f"{mrr:,} {traits.get('billingCurrency', '')}",
        str(traits.get("planName", "-")),
        *(str(traits.get(name) or "-")[:10] for name in DATES),
    ]


def _figures(seen: Figures) -> str:
    share = seen.writes / max(1, seen.received)
    return (
        f"{seen.received} deliveries: {seen.accepted} accepted, "
        f"{seen.duplicate} duplicate, {seen.ignored} ignored, "
        f"{seen.quarantined} quarantined. Of the accepted: {seen.settled} settled, "
        f"{seen.pending} pending, {seen.held} held, {seen.parked} parked.\n"
        f"{seen.writes} requests that write to Vitally, {share:.2f} for each delivery."
    )


# --- What one can do next ------------------------------------------------------------


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
