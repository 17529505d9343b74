"""What an account shall hold, and what a write has to carry for that."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from hashlib import blake2s
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from bridge.config import Config
from bridge.domain.account import MEMBER_OF, Account, unite
from bridge.domain.document import (
    Change,
    Document,
    difference,
    document,
    keyed,
    removal,
    whole,
    with_currencies,
)
from bridge.domain.facts import organization_id
from bridge.domain.instance import Instance, instances
from bridge.domain.traits import Known
from bridge.store.index import row_text
from bridge.store.view import View

ORGANIZATION = MEMBER_OF
"""A trait of this name is not a trait but the id of the account's organization.

It has a request of its own, unless Vitally is known to have the organization. An update
accepts its external id, a creation only Vitally's own id:
https://docs.vitally.io/en/articles/9880654-rest-api-accounts
"""


class Desired(NamedTuple):
    """The account (None: its last party left it), its document and the change.

    *says* maps traits, by our names, to what the facts say. *organization*: where the
    account counts, and is linked ("": nowhere; None: not known, so as before). Of an *idle*
    one nothing is written, whatever differs.
    """

    account: Account | None
    document: Document
    change: Change
    says: Mapping[str, Known]
    organization: str | None = ""
    idle: bool = False

    def row(self, view: View) -> str:
        """The row of the account in the index."""
        return row_text(view, self.document.name.text, self.says, self.document.unknown)

    def joins(self, view: View) -> Mapping[str, str]:
        """What the account has to do with its organization, as `Outcome.joins`."""
        read = [(m.name, m.read, m.catalogue_revision) for m in view.members]
        shared = blake2s(orjson.dumps(read), digest_size=8).hexdigest()
        of = self.organization
        return {"shared": shared} | ({} if of is None else {"organization": of})


def desired_state(view: View, config: Config) -> Desired:
    """Fold what was read of an account; its traits get the keys of `bridge.toml`."""
    ledger, unconfirmed, account = view.ledger, view.unconfirmed_traits, None
    says: Mapping[str, Known] = {}
    of: str | None = ""
    if parties := view.parties:
        account = unite(view.account, parties, view.now)
        doc = document(account, config.policy, view.now)
        says, of = doc.traits, _organization(doc, view, config)
        ours = {*ledger.traits, *unconfirmed}
        keys = with_currencies(config.traits, view.account, doc, ours)
        doc = keyed(_placeable(doc, view), keys, ledger, unconfirmed, config.by_hand)
    else:
        doc = removal(ledger, unconfirmed)
    idle = bool(organization_id(view.account)) and not config.traits.get(ORGANIZATION)
    if view.owes_whole:
        return Desired(account, doc, whole(doc, ledger), says, of, idle)
    if unconfirmed:
        # An unconfirmed write may have arrived, whatever the ledger says.
        traits, seen = (
            {key: value for key, value in known.items() if key not in unconfirmed}
            for known in (ledger.traits, ledger.seen)
        )
        ledger = ledger._replace(traits=traits, seen=seen, read_at=0)
    return Desired(account, doc, difference(doc, ledger), says, of, idle)


def _organization(doc: Document, view: View, config: Config) -> str | None:
    """The organization that *doc* puts the account into, if a party names it as one."""
    if not config.traits.get(ORGANIZATION) or organization_id(view.account):
        return ""
    if ORGANIZATION in doc.unknown:
        return None
    of = doc.traits.get(ORGANIZATION)
    return str(of) if any(member.organization == of for member in view.members) else ""


def _placeable(doc: Document, view: View) -> Document:
    """*doc* without an organization that Vitally is not known to have yet."""
    of = doc.traits.get(ORGANIZATION)
    if of is None or view.organizations.get(str(of), "") is not None:
        return doc
    traits = {name: value for name, value in doc.traits.items() if name != ORGANIZATION}
    return doc._replace(traits=traits, stays=doc.stays | {ORGANIZATION})


def place(view: View, change: Change, *, creates: bool) -> dict[str, str]:
    """What puts the account into its organization in the same request; {}: nothing can."""
    of = change.traits.get(ORGANIZATION)
    id_ = None if of is None else view.organizations.get(str(of))
    if id_ is None or (creates and not id_):
        return {}
    return {ORGANIZATION: id_ if creates else str(of)}


def is_ending(view: View, desired: Desired, config: Config) -> bool:
    """Whether the write ends a customer: its MRR goes, or it becomes churned.

    It must end in Vitally, too: the first write of an account that ended long ago does not.
    """
    had, shall = view.ledger.has, desired.change.traits
    mrr, churned = config.traits.get("mrr"), config.traits.get("churnedAt")
    goes = had.get(mrr or "") is not None and shall.get(mrr or "", 0) is None
    begins = churned in had and had[churned or ""] is None
    return goes or (begins and shall.get(churned or "") is not None)


def instances_of(
    view: View, account: Account | None, config: Config
) -> Mapping[str, Instance] | None:
    """What the custom object shall have of an *account*; None: nothing is sent.

    An organization has none of its own: those of its accounts are shown there.
    """
    if not config.subscription_object or organization_id(view.account):
        return None
    if account is None:
        return {}
    object_id, links = config.subscription_object, config.links
    return instances(account, object_id, config.policy, view.now, links)


def has_work(view: View, desired: Desired) -> bool:
    """Whether there is anything to write; a deletion alone creates no account."""
    if desired.idle:
        return False
    if view.exists or view.unconfirmed_writes:
        return view.owes_whole or not desired.change.is_empty
    return desired.account is not None and not desired.account.deleted_only


def creation_refused(policy: str, account: Account | None) -> str | None:
    """Why an account that Vitally does not have must not be created; None: create it."""
    if account is None:
        return "its last party has left it"
    if policy == "never":
        return "unknown to Vitally, and BRIDGE_CREATE=never"
    if policy == "subscription" and not account.subscriptions:
        return "unknown to Vitally, and no subscription is known yet"
    return None


def rules(config: Config) -> str:
    """A digest of all that decides what the facts of an account come to.

    That is `bridge.toml` and the code. An account that was settled by the same rules
    needs no new look.
    """
    chosen: list[object] = [config.traits, config.policy, config.by_hand]
    if config.subscription_object:
        chosen += [config.subscription_object, config.links]
    text = orjson.dumps(chosen, _plain, orjson.OPT_SORT_KEYS)
    return blake2s(_code() + text, digest_size=4).hexdigest()


@cache
def _code() -> bytes:
    here = Path(__file__)
    files = [here, *sorted(here.parent.glob("domain/*.py"))]
    return blake2s(b"".join(file.read_bytes() for file in files)).digest()


def _plain(value: Any) -> object:
    """*value* in JSON types; a set in one order."""
    if isinstance(value, Fraction):
        return str(value)
    return sorted(value) if isinstance(value, frozenset) else [*value]
