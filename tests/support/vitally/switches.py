"""The switches of the simulator: each thing about Vitally that is not known."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from flask import abort, request

from bridge.domain.traits import instant
from bridge.vitally import simulator as product
from bridge.vitally.simulator import Account, now
from tests.support.vitally.custom_objects import EXAMPLE_TOKEN, CustomObjects

TOUCHED_AFTER = 600_500
"""Milliseconds from a creation to the background's touch of `updatedAt`; recorded."""

SWITCHES: Mapping[str, Any] = {
    # A second creation of an account.
    "duplicate_create": ("conflict409", "upsert", "bad400"),
    # An update of an account that is not there.
    "put_on_missing": ("404", "upsert"),
    # A trait set to null: dropped, or kept as null.
    "null_trait": ("drop", "keep"),
    # Objects and lists as values of traits.
    "nested_traits": ("accept", "400"),
    # A list with a limit above 100.
    "over_limit_page": ("clamp", "400"),
    # A first page without results, but with a next one.
    "empty_pages": ("off", "on"),
    # `error` of 401, 404, 409 and 429.
    "error_form": ("string", "object"),
    # `Retry-After` on a 429 of the limit.
    "retry_after": ("absent", "present"),
    # Token bucket, or the older sliding window.
    "rate_mode": ("bucket", "window"),
    # Who shares one limit.
    "rate_scope": ("key", "workspace"),
    # Units in a window, its seconds, and units of POST, PUT and DELETE.
    "rate_limit": 1000,
    "rate_seconds": 60.0,
    "write_cost": 10,
    # Whether traits feed mrr, churnedAt, ..., and which of them feed `mrr`, in their
    # order. How long that takes (seconds).
    "lifecycle": ("mapped", "unmapped"),
    "revenue_trait": "mrr",
    "derived_after": 0.0,
    # *Revenue default*: MRR; or ARR, and what that does to the API's `mrr`.
    "revenue_default": ("mrr", "arr_times_12", "arr_by_12", "arr_on_screens"),
    # The trait with the currency, from which revenue is converted to that of the
    # workspace; "": it is taken as it is.
    "currency_trait": "",
    "home_currency": "USD",
    # When an account is churned: `churnedAt` has a value; its status is one of some; a
    # trait that nobody fills is none of some. Whether Vitally then shows a date.
    "churn_rule": ("date", "is_one_of", "is_none_of"),
    "churn_date": ("absent", "detected"),
    # Who may edit traits in Vitally.
    "editable_by": ("all_but_observers", "admins_and_leaders", "no_one"),
    # How far Vitally's clock is ahead of ours (seconds).
    "clock_ahead": 0.0,
    # A churned account without revenue shows its last one.
    "keep_last_revenue": ("on", "off"),
    # GET of an ignored account.
    "ignored_by_get": ("200", "404"),
    # An external id that is another account's id.
    "id_precedence": ("id", "external"),
    # An account that names an organization that is not there.
    "unknown_organization": ("400", "404", "accept"),
    # `updatedAt` moves ten minutes after the creation.
    "background_touch": ("on", "off"),
    # A search of instances: the first match as it is, or in a page.
    "instance_search": ("one", "page"),
    # Seconds until what the Analytics API took is there.
    "analytics_delay": 0.0,
    # Bytes of a body; more is answered 413.
    "body_limit": product.BODY_CAP,
}
"""Name -> its positions, the likeliest first; or what it is unless it is turned."""

WORTH: Mapping[str, float] = {"USD": 1.0, "EUR": 1.175, "JPY": 0.0066, "GBP": 1.33}
"""What one unit of a currency is worth in US dollars."""

YEARS = {"mrr": 1, "arr_times_12": 12, "arr_by_12": 1 / 12, "arr_on_screens": 1}


def in_the_beginning() -> dict[str, Any]:
    """Every switch where it stands unless it is turned."""
    return {n: p[0] if isinstance(p, tuple) else p for n, p in SWITCHES.items()}


