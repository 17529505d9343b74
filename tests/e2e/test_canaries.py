"""Every secret has a value of its own, everything goes wrong, and no value is seen anywhere.

Looked at are logs, answers with their headers, what commands print, what is in Redis and
in an export, what leaves (alerts, traces, errors, requests' bodies), and the repr of every
object of ours.
"""

from __future__ import annotations

import base64
import gc
import gzip
import os
import re
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from urllib3.util import make_headers

from bridge.config import Config
from bridge.settings import OPTIONS
from bridge.sources import every, load, options
from bridge.store import keys
from bridge.store.connect import connect
from bridge.web import create_app
from bridge.web.health import OPENAPI
from bridge.webhook.auth import STRIPE, sign
from tests.e2e.test_telemetry import Collector, collector
from tests.support.command import Said, called
from tests.support.hook import Hook
from tests.support.local_api import Asked, LocalApi, Reply
from tests.support.server import RedisServer
from tests.support.stack import Stack
from tests.support.stripe import Shop, Stripe
from tests.support.visitor import TOKEN
from tests.support.waiting import eventually
from workers.context import Context

__all__ = ["collector"]

SECRETS = """
REDIS_URL redis://:{}@127.0.0.1:{redis}/0
VITALLY_API_KEY sk_live_{}   VITALLY_ANALYTICS_TOKEN an_live_{}
BRIDGE_ALERT_URL {hook}/alert/{},http://127.0.0.1:1/{}   BRIDGE_HEARTBEAT_URL {hook}/beat/{}
CONSOLE_PASSWORD {}   CONSOLE_USERS ann:read-only:{}
SENTRY_DSN http://{}@{collector}/1   OTEL_EXPORTER_OTLP_ENDPOINT http://user:{}@{collector}
STRIPE_WEBHOOK_SECRET whsec_{}   STRIPE_API_KEY rk_test_{}
HUBSPOT_CLIENT_SECRET {}   HUBSPOT_ACCESS_TOKEN pat-na1-{}
SALESFORCE_WEBHOOK_TOKEN {}   SALESFORCE_CLIENT_SECRET {}
CHARGEBEE_WEBHOOK_PASSWORD {}   CHARGEBEE_API_KEY {}
SHOP_SECRET {}
""".split()  # noqa: SIM905 - a table for the eye
FORMS = dict(zip(SECRETS[::2], SECRETS[1::2], strict=True))
"""How each secret is written; `{}` is its canary. The last is that of a table."""

MARKS = {name: f"C4n4ry{n:02}xQzWvKjY" for n, name in enumerate(FORMS)}
TOML = """
[sources.shop]
verify = "basic"
secret_env = "SHOP_SECRET"
party = "who"
at = "at"
[sources.shop.events.customer]
name = "name"
"""
BROKEN_TOML = (
    '[sources.shop]\nsecret_env = "{}"',
    'x = "{}',
    "{} = {}",
    "[{}]\na=1\na=2",
)
WRONG = """'{}'|http://{}|http://u:{}@[x|redis://:{}@h:x/0|ü {} |{}:{}|whsec_{}|,|{}|a:b:{}
{}|ann:operator:{},ann:operator:{}|https://{}@h/x""".split("|")  # noqa: SIM905 - the same


class Everywhere:
    """All that was seen, by where."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes]] = []

    def add(self, where: str, *what: object) -> None:
        parts = [one if isinstance(one, bytes) else str(one).encode() for one in what]
        self.seen.append((where, b" ".join(parts)))

    def leaks(self, marks: Iterable[str]) -> list[str]:
        """Where a mark is, as it is or in base64."""
        found = []
        for mark in marks:
            # In base64 a text has three forms; each has this middle of it.
            forms = [base64.b64encode(b"x" * n + mark.encode())[4:-4] for n in range(3)]
            for where, what in self.seen:
                if any(form in what for form in (mark.encode(), *forms)):
                    found.append(f"{mark} in {where}")
        return found


class Broken(LocalApi):
    """A source's API that says back what it was sent, with any status."""

    status = 401

    def answer(self, asked: Asked) -> Reply:
        told = {"error": {"message": str(asked.headers)}, "message": str(asked.headers)}
        where = {"Location": f"{self.url}/{asked.headers.get('Authorization', '')}"}
        return Reply(
            told if self.status != 200 else b"<" + orjson.dumps(told),
            self.status,
            where,
        )


