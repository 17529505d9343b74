"""What Vitally should hold of an account, and what a write must carry to get there."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

from bridge.domain.account import Account, Name
from bridge.domain.facts import organization_id, source_of
from bridge.domain.fold import State
from bridge.domain.forecast import FAR, changes, planned
from bridge.domain.forecast import TRAITS as FORECASTS
from bridge.domain.money import STRIPE, Policy, UnknownError
from bridge.domain.subscription import Subscription, at, dates, discount_ends
from bridge.domain.traits import (
    ALWAYS,
    SILENT,
    STAYS,
    AccountView,
    Known,
    Result,
    Trait,
    Unknown,
    by_currency,
    used,
)

TRAITS = tuple(ALWAYS)

ORDER_UNKNOWN = "events of one instant differ, and their order is not known"

TOLD = "its source sets it, so it cannot be summed"


class Document(NamedTuple):
    """Name and traits that Vitally should hold; *unknown* says why traits are left out.

    *until*: when the document changes without an event (ms); None: never. *stays*: traits
    that are left out although their source is there; they keep their value. *gone*: those
    of *traits* that we wrote and that no party supports any more.
    """

    name: Name
    traits: Mapping[str, Known]
    unknown: Mapping[str, str]
    until: int | None = None
    stays: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()


class Change(NamedTuple):
    """What a write carries: document minus ledger. A *name* of None stays as it is."""

    name: str | None
    traits: Mapping[str, Known]

    @property
    def is_empty(self) -> bool:
        """Whether nothing differs, so that nothing has to be sent."""
        return self.name is None and not self.traits


class Ledger(NamedTuple):
    """What Vitally is known to have of an account.

    *traits* are those that we wrote, as it confirmed them; a *name* of None is not ours.
    *seen* are those that a reading at *read_at* (ms; 0: never read) showed otherwise,
    None where they were absent. *missing*: the reading did not show the account.
    """

    name: Name | None = None
    traits: Mapping[str, Known] = {}
    seen: Mapping[str, Known] = {}
    read_at: int = 0
    missing: bool = False

    @property
    def has(self) -> Mapping[str, Known]:
        """The traits that Vitally has, as far as they are known."""
        return {} if self.missing else {**self.traits, **self.seen}


# --- From an account to its document --------------------------------------------------


def document(account: Account, policy: Policy = STRIPE, now: int = 0) -> Document:
    """Map *account* to its document at *now* (ms); no subscription, no billing traits."""
    known: dict[str, Known] = {}
    unknown: dict[str, str] = {}
    stays: set[str] = set()
    for trait, (_, result) in chosen(account, policy, now).items():
        if result == STAYS:
            stays.add(trait)
        elif isinstance(result, Unknown):
            unknown[trait] = result.reason
        else:
            known[trait] = result
    name = account.name(policy.order("name", billing=False))
    until = _until(account, policy, now)
    return Document(name, known, unknown, until, frozenset(stays))


def _until(account: Account, policy: Policy, now: int) -> int | None:
    """When *account* next changes because a date is reached (ms)."""
    instants = {date for sub in account.subscriptions for date in dates(sub)}
    if policy.discounts == "active":
        for view in views_of(account, policy, now).values():
            instants |= {end for sub in view.counting for end in discount_ends(sub)}
    if policy.use & FORECASTS:
        for sub in (s for one in account.subscriptions for s in (one, *one.rivals)):
            with suppress(UnknownError):
                coming = changes(planned(sub, policy), policy)
                instants |= coming | {date - FAR for date in coming}
    instants = instants.union(*(payer.dates for payer in account.payers))
    if account.waits is not None:
        instants.add(account.waits)
    return min((instant for instant in instants if instant > now), default=None)


def chosen(account: Account, policy: Policy, now: int) -> dict[str, tuple[str, Result]]:
    """Trait -> the source that sets it, and its value.

    *policy* orders the sources, and the first one with an opinion sets the trait. If that
    source cannot know the value, the trait is left out; the others are not asked. STAYS
    is not an opinion. In an organization's MRR currencies stay apart without rates, where
    that of each account is known.
    """
    table = used(policy)
    by_trait: defaultdict[str, dict[str, Result]] = defaultdict(dict)
    unsure = next(_unsummed(account.parts, policy, now), None)
    for source, view in views_of(account, policy, now).items():
        possible = view.possible()
        for name, trait in table.items():
            result = agreed(trait, view, possible)
            if result != SILENT:
                by_trait[name][source] = result
        mrr = table["mrr"].read(view) if account.parts else None
        for name, one in by_currency(view) if isinstance(mrr, Unknown) else ():
            result = agreed(table["mrr"], one, one.possible())
            by_trait[name][source] = unsure or result
    for name, by_source in account.told.items():
        by_trait[name] |= {source: _word(state) for source, state in by_source.items()}
    for part in account.parts:
        for name in part.told.keys() & table.keys():
            by_trait[name] = {"": Unknown(f"{part.id}: {TOLD}")}
    names = [*table, *sorted(by_trait.keys() - table.keys())]
    return {n: _first(n, by_trait[n], policy) for n in names if n in by_trait}


def _first(
    trait: str, results: Mapping[str, Result], policy: Policy
) -> tuple[str, Result]:
    """The source that sets a *trait*, and its result, among all *results*."""
    if len(results) == 1:
        return next(iter(results.items()))
    order = policy.order(trait, billing=trait in used(policy))
    return min(results.items(), key=lambda one: (one[1] == STAYS, order(one[0])))


def views_of(account: Account, policy: Policy, now: int) -> dict[str, AccountView]:
    """The *account* at *now* (ms), as each source that tells of money sees it.

    An organization is seen by all sources at once: each of its accounts as by the one
    that sets the account's MRR.
    """
    if account.parts:
        seen = [_foremost(part, policy, now) for part in account.parts]
        subs = tuple(sub for view in seen for sub in view.all)
        payers = tuple(payer for view in seen for payer in view.payers)
        view = AccountView(subs, policy, now, payers)
        return {"": view} if subs or payers else {}
    by_source: defaultdict[str, list[Subscription]] = defaultdict(list)
    for sub in account.subscriptions:
        by_source[sub.source].append(at(sub, now))
    telling = {source_of(payer.party) for payer in account.payers if payer.is_told}
    views: dict[str, AccountView] = {}
    for source in sorted(telling.union(by_source)):
        own = (p for p in account.payers if source in telling & {source_of(p.party)})
        views[source] = AccountView(tuple(by_source[source]), policy, now, tuple(own))
    return views


def _unsummed(parts: Iterable[Account], policy: Policy, now: int) -> Iterator[Unknown]:
    """Why the MRR of some of an organization's accounts has no place in a sum."""
    mrr = used(policy)["mrr"]
    for part in parts:
        if "mrr" in part.told:
            yield Unknown(f"{part.id}: {TOLD}")
            continue
        view = _foremost(part, policy, now)
        # One that pays in several currencies is known in each.
        for one in [view for _, view in by_currency(view)] or [view]:
            result = agreed(mrr, one, one.possible())
            if isinstance(result, Unknown) and result != SILENT:
                yield result


