"""`make screenshots`: pictures of each page of the console, from a bridge with a month's events.

Prints the size of each. With `--stay` it prints the address and waits, to look around.
"""

from __future__ import annotations

import base64
import struct
import sys
import time
import zlib
from math import sin
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import orjson

from bridge.demo.lives import ACCOUNT_KEY, DAY, deliveries
from bridge.store import keys
from bridge.store.samples import Sample
from tests.support.browser import Browser
from tests.support.failures import FIVE, seed
from tests.support.local_stripe import customer, item, price, subscription
from tests.support.processes import ROOT
from tests.support.stack import Stack
from tests.support.waiting import eventually

PASSWORD = "console-example"
FOLDER = ROOT / "docs" / "screenshots"
SIZES = {"phone": (390, 844), "wide": (1280, 900)}
LONGEST = {"phone": 1700, "wide": 1800}
"""Most pixels of a picture from top to bottom."""

SHORTER = {"account-wide": 1180}
"""The one that the README shows: down to what other tools would count."""

PAGES = {
    "overview": "",
    "accounts": "accounts",
    "account": "accounts/northwind",
    "unknown": "accounts/" + quote("tailspin/eu 1%.json", safe="") + "?html=",
    "held": "accounts/" + quote("stripe:cus_unknown", safe=""),
    "deliveries": "deliveries",
    "attention": "attention",
    "plan": "plan",
    "vitally": "vitally",
    "live": "vitally/northwind",
    "settings": "settings",
    "queue": "queues/",
}


def bridge(folder: Path) -> Stack:
    """A bridge with a console."""
    return Stack(folder, CONSOLE_PASSWORD=PASSWORD, STRIPE_ACCOUNT_ID_KEY=ACCOUNT_KEY)


