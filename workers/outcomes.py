"""What follows from each end of a job, Vitally's answers to a write above all.

These are pure functions that decide and do nothing. `failed` decides by the table
`REACTIONS`, which is also in docs/losses.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson

from bridge.desired import ORGANIZATION
from bridge.domain.document import Change, Document, settled
from bridge.domain.facts import organization_id
from bridge.domain.values import DAY_MS
from bridge.errors import (
    SourceError,
    VitallyError,
    VitallyKeyError,
    VitallyLimitedError,
    VitallyRefusedError,
    VitallyUnavailableError,
)
from bridge.store.durations import status_class
from bridge.store.view import Outcome, View
from bridge.throttle import wait_ms
from bridge.vitally.client import Call
from bridge.webhook.values import kept
from workers.write import Written, WrongAddressError

GIVE_UP_DAYS = 3
"""A change that could not be delivered for this long is parked."""

FIRST_MS, MOST_MS = 1000, 15 * 60_000
"""The longest wait after the first failure, and after any later one."""

CONFIRM_MS = 30_000
"""How long an unconfirmed write may still be on its way."""

STOPPED_MS = 1000
"""Wait after a write that found the breaker open."""

CRASH_MS = 5000
"""Wait after an unexpected exception; a second one on the same facts parks the party."""

LONG_MS = 500
"""After a longer job its party waits before the next one, so that a large account that
keeps changing leaves room for others."""

MOST_REST_MS = 10_000

LOST_MS = DAY_MS
"""How often an account that Vitally does not have is looked for again."""

REFRESH_MS, REFUSED_REFRESH_MS = 60_000, 3_600_000
"""Wait after a refresh that failed, and after one that the source refused."""

PACES_MS = (0, 1000, 2000, 5000)
"""Shortest time between writes of an account that keeps changing, growing step by step."""

SHOWN = ("ledger", "seen")
"""Fields of an account that say what Vitally has of it."""

FORGOTTEN = ("tries", "since", "not_before", "released", "failed", "left")
"""Fields of an account that a success removes."""

CERTAIN = ("doubt", "confirm_at", "sent")
"""Fields of an account that are removed once its ledger is certain."""


class Reaction(NamedTuple):
    """An *answer* of Vitally, the *error* class it becomes, and what *follows*.

    *word* is what the log says. *unsure*: the request may have changed something.
    *breaker*: if all writes stop, the reason; it may contain `{status}` and `{reason}`.
    """

    answer: str
    error: type[VitallyError]
    word: str
    follows: str
    unsure: bool = False
    breaker: str = ""


BACK_OFF = (
    f"a random wait of up to {FIRST_MS // 1000} s, doubled each time up to "
    f"{MOST_MS // 60_000} min; parked after {GIVE_UP_DAYS} days"
)

NOT_SENT = Reaction(
    "connection refused, no address, no TLS: the request surely did not arrive",
    VitallyUnavailableError,
    "retry",
    f"tried again after {BACK_OFF}",
)
UNSURE = Reaction(
    "time-out after sending, reset, broken off, no JSON, HTML, over 1 MiB, a "
    "redirect, 408, 425, 5xx: the request may have arrived",
    VitallyUnavailableError,
    "retry",
    "the same, but the whole document is sent instead of the difference, and once more "
    f"{CONFIRM_MS // 1000} s after a success; a creation first checks whether the "
    "account exists",
    unsure=True,
)
REACTIONS = (
    NOT_SENT,
    UNSURE,
    Reaction(
        "429",
        VitallyLimitedError,
        "limited",
        "all workers wait for `Retry-After`, else `RateLimit-Reset`; not a failed try",
    ),
    Reaction(
        "401, 403",
        VitallyKeyError,
        "stopped",
        "all writes stop and `/readyz` is red; they resume once a probe succeeds",
        breaker="Vitally refuses the key ({status})",
    ),
    Reaction(
        "404 to both the update and the creation",
        WrongAddressError,
        "stopped",
        "the same: the base URL or the subdomain is wrong",
        breaker="Vitally cannot be reached: {reason}",
    ),
    Reaction(
        "400, 409, 422 and every other 4xx",
        VitallyRefusedError,
        "parked",
        "parked with Vitally's reason; tried again with the next event, or by hand "
        "(after 400 or 409 to a creation, one more update is tried first)",
    ),
)
"""From the most harmless to the most final. A 404 only to an update means: create."""


def reaction_to(error: VitallyError) -> Reaction:
    """The row of the table that *error* belongs to."""
    if isinstance(error, VitallyUnavailableError) and not error.sent:
        return NOT_SENT
    rows = (row for row in reversed(REACTIONS) if isinstance(error, row.error))
    return next(rows, UNSURE)


def stopped(error: VitallyKeyError) -> str:
    """Why all writes stop after *error*."""
    return reaction_to(error).breaker.format(status=error.status, reason=error.reason)


class Decision(NamedTuple):
    """What follows a failed write: *park* it, or wait *delay_ms* and store *fields*.

    *word* is what the log says; *breaker*, if not empty, stops all writes for that reason.
    """

    word: str
    delay_ms: int = 0
    fields: Mapping[str, str] = {}
    breaker: str = ""
    park: Outcome | None = None


def failed(
    error: VitallyError, view: View, chance: float, calls: Iterable[Call] = ()
) -> Decision:
    """What follows *error* after *calls*; *chance*, from 0 to 1, randomizes the delay."""
    row = reaction_to(error)
    noted = {} if row.unsure else not_sent(view, calls)
    if isinstance(error, VitallyLimitedError):
        return Decision(row.word, wait_ms(error.retry_after), noted)
    if isinstance(error, VitallyKeyError):
        return Decision(row.word, STOPPED_MS, noted, breaker=stopped(error))
    reason, since = error.reason, view.since or view.now
    if row.word == "retry":
        if view.now - since < GIVE_UP_DAYS * DAY_MS:
            longest = min(MOST_MS, FIRST_MS * 2 ** min(view.tries, 20))
            noted |= {"tries": str(view.tries + 1), "since": str(since)}
            noted |= {"failed": with_status(error)}
            return Decision(row.word, max(250, int(longest * chance)), noted)
        reason = f"tried for {GIVE_UP_DAYS} days; the last answer: {reason}"
    park = Outcome("parked", "parked", reason, unset=FORGOTTEN, fields=noted)
    return Decision("parked", park=park)


def with_status(error: VitallyError) -> str:
    """What Vitally answered, with the status where there is one."""
    return f"{error.status}: {error.reason}" if error.status else error.reason


def refused(view: View, change: Change, error: VitallyError) -> Mapping[str, Any]:
    """The line of an account's history about a write that Vitally did not take."""
    return {**_line(view, "refused", change), "reason": error.reason}


