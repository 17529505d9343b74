"""Lives whose discounts, coupons and names are told apart, in any order of delivery.

Stripe's newest rendering: a subscription lists ids of discounts, a discount the id of
its coupon, an item the ids of price and product; each is told by events of its own.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from bridge.domain.account import Party, unite
from bridge.domain.document import Document, document
from bridge.domain.facts import Fact, PartyKind, catalogue, kind_of
from bridge.domain.fold import History, compact, fold
from bridge.sources.stripe import SOURCE
from bridge.webhook.source import Event
from tests.support.lives import by_party, law

START = 1_793_520_000
OPTIONS = {option.name: option.default for option in SOURCE.options}
COUPONS = {"half": 50, "tenth": 10, "third": 33.33}
UNIT = 30_000


class Story(NamedTuple):
    """The facts of a life, the discounts that stand in the end, and the plan's name."""

    facts: list[Fact]
    standing: list[float]
    plan: str


class Teller:
    """Tells what happens to one subscription, second by second.

    *listed* maps its discounts to what they take, *dated* says whether coupons show
    when they were created.
    """

    def __init__(self, *, dated: bool) -> None:
        self.at = START
        self.facts: list[Fact] = []
        self.listed: dict[str, float] = {}
        self.coupons: dict[str, tuple[float, int]] = {}
        self.plan = "Team"
        self.dated = dated

    def tell(self, kind: str, thing: dict[str, Any], **previous: Any) -> None:
        """One event about *thing* as it is now."""
        id_ = f"evt_{1000 - len(self.facts)}"
        data: dict[str, Any] = {"object": thing}
        if previous:
            data["previous_attributes"] = previous
        event = Event(id_, kind, self.at * 1000, {"data": data})
        handler = SOURCE.handlers[kind]
        loaded = handler.schema.load(event.body)
        self.facts += handler.facts(event, loaded, OPTIONS)

    def subscription(self) -> dict[str, Any]:
        price = {
            "id": "price_1",
            "product": "prod_1",
            "currency": "usd",
            "unit_amount": UNIT,
            "recurring": {"interval": "month"},
        }
        item = {"price": price, "current_period_end": START + 10**6, "discounts": []}
        return {
            "id": "sub_1",
            "customer": "cus_1",
            "status": "active",
            "currency": "usd",
            "items": {"data": [item]},
            "discounts": list(self.listed),
        }

    def discount(self, id_: str, coupon: str, start: int) -> dict[str, Any]:
        return {
            "id": id_,
            "customer": "cus_1",
            "subscription": "sub_1",
            "start": start,
            "source": {"type": "coupon", "coupon": coupon},
        }

    def coupon(self, id_: str) -> dict[str, Any]:
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
        before, id_ = list(self.listed), f"di_{len(self.facts)}_{coupon}"
        self.listed[id_] = self.coupons[coupon][0]
        self.tell("customer.discount.created", self.discount(id_, coupon, self.at))
        told = self.subscription()
        self.tell("customer.subscription.updated", told, discounts=before)

    def detach(self) -> None:
        before, id_ = list(self.listed), next(iter(self.listed))
        self.listed.pop(id_)
        gone = self.discount(id_, id_.rpartition("_")[2], START)
        self.tell("customer.discount.deleted", gone)
        told = self.subscription()
        self.tell("customer.subscription.updated", told, discounts=before)

    def rename(self, name: str) -> None:
        self.plan = name
        self.tell("product.updated", {"id": "prod_1", "name": name})


@st.composite
def stories(draw: st.DrawFn) -> Story:
    teller = Teller(dated=draw(st.booleans()))
    teller.tell("product.created", {"id": "prod_1", "name": teller.plan})
    for coupon, percent in COUPONS.items():
        teller.make(coupon, percent)
    teller.tell("customer.created", {"id": "cus_1", "name": "Acme"})
    teller.tell("customer.subscription.created", teller.subscription())
    for _ in range(draw(st.integers(0, 6))):
        teller.at += draw(st.sampled_from([1, 60, 86_400]))
        steps = ["attach", "attach", "detach", "rename", "make anew"]
        step = draw(st.sampled_from(steps))
        if step == "attach":
            teller.attach(draw(st.sampled_from(sorted(COUPONS))))
        elif step == "detach" and teller.listed:
            teller.detach()
        elif step == "make anew":
            coupon = draw(st.sampled_from(sorted(COUPONS)))
            teller.make_anew(coupon, draw(st.sampled_from([5, 10, 50])))
        elif step == "rename":
            teller.rename(draw(st.sampled_from(["Team", "Pro", "Scale"])))
    return Story(teller.facts, list(teller.listed.values()), teller.plan)


