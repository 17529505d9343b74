"""The page of the benchmarks: figures beside their goals, as Markdown and as a chart.

Pure: figures in, text out.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import NamedTuple

from tests.bench.figure import Figure

Figures = Mapping[str, Figure]


class Goal(NamedTuple):
    """A figure's *name*, what it is in *words*, its *limit* (a least one, or a most)."""

    name: str
    words: str
    limit: float
    form: str
    at_least: bool = False

    def shown(self, value: float) -> str:
        """*value* with its unit."""
        return self.form.format(value)

    @property
    def said(self) -> str:
        """The goal as text."""
        return f"{'≥' if self.at_least else '≤'} {self.shown(self.limit)}"

    def is_met(self, value: float) -> bool:
        """Whether *value* is on the right side of the limit."""
        return value >= self.limit if self.at_least else value <= self.limit

    def used(self, value: float) -> float:
        """How much of what is allowed *value* takes: 1.0 is all of it."""
        if not self.at_least:
            return value / self.limit if self.limit else value
        return self.limit / value if value else float("inf")


TIMES = "{:.1f} ×"  # noqa: RUF001 - the sign is meant

GOALS = (
    Goal("empty, repeat", "CPU ÷ an empty Flask view, customers repeat", 3.0, TIMES),
    Goal("empty, new", "CPU ÷ an empty Flask view, each customer new", 3.0, TIMES),
    Goal("textbook, repeat", "Textbook's CPU ÷ ours, customers repeat", 3.5, TIMES, True),
    Goal("textbook, new", "Textbook's CPU ÷ ours, each customer new", 3.3, TIMES, True),
    Goal("drain", "Budget of the rate limit that a backlog uses", 90, "{:.0f} %", True),
    Goal("limited", "429 of Vitally while it does", 0, "{:.0f}"),
    Goal("writes", "Writes per 1000 events of customers' months", 200, "{:.0f}"),
    Goal("repeats", "Writes for all of these events once more", 0, "{:.0f}"),
    Goal("median", "From event to write when idle, median", 500, "{:.0f} ms"),
    Goal("freshness", "From event to write when idle, 95 of 100", 500, "{:.0f} ms"),
    Goal("account", "Redis per account at rest (two subscriptions)", 3072, "{:.0f} B"),
    Goal("job", "Redis per waiting job", 1536, "{:.0f} B"),
    Goal("web", "Memory of web after load (PSS)", 90, "{:.0f} MB"),
    Goal("worker", "Memory of worker after load (PSS)", 90, "{:.0f} MB"),
)  # fmt: skip
"""Every row of the page, in its order."""

HEAD = """# Benchmarks

Written by `make bench`; each figure is beside its goal. Why the ingress misses its own: [ingress-profile.md](ingress-profile.md).

![How much of each goal is used]({chart})

| | goal | measured | |
| --- | --- | --- | --- |
{rows}

In brackets the middle half of the samples. {machine}

## CPU of one event

Milliseconds, user and system, of the web processes and of Redis, for one accepted
`customer.subscription.updated` of 4.8 KB as Stripe prints it, four connections.

| | customers repeat | each customer new |
| --- | --- | --- |
{milliseconds}

"Repeat" is ten events of each customer, of which one queues a job. The empty view runs on
the same server with the same settings. The textbook is Flask, marshmallow and RQ as their
manuals add up: signature by hand, nested schema, `SET NX`, `enqueue` with the event, two
sync workers of gunicorn. All are measured in turn, in samples of 300 events, and a ratio
is taken within a round.

## The others

- **Budget.** {budget}
- **Writes.** Sign-ups, renewals, failed payments and changes of seats, with the invoices and
  payments that Stripe sends round them, and one event in fifty twice; PUT and POST both
  count. "Once more" is all of it again, and again after the memory of recent events is gone.
- **Freshness.** From before the delivery is sent until the first line of the PUT is at Vitally.
- **Redis.** `used_memory` before and after, over {accounts} accounts. A waiting event takes
  {event:.0f} B in all, its job among them; the journal and the ring of recent events are capped and
  not counted.
- **Memory.** PSS of a process and its children; the largest of them has an RSS of
  {web:.0f} MB (web) and {worker:.0f} MB (worker).
"""

