"""The simulator's custom objects, and the Analytics API that upserts their instances.

https://docs.vitally.io/pushing-data-to-vitally/rest-api/custom-objects and
https://docs.vitally.io/en/articles/9874151-vitally-s-https-analytics-api-batch. The
Analytics API has a key of its own and no limit that is known. It answers before it has
done anything, and never tells what became of a message.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flask import abort, request

from bridge.domain.traits import instant
from bridge.vitally import simulator as product

if TYPE_CHECKING:
    from tests.support.vitally.switches import Switched

EXAMPLE_TOKEN = "an_test_example"

TEXT = {"type": ["string"]}
product.SCHEMAS["customObject"] = {"required": ["name"], "properties": {"name": TEXT}}
product.SCHEMAS["instance"] = {
    "required": ["name"],
    "properties": {
        **dict.fromkeys(("externalId", "name", "customerId", "organizationId"), TEXT),
        "traits": {"type": ["object"]},
    },
}

BATCH_CAP = 100
"""Most messages of a batch."""

SEARCHED = frozenset({"id", "externalId", "customerId", "organizationId"})
"""By exactly one of these a search finds the first instance that has it."""

Instance = dict[str, Any]


class CustomObjects:
    """What a workspace has of them; an answered message is applied after *delay* seconds."""

    delay = 0.0

    def __init__(self, workspace: Switched) -> None:
        self.workspace = workspace
        self.clear()
        path, one = "/resources/customObjects", "/resources/customObjects/<object_id>"
        self.routes = (
            ("GET", path, lambda: {"results": [*self.objects.values()], "next": None}),
            ("POST", path, self.add_object),
            ("GET", f"{one}/instances", self.list_instances),
            ("POST", f"{one}/instances", self.create),
            ("GET", f"{one}/instances/search", self.search),
            ("PUT", f"{one}/instances/<name>", self.update),
            ("POST", "/analytics/v1/<kind>", self.take),
        )

    def clear(self) -> None:
        """Forget everything."""
        self.objects: dict[str, dict[str, Any]] = {}
        self.instances: dict[str, Instance] = {}  # those updated last at the end
        self.waiting: list[tuple[float, Mapping[str, Any]]] = []
        self.taken: set[str] = set()

    def add_object(self) -> dict[str, Any]:
        """POST a custom object."""
        made = {"id": str(uuid.uuid4()), **self.workspace.body("customObject")}
        return self.objects.setdefault(made["id"], made)

    def create(self, object_id: str) -> Instance:
        """POST an instance; how Vitally answers a second one is not documented."""
        body = self.workspace.body("instance")
        if self.find(self.known(object_id), body.get("externalId")):
            abort(409, "An instance with this externalId already exists.")
        return self.put(object_id, body)

    def update(self, object_id: str, name: str) -> Instance:
        """PUT: merge into an instance."""
        found = self.find(self.known(object_id), name) or abort(404, "Not found.")
        return self.put(object_id, self.workspace.body("PUT"), found)

    def list_instances(self, object_id: str) -> dict[str, Any]:
        """GET a page of an object's instances, those updated last first."""
        rows, limit = self.shown(object_id), request.args.get("limit", 100, int)
        begin = request.args.get("from", 0, int)
        page, more = rows[begin : begin + limit], begin + limit < len(rows)
        return {"results": page, "next": str(begin + limit) if more else None}

    def search(self, object_id: str) -> Any:
        """GET the first instance that has one value."""
        if len(request.args) != 1 or not request.args.keys() <= SEARCHED:
            abort(400, "Exactly one search parameter is required.")
        ((key, value),) = request.args.items()
        rows = (row for row in self.shown(object_id) if row[key] == value)
        return self.workspace.first_match(next(rows, None))

    def take(self, kind: str) -> dict[str, str]:
        """POST a message, or a batch of them, each to be applied later."""
        body = request.get_json(force=True, silent=True)
        messages = body if kind == "batch" else [{"type": kind, **(body or {})}]
        if not isinstance(messages, list) or len(messages) > BATCH_CAP:
            abort(400, f"A batch is an array of at most {BATCH_CAP} messages.")
        for message in messages:
            id_ = str(message.get("messageId") or uuid.uuid4())
            if id_ not in self.taken:
                self.taken.add(id_)
                self.waiting.append((time.monotonic() + self.delay, message))
        return {"message": "Success."}

    def catch_up(self) -> None:
        """Apply the messages that are due, in the order in which they are."""
        now = time.monotonic()
        due = sorted((one for one in self.waiting if one[0] <= now), key=lambda m: m[0])
        self.waiting = [one for one in self.waiting if one[0] > now]
        for _, message in due:
            account = self.workspace.by_external_id.get(str(message.get("accountId")))
            traits = message.get("traits") or {}
            if message.get("type") == "account":
                named = {"name": traits.get("name"), "traits": traits}
                body = {"externalId": message.get("accountId"), **named}
                merge = self.workspace.merge
                merge(account, body) if account else self.workspace.add(body)
            elif account and message.get("customObjectId") in self.objects:
                body = {**message, "customerId": account["id"]}
                found = self.find(message["customObjectId"], message["externalId"])
                self.put(message["customObjectId"], body, found)

    def put(
        self, object_id: str, body: Mapping[str, Any], found: Instance | None = None
    ) -> Instance:
        """Merge a checked *body* into an instance, or into a new one."""
        blank = dict.fromkeys(("name", *sorted(SEARCHED)))
        made = found or {**blank, "id": str(uuid.uuid4()), "customObjectId": object_id}
        kept = {k: body[k] for k in made.keys() & body.keys() - {"id", "traits"}}
        traits = {**made.get("traits", {}), **body.get("traits", {})}
        left = {k: value for k, value in traits.items() if value is not None}
        at = instant(time.time_ns() // 1_000_000)
        made |= {"createdAt": made.get("createdAt", at), "updatedAt": at}
        made |= {**kept, "traits": left}
        self.instances.pop(made["id"], None)
        return self.instances.setdefault(made["id"], made)

    def known(self, object_id: str) -> str:
        """Return the id of a custom object, or answer 404."""
        return object_id if object_id in self.objects else abort(404, "Not found.")

    def find(self, object_id: str, name: str | None) -> Instance | None:
        """Return the instance that has *name* as one of its two ids."""
        rows = (r for r in self.instances.values() if r["customObjectId"] == object_id)
        return next(
            (r for r in rows if name and name in {r["id"], r["externalId"]}), None
        )

    def shown(self, object_id: str) -> list[Instance]:
        """Return an object's instances with their customers, those updated last first."""
        by_id, wanted = self.workspace.by_id, self.known(object_id)
        return [
            row | {"customer": by_id.get(row["customerId"] or "")}
            for row in reversed(self.instances.values())
            if row["customObjectId"] == wanted
        ]
