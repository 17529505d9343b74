"""The bridge names jobs by string; a string must not rot."""

from __future__ import annotations

from inspect import isfunction
from pkgutil import resolve_name

import pytest

from bridge import queue


@pytest.mark.parametrize("name", [queue.CREATE, queue.UPDATE])
def test_a_job_s_name_is_a_function_of_the_workers(name: str) -> None:
    assert name.startswith("workers.jobs.")
    assert isfunction(resolve_name(name))


def test_there_are_two_jobs() -> None:
    assert queue.CREATE != queue.UPDATE
