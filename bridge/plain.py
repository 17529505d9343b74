"""Text of others, as it is shown: one line that cannot steer whoever reads it.

Ids, names and reasons come from senders. Escapes move a terminal's cursor, line breaks
forge lines of a log or a table, and marks of direction make text look like another.
"""

from __future__ import annotations

SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def plain(text: str) -> str:
    r"""Return *text* with all that is not printable escaped as JSON would (`\u001b`).

    So JSON stays the same JSON.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else SHORT.get(c) or _escape(c) for c in text)


def _escape(character: str) -> str:
    code = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{code[n : n + 4]}" for n in range(0, len(code), 4))
