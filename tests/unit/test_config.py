"""`bridge.toml`: what it may say, and how each mistake is named."""

from __future__ import annotations

import tomllib
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from bridge.config import NATIVE, USED, Config, Table, parse, read
from bridge.desired import rules
from bridge.domain.document import TRAITS
from bridge.domain.money import STRIPE, Policy
from bridge.domain.traits import OPTIONAL
from bridge.errors import ConfigError
from bridge.sources import load

ENVIRON = {
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "VITALLY_API_KEY": "example-key",
    "VITALLY_SUBDOMAIN": "acme",
}
SOURCES = Table(crm={"stripe": False, "hubspot": True})
MISTAKES = tomllib.loads(
    (Path(__file__).parents[1] / "cases" / "mistakes.toml").read_text("utf-8")
)


def written(folder: Path, text: str | bytes) -> str:
    """Write *text* to a file of *folder* and return its path."""
    path = folder / "bridge.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def problems(given: dict[str, Any], sources: Table = SOURCES) -> tuple[str, ...]:
    """What is wrong with a file's content, where *sources* is what the sources say."""
    with pytest.raises(ConfigError) as refused:
        parse(given, lambda _: sources)
    return refused.value.problems


# --- The file -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "changed"),
    [
        ("", {}),
        ('mrr = "vitally.custom.mrr"', {"mrr": "vitally.custom.mrr"}),
        ("planName = false", {"planName": None}),
        (
            'mrr = "planName"\nplanName = "mrr"',
            {"mrr": "planName", "planName": "mrr"},
        ),
    ],
)
def test_a_trait_can_have_another_key_or_none(
    tmp_path: Path, lines: str, changed: dict[str, str | None]
) -> None:
    config = read(written(tmp_path, f"[traits]\n{lines}\n"))

    assert Config({**{trait: trait for trait in TRAITS}, **changed}) == config


@pytest.mark.parametrize(
    ("line", "on"),
    [
        ("use = []", ()),
        ('use = ["seats", "arr"]\narr = "billing.arr"', ("arr", "seats")),
        ('use = "all"', tuple(OPTIONAL)),
    ],
)
def test_optional_traits_are_switched_on_by_name(
    tmp_path: Path, line: str, on: tuple[str, ...]
) -> None:
    config = read(written(tmp_path, f"[traits]\n{line}\n"))

    assert [*TRAITS, *on] == [*config.traits]
    assert frozenset(on) == config.policy.use == config.sources.get(USED, frozenset())
    assert bool(on) == (rules(config) != rules(Config()))
    assert ("billing.arr" in line) == ("billing.arr" in config.traits.values())


def test_without_a_file_nothing_is_changed(tmp_path: Path) -> None:
    assert Config() == read(None, tmp_path / "bridge.toml")
    assert Config() == read(written(tmp_path, ""))


def test_the_file_in_the_working_folder_is_read_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, "[traits]\nmrr = false\n")
    monkeypatch.chdir(tmp_path)

    assert load(ENVIRON)[1].traits["mrr"] is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, r"^BRIDGE_CONFIG names .* does not exist"),
        ("folder", "cannot be read"),
        (b"mrr = '\xff'", "is not UTF-8"),
        (b"[traits]\nmrr = a\n", "is not TOML: .*line 2"),
        (b"mrr = " + b"9" * 5000, "is not TOML: "),
        (b"mrr = " + b"[" * 5000, "is not TOML: "),
    ],
)
def test_a_file_that_is_none_is_named(
    tmp_path: Path, text: bytes | str | None, words: str
) -> None:
    path = tmp_path / "bridge.toml"
    if isinstance(text, bytes):
        path.write_bytes(text)
    elif text:
        path.mkdir()

    with pytest.raises(ConfigError, match=words):
        read(str(path))


