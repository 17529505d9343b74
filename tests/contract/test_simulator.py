"""The simulator's own promises, and each thing that is unknown about Vitally turned."""

from __future__ import annotations

import threading
import time
from contextlib import closing, suppress
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
import urllib3

from bridge.errors import (
    VitallyError,
    VitallyKeyError,
    VitallyLimitedError,
    VitallyMissingError,
    VitallyRefusedError,
    VitallyUnavailableError,
)
from bridge.vitally import simulator as product
from bridge.vitally.client import Vitally
from bridge.vitally.replies import already_exists
from bridge.vitally.simulator import BLANK, Bucket
from tests.support.vitally import Simulator
from tests.support.vitally.network import Answer, Fault, http_bytes
from tests.support.vitally.switches import SlidingWindow
from tests.support.waiting import eventually

ACME = {"externalId": "acme-101", "name": "Acme"}


def ask(simulator, method: str, path: str, **more):
    with urllib3.PoolManager() as pool:
        return pool.request(method, simulator.url + path, **more)


def refusal(act) -> Any:
    with pytest.raises(VitallyError) as caught:
        act()
    return caught.value


# --- Limits ----------------------------------------------------------------------


def test_a_bucket_refills_evenly():
    bucket = Bucket(1000, 60.0, 0.0)

    assert all(bucket.take(10, 0.0) for _ in range(100))
    assert [False, True] == [bucket.take(10, at) for at in (0.5, 0.6)]
    assert (1000, 1) == (bucket.remaining(1000.0), bucket.reset(1000.0))


def test_a_window_forgets_what_is_a_minute_old():
    window = SlidingWindow(20, 60.0)

    assert [True, True, False] == [window.take(10, at) for at in (0.0, 5.0, 59.9)]
    assert 1 == window.reset(59.9)
    assert (True, 0) == (window.take(10, 60.0), window.remaining(60.0))


def test_a_refused_request_costs_nothing(vitally, simulator):
    simulator.turn(rate_mode="window", rate_limit=15)
    vitally.create(ACME)
    refusal(lambda: vitally.update("acme-101", {"name": "New"}))
    vitally.get("acme-101")

    assert [(200, 10, 5), (429, 0, 5), (200, 1, 4)] == [
        (e["status"], e["cost"], e["remaining"]) for e in simulator.log()
    ]


@pytest.mark.parametrize("form", ["string", "object"])
@pytest.mark.parametrize(("mode", "wait"), [("bucket", 6.0), ("window", 60.0)])
@pytest.mark.parametrize("position", ["absent", "present"])
def test_the_limit_is_said_with_and_without_retry_after(
    vitally, simulator, form, mode, wait, position
):
    simulator.turn(error_form=form, rate_mode=mode, rate_limit=10, retry_after=position)
    vitally.create(ACME)
    error = refusal(lambda: vitally.create(ACME))

    assert isinstance(error, VitallyLimitedError)
    assert ("Too many requests, please try again later.", wait) == (
        error.reason,
        error.retry_after,
    )


def test_a_write_may_cost_one_unit(client_of, simulator):
    seen = []
    vitally = client_of(observe=seen.append)
    simulator.turn(rate_mode="window", write_cost=1)
    vitally.create(ACME)
    vitally.get("acme-101")

    assert [(1000, 999, "POST"), (1000, 998, "GET")] == [one[:3] for one in seen]


@pytest.mark.parametrize(("scope", "left"), [("key", 999), ("workspace", 998)])
def test_keys_share_a_limit_or_do_not(client_of, simulator, scope, left):
    seen = []
    simulator.turn(rate_scope=scope, rate_mode="window")
    client_of(observe=seen.append).probe()
    simulator.rotate("sk_test_other")
    client_of(observe=seen.append, authorization=simulator.authorization).probe()

    assert [999, left] == [rate.remaining for rate in seen]


# --- The log ---------------------------------------------------------------------


def test_two_writes_of_one_account_at_a_time_are_seen(client_of, vitally, simulator):
    vitally.create(ACME)
    simulator.break_with([{"kind": "delay", "seconds": 0.3}])
    slow = client_of()
    first = threading.Thread(target=slow.update, args=("acme-101", {"name": "One"}))
    first.start()
    eventually(lambda: len(simulator.log()) == 2)
    vitally.update("acme-101", {"name": "Two"})
    vitally.create({"externalId": "other", "name": "Other"})
    first.join()
    log = simulator.log()

    assert [False, False, True, False] == [entry["overlap"] for entry in log]
    assert log[2]["started"] < log[1]["ended"]


