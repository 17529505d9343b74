"""Reads a company from HubSpot's API, as facts like those of its webhooks."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

from marshmallow import Schema, ValidationError, fields

from bridge import log
from bridge.domain.facts import Fact, Rank
from bridge.domain.values import REFRESHED, AnyValue, Customer, Subscription
from bridge.errors import SourceUnreadError
from bridge.sources import crm
from bridge.sources.crm import Deals, Fields, Rules, TraitMapping, won_deal
from bridge.sources.http import TIMEOUT, HttpApi, Reply, understood
from bridge.sources.hubspot.facts import (
    OWNER,
    PREFIX,
    company,
    of_company,
    of_deal,
    rules_of,
    shown,
    stripped,
)
from bridge.webhook.fields import UNREAD, Id, Label, Payload, Text, Whole
from bridge.webhook.source import Event, Options
from bridge.webhook.values import decimal, kept, milliseconds

LOG = logging.getLogger("bridge.hubspot")

MOST = 100
"""Most records of a batch."""

WAIT = 10.0
"""Seconds to wait after a 429 without `Retry-After`: the limit's window is ten seconds.

https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines
"""

FRESH = 3600.0
"""Most seconds for which the names of HubSpot's users are cached."""

RECORDS = "/crm/v3/objects"

VALUE = Text(1 << 16, allow_none=True)
"""A property's value is always a text, up to HubSpot's limit; None: cleared."""

# --- Replies --------------------------------------------------------------------


class Link(Payload):
    """One association; `deal_to_company` marks a deal's primary company."""

    id = Id(required=True)
    type = Text(255, required=True)


class Links(Payload):
    """Associations with one kind of record; *paging*: there are more."""

    results = fields.List(fields.Nested(Link), required=True)
    paging = fields.Raw()


class Associations(Payload):
    """The associations of a company or deal, if they were requested."""

    deals = fields.Nested(Links)
    companies = fields.Nested(Links)


class Record(Payload):
    """A company or a deal: https://developers.hubspot.com/docs/api-reference/crm-companies-v3/guide."""

    id = Id(required=True)
    properties = fields.Dict(values=VALUE, required=True)
    archived = fields.Boolean()
    associations = fields.Nested(Associations)


class End(Payload):
    """The other end of an association."""

    id = Whole(required=True, data_key="toObjectId")


class Ends(Payload):
    """All that one record is associated with."""

    origin = fields.Nested(Link, only=["id"], required=True, data_key="from")
    ends = fields.List(fields.Nested(End), required=True, data_key="to")


class User(Payload):
    """A user of HubSpot: https://developers.hubspot.com/docs/api-reference/crm-crm-owners-v3/guide."""

    first = Label(data_key="firstName")
    last = Label(data_key="lastName")
    email = Label()


# --- Requests -------------------------------------------------------------------


