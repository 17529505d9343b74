"""An organization is what its accounts come to, whatever came first, and no more."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.desired import place
from bridge.domain.account import MEMBER_OF, Identity, Party, identify, unite
from bridge.domain.document import (
    Change,
    Document,
    Ledger,
    document,
    keyed,
    with_currencies,
)
from bridge.domain.explanation import causes, explained
from bridge.domain.facts import Fact, PartyKind, PartyName, Stamp, kind_of
from bridge.domain.fold import History, compact, fold
from bridge.domain.money import STRIPE, Policy
from bridge.domain.traits import instant
from tests.support.lives import by_party, law, stories
from tests.unit.test_outcomes import NOW, view

DAY = 86_400_000
HOLDING = "organization:holding"


def fact(party: str, thing: str, at: int = 0, **value: Any) -> Fact:
    stamp = Stamp(value.get("status") == "canceled", NOW + at, 2)
    return Fact(party, thing, stamp, f"evt_{thing}_{at}", "k", value, f"{at}{value}")


def customer(id_: str, at: int = 0, **value: Any) -> Fact:
    named = {"account": id_, "organization": "holding", "name": id_.title()}
    return fact(f"stripe:{id_}", "customer", at, **named | value)


def paid(id_: str, unit: int, currency: str = "usd", at: int = 0, **value: Any) -> Fact:
    item = {"unit": str(unit), "interval": "month", "ends": NOW + 30 * DAY}
    given = {"status": "active", "currency": currency, "items": [item]}
    party = id_ if ":" in id_ else f"stripe:{id_}"
    thing = f"subscription:sub_{id_}{value.pop('id', '')}"
    return fact(party, thing, at, **given | value)


def members(*facts: Fact) -> list[Party]:
    """The parties of an organization, as a job reads them."""
    found = []
    for name, own in by_party(facts).items():
        things = fold(History(own))
        account = identify(things).account or name
        found.append(Party(name, things, {}, account if account != HOLDING else ""))
    return found


def written(*facts: Fact, policy: Policy = STRIPE) -> Document:
    return document(unite(HOLDING, members(*facts), NOW), policy, NOW)


# --- Which organization ---------------------------------------------------------------


def identity(*facts: Fact) -> Identity:
    return identify(fold(History(facts)))


@pytest.mark.parametrize(
    ("named", "parent", "expected"),
    [
        ({}, {}, Identity("a")),
        ({"organization": "x"}, {}, Identity("a", "", "x")),
        # What a field names comes before the customer's own id.
        ({"organization": "a"}, {"organization": "x"}, Identity("a", "", "x")),
        ({"organization": "a"}, {"organization": ""}, Identity("a", "", "a")),
        ({"organization": "a", "head": True}, {}, Identity("organization:a")),
        (
            {"organization": "a", "head": True},
            {"organization": "x"},
            Identity("a", "", "x"),
        ),
        ({"organization": "..", "head": True}, {}, Identity("a")),
        ({"organization": "x\n"}, {}, Identity("a")),
    ],
)
def test_a_customer_is_an_account_an_organization_or_both(
    named: dict[str, Any], parent: dict[str, Any], expected: Identity
) -> None:
    facts = [fact("x:a", "customer", account="a", **named)]
    facts += [fact("x:a", "organization", **parent)] if parent else []

    assert expected == identity(*facts)


def test_a_head_that_a_person_links_to_an_account_is_linked_in_vitally_too() -> None:
    facts = [
        fact("x:a", "customer", account="a", organization="a", head=True),
        fact("x:a", "link", account="b"),
    ]
    things = fold(History(facts))
    doc = document(unite("b", [Party("x:a", things)]))

    assert Identity("b", "", "a") == identify(things)
    assert "a" == doc.traits[MEMBER_OF]


def test_no_organization_is_none_whatever_another_one_is_called() -> None:
    shown = view("a")._replace(organizations={"None": "id"})
    change = Change(None, {MEMBER_OF: None})

    assert {} == place(shown, change, creates=False)
    assert {MEMBER_OF: "None"} == place(
        shown, Change(None, {MEMBER_OF: "None"}), creates=False
    )


def test_events_of_one_instant_that_name_two_organizations_name_none() -> None:
    first = fact("x:a", "customer", account="a", organization="x")
    other = first._replace(event="evt_0", value=first.value | {"organization": "y"})

    assert Identity("a") == identity(first, other._replace(after="b"))


def test_no_account_may_look_like_an_organization() -> None:
    account, reason, _ = identity(fact("x:a", "customer", account="organization:x"))

    assert account is None
    assert "organization:x is how organizations are named" in reason


def test_the_party_of_an_organization_is_of_a_kind_of_its_own() -> None:
    assert PartyKind.ORGANIZATION == kind_of(HOLDING)
    assert ("", "a:b") == PartyName.parse("organization:a:b")[1:]


# --- What it holds --------------------------------------------------------------------

CASES: dict[str, tuple[list[Fact], dict[str, Any]]] = {
    "one currency is one sum, rounded once": (
        [paid("a", 1000, items=[{"unit": "1000.5", "interval": "month"}]),
         paid("b", 1000, items=[{"unit": "1000.5", "interval": "month"}]),
         paid("c", 0, status="canceled")],
        {"mrr": 20.01, "billingCurrency": "USD", "subscriptionStatus": "active"},
    ),
    "two currencies stay apart": (
        [paid("a", 1000), paid("b", 2000), paid("c", 500, "eur")],
        {"mrrUSD": 30, "mrrEUR": 5, "subscriptionStatus": "active"},
    ),
    "what is free has no currency": (
        [paid("a", 1000), paid("b", 0, "eur"), paid("c", 0, "jpy")],
        {"mrr": 10, "billingCurrency": "USD", "subscriptionStatus": "active"},
    ),
    "of two currencies one may not be known": (
        [paid("a", 1000), paid("b", 0, "eur", items=[{"interval": "month"}]),
         paid("c", 500)],
        {"subscriptionStatus": "active"},
    ),
    "an account of two currencies is known in each": (
        [paid("a", 1000), paid("a", 200, "eur", id="2"), paid("b", 500)],
        {"mrrUSD": 15, "mrrEUR": 2, "subscriptionStatus": "active"},
    ),
    "what is told as a whole may be of any currency": (
        [fact("stripe:a", "trait:mrr", **{"is": 7}), paid("b", 500),
         paid("c", 500, "eur")],
        {"subscriptionStatus": "active"},
    ),
    "it is churned when all are": (
        [paid(id_, 5, status="canceled", ended_at=NOW + n * DAY)
         for n, id_ in enumerate("abc")],
        {"mrr": None, "churnedAt": instant(NOW + 2 * DAY),
         "subscriptionStatus": "churned"},
    ),
    "one that lives keeps it": (
        [paid("a", 5, status="canceled", ended_at=NOW), paid("b", 700, "eur")],
        {"mrr": 7, "churnedAt": None, "billingCurrency": "EUR",
         "subscriptionStatus": "active"},
    ),
}  # fmt: skip

SHOWN = {"mrr", "mrrUSD", "mrrEUR", "billingCurrency", "subscriptionStatus"}


@pytest.mark.parametrize("case", CASES)
def test_three_accounts_come_to_one_organization(case: str) -> None:
    facts, expected = CASES[case]
    traits = written(*map(customer, "abc"), *facts).traits
    wanted = SHOWN | expected.keys()

    assert expected == {n: v for n, v in traits.items() if n in wanted}
    assert traits == written(*reversed(facts), *map(customer, "cba")).traits


def test_rates_make_one_sum_of_two_currencies() -> None:
    policy = Policy(base="usd", rates={"eur": Fraction(11, 10)})
    traits = written(*map(customer, "ab"), paid("a", 1000), paid("b", 1000, "eur"),
                     policy=policy).traits  # fmt: skip

    assert 21 == traits["mrr"]
    assert not {"mrrUSD", "mrrEUR"} & traits.keys()


@law(40)
@given(st.lists(stories(), min_size=3, max_size=3), st.randoms())
def test_neither_order_nor_compaction_nor_the_way_of_grouping_matters(
    lives: list[Any], random: Any
) -> None:
    facts = [
        one._replace(party=f"{one.party}-{n}", thing=f"{one.thing}-{n}"
                     if one.thing.startswith("sub") else one.thing)
        for n, story in enumerate(lives)
        for one in story.facts
    ]  # fmt: skip
    names = sorted({one.party for one in facts})
    parties = [
        Party(
            name, fold(History([one for one in facts if one.party == name])), {}, name
        )
        for name in names
    ]
    expected = document(unite(HOLDING, parties, NOW), STRIPE, NOW)
    shuffled = random.sample(facts, len(facts))
    again = [
        Party(name, fold(compact(History([f for f in shuffled if f.party == name]))),
              {}, name)
        for name in random.sample(names, len(names))
    ]  # fmt: skip

    assert expected == document(unite(HOLDING, again, NOW), STRIPE, NOW)


def test_the_sum_is_that_of_the_accounts_whatever_their_sources() -> None:
    """Each account counts as its own source sees it; a CRM's deal does not add to it."""
    deal = paid("crm:1", 99_900)
    facts = [
        customer("a"),
        paid("a", 1000),
        fact("crm:1", "customer", account="a", organization="holding"),
        deal,
        fact("chargebee:b", "customer", account="b", organization="holding"),
        paid("chargebee:b", 2000),
    ]
    policy = Policy(crm=frozenset({"crm"}))
    accounts = [
        document(unite("a", [p for p in members(*facts) if p.account == name]), policy)
        for name in "ab"
    ]

    assert [10, 20] == [one.traits["mrr"] for one in accounts]
    assert 30 == written(*facts, policy=policy).traits["mrr"]


