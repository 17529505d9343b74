"""How often a step goes to Redis and back."""

from __future__ import annotations

from typing import Any

from redis import Redis

GREETING = frozenset({"HELLO", "CLIENT"})
"""What a new connection says first."""


def round_trips(redis: Redis, step: Any) -> list[str]:
    """The commands that *step* sent, as MONITOR shows them; MULTI to EXEC is one."""
    with redis.monitor() as monitor:
        step()
        redis.echo("enough")
        seen: list[str] = []
        inside = False
        for entry in monitor.listen():
            command = entry["command"].split()[0].upper()
            if entry["client_type"] == "lua" or command in GREETING:
                continue
            if command == "ECHO":
                return seen
            if not inside:
                seen.append(command)
            inside = (inside or command == "MULTI") and command != "EXEC"
    raise AssertionError
