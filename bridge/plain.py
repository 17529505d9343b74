"""Text of others, as it is shown: one line that cannot steer whoever reads it.

Ids, names and reasons come from senders. Escapes move a terminal's cursor, line breaks
forge lines of a log or a table, and marks of direction make text look like another.
"""

from __future__ import annotations

import json


def plain(text: str) -> str:
    r"""Return *text* with all that is not printable escaped as JSON would (`\u001b`).

    So JSON stays the same JSON.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
