"""`python -m bridge simulator`: a local Vitally to try things on."""

from __future__ import annotations

import signal
from threading import Event

import click

from bridge.errors import BridgeError
from bridge.vitally.simulator import EXAMPLE_KEY, Simulator


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
@click.option(
    "--limit",
    default=1000,
    type=click.IntRange(min=1),
    show_default=True,
    help="Units a minute: a write costs 10, a read 1.",
)
def simulator(host: str, port: int, keys: tuple[str, ...], limit: int) -> None:
    """Run a local Vitally: the Accounts API with its key, rate limit and errors.

    A page at / shows the accounts.

    \b
    Example:
      python -m bridge simulator --port 9000 --key sk_test_example
      VITALLY_BASE_URL=http://127.0.0.1:9000 VITALLY_API_KEY=sk_test_example \\
        python -m bridge accounts list
    """
    stop = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    running = Simulator(keys, host, port, limit=limit)
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
