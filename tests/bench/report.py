"""The page of the benchmarks: figures beside their goals, as Markdown."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from statistics import median, quantiles
from typing import NamedTuple


class Figure(NamedTuple):
    """The median of some samples, and the quarters below and above it."""

    middle: float
    low: float
    high: float


Figures = Mapping[str, Figure]


def figure(samples: Sequence[float]) -> Figure:
    """Return what *samples* say; one is enough."""
    if len(samples) == 1:
        return Figure(samples[0], samples[0], samples[0])
    low, _, high = quantiles(samples, n=4, method="inclusive")
    return Figure(median(samples), low, high)


def say(words: str) -> None:
    """Tell how far the measuring is; the report alone goes to standard output."""
    sys.stderr.write(f"{words}\n")
    sys.stderr.flush()


class Goal(NamedTuple):
    """A figure's *name*, what it is in *words*, its *limit* (a least one, or a most)."""

    name: str
    words: str
    limit: float
    form: str
    at_least: bool = False

    def row(self, found: Figure) -> str:
        """The goal's row of the table."""
        shown, low, high = (self.form.format(number) for number in found)
        spread = f" ({low} to {high})" if low != high else ""
        limit = f"{'≥' if self.at_least else '≤'} {self.form.format(self.limit)}"
        met = "met" if self.is_met(found.middle) else "missed"
        return f"| {self.words} | {limit} | **{shown}**{spread} | {met} |"

    def is_met(self, value: float) -> bool:
        """Whether *value* is on the right side of the limit."""
        return value >= self.limit if self.at_least else value <= self.limit


TIMES = "{:.1f} ×"  # noqa: RUF001 - the sign is meant

GOALS = (
    Goal("idle, half", "From event to write when idle, median", 500, "{:.0f} ms"),
    Goal("idle, 95", "From event to write when idle, 95 of 100", 500, "{:.0f} ms"),
    Goal("behind, half", "From an ending to its write while 10,000 accounts wait, median", 5000, "{:.0f} ms"),
    Goal("behind, 95", "The same, 95 of 100", 5000, "{:.0f} ms"),
    Goal("writes", "Writes per 1000 events of customers' months", 200, "{:.0f}"),
    Goal("repeats", "Writes for all of these events once more", 0, "{:.0f}"),
    Goal("units", "REST units of these months with objects ÷ the usual traits alone", 1.3, "{:.2f} ×"),  # noqa: RUF001
    Goal("units all", "The same with all traits and objects", 1.3, "{:.2f} ×"),  # noqa: RUF001
    Goal("contact new", "Writes for each of 50,000 customers that Vitally does not have", 1.0, "{:.2f}"),
    Goal("contact right", "Requests for 50,000 customers that Vitally already has right", 600, "{:.0f}"),
    Goal("plan", "`plan` over 50,000 accounts at rest", 10, "{:.1f} s"),
    Goal("plan anew", "The same, after a change of `bridge.toml`", 10, "{:.1f} s"),
    Goal("plan anew cpu", "CPU for that, on each core", 10, "{:.1f} s"),
    Goal("doctor", "`doctor` at 50,000 accounts", 10, "{:.1f} s"),
    Goal("drain", "Budget of the rate limit that a backlog uses", 90, "{:.0f} %", True),
    Goal("limited", "429 of Vitally while it does", 0, "{:.0f}"),
    Goal("accept trips", "Round trips to Redis of an event that queues a job", 2, "{:.0f}"),
    Goal("job trips", "Round trips to Redis of a job with one PUT", 6, "{:.0f}"),
    Goal("worker CPU", "CPU of the worker for each write", 10, "{:.1f} ms"),
    Goal("account", "Redis per account at rest (two subscriptions)", 3072, "{:.0f} B"),
    Goal("job", "Redis per waiting job", 1536, "{:.0f} B"),
    Goal("web", "Memory of web after load (PSS)", 90, "{:.0f} MB"),
    Goal("worker", "Memory of worker after load (PSS)", 90, "{:.0f} MB"),
    Goal("web boot", "From the start of web to its first answer", 2000, "{:.0f} ms"),
    Goal("worker boot", "From the start of worker to its first look for a job", 2000, "{:.0f} ms"),
    Goal("empty", "CPU of an event of a month ÷ an empty Flask view", 3.0, TIMES),
    Goal("textbook", "Textbook's CPU of the same ÷ ours", 1.0, TIMES, True),
    Goal("once", "The same, its schema made once", 1.0, TIMES, True),
    Goal("empty of a change", "CPU of a subscription's change ÷ an empty Flask view", 4.4, TIMES),
    Goal("textbook of a change", "Textbook's CPU of the same ÷ ours", 2.6, TIMES, True),
    Goal("once of a change", "The same, its schema made once", 1.7, TIMES, True),
)  # fmt: skip
"""Every row of the page, in its order."""

