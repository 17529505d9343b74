"""`python -m bridge simulator`: a local Vitally for experiments."""

from __future__ import annotations

import click

from bridge.cli import Command
from bridge.errors import BridgeError
from bridge.stop import stop_event
from bridge.vitally.simulator import EXAMPLE_KEY, Simulator

UNITS = click.IntRange(min=1)


@click.command(cls=Command, json=False, context_settings={"max_content_width": 100})
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option("--port", default=9000, help="Port to listen on; 0: any free one.")
@click.option("--key", "keys", multiple=True, default=[EXAMPLE_KEY], help="A REST key.")
@click.option(
    "--limit", default=1000, type=UNITS, help="Units a minute; a write is 10."
)
def simulator(host: str, port: int, keys: tuple[str, ...], limit: int) -> None:
    """Run a local Vitally: the Accounts API with its key, rate limit and errors.

    A page at / shows the accounts. It forgets them when it stops.

    \b
    Example:
      python -m bridge simulator --port 9000 --key sk_test_example
      VITALLY_BASE_URL=http://127.0.0.1:9000 VITALLY_API_KEY=sk_test_example \\
        python -m bridge accounts list
    """
    running = Simulator(keys, host, port, limit=limit)
    try:
        running.start()
    except OSError as error:
        where, hint = f"{host}:{port} ({error.strerror})", "choose another --port, or 0"
        raise BridgeError(f"the simulator cannot listen on {where}; {hint}") from error
    stop = stop_event()
    click.echo(f"Vitally simulator listening on {running.url}")
    stop.wait()
    running.stop()
