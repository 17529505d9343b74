"""The write itself: PUT, on 404 POST, and PUT again where the account exists."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from bridge.domain.account import Name
from bridge.domain.document import Change, Document
from bridge.errors import VitallyKeyError, VitallyMissingError, VitallyRefusedError
from bridge.store.lease import Lease, Leases, View
from workers.throttle import Throttle

IN_DOUBT = "2"
"""Whole writes that are owed once a request may be on its way."""

FAR_MS = 60_000
"""A slot of the throttle is never further away than its window."""

AFTER_REFUSAL = frozenset({400, 409})
"""Refusals of a creation that may mean that the account exists."""


class Held(Exception):  # noqa: N818 (an outcome, not an error)
    """Vitally does not have the account, and it is not to be created."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class Stopped(Exception):  # noqa: N818 (an outcome, not an error)
    """The worker is to stop before the next request."""


class WrongAddressError(VitallyKeyError):
    """PUT and POST are both answered 404: the base URL or subdomain is wrong."""


class Accounts(Protocol):
    """What a write needs of Vitally's client."""

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
        """Make *plan* true. Raises VitallyError, Held, Stopped, LostLeaseError."""
        self._leases.keep(plan.lease, IN_DOUBT)
        try:
            reply = self._vitally.update(plan.lease.account, _body(plan.change))
        except VitallyMissingError:
            return self._create(plan)
        name = _ours(plan, plan.change.name, reply)
        return Written("updated", plan.change, name, 1)

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
            if error.status not in AFTER_REFUSAL:
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
        wait, _slot = self._throttle.reserve(FAR_MS)
        while not self._stop.wait(min(max(wait, 0), 2000) / 1000):
            self._leases.keep(plan.lease, IN_DOUBT)
            wait -= 2000
            if wait <= 0:
                return
        raise Stopped


def _body(change: Change) -> dict[str, Any]:
    body: dict[str, Any] = {"traits": dict(change.traits)}
    if change.name is not None:
        body["name"] = change.name
    return body


def _ours(plan: Plan, sent: str | None, reply: Mapping[str, Any]) -> Name | None:
    """The name in Vitally, if we wrote it; a reply that shows another: not ours.

    After a doubtful creation the name may be ours although this write had none.
    """
    name, ledger = plan.document.name, plan.view.ledger
    ours = name if sent == name.text else ledger.name
    if ours is None and plan.view.doubt and not plan.view.exists:
        ours = name
    shown = reply.get("name")
    return ours if ours and shown == ours.text else None
