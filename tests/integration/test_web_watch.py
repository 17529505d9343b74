"""The watch sees what becomes of a real Redis, and forgets it again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from bridge.store.connect import connect
from bridge.store.health import (
    DISK,
    DOWN,
    LOADING,
    READ_ONLY,
    REFUSED,
    SNAPSHOT,
    Watch,
    judge,
)
from tests.support.server import RedisServer
from tests.support.waiting import eventually


@pytest.fixture
def server(redis_program: Path) -> Iterator[RedisServer]:
    with RedisServer(program=redis_program) as running:
        yield running


@pytest.fixture
def client(server: RedisServer) -> Iterator[Redis]:
    with connect(server.url, verify_tls=True, timeout=0.45, most=2) as redis:
        yield redis


@pytest.fixture
def watch(client: Redis) -> Iterator[Watch]:
    running = Watch(client)
    running.start()
    yield running
    running.stop()


def well(watch: Watch) -> bool:
    return watch.refuses() is None


def ill(watch: Watch) -> bool:
    return watch.refuses() is not None


def test_nothing_is_taken_before_the_first_look(client: Redis) -> None:
    watch = Watch(client)

    assert ill(watch)
    watch.look()
    assert watch.refuses() is None
    assert watch.trouble() == ()


def test_a_change_of_the_policy_is_seen_within_two_seconds(
    server: RedisServer, watch: Watch
) -> None:
    eventually(lambda: well(watch))
    server.config(maxmemory_policy="allkeys-lru")
    refusal = eventually(watch.refuses, 2) or ""
    server.config(maxmemory_policy="noeviction")
    eventually(lambda: well(watch), 2)

    assert "allkeys-lru" in refusal


def test_eviction_may_be_allowed(server: RedisServer, client: Redis) -> None:
    server.config(maxmemory_policy="volatile-ttl")
    watch = Watch(client, allow_eviction=True)
    watch.look()

    assert watch.trouble() == ()


def test_a_full_redis_refuses(server: RedisServer, client: Redis) -> None:
    server.config(maxmemory=1)
    watch = Watch(client)
    watch.look()

    assert "full" in (watch.refuses() or "")


def test_a_share_of_the_memory_is_kept_for_the_workers(
    server: RedisServer, client: Redis
) -> None:
    used = client.info("memory")["used_memory"]
    server.config(maxmemory=used * 4)
    found = []
    for share in (0.1, 0.9):
        watch = Watch(client, share=share)
        watch.look()
        found.append(watch.refuses())

    assert ("Redis is full" in (found[0] or ""), None) == (True, found[1])
    assert "10% of them may be used" in (found[0] or "")


def test_a_replica_refuses(server: RedisServer, client: Redis) -> None:
    client.replicaof("127.0.0.1", "1")
    watch = Watch(client)
    watch.look()

    assert watch.refuses() == READ_ONLY


def test_a_killed_redis_is_seen_and_its_return_too(
    server: RedisServer, watch: Watch
) -> None:
    eventually(lambda: well(watch))
    server.kill()
    eventually(lambda: ill(watch), 2)

    assert watch.refuses() == DOWN
    server.restart()
    eventually(lambda: well(watch), 5)


def test_a_stalled_redis_is_seen_and_its_return_too(
    server: RedisServer, watch: Watch
) -> None:
    eventually(lambda: well(watch))
    server.pause()
    eventually(lambda: ill(watch), 2)
    server.resume()
    eventually(lambda: well(watch), 2)


def test_a_failure_seen_by_another_refuses_until_the_next_look(client: Redis) -> None:
    watch = Watch(client)
    watch.look()
    watch.failed()

    assert watch.trouble() == (DOWN,)
    watch.look()
    assert watch.trouble() == ()


def test_a_failure_makes_the_watch_look_at_once(watch: Watch) -> None:
    eventually(lambda: well(watch))
    begun = time.monotonic()
    watch.failed()
    eventually(lambda: well(watch))

    assert time.monotonic() - begun < 0.5


def test_a_redis_that_keeps_its_state_back_is_trusted(client: Redis) -> None:
    client.acl_setuser("default", enabled=True, commands=["-info", "-config"])
    watch = Watch(client)
    watch.look()

    assert watch.trouble() == ()


def test_without_info_the_policy_is_read_from_the_configuration(
    server: RedisServer, client: Redis
) -> None:
    server.config(maxmemory_policy="allkeys-lfu")
    client.acl_setuser("default", enabled=True, commands=["-info"])
    watch = Watch(client)
    watch.look()

    assert "allkeys-lfu" in (watch.refuses() or "")


def test_a_refused_password_is_trouble(server: RedisServer, client: Redis) -> None:
    server.config(requirepass="example")
    watch = Watch(client)
    watch.look()

    assert watch.refuses() == REFUSED


@pytest.mark.parametrize(
    ("info", "refusals", "worries"),
    [
        ({}, (), ()),
        ({"loading": 1}, (LOADING,), ()),
        ({"aof_last_write_status": "err"}, (DISK,), ()),
        ({"rdb_last_bgsave_status": "err"}, (), (SNAPSHOT,)),
        ({"maxmemory": 0, "used_memory": 9}, (), ()),
        (
            {"maxmemory": 9, "used_memory": 9, "mem_not_counted_for_evict": 1},
            (),
            (),
        ),
    ],
)
def test_what_info_says_is_judged(
    info: dict[str, Any], refusals: tuple[str, ...], worries: tuple[str, ...]
) -> None:
    assert judge(info, None, False) == (refusals, worries)
