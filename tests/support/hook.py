"""The webhook of a chat: keeps what is posted to it."""

from __future__ import annotations

from tests.support.local_api import Asked, LocalApi, Reply


class Hook(LocalApi):
    """Answers what *status* says, and would send whoever follows elsewhere."""

    status = 200

    def answer(self, asked: Asked) -> Reply:
        return Reply(b"ok", self.status, {"Location": f"{self.url}/elsewhere"})

    def forget(self) -> None:
        """Begin anew with the alerts."""
        self.log[:] = [asked for asked in self.log if not asked.body]

    def told(self, path: str = "/alert") -> list[tuple[str, str]]:
        """(kind, state) of what was taken, in order."""
        return [(b["kind"], b["state"]) for b in self.bodies(path)]

    def bodies(self, path: str = "/alert") -> list[dict[str, str]]:
        """What was posted to *path*."""
        return [asked.body for asked in self.log if asked.path == path and asked.body]
