"""HttpRequest: one request as a view sees it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import tempfile
from collections.abc import AsyncIterator, Coroutine, Mapping
from functools import cached_property
from typing import IO, TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote, unquote_to_bytes, urljoin

from duck.exceptions import DuckError, HttpError, LimitExceeded
from duck.http.cookies import parse_cookies
from duck.http.forms import MultiDict, parse_form, parse_query
from duck.http.headers import Headers
from duck.proxy.spool import SpoolFull
from duck.wire import head as heads

if TYPE_CHECKING:
    from duck.http.core.chain import MiddlewareChain
    from duck.http.request_data import RequestData
    from duck.utils.xsocket import xsocket

logger = logging.getLogger("duck.http")

Result = TypeVar("Result")

SPOOL_BYTES: Final = 1_048_576  # of a body in memory; what is longer goes to a temporary file

_PROTOCOLS: Final = {heads.HTTP_10: "HTTP/1.0", heads.HTTP_11: "HTTP/1.1", heads.HTTP_2: "HTTP/2.0"}


class HttpRequest:
    """One request.

    An async view awaits the body: `await request.read()`, `await request.form()`, or each chunk of `request.stream()`.
    A plain view runs in a thread, where `request.body`, `request.POST` and `request.FILES` wait by themselves; in an
    async view these are there once the body has been awaited.

    Attributes:
        method: as received; methods are case-sensitive.
        path: percent-decoded once, UTF-8; what is not becomes U+FFFD. What was sent stands in `raw_path`.
        raw_path: bytes, percent-encoded as received, without the query.
        headers: see `duck.http.headers.Headers`.
        client_address: the client's host and port; behind a trusted proxy the real client's.
        application: the app that answers, once it is known.
        settings: Duck's settings by name, once the application is known.
        url_match: which route matched, once that is known.
        state: a place for what middlewares and views tell each other.
    """

    def __init__(
        self,
        request_data: RequestData,
        client_socket: xsocket | None = None,
        client_address: tuple[str, int] | None = None,
    ) -> None:
        head = request_data.head
        self.request_data = request_data
        self.client_socket = client_socket
        self.client_address = client_address or (request_data.peer.host, request_data.peer.port)
        self.method = head.method.decode("latin-1")
        self.raw_path = head.path
        self.path = unquote_to_bytes(head.path).decode("utf-8", "replace")
        self.headers = Headers(head.fields)
        self.application: object = None
        self.url_match: Any = None
        self.state: dict[str, Any] = {}
        self.settings: Mapping[str, Any] = {}
        # The chain that sees this request, and where in it a middleware stopped it: the response goes back from there.
        self.chain: MiddlewareChain | None = None
        self.stopped_at: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._body: IO[bytes] | None = None
        self._body_length = 0
        self._counted = 0  # of the body, in the site's spool
        self._form: tuple[MultiDict[str], MultiDict[Any]] | None = None
        self._streamed = False

    # -- the target -----------------------------------------------------------------------------------------------

    @property
    def scheme(self) -> str:
        """`http` or `https`: of the client's connection, also behind a trusted proxy."""
        return self.request_data.peer.scheme.decode("ascii")

    def is_secure(self) -> bool:
        """Whether the client came by HTTPS."""
        return self.scheme == "https"

    @property
    def host(self) -> str:
        """Host and port as the client named them, in lower case; the listener's address where it named none."""
        authority = self.request_data.head.authority.decode("latin-1").lower()
        if authority:
            return authority
        peer = self.request_data.peer
        name = f"[{peer.server_host}]" if ":" in peer.server_host else peer.server_host
        default = 443 if self.is_secure() else 80
        return name if peer.server_port in (0, default) else f"{name}:{peer.server_port}"

    def get_host(self) -> str:
        """`host`, by Django's name."""
        return self.host

    @property
    def query_string(self) -> str:
        """The query as received, without `?`."""
        return self.request_data.head.query.decode("latin-1")

    @property
    def full_path(self) -> str:
        """Path and query as received."""
        return self.request_data.head.target.decode("latin-1")

    def get_full_path(self) -> str:
        """`full_path`, by Django's name."""
        return self.full_path

    def build_absolute_uri(self, location: str | None = None) -> str:
        """`location`, or this request's own address, as an absolute URL."""
        own = f"{self.scheme}://{self.host}{quote(self.raw_path, safe=_TARGET_CHARACTERS)}"
        if location is None:
            query = self.query_string
            return f"{own}?{quote(query, safe=_TARGET_CHARACTERS)}" if query else own
        return urljoin(own, location)

    @cached_property
    def GET(self) -> MultiDict[str]:
        """The pairs of the query."""
        return parse_query(self.request_data.head.query)

    @property
    def QUERY(self) -> MultiDict[str]:
        """The same as `GET`."""
        return self.GET

    @cached_property
    def COOKIES(self) -> dict[str, str]:
        """The client's cookies."""
        return parse_cookies(self.headers.get("Cookie") or "")

    @cached_property
    def META(self) -> dict[str, str]:
        """The request as CGI variables (RFC 3875), as Django has them."""
        peer, head = self.request_data.peer, self.request_data.head
        meta = {
            "REQUEST_METHOD": self.method,
            "PATH_INFO": self.path,
            "QUERY_STRING": self.query_string,
            "REMOTE_ADDR": self.client_address[0],
            "REMOTE_PORT": str(self.client_address[1]),
            "SERVER_NAME": peer.server_host,
            "SERVER_PORT": str(peer.server_port),
            "SERVER_PROTOCOL": _PROTOCOLS.get(head.version, "HTTP/1.1"),
            "wsgi.url_scheme": self.scheme,
            **dict(peer.certificate),
        }
        for name in self.headers:
            # A name with `_` would stand for another one with `-`: dropped, as in Django's own server.
            if "_" not in name:
                key = name.upper().replace("-", "_")
                meta[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = self.headers[name]
        return meta

    @property
    def content_type(self) -> str:
        """The body's media type in lower case, without parameters; `""` where none is named."""
        return (self.headers.get("Content-Type") or "").partition(";")[0].strip().lower()

    # -- the body, awaited ----------------------------------------------------------------------------------------

    async def stream(self) -> AsyncIterator[bytes]:
        """The body in chunks as they come, with nothing kept. It can be streamed once, and not after `read`.

        Raises:
            LimitExceeded: 413, more than the application takes.
            ClientGone: the client left within its body.
        """
        if self._streamed:
            raise DuckError("this request's body has been streamed; read it once, or use read(), which keeps it")
        if self._body is not None:
            self._body.seek(0)
            while chunk := self._body.read(65_536):
                yield chunk
            return
        self._streamed = True
        limit = self.request_data.max_body_bytes
        declared = self.request_data.head.content_length
        if declared is not None and declared > limit:
            raise LimitExceeded(f"a body of {declared} bytes; the application takes {limit}", 413)
        if self.client_socket is None:
            return
        received = 0
        while chunk := await self.client_socket.receive():
            received += len(chunk)
            if received > limit:
                raise LimitExceeded(f"a body of more than the {limit} bytes that the application takes", 413)
            yield chunk

    async def read(self) -> bytes:
        """The whole body; may be called again.

        Raises:
            LimitExceeded: 413, more than the application takes.
            ClientGone: the client left within its body.
        """
        body = await self._load()
        body.seek(0)
        return body.read() if self._body_length <= SPOOL_BYTES else await asyncio.to_thread(body.read)

    async def form(self) -> tuple[MultiDict[str], MultiDict[Any]]:
        """The fields and the files of the form in the body; empty ones where it holds none.

        Raises:
            ProtocolError: a form that cannot be read.
        """
        if self._form is None:
            body = await self._load()
            body.seek(0)
            kind = self.headers.get("Content-Type") or ""
            self._form = await asyncio.to_thread(parse_form, kind, self._body_length, body)
        return self._form

    async def json(self) -> Any:
        """The body as JSON.

        Raises:
            ValueError: it is not.
        """
        return json.loads(await self.read())

    # -- the body, in a thread or after it was awaited ------------------------------------------------------------

    @property
    def body(self) -> bytes:
        """The whole body. In an async view only after `await request.read()`."""
        if self._body is not None and self._on_loop():
            self._body.seek(0)
            return self._body.read()
        return self._wait(self.read(), "body", "await request.read()")

    @property
    def POST(self) -> MultiDict[str]:
        """The form's fields. In an async view only after `await request.form()`."""
        return self._form_here("POST")[0]

    @property
    def FILES(self) -> MultiDict[Any]:
        """The form's files, as Django's UploadedFile. In an async view only after `await request.form()`."""
        return self._form_here("FILES")[1]

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """For the lane: the loop that owns this request, so that other threads can wait for its body."""
        self._loop = loop

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop that owns this request."""
        if self._loop is None:
            raise DuckError("this request belongs to no loop: it was made outside the application lane")
        return self._loop

    @property
    def body_is_gone(self) -> bool:
        """Whether the body was streamed, and so cannot be had again."""
        return self._streamed

    def close(self) -> None:
        """Give temporary files back: the body's and uploaded ones. On the loop, or in a thread."""
        if self._form is not None:
            for _, files in self._form[1].lists():
                for file in files:
                    file.close()
        if self._body is not None:
            self._body.close()
        if not self._counted:
            return
        if self._loop is None or self._on_loop():
            self._uncount()
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed, and its spool with it
                self._loop.call_soon_threadsafe(self._uncount)

    async def _load(self) -> IO[bytes]:
        if self._body is None:
            spool = self.request_data.spool
            # Closed by `close`; beyond SPOOL_BYTES each write goes to disk, which the page cache takes.
            body = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES, dir=None if spool is None else spool.where)
            try:
                async for chunk in self.stream():
                    self._body_length += len(chunk)
                    if spool is not None and self._body_length > SPOOL_BYTES:
                        spool.take(self._body_length - self._counted)
                        self._counted = self._body_length
                    body.write(chunk)
                body.flush()
            except (SpoolFull, OSError) as error:
                self._drop(body)
                logger.warning("%s %s: %s", self.method, self.raw_path.decode("latin-1"), _why_no_room(error))
                detail = "There is no room for the request's body. Please try again in a moment."
                raise HttpError(503, detail) from error
            except BaseException:
                self._drop(body)
                raise
            self._streamed = False
            self._body = body
        return self._body

    def _drop(self, body: IO[bytes]) -> None:
        """Give the room of a body back that will not be complete."""
        with contextlib.suppress(OSError):  # a full disk refuses once more what is still to be written
            body.close()
        self._uncount()

    def _uncount(self) -> None:
        spool = self.request_data.spool
        if spool is not None:
            spool.give_back(self._counted)
            self._counted = 0

    def _form_here(self, name: str) -> tuple[MultiDict[str], MultiDict[Any]]:
        if self._form is None:
            body = self._wait(self._load(), name, "await request.form()")
            body.seek(0)
            self._form = parse_form(self.headers.get("Content-Type") or "", self._body_length, body)
        return self._form

    def _on_loop(self) -> bool:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return False
        return True

    def _wait(self, work: Coroutine[Any, Any, Result], name: str, remedy: str) -> Result:
        if self._on_loop() or self._loop is None:
            work.close()
            raise DuckError(f"request.{name} is not there yet: in an async view write {remedy} first")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.method} {self.full_path}>"


def _why_no_room(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"its body cannot be written to a file: {error.strerror}; set SPOOL_DIR to a directory with room"
    return str(error)


_TARGET_CHARACTERS: Final = "%/:;=@&+$,!~*'()-._?"
