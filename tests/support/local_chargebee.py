"""A small honest Chargebee over real HTTP: customers, subscriptions, events, and faults.

A list is paged by an offset that is good for that list alone, leaves out what was deleted
unless it is asked for, and refuses a parameter that it does not know. While `lists_lag`,
lists stay as they were; a single resource is always as it is now.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from tests.support.chargebee import DAY_0
from tests.support.local_api import Asked, Json, LocalApi, RefusedError, Reply

KEY = "test_exampleKey"
SECRET_PART = "exampleXYZ"
"""In Chargebee's error texts; no message of ours may show it."""

SORTS = {"customers": "created_at", "subscriptions": "created_at"}
SORTS |= {"events": "occurred_at"}
FILTERS = {"id": "is", "customer_id": "is", "event_type": "in"}
FILTERS |= dict.fromkeys(("created_at", "occurred_at"), "after between")


def refused(status: int, code: str, headers: Mapping[str, str] = {}) -> Reply:
    """An error as Chargebee answers it."""
    body = {"message": f"sorry, {SECRET_PART}", "api_error_code": code}
    return Reply({**body, "http_status_code": status}, status, headers)


class LocalChargebee(LocalApi):
    """Chargebee as it is with the resources that were `put`."""

    faults: Mapping[str, Reply] = {
        "403": refused(403, "api_authorization_failed"),
        "429": refused(429, "api_request_limit_exceeded", {"Retry-After": "1"}),
        "500": refused(500, "internal_error"),
        "garbage": Reply(f'{{"list": "{SECRET_PART}'.encode()),
        "odd": Reply({"list": [{"card": {}}]}),
    }

    def __init__(self) -> None:
        super().__init__()
        self.lists_lag = False
        self.ends_count = True
        """Whether the ends of `between` do: Chargebee does not say."""
        self._now: dict[str, dict[str, Json]] = {kind: {} for kind in SORTS}
        self._listed: dict[str, dict[str, Json]] = {kind: {} for kind in SORTS}

    def put(self, *resources: Json) -> None:
        """Keep resources (or newer ones of the same id) by their `object`."""
        for one in resources:
            kind = f"{one['object']}s"
            kept = {"created_at": DAY_0, **one} if kind != "events" else one
            self._now[kind][one["id"]] = kept
            if not self.lists_lag:
                self._listed[kind][one["id"]] = kept

    def answer(self, asked: Asked) -> Reply:
        """A resource or a page of a list."""
        pair = b64encode(f"{KEY}:".encode()).decode()
        if asked.headers.get("Authorization") != f"Basic {pair}":
            raise RefusedError(refused(401, "api_authentication_failed"))
        match unquote(asked.path).split("/"):
            case ["", "api", "v2", kind] if kind in SORTS:
                return Reply(self._page(kind, dict(asked.query)))
            case ["", "api", "v2", kind, id_] if kind in SORTS:
                found = self._now[kind].get(id_)
                if found and not found.get("deleted"):
                    return Reply({kind[:-1]: found})
        raise RefusedError(refused(404, "resource_not_found"))

    def _page(self, kind: str, query: dict[str, str]) -> Json:
        limit, offset = int(query.pop("limit", 10)), query.pop("offset", "")
        key = SORTS[kind]
        is_down = query.get("sort_by[desc]") == key
        rows = [row for row in self._listed[kind].values() if self._has(row, query)]
        rows.sort(key=lambda row: _place(row, key), reverse=is_down)
        if offset:
            of, *after = json.loads(offset)
            if of != _mark(kind, query):
                raise RefusedError(refused(400, "param_wrong_value"))
            places = [_place(row, key) for row in rows]
            later = [
                (p < tuple(after)) if is_down else (p > tuple(after)) for p in places
            ]
            rows = [row for row, is_later in zip(rows, later, strict=True) if is_later]
        shown = rows[: min(limit, 100)]
        page: Json = {"list": [{kind[:-1]: row} for row in shown]}
        if len(rows) > len(shown):
            page["next_offset"] = json.dumps(
                [_mark(kind, query), *_place(shown[-1], key)]
            )
        return page

    def _has(self, row: Json, query: Mapping[str, str]) -> bool:
        """Whether a list shows *row*."""
        if row.get("deleted") and query.get("include_deleted") != "true":
            return False
        for name, value in query.items():
            field, _, how = name.rstrip("]").partition("[")
            if field in {"include_deleted", "sort_by"}:
                continue
            if how not in FILTERS.get(field, "").split():
                raise RefusedError(refused(400, "param_wrong_value"))
            if not self._is(row[field], how, value):
                return False
        return True

    def _is(self, of: Any, how: str, value: str) -> bool:
        if how == "is":
            return bool(of == value)
        if how == "after":
            return bool(of > int(value))
        given = json.loads(value)
        if how == "in":
            return of in given
        low, high = given
        return bool(low <= of <= high if self.ends_count else low < of < high)


def _place(row: Json, key: str) -> tuple[int, str]:
    return row[key], row["id"]


def _mark(kind: str, query: Mapping[str, str]) -> str:
    """What a list is of: its offsets are good for no other."""
    return json.dumps([kind, *sorted(query.items())])
