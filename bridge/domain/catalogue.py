"""Completes subscriptions with what they only refer to: discounts, coupons, names.

Since 2025-03-31 a Stripe subscription may contain only a discount's id, and since
2025-09-30 a discount only its coupon's id; a product's name is never in it. The details
come in events of their own: of the customer (thing `discount:…`) or of no customer
(things `coupon:…`, `price:…`, `product:…` of the source's catalogue).

An id can be reused: a deleted coupon may be created again with other terms, and
whoever had the old one keeps it. So a thing is identified by its id *and* its creation
time, and the facts of one id may hold several things (`coupon:SAVE@1795000200`). A fact
without a creation time (`coupon:SAVE`; all facts of version 0.1) belongs to the last
creation before its own instant.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from math import inf
from operator import itemgetter
from typing import Any, cast

from bridge.domain.facts import Rank
from bridge.domain.fold import State
from bridge.domain.values import (
    CUSTOMER,
    DISCOUNT,
    ENDED,
    EXTRA,
    PART,
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
"""Id of a thing in a source's catalogue -> all things that had it (see `generations`)."""
Discounts = Sequence[Discount]

UNPRICED: Item = {"price": "what it has beside its plan"}
"""Stands for something on a subscription whose price no event has (`extra:ID`)."""


def references(things: Things) -> set[str]:
    """The things of the catalogue that a party's things refer to."""
    names: set[str] = set()
    discounts: list[Discount] = []
    for thing, state in things.items():
        value = state.value
        if thing.startswith(DISCOUNT) or thing == CUSTOMER:
            discounts += [value, *value.get("discounts", ())]
        elif thing.startswith(SUBSCRIPTION) and value.get("status") not in ENDED:
            items = value.get("items", ())
            discounts += [d for o in (value, *items) for d in o.get("discounts", ())]
            for kind in ("price", "product"):
                names |= {f"{kind}:{item[kind]}" for item in items if item.get(kind)}
            if value.get("extras"):
                names.add(_extra(thing))
    return names | {
        f"coupon:{one['coupon']}"
        for one in discounts
        if one.get("coupon") and "duration" not in one
    }


def _extra(thing: str) -> str:
    """The thing of the catalogue that reports a subscription's extras."""
    return EXTRA + thing.removeprefix(SUBSCRIPTION)


