"""How much code there is, and that each module says what it knows."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.support.processes import ROOT
from tests.support.size import by_folder, code_lines, modules, table

MOST_LINES = 17_760
"""Code lines of bridge and workers together; it may only shrink, down to 9,000."""


def test_the_product_does_not_outgrow_its_readers() -> None:
    sizes = by_folder()

    assert sizes["bridge"][1] + sizes["workers"][1] <= MOST_LINES, table()


def test_blanks_comments_docstrings_and_imports_are_no_code() -> None:
    text = (
        '"""Says\nwhat."""\n\nimport os\nfrom a import (\n    b,\n)\n\n'
        'X = 1  # one\n"""What X is."""\n\n\n'
        'def f():\n    """Say."""\n    # why\n    return """a\nb"""\n'
    )

    assert 4 == code_lines(text)  # X, def, and the two lines of the return


@pytest.mark.parametrize(
    "path", modules(), ids=lambda path: str(path.relative_to(ROOT))
)
def test_a_module_opens_with_a_sentence_that_says_what_it_knows(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstring = ast.get_docstring(tree) or ""

    assert not tree.body or docstring.split("\n\n")[0].rstrip().endswith((".", ":"))
