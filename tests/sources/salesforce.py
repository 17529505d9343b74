"""Salesforce, as the suite has to know it."""

from bridge.sources.salesforce import SOURCE
from bridge.webhook.source import Delivery
from tests.sources.known import FOLDER, Known
from tests.support.salesforce import ORG, TOKEN, url

DEALS = {"mrr": "MRR__c", "currency": "CurrencyIsoCode", "x": "Y"}


def signed(body: bytes, secret: str) -> Delivery:
    return Delivery("POST", url(token=secret), {}, body)


KNOWN = [
    Known(
        SOURCE,
        signed,
        TOKEN,
        on={"SALESFORCE_ORG_ID": ORG, "SALESFORCE_WEBHOOK_TOKEN": TOKEN},
        fixtures=FOLDER / "salesforce" / "fixtures",
        mistakes=[
            ({"account": 7}, "account must be"),
            ({"account": "no field"}, "account must be"),
            ({"selected": "Name"}, "selected must be"),
            ({"selected": [7]}, "selected.0 must be"),
            ({"traits": []}, "traits must be"),
            ({"traits": {"x": {"field": "X", "as": "colour"}}}, "traits.x must be"),
            ({"traits": {"x": {"from": "X"}}}, "traits.x must be"),
            ({"opportunities": []}, "opportunities must be a table"),
            ({"opportunities": {"currency": "usd"}}, "opportunities.mrr must"),
            ({"opportunities": {"mrr": "MRR__c"}}, "opportunities.currency must"),
            ({"opportunities": DEALS}, "opportunities.x is"),
        ],
    )
]