def test_a_write_ends_when_its_client_hangs_up(vitally, impatient, simulator):
    """Or a worker that gave up in time would look as if it broke its promise."""
    vitally.create(ACME)
    simulator.break_with([{"kind": "timeout_after_commit"}])
    refusal(lambda: impatient.update("acme-101", {"name": "One"}))
    vitally.update("acme-101", {"name": "Two"})
    _, lost, second = simulator.log()

    assert lost["committed"] < lost["ended"] <= second["started"] + 5
    assert (None, 200, False) == (lost["status"], second["status"], second["overlap"])


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


def test_the_log_names_accounts_by_their_external_id(vitally, simulator):
    made = vitally.create(ACME)
    vitally.update(made["id"], {"name": "New"})
    vitally.accounts()
    log = simulator.log()

    assert [("acme-101", 1), ("acme-101", 2), (None, 3)] == [
        (entry["account"], entry["n"]) for entry in log
    ]
    assert {"name": "New"} == log[1]["body"]
    assert log[1]["started"] <= log[1]["committed"] <= log[1]["ended"]
    assert log[2:] == simulator.log(since=2)


# --- Faults and switches ---------------------------------------------------------


def test_a_fault_may_wait_for_its_turn_and_come_back(vitally, simulator):
    match = {"method": "GET", "path": "*/acme*", "nth": 2}
    simulator.break_with([{"match": match, "kind": "status", "times": 2}])
    vitally.create(ACME)
    got = []
    for _ in range(4):
        try:
            got.append(vitally.get("acme-101")["name"])
        except VitallyUnavailableError as error:
            got.append(error.status)

    assert ["Acme", 500, 500, "Acme"] == got


def test_faults_come_one_after_another_and_stay_until_they_are_mended(
    vitally, simulator
):
    kinds = [{"kind": "status", "status": status} for status in (500, 502)]
    last = {"kind": "status", "status": 503, "times": None}
    simulator.break_with([*kinds, {"kind": "truncated"}, last])
    statuses = [refusal(vitally.probe).status for _ in range(5)]
    simulator.mend()
    vitally.probe()

    assert [500, 502, None, 503, 503] == statuses


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "nothing"},
        {"kind": "delay", "second": 1},
        {"kind": "delay", "match": {"url": "x"}},
    ],
)
def test_a_wrong_fault_is_an_error(fields):
    with pytest.raises((AssertionError, TypeError)):
        Fault(**fields)


@pytest.mark.parametrize("changes", [{"nothing": 1}, {"null_trait": "maybe"}])
def test_a_wrong_position_is_an_error(simulator, changes):
    with pytest.raises(AssertionError):
        simulator.turn(**changes)


def test_a_reset_forgets_accounts_faults_keys_switches_and_the_log(vitally, simulator):
    vitally.create(ACME)
    simulator.break_with([{"kind": "status", "times": None}])
    simulator.turn(null_trait="keep")
    simulator.rotate("sk_test_new")
    simulator.reset()
    vitally.probe()

    assert ("drop", []) == (simulator.switches["null_trait"], simulator.accounts())
    assert ["GET"] == [entry["method"] for entry in simulator.log()]


def test_a_rotated_key_is_refused_until_it_is_back(vitally, simulator):
    simulator.rotate()

    assert (VitallyKeyError, 401) == (type(e := refusal(vitally.probe)), e.status)
    simulator.rotate("sk_test_example")
    vitally.probe()


@pytest.mark.parametrize("position", ["conflict409", "bad400"])
def test_a_refused_second_creation_is_known_for_what_it_is(
    vitally, simulator, position
):
    simulator.turn(duplicate_create=position)
    vitally.create(ACME)
    error = refusal(lambda: vitally.create({**ACME, "name": "Second"}))

    assert isinstance(error, VitallyRefusedError)
    assert already_exists(error)
    assert "Acme" == vitally.get("acme-101")["name"]


