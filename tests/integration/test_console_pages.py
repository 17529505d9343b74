"""The console's own pages: what they show, as a page and as JSON, and what their forms do."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from bridge import accounts
from bridge.settings import OPTIONS
from bridge.sources import options
from bridge.store import audit, keys
from bridge.store.connect import milliseconds
from bridge.web.console import overview
from bridge.web.console.settings import setting
from tests.support.desk import Bench, customer, settings, subscription
from tests.support.server import RedisServer
from tests.support.visitor import KNOWN, Visitor

PAGES = ("", "accounts", "accounts/acme", "settings")


@pytest.mark.parametrize("path", PAGES)
def test_each_page_has_its_data_beside_it(
    desk: Bench, visit: Visitor, path: str
) -> None:
    desk.does(customer(), subscription())
    link = re.search('href="([^"]+)">this page as JSON', visit.page(path))

    assert link is not None
    assert visit.get(html.unescape(link[1])).is_json
    assert visit.data(f"{path}.json")


@pytest.mark.parametrize("path", ["accounts/nobody", "accounts/nobody.json", "x"])
def test_what_is_not_there_is_404(visit: Visitor, path: str) -> None:
    visit.get(f"/console/{path}", 404)


ODD = ("a/b", "a//b", "/a", "a/", "a/../b", "100%", "50%2F", "two words", "Ünï & <b>")
ODD += ("x.json", "q?a=b#c", "+", "…")


@pytest.mark.parametrize("id_", ODD)
def test_an_account_is_found_by_its_address_whatever_its_id(
    desk: Bench, visit: Visitor, id_: str
) -> None:
    desk.does(customer(account=id_, called="Odd One"), subscription())
    (row,) = visit.data("accounts.json")["accounts"]
    link = re.search('href="([^"]+)">Odd One</a>', visit.page("accounts"))

    assert link is not None
    assert id_ == row["account"]
    assert "<h1>Odd One</h1>" in visit.get(html.unescape(link[1])).text
    for quoted in (quote(id_), quote(id_, safe="")):
        assert id_ == visit.data(f"accounts/{quoted}.json")["account"]


def test_an_id_that_ends_like_another_one_s_data_has_a_page_too(
    desk: Bench, visit: Visitor
) -> None:
    desk.does(customer("cus_1", account="x", called="Short"))
    desk.does(customer("cus_2", account="x.json", called="Long"))
    links = re.findall('href="([^"]+)">(?:Long|Short)</a>', visit.page("accounts"))
    titles = [visit.get(html.unescape(link)).text for link in links]

    assert "x" == visit.data("accounts/x.json")["account"]
    assert "x.json" == visit.data("accounts/x.json.json")["account"]
    assert [True, True] == [
        f"<h1>{name}</h1>" in text
        for name, text in zip(("Long", "Short"), titles, strict=True)
    ]


HOSTILE = (
    "</title><script>alert(1)</script><img src=x onerror=alert(1)>\"'{{1234*4321}}"
)


def test_what_a_sender_wrote_is_text_on_every_page(desk: Bench, visit: Visitor) -> None:
    item = {"name": HOSTILE, "unit": "100", "interval": "month", "price": HOSTILE}
    desk.does(
        customer(account=f"acme{HOSTILE}", called=HOSTILE, email=f"a@{HOSTILE}"),
        subscription(sub=f"sub{HOSTILE}", event=HOSTILE, items=[item]),
        customer(f"cus{HOSTILE}", account=None, called=HOSTILE),
    )
    paths = ["", "accounts", f"accounts?q={quote(HOSTILE)}"]
    paths += [
        f"accounts/{quote(name + HOSTILE, safe='')}" for name in ("acme", "stripe:cus")
    ]

    for path in paths:
        text = visit.page(path)
        assert "<script>" not in text, path
        assert "<img" not in text, path
        assert "5332114" not in text, path


@pytest.mark.parametrize(
    "text", ["ACME in", "acme", "cus_1", "stripe:cus_1", "SUB_7", "shop.example"]
)
def test_an_account_is_found_as_people_know_it(
    desk: Bench, visit: Visitor, text: str
) -> None:
    desk.does(customer(called="Acme Inc", email="a@shop.example"))
    desk.settles(
        subscription(sub="sub_7"), customer("cus_2", account="b", called="Bee")
    )
    found = visit.data(f"accounts.json?q={quote(text)}")

    assert ["acme"] == [row["account"] for row in found["accounts"]]


def row(name: str, mrr: int | None, unknown: Sequence[str] = ()) -> str:
    money = ("active", mrr, "USD", None, None, None)
    return json.dumps([name, *money, unknown, [f"stripe:{name}"], ""])


def told(listing: Any) -> list[str]:
    return [row["account"] for row in listing["accounts"]]


def test_accounts_are_filtered_sorted_and_paged(desk: Bench, visit: Visitor) -> None:
    rows = {f"n{n:02}": row(f"n{n:02}", n) for n in range(51)}
    rows["odd"] = row("odd", None, unknown=["mrr"])
    desk.redis.hset(keys.INDEX, mapping=rows)
    desk.redis.hset(keys.UNKNOWN, "odd", "{}")
    desk.does(customer("away", account=None, called="Lost & Found"))
    first, second = visit.data("accounts.json"), visit.data("accounts.json?page=2")

    assert (50, 52, 2) == (len(first["accounts"]), first["total"], first["pages"])
    assert ["n50", "odd"] == told(second)
    assert "← previous</a> page 2 of 2" in visit.page("accounts?page=2")
    assert ["n50", "n49"] == told(visit.data("accounts.json?sort=mrr"))[:2]
    assert ["odd"] == told(visit.data("accounts.json?state=unknown"))
    assert 1 == first["states"]["held"]
    for found in ("state=held", "q=LOST", "q=names%20an%20account", "q=away"):
        held = visit.data(f"accounts.json?{found}")["held"]
        assert ["stripe:away"] == [one["party"] for one in held]
    for odd in ("page=0", "page=x", "page=99999999", "sort=x&state=y"):
        visit.page(f"accounts?{odd}")


def test_of_a_hundred_thousand_accounts_a_page_reads_only_those_it_shows(
    desk: Bench, visit: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A web process that read all of a million held a gigabyte, and took half a minute."""
    desk.rests(customer(), subscription(), customer("cus_2", account="other"))
    for module in (accounts, overview):
        monkeypatch.setattr(module, "MANY", 1)

    for exact in ("acme", "stripe:cus_1", " acme "):
        assert ["acme"] == told(visit.data(f"accounts.json?q={quote(exact)}"))
    shown = visit.data("accounts.json")
    assert {"acme", "other"} == {*told(shown)}
    assert (2, {}) == (shown["every"], shown["states"])
    for other in ("acm", "cus_1", "stripe:cus_3"):
        assert [] == told(visit.data(f"accounts.json?q={quote(other)}"))
    assert "accounts find TEXT" in visit.page("accounts?q=acm")
    desk.redis.sadd(keys.DRIFT, "other")
    desk.redis.sadd(keys.INCOMPLETE, "stripe:cus_1")
    for asked, expected in (
        ("state=drift", ["other"]),
        ("state=drift&q=nobody", []),
        ("state=incomplete", ["acme"]),
        ("state=unknown", []),
        ("state=held", []),
        ("state=churned", []),
    ):
        assert expected == told(visit.data(f"accounts.json?{asked}"))
    assert "No account is like this" in visit.page("accounts?state=unknown")
    text = visit.page("accounts?state=churned")
    assert "is not looked for either" in text
    assert "No account is like this" not in text
    assert (2, {}) == tuple(visit.data(".json")[name] for name in ("accounts", "mrr"))
    assert "2 accounts: so many are not summed up" in visit.page("")


