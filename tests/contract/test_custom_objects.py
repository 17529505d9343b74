"""Custom objects and the Analytics API: what the client sends, and what the simulator does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from bridge.errors import (
    VitallyKeyError,
    VitallyLimitedError,
    VitallyRefusedError,
    VitallyUnavailableError,
)
from bridge.vitally import simulator as product
from bridge.vitally.client import Vitally
from tests.support.vitally import Simulator
from tests.support.vitally.custom_objects import EXAMPLE_TOKEN

OBJECT = "subscriptions-1"


@pytest.fixture
def analytics(simulator: Simulator) -> Iterator[Vitally]:
    simulator.custom_objects.objects[OBJECT] = {"id": OBJECT, "name": "Subscription"}
    with closing(Vitally(simulator.url, product.authorization(EXAMPLE_TOKEN))) as made:
        yield made


def message(id_: str = "stripe:sub_1", n: int = 0, **traits: object) -> dict[str, Any]:
    return {
        "type": "customobjectinstance",
        "customObjectId": OBJECT,
        "externalId": id_,
        "accountId": "acme",
        "name": "Pro",
        "traits": traits,
        "messageId": f"{id_}:{n}",
    }


def acme(vitally: Vitally) -> None:
    vitally.create({"externalId": "acme", "name": "Acme"})


def test_a_batch_upserts_instances_by_their_external_ids(vitally, analytics):
    acme(vitally)
    analytics.batch([message(mrr=5, seats=2), message("stripe:sub_2")])
    analytics.batch([message(n=1, mrr=None, status="canceled")])
    found = vitally.instance(OBJECT, "stripe:sub_1")

    assert {"seats": 2, "status": "canceled"} == found["traits"]
    assert ("Pro", "acme") == (found["name"], found["customer"]["externalId"])


@pytest.mark.parametrize("form", ["one", "page"])
def test_an_instance_is_found_whatever_form_a_search_has(
    vitally, analytics, simulator, form
):
    simulator.turn(instance_search=form)
    acme(vitally)
    analytics.batch([message("a/b & c")])

    assert "a/b & c" == vitally.instance(OBJECT, "a/b & c")["externalId"]
    assert None is vitally.instance(OBJECT, "nobody")


@pytest.mark.parametrize("body", [{"results": None}, {"results": [1]}, {"error": "no"}])
def test_a_search_that_cannot_be_read_is_no_answer(vitally, simulator, body):
    simulator.break_with([{"kind": "status", "status": 200, "body": body}])

    with pytest.raises(VitallyUnavailableError):
        vitally.instance(OBJECT, "stripe:sub_1")


def test_a_message_is_taken_once_and_what_is_about_nobody_is_never_told(
    vitally, analytics, simulator
):
    analytics.batch([message(mrr=1)])
    assert {} == simulator.instances()

    acme(vitally)
    analytics.batch([message(mrr=1)])
    assert {} == simulator.instances()
    analytics.batch([message(n=1, mrr=1)])

    assert ["stripe:sub_1"] == [*simulator.instances()]


def test_what_is_answered_is_applied_later_perhaps_in_another_order(
    vitally, analytics, simulator
):
    acme(vitally)
    simulator.turn(analytics_delay=60.0)
    analytics.batch([message(mrr=1)])
    simulator.turn(analytics_delay=0.0)
    analytics.batch([message(n=1, mrr=2)])
    assert {"mrr": 2} == simulator.instances()["stripe:sub_1"]["traits"]
    simulator.custom_objects.waiting = [
        (0.0, late) for _, late in simulator.custom_objects.waiting
    ]

    assert {"mrr": 1} == simulator.instances()["stripe:sub_1"]["traits"]


def test_the_analytics_api_has_its_own_key_and_no_part_of_the_limit(
    vitally, analytics, simulator
):
    simulator.turn(rate_limit=11)
    analytics.batch([message()] * 100)
    vitally.probe()
    acme(vitally)
    analytics.batch([message()])

    with pytest.raises(VitallyKeyError):
        vitally.batch([message()])
    with pytest.raises(VitallyKeyError):
        analytics.probe()
    with pytest.raises(VitallyLimitedError):
        vitally.probe()
    with pytest.raises(VitallyRefusedError):
        analytics.batch([message()] * 101)
    assert [0] * 4 == [one["cost"] for one in simulator.batches()]


def test_the_instances_of_an_object_are_listed_those_updated_last_first(
    vitally, analytics
):
    acme(vitally)
    for start in (0, 100):
        analytics.batch([message(f"s{n}") for n in range(start, start + 100)])
    analytics.batch([message("s3", 1)])
    first = vitally.instances(OBJECT)
    second = vitally.instances(OBJECT, first.next)

    ids = [row["externalId"] for row in (*first.results, *second.results)]
    assert ["s3", "s199", "s198"] == ids[:3]
    assert (200, None) == (len({*ids}), second.next)


def test_custom_objects_over_rest(vitally, simulator):
    made = vitally._one("POST", "/resources/customObjects", {"name": "Subscription"})
    path = f"/resources/customObjects/{made['id']}/instances"
    one = {"name": "Pro", "externalId": "s1", "traits": {"a": 1, "b": 2}}
    first = vitally._one("POST", path, one)
    merged = vitally._one("PUT", f"{path}/{first['id']}", {"traits": {"a": None}})

    assert {"b": 2} == merged["traits"] == vitally.instance(made["id"], "s1")["traits"]
    assert (
        made["id"]
        == vitally._one("GET", "/resources/customObjects")["results"][0]["id"]
    )
    for query in ("", "?id=1&externalId=s1", "?name=Pro"):
        with pytest.raises(VitallyRefusedError):
            vitally._one("GET", f"{path}/search{query}")
    with pytest.raises(VitallyRefusedError) as caught:
        vitally._one("POST", path, one)
    assert 409 == caught.value.status
