"""Which side serves what, and the ASGI servers of a project driven over a Unix socket."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import site
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.backend.conftest import BARE, LENGTHS, VIEWS, change_project, start_project
from tests.backend.link_client import TIMEOUT_S, LinkClient, Worker
from tests.environments import environment

if TYPE_CHECKING:
    from tests.backend.conftest import MakeProject, MakeWorker

SECRET = "s3cret"
IDENTITY = f"{SECRET} https 198.51.100.7 4711 example.org 443"
SITE_PACKAGES = next(path for path in site.getsitepackages() if path.endswith("site-packages"))

ROUTER = """
import os
from django.core.asgi import get_asgi_application
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mysite.settings")
django_application = get_asgi_application()
from channels.routing import ProtocolTypeRouter, URLRouter
from channels.generic.websocket import WebsocketConsumer
from django.urls import path

class Echo(WebsocketConsumer):
    def receive(self, text_data=None, bytes_data=None):
        scope = self.scope
        self.send(f"{text_data} {scope['scheme']} {scope['client']} {scope['server']}")

application = ProtocolTypeRouter({"http": django_application, "websocket": URLRouter([path("echo", Echo.as_asgi())])})
"""
OWN_HTTP = """
events = []
async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            events.append(message["type"])
            await send({"type": message["type"] + ".complete"})
            if message["type"].endswith("shutdown"):
                print("lifespan ended", flush=True)
                return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        message = await receive()
        text = f"{message['text']} {scope['scheme']} {scope['client']} {scope['server']}"
        await send({"type": "websocket.send", "text": text})
        await send({"type": "websocket.close"})
        return
    body = (scope["scheme"] + " " + repr(list(scope["client"])) + " " + " ".join(events)
            + " " + repr(sorted(name for name, value in scope["headers"]))).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
"""


ASYNC_STREAM = """
import asyncio
from django.http import StreamingHttpResponse
from django.urls import path

async def endless():
    yield b"first"
    await asyncio.Event().wait()

async def events(request):
    return StreamingHttpResponse(endless())

urlpatterns = [path("", events)]
"""


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(TIMEOUT_S)
        self.sock.connect(self._path)


def fetch(worker: Worker, target: str, identity: str | None = IDENTITY) -> tuple[int, bytes]:
    connection = UnixConnection(worker.ready["address"])
    headers = {} if identity is None else {"X-Duck-Identity": identity}
    connection.request("GET", target, headers=headers)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body


def first_of_stream(worker: Worker) -> bytes:
    """The first part of the answer to `/`, which goes on."""
    connection = UnixConnection(worker.ready["address"])
    connection.request("GET", "/", headers={"X-Duck-Identity": IDENTITY})
    try:
        return connection.getresponse().read1()
    finally:
        connection.close()


def echo(worker: Worker, text: str, identity: str = IDENTITY) -> str:
    """Open a WebSocket, send one text frame, and give the text that comes back."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(TIMEOUT_S)
    connection.connect(worker.ready["address"])
    key = base64.b64encode(os.urandom(16)).decode()
    connection.sendall(
        f"GET /echo HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nX-Duck-Identity: {identity}\r\n\r\n".encode()
    )
    with connection, connection.makefile("rb") as stream:
        status = stream.readline()
        if b" 101 " not in status:
            return status.decode()
        while stream.readline() != b"\r\n":
            pass
        mask = b"\x01\x02\x03\x04"
        payload = bytes(byte ^ mask[index % 4] for index, byte in enumerate(text.encode()))
        connection.sendall(bytes((0x81, 0x80 | len(payload))) + mask + payload)
        stream.read(1)
        length = stream.read(1)[0]
        return stream.read(length).decode()


def start(make_warm_worker: MakeWorker, project: Path, **spec: Any) -> Worker:
    return make_warm_worker(project, secret=SECRET, bundle=SITE_PACKAGES, **spec).wait_ready()


def test_a_stock_asgi_entry_wants_no_sockets(make_project: MakeProject, make_warm_worker: MakeWorker) -> None:
    ready = start(make_warm_worker, make_project(settings="ASGI_APPLICATION = 'mysite.asgi.application'")).ready
    assert (ready["protocol"], ready["sockets_wanted"]) == ("link", False)