def test_an_account_of_which_something_is_to_know_says_so_in_the_list(
    desk: Bench, visit: Visitor
) -> None:
    desk.does(subscription())  # its customer's own event was not seen
    desk.does(customer("cus_2", account="whole", called="Whole"))
    desk.redis.sadd(keys.DRIFT, "whole")
    tags, text = visit.data("accounts.json")["tags"], visit.page("accounts")

    assert ["drift"] == tags["whole"]
    assert '<span class="tag warn">changed in Vitally by others</span>' in text
    desk.redis.sadd(keys.INCOMPLETE, "stripe:cus_2")
    assert '<span class="tag warn">incomplete history</span>' in visit.page("accounts")


def test_an_account_says_how_vitally_answered_each_write(
    desk: Bench, visit: Visitor
) -> None:
    desk.rests(customer(), subscription())
    for number in (2, 3):
        desk.fault("status", status=400, body={"error": "no such plan"})
        desk.rests(subscription(at=number, unit=number * 10000))
    first, *others = visit.data("accounts/acme.json")["history"]
    text = visit.page("accounts/acme")

    assert ("refused", ["PUT 400"]) == (first["did"], first["replies"])
    assert [["PUT 404", "POST 200"]] == [one["replies"] for one in others]
    for words in ("refused by Vitally", "PUT 400", "no such plan", "What helps"):
        assert words in text


