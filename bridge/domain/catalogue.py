"""What a subscription refers to and does not say itself: discounts, coupons, names.

Since 2025-03-31 a subscription of Stripe may hold a discount's id alone, and since
2025-09-30 a discount its coupon's id alone; a product's name is never in it. The rest
is told by events of their own: of the customer (thing `discount:…`) or of nobody
(things `coupon:…`, `price:…`, `product:…` of the source's catalogue).

An id can be used again: a coupon that was deleted may be made anew with other terms, and
whoever had the old one keeps it. So a thing is its id *and* its creation, and each
creation is a thing of its own among the facts of the id (`coupon:SAVE@1795000200`). What
does not say when it was created (`coupon:SAVE`; all facts of version 0.1) belongs to the
last creation before it was told.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, cast

from bridge.domain.facts import Rank
from bridge.domain.fold import State
from bridge.domain.values import (
    DISCOUNT,
    ENDED,
    EXTRA,
    PARTS,
    REFRESHED,
    SUBSCRIPTION,
    TERMS,
    Discount,
    Item,
    Refreshed,
    Subscription,
    Terms,
    part,
)

Things = Mapping[str, State]
Catalogue = Mapping[str, Things]
"""Thing of a source's catalogue -> all that had its id (see `generations`)."""
Discounts = Sequence[Discount]


class Begun(NamedTuple):
    """The discounts that events of their own told.

    *of* has those of a subscription (None: of the customer itself), *instead* by id
    what took a discount's place.
    """

    of: Mapping[str | None, Sequence[State]]
    instead: Mapping[str, Discount]


UNPRICED: Item = {"price": "what it has beside its plan"}
"""The item of a subscription on which something is priced nowhere (`extra:ID`)."""


def references(things: Things) -> set[str]:
    """The things of the catalogue that those of a party refer to."""
    found: set[str] = set()
    for thing, state in things.items():
        if thing.startswith(DISCOUNT) or thing == "customer":
            found |= _coupons([state.value, *state.value.get("discounts", ())])
        elif thing.startswith(SUBSCRIPTION) and state.value.get("status") not in ENDED:
            found |= _referred(state.value)
            if state.value.get("extras"):
                found.add(_extra(thing))
    return found


def _extra(thing: str) -> str:
    """The thing of the catalogue that tells of a subscription's extras."""
    return EXTRA + thing.removeprefix(SUBSCRIPTION)


def _referred(value: Subscription) -> set[str]:
    items = value.get("items", ())
    lists = [value.get("discounts", ()), *(i.get("discounts", ()) for i in items)]
    found = _coupons([one for listed in lists for one in listed])
    for kind in ("price", "product"):
        found |= {f"{kind}:{item[kind]}" for item in items if item.get(kind)}
    return found


def _coupons(discounts: Discounts) -> set[str]:
    return {
        f"coupon:{one['coupon']}"
        for one in discounts
        if one.get("coupon") and "duration" not in one
    }


def begun(things: Things) -> Begun:
    """What the *things* of a party tell of its discounts.

    A discount of an item is left out: its item lists it.
    """
    of: dict[str | None, list[State]] = {}
    instead: dict[str, Discount] = {}
    for name, state in sorted(things.items()):
        if not name.startswith(DISCOUNT):
            continue
        if state.value.get("replaces"):
            instead[state.value["replaces"]] = state.value
        if not state.value.get("item"):
            of.setdefault(state.value.get("subscription"), []).append(state)
    stand = {
        thing: [state for state in told if state.value.get("id") not in instead]
        for thing, told in of.items()
    }
    return Begun(stand, instead)


def customer_discounts(things: Things, catalogue: Catalogue, told: Begun) -> Discounts:
    """The customer's own discount, which counts where a subscription has none."""
    state = things.get("customer")
    seen = state.fact.stamp.at if state else 0
    listed = _instead(state.value.get("discounts", ()) if state else (), told)
    every = _last(told.of.get(None, ()), seen, listed)
    if not every:
        return []
    going = (
        one.value
        for thing, one in things.items()
        if thing.startswith(SUBSCRIPTION) and one.value.get("status") not in ENDED
    )
    products = {product for value in going for product in _products(value)}
    return _discounts(every, seen, things, catalogue, products)


