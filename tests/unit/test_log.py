"""A log line: its form, and what never gets into it or onto a terminal."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import log
from bridge.log import fields, plain

LOG = logging.getLogger("bridge.test")

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


class Pipe:
    """Collects what is logged; reading it empties it."""

    def __init__(self) -> None:
        self._read, self.fd = os.pipe()
        os.set_blocking(self._read, False)

    def text(self) -> str:
        try:
            return os.read(self._read, 65_536).decode()
        except BlockingIOError:
            return ""

    def lines(self) -> list[str]:
        return self.text().splitlines()

    def close(self) -> None:
        os.close(self._read)
        os.close(self.fd)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    made = Pipe()
    root = logging.getLogger()
    level = root.level
    yield made
    for handler in tuple(root.handlers):
        if isinstance(handler.formatter, log.OneLine):
            root.removeHandler(handler)
    root.setLevel(level)
    made.close()


def test_a_json_line_tells_its_fields_after_its_head(pipe: Pipe) -> None:
    log.configure("INFO", "json", pipe.fd)
    LOG.info("delivery", extra=fields(source="stripe", reason=None, ms=1.5))
    (line,) = pipe.lines()
    said = json.loads(line)

    assert list(said) == ["at", "level", "logger", "message", "source", "ms"]
    assert INSTANT.fullmatch(said.pop("at"))
    assert said == {
        "level": "info",
        "logger": "bridge.test",
        "message": "delivery",
        "source": "stripe",
        "ms": 1.5,
    }


def test_a_text_line_is_for_the_eye(pipe: Pipe) -> None:
    log.configure("INFO", "text", pipe.fd)
    LOG.warning("job %s", "done", extra=fields(event="evt_1", counts={"queued": 2}))
    (line,) = pipe.lines()
    _, _, rest = line.partition("Z ")

    assert rest == 'WARNING job done event=evt_1 counts="{\\"queued\\":2}"'


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_value_can_neither_forge_a_line_nor_steer_a_terminal(
    form: str, pipe: Pipe
) -> None:
    log.configure("INFO", form, pipe.fd)
    forged = 'x\n{"level":"error"} status=202'
    odd = "\x1b[2J\x9b\u202e\u2028\x85\x7f"
    LOG.info("a\nb %s", odd, extra=fields(event=forged, odd=odd))
    (line,) = pipe.lines()

    assert line.isprintable()
    assert " status=202" not in line.replace('} status=202"', "")
    assert form == "text" or odd == json.loads(line)["odd"]


def test_of_rq_s_lines_the_first_is_told(pipe: Pipe) -> None:
    log.configure("INFO", "json", pipe.fd)
    logging.getLogger("rq.example").error("job %s failed\n%s", "x", "card 4242")
    (line,) = pipe.lines()

    assert "job x failed" == json.loads(line)["message"]
    assert "4242" not in line


def test_an_exception_tells_where_but_not_what(pipe: Pipe) -> None:
    log.configure("INFO", "json", pipe.fd)
    try:
        int("card 4242")
    except ValueError:
        LOG.exception("delivery failed")
    (line,) = pipe.lines()

    assert "4242" not in line
    assert json.loads(line)["error"] == "ValueError"
    assert json.loads(line)["where"][-1].startswith("test_log.py:")


@pytest.mark.parametrize("value", ["\ud800", 2**70, b"x", object])
@pytest.mark.parametrize("form", ["json", "text"])
def test_any_value_can_be_logged(form: str, value: object, pipe: Pipe) -> None:
    log.configure("INFO", form, pipe.fd)
    LOG.info("odd", extra=fields(value=value))
    (line,) = pipe.lines()

    assert form == "text" or list(json.loads(line)) == [*log.HEAD, "value"]


def test_a_line_below_the_level_is_not_written(pipe: Pipe) -> None:
    log.configure("WARNING", "json", pipe.fd)
    LOG.info("delivery")

    assert pipe.lines() == []


def test_configuring_twice_does_not_double_the_lines(pipe: Pipe) -> None:
    log.configure("INFO", "json", pipe.fd)
    log.configure("INFO", "json", pipe.fd)
    LOG.info("delivery")

    assert len(pipe.lines()) == 1


def test_a_closed_output_is_nobodys_error(pipe: Pipe) -> None:
    gone = Pipe()
    log.configure("INFO", "json", gone.fd)
    (handler,) = (
        h for h in logging.getLogger().handlers if isinstance(h.formatter, log.OneLine)
    )
    gone.close()
    LOG.info("delivery")
    with suppress(OSError):  # what it could not write, when it is closed
        handler.stream.close()

    assert pipe.lines() == []


# --- Text of others -------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Søren & Fils — 20 %", "Søren & Fils — 20 %"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\x1b[2J\x7f", "\\u001b[2J\\u007f"),
        ("\x9b1m\x85", "\\u009b1m\\u0085"),
        ("\u202eevil\u2066\u200f", "\\u202eevil\\u2066\\u200f"),
        ("\u2028\ufeff\ud800", "\\u2028\\ufeff\\ud800"),
        ("\U000e0001", "\\udb40\\udc01"),
    ],
)
def test_what_is_not_printable_is_escaped(text: str, shown: str) -> None:
    assert shown == plain(text)


@given(st.text(st.characters(exclude_categories=())))
def test_any_text_becomes_one_printable_line(text: str) -> None:
    assert plain(text).isprintable()
    assert plain(text) == plain(plain(text))


@given(st.text(st.characters(exclude_categories=())))
def test_json_stays_the_same_json(text: str) -> None:
    raw = '"' + json.dumps(text, ensure_ascii=False)[1:-1] + '"'

    assert text.encode("utf-16", "surrogatepass") == json.loads(plain(raw)).encode(
        "utf-16", "surrogatepass"
    )
