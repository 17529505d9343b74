"""The switches of the simulator: each thing about Vitally that is not known."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime, timedelta
from typing import Any

from flask import Flask, abort, request

from bridge.vitally import simulator as product
from bridge.vitally.simulator import Account, iso, now

TOUCHED_AFTER = 600_500
"""Milliseconds from a creation to the background's touch of `updatedAt`; recorded."""


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


class SlidingWindow:
    """Forgets what is older than the window; the edition of 2022 to 2026-04.

    `RateLimit-Reset` is the time until the earliest request leaves the window.
    """

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._spent: deque[tuple[float, int]] = deque()

    def take(self, cost: int, now: float) -> bool:
        if self.remaining(now) < cost:
            return False
        self._spent.append((now, cost))
        return True

    def remaining(self, now: float) -> int:
        while self._spent and self._spent[0][0] <= now - self._seconds:
            self._spent.popleft()
        return self._limit - sum(cost for _, cost in self._spent)

    def reset(self, now: float) -> int:
        earliest = self._spent[0][0] if self._spent else now
        return max(1, math.ceil(earliest + self._seconds - now))


class Organizations(product.Simulator):
    """Organizations, as far as accounts need them; they are shaped like accounts."""

    def __init__(self, accounts: product.Simulator) -> None:
        super().__init__()
        self._accounts = accounts

    def create_again(self, account: Account, body: Mapping[str, Any]) -> Account:
        return self.merge(account, body)

    def shown(self, account: Account) -> Account:
        shown = super().shown(account)
        del shown["accountOwnerId"], shown["organizationId"]
        every = self._accounts.by_id.values()
        members = [a for a in every if a["organizationId"] == account["id"]]
        return {**shown, "organizationOwnerId": None, "accountsCount": len(members)}


class Switched(product.Simulator):
    """The product's simulator where each unknown of Vitally is a switch.

    An account's organization must be there.
    """

    def __init__(self, keys: tuple[str, ...], switches: Switches) -> None:
        super().__init__(keys)
        self._apply(switches)

    def make_app(self) -> Flask:
        app = super().make_app()
        self.organizations = Organizations(self)
        path = "/resources/organizations"
        self.route(app, "GET", path, self.organizations.list_accounts)
        self.route(app, "POST", path, self.organizations.create)
        self.route(app, "GET", f"{path}/<name>", self.organizations.get)
        return app

    def clear(self) -> None:
        super().clear()
        self.organizations.clear()

    def turn(self, **changes: Any) -> dict[str, Any]:
        """Turn switches by name and return all of them; raises ValueError."""
        with self.lock:
            self._apply(changed(self.switches, changes))
            if any(name.startswith("rate_") for name in changes):
                self.buckets.clear()
            return asdict(self.switches)

    def _apply(self, switches: Switches) -> None:
        self.switches = switches
        self.limit, self.seconds = switches.rate_limit, switches.rate_seconds
        self.write_cost = switches.write_cost
        self.revenue_trait = switches.revenue_trait
        self.app.config["MAX_CONTENT_LENGTH"] = switches.body_limit

    def bucket(self, key: str) -> Any:
        return super().bucket(key if self.switches.rate_scope == "key" else "")

    def new_bucket(self) -> Any:
        if self.switches.rate_mode == "bucket":
            return super().new_bucket()
        return SlidingWindow(self.limit, self.seconds)

    def find(self, name: str) -> Account | None:
        if self.switches.id_precedence == "id":
            return super().find(name)
        return self.by_external_id.get(name) or self.by_id.get(name)

    def create_again(self, account: Account, body: Mapping[str, Any]) -> Account:
        if self.switches.duplicate_create == "bad400":
            abort(400, "externalId already exists")
        if self.switches.duplicate_create == "upsert":
            return self.merge(account, body)
        return super().create_again(account, body)

    def update_missing(self, name: str, body: Mapping[str, Any]) -> Account:
        if self.switches.put_on_missing == "upsert":
            return self.add({"name": name, **body, "externalId": name})
        return super().update_missing(name, body)

    def get(self, name: str) -> Account:
        is_ignored = product.stage(self.shown(self.find_or_404(name))) == "ignored"
        if is_ignored and self.switches.ignored_by_get == "404":
            abort(404, "Account not found.")
        return super().get(name)

    def merge(self, account: Account, body: Mapping[str, Any]) -> Account:
        super().merge(account, body)
        if self.switches.null_trait == "keep":
            gone = {n: None for n, v in body.get("traits", {}).items() if v is None}
            account["traits"] = account["traits"] | gone
        return account

    def shown(self, account: Account) -> Account:
        shown = super().shown(account)
        if self.switches.keep_last_revenue == "off":
            shown["mrr"] = account["traits"].get(self.revenue_trait)
        if self.switches.lifecycle == "unmapped":
            shown |= dict.fromkeys(("mrr", *product.DATES))
        touched = _later(account["createdAt"], TOUCHED_AFTER)
        if self.switches.background_touch == "on" and touched <= iso(now()):
            shown["updatedAt"] = max(shown["updatedAt"], touched)
        return shown

    def body(
        self, kinds: Mapping[str, str], required: Iterable[str] = ()
    ) -> dict[str, Any]:
        body = super().body(kinds, required)
        if (wanted := body.get("organizationId")) is not None:
            body = {**body, "organizationId": self._organization(wanted, 400)}
        if self.switches.nested_traits == "400":
            kind = "string,number,boolean,null"
            for name, value in body.get("traits", {}).items():
                if isinstance(value, dict | list):
                    path = f"/traits/{name}"
                    product.invalid(path, "type", {"type": kind}, f"must be {kind}")
        return body

    def list_members(self, name: str) -> dict[str, Any]:
        return super().list_members(self._organization(name, 404))

    def _organization(self, name: str, otherwise: int) -> str:
        found = self.organizations.find(name)
        return found["id"] if found else abort(otherwise, "Organization not found.")

    def page_of(self, accounts: Iterable[Account], status: str) -> dict[str, Any]:
        accounts = list(accounts)
        is_first = "from" not in request.args
        if self.switches.empty_pages == "on" and is_first and accounts:
            return {"results": [], "next": product.cursor(("9999", ""))}
        return super().page_of(accounts, status)

    def limit_of_page(self) -> int:
        is_over = request.args.get("limit", 0, type=int) > product.PAGE_CAP
        if is_over and self.switches.over_limit_page == "400":
            abort(400, f"limit must be from 1 to {product.PAGE_CAP}")
        return super().limit_of_page()


def _later(instant: str, milliseconds: int) -> str:
    at = datetime.fromisoformat(instant) + timedelta(milliseconds=milliseconds)
    return iso(round(at.timestamp() * 1000))
