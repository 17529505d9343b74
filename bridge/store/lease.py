"""Who may write an account now, what is known of it, and how an outcome is confirmed.

A lease is a fencing number under the account's key. It is gone `LEASE_MS` after its
holder dies; every step that matters proves it first. Redis keeps the time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from redis import Redis

from bridge.domain.account import is_incomplete
from bridge.domain.document import as_json, from_json
from bridge.domain.facts import CATALOGUE, POINTER
from bridge.domain.fold import compact, fold
from bridge.errors import LostLeaseError
from bridge.store import keys, rows
from bridge.store.catalogue import used
from bridge.store.scripts import load
from bridge.store.view import (
    NUMBERS,
    VACATED,
    Lease,
    Member,
    Outcome,
    View,
    home,
)

LEASE_MS = 6000
"""Renewed by the worker's heartbeat while a job is inside its own deadline."""

HEAD = ("rev", "account", "nudges", "learned")
"""Fields of a party's hash that say where it belongs, and whether it changed."""

Claims = list[tuple[str, int]]
"""Parties, with the number of the claim, for which a job has to be queued."""


class Leases:
    """Reads, leases and acknowledgements. Raises redis' own errors."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._take = redis.register_script(load("take"))
        self._keep = redis.register_script(load("renew"))
        self._leave = redis.register_script(load("release"))
        self._ack = redis.register_script(load("ack"))
        self._hold = redis.register_script(load("hold"))
        self._postpone = redis.register_script(load("postpone"))
        self._move = redis.register_script(load("move"))
        self._wake = redis.register_script(load("wake"))
        self._stumble = redis.register_script(load("record_crash"))

    def members(self, parties: Sequence[str]) -> list[Member]:
        """Read *parties* whole; the revision first, so that it is never too new."""
        with self._redis.pipeline(transaction=True) as pipe:
            for name in parties:
                pipe.hmget(keys.party(name), HEAD)
                pipe.hgetall(keys.facts(name))
            replies = pipe.execute()
        return [
            _member(name, *replies[2 * n], rows_=replies[2 * n + 1])
            for n, name in enumerate(parties)
        ]

    def take(self, account: str, party: str) -> Lease | None:
        """Take the lease; None: another has it and will queue *party* again."""
        fence = int(self._take(args=[account, party, LEASE_MS]))
        return Lease(account, party, fence) if fence else None

    def view(self, lease: Lease, known: Member | None = None) -> View:
        """Read all that a write of the account depends on.

        *known* is a party as it was read before; it is read again where it changed.
        """
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.smembers(keys.members(lease.account))
            pipe.hgetall(keys.account(lease.account))
            pipe.time()
            pipe.hmget(keys.party(known.name if known else ""), HEAD)
            names, raw, (seconds, micros), head = pipe.execute()
        own = {name.decode(): text.decode() for name, text in raw.items()}
        parties = sorted(name.decode() for name in names)
        if lease.party.startswith(VACATED):
            parties.append(lease.party)
        fresh = _headed(known, *head) if known and known.name in parties else None
        same = [fresh] if known and fresh and fresh.version == known.version else []
        read = self.members([p for p in parties if p not in {m.name for m in same}])
        found = sorted([*read, *same], key=lambda member: member.name)
        members = [m for m in found if home(m)[0] == lease.account]
        return View(
            lease.account,
            tuple(members),
            from_json(orjson.loads(own.get("ledger", "{}"))),
            "ledger" in own,
            tuple(orjson.loads(own.get("sent") or "[]")),
            now=seconds * 1000 + micros // 1000,
            catalogues=used(self._redis, members),
            **{name: int(own.get(name, 0)) for name in NUMBERS},
        )

    def keep(self, lease: Lease) -> None:
        """Prove and prolong the lease. Raises LostLeaseError."""
        self._prove(lease, "", "")

    def doubt(self, lease: Lease, whole_writes: int, sent: Iterable[str]) -> None:
        """Prove the lease before a request that carries the traits *sent*.

        *whole_writes* are owed until its reply is acknowledged.
        """
        names = orjson.dumps(sorted(sent)).decode()
        self._prove(lease, str(whole_writes), names)

    def _prove(self, lease: Lease, doubt: str, sent: str) -> None:
        args: list[str | int] = [
            lease.account,
            lease.fence,
            LEASE_MS,
            doubt,
            sent,
        ]
        if not self._keep(args=args):
            raise LostLeaseError(lease.account)

    def leave(self, lease: Lease) -> Claims:
        """Give the lease back without an outcome."""
        return claims(self._leave(args=[lease.account, lease.fence]))

    def ack(self, lease: Lease, view: View, outcome: Outcome) -> Claims:
        """Confirm *outcome* for every party in *view*. Raises LostLeaseError."""
        body = _ack(lease, view, outcome)
        found = self._ack(args=[orjson.dumps(body)])
        if found == 0:
            raise LostLeaseError(lease.account)
        return claims(found)

    def hold(self, member: Member, reason: str) -> Claims:
        """Hold a party that has no account, as far as it was read."""
        less = orjson.dumps(_compacted(member))
        args: list[str | bytes | int] = [
            member.name,
            member.read,
            member.nudged,
            reason,
            less,
        ]
        claim = int(self._hold(args=args))
        return [(member.name, claim)] if claim else []

    def postpone(
        self,
        party: str,
        delay_ms: int,
        lease: Lease | None = None,
        fields: Mapping[str, str] | None = None,
    ) -> Claims:
        """Let *party* wait; with a *lease*, give it back and note *fields*.

        One that is lost is noted: what was sent under it has to be made good.
        """
        account, fence = (lease.account, lease.fence) if lease else ("", 0)
        noted = orjson.dumps(fields or {})
        args: list[str | bytes | int] = [
            party,
            max(0, delay_ms),
            account,
            fence,
            noted,
        ]
        return claims(self._postpone(args=args))

    def stumble(self, party: str, job: str, why: str) -> tuple[bool, str]:
        """Note a failed *job*; the second at the same facts parks the party with *why*.

        Return whether it is parked now, and the failed job before ('' none).
        """
        parked, before = self._stumble(args=[party, job, why])
        return bool(parked), before.decode()

    def move(self, party: str, account: str | None) -> Claims:
        """Make *party* a member of *account*, and of no other."""
        return claims(self._move(args=[party, account or "", VACATED]))

    def wake(self, party: str) -> Claims:
        """Claim a job of *party* by hand; none where one waits, or nothing does."""
        claim = int(self._wake(args=[party]))
        return [(party, claim)] if claim else []


def _member(name: str, *head: bytes | None, rows_: Mapping[bytes, bytes]) -> Member:
    past = rows.read(name, rows_)
    return _headed(Member(name, 0, past, fold(past), None), *head)


def _headed(
    member: Member,
    rev: bytes | None,
    account: bytes | None,
    nudges: bytes | None,
    learned: bytes | None,
) -> Member:
    """The *member* with what `HEAD` names."""
    return member._replace(
        read=int(rev or 0),
        account=account.decode() if account else None,
        nudged=int(nudges or 0),
        learned=int(learned or 0),
    )


def claims(found: Iterable[tuple[bytes, int]]) -> Claims:
    """Read what a script returns of the parties that it claimed."""
    return [(party.decode(), int(claim)) for party, claim in found]


def _ack(lease: Lease, view: View, outcome: Outcome) -> dict[str, Any]:
    fields = dict(outcome.fields)
    if outcome.ledger is not None:
        fields["ledger"] = orjson.dumps(as_json(outcome.ledger)).decode()
    counts = {f"outcome:{outcome.word}": 1}
    if outcome.writes:
        counts["writes"] = outcome.writes
    elif outcome.word == "unchanged":
        counts["saved"] = 1
    return {
        "account": lease.account,
        "fence": str(lease.fence),
        "party": lease.party,
        "to": outcome.to,
        "why": outcome.why,
        "parties": [_acked(member) for member in view.members],
        "set": fields,
        "unset": list(outcome.unset),
        "unknown": orjson.dumps(outcome.unknown).decode() if outcome.unknown else "",
        "history": orjson.dumps(outcome.history).decode() if outcome.history else "",
        "counts": counts,
        "later": outcome.later_ms,
        "known": outcome.known,
        "stale": outcome.stale,
    }


def _compacted(member: Member) -> dict[str, Any]:
    gone, put = rows.rewrite(member.past, compact(member.past))
    return {"gone": gone, "put": put}


def _acked(member: Member) -> dict[str, Any]:
    ghost = member.name.startswith(VACATED)
    is_customer = not member.name.startswith((VACATED, CATALOGUE, POINTER))
    return {
        "name": member.name,
        "read": member.read,
        "nudged": member.nudged,
        "ghost": ghost,
        "incomplete": is_customer and is_incomplete(member.things),
        **_compacted(member),
    }
