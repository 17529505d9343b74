"""Every life of `tests/cases/recipes` over HTTP, and as Vitally has it then.

Each is a source of its own under its recipe, with the login in place of the signature,
told in order and once more backwards, and so that its last look is now. All are posted
before a worker starts, since Vitally keeps the last known value of a trait that became
unknown. What is read from an API is not posted: see `tests/unit/test_recipe_cases.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from urllib3 import PoolManager, make_headers

from tests.support.recipe_cases import Book, Case, books, expected, looks
from tests.support.stack import Stack
from tests.support.waiting import eventually

LOGIN = "bridge:an-example-password"
EVERY = [
    (book, case)
    for book in books()
    for case in book.cases
    if not any(event.get("base", "").startswith("read.") for event in case["events"])
]


class Played(NamedTuple):
    """What all lives led to: Vitally's accounts by external id, and their day 0."""

    accounts: Mapping[str, Any]
    day_0: Mapping[str, datetime]


def name_of(number: int) -> str:
    """What the source of a life is called, and its account."""
    return f"life-{number}"


def table(number: int, book: Book, case: Case) -> str:
    """The lines of `bridge.toml` that a life needs."""
    said = {
        "recipe": book.recipe,
        "verify": "basic",
        "secret_env": "LIVES_LOGIN",
        **case.get("lines", {}),
        "account": f"'{name_of(number)}'",
    }
    lines = "\n".join(f"{key} = {_inline(value)}" for key, value in said.items())
    return f"[sources.{name_of(number)}]\n{lines}\n"


def _inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {_inline(v)}" for k, v in value.items()) + "}"
    return json.dumps(value)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """One bridge that plays all lives."""
    folder: Path = tmp_path_factory.mktemp("lives")
    config = folder / "bridge.toml"
    tables = [table(n, book, case) for n, (book, case) in enumerate(EVERY)]
    config.write_text("\n".join(tables), encoding="utf-8")
    now = datetime.now(UTC).replace(microsecond=0)
    days = {
        name_of(n): now - timedelta(days=looks(case)[-1].now)
        for n, (_, case) in enumerate(EVERY)
    }
    with Stack(folder, BRIDGE_CONFIG=str(config), LIVES_LOGIN=LOGIN) as stack:
        stack.vitally.turn(null_trait="keep")
        url = f"{stack.web().url}/webhooks"

        with PoolManager(retries=False, timeout=20, maxsize=8) as pool:

            def deliver(url: str, body: bytes, headers: Mapping[str, str]) -> bool:
                reply = pool.request("POST", url, body=body, headers=headers)
                assert reply.status in {202, 503}
                return reply.status == 202

            def play(number: int) -> None:
                book, case = EVERY[number]
                name = name_of(number)
                told = book.told(case, days[name])
                for one in (*told, *reversed(told)):
                    body = one.encoded(book.recipe)
                    headers = {**one.headers, **make_headers(basic_auth=LOGIN)}
                    eventually(partial(deliver, f"{url}/{name}", body, headers))

            with ThreadPoolExecutor(4) as threads:
                list(threads.map(play, range(len(EVERY))))
        assert 0 == stack.figures().quarantined
        stack.worker(WORKER_PROCESSES=2)
        stack.ready().settled(120)
        accounts = {a["externalId"]: a for a in stack.vitally.accounts()}
        yield Played(accounts, days)


@pytest.mark.parametrize(
    ("number", "case"),
    [
        pytest.param(n, case, id=f"{book.recipe} {case['name']}")
        for n, (book, case) in enumerate(EVERY)
    ],
)
def test_a_life_ends_in_its_account(played: Played, number: int, case: Case) -> None:
    name, look = name_of(number), looks(case)[-1]
    traits = played.accounts[name]["traits"]
    found = {trait: traits.get(trait, "left out") for trait in look.traits}

    assert expected(look, played.day_0[name]) == found


def test_a_trial_ends_by_time_alone(tmp_path: Path) -> None:
    book = next(book for book in books() if book.recipe == "orb")
    case = next(case for case in book.cases if case["name"].startswith("05 a trial"))
    config = tmp_path / "bridge.toml"
    config.write_text(table(0, book, case), encoding="utf-8")
    name = name_of(0)
    with Stack(tmp_path, BRIDGE_CONFIG=str(config), LIVES_LOGIN=LOGIN) as stack:
        web = stack.web()
        stack.worker()
        stack.ready()
        day_0 = datetime.now(UTC) + timedelta(seconds=15) - timedelta(days=14)
        (told,) = book.told(case, day_0)
        with PoolManager(retries=False, timeout=20) as pool:
            headers = make_headers(basic_auth=LOGIN)
            url, body = f"{web.url}/webhooks/{name}", told.encoded("orb")
            assert 202 == pool.request("POST", url, body=body, headers=headers).status
        eventually(lambda: stack.vitally.account(name), what="the account")

        assert "trialing" == stack.account(name)["traits"]["subscriptionStatus"]
        assert eventually(
            stack.has(name, mrr=120, subscriptionStatus="active"), what="the end"
        )
