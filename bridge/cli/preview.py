"""What a customer would look like in Vitally, were what was read of it taken in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from redis import Redis

from bridge.config import Config
from bridge.domain.account import identify, unite
from bridge.domain.document import Document, difference, document, keyed
from bridge.domain.facts import Fact
from bridge.domain.fold import History, fold
from bridge.store.inspect import Look, Record


def preview(
    redis: Redis, config: Config, party: str, facts: Sequence[Fact], now: int
) -> list[str]:
    """Return the lines for *party*: what its account would hold, and what differs.

    The other parties of the account count as far as the bridge knows them.
    """
    look = Look(redis)
    member = look.member(party)
    history = History([*member.history.facts, *facts], member.history.retained)
    member = member._replace(history=history, things=fold(history))
    account, reason = identify(member.things)
    if account is None:
        return [f"{party}: held, {reason}"]
    record = look.record(account, look.members_of(account))
    others = [one for one in record.parties if one.name != party]
    whole = unite(account, [*others, member.party(record.catalogues)], now)
    doc = document(whole, config.policy, now)
    doc = keyed(doc, config.traits, record.ledger)
    head = f"{party}: account {account}, {doc.name.text!r}"
    return [head, *_lines(doc, record)]


def _lines(doc: Document, record: Record) -> Iterator[str]:
    change = difference(doc, record.ledger)
    for key, value in doc.traits.items():
        written = record.ledger.traits.get(key, "not written yet")
        differs = f"  <- {_shown(written)}" if key in change.traits else ""
        yield f"  {key} = {_shown(value)}{differs}"
    for trait, reason in doc.unknown.items():
        yield f"  {trait} is left out: {reason}"
    if not (doc.traits or doc.unknown):
        yield "  no subscription, so no traits"


def _shown(value: object) -> object:
    return "none" if value is None else value
