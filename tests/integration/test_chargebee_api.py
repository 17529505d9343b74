"""What is read from Chargebee's own API, and how it is ordered among its webhooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.account import Party, is_incomplete, unite
from bridge.domain.document import document
from bridge.domain.facts import Fact, Rank
from bridge.domain.fold import History, compact, fold
from bridge.domain.refresh import restamped
from bridge.errors import ConfigError, SourceError, SourceUnreadError
from bridge.sources.chargebee import SOURCE
from bridge.sources.chargebee.api import ChargebeeApi, connect
from bridge.webhook.source import Page
from tests.support.chargebee import (
    DAY_0,
    Json,
    customer,
    event,
    instant,
    seconds,
    subscription,
    told,
)
from tests.support.local_chargebee import KEY, SECRET_PART, LocalChargebee
from tests.support.reader import Reader

TODAY = 100
"""The local Chargebee's clock: a day."""

COVERED = (seconds(TODAY) - 2) * 1000
"""The second that a read on that day surely covers (ms)."""

MINUTE = 1 / 1440

OPTIONS = {**Reader(SOURCE).options, "CHARGEBEE_API_KEY": KEY}


@pytest.fixture
def chargebee() -> Iterator[LocalChargebee]:
    with LocalChargebee() as running:
        running.clock = lambda: seconds(TODAY) + 0.9
        yield running


def api(chargebee: LocalChargebee, **more: Any) -> ChargebeeApi:
    made = connect({**OPTIONS, "CHARGEBEE_API_BASE": chargebee.url, **more})
    assert made is not None
    return made


def read(chargebee: LocalChargebee, id_: str = "cb_1", **more: Any) -> dict[str, Fact]:
    """The facts of a customer by their things."""
    facts = api(chargebee, **more).party(f"chargebee:{id_}")
    assert len(facts) == len({fact.thing for fact in facts})
    return {fact.thing: fact for fact in facts}


def traits(*facts: Fact) -> Json:
    things = fold(compact(History(facts)))
    return dict(document(unite("cb_1", [Party("chargebee:cb_1", things)])).traits)


def names(pages: Callable[[str], Page], after: str = "") -> list[Any]:
    """All rows of a list that follow *after*, page by page."""
    page = pages(after)
    found = [*page.rows]
    while page.after:
        page = pages(page.after)
        found += page.rows
    return found


# --- what is read --------------------------------------------------------------------


def test_what_is_read_is_what_webhooks_would_have_told(chargebee):
    gone = subscription(2, id="sub_2", status="cancelled", cancelled_at=seconds(2))
    deleted = subscription(3, id="sub_3", deleted=True)
    chargebee.put(customer(), subscription(1), gone, deleted)
    chargebee.put(subscription(id="sub_4", customer_id="cb_2"))

    facts = read(chargebee)

    bodies = [
        event("customer_changed", 0, customer=customer()),
        *(told("subscription_changed", 1, **s) for s in (subscription(1), gone)),
        event("subscription_deleted", 3, subscription=deleted),
    ]
    expected = {fact.thing: fact for fact in Reader(SOURCE).facts(*bodies)}
    assert {*expected, "read"} == set(facts)
    for thing, fact in expected.items():
        assert (fact.value, fact.after) == (facts[thing].value, facts[thing].after)
        assert fact.stamp[:2] == facts[thing].stamp[:2]
    assert all(fact.is_read for fact in facts.values())
    assert COVERED == facts["read"].stamp.at
    assert {("read", f"read:{COVERED}")} == {(f.kind, f.event) for f in facts.values()}
    assert not is_incomplete(fold(History(facts.values())))


def test_lists_are_read_to_their_last_page(chargebee):
    chargebee.put(customer(), *(subscription(id=f"sub_{n}") for n in range(1250)))

    assert 1252 == len(read(chargebee))
    assert 14 == len(chargebee.log)


