"""How the rules of a table make facts of an event: the sender's things, in our words.

What an event does not have is left out and never guessed; a value that is not what it
must be is a ValidationError that names the line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import Any

from marshmallow import ValidationError

from bridge.domain.account import EMAIL, NAME
from bridge.domain.catalogue import ENDED, EXTRA, SUBSCRIPTION, VOID
from bridge.domain.currency import decimals
from bridge.domain.facts import TO_REFRESH, Fact, Rank, Stamp, Value, catalogue, pointer
from bridge.domain.money import rounded
from bridge.domain.subscription import UNTOLD
from bridge.domain.traits import instant
from bridge.sources.generic.convert import in_minor, number
from bridge.sources.generic.lines import Absent, Line, told
from bridge.webhook.bodies import is_name
from bridge.webhook.fields import LATEST
from bridge.webhook.source import Event
from bridge.webhook.values import digest, kept

Rule = Mapping[str, Any]
"""A rule's loaded lines by name; `source`, `by_id` and `extras` are added to them."""

STATUSES = (
    "active",
    "past_due",
    "trialing",
    "paused",
    "incomplete",
    "unpaid",
    "canceled",
    "incomplete_expired",
    "void",
)
"""What a status must be, by itself or by its lookup."""

DAY = 86_400_000
"""Milliseconds."""

IMPLIED = "implied"
"""The event of a customer that nothing has told of: it is older than all others."""


def tell(rules: Mapping[str, Rule], event: Event) -> list[Fact]:
    """Return the facts of *event* under its *rules*; none where they name no party.

    A party that nothing tells of but its subscription is a customer all the same.
    """
    found: list[Fact] = []
    for word, rule in rules.items():
        try:
            found += _told(rule, event)
        except ValidationError as error:
            raise ValidationError({word: error.messages}) from None
    known = {fact.party for fact in found if fact.thing in {"customer", TO_REFRESH}}
    known |= {fact.party for fact in found if fact.thing.startswith(EXTRA)}
    by_id = any(rule["by_id"] for rule in rules.values())
    for party in {fact.party: None for fact in found if fact.party not in known}:
        value = kept(account=party.partition(":")[2] if by_id else None)
        stamp, after = Stamp(False, 0, Rank.CREATED), digest(value)
        found.append(Fact(party, "customer", stamp, IMPLIED, IMPLIED, value, after))
    return found


def _told(rule: Rule, event: Event) -> Iterator[Fact]:
    body = event.body
    # What was read is as old as the reading.
    at, party = told(rule, "at", body) or event.at, told(rule, "party", body)
    if not at:
        raise ValidationError({"at": ["is not in the event"]})
    if party is not None and not is_name(party):
        raise ValidationError({"party": ["cannot be the id of a customer"]})
    if rule["kind"] == "thin":
        yield _thin(rule, event, at, party)
    elif rule["kind"] == "extra":
        thing = f"{EXTRA}{_id(rule, body)}"
        made = _fact(rule, event, "", thing, at, {"told": True})
        yield made._replace(party=catalogue(rule["source"], thing))
    elif party is not None:
        for thing, value in _things(rule, body, at, party):
            yield _fact(rule, event, party, thing, at, value)


def _fact(  # noqa: PLR0913, PLR0917 - the parts of a fact
    rule: Rule, event: Event, party: str, thing: str, at: int, value: Value
) -> Fact:
    order = told(rule, "version", event.body) or at
    return Fact(
        party=f"{rule['source']}:{party}",
        thing=thing,
        stamp=Stamp(False, order, _rank(rule, event)),
        event=event.id,
        kind=event.type,
        value=value,
        after=digest(value),
    )


def _rank(rule: Rule, event: Event) -> int:
    """The place of an event among those of one instant.

    By what it says itself (`tie`), else by its type, whose name comes before `*`.
    """
    said: int | None = told(rule, "tie", event.body)
    if said is not None:
        return Rank.FROM_API + said
    kind, order = event.type, rule.get("order", ())
    if kind in order:
        return int(Rank.CREATED + order.index(kind))
    fits = (n for n, type_ in enumerate(order) if fnmatchcase(kind, type_))
    return Rank.CREATED + next(fits, 0)


