"""Everything that may go wrong in a run: a table.

A fault has a target; two never hurt one target at once. `draw` makes its parameters,
`begin` makes it happen, `end` undoes it after `seconds`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from tests.chaos import damage, noise
from tests.chaos.damage import Draw, Play


class Fault(NamedTuple):
    """One row of the table; *covers* are rows of the matrix that it was made for.

    *calm*: seconds that its target is left alone after its end.
    """

    name: str
    covers: str
    target: str
    draw: Draw
    begin: Play
    end: Play | None = None
    calm: float = 1.0


ROWS = (
    Fault(
        "redis_killed",
        "F1",
        "redis",
        damage.between(0.2, 1.5),
        damage.ill(lambda world: world.stack.redis_server.kill()),
        damage.well(lambda world: world.stack.redis_server.restart()),
    ),
    Fault(
        "redis_forgets_scripts", "F1", "redis", damage.any_of(), damage.forget_scripts
    ),
    Fault(
        "redis_full",
        "F2",
        "redis",
        damage.between(0.3, 1.5),
        damage.ill(damage.config(maxmemory=1)),
        damage.well(damage.config(maxmemory=0)),
    ),
    Fault(
        "redis_may_evict",
        "F2",
        "redis",
        damage.between(2.6, 3),
        damage.ill(damage.config(maxmemory_policy="allkeys-lru")),
        damage.well(damage.config(maxmemory_policy="noeviction")),
    ),
    Fault(
        "redis_stalled",
        "F3",
        "redis",
        damage.between(0.3, 1.5),
        damage.ill(lambda world: world.stack.redis_server.pause()),
        damage.well(lambda world: world.stack.redis_server.resume()),
    ),
    Fault(
        "redis_read_only",
        "F18",
        "redis",
        damage.between(1, 3),
        damage.ill(damage.replica),
        damage.well(damage.master),
    ),
    Fault(
        "link_slow",
        "F3",
        "link",
        lambda rng: damage.draw_link(1, 2)(rng) | {"each": rng.choice((0.05, 0.3))},
        damage.slow,
        lambda world, using: damage.link(world, using).mend(),
    ),
    Fault(
        "link_stalled",
        "F3",
        "link",
        damage.draw_link(0.5, 2.5),
        lambda world, using: damage.link(world, using).stall(),
        lambda world, using: damage.link(world, using).flow(),
    ),
    Fault(
        "link_refused",
        "F4",
        "link",
        damage.draw_link(0.3, 2),
        lambda world, using: damage.link(world, using).refuse(),
        lambda world, using: damage.link(world, using).accept(),
    ),
    Fault(
        "link_reset",
        "F4",
        "link",
        damage.any_of(link=tuple(damage.COMMANDS)),
        lambda world, using: damage.link(world, using).reset(),
    ),
    *(
        Fault(
            f"redis_{act.replace(' ', '_')}",
            "F4",
            "link",
            damage.draw_command,
            damage.on_command(act),
        )
        for act in damage.ACTS
    ),
    Fault(
        "worker_killed", "F5", "worker", damage.draw_worker, damage.kill_worker, calm=2
    ),
    Fault(
        "worker_child_killed",
        "F6",
        "worker",
        damage.any_of(child=(0, 1)),
        damage.kill_child,
    ),
    Fault(
        "worker_stopped", "F7", "worker", damage.draw_worker, damage.stop_worker, calm=2
    ),
    Fault(
        "worker_paused",
        "F20",
        "worker",
        lambda rng: damage.draw_worker(rng) | {"seconds": rng.choice((1.0, 8.0))},
        damage.pause_worker,
        damage.wake_worker,
    ),
    Fault("web_killed", "F7", "web", damage.any_of(), damage.kill_web, calm=2),
    Fault("web_stopped", "F7", "web", damage.any_of(), damage.stop_web, calm=2),
    Fault(
        "vitally_limits",
        "F8",
        "vitally",
        damage.answers(*damage.LIMITED),
        damage.answer,
    ),
    Fault(
        "vitally_fails", "F9", "vitally", damage.answers(*damage.FAILING), damage.answer
    ),
    Fault(
        "vitally_away",
        "F9",
        "vitally",
        damage.between(0.3, 1.5),
        lambda world, using: world.vitally.refuse(),
        lambda world, using: world.vitally.accept(),
    ),
    Fault(
        "vitally_breaks_off",
        "F10",
        "vitally",
        damage.answers(*damage.BREAKING),
        damage.answer,
    ),
    Fault(
        "vitally_lies", "F10", "vitally", damage.answers(*damage.LYING), damage.answer
    ),
    Fault(
        "wire_to_vitally",
        "F10",
        "vitally",
        damage.any_of(act=tuple(damage.WIRE)),
        damage.on_write,
    ),
    Fault(
        "vitally_refuses",
        "F11",
        "vitally",
        damage.answers(*damage.REFUSING),
        damage.answer,
    ),
    Fault(
        "key_refused",
        "F12",
        "vitally",
        damage.between(1, 2),
        damage.refuse_key,
        damage.take_key,
    ),
    Fault(
        "told_again",
        "F13",
        "sender",
        damage.any_of(events=(1, 5), times=(2, 8)),
        noise.again,
    ),
    Fault(
        "poison",
        "F15",
        "sender",
        damage.any_of(place=range(len(noise.POISON))),
        noise.poison,
    ),
    Fault(
        "clock_wrong", "F16", "sender", damage.any_of(skew=noise.SKEWS), noise.skewed
    ),
    Fault(
        "secret_rotated",
        "F17",
        "sender",
        damage.any_of(secret=noise.SECRETS),
        noise.rotated,
    ),
    Fault("burst", "F19", "sender", damage.any_of(), noise.burst),
    Fault("looked_at", "F22", "sender", damage.any_of(), noise.look),
)

FAULTS: Mapping[str, Fault] = {row.name: row for row in ROWS}
