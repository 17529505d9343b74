"""Where a value is in a delivery, and how it is read: a JMESPath and what belongs to it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.parser import ParsedResult
from marshmallow import RAISE, Schema, ValidationError, fields, validate

from bridge.sources.generic.convert import (
    CONVERTERS,
    SCALARS,
    Convert,
    label,
    scalar,
    text,
)

LONGEST = 500
"""Characters of a path; the parser of a much longer one would leave the stack."""

UNFIT = (ValueError, TypeError, ArithmeticError, RecursionError)
"""What jmespath raises where a path meets what its functions cannot take."""

FUNCTIONS = frozenset(Functions().FUNCTION_TABLE)


class Absent(Exception):  # noqa: N818 - no error: the sender has no opinion
    """The delivery does not have the value."""


class ValuePath(NamedTuple):
    """Where a value is and how it is read; *kind* is the word of `as`.

    *clears*: the keys of a plain path at which an explicit null clears the value.
    """

    search: Callable[[Any], Any]
    convert: Convert
    kind: str = ""
    headers: Sequence[str] = ()
    lookup: Mapping[str, Any] | None = None
    clears: Sequence[str] = ()

    def read(self, body: Any, headers: Mapping[str, str] | None = None) -> Any:
        """Return the value, None where it is cleared.

        Raises Absent where there is none, ValueError where it is not what it must be.
        """
        sent = headers or {}
        value = next((sent[name] for name in self.headers if name in sent), None)
        if value is None:
            value = self.search(body)
        if value is None or value == "":
            above = _walk(self.clears[:-1], body)
            if self.clears and isinstance(above, dict) and self.clears[-1] in above:
                return None
            raise Absent
        if self.lookup is not None:
            word = text(value)
            if word not in self.lookup and "*" not in self.lookup:
                raise ValueError("is not in its lookup")
            value = self.lookup.get(word, self.lookup.get("*"))
        return self.convert(value)


def read(
    table: Mapping[str, Any],
    name: str,
    body: Any,
    place: str = "",
    absent: Any = None,
) -> Any:
    """Return the value of line *name* of a *table*, None where it is cleared.

    *absent* where there is none. Raises ValidationError where it is not what it must be;
    *place* is the table's.
    """
    path: ValuePath | None = table.get(name)
    try:
        return absent if path is None else path.read(body)
    except Absent:
        return absent
    except ValueError as error:
        raise ValidationError({place + name: [str(error)]}) from None


def _walk(keys: Sequence[str], body: Any) -> Any:
    """What jmespath would find at a plain path, in a quarter of its time."""
    for key in keys:
        body = body.get(key) if isinstance(body, dict) else None
    return body


def _search(path: ParsedResult, body: Any) -> Any:
    """Search *body*; the ValueError quotes nothing of it."""
    try:
        return path.search(body)
    except UNFIT:
        raise ValueError("its path does not fit what came") from None


def _plain_keys(path: ParsedResult) -> list[str]:
    """The keys of a plain path, like data.plan; none of any other."""
    node = path.parsed
    parts = node["children"] if node["type"] == "subexpression" else [node]
    is_plain = all(part["type"] == "field" for part in parts)
    return [part["value"] for part in parts] if is_plain else []


def _calls(node: Any) -> Iterator[str]:
    """Names of the functions that a parsed path calls."""
    if isinstance(node, dict):
        if node["type"] == "function_expression":
            yield node["value"]
        for inner in node["children"]:
            yield from _calls(inner)


# --- What a table of `bridge.toml` may say --------------------------------------


class TableSchema(Schema):
    """A table of `bridge.toml`: a line that it does not know is a mistake."""

    class Meta:
        """Nobody adds lines but the operator."""

        unknown = RAISE


def schema(**lines: Any) -> Any:
    """A table of these lines."""
    return TableSchema.from_dict(lines)()


def one_of(*words: str, **options: Any) -> fields.String:
    """One of *words*."""
    check = validate.OneOf(words, error=f"must be one of {', '.join(words)}")
    return fields.String(validate=check, **options)


class Texts(fields.Field[Any]):
    """One text or several, each of which *pattern* allows."""

    def __init__(
        self, pattern: str, must: str, most: int = 100, **options: Any
    ) -> None:
        super().__init__(**options)
        self.pattern = re.compile(pattern)
        self.must = must
        self.most = most

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> tuple[str, ...]:
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not 0 < len(texts) <= self.most:
            raise ValidationError(self.must)
        if not all(isinstance(t, str) and self.pattern.fullmatch(t) for t in texts):
            raise ValidationError(self.must)
        return tuple(texts)


def _compiled(path: Any) -> ParsedResult:
    if not isinstance(path, str) or len(path) > LONGEST:
        raise ValidationError(f"must be a path of at most {LONGEST} characters")
    try:
        found = jmespath.compile(path)
    except (JMESPathError, RecursionError) as error:
        first = (str(error) or "too deep").splitlines()[0].rstrip(":")
        raise ValidationError(f"{path!r} is no JMESPath: {first}") from None
    for name in sorted({*_calls(found.parsed)} - FUNCTIONS):
        raise ValidationError(f"{path!r} calls {name}(), which JMESPath lacks")
    return found


def _words(lookup: Mapping[str, Any]) -> None:
    if any(isinstance(word, dict | list) for word in lookup.values()):
        raise ValidationError("must be a table of words")


PARTS = {
    "path": fields.Raw(),
    "header": Texts(r"[!-~]+", "must be the name of a header, or several"),
    "lookup": fields.Dict(
        validate=_words, error_messages={"invalid": "must be a table of words"}
    ),
}


class Value(fields.Field[ValuePath]):
    """A path in quotes, or a table with it.

    *kinds* are what `as` may be, the first without it; none: any, and without it JSON.
    *trait*: it is that of a trait, which only `null_clears` clears. *shown*: how many
    characters of a text are kept for people to read; 0: it is no such.
    """

    def __init__(
        self, *kinds: str, trait: bool = False, shown: int = 0, **options: Any
    ) -> None:
        super().__init__(**options)
        clears = {"null_clears": fields.Boolean(load_default=False)} if trait else {}
        self.schema = schema(**PARTS, **clears, **{"as": one_of(*(kinds or SCALARS))})
        self.usual = kinds[0] if kinds else ""
        self.trait = trait
        self.shown = shown

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> ValuePath:
        given = {"path": value} if isinstance(value, str) else value
        if not isinstance(given, dict) or not {"path", "header"} & given.keys():
            must = "must be a path in quotes, or a table with `path` or `header`"
            raise ValidationError(must)
        parts = self.schema.load(given)
        path, kind = _compiled(parts.get("path", "`null`")), parts.get("as", self.usual)
        keys = _plain_keys(path)
        clears = parts.get("null_clears", not self.trait)
        if clears and self.trait and not keys:
            must = "needs a plain path, like data.plan"
            raise ValidationError({"null_clears": [must]})
        return ValuePath(
            partial(_walk, keys) if keys else partial(_search, path),
            self._convert(kind),
            kind,
            [name.lower() for name in parts.get("header", ())],
            parts.get("lookup"),
            keys if clears else (),
        )

    def _convert(self, kind: str) -> Convert:
        if kind == "text" and self.shown:
            return partial(label, most=self.shown)
        return CONVERTERS[kind] if kind else scalar


class Named(fields.Field[Any]):
    """A table whose lines have names of their own.

    *line* makes the field of a name; it raises ValidationError where that cannot be one.
    """

    def __init__(self, line: Callable[[str], fields.Field[Any]]) -> None:
        super().__init__(load_default=dict)
        self.line = line

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise ValidationError("must be a table")
        found: dict[str, Any] = {}
        wrong: dict[str, Any] = {}
        for name, inner in value.items():
            try:
                found[name] = self.line(name).deserialize(inner)
            except ValidationError as error:
                wrong[name] = error.messages
        if wrong:
            raise ValidationError(wrong)
        return found
