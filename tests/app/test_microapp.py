"""MicroApps and servers on addresses of their own."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from duck.app.force_https import ForceHTTPSMicroApp
from duck.app.microapp import MicroApp
from duck.exceptions import AddressInUse, ApplicationError, SSLError
from duck.http.core.httpd.servers import HTTPServer
from duck.net.listener import open_listeners
from duck.settings.listen import parse_listen
from duck.urls import path
from duck.wire.head import ResponseHead
from tests.certificates import Authority

if TYPE_CHECKING:
    from duck.net.clock import Clock
    from duck.net.exchange import Exchange
    from duck.net.interfaces import Handler


@pytest.fixture
def running() -> Iterator[list[Any]]:
    started: list[Any] = []
    yield started
    for item in started:
        item.stop()


def get(url: str, **more: Any) -> httpx.Response:
    return httpx.get(url, timeout=10, trust_env=False, **more)


class TestMicroApp:
    def test_answers_with_urlpatterns_of_its_own(self, running: list[Any]) -> None:
        async def hello(request: Any, name: str) -> str:
            return f"hello {name} from {request.application.domain}"

        app = MicroApp("127.0.0.1", 0, urlpatterns=[path("hello/<name>", hello)])
        running.append(app)
        app.run()
        assert app.server_up
        assert get(app.build_absolute_uri("/hello/duck")).text == "hello duck from 127.0.0.1"
        assert get(app.build_absolute_uri("/other")).status_code == 404
        app.stop()
        assert not app.server_up

    def test_a_subclass_answers_every_path_with_its_view(self, running: list[Any]) -> None:
        class Echo(MicroApp):
            def view(self, request: Any) -> str:
                return str(request.full_path)

        app = Echo("127.0.0.1", 0, workers=2)
        running.append(app)
        app.run()
        assert get(app.build_absolute_uri("/a/b?c=1")).text == "/a/b?c=1"

    def test_runs_until_another_thread_stops_it(self) -> None:
        app = MicroApp("127.0.0.1", 0)
        thread = threading.Thread(target=lambda: app.run(run_forever=True))
        thread.start()
        while not app.server_up:
            thread.join(0.01)
        app.stop()
        thread.join(5)
        assert not thread.is_alive()

    def test_the_redirect_keeps_path_and_query_and_ignores_the_host_named(self, running: list[Any]) -> None:
        app = ForceHTTPSMicroApp("127.0.0.1", 0, https_domain="example.org")
        running.append(app)
        app.run()
        answer = get(app.build_absolute_uri("/a%20b?c=%2F"), headers={"Host": "evil.example"})
        assert answer.status_code == 308
        assert answer.headers["location"] == "https://example.org/a%20b?c=%2F"

    def test_what_this_version_has_not_is_said(self) -> None:
        with pytest.raises(SSLError, match="SSL_CERTFILE_LOCATION"):
            MicroApp(enable_https=True)
        with pytest.raises(ApplicationError, match="force_worker_processes"):
            MicroApp(workers=2, force_worker_processes=True)
        with pytest.raises(ApplicationError, match="1 or more"):
            MicroApp(workers=0)


class Plain:
    """An application whose handler answers with the name of its worker's thread, later where that is asked for."""

    def __init__(self) -> None:
        self.release = threading.Event()

    def make_handler(self, loop: asyncio.AbstractEventLoop, clock: Clock) -> Handler:
        application = self

        class Answer:
            def handle(self, exchange: Exchange) -> None:
                name = threading.current_thread().name.encode()
                if exchange.request.path == b"/wait":
                    poll(exchange, name)
                else:
                    exchange.answer(ResponseHead(200, content_length=len(name)), name)

        def poll(exchange: Exchange, name: bytes) -> None:
            if application.release.is_set():
                exchange.answer(ResponseHead(200, content_length=len(name)), name)
            else:
                loop.call_later(0.01, poll, exchange, name)

        return Answer()


