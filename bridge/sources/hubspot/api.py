"""Reads companies from HubSpot's API, as facts like those of its webhooks, and lists them."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache, partial
from math import floor
from typing import Any

from marshmallow import Schema, ValidationError, fields

from bridge import log
from bridge.domain.facts import Fact
from bridge.domain.values import ORGANIZATION, AnyValue, Names, Subscription
from bridge.errors import SourceUnreadError
from bridge.sources import crm
from bridge.sources.crm import Deals, Fields, Rules, TraitMapping, won_deal
from bridge.sources.http import (
    TIMEOUT,
    HttpApi,
    Json,
    Reply,
    as_read,
    understood,
)
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
from bridge.webhook.fields import UNREAD, Id, Label, Payload, Text
from bridge.webhook.source import Options, Page, SourceChange
from bridge.webhook.values import decimal, kept, milliseconds

LOG = logging.getLogger("bridge.hubspot")

MOST = 100
"""Most records of a page or a batch."""

WAIT = 10.0
"""Seconds to wait after a 429 without `Retry-After`: the limit's window is ten seconds.

https://developers.hubspot.com/docs/developer-tooling/platform/usage-guidelines
"""

PACE = 0.25
"""Seconds between two searches: HubSpot allows five a second.

https://developers.hubspot.com/docs/api-reference/latest/crm/search-the-crm
"""

MODIFIED = "hs_lastmodifieddate"

MERGED = "hs_merged_object_ids"
"""The property with the ids of the records that were merged into this one."""

PRIMARY = 6
"""Type of the association between a company and a deal that calls it primary.

https://developers.hubspot.com/docs/api-reference/crm-associations-v4/guide
"""

FRESH = 3600.0
"""Most seconds for which the names of HubSpot's users are cached."""

Linked = dict[str, dict[str, bool]]
"""Company -> its deals -> whether the deal calls the company primary."""

HOUR = 3_600_000
"""Milliseconds."""

RECORDS, ASSOCIATIONS = "/crm/v3/objects", "/crm/v4/associations"

Moment = partial(fields.AwareDateTime, default_timezone=UTC)

VALUE = Text(1 << 16, allow_none=True)
"""A property's value is always a text, up to HubSpot's limit; None: cleared."""

# --- Replies --------------------------------------------------------------------


class Link(Payload):
    """One association; `deal_to_company` marks a deal's primary company."""

    id = Id(required=True)
    type = Text(255, required=True)


NEXT = Payload.from_dict({"after": Text(1 << 16)})
PAGING = fields.Nested(Payload.from_dict({"next": fields.Nested(NEXT)}))
"""There are more, and where they begin."""


class Links(Payload):
    """Associations with one kind of record."""

    results = fields.List(fields.Nested(Link), required=True)
    paging = PAGING


class Associations(Payload):
    """The associations of a company or deal, if they were requested."""

    deals = companies = fields.Nested(Links)


class Record(Payload):
    """A company or a deal: https://developers.hubspot.com/docs/api-reference/crm-companies-v3/guide."""

    id = Id(required=True)
    properties = fields.Dict(values=VALUE, required=True)
    archived = fields.Boolean()
    created = Moment(required=True, data_key="createdAt")
    updated = Moment(required=True, data_key="updatedAt")
    deleted = Moment(data_key="archivedAt")
    associations = fields.Nested(Associations)


class End(Payload):
    """The other end of an association."""

    id = fields.Integer(required=True, data_key="toObjectId")
    types = fields.List(fields.Dict(), required=True, data_key="associationTypes")


class Ends(Payload):
    """All that one record is associated with."""

    origin = fields.Nested(Link, only=["id"], required=True, data_key="from")
    ends = fields.List(fields.Nested(End), required=True, data_key="to")
    paging = PAGING


class User(Payload):
    """A user of HubSpot: https://developers.hubspot.com/docs/api-reference/crm-crm-owners-v3/guide."""

    first = Label(data_key="firstName")
    last = Label(data_key="lastName")
    email = Label()


# --- Requests -------------------------------------------------------------------


