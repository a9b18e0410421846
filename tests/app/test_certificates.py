"""HTTPS with nothing but names: of a public authority under `serve`, of this machine's own under `runserver`."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import ssl
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from duck.services.certificates.local_authority import ALWAYS, LocalAuthority
from duck.services.certificates.store import CertificateStore
from duck.settings.declared.certificates import LETS_ENCRYPT
from tests.app.conftest import ONE_OF_EACH, Duck
from tests.app.test_host import python_of_nobody
from tests.services.certificates.pebble import Pebble, free_port, running_pebble
from tests.waiting import wait_until

# An authority takes its time, and so do processes on a busy machine.
pytestmark = pytest.mark.timeout(180)

Ask = Callable[..., subprocess.CompletedProcess[str]]
Report = Callable[[Path], dict[str, Any]]
Serve = Callable[..., Duck]

NAMES = ("example.test", "www.example.test")

# Without the authorities of the system, which take longer to read than a connection.
ANYBODY = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
ANYBODY.check_hostname, ANYBODY.verify_mode = False, ssl.CERT_NONE


@pytest.fixture(scope="module")
def pebble(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with running_pebble(tmp_path_factory.mktemp("pebble")) as made:
        yield made


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state" / "duck"


@pytest.fixture
def site(project: Path) -> Path:
    """A project that answers for the names."""
    settings = project / "site1" / "settings.py"
    settings.write_text(settings.read_text().replace("ALLOWED_HOSTS = []", f"ALLOWED_HOSTS = {['.example.test']}"))
    return project


@pytest.fixture
def serve(start: Callable[..., Duck], pebble: Pebble) -> Serve:
    """`duck serve` of the names, with the redirect where the authority looks."""

    def begin(project: Path, *arguments: str, names: tuple[str, ...] = NAMES, **environ: str) -> Duck:
        options = [option for name in names for option in ("--domain", name)]
        given = {
            "DUCK_ACME_DIRECTORY": pebble.directory,
            "DUCK_ACME_CA_FILE": str(pebble.ca_file),
            "DUCK_FORCE_HTTPS": "true",
            "DUCK_FORCE_HTTPS_BIND_PORT": str(pebble.http_port),
            "DUCK_ADMIN_LISTEN": "off",
            "DUCK_ALLOW_UNAPPLIED_MIGRATIONS": "yes",
            **environ,
        }
        listen = ["--listen", "https://127.0.0.1:0"]
        listen += ["--user", "root"] if os.geteuid() == 0 else []
        return start(project, *listen, *options, *arguments, command="serve", **given)

    return begin


def shown(port: int, name: str) -> x509.Certificate:
    """What the server at `port` shows to a client that asks for `name`; whoever it is of."""
    with (
        socket.create_connection(("127.0.0.1", port), 20) as plain,
        ANYBODY.wrap_socket(plain, server_hostname=name) as secure,
    ):
        data = secure.getpeercert(binary_form=True)
    assert data is not None
    return x509.load_der_x509_certificate(data)


def get(port: int, name: str, root: x509.Certificate, path: str = "/") -> httpx.Response:
    """As a client that trusts `root`, for which `name` is at this machine."""
    context = ssl.create_default_context(cadata=root.public_bytes(Encoding.PEM).decode())
    with httpx.Client(verify=context, trust_env=False, timeout=20) as client:
        return client.get(f"https://127.0.0.1:{port}{path}", headers={"Host": name}, extensions={"sni_hostname": name})


def port_of(duck: Duck) -> int:
    return int(duck.url.rpartition(":")[2])


def fronts(report: dict[str, Any]) -> set[int]:
    return {process["pid"] for process in report["processes"] if process["role"] == "front"}


class TestServe:
    def test_names_are_served_self_signed_at_once_and_by_the_authority_soon_and_anew_with_no_restart(
        self, serve: Serve, site: Path, report: Report, pebble: Pebble, state: Path, ask: Ask, ask_here: Ask
    ) -> None:
        duck = serve(site, "--agree-tos")
        port = port_of(duck)
        first = shown(port, NAMES[0])
        before = fronts(report(site))
        for name in NAMES:
            duck.wait_for(f"The certificate for {name} is valid until")
        root = pebble.roots()
        for name in NAMES:
            wait_until(lambda name=name: shown(port, name).issuer != shown(port, name).subject)
            assert get(port, name, root).text == "one"
        assert first.subject == first.issuer
        # The process that asked has gone, and those that serve are the same.
        wait_until(lambda: not [p for p in duck.children() if "certificates.keeping" in " ".join(p.cmdline())])
        assert fronts(report(site)) == before
        told = report(site)["certificates"]
        assert list(told) == list(NAMES)
        assert told[NAMES[0]]["until"].endswith("UTC")
        assert "until" in ask_here(site, "status").stdout
        # What another process obtains is taken up.
        authority = {"DUCK_ACME_DIRECTORY": pebble.directory, "DUCK_ACME_CA_FILE": str(pebble.ca_file)}
        before_that = shown(port, NAMES[0]).serial_number
        done = ask(site, "cert", "renew", NAMES[0], "--force", **authority)
        assert done.returncode == 0, done.stderr
        wait_until(lambda: shown(port, NAMES[0]).serial_number != before_that)
        duck.signal(signal.SIGTERM)
        assert duck.wait() == 128 + signal.SIGTERM
        # The next start asks nobody, and has no need of terms.
        log = pebble.log
        again = serve(site)
        port = port_of(again)
        for name in NAMES:
            assert get(port, name, root).text == "one"
        assert pebble.log == log
        assert "self-signed" not in again.text

    def test_a_name_that_allowed_hosts_does_not_hold_is_told_of_and_not_ordered(
        self, serve: Serve, site: Path, report: Report, pebble: Pebble, ask_here: Ask
    ) -> None:
        orders = pebble.orders()
        duck = serve(site, "--agree-tos", names=("other.test", NAMES[0]))
        line = duck.wait_for("ALLOWED_HOSTS")
        assert "No certificate for other.test is ordered" in line
        assert "duck reload" in line
        duck.wait_for(f"The certificate for {NAMES[0]} is valid until")
        assert pebble.orders() == orders + 1
        assert "ALLOWED_HOSTS" in report(site)["certificates"]["other.test"]["failure"]
        settings = site / "site1" / "settings.py"
        settings.write_text(settings.read_text().replace("['.example.test']", "['.test']"))
        assert ask_here(site, "reload").returncode == 0
        duck.wait_for("The certificate for other.test is valid until")

    def test_with_the_authority_away_it_serves_and_says_why_it_is_self_signed(
        self, serve: Serve, site: Path, report: Report
    ) -> None:
        away = f"https://127.0.0.1:{free_port()}/dir"
        duck = serve(site, "--agree-tos", names=NAMES[:1], DUCK_ACME_DIRECTORY=away)
        line = duck.wait_for("No certificate for example.test")
        assert "is not reached: Connection refused. Tried again on " in line
        certificate = shown(port_of(duck), NAMES[0])
        assert certificate.issuer == certificate.subject
        told = report(site)["certificates"][NAMES[0]]
        assert told["until"] == "none yet, self-signed"
        assert "is not reached" in told["failure"]
        # The next start does not ask before its time.
        duck.signal(signal.SIGTERM)
        duck.wait()
        again = serve(site, names=NAMES[:1], DUCK_ACME_DIRECTORY=away)
        wait_until(lambda: shown(port_of(again), NAMES[0]) == certificate)
        again.wait_for("is ready after")
        assert report(site)["certificates"][NAMES[0]] == told
        assert "No certificate for" not in again.text

    def test_a_challenge_port_that_is_taken_is_one_sentence_with_who_has_it(
        self, serve: Serve, site: Path, pebble: Pebble
    ) -> None:
        with socket.create_server(("127.0.0.1", pebble.http_port)):
            duck = serve(site, "--agree-tos")
            assert duck.wait() == 1
        assert f"port {pebble.http_port} on 127.0.0.1 is in use by" in duck.text
        assert f"(process id {os.getpid()}); " in duck.text
        assert "FORCE_HTTPS_BIND_PORT" in duck.text
        assert "Traceback" not in duck.text

    def test_the_terms_of_the_authority_that_everybody_has_are_wanted_before_anything_starts(
        self, serve: Serve, site: Path
    ) -> None:
        duck = serve(site, names=("example.org",), DUCK_ACME_DIRECTORY=LETS_ENCRYPT, DUCK_ACME_CA_FILE="")
        assert duck.wait() == 1
        assert "accept them by --agree-tos, once." in duck.text

    def test_a_private_name_is_of_this_machines_own_authority_and_nobody_is_asked(
        self, serve: Serve, site: Path, state: Path
    ) -> None:
        given = {"DUCK_ACME_DIRECTORY": LETS_ENCRYPT, "DUCK_ACME_CA_FILE": ""}
        duck = serve(site, names=NAMES, **given)
        port = port_of(duck)
        authority = LocalAuthority.find(state)
        assert authority is not None
        for name in NAMES:
            assert get(port, name, authority.certificate).text == "one"
        assert not (state / "acme" / "accounts").exists()
        refused = serve(site, "--name", "other", names=("shop.internal",), **given)
        assert refused.wait() == 1
        assert "No public certificate authority is asked for shop.internal" in refused.text

    def test_the_process_that_asks_ends_with_the_app(self, serve: Serve, site: Path, tmp_path: Path) -> None:
        """A hook that hangs: the App does not wait for it, and a kill leaves nobody."""
        hook, began = tmp_path / "hook", tmp_path / "began"
        hook.write_text(f"#!/bin/sh\ntouch {began}\nsleep 600\n")
        hook.chmod(0o755)
        for number in (signal.SIGTERM, signal.SIGKILL):
            began.unlink(missing_ok=True)
            duck = serve(site, "--agree-tos", "--acme-dns-hook", str(hook), names=("*.example.test",))
            wait_until(began.exists)
            family = duck.children()
            duck.signal(number)
            duck.wait()
            wait_until(lambda family=family: not [p for p in family if p.is_running() and p.status() != "zombie"])


@pytest.mark.skipif(getattr(os, "geteuid", lambda: 1)() != 0, reason="only root can become another user")
@pytest.mark.parametrize("has_place", [True, False], ids=["a state directory", "no home"])
def test_started_by_root_all_keys_are_of_the_user_who_serves(site: Path, has_place: bool) -> None:
    environ = python_of_nobody()
    python, uid = environ.pop("PYTHON"), pwd.getpwnam("nobody").pw_uid
    with tempfile.TemporaryDirectory(prefix="duck-") as base:
        os.chmod(base, 0o755)
        project, kept = Path(shutil.copytree(site, f"{base}/project")), Path(base, "state")
        for path in (project, *project.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        if has_place:
            kept.mkdir(mode=0o700)  # of root's, as systemd makes it for a service that drops rights by itself
        else:
            kept = Path(f"/var/lib/duck-{uid}")
            if kept.exists():
                pytest.skip(f"{kept} is there")
        options = ["--user", "nobody", "--listen", "https://127.0.0.1:0", "--domain", NAMES[0], "--agree-tos"]
        environ |= {
            **ONE_OF_EACH,
            **({"STATE_DIRECTORY": str(kept)} if has_place else {}),
            "DUCK_ACME_DIRECTORY": f"https://127.0.0.1:{free_port()}/dir",
            "DUCK_ADMIN_LISTEN": "off",
        }
        duck = Duck([python, "-m", "duck", "serve", *options], project, environ)
        try:
            duck.wait_for(f"No certificate for {NAMES[0]}")
            certificate = shown(port_of(duck), NAMES[0])
            assert certificate.issuer == certificate.subject
            keys = list(kept.rglob("*key.pem"))
            assert keys, duck.text
            for path in kept.rglob("*"):
                found = path.lstat()
                assert found.st_uid == uid, path
                if not path.is_symlink():
                    assert stat.S_IMODE(found.st_mode) == (0o700 if path.is_dir() else 0o600), path
        finally:
            duck.close()
            if not has_place:
                shutil.rmtree(kept, ignore_errors=True)


class TestRunserver:
    def test_https_needs_nothing_else(self, start: Callable[..., Duck], project: Path, state: Path) -> None:
        duck = start(project, "--https")
        assert duck.url.startswith("https://localhost:")
        duck.wait_for("browsers take it after `duck cert trust`")
        authority = LocalAuthority.find(state)
        assert authority is not None
        context = ssl.create_default_context(cafile=str(authority.path))
        answer = httpx.get(duck.url, verify=context, trust_env=False, timeout=20)
        assert answer.text == "one"
        names = x509.load_pem_x509_certificate(authority.leaf(ALWAYS).chain.read_bytes())
        assert shown(port_of(duck), "localhost") == names  # the same one: it has these names, too
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(duck.url, trust_env=False, timeout=60)

    def test_the_names_of_its_settings_are_in_it(self, start: Callable[..., Duck], project: Path) -> None:
        duck = start(project, "--https", "--address", "127.0.0.1", "--domain", "shop.test")
        wanted = {"localhost", "shop.test"}
        port = int(duck.wait_for("listens at").split()[-1].rstrip("/").rpartition(":")[2])
        names = shown(port, "shop.test").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert wanted <= set(names.get_values_for_type(x509.DNSName))

    def test_one_that_is_about_to_expire_is_made_anew_by_the_next_start(
        self, start: Callable[..., Duck], project: Path, state: Path
    ) -> None:
        state.parent.mkdir(parents=True, exist_ok=True)
        state.mkdir(mode=0o700)
        authority = LocalAuthority.find_or_make(state)
        old = authority.leaf(ALWAYS, now=datetime.now(UTC) - timedelta(days=25))
        duck = start(project, "--https")
        certificate = shown(port_of(duck), "localhost")
        assert certificate.serial_number != old.serial
        assert certificate.not_valid_after_utc > datetime.now(UTC) + timedelta(days=25)

    def test_files_that_the_settings_name_go_before_it(
        self, start: Callable[..., Duck], project: Path, state: Path, tmp_path: Path
    ) -> None:
        other = tmp_path / "other"
        other.mkdir()
        pair = LocalAuthority.find_or_make(other).leaf(["localhost"])
        duck = start(project, "--https", "--certfile", str(pair.chain), "--keyfile", str(pair.key))
        assert shown(port_of(duck), "localhost").serial_number == pair.serial
        assert not state.exists()
        assert not list(CertificateStore(state).entries())
