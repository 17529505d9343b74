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
from werkzeug.test import EnvironBuilder, TestResponse

from bridge.queue import NAME
from bridge.serve import GRACE
from bridge.sources import load
from bridge.store import audit
from bridge.store.health import Watch
from bridge.web import create_app, dashboard
from bridge.web.failures import WAIT
from tests.support.server import RedisServer

KNOWN = Authorization("basic", {"username": "admin", "password": "pässword-example"})

TOKEN = re.compile(r'X-CSRF-Token", "([0-9a-f]{64})"')

REGISTRIES = ("queued", "failed", "started", "finished", "scheduled")

PAGES = (
    "0/view/queues",
    "0/view/workers",
    "0/view/jobs",
    *(f"0/view/jobs/{NAME}/{registry}/8/asc/1" for registry in REGISTRIES),
)

DATA = (
    "0/data/queues.json",
    "0/data/workers.json",
    *(
        f"0/data/jobs/{NAME}/{registry}/8/{order}/1.json"
        for registry in REGISTRIES
        for order in ("asc", "dsc")
    ),
)

CLIENTS: list[FlaskClient] = []
"""Where `job_that_looks` finds the client of its test."""


def job_that_fails(party: str) -> None:
    raise ValueError(party)


def job_that_looks(path: str) -> Any:
    return CLIENTS[-1].get(path, auth=KNOWN).json


def queue(redis: Redis) -> Queue:
    """The queue as it is ours: its jobs are JSON."""
    return Queue(NAME, connection=redis, serializer="json")


def run(redis: Redis, job: Callable[..., Any], argument: str) -> Job:
    """Queue one job and run all there are, as ours are."""
    queued = queue(redis).enqueue(job, argument, description="of a test")
    worker = SimpleWorker([queue(redis)], connection=redis, serializer="json")
    worker.work(burst=True, logging_level="CRITICAL")
    return queued


def make(url: str, redis: Redis, watch: Watch, **more: str) -> FlaskClient:
    environ = {
        "REDIS_URL": url,
        "VITALLY_API_KEY": "sk_example",
        "VITALLY_SUBDOMAIN": "acme",
        "CONSOLE_PASSWORD": "pässword-example",
    }
    settings, config = load(environ | more)
    return create_app(settings, config, redis=redis, watch=watch).test_client()


@pytest.fixture
def client(redis_server: RedisServer, redis: Redis, watch: Watch) -> FlaskClient:
    return make(redis_server.url, redis, watch)


def get(client: FlaskClient, path: str, **more: Any) -> TestResponse:
    return client.get(f"/console/queues/{path}", auth=KNOWN, **more)


def act(client: FlaskClient, action: str, **headers: str) -> TestResponse:
    """Do an action as a page of ours does, with other *headers* where they are given."""
    token = TOKEN.search(get(client, "").text)
    assert token is not None
    sent = {"X-CSRF-Token": token[1]} | {
        k.replace("_", "-"): v for k, v in headers.items()
    }
    return client.post(f"/console/queues/{action}", auth=KNOWN, headers=sent)


@pytest.fixture
def failed(redis: Redis) -> Job:
    return run(redis, job_that_fails, "stripe:cus_1")


def status(job: Job) -> str | None:
    """What the job's hash says; None: it is gone."""
    found: Any = job.connection.hget(job.key, "status")
    return found.decode() if found else None


def test_without_a_password_there_is_no_console(
    redis_server: RedisServer, redis: Redis, watch: Watch
) -> None:
    client = make(redis_server.url, redis, watch, CONSOLE_PASSWORD="")
    paths = ("", "/", "/queues/", "/queues/requeue/bridge")

    assert [404] * 4 == [client.get(f"/console{p}").status_code for p in paths]


def test_users_of_their_own_need_no_password_beside_them(
    redis_server: RedisServer, redis: Redis, watch: Watch
) -> None:
    more = {"CONSOLE_PASSWORD": "", "CONSOLE_USERS": "ann:read-only:an-example"}
    client = make(redis_server.url, redis, watch, **more)
    tries = (("ann", "an-example"), ("ann", ""), ("admin", ""), ("", "an-example"))
    auth = [Authorization("basic", {"username": u, "password": p}) for u, p in tries]

    assert [200, 401, 401, 401] == [
        client.get("/console/", auth=one).status_code for one in auth
    ]


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
def test_a_stranger_sees_nothing(
    client: FlaskClient, auth: Authorization | None
) -> None:
    for path in ("/", "/queues/", "/queues/static/css/main.css", "/x"):
        answer = client.get(f"/console{path}", auth=auth)

        assert 401 == answer.status_code
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")


@pytest.mark.parametrize("path", ["/console", "/console/"])
def test_the_console_starts_at_the_overview(client: FlaskClient, path: str) -> None:
    answer = client.get(path, auth=KNOWN)

    assert 200 == answer.status_code
    assert "<h1>Overview</h1>" in answer.text


