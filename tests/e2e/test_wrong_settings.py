"""Wrong settings end each process with 78 and a sentence, without what they hold."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ANYWHERE, environment

RIGHT = {
    "PORT": "0",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "VITALLY_API_KEY": "sk_example",
    "VITALLY_SUBDOMAIN": "acme",
}

PROCESSES = {
    "web": ("bridge", "serve"),
    "worker": ("workers",),
    "command": ("bridge", "status"),
}

WRONG = {
    "a slash in the password": ("REDIS_URL", b"redis://:hidden/x@127.0.0.1:6379/0"),
    "a hash in the password": ("REDIS_URL", b"redis://:hidden#x@127.0.0.1:6379/0"),
    "an unknown query": ("REDIS_URL", b"redis://:hidden@127.0.0.1:1/0?hidden=1"),
    "an odd value of a query": ("REDIS_URL", b"redis://:hidden@127.0.0.1:1?db=hidden"),
    "a broken address": ("REDIS_URL", b"redis://:hidden@[::1:6379/0"),
    "no port": ("REDIS_URL", b"redis://:hidden@127.0.0.1:99999/0"),
    "a broken API address": ("VITALLY_BASE_URL", b"https://hidden:hidden@[::1"),
    "no UTF-8": ("VITALLY_API_KEY", b"hidden\xff\xfe"),
    "a secret for a path": ("STRIPE_WEBHOOK_SECRET_FILE", b"whsec_hidden"),
    "Stripe's address": ("STRIPE_API_BASE", b"https://hidden@[::1"),
    "HubSpot's address": ("HUBSPOT_API_BASE", b"https://one:hidden"),
    "our own address": ("BRIDGE_PUBLIC_URL", b"https://one:70000/hidden"),
    "a folder for a file": ("BRIDGE_CONFIG", b"/"),
}


# All read the environment in one way: each mistake once, and some in each process.
@pytest.mark.parametrize(
    ("process", "name"),
    [
        *(("web", name) for name in WRONG),
        *(("worker", name) for name in ("no UTF-8", "a folder for a file")),
        *(("command", name) for name in ("a broken address", "Stripe's address")),
    ],
)
def test_it_ends_with_78_and_a_sentence(
    tmp_path: Path, process: str, name: str
) -> None:
    variable, value = WRONG[name]
    environ = {os.fsencode(k): os.fsencode(v) for k, v in environment(RIGHT).items()}
    ended = subprocess.run(
        [sys.executable, "-m", *PROCESSES[process]],
        env=environ | {variable.encode(): value, b"PYTHONPATH": os.fsencode(ANYWHERE)},
        cwd=tmp_path,
        capture_output=True,
        timeout=20,
        check=False,
    )
    said = (ended.stdout + ended.stderr).decode()

    assert 78 == ended.returncode, said
    assert "Traceback" not in said
    assert "hidden" not in said
    assert variable.removesuffix("_FILE") in said or "cannot be read" in said