def completed(
    thing: str, state: State, things: Things, catalogue: Catalogue, told: Begun
) -> State:
    """The *state* of a subscription with all that other things tell of it.

    *things* are its party's, *catalogue* those of its source, *told* is `begun(things)`.
    """
    id_, at = thing.removeprefix(SUBSCRIPTION), state.fact.stamp.at
    value = put_together(id_, state, things)
    listed = _instead(value.get("discounts", ()), told)
    mine = told.of.get(id_, ())
    if value.get("single"):
        listed = _last(mine, at, listed)
    else:
        listed += [one.value for one in _added(mine, at, listed)]
    if listed or "discounts" in value:
        products = _products(value)
        value["discounts"] = _discounts(listed, at, things, catalogue, products)
    if "items" in value:
        value["items"] = [
            _item(item, at, things, catalogue, told) for item in value["items"]
        ]
    if catalogue.get(_extra(thing)):
        value["items"] = [*value.get("items", ()), UNPRICED]
    return state._replace(fact=state.fact._replace(value=value))


def _instead(listed: Discounts, told: Begun) -> list[Discount]:
    """The discounts *listed*, or what took their places since."""
    found: list[Discount] = []
    for one in listed:
        now, left = one, len(told.instead)
        while left and now.get("id") in told.instead:
            now, left = told.instead[now["id"]], left - 1
        found.append(now)
    return found


def _added(told: Sequence[State], seen: int, listed: Discounts) -> list[State]:
    """Of the discounts *told* those that are news since *seen* (ms), not yet *listed*."""
    known = {one.get("id") for one in listed}
    news = (state for state in told if state.fact.stamp.at >= seen)
    return [state for state in news if state.value.get("id") not in known]


def _last(told: Sequence[State], seen: int, listed: list[Discount]) -> list[Discount]:
    """Of discounts of which there can be one at a time the last that began.

    A customer has one, as a subscription had before `discounts`: another takes its
    place (https://docs.stripe.com/api/events/types: `customer.discount.updated`).
    """
    news = _added(told, seen, listed)
    if not news:
        return listed
    last = max(news, key=_begin).value
    if not last.get("deleted"):
        return [last]
    return [] if last.get("start", seen) > seen else listed


def _begin(state: State) -> tuple[int, int, bool, tuple[Any, ...]]:
    """Sorts discounts by their beginning; one that is over, and says none, is first."""
    at, is_over = state.fact.stamp.at, bool(state.value.get("deleted"))
    begin = state.value.get("start", -1 if is_over else at)
    return begin, at, not is_over, state.fact.key


def _products(value: Subscription) -> set[str]:
    """All that a subscription is for, usage too."""
    return {item["product"] for item in value.get("items", ()) if "product" in item}


def _discounts(
    listed: Discounts,
    seen: int,
    things: Things,
    catalogue: Catalogue,
    products: Collection[str] = (),
) -> list[Discount]:
    """Of the discounts *listed* when *seen* those that stand, with their terms.

    Where nobody told which of several *products* one is for, it is `among` them.
    """
    refreshed = _refreshed(things).get("discounts", {})
    found: list[Discount] = []
    for one in listed:
        told = things.get(f"{DISCOUNT}{one.get('id')}")
        if told is not None and told.value.get("deleted"):
            continue
        is_newer = told is not None and told.fact.stamp.at > seen
        alone: Discount = told.value if told else {}
        whole = _over(one, alone) if is_newer else _over(alone, one)
        whole = _over(refreshed.get(whole.get("id", ""), {}), whole)
        if "duration" not in whole:
            whole = {**whole, **_terms(whole, seen, catalogue)}
        if "products" not in whole and len(products) > 1:
            whole = {**whole, "among": sorted(products)}
        found.append(whole)
    return found


def _refreshed(things: Things) -> Refreshed:
    """What the source's API told of a party that no event does."""
    value: Refreshed = things[REFRESHED].value if REFRESHED in things else {}
    return value


def _over(old: Discount, new: Discount) -> Discount:
    """What is told of a discount, the *new* over the *old*.

    Nothing stays of the old where another coupon took its place.
    """
    is_other = new.get("coupon") not in {None, old.get("coupon")}
    return new if is_other else {**old, **new}


def _terms(discount: Discount, seen: int, catalogue: Catalogue) -> Terms:
    """What the coupon says of which a *discount* was made; {}: that cannot be told.

    It is the one that had the id when the discount began: neither a deletion nor a new
    coupon of that id changes what was made of the old one
    (https://docs.stripe.com/api/coupons/delete).
    """
    every = catalogue.get(f"coupon:{discount.get('coupon')}", {}).values()
    told = [
        cast(Terms, {key: state.value[key] for key in TERMS if key in state.value})
        for one in generations(every)
        if one.may_be(discount.get("start"), seen)
        for state in one.states
    ]
    return told[-1] if told and all(terms == told[-1] for terms in told) else {}


