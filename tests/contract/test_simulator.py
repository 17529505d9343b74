"""The simulator's own promises: its limits, its honest log, its side door, its page."""

from __future__ import annotations

import threading
from contextlib import suppress

import orjson
import pytest
import urllib3

from bridge.errors import (
    VitallyLimitedError,
    VitallyRefusedError,
    VitallyUnavailableError,
)
from bridge.vitally.simulator import Simulator, Switches
from bridge.vitally.simulator.api import Answer
from bridge.vitally.simulator.budget import budget
from bridge.vitally.simulator.manners import http_bytes
from tests.support.waiting import eventually

ACME = {"externalId": "acme-101", "name": "Acme"}


def ask(simulator, method: str, path: str, said: object = None):
    body = None if said is None else orjson.dumps(said)
    with urllib3.PoolManager() as pool:
        return pool.request(method, simulator.url + path, body=body)


def door(simulator, method: str, name: str, said: object = None):
    return ask(simulator, method, f"/_simulator/{name}", said).json()


def test_a_bucket_refills_evenly():
    bucket = budget(Switches(), 0.0)

    assert all(bucket.take(10, 0.0) for _ in range(100))
    assert not bucket.take(10, 0.5)
    assert bucket.take(10, 0.6)
    assert (1000, 1) == (bucket.remaining(1000.0), bucket.reset(1000.0))


def test_a_window_forgets_what_is_a_minute_old():
    window = budget(Switches(rate_mode="window", rate_limit=20), 0.0)

    assert (True, True, False) == tuple(window.take(10, at) for at in (0.0, 5.0, 59.9))
    assert 1 == window.reset(59.9)
    assert window.take(10, 60.0)
    assert 0 == window.remaining(60.0)


def test_a_refused_request_costs_nothing(vitally, simulator):
    simulator.turn(rate_mode="window", rate_limit=15)
    vitally.create(ACME)
    with pytest.raises(VitallyLimitedError):
        vitally.update("acme-101", {"name": "New"})

    vitally.get("acme-101")

    log = simulator.log()
    assert [(10, 5), (0, 5), (1, 4)] == [(e["cost"], e["remaining"]) for e in log]
    assert [200, 429, 200] == [entry["status"] for entry in log]


def test_two_writes_of_one_account_at_a_time_are_seen(client_of, vitally, simulator):
    vitally.create(ACME)
    simulator.break_with([{"kind": "delay", "seconds": 0.3}])
    first = threading.Thread(
        target=client_of().update, args=("acme-101", {"name": "One"})
    )
    first.start()
    eventually(lambda: len(simulator.log()) == 2)

    vitally.update("acme-101", {"name": "Two"})
    vitally.create({"externalId": "other", "name": "Other"})
    first.join()

    log = simulator.log()
    assert [False, False, True, False] == [entry["overlap"] for entry in log]
    assert log[2]["started"] < log[1]["ended"]


def test_a_write_ends_when_its_client_hangs_up(impatient, simulator):
    """Or a worker that gave up in time would look as if it broke its promise."""
    impatient.create(ACME)
    simulator.break_with([{"kind": "timeout_after_commit"}])
    with pytest.raises(VitallyUnavailableError):
        impatient.update("acme-101", {"name": "One"})

    impatient.update("acme-101", {"name": "Two"})

    _, lost, second = simulator.log()
    assert not second["overlap"]
    assert lost["committed"] < lost["ended"] <= second["started"] + 5
    assert (None, 200) == (lost["status"], second["status"])


def test_the_log_names_accounts_by_their_external_id(vitally, simulator):
    made = vitally.create(ACME)
    vitally.update(made["id"], {"name": "New"})
    vitally.accounts()

    log = door(simulator, "GET", "log")

    assert ["acme-101", "acme-101", None] == [entry["account"] for entry in log]
    assert [1, 2, 3] == [entry["n"] for entry in log]
    assert {"name": "New"} == log[1]["body"]
    assert log[1]["started"] <= log[1]["committed"] <= log[1]["ended"]
    assert [3] == [entry["n"] for entry in door(simulator, "GET", "log?since=2")]


def test_the_side_door_breaks_turns_rotates_and_resets(vitally, simulator):
    vitally.create(ACME)
    door(simulator, "POST", "faults", {"kind": "status", "status": 503})
    with pytest.raises(VitallyUnavailableError):
        vitally.probe()

    turned = door(simulator, "POST", "switches", {"null_trait": "keep"})
    door(simulator, "POST", "keys", {"keys": ["sk_test_new"]})

    assert (
        "keep"
        == turned["null_trait"]
        == door(simulator, "GET", "switches")["null_trait"]
    )
    assert ["acme-101"] == [a["externalId"] for a in door(simulator, "GET", "accounts")]
    door(simulator, "POST", "reset")
    vitally.probe()
    assert [] == simulator.accounts()
    assert "drop" == door(simulator, "GET", "switches")["null_trait"]


