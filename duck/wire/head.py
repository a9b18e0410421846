"""What one request and one response say before their bodies, the same for every HTTP version."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from duck.wire.fields import Fields, parse_fields, render_fields

HTTP_10: Final = 10
HTTP_11: Final = 11
HTTP_2: Final = 20

REASONS: Final[dict[int, bytes]] = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
REASONS[413] = b"Content Too Large"
REASONS[414] = b"URI Too Long"
REASONS[416] = b"Range Not Satisfiable"
REASONS[422] = b"Unprocessable Content"


class RequestHead:
    """One request, before its body (RFC 9110 §6, §9).

    Attributes:
        method: as received; methods are case-sensitive.
        target: origin-form bytes as received (`/path?query`), or `*`. An absolute-form target has been split already.
        path, query: `target` cut at its first `?`; still percent-encoded. `query` has no `?`.
        scheme: `b"http"` or `b"https"`: of the connection, never of the target.
        authority: host and port as the client named them; `b""` only under HTTP/1.0.
        version: HTTP_10, HTTP_11 or HTTP_2.
        fields: in order, `Host` included (exactly one under HTTP/1.1).
        content_length: the body's length in bytes; 0 for no body, None where only its end will tell (chunked, HTTP/2).
        keep_alive: whether the client is ready for another request on this connection.
        expects_continue: `Expect: 100-continue` on a request with a body.
        upgrade: the value of `Upgrade` when `Connection` names it, else None.
        accepts_trailers: `TE: trailers` was sent.
        connection_named: lower-case names that `Connection` lists: these fields end here, too.
        plain: no hop-by-hop field is present, so `fields` may cross a proxy as they are.
    """

    __slots__ = (
        "accepts_trailers",
        "authority",
        "connection_named",
        "content_length",
        "expects_continue",
        "fields",
        "keep_alive",
        "method",
        "path",
        "plain",
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
        fields: Fields,
        *,
        scheme: bytes = b"http",
        authority: bytes = b"",
        version: int = HTTP_11,
        content_length: int | None = 0,
        keep_alive: bool = True,
        expects_continue: bool = False,
        upgrade: bytes | None = None,
        accepts_trailers: bool = False,
        connection_named: tuple[bytes, ...] = (),
        plain: bool = False,
    ) -> None:
        self.method = method
        self.target = target
        self.path, _, self.query = target.partition(b"?")
        self.fields = fields
        self.scheme = scheme
        self.authority = authority
        self.version = version
        self.content_length = content_length
        self.keep_alive = keep_alive
        self.expects_continue = expects_continue
        self.upgrade = upgrade
        self.accepts_trailers = accepts_trailers
        self.connection_named = connection_named
        self.plain = plain

    @property
    def has_body(self) -> bool:
        """Whether a body follows; an empty chunked one counts until its end is seen."""
        return self.content_length != 0

    def __repr__(self) -> str:
        return f"<RequestHead {self.method!r} {self.target!r} of {self.authority!r}>"


class ResponseHead:
    """One response, before its body (RFC 9110 §15).

    Its fields come as rendered lines (`block`) or as pairs (`fields`); either is made from the other when asked for,
    so that what is only passed on is never taken apart. Both hold end-to-end fields only: no `Connection`,
    `Keep-Alive`, `Transfer-Encoding`, `Trailer`, `Upgrade`; `Content-Length` may be there, and equals `content_length`.

    Attributes:
        content_length: length of the body in bytes where known. For HEAD and 304: of the body that is not sent.
        reason: the reason phrase, without meaning (RFC 9112 §4).
    """

    __slots__ = ("_block", "_fields", "content_length", "reason", "status")

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
        self._fields = fields
        self._block = None

    def __repr__(self) -> str:
        return f"<ResponseHead {self.status} length={self.content_length}>"