@pytest.mark.parametrize(("toml", "words"), MISTAKES["file"])
def test_a_mistake_is_named_with_its_place(toml: str, words: str) -> None:
    (problem,) = problems(tomllib.loads(toml))

    assert problem.startswith(words)


def test_a_trait_that_there_is_not_is_named() -> None:
    (problem,) = problems({"traits": {"use": ["arr", "ar"]}})

    assert problem.endswith("; not ar")


@pytest.mark.parametrize("prefix", [*NATIVE, *map(str.upper, NATIVE)])
def test_the_keys_of_vitally_s_own_syncs_are_refused(prefix: str) -> None:
    (problem,) = problems({"traits": {"mrr": f"{prefix}mrr"}})

    assert problem.startswith("traits.mrr must not be")
    assert "Vitally's own syncs" in problem


def test_all_mistakes_of_all_tables_are_named_at_once() -> None:
    given = {
        "traits": {"mrr": "planName", "cancelAt": 1, "x": "y"},
        "owners": {"mrr": 1},
        "money": {"week": "x", "empty": "x", "x": "x", "rates": {"eur": 1}},
        "odd": {},
    }
    every = problems(given, Table(problems=["sources.x is no source"]))

    assert sorted(problem.split()[0] for problem in every) == [
        *("money.base", "money.empty", "money.week", "money.x", "odd", "owners.mrr"),
        *("sources.x", "traits", "traits.cancelAt", "traits.x"),
    ]


# --- The file and the environment -----------------------------------------------


def test_the_problems_of_both_come_together_with_the_file_s_name(
    tmp_path: Path,
) -> None:
    path = written(tmp_path, '[traits]\nmrr = 1\nx = "y"\n[other]\n')
    with pytest.raises(ConfigError) as refused:
        load(ENVIRON | {"BRIDGE_CONFIG": path, "PORT": "eighty", "REDIS_URL": ""})

    assert sorted(" ".join(text.split()[:2]) for text in refused.value.problems) == [
        *(f"{path}: {place}" for place in ("other", "traits.mrr", "traits.x")),
        *("PORT must", "REDIS_URL is"),
    ]


TOKEN = {"VITALLY_ANALYTICS_TOKEN": "an-example"}
EU = {"VITALLY_REGION": "eu", "VITALLY_SUBDOMAIN": ""}


@pytest.mark.parametrize(
    ("more", "missing"),
    [
        ({}, ["VITALLY_ANALYTICS_TOKEN is required by [vitally.objects]"]),
        (TOKEN, []),
        (TOKEN | EU, ["VITALLY_ANALYTICS_URL is required by [vitally.objects]"]),
        (TOKEN | EU | {"VITALLY_ANALYTICS_URL": "https://a.example"}, []),
    ],
)
def test_custom_objects_need_the_analytics_api(
    tmp_path: Path, more: dict[str, str], missing: list[str]
) -> None:
    file = written(tmp_path, '[vitally.objects]\nsubscription = "4c5d-1"')
    environ = ENVIRON | more | {"BRIDGE_CONFIG": file}
    config = load(environ, without={"VITALLY_API_KEY"})[1]
    assert "4c5d-1" == config.subscription_object
    problems: tuple[str, ...] = ()
    try:
        load(environ)
    except ConfigError as error:
        problems = error.problems
    assert missing == [*problems]


@pytest.mark.parametrize("mode", ["live", "test"])
def test_an_instance_leads_back_to_stripe_s_dashboard(mode: str) -> None:
    stripe = {"STRIPE_WEBHOOK_SECRET": "whsec_example", "STRIPE_MODE": mode}
    folder = "test/" if mode == "test" else ""

    assert {"stripe": f"https://dashboard.stripe.com/{folder}subscriptions/{{}}"} == (
        load(ENVIRON | stripe)[1].links
    )


