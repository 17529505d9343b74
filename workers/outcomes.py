"""What follows: Vitally's answer to a write, and every other end of a job.

Pure; nothing is done here. `ANSWERS` is the table by which `failed` decides, and the
one that the documentation prints: `python -m workers.outcomes README.md`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson

from bridge import docs
from bridge.domain.account import Account
from bridge.domain.document import Change, Document, settled
from bridge.errors import (
    SourceError,
    VitallyError,
    VitallyKeyError,
    VitallyLimitedError,
    VitallyRefusedError,
    VitallyUnavailableError,
)
from bridge.store.view import Outcome, View
from workers.write import Written, WrongAddressError

GIVE_UP_DAYS = 3
"""A change that could not be delivered for so long is parked."""

FIRST_MS, MOST_MS = 1000, 15 * 60_000
"""The longest wait after a first failure, and after any number of them."""

CONFIRM_MS = 30_000
"""After a write that was not confirmed: how long it may still be on its way."""

STOPPED_MS = 1000
"""After a write that found the breaker open."""

CRASH_MS = 5000
"""After an exception that nobody foresaw; a second one at the same facts parks them."""

LONG_MS = 500
"""A job that took longer rests before the next of the same party, so that a large
account that keeps changing leaves room for others."""

MOST_REST_MS = 10_000

DAY_MS = 86_400_000
"""How often an account that Vitally does not have is looked for again."""

REFRESH_MS, REFUSED_REFRESH_MS = 60_000, 3_600_000
"""After a refresh that failed, and one that the source refused."""

PACES_MS = (0, 1000, 2000, 5000)
"""Least time between writes of one account that keeps changing: at once, then these."""

FORGOTTEN = ("tries", "since", "not_before")
"""Fields of an account that a success takes away."""

CERTAIN = ("doubt", "confirm_at", "sent")
"""Fields of an account that certainty about its ledger takes away."""


class Answer(NamedTuple):
    """An *answer* of Vitally, the *error* that it is to us, and what *follows*.

    *word* is the log's. *unsure*: the request may have changed something. *breaker*:
    why all writes stop, if they do; it may name the error's status and reason.
    """

    answer: str
    error: type[VitallyError]
    word: str
    follows: str
    unsure: bool = False
    breaker: str = ""


BACK_OFF = (
    f"a random part of {FIRST_MS // 1000} s, twice as long each time up to "
    f"{MOST_MS // 60_000} min, for {GIVE_UP_DAYS} days, then parked"
)

NOT_SENT = Answer(
    "connection refused, no address, no TLS: surely not arrived",
    VitallyUnavailableError,
    "retry",
    f"tried again after {BACK_OFF}",
)
UNSURE = Answer(
    "time-out after sending, reset, broken off, no JSON, HTML, over 1 MiB, a "
    "redirect, 408, 425, 5xx: may have arrived",
    VitallyUnavailableError,
    "retry",
    "the same, with the whole document in place of the difference, and once more "
    f"{CONFIRM_MS // 1000} s after it went well; a creation looks first whether "
    "the account is there",
    unsure=True,
)
ANSWERS = (
    NOT_SENT,
    UNSURE,
    Answer(
        "429",
        VitallyLimitedError,
        "limited",
        "every worker waits for `Retry-After`, else `RateLimit-Reset`; no failed try",
    ),
    Answer(
        "401, 403",
        VitallyKeyError,
        "stopped",
        "all writes stop, `/readyz` is red; a probe lets them go on by itself",
        breaker="Vitally refuses the key ({status}): {reason}",
    ),
    Answer(
        "404 to the update and to the creation",
        WrongAddressError,
        "stopped",
        "the same: the base URL or the subdomain is wrong",
        breaker="Vitally cannot be reached: {reason}",
    ),
    Answer(
        "400, 409, 422 and every other 4xx",
        VitallyRefusedError,
        "parked",
        "parked with Vitally's reason; tried again with the next event, or by hand "
        "(after 400 or 409 to a creation there is one more update first)",
    ),
)
"""From the most harmless to the most final. 404 to an update alone means: create it."""


def answer_of(error: VitallyError) -> Answer:
    """The row of the table that *error* belongs to."""
    if isinstance(error, VitallyUnavailableError) and not error.sent:
        return NOT_SENT
    rows = (row for row in reversed(ANSWERS) if isinstance(error, row.error))
    return next(rows, UNSURE)


def stopped(error: VitallyKeyError) -> str:
    """Why all writes stop after *error*."""
    return answer_of(error).breaker.format(status=error.status, reason=error.reason)


class Decision(NamedTuple):
    """What a failed write leads to: *park* it, or wait *delay_ms* and note *fields*.

    *word* is the answer's; *breaker* stops all writes with its reason.
    """

    word: str
    delay_ms: int = 0
    fields: Mapping[str, str] = {}
    breaker: str = ""
    park: Outcome | None = None


def failed(error: VitallyError, view: View, chance: float) -> Decision:
    """What follows *error*; *chance*, from 0 to 1, spreads the next tries."""
    row = answer_of(error)
    noted = {} if row.unsure else not_sent(view)
    if isinstance(error, VitallyLimitedError):
        return Decision(row.word, _limited(error.retry_after), noted)
    if isinstance(error, VitallyKeyError):
        return Decision(row.word, STOPPED_MS, noted, breaker=stopped(error))
    reason, since = error.reason, view.since or view.now
    if row.word == "retry":
        if view.now - since < GIVE_UP_DAYS * DAY_MS:
            longest = min(MOST_MS, FIRST_MS * 2 ** min(view.tries, 20))
            noted |= {"tries": str(view.tries + 1), "since": str(since)}
            return Decision(row.word, max(250, int(longest * chance)), noted)
        reason = f"tried for {GIVE_UP_DAYS} days; the last answer: {reason}"
    park = Outcome("parked", "parked", reason, unset=FORGOTTEN, fields=noted)
    return Decision("parked", park=park)


def not_sent(view: View) -> dict[str, str]:
    """What to note where a request was marked and surely did not arrive."""
    sent = orjson.dumps(view.unconfirmed_traits).decode()
    return {"doubt": str(view.unconfirmed_writes), "sent": sent}


def _limited(retry_after: float | None) -> int:
    """Milliseconds to leave an API alone after its 429."""
    return int(
        1000 * (2.0 if retry_after is None else min(max(retry_after, 0.05), 600))
    )


def after_refresh(error: SourceError) -> int:
    """Milliseconds until a party is refreshed again after *error*."""
    if error.refused:
        return REFUSED_REFRESH_MS
    return REFRESH_MS if error.retry_after is None else _limited(error.retry_after)


def pace_wait(pace: int, wrote_at: int, now: int) -> int:
    """Milliseconds before an account may be written again."""
    return max(0, wrote_at + PACES_MS[min(pace, len(PACES_MS) - 1)] - now)


def next_pace(pace: int, wrote_at: int, now: int) -> int:
    """The pace after a write: slower while it keeps changing, fresh after a rest."""
    last = len(PACES_MS) - 1
    usual = 2 * max(PACES_MS[min(pace, last)], PACES_MS[1])
    if not wrote_at or now - wrote_at > usual + PACES_MS[-1]:
        return 1
    return min(pace + 1, last)


def rest(took_ms: int, pace: int) -> int:
    """Milliseconds between two long jobs of one party: twice as long as the first took.

    Not before it may be written again at its *pace*: that would be work for nothing.
    """
    return max(min(2 * took_ms, MOST_REST_MS), PACES_MS[pace])


def unchanged(view: View, doc: Document) -> Outcome:
    """Nothing differs; the events are settled without a request."""
    return Outcome(
        "unchanged",
        unset=(*FORGOTTEN, "ledger") if view.is_vacant else FORGOTTEN,
        unknown=doc.unknown,
        later_ms=_next_look(view, doc, view.confirm_in),
        known=view.exists,
    )


def dry(view: View, change: Change) -> Outcome:
    """All but the write."""
    return Outcome("unchanged", history=_line(view, "dry run", change))


def held(view: View, reason: str) -> Outcome:
    """Vitally does not have the account: look again with the next event, or daily."""
    gone = (*FORGOTTEN, *CERTAIN)
    if view.is_vacant:
        return Outcome("unchanged", unset=(*gone, "ledger"))
    return Outcome("held", "held", reason, unset=gone, later_ms=DAY_MS)


def written(view: View, doc: Document, done: Written) -> Outcome:
    """Vitally confirmed: the ledger is the document now."""
    pace = next_pace(view.pace, view.wrote_at, view.now)
    fields = {"pace": str(pace), "wrote_at": str(view.now)}
    # A request that was not confirmed may still be on its way: once more, whole.
    owed = _still_owed(view)
    if owed:
        fields |= {"doubt": "1", "confirm_at": str(view.now + owed)}
    if left := unconfirmed(view, doc, sure=not owed):
        fields["sent"] = orjson.dumps(left).decode()
    unset = {*FORGOTTEN, *(() if owed else CERTAIN)} - {*fields}
    return Outcome(
        done.word,
        ledger=None if view.is_vacant else settled(doc, view.ledger, named=done.name),
        unset=[*sorted(unset), *(["ledger"] if view.is_vacant else ())],
        fields=fields,
        unknown=doc.unknown,
        history=_line(view, done.word, done.change),
        writes=done.requests,
        later_ms=_next_look(view, doc, owed),
        known=not view.is_vacant,
        made_good=view.lost_lease_writes,
    )


def unconfirmed(view: View, doc: Document, *, sure: bool = True) -> list[str]:
    """Traits that an unconfirmed write may have brought, once *doc* was written.

    Those that *doc* says nothing of: should nobody tell them any more, they are removed.
    While it is not *sure* that no earlier write is on its way, what is gone may come
    back.
    """
    certain = {*doc.traits} if sure else {*doc.traits} - doc.gone
    return sorted({*view.unconfirmed_traits} - certain)


def creation_refused(policy: str, account: Account | None) -> str | None:
    """Why an account that Vitally does not have is not to be created; None: it is."""
    if account is None:
        return "its last party has left it"
    if policy == "never":
        return "unknown to Vitally, and BRIDGE_CREATE=never"
    if policy == "subscription" and not account.subscriptions:
        return "unknown to Vitally, and no subscription is known yet"
    return None


def _still_owed(view: View) -> int:
    """Milliseconds until one more whole write; 0: the ledger is certain now."""
    if view.unconfirmed_writes > 1 or view.lost_lease_writes:
        return CONFIRM_MS
    return 0 if view.owes_whole else view.confirm_in


def _next_look(view: View, doc: Document, owed: int) -> int:
    """Milliseconds until a look without an event: a debt, or time itself matters."""
    change = max(1, doc.until - view.now) if doc.until is not None else 0
    return min(filter(None, (owed, change)), default=0)


def _line(view: View, word: str, change: Change) -> Mapping[str, Any]:
    line = {"at": view.now, "did": word, "traits": change.traits}
    return line if change.name is None else line | {"name": change.name}


def table(rows: Iterable[Answer] = ANSWERS) -> str:
    """Render one line of Markdown for each answer."""
    heading = ("Vitally's answer", "word in the log", "what follows")
    return docs.table(heading, ((row.answer, row.word, row.follows) for row in rows))


if __name__ == "__main__":
    docs.main(sys.argv[1:], {"answers": table})
