"""One line of a table: where a value is in a delivery, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.parser import ParsedResult
from marshmallow import RAISE, Schema, ValidationError, fields

from bridge.sources.generic.convert import CONVERTERS, SCALARS, Convert, scalar, text

Search = Callable[[Any], Any]

LONGEST = 500
"""Characters of a path; the parser of a much longer one would leave the stack."""

BROKEN = (ValueError, TypeError, ArithmeticError, RecursionError)
"""What jmespath raises where a path meets what its functions cannot take."""

PARTS = ("path", "header", "as", "lookup", "null_clears")
FUNCTIONS = frozenset(Functions().FUNCTION_TABLE)


class Absent(Exception):  # noqa: N818 - no error: the sender has no opinion
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
        return self.convert(value if self.lookup is None else self._meant(value))

    def _meant(self, value: Any) -> Any:
        word = str(value).lower() if type(value) is bool else text(value)
        lookup = self.lookup or {}
        if word not in lookup and "*" not in lookup:
            raise ValueError("is not in its lookup")
        return lookup.get(word, lookup.get("*"))


def told(said: Mapping[str, Any], name: str, body: Any, place: str = "") -> Any:
    """Return the value of line *name* of a table, None where there is none.

    Raises ValidationError where it is not what it must be; *place* is the table's.
    """
    line: Line | None = said.get(name)
    try:
        return None if line is None else line.read(body)
    except Absent:
        return None
    except ValueError as error:
        raise ValidationError({place + name: [str(error)]}) from None


class TableSchema(Schema):
    """A table of `bridge.toml`: a line that it does not know is a mistake."""

    class Meta:
        """Nobody adds lines but the operator."""

        unknown = RAISE


class Value(fields.Field[Any]):
    """A path in quotes, or a table with it.

    *words* are what `as` may be, the first without it; none: any, and without it JSON.
    """

    def __init__(self, *words: str, clears: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.words = words
        self.clears = clears

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Line:
        said = {"path": value} if isinstance(value, str) else value
        if not isinstance(said, dict) or not {"path", "header"} & said.keys():
            must = "must be a path in quotes, or a table with `path` or `header`"
            raise ValidationError(must)
        strange = sorted(said.keys() - set(PARTS))
        if strange:
            raise ValidationError({strange[0]: [f"is none of {', '.join(PARTS)}"]})
        path = _compiled(said.get("path", "`null`"))
        convert, kind = self._converter(said.get("as"))
        line = Line(_safe(path), convert, kind, _headers(said), _lookup(said))
        return _clearing(line, path) if self._may_clear(said) else line

    def _converter(self, word: Any) -> tuple[Convert, str]:
        if word is None and not self.words:
            return scalar, ""
        allowed = self.words or SCALARS
        kind = allowed[0] if word is None else word
        if kind not in allowed:
            raise ValidationError({"as": [f"must be one of {', '.join(allowed)}"]})
        return CONVERTERS[kind], kind

    def _may_clear(self, said: Mapping[str, Any]) -> bool:
        clears = said.get("null_clears", False)
        if not isinstance(clears, bool) or (clears and not self.clears):
            must = "must be true or false, and is for traits alone"
            raise ValidationError({"null_clears": [must]})
        return clears


def _compiled(path: Any) -> ParsedResult:
    if not isinstance(path, str) or len(path) > LONGEST:
        raise ValidationError(f"must be a path of at most {LONGEST} characters")
    try:
        found = jmespath.compile(path)
    except (JMESPathError, RecursionError) as error:
        first = (str(error) or "too deep").splitlines()[0].rstrip(":")
        raise ValidationError(f"{path!r} is no JMESPath: {first}") from None
    unknown = sorted(_functions(found.parsed) - FUNCTIONS)
    if unknown:
        raise ValidationError(f"{path!r} calls {unknown[0]}(), which JMESPath lacks")
    return found


def _functions(node: Any) -> set[str]:
    """Names of the functions that a parsed path calls."""
    if not isinstance(node, dict):
        return set()
    mine = {node["value"]} if node["type"] == "function_expression" else set()
    return mine.union(*map(_functions, node["children"]))


def _safe(path: ParsedResult) -> Search:
    """The search of *path*; its ValueError quotes nothing of what came."""

    def search(body: Any) -> Any:
        try:
            return path.search(body)
        except BROKEN:
            raise ValueError("its path does not fit what came") from None

    return search


def _headers(said: Mapping[str, Any]) -> tuple[str, ...]:
    named = said.get("header", [])
    listed = [named] if isinstance(named, str) else named
    if not isinstance(listed, list) or not all(isinstance(h, str) for h in listed):
        raise ValidationError({"header": ["must be the name of a header, or several"]})
    return tuple(header.lower() for header in listed)


def _lookup(said: Mapping[str, Any]) -> Mapping[str, Any] | None:
    table = said.get("lookup", {})
    if not isinstance(table, dict) or not all(
        isinstance(word, str | int | float) for word in table.values()
    ):
        raise ValidationError({"lookup": ["must be a table of words"]})
    return table or None


def _clearing(line: Line, path: ParsedResult) -> Line:
    """Have an explicit null clear: it stands in an object that a plain path finds."""
    parsed = path.parsed
    parts = parsed["children"] if parsed["type"] == "subexpression" else [parsed]
    if parts[-1]["type"] != "field":
        raise ValidationError({"null_clears": ["needs a plain path, like data.plan"]})
    above = {"type": "subexpression", "children": parts[:-1]}
    parent = _safe(ParsedResult("", above)) if parts[:-1] else lambda body: body
    return line._replace(parent=parent, key=parts[-1]["value"])


class Named(fields.Field[Any]):
    """A table of tables or lines; *wrong* says what is amiss with a name, if anything."""

    def __init__(
        self,
        inner: Callable[[str], fields.Field[Any]],
        wrong: Callable[[str], str],
        **options: Any,
    ) -> None:
        super().__init__(load_default=dict, **options)
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
