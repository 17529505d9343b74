"""A sender that posts events all the time, as Stripe would, whatever becomes of the bridge."""

from __future__ import annotations

import threading
from contextlib import closing, suppress
from itertools import count
from typing import Self

from urllib3.exceptions import HTTPError

from tests.support.stack import Stack
from tests.support.stripe import Shop, Stripe
from tests.support.waiting import eventually


class Sender:
    """Posts events of one shop after another until told to stop.

    What is not answered 2xx is sent again; nothing is given up.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.sent = 0
        self.mrr: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        for n in count(1):
            shop, quantity = Shop(), n % 7 + 1
            events = shop.signs_up(), shop.begins(), shop.changes(quantity=quantity)
            for event in events:
                eventually(lambda event=event: self._post(event), what="a 202")
            self.sent += len(events)
            self.mrr[shop.id] = 49 * quantity
            if self._stop.wait(0.05):
                return

    def _post(self, event: dict[str, object]) -> bool:
        urls = [web.url for web in list(self._stack.webs)]
        with closing(Stripe(urls)) as stripe:
            with suppress(HTTPError):
                return bool(urls) and stripe.post(event).status == 202
            return False
