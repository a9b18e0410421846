"""What one request and one response say before their bodies, the same for every HTTP version."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from duck.wire.fields import Fields, parse_fields, render_fields

HTTP_10: Final = 10
HTTP_11: Final = 11
HTTP_2: Final = 20

# Of the target of a request that could not be understood, in bytes.
MAX_TOLD: Final = 1024

REASONS: Final[dict[int, bytes]] = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
REASONS[413] = b"Content Too Large"
REASONS[414] = b"URI Too Long"
REASONS[416] = b"Range Not Satisfiable"
REASONS[422] = b"Unprocessable Content"


class FieldBlock:
    """The field lines of one HTTP/1.1 request, and what they say; never changed, so that equal blocks may share one.

    Attributes:
        fields: names and values in order, `Host` included.
        lines: the same lines as received, without their ends; None where they are not the client's own.
        cookie_at: index of the field whose value was taken out, empty here and in `RequestHead.cookie`; -1 for none.
        authority: the value of `Host`, or None.
        content_length: the body's length in bytes; 0 for none, None where only its end tells.
        hops: indexes of what ends at this connection (RFC 9110 §7.6.1), ascending; `Connection`-named ones aside.
        claims: indexes of what only a trusted proxy may say: `Forwarded`, `X-Forwarded-*`, `X-Real-IP`, `X-Request-ID`,
            `Proxy`, and every name with an underscore, which CGI could not tell from one with a hyphen; ascending.
        connection_named: lower-case names that `Connection` lists: these fields end here, too.
        close, keep_alive: `Connection` says so.
        expects_continue: `Expect: 100-continue`.
        upgrade: the value of `Upgrade` when `Connection` names it, else None.
        accepts_trailers: `TE: trailers`.
        http_lines, http_tail, link_items, link_tail: what is sent on to a backend, before the value that was taken out
            and behind it, kept by proxy.rules once it was made.
        agent: what an access log says of the client's program, and in which style, kept by net.exchange_log.
        asks_plainly, accept_encoding: whether nothing else decides about the answer with a file, kept by http.files.
    """

    __slots__ = (
        "accept_encoding",
        "accepts_trailers",
        "agent",
        "asks_plainly",
        "authority",
        "chunked",
        "claims",
        "close",
        "connection_named",
        "content_length",
        "cookie_at",
        "expects_continue",
        "fields",
        "hops",
        "http_lines",
        "http_tail",
        "keep_alive",
        "lines",
        "link_items",
        "link_tail",
        "upgrade",
    )

    def __init__(self, fields: Fields, lines: list[bytes] | None = None) -> None:
        self.fields = fields
        self.lines = lines
        self.authority: bytes | None = None
        self.content_length: int | None = 0
        self.chunked = False
        self.hops: list[int] = []
        self.claims: list[int] = []
        self.connection_named: tuple[bytes, ...] = ()
        self.close = False
        self.keep_alive = False
        self.expects_continue = False
        self.upgrade: bytes | None = None
        self.accepts_trailers = False
        self.cookie_at = -1
        self.http_lines: bytes | None = None
        self.http_tail = b""
        self.link_items: bytes | None = None
        self.link_tail = b""
        self.agent: tuple[str, str] | None = None
        self.asks_plainly: bool | None = None
        self.accept_encoding: bytes | None = None


class RequestHead:
    """One request, before its body (RFC 9110 §6, §9); a connection's next equal one may be the same object.

    Attributes:
        method: as received; methods are case-sensitive.
        target: origin-form bytes as received (`/path?query`), or `*`. An absolute-form target has been split already.
        path, query: `target` cut at its first `?`; still percent-encoded. `query` has no `?`.
        scheme: `b"http"` or `b"https"`: of the connection, never of the target.
        authority: host and port as the client named them; `b""` only under HTTP/1.0.
        version: HTTP_10, HTTP_11 or HTTP_2.
        block: the field lines and what they say, the value of `cookie` aside.
        cookie: the value of the field at `block.cookie_at` as received, with the space around it.
        content_length: the body's length in bytes; 0 for no body, None where only its end will tell (chunked, HTTP/2).
        keep_alive: whether the client is ready for another request on this connection.
        expects_continue: `Expect: 100-continue` on a request with a body.
        upgrade: the value of `Upgrade` when `Connection` names it, else None.
    """

    __slots__ = (
        "_fields",
        "authority",
        "block",
        "content_length",
        "cookie",
        "expects_continue",
        "keep_alive",
        "method",
        "path",
        "query",
        "scheme",
        "target",
        "upgrade",
        "version",
    )

    def __init__(
        self,
        method: bytes,
        target: bytes,
        fields: Fields | FieldBlock,
        cookie: bytes = b"",
        *,
        scheme: bytes = b"http",
        authority: bytes = b"",
        version: int = HTTP_11,
        content_length: int | None = 0,
        keep_alive: bool = True,
        expects_continue: bool = False,
        upgrade: bytes | None = None,
    ) -> None:
        self.method = method
        self.target = target
        self.path, _, self.query = target.partition(b"?")
        self.block = fields if isinstance(fields, FieldBlock) else FieldBlock(fields)
        self.cookie = cookie
        self._fields: Fields | None = None
        self.scheme = scheme
        self.authority = authority
        self.version = version
        self.content_length = content_length
        self.keep_alive = keep_alive
        self.expects_continue = expects_continue
        self.upgrade = upgrade

    def copy(self) -> RequestHead:
        """The same, to be changed."""
        return RequestHead(
            self.method,
            self.target,
            self.block,
            self.cookie,
            scheme=self.scheme,
            authority=self.authority,
            version=self.version,
            content_length=self.content_length,
            keep_alive=self.keep_alive,
            expects_continue=self.expects_continue,
            upgrade=self.upgrade,
        )

    @property
    def fields(self) -> Fields:
        """Names and values in order, `Host` included (exactly one under HTTP/1.1); never to be changed in place."""
        fields = self._fields
        if fields is None:
            fields = self.block.fields
            if self.cookie:
                at = self.block.cookie_at
                fields = fields.copy()
                fields[at] = (fields[at][0], self.cookie.strip())
            self._fields = fields
        return fields

    @property
    def lines(self) -> list[bytes] | None:
        """The field lines as received, without their ends; None where they are not the client's own."""
        lines = self.block.lines
        if self.cookie and lines is not None:
            at = self.block.cookie_at
            lines = lines.copy()
            lines[at] += self.cookie
        return lines

    @property
    def accepts_trailers(self) -> bool:
        """`TE: trailers` was sent."""
        return self.block.accepts_trailers

    def __repr__(self) -> str:
        return f"<RequestHead {self.method!r} {self.target!r} of {self.authority!r}>"


