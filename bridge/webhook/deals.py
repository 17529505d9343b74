"""What a won deal of a CRM is as a subscription."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from bridge.domain.money import bridged
from bridge.domain.values import Value
from bridge.webhook.fields import UNREAD, Currency
from bridge.webhook.values import kept

CURRENCY = Currency()


def subscription(  # noqa: PLR0913 - what a deal says
    *,
    mrr: Decimal | None,
    currency: Any,
    at: int,
    renews: int | None = None,
    ended: int | None = None,
    plan: str | None = None,
) -> Value | None:
    """Value of thing `subscription:…` of a deal that is won, *at* its version (ms).

    None without an amount a month (*mrr*, major units): it was sold once. With an end
    in the future it is live until then.
    """
    if not mrr:
        return None
    code = CURRENCY.read(currency)
    known = "" if code is UNREAD else code
    minor = bridged(mrr, known).normalize()
    is_over = ended is not None and ended <= at
    return kept(
        status="canceled" if is_over else "active",
        currency=known,
        # Also without a currency, when it is not known: a subscription that renews.
        mrr=format(minor, "f"),
        plan=plan,
        ends=renews,
        ended_at=ended if is_over else None,
        cancel_at=None if is_over else ended,
    )
