"""Every parser against what nobody should send: `python -m tests.support.fuzz MINUTES`.

Real deliveries, files and addresses are changed at random, and read as the bridge reads
them. A target returns what is wrong, "" if nothing is; it raises only what is a find. The
inputs of finds are written to a folder, to become rows of the tests.
"""

from __future__ import annotations

import base64
import gzip
import hmac
import json
import logging
import math
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from io import BytesIO
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import orjson
from marshmallow import ValidationError

from bridge.config import Config
from bridge.domain.account import unite
from bridge.domain.document import Ledger, difference, document
from bridge.domain.facts import Fact
from bridge.domain.fold import compact, fold
from bridge.errors import ConfigError, PayloadError, SignatureError
from bridge.ingest import Ingress
from bridge.log import places as places_of
from bridge.settings import OPTIONS
from bridge.sources import load
from bridge.store import codec
from bridge.store.connect import connect
from bridge.store.health import Watch
from bridge.vitally.client import Vitally
from bridge.web import create_app
from bridge.web.front import Front, ambiguity, environ_of
from tests.sources.known import NOW, Known, every
from tests.sources.test_hostile import ABSURD, PIECES, changed, places
from tests.support import desk
from tests.support.command import called
from tests.support.lives import by_party
from tests.support.processes import ROOT
from tests.support.reader import folded
from tests.support.server import RedisServer

Target = Callable[[Random, bytes], str]
"""Reads an input, and says what is wrong ("": nothing)."""

MORE = os.environ.get("FUZZ_PAYLOADS")
"""A folder with more deliveries, by source."""

TOKENS = (
    *(one.encode() for one in ABSURD if len(one) < 99),
    *(
        b"\x00",
        b"\xff",
        b"\xed\xa0\x80",
        b"\r\n",
        b"\n",
        b"<!DOCTYPE x>",
        b"&x;",
        b"&#0;",
    ),
    *(
        b"<a/>",
        b"]]>",
        b"<![CDATA[",
        b"%00",
        b"%zz",
        b"..",
        b"'''",
        b'"""',
        b"[[a]]",
        b"=",
    ),
    *PIECES,
)


def mangled(rng: Random, body: bytes) -> bytes:
    """*body* with a few bytes changed, cut, doubled or put in."""
    for _ in range(rng.randint(1, 4)):
        a, b = sorted(rng.randint(0, len(body)) for _ in range(2))
        b = min(b, a + rng.choice([1, 8, 64, 4096]))
        new = rng.choice([b"", body[a:b] * 2, rng.choice(TOKENS), rng.randbytes(2)])
        body = body[:a] + new + body[a if rng.random() < 0.3 else b :]
    return body


def damaged(rng: Random, body: bytes) -> bytes:
    """The same; half the time with values of its JSON replaced, so that it stays JSON."""
    try:
        whole = json.loads(body) if rng.random() < 0.7 else None
    except ValueError:
        whole = None
    if not isinstance(whole, dict | list):
        return mangled(rng, body)
    spots, absurd = list(places(whole)), [rng.choice(ABSURD) for _ in range(3)]
    for n in range(rng.randint(1, 3)):
        with suppress(
            LookupError, TypeError, AttributeError
        ):  # a place within one that is gone
            whole = changed(whole, rng.choice(spots), f"place {n}")
    text = json.dumps(whole)
    for n, raw in enumerate(absurd):
        text = text.replace(f'"place {n}"', raw)
    return text.encode(errors="surrogatepass")


# --- Deliveries: signature, split, schema, facts, fold, document -----------------------


def seeds(known: Known) -> list[bytes]:
    """Recorded deliveries of a source."""
    more = sorted((Path(MORE) / known.name).glob("*")) if MORE else []
    return [path.read_bytes() for path in (*known.bodies, *more)]