def not_sent(view: View, calls: Iterable[Call]) -> dict[str, str]:
    """Fields to store after a request that was marked but surely did not arrive.

    None if Vitally took another write of the same job before: one of its *calls*.
    """
    taken = {one.method for one in calls if status_class(one.status) == "2xx"}
    sent = orjson.dumps(view.unconfirmed_traits).decode()
    doubt = {"doubt": str(view.unconfirmed_writes), "sent": sent}
    return {} if taken - {"GET"} else doubt


def after_refresh(error: SourceError) -> int:
    """Milliseconds until a party is refreshed again after *error*."""
    if error.refused:
        return REFUSED_REFRESH_MS
    return REFRESH_MS if error.retry_after is None else wait_ms(error.retry_after)


def pace_wait(pace: int, wrote_at: int, now: int) -> int:
    """Milliseconds before an account may be written again."""
    return max(0, wrote_at + PACES_MS[min(pace, len(PACES_MS) - 1)] - now)


def next_pace(pace: int, wrote_at: int, now: int) -> int:
    """The pace after a write: slower while it keeps changing, reset after a quiet time."""
    last = len(PACES_MS) - 1
    usual = 2 * max(PACES_MS[min(pace, last)], PACES_MS[1])
    if now - wrote_at > usual + PACES_MS[-1]:
        return 1
    return min(pace + 1, last)


def rest(took_ms: int, pace: int) -> int:
    """Milliseconds between two long jobs of one party: twice as long as the first took.

    At least as long as its *pace* demands: a job before that could not write.
    """
    return max(min(2 * took_ms, MOST_REST_MS), PACES_MS[pace])


def unchanged(view: View, doc: Document) -> Outcome:
    """Nothing differs; the events are settled without a request.

    What a reading showed to be as it should counts as written by us from then on.
    """
    is_first = view.exists and not view.written and not view.unconfirmed_writes
    return Outcome(
        "unchanged",
        ledger=settled(doc, view.ledger, named=None) if is_first else None,
        unset=(*FORGOTTEN, *SHOWN) if view.is_vacant else FORGOTTEN,
        unknown=doc.unknown,
        later_ms=_next_look(view, doc, view.confirm_in),
        known=view.exists,
    )


