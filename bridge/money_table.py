"""The table `[money]` of `bridge.toml`: a policy, or every mistake in it.

[money]
discounts = "forever"               # forever | active | all | none
statuses = ["active", "past_due"]   # which count in mrr
empty = "null"                      # mrr while none counts: null | zero
week = "52/12"                      # weeks in a month
day = "365/12"                      # days in a month
base = "usd"                        # for accounts in several currencies: the sum in
rates = { eur = "1.08" }            # this one; one euro is worth 1.08 dollars
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from bridge.domain.policy import DISCOUNTS, EMPTY, STATUSES, Policy

NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,12})?(/[0-9]{1,9})?")


def read_policy(table: Mapping[str, Any]) -> tuple[Policy, list[str]]:
    """Return the policy and the problems; each names the line's place."""
    found: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in table.items():
        if name not in READERS:
            known = ", ".join(READERS)
            problems.append(f"money.{name} is no line of [money]; there are {known}")
            continue
        try:
            found[name] = READERS[name](value)
        except ValueError as error:
            problems.append(f"money.{name} {error}")
    policy = Policy(**found)
    if policy.rates and policy.base is None and "base" not in table:
        problems.append("money.base is needed where there are money.rates")
    return policy, problems


def _one_of(*allowed: str) -> Callable[[Any], str]:
    def read(value: Any) -> str:
        if value not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return str(value)

    return read


def _statuses(value: Any) -> frozenset[str]:
    if (
        not isinstance(value, list)
        or not value
        or not set(map(str, value)) <= set(STATUSES)
    ):
        raise ValueError(f"must be a list of some of {', '.join(STATUSES)}")
    return frozenset(value)


def _number(value: Any) -> Fraction:
    """A number above 0, exact: 4.33, "4.33" and "52/12" alike."""
    text = value if isinstance(value, str) else repr(value)
    if isinstance(value, bool) or not NUMBER.fullmatch(text):
        raise ValueError('must be a number above 0, e.g. 4.33 or "52/12"')
    top, _, bottom = text.partition("/")
    if not Fraction(top) or (bottom and not Fraction(bottom)):
        raise ValueError("must be above 0")
    return Fraction(top) / Fraction(bottom or 1)


def _currency(value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z]{3}", value):
        raise ValueError('must be an ISO code, e.g. "usd"')
    return value.lower()


def _rates(value: Any) -> dict[str, Fraction]:
    if not isinstance(value, dict):
        raise ValueError('must be a table, e.g. { eur = "1.08" }')  # noqa: TRY004 - as every reader
    rates: dict[str, Fraction] = {}
    for code, worth in value.items():
        try:
            rates[_currency(code)] = _number(worth)
        except ValueError as error:
            raise ValueError(f"has a mistake at {code}: it {error}") from None
    return rates


READERS: Mapping[str, Callable[[Any], Any]] = {
    "discounts": _one_of(*DISCOUNTS),
    "statuses": _statuses,
    "empty": _one_of(*EMPTY),
    "week": _number,
    "day": _number,
    "base": _currency,
    "rates": _rates,
}
"""Each line of the table and how it is read."""
