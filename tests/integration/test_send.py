"""`send` and `listen`, as a person types them, with a web and a worker process."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import orjson
import pytest

from bridge.cli.listen import _is_wanted
from bridge.deliveries import Line
from tests.support.command import Run, called
from tests.support.processes import Running
from tests.support.stack import Stack
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(tmp_path_factory.mktemp("send")) as own:
        own.web()
        own.worker()
        yield own.ready()


@pytest.fixture
def send(stack: Stack) -> Run:
    return partial(
        called, "send", environ={**stack.environ, "PORT": stack.webs[0].port}
    )


def test_an_example_makes_an_account_and_a_life_goes_on(stack: Stack, send: Run):
    said = send("stripe", "customer.created", "--life", "one", "--json").json
    assert (202, "queued") == (said["status"], said["answer"]["receipt"])
    begun = send("stripe", "customer.subscription.created", "--life", "one")
    stack.settled()
    (party,) = said["parties"]

    assert f"why {party}" in begun.err
    account = stack.account(party.removeprefix("stripe:"))
    assert ("Birch Analytics", 50) == (account["name"], account["traits"]["mrr"])


def test_values_are_set_and_a_file_is_sent_as_it_is(
    stack: Stack, send: Run, tmp_path: Path
):
    sent = send(
        *("stripe", "customer.created", "--set", "data.object.id=cus_123"),
        *("--set", "data.object.name=Blue Door", "--to", f"{stack.webs[0].url}/"),
    )
    assert "why stripe:cus_123" in sent.err
    stack.settled()
    assert "Blue Door" == stack.account("cus_123")["name"]

    body = tmp_path / "body.json"
    body.write_bytes(b"{}")
    kept = send("stripe", str(body))
    assert ("quarantined" in kept.out, "quarantine list" in kept.err) == (True, True)
    wrong = send(
        "stripe", str(body), status=1, STRIPE_WEBHOOK_SECRET="whsec_anotherone"
    )
    assert '401 {"error":"unauthorized"}\n' == wrong.out
    assert "this shell's STRIPE_WEBHOOK_SECRET is not the bridge's\n" == wrong.err


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (["strype"], 1, "did you mean stripe?"),
        (["stripe", "customer.creatd"], 1, "did you mean customer.created?"),
        (["chargebee", "customer_created"], 1, "set CHARGEBEE_WEBHOOK_USERNAME"),
        (["stripe", "customer.created", "--set", "data.x.y=1"], 2, "there is no 'x'"),
        (["stripe", "customer.created", "--to", "http://127.0.0.1:9"], 1, "nobody"),
        (
            ["stripe", "customer.created", "--to", "nowhere"],
            2,
            "must be an http(s) URL",
        ),
    ],
)
def test_a_mistake_is_a_sentence(send: Run, words: list[str], status, expected):
    assert expected in send(*words, status=status).err


def test_the_events_are_listed(send: Run):
    assert "customer.deleted" in send("stripe").out
    listed = {one["source"] for one in send("--json").json}
    assert {"stripe", "chargebee", "hubspot", "salesforce"} == listed


@pytest.mark.parametrize("words", [(), ("--json", "--source", "stripe")])
def test_what_comes_and_what_becomes_of_it_is_shown_until_ctrl_c(
    stack: Stack, send: Run, tmp_path: Path, words: tuple[str, ...]
):
    command = [sys.executable, "-m", "bridge", "listen", *words]
    with Running(command, environ=stack.environ, folder=tmp_path) as listening:
        # It may not have begun with the first; an id is fresh each time.
        eventually(
            lambda: bool(send("stripe", "customer.created")) and listening.output
        )
        send(
            "stripe", "customer.created", status=1, STRIPE_WEBHOOK_SECRET="whsec_other"
        )
        listening.wait_for("settled")
        listening.wait_for("401: it does not match the secret")
        listening.signal(signal.SIGINT)

        assert 0 == listening.wait()
        lines = listening.output.splitlines()
    if words:
        shown = [orjson.loads(line) for line in lines]
        assert (
            "created" == next(one for one in shown if one["carried"])["carried"]["did"]
        )
    else:
        assert "created name=" in listening.output


def test_a_source_that_is_not_there_is_not_listened_to(stack: Stack) -> None:
    said = called("listen", "--source", "strip", environ=stack.environ, status=1).err

    assert "did you mean stripe?" in said


@pytest.mark.parametrize("words", [("status",), ("why", "cus_watched"), ("held",)])
def test_what_is_watched_is_shown_again_until_ctrl_c(
    stack: Stack, send: Run, tmp_path: Path, words: tuple[str, ...]
):
    send("stripe", "customer.created", "--set", "data.object.id=cus_watched")
    stack.settled()
    command = [sys.executable, "-m", "bridge", *words, "--json", "--watch", "0.1"]
    with Running(command, environ=stack.environ, folder=tmp_path) as watching:
        eventually(lambda: "]" in watching.output)
        before = len(watching.output)
        eventually(lambda: len(watching.output) > before)
        watching.signal(signal.SIGINT)

        assert 0 == watching.wait()


def test_only_lines_of_the_account_are_shown():
    line = Line("1-0j", 1, "stripe", "t", "e", "stripe:a", "queued", "", "d", 1, "acme")

    cases = [("stripe", "acme"), (None, "stripe:a"), ("hubspot", None), (None, "other")]
    assert [True, True, False, False] == [_is_wanted(line, *case) for case in cases]
