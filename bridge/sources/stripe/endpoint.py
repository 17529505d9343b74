"""Stripe's webhook endpoints: lists, creates and updates them.

https://docs.stripe.com/api/webhook_endpoints. A Connect endpoint sends the events of the
connected accounts, any other the events of one's own account; none sends both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from marshmallow import fields

from bridge.sources.http import HttpApi, Json, understood
from bridge.sources.stripe.api import MOST, VERSION
from bridge.sources.stripe.schemas import PAGE
from bridge.webhook.fields import Payload, Text

LIST = "webhook_endpoints"

ALL = "*"
"""Stands for all events in the list of an endpoint."""

CONNECT = "vitally_bridge_connect"
"""Metadata key of the Connect endpoints that were created here. Stripe takes `connect` but
never shows it, and shows an `application` only for some of them."""


class Shown(Payload):
    """What is read of an endpoint."""

    id = Text(required=True)
    url = Text(required=True)
    enabled_events = fields.List(fields.String(), required=True)
    status = Text(required=True)
    application = api_version = secret = Text()
    metadata = fields.Dict()


class Endpoint(NamedTuple):
    """A webhook endpoint; Stripe tells its *secret* only in the answer to its creation."""

    id: str
    url: str
    events: Sequence[str]
    version: str | None
    is_enabled: bool
    is_connect: bool
    secret: str | None = None

    def missing(self, needed: Sequence[str]) -> list[str]:
        """Those of the *needed* events that it does not send."""
        return [kind for kind in needed if not {kind, ALL} & {*self.events}]


def endpoints(http: HttpApi) -> Iterator[Endpoint]:
    """Yield all endpoints of the key's account and mode. Raises SourceError."""
    after: dict[str, str] | None = {}
    while after is not None:
        reply = http.get(LIST, query={"limit": MOST, **after})
        page = understood(PAGE.load, reply.body if reply else {}, LIST)
        yield from map(_read, page["data"])
        after = {"starting_after": page["data"][-1]["id"]} if page["has_more"] else None


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
        version=shown["api_version"],
        is_enabled=shown["status"] == "enabled",
        is_connect=bool(shown["application"] or CONNECT in (shown["metadata"] or {})),
        secret=shown["secret"],
    )
