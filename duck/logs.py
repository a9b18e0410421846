"""What Duck writes to the console: its own messages, a line for each request, and what the Django process prints.

Everything goes to standard error. Nothing that came from a client reaches it raw: control characters are written as
`\\x1b`, so that a request can neither start a line of its own nor steer the terminal.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TextIO

_UNSAFE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
_UNSAFE_BYTES: Final = re.compile(rb"[^ !#-\[\]-~]")
# Colours and bold are let through in what the project's own process prints; nothing else that a terminal obeys is.
_UNSAFE_OUTPUT: Final = re.compile(r"\x1b(?!\[[0-9;]*m)|[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f]")
_LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_MAX_LINE: Final = 64 * 1024

_RED, _GREEN, _YELLOW, _CYAN, _DIM = "31", "32", "33", "36", "2"
_VERSIONS: Final = {10: "HTTP/1.0", 11: "HTTP/1.1", 20: "HTTP/2"}


def to_console(text: str) -> None:
    """Write `text` to standard error; what cannot be written there (a closed pipe, a full disk) is lost."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except (OSError, ValueError):
        pass


def wants_colour(stream: TextIO, environ: Mapping[str, str] | None = None) -> bool:
    """Whether `stream` is a terminal that shows colours to somebody who wants them (https://no-color.org)."""
    environ = os.environ if environ is None else environ
    return not environ.get("NO_COLOR") and environ.get("TERM") != "dumb" and stream.isatty()


def configure(level: str = "info", style: str = "text", *, stream: TextIO | None = None) -> None:
    """Write the messages of every `duck.*` logger to `stream`, by default standard error; may be called again.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        style: `text` or `json`.
    """
    stream = sys.stderr if stream is None else stream
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if style == "json" else ConsoleFormatter(colour=wants_colour(stream)))
    logger = logging.getLogger("duck")
    for old in logger.handlers[:]:
        logger.removeHandler(old)
    logger.addHandler(handler)
    logger.setLevel(_LEVELS[level])
    logger.propagate = False


def escape(text: str) -> str:
    """`text` without characters that a terminal or a log reader would act upon; line feeds and tabs stay."""
    return _UNSAFE.sub(_escape_match, text)


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
            text = f"{_paint(record.levelname.lower(), colour, self._colour)}: {text}"
        stamp = time.strftime("[%H:%M:%S]", time.localtime(record.created))
        return f"{_paint(stamp, _DIM, self._colour)} {text}"


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


class _Entry(NamedTuple):
    """The arguments of `AccessLog.log`, on their way to a style."""

    client: str
    method: bytes
    target: bytes
    version: int
    status: int
    sent: int
    duration_s: float
    user_agent: bytes
    referer: bytes
    request_id: bytes
    backend: str
    error: str

    @property
    def request_line(self) -> str:
        return f"{_safe(self.method)} {_safe(self.target)} {_VERSIONS.get(self.version, '-')}"


