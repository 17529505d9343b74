"""Errors for Sentry: every one that is logged with an exception."""

from __future__ import annotations

from typing import Any

import sentry_sdk
from sentry_sdk.integrations.atexit import AtexitIntegration
from sentry_sdk.integrations.logging import LoggingIntegration

from bridge import __version__
from bridge.log import ABOUT

KEPT = (
    "event_id",
    "timestamp",
    "level",
    "logger",
    "platform",
    "release",
    "environment",
)
"""What Sentry is told of an error, beside its kind, places and deliveries."""

FRAME = ("filename", "module", "function", "lineno", "in_app")
"""What Sentry is told of each place."""


def start(dsn: str) -> None:
    """Send errors to the project of *dsn*."""
    sentry_sdk.init(
        dsn,
        release=__version__,
        default_integrations=False,
        integrations=[
            LoggingIntegration(level=None, sentry_logs_level=None),
            AtexitIntegration(lambda _pending, _timeout: None),
        ],
        max_breadcrumbs=0,
        send_default_pii=False,
        include_local_variables=False,
        include_source_context=False,
        max_request_body_size="never",
        before_send=stripped,
    )


def stripped(event: Any, _hint: Any) -> Any:
    """What Sentry gets of *event*; None: nothing, because it is no error."""
    if "exception" not in event:
        return None
    errors = [
        {"type": one["type"], "stacktrace": {"frames": [*map(_place, _frames(one))]}}
        for one in event["exception"]["values"]
    ]
    kept = {key: event[key] for key in KEPT if key in event}
    tags = {key: str(value) for key, value in ABOUT.get().items()}
    return {**kept, "exception": {"values": errors}, "tags": tags}


def _frames(error: Any) -> Any:
    return (error.get("stacktrace") or {}).get("frames", ())


def _place(frame: Any) -> dict[str, Any]:
    return {key: frame[key] for key in FRAME if key in frame}
