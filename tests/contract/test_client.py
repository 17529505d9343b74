"""What the client keeps to itself: host, key, deadline, connections.

And everything that can go wrong on the way, and the one error that it becomes.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing
from typing import Any

import pytest

from bridge.deadline import UNTIL
from bridge.errors import (
    VitallyError,
    VitallyKeyError,
    VitallyLimitedError,
    VitallyMissingError,
    VitallyRefusedError,
    VitallyUnavailableError,
)
from bridge.settings import Settings
from bridge.vitally.client import Vitally
from tests.support.vitally.network import KINDS
from tests.support.waiting import eventually

ACME = {"externalId": "acme-101", "name": "Acme"}
HTML = "<!doctype html><html><body><h1>Bad gateway</h1></body></html>"

NO_TIME = "no complete answer within 0.25 s"


def failure(act) -> Any:
    with pytest.raises(VitallyError) as caught:
        act()
    return caught.value


@pytest.mark.parametrize(
    ("environ", "scheme", "host"),
    [
        ({"VITALLY_SUBDOMAIN": "acme"}, "https", "acme.rest.vitally.io"),
        ({"VITALLY_REGION": "eu"}, "https", "rest.vitally-eu.io"),
        ({"VITALLY_BASE_URL": "http://127.0.0.1:9000"}, "http", "127.0.0.1"),
    ],
)
def test_the_client_talks_to_the_one_host_of_the_settings(environ, scheme, host):
    environ = {**environ, "VITALLY_API_KEY": "sk_test_example"}
    settings = Settings.from_env(environ, without={"REDIS_URL"})
    own = Vitally(settings.vitally_base_url, settings.vitally_authorization)
    with closing(own) as vitally:
        assert (scheme, host) == (vitally._pool.scheme, vitally._pool.host)


# --- The key ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["sk_test_example", "Basic c2tfdGVzdF9leGFtcGxlOg=="], ids=["raw", "header"]
)
def test_both_forms_of_the_key_are_taken(client_of, simulator, key):
    environ = {"VITALLY_API_KEY": key, "VITALLY_BASE_URL": simulator.url}
    settings = Settings.from_env(environ, without={"REDIS_URL"})

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
    error = failure(client_of(authorization=authorization).probe)

    assert (VitallyKeyError, 401) == (type(error), error.status)


def test_the_key_is_in_no_repr_and_no_reason(vitally, simulator):
    body = {"error": f"{simulator.authorization} / sk_test_example is wrong"}
    simulator.break_with([{"kind": "status", "status": 401, "body": body}])
    error = failure(vitally.probe)

    assert "sk_test_example" not in repr(vitally) + repr(vars(error))
    assert simulator.authorization not in str(error)


# --- Answers ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [{"error": "No."}, {"error": {"message": "No."}}, HTML]
)
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, VitallyKeyError) for status in (401, 403)),
        (404, VitallyMissingError),
        (429, VitallyLimitedError),
        *((status, VitallyRefusedError) for status in (400, 405, 409, 413, 422)),
        *((s, VitallyUnavailableError) for s in (408, 425, 500, 502, 503, 504)),
    ],
)
def test_a_status_is_one_error_whatever_its_body(
    vitally, simulator, status, kind, body
):
    simulator.break_with([{"kind": "status", "status": status, "body": body}])
    error = failure(vitally.probe)
    reason = f"answered {status} without a reason" if body is HTML else "No."
    vitally.probe()

    assert (kind, status, reason) == (type(error), error.status, error.reason)


@pytest.mark.parametrize(
    "body", ["[]", '"text"', '{"error": "hidden in a 200"}', "null"]
)
def test_a_200_that_is_no_account_is_unavailable(vitally, simulator, body):
    page = {"kind": "status", "status": 200, "body": body}
    simulator.break_with([{**page, "headers": {"Content-Type": "application/json"}}])
    error = failure(lambda: vitally.create(ACME))

    assert (VitallyUnavailableError, 200) == (type(error), error.status)


@pytest.mark.parametrize("body", [{}, {"results": {}}, {"results": [], "next": 3}])
def test_a_200_that_is_no_page_is_unavailable(vitally, simulator, body):
    simulator.break_with([{"kind": "status", "status": 200, "body": body}])

    assert isinstance(failure(vitally.accounts), VitallyUnavailableError)


def test_a_redirect_is_not_followed(vitally, simulator):
    target = f"{simulator.url}/resources/accounts?limit=1"
    simulator.break_with([{"kind": "redirect", "location": target}])
    error = failure(vitally.probe)

    assert (VitallyUnavailableError, 302) == (type(error), error.status)
    assert 1 == len(simulator.log())


def test_every_reply_is_observed_refusals_too(client_of, simulator):
    seen = []
    vitally = client_of(observe=seen.append)
    simulator.turn(rate_mode="window")
    vitally.create(ACME)
    simulator.break_with([{"kind": "status", "status": 500}, {"kind": "truncated"}])
    for _ in range(2):
        failure(lambda: vitally.get("acme-101"))

    assert [990, 990, 989] == [rate.remaining for rate in seen]


def test_a_refused_write_shows_nothing_of_what_a_write_costs(client_of, simulator):
    seen = []
    vitally = client_of(observe=seen.append)
    vitally.create(ACME)
    simulator.break_with([{"kind": "status", "status": 429}])
    failure(lambda: vitally.update("acme-101", {}))

    assert ["POST", ""] == [rate.kind for rate in seen]


# --- The deadline, and what did not arrive ---------------------------------------

UNDONE = {"redirect", "reset_before"}


@pytest.mark.parametrize(
    "kind", sorted({*KINDS} - {"answer", "status", "hang_up", "delay"})
)
def test_a_broken_reply_is_unavailable_in_time_and_was_sent(
    vitally, impatient, simulator, kind
):
    vitally.create(ACME)
    simulator.break_with([{"kind": kind}])
    began = time.monotonic()
    error = failure(lambda: impatient.update("acme-101", {"name": "New"}))
    took = time.monotonic() - began
    name = vitally.get("acme-101")["name"]

    assert (VitallyUnavailableError, True) == (type(error), error.sent)
    assert ("Acme" if kind in UNDONE else "New") == name
    assert took < 1.5


@pytest.mark.parametrize("kind", ["slow_headers", "slow_body"])
def test_a_stalled_peer_never_holds_longer_than_the_deadline(
    impatient, simulator, kind
):
    """A byte each tenth of a second keeps every single read happy."""
    simulator.break_with([{"kind": kind, "seconds": 0.1}])
    began = time.monotonic()
    error = failure(lambda: impatient.create(ACME))

    assert NO_TIME == error.reason
    assert 0.2 < time.monotonic() - began < 1.5


def test_a_late_request_is_still_done_though_nobody_waits(
    vitally, impatient, simulator
):
    vitally.create(ACME)
    simulator.break_with([{"kind": "delay", "seconds": 0.6}])
    error = failure(lambda: impatient.update("acme-101", {"name": "Late"}))
    uncommitted = simulator.log()[-1]["committed"]
    eventually(lambda: simulator.account("acme-101")["name"] == "Late")
    late = simulator.log()[-1]

    assert (NO_TIME, None) == (error.reason, uncommitted)
    assert late["ended"] < late["committed"]
    assert late["status"] is None


def test_a_short_delay_is_waited_for(vitally, simulator):
    simulator.break_with([{"kind": "delay", "seconds": 0.05}])

    assert "Acme" == vitally.create(ACME)["name"]


def test_nothing_is_sent_once_the_deadline_has_passed(client_of, simulator):
    """Connecting may take longer than allowed; a write must not go out after that."""
    error = failure(lambda: client_of(deadline=1e-9).create(ACME))

    assert (VitallyUnavailableError, False) == (type(error), error.sent)
    assert [] == simulator.accounts()


def test_a_host_that_never_answers_is_left_at_the_deadline():
    with socket.create_server(("127.0.0.1", 0), backlog=1) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with closing(Vitally(url, "Basic Og==", deadline=0.2)) as vitally:
            began = time.monotonic()
            error = failure(vitally.probe)
            took = time.monotonic() - began

        with closing(Vitally(url, "Basic Og==", deadline=5)) as vitally:
            whole = UNTIL.set(time.monotonic() + 0.2)
            shorter = failure(vitally.probe)
            UNTIL.reset(whole)

    assert (VitallyUnavailableError, True) == (type(error), error.sent)
    assert took < 1.5
    assert "no complete answer within 0.2 s" == error.reason
    assert shorter.reason.startswith("no complete answer within 0.")


def test_where_no_connection_comes_about_nothing_was_sent(vitally, simulator):
    tls = simulator.url.replace("http:", "https:")
    errors = []
    for url in ("http://nowhere.invalid", tls):
        with closing(Vitally(url, "Basic Og==", deadline=2)) as other:
            errors.append(failure(lambda it=other: it.create(ACME)))
    simulator.stop()
    errors.append(failure(lambda: vitally.create(ACME)))
    simulator.start()

    assert [(VitallyUnavailableError, False)] * 3 == [(type(e), e.sent) for e in errors]
    assert "its host name cannot be resolved" == errors[0].reason
    assert "Acme" == vitally.create(ACME)["name"]


# --- Connections -----------------------------------------------------------------


def test_requests_share_one_connection_refused_ones_too(vitally, simulator):
    vitally.create(ACME)
    simulator.break_with([{"kind": "status", "status": 400, "times": 3}])
    for _ in range(3):
        failure(vitally.probe)
    for _ in range(3):
        vitally.get("acme-101")

    assert 1 == vitally._pool.num_connections


def test_an_interim_answer_is_not_taken_for_the_answer():
    """The real one would be that of the next request on the same connection."""

    def answer() -> None:
        peer, _ = server.accept()
        with peer:
            for number in b"12":
                peer.recv(4096)
                peer.sendall(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
                time.sleep(0.05)
                peer.sendall(
                    b'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"id": %c}' % number
                )

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=answer)
        thread.start()
        with closing(
            Vitally(f"http://127.0.0.1:{server.getsockname()[1]}", "Basic eA==")
        ) as vitally:
            found = [vitally.get(name) for name in ("one", "two")]
        thread.join()

    assert [{"id": 1}, {"id": 2}] == found


def test_a_kept_connection_that_was_closed_is_opened_again(vitally, simulator):
    simulator.break_with([{"kind": "hang_up"}])
    vitally.create(ACME)

    def is_closed() -> bool:
        kept = filter(None, vitally._pool.pool.queue)
        return not any(connection.is_connected for connection in kept)

    # the close has to arrive before the next request: it is sent right behind
    eventually(is_closed)

    assert "Acme" == vitally.get("acme-101")["name"]


def test_threads_may_share_a_client(vitally, simulator):
    bodies = [{"externalId": f"a-{index}", "name": "A"} for index in range(12)]
    threads = [threading.Thread(target=vitally.create, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {body["externalId"] for body in bodies} == {
        account["externalId"] for account in simulator.accounts()
    }
