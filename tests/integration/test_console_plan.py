"""The console's page of the plan: made by a process of its own, and applied as it was seen."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from bridge.web.console import plan
from tests.integration.test_objects import config_file, switch_on
from tests.support.desk import Bench, customer, subscription
from tests.support.visitor import Visitor
from tests.support.waiting import eventually

NUMBER = 120


@pytest.fixture
def plans(environ, monkeypatch) -> Iterator[None]:
    """What a plan's own process is given, and plans of its own."""
    for name, value in environ.items():
        monkeypatch.setenv(name, str(value))
    own = plan.Plans()
    monkeypatch.setattr(plan, "PLANS", own)
    yield
    own._pool.shutdown()
    own._keep([])


@pytest.fixture
def planned(plans: None, visit: Visitor, desk: Bench) -> Visitor:
    """Many accounts that are to be created."""
    for n in range(NUMBER):
        desk.take(customer(f"cus_{n}", account=f"acme-{n:03}", called=f"<b>{n}</b>"))
    return visit


def test_it_is_shown_page_by_page_with_the_totals_of_all(planned: Visitor) -> None:
    first, second = (planned.data(f"plan.json?page={page}") for page in (1, 2))

    assert (NUMBER, NUMBER) == (first["totals"]["accounts"], first["totals"]["created"])
    assert [100, 20] == [len(one["accounts"]) for one in (first, second)]
    assert first["made"]["digest"] == second["made"]["digest"]
    names = [row["account"] for one in (first, second) for row in one["accounts"]]
    assert [f"acme-{n:03}" for n in range(NUMBER)] == names
    assert [None, "<b>0</b>"] == first["accounts"][0]["name"]
    page = planned.page("plan?page=2")
    assert "page 2 of 2" in page
    assert "&lt;b&gt;119&lt;/b&gt;" in page
    assert "Apply: write 120 accounts" in page


def test_one_account_or_party_has_a_plan_of_its_own(planned: Visitor) -> None:
    for name in ("acme-007", "stripe:cus_7"):
        (row,) = planned.data(f"plan.json?account={name}")["accounts"]
        assert "acme-007" == row["account"]


@pytest.mark.usefixtures("plans")
def test_an_account_of_which_only_instances_are_sent_is_shown(
    visit: Visitor, desk: Bench, monkeypatch, tmp_path
) -> None:
    monkeypatch.setenv("BRIDGE_CONFIG", str(config_file(tmp_path)))
    switch_on(desk).does(customer(), subscription())

    (row,) = visit.data("plan.json")["accounts"]
    assert ("acme", 1, {}) == (row["account"], row["instances"], row["changes"])
    page = visit.page("plan")
    assert "<td>(instances)</td>" in page
    assert "write 0 accounts" not in page


@pytest.mark.parametrize(
    ("name", "reason"),
    [("nobody", "no such account"), ("--help", "no such account"), ("%00", "null")],
)
def test_what_is_no_account_is_told(planned: Visitor, name: str, reason: str) -> None:
    assert reason in planned.get(f"/console/plan?account={name}", 409).text


def test_another_plan_than_the_one_seen_is_not_applied(planned, desk) -> None:
    page = planned.page("plan")

    answer = planned.post(page, "apply", digest="0" * 16, account="")

    assert (409, 0) == (answer.status_code, desk.queue.depth())
    assert "something has moved since" in answer.text


def test_the_last_plans_are_kept_in_files_without_a_name(
    planned, desk, monkeypatch
) -> None:
    monkeypatch.setattr(plan, "KEPT", 2)
    files = []
    for _ in range(4):
        page = planned.page("plan?account=acme-007&anew=1")
        files.append(plan.PLANS._made[-1].file)
    assert [True] * 2 + [False] * 2 == [one.closed for one in files]
    assert [0] * 2 == [os.fstat(one.fileno()).st_nlink for one in files[2:]]

    digest = page.partition('name="digest" value="')[2][:16]
    answer = planned.post(page, "apply", digest=digest, account="acme-007")

    assert 303 == answer.status_code
    assert all(one.closed for one in files)
    desk.passes(1000)
    assert ["created"] == desk.work()


def test_the_plan_of_many_accounts_waits_for_a_word(planned, monkeypatch) -> None:
    monkeypatch.setattr(plan, "MANY", -1)

    assert "takes some seconds" in planned.page("plan")
    assert NUMBER == planned.data("plan.json?anew=1")["totals"]["accounts"]
    assert NUMBER == planned.data("plan.json")["totals"]["accounts"]


def test_a_page_whose_plan_takes_long_looks_again(planned, monkeypatch) -> None:
    monkeypatch.setattr(plan, "WAIT", 0.0)

    assert 'http-equiv="refresh" content="3;url=/console/plan"' in planned.page("plan")
    data = eventually(lambda: planned.data("plan.json")["totals"])
    assert NUMBER == data["accounts"]
    assert "refresh" not in planned.page("plan")
