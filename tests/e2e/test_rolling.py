"""A deploy under load: every process is replaced while events keep coming."""

from __future__ import annotations

import threading
from contextlib import closing, suppress
from itertools import count
from typing import Self

from urllib3.exceptions import HTTPError

from tests.support.stack import Stack
from tests.support.stripe import Shop, Stripe
from tests.support.waiting import eventually

ROUNDS = 2


class Sender:
    """Posts events of one shop after another until told to stop, as Stripe would.

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
                eventually(lambda event=event: self._post(event), 20, what="a 202")
            self.sent += len(events)
            self.mrr[shop.id] = 49 * quantity
            if self._stop.wait(0.02):
                return

    def _post(self, event: dict[str, object]) -> bool:
        with closing(Stripe(web.url for web in list(self._stack.webs))) as stripe:
            with suppress(HTTPError):
                return stripe.post(event).status == 202
            return False


def test_a_rolling_deploy_under_load_loses_nothing(stack: Stack) -> None:
    for _ in range(2):
        stack.web()
        stack.worker()
    stack.ready()
    with Sender(stack) as sender:
        for place in [0, 1] * ROUNDS:
            new = stack.web()
            stack.webs.remove(new)
            old, stack.webs[place] = stack.webs[place], new
            assert 0 == old.running.terminate(), old.running.output
            stack.worker()
            assert 0 == stack.workers.pop(0).terminate()
    seen = stack.settled()

    assert len(sender.mrr) > 10
    assert sender.mrr == {
        id_: stack.account(id_)["traits"]["mrr"] for id_ in sender.mrr
    }
    assert (sender.sent, sender.sent) == (seen.accepted, seen.settled)
    assert [] == stack.overlaps()
    assert len(sender.mrr) == len(set(stack.creations())) == len(stack.creations())
