"""What would be written, account by account, and what it costs; nothing is asked of Vitally."""

from __future__ import annotations

import gc
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple
from zlib import crc32

import orjson
from redis import Redis

from bridge.config import Config
from bridge.desired import (
    ORGANIZATION,
    creation_refused,
    desired_state,
    has_work,
    instances_of,
    place,
    rules,
)
from bridge.domain.document import same
from bridge.domain.facts import organization_id
from bridge.domain.instance import digest_of
from bridge.domain.traits import Known
from bridge.errors import BridgeError
from bridge.settings import Settings
from bridge.store import keys
from bridge.store.inspect import Figures, figures
from bridge.store.lease import Leases
from bridge.store.mass import Mass
from bridge.store.operator import owe_whole
from bridge.store.shadow import Shadow
from bridge.store.view import View

MANY = 2000
"""Accounts from which on all cores work them out."""

CHUNK = 1000
"""Accounts that a core works out at a time."""

MONEY = ("mrr", "billingCurrency")
COUNTED = ("accounts", "created", "writes", "subscribed", "unsubscribed")

Money = tuple[str, float]
"""A currency ("": not known) and an amount."""


class Planned(NamedTuple):
    """What a write would change of an account.

    *requests* is how many it takes; 0: nothing is to be written. *name* and each key in
    *changes* have what Vitally is known to have (None: nothing) and what it shall have.
    *before* and *after* are the MRR of the account; None: it has none that is known.
    *instances* of custom objects are to be looked at, since some are to be sent. *state* is
    a digest of all that Vitally has and shall have of it, changed or not. *organization*
    is where it will count ("": nowhere; None: where it does so far).
    """

    account: str
    requests: int = 0
    create: bool = False
    name: tuple[str | None, str] | None = None
    changes: Mapping[str, tuple[Known, Known]] = {}
    before: Money | None = None
    after: Money | None = None
    state: str = ""
    instances: int = 0
    organization: str | None = None

    @property
    def is_due(self) -> bool:
        """Whether a job would send anything."""
        return self.requests > 0 or self.instances > 0


def planned(view: View, config: Config, policy: str) -> Planned:
    """What a write of the account would change; *policy* is `BRIDGE_CREATE`."""
    desired, had = desired_state(view, config), view.ledger.has
    creates = desired.account is not None and not view.exists
    refused = creates and creation_refused(policy, desired.account) is not None
    wanted = instances_of(view, desired.account, config) or {}
    is_sent = not wanted or (view.objects == digest_of(wanted) and not view.objects_due)
    due = len(wanted) if view.exists and not is_sent else 0
    if not has_work(view, desired) or (refused and view.was_not_there):
        rests = _at_rest(view.account, had, config)
        return rests._replace(instances=due, organization=desired.organization)
    name, shall = desired.change.name, desired.change.traits
    if create := creates and not refused:
        name = desired.document.name.text
        shall = {key: value for key, value in shall.items() if value is not None}
    ours = view.ledger.name if view.exists else None
    apart = ORGANIZATION in shall and not place(view, desired.change, creates=create)
    return Planned(
        view.account,
        # An account of which no reading is known is looked for by an update.
        1 + (create and not view.was_not_there) + apart,
        create,
        None if name is None else (ours.text if ours else None, name),
        {key: (had.get(key), value) for key, value in shall.items()},
        _money(view.account, had, config),
        _money(view.account, {**had, **shall}, config),
        _digest([had, desired.document.traits, desired.document.name.text]),
        due,
        desired.organization,
    )


def _digest(data: object) -> str:
    return f"{crc32(orjson.dumps(data, option=orjson.OPT_SORT_KEYS)):08x}"


def _at_rest(account: str, has: Mapping[str, Known], config: Config) -> Planned:
    money = _money(account, has, config)
    return Planned(account, before=money, after=money)


def _money(account: str, has: Mapping[str, Known], config: Config) -> Money | None:
    """The MRR among the traits that an *account* has; that of organizations is no more."""
    keys = config.traits
    # Right after a key was changed, Vitally has the trait under the one before.
    mrr, code = (has.get(keys.get(t) or t, has.get(t)) for t in MONEY)
    if organization_id(account) or isinstance(mrr, bool | str | None):
        return None
    return str(code or config.policy.base or "").upper(), mrr


def plan(
    redis: Redis,
    again: Callable[[], Redis],
    config: Config,
    policy: str,
    only: Iterable[str] | None = None,
) -> list[Planned]:
    """All accounts or *only* some, by name, with what would be written of each.

    Unknown ones are left out. *again* makes a client for another process. *policy* is
    `BRIDGE_CREATE`.
    """
    shadow = Shadow(redis)
    # First what is unsettled: what comes in meanwhile is the next plan's.
    unsettled = shadow.unsettled()
    wanted = shadow.accounts() if only is None else {*only}
    organizes = bool(config.traits.get(ORGANIZATION))
    # An organization changes with accounts that are not asked for.
    others = {name for name in unsettled.values() if name} if organizes else set[str]()
    accounts: dict[str, list[str]] = {name: [] for name in sorted(wanted | others)}
    elsewhere: list[str] = []
    for party, account in unsettled.items():
        accounts.get(account or "", elsewhere).append(party)
    found: dict[str, Planned] = {}
    work = partial(_part, again, config, policy)
    for some, strays in _parts(work, accounts):
        found |= some
        elsewhere += strays
    # An account that a party is about to join is worked out (again) with it.
    joined: defaultdict[str, list[str]] = defaultdict(list)
    for party, account in shadow.homes(elsewhere):
        if only is None or organizes or account in wanted:
            joined[account].append(party)
    for some, _ in _parts(work, joined):
        found |= some
    if organizes:
        plain = (one for name, one in found.items() if not organization_id(name))
        shall = {one.account: one.organization for one in plain}
        known = {name: of for name, of in shall.items() if of is not None}
        views = shadow.regrouped(known, joined)
        found |= {view.account: planned(view, config, policy) for view in views}
    if only is not None:
        found = {name: one for name, one in found.items() if name in wanted}
    return [found[name] for name in sorted(found)]


