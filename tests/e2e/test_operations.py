"""`docs/operations.md`, played: each block of a backup, a restore and the moves, line by line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from redis import Redis

from bridge.plan import Queued, waiting
from bridge.store import keys
from bridge.store.operator import paused
from tests.support.command import called
from tests.support.desk import bench, customer, subscription
from tests.support.local_stripe import KEY, LocalStripe
from tests.support.processes import ANYWHERE, ROOT, end_all
from tests.support.sender import Sender
from tests.support.server import RedisServer
from tests.support.stack import Stack
from tests.support.stripe import Shop
from tests.support.waiting import eventually

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def block(heading: str) -> list[str]:
    """The lines of the first block below a heading."""
    _, _, rest = PAGE.partition(f"\n## {heading}\n")
    (lines, *_) = re.findall(r"```sh\n(.*?)```", rest, re.DOTALL)
    return [line for line in lines.splitlines() if line]


class Operator:
    """Types the lines of the page, and does what they say in words."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack, self.folder = stack, folder
        self.servers = [stack.redis_server]
        settings = {name: str(value) for name, value in stack.environ.items()}
        bin_, port = Path(sys.executable).parent, str(stack.redis_server.port)
        self.environ = {
            **settings,
            "PATH": f"{bin_}:{os.environ['PATH']}",
            "PYTHONPATH": ANYWHERE,
            "OLD_HOST": "127.0.0.1",
            "OLD_PORT": port,
        }
        self.said: list[str] = []
        self.looks: Callable[[], object] = lambda: None
        self.words: dict[str, Callable[[], object]] = {
            "# stop web and worker": self.stop,
            "# stop web and worker of the old Redis": lambda: self.stop(webs=1),
            "# start web and worker": self.start,
            "# start web and worker with REDIS_URL of the new Redis": self.start,
            "# start web with REDIS_URL of the new Redis": lambda: self.start(
                workers=0
            ),
            "# start worker with REDIS_URL of the new Redis": lambda: self.start(
                webs=0
            ),
            "# start Redis on backup.rdb with appendonly no": self.restored,
            "# put appendonly yes back where Redis is configured, before it restarts": self.durable,
        }

    def plays(self, heading: str) -> str:
        """Play a block; what its last line has printed."""
        for line in block(heading):
            if line.startswith("#"):
                self.words[line]()
            elif line.startswith("export "):
                name, _, value = line.removeprefix("export ").partition("=")
                self.environ[name] = self.environ[value.strip('"$')]
            else:
                self.types(line)
            self.looks()
        return self.said[-1]

    def types(self, line: str) -> None:
        """Type one line."""
        done = subprocess.run(
            ["/bin/sh", "-c", line],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert 0 == done.returncode, (line, done)
        self.said.append(done.stdout)

    def new_redis(self, folder: Path, *extra: str) -> None:
        """A second server, of the same kind."""
        self.servers.append(RedisServer(folder, extra=extra))
        self.environ["NEW_REDIS_URL"] = self.servers[-1].url

    def replicated(self, folder: Path) -> None:
        """The old server has a replica already."""
        self.servers.insert(1, RedisServer(folder))
        with self.servers[1].client() as client:
            client.replicaof("127.0.0.1", int(self.environ["OLD_PORT"]))

    def restored(self) -> None:
        """Redis itself is gone; another one has the backup."""
        self.stack.redis_server.kill()
        (folder := self.folder / "restored").mkdir()
        shutil.copy(self.folder / "backup.rdb", folder / "dump.rdb")
        self.new_redis(folder, "--appendonly", "no")

    def durable(self) -> None:
        """Nothing in its configuration keeps it from its append-only file any more."""
        self.servers[-1].configure()

    def keeps(self, id_: str, mrr: int) -> None:
        """Vitally has no older number of an account, however long a line takes."""
        stack, waits = self.stack, Queued([f"stripe:{id_}"], 2**53)
        is_new = stack.environ["REDIS_URL"] == self.servers[-1].url
        if is_new and paused(stack.redis) is None:
            eventually(lambda: not waiting(stack.redis, waits))
            assert stack.has(id_, mrr=mrr)()

    def stop(self, webs: int = 2, workers: int = 2) -> None:
        """Stop the oldest of each."""
        stack = self.stack
        gone = [stack.webs.pop(0).running for _ in stack.webs[:webs]]
        gone += [stack.workers.pop(0) for _ in stack.workers[:workers]]
        assert [0] * len(gone) == [one.terminate() for one in gone]

    def start(self, webs: int = 1, workers: int = 1) -> None:
        """Start some on the new Redis."""
        stack = self.stack
        stack.redis.close()
        stack.redis = self.servers[-1].client()
        stack.environ["REDIS_URL"] = self.servers[-1].url
        for _ in range(webs):
            stack.web()
        for _ in range(workers):
            stack.worker()

    def leave(self) -> None:
        """End what the stack does not know of."""
        end_all([*self.stack.workers, *(web.running for web in self.stack.webs)])
        for server in self.servers[1:]:
            server.stop()


@pytest.fixture
def stripe() -> Iterator[LocalStripe]:
    with LocalStripe() as api:
        yield api


@pytest.fixture
def operator(tmp_path: Path, stripe: LocalStripe) -> Iterator[Operator]:
    api = {"STRIPE_API_KEY": KEY, "STRIPE_API_BASE": stripe.url}
    with Stack(tmp_path, **api) as stack:
        stack.web()
        stack.worker()
        stack.ready()
        made = Operator(stack, tmp_path)
        yield made
        made.leave()


@pytest.mark.parametrize("way", ["replication", "export"])
def test_a_move_to_another_redis_loses_no_event(operator: Operator, way: str) -> None:
    stack = operator.stack
    operator.new_redis(operator.folder / "new")
    operator.replicated(operator.folder / "replica")
    with Sender(stack) as sender:
        eventually(lambda: len(sender.mrr) > 3)
        assert "on its way" in operator.plays(f"Move to another Redis by {way}")
        moved = len(sender.mrr)
        eventually(lambda: len(sender.mrr) > moved + 3)
    seen = stack.settled()

    if way == "replication":
        assert "OK\n2\n" == operator.said[2]
    assert sender.mrr == {
        id_: stack.account(id_)["traits"]["mrr"] for id_ in sender.mrr
    }
    assert (sender.sent, sender.sent) == (seen.accepted, seen.settled)
    assert len(sender.mrr) == len(set(stack.creations())) == len(stack.creations())
    assert [] == stack.overlaps()
    assert (
        "the counting is right"
        in called("doctor", environ=operator.environ, status=None).out
    )
    assert [] == called("reconcile", "--json", environ=operator.environ).json["drift"]


def test_a_restored_backup_catches_up_before_it_writes(
    operator: Operator, stripe: LocalStripe
) -> None:
    stack, sender = operator.stack, operator.stack.stripe()
    old, new = Shop(), Shop()
    now = int(time.time())

    def told(*events: dict[str, object]) -> None:
        for event in events:
            stripe.put(event)
            assert 202 == sender.post(event).status
        stack.settled()

    old.last = new.last = now - 7200
    told(old.signs_up(), old.begins(), old.changes(quantity=2))
    operator.plays("Back up")
    told(old.changes(quantity=5), new.signs_up(), new.begins())
    before = len(stack.vitally.writes())

    operator.looks = lambda: operator.keeps(old.id, 245)
    operator.plays("Restore")
    operator.servers[-1].restart()
    seen = stack.settled()

    assert 6 == seen.accepted
    assert "3 seen before, 3 taken in" in operator.said[3]
    assert stack.has(old.id, mrr=245)()
    assert stack.has(new.id, mrr=49)()
    assert [old.id, new.id] == stack.creations()
    late = stack.vitally.writes()[before:]
    assert [] == [one for one in late if one["body"]["traits"].get("mrr") == 98]
    assert [] == called("reconcile", "--json", environ=operator.environ).json["drift"]


def test_every_block_that_is_not_played_here_is_played_elsewhere() -> None:
    """Both of versions by `make versions`; the checks at the end by all of these."""
    played = [
        "Back up",
        "Restore",
        *(f"Move to another Redis by {w}" for w in ("replication", "export")),
    ]
    others = ["Upgrade without a stop", "Downgrade", "What to check afterwards"]
    headings = re.findall(r"^## (.+)$", PAGE, re.MULTILINE)

    assert sorted(headings) == sorted(played + others)


def test_what_a_later_version_added_is_left_alone(redis: Redis) -> None:
    """A field or a key that this version does not know, as a downgrade meets them."""
    with bench(redis) as desk:
        desk.rests(customer(), subscription())
        for key in (keys.party("stripe:cus_1"), keys.account("acme"), keys.RUN):
            redis.hset(key, "of_a_later_version", "[1]")
        redis.set(f"{keys.PREFIX}later:thing", "x")
        told = subscription(at=9, unit=100)
        value = {**told.value, "of_a_later_version": {"a": [1]}}
        desk.rests(told._replace(value=value))

        assert 1 == desk.traits()["mrr"]
        assert b"[1]" == redis.hget(keys.account("acme"), "of_a_later_version")
        desk.check()
