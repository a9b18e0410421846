"""A recorded request as a command for curl. Pure."""

from __future__ import annotations

import base64
import re
import shlex
from typing import TYPE_CHECKING, Final

from duck.exceptions import DuckError
from duck.http.ducksight.access import host_of, is_loopback_name
from duck.http.ducksight.masking import mask_field, mask_url
from duck.http.ducksight.shown_body import mask_body
from duck.wire.fields import HOP_BY_HOP, get

if TYPE_CHECKING:
    from duck.http.ducksight.recording import Recording

# curl writes them by itself.
_LEFT_OUT: Final = HOP_BY_HOP | {b"host", b"content-length", b"expect", b"accept-encoding"}
# And these, where nobody says that they are not to be.
_ADDED: Final = ("User-Agent", "Accept")
# Of a longer argument Linux makes an error (MAX_ARG_STRLEN is 128 KiB).
_MAX_ARGUMENT: Final = 65_536
_ODD: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


class CannotRepeat(DuckError):
    """A recorded request cannot be sent again; the message says why, as a sentence."""


def body_of(recording: Recording) -> bytes:
    """The whole body of a request that may be sent again.

    Raises:
        CannotRepeat: it is not here, or it is a WebSocket's.
    """
    body = recording.body
    if recording.is_socket:
        raise CannotRepeat(f"Request {recording.id} opens a WebSocket, which cannot be sent again.")
    if body.is_whole:
        return body.data
    if not body.ended:
        raise CannotRepeat(f"The body of request {recording.id} was not read to its end, so it cannot be sent again.")
    raise CannotRepeat(
        f"Of the body of request {recording.id} only the first {body.kept} of {body.size} bytes are kept,"
        " so it cannot be sent again."
    )


def curl(recording: Recording, *, with_secrets: bool = False) -> str:
    """A command line for a shell that sends the same request; its secrets are hidden, unless they are asked for.

    Raises:
        CannotRepeat: see `body_of`.
    """
    body = body_of(recording)
    request, peer = recording.request, recording.peer
    if body and not with_secrets:
        body = mask_body(body, request.fields)
    method = request.method.decode("ascii", "replace")
    target, authority = _ascii(request.target), _ascii(request.authority)
    url = f"{peer.scheme.decode()}://{authority or f'{peer.server_host}:{peer.server_port}'}"
    words = ["curl"]
    if target == "*":
        words += ["--request-target", "'*'"]
    else:
        url += target if with_secrets else mask_url(target)
    if method == "HEAD":
        words.append("--head")
    elif method != ("POST" if body else "GET"):
        words += ["-X", _quote(method)]
    if any(mark in url for mark in "[]{}"):
        words.append("--globoff")
    if "/." in target:
        words.append("--path-as-is")
    if not (is_loopback_name(request.authority) or host_of(request.authority) in (b"", peer.server_host.encode())):
        # The name leads elsewhere, or nowhere.
        host = f"[{peer.server_host}]" if ":" in peer.server_host else peer.server_host
        words += ["--connect-to", _quote(f"::{host}:{peer.server_port}")]
    words.append(_quote(url))
    lines = [" ".join(words)]
    for name, value in request.fields:
        if name.lower() not in _LEFT_OUT:
            lines.append(f"-H {_quote(_field(_text(name), _text(value), with_secrets))}")
    lines += [f"-H '{name}:'" for name in _ADDED if get(request.fields, name.lower().encode()) is None]
    if b"gzip" in (get(request.fields, b"accept-encoding") or b""):
        lines.append("--compressed")
    before = ""
    if body:
        if get(request.fields, b"content-type") is None:
            lines.append("-H 'Content-Type:'")  # curl would say that it is a form
        text = _text(body)
        quoted = "" if len(body) > _MAX_ARGUMENT else _quote(text)
        if quoted and len(quoted) <= 2 * _MAX_ARGUMENT and "\0" not in text:
            lines.append(f"--data-raw {quoted}")
        else:
            before = f"printf %s {base64.b64encode(body).decode()} | base64 -d |\n"
            lines.append("--data-binary @-")
    return before + " \\\n  ".join(lines)


def _field(name: str, value: str, with_secrets: bool) -> str:
    shown = value if with_secrets else mask_field(name, value)
    return f"{name}: {shown}" if shown else f"{name};"  # with a colon curl would leave it out


def _ascii(value: bytes) -> str:
    return "".join(chr(byte) if 32 < byte < 127 else f"%{byte:02X}" for byte in value)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _quote(text: str) -> str:
    """For a shell; what a terminal would obey, or is no text, as numbers (`$'...'`: bash, zsh, ksh)."""
    if not _ODD.search(text):
        return shlex.quote(text)
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return "$'" + _ODD.sub(_number, escaped) + "'"


def _number(match: re.Match[str]) -> str:
    return "".join(f"\\x{byte:02x}" for byte in match[0].encode("utf-8", "surrogateescape"))
