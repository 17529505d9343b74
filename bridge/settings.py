"""Settings: the environment as one frozen, typed object; all mistakes are named at once.

The file has three parts: the forms a variable's text may have, how variables are read,
and the bridge's own variables (sources add theirs). An error message never repeats the
text, which may contain a secret.
"""

from __future__ import annotations

import ast
import base64
import inspect
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import cache
from ipaddress import IPv6Address
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from bridge.errors import ConfigError

ALIKE = 0.9
"""How much a name has to be like one of ours so that it looks misspelt (0 to 1)."""

QUOTED = re.compile(r"\s*(['\"]).*\1\s*")

Parse = Callable[[str], Any]
"""Text of a variable -> its value; raises TextError with what the text *must be*."""


class TextError(ValueError):
    """Says what a text must be. It is printed, so it must not repeat the text."""


class Option(NamedTuple):
    """One environment variable: how it is read and what it means."""

    name: str
    parse: Parse
    meaning: str
    default: Any = None
    required: bool = False
    secret: bool = False
    """The text is never shown, and may come from the file that `NAME_FILE` names."""
    shown: str = ""
    """Shown in the documentation instead of the default."""
    of: type | None = None
    """The class that declares it; without a *meaning*, the text below it there is that."""


def variable(parse: Parse, default: Any = None, **more: Any) -> Option:
    """One that a class declares under its name, with its meaning in the text below."""
    return Option("", parse, "", default, **more)


def declared(of: type) -> tuple[Option, ...]:
    """Return the variables that a class declares."""
    every = ((name, one) for name, one in vars(of).items() if isinstance(one, Option))
    return tuple(one._replace(name=name, of=of) for name, one in every)


def matching(pattern: str, must: str, convert: Callable[[str], Any] = str) -> Parse:
    """Text that *pattern* matches and *convert* takes, which raises ValueError."""

    def parse(text: str) -> Any:
        if re.fullmatch(pattern, text):
            with suppress(ValueError):
                return convert(text)
        raise TextError(must)

    return parse


def whole(low: int, high: int) -> Parse:
    """A whole number between *low* and *high*."""

    def number(text: str) -> int:
        if not low <= int(text) <= high:
            raise ValueError
        return int(text)

    must = f"must be a whole number from {low} to {high}"
    return matching("[0-9]{1,9}", must, number)


def one_of(*allowed: str) -> Parse:
    """Exactly one of the *allowed* words."""
    return matching("|".join(allowed), f"must be one of {', '.join(allowed)}")


def several(text: str) -> tuple[str, ...]:
    """One or several values, separated by commas."""
    values = tuple(part.strip() for part in text.split(",") if part.strip())
    if not values:
        raise TextError("must have at least one value")
    return values


def _address(url: str) -> str:
    """Return *url*; raises ValueError if its port or IPv6 address is invalid."""
    parts = urlsplit(url)
    if ":" in (parts.hostname or ""):
        IPv6Address(parts.hostname or "")
    if parts.port == 0:
        raise ValueError
    return url


text: Parse = str
"""Any text."""

boolean = matching(
    "(?ai:true|false)", "must be true or false", lambda text: text.lower() == "true"
)

share = matching(
    r"0?\.(?=.*[1-9])[0-9]+|1(\.0+)?", "must be a number above 0 and not above 1", float
)

ASCII = "must be printable ASCII without line breaks"
header_value = matching("[!-~]+( [!-~]+)?", ASCII)

subdomain = matching(
    "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?",
    "must be one DNS label, e.g. acme for https://acme.…",
    str.lower,
)

base_url = matching(
    r"(?ai:https?)://(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:[0-9]{1,5})?/?",
    "must be http(s)://host[:port] and nothing more",
    lambda url: _address(url).rstrip("/"),
)


FORMS = {
    "the signing secret of a webhook": "whsec_",
    "an API key of Stripe": "(sk|rk)_(live|test)_",
    "a publishable key of Stripe": "pk_(live|test)_",
    "an access token of HubSpot": "pat-[a-z]{2}[0-9]-",
    "a URL": "https?://",
}
"""Kinds of secrets, and how one that can be recognized begins."""


