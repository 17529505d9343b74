"""The Lua scripts: they load, say what they take, and spell keys as `keys.py` does."""

from __future__ import annotations

import re

import pytest
from redis import Redis

from bridge.store import keys
from bridge.store.connect import LUA, load

LIBRARIES = {
    "prelude",
    "claiming",
    "holding",
    "joining",
    "receiving",
    "settling",
    "releasing",
    "quarantining",
    "tracing",
}
NAMES = sorted(path.stem for path in LUA.glob("*.lua"))
SCRIPTS = [name for name in NAMES if name not in LIBRARIES]
ONES = (
    "facts",
    "party",
    "account",
    "children",
    "members",
    "history",
    "instances",
    "lease",
    "waiters",
    "uses",
    "mass",
)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_understood_by_redis(redis: Redis, name: str) -> None:
    assert redis.script_load(load(name))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_says_what_it_is_for_and_what_it_takes(name: str) -> None:
    head = (LUA / f"{name}.lua").read_text(encoding="utf-8").splitlines()
    told = [line for line in head if line.startswith("--")]

    assert re.fullmatch(r"-- [A-Z].*", told[0])
    for part in ("KEYS", "ARGV", "RETURNS"):
        assert [part] == [part for line in told if line.startswith(f"-- {part}: ")]


def test_the_keys_of_the_scripts_are_those_of_the_bridge() -> None:
    text = "\n".join(
        (LUA / f"{name}.lua").read_text(encoding="utf-8") for name in NAMES
    )
    known = {value for value in vars(keys).values() if isinstance(value, str)}
    known |= {getattr(keys, name)("") for name in ONES}

    spelled = set(re.findall(r"'(vb1:[^']*)'", text))
    assert set() == spelled - known
    assert len(spelled) >= 20


def test_every_script_is_in_the_map() -> None:
    told = (LUA / "README.md").read_text(encoding="utf-8")

    assert [] == [name for name in NAMES if f"`{name}`" not in told]