def fill(stack: Stack) -> None:
    """Deliver a month of customers, and what goes wrong in one."""
    start = (int(time.time()) // DAY - 30) * DAY
    seed(stack.redis, 40, FIVE[2:])
    stripe = stack.stripe()
    for one in deliveries(start, Random(1)):
        stripe.deliver(one.event)
    for event in others(int(time.time())):
        stripe.deliver(event)
    stripe.raw(b"{}", {"Stripe-Signature": "t=1,v1=00"})
    stripe.deliver({"id": "evt_odd", "object": "event", "type": "customer.updated"})
    eventually(lambda: not stack.figures().pending, 30, what="the end of all work")
    # What Vitally refuses stays planned.
    refusal = {"error": "/traits/planName must be one of Pro, Team"}
    stack.vitally.break_with([{"kind": "status", "status": 400, "body": refusal}])
    changed = others(int(time.time()))[4]
    changed["id"], changed["created"] = "evt_changed", int(time.time()) - 60
    changed["type"] = "customer.subscription.updated"
    changed["data"]["object"]["items"]["data"][0]["quantity"] = 3
    stripe.deliver(changed)
    stripe.close()
    remember(stack)
    eventually(lambda: not stack.figures().pending, 30, what="the end of all work")


def remember(stack: Stack) -> None:
    """A day of samples and marks, as a worker would have left them."""
    now, total = int(time.time() * 1000), 0
    rows = []
    for minute in range(1440, 0, -1):
        total += round(30 + 25 * sin(minute / 230) + 8 * sin(minute / 17))
        counts = total, round(total * 0.93), round(total * 0.31), round(total * 0.5)
        rows.append(Sample(now - minute * 60_000, *counts, 0, 0, 0, None))
    now_has = stack.figures()
    # So that what is counted goes on where the samples end.
    last = [rows[-1].received, rows[-1].accepted, rows[-1].writes, rows[-1].saved]
    off = [now_has.received, now_has.accepted, now_has.writes, now_has.saved]
    stack.redis.delete(keys.SAMPLES)  # the worker's first one
    for row in rows:
        shifted = [n - end + at for n, end, at in zip(row[1:5], last, off, strict=True)]
        stack.redis.lpush(keys.SAMPLES, orjson.dumps([row.at, *shifted, *row[5:]]))
    for hours, text in ((4, "change of BRIDGE_CREATE"), (15, "deploy of 0.0.9")):
        at = now - hours * 3_600_000
        stack.redis.rpush(keys.MARKS, orjson.dumps([at, text]))


def others(now: int) -> list[dict[str, Any]]:
    """Events of a customer with all kinds of discounts, and of one without account."""
    half = discount("HALF-FOREVER", percent_off=50.0, duration="forever")
    once = discount("WELCOME", amount_off=2500, currency="usd", duration="once")
    tenner = discount("LOYAL-10", amount_off=1000, currency="usd", duration="forever")
    calls = price("price_calls", 2, nickname="API calls")
    calls["recurring"] = {**calls["recurring"], "usage_type": "metered"}
    seats = price("price_seat", 4900, nickname="Seat", product="prod_seat")
    year = price("price_vault", 100000, nickname="Vault", product="prod_vault")
    year["recurring"] = {**year["recurring"], "interval": "year"}
    lines = [item(seats, id_="si_1", quantity=12), item(calls, id_="si_2")]
    lines[0]["discounts"] = [half]
    rich = subscription("sub_seats", "cus_northwind", *lines)
    rich |= {"discounts": [tenner, once]}
    vault = subscription("sub_vault", "cus_northwind", item(year, id_="si_3"))
    tiers = price("price_tiers", nickname="Usage tiers")
    tiers |= {
        "billing_scheme": "tiered",
        "tiers_mode": "graduated",
        "unit_amount": None,
    }
    tiers["unit_amount_decimal"] = None
    odd = subscription("sub_tiers", "cus_tiers", item(tiers, id_="si_4"))
    alone = subscription("sub_alone", "cus_unknown", item(seats, id_="si_5"))
    named = {
        "cus_northwind": ("Northwind Traders", {ACCOUNT_KEY: "northwind"}),
        "cus_tiers": ("Tailspin Toys", {ACCOUNT_KEY: "tailspin/eu 1%.json"}),
        "cus_unknown": ("Wide World Importers", {}),
    }
    objects = [
        customer(id_, created=now - 9 * DAY, name=name, metadata=metadata)
        for id_, (name, metadata) in named.items()
    ]
    kinds = ["customer.created"] * 3 + ["customer.subscription.created"] * 4
    return [
        {
            "id": f"evt_other_{number}",
            "object": "event",
            "api_version": "2025-03-31.basil",
            "created": now - 8 * DAY + number,
            "livemode": False,
            "type": kind,
            "data": {"object": one},
        }
        for number, (kind, one) in enumerate(
            zip(kinds, [*objects, rich, vault, odd, alone], strict=True)
        )
    ]


def discount(name: str, **terms: Any) -> dict[str, Any]:
    coupon = {"id": name, "object": "coupon", "currency": None, "percent_off": None}
    coupon |= {"amount_off": None, **terms}
    coupon |= {"applies_to": {"products": ["prod_seat"]}}
    return {"id": f"di_{name}", "object": "discount", "coupon": coupon, "end": None}


def take(browser: Browser, url: str, folder: Path) -> None:
    """A picture of each page on each screen."""
    browser.open(f"http://admin:{PASSWORD}@{url.removeprefix('http://')}/console/")
    for name, path in PAGES.items():
        for screen, (width, height) in SIZES.items():
            browser.size(width, height)
            browser.open(f"{url}/console/{path}")
            longest = int(browser.run("return document.documentElement.scrollHeight"))
            file = folder / f"{name}-{screen}.png"
            browser.size(width, min(longest, SHORTER.get(file.stem, LONGEST[screen])))
            browser.screenshot(file)
            over = browser.run("return document.documentElement.scrollWidth") - width
            shrink(browser, file)
            note = f", {over} px too wide" if over > 0 else ""
            sys.stdout.write(f"{file.name}: {file.stat().st_size // 1000} kB{note}\n")


INDEXED = """
const image = new Image(); image.src = "data:image/png;base64,%s"; await image.decode();
const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d");
canvas.drawImage(image, 0, 0);
const from = canvas.getImageData(0, 0, image.width, image.height).data;
const keys = new Uint32Array(from.length / 4), often = new Map();
for (let i = 0; i < from.length; i += 4) {
  const key = (from[i] >> 2) << 16 | (from[i + 1] >> 2) << 8 | from[i + 2] >> 2;
  keys[i / 4] = key;
  often.set(key, (often.get(key) || 0) + 1);
}
const parts = key => [key >> 16, key >> 8 & 255, key & 255].map(n => Math.round(n * 255 / 63));
const ranked = [...often].sort((a, b) => b[1] - a[1]).map(([key]) => key);
const colors = ranked.slice(0, 256).map(parts), known = new Map();
ranked.forEach((key, n) => {
  const [r, g, b] = parts(key);
  const far = ([x, y, z]) => (x - r) ** 2 + (y - g) ** 2 + (z - b) ** 2;
  const near = () => colors.reduce((best, c, m) => far(c) < far(colors[best]) ? m : best, 0);
  known.set(key, n < 256 ? n : near());
});
let text = "";
for (const key of keys) text += String.fromCharCode(known.get(key));
return {width: image.width, height: image.height, colors, indices: btoa(text)};
"""
"""A script that finds a palette for a picture; Chromium's own files are several times as large."""


def shrink(browser: Browser, file: Path) -> None:
    """Write a picture again with at most 256 colors (PNG, https://www.w3.org/TR/png)."""
    browser.open("about:blank")
    png = base64.b64encode(file.read_bytes()).decode()
    found = browser.run(f"return (async () => {{{INDEXED % png}}})()")
    width, height = found["width"], found["height"]
    indices = base64.b64decode(found["indices"])
    rows = (indices[at : at + width] for at in range(0, width * height, width))
    pixels = b"".join(b"\0" + row for row in rows)
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0),
        b"PLTE": bytes(value for color in found["colors"] for value in color),
        b"IDAT": zlib.compress(pixels, 9),
        b"IEND": b"",
    }
    chunks = (
        struct.pack(">I", len(data))
        + kind
        + data
        + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts.items()
    )
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def main(arguments: list[str]) -> None:
    """Fill a bridge and take the pictures, or stay."""
    with TemporaryDirectory() as temporary, bridge(Path(temporary)) as stack:
        web = stack.web()
        stack.worker()
        fill(stack)
        if "--stay" in arguments:
            told = f"{web.url}/console/ admin {PASSWORD} {stack.redis_url}\n"
            sys.stdout.write(told)
            sys.stdout.flush()
            sys.stdin.read()
            return
        browser = Browser(Path(temporary) / "chromium")
        FOLDER.mkdir(parents=True, exist_ok=True)
        take(browser, web.url, FOLDER)
        browser.stop()


if __name__ == "__main__":
    main(sys.argv[1:])
