"""The description that programs read, `/openapi.json`, is what the web process answers."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask
from jsonschema import Draft202012Validator
from redis import Redis

from bridge.config import Config
from bridge.ingest import Ingress
from bridge.sources.stripe import SOURCE as STRIPE
from bridge.store import keys
from bridge.store.health import Watch
from bridge.web import create_app
from bridge.web.console import ROOT, create_console, plan
from bridge.web.health import OPENAPI, Health
from bridge.webhook.source import Delivery, Verified
from tests.support.desk import Bench, customer, settings, subscription
from tests.support.server import RedisServer
from tests.support.visitor import KNOWN, Visitor

DOC = json.loads(OPENAPI)
PASSWORD = {"CONSOLE_USERNAME": "ada", "CONSOLE_PASSWORD": "console-example"}
NOT_OURS = ("rq_dashboard.", "static")
"""Beginnings of the endpoints of rq-dashboard, and of the style sheets."""


def routes(app: Flask, below: str = "") -> Iterator[tuple[str, str]]:
    for rule in app.url_map.iter_rules():
        if not rule.endpoint.startswith(NOT_OURS):
            methods = rule.methods or {"POST"}  # a webhook answers any: 405
            path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(rule))
            for method in methods - {"HEAD", "OPTIONS"}:
                yield method.lower(), below + path.replace("{name}", own(path))


def own(path: str) -> str:
    return "{source}" if path.startswith("/webhooks") else "{name}"


def test_it_has_every_route_and_no_other(watch: Watch, redis: Redis) -> None:
    chosen = settings("http://127.0.0.1:1", "redis://127.0.0.1:1/0", **PASSWORD)
    app = create_app(chosen, Config(), redis=redis, watch=watch)
    console = create_console(chosen, Config(), redis, Health(redis, watch, chosen))
    # The overview is mounted at these, too.
    mounted = {("get", ROOT), ("get", f"{ROOT}.json")}
    described = {
        (method, path)
        for path, item in DOC["paths"].items()
        for method in item
        if method != "parameters"
    }

    assert {*routes(app), *routes(console, ROOT), *mounted} == described


def test_each_name_in_a_path_is_a_parameter_and_each_operation_has_its_own_id() -> None:
    ids = [
        operation["operationId"]
        for item in (*DOC["paths"].values(), *DOC["webhooks"].values())
        for method, operation in item.items()
        if method != "parameters"
    ]
    for path, item in DOC["paths"].items():
        given = {p["name"] for p in item.get("parameters", ()) if p["in"] == "path"}

        assert set(re.findall(r"{(\w+)}", path)) == given, path
    assert len(ids) == len(set(ids))


def test_each_reference_leads_somewhere_and_each_schema_is_one() -> None:
    for name, schema in DOC["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert re.findall(r'"#/components/[^"]*"', json.dumps(schema)) == [
            f'"{ref}"' for ref in refs(schema)
        ], name
    for ref in refs(DOC):
        found = DOC
        for key in ref.removeprefix("#/").split("/"):
            found = found[key]


def refs(value: Any) -> list[str]:
    if isinstance(value, dict):
        inner = [ref for one in value.values() for ref in refs(one)]
        return [value["$ref"], *inner] if "$ref" in value else inner
    return [r for one in value for r in refs(one)] if isinstance(value, list) else []


def problems(path: str, method: str, status: int, kind: str, data: Any) -> list[str]:
    """What of an answer is not as described."""
    answer = DOC["paths"][path][method]["responses"].get(str(status), {})
    if "$ref" in answer:
        answer = DOC["components"]["responses"][answer["$ref"].rpartition("/")[2]]
    content = answer.get("content", {}).get(kind.partition(";")[0])
    if content is None:
        return [f"{status} {kind} is not described"]
    whole = {**content.get("schema", {}), "components": DOC["components"]}
    found = Draft202012Validator(whole).iter_errors(data)
    return [f"{error.json_path}: {error.message}" for error in found]


def small(desk: Bench, redis: Redis) -> None:
    """A state with something of each kind: written, held, parked, quarantined."""
    desk.rests(customer(), subscription())
    desk.does(customer("cus_2", account=None, called="Held"))
    desk.fault("status", status=422)
    desk.does(customer("cus_3", account="parked"), subscription("cus_3", "sub_3"))
    desk.tell(customer("cus_4", account="new"))
    ingress = Ingress(desk.context.settings, redis, [STRIPE])
    ingress.take_in(STRIPE, Verified(Delivery("POST", "/", {}, b"no event", "abc")))


@pytest.fixture
def plans(environ, monkeypatch) -> Iterator[None]:
    """What a plan's own process is given, and plans of its own."""
    for name, value in environ.items():
        monkeypatch.setenv(name, str(value))
    own = plan.Plans()
    monkeypatch.setattr(plan, "PLANS", own)
    yield
    own._pool.shutdown()
    own._keep([])