class References:
    """What the subscriptions of one party refer to: its own *things*, and shared ones."""

    def __init__(self, things: Things, catalogue: Catalogue) -> None:
        self._things = things
        self._catalogue = catalogue
        read = things.get(REFRESHED)
        self._refreshed: Refreshed = read.value if read else {}
        told = [s for name, s in sorted(things.items()) if name.startswith(DISCOUNT)]
        replaced = ((state.value.get("replaces"), state.value) for state in told)
        self._replaced: dict[str, Discount] = {id_: new for id_, new in replaced if id_}
        self._began: defaultdict[str | None, list[State]] = defaultdict(list)
        items = [i for state in things.values() for i in state.value.get("items", ())]
        elsewhere = {one.get("id") for i in items for one in i.get("discounts", ())}
        elsewhere |= self._replaced.keys()
        for state in told:
            value = state.value
            # A discount of an item is left out: its item lists it.
            if not value.get("item") and value.get("id") not in elsewhere:
                self._began[value.get("subscription")].append(state)
        self._customer_discounts = self._of_customer()
        # Where nothing else tells anything, a subscription without discounts is complete.
        some = told or catalogue or self._refreshed or self._customer_discounts
        self._are_none = not some and not any(name.startswith(PART) for name in things)

    def _of_customer(self) -> Discounts:
        """The customer's own discount, which counts if a subscription has none (any more)."""
        customer = self._things.get(CUSTOMER)
        seen = customer.fact.stamp.at if customer else 0
        listed = customer.value.get("discounts", ()) if customer else ()
        discounts = _last(self._began[None], seen, self._newest(listed))
        subs = [s.value for t, s in self._things.items() if t.startswith(SUBSCRIPTION)]
        going_on = [value for value in subs if value.get("status") not in ENDED]
        products = {product for value in going_on for product in _products(value)}
        return self._with_terms(discounts, seen, products)

    def completed(self, thing: str, state: State) -> State:
        """The *state* of a subscription, completed by what other things say about it."""
        parts = (state.value, *state.value.get("items", ()))
        if self._are_none and not any(part.get("discounts") for part in parts):
            return state
        id_, seen = thing.removeprefix(SUBSCRIPTION), state.fact.stamp.at
        value = _put_together(id_, state, self._things)
        discounts = self._newest(value.get("discounts", ()))
        if value.get("single"):
            discounts = _last(self._began[id_], seen, discounts)
        else:
            later = _later(self._began[id_], seen, discounts)
            discounts = [*discounts, *(one.value for one in later)]
        own = self._with_terms(discounts, seen, _products(value))
        last: Any = max((one.get("ends", inf) for one in own), default=0)
        more = [d for d in self._customer_discounts if last < d.get("ends", inf)]
        if own and more:
            own = [{**d, "until": last} for d in own]
            more = [{**d, "from": last} for d in more]
        value["discounts"] = own + more
        if "items" in value:
            value["items"] = [self._item(item, seen) for item in value["items"]]
        if self._catalogue.get(_extra(thing)):
            value["items"] = [*value.get("items", ()), UNPRICED]
        return state._replace(fact=state.fact._replace(value=value))

    def _newest(self, listed: Discounts) -> Discounts:
        """The *listed* discounts, or those that have replaced them since."""
        newest = listed
        for _ in self._replaced:
            newest = [self._replaced.get(one.get("id", ""), one) for one in newest]
        return newest

    def _with_terms(
        self, listed: Discounts, seen: int, products: Collection[str] = ()
    ) -> list[Discount]:
        """The discounts *listed* when *seen* that have not ended, with their terms.

        If it is not known which of several *products* a discount is for, it is `among`
        them.
        """
        standing: list[Discount] = []
        for one in listed:
            whole, alone = one, self._things.get(f"{DISCOUNT}{one.get('id')}")
            if alone is not None and alone.value.get("deleted"):
                continue
            if alone is not None:
                is_newer = alone.fact.stamp.at > seen
                whole = _over(one, alone.value) if is_newer else _over(alone.value, one)
            refreshed = self._refreshed.get("discounts", {}).get(whole.get("id", ""))
            whole = _over(refreshed, whole) if refreshed else whole
            if "duration" not in whole:
                whole = {**whole, **self._terms(whole, seen)}
            if "products" not in whole and len(products) > 1:
                whole = {**whole, "among": sorted(products)}
            standing.append(whole)
        return standing

    def _terms(self, discount: Discount, seen: int) -> Terms:
        """The terms of the coupon of a *discount*; {}: not known.

        The coupon is the one that had the id when the discount began: neither deleting
        it nor creating a new one under that id changes existing discounts
        (https://docs.stripe.com/api/coupons/delete).
        """
        coupons = self._catalogue.get(f"coupon:{discount.get('coupon')}", {})
        terms = [
            {key: state.value[key] for key in TERMS if key in state.value}
            for coupon in generations(coupons.values(), seen, discount.get("start"))
            for state in coupon
        ]
        is_certain = terms and all(other == terms[-1] for other in terms)
        return cast(Terms, terms[-1]) if is_certain else {}

    def _item(self, item: Item, seen: int) -> Item:
        """An item as *seen* (ms), with the current names of its price and product.

        What only the source's API has (tiers, names) was stored when it was read.
        """
        price, product = (
            there_at(self._catalogue.get(name, {}).values(), seen)
            for name in (f"price:{item.get('price')}", f"product:{item.get('product')}")
        )
        priced_as = item.get("priced_as", item.get("price", ""))
        tiers = self._refreshed.get("tiers", {}).get(priced_as)
        name = self._refreshed.get("names", {}).get(item.get("product", ""))
        whole: Item = {"product_name": name, **item} if name else {**item}
        made = created(price) if price is not None else None
        read_at = self._things[REFRESHED].fact.stamp.at if tiers or name else 0
        # Another plan may have had that id when it was read.
        if tiers and (made is None or made <= read_at):
            whole = {**tiers, **whole}
        named_at = seen if "product_name" in item else read_at if name else -inf
        if price is not None and price.fact.stamp.at > seen:
            whole["name"] = price.value.get("name")
            whole["lookup"] = price.value.get("lookup", item.get("lookup"))
        if product is not None and product.fact.stamp.at > named_at:
            whole["product_name"] = product.value.get("name")
        if details := self._details(item, seen, (product, price)):
            whole["details"] = details
        if "discounts" in item:
            newest = self._newest(item["discounts"])
            whole["discounts"] = self._with_terms(newest, seen)
        return whole

    def _details(
        self, item: Item, seen: int, shared: Iterable[State | None]
    ) -> dict[str, Any]:
        """What an item as *seen* (ms), its product and its price tell; the newest counts."""
        known = self._refreshed.get("details", {}).get(item.get("product", ""))
        parts = [(self._things[REFRESHED].fact.stamp.at, known)] if known else []
        parts += [(s.fact.stamp.at, s.value.get("details", {})) for s in shared if s]
        parts.append((seen, item.get("details", {})))
        parts.sort(key=itemgetter(0))
        return {key: told for _, part in parts for key, told in part.items()}


