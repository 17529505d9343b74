"""The pairs of actions whose every interleaving is explored: `make interleavings`.

A pair has a beginning, two or three actors, and a seeded bug that only some orders show.
`python -m tests.chaos.pairs [--seeded] [PAIR …]` plays all orders of each to the end, and
prints how many there were.
"""

from __future__ import annotations

import copy
import io
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import unquote

import orjson
from redis import Redis
from urllib3 import HTTPResponse
from werkzeug.test import EnvironBuilder, run_wsgi_app

from bridge import actions
from bridge.completeness import Comparison
from bridge.config import Config
from bridge.domain.account import MEMBER_OF, Party, unite
from bridge.domain.document import TRAITS, document
from bridge.domain.facts import Fact, organization
from bridge.domain.fold import History, fold
from bridge.ingest import Ingress, read_event
from bridge.reconcile import Reconciler
from bridge.sources.stripe import SOURCE
from bridge.store import connect, keys
from bridge.store.accept import Accept
from bridge.store.lease import home, read_ledger
from bridge.store.shadow import Shadow
from bridge.store.view import Member
from bridge.vitally.client import Vitally
from bridge.webhook.source import Delivery, Page, SourceChange, Verified
from tests.chaos.interleaving import (
    Call,
    Found,
    GatedRedis,
    Search,
    Touch,
    Watch,
    World,
    die,
    gate,
    know_scripts,
)
from tests.support.desk import Bench, customer, link, subscription
from tests.support.server import RedisServer
from tests.support.stripe import Shop
from tests.support.vitally import Simulator
from workers import outcomes

LATER_MS = 60_000
"""So far ahead is what is appointed part of the work in hand."""


class Transport:
    """Vitally's side of a client: the simulator's app, without a socket between.

    A write is two steps, its beginning and its end, so that two of them can overlap.
    """

    def __init__(self, vitally: Simulator) -> None:
        self.vitally = vitally
        self.touched: list[Touch] = []
        self.on_its_way: list[str] = []
        self.overlaps: list[str] = []
        self.created: list[str] = []

    def urlopen(
        self, method: str, path: str, *, body: bytes | None, headers: Any, **_: Any
    ) -> HTTPResponse:
        """What urllib3's pool does with a request."""
        account = unquote(path.partition("?")[0].split("/")[-1])
        if method == "GET":
            gate(f"GET {path}")
            what = "vitally:*" if account == "accounts" else f"vitally:{account}"
            self.touched.append(Touch(what, None, "read"))
            return self._answer(method, path, body, headers)
        account = (
            orjson.loads(body or b"")["externalId"] if method == "POST" else account
        )
        gate(f"{method} {account}")
        self.touched.append(Touch(f"way:{account}", None, "write"))
        if account in self.on_its_way:
            self.overlaps.append(account)
        self.on_its_way.append(account)
        try:
            gate(f"{method} {account} ends")
        finally:
            self.on_its_way.remove(account)
        for what in ("way", "vitally"):
            self.touched.append(Touch(f"{what}:{account}", None, "write"))
        answer = self._answer(method, path, body, headers)
        if method == "POST" and answer.status == 200:
            self.created.append(account)
        if threading.current_thread().name == "doomed":
            die()
        return answer

    def _answer(
        self, method: str, path: str, body: bytes | None, headers: Any
    ) -> HTTPResponse:
        environ = EnvironBuilder(
            path, method=method, data=body, headers=headers
        ).get_environ()
        parts, status, sent = run_wsgi_app(self.vitally.answer, environ)
        content = io.BytesIO(b"".join(parts))
        return HTTPResponse(
            content, sent, int(status[:3]), preload_content=False, decode_content=False
        )


CONFIG = Config({trait: trait for trait in (*TRAITS, MEMBER_OF)})


