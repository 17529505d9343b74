"""The page of the plan: what would be written to Vitally, and a button that has it written.

To work a plan out takes seconds of all cores. So a process of its own does it, by the
same commands that a person would type; this one reads pages out of the file.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from threading import Semaphore
from typing import IO, Any, NamedTuple

import orjson
from flask import request, url_for

from bridge.errors import BridgeError
from bridge.store.index import Index
from bridge.store.inspect import figures
from bridge.web.console.pages import Data, Done, Pages, console, now_ms

pages = Pages("plan", "Plan")

SHOWN = 100
"""Accounts on a page."""

FRESH_MS = 60_000
"""How long a plan is shown before it is worked out again."""

MANY = 5000
"""Accounts from which on a plan is only worked out when somebody says so."""

KEPT = 5
"""Plans of which the files are kept, the last ones, to be applied."""

WAIT = 15.0
"""Seconds after which a page says that its plan is still worked out, and looks again."""

PATIENCE = 600
"""Seconds that a command may take."""


class StoredPlan(NamedTuple):
    """A plan of *account* ("": of all), made *at* (ms), in a file of *number* accounts.

    The file has no name, so that it is gone with this process, however that ends.
    """

    account: str
    at: int
    digest: str
    file: IO[bytes]
    number: int
    totals: Mapping[str, Any]

    @property
    def is_fresh(self) -> bool:
        """Whether it can be shown as it is."""
        return now_ms() - self.at < FRESH_MS

    def rows(self, page: int) -> list[dict[str, Any]]:
        """The accounts of a *page*, counted from 1."""
        first = 1 + (page - 1) * SHOWN  # a line of each, below a heading
        last = 1 + min(page * SHOWN, self.number)
        with Path(_path(self.file)).open("rb") as lines:
            return [orjson.loads(x.rstrip(b",\n")) for x in islice(lines, first, last)]


class Plans:
    """Makes the plans of this process, one at a time, and keeps the last ones."""

    def __init__(self) -> None:
        self._made: list[StoredPlan] = []
        self._pool = ThreadPoolExecutor(1, "plan")
        self._begun: dict[str, Future[StoredPlan]] = {}
        self._waiters = Semaphore(2)

    def known(self, account: str) -> StoredPlan | None:
        """The last plan of *account*, if it is fresh."""
        found = (one for one in reversed(self._made) if one.account == account)
        last = next(found, None)
        return last if last and last.is_fresh else None

    def make(self, account: str, wait: float) -> StoredPlan | None:
        """Work out a plan anew, or go on with it; None: not within *wait* seconds.

        Raises BridgeError. Only two wait at a time, so that pages have threads.
        """
        environ = dict(console().environ)
        future = self._begun.get(account)
        if future is None:
            future = self._pool.submit(self._make, account, environ)
            self._begun[account] = future
            future.add_done_callback(lambda _: self._begun.pop(account, None))
        has_turn = self._waiters.acquire(blocking=False)
        try:
            return future.result(wait if has_turn else 0)
        except TimeoutError:
            return None
        finally:
            if has_turn:
                self._waiters.release()

    def is_making(self, account: str) -> bool:
        """Whether a plan of *account* is being worked out."""
        return account in self._begun

    def _make(self, account: str, environ: Mapping[str, str]) -> StoredPlan:
        at = now_ms()
        file = TemporaryFile()  # noqa: SIM115 - open as long as the plan is kept
        which = ["--", account] if account else []
        try:
            _run(environ, file, "plan", "--out", _path(file), *which)
            file.seek(0)
            heading, *rows, end, totals = file.read().splitlines()
        except BaseException:
            file.close()
            raise
        digest = sha256(b"\n".join([heading, *rows, end])).hexdigest()[:16]
        summed = orjson.loads(totals.partition(b":")[2][:-1])
        number = len([*filter(None, rows)])  # without any, there is an empty line
        made = StoredPlan(account, at, digest, file, number, summed)
        self._keep([*self._made, made][-KEPT:])
        return made

    def _keep(self, made: list[StoredPlan]) -> None:
        """Keep these plans; the files of all others go."""
        for old in self._made:
            if old not in made:
                old.file.close()
        self._made = made

    def apply(self, account: str, digest: str) -> str:
        """Have a plan written. Raises BridgeError where anything has moved since."""
        found = (one for one in self._made if one.digest == digest)
        made = next(found, None) or self.make(account, PATIENCE)
        if made is None or made.digest != digest:
            raise BridgeError("something has moved since; look at the plan again")
        environ = dict(console().environ)
        said = _run(environ, made.file, "apply", "--no-wait", _path(made.file))
        self._keep([one for one in self._made if one.account != made.account])
        return said


def _path(file: IO[bytes]) -> str:
    """The path by which this process, and one that inherits *file*, opens it."""
    return f"/dev/fd/{file.fileno()}"


def _run(environ: Mapping[str, str], file: IO[bytes], *words: str) -> str:
    """Run one of our commands, with *file*; its last line, or a BridgeError with all."""
    file.seek(0)
    command = [sys.executable, "-m", "bridge", *words]
    try:
        done = subprocess.run(  # noqa: S603 - our own command
            command,
            env=environ,
            pass_fds=[file.fileno()],
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    except ValueError as error:  # a NUL in the account's name
        raise BridgeError(str(error)) from None
    except subprocess.TimeoutExpired:
        raise BridgeError(f"it took longer than {PATIENCE} s") from None
    lines = done.stderr.decode().replace("vitally-bridge: ", "").splitlines()
    if done.returncode:
        raise BridgeError("; ".join(lines[-6:]) or "it ended without a word")
    return lines[-1] if lines else ""


PLANS = Plans()


@pages.page("/plan", "plan.html")
def plan() -> Data:
    """A page of the plan of all accounts, or of `?account=`."""
    account, here = request.args.get("account", "").strip(), console()
    made = None if "anew" in request.args else PLANS.known(account)
    now, many = figures(here.redis), Index(here.redis).count()
    data = {"account": account, "many": many, "made": None, "is_making": False}
    data |= {"waiting": now.dirty, "dry_run": now.dry_run}
    data |= {"accounts": [], "totals": None, "about": {}}
    asked = account or "anew" in request.args or many <= MANY
    if made is None and not asked and not PLANS.is_making(account):
        return data
    made = made or PLANS.make(account, WAIT)
    if made is None:
        return data | {"is_making": True}
    last = max(1, -(-made.number // SHOWN))
    page = min(max(1, request.args.get("page", 1, int)), last)
    about = {"digest": made.digest, "at": made.at, "page": page, "pages": last}
    rows: dict[str, Any] = {"accounts": made.rows(page), "totals": made.totals}
    rows["about"] = Index(here.redis).some([one["account"] for one in rows["accounts"]])
    return data | {"made": about} | rows


@pages.action("/do/apply")
def apply() -> Done:
    """Have the plan written that was looked at, if nothing has moved since."""
    account, digest = (request.form.get(name, "") for name in ("account", "digest"))
    said = PLANS.apply(account, digest)
    return Done(said, url_for(".plan", account=account or None))
