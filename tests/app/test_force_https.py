"""The redirect from plain HTTP to HTTPS: what it answers, and how an App runs it under `runserver` and `serve`."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from duck.app.app import App
from duck.app.force_https import ForceHTTPSMicroApp
from duck.exceptions import ApplicationError, SettingsError
from duck.settings.load import load
from tests.app.test_https import get, options
from tests.certificates import Authority, Pair
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.app.conftest import Duck

Ask = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def redirect() -> Iterator[Callable[..., ForceHTTPSMicroApp]]:
    running: list[ForceHTTPSMicroApp] = []

    def start(**more: Any) -> ForceHTTPSMicroApp:
        app = ForceHTTPSMicroApp("127.0.0.1", 0, https_domain="example.org", **more)
        app.run()
        running.append(app)
        return app

    yield start
    for app in running:
        app.stop()


def raw(port: int, request: bytes) -> tuple[int, dict[str, str]]:
    """Status and fields of the answer to these very bytes; the connection's end included."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(request)
        answer = b""
        while more := client.recv(65_536):
            answer += more
    lines = answer.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    return int(lines[0].split()[1]), {
        name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
    }


def location(app: ForceHTTPSMicroApp, host: str, target: str = "/") -> str:
    status, fields = raw(app.port, f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1"))
    assert status == 308
    return fields["location"]


class TestAnswers:
    @pytest.mark.parametrize(
        "target", ["/", "/a%2Fb//c/../d?x=%20&y=+#".removesuffix("#"), "//evil.example/x", "/%", "/?", "/a;b=c?d=//e"]
    )
    def test_path_and_query_are_kept_byte_for_byte(
        self, redirect: Callable[..., ForceHTTPSMicroApp], target: str
    ) -> None:
        assert location(redirect(), "example.org", target) == f"https://example.org{target}"

    @pytest.mark.parametrize(
        ("host", "target_host"),
        [
            ("example.org", "example.org"),
            ("EXAMPLE.org:80", "example.org"),
            ("example.org.", "example.org"),
            ("www.example.org", "www.example.org"),
            ("a.shop.example", "a.shop.example"),
            ("a.b.shop.example", "example.org"),
            ("shop.example", "example.org"),
            (".shop.example", "example.org"),
            ("evil.example", "example.org"),
            ("www.example.org.evil.example", "example.org"),
            ("[::1]:8080", "[::1]"),
            ("[::2]", "example.org"),
        ],
    )
    def test_a_host_that_is_ours_is_kept_and_no_other(
        self, redirect: Callable[..., ForceHTTPSMicroApp], host: str, target_host: str
    ) -> None:
        app = redirect(names=["www.example.org", "*.shop.example", "::1"])
        assert location(app, host, "/x") == f"https://{target_host}/x"

    def test_another_port_of_https_is_named(self, redirect: Callable[..., ForceHTTPSMicroApp]) -> None:
        assert location(redirect(https_port=8443), "example.org:8080") == "https://example.org:8443/"

    @pytest.mark.parametrize(
        "host",
        [b"Host: a b\r\n", b"Host: a@b\r\n", b"Host: a/b\r\n", b"Host: a\r\nHost: b\r\n", b"", b"Host: a\x00\r\n"],
    )
    def test_a_host_that_is_none_is_refused(self, redirect: Callable[..., ForceHTTPSMicroApp], host: bytes) -> None:
        assert raw(redirect().port, b"GET / HTTP/1.1\r\n" + host + b"\r\n")[0] == 400

    def test_every_method_is_redirected_with_its_body_left_unread(
        self, redirect: Callable[..., ForceHTTPSMicroApp]
    ) -> None:
        port = redirect().port
        for request in (
            b"POST /form HTTP/1.1\r\nHost: example.org\r\nContent-Length: 3\r\n\r\nabc",
            b"OPTIONS * HTTP/1.1\r\nHost: example.org\r\n\r\n",
            b"GET http://example.org/absolute HTTP/1.1\r\nHost: other\r\n\r\n",
            b"GET /old HTTP/1.0\r\n\r\n",
            b"POST /big HTTP/1.1\r\nHost: example.org\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n",
        ):
            status, fields = raw(port, request)
            assert status == 308, request
            assert fields["location"].startswith("https://example.org/")
            assert fields["connection"] == "close"

    def test_301_is_for_get_and_head_alone(self, redirect: Callable[..., ForceHTTPSMicroApp]) -> None:
        app = redirect(status=301)
        statuses = {
            method: httpx.request(method, app.absolute_uri, timeout=60).status_code
            for method in ("GET", "HEAD", "POST", "PUT")
        }
        assert statuses == {"GET": 301, "HEAD": 301, "POST": 308, "PUT": 308}

    def test_challenges_are_answered_and_not_redirected(
        self, redirect: Callable[..., ForceHTTPSMicroApp], tmp_path: Path
    ) -> None:
        (tmp_path / "token").write_text("token.proof")
        app = redirect(challenges=str(tmp_path))
        where = app.absolute_uri + "/.well-known/acme-challenge/"
        assert httpx.get(where + "token", timeout=60).text == "token.proof"
        assert httpx.get(where + "other", timeout=60).status_code == 404
        assert httpx.get(app.absolute_uri + "/.well-known/other", timeout=60).status_code == 308

    def test_while_a_project_is_worked_on_browsers_do_not_keep_it(
        self, redirect: Callable[..., ForceHTTPSMicroApp]
    ) -> None:
        assert httpx.get(redirect(is_remembered=False).absolute_uri, timeout=60).headers["cache-control"] == "no-store"
        assert "cache-control" not in httpx.get(redirect().absolute_uri, timeout=60).headers

    def test_its_requests_are_shown_where_that_is_wanted(
        self, redirect: Callable[..., ForceHTTPSMicroApp], capfd: pytest.CaptureFixture[str]
    ) -> None:
        httpx.get(redirect(access="text", no_logs=True).absolute_uri + "/quiet", timeout=60)
        httpx.get(redirect(access="text", no_logs=False).absolute_uri + "/told", timeout=60)
        seen = ""

        def told() -> bool:
            nonlocal seen
            seen += capfd.readouterr().err
            return "/told" in seen

        wait_until(told)
        assert "/quiet" not in seen
        assert "308" in seen

    def test_it_has_as_many_workers_as_asked_for(self, redirect: Callable[..., ForceHTTPSMicroApp]) -> None:
        assert redirect(workers=2).server.status()["workers"] == 2
        with pytest.raises(ApplicationError, match="force_worker_processes"):
            redirect(workers=2, force_worker_processes=True)


class TestOfAnApp:
    def test_without_https_there_is_nothing_to_redirect_to(self, start: Callable[..., Duck], project: Path) -> None:
        duck = start(project, "--force-https")
        assert duck.wait() == 1
        assert "FORCE_HTTPS needs ENABLE_HTTPS" in duck.text

    def test_the_app_says_whether_it_is_up(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, project: Path, run_dir: Path
    ) -> None:
        from duck import settings as installed

        authority = Authority(tmp_path / "ca")
        chain, key = authority.issue("localhost")
        given = {
            "ENABLE_HTTPS": True,
            "FORCE_HTTPS": True,
            "FORCE_HTTPS_BIND_PORT": 0,
            "SSL_CERTFILE_LOCATION": (chain,),
            "SSL_PRIVATE_KEY_LOCATION": (key,),
            "PORT": 0,
        }
        monkeypatch.chdir(project)
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(run_dir))
        installed.install(load(given, {}, project))
        app = App(disable_ipc_handler=True, disable_signal_handler=True)
        app.check_ssl_credentials()
        assert not app.force_https_server_up
        app.run(print_ansi_art=False)
        try:
            assert app.force_https_server_up
            assert app.absolute_uri == f"https://localhost:{app.lifecycle.port}"
            assert app.force_https_app is not None
            answer = httpx.get(f"http://127.0.0.1:{app.force_https_app.port}/x?y", trust_env=False, timeout=60)
            assert answer.headers["location"] == f"{app.absolute_uri}/x?y".replace("127.0.0.1", "localhost")
            app.start_force_https_server()  # runs already
            app.stop_servers()
            assert not app.force_https_server_up
        finally:
            app.stop(no_exit=True, log_to_console=False)
            installed.install(None)

    def test_the_conditions_are_told(self) -> None:
        app = App()
        try:
            with pytest.raises(SettingsError, match="FORCE_HTTPS needs ENABLE_HTTPS"):
                app.start_force_https_server()
        finally:
            app._forget()


