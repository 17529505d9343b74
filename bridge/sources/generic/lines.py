"""One line of a table: where a value is in a delivery, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.parser import ParsedResult
from marshmallow import ValidationError, fields

from bridge.sources.generic.convert import AS, Convert, scalar, text

Search = Callable[[Any], Any]

LONGEST = 500
"""Characters of a path; the parser of a much longer one would leave the stack."""

LINE = "must be a path in quotes, or a table with `path` or `header`"
FUNCTIONS = Functions().FUNCTION_TABLE
PARTS = ("path", "header", "as", "lookup", "null_clears")


class Absent(ValueError):  # noqa: N818 - no error: the sender has no opinion
    """The delivery does not have the value."""


class Line(NamedTuple):
    """Where a value is and how it is read; *kind* is the word of `as`.

    *parent* finds the object whose *key* the value is, where an explicit null clears.
    """

    search: Search
    convert: Convert
    kind: str = ""
    headers: tuple[str, ...] = ()
    lookup: Mapping[str, Any] | None = None
    parent: Search | None = None
    key: str = ""

    def read(self, body: Any, headers: Mapping[str, str] | None = None) -> Any:
        """Return the value, None where it is cleared.

        Raises Absent where there is none, ValueError where it is not what it must be.
        """
        told = headers or {}
        said = next((told[h] for h in self.headers if h in told), None)
        value = self.search(body) if said is None else said
        if value is None or value == "":
            parent = self.parent(body) if self.parent else None
            if isinstance(parent, dict) and self.key in parent:
                return None
            raise Absent
        return self.convert(value if self.lookup is None else self._looked_up(value))

    def _looked_up(self, value: Any) -> Any:
        lookup = self.lookup or {}
        word = str(value).lower() if type(value) is bool else text(value)
        found = lookup.get(word, lookup.get("*"))
        if found is None:
            raise ValueError(f"{word[:40]!r} is not in its lookup")
        return found


def compiled(path: Any) -> ParsedResult:
    """Compile a path; raises ValidationError with what is wrong with it."""
    if not isinstance(path, str) or len(path) > LONGEST:
        raise ValidationError(f"must be a path of at most {LONGEST} characters")
    try:
        found = jmespath.compile(path)
    except (JMESPathError, RecursionError) as error:
        first = str(error).splitlines()[0].rstrip(":")
        raise ValidationError(f"{path!r} is no JMESPath: {first}") from None
    unknown = sorted(_functions(found.parsed) - FUNCTIONS.keys())
    if unknown:
        raise ValidationError(f"{path!r} calls {unknown[0]}(), which JMESPath lacks")
    return found


def _functions(node: Any) -> set[str]:
    """Names of the functions that a parsed path calls."""
    if not isinstance(node, dict):
        return set()
    mine = {node["value"]} if node["type"] == "function_expression" else set()
    return mine.union(*map(_functions, node["children"]))


class Path(fields.Field[Any]):
    """A compiled path, as those lines have it that are no values."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Search:
        search: Search = compiled(value).search
        return search


class Value(fields.Field[Any]):
    """A path in quotes, or a table.

    *words* are what `as` may be, the first without it; none: any, and without it JSON.
    """

    def __init__(self, *words: str, clears: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.words = words
        self.clears = clears

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Line:
        said = {"path": value} if isinstance(value, str) else value
        if not isinstance(said, dict) or not {"path", "header"} & set(said):
            raise ValidationError(LINE)
        strange = sorted(set(said) - set(PARTS))
        if strange:
            raise ValidationError({strange[0]: [f"is none of {', '.join(PARTS)}"]})
        path = compiled(said.get("path", "`null`"))
        convert, kind = self._converter(said.get("as"))
        line = Line(path.search, convert, kind, _headers(said), _lookup(said))
        return _clearing(line, path) if self._may_clear(said) else line

    def _converter(self, word: Any) -> tuple[Convert, str]:
        allowed = self.words or tuple(AS)
        if word is None and not self.words:
            return scalar, ""
        kind = allowed[0] if word is None else word
        if kind not in allowed:
            raise ValidationError({"as": [f"must be one of {', '.join(allowed)}"]})
        return AS[kind], kind

    def _may_clear(self, said: Mapping[str, Any]) -> bool:
        clears = said.get("null_clears", False)
        if not isinstance(clears, bool) or (clears and not self.clears):
            raise ValidationError(
                {"null_clears": ["must be true or false, and is for traits alone"]}
            )
        return clears


def _headers(said: Mapping[str, Any]) -> tuple[str, ...]:
    named = said.get("header", [])
    listed = [named] if isinstance(named, str) else named
    if not isinstance(listed, list) or not all(isinstance(h, str) for h in listed):
        raise ValidationError({"header": ["must be the name of a header, or several"]})
    return tuple(header.lower() for header in listed)


def _lookup(said: Mapping[str, Any]) -> Mapping[str, Any] | None:
    table = said.get("lookup")
    if table is None:
        return None
    if not isinstance(table, dict) or not all(
        isinstance(v, str | int | float | bool) for v in table.values()
    ):
        raise ValidationError({"lookup": ["must be a table of words"]})
    return table


def _clearing(line: Line, path: ParsedResult) -> Line:
    """Have an explicit null clear: it stands in an object that a plain path finds."""
    parsed = path.parsed
    parts = parsed["children"] if parsed["type"] == "subexpression" else [parsed]
    if parts[-1]["type"] != "field":
        raise ValidationError({"null_clears": ["needs a plain path, like data.plan"]})
    above = {"type": "subexpression", "children": parts[:-1]}
    parent = ParsedResult("", above).search if parts[:-1] else lambda body: body
    return line._replace(parent=parent, key=parts[-1]["value"])


class Named(fields.Field[Any]):
    """A table of tables or lines whose names are free within *pattern*."""

    def __init__(
        self, inner: Callable[[str], fields.Field[Any]], wrong: Callable[[str], str]
    ) -> None:
        super().__init__(load_default=dict)
        self.inner = inner
        self.wrong = wrong

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValidationError("must be a table")
        found: dict[str, Any] = {}
        problems: dict[str, Any] = {}
        for name, said in value.items():
            try:
                if self.wrong(name):
                    raise ValidationError(self.wrong(name))
                found[name] = self.inner(name).deserialize(said)
            except ValidationError as error:
                problems[name] = error.messages
        if problems:
            raise ValidationError(problems)
        return found
