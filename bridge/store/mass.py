"""The window of a mass change in Redis, the hold that it causes, and the word that ends it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bridge.domain.facts import vacated
from bridge.domain.mass import CHURNED, DOWN, THOUSANDTHS, UP, Window
from bridge.store import keys
from bridge.store.connect import Store, each
from bridge.store.index import MANY, Index, sums

WINDOW_MS = 3_600_000

TOTALS_MS = 600_000
"""How long sums of the MRR are used, of many accounts longer; a hold is only decided
with new ones."""


class Mass(Store):
    """What is counted of a mass change."""

    def weigh(
        self, account: str, moves: Mapping[str, int], *, anew: bool = False
    ) -> list[Window]:
        """Count what a write of *account* *moves* (measure -> amount); each measure's window.

        *anew* sums up the MRR first. Without it, the sums may be minutes old, and a total
        of 0 is not known.
        """
        if anew:
            self._sum()
        pairs = [part for pair in moves.items() for part in pair]
        accounts, *rows = self._run("weigh", account, WINDOW_MS, *pairs)
        windows = []
        for name, (held, total, *counts) in zip(moves, rows, strict=True):
            whole = accounts if name == CHURNED else int(total or 0)
            windows.append(Window(name, bool(held), accounts, whole, *map(int, counts)))
        return windows

    def below(self, parties: Iterable[str], ms: int) -> tuple[int, int]:
        """How many of an organization's *parties* are held, and how many may be in *ms*."""
        held, soon = self._run("held_below", ms, *parties)
        return held, soon

    def hold(self, measure: str, why: str) -> None:
        """Hold what moves this *measure*, until somebody says a word."""
        self._redis.hset(keys.MASS_HOLD, measure, why)

    def reasons(self) -> list[str]:
        """Why writes are held now."""
        return sorted(w.decode() for w in self._redis.hvals(keys.MASS_HOLD) if w)

    def end(self, *, released: bool) -> list[str]:
        """End the hold; the parties that were held.

        *released*: the next write of their accounts goes out, whatever it moves.
        """
        held = self._run("end_mass", int(released), vacated(""))
        return [raw.decode() for raw in held]

    def let_pass(self, accounts: Iterable[str]) -> None:
        """Do not judge the next write of each account: somebody saw what it moves."""
        each(self._redis, "hset", map(keys.account, accounts), "released", 1)

    def _sum(self) -> None:
        found = sums(Index(self._redis).stream())
        accounts = sum(number for number, _ in found.values())
        totals = {"": 0} | {
            f"{currency} {way}": int(total * THOUSANDTHS)
            for currency, (_, total) in found.items()
            for way in (DOWN, UP)
        }
        with self._redis.pipeline(transaction=True) as pipe:
            pipe.delete(keys.MASS_TOTALS)
            pipe.hset(keys.MASS_TOTALS, mapping=totals)
            # Many take long to sum up, and move little within an hour.
            pipe.pexpire(keys.MASS_TOTALS, TOTALS_MS * (1 + accounts // MANY))
            pipe.execute()
