"""Stripe, as the suite has to know it."""

from bridge.sources.stripe import SOURCE
from bridge.webhook.auth import STRIPE, sign
from bridge.webhook.source import Delivery
from tests.sources.known import FOLDER, NOW, URL, Known

SECRET = "whsec_example"


def signed(body: bytes, secret: str) -> Delivery:
    return Delivery("POST", URL, sign(STRIPE, secret, body, NOW), body)


KNOWN = [
    Known(
        SOURCE,
        signed,
        SECRET,
        on={"STRIPE_WEBHOOK_SECRET": ("whsec_rolled", SECRET)},
        fixtures=FOLDER / "stripe" / "fixtures",
        mistakes=[
            ({"account": []}, "account must be a list of places"),
            ({"account": "customer.id"}, "account must be a list of places"),
            ({"account": ["customer.name"]}, "account.0 must be one of customer.id, "),
            (
                {"account": ["customer.id", "checkout.metadata"]},
                "account.1 must be one ",
            ),
            ({"account": [7]}, "account.0 must be one of customer.id, "),
        ],
    )
]
