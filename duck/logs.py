"""What Duck writes to the console: its own messages, and what the Django process prints.

The line of each request is written by `duck.net.exchange_log`.

Everything goes to standard error. Nothing that came from a client reaches it raw: control characters are written as
`\\x1b`, so that a request can neither start a line of its own nor steer the terminal.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Final, TextIO

_UNSAFE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
# Colours and bold are let through in what the project's own process prints; nothing else that a terminal obeys is.
_UNSAFE_OUTPUT: Final = re.compile(r"\x1b(?!\[[0-9;]*m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]")
_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_MAX_LINE: Final = 64 * 1024

# What a Django process in development begins a Python warning with (backend.django.worker.attribution).
_WARNING: Final = "warning:"

_RED, _YELLOW, _CYAN, _DIM = "31", "33", "36", "2"


def to_console(text: str, *, at_once: bool = False) -> None:
    """Write `text` to standard error; what cannot be written there (a closed pipe, a full disk) is lost.

    It waits while `hold_back` counts, unless it is to be shown `at_once`. For any thread.
    """
    if not at_once and _held.keep(text):
        return
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):
        pass


def hold_back() -> None:
    """Keep what is written to the console until `release`: somebody types there."""
    _held.begin()


def release() -> None:
    """Write what was held back; nothing where nothing was."""
    text = _held.end()
    if text:
        to_console(text, at_once=True)


class _Held:
    """What waits for the console: its end, where it is too much."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._is_on = False
        self._texts: deque[str] | None = None
        self._lost = 0

    def begin(self) -> None:
        with self._lock:
            if self._texts is None:
                self._texts = deque()
                self._lost = 0
                self._is_on = True

    def keep(self, text: str) -> bool:
        """Whether `text` waits."""
        if not self._is_on:
            return False
        with self._lock:
            if self._texts is None:
                return False
            if len(self._texts) >= _MAX_HELD:
                self._lost += self._texts.popleft().count("\n")
            self._texts.append(text)
            return True

    def end(self) -> str:
        with self._lock:
            self._is_on = False
            texts, self._texts = self._texts, None
        lost = [f"({self._lost} lines before these are not shown.)\n"] if self._lost and texts else []
        return "".join([*lost, *(texts or ())])


_MAX_HELD: Final = 1000
_held: Final = _Held()


class _Console:
    """`to_console` as a stream."""

    def write(self, text: str) -> None:
        to_console(text)

    def flush(self) -> None:
        """Nothing waits but what is held back."""


def wants_colour(stream: TextIO, environ: Mapping[str, str] | None = None) -> bool:
    """Whether `stream` is a terminal that shows colours to somebody who wants them (https://no-color.org)."""
    environ = os.environ if environ is None else environ
    return not environ.get("NO_COLOR") and environ.get("TERM") != "dumb" and stream.isatty()


def console_width() -> int:
    """How many columns the terminal on standard error has; 0 where there is none."""
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns
    except (OSError, ValueError, AttributeError):
        return 0


def configure(level: str = "info", style: str = "text", *, stream: TextIO | None = None) -> None:
    """Write the messages of every `duck.*` logger to `stream`, by default standard error; may be called again.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        style: `text` or `json`.
    """
    handler = logging.StreamHandler(_Console() if stream is None else stream)
    colour = wants_colour(sys.stderr if stream is None else stream)
    handler.setFormatter(JsonFormatter() if style == "json" else ConsoleFormatter(colour=colour))
    logger = logging.getLogger("duck")
    for old in logger.handlers[:]:
        logger.removeHandler(old)
    logger.addHandler(handler)
    logger.setLevel(_LEVELS[level])
    logger.propagate = False


def escape(text: str) -> str:
    """`text` without characters that a terminal or a log reader would act upon; line feeds and tabs stay."""
    return _UNSAFE.sub(_escape_match, text)


def escape_output(text: str) -> str:
    """What a process printed, without what a terminal acts upon; line feeds, tabs and colours stay."""
    return _UNSAFE_OUTPUT.sub(_escape_match, text)


class ConsoleFormatter(logging.Formatter):
    """`[12:00:01] message`; a warning or error says so, and further lines are indented."""

    def __init__(self, *, colour: bool = False) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        """One message, with its traceback."""
        text = record.getMessage()
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        # A line feed from outside cannot begin a line that looks like one of ours.
        text = escape(text).replace("\n", "\n    ")
        if record.levelno >= logging.WARNING:
            colour = _RED if record.levelno >= logging.ERROR else _YELLOW
            text = f"{paint(record.levelname.lower(), colour, self._colour)}: {text}"
        stamp = time.strftime("[%H:%M:%S]", time.localtime(record.created))
        return f"{paint(stamp, _DIM, self._colour)} {text}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """One message, with its traceback."""
        said: dict[str, Any] = {
            "time": _utc(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return json.dumps(said)


class ProcessOutput:
    """Puts a name before each line that a process prints; bytes come in as they are read from its pipe."""

    __slots__ = ("_colour", "_json", "_prefix", "_rest", "_write", "name")

    def __init__(self, name: str, write: Callable[[str], object], *, style: str = "text", colour: bool = False) -> None:
        self.name = name
        self._write = write
        self._prefix = paint(f"{name} |", _CYAN, colour) + " "
        self._colour = colour
        self._json = style == "json"
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Write the lines that `data` completes; what is left waits, 64 KiB of it at most."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _MAX_LINE:
            lines.append(self._rest)
            self._rest = b""
        if lines:
            self._write("".join(self._line(line) for line in lines))

    def close(self) -> None:
        """The process prints no more, or asks for something on the line that it has begun: write what is left."""
        if self._rest:
            self._write(self._line(self._rest))
            self._rest = b""

    def _line(self, line: bytes) -> str:
        text = line.decode("utf-8", "replace").rstrip("\r")
        if self._json:
            return json.dumps({"time": _utc(time.time()), "logger": self.name, "message": text}) + "\n"
        text = escape_output(text)
        if text.startswith(_WARNING):
            text = paint(_WARNING, _YELLOW, self._colour) + text[len(_WARNING) :]
        return f"{self._prefix}{text}\n"


def paint(text: str, colour: str, wanted: bool) -> str:
    """`text` in a colour of the terminal, where that is `wanted`."""
    return f"\x1b[{colour}m{text}\x1b[0m" if wanted else text


def _escape_match(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def _utc(moment: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
    return f"{whole}.{int(moment % 1 * 1000):03d}Z"