def test_an_account_says_why_its_last_write_failed(desk: Bench, visit: Visitor) -> None:
    desk.fault("status", status=503)
    desk.does(customer(), subscription())
    assert "The last write failed (503: " in visit.page("accounts/acme")
    desk.settles()
    assert "The last write failed" not in visit.page("accounts/acme")


@pytest.mark.parametrize(
    ("page", "words"),
    [("accounts?page=99", ">Acme</a>"), ("accounts?q=ann@acme.example", ">Acme</a>")],
)
def test_a_page_too_far_is_the_last_and_an_address_finds_its_domain(
    desk: Bench, visit: Visitor, page: str, words: str
) -> None:
    desk.does(customer(email="bob@acme.example"), subscription())
    assert words in visit.page(page)


def test_what_is_not_there_leads_to_the_search(visit: Visitor) -> None:
    answer = visit.get("/console/accounts/cus_1", 404)
    assert 'href="/console/accounts?q=cus_1"' in answer.text


@pytest.mark.parametrize(
    ("lamp", "link"),
    [("held", "/console/attention"), ("dry_run", "/console/plan")],
)
def test_a_lamp_leads_to_the_page_where_something_is_done(
    desk: Bench, visit: Visitor, lamp: str, link: str
) -> None:
    if lamp == "dry_run":
        desk.redis.set(keys.DRY_RUN, "1")
    desk.does(customer(account=None))
    assert f'<span class="quiet"><a href="{link}">See' in visit.page("")


def test_an_account_says_what_vitally_has_and_why(desk: Bench, visit: Visitor) -> None:
    once = {"coupon": "WELCOME", "percent": "50", "duration": "once"}
    desk.does(customer(called="Acme Inc"), subscription(discounts=[once]))
    data, text = visit.data("accounts/acme.json"), visit.page("accounts/acme")

    assert (450, "write") == (
        data["traits"]["mrr"]["vitally"],
        data["traits"]["mrr"]["seen_by"],
    )
    assert 450 == sum(part["amount"] for part in data["parts"])
    assert ["ChartMogul", "ProfitWell"] == [one["tool"] for one in data["counts"]]
    assert {"delivery", "write"} == {key for one in data["timeline"] for key in one} - {
        "at"
    }
    for words in (
        "Why the MRR is 450.00 USD",
        "1 x Pro: 450.00 USD every month",
        "does not count: discount WELCOME (once)",
        "225.00 USD",
        "created in Vitally",
        "(one that is set to end will not); else <code>null</code>.",
    ):
        assert words in text
    assert len(data["rows"]) - 1 == len(re.findall("</summary>\\n<p", text))


def test_a_held_party_is_linked_from_its_page(desk: Bench, visit: Visitor) -> None:
    desk.does(customer(account=None), subscription())
    held = visit.page("accounts/stripe:cus_1")
    answer = visit.post(held, "link", party="stripe:cus_1", account=" acme ")
    said = visit.get(answer.location).text
    desk.work()

    assert 303 == answer.status_code
    assert "Its account is not known" in held
    assert "stripe:cus_1 goes to acme" in said
    assert 450 == desk.traits()["mrr"]
    assert "acme" == visit.data("accounts/stripe:cus_1.json")["account"]
    (deed,) = audit.latest(desk.redis)
    text = "stripe:cus_1 goes to acme; acme: a new account, unless Vitally has it"
    assert ("ada", "link", text) == deed[2:]


