"""Schemathesis against a whole bridge: `python -m tests.support.described ST [OPTION ...]`.

ST is schemathesis' own program. Chargebee's password is the console's, so that deliveries
are authentic, too.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.stack import Stack
from tests.support.stripe import Shop

USER, PASSWORD = "ada", "console-example"

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,"
CHECKS += "response_schema_conformance,response_headers_conformance,unsupported_method"

SETTINGS = {
    "CONSOLE_USERNAME": USER,
    "CONSOLE_PASSWORD": PASSWORD,
    "CHARGEBEE_WEBHOOK_USERNAME": USER,
    "CHARGEBEE_WEBHOOK_PASSWORD": PASSWORD,
}


FAILED = ("request failed", "delivery failed", "page failed")
"""What the log says of an answer of 500."""


def main(program: str, *more: str) -> int:
    """Return schemathesis' exit status; 1 if the log of the web process tells of a failure."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Stack(Path(folder), **SETTINGS) as stack,
    ):
        web = stack.web()
        stack.worker()
        stripe, shop = stack.ready().stripe(), Shop()
        for event in (shop.signs_up(), shop.begins()):
            stripe.post(event)
        known = (("source", "chargebee"), ("name", shop.id))
        lines = [f'"path.{name}" = {json.dumps(value)}' for name, value in known]
        config = "\n".join(["[parameters]", *lines])
        Path(folder, "schemathesis.toml").write_text(config, encoding="utf-8")
        words = ["run", f"{web.url}/openapi.json", "--auth", f"{USER}:{PASSWORD}"]
        words += ["--checks", CHECKS, *more]
        status = subprocess.run([program, *words], cwd=folder, check=False).returncode
        return status or int(any(text in web.running.output for text in FAILED))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
