"""Lives whose discounts, coupons and names are told apart, in any order of delivery.

Stripe's newest rendering: a subscription lists ids of discounts, a discount the id of
its coupon, an item the ids of price and product; each is told by events of its own.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.account import unite
from bridge.domain.document import Document, document
from bridge.domain.facts import Fact
from bridge.sources.stripe import SOURCE
from bridge.webhook.source import Event
from tests.support.lives import law
from tests.support.local_stripe import Json, customer, item, price, subscription
from tests.support.reader import Reader, folded

START = 1_793_520_000
COUPONS = {"half": 50, "tenth": 10, "third": 33.33}
UNIT = 30_000

A_COUPON = st.sampled_from(sorted(COUPONS))
PAUSES = st.sampled_from([1, 60, 86_400])


class Teller:
    """Tells what happens to one subscription, second by second.

    *listed* maps its discounts to what they take, *dated* says whether coupons show
    when they were created.
    """

    def __init__(self, *, dated: bool = True) -> None:
        self.at = START
        self.events: list[Event] = []
        self.listed: dict[str, float] = {}
        self.coupons: dict[str, tuple[float, int]] = {}
        self.plan = "Team"
        self.dated = dated

    @property
    def facts(self) -> list[Fact]:
        return [*Reader(SOURCE, STRIPE_MODE="test").facts_of(self.events)]

    def tell(self, kind: str, shown: Json, **previous: Any) -> None:
        """One event about an object as it is now."""
        data = {"object": shown, "previous_attributes": previous or None}
        id_ = f"evt_{1000 - len(self.events)}"
        self.events.append(Event(id_, kind, self.at * 1000, {"data": data}))

    def begin(self, **customers: Any) -> None:
        self.tell("customer.created", customer("cus_1", name="Acme", **customers))
        self.tell("customer.subscription.created", self.subscription())

    def subscription(self) -> Json:
        of = price("price_1", UNIT, product="prod_1", nickname=None)
        return subscription("sub_1", "cus_1", item(of), discounts=list(self.listed))

    def list_(self, before: list[str]) -> None:
        kind = "customer.subscription.updated"
        self.tell(kind, self.subscription(), discounts=before)

    def discount(self, id_: str, coupon: str, start: int) -> Json:
        own = {
            "id": id_,
            "start": start,
            "source": {"type": "coupon", "coupon": coupon},
        }
        return {"customer": "cus_1", "subscription": "sub_1", **own}

    def coupon(self, id_: str) -> Json:
        percent, created = self.coupons[id_]
        terms = {"id": id_, "percent_off": percent, "duration": "forever"}
        return {**terms, "created": created} if self.dated else terms

    def make(self, coupon: str, percent: float) -> None:
        self.coupons[coupon] = (percent, self.at)
        self.tell("coupon.created", self.coupon(coupon))

    def make_anew(self, coupon: str, percent: float) -> None:
        self.tell("coupon.deleted", self.coupon(coupon))
        self.at += 1
        self.make(coupon, percent)

    def attach(self, coupon: str) -> None:
        before, id_ = list(self.listed), f"di_{len(self.events)}_{coupon}"
        self.listed[id_] = self.coupons[coupon][0]
        self.tell("customer.discount.created", self.discount(id_, coupon, self.at))
        self.list_(before)

    def detach(self) -> None:
        if self.listed:
            before, id_ = list(self.listed), next(iter(self.listed))
            self.listed.pop(id_)
            gone = self.discount(id_, id_.rpartition("_")[2], START)
            self.tell("customer.discount.deleted", gone)
            self.list_(before)

    def rename(self, name: str) -> None:
        self.plan = name
        self.tell("product.updated", {"id": "prod_1", "name": name})


@st.composite
def stories(draw: st.DrawFn) -> Teller:
    teller = Teller(dated=draw(st.booleans()))
    teller.tell("product.created", {"id": "prod_1", "name": teller.plan})
    for coupon, percent in COUPONS.items():
        teller.make(coupon, percent)
    teller.begin()
    for _ in range(draw(st.integers(0, 6))):
        teller.at += draw(PAUSES)
        match draw(st.sampled_from(["attach", "attach", "detach", "rename", "make"])):
            case "attach":
                teller.attach(draw(A_COUPON))
            case "detach":
                teller.detach()
            case "rename":
                teller.rename(draw(st.sampled_from(["Team", "Pro", "Scale"])))
            case "make":
                teller.make_anew(draw(A_COUPON), draw(st.sampled_from([5, 10, 50])))
    return teller


def read(facts: Iterable[Fact]) -> Document:
    """The way of the worker: the customer's facts, and each thing of the catalogue."""
    return document(unite("acme", folded(facts)))


