"""Fixtures that every level of the tests may ask for."""

from __future__ import annotations

import gc
import os
import shutil
import signal
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from redis import Redis
from xdist.scheduler import LoadScopeScheduling

from bridge.redis_server import find_server
from tests.support.server import RedisServer
from tests.support.stack import Stack

# No deadline for one example: how busy the machine is says nothing about the law.
settings.register_profile("bridge", deadline=None, print_blob=True)
settings.register_profile("quick", settings.get_profile("bridge"), max_examples=20)
settings.load_profile("bridge")

# A shell lets what it starts in the background ignore Ctrl-C, and so would all processes
# that tests start.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

TOGETHER = ("install", "chaos", "e2e", "integration", "architecture")
"""Folders whose files share a process or a state that is slow to make, slowest first."""


class ByFile(LoadScopeScheduling):
    """Deals tests out to the processes of `pytest -n`.

    A file of the folders above stays in one process, and so does all of `install`: its
    files share what they install. Any other test goes wherever there is time.
    """

    def _split_scope(self, nodeid: str) -> str:
        _, folder, *_ = nodeid.split("/")
        if folder not in TOGETHER:
            return nodeid
        return folder if folder == "install" else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(
    config: pytest.Config, log: Any
) -> LoadScopeScheduling | None:
    """Deal by file where pytest is asked to: `--dist loadscope`."""
    return ByFile(config, log) if config.getvalue("dist") == "loadscope" else None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Keep what is collected out of the collections of garbage: no test becomes garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what waits long begin first, so that the short tests fill the gaps.

    Within a folder the order stays random.
    """

    def place(item: pytest.Item) -> int:
        folder = item.nodeid.split("/")[1]
        return TOGETHER.index(folder) if folder in TOGETHER else len(TOGETHER)

    items.sort(key=place)


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


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    """A stack of a test's own, without any process yet."""
    with Stack(tmp_path) as own:
        yield own
