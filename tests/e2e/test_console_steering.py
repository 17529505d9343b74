"""Steering in a real browser: a cluster tried again, linked, replayed; a plan applied."""

from __future__ import annotations

from collections.abc import Iterator

import orjson
import pytest

from bridge.store import operator
from bridge.store.quarantine import Kept, Quarantine
from tests.support.browser import Browser
from tests.support.stack import Stack
from tests.support.stripe import Shop, Stripe
from tests.support.waiting import eventually

PASSWORD = "console-example"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("bridge")
    more = {"CONSOLE_PASSWORD": PASSWORD, "STRIPE_ACCOUNT_ID_KEY": "account"}
    with Stack(folder, **more) as made:
        made.web()
        made.worker()
        yield made.ready()


@pytest.fixture
def stripe(stack: Stack) -> Iterator[Stripe]:
    sender = stack.stripe()
    yield sender
    sender.close()
    stack.vitally.mend()
    operator.resume(stack.redis)


@pytest.fixture
def console(browser: Browser, stack: Stack) -> Iterator[Browser]:
    """Logged in; whatever is done, no page complains."""
    place = f"127.0.0.1:{stack.webs[0].port}"
    browser.open(f"http://admin:{PASSWORD}@{place}/console/")
    browser.base = f"http://{place}/console/"
    browser.complaints()
    yield browser
    assert [] == browser.complaints()


def see(console: Browser, path: str) -> str:
    console.open(console.base + path)
    return console.text()


def is_done(console: Browser, *words: str) -> None:
    """Wait for the page after an action, which says what it did."""
    eventually(lambda: all(word in console.text() for word in words), what=str(words))


def test_a_cluster_of_refused_changes_is_tried_again(console, stack, stripe) -> None:
    refusal = {"kind": "status", "status": 400, "times": 99}
    refusal["body"] = {"error": "/traits/plan must be string"}
    stack.vitally.break_with([refusal])
    names = [f"tried-{n}" for n in range(3)]
    for name in names:
        stripe.deliver(Shop().signs_up(account=name))
    eventually(lambda: stack.figures().parked_parties == 3)

    assert "/traits/plan must be string" in see(console, "attention")
    stack.vitally.mend()
    console.click("button[value=retry]")

    is_done(console, "Done", "3 of 3 parties tried again")
    stack.settled()
    assert all(stack.account(name) for name in names)
    assert "Nothing needs a hand" in see(console, "attention")


def test_a_held_party_is_linked_from_its_cluster(console, stack, stripe) -> None:
    shop = Shop()
    stripe.deliver(shop.signs_up())
    eventually(lambda: stack.figures().held_parties == 1)

    assert "no account is named" in see(console, "attention")
    console.click("details summary")
    console.type("input[name=account]", "linked-1")
    console.click("td form button")

    is_done(console, "Done", f"stripe:{shop.id} goes to linked-1")
    eventually(lambda: stack.vitally.account("linked-1"))
    assert "Nothing needs a hand" in see(console, "attention")


def test_quarantined_deliveries_are_replayed_as_a_cluster(console, stack) -> None:
    reason = "customer.created: data.object.name: Not a valid string."
    for n in range(4):
        body = orjson.dumps(Shop().signs_up(account=f"replayed-{n}"))
        Quarantine(stack.redis).put(Kept(f"{n:016x}", 0, "stripe", "e", reason, body))

    assert "API version" in see(console, "attention")
    console.click("button[value=replay]")

    is_done(console, "Done", "4 of 4 deliveries read")
    stack.settled()
    assert stack.account("replayed-3")
    lines = see(console, "deliveries?text=replayed-3")
    assert "settled" in lines


def test_giving_up_a_cluster_is_asked_for_once_more(console, stack, stripe) -> None:
    stripe.deliver(Shop().signs_up())
    eventually(lambda: stack.figures().held_parties == 1)

    see(console, "attention")
    console.click("a.button")
    eventually(lambda: "Discard?" in console.text())
    assert 1 == stack.figures().held
    console.click("button[value=discard]")

    is_done(console, "Done", "1 event discarded")
    assert (0, 1) == (stack.figures().held, stack.figures().discarded)


def test_a_plan_is_applied_and_refused_where_something_moved(
    console, stack, stripe
) -> None:
    shop = Shop()
    stripe.deliver(shop.signs_up(account="planned"))
    stack.settled()
    operator.pause(stack.redis, "to plan")
    stripe.deliver(shop.is_changed(name="Second Name"))

    assert "Second Name" in see(console, "plan?anew=1")
    stripe.deliver(shop.is_changed(name="Third Name"))
    console.click("form[action$=apply] button")
    is_done(console, "Not done", "planned: it is not what the plan says any more")
    assert "409" in console.complaints()[0]

    assert "Third Name" in see(console, "plan?account=planned&anew=1")
    console.click("form[action$=apply] button")
    is_done(console, "Done", "1 account queued")
    operator.resume(stack.redis)
    stack.settled()
    assert "Third Name" == stack.account("planned")["name"]
    assert "Nothing would be written" in see(console, "plan?anew=1")
