"""Asks Vitally, now and then, whether it answers again after it has failed."""

from __future__ import annotations

import logging

from bridge.errors import VitallyError, VitallyUnavailableError
from bridge.store.inspect import Figures
from bridge.vitally.client import Vitally
from workers.context import Context

log = logging.getLogger("workers.probes")

QUIET_MS = 10_000
"""While Vitally fails, and nobody has tried it for this long, it is asked."""


class Probes:
    """Done by the worker that leads, in a thread of its own."""

    def __init__(self, context: Context) -> None:
        self._outage, settings = context.outage, context.settings
        self._vitally = Vitally(
            settings.vitally_base_url, settings.vitally_authorization
        )

    def run(self, seen: Figures) -> None:
        """Ask what has to be asked. Raises redis' own errors."""
        if seen.failing and seen.now_ms - seen.failing.at > QUIET_MS:
            self._ask_vitally(seen.now_ms)

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
