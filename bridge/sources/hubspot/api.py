"""HubSpot's own API: a company, as the facts that its webhooks would tell."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from marshmallow import Schema, fields

from bridge import log
from bridge.domain.facts import Fact, Rank
from bridge.domain.values import REFRESHED, Value
from bridge.errors import SourceUnreadError
from bridge.sources.http import TIMEOUT, HttpApi, Json, Reply, understood
from bridge.sources.hubspot.facts import PREFIX, Property, named, shown, stripped, told
from bridge.sources.hubspot.rules import OWNER, Deals, Rules, rules
from bridge.webhook.fields import UNREAD, Id, Label, Payload, Text, Whole
from bridge.webhook.source import Event, Options
from bridge.webhook.values import TraitMapping, decimal, kept, milliseconds, won_deal

LOG = logging.getLogger("bridge.hubspot")

MOST = 100
"""Records of a batch."""

WAIT = 10.0
"""Seconds to wait after a 429 that does not say: the limit is one of ten seconds.

https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines
"""

FRESH = 3600.0
"""Seconds for which the names of HubSpot's users are remembered."""

Told = tuple[str, Value, bool]
"""A thing, its value, and whether that is final."""

VALUE = Text(1 << 16, allow_none=True)
"""A property's value is always a text, as long as HubSpot allows; None: cleared."""


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


class HubspotApi:
    """Reads companies one by one, each in one to four requests."""

    def __init__(self, http: HttpApi, rules: Rules) -> None:
        self._http = http
        self._rules = rules
        self._users: dict[str, Any] = {}
        self._until = 0.0

    def party(self, party: str) -> list[Fact]:
        """See `SourceApi.party`."""
        asked = party.removeprefix(PREFIX)
        linked = "deals" if self._rules.deals else ""
        reply = self._record("companies", asked, self._rules.properties, linked)
        if reply is None:
            return []
        event = Event(f"read:{reply.at}", "read", reply.at, {})
        return [
            event.fact(party, thing, value, Rank.FROM_API, final=final)
            for thing, value, final in [
                *self._company(asked, reply),
                (REFRESHED, {}, False),
            ]
        ]

    def owner(self, thing: str) -> str | None:
        """See `SourceApi.owner`: a deal's primary company, or the only one it has.

        HubSpot may still know the company of a deal that was deleted.
        """
        kind, _, id_ = thing.partition(":")
        if kind == "company":
            return PREFIX + id_
        reply = self._record("deals", id_, (), "companies")
        links = _links(reply, "companies") if reply else []
        primary = [link["id"] for link in links if link["type"] == "deal_to_company"]
        every = {link["id"] for link in links}
        found = primary[:1] or (every if len(every) == 1 else [])
        return next((PREFIX + company for company in found), None)

    def _record(
        self, kind: str, id_: str, properties: Collection[str], linked: str
    ) -> Reply | None:
        """A record, also one that was deleted; None where there is none."""
        query = kept(properties=",".join(properties), associations=linked)
        return self._one(Found(), f"/crm/v3/objects/{kind}/{{id}}", id_, query)

    def _one(
        self, schema: Schema, path: str, id_: str, query: Mapping[str, str]
    ) -> Reply | None:
        for more in ({}, {"archived": "true"}):
            reply = self._http.get(path, id_, {**query, **more})
            if reply is not None:
                return reply._replace(body=_loaded(schema, reply))
        return None

    def _several(self, schema: Schema, path: str, asked: Json) -> list[Any]:
        found = _loaded(schema, self._http.post(path, asked))
        results: list[Any] = found["results"]
        return results

    def _company(self, asked: str, reply: Reply) -> Iterator[Told]:
        """Yield all of a company; of one that was merged only where it went."""
        id_, said = reply.body["id"], reply.body["properties"]
        account = stripped(said.get(self._rules.account))
        if id_ != asked:
            gone = kept(**named(id_, self._rules), deleted=True, into=PREFIX + id_)
            yield "customer", {**gone, **kept(account=account)}, True
            return
        is_gone = bool(reply.body["archived"])
        yield "customer", kept(**named(id_, self._rules), deleted=is_gone), False
        if is_gone:
            return
        for thing, value in told(id_, said, self._rules, self._seen):
            yield thing, value, False
        yield from self._deals(id_, reply)

    def _deals(self, company: str, reply: Reply) -> Iterator[Told]:
        """Yield the won deals of a company."""
        if self._rules.deals is None:
            return
        links = _links(reply, "deals")
        sure = {link["id"] for link in links if link["type"] == "company_to_deal"}
        loose = {link["id"] for link in links} - sure
        ids = sorted(sure | self._alone(company, loose))
        for first in range(0, len(ids), MOST):
            asked = {
                "inputs": [{"id": id_} for id_ in ids[first : first + MOST]],
                "properties": self._rules.deals.properties,
            }
            path = "/crm/v3/objects/deals/batch/read"
            for deal in self._several(Batch(), path, asked):
                value = _won(deal["properties"], self._rules.deals, reply.at)
                if value is not None:
                    yield f"subscription:deal-{deal['id']}", value, False

    def _alone(self, company: str, deals: Collection[str]) -> set[str]:
        """Of *deals* that do not call the company primary those that have no other."""
        if not deals:
            return set()
        path = "/crm/v4/associations/deals/companies/batch/read"
        asked = {"inputs": [{"id": id_} for id_ in sorted(deals)]}
        return {
            row["origin"]["id"]
            for row in self._several(Every(), path, asked)
            if {str(end["id"]) for end in row["ends"]} == {company}
        }

    def _seen(self, line: TraitMapping, text: Property) -> Any:
        """A trait as the API tells it; UNREAD where that cannot be read."""
        if line.kind == OWNER:
            return self._user(text) if text else None
        try:
            return line.convert(text)
        except ValueError as error:
            told = log.fields(property=line.field, reason=f"it {error}")
            LOG.warning("left out", extra=told)
            return UNREAD

    def _user(self, id_: str) -> Any:
        """Name of a user of HubSpot, deactivated or not; UNREAD where there is none."""
        if time.monotonic() > self._until:
            self._users.clear()
            self._until = time.monotonic() + FRESH
        if id_ not in self._users:
            found = self._one(User(), "/crm/v3/owners/{id}", id_, {})
            self._users[id_] = _name(found.body) if found else UNREAD
        return self._users[id_]


