"""Whose account a party is: two on one account, moves, links, conflicts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bridge.config import Config
from bridge.domain.facts import Fact
from bridge.store import keys
from tests.support.desk import Bench, customer, link, subscription

UNNAMED = "neither the customer nor a subscription names an account"


def settle(desk: Bench) -> None:
    """Work until nothing is left to do, however long it takes."""
    desk.work()
    for _ in range(10):
        desk.passes(6000)
        if not desk.work() and not desk.dirty():
            return
    raise AssertionError(f"still not in Vitally: {desk.dirty()}")


def test_two_parties_of_one_account_add_up(desk: Bench) -> None:
    desk.tell(customer(), subscription(unit=100))
    desk.tell(customer("cus_2"), subscription("cus_2", "sub_2", unit=200))
    settle(desk)

    assert 3 == desk.traits()["mrr"]
    assert ["acme"] == [one["externalId"] for one in desk.vitally.accounts()]


def test_two_parties_of_one_account_settle_together(desk: Bench) -> None:
    desk.tell(customer(), customer("cus_2"))
    settle(desk)
    desk.tell(subscription(unit=100), subscription("cus_2", "sub_2", unit=200))

    assert ["updated", "unchanged"] == desk.work()

    assert {"traits"} == set(desk.bodies()[-1])
    assert 3 == desk.bodies()[-1]["traits"]["mrr"]


def test_a_customer_that_moves_leaves_nothing_of_ours_behind(desk: Bench) -> None:
    desk.exists("acme", "By hand", owner="somebody", mrr=7)
    desk.tell(customer(), subscription(unit=100))
    settle(desk)
    desk.tell(customer(at=5, kind="updated", account="other"))
    settle(desk)

    assert {"owner": "somebody"} == desk.traits("acme")
    assert 1 == desk.traits("other")["mrr"]
    assert [] == desk.look.members_of("acme")
    (*_, last) = (w for w in desk.vitally.writes() if w["path"].endswith("/acme"))
    nulls = last["body"]["traits"]
    assert {None} == set(nulls.values())
    assert "mrr" in nulls
    assert "owner" not in nulls


def test_a_customer_that_moves_and_comes_back_is_right_in_both(desk: Bench) -> None:
    desk.tell(customer(), subscription(unit=100))
    settle(desk)
    desk.tell(customer(at=5, kind="updated", account="other"))
    settle(desk)
    desk.tell(customer(at=6, kind="updated", account="acme"))
    settle(desk)

    assert 1 == desk.traits("acme")["mrr"]
    assert {} == desk.traits("other")


def test_a_customer_that_moves_away_and_back_at_once_is_right_in_both(
    desk: Bench,
) -> None:
    desk.tell(customer(), subscription(unit=100))
    settle(desk)
    desk.tell(customer(at=5, kind="updated", account="other"))
    first = desk.pop()
    assert first is not None
    desk.jobs.run(first.args[0])
    desk.tell(customer(at=6, kind="updated", account="acme"))
    settle(desk)

    assert 1 == desk.traits("acme")["mrr"]
    assert {} == desk.traits("other")


def test_one_of_two_that_moves_leaves_the_rest_of_the_account(desk: Bench) -> None:
    desk.tell(customer(), subscription(unit=100))
    desk.tell(customer("cus_2"), subscription("cus_2", "sub_2", unit=200))
    settle(desk)
    desk.tell(customer("cus_2", at=5, kind="updated", account="other"))
    settle(desk)

    assert 1 == desk.traits("acme")["mrr"]
    assert 2 == desk.traits("other")["mrr"]


def test_a_link_of_the_operator_moves_all_and_its_removal_moves_back(
    desk: Bench,
) -> None:
    desk.tell(customer(), subscription(unit=100))
    settle(desk)
    desk.tell(link("cus_1", "chosen", at=100))
    settle(desk)
    assert (1, {}) == (desk.traits("chosen")["mrr"], desk.traits("acme"))

    desk.tell(link("cus_1", None, at=200))
    settle(desk)

    assert (1, {}) == (desk.traits("acme")["mrr"], desk.traits("chosen"))


def test_a_party_without_an_account_is_held_until_it_is_linked(desk: Bench) -> None:
    desk.tell(customer(account=None), subscription(unit=100))
    assert ["held"] == desk.work()
    assert (2, UNNAMED) == (desk.standing().held, desk.standing().why)
    assert [] == desk.writes()
    assert set() == desk.dirty()

    desk.tell(link("cus_1", "acme", at=100))
    settle(desk)

    assert 1 == desk.traits()["mrr"]
    assert (3, 0) == (desk.standing().settled, desk.standing().held)
    assert 0 == desk.redis.zcard(keys.HELD)


def test_a_buyer_cannot_put_his_money_onto_the_account_of_another(
    desk: Bench,
) -> None:
    claim = _claim("cus_2", "acme")
    desk.tell(claim, customer(), subscription(unit=5000))
    desk.tell(customer("cus_2", account=None))
    desk.tell(subscription("cus_2", "sub_2", unit=99900))
    settle(desk)

    assert 50 == desk.traits()["mrr"]
    assert f"{UNNAMED}; its buyer" in desk.standing("cus_2").why
    assert "claims acme: link it" in desk.standing("cus_2").why


def _claim(name: str, account: str) -> Fact:
    named = customer(name)
    return named._replace(thing="checkout:cs_1", value={"claims": account})


def test_a_party_that_loses_its_account_becomes_held(desk: Bench) -> None:
    desk.tell(customer(), subscription(unit=100))
    settle(desk)
    desk.tell(customer(at=5, kind="updated", account=None))
    settle(desk)

    assert (2, 1) == (desk.standing().settled, desk.standing().held)
    assert UNNAMED == desk.standing().why
    assert {} == desk.traits("acme")


def test_subscriptions_that_disagree_are_held_with_the_reason(desk: Bench) -> None:
    desk.tell(customer(account=None))
    desk.tell(subscription(sub="sub_1", account="one"))
    desk.tell(subscription(sub="sub_2", account="two"))

    assert ["held"] == desk.work()

    reason = "its subscriptions name different accounts: one, two"
    assert reason == desk.standing().why
    assert (3, 0) == (desk.standing().held, desk.standing().settled)


def test_the_customers_own_word_beats_its_subscriptions(desk: Bench) -> None:
    desk.tell(customer(account="mine"))
    desk.tell(subscription(sub="sub_1", account="one"))
    desk.tell(subscription(sub="sub_2", account="two"))
    settle(desk)

    assert ["mine"] == [one["externalId"] for one in desk.vitally.accounts()]


@pytest.mark.parametrize("account", [".", "..", "a\nb"])
def test_an_account_that_no_url_can_name_is_held(desk: Bench, account: str) -> None:
    desk.tell(customer(account=account))

    assert ["held"] == desk.work()
    assert "cannot be an account's id" in desk.standing().why


def test_a_party_about_to_move_is_not_settled_by_the_account_it_leaves(
    desk: Bench,
) -> None:
    """Were its own job lost now, nothing else would remember the move."""
    desk.tell(customer(), subscription(unit=100))
    desk.tell(customer("cus_2"), subscription("cus_2", "sub_2", unit=200))
    settle(desk)
    desk.tell(customer("cus_2", at=5, kind="updated", account="other"))
    lost = desk.pop()
    assert lost is not None
    desk.tell(subscription(unit=1000, at=5))
    desk.work()

    assert "cus_2" in desk.dirty()
    assert 1 == desk.standing("cus_2").pending
    desk.sweep()
    settle(desk)
    assert 10 == desk.traits("acme")["mrr"]
    assert 2 == desk.traits("other")["mrr"]


def test_a_party_about_to_be_held_is_not_settled_by_the_account_it_leaves(
    desk: Bench,
) -> None:
    desk.tell(customer(), customer("cus_2"))
    settle(desk)
    desk.tell(customer("cus_2", at=5, kind="updated", account=None))
    assert desk.pop() is not None
    desk.tell(subscription(at=5))
    desk.work()

    assert [] == desk.look.listed(keys.HELD)
    assert 1 == desk.standing("cus_2").pending


def test_what_an_unconfirmed_write_left_behind_goes_too(desk: Bench) -> None:
    """The first write arrived, its answer did not, and the party moved on."""
    desk.exists("acme", "By hand")
    desk.fault("reset_after_commit", "PUT")
    desk.tell(customer(), subscription(unit=100))
    assert ["retried"] == desk.work()
    assert 1 == desk.traits("acme")["mrr"]
    desk.tell(customer(at=5, kind="updated", account="other"))
    settle(desk)

    assert 1 == desk.traits("other")["mrr"]
    assert {} == desk.traits("acme")


# --- The last one that tells a trait leaves -----------------------------------

COMPANY = "hubspot:7"


def company(at: int = 0, **traits: object) -> list[Fact]:
    """A company of a CRM on the same account; it knows nothing of money."""
    told = customer(at=at)._replace(party=COMPANY)
    said = [
        told._replace(thing=f"trait:{trait}", value={"is": value}, event=f"{at}{trait}")
        for trait, value in traits.items()
    ]
    return [told, *said]


def with_stage(desk: Bench) -> None:
    config = Config()
    desk.set(config=replace(config, traits={**config.traits, "stage": "crm.stage"}))


def test_the_last_one_that_pays_takes_the_money_along(desk: Bench) -> None:
    with_stage(desk)
    desk.tell(customer(), subscription(unit=100), *company(stage="won"))
    settle(desk)
    assert (1, "won") == (desk.traits()["mrr"], desk.traits()["crm.stage"])
    desk.tell(customer(at=5, kind="updated", account="other"))
    settle(desk)

    assert {"crm.stage": "won"} == desk.traits("acme")
    assert 1 == desk.traits("other")["mrr"]

    written = len(desk.writes())
    desk.tell(*company(6, stage="won"))
    settle(desk)
    assert written == len(desk.writes())


def test_the_money_is_back_with_who_pays(desk: Bench) -> None:
    desk.tell(customer(), subscription(unit=100), *company())
    settle(desk)
    for at, account in ((5, "other"), (6, "acme")):
        desk.tell(customer(at=at, kind="updated", account=account))
        settle(desk)

    assert 1 == desk.traits("acme")["mrr"]
    assert {} == desk.traits("other")


def test_a_company_that_leaves_takes_what_it_alone_told(desk: Bench) -> None:
    with_stage(desk)
    desk.tell(customer(), subscription(unit=100), *company(stage="won"))
    settle(desk)
    gone = customer(at=5, kind="updated", account="other")._replace(party=COMPANY)
    desk.tell(gone)
    settle(desk)

    assert "crm.stage" not in desk.traits("acme")
    assert 1 == desk.traits("acme")["mrr"]
    assert {"crm.stage": "won"} == desk.traits("other")


def test_one_that_ends_there_does_not_take_along_what_is_left_out(desk: Bench) -> None:
    """`billingCurrency` stays with an account that has nothing live any more."""
    desk.tell(customer(), subscription(unit=100))
    settle(desk)
    desk.tell(subscription(at=5, status="canceled", kind="deleted"))
    settle(desk)

    assert "USD" == desk.traits()["billingCurrency"]
    assert "mrr" not in desk.traits()


def test_what_others_write_into_a_trait_that_we_gave_up_stays(desk: Bench) -> None:
    desk.tell(customer(), subscription(unit=100), *company())
    settle(desk)
    desk.tell(customer(at=5, kind="updated", account="other"))
    settle(desk)
    desk.client.update("acme", {"traits": {"mrr": 7}})
    desk.fault("reset_after_commit", "PUT")
    renamed = customer(at=9, kind="updated", called="New")._replace(party=COMPANY)
    desk.tell(renamed)
    settle(desk)

    assert 7 == desk.traits()["mrr"]


def test_what_an_unconfirmed_write_left_to_those_who_stay_goes_too(
    desk: Bench,
) -> None:
    desk.tell(*company())
    settle(desk)
    desk.fault("reset_after_commit", "PUT")
    desk.tell(customer(), subscription(unit=100))
    desk.work()
    assert 1 == desk.traits()["mrr"]
    desk.tell(customer(at=5, kind="updated", account="other"))
    settle(desk)

    assert {} == desk.traits("acme")
    assert 1 == desk.traits("other")["mrr"]


def test_a_vacated_account_that_vitally_lost_is_left_alone(desk: Bench) -> None:
    desk.tell(customer(), subscription(unit=100))
    settle(desk)
    desk.client.delete("acme")
    desk.tell(customer(at=5, kind="updated", account="other"))
    settle(desk)

    assert ["other"] == [one["externalId"] for one in desk.vitally.accounts()]


def test_the_removal_of_an_account_left_survives_faults(desk: Bench) -> None:
    desk.tell(customer(), subscription(unit=100))
    settle(desk)
    desk.vitally.break_with(
        [{"kind": "status", "match": {"path": "*/acme"}, "status": 503, "times": 2}]
    )
    desk.tell(customer(at=5, kind="updated", account="other"))
    settle(desk)

    assert {} == desk.traits("acme")
    assert 1 == desk.traits("other")["mrr"]


def test_the_odd_names_of_accounts_survive_a_move(desk: Bench) -> None:
    odd, long = "a b/ü%", "x" * 200
    desk.tell(customer(account=odd), subscription(unit=100))
    settle(desk)
    desk.tell(customer(at=5, kind="updated", account=long))
    settle(desk)

    assert ({}, 1) == (desk.traits(odd), desk.traits(long)["mrr"])
