"""`BRIDGE_DURABILITY=fsync`: a 2xx only after Redis has the event on its disk."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis import Redis

from bridge.errors import StorageError
from bridge.store.connect import connect, run_id
from bridge.store.health import APART, FSYNC_EVERY, Disk, unfit
from bridge.web.hooks import WITHIN
from tests.support.server import RedisServer
from tests.support.stack import Stack
from tests.support.stripe import Answer, Shop
from tests.support.waiting import eventually

pytestmark = pytest.mark.alone

FSYNC = {"BRIDGE_DURABILITY": "fsync"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """On the lock's own server, which can tell; that an old one cannot is a test below."""
    with Stack(tmp_path_factory.mktemp("fsync"), **FSYNC) as made:
        made.web()
        made.worker()
        yield made.ready()


@pytest.fixture
def stack(running: Stack) -> Stack:
    running.redis_server.config(appendfsync="always")
    # The watch may still refuse what an earlier test has done to Redis.
    return running.ready()


@pytest.fixture
def redis(stack: Stack) -> Iterator[Redis]:
    url = stack.redis_server.url
    with connect(url, verify_tls=True, timeout=0.45, most=8) as client:
        yield client


def flush(disk: Disk, run: str = "") -> None:
    disk.wait(run, time.monotonic() + WITHIN)


@pytest.mark.parametrize("how", ["always", "everysec"])
def test_what_was_written_over_another_connection_is_on_the_disk(
    stack: Stack, redis: Redis, how: str
) -> None:
    stack.redis_server.config(appendfsync=how)
    disk = Disk(redis)
    for number in range(3):
        redis.set("event", number)
        flush(disk)

    # Nothing was written since, so that it says of the last write what is true.
    assert 1 == redis.waitaof(1, 0, 10)[0]


def test_with_everysec_it_waits_until_an_fsync_has_surely_begun(stack: Stack) -> None:
    """`WAITAOF` may confirm sooner what is not there yet."""
    stack.redis_server.config(appendfsync="everysec")
    begun = time.monotonic()
    answer = stack.stripe().post(Shop().signs_up())

    assert 202 == answer.status
    assert FSYNC_EVERY + APART < time.monotonic() - begun < 2


def test_redis_stalls_while_a_delivery_waits(stack: Stack) -> None:
    stack.redis_server.config(appendfsync="everysec")
    stalls = threading.Timer(0.7, stack.redis_server.pause)
    begun = time.monotonic()
    stalls.start()
    answer = stack.stripe().post(Shop().signs_up())
    took = time.monotonic() - begun
    stack.redis_server.resume()

    assert 503 == answer.status
    assert 0.7 < took < 2


def test_a_redis_that_was_restarted_meanwhile_confirms_nothing() -> None:
    with RedisServer() as server, server.client() as client:
        server.config(appendfsync="always")
        disk, run = Disk(client), run_id(client)
        flush(disk, run)
        server.restart()
        # Each delivery that the old run took, not only the first.
        for _ in range(2):
            with pytest.raises(StorageError, match="restarted"):
                flush(disk, run)
        flush(disk, run_id(client))


def test_a_user_who_may_not_call_info_is_told_or_trusted() -> None:
    with RedisServer() as server, server.client() as client:
        client.acl_setuser("default", enabled=True, commands=["-info"])
        told = unfit(client)
        client.config_set("appendfsync", "always")
        flush(Disk(client), run_id(client))

        assert "'info'" in (told or "")
        assert unfit(client) is None


def test_a_disk_that_is_never_waited_for_and_a_stall_are_no_confirmation(
    stack: Stack, redis: Redis
) -> None:
    disk = Disk(redis)
    flush(disk)
    stack.redis_server.config(appendfsync="no")
    begun = time.monotonic()
    with pytest.raises(StorageError, match="not confirm in time that it is on disk"):
        flush(disk)
    never = time.monotonic() - begun
    stack.redis_server.pause()
    with pytest.raises(StorageError):
        flush(disk)
    stalled = time.monotonic() - begun - never
    stack.redis_server.resume()
    stack.redis_server.config(appendfsync="always")
    flush(disk)

    assert 0.9 < never < 2
    assert stalled < 2