def _later(began: Iterable[State], seen: int, listed: Discounts) -> list[State]:
    """The discounts that *began* after the list was *seen* (ms) and are not *listed*."""
    known = {one.get("id") for one in listed}
    later = (state for state in began if state.fact.stamp.at >= seen)
    return [state for state in later if state.value.get("id") not in known]


def _last(began: Iterable[State], seen: int, listed: Discounts) -> Discounts:
    """The last discount that began, where there can be only one at a time.

    A customer has at most one, as a subscription had before `discounts`; a new one
    replaces it (https://docs.stripe.com/api/events/types: `customer.discount.updated`).
    """
    later = _later(began, seen, listed)
    if not later:
        return listed
    last = max(later, key=_beginning).value
    if not last.get("deleted"):
        return [last]
    return [] if last.get("start", seen) > seen else listed


def _beginning(state: State) -> tuple[int, int, bool, tuple[Any, ...]]:
    """Sort key of discounts: their beginning; ended ones without a beginning come first."""
    at, is_over = state.fact.stamp.at, bool(state.value.get("deleted"))
    begin = state.value.get("start", -1 if is_over else at)
    return begin, at, not is_over, state.fact.key


def _products(value: Subscription) -> set[str]:
    """All products of a subscription, metered ones included; each price without one is one."""
    return {i.get("product") or i.get("price", "") for i in value.get("items", ())}


def _over(old: Discount, new: Discount) -> Discount:
    """The *new* discount, completed from the *old* one if both have the same coupon."""
    is_other = new.get("coupon") not in {None, old.get("coupon")}
    return new if is_other else {**old, **new}


def _put_together(id_: str, state: State, things: Things) -> Subscription:
    """The value of a subscription, with the parts that came in facts of their own."""
    value: dict[str, Any] = {**state.value}
    parts = {p: things[part(id_, p)] for p in PARTS if part(id_, p) in things}
    if parts and value.get("status") == "active":
        for name in {"ends", "plan"} & parts.keys():
            value.pop(name, None)
            value |= parts[name].value
        end = parts["ended"].value.get("ended") if "ended" in parts else None
        newest = max(one.fact.stamp.at for one in (state, *parts.values()))
        if end is not None and end <= newest:
            value |= {"status": "canceled", "ended_at": end}
        elif end is not None:
            value["cancel_at"] = end
    return cast(Subscription, value)


# --- Things that had one id, one after the other --------------------------------------


def generations(
    states: Iterable[State], seen: int, began: int | None = None
) -> list[list[State]]:
    """The things with one id that a reference may mean, oldest first.

    The reference was *seen* (ms) and *began* then (None: unknown). Each thing exists from
    its creation (if known) until it is deleted or the next one is created. Its states are
    in order, the newest last.
    """
    ordered = sorted(states, key=lambda state: state.fact.key)
    births = [-inf, *sorted({at for at in map(created, ordered) if at is not None})]
    own: dict[float, list[State]] = {birth: [] for birth in births}
    for state in ordered:
        birth: float | None = created(state)
        if birth is None:
            birth = max(one for one in births if one <= state.fact.stamp.at)
        own[birth].append(state)
    possible: list[list[State]] = []
    for (birth, one), following in zip(own.items(), [*births[1:], inf], strict=True):
        deleted = (s.fact.stamp.at for s in one if s.value.get("deleted"))
        is_after = began is not None and began > min((following, *deleted))
        if one and not is_after and birth <= (seen if began is None else began):
            possible.append(one)
    return possible


def created(state: State) -> int | None:
    """When the thing of a *state* was created (ms); None: unknown."""
    told: int | None = state.value.get("created")
    is_creation = state.fact.stamp.rank == Rank.CREATED
    return state.fact.stamp.at if told is None and is_creation else told


def there_at(states: Collection[State], seen: int) -> State | None:
    """The newest state of the thing that had the id when it was *seen* (ms)."""
    there = generations(states, seen)
    return there[-1][-1] if there else None
