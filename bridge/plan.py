"""What would be written, account by account, and what it costs; nothing is asked of Vitally."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from functools import partial
from typing import NamedTuple

from redis import Redis

from bridge.config import Config
from bridge.desired import Desired, desired_state, has_work
from bridge.domain.document import same
from bridge.domain.traits import Known
from bridge.store.inspect import Figures
from bridge.store.shadow import Shadow
from bridge.store.view import View

MANY = 2000
"""Accounts from which on all cores work them out."""

CHUNK = 1000
"""Accounts that a core works out at a time."""


class Planned(NamedTuple):
    """What an account has and shall have, where a write would change it.

    *changes* maps a key in Vitally to what it holds and what it shall hold; *money* is
    (currency, MRR before, MRR after), None where one of them is not known.
    """

    account: str
    create: bool
    changes: Mapping[str, tuple[Known, Known]]
    money: tuple[str, Known, Known] | None


def planned(view: View, config: Config) -> Planned | None:
    """What a write of the account would change; None where nothing differs."""
    desired = desired_state(view, config)
    if not has_work(view, desired):
        return None
    had = view.ledger.has
    create = desired.account is not None and not view.exists
    changes = {
        key: (had.get(key), value)
        for key, value in desired.change.traits.items()
        if not (create and value is None)
    }
    return Planned(view.account, create, changes, _money(view, desired, config))


def _money(
    view: View, desired: Desired, config: Config
) -> tuple[str, Known, Known] | None:
    mrr, currency = config.traits.get("mrr"), config.traits.get("billingCurrency")
    if not mrr or mrr not in desired.change.traits:
        return None
    had = view.ledger.has
    code = desired.document.traits.get(currency or "") or had.get(currency or "")
    return str(code or ""), had.get(mrr), desired.change.traits[mrr]


def plan(
    redis: Redis,
    again: Callable[[], Redis],
    config: Config,
    only: Iterable[str] | None = None,
) -> Iterator[Planned]:
    """What would be written, over all accounts or *only* some.

    *again* makes a client for another process.
    """
    shadow = Shadow(redis)
    accounts = shadow.accounts()
    if only is not None:
        accounts = {name: accounts.get(name, []) for name in only}
    if len(accounts) < MANY:
        found = (planned(view, config) for view in shadow.views(accounts))
        yield from filter(None, found)
        return
    names = sorted(accounts)
    chunks = [
        {name: accounts[name] for name in names[start : start + CHUNK]}
        for start in range(0, len(names), CHUNK)
    ]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for some in pool.map(partial(_chunk, again, config), chunks):
            yield from some


def _chunk(
    again: Callable[[], Redis],
    config: Config,
    accounts: Mapping[str, Sequence[str]],
) -> list[Planned]:
    """The part of a plan that one core makes."""
    found = (planned(view, config) for view in Shadow(again()).views(accounts))
    return [*filter(None, found)]


class Totals(NamedTuple):
    """What a whole plan comes to.

    *minutes* is how long the writes take at the bridge's share of Vitally's limit, *mrr*
    maps a currency to the sum of what changes, before and after. *subscribed* and
    *unsubscribed* accounts begin and cease to have an MRR, and so to be billed as
    customers by Vitally.
    """

    accounts: int
    created: int
    writes: int
    units: int
    minutes: float
    mrr: Mapping[str, tuple[float, float]]
    subscribed: int
    unsubscribed: int


def totals(found: Sequence[Planned], now: Figures, share: float) -> Totals:
    """Sum up a plan, at the limit and the cost of a write that *now* shows."""
    money = [one.money for one in found if one.money]
    sums: dict[str, tuple[Fraction, Fraction]] = {}
    turns: Counter[str] = Counter()
    for currency, before, after in money:
        had, shall = sums.get(currency, (Fraction(0), Fraction(0)))
        sums[currency] = (had + _amount(before), shall + _amount(after))
        if (before is None) != (after is None):
            turns["subscribed" if before is None else "unsubscribed"] += 1
    units = len(found) * now.cost
    return Totals(
        len(found),
        sum(one.create for one in found),
        len(found),
        units,
        round(units / max(1.0, now.limit * share), 1),
        {code: (float(had), float(to)) for code, (had, to) in sorted(sums.items())},
        turns["subscribed"],
        turns["unsubscribed"],
    )


def _amount(value: Known) -> Fraction:
    return Fraction(str(value)) if isinstance(value, int | float) else Fraction(0)


class Drift(NamedTuple):
    """A trait that somebody else has changed in Vitally."""

    account: str
    trait: str
    wanted: Known
    vitally: Known


class Report(NamedTuple):
    """What a reading of Vitally has shown: *read* accounts, and what is not as it was.

    *missing* accounts were deleted there; *unknown* ones have no party here.
    """

    read: int
    drift: Sequence[Drift]
    missing: Sequence[str]
    unknown: Sequence[str]


def report(redis: Redis, config: Config, read: int) -> Report:
    """Compare what the last reading showed with what shall be."""
    shadow = Shadow(redis)
    otherwise, missing, strange = [], [], []
    for name, text, ledger in shadow.known():
        if ledger.missing and text:
            missing.append(name)
        elif ledger.seen and text:
            otherwise.append(name)
        elif ledger.read_at and not text:
            strange.append(name)
    drift = []
    for view in shadow.views({name: [] for name in sorted(otherwise)}):
        shall = desired_state(view, config).document.traits
        drift += [
            Drift(view.account, key, shall[key], value)
            for key, value in view.ledger.seen.items()
            if key in shall and not same(shall[key], value)
        ]
    return Report(read, drift, sorted(missing), sorted(shadow.without_party(strange)))
