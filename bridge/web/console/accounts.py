"""The pages of the accounts: the list in which one finds them, and one account."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from flask import render_template, request

from bridge import actions
from bridge.accounts import FILTERS, SORTS, Search, listing, names_of
from bridge.deliveries import Filter, deliveries
from bridge.domain.document import TRAITS
from bridge.errors import BridgeError
from bridge.explain import Data, aloud, explanation
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
    own = frozenset(one.party for one in found["parties"])
    lines = deliveries(redis, Filter(parties=own), most=SHOWN) if own else None
    events = [{"at": line.at, "delivery": line} for line in (lines or ((),))[0]]
    writes = [{"at": line["at"], "write": line} for line in found.get("history", ())]
    timeline = sorted((*events, *writes), key=lambda one: -one["at"])
    more: dict[str, Any] = {"asked": name, "timeline": timeline}
    if found["account"] is None:
        more["name"] = names_of(redis, [name]).get(name, "")
    if "traits" in found:
        more |= {"rows": list(_rows(found)), "currency": _currency(found)}
    return found | more


def _currency(data: Data) -> str | None:
    """The currency of the MRR: the one of all that counts, else of `[money]` or Vitally."""
    codes = {cause.get("currency") for cause in data["because"].get("mrr", ())}
    code = codes.pop() if len(codes) == 1 else console().config.policy.base
    has = data["traits"].get("billingCurrency", {}).get("vitally")
    return str(code or has).upper() if code or has else None


def _rows(data: Data) -> Iterator[dict[str, Any]]:
    """A row for each trait that is known, unknown for a reason, or in Vitally."""
    known = {**data["facts_say"], **data["unknown"], **data["traits"]}
    for trait in dict.fromkeys((*TRAITS, *known)):
        if trait not in known:
            continue
        about = data["traits"].get(trait, {"key": console().config.traits.get(trait)})
        row: dict[str, Any] = {"trait": trait, **about}
        row["because"] = [
            {**cause, "aloud": aloud(cause)} for cause in data["because"].get(trait, ())
        ]
        if trait in data["unknown"]:
            row["unknown"] = data["unknown"][trait]
        row["differs"] = about["key"] in data["to_write"]
        row["gone"] = about["key"] in data["gone"]
        yield row


@pages.action("/do/link")
def link() -> Done | str:
    """Assign a party to an account; without one, to the one that its source names.

    Where that may make a new account in Vitally, a page asks first.
    """
    form, redis = request.form, console().redis
    party, name = form.get("party", ""), form.get("account", "").strip()
    if StateReader(redis).standing(party) is None:
        raise BridgeError(f"{party}: no event has named this party yet")
    warning = actions.new_account(redis, name) if name else ""
    if warning and form.get("sure") != "yes":
        data = {"party": party, "account": name, "warning": warning}
        return render_template("link.html", data=data)
    actions.link(redis, party, name or None)
    text = f"{party} goes to {name or 'where its source says'}"
    return Done(text, account_url(party))


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
