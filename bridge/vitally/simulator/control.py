"""The simulator's own side door `/_simulator/…`: look, break, turn switches, reset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import orjson

from bridge.vitally.simulator.api import Answer
from bridge.vitally.simulator.faults import KINDS

PREFIX = "/_simulator/"


class Controlled(Protocol):
    """What the side door needs of a simulator."""

    def log(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the requests after number *since*."""

    def accounts(self) -> list[dict[str, Any]]:
        """Return every account."""

    def break_with(self, faults: list[Mapping[str, Any]]) -> None:
        """Add faults."""

    def mend(self) -> None:
        """Take every fault away."""

    def turn(self, **changes: Any) -> dict[str, Any]:
        """Turn switches; return all of them."""

    def rotate(self, *keys: str) -> None:
        """Replace the keys that are taken."""

    def reset(self) -> None:
        """Forget everything."""


def controlled(
    simulator: Controlled, method: str, path: str, query: Mapping[str, str], body: bytes
) -> Answer:
    """Do what the side door is asked to; a mistake is answered 400 with a sentence."""
    act = _DOORS.get((method, path.removeprefix(PREFIX)))
    if act is None:
        doors = ", ".join(f"{verb} {PREFIX}{name}" for verb, name in _DOORS)
        return _json(404, {"error": f"There are {doors}."})
    try:
        said = orjson.loads(body) if body else None
        return _json(200, act(simulator, query, said))
    except (ValueError, TypeError) as error:
        return _json(400, {"error": str(error)})


def _json(status: int, shown: Any) -> Answer:
    return Answer(status, {}, orjson.dumps(shown, option=orjson.OPT_INDENT_2))


Said = Any
Query = Mapping[str, str]


def _log(simulator: Controlled, query: Query, said: Said) -> Any:
    return simulator.log(int(query.get("since", "0")))


def _accounts(simulator: Controlled, query: Query, said: Said) -> Any:
    return simulator.accounts()


def _kinds(simulator: Controlled, query: Query, said: Said) -> Any:
    return KINDS


def _faults(simulator: Controlled, query: Query, said: Said) -> Any:
    simulator.break_with(said if isinstance(said, list) else [said])
    return {"faults": "added"}


def _mend(simulator: Controlled, query: Query, said: Said) -> Any:
    simulator.mend()
    return {"faults": "gone"}


def _switches(simulator: Controlled, query: Query, said: Said) -> Any:
    return simulator.turn(**(said or {}))


def _keys(simulator: Controlled, query: Query, said: Said) -> Any:
    simulator.rotate(*said["keys"])
    return {"keys": len(said["keys"])}


def _reset(simulator: Controlled, query: Query, said: Said) -> Any:
    simulator.reset()
    return {"reset": True}


_DOORS: Mapping[tuple[str, str], Callable[[Controlled, Query, Said], Any]] = {
    ("GET", "log"): _log,
    ("GET", "accounts"): _accounts,
    ("GET", "faults"): _kinds,
    ("POST", "faults"): _faults,
    ("DELETE", "faults"): _mend,
    ("GET", "switches"): _switches,
    ("POST", "switches"): _switches,
    ("POST", "keys"): _keys,
    ("POST", "reset"): _reset,
}
