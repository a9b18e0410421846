"""Static and media files, answered without Django. What is not there, or not asked for by GET or HEAD, goes on to it.

A small file is answered from memory: a block of fields and a body, both made beforehand, in one call. For everything
else the rules are asked (`file_rules`), and a large file goes from the kernel to the socket (`file_sender`).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from duck.http.content_types import is_inert, media_type
from duck.http.file_cache import FRESH_S, FileCache
from duck.http.file_names import attachment, file_name, file_path, url_prefix
from duck.http.file_roots import AnyPath, ClosedRoot, OpenRoot
from duck.http.file_rules import DECIDING, negotiate
from duck.http.file_sender import FileSender, call_soon
from duck.http.manifest import Manifest

if TYPE_CHECKING:
    from duck.http.file_representation import Entry
    from duck.net.exchange import Exchange
    from duck.net.interfaces import Handler
    from duck.wire.head import FieldBlock

_NO_SNIFFING: Final = b"X-Content-Type-Options: nosniff\r\n"
# Fonts and modules are fetched across origins, and what is static is public: as WhiteNoise sends it.
_STATIC: Final = b"Access-Control-Allow-Origin: *\r\n" + _NO_SNIFFING
_FOR_EVER: Final = b"Cache-Control: max-age=315360000, public, immutable\r\n"
_FOR_A_MINUTE: Final = b"Cache-Control: max-age=60, public\r\n"
# Stored, but asked for again each time: an edited style sheet shows at once, an unchanged one costs a 304.
_EACH_TIME: Final = b"Cache-Control: no-cache\r\n"

# For active types in media. Inline styles and data: URLs are let through, since an SVG shown by <img> needs them.
_SANDBOX: Final = (
    b"Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; "
    b"media-src data:; sandbox\r\n"
)

_METHODS: Final = (b"GET", b"HEAD")
_ACCEPT_ENCODING: Final = b"accept-encoding"


class Finder(Protocol):
    """Asks where Django's finders have a static file."""

    def __call__(self, name: str, exchange: Exchange, found: Callable[[bytes], None]) -> None:
        """Call `found` once, on the loop, now or later: the absolute path in file system bytes, or b"" for nothing."""


