"""The tables of the documentation are what the code says."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge import docs
from bridge.settings import OPTIONS, Option, text
from bridge.sources import discover
from tests.support.processes import ROOT
from workers import outcomes

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_s_tables_are_fresh() -> None:
    """Red? `make format` writes them anew."""
    assert docs.refreshed(README) == README


@pytest.mark.parametrize("name", sorted(docs.TABLES))
def test_the_readme_has_each_table(name: str) -> None:
    assert docs.REGION.format(name, docs.TABLES[name]()) in README


def test_the_table_of_answers_is_fresh() -> None:
    """Red? `make format` writes it anew."""
    assert docs.REGION.format("answers", outcomes.table()) in README


def test_what_shows_a_loss_is_there() -> None:
    """A target of the Makefile, or a test."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for row in docs.losses():
        path, _, name = row["shown"].partition("::")
        if path.startswith("make "):
            assert f"\n{path.removeprefix('make ')}:" in makefile
        else:
            assert f"def {name}" in (ROOT / path).read_text(encoding="utf-8")


def test_the_example_of_the_environment_is_fresh() -> None:
    """Red? `make format` writes it anew."""
    example = ROOT / "deploy" / "env.example"

    assert docs.environment() == example.read_text(encoding="utf-8")


def test_every_option_is_in_the_table() -> None:
    options = [*OPTIONS, *(o for s in discover().values() for o in s.options)]
    table = docs.settings_table()

    assert [] == [o.name for o in options if f"| `{o.name}` |" not in table]


def test_every_handled_event_is_in_the_table() -> None:
    table = docs.events_table()
    handled = [kind for source in discover().values() for kind in source.handlers]

    assert [] == [kind for kind in handled if f"| `{kind}` |" not in table]


def test_a_region_that_is_none_of_ours_stays() -> None:
    foreign = "<!-- begin: other -->\nkept\n<!-- end: other -->\n"

    assert foreign == docs.refreshed(foreign)


def test_a_bar_in_a_meaning_does_not_end_the_cell() -> None:
    row = docs.table(("a",), [("`live | test`",)])

    assert "| `live \\| test` |" in row


def test_the_files_are_written_anew(tmp_path: Path) -> None:
    readme, example = tmp_path / "README.md", tmp_path / "env.example"
    readme.write_text("<!-- begin: events -->\nold\n<!-- end: events -->\n")
    docs.main([str(readme), str(example)])

    assert "old" not in readme.read_text()
    assert docs.environment() == example.read_text()


@pytest.mark.parametrize(
    ("option", "said"),
    [
        (Option("X", text, "An x.", required=True), "required"),
        (Option("X", text, "An x.", shown="derived"), "derived"),
        (Option("X", text, "An x."), "\N{EN DASH}"),
        (Option("X", text, "An x.", False), "`false`"),
        (Option("X", text, "An x.", 0.8), "`0.8`"),
    ],
)
def test_a_default_is_spelt_as_the_variable_would_be(option: Option, said: str) -> None:
    assert said == docs._default(option)
