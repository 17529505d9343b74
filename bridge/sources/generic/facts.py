"""How the rules of a table make facts of an event.

What an event does not have is left out and never guessed. A value that is not what it
must be is a ValidationError that names the line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

from marshmallow import ValidationError

from bridge.domain import policy
from bridge.domain.facts import Fact, Rank, catalogue, pointer
from bridge.domain.money import decimals, rounded
from bridge.domain.traits import instant
from bridge.domain.values import (
    EMAIL,
    ENDED,
    EXTRA,
    NAME,
    SUBSCRIPTION,
    TO_REFRESH,
    UNTOLD,
    VOID,
    Discount,
    Item,
    Subscription,
    Value,
)
from bridge.sources.generic.convert import in_minor, number
from bridge.sources.generic.paths import Absent, ValuePath, read
from bridge.webhook.fields import LATEST
from bridge.webhook.source import Event, is_name
from bridge.webhook.values import kept

Rule = Mapping[str, Any]
"""A rule's loaded lines by name; `source`, `by_id` and `extras` are added to them."""

STATUSES = (*policy.STATUSES, "incomplete", *sorted(ENDED))
"""What a status must be, by itself or by its lookup."""

DAY = 86_400_000
"""Milliseconds."""

IMPLIED = Event("implied", "implied", 0, {})
"""Stands for the event of a customer that nothing has told of: older than all others."""


def tell(rules: Mapping[str, Rule], event: Event) -> list[Fact]:
    """Return the facts of *event* under its *rules*; none where they name no party.

    A party that nothing tells of but its subscription is a customer all the same.
    """
    found: list[Fact] = []
    for word, rule in rules.items():
        try:
            found += _facts(rule, event)
        except ValidationError as error:
            raise ValidationError({word: error.messages}) from None
    known = {
        fact.party
        for fact in found
        if fact.thing in {"customer", TO_REFRESH} or fact.thing.startswith(EXTRA)
    }
    by_id = any(rule["by_id"] for rule in rules.values())
    for party in dict.fromkeys(fact.party for fact in found):
        if party not in known:
            value = kept(account=party.partition(":")[2] if by_id else None)
            found.append(IMPLIED.fact(party, "customer", value, Rank.CREATED))
    return found


def _facts(rule: Rule, event: Event) -> Iterator[Fact]:
    body, name, kind = event.body, rule["source"], rule["kind"]
    # What was read from an API is as old as the reading.
    at, party = read(rule, "at", body) or event.at, read(rule, "party", body)
    if not at:
        raise ValidationError({"at": ["is not in the event"]})
    if party is not None and not is_name(party):
        raise ValidationError({"party": ["cannot be the id of a customer"]})
    if party is None and kind not in {"thin", "extra"}:
        return
    whose, rank = f"{name}:{party}", _rank(rule, event)
    things: Iterable[tuple[str, Value]]
    if kind == "thin":
        things = [(TO_REFRESH, {"event": event.id})]
        if party is None:  # Only the source may know whose it is.
            id_ = _id(rule, body)
            whose = pointer(name, f"{rule['thing']}:{id_}")
    elif kind == "extra":
        extra = f"{EXTRA}{_id(rule, body)}"
        whose, things = catalogue(name, extra), [(extra, {"told": True})]
    else:
        things = _things(rule, body, at, str(party))
    for thing, value in things:
        yield event.fact(whose, thing, value, rank, at=at)


def fits(kind: str, pattern: str) -> bool:
    """Whether an event's type fits a *pattern*, in which `*` stands for anything."""
    return bool(re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), kind))


def _rank(rule: Rule, event: Event) -> int:
    """Return the place of an event among those of one instant.

    The event's own number says it (`tie`), else its type's place in `order`, where a type
    that is named comes before one that `*` stands for.
    """
    tie: int | None = read(rule, "tie", event.body)
    if tie is not None:
        return Rank.FROM_API + tie
    order = rule.get("order", ())
    if event.type in order:
        return int(Rank.CREATED + order.index(event.type))
    places = (n for n, kind in enumerate(order) if fits(event.type, kind))
    return Rank.CREATED + next(places, 0)


def _id(rule: Rule, body: Any) -> str:
    """Return the id of the subscription or thing; ValidationError where there is none."""
    found = read(rule, "id", body)
    if not is_name(found):
        raise ValidationError({"id": ["is not in the event"]})
    return found


def _things(rule: Rule, body: Any, at: int, party: str) -> Iterator[tuple[str, Value]]:
    account = read(rule, "account", body)
    if rule["kind"] == "customer":
        yield from _customer(rule, body, party)
    elif rule["kind"] == "subscription":
        thing = f"{SUBSCRIPTION}{_id(rule, body)}"
        yield thing, _subscription(rule, body, at, account)
    elif account is not None:
        yield "account", {"account": account}
    yield from _traits(rule, body)


def _customer(rule: Rule, body: Any, party: str) -> Iterator[tuple[str, Value]]:
    """Yield what the event has of a customer; each part is a thing of its own."""
    own = party if rule["by_id"] else None
    yield "customer", kept(account=own, deleted=read(rule, "deleted", body))
    for thing in (NAME, EMAIL):
        value = read(rule, thing, body, absent=Absent)
        if value is not Absent:
            yield thing, kept(**{thing: value})
    account = Absent if own else read(rule, "account", body, absent=Absent)
    if account is not Absent:
        # The customer's own word comes before that of its subscriptions.
        yield "account", kept(account=account, rank=0)


