"""How a record becomes stamped facts about the Account that it is, or belongs to.

A notification tells the fields that its message selects as they were when it was sent,
so that each is a thing of its own; the record's own SystemModstamp says which of two is
the later one. A deleted record is not final: its organisation can undelete it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from marshmallow import ValidationError

from bridge.domain.facts import Fact, Rank
from bridge.domain.values import VOID, Value, part
from bridge.sources.salesforce.rules import Deals, Rules, rules
from bridge.webhook.fields import UNREAD, Checked, Label, Payload
from bridge.webhook.source import Event, Handlers, Options, is_name
from bridge.webhook.values import decimal, kept, milliseconds, won_deal

HANDLERS = Handlers()

ACCOUNT, OPPORTUNITY = "Account", "Opportunity"

NAME = "Name"

_ID = re.compile(r"[A-Za-z0-9]{15}([A-Za-z0-9]{3})?", re.ASCII)
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


class RecordId(Checked):
    """A record's id, kept in its form of 18 characters."""

    must = "be an id of 15 or 18 characters"

    def read(self, value: Any) -> Any:
        if type(value) is not str or not _ID.fullmatch(value):
            return UNREAD
        return value + "".join(_checks(value)) if len(value) == 15 else value  # noqa: PLR2004


def _checks(id_: str) -> list[str]:
    """Return one letter for every five, whose bits say which are upper case."""
    fives = (id_[start : start + 5] for start in (0, 5, 10))
    return [
        _LETTERS[sum(1 << bit for bit, one in enumerate(five) if one.isupper())]
        for five in fives
    ]


class Flag(Checked):
    """A checkbox: `true` or `false`."""

    must = "be true or false"

    def read(self, value: Any) -> Any:
        return {"true": True, "false": False}.get(value, UNREAD)


class Record(Payload):
    """Any record; an Account has no more than this."""

    id = RecordId(required=True, data_key="Id")
    name = Label(data_key="Name")
    deleted = Flag(data_key="IsDeleted")


class Opportunity(Record):
    """A deal; *account* is the company that it is with."""

    account = RecordId(data_key="AccountId")
    won = Flag(data_key="IsWon")


@HANDLERS.on(
    Record(),
    {ACCOUNT: "name, account and the traits that `bridge.toml` names"},
    creates={ACCOUNT},
)
def account_facts(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the customer and what is told of it.

    A record that is sent with anything in it is there, unless it says that it is not.
    """
    said, fields, id_ = rules(options), event.body, loaded["id"]
    own = {} if said.account else {"account": id_}
    value = {**own, **kept(deleted=loaded["deleted"])}
    yield _fact(event, loaded, id_, "customer", value)
    if said.account and said.tells(fields, said.account):
        account = _read(fields, said.account, _external)
        yield _fact(event, loaded, id_, "account", kept(account=account))
    if said.tells(fields, NAME):
        yield _fact(event, loaded, id_, "name", kept(name=loaded["name"]))
    if loaded["deleted"]:
        return
    for trait, line in said.traits.items():
        if said.tells(fields, line.field):
            value = {"is": _read(fields, line.field, line.convert)}
            yield _fact(event, loaded, id_, f"trait:{trait}", value)


def untold(fields: Mapping[str, str | None], rules: Rules) -> str | None:
    """Why a message about an Opportunity tells too little of it, None: it does not.

    Of a deal that is not won, or deleted, no more matters.
    """
    if rules.deals is None:
        return "bridge.toml has no [sources.salesforce.opportunities]"
    if not fields.get("AccountId"):
        return "the deal names no company; AccountId must be selected"
    if fields.get("IsDeleted") == "true":
        return None
    if fields.get("IsWon") is None:
        return "the deal does not say whether it is won; IsWon must be selected"
    told = any(rules.tells(fields, name) for name in (NAME, *rules.deals.own))
    if fields["IsWon"] == "true" and not told:
        return f"the deal does not say what it pays; {rules.deals.mrr} must be selected"
    return None


@HANDLERS.on(
    Opportunity(),
    {OPPORTUNITY: "a won deal is a subscription, where `bridge.toml` names its fields"},
)
def opportunity_facts(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the subscription that a won deal is, and its parts.

    Any other deal is void, so that one that was won and then lost is no subscription;
    so is one without an amount a month: it was sold once. Where a message does not say
    the amount, it stays what it was.
    """
    said, owner = rules(options), loaded["account"]
    if said.deals is None or owner is None:
        return
    id_, fields = f"opp-{loaded['id']}", event.body
    is_won = loaded["won"] and not loaded["deleted"]
    if not is_won or said.tells(fields, said.deals.mrr):
        value = _won(event, said.deals) if is_won else None
        own = {} if said.account else {"account": owner}
        told = {**(value or {"status": VOID}), **own}
        yield _fact(event, loaded, owner, f"subscription:{id_}", told)
    for name, news in _parts(event, loaded, said):
        yield _fact(event, loaded, owner, part(id_, name), news)


def _won(event: Event, deals: Deals) -> Value | None:
    fields = event.body
    return won_deal(
        mrr=_read(fields, deals.mrr, decimal),
        currency=fields.get(deals.currency, deals.currency),
        at=event.at,
    )


def _parts(event: Event, loaded: Any, said: Rules) -> Iterator[tuple[str, Value]]:
    """Yield what the message says of a deal besides what it pays."""
    deals, fields = said.deals, event.body
    if deals is None or loaded["deleted"]:
        return
    if said.tells(fields, NAME):
        yield "plan", kept(plan=loaded["name"])
    for name, field in (("ends", deals.renews), ("ended", deals.ended)):
        if field and said.tells(fields, field):
            yield name, kept(**{name: _read(fields, field, milliseconds)})


def _read(
    fields: Mapping[str, str | None], name: str, convert: Callable[[str], Any]
) -> Any:
    """A field's value, None where it is empty. Raises ValidationError."""
    text = fields.get(name)
    if text is None:
        return None
    try:
        return convert(text)
    except ValueError as error:
        raise ValidationError({name: [f"It {error}."]}) from None


def _external(text: str) -> str:
    if not is_name(text):
        raise ValueError("must be an id of at most 255 characters")
    return text


def _fact(event: Event, loaded: Any, party: str, thing: str, value: Value) -> Fact:
    if not event.at:
        reason = "Select it for the outbound message: it tells which record is newer."
        raise ValidationError({"SystemModstamp": [reason]})
    rank = Rank.DELETED if loaded["deleted"] else Rank.CREATED
    return event.fact(f"salesforce:{party}", thing, value, rank)
