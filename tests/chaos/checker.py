"""The one checker: what must hold while a bridge is being broken, and at rest.

I1 every 2xx event is settled, pending, held or parked · I2 at rest, every trait that
the fold of all taken events knows is right in Vitally · I3 no two writes of an account
overlap · I4 the budget is kept in every minute · I5 the counting adds up · I6 what a
dead worker held is taken up in time · I7 liveness is true, readiness honest · I8 no
secret, body or personal data in a log.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson
from redis import Redis
from redis.exceptions import RedisError

from bridge.domain.account import MEMBER_OF, Party, identify, unite
from bridge.domain.document import document
from bridge.domain.facts import Fact, organization
from bridge.domain.fold import History, fold
from bridge.ingest import read_event
from bridge.sources import load
from bridge.sources.stripe import SOURCE
from bridge.store import keys
from bridge.store.inspect import Figures, StateReader, figures
from bridge.webhook.source import Delivery, Verified
from tests.chaos.world import NEXT_SECRET, PASSWORD, Known, World
from tests.support.desk import QUEUE
from tests.support.stack import Stack
from tests.support.stripe import SECRET

RECOVERY = 15.0
SHARE = 0.8
MINUTE = 60_000
EVERY = 0.25

PRIVATE = re.compile(
    rf"{SECRET}|{NEXT_SECRET}|{PASSWORD}|sk_test_example|Basic |@shop\.example"
    r"|Example \d|Hot Example|unit_amount|\"metadata\"|t=\d+,v1="
)
"""What no log may hold: secrets, names, addresses, and parts of a body."""


def at_rest(world: Known) -> list[str]:
    """Everything that is wrong now that nothing is left to do."""
    checks = (_kept, _traits, _writes, budget, _sums, _ready, _logs)
    return [found for check in checks for found in check(world)]


def _kept(world: Known) -> Iterator[str]:
    now = world.stack.figures()
    uncounted = {fact.party for fact in world.more}
    if now.accepted < len(world.taken) or (
        now.accepted > len(world.taken) and not uncounted
    ):
        yield f"I1: {len(world.taken)} events were taken, {now.accepted} are known"
    if now.settled + now.held != now.accepted:
        yield f"I1: not all is settled or held: {now}"
    told = _by_party(world.taken.values()).items()
    counted = (one for party, own in told if party not in uncounted for one in own)
    yield from kept(world.stack, counted)


def kept(stack: Stack, events: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Whose *events* are not all counted."""
    for party, told in _by_party(events).items():
        known = int(stack.redis.hget(keys.party(party), "rev") or 0)
        if known != len(told):
            yield f"I1: {party} has {known} of {len(told)} events"


def _traits(world: Known) -> Iterator[str]:
    events, more = world.taken.values(), world.more
    yield from traits(world.stack, events, more)
    told = _facts(world.stack, events, more).values()
    left = {str(f.value["account"]) for facts in told for f in facts if _names(f)}
    extra = {a["externalId"] for a in world.stack.vitally.accounts()} - left
    if extra:
        yield f"I2: nobody asked for {extra}"


def _names(fact: Fact) -> bool:
    return bool(fact.value.get("account"))


def traits(
    stack: Stack, events: Iterable[Mapping[str, Any]], more: Iterable[Fact] = ()
) -> Iterator[str]:
    """Where Vitally is not what the fold of all these *events*, and of *more*, says."""
    homes: dict[str, list[Party]] = {}
    left: set[str] = set()
    for name, facts in _facts(stack, events, more).items():
        things = fold(History(facts))
        account, _, of = identify(things)
        child = Party(name, things, {}, account or name)
        placed = (account, Party(name, things)), (of and organization(of), child)
        for home, party in placed:
            if home:
                homes.setdefault(home, []).append(party)
        left |= {str(f.value["account"]) for f in facts if _names(f)}
        orgs = {str(f.value.get("organization", "")) for f in facts} - {""}
        left |= set(map(organization, orgs))
    for account, parties in homes.items():
        right = dict(document(unite(account, parties)).traits)
        found = _found(stack, account, right)
        if found != right:
            yield f"I2: {account} is {found} and not {right}"
    for account in left - homes.keys():
        known = stack.vitally.account(account)
        if known and known["traits"]:
            yield f"I2: {account}, which was left, still has {known['traits']}"


def _found(stack: Stack, account: str, names: Iterable[str]) -> dict[str, Any] | None:
    """What Vitally has under these *names*."""
    known = stack.vitally.account(account)
    if known is None:
        return None
    its = stack.vitally.organizations.by_id.get(known.get("organizationId"), {})
    place = {MEMBER_OF: its.get("externalId")}
    return {name: {**known["traits"], **place}.get(name) for name in names}


def _writes(world: Known) -> Iterator[str]:
    for entry in world.stack.overlaps():
        # Who sleeps beyond his lease cannot close the connection that he has open.
        if not any(begun <= entry["started"] <= end for begun, end in world.naps):
            yield f"I3: writes overlap: {entry}"
    made = world.stack.creations()
    if len(set(made)) != len(made):
        yield f"I3: created twice: {sorted(a for a in made if made.count(a) > 1)}"


