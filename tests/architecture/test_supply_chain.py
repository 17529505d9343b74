"""What the bridge is built of: licences, hashes, and advisories against the lock."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support import advisories, docs, licences
from tests.support.processes import ROOT
from tests.support.pythons import Pin

PAGE = ROOT / "docs" / "supply-chain.md"
LOCKS = sorted(ROOT.glob("requirements*.txt"))


def test_every_package_has_a_licence_that_is_allowed() -> None:
    """Red? Look at the licence; an exception needs its reason in the table."""
    refused = {
        name: bad
        for name, said in licences.licences().items()
        if (bad := licences.refused(said))
    }

    assert {"orjson": {"MPL-2.0"}} == refused
    assert set(licences.EXCEPTIONS) == set(refused)


@pytest.mark.parametrize(
    ("expression", "bad"),
    [
        ("MIT", set()),
        ("Apache-2.0 AND BSD-2-Clause", set()),
        ("MIT OR GPL-3.0-only", {"GPL-3.0-only"}),
        ("GPL-2.0-only WITH Classpath-exception-2.0", {"GPL-2.0-only"}),
        ("", {"none"}),
    ],
)
def test_only_what_is_allowed_is_allowed(expression: str, bad: set[str]) -> None:
    assert bad <= licences.refused(expression)
    assert bool(bad) == bool(licences.refused(expression))


def test_the_page_s_table_of_licences_is_fresh() -> None:
    """Red? `make format` writes it anew."""
    region = docs.REGION.format("licences", licences.table())

    assert region in PAGE.read_text(encoding="utf-8")


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_every_pin_has_hashes_and_no_address(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    packages = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]

    assert [] == [
        one for one in packages if not re.search(r"--hash=sha256:\w{64}", one)
    ]
    assert [] == re.findall(r".*://.*|^-.*", text, re.MULTILINE)


def advisory(**affected: Any) -> dict[str, Any]:
    package = {"package": {"ecosystem": "PyPI", "name": "Some.Package"}}
    return {"id": "PYSEC-1", "summary": "It leaks", "affected": [package | affected]}


def within(*events: dict[str, str]) -> dict[str, Any]:
    return advisory(ranges=[{"type": "ECOSYSTEM", "events": list(events)}])


@pytest.mark.parametrize(
    ("said", "named"),
    [
        (advisory(versions=["2.9", "2.10"]), True),
        (advisory(versions=["2.1"]), False),
        (within({"introduced": "0"}), True),
        (within({"introduced": "0"}, {"fixed": "2.10"}), False),
        (within({"introduced": "0"}, {"fixed": "2.9"}), False),
        (within({"introduced": "2.9"}, {"fixed": "2.11"}), True),
        (within({"introduced": "0"}, {"last_affected": "2.10"}), True),
        (within({"introduced": "0"}, {"last_affected": "2.9"}), False),
        (within({"fixed": "1"}, {"introduced": "0"}, {"introduced": "2.2"}), True),
        (within({"introduced": "2.11"}), False),
        (within({"introduced": "0"}) | {"withdrawn": "2026-01-01T00:00:00Z"}, False),
        (advisory(package={"ecosystem": "npm", "name": "some-package"}), False),
    ],
)
def test_an_advisory_names_the_versions_that_it_means(
    said: dict[str, Any], named: bool
) -> None:
    pin = Pin("some-package", frozenset(), "2.10", "")
    line = "some-package 2.10: PYSEC-1 It leaks"

    assert [line] * named == list(advisories.found([pin], [said]))


def test_make_audit_reads_a_folder_and_fails_where_a_pin_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("some-package==2.10 \\\n    --hash=sha256:00\n")
    (tmp_path / "osv").mkdir()
    empty = advisories.main(str(tmp_path / "osv"), str(lock))
    (tmp_path / "osv" / "one.json").write_text(json.dumps(advisory(versions=["2.10"])))
    named = advisories.main(str(tmp_path / "osv"), str(lock))
    (tmp_path / "osv" / "one.json").write_text(json.dumps(advisory(versions=["2.11"])))

    assert (1, 1, 0) == (
        empty,
        named,
        advisories.main(str(tmp_path / "osv"), str(lock)),
    )
    assert "1 advisories, 1 named" in capsys.readouterr().out
