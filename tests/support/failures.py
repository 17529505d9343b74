"""Things that wait for a person, put into the state as a job or a delivery leaves them."""

from __future__ import annotations

from collections.abc import Sequence

from redis import Redis

from bridge.domain.account import UNNAMED
from bridge.domain.facts import Fact, Stamp
from bridge.domain.values import CUSTOMER
from bridge.store.accept import Accept
from bridge.store.lease import Leases
from bridge.store.quarantine import Kept, Quarantine
from bridge.store.view import Outcome

FIVE = (
    ("held", UNNAMED),
    ("held", "its subscriptions name different accounts: acme{n}, beta{n}"),
    ("parked", "/externalId must NOT have more than 100 characters: 'acme-{n}'"),
    ("parked", "/traits/mrr must be integer, not {n}.5"),
    ("quarantined", "customer.updated: data.object.items.{n}.price: Missing data."),
)
"""(kind, reason) of five causes."""


def seed(
    redis: Redis, number: int, causes: Sequence[tuple[str, str]] = FIVE
) -> list[str]:
    """Let *number* things wait, of each of the *causes* in turn; their names."""
    names = []
    for n in range(number):
        kind, reason = causes[n % len(causes)]
        if kind == "quarantined":
            names.append(f"{n:016x}")
            text = reason.format(n=n)
            body = b'{"id": "evt_%d"}' % n
            Quarantine(redis).put(Kept(names[-1], 0, "stripe", f"evt_{n}", text, body))
        else:
            names.append(f"stripe:cus_{n}")
            wait(redis, names[-1], kind, reason.format(n=n))
    return names


def wait(redis: Redis, party: str, kind: str, reason: str) -> None:
    """Let *party* be held or parked, with one event."""
    value = {"name": "Acme"}
    fact = Fact(
        party, CUSTOMER, Stamp(False, 1, 0), "evt_1", "customer.created", value, ""
    )
    Accept(redis).facts("stripe", [fact])
    leases = Leases(redis)
    view = leases.begin(party)
    assert view is not None
    leases.ack(view, Outcome(kind, kind, reason))
