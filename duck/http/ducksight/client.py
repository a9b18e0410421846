"""The client: one script, made of the files beside this one, that a browser keeps as long as they are the same."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from duck.wire.head import ResponseHead
from duck.wire.render import plain_error

if TYPE_CHECKING:
    from duck.net.exchange import Exchange

CLIENT_PATH: Final = b"/.duck/client.js"

# In this order; each sees what the ones before it define, and pages see nothing of it.
_SCRIPTS: Final = ("idiomorph.js", "refresh.js", "overlay.js", "client.js")


@lru_cache(1)
def script() -> bytes:
    """The client's source, styles included."""
    here = files(__package__) / "browser"
    styles = json.dumps((here / "overlay.css").read_text("utf-8"))
    parts = [(here / name).read_text("utf-8") for name in _SCRIPTS]
    return "\n".join(['(() => {\n"use strict";', f"const STYLES = {styles};", *parts, "})();\n"]).encode()


@lru_cache(1)
def version() -> str:
    """Tells one source from another."""
    return hashlib.sha256(script()).hexdigest()[:12]


class Client:
    """Answers CLIENT_PATH (`Handler`)."""

    def handle(self, exchange: Exchange) -> None:
        """Send the script."""
        if exchange.request.method not in (b"GET", b"HEAD"):
            exchange.response.answer(*plain_error(405, "This can be asked for with GET.", fields=[(b"Allow", b"GET")]))
            return
        body = script()
        fields = [
            (b"Content-Type", b"text/javascript; charset=utf-8"),
            # Its address has its version.
            (b"Cache-Control", b"private, max-age=31536000, immutable"),
            (b"Cross-Origin-Resource-Policy", b"same-origin"),
            (b"X-Content-Type-Options", b"nosniff"),
        ]
        exchange.response.answer(ResponseHead(200, fields, content_length=len(body)), body)