def test_a_changed_asgi_entry_with_django_s_handler_wants_none_either(
    make_project: MakeProject, make_warm_worker: MakeWorker
) -> None:
    project = make_project()
    with open(project / "mysite" / "asgi.py", "a") as file:
        file.write("\nprint('imported')\n")
    worker = start(make_warm_worker, project)
    assert (worker.ready["protocol"], worker.ready["sockets_wanted"]) == ("link", False)
    assert "imported" in worker.text()


def test_websockets_beside_pages_want_a_process_of_their_own(
    make_project: MakeProject, make_warm_worker: MakeWorker
) -> None:
    project = make_project(urls=VIEWS, settings=BARE + LENGTHS, files={"mysite/asgi.py": ROUTER})
    pages = start(make_warm_worker, project)
    assert (pages.ready["protocol"], pages.ready["sockets_wanted"]) == ("link", True)
    with pages.client() as client:
        assert client.get("/hello").body == b"hello"
    sockets = start(make_warm_worker, project, role="sockets")
    assert sockets.ready["protocol"] == "http"
    assert sockets.ready["asgi_server"].startswith("uvicorn")
    assert sockets.looked == {}
    assert echo(sockets, "hi") == "hi wss ['198.51.100.7', 4711] ['example.org', 443]"
    assert fetch(sockets, "/hello") == (200, b"hello")


@pytest.mark.parametrize(
    ("settings", "asgi"),
    [
        ("CHANNEL_LAYERS = {'default': {'BACKEND': 'channels.layers.InMemoryChannelLayer'}}", ROUTER),
        ("", OWN_HTTP),
        ("WSGI_APPLICATION = None\nASGI_APPLICATION = 'mysite.asgi.application'", ROUTER),
        ("WSGI_APPLICATION = 'mysite.deleted.application'", ROUTER),
    ],
    ids=["in-memory layer", "http of its own", "no WSGI entry", "WSGI entry deleted"],
)
def test_everything_goes_to_one_asgi_process_where_a_split_would_lose(
    make_project: MakeProject, make_warm_worker: MakeWorker, settings: str, asgi: str
) -> None:
    ready = start(
        make_warm_worker, make_project(urls=VIEWS, settings=BARE + settings, files={"mysite/asgi.py": asgi})
    ).ready
    assert ready["protocol"] == "http"
    assert ready["entry"].startswith("mysite.asgi")
    assert ready["sockets_wanted"] is True


def test_an_asgi_entry_that_cannot_be_imported_is_a_warning(
    make_project: MakeProject, make_warm_worker: MakeWorker
) -> None:
    worker = start(make_warm_worker, make_project(files={"mysite/asgi.py": "import no_such_thing"}))
    assert worker.ready["protocol"] == "link"
    assert "mysite.asgi" in worker.ready["warnings"][0]
    assert "no_such_thing" in worker.ready["warnings"][0]


def test_pages_only_are_served_through_wsgi_whatever_there_is(
    make_project: MakeProject, make_warm_worker: MakeWorker
) -> None:
    ready = start(
        make_warm_worker, make_project(urls=VIEWS, settings=BARE, files={"mysite/asgi.py": OWN_HTTP}), role="pages"
    ).ready
    assert ready["protocol"] == "link"


def test_an_asgi_entry_can_be_named(make_project: MakeProject, make_warm_worker: MakeWorker) -> None:
    worker = start(
        make_warm_worker,
        make_project(urls=VIEWS, settings=BARE, files={"other.py": OWN_HTTP}),
        asgi="other:application",
    )
    assert worker.ready["entry"] == "other:application"


# Each with Django in an environment that other tests have as well.
SERVERS = [
    ("uvicorn", ("Django==5.2.*", "uvicorn[standard]")),
    ("daphne", ("channels", "daphne", "Django>=5.2,<5.3")),
    ("hypercorn", ("Django==5.2.*", "hypercorn")),
]


