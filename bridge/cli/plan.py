"""`plan`, `apply` and `reconcile`: what would be written, writing it, and what Vitally has."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
import orjson

from bridge import actions
from bridge import plan as plans
from bridge.actions import unknown
from bridge.cli import Command, Session, client_of, opened, program, vitally_of
from bridge.cli.explain import value
from bridge.cli.output import (
    confirm,
    note,
    progress,
    say,
    show,
    table,
    tell,
    wants_json,
    yes_option,
)
from bridge.cli.status import stopped
from bridge.desired import rules
from bridge.domain.facts import source_of
from bridge.domain.money import figure
from bridge.errors import BridgeError, VitallyLimitedError, VitallyUnavailableError
from bridge.log import where
from bridge.plan import Planned, Report
from bridge.reconcile import Reconciler
from bridge.store import keys
from bridge.store.inspect import StateReader, figures
from bridge.store.lease import Leases
from bridge.store.mass import Mass
from bridge.store.samples import rules_of_workers
from bridge.store.shadow import Shadow
from bridge.store.view import Member
from bridge.throttle import Throttle, wait_ms
from bridge.vitally.client import PAGE
from bridge.wording import ago, command, count

LOOK = 0.5
"""Seconds between two looks whether all is written."""

LOOKS = 1000
"""So many accounts more make a look as much rarer."""

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
def plan(account: str | None, out: str | None) -> None:
    """Show what would be written to Vitally, of all accounts or of ACCOUNT.

    ACCOUNT is Vitally's external id, or a party (stripe:cus_…). It is worked out from
    what the bridge knows; nothing is asked of Vitally. The sums of MRR are those of all
    accounts, before and after, with those that stay as they are.

    \b
    Example:
      python -m bridge plan
      python -m bridge plan acme-101
      python -m bridge plan --out plan.json && python -m bridge apply plan.json
    """
    here = opened()
    found = planned(here, [_account(here, account)] if account else None)
    if account and not found:
        raise unknown(here.redis, account)
    data = _json(here, found)
    if out:
        try:
            Path(out).write_bytes(_file(data))
        except OSError as error:
            raise BridgeError(f"{out} cannot be written: {error.strerror}") from None
        note(f"{out}: {count(len(data['accounts']), 'account')}")
    show(data, _words)


def planned(here: Session, only: Iterable[str] | None = None) -> list[Planned]:
    """The plan of all accounts, or of *only* some."""
    settings = here.settings
    again = partial(client_of, settings, most=1)
    try:
        return plans.plan(here.redis, again, here.config, settings.bridge_create, only)
    except (ValueError, TypeError, LookupError) as error:
        name = next(iter(getattr(error, "__notes__", ())), "it")
        reason = f"{name} cannot be worked out: {where(error)}"
        hint = f"`{program()} parked` has it once a worker has tried"
        raise BridgeError(f"{reason}; {hint}") from error


def _account(here: Session, name: str) -> str:
    """The account that *name*, which may be a party, stands for."""
    if StateReader(here.redis).standing(name) is None:
        return name
    for _, account in Shadow(here.redis).homes([name]):
        return account
    raise BridgeError(f"{name} is held, its account is not known: `{program()} held`")


def _json(here: Session, found: Sequence[Planned]) -> dict[str, Any]:
    share = here.settings.vitally_budget_share
    rows = [_row(one) for one in found if one.is_due]
    totals = plans.totals(found, figures(here.redis), share)
    return {"accounts": rows, "totals": totals}


def _file(data: Mapping[str, Any]) -> bytes:
    """A plan as JSON with a line for each account, and a last one for the totals."""
    rows, sums = map(orjson.dumps, data["accounts"]), orjson.dumps(data["totals"])
    return b'{"accounts":[\n%b\n],\n"totals":%b}\n' % (b",\n".join(rows), sums)


def _row(one: Planned) -> dict[str, Any]:
    """An account as a plan in JSON has it."""
    row = {"account": one.account, "create": one.create, "changes": one.changes}
    row["state"] = one.state
    row |= {"instances": one.instances} if one.instances else {}
    return row if one.name is None else row | {"name": one.name}


def _words(data: Mapping[str, Any]) -> Iterator[str]:
    accounts = data["accounts"]
    rows = [
        (one["account"] if n == 0 else "", key, value(had), "->", value(shall))
        for one in accounts[:MOST_SHOWN]
        for n, (key, (had, shall)) in enumerate(_changes(one))
    ]
    if rows:
        yield from (*table(("ACCOUNT", "TRAIT", "IN VITALLY", "", "PLANNED"), rows), "")
    if len(accounts) > MOST_SHOWN:
        yield f"and {len(accounts) - MOST_SHOWN:,} more accounts: see --json or --out"
    yield from summed_up(data) if accounts else ["nothing would be written"]


def _changes(row: Mapping[str, Any]) -> Iterator[tuple[str, Sequence[object]]]:
    """The rows of an account; an unconfirmed write is made again without any change."""
    name = {"(name)": row["name"]} if "name" in row else {}
    if "instances" in row:
        name["(instances)"] = (None, row["instances"])
    yield from (name | row["changes"] or {"(again)": (None, None)}).items()


def summed_up(data: Mapping[str, Any]) -> Iterator[str]:
    """What a whole plan comes to, in words."""
    totals = data["totals"]
    created = f"{totals['created']:,} of them a new account"
    yield f"{count(totals['writes'], 'write')}, {created}; {costs(totals)}"
    for currency, (before, after) in totals["mrr"].items():
        sums = f"{figure(before, currency)} -> {figure(after, currency)}"
        yield f"mrr in all, {currency or 'no currency'}: {sums}"
    if totals["subscribed"] or totals["unsubscribed"]:
        new = f"{count(totals['subscribed'], 'account')} would become subscribed"
        yield f"{new} (billed by Vitally), {totals['unsubscribed']:,} would cease to be"


def costs(totals: Mapping[str, Any]) -> str:
    """What a plan uses up of Vitally's limit, and how long that takes."""
    units, least = totals["units"], min(totals["units"], 0.1)
    minutes = max(totals["minutes"], least)
    return f"{units:,} units of Vitally's limit, about {minutes:g} min"


