"""A log line: its form, and what never gets into it or onto a terminal."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import log
from bridge.log import fields, plain

LOG = logging.getLogger("bridge.test")

INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")

FORMS = pytest.mark.parametrize("form", ["json", "text"])
Lines = Callable[[], list[str]]


@pytest.fixture
def lines(capfd: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    """What has been logged since it was asked last."""
    root = logging.getLogger()
    level = root.level

    def since() -> list[str]:
        return capfd.readouterr().out.splitlines()

    yield since
    for handler in tuple(root.handlers):
        if isinstance(handler.formatter, log.OneLine):
            root.removeHandler(handler)
    root.setLevel(level)


def test_a_json_line_tells_its_fields_after_its_head(lines: Lines) -> None:
    log.configure("INFO", "json")
    LOG.info("delivery", extra=fields(source="stripe", reason=None, ms=1.5))
    (line,) = map(json.loads, lines())

    assert list(line) == ["at", "level", "logger", "message", "source", "ms"]
    assert INSTANT.fullmatch(line["at"])
    assert [*line.values()][1:] == ["info", "bridge.test", "delivery", "stripe", 1.5]


def test_a_text_line_is_for_the_eye(lines: Lines) -> None:
    log.configure("INFO", "text")
    LOG.warning("job %s", "done", extra=fields(event="evt_1", counts={"queued": 2}))
    (line,) = lines()

    assert line.partition("Z ")[2] == (
        'WARNING job done event=evt_1 counts="{\\"queued\\":2}"'
    )


@FORMS
def test_a_value_can_neither_forge_a_line_nor_steer_a_terminal(
    form: str, lines: Lines
) -> None:
    log.configure("INFO", form)
    forged = 'x\n{"level":"error"} status=202'
    odd = "\x1b[2J\x9b\u202e\u2028\x85\x7f"
    LOG.info("a\nb %s", odd, extra=fields(event=forged, odd=odd))
    (line,) = lines()

    assert line.isprintable()
    assert " status=202" not in line.replace('} status=202"', "")
    assert form == "text" or odd == json.loads(line)["odd"]


def test_of_rq_s_lines_the_first_is_told(lines: Lines) -> None:
    log.configure("INFO", "json")
    logging.getLogger("rq.example").error("job %s failed\n%s", "x", "card 4242")
    (line,) = lines()

    assert "job x failed" == json.loads(line)["message"]
    assert "4242" not in line


def test_an_exception_tells_where_but_not_what(lines: Lines) -> None:
    log.configure("INFO", "json")
    try:
        int("card 4242")
    except ValueError:
        LOG.exception("delivery failed")
    (line,) = lines()

    assert "4242" not in line
    assert json.loads(line)["error"] == "ValueError"
    assert json.loads(line)["where"][-1].startswith("test_log.py:")


@FORMS
@pytest.mark.parametrize("value", ["\ud800", 2**70, b"x", object])
def test_any_value_can_be_logged(form: str, value: object, lines: Lines) -> None:
    log.configure("INFO", form)
    LOG.info("odd", extra=fields(value=value))
    (line,) = lines()

    assert form == "text" or list(json.loads(line)) == [*log.HEAD, "value"]


@pytest.mark.parametrize(("level", "count"), [("WARNING", 0), ("INFO", 1)])
def test_a_line_of_the_level_is_written_once(
    level: str, count: int, lines: Lines
) -> None:
    log.configure(level, "json")
    log.configure(level, "json")
    LOG.info("delivery")

    assert count == len(lines())


def test_a_closed_output_is_nobodys_error(lines: Lines) -> None:
    gone, written = os.pipe()
    log.configure("INFO", "json", written)
    (handler,) = (
        h
        for h in logging.getLogger().handlers
        if isinstance(h, logging.StreamHandler) and isinstance(h.formatter, log.OneLine)
    )
    os.close(gone)
    os.close(written)
    LOG.info("delivery")
    with suppress(OSError):  # what it could not write, when it is closed
        handler.stream.close()

    assert lines() == []


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
