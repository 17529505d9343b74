"""Which account a party belongs to, and an account as the union of its parties."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from bridge.domain.catalogue import References, Things
from bridge.domain.facts import PartyName, organization, organization_id, source_of
from bridge.domain.fold import State
from bridge.domain.payments import Payer
from bridge.domain.subscription import Subscription, read
from bridge.domain.values import (
    CHECKOUT,
    CUSTOMER,
    DISCOUNT,
    EMAIL,
    LINK,
    NAME,
    ORGANIZATION,
    REFRESH_TWICE,
    REFRESHED,
    SECOND_MS,
    SUBSCRIPTION,
    TO_REFRESH,
    TRAIT,
    VOID,
)

UNNAMED = "neither the customer nor a subscription names an account"

MEMBER_OF = "organizationId"
"""The trait that is not one in Vitally: the organization that an account belongs to."""

LONGEST_CLAIM = 100
"""Most characters of a claim that are shown."""

LONGEST_ID = 500
"""Most characters of an account's id: the limit of a value in Stripe's metadata."""

MERGE_MS = 600_000
"""How long a merged party stays as it was while the party that it became is not known.

One event reports the merge, but only the CRM's API has the data of the other party.
Nobody churned in between.
"""


class Party(NamedTuple):
    """One customer in one source, with its folded things.

    *catalogue* holds the shared things of the source that these refer to. Where it counts
    in an organization, *account* is its own; "": it is the organization itself.
    """

    name: str
    things: Things
    catalogue: Mapping[str, Things] = {}
    account: str = ""

    @property
    def deleted_at(self) -> int | None:
        """When its customer was deleted (ms); None: it was not."""
        return _deleted_at(self.things[CUSTOMER]) if CUSTOMER in self.things else None


class Identity(NamedTuple):
    """The account (Vitally's external id) of a party, or the *reason* why it has none.

    *organization*: the external id of the account's organization; "": it has none.
    """

    account: str | None
    reason: str = ""
    organization: str = ""


class Name(NamedTuple):
    """A possible name of an account; a higher *rank* is a better name."""

    rank: int
    text: str


class Account(NamedTuple):
    """Everything known of one account, over all its parties.

    *told* maps each trait that sources set directly to the latest value from each source.
    *incomplete* has the parties whose first events were not seen. A merged party counts
    as it was before the merge until *waits* (ms); None: there is no such party. An
    organization has its accounts as *parts*.
    """

    id: str
    names: tuple[tuple[str, Name], ...]
    subscriptions: tuple[Subscription, ...]
    incomplete: tuple[str, ...]
    deleted_only: bool
    told: Mapping[str, Mapping[str, State]] = {}
    waits: int | None = None
    payers: tuple[Payer, ...] = ()
    parts: tuple[Account, ...] = ()

    def name(self, order: Callable[[str], Any]) -> Name:
        """The best name that a source gives; *order* is the sort key of sources."""
        best = min(self.names, key=lambda n: (-n[1].rank, order(n[0])), default=None)
        return best[1] if best else Name(0, organization_id(self.id) or self.id)


# --- Whose account a party is -----------------------------------------------------------


def identify(things: Things) -> Identity:
    """The account of an operator's link, else the one named by things of the best rank.

    A thing's `account` has the rank of the rule that found it (`rank`; without one the
    customer comes before all others). If things of one rank disagree, the party is
    held: nothing is guessed. A value that a stranger could have written (`claims`) names
    no account; it is only shown to whoever can link the party. A customer that is an
    organization and no account belongs to the account that this is here.
    """
    of, is_head, _ = membership(things)
    if _is_linked(things):
        return _usable(str(things[LINK].value["account"]), of)
    if is_head:
        return Identity(organization(of))
    named: dict[int, set[str]] = {}
    for thing, state in things.items():
        for one in (state, *state.rivals):
            value = one.value
            if thing != LINK and value.get("account"):
                rank = value.get("rank", 0 if thing == CUSTOMER else 1)
                named.setdefault(rank, set()).add(str(value["account"]))
    if not named:
        return Identity(None, UNNAMED + _claimed(things))
    best = sorted(named[min(named)])
    if len(best) > 1:
        listed = ", ".join(best)
        return Identity(None, f"its subscriptions name different accounts: {listed}")
    return _usable(best[0], of)


def membership(things: Things) -> tuple[str, bool, State | None]:
    """The organization of a customer, whether it is that one and no account, and who says so.

    "": none, or events of one instant name different ones. Whom a person has linked to an
    account is one.
    """
    for state in filter(None, map(things.get, (ORGANIZATION, CUSTOMER))):
        values = [one.value for one in (state, *state.rivals)]
        named = {(str(v.get("organization", "")), "head" in v) for v in values}
        of, is_head = named.pop()
        if of and not named and _usable(of).account is not None:
            return of, is_head and not _is_linked(things), state
    return "", False, None


def _is_linked(things: Things) -> bool:
    return LINK in things and bool(things[LINK].value.get("account"))


def _claimed(things: Things) -> str:
    claims = {str(s.value["claims"]) for s in things.values() if s.value.get("claims")}
    if not claims:
        return ""
    listed = ", ".join(claim[:LONGEST_CLAIM] for claim in sorted(claims))
    return f"; its buyer, who may write what he likes, claims {listed}: link it if so"


def _usable(account: str, of: str = "") -> Identity:
    if len(account) > LONGEST_ID:
        return Identity(None, f"{account[:50]}… is too long for an account's id")
    if account in {".", ".."} or not account.isprintable():
        return Identity(None, f"{account!r} cannot be an account's id in a URL")
    if organization_id(account):
        return Identity(None, f"{account} is how organizations are named, not accounts")
    return Identity(account, "", of)


# --- The union of parties -----------------------------------------------------------------


def unite(id_: str, parties: Collection[Party], now: int | None = None) -> Account:
    """Make one account of its *parties*; the subscriptions of all of them add up.

    A deleted party does not affect the account's name and other traits unless all are
    deleted; but a trait that only it has set stays while the party may come back. A
    merged party counts as before at *now* (ms; None: long after everything) while the
    party that it became is not known yet. What the accounts of an organization are
    called, and their other traits, are not its own.
    """
    things = {party.name: party.things for party in parties}
    until = {name: _waits(own, things) for name, own in things.items()}
    waiting = {n: at for n, at in until.items() if now is not None and now < at}
    ordered = [
        p._replace(things=_not_deleted(p.things)) if p.name in waiting else p
        for p in sorted(parties, key=lambda p: p.name)
    ]
    here = [p for p in ordered if p.deleted_at is None] or ordered
    away = [p for p in ordered if p not in here]
    may_come_back = [p for p in away if not p.things[CUSTOMER].fact.stamp.final]
    named = (p for p in here if _speaks(p, id_))
    names = ((source_of(p.name), name) for p in named for name in _names(p))
    return Account(
        id_,
        tuple(names),
        tuple(sub for p in ordered for sub in subscriptions(p)),
        tuple(p.name for p in ordered if is_incomplete(p.things)),
        not any(_was_alive(p.things) for p in ordered),
        {**_told(may_come_back, id_), **_told(here, id_)},
        min(waiting.values(), default=None),
        tuple(Payer(p.name, p.things) for p in ordered),
        tuple(_parts(parties, now)) if organization_id(id_) else (),
    )


def _speaks(party: Party, account: str) -> bool:
    """Whether *party* is more than an account of the organization *account*: its head."""
    id_ = PartyName.parse(party.name).id
    return not party.account or id_ == organization_id(account)


def _parts(parties: Iterable[Party], now: int | None) -> Iterator[Account]:
    """The accounts of an organization, and itself as one, where it has subscriptions."""
    by_account: dict[str, list[Party]] = {}
    for party in parties:
        by_account.setdefault(party.account, []).append(party._replace(account=""))
    for name, own in sorted(by_account.items()):
        yield unite(name, own, now)


def is_incomplete(things: Things) -> bool:
    """Whether the creation of a party was never seen."""
    return CUSTOMER not in things or not things[CUSTOMER].creation_seen


def _deleted_at(customer: State) -> int | None:
    return customer.fact.stamp.at if customer.value.get("deleted") else None


def _was_alive(things: Things) -> bool:
    """Whether anything other than the customer's deletion was ever seen."""
    return any(
        thing.startswith((SUBSCRIPTION, TRAIT, NAME, EMAIL, DISCOUNT, CHECKOUT))
        or (thing == CUSTOMER and state.seen != {"deleted"})
        for thing, state in things.items()
    )


