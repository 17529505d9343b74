"""`setup`: lets a sender of webhooks send what the bridge needs, or says how one does it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click

from bridge.cli import Command, configured, program
from bridge.cli.output import json_lines, note, one_of, show
from bridge.cli.sources import FILE, NOTHING
from bridge.errors import BridgeError, ConfigError, SourceError
from bridge.settings import TextError, address
from bridge.sources import discover
from bridge.webhook.source import Options, SetUp, Source

LOOPBACK = {"localhost", "127.0.0.1", "::1"}

SOMEWHERE = "https://<your bridge>"

HERE = re.compile(rf"{SOMEWHERE}\S*?(?=[`?])")
"""Where the sources' README have the address."""

MUST = "must be https://host[:port][/path], the address that the sender calls"


@click.command(cls=Command)
@click.argument("source")
@click.option("--url", help="The bridge's public address. Without: BRIDGE_PUBLIC_URL.")
@click.option("--print", "by_hand", is_flag=True, help="Only say what to click.")
@click.option("--dry-run", is_flag=True, help="Only look what would be changed.")
@click.option("--enable", is_flag=True, help="Enable an endpoint that is disabled.")
@click.option("--prune", is_flag=True, help="Take off events that are not needed here.")
@click.option("--connect-endpoint", help="Id of the Connect endpoint, or `none`.")
@click.option("--key-file", type=FILE, help="A file with the key that may do this.")
def setup(source: str, url: str | None, key_file: Path | None, **flags: Any) -> None:
    """Create or update the webhook endpoint of SOURCE, so that it sends what is needed.

    It needs a key that may change webhook endpoints: that in --key-file, else in
    STRIPE_SETUP_KEY, else STRIPE_API_KEY. It is not stored. Done again, it changes
    nothing. A secret is printed once, when an endpoint is created. It only adds events:
    what else the endpoint sends is said, and taken off with --prune. Senders that only
    a person can set up: --print.

    \b
    Example:
      python -m bridge setup stripe --url https://bridge.example.com
      python -m bridge setup hubspot --print
    """
    settings, _ = configured(NOTHING)
    known, by_hand = one_of(discover(), source, "source"), flags.pop("by_hand")
    given = settings.bridge_public_url if url is None else url
    if given is None and not by_hand:
        raise ConfigError(["give --url, or set BRIDGE_PUBLIC_URL"])
    unknown = f"{SOMEWHERE}/webhooks/{source}"
    called = unknown if given is None else _address(given, source)
    if by_hand:
        show(_by_hand(known, called, settings.sources), _clicks)
        return
    if known.set_up is None:
        hint = f"`{program()} setup {source} --print` says what to click"
        raise BridgeError(f"only a person can set up {known.title}: {hint}")
    name = f"{source.upper()}_SETUP_KEY"
    options = {**settings.sources, name: _key(key_file, name)}
    done: list[SetUp] = []
    data = {"source": source, "url": called, "secret": known.secret, "endpoints": done}
    try:
        done.extend(known.set_up(options, called, **flags))
    except SourceError as error:
        hint = f"; another key: --key-file or {name}, by hand: --print"
        raise BridgeError(f"{error}{hint if error.refused else ''}") from None
    finally:  # what was created before a failure has a secret, too
        if done:
            show(data | {"dry_run": flags["dry_run"]}, _words)
    if left := [text for one in done for text in one.left]:
        raise BridgeError("; ".join(left))


def _key(file: Path | None, name: str) -> str | None:
    """The key that only this uses: that in *file*, else that in the variable *name*."""
    key = file.read_text("utf-8-sig", "replace") if file else os.environ.get(name, "")
    if (file or key.strip()) and not re.fullmatch("[!-~]+", key.strip()):
        where = "--key-file" if file else name
        raise click.BadParameter("must hold one key and nothing else", param_hint=where)
    return key.strip() or None


def _address(given: str, source: str) -> str:
    """The URL of the *source*'s webhooks at the *given* address."""
    path, parts = f"/webhooks/{source}", urlsplit("")
    with suppress(TextError):
        parts = urlsplit(address(given))
    is_local = parts.hostname in LOOPBACK
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_local)
    if not (is_safe and parts.hostname) or set("@?#") & set(given):
        raise click.BadParameter(MUST, param_hint="--url")
    if is_local:
        note(f"{parts.hostname} is this machine; no sender outside can call it")
    return given.rstrip("/").removesuffix(path) + path


def _by_hand(source: Source, url: str, options: Options) -> dict[str, Any]:
    """What the source's README says to do, and what its endpoint must send."""
    readme = files(f"bridge.sources.{source.name}").joinpath("README.md")
    _, _, text = readme.read_text("utf-8").partition("\n## Set up\n")
    lines = text.partition("\n## ")[0].strip().split("\n")
    steps = [HERE.sub(lambda _: url, line) for line in lines]
    events = source.events(options) if source.events else [*source.handlers]
    data = {"source": source.name, "url": url, "steps": steps, "events": events}
    return data | {"file": source.component(options, url)}


def _clicks(data: Any) -> Iterator[str]:
    yield from data["steps"]
    yield from ("", "Events:", *(f"  {kind}" for kind in data["events"]))
    if data["file"]:
        yield from ("", "The same as a file:", *json_lines(data["file"]))


def _words(data: Any) -> Iterator[str]:
    done: Sequence[SetUp] = data["endpoints"]
    if data["dry_run"]:
        yield "Only looked; this would be done:"
    for one in done:
        yield f"{one.did} {one.id}: it sends events of {one.whom} to {data['url']}"
        if one.did == "changed" or data["dry_run"]:
            yield from (f"  + {kind}" for kind in one.added)
            yield from (f"  - {kind}" for kind in one.removed)
        for text in one.notes:
            note(text)
    if made := [one.secret for one in done if one.secret]:
        yield f"{data['secret']}={','.join(made)}"
        note("Set it for web and worker, after a comma where there is one already.")
        note("It is told only this once.")
    elif not data["dry_run"]:
        note("A secret is told only at a creation; else see the endpoint's own page.")
