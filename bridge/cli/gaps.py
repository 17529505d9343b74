"""`python -m bridge gaps`: take in the events whose webhooks never came."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import groupby
from typing import Any

import click
import orjson
from redis import Redis

from bridge.cli import session
from bridge.cli.archives import Progress, archive_of, patiently
from bridge.cli.operate import NO_VITALLY
from bridge.errors import PayloadError
from bridge.ingest import PARTY, Ingress
from bridge.settings import Settings
from bridge.store.accept import RING, Accept
from bridge.webhook.source import Delivery, Source, Verified

DAY = 86_400

WORDS = {
    "duplicate": "seen before",
    "queued": "taken in",
    "coalesced": "taken in",
    "missing": "missing",
    "ignored": "ignored",
    "quarantined": "quarantined",
}
"""Receipt -> what it is called here."""

NEWS = {"taken in", "missing", "quarantined"}
"""What is listed event by event."""

Receive = Callable[[Verified], str]


@click.command()
@click.argument("source")
@click.option(
    "--days",
    type=click.IntRange(1, 30),
    default=30,
    show_default=True,
    help="How far back; Stripe keeps its events for thirty days.",
)
@click.option("--dry-run", is_flag=True, help="Say what is missing, no more.")
def gaps(source: str, days: int, *, dry_run: bool) -> None:
    """Ask SOURCE for its events, and take in those that never came.

    Each goes through the same door as a webhook, so that one that did come changes
    nothing.

    \b
    Example:
      python -m bridge gaps stripe --days 3 --dry-run
    """
    found, _config = session.settings(without=NO_VITALLY)
    kind, archive = archive_of(source, found)
    client = session.redis(found)
    since = int(time.time()) - days * DAY
    receive = (_look if dry_run else _take)(kind, found, client)
    counts: Counter[str] = Counter()
    progress = Progress("events", None)
    more, after = True, ""
    while more:
        page = patiently(partial(archive.events, since, after))
        for body in page.rows:
            counts[_one(kind, receive, body)] += 1
        progress.step(len(page.rows))
        more, after = bool(page.after), page.after
    session.say(_summary(counts, days))
    if counts["missing"] and progress.done > RING:
        session.say(f"only the last {RING:,} events are known as seen")


def _take(kind: Source, found: Settings, client: Redis) -> Receive:
    ingress = Ingress(found, client, [kind])
    return lambda verified: ingress.take_in(kind, verified).receipt


def _look(kind: Source, found: Settings, client: Redis) -> Receive:
    """Say what would become of it; changes nothing."""
    ingress, accept = Ingress(found, client, [kind]), Accept(client)

    def look(verified: Verified) -> str:
        try:
            (event,) = kind.split(verified)
        except PayloadError:
            return "quarantined"
        facts, refusal = ingress.understood(kind, event)
        if refusal is not None:
            return refusal.receipt
        parties = groupby(sorted(facts, key=PARTY), key=PARTY)
        seen = [
            accept.has_seen(party, kind.name, event.type, list(own))
            for party, own in parties
        ]
        return "duplicate" if all(seen) else "missing"

    return look


def _one(kind: Source, receive: Receive, body: dict[str, Any]) -> str:
    # Who asked its own API need not prove who has answered.
    delivery = Delivery("POST", f"/webhooks/{kind.name}", {}, orjson.dumps(body))
    word = WORDS[receive(Verified(delivery))]
    if word in NEWS:
        at = body.get("created")
        when = session.moment(at * 1000) if isinstance(at, int) else "-"
        session.say(f"{when}  {word}  {body.get('type')}  {body.get('id')}")
    return word


def _summary(counts: Counter[str], days: int) -> str:
    listed = ", ".join(f"{n:,} {word}" for word, n in sorted(counts.items()))
    return f"{counts.total():,} events of {days} days: {listed or 'nothing to read'}"
