"""The console's door: who comes in, and from where an action may come."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from redis import Redis
from rq import Queue, SimpleWorker
from rq.job import Job
from werkzeug.datastructures import Authorization

from bridge.queue import NAME
from bridge.sources import load
from bridge.store.health import Watch
from bridge.web import create_app
from bridge.web.console import queues
from tests.support.server import RedisServer

KNOWN = Authorization("basic", {"username": "admin", "password": "pässword-example"})

TOKEN = re.compile(r'X-CSRF-Token", "([0-9a-f]{64})"')

PAGES = (
    "0/view/queues",
    "0/view/workers",
    "0/view/jobs",
    *(
        f"0/view/jobs/{NAME}/{registry}/8/asc/1"
        for registry in ("queued", "failed", "started", "finished", "scheduled")
    ),
)

DATA = (
    "0/data/queues.json",
    "0/data/workers.json",
    *(
        f"0/data/jobs/{NAME}/{registry}/8/{order}/1.json"
        for registry in ("queued", "failed", "started", "finished", "scheduled")
        for order in ("asc", "dsc")
    ),
)


CLIENTS: list[FlaskClient] = []
"""Where `job_that_looks` finds the client of its test."""


def job_that_fails(party: str) -> None:
    raise ValueError(party)


def job_that_looks(path: str) -> Any:
    return CLIENTS[-1].get(path, auth=KNOWN).json


def run(redis: Redis, job: Callable[..., Any], argument: str) -> Job:
    """Queue one job and run all there are, as ours are."""
    queue = Queue(NAME, connection=redis, serializer="json")
    queued = queue.enqueue(job, argument, description="of a test")
    worker = SimpleWorker([queue], connection=redis, serializer="json")
    worker.work(burst=True, logging_level="CRITICAL")
    return queued


def make(url: str, redis: Redis, watch: Watch, **more: str) -> FlaskClient:
    environ = {
        "REDIS_URL": url,
        "VITALLY_API_KEY": "sk_example",
        "VITALLY_SUBDOMAIN": "acme",
        "CONSOLE_PASSWORD": "pässword-example",
    }
    settings, _ = load(environ | more)
    return create_app(settings, redis=redis, watch=watch).test_client()


@pytest.fixture
def client(redis_server: RedisServer, redis: Redis, watch: Watch) -> FlaskClient:
    return make(redis_server.url, redis, watch)


@pytest.fixture
def token(client: FlaskClient) -> str:
    found = TOKEN.search(client.get("/console/queues/", auth=KNOWN).text)
    assert found is not None
    return found[1]


@pytest.fixture
def failed(redis: Redis) -> Job:
    return run(redis, job_that_fails, "stripe:cus_1")


def test_without_a_password_there_is_no_console(
    redis_server: RedisServer, redis: Redis, watch: Watch
) -> None:
    client = make(redis_server.url, redis, watch, CONSOLE_PASSWORD="")
    paths = ("", "/", "/queues/", "/queues/requeue/bridge")

    assert [client.get(f"/console{p}").status_code for p in paths] == [404] * 4


@pytest.mark.parametrize(
    "auth",
    [
        None,
        Authorization("basic", {"username": "admin", "password": "wrong"}),
        Authorization("basic", {"username": "root", "password": "pässword-example"}),
        Authorization("basic", {"username": "", "password": ""}),
        Authorization("bearer", token="pässword-example"),
    ],
)
@pytest.mark.parametrize("path", ["/", "/queues/", "/queues/static/css/main.css", "/x"])
def test_a_stranger_sees_nothing(
    client: FlaskClient, auth: Authorization | None, path: str
) -> None:
    answer = client.get(f"/console{path}", auth=auth)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Basic ")


@pytest.mark.parametrize("path", ["/console", "/console/"])
def test_the_console_starts_at_the_queues(client: FlaskClient, path: str) -> None:
    answer = client.get(path, auth=KNOWN)

    assert answer.status_code == 302
    assert answer.location == "/console/queues/"


@pytest.mark.parametrize("path", ["", *PAGES])
def test_every_page_is_shown_and_sealed(
    client: FlaskClient, failed: Job, path: str
) -> None:
    answer = client.get(f"/console/queues/{path}", auth=KNOWN, follow_redirects=True)

    assert answer.status_code == 200
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"
    assert "<script " in answer.text
    assert "<script>" not in answer.text


@pytest.mark.parametrize("path", DATA)
def test_every_page_gets_its_data(client: FlaskClient, failed: Job, path: str) -> None:
    answer = client.get(f"/console/queues/{path}", auth=KNOWN)

    assert (answer.status_code, answer.is_json) == (200, True)


def test_workers_are_shown_while_one_runs_a_json_job(
    client: FlaskClient, redis: Redis
) -> None:
    CLIENTS.append(client)
    job = run(redis, job_that_looks, "/console/queues/0/data/workers.json")
    seen: Any = job.return_value()

    assert [w["current_job"]["job_id"] for w in seen["workers"]] == [job.id]


def test_a_job_is_shown_with_its_failure(client: FlaskClient, failed: Job) -> None:
    page = client.get(f"/console/queues/0/view/job/{failed.id}", auth=KNOWN)
    data = client.get(f"/console/queues/0/data/job/{failed.id}.json", auth=KNOWN)

    assert page.status_code == 200
    assert data.json is not None
    assert data.json["status"] == "failed"
    assert "ValueError: stripe:cus_1" in data.json["exc_info"]


@pytest.mark.parametrize("path", ["view/job/gone", "data/job/gone.json"])
def test_a_job_that_is_gone_is_404(client: FlaskClient, path: str) -> None:
    assert client.get(f"/console/queues/0/{path}", auth=KNOWN).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "0/data/jobs/bridge/failed/0/asc/1.json",
        "0/data/jobs/bridge/failed/-1/asc/1.json",
        "0/data/jobs/bridge/failed/8/asc/0.json",
        "0/data/jobs/bridge/failed/8/asc/-1.json",
        "0/data/jobs/bridge/failed/x/asc/1.json",
        "0/data/jobs/bridge/failed/8/asc/x.json",
        "0/data/jobs/bridge/failed/\u0668/asc/1.json",
        f"0/data/jobs/bridge/failed/8/asc/{10**30}.json",
        f"0/data/jobs/bridge/failed/{10**30}/asc/1.json",
        "0/data/jobs/bridge/failed/8/up/1.json",
        "0/data/jobs/bridge/nothing/8/asc/1.json",
        "0/data/jobs/nothing/failed/8/asc/1.json",
        "0/data/jobs/bridge%0A/failed/8/asc/1.json",
        "0/view/jobs/bridge/failed/0/asc/1",
        "0/view/jobs/bridge/failed/8/asc/0",
        "0/view/jobs/bridge/nothing/8/asc/1",
        "0/view/jobs/nothing/failed/8/asc/1",
        "0/view/job/a:b",
        "0/view/job/a%00b",
        "0/view/job/%3Cb%3E",
        f"0/view/job/{'a' * 300}",
        "0/data/job/a:b.json",
        "0/data/job/k%C3%A4se.json",
        "1/data/queues.json",
        f"{10**30}/data/queues.json",
        "x/data/queues.json",
    ],
)
def test_an_address_that_names_nothing_is_404(
    client: FlaskClient, failed: Job, path: str
) -> None:
    assert 404 == client.get(f"/console/queues/{path}", auth=KNOWN).status_code


@pytest.mark.parametrize(
    ("action", "status"),
    [
        ("queue/nothing/failed/empty", 404),
        ("queue/bridge/nothing/empty", 404),
        ("queue/nothing/compact", 404),
        ("requeue/nothing", 404),
        ("job/a:b/requeue", 404),
        ("job/gone/requeue", 404),
        ("job/a:b/delete", 404),
    ],
)
def test_an_action_on_nothing_is_404(
    client: FlaskClient, token: str, failed: Job, action: str, status: int
) -> None:
    headers = {"X-CSRF-Token": token}
    answer = client.post(f"/console/queues/{action}", auth=KNOWN, headers=headers)

    assert status == answer.status_code


def test_a_job_that_has_not_failed_is_not_queued_again(
    client: FlaskClient, token: str, redis: Redis
) -> None:
    queue = Queue(NAME, connection=redis, serializer="json")
    waiting = queue.enqueue(job_that_fails, "stripe:cus_1")
    answer = client.post(
        f"/console/queues/job/{waiting.id}/requeue",
        auth=KNOWN,
        headers={"X-CSRF-Token": token},
    )

    assert 409 == answer.status_code
    assert 1 == queue.count


@pytest.mark.parametrize(
    ("said", "scheme"),
    [
        ("https", "https"),
        ("HTTPS, http", "https"),
        ("http", "http"),
        ("ftp", "http"),
        ("//evil.example", "http"),
        ("", "http"),
    ],
)
def test_a_redirect_keeps_the_scheme_that_the_client_used(
    client: FlaskClient, said: str, scheme: str
) -> None:
    headers = {"X-Forwarded-Proto": said}
    answer = client.get("/console/queues", auth=KNOWN, headers=headers)

    assert f"{scheme}://localhost/console/queues/" == answer.location


def test_a_wrong_password_is_logged_without_it(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = Authorization("basic", {"username": "eve", "password": "wrong-example"})
    client.get("/console/", auth=wrong)
    client.get("/console/")
    told = [r for r in caplog.records if r.message == "wrong console password"]

    assert [{"tries": 1}] == [r.__dict__["fields"] for r in told]
    assert "eve" not in caplog.text
    assert "example" not in caplog.text


def test_another_instance_is_404(client: FlaskClient) -> None:
    assert client.get("/console/queues/1/view/queues", auth=KNOWN).status_code == 404


def test_no_page_shows_the_url_of_redis(
    client: FlaskClient, redis_server: RedisServer
) -> None:
    answer = client.get("/console/queues/", auth=KNOWN)

    assert str(redis_server.port) not in answer.text


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_an_action_is_a_post(client: FlaskClient, failed: Job, method: str) -> None:
    answer = client.open(f"/console/queues/requeue/{NAME}", method=method, auth=KNOWN)

    assert answer.status_code == 405
    assert failed.get_status(refresh=True) == "failed"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-CSRF-Token": "wrong"},
        {"X-CSRF-Token": "wröng"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_an_action_from_elsewhere_is_refused(
    client: FlaskClient, token: str, failed: Job, headers: dict[str, str]
) -> None:
    if "X-CSRF-Token" not in headers and headers:
        headers = {"X-CSRF-Token": token} | headers
    answer = client.post(f"/console/queues/requeue/{NAME}", auth=KNOWN, headers=headers)

    assert answer.status_code == 403
    assert failed.get_status(refresh=True) == "failed"


def test_an_action_from_our_own_page_is_done(
    client: FlaskClient, token: str, failed: Job
) -> None:
    headers = {"Origin": "https://localhost", "Sec-Fetch-Site": "same-origin"}
    answer = client.post(
        f"/console/queues/job/{failed.id}/requeue",
        auth=KNOWN,
        headers=headers | {"X-CSRF-Token": token},
    )

    assert (answer.status_code, answer.json) == (200, {"status": "OK"})
    assert failed.get_status(refresh=True) == "queued"


def test_the_public_url_is_an_origin_of_ours(
    redis_server: RedisServer, redis: Redis, watch: Watch, token: str
) -> None:
    public = "https://b.example"
    client = make(redis_server.url, redis, watch, BRIDGE_PUBLIC_URL=public)
    answer = client.post(
        f"/console/queues/requeue/{NAME}",
        auth=KNOWN,
        headers={"Origin": public, "X-CSRF-Token": token},
    )

    assert (answer.status_code, answer.json) == (200, {"status": "OK", "count": 0})


@pytest.mark.parametrize(
    ("action", "left"),
    [
        ("job/{id}/delete", None),
        ("queue/bridge/failed/empty", None),
        ("requeue/bridge", "queued"),
    ],
)
def test_every_action_works_on_json_jobs(
    client: FlaskClient, token: str, failed: Job, action: str, left: str | None
) -> None:
    path = f"/console/queues/{action.format(id=failed.id)}"
    answer = client.post(path, auth=KNOWN, headers={"X-CSRF-Token": token})
    status = failed.connection.hget(failed.key, "status")

    assert answer.status_code == 200
    assert status == (left.encode() if left else None)


@pytest.mark.parametrize(("waiting", "status"), [(True, 200), (False, 409)])
def test_a_queue_can_be_compacted_where_there_is_one(
    client: FlaskClient, redis: Redis, token: str, waiting: bool, status: int
) -> None:
    queue = Queue(NAME, connection=redis, serializer="json")
    if waiting:
        queue.enqueue(job_that_fails, "stripe:cus_1")
    path = f"/console/queues/queue/{NAME}/compact"
    answer = client.post(path, auth=KNOWN, headers={"X-CSRF-Token": token})

    assert answer.status_code == status
    assert queue.count == waiting


def test_without_rq_dashboard_a_page_says_what_to_install(
    redis_server: RedisServer,
    redis: Redis,
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    queues.adapted.cache_clear()
    monkeypatch.setitem(sys.modules, "rq_dashboard.web", None)
    client = make(redis_server.url, redis, watch)
    answer = client.get("/console/queues/", auth=KNOWN)

    assert answer.status_code == 501
    assert "pip install rq-dashboard six" in answer.text


@pytest.mark.parametrize("path", ["", "0/view/workers", "0/data/queues.json"])
def test_without_redis_a_plain_page_says_so(path: str) -> None:
    with RedisServer() as server:
        redis = server.client()
        watch = Watch(redis)
        client = make(server.url, redis, watch)
        server.kill()
        answer = client.get(f"/console/queues/{path}", auth=KNOWN)
        watch.stop()
        redis.close()

    assert answer.status_code == 503
    assert "Redis does not answer" in answer.text
