"""HTTPS in front of a real Django project, under `runserver` and `serve`: what Django sees, and what may change."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.certificates import Authority, Pair
from tests.waiting import wait_until

if TYPE_CHECKING:
    from tests.app.conftest import Duck

Ask = Callable[..., subprocess.CompletedProcess[str]]
Report = Callable[[Path], dict[str, Any]]

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
        user = {"DUCK_USER": "root"} if os.geteuid() == 0 else {}
        given = {"DUCK_ALLOW_UNAPPLIED_MIGRATIONS": "yes", "DUCK_ALLOW_DEBUG": "yes", **user, **environ}
        return start(project, *arguments, command="serve", **given)

    return begin


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


class TestRunserver:
    def test_django_knows_that_it_is_https_whatever_fields_say(
        self, start: Callable[..., Duck], secure_project: Path, authority: Authority, pair: Pair
    ) -> None:
        duck = start(secure_project, *options(pair))
        assert duck.url.startswith("https://localhost:")
        for forged in ({}, {"X-Forwarded-Proto": "http", "Forwarded": "proto=http"}):
            seen = get(duck, authority, "/?a=1", headers=forged).json()
            assert seen["is_secure"] is True
            assert seen["scheme"] == "https"
            assert seen["HTTPS"] == "on"
            assert seen["uri"] == f"{duck.url}/?a=1"
            assert seen["port"] == duck.url.rpartition(":")[2]

    def test_plain_http_at_its_port_is_told_where_to_go(
        self, start: Callable[..., Duck], secure_project: Path, pair: Pair
    ) -> None:
        duck = start(secure_project, *options(pair))
        answer = httpx.get(duck.url.replace("https", "http") + "/x?y", trust_env=False, timeout=20)
        assert answer.status_code == 400
        assert f"use {duck.url}/x?y" in answer.text

    def test_plain_and_secure_addresses_stand_side_by_side(
        self, start: Callable[..., Duck], secure_project: Path, authority: Authority, pair: Pair
    ) -> None:
        arguments = ["--listen", "https://127.0.0.1:0", "--listen", "http://127.0.0.1:0", *options(pair)[1:]]
        duck = start(secure_project, *arguments)
        assert get(duck, authority).json()["is_secure"] is True
        plain = next(line.split()[-1] for line in duck.text.splitlines() if line.strip().startswith("http://"))
        assert httpx.get(plain, trust_env=False, timeout=20).json()["is_secure"] is False

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


class TestServe:
    def test_https_without_a_certificate_says_how_to_give_one(
        self, serve: Callable[..., Duck], secure_project: Path
    ) -> None:
        duck = serve(secure_project, "--listen", "https://127.0.0.1:0")
        assert duck.wait() == 1
        assert "name one with --certfile" in duck.text
        assert "--domain" in duck.text

    def test_every_front_process_speaks_tls_and_status_shows_it(
        self, serve: Callable[..., Duck], report: Report, secure_project: Path, authority: Authority, pair: Pair
    ) -> None:
        duck = serve(secure_project, "--workers", "2", *options(pair))
        assert all(get(duck, authority).json()["is_secure"] for _ in range(6))
        told = report(secure_project)
        assert told["addresses"][0].startswith("https://127.0.0.1:")
        for pid in [entry["pid"] for entry in told["processes"] if entry["role"] == "front"]:
            maps = Path(f"/proc/{pid}/maps")
            if maps.exists():  # the names are told to them: they need not read certificates
                assert "cryptography" not in maps.read_text()

    def test_a_changed_certificate_is_used_by_every_process_and_drops_no_connection(
        self, serve: Callable[..., Duck], secure_project: Path, authority: Authority, pair: Pair
    ) -> None:
        duck = serve(secure_project, "--workers", "2", *options(pair))
        with httpx.Client(verify=authority.client(), timeout=20, trust_env=False) as client:
            assert client.get(duck.url).json()["is_secure"]
            before = serial(duck, authority)
            authority.issue("localhost", "127.0.0.1")  # the same files
            duck.wait_for("New connections get the certificate")
            wait_until(lambda: all(serial(duck, authority) != before for _ in range(6)))
            stream = client._transport._pool.connections  # type: ignore[attr-defined]
            kept = list(stream)
            assert client.get(duck.url).json()["is_secure"]
            assert list(stream) == kept  # still the same connection

    def test_a_change_that_is_wrong_is_told_once_and_served_is_what_was(
        self, serve: Callable[..., Duck], secure_project: Path, authority: Authority, pair: Pair
    ) -> None:
        duck = serve(secure_project, "--workers", "1", *options(pair))
        before = serial(duck, authority)
        Path(pair[0]).write_text("nothing")
        duck.wait_for("The changed certificate is not used, and the one before is served on")
        assert serial(duck, authority) == before

    def test_replacing_duck_keeps_its_tls_listeners(
        self, serve: Callable[..., Duck], ask: Ask, secure_project: Path, authority: Authority, pair: Pair
    ) -> None:
        duck = serve(secure_project, "--workers", "1", *options(pair))
        assert get(duck, authority).json()["is_secure"]
        done = ask(secure_project, "reload", "--self")
        assert done.returncode == 0, done.stdout + done.stderr
        duck.wait_for("has taken over")
        assert all(get(duck, authority).json()["is_secure"] for _ in range(4))
        duck.signal(signal.SIGTERM)
        assert duck.wait() == 128 + signal.SIGTERM


def test_two_certificates_are_chosen_by_name(
    start: Callable[..., Duck], secure_project: Path, authority: Authority, pair: Pair
) -> None:
    other = authority.issue("other.localhost")
    duck = start(secure_project, *options(pair), *options(other)[1:])
    port = int(duck.url.rpartition(":")[2])
    for name in ("localhost", "other.localhost"):
        with (
            socket.create_connection(("127.0.0.1", port), timeout=20) as raw,
            authority.client().wrap_socket(raw, server_hostname=name) as client,
        ):
            assert (client.getpeercert() or {})["subjectAltName"][0] == ("DNS", name)
    with pytest.raises(ssl.SSLCertVerificationError):
        authority.client().wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="x.example")


class TestClientCertificates:
    def test_the_subject_reaches_django_and_no_field_can_forge_it(
        self, start: Callable[..., Duck], secure_project: Path, authority: Authority, pair: Pair, tmp_path: Path
    ) -> None:
        clients = Authority(tmp_path / "clients", "Clients")
        duck = start(secure_project, *options(pair), "--client-certificates", "requested", "--ca-file", clients.file)
        forged = {"SSL_CLIENT_VERIFY": "SUCCESS", "SSL-Client-S-DN": "CN=root", "X-SSL-Client-S-DN": "CN=root"}
        seen = get(duck, authority, headers=forged).json()
        assert seen["SSL_CLIENT_VERIFY"] == "NONE"
        assert "SSL_CLIENT_S_DN" not in seen
        with httpx.Client(verify=authority.client(clients.issue(subject="Ada")), trust_env=False, timeout=60) as client:
            for _ in range(2):
                seen = client.get(duck.url, headers=forged, timeout=20).json()
                assert (seen["SSL_CLIENT_VERIFY"], seen["SSL_CLIENT_S_DN"]) == ("SUCCESS", "CN=Ada")
                assert seen["SSL_CLIENT_I_DN"] == "CN=Clients"
        assert get(duck, authority).json()["SSL_CLIENT_VERIFY"] == "NONE"

    def test_where_one_is_required_others_are_not_let_in_after_a_change_either(
        self, serve: Callable[..., Duck], secure_project: Path, authority: Authority, pair: Pair, tmp_path: Path
    ) -> None:
        clients = Authority(tmp_path / "clients")
        more = ["--workers", "1", "--client-certificates", "required", "--ca-file", clients.file]
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
    answer = get(duck, authority)
    assert answer.status_code == 200  # it knows that this is HTTPS
    assert "strict-transport-security" not in answer.headers
    assert "SECURE_SSL_REDIRECT" not in duck.text
