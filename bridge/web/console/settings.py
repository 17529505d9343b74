"""The page that says what is on: each setting, where it comes from, and the rules in effect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge import sources
from bridge.settings import OPTIONS, Option, Settings, meaning
from bridge.web.console.pages import Data, Pages, console

pages = Pages("settings", "Settings")

MONEY = ("discounts", "statuses", "empty", "week", "day", "base", "rates")
"""What is shown of how money is computed."""


@pages.page("/settings", "settings.html")
def settings() -> Data:
    """Settings without secrets, the sources, and what `bridge.toml` decides."""
    here, config, environ = console().settings, console().config, console().environ
    policy = config.policy
    options = (*OPTIONS, *sources.options())
    return {
        "settings": [setting(one, here, environ) for one in options],
        "weak": sources.weak_secrets(here),
        "sources": [
            {
                "name": one.name,
                "on": one.enabled(here.sources),
                "crm": one.crm,
                "observed": one.name in here.sources.get(sources.OBSERVED, ()),
                "from": "bridge.toml"
                if one.name in here.sources.get(sources.MADE, {})
                else "built in",
            }
            for one in sources.every(here.sources)
        ],
        "file": environ.get("BRIDGE_CONFIG") or "bridge.toml",
        "traits": dict(config.traits),
        "by_hand": sorted(config.by_hand),
        "owners": {trait: list(own) for trait, own in policy.owners.items()},
        "money": {name: getattr(policy, name) for name in MONEY},
    }


def setting(
    option: Option, here: Settings, environ: Mapping[str, str]
) -> dict[str, Any]:
    """One setting: its value, where that comes from, and what it means.

    Of a secret only whether it is set.
    """
    own = getattr(here, option.name.lower(), here.sources.get(option.name))
    value = own if own not in {None, "", ()} else None
    if option.secret:
        value = "set" if value is not None else None
    elif isinstance(value, tuple):
        value = ", ".join(map(str, value))
    return {
        "name": option.name,
        "value": value,
        "secret": option.secret,
        "from": _origin(option, environ),
        "meaning": meaning(option),
    }


def _origin(option: Option, environ: Mapping[str, str]) -> str:
    if environ.get(option.name, "").strip():
        return "environment"
    path = environ.get(f"{option.name}_FILE", "") if option.secret else ""
    if path:
        # Somebody may have put the secret itself where its path belongs.
        return f"file {path}" if path.startswith("/") else "file"
    return f"default: {option.shown}" if option.shown else "default"