Part = tuple[dict[str, Planned], list[str]]
"""Some accounts by name, and unsettled parties that do not belong to them any more."""

Unsettled = Mapping[str, Sequence[str]]
"""Accounts, each with its unsettled parties."""


def _parts(work: Callable[[Unsettled], Part], accounts: Unsettled) -> Iterator[Part]:
    """Work out *accounts*; many by all cores."""
    if len(accounts) < MANY:
        yield work(accounts)
        return
    items = [*accounts.items()]
    chunks = [dict(items[at : at + CHUNK]) for at in range(0, len(items), CHUNK)]
    # Nothing in a fold refers to itself, so there is nothing to collect.
    with ProcessPoolExecutor(os.cpu_count(), initializer=gc.disable) as pool:
        yield from pool.map(work, chunks)


def _part(
    again: Callable[[], Redis], config: Config, policy: str, accounts: Unsettled
) -> Part:
    """The part of a plan that one core makes."""
    shadow = Shadow(again())
    settled = [name for name, parties in accounts.items() if not parties]
    resting = shadow.at_rest(settled, rules(config))
    found = {n: _at_rest(n, ledger.has, config) for n, ledger in resting.items()}
    strays: list[str] = []
    others = {name: p for name, p in accounts.items() if name not in resting}
    for view in shadow.views(others):
        try:
            found[view.account] = planned(view, config, policy)
        except (ValueError, TypeError, LookupError) as error:
            error.add_note(view.account)
            raise
        own = {member.name for member in view.members}
        strays += [party for party in others[view.account] if party not in own]
    return found, strays


def totals(found: Iterable[Planned], now: Figures, share: float) -> dict[str, Any]:
    """What a whole plan comes to, at the limit and the cost of a write that *now* shows.

    `units` of Vitally's limit are used in `minutes`, at the bridge's *share* of it. `mrr`
    maps a currency to the sum of all accounts, those that stay as they are too, before
    and after. `subscribed` and `unsubscribed` accounts begin and cease to have an MRR,
    and so to be billed as customers by Vitally. Organizations add nothing to these.
    """
    sums: defaultdict[str, list[Decimal]] = defaultdict(lambda: [Decimal(0)] * 2)
    counted: Counter[str] = Counter()
    for one in found:
        for side, money in enumerate((one.before, one.after)):
            if money is not None:
                sums[money[0]][side] += Decimal(str(money[1]))
        counted["requests"] += one.requests
        counted["writes"] += one.requests > 0
        if not organization_id(one.account):
            counted["accounts"] += one.requests > 0
            counted["created"] += one.create
        counted["subscribed"] += one.before is None and one.after is not None
        counted["unsubscribed"] += one.before is not None and one.after is None
    units = counted["requests"] * now.cost
    return {
        **{name: counted[name] for name in COUNTED},
        "units": units,
        "minutes": round(units / max(1.0, now.limit * share), 1),
        "mrr": {code: (float(a), float(b)) for code, (a, b) in sorted(sums.items())},
    }


class Queued(NamedTuple):
    """Parties of the accounts that were queued, and by when (ms) all have their turn."""

    parties: Sequence[str]
    until: int


def queue_accounts(
    redis: Redis, settings: Settings, accounts: Sequence[str], *, whole: bool = False
) -> Queued:
    """Have the workers look at *accounts* and write what they shall have by then.

    One after another, so that new events are not held up. Somebody has seen what moves,
    so it is no mass change. *whole*: they write all traits, also what does not differ.
    Raises BridgeError in a dry run.
    """
    now = figures(redis)
    if settings.bridge_dry_run or now.dry_run:
        raise BridgeError("nothing is written in a dry run: take BRIDGE_DRY_RUN away")
    if whole:
        owe_whole(redis, accounts)
    Mass(redis).let_pass(accounts)
    shadow, wanted = Shadow(redis), {*accounts}
    parties = shadow.party_of_each(accounts)
    if len(parties) < len(wanted):  # some have yet to get their first party
        others = [p for p, so_far in shadow.unsettled().items() if so_far not in wanted]
        parties += [party for party, home in shadow.homes(others) if home in wanted]
    return Queued(parties, Leases(redis).look_again(parties, now.apart_ms))


def waiting(redis: Redis, queued: Queued) -> int:
    """How many of the *queued* parties are still to be looked at or written."""
    if not queued.parties:
        return 0
    client: Any = redis
    dirty = client.zmscore(keys.DIRTY, queued.parties)
    later = client.zmscore(keys.LATER, queued.parties)
    return sum(
        waits is not None or (due is not None and due <= queued.until)
        for waits, due in zip(dirty, later, strict=True)
    )


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
    shadow, listed = Shadow(redis), figures(redis).listed_at or 0
    otherwise, missing, strange = [], [], []
    for name, text, ledger in shadow.known():
        if ledger.missing and text:
            missing.append(name)
        elif ledger.seen and text:
            otherwise.append(name)
        elif ledger.read_at >= max(1, listed) and not (text or ledger.missing):
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
