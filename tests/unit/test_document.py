"""A document says what the facts know and nothing else; a change says what differs."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.account import Identity, Name, Party, identify, unite
from bridge.domain.document import (
    TRAITS,
    Change,
    Document,
    Ledger,
    as_json,
    difference,
    document,
    from_json,
    keyed,
    removal,
    same,
    settled,
    whole,
)
from bridge.domain.facts import Fact, Stamp
from bridge.domain.fold import History, compact, fold
from bridge.domain.money import STRIPE, Policy
from bridge.domain.traits import MOST_VIEWS, instant
from tests.support import oracle
from tests.support.lives import (
    Story,
    account_of,
    by_party,
    document_of,
    law,
    stories,
    wild_facts,
)


def exact(doc: Document) -> dict[str, Any]:
    """Traits of *doc*; the number as it is written, not as a float rounds it."""
    mrr = doc.traits.get("mrr")
    told = {} if mrr is None else {"mrr": Fraction(repr(mrr))}
    return dict(doc.traits) | told


# --- Against the oracle -------------------------------------------------------


@law(300)
@given(stories())
def test_when_all_is_delivered_a_document_tells_the_truth(story: Story) -> None:
    assert oracle.expected(story.truth) == exact(document_of(story.facts))


@law(300)
@given(stories())
def test_a_catalogue_of_which_nothing_is_used_changes_nothing(story: Story) -> None:
    parties = [
        Party(name, fold(History(facts)), {"coupon:another": {}})
        for name, facts in by_party(story.facts).items()
    ]

    assert document(unite("acme", parties)) == document_of(story.facts)


@law(300)
@given(stories(), st.data())
def test_whatever_is_delivered_a_document_says_what_it_tells(
    story: Story, data: st.DataObject
) -> None:
    count = len(story.facts)
    taken = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    part = [fact for fact, take in zip(story.facts, taken, strict=True) if take]

    assert oracle.agreed(oracle.possible(part)) == exact(document_of(part))


PLAIN = {"unit": "5000", "interval": "month"}
WITHOUT = {
    "unit": {"items": [{"interval": "month"}]},
    "interval": {"items": [{"unit": "5000"}]},
    "terms": {"items": [PLAIN], "discounts": [{"id": "di_example"}]},
    "page": {"items": [PLAIN], "more": True},
    "currency": {"items": [PLAIN], "currency": None},
}
"""What a subscription says without something that its amount needs."""


@law()
@given(stories(), st.sampled_from(sorted(WITHOUT)))
def test_a_number_that_one_live_part_does_not_tell_is_left_out(
    story: Story, missing: str
) -> None:
    facts = [
        fact
        if fact.thing == "customer"
        else fact._replace(value={**fact.value, "discounts": [], **WITHOUT[missing]})
        for fact in story.facts
    ]
    doc = document_of(facts)
    live = {"active", "past_due"} & {doc.traits.get("subscriptionStatus")}

    expected = None if doc.traits and not live else "left out"
    assert expected == doc.traits.get("mrr", "left out")


@law()
@given(st.one_of(wild_facts(), stories().map(lambda story: list(story.facts))))
def test_a_trait_is_known_or_has_a_reason_or_is_silent(facts: list[Fact]) -> None:
    doc = document_of(facts)

    assert not doc.traits.keys() & doc.unknown.keys()
    assert set(TRAITS) >= doc.traits.keys() | doc.unknown.keys()
    assert all(doc.unknown.values())


# --- Other policies -----------------------------------------------------------


def fact(
    thing: str,
    value: dict[str, Any],
    event: str = "",
    party: str = "stripe:1",
    **stamp: Any,
) -> Fact:
    """What an event told; its id is named after the thing where that does not matter."""
    told = Stamp(stamp.get("final", False), stamp.get("at", 0), stamp.get("rank", 0))
    name = event or f"evt_{thing}"
    return Fact(party, thing, told, name, "k", value, repr(sorted(value.items())))


def sub(
    unit: int = 5000, currency: str | None = "usd", interval: str = "month", **more: Any
) -> dict[str, Any]:
    """An active subscription of one item."""
    items = [{"unit": str(unit), "interval": interval, "ends": 9000}]
    named = {"currency": currency} if currency else {}
    return {"status": "active", **named, "items": items, **more}


def subs(*values: dict[str, Any], party: str = "stripe:1") -> list[Fact]:
    return [fact(f"subscription:s{n}", v, party=party) for n, v in enumerate(values)]


def doc(*facts: Fact, policy: Policy = STRIPE, now: int = 2000) -> Document:
    """The document of all parties; what of each is kept is compacted."""
    kept = {name: compact(History(own)) for name, own in by_party(facts).items()}
    return document(account_of(kept), policy, now)


RATES = {"eur": Fraction("1.08"), "jpy": Fraction("0.0067"), "kwd": Fraction("3.25")}
IN_DOLLARS = Policy(base="usd", rates=RATES)
IN_YEN = Policy(base="jpy", rates={"usd": Fraction("149.256")})
IN_KRONUR = Policy(base="isk", rates={"ugx": Fraction("0.001")})
OWN_MONTHS = Policy(week=Fraction("4.33"), day=Fraction(30))
STRICT = Policy(statuses=frozenset({"active"}))
WIDE = Policy(statuses=frozenset({"active", "trialing"}), empty="zero")
ALL = [sub(10_000), sub(10_000, status="past_due"), sub(10_000, status="trialing")]
OVER = {"status": "canceled", "currency": "usd", "ended_at": 1000}


@pytest.mark.parametrize(
    ("expected", "policy", "values"),
    [
        # Rates make one sum of several currencies; one stays what it is.
        (104, IN_DOLLARS, [sub(5000), sub(5000, "eur")]),
        (87.5, IN_DOLLARS, [sub(5000, "eur"), sub(5000, "jpy")]),
        (66.64, IN_DOLLARS, [sub(5000), sub(5120, "kwd")]),
        (50, IN_DOLLARS, [sub(5000, "eur")]),
        (12_463, IN_YEN, [sub(5000, "jpy"), sub(5000)]),
        # UGX 3,700,000 are 37,000 shillings at Stripe.
        (5037, IN_KRONUR, [sub(3_700_000, "ugx"), sub(500_000, "isk")]),
        (433, OWN_MONTHS, [sub(10_000, interval="week")]),
        (3000, OWN_MONTHS, [sub(10_000, interval="day")]),
        (200, STRIPE, ALL),
        (100, STRICT, ALL),
        (200, WIDE, ALL),
        (None, STRIPE, [OVER]),
        (0, WIDE, [OVER]),
    ],
)
def test_what_counts_and_in_which_money_is_a_choice(expected, policy, values) -> None:
    assert expected == doc(*subs(*values), policy=policy).traits["mrr"]


HALF = {"coupon": "half", "percent": "50"}
FOREVER = HALF | {"duration": "forever"}
MONTHS = HALF | {"duration": "repeating", "ends": 3000}
PAST = HALF | {"duration": "repeating", "ends": 1000}
ONCE = HALF | {"duration": "once"}
OPEN = HALF | {"duration": "repeating"}


@pytest.mark.parametrize(
    ("discounts", "amounts"),
    [
        ("forever", (50, 100, 100, 100, 100, None)),
        ("active", (50, 50, 100, 50, None, None)),
        ("all", (50, 50, 50, 50, 50, None)),
        ("none", (100, 100, 100, 100, 100, 100)),
    ],
)
def test_the_discounts_that_count_are_a_choice(discounts, amounts) -> None:
    """Terms that nobody needs need not be known."""
    docs = [
        doc(*subs(sub(10_000, discounts=[one])), policy=Policy(discounts=discounts))
        for one in (FOREVER, MONTHS, PAST, ONCE, OPEN, {"id": "di_1"})
    ]

    assert amounts == tuple(found.traits.get("mrr") for found in docs)


@pytest.mark.parametrize(
    ("trait", "reason", "values"),
    [
        ("mrr", "several currencies and no rates: EUR, USD", [sub(), sub(1, "eur")]),
        ("billingCurrency", "several currencies", [sub(), sub(1, "eur")]),
        ("billingCurrency", "its currency is not in the event", [sub(1, None)]),
        ("mrr", "s0: the event holds only a part of its items", [sub(more=True)]),
        ("planName", "s0: the event holds only a part of its items", [sub(more=True)]),
        (
            "nextRenewalDate",
            "s0: the event holds only a part of its items",
            [sub(more=True)],
        ),
        (
            "mrr",
            f"it is too large for an exact number: over {2**53}",
            [sub(2**54)],
        ),
        (
            "trialEndDate",
            "s1: when its trial ended is not in the event",
            [sub(trial_end=5), sub(trial_end=None)],
        ),
    ],
)
def test_what_cannot_be_known_is_left_out_with_the_reason(
    trait, reason, values
) -> None:
    found = doc(*subs(*values))

    assert trait not in found.traits
    assert reason == found.unknown[trait]


def test_a_missing_rate_leaves_the_number_out() -> None:
    found = doc(*subs(sub(), sub(1, "gbp")), policy=IN_DOLLARS)

    assert "several currencies and no rates: GBP, USD" == found.unknown["mrr"]


def test_many_plan_names_are_cut() -> None:
    names = [f"{'Plan' * 20} {n}" for n in range(60)]

    plans = doc(*subs(*(sub(plan=name) for name in names))).traits["planName"]

    assert isinstance(plans, str)
    assert 2000 == len(plans)
    assert ", ".join(sorted(names)).startswith(plans.removesuffix("…"))


CRM = STRIPE._replace(crm=frozenset({"crm"}))
LISTED = {"name": ["bill"], "mrr": ["crm", "bill"], "stage": ["bill", "crm"]}


@pytest.mark.parametrize(
    ("expected", "policy"),
    [
        (("crm", 50, "crm"), CRM),
        (("bill", 7, "bill"), STRIPE._replace(crm=frozenset({"bill"}))),
        (("bill", 7, "bill"), CRM._replace(owners=LISTED)),
    ],
)
def test_billing_comes_first_for_money_and_a_crm_for_the_rest_unless_listed(
    expected, policy
) -> None:
    facts = [
        *subs(sub(), party="bill:1"),
        fact("trait:mrr", {"is": 7}, party="crm:1"),
    ]
    for source in ("bill", "crm"):
        facts += [
            fact("customer", {"name": source}, party=f"{source}:1"),
            fact("trait:stage", {"is": source}, party=f"{source}:1"),
        ]
    found = doc(*facts, policy=policy)

    assert expected == (found.name.text, found.traits["mrr"], found.traits["stage"])


@pytest.mark.parametrize(
    ("discounts", "now", "until", "mrr"),
    [
        ("active", 0, 3000, 100),
        ("active", 3000, 9000, 150),
        ("active", 9000, None, 200),
        ("forever", 0, None, 200),
        ("all", 0, None, 100),
    ],
)
def test_an_end_that_changes_the_number_is_an_appointment(
    discounts, now, until, mrr
) -> None:
    late = MONTHS | {"ends": 9000}
    facts = subs(*(sub(10_000, discounts=[one]) for one in (MONTHS, late)))

    found = doc(*facts, policy=Policy(discounts=discounts), now=now)

    assert (until, mrr) == (found.until, found.traits["mrr"])


def test_a_document_says_when_a_merge_is_waited_for_no_longer() -> None:
    gone = fact("customer", {"deleted": True, "into": "x:2"}, at=1000, final=True)
    party = Party("x:1", fold(History([gone, *subs(sub())])))

    assert 601_000 == document(unite("acme", [party], 2000), STRIPE, 2000).until


@pytest.mark.parametrize("live", ["bill:1", "other:1"])
def test_of_two_that_know_subscriptions_the_live_one_tells_the_currency(live) -> None:
    """The other one has nothing to say of it, which is no removal."""
    alive = subs(sub(), party=live)
    (dead,) = {"bill:1", "other:1"} - {live}
    ended = subs(sub(currency="eur", status="canceled"), party=dead)

    assert "USD" == doc(*alive, *ended).traits["billingCurrency"]
    assert frozenset({"billingCurrency"}) == doc(*ended).stays


# --- Events of one instant whose order nothing tells --------------------------------

MONEY = {"mrr", "churnedAt", "subscriptionStatus"}


def two(thing: str, one: dict[str, Any], other: dict[str, Any]) -> list[Fact]:
    """Two events of one instant."""
    return [fact(thing, one, "a"), fact(thing, other, "b")]


@pytest.mark.parametrize(
    ("unknown", "facts"),
    [
        ({"mrr"}, two("subscription:s1", sub(1), sub(2))),
        (set(), two("subscription:s1", sub(), sub())),
        ({"mrr"}, [*two("subscription:s1", sub(1), sub(2)), *subs(sub())]),
        (MONEY, two("subscription:s1", sub(), OVER)),
        # Either may have ended, and only if both have, the customer has churned.
        (
            MONEY,
            [
                *two("subscription:s1", sub(), OVER),
                *two("subscription:s2", sub(), OVER),
            ],
        ),
        (MONEY, [*two("customer", {"name": "A"}, {"deleted": True}), *subs(sub())]),
        ({"seats"}, two("trait:seats", {"is": 1}, {"is": 2})),
        (set(), two("trait:seats", {"is": 1}, {"is": 1})),
        (
            {"seats"},
            [
                fact("trait:seats", {"is": 1}),
                fact("trait:seats", {"is": 2}, party="stripe:2"),
                fact("trait:stage", {"is": "x"}),
                fact("trait:stage", {"is": "x"}, party="stripe:2"),
            ],
        ),
    ],
)
def test_a_trait_on_which_they_differ_is_left_out_and_the_rest_is_known(
    unknown, facts
) -> None:
    docs = [doc(*order) for order in (facts, facts[::-1])]

    assert docs[0] == docs[1]
    assert unknown <= docs[0].unknown.keys()
    assert bool(unknown) == bool(docs[0].unknown)


@pytest.mark.parametrize("more", [{"at": 1001}, {"rank": 1}])
def test_a_later_event_or_a_higher_rank_settles_it(more: dict[str, Any]) -> None:
    unsure = two("subscription:s1", sub(1), sub(2))

    assert "s1: events of one instant differ" in doc(*unsure).unknown["mrr"]
    last = fact("subscription:s1", sub(3000), "c", **more)
    assert (30, {}) == (doc(*unsure, last).traits["mrr"], doc(*unsure, last).unknown)


def test_too_many_open_ones_are_not_tried() -> None:
    things = [f"subscription:s{n}" for n in range(MOST_VIEWS.bit_length())]
    found = doc(*(f for thing in things for f in two(thing, sub(1), sub(2))))

    assert {} == found.traits
    assert {"mrr", "subscriptionStatus"} <= found.unknown.keys()


@pytest.mark.parametrize("thing", ["customer", "account", "subscription:s1"])
def test_an_account_that_two_events_name_otherwise_is_nobody_s(thing: str) -> None:
    unsure = two(thing, {"account": "x"}, {"account": "y"})
    sure = two(thing, {"account": "x", "name": "A"}, {"account": "x", "name": "B"})

    identity = identify(fold(History(unsure)))

    assert None is identity.account
    assert "x, y" in identity.reason
    assert Identity("x") == identify(fold(History(sure)))


# --- Instants -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("milliseconds", "expected"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1, "1970-01-01T00:00:00.001Z"),
        (1_700_000_000_120, "2023-11-14T22:13:20.120Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (253_402_300_799_000, "9999-12-31T23:59:59.000Z"),
    ],
)
def test_an_instant_is_utc_with_milliseconds(milliseconds, expected) -> None:
    assert expected == instant(milliseconds)


# --- Changes ------------------------------------------------------------------

DOC = Document(Name(2, "Acme"), {"mrr": 50, "churnedAt": None}, {"planName": "why"})


@pytest.mark.parametrize(
    ("had", "traits"),
    [
        ({}, {"mrr": 50, "churnedAt": None}),
        ({"mrr": 50}, {"churnedAt": None}),
        ({"mrr": 50.0, "churnedAt": None}, {}),
        ({"mrr": 0, "churnedAt": None}, {"mrr": 50}),
        ({"mrr": None, "churnedAt": "x"}, {"mrr": 50, "churnedAt": None}),
        ({"mrr": 50, "churnedAt": None, "planName": "Pro"}, {}),
    ],
)
def test_a_change_carries_what_differs_and_null_differs_from_nothing(
    had, traits
) -> None:
    """What became unknown stays in the ledger. A whole write carries everything."""
    ledger = Ledger(None, had)

    assert Change(None, traits) == difference(DOC, ledger)
    assert Change(None, DOC.traits) == whole(DOC, ledger)
    gone = Ledger(None, {**had, **DOC.traits}, missing=True)
    assert Change(None, DOC.traits) == difference(DOC, gone)
    assert Ledger(None, {**had, **DOC.traits}) == settled(DOC, ledger, named=None)


@pytest.mark.parametrize(
    ("ours", "written", "in_whole"),
    [
        (None, None, None),
        (Name(2, "Acme"), None, "Acme"),
        (Name(1, "Acme"), None, "Acme"),
        (Name(2, "Old"), "Acme", "Acme"),
        (Name(0, "acme"), "Acme", "Acme"),
        (Name(3, "Better"), None, "Better"),
    ],
)
def test_a_name_replaces_only_one_that_we_wrote_and_that_is_no_better(
    ours, written, in_whole
) -> None:
    assert written == difference(DOC, Ledger(ours, {})).name
    assert in_whole == whole(DOC, Ledger(ours, {})).name


def test_a_name_or_a_null_alone_is_a_change() -> None:
    assert Change(None, {}).is_empty
    assert not Change("Acme", {}).is_empty
    assert not Change(None, {"mrr": None}).is_empty
    assert not same(True, 1)


def test_what_we_wrote_goes_when_the_last_party_leaves() -> None:
    ledger = Ledger(Name(2, "Acme"), {"mrr": 50, "churnedAt": None})

    left = removal(ledger, sent=["planName"])

    assert dict.fromkeys(("mrr", "churnedAt", "planName")) == left.traits
    assert Change(None, {"mrr": None, "planName": None}) == difference(left, ledger)
    assert Name(2, "Acme") == left.name
    assert Document(Name(0, ""), {}, {}) == removal(Ledger())


KEYS = {"mrr": "billing.mrr", "planName": None, "stage": "stage", "seats": "seats"}


@pytest.mark.parametrize(
    ("ledger", "sent", "gone"),
    [
        ({}, [], []),
        ({"billing.mrr": 50}, [], ["billing.mrr"]),
        ({"billing.mrr": 50, "stage": "lead"}, [], ["billing.mrr", "stage"]),
        ({}, ["stage"], ["stage"]),
        ({"seats": 5}, ["seats"], []),
        ({"planName": "Pro"}, [], []),
        ({"mrr": 50, "old": 1}, ["older"], []),
    ],
)
def test_what_we_wrote_and_nobody_tells_any_more_is_gone(ledger, sent, gone) -> None:
    """Not what somebody tells who cannot know it, nor what is switched off or renamed."""
    told = Document(Name(2, "Acme"), {}, {"seats": "why"})

    found = keyed(told, KEYS, Ledger(None, ledger), sent)

    assert dict.fromkeys(gone) == found.traits
    assert frozenset(gone) == found.gone


def test_what_people_may_change_is_written_until_they_have() -> None:
    seen = Ledger(None, {"mrr": 50}, {"mrr": 60}, 1)

    docs = [
        keyed(DOC, {"mrr": "mrr"}, one, by_hand={"mrr"}) for one in (Ledger(), seen)
    ]

    assert [{"mrr": 50}, {}] == [one.traits for one in docs]


def test_what_is_gone_is_written_once_and_is_not_ours_afterwards() -> None:
    before = Ledger(None, {"billing.mrr": 50, "stage": "lead"})
    told = Document(Name(2, "Acme"), {"stage": "won"}, {})

    first = keyed(told, KEYS, before)
    after = settled(first, before, named=None)
    unsure = keyed(told, KEYS, after, sent=["billing.mrr"])

    change = Change(None, {"stage": "won", "billing.mrr": None})
    assert change == difference(first, before)
    assert Ledger(None, {"stage": "won"}) == after
    assert difference(keyed(told, KEYS, after), after).is_empty
    assert Change(None, {"billing.mrr": None}) == difference(unsure, after)
    assert change == whole(unsure, after)


@law(50)
@given(stories(), stories())
def test_a_change_turns_what_vitally_has_into_the_document(old, new) -> None:
    before, after = document_of(old.facts), document_of(new.facts)
    ledger = settled(before, Ledger(), named=before.name)

    change = difference(after, ledger)
    held = {**ledger.traits, **change.traits}

    assert dict(after.traits).items() <= held.items()
    assert all(ledger.traits.get(t, "none") != v for t, v in change.traits.items())
    assert difference(after, settled(after, ledger, named=after.name)).is_empty


@pytest.mark.parametrize(
    "ledger",
    [
        Ledger(),
        Ledger(Name(1, "a"), {"mrr": 5.12, "x": None}),
        Ledger(None, {"mrr": 0}),
    ],
)
def test_a_ledger_comes_back_from_json_or_nothing(ledger) -> None:
    assert ledger == from_json(as_json(ledger))
    assert Ledger() == from_json({})
