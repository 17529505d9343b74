"""Turns a delivery of a generic source into events, and events into facts by its rules.

Values that an event lacks are left out, never guessed. A value of the wrong form raises
a ValidationError that names the line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from functools import partial
from hashlib import blake2s
from typing import Any, Literal
from urllib.parse import parse_qsl

from marshmallow import ValidationError

from bridge.domain.facts import Fact, Rank, catalogue, pointer
from bridge.domain.money import decimals, rounded
from bridge.domain.values import (
    CUSTOMER,
    DAY_MS,
    ENDED,
    EXTRA,
    ORGANIZATION,
    SUBSCRIPTION,
    TO_REFRESH,
    UNTOLD,
    VOID,
    AnyValue,
    Customer,
    Discount,
    Item,
    Names,
    Subscription,
)
from bridge.errors import PayloadError
from bridge.sources.generic.values import ABSENT, in_minor, read
from bridge.webhook.fields import BROKEN, LATEST
from bridge.webhook.source import Event, Verified, each, is_name, json_value
from bridge.webhook.values import kept, unless

MOST = 1000
"""Most events of one delivery."""

DEEPEST = 20
"""Most brackets in one name of a form."""

HALF = re.compile("[\ud800-\udfff]")
FORM_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")

Rule = Mapping[str, Any]
"""A rule's loaded lines by name; `source`, `by_id` and `extras` are added to them."""

IMPLIED = Event("implied", "implied", 0, {})
"""The event of a customer that no event describes; it is older than all others."""

FOR_ALL_ITEMS = {"interval", "count", "from", "until"}
"""Lines of `mrr` that may also be in the event itself."""


# --- A delivery's events --------------------------------------------------------


def events(table: Mapping[str, Any], delivery: Verified) -> Iterator[Event]:
    """Return the events of a delivery, located by its source's table.

    An event without an id gets a digest of the delivery's bytes, which stay the same
    if it is sent again. Raises PayloadError if the body contains no event.
    """
    seen: Counter[str] = Counter()
    usual = blake2s(delivery.body, digest_size=8).hexdigest()

    def event(row: Any) -> Event:
        if not isinstance(row, dict):
            raise PayloadError("the event is not an object")
        id_ = _name(table, "id", row, delivery) or usual
        kind = _name(table, "type", row, delivery)
        if kind is None:
            raise PayloadError("the event has no type")
        seen[id_] += 1
        return Event(id_ if seen[id_] == 1 else f"{id_}:{seen[id_]}", kind, 0, row)

    return each(event, _rows(table, delivery.body))


def _name(
    table: Mapping[str, Any], line: str, row: Any, delivery: Verified
) -> str | None:
    """The event's id or type; None if it has none."""
    try:
        name = table[line].read(row, delivery.headers)
    except ValueError as error:
        raise PayloadError(f"the event's {line} {error}") from None
    if name is not ABSENT and not is_name(name):
        raise PayloadError(f"the event's {line} cannot be one")
    return None if name is ABSENT else name


def _rows(table: Mapping[str, Any], body: bytes) -> list[Any]:
    """The events' bodies; each part of a split delivery has the whole as `delivery`."""
    try:
        whole = FORMS[table["body"]](body)
    except (PayloadError, ValueError, RecursionError):
        raise PayloadError(f"the body cannot be read as {table['body']}") from None
    rows = whole if isinstance(whole, list) else [whole]
    if "split" in table:
        try:
            parts = read(table, whole, "split") or []
        except ValidationError:
            raise PayloadError("split finds no list") from None
        rows = [
            {**(part if isinstance(part, dict) else {"value": part}), "delivery": whole}
            for part in parts
        ]
    if len(rows) > MOST:
        raise PayloadError(f"the body holds more than {MOST} events")
    return rows


def _form(body: bytes) -> Any:
    """Parse `a[b][c]=1` into nested objects; a repeated name becomes a list."""
    form: dict[str, Any] = {}
    pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="surrogateescape")
    for name, value in pairs:
        parts = FORM_NAME.fullmatch(name)
        if parts is None or parts[2].count("[") > DEEPEST:
            raise ValueError("no name of a form")
        # What is no text is read as in JSON.
        keys = [parts[1], *re.findall(r"\[([^\[\]]*)\]", parts[2])]
        _put(form, keys, HALF.sub(BROKEN, value) or None)
    return _listed(form)


def _put(into: dict[str, Any], keys: list[str], value: Any) -> None:
    *above, last = keys
    for key in above:
        into = into.setdefault(key, {})
        if not isinstance(into, dict):
            raise ValueError("a value and a table")  # noqa: TRY004 - of the sender
    if last not in into:
        into[last] = value
    elif isinstance(into[last], list):
        into[last].append(value)
    else:
        into[last] = [into[last], value]


