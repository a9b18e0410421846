"""What Duck writes to the console."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from duck import logs
from duck.logs import ConsoleFormatter, ProcessOutput, configure, hold_back, release, to_console, wants_colour


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colours_are_for_terminals_of_those_who_want_them() -> None:
    assert wants_colour(Terminal(), {})
    assert not wants_colour(io.StringIO(), {})
    assert not wants_colour(Terminal(), {"NO_COLOR": "1"})
    assert not wants_colour(Terminal(), {"TERM": "dumb"})
    assert wants_colour(Terminal(), {"NO_COLOR": ""})


def test_messages_are_plain_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    configure("info", stream=stream)
    configure("info", stream=stream)
    logging.getLogger("duck.net").warning("the port %d is odd", 81)
    logging.getLogger("duck.net").debug("not shown")
    assert stream.getvalue()[10:] == " warning: the port 81 is odd\n"


def test_a_line_feed_in_a_message_begins_no_line_of_its_own() -> None:
    record = logging.LogRecord("duck", logging.INFO, "", 0, "from %s", ("a\n[12:00:00] forged\x1b[2J",), None)
    assert ConsoleFormatter().format(record)[10:] == " from a\n    [12:00:00] forged\\x1b[2J"


def test_json_messages_carry_their_traceback() -> None:
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


def test_a_python_warning_is_marked_at_a_terminal() -> None:
    written: list[str] = []
    ProcessOutput("django", written.append, colour=True).feed(b"warning: shop/views.py:1: UserWarning: hm\nwarnings\n")
    assert written == ["\x1b[36mdjango |\x1b[0m \x1b[33mwarning:\x1b[0m shop/views.py:1: UserWarning: hm\n"
                       "\x1b[36mdjango |\x1b[0m warnings\n"]  # fmt: skip


class TestHeldBack:
    """What is written while a debugger has the terminal."""

    @pytest.fixture(autouse=True)
    def _released(self) -> Iterator[None]:
        yield
        release()

    def test_lines_and_messages_wait_and_come_in_their_order(self, capsys: pytest.CaptureFixture[str]) -> None:
        configure("info")
        hold_back()
        hold_back()
        to_console("one\n")
        logging.getLogger("duck.app").info("two")
        to_console("(Pdb) ", at_once=True)
        assert capsys.readouterr().err == "(Pdb) "
        release()
        first, second = capsys.readouterr().err.splitlines()
        assert (first, second[11:]) == ("one", "two")
        release()
        to_console("three\n")
        assert capsys.readouterr().err == "three\n"

    def test_what_waits_is_bounded_and_what_is_lost_is_told(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(logs, "_MAX_HELD", 2)
        hold_back()
        for number in range(5):
            to_console(f"{number}\nmore\n")
        release()
        assert capsys.readouterr().err == "(6 lines before these are not shown.)\n3\nmore\n4\nmore\n"