class HubspotApi:
    """Reads companies one by one, each in one to four requests."""

    def __init__(self, http: HttpApi, rules: Rules) -> None:
        self._http = http
        self._rules = rules
        self._user_of_hour = lru_cache(1000)(self._user)

    def party(self, party: str) -> list[Fact]:
        """See `SourceApi.party`; for a merged company, only what it was merged into."""
        asked = party.removeprefix(PREFIX)
        reply = self._one(
            Record(),
            f"{RECORDS}/companies/{{id}}",
            asked,
            properties=",".join(of_company(self._rules)),
            associations="deals" if self._rules.deals else "",
        )
        if reply is None:
            return []
        is_merged = reply.body["id"] != asked
        things: Iterable[tuple[str, AnyValue]] = self._company(reply)
        if is_merged:
            things = [self._merged(reply)]
        event = Event(f"read:{reply.at}", "read", reply.at, {})
        facts = [
            event.fact(party, thing, value, Rank.FROM_API, final=is_merged)
            for thing, value in things
        ]
        return [*facts, event.fact(party, REFRESHED, {}, Rank.FROM_API)]

    def owner(self, thing: str) -> str | None:
        """See `SourceApi.owner`: a deal's primary company, or the only one it has.

        HubSpot may still know the company of a deal that was deleted.
        """
        kind, _, id_ = thing.partition(":")
        if kind == "company":
            return PREFIX + id_
        path = f"{RECORDS}/deals/{{id}}"
        reply = self._one(Record(), path, id_, associations="companies")
        links = _links(reply, "companies") if reply else []
        primary = {link["id"] for link in links if link["type"] == "deal_to_company"}
        companies = primary or {link["id"] for link in links}
        return PREFIX + companies.pop() if len(companies) == 1 else None

    def probe(self) -> bool:
        """See `SourceApi.probe`."""
        kinds = ["companies", *(["deals"] if self._rules.deals else [])]
        return self._http.check_key(*(f"{RECORDS}/{kind}" for kind in kinds))

    def _one(self, schema: Schema, path: str, id_: str, **query: str) -> Reply | None:
        """One thing, even if it was deleted; None if there is none."""
        for more in ({}, {"archived": "true"}):
            reply = self._http.get(path, id_, kept({**query, **more}))
            if reply is not None:
                return reply._replace(body=_loaded(schema, reply))
        return None

    def _several(
        self, row: type[Schema], path: str, ids: list[str], **more: Any
    ) -> list[Any]:
        """Several things, with one request."""
        asked = {"inputs": [{"id": id_} for id_ in ids], **more}
        rows = fields.List(fields.Nested(row), required=True)
        schema = Payload.from_dict({"results": rows})()
        reply = self._http.post(f"{path}/batch/read", asked)
        return list(_loaded(schema, reply)["results"])

    def _merged(self, reply: Reply) -> tuple[str, Customer]:
        left = reply.body["id"]
        named = stripped(reply.body["properties"].get(self._rules.account))
        account = named or self._rules.own(left)
        gone = Customer(account=account, deleted=True, into=PREFIX + left)
        return "customer", kept(gone)

    def _company(self, reply: Reply) -> Iterator[tuple[str, AnyValue]]:
        """Yield everything about a company."""
        id_, properties = reply.body["id"], reply.body["properties"]
        is_gone = bool(reply.body["archived"])
        yield "customer", kept(Customer(account=self._rules.own(id_), deleted=is_gone))
        if is_gone:
            return

        def read(line: TraitMapping) -> Any:
            return self._trait(line, properties[line.field])

        yield from company(id_, properties, self._rules, read)
        if self._rules.deals:
            yield from self._deals(id_, reply, self._rules.deals)

    def _deals(
        self, company: str, reply: Reply, deals: Deals
    ) -> Iterator[tuple[str, Subscription]]:
        """Yield the won deals of a company."""
        links = _links(reply, "deals")
        sure = {link["id"] for link in links if link["type"] == "company_to_deal"}
        loose = {link["id"] for link in links} - sure
        ids = sorted(sure | self._alone(company, loose))
        for first in range(0, len(ids), MOST):
            asked, path = ids[first : first + MOST], f"{RECORDS}/deals"
            for deal in self._several(Record, path, asked, properties=of_deal(deals)):
                value = _won(deal["properties"], deals, reply.at)
                if value is not None:
                    yield f"subscription:deal-{deal['id']}", value

    def _alone(self, company: str, deals: Collection[str]) -> set[str]:
        """Of *deals* that do not call the company primary those that have no other."""
        path = "/crm/v4/associations/deals/companies"
        rows = self._several(Ends, path, sorted(deals)) if deals else []
        return {
            row["origin"]["id"]
            for row in rows
            if {str(end["id"]) for end in row["ends"]} == {company}
        }

    def _trait(self, line: TraitMapping, text: str | None) -> Any:
        """A trait from the API; UNREAD if its value cannot be read."""
        if line.kind == OWNER:
            hour = time.monotonic() // FRESH
            return self._user_of_hour(text, hour) if text else None
        try:
            return line.convert(text)
        except ValueError as error:
            left_out = log.fields(property=line.field, reason=f"it {error}")
            LOG.warning("left out", extra=left_out)
            return UNREAD

    def _user(self, id_: str, _hour: float) -> Any:
        """Name of a HubSpot user, deactivated or not; UNREAD if there is none."""
        reply = self._one(User(), "/crm/v3/owners/{id}", id_)
        if reply is None:
            return UNREAD
        whole = f"{reply.body['first'] or ''} {reply.body['last'] or ''}"
        return stripped(whole) or stripped(reply.body["email"])


def _loaded(schema: Schema, reply: Reply) -> Any:
    return understood(schema.load, reply.body, "HubSpot's reply")


def _won(properties: Fields, deals: Deals, at: int) -> Subscription | None:
    """A deal as a subscription; None if it is not one. Raises SourceUnreadError."""
    if properties.get("hs_is_closed_won") != "true":
        return None
    try:
        return won_deal(
            mrr=crm.read(properties, deals.mrr, decimal),
            currency=properties.get("deal_currency_code") or deals.currency,
            at=at,
            renews=crm.read(properties, deals.renews, milliseconds),
            ended=crm.read(properties, deals.ended, milliseconds),
            plan=shown(properties.get("dealname")),
        )
    except ValidationError as error:
        ((name, (problem,)),) = error.messages_dict.items()
        raise SourceUnreadError(f"property {name} of a deal: {problem}") from None


def _links(reply: Reply, kind: str) -> list[Mapping[str, str]]:
    """What a record is associated with. Raises SourceUnreadError."""
    links = (reply.body["associations"] or {}).get(kind) or {}
    if links.get("paging"):
        raise SourceUnreadError(f"it has more {kind} than one reply of HubSpot lists")
    listed: list[Mapping[str, str]] = links.get("results", [])
    return listed


def connect(options: Options, timeout: float = TIMEOUT) -> HubspotApi | None:
    """The API with the *options*' token, None without one."""
    token = options["HUBSPOT_ACCESS_TOKEN"]
    if token is None:
        return None
    http = HttpApi(
        title="HubSpot",
        key="HUBSPOT_ACCESS_TOKEN",
        base=options["HUBSPOT_API_BASE"] or "https://api.hubapi.com",
        headers={"Authorization": f"Bearer {token}"},
        permission=re.compile(rb"\bcrm\.[a-z_.]{1,80}\.read\b"),
        wait=WAIT,
        timeout=timeout,
    )
    return HubspotApi(http, rules_of(options))