def only(kind: str, parse: Parse) -> Parse:
    """Any text but what is surely a secret of another kind than *kind*."""

    def read(text: str) -> Any:
        for part in map(str.strip, text.split(",")):
            bare = part.strip("'\"")
            for other, form in FORMS.items():
                if re.match(form, bare) and other != kind:
                    raise TextError(f"holds {other}; it must be another secret")
                if re.match(form, bare) and bare != part:
                    raise TextError("must not have quotes around it")
        return parse(text)

    return read


address = matching(
    r"(?ai:https?)://([^\s/?#@]*@)?[^\s/?#@:]\S*", "must be an http(s) URL", _address
)


sentry_dsn = matching(
    r"https?://[^\s@/]+@[^\s@/]+(/[^\s/]+)*/[0-9]+",
    "must be like https://KEY@HOST/PROJECT, with a number as PROJECT",
    _address,
)


def addresses(text: str) -> tuple[str, ...]:
    """One or several http(s) URLs, separated by commas."""
    return tuple(map(address, several(text)))


@dataclass(frozen=True)
class User:
    """Somebody who may open the console; only one who *acts* may do anything there."""

    name: str
    acts: bool
    password: str = field(repr=False)


ROLES = {"read-only": False, "operator": True}


def users(text: str) -> tuple[User, ...]:
    """Users of the console, `NAME:ROLE:PASSWORD` each, separated by commas."""
    found: dict[str, User] = {}
    wrong: list[str] = []
    for number, entry in enumerate(several(text), 1):
        name, role, password = (*entry.split(":", 2), "", "")[:3]
        if not (name and password):
            wrong.append(f"entry {number} must be NAME:ROLE:PASSWORD")
        elif role not in ROLES:
            wrong.append(f"entry {number} must have the role {' or '.join(ROLES)}")
        elif name in found:
            wrong.append(f"entry {number} repeats a name")
        else:
            found[name] = User(name, ROLES[role], password)
    if wrong:
        raise TextError("; ".join(wrong))
    return tuple(found.values())


def _query(pairs: str) -> str:
    """The pattern of a URL's optional query made of these *pairs*."""
    return rf"(\?({pairs})(&({pairs}))*)?"


USER = r"([^/?#\[\]\s]*@)?"
TCP = rf"{USER}(\[[0-9a-fA-F:.]+\]|(?a:[\w.-]*))(:[0-9]{{1,5}})?(/([0-9]{{1,4}}/?)?)?"
VALUE = r"=[^&#\s]+"
ANY = rf"db=[0-9]{{1,4}}|protocol=[23]|client_name{VALUE}"
TLS = (
    "ssl_cert_reqs=(none|optional|required)|ssl_check_hostname=(?ai:true|false)|"
    f"(ssl_ca_certs|ssl_certfile|ssl_keyfile){VALUE}"
)
# redis-py accepts more parameters after the `?`, but those would undo our time-outs or
# fail only at the first connection.
redis_url = matching(
    rf"redis://{TCP}{_query(ANY)}|rediss://{TCP}{_query(f'{ANY}|{TLS}')}|"
    rf"unix://{USER}/[^?#\s]+{_query(f'{ANY}|(username|password){VALUE}')}",
    "must begin with redis://, rediss:// or unix://, as in redis://[[user]:password@]"
    "host[:port][/db] or unix://[[user]:password@]/path, and have nothing after a ? but "
    "db, protocol (2 or 3) and client_name, for rediss:// also ssl_cert_reqs, "
    "ssl_check_hostname, ssl_ca_certs, ssl_certfile and ssl_keyfile, for unix:// also "
    "username and password; in a password, / # ? [ ] and blanks are written as "
    "%2F %23 %3F %5B %5D %20",
    _address,
)


def read_all(
    options: Iterable[Option], environ: Mapping[str, str], without: Collection[str] = ()
) -> tuple[dict[str, Any], list[str]]:
    """Return the values by name, and each mistake.

    A wrong or missing value is replaced by the default. *without* names required
    variables that the caller does not need; they may be empty.
    """
    values: dict[str, Any] = {}
    problems: list[str] = []
    for option in options:
        values[option.name] = "" if option.required else option.default
        try:
            given = _given(option, environ)
            if given:
                values[option.name] = option.parse(given)
            elif option.required and option.name not in without:
                problems.append(f"{option.name} is required: {meaning(option)}")
        except TextError as error:
            problems.append(f"{option.name} {error}")
        except ValueError:  # a library's words may quote the text
            problems.append(f"{option.name} cannot be read")
    return values, problems