class _Files:
    """What static and media have in common: a prefix, a cache over a root, and who takes the rest."""

    def __init__(
        self,
        url: str,
        miss: Handler,
        cache: FileCache,
        now: Callable[[], float],
        soon: Callable[[Callable[[], None]], object],
    ) -> None:
        prefix = url_prefix(url)
        if prefix is None:
            raise ValueError(f"{url!r} is no local path below which files can be served; ask url_prefix first")
        self.prefix: Final = prefix
        self._miss = miss
        self._cache = cache
        self._entries = cache.entries
        self._now = now
        self._soon = soon

    def handle(self, exchange: Exchange) -> None:
        """Answer from memory, else from the root, else pass the exchange on."""
        request = exchange.request
        entry = self._entries.get(request.path)
        if entry is not None and self._now() < entry.fresh_until and request.method in _METHODS:
            plainly = request.block.asks_plainly
            if plainly is None:
                plainly = _ask_plainly(request.block)
            chosen = entry.by_accept.get(request.block.accept_encoding)
            if plainly and chosen is not None and chosen.body is not None and request.method == b"GET":
                response = exchange.response
                response.answer(chosen.head if response is exchange else chosen.head.copy(), chosen.body)
                return
            if self._answer(exchange, entry):
                return
            self._cache.forget(request.path)
        self._look(exchange)

    def _look(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.method in _METHODS:
            name = file_name(request.path, self.prefix)
            if name is not None:
                self._serve(exchange, name)
                return
        self._miss.handle(exchange)

    def _serve(self, exchange: Exchange, name: str) -> None:
        key = file_path(name, self.prefix)
        for _ in range(2):
            entry = self._cache.get(key, name)
            if entry is None:
                break
            if self._answer(exchange, entry):
                return
            self._cache.forget(key)
        self._miss.handle(exchange)

    def _answer(self, exchange: Exchange, entry: Entry) -> bool:
        """Answer with `entry`; False, and nothing done, where its file has gone since it was looked at."""
        request = exchange.request
        method = request.method
        asked = [(name, value) for name, value in request.fields if name.lower() in DECIDING]
        chosen = entry.choose([value for name, value in asked if name.lower() == _ACCEPT_ENCODING])
        plan = negotiate(method, asked, chosen)
        descriptor = -1
        if chosen.body is None and method == b"GET" and plan.status in (200, 206):
            opened = self._cache.open(chosen)
            if opened is None:
                return False
            descriptor, state = opened
            if state != chosen.signature:
                # It has changed within the second: what is said of it must be of what is sent.
                entry.fresh_until = 0.0
                chosen = self._cache.represent(entry.name, chosen.coding, state, None, varies=bool(entry.coded))
                plan = negotiate(method, asked, chosen)
        boundary = secrets.token_hex(12).encode() if len(plan.ranges) > 1 else b""
        head, parts = chosen.answer(plan, boundary)
        if descriptor >= 0:
            FileSender(exchange, descriptor, chosen.name, parts, self._soon).start(head)
            return True
        body = chosen.body or b""
        if method == b"HEAD":
            parts = []
        exchange.response.answer(
            head, b"".join([part if isinstance(part, bytes) else body[part[0] : sum(part)] for part in parts])
        )
        return True


def _ask_plainly(block: FieldBlock) -> bool:
    """Whether nothing but one Accept-Encoding decides what a file's answer is; kept with the block."""
    asked = [(name.lower(), value) for name, value in block.fields if name.lower() in DECIDING]
    plainly = not asked or (len(asked) == 1 and asked[0][0] == _ACCEPT_ENCODING)
    if plainly and asked:
        block.accept_encoding = asked[0][1]
    block.asks_plainly = plainly
    return plainly


class StaticFiles(_Files):
    """The files below STATIC_URL: from STATIC_ROOT, or in DEBUG from wherever Django's finders have them.

    Args:
        url: STATIC_URL, as Django reports it; one for which `url_prefix` is None is refused.
        miss: who answers what is not here: Django.
        root: absolute path of STATIC_ROOT. It need not exist.
        find: in DEBUG, in place of `root`.
        now: loop time, in seconds.
        soon: calls back on the loop, after others had their turn.

    Raises:
        ValueError: for the url, or neither or both of `root` and `find`.
    """

    def __init__(
        self,
        url: str,
        miss: Handler,
        *,
        root: str | None = None,
        find: Finder | None = None,
        now: Callable[[], float] = time.monotonic,
        soon: Callable[[Callable[[], None]], object] = call_soon,
    ) -> None:
        if (root is None) == (find is None):
            raise ValueError("static files come from a root or from a finder: give one of them")
        self._find = find
        self._manifest = None if root is None else Manifest(root)
        self._manifest_due = now() + FRESH_S
        if root is None:
            cache = FileCache(AnyPath(), self._dress, sidecars=False, now=now)
        else:
            cache = FileCache(OpenRoot(root), self._dress, sidecars=True, now=now)
        super().__init__(url, miss, cache, now, soon)

    def _serve(self, exchange: Exchange, name: str) -> None:
        manifest = self._manifest
        if manifest is None:
            self._ask(exchange, name)
            return
        now = self._now()
        if now >= self._manifest_due:
            self._manifest_due = now + FRESH_S
            if manifest.refresh():
                self._cache.dress_age += 1
        super()._serve(exchange, name)

    def _ask(self, exchange: Exchange, name: str) -> None:
        """In DEBUG nothing is remembered: the next request may find another file under this name."""

        def found(path: bytes) -> None:
            if exchange.is_over:
                return
            entry = self._cache.load(path.decode("utf-8", "surrogateescape")) if path else None
            if entry is None or not self._answer(exchange, entry):
                self._miss.handle(exchange)

        assert self._find is not None
        self._find(name, exchange, found)

    def _dress(self, name: str) -> tuple[bytes, bytes]:
        if self._manifest is None:
            return _EACH_TIME + _STATIC, b""
        return (_FOR_EVER if self._manifest.is_immutable(name) else _FOR_A_MINUTE) + _STATIC, b""


class MediaFiles(_Files):
    """The files below MEDIA_URL, which strangers may have made: nothing of them runs as the site's own.

    Whether a project's media may be served at all is decided by its worker (`media.served`), not here.

    Args:
        url: MEDIA_URL, as Django reports it; one for which `url_prefix` is None is refused.
        root: absolute path of MEDIA_ROOT. It need not exist.
        miss: who answers what is not here: Django.
        now: loop time, in seconds.
        soon: calls back on the loop, after others had their turn.

    Raises:
        ValueError: for the url.
    """

    def __init__(
        self,
        url: str,
        root: str,
        miss: Handler,
        *,
        now: Callable[[], float] = time.monotonic,
        soon: Callable[[Callable[[], None]], object] = call_soon,
    ) -> None:
        # No sidecars: a `.gz` beside an upload is another upload, and may hold anything.
        super().__init__(url, miss, FileCache(ClosedRoot(root), dress_media, sidecars=False, now=now), now, soon)


def dress_media(name: str) -> tuple[bytes, bytes]:
    """The fields of a media file: what is active is saved, and where it is opened all the same, sandboxed."""
    lasting = _EACH_TIME + _NO_SNIFFING
    if is_inert(media_type(name)):
        return lasting, b""
    return lasting + _SANDBOX, b"Content-Disposition: %b\r\n" % attachment(name)