def test_a_second_creation_may_update(vitally, simulator):
    simulator.turn(duplicate_create="upsert")
    first = vitally.create({**ACME, "traits": {"a": 1}})
    second = vitally.create({**ACME, "traits": {"b": 2}})

    assert (first["id"], {"a": 1, "b": 2}) == (second["id"], second["traits"])


def test_an_update_of_nobody_may_create(vitally, simulator):
    simulator.turn(put_on_missing="upsert")
    made = vitally.update("new", {"traits": {"a": 1}})

    assert ["new", "new", {"a": 1}] == [
        made[name] for name in ("externalId", "name", "traits")
    ]


def test_a_removed_trait_may_stay_as_null(vitally, simulator):
    simulator.turn(null_trait="keep")
    vitally.create({**ACME, "traits": {"a": 1}})

    assert {"a": None} == vitally.update("acme-101", {"traits": {"a": None}})["traits"]
    assert {"a": None, "b": 2} == (
        vitally.update("acme-101", {"traits": {"b": 2}})["traits"]
    )


def test_nested_traits_may_be_refused_with_their_path(vitally, simulator):
    simulator.turn(nested_traits="400")
    error = refusal(lambda: vitally.create({**ACME, "traits": {"deep": {"er": 1}}}))

    assert "/traits/deep must be string,number,boolean,null" == error.reason
    assert isinstance(refusal(lambda: vitally.get("acme-101")), VitallyMissingError)


def test_a_page_over_the_limit_is_clamped_or_refused(vitally, simulator):
    assert [] == vitally.accounts(limit=101).results
    simulator.turn(over_limit_page="400")

    assert 400 == refusal(lambda: vitally.accounts(limit=101)).status


def test_a_page_may_be_empty_and_still_have_a_next(vitally, simulator):
    vitally.create(ACME)
    simulator.turn(empty_pages="on")
    first = vitally.accounts()
    (row,) = vitally.accounts(cursor=first.next).results

    assert ([], "acme-101") == (first.results, row["externalId"])


@pytest.mark.parametrize("form", ["string", "object"])
def test_the_reason_is_read_from_either_form_of_error(vitally, simulator, form):
    simulator.turn(error_form=form)

    assert "Account not found." == refusal(lambda: vitally.get("nobody")).reason


REVENUE = {"mrr": 5, "vitally.custom.revenue": 7}
CHURNED = {"mrr": None, "churnedAt": "2026-01-01T00:00:00.000Z"}
CONVERTS, SUB = {"currency_trait": "billingCurrency"}, "subscribed"


@pytest.mark.parametrize(
    ("switches", "changes", "shown"),
    [
        ({}, CHURNED, (5, CHURNED["churnedAt"], "churned")),
        (
            {"keep_last_revenue": "off"},
            CHURNED,
            (None, CHURNED["churnedAt"], "churned"),
        ),
        ({"lifecycle": "unmapped"}, {}, (None, None, "subscribed")),
        ({"revenue_trait": "vitally.custom.revenue"}, {}, (7, None, "subscribed")),
        ({"revenue_trait": "nobody.sends vitally.custom.revenue"}, {}, (7, None, SUB)),
        ({"revenue_default": "arr_times_12"}, {}, (60, None, SUB)),
        ({"revenue_default": "arr_on_screens"}, {}, (5, None, SUB)),
        ({}, {"billingCurrency": "EUR"}, (5, None, SUB)),
        (CONVERTS, {"billingCurrency": "EUR"}, (5.88, None, SUB)),
        (
            CONVERTS | {"home_currency": "EUR"},
            {"billingCurrency": "EUR"},
            (5, None, SUB),
        ),
        ({"derived_after": 60.0}, {"mrr": 9}, (5, None, SUB)),
        ({"churn_rule": "is_one_of"}, {}, (5, None, SUB)),
        ({"churn_rule": "is_none_of"}, {}, (5, None, "churned")),
        ({"churn_rule": "is_none_of"}, {"lifecycle_stage": "trial"}, (5, None, SUB)),
    ],
)
def test_what_traits_feed_hangs_on_the_mapping(
    vitally, simulator, switches, changes, shown
):
    simulator.turn(**switches)
    vitally.create({**ACME, "traits": REVENUE})
    got = vitally.update("acme-101", {"traits": changes})
    stage = simulator.account("acme-101")["lifecycle"]

    assert shown == (got["mrr"], got["churnedAt"], stage)


