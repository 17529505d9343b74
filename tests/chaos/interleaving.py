"""Explores every order in which actors can call Redis and Vitally.

The unit is one call: a command, a script or a transaction of Redis, and the beginning
and the end of a request to Vitally. Between two of its calls an actor's code is
deterministic. Each actor is a thread that stops before each call until it is its turn.

`explore` is a depth-first search over all orders, each played anew from the same state.
Two calls are independent if they touch nothing in common, or only read it; orders that
differ in independent calls alone are one. What a call touches is what Redis' MONITOR
shows of it, commands inside of scripts included, so nobody has to keep a list. The
search is source-DPOR with sleep sets (Abdulla, Aronsson, Jonsson, Sagonas: Optimal
dynamic partial order reduction, POPL 2014).
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

from redis import Redis
from redis.client import Pipeline

from bridge.store import connect, keys

Call = Callable[[], Any]


class Touch(NamedTuple):
    """One *part* (None: the whole) of *what* was touched.

    *how*: "read", "write", or a command that may be exchanged with itself.
    """

    what: str
    part: str | None
    how: str

    def meets(self, other: Touch) -> bool:
        """Whether the order of the two can matter."""
        one, two = sorted((self.what, other.what), key=len)
        same = one == two or (one.endswith("*") and two.startswith(one[:-1]))
        parts = None in (self.part, other.part) or self.part == other.part
        return same and parts and (self.how != other.how or self.how == "write")


Touches = frozenset[Touch]


class Step(NamedTuple):
    """A call that *actor* made, and what it touched."""

    actor: int
    call: str
    touches: Touches

    def depends_on(self, other: Step) -> bool:
        """Whether the order of the two can matter."""
        return self.actor == other.actor or any(
            one.meets(two) for one in self.touches for two in other.touches
        )


class Cancelled(BaseException):
    """The schedule is not played to its end."""


class Actor(threading.Thread):
    """Does *work*, one call to Redis or Vitally at a time."""

    current = threading.local()

    def __init__(self, name: str, work: Call) -> None:
        super().__init__(name=name, daemon=True)
        self.work = work
        self.mine, self.back = threading.Lock(), threading.Lock()
        self.mine.acquire()
        self.back.acquire()
        self.next: str | None = ""
        self.is_cancelled = False
        self.error: Exception | None = None

    def run(self) -> None:
        Actor.current.actor = self
        self.mine.acquire()
        try:
            self.work()
        except Cancelled:
            pass
        except Exception as error:  # noqa: BLE001 - said by who plays the schedule
            self.error = error
        self.next = None
        self.back.release()

    def go(self) -> None:
        """Let it make its next call, and go on to the one after that."""
        self.mine.release()
        self.back.acquire()

    def end(self) -> None:
        """Let it make no call any more."""
        self.is_cancelled = True
        if self.next is not None:
            self.go()
        self.join()

    def stops_before(self, call: str) -> None:
        """Wait for the turn to make a call."""
        if not self.is_cancelled:
            self.next = call
            self.back.release()
            self.mine.acquire()
        if self.is_cancelled:
            raise Cancelled


def gate(call: str) -> None:
    """Called before each call: who is an actor waits here for the turn."""
    actor = getattr(Actor.current, "actor", None)
    if actor is not None:
        actor.stops_before(call)


def die() -> None:
    """The actor that calls this makes no call any more, as if killed."""
    Actor.current.actor.is_cancelled = True
    raise Cancelled


# --- Redis ------------------------------------------------------------------------

SCRIPTS: dict[str, str] = {}
"""Digest -> name of each script that `know_scripts` has stored in Redis."""


def know_scripts(redis: Redis) -> None:
    """Store all scripts, so that a call of one is always one call."""
    SCRIPTS.clear()
    for path in connect.LUA.glob("*.lua"):
        SCRIPTS[redis.script_load(connect.load(path.stem))] = path.stem


class GatedRedis(Redis):
    """A client of which each call is one step of the actor that makes it."""

    def execute_command(self, *args: Any, **options: Any) -> Any:
        gate(called(args))
        return super().execute_command(*args, **options)

    def pipeline(self, transaction: bool = True, shard_hint: Any = None) -> Any:
        made = GatedPipeline(
            self.connection_pool, self.response_callbacks, transaction, shard_hint
        )
        made.client, made.is_transaction = self, transaction
        return made


def called(args: Sequence[Any]) -> str:
    """How a command is called in a trace: a script by its name, the others with their key."""
    if args[0] == "EVALSHA":
        return SCRIPTS.get(args[1], args[1])
    return " ".join(str(arg) for arg in args[:2])


class GatedPipeline(Pipeline):
    """A transaction is one step; without one each command is."""

    client: GatedRedis
    is_transaction: bool

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        if not hasattr(Actor.current, "actor") or not self.command_stack:
            return super().execute(raise_on_error)
        if self.is_transaction or self.explicit_transaction:
            gate("MULTI " + " ".join(str(c[0][0]) for c in self.command_stack))
            return super().execute(raise_on_error)
        stack = [*self.command_stack]
        self.reset()
        return [self.client.execute_command(*a, **options) for a, options in stack]


PARTS: Mapping[str, slice] = {
    **dict.fromkeys(("hget", "hsetnx", "hexists", "hincrby", "zscore"), slice(2, 3)),
    **dict.fromkeys(("hmget", "hdel", "sadd", "srem", "sismember"), slice(2, None)),
    **dict.fromkeys(("zrem", "zmscore"), slice(2, None)),
    "hset": slice(2, None, 2),
    "zadd": slice(3, None, 2),
    "zincrby": slice(3, 4),
}
"""Command -> which of its arguments name the parts of the key that it touches."""

READS = frozenset(
    {"exists", "get", "hexists", "hget", "hgetall", "hkeys", "hlen", "hmget", "hvals"}
    | {
        "lindex",
        "llen",
        "lrange",
        "mget",
        "pttl",
        "scan",
        "scard",
        "sismember",
        "smembers",
    }
    | {"srandmember", "ttl", "type", "zcard", "zcount", "zmscore", "zrange"}
    | {"zrangebyscore", "zrank", "zscore"}
)
WRITES = frozenset(
    {"del", "expire", "hdel", "hincrby", "hset", "hsetnx", "incr", "lpop", "lpush"}
    | {"lrem", "ltrim", "persist", "pexpire", "rpush", "sadd", "set", "srem", "zadd"}
    | {"zincrby", "zrem", "zremrangebyrank", "zremrangebyscore"}
)
OF_MANY = frozenset({"del", "exists", "mget"})
"""Commands of which each argument is a key."""

NOT_OURS = frozenset(
    {"time", "info", "multi", "exec", "evalsha", "echo", "hello", "client", "xadd"}
)
"""Commands that touch nothing, or whose commands follow; the journal's order is no matter."""