def test_a_link_to_an_account_that_is_not_known_says_so(
    desk: Bench, visit: Visitor
) -> None:
    desk.rests(customer(account="globex-7"), subscription())
    desk.does(customer("cus_9", account=None))
    held, party = visit.page("accounts/stripe:cus_9"), "stripe:cus_9"
    mistaken = visit.post(held, "link", party=party, account="globex 7")
    meant = visit.post(held, "link", party=party, account="globex-7")

    assert "did you mean globex-7?" in visit.get(mistaken.location).text
    assert "a new account" not in visit.get(meant.location).text


def test_a_parked_change_is_tried_again_from_its_page(
    desk: Bench, visit: Visitor
) -> None:
    desk.fault("status", status=422)
    assert "parked" in desk.does(customer(), subscription())
    parked = visit.page("accounts/acme")
    answer = visit.post(parked, "retry", name="stripe:cus_1")

    assert "is tried again: 1 job" in visit.get(answer.location).text
    desk.work()
    assert 450 == desk.traits()["mrr"]


@pytest.mark.parametrize(("form", "carried"), [({}, 0), ({"whole": "1"}, 7)])
def test_an_account_is_worked_out_again_from_its_page(
    desk: Bench, visit: Visitor, form: dict[str, str], carried: int
) -> None:
    desk.rests(customer(), subscription())
    before = len(desk.bodies())
    answer = visit.post(visit.page("accounts/acme"), "fold", account="acme", **form)
    desk.passes(1000)
    desk.work()

    assert "acme is worked out again" in visit.get(answer.location).text
    written = [body["traits"] for body in desk.bodies()[before:]]
    assert carried == sum(map(len, written))


def test_nothing_is_worked_out_again_in_a_dry_run(desk: Bench, visit: Visitor) -> None:
    desk.rests(customer(), subscription())
    desk.redis.set(keys.DRY_RUN, "")
    answer = visit.post(visit.page("accounts/acme"), "fold", account="acme")
    desk.passes(1000)

    assert (409, []) == (answer.status_code, desk.work())


@pytest.mark.parametrize(
    ("action", "form"),
    [
        ("fold", {"account": "nobody"}),
        ("link", {"party": "stripe:cus_9", "account": "a"}),
        ("retry", {"name": "nobody"}),
    ],
)
def test_an_action_on_nothing_says_so_and_is_not_audited(
    desk: Bench, visit: Visitor, action: str, form: dict[str, str]
) -> None:
    desk.does(customer())
    answer = visit.post(visit.page("accounts/acme"), action, **form)

    assert 409 == answer.status_code
    assert "no " in answer.text
    assert [] == audit.latest(desk.redis)


@pytest.mark.parametrize("action", ["link", "retry"])
def test_nothing_is_done_without_the_token_or_by_a_get(
    desk: Bench, visit: Visitor, action: str
) -> None:
    desk.does(customer(account=None))
    form = {"party": "stripe:cus_1", "name": "stripe:cus_1", "account": "acme"}
    answers = [visit._client.post(f"/console/do/{action}", auth=KNOWN, data=form)]
    answers += [
        visit._client.get(f"/console/do/{action}", auth=KNOWN, query_string=form)
    ]

    assert [403, 405] == [answer.status_code for answer in answers]
    assert [] == desk.work()
    assert [] == audit.latest(desk.redis)


def test_an_empty_bridge_says_what_will_appear_and_how(visit: Visitor) -> None:
    for path in ("", "accounts"):
        assert "send stripe customer.subscription.created" in visit.page(path)


