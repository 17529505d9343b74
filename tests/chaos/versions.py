"""`make versions OLD=COMMIT`: an earlier version beside this one, there and back, under load.

    python -m tests.chaos.versions COMMIT…

Plays the blocks of `docs/operations.md` about an upgrade and a downgrade. It needs the
repository's history, so it is no part of `make test`.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.e2e.test_operations import Operator
from tests.support.processes import ROOT, Running, procfile
from tests.support.sender import Sender
from tests.support.stack import Stack
from tests.support.waiting import eventually

SHOPS = 5
"""New customers between two steps."""


class Versions(Stack):
    """A stack whose next process runs the code in the folder *code*."""

    code = ROOT
    started = 0

    def start(self, process_type: str, environ: Mapping[str, object]) -> Running:
        """Start a line of that version's own Procfile."""
        self.started += 1
        _, *words = procfile(self.code)[process_type].split()
        name = f"{process_type}-{self.started}"
        return Running(
            [sys.executable, *words],
            environ=environ,
            folder=self.folder,
            name=name,
            cwd=self.code,
        )


def play(commit: str, folder: Path) -> str:
    """Upgrade from *commit* and go back; what came of it. AssertionError: it did not work."""
    (old := folder / "old").mkdir()
    tree = subprocess.run(
        ["git", "archive", commit], cwd=ROOT, check=True, stdout=subprocess.PIPE
    )
    subprocess.run(["tar", "-x", "-C", str(old)], input=tree.stdout, check=True)
    with Versions(folder) as stack:
        operator = Operator(stack, folder)

        def start(code: Path) -> None:
            stack.code = code
            stack.web()
            stack.worker()

        operator.words |= {
            "# start web and worker of the new version": lambda: start(ROOT),
            "# stop web and worker of the old version": lambda: operator.stop(1, 1),
            "# start web and worker of the old version": lambda: start(old),
            "# stop web and worker of the new version": lambda: operator.stop(1, 1),
        }
        start(old)
        stack.ready()
        with Sender(stack) as sender:
            for step in ("Upgrade without a stop", "Downgrade"):
                _more(sender)
                operator.plays(step)
            _more(sender)
        seen = stack.settled()
        right = {one: stack.account(one)["traits"]["mrr"] for one in sender.mrr}
        assert sender.mrr == right
        assert (sender.sent, sender.sent) == (seen.accepted, seen.settled)
        assert [] == stack.overlaps()
        assert len(sender.mrr) == len(stack.creations())
    return f"{commit}: {seen.accepted} events of {len(right)} customers, all right"


def _more(sender: Sender) -> None:
    known = len(sender.mrr)
    eventually(lambda: len(sender.mrr) >= known + SHOPS)


def main(commits: list[str]) -> None:
    """Play with each of *commits*."""
    if not commits:
        sys.exit("name earlier commits: make versions OLD=COMMIT")
    for commit in commits:
        with TemporaryDirectory(prefix="bridge-versions-") as folder:
            sys.stdout.write(f"{play(commit, Path(folder))}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
