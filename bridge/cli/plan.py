"""`plan`, `apply` and `reconcile`: what would be written, writing it, and what Vitally has."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import orjson

from bridge import plan as plans
from bridge.cli import PATIENCE, Command, Session, opened, program
from bridge.cli.explain import value
from bridge.cli.output import ago, as_json, count, note, say, show, table, wants_json
from bridge.errors import BridgeError, VitallyLimitedError, VitallyUnavailableError
from bridge.plan import Planned, Report, Totals
from bridge.queue import Queue
from bridge.reconcile import PAGE, Reconciler
from bridge.store.connect import connect
from bridge.store.inspect import figures
from bridge.store.lease import Leases
from bridge.store.shadow import Shadow
from bridge.throttle import Throttle
from bridge.vitally.client import Vitally

EVERY = 5.0
"""Seconds between two lines of progress."""

MOST_SHOWN = 200
"""Accounts that are shown in words; --json and --out have all."""

MOVED = 3
"""Exit status where a plan is not what would be written any more."""

TRIES = 8
"""Failures in a row after which a reading gives up."""

LONGEST_MS = 5000
"""How long a request of a reading waits for its turn without saying so."""

INTERRUPTED = 130
"""Exit status after Ctrl-C, as in a shell."""


@click.command(cls=Command)
@click.argument("account", required=False)
@click.option("--out", type=click.Path(dir_okay=False), help="Write it to FILE.")
@as_json
def plan(account: str | None, out: str | None) -> None:
    """Show what would be written to Vitally, of all accounts or of ACCOUNT.

    Works it out from what the bridge knows; nothing is asked of Vitally.

    \b
    Example:
      python -m bridge plan
      python -m bridge plan acme-101
      python -m bridge plan --out plan.json && python -m bridge apply plan.json
    """
    here = opened()
    data = _plan(here, [account] if account else None)
    if out:
        Path(out).write_bytes(orjson.dumps(_json(data), option=orjson.OPT_INDENT_2))
        note(f"{out}: {count(len(data['accounts']), 'account')}")
    show(_json(data) if wants_json() else data, _words)


def _plan(here: Session, only: Sequence[str] | None) -> dict[str, Any]:
    settings = here.settings
    again = partial(
        connect,
        settings.redis_url,
        verify_tls=settings.redis_tls_verify,
        timeout=PATIENCE,
        most=1,
    )
    found = plans.plan(here.redis, again, here.config, only)
    accounts = sorted(found, key=lambda one: one.account)
    share = settings.vitally_budget_share
    totals = plans.totals(accounts, figures(here.redis), share)
    return {"accounts": accounts, "totals": totals}


def _json(data: Mapping[str, Any]) -> dict[str, Any]:
    accounts = [
        {"account": one.account, "create": one.create, "changes": one.changes}
        for one in data["accounts"]
    ]
    return {"accounts": accounts, "totals": data["totals"]._asdict()}


def _words(data: Mapping[str, Any]) -> Iterator[str]:
    accounts: Sequence[Planned] = data["accounts"]
    totals: Totals = data["totals"]
    rows = [
        (one.account if n == 0 else "", key, value(had), "->", value(shall))
        for one in accounts[:MOST_SHOWN]
        for n, (key, (had, shall)) in enumerate(
            one.changes.items() or {"(new)": (None, None)}.items()
        )
    ]
    if rows:
        yield from (*table(("ACCOUNT", "TRAIT", "IN VITALLY", "", "PLANNED"), rows), "")
    if len(accounts) > MOST_SHOWN:
        yield f"and {len(accounts) - MOST_SHOWN:,} more accounts: see --json or --out"
    if not accounts:
        yield "nothing would be written"
        return
    yield (
        f"{count(totals.writes, 'write')}, {totals.created:,} of them a new account; "
        f"{totals.units:,} units of Vitally's limit, about {totals.minutes:g} min"
    )
    for currency, (before, after) in totals.mrr.items():
        yield f"mrr {currency}: {before:,.2f} -> {after:,.2f}"
    if totals.subscribed or totals.unsubscribed:
        yield (
            f"{count(totals.subscribed, 'account')} would become subscribed (billed by "
            f"Vitally), {totals.unsubscribed:,} would cease to be"
        )


@click.command(cls=Command)
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
def apply(file: str) -> None:
    """Have the workers write what FILE says, a plan of `plan --out`.

    Where anything has moved since, nothing is written and the accounts are named
    (exit status 3).

    \b
    Example:
      python -m bridge apply plan.json
    """
    here = opened()
    rows = _rows(Path(file))
    if not rows:
        say("nothing to write")
        return
    now = {one["account"]: one for one in _json(_plan(here, [*rows]))["accounts"]}
    moved = [name for name, row in rows.items() if _plain(now.get(name)) != row]
    for name in moved:
        note(f"{name}: it is not what the plan says any more")
    if moved:
        note(f"{count(len(moved), 'account')} moved since; make the plan again")
        sys.exit(MOVED)
    queued = _look_again(here, [*rows])
    say(f"{count(queued, 'account')} queued; see `{program()} status`")


def _rows(file: Path) -> dict[str, Any]:
    """The accounts of a plan by name. Raises BridgeError where it is none."""
    try:
        return {
            one["account"]: one for one in orjson.loads(file.read_bytes())["accounts"]
        }
    except (ValueError, KeyError, TypeError):
        hint = f"make one with `{program()} plan --out {file.name}`"
        raise BridgeError(f"{file} is no plan; {hint}") from None


def _plain(row: object) -> Any:
    """A row of a plan as it is read from a file."""
    return orjson.loads(orjson.dumps(row))


def _look_again(here: Session, accounts: Sequence[str]) -> int:
    """Queue a job for each of *accounts* that has parties; how many."""
    leases, queue, queued = Leases(here.redis), Queue(here.redis), 0
    joining = Shadow(here.redis).accounts()
    for view in Shadow(here.redis).views({n: joining.get(n, []) for n in accounts}):
        claims = leases.claim_to_look(view.own.name)
        queue.push_all(claims, "by hand")
        queued += 1
    return queued


@click.command(cls=Command)
@click.option("--fix", is_flag=True, help="Have the workers write what should be.")
@as_json
def reconcile(*, fix: bool) -> None:
    """Read what Vitally has of all accounts, and show what is not as it was written.

    A hundred accounts a request, inside Vitally's limit. Interrupted, the same command
    goes on where it stopped.

    \b
    Example:
      python -m bridge reconcile
      python -m bridge reconcile --fix
    """
    here = opened(())
    read = read_vitally(here)
    found = plans.report(here.redis, here.config, read)
    if fix:
        wrong = {*(one.account for one in found.drift), *found.missing}
        note(f"{count(_look_again(here, sorted(wrong)), 'account')} queued")
    show(found, _report)


def read_vitally(here: Session) -> int:
    """Read the list of all accounts in Vitally, with progress; how many it has.

    Waits where Vitally wants that, or stumbles; a reading that was interrupted goes on.
    """
    settings = here.settings
    throttle = Throttle(here.redis, settings.vitally_budget_share)
    vitally = Vitally(
        settings.vitally_base_url,
        settings.vitally_authorization,
        observe=throttle.learn,
    )
    click.get_current_context().call_on_close(vitally.close)
    reconciler = Reconciler(here.redis, vitally, here.config, partial(_wait, throttle))
    read, failed = 0, 0
    note(f"reading Vitally's list of accounts, {PAGE} a request")
    while True:
        try:
            for so_far in _noted(reconciler.read()):
                read, failed = so_far, 0
        except VitallyLimitedError as error:
            throttle.pause(int((error.retry_after or 2.0) * 1000))
        except VitallyUnavailableError as error:
            failed += 1
            if failed == TRIES:
                raise
            note(f"{error.reason}; trying again in {2**failed} s")
            time.sleep(2.0**failed)
        except KeyboardInterrupt:
            note(f"stopped after {count(read, 'account')}; the same command goes on")
            sys.exit(INTERRUPTED)
        else:
            return read


def _noted(pages: Iterator[int]) -> Iterator[int]:
    said = time.monotonic()
    for read in pages:
        if time.monotonic() - said >= EVERY:
            said = time.monotonic()
            note(f"{count(read, 'account')} read")
        yield read


def _wait(throttle: Throttle) -> None:
    """Wait for Vitally's limit."""
    while (wait := throttle.reserve_read(LONGEST_MS)) < 0:
        note(f"waiting {ago(-wait)} for Vitally's limit")
        time.sleep(-wait / 1000)
    time.sleep(wait / 1000)


def _report(found: Report) -> Iterator[str]:
    yield f"{count(found.read, 'account')} read"
    rows = [
        (d.account, d.trait, value(d.vitally), value(d.wanted)) for d in found.drift
    ]
    if rows:
        yield from ("", *table(("ACCOUNT", "TRAIT", "IN VITALLY", "WANTED"), rows))
    for heading, names in (
        ("deleted in Vitally", found.missing),
        ("in Vitally, not known here", found.unknown),
    ):
        if names:
            yield f"{heading}: {len(names):,}"
            yield from (f"  {name}" for name in names[:MOST_SHOWN])
    if not (rows or found.missing):
        yield "all that the bridge wrote is there as it was written"
