"""Stripe: its settings, and how a delivery is authenticated and split.

`events.toml` lists the events that are read.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any

from marshmallow import ValidationError, post_load, validates
from orjson import dumps

from bridge import config
from bridge.config import Lines, Table, some
from bridge.domain.account import MEMBER_OF
from bridge.domain.forecast import BESIDE
from bridge.domain.traits import TABLE
from bridge.errors import PayloadError
from bridge.settings import (
    base_url,
    boolean,
    declared,
    one_of,
    only,
    several,
    text,
    variable,
)
from bridge.sources.crm import trait_lines
from bridge.sources.stripe.api import connect, wrong_mode
from bridge.sources.stripe.connected import qualified
from bridge.sources.stripe.endpoint import set_up
from bridge.sources.stripe.facts import (
    ACCOUNT,
    EVENTS,
    HANDLERS,
    OPTIONAL,
    ORGANIZATION,
    TRAITS,
    needed_events,
)
from bridge.sources.stripe.snapshot import OF, Place
from bridge.webhook import auth
from bridge.webhook.auth import weaknesses
from bridge.webhook.fields import UNREAD, UnixTime
from bridge.webhook.source import (
    Delivery,
    Event,
    Options,
    Source,
    Verified,
    is_name,
    json_object,
    read_by,
)
from bridge.webhook.values import kept, milliseconds

THIN_OBJECT = "v2.core.event"
"""The `object` of an event that does not contain the changed object."""

CREATED = UnixTime()

PAGES = {
    "live": "https://dashboard.stripe.com/subscriptions/{}",
    "test": "https://dashboard.stripe.com/test/subscriptions/{}",
}
"""`STRIPE_MODE` -> the page of a subscription in Stripe's dashboard."""

METADATA = re.compile(rb'"metadata": \{[^}]*\}')

PLACE = (
    r"customer\.id|checkout\.client_reference_id|"
    r"(?:customer|subscription|checkout)\.metadata\.(?s:.+)"
)
TRAIT = re.compile(r"(?:customer|subscription|price|product)\.metadata\.(?s:.+)")

MUST_BE = (
    "must be one of customer.id, customer.metadata.KEY, subscription.metadata.KEY, "
    "checkout.client_reference_id, checkout.metadata.KEY"
)

UNLISTED = "events of connected accounts are not in its list, and not compared"

PLACES = "must be a list of places"
ON_CUSTOMER = r"customer\.id|customer\.metadata\.(?s:.+)"
MUST_BE_ON = "must be one of customer.id, customer.metadata.KEY"

VARIABLE = "STRIPE_WEBHOOK_SECRET"


class Variables:
    """Stripe's environment variables."""

    STRIPE_WEBHOOK_SECRET = variable(
        only("the signing secret of a webhook", several), secret=True
    )
    """Signing secret of the endpoint (`whsec_…`); one or several, comma-separated.
    Unset: the source is off."""
    STRIPE_MODE = variable(one_of("live", "test"), "live")
    """`live` or `test`; events of the other mode are ignored."""
    STRIPE_ACCOUNT_ID_KEY = variable(text, shown="the customer id is the external id")
    """Metadata key, on the customer or the subscription, that holds the Vitally external
    id."""
    STRIPE_API_KEY = variable(only("an API key of Stripe", text), secret=True)
    """Restricted, read-only key, to read what events do not contain, and for backfill."""
    STRIPE_CONNECT = variable(boolean, False)
    """`true`: also take events of connected accounts; their customers are
    `stripe:acct_…/cus_…`."""
    STRIPE_API_BASE = variable(base_url, shown="Stripe's own")
    """Replaces `https://api.stripe.com`, e.g. `http://127.0.0.1:12111`."""


