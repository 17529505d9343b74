"""A local Vitally for the demo and for experiments: its REST API as a Flask app.

https://docs.vitally.io/en/articles/9880654-rest-api-accounts; organizations have the same
rules: https://docs.vitally.io/en/articles/9880652-rest-api-organizations. The form of replies and
errors was recorded in 2024-05. An account's own fields follow the lifecycle rules:
https://docs.vitally.io/en/articles/9890272-lifecycle-tracking-overview.
"""

from __future__ import annotations

import base64
import json
import math
import socket
import time
import uuid
from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from io import BytesIO
from itertools import islice
from pathlib import Path
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, NoReturn, Self
from urllib.parse import unquote

from flask import Flask, Response, abort, g, make_response, render_template, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from bridge.domain.traits import instant

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

EXAMPLE_KEY = "sk_test_example"

WRITE_METHODS = frozenset({"POST", "PUT", "DELETE"})

PAGE_CAP = 100
"""Most rows of a page, and the default."""

BODY_CAP = 1_000_000

STAGES: Mapping[str, frozenset[str]] = {
    "active": frozenset({"subscribed", "trial"}),
    "churned": frozenset({"churned"}),
    "activeOrChurned": frozenset({"subscribed", "trial", "churned"}),
}
"""`status` of a list -> the lifecycle stages that it shows; ignored accounts never."""

TYPES: Mapping[str, type] = {"string": str, "object": dict, "null": type(None)}

DATES = ("nextRenewalDate", "churnedAt", "trialEndDate")
"""Fields of an account that are filled from the traits of the same name."""

Account = dict[str, Any]
"""The whole object as Vitally answers it, nulls explicit."""

HERE = Path(__file__).parent

BLANK: Account = json.loads((HERE / "account.json").read_bytes())
"""An empty account, its fields in the recorded order."""

SCHEMAS = json.loads((HERE / "requests.json").read_bytes())
"""Method, or kind of thing -> JSON Schema of its body; properties that it does not name are ignored."""


class Bucket:
    """A rate limit: *limit* units that refill evenly within *seconds*.

    https://docs.vitally.io/pushing-data-to-vitally/rest-api, as of 2026-07. *now* is in
    seconds of the monotonic clock.
    """

    def __init__(self, limit: int, seconds: float, now: float) -> None:
        self._limit, self._pace = limit, limit / seconds
        self._units, self._at = float(limit), now

    def take(self, cost: int, now: float) -> bool:
        """Spend *cost* units; False, and nothing spent, where there are too few."""
        if enough := self._refilled(now) >= cost:
            self._units -= cost
        return enough

    def remaining(self, now: float) -> int:
        """Whole units that are left."""
        return int(self._refilled(now))

    def reset(self, now: float) -> int:
        """Seconds to the next unit, rounded up."""
        return max(1, math.ceil((1 - self._refilled(now) % 1) / self._pace))

    def _refilled(self, now: float) -> float:
        self._units = min(self._limit, self._units + (now - self._at) * self._pace)
        self._at = now
        return self._units


class Handler(WSGIRequestHandler):
    """Logs nothing, and leaves the path encoded, because an id may contain a slash."""

    def make_environ(self) -> dict[str, Any]:
        return super().make_environ() | {"PATH_INFO": self.path.partition("?")[0]}

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
        pass