def settings_of(places: dict[str, Any], folder: Path) -> dict[str, str]:
    """Every secret with its canary, and what the sources need to be on."""
    told = {}
    for name, form in FORMS.items():
        told[name] = form.replace("{}", MARKS[name]).format(**places)
    (folder / "bridge.toml").write_text(TOML, encoding="utf-8")
    api = places["api"]
    on = {
        f"{name}_API_BASE": api
        for name in ("STRIPE", "HUBSPOT", "CHARGEBEE", "SALESFORCE")
    }
    on |= {"SALESFORCE_ORG_ID": "00Dxx0000000001EAA", "SALESFORCE_CLIENT_ID": "client"}
    on |= {"VITALLY_BASE_URL": places.get("vitally", "http://127.0.0.1:1")}
    on |= {"CHARGEBEE_WEBHOOK_USERNAME": "bee", "STRIPE_MODE": "test"}
    return {
        **told,
        **on,
        "BRIDGE_CONFIG": str(folder / "bridge.toml"),
        "LOG_LEVEL": "DEBUG",
    }


def test_there_is_a_canary_for_each_secret() -> None:
    """Red? A new secret needs a form above."""
    secret = {option.name for option in (*OPTIONS, *options()) if option.secret}

    assert secret | {"SHOP_SECRET"} == set(FORMS)


def play(stack: Stack, api: Broken, seen: Everywhere) -> None:
    """Let each kind of thing go wrong, in the processes."""
    web, shop = stack.webs[0], Shop()
    stripe = Stripe([web.url], stack.environ["STRIPE_WEBHOOK_SECRET"])
    stack.vitally.rotate(stack.environ["VITALLY_API_KEY"])
    stripe.post(shop.signs_up())
    stack.settled()
    said = {"error": f"the key {stack.environ['VITALLY_API_KEY']} is not known"}
    faults: list[dict[str, Any]] = [
        {"kind": "status", "status": n, "body": said} for n in (500, 422, 403)
    ]
    for fault in (*faults, {"kind": "non_json"}, {"kind": "timeout_after_commit"}):
        told = len(stack.vitally.writes())
        stack.vitally.break_with([fault])
        stripe.post(Shop().signs_up())
        eventually(lambda n=told: len(stack.vitally.writes()) > n, what="a write")
    stack.vitally.mend()
    for kind in ("another", "x" * 70_000, "no json"):
        for source in (
            "stripe",
            "hubspot",
            "salesforce",
            "chargebee",
            "shop",
            "nobody",
        ):
            reply = web.ask(
                "POST", f"/webhooks/{source}?token=wrong", body=kind.encode()
            )
            seen.add(f"reply of {source}", dict(reply.headers), reply.data)
    bad = sign(STRIPE, stack.environ["STRIPE_WEBHOOK_SECRET"], b"{", time.time())
    seen.add(
        "quarantined", web.ask("POST", "/webhooks/stripe", body=b"{", headers=bad).data
    )
    crash = Shop()
    stack.redis.hset(keys.facts(f"stripe:{crash.id}"), "x\ty", "no row")
    stripe.post(crash.signs_up())
    eventually(lambda: "job failed" in stack.workers[0].output, what="a traceback")
    stack.redis.delete(keys.facts(f"stripe:{crash.id}"))


