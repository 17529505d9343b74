"""A sample of `make fuzz`: a few damaged inputs for every parser, always the same ones."""

from __future__ import annotations

import logging
from random import Random

import pytest

from tests.support.fuzz import fuzz


def test_a_few_damaged_inputs_of_each_kind_do_no_harm(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Red? Its message names the target; `tests.support.fuzz` says how it reads."""
    turns = iter([True, False])
    with caplog.at_level(logging.CRITICAL + 1):
        finds = list(fuzz(Random(7), lambda: next(turns), 4))

    assert [] == finds