def test_reading_changes_nothing(desk: Bench, visit: Visitor) -> None:
    desk.does(customer(), subscription(), customer("cus_2", account=None))
    state: Callable[[], Any] = lambda: {  # noqa: E731
        key: desk.redis.dump(key) for key in desk.redis.scan_iter("*")
    }
    before = state()
    for path in (*PAGES, "accounts/stripe:cus_2"):
        visit.page(path)

    assert before == state()


def test_the_overview_adds_up_and_says_whether_all_is_well(
    desk: Bench, visit: Visitor
) -> None:
    desk.does(customer(), subscription(), customer("cus_2", account=None))
    first = visit.data(".json")
    received, accepted = first["sums"]

    assert "Not ready: No worker has been heard from for 15 s." == first["well"]
    assert (True, 3) == (received["adds_up"], received["whole"])
    assert {"settled": 2, "pending": 0, "held": 1, "parked": 0} == accepted["parts"]
    assert {"USD": [1, 450]} == first["mrr"]
    assert "450.00 USD" in visit.page("")
    desk.redis.zadd(keys.WORKERS, {"one": milliseconds(desk.redis)})
    assert "All is well: events come in and are written." == visit.data(".json")["well"]
    desk.redis.hincrby(keys.COUNTERS, "held", 1)
    assert "does not add up" in visit.page("")


def test_a_dry_run_is_said_first_on_every_page(desk: Bench, visit: Visitor) -> None:
    desk.does(customer(), subscription())
    desk.redis.set(keys.DRY_RUN, "")
    desk.redis.zadd(keys.WORKERS, {"one": milliseconds(desk.redis)})

    for path in PAGES:
        text = visit.page(path)
        assert 0 < text.index("This is a dry run") < text.index("<h1>"), path
    assert "This is a dry run" in visit.data(".json")["well"]


def test_no_secret_is_shown_and_each_setting_says_where_it_comes_from(
    visit: Visitor, redis_server: RedisServer
) -> None:
    page, data = visit.page("settings"), visit.get("/console/settings.json").text
    for secret in (
        "whsec_example",
        "sk_test_example",
        "console-example",
        redis_server.url,
    ):
        assert secret not in page + data
    found = {one["name"]: one for one in visit.data("settings.json")["settings"]}

    assert ("set", True) == (
        found["STRIPE_WEBHOOK_SECRET"]["value"],
        found["STRIPE_WEBHOOK_SECRET"]["secret"],
    )
    assert "customer" == found["BRIDGE_CREATE"]["value"]
    assert "<code>never</code>, it is held" in page


@pytest.mark.parametrize(
    ("name", "environ", "value", "origin"),
    [
        ("BRIDGE_CREATE", {"BRIDGE_CREATE": "never"}, "never", "environment"),
        ("BRIDGE_CREATE", {}, "customer", "default"),
        ("BRIDGE_CREATE", {"BRIDGE_CREATE": " "}, "customer", "default"),
        (
            "CONSOLE_PASSWORD",
            {"CONSOLE_PASSWORD": "pass-example"},
            "set",
            "environment",
        ),
        ("CONSOLE_PASSWORD", {"CONSOLE_PASSWORD_FILE": "{file}"}, "set", "file {file}"),
        ("CONSOLE_PASSWORD", {}, None, "default"),
        ("STRIPE_MODE", {}, "live", "default"),
    ],
)
def test_a_setting_comes_from_where_it_was_read(
    tmp_path: Path, name: str, environ: dict[str, str], value: str | None, origin: str
) -> None:
    file = tmp_path / "secret"
    file.write_text("pass-example\n", "utf-8")
    given = {key: text.format(file=file) for key, text in environ.items()}
    chosen = settings("http://127.0.0.1:1", "redis://127.0.0.1:1", **given)
    option = next(o for o in (*OPTIONS, *options()) if o.name == name)
    shown = setting(option, chosen, given)

    assert (value, origin.format(file=file)) == (shown["value"], shown["from"])
    assert "pass-example" not in str(shown)


def test_vitally_that_does_not_answer_is_a_sentence(visit: Visitor) -> None:
    page = visit.get("/console/vitally", 502).text

    assert "Vitally did not answer" in page
    assert "the connection was refused" in page
