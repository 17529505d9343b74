"""Whose account a party is: two on one account, moves, links, conflicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from bridge.config import Config
from bridge.domain.facts import Fact
from bridge.store import keys
from tests.support.desk import Bench, customer, link, subscription

UNNAMED = "neither the customer nor a subscription names an account"
COMPANY = "hubspot:7"

Rounds = Sequence[Sequence[Fact]]
"""Facts that come together, one such batch after another has settled."""


def moves(account: str | None, name: str = "cus_1", at: int = 5) -> Fact:
    """Customer *name* names another account from now on."""
    return customer(name, at=at, kind="updated", account=account)


def company(at: int = 0, **traits: object) -> list[Fact]:
    """A company of a CRM on the same account; it knows nothing of money."""
    fact = customer(at=at)._replace(party=COMPANY)
    return [
        fact,
        *(
            fact._replace(thing=f"trait:{name}", value={"is": it}, event=f"{at}{name}")
            for name, it in traits.items()
        ),
    ]


ONE = [customer(), subscription(unit=100)]
TWO = [customer("cus_2"), subscription("cus_2", "sub_2", unit=200)]
NAMELESS = customer(account=None)
ODD, LONG = "a b/ü%", "x" * 200

LIVES: dict[str, tuple[Rounds, dict[str, float | None]]] = {
    "two parties of one account add up": ([[*ONE, *TWO]], {"acme": 3}),
    "who moves leaves nothing": (
        [ONE, [moves("other")]],
        {"acme": None, "other": 1},
    ),
    "who moves and comes back is right in both": (
        [ONE, [moves("other")], [moves("acme", at=6)]],
        {"acme": 1, "other": None},
    ),
    "one of two that moves leaves the rest": (
        [[*ONE, *TWO], [moves("other", "cus_2")]],
        {"acme": 1, "other": 2},
    ),
    "a link moves all": (
        [ONE, [link("cus_1", "chosen", at=100)]],
        {"acme": None, "chosen": 1},
    ),
    "the removal of a link moves all back": (
        [ONE, [link("cus_1", "chosen", at=100)], [link("cus_1", None, at=200)]],
        {"acme": 1, "chosen": None},
    ),
    "the customer's own word beats its subscriptions": (
        [
            [
                customer(account="mine"),
                subscription(sub="sub_1", account="one", unit=100),
                subscription(sub="sub_2", account="two", unit=100),
            ]
        ],
        {"mine": 2},
    ),
    "the money is back with who pays": (
        [[*ONE, *company()], [moves("other")], [moves("acme", at=6)]],
        {"acme": 1, "other": None},
    ),
    "odd names survive a move": (
        [[customer(account=ODD), ONE[1]], [moves(LONG)]],
        {ODD: None, LONG: 1},
    ),
}


@pytest.mark.parametrize(("rounds", "mrr"), LIVES.values(), ids=LIVES)
def test_the_money_is_where_its_party_is(
    desk: Bench, rounds: Rounds, mrr: Mapping[str, float | None]
) -> None:
    for facts in rounds:
        desk.settles(*facts)

    assert set(mrr) == {one["externalId"] for one in desk.vitally.accounts()}
    assert mrr == {account: desk.traits(account).get("mrr") for account in mrr}
    assert [{}] * list(mrr.values()).count(None) == [
        desk.traits(account) for account, number in mrr.items() if number is None
    ]


def test_two_parties_of_one_account_settle_together(desk: Bench) -> None:
    desk.settles(customer(), customer("cus_2"))

    assert ["updated", "unchanged"] == desk.does(ONE[1], TWO[1])
    assert {"traits"} == set(desk.bodies()[-1])
    assert 3 == desk.bodies()[-1]["traits"]["mrr"]


def test_an_account_says_who_has_left_it(desk: Bench) -> None:
    desk.settles(*ONE, *TWO)
    desk.settles(moves("other"))
    desk.settles(subscription("cus_2", sub="sub_2", unit=900, at=9))
    last, left, *_ = desk.look.histories(["acme"])["acme"]

    assert ("stripe:cus_1 has left it", {"mrr": 3}) == (left["cause"], left["had"])
    assert "cause" not in last


def test_a_customer_that_moves_leaves_what_others_wrote(desk: Bench) -> None:
    desk.exists("acme", "By hand", owner="somebody", mrr=7)
    desk.settles(*ONE)
    desk.settles(moves("other"))

    assert {"owner": "somebody"} == desk.traits("acme")
    assert 1 == desk.traits("other")["mrr"]
    assert [] == desk.look.members_of("acme")
    (*_, last) = (w for w in desk.vitally.writes() if w["path"].endswith("/acme"))
    nulls = last["body"]["traits"]
    assert {None} == set(nulls.values())
    assert ("mrr" in nulls, "owner" in nulls) == (True, False)


def test_a_customer_that_moves_away_and_back_at_once_is_right_in_both(
    desk: Bench,
) -> None:
    desk.settles(*ONE)
    desk.tell(moves("other"))
    desk.next()
    desk.settles(moves("acme", at=6))

    assert (1, {}) == (desk.traits("acme")["mrr"], desk.traits("other"))


# --- Without an account ---------------------------------------------------------------


def test_a_party_without_an_account_is_held_until_it_is_linked(desk: Bench) -> None:
    assert ["held"] == desk.does(NAMELESS, ONE[1])
    assert (2, UNNAMED) == (desk.standing().held, desk.standing().why)
    assert ([], set()) == (desk.writes(), desk.dirty())

    desk.settles(link("cus_1", "acme", at=100))
    assert 1 == desk.traits()["mrr"]
    assert (3, 0) == (desk.standing().settled, desk.standing().held)
    assert 0 == desk.redis.zcard(keys.HELD)


def test_a_buyer_cannot_put_his_money_onto_the_account_of_another(
    desk: Bench,
) -> None:
    bought = customer("cus_2")._replace(thing="checkout:cs_1", value={"claims": "acme"})
    own = subscription("cus_2", "sub_2", unit=99900)
    desk.settles(bought, *ONE, customer("cus_2", account=None), own)

    assert 1 == desk.traits()["mrr"]
    assert f"{UNNAMED}; its buyer" in desk.standing("cus_2").why
    assert "claims acme: link it" in desk.standing("cus_2").why


def test_a_party_that_loses_its_account_becomes_held(desk: Bench) -> None:
    desk.settles(*ONE)
    desk.settles(moves(None))

    assert (2, 1) == (desk.standing().settled, desk.standing().held)
    assert (UNNAMED, {}) == (desk.standing().why, desk.traits("acme"))


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        (
            [
                NAMELESS,
                subscription(sub="sub_1", account="one"),
                subscription(sub="sub_2", account="two"),
            ],
            "its subscriptions name different accounts: one, two",
        ),
        ([customer(account=".")], "cannot be an account's id"),
        ([customer(account="..")], "cannot be an account's id"),
        ([customer(account="a\nb")], "cannot be an account's id"),
    ],
)
def test_what_names_no_one_account_is_held_with_the_reason(
    desk: Bench, facts: Sequence[Fact], why: str
) -> None:
    assert ["held"] == desk.does(*facts)

    assert why in desk.standing().why
    assert (len(facts), 0) == (desk.standing().held, desk.standing().settled)


@pytest.mark.parametrize("account", ["other", None])
def test_a_party_about_to_leave_is_not_settled_by_the_account_it_leaves(
    desk: Bench, account: str | None
) -> None:
    """Were its own job lost now, nothing else would remember the move."""
    desk.settles(*ONE, *TWO)
    desk.tell(moves(account, "cus_2"))
    desk.popped()
    desk.does(subscription(unit=1000, at=5))

    assert ({"cus_2"}, []) == (desk.dirty(), desk.look.listed(keys.HELD))
    assert 1 == desk.standing("cus_2").pending
    desk.sweep()
    desk.settles()
    assert 10 == desk.traits("acme")["mrr"]
    assert account is None or 2 == desk.traits(account)["mrr"]


# --- The last one that tells a trait leaves -------------------------------------------


@pytest.fixture
def staged(desk: Bench) -> Bench:
    """A desk that writes a trait of a CRM, too."""
    config = Config()
    desk.set(config=replace(config, traits={**config.traits, "stage": "crm.stage"}))
    desk.settles(*ONE, *company(stage="won"))
    assert (1, "won") == (desk.traits()["mrr"], desk.traits()["crm.stage"])
    return desk


def test_the_last_one_that_pays_takes_the_money_along(staged: Bench) -> None:
    staged.settles(moves("other"))

    assert {"crm.stage": "won"} == staged.traits("acme")
    assert 1 == staged.traits("other")["mrr"]
    written = len(staged.writes())
    staged.settles(*company(6, stage="won"))
    assert written == len(staged.writes())


def test_a_company_that_leaves_takes_what_it_alone_told(staged: Bench) -> None:
    staged.settles(moves("other")._replace(party=COMPANY))

    assert "crm.stage" not in staged.traits("acme")
    assert 1 == staged.traits("acme")["mrr"]
    assert {"crm.stage": "won"} == staged.traits("other")


def test_one_that_ends_there_does_not_take_along_what_is_left_out(desk: Bench) -> None:
    """`billingCurrency` stays with an account that has nothing live any more."""
    desk.settles(*ONE)
    desk.settles(subscription(at=5, status="canceled", kind="deleted"))

    assert "USD" == desk.traits()["billingCurrency"]
    assert "mrr" not in desk.traits()


def test_what_others_write_into_a_trait_that_we_gave_up_stays(desk: Bench) -> None:
    desk.settles(*ONE, *company())
    desk.settles(moves("other"))
    desk.client.update("acme", {"traits": {"mrr": 7}})
    desk.fault("reset_after_commit", "PUT")
    renamed = customer(at=9, kind="updated", called="New")
    desk.settles(renamed._replace(party=COMPANY))

    assert 7 == desk.traits()["mrr"]


# --- Faults on the way ----------------------------------------------------------------


@pytest.mark.parametrize("stays", [[], company()])
def test_what_an_unconfirmed_write_left_behind_goes_too(
    desk: Bench, stays: list[Fact]
) -> None:
    """The write arrived, its answer did not, and the party moved on."""
    desk.exists("acme", "By hand")
    desk.settles(*stays)
    desk.fault("reset_after_commit", "PUT")
    desk.does(*ONE)
    assert 1 == desk.traits("acme")["mrr"]
    desk.settles(moves("other"))

    assert (1, {}) == (desk.traits("other")["mrr"], desk.traits("acme"))


def test_a_vacated_account_that_vitally_lost_is_left_alone(desk: Bench) -> None:
    desk.settles(*ONE)
    desk.client.delete("acme")
    desk.settles(moves("other"))

    assert (0, 0) == (desk.check().held, desk.redis.zcard(keys.LATER))
    assert ["other"] == [one["externalId"] for one in desk.vitally.accounts()]


def test_the_removal_of_an_account_left_survives_faults(desk: Bench) -> None:
    desk.settles(*ONE)
    fault: dict[str, Any] = {"kind": "status", "status": 503, "times": 2}
    desk.vitally.break_with([fault | {"match": {"path": "*/acme"}}])
    desk.settles(moves("other"))

    assert ({}, 1) == (desk.traits("acme"), desk.traits("other")["mrr"])
