"""The rows that `make bench ARGS=million` makes many of are the bridge's own."""

from __future__ import annotations

from redis import Redis

from bridge.store import keys
from bridge.store.connect import named
from bridge.store.index import Index, sums
from tests.bench.events import Customer
from tests.bench.million import FIRST, multiply
from tests.support.desk import bench, customer, subscription

ACCOUNTS = 30


def test_what_is_multiplied_adds_up_and_takes_events(redis: Redis) -> None:
    with bench(redis) as desk:
        for n in range(3):
            name = Customer().id
            desk.settles(
                customer(name, account=name, called=f"Company {n}"),
                subscription(name, f"sub_1{name[4:]}1", unit=100),
            )
        multiply(redis, ACCOUNTS)
        counted, index = desk.check(), Index(redis)

        assert (ACCOUNTS, 2 * ACCOUNTS) == (index.count(), counted.settled)
        assert {"USD": (ACCOUNTS, ACCOUNTS)} == sums(index.rows())
        new = f"cus_Q{FIRST + 7}"
        assert [new] == [row.account for row in index.find(new)]
        assert {new} < named(redis, keys.members("")) == named(redis, keys.history(""))
        desk.exists(new, "Company 1", mrr=1)
        assert ["updated"] == desk.does(
            subscription(new, f"sub_1{new[4:]}1", at=9, unit=900)
        )
        assert 9 == desk.traits(new)["mrr"]
