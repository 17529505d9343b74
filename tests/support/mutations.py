"""Every small way to break a module of Python, one at a time: source in, sources out."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from typing import Any, NamedTuple

PAIRS = (
    *((ast.Lt, ast.LtE), (ast.Lt, ast.GtE), (ast.Gt, ast.GtE), (ast.Gt, ast.LtE)),
    *((ast.Eq, ast.NotEq), (ast.In, ast.NotIn), (ast.Is, ast.IsNot)),
    *((ast.And, ast.Or), (ast.BitAnd, ast.BitOr)),
    *((ast.Add, ast.Sub), (ast.Mult, ast.Div)),
)
"""Operators that stand in for one another."""

NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
JUDGED = (ast.Compare, ast.BoolOp, ast.UnaryOp)
"""Conditions that are broken inside; any other is turned round as a whole."""

BLOCKS = (ast.FunctionDef, ast.For, ast.While, ast.If)
NOT_CODE = {"annotation", "returns", "decorator_list"}


class Mutant(NamedTuple):
    """A broken module: what its lines were and are, where, and its whole source."""

    module: str
    was: str
    now: str
    line: int
    source: str


def mutants(module: str, text: str) -> Iterator[Mutant]:
    """Every mutant of *module*, whose source is *text*, in the order of its lines."""
    tree = ast.parse(text)
    original = ast.unparse(tree)
    for parent, field, holder, key in _places(tree):
        child = holder[key]
        for other in (*_others(parent, field, child), *_turned(field, child)):
            holder[key] = other
            source = ast.unparse(tree)
            holder[key] = child
            line = getattr(child, "lineno", getattr(parent, "lineno", 0))
            if source != original:
                yield Mutant(module, *_difference(original, source), line, source)


def _places(parent: ast.AST) -> Iterator[tuple[ast.AST, str, Any, Any]]:
    """Every place of a node below *parent*: its parent, field, holder and key there."""
    for field, value in ast.iter_fields(parent):
        many = isinstance(value, list)
        holder, keys = (value, range(len(value))) if many else (vars(parent), [field])
        for key in keys:
            if isinstance(holder[key], ast.AST) and field not in NOT_CODE:
                yield parent, field, holder, key
                yield from _places(holder[key])


def _others(parent: ast.AST, field: str, child: ast.AST) -> Iterator[ast.AST]:
    """What can stand in the place of *child*."""
    match child:
        case ast.cmpop() | ast.boolop() | ast.operator():
            kind = type(child)
            yield from (pair[kind is pair[0]]() for pair in PAIRS if kind in pair)
        case ast.Constant(value=value) if not isinstance(parent, ast.Expr):
            yield from _constants(value)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.Name(id=name) if field == "func" and name in NAMES:
            yield ast.Name(NAMES[name])
        case ast.Return(value=ast.expr()):
            yield ast.Return(ast.Constant(None))
        case ast.Expr(value=ast.Constant()):
            return
        case ast.stmt() if isinstance(parent, BLOCKS):
            yield ast.Pass()


def _turned(field: str, child: ast.AST) -> Iterator[ast.AST]:
    """The opposite of a condition that has no operator of its own."""
    if field in {"test", "ifs"} and not isinstance(child, JUDGED):
        yield ast.UnaryOp(ast.Not(), child)


def _constants(value: object) -> Iterator[ast.AST]:
    """Prose is for people; a word is a key or a value."""
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int):
        yield ast.Constant(value + 1)
    elif isinstance(value, str) and " " not in value:
        yield ast.Constant(value + "!")


def _difference(original: str, source: str) -> tuple[str, str]:
    """The lines that differ, as they were and as they are."""
    both = original.splitlines(), source.splitlines()
    lines = list(difflib.unified_diff(*both, n=0, lineterm=""))[2:]
    was, now = (
        "\n".join(line[1:].strip() for line in lines if line.startswith(sign))
        for sign in "-+"
    )
    return was, now