def _foremost(part: Account, policy: Policy, now: int) -> AccountView:
    views = views_of(part, policy, now)
    source, _ = chosen(part, policy, now).get("mrr", ("", None))
    first = min(views, key=policy.order("mrr", billing=True), default="")
    return views.get(source) or views.get(first) or AccountView((), policy, now)


def agreed(trait: Trait, view: AccountView, possible: Sequence[AccountView]) -> Result:
    """The trait if it is the same in all *possible* views; else unknown."""
    results = {trait.read(one) for one in possible}
    if len(results) == 1:
        return next(iter(results))
    unsure = [sub.id for sub in view.all if sub.rivals and results]
    return Unknown(": ".join([*unsure, ORDER_UNKNOWN]))


def _word(state: State) -> Result:
    """The value of a trait that a source sets directly."""
    word: Result = state.value.get("is")
    if "bad" in state.value:
        return Unknown(f"{state.fact.party}: it is no {state.value['bad']}")
    if any(rival.value.get("is", ...) != word for rival in state.rivals):
        return Unknown(f"{state.fact.party}: {ORDER_UNKNOWN}")
    return word


# --- From a document to a write -----------------------------------------------------------


def keyed(
    doc: Document,
    keys: Mapping[str, str | None],
    ledger: Ledger,
    sent: Iterable[str] = (),
    by_hand: Collection[str] = (),
) -> Document:
    """*doc* with the *keys* that its traits have in Vitally (None: do not write it).

    A key in *by_hand* that people have changed in Vitally is left to them.

    Traits in the *ledger* that no party supports any more are removed. *sent* are the
    keys of an unconfirmed write. A key that belongs to no trait (any more) is left alone.
    """
    told = {*doc.traits, *doc.unknown, *doc.stays}
    free = {key for trait, key in keys.items() if key and trait not in told}
    theirs = {key for key in by_hand if key in ledger.seen}
    gone = (free & {*ledger.traits, *sent}) - theirs
    named = ((keys.get(trait), value) for trait, value in doc.traits.items())
    traits = {key: value for key, value in named if key and key not in theirs}
    return doc._replace(traits=traits | _nothing(gone), gone=frozenset(gone))


