"""The console's pages of what came in, of what needs a hand, and of the queue."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from rq import Queue as RqQueue
from rq import SimpleWorker
from rq.serializers import JSONSerializer
from werkzeug.datastructures import Authorization

from bridge.config import Config
from bridge.queue import NAME
from bridge.reconcile import Reconciler
from bridge.store import audit, keys
from bridge.store.quarantine import Quarantine
from bridge.store.samples import mark
from tests.support.desk import customer, subscription
from tests.support.failures import FIVE, seed, wait
from tests.support.visitor import Visitor

ANN = {"username": "ann", "password": "a-nn"}
QUEUE = "queues/0/view/jobs/bridge/queued/8/asc/1"
BOB = {"username": "bob", "password": "b:ob"}
HOSTILE = "<script>alert(1)</script> \"'><img src=x onerror=alert(1)> {{ 7 * 7 }}"


def clusters(visit: Visitor) -> dict[str, Any]:
    """The clusters by the first word of their titles."""
    return {
        one["title"].split()[0]: one for one in visit.data("attention.json")["clusters"]
    }


def act(visit: Visitor, one: dict[str, Any], action: str, **form: str) -> str:
    """Press a button of a cluster; the heading of the page that follows, or what was done."""
    answer = visit.post(
        visit.page("attention"), "cluster", id=one["id"], do=action, **form
    )
    if answer.status_code != 303:
        return f"{answer.status_code} {answer.text}"
    return audit.latest(visit.redis, 1)[0].text


def test_a_thousand_failures_of_five_causes_are_five_clusters(visit, desk) -> None:
    seed(desk.redis, 1000)

    page, data = visit.page("attention"), visit.data("attention.json")

    assert (5, 1000) == (len(data["clusters"]), data["total"])
    assert 5 == page.count('<section class="cluster"')
    assert "1,000 things wait for a person, for 5 causes." in page
    for one in data["clusters"]:
        assert (200, 5) == (one["count"], len(one["things"]))
        assert one["cause"] in visit.page(f"attention/{one['id']}").replace(
            "&#39;", "'"
        )
    assert 100 == len(visit.data(f"attention/{one['id']}.json?page=2")["things"])


def test_a_cluster_tells_what_was_changed_before_it_began(visit, desk) -> None:
    mark(desk.redis, "deploy of 9.9")
    seed(desk.redis, 1)

    assert "deploy of 9.9" in visit.page("attention")
    (one,) = visit.data("attention.json")["clusters"]
    assert "deploy of 9.9" == one["changed"]["text"]


def test_what_waits_is_tried_again_by_one_button(visit, desk) -> None:
    desk.fault("status", "PUT", status=400, body={"error": "mrr must be integer"})
    desk.does(customer(account="acme"))

    said = act(visit, clusters(visit)["mrr"], "retry")

    assert "1 of 1 party tried again (parked: mrr must be integer)" == said
    assert ["created"] == desk.work()
    assert {} == clusters(visit)
    assert "Nothing needs a hand" in visit.page("attention")


def test_who_may_only_read_sees_every_page_and_no_button(visit, desk) -> None:
    seed(desk.redis, 20)
    desk.rests(customer(), subscription())
    found = clusters(visit)["no"]
    ann = Visitor(visit.app, visit.redis, Authorization("basic", ANN))
    places = ("attention", f"attention/{found['id']}/discard", "accounts/acme")
    pages = [*places, f"attention/{found['id']}", QUEUE, "", "settings"]
    shown, seen = ([who.page(one) for one in pages] for who in (visit, ann))
    answers = [ann.post(shown[0], "cluster", id=found["id"], do="retry")]
    answers.append(ann.post(shown[0], "link", party="stripe:cus_1", account="acme"))

    assert [True] * 3 == ['method="post"' in page for page in shown[:3]]
    assert not [p for p in seen if 'method="post"' in p or 'class="button"' in p]
    assert ['<body class="read-only">'] == re.findall("<body.*?>", seen[4])
    assert visit.data("accounts/acme.json") == ann.data("accounts/acme.json")
    for answer in answers:
        assert 403 == answer.status_code
        assert "ann has the role read-only" in answer.text
    assert [] == audit.latest(visit.redis)


def test_an_operator_acts_under_a_name_and_with_a_token_of_his_own(visit, desk) -> None:
    seed(desk.redis, 1)
    bob = Visitor(visit.app, visit.redis, Authorization("basic", BOB))
    act(bob, clusters(bob)["no"], "retry")
    page = visit.page("attention")

    assert ["bob"] == [deed.who for deed in audit.latest(visit.redis)]
    assert 403 == bob.post(page, "cluster").status_code


def test_a_quarantined_cluster_is_replayed_or_dropped(visit, desk, ingress) -> None:
    seed(desk.redis, 20, FIVE[-1:])
    one = clusters(visit)["customer.updated:"]

    assert "0 of 20 deliveries read" in act(visit, one, "replay")
    (one,) = clusters(visit).values()
    assert "not confirmed" in act(visit, one, "drop")
    assert 20 == len([*Quarantine(desk.redis).all()])
    assert "20 deliveries dropped" in act(visit, one, "drop", sure="yes")
    assert (0, 20) == (desk.check().quarantined, desk.check().ignored)


def test_giving_up_is_asked_for_once_more(visit, desk) -> None:
    seed(desk.redis, 6, FIVE[:1])
    one = clusters(visit)["no"]

    assert "Discard all 6?" in visit.page(f"attention/{one['id']}/discard")
    assert "not confirmed" in act(visit, one, "discard")
    assert 6 == desk.check().held
    assert "6 events discarded" in act(visit, one, "discard", sure="yes")
    assert (0, 6) == (desk.check().held, desk.check().discarded)
    wait(desk.redis, "stripe:cus_9", "parked", "another cause")
    assert "waits for this cause any more" in act(visit, one, "retry")


def test_what_others_changed_in_vitally_is_written_anew(visit, desk) -> None:
    desk.rests(customer(), subscription())
    right = desk.traits()["mrr"]
    desk.client.update("acme", {"traits": {"mrr": 1}})
    Reconciler(desk.redis, desk.client, Config(), wait=lambda: None).look("acme")

    desk.redis.set(keys.DRY_RUN, "1")
    assert "nothing is written in a dry run" in act(
        visit, clusters(visit)["mrr"], "fix"
    )
    desk.redis.delete(keys.DRY_RUN)
    assert "1 party written anew" in act(visit, clusters(visit)["mrr"], "fix")
    desk.passes(60_000)
    desk.work()
    assert (right, {}) == (desk.traits()["mrr"], clusters(visit))


def test_failed_jobs_are_cleared_and_their_parties_tried_again(visit, desk) -> None:
    queue = RqQueue(NAME, connection=desk.redis, serializer=JSONSerializer)
    for n in range(3):
        queue.enqueue_call("workers.jobs.no_such_job", (f"stripe:cus_{n}",))
    worker = SimpleWorker([queue], connection=desk.redis, serializer=JSONSerializer)
    worker.work(burst=True, logging_level="CRITICAL")
    (one,) = visit.data("attention.json")["clusters"]

    assert ("failed job", 3) == (one["kind"], one["count"])
    assert "3 failed jobs cleared" in act(visit, one, "retry")
    assert {} == clusters(visit)


@pytest.mark.parametrize("path", ["attention/nobody", "attention/nobody/discard"])
def test_a_cluster_that_is_gone_is_not_found(visit, path) -> None:
    visit.get(f"/console/{path}", 404)


def test_what_cannot_be_done_with_a_cluster_is_refused(visit, desk) -> None:
    seed(desk.redis, 1, FIVE[:1])
    one = clusters(visit)["no"]

    for action in ("replay", "link", "", "__class__"):
        assert "409" == act(visit, one, action)[:3]
    visit.get(f"/console/attention/{one['id']}/retry", 404)


def test_hostile_reasons_and_names_are_text(visit, desk) -> None:
    wait(desk.redis, f"stripe:{HOSTILE}", "parked", HOSTILE)
    desk.accept.ignore(HOSTILE, [(HOSTILE, HOSTILE, HOSTILE)])
    (one,) = visit.data("attention.json")["clusters"]

    for path in (
        "attention",
        f"attention/{one['id']}",
        f"attention/{one['id']}/discard",
        "deliveries",
        "deliveries?text=%22%3E%3Cimg%20src%3Dx%3E",
    ):
        page = visit.page(path)
        assert "<script>alert" not in page
        assert "<img" not in page
        assert "49" not in page.replace("249", "") or "{{ 7" in page
    assert HOSTILE in json.dumps(
        visit.data("deliveries.json"), ensure_ascii=False
    ).replace('\\"', '"')


def test_deliveries_are_filtered_by_the_address(visit, desk) -> None:
    desk.does(customer("cus_1", account="acme", event="evt_1"))
    for n in range(60):
        desk.accept.ignore("stripe", [(f"evt_x{n}", "charge.failed", "no effect")])

    first = visit.data("deliveries.json")
    assert {"stripe", "hubspot"} < {*first["sources"]}
    assert [] == [name for name in first["sources"] if not name.islower()]
    older = visit.data(f"deliveries.json?after={first['next']}")

    assert (50, 11, "") == (
        len(first["deliveries"]),
        len(older["deliveries"]),
        older["next"],
    )
    assert f"after={first['next']}" in visit.page("deliveries?receipt=&source=stripe")
    (one,) = visit.data("deliveries.json?text=acme")["deliveries"]
    assert ("evt_1", "settled", "acme") == (one["event"], one["became"], one["account"])
    for query in (
        "receipt=queued",
        "type=customer",
        "until=2020-01-01T00:00",
        "since=2999-01-01T00:00Z",
        "until=0001-01-01T00:00%2B23:59",
    ):
        found = visit.data(f"deliveries.json?{query}")["deliveries"]
        assert len(found) == (0 if "0T" in query or "1T" in query else 1), query
    assert "No delivery in the journal" in visit.page("deliveries?text=nobody")


def test_an_empty_journal_says_how_to_fill_it(visit) -> None:
    assert "send stripe customer.subscription.created" in visit.page("deliveries")


def test_the_queue_opens_on_ours_and_a_phone_can_show_it(visit) -> None:
    (address,) = {
        part.split('"')[0]
        for part in visit.page("").split('href="')
        if part.startswith("/console/queues/")
    }
    page = visit.get(address, follow_redirects=True)

    assert "queue <strong>bridge</strong>" in page.text
    assert "/console/static/queue.css" in page.text
    assert 'class="back" href="/console/"' in page.text
