"""Asks Vitally, after it has failed, whether it answers again, and sources about our keys."""

from __future__ import annotations

import logging
from time import monotonic
from typing import Any

from bridge.errors import SourceError, VitallyError, VitallyUnavailableError
from bridge.log import fields
from bridge.store import keys
from bridge.store.inspect import Figures
from bridge.vitally.client import Vitally
from workers.context import Context

log = logging.getLogger("workers.probes")

QUIET_MS = 10_000
"""While Vitally fails, and nobody has tried it for this long, it is asked."""

USUAL, REFUSED = 3600.0, 60.0
"""Seconds between two questions about the sources' keys; while one is refused."""


class Probes:
    """Done by the worker that leads, in a thread of its own."""

    def __init__(self, context: Context) -> None:
        self._context, self._due = context, float("-inf")
        self._outage, settings = context.outage, context.settings
        self._vitally = Vitally(
            settings.vitally_base_url, settings.vitally_authorization
        )

    def run(self, seen: Figures) -> None:
        """Ask what has to be asked. Raises redis' own errors."""
        if monotonic() >= self._due:
            self._ask_sources()
        if seen.failing and seen.now_ms - seen.failing.at > QUIET_MS:
            self._ask_vitally(seen.now_ms)

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

    def _ask_vitally(self, now: int) -> None:
        """End the outage if Vitally answers, whatever it says of our key."""
        try:
            self._vitally.probe()
        except VitallyUnavailableError as error:
            self._outage.note(error.reason, now, QUIET_MS)
            return
        except VitallyError:
            pass
        if self._outage.over():
            log.warning("vitally answers again")
