"""Vitally's client, with what each reply says of the limit told to the throttle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bridge.vitally.client import Vitally
from bridge.vitally.reply import Rate
from workers.throttle import Throttle


class Learning:
    """The requests of a worker; each teaches the throttle what a write costs."""

    def __init__(
        self, client: Callable[[Callable[[Rate], None]], Vitally], throttle: Throttle
    ) -> None:
        self._rates: list[Rate] = []
        self._vitally = client(self._rates.append)
        self._throttle = throttle

    def probe(self) -> None:
        """See `Vitally.probe`."""
        try:
            self._vitally.probe()
        finally:
            self._learn(write=False)

    def get(self, account_id: str) -> dict[str, Any]:
        """See `Vitally.get`."""
        try:
            return self._vitally.get(account_id)
        finally:
            self._learn(write=False)

    def update(self, account_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """See `Vitally.update`."""
        try:
            return self._vitally.update(account_id, body)
        finally:
            self._learn(write=True)

    def create(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """See `Vitally.create`."""
        try:
            return self._vitally.create(body)
        finally:
            self._learn(write=True)

    def _learn(self, *, write: bool) -> None:
        while self._rates:
            rate = self._rates.pop()
            self._throttle.learn(rate.limit, rate.remaining, write=write)
