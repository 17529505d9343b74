"""What a table of `bridge.toml` may say, and how each mistake in one is named."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from marshmallow import Schema

import bridge.sources.generic
from bridge.config import read
from bridge.errors import ConfigError
from bridge.sources import (
    OBSERVED,
    discover,
    every,
    load,
    switched_on,
    tables,
)
from bridge.sources.generic import make, overridden, recipes
from bridge.sources.generic.table import ENDED, HMAC, KINDS, MRR, READ, TABLE

GOOD = """
verify = "standard-webhooks"
secret_env = "EXAMPLE_SECRET"
id = "id"
type = "type"
at = "created"
party = "customer"
[events.subscription]
when = "subscription.*"
id = "data.id"
currency = "data.currency"
mrr = { amount = "data.price", interval = "data.per" }
[traits]
seats = { path = "data.seats", as = "number" }
"""
CASES = Path(__file__).parents[1] / "cases"
MISTAKES = tomllib.loads((CASES / "mistakes.toml").read_text("utf-8"))["generic"]
ENVIRON = {
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "VITALLY_API_KEY": "example-key",
    "VITALLY_SUBDOMAIN": "acme",
    "EXAMPLE_SECRET": "whsec_ZXhhbXBsZQ==",
}


def table(more: str = "") -> dict[str, Any]:
    """The good table with *more* lines of TOML over it; `false` takes one away."""
    return overridden(tomllib.loads(GOOD), tomllib.loads(more))


def test_a_table_makes_a_source_that_its_secret_switches_on() -> None:
    made = make("example", table(), ENVIRON)

    assert made.source is not None
    assert (("seats",), ()) == (made.traits, made.problems)
    assert made.source.enabled({})
    off = make("example", table(), {}).source
    assert off is not None
    assert not off.enabled({})


@pytest.mark.parametrize(
    ("more", "words"),
    [*MISTAKES, (f'at = "{"a." * 300}a"', "at: must be a path of at most 500 char")],
)
def test_a_mistake_is_named_with_its_place(more: str, words: str) -> None:
    problems = make("example", table(more), ENVIRON).problems

    assert any(one.startswith(words) for one in problems) == bool(words), problems


def test_every_mistake_of_a_table_is_named_at_once() -> None:
    lines = ["at = false", "party = false", "secret_env = 'PATH'", "recipes = 1"]
    lines += ["events.subscription.mrr.amuont = 'data.price'", "events.customer = 1"]
    lines += ["events.note.kind = 'thin'", "traits.due = { path = 'a', as = 'minor' }"]
    found = make("Acme", table("\n".join(lines)), ENVIRON).problems

    for place in (
        "must be a name of a-z",
        "at: is missing, here or in events.note",
        "party: is missing, here or in events.subscription",
        "secret_env: PATH is already used",
        "recipes: is unknown",
        "events.subscription.mrr.amuont: is unknown",
        "events.customer: must be a table",
        "events.note: must say party",
        "events.note.currency: is missing",
    ):
        assert any(one.startswith(place) for one in found), (place, found)


@pytest.mark.parametrize("name", ["Acme", "a b", "pointer", "catalogue", "", "a" * 41])
def test_a_name_that_no_address_has_is_refused(name: str) -> None:
    (problem,) = make(name, table(), ENVIRON).problems

    assert problem.startswith("must be a name of a-z")


def test_every_mistake_of_the_file_is_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "bridge.toml"
    lines = ["[traits]", "mmr = false", "[sources]", "x = 1"]
    lines += ["[sources.acme]", "secret_env = 1"]
    lines += ["[sources.paddle]", "recipe = 'paddel'", "[sources.stripe]", "acount = 1"]
    file.write_text("\n".join(lines))
    with pytest.raises(ConfigError) as refused:
        load({**ENVIRON, "BRIDGE_CONFIG": str(file)})
    found = [
        problem.partition("bridge.toml: ")[2] for problem in refused.value.problems
    ]

    for place in (
        "traits.mmr is no trait",
        "sources.x must be a table",
        "sources.acme.verify: is missing",
        "sources.acme.secret_env: must name",
        "sources.paddle.recipe: must be one of",
        "sources.stripe.acount is unknown",
    ):
        assert any(problem.startswith(place) for problem in found), (place, found)


def test_its_traits_can_be_renamed_and_it_can_own_one(tmp_path: Path) -> None:
    file = tmp_path / "bridge.toml"
    lines = ["[traits]", 'seats = "licences"', "[owners]", 'seats = ["example"]']
    file.write_text("\n".join(lines) + "\n" + nested("sources.example"))
    settings, config = load({**ENVIRON, "BRIDGE_CONFIG": str(file)})

    assert "licences" == config.traits["seats"]
    assert {"seats": ["example"]} == config.policy.owners
    assert "example" in [source.name for source in every(settings.sources)]
    assert ["example"] == [source.name for source in switched_on(settings.sources)]


def nested(name: str) -> str:
    """The good table below another."""
    lines = [
        line.replace("[", f"[{name}.", 1) if line.startswith("[") else line
        for line in GOOD.splitlines()
    ]
    return "\n".join([f"[{name}]", *lines]) + "\n"


def test_a_crm_is_one() -> None:
    found = tables({"example": table("crm = true")}, ENVIRON)

    assert (True, False) == (found.crm["example"], found.crm["stripe"])


def test_any_source_may_be_observed() -> None:
    made = table() | {"observe": True}
    found = tables({"example": made, "stripe": {"observe": False}}, ENVIRON)

    assert ([], {"example"}) == (found.problems, found.values[OBSERVED])
    for name in discover():
        found = tables({name: {"observe": True}}, {})
        assert ([], {name}) == (found.problems, found.values[OBSERVED])
        wrong = tables({name: {"observe": "yes"}}, {}).problems
        assert [f"sources.{name}.observe must be true or false"] == wrong


def test_a_secret_may_be_mounted(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("whsec_ZXhhbXBsZQ==\n")
    named = {"EXAMPLE_SECRET_FILE": str(file)}
    source = make("example", table(), named).source

    assert source is not None
    assert source.enabled({})
    wrong = make("example", table(), {"EXAMPLE_SECRET_FILE": str(tmp_path / "no")})
    assert "cannot be read" in wrong.problems[0]


def test_no_secret_is_in_what_a_source_shows() -> None:
    source = make("example", table(), ENVIRON).source

    assert "ZXhhbXBsZQ" not in repr(source)


def test_lines_lie_over_those_of_a_recipe() -> None:
    recipe = {"a": {"b": 1, "c": 2}, "d": {"e": 3}, "f": True}

    assert {"a": {"b": 1, "c": 4, "g": 5}, "f": False} == overridden(
        recipe, {"a": {"c": 4, "g": 5}, "d": False, "f": False}
    )
    assert {"a": {"b": 1, "c": 2}, "d": {"e": 3}, "f": True} == recipe


@pytest.mark.parametrize("schema", [TABLE, MRR, ENDED, READ, HMAC, *KINDS.values()])
def test_the_readme_tells_of_each_line_that_a_table_may_have(schema: Schema) -> None:
    text = (Path(bridge.sources.generic.__path__[0]) / "README.md").read_text("utf-8")
    prose = re.sub("```.*?```", "", text, flags=re.DOTALL)
    told = {
        w for code in re.findall("`[^`]+`", prose) for w in re.findall("[a-z_]+", code)
    }

    assert set() == schema.fields.keys() - told - {"tried"}


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_says_all_but_whose_an_event_is(name: str) -> None:
    assert () == make(name, {"recipe": name, "party": "x"}, {}).problems
    assert set(recipes()[name]) >= {"title", "secret_env", "verify"}


def test_a_file_without_tables_makes_no_source(tmp_path: Path) -> None:
    assert {} == read(None, tmp_path / "bridge.toml", tables).sources["generic.made"]