def budget(world: Known) -> Iterator[str]:
    """What is wrong with the units that were spent so far."""
    writes = [(e["started"], e["cost"]) for e in world.stack.vitally.writes()]
    for place, (begun, _) in enumerate(writes):
        spent = sum(cost for at, cost in writes[place:] if at < begun + MINUTE)
        if spent > world.limit * SHARE:
            yield f"I4: {spent} units in a minute, {world.limit * SHARE} are allowed"
            return


def _sums(world: Known) -> Iterator[str]:
    now = world.stack.figures()
    yield from adds_up(now)
    found = list(StateReader(world.stack.redis).every_standing())
    for word in ("settled", "pending", "held", "parked"):
        scanned = sum(getattr(one, word) for one in found)
        if scanned != getattr(now, word):
            yield f"I5: {getattr(now, word)} {word} are counted, {scanned} are there"


def adds_up(now: Figures) -> Iterator[str]:
    """What is wrong with the sums of the counting."""
    parts = now.accepted + now.duplicate + now.ignored + now.quarantined
    if now.received != parts:
        yield f"I5: received is not the sum: {now}"
    if now.accepted != now.settled + now.pending + now.held + now.parked:
        yield f"I5: accepted is not the sum: {now}"
    if min(now.pending, now.held, now.parked, now.settled) < 0:
        yield f"I5: below zero: {now}"


def _ready(world: Known) -> Iterator[str]:
    for web in world.stack.webs:
        status, said = web.get("/readyz")
        if status != 200:
            yield f"I7: at rest {web.url} is not ready: {said}"
    for running, since in world.leaving:
        left = max(0.1, since + 20 - time.monotonic())
        status = running.wait(left)
        if status != 0:
            yield f"I7: a process ended with {status} at SIGTERM: {running.log}"


def _logs(world: Known) -> Iterator[str]:
    for path in sorted(world.stack.folder.glob("w*.log")):
        for line in path.read_text(errors="replace").splitlines():
            found = PRIVATE.search(line)
            if found:
                yield f"I8: {found[0]!r} in {path}: {line[:200]}"
                break


def _by_party(
    events: Iterable[Mapping[str, Any]],
) -> dict[str, list[Mapping[str, Any]]]:
    told: dict[str, list[Mapping[str, Any]]] = {}
    for event in events:
        customer = event["data"]["object"]
        owner = customer.get("customer") or customer["id"]
        told.setdefault(f"stripe:{owner}", []).append(event)
    return told


def _facts(
    stack: Stack, events: Iterable[Mapping[str, Any]], more: Iterable[Fact]
) -> dict[str, list[Fact]]:
    """What the ingress understands of *events*, and *more*, by party."""
    settings, _ = load({k: str(v) for k, v in stack.environ.items()})
    found: dict[str, list[Fact]] = {}
    for fact in more:
        found.setdefault(fact.party, []).append(fact)
    for told in events:
        body = orjson.dumps(told)
        for event in SOURCE.split(Verified(Delivery("POST", "", {}, body))):
            facts, refusal = read_event(SOURCE, event, settings.sources)
            assert refusal is None, refusal
            for fact in facts:
                found.setdefault(fact.party, []).append(fact)
    return found


class Watcher:
    """Looks all the time at what has to hold all the time; `with Watcher(world):`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._strays: dict[tuple[bytes, ...], float] = {}
        self._living: set[str] = set()

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(EVERY):
            self._alive()
            try:
                now = figures(self._world.stack.redis)
                strays = set(_strays(self._world.stack.redis))
            except (RedisError, OSError):
                self._strays.clear()
                continue
            for what in adds_up(now):
                self._world.wrong(what)
            self._late(strays)

    def _alive(self) -> None:
        """Who has once answered answers until he is told to go."""
        for web in list(self._world.stack.webs):
            status, _ = web.get("/healthz")
            if status == 200:
                self._living.add(web.url)
            elif web.url in self._living and web in self._world.stack.webs:
                self._world.wrong(f"I7: /healthz of {web.url}: {status}")

    def _late(self, strays: set[tuple[bytes, ...]]) -> None:
        now = time.monotonic()
        self._strays = {one: self._strays.get(one, now) for one in strays}
        for one, since in self._strays.items():
            if now - max(since, self._world.disturbed) > RECOVERY:
                self._world.wrong(f"I6: nobody has taken up {one}")
                self._world.disturb()


def _strays(redis: Redis) -> Iterator[tuple[bytes, ...]]:
    """Dirty parties without a messenger: no job waits, no lease, no next try."""
    with redis.pipeline(transaction=True) as pipe:
        pipe.zrange(keys.DIRTY, 0, -1)
        pipe.lrange(QUEUE, 0, -1)
        parties, waiting = pipe.execute()
    for party in parties:
        claim, job, claims, account = redis.hmget(
            keys.party(party.decode()), "claim", "job", "claims", "account"
        )
        waits = claim == b"later" and redis.zscore(keys.LATER, party) is not None
        leased = account and redis.exists(keys.lease(account.decode()))
        if not (waits or leased or (claim == b"queued" and job in waiting)):
            yield party, claim or b"", job or b"", claims or b""
