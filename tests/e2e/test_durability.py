"""`BRIDGE_DURABILITY=fsync`: a 2xx only after Redis has the event on its disk."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from redis import Redis

from bridge.errors import StorageError
from bridge.store.connect import connect
from bridge.store.health import flusher, unfit
from tests.support.server import RedisServer
from tests.support.stack import Stack
from tests.support.stripe import Shop
from tests.support.waiting import eventually

pytestmark = pytest.mark.alone

Serve = Callable[..., RedisServer]


def client(server: RedisServer) -> Redis:
    return connect(server.url, verify_tls=True, timeout=0.45, most=8)


@pytest.fixture
def server() -> Iterator[RedisServer]:
    """The lock's own, which can tell; that an old one cannot is a test below."""
    with RedisServer() as running:
        yield running


@pytest.fixture
def stack(server: RedisServer, tmp_path: Path) -> Iterator[Stack]:
    url = server.url
    with Stack(tmp_path, redis_url=url, BRIDGE_DURABILITY="fsync") as made:
        made.web()
        made.worker()
        yield made.ready()


@pytest.mark.parametrize(("how", "most"), [("always", 0.4), ("everysec", 1.2)])
def test_what_was_written_over_another_connection_is_on_the_disk(
    server: RedisServer, how: str, most: float
) -> None:
    server.config(appendfsync=how)
    with client(server) as redis:
        flush = flusher(redis)
        for number in range(3):
            redis.set("event", number)
            begun = time.monotonic()
            flush()
            assert time.monotonic() - begun < most
        # Nothing was written since, so that it says of the last write what is true.
        assert [1, 0] == redis.waitaof(1, 0, 10)


def test_a_disk_that_is_never_waited_for_is_no_confirmation(
    server: RedisServer,
) -> None:
    server.config(appendfsync="no")
    with client(server) as redis:
        begun = time.monotonic()
        with pytest.raises(StorageError, match="not have it on its disk in time"):
            flusher(redis)()

        assert 0.9 < time.monotonic() - begun < 1.5


def test_a_redis_that_stalls_is_no_confirmation(server: RedisServer) -> None:
    with client(server) as redis:
        flush = flusher(redis)
        flush()
        server.pause()
        begun = time.monotonic()
        with pytest.raises(StorageError):
            flush()
        took = time.monotonic() - begun
        server.resume()
        flush()

    assert took < 1.5


def test_an_event_is_taken_once_it_is_on_the_disk(
    stack: Stack, server: RedisServer
) -> None:
    stripe, shop = stack.stripe(), Shop()
    taken = stripe.post(shop.signs_up())
    server.config(appendfsync="no")
    told = shop.begins()
    begun = time.monotonic()
    refused = stripe.post(told)
    took = time.monotonic() - begun
    server.config(appendfsync="always")
    again = eventually(lambda: (one := stripe.post(told)).status == 202 and one, 5)

    assert 202 == taken.status
    assert (503, True) == (refused.status, "Retry-After" in refused.headers)
    assert took < 2
    assert (202, "duplicate") == (again.status, again.receipt)
    assert eventually(stack.has(shop.id, mrr=49))


def test_an_event_of_no_concern_waits_for_no_disk(
    stack: Stack, server: RedisServer
) -> None:
    stripe, shop = stack.stripe(), Shop()
    stripe.post(shop.signs_up())
    server.config(appendfsync="no")
    begun = time.monotonic()
    ignored = stripe.post(shop.pays())

    assert (202, "ignored") == (ignored.status, ignored.receipt)
    assert time.monotonic() - begun < 0.5


def test_many_wait_for_the_disk_at_once(stack: Stack) -> None:
    shops = [Shop() for _ in range(100)]
    stripe = stack.stripe()

    def post(shop: Shop) -> tuple[int, float]:
        begun = time.monotonic()
        return stripe.post(shop.signs_up()).status, time.monotonic() - begun

    with ThreadPoolExecutor(50) as senders:
        answers = list(senders.map(post, shops))

    assert [202] * 100 == [status for status, _ in answers]
    assert max(seconds for _, seconds in answers) < 2


def test_what_was_taken_is_there_after_a_crash_of_redis(
    stack: Stack, server: RedisServer
) -> None:
    stripe = stack.stripe()
    shops = [Shop() for _ in range(20)]
    answers = [stripe.post(shop.signs_up()).status for shop in shops]
    server.kill()
    server.restart()

    assert [202] * 20 == answers
    stack.ready().settled(20)
    assert {shop.id for shop in shops} == set(stack.creations())


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (("--appendonly", "no"), "appendonly"),
        (("--appendfsync", "no"), "appendfsync is no"),
        (("--rename-command", "WAITAOF", ""), "unknown command"),
    ],
    ids=["no file", "no flush", "an old Redis"],
)
def test_a_redis_that_cannot_tell_is_not_ready_and_takes_nothing(
    tmp_path: Path, extra: tuple[str, ...], said: str
) -> None:
    with (
        RedisServer(extra=extra) as server,
        Stack(tmp_path, redis_url=server.url, BRIDGE_DURABILITY="fsync") as stack,
    ):
        web = stack.web()
        status, told = eventually(
            lambda: "fsync" in (found := web.get("/readyz"))[1] and found
        )
        answer = stack.stripe().post(Shop().signs_up())

    reason = json.loads(told)["reasons"][0]
    assert 503 == status == answer.status
    assert reason.startswith("BRIDGE_DURABILITY is fsync, and Redis cannot tell")
    assert said in reason


def test_a_redis_of_any_kind_either_can_tell_or_takes_nothing(
    redis_program: Path, tmp_path: Path
) -> None:
    """`WAITAOF` came with 7.2; Debian 12 has 7.0."""
    with (
        RedisServer(program=redis_program) as server,
        Stack(tmp_path, redis_url=server.url, BRIDGE_DURABILITY="fsync") as stack,
    ):
        knows = "waitaof" in stack.redis.command()
        web = stack.web()
        stack.worker()
        status = 200 if knows else 503
        said = eventually(
            lambda: (
                (found := web.get("/readyz"))[0] == status
                and ("fsync" in found[1]) == (not knows)
                and found[1]
            )
        )
        answer = stack.stripe().post(Shop().signs_up())

    assert (202 if knows else 503) == answer.status
    assert knows or "unknown command" in said


def test_a_redis_that_keeps_its_settings_to_itself_is_trusted(
    server: RedisServer,
) -> None:
    with client(server) as redis:
        redis.acl_setuser("default", enabled=True, commands=["-config"])
        assert unfit(redis) is None
    with RedisServer(extra=("--rename-command", "CONFIG", "")) as hidden:
        assert unfit(client(hidden)) is None
