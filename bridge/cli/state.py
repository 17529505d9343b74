"""`export`, `import` and `forget`: the whole state in a file, and one customer out of it."""

from __future__ import annotations

import getpass
import gzip
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from shutil import copyfileobj
from tempfile import TemporaryFile
from typing import IO

import click
from redis import Redis
from redis.exceptions import RedisError

from bridge.actions import parties_of
from bridge.cli import Command, opened, program
from bridge.cli.output import confirm, note, progress, table, tell, yes_option
from bridge.domain.facts import PartyName, pointer, source_of
from bridge.domain.values import SUBSCRIPTION
from bridge.errors import BridgeError
from bridge.log import plain
from bridge.queue import Queue
from bridge.store import audit, dump, operator
from bridge.store.inspect import StateReader
from bridge.store.lease import Leases
from bridge.store.quarantine import Quarantine
from bridge.store.refresh import Cursor
from bridge.wording import count

PRIVATE = 0o600

PATIENCE = 15.0
"""Seconds to wait for a worker that is busy with an account."""

REMAINS = (
    "the source's own records",
    "the account in Vitally (see `accounts delete`)",
    "backups of Redis and files of `export`",
    "ids in the logs of web and workers",
)
"""What `forget` cannot remove."""

OTHERS = "quarantined deliveries that may hold others (`quarantine show`, `drop`):"
"""And, before their ids, what it leaves to a person."""

FILE = click.Path(dir_okay=False, path_type=Path)
THERE = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)

STREAM = Path("-")
"""The name of standard input and output."""


@click.command("export", cls=Command)
@click.argument("file", type=FILE)
def export(file: Path) -> None:
    """Write the whole state into FILE, a new one, compressed.

    FILE contains no secrets but personal data, so only its owner may read it. Events may
    come meanwhile; those that come after the export are not in it. FILE - is standard
    output, for a container without a disk.

    \b
    Example:
      python -m bridge export state.jsonl.gz
      docker compose exec -T web python -m bridge export - > state.jsonl.gz
    """
    redis = opened().redis
    number = -2  # The first line and the last are no keys.
    with _new(file) as out:
        for line in progress(dump.export(redis), lambda n, _: f"{n:,} keys ..."):
            out.write(line)
            number += 1
    if file == STREAM:
        note(f"{count(number, 'key')}; it contains personal data")
        return
    data = {"file": str(file), "keys": number, "bytes": (size := file.stat().st_size)}
    words = f"{file}: {count(number, 'key')}, {size:,} bytes; it contains personal data"
    tell(data, f"{words}, only you may read it")


@contextmanager
def _new(file: Path) -> Iterator[IO[str]]:
    """A new compressed file for its owner alone; removed if it does not become whole."""
    if file == STREAM:
        if sys.stdout.isatty():
            raise click.UsageError("this prints bytes: send them to a file with >")
        with gzip.open(sys.stdout.buffer, "wt") as out:
            yield out
        return
    try:
        number = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    except FileExistsError:
        raise BridgeError(f"{file} exists already; name another file") from None
    except OSError as error:
        raise BridgeError(f"{file}: {error.strerror}") from None
    try:
        with os.fdopen(number, "wb") as raw, gzip.open(raw, "wt") as out:
            yield out
    except BaseException:
        file.unlink()
        raise


@contextmanager
def _given(file: Path) -> Iterator[IO[bytes]]:
    """The file, or what comes on standard input, put aside, as it is read twice."""
    raw: IO[bytes] = file.open("rb") if file != STREAM else TemporaryFile()  # noqa: SIM115 - closed below
    with raw:
        if file == STREAM:
            copyfileobj(sys.stdin.buffer, raw)
            raw.seek(0)
        yield raw


