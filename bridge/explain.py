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
from bridge.domain.document import TRAITS, Ledger, same
from bridge.domain.explanation import explained, facts_of
from bridge.domain.facts import READ, source_of
from bridge.domain.instance import digest_of, instances
from bridge.domain.money import major
from bridge.errors import BridgeError
from bridge.log import where
from bridge.store.inspect import Record, StateReader
from bridge.store.objects import word
from bridge.wording import moment

Data = Mapping[str, Any]

LEFT = {"differs": False, "gone": False, "because": (), "left": True}
"""What a row says of a key that is of no trait any more: its value stays in Vitally."""

FAULT = "its numbers cannot be computed, because of an error in the bridge"


def explanation(state: StateReader, name: str, config: Config) -> dict[str, Any] | None:
    """Everything known of an account, or of a party; None: there is neither.

    An `account` of None: the party has none. With `fault`, the numbers cannot be
    computed, and only how the parties stand is told. Raises redis' own errors.
    """
    standing = state.standing(name)
    account = standing.account if standing else name
    try:
        if account is None:
            facts = facts_of(state.member(name).party({}))
            return {"account": None, "parties": [standing], "facts": facts}
        return _data(state, account, config)
    except (BridgeError, RedisError):
        raise
    except Exception as error:  # noqa: BLE001 - how it stands is told all the same
        known = account or name
        names = state.members_of(known) or [name]
        return {
            "account": known,
            "currency": state.currency(known),
            "fault": f"{FAULT}: {where(error)}",
            "parties": [*filter(None, state.standings(names))],
            "history": state.histories([known])[known],
        }


def _data(state: StateReader, account: str, config: Config) -> dict[str, Any] | None:
    record = state.record(account, state.members_of(account))
    if not (record.members or record.written or record.history):
        return None
    return {
        **worked_out(account, record.parties, config, record.ledger, record.history),
        **_instances(record, config),
        "missing": record.written and record.ledger.missing,
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
    ledger: Ledger | None = None,
    history: Sequence[Data] = (),
) -> dict[str, Any]:
    """What an account of *parties* should hold now, what Vitally has, and why.

    *parts* sum up to its MRR; *counts* are those of other tools where they differ. There
    is one of *rows* for each trait that is known, unknown for a reason, or in Vitally; and
    for each key that was of a trait, before `bridge.toml` renamed it or switched it off.
    """
    now = time.time_ns() // 1_000_000
    whole, policy, keys = unite(account, parties, now), config.policy, config.traits
    had = ledger or Ledger()
    found = explained(whole, had, history, keys, policy, now, config.by_hand)
    known = {**found["facts_say"], **found["unknown"], **found["traits"]}
    names = dict.fromkeys((*TRAITS, *known))
    left = had.has.keys() - {about["key"] for about in found["traits"].values()}
    rows = [_row(found, t, keys.get(t)) for t in names if t in known]
    rows += [{"trait": k, "key": k, "vitally": had.has[k]} | LEFT for k in sorted(left)]
    return {
        **found,
        "currency": _currency(found, policy.base),
        "rows": rows,
        "parts": [
            one._asdict() | {"amount": float(one.amount), "exact": str(one.amount)}
            for one in mrr_parts(whole, policy, now)
        ],
        "counts": [one._asdict() for one in counts(whole, policy, now)],
    }


def _currency(data: Data, base: str | None) -> str | None:
    """The currency of the MRR: the one of all that counts, else the *base* or Vitally's."""
    codes = {cause.get("currency") for cause in data["because"].get("mrr", ())}
    code = codes.pop() if len(codes) == 1 else base
    code = code or data["traits"].get("billingCurrency", {}).get("vitally")
    return str(code).upper() if code else None


def _row(data: Data, trait: str, key: str | None) -> dict[str, Any]:
    """All of a trait; `ours` is what the bridge had written before others changed it."""
    causes = data["because"].get(trait, ())
    row = {"trait": trait, "key": key, **data["traits"].get(trait, {})}
    row["because"] = [{**cause, "aloud": aloud(cause)} for cause in causes]
    row |= {"unknown": data["unknown"][trait]} if trait in data["unknown"] else {}
    key, written = row["key"], {} if data["missing"] else data["written"]
    row |= {"differs": key in data["to_write"], "gone": key in data["gone"]}
    if key in written and not same(written[key], row.get("vitally", written[key])):
        row["ours"] = written[key]
    return row


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


def reading(event: str) -> str:
    """What an *event* is that stands for a reading of an API; "": it is none."""
    word, _, at = event.partition(":")
    is_one = word == READ and at.isdecimal()
    return f"read from the API at {moment(int(at))} UTC" if is_one else ""


def _point(cause: Data, at: int, code: str | None, paid: str | None) -> str:
    """What is paid from an instant (ms; 0: now) on."""
    words = "does not count"
    if paid is not None:
        amount = major(Fraction(paid), code or "", source_of(cause["party"]))
        words = f"pays {amount} {(code or '').upper()} a month"
    return f"{words} from {moment(at)} UTC on" if at else words
