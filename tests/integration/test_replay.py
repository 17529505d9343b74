"""`replay`: accounts are folded again from their facts, and written where they differ."""

from __future__ import annotations

import time

import pytest

from bridge.cli.plan import planned
from bridge.cli.replay import instant
from bridge.sources import load
from bridge.store import keys
from tests.support.command import Run
from tests.support.desk import Bench, customer, subscription


@pytest.fixture(autouse=True)
def shop(desk: Bench, environ: dict[str, str]) -> None:
    """Three accounts, and a held party; commands and jobs have one `bridge.toml`."""
    desk.set(config=load(environ)[1])
    for name in ("a", "b", "c"):
        desk.rests(customer(name, account=name), subscription(name, account=name))
    desk.tell(customer("d", account=None))
    desk.work()


def looks(desk: Bench) -> list[str]:
    desk.passes(10_000)
    desk.sweep()
    return desk.work()


@pytest.mark.parametrize(
    ("words", "outcomes"),
    [
        (["--account", "a"], ["unchanged"]),
        (["--account", "stripe:a", "--whole"], ["updated"]),
        (["--account", "stripe:d"], ["held"]),
        (
            ["--source", "stripe", "--yes"],
            ["held", "unchanged", "unchanged", "unchanged"],
        ),
        (["--source", "stripe", "--whole", "--yes"], ["held", *["updated"] * 3]),
        (["--since", "1h", "--yes"], ["held", "unchanged", "unchanged", "unchanged"]),
        (["--until", "1h", "--yes"], []),
        (["--rules", "--yes"], []),
    ],
)
def test_what_is_chosen_is_looked_at_again(run: Run, desk: Bench, words, outcomes):
    data = run("replay", *words, "--no-wait", "--json").json

    assert outcomes == sorted(looks(desk))
    assert len(outcomes) == len([*data["accounts"], *data["parties"]])
    assert 0 == desk.check().pending


def test_new_rules_are_written_by_replay(
    run: Run, desk: Bench, tmp_path, monkeypatch
) -> None:
    made: list[object] = []
    monkeypatch.setattr(
        "bridge.cli.replay.planned", lambda *of: made.append(of) or planned(*of)
    )
    file = tmp_path / "bridge.toml"
    file.write_text('[traits]\nmrr = "billing.mrr"\n')
    more = {"BRIDGE_CONFIG": file}
    desk.set(
        config=load({"BRIDGE_CONFIG": str(file)}, {"REDIS_URL", "VITALLY_API_KEY"})[1]
    )

    said = run("replay", "--rules", "--no-wait", typed="yes\n", **more)

    assert "3 of 3 accounts differ: 30 units" in said.err
    assert 1 == len(made)
    assert ["updated"] * 3 == looks(desk)
    assert 450 == desk.traits("a")["billing.mrr"]


def test_it_waits_until_all_is_written(run: Run, desk: Bench) -> None:
    desk.redis.zadd(keys.WORKERS, {"one": 2**50})
    patch = pytest.MonkeyPatch()
    patch.setattr("bridge.cli.plan.time.sleep", lambda _: looks(desk))

    said = run("replay", "--account", "b", "--whole").out
    data = run("replay", "--account", "c", "--whole", "--json").json

    patch.undo()
    assert ("1 account now right in Vitally\n", ["c"]) == (said, data["accounts"])


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        ([], 2, "give one of"),
        (["--rules", "--account", "a"], 2, "give one of"),
        (["--source", "stripe"], 2, "give --yes"),
        (["--since", "yesterday"], 2, "like 2h"),
        (["--source", "hubspot", "--yes"], 1, "nothing of hubspot is here"),
        (["--source", "strip", "--since", "1h"], 1, "did you mean stripe?"),
        (["--account", "cus"], 1, "no such account or party here"),
    ],
)
def test_a_mistake_is_a_sentence(run: Run, words, status, expected):
    assert expected in run("replay", *words, status=status).err


def test_it_is_said_where_the_journal_begins_later(run: Run, monkeypatch) -> None:
    words = ("replay", "--since", "1h", "--yes", "--no-wait")
    assert "reaches back" not in run(*words).err

    monkeypatch.setattr("bridge.cli.replay.JOURNAL", 7)

    assert "the journal reaches back to 20" in run(*words).err


def test_quarantined_deliveries_are_read_again(run: Run) -> None:
    assert "the quarantine is empty\n" == run("replay", "--quarantine").out


def test_instants_are_iso_or_a_time_ago() -> None:
    read = [
        instant(None, None, text) for text in ("2026-11-01", "2026-11-01T01:00+01:00")
    ]  # type: ignore[arg-type]

    assert [1_793_491_200_000] * 2 == read
    assert 1000 > abs(time.time() * 1000 - 7_200_000 - (instant(None, None, "2h") or 0))  # type: ignore[arg-type]
