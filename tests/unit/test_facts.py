"""How parties are named; their names stand in Redis, so that they never change."""

from __future__ import annotations

import pytest

from bridge.domain.facts import Rank, catalogue, pointer, source_of
from bridge.domain.values import REFRESHED, TO_REFRESH


def test_what_stands_in_redis_is_spelled_as_ever() -> None:
    assert "pointer:stripe:customer:cus_1" == pointer("stripe", "customer:cus_1")
    assert "catalogue:stripe:coupon:half" == catalogue("stripe", "coupon:half")
    assert ("thin", "read", 0) == (TO_REFRESH, REFRESHED, Rank.CREATED)


@pytest.mark.parametrize(
    "party",
    ["stripe:cus_1", "pointer:stripe:customer:cus_1", "catalogue:stripe:coupon:half"],
)
def test_every_party_says_its_source(party: str) -> None:
    assert "stripe" == source_of(party)
