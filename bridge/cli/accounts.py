"""`python -m bridge accounts`: the whole Accounts API of Vitally, by hand."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
import orjson

from bridge.cli.output import as_json, cell, json_lines, note, say, show, table
from bridge.cli.session import program
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
from bridge.vitally.client import Page, Vitally

Account = Mapping[str, Any]
T = TypeVar("T")

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

WIDEST = 40
"""Characters of a cell of the list."""

INSTANT = len("2024-05-10T15:37:51.762Z")

WHAT_NEXT: tuple[tuple[type[VitallyError], str], ...] = (
    (
        VitallyKeyError,
        "check that VITALLY_API_KEY is a REST key of this workspace and region",
    ),
    (
        VitallyLimitedError,
        "Vitally's rate limit is used up; wait a minute and try again",
    ),
    (
        VitallyMissingError,
        (
            "check the id with `{program} accounts list`; where even that finds "
            "nothing, check VITALLY_SUBDOMAIN or VITALLY_BASE_URL"
        ),
    ),
    (
        VitallyUnavailableError,
        (
            "check the address and try again; if this was a write, look first at what "
            "became of it (`{program} accounts get ID`)"
        ),
    ),
    (VitallyError, "correct it and try again"),
)
"""What a person can do about each error; the first row that fits."""


class Workspace:
    """Vitally as the settings name it; Redis is not needed. Raises ConfigError."""

    def __init__(self) -> None:
        self.settings = Settings.from_env(os.environ, options(), without={"REDIS_URL"})
        base, key = self.settings.vitally_base_url, self.settings.vitally_authorization
        self.vitally = Vitally(base, key)

    def ask(self, what: str, act: Callable[[Vitally], T]) -> T:
        """Return what *act* does; an error becomes a sentence: what, where, what next."""
        try:
            return act(self.vitally)
        except VitallyError as error:
            told = f"{error.status}: {error.reason}" if error.status else error.reason
            after = next(words for kind, words in WHAT_NEXT if isinstance(error, kind))
            where = f"{what} at {self.vitally.base_url}: {plain(told).rstrip('.')}"
            after = after.format(program=program())
            raise BridgeError(f"{where}; {after}") from error

    def write(
        self, what: str, body: Account, act: Callable[[Vitally], Account], as_json: bool
    ) -> None:
        """Do it and show what came of it; in a dry run, show what would be sent."""
        if self.settings.bridge_dry_run:
            note(f"BRIDGE_DRY_RUN is true; {what} would be sent:")
            say(*json_lines(body))
            return
        show(self.ask(what, act), card, as_json=as_json)


def named(account: str) -> str:
    """Return what an account is called in a sentence."""
    return f"account {plain(account)!r}"


def card(account: Account) -> list[str]:
    """One account: all that Vitally says of it, its traits last."""
    fields = dict(account)
    traits = sorted((fields.pop("traits", None) or {}).items())
    own = [("traits", "" if traits else None), *((f"  {k}", v) for k, v in traits)]
    return table((), [*fields.items(), *own])


def _page(page: Page) -> list[str]:
    """A line for each account."""
    rows = (
        [_short(one.get(name)) for name in COLUMNS.values()] for one in page.results
    )
    return table(tuple(COLUMNS), rows)


def _short(value: object) -> str:
    """A value that fits into the list; of an instant its day."""
    text = cell(value)
    text = text[:10] if len(text) == INSTANT and text[10] == "T" else text
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"


@click.group()
def accounts() -> None:
    """See and change the accounts in Vitally by hand.

    The bridge goes on to write the traits that it owns. ID is the external id or
    Vitally's own id.

    \b
    Example:
      python -m bridge accounts list --status activeOrChurned
      python -m bridge accounts get acme-101
    """


@accounts.command("list")
@click.option(
    "--status",
    type=click.Choice(["active", "churned", "activeOrChurned"]),
    help="Vitally's default: active, which hides churned accounts.",
)
@click.option("--limit", type=click.IntRange(1, 100), help="Rows of a page.")
@click.option("--cursor", help="Where to go on: the cursor that a page ended with.")
@click.option(
    "--sort",
    type=click.Choice(["updatedAt", "createdAt"]),
    help="Newest first, by this. Default: updatedAt; with --all createdAt.",
)
@click.option("--organization", metavar="ID", help="Only accounts of this one.")
@click.option("--all", "wants_all", is_flag=True, help="Every page.")
@as_json
def list_(*, wants_all: bool, as_json: bool, **query: Any) -> None:
    """List accounts.

    \b
    Example:
      python -m bridge accounts list --status churned --all --json
    """
    if query["organization"] and (query["status"] or query["sort"]):
        raise click.UsageError("--organization goes with neither --status nor --sort")
    pages = _every_page(query) if wants_all else _one_page(query)
    page = Workspace().ask("the list of accounts", pages)
    show(page, _page, as_json=as_json)
    if page.next and not as_json:
        note(f"There are more: --cursor {page.next}")


def _one_page(query: Mapping[str, Any]) -> Callable[[Vitally], Page]:
    limit, cursor = query["limit"], query["cursor"]
    if query["organization"]:
        organization = query["organization"]
        return lambda it: it.organization_accounts(organization, limit, cursor)
    return lambda it: it.accounts(query["status"], limit, cursor, query["sort"])


def _every_page(query: Mapping[str, Any]) -> Callable[[Vitally], Page]:
    """Every page as one; by creation, since a list by change skips what changes."""
    sort = None if query["organization"] else query["sort"] or "createdAt"
    fixed = {**query, "sort": sort, "limit": query["limit"] or 100}

    def pages(vitally: Vitally) -> Page:
        found: list[dict[str, Any]] = []
        cursor: str | None = query["cursor"]
        seen: set[str | None] = {None}
        while True:
            page = _one_page({**fixed, "cursor": cursor})(vitally)
            found += page.results
            if page.next in seen:
                return Page(found, None)
            cursor = page.next
            seen.add(cursor)

    return pages


@accounts.command()
@click.argument("account", metavar="ID")
@as_json
def get(account: str, *, as_json: bool) -> None:
    """Show one account.

    \b
    Example:
      python -m bridge accounts get acme-101
    """
    found = Workspace().ask(named(account), lambda it: it.get(account))
    show(found, card, as_json=as_json)


@accounts.command()
@click.argument("account", metavar="ID")
@as_json
def health(account: str, *, as_json: bool) -> None:
    """Show the health score breakdown of an account, as Vitally tells it (JSON).

    \b
    Example:
      python -m bridge accounts health acme-101
    """
    what = f"the health scores of {named(account)}"
    show(Workspace().ask(what, lambda it: it.health(account)), json_lines, as_json=True)


def _traits(
    context: click.Context, option: click.Parameter, said: tuple[str, ...]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for pair in said:
        key, equals, value = pair.partition("=")
        if not (key and equals):
            raise click.BadParameter(f"{pair!r} is not of the form key=value")
        try:
            found[key] = orjson.loads(value)
        except orjson.JSONDecodeError:
            found[key] = value
    return found


with_traits = click.option(
    "--trait",
    "traits",
    multiple=True,
    callback=_traits,
    metavar="KEY=VALUE",
    help="VALUE is JSON, else text; KEY=null removes it. May be repeated.",
)


@accounts.command()
@click.argument("account", metavar="EXTERNAL_ID")
@click.option("--name", required=True, help="Name of the account.")
@with_traits
@click.option("--organization", metavar="ID", help="Vitally's id of its organization.")
@as_json
def create(account: str, *, as_json: bool, **said: Any) -> None:
    """Create an account.

    \b
    Example:
      python -m bridge accounts create acme-101 --name "Acme" --trait mrr=99.5
    """
    body = {"externalId": account, "name": said["name"]}
    body |= {"traits": said["traits"]} if said["traits"] else {}
    body |= {"organizationId": said["organization"]} if said["organization"] else {}
    Workspace().write(named(account), body, lambda it: it.create(body), as_json)


@accounts.command()
@click.argument("account", metavar="ID")
@click.option("--name", help="New name.")
@with_traits
@click.option("--organization", metavar="ID", help="Put it into this organization.")
@click.option("--remove-organization", is_flag=True, help="Take it out of its own.")
@click.option("--remove-owner", is_flag=True, help="Take its owner away.")
@as_json
def update(account: str, *, as_json: bool, **said: Any) -> None:
    """Change an account; traits that are not named stay.

    \b
    Example:
      python -m bridge accounts update acme-101 --trait tier='"gold"' --trait old=null
    """
    if said["organization"] and said["remove_organization"]:
        raise click.UsageError(
            "--organization and --remove-organization exclude one another"
        )
    given = {
        "name": said["name"],
        "traits": said["traits"] or None,
        "organizationId": said["organization"],
    }
    body = {name: value for name, value in given.items() if value is not None}
    body |= {"organizationId": None} if said["remove_organization"] else {}
    body |= {"accountOwnerId": None} if said["remove_owner"] else {}
    if not body:
        raise click.UsageError("nothing to change; see --help")
    Workspace().write(
        named(account), body, lambda it: it.update(account, body), as_json
    )


@accounts.command()
@click.argument("account", metavar="ID")
@click.option("--confirm", metavar="ID", help="The external id once more, for scripts.")
def delete(account: str, confirm: str | None) -> None:
    """Destroy an account and all that belongs to it alone, for ever.

    \b
    Example:
      python -m bridge accounts delete acme-101
    """
    workspace = Workspace()
    found = workspace.ask(named(account), lambda it: it.get(account))
    expected = found.get("externalId") or found["id"]
    for line in card(found):
        note(line)
    if confirm is None:
        words = "This destroys it in Vitally for ever. Type its external id"
        confirm = click.prompt(words, default="", show_default=False, err=True)
    if confirm != expected:
        raise BridgeError(
            f"{confirm!r} is not the external id of {named(account)}; nothing was "
            "deleted. Type it exactly, or give it with --confirm"
        )
    if workspace.settings.bridge_dry_run:
        say("BRIDGE_DRY_RUN is true: nothing was deleted.")
        return
    workspace.ask(named(account), lambda it: it.delete(found["id"]))
    say(f"{named(expected)} is deleted.")
