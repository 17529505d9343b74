"""Somebody who looks at the console, without a browser."""

from __future__ import annotations

import re
from typing import Any

from redis import Redis
from werkzeug.datastructures import Authorization
from werkzeug.test import TestResponse

KNOWN = Authorization("basic", {"username": "ada", "password": "console-example"})
TOKEN = re.compile('name="csrf" value="([0-9a-f]{64})"')


class Visitor:
    """Somebody who knows the password."""

    def __init__(self, app: Any, redis: Redis, who: Authorization = KNOWN) -> None:
        self._client = app.test_client()
        self.app, self.redis, self._who = app, redis, who

    def get(self, path: str, status: int = 200, **more: Any) -> TestResponse:
        answer: TestResponse = self._client.get(path, auth=self._who, **more)
        assert status == answer.status_code, answer.text
        return answer

    def page(self, path: str) -> str:
        return self.get(f"/console/{path}").text

    def data(self, path: str) -> Any:
        answer = self.get(f"/console/{path}")
        assert answer.is_json
        return answer.json

    def post(self, seen: str, action: str, **form: str) -> TestResponse:
        """Press a button of the page that is *seen*."""
        token = TOKEN.search(seen)
        assert token is not None
        form |= {"csrf": token[1]}
        path = f"/console/do/{action}"
        answer: TestResponse = self._client.post(path, auth=self._who, data=form)
        return answer
