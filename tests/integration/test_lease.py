"""One account is written by one worker at a time, and what a lost lease leads to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from bridge.config import Config
from bridge.domain.document import Ledger
from bridge.errors import LostLeaseError
from bridge.store import keys, lease
from bridge.store.lease import LEASE_MS, Leases
from bridge.store.view import Lease, Outcome, View
from tests.chaos.world import script
from tests.support.desk import Bench, customer, settings, subscription
from tests.support.proxy import HOLD_REQUEST, Proxy, resp
from tests.support.server import RedisServer
from workers.process import STUCK, Process

ODD = "a b/ü%" + "x" * 200
PARTY = "stripe:cus_1"


def taken(desk: Bench, account: str = "acme", name: str = "cus_1") -> Lease:
    lease = desk.leases.take(account, f"stripe:{name}")
    assert lease is not None
    return lease


def lost(desk: Bench) -> None:
    """The time of the lease is over."""
    desk.redis.delete(keys.lease("acme"))


@pytest.fixture
def link(redis_server: RedisServer) -> Iterator[Proxy]:
    """What a worker's process reaches Redis through."""
    with Proxy(redis_server.port, resp) as proxy:
        yield proxy


ENDINGS: dict[str, Callable[[Leases, View], object]] = {
    "ack": lambda leases, view: leases.ack(view, Outcome("unchanged")),
    "postpone": lambda leases, view: leases.postpone(PARTY, 0, view.lease),
    "release": lambda leases, view: leases.release(view.lease),
    "the next job": lambda leases, view: (
        leases.release(view.lease),
        leases.take("other", "stripe:cus_2"),
    ),
    "lost": lambda leases, _: leases._redis.delete(keys.lease("acme")),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_heartbeat_warns_of_a_lost_lease_only_if_the_job_goes_on(
    desk: Bench, link: Proxy, caplog: pytest.LogCaptureFixture, ending: str
) -> None:
    """It is on its way to Redis when the job ends."""
    desk.does(customer())
    chosen = settings(desk.vitally.url, f"redis://127.0.0.1:{link.port}/0")
    process = Process(chosen, Config(), "worker", desk.stop)
    leases = process.context.leases
    view = leases.begin(PARTY)
    assert view is not None
    renewal = link.on(script("renew"), HOLD_REQUEST)
    beat = threading.Thread(target=process._beat)
    beat.start()
    assert renewal.caught.wait(5)
    ENDINGS[ending](leases, view)
    renewal.release()
    beat.join()
    process.redis.close()

    warned = [text for text in caplog.messages if "lease" in text]
    assert ["lease lost"] * (ending == "lost") == warned


def test_a_worker_that_is_in_one_job_for_too_long_is_not_heard_of(
    desk: Bench, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its heartbeat is another thread, which would go on for ever."""
    process = Process(
        settings(desk.vitally.url, redis_server.url), Config(), "worker", desk.stop
    )
    heard = []

    def hangs(*_: object) -> str:
        for ago in (STUCK - 1, STUCK + 1):
            desk.redis.delete(keys.WORKERS)
            process.jobs.turned = time.monotonic() - ago
            process._beat()
            heard.append(desk.redis.zcard(keys.WORKERS))
        return "unchanged"

    monkeypatch.setattr(process.jobs.sync, "run", hangs)
    process.jobs.run(PARTY)
    process._beat()
    heard.append(desk.redis.zcard(keys.WORKERS))
    process.redis.close()

    assert [1, 0, 1] == heard


def test_a_worker_that_looks_for_no_job_for_too_long_is_not_heard_of(
    desk: Bench, redis_server: RedisServer
) -> None:
    process = Process(
        settings(desk.vitally.url, redis_server.url), Config(), "worker", desk.stop
    )
    for thread in process.threads:
        thread.is_alive = lambda: True  # type: ignore[method-assign]
    process.jobs.turned = time.monotonic() - STUCK
    process._beat()
    silent = desk.redis.zcard(keys.WORKERS)
    process.gate()
    process._beat()
    process.redis.close()

    assert (0, 1) == (silent, desk.redis.zcard(keys.WORKERS))


def test_a_lease_shuts_out_everybody_else_and_has_a_higher_number(desk: Bench) -> None:
    first = taken(desk)

    assert desk.leases.take("acme", "stripe:cus_2") is None
    assert first.fence < taken(desk, "other", "cus_2").fence


def test_a_lease_expires_by_itself_within_ten_seconds_unless_renewed(
    desk: Bench,
) -> None:
    lease, key = taken(desk), keys.lease("acme")
    assert LEASE_MS - 1000 < desk.redis.pttl(key) <= LEASE_MS < 10_000
    desk.redis.pexpire(key, 100)
    desk.leases.renew(lease)

    assert LEASE_MS - 1000 < desk.redis.pttl(key)


def test_a_holder_that_lost_its_lease_can_do_nothing(desk: Bench) -> None:
    desk.tell(customer())
    lease = taken(desk)
    desk.leases.move(PARTY, "acme")
    view = desk.leases.read_again(lease)
    lost(desk)
    newer = taken(desk)

    with pytest.raises(LostLeaseError):
        desk.leases.mark_unconfirmed(lease, 2, ["mrr"])
    with pytest.raises(LostLeaseError):
        desk.leases.ack(view, Outcome("created", ledger=Ledger()))
    assert [] == desk.leases.release(lease)
    desk.leases.renew(newer)
    assert (1, 0) == (desk.check().pending, desk.redis.exists(keys.account("acme")))


def test_a_job_that_got_no_lease_holds_none(desk: Bench) -> None:
    desk.does(customer())
    desk.leases.take("other", "stripe:cus_2")
    desk.redis.set(keys.lease("acme"), 10**9)

    assert (None, None) == (desk.leases.begin(PARTY), desk.leases.held)


def test_a_lease_is_held_and_renewed_while_a_large_account_is_read(
    desk: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.does(customer())
    read, held = lease._view, []

    def look(*args: Any) -> View:
        held.append(desk.leases.held)
        return read(*args)

    monkeypatch.setattr(lease, "_view", look)
    view = desk.leases.begin(PARTY)

    assert view is not None
    assert [view.lease] == held
    assert view.lease == desk.leases.held


def test_a_loser_is_queued_once_when_the_holder_is_done(desk: Bench) -> None:
    desk.tell(customer())
    lease = taken(desk, name="cus_9")
    assert ["waited"] == desk.work()
    assert "waited" == desk.jobs.run(PARTY)
    assert "queued" == desk.claim()["claim"]
    assert "coalesced" == desk.tell(subscription()).receipt
    claims = desk.leases.release(lease)

    assert [(PARTY, 2, "", False)] == claims
    desk.queue.push_all(claims, "came meanwhile")
    assert ["created"] == desk.work()
    assert 0 == desk.redis.exists(keys.waiters("acme"))


def test_a_loser_whose_events_the_holder_settled_is_not_queued(desk: Bench) -> None:
    desk.does(customer())
    lease = taken(desk, name="cus_9")
    assert "waited" == desk.jobs.run(PARTY)

    assert [] == desk.leases.release(lease)
    assert "claim" not in desk.claim()


def test_a_write_whose_lease_was_lost_leaves_the_ledger_in_doubt(desk: Bench) -> None:
    """The zombie's request goes out, its outcome does not count."""
    desk.rests(customer(), subscription(at=1))
    desk.tell(subscription(at=2, unit=100))
    desk.leases.mark_unconfirmed(taken(desk), 2, ["mrr"])
    lost(desk)
    assert ["updated"] == desk.work()

    assert {"subscriptionStatus", "planName", "mrr"} <= set(desk.bodies()[-1]["traits"])
    assert 25 < (desk.due_in() or 0) <= 30
    desk.client.update("acme", {"traits": {"mrr": 450}})  # the zombie's, late
    desk.passes(31_000)
    assert ["updated"] == desk.work()
    assert 1 == desk.traits()["mrr"]


def test_what_was_sent_under_a_lost_lease_is_made_good(desk: Bench) -> None:
    assert ["created"] == desk.rests(customer(), subscription(at=1))
    before = len(desk.writes())
    desk.leases.postpone(PARTY, 0, Lease("acme", PARTY, 10**9))
    words = []
    for ms in (10, 60_000, 600_000):
        desk.passes(ms)
        words.append(desk.work())

    assert [["updated"], ["updated"], []] == words
    assert [("PUT", 200)] * 2 == desk.writes()[before:]
    assert {"mrr", "planName"} <= set(desk.bodies()[-1]["traits"])


def test_a_job_waits_for_the_lease_of_a_dead_worker(desk: Bench) -> None:
    desk.tell(customer())
    taken(desk)
    assert ["waited"] == desk.work()
    desk.sweep(2000)
    assert 0 == desk.queue.depth()
    desk.passes(LEASE_MS)
    lost(desk)
    desk.sweep()

    assert ["created"] == desk.work()


def test_an_acknowledgement_carries_odd_names_and_huge_numbers(desk: Bench) -> None:
    desk.tell(customer(account=ODD))
    numbers = {"rev": 2**52, "settled": 2**52 - 1}
    desk.redis.hset(keys.party(PARTY), mapping=numbers)
    desk.leases.move(PARTY, ODD)
    view = desk.leases.read_again(taken(desk, ODD))
    desk.leases.ack(view, Outcome("unchanged", history={"at": 2**60}))

    assert (str(2**52), set()) == (desk.claim()["settled"], desk.dirty())


def test_an_acknowledgement_of_nothing_at_all_is_none(desk: Bench) -> None:
    view = desk.leases.read_again(taken(desk, "empty"))

    assert [] == desk.leases.ack(view, Outcome("unchanged"))
    assert 0 == desk.redis.exists(keys.lease("empty"))


def test_a_revision_that_moved_is_not_settled(desk: Bench) -> None:
    desk.tell(customer())
    desk.leases.move(PARTY, "acme")
    view = desk.leases.read_again(taken(desk))
    desk.tell(subscription())

    assert [(PARTY, 2, "", False)] == desk.leases.ack(view, Outcome("unchanged"))
    assert (1, 1) == (desk.standing().settled, desk.standing().pending)
    assert {"cus_1"} == desk.dirty()


def test_a_party_that_waits_is_not_forgotten_when_another_settles_it(
    desk: Bench,
) -> None:
    """Its wait is over with the other's write; its next event is queued at once."""
    desk.rests(customer(), customer("cus_2"))
    desk.tell(subscription("cus_2", "sub_2", at=1))
    desk.leases.postpone(desk.popped(), 60_000)
    assert ["updated"] == desk.does(subscription(at=1))
    assert set() == desk.dirty()

    accepted = desk.tell(subscription("cus_2", "sub_2", at=2, unit=100))
    assert ("queued", 1) == (accepted.receipt, desk.queue.depth())
