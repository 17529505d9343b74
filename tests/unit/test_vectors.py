"""What the vendors publish as rightly signed is believed, by a table as by code."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bridge.errors import SignatureError
from bridge.sources.generic import make
from bridge.webhook.source import Delivery, Verified

VECTORS = tomllib.loads(Path(__file__).with_name("vectors.toml").read_text("utf-8"))

HUBSPOT = VECTORS["hubspot"]["table"]["verify"]

each = pytest.mark.parametrize("vector", VECTORS.values(), ids=VECTORS)

Verify = Callable[[Delivery, float], Verified]


def verifier(table: Mapping[str, Any], *secrets: str) -> Verify:
    """The verification of a *table* whose secrets these are."""
    names = [f"EXAMPLE_{n}" for n in range(len(secrets))]
    whole = {**table, "secret_env": names or ["EXAMPLE_0"]}
    made = make("example", whole, dict(zip(names, secrets, strict=True)))

    assert () == made.problems
    assert made.source is not None
    verify = made.source.verify
    return lambda delivery, now: verify(delivery, {}, now)


def signed(vector: Mapping[str, Any]) -> tuple[Delivery, str, float]:
    """The delivery, its secret, and when it was made."""
    body, url = vector["body"].encode(), vector.get("url", "")
    delivery = Delivery("POST", url, vector["headers"], body)
    return delivery, vector.get("prefix", "") + vector["secret"], vector["at"]


def is_refused(verify: Verify, delivery: Delivery, now: float) -> bool:
    try:
        verify(delivery, now)
    except SignatureError:
        return True
    return False


@each
def test_a_published_vector_is_believed(vector: Mapping[str, Any]) -> None:
    delivery, secret, at = signed(vector)
    for secrets in ([secret], ["another-example", secret]):
        assert delivery == verifier(vector["table"], *secrets)(delivery, at)


@each
def test_a_published_vector_with_anything_else_is_refused(
    vector: Mapping[str, Any],
) -> None:
    delivery, secret, at = signed(vector)
    verify = verifier(vector["table"], secret)
    cut = {name: value[:-1] for name, value in delivery.headers.items()}

    assert is_refused(verify, delivery._replace(body=delivery.body + b"\n"), at)
    assert is_refused(verify, delivery._replace(headers=cut), at)
    assert is_refused(verify, delivery._replace(headers={}), at)
    assert is_refused(verify, delivery, time.time())
    assert is_refused(verify, delivery, at - 400)
    assert is_refused(verifier(vector["table"], "another"), delivery, at)
    assert is_refused(verifier(vector["table"]), delivery, at)


@pytest.mark.parametrize("stamp", ["1663103925", "1663103925004"])
def test_recurly_s_time_may_be_in_seconds(stamp: str) -> None:
    """Its pages say milliseconds, and show seconds."""
    delivery, secret, at = signed(VECTORS["recurly"])
    header = delivery.headers["recurly-signature"].replace("1663103925004", stamp)
    changed = delivery._replace(headers={"recurly-signature": header})
    verify = verifier(VECTORS["recurly"]["table"], secret)
    with pytest.raises(SignatureError, match="tolerance"):
        verify(changed, at + 301)

    assert (stamp == "1663103925") == is_refused(verify, changed, at)
