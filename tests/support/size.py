"""How much code there is: lines without blanks, comments, docstrings and imports.

`make size` prints them by folder, and what one event enters of it.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections import Counter
from itertools import chain
from pathlib import Path
from typing import TypeGuard

from tests.support import one_event
from tests.support.processes import ROOT

SKIPPED = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def modules() -> list[Path]:
    """Every module of the product."""
    return sorted(chain(ROOT.glob("bridge/**/*.py"), ROOT.glob("workers/**/*.py")))


def code_lines(text: str) -> int:
    """Lines of *text* that a reader has to understand."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in SKIPPED:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import | ast.ImportFrom) or _is_text_alone(node):
            lines.difference_update(range(node.lineno, (node.end_lineno or 0) + 1))
    return len(lines)


def _is_text_alone(node: ast.AST) -> TypeGuard[ast.Expr]:
    """Whether *node* is a docstring, or a text below what it describes."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def by_folder() -> dict[str, tuple[int, int]]:
    """Folder -> files and code lines of it and all below it, two levels deep."""
    files: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    for path in modules():
        size = code_lines(path.read_text(encoding="utf-8"))
        parts = path.relative_to(ROOT).parts
        for folder in {parts[0], "/".join(parts[:-1][:2])}:
            files[folder] += 1
            lines[folder] += size
    return {folder: (files[folder], lines[folder]) for folder in sorted(files)}


def table() -> str:
    """What `make size` prints."""
    sizes = by_folder()
    total = [sum(sizes[top][n] for top in ("bridge", "workers")) for n in (0, 1)]
    rows = [("folder", "files", "code lines"), *((f, *n) for f, n in sizes.items())]
    rows.append(("bridge and workers", *total))
    return "\n".join(f"{name:24}{files:>8}{lines:>12}" for name, files, lines in rows)


if __name__ == "__main__":
    print(table(), one_event.table(one_event.entered()), sep="\n\n")  # noqa: T201 - its purpose
