"""`send`, as a person types it, to a web process."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.support.command import Run, called
from tests.support.stack import Stack


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
    send(
        *("stripe", "customer.created", "--set", "data.object.id=cus_123"),
        *("--set", "data.object.name=Blue Door", "--to", f"{stack.webs[0].url}/"),
    )
    stack.settled()
    assert "Blue Door" == stack.account("cus_123")["name"]

    body = tmp_path / "body.json"
    body.write_bytes(b"{}")
    assert "quarantined" in send("stripe", str(body)).out
    wrong = send(
        "stripe", str(body), status=1, STRIPE_WEBHOOK_SECRET="whsec_anotherone"
    )
    assert '401 {"error":"unauthorized"}\n' == wrong.out


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (["strype"], 1, "did you mean stripe?"),
        (["stripe", "customer.creatd"], 1, "did you mean customer.created?"),
        (["chargebee", "customer_created"], 1, "set CHARGEBEE_WEBHOOK_USERNAME"),
        (["stripe", "customer.created", "--set", "data.x.y=1"], 2, "there is no 'x'"),
        (["stripe", "customer.created", "--to", "http://127.0.0.1:9"], 1, "nobody"),
    ],
)
def test_a_mistake_is_a_sentence(send: Run, words: list[str], status, expected):
    assert expected in send(*words, status=status).err


def test_the_events_are_listed(send: Run):
    assert "customer.deleted" in send("stripe").out
    listed = {one["source"] for one in send("--list", "--json").json}
    assert {"stripe", "chargebee", "hubspot", "salesforce"} == listed
