"""What a won deal is as a subscription: its amount a month, its renewal and its end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bridge.domain.facts import Value
from bridge.domain.money import exponent
from bridge.errors import SourceUnreadError
from bridge.sources.hubspot.facts import Text, stripped
from bridge.sources.hubspot.rules import Deals
from bridge.webhook.converters import decimal, milliseconds
from bridge.webhook.fields import UNREAD, Currency
from bridge.webhook.values import kept

CURRENCY = Currency()


def subscription(said: Mapping[str, Text], deals: Deals, at: int) -> Value | None:
    """Value of thing `subscription:deal-…` at *at* (ms), None where the deal is none.

    It is none while it is not won, or without an amount a month: sold once, not for
    ever. With an end in the future it is live until then. Raises SourceUnreadError.
    """
    amount = _read(said, deals.mrr, decimal)
    if said.get("hs_is_closed_won") != "true" or not amount:
        return None
    code = CURRENCY.read(said.get("deal_currency_code") or deals.currency)
    currency = None if code is UNREAD else code
    ended = _read(said, deals.ended, milliseconds)
    is_over = ended is not None and ended <= at
    return kept(
        status="canceled" if is_over else "active",
        currency=currency,
        mrr=format(amount.scaleb(exponent(currency or "")).normalize(), "f"),
        plan=stripped(said.get("dealname")),
        ends=_read(said, deals.renews, milliseconds),
        ended_at=ended if is_over else None,
        cancel_at=None if is_over else ended,
    )


def _read(said: Mapping[str, Text], name: str, read: Callable[[str], Any]) -> Any:
    text = stripped(said.get(name))
    if text is None:
        return None
    try:
        return read(text)
    except ValueError as error:
        raise SourceUnreadError(f"the property {name} of a deal {error}") from None