class SlidingWindow:
    """Forgets what is older than the window; the edition of 2022 to 2026-04.

    `RateLimit-Reset` is the time until the earliest request leaves the window.
    """

    def __init__(self, limit: int, seconds: float) -> None:
        self._limit = limit
        self._seconds = seconds
        self._spent: deque[tuple[float, int]] = deque()

    def take(self, cost: int, now: float) -> bool:
        enough = self.remaining(now) >= cost
        if enough:
            self._spent.append((now, cost))
        return enough

    def remaining(self, now: float) -> int:
        while self._spent and self._spent[0][0] <= now - self._seconds:
            self._spent.popleft()
        return self._limit - sum(cost for _, cost in self._spent)

    def reset(self, now: float) -> int:
        earliest = self._spent[0][0] if self._spent else now
        return max(1, math.ceil(earliest + self._seconds - now))


class Turned(product.Simulator):
    """What each unknown of Vitally changes, for accounts and organizations alike."""

    switches: Mapping[str, Any]

    def empty(self) -> None:
        super().empty()
        self.before: dict[str, tuple[float, Mapping[str, Any]]] = {}

    def find(self, name: str) -> Account | None:
        if self.switches["id_precedence"] == "id":
            return super().find(name)
        return self.by_external_id.get(name) or self.by_id.get(name)

    def create_again(self, account: Account, body: Mapping[str, Any]) -> Account:
        if self.switches["duplicate_create"] == "bad400":
            abort(400, "externalId already exists")
        if self.switches["duplicate_create"] == "upsert":
            return self.merge(account, body)
        return super().create_again(account, body)

    def update_missing(self, name: str, body: Mapping[str, Any]) -> Account:
        if self.switches["put_on_missing"] == "upsert":
            return self.add({"name": name, **body, "externalId": name})
        return super().update_missing(name, body)

    def get(self, name: str) -> Account:
        shown = super().get(name)
        hidden = self.switches["ignored_by_get"] == "404"
        if hidden and self.stage(shown) == "ignored":
            abort(404, f"{self.word} not found.")
        return shown

    def revenue(self, traits: Mapping[str, Any]) -> Any:
        amount = super().revenue(traits)
        if isinstance(amount, bool) or not isinstance(amount, int | float):
            return amount
        trait, home = self.switches["currency_trait"], self.switches["home_currency"]
        code = traits.get(trait, home) if trait else home
        worth = 1 if code == home else WORTH.get(code, 1) / WORTH[home]
        amount *= YEARS[self.switches["revenue_default"]] * worth
        return round(amount, 2)

    def stage(self, account: Account) -> str:
        traits, rule = account["traits"], self.switches["churn_rule"]
        shown = account | {"churnedAt": None}
        if rule == "date":
            return super().stage(account)
        if rule == "is_one_of":
            is_churned = traits.get("subscriptionStatus") == "churned"
        else:
            is_churned = traits.get("lifecycle_stage") not in {"customer", "trial"}
        usual = super().stage(shown)
        return "churned" if is_churned and usual != "ignored" else usual

    def edit(self, name: str, role: str = "team member", **traits: Any) -> bool:
        """Change traits as somebody with this *role* does in Vitally; False: may not."""
        roles = {"all_but_observers": {"admin", "leader", "team member"}}
        roles |= {"admins_and_leaders": {"admin", "leader"}, "no_one": set()}
        if role not in roles[self.switches["editable_by"]]:
            return False
        with self.lock:
            self.merge(self.by_external_id[name], {"traits": traits})
        return True

    def merge(self, account: Account, body: Mapping[str, Any]) -> Account:
        before = dict(account["traits"])
        super().merge(account, body)
        self.before[account["id"]] = (time.monotonic(), before)
        if self.switches["null_trait"] == "keep":
            gone = {n: None for n, v in body.get("traits", {}).items() if v is None}
            account["traits"] = account["traits"] | gone
        return account

    def shown(self, account: Account) -> Account:
        shown = super().shown(account)
        if self.switches["keep_last_revenue"] == "off":
            shown["mrr"] = self.revenue(account["traits"])
        at, before = self.before.get(account["id"], (0.0, {}))
        if time.monotonic() < at + self.switches["derived_after"]:
            shown |= super().shown(account | {"traits": before})
            shown["traits"] = account["traits"]
        is_dated = self.switches["churn_date"] == "detected" and not shown["churnedAt"]
        if is_dated and self.stage(shown) == "churned":
            shown["churnedAt"] = account["updatedAt"]
        if self.switches["lifecycle"] == "unmapped":
            shown |= dict.fromkeys(("mrr", *product.DATES))
        born = datetime.fromisoformat(account["createdAt"]).timestamp()
        touched = instant(round(born * 1000) + TOUCHED_AFTER)
        if self.switches["background_touch"] == "on" and touched <= instant(now()):
            shown["updatedAt"] = max(shown["updatedAt"], touched)
        return shown

    def body(self, kind: str = "") -> dict[str, Any]:
        body = super().body(kind)
        if self.switches["nested_traits"] == "400":
            kind = "string,number,boolean,null"
            for name, value in body.get("traits", {}).items():
                if isinstance(value, dict | list):
                    path = f"/traits/{name}"
                    product.invalid(path, "type", {"type": kind}, f"must be {kind}")
        return body

    def page_of(self, status: str, *wanted: Callable[[Account], bool]) -> Any:
        is_over = request.args.get("limit", 0, type=int) > product.PAGE_CAP
        if is_over and self.switches["over_limit_page"] == "400":
            abort(400, f"limit must be from 1 to {product.PAGE_CAP}")
        is_first = "from" not in request.args
        if self.switches["empty_pages"] == "on" and is_first and self.by_id:
            return {"results": [], "next": "9999~"}
        return super().page_of(status, *wanted)


