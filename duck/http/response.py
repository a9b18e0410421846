"""Responses: what a view gives back. Framing, `Date` and connection fields are the server's business."""

from __future__ import annotations

import json
import mimetypes
import os
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from duck.http.calls import in_thread, iterate
from duck.http.cookies import SameSite, render_cookie
from duck.http.engine import render_template
from duck.http.errors import error_answer
from duck.http.headers import Headers
from duck.wire.fields import HOP_BY_HOP
from duck.wire.head import ResponseHead

if TYPE_CHECKING:
    from duck.http.request import HttpRequest
    from duck.utils.xsocket import xsocket

Content = bytes | bytearray | memoryview | str

# Characters of a URL that stay as they are, `%` of what is encoded already included.
_URL_CHARACTERS: Final = "/#%[]=:;$&()+,!?*@'~"
_WITHOUT_CONTENT: Final = frozenset((204, 304))


class HttpResponse:
    """A response with its content in memory.

    Attributes:
        status_code: the status.
        headers: see `duck.http.headers.Headers`; `response["Name"]` is the same.
    """

    streaming = False

    def __init__(
        self,
        content: Content = b"",
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        content_type: str | None = "text/html; charset=utf-8",
    ) -> None:
        self.status_code = status_code
        self.headers = Headers(headers or {})
        if content_type is not None and "Content-Type" not in self.headers:
            self.headers["Content-Type"] = content_type
        self._content = b""
        self._closers: list[Callable[[], object]] = []
        self.content = content

    @property
    def content(self) -> bytes:
        """The body; text is encoded as UTF-8 when it is assigned."""
        return self._content

    @content.setter
    def content(self, content: Content) -> None:
        self._content = content.encode() if isinstance(content, str) else bytes(content)

    def __getitem__(self, name: str) -> str:
        return self.headers[name]

    def __setitem__(self, name: str, value: str) -> None:
        self.headers[name] = value

    def __delitem__(self, name: str) -> None:
        del self.headers[name]

    def __contains__(self, name: object) -> bool:
        return name in self.headers

    def set_cookie(
        self,
        name: str,
        value: str = "",
        max_age: float | timedelta | None = None,
        expires: datetime | str | None = None,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = False,
        samesite: SameSite | None = "Lax",
    ) -> None:
        """Set a cookie; see `duck.http.cookies.render_cookie`. A cookie set before under that name stays beside it."""
        line = render_cookie(
            name,
            value,
            max_age=max_age,
            expires=expires,
            path=path,
            domain=domain,
            secure=secure,
            httponly=httponly,
            samesite=samesite,
        )
        self.headers.add("Set-Cookie", line)

    def delete_cookie(self, name: str, path: str | None = "/", domain: str | None = None) -> None:
        """Make the client forget a cookie; `path` and `domain` are those it was set with."""
        # Prefixed names are taken only from a Secure line, the deleting one too.
        secure = name.startswith(("__Secure-", "__Host-"))
        self.set_cookie(name, max_age=0, path=path, domain=domain, secure=secure)

    def on_close(self, closer: Callable[[], object]) -> None:
        """Call `closer` when the response was sent, or was given up."""
        self._closers.append(closer)

    def render(self) -> None:
        """Make the content, where that was put off; runs in a thread, before middlewares see the response."""

    async def write_to(self, socket: xsocket) -> None:
        """Send the whole response through `socket`.

        Raises:
            ClientGone: the client left.
        """
        content = b"" if self.status_code in _WITHOUT_CONTENT else self._content
        socket.answer(self.head(len(content)), content)

    def head(self, content_length: int | None) -> ResponseHead:
        """Status and fields for the server: end-to-end fields only, the length as the caller knows it."""
        fields = [pair for pair in self.headers.fields if pair[0].lower() not in _SERVERS_OWN]
        if self.status_code in _WITHOUT_CONTENT:
            fields = [pair for pair in fields if pair[0].lower() != b"content-type"]
            content_length = None
        return ResponseHead(self.status_code, fields, content_length=content_length)

    async def aclose(self) -> None:
        """Give back what the response holds; may be called again."""
        closers, self._closers = self._closers, []
        for closer in reversed(closers):
            await in_thread(closer)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.status_code}>"


_SERVERS_OWN: Final = HOP_BY_HOP | {b"content-length"}


class JsonResponse(HttpResponse):
    """`data` as JSON."""

    def __init__(
        self,
        data: Any,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        *,
        encoder: type[json.JSONEncoder] | None = None,
    ) -> None:
        super().__init__(json.dumps(data, cls=encoder), status_code, headers, "application/json")


