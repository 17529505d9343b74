"""Every cent of an MRR has a rule, and other tools' counts are named where they differ."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from bridge.domain.account import Account, Party, unite
from bridge.domain.attribution import counts, mrr_parts
from bridge.domain.document import document
from bridge.domain.facts import Fact, Stamp
from bridge.domain.fold import History, fold
from bridge.domain.money import STRIPE, Policy, decimals
from bridge.sources.stripe import SOURCE
from tests.support.reader import Reader, folded
from tests.support.stripe_cases import events, every

NOW = 1_700_000_000_000
MONTHLY = {"price": "price_1", "name": "Pro", "unit": "10000", "interval": "month"}
YEARLY = MONTHLY | {"name": "Year", "unit": "100000", "interval": "year"}
METERED = MONTHLY | {"name": "Calls", "usage": "metered"}
ONCE = {"coupon": "WELCOME", "percent": "50", "duration": "once"}
SPRING = ONCE | {"coupon": "SPRING", "duration": "repeating", "ends": NOW + 86_400_000}
HALF = {"coupon": "HALF", "percent": "50", "duration": "forever"}
TENNER = {"coupon": "TENNER", "amount": "1000", "duration": "forever"}
TENNER |= {"currency": "usd"}


def account(*subs: dict[str, Any]) -> Account:
    facts = [
        Fact(
            "stripe:cus_1",
            f"subscription:sub_{number}",
            Stamp(False, NOW, 0),
            "evt_1",
            "k",
            {"status": "active", "currency": "usd", "items": [MONTHLY]} | sub,
            repr(sub),
        )
        for number, sub in enumerate(subs, 1)
    ]
    return unite("acme", [Party("stripe:cus_1", fold(History(facts)))])


def told(*subs: dict[str, Any], policy: Policy = STRIPE) -> list[tuple[str, float]]:
    return [(s.text, float(s.amount)) for s in mrr_parts(account(*subs), policy, NOW)]


@pytest.mark.parametrize("discounts", ["forever", "active"])
def test_the_parts_of_every_case_sum_up_to_its_mrr(discounts: str) -> None:
    policy, wrong, known = STRIPE._replace(discounts=discounts), [], 0
    for case, rendering in every():
        reader = Reader(SOURCE, STRIPE_ACCOUNT_ID_KEY=case.get("account_key"))
        one = unite("acme", folded(reader.facts(*events(case, rendering))))
        traits, parts = document(one, policy).traits, mrr_parts(one, policy, 0)
        mrr = traits.get("mrr")
        if mrr is None:
            fits = not sum(part.amount for part in parts)
        else:
            code = str(traits.get("billingCurrency") or policy.base or "").lower()
            cent = Fraction(1, 10 ** decimals(code))
            fits = Fraction(str(mrr)) == sum(part.amount for part in parts)
            fits = fits and abs(parts[-1].amount) <= cent / 2
            known += 1
        wrong += [] if fits else [(case["name"], rendering, mrr, parts)]

    assert [] == wrong
    assert known > 100


def test_each_part_can_be_read_aloud() -> None:
    seats = MONTHLY | {"quantity": 3, "discounts": [HALF]}
    taxed = YEARLY | {"tax": ["20"], "inclusive": True}

    assert [
        ("3 x Pro: 300.00 USD every month", 300.0),
        ("less discount HALF (forever)", -150.0),
        ("less discount TENNER (forever)", -10.0),
        ("does not count: discount WELCOME (once)", 0.0),
        ("does not count: discount SPRING (repeating), until 2023-11-15", 0.0),
        ("Calls: paid by usage", 0.0),
        ("1 x Year: 1,000.00 USD every year", pytest.approx(83.3333, abs=1e-3)),
        ("less the 20 % tax in its price", pytest.approx(-13.8889, abs=1e-3)),
        ("its status is trialing: it does not count", 0.0),
        ("rounding", pytest.approx(-0.0044, abs=1e-3)),
    ] == told(
        {"items": [seats, METERED], "discounts": [TENNER, ONCE, SPRING]},
        {"items": [taxed]},
        {"status": "trialing"},
    )


def test_no_part_is_named_where_the_sum_is_not_known() -> None:
    assert [] == told({"items": [{"price": "price_1", "interval": "month"}]})
    assert [
        ("its status is unpaid: it does not count", 0.0),
        ("no subscription counts: no MRR", 0.0),
    ] == told({"status": "unpaid"})


def test_amounts_of_several_currencies_are_converted_before_they_are_summed() -> None:
    rates = STRIPE._replace(base="usd", rates={"eur": Fraction("1.5")})
    parts = mrr_parts(account({}, {"currency": "eur"}), rates, NOW)

    assert [100, 150, 0] == [part.amount for part in parts]
    assert "price per month; rates.eur" == parts[1].rule


EVERY, PAST = "takes off every discount until it ends", "past-due"


@pytest.mark.parametrize(
    ("sub", "expected"),
    [
        ({}, []),
        ({"discounts": [HALF]}, []),
        ({"discounts": [ONCE]}, [("ChartMogul", 50, EVERY), ("ProfitWell", 50, EVERY)]),
        ({"items": [MONTHLY, METERED]}, [("ProfitWell", 100, "metered")]),
        (
            {"status": "past_due"},
            [("ChartMogul", 100, PAST), ("ProfitWell", 100, PAST)],
        ),
        ({"cancel_at_period_end": True}, [("Stripe", 100, "a setting")]),
        (
            {"items": [MONTHLY | {"interval": "week"}]},
            [
                (tool, None, "not published")
                for tool in ("Stripe", "ChartMogul", "ProfitWell")
            ],
        ),
    ],
)
def test_tools_that_count_otherwise_are_named_with_their_reason(
    sub: dict[str, Any], expected: list[tuple[str, int | None, str]]
) -> None:
    found = counts(account(sub), STRIPE, NOW)

    assert [(tool, mrr) for tool, mrr, _ in expected] == [
        (c.tool, c.mrr) for c in found
    ]
    assert [] == [
        one
        for one, (*_, why) in zip(found, expected, strict=True)
        if why not in " ".join(one.why)
    ]
