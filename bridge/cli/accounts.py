"""`python -m bridge accounts`: the whole Accounts API of Vitally, by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click
import orjson

from bridge.cli.account_access import client, named, settings_of, tried
from bridge.cli.account_text import account_card, accounts_table, json_text
from bridge.errors import BridgeError
from bridge.plain import plain
from bridge.vitally.client import Page, Vitally

as_json = click.option("--json", "wants_json", is_flag=True, help="JSON, as it came.")


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
def list_(wants_all: bool, wants_json: bool, **query: Any) -> None:
    """List accounts.

    \b
    Example:
      python -m bridge accounts list --status churned --all --json
    """
    if query["organization"] and (query["status"] or query["sort"]):
        raise click.UsageError("--organization goes with neither --status nor --sort")
    vitally = client(settings_of())
    turn = _every_page if wants_all else _page
    page = tried(vitally, "the list of accounts", lambda: turn(vitally, query))
    if wants_json:
        click.echo(json_text(page._asdict()))
        return
    click.echo(accounts_table(page.results))
    if page.next:
        click.echo(f"There are more: --cursor {plain(page.next)}", err=True)


@accounts.command()
@click.argument("account", metavar="ID")
@as_json
def get(account: str, wants_json: bool) -> None:
    """Show one account.

    \b
    Example:
      python -m bridge accounts get acme-101
    """
    vitally = client(settings_of())
    _show(tried(vitally, named(account), lambda: vitally.get(account)), wants_json)


@accounts.command()
@click.argument("account", metavar="ID")
@as_json
def health(account: str, wants_json: bool) -> None:
    """Show the health score breakdown of an account, as Vitally tells it.

    \b
    Example:
      python -m bridge accounts health acme-101
    """
    vitally = client(settings_of())
    what = f"the health scores of {named(account)}"
    click.echo(json_text(tried(vitally, what, lambda: vitally.health(account))))


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
@click.argument("external_id", metavar="EXTERNAL_ID")
@click.option("--name", required=True, help="Name of the account.")
@with_traits
@click.option("--organization", metavar="ID", help="Vitally's id of its organization.")
@as_json
def create(wants_json: bool, **said: Any) -> None:
    """Create an account.

    \b
    Example:
      python -m bridge accounts create acme-101 --name "Acme" --trait mrr=99.5
    """
    body = {"externalId": said["external_id"], "name": said["name"]}
    body |= {"traits": said["traits"]} if said["traits"] else {}
    body |= {"organizationId": said["organization"]} if said["organization"] else {}
    what = named(said["external_id"])
    _write(what, body, wants_json, lambda vitally: vitally.create(body))


@accounts.command()
@click.argument("account", metavar="ID")
@click.option("--name", help="New name.")
@with_traits
@click.option("--organization", metavar="ID", help="Put it into this organization.")
@click.option("--remove-organization", is_flag=True, help="Take it out of its own.")
@click.option("--remove-owner", is_flag=True, help="Take its owner away.")
@as_json
def update(account: str, wants_json: bool, **said: Any) -> None:
    """Change an account; traits that are not named stay.

    \b
    Example:
      python -m bridge accounts update acme-101 --trait tier='"gold"' --trait old=null
    """
    if said["organization"] and said["remove_organization"]:
        raise click.UsageError(
            "--organization and --remove-organization exclude another"
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
    what = named(account)
    _write(what, body, wants_json, lambda vitally: vitally.update(account, body))


@accounts.command()
@click.argument("account", metavar="ID")
@click.option("--confirm", metavar="ID", help="The external id once more, for scripts.")
def delete(account: str, confirm: str | None) -> None:
    """Destroy an account and all that belongs to it alone, for ever.

    \b
    Example:
      python -m bridge accounts delete acme-101
    """
    settings = settings_of()
    vitally = client(settings)
    found = tried(vitally, named(account), lambda: vitally.get(account))
    expected = found.get("externalId") or found["id"]
    click.echo(account_card(found), err=True)
    if confirm is None:
        words = "This destroys it in Vitally for ever. Type its external id"
        confirm = click.prompt(words, default="", show_default=False, err=True)
    if confirm != expected:
        raise BridgeError(
            f"{confirm!r} is not the external id of {named(account)}; nothing was "
            "deleted. Type it exactly, or give it with --confirm"
        )
    if settings.bridge_dry_run:
        click.echo("BRIDGE_DRY_RUN is true: nothing was deleted.")
        return
    tried(vitally, named(account), lambda: vitally.delete(found["id"]))
    click.echo(f"{named(expected)} is deleted.")


def _write(
    what: str,
    body: Mapping[str, Any],
    wants_json: bool,
    act: Callable[[Vitally], dict[str, Any]],
) -> None:
    settings = settings_of()
    if settings.bridge_dry_run:
        click.echo(f"BRIDGE_DRY_RUN is true; {what} would be sent:", err=True)
        click.echo(json_text(body))
        return
    vitally = client(settings)
    _show(tried(vitally, what, lambda: act(vitally)), wants_json)


def _show(account: Mapping[str, Any], wants_json: bool) -> None:
    click.echo(json_text(account) if wants_json else account_card(account))


def _page(vitally: Vitally, query: Mapping[str, Any]) -> Page:
    limit, cursor = query["limit"], query["cursor"]
    if query["organization"]:
        return vitally.organization_accounts(query["organization"], limit, cursor)
    return vitally.accounts(query["status"], limit, cursor, query["sort"])


def _every_page(vitally: Vitally, query: Mapping[str, Any]) -> Page:
    """Every page as one; by creation, since a list by change skips what changes."""
    sort = None if query["organization"] else query["sort"] or "createdAt"
    found: list[dict[str, Any]] = []
    cursor, seen = query["cursor"], set[str]()
    while True:
        asked = {
            **query,
            "sort": sort,
            "cursor": cursor,
            "limit": query["limit"] or 100,
        }
        page = _page(vitally, asked)
        found += page.results
        if page.next is None or page.next in seen:
            return Page(found, None)
        seen.add(page.next)
        cursor = page.next
