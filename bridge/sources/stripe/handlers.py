"""Which types of Stripe's events are read, and what for."""

from __future__ import annotations

from collections.abc import Mapping

from bridge.sources.stripe import facts, schemas, snapshot
from bridge.webhook.source import Handler

THIN = "v1."
"""Beginning of the types of events that tell only which object changed."""


def _customer(meaning: str, *, creates: bool) -> Handler:
    return Handler(
        schemas.CUSTOMER_EVENT, facts.customer_facts, meaning, creates=creates
    )


def _subscription(meaning: str) -> Handler:
    return Handler(schemas.SUBSCRIPTION_EVENT, facts.subscription_facts, meaning)


def _discount(meaning: str) -> Handler:
    return Handler(schemas.DISCOUNT_EVENT, facts.discount_facts, meaning)


_COUPON = Handler(
    schemas.COUPON_EVENT,
    facts.listed("coupon", snapshot.coupon),
    "terms of discounts that name only the coupon",
)
_PRICE = Handler(
    schemas.PRICE_EVENT,
    facts.listed("price", snapshot.price),
    "name of a plan: nickname or lookup key",
)
_PRODUCT = Handler(
    schemas.PRODUCT_EVENT,
    facts.listed("product", snapshot.product),
    "name of a plan whose price has no nickname",
)

_WHOLE: Mapping[str, Handler] = {
    "customer.created": _customer("a new customer: name, account", creates=True),
    "customer.updated": _customer("name, account or discount changed", creates=True),
    "customer.deleted": _customer("the customer and all it had ends", creates=False),
    "customer.subscription.created": _subscription("a new subscription"),
    "customer.subscription.updated": _subscription(
        "renewal, plan, quantity, status or scheduled end changed"
    ),
    "customer.subscription.deleted": _subscription("the subscription ended"),
    "customer.subscription.paused": _subscription("paused, which is no churn"),
    "customer.subscription.resumed": _subscription("goes on after a pause"),
    "customer.subscription.trial_will_end": _subscription("a trial ends soon"),
    "customer.subscription.pending_update_applied": _subscription(
        "a change that waited for its payment took effect"
    ),
    "customer.subscription.pending_update_expired": _subscription(
        "a change that waited for its payment was dropped"
    ),
}
"""Events about a customer or a subscription; each comes thin, too."""

HANDLERS: Mapping[str, Handler] = {
    **_WHOLE,
    "customer.discount.created": _discount("a discount begins: coupon, end, scope"),
    "customer.discount.updated": _discount("another coupon, or another end"),
    "customer.discount.deleted": _discount("the discount is over"),
    "coupon.created": _COUPON,
    "coupon.updated": _COUPON,
    "coupon.deleted": _COUPON,
    "price.created": _PRICE,
    "price.updated": _PRICE,
    "plan.created": _PRICE,
    "plan.updated": _PRICE,
    "product.created": _PRODUCT,
    "product.updated": _PRODUCT,
    "checkout.session.completed": Handler(
        schemas.CHECKOUT_EVENT,
        facts.checkout_facts,
        "the account that it names, in a place that `bridge.toml` lists",
    ),
    **{
        THIN + kind: Handler(
            schemas.THIN_EVENT, facts.thin_facts, "the same, read with STRIPE_API_KEY"
        )
        for kind in _WHOLE
    },
}

_INVOICE = "a subscription's status says whether it is paid"
_PHASE = "a phase counts when it begins, and the subscription changes then"

WITHOUT_EFFECT: Mapping[str, str] = {
    "invoice.paid": _INVOICE,
    "invoice.payment_failed": _INVOICE,
    "invoice.marked_uncollectible": _INVOICE,
    "invoice.voided": _INVOICE,
    "subscription_schedule.created": _PHASE,
    "subscription_schedule.updated": _PHASE,
    "subscription_schedule.released": _PHASE,
    "subscription_schedule.canceled": _PHASE,
    "subscription_schedule.completed": _PHASE,
    "subscription_schedule.aborted": _PHASE,
    "subscription_schedule.expiring": _PHASE,
    "entitlements.active_entitlement_summary.updated": "no trait is made of it",
}
"""Types that a list of billing events has and no trait needs, with the reason."""
