"""How a record becomes stamped facts about the Account that it is, or belongs to.

A notification tells the whole record as it was when it was sent, and the record's own
SystemModstamp says which of two is the later one. A deleted record is not final: its
organisation can undelete it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from marshmallow import ValidationError

from bridge.domain.catalogue import VOID
from bridge.domain.facts import CREATED, Fact, Stamp, Value
from bridge.domain.money import exponent
from bridge.sources.salesforce.rules import Deals, rules
from bridge.webhook.converters import at, decimal
from bridge.webhook.fields import UNREAD, Currency
from bridge.webhook.source import Event, Options
from bridge.webhook.values import digest, kept

DELETED = 4
"""Rank of a deletion; all else is the whole of a record, as its creation would be."""

CURRENCY = Currency()


def account_facts(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the customer and its traits; *loaded* is from `ACCOUNT`."""
    said, fields, id_ = rules(options), event.body, loaded["id"]
    account = fields.get(said.account) if said.account else id_
    value = kept(name=loaded["name"], account=account, deleted=loaded["deleted"])
    yield _fact(event, loaded, id_, "customer", value)
    if loaded["deleted"]:
        return
    for trait, line in said.traits.items():
        is_told = said.selected is None or line.field in said.selected
        if is_told or line.field in fields:
            value = {"is": _read(fields, line.field, line.convert)}
            yield _fact(event, loaded, id_, f"trait:{trait}", value)


def opportunity_facts(event: Event, loaded: Any, options: Options) -> Iterator[Fact]:
    """Yield the subscription that a won deal is; *loaded* is from `OPPORTUNITY`.

    Any other deal is void, so that one that was won and then lost is no subscription.
    """
    said, owner = rules(options), loaded["account"]
    if said.deals is None or owner is None:
        return
    if loaded["won"] is None:
        raise ValidationError({"IsWon": ["Select it for the outbound message."]})
    is_won = loaded["won"] and not loaded["deleted"]
    value = _won(event, said.deals) if is_won else {"status": VOID}
    own = {} if said.account else {"account": owner}
    thing = f"subscription:opp-{loaded['id']}"
    yield _fact(event, loaded, owner, thing, {**value, **own})


def _won(event: Event, deals: Deals) -> dict[str, Any]:
    """A contract with an end is live until then, as the record's own time tells."""
    fields = event.body
    currency = CURRENCY.read(fields.get(deals.currency, deals.currency))
    mrr = _read(fields, deals.mrr, decimal)
    ended = _read(fields, deals.ended, at)
    is_over = ended is not None and ended <= event.at
    amount = None
    if mrr is not None and currency is not UNREAD:
        amount = format(mrr.scaleb(exponent(currency)).normalize(), "f")
    return kept(
        status="canceled" if is_over else "active",
        currency=None if currency is UNREAD else currency,
        mrr=amount,
        items=None if amount else [{"interval": "month"}],
        ends=_read(fields, deals.renews, at),
        cancel_at=None if is_over else ended,
        ended_at=ended if is_over else None,
    )


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


def _fact(event: Event, loaded: Any, party: str, thing: str, value: Value) -> Fact:
    if not event.at:
        reason = "Select it for the outbound message: it tells which record is newer."
        raise ValidationError({"SystemModstamp": [reason]})
    rank = DELETED if loaded["deleted"] else CREATED
    return Fact(
        party=f"salesforce:{party}",
        thing=thing,
        stamp=Stamp(final=False, at=event.at, rank=rank),
        event=event.id,
        kind=event.type,
        value=value,
        after=digest(value),
    )