def delivered(known: Known, rng: Random, body: bytes) -> str:
    """A damaged delivery with the right signature, or with a damaged one."""
    settings = {**known.options, **known.on}
    delivery = known.signed(body, known.secret)
    if rng.random() < 0.1:
        name = rng.choice([*delivery.headers, "x"])
        value = mangled(rng, delivery.headers.get(name, "").encode()).decode("latin-1")
        url = mangled(rng, delivery.url.encode()).decode("latin-1")
        delivery = delivery._replace(headers={**delivery.headers, name: value}, url=url)
    try:
        verified = known.source.verify(delivery, settings, NOW)
        events = list(known.source.split(verified))
    except (SignatureError, PayloadError):
        return ""
    facts: list[Fact] = []
    for event in events:
        handler = known.source.handler(event.type, settings)
        if handler and not event.refusal and not known.source.ignores(event, settings):
            with suppress(ValidationError):
                facts += handler.facts(event, handler.schema.load(event.body), settings)
    return worked_out(facts)


def worked_out(facts: list[Fact]) -> str:
    """What the worker makes of *facts*: each number is finite, each text can be sent."""
    for party, own in by_party(facts).items():
        rows = {codec.field(fact).encode(): codec.row(fact) for fact in own}
        fold(compact(codec.read(party, rows)))
    doc = document(unite("account", folded(facts)))
    sent = difference(doc, Ledger()).traits
    text = orjson.dumps(sent)  # raises what no JSON can hold
    numbers = [v for v in sent.values() if isinstance(v, int | float)]
    wrong = [v for v in numbers if not math.isfinite(v) or abs(v) >= 2**53]
    return f"numbers {wrong}" if wrong or b"\\ud" in text else ""


class Bridge:
    """A Redis, a worker, a simulated Vitally and the web process, in this process."""

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        server = stack.enter_context(RedisServer())
        redis = stack.enter_context(server.client())
        self.bench = stack.enter_context(desk.bench(redis))
        self.folder, self.turns = folder, 0
        self.environ = {
            "REDIS_URL": server.url,
            "VITALLY_API_KEY": desk.settings("http://x", server.url).vitally_api_key,
            "VITALLY_BASE_URL": self.bench.vitally.url,
            "STRIPE_WEBHOOK_SECRET": "whsec_example",
            "CONSOLE_PASSWORD": "an-example-password",
        }
        self.config = folder / "bridge.toml"
        self.chosen = replace(
            load(self.environ)[0],
            sources={
                k: v for one in every() for k, v in (one.options | one.on).items()
            },
        )
        watch = Watch(redis)
        watch.check()
        app = create_app(self.chosen, Config(), redis=redis, watch=watch)
        self.front = Front(app, {"stripe"})

    def clean(self) -> None:
        """Empty Redis now and then."""
        self.turns += 1
        if self.turns % 50 == 0:
            self.bench.redis.flushdb()

    def taken(self, known: Known, _: Random, body: bytes) -> str:
        """Nothing that was accepted stops a job, and Vitally takes what is written."""
        self.clean()
        sources = {**self.chosen.sources, **known.options, **known.on}
        chosen = replace(self.chosen, sources=sources)
        ingress = Ingress(chosen, self.bench.redis, [known.source])
        with suppress(SignatureError):
            ingress.receive(known.source, known.signed(body, known.secret), NOW)
        words = self.bench.work()
        return f"outcomes {words}" if "parked" in words else ""

    def asked(self, rng: Random, raw: bytes) -> str:
        """A request of damaged bytes: no answer of 5xx but 503."""
        self.clean()
        head, _, body = raw.partition(b"\n\n")
        first, *lines = head.split(b"\n")
        method, _, url = first.partition(b" ")
        path, _, query = url.partition(b"?")
        pairs = (line.partition(b":") for line in lines)
        scope: dict[str, Any] = {
            "method": method.decode("latin-1"),
            "raw_path": path,
            "scheme": "http",
            "query_string": query,
            "http_version": "1.1",
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 1),
            "headers": [(name.lower(), value.strip()) for name, _, value in pairs],
        }
        environ = environ_of(scope) | {"wsgi.input": BytesIO(body)}
        if ambiguity(scope, environ):
            return ""
        status = self.front._call(environ)[0]
        return f"status {status}" if status >= 500 and status != 503 else ""

    def typed(self, *words: str) -> Target:
        """A command with a damaged file as its last word: it ends with a sentence."""

        def target(_: Random, body: bytes) -> str:
            self.clean()
            if words[0] == "import":
                self.bench.redis.flushdb()
            file = self.folder / "given"
            file.write_bytes(body)
            said = called(*words, str(file), environ=self.environ, status=None)
            return "traceback" if "Traceback" in said.err else ""

        return target

    def exported(self) -> bytes:
        """The file of a small state."""
        self.bench.settles(desk.customer(), desk.subscription())
        file = self.folder / "state"
        called("export", str(file), environ=self.environ)
        return gzip.decompress(file.read_bytes())

    def planned(self) -> bytes:
        """The file of a plan of one account."""
        self.bench.redis.flushdb()
        self.bench.tell(desk.customer(), desk.subscription())
        file = self.folder / "plan"
        called("plan", "--out", str(file), environ=self.environ)
        return file.read_bytes()

    def configured(self, _: Random, body: bytes) -> str:
        """A damaged bridge.toml: only problems, and no traceback."""
        self.config.write_bytes(body)
        with suppress(ConfigError):
            load({**self.environ, "BRIDGE_CONFIG": str(self.config)})
        return ""

    def set(self, _: Random, body: bytes) -> str:
        """Damaged settings: only problems; and what is taken can be used."""
        lines = body.decode("utf-8", "surrogateescape").split("\n")
        pairs = (line.partition("=") for line in lines)
        try:
            settings, _ = load({name: value for name, _, value in pairs})
        except ConfigError:
            return ""
        url, verify = settings.redis_url, settings.redis_tls_verify
        connect(url, verify_tls=verify, timeout=1, most=1).close()
        Vitally(settings.vitally_base_url, settings.vitally_authorization).close()
        secrets = {getattr(settings, o.name.lower(), None) for o in OPTIONS if o.secret}
        shown = [
            s
            for s in secrets
            if isinstance(s, str) and len(s) > 5 and s in repr(settings)
        ]
        return f"shown {shown}" if shown else ""


