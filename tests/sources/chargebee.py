"""Chargebee, as the suite has to know it."""

from bridge.sources.chargebee import SOURCE
from bridge.webhook.source import Delivery
from tests.sources.known import FOLDER, URL, Known
from tests.support.chargebee import PASSWORD, USERNAME, headers


def signed(body: bytes, secret: str) -> Delivery:
    return Delivery("POST", URL, headers(password=secret), body)


KNOWN = [
    Known(
        SOURCE,
        signed,
        PASSWORD,
        on={
            "CHARGEBEE_WEBHOOK_USERNAME": USERNAME,
            "CHARGEBEE_WEBHOOK_PASSWORD": PASSWORD,
        },
        fixtures=FOLDER / "chargebee" / "fixtures",
        mistakes=[
            ({"account": "vitally_id"}, "account must be cf_"),
            ({"account": 7}, "account must be cf_"),
        ],
    )
]
