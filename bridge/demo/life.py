"""The month of eight customers, and what Vitally shall show of each in the end.

What is expected is written by hand; nothing here is computed by the bridge.
"""

from __future__ import annotations

from bridge.demo.steps import Life, begins, changes, ends, pays, reminded, signs_up
from bridge.demo.stripe import ON_ITEMS, ON_SUBSCRIPTION, Plan

STARTER = Plan("Starter", 1900)
PRO = Plan("Pro", 4900)
TEAM = Plan("Team", 1500)
WEEKLY = Plan("Weekly Roster", 2500, interval="week")
SUPPORT = Plan("Priority Support", 24000, count=3)
VAULT = Plan("Data Vault", 60000, interval="year")
BUSINESS = Plan("Business", 238800, "eur", "year")
KAISHA = Plan("Kaisha", 5000, "jpy")
STUDIO = Plan("Studio", 3500, "gbp")


ACME = Life(
    "acme-101",
    "Acme Analytics",
    ON_ITEMS,
    (
        signs_up(0.375, "Acme Analytics"),
        begins(
            0.375,
            "1",
            "begins a trial of Pro",
            plan=PRO,
            status="trialing",
            trial_end=14.375,
            ends=14.375,
        ),
        reminded(11.375),
        changes(14.375, "1", "the trial converts", status="active", ends=44.375),
        pays(14.375),
        changes(20.5, "1", "changes to Team", plan=TEAM),
        changes(20.5, "1", "... with 12 seats", quantity=12),
        changes(26.25, "1", "takes 8 seats more", quantity=20),
    ),
    {
        "subscriptionStatus": "active",
        "mrr": 300,  # 20 x 15.00
        "billingCurrency": "USD",
        "planName": "Team",
        "nextRenewalDate": 44.375,
        "trialEndDate": 14.375,
    },
)

CEDAR = Life(
    "cedar-legal",
    "Cedar Legal",
    ON_SUBSCRIPTION,
    (
        signs_up(1.25, "Cedar"),
        begins(
            1.25,
            "1",
            "orders a year of Business",
            plan=BUSINESS,
            status="incomplete",
            ends=366.25,
        ),
        changes(1.25, "1", "... and the payment succeeds", status="active"),
        pays(1.25),
        changes(9.5, "customer", "is renamed", name="Cedar Legal"),
    ),
    {
        "subscriptionStatus": "active",
        "mrr": 199,  # 2388.00 / 12
        "billingCurrency": "EUR",
        "planName": "Business",
        "nextRenewalDate": 366.25,
    },
)

DUNE = Life(
    "dune-robotics",
    "Dune Robotics",
    ON_ITEMS,
    (
        signs_up(2.5, "Dune Robotics"),
        begins(2.5, "1", "subscribes to Pro", plan=PRO, ends=32.5),
        begins(4.5, "2", "adds quarterly Support", plan=SUPPORT, ends=94.5),
        begins(6.5, "3", "adds 2 yearly Vaults", plan=VAULT, quantity=2, ends=371.5),
        begins(10.5, "4", "adds Starter", plan=STARTER, ends=40.5),
        ends(12.75, "4", "ends Starter at once"),
        changes(
            21.5,
            "2",
            "will not renew Support",
            cancel_at_period_end=True,
            cancel_at=94.5,
            canceled_at=21.5,
        ),
    ),
    {
        "subscriptionStatus": "active",
        "mrr": 229,  # 49.00 + 240.00 / 3 + 2 x 600.00 / 12
        "billingCurrency": "USD",
        "planName": "Data Vault, Priority Support, Pro",
        "nextRenewalDate": 32.5,
        "cancelAt": 94.5,
    },
)

EMBER = Life(
    "ember-studio",
    "Ember Studio",
    ON_SUBSCRIPTION,
    (
        signs_up(0.625, "Ember Studio"),
        begins(0.625, "1", "subscribes to Weekly Roster", plan=WEEKLY, ends=7.625),
        changes(7.625, "1", "renews", ends=14.625),
        changes(14.625, "1", "the card fails", status="past_due", ends=21.625),
        changes(17.0, "1", "a new card works", status="active"),
        pays(17.0),
        changes(21.625, "1", "renews", ends=28.625),
        changes(28.625, "1", "renews", ends=35.625),
    ),
    {
        "subscriptionStatus": "active",
        "mrr": 108.33,  # 25.00 x 52 / 12
        "billingCurrency": "USD",
        "planName": "Weekly Roster",
        "nextRenewalDate": 35.625,
    },
)

FJORD = Life(
    "fjord-freight",
    "Fjord Freight",
    ON_ITEMS,
    (
        signs_up(3.125, "Fjord Freight"),
        begins(
            3.125, "1", "subscribes to Kaisha", plan=KAISHA, quantity=3, ends=27.125
        ),
        changes(27.125, "1", "the card fails", status="past_due", ends=57.125),
    ),
    {
        "subscriptionStatus": "past_due",
        "mrr": 15000,  # 3 x 5000; a yen has no minor unit
        "billingCurrency": "JPY",
        "planName": "Kaisha",
        "nextRenewalDate": 57.125,
    },
)

GROVE = Life(
    "grove-health",
    "Grove Health",
    ON_SUBSCRIPTION,
    (
        signs_up(4.25, "Grove Health"),
        begins(4.25, "1", "subscribes to Weekly Roster", plan=WEEKLY, ends=11.25),
        changes(11.25, "1", "renews", ends=18.25),
        changes(
            13.5,
            "1",
            "will leave at the week's end",
            cancel_at_period_end=True,
            cancel_at=18.25,
            canceled_at=13.5,
        ),
        ends(18.25, "1", "has left", asked=13.5),
    ),
    {"subscriptionStatus": "churned", "churnedAt": 18.25},
    stays={"billingCurrency": "USD"},
)

HARBOR = Life(
    "harbor-hotels",
    "Harbor Hotels",
    ON_ITEMS,
    (
        signs_up(1.75, "Harbor Hotels"),
        begins(1.75, "1", "subscribes to Pro", plan=PRO, ends=31.75),
        ends(8.5, "1", "leaves at once"),
        begins(
            22.125,
            "2",
            "comes back, 4 seats of Team",
            plan=TEAM,
            quantity=4,
            ends=52.125,
        ),
    ),
    {
        "subscriptionStatus": "active",
        "mrr": 60,  # 4 x 15.00
        "billingCurrency": "USD",
        "planName": "Team",
        "nextRenewalDate": 52.125,
    },
)

IRIS = Life(
    "iris-design",
    "Iris Design",
    ON_SUBSCRIPTION,
    (
        signs_up(5.5, "Iris Design"),
        begins(
            5.5,
            "1",
            "begins a trial of Studio",
            plan=STUDIO,
            status="trialing",
            trial_end=19.5,
            ends=19.5,
        ),
        reminded(16.5),
        ends(19.5, "1", "the trial ends without a card"),
    ),
    {"subscriptionStatus": "unconverted", "trialEndDate": 19.5},
    stays={"billingCurrency": "GBP"},
)

LIVES = (ACME, CEDAR, DUNE, EMBER, FJORD, GROVE, HARBOR, IRIS)
"""In the order of the table."""
