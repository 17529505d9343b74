"""Everything that can go wrong on the way, and the one error that it becomes."""

from __future__ import annotations

import time

import pytest

from bridge.errors import (
    VitallyError,
    VitallyKeyError,
    VitallyLimitedError,
    VitallyMissingError,
    VitallyRefusedError,
    VitallyUnavailableError,
)
from tests.support.vitally.network import KINDS, Fault
from tests.support.waiting import eventually

ACME = {"externalId": "acme-101", "name": "Acme"}
HTML = "<!doctype html><html><body><h1>Bad gateway</h1></body></html>"


def failure(act) -> VitallyError:
    with pytest.raises(VitallyError) as caught:
        act()
    return caught.value


@pytest.mark.parametrize(
    "body", [{"error": "No."}, {"error": {"message": "No."}}, HTML]
)
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, VitallyKeyError),
        (403, VitallyKeyError),
        (404, VitallyMissingError),
        (429, VitallyLimitedError),
        (400, VitallyRefusedError),
        (405, VitallyRefusedError),
        (409, VitallyRefusedError),
        (413, VitallyRefusedError),
        (422, VitallyRefusedError),
        (408, VitallyUnavailableError),
        (425, VitallyUnavailableError),
        (500, VitallyUnavailableError),
        (502, VitallyUnavailableError),
        (503, VitallyUnavailableError),
        (504, VitallyUnavailableError),
    ],
)
def test_a_status_is_one_error_whatever_its_body(
    vitally, simulator, status, kind, body
):
    simulator.break_with([{"kind": "status", "status": status, "body": body}])

    error = failure(vitally.probe)

    expected = f"answered {status} without a reason" if body is HTML else "No."
    assert (kind, status, expected) == (type(error), error.status, error.reason)
    vitally.probe()


COMMITTED = {
    "timeout_after_commit",
    "reset_after_commit",
    "truncated",
    "non_json",
    "oversize",
    "slow_headers",
    "slow_body",
}


@pytest.mark.parametrize(
    "kind", sorted({*KINDS} - {"answer", "status", "hang_up", "delay"})
)
def test_a_broken_reply_is_unavailable_and_was_sent(impatient, simulator, kind):
    impatient.create(ACME)
    simulator.break_with([{"kind": kind}])

    began = time.monotonic()
    error = failure(lambda: impatient.update("acme-101", {"name": "New"}))

    assert (VitallyUnavailableError, True) == (type(error), error.sent)
    assert time.monotonic() - began < 1.5
    name = "New" if kind in COMMITTED else "Acme"
    assert name == impatient.get("acme-101")["name"]


def test_a_late_request_is_still_done_though_nobody_waits(impatient, simulator):
    impatient.create(ACME)
    simulator.break_with([{"kind": "delay", "seconds": 0.6}])

    error = failure(lambda: impatient.update("acme-101", {"name": "Late"}))
    entry = simulator.log()[-1]

    assert "no complete answer within 0.25 s" == error.reason
    assert entry["committed"] is None
    eventually(lambda: simulator.account("acme-101")["name"] == "Late")
    late = simulator.log()[-1]
    assert late["ended"] < late["committed"]
    assert late["status"] is None


def test_a_short_delay_is_waited_for(vitally, simulator):
    simulator.break_with([{"kind": "delay", "seconds": 0.05}])

    assert "Acme" == vitally.create(ACME)["name"]


def test_a_kept_connection_that_was_closed_is_opened_again(vitally, simulator):
    simulator.break_with([{"kind": "hang_up"}])
    vitally.create(ACME)
    # the close has to arrive before the next request: it is sent right behind
    eventually(lambda: not any(map(_is_open, vitally._pool.pool.queue)))

    assert "Acme" == vitally.get("acme-101")["name"]


def _is_open(connection) -> bool:
    return connection is not None and connection.is_connected


def test_a_stalled_peer_never_holds_longer_than_the_deadline(impatient, simulator):
    """A byte each tenth of a second keeps every single read happy."""
    simulator.break_with([{"kind": "slow_body", "seconds": 0.1}])

    began = time.monotonic()
    error = failure(lambda: impatient.create(ACME))

    assert "no complete answer within 0.25 s" == error.reason
    assert 0.2 < time.monotonic() - began < 1.0


def test_a_redirect_is_not_followed(vitally, simulator):
    target = f"{simulator.url}/resources/accounts?limit=1"
    simulator.break_with([{"kind": "redirect", "location": target}])

    error = failure(vitally.probe)

    assert (VitallyUnavailableError, 302) == (type(error), error.status)
    assert 1 == len(simulator.log())


def test_a_refused_connection_was_not_sent(vitally, simulator):
    simulator.stop()
    try:
        error = failure(lambda: vitally.create(ACME))
    finally:
        simulator.start()

    assert (VitallyUnavailableError, False) == (type(error), error.sent)
    assert "Acme" == vitally.create(ACME)["name"]


def test_a_fault_may_wait_for_its_turn_and_come_back(vitally, simulator):
    match = {"method": "GET", "path": "*/acme*", "nth": 2}
    simulator.break_with([{"match": match, "kind": "status", "times": 2}])
    vitally.create(ACME)

    got = []
    for _ in range(4):
        try:
            got.append(vitally.get("acme-101")["name"])
        except VitallyUnavailableError as error:
            got.append(error.status)

    assert ["Acme", 500, 500, "Acme"] == got


def test_faults_come_one_after_another(vitally, simulator):
    kinds = [{"kind": "status", "status": status} for status in (500, 502)]
    simulator.break_with([*kinds, {"kind": "truncated"}])

    assert [500, 502, None] == [failure(vitally.probe).status for _ in range(3)]
    vitally.probe()


def test_a_fault_without_times_stays_until_it_is_mended(vitally, simulator):
    simulator.break_with([{"kind": "status", "status": 503, "times": None}])

    assert [503] * 3 == [failure(vitally.probe).status for _ in range(3)]
    simulator.mend()
    vitally.probe()


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "nothing"},
        {"kind": "delay", "second": 1},
        {"kind": "delay", "match": {"url": "x"}},
    ],
)
def test_a_wrong_fault_is_an_error(fields):
    with pytest.raises((AssertionError, TypeError)):
        Fault(**fields)
