"""`backfill` and `gaps` of Salesforce: a local one, a real Redis, a simulated Vitally."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Run, Said, called
from tests.support.desk import Bench
from tests.support.local_salesforce import ID, SECRET, LocalSalesforce
from tests.support.salesforce import ACCOUNT, DEAL, ORG, TOKEN

TABLE = """
[sources.salesforce]
account = "Vitally_Id__c"
[sources.salesforce.opportunities]
mrr = "MRR__c"
currency = "usd"
"""
NEW = "001xx000003DGb2AAG"


@pytest.fixture
def org() -> Iterator[LocalSalesforce]:
    with LocalSalesforce() as running:
        yield running


@pytest.fixture
def run(environ: dict[str, str], org: LocalSalesforce, tmp_path: Path) -> Run:
    """Call a command with Salesforce's settings."""
    file = tmp_path / "bridge.toml"
    file.write_text(TABLE, encoding="utf-8")
    own = {
        "BRIDGE_CONFIG": str(file),
        "SALESFORCE_ORG_ID": ORG,
        "SALESFORCE_WEBHOOK_TOKEN": TOKEN,
        "SALESFORCE_API_BASE": org.url,
        "SALESFORCE_CLIENT_ID": ID,
        "SALESFORCE_CLIENT_SECRET": SECRET,
    }

    def run(*words: str, status: int = 0, **more: object) -> Said:
        return called(*words, environ=environ | own, status=status, **more)

    return run


def mrr(desk: Bench, account: str) -> object:
    return desk.vitally.account(account)["traits"].get("mrr")


def test_what_no_message_told_is_in_vitally(
    org: LocalSalesforce, run: Run, desk: Bench
) -> None:
    org.clock = lambda: time.time() - 40 * 86_400
    org.account(ACCOUNT, Name="Acme", Vitally_Id__c="acme")
    org.deal(DEAL, ACCOUNT, IsWon=True, MRR__c=9)

    assert "1 customer read: 1 queued" in run("backfill", "salesforce", "--yes").err
    assert ["created"] == desk.work()
    assert 9 == mrr(desk, "acme")
    org.clock = time.time
    org.deal(DEAL, ACCOUNT, MRR__c=19)
    org.account(NEW, Name="New", Vitally_Id__c="new")
    assert 2 == run("gaps", "salesforce", "--dry-run", "--json").json["missing"]
    assert [] == desk.work()
    run("gaps", "salesforce")
    desk.settles()
    assert (19, None) == (mrr(desk, "acme"), mrr(desk, "new"))
    assert "missing" not in run("gaps", "salesforce", "--json").json


def test_half_of_the_settings_is_said(run: Run) -> None:
    said = run("backfill", "salesforce", SALESFORCE_CLIENT_ID="", status=78)

    assert "set SALESFORCE_CLIENT_ID" in said.err
