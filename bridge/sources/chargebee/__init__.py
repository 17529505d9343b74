"""Chargebee: its settings, and how a webhook is authenticated and split.

A deleted resource never comes back; a cancelled one may. `events.toml` lists the events
that are read.
"""

from __future__ import annotations

from typing import Any

from marshmallow import post_load

from bridge.config import Lines, Table
from bridge.config import text as line
from bridge.domain.account import MEMBER_OF
from bridge.errors import PayloadError
from bridge.settings import base_url, declared, only, subdomain, text, variable
from bridge.sources.chargebee.api import BASE, BOTH, KEY, SITE, connect
from bridge.sources.chargebee.facts import EVENTS, HANDLERS, PAYMENT_HANDLERS
from bridge.webhook import auth
from bridge.webhook.fields import LATEST
from bridge.webhook.source import (
    Delivery,
    Event,
    Options,
    Source,
    Verified,
    is_name,
    json_object,
    pays,
    read_by,
)

USERNAME, PASSWORD = "CHARGEBEE_WEBHOOK_USERNAME", "CHARGEBEE_WEBHOOK_PASSWORD"


class Variables:
    """Chargebee's environment variables."""

    CHARGEBEE_WEBHOOK_USERNAME = variable(text)
    """User for the webhook's basic authentication. Without user and password the source is
    off."""
    CHARGEBEE_WEBHOOK_PASSWORD = variable(text, secret=True)
    """Password for the webhook's basic authentication."""
    CHARGEBEE_API_KEY = variable(only("an API key of Chargebee", text), secret=True)
    """Read-only key of Chargebee's API, to read customers whose first events were missed,
    and for backfill."""
    CHARGEBEE_SITE = variable(subdomain)
    """The site that the key belongs to: `acme` for `https://acme.chargebee.com`."""
    CHARGEBEE_API_BASE = variable(base_url, shown="Chargebee's own")
    """Replaces `https://CHARGEBEE_SITE.chargebee.com`, e.g. `http://127.0.0.1:12111`."""


FIELD = r"(cf_|meta_data\.).*", "must be cf_… (a custom field) or meta_data.KEY"


class TableLines(Lines):
    """`[sources.chargebee]`: `account = "cf_vitally_id"` or `"meta_data.KEY"`.

    So also `organization`, on the customer.
    """

    account = line(*FIELD)
    organization = line(*FIELD)

    @post_load
    def table(self, lines: Any, **_: Any) -> Table:
        """Return the content of the table."""
        values = {f"chargebee.{name}": place for name, place in lines.items()}
        return Table(values, (MEMBER_OF,) if "organization" in lines else ())


def verify(delivery: Delivery, options: Options, now: float) -> Verified:
    """Check HTTP Basic. Raises SignatureError."""
    return auth.verify(auth.BASIC, delivery, [_pair(options)], now)


def _pair(options: Options) -> str:
    return f"{options[USERNAME] or ''}:{options[PASSWORD] or ''}"


def split(delivery: Verified) -> tuple[Event]:
    """Return the delivery's one event. Raises PayloadError if there is none."""
    body = json_object(delivery.body)
    id_, kind, at = (body.get(k) for k in ("id", "event_type", "occurred_at"))
    if not is_name(id_):
        raise PayloadError("the body has no id, so it is not an event")
    if not is_name(kind):
        raise PayloadError("the event has no event_type", id_)
    if type(at) is not int or not 0 <= at <= LATEST:
        raise PayloadError("the event has no occurred_at", id_)
    return (Event(id_, kind, at * 1000, body),)


def lacks(options: Options) -> list[str]:
    """Return what is missing to read the API, if anything of it is set."""
    is_half = bool(options[KEY]) != bool(options[SITE] or options[BASE])
    return [BOTH] if is_half else []


SOURCE = Source(
    name="chargebee",
    title="Chargebee",
    options=declared(Variables),
    enabled=lambda options: bool(options[USERNAME] or options[PASSWORD]),
    verify=verify,
    split=split,
    handlers=HANDLERS,
    optional={pays: PAYMENT_HANDLERS},
    events=lambda own: [*HANDLERS, *(PAYMENT_HANDLERS if pays(own) else ())],
    without_effect=EVENTS["without_effect"],
    api=connect,
    archive=connect,
    key=KEY,
    table=read_by(TableLines()),
    weak=lambda options: auth.weaknesses_of_pair(USERNAME, PASSWORD, options),
    lacks=lacks,
    proof=lambda options: (auth.BASIC, [_pair(options)]),
)