def _subscription(rule: Rule, body: Any, at: int, account: Any) -> Subscription:
    currency, status = read(rule, "currency", body), _status(rule, body)
    mrr, over = rule["mrr"], status in ENDED
    items, trial_end = _items(mrr, body, currency), _trial_end(rule, body)
    if not items and not over:
        # Nothing recurring, no subscription.
        return kept(Subscription(status=VOID, account=account, ended_at=at))
    trialing = read(rule, "trialing_until", body)
    if not trialing and not _tells_trials(rule):
        trialing = trial_end
    ended: Any = (read(rule["ended"], "at", body, "ended.") or at) if over else None
    value: Subscription = {
        "status": status,
        "currency": currency,
        "account": account,
        "items": items,
        # A tax that is part of a price, and its rate is not told.
        "automatic_tax": any(item.get("inclusive") for item in items),
        "discounts": [*_discounts(mrr, body)],
        "extras": rule["extras"],
        "plan": read(rule, "plan", body),
        "ends": read(rule, "ends", body),
        "no_renewal": not over and read(rule, "renews", body) is False,
        "trial_end": trial_end,
        "trialing_until": trialing,
        "ended_at": ended,
        "cancel_at": read(rule, "cancel_at", body),
        "cancel_at_period_end": read(rule, "cancel_at_period_end", body),
    }
    return kept(value)


def _trial_end(rule: Rule, body: Any) -> Any:
    """Return when the trial ends: as told, or so many days after the beginning."""
    end = read(rule, "trial_end", body)
    began, days = read(rule, "starts", body), read(rule, "trial_days", body)
    if end or not (began and days):
        return end
    end = began + int(Fraction(days) * DAY)
    if end > LATEST * 1000:
        raise ValidationError({"trial_days": ["must be the days of a trial"]})
    return end


def _tells_trials(rule: Rule) -> bool:
    """Whether its status can be `trialing`; else a trial lasts until its end."""
    status: ValuePath | None = rule.get("status")
    if status is None:
        return False
    return status.lookup is None or "trialing" in status.lookup.values()


def _status(rule: Rule, body: Any) -> str:
    if read(rule["ended"], "when", body, "ended."):
        return "canceled"
    found = read(rule, "status", body) if "status" in rule else "active"
    if found not in STATUSES:
        must = f"must be one of {', '.join(STATUSES)}, by its lookup"
        raise ValidationError({"status": [must]})
    return str(found)


def _items(mrr: Rule, body: Any, currency: str | None) -> list[Item]:
    """Return the items; one without an amount where they are not known.

    The list is empty where nothing is recurring.
    """
    rows = read(mrr, "items", body, "mrr.") if "items" in mrr else [body]
    if rows is None or "amount" not in mrr:
        return [{"interval": "month"}]
    return [_item(mrr, row, body, currency) for row in rows]


def _item(mrr: Rule, row: Any, body: Any, currency: str | None) -> Item:
    """Return one item; its interval and dates may also stand in the event, for all."""

    def its(name: str, where: Any = row) -> Any:
        return read(mrr, name, where, "mrr.")

    value: Item = {
        "from": its("from") or its("from", body),
        "until": its("until") or its("until", body),
    }
    if its("usage"):
        value["usage"] = UNTOLD
        return kept(value)
    amount, quantity, own = its("amount"), its("quantity"), _currency(mrr, row)
    if own and currency not in {None, own}:
        # What it costs in the subscription's currency, the event does not tell.
        amount, own = None, None
    code = currency or own
    if not code or own == "" or ("quantity" in mrr and quantity is None):
        amount = None
    interval, every = its("interval") or its("interval", body), its("count")
    every = every or its("count", body)
    if "interval" not in mrr:
        interval = ("month", 1)
    if interval is None or (every is None and "count" in mrr):
        interval = (None, 1)
    count = interval[1] * (every or 1)
    value |= {
        "unit": amount and in_minor(amount, mrr["amount"].kind, code),
        "interval": interval[0],
        "count": _unless_one(count),
        "quantity": _unless_one(quantity),
        "name": its("name"),
        "inclusive": its("tax_included"),
        "currency": "" if currency else own,
    }
    return kept(value)


def _unless_one(count: Any) -> Any:
    return None if count == 1 else count


def _currency(mrr: Rule, row: Any) -> Any:
    """Return an item's own currency; "" where it is none, as some senders' credits."""
    try:
        return read(mrr, "currency", row)
    except ValidationError:
        return ""


def _discounts(mrr: Rule, body: Any) -> Iterator[Discount]:
    """Yield the discounts, whose terms no event tells, with their dates."""
    if "discounts" not in mrr:
        found = read(mrr, "discount", body, "mrr.")
        if found:
            yield {"id": found}
        return
    for row in read(mrr, "discounts", body, "mrr.") or ():
        value: Discount = {
            "id": read(mrr, "discount", row, "mrr.") or "a discount",
            "from": read(mrr, "from", row, "mrr."),
            "until": read(mrr, "until", row, "mrr."),
        }
        yield kept(value)


def _traits(rule: Rule, body: Any) -> Iterator[tuple[str, Value]]:
    """Each trait that the event has an opinion of; None clears it."""
    for name in rule["traits"]:
        value = read(rule["traits"], name, body, "traits.", Absent)
        if value is Absent:
            continue
        kind = rule["traits"][name].kind
        if value is not None and kind in SHOWN:
            value = SHOWN[kind](value, read(rule, "currency", body))
        yield f"trait:{name}", {"is": value}


def _minor(amount: str, currency: str | None) -> int | float:
    if currency is None:
        raise ValidationError({"currency": ["is not in the event"]})
    return rounded(Fraction(amount) / 10 ** decimals(currency), currency)


SHOWN: Mapping[str, Callable[[Any, str | None], Any]] = {
    "instant": lambda at, _: instant(at),
    "minor": _minor,
    "major": lambda amount, _: number(amount),
}
"""Kind of a value -> how it is written in Vitally, (value, currency) given."""