class Bridge(World):
    """A bridge whose actors are those of *pair*, on an empty Redis."""

    def __init__(self, redis: GatedRedis, vitally: Simulator, pair: Pair) -> None:
        self.redis: Any = redis
        self.vitally, self.pair = vitally, pair
        self.told: list[Fact] = []
        vitally.reset()
        vitally.turn(rate_limit=100_000_000)
        redis.flushdb()
        know_scripts(redis)
        self.transport = Transport(vitally)
        self.desk = self.new_desk()
        self.actors = pair.begin(self)
        names = list(redis.scan_iter(count=1000))
        self.state = {name: redis.dump(name) for name in names}
        self.accounts = copy.deepcopy(self._accounts())
        self.wanted = wanted(self.told)
        self.watch = Watch(redis)

    def new_desk(self) -> Bench:
        """The desk of one more worker."""
        desk = Bench(self.redis, self.vitally, 7.5)
        desk.set(config=CONFIG)
        for vitally in (desk.client, desk.sweeper.vitally):
            self.wire(vitally)
        return desk

    def wire(self, vitally: Vitally) -> None:
        """Let a client ask the simulator without a socket."""
        vitally._pool = self.transport  # type: ignore[assignment]

    def _accounts(self) -> list[Any]:
        both = (self.vitally, self.vitally.organizations)
        return [[of.by_id, of.by_external_id, of.births] for of in both]

    # --- What a pair begins with, and its actors -----------------------------------

    def settled(self, *facts: Fact) -> None:
        """These were told, written, and a minute has passed."""
        self.told += facts
        self.desk.settles(*facts)
        self.desk.passes(LATER_MS)

    def tells(self, *facts: Fact) -> None:
        """These were told, and their jobs wait."""
        self.told += facts
        self._admit(facts)

    def accepts(self, *facts: Fact) -> Call:
        """An actor: web, with one delivery after another."""
        self.told += facts
        return lambda: self._admit(facts)

    def _admit(self, facts: Iterable[Fact]) -> None:
        ingress = Ingress(self.desk.context.settings, self.redis, [SOURCE])
        for fact in facts:
            ingress.admit(SOURCE, [fact])

    def works(self) -> None:
        """An actor: a worker, until no job waits."""
        desk = self.new_desk()
        while (job := desk.pop()) is not None:
            desk.jobs.run(job.args[0])
            self.redis.delete(job.key)

    def popped(self) -> Call:
        """An actor: a worker that has just popped the first job that waits, and does it."""
        party = self.desk.popped()
        return lambda: self.new_desk().jobs.run(party)

    # --- A schedule ----------------------------------------------------------------

    def begin(self) -> Mapping[str, Call]:
        self.redis.flushdb()
        with Redis.pipeline(self.redis) as pipe:
            for name, row in self.state.items():
                pipe.restore(name, 0, row)
            pipe.execute()
        both = (self.vitally, self.vitally.organizations)
        for of, saved in zip(both, copy.deepcopy(self.accounts), strict=True):
            of.by_id, of.by_external_id, of.births = saved
        for noted in (
            self.transport.overlaps,
            self.transport.created,
            self.transport.touched,
        ):
            noted.clear()
        return self.actors

    def touched(self) -> Iterable[Touch]:
        seen = [*self.transport.touched]
        self.transport.touched.clear()
        return seen

    def end(self) -> Iterator[str]:
        try:
            swept = self._rest()
        except AssertionError as error:
            yield f"I5: {str(error)[:300]}"
            return
        if swept and not self.pair.dies:
            yield "I6: a job was lost, and only the sweeper found it"
        if self.transport.overlaps and not self.pair.dies:
            yield f"I3: writes overlap: {self.transport.overlaps}"
        created = self.transport.created
        if len({*created}) < len(created):
            yield f"I3: created twice: {created}"
        yield from self._kept()
        yield from self._written()

    def _rest(self) -> bool:
        """Let time pass until nothing is left to do; whether a job had been lost."""
        swept = False
        for _ in range(12):
            did = self.desk.work()
            due = self.redis.zrange(keys.LATER, 0, -1, withscores=True)
            soon = [p for p, at in due if at < (time.time() + 120) * 1000]
            if not soon and not self.redis.zcard(keys.DIRTY):
                self.desk.check()
                return swept
            if not did and not soon:
                self.desk.sweep()
                swept = True
            else:
                self.desk.passes(LATER_MS)
        raise AssertionError(f"no rest: {self.desk.dirty()}")

    def _kept(self) -> Iterator[str]:
        events: dict[str, set[str]] = {}
        for fact in self.told:
            events.setdefault(fact.party, set()).add(fact.event)
        for party, known in events.items():
            standing = self.desk.look.standing(party)
            if standing is None or standing.settled != len(known):
                yield f"I1: {party} has {standing}, and not {len(known)} events"

    def _written(self) -> Iterator[str]:
        for account, right in self.wanted.items():
            there = self.vitally.account(account)
            found = (there or {"traits": {}})["traits"]
            if {name: found.get(name) for name in right} != right:
                yield f"I2: {account} is {found} and not {right}"
            if not right and found:
                yield f"I2: {account}, which was left, still has {found}"
            record = self.redis.hmget(keys.account(account), "ledger", "seen")
            ledger = read_ledger(*record).traits
            ledger = {n: v for n, v in ledger.items() if n != MEMBER_OF}
            if any(found.get(name) != value for name, value in ledger.items()):
                yield f"I2: the ledger of {account} is {ledger}, Vitally has {found}"


