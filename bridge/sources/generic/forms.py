"""In what forms bodies come: JSON, forms with brackets, CloudEvents; and their events."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, unquote_plus

from bridge.errors import PayloadError
from bridge.webhook.bodies import json_value
from bridge.webhook.fields import BROKEN
from bridge.webhook.source import Delivery

HALF = re.compile("[\ud800-\udfff]")

DEEPEST = 20
"""Brackets of one name."""

MOST_FIELDS = 10_000
"""Of a form that is looked through before anything is proved."""

NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
UNREADABLE = "the body cannot be read"


def parsed(form: str, delivery: Delivery) -> Any:
    """Return the content of a delivery in JSON types. Raises PayloadError."""
    try:
        return FORMS[form](delivery)
    except (PayloadError, ValueError, RecursionError):
        raise PayloadError(f"{UNREADABLE} as {form}") from None


def _json(delivery: Delivery) -> Any:
    return json_value(delivery.body)


def _form(delivery: Delivery) -> Any:
    """`a[b][c]=1` as nested objects; a name that is repeated has a list."""
    found: dict[str, Any] = {}
    pairs = parse_qsl(
        delivery.body.decode(), keep_blank_values=True, errors="surrogateescape"
    )
    for name, value in pairs:
        # What is no text is read as in JSON.
        _put(found, _parts(name), HALF.sub(BROKEN, value) or None)
    return _listed(found)


def field(body: bytes, name: str) -> str | None:
    """The value of the field *name* of a form; None where it does not stand there once.

    For a body of which nobody knows who sent it: one pass, and nothing is made of the
    fields that are not asked for.
    """
    if body.count(b"&") > MOST_FIELDS:
        return None
    longest = 3 * len(name)  # each character may be escaped, as %41
    pairs = (pair.partition(b"=") for pair in body.split(b"&"))
    found = [
        value
        for key, _, value in pairs
        if len(key) <= longest and unquote_plus(key.decode("latin-1")) == name
    ]
    return unquote_plus(found[0].decode("latin-1")) if len(found) == 1 else None


def _parts(name: str) -> list[str]:
    match = NAME.fullmatch(name)
    if match is None or match[2].count("[") > DEEPEST:
        raise ValueError("no name of a form")
    return [match[1], *re.findall(r"\[([^\[\]]*)\]", match[2])]


def _put(into: dict[str, Any], parts: list[str], value: Any) -> None:
    *above, last = parts
    for part in above:
        into = into.setdefault(part, {})
        if not isinstance(into, dict):
            raise ValueError("a value and a table")  # noqa: TRY004 - of the sender
    if last not in into:
        into[last] = value
    elif isinstance(into[last], list):
        into[last].append(value)
    else:
        into[last] = [into[last], value]


def _listed(value: Any) -> Any:
    """Tables whose names are 0, 1, 2 … (or `[]`) are lists."""
    if not isinstance(value, dict):
        return value
    found = {name: _listed(inner) for name, inner in value.items()}
    if found.keys() == {str(n) for n in range(len(found))}:
        return [found[str(n)] for n in range(len(found))]
    if found.keys() == {""}:
        return found[""] if isinstance(found[""], list) else [found[""]]
    return found


def _cloudevents(delivery: Delivery) -> Any:
    """https://github.com/cloudevents/spec, HTTP binding: its three modes."""
    headers = delivery.headers
    if headers.get("content-type", "").startswith("application/cloudevents"):
        return json_value(delivery.body)
    said = {
        name.removeprefix("ce-"): unquote(value)
        for name, value in headers.items()
        if name.startswith("ce-")
    }
    content = json_value(delivery.body) if delivery.body else None
    # A delivery that is replayed has no headers: it can only be the structured mode.
    return {**said, "data": content} if said else content


FORMS: Mapping[str, Callable[[Delivery], Any]] = {
    "json": _json,
    "form": _form,
    "cloudevents": _cloudevents,
}
"""Word of `body` -> its parser, which raises ValueError."""
