"""Fixtures that every level of the tests may ask for."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from redis import Redis

from bridge.redis_server import find_server
from tests.support.server import RedisServer

# No deadline for one example: how busy the machine is says nothing about the law.
settings.register_profile("bridge", deadline=None, print_blob=True)
settings.load_profile("bridge")


@pytest.fixture(params=["embedded", "redis-server"])
def redis_program(request: pytest.FixtureRequest) -> Path:
    """Each kind of server in turn, for tests of which the outcome may hang on it.

    The lock's own, and Debian's, which is older; .ci/run installs it.
    """
    if request.param == "embedded":
        return find_server()
    found = shutil.which(request.param)
    if found is None and "CI" in os.environ:
        pytest.fail(f"{request.param} is not on the PATH")
    if found is None:
        pytest.skip(f"{request.param} is not on the PATH")
    return Path(found)


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