def wanted(facts: Iterable[Fact]) -> dict[str, Mapping[str, Any]]:
    """The traits of each account that *facts* name; none of one that was left."""
    by_party: dict[str, list[Fact]] = {}
    for fact in facts:
        by_party.setdefault(fact.party, []).append(fact)
    homes: dict[str, list[Party]] = {
        str(fact.value["account"]): [] for fact in facts if fact.value.get("account")
    }
    for name, own in by_party.items():
        history = History(own)
        things = fold(history)
        member = Member(name, 0, history, things)
        account, _ = home(member)
        if account:
            homes[account].append(Party(name, things))
        if of := member.organization and organization(member.organization):
            homes.setdefault(of, []).append(member.party({}, of))
    right = {
        account: dict(document(unite(account, parties)).traits) if parties else {}
        for account, parties in homes.items()
    }
    return {a: {n: v for n, v in t.items() if n != MEMBER_OF} for a, t in right.items()}


# --- The seeds --------------------------------------------------------------------

Seed = Callable[[], AbstractContextManager[None]]


@contextmanager
def edited(name: str, found: str, other: str) -> Iterator[None]:
    """Inside, a Lua script has *other* in the place of what is *found*."""
    real = connect._file
    assert found in real(name), f"{name}.lua has no {found}"

    def file(one: str) -> str:
        return real(one).replace(found, other) if one == name else real(one)

    connect._file = file
    connect.load.cache_clear()
    try:
        yield
    finally:
        connect._file = real
        connect.load.cache_clear()


@contextmanager
def in_two_calls() -> Iterator[None]:
    """Inside, a revision is read in one call and written in another."""
    real = Accept.facts

    def facts(self: Any, source: str, facts: Any, *more: Any, **options: Any) -> Any:
        key = keys.party(facts[0].party)
        rev = int(self._redis.hget(key, "rev") or 0)
        taken = real(self, source, facts, *more, **options)
        if taken.receipt != "duplicate":
            self._redis.hset(key, "rev", rev + 1)
        return taken

    Accept.facts = facts  # type: ignore[method-assign]
    try:
        yield
    finally:
        Accept.facts = real  # type: ignore[method-assign]


# --- The pairs --------------------------------------------------------------------


@dataclass(frozen=True)
class Pair:
    """Actors, from a beginning; *seed* is a bug, and *shows* what it breaks in some orders.

    *dies*: a worker is taken for dead, so the sweeper may have to help, and a write that
    nobody can stop may still be on its way.
    """

    begin: Callable[[Bridge], Mapping[str, Call]]
    seed: Seed
    shows: str
    dies: bool = False


def accept_accept(at: Bridge) -> Mapping[str, Call]:
    """Two events of one customer, each delivered twice."""
    at.settled(customer())
    one, two = subscription(at=1), subscription(at=2, unit=90000)
    return {
        "web 1": at.accepts(one),
        "web 2": at.accepts(one, two),
        "web 3": at.accepts(two),
    }


def accept_sync(at: Bridge) -> Mapping[str, Call]:
    """Two events come while the job of their customer is done."""
    at.settled(customer())
    at.tells(subscription(at=1))
    more = [subscription(at=n, unit=45000 * n) for n in (2, 3)]
    return {"web": at.accepts(*more), "worker": at.works}


def sync_sync(at: Bridge) -> Mapping[str, Call]:
    """Two workers, and a job of each of two customers of one account."""
    at.settled(customer(), customer("cus_2"))
    at.tells(subscription(at=1), subscription("cus_2", "sub_2", at=1))
    return {"worker 1": at.works, "worker 2": at.works}


def sync_sweep(at: Bridge) -> Mapping[str, Call]:
    """A worker has popped a job and hesitates; the sweeper takes the job for lost."""
    at.settled(customer())
    at.tells(subscription(at=1))
    worker = at.popped()
    at.desk.passes(10_000)
    number, claim, job = (at.desk.claim()[name] for name in ("claims", "claim", "job"))

    def sweep() -> None:
        sweeper = at.new_desk().sweeper
        since = time.monotonic() - 10
        sweeper.suspects = {"stripe:cus_1": (f"{number} {claim} {job}", since)}
        sweeper.sweep()

    return {"worker 1": worker, "sweeper": sweep, "worker 2": at.works}


