"""Injection: DuckSight's client put into the pages that a browser shows.

    ask       does a browser want a page? then its request goes on without codings, and without validators of pages
              that were changed here
    head      is the answer a page? then its fields are made to fit
    body      the tag is put in as the bytes pass (see `insertion`)

It is put into answers to GET of status 200 with `text/html` that a browser takes as a document: it says so itself
(`Sec-Fetch-Dest`, Fetch Metadata §2.1), or, where it says nothing of the kind, for it does so over HTTPS and to this
machine only, the answer begins like a whole page. Never into what scripts ask for, fragments, parts (ranges), answers
without a body, downloads, and what says `no-transform`. Error pages are pages, too: a view that fails is mended while
one looks at its error page, which has to go away by itself.
"""

from __future__ import annotations

import re
import secrets
import zlib
from typing import TYPE_CHECKING, Final

from duck.exceptions import BackendError
from duck.http.ducksight.client import CLIENT_PATH, version
from duck.http.ducksight.insertion import Insertion
from duck.http.ducksight.policy import is_sandboxed, widen
from duck.wire.field_block import with_fields
from duck.wire.fields import get, get_all, tokens
from duck.wire.render import accepts_html

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from duck.net.exchange import Exchange
    from duck.net.interfaces import Duplex, ResponseSink
    from duck.wire.fields import Fields
    from duck.wire.head import RequestHead, ResponseHead

# Where a browser shows what comes; `object` and `embed` are seldom pages, and never ones of their own.
_DESTINATIONS: Final = (b"document", b"iframe", b"frame")
# Libraries that ask for fragments say so: htmx, Turbo, Unpoly, Livewire; and jQuery, Prototype for all they ask.
_FRAGMENTS: Final = frozenset((b"hx-request", b"turbo-frame", b"x-up-version", b"x-livewire", b"x-requested-with"))
# Of a representation that is another one now (RFC 9110 §8.8, RFC 9530, RFC 1864).
_DROPPED: Final = frozenset(
    (
        b"content-length",
        b"last-modified",
        b"accept-ranges",
        b"content-md5",
        b"digest",
        b"content-digest",
        b"repr-digest",
    )
)
_POLICIES: Final = (b"content-security-policy", b"content-security-policy-report-only")
_ETAG: Final = re.compile(rb"(?:W/)?\"[\x21\x23-\x7e\x80-\xff]*\"")
_MAX_INFLATED: Final = 65_536
_GZIP: Final = 16 + zlib.MAX_WBITS
_GZIP_BEGIN: Final = b"\x1f\x8b"


class Injection:
    """What is injected at one moment.

    Args:
        token: of the run.
        at: what was told so far (see `channel`), asked for each answer.
        is_on: whether anything is injected at all, asked for each answer.
    """

    __slots__ = ("_at", "_is_on", "_token")

    def __init__(self, token: str, at: Callable[[], str], is_on: Callable[[], bool]) -> None:
        self._token = token
        self._at = at
        self._is_on = is_on

    def prepare(self, exchange: Exchange, *, is_own: bool) -> None:
        """Have the client put into the answer to `exchange`, should it turn out to be a page; before it is answered.

        Args:
            is_own: no page of another origin asks for it.
        """
        is_document = wants_page(exchange.request, is_own=is_own)
        if is_document is None or exchange.response is not exchange:
            return
        at = self._at()
        exchange.request = without_codings(exchange.request, at)
        exchange.wrap(lambda sink: PageSink(sink, self, exchange, at, is_document=is_document))

    @property
    def is_on(self) -> bool:
        """Whether anything is injected."""
        return self._is_on()

    def tag(self, at: str, status: int, nonce: str) -> bytes:
        """The client, as an element."""
        guarded = f' nonce="{nonce}"' if nonce else ""
        return (
            f'<script async src="{CLIENT_PATH.decode()}?v={version()}&amp;token={self._token}"{guarded}'
            f' data-duck-sight="{at} {status}"></script>'
        ).encode("ascii")


def wants_page(request: RequestHead, *, is_own: bool) -> bool | None:
    """Whether a browser has said that it takes the answer as a page; False where it may, None where it does not."""
    if request.method != b"GET" or request.upgrade is not None:
        return None
    destination, asks_for_part, is_asked_by_script = b"", False, False
    for name, value in request.fields:
        lowered = name.lower()
        if lowered == b"sec-fetch-dest":
            destination = value.lower()
        elif lowered == b"range":
            asks_for_part = True
        elif lowered in _FRAGMENTS:
            is_asked_by_script = True
    if asks_for_part:
        return None
    if destination:
        return True if destination in _DESTINATIONS else None
    return False if is_own and not is_asked_by_script and accepts_html(request) else None


