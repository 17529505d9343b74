"""Which refusals of a creation mean that the account is there already."""

from __future__ import annotations

import pytest

from bridge.errors import VitallyMissingError, VitallyRefusedError
from bridge.vitally.replies import already_exists


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (409, "answered 409 without a reason"),
        (409, "Conflict"),
        (400, "Account with externalId acme-101 already exists"),
        (400, "externalId must be unique"),
        (400, "Duplicate externalId"),
        (400, "an account with this externalId exists"),
        (422, "externalId has already been taken"),
    ],
)
def test_a_known_way_to_say_that_it_exists(status, reason):
    assert already_exists(VitallyRefusedError(reason, status))


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, "/externalId must be string"),
        (400, "organization does not exist"),
        (400, "no such organization exist"),
        (400, "/traits must NOT have duplicate items"),
        (413, "already exists"),
        (500, "duplicate"),
    ],
)
def test_every_other_refusal_stays_one(status, reason):
    assert not already_exists(VitallyRefusedError(reason, status))


def test_a_missing_account_does_not_exist():
    assert not already_exists(VitallyMissingError("it already exists", 404))