def read(facts: list[Fact], compacted: bool = False) -> Document:
    """The way of the worker: the customer's facts, and each thing of the catalogue."""

    def folded(own: list[Fact]) -> dict[str, Any]:
        history = History(own)
        return fold(compact(history) if compacted else history)

    own = [fact for fact in facts if kind_of(fact.party) != PartyKind.CATALOGUE]
    prefix = catalogue("stripe", "")
    shared = {
        name.removeprefix(prefix): folded(told)
        for name, told in by_party(facts).items()
        if name.startswith(prefix)
    }
    party = Party("stripe:cus_1", folded(own), shared)
    return document(unite("acme", [party]))


@given(stories(), st.data())
@law(200)
def test_what_is_told_apart_adds_up_in_any_order(
    story: Story, data: st.DataObject
) -> None:
    left = Fraction(UNIT)
    for percent in story.standing:
        left *= 1 - Fraction(str(percent)) / 100
    expected = float(Fraction(int(left + Fraction(1, 2)), 100))
    order = data.draw(st.permutations(story.facts))

    found = read(order)

    assert {} == dict(found.unknown)
    assert (expected, story.plan) == (found.traits["mrr"], found.traits["planName"])
    assert found == read(story.facts * 2, compacted=True)


@given(stories(), st.data())
@law(200)
def test_what_was_never_told_is_unknown_or_right(
    story: Story, data: st.DataObject
) -> None:
    """But for the end of a coupon: who hears of neither it nor the next sees one."""
    apart = [
        fact
        for fact in story.facts
        if fact.thing.startswith(("coupon:", "discount:"))
        and fact.kind != "coupon.deleted"
    ]
    ids = sorted({fact.event for fact in apart})
    lost = data.draw(st.sets(st.sampled_from(ids), max_size=4))

    found = read([fact for fact in story.facts if fact.event not in lost])

    whole = read(story.facts).traits["mrr"]
    assert "mrr" in found.unknown or whole == found.traits["mrr"]


def test_no_deletion_of_a_coupon_takes_the_place_of_one_before() -> None:
    """Made anew twice, without dates: the deletions alone tell that there was another."""
    teller = Teller(dated=False)
    teller.make("half", 50)
    teller.tell("customer.created", {"id": "cus_1", "name": "Acme"})
    teller.tell("customer.subscription.created", teller.subscription())
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
    discount_now: dict[str, Any] | None = None

    def whole(self) -> dict[str, Any]:
        return {"id": "cus_1", "name": "Acme", "discount": self.discount_now}

    def give(self, percent: float, way: str) -> None:
        coupon = {"id": f"c{percent}", "percent_off": percent, "duration": "forever"}
        old, id_ = self.discount_now, f"di_{len(self.facts)}"
        new = {"id": id_, "customer": "cus_1", "start": self.at, "coupon": coupon}
        self.discount_now, self.held = new, percent
        if old and way == "made":
            self.tell("customer.discount.deleted", old)
        if not old or way == "made":
            self.tell("customer.discount.created", new)
        else:
            before = {"id": old["id"]} if way == "named" else {"start": old["start"]}
            self.tell("customer.discount.updated", new, **before)

    def take(self) -> None:
        if self.discount_now:
            self.tell("customer.discount.deleted", self.discount_now)
        self.discount_now, self.held = None, 0


@st.composite
def gifts(draw: st.DrawFn) -> Giver:
    giver = Giver(dated=True)
    giver.tell("customer.created", giver.whole())
    giver.tell("customer.subscription.created", giver.subscription())
    for _ in range(draw(st.integers(0, 6))):
        giver.at += draw(st.sampled_from([1, 86_400]))
        step = draw(st.sampled_from(["give", "give", "take", ""]))
        if step == "give":
            way = draw(st.sampled_from(["made", "named", "switched"]))
            giver.give(draw(st.sampled_from([10, 20, 50])), way)
        elif step == "take":
            giver.take()
        if not step or draw(st.booleans()):
            giver.tell("customer.updated", giver.whole())
    return giver


@given(gifts(), st.data())
@law(200)
def test_a_customer_has_the_discount_that_it_was_given_last(
    giver: Giver, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(giver.facts))

    found = read(order)

    assert UNIT * (100 - giver.held) / 10_000 == found.traits["mrr"]
    assert found == read(giver.facts * 2, compacted=True)