ASIDE = (
    Goal("overview cpu", "CPU of the console's Overview at 50,000 accounts", 1.0, "{:.2f} s"),
    Goal("accounts cpu", "CPU of its list of accounts", 1.0, "{:.2f} s"),
    Goal("metrics cpu", "CPU of `/metrics`", 0.1, "{:.3f} s"),
    Goal("readyz cpu", "CPU of `/readyz`", 0.1, "{:.3f} s"),
    Goal("status cpu", "CPU of `status`, most of it Python's start", 1.0, "{:.2f} s"),
    Goal("delivery alone", "From a delivery to its answer, 99 of 100", 100, "{:.0f} ms"),
    Goal("delivery beside", "The same while somebody reloads that list over and over", 500, "{:.0f} ms"),
)  # fmt: skip
"""Rows that are printed and not on the page."""

LOAD = (
    Goal("hour web", "Memory of web (PSS)", 90, "{:.0f} MB"),
    Goal("hour web grew", "It grew within the hour by", 3, "{:+.1f} %"),
    Goal("hour worker", "Memory of worker (PSS)", 300, "{:.0f} MB"),
    Goal("hour worker grew", "It grew by", 3, "{:+.1f} %"),
    Goal("hour redis", "Redis", 1000, "{:.0f} MB"),
    Goal("hour redis grew", "It grew by", 3, "{:+.1f} %"),
    Goal("hour keys", "Keys", 1_000_000, "{:,.0f}"),
    Goal("hour keys grew", "They grew by", 3, "{:+.1f} %"),
    Goal("hour sweep", "A sweep", 1000, "{:.0f} ms"),
    Goal("hour sweep most", "The longest", 1000, "{:.0f} ms"),
    Goal("hour sweep_cpu", "CPU of a sweep", 1000, "{:.0f} ms"),
    Goal("hour metrics", "`GET /metrics`", 1000, "{:.0f} ms"),
    Goal("hour metrics most", "The longest", 1000, "{:.0f} ms"),
    Goal("hour metrics_cpu", "CPU of it", 1000, "{:.0f} ms"),
    Goal("hour alone", "From an ending to its write, 95 of 100", 5000, "{:.0f} ms"),
    Goal("hour alone most", "The longest", 5000, "{:.0f} ms"),
    Goal("hour beside", "The same just after an ending of the large customer", 5000, "{:.0f} ms"),
    Goal("hour beside most", "The longest", 5000, "{:.0f} ms"),
    Goal("hour large", "From that ending of the large customer to its own write", 5000, "{:.0f} ms"),
    Goal("hour used", "Share of the budget that was used", 90, "{:.0f} %", True),
    Goal("hour refused", "503 to a delivery, which was then sent again", 0, "{:.0f}"),
    Goal("hour limited", "429 of Vitally", 0, "{:.0f}"),
)  # fmt: skip
"""Rows that `tests.bench.hour` prints."""

