"""Traps in which people are caught who set up Vitally, Stripe and Redis, and how they show.

`traps.toml` has a table for each; the function of its name finds it in what can be read
(`Evidence`). Vitally's API tells no setting of a workspace, so most show only in what Vitally
makes of the traits that were sent. Where nothing shows, nothing is alleged.
"""

from __future__ import annotations

import base64
import time
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import islice
from typing import Any, Literal, NamedTuple

from redis import Redis
from redis.exceptions import ResponseError

from bridge.config import Config
from bridge.deadline import UNTIL, left
from bridge.deliveries import Filter, deliveries
from bridge.desired import ORGANIZATION
from bridge.domain.values import DAY_MS
from bridge.errors import (
    SourceError,
    VitallyError,
    VitallyKeyError,
    VitallyMissingError,
)
from bridge.reconcile import otherwise
from bridge.settings import HOSTS, Settings
from bridge.sources.stripe.api import http_of, wrong_mode
from bridge.sources.stripe.endpoint import (
    CONNECTED,
    OWN,
    UNCLEAR,
    Endpoint,
    Senders,
    endpoints,
    missing,
    normalized,
    senders,
)
from bridge.sources.stripe.facts import needed_events
from bridge.store.connect import milliseconds
from bridge.store.health import POLICY, setting
from bridge.store.index import MANY, Index
from bridge.store.shadow import Shadow
from bridge.vitally.client import Call, Vitally
from bridge.vitally.replies import Rate

DERIVED = ("mrr", "nextRenewalDate", "churnedAt", "trialEndDate")
"""Vitally's own fields of an account, which it fills from the traits chosen for them.

https://docs.vitally.io/en/articles/9890272-lifecycle-tracking-overview
"""

RESTS_MS = 15 * 60_000
"""Vitally goes on working on an account for about ten minutes after a write."""

KINDS, TRIED, PICKED = 7, 20, 2
"""Accounts are read of so many kinds (each currency; churned ones; others); of each kind so
many are looked at in Redis, and so many that rest are read in Vitally."""

NAMED = 3
"""So many accounts, currencies or events are named."""

FACTORS, CENT, UNIT, ROUGH = (1.0, 12.0, 1 / 12), 0.006, 0.5, 0.05
"""What Vitally's own `mrr` may be of the trait; else it was converted. It may be rounded to
cents, or to whole units: nothing is concluded if that can change it by more than a part."""

LINES = 500
"""So many of the newest events show whether any come in."""

APART = 5.0
"""Seconds that clocks may be apart; and how long an event of the other mode counts."""

PATIENCE = 4.0
"""Seconds that Vitally and Stripe have for a reply."""

ELSEWHERE = {"us": "https://rest.vitally.io", "eu": HOSTS["eu"]}
"""Where a key is tried that its own host refuses: by region, without a subdomain."""

CANARY = "vitally-bridge-canary"
"""The external id of the account that is written only to see what Vitally makes of it."""

DELETING, POLL = 2.0, 0.2
"""Seconds that are kept to delete it; and that pass between two looks at it."""

Finding = str | tuple[str, str] | bool | None
"""A text: it is so, and what belongs into its sentence; with a level, if not the usual one.
True: it is not. False: it cannot be read. None: there is nothing to say."""


Shown = Mapping[str, Any]
"""An account, or a custom trait, as Vitally shows it; odd replies may lack anything."""


class ShownAccount(NamedTuple):
    """An account that rests, as Vitally has *shown* it; its *traits* by our names.

    *is_listed*: among the churned ones. *rate*: what its own `mrr` is of the trait; None:
    it has not both.
    """

    account: str
    currency: str | None
    traits: Mapping[str, Any]
    shown: Mapping[str, Any]
    is_listed: bool
    rate: float | None


