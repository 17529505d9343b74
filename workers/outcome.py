"""What each end of a job means for the account's record; pure, nothing is done here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import orjson

from bridge.domain.account import Account
from bridge.domain.document import Change, Document, settled
from bridge.errors import (
    VitallyError,
    VitallyKeyError,
    VitallyLimitedError,
    VitallyRefusedError,
    VitallyUnavailableError,
)
from bridge.store.view import Outcome, View
from workers import retry
from workers.write import Written, WrongAddressError

FORGOTTEN = ("tries", "since", "not_before")
"""Fields of an account that a success takes away."""

CERTAIN = ("doubt", "confirm_at", "sent")
"""Fields of an account that certainty about its ledger takes away."""


def unconfirmed(view: View, doc: Document, *, sure: bool = True) -> list[str]:
    """Traits that an unconfirmed write may have brought, once *doc* was written.

    Those that *doc* says nothing of: should nobody tell them any more, they are removed.
    While it is not *sure* that no earlier write is on its way, what is gone may come
    back.
    """
    settled_ = {*doc.traits} if sure else {*doc.traits} - doc.gone
    return sorted({*view.unconfirmed_traits} - settled_)


class Decision(NamedTuple):
    """What a failed write leads to: *park* it, or wait *delay_ms* and note *fields*.

    *pause_ms* holds back everybody's writes, *breaker* stops them with its reason.
    """

    word: str
    delay_ms: int = 0
    fields: Mapping[str, str] = {}
    pause_ms: int = 0
    breaker: str = ""
    park: Outcome | None = None


def unchanged(view: View, doc: Document) -> Outcome:
    """Nothing differs; the events are settled without a request."""
    gone = ("ledger",) if view.is_vacant else ()
    return Outcome(
        "unchanged",
        unset=(*FORGOTTEN, *gone),
        unknown=doc.unknown,
        later_ms=_next_look(view, doc, view.confirm_in),
        known=view.exists,
    )


def dry(view: View, change: Change) -> Outcome:
    """All but the write."""
    return Outcome("unchanged", history=_line(view, "dry run", change))


def held(view: View, reason: str) -> Outcome:
    """Vitally does not have the account: look again with the next event, or daily."""
    if view.is_vacant:
        return Outcome("unchanged", unset=(*FORGOTTEN, *CERTAIN, "ledger"))
    return Outcome(
        "held",
        "held",
        reason,
        unset=(*FORGOTTEN, *CERTAIN),
        later_ms=retry.DAILY_MS,
    )


def written(view: View, doc: Document, done: Written) -> Outcome:
    """Vitally confirmed: the ledger is the document now."""
    pace = retry.next_pace(view.pace, view.wrote_at, view.now)
    fields = {"pace": str(pace), "wrote_at": str(view.now)}
    later = _still_owed(view)
    unset = [*FORGOTTEN, *(() if later else CERTAIN)]
    if later:
        fields |= {"doubt": "1", "confirm_at": str(view.now + later)}
    if left := unconfirmed(view, doc, sure=not later):
        unset = [name for name in unset if name != "sent"]
        fields["sent"] = orjson.dumps(left).decode()
    vacant = view.is_vacant
    if vacant:
        unset.append("ledger")
    return Outcome(
        done.word,
        ledger=None if vacant else settled(doc, view.ledger, named=done.name),
        unset=unset,
        fields=fields,
        unknown=doc.unknown,
        history=_line(view, done.word, done.change),
        writes=done.requests,
        later_ms=_next_look(view, doc, later),
        known=not vacant,
        made_good=view.lost_lease_writes,
    )


def _next_look(view: View, doc: Document, owed: int) -> int:
    """Milliseconds until a look without an event: a debt, or time itself matters."""
    change = max(1, doc.until - view.now) if doc.until is not None else 0
    return min(filter(None, (owed, change)), default=0)


def _still_owed(view: View) -> int:
    """Milliseconds until one more whole write; 0: the ledger is certain now.

    A request that was not confirmed may still be on its way for a while.
    """
    if view.unconfirmed_writes > 1 or view.lost_lease_writes:
        return retry.CONFIRM_MS
    return 0 if view.owes_whole else view.confirm_in


def not_sent(view: View) -> dict[str, str]:
    """What to note where a request was marked and surely did not arrive."""
    sent = orjson.dumps(view.unconfirmed_traits).decode()
    return {"doubt": str(view.unconfirmed_writes), "sent": sent}


def failed(error: VitallyError, view: View, chance: float) -> Decision:
    """The retry table: which failure leads to what."""
    undone = not_sent(view)
    match error:
        case VitallyLimitedError():
            pause = retry.after_limit(error.retry_after)
            return Decision("limited", pause, undone, pause_ms=pause)
        case VitallyKeyError():
            return Decision("stopped", 1000, undone, breaker=_stopped(error))
        case VitallyRefusedError():
            return Decision("parked", park=_parked(view, error.reason, undone))
    surely_not = isinstance(error, VitallyUnavailableError) and not error.sent
    fields = undone if surely_not else {}
    next_ = retry.after_failure(view.tries, view.since, view.now, chance)
    if isinstance(next_, retry.GiveUp):
        reason = f"tried for {next_.days} days; the last answer: {error.reason}"
        return Decision("parked", park=_parked(view, reason, fields))
    noted = fields | {"tries": str(next_.tries), "since": str(next_.since)}
    return Decision("retry", next_.delay_ms, noted)


def creation_refused(policy: str, account: Account | None) -> str | None:
    """Why an account that Vitally does not have is not to be created; None: it is."""
    if account is None:
        return "its last party has left it"
    if policy == "never":
        return "unknown to Vitally, and BRIDGE_CREATE=never"
    if policy == "subscription" and not account.subscriptions:
        return "unknown to Vitally, and no subscription is known yet"
    return None


def _parked(view: View, reason: str, fields: Mapping[str, str]) -> Outcome:
    return Outcome("parked", "parked", reason, unset=FORGOTTEN, fields=fields)


def _stopped(error: VitallyKeyError) -> str:
    if isinstance(error, WrongAddressError):
        return f"Vitally cannot be reached: {error.reason}"
    return f"Vitally refuses the key ({error.status}): {error.reason}"


def _line(view: View, word: str, change: Change) -> Mapping[str, object]:
    line: dict[str, object] = {"at": view.now, "did": word, "traits": change.traits}
    return line | ({"name": change.name} if change.name is not None else {})