def test_a_right_file_does_not_hide_a_wrong_environment(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    with pytest.raises(ConfigError, match="REDIS_URL is required"):
        load({**ENVIRON, "REDIS_URL": "", "BRIDGE_CONFIG": path})


def test_settings_and_config_come_as_a_pair(tmp_path: Path) -> None:
    path = written(tmp_path, "[traits]\nmrr = false\n")
    settings, config = load(ENVIRON | {"BRIDGE_CONFIG": path})

    assert (path, None) == (settings.bridge_config, config.traits["mrr"])


def test_what_a_caller_can_do_without_may_be_missing() -> None:
    settings, _ = load({}, without=("REDIS_URL", "VITALLY_API_KEY"))

    assert "" == settings.redis_url


# --- Traits of sources ----------------------------------------------------------


def test_a_trait_that_a_source_adds_may_not_be_one_of_vitally_s_own() -> None:
    sources = Table(traits=["sfdc.Industry", "hspot.x", "seats"])

    added = problems({}, sources)
    renamed = problems({"traits": {"sfdc.Industry": "industry"}}, sources)

    assert 2 == len(added)
    assert all("Vitally's own syncs write it" in problem for problem in added)
    assert 1 == len(renamed)


def test_a_trait_of_a_source_may_have_braces_in_its_name() -> None:
    sources = Table(traits=["a{b}"])

    assert problems({"traits": {"x": "y"}}, sources)[0].endswith(", cancelAt, a{b}")
    assert "a{b}" == parse({}, lambda _: sources).traits["a{b}"]


def test_each_trait_may_have_owners() -> None:
    owners = {"name": ["hubspot", "stripe"], "mrr": ["stripe"]}
    policy = parse({"owners": owners}, lambda _: SOURCES).policy

    assert (owners, frozenset({"hubspot"})) == (policy.owners, policy.crm)


# --- Money ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("money", "expected"),
    [
        ({}, STRIPE),
        *(
            ({"discounts": word}, STRIPE._replace(discounts=word))
            for word in ("forever", "active", "all", "none")
        ),
        *(({"empty": word}, STRIPE._replace(empty=word)) for word in ("null", "zero")),
        (
            {"statuses": ["active", "past_due", "trialing", "paused", "unpaid"]},
            STRIPE._replace(
                statuses=frozenset(
                    {"active", "past_due", "trialing", "paused", "unpaid"}
                )
            ),
        ),
        (
            {
                "discounts": "active",
                "statuses": ["active"],
                "empty": "zero",
                "week": 4.33,
                "day": "365/12",
                "base": "USD",
                "rates": {"eur": "1.08", "JPY": 0.0067},
            },
            Policy(
                "active",
                frozenset({"active"}),
                "zero",
                Fraction("4.33"),
                Fraction(365, 12),
                "usd",
                {"eur": Fraction("1.08"), "jpy": Fraction("0.0067")},
            ),
        ),
    ],
)
def test_each_line_of_money_is_read(money: dict[str, Any], expected: Policy) -> None:
    assert expected == parse({"money": money}).policy


def test_without_a_line_it_is_stripe_s_own_policy() -> None:
    assert STRIPE == parse({}).policy


def test_the_same_rules_have_one_digest_in_whatever_order() -> None:
    statuses, rates = ["active", "past_due", "paused"], {"eur": "1.08", "gbp": 2}
    given = {"money": {"statuses": statuses, "base": "usd", "rates": rates}}
    turned = {
        "money": {
            "rates": dict(reversed(rates.items())),
            "base": "usd",
            "statuses": statuses[::-1],
        }
    }

    assert rules(parse(given)) == rules(parse(turned))


def test_each_rule_is_part_of_the_digest() -> None:
    files: list[dict[str, Any]] = [
        {},
        {"traits": {"mrr": "billing.mrr"}},
        {"traits": {"mrr": False}},
        {"money": {"statuses": ["active"]}},
        {"money": {"week": 4}},
        {"vitally": {"keep_hand_edits": ["mrr"]}},
    ]

    assert len(files) == len({rules(parse(file)) for file in files})
