"""What `[money]` of bridge.toml may say, and how its mistakes are named."""

from __future__ import annotations

from fractions import Fraction

import pytest

from bridge.domain.policy import STRIPE, Policy
from bridge.money_table import read_policy


def test_without_a_line_it_is_stripe_s_own_policy() -> None:
    assert (STRIPE, []) == read_policy({})


def test_every_line_is_read() -> None:
    said = {
        "discounts": "active",
        "statuses": ["active"],
        "empty": "zero",
        "week": 4.33,
        "day": "365/12",
        "base": "USD",
        "rates": {"eur": "1.08", "JPY": 0.0067},
    }
    expected = Policy(
        "active",
        frozenset({"active"}),
        "zero",
        Fraction("4.33"),
        Fraction(365, 12),
        "usd",
        {"eur": Fraction("1.08"), "jpy": Fraction("0.0067")},
    )

    assert (expected, []) == read_policy(said)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("discounts", ["forever", "active", "all", "none"]),
        ("empty", ["null", "zero"]),
    ],
)
def test_each_word_of_a_choice_is_taken(line: str, words: list[str]) -> None:
    for word in words:
        policy, problems = read_policy({line: word})

        assert (word, []) == (getattr(policy, line), problems)


def test_each_status_that_may_count_is_taken() -> None:
    words = ["active", "past_due", "trialing", "paused", "unpaid"]
    policy, problems = read_policy({"statuses": words})

    assert (frozenset(words), []) == (policy.statuses, problems)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ({"discount": "all"}, "money.discount is no line of [money]"),
        ({"discounts": "some"}, "money.discounts must be one of forever, active"),
        ({"discounts": ["all"]}, "money.discounts must be one of"),
        ({"statuses": []}, "money.statuses must be a list"),
        ({"statuses": ["alive"]}, "money.statuses must be a list"),
        ({"statuses": "active"}, "money.statuses must be a list"),
        ({"empty": 0}, "money.empty must be one of null, zero"),
        ({"week": True}, "money.week must be a number"),
        ({"week": "0"}, "money.week must be above 0"),
        ({"week": "1/0"}, "money.week must be above 0"),
        ({"day": "1e9"}, "money.day must be a number"),
        ({"day": -1}, "money.day must be a number"),
        ({"base": "dollar"}, "money.base must be an ISO code"),
        ({"base": "usd", "rates": {"eur": "x"}}, "money.rates has a mistake at eur"),
        ({"base": "usd", "rates": "eur"}, "money.rates must be a table"),
        ({"rates": {"eur": 1}}, "money.base is needed"),
    ],
)
def test_a_mistake_is_named_with_its_place(line, problem) -> None:
    _, problems = read_policy(line)

    assert 1 == len(problems)
    assert problems[0].startswith(problem)


def test_all_mistakes_are_named_at_once() -> None:
    _, problems = read_policy({"week": "x", "empty": "x", "x": "x"})

    assert 3 == len(problems)
