"""Whose account a party is, and what an account is: the union of its parties."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from bridge.domain.fold import State
from bridge.domain.subscription import ENDED, Subscription, read

CUSTOMER = "customer"
LINK = "link"
SUBSCRIPTION = "subscription:"


class Party(NamedTuple):
    """One customer in one source: its folded things."""

    name: str
    things: Mapping[str, State]


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

    *customers* holds what was last known of each; *incomplete* the parties that
    were first met in mid-life.
    """

    id: str
    name: Name
    subscriptions: tuple[Subscription, ...]
    incomplete: tuple[str, ...]
    deleted_only: bool


def identify(things: Mapping[str, State]) -> Identity:
    """An operator's link, else the customer's id, else the subscriptions' if one.

    Subscriptions that disagree leave the party held: nothing is guessed.
    """
    for thing in (LINK, CUSTOMER):
        known = things[thing].value.get("account") if thing in things else None
        if known:
            return _usable(str(known))
    named = {
        str(state.value["account"])
        for thing, state in things.items()
        if thing.startswith(SUBSCRIPTION) and state.value.get("account")
    }
    if len(named) == 1:
        return _usable(named.pop())
    if named:
        listed = ", ".join(sorted(named))
        return Identity(None, f"its subscriptions name different accounts: {listed}")
    return Identity(None, "neither the customer nor a subscription names an account")


def _usable(account: str) -> Identity:
    if account in {".", ".."} or not account.isprintable():
        return Identity(None, f"{account!r} cannot be an account's id in a URL")
    return Identity(account)


def unite(id_: str, parties: Iterable[Party]) -> Account:
    """Make one account of its *parties*; two customers of it add up."""
    ordered = sorted(parties, key=lambda p: p.name)
    names = [_name(party) for party in ordered]
    best = max((n for n in names if n), key=lambda n: n.rank, default=Name(0, id_))
    return Account(
        id_,
        best,
        tuple(sub for party in ordered for sub in _subscriptions(party)),
        tuple(party.name for party in ordered if is_incomplete(party)),
        not any(_seen_alive(party) for party in ordered),
    )


def is_incomplete(party: Party) -> bool:
    """Whether the party was met in mid-life: its creation was never seen."""
    customer = party.things.get(CUSTOMER)
    return customer is None or not customer.born


def _seen_alive(party: Party) -> bool:
    """Whether anything but the customer's deletion was ever seen."""
    return any(
        thing.startswith(SUBSCRIPTION)
        or (thing == CUSTOMER and state.seen != {"deleted"})
        for thing, state in party.things.items()
    )


def _name(party: Party) -> Name | None:
    if CUSTOMER not in party.things:
        return None
    value = party.things[CUSTOMER].value
    if value.get("name"):
        return Name(2, value["name"])
    return Name(1, value["email"]) if value.get("email") else None


def _subscriptions(party: Party) -> list[Subscription]:
    customer = party.things.get(CUSTOMER)
    gone = customer is not None and bool(customer.value.get("deleted"))
    deleted_at = customer.fact.stamp.at if customer and gone else None
    discounts = customer.value.get("discounts", ()) if customer else ()
    return [
        read(thing.removeprefix(SUBSCRIPTION), state, deleted_at, discounts)
        for thing, state in sorted(party.things.items())
        if thing.startswith(SUBSCRIPTION)
    ]


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
