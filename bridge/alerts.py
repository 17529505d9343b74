"""Tells people what is wrong, once when it begins and once when it is over.

A script decides what is raised and what is over, and keeps both in Redis: so no process
repeats what another has said, or what was said before a restart. The process that leads
sends: a worker, or a web process while there is no worker. While Redis takes nothing,
each process says so by itself.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, NamedTuple

import orjson
from redis import Redis
from redis.exceptions import RedisError

from bridge.deadline import within
from bridge.domain.traits import instant
from bridge.errors import StorageError
from bridge.lamps import CONDITIONS, REDIS, Lamp, lamps
from bridge.log import fields
from bridge.settings import Settings
from bridge.store import keys
from bridge.store.connect import Scripts, read
from bridge.store.health import DOWN, RedisHealth
from bridge.store.inspect import Figures, figures
from bridge.wording import SCRIPT, ago

LOG = logging.getLogger("bridge.alerts")

EVERY = 2.0
"""Seconds between two checks."""

GONE_MS = 5000
"""How long something must be gone before it is over."""

OUTBOX = 100
"""Most alerts that wait to be sent."""

TIMEOUT = 5.0
"""Seconds that an address has to answer."""

FIRST_WAIT, LAST_WAIT = 2.0, 300.0
"""Seconds before an address that did not take an alert is tried again: at first, at most."""

HEARTBEAT = 60.0
"""Seconds between two heartbeats."""

ROWS = {row.kind: row for row in CONDITIONS}


class Message(NamedTuple):
    """An alert for the address number *to*; *state* is raised or over, times in ms."""

    kind: str
    state: str
    text: str
    since: int
    at: int
    to: int

    def body(self) -> dict[str, str]:
        """What is posted; `text` is what a person reads at night."""
        since, is_over = instant(self.since), self.state == "over"
        if is_over:
            text = f"Over after {ago(self.at - self.since)}: {self.text}"
        else:
            hint = ROWS[self.kind].advice if self.kind in ROWS else ""
            text = f"{self.text} Since {since[:16].replace('T', ' ')} UTC. {hint}"
        text = f"{SCRIPT}: {text}".strip()
        return {"text": text, "kind": self.kind, "state": self.state, "since": since}


class Alerts:
    """Checks, and sends what follows.

    *health* is how Redis does. *leads* says whether this process sends for all; the one
    that leads also calls *probe*.
    """

    def __init__(
        self,
        redis: Redis,
        settings: Settings,
        health: Callable[[], RedisHealth],
        leads: Callable[[], bool],
        probe: Callable[[Figures], None] = lambda _: None,
    ) -> None:
        self._redis: Any = redis
        self._settings, self._health = settings, health
        self._leads, self._probe = leads, probe
        self._urls = settings.bridge_alert_url or ()
        self._run = Scripts(redis)
        self._own: deque[Message] = deque(maxlen=OUTBOX)
        self._alone: Message | None = None
        self._alone_since: int | None = None
        self._waits: dict[int, tuple[float, float]] = {}
        self._failed: set[int] = set()
        self._beat = float("-inf")

    def run(self, stop: threading.Event) -> None:
        """Check until *stop* is set."""
        while not stop.wait(EVERY):
            try:
                self.check()
            except Exception:
                LOG.exception("alerts failed", extra=fields())

    def check(self) -> None:
        """Check once, and send what waits."""
        health = self._health()
        self._failed.clear()
        lit = lamps(None, health, self._settings)
        try:
            if DOWN not in health.refusals:
                if self._leads():
                    seen = figures(self._redis)
                    lit = lamps(seen, health, self._settings)
                    self._lead(seen, lit)
                lit = []
        except (RedisError, StorageError):
            lit = [one for one in lit if one.kind == REDIS.kind]
        self._say_alone(lit)
        for message in [*self._own]:
            if self._post(message):
                self._own.remove(message)

    def _lead(self, seen: Figures, lit: Iterable[Lamp]) -> None:
        self._probe(seen)
        if self._urls:
            rows = {one.kind: _row(one) for one in lit if one.level != "note"}
            given = (orjson.dumps(rows), len(self._urls), GONE_MS, OUTBOX)
            for kind, state in self._run("alert", *given):
                line = fields(kind=kind.decode(), state=state.decode())
                LOG.warning("alert", extra=line)
            for raw in self._redis.lrange(keys.OUTBOX, 0, -1):
                if not (message := read(Message, raw)) or self._post(message):
                    self._redis.lrem(keys.OUTBOX, 1, raw)
        is_due = time.monotonic() - self._beat >= HEARTBEAT
        if is_due and all(one.level != "bad" for one in lit):
            self._beat = time.monotonic()
            if url := self._settings.bridge_heartbeat_url:
                self._ask("GET", url)

    def _say_alone(self, lit: Iterable[Lamp]) -> None:
        """Raise what is wrong with Redis by ourselves, and end what we raised."""
        now, text = time.time_ns() // 1_000_000, " ".join(one.text for one in lit)
        if text:
            self._alone_since = since = self._alone_since or now
            if self._alone is None and now - since >= REDIS.after_s * 1000:
                self._alone = Message(REDIS.kind, "raised", text, since, now, 0)
                self._queue(self._alone)
            return
        if self._alone:
            self._queue(self._alone._replace(state="over", at=now))
        self._alone = self._alone_since = None

    def _queue(self, message: Message) -> None:
        self._own.extend(message._replace(to=to) for to in range(len(self._urls)))

    def _post(self, message: Message) -> bool:
        """Send; True if it need not be sent again. Later ones wait for earlier ones."""
        if message.to >= len(self._urls):
            return True
        due, wait = self._waits.get(message.to, (0.0, FIRST_WAIT))
        if time.monotonic() < due or message.to in self._failed:
            return False
        if self._ask("POST", self._urls[message.to], json=message.body()):
            self._waits.pop(message.to, None)
            return True
        self._failed.add(message.to)
        self._waits[message.to] = time.monotonic() + wait, min(2 * wait, LAST_WAIT)
        return False

    def _ask(self, method: str, url: str, **more: Any) -> bool:
        """Whether *url*, which is a secret, answers 2xx."""
        from urllib3.exceptions import HTTPError  # noqa: PLC0415 - see _pools

        from bridge.outgoing import ask  # noqa: PLC0415 - see _pools

        try:
            with within(TIMEOUT):
                reply, _ = ask(self._pools, method, url, **more)
        except (HTTPError, OSError) as error:
            why: object = type(error).__name__
        else:
            why = reply.status
            if 200 <= reply.status < 300:  # noqa: PLR2004 - 2xx
                return True
        what = "heartbeat" if method == "GET" else "alert"
        LOG.warning("not sent", extra=fields(what=what, reason=str(why)))
        return False

    @cached_property
    def _pools(self) -> Any:
        # Imported late, because most web processes do not need it.
        from bridge.outgoing import pools  # noqa: PLC0415

        # Its DEBUG lines contain paths, and so the secret.
        logging.getLogger("urllib3").setLevel(logging.ERROR)
        return pools(timeout=TIMEOUT)


def _row(lamp: Lamp) -> dict[str, Any]:
    since = {} if lamp.since_ms is None else {"since": lamp.since_ms}
    return {"text": lamp.text, "after": ROWS[lamp.kind].after_s * 1000, **since}