def test_an_mrr_that_a_source_sets_as_a_whole_is_in_no_sum() -> None:
    told = fact("stripe:a", "trait:mrr", **{"is": 7})
    doc = written(customer("a"), told, customer("b"), paid("b", 1000))

    assert "mrr" not in doc.traits
    assert "a: its source sets it" in doc.unknown["mrr"]


def test_its_name_and_other_traits_are_those_of_its_head_alone() -> None:
    of = {"organization": "holding"}
    head = [
        fact("hubspot:holding", "customer", account="holding", name="The Group", **of),
        fact("hubspot:holding", "trait:stage", **{"is": "won"}),
    ]
    child = [customer("a"), fact("stripe:a", "trait:stage", **{"is": "lost"})]

    assert ("The Group", "won") == (
        written(*head, *child).name.text,
        written(*head, *child).traits["stage"],
    )
    assert ("holding", None) == (
        written(*child).name.text,
        written(*child).traits.get("stage"),
    )


def test_who_is_an_organization_alone_is_no_account_in_it() -> None:
    head = customer("holding", head=True)
    doc = written(head, paid("holding", 100), customer("a"), paid("a", 1000))

    assert HOLDING == identify(fold(History([head]))).account
    assert ("Holding", 11) == (doc.name.text, doc.traits["mrr"])


