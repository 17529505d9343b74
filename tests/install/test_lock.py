"""Exactly what is locked is installed, with any pip, whatever was released since."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution, distributions
from pathlib import Path

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.index import NEWER
from tests.support.processes import ROOT
from tests.support.pythons import VERSIONS, Environment, pins

LOCKS = sorted(ROOT.glob("requirements*.txt"))


def asked(name: str, extras: frozenset[str]) -> list[Requirement]:
    """What a package that is locked with *extras* asks for, on this platform."""
    try:
        lines = distribution(name).requires or []
    except PackageNotFoundError:
        return []
    return [
        one
        for one in map(Requirement, lines)
        if any(applies(one.marker, extra) for extra in ("", *extras))
    ]


def applies(marker: Marker | None, extra: str) -> bool:
    return marker is None or marker.evaluate({"extra": extra})


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.stem)
def test_all_that_a_locked_package_asks_for_is_pinned_as_it_asks(lock):
    """With its extras and without: an old pip takes these for different things."""
    locked = {(pin.name, pin.extras) for pin in pins(lock)}
    wanted = {
        (canonicalize_name(one.name), frozenset(extras))
        for name, chosen in locked
        for one in asked(name, chosen)
        for extras in ((), one.extras)
    }

    assert {("flask", frozenset()), ("werkzeug", frozenset())} <= locked
    assert set() == wanted - locked


def test_each_choice_of_extras_is_pinned_where_a_lock_has_several(tmp_path):
    lock = tmp_path / "lock.txt"
    lock.write_text("# made\na==1 \\\n  --hash=x\nb[d,e]==2 ; m \\\n  --hash=y\n")
    subprocess.run([sys.executable, ROOT / ".ci" / "extras.py", lock], check=True)

    assert lock.read_text() == (
        "# made\na==1 \\\n  --hash=x\n"
        "b==2 ; m \\\n  --hash=y\nb[d]==2 ; m \\\n  --hash=y\n"
        "b[e]==2 ; m \\\n  --hash=y\nb[d,e]==2 ; m \\\n  --hash=y\n"
    )


def versions(folder: Path) -> dict[str, str]:
    """What is installed in *folder*, by name."""
    found = distributions(path=[str(folder)])
    return {canonicalize_name(one.name): one.version for one in found}


def locked(lock: Path, *, everywhere: bool) -> set[tuple[str, str]]:
    """What *lock* pins; *everywhere*: without what only some platforms need."""
    chosen = (pin for pin in pins(lock) if not (everywhere and pin.marker))
    return {(pin.name, pin.version) for pin in chosen}


@pytest.mark.parametrize("name", [lock.name for lock in LOCKS])
@pytest.mark.parametrize("version", VERSIONS)
def test_a_release_that_is_newer_than_the_lock_changes_nothing(
    version, name, installed, index, tmp_path
):
    """`pip install -r` and no more: with the pip that this Python brings."""
    pip = ("-m", "pip", "install", "--quiet", "--no-compile", "--target", tmp_path)
    lock = index.lock(name)
    installed(version).run(*pip, "-r", lock, cwd=tmp_path, environ=index.environ)
    found = set(versions(tmp_path).items())

    assert set() == locked(lock, everywhere=True) - found
    assert set() == found - locked(lock, everywhere=False)


def test_the_index_of_these_tests_does_offer_newer_releases(
    installed, index, tmp_path, running
):
    pip = ("-m", "pip", "install", "--quiet", "--no-compile", "--target", tmp_path)
    installed(running).run(*pip, "flask", cwd=tmp_path, environ=index.environ)

    assert {NEWER} == set(versions(tmp_path).values())


def test_make_installs_the_lock_and_the_command(made):
    """See the fixture: `.ci/venv`, in a checkout, from the same index."""
    environment = Environment(made / ".venv")
    found = set(versions(environment.site).items())
    lock = made / "requirements-demo.txt"

    assert set() == locked(lock, everywhere=True) - found
    assert (made / ".venv" / "bin" / "vitally-bridge").stat().st_mode & 0o111