WITHOUT_ORDER = frozenset({keys.SLOTS, keys.RATE, keys.FENCE, keys.JOURNAL})
"""Keys whose value does not depend on an order that matters: the throttle is wide
open, and fencing numbers and lines of the journal are only compared with themselves."""

EXCHANGEABLE = frozenset({"sadd", "srem", "del", "expire", "zremrangebyrank"})
"""Commands that may be exchanged with the same one, because nobody reads the reply."""

WORD = re.compile(r'"((?:[^"\\]|\\.)*)"')


def touches(line: str) -> Iterator[Touch]:
    """What a command touches, as MONITOR shows it; AssertionError where it is not known."""
    words = WORD.findall(line)
    name = words[0].lower()
    if name in NOT_OURS:
        return
    assert name in READS | WRITES, (
        f"say in tests/chaos/interleaving.py what {name} does"
    )
    how = "read" if name in READS else "write"
    if name in EXCHANGEABLE or (name == "hincrby" and words[1] == keys.COUNTERS):
        how = name
    if name == "scan":
        found = words[words.index("MATCH") + 1] if "MATCH" in words else "*"
        yield Touch(found, None, how)
        return
    if name == "zadd":
        flags = {"NX", "XX", "LT", "GT", "CH"}
        words = words[:2] + [word for word in words[2:] if word.upper() not in flags]
    parts = words[PARTS[name]] if name in PARTS else [None]
    for key in words[1:] if name in OF_MANY else words[1:2]:
        if key not in WITHOUT_ORDER:
            yield from (Touch(key, part, how) for part in parts)


