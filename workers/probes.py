"""Asks Vitally whether it answers and takes our key, and sources about theirs."""

from __future__ import annotations

import logging
from time import monotonic
from typing import Any

from bridge.errors import (
    SourceError,
    VitallyError,
    VitallyKeyError,
    VitallyUnavailableError,
)
from bridge.log import fields
from bridge.store import keys
from bridge.store.connect import milliseconds
from bridge.store.inspect import Figures
from bridge.vitally.client import Vitally
from workers import outcomes
from workers.context import Context

log = logging.getLogger("workers.probes")

QUIET_MS = 10_000
"""While Vitally fails, and nobody has tried it for this long, it is asked."""

USUAL, REFUSED = 3600.0, 60.0
"""Seconds between two questions about the sources' keys; while one is refused."""


def ask(context: Context, vitally: Vitally, next_ms: int = 0) -> VitallyError | None:
    """Ask Vitally, and tell all workers what it says; return its refusal.

    *next_ms*: when it is asked again if it does not answer. A 404 says nothing about the
    key. Raises redis' own errors.
    """
    refusal: VitallyError | None = None
    try:
        vitally.probe()
    except VitallyUnavailableError as error:
        context.outage.note(error.brief, milliseconds(context.redis), next_ms)
        return error
    except VitallyKeyError as error:
        refusal = error
        context.stop_writes(outcomes.stopped(error))
    except VitallyError as error:
        refusal = error
    else:
        context.resume_writes()
    if context.outage.over():
        log.warning("vitally answers again")
    return refusal


class Probes:
    """Done by the worker that leads, in a thread of its own."""

    def __init__(self, context: Context) -> None:
        self._context, self._due = context, float("-inf")
        self._vitally = context.client()

    def run(self, seen: Figures) -> None:
        """Ask what has to be asked. Raises redis' own errors."""
        if monotonic() >= self._due:
            self._ask_sources()
        if seen.failing and seen.now_ms - seen.failing.at > QUIET_MS:
            ask(self._context, self._vitally, QUIET_MS)

    def _ask_sources(self) -> None:
        """Note which sources refuse our key; one that does not answer is asked later."""
        refused: dict[Any, Any] = {}
        for name, api in self._context.apis.items():
            try:
                api.probe()
            except SourceError as error:
                log.warning("key", extra=fields(source=name, reason=error.reason))
                if error.refused:
                    refused[name] = error.reason
        with self._context.redis.pipeline() as pipe:
            pipe.delete(keys.KEYS_REFUSED)
            if refused:
                pipe.hset(keys.KEYS_REFUSED, mapping=refused)
            pipe.execute()
        self._due = monotonic() + (REFUSED if refused else USUAL)