def _given(option: Option, environ: Mapping[str, str]) -> str:
    """Return a variable's text, from the environment or from the file in `NAME_FILE`."""
    own = environ.get(option.name, "").strip()
    path = environ.get(f"{option.name}_FILE", "") if option.secret else ""
    if own and path:
        raise TextError(f"and {option.name}_FILE are both set; choose one")
    if re.search("[\ud800-\udfff]", own):  # Python's way to pass other bytes on
        raise TextError("must be UTF-8")
    if not path:
        return own
    try:
        return Path(path).read_text(encoding="utf-8-sig").strip()
    except OSError as error:
        reason = error.strerror
    except ValueError:
        reason = "it is not UTF-8"
    # Show only a path: somebody may have put the secret itself there.
    where = f"{option.name}_FILE" + (f"={path}" if path.startswith("/") else "")
    raise TextError(f"cannot be read from {where}: {reason}")


def _misspelt(environ: Mapping[str, str], options: Iterable[Option]) -> list[str]:
    """Unknown names: without this a typo would silently mean the default."""
    known = {o.name for o in options} | {f"{o.name}_FILE" for o in options if o.secret}
    return [
        f"{name} is not a setting of the bridge; {_meant(name, known)}"
        for name in sorted(environ)
        if name.startswith(("BRIDGE_", "VITALLY_")) and name not in known
    ]


def _meant(name: str, known: Iterable[str], alike: float = 0.8) -> str:
    """Ask which of the *known* names was meant, the one that is the most *alike*."""
    names = get_close_matches(name, known, 1, alike)
    return f"did you mean {names[0]}?" if names else "is it misspelled?"


def doubts(environ: Mapping[str, str], options: Iterable[Option]) -> list[str]:
    """What looks like a mistake in *environ* but may be somebody else's, or meant so."""
    secret = {o.name for o in options if o.secret}
    known = {o.name for o in options} | {f"{name}_FILE" for name in secret}
    strange = sorted(name for name in environ if name not in known and "_" in name)
    asked = ((name, _meant(name, known, ALIKE)) for name in strange)
    meant = [(name, said) for name, said in asked if "did" in said]
    found = [f"{name} is not a setting; {said}" for name, said in meant]
    given = ((name, environ.get(name, "")) for name in sorted(secret))
    quoted = (name for name, text in given if QUOTED.fullmatch(text))
    return found + [f"{n} has quotes around it; are they part of it?" for n in quoted]


def _setting(parse: Parse, default: Any = None, **more: Any) -> Any:
    """A field of `Settings`; the text below the field is the option's meaning."""
    option = variable(parse, default, **more)
    return field(repr=not option.secret, metadata={"option": option})


