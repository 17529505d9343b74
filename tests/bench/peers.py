"""What the ingress is compared with: an empty Flask view, and the textbook's way.

`python -m tests.bench.peers` serves the empty view on the bridge's own server and with
its settings; the textbook app is for `gunicorn tests.bench.peers:textbook()`.
"""

from __future__ import annotations

import hmac
import os
import sys
import time
from typing import Any

from flask import Flask, request
from marshmallow import EXCLUDE, Schema, ValidationError, fields
from redis import Redis
from rq import Queue

from bridge import serve
from bridge.sources import load
from bridge.web.front import Front

KEPT = 3 * 86_400
"""Seconds that the textbook remembers an event: as long as Stripe tries."""


def empty(_parent: int) -> Any:
    """A Flask app whose one view does nothing, behind the bridge's own front."""
    app = Flask(__name__)
    app.add_url_rule("/webhooks/stripe", view_func=lambda: ("", 202), methods=["POST"])
    return Front(app, {"stripe"})


class Lenient(Schema):
    """Stripe adds keys at will."""

    class Meta:
        unknown = EXCLUDE


class RecurringSchema(Lenient):
    interval = fields.String(required=True)
    interval_count = fields.Integer(required=True)
    usage_type = fields.String(required=True)


class PriceSchema(Lenient):
    id = fields.String(required=True)
    active = fields.Boolean()
    billing_scheme = fields.String()
    currency = fields.String(required=True)
    lookup_key = fields.String(allow_none=True)
    metadata = fields.Dict()
    nickname = fields.String(allow_none=True)
    product = fields.String()
    recurring = fields.Nested(RecurringSchema, allow_none=True)
    tax_behavior = fields.String()
    type = fields.String()
    unit_amount = fields.Integer(allow_none=True)
    unit_amount_decimal = fields.String(allow_none=True)


class ItemSchema(Lenient):
    id = fields.String(required=True)
    created = fields.Integer()
    discounts = fields.List(fields.String())
    metadata = fields.Dict()
    price = fields.Nested(PriceSchema, required=True)
    quantity = fields.Integer()
    subscription = fields.String()
    tax_rates = fields.List(fields.Dict())


class ItemsSchema(Lenient):
    data = fields.List(fields.Nested(ItemSchema), required=True)
    has_more = fields.Boolean()


class SubscriptionSchema(Lenient):
    id = fields.String(required=True)
    cancel_at = fields.Integer(allow_none=True)
    cancel_at_period_end = fields.Boolean()
    canceled_at = fields.Integer(allow_none=True)
    collection_method = fields.String()
    created = fields.Integer()
    currency = fields.String(required=True)
    current_period_end = fields.Integer()
    current_period_start = fields.Integer()
    customer = fields.String(required=True)
    default_tax_rates = fields.List(fields.Dict())
    discounts = fields.List(fields.String())
    ended_at = fields.Integer(allow_none=True)
    items = fields.Nested(ItemsSchema, required=True)
    latest_invoice = fields.String(allow_none=True)
    metadata = fields.Dict()
    pause_collection = fields.Dict(allow_none=True)
    quantity = fields.Integer()
    start_date = fields.Integer()
    status = fields.String(required=True)
    trial_end = fields.Integer(allow_none=True)
    trial_start = fields.Integer(allow_none=True)


class DataSchema(Lenient):
    object = fields.Nested(SubscriptionSchema, required=True)
    previous_attributes = fields.Dict()


class EventSchema(Lenient):
    """All of an event that the job could want."""

    id = fields.String(required=True)
    api_version = fields.String()
    created = fields.Integer(required=True)
    data = fields.Nested(DataSchema, required=True)
    livemode = fields.Boolean()
    pending_webhooks = fields.Integer()
    type = fields.String(required=True)


def is_signed(secret: str) -> bool:
    """Check the request as Stripe's manual says to do it by hand."""
    parts = request.headers["Stripe-Signature"].split(",")
    pairs = dict(part.split("=", 1) for part in parts)
    message = pairs["t"].encode() + b"." + request.get_data()
    expected = hmac.new(secret.encode(), message, "sha256").hexdigest()
    is_fresh = abs(time.time() - int(pairs["t"])) < 300
    return is_fresh and hmac.compare_digest(expected, pairs["v1"])


def textbook() -> Flask:
    """The app that the manuals of Flask, marshmallow and RQ add up to.

    `/webhooks/stripe` makes its schema for each request, `/once` has made it before.
    Only subscriptions are of concern; all else is answered as soon as it is read.
    """
    app = Flask(__name__)
    redis = Redis.from_url(os.environ["REDIS_URL"])
    queue = Queue("textbook", connection=redis)
    secret = os.environ["STRIPE_WEBHOOK_SECRET"]
    made = EventSchema()

    def take(schema: Schema | None) -> tuple[str, int]:
        if not is_signed(secret):
            return "", 401
        told = request.get_json()
        if not told["type"].startswith("customer.subscription."):
            return "", 202
        try:
            event = (schema or EventSchema()).load(told)
        except ValidationError:
            return "", 400
        if redis.set(f"seen:{request.path}:{event['id']}", 1, nx=True, ex=KEPT):
            queue.enqueue("tests.bench.peers.work", event)
        return "", 202

    for path, schema in (("/webhooks/stripe", None), ("/once", made)):
        app.add_url_rule(path, path, lambda s=schema: take(s), methods=["POST"])
    return app


if __name__ == "__main__":
    serve.application = empty
    sys.exit(serve.serve(load(os.environ)[0]))
