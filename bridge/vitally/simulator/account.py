"""One account as Vitally shows it: what is stored, what is derived from traits.

The fields mrr, nextRenewalDate, churnedAt and trialEndDate follow the workspace's
lifecycle rules: https://docs.vitally.io/en/articles/9890272-lifecycle-tracking-overview.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from bridge.vitally.simulator.switches import Switches

TOUCHED_AFTER = 600_500
"""Milliseconds from a creation to the background's touch of `updatedAt`; recorded."""


@dataclass(slots=True)
class Record:
    """What is stored of an account or organization; instants in milliseconds, UTC."""

    id: str
    external_id: str
    name: str
    created: int
    updated: int
    traits: dict[str, Any] = field(default_factory=dict)
    organization: str | None = None
    owner: str | None = None
    last_revenue: Any = None


class Lifecycle(NamedTuple):
    """What the rules make of the traits; *stage* is where the account counts."""

    mrr: Any
    renewal: str | None
    churned: str | None
    trial_end: str | None
    stage: str


def lifecycle(record: Record, switches: Switches) -> Lifecycle:
    """Apply the rules: any revenue, even 0, makes an account subscribed."""
    traits = record.traits
    ignored = bool(traits.get(switches.ignored_trait))
    if switches.lifecycle == "unmapped":
        stage = "ignored" if ignored else "subscribed"
        return Lifecycle(None, None, None, None, stage)
    revenue = traits.get(switches.revenue_trait)
    churned = shown_instant(traits.get(switches.churn_trait))
    trial_end = shown_instant(traits.get(switches.trial_trait))
    shown = revenue
    if churned and revenue is None and switches.keep_last_revenue == "on":
        shown = record.last_revenue
    rules = (
        (ignored, "ignored"),
        (churned is not None, "churned"),
        (trial_end is not None and revenue is None, "trial"),
    )
    stage = next((name for holds, name in rules if holds), "subscribed")
    renewal = shown_instant(traits.get(switches.renewal_trait))
    return Lifecycle(shown, renewal, churned, trial_end, stage)


def shown_account(record: Record, switches: Switches, now: int) -> dict[str, Any]:
    """Return the full object, nulls explicit, as recorded in 2024-05."""
    derived = lifecycle(record, switches)
    return {
        "id": record.id,
        "createdAt": iso(record.created),
        "updatedAt": iso(updated(record, switches, now)),
        "externalId": record.external_id,
        "name": record.name,
        "traits": dict(record.traits),
        "organizationId": record.organization,
        "accountOwnerId": record.owner,
        "mrr": derived.mrr,
        "nextRenewalDate": derived.renewal,
        "churnedAt": derived.churned,
        "firstSeenTimestamp": None,
        "lastSeenTimestamp": None,
        "lastInboundMessageTimestamp": None,
        "lastOutboundMessageTimestamp": None,
        "trialEndDate": derived.trial_end,
        "usersCount": 0,
        "npsDetractorCount": 0,
        "npsPassiveCount": 0,
        "npsPromoterCount": 0,
        "npsScore": None,
        "healthScore": None,
        "csmId": None,
        "accountExecutiveId": None,
        "segments": [],
        "keyRoles": [],
    }


def updated(record: Record, switches: Switches, now: int) -> int:
    """Return `updatedAt` in milliseconds: it moves by itself."""
    touched = record.created + TOUCHED_AFTER
    if switches.background_touch == "off" or now < touched:
        return record.updated
    return max(record.updated, touched)


def iso(milliseconds: int) -> str:
    """Return an instant as Vitally writes it: `2024-05-10T15:37:51.762Z`."""
    seconds, rest = divmod(milliseconds, 1000)
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:03d}Z"


def shown_instant(value: Any) -> str | None:
    """Return a trait as an instant: ISO 8601 or milliseconds; anything else is None."""
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            return iso(round(aware.timestamp() * 1000))
        if isinstance(value, int | float) and not isinstance(value, bool):
            return iso(int(value))
    except (ValueError, OverflowError, OSError):
        pass
    return None
