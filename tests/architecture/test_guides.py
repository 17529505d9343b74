"""The guides name what there is: a section of docs/oncall.md for each lamp and each rule."""

from __future__ import annotations

import re

import pytest

from bridge.cli.status import SUMS
from bridge.lamps import CONDITIONS
from tests.support.processes import ROOT

DOCS = ROOT / "docs"
ONCALL = (DOCS / "oncall.md").read_text(encoding="utf-8")
GLOSSARY = (DOCS / "glossary.md").read_text(encoding="utf-8")
RULES = (ROOT / "deploy" / "alerts.yaml").read_text(encoding="utf-8")
SECTIONS = dict(
    re.findall(r"^## (\w+)\n\n(.*?)(?=^#|\Z)", ONCALL, re.MULTILINE | re.DOTALL)
)
BY_KIND = {"NotReady", "Warns"}
"""Rules that lead to the section of their kind."""

ASKED = ["It means", "First look", "Do", "Over", "If it comes back"]


def test_each_lamp_and_each_rule_has_a_section_and_no_other_has_one() -> None:
    rules = re.findall(r"- alert: (\w+)", RULES)

    assert [*(c.kind for c in CONDITIONS), *rules] == [*SECTIONS]
    led = re.findall(r"runbook: .*#(\w+|{{ \$labels.kind }})", RULES)
    assert [] == [n for n in rules if n.lower() not in led and n[13:] not in BY_KIND]
    assert len(rules) == len(led)


@pytest.mark.parametrize("name", SECTIONS)
def test_a_section_says_what_it_means_what_to_do_and_when_it_is_over(name: str) -> None:
    assert re.findall(r"^\*\*([\w ]+):\*\* ", SECTIONS[name], re.MULTILINE) == ASKED


def test_a_section_says_how_bad_it_is_and_when_it_is_told() -> None:
    for one in CONDITIONS:
        told = f" · told after {one.after_s:g} s" if one.after_s else ""
        told = " · sends no alert" if one.level == "note" else told
        assert SECTIONS[one.kind].startswith(f"*{one.level}{told}*\n"), one.kind


def test_the_glossary_has_each_word_once_and_every_word_of_status() -> None:
    rows = re.findall(r"^\| \*\*(.+?)\*\* \| \S.*\. \|$", GLOSSARY, re.MULTILINE)

    assert len(rows) == GLOSSARY.count("\n| **") == len({*rows})
    assert set() == {name.strip() for name, _ in SUMS} - {*rows}
    assert set() == {"lamp", "party", "fact", "fold", "ledger", "dirty"} - {*rows}
