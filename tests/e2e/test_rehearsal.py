"""The rehearsal of docs/setup.md, pasted block by block, does what the page says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.support.processes import ANYWHERE, ROOT, free_port

PAGE = (ROOT / "docs" / "setup.md").read_text(encoding="utf-8")
REHEARSAL = PAGE.partition("\n# Rehearsal")[2]
SEEN = (
    *(r"dry run", r"pending +2", r"mrr +none +-> +50\n"),
    *(r"PUT 404, POST 200", r"mrr +600\n", r"neither the customer", r"stripe:cus_lost"),
    *(r"acme-101  mrr    1           600", r"1 account queued", r"mrr +600\n"),
    *(r"mrr +none +none", r"churnedAt +20", r"settled +6"),
)
"""What a reader sees, in this order."""


def test_who_pastes_all_of_it_sees_all_of_it(tmp_path: Path) -> None:
    _, *blocks = re.findall(r"```sh\n(.*?)```", REHEARSAL, re.DOTALL)
    text = "\n".join(["trap 'kill $(jobs -p) 2>/dev/null || :' EXIT", *blocks])
    for port in ("6390", "9000", "8000"):
        text = text.replace(port, str(free_port()))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["timeout", "300", "bash", "-e", "-c", text],
        cwd=tmp_path,
        env={"PATH": path, "PYTHONPATH": ANYWHERE, "HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )

    assert 0 == done.returncode, done.stdout
    assert re.search(".*".join(SEEN), done.stdout, re.DOTALL), done.stdout
    assert [] == [*tmp_path.iterdir()]
