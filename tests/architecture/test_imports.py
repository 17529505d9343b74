"""Who may import whom: the contracts of pyproject.toml, and what they cannot see."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from inspect import isfunction
from pathlib import Path
from pkgutil import iter_modules, resolve_name

import pytest

import bridge
from bridge import queue
from bridge.sources import discover
from tests.support.processes import ROOT, environment

DOMAIN = sorted((ROOT / "bridge" / "domain").glob("*.py"))

PURE = {
    "__future__",
    "bisect",
    "bridge",
    "collections",
    "contextlib",
    "dataclasses",
    "datetime",
    "decimal",
    "enum",
    "fractions",
    "functools",
    "hashlib",
    "heapq",
    "itertools",
    "json",
    "math",
    "operator",
    "re",
    "string",
    "typing",
}
"""All that the domain may need of the standard library."""

NO_LAYER = {"__main__"}

LOADED = """
import sys
import {modules}
print(*(name.partition(".")[0] for name in sys.modules))
"""


def run(code: str, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *flags, "-c", code]
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_import_contracts_are_kept() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert 0 == done.returncode, done.stdout + done.stderr


def test_every_module_of_the_bridge_has_its_layer() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    layers = " | ".join(project["tool"]["importlinter"]["contracts"][0]["layers"])
    named = {name.strip(" ()") for name in layers.split("|")}
    modules = {m.name for m in iter_modules(bridge.__path__)} - NO_LAYER

    assert set() == {f"bridge.{name}" for name in modules} - named


@pytest.mark.parametrize("path", DOMAIN, ids=lambda path: path.stem)
def test_the_domain_imports_pure_modules_alone(path: Path) -> None:
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = [
        alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names
    ]
    names += [n.module or "" for n in nodes if isinstance(n, ast.ImportFrom)]

    assert set() == {name.partition(".")[0] for name in names} - PURE


def test_the_domain_knows_sources_by_name_in_two_places_alone() -> None:
    knowing = {
        path.name
        for path in DOMAIN
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and node.value in discover()
    }

    assert {"money.py", "sources.py"} == knowing


def test_the_domain_loads_nothing_that_must_be_installed() -> None:
    modules = ", ".join(f"bridge.domain.{path.stem}" for path in DOMAIN)
    code = LOADED.format(modules=modules)
    loaded = set(run(code).stdout.split()) - set(
        run(LOADED.format(modules="re")).stdout.split()
    )

    assert {"bridge"} == loaded - sys.stdlib_module_names


@pytest.mark.parametrize("package", ["bridge", "workers"])
def test_importing_every_module_warns_of_nothing_and_says_nothing(
    package: str,
) -> None:
    """A module that does something when it is imported would show here."""
    root = ROOT / package
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in sorted(root.rglob("*.py"))
        if path.name not in {"__main__.py", "__init__.py"}
        and path.parent.name != "telemetry"  # it needs extras
    ]
    done = run(
        f"import {package}\n" + "\n".join(f"import {n}" for n in names), "-Werror"
    )

    assert ("", "") == (done.stdout, done.stderr)


def test_the_two_jobs_that_the_bridge_names_are_functions_of_the_workers() -> None:
    """It names them by string; a string must not rot."""
    names = {queue.CREATE, queue.UPDATE}

    assert 2 == len(names)
    assert all(name.startswith("workers.jobs.") for name in names)
    assert all(isfunction(resolve_name(name)) for name in names)
