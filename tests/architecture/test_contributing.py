"""CONTRIBUTING.md says what is so: the layers, the files, the commands; so do our words."""

from __future__ import annotations

import re
import tomllib

from tests.support.processes import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
DRAWING = PAGE.partition("<!-- drawing: layers -->")[2].split("```")[1]
WORDS = ["party", "fact", "fold", "ledger", "held", "parked", "settled"]


def test_the_drawing_is_what_the_linter_holds() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = project["tool"]["importlinter"]["contracts"][0]["layers"]
    held = [[name.strip(" ()") for name in layer.split("|")] for layer in layers]
    drawn = [
        row.split(" · ") for row in re.findall(r"^│ (.*?) +│", DRAWING, re.MULTILINE)
    ]

    assert [[n.removeprefix("bridge.") for n in row] for row in held] == drawn


def test_what_it_leads_to_is_there() -> None:
    named = re.findall(r"\]\(([^)]+)\)", PAGE)

    assert [] == [name for name in named if not (ROOT / name).exists()]
    assert {"bridge/ingest.py", "workers/sync.py"} <= set(named)
    folders = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir()}
    shown = {name.removeprefix("tests/") for name in named if name.startswith("tests/")}
    assert folders - {"__pycache__", "bench", "support"} == {
        name for name in shown if "/" not in name
    }


def test_its_commands_are_targets() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^\.PHONY: (\w+)$", makefile, re.MULTILINE))

    assert set() == set(re.findall(r"\bmake (\w+)", PAGE)) - targets


def test_our_words_are_the_seven() -> None:
    page = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    ours = page.partition("## Ours\n")[2].partition("\n## ")[0]

    assert WORDS == re.findall(r"^\| \*\*(\w+)\*\* \| [A-Z]", ours, re.MULTILINE)
