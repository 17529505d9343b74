"""The pages of the accounts: the list in which one finds them, and one account."""

from __future__ import annotations

from flask import request

from bridge import actions
from bridge.accounts import FILTERS, SORTS, Search, listing, names_of
from bridge.deliveries import timeline
from bridge.errors import BridgeError
from bridge.explain import Data, explanation
from bridge.plan import queue_accounts
from bridge.store.inspect import StateReader
from bridge.web.console.pages import Done, Pages, account_url, console
from bridge.wording import count

pages = Pages("accounts", "Accounts")

SHOWN = 40
"""Most deliveries in an account's timeline."""


@pages.page("/accounts", "accounts.html")
def accounts() -> Data:
    """A page of the accounts: `?q=` is the text, `?state=`, `?sort=` and `?page=`."""
    given = request.args
    state, sort = given.get("state", ""), given.get("sort", "")
    wanted = Search(
        given.get("q", ""),
        state if state in FILTERS else "",
        sort if sort in SORTS else "name",
        max(1, given.get("page", 1, int)),
    )
    found = listing(console().redis, wanted)
    wanted = wanted._replace(page=min(wanted.page, found.pages))
    return {"wanted": wanted._asdict(), **found._asdict()}


@pages.page("/accounts/<name:name>", "account.html")
def account(name: str) -> Data | None:
    """An account, or a party and the account it belongs to."""
    redis = console().redis
    found = explanation(StateReader(redis), name, console().config)
    if found is None:
        return None
    found |= {"asked": name, "timeline": timeline(redis, found, SHOWN)}
    if found["account"] is None:
        found["name"] = names_of(redis, [name]).get(name, "")
    return found


@pages.action("/do/link")
def link() -> Done:
    """Assign a party to an account; without one, to the one that its source names.

    What is said afterwards warns where that may make a new account in Vitally.
    """
    form, redis = request.form, console().redis
    party, name = form.get("party", ""), form.get("account", "").strip()
    if StateReader(redis).standing(party) is None:
        raise BridgeError(f"{party}: no event has named this party yet")
    warning = actions.new_account(redis, name) if name else ""
    actions.link(redis, party, name or None)
    text = f"{party} goes to {name or 'where its source says'}"
    return Done(f"{text}; {warning}" if warning else text, account_url(party))


@pages.action("/do/retry")
def retry() -> Done:
    """Try at once what waits of an account or party."""
    name, redis = request.form.get("name", ""), console().redis
    jobs = sum(actions.retry(redis, p) for p in actions.parties_of(redis, [name]))
    return Done(f"{name} is tried again: {count(jobs, 'job')}", account_url(name))


@pages.action("/do/fold")
def fold() -> Done:
    """Fold an account again from its facts, and write what differs, or all its traits."""
    name, redis = request.form.get("account", ""), console().redis
    actions.parties_of(redis, [name])
    whole = bool(request.form.get("whole"))
    queue_accounts(redis, console().settings, [name], whole=whole)
    what = "all its traits are" if whole else "what differs is"
    return Done(f"{name} is worked out again, and {what} written", account_url(name))