@click.command("import", cls=Command)
@click.argument("file", type=THERE)
def import_(file: Path) -> None:
    """Fill an empty Redis with the state in FILE, which `export` wrote.

    FILE - is standard input. Start web and worker afterwards. What waited to be written
    is written then.

    \b
    Example:
      python -m bridge import state.jsonl.gz
    """
    redis = opened().redis
    if not dump.is_empty(redis):
        reason = "Redis has a state already, and two cannot be merged"
        raise BridgeError(f"{reason}; nothing is changed")
    with _given(file) as raw:
        try:
            with gzip.open(raw, "rt") as lines:
                whole = dump.check(lines)
        except BridgeError as error:
            raise BridgeError(f"{file}: {error}; nothing is changed") from None
        raw.seek(0)
        try:
            with gzip.open(raw, "rt") as lines:
                done = dump.load(redis, lines)
                deque(progress(done, lambda _, n: f"{n:,} of {whole:,}"), maxlen=0)
        except (*dump.DAMAGE, RedisError) as error:
            wrong = f"{file} could not be loaded whole ({type(error).__name__})"
            hint = "empty this Redis before you try again"
            raise BridgeError(f"{wrong}; {hint}") from None
    tell({"keys": whole}, f"{count(whole, 'key')} are there; see `{program()} doctor`")


@click.command(cls=Command)
@click.argument("name", metavar="ACCOUNT|PARTY")
@yes_option
def forget(name: str, *, yes: bool) -> None:
    """Remove all that the bridge keeps of ACCOUNT or PARTY, and print a receipt.

    Facts, what was written, lines of the journal, jobs, and quarantined deliveries that
    name it. Its events stay counted, as settled and forgotten. The receipt says what
    remains: what is not in the bridge's hands, and deliveries that may hold others. An
    event that comes later begins anew: delete the customer at its source first.

    \b
    Example:
      python -m bridge forget stripe:cus_9
      python -m bridge forget acme-101 --yes --json
    """
    redis = opened().redis
    parties = [*_with_pointers(StateReader(redis), parties_of(redis, [name]))]
    events = sum(one.rev for one in StateReader(redis).standings(parties) if one)
    say_what = f"{', '.join(parties)} with {count(events, 'event')}"
    confirm(f"Type {plain(name)} to forget {plain(say_what)}", name, yes=yes)
    lines: Counter[str] = Counter()
    for party in parties:
        lines.update(_forgotten(redis, party))
    names = [("", name), *(PartyName.parse(party)[1:] for party in parties)]
    quarantine, doubtful = Quarantine(redis), ""
    for kept, is_sure in quarantine.about(names):
        if is_sure:
            quarantine.drop(kept.id)
        lines["quarantine"] += is_sure
        doubtful += "" if is_sure else f" {kept.id}"
    lines["audit"] = audit.forget(redis, [id_ for _, id_ in names])
    audit.record(redis, _user(), "forget", f"{count(events, 'event')} of one customer")
    at = datetime.now(UTC).isoformat(timespec="seconds")
    removed = {key: number for key, number in sorted(lines.items()) if number}
    receipt = {"id": name, "at": at, "by": _user(), "events": events}
    remains = [*REMAINS, *([OTHERS + doubtful] if doubtful else [])]
    tell(
        {**receipt, "removed": removed, "remains": remains},
        f"{name} is forgotten, by {_user()} at {at}",
        f"{count(events, 'event stays', 'events stay')} counted as settled; removed:",
        *table((), removed.items()),
        f"not removed: {', '.join(remains)}",
    )


def _with_pointers(state: StateReader, parties: Sequence[str]) -> Iterator[str]:
    """Yield *parties*, and the pointers to their subscriptions and deals."""
    yield from parties
    for party in parties:
        things = [t for t in state.member(party).things if t.startswith(SUBSCRIPTION)]
        ids = [t.removeprefix(SUBSCRIPTION).replace("-", ":", 1) for t in things]
        names = [pointer(source_of(party), thing) for thing in (*things, *ids)]
        known = zip(names, state.standings(names), strict=True)
        yield from (pointed for pointed, standing in known if standing)


def _forgotten(redis: Redis, party: str) -> Mapping[str, int]:
    """Forget *party*, and its job; wait while a worker has its account."""
    queue = Queue(redis)
    jobs = {*StateReader(redis).jobs(party)}
    jobs |= {failed.id for failed in queue.failed() if failed.party == party}
    until = time.monotonic() + PATIENCE
    while (gone := operator.forget(redis, party)) is None:
        if time.monotonic() > until:
            raise BridgeError(f"{party}: a worker is busy with it; try again")
        time.sleep(0.1)
    for job in jobs:
        queue.forget(job)
    Cursor(redis, source_of(party), None).forget(party)
    if gone.other:
        # The account is now that of fewer parties.
        queue.push_all(Leases(redis).claim("look", gone.other), "another was forgotten")
    return gone.keys


def _user() -> str:
    """Who runs this command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