@pytest.mark.parametrize("known", [True, False])
def test_a_deleted_customer_is_found_among_the_deleted(chargebee, known):
    if known:
        chargebee.put(customer(5, deleted=True))
        chargebee.put(subscription(5, deleted=True))

    facts = read(chargebee)

    assert bool(facts) == known
    if known:
        assert facts["customer"].stamp.final
        live = Reader(SOURCE).facts(told("subscription_created", 1))
        assert instant(5) == traits(*live, *facts.values())["churnedAt"]


def test_whose_a_thing_is_can_be_asked(chargebee):
    chargebee.put(subscription(), customer())
    source = api(chargebee)

    assert "chargebee:cb_1" == source.owner("subscription:sub_1")
    assert source.owner("subscription:sub_9") is None
    assert "chargebee:cb_1" == source.owner("customer:cb_1")


# --- its order among webhooks ----------------------------------------------------------


def test_a_stale_list_hides_no_event(chargebee):
    """Its state is old, whenever it was read."""
    chargebee.put(customer(), subscription(1))
    chargebee.lists_lag = True
    now = {"status": "cancelled", "mrr": 0, "cancelled_at": seconds(TODAY)}
    event_ = told("subscription_cancelled", TODAY - MINUTE, **now)
    chargebee.put(event_["content"]["subscription"])

    found = traits(*read(chargebee).values(), *Reader(SOURCE).facts(event_))

    assert "churned" == found["subscriptionStatus"]


@pytest.mark.parametrize(
    ("counted_at", "listed", "mrr"),
    [
        (None, 7000, 70),  # the event of the recount was lost
        (TODAY - 10, 7000, 70),  # what is read is later
        (TODAY + 10, 7000, 50),  # what is told is later
        (TODAY - 10, 0, 98),  # no MRR any more: as the items say
        (TODAY - MINUTE, 0, 50),  # a list that is not up to date
    ],
)
def test_within_a_version_the_later_of_event_and_read_wins(
    chargebee, counted_at, listed, mrr
):
    version = seconds(TODAY - 2 * MINUTE if listed == 0 and mrr == 50 else 1) * 1000
    chargebee.put(customer(), subscription(mrr=listed, resource_version=version))
    bodies = [told("subscription_created", 1, mrr=0, resource_version=version)]
    if counted_at is None:
        bodies[0]["occurred_at"] = COVERED // 1000
    else:
        shown = subscription(mrr=5000, resource_version=version)
        bodies.append(event("mrr_updated", counted_at, subscription=shown))

    facts = [*Reader(SOURCE).facts(*bodies), *read(chargebee).values()]

    assert {mrr} == {traits(*order)["mrr"] for order in (facts, facts[::-1])}


def test_another_account_in_the_settings_is_named_by_a_read_and_nothing_new(chargebee):
    chargebee.put(customer(cf_id="acme"))
    before = Reader(SOURCE).facts(event("customer_created", 0, customer=customer()))

    facts = [*before, *read(chargebee, **{"chargebee.account": "cf_id"}).values()]

    assert "acme" == fold(History(facts))["customer"].value["account"]


def test_a_later_read_keeps_the_versions_and_ends_what_moved_away(chargebee):
    chargebee.put(customer(), subscription(1), subscription(1, id="sub_2"))
    first = [*read(chargebee).values()]
    chargebee.put(subscription(2, id="sub_2", customer_id="cb_9"))

    party = Party("chargebee:cb_1", fold(History(first)))
    again = restamped([*read(chargebee).values()], party)

    things = fold(History([*first, *again]))
    assert "void" == things["subscription:sub_2"].value["status"]
    assert seconds(1) * 1000 == things["subscription:sub_1"].fact.stamp.at
    assert COVERED + 1 == things["read"].fact.stamp.at


STEPS = ["change", "recount", "read", "stale read"]
LIVES = st.lists(
    st.tuples(st.sampled_from(STEPS), st.integers(0, 400), st.booleans()),
    min_size=1,
    max_size=12,
)