@pytest.mark.parametrize(
    "given", ["Basic \xba", "Basic", "Basic %", "\xff \xff", "Bearer"]
)
def test_so_does_one_whose_proof_is_none(client: FlaskClient, given: str) -> None:
    for method in ("GET", "POST"):
        answer = client.open(
            "/console/", headers={"Authorization": given}, method=method
        )

        assert 401 == answer.status_code


@pytest.mark.parametrize(
    "path", ["/console.json", "/console/.json", "/console/index.json"]
)
def test_the_overview_has_its_data(client: FlaskClient, path: str) -> None:
    answer = client.get(path, auth=KNOWN)

    assert (200, True) == (answer.status_code, answer.is_json)
    assert 0 == answer.json["figures"]["received"]  # type: ignore[index]
    assert 401 == client.get(path).status_code


def test_a_page_of_ours_runs_nothing_that_stands_in_it(client: FlaskClient) -> None:
    policy = client.get("/console/", auth=KNOWN).headers["Content-Security-Policy"]

    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "nonce" not in policy


@pytest.mark.parametrize("path", ["", *PAGES])
def test_every_page_is_shown_and_sealed_and_hides_the_address_of_redis(
    client: FlaskClient, redis_server: RedisServer, failed: Job, path: str
) -> None:
    answer = get(client, path, follow_redirects=True)

    assert 200 == answer.status_code
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert "<script " in answer.text
    assert "<script>" not in answer.text
    assert str(redis_server.port) not in answer.text


@pytest.mark.parametrize("path", DATA)
def test_every_page_gets_its_data(client: FlaskClient, failed: Job, path: str) -> None:
    answer = get(client, path)

    assert (200, True) == (answer.status_code, answer.is_json)


def test_workers_are_shown_while_one_runs_a_json_job(
    client: FlaskClient, redis: Redis
) -> None:
    CLIENTS.append(client)
    job = run(redis, job_that_looks, "/console/queues/0/data/workers.json")
    seen: Any = job.return_value()

    assert [job.id] == [w["current_job"]["job_id"] for w in seen["workers"]]


def test_a_job_is_shown_with_its_failure(client: FlaskClient, failed: Job) -> None:
    page = get(client, f"0/view/job/{failed.id}")
    data: Any = get(client, f"0/data/job/{failed.id}.json").json

    assert (200, "failed") == (page.status_code, data["status"])
    assert "ValueError: stripe:cus_1" in data["exc_info"]


@pytest.mark.parametrize(
    "path",
    [
        *(
            f"0/data/jobs/{rest}.json"
            for rest in (
                "bridge/failed/0/asc/1",
                "bridge/failed/-1/asc/1",
                "bridge/failed/8/asc/0",
                "bridge/failed/8/asc/-1",
                "bridge/failed/x/asc/1",
                "bridge/failed/8/asc/x",
                "bridge/failed/\u0668/asc/1",
                f"bridge/failed/8/asc/{10**30}",
                f"bridge/failed/{10**30}/asc/1",
                "bridge/failed/8/up/1",
                "bridge/nothing/8/asc/1",
                "nothing/failed/8/asc/1",
                "bridge%0A/failed/8/asc/1",
            )
        ),
        "0/view/jobs/bridge/failed/0/asc/1",
        "0/view/jobs/bridge/failed/8/asc/0",
        "0/view/jobs/bridge/nothing/8/asc/1",
        "0/view/jobs/nothing/failed/8/asc/1",
        "0/view/job/gone",
        "0/view/job/a:b",
        "0/view/job/a%00b",
        "0/view/job/%3Cb%3E",
        f"0/view/job/{'a' * 300}",
        "0/data/job/gone.json",
        "0/data/job/a:b.json",
        "0/data/job/k%C3%A4se.json",
        "1/view/queues",
        "1/data/queues.json",
        f"{10**30}/data/queues.json",
        "x/data/queues.json",
    ],
)
def test_an_address_that_names_nothing_is_404(
    client: FlaskClient, failed: Job, path: str
) -> None:
    assert 404 == get(client, path).status_code


@pytest.mark.parametrize(
    "action",
    [
        "queue/nothing/failed/empty",
        "queue/bridge/nothing/empty",
        "queue/nothing/compact",
        "requeue/nothing",
        "job/a:b/requeue",
        "job/gone/requeue",
        "job/a:b/delete",
    ],
)
def test_an_action_on_nothing_is_404(
    client: FlaskClient, failed: Job, action: str
) -> None:
    assert 404 == act(client, action).status_code


def test_a_job_that_has_not_failed_is_not_queued_again(
    client: FlaskClient, redis: Redis
) -> None:
    waiting = queue(redis).enqueue(job_that_fails, "stripe:cus_1")

    assert 409 == act(client, f"job/{waiting.id}/requeue").status_code
    assert 1 == queue(redis).count


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_an_action_is_a_post(client: FlaskClient, failed: Job, method: str) -> None:
    answer = client.open(f"/console/queues/requeue/{NAME}", method=method, auth=KNOWN)

    assert (405, "failed") == (answer.status_code, status(failed))


