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
    identify,
    is_incomplete,
    unite,
)
from bridge.domain.document import document
from bridge.domain.facts import Fact, Stamp
from bridge.domain.fold import History, State, fold
from bridge.domain.traits import instant

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


def stage(word: str, n: int) -> Fact:
    return snapshot("trait:stage", {"is": word}, n)


def account(*parties: Iterable[Fact], now: int | None = None) -> Account:
    """One account; its parties are called x:1, x:2 and so on; an empty one is none."""
    folded = [Party(f"x:{n}", things(*own)) for n, own in enumerate(parties, 1)]
    return unite("acme", [party for party in folded if party.things], now)


def stage_of(united: Account) -> Any:
    """What is told of the stage; None: nothing."""
    return document(united).traits.get("stage")


GONE = customer(DELETED, 9, deleted=True)

# --- Identity -----------------------------------------------------------------

UNNAMED = "neither the customer nor a subscription"


@pytest.mark.parametrize(
    ("expected", "facts"),
    [
        ("acme", [customer(account="acme")]),
        ("acme", [sub("1", account="acme")]),
        ("acme", [customer(account="acme"), sub("1", account="other")]),
        ("acme", [customer(), sub("1", account="acme"), sub("2", account="acme")]),
        ("acme", [customer(), sub("1", account="acme"), sub("2")]),
        ("mine", [snapshot("link", {"account": "mine"}), customer(account="acme")]),
        ("acme", [snapshot("link", {}), customer(account="acme")]),
        ("Ä b/c?d#%", [customer(account="Ä b/c?d#%")]),
        ("new", [customer(account="old"), customer(UPDATED, 5, account="new")]),
        (f"? {UNNAMED}", []),
        (f"? {UNNAMED}", [customer(account="")]),
        ("? different accounts: a, b", [sub("1", account="b"), sub("2", account="a")]),
        ("? cannot be an account's id", [customer(account=".")]),
        ("? cannot be an account's id", [customer(account="..")]),
        ("? cannot be an account's id", [customer(account="a\nb")]),
        ("? cannot be an account's id", [snapshot("link", {"account": "a\0"})]),
        ("? is too long for an account's id", [customer(account="x" * 501)]),
    ],
)
def test_a_link_beats_the_customer_who_beats_the_subscriptions(expected, facts) -> None:
    """With `?` nobody's: an account that is not named is never guessed."""
    identity = identify(things(*facts))

    if expected.startswith("? "):
        assert identity.account is None
        assert expected[2:] in identity.reason
    else:
        assert Identity(expected, "") == identity


# --- Names --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parties", "expected"),
    [
        ([[customer(name="Acme", email="pay@example.com")]], Name(2, "Acme")),
        ([[customer(email="pay@example.com")]], Name(1, "pay@example.com")),
        ([[customer()]], Name(0, "acme")),
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
    ("expected", "parties"),
    [
        (True, [[]]),
        (True, [[GONE]]),
        (False, [[customer()]]),
        (False, [[customer(), GONE]]),
        (False, [[sub("1"), GONE]]),
        *((False, [[snapshot(t, {}), GONE]]) for t in ("discount:d", "checkout:c")),
        *((False, [[snapshot(t, {}), GONE]]) for t in ("trait:stage", "name", "email")),
        (False, [[GONE], [customer()]]),
    ],
)
def test_of_a_customer_only_its_deletion_may_have_been_seen(expected, parties) -> None:
    assert expected == account(*parties).deleted_only


SILENT = snapshot("trait:stage", {})


@pytest.mark.parametrize(
    ("expected", "parties"),
    [
        ("customer", [[stage("lead", 1)], [stage("customer", 2)]]),
        ("customer", [[stage("customer", 2)], [stage("lead", 1)]]),
        (None, [[SILENT, customer(**{"is": "a customer"})]]),
        # Who was deleted has a say only where nobody else says anything.
        ("customer", [[GONE, stage("lead", 5)], [stage("customer", 1)]]),
        ("lead", [[GONE, stage("lead", 5)]]),
        (None, [[GONE, stage("lead", 5)], [customer()]]),
        (
            "lead",
            [
                [GONE._replace(stamp=Stamp(False, NOW, 4)), stage("lead", 5)],
                [customer()],
            ],
        ),
    ],
)
def test_the_latest_word_of_a_source_counts(expected, parties) -> None:
    """What a deleted one alone tells stands while it may come back: it is not final."""
    assert expected == stage_of(account(*parties))


def test_who_was_deleted_has_a_name_only_where_nobody_else_is_there() -> None:
    gone = [GONE, snapshot("name", {"name": "Newer"}, 5)]
    here = [customer(), snapshot("name", {"name": "Older"}, 1)]

    assert "Older" == account(gone, here).name(str).text
    assert "Newer" == account(gone).name(str).text


