"""`duck serve --domain` as a finished site: ports 443 and 80 of all addresses, and sockets that systemd opened.

The ports are real ones, in a network of the test's own (a namespace), so that nothing of the machine is in the way.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from duck.exceptions import ApplicationError
from duck.net.listener import Listener, open_listeners, speaks_tls
from duck.settings.listen import parse_listen
from tests.app.conftest import Duck
from tests.app.test_host import open_project, python_of_nobody  # noqa: F401 - a fixture
from tests.certificates import Authority

# Runs in the namespace: starts Duck, asks it over both families, and prints what it saw.
SCRIPT = """
import fcntl, http.client, json, signal, socket, ssl, struct, subprocess, sys
import psutil

python, project, ca, chain, key, user = sys.argv[1:]
with socket.socket() as interface:  # SIOCSIFFLAGS, IFF_UP
    fcntl.ioctl(interface, 0x8914, struct.pack("16sh22x", b"lo", 1))
command = [python, "-m", "duck", "serve", "--domain", "shop.test", "--domain", "www.shop.test", "--workers", "1"]
command += ["--certfile", chain, "--keyfile", key, "--user", user]
duck = subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
said = []
for line in duck.stdout:
    said.append(line)
    if "is ready after" in line:
        break
context = ssl.create_default_context(cafile=ca)
seen = {}
for address in ("127.0.0.1", "::1"):
    for name in ("shop.test", "www.shop.test"):
        plain = http.client.HTTPConnection(address, 80, timeout=20)
        plain.request("GET", "/a?b=%20", headers={"Host": name})
        answer = plain.getresponse()
        raw = socket.create_connection((address, 443), timeout=20)
        with context.wrap_socket(raw, server_hostname=name) as secure:
            secure.sendall(f"GET / HTTP/1.1\\r\\nHost: {name}\\r\\nConnection: close\\r\\n\\r\\n".encode())
            text = b""
            while more := secure.recv(65536):
                text += more
        body = text.partition(b"\\r\\n\\r\\n")[2].decode()
        seen[f"{address} {name}"] = [answer.status, answer.getheader("Location"), body]
processes = [psutil.Process(duck.pid), *psutil.Process(duck.pid).children(recursive=True)]
uids = [process.uids().real for process in processes]
duck.send_signal(signal.SIGTERM)
rest = duck.communicate(timeout=30)[0]
print(json.dumps({"seen": seen, "said": "".join(said) + rest, "code": duck.returncode, "uids": uids}))
"""


def in_a_network_of_its_own(*arguments: str, cwd: Path, environ: dict[str, str]) -> dict[str, Any]:
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-n", "true"], capture_output=True).returncode:
        pytest.skip("a network of its own (unshare -n) takes root, or a kernel with namespaces")
    done = subprocess.run(
        [unshare, "-n", sys.executable, "-c", SCRIPT, *arguments],
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        timeout=55,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def prepare(project: Path) -> None:
    """In production its own hosts are all that Django answers."""
    with (project / "site1" / "settings.py").open("a") as settings:
        settings.write("\nDEBUG = False\nALLOWED_HOSTS = ['shop.test', 'www.shop.test']\n")
    (project / "site1" / "urls.py").write_text(
        "from django.http import HttpResponse\nfrom django.urls import path\n"
        "urlpatterns = [path('', lambda request: HttpResponse(request.build_absolute_uri()))]\n"
    )


def expect(told: dict[str, Any]) -> None:
    assert told["seen"] == {
        f"{address} {name}": [308, f"https://{name}/a?b=%20", f"https://{name}/"]
        for address in ("127.0.0.1", "::1")
        for name in ("shop.test", "www.shop.test")
    }
    assert told["code"] == 143
    assert "Duck" in told["said"] and "listens at https://shop.test" in told["said"]


def test_a_site_is_served_on_443_and_redirected_from_80_over_both_families(
    project: Path, environ: dict[str, str], tmp_path: Path
) -> None:
    prepare(project)
    authority = Authority(tmp_path / "ca")
    pair = authority.issue("shop.test", "www.shop.test")
    environ |= {"DUCK_ALLOW_UNAPPLIED_MIGRATIONS": "yes"}
    told = in_a_network_of_its_own(
        sys.executable, str(project), authority.file, *pair, "root", cwd=project, environ=environ
    )
    expect(told)


def test_it_binds_as_root_and_serves_as_somebody_else(
    open_project: Path,  # noqa: F811
    environ: dict[str, str],
) -> None:
    nobodys = python_of_nobody()
    python = nobodys.pop("PYTHON")
    prepare(open_project)
    authority = Authority(open_project.parent / "ca")
    chain, key = authority.issue("shop.test", "www.shop.test")
    shutil.chown(key, "nobody")
    kept = {name: value for name, value in environ.items() if name not in ("XDG_RUNTIME_DIR", "XDG_STATE_HOME")}
    kept |= nobodys | {"DUCK_ALLOW_UNAPPLIED_MIGRATIONS": "yes", "XDG_STATE_HOME": str(open_project.parent / "state")}
    (open_project.parent / "state").mkdir()
    shutil.chown(open_project.parent / "state", "nobody")
    told = in_a_network_of_its_own(
        python, str(open_project), authority.file, chain, key, "nobody", cwd=open_project, environ=kept
    )
    expect(told)
    assert 0 not in told["uids"] and len(told["uids"]) >= 3


def test_every_address_is_both_families(tmp_path: Path) -> None:
    listeners = open_listeners([parse_listen("https://*:0")])
    try:
        families = {listener.family for listener in listeners}
        assert families == ({socket.AF_INET, socket.AF_INET6} if socket.has_ipv6 else {socket.AF_INET})
        assert len({listener.getsockname()[1] for listener in listeners}) == 1
        assert all(speaks_tls(listener) for listener in listeners)
    finally:
        for listener in listeners:
            listener.close()


def test_who_may_not_bind_is_told_what_gives_the_right(monkeypatch: pytest.MonkeyPatch) -> None:
    def bind(self: Listener, address: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Listener, "bind", bind)
    with pytest.raises(ApplicationError) as caught:
        open_listeners([parse_listen("https://*:443")])
    sentence = str(caught.value)
    for remedy in ("systemd", "setcap cap_net_bind_service=+ep", "--user NAME"):
        assert remedy in sentence


PROGRAM = """
import fcntl, os, sys
names, count = sys.argv[1], len(sys.argv[1].split(":"))
for number in range(count):
    spare = fcntl.fcntl(int(sys.argv[2 + number]), fcntl.F_DUPFD, 20)
    os.dup2(spare, 3 + number)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(count), "LISTEN_FDNAMES": names}
