"""The step after an account's numbers: its subscriptions as instances of a custom object.

The Analytics API takes them in batches and confirms nothing. So each is marked before it
is sent, looked for in the REST API some seconds later, and confirmed once it is shown;
what is not is sent again, with growing pauses. Where an earlier message may still arrive
after a later one, two more looks follow. A job does a bounded part; the next one goes on.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from time import monotonic
from typing import Any

from bridge.domain.instance import Instance, digest_of
from bridge.errors import VitallyError, VitallyUnavailableError
from bridge.store.connect import batches
from bridge.store.objects import Objects
from bridge.store.view import View
from bridge.vitally.client import PAGE
from workers.context import Context
from workers.outcomes import said
from workers.write import Postponed, wait_to_read

KIND = "customobjectinstance"
"""https://docs.vitally.io/en/articles/14117172"""

SOON_MS = 1000
"""How long after a write of the account's numbers its instances are sent; and a
millisecond for each subscription, since all are computed then."""

LOOK_MS, LONGEST_MS = 10_000, 21_600_000
"""From a batch to the look for it: at first, and at most after looks that missed some."""

AGAIN_MS = (0, 600_000, 60_000)
"""From a look that showed all to the next, by how many of them are owed."""

LATE = 4
"""After so many looks in a row that missed some, somebody should know."""

FEW = 5
"""So many are looked for one by one; more once, in the list of those updated last."""

MOST, MOST_PAGES, SECONDS = 1000, 12, 5.0
"""Bounds of a job: instances that are open, pages of a look, seconds of sending."""


class ObjectSync:
    """Does that step, under the account's lease."""

    def __init__(self, context: Context) -> None:
        self.context, self.store = context, Objects(context.redis)

    def run(
        self, view: View, shall: Mapping[str, Instance]
    ) -> tuple[Mapping[str, str], int]:
        """What the account's record is to keep ({}: nothing was done), and ms to the next step.

        Raises LostLeaseError.
        """
        if wait := self.store.rest(view.now):
            return {}, wait
        try:
            done = self._step(view, shall)
        except Postponed as later:
            return {}, max(SOON_MS, later.args[0])
        except VitallyError as error:
            # Others go on after a rest; this account, which may be why, waits longer.
            self.store.fail(said(error), view.now)
            return _next(view, "-", view.objects_tries + 1)
        self.store.works()
        return done

    def _step(
        self, view: View, shall: Mapping[str, Instance]
    ) -> tuple[Mapping[str, str], int]:
        rows, began = self.store.read(view.account), monotonic()
        ids = {id_: one.digest for id_, one in shall.items()}
        owed = {i: int(row[0]) for i, row in rows.items() if row[1:] == ids.get(i)}
        # Those that were never shown first.
        waiting = sorted((i for i in owed if owed[i]), key=lambda i: -owed[i])[:MOST]
        shown = self._look(waiting)
        right = [i for i in waiting if shall[i].is_shown(shown.get(i))]
        missed = {*waiting} - {*right}
        tries = view.objects_tries + 1 if missed else 0
        left = {i: owed[i] - 1 if len(waiting) <= FEW else 0 for i in right}
        new = {i: f"{n}{ids[i]}" for i, n in left.items()}
        gone, is_late = rows.keys() - ids.keys(), tries >= LATE
        if waiting or gone:
            lease, done = view.lease, len(new)
            self.store.put(lease, new, gone, confirmed=done, late=is_late)
        due = [i for i in ids if i in missed or i not in owed][:MOST]
        for some in batches(due, PAGE):
            if monotonic() - began > SECONDS:
                break
            # An earlier message that was never shown may still arrive after this one.
            unsure = {i for i in some if rows.get(i, "0")[0] != "0"}
            marks = {i: f"{3 if i in unsure else 1}{ids[i]}" for i in some}
            before = {i: rows[i] for i in some if i in rows}
            # What is over may be another account's by now: its place is looked at first.
            sent = [i for i in some if i in missed or not shall[i].is_over]
            self._send(view, {i: shall[i] for i in sent}, marks, before, late=is_late)
        open_ = max({**owed, **left}.values(), default=0)
        if due:
            return _next(view, "-", tries)
        again = AGAIN_MS[min(open_, 2)]
        return _next(view, "-" if again else digest_of(shall), 0, again)

    def _look(self, ids: Collection[str]) -> dict[str, Any]:
        """What Vitally shows of *ids*; a unit of its limit for each request."""
        vitally, shown, cursor = self.context.vitally, dict[str, Any](), None
        object_id = self.context.config.subscription_object
        if len(ids) <= FEW:
            for id_ in ids:
                wait_to_read(self.context)
                shown[id_] = vitally.instance(object_id, id_)
            return shown
        for _ in range(MOST_PAGES):
            wait_to_read(self.context)
            rows, cursor = vitally.instances(object_id, cursor)
            shown |= {str(row.get("externalId")): row for row in rows}
            if cursor is None or shown.keys() >= {*ids}:
                break
        return shown

    def _send(
        self,
        view: View,
        some: Mapping[str, Instance],
        marks: Mapping[str, str],
        before: Mapping[str, str],
        *,
        late: bool,
    ) -> None:
        """Mark a batch and send it; what was surely not taken is as *before*.

        A lease sends an instance once, so its fence makes the message's id. What is sent
        again has another id: the earlier one may have been taken and overwritten since.
        """
        own = ((i, f"{i}:{view.lease.fence}", one.told) for i, one in some.items())
        messages = [
            {"type": KIND, "externalId": id_, "messageId": message, **told}
            for id_, message, told in own
        ]
        self.store.put(view.lease, marks, sent=len(messages), late=late)
        try:
            if messages:
                self.context.analytics.batch(messages)
        except VitallyError as error:
            if not (isinstance(error, VitallyUnavailableError) and error.sent):
                gone, none = marks.keys() - before, -len(messages)
                self.store.put(view.lease, before, gone, sent=none, late=late)
            raise


def _next(
    view: View, objects: str, tries: int, wait: int | None = None
) -> tuple[Mapping[str, str], int]:
    """What the record is to keep, and ms to the next step; after *tries* that missed some."""
    if wait is None:
        wait = min(LOOK_MS << min(tries, 20), LONGEST_MS)
    due = str(view.now + wait if wait else 0)
    told = {"objects": objects, "objects_due": due, "objects_tries": str(tries)}
    return told, wait
