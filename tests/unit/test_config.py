"""`bridge.toml`: what it may say, and how each mistake is named."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from bridge.config import NATIVE, Config, Table, parse, read
from bridge.domain.document import TRAITS
from bridge.domain.money import STRIPE, Policy
from bridge.errors import ConfigError
from bridge.sources import load

ENVIRON = {
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "VITALLY_API_KEY": "example-key",
    "VITALLY_SUBDOMAIN": "acme",
}


def written(folder: Path, text: str | bytes) -> str:
    """Write *text* to a file of *folder* and return its path."""
    path = folder / "bridge.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def problems(given: dict[str, Any], found: Table | None = None) -> tuple[str, ...]:
    """What is wrong with a file's content, where *found* is what the sources say."""
    with pytest.raises(ConfigError) as refused:
        parse(given, lambda _: found or Table(crm={"stripe": False, "hubspot": True}))
    return refused.value.problems


def test_without_a_file_each_trait_has_its_own_name(tmp_path: Path) -> None:
    config = read(None, tmp_path / "bridge.toml")

    assert {trait: trait for trait in TRAITS} == config.traits


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert Config() == read(written(tmp_path, ""))


def test_a_trait_can_have_another_key(tmp_path: Path) -> None:
    config = read(written(tmp_path, '[traits]\nmrr = "vitally.custom.mrr"\n'))

    assert "vitally.custom.mrr" == config.traits["mrr"]
    assert "planName" == config.traits["planName"]


def test_a_trait_can_be_switched_off(tmp_path: Path) -> None:
    config = read(written(tmp_path, "[traits]\nplanName = false\n"))

    assert config.traits["planName"] is None


def test_two_traits_can_swap_their_keys() -> None:
    config = parse({"traits": {"mrr": "planName", "planName": "mrr"}})

    assert ("planName", "mrr") == (config.traits["mrr"], config.traits["planName"])


def test_the_file_in_the_working_folder_is_read_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, "[traits]\nmrr = false\n")
    monkeypatch.chdir(tmp_path)

    assert load(ENVIRON)[1].traits["mrr"] is None


def test_a_file_that_is_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"BRIDGE_CONFIG names .* does not exist"):
        read(str(tmp_path / "missing.toml"))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[traits]\nmrr = a\n", "is not TOML: .*line 2"),
        (b"mrr = '\xff'", "is not UTF-8"),
        ("[trait]\n", "trait is unknown; there are traits, owners, money, sources"),
        ("traits = 1\n", "traits must be a table"),
        ('[traits]\nMRR = "mrr"\n', "traits.MRR is no trait; there are mrr, "),
        ("[traits]\nmrr = 1\n", "traits.mrr must be a key in quotes"),
        ("[traits]\nmrr = true\n", "traits.mrr must be a key in quotes"),
        ('[traits]\nmrr = ""\n', "traits.mrr must be a key without"),
        ('[traits]\nmrr = " mrr"\n', "traits.mrr must be a key without"),
        ('[traits]\nmrr = "m\\nr"\n', "traits.mrr must be a key without"),
        ('[traits]\nmrr = "planName"\n', "traits mrr and planName have one key"),
    ],
)
def test_a_mistake_is_named(text: str | bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        read(written(tmp_path, text))


@pytest.mark.parametrize("prefix", [*NATIVE, *map(str.upper, NATIVE)])
def test_the_keys_of_vitally_s_own_syncs_are_refused(prefix: str) -> None:
    (problem,) = problems({"traits": {"mrr": f"{prefix}mrr"}})

    assert problem.startswith("traits.mrr must not be")
    assert "Vitally's own syncs" in problem


def test_every_problem_of_the_file_is_named_with_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, '[traits]\nmrr = 1\nx = "y"\n[other]\n')
    with pytest.raises(ConfigError) as refused:
        read(path)

    assert [f"{path}: {place}" for place in ("other", "traits.mrr", "traits.x")] == (
        sorted(" ".join(said.split()[:2]) for said in refused.value.problems)
    )


def test_the_problems_of_environment_and_file_come_together(tmp_path: Path) -> None:
    path = written(tmp_path, "[traits]\nmrr = 1\n")
    environ = ENVIRON | {"BRIDGE_CONFIG": path, "PORT": "eighty"}
    with pytest.raises(ConfigError) as refused:
        load(environ)

    assert ["PORT must", f"{path}: tra"] == [
        problem[: len(path) + 5] if problem.startswith(path) else problem[:9]
        for problem in refused.value.problems
    ]


