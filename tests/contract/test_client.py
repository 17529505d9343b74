"""What the client keeps to itself: host, key, deadline, connections."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import closing

import pytest

from bridge.errors import VitallyKeyError, VitallyUnavailableError
from bridge.settings import Settings
from bridge.vitally.client import Vitally

ACME = {"externalId": "acme-101", "name": "Acme"}


@pytest.mark.parametrize(
    ("environ", "scheme", "host"),
    [
        ({"VITALLY_SUBDOMAIN": "acme"}, "https", "acme.rest.vitally.io"),
        ({"VITALLY_REGION": "eu"}, "https", "rest.vitally-eu.io"),
        ({"VITALLY_BASE_URL": "http://127.0.0.1:9000"}, "http", "127.0.0.1"),
    ],
)
def test_the_client_talks_to_the_one_host_of_the_settings(environ, scheme, host):
    settings = Settings.from_env(
        {**environ, "VITALLY_API_KEY": "sk_test_example"}, without={"REDIS_URL"}
    )

    with closing(
        Vitally(settings.vitally_base_url, settings.vitally_authorization)
    ) as vitally:
        assert (scheme, host) == (vitally._pool.scheme, vitally._pool.host)


@pytest.mark.parametrize("form", ["raw", "header"])
def test_both_forms_of_the_key_are_taken(client_of, simulator, form):
    key = {"raw": "sk_test_example", "header": simulator.authorization}[form]
    settings = Settings.from_env(
        {"VITALLY_API_KEY": key, "VITALLY_BASE_URL": simulator.url},
        without={"REDIS_URL"},
    )

    client_of(authorization=settings.vitally_authorization).probe()


@pytest.mark.parametrize(
    "authorization",
    [
        "Basic c2tfdGVzdF9leGFtcGxl",  # no colon behind the key
        "Bearer sk_test_example",
        "Basic !",
        "Basic b3RoZXI6",
        "Basic c2tfdGVzdF9leGFtcGxlOnB3",  # with a password
    ],
)
def test_a_wrong_authorization_is_a_key_error(client_of, authorization):
    with pytest.raises(VitallyKeyError) as refused:
        client_of(authorization=authorization).probe()

    assert 401 == refused.value.status


def test_the_key_is_in_no_repr_and_no_reason(client_of, simulator):
    body = {"error": f"{simulator.authorization} / sk_test_example is wrong"}
    simulator.break_with([{"kind": "status", "status": 401, "body": body}])
    vitally = client_of()

    with pytest.raises(VitallyKeyError) as refused:
        vitally.probe()

    assert "sk_test_example" not in repr(vitally) + repr(vars(refused.value))
    assert simulator.authorization not in str(refused.value)


def test_every_reply_is_observed_refusals_too(client_of, simulator):
    seen = []
    vitally = client_of(observe=seen.append)
    simulator.turn(rate_mode="window")
    vitally.create(ACME)
    simulator.break_with([{"kind": "status", "status": 500}, {"kind": "truncated"}])

    for _ in range(2):
        with pytest.raises(VitallyUnavailableError):
            vitally.get("acme-101")

    assert [990, 990, 989] == [rate.remaining for rate in seen]


def test_requests_share_one_connection(vitally):
    vitally.create(ACME)
    for _ in range(5):
        vitally.get("acme-101")

    assert 1 == vitally._pool.num_connections


def test_a_refusal_keeps_the_connection(vitally, simulator):
    simulator.break_with([{"kind": "status", "status": 400, "times": 3}])
    for _ in range(3):
        with pytest.raises(Exception, match="Internal"):
            vitally.probe()
    vitally.probe()

    assert 1 == vitally._pool.num_connections


def test_threads_may_share_a_client(vitally, simulator):
    names = [f"a-{index}" for index in range(12)]
    threads = [
        threading.Thread(
            target=vitally.create, args=({"externalId": name, "name": name},)
        )
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert set(names) == {account["externalId"] for account in simulator.accounts()}


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_fork_gets_connections_of_its_own(vitally, simulator):
    vitally.create(ACME)
    before = vitally._pool
    child = os.fork()
    if child == 0:
        try:
            vitally.get("acme-101")
            os._exit(0 if vitally._pool is not before else 3)
        finally:
            os._exit(4)

    _, status = os.waitpid(child, 0)

    assert 0 == os.waitstatus_to_exitcode(status)
    assert "Acme" == vitally.get("acme-101")["name"]
    assert before is vitally._pool


def test_nothing_is_sent_once_the_deadline_has_passed(client_of, simulator):
    """Connecting may take longer than allowed; a write must not go out after that."""
    vitally = client_of(deadline=1e-9)

    with pytest.raises(VitallyUnavailableError) as error:
        vitally.create(ACME)

    assert (False, []) == (error.value.sent, simulator.accounts())


def test_a_host_that_never_answers_is_left_at_the_deadline():
    with socket.create_server(("127.0.0.1", 0), backlog=1) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with closing(Vitally(url, "Basic Og==", deadline=0.2)) as vitally:
            began = time.monotonic()
            with pytest.raises(VitallyUnavailableError) as error:
                vitally.probe()

    assert error.value.sent
    assert time.monotonic() - began < 1.0


def test_a_host_name_that_is_not_there_was_not_sent():
    with (
        closing(Vitally("http://nowhere.invalid", "Basic Og==")) as vitally,
        pytest.raises(VitallyUnavailableError) as error,
    ):
        vitally.probe()

    assert (False, "its host name cannot be resolved") == (
        error.value.sent,
        error.value.reason,
    )


def test_a_peer_that_speaks_no_tls_was_not_sent(simulator):
    url = simulator.url.replace("http:", "https:")
    with (
        closing(Vitally(url, "Basic Og==", deadline=2)) as vitally,
        pytest.raises(VitallyUnavailableError) as error,
    ):
        vitally.create(ACME)

    assert not error.value.sent


@pytest.mark.parametrize(
    "body", ["[]", '"text"', '{"error": "hidden in a 200"}', "null"]
)
def test_a_200_that_is_no_account_is_unavailable(vitally, simulator, body):
    page = {"kind": "status", "status": 200, "body": body}
    simulator.break_with([{**page, "headers": {"Content-Type": "application/json"}}])

    with pytest.raises(VitallyUnavailableError) as error:
        vitally.create(ACME)

    assert 200 == error.value.status


@pytest.mark.parametrize("body", [{}, {"results": {}}, {"results": [], "next": 3}])
def test_a_200_that_is_no_page_is_unavailable(vitally, simulator, body):
    simulator.break_with([{"kind": "status", "status": 200, "body": body}])

    with pytest.raises(VitallyUnavailableError):
        vitally.accounts()
