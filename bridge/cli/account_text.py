"""How accounts of Vitally look on a terminal: a table, a card, or JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson

from bridge.plain import plain

_COLUMNS = (
    ("EXTERNAL ID", "externalId"),
    ("NAME", "name"),
    ("MRR", "mrr"),
    ("RENEWAL", "nextRenewalDate"),
    ("CHURNED", "churnedAt"),
    ("TRIAL ENDS", "trialEndDate"),
    ("UPDATED", "updatedAt"),
)

_CARD = (
    "externalId",
    "name",
    "id",
    "organizationId",
    "accountOwnerId",
    "mrr",
    "nextRenewalDate",
    "churnedAt",
    "trialEndDate",
    "healthScore",
    "usersCount",
    "createdAt",
    "updatedAt",
)

_WIDEST = 40
"""Characters of a cell."""


def shown(value: Any) -> str:
    """Return a value as one line of text that cannot steer a terminal."""
    if value is None:
        return "-"
    return plain(value if isinstance(value, str) else orjson.dumps(value).decode())


def json_text(value: Any) -> str:
    """Return *value* as indented JSON."""
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()
    return "\n".join(map(plain, text.split("\n")))


def accounts_table(accounts: Iterable[Mapping[str, Any]]) -> str:
    """Return one line for each account under a heading."""
    heads = [head for head, _ in _COLUMNS]
    rows = [[_cell(account.get(name)) for _, name in _COLUMNS] for account in accounts]
    return "\n".join(_aligned([heads, *rows]))


def account_card(account: Mapping[str, Any]) -> str:
    """Return one account: its fields, then its traits."""
    known = [(name, account[name]) for name in _CARD if name in account]
    told = account.get("traits")
    traits = sorted(told.items()) if isinstance(told, dict) else []
    rows = [[name, shown(value)] for name, value in known]
    rows += [["traits", "-" if not traits else ""]]
    rows += [[f"  {plain(name)}", shown(value)] for name, value in traits]
    return "\n".join(_aligned(rows))


def _cell(value: Any) -> str:
    text = shown(value)
    is_instant = len(text) == len("2024-05-10T15:37:51.762Z") and text[10] == "T"
    text = text[:10] if is_instant else text
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            text.ljust(width) for text, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