class TestServer:
    @pytest.fixture
    def server(self, running: list[Any]) -> HTTPServer:
        server = HTTPServer(("127.0.0.1", 0), Plain())
        running.append(server)
        return server

    def test_serves_the_address_it_was_given(self, server: HTTPServer) -> None:
        server.start()
        host, port = server.server_address
        assert server.get_uris() == [f"http://{host}:{port}"]
        assert get(f"http://{host}:{port}/").text == "duck-worker-0"
        assert server.status()["requests"] == 1

    def test_serves_every_address_it_was_told_to_listen_at(self, server: HTTPServer, tmp_path: Path) -> None:
        server.listen_local(0)
        server.listen("unix:" + str(tmp_path / "s"))
        with socket.socket() as own:
            own.bind(("127.0.0.1", 0))
            own.listen()
            server.listen_socket(own.dup())
        server.start()
        assert len(server.get_listeners()) == len(server.get_uris()) >= 3
        for uri in server.get_uris():
            if uri.startswith("http"):
                assert get(uri + "/").status_code == 200
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(tmp_path / "s")), timeout=60) as client:
            assert client.get("http://x/").status_code == 200

    def test_listens_at_all_addresses(self, server: HTTPServer) -> None:
        server.listen_all(0)
        assert server.get_uris()[0].startswith("http://0.0.0.0:")
        server.start()
        assert get(f"http://127.0.0.1:{server.server_address[1]}/").status_code == 200

    def test_disconnect_refuses_new_clients_and_finishes_what_was_begun(self, server: HTTPServer) -> None:
        server.start()
        uri = server.get_uris()[0]
        answers: list[int] = []
        client = threading.Thread(target=lambda: answers.append(get(uri + "/wait").status_code))
        client.start()
        while not server.status()["requests"]:
            client.join(0.01)
        server.disconnect()
        refused = False
        while not refused:
            try:
                with socket.create_connection((*server.addr[:1], int(uri.rpartition(":")[2])), timeout=5):
                    client.join(0.01)
            except ConnectionRefusedError:
                refused = True
        assert server.get_uris() == []
        server.application.release.set()  # type: ignore[attr-defined]
        client.join(10)
        assert answers == [200]

    def test_several_workers_serve_one_address(self, running: list[Any]) -> None:
        server = HTTPServer(("127.0.0.1", 0), Plain(), workers=3)
        running.append(server)
        server.start()
        uri = server.get_uris()[0]
        assert {get(uri + "/").text for _ in range(3)} <= {"duck-worker-0", "duck-worker-1", "duck-worker-2"}
        assert server.status()["workers"] == 3

    def test_serve_forever_ends_with_shutdown(self, server: HTTPServer) -> None:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        while not server.running:
            thread.join(0.01)
        server.shutdown()
        thread.join(5)
        assert not thread.is_alive()
        assert not server.running

    def test_a_busy_address_is_refused_and_so_is_a_change_while_it_serves(self, server: HTTPServer) -> None:
        server.start()
        with pytest.raises(AddressInUse):
            HTTPServer(server.server_address, Plain()).start()
        with pytest.raises(ApplicationError, match="serves already"):
            server.listen(("127.0.0.1", 0))
        with pytest.raises(ApplicationError, match="serves already"):
            server.start()

    def test_without_a_certificate_there_is_no_https(self, server: HTTPServer) -> None:
        assert not server.is_https()
        with pytest.raises(SSLError, match="no certificate to listen"):
            server.listen("https://127.0.0.1:0")
        (listener,) = open_listeners([parse_listen("https://127.0.0.1:0")])
        with listener, pytest.raises(SSLError, match="no certificate to listen"):
            server.listen_socket(listener)
        assert server.reload_ssl_context() is False
        with socket.socket() as client, pytest.raises(SSLError):
            server.ssl_wrap_socket(client)

    def test_https_is_served_with_the_files_named_and_read_again_when_told(
        self, running: list[Any], tmp_path: Path
    ) -> None:
        authority = Authority(tmp_path)
        chain, key = authority.issue("localhost", "127.0.0.1")
        server = HTTPServer(("127.0.0.1", 0), Plain(), enable_ssl=True, ssl_params={"certfile": chain, "keyfile": key})
        running.append(server)
        server.start()
        assert server.is_https()
        (uri,) = server.get_uris()
        assert uri.startswith("https://127.0.0.1:")
        with httpx.Client(verify=authority.client(), trust_env=False, timeout=60) as before:
            assert before.get(uri).text == "duck-worker-0"
            authority.issue("127.0.0.1", file="localhost")
            assert server.reload_ssl_context() is True
            with httpx.Client(verify=authority.client(), trust_env=False, timeout=60) as after:
                assert after.get(uri).text == "duck-worker-0"
                with pytest.raises(httpx.ConnectError, match=r"doesn't match|mismatch"):
                    after.get(uri.replace("127.0.0.1", "localhost"))
            assert before.get(uri).text == "duck-worker-0"
        Path(chain).write_text("")
        with pytest.raises(SSLError):
            server.reload_ssl_context()

    @pytest.mark.parametrize("http2", [True, False])
    def test_http2_is_offered_where_it_is_spoken(self, running: list[Any], tmp_path: Path, http2: bool) -> None:
        authority = Authority(tmp_path)
        chain, key = authority.issue("localhost")
        server = HTTPServer(("127.0.0.1", 0), Plain(), enable_ssl=True, ssl_params={"certfile": chain, "keyfile": key})
        running.append(server)
        server.http2 = http2
        server.start()
        context = authority.client()
        context.set_alpn_protocols(["h2", "http/1.1"])
        with (
            socket.create_connection(server.get_listeners()[0].getsockname(), timeout=10) as connection,
            context.wrap_socket(connection, server_hostname="localhost") as client,
        ):
            assert client.selected_alpn_protocol() == ("h2" if http2 else "http/1.1")

    def test_a_socket_of_the_programs_own_is_wrapped(self, running: list[Any], tmp_path: Path) -> None:
        authority = Authority(tmp_path)
        chain, key = authority.issue("localhost")
        server = HTTPServer(("127.0.0.1", 0), Plain(), enable_ssl=True, ssl_params={"certfile": chain, "keyfile": key})
        ours, theirs = socket.socketpair()
        wrapped: list[Any] = []
        thread = threading.Thread(target=lambda: wrapped.append(server.ssl_wrap_socket(ours)))
        thread.start()
        context = authority.client()
        context.set_alpn_protocols(["h2", "http/1.1"])
        with context.wrap_socket(theirs, server_hostname="localhost") as client:
            thread.join(10)
            assert client.selected_alpn_protocol() == "http/1.1"  # the program may not speak HTTP/2
            client.sendall(b"hello")
            with wrapped[0] as server_side:
                assert server_side.recv(10) == b"hello"

    def test_parameters_that_nobody_knows_are_refused(self) -> None:
        with pytest.raises(SSLError, match="certfile is missing"):
            HTTPServer(("127.0.0.1", 0), Plain(), enable_ssl=True, ssl_params={})
        with pytest.raises(SSLError, match="ciphers is none of them"):
            HTTPServer(("127.0.0.1", 0), Plain(), enable_ssl=True, ssl_params={"certfile": "x", "ciphers": "x"})
