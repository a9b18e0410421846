"""What Duck writes to the console."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from duck.logs import ConsoleFormatter, ProcessOutput, configure, wants_colour


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