def held(view: View, reason: str) -> Outcome:
    """Vitally does not have the account: try again with the next event, or in a day."""
    gone = (*FORGOTTEN, *CERTAIN)
    if view.is_vacant:
        return Outcome("unchanged", unset=(*gone, *SHOWN))
    return Outcome("held", "held", reason, unset=gone, later_ms=LOST_MS)


def held_for_a_word(view: View, why: str) -> Outcome:
    """Part of a mass change: nothing is written until somebody says a word."""
    gone = ("tries", "since", "not_before")
    return Outcome("parked", "parked", why, unset=gone, known=view.exists, mass=True)


def written(view: View, doc: Document, done: Written) -> Outcome:
    """Vitally confirmed: the ledger is the document now."""
    traits = {n: v for n, v in doc.traits.items() if done.linked or n != ORGANIZATION}
    has = doc._replace(traits=traits)
    pace = next_pace(view.pace, view.wrote_at, view.now)
    fields = {"pace": str(pace), "wrote_at": str(view.now)}
    if organization_id(view.account) and done.id:
        fields["id"] = done.id
    # An unconfirmed request may still be on its way: write the whole document again.
    owed = _still_owed(view)
    if owed:
        fields |= {"doubt": "1", "confirm_at": str(view.now + owed)}
    if left := unconfirmed(view, doc, sure=not owed):
        fields["sent"] = orjson.dumps(left).decode()
    unset = {*FORGOTTEN, *(() if owed else CERTAIN)} - {*fields}
    return Outcome(
        done.word,
        ledger=None if view.is_vacant else settled(has, view.ledger, named=done.name),
        unset=[*sorted(unset), *(SHOWN if view.is_vacant else ())],
        fields=fields,
        unknown=doc.unknown,
        history=_line(view, done.word, done.change),
        writes=done.requests,
        later_ms=_next_look(view, doc, owed),
        known=not view.is_vacant,
    )


def unconfirmed(view: View, doc: Document, *, sure: bool = True) -> list[str]:
    """Traits that an unconfirmed write may have set and that *doc* does not contain.

    They stay ours, so that they are removed once no party supports them. While an earlier
    write may still arrive (not *sure*), even a trait that was removed may come back.
    """
    certain = {*doc.traits} if sure else {*doc.traits} - doc.gone
    return sorted({*view.unconfirmed_traits} - certain)


def _still_owed(view: View) -> int:
    """Milliseconds until the next whole write; 0: the ledger is certain now."""
    if view.unconfirmed_writes > 1 or view.lost_lease_writes:
        return CONFIRM_MS
    return 0 if view.owes_whole else view.confirm_in


def _next_look(view: View, doc: Document, owed: int) -> int:
    """Milliseconds until the next job without an event; 0: none is needed."""
    change = max(1, doc.until - view.now) if doc.until is not None else 0
    return min(filter(None, (owed, change)), default=0)


def soon(outcome: Outcome, ms: int) -> Outcome:
    """The same, with a job in *ms* at the latest; 0: none is needed for this."""
    next_ms = min(filter(None, (outcome.later_ms, ms)), default=0)
    return outcome._replace(later_ms=next_ms)


def _line(view: View, word: str, change: Change) -> Mapping[str, Any]:
    """A line of an account's history: what Vitally *had*, and the *cause* beside events."""
    ledger, has, traits = view.ledger, view.ledger.has, change.traits
    had = {k: has[k] for k, new in traits.items() if has.get(k, new) != new}
    changed = ledger.seen.keys() & ledger.traits.keys() & traits.keys()
    causes = {
        f"{view.left} has left it": view.left,
        "its last party has left it": view.is_vacant,
        "it was deleted in Vitally": ledger.missing and view.written,
        "others had changed it in Vitally": changed,
        "all traits again: one write is uncertain, or it was asked for": view.owes_whole,
        "no new event: worked out again": not (view.dirty_since or view.deliveries),
    }
    cause = {"cause": next((cause for cause, is_so in causes.items() if is_so), "")}
    more = {"had": had, "deliveries": view.deliveries, "name": change.name, **cause}
    return {"at": view.now, "did": word, "traits": traits, **kept(more)}
