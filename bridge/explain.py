"""Knows how an account stands and why, as data that the command line and the console show."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from redis.exceptions import RedisError

from bridge.config import Config
from bridge.domain.account import Party, unite
from bridge.domain.attribution import counts, mrr_parts
from bridge.domain.document import Ledger
from bridge.domain.explanation import explained, facts_of
from bridge.domain.facts import source_of
from bridge.domain.instance import digest_of, instances
from bridge.domain.money import major
from bridge.errors import BridgeError
from bridge.log import where
from bridge.store.inspect import Record, StateReader
from bridge.store.objects import word
from bridge.wording import moment

Data = Mapping[str, Any]

NOTHING_WRITTEN = Ledger()
FAULT = "its numbers cannot be computed, because of an error in the bridge"


def explanation(state: StateReader, name: str, config: Config) -> dict[str, Any] | None:
    """Everything known of an account, or of a party; None: there is neither.

    An `account` of None: the party has none. With `fault`, the numbers cannot be
    computed, and only how the parties stand is told. Raises redis' own errors.
    """
    try:
        return _data(state, name, config)
    except (BridgeError, RedisError):
        raise
    except Exception as error:  # noqa: BLE001 - how it stands is told all the same
        return _fault(state, name, error)


def _data(state: StateReader, name: str, config: Config) -> dict[str, Any] | None:
    standing = state.standing(name)
    if standing and standing.account is None:
        facts = facts_of(state.member(name).party({}))
        return {"account": None, "parties": [standing], "facts": facts}
    id_ = standing.account if standing and standing.account else name
    record = state.record(id_, state.members_of(id_))
    if not (record.members or record.written or record.history):
        return None
    return {
        **worked_out(id_, record.parties, config, record.ledger, record.history),
        **_instances(record, config),
        "parties": record.standings,
        "incomplete": record.incomplete,
        "facts": [fact for party in record.parties for fact in facts_of(party)],
        "tries": record.tries,
        "failed": record.failed if record.tries else "",
        "next_try": record.not_before or None,
        "history": record.history,
    }


def _instances(record: Record, config: Config) -> dict[str, Any]:
    """What became of each subscription that shall be an instance of a custom object."""
    if not config.subscription_object:
        return {}
    now, object_id = time.time_ns() // 1_000_000, config.subscription_object
    whole = unite(record.account, record.parties, now)
    shall = instances(whole, object_id, config.policy, now, config.links)
    had = record.instances.get
    return {"instances": {i: word(had(i), digest_of(shall[i])) for i in shall}}


def worked_out(
    account: str,
    parties: Sequence[Party],
    config: Config,
    ledger: Ledger = NOTHING_WRITTEN,
    history: Sequence[Data] = (),
) -> dict[str, Any]:
    """What an account of *parties* should hold now, what Vitally has, and why.

    *parts* sum up to its MRR; *counts* are those of other tools where they differ.
    """
    now = time.time_ns() // 1_000_000
    whole, policy = unite(account, parties, now), config.policy
    return {
        **explained(whole, ledger, history, config.traits, policy, now, config.by_hand),
        "parts": [
            one._asdict() | {"amount": float(one.amount), "exact": str(one.amount)}
            for one in mrr_parts(whole, policy, now)
        ],
        "counts": [one._asdict() for one in counts(whole, policy, now)],
    }


def _fault(state: StateReader, name: str, error: Exception) -> dict[str, Any]:
    """The state of an account or party whose numbers cannot be computed."""
    names = [name] if state.standing(name) else state.members_of(name)
    return {
        "account": name,
        "fault": f"{FAULT}: {where(error)}",
        "parties": [one for one in map(state.standing, names) if one],
    }


def aloud(cause: Data) -> str:
    """What one cause gives to a trait, as one reads it to somebody."""
    if "unknown" in cause:
        return f"is not known: {cause['unknown']}"
    if "monthly" in cause:
        return _point(cause, 0, cause["currency"], cause["monthly"])
    known = cause.get("value")
    if known and isinstance(known, list) and not isinstance(known[0], str):
        return ", then ".join(_point(cause, *point) for point in known)
    if isinstance(known, dict):
        of = source_of(cause["party"])
        known = [f"{major(Fraction(a), c, of)} {c.upper()}" for c, a in known.items()]
    if isinstance(known, list):
        return f"is {', '.join(known)}" if known else "has no name"
    if isinstance(known, int) and "subscription" in cause:
        return f"gives {moment(known)} UTC"
    return "gives none" if known is None else f"is {known}"


def _point(cause: Data, at: int, code: str | None, paid: str | None) -> str:
    """What is paid from an instant (ms; 0: now) on."""
    words = "does not count"
    if paid is not None:
        amount = major(Fraction(paid), code or "", source_of(cause["party"]))
        words = f"pays {amount} {(code or '').upper()} a month"
    return f"{words} from {moment(at)} UTC on" if at else words
