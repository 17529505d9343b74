"""Instances of custom objects through the processes; a worker dies between two steps."""

from __future__ import annotations

from pathlib import Path

from bridge.store import keys
from tests.support.desk import older
from tests.support.stack import Stack
from tests.support.stripe import Shop
from tests.support.vitally.custom_objects import EXAMPLE_TOKEN
from tests.support.waiting import eventually

OBJECT = "subscriptions"


def test_a_worker_that_is_killed_between_batch_and_look_loses_nothing(
    tmp_path: Path,
) -> None:
    file = tmp_path / "bridge.toml"
    file.write_text(f'[vitally.objects]\nsubscription = "{OBJECT}"', encoding="utf-8")
    with Stack(tmp_path, BRIDGE_CONFIG=file) as stack:
        stack.vitally.custom_objects.objects[OBJECT] = {"id": OBJECT, "name": "Sub"}
        stack.environ["VITALLY_ANALYTICS_TOKEN"] = EXAMPLE_TOKEN
        stack.environ["VITALLY_ANALYTICS_URL"] = stack.vitally.url
        stack.web()
        worker = stack.worker()
        stripe, shop = stack.ready().stripe(), Shop()
        drowned = {"kind": "timeout_after_commit", "match": {"path": "/analytics/*"}}
        stack.vitally.break_with([drowned])
        for event in (shop.signs_up(), shop.begins()):
            stripe.post(event)
        eventually(stack.vitally.batches, what="a batch in flight")
        assert [] == [one for one in stack.vitally.batches() if one["ended"]]
        worker.kill()
        older(stack.redis, 8000)
        stripe.post(shop.changes(quantity=3))
        stack.worker()
        eventually(stack.has(shop.id, mrr=147), what="the account's numbers")
        key, id_ = keys.instances(shop.id), f"stripe:sub_{shop.id}_1"

        def confirmed() -> bool:
            older(stack.redis, 20_000)
            return stack.redis.hget(key, id_)[:1] in {b"0", b"1", b"2"} and (
                stack.vitally.instances()[id_]["traits"]["mrr"] == 147
            )

        eventually(confirmed, what="the instance as it is now")
        assert EXAMPLE_TOKEN not in worker.output
