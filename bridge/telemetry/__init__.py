"""Traces for OpenTelemetry and errors for Sentry, both made from what is logged.

Both are off, and their packages are not imported, unless their variable is set. Nothing
that a sender or Vitally wrote leaves with them: no body, header, event, customer or
account, and not the message of an error, which may quote one.
"""

from __future__ import annotations

import logging
from importlib import import_module

from bridge.log import fields
from bridge.settings import Settings

LOG = logging.getLogger("bridge")


def start(settings: Settings) -> None:
    """Start what is switched on, in a process that receives or works."""
    wanted = {
        "traces": settings.otel_exporter_otlp_endpoint,
        "reports": settings.sentry_dsn,
    }
    for name, address in wanted.items():
        if address:
            try:
                import_module(f"bridge.telemetry.{name}").start(address)
            except ImportError as error:
                hint = "pip install vitally-bridge[otel,sentry]"
                why = f"{error.name} is missing: {hint}"
                LOG.warning("no telemetry", extra=fields(what=name, reason=why))