@dataclass
class Evidence:
    """What could be read, as far as it could in time.

    *error* is Vitally's, and *region* has a host that takes the key; others have *changed*
    these accounts. *came*: of whom events came from Stripe in a day (OWN, CONNECTED).
    *ahead* says whose clock surely is so many seconds ahead of ours, or behind (below 0).
    """

    settings: Settings
    config: Config
    error: VitallyError | None = None
    region: str = ""
    fields: Sequence[Mapping[str, Any]] = ()
    samples: list[ShownAccount] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)
    redis: Mapping[str, Any] = field(default_factory=dict)
    endpoints: Sequence[Endpoint] | None = None
    other_mode: bool = False
    came: set[str] = field(default_factory=set)
    ahead: dict[str, float] = field(default_factory=dict)
    rates: list[Rate] = field(default_factory=list)

    def note_clock(self, call: Call) -> None:
        """Compare our clock with that of one of Vitally's replies, to a few seconds."""
        if call.clock is not None:
            self.ahead["Vitally"] = call.clock - call.began - call.seconds / 2

    def add(self, account: str, shown: Shown, code: str | None, listed: bool) -> None:
        """Note an account, whose amounts are in *code* unless it says otherwise itself."""
        had = shown.get("traits")
        shown = {**shown, "traits": had if isinstance(had, dict) else {}}
        keys, rate = self.config.traits, None
        traits = {name: shown["traits"].get(key) for name, key in keys.items()}
        pair: list[Any] = [traits.get("mrr"), shown.get("mrr")]
        if all(type(number) in {int, float} and number > 0 for number in pair):
            told, own = pair
            slack, up = CENT if own % 1 else UNIT, int(told + UNIT)
            near = [f for f in FACTORS if abs(own - told * f) <= slack or up * f == own]
            rate = [*near, own / told][0] if slack <= told * ROUGH else None
        said = traits.get("billingCurrency")
        code = said if isinstance(said, str) else code
        self.samples.append(ShownAccount(account, code, traits, shown, listed, rate))

    def ours(self) -> list[Senders]:
        """Stripe's endpoints that call us, by place; all that may, if ours is not known."""
        base, options = self.settings.bridge_public_url, self.settings.sources
        places = defaultdict(list)
        for one in self.endpoints or ():
            place = normalized(one.url)
            is_ours = not base or place[:2] == normalized(base)[:2]
            if is_ours and place.path.endswith("/webhooks/stripe"):
                places[place].append(one)
        return [senders(known, options) for known in places.values() or [()]]


def revenue_not_mapped(seen: Evidence) -> Finding:
    """An account has the trait, and Vitally's own field is empty.

    A quarter of an hour after the last write. Or Vitally's list of custom traits lacks
    one that is written, or has it as a text.
    """
    types = {str(one.get("path")): str(one.get("type")) for one in seen.fields}
    for key in filter(None, map(seen.config.traits.get, DERIVED)):
        is_custom = bool(types) and key.startswith("vitally.custom.")
        if is_custom and types.get(key, "text") in {"text", "textarea", "string"}:
            return f"the custom trait {key} is missing, or it is a text"
    for name in DERIVED:
        has = [one for one in seen.samples if one.traits.get(name) is not None]
        if has and all(one.shown.get(name, "?") is None for one in has):
            level = "bad" if name in {"mrr", "churnedAt"} else "warn"
            return level, f"{name} is empty, though {has[0].account} has the trait"
    return bool(seen.samples)


def revenue_default(seen: Evidence) -> Finding:
    """Vitally's own `mrr` is 12 times the trait, or a twelfth of it, but for rounding."""
    exact = [one for one in seen.samples if one.rate in FACTORS]
    if exact and all(one.rate != FACTORS[0] for one in exact):
        one = exact[0]
        return f"{one.account}: {one.traits['mrr']:g} became {one.shown['mrr']:g}"
    return bool(exact)


def no_currency_trait(seen: Evidence) -> Finding:
    """Amounts in two currencies or more, of which Vitally converts none."""
    known = [one for one in seen.samples if one.rate and one.currency]
    plain = {str(one.currency): one for one in known if one.rate in FACTORS}
    rows = [(n, p.traits["mrr"], p.shown["mrr"]) for n, p in sorted(plain.items())]
    if len(rows) > 1:
        return ", ".join(f"{told:g} {n} as {own:g}" for n, told, own in rows[:NAMED])
    return len({one.currency for one in known}) > 1


