"""Reads customers, their subscriptions and events from Chargebee's API, as webhooks tell them.

A list is paged by an offset that Chargebee gives with each page, to the last one:
https://apidocs.chargebee.com/docs/api/list-ops.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from functools import partial
from typing import cast

from marshmallow import fields
from orjson import dumps

from bridge.domain.facts import Fact
from bridge.errors import ConfigError, SourceError, SourceUnreadError
from bridge.sources.chargebee import facts, resources
from bridge.sources.chargebee.facts import HANDLERS, PAYMENT_HANDLERS, PREFIX
from bridge.sources.http import HttpApi, Json, all_rows, read_at, refreshed, understood
from bridge.webhook.fields import UNREAD, Payload, Text, UnixTime
from bridge.webhook.source import Options, Page, SourceChange, pays

KEY, SITE = "CHARGEBEE_API_KEY", "CHARGEBEE_SITE"
BASE = "CHARGEBEE_API_BASE"
BOTH = f"Chargebee's API can be read only with both {KEY} and {SITE}."

MOST = 100
"""Resources per page."""

WAIT = 60.0
"""Seconds to wait after a 429 without `Retry-After`: the limit is one of a minute."""

LISTS = ("customers", "subscriptions", "events")
"""What the key must be able to list."""

TIME = UnixTime()

OF = {
    "customer": (resources.Customer(), facts.customer),
    "subscription": (resources.Subscription(), facts.subscription),
}
"""Kind of resource -> how it is read, and the function of the webhooks that tell it."""


class ChargebeeApi:
    """Reads customers one by one, and lists customers and events."""

    def __init__(self, http: HttpApi, options: Options) -> None:
        self._http = http
        self._options = options

    def party(self, party: str) -> list[Fact]:
        """See `SourceApi.party`; `facts` says how it is stamped, and why.

        What was deleted is read too, as its end may have been missed. A customer is read
        singly, which is never late; only if there is none, among the deleted ones.
        """
        id_, of = party.removeprefix(PREFIX), {"include_deleted": "true"}
        page = self._one("customer", id_)
        if not page.rows:
            page = self._page("customers", {"id[is]": id_, **of})
        if not page.rows:
            return []
        read = self._facts("customer", page.rows[0], page.at)
        owned = {"customer_id[is]": id_, **of}
        for raw in all_rows(partial(self._page, "subscriptions", owned)):
            read += self._facts("subscription", raw, page.at)
        own = (fact for fact in read if fact.party == party)
        return [*own, refreshed(party, page.at)]

    def owner(self, thing: str) -> str | None:
        """See `SourceApi.owner`."""
        kind, _, id_ = thing.partition(":")
        page = self._one(kind, id_)
        found = (self._facts(kind, raw, page.at)[0].party for raw in page.rows)
        return next(found, None)

    def probe(self) -> bool:
        """See `SourceApi.probe`; at a site that does not exist, a list is missing."""
        return self._http.check_key(*LISTS) and bool(self._page("customers", {}))

    def parties(self, since: int | None, after: str) -> Page:
        """See `Archive.parties`; deleted customers are not listed.

        *after* is a customer, or how a page ends: the newest second that is listed ("":
        any), and Chargebee's offset.
        """
        begin = since or 0
        if after.startswith(PREFIX):
            return self._following(begin, after)
        until, _, offset = after.partition(":")
        # A second more on each side, as the ends may count or not.
        span = ("after", str(max(1, begin - 1)))
        if until:
            span = ("between", f"[{span[1]},{int(until) + 1}]")
        query = {"sort_by[desc]": "created_at", f"created_at[{span[0]}]": span[1]}
        page = self._page("customers", query, offset)
        names = [f"{PREFIX}{r.get('id')}" for r in page.rows if _at(r) >= begin * 1000]
        return Page(names, f"{until}:{page.after}" if page.after else "")

    def _following(self, since: int, last: str) -> Page:
        """The customers that follow *last*, found from the second of its creation."""
        page = Page((), "")
        for raw in self._one("customer", last.removeprefix(PREFIX)).rows:
            page = self.parties(since, f"{_at(raw) // 1000}:")
        while page.after and last not in page.rows:
            page = self.parties(since, page.after)
        if last not in page.rows:
            raise SourceUnreadError("Chargebee has no such customer, or not any more")
        return page._replace(rows=page.rows[page.rows.index(last) + 1 :])

    def changes(self, since: int, until: int, after: str) -> Page:
        """See `Archive.changes`; *after* is Chargebee's offset."""
        first, end = since // 1000, -(-until // 1000)
        paid = PAYMENT_HANDLERS if pays(self._options) else ()
        query = {
            "occurred_at[between]": f"[{max(1, first - 1)},{end}]",
            "event_type[in]": dumps([*HANDLERS, *paid]).decode(),
            "sort_by[asc]": "occurred_at",
        }
        page = self._page("events", query, after)
        every = [SourceChange(_at(body), body) for body in page.rows]
        return Page([c for c in every if first <= c.at // 1000 < end], page.after)

    def _facts(self, kind: str, raw: Json, at: int) -> list[Fact]:
        """The facts that a webhook of the second *at* (ms) would tell of a resource.

        Raises SourceUnreadError.
        """
        event = read_at(at, {"content": {kind: raw}})
        schema, tell = OF[kind]

        def made(raw: Json) -> list[Fact]:
            content = {"customer": None, kind: schema.load(raw)}
            return list(tell(event, {"content": content}, self._options))

        return cast("list[Fact]", understood(made, raw, str(raw.get("id"))))

    def _one(self, kind: str, id_: str) -> Page:
        """One resource, or none."""
        reply = self._http.get(f"{kind}s/{{id}}", id_)
        if reply is None:
            return Page([], "")
        return _page(kind, {"list": [reply.body]}, reply.second)

    def _page(self, kind: str, query: Mapping[str, str], offset: str = "") -> Page:
        """A page of a list; *offset* is where it begins."""
        reply = self._http.get(kind, query={"limit": MOST, **query, "offset": offset})
        if reply is None:
            reason = f"Chargebee has no {kind} there (404): is {SITE} right?"
            raise SourceError(reason, refused=True)
        return _page(kind, reply.body, reply.second)


def _page(kind: str, raw: Json, at: int) -> Page:
    """A page as Chargebee has it: each row holds a resource under the name of its kind."""
    name = kind.removesuffix("s")
    row = fields.Nested(Payload.from_dict({name: fields.Dict(required=True)}))
    parts = {"list": fields.List(row, required=True), "next_offset": Text()}
    page = understood(Payload.from_dict(parts)().load, raw, kind)
    return Page([one[name] for one in page["list"]], page["next_offset"] or "", at=at)


def _at(raw: Json) -> int:
    """When a customer was created or an event occurred (ms). Raises SourceUnreadError."""
    at = TIME.read(raw.get("created_at", raw.get("occurred_at")))
    if at is UNREAD:
        raise SourceUnreadError("a row of Chargebee's list has no time")
    return int(at)


def connect(options: Options) -> ChargebeeApi | None:
    """The API with the key of the *options*, None without one. Raises ConfigError."""
    key, site, base = (options[name] for name in (KEY, SITE, BASE))
    if key is None:
        return None
    if not (site or base):
        raise ConfigError([BOTH])
    http = HttpApi(
        title="Chargebee",
        key=KEY,
        base=f"{base or f'https://{site}.chargebee.com'}/api/v2/",
        # The key is the user: https://apidocs.chargebee.com/docs/api/auth.
        headers={"Authorization": f"Basic {b64encode(f'{key}:'.encode()).decode()}"},
        wait=WAIT,
    )
    return ChargebeeApi(http, options)
