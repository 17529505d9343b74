"""The simulator's page: its accounts at a glance, no script, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; font: 15px/1.45 system-ui, sans-serif; }
body { margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
h1 { font-size: 1.3rem; margin: 0; }
p { color: GrayText; margin: .2rem 0 1.2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .45rem .7rem; text-align: left; vertical-align: top; }
th { border-bottom: 2px solid; font-size: .8rem; }
td { border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
small { color: GrayText; }
code { font-size: .82rem; overflow-wrap: anywhere; }
.stage { border: 1px solid; border-radius: 1rem; padding: 0 .6rem; white-space: nowrap; }
.churned { color: #c62828; } .subscribed { color: #2e7d32; } .trial { color: #1565c0; }
"""

_HEADINGS = (
    "Account",
    "Lifecycle",
    "MRR",
    "Renewal",
    "Churned",
    "Trial ends",
    "Traits",
)


def accounts_page(accounts: Iterable[Mapping[str, Any]], summary: str) -> str:
    """Return the page; *accounts* are whole objects with their `lifecycle`."""
    rows = "\n".join(map(_row, accounts))
    heads = "".join(f"<th>{heading}</th>" for heading in _HEADINGS)
    empty = f'<tr><td colspan="{len(_HEADINGS)}">No account yet.</td></tr>'
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="refresh" content="2">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Vitally simulator</title><style>{_STYLE}</style></head><body>"
        f"<h1>Vitally simulator</h1><p>{escape(summary)}</p>"
        f"<table><thead><tr>{heads}</tr></thead><tbody>{rows or empty}</tbody></table>"
        "</body></html>"
    )


def _row(account: Mapping[str, Any]) -> str:
    stage = escape(account["lifecycle"])
    traits = "<br>".join(
        f"<code>{escape(name)} = {escape(_shown(value))}</code>"
        for name, value in sorted(account["traits"].items())
    )
    return (
        f"<tr><td><b>{escape(account['name'])}</b><br>"
        f"<small>{escape(account['externalId'])}</small></td>"
        f'<td><span class="stage {stage}">{stage}</span></td>'
        f'<td class="number">{escape(_shown(account["mrr"]))}</td>'
        f"<td>{_day(account['nextRenewalDate'])}</td>"
        f"<td>{_day(account['churnedAt'])}</td>"
        f"<td>{_day(account['trialEndDate'])}</td><td>{traits}</td></tr>"
    )


def _day(instant: str | None) -> str:
    if instant is None:
        return "-"
    return f'<span title="{escape(instant)}">{escape(instant[:10])}</span>'


def _shown(value: Any) -> str:
    return "-" if value is None else str(value)