def with_currencies(
    keys: Mapping[str, str | None], account: str, doc: Document, ours: Iterable[str]
) -> Mapping[str, str | None]:
    """*keys*, with those that an organization's MRR has by currency, in *doc* or among *ours*."""
    mrr = keys.get("mrr")
    if not (organization_id(account) and mrr):
        return keys
    pattern = f"(?:mrr|{re.escape(mrr)})([A-Z]{{3}})"
    found = (re.fullmatch(pattern, n) for n in (*doc.traits, *doc.unknown, *ours))
    return {**keys, **{f"mrr{code[1]}": mrr + code[1] for code in found if code}}


def removal(ledger: Ledger, sent: Iterable[str] = ()) -> Document:
    """The document of an account that its last party has left: it removes what is ours.

    *sent* as for `keyed`.
    """
    gone = {*ledger.traits, *sent}
    name = ledger.name or Name(0, "")
    return Document(name, _nothing(gone), {}, gone=frozenset(gone))


def _nothing(keys: Collection[str]) -> dict[str, Known]:
    return dict.fromkeys(sorted(keys))


def difference(doc: Document, ledger: Ledger) -> Change:
    """What a write must carry so that Vitally holds *doc*."""
    had = ledger.has
    # At first contact, what a reading did not show is not there. Later, a key that was
    # never written may be a new one, which the reading did not look for.
    is_first = ledger.read_at and not ledger.missing and not ledger.traits
    absent = None if is_first else ...
    traits = {t: v for t, v in doc.traits.items() if not same(v, had.get(t, absent))}
    return Change(_renamed(doc.name, ledger.name), traits)


def same(value: Known, other: object) -> bool:
    """Whether two values of a trait say the same; instants in whatever form."""
    if value == other or type(value) is not str or type(other) is not str:
        return value == other and isinstance(value, bool) == isinstance(other, bool)
    try:
        return datetime.fromisoformat(value) == datetime.fromisoformat(other)
    except (ValueError, TypeError):
        return False


def whole(doc: Document, ledger: Ledger) -> Change:
    """All of *doc*, for when the ledger may be wrong; the name only if it is ours."""
    kept = ledger.name.text if ledger.name else None
    return Change(_renamed(doc.name, ledger.name) or kept, doc.traits)


def _renamed(new: Name, old: Name | None) -> str | None:
    """A name replaces only one that we wrote and that has no higher rank."""
    if old is None or new.text == old.text or new.rank < old.rank:
        return None
    return new.text


def settled(doc: Document, ledger: Ledger, *, named: Name | None) -> Ledger:
    """The ledger after *doc* was written; *named*: the name that Vitally has from us.

    A removed trait is no longer ours: if somebody else writes it later, it stays.
    """
    ours = {**ledger.traits, **doc.traits}
    kept = {key: v for key, v in ours.items() if key not in doc.gone}
    seen = {key: v for key, v in ledger.seen.items() if key not in doc.traits}
    return Ledger(named, kept, seen, ledger.read_at)


def as_json(ledger: Ledger) -> dict[str, Any]:
    """A ledger in JSON types, without what was seen otherwise."""
    return {"name": list(ledger.name) if ledger.name else None, "traits": ledger.traits}


def from_json(data: Mapping[str, Any], seen: Sequence[Any] = ({}, 0, False)) -> Ledger:
    """The ledger that `as_json` wrote, and what was *seen*: traits, when, missing."""
    name = data.get("name")
    return Ledger(Name(*name[:2]) if name else None, data.get("traits", {}), *seen[:3])