@pytest.mark.parametrize(("name", "requirements"), SERVERS, ids=[name for name, _ in SERVERS])
def test_the_projects_own_server_is_driven(
    make_warm_worker: MakeWorker, tmp_path: Path, name: str, requirements: tuple[str, ...]
) -> None:
    python = environment("3.11", requirements)
    project = start_project(python, tmp_path)
    (project / "mysite" / "asgi.py").write_text(OWN_HTTP)
    worker = start(make_warm_worker, project, python=python)
    assert worker.ready["asgi_server"].startswith(name)
    status, body = fetch(worker, "/any")
    assert status == 200
    assert body.startswith(b"https ['198.51.100.7', 4711]")
    assert b"x-duck-identity" not in body
    assert (b"lifespan.startup" in body) is (name != "daphne")  # Daphne has no lifespan
    assert echo(worker, "hi") == "hi wss ['198.51.100.7', 4711] ['example.org', 443]"
    assert worker.stop() == 0
    assert ("lifespan ended" in worker.text()) is (name != "daphne")


def test_all_goes_through_asgi_where_the_project_runs_daphne(make_warm_worker: MakeWorker, tmp_path: Path) -> None:
    python = environment("3.11", dict(SERVERS)["daphne"])
    project = start_project(python, tmp_path)
    with open(project / "mysite" / "settings.py", "a") as file:
        file.write("\nINSTALLED_APPS.insert(0, 'daphne')\nASGI_APPLICATION = 'mysite.asgi.application'\n")
    (project / "mysite" / "urls.py").write_text(ASYNC_STREAM)
    worker = start(make_warm_worker, project, python=python)
    assert (worker.ready["protocol"], worker.ready["asgi_server"].partition(" ")[0]) == ("http", "daphne")
    assert first_of_stream(worker) == b"first"
    assert start(make_warm_worker, project, python=python, wsgi="mysite.wsgi.application").ready["protocol"] == "link"


@pytest.mark.parametrize("mode", ["runserver", "serve"])
def test_an_entry_that_is_named_alone_serves_all(
    make_project: MakeProject, make_warm_worker: MakeWorker, mode: str
) -> None:
    project, entry = make_project(urls=ASYNC_STREAM, settings=BARE), "mysite.asgi:application"
    worker = start(make_warm_worker, project, mode=mode, asgi=entry)
    assert (worker.ready["protocol"], worker.ready["entry"]) == ("http", entry)
    assert first_of_stream(worker) == b"first"
    split = start(make_warm_worker, project, mode=mode, asgi=entry, wsgi="mysite.wsgi:application")
    assert split.ready["protocol"] == "link"


@pytest.mark.parametrize("mode", ["runserver", "serve"])
def test_an_entry_that_is_named_alone_and_cannot_be_imported_is_a_failure(
    make_project: MakeProject, make_warm_worker: MakeWorker, mode: str
) -> None:
    failed = make_warm_worker(make_project(), mode=mode, asgi="mysite.elsewhere:application", secret=SECRET).event()
    assert failed["event"] == "failed"
    assert "mysite.elsewhere" in failed["message"]


