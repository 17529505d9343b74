"""The tables of the documentation are what the code says, and its links lead somewhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from shutil import which

import pytest

from bridge import sources
from bridge.config import parse
from bridge.settings import OPTIONS, Option, text
from bridge.sources import discover
from tests.support import docs, pages
from tests.support.processes import ROOT

ELSEWHERE = {"crashpoints"}
"""Tables that a slow test counts: tests/chaos/test_crashpoints.py."""

SHORT = re.compile(r"(\[[\w.]+\]) (\w+ = .+)")
SETS = re.compile(r"[A-Z_]+=|\$[A-Z]+$")
AWAY = {
    *(
        "docker",
        "fly",
        "flyctl",
        "heroku",
        "journalctl",
        "kubectl",
        "railway",
        "render",
    ),
    *("sudo", "systemctl", "redis-cli"),
}
"""Programs that this machine need not have."""
SHELL = {
    *(".", "cd", "do", "done", "elif", "else", "exit", "export", "fi", "for", "if"),
    *("kill", "read", "set", "then", "trap", "unset", "until", "wait", "while"),
}
OURS = re.compile(
    r"\b(?:(?:BRIDGE|VITALLY|STRIPE|HUBSPOT|SALESFORCE|CHARGEBEE|CONSOLE|WORKER)_[A-Z_]+"
    r"|vitally_bridge_\w+)(?![\w*…])"
)
SECRETS = {f"{option.name}_FILE" for option in docs.options() if option.secret}
NAMES = {
    *(option.name for option in docs.options()),
    *SECRETS,
    *re.findall(r"`(vitally_bridge_\w+)`", docs.metrics_table()),
    *("STRIPE_SETUP_KEY", "VITALLY_BRIDGE_PORT"),  # not ours to read
}
PATH = re.compile(r"(?<![\w./<-])(?:bridge|deploy|docs|tests|workers|\.ci)/[\w./*-]+")


def test_the_tables_of_the_pages_are_fresh() -> None:
    """Red? `make format` writes them anew."""
    stale = [
        pages.named(page)
        for page in pages.PAGES
        if docs.refreshed(pages.text(page), docs.TABLES) != pages.text(page)
    ]

    assert [] == stale


def test_each_table_is_on_a_page() -> None:
    written = "".join(map(pages.text, pages.DOCS))

    assert {*docs.TABLES, *ELSEWHERE} <= {
        old[1] for old in docs.ANY_REGION.finditer(written)
    }


@pytest.mark.parametrize("page", [*pages.PAGES, ROOT / "CHANGELOG.md"], ids=pages.named)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    assert [] == pages.dead_links(page)


@pytest.mark.parametrize("page", pages.PAGES, ids=pages.named)
def test_every_line_of_toml_is_one_of_ours(page: Path) -> None:
    """A whole block is a file; so is a table's head and one line, in a sentence."""
    short = filter(None, map(SHORT.fullmatch, pages.quoted(page)))
    files = [*pages.blocks(page, "toml"), *("\n".join(one.groups()) for one in short)]

    for lines in files:
        parse(tomllib.loads(lines), sources.tables)


@pytest.mark.parametrize("page", pages.PAGES, ids=pages.named)
def test_every_line_of_shell_begins_with_a_program_that_there_is(page: Path) -> None:
    """Or it sets variables; those of ours must be settings."""
    lines = [re.sub(r"^(export|nohup) ", "", line) for line in pages.shell(page)]
    first = {line.split()[0] for line in lines if not line.startswith("#")}
    called = {word for word in first if not SETS.match(word)} - SHELL - AWAY

    assert [] == [word for word in sorted(called) if not which(word)]


@pytest.mark.parametrize("page", pages.PAGES, ids=pages.named)
def test_what_a_page_names_is_there(page: Path) -> None:
    """Variables, metrics, and files of the repository."""
    said = [*pages.quoted(page), *pages.shell(page)]
    named = {name for line in said for name in OURS.findall(line)}
    paths = {path.rstrip(".") for line in said for path in PATH.findall(line)}

    assert set() == named - NAMES
    assert [] == sorted(p for p in paths if "acme" not in p and not [*ROOT.glob(p)])


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
    page, example = tmp_path / "events.md", tmp_path / "env.example"
    page.write_text("<!-- begin: events -->\nold\n<!-- end: events -->\n")
    docs.main([str(page), str(example)])

    assert "old" not in page.read_text()
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
