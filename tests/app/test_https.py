"""HTTPS in front of a real Django project, under `runserver` and `serve`: what Django sees, and what may change."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.app.conftest import shared_duck
from tests.certificates import Authority, Pair
from tests.reports import report
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.app.conftest import Duck

URLS = """
from django.http import JsonResponse
from django.urls import path
from django.views.decorators.csrf import csrf_protect

def seen(request):
    return JsonResponse({
        "is_secure": request.is_secure(),
        "uri": request.build_absolute_uri(),
        "scheme": request.META["wsgi.url_scheme"],
        "port": request.META["SERVER_PORT"],
        **{name: value for name, value in request.META.items() if name.startswith(("SSL_", "HTTP_SSL", "HTTPS"))},
    })

urlpatterns = [path("", seen), path("form", csrf_protect(seen))]
"""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "ca")


@pytest.fixture
def pair(authority: Authority) -> Pair:
    return authority.issue("localhost", "127.0.0.1")


@pytest.fixture
def secure_project(project: Path) -> Path:
    (project / "site1" / "urls.py").write_text(URLS)
    return project


@pytest.fixture
def serve(start: Callable[..., Duck]) -> Callable[..., Duck]:
    def begin(project: Path, *arguments: str, **environ: str) -> Duck:
        return start(project, *arguments, command="serve", **serving(), **environ)

    return begin


def serving() -> dict[str, str]:
    """Variables that `duck serve` needs for such a project."""
    user = {"DUCK_USER": "root"} if os.geteuid() == 0 else {}
    return {"DUCK_ALLOW_UNAPPLIED_MIGRATIONS": "yes", "DUCK_ALLOW_DEBUG": "yes", **user}


def options(pair: Pair) -> list[str]:
    return ["--https", "--certfile", pair[0], "--keyfile", pair[1]]


def get(duck: Duck, authority: Authority, path: str = "/", **more: Any) -> httpx.Response:
    with httpx.Client(verify=authority.client(), timeout=20, trust_env=False) as client:
        return client.get(duck.url + path, **more)


def serial(duck: Duck, authority: Authority) -> object:
    host, _, port = duck.url.partition("//")[2].partition(":")
    with (
        socket.create_connection((host, int(port)), timeout=20) as raw,
        authority.client().wrap_socket(raw, server_hostname="localhost") as client,
    ):
        told = client.getpeercert()
        assert told is not None
        return told["serialNumber"]


class Developed:
    """`duck runserver` at a secure and a plain address, with two certificates, that asks clients for theirs."""

    def __init__(self, duck: Duck, authority: Authority, clients: Authority) -> None:
        self.duck = duck
        self.authority = authority
        self.clients = clients

    def get(self, path: str = "/", **more: Any) -> httpx.Response:
        return get(self.duck, self.authority, path, **more)


@pytest.fixture(scope="module")
def developed(made_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Developed]:
    where = tmp_path_factory.mktemp("developed")
    authority, clients = Authority(where / "ca"), Authority(where / "clients", "Clients")
    project = Path(shutil.copytree(made_project, where / "project"))
    (project / "site1" / "urls.py").write_text(URLS)
    arguments = ["--listen", "https://localhost:0", "--listen", "http://127.0.0.1:0"]
    for pair in (authority.issue("localhost", "127.0.0.1"), authority.issue("other.localhost")):
        arguments += options(pair)[1:]
    arguments += ["--client-certificates", "requested", "--ca-file", clients.file]
    with shared_duck(project, where, *arguments) as duck:
        yield Developed(duck, authority, clients)


class TestRunserver:
    def test_django_knows_that_it_is_https_whatever_fields_say(self, developed: Developed) -> None:
        duck = developed.duck
        assert duck.url.startswith("https://localhost:")
        for forged in ({}, {"X-Forwarded-Proto": "http", "Forwarded": "proto=http"}):
            seen = developed.get("/?a=1", headers=forged).json()
            assert seen["is_secure"] is True
            assert seen["scheme"] == "https"
            assert seen["HTTPS"] == "on"
            assert seen["uri"] == f"{duck.url}/?a=1"
            assert seen["port"] == duck.url.rpartition(":")[2]

    def test_plain_http_at_its_port_is_told_where_to_go(self, developed: Developed) -> None:
        url = developed.duck.url
        answer = httpx.get(url.replace("https", "http") + "/x?y", trust_env=False, timeout=20)
        assert answer.status_code == 400
        assert f"use {url}/x?y" in answer.text

    def test_plain_and_secure_addresses_stand_side_by_side(self, developed: Developed) -> None:
        assert developed.get().json()["is_secure"] is True
        lines = developed.duck.text.splitlines()
        plain = next(line.split()[-1] for line in lines if line.strip().startswith("http://"))
        assert httpx.get(plain, trust_env=False, timeout=20).json()["is_secure"] is False

    def test_two_certificates_are_chosen_by_name(self, developed: Developed) -> None:
        port, client = int(developed.duck.url.rpartition(":")[2]), developed.authority.client()
        for name in ("localhost", "other.localhost"):
            with (
                socket.create_connection(("127.0.0.1", port), timeout=20) as raw,
                client.wrap_socket(raw, server_hostname=name) as secure,
            ):
                assert (secure.getpeercert() or {})["subjectAltName"][0] == ("DNS", name)
        with pytest.raises(ssl.SSLCertVerificationError):
            client.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="x.example")

    def test_the_subject_of_a_client_reaches_django_and_no_field_can_forge_it(self, developed: Developed) -> None:
        forged = {"SSL_CLIENT_VERIFY": "SUCCESS", "SSL-Client-S-DN": "CN=root", "X-SSL-Client-S-DN": "CN=root"}
        seen = developed.get(headers=forged).json()
        assert seen["SSL_CLIENT_VERIFY"] == "NONE"
        assert "SSL_CLIENT_S_DN" not in seen
        known = developed.authority.client(developed.clients.issue(subject="Ada"))
        with httpx.Client(verify=known, trust_env=False, timeout=60) as client:
            for _ in range(2):
                seen = client.get(developed.duck.url, headers=forged, timeout=20).json()
                assert (seen["SSL_CLIENT_VERIFY"], seen["SSL_CLIENT_S_DN"]) == ("SUCCESS", "CN=Ada")
                assert seen["SSL_CLIENT_I_DN"] == "CN=Clients"
        assert developed.get().json()["SSL_CLIENT_VERIFY"] == "NONE"

    @pytest.mark.parametrize(
        ("break_it", "said"),
        [
            (lambda chain, key: chain.unlink(), "There is no certificate at "),
            (lambda chain, key: key.chmod(0o644), "has mode 0644"),
            (lambda chain, key: key.write_text("x"), "holds no private key"),
        ],
        ids=["missing", "readable", "wrong"],
    )
    def test_a_certificate_that_cannot_be_used_is_one_sentence_before_anything_starts(
        self, start: Callable[..., Duck], secure_project: Path, pair: Pair, break_it: Any, said: str
    ) -> None:
        break_it(Path(pair[0]), Path(pair[1]))
        duck = start(secure_project, *options(pair))
        assert duck.wait() == 1
        assert said in duck.text
        assert len(duck.text.strip().splitlines()) == 1


def test_https_without_a_certificate_says_how_to_give_one(serve: Callable[..., Duck], secure_project: Path) -> None:
    duck = serve(secure_project, "--listen", "https://127.0.0.1:0")
    assert duck.wait() == 1
    assert "name one with --certfile" in duck.text
    assert "--domain" in duck.text


class TestServe:
    """One Duck for all of these: two front processes over a certificate that is good again after each."""

    @pytest.fixture(scope="class")
    @classmethod
    def authority(cls, tmp_path_factory: pytest.TempPathFactory) -> Authority:
        return Authority(tmp_path_factory.mktemp("authority"))

    @pytest.fixture(scope="class")
    @classmethod
    def pair(cls, authority: Authority) -> Pair:
        return authority.issue("localhost", "127.0.0.1")

    @pytest.fixture(scope="class")
    @classmethod
    def duck(cls, made_project: Path, tmp_path_factory: pytest.TempPathFactory, pair: Pair) -> Iterator[Duck]:
        where = tmp_path_factory.mktemp("served")
        project = Path(shutil.copytree(made_project, where / "project"))
        (project / "site1" / "urls.py").write_text(URLS)
        with shared_duck(project, where, "--workers", "2", *options(pair), command="serve", **serving()) as duck:
            yield duck

    def renew(self, duck: Duck, authority: Authority) -> None:
        """Another certificate in the same files, until it is taken."""
        said = "New connections get the certificate"
        times = duck.text.count(said)
        authority.issue("localhost", "127.0.0.1")
        duck.wait_for(said, times=times + 1)

    def test_every_front_process_speaks_tls_and_status_shows_it(self, duck: Duck, authority: Authority) -> None:
        assert all(get(duck, authority).json()["is_secure"] for _ in range(6))
        told = report(Path(duck.environ["XDG_RUNTIME_DIR"]), duck.cwd)
        assert told["addresses"][0].startswith("https://127.0.0.1:")
        fronts = [entry["pid"] for entry in told["processes"] if entry["role"] == "front"]
        assert len(fronts) == 2
        for pid in fronts:
            maps = Path(f"/proc/{pid}/maps")
            if maps.exists():  # the names are told to them: they need not read certificates
                assert "cryptography" not in maps.read_text()

    def test_a_changed_certificate_is_used_by_every_process_and_drops_no_connection(
        self, duck: Duck, authority: Authority
    ) -> None:
        with httpx.Client(verify=authority.client(), timeout=20, trust_env=False) as client:
            assert client.get(duck.url).json()["is_secure"]
            before = serial(duck, authority)
            self.renew(duck, authority)
            wait_until(lambda: all(serial(duck, authority) != before for _ in range(6)))
            stream = client._transport._pool.connections  # type: ignore[attr-defined]
            kept = list(stream)
            assert client.get(duck.url).json()["is_secure"]
            assert list(stream) == kept  # still the same connection

    def test_a_change_that_is_wrong_is_told_once_and_served_is_what_was(
        self, duck: Duck, authority: Authority, pair: Pair
    ) -> None:
        before = serial(duck, authority)
        Path(pair[0]).write_text("nothing")
        said = "The changed certificate is not used, and the one before is served on"
        duck.wait_for(said)
        assert serial(duck, authority) == before
        self.renew(duck, authority)
        assert duck.text.count(said) == 1

    def test_replacing_duck_keeps_its_tls_listeners(self, duck: Duck, authority: Authority) -> None:
        """The last: then there is none."""
        assert get(duck, authority).json()["is_secure"]
        command = [sys.executable, "-m", "duck", "reload", "--self"]
        done = subprocess.run(command, cwd=duck.cwd, env=duck.environ, capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, done.stdout + done.stderr
        duck.wait_for("has taken over")
        assert all(get(duck, authority).json()["is_secure"] for _ in range(4))
        duck.signal(signal.SIGTERM)
        assert duck.wait() == 128 + signal.SIGTERM


def test_where_a_certificate_is_required_others_are_not_let_in_after_a_change_either(
    serve: Callable[..., Duck], secure_project: Path, authority: Authority, pair: Pair, tmp_path: Path
) -> None:
    clients = Authority(tmp_path / "clients")
    more = ["--client-certificates", "required", "--ca-file", clients.file]
    duck = serve(secure_project, *options(pair), *more)
    known = authority.client(clients.issue(subject="Ada"))
    assert httpx.get(duck.url, verify=known, trust_env=False, timeout=20).json()["SSL_CLIENT_S_DN"] == "CN=Ada"
    authority.issue("localhost", "127.0.0.1")
    duck.wait_for("New connections get the certificate")
    with pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)):
        get(duck, authority)
    assert httpx.get(duck.url, verify=known, trust_env=False, timeout=20).json()["SSL_CLIENT_S_DN"] == "CN=Ada"


def test_a_project_that_redirects_to_https_is_told_of_the_option(
    start: Callable[..., Duck], secure_project: Path, authority: Authority, pair: Pair
) -> None:
    with (secure_project / "site1" / "settings.py").open("a") as settings:
        settings.write("\nSECURE_SSL_REDIRECT = True\nSECURE_HSTS_SECONDS = 3600\n")
    duck = start(secure_project)
    assert "Start with `duck runserver --https`" in duck.wait_for("SECURE_SSL_REDIRECT is on in site1.settings")
    duck.close()
    duck = start(secure_project, *options(pair))
    assert duck.url.startswith("https://localhost:")
    answer = get(duck, authority)
    assert answer.status_code == 200  # it knows that this is HTTPS
    assert "strict-transport-security" not in answer.headers
    assert "SECURE_SSL_REDIRECT" not in duck.text