@given(stories(), st.data())
@law(200)
def test_what_is_told_apart_adds_up_in_any_order(
    story: Teller, data: st.DataObject
) -> None:
    left = Fraction(UNIT)
    for percent in story.listed.values():
        left *= 1 - Fraction(str(percent)) / 100
    expected = float(Fraction(int(left + Fraction(1, 2)), 100))
    facts = story.facts

    found = read(data.draw(st.permutations(facts)))

    assert {} == dict(found.unknown)
    assert (expected, story.plan) == (found.traits["mrr"], found.traits["planName"])
    assert found == read(facts * 2)


@given(stories(), st.data())
@law(200)
def test_what_was_never_told_is_unknown_or_right(
    story: Teller, data: st.DataObject
) -> None:
    """But for the end of a coupon: who hears of neither it nor the next sees one."""
    apart = ("coupon.created", "coupon.updated", "customer.discount.")
    ids = [event.id for event in story.events if event.type.startswith(apart)]
    lost = data.draw(st.sets(st.sampled_from(ids), max_size=4))
    facts = story.facts

    found = read([fact for fact in facts if fact.event not in lost])

    assert "mrr" in found.unknown or read(facts).traits["mrr"] == found.traits["mrr"]


def test_no_deletion_of_a_coupon_takes_the_place_of_one_before() -> None:
    """Made anew twice, without dates: the deletions alone tell that there was another."""
    teller = Teller(dated=False)
    teller.make("half", 50)
    teller.begin()
    teller.make_anew("half", 5)
    lost = teller.facts[-1]
    teller.at += 1
    teller.attach("half")
    for _ in range(2):
        teller.at += 1
        teller.make_anew("half", 5)

    known = read(teller.facts).traits["mrr"]
    found = read([fact for fact in teller.facts if fact != lost])

    assert 285 == known
    assert ("mrr" in found.traits, "mrr" in found.unknown) == (False, True)


class Giver(Teller):
    """Tells of the one discount that a customer has at a time; *held* is what it takes."""

    held: float = 0
    given: Json | None = None

    def give(self, percent: float, way: str) -> None:
        coupon = {"id": f"c{percent}", "percent_off": percent, "duration": "forever"}
        old, id_ = self.given, f"di_{len(self.events)}"
        new = {"id": id_, "customer": "cus_1", "start": self.at, "coupon": coupon}
        self.given, self.held = new, percent
        if old and way == "made":
            self.tell("customer.discount.deleted", old)
        if not old or way == "made":
            self.tell("customer.discount.created", new)
        else:
            before = {"id": old["id"]} if way == "named" else {"start": old["start"]}
            self.tell("customer.discount.updated", new, **before)

    def take(self) -> None:
        if self.given:
            self.tell("customer.discount.deleted", self.given)
        self.given, self.held = None, 0


@st.composite
def gifts(draw: st.DrawFn) -> Giver:
    giver = Giver()
    giver.begin(discount=None)
    for _ in range(draw(st.integers(0, 6))):
        giver.at += draw(PAUSES)
        step = draw(st.sampled_from(["give", "give", "take", ""]))
        if step == "give":
            way = draw(st.sampled_from(["made", "named", "switched"]))
            giver.give(draw(st.sampled_from([10, 20, 50])), way)
        elif step == "take":
            giver.take()
        if not step or draw(st.booleans()):
            shown = customer("cus_1", name="Acme", discount=giver.given)
            giver.tell("customer.updated", shown)
    return giver


@given(gifts(), st.data())
@law(200)
def test_a_customer_has_the_discount_that_it_was_given_last(
    giver: Giver, data: st.DataObject
) -> None:
    facts = giver.facts

    found = read(data.draw(st.permutations(facts)))

    assert UNIT * (100 - giver.held) / 10_000 == found.traits["mrr"]
    assert found == read(facts * 2)
