"""Optional traits that are switched on later: known after an event or a reading."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from bridge.domain.traits import instant
from tests.support.command import called
from tests.support.local_stripe import (
    KEY,
    LocalStripe,
    credit_grant,
    customer,
    event,
    item,
    price,
    subscription,
)
from tests.support.processes import end_all
from tests.support.stack import Stack
from tests.support.waiting import eventually

LINES = """
[traits]
use = ["arr", "startedAt", "forecastMrr", "forecastAt"]
arr = "billing.arr"
[sources.stripe.traits]
isStartup = { place = "customer.metadata.startup", as = "boolean" }
"""
NOW = int(time.time())
LATER = NOW + 86_400


def schedule(quantity: int) -> dict[str, Any]:
    own = {"price": price(), "quantity": quantity, "discounts": []}
    phases = [{"start_date": LATER, "items": [own], "discounts": []}]
    more = {"status": "active", "current_phase": {"start_date": NOW}, "created": NOW}
    more |= {"object": "subscription_schedule", "customer": "cus_1", "phases": phases}
    return {"id": "sub_sched_1", **more}


def test_what_is_switched_on_later_is_known_after_the_next_event(
    tmp_path: Path,
) -> None:
    config, owner = (
        tmp_path / "bridge.toml",
        customer("cus_1", metadata={"startup": "true"}),
    )
    config.write_text("", encoding="utf-8")
    sub = subscription("sub_1", "cus_1", item(), schedule="sub_sched_1", start_date=NOW)
    with (
        LocalStripe() as api,
        Stack(
            tmp_path,
            BRIDGE_CONFIG=config,
            STRIPE_API_KEY=KEY,
            STRIPE_API_BASE=api.url,
            BRIDGE_RECONCILE="off",
        ) as stack,
    ):
        api.put(owner, sub, schedule(3))
        web, worker = stack.web(), stack.worker()
        sender = stack.stripe()
        kinds = ("customer.created", owner), ("customer.subscription.created", sub)
        for n, (kind, told) in enumerate(kinds):
            assert (
                202
                == sender.deliver(event(f"evt_{n}", NOW - 9, told, type=kind)).status
            )
        eventually(stack.has("cus_1", mrr=49, forecastMrr=None), what="mrr alone")
        assert "billing.arr" not in stack.account("cus_1")["traits"]

        config.write_text(LINES, encoding="utf-8")
        sender.close()
        end_all([worker, web.running])
        stack.webs.clear()
        stack.web()
        stack.worker()
        sender = stack.stripe()
        changed = "customer.subscription.updated"
        assert 202 == sender.deliver(event("evt_3", NOW - 5, sub, type=changed)).status
        wanted = {
            "billing.arr": 588,
            "startedAt": instant(NOW * 1000),
            "isStartup": True,
        }
        wanted |= {"forecastMrr": 147, "forecastAt": instant(LATER * 1000)}
        eventually(stack.has("cus_1", mrr=49, **wanted), what="all that is in use")

        api.put(schedule(5))
        moved = event("evt_4", NOW, schedule(5), type="subscription_schedule.updated")
        assert 202 == sender.deliver(moved).status
        eventually(stack.has("cus_1", forecastMrr=245), what="the new phase")
        sender.close()
        assert "isStartup" in called("why", "cus_1", environ=stack.environ).out


def test_credit_follows_what_is_given_spent_and_over(tmp_path: Path) -> None:
    config = tmp_path / "bridge.toml"
    config.write_text('[traits]\nuse = ["creditBalance"]\n', encoding="utf-8")
    own = {"STRIPE_API_KEY": KEY, "BRIDGE_CONFIG": config, "BRIDGE_RECONCILE": "off"}
    with LocalStripe() as api, Stack(tmp_path, **own, STRIPE_API_BASE=api.url) as stack:
        stack.web()
        stack.worker()
        sender, began = stack.stripe(), int(time.time())
        short = credit_grant("credgr_2", "cus_1", 300, expires_at=began + 5)
        api.put(customer("cus_1", balance=-100, currency="usd"), short)

        def told(kind: str, thing: Any) -> None:
            one = event(f"evt_{kind}", int(time.time()), thing, type=kind)
            assert 202 == sender.deliver(one).status

        told("customer.updated", api.listed("customers")[0])
        eventually(stack.has("cus_1", creditBalance=4), what="what was there before")
        grant = credit_grant("credgr_1", "cus_1", 1000)
        api.put(grant)
        told("billing.credit_grant.created", grant)
        eventually(lambda: stack.account("cus_1")["traits"]["creditBalance"] > 10)
        api.left["credgr_1"] = 250
        spent = {"id": "cbtxn_1", "credit_grant": "credgr_1"}
        told("billing.credit_balance_transaction.created", spent)
        eventually(stack.has("cus_1", creditBalance=3.5), what="what is left at last")
        sender.close()
