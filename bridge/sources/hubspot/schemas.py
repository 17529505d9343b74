"""What is read of HubSpot's events, and of the replies of its API."""

from __future__ import annotations

from marshmallow import fields

from bridge.webhook.fields import Id, Label, Text, Whole
from bridge.webhook.schemas import Payload

VALUE = Text(1 << 16, allow_none=True)
"""A property's value is always a text, as long as HubSpot allows; None: cleared."""


class Record(Payload):
    """An event about one record: https://developers.hubspot.com/docs/api-reference/webhooks-webhooks-v3/guide."""

    object_id = Whole(required=True, data_key="objectId")


class Change(Record):
    """A property got another value."""

    name = Text(255, required=True, data_key="propertyName")
    value = Text(1 << 16, data_key="propertyValue")


class Merge(Payload):
    """Records became one: the primary one, or a new one."""

    primary = Whole(required=True, data_key="primaryObjectId")
    merged = fields.List(Whole(), required=True, data_key="mergedObjectIds")
    new = Whole(data_key="newObjectId")


class Association(Payload):
    """Two records were bound together, or are not any more."""

    from_id = Whole(required=True, data_key="fromObjectId")
    to_id = Whole(required=True, data_key="toObjectId")


class Link(Payload):
    """One association; `deal_to_company` is that of a deal's primary company."""

    id = Id(required=True)
    type = Text(255, required=True)


class Links(Payload):
    """Associations with one kind of record; *paging*: there are more."""

    results = fields.List(fields.Nested(Link), required=True)
    paging = fields.Raw()


class Associations(Payload):
    """What a company or a deal is associated with, where that was asked for."""

    deals = fields.Nested(Links)
    companies = fields.Nested(Links)


class Found(Payload):
    """A record: https://developers.hubspot.com/docs/api-reference/crm-companies-v3/guide."""

    id = Id(required=True)
    properties = fields.Dict(values=VALUE, required=True)
    archived = fields.Boolean()
    associations = fields.Nested(Associations)


class Batch(Payload):
    """Records that were asked for together."""

    results = fields.List(fields.Nested(Found), required=True)


class End(Payload):
    """The other end of an association."""

    id = Whole(required=True, data_key="toObjectId")


class Ends(Payload):
    """All that one record is associated with."""

    origin = fields.Nested(Link, only=["id"], required=True, data_key="from")
    ends = fields.List(fields.Nested(End), required=True, data_key="to")


class Every(Payload):
    """The same of several records."""

    results = fields.List(fields.Nested(Ends), required=True)


class User(Payload):
    """A user of HubSpot: https://developers.hubspot.com/docs/api-reference/crm-crm-owners-v3/guide."""

    first = Label(data_key="firstName")
    last = Label(data_key="lastName")
    email = Label()


RECORD, CHANGE, MERGE, ASSOCIATION = Record(), Change(), Merge(), Association()
FOUND, BATCH, LINKS, USER = Found(), Batch(), Every(), User()