def _thin(rule: Rule, event: Event, at: int, party: str | None) -> Fact:
    """That a thing has to be read; whose it is, only the source may know."""
    made = _fact(rule, event, party or "", TO_REFRESH, at, {"event": event.id})
    if party is not None:
        return made
    id_ = _id(rule, event.body)
    return made._replace(party=pointer(rule["source"], f"{rule['thing']}:{id_}"))


def _id(rule: Rule, body: Any) -> str:
    """The id of what an event is about; there must be one."""
    found = told(rule, "id", body)
    if not is_name(found):
        raise ValidationError({"id": ["is not in the event"]})
    return str(found)


def _things(rule: Rule, body: Any, at: int, party: str) -> Iterator[tuple[str, Value]]:
    account = told(rule, "account", body)
    if rule["kind"] == "customer":
        yield from _customer(rule, body, party)
    elif rule["kind"] == "subscription":
        thing = f"{SUBSCRIPTION}{_id(rule, body)}"
        yield thing, _subscription(rule, body, at, account)
    elif account is not None:
        yield "account", {"account": account}
    yield from _traits(rule, body)


def _customer(rule: Rule, body: Any, party: str) -> Iterator[tuple[str, Value]]:
    """What the event has of a customer, each a thing of its own: it may have a part."""
    own = party if rule["by_id"] else None
    yield "customer", kept(account=own, deleted=told(rule, "deleted", body))
    for thing in (NAME, EMAIL):
        value = told(rule, thing, body, absent=Absent)
        if value is not Absent:
            yield thing, kept(**{thing: value})
    account = Absent if own else told(rule, "account", body, absent=Absent)
    if account is not Absent:
        # The customer's own word comes before that of its subscriptions.
        yield "account", kept(account=account, rank=0)


def _subscription(rule: Rule, body: Any, at: int, account: str | None) -> Value:
    currency, status = told(rule, "currency", body), _status(rule, body)
    money, over = rule["mrr"], status in ENDED
    items, trial_end = _items(money, body, currency), _trial_end(rule, body)
    if not items and not over:
        # Nothing recurring, no subscription.
        return kept(status=VOID, account=account, ended_at=at)
    return kept(
        status=status,
        currency=currency,
        account=account,
        items=items,
        # A tax that is part of a price, and its rate is not told.
        automatic_tax=any(item.get("inclusive") for item in items),
        discounts=[*_discounts(money, body)],
        extras=rule["extras"],
        plan=told(rule, "plan", body),
        ends=told(rule, "ends", body),
        no_renewal=not over and told(rule, "renews", body) is False,
        trial_end=trial_end,
        trialing_until=told(rule, "trialing_until", body)
        or (None if _tells_trials(rule) else trial_end),
        ended_at=(told(rule["ended"], "at", body, "ended.") or at) if over else None,
        cancel_at=told(rule, "cancel_at", body),
        cancel_at_period_end=told(rule, "cancel_at_period_end", body),
    )


def _trial_end(rule: Rule, body: Any) -> int | None:
    """When its trial ends; also by the days of the trial since it began."""
    end: int | None = told(rule, "trial_end", body)
    began, days = told(rule, "starts", body), told(rule, "trial_days", body)
    if end or not (began and days):
        return end
    end = began + int(Fraction(days) * DAY)
    if end > LATEST * 1000:
        raise ValidationError({"trial_days": ["must be the days of a trial"]})
    return end


def _tells_trials(rule: Rule) -> bool:
    """Whether its status can be `trialing`; else a trial lasts until its end."""
    status: Line | None = rule.get("status")
    if status is None:
        return False
    return status.lookup is None or "trialing" in status.lookup.values()


