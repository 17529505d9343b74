"""Breaks `bridge/domain` in every small way, one at a time, and asks the tests.

`make mutants` (ARGS="money fold": these modules alone). Nothing is written: a mutant
lives in a process of its own, which imports it in place of the module and runs the
tests until the first one fails. A mutant that no test can tell from the original is
explained in `mutants.toml`; any other survivor is a failure.
"""

from __future__ import annotations

import ast
import difflib
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
from typing import NamedTuple

import pytest
from hypothesis import Phase, settings

ROOT = Path(__file__).parents[1]
DOMAIN = ROOT / "bridge" / "domain"
EXPLAINED = Path(__file__).with_suffix(".toml")
PROCESSES = os.cpu_count() or 1
MEMORY = 2 << 30
SECONDS = 60
"""Of processor time; all tests together take a third of it, a mutant may never end."""

TESTS = {
    "account": "account cases document fold",
    "catalogue": "catalogue cases account document",
    "chain": "cases fold compaction",
    "document": "document policy cases",
    "explanation": "explanation",
    "facts": "stripe_facts fold rows",
    "fold": "cases subscription fold compaction rows",
    "money": "money policy explanation cases subscription document",
    "policy": "policy money_table config money",
    "subscription": "subscription cases policy explanation document",
    "traits": "document policy cases account",
}
"""Module -> the unit tests that matter, in the order in which they are run."""

OPTIONS = (
    *("-xq", "-p", "no:randomly", "-p", "no:cacheprovider"),
    "--hypothesis-profile=mutants",
    "-Wignore:Module already imported:pytest.PytestAssertRewriteWarning",
)

SWAPS: dict[type[ast.AST], tuple[type[ast.AST], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.And: (ast.Or,),
    ast.Or: (ast.And,),
    ast.Add: (ast.Sub,),
    ast.Sub: (ast.Add,),
    ast.Mult: (ast.Div,),
    ast.Div: (ast.Mult,),
    ast.BitOr: (ast.BitAnd,),
    ast.BitAnd: (ast.BitOr,),
}
"""What each operator is replaced by."""

NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
JUDGED = (ast.Compare, ast.BoolOp)
"""Conditions that are mutated inside; any other is turned round as a whole."""

BLOCKS = (ast.FunctionDef, ast.For, ast.While, ast.If)
NOT_CODE = {"annotation", "returns", "decorator_list"}


AHEAD = ("marshmallow", "orjson", "redis")
"""Loaded once, before the mutants part."""


class Mutant(NamedTuple):
    """One broken module: where, what its lines were and are, and its whole source."""

    module: str
    line: int
    was: str
    now: str
    source: str


def mutants(module: str) -> Iterator[Mutant]:
    """Every mutant of *module*, in the order of its lines."""
    tree = ast.parse((DOMAIN / f"{module}.py").read_text(encoding="utf-8"))
    original = ast.unparse(tree)
    for parent, field, place, child in _places(tree):
        for other in _others(parent, field, child):
            _put(parent, field, place, other)
            source = ast.unparse(tree)
            _put(parent, field, place, child)
            line = getattr(child, "lineno", getattr(parent, "lineno", 0))
            if source != original:
                yield Mutant(module, line, *_difference(original, source), source)


def _places(node: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    """Every node below *node* with its parent, field and place in a list."""
    for field, value in ast.iter_fields(node):
        many = value if isinstance(value, list) else [value]
        for place, child in enumerate(many):
            if isinstance(child, ast.AST) and field not in NOT_CODE:
                yield node, field, place if many is value else None, child
                yield from _places(child)


def _put(parent: ast.AST, field: str, place: int | None, child: ast.AST) -> None:
    if place is None:
        setattr(parent, field, child)
    else:
        getattr(parent, field)[place] = child


def _others(parent: ast.AST, field: str, child: ast.AST) -> Iterator[ast.AST]:
    """What can stand in the place of *child*."""
    yield from (swap() for swap in SWAPS.get(type(child), ()))
    match child:
        case ast.Constant(value=value) if not isinstance(parent, ast.Expr):
            yield from _constants(value)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.Name(id=name) if field == "func" and name in NAMES:
            yield ast.Name(NAMES[name])
        case ast.Return(value=ast.expr()):
            yield ast.Return(ast.Constant(None))
        case ast.stmt() if isinstance(parent, BLOCKS) and not _is_text(child):
            yield ast.Pass()
    is_condition = field in {"test", "ifs"} and not isinstance(child, JUDGED)
    if is_condition and isinstance(child, ast.expr):
        yield ast.UnaryOp(ast.Not(), child)


def _constants(value: object) -> Iterator[ast.AST]:
    """Prose is for people; a word is a key or a value."""
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
    elif isinstance(value, str) and " " not in value:
        yield ast.Constant(value + "!")


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _difference(original: str, source: str) -> tuple[str, str]:
    """The lines that differ, as they were and as they are."""
    both = original.splitlines(), source.splitlines()
    lines = list(difflib.unified_diff(*both, n=0, lineterm=""))[3:]
    was, now = (
        "\n".join(line[1:].strip() for line in lines if line.startswith(sign))
        for sign in "-+"
    )
    return was, now


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
            code = _tested(mutant.module)
        finally:
            os._exit(code)
    return pid


def _plant(mutant: Mutant) -> None:
    """Let everybody who imports the module get the mutant."""
    name = f"bridge.domain.{mutant.module}"
    spec = importlib.util.find_spec(name)
    planted = importlib.util.module_from_spec(spec)
    sys.modules[name] = planted
    exec(compile(mutant.source, f"<{name}>", "exec"), planted.__dict__)
    setattr(sys.modules["bridge.domain"], mutant.module, planted)


def _tested(module: str) -> int:
    names = TESTS.get(module, f"{module} cases").split()
    paths = [ROOT / "tests" / "unit" / f"test_{name}.py" for name in names]
    return int(pytest.main([*OPTIONS, *(str(path) for path in paths if path.exists())]))


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


def explained() -> set[tuple[str, str, str]]:
    """Mutants that no test can tell from the original."""
    rows = tomllib.loads(EXPLAINED.read_text(encoding="utf-8"))["mutant"]
    return {(row["module"], row["was"], row["now"]) for row in rows}


def main(modules: Sequence[str]) -> int:
    """Try all mutants of *modules*; 1 where one survives that is not explained."""
    settings.register_profile(
        "mutants",
        deadline=None,
        derandomize=True,
        report_multiple_bugs=False,
        phases=[Phase.explicit, Phase.generate],
    )
    for name in AHEAD:
        importlib.import_module(name)
    every = sorted(path.stem for path in DOMAIN.glob("[!_]*.py"))
    for module in modules or every:
        original = Mutant(module, 0, "", "", (DOMAIN / f"{module}.py").read_text())
        assert ["survived"] == [word for _, word in tried([original])], module
    found = [mutant for module in modules or every for mutant in mutants(module)]
    known, figures, failed = explained(), Counter[str](), False
    for number, (mutant, word) in enumerate(tried(found), 1):
        sys.stderr.write(f"\r{number} of {len(found)} {dict(figures)} ")
        is_known = mutant[:1] + mutant[2:4] in known
        figures["explained" if word == "survived" and is_known else word] += 1
        if word == "survived" and not is_known:
            failed = True
            place = f"bridge/domain/{mutant.module}.py:{mutant.line}"
            print(f"\n{place}\n- {mutant.was}\n+ {mutant.now}", flush=True)
    print(f"\n{len(found)} mutants: {dict(figures)}")
    return int(failed)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = folder
        sys.exit(main(sys.argv[1:]))