@pytest.mark.parametrize(
    "headers",
    [
        {"X_CSRF_Token": ""},
        {"X_CSRF_Token": "wrong"},
        {"X_CSRF_Token": "wröng"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "none"},
    ],
)
def test_an_action_from_elsewhere_is_refused(
    client: FlaskClient, failed: Job, headers: dict[str, str]
) -> None:
    answer = act(client, f"requeue/{NAME}", **headers)

    assert (403, "failed") == (answer.status_code, status(failed))


@pytest.mark.parametrize(
    ("action", "left"),
    [
        ("job/{id}/requeue", "queued"),
        ("job/{id}/delete", None),
        ("queue/bridge/failed/empty", None),
        ("requeue/bridge", "queued"),
    ],
)
def test_every_action_from_a_page_of_ours_works_on_json_jobs(
    client: FlaskClient, failed: Job, action: str, left: str | None
) -> None:
    ours = {"Origin": "https://localhost", "Sec_Fetch_Site": "same-origin"}
    answer = act(client, action.format(id=failed.id), **ours)

    assert (200, "OK") == (answer.status_code, (answer.json or {})["status"])
    assert left == status(failed)


def test_the_public_url_is_an_origin_of_ours(
    redis_server: RedisServer, redis: Redis, watch: Watch
) -> None:
    public = "https://b.example"
    client = make(redis_server.url, redis, watch, BRIDGE_PUBLIC_URL=public)
    answer = act(client, f"requeue/{NAME}", Origin=public)

    assert (200, {"status": "OK", "count": 0}) == (answer.status_code, answer.json)


@pytest.mark.parametrize(("waiting", "code"), [(True, 200), (False, 409)])
def test_a_queue_can_be_compacted_where_there_is_one(
    client: FlaskClient, redis: Redis, waiting: bool, code: int
) -> None:
    if waiting:
        queue(redis).enqueue(job_that_fails, "stripe:cus_1")

    assert code == act(client, f"queue/{NAME}/compact").status_code
    assert waiting == queue(redis).count


def test_without_rq_dashboard_a_page_says_what_to_install(
    redis_server: RedisServer,
    redis: Redis,
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dashboard.adapted.cache_clear()
    monkeypatch.setitem(sys.modules, "rq_dashboard.web", None)
    answer = get(make(redis_server.url, redis, watch), "")

    assert 501 == answer.status_code
    assert "pip install rq-dashboard six" in answer.text


def test_without_redis_a_plain_page_says_so() -> None:
    with RedisServer() as server:
        redis = server.client()
        watch = Watch(redis)
        client = make(server.url, redis, watch)
        server.kill()
        paths = ("", "0/view/workers", "0/data/queues.json")
        answers = [get(client, path) for path in paths]
        watch.stop()
        redis.close()

    for answer in answers:
        assert 503 == answer.status_code
        assert "Redis does not answer" in answer.text


def test_each_wrong_password_waits_but_no_longer_than_a_stop_of_the_web_does(
    client: FlaskClient,
) -> None:
    """At whatever address; the client's own would be copied."""
    wrong = Authorization("basic", {"username": "eve", "password": "wrong-example"})
    waits = []
    for path in ("", "/", ".json", "/accounts.json", "/queues/", "/nothing") * 6:
        environ = EnvironBuilder(f"/console{path}", auth=wrong).get_environ()
        [*client.application.wsgi_app(environ, lambda *_: lambda _: None)]
        waits.append(environ[WAIT])

    assert 0 < min(waits)
    assert 4 < max(waits) < GRACE - 2


def test_an_action_in_the_queues_is_audited_and_a_refused_one_is_not(
    client: FlaskClient, redis: Redis, failed: Job, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "bridge.web")
    act(client, "job/gone/requeue")
    act(client, f"requeue/{NAME}", X_CSRF_Token="wrong")
    act(client, f"requeue/{NAME}")
    deeds = [deed[2:] for deed in audit.latest(redis)]
    lines = [r for r in caplog.records if r.message == "console action"]

    assert [("admin", "queue", f"/queues/requeue/{NAME}")] == deeds
    assert ["admin"] == [r.__dict__["fields"]["user"] for r in lines]


def test_a_wrong_password_is_logged_without_it(
    client: FlaskClient, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = Authorization("basic", {"username": "eve", "password": "wrong-example"})
    client.get("/console/", auth=wrong)
    client.get("/console/")
    lines = [r for r in caplog.records if r.message == "wrong console password"]

    assert [{"tries": 1}] == [r.__dict__["fields"] for r in lines]
    assert "eve" not in caplog.text
    assert "example" not in caplog.text
