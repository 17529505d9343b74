"""Commands for whoever is on call: what waits and why, and actions by hand."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click
from redis import Redis

from bridge import actions
from bridge.actions import parties_of, unknown
from bridge.attention import clusters
from bridge.cli import Command, Group, opened, program
from bridge.cli.output import confirm, note, show, table, tell, watched, yes_option
from bridge.cli.status import stopped, to_write
from bridge.domain.clusters import HELD, PARKED, QUARANTINED
from bridge.errors import BridgeError
from bridge.ingest import Ingress
from bridge.log import plain
from bridge.sources import every
from bridge.store import keys, operator
from bridge.store.inspect import StateReader, figures
from bridge.store.lease import APART_MS
from bridge.store.quarantine import Kept, Quarantine
from bridge.wording import ago, command, count, moment

EMPTY = "the quarantine is empty"

MANY = 10
"""So many things that wait are summed up by cause before they are listed."""


@click.command(cls=Command)
@watched
def held() -> None:
    """List the parties whose account is not known, and why.

    Each is tried again with its next event, or by `python -m bridge retry --held`.

    \b
    Example:
      python -m bridge held
      python -m bridge link stripe:cus_9 acme-101
    """
    _list(HELD, keys.HELD)


@click.command(cls=Command)
@watched
def parked() -> None:
    """List the changes that Vitally refuses or the bridge cannot compute, and why.

    Each is tried again with the party's next event, or by `python -m bridge retry`.
    If the reason is an error in the bridge, it names a failed job; the queue dashboard
    shows that job's traceback.

    \b
    Example:
      python -m bridge parked
      python -m bridge retry --parked
    """
    _list(PARKED, keys.PARKED)


def _list(kind: str, key: str) -> None:
    redis = opened().redis
    listed = StateReader(redis).listed(key)
    data = [standing._asdict() | {"since": since} for standing, since in listed]
    rows = [
        (one.party, one.account, moment(since), one.held + one.parked, one.why)
        for one, since in listed
    ]
    heading = ("PARTY", "ACCOUNT", "SINCE (UTC)", "EVENTS", "WHY")
    words = table(heading, rows) if rows else [f"nothing is {kind}"]
    show(data, lambda _: [*_causes(redis, kind, len(rows)), *words])


def _causes(redis: Redis, kind: str, number: int) -> Iterator[str]:
    """Why a *number* of this *kind* waits, cause by cause, where they are many."""
    found = clusters(redis) if number >= MANY else ()
    rows = [(c.size, moment(c.since), c.title) for c in found if c.kind == kind]
    if rows:
        yield from (*table(("HOW MANY", "SINCE (UTC)", "CAUSE"), rows), "")


@click.command(cls=Command)
@click.argument("party")
@click.argument("account", required=False)
@click.option("--remove", is_flag=True, help="Remove the link.")
@click.option("--unseen", is_flag=True, help="Also one that no event has named yet.")
@yes_option
def link(
    party: str, account: str | None, *, remove: bool, unseen: bool, yes: bool
) -> None:
    """Assign PARTY to ACCOUNT; all its facts so far move there.

    A link overrides what the source says. An account that loses its last party loses
    the traits that the bridge wrote there. An ACCOUNT that the bridge does not know may
    be made anew in Vitally: a warning says so, and a terminal is asked.

    \b
    Example:
      python -m bridge link stripe:cus_9 acme-101
      python -m bridge link stripe:cus_9 --remove
    """
    account = account and account.strip()
    if remove == bool(account):
        raise click.UsageError("give either an ACCOUNT or --remove")
    redis = opened().redis
    if not unseen and StateReader(redis).standing(party) is None:
        if account and StateReader(redis).standing(account):
            raise click.UsageError("PARTY comes first, then ACCOUNT")
        hint = f"no event has named this party yet: see `{program()} held`, or --unseen"
        raise BridgeError(f"{unknown(redis, party)}; {hint}")
    if account and (warning := actions.new_account(redis, account)):
        note(warning)
        question = f"Type {plain(account)} to link it there"
        confirm(question, account, yes=yes or not sys.stdin.isatty())
    actions.link(redis, party, account)
    target = account or "where its source says"
    words = f"{party} goes to {target}; see `{command('why', account or party)}`"
    tell({"party": party, "account": account}, words)


@click.command(cls=Command)
@click.argument("names", nargs=-1, metavar="[PARTY|ACCOUNT]...")
@click.option("--parked", is_flag=True, help="Everything that could not be written.")
@click.option("--held", is_flag=True, help="Every party whose account is not known.")
def retry(names: tuple[str, ...], *, parked: bool, held: bool) -> None:
    """Try again at once what is parked, held or waiting for its next try.

    A new event of the party has the same effect. Nothing is written twice: a job that
    finds nothing to write ends without a request.

    \b
    Example:
      python -m bridge retry acme-101 stripe:cus_9
      python -m bridge retry --parked
    """
    if bool(names) == (parked or held):
        raise click.UsageError("name parties or accounts, or use --parked or --held")
    redis = opened().redis
    lists = [key for key, on in ((keys.PARKED, parked), (keys.HELD, held)) if on]
    listed = [one.party for key in lists for one, _ in StateReader(redis).listed(key)]
    parties = listed or parties_of(redis, names)
    queued = actions.retry_all(redis, parties)
    rest, lines = len(parties) - queued, [f"{count(queued, 'job')} queued"]
    if len(parties) > actions.FEW:
        within = ago(queued * APART_MS)
        lines = [f"{count(queued, 'party', 'parties')} tried again within {within}"]
    if rest:
        more = "nothing waits there, or one is on its way already"
        lines.append(f"{rest:,} more need no job: {more}")
    lines += filter(None, [stopped(figures(redis))])
    tell({"queued": queued, "more": rest}, *lines)


@click.command(cls=Command)
@click.argument("party", required=False)
@click.option("--mass", is_flag=True, help="All that waits as a mass change.")
@yes_option
def discard(party: str | None, *, mass: bool, yes: bool) -> None:
    """Discard the parked or held events of PARTY, or those of a mass change.

    They count as settled, without a write. The party's facts stay: its next event, or
    a link, tries to write all of them again.

    \b
    Example:
      python -m bridge discard stripe:cus_9
      python -m bridge discard stripe:cus_9 --yes
      python -m bridge discard --mass
    """
    redis = opened().redis
    if mass == bool(party):
        raise click.UsageError("give either a PARTY or --mass")
    if party is None:
        changes = count(figures(redis).mass_parties, "change")
        confirm(f"Type discard to discard {changes}", "discard", yes=yes)
        gone = len(actions.discard_mass(redis))
        tell({"changes": gone}, f"{count(gone, 'change')} discarded; their facts stay")
        return
    standing = StateReader(redis).standing(party)
    discarded = None
    if standing and standing.why:
        events = count(standing.held + standing.parked, "event")
        note(f"{party} waits: {standing.why}")
        confirm(f"Type {plain(party)} to discard its {events}", party, yes=yes)
        discarded = operator.discard(redis, party)
    if discarded is None:
        hint = f"see `{program()} parked`, `{program()} held`"
        raise BridgeError(f"{party}: neither parked nor held; {hint}")
    words = f"{party}: {count(discarded, 'event')} discarded; its facts stay"
    tell({"party": party, "events": discarded}, words)


@click.command(cls=Command)
@click.option("--reason", default="no reason given", help="Shown with the pause.")
def pause(reason: str) -> None:
    """Stop all writes to Vitally, by every worker, until `resume`.

    Events are still accepted and kept; nothing is lost, however long the pause. Writes
    that have begun finish within seconds.

    \b
    Example:
      python -m bridge pause --reason "Vitally's support looks into acme-101"
    """
    operator.pause(opened().redis, plain(reason))
    words = f"writes are paused; `{program()} resume` lets them go on"
    tell({"paused": plain(reason)}, words)


@click.command(cls=Command)
def resume() -> None:
    """Resume writes to Vitally after `pause`, and print what waits.

    \b
    Example:
      python -m bridge resume
    """
    settings, _, redis = opened()
    was_paused = operator.resume(redis)
    totals = figures(redis)
    seconds = totals.drained_in(settings.vitally_budget_share)
    data = {"was_paused": was_paused, "to_write": totals.dirty}
    data |= {"drain_seconds": round(seconds)}
    first = "writes go on" if was_paused else "writes were not paused"
    rest = f"to be written: {to_write(totals, seconds)}"
    tell(data, first, rest, *filter(None, [stopped(totals)]))


@click.group(cls=Group)
def quarantine() -> None:
    """Show and replay authentic deliveries that could not be read.

    \b
    Example:
      python -m bridge quarantine list
      python -m bridge quarantine replay --all
    """


def quarantined(id_: str, redis: Redis) -> Kept:
    """Return a delivery in the quarantine. Raises BridgeError."""
    kept = Quarantine(redis).get(id_)
    if kept is None:
        hint = f"see `{program()} quarantine list`"
        raise BridgeError(f"{id_}: not in the quarantine; {hint}")
    return kept


@quarantine.command("list")
def list_() -> None:
    """List the deliveries in the quarantine, oldest first.

    \b
    Example:
      python -m bridge quarantine list
    """
    redis = opened().redis
    kept = list(Quarantine(redis).all())
    data = [one._asdict() | {"body": len(one.body)} for one in kept]
    rows = [
        (one.id, moment(one.since), one.source, one.event, len(one.body), one.reason)
        for one in kept
    ]
    heading = ("ID", "SINCE (UTC)", "SOURCE", "EVENT", "BYTES", "REASON")
    words = table(heading, rows) if rows else [EMPTY]
    show(data, lambda _: [*_causes(redis, QUARANTINED, len(rows)), *words])


@quarantine.command("show", json=False)
@click.argument("id_", metavar="ID")
@click.option("--raw", is_flag=True, help="Print the exact bytes, for a file.")
def show_body(id_: str, *, raw: bool) -> None:
    """Print the body of one delivery; it may contain personal data.

    Characters that are not printable are escaped.

    \b
    Example:
      python -m bridge quarantine show 1f0c3a5b7d9e2468
      python -m bridge quarantine show 1f0c3a5b7d9e2468 --raw > delivery.json
    """
    body = quarantined(id_, opened().redis).body
    if raw:
        sys.stdout.buffer.write(body)
        return
    lines = body.decode("utf-8", "backslashreplace").split("\n")
    click.echo("\n".join(map(plain, lines)), nl=False)


@quarantine.command()
@click.argument("id_", metavar="ID")
def drop(id_: str) -> None:
    """Delete one delivery for good; its events count as ignored.

    \b
    Example:
      python -m bridge quarantine drop 1f0c3a5b7d9e2468
    """
    redis = opened().redis
    Quarantine(redis).drop(quarantined(id_, redis).id)
    tell({"id": id_}, f"{id_} is dropped")


@quarantine.command()
@click.argument("id_", metavar="[ID]", required=False)
@click.option("--all", "wants_all", is_flag=True, help="Every delivery in it.")
def replay(id_: str | None, *, wants_all: bool) -> None:
    """Read a delivery again after a fix; if it can be read, it leaves the quarantine.

    Of a batch only the refused events are read again. The exit status is 1 if anything
    stays in the quarantine.

    \b
    Example:
      python -m bridge quarantine replay 1f0c3a5b7d9e2468
      python -m bridge quarantine replay --all
    """
    if wants_all == bool(id_):
        raise click.UsageError("give either an ID or --all")
    replay_kept(id_)


def replay_kept(id_: str | None) -> None:
    """Read the delivery *id_* again, or (None) all. Raises BridgeError if some stay."""
    settings, _, redis = opened()
    ingress = Ingress(settings, redis, every(settings.sources))
    chosen = [quarantined(id_, redis)] if id_ else list(Quarantine(redis).all())
    done = [(kept.id, actions.replay(ingress, kept)) for kept in chosen]
    data = [{"id": kept, **receipt._asdict()} for kept, receipt in done]
    rows = ((kept, one.receipt, one.reason or "") for kept, one in done)
    show(data, lambda _: table((), rows) if done else [EMPTY])
    if stay := sum(receipt.receipt == "quarantined" for _, receipt in done):
        left = f"{stay} of {len(chosen)} stay in the quarantine"
        raise BridgeError(f"{left}, for the reasons above")
