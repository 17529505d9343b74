"""`python -m bridge demo`: plays a month of eight customers on this machine."""

from __future__ import annotations

import io
import shutil
import signal
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from random import Random
from shlex import quote
from threading import Event
from typing import Any, NamedTuple

import click
import orjson
from urllib3 import Retry
from urllib3.exceptions import HTTPError

from bridge.cli import Command
from bridge.cli.output import table
from bridge.demo.lives import DAY, LIVES, Delivery, Life, deliveries, instant
from bridge.demo.stack import HOME, DemoError, EndedError, Stack, running
from bridge.store.connect import connect
from bridge.store.inspect import Figures, figures
from bridge.vitally.client import Vitally
from bridge.webhook.auth import STRIPE, sign

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

DAYS = 30
"""Length of the month; it ended at the last midnight (UTC)."""

DAY_SECONDS = 0.2
"""How long a day takes."""

AGAIN_AT_503 = Retry(
    connect=0, read=0, status=4, status_forcelist=[503], allowed_methods=None
)
"""A delivery is sent again after `Retry-After`, as Stripe would."""

SETTLE_SECONDS = 30.0

ACCEPTED = 202

DATES = ("nextRenewalDate", "cancelAt", "churnedAt", "trialEndDate")
"""Traits whose expected value is a day."""

HEADING = (
    *("", "account", "", "status", "mrr", "plan"),
    *("renews", "cancels", "churned", "trial end"),
)

WORDS = tomllib.loads(Path(__file__).with_name("words.toml").read_text("utf-8"))
"""What it prints in the end."""

ASK = (f"why {LIVES[0]['accounts'][0]}", "status")
"""Commands to try while the demo runs."""


