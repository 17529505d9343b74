"""Fixtures that every level of the tests may ask for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from redis import Redis

from tests.support.server import RedisServer

# No deadline for one example: how busy the machine is says nothing about the law.
settings.register_profile("bridge", deadline=None, print_blob=True)
settings.load_profile("bridge")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One real server for the whole run; tests that hurt it start their own."""
    folder: Path = tmp_path_factory.mktemp("redis")
    with RedisServer(folder) as server:
        yield server


@pytest.fixture
def redis(redis_server: RedisServer) -> Iterator[Redis]:
    """A client (bytes) of the shared server, emptied before each test."""
    with redis_server.client() as client:
        client.flushall()
        yield client