@dataclass(frozen=True)
class Settings:
    """The settings, read from the environment. Secrets are not in the repr.

    Each field's variable is its name in upper case. *sources* maps the names of the
    sources' own options to their values.
    """

    port: int = _setting(whole(0, 65535), 8000)
    """Port of the web process."""
    redis_url: str = _setting(redis_url, required=True, secret=True)
    """Where Redis is: `redis://`, `rediss://` or `unix://`."""
    redis_tls_verify: bool = _setting(boolean, True)
    """`false` accepts a self-signed `rediss://`, as on Heroku."""
    vitally_api_key: str = _setting(header_value, required=True, secret=True)
    """REST API key: the raw token, or the complete `Basic …` header value."""
    vitally_subdomain: str | None = _setting(subdomain)
    """The name before `.vitally.io`; required in the US region."""
    vitally_region: str = _setting(one_of("us", "eu"), "us")
    """Data center of the workspace: `us` or `eu`."""
    vitally_base_url: str = _setting(base_url, shown="from region and subdomain")
    """Replaces scheme and host, e.g. `http://127.0.0.1:9000`."""
    vitally_analytics_token: str | None = _setting(header_value, secret=True)
    """Token of the Analytics API, for instances of custom objects: another one than the
    API key; the raw token, or the complete `Basic …` header value."""
    vitally_analytics_url: str | None = _setting(base_url, shown="from the subdomain")
    """Replaces scheme and host of the Analytics API; required for it in the EU region."""
    vitally_budget_share: float = _setting(share, 0.8)
    """The share of Vitally's rate limit that the bridge may use."""
    bridge_config: str | None = _setting(text, shown="`bridge.toml` if it exists")
    """Path of the optional `bridge.toml` (trait names, money, other sources)."""
    bridge_public_url: str | None = _setting(base_url)
    """The public address that senders call. Unset: taken from each request's `Host` and
    `X-Forwarded-Proto`."""
    bridge_create: str = _setting(
        one_of("customer", "subscription", "never"), "customer"
    )
    """When to create an account that Vitally does not have: `customer`, with any event of
    the customer; `subscription`, once a subscription is known; `never`, it is held."""
    bridge_dry_run: bool = _setting(boolean, False)
    """`true`: do everything except write to Vitally."""
    bridge_reconcile: str = _setting(one_of("daily", "weekly", "off"), "weekly")
    """How often a worker reads all accounts in Vitally and corrects what others changed:
    `daily`, `weekly`, `off`. The first time is ten minutes after the first start."""
    bridge_retention_quarantine_days: int = _setting(whole(1, 3650), 30)
    """Days that a delivery which could not be read is kept; a worker removes it then."""
    bridge_retention_journal_days: int = _setting(whole(1, 3650), 90)
    """The same of the lines about deliveries, refused ones too, and of the console's list
    of actions. Their number is limited, too (see docs/privacy.md)."""
    bridge_mass_churn: float = _setting(share, 0.05)
    """The share of the accounts that may churn within an hour. If more would, as after a
    mistake of a source or a rule, their writes wait until somebody says `release` or
    `discard --mass`."""
    bridge_mass_mrr: float = _setting(share, 0.1)
    """The same: the share of a currency's MRR that may go down within an hour; two and a
    half times as much may go up."""
    bridge_mass_accounts: int = _setting(whole(1, 1_000_000), 20)
    """The same: so many accounts may always move."""
    bridge_allow_eviction: bool = _setting(boolean, False)
    """`true`: run on a Redis that may evict keys (and so lose accounts)."""
    bridge_redis_share: float = _setting(share, 0.9)
    """The share of Redis' `maxmemory` above which new events are answered 503, so that the
    workers keep room to work; `1`: only once Redis is full."""
    bridge_durability: str = _setting(one_of("redis", "fsync"), "redis")
    """What a 2xx waits for. `redis`: Redis has the event; its `appendfsync` decides how safe
    it is there. `fsync`: the event is on Redis' disk, after up to two seconds (needs
    Redis 7.2 or Valkey with `appendonly yes`; see deploy/durability.md)."""
    bridge_alert_url: tuple[str, ...] | None = _setting(addresses, secret=True)
    """Webhooks (one or several, comma-separated, Slack's form) that are told, once, that
    something is wrong, and once that it is over."""
    bridge_heartbeat_url: str | None = _setting(address, secret=True)
    """Called once a minute while all is well, for a monitor that misses the call."""
    console_username: str = _setting(text, "admin")
    """User name for the console."""
    console_password: str | None = _setting(text, secret=True)
    """Password for the console and the queue dashboard. Unset: both are off (404)."""
    console_users: tuple[User, ...] | None = _setting(users, secret=True)
    """More users of the console, `NAME:ROLE:PASSWORD` each, separated by commas. The role
    is `read-only` (sees everything, does nothing) or `operator`; no comma in a password."""
    worker_processes: int = _setting(whole(1, 64), 1)
    """Number of worker processes that `python -m workers` runs."""
    worker_memory_mb: int = _setting(whole(1, 1_000_000), 300)
    """A worker process that holds more, between two jobs, starts anew."""
    log_level: str = _setting(one_of("DEBUG", "INFO", "WARNING", "ERROR"), "INFO")
    """Lowest level that is logged."""
    log_format: str = _setting(one_of("json", "text"), "json")
    """Format of log lines: `json` or `text`."""
    otel_exporter_otlp_endpoint: str | None = _setting(address, secret=True)
    """Collector for OpenTelemetry's traces, e.g. `http://127.0.0.1:4318`; needs the extra
    `otel`. The other `OTEL_…` variables count as usual. Unset: off."""
    sentry_dsn: str | None = _setting(sentry_dsn, secret=True)
    """Sentry project that errors are sent to, without personal data; needs the extra
    `sentry`. Unset: off."""
    sources: Mapping[str, Any] = field(default_factory=dict, repr=False)
    doubts: tuple[str, ...] = ()
    """What looks like a mistake, a sentence each."""

    @property
    def people(self) -> tuple[User, ...]:
        """Who may open the console; nobody: it is off."""
        own = [User(self.console_username, True, self.console_password or "")]
        return (*(own if self.console_password else ()), *(self.console_users or ()))

    @property
    def vitally_authorization(self) -> str:
        """The complete `Authorization` header of the REST API."""
        return _basic(self.vitally_api_key)

    @property
    def analytics_authorization(self) -> str:
        """That of the Analytics API."""
        return _basic(self.vitally_analytics_token or "")

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str],
        options: Iterable[Option] = (),
        without: Collection[str] = (),
    ) -> Settings:
        """Read *environ* as `values_of` does. Raises ConfigError with all mistakes."""
        values, problems = values_of(environ, options, without)
        if problems:
            raise ConfigError(problems)
        return cls.of(values)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Settings:
        """Return the settings with these *values* by name, the sources' included."""
        own = {option.name for option in OPTIONS}
        ours = {name.lower(): value for name, value in values.items() if name in own}
        return cls(**ours, sources={n: v for n, v in values.items() if n not in own})


