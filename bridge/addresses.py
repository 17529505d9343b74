"""What the URL of another server may say: of Redis, of an HTTP API.

No mistake repeats the text, which may hold a password.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv6Address
from urllib.parse import SplitResult, parse_qsl, urlsplit

HOST = r"(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:[0-9]{1,5})?"

ESCAPED = "in a password, / # ? [ ] and blanks are written as %2F %23 %3F %5B %5D %20"
REDIS = re.compile(
    r"rediss?://([^/?#\[\]\s]*@)?(\[[0-9a-fA-F:.]+\]|[\w.-]*)(:[0-9]{1,5})?"
    r"(/([0-9]{1,4}/?)?)?(\?[^#\s]*)?",
    re.ASCII,
)
REDIS_FORM = f"must be redis[s]://[[user]:password@]host[:port][/db]; {ESCAPED}"
UNIX = re.compile(r"unix://([^/?#\[\]\s]*@)?/[^?#\s]+(\?[^#\s]*)?")
UNIX_FORM = f"must be unix://[[user]:password@]/path[?db=0]; {ESCAPED}"

DB = re.compile(r"[0-9]{1,4}")
FILE = re.compile(r".+")
QUERY: Mapping[str, Mapping[str, re.Pattern[str]]] = {
    "redis": {"db": DB, "protocol": re.compile("[23]"), "client_name": FILE},
    "rediss": {
        "ssl_cert_reqs": re.compile("none|optional|required"),
        "ssl_check_hostname": re.compile("true|false", re.IGNORECASE),
        "ssl_ca_certs": FILE,
        "ssl_certfile": FILE,
        "ssl_keyfile": FILE,
    },
    "unix": {"username": FILE, "password": FILE},
}
"""What may stand after the `?` of each kind of URL (`redis`: of all). redis-py takes
more, but that would undo our time-outs, or fails only at the first connection."""

BASE = re.compile(rf"(?i:https?)://{HOST}/?")
BASE_FORM = "must be http(s)://host[:port] and nothing more"


def redis_url(value: str) -> str:
    """`redis://`, `rediss://` or `unix://`."""
    scheme = value.partition("://")[0]
    if scheme not in {"redis", "rediss", "unix"}:
        raise ValueError("must begin with redis://, rediss:// or unix://")
    form, said = (UNIX, UNIX_FORM) if scheme == "unix" else (REDIS, REDIS_FORM)
    if not form.fullmatch(value):
        raise ValueError(said)
    known = {**QUERY["redis"], **QUERY[scheme]}
    for name, given in parse_qsl(_split(value, said).query, keep_blank_values=True):
        if name not in known or not known[name].fullmatch(given):
            said = f"must have nothing after its ? but {', '.join(sorted(known))}"
            raise ValueError(f"{said}, each as it should be; {ESCAPED}")
    return value


def _split(url: str, form: str) -> SplitResult:
    """Split a URL; raises ValueError with the *form* it must have."""
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
        if ":" in host:
            IPv6Address(host)
    except ValueError:
        raise ValueError(form) from None
    if port == 0:
        raise ValueError(form)
    return parts


def base_url(value: str) -> str:
    """Scheme, host and port alone; returned without a final slash."""
    if not BASE.fullmatch(value):
        raise ValueError(BASE_FORM)
    _split(value, BASE_FORM)
    return value.rstrip("/")