class AccessLog:
    """Writes one line for each exchange, in one of four styles; `off` formats nothing.

    For the thread of one loop. With `defer` (a loop's `call_soon`) the lines of one turn leave in one write.
    """

    __slots__ = ("_colour", "_defer", "_format", "_lines", "_second", "_stamp", "_wall_clock", "_write", "is_enabled")

    def __init__(
        self,
        style: str,
        write: Callable[[str], object],
        *,
        colour: bool = False,
        defer: Callable[[Callable[[], None]], object] | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.is_enabled = style != "off"
        self._format = {
            "dev": self._dev,
            "text": self._text,
            "json": self._json,
            "combined": self._combined,
            "off": self._text,
        }[style]
        self._write = write
        self._colour = colour
        self._defer = defer
        self._wall_clock = wall_clock
        self._lines: list[str] = []
        self._second = -1
        self._stamp = ""

    def log(
        self,
        client: str,
        method: bytes,
        target: bytes,
        version: int,
        status: int,
        sent: int,
        duration_s: float,
        *,
        user_agent: bytes = b"",
        referer: bytes = b"",
        request_id: bytes = b"",
        backend: str = "",
        error: str = "",
    ) -> None:
        """Tell of one exchange that has ended.

        Args:
            client: its address, `""` for one at a Unix socket.
            version: 10, 11 or 20 (`duck.wire.head`).
            status: of the answer, 0 where none was sent.
            sent: bytes of the answer's body.
            backend: who answered; empty for Duck itself.
            error: why the answer failed or was cut.
        """
        if not self.is_enabled:
            return
        line = self._format(
            _Entry(
                client,
                method,
                target,
                version,
                status,
                sent,
                duration_s,
                user_agent,
                referer,
                request_id,
                backend,
                error,
            )
        )
        if self._defer is None:
            self._write(line + "\n")
            return
        if not self._lines:
            self._defer(self.flush)
        self._lines.append(line)

    def flush(self) -> None:
        """Write what was kept back for this turn of the loop."""
        if self._lines:
            lines, self._lines = self._lines, []
            lines.append("")
            self._write("\n".join(lines))

    def _dev(self, entry: _Entry) -> str:
        now = self._wall_clock()
        if int(now) != self._second:
            self._second = int(now)
            stamp = time.strftime("[%H:%M:%S]", time.localtime(now))
            self._stamp = _paint(stamp, _DIM, self._colour)
        shown = str(entry.status or "---")
        if self._colour:
            shown = _paint(shown, _status_colour(entry.status), True)
        what = f"{_safe(entry.method)} {_safe(entry.target)}"
        line = f"{self._stamp} {shown} {what} {_size(entry.sent)} {_duration(entry.duration_s)}"
        return f"{line} ({escape(entry.error)})" if entry.error else line

    def _text(self, entry: _Entry) -> str:
        return (
            f"{_utc(self._wall_clock())} {entry.client or '-'} {entry.request_line} {entry.status or '-'} {entry.sent} "
            f"{entry.duration_s:.6f} {_safe(entry.request_id) or '-'} {_quoted(entry.backend)} {_quoted(entry.error)}"
        )

    def _json(self, entry: _Entry) -> str:
        said: dict[str, Any] = {
            "time": _utc(self._wall_clock()),
            "client": entry.client,
            "method": entry.method.decode("latin-1"),
            "target": entry.target.decode("latin-1"),
            "protocol": _VERSIONS.get(entry.version, ""),
            "status": entry.status or None,
            "bytes": entry.sent,
            "duration_s": round(entry.duration_s, 6),
            "user_agent": entry.user_agent.decode("utf-8", "replace"),
            "referer": entry.referer.decode("utf-8", "replace"),
            "request_id": entry.request_id.decode("latin-1"),
            "backend": entry.backend,
        }
        if entry.error:
            said["error"] = entry.error
        return json.dumps(said)

    def _combined(self, entry: _Entry) -> str:
        now = self._wall_clock()
        if int(now) != self._second:
            self._second = int(now)
            moment = time.gmtime(now)
            # The month by hand: strftime would say it in the language of the machine.
            month = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")[
                moment.tm_mon - 1
            ]
            self._stamp = time.strftime(f"[%d/{month}/%Y:%H:%M:%S +0000]", moment)
        return (
            f'{entry.client or "unix:"} - - {self._stamp} "{entry.request_line}" {entry.status or "-"} {entry.sent} '
            f'"{_safe(entry.referer) or "-"}" "{_safe(entry.user_agent) or "-"}"'
        )


class ProcessOutput:
    """Puts a name before each line that a process prints; bytes come in as they are read from its pipe."""

    __slots__ = ("_json", "_prefix", "_rest", "_write", "name")

    def __init__(self, name: str, write: Callable[[str], object], *, style: str = "text", colour: bool = False) -> None:
        self.name = name
        self._write = write
        self._prefix = _paint(f"{name} |", _CYAN, colour) + " "
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
        return f"{self._prefix}{_UNSAFE_OUTPUT.sub(_escape_match, text)}\n"


def _paint(text: str, colour: str, wanted: bool) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m" if wanted else text


def _escape_match(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def _escape_byte(match: re.Match[bytes]) -> bytes:
    return b"\\x%02x" % match[0][0]


def _safe(value: bytes) -> str:
    """What a client sent, in printable ASCII without quotes and backslashes."""
    if _UNSAFE_BYTES.search(value) is not None:
        value = _UNSAFE_BYTES.sub(_escape_byte, value)
    return value.decode("ascii")


def _quoted(text: str) -> str:
    return f'"{_safe(text.encode("utf-8", "replace"))}"' if text else "-"


def _status_colour(status: int) -> str:
    if status >= 500 or status == 0:
        return _RED
    if status >= 400:
        return _YELLOW
    return _CYAN if status >= 300 or status < 200 else _GREEN


def _size(size: int) -> str:
    if size < 1000:
        return f"{size} B"
    if size < 1_000_000:
        return f"{size / 1000:.1f} kB"
    return f"{size / 1_000_000:.1f} MB"


def _duration(seconds: float) -> str:
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.1f} s"


def _utc(moment: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
    return f"{whole}.{int(moment % 1 * 1000):03d}Z"