def _basic(key: str) -> str:
    """Basic, with the key as user and no password."""
    ready = f"Basic {base64.b64encode(f'{key}:'.encode()).decode()}"
    return key if key.startswith("Basic ") else ready


OPTIONS = tuple(
    one.metadata["option"]._replace(name=one.name.upper(), of=Settings)
    for one in fields(Settings)
    if one.metadata
)
"""Every variable of the bridge itself; the sources add their own."""


def meaning(option: Option) -> str:
    """The meaning of an option: its own, or the text below it."""
    below = texts(option.of) if option.of else {}
    return option.meaning or below.get(option.name) or below[option.name.lower()]


@cache
def texts(of: Any) -> dict[str, str]:
    """The text below each variable that a class declares, or each trait."""
    found: dict[str, str] = {}
    (made,) = ast.parse(inspect.getsource(of)).body
    for above, below in pairwise(ast.iter_child_nodes(made)):
        match above, below:
            case (
                ast.AnnAssign(ast.Name(name)) | ast.Assign([ast.Name(name)]),
                ast.Expr(ast.Constant(str(text))),
            ):
                found[name] = " ".join(text.split())
    return found


def values_of(
    environ: Mapping[str, str],
    options: Iterable[Option] = (),
    without: Collection[str] = (),
) -> tuple[dict[str, Any], list[str]]:
    """Return the values of all variables, the sources' *options* included, and each mistake.

    *without* names required variables that the caller does not need.
    """
    every = (*OPTIONS, *options)
    values, problems = read_all(every, environ, without)
    problems += _misspelt(environ, every)
    names = {user.name for user in values["CONSOLE_USERS"] or ()}
    if values["CONSOLE_PASSWORD"] and values["CONSOLE_USERNAME"] in names:
        problems.append("CONSOLE_USERS repeats the name in CONSOLE_USERNAME")
    if not values["VITALLY_BASE_URL"]:
        region, subdomain = values["VITALLY_REGION"], values["VITALLY_SUBDOMAIN"]
        is_told = subdomain or region == "eu"
        values["VITALLY_BASE_URL"] = HOSTS[region].format(subdomain) if is_told else ""
        # A wrong subdomain or URL has already been reported.
        tried = environ.get("VITALLY_SUBDOMAIN") or environ.get("VITALLY_BASE_URL")
        if not (is_told or tried or "VITALLY_API_KEY" in without):
            problems.append(NO_SUBDOMAIN)
    if values["VITALLY_REGION"] == "us" and values["VITALLY_SUBDOMAIN"]:
        derived = ANALYTICS_HOST.format(values["VITALLY_SUBDOMAIN"])
        values["VITALLY_ANALYTICS_URL"] = values["VITALLY_ANALYTICS_URL"] or derived
    return values, problems


HOSTS = {"us": "https://{}.rest.vitally.io", "eu": "https://rest.vitally-eu.io"}
"""https://docs.vitally.io/en/articles/9880654-rest-api-accounts"""

ANALYTICS_HOST = "https://{}.api.vitally.io"
"""https://docs.vitally.io/en/articles/9874151; that of the EU region is not published."""

NO_SUBDOMAIN = (
    "VITALLY_SUBDOMAIN is required in the us region (the name before .vitally.io)"
)
