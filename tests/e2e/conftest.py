"""Fixtures of the end-to-end tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.support.browser import Browser
from tests.support.stack import Stack


@pytest.fixture(scope="package")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of one web and one worker, for tests that hurt nobody.

    Where `REDIS_URL` is set it runs on that Redis.
    """
    folder = tmp_path_factory.mktemp("stack")
    with Stack(folder, redis_url=os.environ.get("REDIS_URL")) as stack:
        stack.web()
        stack.worker()
        yield stack.ready()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    made = Browser(tmp_path_factory.mktemp("chromium"))
    yield made
    made.stop()
