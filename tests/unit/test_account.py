"""Whose account a party is, and what an account is that several parties make up."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations
from typing import Any

import pytest

from bridge.domain.account import (
    Account,
    Identity,
    Name,
    Party,
    churned_at,
    identify,
    is_incomplete,
    status,
    unite,
)
from bridge.domain.facts import Fact, Stamp
from bridge.domain.fold import History, State, fold

NOW = 1_700_000_000_000
DAY = 86_400_000

CREATED, UPDATED, DELETED = 0, 2, 4


def snapshot(
    thing: str, value: dict[str, Any], n: int = 0, rank: int = UPDATED
) -> Fact:
    """What was told of *thing* on day *n*."""
    final = value.get("status") == "canceled" or bool(value.get("deleted"))
    stamp = Stamp(final, NOW + n * DAY, rank)
    return Fact("x", thing, stamp, f"evt_{thing}_{n}", "k", value, f"{thing}{n}")


def things(*facts: Fact) -> dict[str, State]:
    return fold(History(list(facts)))


def customer(rank: int = CREATED, n: int = 0, **value: Any) -> Fact:
    return snapshot("customer", value, n, rank)


def sub(id_: str, n: int = 1, **value: Any) -> Fact:
    return snapshot(f"subscription:{id_}", {"status": "active", **value}, n)


def account(*parties: Iterable[Fact]) -> Account:
    """One account; its parties are called x:1, x:2 and so on."""
    members = [Party(f"x:{n}", things(*own)) for n, own in enumerate(parties, 1)]
    return unite("acme", members)


# --- Identity -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ([customer(account="acme")], "acme"),
        ([sub("1", account="acme")], "acme"),
        ([customer(account="acme"), sub("1", account="other")], "acme"),
        ([customer(), sub("1", account="acme"), sub("2", account="acme")], "acme"),
        ([customer(), sub("1", account="acme"), sub("2")], "acme"),
        ([snapshot("link", {"account": "mine"}), customer(account="acme")], "mine"),
        ([snapshot("link", {}), customer(account="acme")], "acme"),
        ([customer(account="Ä b/c?d#%")], "Ä b/c?d#%"),
    ],
)
def test_a_link_beats_the_customer_who_beats_the_subscriptions(facts, expected) -> None:
    assert Identity(expected) == identify(things(*facts))


def test_an_account_that_is_named_needs_no_reason() -> None:
    assert ("acme", "") == identify(things(customer(account="acme")))


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ([], "neither the customer nor a subscription"),
        ([customer()], "neither the customer nor a subscription"),
        ([customer(account="")], "neither the customer nor a subscription"),
        ([sub("1", account="b"), sub("2", account="a")], "different accounts: a, b"),
        ([customer(account=".")], "cannot be an account's id"),
        ([customer(account="x" * 501)], "is too long for an account's id"),
        ([customer(account="..")], "cannot be an account's id"),
        ([customer(account="a\nb")], "cannot be an account's id"),
        ([snapshot("link", {"account": "a\0"})], "cannot be an account's id"),
    ],
)
def test_an_account_that_is_not_named_is_never_guessed(facts, reason) -> None:
    found = identify(things(*facts))

    assert found.account is None
    assert reason in found.reason


def test_a_new_name_of_the_account_moves_the_party() -> None:
    facts = [customer(account="old"), customer(UPDATED, 5, account="new")]

    assert Identity("new") == identify(things(*facts))


# --- Names --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parties", "expected"),
    [
        ([[customer(name="Acme", email="pay@example.com")]], Name(2, "Acme")),
        ([[customer(email="pay@example.com")]], Name(1, "pay@example.com")),
        ([[customer()]], Name(0, "acme")),
        ([[sub("1")]], Name(0, "acme")),
        ([], Name(0, "acme")),
        ([[customer(email="a@example.com")], [customer(name="Acme")]], Name(2, "Acme")),
        ([[customer(name="First")], [customer(name="Second")]], Name(2, "First")),
        ([[sub("1")], [customer(email="a@example.com")]], Name(1, "a@example.com")),
    ],
)
def test_the_best_name_of_all_parties_is_the_account_s(parties, expected) -> None:
    assert expected == account(*parties).name(str)


# --- Union --------------------------------------------------------------------


def test_the_order_of_the_parties_does_not_matter() -> None:
    parties = [
        Party("x:1", things(customer(name="A"), sub("1"), sub("2"))),
        Party("x:2", things(customer(name="B"), sub("3"))),
        Party("y:1", things(sub("4"))),
    ]

    first, *others = [unite("acme", order) for order in permutations(parties)]

    assert [first] * len(others) == others
    assert ["1", "2", "3", "4"] == [s.id for s in first.subscriptions]


def test_a_party_is_incomplete_until_its_customer_s_creation_is_seen() -> None:
    born, met = customer(), customer(UPDATED, 3)

    assert not is_incomplete(things(born, met))
    assert is_incomplete(things(met))
    assert is_incomplete(things(sub("1")))
    assert ("x:2",) == account([born], [met]).incomplete


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ([customer(DELETED, deleted=True)], True),
        ([], True),
        ([customer()], False),
        ([customer(), customer(DELETED, 1, deleted=True)], False),
        ([sub("1"), customer(DELETED, 2, deleted=True)], False),
    ],
)
def test_of_a_customer_only_its_deletion_may_have_been_seen(facts, expected) -> None:
    assert expected == account(facts).deleted_only


@pytest.mark.parametrize(
    "thing", ["discount:di_1", "checkout:cs_1", "trait:stage", "name"]
)
def test_whatever_else_was_seen_of_a_deleted_customer_was_alive(thing: str) -> None:
    gone = customer(DELETED, 3, deleted=True)

    assert account([gone]).deleted_only
    assert not account([gone, snapshot(thing, {"is": "there"})]).deleted_only
    assert not account([gone], [customer()]).deleted_only


def test_of_one_source_the_latest_word_counts() -> None:
    old = snapshot("trait:stage", {"is": "lead"}, 1)
    new = snapshot("trait:stage", {"is": "customer"}, 2)

    for parties in ([old], [new]), ([new], [old]):
        told = account(*parties).told["stage"]
        assert ["customer"] == [state.value["is"] for state in told.values()]


def test_a_trait_that_nothing_is_said_of_is_not_told() -> None:
    silent = snapshot("trait:stage", {})

    assert {} == account([silent, customer(**{"is": "a customer"})]).told


def test_a_customer_s_deletion_ends_its_own_subscriptions_alone() -> None:
    gone = [sub("1"), customer(DELETED, 9, deleted=True)]

    found = account(gone, [sub("2")])

    assert ["canceled", "active"] == [s.status for s in found.subscriptions]
    assert NOW + 9 * DAY == found.subscriptions[0].ended_at


def test_who_was_deleted_has_a_say_only_where_nobody_else_is_there() -> None:
    gone = [
        customer(DELETED, 9, deleted=True),
        snapshot("name", {"name": "Newer"}, 5),
        snapshot("trait:stage", {"is": "lead"}, 5),
    ]
    here = [
        customer(),
        snapshot("name", {"name": "Older"}, 1),
        snapshot("trait:stage", {"is": "customer"}, 1),
    ]

    def said(*parties: Iterable[Fact]) -> tuple[str, Any]:
        found = account(*parties)
        return found.name(str).text, found.told["stage"]["x"].value["is"]

    assert ("Older", "customer") == said(gone, here)
    assert ("Newer", "lead") == said(gone)


@pytest.mark.parametrize(("is_final", "expected"), [(False, "lead"), (True, None)])
def test_what_a_deleted_one_alone_tells_stands_while_it_may_come_back(
    is_final: bool, expected: str | None
) -> None:
    stamp = Stamp(is_final, NOW + 9 * DAY, DELETED)
    gone = [
        customer(DELETED, 9, deleted=True)._replace(stamp=stamp),
        snapshot("trait:stage", {"is": "lead"}, 5),
    ]

    told = account(gone, [customer()]).told.get("stage", {})

    assert expected == next((one.value["is"] for one in told.values()), None)


MERGED = NOW + 9 * DAY


def merged(*own: Fact) -> list[Fact]:
    """A customer that became x:2 on day 9, final."""
    return [*own, customer(DELETED, 9, deleted=True, into="x:2")]


@pytest.mark.parametrize(
    ("heir", "now", "expected"),
    [
        ([], MERGED + 1, ("active", "lead", MERGED + 600_000)),
        ([customer()], MERGED + 1, ("active", "lead", MERGED + 600_000)),
        (
            [customer(), snapshot("read", {}, 8)],
            MERGED + 1,
            ("active", "lead", MERGED + 600_000),
        ),
        ([customer(), snapshot("read", {}, 9)], MERGED + 1, ("churned", None, None)),
        ([], MERGED + 600_000, ("churned", None, None)),
        ([], None, ("churned", None, None)),
    ],
)
def test_who_was_merged_goes_on_until_the_other_one_is_known(
    heir: list[Fact], now: int | None, expected: tuple[str, str | None, int | None]
) -> None:
    """The other one's money is known when it was read; nobody waits for it for ever."""
    own = merged(sub("1"), snapshot("trait:stage", {"is": "lead"}, 5))
    parties = [Party(f"x:{n}", things(*f)) for n, f in enumerate([own, heir], 1) if f]

    found = unite("acme", [*parties, Party("x:9", things(customer()))], now)

    told = [one.value["is"] for one in found.told.get("stage", {}).values()]
    assert expected == (status(found), next(iter(told), None), found.waits)


