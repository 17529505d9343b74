"""The end of the demo: what Vitally has of each account beside what was expected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from bridge.demo.post import instant
from bridge.demo.steps import DATES, Life

HEADINGS = ("status", "mrr", "plan", "renews", "cancels", "churned", "trial end")

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

NOTHING = "-"


class Verdict(NamedTuple):
    """One account: what was *expected*, what was *found*, and where they differ."""

    account: str
    expected: Mapping[str, Any]
    found: Mapping[str, Any]
    differences: tuple[str, ...]

    @property
    def is_right(self) -> bool:
        """Whether Vitally has exactly what was expected."""
        return not self.differences


def verdicts(
    lives: Iterable[Life], accounts: Sequence[Mapping[str, Any]], start: int
) -> list[Verdict]:
    """Compare *accounts*, as Vitally lists them, with the *lives*.

    An account that is missing, there twice or not expected is a difference, too.
    """
    left = {str(account["externalId"]): dict(account) for account in accounts}
    found = [_verdict(life, left.pop(life.account, None), start) for life in lives]
    found += [
        Verdict(name, {}, _flat(a), ("not expected",)) for name, a in left.items()
    ]
    more = len(accounts) - len({account["externalId"] for account in accounts})
    if more:
        found.append(Verdict("", {}, {}, (f"{more} accounts are there twice",)))
    return found


def table(found: Sequence[Verdict]) -> str:
    """Draw the verdicts: for each account a line of Vitally, one of what was expected."""
    rows = [["", "account", "", *HEADINGS]]
    notes: list[list[str]] = [[]]
    for verdict in found:
        mark = "✓" if verdict.is_right else "✗"
        name = str(verdict.found.get("name", verdict.expected.get("name", "")))
        rows.append([mark, name, "in Vitally", *_cells(verdict.found)])
        rows.append(["", verdict.account, "expected", *_cells(verdict.expected)])
        notes += [[], [f"    {words}" for words in verdict.differences]]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines: list[str] = []
    for row, note in zip(rows, notes, strict=True):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines += ["  ".join(cells).rstrip(), *note]
    return "\n".join(lines)


def _verdict(life: Life, account: Mapping[str, Any] | None, start: int) -> Verdict:
    expected = {"name": life.name} | {
        trait: _iso(instant(value, start)) if trait in DATES else value
        for trait, value in life.expected.items()
    }
    if account is None:
        return Verdict(life.account, expected, {}, ("Vitally has no such account",))
    found = _flat(account)
    expected |= {k: v for k, v in life.stays.items() if found.get(k) == v}
    differences = tuple(
        f"{name}: Vitally has {found.get(name)!r}, expected {expected.get(name)!r}"
        for name in sorted(expected.keys() | found.keys())
        if found.get(name) != expected.get(name)
    )
    return Verdict(life.account, expected, found, differences)


def _flat(account: Mapping[str, Any]) -> dict[str, Any]:
    """Name and traits in one."""
    return {"name": account["name"], **account["traits"]}


def _cells(said: Mapping[str, Any]) -> list[str]:
    mrr = said.get("mrr")
    money = NOTHING if mrr is None else f"{mrr:,} {said.get('billingCurrency', '')}"
    return [
        str(said.get("subscriptionStatus", NOTHING)),
        money,
        str(said.get("planName", NOTHING)),
        *(_day(said.get(name)) for name in DATES),
    ]


def _iso(seconds: int) -> str:
    at = EPOCH + timedelta(seconds=seconds)
    return at.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _day(value: Any) -> str:
    return NOTHING if value is None else str(value)[:10]