@pytest.mark.usefixtures("plans")
def test_every_answer_to_a_get_is_as_described(
    desk: Bench, redis: Redis, redis_server: RedisServer, watch: Watch
) -> None:
    small(desk, redis)
    chosen = settings(desk.vitally.url, redis_server.url, **PASSWORD)
    app = create_app(chosen, Config(), redis=redis, watch=watch)
    clusters = Visitor(app, redis).data("attention.json")["clusters"]
    places = [{"name": name} for name in ("acme", "stripe:cus_2", "parked", "nobody")]
    places += [{"id_": "x"}, *({"id_": c["id"]} for c in clusters)]
    places += [{"id_": c["id"], "action": a} for c in clusters for a in c["certain"]]
    client, statuses = app.test_client(), Counter[int]()
    for path in (path for path, item in DOC["paths"].items() if "get" in item):
        names = set(re.findall(r"{(\w+)}", path))
        for place in [p for p in places if set(p) == names] or [{}] * (not names):
            at = path.format(**place)
            for auth in (KNOWN, None):
                answer = client.get(at, auth=auth)
                data = answer.json if answer.is_json else answer.text
                about = (answer.status_code, answer.content_type, data)
                assert [] == problems(path, "get", *about), at
                statuses[answer.status_code] += 1

    assert {200, 401, 404, 503} == set(statuses)  # 503: no worker is heard
    assert 30 < statuses[200]


def test_an_account_that_cannot_be_worked_out_is_as_described(
    desk: Bench, visit: Visitor
) -> None:
    desk.rests(customer(), subscription(currency="jpy"))
    desk.redis.hset(keys.facts("stripe:cus_1"), "subscription:x\te", b"[0, 1]")

    data = visit.data("accounts/acme.json")

    assert ("ValueError" in data["fault"], "JPY") == (True, data["currency"])
    about = ("get", 200, "application/json", data)
    assert [] == problems("/console/accounts/{name}.json", *about)


def test_receipts_and_refusals_of_deliveries_are_as_described(
    desk: Bench, redis: Redis, watch: Watch
) -> None:
    proven = {"CHARGEBEE_WEBHOOK_USERNAME": "u", "CHARGEBEE_WEBHOOK_PASSWORD": "p" * 16}
    shown = settings("http://127.0.0.1:1", "redis://127.0.0.1:1/0", **proven)
    client = create_app(shown, redis=redis, watch=watch).test_client()
    statuses = set()
    for source, auth in (
        ("chargebee", ("u", "p" * 16)),
        ("chargebee", None),
        ("x", None),
    ):
        for body in (b"{}", b"[", b'{"id": "e", "event_type": "coupon_created"}'):
            answer = client.post(f"/webhooks/{source}", data=body, auth=auth)
            about = (answer.status_code, answer.content_type, answer.json)
            assert [] == problems("/webhooks/{source}", "post", *about)
            statuses.add(answer.status_code)

    assert {202, 401, 404} == statuses