def test_the_side_door_mends(vitally, simulator):
    door(simulator, "POST", "faults", [{"kind": "status", "times": None}])
    with pytest.raises(VitallyUnavailableError):
        vitally.probe()

    door(simulator, "DELETE", "faults")

    vitally.probe()


@pytest.mark.parametrize(
    ("method", "path", "said", "status"),
    [
        ("GET", "/_simulator/nothing", None, 404),
        ("POST", "/_simulator/switches", {"null_trait": "x"}, 400),
        ("POST", "/_simulator/faults", {"kind": "x"}, 400),
        ("GET", "/_simulator/log?since=x", None, 400),
        ("GET", "/_simulator/faults", None, 200),
    ],
)
def test_a_mistake_at_the_side_door_is_answered(simulator, method, path, said, status):
    assert status == ask(simulator, method, path, said).status


def test_nothing_of_the_side_door_costs_or_is_logged(simulator):
    door(simulator, "GET", "accounts")

    assert [] == simulator.log()


def test_the_page_shows_accounts_and_escapes_them(vitally, simulator):
    traits = {"mrr": 12.5, "churnedAt": "2026-01-02T03:04:05Z", "<b>": "<i>"}
    vitally.create({"externalId": "x&y", "name": "<script>", "traits": traits})

    page = ask(simulator, "GET", "/").data.decode()

    for shown in ("&lt;script&gt;", "x&amp;y", "12.5", "2026-01-02", "churned"):
        assert shown in page
    assert "<script" not in page
    assert "&lt;b&gt; = &lt;i&gt;" in page


def test_an_empty_page_says_so(simulator):
    assert b"No account yet." in ask(simulator, "GET", "/").data


def test_an_unknown_method_and_a_body_without_json_are_answered(simulator):
    headers = {"Authorization": simulator.authorization}
    with urllib3.PoolManager() as pool:
        url = f"{simulator.url}/resources/accounts"
        assert 404 == pool.request("PATCH", url, headers=headers).status
        reply = pool.request("POST", url, headers=headers, body=b"{")

    assert (400, {"error": "The body is no JSON."}) == (reply.status, reply.json())


def test_a_missing_header_is_answered_as_recorded(simulator):
    reply = ask(simulator, "GET", "/resources/accounts")

    assert {"error": "Authorization header not present."} == reply.json()
    assert (401, "1000") == (reply.status, reply.headers["RateLimit-Remaining"])


def test_a_simulator_that_comes_back_still_knows_everything():
    simulator = Simulator()
    with simulator, urllib3.PoolManager() as pool:
        first = simulator.url
        headers = {"Authorization": simulator.authorization}
        url = f"{first}/resources/accounts"
        pool.request("POST", url, headers=headers, body=orjson.dumps(ACME))

    with simulator:
        assert first == simulator.url
        assert "Acme" == simulator.account("acme-101")["name"]


def test_organizations_are_there_as_far_as_accounts_need_them(vitally, simulator):
    path = "/resources/organizations"
    made = vitally._one("POST", path, {"externalId": "org", "name": "Org"})
    vitally.create({**ACME, "organizationId": made["id"]})

    listed = vitally._page(path, {"limit": 10})
    one = vitally._one("GET", f"{path}/org")

    assert [one] == listed.results
    assert (made["id"], 1, None) == (
        one["id"],
        one["accountsCount"],
        one["organizationOwnerId"],
    )
    with pytest.raises(VitallyRefusedError, match="Organization not found"):
        vitally.update("acme-101", {"organizationId": "nobody"})


def test_a_client_that_gives_up_again_and_again_never_seems_to_overlap(
    client_of, simulator
):
    impatient = client_of(deadline=0.03)
    simulator.turn(put_on_missing="upsert", rate_limit=100_000)
    kinds = ("timeout_after_commit", "reset_after_commit", "slow_body", "truncated")
    simulator.break_with([{"kind": kind, "times": 5} for kind in kinds])

    for index in range(40):
        with suppress(VitallyUnavailableError):
            impatient.update("acme-101", {"traits": {"n": index}})

    writes = simulator.writes()
    assert len(writes) > 20
    assert [] == [entry for entry in writes if entry["overlap"]]


def test_an_odd_status_has_a_phrase_too():
    assert http_bytes(Answer(599, {}, b"")).startswith(b"HTTP/1.1 599 Unknown\r\n")