def without_codings(request: RequestHead, at: str) -> RequestHead:
    """`request`, which others may share, as it is sent on: without codings, for none is wanted; and with validators of
    the page as Django knows it.
    """
    fields: Fields = []
    for name, value in request.fields:
        lowered = name.lower()
        if lowered in (b"accept-encoding", b"if-modified-since"):
            continue
        if lowered == b"if-none-match":
            value = known_tags(value, at)
            if not value:
                continue
        fields.append((name, value))
    fields.append((b"Accept-Encoding", b"identity"))  # without the field any coding would be acceptable
    return with_fields(request, fields)


def own_tag(tag: bytes, at: str) -> bytes:
    """The validator of a page with the client in it, as it was at `at`; anything but one validator is dropped."""
    return tag[:-1] + b";duck=" + at.encode() + b'"' if _ETAG.fullmatch(tag) else b""


def known_tags(value: bytes, at: str) -> bytes:
    """Of the validators in `value`, an If-None-Match, those of pages as they were at `at`, as Django knows them.

    A page from before is to be sent again, for it would load itself again at once.
    """
    end = b";duck=" + at.encode() + b'"'
    found = [tag[: -len(end)] + b'"' for tag in _ETAG.findall(value) if tag.endswith(end)]
    return b", ".join(found)


def is_page(head: ResponseHead) -> bool:
    """Whether `head` begins an answer that a browser shows as a page, and that may be changed."""
    if head.status != 200 and head.status < 400:
        return False
    fields = head.fields
    kind = (get(fields, b"content-type") or b"").lower()
    media, _, parameters = kind.partition(b";")
    # UTF-16 and UTF-32, whose pages no tag in ASCII fits into.
    if media.strip() != b"text/html" or b"utf-16" in parameters or b"utf-32" in parameters:
        return False
    if (get(fields, b"content-disposition") or b"").strip().lower().startswith(b"attachment"):
        return False
    if b"no-transform" in tokens(get_all(fields, b"cache-control")) or get(fields, b"content-range") is not None:
        return False
    # What is encoded against our word is left as it is where the standard library cannot decode it (br, zstd).
    if tokens(get_all(fields, b"content-encoding")) not in ([], [b"identity"], [b"gzip"], [b"x-gzip"]):
        return False
    return not is_sandboxed([value.decode("latin-1") for value in get_all(fields, _POLICIES[0])])


