"""`vitally-bridge accounts` and `vitally-bridge simulator`, as a person calls them."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import NamedTuple

import orjson
import pytest
import urllib3

from bridge import cli
from tests.support.processes import ROOT, environment
from tests.support.vitally import Simulator

CLI = [sys.executable, "-m", "bridge"]


class Said(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def json(self):
        return orjson.loads(self.out)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def accounts(simulator, monkeypatch, capsys):
    """Call `accounts` with arguments, perhaps with a line typed."""
    monkeypatch.setenv("VITALLY_BASE_URL", simulator.url)
    monkeypatch.setenv("VITALLY_API_KEY", "sk_test_example")

    def call(*arguments: str, typed: str = "") -> Said:
        monkeypatch.setattr(sys, "argv", ["vitally-bridge", "accounts", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return Said(int(ended.value.code or 0), *capsys.readouterr())

    return call


def test_an_account_is_created_and_seen(accounts):
    made = accounts("create", "acme-101", "--name", "Acme", "--trait", "mrr=99.5")
    table = accounts("list")
    card = accounts("get", "acme-101")

    assert [0, 0, 0] == [made.status, table.status, card.status]
    assert re.search(r"^acme-101 +Acme +99\.5 +- ", table.out, re.MULTILINE)
    assert re.search(r"^ +mrr +99\.5$", card.out, re.MULTILINE)


def test_traits_are_json_or_text_and_null_removes(accounts, simulator):
    accounts("create", "acme-101", "--name", "Acme", "--trait", "old=1")

    said = accounts(
        "update",
        "acme-101",
        *("--trait", "old=null", "--trait", "n=7", "--trait", 'quoted="7"'),
        *("--trait", "text=a=b c", "--trait", "list=[1,2]", "--json"),
    )

    traits = {"n": 7, "quoted": "7", "text": "a=b c", "list": [1, 2]}
    assert traits == said.json["traits"] == simulator.account("acme-101")["traits"]


def test_names_owners_and_organizations_are_changed(accounts, simulator):
    headers = {"Authorization": simulator.authorization}
    organization = {"externalId": "org-1", "name": "Org"}
    with urllib3.PoolManager() as pool:
        url = f"{simulator.url}/resources/organizations"
        made = pool.request("POST", url, headers=headers, json=organization).json()
    accounts("create", "a", "--name", "A", "--organization", made["id"])

    members = accounts("list", "--organization", "org-1", "--json").json["results"]
    changed = accounts(
        "update",
        "a",
        "--name",
        "B",
        "--remove-owner",
        "--remove-organization",
        "--json",
    )

    assert ["a"] == [account["externalId"] for account in members]
    assert ("B", None) == (changed.json["name"], changed.json["organizationId"])
    body = simulator.writes()[-1]["body"]
    assert {"name": "B", "organizationId": None, "accountOwnerId": None} == body


def test_a_list_tells_where_to_go_on_or_goes_on_itself(accounts):
    for index in range(5):
        accounts("create", f"a-{index}", "--name", f"A {index}")

    first = accounts("list", "--limit", "2", "--sort", "createdAt")
    cursor = first.err.strip().rpartition(" ")[2]
    second = accounts("list", "--limit", "2", "--cursor", cursor, "--sort", "createdAt")
    every = accounts("list", "--limit", "2", "--all", "--json")

    assert 2 + 1 == len(first.out.splitlines()) == len(second.out.splitlines())
    assert first.out != second.out
    assert {f"a-{i}" for i in range(5)} == {
        account["externalId"] for account in every.json["results"]
    }
    assert every.json["next"] is None


def test_health_scores_are_shown_as_they_come(accounts):
    accounts("create", "acme-101", "--name", "Acme")

    assert "healthScores" in accounts("health", "acme-101").json


def test_a_delete_wants_the_external_id_typed(accounts, simulator):
    accounts("create", "acme-101", "--name", "Acme")

    wrong = accounts("delete", "acme-101", typed="acme\n")
    empty = accounts("delete", "acme-101")
    scripted = accounts("delete", "acme-101", "--confirm", "Acme")

    assert [1, 1, 1] == [wrong.status, empty.status, scripted.status]
    assert "nothing was deleted" in wrong.err
    assert "Acme" in wrong.err
    assert simulator.account("acme-101")
    done = accounts("delete", "acme-101", typed="acme-101\n")
    assert (0, None) == (done.status, simulator.account("acme-101"))


def test_a_script_confirms_with_an_option(accounts, simulator):
    made = accounts("create", "acme-101", "--name", "Acme", "--json").json

    said = accounts("delete", made["id"], "--confirm", "acme-101")

    assert (0, []) == (said.status, simulator.accounts())


def test_a_dry_run_shows_the_body_and_writes_nothing(accounts, simulator, monkeypatch):
    accounts("create", "acme-101", "--name", "Acme")
    monkeypatch.setenv("BRIDGE_DRY_RUN", "true")

    said = accounts("update", "acme-101", "--trait", "mrr=1")
    kept = accounts("delete", "acme-101", "--confirm", "acme-101")

    assert {"traits": {"mrr": 1}} == said.json
    assert [0, 0] == [said.status, kept.status]
    assert 1 == len(simulator.writes())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["get", "nobody"], "account 'nobody' at .*: 404: .*; check the id with"),
        (["get", "."], "the id cannot be part of a web address"),
        (["update", "nobody", "--name", "N"], "404"),
        (["list", "--cursor", "x"], "400: from is no cursor; correct it"),
    ],
)
def test_a_mistake_is_one_sentence(accounts, arguments, words):
    said = accounts(*arguments)

    assert (1, "") == (said.status, said.out)
    assert re.fullmatch(f"vitally-bridge: .*{words}.*\n", said.err)


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

    said = accounts("get", "acme-101")

    assert 1 == said.status
    assert words in said.err
    assert "sk_test_example" not in said.err
    assert 1 == said.err.count("\n")


def test_vitally_out_of_reach_is_one_sentence(accounts, simulator):
    simulator.stop()

    said = accounts("list")

    assert 1 == said.status
    assert f"the list of accounts at {simulator.url}: the connection was refused" in (
        said.err
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["update", "a", "--trait", "mrr"], "is not of the form key=value"),
        (["update", "a"], "nothing to change"),
        (["list", "--organization", "o", "--status", "active"], "neither"),
        (["list", "--limit", "101"], "101"),
        (["update", "a", "--organization", "o", "--remove-organization"], "exclude"),
        (["create", "a"], "--name"),
    ],
)
def test_a_wrong_call_is_a_usage_error(accounts, simulator, arguments, words):
    said = accounts(*arguments)

    assert 2 == said.status
    assert words in said.err
    assert [] == simulator.log()


def test_missing_settings_are_named(accounts, monkeypatch):
    monkeypatch.delenv("VITALLY_API_KEY")

    said = accounts("list")

    assert (78, True) == (said.status, "VITALLY_API_KEY is required" in said.err)


def test_a_name_cannot_steer_the_terminal(accounts):
    accounts("create", "acme-101", "--name", "\x1b[31mred\u202e")

    assert "\x1b" not in accounts("list").out + accounts("get", "acme-101").out


def test_the_simulator_command_prints_its_address_and_ends_with_0():
    command = [*CLI, "simulator", "--port", "0", "--key", "sk_test_cli"]
    command += ["--limit", "50"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            line = process.stdout.readline()
            url = re.search(r"http://127\.0\.0\.1:\d+", line)[0]
            with urllib3.PoolManager() as pool:
                login = urllib3.make_headers(basic_auth="sk_test_cli:")
                path = f"{url}/resources/accounts"
                reply = pool.request("GET", path, headers=login)
        finally:
            process.send_signal(signal.SIGTERM)
        status = process.wait(10)

    assert (0, 200, "49") == (
        status,
        reply.status,
        reply.headers["RateLimit-Remaining"],
    )
    assert "sk_test_cli" not in line


def test_a_taken_port_is_one_sentence(simulator):
    port = simulator.url.rpartition(":")[2]

    said = subprocess.run(
        [*CLI, "simulator", "--port", port],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )

    assert (1, "") == (said.returncode, said.stdout)
    assert f"cannot listen on 127.0.0.1:{port}" in said.stderr
    assert 1 == said.stderr.count("\n")