class HubspotApi:
    """Reads companies one by one, each in one to four requests, and lists them."""

    def __init__(self, http: HttpApi, rules: Rules) -> None:
        self._http = http
        self._rules = rules
        self._kinds = ["companies", *(["deals"] if rules.deals else [])]
        self._lists = [(kind, gone) for gone in (False, True) for kind in self._kinds]
        self._searched = 0.0
        self._user_of_hour = lru_cache(1000)(self._user)

    def party(self, party: str) -> list[Fact]:
        """See `SourceApi.party`; for a merged company, only what it was merged into."""
        asked = party.removeprefix(PREFIX)
        query: Any = {"properties": ",".join(of_company(self._rules))}
        query["associations"] = "deals" if self._rules.deals else ""
        reply = self._one(Record(), f"{RECORDS}/companies/{{id}}", asked, **query)
        if reply is None:
            return []
        record = reply.body
        if record["id"] != asked:
            return as_read(party, self._merged(record), reply.at, final=True)
        links, is_all = _links(record, "deals")
        sure = {link["id"] for link in links if link["type"] == "company_to_deal"}
        own = {asked: {link["id"]: link["id"] in sure for link in links}}
        deals = self._deals(own if is_all else self._deals_of([asked]))[asked]
        return as_read(party, self._company(record, deals, reply.at), reply.at)

    def owner(self, thing: str) -> str | None:
        """See `SourceApi.owner`: a deal's primary company, or the only one it has.

        HubSpot may still know the company of a deal that was deleted.
        """
        kind, _, id_ = thing.partition(":")
        return PREFIX + id_ if kind == "company" else self._company_of(id_)

    def _company_of(self, deal: str, *, is_gone: bool = False) -> str | None:
        path, more = f"{RECORDS}/deals/{{id}}", {"associations": "companies"}
        reply = self._one(Record(), path, deal, gone=is_gone, **more)
        links, _ = _links(reply.body, "companies") if reply else ([], True)
        primary = {link["id"] for link in links if link["type"] == "deal_to_company"}
        companies = primary or {link["id"] for link in links}
        return PREFIX + companies.pop() if len(companies) == 1 else None

    def probe(self) -> bool:
        """See `SourceApi.probe`."""
        return self._http.check_key(*(f"{RECORDS}/{kind}" for kind in self._kinds))

    def parties(self, since: int | None, after: str) -> Page:
        """See `Archive.parties`; by id, and without deleted companies."""
        span = [] if since is None else [("createdate", "GTE", since * 1000)]
        page = self._search("companies", after.removeprefix(PREFIX), *span)
        rows = [PREFIX + row["id"] for row in page.rows]
        return Page(rows, rows[-1] if page.after else "")

    def changes(self, since: int, until: int, after: str) -> Page:
        """See `Archive.changes`; *after* is the list and the last record of it.

        The search finds no deleted records, and their list knows no span: it is read
        whole, so only about once an hour, for what was deleted since an hour before.
        What the search finds is read again, since its index may be behind.
        """
        number, _, last = after.partition(":")
        if (n := int(number or 0)) >= len(self._lists):
            raise SourceUnreadError("HubSpot's deals are not read (any more)")
        kind, is_gone = self._lists[n]
        if is_gone:
            query = {"limit": MOST, "archived": "true", "after": last}
            page = _page(self._http.get(f"{RECORDS}/{kind}", query=query))
        else:
            span = [(MODIFIED, "GTE", since), (MODIFIED, "LT", until)]
            page = self._search(kind, last, *span)
        when = {r["id"]: _ms(r["deleted"] or r["updated"]) for r in page.rows}
        first = since - HOUR
        rows = [r for r in page.rows if not is_gone or first <= when[r["id"]] < until]
        if kind == "deals":
            ids = [row["id"] for row in rows]
            of = self._owners(ids) if is_gone else self._companies(ids)
            when = {company: when[deal] for deal, own in of.items() for company in own}
        if kind == "deals" or not is_gone:
            names, path = [*of_company(self._rules), MERGED], f"{RECORDS}/companies"
            rows = self._several(Record, path, when, properties=names)
        changes = list(self._changes(rows, when, page.at, (since, until)))
        n += not page.after
        is_due = since // HOUR < until // HOUR or until - since > HOUR // 2
        end = len(self._lists if is_due else self._kinds)
        return Page(changes, f"{n}:{page.after}" if n < end else "")

    def _changes(
        self, rows: list[Json], when: Mapping[str, int], at: int, span: tuple[int, int]
    ) -> Iterator[SourceChange]:
        """Yield companies as they are *at* an instant, and those merged into them.

        One that changed again after the *span* belongs to a later one: its webhooks may
        be on their way. One that cannot be read is left out, so that it holds up no other.
        """
        alive = [row["id"] for row in rows if not row["archived"]]
        deals = self._deals(self._deals_of(alive))
        for row in rows:
            read = [row, *deals.get(row["id"], ())]
            if max(_ms(record["updated"]) for record in read) >= span[1]:
                continue
            id_, party = row["id"], PREFIX + row["id"]
            try:
                facts = as_read(party, self._company(row, deals.get(id_, ()), at), at)
            except SourceUnreadError as error:
                left_out = log.fields(party=party, reason=error.reason)
                LOG.warning("left out", extra=left_out)
                continue
            born = _ms(row["created"]) if id_ in alive else 0
            yield SourceChange(when.get(id_, at), facts=facts, born=born)
            for old in filter(None, (row["properties"].get(MERGED) or "").split(";")):
                merged = as_read(PREFIX + old, self._merged(row), at, final=True)
                yield SourceChange(when.get(id_, at), facts=merged)

    def _search(self, kind: str, last: str, *span: tuple[str, str, int]) -> Page:
        """The records in a *span* of a property, those that follow the id *last*.

        They are ordered by id. By time, records of one instant could not be told apart,
        and one query lists only 10,000.
        """
        time.sleep(max(0.0, self._searched + PACE - time.monotonic()))
        self._searched = time.monotonic()
        bounds = [("hs_object_id", "GT", last or 0), *span]
        asked = {
            "filterGroups": [{"filters": [_filter(*bound) for bound in bounds]}],
            "sorts": [{"propertyName": "hs_object_id", "direction": "ASCENDING"}],
            "limit": MOST,
        }
        page = _page(self._http.post(f"{RECORDS}/{kind}/search", asked))
        if page.after and not page.rows:
            raise SourceUnreadError("HubSpot's page is empty, and not the last")
        return page._replace(after=page.after and page.rows[-1]["id"])

    def _one(
        self, schema: Schema, path: str, id_: str, *, gone: bool = False, **query: str
    ) -> Reply | None:
        """One thing, even if it was deleted (*gone*: surely); None if there is none."""
        for archived in ("true", "") if gone else ("", "true"):
            reply = self._http.get(path, id_, {**query, "archived": archived})
            if reply is not None:
                return reply._replace(body=_loaded(schema.load, reply.body))
        return None

    def _several(
        self, row: type[Schema], path: str, ids: Iterable[str], **more: Any
    ) -> list[Any]:
        """Several things, a hundred with one request."""
        found: list[Any] = []
        asked = [{"id": id_} for id_ in ids]
        for first in range(0, len(asked), MOST):
            some = asked[first : first + MOST]
            reply = self._http.post(f"{path}/batch/read", {"inputs": some, **more})
            found += _page(reply, row).rows
        return found

    def _merged(self, record: Json) -> Iterator[tuple[str, AnyValue]]:
        """Yield what was merged into a company; it is in no organization, or is one too."""
        left = record["id"]
        named = stripped(record["properties"].get(self._rules.account))
        account = named or self._rules.account_of(left)
        told = {"account": account, "deleted": True, "into": PREFIX + left}
        yield "customer", self._rules.customer(left, **told)
        if self._rules.organization:
            parent = stripped(record["properties"].get(self._rules.parent)) or ""
            of = self._rules.membership(left, parent)
            yield ORGANIZATION, of if "head" in of else Names()

    def _company(
        self, record: Json, deals: Iterable[Json], at: int
    ) -> Iterator[tuple[str, AnyValue]]:
        """Yield everything about a company that has these *deals*."""
        id_, properties = record["id"], record["properties"]
        is_gone = bool(record["archived"])
        yield "customer", self._rules.customer(id_, deleted=is_gone)
        if is_gone:
            return

        def read(line: TraitMapping) -> Any:
            return self._trait(line, properties[line.field])

        yield from company(id_, properties, self._rules, read)
        for deal in deals:
            value = _won(deal["properties"], self._rules.deals or Deals(""), at)
            if value is not None:
                yield f"subscription:deal-{deal['id']}", value

    def _deals_of(self, companies: Iterable[str]) -> Linked:
        """All deals of *companies*."""
        links: Linked = {company: {} for company in companies}
        after = dict.fromkeys(links, "") if self._rules.deals else {}
        path = f"{ASSOCIATIONS}/companies/deals/batch/read"
        while after:
            asked = [kept({"id": id_, "after": place}) for id_, place in after.items()]
            rows = _page(self._http.post(path, {"inputs": asked}), Ends).rows
            for row in rows:
                for end in row["ends"]:
                    is_sure = PRIMARY in [kind.get("typeId") for kind in end["types"]]
                    links[row["origin"]["id"]][str(end["id"])] = is_sure
            after = kept({row["origin"]["id"]: _after(row["paging"]) for row in rows})
        return links

    def _deals(self, links: Linked) -> dict[str, list[Json]]:
        """The deals that count for each company: also those that have no other."""
        pairs = [(deal, company) for company, own in links.items() for deal in own]
        loose = [deal for deal, company in pairs if not links[company][deal]]
        alone = self._companies(loose)
        of = {d: c for d, c in pairs if links[c][d] or alone.get(d) == {c}}
        found: dict[str, list[Json]] = {company: [] for company in links}
        names = of_deal(self._rules.deals) if self._rules.deals else []
        path = f"{RECORDS}/deals"
        for deal in self._several(Record, path, sorted(of), properties=names):
            # The id of a deal that was merged leads to another's record.
            found.get(of.get(deal["id"], ""), []).append(deal)
        return found

    def _companies(self, deals: Iterable[str]) -> dict[str, set[str]]:
        """All companies of *deals*."""
        rows = self._several(Ends, f"{ASSOCIATIONS}/deals/companies", deals)
        return {r["origin"]["id"]: {str(e["id"]) for e in r["ends"]} for r in rows}

    def _owners(self, deals: Iterable[str]) -> dict[str, set[str]]:
        """The company of deleted *deals*, which only a record itself tells."""
        owners = {deal: self._company_of(deal, is_gone=True) for deal in deals}
        return {deal: {of.removeprefix(PREFIX)} for deal, of in owners.items() if of}

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


_loaded = partial(understood, what="HubSpot's reply")


def _page(reply: Reply | None, row: type[Schema] = Record) -> Page:
    """A page of a list. Raises SourceUnreadError."""
    if reply is None:
        raise SourceUnreadError("HubSpot has no such list")
    rows = fields.List(fields.Nested(row), required=True)
    schema = Payload.from_dict({"results": rows, "paging": PAGING})
    loaded = _loaded(schema().load, reply.body)
    return Page(loaded["results"], _after(loaded["paging"]), at=reply.at)


def _after(paging: Json | None) -> str:
    """Where the next page begins; "": there is none."""
    return ((paging or {}).get("next") or {}).get("after") or ""


def _ms(moment: datetime) -> int:
    return floor(moment.timestamp() * 1000)


def _filter(name: str, operator: str, value: object) -> Json:
    return {"propertyName": name, "operator": operator, "value": str(value)}


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


def _links(record: Json, kind: str) -> tuple[list[Mapping[str, str]], bool]:
    """What a record is associated with, and whether that is all."""
    links = (record["associations"] or {}).get(kind) or {}
    return links.get("results", []), not links.get("paging")


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
