"""Inspector: recorded requests in the browser, below `/.duck/requests`.

    GET  /.duck/requests            the list; `path`, `method`, `status`, `files` choose
    GET  /.duck/requests/list.json  the same as JSON
    GET  /.duck/requests/17         one request
    GET  /.duck/requests/17.json    the same as JSON
    POST /.duck/requests/17/replay  send it again; the form of its page knows the proof that has to come along

Who may ask was decided before (`endpoints`). Nothing is changed by GET.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from duck.exceptions import DuckError
from duck.http.ducksight import inspection, request_pages
from duck.http.errors import error_answer
from duck.http.forms import parse_query
from duck.http.question import Question
from duck.wire.fields import get
from duck.wire.head import ResponseHead

if TYPE_CHECKING:
    import asyncio

    from duck.http.ducksight.inspection import Answer, Ask
    from duck.net.exchange import Exchange
    from duck.wire.fields import Fields

REQUESTS_PATH: Final = request_pages.PATH.encode()

# A replay is answered when the project has.
REPLAY_S: Final = 65.0
MAX_ROWS: Final = 500
_MAX_FORM_BYTES: Final = 1024
_READ: Final = (b"GET", b"HEAD")
_ONE: Final = re.compile(rb"/(\d{1,15})(\.json|/replay)?")
_ASSETS: Final = {
    b"/page.css": ("inspector.css", b"text/css; charset=utf-8"),
    b"/page.js": ("inspector.js", b"text/javascript; charset=utf-8"),
}
_FIELDS: Final[Fields] = [
    (b"Cache-Control", b"no-store"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"same-origin"),  # with none the form would come from the origin `null` (Fetch §3.2)
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
    (b"Cross-Origin-Opener-Policy", b"same-origin"),
    (b"Content-Security-Policy", request_pages.POLICY),
]


class Inspector:
    """Answers for one loop (`Handler`); what it tells is asked of all sites.

    Args:
        ask: see `inspection`.
        token: of the run; the proof is made of it.
        count: how many requests are kept.
    """

    def __init__(self, ask: Ask, token: str, loop: asyncio.AbstractEventLoop, count: int) -> None:
        self._ask = ask
        self._loop = loop
        self._count = count
        self._proof = hmac.digest(token.encode(), b"replay", hashlib.sha256).hex()

    def handle(self, exchange: Exchange) -> None:
        """Answer `exchange`, whose path is REQUESTS_PATH or below it."""
        request = exchange.request
        rest = request.path[len(REQUESTS_PATH) :]
        one = _ONE.fullmatch(rest)
        if one is not None and one[2] == b"/replay":
            if request.method == b"POST":
                exchange.read_body(_Form(exchange, lambda body: self._replay(exchange, int(one[1]), body)))
            else:
                _not_allowed(exchange, b"POST")
        elif request.method not in _READ:
            _not_allowed(exchange, b"GET, HEAD")
        elif rest in _ASSETS:
            name, kind = _ASSETS[rest]
            _answer(exchange, kind, _asset(name))
        elif rest in (b"", b"/list.json"):
            self._list(exchange, as_json=rest != b"")
        elif one is not None:
            self._show(exchange, int(one[1]), as_json=one[2] is not None)
        else:
            exchange.response.answer(*error_answer(404, request=request))

    # -- what is read ---------------------------------------------------------------------------------------------

    def _list(self, exchange: Exchange, *, as_json: bool) -> None:
        query = parse_query(exchange.request.query)
        wanted: dict[str, Any] = {name: query.get(name, "")[:200] for name in ("path", "method", "status")}
        wanted["files"] = query.get("files", "") not in ("", "0")
        tag = b""

        def tell(told: dict[str, Any]) -> None:
            if as_json:
                _answer_json(exchange, told)
            else:
                _answer_html(exchange, request_pages.list_page(told["requests"], wanted, self._count), tag)

        def look(told: dict[str, Any]) -> None:
            nonlocal tag
            if not told["busy"]:
                # What goes on changes with the time.
                tag = self._tag(exchange, told["version"])
                if get(exchange.request.fields, b"if-none-match") == tag:
                    head = ResponseHead(304, [(b"ETag", tag), *_FIELDS])
                    exchange.response.head(head)
                    exchange.response.end(None)
                    return
            self._question(exchange, {"do": inspection.LIST, "limit": MAX_ROWS, **wanted}, tell)

        self._question(exchange, {"do": inspection.VERSION}, look)

    def _tag(self, exchange: Exchange, version: int) -> bytes:
        """What a list is called, as it is now; of another run it is another."""
        said = b"%d %b" % (version, exchange.request.target)
        return b'"%b"' % hmac.digest(self._proof.encode(), said, hashlib.sha256).hex()[:32].encode()

    def _show(self, exchange: Exchange, number: int, *, as_json: bool) -> None:
        def tell(told: dict[str, Any]) -> None:
            if as_json:
                _answer_json(exchange, told)
            elif told["cannot_repeat"]:
                _answer_html(exchange, request_pages.request_page(told, "", ""))
            else:
                self._question(
                    exchange,
                    {"do": inspection.CURL, "id": number},
                    lambda more: _answer_html(exchange, request_pages.request_page(told, more["curl"], self._proof)),
                )

        self._question(exchange, {"do": inspection.SHOW, "id": number}, tell)

    # -- what is done ---------------------------------------------------------------------------------------------

    def _replay(self, exchange: Exchange, number: int, form: bytes) -> None:
        try:
            proof = parse_query(form, 8).get("proof", "")
        except DuckError:
            proof = ""
        if not hmac.compare_digest(proof.encode(), self._proof.encode()):
            sentence = "The form is not of this run of Duck: load its page again."
            exchange.response.answer(*error_answer(403, detail=sentence, request=exchange.request))
            return

        def tell(told: dict[str, Any]) -> None:
            where = b"%b/%d" % (REQUESTS_PATH, told["id"])
            exchange.response.answer(ResponseHead(303, [(b"Location", where), *_FIELDS], content_length=0), b"")

        self._question(exchange, {"do": inspection.REPLAY, "id": number}, tell, REPLAY_S)

    def _question(
        self,
        exchange: Exchange,
        question: dict[str, Any],
        tell: Callable[[dict[str, Any]], None],
        deadline_s: float | None = None,
    ) -> None:
        def answer(exchange: Exchange, told: Answer) -> None:
            if told is None:
                sentence = f"No request {question['id']} is kept any more."
                exchange.response.answer(*error_answer(404, detail=sentence, request=exchange.request))
            elif "error" in told and "id" not in told:
                exchange.response.answer(*error_answer(409, detail=told["error"], request=exchange.request))
            else:
                tell(told)

        Question(self._loop, exchange, answer, deadline_s).ask(lambda told: self._ask(question, told))


class _Form:
    """The body of a small form (a `BodySink`)."""

    def __init__(self, exchange: Exchange, done: Callable[[bytes], None]) -> None:
        self._exchange = exchange
        self._done = done
        self._body = b""
        self._is_refused = False

    def data(self, chunk: bytes) -> None:
        if not self._is_refused:
            self._body += chunk
            if len(self._body) > _MAX_FORM_BYTES:
                self._is_refused = True
                self._exchange.response.answer(*error_answer(413, request=self._exchange.request))

    def end(self, trailers: Fields | None) -> None:
        if not self._is_refused:
            self._done(self._body)

    def abort(self, error: Exception) -> None:
        if not self._is_refused and not self._exchange.is_over:
            self._exchange.response.abort(error)


@cache
def _asset(name: str) -> bytes:
    return Path(__file__).with_name(name).read_bytes()


def _answer(exchange: Exchange, kind: bytes, body: bytes, tag: bytes = b"") -> None:
    fields = [(b"Content-Type", kind), *_FIELDS, *([(b"ETag", tag)] if tag else ())]
    exchange.response.answer(ResponseHead(200, fields, content_length=len(body)), body)


def _answer_html(exchange: Exchange, page: str, tag: bytes = b"") -> None:
    _answer(exchange, b"text/html; charset=utf-8", page.encode("utf-8", "backslashreplace"), tag)


def _answer_json(exchange: Exchange, value: dict[str, Any]) -> None:
    _answer(exchange, b"application/json", json.dumps(value, indent=2).encode() + b"\n")


def _not_allowed(exchange: Exchange, methods: bytes) -> None:
    exchange.response.answer(*error_answer(405, request=exchange.request, fields=[(b"Allow", methods)]))