class Organizations(Turned, product.Organizations):
    """The organizations of the tests."""


class Switched(Turned):
    """The product's simulator where each unknown of Vitally is a switch."""

    organizations: Organizations
    tokens: Sequence[str] = (EXAMPLE_TOKEN,)
    """Keys of the Analytics API."""

    def __init__(self, keys: tuple[str, ...], **switches: Any) -> None:
        super().__init__(keys)
        self.switches = in_the_beginning()
        self.turn(**switches)

    def make_organizations(self) -> Organizations:
        return Organizations(self)

    def clear(self) -> None:
        super().clear()
        self.custom_objects.clear()

    def routes(self) -> list[tuple[str, str, Callable[..., Any]]]:
        self.custom_objects = CustomObjects(self)
        return [*super().routes(), *self.custom_objects.routes]

    def admit(self) -> None:
        self.custom_objects.catch_up()
        if request.path.startswith("/analytics/"):
            product.must_be_known(product.sent_key(self.tokens))
        else:
            super().admit()

    def first_match(self, found: Account | None) -> Any:
        """Answer a search of instances; its form is not documented."""
        if self.switches["instance_search"] == "one":
            return found or abort(404, "Not found.")
        return {"results": [found] if found else [], "next": None}

    def turn(self, **changes: Any) -> None:
        """Turn switches by name; AssertionError where there is no such position."""
        for name, position in changes.items():
            positions = SWITCHES.get(name, ())
            known = positions if isinstance(positions, tuple) else (position,)
            assert position in known, f"{name} may be {known}"
        with self.lock:
            self.switches = self.switches | changes
            self.limit = self.switches["rate_limit"]
            self.seconds = self.switches["rate_seconds"]
            self.write_cost = self.switches["write_cost"]
            for one in (self, self.organizations):
                one.switches = self.switches
                one.revenue_traits = self.switches["revenue_trait"].split()
            unknown = self.switches["unknown_organization"]
            self.unknown_organization = int(unknown) if unknown != "accept" else None
            self.custom_objects.delay = self.switches["analytics_delay"]
            self.app.config["MAX_CONTENT_LENGTH"] = self.switches["body_limit"]
            if any(name.startswith("rate_") for name in changes):
                self.buckets.clear()

    def bucket(self, key: str) -> Any:
        key = key if self.switches["rate_scope"] == "key" else ""
        if self.switches["rate_mode"] == "window" and key not in self.buckets:
            window: Any = SlidingWindow(self.limit, self.seconds)
            self.buckets[key] = window
        return super().bucket(key)