def _status(rule: Rule, body: Any) -> str:
    if told(rule["ended"], "when", body, "ended."):
        return "canceled"
    found = told(rule, "status", body) if "status" in rule else "active"
    if found not in STATUSES:
        must = f"must be one of {', '.join(STATUSES)}, by its lookup"
        raise ValidationError({"status": [must]})
    if found == "unpaid" and rule.get("version"):
        raise ValidationError({"status": ["unpaid since when, no version can tell"]})
    return str(found)


def _items(money: Rule, body: Any, currency: str | None) -> list[Value]:
    """Items as money reads them; one without an amount where they are not known.

    An empty list where nothing is recurring.
    """
    rows = told(money, "items", body, "mrr.") if "items" in money else [body]
    if rows is None or "amount" not in money:
        return [{"interval": "month"}]
    return [_item(money, row, body, currency) for row in rows]


def _item(money: Rule, row: Any, body: Any, currency: str | None) -> Value:
    """One item. How often it is paid, the event may say for all its items."""

    def said(name: str, where: Any = row) -> Any:
        return told(money, name, where, "mrr.")

    dates = {name: said(name) or said(name, body) for name in ("from", "until")}
    if said("usage"):
        return kept(usage=UNTOLD, **dates)
    amount, many, own = said("amount"), said("quantity"), _currency(money, row)
    if own and currency not in {None, own}:
        # What it costs in the subscription's currency, the event does not tell.
        amount, own = None, None
    if own == "" or ("quantity" in money and many is None):
        amount = None
    code = currency or own
    if amount is not None:
        amount = in_minor(amount, money["amount"].kind, code) if code else None
    rhythm: tuple[str | None, int] = ("month", 1)
    if "interval" in money:
        rhythm = said("interval") or said("interval", body) or (None, 1)
    every = said("count") or said("count", body)
    if every is None and "count" in money:
        rhythm = (None, 1)
    count = rhythm[1] * (every or 1)
    return kept(
        unit=amount,
        interval=rhythm[0],
        count=None if count == 1 else count,
        quantity=None if many == 1 else many,
        name=said("name"),
        ends=said("ends"),
        inclusive=said("tax_included"),
        currency=None if currency else own,
        **dates,
    )


def _currency(money: Rule, row: Any) -> str | None:
    """An item's own currency; "": it is none, like the credits of some senders."""
    try:
        found: str | None = told(money, "currency", row)
    except ValidationError:
        return ""
    return found


def _discounts(money: Rule, body: Any) -> Iterator[Value]:
    """Discounts whose terms are not known, with the dates between which they count."""
    if "discounts" not in money:
        found = told(money, "discount", body, "mrr.")
        yield from [{"id": found}] if found else []
        return
    for row in told(money, "discounts", body, "mrr.") or ():
        yield kept(
            id=told(money, "discount", row, "mrr.") or "a discount",
            **{name: told(money, name, row, "mrr.") for name in ("from", "until")},
        )


def _traits(rule: Rule, body: Any) -> Iterator[tuple[str, Value]]:
    """Each trait that the event has an opinion of; None clears it."""
    for name, line in rule["traits"].items():
        try:
            value = line.read(body)
        except Absent:
            continue
        except ValueError as error:
            raise ValidationError({f"traits.{name}": [str(error)]}) from None
        if value is not None and line.kind in SHOWN:
            value = SHOWN[line.kind](value, told(rule, "currency", body))
        yield f"trait:{name}", {"is": value}


def _minor(amount: str, currency: str | None) -> int | float:
    if currency is None:
        raise ValidationError({"currency": ["is not in the event"]})
    return rounded(Fraction(amount) / 10 ** decimals(currency), currency)


SHOWN: Mapping[str, Any] = {
    "instant": lambda at, _: instant(at),
    "minor": _minor,
    "major": lambda amount, _: number(amount),
}
"""Kind of a line -> how its value is written in Vitally, (value, currency) given."""
