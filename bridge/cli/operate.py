"""The commands of the one on call: how it stands, what waits, and what a hand can do."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click
from redis import Redis

from bridge.cli.output import (
    ago,
    as_json,
    count,
    moment,
    note,
    now_ms,
    say,
    show,
    table,
)
from bridge.cli.session import opened, program
from bridge.domain.facts import Fact, Stamp
from bridge.domain.values import LINK
from bridge.errors import BridgeError
from bridge.ingest import Ingress
from bridge.log import plain
from bridge.queue import Queue
from bridge.sources import every
from bridge.store import keys, operator
from bridge.store.accept import Accept
from bridge.store.inspect import Figures, Look, figures
from bridge.store.lease import Leases
from bridge.store.quarantine import Kept, Quarantine

STEP = 500
"""Parties after which the one who waits is told how far it is."""


@click.command()
@as_json
def status(*, as_json: bool) -> None:
    """Show what became of all events, and when all that waits will be written.

    \b
    Example:
      python -m bridge status
    """
    here = opened()
    now = figures(here.redis)
    seconds = now.drained_in(here.settings.vitally_budget_share)
    data = now._asdict() | {"drain_seconds": round(seconds)}
    show(data, lambda _: _status(now, seconds), as_json=as_json)


def _status(now: Figures, seconds: float) -> Iterator[str]:
    given_up = f"; {now.discarded} discarded" if now.discarded else ""
    here = program()
    sums = (
        ("received", now.received, "=", "accepted + duplicate + ignored + quarantined"),
        ("  accepted", now.accepted, "=", "settled + pending + held + parked"),
        ("    settled", now.settled, "", f"in Vitally, or nothing to write{given_up}"),
        ("    pending", now.pending, "", "on its way"),
        ("    held", now.held, "", f"account not known: {here} held"),
        ("    parked", now.parked, "", f"could not be written: {here} parked"),
        ("  duplicate", now.duplicate, "", "seen before"),
        ("  ignored", now.ignored, "", "no effect on an account"),
        ("  quarantined", now.quarantined, "", f"not read: {here} quarantine list"),
    )
    writes = "running" if now.paused is None else f"PAUSED by hand: {now.paused}"
    workers = ", ".join(now.heard) or "none heard for 15 s: is a worker running?"
    rest = (
        (
            "oldest unsettled",
            ago(now.oldest_ms) if now.oldest_ms is not None else "none",
        ),
        ("to be written", to_write(now, seconds)),
        ("jobs waiting", now.waiting),
        ("requests to Vitally", f"{now.writes} made, {now.saved} jobs needed none"),
        ("workers", workers),
        ("writes", f"STOPPED: {now.breaker}" if now.breaker else writes),
        ("incomplete histories", now.incomplete),
        ("accounts with unknown traits", now.unknown),
        ("objects to be read, but no API key", now.unread),
        ("in the quarantine", in_quarantine(now)),
    )
    yield from (*table((), sums), "", *table((), rest))


def in_quarantine(now: Figures) -> str:
    """Say what is kept unread."""
    events = count(now.quarantined, "event")
    deliveries = count(now.quarantine_deliveries, "delivery", "deliveries")
    dropped = count(now.quarantine_dropped, "delivery was", "deliveries were")
    more = f"; {dropped} dropped" if now.quarantine_dropped else ""
    return f"{events} in {deliveries}, {now.quarantine_bytes:,} bytes{more}"


def to_write(now: Figures, seconds: float) -> str:
    """Say how much waits, and how long it takes."""
    if not now.dirty:
        return "nothing"
    parties, about = (
        count(now.dirty, "party", "parties"),
        f"about {ago(seconds * 1000)}",
    )
    if now.breaker or now.paused is not None:
        return f"{parties}, {about} once writes go on"
    return f"{parties}, drained in {about}"


@click.command()
@as_json
def held(*, as_json: bool) -> None:
    """List the parties whose account is not known, and why.

    They are tried again with their next event, or by `python -m bridge retry --held`.

    \b
    Example:
      python -m bridge held
      python -m bridge link stripe:cus_9 acme-101
    """
    _list(keys.HELD, "nothing is held", as_json=as_json)


@click.command()
@as_json
def parked(*, as_json: bool) -> None:
    """List the changes that Vitally refuses or the bridge cannot work out, and why.

    They are tried again with the party's next event, or by `python -m bridge retry`.
    Where the reason is a fault of the bridge, the failed job that it names (in the
    queue dashboard) has the traceback.

    \b
    Example:
      python -m bridge parked
      python -m bridge retry --parked
    """
    _list(keys.PARKED, "nothing is parked", as_json=as_json)


def _list(key: str, empty: str, *, as_json: bool) -> None:
    listed = Look(opened().redis).listed(key)
    data = [standing._asdict() | {"since": since} for standing, since in listed]
    show(data, lambda rows: _waiting(rows) if rows else [empty], as_json=as_json)


def _waiting(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    heading = ("PARTY", "ACCOUNT", "SINCE (UTC)", "EVENTS", "WHY")
    return table(heading, (_row(row) for row in rows))


def _row(row: Mapping[str, Any]) -> tuple[object, ...]:
    events, since = row["held"] + row["parked"], moment(row["since"])
    return row["party"], row["account"], since, events, row["why"]


@click.command()
@click.argument("party")
@click.argument("account", required=False)
@click.option("--remove", is_flag=True, help="Take the link away again.")
@click.option("--unseen", is_flag=True, help="Link a party no event has named yet.")
def link(party: str, account: str | None, *, remove: bool, unseen: bool) -> None:
    """Say whose account PARTY is; all it has done so far moves there.

    A link beats what the source says. The account that its last party leaves loses
    the traits that the bridge wrote there.

    \b
    Example:
      python -m bridge link stripe:cus_9 acme-101
      python -m bridge link stripe:cus_9 --remove
    """
    if remove == bool(account):
        raise click.UsageError("give either an ACCOUNT or --remove")
    redis = opened().redis
    if not unseen and Look(redis).standing(party) is None:
        raise BridgeError(
            f"{party}: no event has named this party yet; see `{program()} held`, "
            "or say --unseen"
        )
    at = now_ms()
    event = f"link_{at}"
    value = {"account": account} if account else {}
    fact = Fact(party, LINK, Stamp(False, at, 0), event, "link", value, after=event)
    taken = Accept(redis).facts(party, "operator", event, "link", [fact])
    if taken.claim:
        Queue(redis).push(party, taken.claim, f"link {event}")
    target = account or "where its source says"
    say(f"{party} goes to {target}; see `{program()} why {account or party}`")


@click.command()
@click.argument("names", nargs=-1, metavar="[PARTY|ACCOUNT]...")
@click.option("--parked", is_flag=True, help="All that could not be written.")
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
    redis = opened().redis
    lists = [key for key, on in ((keys.PARKED, parked), (keys.HELD, held)) if on]
    parties = [one.party for key in lists for one, _ in Look(redis).listed(key)]
    queued, rest = _queue(redis, parties or _named(redis, names))
    say(f"{count(queued, 'job')} queued")
    if rest:
        say(f"{rest:,} more: nothing waits there, or a job is on its way already")
    _say_what_stops(figures(redis))


def _named(redis: Redis, names: tuple[str, ...]) -> list[str]:
    """The parties that are named, and those of the accounts that are."""
    look = Look(redis)
    parties: dict[str, None] = {}
    for name in names:
        found = [name] if look.standing(name) else look.members_of(name)
        if not found:
            raise BridgeError(f"{name}: no such account or party here; nothing is done")
        parties |= dict.fromkeys(found)
    return list(parties)


def _queue(redis: Redis, parties: list[str]) -> tuple[int, int]:
    """Queue a job for each party that waits: how many, and how many did not."""
    leases, queue = Leases(redis), Queue(redis)
    queued = 0
    for number, party in enumerate(parties, 1):
        claims = leases.claim_by_hand(party)
        queue.push_all(claims, "tried again by hand")
        queued += len(claims)
        if number % STEP == 0:
            note(f"{number:,} of {len(parties):,} parties ...")
    return queued, len(parties) - queued


def _say_what_stops(now: Figures) -> None:
    if now.paused is not None:
        say(f"writes are paused ({now.paused}): see `{program()} resume`")
    elif now.breaker:
        say(f"writes are stopped: {now.breaker}")


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
    redis = opened().redis
    standing = Look(redis).standing(party)
    if standing is None or not standing.why:
        lists = f"`{program()} parked`, `{program()} held`"
        raise BridgeError(
            f"{party}: neither parked nor held; nothing is given up; see {lists}"
        )
    if not yes:
        note(f"{party} waits: {standing.why}")
        events = count(standing.held + standing.parked, "event")
        ask = f"Type {plain(party)} to give up its {events}"
        if click.prompt(ask, default="", show_default=False, err=True) != party:
            raise BridgeError("that is not the party; nothing is given up")
    given_up = operator.discard(redis, party)
    if given_up is None:
        raise BridgeError(f"{party} waits no more; nothing is given up")
    say(f"{party}: {count(given_up, 'event')} given up; its facts stay")


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
    operator.pause(opened().redis, plain(reason))
    say(f"writes are paused; `{program()} resume` lets them go on")


@click.command()
def resume() -> None:
    """Let writes to Vitally go on after `pause`; tell what waits.

    \b
    Example:
      python -m bridge resume
    """
    here = opened()
    was = operator.resume(here.redis)
    now = figures(here.redis)
    say("writes go on" if was else "writes were not paused")
    seconds = now.drained_in(here.settings.vitally_budget_share)
    say(f"to be written: {to_write(now, seconds)}")
    _say_what_stops(now)


@click.group()
def quarantine() -> None:
    """See and replay the authentic deliveries that could not be read.

    \b
    Example:
      python -m bridge quarantine list
      python -m bridge quarantine replay --all
    """


def kept_as(id_: str, redis: Redis) -> Kept:
    """Return a delivery in the quarantine. Raises BridgeError."""
    kept = Quarantine(redis).get(id_)
    if kept is None:
        listed = f"see `{program()} quarantine list`"
        raise BridgeError(f"{id_}: not in the quarantine; {listed}")
    return kept


@quarantine.command("list")
@as_json
def list_(*, as_json: bool) -> None:
    """List what is kept, the oldest first.

    \b
    Example:
      python -m bridge quarantine list
    """
    kept = Quarantine(opened().redis).all()
    data = [one._asdict() | {"body": len(one.body)} for one in kept]
    show(data, _kept, as_json=as_json)


def _kept(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    heading = ("ID", "SINCE (UTC)", "SOURCE", "EVENT", "BYTES", "REASON")
    names = ("source", "event", "body", "reason")
    lines = [(k["id"], moment(k["since"]), *(k[n] for n in names)) for k in rows]
    return table(heading, lines) if lines else ["the quarantine is empty"]


@quarantine.command("show")
@click.argument("id_", metavar="ID")
@click.option("--raw", is_flag=True, help="The bytes as they came, for a file.")
def show_body(id_: str, *, raw: bool) -> None:
    """Print one body (it may hold personal data); what is not printable is escaped.

    \b
    Example:
      python -m bridge quarantine show 1f0c3a5b7d9e2468
      python -m bridge quarantine show 1f0c3a5b7d9e2468 --raw > delivery.json
    """
    body = kept_as(id_, opened().redis).body
    if raw:
        sys.stdout.buffer.write(body)
        return
    lines = body.decode("utf-8", "backslashreplace").split("\n")
    click.echo("\n".join(map(plain, lines)), nl=False)


@quarantine.command()
@click.argument("id_", metavar="ID")
def drop(id_: str) -> None:
    """Forget one delivery for good; its events are counted as ignored.

    \b
    Example:
      python -m bridge quarantine drop 1f0c3a5b7d9e2468
    """
    redis = opened().redis
    Quarantine(redis).drop(kept_as(id_, redis).id)
    say(f"{id_} is dropped")


@quarantine.command()
@click.argument("id_", metavar="[ID]", required=False)
@click.option("--all", "wants_all", is_flag=True, help="All that is kept.")
def replay(id_: str | None, *, wants_all: bool) -> None:
    """Read a delivery again, after a fix; one that is read leaves the quarantine.

    Of a batch only what was refused is read again. Ends with 1 where something stays.

    \b
    Example:
      python -m bridge quarantine replay 1f0c3a5b7d9e2468
      python -m bridge quarantine replay --all
    """
    if wants_all == bool(id_):
        raise click.UsageError("give either an ID or --all")
    settings, _, redis = opened()
    ingress = Ingress(settings, redis, every(settings.sources))
    chosen = [kept_as(id_, redis)] if id_ else list(Quarantine(redis).all())
    stay = 0
    for kept in chosen:
        source = ingress.sources.get(kept.source)
        if source is None:
            say(f"{kept.id}  the source {kept.source} is off: left where it is")
            stay += 1
            continue
        receipt = ingress.replay(source, kept)
        stay += receipt.receipt == "quarantined"
        reason = f": {receipt.reason}" if receipt.reason else ""
        say(f"{kept.id}  {receipt.receipt}{reason}")
    if stay:
        raise BridgeError(
            f"{stay} of {len(chosen)} stay in the quarantine, for the reasons above"
        )
