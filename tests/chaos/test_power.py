"""The machine of Redis loses power, and nothing that was answered 2xx is lost; a sample.

`make power` plays a hundred seeds, others with `BRIDGE_DURABILITY=fsync`, and shows that
without protection events are lost.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.power import BAR, MODES, Power

pytestmark = pytest.mark.chaos


def test_what_was_answered_2xx_outlives_a_power_cut(tmp_path: Path) -> None:
    with Power(tmp_path, **MODES["listed"]) as power:
        done = power.play(1)

        assert [] == done.wrong
        assert [] == power.rest()
    assert min(done.answered, done.cut, done.healed) > 5
    assert done.seconds < BAR
