"""The write itself: PUT, on 404 POST, and PUT again where the account exists."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from bridge.domain.account import Name
from bridge.domain.document import Change, Document
from bridge.errors import VitallyKeyError, VitallyMissingError, VitallyRefusedError
from bridge.log import fields
from bridge.store.lease import Leases
from bridge.store.view import Lease, View
from bridge.vitally.replies import already_exists
from workers.throttle import SHORT_WAIT_MS, Throttle

log = logging.getLogger("workers.write")

OWED = 2
"""Whole writes that are owed once a request may be on its way."""

ORGANIZATION = "organizationId"
"""A trait of this name is no trait: it is the id of the account's organization.

An update takes its external id, a creation Vitally's own id alone:
https://docs.vitally.io/en/articles/9880654-rest-api-accounts
"""

AFTER_REFUSAL = frozenset({400, 409})
"""Refusals of a creation that may mean that the account exists."""


class Held(Exception):  # noqa: N818 (an outcome, not an error)
    """Vitally does not have the account, and it is not to be created."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Postponed(Exception):  # noqa: N818 (an outcome, not an error)
    """The next request has to wait *delay_ms*, longer than the job can."""

    def __init__(self, delay_ms: int) -> None:
        self.delay_ms = delay_ms
        super().__init__(delay_ms)


class WrongAddressError(VitallyKeyError):
    """PUT and POST are both answered 404: the base URL or subdomain is wrong."""


class Accounts(Protocol):
    """What a write needs of Vitally's client."""

    def get(self, account_id: str) -> dict[str, Any]: ...
    def update(self, account_id: str, body: Mapping[str, Any]) -> dict[str, Any]: ...
    def create(self, body: Mapping[str, Any]) -> dict[str, Any]: ...


class Plan(NamedTuple):
    """One write: *refusal* says why the account is not to be created, if so."""

    lease: Lease
    view: View
    document: Document
    change: Change
    refusal: str | None


class Written(NamedTuple):
    """What was done: *word* created or updated, *name* Vitally's if it is ours."""

    word: str
    change: Change
    name: Name | None
    requests: int


class Writer:
    """Writes to Vitally; each request after the first takes a slot of its own."""

    def __init__(
        self,
        vitally: Accounts,
        leases: Leases,
        throttle: Throttle,
        stop: threading.Event,
    ) -> None:
        self._vitally = vitally
        self._leases = leases
        self._throttle = throttle
        self._stop = stop

    def write(self, plan: Plan) -> Written:
        """Make *plan* true. Raises VitallyError, Held, Postponed, LostLeaseError."""
        done = self._write(plan)
        if ORGANIZATION not in plan.change.traits:
            return done
        return self._place(plan, done)

    def _place(self, plan: Plan, done: Written) -> Written:
        """Put the account into its organization, apart from all else.

        An organization that Vitally does not have must not hold up the numbers: the
        account stays where it is until the source names another.
        """
        self._next_slot(plan)
        wanted = {ORGANIZATION: plan.change.traits[ORGANIZATION]}
        try:
            self._vitally.update(plan.lease.account, wanted)
        except (VitallyMissingError, VitallyRefusedError) as error:
            told = fields(account=plan.lease.account, reason=error.reason)
            log.warning("no such organization", extra=told)
        return done._replace(requests=done.requests + 1)

    def _write(self, plan: Plan) -> Written:
        change = self._with_our_name(plan)
        self._mark_unconfirmed(plan)
        try:
            reply = self._vitally.update(plan.lease.account, _body(change))
        except VitallyMissingError:
            return self._create(plan)
        return Written("updated", change, _ours(plan, change.name, reply), 1)

    def _with_our_name(self, plan: Plan) -> Change:
        """The change, without its name where somebody renamed the account by hand."""
        if plan.change.name is None:
            return plan.change
        try:
            shown = self._vitally.get(plan.lease.account).get("name")
        except VitallyMissingError:
            return plan.change
        ours = plan.view.ledger.name
        if ours is not None and ours.text == shown:
            return plan.change
        return plan.change._replace(name=None)

    def _mark_unconfirmed(self, plan: Plan) -> None:
        # What an earlier write may have brought stays ours until it is told or removed.
        traits = {*plan.document.traits, *plan.view.unconfirmed_traits}
        self._leases.mark_unconfirmed(plan.lease, OWED, traits)

    def _create(self, plan: Plan) -> Written:
        if plan.refusal is not None:
            raise Held(plan.refusal)
        self._next_slot(plan)
        everything = Change(plan.document.name.text, plan.document.traits)
        body = _body(everything) | {"externalId": plan.lease.account}
        try:
            reply = self._vitally.create(body)
        except VitallyMissingError as error:
            raise WrongAddressError(
                "PUT and POST are both answered 404: the base URL or subdomain is wrong",
                404,
            ) from error
        except VitallyRefusedError as error:
            if error.status not in AFTER_REFUSAL and not already_exists(error):
                raise
            return self._exists_after_all(plan, error)
        return Written("created", everything, _ours(plan, everything.name, reply), 2)

    def _exists_after_all(self, plan: Plan, refusal: VitallyRefusedError) -> Written:
        """Somebody else made it meanwhile, or an earlier POST of ours arrived."""
        self._next_slot(plan)
        change = Change(None, plan.document.traits)
        try:
            reply = self._vitally.update(plan.lease.account, _body(change))
        except VitallyMissingError:
            raise refusal from None
        return Written("updated", change, _ours(plan, None, reply), 3)

    def _next_slot(self, plan: Plan) -> None:
        """Wait for a further request's slot; what was sent so far is answered."""
        wait, slot = self._throttle.reserve(SHORT_WAIT_MS)
        if wait < 0:
            raise Postponed(-wait)
        while not self._stop.wait(min(wait, 2000) / 1000):
            self._mark_unconfirmed(plan)
            wait -= 2000
            if wait <= 0:
                return
        self._throttle.give_back(slot)
        raise Postponed(0)


def _body(change: Change) -> dict[str, Any]:
    traits = {key: v for key, v in change.traits.items() if key != ORGANIZATION}
    body: dict[str, Any] = {"traits": traits}
    if change.name is not None:
        body["name"] = change.name
    return body


def _ours(plan: Plan, sent: str | None, reply: Mapping[str, Any]) -> Name | None:
    """The name in Vitally, if we wrote it; a reply that shows another: not ours.

    After an unconfirmed creation the name may be ours although this write had none.
    """
    name, ledger = plan.document.name, plan.view.ledger
    ours = name if sent == name.text else ledger.name
    if ours is None and plan.view.unconfirmed_writes and not plan.view.exists:
        ours = name
    shown = reply.get("name")
    return ours if ours and shown == ours.text else None
