"""The commands of the one on call: how it stands, why an account shows what it shows."""

from __future__ import annotations

import time

import click
from redis.exceptions import RedisError

from bridge.cli import session
from bridge.cli.explain import account_data, account_lines, fault, party_lines
from bridge.cli.program import program
from bridge.config import Config
from bridge.domain.account import LINK
from bridge.domain.facts import Fact, Stamp
from bridge.errors import BridgeError
from bridge.queue import Queue
from bridge.store import keys
from bridge.store.accept import Accept
from bridge.store.inspect import Figures, Look, Standing, figures

NO_VITALLY = frozenset({"VITALLY_API_KEY"})
"""These commands read Redis alone."""


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For another program.")
def status(*, as_json: bool) -> None:
    """Show the counting of everything, and when all that waits will be written.

    \b
    Example:
      python -m bridge status
    """
    found, _config = session.settings(without=NO_VITALLY)
    share = found.vitally_budget_share
    now = figures(session.redis(found))
    if as_json:
        more = {"drain_seconds": round(now.drained_in(share))}
        session.say(*session.as_json(now._asdict() | more))
        return
    session.say(*session.table(_sums(now)), "", *session.table(_rest(now, share)))


def to_write(now: Figures, share: float) -> str:
    """Say how much waits and how long it takes at *share* of Vitally's limit."""
    if not now.dirty:
        return "nothing"
    parties = "1 party" if now.dirty == 1 else f"{now.dirty} parties"
    about = f"about {session.ago(round(now.drained_in(share) * 1000))}"
    if now.breaker or now.paused is not None:
        return f"{parties}, {about} once writes go on"
    return f"{parties}, drained in {about}"


def _sums(now: Figures) -> list[tuple[object, ...]]:
    given_up = f"; {now.discarded} discarded" if now.discarded else ""
    return [
        ("received", now.received, "=", "accepted + duplicate + ignored + quarantined"),
        ("  accepted", now.accepted, "=", "settled + pending + held + parked"),
        ("    settled", now.settled, "", f"in Vitally, or nothing to write{given_up}"),
        ("    pending", now.pending, "", "on its way"),
        ("    held", now.held, "", f"account not known: {program()} held"),
        ("    parked", now.parked, "", f"Vitally refuses it: {program()} parked"),
        ("  duplicate", now.duplicate, "", "seen before"),
        ("  ignored", now.ignored, "", "no effect on an account"),
        (
            "  quarantined",
            now.quarantined,
            "",
            f"not read: {program()} quarantine list",
        ),
    ]


def _rest(now: Figures, share: float) -> list[tuple[object, ...]]:
    writes = "running" if now.paused is None else f"PAUSED by hand: {now.paused}"
    oldest = "none" if now.oldest_ms is None else session.ago(now.oldest_ms)
    return [
        ("oldest unsettled", oldest),
        ("to be written", to_write(now, share)),
        ("jobs waiting", now.waiting),
        ("requests to Vitally", f"{now.writes} made, {now.saved} jobs needed none"),
        (
            "workers",
            ", ".join(now.heard) or "none heard for 15 s: is a worker running?",
        ),
        ("writes", f"STOPPED: {now.breaker}" if now.breaker else writes),
        ("incomplete histories", now.incomplete),
        ("accounts with unknown traits", now.unknown),
        ("objects to be read, but no key", now.unread),
        ("in the quarantine", now.quarantine),
    ]


@click.command()
@click.argument("account")
@click.option("--json", "as_json", is_flag=True, help="For another program.")
def why(account: str, *, as_json: bool) -> None:
    """Show where the traits of ACCOUNT come from: its facts and their events.

    ACCOUNT is Vitally's external id, or a party (stripe:cus_…).

    \b
    Example:
      python -m bridge why acme-101
    """
    found, config = session.settings(without=NO_VITALLY)
    look = Look(session.redis(found))
    try:
        lines = _why(look, account, config, as_json=as_json)
    except (BridgeError, RedisError):
        raise
    except Exception as error:  # noqa: BLE001 - how it stands is told all the same
        lines = fault(look, account, error, as_json=as_json)
    session.say(*lines)


def _why(look: Look, account: str, config: Config, *, as_json: bool) -> list[str]:
    standing = look.standing(account)
    if standing and standing.account is None:
        return party_lines(look, standing)
    id_ = standing.account if standing and standing.account else account
    parties = look.members_of(id_)
    record = look.record(id_, parties)
    if not (parties or record.written or record.history):
        raise BridgeError(
            f"{account}: no such account or party here; "
            f"see `{program()} held` for parties without an account"
        )
    now = time.time_ns() // 1_000_000
    if as_json:
        return session.as_json(account_data(record, config, now))
    return account_lines(record, config, now)


def _list(key: str, title: str, *, as_json: bool) -> None:
    found, _config = session.settings(without=NO_VITALLY)
    listed = Look(session.redis(found)).listed(key)
    if as_json:
        data = [standing._asdict() | {"since": ms} for standing, ms in listed]
        session.say(*session.as_json(data))
        return
    if not listed:
        session.say(f"nothing is {title}")
        return
    rows = [("PARTY", "ACCOUNT", "SINCE (UTC)", "EVENTS", "WHY")]
    rows += [_row(standing, since) for standing, since in listed]
    session.say(*session.table(rows))


def _row(standing: Standing, since: int) -> tuple[str, str, str, str, str]:
    events = str(standing.held + standing.parked)
    account = standing.account or "-"
    return standing.party, account, session.moment(since), events, standing.why


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For another program.")
def held(*, as_json: bool) -> None:
    """List the parties whose account is not known, and why.

    They are tried again with their next event, or by `python -m bridge retry --held`.

    \b
    Example:
      python -m bridge held
      python -m bridge link stripe:cus_9 acme-101
    """
    _list(keys.HELD, "held", as_json=as_json)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="For another program.")
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
    _list(keys.PARKED, "parked", as_json=as_json)


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
    found, _config = session.settings(without=NO_VITALLY)
    client = session.redis(found)
    if not unseen and Look(client).standing(party) is None:
        raise BridgeError(
            f"{party}: no event has named this party yet; see `{program()} held`, "
            "or say --unseen"
        )
    at = time.time_ns() // 1_000_000
    event = f"link_{at}"
    value = {"account": account} if account else {}
    fact = Fact(party, LINK, Stamp(False, at, 0), event, "link", value, after=event)
    taken = Accept(client).facts(party, "operator", event, "link", [fact])
    if taken.claim:
        Queue(client).push(party, taken.claim, f"link {event}")
    target = account or "where its source says"
    session.say(f"{party} goes to {target}; `{program()} why {account or party}`")
