"""One simulator for all contract tests, emptied before each; and its client."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from bridge.vitally.client import Vitally
from tests.support.vitally import Simulator


@pytest.fixture(scope="session")
def running_simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(running_simulator: Simulator) -> Simulator:
    running_simulator.reset()
    return running_simulator


@pytest.fixture
def client_of(simulator: Simulator) -> Iterator[Callable[..., Vitally]]:
    """Make clients of the simulator; all are closed in the end."""
    with ExitStack() as stack:

        def make(**options: Any) -> Vitally:
            given = {"authorization": simulator.authorization, **options}
            vitally = Vitally(simulator.url, **given)
            return stack.enter_context(closing(vitally))

        yield make


@pytest.fixture
def vitally(client_of: Callable[..., Vitally]) -> Vitally:
    return client_of()


@pytest.fixture
def impatient(client_of: Callable[..., Vitally]) -> Vitally:
    """A client for what is to run into its deadline."""
    return client_of(deadline=0.25)
