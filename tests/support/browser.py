"""A real browser in a test: Debian's Chromium, driven over WebDriver's HTTP."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path
from typing import Any

import urllib3

from tests.support.processes import free_port
from tests.support.waiting import eventually

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-lcd-text",
    "--hide-scrollbars",
    "--window-size=1200,900",
)


class Browser:
    """A Chromium, driven over WebDriver's HTTP; *base* is for who opens pages of one site."""

    base = ""

    def __init__(self, folder: Path) -> None:
        driver = shutil.which("chromedriver")
        assert driver, "apt install chromium chromium-driver"
        port = free_port()
        self._process = subprocess.Popen(
            [driver, f"--port={port}"], stdout=subprocess.DEVNULL
        )
        self._http = urllib3.PoolManager(timeout=60, retries=False)
        self._url = f"http://127.0.0.1:{port}"
        eventually(self._alive, what="chromedriver")
        options = {"args": [*ARGUMENTS, f"--user-data-dir={folder}"]}
        wanted = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL"},
        }
        made = self._do("POST", "/session", capabilities={"alwaysMatch": wanted})
        self._session = f"/session/{made['sessionId']}"

    def open(self, url: str) -> None:
        self._do("POST", f"{self._session}/url", url=url)

    def run(self, script: str) -> Any:
        """Return what the *script*, a function's body, returns."""
        path = f"{self._session}/execute/sync"
        return self._do("POST", path, script=script, args=[])

    def text(self) -> str:
        return str(self.run("return document.body.innerText"))

    def click(self, css: str) -> None:
        self.run(f"document.querySelector({css!r}).click()")

    def confirm(self) -> None:
        """Press "Yes" in the dialog of rq-dashboard."""
        yes = "#confirmation-modal-yes"
        eventually(lambda: self.run(f"return $({yes!r}).is(':visible')"))
        self.click(yes)

    def complaints(self) -> list[str]:
        """Return what the console of the page says, and forget it."""
        lines = self._do("POST", f"{self._session}/se/log", type="browser")
        return [x["message"] for x in lines if "favicon" not in x["message"]]

    def type(self, css: str, text: str) -> None:
        """Put *text* into the field that *css* finds."""
        self.run(f"document.querySelector({css!r}).value = {text!r}")

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        """Be a screen of so many pixels; below 500 it is a phone's."""
        phone = {"deviceScaleFactor": 1, "mobile": width < 500}
        screen = {"width": width, "height": height, **phone}
        self._devtools("Emulation.setDeviceMetricsOverride", **screen)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._devtools("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path) -> None:
        """Keep what is seen of the page."""
        image = self._devtools("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(image))

    def _devtools(self, cmd: str, **params: Any) -> Any:
        path = f"{self._session}/goog/cdp/execute"
        return self._do("POST", path, cmd=cmd, params=params)

    def stop(self) -> None:
        self._do("DELETE", self._session)
        self._process.terminate()
        self._process.wait(20)

    def _alive(self) -> bool:
        try:
            return bool(self._do("GET", "/status")["ready"])
        except urllib3.exceptions.HTTPError:
            return False

    def _do(self, method: str, path: str, **body: Any) -> Any:
        json = body if method == "POST" else None
        answer = self._http.request(method, self._url + path, json=json)
        value = answer.json()["value"]
        assert answer.status == 200, value
        return value
