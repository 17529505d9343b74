"""What Vitally shall hold of an account, and what a write has to carry for that."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from bridge.domain.account import Account, Name
from bridge.domain.facts import source_of
from bridge.domain.fold import State
from bridge.domain.money import Unknown
from bridge.domain.policy import STRIPE, Policy
from bridge.domain.subscription import changes_at, dates
from bridge.domain.traits import (
    SILENT,
    STAYS,
    TABLE,
    AccountView,
    Known,
    Result,
    Trait,
)

TRAITS = tuple(TABLE)

ORDER_UNKNOWN = (
    "events of one instant differ, and nothing tells which of them is the last"
)


class Document(NamedTuple):
    """Name and traits that Vitally shall hold; *unknown* says why traits are left out.

    *until* is when it changes without an event (ms), None: it does not. *stays* are
    traits left out although their source is there: they keep what they have. *gone* are
    those of *traits* that we wrote and that nobody tells any more.
    """

    name: Name
    traits: Mapping[str, Known]
    unknown: Mapping[str, str]
    until: int | None = None
    stays: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()


class Change(NamedTuple):
    """What a write carries: document minus ledger. A *name* of None: leave it."""

    name: str | None
    traits: Mapping[str, Known]

    @property
    def is_empty(self) -> bool:
        """Nothing differs, so nothing is sent."""
        return self.name is None and not self.traits


class Ledger(NamedTuple):
    """What Vitally is known to have of what we wrote; *name* None: not ours."""

    name: Name | None = None
    traits: Mapping[str, Known] = {}


def document(account: Account, policy: Policy = STRIPE, now: int = 0) -> Document:
    """Map *account* to its document at *now* (ms); no subscription, no billing traits."""
    found = {trait: value for trait, (_, value) in chosen(account, policy, now).items()}
    known = {t: v for t, v in found.items() if not isinstance(v, Unknown)}
    left_out = {t: v for t, v in found.items() if isinstance(v, Unknown)}
    unknown = {t: v.reason for t, v in left_out.items() if v != STAYS}
    until = _until(account, policy, now)
    name = account.name(policy.order("name", billing=False))
    stays = frozenset(trait for trait, v in left_out.items() if v == STAYS)
    return Document(name, known, unknown, until, stays)


def _until(account: Account, policy: Policy, now: int) -> int | None:
    """When *account* changes by its dates alone (ms)."""
    counting = [
        sub for r in views_of(account, policy, now).values() for sub in r.counting
    ]
    ends = {date for sub in account.subscriptions for date in dates(sub)}
    ends |= {end for sub in counting if (end := changes_at(sub, policy, now))}
    ends |= {account.waits} if account.waits is not None else set()
    return min((end for end in ends if end > now), default=None)


def chosen(
    account: Account, policy: Policy, now: int
) -> dict[str, tuple[str, Known | Unknown]]:
    """Trait -> the source that sets it, and what that one says.

    Of several sources the first with an opinion sets a trait, as *policy* orders them;
    what that one cannot know is left out, and asked of nobody else. STAYS is no opinion.
    """
    said = {
        source: _said(view) for source, view in views_of(account, policy, now).items()
    }
    for trait, by_source in account.told.items():
        for source, state in by_source.items():
            said.setdefault(source, {})[trait] = _word(state)
    found: dict[str, tuple[str, Known | Unknown]] = {}
    for trait in _in_order({name for traits in said.values() for name in traits}):
        order = policy.order(trait, billing=trait in TABLE)
        source = min(
            (s for s in said if trait in said[s]),
            key=lambda s: (said[s][trait] == STAYS, order(s)),
        )
        found[trait] = (source, said[source][trait])
    return found


def _word(state: State) -> Result:
    """What a source tells of a trait as it is."""
    word: Result = state.value["is"]
    if any(rival.value["is"] != word for rival in state.rivals):
        return Unknown(f"{state.fact.party}: {ORDER_UNKNOWN}")
    return word


def _in_order(traits: Iterable[str]) -> list[str]:
    """The billing traits as in their table, then all others by name."""
    ranks = {trait: n for n, trait in enumerate(TABLE)}
    return sorted(traits, key=lambda t: (ranks.get(t, len(ranks)), t))


def views_of(account: Account, policy: Policy, now: int) -> dict[str, AccountView]:
    """The *account* as each source that tells of subscriptions has it."""
    sources = sorted({source_of(sub.party) for sub in account.subscriptions})
    found = account.at(now)
    return {name: AccountView(found.of(name), policy, now) for name in sources}


def _said(view: AccountView) -> dict[str, Result]:
    """The billing traits of one source, without those it has no facts about."""
    possible = view.possible()
    said = ((name, _agreed(trait, possible)) for name, trait in TABLE.items())
    return {name: value for name, value in said if value != SILENT}


def _agreed(trait: Trait, possible: Sequence[AccountView]) -> Result:
    """The trait where it is the same in all *possible* accounts; else unknown."""
    found = {trait.read(view): None for view in possible}
    if len(found) == 1:
        return found.popitem()[0]
    subs = possible[0].account.subscriptions if possible else ()
    unsure = [sub.id for sub in subs if sub.rivals]
    return Unknown(": ".join([*unsure, ORDER_UNKNOWN]))


def keyed(
    doc: Document,
    keys: Mapping[str, str | None],
    ledger: Ledger,
    sent: Iterable[str] = (),
) -> Document:
    """*doc* under the *keys* that traits have in Vitally (None: it is not written).

    What the *ledger* says that we wrote and that no party tells any more goes with it.
    *sent* are keys that a write carried which was never confirmed. A key that no trait
    has (any more) is left alone.
    """
    told = {*doc.traits, *doc.unknown, *doc.stays}
    free = {key for trait, key in keys.items() if key and trait not in told}
    gone = free & {*ledger.traits, *sent}
    named = ((keys.get(trait), value) for trait, value in doc.traits.items())
    traits = {key: value for key, value in named if key}
    return doc._replace(traits={**traits, **_nothing(gone)}, gone=frozenset(gone))


def removal(ledger: Ledger, sent: Iterable[str] = ()) -> Document:
    """The document of an account that its last party has left: all of ours goes.

    *sent* as for `keyed`.
    """
    gone = {*ledger.traits, *sent}
    name = ledger.name or Name(0, "")
    return Document(name, _nothing(gone), {}, gone=frozenset(gone))


def _nothing(keys: Collection[str]) -> dict[str, Known]:
    return dict.fromkeys(sorted(keys))


def difference(doc: Document, ledger: Ledger) -> Change:
    """What a write has to carry so that Vitally holds *doc*."""
    had = ledger.traits
    traits = {
        trait: value
        for trait, value in doc.traits.items()
        if trait not in had or had[trait] != value
    }
    return Change(_renamed(doc.name, ledger.name), traits)


def whole(doc: Document, ledger: Ledger) -> Change:
    """All of *doc*, for when the ledger may be wrong; the name only where it is ours."""
    renamed = _renamed(doc.name, ledger.name)
    kept = ledger.name.text if ledger.name else None
    return Change(renamed or kept, doc.traits)


def _renamed(new: Name, old: Name | None) -> str | None:
    """A name replaces only one that we wrote, and none of a higher rank."""
    if old is None or new.text == old.text or new.rank < old.rank:
        return None
    return new.text


def settled(doc: Document, ledger: Ledger, *, named: Name | None) -> Ledger:
    """The ledger after *doc* was written; *named*: the name that Vitally has from us.

    What is gone is not ours any more: whoever writes it later keeps it.
    """
    ours = {**ledger.traits, **doc.traits}
    return Ledger(named, {key: v for key, v in ours.items() if key not in doc.gone})


def as_json(ledger: Ledger) -> dict[str, Any]:
    """A ledger in JSON types."""
    return {"name": list(ledger.name) if ledger.name else None, "traits": ledger.traits}


def from_json(data: Mapping[str, Any]) -> Ledger:
    """The ledger that `as_json` wrote."""
    name = data.get("name")
    return Ledger(Name(*name) if name else None, data.get("traits", {}))
