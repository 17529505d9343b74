"""The console in a real browser: its buttons work, another site's do not.

Needs Chromium and its driver (Debian: `apt install chromium chromium-driver`).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq import Queue, SimpleWorker
from rq.job import Job
from werkzeug import Response
from werkzeug.serving import make_server

from bridge.queue import NAME
from tests.support.browser import Browser
from tests.support.stack import Stack
from tests.support.waiting import eventually

PASSWORD = "console-example"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("web")
    users = "ann:read-only:ann-example"
    with Stack(folder, CONSOLE_PASSWORD=PASSWORD, CONSOLE_USERS=users) as made:
        made.web()
        yield made


@pytest.fixture
def redis(stack: Stack) -> Redis:
    stack.redis.flushall()
    return stack.redis


@pytest.fixture
def url(stack: Stack) -> str:
    return f"127.0.0.1:{stack.webs[0].port}"


@pytest.fixture
def inside(browser: Browser, url: str) -> Browser:
    """Log in; the browser then sends the password by itself."""
    browser.open(f"http://admin:{PASSWORD}@{url}/console/")
    browser.open(f"http://{url}/console/")
    browser.complaints()
    return browser


def job_that_fails(party: str) -> None:
    raise ValueError(f"<img src=x onerror=\"document.title='hacked'\"> {party}")


def failing(redis: Redis, text: str, **more: Any) -> tuple[Job, SimpleWorker]:
    """A job of our queue that has failed, and the worker that ran it."""
    queue = Queue(NAME, connection=redis, serializer="json")
    job = queue.enqueue(job_that_fails, text, description=text, **more)
    worker = SimpleWorker([queue], connection=redis, serializer="json")
    worker.work(burst=True, logging_level="CRITICAL")
    return job, worker


@pytest.fixture
def failed(redis: Redis) -> Job:
    return failing(redis, "stripe:cus_1")[0]


def status(job: Job) -> str | None:
    found = job.connection.hget(job.key, "status")
    return found.decode() if isinstance(found, bytes) else None


def picture(browser: Browser, tmp_path: Path, name: str) -> None:
    """Keep a picture where a developer wants them."""
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    browser.screenshot(folder / f"{name}.png")


def test_the_queues_are_shown(inside: Browser, failed: Job, tmp_path: Path) -> None:
    eventually(lambda: NAME in inside.text())
    picture(inside, tmp_path, "queues")

    assert [] == inside.complaints()


LIST, JOB = f"jobs/{NAME}/failed/8/asc/1", "job/{id}"


@pytest.mark.parametrize(
    ("page", "button", "asks", "left"),
    [
        (LIST, '[data-role="requeue-job-btn"]', False, "queued"),
        (LIST, "#requeue-all-btn", True, "queued"),
        (LIST, "#empty-btn", True, None),
        (LIST, '[data-role="delete-job-btn"]', True, None),
        (JOB, "#delete-job-btn", True, None),
    ],
)
def test_a_button_does_what_it_says_some_once_confirmed(
    inside: Browser,
    url: str,
    failed: Job,
    tmp_path: Path,
    page: str,
    button: str,
    asks: bool,
    left: str | None,
) -> None:
    inside.open(f"http://{url}/console/queues/0/view/{page.format(id=failed.id)}")
    eventually(lambda: "stripe:cus_1" in inside.text())
    picture(inside, tmp_path, page.partition("/")[0])
    inside.click(button)
    if asks:
        inside.confirm()
    eventually(lambda: status(failed) == left)

    assert [] == inside.complaints()


@pytest.mark.parametrize("page", [LIST, JOB])
def test_who_may_only_read_is_shown_no_button(
    browser: Browser, url: str, failed: Job, page: str
) -> None:
    path = f"{url}/console/queues/0/view/{page.format(id=failed.id)}"
    browser.open(f"http://ann:ann-example@{path}")
    browser.open(f"http://{path}")
    eventually(lambda: "stripe:cus_1" in browser.text())
    buttons = "[...document.querySelectorAll('[data-role$=btn], [id$=btn]')]"

    assert browser.run(f"return {buttons}.length") > 0
    assert 0 == browser.run(f"return {buttons}.filter(b => b.offsetParent).length")


HOSTILE = (
    '<meta http-equiv=refresh content="0;url=//example.org">',
    "<style>* { display: none }</style>",
    "<img src=x onerror=\"document.title='hacked'\">",
    "<%= document.title='hacked' %>",
    "{{ 7 * 191 }}",
)


@pytest.fixture
def hostile(redis: Redis) -> Job:
    """A failed job of RQ's own, with hostile text wherever there is any."""
    text = "stripe:cus_1 " + " ".join(HOSTILE)
    job, worker = failing(redis, text, meta={"said": text}, job_id="hostile")
    queue = worker.queues[0]
    worker.register_birth()
    worker.prepare_execution(queue.enqueue(print, text, description=text))
    Queue(f"{NAME} {text}", connection=redis, serializer="json").enqueue(print)
    return job


@pytest.mark.parametrize(
    "page", ["jobs/bridge/failed/8/asc/1", "job/hostile", "workers", "queues"]
)
def test_text_of_a_sender_is_text_on_every_page(
    inside: Browser, url: str, hostile: Job, tmp_path: Path, page: str
) -> None:
    inside.open(f"http://{url}/console/queues/0/view/{page}")
    eventually(lambda: "stripe:cus_1" in inside.text())
    picture(inside, tmp_path, f"hostile-{page.partition('/')[0]}")
    text = inside.text()

    # The page of the workers shows the beginning of a call alone.
    shown = HOSTILE[:1] if page == "workers" else HOSTILE
    assert [] == [one for one in shown if one not in text]
    assert url in inside.run("return location.href")
    assert "hacked" != inside.run("return document.title")
    assert 0 == inside.run("return document.querySelectorAll('td meta, p meta').length")
    assert [] == inside.complaints()


def test_what_a_page_showed_unescaped_could_not_run_nor_hide_it(
    inside: Browser, url: str, failed: Job
) -> None:
    """The second line of defence, should a page of rq-dashboard's bring the first."""
    inside.open(f"http://{url}/console/queues/0/view/job/{failed.id}")
    eventually(lambda: "ValueError" in inside.text())
    for text in HOSTILE[1:3]:
        inside.run(f"document.body.insertAdjacentHTML('beforeend', {text!r})")
    eventually(lambda: any("Content Security" in c for c in inside.complaints()))

    assert "ValueError" in inside.text()
    assert "hacked" != inside.run("return document.title")


@pytest.fixture
def other_site(url: str) -> Iterator[str]:
    """A page that sends whoever comes to the console, with what password they hold."""
    action = f"http://{url}/console/queues/requeue/{NAME}"
    html = f"<form id=f method=post action={action}></form><script>f.submit()</script>"
    site = make_server(
        "127.0.0.1", 0, Response(html, mimetype="text/html"), threaded=True
    )  # a browser keeps a connection open that it does not use yet
    threading.Thread(target=site.serve_forever, daemon=True).start()
    yield f"http://localhost:{site.server_port}/"
    site.shutdown()
    site.server_close()


def test_another_site_cannot_act_through_a_logged_in_browser(
    inside: Browser, other_site: str, failed: Job
) -> None:
    inside.open(other_site)
    eventually(lambda: "did not come from" in inside.text())

    assert status(failed) == "failed"
