"""Leases: the right to write an account, reading it, and acknowledging an outcome.

A lease is a fencing number under the account's key. It expires `LEASE_MS` after its
holder dies, and every step that matters checks it first. Redis keeps the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from time import monotonic
from typing import Any, NamedTuple

import orjson
from redis import Redis

from bridge.domain.account import identify, is_incomplete
from bridge.domain.catalogue import references
from bridge.domain.document import Ledger, as_json, from_json
from bridge.domain.facts import (
    PartyKind,
    PartyName,
    catalogue,
    kind_of,
    organization,
    source_of,
    vacated,
)
from bridge.domain.fold import State, compact, fold
from bridge.domain.values import CUSTOMER, DAY_MS, NAME
from bridge.errors import LostLeaseError
from bridge.log import ABOUT
from bridge.store import codec, keys
from bridge.store.connect import Store, batches, each, milliseconds
from bridge.store.view import (
    NUMBERS,
    RETRIED,
    Catalogues,
    Lease,
    Member,
    Outcome,
    View,
    Wait,
    delivery_ids,
)

LEASE_MS = 6000
"""The worker's heartbeat renews it until the job's own deadline."""

HEAD = ("rev", "nudges", "deliveries")
"""Fields of a party's record that are read together with its facts."""

ACK_FIELDS = ("to", "why", "unset", "known", "mass")
"""What the script of `ack` is told of an outcome under the same name."""

NOTHING_SEEN = "[{}, 0, false]"
"""Field `seen` of an account that no reading has shown: traits, when, missing."""

DRY_RUN_MS = 100 * 365 * DAY_MS
"""For how long a party that a dry run would write waits: for its end."""

SPREAD = 500
"""Most parties that one step of a spread reaches."""

SOON = 20
"""Accounts that are looked at again without regard to new events."""

APART_MS = 20
"""Time between two parties of a spread, or of any other mass of them: new events are
not held up."""


class Claim(NamedTuple):
    """A *party* for which a job must be queued under this *number*.

    *delivery* is the id of the last delivery that is not settled; "": none is known.
    The job of an *urgent* one goes to the front of the queue.
    """

    party: str
    number: int
    delivery: str = ""
    urgent: bool = False


Claims = list[Claim]

Children = Sequence[tuple[str, Sequence[str]]]
"""Accounts of an organization, each with parties that are about to join it."""