def test_a_customer_s_deletion_ends_its_own_subscriptions_alone() -> None:
    ended, other = account([sub("1"), GONE], [sub("2")]).subscriptions

    assert ("canceled", NOW + 9 * DAY) == (ended.status, ended.ended_at)
    assert "active" == other.status


def test_a_customer_s_discount_is_its_own_subscriptions_alone() -> None:
    half = {"coupon": "half", "percent": "50", "duration": "forever"}

    united = account([customer(discounts=[half]), sub("1")], [customer(), sub("2")])

    assert [[half], []] == [s.value.get("discounts", []) for s in united.subscriptions]


# --- Merged parties -----------------------------------------------------------

MERGED = NOW + 9 * DAY
INTO = customer(DELETED, 9, deleted=True, into="x:2")
AS_IT_WAS = ("active", "lead", MERGED + 600_000)
OVER = ("churned", None, None)


@pytest.mark.parametrize(
    ("became", "now", "expected"),
    [
        ([], MERGED + 1, AS_IT_WAS),
        ([customer()], MERGED + 1, AS_IT_WAS),
        ([customer(), snapshot("read", {}, 8)], MERGED + 1, AS_IT_WAS),
        ([customer(), snapshot("read", {}, 9)], MERGED + 1, OVER),
        ([], MERGED + 600_000, OVER),
        ([], None, OVER),
    ],
)
def test_who_was_merged_goes_on_until_the_other_one_is_known(
    became: list[Fact], now: int | None, expected: tuple[str, str | None, int | None]
) -> None:
    """The other one's money is known when it was read; nobody waits for it for ever."""
    own = [sub("1"), stage("lead", 5), INTO]

    united = account(own, became, [customer()], now=now)

    status = document(united).traits["subscriptionStatus"]
    assert expected == (status, stage_of(united), united.waits)


def test_the_merge_counts_and_not_when_it_was_read() -> None:
    """The other one may have been read before it was seen what became of this one."""
    asked = snapshot("thin", {"twice": True}, 9)
    gone = customer(DELETED, 10, deleted=True, into="x:2")
    became = [customer(), snapshot("read", {}, 9)]

    assert (
        account([sub("1"), asked, gone], became, now=NOW + 10 * DAY + 1).waits is None
    )


def test_who_was_merged_without_money_goes_on_until_the_other_one_is_there() -> None:
    old = [snapshot("name", {"name": "Old"}, 5), INTO]
    new = [customer(), snapshot("name", {"name": "New"}, 9)]

    alone, both = (account(old, more, now=MERGED + 1) for more in ([], new))

    assert ("Old", "New") == (alone.name(str).text, both.name(str).text)
    assert both.waits is None


# --- Status and churn ---------------------------------------------------------

STRONGEST = [
    "past_due",
    "active",
    "trialing",
    "paused",
    "incomplete",
    "unpaid",
    "canceled",
]


@pytest.mark.parametrize("n", range(len(STRONGEST)))
def test_the_strongest_status_is_the_account_s(n: int) -> None:
    weaker = [sub(word, status=word) for word in reversed(STRONGEST[n:])]
    expected = STRONGEST[n].replace("canceled", "churned")

    assert expected == document(account(weaker)).traits["subscriptionStatus"]


ENDED = [
    sub("1", status="canceled", ended_at=NOW + 3 * DAY),
    sub("2", status="canceled", ended_at=NOW + 7 * DAY),
]
NEVER = [sub("3", 8, status="trialing"), sub("3", 9, status="canceled")]
EXPIRED = sub("3", 9, status="incomplete_expired", ended_at=NOW + 9 * DAY)


@pytest.mark.parametrize(
    ("facts", "status", "days"),
    [
        (ENDED, "churned", 7),
        ([*ENDED, sub("3", 9, status="unpaid")], "unpaid", 9),
        ([*ENDED, sub("3", 5, status="unpaid")], "unpaid", 7),
        ([*ENDED, EXPIRED], "churned", 7),
        ([*ENDED, *NEVER], "churned", 7),
        *(([*ENDED, sub("3", 9, status=word)], word, None) for word in STRONGEST[:5]),
        (NEVER, "unconverted", None),
        ([EXPIRED], "unconverted", None),
        ([sub("1", 1), sub("1", 3, status="void")], "churned", 3),
    ],
)
def test_it_churned_when_the_last_that_was_live_ended(facts, status, days) -> None:
    expected = None if days is None else instant(NOW + days * DAY)

    traits = document(account(facts)).traits

    assert (status, expected) == (traits["subscriptionStatus"], traits["churnedAt"])


def test_what_never_was_anything_but_void_is_no_subscription() -> None:
    lost = [sub("1", 1, status="void"), sub("1", 2, status="void")]

    assert () == account([customer(), *lost]).subscriptions