def lived(life: list[tuple[str, int, bool]]) -> tuple[list[Fact], list[Json]]:
    """What a life leaves: facts, and the states that they tell, in order.

    Its steps, seconds apart, are changes, recounts of the same version, and reads. An
    event may be lost; a stale read lists what was before the last step.
    """
    source, at = connect({**OPTIONS, "CHARGEBEE_API_BASE": "http://127.0.0.1"}), DAY_0
    assert source is not None
    facts: list[Fact] = []
    known, states = [], [subscription(0, mrr=1000)]
    for n, (what, wait, is_lost) in enumerate(life):
        at += 1 + wait
        if "read" in what:
            known.append(states[-2:][0] if what == "stale read" else states[-1])
            facts += source._facts("subscription", known[-1], at * 1000)
            continue
        version = {"resource_version": at * 1000} if what == "change" else {}
        states.append({**states[-1], "mrr": 1010 + 10 * n, **version})
        kind = "subscription_changed" if what == "change" else "mrr_updated"
        body = event(kind, 0, subscription=states[-1]) | {"occurred_at": at}
        if not is_lost:
            facts += Reader(SOURCE).facts(body)
            known.append(states[-1])
    return facts, known


@given(LIVES, st.randoms(use_true_random=False))
def test_any_interleaving_ends_in_what_was_last_told_of_the_newest_version(
    life, random
):
    facts, known = lived(life)
    if not known:
        return
    random.shuffle(facts)
    middle = len(facts) // 2
    half = compact(History(facts[:middle]))
    rest = History([*half.facts, *facts[middle:]], half.retained)
    (state,) = fold(History(facts)).values()
    assert {"subscription:sub_1": state} == fold(rest)
    newest = max(told["resource_version"] for told in known)
    last = [told for told in known if told["resource_version"] == newest][-1]
    assert (str(last["mrr"]), ()) == (state.value["mrr"], state.rivals)


# --- lists -----------------------------------------------------------------------------


def shop(chargebee: LocalChargebee, count: int, *, each: int = 1) -> list[str]:
    """Put customers, *each* of them in one second; their names, newest first."""
    for n in range(count):
        born = DAY_0 + n // each
        chargebee.put(customer(id=f"cb_{n:04}", created_at=born))
    return [f"chargebee:cb_{n:04}" for n in reversed(range(count))]


@pytest.mark.parametrize("ends_count", [True, False])
def test_customers_are_listed_newest_first_and_to_the_end(chargebee, ends_count):
    chargebee.ends_count = ends_count
    expected = shop(chargebee, 250, each=120)
    chargebee.put(customer(id="cb_gone", deleted=True))
    source = api(chargebee)

    assert expected == names(partial(source.parties, None))
    # From wherever it stopped, also among many of one second.
    for stopped in (0, 99, 140, 248):
        rest = names(partial(source.parties, None), expected[stopped])
        assert expected[stopped + 1 :] == rest
    assert not source.parties(None, expected[249]).rows


def test_only_those_created_since(chargebee):
    expected = shop(chargebee, 150)
    source = api(chargebee)

    assert expected[:40] == names(partial(source.parties, DAY_0 + 110))
    assert expected[11:40] == list(source.parties(DAY_0 + 110, expected[10]).rows)


@pytest.mark.parametrize("forget", ["deleted", "never there"])
def test_a_place_that_is_gone_is_said(chargebee, forget):
    (name,) = shop(chargebee, 1)
    if forget == "deleted":
        chargebee.put(customer(id="cb_0000", deleted=True))
    with pytest.raises(SourceUnreadError, match="no such customer, or not any more"):
        api(chargebee).parties(None, name if forget == "deleted" else "chargebee:cb_x")


@pytest.mark.parametrize("ends_count", [True, False])
def test_the_changes_of_a_span_are_its_events_oldest_first(chargebee, ends_count):
    chargebee.ends_count = ends_count
    many = [
        event("customer_changed", 1, id_=f"ev_{n:03}", customer=customer())
        | {"occurred_at": DAY_0 + n}
        for n in range(300)
    ]
    chargebee.put(*many[::-1])
    chargebee.put(event("invoice_generated", 0, id_="ev_x"))
    source = api(chargebee)
    since, until = (DAY_0 + 20) * 1000 + 1, (DAY_0 + 279) * 1000 + 1

    found = names(partial(source.changes, since, until))

    assert many[20:280] == [change.body for change in found]
    assert [e["occurred_at"] * 1000 for e in many[20:280]] == [c.at for c in found]
    assert 3 == len(chargebee.log)


