"""The commands that act: try again, give up, stop all writes and let them go on."""

from __future__ import annotations

from typing import Any

import click
from redis import Redis

from bridge.cli import session
from bridge.cli.operate import NO_VITALLY, to_write
from bridge.cli.program import program
from bridge.errors import BridgeError
from bridge.plain import plain
from bridge.queue import Queue
from bridge.store import keys, operator
from bridge.store.inspect import Figures, Look, figures
from bridge.store.lease import Leases

STEP = 500
"""Parties after which the one who waits is told how far it is."""


@click.command()
@click.argument("names", nargs=-1, metavar="[PARTY|ACCOUNT]...")
@click.option("--parked", is_flag=True, help="All that Vitally refused.")
@click.option("--held", is_flag=True, help="All whose account is not known.")
def retry(names: tuple[str, ...], *, parked: bool, held: bool) -> None:
    """Try again at once what is parked, held or waits for its next try.

    It is what an event of the party would do as well. Nothing is written twice: a
    job that finds nothing to write ends without a request.

    \b
    Example:
      python -m bridge retry acme-101 stripe:cus_9
      python -m bridge retry --parked
    """
    if bool(names) == (parked or held):
        raise click.UsageError("name parties or accounts, or say --parked or --held")
    found, _config = session.settings(without=NO_VITALLY)
    client = session.redis(found)
    lists = [key for key, on in ((keys.PARKED, parked), (keys.HELD, held)) if on]
    queued, rest = _queue(client, _listed(client, lists) or _named(client, names))
    session.say(f"{queued} {'job' if queued == 1 else 'jobs'} queued")
    if rest:
        session.say(f"{rest} more: nothing waits there, or a job is on its way already")
    if why := _stopped(figures(client)):
        session.say(why)


def _listed(client: Any, lists: list[str]) -> list[str]:
    return [raw.decode() for key in lists for raw in client.zrange(key, 0, -1)]


def _named(client: Redis, names: tuple[str, ...]) -> list[str]:
    look = Look(client)
    parties: dict[str, None] = {}
    for name in names:
        found = [name] if look.standing(name) else look.members_of(name)
        if not found:
            raise BridgeError(f"{name}: no such account or party here; nothing is done")
        parties |= dict.fromkeys(found)
    return list(parties)


def _queue(client: Redis, parties: list[str]) -> tuple[int, int]:
    """Queue a job for each party that waits: how many, and how many did not."""
    leases, queue = Leases(client), Queue(client)
    queued = 0
    for number, party in enumerate(parties, 1):
        claims = leases.wake(party)
        queue.push_all(claims, "tried again by hand")
        queued += len(claims)
        if number % STEP == 0:
            click.echo(f"{number} of {len(parties)} parties ...", err=True)
    return queued, len(parties) - queued


def _stopped(now: Figures) -> str:
    if now.paused is not None:
        return f"writes are paused ({now.paused}): see `{program()} resume`"
    return f"writes are stopped: {now.breaker}" if now.breaker else ""


@click.command()
@click.argument("party")
@click.option("--yes", is_flag=True, help="Do not ask, for scripts.")
def discard(party: str, *, yes: bool) -> None:
    """Give up the events that PARTY is parked or held with.

    They count as settled, without a write. The party's facts stay: its next event, or
    a link, brings all of them to Vitally again.

    \b
    Example:
      python -m bridge discard stripe:cus_9
      python -m bridge discard stripe:cus_9 --yes
    """
    found, _config = session.settings(without=NO_VITALLY)
    client = session.redis(found)
    standing = Look(client).standing(party)
    if standing is None or not standing.why:
        raise BridgeError(f"{party}: neither parked nor held; nothing is given up")
    if not yes:
        click.echo(f"{party} waits: {plain(standing.why)}", err=True)
        ask = f"Type {party} to give up its {standing.held + standing.parked} event(s)"
        if click.prompt(ask, default="", show_default=False, err=True) != party:
            raise BridgeError("that is not the party; nothing is given up")
    given_up = operator.discard(client, party)
    if given_up is None:
        raise BridgeError(f"{party} waits no more; nothing is given up")
    session.say(f"{party}: {given_up} event(s) given up; its facts stay")


@click.command()
@click.option("--reason", default="no reason given", help="What the others are told.")
def pause(reason: str) -> None:
    """Stop all writes to Vitally, of every worker, until `resume`.

    Events are still accepted and kept, and nothing is lost however long it takes. A
    write that has begun is finished, which takes seconds.

    \b
    Example:
      python -m bridge pause --reason "Vitally's support looks into acme-101"
    """
    found, _config = session.settings(without=NO_VITALLY)
    operator.pause(session.redis(found), plain(reason))
    session.say(f"writes are paused; `{program()} resume` lets them go on")


@click.command()
def resume() -> None:
    """Let writes to Vitally go on after `pause`; tell what waits.

    \b
    Example:
      python -m bridge resume
    """
    found, _config = session.settings(without=NO_VITALLY)
    client = session.redis(found)
    was = operator.resume(client)
    now = figures(client)
    session.say("writes go on" if was else "writes were not paused")
    session.say(f"to be written: {to_write(now, found.vitally_budget_share)}")
    if why := _stopped(now):
        session.say(why)
