"""Answers to http-01 challenges: what lies in a directory, by its token (RFC 8555 §8.3).

Who obtains certificates puts a file there for as long as the authority may ask; it may be another process. Nothing else
is ever read: a token has no dot and no slash, and what is no small ordinary file is not there.
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, Final

from duck.http.errors import error_answer
from duck.wire.head import ResponseHead

if TYPE_CHECKING:
    from duck.net.exchange import Exchange

PREFIX: Final = b"/.well-known/acme-challenge/"
# A token has at least 128 bits (RFC 8555 §8.3); its key authorization adds 43 characters and a dot.
TOKEN: Final = re.compile(rb"[A-Za-z0-9_-]{1,128}")
MAX_BYTES: Final = 1024
_FLAGS: Final = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


class ChallengeFiles:
    """Answers paths that begin with `PREFIX` from the files of `directory`, which need not be there."""

    def __init__(self, directory: str) -> None:
        self._directory = os.fsencode(directory)

    def handle(self, exchange: Exchange) -> None:
        """Answer `exchange` (`Handler`)."""
        request = exchange.request
        token = request.path[len(PREFIX) :]
        if request.method not in (b"GET", b"HEAD"):
            exchange.response.answer(*error_answer(405, request=request, fields=[(b"Allow", b"GET, HEAD")]))
            return
        content = self._read(token) if TOKEN.fullmatch(token) else None
        if content is None:
            exchange.response.answer(*error_answer(404, request=request))
            return
        fields = [
            (b"Content-Type", b"application/octet-stream"),
            (b"Cache-Control", b"no-store"),
            (b"X-Content-Type-Options", b"nosniff"),
        ]
        exchange.response.answer(ResponseHead(200, fields, content_length=len(content)), content)

    def _read(self, token: bytes) -> bytes | None:
        try:
            descriptor = os.open(os.path.join(self._directory, token), _FLAGS)
        except OSError:
            return None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return None
            content = os.read(descriptor, MAX_BYTES + 1)
        except OSError:
            return None
        finally:
            os.close(descriptor)
        return content if len(content) <= MAX_BYTES else None