def _listed(value: Any) -> Any:
    """Turn objects with the keys 0, 1, 2 … (or `[]`) into lists."""
    if not isinstance(value, dict):
        return value
    names = {name: _listed(inner) for name, inner in value.items()}
    if names.keys() == {str(n) for n in range(len(names))}:
        return [names[str(n)] for n in range(len(names))]
    if names.keys() == {""}:
        return names[""] if isinstance(names[""], list) else [names[""]]
    return names


FORMS: Mapping[str, Callable[[bytes], Any]] = {"json": json_value, "form": _form}
"""Word of `body` -> its parser, which raises PayloadError or ValueError."""


# --- An event's facts -----------------------------------------------------------


def facts(rules: Mapping[str, Rule], event: Event) -> list[Fact]:
    """Return the facts of *event* under its *rules*; none if they name no party.

    A party of which only a subscription is known also gets a customer fact.
    """
    every: list[Fact] = []
    for word, rule in rules.items():
        try:
            every += _facts(rule, event)
        except ValidationError as error:
            raise ValidationError({word: error.messages}) from None
    whole = (CUSTOMER, TO_REFRESH, EXTRA)
    known = {fact.party for fact in every if fact.thing.startswith(whole)}
    by_id = any(rule["by_id"] for rule in rules.values())
    for party in dict.fromkeys(fact.party for fact in every):
        if party not in known:
            named = Customer(account=party.partition(":")[2] if by_id else "")
            every.append(IMPLIED.fact(party, "customer", kept(named), Rank.CREATED))
    return every


def fits(kind: str, pattern: str) -> bool:
    """Whether an event's type matches a *pattern*, in which `*` matches anything."""
    return bool(re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), kind))


def _facts(rule: Rule, event: Event) -> Iterator[Fact]:
    body, name, kind = event.body, rule["source"], rule["kind"]
    # What was read from an API is stamped with the time of the read.
    at, party = read(rule, body, "at") or event.at, read(rule, body, "party")
    if not at:
        raise ValidationError({"at": ["is not in the event"]})
    if party is not None and not is_name(party):
        raise ValidationError({"party": ["cannot be the id of a customer"]})
    if party is None and kind not in {"thin", "extra"}:
        return
    whose = f"{name}:{party}"
    things: Iterable[tuple[str, AnyValue]] = [(TO_REFRESH, {"event": event.id})]
    if kind == "thin" and party is None:  # Only the source may know whose it is.
        whose = pointer(name, _thing(rule, body))
    elif kind == "extra":
        extra = f"{EXTRA}{_id(rule, body)}"
        whose, things = catalogue(name, extra), [(extra, {"told": True})]
    elif kind != "thin":
        things = _things(rule, body, at, str(party))
    for thing, value in things:
        yield event.fact(whose, thing, value, _rank(rule, event), at=at)


def _rank(rule: Rule, event: Event) -> int:
    """Return the rank of an event among those of one instant.

    It is the event's own number (`tie`), else the position of its type in `order`, where
    an exact type takes precedence over a match of `*`.
    """
    tie: int | None = read(rule, event.body, "tie")
    if tie is not None:
        return Rank.FROM_API + tie
    order = rule.get("order", ())
    exact = [n for n, kind in enumerate(order) if kind == event.type]
    fitting = [n for n, kind in enumerate(order) if fits(event.type, kind)]
    return Rank.CREATED + [*exact, *fitting, 0][0]


def _thing(rule: Rule, body: Any) -> str:
    """Return what has changed. Raises ValidationError where nothing tells it."""
    if "thing" not in rule:
        raise ValidationError({"party": ["is not in the event"]})
    return f"{rule['thing']}:{_id(rule, body)}"


def _id(rule: Rule, body: Any) -> str:
    """Return the id of the subscription or thing. Raises ValidationError without one."""
    id_ = read(rule, body, "id")
    if not is_name(id_):
        raise ValidationError({"id": ["is not in the event"]})
    return id_


def _things(
    rule: Rule, body: Any, at: int, party: str
) -> Iterator[tuple[str, AnyValue]]:
    account = read(rule, body, "account")
    if rule["kind"] == "customer":
        yield from _customer(rule, body, party)
    elif rule["kind"] == "subscription":
        thing = f"{SUBSCRIPTION}{_id(rule, body)}"
        yield thing, _subscription(rule, body, at, account)
    elif account is not None:
        yield "account", {"account": account}
    of = read(rule, body, "organization", absent=ABSENT)
    if of is not ABSENT:
        yield ORGANIZATION, kept(Names(organization=of or ""))
    for name, path in rule["traits"].items():
        value = read(rule["traits"], body, name, "traits.", ABSENT)
        if value is not ABSENT:
            if value is not None and path.kind == "minor":
                value = _minor(value, read(rule, body, "currency"))
            yield f"trait:{name}", {"is": value}