# --- All of them ----------------------------------------------------------------------


def tomls() -> list[bytes]:
    """Every example of bridge.toml in the documentation, and every recipe."""
    pages = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("bridge/**/*.md")]
    blocks = (re.findall(r"```toml\n(.*?)```", p.read_text(), re.DOTALL) for p in pages)
    recipes = ROOT.glob("bridge/sources/generic/recipes/*.toml")
    return [
        *(b.encode() for some in blocks for b in some),
        *(p.read_bytes() for p in recipes),
    ]


ENVIRON = """REDIS_URL=rediss://u:p%20w@[::1]:6379/0?ssl_cert_reqs=none&protocol=3
VITALLY_API_KEY=sk_live_example
VITALLY_BASE_URL=https://acme.rest.vitally.io
BRIDGE_PUBLIC_URL=http://[::1]:80/
BRIDGE_ALERT_URL=https://u:p@hooks.example/x?y, http://h/
SENTRY_DSN=https://k@sentry.example/1
STRIPE_WEBHOOK_SECRET=whsec_ZXhhbXBsZWV4YW1wbGU=,whsec_b
HUBSPOT_CLIENT_SECRET=an-example-client-secret
SALESFORCE_ORG_ID=00Dxx0000000001EAA
SALESFORCE_WEBHOOK_TOKEN=an-example-webhook-token
CHARGEBEE_WEBHOOK_PASSWORD=an-example-password
WORKER_PROCESSES=2"""
UNIX = "REDIS_URL=unix://u:p@/tmp/x?db=1&password=y\nVITALLY_API_KEY=Basic abc\nVITALLY_SUBDOMAIN=a"

LOGIN = b"Authorization: Basic " + base64.b64encode(b"admin:an-example-password")
PATHS = (
    "",
    "index.json",
    "accounts?q=a&page=2&sort=mrr&state=held",
    "accounts/a%2Fb.json",
)
PATHS += (
    "deliveries?source=stripe&since=2026-01-01&after=1-1",
    "attention/x",
    "vitally?limit=5",
)
PATHS += ("settings.json", "queues/0/view/jobs/bridge/failed/8/asc/1", "vitally/acme")
POSTS = ("link", "retry", "fold", "cluster")


