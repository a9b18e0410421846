"""What Duck writes to the console."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duck.logs import AccessLog, ConsoleFormatter, ProcessOutput, configure, wants_colour

MOMENT = 1_700_000_000.25


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def duck_logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger("duck")
    handlers, level, propagate = logger.handlers[:], logger.level, logger.propagate
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logger.propagate = propagate


def line_of(style: str, **changes: object) -> str:
    written: list[str] = []
    values: dict[str, object] = {
        "client": "127.0.0.1",
        "method": b"GET",
        "target": b"/a?b=c",
        "version": 11,
        "status": 200,
        "sent": 1234,
        "duration_s": 0.0042,
        "user_agent": b"curl/8",
        "referer": b"http://x/",
        "request_id": b"r1",
        "backend": "django",
    }
    values.update(changes)
    AccessLog(style, written.append, wall_clock=lambda: MOMENT).log(**values)  # type: ignore[arg-type]
    return "".join(written)


def test_colours_are_for_terminals_of_those_who_want_them() -> None:
    assert wants_colour(Terminal(), {})
    assert not wants_colour(io.StringIO(), {})
    assert not wants_colour(Terminal(), {"NO_COLOR": "1"})
    assert not wants_colour(Terminal(), {"TERM": "dumb"})
    assert wants_colour(Terminal(), {"NO_COLOR": ""})


def test_messages_are_plain_where_there_is_no_terminal(duck_logger: logging.Logger) -> None:
    stream = io.StringIO()
    configure("info", stream=stream)
    configure("info", stream=stream)
    logging.getLogger("duck.net").warning("the port %d is odd", 81)
    logging.getLogger("duck.net").debug("not shown")
    assert stream.getvalue()[10:] == " warning: the port 81 is odd\n"


def test_a_line_feed_in_a_message_begins_no_line_of_its_own() -> None:
    record = logging.LogRecord("duck", logging.INFO, "", 0, "from %s", ("a\n[12:00:00] forged\x1b[2J",), None)
    assert ConsoleFormatter().format(record)[10:] == " from a\n    [12:00:00] forged\\x1b[2J"


def test_json_messages_carry_their_traceback(duck_logger: logging.Logger) -> None:
    stream = io.StringIO()
    configure("debug", "json", stream=stream)
    try:
        raise KeyError("x")
    except KeyError:
        logging.getLogger("duck.app").exception("it failed")
    said = json.loads(stream.getvalue())
    assert (said["level"], said["logger"], said["message"]) == ("error", "duck.app", "it failed")
    assert "KeyError: 'x'" in said["traceback"]


def test_an_exchange_is_a_short_line_in_development() -> None:
    assert line_of("dev")[10:] == " 200 GET /a?b=c 1.2 kB 4.2 ms\n"
    assert line_of("dev", status=502, error="nobody answered", duration_s=12.0, sent=0)[10:] == (
        " 502 GET /a?b=c 0 B 12.0 s (nobody answered)\n"
    )
    assert line_of("dev", status=0, sent=2_500_000)[10:] == " --- GET /a?b=c 2.5 MB 4.2 ms\n"


@pytest.mark.parametrize(("status", "code"), [(101, 36), (200, 32), (304, 36), (404, 33), (500, 31), (0, 31)])
def test_the_status_is_coloured_by_its_class(status: int, code: int) -> None:
    written: list[str] = []
    log = AccessLog("dev", written.append, colour=True)
    log.log("", b"GET", b"/", 11, status, 0, 0.0)
    assert f"\x1b[{code}m{status or '---'}\x1b[0m" in written[0]


def test_the_other_styles_say_everything() -> None:
    assert line_of("text") == (
        '2023-11-14T22:13:20.250Z 127.0.0.1 GET /a?b=c HTTP/1.1 200 1234 0.004200 r1 "django" -\n'
    )
    assert line_of("combined") == (
        '127.0.0.1 - - [14/Nov/2023:22:13:20 +0000] "GET /a?b=c HTTP/1.1" 200 1234 "http://x/" "curl/8"\n'
    )
    assert line_of("combined", client="", referer=b"", user_agent=b"") == (
        'unix: - - [14/Nov/2023:22:13:20 +0000] "GET /a?b=c HTTP/1.1" 200 1234 "-" "-"\n'
    )
    assert json.loads(line_of("json", error="cut")) == {
        "time": "2023-11-14T22:13:20.250Z",
        "client": "127.0.0.1",
        "method": "GET",
        "target": "/a?b=c",
        "protocol": "HTTP/1.1",
        "status": 200,
        "bytes": 1234,
        "duration_s": 0.0042,
        "user_agent": "curl/8",
        "referer": "http://x/",
        "request_id": "r1",
        "backend": "django",
        "error": "cut",
    }


@given(st.binary(max_size=40), st.sampled_from(["dev", "text", "json", "combined"]))
def test_nothing_a_client_sends_makes_a_second_line_or_reaches_the_terminal(value: bytes, style: str) -> None:
    line = line_of(style, target=value, user_agent=value, referer=value, request_id=value)
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    assert line.isascii()
    if style == "combined":
        assert line.count('"') == 6


def test_a_log_that_is_off_formats_nothing() -> None:
    log = AccessLog("off", pytest.fail)
    assert not log.is_enabled
    log.log("", None, None, 11, 200, 0, 0.0)  # type: ignore[arg-type]


def test_the_lines_of_one_turn_of_the_loop_leave_in_one_write() -> None:
    written: list[str] = []
    soon: list[Callable[[], None]] = []
    log = AccessLog("text", written.append, defer=soon.append)
    log.log("1", b"GET", b"/1", 11, 200, 0, 0.0)
    log.log("2", b"GET", b"/2", 11, 200, 0, 0.0)
    assert not written
    assert len(soon) == 1
    soon.pop()()
    assert len(written) == 1
    assert written[0].count("\n") == 2
    log.log("3", b"GET", b"/3", 11, 200, 0, 0.0)
    assert len(soon) == 1


def test_the_output_of_a_process_gets_its_name_before_each_line() -> None:
    written: list[str] = []
    output = ProcessOutput("django", written.append)
    output.feed(b"one\r\ntwo\nthr")
    output.feed(b"ee\n\n\x1b[31mred\x1b[0m \x1b[2Jwipe\n")
    output.feed(b"\xff (Pdb) ")
    output.close()
    output.close()
    assert "".join(written) == (
        "django | one\ndjango | two\ndjango | three\ndjango | \n"
        "django | \x1b[31mred\x1b[0m \\x1b[2Jwipe\ndjango | \ufffd (Pdb) \n"
    )


def test_a_line_without_end_is_not_kept_for_ever() -> None:
    written: list[str] = []
    output = ProcessOutput("django", written.append, style="json")
    output.feed(b"x" * 70_000)
    assert json.loads(written[0])["message"] == "x" * 70_000
