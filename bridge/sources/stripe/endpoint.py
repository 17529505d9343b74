"""Stripe's webhook endpoints: lists, creates and updates them, and so sets ours up.

https://docs.stripe.com/api/webhook_endpoints. A Connect endpoint sends the events of the
connected accounts, any other the events of one's own account; none sends both. Which it
is, Stripe shows only of some: those that were created here are marked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import SplitResult, quote, urlsplit

from marshmallow import fields

from bridge.errors import ConfigError, PayloadError, SourceError
from bridge.sources.http import HttpApi, Json, understood
from bridge.sources.stripe.api import VERSION, every, http_of
from bridge.sources.stripe.facts import needed_events
from bridge.webhook.fields import Payload, Text, cleaned
from bridge.webhook.source import Options, SetUp, json_object

LIST = "webhook_endpoints"

ALL = "*"
"""Stands for all events in the list of an endpoint."""

CONNECT = "vitally_bridge_connect"
"""Metadata key of endpoints: `true` or `false`. Stripe takes `connect` but never shows it,
and shows an `application` only for some Connect endpoints."""

OWN, CONNECTED = "your own account", "the connected accounts"
UNCLEAR = "either your own account or the connected ones"
"""Whose events an endpoint sends."""

UNKNOWN = (
    "Stripe does not show whether {} sends events of your own account or of connected "
    "accounts (its own page does: Events from), so nothing was changed: name that of the "
    "connected accounts with --connect-endpoint ID, or say `none`"
)
EXTRA = "also sends what this bridge.toml does not need; --prune takes it off"
TWICE = "sends the same to the same URL, so it comes twice, unless one is for Connect"

KEY = "STRIPE_SETUP_KEY"
"""Name of the key that only the set-up uses, for errors; it is no setting of the bridge."""


class EndpointFields(Payload):
    """What is read of an endpoint."""

    id = url = status = Text(required=True)
    enabled_events = fields.List(fields.String(), required=True)
    application = secret = Text()
    livemode = fields.Boolean(load_default=None)
    metadata = fields.Dict()


class Endpoint(NamedTuple):
    """A webhook endpoint; Stripe tells its *secret* only in the answer to its creation."""

    id: str
    url: str
    events: Sequence[str]
    is_enabled: bool
    is_connect: bool | None
    """None: Stripe does not show it."""
    secret: str | None = None
    is_live: bool | None = None


def normalized(url: str) -> SplitResult:
    """The *url* in one form of all that mean the same; one that is none, as a path."""
    with suppress(ValueError):
        parts = urlsplit(url)
        port = parts.port or {"https": 443, "http": 80}.get(parts.scheme)
        where = f"{parts.hostname}:{port}"
        return parts._replace(netloc=where, path=parts.path.rstrip("/"))
    return SplitResult("", "", url, "", "")


Senders = Mapping[str, Sequence[Endpoint]]
"""Whose events (OWN, CONNECTED, UNCLEAR) -> the endpoints that send them to one place."""


def senders(known: Sequence[Endpoint], options: Options) -> Senders:
    """The endpoints of one place, by whose events they send.

    With `STRIPE_CONNECT`, those that do not show it are UNCLEAR, unless another one is
    known to send those of the connected accounts.
    """
    connected = [one for one in known if one.is_connect]
    own = [one for one in known if not one.is_connect]
    if not options.get("STRIPE_CONNECT"):
        return {OWN: own}
    is_shown = connected or all(one.is_connect is not None for one in own)
    return {OWN: own, CONNECTED: connected} if is_shown else {UNCLEAR: own}


def missing(
    known: Iterable[Endpoint], needed: Sequence[str], times: int = 1
) -> list[str]:
    """Those of the *needed* events that fewer enabled endpoints than *times* send."""
    on = [{*one.events} for one in known if one.is_enabled]
    return [kind for kind in needed if sum(bool({kind, ALL} & e) for e in on) < times]


def endpoints(http: HttpApi) -> Iterator[Endpoint]:
    """All endpoints of the key's account and mode. Raises SourceError."""
    return map(_read, every(http, LIST, {}))


def create(
    http: HttpApi, url: str, events: Sequence[str], *, connect: bool
) -> Endpoint:
    """Create an endpoint whose events have the version that our own requests have.

    Without a version its events would change their form on the day that somebody
    upgrades the account. Raises SourceError.
    """
    form = [("url", url), ("api_version", VERSION), _mark(connect=connect)]
    form += [("connect", "true")] * connect
    return _sent(http, LIST, form + _listed(events))


def update(http: HttpApi, id_: str, events: Sequence[str], *, enable: bool) -> Endpoint:
    """Let an endpoint send exactly these *events*. Raises SourceError."""
    form = _listed(events) + [("disabled", "false")] * enable
    return _sent(http, f"{LIST}/{quote(id_, safe='')}", form)