@click.command(cls=Command)
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--no-wait", is_flag=True, help="Return once it is queued.")
def apply(file: str, *, no_wait: bool) -> None:
    """Have the workers write what FILE says, a plan of `plan --out`, and wait for it.

    Where anything has moved since (facts, rules, what Vitally has), nothing is written
    and the accounts are named (exit status 3). An event that comes in while the workers
    write is written too, as at all times.

    \b
    Example:
      python -m bridge apply plan.json
    """
    here = opened()
    rows = _rows(Path(file))
    due = {one.account: _row(one) for one in planned(here, rows) if one.is_due}
    now = orjson.loads(orjson.dumps(due))  # as a file has it
    moved = [name for name, row in rows.items() if now.get(name) != row]
    for name in moved:
        note(f"{name}: it is not what the plan says any more")
    if moved:
        note(f"{count(len(moved), 'account')} moved since; make the plan again")
        sys.exit(MOVED)
    queue(here, [*rows], wait=not no_wait)
    tell({"accounts": [*rows]})


def queue(
    here: Session, accounts: Sequence[str], *, wait: bool, whole: bool = False
) -> None:
    """Have *accounts* written (or the *whole* of each), and perhaps *wait* for it.

    Ends the program where the workers have other rules. Raises BridgeError in a dry run,
    and where it waits and something is not written.
    """
    if rules_of_workers(here.redis) not in {"", rules(here.config)}:
        cure = "give them the version and the bridge.toml of this command"
        note(f"the workers started with other rules: {cure}; nothing is written")
        sys.exit(MOVED)
    queued = plans.queue_accounts(here.redis, here.settings, accounts, whole=whole)
    note(f"{count(len(accounts), 'account')} queued")
    if not wait:
        return
    every = f"{len(accounts):,}"
    for left in progress(_left(here, queued), lambda _, n: f"{n:,} of {every} left"):
        time.sleep(LOOK * (1 + left / LOOKS))
    rest = [one for one in planned(here, accounts) if one.is_due]
    failed = [one.account for one in rest if one.requests]
    for name in failed[:MOST_SHOWN]:
        note(f"{name}: not written; see `{command('why', name)}`")
    if failed:
        raise BridgeError(f"{count(len(failed), 'account')} could not be written")
    done = f"{count(len(accounts), 'account')} now right in Vitally"
    if rest:
        done += f"; instances of {count(len(rest), 'account')} follow within minutes"
    note(done) if wants_json() else say(done)


def _left(here: Session, queued: plans.Queued) -> Iterator[int]:
    """How many are not written yet, until none is left. Raises BridgeError if none will be."""
    while left := plans.waiting(here.redis, queued):
        now = figures(here.redis)
        reason = stopped(now) or ("" if now.heard else "no worker was heard for 15 s")
        if reason:
            raise BridgeError(f"{left:,} are written once it is over: {reason}")
        yield left