class PageSink:
    """Stands before the sink of one answer (`ResponseSink`).

    A page that begins before it ends loses its Content-Length; whether an answer is one that nobody has announced as
    such, its first bytes tell, and its head waits for them.

    Args:
        at: what was told when the request came: later words are for this page as well.
        is_document: see `wants_page`.
    """

    __slots__ = (
        "_at",
        "_exchange",
        "_fields",
        "_head",
        "_inflate",
        "_injection",
        "_insertion",
        "_is_document",
        "_sink",
    )

    def __init__(
        self, sink: ResponseSink, injection: Injection, exchange: Exchange, at: str, *, is_document: bool
    ) -> None:
        self._sink = sink
        self._injection = injection
        self._exchange = exchange
        self._at = at
        self._is_document = is_document
        self._insertion: Insertion | None = None
        self._inflate: zlib._Decompress | None = None
        self._fields: Fields = []  # of the head, once the page is known to be changed
        self._head: ResponseHead | None = None  # waits

    # -- ResponseSink ---------------------------------------------------------------------------------------------

    def informational(self, head: ResponseHead) -> None:
        self._sink.informational(head)

    def head(self, head: ResponseHead) -> None:
        self._begin(head)
        if self._insertion is None:
            self._sink.head(self._as_it_is(head))
        elif self._is_document:
            self._sink.head(self._changed(head, None))
        else:
            self._head = head

    def data(self, chunk: bytes) -> None:
        if self._insertion is None:
            self._sink.data(chunk)
        elif self._inflate is None:
            self._pass(self._insertion.feed(chunk))
        else:
            try:
                for piece in self._inflated(chunk):
                    self._pass(self._insertion.feed(piece))
            except zlib.error as error:
                self._exchange.leave(BackendError(f"what should be gzip is not: {error}"), in_order=False)

    def end(self, trailers: Fields | None) -> None:
        insertion = self._insertion
        if insertion is not None:
            if self._inflate is not None and not self._inflate.eof:
                self._exchange.leave(BackendError("an answer in gzip has no end"), in_order=False)
                return
            self._pass(insertion.end())
        self._sink.end(trailers)

    def answer(self, head: ResponseHead, body: bytes) -> None:
        self._begin(head)
        insertion, self._insertion = self._insertion, None
        if insertion is not None:
            plain = body
            if self._inflate is not None:
                try:
                    plain = b"".join(self._inflated(body))
                except zlib.error:
                    plain = b""
            changed = insertion.feed(plain) + insertion.end()
            if insertion.inserted:
                self._sink.answer(self._changed(head, len(changed)), changed)
                return
        self._sink.answer(self._as_it_is(head), body)

    def abort(self, error: Exception) -> None:
        head, self._head = self._head, None
        if head is not None:
            self._sink.head(head)  # what was begun has to be seen to be cut
        self._sink.abort(error)

    def upgrade(self, head: ResponseHead) -> Duplex:
        return self._sink.upgrade(head)

    # -- below ----------------------------------------------------------------------------------------------------

    def _begin(self, head: ResponseHead) -> None:
        """See whether the client is to be put in, and how it is let in there."""
        if not self._injection.is_on or not is_page(head):
            return
        coded = tokens(get_all(head.fields, b"content-encoding")) not in ([], [b"identity"])
        if coded and not self._is_document:
            return  # its begin, which would tell, is not to be read without decoding it
        if coded:
            self._inflate = zlib.decompressobj(_GZIP)
        request, peer = self._exchange.request, self._exchange.peer
        authority = request.authority.decode("latin-1")
        script = f"{peer.scheme.decode()}://{authority}{CLIENT_PATH.decode()}"
        socket = f"{'wss' if peer.scheme == b'https' else 'ws'}://{authority}"
        fresh = secrets.token_urlsafe(16)

        def widened(values: list[str]) -> tuple[list[str], str]:
            return widen(values, script, socket, fresh)

        self._fields = fields = []
        nonce = ""
        for name in _POLICIES:
            values = [value.decode("latin-1") for value in get_all(head.fields, name)]
            if values:
                policies, found = widened(values)
                nonce = nonce or (found if name == _POLICIES[0] else "")
                fields += [(name.title(), policy.encode("latin-1")) for policy in policies]
        tag = self._injection.tag(self._at, head.status, nonce)
        self._insertion = Insertion(tag, lambda policy: ", ".join(widened([policy])[0]), is_document=self._is_document)

    def _changed(self, head: ResponseHead, length: int | None) -> ResponseHead:
        """`head` of the page with the client in it; `length` is None where it is not known."""
        fields: Fields = []
        for name, value in head.fields:
            lowered = name.lower()
            if lowered == b"etag":
                value = own_tag(value, self._at)
            elif lowered in _DROPPED or lowered in _POLICIES or (lowered == b"content-encoding" and self._inflate):
                value = b""
            if value:
                fields.append((name, value))
        changed = head.copy()
        changed.fields = fields + self._fields
        changed.content_length = length
        return changed

    def _as_it_is(self, head: ResponseHead) -> ResponseHead:
        """`head` of an answer that is not changed; a page that was, and is still valid, keeps its validator."""
        if head.status != 304 or get(head.fields, b"etag") is None:
            return head
        fields = [(name, own_tag(value, self._at) if name.lower() == b"etag" else value) for name, value in head.fields]
        head = head.copy()
        head.fields = [pair for pair in fields if pair[1]]
        return head

    def _pass(self, data: bytes) -> None:
        """Send on what may be sent."""
        head, insertion = self._head, self._insertion
        assert insertion is not None
        if head is not None:
            if not insertion.is_decided:
                return
            self._head = None
            self._sink.head(self._changed(head, None) if insertion.inserted else head)
        if data:
            self._sink.data(data)

    def _inflated(self, data: bytes) -> Iterator[bytes]:
        """`data` decoded, in pieces of a bounded length."""
        while True:
            inflate = self._inflate
            assert inflate is not None
            piece = inflate.decompress(data, _MAX_INFLATED)
            if piece:
                yield piece
            if inflate.eof and inflate.unused_data.startswith(_GZIP_BEGIN):
                self._inflate = zlib.decompressobj(_GZIP)  # another member (RFC 1952 §2.2)
                data = inflate.unused_data
            else:
                data = inflate.unconsumed_tail
                if not data and len(piece) < _MAX_INFLATED:
                    return