def expiry(at: Bridge, *, doomed: bool) -> Mapping[str, Call]:
    """A lease ends while its holder sleeps, or is *doomed* in its write; then news come."""
    at.settled(customer(), customer("cus_2"))
    at.tells(subscription(at=1), subscription("cus_2", "sub_2", at=1))
    first = "doomed" if doomed else "worker 1"
    newer = at.accepts(subscription(at=2, unit=90000))

    def ends() -> None:
        at.redis.delete(keys.lease("acme"))
        newer()

    return {first: at.popped(), "time": ends, "worker 2": at.popped()}


def relink(at: Bridge) -> Mapping[str, Call]:
    """One of two customers moves while a job of the other is done."""
    at.settled(customer(), subscription(), customer("cus_2"))
    at.tells(subscription(at=1), subscription("cus_2", "sub_2", at=1))
    at.desk.next()
    at.desk.passes(60_000)
    worker = at.popped()
    at.told.append(link("cus_1", "beta"))
    by_hand = partial(actions.link, at.redis, "stripe:cus_1", "beta")
    return {"operator": by_hand, "worker 1": worker, "worker 2": at.works}


def there_and_back(at: Bridge) -> Mapping[str, Call]:
    """The only customer of an account leaves it and comes back."""
    at.settled(customer(), subscription())
    at.told += [link("cus_1", "beta"), link("cus_1", "acme", at=1)]
    actions.link(at.redis, "stripe:cus_1", "beta")
    worker = at.popped()

    def back() -> None:
        time.sleep(0.002)  # links are a millisecond apart
        actions.link(at.redis, "stripe:cus_1", "acme")

    return {"operator": back, "worker 1": worker, "worker 2": at.works}


def organize(at: Bridge) -> Mapping[str, Call]:
    """An organization is written while another one of its accounts changes."""
    of = {"organization": "holding"}
    at.settled(customer(**of), customer("cus_2", account="birch", **of))
    at.settled(subscription(), subscription("cus_2", "sub_2"))
    at.tells(subscription(at=1, unit=90000))
    at.desk.next()
    at.desk.passes(6000)
    organization_s = at.popped()
    news = at.accepts(subscription("cus_2", "sub_2", at=1, unit=70000))

    def changes() -> None:
        news()
        at.works()

    return {"worker 1": organization_s, "worker 2": changes}


def reconcile_sync(at: Bridge, *, by_hand: bool) -> Mapping[str, Call]:
    """Vitally, where somebody may have changed a number, is read while it changes twice."""
    at.settled(customer(), subscription())
    if by_hand:
        at.vitally.by_external_id["acme"]["traits"]["mrr"] = 1
    at.apart = 0.0015
    at.tells(subscription(at=1, unit=90000))

    def read() -> None:
        context = at.new_desk().context
        at.wire(context.vitally)
        shadow = Shadow(at.redis)
        reader = Reconciler(at.redis, context.vitally, context.config, lambda: None)
        for _ in reader.read():
            pass
        drifted = [account for account, _ in shadow.drifted()]
        context.leases.look_again(shadow.party_of_each(drifted), 20)

    back = at.accepts(subscription(at=2))
    return {"reader": read, "worker": at.works, "web": back}


def complete_accept(at: Bridge) -> Mapping[str, Call]:
    """An event comes while the source's own list shows it as well, and a job is done."""
    shop = Shop()
    events = [shop.signs_up(), shop.begins(), shop.changes(quantity=2)]
    one, two, three = ({**event, "livemode": True} for event in events)
    ingress = Ingress(at.desk.context.settings, at.redis, [SOURCE])
    seen = [
        Verified(Delivery("POST", "", {}, orjson.dumps(e))) for e in (one, two, three)
    ]
    at.told += [
        fact
        for verified in seen
        for event in SOURCE.split(verified)
        for fact in read_event(SOURCE, event, ingress.options)[0]
    ]
    ingress.take_in(SOURCE, seen[0])
    at.desk.work()
    at.desk.passes(LATER_MS)

    class List:
        """What the source shows of the time."""

        def changes(self, *_: object) -> Page:
            return Page([SourceChange(0, two)], "")

    def compare() -> None:
        settings = at.desk.context.settings
        Comparison(settings, at.redis, SOURCE, List()).page((0, 0), "", 0)  # type: ignore[arg-type]

    def hear() -> None:
        web = Ingress(at.desk.context.settings, at.redis, [SOURCE])
        for verified in seen[1:]:
            web.take_in(SOURCE, verified)

    return {"list": compare, "web": hear, "worker": at.works}


