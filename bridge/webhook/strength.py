"""Which secrets are too weak to guard an endpoint, and what is said of one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

LEAST = 16
"""Characters of a secret that guards an endpoint alone; a guess takes too long then."""

VENDORS_OWN = "whsec_"
"""Beginning of secrets that the sender made, so that nobody here can choose a longer."""


class Weakness(NamedTuple):
    """What is said of a secret; *refused*: the processes do not start with it."""

    text: str
    refused: bool = True


def judged(name: str, secrets: str | Iterable[str] | None) -> Iterator[Weakness]:
    """Say what is weak about the *secrets* in variable *name*, each of which is enough."""
    for secret in [secrets] if isinstance(secrets, str) else secrets or ():
        if len(secret) < LEAST:
            said = f"{name} holds a secret of {len(secret)} characters"
            if secret.startswith(VENDORS_OWN) and secret != VENDORS_OWN:
                yield Weakness(f"{said}, fewer than {LEAST}: is it whole?", False)
            else:
                yield Weakness(f"{said}; it must have at least {LEAST}")


def judged_pair(
    username: str, password: str, said: Mapping[str, str | None]
) -> Iterator[Weakness]:
    """Say the same of HTTP Basic, where user and password guard together.

    *username* and *password* are the names of their variables.
    """
    user, word = said[username] or "", said[password] or ""
    if ":" in user:
        yield Weakness(f"{username} must not have a colon: HTTP Basic ends it there")
    if len(word) < 2:  # noqa: PLR2004 - none, or a single character
        yield Weakness(f"{password} must be set, and not to a single character")
    elif len(user) + len(word) < LEAST:
        both = f"{username} and {password} have {len(user) + len(word)} characters"
        yield Weakness(f"{both} together; they must have at least {LEAST}")
