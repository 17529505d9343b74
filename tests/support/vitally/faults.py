"""The faults of the simulator: what is to go wrong, with which requests, how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

KINDS = {
    "status": "answered with `status`, `body`, `headers`; nothing is done",
    "redirect": "answered 302 to `location`; nothing is done",
    "reset_before": "the connection is reset; nothing is done",
    "delay": "done and answered after `seconds`",
    "timeout_after_commit": "done, never answered (`seconds`: answered then)",
    "reset_after_commit": "done, then the connection is reset",
    "truncated": "done; half of the body, then the end",
    "non_json": "done; answered 200 with a text",
    "oversize": "done; answered with a body of `bytes`",
    "slow_headers": "done; a byte each `seconds`, from the first on",
    "slow_body": "done; a byte of the body each `seconds`",
    "hang_up": "done and answered; then the kept connection is closed unannounced",
}
"""Every kind of fault and what it does."""

_DEFAULTS: Mapping[str, Any] = {
    "status": 500,
    "body": {"error": "Internal Server Error"},
    "headers": {},
    "location": "http://127.0.0.1:9/resources/accounts",
    "seconds": None,
    "bytes": 2 << 20,
}


@dataclass(slots=True)
class Fault:
    """One fault: from the *nth* matching request on, *times* times (None: always)."""

    kind: str
    method: str = "*"
    path: str = "*"
    nth: int = 1
    times: int | None = 1
    options: Mapping[str, Any] = field(default_factory=dict)
    seen: int = 0

    def option(self, name: str, default: Any = None) -> Any:
        """Return one detail of the fault, else *default*, else the common one."""
        found = self.options.get(name)
        if found is not None:
            return found
        return _DEFAULTS[name] if default is None else default

    def strikes(self, method: str, path: str) -> bool:
        """Count a request and tell whether this fault is its fate."""
        if not (fnmatchcase(method, self.method) and fnmatchcase(path, self.path)):
            return False
        self.seen += 1
        last = None if self.times is None else self.nth + self.times - 1
        return self.nth <= self.seen and (last is None or self.seen <= last)


def fault(said: Any) -> Fault:
    """Read one fault; raises ValueError with what is wrong.

    E.g. `{"match": {"method": "PUT", "path": "*/acme-101", "nth": 2},
    "kind": "status", "status": 503, "times": 3}`.
    """
    if not isinstance(said, dict) or said.get("kind") not in KINDS:
        raise ValueError(f"a fault has a kind: {', '.join(KINDS)}")
    match = said.get("match") or {}
    unknown = said.keys() - {"match", "kind", "times"} - _DEFAULTS.keys()
    unknown |= match.keys() - {"method", "path", "nth"}
    if unknown:
        raise ValueError(f"a fault has no {', '.join(sorted(unknown))}")
    options = {name: said[name] for name in said.keys() & _DEFAULTS.keys()}
    return Fault(said["kind"], **match, times=said.get("times", 1), options=options)


def struck(faults: list[Fault], method: str, path: str) -> Fault | None:
    """Return the first fault that strikes; those behind it do not see the request."""
    return next((one for one in faults if one.strikes(method, path)), None)
