"""A customer whose account is named in its metadata."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.support.stripe import Shop


def signs_up(shop: Shop, account: str, name: str = "Example Shop") -> dict[str, Any]:
    """Make `customer.created` of *shop*, which belongs to *account* from now on."""
    told = shop.signs_up(name)
    owned = {"account": account}
    shop._things[shop.id] = replace(shop._things[shop.id], metadata=owned)
    told["data"]["object"]["metadata"] = owned
    return told