def _names(party: Party) -> Iterator[Name]:
    """The name of a party, else its e-mail address, if it has either."""
    value: dict[str, str] = {}
    for thing in (NAME, EMAIL, CUSTOMER):
        if thing in party.things:
            value |= {k: v for k, v in party.things[thing].value.items() if v}
    if "name" in value:
        yield Name(2, value["name"])
    elif "email" in value:
        yield Name(1, value["email"])


def _told(parties: Iterable[Party], account: str) -> dict[str, dict[str, State]]:
    """Trait -> source -> the latest value over the source's parties.

    Values of one instant are rivals: any of them may be the latest.
    """
    told: dict[str, dict[str, State]] = {}
    for party in (p for p in parties if _speaks(p, account)):
        source = source_of(party.name)
        for thing, state in [*party.things.items(), *_placed(party)]:
            if not (thing.startswith(TRAIT) and {"is", "bad"} & state.value.keys()):
                continue
            by_source = told.setdefault(thing.removeprefix(TRAIT), {})
            latest = by_source.setdefault(source, state)
            if latest.fact.stamp < state.fact.stamp:
                by_source[source] = state
            elif latest is not state and latest.fact.stamp == state.fact.stamp:
                rivals = (*latest.rivals, state, *state.rivals)
                by_source[source] = latest._replace(rivals=rivals)
    return told


