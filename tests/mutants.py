"""Breaks `bridge/domain` in every small way, one at a time, and asks the unit tests.

`make mutants` (ARGS="money fold": these modules alone). Nothing is written: a mutant
lives in a process of its own, which imports it in place of the module and runs the
tests until the first one fails. A mutant that no test can tell from the original is
explained in `mutants.toml`; any other survivor is a failure.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import resource
import signal
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import Phase, settings

from tests.support.mutations import Mutant, mutants

ROOT = Path(__file__).parents[1]
DOMAIN = ROOT / "bridge" / "domain"
PROCESSES = os.cpu_count() or 1
MEMORY = 2 << 30
SECONDS = 60
"""Of processor time: some mutants never end."""

CRM = "generic_facts salesforce hubspot_facts chargebee"

TESTS = {
    "account": f"account cases stripe catalogue {CRM} document fold",
    "catalogue": "catalogue catalogue_stories cases account document",
    "tie_break": "tie_break cases fold compaction",
    "document": f"document policy cases catalogue {CRM}",
    "facts": "facts stripe fold rows",
    "fold": "cases subscription account fold compaction rows",
    "money": "money currency policy explanation cases subscription document",
    "policy": "policy config cases money account document",
    "subscription": f"subscription cases policy explanation document {CRM}",
    "traits": f"document policy cases account {CRM}",
}
"""Module -> the unit tests that matter, as they are run; else its own."""

OPTIONS = (
    *("-xq", "-p", "no:randomly", "-p", "no:cacheprovider"),
    "--hypothesis-profile=mutants",
    "-Wignore:Module already imported:pytest.PytestAssertRewriteWarning",
)

AHEAD = ("marshmallow", "orjson", "redis")
"""Loaded once, before the mutants part."""


def begun(mutant: Mutant) -> int:
    """Start a process that tests *mutant*; its pid."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 5))
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            _plant(mutant)
            names = TESTS.get(mutant.module, mutant.module).split()
            paths = [str(ROOT / f"tests/unit/test_{name}.py") for name in names]
            code = int(pytest.main([*OPTIONS, *paths]))
        finally:
            os._exit(code)
    return pid


def _plant(mutant: Mutant) -> None:
    """Let everybody who imports the module get the mutant."""
    name = f"bridge.domain.{mutant.module}"
    planted = importlib.util.module_from_spec(importlib.util.find_spec(name))
    sys.modules[name] = planted
    exec(compile(mutant.source, f"<{name}>", "exec"), planted.__dict__)
    setattr(sys.modules["bridge.domain"], mutant.module, planted)


def tried(found: Sequence[Mutant]) -> Iterator[tuple[Mutant, str]]:
    """Each mutant with what became of it: killed, timed out or survived."""
    running: dict[int, Mutant] = {}
    waiting = list(reversed(found))
    while waiting or running:
        while waiting and len(running) < PROCESSES:
            mutant = waiting.pop()
            running[begun(mutant)] = mutant
        pid, status = os.wait()
        ended = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU
        word = "timed out" if ended else "killed" if status else "survived"
        yield running.pop(pid), word


def main(modules: Sequence[str]) -> int:
    """Try all mutants of *modules*; 1 where one survives that is not explained."""
    for name in AHEAD:
        importlib.import_module(name)
    sources = {m: (DOMAIN / f"{m}.py").read_text(encoding="utf-8") for m in modules}
    whole = [Mutant(m, "", "", 0, source) for m, source in sources.items()]
    broken = [m.module for m, word in tried(whole) if word != "survived"]
    if broken:
        sys.exit(f"without any mutant the tests fail: {', '.join(broken)}")
    rows = tomllib.loads(Path(__file__).with_suffix(".toml").read_text())["mutant"]
    explained = {(row["module"], row["was"], row["now"]) for row in rows}
    found = [mutant for told in sources.items() for mutant in mutants(*told)]
    figures = Counter[str]()
    for mutant, told in tried(found):
        is_known = told == "survived" and mutant[:3] in explained
        word = "explained" if is_known else told
        figures[word] += 1
        if word == "survived":
            place = f"bridge/domain/{mutant.module}.py:{mutant.line}"
            sys.stdout.write(f"{place}\n- {mutant.was}\n+ {mutant.now}\n\n")
        sys.stderr.write(f"\r{figures.total()} of {len(found)}: {dict(figures)} ")
    sys.stdout.write(f"\n{len(found)} mutants: {dict(figures)}\n")
    return min(figures["survived"], 1)


if __name__ == "__main__":
    phases = [Phase.explicit, Phase.generate]
    settings.register_profile("mutants", derandomize=True, deadline=None, phases=phases)
    every = sorted(path.stem for path in DOMAIN.glob("[!_]*.py"))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = folder
        sys.exit(main(sys.argv[1:] or every))
