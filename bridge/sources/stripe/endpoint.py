"""Stripe's webhook endpoints: lists, creates and updates them, and so sets ours up.

https://docs.stripe.com/api/webhook_endpoints. A Connect endpoint sends the events of the
connected accounts, any other the events of one's own account; none sends both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import quote

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
"""Metadata key of the Connect endpoints that were created here. Stripe takes `connect` but
never shows it, and shows an `application` only for some of them."""


KEY = "STRIPE_SETUP_KEY"
"""Name of the key that only the set-up uses, for errors; it is no setting of the bridge."""


class Shown(Payload):
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
    is_connect: bool
    secret: str | None = None
    is_live: bool | None = None

    def missing(self, needed: Sequence[str]) -> list[str]:
        """Those of the *needed* events that it does not send."""
        return [kind for kind in needed if not {kind, ALL} & {*self.events}]


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
    form = [("url", url), ("api_version", VERSION), *_listed(events)]
    if connect:
        form += [("connect", "true"), (f"metadata[{CONNECT}]", "true")]
    return _sent(http, LIST, form)


def update(http: HttpApi, id_: str, events: Sequence[str], *, enable: bool) -> Endpoint:
    """Let an endpoint send exactly these *events*. Raises SourceError."""
    more = [("disabled", "false")] if enable else []
    return _sent(http, f"{LIST}/{quote(id_, safe='')}", [*_listed(events), *more])


def _listed(events: Sequence[str]) -> list[tuple[str, str]]:
    return [("enabled_events[]", kind) for kind in events]


def _sent(http: HttpApi, path: str, form: list[tuple[str, str]]) -> Endpoint:
    return _read(http.post(path, fields=form, encode_multipart=False).body)


def _read(raw: Json) -> Endpoint:
    shown: Any = understood(Shown().load, raw, LIST)
    return Endpoint(
        id=shown["id"],
        url=shown["url"],
        events=shown["enabled_events"],
        is_enabled=shown["status"] == "enabled",
        is_connect=bool(shown["application"] or CONNECT in (shown["metadata"] or {})),
        secret=shown["secret"],
        is_live=shown["livemode"],
    )


def set_up(
    options: Options,
    url: str,
    enable: bool,
    only_look: bool,
) -> Iterator[SetUp]:
    """See `Source.set_up`; the key is KEY's in the *options*, else STRIPE_API_KEY's."""
    name = KEY if options.get(KEY) else "STRIPE_API_KEY"
    http = http_of(options, name, does="change", judge=_judge)
    if http is None:
        raise ConfigError(
            [f"{KEY} is required: a key that may write webhook endpoints"]
        )
    needed = needed_events(options)
    ours = [one for one in endpoints(http) if one.url.rstrip("/") == url]
    for connect in (False, True) if options["STRIPE_CONNECT"] else (False,):
        whom = "the connected accounts" if connect else "your own account"
        known = [one for one in ours if one.is_connect == connect]
        now = _planned(known, needed, whom, enable=enable)
        if now.did == "created" and not only_look:
            made = create(http, url, needed, connect=connect)
            now = now._replace(id=made.id, secret=made.secret)
        elif now.did == "changed" and not only_look:
            update(http, now.id, needed, enable=enable)
        yield now


def _planned(
    known: Sequence[Endpoint], needed: Sequence[str], whom: str, *, enable: bool
) -> SetUp:
    """What makes one of the *known* endpoints send what is *needed*, and only that."""
    if not known:
        return SetUp("created", "", whom, needed)
    one, *others = sorted(known, key=lambda known: not known.is_enabled)
    left = []
    if is_off := not (one.is_enabled or enable):
        left.append(f"{one.id} is disabled and sends nothing: --enable enables it")
    twice = "has the same URL, so each event comes twice: delete one of them"
    left += [f"{two.id} {twice}" for two in others if two.is_enabled]
    is_right = set(one.events) == set(needed) and (one.is_enabled or is_off)
    removed = [kind for kind in one.events if kind not in needed]
    did = "unchanged" if is_right else "changed"
    return SetUp(did, one.id, whom, one.missing(needed), removed, left=left)


def _judge(status: int, body: bytes) -> SourceError | None:
    """What Stripe has against an endpoint, in its own words: they quote only what we sent."""
    if status != HTTPStatus.BAD_REQUEST:
        return None
    with suppress(PayloadError, LookupError, TypeError):
        return SourceError(f"Stripe: {cleaned(json_object(body)['error']['message'])}")
    return None
