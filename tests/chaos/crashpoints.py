"""Every crash point: a process dies at each of its calls, one at a time.

A story is told once to count the calls to Redis and to Vitally that web, worker, sweeper
and commands make in it. Each call is a crash point, also one that is new. Then the story
is told again for each of them and each way to be struck there (see `fate`) until all is at
rest, and the checker of the chaos suite looks for what is wrong.

`make crashpoints` plays them all; `make format` writes their table into docs/losses.md.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple, Self

import click

from bridge.log import OneLine
from bridge.store.connect import LUA, load
from tests.chaos.broken import FOR_CRASHES, VARIANTS
from tests.chaos.stories import STORIES, Bridge
from tests.support import docs
from tests.support.fate import FATE, WAYS, Fate, felt
from tests.support.local_stripe import KEY, LocalStripe
from tests.support.stack import Stack


class Struck(NamedTuple):
    """What was found wrong after a story was struck at a call."""

    story: str
    call: str
    way: str
    wrong: Sequence[str]

    def __str__(self) -> str:
        return f"{self.story}, {self.call}, {self.way}: {'; '.join(self.wrong)}"


class Theatre:
    """A Redis, a Vitally and a Stripe, for one story after another; `with Theatre():`."""

    def __init__(self, folder: Path) -> None:
        self._ending = ExitStack()
        self._folder = folder
        self._calls: dict[str, list[str]] = {}

    def __enter__(self) -> Self:
        enter = self._ending.enter_context
        self.source = enter(LocalStripe())
        self.stack = enter(
            Stack(
                self._folder,
                STRIPE_ACCOUNT_ID_KEY="account",
                STRIPE_API_KEY=KEY,
                STRIPE_API_BASE=self.source.url,
            )
        )
        for path in LUA.glob("*.lua"):
            self.stack.redis.script_load(load(path.stem))
        for number in (signal.SIGINT, signal.SIGTERM):
            self._ending.callback(signal.signal, number, signal.getsignal(number))
        enter(felt())
        self.log = self._folder / "web.log"
        handler = logging.FileHandler(self.log)
        handler.setFormatter(OneLine("json"))
        root = logging.getLogger()
        self._ending.callback(root.setLevel, root.level)
        self._ending.callback(handler.close)
        self._ending.callback(root.removeHandler, handler)
        root.addHandler(handler)
        root.setLevel("INFO")
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    def play(self, story: str, fate: Fate) -> list[str]:
        """Tell a *story*; what is wrong at its end."""
        os.truncate(self.log, 0)
        FATE.set(fate)
        bridge = Bridge(self.stack, self.source, fate)
        try:
            STORIES[story](bridge)
            fate.is_counting = False
            bridge.rests()
            return bridge.wrong()
        finally:
            fate.ends()

    def calls(self, story: str) -> list[str]:
        """The calls of a *story* in which nobody dies, which must go well."""
        if story not in self._calls:
            fate = Fate()
            wrong = self.play(story, fate)
            assert not wrong, f"{story}: {wrong}; {self.log.read_text()}"
            self._calls[story] = fate.calls
        return self._calls[story]

    def struck(self, story: str, every: int = 1, first: int = 0) -> Iterator[Struck]:
        """Tell *story* for each crash point and way, or for one of *every* from *first*."""
        calls = self.calls(story)
        for at, call in enumerate(calls):
            for number, way in enumerate(WAYS, at * len(WAYS)):
                if number % every != first % every:
                    continue
                fate = Fate(at, way)
                wrong = self.play(story, fate)
                pairs = zip_longest(calls[: at + 1], fate.calls[: at + 1])
                if other := [pair for pair in enumerate(pairs) if len({*pair[1]}) > 1]:
                    wrong.append(f"it went otherwise: {other[0]}")
                yield Struck(story, call, way, wrong)


def table(calls: Mapping[str, Sequence[str]]) -> str:
    """Render one line for each story with its crash points, and their sum."""
    whose = ("web", "worker", "sweeper", "command")
    rows = [(name, STORIES[name].__doc__ or "", made) for name, made in calls.items()]
    rows.append(("all", "", [one for made in calls.values() for one in made]))
    counted = ((*row, Counter(one.partition(":")[0] for one in row[2])) for row in rows)
    cells = (
        (name, words, *(str(by[who]) for who in whose), f"{len(made):,}")
        for name, words, made, by in counted
    )
    return docs.table(("story", "what happens", *whose, "crash points"), cells)


@click.command()
@click.option("--story", "stories", multiple=True, type=click.Choice([*STORIES]))
@click.option("--every", default=1, help="Strike at one of so many.")
@click.option("--variant", help="A broken build; the first wrong end is enough.")
@click.option("--page", help="Write the table in this file anew, and no more.")
def main(
    stories: Sequence[str], every: int, variant: str | None, page: str | None
) -> None:
    """Let processes die at each of their calls, and print what is wrong then."""
    if variant:
        (VARIANTS | FOR_CRASHES)[variant]()
    begun, sums = time.monotonic(), Counter[str]()
    with tempfile.TemporaryDirectory() as folder, Theatre(Path(folder)) as theatre:
        if page:
            calls = {story: theatre.calls(story) for story in STORIES}
            docs.main([page], {"crashpoints": lambda: table(calls)})
            return
        for story in stories or STORIES:
            for one in theatre.struck(story, every):
                sums[story] += 1
                if one.wrong:
                    sums["wrong"] += 1
                    click.echo(str(one))
                    if variant:
                        break
            click.echo(f"{story:10} {sums[story]:5}")
    played = sums.total() - sums["wrong"]
    took = time.monotonic() - begun
    click.echo(f"{played} times struck, {sums['wrong']} violations, {took:.0f} s")
    sys.exit(bool(sums["wrong"]))


if __name__ == "__main__":
    main()
