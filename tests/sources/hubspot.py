"""HubSpot, as the suite has to know it."""

from bridge.sources.hubspot import SOURCE
from bridge.webhook.auth import HUBSPOT, sign
from bridge.webhook.source import Delivery
from tests.sources.known import FOLDER, NOW, URL, Known

SECRET = "example-client-secret"


def signed(body: bytes, secret: str) -> Delivery:
    return Delivery("POST", URL, sign(HUBSPOT, secret, body, NOW, url=URL), body)


KNOWN = [
    Known(
        SOURCE,
        signed,
        SECRET,
        on={"HUBSPOT_CLIENT_SECRET": ("another", SECRET)},
        fixtures=FOLDER / "hubspot" / "fixtures",
        mistakes=[
            ({"account": ""}, "account must be"),
            ({"account": 7}, "account must be"),
            ({"traits": []}, "traits must be a table"),
            ({"traits": {"x": 7}}, "traits.x must be"),
            ({"traits": {"x": {"property": "y", "as": "colour"}}}, "traits.x must be"),
            ({"traits": {"x": {"field": "y"}}}, "traits.x must be"),
            ({"traits": {"x": {"property": "y", "as": []}}}, "traits.x must be"),
            ({"traits": {"name": "y"}}, "traits.name cannot be"),
            ({"deals": {}}, "deals.mrr must be the name of a property"),
            ({"deals": "hs_mrr"}, "deals must be a table"),
            ({"deals": {"mrr": "hs_mrr", "churned": "x"}}, "deals.churned is unknown"),
            (
                {"deals": {"mrr": "hs_mrr", "currency": "dollars"}},
                "deals.currency must be",
            ),
        ],
    )
]
