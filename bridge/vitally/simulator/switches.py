"""The switches of the simulator: each thing about Vitally that is not known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any


def _one_of(*allowed: str, meaning: str) -> Any:
    """Make a switch whose first position is the likeliest."""
    metadata = {"allowed": allowed, "meaning": meaning}
    return field(default=allowed[0], metadata=metadata)


def _plain(default: Any, meaning: str) -> Any:
    return field(default=default, metadata={"meaning": meaning})


@dataclass(frozen=True, slots=True)
class Switches:
    """How this Vitally behaves where the real one is not documented."""

    duplicate_create: str = _one_of(
        "conflict409", "upsert", "bad400", meaning="A second creation of an account."
    )
    put_on_missing: str = _one_of(
        "404", "upsert", meaning="An update of an account that is not there."
    )
    null_trait: str = _one_of(
        "drop", "keep", meaning="A trait set to null: dropped, or kept as null."
    )
    nested_traits: str = _one_of(
        "accept", "400", meaning="Objects and lists as values of traits."
    )
    over_limit_page: str = _one_of(
        "clamp", "400", meaning="A list with a limit above 100."
    )
    empty_pages: str = _one_of(
        "off", "on", meaning="A first page without results, but with a next one."
    )
    error_form: str = _one_of(
        "string", "object", meaning="`error` of 401, 404, 409 and 429."
    )
    retry_after: str = _one_of(
        "absent", "present", meaning="`Retry-After` on a 429 of the limit."
    )
    rate_mode: str = _one_of(
        "bucket", "window", meaning="Token bucket, or the older sliding window."
    )
    rate_scope: str = _one_of("key", "workspace", meaning="Who shares one limit.")
    rate_limit: int = _plain(1000, "Units in a window.")
    rate_seconds: float = _plain(60.0, "Seconds of a window.")
    write_cost: int = _plain(10, "Units of POST, PUT and DELETE; a GET costs one.")
    lifecycle: str = _one_of(
        "mapped", "unmapped", meaning="Whether traits feed mrr, churnedAt, ..."
    )
    revenue_trait: str = _plain("mrr", "The trait that feeds `mrr`.")
    renewal_trait: str = _plain("nextRenewalDate", "It feeds `nextRenewalDate`.")
    churn_trait: str = _plain("churnedAt", "It feeds `churnedAt`.")
    trial_trait: str = _plain("trialEndDate", "It feeds `trialEndDate`.")
    ignored_trait: str = _plain("ignored", "An account where it is true is ignored.")
    keep_last_revenue: str = _one_of(
        "on", "off", meaning="A churned account without revenue shows its last one."
    )
    ignored_by_get: str = _one_of("200", "404", meaning="GET of an ignored account.")
    id_precedence: str = _one_of(
        "id", "external", meaning="An external id that is another account's id."
    )
    background_touch: str = _one_of(
        "on", "off", meaning="`updatedAt` moves ten minutes after the creation."
    )
    body_limit: int = _plain(1_000_000, "Bytes of a body; more is answered 413.")


def changed(switches: Switches, changes: Mapping[str, Any]) -> Switches:
    """Turn some switches by name; raises ValueError with what is wrong."""
    known = {row.name: row for row in fields(Switches)}
    for name, position in changes.items():
        if name not in known:
            raise ValueError(f"{name} is no switch; there are {', '.join(known)}")
        allowed = known[name].metadata.get("allowed")
        if allowed and position not in allowed:
            raise ValueError(f"{name} must be one of {', '.join(allowed)}")
        kind = type(known[name].default)
        if kind in {int, float} and not _is_positive(position):
            raise ValueError(f"{name} must be a number above 0")
        if kind is str and not isinstance(position, str):
            raise ValueError(f"{name} must be text")
    return replace(switches, **changes)


def _is_positive(position: Any) -> bool:
    return (
        isinstance(position, int | float)
        and not isinstance(position, bool)
        and position > 0
    )
