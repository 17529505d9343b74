"""What is read of HubSpot's events and of the replies of its API."""

from __future__ import annotations

from marshmallow import fields

from bridge.webhook.fields import Id, Text, Whole
from bridge.webhook.schemas import Payload


class Record(Payload):
    """An event about one record: https://developers.hubspot.com/docs/api-reference/webhooks-webhooks-v3/guide."""

    object_id = Whole(required=True, data_key="objectId")


class Change(Record):
    """A property that was changed; a value is always a text, empty where cleared."""

    name = Text(255, required=True, data_key="propertyName")
    value = Text(1 << 16, load_default=None, data_key="propertyValue")


class Merge(Payload):
    """Records that became one: the primary one, or a new one."""

    primary = Whole(required=True, data_key="primaryObjectId")
    merged = fields.List(Whole(), required=True, data_key="mergedObjectIds")
    new = Whole(load_default=None, data_key="newObjectId")


class Association(Payload):
    """Two records that were bound together, or are no longer."""

    from_id = Whole(required=True, data_key="fromObjectId")
    to_id = Whole(required=True, data_key="toObjectId")


class Linked(Payload):
    """One association in a reply: `deal_to_company` is the primary company's."""

    id = Id(required=True)
    type = Text(255, required=True)


class Links(Payload):
    """Associations of one kind; *paging*: there are more."""

    results = fields.List(fields.Nested(Linked), required=True)
    paging = fields.Raw(load_default=None)


class Associations(Payload):
    """What a reply lists of a company's deals, or of a deal's companies."""

    deals = fields.Nested(Links, load_default=None)
    companies = fields.Nested(Links, load_default=None)


class Found(Payload):
    """A record: https://developers.hubspot.com/docs/api-reference/crm-companies-v3/guide."""

    id = Id(required=True)
    properties = fields.Dict(required=True)
    archived = fields.Boolean(load_default=None)
    associations = fields.Nested(Associations, load_default=None)


class Batch(Payload):
    """Records that were asked for together."""

    results = fields.List(fields.Nested(Found), required=True)


RECORD, CHANGE, MERGE, ASSOCIATION = Record(), Change(), Merge(), Association()
FOUND, BATCH = Found(), Batch()
