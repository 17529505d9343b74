"""`vitally-bridge accounts` and `vitally-bridge simulator`, as a person calls them."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import urllib3

from tests.support.command import Run, called
from tests.support.processes import Running
from tests.support.vitally import Simulator


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def accounts(simulator: Simulator) -> Run:
    environ = {"VITALLY_BASE_URL": simulator.url, "VITALLY_API_KEY": "sk_test_example"}
    return partial(called, "accounts", environ=environ)


@pytest.fixture
def acme(accounts: Run) -> str:
    accounts("create", "acme-101", "--name", "Acme", "--trait", "mrr=99.5")
    return "acme-101"


def test_an_account_is_created_and_seen(accounts, acme):
    table, card = accounts("list").out, accounts("get", acme).out

    assert re.search(r"^acme-101 +Acme +99\.5 +- ", table, re.MULTILINE)
    assert re.search(r"^ +mrr +99\.5$", card, re.MULTILINE)
    assert "healthScores" in accounts("health", acme).json


def test_traits_are_json_or_text_and_null_removes(accounts, acme, simulator):
    said = accounts(
        *("update", acme, "--trait", "mrr=null", "--trait", "n=7", "--json"),
        *("--trait", 'quoted="7"', "--trait", "text=a=b c", "--trait", "list=[1,2]"),
    )

    traits = {"n": 7, "quoted": "7", "text": "a=b c", "list": [1, 2]}
    assert traits == said.json["traits"] == simulator.account(acme)["traits"]


def test_names_owners_and_organizations_are_changed(accounts, simulator):
    headers = {"Authorization": simulator.authorization}
    organization = {"externalId": "org-1", "name": "Org"}
    with urllib3.PoolManager() as pool:
        url = f"{simulator.url}/resources/organizations"
        made = pool.request("POST", url, headers=headers, json=organization).json()
    accounts("create", "a", "--name", "A", "--organization", made["id"])

    members = accounts("list", "--organization", "org-1", "--json").json["results"]
    takes_away = ("--remove-owner", "--remove-organization", "--json")
    changed = accounts("update", "a", "--name", "B", *takes_away).json

    assert ["a"] == [account["externalId"] for account in members]
    assert ("B", None) == (changed["name"], changed["organizationId"])
    body = simulator.writes()[-1]["body"]
    assert {"name": "B", "organizationId": None, "accountOwnerId": None} == body


def test_a_list_tells_where_to_go_on_or_goes_on_itself(accounts):
    for index in range(5):
        accounts("create", f"a-{index}", "--name", f"A {index}")
    page = ("list", "--limit", "2", "--sort", "createdAt")

    first = accounts(*page)
    cursor = first.err.strip().rpartition(" ")[2]
    second = accounts(*page, "--cursor", cursor)
    every = accounts("list", "--limit", "2", "--all", "--json").json

    assert 2 + 1 == len(first.out.splitlines()) == len(second.out.splitlines())
    assert first.out != second.out
    ids = {account["externalId"] for account in every["results"]}
    assert ({f"a-{i}" for i in range(5)}, None) == (ids, every["next"])


@pytest.mark.parametrize("given", [{"typed": "acme\n"}, {"typed": "\n"}, {}])
def test_a_delete_wants_the_external_id_typed(accounts, acme, simulator, given):
    words = () if given else ("--confirm", "Acme")
    wrong = accounts("delete", acme, *words, **given, status=1)

    assert "Acme" in wrong.err
    assert "give --confirm" in accounts("delete", acme, status=2).err
    assert simulator.account(acme)
    accounts("delete", acme, typed=f"{acme}\n")
    assert simulator.account(acme) is None


def test_a_script_confirms_with_an_option(accounts, acme, simulator):
    id_ = simulator.account(acme)["id"]

    wrong = accounts("delete", id_, "--confirm", id_, status=1).err
    assert "nothing was deleted" in wrong
    accounts("delete", id_, "--confirm", acme)
    assert [] == simulator.accounts()


def test_a_dry_run_shows_the_body_and_writes_nothing(accounts, acme, simulator):
    said = accounts("update", acme, "--trait", "mrr=1", BRIDGE_DRY_RUN="true")
    accounts("delete", acme, "--confirm", acme, BRIDGE_DRY_RUN="true")

    assert {"traits": {"mrr": 1}} == said.json
    assert 1 == len(simulator.writes())


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("get nobody", "account 'nobody' at .*: 404: .*; check the id with"),
        ("get .", "the id cannot be part of a web address"),
        ("update nobody --name N", "404"),
        ("list --cursor x", "400: from is no cursor; correct it"),
    ],
)
def test_a_mistake_is_one_sentence(accounts, words, reason):
    said = accounts(*words.split(), status=1)

    assert "" == said.out
    assert re.fullmatch(f"vitally-bridge: .*{reason}.*\n", said.err)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"status": 401}, "check that VITALLY_API_KEY"),
        ({"status": 429}, "wait a minute"),
        ({"status": 503, "body": "<html>"}, "check the address and try again"),
        ({"status": 422}, "correct it and try again"),
    ],
)
def test_each_refusal_says_what_next(accounts, simulator, fault, words):
    simulator.break_with([{"kind": "status", **fault}])

    said = accounts("get", "acme-101", status=1).err

    assert words in said
    assert "sk_test_example" not in said
    assert 1 == said.count("\n")


def test_vitally_out_of_reach_is_one_sentence(accounts, simulator):
    simulator.stop()

    said = accounts("list", status=1).err
    written = accounts("update", "a", "--name", "b", status=1).err
    kept = accounts("delete", "a", "--confirm", "a", status=1).err

    reason = f"the list of accounts at {simulator.url}: the connection was refused"
    assert reason in said
    unsure = "a write may have succeeded"
    assert (False, True) == (unsure in said, unsure in written)
    assert unsure not in kept


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("update a --trait mrr", "is not of the form KEY=VALUE"),
        ("update a", "nothing to change"),
        ("list --organization o --status active", "does not go with"),
        ("list --limit 101", "101"),
        ("update a --organization o --remove-organization", "exclude"),
        ("create a", "--name"),
    ],
)
def test_a_wrong_call_is_a_usage_error(accounts, simulator, words, reason):
    assert reason in accounts(*words.split(), status=2).err
    assert [] == simulator.log()


def test_missing_settings_are_named(accounts):
    said = accounts("list", VITALLY_API_KEY="", status=78).err

    assert "VITALLY_API_KEY is required" in said


def test_a_name_cannot_steer_the_terminal(accounts):
    accounts("create", "acme-101", "--name", "\x1b[31mred\u202e")

    assert "\x1b" not in accounts("list").out + accounts("get", "acme-101").out


def test_the_simulator_command_prints_its_address_and_ends_with_0(tmp_path: Path):
    command = [sys.executable, "-m", "bridge", "simulator", "--port", "0"]
    command += ["--key", "sk_test_cli", "--limit", "50"]
    with Running(command, environ={}, folder=tmp_path) as running:
        running.wait_for("\n")
        url = re.search(r"http://127\.0\.0\.1:\d+", running.output)[0]
        login = urllib3.make_headers(basic_auth="sk_test_cli:")
        path = f"{url}/resources/accounts"
        reply = urllib3.request("GET", path, headers=login)
        running.signal(signal.SIGTERM)
        status = running.wait(10)

    assert (0, 200) == (status, reply.status)
    assert "49" == reply.headers["RateLimit-Remaining"]
    assert "sk_test_cli" not in running.output


def test_a_taken_port_is_one_sentence(simulator):
    port = simulator.url.rpartition(":")[2]

    said = called("simulator", "--port", port, environ={}, status=1)

    assert "" == said.out
    assert f"cannot listen on 127.0.0.1:{port}" in said.err
    assert 1 == said.err.count("\n")
