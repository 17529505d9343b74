"""What Vitally accepts as a body, and the recorded form in which it refuses one.

Recorded 2024-05: a JSON schema validator, no coercion, the first fault alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.vitally.simulator.switches import Switches

_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "object": dict,
    "null": type(None),
}

_ACCOUNT = {
    "externalId": ("string",),
    "name": ("string",),
    "traits": ("object",),
}

CREATE = {**_ACCOUNT, "organizationId": ("string",)}
"""Kinds that a creation of an account or organization takes, by property."""

CREATE_REQUIRED = ("externalId", "name")

UPDATE = {
    "name": ("string",),
    "traits": ("object",),
    "organizationId": ("string", "null"),
    "accountOwnerId": ("null",),
}
"""Kinds that an update takes; other properties are ignored."""


class RefusalError(Exception):
    """The simulator answers *status* with *error* (a text or an object)."""

    def __init__(self, status: int, error: str | dict[str, Any]) -> None:
        self.status = status
        self.error = error
        super().__init__(status)


def check(
    body: Any,
    kinds: Mapping[str, tuple[str, ...]],
    required: tuple[str, ...],
    switches: Switches,
) -> dict[str, Any]:
    """Return *body* where it fits; raises RefusalError in Vitally's form."""
    if not isinstance(body, dict):
        raise invalid("", "type", {"type": "object"}, "must be object")
    for name in required:
        if name not in body:
            words = f"must have required property '{name}'"
            raise invalid("", "required", {"missingProperty": name}, words)
    for name, allowed in kinds.items():
        if name in body and not any(isinstance(body[name], _KINDS[k]) for k in allowed):
            shown = ",".join(allowed)
            raise invalid(f"/{name}", "type", {"type": shown}, f"must be {shown}")
    if switches.nested_traits == "400":
        _refuse_nested(body.get("traits", {}))
    return body


def invalid(
    path: str, keyword: str, params: Mapping[str, Any], message: str
) -> RefusalError:
    """Return the refusal of one fault at *path* (`/externalId`)."""
    where = f"/properties{path}" if path else ""
    fault = {
        "instancePath": path,
        "schemaPath": f"#{where}/{keyword}",
        "keyword": keyword,
        "params": dict(params),
        "message": message,
    }
    return RefusalError(400, {"message": "validation failed", "errors": [fault]})


def _refuse_nested(traits: Mapping[str, Any]) -> None:
    scalar = "string,number,boolean,null"
    for name, value in traits.items():
        if isinstance(value, dict | list):
            path = f"/traits/{name}"
            raise invalid(path, "type", {"type": scalar}, f"must be {scalar}")
