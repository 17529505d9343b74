"""What the URL of another server may say: of Redis, of its sentinels, of an HTTP API.

No mistake repeats the text, which may hold a password.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import IPv6Address
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit


class Sentinels(NamedTuple):
    """Where Redis is by the word of its sentinels: their addresses, its name there."""

    hosts: tuple[tuple[str, int], ...]
    master: str
    db: int
    username: str | None
    password: str | None
    tls: bool


HOST = r"(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:[0-9]{1,5})?"
SENTINELS = re.compile(
    r"redis(?P<tls>s?)\+sentinel://"
    r"((?P<username>[^:@/]*):(?P<password>[^:@/]+)@)?"
    rf"(?P<hosts>{HOST}(,{HOST})*)/(?P<master>[\w.-]+)(/(?P<db>[0-9]{{1,4}}))?",
    re.ASCII,
)
SENTINEL_PORT = 26379
SENTINEL_FORM = (
    "must be redis+sentinel://[:password@]host1[:port],host2[:port]/name[/db]"
)

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
    """`redis://`, `rediss://`, `unix://`, or a URL of `sentinels`."""
    scheme = value.partition("://")[0]
    if scheme.endswith("+sentinel"):
        sentinels(value)
        return value
    if scheme not in {"redis", "rediss", "unix"}:
        raise ValueError(
            "must begin with redis://, rediss://, unix:// or redis+sentinel://"
        )
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


def sentinels(value: str) -> Sentinels:
    """`redis+sentinel://[:password@]host1[:26379],host2/mymaster[/0]`."""
    found = SENTINELS.fullmatch(value)
    if found is None:
        raise ValueError(SENTINEL_FORM)
    each = [_split(f"//{one}", SENTINEL_FORM) for one in found["hosts"].split(",")]
    return Sentinels(
        tuple((one.hostname or "", one.port or SENTINEL_PORT) for one in each),
        found["master"],
        int(found["db"] or 0),
        unquote(found["username"] or "") or None,
        unquote(found["password"] or "") or None,
        bool(found["tls"]),
    )


def base_url(value: str) -> str:
    """Scheme, host and port alone; returned without a final slash."""
    if not BASE.fullmatch(value):
        raise ValueError(BASE_FORM)
    _split(value, BASE_FORM)
    return value.rstrip("/")