NEWER = "if rev > read then redis.call('ZADD', DIRTY, 'XX', int(now), p)"
FREED = "if row[3] then redis.call('DEL', lease_of(row[3])) end\nreturn {claimed("
FENCED = "if leased and holder(ack.account) ~= ack.fence then"
HEIR = "redis.call('ZADD', DIRTY, 'NX', int(now), heir)"
IS_COMING = "if redis.call('HGET', party_of(heir), 'claim') then return {} end "
WAITS = "if redis.call('ZSCORE', DIRTY, p) then"
STIRS = "redis.call('HINCRBY', party_of(p), 'nudges', 1)"
SEES = "if not later and not row[3] and (row[1] or '') == one[2] then"

PAIRS: dict[str, Pair] = {
    # A revision is counted in two calls.
    "accept-accept": Pair(accept_accept, in_two_calls, "I"),
    # What came during a job is taken for written.
    "accept-sync": Pair(
        accept_sync, partial(edited, "settling", NEWER, "if false then"), "I1"
    ),
    # Whoever asks for a lease gets it.
    "sync-sync": Pair(
        sync_sync,
        partial(edited, "begin", "elseif held_by then", "elseif false then"),
        "I3",
    ),
    # With a lost job the sweeper ends the lease of whoever does it.
    "sync-sweep": Pair(
        sync_sweep, partial(edited, "claim", "return {claimed(", FREED), "I3"
    ),
    # Who has lost the lease stores the outcome all the same.
    "lease-expiry": Pair(
        partial(expiry, doomed=False),
        partial(edited, "ack", FENCED, "if false then"),
        "I2",
        dies=True,
    ),
    # Nobody notes that a request is about to be sent.
    "lease-expiry-death": Pair(
        partial(expiry, doomed=True),
        partial(edited, "renew", "if ARGV[4] ~= '' then", "if false then"),
        "I2",
        dies=True,
    ),
    # An account that was left gets no job if one of its customers has one.
    "relink-sync": Pair(relink, partial(edited, "move", HEIR, IS_COMING + HEIR), "I2"),
    # Whose job came while another had the lease is forgotten.
    "relink-sync-back": Pair(
        there_and_back, partial(edited, "releasing", WAITS, "if false then"), "I"
    ),
    # What changes while an organization is written is taken for written.
    "organize-sync": Pair(organize, partial(edited, "joining", STIRS, ""), "I2"),
    # A revision is counted in two calls.
    "complete-accept": Pair(complete_accept, in_two_calls, "I"),
    # What was read is believed, although it was written since.
    "reconcile-sync": Pair(
        partial(reconcile_sync, by_hand=False),
        partial(edited, "see", SEES, "if true then"),
        "I2",
    ),
    # What was read while a job was done is forgotten at its end.
    "reconcile-sync-drift": Pair(
        partial(reconcile_sync, by_hand=True),
        partial(edited, "ack", "elseif is_news then", "elseif false then"),
        "I2",
    ),
}


def explore(
    redis: GatedRedis, vitally: Simulator, pair: Pair, *, seeded: bool = False
) -> Found:
    """Play all orders of *pair*, *seeded* with its bug."""
    bridge = Bridge(redis, vitally, pair)
    # Here no job is long, and whoever was written has to wait: not as the clock will.
    usual = outcomes.LONG_MS, outcomes.PACES_MS
    outcomes.LONG_MS, outcomes.PACES_MS = LATER_MS, (0, *3 * (LATER_MS // 2,))
    try:
        with pair.seed() if seeded else nullcontext():
            know_scripts(redis)
            return Search(bridge).run()
    finally:
        outcomes.LONG_MS, outcomes.PACES_MS = usual
        bridge.watch.close()


def main(args: Sequence[str]) -> int:
    """Explore the pairs in *args*, or all; print a line for each."""
    failed = False
    logging.disable()
    with RedisServer() as server, Simulator() as vitally:
        redis = GatedRedis(port=server.port)
        for name in [one for one in args if one in PAIRS] or PAIRS:
            pair, began = PAIRS[name], time.monotonic()
            seeded = "--seeded" in args
            found = explore(redis, vitally, pair, seeded=seeded)
            shown = any(one.startswith(pair.shows) for one in found.problems)
            failed |= not shown if seeded else bool(found.problems)
            took = time.monotonic() - began
            line = (
                f"{name:20}{found.schedules:6} schedules{found.cut:6} cut short"
                f"{took:7.1f} s  {'; '.join(found.problems) or 'nothing wrong'}"
            )
            sys.stdout.write("\n    ".join([line, *found.trace]) + "\n")
            sys.stdout.flush()
        redis.close()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
