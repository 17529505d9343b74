"""A deploy under load: every process is replaced while events keep coming."""

from __future__ import annotations

from tests.support.sender import Sender
from tests.support.stack import Stack

ROUNDS = 2


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
