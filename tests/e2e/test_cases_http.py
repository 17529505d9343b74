"""Every case of `tests/cases` over HTTP, and as Vitally has it then.

No case is left out; they come in all renderings by turns (each in each of them:
`tests/unit/test_cases.py`). Each is told in order, and once more backwards. All are
posted before a worker starts, since Vitally keeps the last known value of a trait that
became unknown. Its nulls are kept to be seen: a trait that is null is there, one that is
left out is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pytest

from bridge.store import keys
from bridge.store.inspect import StateReader
from tests.support.stack import Stack
from tests.support.stripe import Answer, Stripe
from tests.support.stripe_cases import Case, events, expected, in_turn, parameters
from tests.support.waiting import eventually

IDS = {"id", "customer", "subscription", "product", "products", "coupon", "discounts"}
IDS |= {"client_reference_id", "subscription_item", "default_payment_method"}
"""Keys in Stripe's objects under which a text is an id."""

KEY = "vitally"
"""The metadata key of all cases that have an `account_key`."""


class Played(NamedTuple):
    """What all cases together led to: Vitally's accounts by external id, and the store."""

    accounts: Mapping[str, Any]
    look: StateReader


def mark(case: Case) -> str:
    """End of all ids of one case."""
    return f"-{PLACES[case['name']]}"


PLACES = {case["name"]: n for n, (case, _) in enumerate(in_turn())}


def owned(value: Any, own: str, key: str = "") -> Any:
    """*value*, which stands under *key*, with *own* at the end of all ids in it."""
    if isinstance(value, dict):
        return {k: owned(v, own, k) for k, v in value.items()}
    if isinstance(value, list):
        return [owned(one, own, key) for one in value]
    return f"{value}{own}" if isinstance(value, str) and key in {*IDS, KEY} else value


def _soon(stack: Stack) -> int:
    """Parties that are to be looked at again in the next seconds."""
    seconds = stack.redis.time()[0]
    return int(stack.redis.zcount(keys.LATER, "-inf", (seconds + 20) * 1000))


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """One bridge that plays all cases; those with an `account_key` to a web of theirs."""
    folder = tmp_path_factory.mktemp("cases")
    config = folder / "bridge.toml"
    config.write_text('[traits]\nuse = "all"\n', encoding="utf-8")
    with Stack(folder, STRIPE_MODE="live", BRIDGE_CONFIG=str(config)) as stack:
        stack.vitally.turn(null_trait="keep")
        webs = {None: stack.web(), KEY: stack.web(STRIPE_ACCOUNT_ID_KEY=KEY)}
        senders = {key: Stripe([web.url]) for key, web in webs.items()}

        def play(case: Case, rendering: str) -> list[Answer]:
            own = mark(case)
            deliver = senders[case.get("account_key")].deliver
            told = [owned(event, own) for event in events(case, rendering)]
            return [deliver(event) for event in (*told, *reversed(told))]

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(play, *zip(*in_turn(), strict=True)))
        assert {202} == {answer.status for played in answers for answer in played}
        for sender in senders.values():
            sender.close()
        assert 0 == stack.figures().quarantined
        stack.worker(WORKER_PROCESSES=2)
        stack.ready().settled(120)
        eventually(lambda: not _soon(stack), what="all that a catalogue changes")
        stack.settled()
        yield Played(
            {a["externalId"]: a for a in stack.vitally.accounts()},
            StateReader(stack.redis),
        )


@pytest.mark.parametrize(("case", "rendering"), parameters(in_turn()))
def test_a_case_ends_in_its_account(played: Played, case: Case, rendering: str) -> None:
    own = mark(case)
    found = {
        id_.removesuffix(own): account["traits"]
        for id_, account in played.accounts.items()
        if id_.endswith(own)
    }
    wanted = [] if "held" in case else case.get("accounts", ["cus_1"])

    assert sorted(wanted) == sorted(found)
    for traits in found.values():
        assert expected(case) == {
            trait: traits.get(trait, "left out") for trait in case["traits"]
        }
    if "held" in case:
        standing = played.look.standing(f"stripe:cus_1{own}")
        assert standing is not None
        assert case["held"] in standing.why.replace(own, "")
