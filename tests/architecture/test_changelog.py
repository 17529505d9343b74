"""The changelog has the form of https://keepachangelog.com, and a person can read it."""

from __future__ import annotations

import re
from datetime import date

from bridge import __version__
from tests.support import pages
from tests.support.processes import ROOT

PARTS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
LONGEST = 230
"""Most characters of a line about what is released."""

CHANGELOG = ROOT / "CHANGELOG.md"
HEAD, UNRELEASED, *RELEASED = re.split(
    r"^## ", pages.text(CHANGELOG), flags=re.MULTILINE
)


def parts_of(section: str) -> dict[str, list[str]]:
    """Part -> its lines; AssertionError where one is there twice or has nothing."""
    _, *parts = re.split(r"^### ", section, flags=re.MULTILINE)
    found = {}
    for part in parts:
        name, *lines = filter(None, part.splitlines())
        assert name not in found
        assert lines
        found[name] = lines
    return found


def test_what_is_released_has_a_date_and_the_newest_is_this_version() -> None:
    heads = [section.splitlines()[0] for section in RELEASED]
    found = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\S+)", head) for head in heads]
    versions = [tuple(map(int, one[1].split("."))) for one in found if one]
    days = [date.fromisoformat(one[2]) for one in found if one]

    assert len(heads) == len(versions)
    assert sorted(versions, reverse=True) == versions
    assert sorted(days, reverse=True) == days
    assert f"[{__version__}]" == heads[0].split()[0]
    assert "[Unreleased]" == UNRELEASED.splitlines()[0]


def test_its_parts_are_those_of_the_form_in_their_order_and_each_change_is_one_line():
    for section in (UNRELEASED, *RELEASED):
        parts = parts_of(section)
        assert [name for name in PARTS if name in parts] == [*parts]
        for line in (line for lines in parts.values() for line in lines):
            assert line.startswith("- ")
            assert section is UNRELEASED or len(line) <= LONGEST


def test_its_links_lead_somewhere() -> None:
    assert [] == pages.dead_links(CHANGELOG)