class TableLines(Lines):
    """`[sources.stripe]`: the places that name the account, the strongest first.

    And those of its organization.
    """

    account = some(config.text(PLACE, MUST_BE), PLACES)
    organization = some(config.text(ON_CUSTOMER, MUST_BE_ON), PLACES)
    heads = config.heads()
    traits = trait_lines("place", form=TRAIT)

    @post_load
    def table(self, lines: Any, **_: Any) -> Table:
        """Return the content of the table."""
        kind = OF[lines["heads"] == "organization"]
        account, of = (
            tuple(Place(*place.split(".", 2)) for place in lines.get(line, ()))
            for line in ("account", "organization")
        )
        of = tuple(place._replace(kind=kind) for place in of)
        traits = lines["traits"]
        values = kept({ACCOUNT: account, ORGANIZATION: of, TRAITS: traits})
        subs = [n for n, one in traits.items() if not one.field.startswith("customer.")]
        return Table(values, [*traits, *([MEMBER_OF] if of else [])], computed=subs)

    @validates("traits")
    def are_its_own(self, traits: Any, **_: Any) -> None:
        """Raise ValidationError for a name that the bridge itself gives a meaning."""
        if taken := sorted({*TABLE, *BESIDE} & traits.keys()):
            raise ValidationError(dict.fromkeys(taken, "is a name of the bridge's own"))


def verify(delivery: Delivery, options: Options, now: float) -> Verified:
    """Check `Stripe-Signature`; *now* in seconds. Raises SignatureError."""
    return auth.verify(auth.STRIPE, delivery, options[VARIABLE] or (), now)


def split(delivery: Verified) -> tuple[Event]:
    """Return the delivery's one event. Raises PayloadError if there is none."""
    body = json_object(delivery.body)
    id_, kind = body.get("id"), body.get("type")
    if not is_name(id_):
        raise PayloadError("the body has no id, so it is no event")
    is_thin, data = body.get("object") == THIN_OBJECT, body.get("data")
    # Without `object` it may still be an event that contains an object.
    usual = "event" if isinstance(data, dict) and "object" in data else None
    if not is_thin and body.get("object", usual) != "event":
        raise PayloadError("the body is not an event", id_)
    if not is_name(kind):
        raise PayloadError("the event has no type", id_)
    created, at = body.get("created"), UNREAD
    with suppress(ValueError):
        if not is_thin:
            at = CREATED.read(created)
        elif isinstance(created, str) and not created.isdigit():
            at = milliseconds(created)
    if at is UNREAD or at < 0:
        raise PayloadError("the event has no created time", id_)
    account = body.get("account")
    body = qualified(account, body) if is_name(account) else body
    return (Event(id_, kind, at, body),)


def ignores(event: Event, options: Options) -> str | None:
    """Return why *event* is not for this bridge, or None."""
    mode, live = options["STRIPE_MODE"], event.body.get("livemode")
    if live is not None and bool(live) != (mode == "live"):
        return f"an event of the other mode; STRIPE_MODE is {mode}"
    connect = options.get("STRIPE_CONNECT")
    if connect and event.body.get("context") and "data" not in event.body:
        return "a thin event of a connected account; only snapshots of these are read"
    if event.body.get("account") and not connect:
        return "an event of a connected account; only your own account is read"
    return None


def fitted(body: bytes, options: Options) -> bytes:
    """Give a recorded event the mode of the settings, and the account's key."""
    live, key = options["STRIPE_MODE"] == "live", options["STRIPE_ACCOUNT_ID_KEY"]
    body = body.replace(b'"livemode": true', b'"livemode": ' + dumps(live))
    if key:
        named = b'"metadata": ' + dumps({key: "birch-101"})
        body = METADATA.sub(lambda _: named, body)
    return body


SOURCE = Source(
    name="stripe",
    title="Stripe",
    options=declared(Variables),
    enabled=lambda options: bool(options[VARIABLE]),
    verify=verify,
    split=split,
    ignores=ignores,
    handlers=HANDLERS,
    optional=OPTIONAL,
    without_effect=EVENTS["without_effect"],
    api=connect,
    archive=connect,
    keeps_days=30,  # https://docs.stripe.com/api/events
    key="STRIPE_API_KEY",
    link=lambda options: PAGES[options["STRIPE_MODE"]],
    table=read_by(TableLines()),
    weak=lambda options: weaknesses(VARIABLE, options[VARIABLE]),
    lacks=lambda options: filter(None, [wrong_mode(options)]),
    proof=lambda options: (auth.STRIPE, options[VARIABLE] or ()),
    fitted=fitted,
    unlisted=lambda options: UNLISTED if options.get("STRIPE_CONNECT") else "",
    events=needed_events,
    set_up=set_up,
)
