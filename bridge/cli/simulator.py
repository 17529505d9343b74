"""`python -m bridge simulator`: a local Vitally to try things on."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import Field, fields
from threading import Event
from typing import Any

import click

from bridge.errors import BridgeError
from bridge.vitally.simulator import Simulator, Switches
from bridge.vitally.simulator.server import EXAMPLE_KEY


def _switches(command: Callable[..., None]) -> Callable[..., None]:
    """Give *command* one option for each switch."""
    for row in reversed(fields(Switches)):
        command = _option(row)(command)
    return command


def _option(row: Field[Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    allowed = row.metadata.get("allowed")
    return click.option(
        f"--{row.name.replace('_', '-')}",
        row.name,
        default=row.default,
        type=click.Choice(allowed) if allowed else type(row.default),
        show_default=True,
        help=row.metadata["meaning"],
    )


@click.command(context_settings={"max_content_width": 100})
@click.option("--host", default="127.0.0.1", show_default=True, help="Address.")
@click.option("--port", default=9000, show_default=True, help="0: any free one.")
@click.option(
    "--key",
    "keys",
    multiple=True,
    default=(EXAMPLE_KEY,),
    show_default=True,
    help="REST key that is taken; may be repeated.",
)
@_switches
def simulator(host: str, port: int, keys: tuple[str, ...], **switches: Any) -> None:
    """Run a local Vitally: the same requests, replies, limits and warts.

    A page at / shows the accounts; /_simulator/log every request. What is not known
    about the real Vitally is an option here.

    \b
    Example:
      python -m bridge simulator --port 9000 --key sk_test_example
      VITALLY_BASE_URL=http://127.0.0.1:9000 VITALLY_API_KEY=sk_test_example \\
        python -m bridge accounts list
    """
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    running = Simulator(keys, Switches(**switches), host, port)
    try:
        running.start()
    except OSError as error:
        raise BridgeError(
            f"the simulator cannot listen on {host}:{port} ({error.strerror}); "
            "choose another --port, or 0 for any free one"
        ) from error
    click.echo(f"Vitally simulator listening on {running.url}")
    stop.wait()
    running.stop()