def test_time_alone_changes_it() -> None:
    item = {"unit": "500", "interval": "month", "until": NOW + 9 * DAY}
    facts = [customer("a"), paid("a", 500), customer("b"), paid("b", 0, items=[item])]
    doc = written(*facts)
    later = document(unite(HOLDING, members(*facts), NOW), STRIPE, NOW + 9 * DAY)

    assert (NOW + 9 * DAY, 10) == (doc.until, doc.traits["mrr"])
    assert (None, 5) == (later.until, later.traits["mrr"])


# --- What is written, and why ---------------------------------------------------------

KEYS = {"mrr": "billing.mrr", "planName": None}


def test_a_currency_that_nobody_pays_any_more_is_removed() -> None:
    doc = written(customer("a"), paid("a", 1000), customer("b"), paid("b", 500, "eur"))
    ours = {"billing.mrrEUR": 5, "billing.mrrGBP": 3, "billing.mrrs": 1}
    keys = with_currencies(KEYS, HOLDING, doc, ours)
    shall = keyed(doc, keys, Ledger(traits=ours))

    assert {"billing.mrrEUR": 5, "billing.mrrUSD": 10, "billing.mrrGBP": None} == (
        shall.traits
    )
    assert KEYS == with_currencies(KEYS, "acme", doc, ours)
    assert {"mrr": None} == with_currencies({"mrr": None}, HOLDING, doc, ours)


def test_each_currency_is_explained() -> None:
    account = unite(
        HOLDING,
        members(customer("a"), paid("a", 1000), customer("b"), paid("b", 500, "eur")),
        NOW,
    )
    because = causes(account, STRIPE, NOW)
    told = explained(account, Ledger(), (), KEYS, STRIPE, NOW)

    assert ["sub_b"] == [one["subscription"] for one in because["mrrEUR"]]
    assert 5 == told["traits"]["mrrEUR"]["wanted"]
    assert "several currencies" in told["unknown"]["mrr"]


def test_only_parties_that_stand_in_leave_it_vacant() -> None:
    pseudo = view(HOLDING)

    assert pseudo.is_vacant
    assert not pseudo._replace(children=view("stripe:a").members).is_vacant
