"""Waiting until there is nothing left to do, without waiting for the clock."""

from __future__ import annotations

from redis import Redis

from bridge.store import keys
from bridge.store.lease import own_account
from tests.support.stack import Stack
from tests.support.waiting import eventually

SOON_MS = 60_000
"""What is appointed later than this is no part of the work in hand."""


def appointed(redis: Redis) -> dict[bytes, float]:
    """Parties that are looked at again soon, and when (ms)."""
    seconds, _ = redis.time()
    found = redis.zrange(keys.LATER, 0, -1, withscores=True)
    return {party: at for party, at in found if at < seconds * 1000 + SOON_MS}


def bring_forward(redis: Redis) -> None:
    """Let come now what is appointed soon, say the look after a doubtful write."""
    now = int(redis.time()[0]) * 1000
    for raw in appointed(redis):
        party = raw.decode()
        known = redis.hget(keys.party(party), "account") or b""
        account = keys.account(known.decode() or own_account(party) or party)
        for name in ("confirm_at", "not_before"):
            if redis.hexists(account, name):
                redis.hset(account, name, now)
        redis.zadd(keys.LATER, {party: now}, xx=True)


def come_to_rest(stack: Stack, within: float = 30.0) -> None:
    """Wait until all is settled and nothing is appointed soon."""

    def nothing_left() -> bool:
        left = appointed(stack.redis)
        bring_forward(stack.redis)
        seen = stack.figures()
        return not (left or seen.dirty or seen.pending)

    eventually(nothing_left, within, what="rest")
