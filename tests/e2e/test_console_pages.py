"""The console's pages in a real browser: a person finds, reads and links; nobody is kept out.

Needs Chromium and its driver (Debian: `apt install chromium chromium-driver`).
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import pytest
from redis import Redis

from bridge.store import keys
from bridge.vitally.client import Vitally
from tests.support.browser import Browser
from tests.support.screenshots import PAGES, PASSWORD, SIZES, bridge, fill
from tests.support.stack import Stack
from tests.support.waiting import eventually

OURS = {name: path for name, path in PAGES.items() if name != "queue"}
"""The queue is rq-dashboard's page."""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with bridge(tmp_path_factory.mktemp("bridge")) as made:
        made.web()
        made.worker()
        fill(made)
        long = {"externalId": "long", "name": "X" * 300}
        Vitally(made.vitally.url, made.vitally.authorization).create(long)
        yield made


@pytest.fixture(scope="module")
def url(stack: Stack) -> str:
    return f"{stack.webs[0].url}/console/"


@pytest.fixture(scope="module")
def browser(browser: Browser, url: str) -> Browser:
    """One that has logged in; it then sends the password by itself."""
    browser.open(url.replace("://", f"://admin:{PASSWORD}@"))
    return browser


@pytest.fixture
def redis(stack: Stack) -> Redis:
    return stack.redis


def test_a_person_finds_an_account_by_name_and_reads_why(
    browser: Browser, url: str
) -> None:
    browser.size(1280, 900)
    browser.open(url)
    browser.click("nav a[href$='/accounts']")
    browser.type("#q", "northwind tr")
    browser.click("form[role=search] button")
    browser.run("[...document.links].find(a => a.text == 'Northwind Traders').click()")
    text = browser.text()

    for words in (
        "differs from Vitally",
        "367.33 USD",
        "Why the MRR is 534.00 USD",
        "12 x Seat: 588.00 USD every month",
        "less discount HALF-FOREVER (forever)",
        "\u2212294.00",
        "does not count: discount WELCOME (once)",
        "ChartMogul",
        "509.00 USD",
        "created in Vitally",
    ):
        assert words in text
    assert [] == browser.complaints()


def test_a_person_links_a_held_party(browser: Browser, url: str, stack: Stack) -> None:
    browser.open(url + PAGES["held"])
    assert "Its account is not known" in browser.text()
    browser.type("input[name=account]", "wide/world 1%")
    browser.click("form[action$='/do/link'] button")
    eventually(lambda: "stripe:cus_unknown goes to wide/world 1%" in browser.text())
    assert "a new account, unless Vitally has it" in browser.text()
    eventually(stack.has("wide/world 1%", mrr=49))
    browser.open(url + PAGES["held"])

    assert "Wide World Importers" in browser.text()
    assert "wide/world 1%" in browser.text()
    assert [] == browser.complaints()


@pytest.mark.parametrize("name", OURS)
def test_a_page_has_its_data(browser: Browser, url: str, name: str) -> None:
    browser.open(url + OURS[name])
    ask = "return fetch([...document.links].find(a => a.text == 'this page as JSON'))"
    kind = browser.run(f"{ask}.then(r => r.json()).then(data => typeof data)")

    assert "object" == kind


SERIOUS = {"serious", "critical"}


@pytest.fixture(scope="module")
def axe() -> str:
    """https://github.com/dequelabs/axe-core, a script that a page is given."""
    return files("axe_core_python").joinpath("axe.min.js").read_text("utf-8")


# Colours do not depend on the size, nor does the layout on the colours.
@pytest.mark.parametrize(("screen", "dark"), [("phone", False), ("wide", True)])
@pytest.mark.parametrize("name", OURS)
def test_a_page_fits_its_screen_breaks_no_rule_of_its_own_and_keeps_nobody_out(
    browser: Browser, url: str, axe: str, name: str, screen: str, dark: bool
) -> None:
    browser.size(*SIZES[screen], dark=dark)
    browser.open(url + OURS[name])
    wide = browser.run("return document.documentElement.scrollWidth - innerWidth")
    headings = browser.run("return document.querySelectorAll('h1').length")
    complaints = browser.complaints()
    browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    found = browser.run(f"{axe}; return axe.run()")
    browser.size(*SIZES[screen])

    assert wide <= 0
    assert (1, []) == (headings, complaints)
    assert [] == [told(one) for one in found["violations"] if one["impact"] in SERIOUS]
    assert 10 < len(found["passes"])


def told(violation: dict[str, Any]) -> tuple[str, list[str]]:
    return violation["id"], [node["html"][:200] for node in violation["nodes"]]


def test_the_keyboard_leads_to_the_content_first(browser: Browser, url: str) -> None:
    browser.open(url)
    first = browser.run(
        "const all = [...document.querySelectorAll('a, button, input')];"
        "all[0].focus(); return [all[0].text, all[0].getBoundingClientRect().left >= 0]"
    )

    assert ["Skip to the content", True] == first


def test_the_first_view_is_small(stack: Stack, browser: Browser, url: str) -> None:
    browser.open(url)
    sizes = browser.run(
        "return performance.getEntries().filter(e => e.transferSize)"
        ".map(e => [e.name, e.transferSize])"
    )

    assert 60_000 > sum(size for _, size in sizes)
    assert 2 <= len(sizes)


def test_the_overview_stays_up_to_date_by_itself(
    browser: Browser, url: str, stack: Stack
) -> None:
    browser.open(url)
    stack.redis.hincrby(keys.COUNTERS, "writes", 7_000_000)
    eventually(lambda: "7,000,0" in browser.text(), 60, what="another number")
    stack.redis.hincrby(keys.COUNTERS, "writes", -7_000_000)

    assert "Not ready" not in browser.text()
    assert [] == browser.complaints()
