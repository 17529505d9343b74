"""The simulator's own promises: its limits, its honest log, its page, its port."""

from __future__ import annotations

import threading
from contextlib import closing, suppress

import orjson
import pytest
import urllib3

from bridge.errors import (
    VitallyLimitedError,
    VitallyRefusedError,
    VitallyUnavailableError,
)
from bridge.vitally import simulator as product
from bridge.vitally.client import Vitally
from bridge.vitally.simulator import Bucket
from tests.support.vitally import Simulator
from tests.support.vitally.network import Answer, http_bytes
from tests.support.vitally.switches import SlidingWindow
from tests.support.waiting import eventually

ACME = {"externalId": "acme-101", "name": "Acme"}


def ask(simulator, method: str, path: str, said: object = None):
    body = None if said is None else orjson.dumps(said)
    with urllib3.PoolManager() as pool:
        return pool.request(method, simulator.url + path, body=body)


def test_a_bucket_refills_evenly():
    bucket = Bucket(1000, 60.0, 0.0)

    assert all(bucket.take(10, 0.0) for _ in range(100))
    assert not bucket.take(10, 0.5)
    assert bucket.take(10, 0.6)
    assert (1000, 1) == (bucket.remaining(1000.0), bucket.reset(1000.0))


def test_a_window_forgets_what_is_a_minute_old():
    window = SlidingWindow(20, 60.0)

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

    log = simulator.log()

    assert ["acme-101", "acme-101", None] == [entry["account"] for entry in log]
    assert [1, 2, 3] == [entry["n"] for entry in log]
    assert {"name": "New"} == log[1]["body"]
    assert log[1]["started"] <= log[1]["committed"] <= log[1]["ended"]
    assert [3] == [entry["n"] for entry in simulator.log(since=2)]


def test_a_reset_forgets_accounts_faults_keys_switches_and_the_log(vitally, simulator):
    vitally.create(ACME)
    simulator.break_with([{"kind": "status", "times": None}])
    simulator.turn(null_trait="keep")
    simulator.rotate("sk_test_new")

    simulator.reset()

    vitally.probe()
    assert "drop" == simulator.switches["null_trait"]
    assert [] == simulator.accounts()
    assert ["GET"] == [entry["method"] for entry in simulator.log()]


def test_the_page_costs_nothing_and_is_not_logged(vitally, simulator):
    ask(simulator, "GET", "/")

    assert [] == simulator.log()
    assert "1000" == ask(simulator, "GET", "/resources").headers["RateLimit-Remaining"]


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


@pytest.mark.parametrize(
    "kind", [product.Simulator, Simulator], ids=["product", "tests"]
)
def test_a_simulator_that_comes_back_still_knows_everything(kind):
    simulator = kind()
    with simulator:
        first = simulator.url
        with closing(Vitally(first, simulator.authorization)) as vitally:
            vitally.create(ACME)

    with simulator:
        assert first == simulator.url
        assert ["Acme"] == [account["name"] for account in simulator.accounts()]


def test_the_simulator_of_the_product_keeps_its_limit_and_serves_its_page():
    with (
        product.Simulator(("sk_test_one",), limit=12) as simulator,
        closing(Vitally(simulator.url, simulator.authorization)) as vitally,
    ):
        vitally.create({**ACME, "externalId": "a/b"})
        assert "Acme" == vitally.get("a/b")["name"]
        with pytest.raises(VitallyLimitedError) as limited:
            vitally.delete("a/b")

        page = ask(simulator, "GET", "/").data

    assert 5.0 == limited.value.retry_after
    assert b"1 accounts, 1 writes" in page


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
