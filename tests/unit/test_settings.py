"""The environment: what it may say, and how each mistake is named."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from bridge.errors import ConfigError
from bridge.settings import (
    OPTIONS,
    Option,
    Settings,
    doubts,
    meaning,
    several,
    values_of,
)
from bridge.sources import options

ENVIRON = {
    "REDIS_URL": "redis://:example-password@127.0.0.1:6379/0",
    "VITALLY_API_KEY": "example-key",
    "VITALLY_SUBDOMAIN": "acme",
}

CASES = Path(__file__).parents[1] / "cases"
MISTAKES = tomllib.loads((CASES / "mistakes.toml").read_text("utf-8"))["environment"]
SOURCE_OPTIONS = (
    Option("EXAMPLE_SECRET", several, "An example.", secret=True),
    Option("EXAMPLE_MODE", str, "Another.", "live"),
)


def settings(**said: str) -> Settings:
    return Settings.from_env(ENVIRON | said, SOURCE_OPTIONS)


def problems(environ: dict[str, str]) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as refused:
        Settings.from_env(environ, SOURCE_OPTIONS)
    return refused.value.problems


def test_three_variables_are_enough() -> None:
    made = settings(PORT="  ")

    assert (8000, "us", 0.8, "customer", False, False, True) == (
        *(made.port, made.vitally_region, made.vitally_budget_share),
        *(made.bridge_create, made.bridge_dry_run, made.bridge_allow_eviction),
        made.redis_tls_verify,
    )


def test_an_empty_environment_names_all_that_is_required() -> None:
    assert ["REDIS_URL", "VITALLY_API_KEY", "VITALLY_SUBDOMAIN"] == sorted(
        problem.split()[0] for problem in problems({})
    )


def test_what_a_caller_can_do_without_is_empty() -> None:
    made = Settings.from_env({}, without=("REDIS_URL", "VITALLY_API_KEY"))

    assert ("", "", "") == (
        made.redis_url,
        made.vitally_api_key,
        made.vitally_base_url,
    )


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        *MISTAKES,
        ("CONSOLE_USERNAME", "\udcff", "UTF-8"),
        ("CONSOLE_PASSWORD", "example\udcff", "UTF-8"),
    ],
)
def test_a_mistake_is_named(name: str, value: str, said: str) -> None:
    problem, *_ = problems(ENVIRON | {name: value})

    assert problem.startswith(f"{name} ")
    assert said in problem


def test_a_user_of_the_console_has_a_name_of_his_own() -> None:
    both = {"CONSOLE_PASSWORD": "example", "CONSOLE_USERS": "admin:operator:leak"}

    assert () != problems(ENVIRON | both)
    assert "leak" not in str(problems(ENVIRON | both))
    assert settings(**both | {"CONSOLE_PASSWORD": ""}).people


def test_all_mistakes_are_named_at_once() -> None:
    assert 3 == len(problems(ENVIRON | {"PORT": "x", "LOG_LEVEL": "x", "BRIDGE_X": ""}))


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("BRIDGE_CREAT", "did you mean BRIDGE_CREATE?"),
        ("VITALLY_TOKEN", "is it misspelled?"),
        ("BRIDGE_CONFIG_FILE", "did you mean BRIDGE_CONFIG?"),
    ],
)
def test_an_unknown_name_of_ours_is_a_mistake(name: str, asked: str) -> None:
    assert (f"{name} is not a setting of the bridge; {asked}",) == problems(
        ENVIRON | {name: "x"}
    )


@pytest.mark.parametrize(
    ("more", "doubt"),
    [
        ({"STRIPE_WEBHOK_SECRET": "x"}, "; did you mean STRIPE_WEBHOOK_SECRET?"),
        ({"HUBSPOT_ACCES_TOKEN": "x"}, "; did you mean HUBSPOT_ACCESS_TOKEN?"),
        ({"WORKERS_PROCESSES": "2"}, "; did you mean WORKER_PROCESSES?"),
        ({"CONSOLE_PASSWORD": "'hidden'"}, "CONSOLE_PASSWORD has quotes around it"),
        ({"REDIS_TLS_URL": "x", "PATH": "/bin", "STRIPE_SECRET": "x"}, None),
        ({"CONSOLE_PASSWORD": "it's", "STRIPE_API_KEY_FILE": "/x"}, None),
    ],
)
def test_what_may_be_a_mistake_is_only_asked(
    more: dict[str, str], doubt: str | None
) -> None:
    found = doubts(ENVIRON | more, (*OPTIONS, *options()))

    assert bool(doubt) == bool(found)
    assert (doubt or "") in " ".join(found)
    assert "hidden" not in " ".join(found)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("STRIPE_WEBHOOK_SECRET", "sk_live_hidden", "holds an API key of Stripe;"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_x, rk_test_hidden", "holds an API key"),
        ("STRIPE_WEBHOOK_SECRET", "https://hidden.example", "holds a URL;"),
        ("STRIPE_WEBHOOK_SECRET", '"whsec_hidden"', "must not have quotes around it"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_hidden,sk_of_our_own", ""),
        ("STRIPE_WEBHOOK_SECRET", "any text that is long enough", ""),
        ("STRIPE_API_KEY", "whsec_hidden", "holds the signing secret of a webhook;"),
        ("STRIPE_API_KEY", "pk_live_hidden", "holds a publishable key of Stripe;"),
        ("STRIPE_API_KEY", "rk_live_hidden", ""),
        (
            "HUBSPOT_CLIENT_SECRET",
            "pat-eu1-hidden",
            "holds an access token of HubSpot;",
        ),
        ("HUBSPOT_ACCESS_TOKEN", "pat-na1-hidden", ""),
        (
            "BRIDGE_ALERT_URL",
            "https://a.example/x?y, http://hidden:70000",
            "must be an",
        ),
        ("BRIDGE_HEARTBEAT_URL", "ftp://hidden", "must be an http(s) URL"),
        ("SENTRY_DSN", "https://hidden.example/1", "must be like https://KEY@HOST"),
        ("SENTRY_DSN", "https://hidden@sentry.example/1", ""),
        ("BRIDGE_HEARTBEAT_URL", "https://hidden.example/a?b=c#d", ""),
    ],
)
def test_a_secret_of_another_kind_is_a_mistake_and_never_shown(
    name: str, text: str, problem: str
) -> None:
    _, found = values_of(ENVIRON | {name: text}, options())

    assert bool(problem) == bool(found)
    assert problem in " ".join(found)
    assert "hidden" not in " ".join(found)


def test_other_people_s_variables_are_none_of_our_business() -> None:
    assert settings() == settings(PATH="/bin", STRIPE_UNKNOWN="x")


@pytest.mark.parametrize(
    ("content", "read"),
    [
        (b"example-1, example-2\n", ("example-1", "example-2")),
        (b"\xef\xbb\xbfexample-1", ("example-1",)),
        (
            b"leak\xff\xfe",
            "cannot be read from EXAMPLE_SECRET_FILE={}: it is not UTF-8",
        ),
        ("folder", "cannot be read from EXAMPLE_SECRET_FILE={}: Is a directory"),
        (None, "cannot be read from EXAMPLE_SECRET_FILE={}: No such file or directory"),
    ],
)
def test_a_secret_may_come_from_a_file(
    tmp_path: Path, content: bytes | str | None, read: tuple[str, ...] | str
) -> None:
    """A mark at its beginning (BOM) is no part of it."""
    path = tmp_path / "secret"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        path.mkdir()

    if isinstance(read, tuple):
        sources = settings(EXAMPLE_SECRET_FILE=str(path)).sources
        assert {"EXAMPLE_SECRET": read, "EXAMPLE_MODE": "live"} == sources
    else:
        named = problems(ENVIRON | {"EXAMPLE_SECRET_FILE": str(path)})
        assert (f"EXAMPLE_SECRET {read.format(path)}",) == named


def test_a_required_secret_may_come_from_a_file_but_not_twice(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("example-from-file\n")
    named = {"VITALLY_API_KEY_FILE": str(path)}
    made = Settings.from_env(ENVIRON | named | {"VITALLY_API_KEY": ""})

    assert "example-from-file" == made.vitally_api_key
    assert ("VITALLY_API_KEY and VITALLY_API_KEY_FILE are both set; choose one",) == (
        problems(ENVIRON | named)
    )


def test_a_secret_in_the_place_of_its_file_s_path_is_not_repeated() -> None:
    (problem,) = problems(ENVIRON | {"EXAMPLE_SECRET_FILE": "whsec_leak"})

    assert problem.startswith("EXAMPLE_SECRET cannot be read from EXAMPLE_SECRET_FILE:")
    assert "leak" not in problem


def test_words_that_are_not_ours_are_not_repeated() -> None:
    options = [Option("EXAMPLE_NUMBER", int, "A number.", 0)]
    with pytest.raises(ConfigError) as refused:
        Settings.from_env(ENVIRON | {"EXAMPLE_NUMBER": "leak"}, options)

    assert ("EXAMPLE_NUMBER cannot be read",) == refused.value.problems


def test_no_problem_repeats_the_value_of_a_secret() -> None:
    environ = ENVIRON | {
        "REDIS_URL": "example-leak",
        "VITALLY_API_KEY": "example leak leak",
    }

    assert "leak" not in " ".join(problems(environ))


def test_no_secret_is_in_the_repr() -> None:
    secrets = {"EXAMPLE_SECRET": "example-s", "VITALLY_ANALYTICS_TOKEN": "example-t"}
    secrets["CONSOLE_USERS"] = "ann:read-only:example:u,bob:operator:example"
    made = settings(CONSOLE_PASSWORD="example-c", **secrets)
    shown = repr(made) + repr(made.people)

    assert "example" not in shown
    assert [("admin", True), ("ann", False), ("bob", True)] == [
        (user.name, user.acts) for user in made.people
    ]
    assert "example:u" == made.people[1].password


@pytest.mark.parametrize(
    ("said", "wanted"),
    [
        ({}, "https://acme.rest.vitally.io"),
        ({"VITALLY_SUBDOMAIN": "ACME"}, "https://acme.rest.vitally.io"),
        ({"VITALLY_REGION": "eu"}, "https://rest.vitally-eu.io"),
        ({"VITALLY_BASE_URL": "http://127.0.0.1:9000/"}, "http://127.0.0.1:9000"),
        (
            {"VITALLY_SUBDOMAIN": "", "VITALLY_BASE_URL": "http://127.0.0.1:9000"},
            "http://127.0.0.1:9000",
        ),
    ],
)
def test_the_base_url_follows_region_and_subdomain(
    said: dict[str, str], wanted: str
) -> None:
    assert wanted == settings(**said).vitally_base_url


@pytest.mark.parametrize("key", ["example-key", "Basic ZXhhbXBsZS1rZXk6"])
def test_the_key_becomes_a_basic_header_without_password(key: str) -> None:
    made = settings(VITALLY_API_KEY=key, VITALLY_ANALYTICS_TOKEN=key)

    assert "Basic ZXhhbXBsZS1rZXk6" == made.vitally_authorization
    assert "Basic ZXhhbXBsZS1rZXk6" == made.analytics_authorization
    assert "https://acme.api.vitally.io" == made.vitally_analytics_url


def test_each_option_says_what_it_means() -> None:
    assert [] == [
        option.name for option in OPTIONS if not meaning(option).endswith(".")
    ]