class TestServe:
    @pytest.fixture
    def serve(self, start: Callable[..., Duck]) -> Callable[..., Duck]:
        def begin(project: Path, *arguments: str, **environ: str) -> Duck:
            user = {"DUCK_USER": "root"} if os.geteuid() == 0 else {}
            given = {"DUCK_ALLOW_UNAPPLIED_MIGRATIONS": "yes", "DUCK_FORCE_HTTPS_BIND_PORT": "0", **user, **environ}
            return start(project, "--workers", "1", "--force-https", *arguments, command="serve", **given)

        return begin

    def test_it_serves_beside_front_processes_and_survives_that_duck_is_replaced(
        self, serve: Callable[..., Duck], ask: Ask, project: Path, tmp_path: Path
    ) -> None:
        authority = Authority(tmp_path / "ca")
        pair: Pair = authority.issue("localhost", "127.0.0.1")
        duck = serve(project, *options(pair))
        port = int(duck.wait_for("is redirected to HTTPS").split(" is redirected")[0].rpartition(":")[2])
        for _ in range(2):
            status, fields = raw(port, b"GET /a?b HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert (status, fields["location"]) == (308, f"{duck.url}/a?b")
            assert get(duck, authority).text == "one"
            done = ask(project, "reload", "--self")
            assert done.returncode == 0, done.stdout + done.stderr
        duck.signal(signal.SIGTERM)
        assert duck.wait() == 128 + signal.SIGTERM
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))

    def test_challenges_are_answered_on_plain_listeners_where_certificates_are_obtained(
        self, serve: Callable[..., Duck], project: Path, tmp_path: Path
    ) -> None:
        challenges = tmp_path / "state" / "duck" / "acme" / "challenges"
        challenges.mkdir(parents=True, mode=0o700)
        os.chmod(tmp_path / "state" / "duck", 0o700)
        (challenges / "token").write_text("token.proof")
        authority = Authority(tmp_path / "ca")
        arguments = [
            "--listen",
            "https://127.0.0.1:0",
            "--listen",
            "http://127.0.0.1:0",
            *options(authority.issue("127.0.0.1"))[1:],
        ]
        # The address for health is the port after the first one, which the second listener may have been given.
        more = {"DUCK_ADMIN_LISTEN": "off"}
        duck = serve(project, *arguments, "--no-force-https", "--domain", "example.org", **more)
        plain = next(line.split()[-1] for line in duck.wait_for("http://127").splitlines())
        where = "/.well-known/acme-challenge/token"
        assert httpx.get(plain.rstrip("/") + where, trust_env=False, timeout=20).text == "token.proof"
        assert get(duck, authority, where).status_code == 404  # of Django's: it is not reserved over TLS
