"""The access log: a line for each exchange that has ended, whatever came of it. Hot code.

Nothing that came from a client reaches a line raw. Lines wait for each other, up to a tenth of a second, and leave in
writes of at most 4096 bytes: what several processes write to one pipe is not mixed up to that size (POSIX, PIPE_BUF).
A line costs 1.6 us as text, 1.2 as combined, 2.3 as JSON, and 1.2, 0.8, 1.1 compiled, the request's id included. What
cannot be written is lost, and no request fails of it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from duck.net.dev_lines import DevLines
from duck.net.log_text import SAFE, safe, safe_text

if TYPE_CHECKING:
    from duck.net.exchange import Exchange
    from duck.wire.head import FieldBlock

PIECE_BYTES: Final = 4096
DELAY_S: Final = 0.1

_METHODS: Final[dict[bytes, str]] = {
    method.encode(): method for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
}
_VERSIONS: Final[dict[int, str]] = {10: "HTTP/1.0", 11: "HTTP/1.1", 20: "HTTP/2", 0: "-"}
# Looked up, for to format a number costs 0.2 to 0.3 us, and more when compiled.
_THREE: Final = tuple([f"{number:03d}" for number in range(1000)])
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class ExchangeLog:
    """Tells of exchanges in one style; for the thread of one loop.

    Args:
        style: `dev`, `text`, `json` or `combined`.
        write: takes whole lines.
        later: calls back after so many seconds (a loop's `call_later`); None to write each line at once.
        quiet_path: what Duck itself answers there and below is not told.
        width, file_server: see `DevLines`.
    """

    __slots__ = (
        "_closed",
        "_delay_s",
        "_dev_lines",
        "_format",
        "_later",
        "_lines",
        "_names",
        "_quiet_path",
        "_second",
        "_size",
        "_stamp",
        "_style",
        "_wall_clock",
        "_write",
    )

    def __init__(
        self,
        style: str,
        write: Callable[[str], object],
        later: Callable[[float, Callable[[], None]], object] | None = None,
        *,
        colour: bool = False,
        quiet_path: bytes = b"",
        width: Callable[[], int] | None = None,
        file_server: str = "",
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._dev_lines = DevLines(self._keep, later, colour=colour, width=width, file_server=file_server)
        formats: dict[str, Callable[[Exchange, float], str]] = {
            "dev": self._dev_lines.of,
            "text": self._text,
            "json": self._json,
            "combined": self._combined,
        }
        self._style = style
        self._format = formats[style]
        self._write = write
        self._later = later
        # Who develops looks on.
        self._delay_s = 0.0 if style == "dev" else DELAY_S
        self._quiet_path = quiet_path
        self._wall_clock = wall_clock
        self._lines: list[str] = []
        self._names: dict[str, str] = {}
        self._size = 0
        self._second = -1
        self._stamp = ""
        self._closed = False

    def ended(self, exchange: Exchange) -> None:
        """Tell of `exchange`, which is over (`Server.on_exchange`)."""
        if self._quiet_path and not exchange.backend and exchange.request.path.startswith(self._quiet_path):
            return
        line = self._format(exchange, self._wall_clock())
        if line:
            self._keep(line)

    def _keep(self, line: str) -> None:
        """Write `line` with others that come soon."""
        lines = self._lines
        size = self._size + len(line) + 1
        if size > PIECE_BYTES and lines:
            self.flush()
            lines = self._lines
            size = len(line) + 1
        lines.append(line)
        self._size = size
        if len(lines) == 1:
            if self._later is None or self._closed:
                self.flush()
            else:
                self._later(self._delay_s, self.flush)

    def flush(self) -> None:
        """Write what was kept back."""
        lines = self._lines
        if not lines:
            return
        self._lines = []
        self._size = 0
        lines.append("")
        try:
            self._write("\n".join(lines))
        except (OSError, ValueError):
            pass  # nobody can be told either

    def close(self) -> None:
        """The loop ends: write what was kept back, and what still comes at once."""
        self._closed = True
        self._dev_lines.at_once()
        folded = self._dev_lines.unfold()
        if folded:
            self._keep(folded)
        self.flush()

    # -- styles ---------------------------------------------------------------------------------------------------

    def _text(self, exchange: Exchange, now: float) -> str:
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
        request = exchange.request
        method = _METHODS.get(request.method) or safe(request.method)
        backend = self._names.get(exchange.backend) or self._name(exchange.backend)
        error = exchange.error
        return (
            f"{self._stamp}{_THREE[int((now - second) * 1000)]}Z {exchange.peer.host or '-'} "
            f"{method} {safe(request.target)} {_VERSIONS[request.version]} {exchange.status or '-'} "
            f"{exchange.bytes_sent} {_seconds(exchange.ended_at - exchange.started)} {exchange.id.decode('ascii')} "
            f"{backend} {'-' if error is None else _quoted(str(error))}"
        )

    def _combined(self, exchange: Exchange, now: float) -> str:
        second = int(now)
        if second != self._second:
            self._second = second
            moment = time.gmtime(second)
            # The month by hand: strftime would say it in the language of the machine.
            self._stamp = time.strftime(f"[%d/{_MONTHS[moment.tm_mon - 1]}/%Y:%H:%M:%S +0000]", moment)
        request = exchange.request
        method = _METHODS.get(request.method) or safe(request.method)
        return (
            f'{exchange.peer.host or "unix:"} - - {self._stamp} "{method} {safe(request.target)} '
            f'{_VERSIONS[request.version]}" {exchange.status or "-"} {exchange.bytes_sent} '
            f'{self._agent(request.block)} "{exchange.id.decode("ascii")}"'
        )

    def _json(self, exchange: Exchange, now: float) -> str:
        second = int(now)
        if second != self._second:
            self._second = second
            self._stamp = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
        request = exchange.request
        method = _METHODS.get(request.method) or _json_of(request.method)[1:-1]
        backend = self._names.get(exchange.backend) or self._name(exchange.backend)
        wait = upstream = "null"
        if exchange.dispatched_at or exchange.waited_s:
            wait = _millis(exchange.waited_s)
        if exchange.dispatched_at:
            upstream = _millis((exchange.answered_at or exchange.ended_at) - exchange.dispatched_at)
        line = (
            f'{{"time":"{self._stamp}{_THREE[int((now - second) * 1000)]}Z","id":"{exchange.id.decode("ascii")}",'
            f'"client":"{exchange.peer.host}","method":"{method}","target":{_json_of(request.target)},'
            f'"protocol":"{_VERSIONS[request.version]}","status":{exchange.status or "null"},'
            f'"bytes":{exchange.bytes_sent},"duration_ms":{_millis(exchange.ended_at - exchange.started)},'
            f'"wait_ms":{wait},"upstream_ms":{upstream},"backend":{backend},{self._agent(request.block)}'
        )
        measure = exchange.measure
        if measure is not None:
            line += (
                f',"queries":{measure.queries},"database_ms":{_millis(measure.database_s)},'
                f'"template_ms":{_millis(measure.template_s)},"django_ms":{_millis(measure.django_s)}'
            )
        error = exchange.error
        return line + "}" if error is None else f'{line},"error":{_json_text(str(error))}}}'

    def _name(self, backend: str) -> str:
        """A backend's name as the style has it; there are few, but more with each generation."""
        if len(self._names) >= 64:
            self._names.clear()
        known = _json_text(backend) if self._style == "json" else _quoted(backend) if backend else "-"
        self._names[backend] = known
        return known

    def _agent(self, block: FieldBlock) -> str:
        """Referer and User-Agent; equal for all requests with this block, and kept with it."""
        known = block.agent
        if known is not None and known[0] is self._style:
            return known[1]
        referer = agent = b""
        for name, value in block.fields:
            lowered = name.lower()
            if lowered == b"referer":
                referer = referer or value
            elif lowered == b"user-agent":
                agent = agent or value
        if self._style == "json":
            text = f'"user_agent":{_json_of(agent)},"referer":{_json_of(referer)}'
        else:
            text = f'"{safe(referer) or "-"}" "{safe(agent) or "-"}"'
        block.agent = (self._style, text)
        return text


def _seconds(seconds: float) -> str:
    micros = int(seconds * 1e6 + 0.5)
    millis = micros // 1000
    return f"{millis // 1000}.{_THREE[millis % 1000]}{_THREE[micros % 1000]}"


def _millis(seconds: float) -> str:
    micros = int(seconds * 1e6 + 0.5)
    return f"{micros // 1000}.{_THREE[micros % 1000]}"


def _quoted(text: str) -> str:
    return f'"{safe_text(text)}"'


def _json_of(value: bytes) -> str:
    """`value` as a JSON string of ASCII; a byte that is no ASCII is the character of its number."""
    if value.translate(None, SAFE):
        return _json_text(value.decode("latin-1"))
    return f'"{value.decode("ascii")}"'


def _json_text(text: str) -> str:
    return json.dumps(text).replace("\x7f", "\\u007f")