@click.command(cls=Command, json=False)
@click.option("--exit", "exits", is_flag=True, help="End when the month is over.")
@click.option("--seed", default=1, help="Decides which deliveries come twice or late.")
def demo(exits: bool, seed: int) -> None:
    """Play a month of eight customers through the bridge; no configuration needed.

    Starts its own Redis, a local Vitally, and the bridge's web and worker; sends signed
    deliveries, some twice and some late; compares Vitally's accounts with what was
    expected; and runs until Ctrl-C. The exit status is 0 if every account is right.

    \b
    Example:
      python -m bridge demo --exit
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    stop = Event()
    signals: list[int] = []

    def end(number: int, _frame: object) -> None:
        signals.append(number)
        stop.set()

    for number in SIGNALS:
        signal.signal(number, end)
    folder = Path(tempfile.mkdtemp(prefix="vitally-bridge-demo-"))
    status = 1
    try:
        click.echo("Starting Redis, the Vitally simulator, web and worker ...")
        with running(folder, stop) as stack:
            is_right = _month(stack, seed)
            if not exits:
                _stay(stack)
        if exits:
            click.echo(WORDS["again"].format(*ASK))
        status = 0 if is_right else 1
    except EndedError:
        click.echo("Ended.")
        status = 128 + signals[0]
    finally:
        if status == 1:
            click.echo(f"The logs are in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    sys.exit(status)


def _month(stack: Stack, seed: int) -> bool:
    """Play the month; return whether every account is right at its end."""
    start = (int(time.time()) // DAY - DAYS) * DAY
    posted = deliveries(start, Random(seed))  # noqa: S311 - no secret
    first = datetime.fromtimestamp(start, UTC)
    what = f"{DAYS} days of {len(LIVES)} customers"
    click.echo(f"Playing {what} from {first:%d %B %Y}:\n")
    for day, of_day in groupby(posted, key=lambda delivery: int(delivery.day)):
        shown = f"{first + timedelta(days=day):%d %b}"
        for delivery in of_day:
            receipt = _send(stack, delivery)
            note = f" ({delivery.note})" if delivery.note else ""
            words = f"{delivery.words}{note}"
            click.echo(f"  {shown:<6}  {delivery.who:<14}  {words:<40}  {receipt}")
            shown = ""
        stack.pause(DAY_SECONDS)
    seen = _settled(stack, len(posted))
    client = Vitally(stack.vitally.url, stack.vitally.authorization)
    accounts = client.accounts(status="activeOrChurned", sort="createdAt").results
    client.close()
    results = list(verdicts(LIVES, accounts, start))
    right = sum(not verdict.differences for verdict in results)
    share = seen.writes / max(1, seen.received)
    click.echo("\n".join(drawn(results)))
    click.echo("\n" + WORDS["counts"].format(**seen._asdict(), share=share))
    click.echo(f"{right} of {len(results)} accounts are right.")
    return right == len(results)


def _send(stack: Stack, delivery: Delivery) -> str:
    """Post one delivery, again while Redis is slow, and return its receipt."""
    body = orjson.dumps(delivery.event)
    kind = {"Content-Type": "application/json; charset=utf-8"}
    signed = sign(STRIPE, stack.webhook_secret, body, time.time(), headers=kind)
    try:
        reply = stack.web.request(
            "POST", "/webhooks/stripe", body, headers=signed, retries=AGAIN_AT_503
        )
    except HTTPError as error:
        stack.pause(0)
        raise DemoError(f"the web process does not answer: {error}") from error
    if reply.status != ACCEPTED:
        text = reply.data.decode(errors="replace")
        raise DemoError(f"the web process answered {reply.status}: {text}")
    return str(reply.json()["receipt"])


def _settled(stack: Stack, sent: int) -> Figures:
    """Wait until all *sent* deliveries are settled; return the figures then."""
    click.echo("\nWaiting until everything has reached Vitally ...")
    begun = time.monotonic()
    with connect(stack.redis_url, verify_tls=True, timeout=5, most=2) as redis:
        while True:
            seen, took = figures(redis), time.monotonic() - begun
            waits = seen.received < sent or seen.pending + seen.held + seen.dirty
            if not waits or took > SETTLE_SECONDS:
                click.echo(f"... {'not' if waits else 'done'} after {took:.1f} s.\n")
                return seen
            stack.pause(0.05)


# --- What Vitally has, beside what was expected --------------------------------------


class Verdict(NamedTuple):
    """One account: what was *expected*, what Vitally *has*, and the differences."""

    account: str
    expected: Mapping[str, Any]
    has: Mapping[str, Any]
    differences: Sequence[str]


def verdicts(
    lives: Iterable[Life], accounts: Iterable[Mapping[str, Any]], start: int
) -> Iterator[Verdict]:
    """Compare *accounts*, as Vitally lists them, with the *lives*.

    An account that is missing, there twice or not expected is a difference, too.
    """
    left = [
        (one["externalId"], {"name": one["name"], **one["traits"]}) for one in accounts
    ]
    for life in lives:
        (account,) = life["accounts"]
        has = next((has for id_, has in left if id_ == account), {})
        if has:
            left.remove((account, has))
        yield _verdict(account, life, has, start)
    for account, has in left:
        yield Verdict(account, {}, has, ["not expected"])


def _verdict(account: str, life: Life, has: Mapping[str, Any], start: int) -> Verdict:
    expected = {"name": life["name"], **life["traits"]}
    for trait in expected.keys() & set(DATES):
        at = datetime.fromtimestamp(instant(expected[trait], start), UTC)
        expected[trait] = f"{at:%Y-%m-%dT%H:%M:%S}.000Z"
    if not has:
        return Verdict(account, expected, {}, ["Vitally has no such account"])
    expected |= {k: v for k, v in life.get("stays", {}).items() if has.get(k) == v}
    differences = [
        f"{trait}: Vitally has {has.get(trait)!r}, expected {expected.get(trait)!r}"
        for trait in sorted(expected.keys() | has.keys())
        if has.get(trait) != expected.get(trait)
    ]
    return Verdict(account, expected, has, differences)


def drawn(results: Sequence[Verdict]) -> Iterator[str]:
    """Draw for each account a line of what Vitally has, and one of what was expected."""
    rows: list[Sequence[str]] = []
    for account, expected, has, differences in results:
        name = str(has.get("name", expected.get("name", "")))
        rows.append(["✗" if differences else "✓", name, "in Vitally", *_cells(has)])
        rows.append(["", account, "expected", *_cells(expected)])
    heading, *lines = table(HEADING, rows)
    yield heading
    for n, verdict in enumerate(results):
        yield from lines[2 * n : 2 * n + 2]
        yield from (f"    {words}" for words in verdict.differences)


def _cells(traits: Mapping[str, Any]) -> list[str]:
    mrr = traits.get("mrr")
    return [
        str(traits.get("subscriptionStatus", "-")),
        "-" if mrr is None else f"{mrr:,} {traits.get('billingCurrency', '')}",
        str(traits.get("planName", "-")),
        *(str(traits.get(name) or "-")[:10] for name in DATES),
    ]


# --- What one can do next ------------------------------------------------------------


def _stay(stack: Stack) -> None:
    """Say where everything is, and keep it up until the user ends it."""
    where, python = _typed()
    addresses = {
        "web": f"http://{stack.web.host}:{stack.web.port}",
        "vitally": stack.vitally.url,
        "redis": stack.redis_url,
        "logs": stack.folder,
        "password": stack.password,
        "where": "" if where else " in this folder",
    }
    click.echo(WORDS["stays"].format_map(addresses))
    for command in ASK:
        click.echo(f"  {where}REDIS_URL={stack.redis_url} {python} -m bridge {command}")
    click.echo()
    with suppress(EndedError):
        while True:
            stack.pause(0.5)


def _typed() -> tuple[str, str]:
    """How a shell comes to our packages (nothing: as it is), and to this Python."""
    python = Path(sys.executable)
    if not (HOME / "pyproject.toml").is_file():
        return "", quote(str(python))  # installed: they are found from everywhere
    if python.is_relative_to(HOME):
        python = python.relative_to(HOME)
    where = "" if Path.cwd() == HOME else f"cd {quote(str(HOME))} && "
    return where, quote(str(python))