def told_head(method: bytes, target: bytes, version: int) -> RequestHead:
    """The head that stands for one that could not be understood, for the log: `-` for what it does not say."""
    return RequestHead(method or b"-", target[:MAX_TOLD] or b"-", [], version=version)


class ResponseHead:
    """One response, before its body (RFC 9110 §15).

    Its fields come as rendered lines (`block`) or as pairs (`fields`); either is made from the other when asked for,
    so that what is only passed on is never taken apart. Both hold end-to-end fields only: no `Connection`,
    `Keep-Alive`, `Transfer-Encoding`, `Trailer`, `Upgrade`; `Content-Length` may be there, and equals `content_length`.

    Attributes:
        content_length: length of the body in bytes where known. For HEAD and 304: of the body that is not sent.
        reason: the reason phrase, without meaning (RFC 9112 §4).
        has_date, has_length: whether those fields are there; None: to be looked for.
        is_shared: many answers go with this one object, and nobody changes it: whoever would takes a `copy`.
        sent, sent_date: of a shared head: its bytes as they were sent last, and the `Date` of that, by wire.answer.
        sent_h2, sent_h2_date: the same as a field block of HTTP/2.
    """

    __slots__ = (
        "_block",
        "_fields",
        "content_length",
        "has_date",
        "has_length",
        "is_shared",
        "reason",
        "sent",
        "sent_date",
        "sent_h2",
        "sent_h2_date",
        "status",
    )

    def __init__(
        self,
        status: int,
        fields: Fields | None = None,
        *,
        block: bytes | None = None,
        content_length: int | None = None,
        reason: bytes | None = None,
    ) -> None:
        self.status = status
        self.reason = REASONS.get(status, b"Unknown") if reason is None else reason
        self.content_length = content_length
        self._block = block
        self._fields = fields if fields is not None or block is not None else []
        self.has_date: bool | None = None
        self.has_length: bool | None = None
        self.is_shared = False
        self.sent = b""
        self.sent_date = b""
        self.sent_h2 = b""
        self.sent_h2_date = b""

    def copy(self) -> ResponseHead:
        """The same, to be changed."""
        copy = ResponseHead(
            self.status, self._fields, block=self._block, content_length=self.content_length, reason=self.reason
        )
        copy.has_date = self.has_date
        copy.has_length = self.has_length
        return copy

    @property
    def block(self) -> bytes:
        """The fields as lines with their CRLFs."""
        block = self._block
        if block is None:
            block = self._block = render_fields(self._fields or ())
        return block

    @property
    def fields(self) -> Fields:
        """The fields as pairs: assign a new list to change them; do not change the list in place."""
        fields = self._fields
        if fields is None:
            parsed = parse_fields(self._block or b"")
            if parsed is None:
                raise AssertionError(f"a block that is not field lines: {self._block!r}")
            fields = self._fields = parsed
        return fields

    @fields.setter
    def fields(self, fields: Fields) -> None:
        if self.is_shared:
            raise AssertionError("a head that others send as well is not to be changed: take a copy")
        self._fields = fields
        self._block = None
        self.has_date = self.has_length = None

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status} length={self.content_length}>"
