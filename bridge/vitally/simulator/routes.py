"""What each path of the simulated REST API does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import orjson

from bridge.vitally.simulator import schema
from bridge.vitally.simulator.account import Record, iso, lifecycle, shown_account
from bridge.vitally.simulator.schema import RefusalError
from bridge.vitally.simulator.switches import Switches
from bridge.vitally.simulator.workspace import (
    Records,
    Workspace,
    page,
    shown_organization,
)

_FIELD_TYPES = {bool: "boolean", int: "number", float: "number", str: "string"}


class Request(NamedTuple):
    """One request; *at* is wall time in milliseconds, *clock* monotonic seconds."""

    method: str
    target: str
    authorization: str | None
    body: bytes
    at: int
    clock: float

    @property
    def path(self) -> str:
        """The target without its query, still encoded."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The query; parameters that nobody knows are ignored."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))


class Desk(NamedTuple):
    """What answering one request needs."""

    workspace: Workspace
    switches: Switches
    request: Request


def parsed(body: bytes) -> Any:
    """Return the JSON of *body*, or None where it is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _content(desk: Desk) -> Any:
    if len(desk.request.body) > desk.switches.body_limit:
        raise RefusalError(413, "request entity too large")
    content = parsed(desk.request.body)
    if content is None:
        raise RefusalError(400, "The body is no JSON.")
    return content


def _found(records: Records, name: str, desk: Desk, what: str = "Account") -> Record:
    record = records.find(name, desk.switches.id_precedence)
    if record is None:
        raise RefusalError(404, f"{what} not found.")
    return record


def _shown(desk: Desk, record: Record) -> tuple[int, Any]:
    return 200, shown_account(record, desk.switches, desk.request.at)


def _create(desk: Desk) -> tuple[int, Any]:
    content = _content(desk)
    body = schema.check(content, schema.CREATE, schema.CREATE_REQUIRED, desk.switches)
    record = desk.workspace.create(body, desk.switches, desk.request.at)
    return _shown(desk, record)


def _update(desk: Desk, name: str) -> tuple[int, Any]:
    content = _content(desk)
    body = schema.check(content, schema.UPDATE, (), desk.switches)
    record = desk.workspace.accounts.find(name, desk.switches.id_precedence)
    if record is None and desk.switches.put_on_missing == "upsert":
        created = {"name": name, **body, "externalId": name}
        record = desk.workspace.create(created, desk.switches, desk.request.at)
        return _shown(desk, record)
    record = _found(desk.workspace.accounts, name, desk)
    desk.workspace.update(record, body, desk.switches, desk.request.at)
    return _shown(desk, record)


def _get(desk: Desk, name: str) -> tuple[int, Any]:
    record = _found(desk.workspace.accounts, name, desk)
    ignored = lifecycle(record, desk.switches).stage == "ignored"
    if ignored and desk.switches.ignored_by_get == "404":
        raise RefusalError(404, "Account not found.")
    return _shown(desk, record)


def _delete(desk: Desk, name: str) -> tuple[int, Any]:
    desk.workspace.accounts.remove(_found(desk.workspace.accounts, name, desk))
    return 204, None


def _health(desk: Desk, name: str) -> tuple[int, Any]:
    # The breakdown's shape is not documented; this one is ours.
    _found(desk.workspace.accounts, name, desk)
    return 200, {"healthScore": None, "healthScores": []}


_STAGES = {
    "active": {"subscribed", "trial"},
    "churned": {"churned"},
    "activeOrChurned": {"subscribed", "trial", "churned"},
}


def _listed(desk: Desk, records: list[Record], status: str) -> tuple[int, Any]:
    stages = _STAGES[status]
    tracked = [r for r in records if lifecycle(r, desk.switches).stage in stages]
    rows, after = page(tracked, desk.request.query, desk.switches, desk.request.at)
    shown = [shown_account(row, desk.switches, desk.request.at) for row in rows]
    return 200, {"results": shown, "next": after}


def _list(desk: Desk) -> tuple[int, Any]:
    status = desk.request.query.get("status", "active")
    if status not in _STAGES:
        raise RefusalError(400, f"status must be one of {', '.join(_STAGES)}")
    return _listed(desk, desk.workspace.accounts.all(), status)


def _members(desk: Desk, name: str) -> tuple[int, Any]:
    organization = _found(desk.workspace.organizations, name, desk, "Organization")
    accounts = desk.workspace.accounts.all()
    members = [a for a in accounts if a.organization == organization.id]
    return _listed(desk, members, "activeOrChurned")


def _create_organization(desk: Desk) -> tuple[int, Any]:
    content = _content(desk)
    body = schema.check(content, schema.CREATE, schema.CREATE_REQUIRED, desk.switches)
    records = desk.workspace.organizations
    found = records.by_external(body["externalId"])
    record = found or records.add(body["externalId"], body["name"], desk.request.at)
    record.traits.update(body.get("traits", {}))
    return 200, shown_organization(record, desk.workspace)


def _organizations(desk: Desk) -> tuple[int, Any]:
    every = desk.workspace.organizations.all()
    rows, after = page(every, desk.request.query, desk.switches, desk.request.at)
    shown = [shown_organization(row, desk.workspace) for row in rows]
    return 200, {"results": shown, "next": after}


def _organization(desk: Desk, name: str) -> tuple[int, Any]:
    record = _found(desk.workspace.organizations, name, desk, "Organization")
    return 200, shown_organization(record, desk.workspace)


def _custom_fields(desk: Desk) -> tuple[int, Any]:
    """Answer a bare array; here a trait is defined by having been written once."""
    seen = {
        name: value
        for record in desk.workspace.accounts.all()
        for name, value in record.traits.items()
    }
    first = iso(desk.request.at)
    return 200, [
        {
            "label": name,
            "type": _FIELD_TYPES.get(type(value), "string"),
            "createdAt": first,
            "path": name,
        }
        for name, value in seen.items()
    ]


Handle = Callable[..., tuple[int, Any]]
"""(desk, the ids of the path) -> status and body."""

_ID = r"([^/]+)"

ROUTES: tuple[tuple[str, str, Handle], ...] = (
    ("GET", r"/resources/accounts", _list),
    ("POST", r"/resources/accounts", _create),
    ("GET", rf"/resources/accounts/{_ID}", _get),
    ("PUT", rf"/resources/accounts/{_ID}", _update),
    ("DELETE", rf"/resources/accounts/{_ID}", _delete),
    ("GET", rf"/resources/accounts/{_ID}/healthScores", _health),
    ("GET", r"/resources/customFields", _custom_fields),
    ("GET", r"/resources/organizations", _organizations),
    ("POST", r"/resources/organizations", _create_organization),
    ("GET", rf"/resources/organizations/{_ID}", _organization),
    ("GET", rf"/resources/organizations/{_ID}/accounts", _members),
)
