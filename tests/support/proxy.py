"""A TCP proxy that a test stands in front of a server, to break what passes through.

It carries whole messages (`resp` for Redis, `http` for Vitally, `anything` else). A
rule catches messages by a pattern and says how much of one passes, how much of its
reply, and what happens then; nothing here is left to chance.
"""

from __future__ import annotations

import re
import select
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, Self

from tests.support.vitally.network import RESET, gone

HERE = "127.0.0.1"

POLL = 0.02
"""Seconds between looks of a connection that is held."""

MULTI, EXEC, DISCARD = (
    b"*1\r\n$%d\r\n%s\r\n" % (len(word), word)
    for word in (b"MULTI", b"EXEC", b"DISCARD")
)

Split = Callable[[bytes], int]
"""Bytes so far -> length of the first whole message among them; 0: none yet."""


class Act(NamedTuple):
    """What is done to a message that was caught.

    *sent* bytes of it pass, then *answered* bytes of its reply (None: all of them).
    When either is used up, *then* is played: `hold` until the rule is released or
    *seconds* are over, `reset` or `close` the connection. With *late* what is held
    reaches the server even where its client has gone meanwhile.
    """

    sent: int | None = None
    answered: int | None = None
    then: str = "hold"
    seconds: float | None = None
    late: bool = False


HOLD_REQUEST = Act(sent=0)
"""It has left the client and does not arrive until the rule is released."""

HOLD_LATE = Act(sent=0, late=True)
"""The same, and it arrives even after its client's death."""

HOLD_REPLY = Act(answered=0)
"""It is done; nobody learns of it until the rule is released, perhaps never."""

LOSE_REQUEST = Act(sent=0, then="reset")
LOSE_REPLY = Act(answered=0, then="reset")
"""It is done, and the connection is reset in place of the reply."""


def delay(seconds: float) -> Act:
    """The message arrives so much later."""
    return Act(sent=0, seconds=seconds)


def cut(after: int) -> Act:
    """The connection is reset after so many bytes of the message."""
    return Act(sent=after, then="reset")


def truncate(after: int) -> Act:
    """The connection is closed after so many bytes of the reply."""
    return Act(answered=after, then="close")


class Rule:
    """Catches messages that hold *pattern*: after the first *skip*, *times* of them.

    *caught* is set once one has come to where its act says. `release` lets go what
    is held, which then meets the other rules, and catches no more; *passed* is set
    once that has arrived.
    """

    def __init__(self, pattern: bytes, act: Act, times: int | None, skip: int) -> None:
        self.act = act
        self.caught = threading.Event()
        self.passed = threading.Event()
        self._pattern = re.compile(pattern, re.DOTALL)
        self._left = times
        self._skip = skip
        self._released = threading.Event()

    def release(self) -> None:
        """Let go what is held, and let all else pass."""
        self._released.set()

    @property
    def is_over(self) -> bool:
        """Whether it has been released."""
        return self._released.is_set()

    def catches(self, message: bytes) -> bool:
        """Count a message and tell whether this rule is its fate."""
        if self.is_over or self._left == 0 or not self._pattern.search(message):
            return False
        if self._skip:
            self._skip -= 1
            return False
        if self._left is not None:
            self._left -= 1
        return True


