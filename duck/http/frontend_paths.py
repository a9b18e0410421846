"""Which requests are a front-end server's: decided from the head of a request, by names and by the files that it has.

    FIRST   before anybody else is asked: Vite's own paths, its hot-reload socket, FRONTEND_PATHS
    SOURCE  the same, since there is a source file of that name
    AFTER   once nobody else has it: a picture or a style sheet that neither the static files nor Django know
    NEVER   all others: pages, and what a page fetches, are Django's

So a URL of Django's is hidden by what no URLconf names alone: by `/@vite/client`, or by the very source file that it
would have to be called after.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from duck.http.routing import match_path
from duck.wire.fields import get, get_all, tokens

if TYPE_CHECKING:
    from duck.wire.head import RequestHead

FIRST: Final = "first"
SOURCE: Final = "source"
AFTER: Final = "after"
NEVER: Final = "never"

# Below the base: what Vite and its plugins answer without a file of that name.
_OWN: Final = (
    "@vite/",
    "@id/",
    "@fs/",
    "@react-refresh",
    "@solid-refresh",
    "@vite-plugin-",
    "node_modules/.vite/",
    "__vite",
    "__open-in-editor",
    "__inspect/",
)
_OWN_ANYWHERE: Final = re.compile(r"/(?:@vite/|@id/|@fs/|@react-refresh\Z)")
_PROTOCOLS: Final = frozenset((b"vite-hmr", b"vite-ping"))

# Sources that no browser understands, so that no static file is meant.
_COMPILED: Final = frozenset(
    (".ts", ".mts", ".cts", ".tsx", ".jsx", ".vue", ".svelte", ".astro", ".scss", ".sass", ".less", ".styl", ".pcss")
)
_MODULES: Final = _COMPILED | {".js", ".mjs", ".css"}
_ASSETS: Final = _MODULES | {
    *(".svg", ".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".ico", ".bmp"),
    *(".woff", ".woff2", ".ttf", ".otf", ".eot"),
    *(".mp4", ".webm", ".ogg", ".mp3", ".wav", ".flac", ".wasm", ".map", ".webmanifest"),
}
# What a page is made of beside itself and what it fetches (Fetch §2.2.7, "destination").
_PARTS: Final = frozenset(
    (
        *(b"script", b"style", b"image", b"font", b"audio", b"video", b"track", b"manifest"),
        *(b"worker", b"sharedworker", b"serviceworker", b"audioworklet", b"paintworklet"),
    )
)
_PAGES: Final = (b"document", b"iframe")
_MODULE_MODES: Final = (b"cors", b"same-origin")


class FrontendPaths:
    """Of one server.

    Args:
        root: the directory whose files it serves; empty where that is not known.
        expressions: FRONTEND_PATHS.
        is_file: whether there is a file of that name.

    Attributes:
        base: the path below which its files are, with its final slash; None while it has not said so.
    """

    def __init__(
        self, root: str, expressions: Iterable[str] = (), is_file: Callable[[str], bool] = os.path.isfile
    ) -> None:
        self.base: str | None = None
        self._root = root
        self._is_file = is_file
        parts = [f"(?:{expression})" for expression in expressions]
        self._named = re.compile("|".join(parts)) if parts else None

    def decide(self, request: RequestHead, static: str | None = None) -> str:
        """FIRST, SOURCE, AFTER or NEVER; `static` is the prefix below which static files are looked for."""
        path = match_path(request.path)
        if self._named is not None and self._named.fullmatch(path):
            return FIRST
        if request.upgrade is not None:
            return FIRST if _PROTOCOLS.intersection(_protocols(request)) else NEVER
        if self.base is None:
            return FIRST if _OWN_ANYWHERE.search(path) else NEVER
        if not path.startswith(self.base):
            return NEVER
        name = path[len(self.base) :]
        if name.startswith(_OWN):
            return FIRST
        if request.method not in (b"GET", b"HEAD") or request.content_length != 0:
            return NEVER
        suffix = os.path.splitext(name)[1].lower()
        aim, mode = get(request.fields, b"sec-fetch-dest"), get(request.fields, b"sec-fetch-mode")
        if suffix in _MODULES and self._means_module(suffix, aim, mode, static, path) and self._has(name):
            return SOURCE
        if aim in _PAGES or (aim is None and suffix not in _ASSETS):
            return AFTER if aim in _PAGES and self._has("index.html") else NEVER
        return AFTER if aim is None or aim in _PARTS else NEVER

    def _means_module(self, suffix: str, aim: bytes | None, mode: bytes | None, static: str | None, path: str) -> bool:
        """Whether no static file can be meant: a classic script or a style sheet is asked for in another mode."""
        if static is None or not path.startswith(static):
            return True
        if aim is None:
            return suffix in _COMPILED
        return mode in _MODULE_MODES and aim in _PARTS

    def _has(self, name: str) -> bool:
        return self._root != "" and "\0" not in name and self._is_file(os.path.join(self._root, name))


def is_same_site(request: RequestHead, scheme: bytes) -> bool:
    """Whether no page of another site is behind `request`: a front end's sources are its developer's alone.

    Servers older than the advisories of 2025 on this answer any page that a browser on this machine has open.
    """
    if any(value.lower() == b"cross-site" for value in get_all(request.fields, b"sec-fetch-site")):
        return False
    own = b"%b://%b" % (scheme, request.authority.lower())
    return request.upgrade is None or all(value.lower() == own for value in get_all(request.fields, b"origin"))


def comes_from_duck(request: RequestHead) -> bool:
    """Whether a Duck has passed it on already: a front-end server that proxies to Django would ask round and round."""
    return any(value.split()[-1:] == [b"duck"] for value in get_all(request.fields, b"via"))


def _protocols(request: RequestHead) -> list[bytes]:
    return tokens(get_all(request.fields, b"sec-websocket-protocol"))
