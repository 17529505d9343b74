"""Reads Accounts and Opportunities from Salesforce's API, as facts like those of messages.

What is read of a record is stamped with the record's own version (SystemModstamp), as in
a message: the instant of the request would be wrong. A transaction writes SystemModstamp
when it changes a record, and others see the change only at its end, up to `SLOW` later.
So a read may lack a change that is older than itself, and must not beat the message about
that change for ever. Of a read and a message of one version the read counts. Versions
have whole seconds, so `restamped` can order reads of one version by milliseconds. A lost
deal has ended with its version, however often it is read.

Only the parts of a deal have at least the last instant that the read surely covers,
because the end of a contract is compared with it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from marshmallow import fields
from marshmallow.validate import Regexp

from bridge import log
from bridge.domain.facts import Fact, Rank, Stamp
from bridge.domain.traits import instant
from bridge.domain.values import PART
from bridge.errors import ConfigError, SourceError, SourceUnreadError
from bridge.sources.crm import Fields
from bridge.sources.http import HttpApi, Reply, all_rows, read_at, refreshed, understood
from bridge.sources.salesforce.facts import HANDLERS, ID, PREFIX, rules_of, version
from bridge.webhook.fields import UNREAD, Currency, Payload, Text
from bridge.webhook.source import Options, Page, SourceChange

LOG = logging.getLogger("bridge.salesforce")

ORGANISATION = "SALESFORCE_ORG_ID"
KEYS = ("SALESFORCE_API_BASE", "SALESFORCE_CLIENT_ID", "SALESFORCE_CLIENT_SECRET")
BASE, CLIENT, KEY = KEYS

SIGNIFICANT = 15
"""Characters of an id that identify it; three more are a checksum."""

DATA = "/services/data/v62.0"

MOST = 200
"""Records of a page: their ids fit into a URL of 16 KB, the most that Salesforce takes."""


SLOW = 600_000
"""Most milliseconds from a record's SystemModstamp until others see the change.

A transaction takes at most ten minutes:
https://developer.salesforce.com/docs/atlas.en-us.apexcode.meta/apexcode/apex_gov_limits.htm
"""

WAIT = 60.0
"""Seconds to wait when a day's requests are used up; they come back one by one."""

ALWAYS = ("Id", "Name", "IsDeleted", "SystemModstamp", "CreatedDate")
OWNER = {"Account": "Id", "Opportunity": "AccountId"}
"""The field of each kind of record that names the Account."""

UTC_ZONE = re.compile(r"(?<=:\d\d\.\d{3})\+0000")
"""The zone of an instant in JSON, where a message has `Z`."""

# --- Replies --------------------------------------------------------------------


class Token(Payload):
    """https://help.salesforce.com/s/articleView?id=xcloud.remoteaccess_oauth_client_credentials_flow.htm."""

    access = Text(1 << 16, required=True, data_key="access_token")
    url = fields.String(required=True, data_key="instance_url", validate=Regexp("http"))
    identity = Text(required=True, data_key="id")


class Records(Payload):
    """https://developer.salesforce.com/docs/platform/api-rest/guide/resources-query.html."""

    records = fields.List(fields.Dict(), required=True)
    more = fields.String(data_key="nextRecordsUrl", validate=Regexp("/"))


class SObject(NamedTuple):
    """A record of a *kind*; *read* is when (ms), *fields* are as in a message."""

    kind: str
    read: int
    fields: Fields


class SessionError(SourceError):
    """The token is refused, perhaps because it has expired."""


CODE = re.compile(rb'"error(?:Code)?"\s*:\s*"(\w{1,60})"')
LACKS = re.compile(rb"No such column '[\w.]+' on entity '\w+'|sObject type '\w+'")
WRONG_KEY = ("invalid_", "inactive_", "unauthorized_", "unsupported_")


def _judge(status: int, body: bytes) -> SourceError | None:
    """What an error of Salesforce's means; codes in lower case are of the token's URL.

    https://developer.salesforce.com/docs/atlas.en-us.api_rest.meta/api_rest/errorcodes.htm
    """
    found, lacks = CODE.search(body), LACKS.search(body)
    code = found[1].decode() if found else ""
    if code == "REQUEST_LIMIT_EXCEEDED":
        return SourceError(f"Salesforce's API wants fewer requests ({code})", WAIT)
    if code.startswith(WRONG_KEY):
        return SourceError(f"Salesforce refuses {KEY} ({code})", refused=True)
    if status == HTTPStatus.UNAUTHORIZED:
        return SessionError(f"Salesforce refuses the token of {KEY}", refused=True)
    if lacks is None:
        return None
    reason = f"the user of {KEY} may not read all: {lacks[0].decode()}"
    return SourceError(reason, refused=True)