def test_the_merge_counts_and_not_when_it_was_read() -> None:
    """The other one may have been read before it was seen what became of this one."""
    asked = snapshot("thin", {"twice": True}, 9)
    gone = customer(DELETED, 10, deleted=True, into="x:2")
    heir = [customer(), snapshot("read", {}, 9)]
    parties = [
        Party(f"x:{n}", things(*own))
        for n, own in enumerate([[sub("1"), asked, gone], heir], 1)
    ]

    assert unite("acme", parties, NOW + 10 * DAY + 1).waits is None


def test_who_was_merged_without_money_goes_on_until_the_other_one_is_there() -> None:
    parties = [
        Party("x:1", things(*merged(snapshot("name", {"name": "Old"}, 5)))),
        Party("x:2", things(customer(), snapshot("name", {"name": "New"}, 9))),
    ]

    alone, both = (unite("acme", some, MERGED + 1) for some in (parties[:1], parties))

    assert ("Old", "New") == (alone.name(str).text, both.name(str).text)
    assert both.waits is None


def test_a_customer_s_discount_is_its_own_subscriptions_alone() -> None:
    half = {"coupon": "half", "percent": "50", "duration": "forever"}

    found = account([customer(discounts=[half]), sub("1")], [customer(), sub("2")])

    assert [[half], []] == [list(s.customer_discounts) for s in found.subscriptions]


