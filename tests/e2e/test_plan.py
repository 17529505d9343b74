"""From a dry run to new rules: plans, and what is written by them, behind real processes."""

from __future__ import annotations

from pathlib import Path

from bridge.store import keys
from tests.bench.events import Customer, requests
from tests.bench.load import deliver
from tests.support.command import called
from tests.support.processes import end_all
from tests.support.stack import Stack
from tests.support.waiting import eventually

RULES = '[traits]\nmrr = "billing.mrr"\n[money]\nempty = "zero"\n'


def test_nothing_is_written_by_stealth_and_what_is_applied_is_written(
    stack: Stack, tmp_path: Path
) -> None:
    file, rules = str(tmp_path / "plan.json"), tmp_path / "bridge.toml"
    rules.write_text(RULES)
    web, customers = stack.web(), [Customer() for _ in range(3)]
    dry = stack.worker(BRIDGE_DRY_RUN="true")
    stack.ready()
    deliver(web.port, requests([one.begins() for one in customers]))
    eventually(lambda: stack.redis.zcard(keys.DIRTY) == 3)
    planned = called("plan", "--out", file, "--json", environ=stack.environ).json

    assert 3 == planned["totals"]["created"] == stack.figures().pending
    called("apply", file, environ=stack.environ, status=1)
    assert [] == stack.vitally.writes()

    end_all([dry])
    settled = stack.worker()
    stack.settled()
    assert [] == called("plan", "--json", environ=stack.environ).json["accounts"]
    written = len(stack.vitally.writes())

    end_all([settled])
    stack.environ["BRIDGE_CONFIG"] = str(rules)
    stack.worker()
    deliver(web.port, requests([(other := Customer()).begins()]))
    eventually(lambda: stack.account(other.id)["traits"]["billing.mrr"])
    assert all(stack.has(one.id, **{"billing.mrr": None})() for one in customers)
    assert written + 2 == len(stack.vitally.writes())  # an update that found none

    called("plan", "--out", file, environ=stack.environ)
    said = called("apply", file, environ=stack.environ)
    assert "3 accounts now right in Vitally\n" == said.out
    for one in customers:
        has = stack.account(one.id)["traits"]
        assert has["mrr"] == has["billing.mrr"]
    assert [] == called("plan", "--json", environ=stack.environ).json["accounts"]
