"""What waits for a person, as clusters by cause: a thousand failures of five causes are five.

A reason names accounts, ids, numbers and dates. Without them, things that wait for the
same cause have the same reason. A table of causes adds what most likely lies behind it,
and what helps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2s
from typing import NamedTuple

HELD, PARKED, QUARANTINED = "held", "parked", "quarantined"
MASS_CHANGE, DRIFT, DELETED = "mass change", "drift", "deleted"
FAILED_JOB = "failed job"

ACTIONS: Mapping[str, Sequence[str]] = {
    MASS_CHANGE: ("release", "discard"),
    HELD: ("retry", "link", "discard"),
    PARKED: ("retry", "link", "discard"),
    QUARANTINED: ("replay", "drop"),
    DRIFT: ("fix",),
    DELETED: ("fix",),
    FAILED_JOB: ("retry",),
}
"""Kind -> what can be done with all of a cluster; the usual thing first."""

LONGEST = 160
"""Most characters of a reason that tell causes apart; Vitally's are cut off at 300."""

GAP = "*"
"""Stands for what was taken out of a reason."""


class Waiting(NamedTuple):
    """One thing that waits since *since* (ms) for the *reason*.

    *name* is that of a party, a delivery, an account or a job, whichever its *kind* is of.
    """

    kind: str
    name: str
    reason: str
    since: int
    account: str = ""
    events: int = 1


class Mark(NamedTuple):
    """Something that was changed *at* (ms): a deploy, a setting, a key."""

    at: int
    text: str


class Cause(NamedTuple):
    """What lies behind the reasons that *pattern* matches, and what *helps*.

    *title* names the cluster where the reason's own words would not do; it may use the
    pattern's groups.
    """

    pattern: str
    cause: str
    helps: str
    title: str = ""


class Cluster(NamedTuple):
    """Things that wait for the same cause; the longest since *since* (ms).

    *changed* is what was changed last before that; the newest of *things* comes first.
    """

    id: str
    kind: str
    title: str
    cause: str
    helps: str
    actions: Sequence[str]
    size: int
    events: int
    since: int
    until: int
    changed: Mark | None
    things: Sequence[Waiting]


Causes = Mapping[str, Sequence[Cause]]
"""Kind -> causes; the first whose pattern is found in a reason counts."""

TAKEN_OUT = re.compile(
    r"[^\s@,;]+@[\w.-]+"  # e-mail addresses
    r"""|(?<!\w)(?:'.*?'|".*?"|`.*?`)(?!\w)"""  # what is quoted, no apostrophe
    r"|“[^”]*”|«[^»]*»"
    r"|\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\b(?=\.? +\d)"
    r"|(?:\b[a-z]+:)?(?:"  # `stripe:cus_1` is one name
    r"\b[a-z]{2,8}_(?=\w*[A-Z])\w+"  # an id that has no digit by chance
    r"|[\w-]*\d[\w-]*)"  # numbers, dates, most ids
)

GAPS = re.compile(r"\*(?:[\s,.:;/+%()-]*\*)+")
"""What is left of a date, of a list of ids."""


@lru_cache(maxsize=4096)
def without_ids(reason: str) -> str:
    """The *reason* without numbers, ids, dates, e-mail addresses and quoted values."""
    text = GAPS.sub(GAP, TAKEN_OUT.sub(GAP, " ".join(reason.split())))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}{GAP}"


def clusters(
    waiting: Iterable[Waiting], causes: Causes, marks: Sequence[Mark] = ()
) -> list[Cluster]:
    """Cluster what waits by cause, the largest cluster first.

    *marks* are what was changed and when.
    """
    found: dict[tuple[str, Cause], list[Waiting]] = {}
    for one in waiting:
        rows = tuple(causes.get(one.kind, ()))
        cause = _explained(rows, _without_names(one))
        found.setdefault((one.kind, cause), []).append(one)
    made = [_cluster(kind, why, some, marks) for (kind, why), some in found.items()]
    kinds = list(ACTIONS)
    return sorted(made, key=lambda one: (-one.size, kinds.index(one.kind), one.title))


def _cluster(
    kind: str, why: Cause, some: Sequence[Waiting], marks: Iterable[Mark]
) -> Cluster:
    since = min(one.since for one in some)
    return Cluster(
        blake2s(f"{kind} {why.title}".encode(), digest_size=6).hexdigest(),
        kind,
        why.title,
        why.cause,
        why.helps,
        ACTIONS[kind],
        len(some),
        sum(one.events for one in some),
        since,
        max(one.since for one in some),
        max((mark for mark in marks if mark.at <= since), default=None),
        sorted(some, key=lambda one: -one.since),
    )


def _without_names(one: Waiting) -> str:
    """The reason without the thing's own names, which need not look like an id."""
    text = one.reason
    for name in {one.name, one.account, one.name.partition(":")[2]} - {""}:
        if name in text:
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", GAP, text)
    return text


@lru_cache(maxsize=4096)
def _explained(rows: Sequence[Cause], reason: str) -> Cause:
    """The row for a *reason*, with the title of its cluster and without a pattern."""
    for row in rows:
        if match := re.search(row.pattern, reason):
            title = match.expand(row.title) if row.title else without_ids(reason)
            return Cause("", row.cause, match.expand(row.helps), title)
    return Cause("", "", "", without_ids(reason))
