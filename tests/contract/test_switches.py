"""Each thing that is unknown about Vitally, one position at a time."""

from __future__ import annotations

import pytest

from bridge.errors import (
    VitallyError,
    VitallyKeyError,
    VitallyLimitedError,
    VitallyMissingError,
    VitallyRefusedError,
)
from bridge.vitally.replies import already_exists
from bridge.vitally.simulator import BLANK
from tests.support.vitally import Simulator

ACME = {"externalId": "acme-101", "name": "Acme"}


def refusal(act) -> VitallyError:
    with pytest.raises(VitallyError) as caught:
        act()
    return caught.value


@pytest.mark.parametrize("position", ["conflict409", "bad400"])
def test_a_refused_second_creation_is_known_for_what_it_is(
    vitally, simulator, position
):
    simulator.turn(duplicate_create=position)
    vitally.create({**ACME, "traits": {"a": 1}})

    error = refusal(lambda: vitally.create({**ACME, "name": "Second"}))

    assert isinstance(error, VitallyRefusedError)
    assert already_exists(error)
    assert "Acme" == vitally.get("acme-101")["name"]


def test_a_second_creation_may_update(vitally, simulator):
    simulator.turn(duplicate_create="upsert")
    first = vitally.create({**ACME, "traits": {"a": 1}})

    second = vitally.create({**ACME, "traits": {"b": 2}})

    assert (first["id"], {"a": 1, "b": 2}) == (second["id"], second["traits"])


def test_an_update_of_nobody_is_missing_or_creates(vitally, simulator):
    assert isinstance(
        refusal(lambda: vitally.update("new", {"name": "N"})), VitallyMissingError
    )
    simulator.turn(put_on_missing="upsert")

    made = vitally.update("new", {"traits": {"a": 1}})

    assert ("new", "new", {"a": 1}) == (
        made["externalId"],
        made["name"],
        made["traits"],
    )


def test_a_removed_trait_may_stay_as_null(vitally, simulator):
    simulator.turn(null_trait="keep")
    vitally.create({**ACME, "traits": {"a": 1}})

    got = vitally.update("acme-101", {"traits": {"a": None}})
    later = vitally.update("acme-101", {"traits": {"b": 2}})

    assert {"a": None} == got["traits"]
    assert {"a": None, "b": 2} == later["traits"]


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

    assert ([], True) == (first.results, first.next is not None)
    (row,) = vitally.accounts(cursor=first.next).results
    assert "acme-101" == row["externalId"]


@pytest.mark.parametrize("form", ["string", "object"])
def test_the_reason_is_read_from_either_form_of_error(vitally, simulator, form):
    simulator.turn(error_form=form)

    assert "Account not found." == refusal(lambda: vitally.get("nobody")).reason


@pytest.mark.parametrize("form", ["string", "object"])
@pytest.mark.parametrize("mode", ["bucket", "window"])
@pytest.mark.parametrize("position", ["absent", "present"])
def test_the_limit_is_said_with_and_without_retry_after(
    vitally, simulator, form, mode, position
):
    simulator.turn(
        error_form=form,
        rate_mode=mode,
        rate_limit=10,
        rate_seconds=60.0,
        retry_after=position,
    )
    vitally.create(ACME)

    error = refusal(lambda: vitally.create(ACME))

    assert isinstance(error, VitallyLimitedError)
    assert "Too many requests, please try again later." == error.reason
    assert {"bucket": 6.0, "window": 60.0}[mode] == error.retry_after


def test_a_write_may_cost_one_unit(client_of, simulator):
    seen = []
    vitally = client_of(observe=seen.append)
    simulator.turn(rate_mode="window", write_cost=1)

    vitally.create(ACME)
    vitally.get("acme-101")

    assert [(1000, 999, 60, True), (1000, 998, 60, False)] == seen


@pytest.mark.parametrize(("scope", "left"), [("key", 999), ("workspace", 998)])
def test_keys_share_a_limit_or_do_not(client_of, simulator, scope, left):
    seen = []
    simulator.turn(rate_scope=scope, rate_mode="window")
    client_of(observe=seen.append).probe()
    simulator.rotate("sk_test_other")

    client_of(observe=seen.append, authorization=simulator.authorization).probe()

    assert [999, left] == [rate.remaining for rate in seen]


def test_without_a_mapping_the_fields_stay_null(vitally, simulator):
    simulator.turn(lifecycle="unmapped")

    got = vitally.create({**ACME, "traits": {"mrr": 5, "churnedAt": "2026-01-01"}})

    assert (None, None, 5) == (got["mrr"], got["churnedAt"], got["traits"]["mrr"])
    assert "subscribed" == simulator.account("acme-101")["lifecycle"]


def test_another_trait_may_be_mapped(vitally, simulator):
    simulator.turn(revenue_trait="vitally.custom.revenue")

    got = vitally.create({**ACME, "traits": {"mrr": 5, "vitally.custom.revenue": 7}})

    assert 7 == got["mrr"]


def test_the_last_revenue_need_not_be_kept(vitally, simulator):
    simulator.turn(keep_last_revenue="off")
    vitally.create({**ACME, "traits": {"mrr": 50}})

    gone = {"mrr": None, "churnedAt": "2026-01-01T00:00:00.000Z"}

    assert vitally.update("acme-101", {"traits": gone})["mrr"] is None


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


@pytest.mark.parametrize(("touch", "moved"), [("on", 600_500), ("off", 0)])
def test_updated_at_moves_by_itself(touch, moved):
    born = "1970-01-01T00:00:00.000Z"
    simulator = Simulator(background_touch=touch)

    shown = simulator.shown({**BLANK, "createdAt": born, "updatedAt": born})

    assert (
        f"1970-01-01T00:{moved // 60_000:02d}:00.{moved % 1000:03d}Z"
        == shown["updatedAt"]
    )


def test_a_rotated_key_is_refused_until_it_is_back(vitally, simulator):
    simulator.rotate()

    assert (VitallyKeyError, 401) == (type(e := refusal(vitally.probe)), e.status)
    simulator.rotate("sk_test_example")
    vitally.probe()


@pytest.mark.parametrize("changes", [{"nothing": 1}, {"null_trait": "maybe"}])
def test_a_wrong_position_is_an_error(simulator, changes):
    with pytest.raises(AssertionError):
        simulator.turn(**changes)
