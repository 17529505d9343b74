"""`/metrics`: how long things take, names by Prometheus' rules, and who reads them."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import Any

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from bridge.store.complete import Checkpoint, Completeness
from bridge.store.durations import DURATIONS, Durations, histograms
from bridge.store.health import Watch
from bridge.store.inspect import figures
from tests.support.desk import Bench, customer, subscription
from tests.support.processes import ROOT

OLD_NAMES = {"vitally_bridge_quarantined_total"}
"""A gauge whose name promises a counter; somebody's board may show it."""

UNITS = "ms|us|millis|milliseconds|minutes|hours|days|kb|mb|kilobytes|megabytes|percent"


@pytest.fixture
def metrics(web: FlaskClient, desk: Bench, watch: Watch):
    """The families after a delivery, a refused one, jobs and a fault, by name."""
    web.post("/webhooks/stripe", data=b"{}")
    web.post("/webhooks/nobody", data=b"{}")
    desk.rests(customer(), subscription(at=1))
    desk.fault("status", status=503)
    desk.does(subscription(at=2, unit=1))
    watch.check()
    desk.context.durations.flush(desk.redis)
    store = Completeness(desk.redis)
    store.put("stripe", Checkpoint(1000, 5000, run=store.read()[1], total=3))
    text = web.get("/metrics").text
    return {one.name: one for one in text_string_to_metric_families(text)}


def counts(family: Any) -> dict[tuple[str, ...], float]:
    """How many a histogram has of each choice of labels."""
    return {
        tuple(sample.labels.values()): sample.value
        for sample in family.samples
        if sample.name.endswith("_count")
    }


def test_deliveries_requests_and_writes_are_measured_by_class_of_status(metrics):
    deliveries = counts(metrics["vitally_bridge_delivery_seconds"])
    requests = counts(metrics["vitally_bridge_vitally_request_seconds"])

    assert {("stripe", "4xx"): 1, ("unknown", "4xx"): 1} == deliveries
    assert {("PUT", "4xx"): 1, ("POST", "2xx"): 1, ("PUT", "5xx"): 1} == requests
    assert {(): 1} == counts(metrics["vitally_bridge_event_to_write_seconds"])


def test_names_say_the_unit_and_only_counters_end_in_total(metrics):
    for name, family in metrics.items():
        assert name.startswith("vitally_bridge_"), name
        assert re.fullmatch(r"[A-Z0-9].*\.", family.documentation), name
        assert not re.search(rf"_({UNITS})(_|$)", name), name
        is_total = all(s.name.endswith("_total") for s in family.samples)
        expected = family.type == "counter" or name in OLD_NAMES
        assert expected == (is_total and bool(family.samples)), name


def test_how_far_a_source_is_complete_is_an_instant_in_seconds(metrics):
    (up_to,) = metrics["vitally_bridge_complete_timestamp_seconds"].samples
    (gaps,) = metrics["vitally_bridge_gaps"].samples

    assert ({"source": "stripe"}, 5.0) == (up_to.labels, up_to.value)
    assert 3.0 == gaps.value


def test_buckets_only_grow_up_to_the_count(metrics):
    for name in DURATIONS:
        family = metrics[f"vitally_bridge_{name}_seconds"]
        buckets = defaultdict(list)
        for sample in family.samples:
            labels = {k: v for k, v in sample.labels.items() if k != "le"}
            if "le" in sample.labels:
                buckets[*labels.values(),].append(sample.value)
        assert counts(family) == {labels: n[-1] for labels, n in buckets.items()}
        assert all(sorted(n) == n for n in buckets.values())


def test_a_value_is_in_the_first_bucket_whose_bound_it_does_not_pass(redis):
    took = Durations()
    for seconds in (0.05, 0.06, 99):
        took.add("vitally_request", seconds, "PUT", "2xx")
    for _ in range(2):  # what was handed over is not handed over again
        took.flush(redis)

    ((labels, buckets, total),) = histograms(
        figures(redis).durations, "vitally_request"
    )
    assert (("PUT", "2xx"), [1, 1, *[0] * 6, 1]) == (labels, buckets)
    assert pytest.approx(99.11) == total


def test_an_event_is_measured_from_its_arrival_over_all_its_tries(desk: Bench):
    desk.fault("status", status=503)
    desk.does(customer())
    desk.passes(100_000)
    desk.work()
    desk.context.durations.flush(desk.redis)

    ((_, _, total),) = histograms(figures(desk.redis).durations, "event_to_write")
    assert pytest.approx(100, abs=5) == total


# --- The board and the alerts ---------------------------------------------------------

RULES = (ROOT / "deploy" / "alerts.yaml").read_text(encoding="utf-8")
BOARD = json.loads((ROOT / "deploy" / "grafana.json").read_text(encoding="utf-8"))
EXPRESSIONS = [
    *re.findall(r"^ +expr: (.+)$", RULES, re.MULTILINE),
    *(target["expr"] for panel in BOARD["panels"] for target in panel["targets"]),
]
LABEL = re.compile(r'(\w+)=~?"')


def test_board_and_alerts_ask_for_metrics_and_labels_that_there_are(metrics):
    known = {sample.name for one in metrics.values() for sample in one.samples}
    families = {f"{name}{end}" for name in metrics for end in ("", "_total")}
    labels = {
        label
        for one in metrics.values()
        for sample in one.samples
        for label in sample.labels
    }
    for text in EXPRESSIONS:
        names = {*re.findall(r"vitally_bridge_\w+", text)}
        grouped = {*re.findall(r"\w+", " ".join(re.findall(r"by \((.*?)\)", text)))}
        assert set() == names - known - families, text
        assert set() == ({*LABEL.findall(text)} | grouped) - labels, text
        assert text.count("(") == text.count(")"), text
        # Every web process shows the same figures.
        assert re.search(r"max(\(| by)|absent\(", text), text


def test_every_metric_that_measures_time_is_on_the_board():
    shown = " ".join(EXPRESSIONS)

    assert [] == [name for name in DURATIONS if f"_{name}_seconds_" not in shown]


def test_the_page_has_the_metrics_that_there_are(metrics):
    page = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    ends = {"counter": "_total"}

    assert {name + ends.get(one.type, "") for name, one in metrics.items()} == {
        *re.findall(r"^\| `(vitally_bridge_\w+)`", page, re.MULTILINE)
    }
