"""`bridge.toml`: what it may say, and how each mistake is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.config import NATIVE, Config, Tables, load, parse, read
from bridge.domain.document import TRAITS
from bridge.errors import ConfigError

ENVIRON = {
    "REDIS_URL": "redis://127.0.0.1:6379/0",
    "VITALLY_API_KEY": "example-key",
    "VITALLY_SUBDOMAIN": "acme",
}


def written(folder: Path, text: str | bytes) -> str:
    """Write *text* to a file of *folder* and return its path."""
    path = folder / "bridge.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def problems_of(text: str | bytes, folder: Path) -> str:
    with pytest.raises(ConfigError) as refused:
        read(written(folder, text))
    return "\n".join(refused.value.problems)


def test_without_a_file_each_trait_has_its_own_name(tmp_path: Path) -> None:
    config = read(None, tmp_path / "bridge.toml")

    assert {trait: trait for trait in TRAITS} == config.traits


def test_an_empty_file_changes_nothing(tmp_path: Path) -> None:
    assert Config() == read(written(tmp_path, ""))


def test_a_trait_can_have_another_key(tmp_path: Path) -> None:
    config = read(written(tmp_path, '[traits]\nmrr = "vitally.custom.mrr"\n'))

    assert "vitally.custom.mrr" == config.traits["mrr"]
    assert "planName" == config.traits["planName"]


def test_a_trait_can_be_switched_off(tmp_path: Path) -> None:
    config = read(written(tmp_path, "[traits]\nplanName = false\n"))

    assert config.traits["planName"] is None


def test_two_traits_can_swap_their_keys() -> None:
    config, problems = parse({"traits": {"mrr": "planName", "planName": "mrr"}})

    assert [] == problems
    assert ("planName", "mrr") == (config.traits["mrr"], config.traits["planName"])


def test_the_file_in_the_working_folder_is_read_by_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, "[traits]\nmrr = false\n")
    monkeypatch.chdir(tmp_path)

    assert load(ENVIRON)[1].traits["mrr"] is None


def test_a_file_that_is_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"BRIDGE_CONFIG names .* does not exist"):
        read(str(tmp_path / "missing.toml"))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read(str(tmp_path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[traits]\nmrr = a\n", "is not TOML: .*line 2"),
        (b"mrr = '\xff'", "is not UTF-8"),
        ("[trait]\n", "'trait' is nothing the bridge knows"),
        ("traits = 1\n", "traits must be a table"),
        ('[traits]\nMRR = "mrr"\n', "traits.MRR is no trait; there are mrr, "),
        ("[traits]\nmrr = 1\n", "traits.mrr must be a key in quotes"),
        ("[traits]\nmrr = true\n", "traits.mrr must be a key in quotes"),
        ('[traits]\nmrr = ""\n', "traits.mrr must be a key without"),
        ('[traits]\nmrr = " mrr"\n', "traits.mrr must be a key without"),
        ('[traits]\nmrr = "m\\nr"\n', "traits.mrr must be a key without"),
        ('[traits]\nmrr = "planName"\n', "traits mrr and planName have one key"),
    ],
)
def test_a_mistake_is_named(text: str | bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=said):
        read(written(tmp_path, text))


@pytest.mark.parametrize("prefix", [*NATIVE, *map(str.upper, NATIVE)])
def test_the_keys_of_vitally_s_own_syncs_are_refused(prefix: str) -> None:
    _, problems = parse({"traits": {"mrr": f"{prefix}mrr"}})

    assert 1 == len(problems)
    assert "Vitally's own syncs" in problems[0]


def test_every_problem_of_the_file_is_named_with_the_file(tmp_path: Path) -> None:
    said = problems_of('[traits]\nmrr = 1\nx = "y"\n[other]\n', tmp_path)

    assert 3 == len(said.splitlines())
    assert all("bridge.toml: " in line for line in said.splitlines())


def test_the_problems_of_environment_and_file_come_together(tmp_path: Path) -> None:
    path = written(tmp_path, "[traits]\nmrr = 1\n")
    environ = ENVIRON | {"BRIDGE_CONFIG": path, "PORT": "eighty"}
    with pytest.raises(ConfigError) as refused:
        load(environ)

    assert ["PORT must", f"{path}: tra"] == [
        problem[: len(path) + 5] if problem.startswith(path) else problem[:9]
        for problem in refused.value.problems
    ]


def test_a_right_file_does_not_hide_a_wrong_environment(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    with pytest.raises(ConfigError, match="REDIS_URL is required"):
        load({**ENVIRON, "REDIS_URL": "", "BRIDGE_CONFIG": path})


def test_settings_and_config_come_as_a_pair(tmp_path: Path) -> None:
    path = written(tmp_path, "[traits]\nmrr = false\n")
    settings, config = load(ENVIRON | {"BRIDGE_CONFIG": path})

    assert path == settings.bridge_config
    assert config.traits["mrr"] is None


def test_what_a_caller_can_do_without_may_be_missing() -> None:
    settings, _ = load({}, without=("REDIS_URL", "VITALLY_API_KEY"))

    assert "" == settings.redis_url


def test_a_trait_that_a_source_adds_may_not_be_one_of_vitally_s_own() -> None:
    found = Tables(traits=["sfdc.Industry", "hspot.x", "seats"])

    _, problems = parse({}, lambda said: found)
    _, renamed = parse({"traits": {"sfdc.Industry": "industry"}}, lambda said: found)

    assert 2 == len(problems)
    assert all("Vitally's own syncs write it" in problem for problem in problems)
    assert 1 == len(renamed)
