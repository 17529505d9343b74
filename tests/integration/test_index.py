"""The index of accounts: what people find an account by, and the sums of MRR."""

from __future__ import annotations

import pytest
from redis.exceptions import RedisError

from bridge.store import keys
from bridge.store.index import Index, IndexRow, sums
from tests.support.desk import Bench, customer, subscription
from workers.sweep import Sweeper

ACME = IndexRow(
    account="acme",
    name="Acme",
    status="active",
    mrr=450,
    currency="EUR",
    churned_at=None,
    renews_at=None,
    plan="Pro",
    unknown=(),
    parties=("stripe:cus_1",),
    words="sub_1",
)


def test_a_job_that_writes_puts_the_account_into_the_index(desk: Bench) -> None:
    desk.rests(customer(), subscription(at=1))

    (row,) = Index(desk.redis).rows()
    assert row is not None
    assert ("acme", "Acme", 450, ("stripe:cus_1",)) == (
        row.account,
        row.name,
        row.mrr,
        row.parties,
    )
    assert {row.currency: (1, 450)} == sums(Index(desk.redis).rows())


def test_rows_that_are_kept_are_those_of_now(desk: Bench) -> None:
    desk.rests(customer(), subscription(at=1))
    kept = Index(desk.redis, keep=True)
    assert kept.rows() == Index(desk.redis).rows()
    desk.rests(subscription(at=2, unit=100), customer("cus_2", account="other"))

    assert sorted(kept.rows()) == sorted(Index(desk.redis).rows())
    assert ["acme", "other"] == sorted(row.account for row in kept.rows())


def test_a_job_that_writes_nothing_still_says_what_the_facts_say(desk: Bench) -> None:
    desk.rests(customer(), subscription(at=1))
    desk.redis.delete(keys.INDEX)
    assert ["unchanged"] == desk.does(subscription(at=2))
    assert 1 == Index(desk.redis).count()


def test_an_account_of_a_dry_run_is_in_the_index(desk: Bench) -> None:
    desk.set(bridge_dry_run=True)
    desk.does(customer(), subscription(at=1))
    assert [450] == [row.mrr for row in Index(desk.redis).rows()]
    desk.leases.begin_dry_run()
    desk.does(subscription(at=2, unit=50000))
    assert [500] == [row.mrr for row in Index(desk.redis).rows()]
    assert (0, 0) == (desk.check().unknown, desk.check().incomplete)
    desk.does(subscription("cus_2", items=[{"price": "price_1", "interval": "month"}]))
    desk.does(customer("cus_2", account="two", kind="updated"))
    assert (1, 1) == (desk.check().unknown, desk.check().incomplete)


def test_an_account_that_vitally_refuses_is_in_the_index(desk: Bench) -> None:
    desk.fault("status", "POST", status=400, body={"error": "no"})
    assert ["parked"] == desk.does(customer(), subscription(at=1))
    assert 1 == Index(desk.redis).count()


def test_an_account_that_its_last_party_leaves_is_in_it_no_more(desk: Bench) -> None:
    desk.rests(customer(), subscription(at=1))
    desk.rests(customer(account="other", at=2, kind="updated"))
    assert ["other"] == [row.account for row in Index(desk.redis).rows()]


def test_the_sweeper_adds_the_rows_that_an_older_version_left_out(desk: Bench) -> None:
    desk.rests(customer(), subscription(at=1))
    rows = Index(desk.redis).rows()
    desk.redis.delete(keys.INDEX, keys.INDEXED)

    sweeper = Sweeper(desk.context, "worker")
    sweeper.complete_index()
    sweeper.complete_index()
    assert rows == Index(desk.redis).rows()
    assert b"done" == desk.redis.get(keys.INDEXED)


def test_the_index_is_completed_though_redis_failed_in_between(desk: Bench) -> None:
    desk.rests(customer(), subscription(at=1))
    desk.redis.delete(keys.INDEX, keys.INDEXED)
    index = Index(desk.redis)

    def fails(_: list[str]) -> dict[str, str]:
        raise RedisError

    with pytest.raises(RedisError):
        index.complete(fails)
    assert index.complete(lambda names: dict.fromkeys(names, "[]"))
    assert 1 == index.count()


def test_an_account_that_cannot_be_computed_ends_no_sweeper(desk: Bench) -> None:
    desk.rests(customer(), subscription(at=1))
    desk.rests(customer("cus_2", account="broken"))
    desk.redis.delete(keys.INDEX, keys.INDEXED)
    desk.redis.hset(keys.facts("stripe:cus_2"), "subscription:x\tevt_9", b"{no json")
    Sweeper(desk.context, "worker").complete_index()

    assert ["acme"] == [row.account for row in Index(desk.redis).rows()]
    assert b"done" == desk.redis.get(keys.INDEXED)


@pytest.mark.parametrize(
    "text", ["ACME", "acm", "cus_1", "stripe:cus_1", "sub_1", " Acme "]
)
def test_an_account_is_found_by_what_people_call_it(text: str) -> None:
    assert ACME.matches(text.strip().lower())


def test_an_account_is_not_found_by_something_else() -> None:
    assert not ACME.matches("globex")


def test_the_account_whose_id_it_is_exactly_comes_first(desk: Bench) -> None:
    for account in ("ac", "a-ac", "zac"):
        desk.rests(customer(f"cus_{account}", account=account, called=account))
    assert ["ac", "a-ac", "zac"] == [r.account for r in Index(desk.redis).find("ac")]