def test_a_right_file_does_not_hide_a_wrong_environment(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    with pytest.raises(ConfigError, match="REDIS_URL is required"):
        load({**ENVIRON, "REDIS_URL": "", "BRIDGE_CONFIG": path})


def test_settings_and_config_come_as_a_pair(tmp_path: Path) -> None:
    path = written(tmp_path, "[traits]\nmrr = false\n")
    settings, config = load(ENVIRON | {"BRIDGE_CONFIG": path})

    assert path == settings.bridge_config
    assert config.traits["mrr"] is None


def test_what_a_caller_can_do_without_may_be_missing() -> None:
    settings, _ = load({}, without=("REDIS_URL", "VITALLY_API_KEY"))

    assert "" == settings.redis_url


def test_a_trait_that_a_source_adds_may_not_be_one_of_vitally_s_own() -> None:
    found = Table(traits=["sfdc.Industry", "hspot.x", "seats"])

    added = problems({}, found)
    renamed = problems({"traits": {"sfdc.Industry": "industry"}}, found)

    assert 2 == len(added)
    assert all("Vitally's own syncs write it" in problem for problem in added)
    assert 1 == len(renamed)


def test_a_trait_of_a_source_may_have_braces_in_its_name() -> None:
    found = Table(traits=["a{b}"])

    assert problems({"traits": {"x": "y"}}, found)[0].endswith(", cancelAt, a{b}")
    assert "a{b}" == parse({}, lambda _: found).traits["a{b}"]


def test_without_a_line_it_is_stripe_s_own_policy() -> None:
    assert STRIPE == parse({}).policy == parse({"money": {}}).policy


def test_every_line_of_money_is_read() -> None:
    given = {
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

    assert expected == parse({"money": given}).policy


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("discounts", ["forever", "active", "all", "none"]),
        ("empty", ["null", "zero"]),
    ],
)
def test_each_word_of_a_choice_is_taken(line: str, words: list[str]) -> None:
    assert words == [
        getattr(parse({"money": {line: word}}).policy, line) for word in words
    ]


def test_each_status_that_may_count_is_taken() -> None:
    words = ["active", "past_due", "trialing", "paused", "unpaid"]

    assert frozenset(words) == parse({"money": {"statuses": words}}).policy.statuses


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ({"discount": "all"}, "discount is unknown; there are discounts, statuses, "),
        ({"discounts": "some"}, "discounts must be one of forever, active"),
        ({"discounts": ["all"]}, "discounts must be one of"),
        ({"statuses": []}, "statuses must be a list of some of active, past_due"),
        ({"statuses": ["active", "alive"]}, "statuses.1 must be one of active, "),
        ({"statuses": [["active"]]}, "statuses.0 must be one of active, "),
        ({"statuses": "active"}, "statuses must be a list of some of active"),
        ({"empty": 0}, "empty must be one of null, zero"),
        ({"week": True}, "week must be a number"),
        ({"week": "0"}, "week must be a number above 0"),
        ({"week": "1/0"}, "week must be a number above 0"),
        ({"day": "1e9"}, "day must be a number"),
        ({"day": -1}, "day must be a number"),
        ({"base": "dollar"}, "base must be an ISO code"),
        ({"base": "usd", "rates": {"eur": "x"}}, "rates.eur must be a number"),
        ({"base": "usd", "rates": {"euro": 1}}, "rates.euro must be an ISO code"),
        ({"base": "usd", "rates": "eur"}, "rates must be a table"),
        ({"rates": {"eur": 1}}, "base is needed where there are money.rates"),
    ],
)
def test_a_mistake_about_money_is_named_with_its_place(line, problem) -> None:
    (found,) = problems({"money": line})

    assert found.startswith(f"money.{problem}")


def test_each_trait_may_have_owners() -> None:
    given = {"owners": {"name": ["hubspot", "stripe"], "mrr": ["stripe"]}}
    found = Table(crm={"stripe": False, "hubspot": True})
    policy = parse(given, lambda _: found).policy

    assert {"name": ["hubspot", "stripe"], "mrr": ["stripe"]} == policy.owners
    assert frozenset({"hubspot"}) == policy.crm


@pytest.mark.parametrize(
    ("owners", "problem"),
    [
        ({"mmr": ["stripe"]}, "owners.mmr is no trait; there are name, mrr, "),
        ({"mrr": []}, "owners.mrr must be a list of some of hubspot, stripe"),
        ({"mrr": "stripe"}, "owners.mrr must be a list of some of hubspot, stripe"),
        ({"mrr": ["stripe", "x"]}, "owners.mrr.1 must be one of hubspot, stripe"),
        (1, "owners must be a table"),
    ],
)
def test_a_mistake_about_owners_is_named_with_its_place(owners, problem) -> None:
    (found,) = problems({"owners": owners})

    assert found.startswith(problem)


@pytest.mark.parametrize("name", ["traits", "owners", "money", "sources"])
def test_each_table_must_be_one(name: str) -> None:
    assert (f"{name} must be a table",) == problems({name: 1})


def test_all_mistakes_of_all_tables_are_named_at_once() -> None:
    given = {
        "traits": {"mrr": "planName", "cancelAt": 1, "x": "y"},
        "owners": {"mrr": 1},
        "money": {"week": "x", "empty": "x", "x": "x", "rates": {"eur": 1}},
        "odd": {},
    }
    found = problems(given, Table(problems=["sources.x is no source"]))

    assert [
        "money.base",
        "money.empty",
        "money.week",
        "money.x",
        "odd",
        "owners.mrr",
        "sources.x",
        "traits",
        "traits.cancelAt",
        "traits.x",
    ] == sorted(problem.split()[0] for problem in found)