@click.command(cls=Command)
def mass() -> None:
    """Show what waits as a mass change: what it would write, and what caused it.

    More accounts would churn, or more MRR would move, within an hour than customers
    make. `release` has it written, `discard --mass` discards it.

    \b
    Example:
      python -m bridge mass
      python -m bridge release
    """
    here = opened()
    held = [one for one, _ in StateReader(here.redis).listed(keys.MASS)]
    members = Leases(here.redis).members([one.party for one in held])
    causes = Counter(map(_cause, members))
    accounts = sorted({one.account for one in held if one.account})
    reasons = Mass(here.redis).reasons()
    data = {"causes": dict(causes.most_common()), "reasons": reasons}
    show(_json(here, planned(here, accounts)) | data, _mass)


def _cause(member: Member) -> str:
    """The source and the type of the newest event that a party's facts come from."""
    facts = (state.fact for state in member.things.values())
    newest = max(facts, key=lambda fact: fact.stamp.at, default=None)
    kind = newest.kind if newest else "the account's last party left it"
    return f"{source_of(member.name)} {kind}".strip()


def _mass(data: Mapping[str, Any]) -> Iterator[str]:
    if not data["causes"]:
        yield "nothing waits as a mass change"
        return
    yield from _words(data)
    yield from ("", *data["reasons"])
    yield from (f"caused by {what}: {n:,}" for what, n in data["causes"].items())


@click.command(cls=Command)
@yes_option
def release(*, yes: bool) -> None:
    """Have written what waits as a mass change; see `mass`.

    \b
    Example:
      python -m bridge release
      python -m bridge release --yes
    """
    redis = opened().redis
    waiting = figures(redis).mass_parties
    ask = f"Type release to have {count(waiting, 'change')} written"
    confirm(ask, "release", yes=yes)
    released = len(actions.release(redis))
    tell({"changes": released}, f"{count(released, 'change')} released")


def _rows(file: Path) -> dict[str, Any]:
    """The accounts of a plan by name. Raises BridgeError where it is none."""
    try:
        rows = orjson.loads(file.read_bytes())["accounts"]
        return {one["account"]: one for one in rows}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        hint = f"make one with `{command('plan', '--out', 'plan.json')}`"
        raise BridgeError(f"{file} is no plan; {hint}") from None


@click.command(cls=Command)
@click.option("--fix", is_flag=True, help="Have the workers write what should be.")
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
    show(found, _report)
    if fix:
        wrong = {*(one.account for one in found.drift), *found.missing}
        queue(here, sorted(wrong), wait=False)


def read_vitally(here: Session) -> int:
    """Read the list of all accounts in Vitally, with progress; how many it has.

    Waits where Vitally wants that, or stumbles; a reading that was interrupted goes on.
    """
    settings = here.settings
    throttle = Throttle(here.redis, settings.vitally_budget_share)
    vitally = vitally_of(settings, observe=throttle.learn)
    reconciler = Reconciler(here.redis, vitally, here.config, partial(_wait, throttle))
    read, failed = 0, 0
    note(f"reading Vitally's list of accounts, {PAGE} a request")
    while True:
        try:
            for so_far in progress(reconciler.read(), _accounts_read):
                read, failed = so_far, 0
        except VitallyLimitedError as error:
            throttle.pause(wait_ms(error.retry_after))
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


def _accounts_read(_: int, number: int) -> str:
    return f"{count(number, 'account')} read"


def _wait(throttle: Throttle) -> None:
    """Wait for Vitally's limit."""
    while (wait := throttle.reserve_read(LONGEST_MS)) < 0:
        note(f"waiting {ago(-wait)} for Vitally's limit")
        time.sleep(-wait / 1000)
    time.sleep(wait / 1000)


def _report(found: Report) -> Iterator[str]:
    yield f"{count(found.read, 'account')} read"
    drift = found.drift
    if drift:
        rows = ((d.account, d.trait, value(d.vitally), value(d.wanted)) for d in drift)
        yield from ("", *table(("ACCOUNT", "TRAIT", "IN VITALLY", "WANTED"), rows))
    for heading, names in (
        ("deleted in Vitally", found.missing),
        ("in Vitally, of no customer here", found.unknown),
    ):
        if names:
            yield f"{heading}: {len(names):,}"
            yield from (f"  {name}" for name in names[:MOST_SHOWN])
    if not (drift or found.missing):
        yield "all that the bridge wrote is there as it was written"