def test_an_event_is_taken_once_it_is_on_the_disk_one_of_no_concern_at_once(
    stack: Stack,
) -> None:
    stripe, shop = stack.stripe(), Shop()
    taken = stripe.deliver(shop.signs_up())

    def waits_for_no_disk() -> Answer | None:
        # Before the watch sees that Redis does not flush: from then on all is refused.
        stack.redis_server.config(appendfsync="always")
        stack.ready()
        stack.redis_server.config(appendfsync="no")
        answer = stripe.post(shop.pays())
        return answer if answer.status == 202 else None

    ignored = eventually(waits_for_no_disk)
    event = shop.begins()
    begun = time.monotonic()
    refused = stripe.post(event)
    took = time.monotonic() - begun
    stack.redis_server.config(appendfsync="always")
    again = eventually(lambda: (one := stripe.post(event)).status == 202 and one)

    assert (202, "ignored") == (taken.status, ignored.receipt)
    assert (503, True) == (refused.status, "Retry-After" in refused.headers)
    assert took < 2
    # Not stored where the watch had seen it by then.
    assert again.receipt in {"duplicate", "queued", "coalesced"}
    assert eventually(stack.has(shop.id, mrr=49))


def test_many_wait_for_the_disk_at_once_and_what_was_taken_outlives_a_crash(
    stack: Stack,
) -> None:
    """With `everysec`, where each waits longest."""
    stack.redis_server.config(appendfsync="everysec")
    shops = [Shop() for _ in range(100)]
    stripe = stack.stripe()

    def post(shop: Shop) -> tuple[int, float]:
        begun = time.monotonic()
        return stripe.post(shop.signs_up()).status, time.monotonic() - begun

    with ThreadPoolExecutor(100) as senders:
        answers = list(senders.map(post, shops))
    stack.redis_server.kill()
    stack.redis_server.restart()

    assert [202] * 100 == [status for status, _ in answers]
    assert max(seconds for _, seconds in answers) < 2
    stack.ready().settled()
    assert {shop.id for shop in shops} <= set(stack.creations())


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (("--appendonly", "no"), "appendonly"),
        (("--appendfsync", "no"), "appendfsync is no"),
        (("--no-appendfsync-on-rewrite", "yes"), "no-appendfsync-on-rewrite is yes"),
        (("--rename-command", "WAITAOF", ""), "unknown command"),
    ],
    ids=["no file", "no flush", "none for minutes", "an old Redis"],
)
def test_a_redis_that_cannot_tell_is_not_ready_and_takes_nothing(
    tmp_path: Path, extra: tuple[str, ...], words: str
) -> None:
    with (
        RedisServer(extra=extra) as server,
        Stack(tmp_path, redis_url=server.url, **FSYNC) as own,
    ):
        web = own.web()
        status, page = eventually(
            lambda: "fsync" in (found := web.get("/readyz"))[1] and found
        )
        answer = own.stripe().post(Shop().signs_up())

    reason = json.loads(page)["reasons"][0]
    assert 503 == status == answer.status
    assert reason.startswith("BRIDGE_DURABILITY is fsync, and Redis cannot confirm")
    assert words in reason


def test_a_redis_of_any_kind_either_can_tell_or_takes_nothing(
    redis_program: Path, tmp_path: Path
) -> None:
    """`WAITAOF` came with 7.2; Debian 12 has 7.0."""
    with Stack(tmp_path, program=redis_program, **FSYNC) as own:
        knows = "waitaof" in own.redis.command()
        web = own.web()
        own.worker()

        def told() -> str:
            status, page = web.get("/readyz")
            assert (200 if knows else 503) == status
            assert knows != ("fsync" in page)
            return page

        page = eventually(told)
        answer = own.stripe().post(Shop().signs_up())

    assert (202 if knows else 503) == answer.status
    assert knows or "unknown command" in page


def test_a_redis_that_keeps_its_settings_to_itself_is_trusted() -> None:
    for extra in ((), ("--rename-command", "CONFIG", "")):
        with RedisServer(extra=extra) as server, server.client() as client:
            if not extra:
                client.acl_setuser("default", enabled=True, commands=["-config"])

            assert unfit(client) is None