def _loaded(schema: Schema, reply: Reply) -> Any:
    return understood(schema.load, reply.body, "HubSpot's reply")


def _won(said: Mapping[str, Property], deals: Deals, at: int) -> Value | None:
    """A deal as a subscription, None where it is none. Raises SourceUnreadError."""

    def read(name: str, convert: Callable[[str], Any]) -> Any:
        text = stripped(said.get(name))
        try:
            return text and convert(text)
        except ValueError as error:
            raise SourceUnreadError(f"the property {name} of a deal {error}") from None

    if said.get("hs_is_closed_won") != "true":
        return None
    return won_deal(
        mrr=read(deals.mrr, decimal),
        currency=said.get("deal_currency_code") or deals.currency,
        at=at,
        renews=read(deals.renews, milliseconds),
        ended=read(deals.ended, milliseconds),
        plan=shown(said.get("dealname")),
    )


def _name(user: Mapping[str, Property]) -> Property:
    whole = f"{user['first'] or ''} {user['last'] or ''}"
    return stripped(whole) or stripped(user["email"])


def _links(reply: Reply, kind: str) -> list[Mapping[str, str]]:
    """What a record is associated with. Raises SourceUnreadError."""
    found = (reply.body["associations"] or {}).get(kind)
    if found is None:
        return []
    if found["paging"]:
        raise SourceUnreadError(f"it has more {kind} than one reply of HubSpot lists")
    listed: list[Mapping[str, str]] = found["results"]
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
    return HubspotApi(http, rules(options))