# --- Requests -------------------------------------------------------------------


class SalesforceApi:
    """Reads Accounts, each in one or two requests, and lists those that have changed."""

    def __init__(self, login: HttpApi, options: Options) -> None:
        self._login, self._options = login, options
        self._http: HttpApi | None = None
        self._fields = _fields(options)

    def party(self, party: str) -> list[Fact]:
        """See `SourceApi.party`; of each record by its own version, as said above."""
        id_ = party.removeprefix(PREFIX)
        found = self._parties([id_]) if ID.fullmatch(id_) else ()
        return next((self._whole(*one) for one in found), [])

    def owner(self, thing: str) -> str | None:
        """See `SourceApi.owner`; *thing* is a deal."""
        rows = self._rows("Opportunity", f"Id = {_quoted(thing.rpartition('-')[2])}")
        return next((fact.party for row in rows for fact in self._facts(row)), None)

    def probe(self) -> bool:
        """See `SourceApi.probe`."""
        for kind in self._fields:
            self._rows(kind, "IsDeleted = false LIMIT 1")
        return True

    def parties(self, since: int | None, after: str) -> Page:
        """See `Archive.parties`; deleted Accounts are not listed."""
        where = f"IsDeleted = false AND CreatedDate >= {instant(1000 * (since or 0))}"
        if after:
            where += f" AND Id < {_quoted(after.removeprefix(PREFIX))}"
        rows = self._rows("Account", f"{where} ORDER BY Id DESC LIMIT {MOST}")
        parties = [f"{PREFIX}{row.fields['Id']}" for row in rows]
        return Page(parties, parties[-1] if len(rows) == MOST else "")

    def changes(self, since: int, until: int, after: str) -> Page:
        """See `Archive.changes`; *after* is a kind of record and the last one's id.

        The span begins `SLOW` earlier, for changes that were not visible then.
        """
        kind, _, last = (after or "Account").partition(":")
        where = f"SystemModstamp >= {instant(since - SLOW)}"
        where += f" AND SystemModstamp < {instant(until)}"
        where += f" AND Id > {_quoted(last)}" if last else ""
        rows = self._rows(kind, f"{where} ORDER BY Id LIMIT {MOST}")
        owners = {row.fields[OWNER[kind]]: version(row.fields) for row in rows}
        found = list(self._changes(owners, until))
        rest = [*self._fields, ""][[*self._fields].index(kind) + 1]
        is_full = len(rows) == MOST
        return Page(found, f"{kind}:{rows[-1].fields['Id']}" if is_full else rest)

    def _changes(
        self, when: Mapping[str | None, int], until: int
    ) -> Iterator[SourceChange]:
        """Yield the Accounts that changed at an instant (*when*), as they are now.

        One that changed again after the span is left to a later one, since its message
        may be on its way.
        """
        for account, deals in self._parties([*filter(None, when)]):
            if max(version(row.fields) for row in (account, *deals)) >= until:
                continue
            is_gone = account.fields["IsDeleted"] == "true"
            created = {"SystemModstamp": account.fields["CreatedDate"]}
            born = 0 if is_gone else version(created)
            try:
                facts = self._whole(account, deals)
            except SourceUnreadError as error:
                # One Account must not hide all that follow it.
                LOG.warning("left out", extra=log.fields(reason=error.reason))
                continue
            yield SourceChange(when[account.fields["Id"]], facts=facts, born=born)

    def _parties(self, ids: Sequence[str]) -> Iterator[tuple[SObject, list[SObject]]]:
        """Yield the Accounts with these *ids*, each with its deals."""
        listed = f"IN ({', '.join(map(_quoted, ids))})"
        accounts = self._rows("Account", f"Id {listed}") if ids else []
        with_deals = accounts and "Opportunity" in self._fields
        deals = self._rows("Opportunity", f"AccountId {listed}") if with_deals else []
        for one in accounts:
            yield one, [d for d in deals if d.fields["AccountId"] == one.fields["Id"]]

    def _whole(self, account: SObject, deals: Sequence[SObject]) -> list[Fact]:
        """Everything about an Account. Raises SourceUnreadError."""
        facts = [fact for row in (account, *deals) for fact in self._facts(row)]
        return [*facts, refreshed(facts[0].party, account.read - SLOW)]

    def _facts(self, row: SObject) -> list[Fact]:
        """The facts of a record. Raises SourceUnreadError."""
        at, handler = version(row.fields), HANDLERS[row.kind]
        event = read_at(row.read, row.fields)._replace(at=at)

        def facts(raw: Fields) -> list[Fact]:
            made = handler.facts(event, handler.schema.load(raw), self._options)
            return [_stamped(fact, row.read) for fact in made]

        return list(understood(facts, row.fields, f"{row.kind} {row.fields['Id']}"))

    def _rows(self, kind: str, where: str) -> list[SObject]:
        """All records of a query, deleted ones too, to the last page."""
        if (names := self._fields.get(kind)) is None:
            raise SourceUnreadError(f"{kind} is not read (any more)")
        soql = f"SELECT {', '.join(names)} FROM {kind} WHERE {where}"  # noqa: S608 - quoted

        def page(after: str) -> Page:
            path = after or f"{DATA}/queryAll"
            reply = self._get(path, {} if after else {"q": soql})
            found = understood(Records().load, reply.body, "Salesforce's reply")
            rows = [
                SObject(kind, reply.at, {name: _text(record, name) for name in names})
                for record in found["records"]
            ]
            return Page(rows, found["more"] or "")

        return list(all_rows(page))

    def _get(self, path: str, query: Mapping[str, str]) -> Reply:
        """Read *path* with the token, once more with a new one if an old one is refused."""
        old = self._http
        try:
            reply = (old or self._signed_in()).get(path, query=query)
        except SessionError:
            self._http = None
            if old is None:
                raise
            return self._get(path, query)
        if reply is None:
            raise SourceUnreadError(f"Salesforce has no {path} (404)")
        return reply

    def _signed_in(self) -> HttpApi:
        """Take a token, by OAuth's client credentials flow. Raises SourceError."""
        form = {
            "grant_type": "client_credentials",
            "client_id": self._options[CLIENT],
            "client_secret": self._options[KEY],
        }
        path = "/services/oauth2/token"
        reply = self._login.post(path, fields=form, encode_multipart=False)
        token = understood(Token().load, reply.body, "Salesforce's token")
        its = token["identity"].partition("/id/")[2][:SIGNIFICANT]
        ours = self._options[ORGANISATION] or its
        if its != ours[:SIGNIFICANT]:
            reason = f"{KEY} belongs to the organization {its}, not to {ORGANISATION}"
            raise SourceError(reason, refused=True)
        sites = (urlsplit(url) for url in (self._login.base, token["url"]))
        # The token goes nowhere else than to the site, such as salesforce.com, set here.
        if len({(site.scheme, *site.netloc.split(".")[-2:]) for site in sites}) > 1:
            reason = f"Salesforce names another host than {BASE}; set that to it"
            raise SourceError(reason, refused=True)
        headers = {"Authorization": f"Bearer {token['access']}"}
        self._http = replace(self._login, base=token["url"], headers=headers)
        return self._http


