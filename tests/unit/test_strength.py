"""Weak secrets are refused at the start, all at once; the sender's own are a warning."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.errors import ConfigError
from bridge.sources import load, weak_secrets

ENVIRON = {
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "VITALLY_API_KEY": "sk_test_example",
    "VITALLY_BASE_URL": "http://127.0.0.1:1",
}
GOOD = "sixteen.letters!"
SHOP = """
[sources.shop]
verify = {{ scheme = "query", name = "token" }}
secret_env = "{name}"
party = "id"
at = "at"
"""


def environ(folder: Path, toml: str = "", **more: str) -> dict[str, str]:
    path = folder / "bridge.toml"
    path.write_text(toml, encoding="utf-8")
    return ENVIRON | {"BRIDGE_CONFIG": str(path)} | more


def problems(said: dict[str, str]) -> list[str]:
    try:
        load(said)
    except ConfigError as error:
        return list(error.problems)
    return []


def pair(user: str, password: str) -> dict[str, str]:
    name = "CHARGEBEE_WEBHOOK_"
    return {f"{name}USERNAME": user, f"{name}PASSWORD": password}


SALESFORCE = {"SALESFORCE_ORG_ID": "00D"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (pair("a-long-user-name", ""), "CHARGEBEE_WEBHOOK_PASSWORD must be set, and"),
        (pair("a-long-user-name", "x"), "CHARGEBEE_WEBHOOK_PASSWORD must be set, and"),
        (pair("user:of-webhooks", "password"), "USERNAME must not have a colon"),
        (pair("user", "password"), "have 12 characters together"),
        (pair("", "password"), "have 8 characters together"),
        ({"STRIPE_WEBHOOK_SECRET": "secret"}, "holds a secret of 6 characters"),
        ({"STRIPE_WEBHOOK_SECRET": "whsec_"}, "holds a secret of 6 characters"),
        ({"STRIPE_WEBHOOK_SECRET": f"{GOOD},short"}, "a secret of 5 characters"),
        ({"HUBSPOT_CLIENT_SECRET": "fifteen.letters"}, "a secret of 15 characters"),
        (SALESFORCE | {"SALESFORCE_WEBHOOK_TOKEN": "token"}, "5 characters; it must"),
        # What guards nothing, or is long enough.
        (pair("hook-user", "hook-password"), ""),
        (pair("", GOOD), ""),
        ({"STRIPE_WEBHOOK_SECRET": "whsec_x"}, ""),
        ({"STRIPE_WEBHOOK_SECRET": GOOD}, ""),
        ({"SALESFORCE_WEBHOOK_TOKEN": "off"}, ""),
        (SALESFORCE | {"SALESFORCE_WEBHOOK_TOKEN": GOOD}, ""),
        ({"CONSOLE_PASSWORD": "short"}, ""),
        ({"SHOP_SECRET": GOOD}, ""),
        ({"SHOP_SECRET": "whsec_x"}, ""),
        ({}, ""),
    ],
)
def test_a_weak_secret_is_refused_where_it_guards(
    tmp_path: Path, more: dict[str, str], words: str
) -> None:
    named = problems(environ(tmp_path, SHOP.format(name="SHOP_SECRET"), **more))

    assert len(named) == bool(words)
    assert words in "".join(named)


@pytest.mark.parametrize("name", ["HOME", "PATH", "VITALLY_API_KEY", "PORT"])
def test_a_variable_for_something_else_is_no_secret(tmp_path: Path, name: str) -> None:
    toml = SHOP.format(name=name)

    (problem,) = problems(environ(tmp_path, toml, HOME="/" + 20 * "x"))

    assert problem.endswith(
        f"sources.shop.secret_env: {name} is already used for something else"
    )


def test_a_path_is_no_secret_whatever_its_length(tmp_path: Path) -> None:
    toml = SHOP.format(name="GEM_HOME")

    (problem,) = problems(environ(tmp_path, toml, GEM_HOME=str(tmp_path)))

    assert problem.endswith(
        "secret_env: GEM_HOME holds the path of a file, and no secret"
    )
    assert [] == problems(environ(tmp_path, toml, GEM_HOME="/base64/like" + "x" * 20))


def test_all_that_is_weak_is_named_at_once_with_all_else(tmp_path: Path) -> None:
    toml = SHOP.format(name="SHOP_SECRET") + "[nothing]\n"
    more = {"SHOP_SECRET": "x", "STRIPE_WEBHOOK_SECRET": "x", "PORT": "none"}
    named = problems(environ(tmp_path, toml, **more, **pair("user", "x")))

    for words in ("PORT must", "nothing is", "SHOP_SECRET holds", "STRIPE_", "CHARGE"):
        assert 1 == sum(words in problem for problem in named), words


DEALS = """
[sources.hubspot.deals]
mrr = "hs_mrr"
currency = "EUR"
"""


HALF = {"SALESFORCE_ORG_ID": "00D5e000000abcd", "HUBSPOT_CLIENT_SECRET": ""}


@pytest.mark.parametrize(
    ("toml", "more", "words"),
    [
        ("", {}, ["signs the URL it calls: set BRIDGE_PUBLIC_URL."]),
        ("", {"BRIDGE_PUBLIC_URL": "https://b.example"}, []),
        (DEALS, {"BRIDGE_PUBLIC_URL": "https://b.example"}, ["HUBSPOT_ACCESS_TOKEN."]),
        ("", HALF, ["Salesforce is off: SALESFORCE_WEBHOOK_TOKEN is not set."]),
    ],
)
def test_what_a_source_lacks_is_said(
    tmp_path: Path, toml: str, more: dict[str, str], words: list[str]
) -> None:
    given = environ(tmp_path, toml, **{"HUBSPOT_CLIENT_SECRET": GOOD, **more})
    found = load(given)[0].doubts

    assert len(words) == len(found)
    assert all(word in text for word, text in zip(words, found, strict=True))


def test_what_is_short_and_not_refused_is_warned_about(tmp_path: Path) -> None:
    more = {"STRIPE_WEBHOOK_SECRET": "whsec_x", "CONSOLE_PASSWORD": "short"}
    more["CONSOLE_USERS"] = f"ann:operator:{GOOD},bob:operator:short"

    assert [
        "STRIPE_WEBHOOK_SECRET holds a secret of 7 characters, fewer than 16: is it whole?",
        "CONSOLE_PASSWORD has fewer than 16 characters",
        "CONSOLE_USERS has a password of fewer than 16 characters",
    ] == weak_secrets(load(environ(tmp_path, **more))[0])
    assert [] == weak_secrets(load(environ(tmp_path))[0])


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("whsec_c2l4dGVlbi5sZXR0ZXJzIQ==", []),
        (f"plain-{GOOD}", ["SHOP_KEY must be base64: it matches nothing"]),
    ],
)
def test_a_secret_that_can_be_no_key_is_a_warning(
    tmp_path: Path, secret: str, said: list[str]
) -> None:
    toml = SHOP.format(name="SHOP_KEY").splitlines()
    toml[2] = 'verify = "standard-webhooks"'
    more = {"SHOP_KEY": secret}

    assert said == weak_secrets(load(environ(tmp_path, "\n".join(toml), **more))[0])
