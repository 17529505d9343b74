"""What the commands that read a source's own API share: who can, and patience."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

import click

from bridge.cli import session
from bridge.errors import BridgeError, ConfigError, SourceError, SourceUnreadError
from bridge.plain import plain
from bridge.settings import Settings
from bridge.sources import every
from bridge.webhook.source import Archive, Source

TRIES = 8
"""Times in a row that a request is made before the command gives up."""

LONGEST_WAIT = 120.0
"""Seconds."""

EVERY = 5.0
"""Seconds between two lines of progress."""

Found = TypeVar("Found")


def archive_of(name: str, settings: Settings) -> tuple[Source, Archive]:
    """The source *name* and how it is read. Raises BridgeError, ConfigError."""
    able = {source.name: source for source in every(settings.sources) if source.archive}
    source = able.get(name)
    if source is None or source.archive is None:
        listed = ", ".join(able)
        raise BridgeError(f"{name} cannot be read afterwards; what can: {listed}")
    archive = source.archive(settings.sources)
    if archive is None:
        reason = f"{source.key} is required to read {source.title}'s own API"
        raise ConfigError([reason])
    return source, archive


def patiently(ask: Callable[[], Found]) -> Found:
    """Return what *ask* does, waiting where the source wants that, or stumbles."""
    for tried in range(TRIES):
        try:
            return ask()
        except SourceUnreadError:
            raise
        except SourceError as error:
            if error.refused or tried == TRIES - 1:
                raise
            asked = 2.0**tried if error.retry_after is None else error.retry_after
            wait = min(asked, LONGEST_WAIT)
            note(f"{error}; trying again in {wait:g} s")
            time.sleep(wait)
    raise AssertionError("the last try returns or raises")


def note(text: str) -> None:
    """Tell the one who waits, beside the output."""
    click.echo(plain(text), err=True)


class Progress:
    """Says now and then how far it is; *total* None: nobody knows."""

    def __init__(self, what: str, total: int | None) -> None:
        self.done = 0
        self._what = what
        self._total = total
        self._began = self._said = time.monotonic()

    def step(self, count: int = 1) -> None:
        """Count *count* more."""
        self.done += count
        if time.monotonic() - self._said >= EVERY:
            self.end()

    def end(self) -> None:
        """Say how far it is."""
        self._said = time.monotonic()
        rate = self.done / max(self._said - self._began, 0.001)
        line = f"{self.done:,} {self._what}, {rate:.1f} a second"
        if self._total and self.done < self._total:
            left = session.ago(round((self._total - self.done) / rate * 1000))
            line = f"{line}, {self._total - self.done:,} left: about {left}"
        note(line)