def editable(seen: Evidence) -> Finding:
    """Somebody else has changed a trait since the bridge wrote it."""
    return ", ".join(sorted(seen.changed)[:NAMED]) or False


def churn_rule(seen: Evidence) -> Finding:
    """An account pays and has no churn date in its traits, but Vitally counts it as churned."""
    pays = [s for s in seen.samples if s.traits.get("mrr")]
    pays = [one for one in pays if not one.traits.get("churnedAt")]
    wrong = [o.account for o in pays if o.is_listed or o.shown.get("churnedAt")]
    return ", ".join(wrong[:NAMED]) or bool(pays)


def evicting_redis(seen: Evidence) -> Finding:
    """Redis' `maxmemory-policy` is not `noeviction`."""
    policy = str(seen.redis.get("maxmemory_policy", ""))
    return policy == "noeviction" or policy or False


def no_append_only_file(seen: Evidence) -> Finding:
    """Redis' `aof_enabled` is 0."""
    return "" if seen.redis.get("aof_enabled") == 0 else "aof_enabled" in seen.redis


def wrong_address(seen: Evidence) -> Finding:
    """The host is unknown or answers 404, or another host of Vitally's takes the key."""
    base, error = seen.settings.vitally_base_url, seen.error
    if seen.region:
        what = "subdomain" if seen.region == seen.settings.vitally_region else "region"
        return f"the {what} in {base}, as {ELSEWHERE[seen.region]} takes the key"
    is_nobody = isinstance(error, VitallyMissingError) or UNKNOWN in str(error)
    return f"{base}: {error}" if is_nobody else None


def wrong_key(seen: Evidence) -> Finding:
    """The form of the key, before any request; or no host of Vitally's takes it."""
    key, error = seen.settings.vitally_api_key, seen.error
    if key == seen.settings.vitally_analytics_token:
        return "it is VITALLY_ANALYTICS_TOKEN"
    said = isinstance(error, VitallyKeyError) and f"{error} ({error.status}); {DOUBT}"
    return pasted(key) or (not seen.region and said)


def pasted(key: str) -> str:
    """What is wrong with the form of a key; "": nothing. It does not quote the key."""
    scheme, _, rest = key.rpartition(" ")
    inner = rest.encode()
    with suppress(ValueError):
        inner = base64.b64decode(rest, validate=True)
    form = f"{scheme} token{':' * inner.endswith(b':')}".strip()
    return str(FORMS.get(form, FORMS["else"]))


ELSEHOW = (
    "Stripe lists no endpoint with our address; what an event destination sends, or one "
    "behind a gateway, is not compared"
)
HIDDEN = (
    "Stripe does not show which endpoint sends events of connected accounts; "
    "`setup stripe --connect-endpoint ID` tells it"
)


def stripe_events(seen: Evidence) -> Finding:
    """Stripe's own list of endpoints (`STRIPE_API_KEY`): what ours does not send.

    Nothing is alleged where Stripe does not show it: whether one is a Connect endpoint,
    and what an event destination, or an endpoint behind a gateway, sends.
    """
    options = seen.settings.sources
    if not options["STRIPE_WEBHOOK_SECRET"] or seen.endpoints is None:
        return False if options["STRIPE_WEBHOOK_SECRET"] else None
    needed = needed_events(options)

    def lacks(ours: Senders) -> dict[str, list[str]]:
        times = {UNCLEAR: 2}  # one endpoint is one's own, and one is not
        return {o: missing(own, needed, times.get(o, 1)) for o, own in ours.items()}

    ours = min(seen.ours(), key=lambda ours: sum(map(len, lacks(ours).values())))
    unseen = [whom for whom in seen.came if not ours.get(whom, True)]
    for whom, least in lacks(ours).items():
        if least == needed and whom not in unseen:
            return f"no enabled endpoint of Stripe sends us any event of {whom}"
        if least and whom not in unseen:
            more = f" and {len(least) - NAMED} more" if len(least) > NAMED else ""
            lack = ", ".join(least[:NAMED]) + more
            return f"Stripe does not send what is needed of {whom}: {lack}"
    if unseen:
        return "note", f"events of {unseen[0]} come in, but {ELSEHOW}"
    return ("note", HIDDEN) if UNCLEAR in ours else True


