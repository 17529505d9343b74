"""A Redis that comes back empty has lost what it held; the bridge goes on all the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.stack import Stack
from tests.support.stripe import Shop
from tests.support.waiting import eventually

pytestmark = pytest.mark.chaos


def test_an_empty_redis_is_worked_with_at_once_and_nobody_is_restarted(
    tmp_path: Path,
) -> None:
    with Stack(tmp_path) as stack:
        web, worker = stack.web(), stack.worker()
        stripe, old, new = stack.ready().stripe(), Shop(), Shop()
        for told in (old.signs_up(), old.begins()):
            stripe.post(told)
        stack.settled()

        stack.redis_server.kill()
        shutil.rmtree(stack.redis_server.folder)
        stack.redis_server.restart()
        stack.ready()
        for told in (new.signs_up(), new.begins(), old.changes(quantity=3)):
            eventually(lambda t=told: stripe.post(t).status == 202)

        assert eventually(stack.has(new.id, mrr=49), 15)
        assert eventually(stack.has(old.id, mrr=147), 15)
        seen = stack.settled()
        assert (3, 3) == (seen.accepted, seen.settled)
        assert [old.id, new.id] == stack.creations()
        assert web.running.is_alive
        assert worker.is_alive