def _named(
    kind: Literal["price", "product"], item: Item, seen: int, catalogue: Catalogue
) -> State | None:
    """The price or product that an *item* had when it was *seen*."""
    return there_at(catalogue.get(f"{kind}:{item.get(kind)}", {}).values(), seen)


def _item(
    item: Item, at: int, things: Things, catalogue: Catalogue, told: Begun
) -> Item:
    """An item seen *at* (ms) with the names that its price and product have now.

    What only the source's own API tells (tiers, names) was kept when it was read.
    """
    price = _named("price", item, at, catalogue)
    refreshed = _refreshed(things)
    tiers = refreshed.get("tiers", {}).get(item.get("price", ""), {})
    made = created(price) if price is not None else None
    if tiers and made is not None and made > things[REFRESHED].fact.stamp.at:
        tiers = {}  # Another plan had that id when it was read.
    name = refreshed.get("names", {}).get(item.get("product", ""))
    found: Item = {**tiers, **item}
    if name and "product_name" not in item:
        found["product_name"] = name
    if price is not None and price.fact.stamp.at > at:
        found["name"] = price.value.get("name")
        found["lookup"] = price.value.get("lookup")
    product = _named("product", item, at, catalogue)
    if product is not None and (
        "product_name" not in item or product.fact.stamp.at > at
    ):
        found["product_name"] = product.value.get("name")
    if "discounts" in item:
        listed = _instead(item["discounts"], told)
        found["discounts"] = _discounts(listed, at, things, catalogue)
    return found


def put_together(id_: str, state: State, things: Things) -> Subscription:
    """The value of a subscription with those of its parts that were told apart."""
    value: dict[str, Any] = {**state.value}
    told = {
        name: things[part(id_, name)] for name in PARTS if part(id_, name) in things
    }
    if not told or value.get("status") != "active":
        return cast(Subscription, value)
    for name in {"ends", "plan"} & told.keys():
        value.pop(name, None)
        value |= told[name].value
    end = told["ended"].value.get("ended") if "ended" in told else None
    if end is not None:
        newest = max(one.fact.stamp.at for one in (state, *told.values()))
        is_over = end <= newest
        value |= (
            {"status": "canceled", "ended_at": end} if is_over else {"cancel_at": end}
        )
    return cast(Subscription, value)


class Generation(NamedTuple):
    """One of the things that had an id: its *states* in order, the newest last.

    It was there from *created* (ms; None: since before anything known) until *gone*
    (None: still).
    """

    created: int | None
    gone: int | None
    states: tuple[State, ...]

    def may_be(self, begun: int | None, seen: int) -> bool:
        """Whether what was *seen* (ms), and had *begun* (None: not told), can be of it."""
        if self.created is not None and self.created > (
            seen if begun is None else begun
        ):
            return False
        return begun is None or self.gone is None or self.gone >= begun


def created(state: State) -> int | None:
    """When the thing of a *state* was made (ms); None: it does not say."""
    told: int | None = state.value.get("created")
    if told is None and state.fact.stamp.rank == Rank.CREATED:
        return state.fact.stamp.at
    return told


def generations(states: Iterable[State]) -> list[Generation]:
    """All things that had one id, the oldest first."""
    ordered = sorted(states, key=lambda state: state.fact.key)
    begins = sorted({at for at in map(created, ordered) if at is not None})
    found: dict[int | None, list[State]] = {None: [], **{at: [] for at in begins}}
    for state in ordered:
        at = created(state)
        if at is None:
            told = state.fact.stamp.at
            at = max((one for one in begins if one <= told), default=None)
        found[at].append(state)
    ends = [*begins, None]
    return [
        Generation(begin, _gone(own, end), tuple(own))
        for (begin, own), end in zip(found.items(), ends, strict=True)
        if own
    ]


def _gone(states: Iterable[State], following: int | None) -> int | None:
    """When it was deleted, at the latest when the next one of its id was made."""
    told = (s.fact.stamp.at for s in states if s.value.get("deleted"))
    return min((at for at in (*told, following) if at is not None), default=None)


def there_at(states: Iterable[State], seen: int) -> State | None:
    """The newest state of what had the id when it was *seen* (ms)."""
    there = [g for g in generations(states) if g.may_be(None, seen)]
    return there[-1].states[-1] if there else None
