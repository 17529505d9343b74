"""`python -m bridge accounts`: Vitally's whole Accounts API as commands."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click
import orjson

from bridge.accounts import FILTERS, States, held_parties
from bridge.cli import Group, opened, program, vitally_of
from bridge.cli.output import (
    cell,
    json_lines,
    note,
    say,
    show,
    table,
    tell,
    typed,
    wants_json,
)
from bridge.errors import (
    BridgeError,
    VitallyError,
    VitallyKeyError,
    VitallyLimitedError,
    VitallyMissingError,
    VitallyUnavailableError,
)
from bridge.log import plain
from bridge.settings import Settings
from bridge.sources import options
from bridge.store.index import Index
from bridge.vitally.client import Page, Vitally

Account = Mapping[str, Any]

COLUMNS = {
    "EXTERNAL ID": "externalId",
    "NAME": "name",
    "MRR": "mrr",
    "RENEWAL": "nextRenewalDate",
    "CHURNED": "churnedAt",
    "TRIAL ENDS": "trialEndDate",
    "UPDATED": "updatedAt",
}
"""Heading of the list -> field of an account."""

FOUND = ("account", "name", "status", "mrr", "currency", "parties", "unknown", "states")
"""Fields of what `find` finds."""

HELD = dict.fromkeys(FOUND) | {"status": "held", "unknown": (), "states": ["held"]}
"""A held party, which has no account."""

WIDEST = 40
"""Characters of a cell of the list."""

INSTANT = len("2024-05-10T15:37:51.762Z")

STATUS = click.Choice(["active", "churned", "activeOrChurned"])
SORT = click.Choice(["updatedAt", "createdAt"])

WHAT_NEXT: Mapping[type[VitallyError], str] = {
    VitallyKeyError: "check that VITALLY_API_KEY is a REST key of this workspace",
    VitallyLimitedError: "Vitally's rate limit is used up; wait a minute and try again",
    VitallyMissingError: "check the id with `{program} accounts list`, else the address",
    VitallyUnavailableError: "check the address and try again",
}
"""What a person can do about an error."""


@contextmanager
def vitally(what: str, *, writes: bool = False) -> Iterator[tuple[Vitally, Settings]]:
    """A client of Vitally; its errors become sentences about *what*.

    Redis is not needed. Raises ConfigError, or BridgeError: what, where, what next.
    """
    settings = Settings.from_env(os.environ, options(), without={"REDIS_URL"})
    client = vitally_of(settings)
    try:
        yield client, settings
    except VitallyError as error:
        status = f"{error.status}: " if error.status else ""
        reason = plain(f"{status}{error.reason}").rstrip(".")
        after = WHAT_NEXT.get(type(error), "correct it and try again")
        after = after.format(program=program())
        if writes and isinstance(error, VitallyUnavailableError):
            after += "; a write may have succeeded"
        raise BridgeError(f"{what} at {client.base_url}: {reason}; {after}") from error


def named(account: str) -> str:
    """Return the account as a sentence names it."""
    return f"account {plain(account)!r}"


def card(account: Account) -> list[str]:
    """The lines of one account: all its fields, the traits last."""
    fields = dict(account)
    traits = sorted((fields.pop("traits", None) or {}).items())
    own = [("traits", "" if traits else None), *((f"  {k}", v) for k, v in traits)]
    return table((), [*fields.items(), *own])


def _page(page: Page) -> list[str]:
    """A line for each account."""
    names = COLUMNS.values()
    rows = ([_short(one.get(name)) for name in names] for one in page.results)
    return table(tuple(COLUMNS), rows)


def _short(value: object) -> str:
    """A value, shortened for the list; an instant becomes its day."""
    text = cell(value)
    text = text[:10] if len(text) == INSTANT and text[10] == "T" else text
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"


def _line(found: Mapping[str, Any]) -> list[object]:
    """What `find` says of an account; one whose first events were not seen is marked."""
    mrr = "unknown" if "mrr" in found["unknown"] else found["mrr"]
    mark = " (incomplete history)" if "incomplete" in found["states"] else ""
    own = (_short(found[name]) for name in ("account", "name", "status"))
    return [*own, mrr, found["currency"], ", ".join(found["parties"]) + mark]


@click.group(cls=Group)
def accounts() -> None:
    """Find accounts that the bridge knows; see and change those in Vitally by hand.

    ID is the external id or Vitally's own id. The bridge keeps writing the traits that
    it owns.

    \b
    Example:
      python -m bridge accounts find acme
      python -m bridge accounts list --status activeOrChurned
      python -m bridge accounts get acme-101
    """


account_id = click.argument("account", metavar="ID")


@accounts.command()
@click.argument("text", default="")
@click.option("--state", type=click.Choice(FILTERS), help="Only those in this state.")
def find(text: str, *, state: str | None) -> None:
    """Find the accounts that people may call TEXT, as the bridge knows them.

    TEXT is part of a name, of the id of an account, customer or subscription, or the
    domain of an e-mail address. Held parties, which have no account, are found too.
    Of the states, `unknown` is a trait that the facts do not tell, `drift` a change by
    others in Vitally, `churned` within a week. Nothing is asked of Vitally.

    \b
    Example:
      python -m bridge accounts find acme
      python -m bridge accounts find cus_123 --json
      python -m bridge accounts find --state unknown
    """
    redis = opened().redis
    states, found = States(redis), Index(redis).find(text)
    every = [row._asdict() | {"states": states.of(row)} for row in found]
    rows = [row for row in every if state in {None, *row["states"]}]
    held = held_parties(redis, text) if state in {None, "held"} else ()
    rows += [HELD | {"name": h.name or None, "parties": [h.party]} for h in held]
    data = [{name: row[name] for name in FOUND} for row in rows]
    heading = ("ACCOUNT", "NAME", "STATUS", "MRR", "", "PARTIES")
    lines = map(_line, data)
    show(data, lambda _: table(heading, lines) if data else ["nothing is found"])


@accounts.command("list")
@click.option("--status", type=STATUS, help="Without: Vitally's default, active.")
@click.option("--limit", type=click.IntRange(1, 100), help="Rows per page.")
@click.option("--cursor", help="Go on after this cursor, which a page has printed.")
@click.option("--sort", type=SORT, help="Newest first. With --all: createdAt.")
@click.option("--organization", metavar="ID", help="Only those of this organization.")
@click.option("--all", "wants_all", is_flag=True, help="Fetch every page.")
def list_(*, wants_all: bool, **query: Any) -> None:
    """List accounts.

    \b
    Example:
      python -m bridge accounts list --status churned --all --json
    """
    if query["organization"] and query["status"]:
        raise click.UsageError("--organization does not go with --status")
    with vitally("the list of accounts") as (client, _):
        page = _every_page(client, **query) if wants_all else client.accounts(**query)
    show(page, _page)
    if page.next and not wants_json():
        note(f"There are more: --cursor {page.next}")


def _every_page(client: Vitally, cursor: str | None, **query: Any) -> Page:
    """All pages as one. Sorted by creation: sorted by change, changed accounts get skipped."""
    query |= {"sort": query["sort"] or "createdAt", "limit": query["limit"] or 100}
    page, seen = client.accounts(cursor=cursor, **query), {None, cursor}
    results = page.results
    while page.next not in seen:
        seen.add(page.next)
        page = client.accounts(cursor=page.next, **query)
        results += page.results
    return Page(results, None)


@accounts.command()
@account_id
def get(account: str) -> None:
    """Show one account.

    \b
    Example:
      python -m bridge accounts get acme-101
    """
    with vitally(named(account)) as (client, _):
        show(client.get(account), card)


@accounts.command()
@account_id
def health(account: str) -> None:
    """Show the health score breakdown of an account as Vitally's JSON.

    \b
    Example:
      python -m bridge accounts health acme-101
    """
    with vitally(f"the health scores of {named(account)}") as (client, _):
        say(*json_lines(client.health(account)))


def pairs(
    context: click.Context, option: click.Parameter, given: tuple[str, ...]
) -> dict[str, Any]:
    """Read `key=value` pairs; a value is JSON, else text."""
    traits: dict[str, Any] = {}
    for pair in given:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise click.BadParameter(f"{pair!r} is not of the form {option.metavar}")
        try:
            traits[key] = orjson.loads(value)
        except orjson.JSONDecodeError:
            traits[key] = value
    return traits


with_traits = click.option(
    "--trait",
    "traits",
    multiple=True,
    callback=pairs,
    metavar="KEY=VALUE",
    help="VALUE is JSON, else text; KEY=null removes it. May be repeated.",
)


def _write(account: str, body: dict[str, Any]) -> None:
    """Create or update an account and show the result; in a dry run show the *body*."""
    with vitally(named(account), writes=True) as (client, settings):
        if settings.bridge_dry_run:
            note(f"BRIDGE_DRY_RUN is true; {named(account)} would be sent:")
            say(*json_lines(body))
        elif "externalId" in body:
            show(client.create(body), card)
        else:
            show(client.update(account, body), card)


@accounts.command()
@click.argument("account", metavar="EXTERNAL_ID")
@click.option("--name", required=True, help="Name of the account.")
@with_traits
@click.option("--organization", metavar="ID", help="Vitally's id of the organization.")
def create(account: str, **given: Any) -> None:
    """Create an account.

    \b
    Example:
      python -m bridge accounts create acme-101 --name "Acme" --trait mrr=99.5
    """
    body = {"externalId": account, "name": given["name"]}
    more = {"traits": given["traits"], "organizationId": given["organization"]}
    _write(account, body | {key: value for key, value in more.items() if value})


@accounts.command()
@account_id
@click.option("--name", help="New name.")
@with_traits
@click.option("--organization", metavar="ID", help="Move it into this organization.")
@click.option("--remove-organization", is_flag=True, help="Move it out of its one.")
@click.option("--remove-owner", is_flag=True, help="Remove its owner.")
def update(account: str, **given: Any) -> None:
    """Change an account; traits that you do not name stay as they are.

    \b
    Example:
      python -m bridge accounts update acme-101 --trait tier='"gold"' --trait old=null
    """
    if given["organization"] and given["remove_organization"]:
        raise click.UsageError("the two options of organizations exclude one another")
    body = {key: given[key] for key in ("name", "traits") if given[key]}
    if given["organization"] or given["remove_organization"]:
        body["organizationId"] = given["organization"]
    if given["remove_owner"]:
        body["accountOwnerId"] = None
    if not body:
        raise click.UsageError("nothing to change; see --help")
    _write(account, body)


@accounts.command()
@account_id
@click.option("--confirm", metavar="ID", help="The external id again, for scripts.")
def delete(account: str, confirm: str | None) -> None:
    """Delete an account for good, with everything that belongs only to it.

    \b
    Example:
      python -m bridge accounts delete acme-101
    """
    with vitally(named(account)) as (client, settings):
        found = client.get(account)
    expected = found.get("externalId") or found["id"]
    for line in card(found):
        note(line)
    if confirm is None:
        words = "This destroys it in Vitally for ever. Type its external id"
        confirm = typed(words, "--confirm ID")
    if confirm != expected:
        wrong = f"{confirm!r} is not the external id of {named(account)}"
        raise BridgeError(f"{wrong}; nothing was deleted")
    if settings.bridge_dry_run:
        tell({"deleted": None}, "BRIDGE_DRY_RUN is true: nothing was deleted.")
        return
    with vitally(named(account), writes=True) as (client, _):
        client.delete(found["id"])
    tell({"deleted": expected}, f"{named(expected)} is deleted.")