class HttpRedirectResponse(HttpResponse):
    """To another address: 302, or 301 when `permanent`; or `status_code` (303, 307, 308)."""

    def __init__(
        self,
        location: str,
        permanent: bool = False,
        headers: Mapping[str, str] | None = None,
        *,
        status_code: int | None = None,
    ) -> None:
        super().__init__(b"", status_code or (301 if permanent else 302), headers)
        self.headers["Location"] = quote(location, safe=_URL_CHARACTERS)


class ErrorResponse(HttpResponse):
    """An error page for the client of `request`; see `duck.http.errors.error_answer`."""

    def __init__(
        self,
        status_code: int,
        detail: str | None = None,
        *,
        request: HttpRequest | None = None,
        debug: bool = False,
        traceback: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        asked = None if request is None else request.request_data.head
        head, body = error_answer(status_code, detail=detail, request=asked, debug=debug, traceback=traceback)
        super().__init__(body, status_code, headers, None)
        for name, value in head.fields:
            self.headers.setdefault(name.decode("latin-1"), value.decode("latin-1"))


class TemplateResponse(HttpResponse):
    """A template of TEMPLATE_DIRS, rendered by Django's engine with autoescaping; rendered when it is sent.

    Args:
        context: what the template sees; `request` is added to it.
    """

    def __init__(
        self,
        request: HttpRequest,
        template: str,
        context: Mapping[str, Any] | None = None,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        content_type: str | None = "text/html; charset=utf-8",
    ) -> None:
        super().__init__(b"", status_code, headers, content_type)
        self.request = request
        self.template = template
        self.context = dict(context or {})
        self.is_rendered = False

    def render(self) -> None:
        """Render now, once."""
        if not self.is_rendered:
            self.is_rendered = True
            dirs = self.request.settings.get("TEMPLATE_DIRS", ())
            self.content = render_template(self.template, {"request": self.request, **self.context}, dirs)


class StreamingHttpResponse(HttpResponse):
    """A response whose content is made while it is sent: chunks of bytes or text.

    An async iterable runs on the loop, a plain one in a thread, step by step; it goes on only as fast as the client
    takes it, and is closed when the client leaves. Give `Content-Length` where the length is known.
    """

    streaming = True

    def __init__(
        self,
        stream: Iterable[Content] | AsyncIterable[Content],
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        content_type: str | None = "text/html; charset=utf-8",
    ) -> None:
        super().__init__(b"", status_code, headers, content_type)
        self.stream = stream

    async def write_to(self, socket: xsocket) -> None:
        """Send head and chunks; the answer is cut where the stream fails."""
        length = self.headers.get("Content-Length")
        await socket.send_head(self.head(int(length) if length is not None and length.isdecimal() else None))
        if socket.exchange.request.method != b"HEAD" and self.status_code not in _WITHOUT_CONTENT:
            walker = iterate(self.stream)
            try:
                async for chunk in walker:
                    await socket.send(chunk.encode() if isinstance(chunk, str) else bytes(chunk))
            finally:
                await walker.aclose()
        socket.end()


class FileResponse(HttpResponse):
    """A file, whole, by the cheapest means the connection has.

    Args:
        path: of a regular file; it is opened when the response is made.
        filename: for the client; the path's last part by default.
        as_attachment: save it instead of showing it.

    Raises:
        OSError: the file cannot be opened.
    """

    streaming = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        filename: str | None = None,
        as_attachment: bool = False,
        content_type: str | None = None,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        name = filename or os.path.basename(os.fspath(path))
        guessed, encoding = mimetypes.guess_type(name)
        kind = content_type or (guessed if guessed and not encoding else "application/octet-stream")
        super().__init__(b"", status_code, headers, kind)
        self._file = open(path, "rb")
        self.on_close(self._file.close)
        self.size = os.fstat(self._file.fileno()).st_size
        disposition = "attachment" if as_attachment else "inline"
        if as_attachment or filename:
            # RFC 6266 §4.3: the encoded form is for every name, the quoted one for ancient clients.
            plain = name.encode("ascii", "replace").decode().replace("\\", "_").replace('"', "_")
            encoded = quote(name, safe="")
            self.headers["Content-Disposition"] = f"{disposition}; filename=\"{plain}\"; filename*=UTF-8''{encoded}"

    async def write_to(self, socket: xsocket) -> None:
        """Send head and file."""
        await socket.send_head(self.head(self.size))
        if socket.exchange.request.method != b"HEAD":
            await socket.send_file(self._file.fileno(), 0, self.size)
        socket.end()
