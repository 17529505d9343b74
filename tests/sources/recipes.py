"""Every recipe, as the suite has to know it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from functools import partial
from typing import Any

from bridge.config import Table
from bridge.sources.generic import make, recipes
from bridge.webhook.auth import STANDARD_WEBHOOKS, Scheme, sign
from bridge.webhook.source import Delivery, Source
from tests.sources.known import FOLDER, NOW, URL, Known, Lines

SECRET = "6578616d706c652d6578616d706c65"
"""A password, hexadecimal and base64 alike."""


def source(recipe: str, secret: str = "") -> Source:
    # Some leave it to the table whose an event is.
    party = {} if recipes()[recipe].get("events") else {"party": "data.party"}
    environ = {recipes()[recipe]["secret_env"]: secret}
    made = make(recipe, {"recipe": recipe, **party}, environ)

    assert () == made.problems
    assert made.source is not None
    return made.source


def table(recipe: str, said: Lines) -> Table:
    made = make(recipe, {"recipe": recipe, "party": "data.party", **said}, {})
    return Table({}, made.traits, made.problems)


def signed(verify: Any, body: bytes, secret: str) -> Delivery:
    return Delivery("POST", URL, _headers(verify, body, secret), body)


def _headers(verify: Any, body: bytes, secret: str) -> Mapping[str, str]:
    if verify == "basic":
        return {"authorization": f"Basic {b64encode(secret.encode()).decode()}"}
    if verify != "standard-webhooks" and verify["scheme"] == "header":
        return {verify["header"]: f"{verify['prefix']}{secret}"}
    scheme, ids = STANDARD_WEBHOOKS, {"webhook-id": "msg_example"}
    if verify != "standard-webhooks":
        scheme = Scheme(**{k: v for k, v in verify.items() if k != "scheme"})
    return sign(scheme, secret, body, NOW, url=URL, headers=ids)


def known(recipe: str) -> Known:
    verify = recipes()[recipe]["verify"]
    secret = f"bridge:{SECRET}" if verify == "basic" else SECRET
    return Known(
        source(recipe, secret=secret),
        partial(signed, verify),
        secret,
        on={},
        fixtures=FOLDER / "generic" / "fixtures" / recipe,
        off=source(recipe),
        table=partial(table, recipe),
    )


KNOWN = [known(recipe) for recipe in recipes()]
