"""Small modules and small functions; what nobody measures grows."""

from __future__ import annotations

import ast
from itertools import chain
from pathlib import Path
from statistics import median, quantiles

import pytest

from tests.support.processes import ROOT

MODULES = sorted(chain(ROOT.glob("bridge/**/*.py"), ROOT.glob("workers/**/*.py")))

MODULE_LINES = 400
FUNCTION_LINES = 40
MEDIAN_MODULE_LINES = 120
MEDIAN_BODY_LINES = 6
TENTH_LONGEST_BODY_LINES = 20

Function = ast.FunctionDef | ast.AsyncFunctionDef


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(path: Path) -> list[Function]:
    return [node for node in ast.walk(tree(path)) if isinstance(node, Function)]


def lines(function: Function) -> int:
    """All lines, the decorators and the docstring too."""
    first = min([function.lineno, *(d.lineno for d in function.decorator_list)])
    return (function.end_lineno or first) - first + 1


def body_lines(function: Function) -> int:
    """Lines of the body without the docstring."""
    body = function.body
    if ast.get_docstring(function) is not None:
        body = body[1:]
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


BODIES = [body_lines(function) for path in MODULES for function in functions(path)]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_fits_into_one_s_head(path: Path) -> None:
    long = [
        f"{f.name}: {lines(f)}" for f in functions(path) if lines(f) > FUNCTION_LINES
    ]
    size = len(path.read_text(encoding="utf-8").splitlines())

    assert [] == long
    assert size <= MODULE_LINES


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_opens_with_a_sentence_that_says_what_it_knows(path: Path) -> None:
    docstring = ast.get_docstring(tree(path)) or ""
    is_empty = not tree(path).body

    assert is_empty or docstring.split("\n\n")[0].rstrip().endswith((".", ":"))


def test_most_modules_are_short() -> None:
    sizes = [len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES]

    assert median(size for size in sizes if size) <= MEDIAN_MODULE_LINES


def test_most_functions_are_a_few_lines() -> None:
    assert median(BODIES) <= MEDIAN_BODY_LINES


def test_few_functions_are_long() -> None:
    assert quantiles(BODIES, n=10)[-1] <= TENTH_LONGEST_BODY_LINES