def look(stack: Stack, seen: Everywhere) -> None:
    """Ask for every page and file of the web process, as each of its users and as nobody."""
    web = stack.webs[0]
    shown = (
        f"admin:{MARKS['CONSOLE_PASSWORD']}",
        f"ann:{MARKS['CONSOLE_USERS']}",
        "a:no",
        "",
    )
    names = {
        "{name}": "nobody",
        "{id_}": "x",
        "{action}": "retry",
        "{source}": "stripe",
    }
    jobs = stack.redis.zrange("rq:failed:bridge", 0, -1)
    queues = ["data/jobs/bridge/failed/8/asc/1.json", "view/jobs", "view/workers"]
    queues += [f"view/job/{job.decode()}" for job in jobs]
    paths = [
        *orjson.loads(OPENAPI)["paths"],
        *(f"/console/queues/0/{q}" for q in queues),
    ]
    for pattern in paths:
        path = re.sub(r"{\w+}", lambda found: names[found[0]], pattern)
        for user in shown[: 4 if path == "/console/" else 2]:
            headers = make_headers(basic_auth=user) if user else {}
            reply = web.ask("GET", path, headers=headers, timeout=20, redirect=False)
            seen.add(path, dict(reply.headers), reply.data)
    known = make_headers(basic_auth=shown[0])
    token = TOKEN.search(web.ask("GET", "/console/plan", headers=known).data.decode())
    assert token
    form = {"csrf": token[1], "name": "nobody", "party": "stripe:x"}
    for action in ("link", "retry", "fold", "cluster", "apply"):
        more: Any = {"fields": form, "encode_multipart": False, "redirect": False}
        reply = web.ask("POST", f"/console/do/{action}", headers=known, **more)
        seen.add(action, dict(reply.headers), reply.data)


COMMANDS = """status|doctor|why nobody|why stripe:nobody --json|plan --json|held|parked
quarantine list|sources|gaps|backfill stripe --yes|send shop|backfill hubspot --yes
backfill chargebee --yes|backfill salesforce --yes|accounts list|accounts get x|reconcile
accounts find x --json|retry --all|setup stripe|setup stripe --print|setup hubspot --print
link a b|nonsense|doctor --json|status --json
send stripe customer.created --to http://127.0.0.1:1""".replace("\n", "|").split("|")

ASKING = ("doctor", "setup stripe", "gaps --json")
"""Those that ask a source and do not ask again for minutes."""


def type_all(
    environ: dict[str, Any], seen: Everywhere, words: Iterable[str] = COMMANDS
) -> None:
    for line in words:
        said: Said = called(*line.split(), environ=environ, status=None)
        seen.add(line, said.out, said.err)