os.execv(sys.executable, [sys.executable, "-m", "duck", "serve", "--workers", "1", *sys.argv[2 + count:]])
"""


@pytest.fixture
def handed(project: Path, environ: dict[str, str]) -> Iterator[Callable[..., Duck]]:
    """Start `duck serve` with sockets as systemd hands them over, by their names."""
    running: list[Duck] = []

    def start(sockets: dict[str, socket.socket], *arguments: str) -> Duck:
        given = {"DUCK_ALLOW_UNAPPLIED_MIGRATIONS": "yes", "DUCK_ADMIN_LISTEN": "off"}
        given |= {"DUCK_USER": "root"} if os.geteuid() == 0 else {}
        descriptors = [one.fileno() for one in sockets.values()]
        command = [sys.executable, "-c", PROGRAM, ":".join(sockets), *map(str, descriptors), *arguments]
        for descriptor in descriptors:
            os.set_inheritable(descriptor, True)
        running.append(Duck(command, project, environ | given, close_fds=False))
        for one in sockets.values():
            one.close()
        return running[-1]

    yield start
    for duck in running:
        duck.close()


def opened() -> tuple[socket.socket, int]:
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, listener.getsockname()[1]


def test_sockets_of_systemd_are_for_https_and_one_named_http_is_for_the_redirect(
    handed: Callable[..., Duck], tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "ca")
    chain, key = authority.issue("localhost", "127.0.0.1")
    (secure, port), (plain, plain_port) = opened(), opened()
    files = ["--certfile", chain, "--keyfile", key]
    duck = handed({"https": secure, "http": plain}, "--https", "--force-https", *files, "--domain", "localhost")
    duck.wait_for("is ready after")
    with httpx.Client(verify=authority.client(), trust_env=False, timeout=20) as client:
        assert client.get(f"https://localhost:{port}/").text == "one"
        answer = client.get(f"http://127.0.0.1:{plain_port}/x")
        assert answer.headers["location"] == f"https://127.0.0.1:{port}/x"


def test_without_a_socket_for_it_a_site_that_systemd_opened_has_no_redirect(
    handed: Callable[..., Duck], tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "ca")
    chain, key = authority.issue("localhost")
    secure, port = opened()
    local = socket.socket(socket.AF_UNIX)
    local.bind(str(tmp_path / "s"))
    local.listen()
    files = ["--certfile", chain, "--keyfile", key]
    duck = handed({"https": secure, "local": local}, *files, "--domain", "localhost")
    duck.wait_for("is ready after")
    with httpx.Client(verify=authority.client(), trust_env=False, timeout=20) as client:
        assert client.get(f"https://localhost:{port}/").text == "one"
    # What comes by a Unix socket has ended TLS before.
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(tmp_path / "s")), timeout=20) as client:
        assert client.get("http://localhost/").text == "one"
    assert "is redirected to HTTPS" not in duck.text


@pytest.mark.parametrize(
    ("given", "port", "admin"),
    [
        ({"DOMAINS": ("example.org",)}, 443, 8001),
        ({"LISTEN": ("http://0.0.0.0:80",)}, 80, 8001),
        ({"PORT": 443}, 443, 444),
        ({"PORT": 9000}, 9000, 9001),
        ({"LISTEN": ("http://127.0.0.1:9000", "https://127.0.0.1:9001")}, 9000, 9002),
        ({"ENABLE_HTTPS": True, "FORCE_HTTPS": True, "PORT": 8079}, 8079, 8081),
        ({"PORT": 0}, 40_000, 0),
    ],
)
def test_health_and_figures_are_at_a_port_that_may_be_bound(
    tmp_path: Path, given: dict[str, Any], port: int, admin: int
) -> None:
    from duck.app.overview import _addresses
    from duck.settings.load import load

    (address,) = _addresses(load({"MODE": "serve", **given}, {}, tmp_path), port)
    assert (address.host, address.port) == ("127.0.0.1", admin)
