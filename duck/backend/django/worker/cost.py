"""What one request costs through Django's WSGI and ASGI handlers, in this process: a sketch, no benchmark.

No server takes part and no socket: what is compared is what Django itself does for a request, the hops between event
loop and threads under ASGI among it.
"""

from __future__ import annotations

import asyncio
import io
import sys
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

_WARM = 5
_MOST = 200
_BUDGET_S = 1.0


def cost(application: Any = None) -> Dict[str, Any]:
    """Processor microseconds per request of both, and which page was asked for.

    `application` is the project's ASGI application where it has one of its own.
    """
    from django.core.asgi import get_asgi_application
    from django.core.wsgi import get_wsgi_application

    path, host = _page(), _host()
    wsgi = get_wsgi_application()
    asgi = application if application is not None else get_asgi_application()
    status, wsgi_us = _measure(lambda: _ask_wsgi(wsgi, path, host))
    loop = asyncio.new_event_loop()
    try:
        _, asgi_us = _measure(lambda: loop.run_until_complete(_ask_asgi(asgi, path, host)))
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()
    return {"path": path, "status": status, "wsgi_us": round(wsgi_us, 1), "asgi_us": round(asgi_us, 1)}


def _page() -> str:
    from django.urls import NoReverseMatch, reverse

    try:
        return reverse("admin:login")
    except NoReverseMatch:
        return "/duck-check-asks-for-nothing/"


def _host() -> str:
    from django.conf import settings

    named = [host.lstrip(".") for host in settings.ALLOWED_HOSTS if host != "*"]
    return named[0] if named else "localhost"


def _measure(ask: Callable[[], int]) -> Tuple[int, float]:
    """The status, and the processor time of all threads for one request, in microseconds."""
    for _ in range(_WARM):
        status = ask()
    began, cpu, asked = time.monotonic(), time.process_time(), 0
    while asked < _MOST and time.monotonic() - began < _BUDGET_S:
        ask()
        asked += 1
    return status, (time.process_time() - cpu) / asked * 1e6


def _ask_wsgi(application: Any, path: str, host: str) -> int:
    said: List[int] = []

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Callable[[bytes], Any]:
        said.append(int(status[:3]))
        return lambda data: None

    environ = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": host,
        "SERVER_PORT": "443",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": host,
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    answer = application(environ, start_response)
    try:
        for _ in answer:
            pass
    finally:
        close: Optional[Callable[[], None]] = getattr(answer, "close", None)
        if close is not None:
            close()
    return said[0]


async def _ask_asgi(application: Any, path: str, host: str) -> int:
    said: List[int] = []
    asked = False
    ended = asyncio.Event()

    async def receive() -> Dict[str, Any]:
        nonlocal asked
        if not asked:
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await ended.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            said.append(message["status"])
        elif not message.get("more_body"):
            ended.set()

    await application(
        {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "https",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", host.encode())],
            "client": ("127.0.0.1", 40000),
            "server": (host, 443),
        },
        receive,
        send,
    )
    return said[0]
