"""Whose account a party is, and what an account is: the union of its parties."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from bridge.domain.catalogue import Things, begun, completed, customer_discounts
from bridge.domain.facts import source_of
from bridge.domain.fold import State
from bridge.domain.subscription import Subscription, at, read
from bridge.domain.values import (
    CHECKOUT,
    CUSTOMER,
    DISCOUNT,
    EMAIL,
    ENDED,
    LINK,
    NAME,
    REFRESH_TWICE,
    REFRESHED,
    SUBSCRIPTION,
    TO_REFRESH,
    TRAIT,
    VOID,
)

UNNAMED = "neither the customer nor a subscription names an account"
LONGEST_CLAIM = 100
"""Characters of a claim that are shown."""


LONGEST_ID = 500
"""Characters of an account's id: what a value of Stripe's metadata may have."""


class Party(NamedTuple):
    """One customer in one source: its folded things.

    *catalogue* holds what these refer to: things of the source that many use.
    """

    name: str
    things: Mapping[str, State]
    catalogue: Mapping[str, Mapping[str, State]] = {}


class Identity(NamedTuple):
    """The account (Vitally's external id) of a party, or the reason it has none."""

    account: str | None
    reason: str = ""


class Name(NamedTuple):
    """What an account may be called; a higher *rank* is a better name."""

    rank: int
    text: str


class Account(NamedTuple):
    """Everything known of one account, over all its parties.

    *told* maps traits that sources tell as they are to the source's latest word;
    *incomplete* holds the parties that were first met in mid-life. Until *waits* (ms) a
    party that became another's is taken as it was, None: there is none.
    """

    id: str
    names: tuple[tuple[str, Name], ...]
    subscriptions: tuple[Subscription, ...]
    incomplete: tuple[str, ...]
    deleted_only: bool
    told: Mapping[str, Mapping[str, State]] = {}
    waits: int | None = None

    def name(self, order: Callable[[str], Any]) -> Name:
        """The best name that a source gives, *order* telling whose comes first."""
        if not self.names:
            return Name(0, self.id)
        top = max(name.rank for _, name in self.names)
        best = (pair for pair in self.names if pair[1].rank == top)
        return min(best, key=lambda pair: order(pair[0]))[1]

    def of(self, source: str) -> Account:
        """The part of it that one source knows."""
        mine = (s for s in self.subscriptions if source_of(s.party) == source)
        return self._replace(subscriptions=tuple(mine))

    def at(self, now: int) -> Account:
        """The account as the dates in it make it at *now* (ms)."""
        return self._replace(
            subscriptions=tuple(at(s, now) for s in self.subscriptions)
        )


def identify(things: Mapping[str, State]) -> Identity:
    """An operator's link, else the account that the things of the best rank name.

    A thing's `account` has the rank of the rule that found it (`rank`; without one the
    customer comes before all others). Things of one rank that disagree leave the party
    held: nothing is guessed. What a stranger could have written (`claims`) names none; it
    is told to whoever can link the party.
    """
    if LINK in things and things[LINK].value.get("account"):
        return _usable(str(things[LINK].value["account"]))
    named: dict[int, set[str]] = {}
    for thing, state in things.items():
        for value in (one.value for one in (state, *state.rivals)):
            if thing != LINK and value.get("account"):
                rank = value.get("rank", 0 if thing == CUSTOMER else 1)
                named.setdefault(rank, set()).add(str(value["account"]))
    if not named:
        return Identity(None, UNNAMED + _claimed(things))
    best = named[min(named)]
    if len(best) > 1:
        listed = ", ".join(sorted(best))
        return Identity(None, f"its subscriptions name different accounts: {listed}")
    return _usable(best.pop())


def _claimed(things: Mapping[str, State]) -> str:
    claims = {str(s.value["claims"]) for s in things.values() if s.value.get("claims")}
    if not claims:
        return ""
    listed = ", ".join(claim[:LONGEST_CLAIM] for claim in sorted(claims))
    return f"; its buyer, who may write what he likes, claims {listed}: link it if so"


def _usable(account: str) -> Identity:
    if len(account) > LONGEST_ID:
        return Identity(None, f"{account[:50]}… is too long for an account's id")
    if account in {".", ".."} or not account.isprintable():
        return Identity(None, f"{account!r} cannot be an account's id in a URL")
    return Identity(account)


def unite(id_: str, parties: Collection[Party], now: int | None = None) -> Account:
    """Make one account of its *parties*; two customers of it add up.

    Who was deleted has no say in its name and in what is told as it is, unless nobody
    else is there; what it told, and nobody else does, stands while it may come back.
    One that was merged goes on as it was at *now* (ms; None: long after all of it)
    while the one that it became is not known yet.
    """
    things = {party.name: party.things for party in parties}
    until = {name: waits(own, things) for name, own in things.items()}
    waiting = {n: at for n, at in until.items() if now is not None and now < at}
    ordered = sorted(
        (
            p._replace(things=as_it_was(p.things)) if p.name in waiting else p
            for p in parties
        ),
        key=lambda p: p.name,
    )
    here = [party for party in ordered if _deleted_at(party) is None] or ordered
    away = [p for p in ordered if p not in here and not _is_gone_for_ever(p)]
    named = [(source_of(party.name), _name(party)) for party in here]
    return Account(
        id_,
        tuple((source, name) for source, name in named if name),
        tuple(sub for party in ordered for sub in subscriptions(party)),
        tuple(party.name for party in ordered if is_incomplete(party.things)),
        not any(_seen_alive(party) for party in ordered),
        {**_told(away), **_told(here)},
        min(waiting.values(), default=None),
    )


def _deleted_at(party: Party) -> int | None:
    """When its customer was deleted (ms); None: it was not."""
    customer = party.things.get(CUSTOMER)
    return _gone_at(customer) if customer else None


def _gone_at(customer: State) -> int | None:
    return customer.fact.stamp.at if customer.value.get("deleted") else None


def _is_gone_for_ever(party: Party) -> bool:
    return party.things[CUSTOMER].fact.stamp.final


def _told(parties: Iterable[Party]) -> dict[str, dict[str, State]]:
    """Trait -> source -> the latest word over the source's parties.

    The words of one instant are rivals of one another.
    """
    found: dict[str, dict[str, State]] = {}
    for party in parties:
        source = source_of(party.name)
        for thing, state in party.things.items():
            if thing.startswith(TRAIT) and "is" in state.value:
                by_source = found.setdefault(thing.removeprefix(TRAIT), {})
                before = by_source.get(source)
                if before is None or before.fact.stamp < state.fact.stamp:
                    by_source[source] = state
                elif before.fact.stamp == state.fact.stamp:
                    rivals = (*before.rivals, state, *state.rivals)
                    by_source[source] = before._replace(rivals=rivals)
    return found


def is_incomplete(things: Mapping[str, State]) -> bool:
    """Whether a party was met in mid-life: its creation was never seen."""
    customer = things.get(CUSTOMER)
    return customer is None or not customer.creation_seen


def _seen_alive(party: Party) -> bool:
    """Whether anything but the customer's deletion was ever seen."""
    return any(
        thing.startswith((SUBSCRIPTION, TRAIT, NAME, EMAIL, DISCOUNT, CHECKOUT))
        or (thing == CUSTOMER and state.seen != {"deleted"})
        for thing, state in party.things.items()
    )


def _name(party: Party) -> Name | None:
    things = (party.things[t] for t in (NAME, EMAIL, CUSTOMER) if t in party.things)
    value = {k: v for state in things for k, v in state.value.items() if v}
    if value.get("name"):
        return Name(2, value["name"])
    return Name(1, value["email"]) if value.get("email") else None


def subscriptions(party: Party) -> list[Subscription]:
    """Every subscription of *party*, with all that others tell of it.

    One that was never anything but void, or does not say its status, is none.
    """
    told = begun(party.things)
    discounts = customer_discounts(party.things, party.catalogue, told)
    customer = party.things.get(CUSTOMER)
    ends = [*map(_gone_at, (customer, *customer.rivals))] if customer else [None]

    def possible(thing: str) -> Iterator[Subscription]:
        state = party.things[thing]
        for one in (state, *state.rivals):
            whole = completed(thing, one, party.things, party.catalogue, told)
            for end in dict.fromkeys(ends):
                yield read(thing.removeprefix(SUBSCRIPTION), whole, end, discounts)

    found: list[Subscription] = []
    for thing in sorted(party.things):
        if thing.startswith(SUBSCRIPTION) and _is_one(party.things[thing]):
            first, *rivals = possible(thing)
            found.append(first._replace(rivals=tuple(rivals)))
    return found


def _is_one(state: State) -> bool:
    return state.seen != {VOID} and "status" in state.value


def status(account: Account) -> str:
    """The strongest word over the subscriptions; there must be one."""
    words = {sub.status for sub in account.subscriptions}
    for word in ("past_due", "active", "trialing", "paused", "incomplete", "unpaid"):
        if word in words:
            return word
    was_live = any(sub.was_live for sub in account.subscriptions)
    return "churned" if was_live else "unconverted"


def churned_at(account: Account) -> int | None:
    """When the last subscription that ever was live ended (ms); None: not churned."""
    going = [s for s in account.subscriptions if s.status not in ENDED | {"unpaid"}]
    if going:
        return None
    ends = (s.ended_at for s in account.subscriptions if s.was_live)
    return max((end for end in ends if end is not None), default=None)


HEIR_MS = 600_000
"""How long a merged party goes on as it was while the one that it became is not known:
a CRM tells of a merge in one event, and what the other holds only by its API. Nobody has
churned in between."""

SECOND_MS = 1000
"""A refresh in the second of the merge came after it: HubSpot tells whole seconds."""


def waits(things: Things, everybody: Mapping[str, Things]) -> int:
    """Until when (ms) a merged party of *things* goes on as it was; 0: not any more.

    *everybody* has the things of all parties of its account, by name. If it paid, what
    it became must have been refreshed since.
    """
    customer, asked = things.get("customer"), things.get(TO_REFRESH)
    if customer is None or "into" not in customer.value:
        return 0
    since = customer.fact.stamp.at
    if asked is not None and asked.value.get(REFRESH_TWICE):
        since = min(since, asked.fact.stamp.at)
    heir = everybody.get(customer.value["into"])
    pays = any(thing.startswith(SUBSCRIPTION) for thing in things)
    if heir is not None and (not pays or _was_refreshed(heir, since - SECOND_MS)):
        return 0
    return since + HEIR_MS


def _was_refreshed(things: Things, since: int) -> bool:
    return REFRESHED in things and things[REFRESHED].fact.stamp.at >= since


def as_it_was(things: Things) -> Things:
    """The *things* of a party as if it had not been merged yet."""
    customer = things["customer"]
    value = {k: v for k, v in customer.value.items() if k != "deleted"}
    alive = customer._replace(fact=customer.fact._replace(value=value))
    return {**things, "customer": alive}
