"""What the console's pages share: how one is added, how values are shown, what frames it.

A page is a function that reads data. `Pages.page` shows the data twice: by a template,
and as JSON at `….json`. `Pages.action` adds what a form does.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial, wraps
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson
from flask import (
    Blueprint,
    Response,
    current_app,
    g,
    redirect,
    render_template,
    request,
    url_for,
)
from markupsafe import Markup, escape
from redis import Redis
from redis.exceptions import RedisError
from werkzeug.exceptions import NotFound
from werkzeug.routing import BaseConverter
from werkzeug.wrappers import Response as AnyResponse

from bridge import __version__
from bridge.config import Config
from bridge.domain.money import cents, money
from bridge.domain.traits import Always, Optional, instant
from bridge.explain import reading
from bridge.lamps import CHOSEN, CONDITIONS, Lamp
from bridge.settings import Settings, texts
from bridge.store import audit
from bridge.web.dashboard import OUR_QUEUE, PREFIX
from bridge.web.health import Health
from bridge.web.hooks import JSON
from bridge.wording import ago, count, moment, program

EXTENSION = "bridge.console"

Data = Mapping[str, Any]
Read = Callable[..., Data | None]
Act = Callable[[], "Done"]


@dataclass(frozen=True)
class Console:
    """What the pages read from."""

    settings: Settings
    config: Config
    redis: Redis
    health: Health
    environ: Mapping[str, str] = field(repr=False)


class Done(NamedTuple):
    """What an action did, as a sentence, and the address of the page to show next."""

    text: str
    to: str


def console() -> Console:
    """The console that answers the present request."""
    found: Console = current_app.extensions[EXTENSION]
    return found


class Name(BaseConverter):
    """Any text in an address: an account's id may have slashes, dots, percent signs."""

    regex = ".+"
    part_isolating = False

    def to_url(self, value: str) -> str:
        """Return *value* without slashes, lest a browser reads `..` as a folder."""
        return quote(value, safe="")


class Pages(Blueprint):
    """A module's pages, under one *title* in the menu; the first one is what it opens."""

    def __init__(self, name: str, title: str) -> None:
        super().__init__(name, __name__)
        self.title = title
        self.first = ""

    def page(self, path: str, template: str) -> Callable[[Read], Read]:
        """Show the data of the decorated function, at *path* and at *path* with `.json`.

        The function gets the parts of the address. None: there is no such page.
        """

        def add(read: Read) -> Read:
            name = read.__name__
            self.first = self.first or f"{self.name}.{name}"
            self.add_url_rule(path, name, partial(_page, read, template))
            also = ["/.json", "/index.json"] if path == "/" else [f"{path}.json"]
            data = partial(_data, read, template)
            for address in also:
                self.add_url_rule(address, f"{name}_json", data)
            return read

        return add

    def action(self, path: str) -> Callable[[Act], Act]:
        """Do what the decorated function does on a POST to *path*, and audit it.

        The function reads `request.form`; a BridgeError says why nothing was done.
        """

        def add(act: Act) -> Act:
            @wraps(act)
            def post() -> AnyResponse:
                done, who, action = act(), g.user.name, act.__name__
                deed = audit.record(console().redis, who, action, done.text)
                joint = "&" if "?" in done.to else "?"
                return redirect(f"{done.to}{joint}did={deed.id}", 303)

            self.add_url_rule(path, act.__name__, post, methods=["POST"])
            return act

        return add


def _page(read: Read, template: str, **parts: str) -> str:
    """The page; 404 where *read* finds nothing."""
    return render_template(template, data=_found(read, parts))


def _data(read: Read, template: str, **parts: str) -> AnyResponse | str:
    """The data of a page, or the page of what itself has a name that ends in `.json`."""
    try:
        if "html" not in request.args:
            return as_json(_found(read, parts))
    except NotFound:
        if not parts:
            raise
    return _page(read, template, **{k: f"{v}.json" for k, v in parts.items()})


def _found(read: Read, parts: Mapping[str, str]) -> Data:
    data = read(**parts)
    if data is None:
        named = ", ".join(parts.values())
        raise NotFound(f"There is nothing here with the name {named}.")
    return data


def as_json(data: Data) -> Response:
    """Answer with *data*; a NamedTuple is an object with its fields."""
    body = orjson.dumps(data, _plain, orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS)
    return Response(body, content_type=JSON)


