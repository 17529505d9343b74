"""The watch sees what becomes of a real Redis, and forgets it again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from bridge.store.connect import connect
from bridge.store.health import (
    DISK,
    DOWN,
    EVERY,
    LOADING,
    READ_ONLY,
    REFUSED,
    SNAPSHOT,
    UNSEEN,
    Watch,
    judge,
)
from tests.support.server import RedisServer
from tests.support.waiting import eventually


def why_refused(watch: Watch) -> str | None:
    """Why nothing can be written now; None: it can."""
    return next(iter(watch.health().refusals), None)


@pytest.fixture
def server(redis_program: Path) -> Iterator[RedisServer]:
    with RedisServer(program=redis_program) as running:
        yield running


@pytest.fixture
def client(server: RedisServer) -> Iterator[Redis]:
    with connect(server.url, verify_tls=True, timeout=0.45, most=2) as redis:
        yield redis


@pytest.mark.parametrize(
    ("commands", "settings", "refusal"),
    [
        ([], {}, None),
        (["CONFIG SET maxmemory-policy allkeys-lru"], {}, "allkeys-lru"),
        (
            ["CONFIG SET maxmemory-policy volatile-ttl"],
            {"allow_eviction": True},
            None,
        ),
        (["CONFIG SET maxmemory 1"], {}, "Redis is full"),
        (["REPLICAOF 127.0.0.1 1"], {}, READ_ONLY),
        (["CONFIG SET requirepass example"], {}, REFUSED),
        (["CONFIG SET min-replicas-to-write 1"], {}, "refuses writes (NOREPLICAS "),
        (["CLIENT PAUSE 60000 WRITE"], {}, DOWN),  # as in a failover
        # A managed Redis may keep its state to itself; the policy is where it can be.
        (["ACL SETUSER default on -info -config"], {}, None),
        (
            [
                "CONFIG SET maxmemory-policy allkeys-lfu",
                "ACL SETUSER default on -info",
            ],
            {},
            "allkeys-lfu",
        ),
    ],
)
def test_one_look_sees_why_nothing_can_be_written(
    client: Redis, commands: list[str], settings: dict[str, Any], refusal: str | None
) -> None:
    for command in commands:
        client.execute_command(*command.split())
    watch = Watch(client, **settings)
    before = why_refused(watch)
    view = watch.check()
    after = (*view.refusals, *view.worries)
    watch.stop()

    assert UNSEEN == before
    assert (refusal or "") in " ".join(after)
    assert bool(refusal) == bool(after)


def test_a_share_of_the_memory_is_kept_for_the_workers(
    server: RedisServer, client: Redis
) -> None:
    server.config(maxmemory=client.info("memory")["used_memory"] * 4)
    found = []
    for share in (0.1, 0.9):
        watch = Watch(client, share=share)
        watch.check()
        found.append(why_refused(watch))

    assert found[0] is not None
    assert "10% of them may be used" in found[0]
    assert found[1] is None


def test_a_running_watch_sees_what_befalls_redis_and_its_return(
    server: RedisServer, client: Redis
) -> None:
    watch = Watch(client)
    watch.start()

    def is_well() -> bool:
        return why_refused(watch) is None

    for befalls, returns in (
        (
            lambda: server.config(maxmemory_policy="allkeys-lru"),
            lambda: server.config(maxmemory_policy="noeviction"),
        ),
        (server.pause, server.resume),
        (server.kill, server.restart),
    ):
        eventually(is_well)
        befalls()
        eventually(lambda: not is_well())
        returns()
    eventually(is_well)
    watch.stop()


def test_a_failure_seen_by_another_refuses_until_the_next_look(client: Redis) -> None:
    watch = Watch(client)
    watch.check()
    watch.failed()

    assert (DOWN,) == watch.health().refusals
    assert () == watch.check().refusals


def test_a_failure_makes_the_watch_look_at_once(
    client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So seldom as it looks here, nothing else could make it look again."""
    monkeypatch.setattr("bridge.store.health.EVERY", 60 * EVERY)
    watch = Watch(client)
    watch.start()
    eventually(lambda: why_refused(watch) is None)
    # The first look is over and it waits, or it has just begun to: either way it wakes.
    watch.failed()
    eventually(lambda: why_refused(watch) is None)
    watch.stop()


def test_an_errand_that_fails_keeps_no_other_from_being_run(client: Redis) -> None:
    done: list[Redis] = []
    watch = Watch(client)
    watch.callbacks += [lambda redis: redis.execute_command("NONSENSE"), done.append]
    watch.check()
    watch.stop()

    assert 1 == len(done)


def test_it_sees_how_full_redis_is_and_whether_it_has_an_append_only_file(
    client: Redis,
) -> None:
    watch = Watch(client)
    watch.check()
    assert (0.0, True) == watch.health()[3:5]
    client.config_set("maxmemory", 2 * client.info()["used_memory"])
    client.config_set("appendonly", "no")
    watch.check()
    memory, appends = watch.health()[3:5]
    watch.stop()

    assert 0.3 < memory < 0.7
    assert appends is False


@pytest.mark.parametrize(
    ("info", "refusals", "worries"),
    [
        ({}, (), ()),
        ({"loading": 1}, (LOADING,), ()),
        ({"aof_last_write_status": "err"}, (DISK,), ()),
        ({"rdb_last_bgsave_status": "err"}, (), (SNAPSHOT,)),
        ({"maxmemory": 0, "used_memory": 9}, (), ()),
        ({"maxmemory": 9, "used_memory": 9, "mem_not_counted_for_evict": 1}, (), ()),
    ],
)
def test_what_info_says_is_judged(
    info: dict[str, Any], refusals: tuple[str, ...], worries: tuple[str, ...]
) -> None:
    assert (refusals, worries) == judge(info, None, False)