# --- settings, and what goes wrong -------------------------------------------------------


def test_the_site_makes_the_address():
    found = connect({**OPTIONS, "CHARGEBEE_SITE": "acme-test"})

    assert found is not None
    assert "https://acme-test.chargebee.com/api/v2/" == found._http.base
    assert connect(Reader(SOURCE).options) is None
    with pytest.raises(ConfigError, match="both CHARGEBEE_API_KEY and CHARGEBEE_SITE"):
        connect(OPTIONS)


@pytest.mark.parametrize("names", [["KEY"], ["SITE"], ["KEY", "SITE"], []])
def test_a_key_without_a_site_or_the_reverse_is_a_problem_of_the_settings(names):
    short = {"KEY": "CHARGEBEE_API_KEY", "SITE": "CHARGEBEE_SITE"}
    options = {**Reader(SOURCE).options, **{short[name]: "acme" for name in names}}

    assert (len(names) == 1) == bool(list(SOURCE.lacks(options)))


def failure(chargebee: LocalChargebee, **more: Any) -> SourceError:
    with pytest.raises(SourceError) as raised:
        read(chargebee, **more)
    assert SECRET_PART not in str(raised.value)
    return raised.value


@pytest.mark.parametrize(
    ("fault", "where", "said", "is_refused"),
    [
        ("403", "customers", "CHARGEBEE_API_KEY may not read customers (403)", True),
        ("403", "subscr", "CHARGEBEE_API_KEY may not read subscriptions (403)", True),
        ("429", "customers", "wants fewer requests (429)", False),
        ("500", "subscr", "answered 500 about subscriptions", False),
        ("garbage", "subscr", "Chargebee's reply about subscriptions cannot", False),
        ("odd", "subscr", "subscriptions is not understood: list", False),
        ("odd", "customers", "customer is not understood: list", False),
    ],
)
def test_a_failure_yields_no_half_customer(chargebee, fault, where, said, is_refused):
    chargebee.put(customer(), subscription())
    chargebee.fail(fault, where=where)

    error = failure(chargebee)

    assert said in error.reason
    assert is_refused == error.refused
    assert (1 if fault == "429" else None) == error.retry_after
    assert 3 == len(read(chargebee))


def test_a_subscription_that_is_not_understood_is_named(chargebee):
    chargebee.put(customer(), subscription(status="of the future"))

    assert "sub_1 is not understood: status" == failure(chargebee).reason


def test_a_probe_says_whether_key_and_site_are_right(chargebee):
    assert api(chargebee).probe()

    for fault, said in {"403": "may not read events", "429": "fewer requests"}.items():
        chargebee.fail(fault, where="events")
        with pytest.raises(SourceError, match=said):
            api(chargebee).probe()
    wrong = api(chargebee, CHARGEBEE_API_KEY="test_wrong")
    with pytest.raises(SourceError, match=r"refuses CHARGEBEE_API_KEY \(401\)$"):
        wrong.probe()
    elsewhere = api(chargebee, CHARGEBEE_API_BASE=f"{chargebee.url}/elsewhere")
    with pytest.raises(SourceError, match="is CHARGEBEE_SITE right") as raised:
        elsewhere.probe()
    assert raised.value.refused


def test_a_read_says_when_it_covers_less_than_its_version(chargebee):
    """A change in the second of the read itself: an event of that version may be later."""
    chargebee.put(customer(TODAY), subscription(TODAY))

    facts = read(chargebee)

    assert {Rank.FROM_API} == {facts[t].stamp.rank for t in ("customer", "read")}
    assert facts["subscription:sub_1"].stamp.at > COVERED