def modes_mixed(seen: Evidence) -> Finding:
    """The kind of the key, `livemode` of the endpoint, events of the other mode in a day.

    A live endpoint for connected accounts is sent their test events too, so these say
    nothing then (https://docs.stripe.com/connect/webhooks).
    """
    options = seen.settings.sources
    is_test = options["STRIPE_MODE"] == "test"
    if wrong := wrong_mode(options):
        return wrong.removesuffix(".")
    ours = (one for known in seen.ours() for own in known.values() for one in own)
    if any(one.is_live == is_test for one in ours):
        return "the endpoint is not of the mode that STRIPE_MODE says"
    if seen.other_mode and not options.get("STRIPE_CONNECT"):
        return "warn", "an event of the other mode came within a day; it was ignored"
    return bool(options["STRIPE_WEBHOOK_SECRET"]) or None


def clocks_apart(seen: Evidence) -> Finding:
    """Redis' `TIME` and the `Date` of Vitally's replies, beside the clock of this machine."""
    apart = ((who, s) for who, s in sorted(seen.ahead.items()) if abs(s) > APART)
    words = ", ".join(f"{who}'s by {s:+.0f} s" for who, s in apart)
    return words or "Vitally" in seen.ahead


class Trap(NamedTuple):
    """A table of `traps.toml`; the docstring of its function says how it shows."""

    name: str
    level: Literal["bad", "warn"]
    title: str
    text: str
    cure: str
    good: str = ""
    unread: str = ""

    def judged(self, seen: Evidence) -> tuple[str, str]:
        """Its level (note: it cannot be read; ok: it is not so), and a sentence or ""."""
        found: Finding = globals()[self.name](seen)
        level, text = found if isinstance(found, tuple) else (self.level, found)
        if isinstance(text, str):
            return level, f"{self.text.format(text)}. {self.cure}"
        if found is False and self.unread:
            return "note", f"{self.unread}; check {self.cure}"
        return "ok", self.good if found else ""


TABLE = tomllib.loads(files(__package__).joinpath("traps.toml").read_text("utf-8"))
UNKNOWN, DOUBT, FORMS, PHASES = map(TABLE.pop, ("unknown", "doubt", "forms", "phases"))
TRAPS = tuple(Trap(name, **row) for name, row in TABLE.items())


# --- What can be read --------------------------------------------------------------------


def read_redis(seen: Evidence, redis: Redis) -> None:
    """Read what Redis says of itself, and what the bridge has noted in it."""
    now = milliseconds(redis)
    seen.ahead["Redis"] = now / 1000 - time.time()
    seen.redis = {"maxmemory_policy": setting(redis, POLICY)}
    with suppress(ResponseError):  # INFO may be forbidden
        seen.redis |= dict(redis.info())
    for name, ledger in islice(Shadow(redis).drifted(), TRIED):
        if (ledger.seen.keys() & ledger.traits.keys()) - seen.config.by_hand:
            seen.changed.add(name)
    wanted = Filter("stripe", "", "ignored", "of the other mode", since=now - DAY_MS)
    came = deliveries(redis, Filter("stripe", since=now - DAY_MS), most=LINES).lines
    seen.came = {
        CONNECTED if line.party.startswith("stripe:acct_") else OWN
        for line in came
        if line.delivery and line.receipt in {"queued", "coalesced", "duplicate"}
    }
    seen.other_mode = bool(deliveries(redis, wanted, most=1).lines)


def read_stripe(seen: Evidence) -> Iterator[tuple[str, str]]:
    """Read Stripe's list of endpoints; yields a note if it cannot be read."""
    options = seen.settings.sources
    try:
        if not wrong_mode(options) and (http := http_of(options, timeout=PATIENCE)):
            seen.endpoints = [*endpoints(http)]
    except SourceError as error:
        yield "note", error.reason


