"""How an id stands in a URL."""

from __future__ import annotations

from urllib.parse import quote


def segment(id_: str) -> str | None:
    """*id_* as one step of a URL's path; None where it cannot be one.

    `..` would lead out of the folder that it is looked up in; no id has control
    characters, nor halves of one.
    """
    is_id = id_.isprintable() and id_.strip(".")
    return quote(id_, safe="") if is_id else None
