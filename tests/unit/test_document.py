"""A document says what the facts know and nothing else; a change says what differs."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.account import Name, Party, unite
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
    settled,
    whole,
)
from bridge.domain.facts import Fact, Stamp
from bridge.domain.fold import History, fold
from bridge.domain.money import STRIPE, Policy
from bridge.domain.traits import instant
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
@given(stories(), st.data())
def test_whatever_is_delivered_a_document_says_what_it_tells(
    story: Story, data: st.DataObject
) -> None:
    count = len(story.facts)
    taken = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    part = [fact for fact, take in zip(story.facts, taken, strict=True) if take]

    assert oracle.agreed(oracle.possible(part)) == exact(document_of(part))


@law()
@given(stories())
def test_a_trait_is_known_or_has_a_reason_or_is_silent(story: Story) -> None:
    doc = document_of(story.facts)

    assert not doc.traits.keys() & doc.unknown.keys()
    assert set(TRAITS) >= doc.traits.keys() | doc.unknown.keys()
    assert all(doc.unknown.values())


@law()
@given(stories(), st.sampled_from(["unit", "interval", "terms", "page", "currency"]))
def test_a_number_that_one_live_part_does_not_tell_is_left_out(
    story: Story, missing: str
) -> None:
    facts = [_without(fact, missing) for fact in story.facts]
    doc = document_of(facts)
    live = {"active", "past_due"} & {doc.traits.get("subscriptionStatus")}

    expected = None if doc.traits and not live else "left out"
    assert expected == doc.traits.get("mrr", "left out")


LIVE = {"active", "past_due"}


def _without(fact: Fact, missing: str) -> Fact:
    """*fact*, if of a subscription, without something that its revenue needs."""
    if fact.thing == "customer":
        return fact
    plain = {"unit": "5000", "interval": "month"}
    value = dict(fact.value) | {"items": [plain], "discounts": []}
    match missing:
        case "terms":
            value["discounts"] = [{"id": "di_example"}]
        case "page":
            value["more"] = True
        case "currency":
            del value["currency"]
        case _:
            value["items"] = [{k: v for k, v in plain.items() if k != missing}]
    return fact._replace(value=value)


@law(50)
@given(wild_facts())
def test_no_facts_break_a_document(facts: list[Fact]) -> None:
    assert document_of(facts).traits.keys() <= set(TRAITS)


@pytest.mark.parametrize("trait", ["mrr", "nextRenewalDate", "planName"])
def test_a_part_of_the_items_does_not_tell_a_trait_of_them_all(trait: str) -> None:
    """Stripe shows the first ten items; the others may be called anything."""
    item = {"unit": "5000", "interval": "month", "ends": 0, "name": "Pro"}
    value = {"status": "active", "currency": "usd", "items": [item], "more": True}
    stamp = Stamp(False, 0, 2)
    fact = Fact("x:1", "subscription:s", stamp, "evt_1", "k", value, "a")

    assert "left out" == document_of([fact]).traits.get(trait, "left out")


# --- Other policies -----------------------------------------------------------


def paying(id_: str, unit: str, currency: str, status: str = "active", **more) -> Fact:
    """A monthly subscription of its own."""
    items = [{"unit": unit, "interval": "month", "ends": 0}]
    value = {"status": status, "currency": currency, "items": items, **more}
    stamp = Stamp(False, 0, 2)
    return Fact("x:1", f"subscription:{id_}", stamp, f"evt_{id_}", "k", value, id_)


def mrr(policy: Policy, *facts: Fact, now: int = 0) -> object:
    """The trait under *policy*, else the reason why it is not known."""
    doc = document(account_of({"x:1": History(facts)}), policy, now)
    return doc.traits.get("mrr", doc.unknown.get("mrr"))


RATES = {"eur": Fraction("1.08"), "jpy": Fraction("0.0067"), "kwd": Fraction("3.25")}


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ([paying("1", "5000", "usd"), paying("2", "5000", "eur")], 104),
        ([paying("1", "5000", "eur"), paying("2", "5000", "jpy")], 87.5),
        ([paying("1", "5000", "usd"), paying("2", "5120", "kwd")], 66.64),
        ([paying("1", "5000", "eur")], 50),
        (
            [paying("1", "5000", "eur"), paying("2", "5000", "gbp")],
            "several currencies and no rates: EUR, GBP",
        ),
    ],
)
def test_with_rates_several_currencies_are_one_sum_in_the_base(facts, expected) -> None:
    policy = STRIPE._replace(base="usd", rates=RATES)

    assert expected == mrr(policy, *facts)


def test_many_plan_names_are_cut() -> None:
    names = [f"{'Plan' * 20} {n}" for n in range(60)]
    facts = [paying(str(n), "1", "usd", plan=name) for n, name in enumerate(names)]
    plans = document(account_of({"x:1": History(facts)})).traits["planName"]

    assert isinstance(plans, str)
    assert 2000 == len(plans)
    assert ", ".join(sorted(names)).startswith(plans.removesuffix("…"))


def test_a_currency_that_is_not_told_is_unknown_with_the_reason() -> None:
    fact = paying("1", "5000", "usd")
    told = {k: v for k, v in fact.value.items() if k != "currency"}
    doc = document(account_of({"x:1": History([fact._replace(value=told)])}))

    assert "its currency is not in the event" == doc.unknown["billingCurrency"]


def test_a_base_without_decimals_has_none_in_the_sum() -> None:
    policy = STRIPE._replace(base="jpy", rates={"usd": Fraction("149.256")})

    assert 12_463 == mrr(policy, paying("1", "5000", "jpy"), paying("2", "5000", "usd"))


def told(party: str, thing: str, value: dict[str, Any], n: int = 0) -> Fact:
    return Fact(
        party, thing, Stamp(False, n, 2), f"evt_{party}_{thing}", "k", value, party
    )


def from_two(policy: Policy) -> tuple[str, object, object]:
    """Name, a billing trait and another one that a billing and a CRM source tell."""
    facts = [
        paying("1", "5000", "usd")._replace(party="bill:1"),
        *(
            told(party, thing, value)
            for party in ("bill:1", "crm:1")
            for thing, value in (
                ("customer", {"name": f"Name of {party}"}),
                ("trait:stage", {"is": f"stage of {party}"}),
            )
        ),
        told("crm:1", "trait:mrr", {"is": 7}),
    ]
    doc = document(
        account_of({p: History(own) for p, own in by_party(facts).items()}), policy
    )
    return doc.name.text, doc.traits["mrr"], doc.traits["stage"]


def test_billing_comes_first_for_money_and_a_crm_for_names_and_the_rest() -> None:
    crm = STRIPE._replace(crm=frozenset({"crm"}))
    turned = STRIPE._replace(crm=frozenset({"bill"}))

    assert ("Name of crm:1", 50, "stage of crm:1") == from_two(crm)
    assert ("Name of bill:1", 7, "stage of bill:1") == from_two(turned)


def test_who_is_listed_first_tells_the_trait() -> None:
    crm = STRIPE._replace(crm=frozenset({"crm"}))
    listed = {"name": ["bill"], "mrr": ["crm", "bill"], "stage": ["bill", "crm"]}

    assert ("Name of bill:1", 7, "stage of bill:1") == from_two(
        crm._replace(owners=listed)
    )


def test_the_policy_says_which_statuses_count_and_what_none_is() -> None:
    wide = STRIPE._replace(statuses=frozenset({"active", "trialing"}), empty="zero")
    trial = paying("1", "5000", "usd", "trialing")

    assert 50 == mrr(wide, trial)
    assert mrr(STRIPE, trial) is None
    assert 0 == mrr(wide, paying("1", "5000", "usd", "past_due"))


def test_a_document_says_when_a_discount_changes_it_without_an_event() -> None:
    active = STRIPE._replace(discounts="active")
    half = {"percent": "50", "duration": "repeating"}
    facts = [
        paying("1", "5000", "usd", discounts=[{**half, "ends": 3000}]),
        paying("2", "5000", "usd", discounts=[{**half, "ends": 9000}]),
    ]
    account = account_of({"x:1": History(facts)})

    until = [document(account, active, now).until for now in (0, 3000, 9000)]

    assert [3000, 9000, None] == until
    assert [50, 75, 100] == [mrr(active, *facts, now=at) for at in (0, 3000, 9000)]
    assert document(account, STRIPE, 0).until is None


def test_a_document_says_when_a_merge_is_waited_for_no_longer() -> None:
    gone = told("x:1", "customer", {"deleted": True, "into": "x:2"})
    final = gone._replace(stamp=Stamp(True, 1000, 0))
    facts = {"x:1": fold(History([final, paying("1", "5000", "usd")]))}
    account = unite("acme", [Party(name, own) for name, own in facts.items()], 2000)

    assert 601_000 == document(account, STRIPE, 2000).until


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
    ("ledger", "traits"),
    [
        ({}, {"mrr": 50, "churnedAt": None}),
        ({"mrr": 50}, {"churnedAt": None}),
        ({"mrr": 50, "churnedAt": None}, {}),
        ({"mrr": 50.0, "churnedAt": None}, {}),
        ({"mrr": 0, "churnedAt": None}, {"mrr": 50}),
        ({"mrr": None, "churnedAt": "x"}, {"mrr": 50, "churnedAt": None}),
        ({"mrr": 50, "churnedAt": None, "planName": "Pro"}, {}),
    ],
)
def test_a_change_carries_what_differs_and_null_differs_from_nothing(
    ledger, traits
) -> None:
    assert Change(None, traits) == difference(DOC, Ledger(None, ledger))


@pytest.mark.parametrize(
    ("ours", "expected"),
    [
        (None, None),
        (Name(2, "Acme"), None),
        (Name(1, "Acme"), None),
        (Name(2, "Old"), "Acme"),
        (Name(1, "pay@example.com"), "Acme"),
        (Name(0, "acme"), "Acme"),
        (Name(3, "Better"), None),
    ],
)
def test_a_name_replaces_only_one_that_we_wrote_and_that_is_no_better(
    ours, expected
) -> None:
    assert expected == difference(DOC, Ledger(ours, {})).name


def test_no_difference_is_no_change() -> None:
    ledger = settled(DOC, Ledger(), named=DOC.name)

    assert difference(DOC, ledger).is_empty
    assert not Change("Acme", {}).is_empty
    assert not Change(None, {"mrr": None}).is_empty


def test_a_whole_write_carries_everything_but_a_name_that_is_not_ours() -> None:
    assert Change(None, DOC.traits) == whole(DOC, Ledger(None, DOC.traits))
    assert Change("Acme", DOC.traits) == whole(DOC, Ledger(Name(1, "a"), {}))
    assert Change("Acme", DOC.traits) == whole(DOC, Ledger(Name(2, "Acme"), {}))
    assert Change("Better", DOC.traits) == whole(DOC, Ledger(Name(3, "Better"), {}))


def test_a_trait_that_became_unknown_stays_in_the_ledger() -> None:
    ledger = settled(DOC, Ledger(None, {"planName": "Pro", "mrr": 1}), named=None)

    assert Ledger(None, {"planName": "Pro", "mrr": 50, "churnedAt": None}) == ledger


def test_what_we_wrote_goes_when_the_last_party_leaves() -> None:
    ledger = Ledger(Name(2, "Acme"), {"mrr": 50, "churnedAt": None})

    doc = removal(ledger)

    assert {"mrr": None, "churnedAt": None} == doc.traits
    assert Change(None, {"mrr": None}) == difference(doc, ledger)
    assert Name(2, "Acme") == doc.name
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

    doc = keyed(told, KEYS, Ledger(None, ledger), sent)

    assert dict.fromkeys(gone) == doc.traits
    assert frozenset(gone) == doc.gone


def test_what_is_gone_is_written_once_and_is_not_ours_afterwards() -> None:
    before = Ledger(None, {"billing.mrr": 50, "stage": "lead"})
    told = Document(Name(2, "Acme"), {"stage": "won"}, {})

    doc = keyed(told, KEYS, before)
    after = settled(doc, before, named=None)

    change = {"stage": "won", "billing.mrr": None}
    assert Change(None, change) == difference(doc, before)
    assert Ledger(None, {"stage": "won"}) == after
    assert difference(keyed(told, KEYS, after), after).is_empty
    unsure = keyed(told, KEYS, after, sent=["billing.mrr"])
    assert Change(None, {"billing.mrr": None}) == difference(unsure, after)
    assert Change(None, change) == whole(unsure, after)


@pytest.mark.parametrize("live", ["bill:1", "other:1"])
def test_of_two_that_know_subscriptions_the_live_one_tells_the_currency(live) -> None:
    """The other one has nothing to say of it, which is no removal."""
    facts = [
        paying(party, "5000", "usd" if party == live else "eur")._replace(party=party)
        for party in ("bill:1", "other:1")
    ]
    ended = [
        f if f.party == live else f._replace(value={**f.value, "status": "canceled"})
        for f in facts
    ]
    histories = {party: History(own) for party, own in by_party(ended).items()}
    dead = {party: history for party, history in histories.items() if party != live}

    assert "USD" == document(account_of(histories)).traits["billingCurrency"]
    assert frozenset({"billingCurrency"}) == document(account_of(dead)).stays


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
        Ledger(Name(1, "a"), {"mrr": 5.12, "churnedAt": None}),
        Ledger(None, {"mrr": 0}),
    ],
)
def test_a_ledger_comes_back_from_json(ledger) -> None:
    assert ledger == from_json(as_json(ledger))


def test_an_empty_ledger_is_read_from_nothing() -> None:
    assert Ledger() == from_json({})