def _placed(party: Party) -> Iterator[tuple[str, State]]:
    """The organization of an account, as a trait that its source sets."""
    of, is_head, state = membership(party.things)
    if state is not None and not (is_head or party.account):
        fact = state.fact._replace(value={"is": of})
        yield TRAIT + MEMBER_OF, state._replace(fact=fact, rivals=())


def subscriptions(party: Party) -> Iterator[Subscription]:
    """Every subscription of *party*, completed by what other things say about it.

    If it was only ever void, or has no status, it is not a subscription. If it is not
    known which event is the last, of it or of the customer, it has rivals.
    """
    references = References(party.things, party.catalogue)
    customer = party.things.get(CUSTOMER)
    ends = [*map(_deleted_at, (customer, *customer.rivals))] if customer else [None]
    for thing, state in sorted(party.things.items()):
        if not thing.startswith(SUBSCRIPTION):
            continue
        if state.seen == {VOID} or "status" not in state.value:
            continue
        first, *rivals = (
            read(thing.removeprefix(SUBSCRIPTION), whole, end)
            for one in (state, *state.rivals)
            for whole in [references.completed(thing, one)]
            for end in dict.fromkeys(ends)
        )
        yield first._replace(rivals=tuple(rivals)) if rivals else first


# --- Merged parties -------------------------------------------------------------------


def _waits(things: Things, others: Mapping[str, Things]) -> int:
    """Until when (ms) a merged party of *things* stays as it was; 0: no longer.

    *others* maps the names of all parties of its account to their things. If it paid,
    the party that it became must have been refreshed since the merge.
    """
    if CUSTOMER not in things or "into" not in things[CUSTOMER].value:
        return 0
    merged, asked = things[CUSTOMER], things.get(TO_REFRESH)
    since = merged.fact.stamp.at
    if asked is not None and asked.value.get(REFRESH_TWICE):
        since = min(since, asked.fact.stamp.at)
    became = others.get(merged.value["into"])
    if became is not None:
        paid = any(thing.startswith(SUBSCRIPTION) for thing in things)
        refreshed = became[REFRESHED].fact.stamp.at if REFRESHED in became else 0
        # In the second of the merge it counts as later: HubSpot has whole seconds.
        if not paid or refreshed >= since - SECOND_MS:
            return 0
    return since + MERGE_MS


def _not_deleted(things: Things) -> Things:
    """The *things* of a party as they were before it was merged."""
    customer = things[CUSTOMER]
    value = {k: v for k, v in customer.value.items() if k != "deleted"}
    alive = customer._replace(fact=customer.fact._replace(value=value))
    return {**things, CUSTOMER: alive}
