"""One line of a table: where a value is in a delivery, and how it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.parser import ParsedResult
from marshmallow import RAISE, Schema, ValidationError, fields

from bridge.sources.generic.convert import (
    CONVERTERS,
    SCALARS,
    Convert,
    label,
    scalar,
    text,
)

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

    *parent* finds the object whose *key* the value is, where an explicit null is a word.
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
        if self.lookup is not None:
            word = text(value)
            if word not in self.lookup and "*" not in self.lookup:
                raise ValueError("is not in its lookup")
            value = self.lookup.get(word, self.lookup.get("*"))
        return self.convert(value)


def told(
    said: Mapping[str, Any],
    name: str,
    body: Any,
    place: str = "",
    absent: Any = None,
) -> Any:
    """Return the value of line *name* of a table, None where it is cleared.

    *absent* where there is none. Raises ValidationError where it is not what it must be;
    *place* is the table's.
    """
    line: Line | None = said.get(name)
    try:
        return absent if line is None else line.read(body)
    except Absent:
        return absent
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
    *shown*: how many characters of a text are kept for people to read; 0: it is no such.
    """

    def __init__(
        self, *words: str, clears: bool = False, shown: int = 0, **options: Any
    ) -> None:
        super().__init__(**options)
        self.words = words
        self.clears = clears
        self.shown = shown

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> Line:
        said = {"path": value} if isinstance(value, str) else value
        if not isinstance(said, dict) or not {"path", "header"} & said.keys():
            must = "must be a path in quotes, or a table with `path` or `header`"
            raise ValidationError(must)
        wrong = [*self._wrong(said)]
        if wrong:
            raise ValidationError({name: [must] for name, must in wrong})
        path = _compiled(said.get("path", "`null`"))
        kind = said.get("as", self.words[0] if self.words else "")
        line = Line(
            _search(path),
            self._convert(kind),
            kind,
            tuple(header.lower() for header in _listed(said.get("header", []))),
            said.get("lookup"),
        )
        if said.get("null_clears") or (not self.clears and _keys(path)):
            return _clearing(line, path)
        return line

    def _convert(self, kind: str) -> Convert:
        if kind == "text" and self.shown:
            return partial(label, most=self.shown)
        return CONVERTERS[kind] if kind else scalar

    def _wrong(self, said: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Each part that is not what it must be, and what it must be."""
        kinds = self.words or SCALARS
        lookup, clears = said.get("lookup", {}), said.get("null_clears", False)
        for name in said.keys() - set(PARTS):
            yield name, f"is none of {', '.join(PARTS)}"
        if said.get("as", kinds[0]) not in kinds:
            yield "as", f"must be one of {', '.join(kinds)}"
        if not all(isinstance(h, str) for h in _listed(said.get("header", []))):
            yield "header", "must be the name of a header, or several"
        if not isinstance(lookup, dict) or any(
            isinstance(word, dict | list) for word in lookup.values()
        ):
            yield "lookup", "must be a table of words"
        if type(clears) is not bool or (clears and not self.clears):
            yield "null_clears", "must be true or false, and is for traits alone"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


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


def _keys(path: ParsedResult) -> list[str]:
    """The keys of a plain path, like data.plan; none of any other."""
    node = path.parsed
    parts = node["children"] if node["type"] == "subexpression" else [node]
    plain = all(part["type"] == "field" for part in parts)
    return [part["value"] for part in parts] if plain else []


def _search(path: ParsedResult) -> Search:
    """The search of *path*; its ValueError quotes nothing of what came."""
    keys = _keys(path)
    return partial(_walk, keys) if keys else partial(_searched, path)


def _walk(keys: list[str], body: Any) -> Any:
    """What jmespath would find, in a quarter of its time."""
    for key in keys:
        body = body.get(key) if isinstance(body, dict) else None
    return body


def _searched(path: ParsedResult, body: Any) -> Any:
    try:
        return path.search(body)
    except BROKEN:
        raise ValueError("its path does not fit what came") from None


def _clearing(line: Line, path: ParsedResult) -> Line:
    """Have an explicit null clear: its key stands in the object above it."""
    keys = _keys(path)
    if not keys:
        raise ValidationError({"null_clears": ["needs a plain path, like data.plan"]})
    return line._replace(parent=partial(_walk, keys[:-1]), key=keys[-1])


class Named(fields.Field[Any]):
    """A table of tables or lines; *wrong* says what is amiss with a name, if anything."""

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
        problems: dict[str, Any] = {n: self.wrong(n) for n in value if self.wrong(n)}
        for name in value.keys() - problems.keys():
            try:
                found[name] = self.inner(name).deserialize(value[name])
            except ValidationError as error:
                problems[name] = error.messages
        if problems:
            raise ValidationError(problems)
        return {name: found[name] for name in value}
