"""The write itself: PUT, on 404 POST, and PUT again if the account exists."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from bridge.desired import ORGANIZATION, place
from bridge.domain.account import Name
from bridge.domain.document import Change, Document
from bridge.domain.facts import organization, organization_id
from bridge.errors import (
    VitallyError,
    VitallyKeyError,
    VitallyMissingError,
    VitallyRefusedError,
)
from bridge.log import fields
from bridge.reconcile import Reconciler
from bridge.store.view import View
from bridge.vitally.replies import already_exists
from workers.context import Context

log = logging.getLogger("workers.write")

SHORT_WAIT_MS = 5000
"""If the slot is this near, the job sleeps; otherwise it is postponed."""

OWED = 2
"""Whole writes that are owed once a request may have been sent."""

AFTER_REFUSAL = frozenset({400, 409})
"""Refusals of a creation that may mean that the account exists."""


class Held(Exception):  # noqa: N818 (an outcome, not an error)
    """Vitally does not have the account, and for this reason it must not be created."""


class Postponed(Exception):  # noqa: N818 (an outcome, not an error)
    """The next request has to wait so many milliseconds, longer than the job can."""


def wait_to_read(context: Context) -> None:
    """Wait until a read may go. Raises Postponed."""
    wait = context.throttle.reserve_read(SHORT_WAIT_MS)
    if wait < 0 or context.stop.wait(wait / 1000):
        raise Postponed(max(0, -wait))


class WrongAddressError(VitallyKeyError):
    """PUT and POST are both answered 404: the base URL or subdomain is wrong."""


UNKNOWN_TO_BOTH = (
    (WrongAddressError, "the base URL or subdomain is wrong"),
    (VitallyRefusedError, "are organizations switched on in Vitally?"),
)
"""What 404 to both PUT and POST means, of an account and of an organization."""


class Written(NamedTuple):
    """The result: *word* is created or updated; *name* is Vitally's, if it is ours.

    *id* is Vitally's own. Not *linked*: it refused the organization.
    """

    word: str
    change: Change
    name: Name | None
    requests: int
    id: str = ""
    linked: bool = True


@dataclass(frozen=True, slots=True)
class Write:
    """One write; each request after the first takes its own slot.

    *refusal*: why the account must not be created, if so.
    """

    context: Context
    view: View
    document: Document
    change: Change
    refusal: str | None

    def run(self) -> Written:
        """Write. Raises VitallyError, Held, Postponed, LostLeaseError."""
        vitally, view = self.context.vitally, self.view
        try:
            done = self._create(1) if self._is_absent() else self._update()
        except (VitallyRefusedError, WrongAddressError, Held):
            if not place(view, self.change, creates=False):
                raise
            # It may be the organization that is missing, whatever the answer.
            self._next_slot()
            return replace(self, view=view._replace(organizations={})).run()
        placed = place(view, self.change, creates=done.word == "created")
        if placed or ORGANIZATION not in self.change.traits:
            return done
        # In a request of its own: an organization that Vitally does not have must not
        # hold up the numbers. The account stays where it is until another is named.
        self._next_slot()
        wanted = {ORGANIZATION: self.change.traits[ORGANIZATION]}
        try:
            vitally.update(self.view.account, wanted)
        except (VitallyMissingError, VitallyRefusedError) as error:
            extra = fields(account=self.view.account, reason=error.brief)
            log.warning("no such organization", extra=extra)
            of = str(wanted[ORGANIZATION])
            if any(member.organization == of for member in view.members):  # ours
                self._look_for(of)
                done = done._replace(linked=False)
        return done._replace(requests=done.requests + 1)

    def _look_for(self, of: str) -> None:
        """Note whether Vitally has an organization, so that no account is put into none."""
        context = self.context
        wait = partial(wait_to_read, context)
        reader = Reconciler(context.redis, context.vitally, context.config, wait)
        with suppress(Postponed, VitallyError):
            wait()
            reader.look(organization(of))

    def _is_absent(self) -> bool:
        """Whether Vitally surely does not have the account, which saves an update."""
        if self.view.is_absent or not self.view.was_not_there:
            return self.view.is_absent
        try:
            self._read()
        except VitallyMissingError:
            return True
        return False

    def _read(self) -> Mapping[str, Any]:
        """Read the account; many reads share the slot of a write."""
        wait_to_read(self.context)
        return self.context.vitally.get(self.view.account)

    def _update(self) -> Written:
        change = self._change()
        self._mark_unconfirmed()
        try:
            reply = self.context.vitally.update(self.view.account, self._body(change))
        except VitallyMissingError:
            return self._create(2)
        return Written("updated", change, *self._ours(change.name, reply, 1))

    def _change(self) -> Change:
        """The change, without the name if somebody renamed the account by hand."""
        if self.change.name is None:
            return self.change
        try:
            name = self._read().get("name")
        except VitallyMissingError:
            return self.change
        ours = self.view.ledger.name
        is_ours = ours is not None and ours.text == name
        return self.change if is_ours else self.change._replace(name=None)

    def _mark_unconfirmed(self) -> None:
        # Traits that an earlier write may have set stay ours until sent or removed.
        traits = {*self.document.traits, *self.view.unconfirmed_traits}
        self.context.leases.mark_unconfirmed(self.view.lease, OWED, traits)

    def _create(self, requests: int) -> Written:
        """Create the account by the last one of *requests*."""
        if self.refusal is not None:
            raise Held(self.refusal)
        if requests > 1:
            self._next_slot("POST")
        else:
            self._mark_unconfirmed()
        everything = Change(self.document.name.text, self.document.traits)
        body = self._body(everything, creates=True)
        try:
            reply = self.context.vitally.create(body)
        except VitallyMissingError as error:
            kind, words = UNKNOWN_TO_BOTH[bool(organization_id(self.view.account))]
            raise kind(f"PUT and POST are both answered 404: {words}", 404) from error
        except VitallyRefusedError as error:
            if error.status not in AFTER_REFUSAL and not already_exists(error):
                raise
            refusal = error
        else:
            more = self._ours(everything.name, reply, requests)
            return Written("created", everything, *more)
        # Somebody else created it in the meantime, or an earlier POST arrived.
        self._next_slot()
        change = everything._replace(name=None)
        try:
            reply = self.context.vitally.update(self.view.account, self._body(change))
        except VitallyMissingError:
            raise refusal from None
        return Written("updated", change, *self._ours(None, reply, requests + 1))

    def _next_slot(self, kind: str = "PUT") -> None:
        """Wait for the next request's slot; every earlier request has been answered."""
        # Urgent: what was begun is not left half done to spread the others.
        wait, slots = self.context.throttle.reserve(SHORT_WAIT_MS, kind, urgent=True)
        if wait < 0:
            raise Postponed(-wait)
        while not self.context.stop.wait(min(wait, 2000) / 1000):
            self._mark_unconfirmed()
            wait -= 2000
            if wait <= 0:
                return
        self.context.throttle.give_back(slots)
        raise Postponed(0)

    def _ours(
        self, sent: str | None, reply: Mapping[str, Any], requests: int
    ) -> tuple[Name | None, int, str]:
        """The name in Vitally, if we wrote it, and the rest of a `Written`.

        The name is not ours if the *reply* shows another. After an unconfirmed creation
        it may be ours although this write *sent* none.
        """
        name, view = self.document.name, self.view
        ours = name if sent == name.text else view.ledger.name
        if ours is None and view.unconfirmed_writes and not view.written:
            ours = name
        is_ours = ours is not None and reply.get("name") == ours.text
        return ours if is_ours else None, requests, str(reply.get("id") or "")

    def _body(self, change: Change, *, creates: bool = False) -> dict[str, Any]:
        traits = {key: v for key, v in change.traits.items() if key != ORGANIZATION}
        named = {} if change.name is None else {"name": change.name}
        named |= {"externalId": self.view.account} if creates else {}
        return {"traits": traits, **named, **place(self.view, change, creates=creates)}
