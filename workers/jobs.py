"""The jobs by their names in the queue: one path under two honest names."""

from __future__ import annotations

from contextvars import ContextVar

from workers.desk import Desk

DESK: ContextVar[Desk] = ContextVar("desk")
"""Set once by the worker process: RQ calls a job with what the queue holds alone."""


def create_account(party: str) -> str:
    """First sight of a customer: make its account and traits right in Vitally."""
    return DESK.get().run(party)


def update_traits(party: str) -> str:
    """Something of a party changed: make its account's traits right in Vitally."""
    return DESK.get().run(party)
