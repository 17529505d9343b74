"""Of an e-mail address the domain alone is kept, unless it is the customer's only name."""

from __future__ import annotations

import json
import re
from itertools import groupby
from typing import Any

import pytest

from bridge.domain.values import CUSTOMER, NAME
from bridge.store import dump, keys
from bridge.store.lease import Claim
from tests.sources.known import Known, every
from tests.support.desk import Bench

ADDRESS = "ada.example@post.example"


def with_addresses(told: Any) -> Any:
    """The same with an address in each object, and in place of each that was there."""
    match told:
        case dict():
            mails = dict.fromkeys(("email", "user_email", "mail"), ADDRESS)
            kept = {k: with_addresses(v) for k, v in told.items()}
            return mails | {k: mails.get(k, v) for k, v in kept.items()}
        case list():
            return [with_addresses(one) for one in told]
        case str():
            return re.sub(r"[\w.+-]+@[\w.-]+", ADDRESS, told)
    return told


def body_of(text: bytes) -> bytes:
    try:
        return json.dumps(with_addresses(json.loads(text))).encode()
    except ValueError:  # Salesforce's XML
        return str(with_addresses(text.decode())).encode()


def take_in(desk: Bench, known: Known) -> None:
    """Take in the facts of all recorded deliveries, and do the jobs."""
    for path in known.bodies:
        if path.name.startswith("read."):
            continue
        events = known.reader.events(body_of(path.read_bytes()))
        facts = sorted(known.reader.facts_of(events), key=lambda f: (f.party, f.event))
        for (party, _), some in groupby(facts, lambda f: (f.party, f.event)):
            accepted = desk.accept.facts(known.name, [*some])
            if accepted.claim:
                desk.queue.push(Claim(party, accepted.claim), "told")
    desk.work()


@pytest.mark.parametrize("known", every(), ids=lambda known: known.name)
def test_an_address_is_kept_only_of_whom_nothing_else_names(
    known: Known, desk: Bench
) -> None:
    take_in(desk, known)

    nameless = set()
    for standing in desk.look.every_standing():
        things = desk.look.member(standing.party).things
        values = [things[t].value for t in (CUSTOMER, NAME) if t in things]
        if not any(value.get("name") for value in values):
            nameless |= {standing.party, standing.account}
    keeping = {
        re.sub(r"^\W*vb1:\w+:?|\",.*$", "", line, flags=re.DOTALL)
        for line in dump.export(desk.redis)
        if ADDRESS in line and keys.INDEX not in line
    }
    rows = desk.redis.hgetall(keys.INDEX).items()
    keeping |= {account.decode() for account, row in rows if ADDRESS.encode() in row}

    assert set() == keeping - nameless
    assert keeping or known.name != "stripe"  # which has one without a name
