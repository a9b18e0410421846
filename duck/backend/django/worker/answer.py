"""What a WSGI application answered, as parts of a HEAD frame. Hot code, pure."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional, Tuple

Headers = List[Tuple[str, str]]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_STATUS = re.compile(r"([1-9][0-9][0-9])(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?")
# Everything a field line may hold; what is left after deleting it must not be there.
_ALLOWED = bytes(code for code in range(256) if code == 9 or (code > 31 and code != 127))

_PLAIN = 0
_DROPPED = 1  # of one connection (RFC 9110 §7.6.1): the front's business
_LENGTH = 2
_COOKIE = 3  # Django puts a space before it

_HOP_BY_HOP = (
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
)
_MAX_CACHED = 1024
_MAX_LINE = 256

_kinds: Dict[str, int] = {}
_lines: Dict[Tuple[str, str], bytes] = {}  # rendered; most headers of a project's answers are the same each time
_statuses: Dict[str, Tuple[int, bytes]] = {}


class AnswerError(Exception):
    """The application's status or headers are none that HTTP can carry."""


def parse_status(status: str) -> Tuple[int, bytes]:
    """Code and reason of a WSGI status line.

    Raises:
        AnswerError: it is none, or an interim one, which an application cannot send.
    """
    known = _statuses.get(status)
    if known is None:
        match = _STATUS.fullmatch(status) if isinstance(status, str) else None
        if match is None or match[1] < "200":
            raise AnswerError(f"the application's status is {status!r}; it must be like '200 OK'")
        try:
            known = int(match[1]), (match[2] or "").encode("latin-1")
        except UnicodeEncodeError:
            known = int(match[1]), b""
        if len(_statuses) < _MAX_CACHED:
            _statuses[status] = known
    return known


def render_headers(headers: Headers, status: int) -> Tuple[bytes, Optional[int]]:
    """The field lines of `headers` without hop-by-hop ones, and the declared Content-Length.

    Raises:
        AnswerError: a name is no token, or a value holds CR, LF, NUL or another control character.
    """
    lines: List[bytes] = []
    length: Optional[int] = None
    for name, value in headers:
        line = _lines.get((name, value))
        if line is None:
            kind = _kinds.get(name)
            if kind is None:
                kind = _kind_of(name)
            if kind == _DROPPED:
                continue
            if kind == _LENGTH:
                previous, length = length, _parse_length(str(value))
                if previous is not None:
                    if previous != length:
                        raise AnswerError(f"the application's Content-Length is both {previous} and {length}")
                    continue
                # A 204 has no length (RFC 9110 §8.6); a 304 tells the length of what is not sent, and Django says 0.
                if status == 204 or (status == 304 and not length):
                    length = None
                    continue
                line = b"%b: %d\r\n" % (name.encode(), length)
            else:
                line = _render_line(name, value, kind)
        lines.append(line)
    return b"".join(lines), length


def _render_line(name: str, value: Any, kind: int) -> bytes:
    text = value.lstrip(" ") if kind == _COOKIE else value
    try:
        line = f"{name}: {text}".encode("latin-1")
    except UnicodeEncodeError as error:
        raise AnswerError(f"a header of the application is not Latin-1: {error.object[error.start]!r}") from None
    if line.translate(None, _ALLOWED):
        raise AnswerError(f"a header of the application holds a control character: {line.decode('latin-1')!r}")
    line += b"\r\n"
    # Only true strings: 1 and True are equal as keys, and not as headers.
    if kind == _PLAIN and len(line) <= _MAX_LINE and type(value) is str:
        if len(_lines) >= _MAX_CACHED:
            _lines.clear()
        _lines[name, value] = line
    return line


def _kind_of(name: Any) -> int:
    if not isinstance(name, str) or _TOKEN.fullmatch(name) is None:
        raise AnswerError(f"a header name of the application is {name!r}, which is no token")
    lower = name.lower()
    if lower in _HOP_BY_HOP:
        kind = _DROPPED
    elif lower == "content-length":
        kind = _LENGTH
    else:
        kind = _COOKIE if lower == "set-cookie" else _PLAIN
    if len(_kinds) < _MAX_CACHED:
        _kinds[name] = kind
    return kind


def _parse_length(value: str) -> int:
    digits = value.strip(" \t")
    if not digits.isascii() or not digits.isdigit():
        raise AnswerError(f"the application's Content-Length is {value!r}; it must be a number of bytes")
    return int(digits)
