"""Error answers of the application lane: HTML, text or JSON, as the client asks; with the traceback in DEBUG only."""

from __future__ import annotations

import json
from html import escape
from types import TracebackType
from typing import TYPE_CHECKING, Final

from duck.wire.fields import Fields, get_all
from duck.wire.render import TEXT, accepts_html, answer_head, error_heading, page, plain_error, reason

if TYPE_CHECKING:
    from duck.wire.head import RequestHead, ResponseHead

SENTENCES: Final = {
    400: "The request could not be understood.",
    401: "Authentication is needed.",
    403: "Access to this page is not allowed.",
    404: "There is nothing at this address.",
    405: "This address does not answer to that method.",
    406: "There is no answer in a form the client accepts.",
    408: "The request took too long to arrive.",
    410: "What was here has been removed.",
    411: "The request has to say how long it is.",
    413: "The request is larger than this server accepts.",
    414: "The address is longer than this server accepts.",
    415: "The request's content is of a type that is not accepted here.",
    416: "The range asked for lies outside the content.",
    417: "What the request expects cannot be met.",
    421: "This server does not answer for that host.",
    422: "The request was understood, but its content cannot be processed.",
    426: "This address is for WebSocket connections.",
    429: "Too many requests; please try again later.",
    431: "The fields of the request are larger than this server accepts.",
    500: "The server met an error and could not answer.",
    501: "The server does not know how to do that.",
    502: "The application behind this server did not answer correctly.",
    503: "The application behind this server is not ready; please try again soon.",
    504: "The application behind this server took too long to answer.",
    505: "This version of HTTP is not spoken here.",
}

JSON: Final = b"application/json"

# Fields whose values are credentials: a debug page is shown around, pasted into reports and kept in screenshots.
_SECRET_FIELDS: Final = frozenset((b"authorization", b"cookie", b"proxy-authorization", b"x-csrftoken"))

_MAX_SHOWN_BYTES: Final = 2000


def error_answer(
    status: int,
    *,
    title: str | None = None,
    detail: str | None = None,
    request: RequestHead | None = None,
    debug: bool = False,
    traceback: str | None = None,
    fields: Fields | None = None,
) -> tuple[ResponseHead, bytes]:
    """A complete answer that tells of an error.

    HTML where the client asks for it by name, JSON where it asks for that, plain text for the rest. Everything shown is
    escaped, and the answer is never stored.

    Args:
        title: heading; the status's phrase by default.
        detail: one or more sentences; a general one for the status by default.
        request: whose `Accept` decides, and what a debug page shows.
        debug: show `traceback` and the request. Without it both stay private.
        traceback: text as `traceback.format_exception` gives.
        fields: added to the head, as `Allow` or `Retry-After`.
    """
    title = reason(status) if title is None else title
    detail = SENTENCES.get(status, "The request could not be answered.") if detail is None else detail
    shown = traceback if debug else None
    wants_html = accepts_html(request)
    if not wants_html and _accepts_json(request):
        return _json_error(status, title, detail, shown, fields)
    if not wants_html:
        text = f"{status} {title}\n{detail}\n" + (f"\n{shown}" if shown else "")
        body = text.encode("utf-8", "backslashreplace")
        return answer_head(status, TEXT, body, fields=fields), body
    if not debug and title == reason(status):
        return plain_error(status, detail, True, fields=fields)
    parts = [error_heading(status, title), f"<p>{escape(detail)}</p>"]
    if shown:
        parts.append(f"<h2>Traceback</h2>\n<pre>{escape(shown)}</pre>")
    if debug and request is not None:
        parts.append(_request_table(request))
    if debug:
        parts.append("<footer>This page is shown because DEBUG is on.</footer>")
    body = page(f"{status} {title}", "\n".join(parts), wide=debug).encode("utf-8", "backslashreplace")
    return answer_head(status, b"text/html; charset=utf-8", body, fields=fields), body


def django_status(error: BaseException) -> int | None:
    """The status that Django gives an exception of its own, None for any other; asked by name, not imported."""
    for base in type(error).__mro__:
        status = _DJANGO_STATUSES.get(f"{base.__module__}.{base.__qualname__}")
        if status is not None:
            return status
    return None


_DJANGO_STATUSES: Final = {
    "django.http.response.Http404": 404,
    "django.core.exceptions.PermissionDenied": 403,
    "django.core.exceptions.BadRequest": 400,
    "django.core.exceptions.SuspiciousOperation": 400,
}


def format_traceback(error: BaseException, frames: TracebackType | None = None) -> str:
    """`error` with its causes, as the console shows it."""
    import traceback

    return "".join(traceback.format_exception(type(error), error, frames or error.__traceback__))


def _accepts_json(request: RequestHead | None) -> bool:
    if request is None:
        return False
    accepted = b",".join(get_all(request.fields, b"accept")).lower()
    return b"application/json" in accepted or b"+json" in accepted


def _json_error(
    status: int, title: str, detail: str, traceback: str | None, fields: Fields | None
) -> tuple[ResponseHead, bytes]:
    value: dict[str, object] = {"status": status, "title": title, "detail": detail}
    if traceback is not None:
        value["traceback"] = traceback.splitlines()
    body = json.dumps(value).encode("ascii") + b"\n"
    return answer_head(status, JSON, body, fields=fields), body


def _request_table(request: RequestHead) -> str:
    rows = [("method", request.method), ("target", request.target), ("scheme", request.scheme)]
    shown = [(name, _text(value)) for name, value in rows]
    for name, value in request.fields:
        secret = name.lower() in _SECRET_FIELDS
        shown.append((_text(name), "(hidden)" if secret else _text(value)))
    lines = "\n".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in shown)
    return f"<h2>Request</h2>\n<table>{lines}</table>"


def _text(value: bytes) -> str:
    return value[:_MAX_SHOWN_BYTES].decode("utf-8", "backslashreplace")