# --- Status and churn ---------------------------------------------------------

STRONGEST = (
    "past_due",
    "active",
    "trialing",
    "paused",
    "incomplete",
    "unpaid",
    "canceled",
)


@pytest.mark.parametrize("n", range(len(STRONGEST)))
def test_the_strongest_status_is_the_account_s(n: int) -> None:
    weaker = [sub(word, status=word) for word in reversed(STRONGEST[n:])]
    expected = {"canceled": "churned"}.get(STRONGEST[n], STRONGEST[n])

    assert expected == status(account(weaker))


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ([sub("1", status="canceled")], "churned"),
        ([sub("1", status="incomplete_expired")], "unconverted"),
        (
            [sub("1", 1, status="trialing"), sub("1", 2, status="canceled")],
            "unconverted",
        ),
        (
            [sub("1", status="incomplete_expired"), sub("2", status="canceled")],
            "churned",
        ),
    ],
)
def test_what_never_was_live_did_not_churn(facts, expected) -> None:
    assert expected == status(account(facts))


ENDED = [
    sub("1", status="canceled", ended_at=NOW + 3 * DAY),
    sub("2", status="canceled", ended_at=NOW + 7 * DAY),
]


@pytest.mark.parametrize(
    ("more", "days"),
    [
        ([], 7),
        ([sub("3", 9, status="unpaid")], 9),
        ([sub("3", 5, status="unpaid")], 7),
        ([sub("3", 9, status="incomplete_expired", ended_at=NOW + 9 * DAY)], 7),
        ([sub("3", 8, status="trialing"), sub("3", 9, status="canceled")], 7),
        *(
            ([sub("3", 9, status=word)], None)
            for word in ("active", "past_due", "trialing", "paused", "incomplete")
        ),
    ],
)
def test_it_churned_when_the_last_that_was_live_ended(more, days) -> None:
    expected = None if days is None else NOW + days * DAY

    assert expected == churned_at(account([*ENDED, *more]))
    assert expected == churned_at(account(ENDED, more))


def test_what_never_was_live_has_no_churn() -> None:
    never = [sub("1", 1, status="trialing"), sub("1", 2, status="canceled")]

    assert churned_at(account(never)) is None
    assert churned_at(account([sub("1", status="incomplete_expired")])) is None


def test_what_never_was_anything_but_void_is_no_subscription() -> None:
    lost = [sub("1", 1, status="void"), sub("1", 2, status="void")]

    assert () == account([customer(), *lost]).subscriptions
    assert NOW + 3 * DAY == churned_at(
        account([sub("1", 1), sub("1", 3, status="void")])
    )
