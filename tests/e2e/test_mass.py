"""A mass change behind the real processes, and months in which there is none."""

from __future__ import annotations

import time
from random import Random

from bridge import actions
from tests.bench.events import BORN, MONTH, Customer, in_turn, months, requests
from tests.bench.load import deliver
from tests.support.stack import Stack
from tests.support.waiting import eventually

ACCOUNTS, ENDING = 200, 30


def known(stack: Stack, number: int) -> list[Customer]:
    """Customers whose accounts are in Vitally."""
    customers = [Customer() for _ in range(number)]
    begun = [customer.begins() for customer in customers]
    deliver(stack.webs[0].port, requests(begun))
    stack.settled(within=120)
    return customers


def test_a_burst_of_endings_is_held_until_it_is_released(stack: Stack) -> None:
    web = stack.web()
    stack.worker(WORKER_PROCESSES=2)
    stack.ready()
    customers = known(stack, ACCOUNTS)
    before, leaving = len(stack.vitally.writes()), Random(3).sample(customers, ENDING)
    deliver(web.port, requests(one.ends() for one in leaving))
    stack.settled()
    written = len(stack.vitally.writes()) - before

    assert 1 <= written <= ACCOUNTS / 100
    assert ENDING - written == stack.figures().mass_parties == stack.figures().parked
    assert "mass change" in str(web.get("/readyz"))
    actions.release(stack.redis)
    # Meanwhile a single one goes on: it is judged anew.
    began = time.monotonic()
    deliver(web.port, requests([customers[0].ends()]))
    eventually(stack.has(customers[0].id, mrr=None))
    assert time.monotonic() - began < 15
    stack.settled()
    for one in leaving:
        assert stack.has(one.id, mrr=None)()
    assert (0, 0) == (stack.figures().mass_parties, stack.figures().parked)


def test_months_and_a_peak_of_renewals_are_no_mass_change(stack: Stack) -> None:
    web = stack.web()
    stack.worker(WORKER_PROCESSES=2)
    stack.ready()
    for moments in months(30):
        deliver(web.port, requests(in_turn(moments)))
        stack.settled()
    customers = known(stack, 100)
    begins = BORN + MONTH
    period = {"current_period_start": begins, "current_period_end": begins + MONTH}
    peak = [one.changes(**period) for one in customers]
    peak += [one.ends() for one in customers[:6]]
    deliver(web.port, requests(peak))
    stack.settled()

    assert (0, 0) == (stack.figures().mass_parties, stack.figures().parked)
    assert stack.has(customers[0].id, mrr=None)()
