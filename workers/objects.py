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
from bridge.errors import (
    VitallyError,
    VitallyMissingError,
    VitallyRefusedError,
)
from bridge.store.objects import LATE, Objects, Sent
from bridge.store.view import View
from bridge.vitally.client import PAGE
from workers.context import Context
from workers.write import wait_to_read

KIND = "customobjectinstance"
"""https://docs.vitally.io/en/articles/14117172"""

SOON_MS = 1000
"""How long after a write of the account's numbers its instances are sent; and a
millisecond for each subscription, since all are computed then."""

LOOK_MS, AGAIN_MS = 10_000, 300_000
"""From a batch to the look for it, three times as long after each that missed some; and
from a look that showed an instance to the next, where one is owed."""

SPREAD_MS = 60_000
"""After a rest, or a look without an answer, those who wait go on within this time."""

SECONDS = 2.5
"""After so long no further look is begun in a job; one batch still follows."""

Progress = tuple[Mapping[str, str], int]
"""What the account's record is to keep, and milliseconds to the next step (0: none)."""


class ObjectSync:
    """Does that step, under the account's lease."""

    def __init__(self, context: Context) -> None:
        self.context, self.store = context, Objects(context.redis)

    def run(self, view: View, shall: Mapping[str, Instance]) -> Progress:
        """Look for what was sent, and send what is due.

        Raises LostLeaseError, Postponed, and VitallyError of a look.
        """
        if wait := self.store.rest(view.now):
            return self.later(view, wait)
        rows = self.store.read(view.account)
        digests = {id_: digest_of(one) for id_, one in shall.items()}
        now = {i: row for i, row in rows.items() if row.digest == digests.get(i)}
        waiting = sorted((i for i in now if now[i].owed), key=lambda i: now[i].tries)
        try:
            # What was just sent is not yet to be looked for, though something changed.
            shown = self._look(waiting[:PAGE]) if view.objects_due <= view.now else {}
        except (VitallyMissingError, VitallyRefusedError) as error:
            self.store.fail(error.brief, view.now)
            return self.later(view, LOOK_MS)
        new = {i: now[i].after(shall[i], found) for i, found in shown.items()}
        again = [i for i in new if new[i].is_sent_again(shown[i])]
        unsent = [*again, *(id_ for id_ in shall if id_ not in now)]
        batch = unsent[:PAGE]
        for id_ in batch[len(again) :]:
            # An earlier message, perhaps for another account, may still arrive.
            is_unsure = rows[id_].owed if id_ in rows else view.joined
            new[id_] = Sent(3 if is_unsure else 1, 0, digests[id_])
        # What is over may be another account's by now: its place is looked at first.
        sent = {i: shall[i] for i in batch if i in now or not shall[i].is_over}
        if new or rows.keys() - shall.keys():
            is_late = any(row.tries >= LATE for row in (now | new).values())
            self.store.put(view.lease, new, rows.keys() - shall.keys(), late=is_late)
        self._send(view, sent)
        waits = [_wait(row, was_shown=i in shown) for i, row in new.items() if row.owed]
        if len(batch) < len(unsent) or len(shown) < len(waiting):
            waits.append(max(LOOK_MS, view.objects_due - view.now))
        wait = min(waits, default=0)
        due = str(view.now + wait if wait else 0)
        objects = digest_of(shall) if len(batch) == len(unsent) else "-"
        return {"objects": objects, "objects_due": due}, wait

    def later(self, view: View, wait: int) -> Progress:
        """Nothing was done; the next step is after *wait* (ms), not all accounts' at once."""
        wait += int(SPREAD_MS * self.context.chance())
        return {"objects_due": str(view.now + wait)}, wait

    def _look(self, ids: Collection[str]) -> dict[str, Any]:
        """What Vitally shows of *ids*, None where there is none; as far as there is time.

        Each request takes a unit of its limit. Those updated last are in the first page;
        that others are not there says nothing.
        """
        vitally, until = self.context.vitally, monotonic() + SECONDS
        object_id, shown = self.context.config.subscription_object, dict[str, Any]()
        if len(ids) > 1:
            wait_to_read(self.context)
            rows, _ = vitally.instances(object_id)
            page = {row.get("externalId"): row for row in rows}
            shown = {id_: page[id_] for id_ in ids if id_ in page}
        for id_ in ids:
            if id_ not in shown and monotonic() < until:
                wait_to_read(self.context)
                shown[id_] = vitally.instance(object_id, id_)
        return shown

    def _send(self, view: View, some: Mapping[str, Instance]) -> None:
        """Send a batch that is marked; whether it was taken, the next look shows.

        A lease sends an instance once, so its fence makes the message's id. What is sent
        again has another id: the earlier one may have been taken and overwritten since.
        """
        messages = [
            {"type": KIND, "externalId": id_, **one.told}
            | {"messageId": f"{id_}:{view.lease.fence}"}
            for id_, one in some.items()
        ]
        try:
            if messages:
                self.context.analytics.batch(messages)
            self.store.works()
        except VitallyError as error:
            wait = getattr(error, "retry_after", None) or 0
            self.store.fail(error.brief, view.now, wait)


def _wait(row: Sent, *, was_shown: bool) -> int:
    """Milliseconds until the next look for an instance that was just looked for or sent."""
    if was_shown and not row.tries:
        return AGAIN_MS
    return int(LOOK_MS * 3**row.tries)