KINDS = {
    "bridge": "vitally-bridge",
    "empty": "empty Flask view",
    "textbook": "textbook, schema made for each request",
    "once": "textbook, schema made once",
}


def table(figures: Figures) -> str:
    """The rows of all goals that were measured."""
    return "\n".join(
        f"| {goal.words} | {goal.said} | {_measured(goal, figures[goal.name])} "
        f"| {'met' if goal.is_met(figures[goal.name].middle) else 'missed'} |"
        for goal in GOALS
        if goal.name in figures
    )


def page(
    figures: Figures, *, chart: str, machine: str, budget: str, accounts: int
) -> str:
    """The whole page; *chart* is the chart's address."""
    milliseconds = "\n".join(
        f"| {words} | {_ms(figures[f'ms {kind}, repeat'])} "
        f"| {_ms(figures[f'ms {kind}, new'])} |"
        for kind, words in KINDS.items()
    )
    return HEAD.format(
        chart=chart,
        rows=table(figures),
        machine=machine,
        milliseconds=milliseconds,
        budget=budget,
        accounts=accounts,
        event=figures["event"].middle,
        web=figures["RSS of web"].middle,
        worker=figures["RSS of worker"].middle,
    )


def _measured(goal: Goal, found: Figure) -> str:
    told = f"**{goal.shown(found.middle)}**"
    if found.is_exact:
        return told
    return f"{told} ({goal.shown(found.low)} to {goal.shown(found.high)})"


def _ms(found: Figure) -> str:
    return f"{found.middle:.2f} ({found.low:.2f} to {found.high:.2f})"


WIDTH, LINE, TOP = 860, 30, 64
BAR_AT, FULL, MOST = 380, 170, 1.6
"""Where bars begin, how long a bar is that uses all, and the most that is drawn."""

STYLE = """
text { font: 14px system-ui, sans-serif; fill: #1f2328 }
.quiet { fill: #59636e } .card { fill: #ffffff } .met { fill: #1a7f64 }
.missed { fill: #d1571b } .goal { stroke: #1f2328 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .quiet { fill: #9198a1 } .card { fill: #0d1117 }
.met { fill: #3fb68b } .missed { fill: #f0883e } .goal { stroke: #e6edf3 } }
"""
"""The card is part of the picture, so that it can be read on any background."""


def chart(figures: Figures) -> str:
    """An SVG: a bar for each goal, and one line at which it is all used up."""
    height = TOP + LINE * len(GOALS) + 12
    at = BAR_AT + FULL
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    ends = f'x1="{at}" x2="{at}" y1="{TOP - 8}" y2="{height - 12}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">',
        "<title>How much of each goal is used</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="card" width="{WIDTH}" height="{height}" rx="8"/>',
        _text(
            16,
            28,
            "How much of each goal is used",
            "shorter is better; a pointed bar goes on",
        ),
        f'<text x="{at}" y="50" text-anchor="middle" class="quiet">goal</text>',
        *(_bar(n, goal, figures[goal.name].middle) for n, goal in enumerate(GOALS)),
        f'<line class="goal" {ends} stroke-width="1.5" stroke-dasharray="4 3"/>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _bar(number: int, goal: Goal, value: float) -> str:
    top = TOP + LINE * number
    used, is_met = goal.used(value), goal.is_met(value)
    length = round(min(used, MOST) * FULL)
    end = BAR_AT + length
    point = f'<path class="missed" d="M{end} {top + 3} l11 9 l-11 9 z"/>'
    word = goal.shown(value) + ("" if is_met else ", missed")
    right = BAR_AT + round(MOST * FULL) + 20
    return (
        f"{_text(16, top + 15, goal.words)}"
        f'<rect class="{"met" if is_met else "missed"}" x="{BAR_AT}" y="{top + 3}" '
        f'width="{max(length, 2)}" height="{LINE - 12}" rx="3"/>'
        f"{point if used > MOST else ''}"
        f"{_text(right, top + 15, word, goal.said)}"
    )


def _text(x: int, y: int, words: str, quiet: str = "") -> str:
    more = f'<tspan class="quiet" dx="8">{escape(quiet)}</tspan>' if quiet else ""
    return f'<text x="{x}" y="{y}">{escape(words)}{more}</text>'