def note_error(seen: Evidence, error: VitallyError) -> bool:
    """Note an *error*; whether key or address are wrong, of which two of the traps tell."""
    seen.error, kinds = error, VitallyKeyError | VitallyMissingError
    if found := isinstance(error, kinds) or UNKNOWN in str(error):
        seen.region = _region_of(seen.settings)
    return found


def read_vitally(seen: Evidence, vitally: Vitally, redis: Redis | None) -> None:
    """Read what Vitally says of custom traits, and of accounts."""
    with suppress(VitallyError):
        seen.fields = vitally.custom_fields()
    with suppress(VitallyError):
        if redis is not None:
            _read_accounts(seen, vitally, redis)


def _read_accounts(seen: Evidence, vitally: Vitally, redis: Redis) -> None:
    """Read accounts of each kind; first those that pay, and are listed as churned."""
    page = vitally.accounts("churned", 100).results
    listed = {str(one.get("externalId")): one for one in page}
    kinds: defaultdict[str | bool | None, list[str]] = defaultdict(list)
    # Which traits the fields of an organization follow is another setting of Vitally's.
    rows = {row.account: row for row in islice(Index(redis).stream(), MANY)}
    for name, row in rows.items():
        kind = row.currency if row.mrr else bool(row.churned_at)
        kinds["" if row.mrr and name in listed else kind].append(name)
    for kind in sorted(kinds, key=lambda kind: (kind == "", len(kinds[kind])))[-KINDS:]:
        resting = Shadow(redis).resting(kinds[kind][:TRIED], RESTS_MS)
        for name, ledger in islice(resting.items(), PICKED):
            with suppress(VitallyMissingError):
                shown = listed.get(name) or vitally.get(name)
                seen.add(name, shown, rows[name].currency, name in listed)
                ours = ledger.traits.keys() - seen.config.by_hand - {ORGANIZATION}
                has = shown.get("traits")
                if isinstance(has, dict) and otherwise(ledger, has, ours):
                    seen.changed.add(name)


def _region_of(settings: Settings) -> str:
    """The region of which another host takes the key; "": none does, or none is asked."""
    own = HOSTS[settings.vitally_region].format(settings.vitally_subdomain)
    given = settings.vitally_base_url
    others = {r: h for r, h in ELSEWHERE.items() if h != own == given}
    for region, host in others.items():
        there = Vitally(host, settings.vitally_authorization, deadline=PATIENCE / 2)
        with closing(there), suppress(VitallyError):
            there.probe()
            return region
    return ""


def try_canary(seen: Evidence, vitally: Vitally) -> None:
    """Write the canary, phase by phase; note what Vitally makes of it; delete it.

    While none of Vitally's own fields has moved, nothing can be read. It may not compute
    all of them in time, nor convert, so there is but one currency.
    """
    keys, last = seen.config.traits, list[Any]([None])
    with suppress(VitallyMissingError):
        vitally.delete(CANARY)  # one that was left behind
    whole = UNTIL.set(UNTIL.get() - DELETING)
    try:
        vitally.create({"externalId": CANARY, "name": CANARY})
        for traits in PHASES:
            body = {key: value for name, value in traits.items() if (key := keys[name])}
            own = [name for name in DERIVED if traits.get(name) and keys[name]]
            shown = vitally.update(CANARY, {"traits": body})
            while (moved := [n for n in own if shown.get(n) not in last]) != own:
                if left() < 2 * POLL:
                    break
                time.sleep(POLL)
                shown = vitally.get(CANARY)
            last += map(shown.get, own)
            page = vitally.accounts("churned", 100).results
            if moved:
                listed = shown.get("id") in [one.get("id") for one in page]
                seen.add(CANARY, shown, None, listed)
            if moved != own:
                break  # what moves from now on may still be of this phase
    finally:
        UNTIL.reset(whole)
        with suppress(VitallyMissingError):
            vitally.delete(CANARY)