def _stamped(fact: Fact, read: int) -> Fact:
    """A record's *fact* as one of the API; it was *read* then (ms)."""
    least = read - SLOW if fact.thing.startswith(PART) else 0
    return fact._replace(stamp=Stamp(False, max(fact.stamp.at, least), Rank.FROM_API))


def _fields(options: Options) -> dict[str, list[str]]:
    """What is read of each kind of record: what a message has to select."""
    rules = rules_of(options)
    traits = [line.field for line in rules.traits.values()]
    kinds = {"Account": [*ALWAYS, rules.account, rules.parent, *traits]}
    if deals := rules.deals:
        code = [deals.currency] if Currency().read(deals.currency) is UNREAD else []
        kinds["Opportunity"] = [*ALWAYS, "AccountId", "IsWon", *deals.fields, *code]
    return {kind: [*dict.fromkeys(filter(None, own))] for kind, own in kinds.items()}


def _quoted(text: str) -> str:
    r"""A text in SOQL; `\` escapes the quotes in it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _text(record: Mapping[str, Any], name: str) -> str | None:
    """A field as a message has it. Raises SourceUnreadError."""
    value = record.get(name, record)
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return UTC_ZONE.sub("Z", str(value).strip()) or None
    if value is not None:
        raise SourceUnreadError(f"Salesforce's field {name} is no single value")
    return None


# --- Settings -------------------------------------------------------------------


def incomplete(options: Options) -> Iterator[str]:
    """Yield what is missing if some of the API's settings are there, but not all."""
    missing = [name for name in KEYS if not options[name]]
    if 0 < len(missing) < len(KEYS):
        yield f"Salesforce's API cannot be read: set {' and '.join(missing)}."


def connect(options: Options) -> SalesforceApi | None:
    """The API with the keys of the *options*, None without any. Raises ConfigError."""
    if problems := [*incomplete(options)]:
        raise ConfigError(problems)
    if not options[KEY]:
        return None
    base = options[BASE]
    login = HttpApi(title="Salesforce", key=KEY, base=base, headers={}, judge=_judge)
    return SalesforceApi(login, options)