@pytest.fixture(scope="module")
def own_http(stock_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """One worker with an ASGI application that answers pages itself, for requests that do not change it."""
    directory = tmp_path_factory.mktemp("own") / "project"
    shutil.copytree(stock_project, directory)
    change_project(directory, VIEWS, BARE, files={"mysite/asgi.py": OWN_HTTP})
    sockets = Path(tempfile.mkdtemp(prefix="duck-"))
    with Worker(directory, sockets, secret=SECRET, bundle=SITE_PACKAGES) as worker:
        yield worker.wait_ready()
    shutil.rmtree(sockets)


@pytest.mark.parametrize("identity", [None, "", "wrong https a 1 b 2", f"{SECRET} https a b c d", f"{SECRET} https"])
def test_a_request_without_a_valid_identity_is_refused(own_http: Worker, identity: str | None) -> None:
    assert fetch(own_http, "/", identity)[0] == 403
    if identity:
        assert " 403 " in echo(own_http, "hi", identity)
    assert fetch(own_http, "/")[0] == 200


def test_django_under_asgi_sees_the_identity(make_project: MakeProject, make_warm_worker: MakeWorker) -> None:
    settings = "WSGI_APPLICATION = None\nASGI_APPLICATION = 'mysite.asgi.application'"
    worker = start(make_warm_worker, make_project(urls=VIEWS, settings=BARE + LENGTHS + settings), prefix="/app")
    status, body = fetch(worker, "/app/meta?a=b")
    told = json.loads(body)
    assert status == 200
    assert told["secure"] is True
    assert told["uri"] == "https://localhost/app/meta?a=b"
    assert told["path_info"] == "/meta"
    assert told["meta"]["REMOTE_ADDR"] == "198.51.100.7"
    assert told["meta"]["SERVER_PORT"] == "443"
    assert not [name for name in told["meta"] if "DUCK" in name]
    assert worker.stop() == 0
    assert "lifespan" not in worker.text().lower()


def test_duck_brings_a_server_for_a_project_that_has_none(make_warm_worker: MakeWorker, tmp_path: Path) -> None:
    brought = environment("3.11", ("uvicorn>=0.30,<0.60", "websockets>=13,<17"))
    (bundle,) = Path(brought).parent.parent.glob("lib/python*/site-packages")
    python = environment("3.10", ("Django==4.2.*",))
    project = start_project(python, tmp_path)
    asgi = OWN_HTTP + "\nimport importlib.util\nFOUND = [n for n in ('httpx', 'duck.wire', 'uvloop', 'uvicorn')"
    asgi += " if importlib.util.find_spec(n)]\nimport sys\nprint('found', FOUND, sys.path)\n"
    (project / "mysite" / "asgi.py").write_text(asgi)
    worker = make_warm_worker(project, python=python, secret=SECRET, bundle=str(bundle)).wait_ready()
    assert worker.ready["asgi_server"].startswith("uvicorn")
    assert fetch(worker, "/")[0] == 200
    assert echo(worker, "hi").startswith("hi wss")
    assert "found [] [" in worker.text()
    assert str(bundle) not in worker.text()


def test_without_any_server_one_sentence_says_what_to_install(make_warm_worker: MakeWorker, tmp_path: Path) -> None:
    python = environment("3.10", ("Django==4.2.*",))
    project = start_project(python, tmp_path)
    (project / "mysite" / "asgi.py").write_text(OWN_HTTP)
    failed = make_warm_worker(project, python=python).event()
    assert failed["event"] == "failed"
    assert "pip install 'uvicorn[standard]'" in failed["message"]


def test_an_application_that_refuses_to_start_is_a_failure(
    make_project: MakeProject, make_warm_worker: MakeWorker
) -> None:
    asgi = "async def application(scope, receive, send):\n"
    asgi += "    await receive()\n    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})\n"
    failed = make_warm_worker(make_project(urls=VIEWS, settings=BARE, files={"mysite/asgi.py": asgi})).event()
    assert failed["event"] == "failed"
    assert "could not start the ASGI application" in failed["message"]


def test_an_asgi_process_listens_on_a_loopback_port(make_project: MakeProject, make_warm_worker: MakeWorker) -> None:
    worker = start(
        make_warm_worker,
        make_project(urls=VIEWS, settings=BARE, files={"mysite/asgi.py": OWN_HTTP}),
        address=["127.0.0.1", 0],
    )
    host, port = worker.ready["address"]
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    connection.request("GET", "/", headers={"X-Duck-Identity": IDENTITY})
    assert connection.getresponse().status == 200
    connection.close()


def test_an_asgi_process_for_pages_says_on_a_link_where_static_files_lie(
    make_project: MakeProject, make_warm_worker: MakeWorker
) -> None:
    project = make_project(settings="WSGI_APPLICATION = None\nASGI_APPLICATION = 'mysite.asgi.application'")
    worker = start(make_warm_worker, project, role="auto")
    assert worker.ready["protocol"] == "http"
    with LinkClient(worker.ready["finder"]) as finder:
        assert finder.find("admin/css/base.css").endswith(b"/admin/css/base.css")
        assert finder.find("nothing.css") == b""