def _plain(value: Any) -> Any:
    if hasattr(value, "_asdict"):
        return value._asdict()
    return sorted(value) if isinstance(value, set | frozenset) else str(value)


def account_url(name: str) -> str:
    """The address of the page of an account or party."""
    more: dict[str, Any] = {"html": ""} if name.endswith(".json") else {}
    return url_for("accounts.account", name=name, **more)


# --- How values are shown --------------------------------------------------------------


def now_ms() -> int:
    """The clock in milliseconds."""
    return time.time_ns() // 1_000_000


FARTHEST = 10**14
"""Milliseconds; what a sender says of a date may be anything."""


def when(at: int | str | None) -> Markup | str:
    """An instant (ms, or as Vitally writes it) in UTC, and how long ago that is."""
    if at is None:
        return "never"
    if isinstance(at, str):
        at = int(datetime.fromisoformat(at).timestamp() * 1000)
    if abs(at) > FARTHEST:
        return f"{at} ms"
    off = now_ms() - at
    far = f"{ago(off)} ago" if off >= 0 else f"in {ago(-off)}"
    text = '<time datetime="{}">{} UTC</time> <span class="quiet">{}</span>'
    return Markup(text).format(instant(at), moment(at), far)  # noqa: S704 - what is put in is escaped


def shown(value: object) -> str:
    """The value of a trait, as people read it."""
    match value:
        case None:
            return "none"
        case str() if INSTANT.fullmatch(value):
            return f"{value[:10]} {value[11:19]} UTC"
        case str():
            return value
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return f"{value:,}"
        case _:
            return orjson.dumps(value).decode()


INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def ticks(text: str) -> Markup:
    """A text of ours in which what stands in backticks is code."""
    return Markup(re.sub("`([^`]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 - it is escaped


RULES = {**texts(Always), **texts(Optional)}
"""Trait -> what it is; none for one that `bridge.toml` or a source adds."""

FILTERS: dict[str, Callable[..., Any]] = {
    "when": when,
    "ago": ago,
    "cents": cents,
    "money": money,
    "shown": shown,
    "reading": reading,
    "count": count,
    "rule": lambda trait: ticks(RULES.get(trait, "")),
    "ticks": ticks,
    "number": "{:,}".format,
}


# --- The frame ------------------------------------------------------------------------


def frame() -> dict[str, Any]:
    """What the layout of every page shows: the menu, the state, what was just done."""
    pages = [p for p in current_app.blueprints.values() if isinstance(p, Pages)]
    menu = [(p.title, url_for(p.first), p.name == request.blueprint) for p in pages]
    root = request.script_root
    queue = (f"{root}{OUR_QUEUE}", request.path.startswith(f"{PREFIX}/"))
    return {
        "menu": [*menu, ("Queue", *queue)],
        "lamps": _lamps,
        "deed": _deed,
        "as_json": _data_url(),
        "token": g.token,
        "program": program(),
        "version": __version__,
        "account_url": account_url,
        "places": {row.kind: root + row.page for row in CONDITIONS if row.page},
    }


def _data_url() -> str | None:
    """The address of the page's data; None: it is no page of data."""
    name, parts = f"{request.endpoint}_json", dict(request.view_args or {})
    if name.endswith("_json_json"):  # what is shown has itself a name that ends so
        name = name.removesuffix("_json")
        parts = {key: f"{part}.json" for key, part in parts.items()}
    if name not in current_app.view_functions:
        return None
    wanted: dict[str, Any] = {
        k: v for k, v in request.args.items() if k not in {"did", "html"}
    }
    return url_for(name, **parts, **wanted)


def _lamps() -> list[Lamp]:
    """What each page says first: what somebody chose to stop, and why it is not ready."""
    lit = console().health.lit()
    chosen = [lamp for lamp in lit if lamp.kind in CHOSEN]
    return [*chosen, *(lamp for lamp in lit if lamp.level == "bad")]


def _deed() -> audit.Deed | None:
    """What the action did from which the visitor comes."""
    if id_ := request.args.get("did"):
        with suppress(RedisError):
            deeds = audit.latest(console().redis)
            return next((deed for deed in deeds if deed.id == id_), None)
    return None
