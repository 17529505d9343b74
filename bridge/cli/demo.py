"""`python -m bridge demo`: see everything work, on this machine alone."""

from __future__ import annotations

import io
import signal
import sys
import time
from threading import Event

import click

from bridge.demo.run import run
from bridge.demo.stack import EndedError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.command()
@click.option("--exit", "exits", is_flag=True, help="End when the month is over.")
@click.option(
    "--seed",
    default=1,
    show_default=True,
    help="Which deliveries come twice or late.",
)
def demo(exits: bool, seed: int) -> None:
    """Play a month of eight customers through everything, without configuration.

    Starts a Redis of its own, a local Vitally, the web and the worker process; sends
    signed deliveries, some twice and some late; shows the accounts that Vitally has
    beside what was expected; and stays until Ctrl-C. The status is 0 where every
    account is right.

    \b
    Example:
      python -m bridge demo --exit
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    stop, got = Event(), [signal.SIGINT]
    _listen(stop, got)
    try:
        is_right = run(
            seed, stays=not exits, say=click.echo, stop=stop, now=time.time()
        )
    except EndedError:
        click.echo("Ended.")
        sys.exit(128 + got[0])
    sys.exit(0 if is_right else 1)


def _listen(stop: Event, got: list[signal.Signals]) -> None:
    """Let a signal set *stop*, and note which it was; asking twice changes nothing."""

    def asked(number: int, _frame: object) -> None:
        got[0] = signal.Signals(number)
        stop.set()

    for number in SIGNALS:
        signal.signal(number, asked)