def _customer(rule: Rule, body: Any, party: str) -> Iterator[tuple[str, AnyValue]]:
    """Yield the parts of a customer that the event has; each is a thing of its own."""
    own, is_gone = party if rule["by_id"] else "", read(rule, body, "deleted")
    yield "customer", kept(Customer(account=own, deleted=is_gone))
    parts: list[Literal["name", "email", "account"]] = ["name", "email", "account"]
    for thing in parts:
        value = read(rule, body, thing, absent=ABSENT)
        if value is not ABSENT:
            # This account takes precedence over its subscriptions'.
            news: Customer = {"rank": 0} if thing == "account" else {}
            news[thing] = value
            yield thing, kept(news)


def _minor(amount: str, currency: str | None) -> int | float:
    if currency is None:
        raise ValidationError({"currency": ["is not in the event"]})
    return rounded(Fraction(amount) / 10 ** decimals(currency), currency)


def _subscription(rule: Rule, body: Any, at: int, account: Any) -> Subscription:
    its = partial(read, rule, body)
    currency, status, mrr = its("currency"), _status(rule, body), rule["mrr"]
    over = status in ENDED
    items, trial_end = _items(mrr, body, currency), _trial_end(its)
    if not items and not over:
        # If nothing is recurring, there is no subscription.
        return kept(Subscription(status=VOID, account=account, ended_at=at))
    ended: Any = (read(rule["ended"], body, "at", "ended.") or at) if over else None
    # If no status can be `trialing`, the trial lasts until its end.
    lookup = rule["status"].lookup if "status" in rule else {}
    may_be = lookup is None or "trialing" in lookup.values()
    trialing: Any = its("trialing_until") or (None if may_be else trial_end)
    value: Subscription = {
        "status": status,
        "currency": currency,
        "account": account,
        "items": items,
        # The price includes a tax of unknown rate.
        "automatic_tax": any(item.get("inclusive") for item in items),
        "discounts": [*_discounts(mrr, body)],
        "extras": rule["extras"],
        "plan": its("plan"),
        "ends": its("ends"),
        "no_renewal": not over and its("renews") is False,
        "trial_end": trial_end,
        "trialing_until": trialing,
        "ended_at": ended,
        "cancel_at": its("cancel_at"),
        "cancel_at_period_end": its("cancel_at_period_end"),
    }
    return kept(value)


def _status(rule: Rule, body: Any) -> str:
    if read(rule["ended"], body, "when", "ended."):
        return "canceled"
    status = read(rule, body, "status") if "status" in rule else "active"
    if status is None:
        raise ValidationError({"status": ["is not in the event"]})
    return str(status)


def _trial_end(its: Callable[[str], Any]) -> Any:
    """Return the end of the trial: as given, or its days after the beginning."""
    end, began, days = its("trial_end"), its("starts"), its("trial_days")
    if end or not (began and days):
        return end
    end = began + int(Fraction(days) * DAY_MS)
    if end > LATEST * 1000:
        raise ValidationError({"trial_days": ["must be the days of a trial"]})
    return end


def _items(mrr: Rule, body: Any, currency: str | None) -> list[Item]:
    """Return the items; a single item without an amount if they are not known.

    The list is empty if nothing is recurring.
    """
    rows = read(mrr, body, "items", "mrr.") if "items" in mrr else [body]
    if rows is None or "amount" not in mrr:
        return [{"interval": "month"}]
    return [_item(mrr, row, body, currency) for row in rows]


def _item(mrr: Rule, row: Any, body: Any, currency: str | None) -> Item:
    """Return one item; its interval and dates may also be in the event, for all items."""

    def its(line: str) -> Any:
        value = read(mrr, row, line, "mrr.")
        is_shared = not value and line in FOR_ALL_ITEMS
        return read(mrr, body, line, "mrr.") if is_shared else value

    value: Item = {"from": its("from"), "until": its("until")}
    if its("usage"):
        value["usage"] = UNTOLD
        return kept(value)
    amount, quantity, own = its("amount"), its("quantity"), its("currency")
    code = currency or own
    # The event may lack the price in the subscription's own currency.
    is_other = bool(own and currency and own != currency)
    if is_other or not code or own == "" or ("quantity" in mrr and quantity is None):
        amount = None
    interval, every = its("interval"), its("count")
    if "interval" not in mrr:
        interval = ("month", 1)
    if interval is None or (every is None and "count" in mrr):
        interval = (None, 1)
    count = interval[1] * (every or 1)
    value |= {
        "unit": amount and in_minor(amount, mrr["amount"].kind, code),
        "interval": interval[0],
        "count": unless(1, count),
        "quantity": unless(1, quantity),
        "name": its("name"),
        "inclusive": its("tax_included"),
        "currency": "" if currency else own,
    }
    return kept(value)


def _discounts(mrr: Rule, body: Any) -> Iterator[Discount]:
    """Yield the discounts, whose terms no event contains, with their dates."""
    if "discounts" not in mrr:
        if id_ := read(mrr, body, "discount", "mrr."):
            yield {"id": id_}
        return
    for row in read(mrr, body, "discounts", "mrr.") or ():
        its = partial(read, mrr, row, place="mrr.")
        value: Discount = {
            "id": its("discount") or "a discount",
            "from": its("from"),
            "until": its("until"),
        }
        yield kept(value)