def mark(http: HttpApi, id_: str, *, connect: bool) -> Endpoint:
    """Note in Stripe whether it is a Connect endpoint. Raises SourceError."""
    return _sent(http, f"{LIST}/{quote(id_, safe='')}", [_mark(connect=connect)])


def _mark(*, connect: bool) -> tuple[str, str]:
    return f"metadata[{CONNECT}]", str(connect).lower()


def _listed(events: Sequence[str]) -> list[tuple[str, str]]:
    return [("enabled_events[]", kind) for kind in events]


def _sent(http: HttpApi, path: str, form: list[tuple[str, str]]) -> Endpoint:
    return _read(http.post(path, fields=form, encode_multipart=False).body)


def _read(raw: Json) -> Endpoint:
    shown: Any = understood(EndpointFields().load, raw, LIST)
    told = (shown["metadata"] or {}).get(CONNECT, "")
    mark = {"true": True, "false": False}.get(told)
    return Endpoint(
        id=shown["id"],
        url=shown["url"],
        events=shown["enabled_events"],
        is_enabled=shown["status"] == "enabled",
        is_connect=True if shown["application"] else mark,
        secret=shown["secret"],
        is_live=shown["livemode"],
    )


def set_up(  # noqa: PLR0913 - the options of the command
    options: Options,
    url: str,
    *,
    enable: bool,
    prune: bool,
    dry_run: bool,
    connect_endpoint: str | None,
) -> Iterator[SetUp]:
    """See `Source.set_up`; the key is KEY's in the *options*, else STRIPE_API_KEY's."""
    name = KEY if options.get(KEY) else "STRIPE_API_KEY"
    http = http_of(options, name, does="change", judge=_judge)
    if http is None:
        reason = f"{KEY} is required: a key that may write webhook endpoints"
        raise ConfigError([reason])
    needed = needed_events(options)
    here = [one for one in endpoints(http) if normalized(one.url) == normalized(url)]
    if connect_endpoint:
        here = _named(http, here, connect_endpoint, dry_run=dry_run)
    for whom, known in senders(here, options).items():
        if whom == UNCLEAR:
            unknown = ", ".join(one.id for one in known if one.is_connect is None)
            raise SourceError(UNKNOWN.format(unknown))
        now, events = _planned(known, needed, whom, enable=enable, prune=prune)
        if now.did == "created" and not dry_run:
            made = create(http, url, events, connect=whom == CONNECTED)
            now = now._replace(id=made.id, secret=made.secret)
        elif now.did == "changed" and not dry_run:
            update(http, now.id, events, enable=enable)
        yield now


def _named(
    http: HttpApi, here: Sequence[Endpoint], id_: str, *, dry_run: bool
) -> list[Endpoint]:
    """Our endpoints, of which that of this *id_* is marked as the Connect endpoint."""
    if id_ not in {"none", *(one.id for one in here)}:
        raise SourceError(f"{id_}: Stripe has no such endpoint at this address")
    return [
        one._replace(is_connect=one.id == id_)
        if dry_run or one.is_connect == (one.id == id_)
        else mark(http, one.id, connect=one.id == id_)
        for one in here
    ]


def _planned(
    known: Sequence[Endpoint],
    needed: Sequence[str],
    whom: str,
    *,
    enable: bool,
    prune: bool,
) -> tuple[SetUp, Sequence[str]]:
    """What makes the *known* endpoints send what is *needed*; and what one has to send."""
    if not known:
        return SetUp("created", "", whom, needed), needed
    one, *others = sorted(known, key=lambda known: not known.is_enabled)
    left, notes = [], []
    if not (one.is_enabled or enable):
        left.append(f"{one.id} is disabled and sends nothing: --enable enables it")
    extra = [kind for kind in one.events if kind not in needed]
    kept = [kind for kind in one.events if not (prune and kind in extra)]
    then = one._replace(events=kept, is_enabled=True)
    added = missing([then, *others], needed)
    if extra and not prune:
        notes.append(f"{one.id} {EXTRA}: {', '.join(extra)}")
    twice = (two for two in others if missing([then, two], needed, times=2) != needed)
    notes += [f"{two.id} {TWICE}" for two in twice]
    is_changed = added or len(kept) < len(one.events) or (enable and not one.is_enabled)
    did, removed = "changed" if is_changed else "unchanged", extra if prune else []
    planned = SetUp(did, one.id, whom, added, removed, left=left, notes=notes)
    return planned, [*kept, *added]


def _judge(status: int, body: bytes) -> SourceError | None:
    """What Stripe has against an endpoint, in its own words: they quote only what we sent."""
    if status != HTTPStatus.BAD_REQUEST:
        return None
    with suppress(PayloadError, LookupError, TypeError):
        return SourceError(f"Stripe: {cleaned(json_object(body)['error']['message'])}")
    return None