MILLION = (
    Goal("million bytes", "Redis (`used_memory`) for each account", 4096, "{:,.0f} B"),
    Goal("million redis", "In all", 4096, "{:,.0f} MB"),
    Goal("million rss", "As the machine sees it (RSS)", 6144, "{:,.0f} MB"),
    Goal("million start", "From the start of web and worker until `/readyz` is 200", 10, "{:.1f} s"),
    Goal("million write", "From an event to its write, 95 of 100", 5, "{:.2f} s"),
    Goal("million sweep", "A sweep, the longest", 1, "{:.2f} s"),
    Goal("million reading", "A page of a reconciliation, the longest", 1, "{:.2f} s"),
    Goal("million metrics", "`/metrics`, the middle of five", 1, "{:.2f} s"),
    Goal("million readyz", "`/readyz`", 1, "{:.2f} s"),
    Goal("million overview", "The console's Overview", 1, "{:.2f} s"),
    Goal("million accounts", "Its list of accounts", 1, "{:.2f} s"),
    Goal("million found", "The same with an id", 1, "{:.2f} s"),
    Goal("million account", "An account's page", 1, "{:.2f} s"),
    Goal("million web", "Memory of web after all that (PSS)", 300, "{:.0f} MB"),
    Goal("million worker", "Memory of worker (PSS)", 300, "{:.0f} MB"),
    Goal("million status", "`status`", 5, "{:.1f} s"),
    Goal("million why", "`why ACCOUNT`", 5, "{:.1f} s"),
    Goal("million plan one", "`plan ACCOUNT`", 5, "{:.1f} s"),
    Goal("million doctor", "`doctor`", 15, "{:.1f} s"),
    Goal("million doctor mb", "Its memory", 300, "{:.0f} MB"),
    Goal("million find", "`accounts find TEXT`", 120, "{:.0f} s"),
    Goal("million find mb", "Its memory", 300, "{:.0f} MB"),
    Goal("million plan", "`plan` of all", 900, "{:.0f} s"),
    Goal("million plan mb", "Its memory", 4096, "{:,.0f} MB"),
    Goal("million unseen", "The end of a reconciliation: which were not listed", 120, "{:.0f} s"),
    Goal("million export", "`export` of 50,000 accounts", 120, "{:.0f} s"),
    Goal("million export mb", "Its memory", 300, "{:.0f} MB"),
    Goal("million file", "The file, for 1,000 accounts", 1e6, "{:,.0f} B"),
    Goal("million import", "`import` of it", 120, "{:.0f} s"),
    Goal("million import mb", "Its memory", 300, "{:.0f} MB"),
)  # fmt: skip
"""Rows that `million` prints."""

PAGE = """# Benchmarks

Written by `make bench`; each figure is beside its goal. Where an event's time goes: [ingress-profile.md](ingress-profile.md). An hour of load, and several users of one key: [load.md](load.md).

| | goal | measured | |
| --- | --- | --- | --- |
{rows}

In brackets the middle half of the samples. {machine}

- **Write.** From before a delivery is sent until the first line of the PUT is at Vitally. What
  waits are new accounts, of which the budget has {waiting} units a minute; an ending goes first.
- **Budget.** In the last 60 s of these; Vitally is the simulator.
- **Months.** Sign-ups, renewals, failed payments and changes of seats, with the invoices and
  payments that Stripe sends round them, and one event in fifty twice; PUT and POST both
  count. "Once more" is all of it again, and again after the memory of recent events is gone.
- **Units.** 1000 events take {plain:.0f} units of the REST limit for the traits that are always
  written, {objects:.0f} with each subscription as an instance of a custom object, {whole:.0f} with
  `[traits] use = "all"` as well. Instances go in {batches:.0f} batches of the Analytics API, and each
  is looked for once.
- **First contact.** A reading of Vitally's list, then all customers at once, as a backfill
  takes them in; an account that is right is not written.
- **Plan.** The commands as one types them. An account that was settled by the same rules is
  not computed again; after a change of `bridge.toml` every one is.
- **Redis.** `used_memory` before and after, over {accounts} accounts that follow a hundred others:
  what Redis has but once, however many they are, is of none (half a megabyte, most of it its own
  latencies of each command). A waiting event takes {event:.0f} B in all, its job among them; the
  journal and the ring of recent events are capped and not counted.
- **Memory.** PSS of a process and its children.
- **CPU of an event.** User and system, of the web processes and of Redis, for one event of those
  months, 4.6 KB as Stripe prints it, four connections: {bridge:.2f} ms; an empty view on the
  same server with the same settings {empty:.2f} ms; the textbook {textbook:.2f} ms, with its schema
  made once {once:.2f} ms. The textbook is Flask, marshmallow and RQ as their manuals add up:
  signature by hand, nested schema, `SET NX`, `enqueue` with the event, two sync workers of
  gunicorn. All are measured in turn, and a ratio is taken within a round.
"""


def table(figures: Figures, goals: Sequence[Goal] = (*GOALS, *ASIDE, *MILLION)) -> str:
    """The rows of all *goals* that were measured."""
    return "\n".join(g.row(figures[g.name]) for g in goals if g.name in figures)


def page(figures: Figures, *, machine: str, accounts: int, waiting: float) -> str:
    """The whole page."""
    kinds = ("bridge", "empty", "textbook", "once")
    return PAGE.format(
        rows=table(figures, GOALS),
        machine=machine,
        accounts=accounts,
        waiting=waiting,
        event=figures["event"].middle,
        **{kind: figures[f"ms {kind}"].middle for kind in kinds},
        **{
            name: figures[name].middle
            for name in ("plain", "objects", "whole", "batches")
        },
    )