def test_a_rule_without_a_date_may_show_when_it_came_true(vitally, simulator):
    simulator.turn(churn_rule="is_none_of", churn_date="detected")
    made = vitally.create(ACME)

    assert made["updatedAt"] == made["churnedAt"]
    (listed,) = vitally.accounts(status="churned").results
    assert listed["externalId"] == "acme-101"


def test_people_edit_traits_as_far_as_they_may(vitally, simulator):
    vitally.create(ACME)
    assert simulator.edit("acme-101", mrr=1)
    simulator.turn(editable_by="admins_and_leaders")
    assert not simulator.edit("acme-101", mrr=2)
    assert simulator.edit("acme-101", role="admin", mrr=3)
    simulator.turn(editable_by="no_one")
    assert not simulator.edit("acme-101", role="admin", mrr=4)

    assert 3 == vitally.get("acme-101")["traits"]["mrr"]


def test_custom_traits_are_a_bare_list_of_one_model(simulator):
    field = {"label": "MRR", "type": "number", "path": "vitally.custom.mrr"}
    simulator.custom_fields = [field]
    headers = {"Authorization": simulator.authorization}
    ours, none = (
        ask(simulator, "GET", f"/resources/customFields?model={model}", headers=headers)
        for model in ("accounts", "users")
    )

    assert ([field], []) == (ours.json(), none.json())


def test_its_clock_may_be_ahead(simulator):
    simulator.turn(clock_ahead=86_400.0)
    date = ask(simulator, "GET", "/resources/accounts").headers["Date"]

    assert 86_000 < parsedate_to_datetime(date).timestamp() - time.time() < 86_410


def test_an_ignored_account_may_be_missing(vitally, simulator):
    vitally.create({**ACME, "traits": {"ignored": True}})

    assert "Acme" == vitally.get("acme-101")["name"]
    simulator.turn(ignored_by_get="404")
    assert isinstance(refusal(lambda: vitally.get("acme-101")), VitallyMissingError)


@pytest.mark.parametrize(("precedence", "name"), [("id", "First"), ("external", "Odd")])
def test_an_external_id_may_be_another_accounts_id(
    vitally, simulator, precedence, name
):
    simulator.turn(id_precedence=precedence)
    first = vitally.create({"externalId": "f", "name": "First"})
    vitally.create({"externalId": first["id"], "name": "Odd"})

    assert name == vitally.get(first["id"])["name"]


def test_a_body_may_be_too_large(vitally, simulator):
    simulator.turn(body_limit=200)
    error = refusal(lambda: vitally.create({**ACME, "traits": {"a": "x" * 200}}))

    assert (VitallyRefusedError, 413) == (type(error), error.status)


@pytest.mark.parametrize(
    ("touch", "moved"), [("on", "10:00.500"), ("off", "00:00.000")]
)
def test_updated_at_moves_by_itself(touch, moved):
    born = "1970-01-01T00:00:00.000Z"
    simulator = Simulator(background_touch=touch)
    shown = simulator.shown({**BLANK, "createdAt": born, "updatedAt": born})

    assert f"1970-01-01T00:{moved}Z" == shown["updatedAt"]


# --- Organizations ---------------------------------------------------------------

ORGANIZATIONS = "/resources/organizations"
HOLDING = {"externalId": "holding", "name": "Holding", "traits": {"mrr": 5}}


def test_an_organization_has_the_shape_and_rules_of_an_account(vitally, simulator):
    made = vitally._one("POST", ORGANIZATIONS, HOLDING)
    vitally._one("PUT", f"{ORGANIZATIONS}/holding", {"traits": {"mrr": 6, "gone": 1}})
    one = vitally._one(
        "PUT", f"{ORGANIZATIONS}/{made['id']}", {"traits": {"gone": None}}
    )
    again = refusal(lambda: vitally._one("POST", ORGANIZATIONS, HOLDING))
    unnamed = refusal(lambda: vitally._one("POST", ORGANIZATIONS, {"externalId": "x"}))

    own = {"organizationOwnerId", "accountsCount", "firstPaidDate"}
    assert own == one.keys() - BLANK.keys()
    assert {"accountOwnerId", "organizationId"} == BLANK.keys() - one.keys()
    assert ({"mrr": 6}, 6, 0) == (one["traits"], one["mrr"], one["accountsCount"])
    assert [one] == vitally._page(ORGANIZATIONS, {"limit": 10}).results
    assert [] == vitally.accounts().results
    assert (409, 400) == (again.status, unnamed.status)
    assert one | {"lifecycle": "subscribed"} == simulator.account(
        "organization:holding"
    )
    assert {"organization:holding", "organization:x"} == {
        entry["account"] for entry in simulator.writes()
    }


