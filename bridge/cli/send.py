"""`send`: delivers an event, signed as its source does, to this bridge or another one."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import urlsplit

import click
import orjson
from urllib3.exceptions import HTTPError

from bridge.cli import NO_VITALLY, Command, configured, program
from bridge.cli.accounts import pairs
from bridge.cli.output import near, note, one_of, show, table, tell
from bridge.deadline import within
from bridge.domain.facts import Fact, PartyKind, PartyName
from bridge.errors import BridgeError, SignatureError
from bridge.ingest import events_of, read_event
from bridge.outgoing import ask, pools
from bridge.settings import Settings, TextError, address
from bridge.sources import by_name, switched_on
from bridge.webhook.auth import prove
from bridge.webhook.examples import examples, fresh, retold, set_value
from bridge.webhook.source import Delivery, Event, Source, Verified
from bridge.wording import command

LOCAL = "127.0.0.1"

SECONDS = 15.0
"""How long an answer may take."""

Read = tuple[list[Event], list[Fact]]

JSON = "application/json"
KINDS = {b"<": "text/xml; charset=utf-8", b"{": JSON, b"[": JSON}
"""First byte of a body -> its content type; any other is a form."""


def url(_: click.Context, __: click.Parameter, text: str | None) -> str | None:
    """Read an http(s) URL."""
    try:
        return text and str(address(text))
    except TextError as error:
        raise click.BadParameter(str(error)) from None


@click.command(cls=Command)
@click.argument("source", required=False)
@click.argument("event", required=False, metavar="[EVENT|FILE]")
@click.option(
    "--set",
    "values",
    multiple=True,
    callback=pairs,
    metavar="PATH=VALUE",
    help="Change the body first, such as data.object.id=cus_1. May be repeated.",
)
@click.option(
    "--to",
    callback=url,
    metavar="URL",
    help="Another bridge than the web process here.",
)
@click.option("--life", metavar="WORD", help="The same word: the same customer.")
def send(
    source: str | None,
    event: str | None,
    values: dict[str, Any],
    to: str | None,
    life: str | None,
) -> None:
    """Send EVENT as SOURCE would, signed with its secret, and print the answer.

    EVENT is an example that comes with the bridge; its times and ids are made fresh.
    FILE (`-`: standard input) is sent as it is. Without EVENT the events are listed.
    The exit status is 1 unless the answer is 2xx.

    A price of Stripe has its amount twice: set `unit_amount_decimal` too.

    \b
    Example:
      python -m bridge send stripe
      python -m bridge send stripe customer.subscription.created
      python -m bridge send stripe customer.created --set data.object.id=cus_123
      python -m bridge send chargebee delivery.json --to https://bridge.example.com
    """
    settings = configured(NO_VITALLY | {"REDIS_URL"})[0]
    known = by_name(settings.sources)
    if source is None:
        _list([*known.values()])
        return
    sender = one_of(known, source, "source")
    if event is None:
        _list([sender])
        return
    if sender not in switched_on(settings.sources):
        unset = sender.missing(settings.sources)
        raise BridgeError(f"{source} is off, so nothing can be signed: set {unset}")
    body = _example(sender, event, settings, life)
    body = _changed(body, values) if values else body
    parties = _customers(sender, body, settings)
    status, answer = _deliver(sender, body, to, settings)
    text = answer if isinstance(answer, str) else orjson.dumps(answer).decode()
    data = {"status": status, "answer": answer, "parties": parties}
    tell(data, f"{status} {text}")
    if status == HTTPStatus.UNAUTHORIZED:
        note(f"this shell's {sender.secret} is not the bridge's")
    if not 200 <= status < 300:  # noqa: PLR2004 - HTTP's own numbers
        click.get_current_context().exit(1)
    if isinstance(answer, dict) and answer.get("receipt") == "quarantined":
        note(f"see `{command('quarantine', 'list')}`")
    for party in parties:
        note(f"see `{command('why', party)}`")


def _list(chosen: Sequence[Source]) -> None:
    """Print the events of the *chosen* sources."""
    rows = [
        (source.name, kind, source.handlers[kind].meaning, names)
        for source in chosen
        for kind, names in _by_event(source).items()
    ]
    fields = ("source", "event", "meaning", "samples")
    data = [dict(zip(fields, row, strict=True)) for row in rows]
    words = table(("SOURCE", "EVENT", "MEANING"), (row[:3] for row in rows))
    empty = ["there are no examples for it; send a file"]
    show(data, lambda _: words if rows else empty)


def _by_event(source: Source) -> dict[str, list[str]]:
    """Type of an event -> the names of its examples."""
    found: dict[str, list[str]] = {}
    for name in examples(source):
        kind = name.partition("__")[0]
        if kind in source.handlers:
            found.setdefault(kind, []).append(name)
    return found


def _example(source: Source, event: str, settings: Settings, life: str | None) -> bytes:
    """The body of *event*, retold, or of the file of that name."""
    recorded = examples(source)
    names = _by_event(source).get(event) or [event]
    if names[0] in recorded:
        body = source.fitted(recorded[names[0]], settings.sources)
        return _retold(source, body, settings, life)
    if event == "-":
        return sys.stdin.buffer.read()
    if Path(event).is_file():
        return Path(event).read_bytes()
    meant = near(event, _by_event(source))
    hint = f"see `{program()} send {source.name}`"
    raise BridgeError(f"{event}: no such event or file{meant}; {hint}")


def _retold(source: Source, body: bytes, settings: Settings, life: str | None) -> bytes:
    """A recorded delivery as of now; its ids are those of the *life*."""
    events, facts = _read(source, body, settings)
    ids = fresh(_ids(facts), life or token_hex(8))
    ids |= fresh((event.id for event in events), token_hex(8))
    newest = max(event.at for event in events)
    newest = newest or max((fact.stamp.at for fact in facts), default=0)
    shift = time.time_ns() // 1_000_000 - newest if newest else 0
    return retold(body.decode(), shift, ids).encode()


def _read(source: Source, body: bytes, settings: Settings) -> Read:
    """The events in *body*, and their facts; of what cannot be read there are none."""
    options, verified = settings.sources, Verified(Delivery("POST", "", {}, body))
    events = events_of(source, verified)
    return events, [f for one in events for f in read_event(source, one, options)[0]]


def _customers(source: Source, body: bytes, settings: Settings) -> list[str]:
    """The parties that *body* is about."""
    names = [PartyName.parse(fact.party) for fact in _read(source, body, settings)[1]]
    customers = (name.id for name in names if name.kind == PartyKind.CUSTOMER)
    return [*dict.fromkeys(f"{source.name}:{id_}" for id_ in customers)]


def _ids(facts: Iterable[Fact]) -> Iterator[str]:
    """The ids of customers, subscriptions and accounts in *facts*."""
    for fact in facts:
        party, account = PartyName.parse(fact.party), fact.value.get("account")
        if party.kind == PartyKind.CATALOGUE:
            continue
        yield party.id.rpartition(":")[2]
        kind, _, id_ = fact.thing.partition(":")
        if kind == "subscription":
            yield from (id_, id_.rpartition("-")[2])
        if account:
            yield str(account)


def _changed(body: bytes, values: dict[str, Any]) -> bytes:
    """The *body* with *values* set; it must be JSON."""
    try:
        data = orjson.loads(body)
        for path, value in values.items():
            set_value(data, path, value)
    except orjson.JSONDecodeError:
        raise BridgeError("--set needs a body that is JSON") from None
    except ValueError as error:
        raise click.UsageError(f"--set {error}") from None
    return orjson.dumps(data)


def _deliver(
    source: Source, body: bytes, to: str | None, settings: Settings
) -> tuple[int, Any]:
    """Sign and post *body*; the status, and the answer as JSON or text."""
    base = (to or f"http://{LOCAL}:{settings.port}").rstrip("/")
    path = f"/webhooks/{source.name}"
    url = base if urlsplit(base).path.endswith(path) else base + path
    is_local = to is None or urlsplit(to).hostname in {LOCAL, "localhost"}
    public = settings.bridge_public_url if is_local else None
    # The receiver compares with the address that it knows as its own.
    signed = f"{public}{path}" if public else url
    kind = KINDS.get(body.lstrip()[:1], "application/x-www-form-urlencoded")
    delivery = Delivery("POST", signed, {"content-type": kind}, body)
    try:
        proved = prove(*source.proof(settings.sources), delivery, time.time())
        called = url + proved.url.removeprefix(signed)
        with within(SECONDS), pools(timeout=SECONDS) as opened:
            reply, answer = ask(
                opened, "POST", called, body=body, headers=proved.headers
            )
    except SignatureError as error:
        raise BridgeError(f"{source.name}: {error}") from None
    except (HTTPError, OSError, ValueError) as error:
        kind, hint = type(error).__name__, f"start `{program()} run`, or give --to URL"
        raise BridgeError(f"nobody answers at {base} ({kind}); {hint}") from None
    try:
        return reply.status, orjson.loads(answer)
    except orjson.JSONDecodeError:
        return reply.status, answer.decode(errors="replace")