class Proxy:
    """Stands before the server on *port* of this machine; `with Proxy(6379) as p:`."""

    def __init__(self, port: int, split: Split | None = None) -> None:
        self.upstream = (HERE, port)
        self.split = split or anything
        self.flows = threading.Event()
        self.flows.set()
        self._rules: list[Rule] = []
        self._lock = threading.Lock()
        self._links: set[_Link] = set()
        self._listener: socket.socket | None = None
        self.port = 0

    def on(
        self, pattern: bytes, act: Act, *, times: int | None = 1, skip: int = 0
    ) -> Rule:
        """Add a rule; the first that catches a message has it."""
        rule = Rule(pattern, act, times, skip)
        with self._lock:
            self._rules.append(rule)
        return rule

    def mend(self) -> None:
        """Carry everything again: no rules, nothing held, open for connections."""
        with self._lock:
            rules, self._rules = self._rules, []
        for rule in rules:
            rule.release()
        self.flows.set()
        self.accept()

    def stall(self) -> None:
        """Carry nothing for now; connections stay open. `flow` goes on."""
        self.flows.clear()

    def flow(self) -> None:
        """Carry again what has waited."""
        self.flows.set()

    @property
    def is_empty(self) -> bool:
        """Whether no connection is open: one is reset soon, not at once."""
        return not self._links

    def reset(self) -> None:
        """Reset every connection that is open now."""
        with self._lock:
            links = list(self._links)
        for link in links:
            link.reset()

    def refuse(self) -> None:
        """Refuse connections, and reset those that are open, until `accept`."""
        with self._lock:
            listener, self._listener = self._listener, None
        if listener is not None:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.reset()

    def accept(self) -> None:
        """Listen, on the same port as before."""
        with self._lock:
            if self._listener is not None:
                return
            listener = self._listener = socket.create_server((HERE, self.port))
            self.port = listener.getsockname()[1]
        threading.Thread(target=self._listen, args=(listener,), daemon=True).start()

    def rule(self, message: bytes) -> Rule | None:
        """Return the rule that catches *message*."""
        with self._lock:
            return next((r for r in self._rules if r.catches(message)), None)

    def forget(self, link: _Link) -> None:
        """Note that a connection has ended."""
        with self._lock:
            self._links.discard(link)

    def _listen(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                link = _Link(self, client)
                with self._lock:
                    self._links.add(link)
                    if self._listener is not listener:
                        link.reset()
                threading.Thread(target=link.run, daemon=True).start()

    def __enter__(self) -> Self:
        self.accept()
        return self

    def __exit__(self, *_: object) -> None:
        self.refuse()
        self.flows.set()
        end = time.monotonic() + 5
        while self._links and time.monotonic() < end:
            time.sleep(POLL)


class _Link:
    """One connection, carried by one thread."""

    def __init__(self, proxy: Proxy, client: socket.socket) -> None:
        self.proxy = proxy
        self._client = client
        self._server: socket.socket
        self._ends: dict[int, socket.socket] = {}
        self._poll = select.poll()  # select knows no file above the thousandth
        self._is_to_reset = False
        self._asked = b""
        self._reply = b""
        self._rest = b""
        self._rule: Rule | None = None
        self._answered = 0
        self._held_since: float | None = None
        self._is_alone = False

    def reset(self) -> None:
        """End it soon; its thread sees the end of what the client sends."""
        self._is_to_reset = True
        with suppress(OSError):
            self._client.shutdown(socket.SHUT_RD)

    def run(self) -> None:
        ending = "reset"
        try:
            self._server = socket.create_connection(self.proxy.upstream, timeout=5)
            self._server.settimeout(None)
            for end in (self._client, self._server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._ends = {s.fileno(): s for s in (self._client, self._server)}
            for number in self._ends:
                self._poll.register(number, select.POLLIN)
            while not (ending := self._turn()):
                pass
        except OSError:
            pass
        finally:
            self._end(reset=ending == "reset")

    def _turn(self) -> str:
        """Carry what there is to carry; how it ends, '' where it goes on."""
        if self._is_to_reset:
            return "reset"
        if not self.proxy.flows.is_set():
            self.proxy.flows.wait(POLL)
            return ""
        if self._held_since is not None:
            return self._hold()
        ready = [self._ends[number] for number, _ in self._poll.poll()]
        if self._is_to_reset or not self.proxy.flows.is_set():
            return ""
        return self._read(ready) or self._carry_replies() or self._carry_requests()

    def _read(self, ready: list[socket.socket]) -> str:
        for end in ready:
            content = end.recv(1 << 16)
            if not content:
                return "close"
            if end is self._client:
                self._asked += content
            else:
                self._reply += content
        return ""

    def _carry_requests(self) -> str:
        while length := self.proxy.split(self._asked):
            if self._rule is not None and not self._answered:
                return ""
            message, self._asked = self._asked[:length], self._asked[length:]
            self._rule, self._answered = self.proxy.rule(message), 0
            sent = self._rule.act.sent if self._rule else None
            self._server.sendall(message[:sent])
            if sent is not None:
                self._rest = message[sent:]
                return self._reached()
        return ""

    def _carry_replies(self) -> str:
        most = self._rule.act.answered if self._rule else None
        passing = self._reply[: None if most is None else most - self._answered]
        self._client.sendall(passing)
        self._answered += len(passing)
        self._reply = self._reply[len(passing) :]
        return self._reached() if self._reply else ""

    def _reached(self) -> str:
        """Come to where the act says that something else happens."""
        assert self._rule is not None
        self._rule.caught.set()
        if self._rule.act.then != "hold":
            return self._rule.act.then
        self._held_since = time.monotonic()
        return ""

    def _hold(self) -> str:
        """Carry nothing until the release; see who goes meanwhile."""
        assert self._rule is not None
        assert self._held_since is not None
        if not self._is_alone and gone(self._client):
            if not self._rule.act.late:
                return "close"
            self._is_alone = True
        seconds = self._rule.act.seconds
        held = time.monotonic() - self._held_since
        if self._rule.is_over or (seconds is not None and held >= seconds):
            return self._let_go()
        time.sleep(POLL)
        return ""

    def _let_go(self) -> str:
        rule, self._held_since, self._rule = self._rule, None, None
        assert rule is not None
        rest, self._rest = self._rest, b""
        if rule.is_over and rule.act.sent == 0 and not self._is_alone:
            self._asked = rest + self._asked
        else:
            self._server.sendall(rest)
        ending = "close" if self._is_alone else ""
        ending = ending or self._carry_replies() or self._carry_requests()
        rule.passed.set()
        return ending

    def _end(self, *, reset: bool) -> None:
        for end in (self._client, getattr(self, "_server", None)):
            if end is None:
                continue
            with suppress(OSError):
                if reset:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                end.close()
        self.proxy.forget(self)


def anything(content: bytes) -> int:
    """Take whatever has arrived for a message."""
    return len(content)


def resp(content: bytes) -> int:
    """Find the end of a Redis command, or of a whole transaction."""
    end = _command(content, 0)
    if content[:end] != MULTI:
        return end
    while end:
        begun, end = end, _command(content, end)
        if content[begun:end] in {EXEC, DISCARD}:
            return end
    return 0


def _command(content: bytes, begun: int) -> int:
    """Find the end of the command that begins at *begun*: an array of texts."""
    line = content.find(b"\r\n", begun)
    if line < 0:
        return 0
    place = line + 2
    for _ in range(int(content[begun + 1 : line])):
        line = content.find(b"\r\n", place)
        if line < 0:
            return 0
        place = line + 2 + int(content[place + 1 : line]) + 2
    return place if place <= len(content) else 0


def http(content: bytes) -> int:
    """Find the end of a request: its head, and the body that the head announces."""
    head, found, _ = content.partition(b"\r\n\r\n")
    if not found:
        return 0
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    whole = len(head) + 4 + (int(length[1]) if length else 0)
    return whole if whole <= len(content) else 0
