"""What is stored of a customer is as docs/privacy.md says, and gone once it is forgotten."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

import pytest

from bridge.store import keys
from bridge.store.quarantine import Quarantine
from tests.chaos.crashpoints import STORIES, Theatre
from tests.support import docs
from tests.support.command import called
from tests.support.fate import Fate

SIZES = {
    "hash": "hlen",
    "list": "llen",
    "set": "scard",
    "stream": "xlen",
    "zset": "zcard",
    "string": "exists",
}

NAMES = re.compile(
    r"(?<![\w-])(acme|birch|old|organization:(one|two)|Example Shop|The cus_|shop\.example"
    r"|(of_|sub_)?cus_\d+x\d+(_\d)?)(?![\w-])"
)
"""What stands for a customer in the stories; ids of events hold those of customers too."""


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    with Theatre(tmp_path_factory.mktemp("theatre")) as one:
        yield one


def rows_of(name: str) -> list[dict[str, Any]]:
    """The rows of the page that a key belongs to."""
    own = name.removeprefix(keys.PREFIX)
    return [
        row for row in docs.stored() if any(fnmatchcase(own, k) for k in row["keys"])
    ]


def surprise(redis: Any, name: str) -> str:
    """What the page does not say of a key; "": it says all."""
    rows = rows_of(name)
    if len(rows) != 1:
        return f"{name} is in {len(rows)} rows"
    (row,), life = rows, redis.pttl(name)
    if "seconds" in row and not 0 <= life <= row["seconds"] * 1000:
        return f"{name} lives for {life} ms"
    size = getattr(redis, SIZES[redis.type(name).decode()])(name)
    return f"{name} has {size} lines" if size > row.get("most", size) else ""


def text_of(redis: Any) -> str:
    """All that is in Redis, whole bodies of the quarantine too."""
    read = {
        "hash": redis.hgetall,
        "list": lambda name: redis.lrange(name, 0, -1),
        "set": redis.smembers,
        "stream": redis.xrange,
        "string": redis.get,
        "zset": lambda name: redis.zrange(name, 0, -1),
    }
    names = [*redis.scan_iter(count=1000)]
    bodies = [kept.body for kept in Quarantine(redis).all()]
    return str([(name, read[redis.type(name).decode()](name)) for name in names]) + str(
        bodies
    )


def test_each_key_has_a_row() -> None:
    named = [
        made("*", "*") if callable(made) else made
        for name, made in vars(keys).items()
        if not name.startswith("_") and name not in {"PREFIX", "annotations"}
    ]

    assert [] == [name for name in named if len(rows_of(name)) != 1]
    spelt = {name.removeprefix(keys.PREFIX) for name in named}
    spelt |= {"mass:in:*:amounts", "mass:in:*:sum"}
    written = {
        k for row in docs.stored() for k in row["keys"] if not k.startswith("rq:")
    }
    assert spelt == written


@pytest.mark.parametrize("story", STORIES)
def test_what_a_story_leaves_is_on_the_page_and_can_be_forgotten(
    theatre: Theatre, story: str
) -> None:
    theatre.play(story, Fate())
    redis: Any = theatre.stack.redis
    run = partial(called, environ=theatre.stack.environ)

    names = [raw.decode() for raw in redis.scan_iter(count=1000)]
    assert [] == [*filter(None, (surprise(redis, name) for name in names))]
    assert NAMES.search(text_of(redis))
    for party in [n.partition("facts:")[2] for n in names if ":facts:" in n]:
        said = run("forget", party, "--yes", "--json").json
        assert {"facts", "party"} <= {*said["removed"]}
        assert 4 == len(said["remains"])

    assert [] == [*{found[0] for found in NAMES.finditer(text_of(redis))}]
