"""How a worker's desk is put together from the parts of its process."""

from __future__ import annotations

import random
import threading
from typing import Protocol

from redis import Redis

from bridge.config import Config
from bridge.queue import Queue
from bridge.settings import Settings
from bridge.sources import switched_on
from bridge.store.accept import Accept
from bridge.store.breaker import Breaker
from bridge.store.catalogue import Spread
from bridge.store.lease import Leases
from bridge.store.reads import Reads
from workers.desk import Desk
from workers.errands import Errands
from workers.heart import Hand
from workers.reread import Rereads
from workers.throttle import Throttle
from workers.writer import Writer


class Parts(Protocol):
    """What a process has made already."""

    settings: Settings
    redis: Redis
    queue: Queue
    leases: Leases
    breaker: Breaker
    throttle: Throttle
    stop: threading.Event


def desk(parts: Parts, config: Config, writer: Writer) -> Desk:
    """Return the desk at which a process does its jobs."""
    hand = Hand()
    values = parts.settings.sources
    on = switched_on(values)
    made = {source.name: source.reader(values) for source in on}
    readers = {name: reader for name, reader in made.items() if reader}
    rereads = Rereads(
        redis=parts.redis,
        leases=parts.leases,
        reads=Reads(parts.redis),
        queue=parts.queue,
        hand=hand,
        policy=config.policy,
        readers=readers,
    )
    errands = Errands(
        redis=parts.redis,
        queue=parts.queue,
        accept=Accept(parts.redis),
        spread=Spread(parts.redis),
        readers=readers,
        keys_needed={source.name: source.key for source in on},
    )
    return Desk(
        leases=parts.leases,
        queue=parts.queue,
        breaker=parts.breaker,
        throttle=parts.throttle,
        writer=writer,
        settings=parts.settings,
        config=config,
        rereads=rereads,
        errands=errands,
        stop=parts.stop,
        chance=random.random,
        hand=hand,
    )