class Watch:
    """What Redis does, as its MONITOR shows it."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.connection: Any = redis.connection_pool.get_connection()
        self.connection.send_command("MONITOR")
        self.connection.read_response()
        self.numbers = count()

    def since(self) -> list[str]:
        """The lines about what was done since it was last asked."""
        mark = f"mark-{next(self.numbers)}"
        self.redis.echo(mark)
        lines: list[str] = []
        while mark not in (line := self.connection.read_response().decode()):
            lines.append(line)
        return lines

    def touched(self) -> Touches:
        """What was touched since it was last asked."""
        return frozenset(touch for line in self.since() for touch in touches(line))

    def close(self) -> None:
        self.connection.disconnect()


# --- The search -------------------------------------------------------------------


class StrayedError(Exception):
    """A schedule went another way than before: the clock did."""


TRIES = 5
"""How often a schedule is begun again that strayed."""


class World:
    """What a schedule plays in; a scenario gives it its actors and its checks."""

    watch: Watch
    apart = 0.0
    """Seconds between two steps, where the order of instants matters."""

    def begin(self) -> Mapping[str, Call]:
        """Put the state back to the beginning; name and work of each actor."""
        raise NotImplementedError

    def touched(self) -> Iterable[Touch]:
        """What the last step touched beside Redis."""
        return ()

    def end(self) -> Iterable[str]:
        """Come to rest; whatever is wrong then."""
        raise NotImplementedError


@dataclass
class Node:
    """A place in the search: what was done here, is to be done, and need not be."""

    to_do: set[int]
    asleep: dict[int, Step]
    step: Step
    before: int = 0
    """The steps that happened before this one, as bits."""


@dataclass
class Found:
    """The result of a search: how many *schedules* were played to the end.

    Those that were *cut* short equal one of them. *problems* are those of the first
    schedule that had any, *trace* its steps.
    """

    schedules: int = 0
    cut: int = 0
    steps: int = 0
    problems: list[str] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)


class Search:
    """A search through all orders of the actors of *world*.

    Without *reduced* every order is played. It ends at the first problem.
    """

    def __init__(self, world: World, *, reduced: bool = True) -> None:
        self.world, self.reduced = world, reduced
        self.nodes: list[Node] = []
        self.found = Found()

    def run(self) -> Found:
        """Play every schedule. Raises StrayedError if one never goes as before."""
        strayed = 0
        while True:
            try:
                self._play()
            except StrayedError:
                strayed += 1
                if strayed == TRIES:
                    raise
                continue
            strayed = 0
            if self.found.problems or not self._back():
                return self.found

    def _play(self) -> None:
        """Play the steps of the nodes, and on from there to the end."""
        works = self.world.begin()
        actors = [Actor(name, work) for name, work in works.items()]
        try:
            for actor in actors:
                actor.start()
                actor.go()
            for node in self.nodes[:-1]:
                self._again(actors, node)
            if self.nodes:
                self._step(actors, self.nodes[-1])
            self._on(actors)
        finally:
            for actor in actors:
                actor.end()

    def _again(self, actors: list[Actor], node: Node) -> None:
        actor = actors[node.step.actor]
        if actor.next != node.step.call:
            raise StrayedError(f"{actor.next} is not {node.step.call}")
        actor.go()
        time.sleep(self.world.apart)
        self.world.touched()

    def _step(self, actors: list[Actor], node: Node) -> None:
        actor = actors[node.step.actor]
        call = actor.next or ""
        self.world.watch.since()
        actor.go()
        time.sleep(self.world.apart)
        seen = self.world.watch.touched() | {*self.world.touched()}
        node.step = Step(node.step.actor, call, seen)
        self._race(len(self.nodes) - 1)

    def _on(self, actors: list[Actor]) -> None:
        while waiting := [n for n, one in enumerate(actors) if one.next is not None]:
            asleep = self._still_asleep()
            awake = [n for n in waiting if n not in asleep]
            if not awake:
                self.found.cut += 1
                return
            first = Step(awake[0], "", frozenset())
            to_do = {awake[0]} if self.reduced else {*waiting}
            self.nodes.append(Node(to_do, asleep, first))
            self._step(actors, self.nodes[-1])
        self.found.schedules += 1
        self.found.steps += len(self.nodes)
        errors = [f"{a.name}: {a.error!r}" for a in actors if a.error is not None]
        self.found.problems = errors or [*self.world.end()]
        if self.found.problems:
            names = [actors[n.step.actor].name for n in self.nodes]
            calls = [n.step.call for n in self.nodes]
            self.found.trace = [f"{a}: {c}" for a, c in zip(names, calls, strict=True)]

    def _still_asleep(self) -> dict[int, Step]:
        if not self.nodes or not self.reduced:
            return {}
        last = self.nodes[-1]
        return {
            actor: step
            for actor, step in last.asleep.items()
            if not step.depends_on(last.step)
        }

    def _race(self, place: int) -> None:
        """Note which earlier steps the one at *place* could have come before."""
        last, before = self.nodes[place], 0
        races = []
        for n in range(place - 1, -1, -1):
            one = self.nodes[n]
            if not before >> n & 1 and one.step.depends_on(last.step):
                if one.step.actor != last.step.actor:
                    races.append(n)
                before |= one.before | 1 << n
        last.before = before
        for n in races:
            self._reverse(n, place)

    def _reverse(self, n: int, place: int) -> None:
        """Have something tried at *n* that lets the step at *place* come first."""
        others = [m for m in range(n + 1, place) if not self.nodes[m].before >> n & 1]
        initials: list[int] = []
        met: set[int] = set()
        bits = 0
        for m in (*others, place):
            actor = self.nodes[m].step.actor
            if actor not in met and not self.nodes[m].before & bits:
                initials.append(actor)
            met.add(actor)
            bits |= 1 << m
        to_do = self.nodes[n].to_do
        if not to_do & {*initials}:
            own = self.nodes[place].step.actor
            to_do.add(own if own in initials else initials[0])

    def _back(self) -> bool:
        """Go back to the last node where something is left to do; False: none."""
        while self.nodes:
            node = self.nodes[-1]
            node.asleep[node.step.actor] = node.step
            if left := node.to_do - node.asleep.keys():
                node.step = Step(min(left), "", frozenset())
                return True
            self.nodes.pop()
        return False
