"""What an account shall be in Vitally, and what a write has to carry for it; pure."""

from __future__ import annotations

from typing import NamedTuple

from bridge.config import Config
from bridge.domain.account import Account, unite
from bridge.domain.document import (
    Change,
    Document,
    difference,
    document,
    keyed,
    removal,
    whole,
)
from bridge.store.view import View


class Target(NamedTuple):
    """The account (None: its last party has left it), its document and the change."""

    account: Account | None
    document: Document
    change: Change


def aim(view: View, config: Config) -> Target:
    """Fold what was read of an account, under the keys that `bridge.toml` gives."""
    if not view.parties:
        doc = removal(view.ledger, view.sent)
        return Target(None, doc, _change(view, doc))
    account = unite(view.account, view.parties, view.now)
    doc = document(account, config.policy, view.now)
    doc = keyed(doc, config.traits, view.ledger, view.sent)
    return Target(account, doc, _change(view, doc))


def has_work(view: View, target: Target) -> bool:
    """Whether there is anything to write; a deletion alone makes no account."""
    if view.exists or view.doubt:
        return view.owes_whole or not target.change.is_empty
    return target.account is not None and not target.account.deleted_only


def _change(view: View, doc: Document) -> Change:
    return whole(doc, view.ledger) if view.owes_whole else difference(doc, view.ledger)
