"""The state that version 0.1 left in Redis, taken over in the middle of traffic.

`state_of_0_1.json` was written by that version: four accounts in Vitally, two of them
with a change that waits, and two customers that no worker has seen; with its jobs.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from redis import Redis

from tests.support.stack import Stack
from tests.support.stripe import Shop
from tests.support.waiting import eventually

STATE = Path(__file__).with_name("state_of_0_1.json")

EXPECTED = {
    "cus_old_0": None,
    "cus_old_1": None,
    "cus_old_2": 490,
    "cus_old_3": 539,
    "cus_old_4": 588,
    "cus_old_5": 637,
}
"""What Vitally has in the end; None: at rest before, so that nothing is written."""


def restore(redis: Redis) -> None:
    """Put the keys back as they were, byte for byte."""
    for name, (kind, value) in json.loads(STATE.read_text(encoding="utf-8")).items():
        key = name.encode("latin-1")
        match kind:
            case "hash":
                redis.hset(key, mapping=_bytes(value))
            case "zset":
                redis.zadd(key, {k.encode("latin-1"): at for k, at in value.items()})
            case "set":
                redis.sadd(key, *(one.encode("latin-1") for one in value))
            case "list":
                redis.rpush(key, *(one.encode("latin-1") for one in value))
            case "stream":
                for fields in value:
                    redis.xadd(key, _bytes(fields))
            case _:
                redis.set(key, value.encode("latin-1"))


def _bytes(pairs: dict[str, str]) -> Any:
    return {k.encode("latin-1"): v.encode("latin-1") for k, v in pairs.items()}


def test_an_older_version_s_state_is_taken_over_under_load(stack: Stack) -> None:
    restore(stack.redis)
    before = stack.figures()
    assert (4, 8) == (before.waiting, before.settled)
    stack.web()
    stripe = stack.stripe()
    shops = [Shop() for _ in range(40)]
    told = [e for s in shops for e in (s.signs_up(), s.begins(), s.changes(quantity=3))]
    with ThreadPoolExecutor(4) as pool:
        posting = pool.map(stripe.post, told)
        stack.worker(WORKER_PROCESSES=2)
        answers = list(posting)
    seen = stack.settled()

    assert {202} == {answer.status for answer in answers}
    for id_, mrr in EXPECTED.items():
        found = stack.vitally.account(id_)
        assert mrr == (found["traits"]["mrr"] if found else None)
    for shop in shops:
        assert eventually(stack.has(shop.id, mrr=147))
    assert before.accepted + len(told) == seen.accepted == seen.settled
    assert [] == stack.overlaps()
