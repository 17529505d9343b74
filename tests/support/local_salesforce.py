"""A small honest Salesforce over real HTTP: tokens, SOQL, pages, and faults.

SQLite answers the queries, once instants and quotes are written its way; it knows no
column that records of a kind do not have.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

from tests.support.local_api import Asked, Json, LocalApi, RefusedError, Reply
from tests.support.salesforce import ORG

ID, SECRET = "3MVG9.example.consumer.key", "example-consumer-secret"
SECRET_PART = "exampleXYZ"
"""In Salesforce's error texts; no message of ours may show it."""

OWN = ("Id", "Name", "IsDeleted", "SystemModstamp", "CreatedDate")
KINDS = {
    "Account": [*OWN, "Vitally_Id__c", "Industry", "Seats__c"],
    "Opportunity": [*OWN, "AccountId", "IsWon", "MRR__c", "Renews__c", "Ended__c"],
}
INSTANT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{3})Z")


def error(status: int, code: str, message: str = SECRET_PART) -> Reply:
    """A reply that is an error of the REST API's."""
    return Reply([{"message": message, "errorCode": code}], status)


def denied(code: str) -> Reply:
    """The same of the token's endpoint."""
    return Reply({"error": code, "error_description": SECRET_PART}, 400)


def instant(seconds: float) -> str:
    """An instant as JSON has it, in whole seconds."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime(
        "%Y-%m-%dT%H:%M:%S.000+0000"
    )


class LocalSalesforce(LocalApi):
    """Runs inside `with`, on a free port; *clock* stamps records (seconds), *batch* pages."""

    faults: Mapping[str, Reply] = {
        "500": error(500, "UNKNOWN_EXCEPTION"),
        "limit": error(403, "REQUEST_LIMIT_EXCEEDED"),
        "forbidden": error(403, "API_DISABLED_FOR_ORG"),
        "expired": error(401, "INVALID_SESSION_ID"),
        "client": denied("invalid_client"),
        "odd": Reply({"records": SECRET_PART}),
    }

    def __init__(self, org: str = ORG) -> None:
        super().__init__()
        self.org, self.batch, self.tokens = org, 2000, 0
        self.kinds = {kind: list(names) for kind, names in KINDS.items()}
        self._found: list[list[Json]] = []
        self._records: dict[str, dict[str, Json]] = {kind: {} for kind in KINDS}

    def put(self, kind: str, id_: str, **fields: Any) -> Json:
        """Keep a record, or change some of its fields, at this moment."""
        now = instant(self.clock())
        born = {"Id": id_, "IsDeleted": False, "CreatedDate": now}
        record = self._records[kind].setdefault(id_, born)
        record.update({"SystemModstamp": now, **fields})
        return record

    def account(self, id_: str, **fields: Any) -> Json:
        """Keep an Account, or change it."""
        return self.put("Account", id_, **fields)

    def deal(self, id_: str, account: str | None, **fields: Any) -> Json:
        """Keep an Opportunity, or change it."""
        return self.put("Opportunity", id_, AccountId=account, **fields)

    def queries(self) -> list[str]:
        """The SOQL that was asked for, in order; "" stands for a further page."""
        data = (one for one in self.log if one.path.startswith("/services/data/"))
        return [dict(asked.query).get("q", "") for asked in data]

    def answer(self, asked: Asked) -> Reply:
        """Return the reply to a request; raises RefusedError."""
        if asked.path == "/services/oauth2/token":
            return self._token(asked.body)
        if asked.headers.get("Authorization") != f"Bearer {self.org}!{self.tokens}":
            raise RefusedError(error(401, "INVALID_SESSION_ID"))
        _, _, _, version, resource, *place = asked.path.split("/")
        if (version, resource) != ("v62.0", "query" if place else "queryAll"):
            raise RefusedError(error(404, "NOT_FOUND"))
        if place:
            return self._page(*map(int, place[0].split("-")))
        self._found.append(self._select(dict(asked.query)["q"]))
        return self._page(len(self._found) - 1, 0)

    def _token(self, form: Json) -> Reply:
        if form.get("grant_type") != "client_credentials":
            raise RefusedError(denied("unsupported_grant_type"))
        if (form.get("client_id"), form.get("client_secret")) != (ID, SECRET):
            raise RefusedError(denied("invalid_client"))
        self.tokens += 1
        return Reply(
            {
                "access_token": f"{self.org}!{self.tokens}",
                "instance_url": self.url,
                "id": f"https://login.salesforce.com/id/{self.org}/005xx000001SwiUAAS",
                "token_type": "Bearer",
            }
        )

    def _page(self, number: int, first: int) -> Reply:
        """A page of what a query has found; its last one says that it is done."""
        rows = self._found[number]
        last = first + self.batch
        shown: Json = {"totalSize": len(rows), "done": last >= len(rows)}
        if last < len(rows):
            shown["nextRecordsUrl"] = f"/services/data/v62.0/query/{number}-{last}"
        return Reply({**shown, "records": rows[first:last]})

    def _select(self, soql: str) -> list[Json]:
        """The records that a query is about, deleted ones too; raises RefusedError."""
        kind = soql.partition(" FROM ")[2].partition(" ")[0]
        if kind not in self.kinds:
            text = f"sObject type '{kind}' is not supported."
            raise RefusedError(error(400, "INVALID_TYPE", text))
        columns, records = self.kinds[kind], [*self._records[kind].values()]
        rows = [[row.get(name) for name in columns] for row in records]
        # Instants are compared by the second: their fractions are ignored.
        sql = INSTANT.sub(r"'\1.000+0000'", soql)
        sql = re.sub(r"\\(.)", lambda one: one[1].replace("'", "''"), sql)
        with closing(sqlite3.connect(":memory:")) as base:
            base.execute(f"CREATE TABLE {kind} ({', '.join(columns)})")
            places = ", ".join("?" * len(columns))
            base.executemany(f"INSERT INTO {kind} VALUES ({places})", rows)
            try:
                found = base.execute(sql.replace("SELECT ", "SELECT rowid, ", 1))
            except sqlite3.OperationalError as problem:
                name = str(problem).rpartition(": ")[2]
                text = f"No such column '{name}' on entity '{kind}'. {SECRET_PART}"
                raise RefusedError(error(400, "INVALID_FIELD", text)) from None
            names = [column[0] for column in found.description[1:]]
            picked = [records[row[0] - 1] for row in found]
        link = {"type": kind, "url": SECRET_PART}
        return [
            {"attributes": link, **{name: row.get(name) for name in names}}
            for row in picked
        ]