def test_accounts_are_in_the_organization_that_they_name_by_either_id(vitally):
    id_ = vitally._one("POST", ORGANIZATIONS, HOLDING)["id"]
    vitally.create({**ACME, "organizationId": id_})
    vitally.create({"externalId": "b", "name": "B"})
    by_name = vitally.update("b", {"organizationId": "holding"})
    assert [id_, id_] == [
        one["organizationId"] for one in (by_name, vitally.get("acme-101"))
    ]
    assert 2 == vitally._one("GET", f"{ORGANIZATIONS}/holding")["accountsCount"]
    vitally._request("DELETE", f"{ORGANIZATIONS}/holding")

    assert 404 == refusal(lambda: vitally.accounts(organization="holding")).status


@pytest.mark.parametrize(("position", "status"), [("400", 400), ("404", 404)])
def test_an_organization_that_is_not_there_is_refused(
    vitally, simulator, position, status
):
    simulator.turn(unknown_organization=position)
    vitally._one("POST", ORGANIZATIONS, HOLDING)
    vitally.create(ACME)
    other = {"externalId": "b", "name": "B", "organizationId": "holding"}
    for act in (
        lambda: vitally.update("acme-101", {"organizationId": "nobody"}),
        # A creation may name Vitally's own id alone.
        lambda: vitally.create(other),
    ):
        error = refusal(act)
        assert (status, "Organization not found.") == (error.status, error.reason)
    simulator.turn(unknown_organization="accept")
    assert "holding" == vitally.create(other)["organizationId"]


# --- The page, the port, and who speaks HTTP oddly -------------------------------


def test_the_page_costs_nothing_and_is_not_logged(vitally, simulator):
    assert b"No account yet." in ask(simulator, "GET", "/").data
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


def test_what_is_asked_oddly_is_answered_as_recorded(simulator):
    path = "/resources/accounts"
    known = {"Authorization": simulator.authorization}
    nobody = ask(simulator, "GET", path)
    no_json = ask(simulator, "POST", path, headers=known, body=b"{")

    assert {"error": "Authorization header not present."} == nobody.json()
    assert (401, "1000") == (nobody.status, nobody.headers["RateLimit-Remaining"])
    assert 404 == ask(simulator, "PATCH", path, headers=known).status
    assert (400, {"error": "The body is no JSON."}) == (no_json.status, no_json.json())


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
        limited = refusal(lambda: vitally.delete("a/b"))
        page = ask(simulator, "GET", "/").data

    assert VitallyLimitedError is type(limited)
    assert limited.retry_after in {4.0, 5.0}  # five, and a busy machine's pause
    assert b"1 accounts, 1 writes" in page


def test_an_odd_status_has_a_phrase_too():
    assert http_bytes(Answer(599, {}, b"")).startswith(b"HTTP/1.1 599 Unknown\r\n")


def test_the_product_s_own_answers_every_request_of_the_client():
    with product.Simulator() as running:
        client = Vitally(running.url, running.authorization)
        try:
            made = client._one("POST", ORGANIZATIONS, HOLDING)
            body = {"externalId": "a", "name": "A", "organizationId": made["id"]}
            assert "A" == client.create(body)["name"]
            assert "B" == client.update("a", {"name": "B"})["name"]
            assert "B" == client.get("a")["name"]
            assert [] == client.health("a")["healthScores"]
            pages = client.accounts(), client.accounts(organization="holding")
            assert [["a"], ["a"]] == [
                [one["externalId"] for one in page.results] for page in pages
            ]
            client.delete("a")
            assert [] == client.accounts().results
        finally:
            client.close()