def requests() -> Iterator[bytes]:
    """Requests of each kind, signed ones too."""
    (stripe,) = (known for known in every() if known.name == "stripe")
    body = stripe.bodies[0].read_bytes()
    proof = stripe.signed(body, "whsec_example").headers["stripe-signature"]
    hook = (
        b"POST /webhooks/stripe?a=b\nHost: bridge\nStripe-Signature: " + proof.encode()
    )
    yield hook + b"\nContent-Length: %d\n\n" % len(body) + body
    yield (
        hook
        + b"\nTransfer-Encoding: chunked\nX-Forwarded-Proto: https, http\n\n"
        + body
    )
    for path in (
        "healthz",
        "readyz",
        "metrics",
        "webhooks/x",
        "openapi.json",
        "console.json",
    ):
        yield b"GET /" + path.encode() + b"\nHost: bridge\nAccept: */*\n\n"
    for path in PATHS:
        yield b"GET /console/" + path.encode() + b"\nHost: bridge\n" + LOGIN + b"\n\n"
    token = hmac.digest(b"an-example-password", b"console", "sha256").hex().encode()
    form = b"\nContent-Type: application/x-www-form-urlencoded\nContent-Length: 40\n\n"
    for path in POSTS:
        head = b"POST /console/do/" + path.encode() + b"\nHost: bridge\n" + LOGIN
        yield (
            head
            + b"\nX-CSRF-Token: "
            + token
            + form
            + b"party=stripe%3Acus_1&account=a&name=b&id=c&d"
        )


def targets(bridge: Bridge) -> Iterator[tuple[str, list[bytes], Target]]:
    """Name, seeds and what reads them."""
    for known in every():
        bodies = seeds(known) or [b"{}"]
        yield known.name, bodies, partial(delivered, known)
        yield f"{known.name} in a worker", bodies, partial(bridge.taken, known)
    yield "http", [*requests()], bridge.asked
    yield "bridge.toml", tomls(), bridge.configured
    yield "settings", [ENVIRON.encode(), UNIX.encode()], bridge.set
    state = bridge.exported()
    yield "import", [state], lambda r, b: bridge.typed("import")(r, gzip.compress(b, 1))
    yield "import, packed", [gzip.compress(state)], bridge.typed("import")
    yield "apply", [bridge.planned()], bridge.typed("apply", "--no-wait")
    yield "sources try", bodies, bridge.typed("sources", "try", "stripe")


def fuzz(
    rng: Random, turns: Callable[[], bool], each: int
) -> Iterator[tuple[str, str, bytes]]:
    """Name of the target, what is wrong, and the input; *each* inputs a target and turn."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        every_target = [*targets(Bridge(stack, folder))]
        while turns():
            for name, bodies, target in every_target:
                for _ in range(each):
                    body = damaged(rng, rng.choice(bodies))
                    try:
                        wrong = target(rng, body)
                    except Exception as error:  # noqa: BLE001 - a find
                        wrong = f"{error!r:.200} {places_of(error)[-4:]}"
                    if wrong:
                        yield name, wrong, body


def main(minutes: float, seed: int) -> int:
    """Print each find of another kind once, and write its input; 1 if there is any."""
    logging.disable()
    until, finds, turns = time.monotonic() + minutes * 60, Counter[str](), count(1)
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    done = partial(lambda: next(turns) and time.monotonic() < until)
    for name, wrong, body in fuzz(Random(seed), done, 25):
        kind = f"{name}: {wrong.rpartition('[')[2]}"
        finds[kind] += 1
        if finds[kind] == 1:
            (folder / str(len(finds))).write_bytes(body)
            sys.stdout.write(f"{folder / str(len(finds))} {name}\n{wrong}\n")
            sys.stdout.flush()
    rounds = next(turns) - 2
    sys.stdout.write(f"seed {seed}: {rounds} rounds, {len(finds)} kinds of finds\n")
    return 1 if finds else 0


if __name__ == "__main__":
    given = [float(word) for word in sys.argv[1:]]
    sys.exit(main(*(given or [5.0]), seed=time.time_ns() % 10**6))