class Simulator:
    """A workspace behind its API: `with Simulator() as vitally: ... vitally.url`.

    After a stop and a new start it has the same address and data. *keys* are the
    accepted REST keys, *limit* the units per minute of each. It has no custom objects
    and no Analytics API.
    """

    handler: Callable[..., WSGIRequestHandler] = Handler
    seconds: float = 60.0
    write_cost: int = 10
    revenue_traits: Sequence[str] = ("mrr",)
    """The traits that feed `mrr`; the first one with a value counts."""
    custom_fields: Sequence[Mapping[str, Any]] = ()
    """The custom traits of accounts, as Vitally lists them."""
    word: str = "Account"
    unknown_organization: int | None = 400
    """How an account is refused that names an organization that is not there; None: it is
    taken as it is. Vitally does not document it."""

    def __init__(
        self,
        keys: Sequence[str] = (EXAMPLE_KEY,),
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        limit: int = 1000,
    ) -> None:
        self.keys, self.limit = keys, limit
        self.lock = Lock()
        self.organizations = self.make_organizations()
        self.app = self.make_app()
        self._address = (host, port)
        self._server: BaseWSGIServer | None = None
        self.clear()

    def clear(self) -> None:
        """Forget all accounts and organizations, and what was spent of the limits."""
        self.organizations.empty()
        self.empty()

    def empty(self) -> None:
        """The same for the accounts alone."""
        self.by_id: dict[str, Account] = {}
        self.by_external_id: dict[str, Account] = {}
        self.births: list[str] = []  # places in the order by `createdAt`
        self.last_revenue: dict[str, Any] = {}
        self.buckets: dict[str, Bucket] = {}
        self.writes_done = 0

    def make_app(self) -> Flask:
        """Return the app; `answer` calls it."""
        app = Flask(__name__)
        app.config["MAX_CONTENT_LENGTH"] = BODY_CAP
        app.json.sort_keys = False  # type: ignore[attr-defined]
        app.before_request(self.admit)
        app.after_request(self._with_the_limit)
        app.register_error_handler(HTTPException, refusal)
        views = {f"{method} {rule}": view for method, rule, view in self.routes()}
        app.url_map, app.view_functions = url_map(*views), views
        return app

    def routes(self) -> list[tuple[str, str, Callable[..., Any]]]:
        """Return the method and path of each request, and what answers it."""
        accounts, organizations = "/resources/accounts", "/resources/organizations"
        rules: list[tuple[str, str, Callable[..., Any]]] = [
            ("GET", "/", self.show_page),
            ("GET", f"{accounts}/<name>/healthScores", self.health),
            ("GET", f"{organizations}/<name>/accounts", self.list_members),
            ("GET", "/resources/customFields", self.list_custom_fields),
        ]
        for path, of in ((accounts, self), (organizations, self.organizations)):
            rules += [
                ("GET", path, of.list_accounts),
                ("POST", path, of.create),
                ("GET", f"{path}/<name>", of.get),
                ("PUT", f"{path}/<name>", of.update),
                ("DELETE", f"{path}/<name>", of.delete),
            ]
        return rules

    def make_organizations(self) -> Organizations:
        """Return the organizations of the workspace."""
        return Organizations(self)

    def answer(self, environ: dict[str, Any], start: StartResponse) -> Any:
        """Answer one request at a time; a stalled body holds up no other request."""
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length) if length <= BODY_CAP else b""
        with self.lock:
            return self.app(environ | {"wsgi.input": BytesIO(body)}, start)

    # --- The server --------------------------------------------------------------

    def start(self) -> Self:
        """Begin to listen, in threads of this process; raises OSError."""
        # Otherwise Werkzeug would end the process if the port is taken.
        with socket.create_server(self._address, backlog=128) as listening:
            self._server = make_server(
                *self._address,
                self.answer,
                threaded=True,
                request_handler=self.handler,  # type: ignore[arg-type]
                fd=listening.fileno(),
            )
            self._address = listening.getsockname()[:2]
        serve = self._server.serve_forever
        self._serving = Thread(target=serve, args=(0.02,), daemon=True)
        self._serving.start()
        return self

    def stop(self) -> None:
        """Close the port."""
        if self._server is not None:
            self._server.shutdown()
            self._serving.join()  # it closes the port
            self._server = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The base URL: `http://127.0.0.1:43211`."""
        return f"http://{self._address[0]}:{self._address[1]}"

    @property
    def authorization(self) -> str:
        """The `Authorization` header of the first key."""
        return authorization(self.keys[0])

    # --- Who may ask, and how much -----------------------------------------------

    def admit(self) -> None:
        """Refuse a wrong key and what is too much; the page is free."""
        for name, value in (request.view_args or {}).items():
            request.view_args[name] = unquote(value)  # type: ignore[index]
        if request.path == "/":
            return
        key = sent_key(self.keys)
        g.bucket = self.bucket(key)
        must_be_known(key)
        if not g.bucket.take(self.cost(request.method), time.monotonic()):
            abort(429, "Too many requests, please try again later.")
        self.writes_done += request.method in WRITE_METHODS

    def _with_the_limit(self, response: Response) -> Response:
        if "bucket" in g:
            response.headers.extend(self.rate_headers(g.bucket))
        return response

    def bucket(self, key: str) -> Bucket:
        """Return the limit of *key*."""
        new = Bucket(self.limit, self.seconds, time.monotonic())
        return self.buckets.setdefault(key, new)

    def cost(self, method: str) -> int:
        """Units of a request."""
        return self.write_cost if method in WRITE_METHODS else 1

    def rate_headers(self, bucket: Bucket) -> dict[str, str]:
        """Return the headers with the rate limit."""
        at, limit = time.monotonic(), self.limit
        return {
            "RateLimit-Limit": f"{limit}, {limit};window={self.seconds:g}",
            "RateLimit-Remaining": str(bucket.remaining(at)),
            "RateLimit-Reset": str(bucket.reset(at)),
        }

    # --- The requests ------------------------------------------------------------

    def create(self) -> Account:
        """POST: create an account."""
        body = self.body()
        account = self.by_external_id.get(body["externalId"])
        made = self.create_again(account, body) if account else self.add(body)
        return self.shown(made)

    def update(self, name: str) -> Account:
        """PUT: merge into an account."""
        body = self.body()
        account = self.find(name)
        made = self.merge(account, body) if account else self.update_missing(name, body)
        return self.shown(made)

    def get(self, name: str) -> Account:
        """GET one account."""
        return self.shown(self.find_or_404(name))

    def delete(self, name: str) -> tuple[str, int]:
        """DELETE: one created later with its external id starts from scratch."""
        account = self.find_or_404(name)
        del self.by_id[account["id"]], self.by_external_id[account["externalId"]]
        return "", 204

    def list_accounts(self) -> dict[str, Any]:
        """GET a page of all accounts."""
        status = request.args.get("status", "active")
        if status not in STAGES:
            abort(400, f"status must be one of {', '.join(STAGES)}")
        return self.page_of(status)

    def health(self, name: str) -> dict[str, Any]:
        """GET the health scores: their shape is not documented, this one is ours."""
        self.find_or_404(name)
        return {"healthScore": None, "healthScores": []}

    def list_members(self, name: str) -> dict[str, Any]:
        """GET a page of the accounts of an organization."""
        id_ = self.organizations.find_or_404(name)["id"]
        return self.page_of("activeOrChurned", lambda a: a["organizationId"] == id_)

    def list_custom_fields(self) -> list[Mapping[str, Any]]:
        """GET the custom traits of a model, a bare list."""
        is_ours = request.args.get("model") == "accounts"
        return [*self.custom_fields] if is_ours else []

    def show_page(self) -> str:
        """GET the page for people: all at a glance, organizations and ignored ones too."""
        every = [*self.organizations.accounts(), *self.accounts()]
        shown = {"accounts": every, "writes": self.writes_done}
        return render_template("simulator.html", **shown)

    # --- The accounts ------------------------------------------------------------

    def accounts(self) -> list[Account]:
        """Return every account, ignored ones too, each with its `lifecycle`."""
        shown = [self.shown(account) for account in list(self.by_id.values())]
        return [account | {"lifecycle": self.stage(account)} for account in shown]

    def revenue(self, traits: Mapping[str, Any]) -> Any:
        """Return what the traits say an account pays."""
        values = map(traits.get, self.revenue_traits)
        return next((value for value in values if value is not None), None)

    def stage(self, account: Account) -> str:
        """Return the lifecycle stage of an account as it is shown."""
        return stage(account)

    def find(self, name: str) -> Account | None:
        """Return the account that has *name* as one of its two ids."""
        return self.by_id.get(name) or self.by_external_id.get(name)

    def find_or_404(self, name: str) -> Account:
        """Return the same, or answer 404."""
        return self.find(name) or abort(404, f"{self.word} not found.")

    def create_again(self, account: Account, body: Mapping[str, Any]) -> Account:
        """Answer a second creation; Vitally does not document how."""
        abort(409, f"An {self.word.lower()} with this externalId already exists.")

    def update_missing(self, name: str, body: Mapping[str, Any]) -> Account:
        """Answer an update of nobody."""
        abort(404, f"{self.word} not found.")

    def add(self, body: Mapping[str, Any]) -> Account:
        """Add an account."""
        id_, external_id = str(uuid.uuid4()), body["externalId"]
        account = {**BLANK, "id": id_, "externalId": external_id}
        self.by_id[id_] = self.by_external_id[external_id] = account
        self.merge(account, body)
        account["createdAt"] = account["updatedAt"]
        insort(self.births, f"{account['createdAt']}~{id_}")
        return account

    def merge(self, account: Account, body: Mapping[str, Any]) -> Account:
        """Merge a checked *body* into an account; null removes a trait."""
        changes = body.get("traits", {})
        traits = {
            name: value
            for name, value in (account["traits"] | changes).items()
            if value is not None or name not in changes
        }
        kept = {name: body[name] for name in ("name", "organizationId") if name in body}
        at = max(instant(now()), account["updatedAt"] or "")
        account.update(kept, traits=traits, updatedAt=at)
        if (revenue := self.revenue(traits)) is not None:
            self.last_revenue[account["id"]] = revenue
        return account

    def shown(self, account: Account) -> Account:
        """Return an account with the fields that its traits feed."""
        traits = account["traits"]
        dates = {name: moment(traits.get(name)) for name in DATES}
        mrr = self.revenue(traits)
        if mrr is None and dates["churnedAt"]:
            mrr = self.last_revenue.get(account["id"])
        return account | {"mrr": mrr} | dates

    def body(self, kind: str = "") -> dict[str, Any]:
        """Return the JSON of the request, or answer 400: no coercion, the first fault."""
        schema = SCHEMAS[kind or request.method]
        body = request.get_json(force=True, silent=True)
        if body is None:
            abort(400, "The body is no JSON.")
        if not isinstance(body, dict):
            invalid("", "type", {"type": "object"}, "must be object")
        for name in schema["required"]:
            if name not in body:
                words = f"must have required property '{name}'"
                invalid("", "required", {"missingProperty": name}, words)
        for name, of in schema["properties"].items():
            kind, types = ",".join(of["type"]), tuple(TYPES[one] for one in of["type"])
            if name in body and not isinstance(body[name], types):
                invalid(f"/{name}", "type", {"type": kind}, f"must be {kind}")
        return self.placed(body)

    def placed(self, body: dict[str, Any]) -> dict[str, Any]:
        """Return *body* with Vitally's id of the organization that it names.

        An update may name either id of it, a creation only Vitally's.
        """
        name, organizations = body.get("organizationId"), self.organizations
        if name is None:
            return body
        is_new = request.method == "POST"
        found = organizations.by_id.get(name) if is_new else organizations.find(name)
        if not found and self.unknown_organization:
            abort(self.unknown_organization, "Organization not found.")
        return {**body, "organizationId": found["id"] if found else name}

    def page_of(
        self, status: str, wanted: Callable[[Account], bool] = lambda _: True
    ) -> dict[str, Any]:
        """Return a page of the *wanted* accounts, newest first.

        The cursor is the last row's place in the order, so that a row that moves while
        somebody pages by `updatedAt` is missed, as with the real one.
        """
        limit = request.args.get("limit", PAGE_CAP, int)
        after = request.args.get("from")
        if limit < 1:
            abort(400, f"limit must be from 1 to {PAGE_CAP}")
        if after is not None and "~" not in after:
            abort(400, "from is no cursor")
        rows = (
            (place, account)
            for place, account in self.newest_first(after)
            if self.stage(account) in STAGES[status] and wanted(account)
        )
        page = [*islice(rows, min(limit, PAGE_CAP))]
        more = next(rows, None) is not None
        return {
            "results": [account for _, account in page],
            "next": page[-1][0] if more else None,
        }

    def newest_first(self, after: str | None) -> Iterator[tuple[str, Account]]:
        """Yield the accounts that follow a place, each with its place."""
        if request.args.get("sortBy") == "createdAt":
            end = len(self.births) if after is None else bisect_left(self.births, after)
            for place in map(self.births.__getitem__, range(end - 1, -1, -1)):
                if account := self.by_id.get(place.partition("~")[2]):
                    yield place, self.shown(account)
            return
        rows = {f"{a['updatedAt']}~{a['id']}": a for a in self.by_id.values()}
        for place in sorted(rows, reverse=True):
            if after is None or place < after:
                yield place, self.shown(rows[place])


class Organizations(Simulator):
    """The organizations of a *workspace*: shaped like its accounts, with the same rules."""

    word = "Organization"

    def __init__(self, workspace: Simulator) -> None:
        self.workspace, self.organizations = workspace, self
        self.empty()

    def shown(self, account: Account) -> Account:
        """Return an organization with the fields that its traits and accounts feed."""
        accounts = self.workspace.by_id.values()
        count = sum(one["organizationId"] == account["id"] for one in accounts)
        own = {"organizationOwnerId": None, "accountsCount": count}
        shown = super().shown(account) | own | {"firstPaidDate": None}
        for name in ("accountOwnerId", "organizationId"):
            del shown[name]
        return shown


@cache
def url_map(*requests: str) -> Map:
    """Return the map of *requests*, each a method and a path; it is slow to make."""
    rules = (one.split() for one in requests)
    return Map([Rule(r, methods=[m], endpoint=f"{m} {r}") for m, r in rules])


def stage(account: Account) -> str:
    """Apply the lifecycle rules: any revenue, even 0, makes an account subscribed."""
    if account["traits"].get("ignored"):
        return "ignored"
    if account["churnedAt"]:
        return "churned"
    is_trial = account["trialEndDate"] and account["mrr"] is None
    return "trial" if is_trial else "subscribed"


def authorization(key: str) -> str:
    """Return the header: the key is the user of HTTP Basic, the password is empty."""
    return f"Basic {base64.b64encode(f'{key}:'.encode()).decode()}"


def sent_key(keys: Sequence[str]) -> str:
    """Return which of *keys* the request has; "": none."""
    sent = request.headers.get("Authorization")
    return next((key for key in keys if authorization(key) == sent), "")


def must_be_known(key: str) -> None:
    """Answer 401 where the request has no key, or one that is not known."""
    if "Authorization" not in request.headers:
        abort(401, "Authorization header not present.")
    if not key:
        abort(401, "Invalid API key.")


def now() -> int:
    """Return the present instant in milliseconds."""
    return time.time_ns() // 1_000_000


def moment(value: Any) -> str | None:
    """Return a trait as an instant: ISO 8601 or milliseconds; anything else is None."""
    try:
        if isinstance(value, str):
            at = datetime.fromisoformat(value)
            at = at if at.tzinfo else at.replace(tzinfo=UTC)
            return instant(round(at.timestamp() * 1000))
        if isinstance(value, int | float) and not isinstance(value, bool):
            return instant(int(value))
    except (ValueError, OverflowError, OSError):
        pass
    return None


def invalid(
    path: str, keyword: str, params: Mapping[str, str], message: str
) -> NoReturn:
    """Answer 400 as Vitally's JSON schema validator does; *path* is `/externalId`."""
    fault = {
        "instancePath": path,
        "schemaPath": f"#{f'/properties{path}' if path else ''}/{keyword}",
        "keyword": keyword,
        "params": params,
        "message": message,
    }
    error = {"message": "validation failed", "errors": [fault]}
    abort(make_response({"error": error}, 400))


def refusal(error: HTTPException) -> tuple[dict[str, Any], int]:
    """Say why not in the form of Vitally's own replies."""
    if error is request.routing_exception:  # no such path, or not with this method
        return {"error": f"Cannot {request.method} {request.path}"}, 404
    return {"error": error.description}, error.code or 500