def mistakes(
    environ: dict[str, Any], folder: Path
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Settings that are wrong, each with the canary of the setting in it."""
    for name in FORMS:
        for form in WRONG:
            yield f"{name}={form}", environ | {name: form.replace("{}", MARKS[name])}
        path = folder / f"{name}.txt"
        path.write_bytes(f"\xff{MARKS[name]}".encode("latin-1"))
        yield f"{name}_FILE", {**environ, name: "", f"{name}_FILE": path}
        yield f"{name}_FILE is it", {**environ, name: "", f"{name}_FILE": MARKS[name]}
        yield f"{name} twice", {**environ, f"{name}_FILE": path}
    for number, form in enumerate(BROKEN_TOML):
        path = folder / f"{number}.toml"
        path.write_text(form.replace("{}", MARKS["SHOP_SECRET"]), encoding="utf-8")
        yield form, environ | {"BRIDGE_CONFIG": path}


def stored(stack: Stack, file: Path, seen: Everywhere) -> None:
    """What is in Redis, nothing of it compressed, and in an export."""
    called("export", str(file), environ=stack.environ)
    seen.add("export", gzip.decompress(file.read_bytes()))
    stack.redis.config_set("rdbcompression", "no")
    for key in stack.redis.scan_iter():
        seen.add("a key of Redis", key, stack.redis.dump(key))
    for key in stack.redis.scan_iter("rq:job:*"):
        for name, value in stack.redis.hgetall(key).items():
            with suppress(zlib.error):
                seen.add(f"{name!r} of a job", zlib.decompress(value))
    for key in stack.redis.scan_iter("rq:results:*"):
        for _, fields in stack.redis.xrange(key):
            packed = base64.b64decode(fields.get(b"exc_string", b""))
            seen.add("a result", packed and zlib.decompress(packed))


def without_redis(stack: Stack, seen: Everywhere) -> None:
    """A Redis that refuses the password: commands, a web process and a worker."""
    url = str(stack.environ["REDIS_URL"]).replace("@", "x@")
    type_all({**stack.environ, "REDIS_URL": url}, seen, COMMANDS[:6])
    web = stack.web(REDIS_URL=url)
    for path in ("/readyz", "/metrics", "/console/"):
        headers = make_headers(basic_auth=f"admin:{MARKS['CONSOLE_PASSWORD']}")
        reply = web.ask("GET", path, headers=headers)
        seen.add(f"{path} without Redis", dict(reply.headers), reply.data)
    stack.worker(REDIS_URL=url).wait_for("redis")


def test_no_secret_is_seen_whatever_goes_wrong(
    tmp_path: Path, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> None:
    seen, folder = Everywhere(), tmp_path_factory.mktemp("files")
    with ExitStack() as ends:
        server = ends.enter_context(RedisServer(tmp_path / "redis"))
        server.config(requirepass=MARKS["REDIS_URL"])
        hook, api = ends.enter_context(Hook()), ends.enter_context(Broken())
        places = {"redis": server.port, "hook": hook.url, "api": api.url}
        environ = settings_of({**places, "collector": collector.address}, folder)
        stack = Stack(tmp_path, redis_url=environ["REDIS_URL"])
        ends.enter_context(stack)
        stack.environ |= {**environ, "VITALLY_BASE_URL": stack.vitally.url}
        stack.web()
        stack.worker()
        play(stack, api, seen)
        look(stack, seen)
        for status in (401, 403, 500, 200, 302):
            api.status = status
            type_all(stack.environ, seen, COMMANDS if status == 401 else ASKING)
        stored(stack, folder / "state", seen)
        without_redis(stack, seen)
        for asked in hook.log:
            seen.add("an alert", asked.body)
        for path, body in collector.posted:
            seen.add(f"posted to {path}", body)
    for log in tmp_path.rglob("*.log"):
        seen.add(f"the log {log.name}", log.read_bytes())
    where = {name.partition("-")[0] for name, _ in seen.seen}
    assert {"the log web", "the log worker", "a key of Redis", "export"} <= where
    assert {"an alert", "posted to /v1/traces", "posted to /api/1/envelope/"} <= where
    assert "b'data' of a job" in {name for name, _ in seen.seen}
    assert [] == seen.leaks(MARKS.values())


def test_no_wrong_setting_is_repeated(tmp_path: Path) -> None:
    seen, places = (
        Everywhere(),
        {"redis": 1, "hook": "http://h", "collector": "c:1", "api": "http://h"},
    )
    environ = settings_of(places, tmp_path)
    for what, wrong in mistakes(environ, tmp_path):
        said = called("status", environ=wrong, status=None)
        seen.add(what, said.out, said.err)

    assert [] == seen.leaks(MARKS.values())


def test_no_repr_of_any_object_of_ours_shows_one(tmp_path: Path, monkeypatch) -> None:
    places = {
        "redis": 1,
        "hook": "http://h",
        "collector": "c:1",
        "api": "http://127.0.0.1:1",
    }
    for name, value in settings_of(places, tmp_path).items():
        monkeypatch.setenv(name, value)
    settings, config = load(os.environ)
    redis = connect(settings.redis_url, verify_tls=True, timeout=0.1, most=1)
    app = create_app(settings, config, redis=redis)
    app.test_client().get(
        "/console/settings", auth=("admin", MARKS["CONSOLE_PASSWORD"])
    )
    context = Context(settings, Config(), redis, threading.Event())
    apis = [source.api(settings.sources) for source in every(settings.sources)]
    seen = Everywhere()
    for one in (redis, redis.connection_pool, app, context, apis):
        seen.add(f"repr of {type(one).__name__}", repr(one))
    for one in gc.get_objects():
        if str(type(one).__module__).startswith(("bridge.", "workers.")):
            seen.add(f"repr of {type(one).__name__}", repr(one))

    assert 100 < len(seen.seen)
    assert [] == sorted({*seen.leaks(MARKS.values())})