class Leases(Store):
    """Leases, reads and acknowledgements of one worker, which does one job at a time.

    *held* is its current lease, which the heartbeat renews; it is None before a script
    gives the lease back, so that no other thread misses it. *since* is when its job began,
    *read_at* when it read the account (seconds of the monotonic clock). Raises redis' own errors.
    """

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.held: Lease | None = None
        self.since = self.read_at = 0.0

    def begin(self, party: str) -> View | None:
        """Take the lease of a party's account and read all that a write depends on.

        None: another worker has the lease, and will queue *party* again. Without an
        account so far the party is read alone, and no lease is taken.
        """
        self.held, self.since = None, monotonic()
        answer = self._run("begin", party, own_account(party) or "", LEASE_MS, 0)
        return None if answer == [0] else self._view(party, answer)

    def read_again(self, lease: Lease) -> View:
        """Read it all again under the *lease*. Raises LostLeaseError."""
        account, fence = lease.account, lease.fence
        answer = self._run("begin", lease.party, account, LEASE_MS, fence)
        if answer == [0]:
            raise LostLeaseError(account)
        return self._view(lease.party, answer)

    def _view(self, party: str, answer: Sequence[Any]) -> View:
        """Read an account; if it cannot be read, its lease is not renewed any more."""
        fence, account = answer[0], answer[1].decode()
        # Before it is read, which may take long.
        self.held = Lease(account, party, fence) if account else None
        self.read_at = monotonic()
        try:
            # First of all, for the line about facts that cannot be read.
            ids = delivery_ids((head[2] or b"").decode() for _, head, *_ in answer[4])
            ABOUT.set({"deliveries": ids} if ids else {})
            view = _view(party, answer)
            members = view.members if view.account else (view.own,)
            return view._replace(
                catalogues=used(self._redis, [*members, *view.children]),
                organizations=placed(self._redis, members),
            )
        except BaseException:
            self.held = None
            raise

    def peek(
        self, accounts: Iterable[tuple[str, Sequence[str], Children | None]]
    ) -> list[View]:
        """Read accounts without a lease, each with parties that are about to join it.

        An organization has the accounts that it has (None), or is about to have. One
        without any party is left out.
        """
        replies = self._run("peek", orjson.dumps([*accounts]))
        views = [_view(one[4][0][0].decode(), one) for one in replies if one[4]]
        members = [m for view in views for m in (*view.members, *view.children)]
        catalogues = used(self._redis, members, register=False)
        places = placed(self._redis, members)
        return [v._replace(catalogues=catalogues, organizations=places) for v in views]

    def members(self, parties: Sequence[str]) -> list[Member]:
        """Read *parties* whole; the revision first, so that it is never too new."""
        with self._redis.pipeline(transaction=True) as pipe:
            for name in parties:
                pipe.hmget(keys.party(name), HEAD)
                pipe.hgetall(keys.facts(name))
            replies = pipe.execute()
        read = zip(parties, replies[::2], replies[1::2], strict=True)
        return [_member(name, head, facts) for name, head, facts in read]

    def take(self, account: str, party: str) -> Lease | None:
        """Take the lease; None: another has it and will queue *party* again."""
        fence = int(self._run("take", account, party, LEASE_MS))
        if not fence:
            return None
        self.held, self.since = Lease(account, party, fence), monotonic()
        return self.held

    def renew(self, lease: Lease, *marks: str | int) -> None:
        """Prove and prolong the lease. Raises LostLeaseError."""
        marks = marks or ("", "")
        if not self._run("renew", lease.account, lease.fence, LEASE_MS, *marks):
            raise LostLeaseError(lease.account)

    def mark_unconfirmed(
        self, lease: Lease, whole_writes: int, traits: Iterable[str]
    ) -> None:
        """Prove the lease before a request that carries *traits*.

        *whole_writes* are owed until its reply is acknowledged.
        """
        self.renew(lease, whole_writes, orjson.dumps(sorted(traits)).decode())

    def release(self, lease: Lease) -> Claims:
        """Give the lease back without an outcome."""
        self.held = None
        if not lease.account:
            return []
        return claims(self._run("release", lease.account, lease.fence))

    def ack(self, view: View, outcome: Outcome, row: str | None = None) -> Claims:
        """Confirm *outcome* for every party in *view*. Raises LostLeaseError.

        *row* is the account's in the index, "" if it has none any more.
        """
        fields = dict(outcome.fields)
        if (ledger := outcome.ledger) is not None:
            fields["ledger"] = _text(as_json(ledger))
            if ledger.read_at:
                seen = [ledger.seen, ledger.read_at, ledger.missing]
                fields["seen"] = _text(seen)
        counts = {f"outcome:{outcome.word}": 1}
        if outcome.writes:
            counts["writes"] = outcome.writes
        elif outcome.word == "unchanged":
            counts["saved"] = 1
        text = _text(
            {name: getattr(outcome, name) for name in ACK_FIELDS}
            | {
                "account": view.account,
                "fence": str(view.lease.fence),
                "party": view.own.name,
                "parties": [_compacted(member) for member in view.members],
                "vacant": view.is_vacant,
                "unplaced": [n for n, id_ in view.organizations.items() if id_ is None],
                "set": fields,
                "unknown": _text(outcome.unknown),
                "history": _text(outcome.history),
                "counts": counts,
                "later": outcome.later_ms,
                "made_good": view.lost_lease_writes if outcome.writes else 0,
                "read_at": view.ledger.read_at,
            }
            | ({} if row is None else {"row": row})
            | dict(outcome.joins)
        )
        self.held = None
        answer = self._run("ack", text)
        if answer == 0:
            raise LostLeaseError(view.account)
        return claims(answer)

    def postpone(
        self, party: str, ms: int, lease: Lease | None = None, wait: Wait = RETRIED
    ) -> Claims:
        """Try *party* again in *ms*; give the *lease* back and note what *wait* says.

        If the lease is lost, the account is marked: what was sent under it may have
        overwritten something, and is made good by a write of the whole document.
        """
        self.held = None
        account, fence = (lease.account, lease.fence) if lease else ("", 0)
        payload = wait._asdict() | {"unknown": _text(wait.unknown), "ms": max(0, ms)}
        payload |= {"party": party, "account": account, "fence": str(fence)}
        del payload["why"]  # the log says it
        return claims(self._run("postpone", _text(payload)))

    def begin_dry_run(self) -> None:
        """Note that nothing is written from now on."""
        self._redis.set(keys.DRY_RUN, 1)

    def end_dry_run(self) -> int:
        """End a dry run: all that it left is written; return how many parties wait."""
        waited, n = 0, SPREAD
        while n == SPREAD:
            n = int(self._run("end_dry_run", DRY_RUN_MS // 2, APART_MS, waited, SPREAD))
            waited += n
        return waited

    def record_crash(self, party: str, job: str, why: str) -> tuple[bool, str]:
        """Note a failed *job*; the second at the same facts parks the party with *why*.

        Return whether it is parked now, and the failed job before ('' none).
        """
        parked, before = self._run("record_crash", party, job, why)
        return bool(parked), before.decode()

    def move(self, party: str, account: str | None) -> Claims:
        """Make *party* a member of *account*, and of no other."""
        return claims(self._run("move", party, account or "", vacated("")))

    def claim(self, how: str, *args: str | int) -> Claims:
        """Claim parties; each claim needs a job.

        "due", most: up to so many parties whose next try is due. "lost", party, number:
        one whose claim of this number has lost its job. "by hand", party: one that is
        not settled. "look", party: one, settled or not. The last two claim nothing if
        a job of the party waits already.
        """
        return claims(self._run("claim", how, *args))

    def make_due(self, parties: Sequence[str], apart_ms: int) -> int:
        """Have those of *parties* tried, one after another, of which something waits.

        Return how many that are.
        """
        made = 0
        for some in batches(parties, SPREAD):
            made += int(self._run("due", made * apart_ms, apart_ms, *some))
        return made

    def look_again(self, parties: Iterable[str], apart_ms: int) -> int:
        """Queue a look at each of *parties*, settled or not; return when (ms) the last is due.

        The first looks are soon, the others *apart_ms* from one another.
        """
        at, due = milliseconds(self._redis), dict[str, int]()
        for n, party in enumerate(parties):
            due[party] = at = at + (APART_MS if n < SOON else apart_ms)
        for some in batches(due.items(), SPREAD):
            self._redis.zadd(keys.LATER, dict(some), lt=True)
        return at

    def spread(self, thing: str) -> int:
        """Queue a look at some parties that use the *thing* of a catalogue; how many."""
        return int(self._run("spread", thing, SPREAD, APART_MS))


def used(
    redis: Redis, members: Sequence[Member], *, register: bool = True
) -> Catalogues:
    """What *members* use of their sources' catalogues.

    They are put on the list of those to be told of a change before it is read, so
    that no change is missed; without *register* (for people who look) they are not.
    """
    users = [one for one in members if kind_of(one.name) != PartyKind.CATALOGUE]
    pairs = {(one.name, thing) for one in users for thing in references(one.things)}
    wanted = sorted((catalogue(source_of(n), thing), n, thing) for n, thing in pairs)
    if not wanted:
        return {}
    every = list(dict.fromkeys(listed for listed, _, _ in wanted))
    with redis.pipeline(transaction=True) as pipe:
        for listed, name, _ in wanted:
            if register:
                pipe.sadd(keys.uses(listed), name)
        for listed in every:
            pipe.hgetall(keys.facts(listed))
        replies = pipe.execute()[-len(every) :]
    rows = {listed: raw for listed, raw in zip(every, replies, strict=True) if raw}
    states = {listed: fold(codec.read(listed, raw)) for listed, raw in rows.items()}
    known: dict[str, dict[str, Mapping[str, State]]] = {}
    for listed, name, thing in wanted:
        if listed in states:
            known.setdefault(source_of(name), {})[thing] = states[listed]
    return known


def placed(redis: Any, members: Iterable[Member]) -> dict[str, str | None]:
    """The organizations that *members* name, as `View.organizations` has them."""
    names = sorted({member.organization for member in members} - {""})
    records = [keys.account(organization(name)) for name in names]
    rows = each(redis, "hmget", records, "known", "id")
    ids = [(id_ or b"").decode() if known else None for known, id_ in rows]
    return dict(zip(names, ids, strict=True))


def _view(party: str, reply: Sequence[Any]) -> View:
    """What `begin` or `peek` returned of one account, without its catalogues."""
    fence, account, now, record, rows, listed_at, dirty_since = reply
    lease = Lease(account.decode(), party, fence)
    read = [_member(n.decode(), head, _pairs(facts)) for n, head, facts, _ in rows]
    own, children = read[0], list[Member]()
    if lease.account:
        homes = (at.decode() for *_, at in rows)
        pairs = zip(homes, read, strict=True)
        staying = [(at, member) for at, member in pairs if home(member)[0] == at]
        read = sorted(m for at, m in staying if at == lease.account)
        children = sorted(m for at, m in staying if at != lease.account)
    known = {k.decode(): v.decode() for k, v in _pairs(record).items()}
    numbers: Any = {name: int(known.get(name, 0)) for name in NUMBERS}
    return View(
        lease,
        own,
        tuple(read),
        read_ledger(known.get("ledger"), known.get("seen")),
        "ledger" in known,
        tuple(orjson.loads(known.get("sent") or "[]")),
        int(known.get("doubt", 0)),
        int(known.get("stale", 0)),
        now=int(now),
        listed_at=int(listed_at or 0),
        dirty_since=int(dirty_since or 0),
        objects=known.get("objects", ""),
        left=known.get("left", ""),
        children=tuple(children),
        **numbers,
    )


def read_ledger(ledger: str | bytes | None, seen: str | bytes | None) -> Ledger:
    """The ledger as its two fields of an account's record keep it."""
    return from_json(orjson.loads(ledger or "{}"), orjson.loads(seen or NOTHING_SEEN))


def own_account(party: str) -> str | None:
    """What a party that is not a customer stands for; None for a customer."""
    name = PartyName.parse(party)
    if name.kind == PartyKind.CUSTOMER:
        return None
    return name.id if name.kind == PartyKind.VACATED else party


def home(member: Member) -> tuple[str | None, str]:
    """The account a party belongs to by its facts, or None and the reason."""
    own = own_account(member.name)
    return (own, "") if own is not None else identify(member.things)[:2]


def _member(
    name: str, head: Sequence[bytes | None], rows: Mapping[bytes, bytes]
) -> Member:
    try:
        history = codec.read(name, rows)
    except (ValueError, TypeError, LookupError) as error:
        error.add_note(name)  # for `plan`, which reads many
        raise
    rev, nudges = (int(number or 0) for number in head[:2])
    return Member(name, rev, history, fold(history), nudges, (head[2] or b"").decode())


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    """A hash as a script returns it: fields and values in turn."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def claims(answer: Iterable[tuple[bytes, int, bytes, int]]) -> Claims:
    """Read what a script returns of the parties that it claimed."""
    return [Claim(p.decode(), n, last.decode(), u == 1) for p, n, last, u in answer]


def _compacted(member: Member) -> dict[str, Any]:
    """A party whose facts up to the revision that was read become fewer."""
    shown = (member.things.get(thing) for thing in (CUSTOMER, NAME))
    is_named = any(state.value.get("name") for state in shown if state)
    less = compact(member.history)
    gone, put = codec.rewrite(member.history, less, is_named=is_named)
    return {
        "name": member.name,
        "read": member.read,
        "nudged": member.catalogue_revision,
        "gone": gone,
        "put": put,
        "deliveries": member.deliveries,
        "vacated": kind_of(member.name) == PartyKind.VACATED,
        "stands_in": member.stands_in,
        "incomplete": incomplete(member),
    }


def incomplete(member: Member) -> bool:
    """Whether it is a customer whose first events were not seen."""
    is_customer = kind_of(member.name) == PartyKind.CUSTOMER
    return is_customer and is_incomplete(member.things)


def _text(data: object) -> str:
    """JSON, or "" of nothing."""
    return orjson.dumps(data).decode() if data else ""
