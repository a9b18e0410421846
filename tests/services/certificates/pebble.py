"""Debian's pebble: a real ACME server, strict, that refuses one nonce in five and remembers no validation."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import random
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from duck.services.certificates.local_authority import LocalAuthority
from duck.settings.views import CertificatesView

DEADLINE_S = 30.0
PATH = "/.well-known/acme-challenge/"


def free_port() -> int:
    """One that nobody has, and that no connection is given by chance before it is used (Linux: from 32768 on)."""
    while True:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Pebble:
    """One authority, its DNS, and what its own certificate is checked by.

    Attributes:
        directory: its ACME directory.
        ca_file: PEM file of the authority of its HTTPS.
        http_port: where it asks for challenges.
        dns: `host:port` of its DNS server, which `management` is told what to say.
    """

    def __init__(self, base: Path, accounts: dict[str, str]) -> None:
        self.base = base
        self.http_port, port, management, self._dns_port, self._dns_management = (free_port() for _ in range(5))
        self.directory = f"https://127.0.0.1:{port}/dir"
        self.dns = f"127.0.0.1:{self._dns_port}"
        self.management = f"http://127.0.0.1:{self._dns_management}"
        self._management = f"https://127.0.0.1:{management}"
        authority = LocalAuthority.find_or_make(base, machine=())
        pair = authority.leaf(["127.0.0.1", "localhost"])
        self.ca_file = authority.path
        self._config = base / "pebble.json"
        self._config.write_text(
            json.dumps(
                {
                    "pebble": {
                        "listenAddress": f"127.0.0.1:{port}",
                        "managementListenAddress": f"127.0.0.1:{management}",
                        "certificate": str(pair.chain),
                        "privateKey": str(pair.key),
                        "httpPort": self.http_port,
                        "tlsPort": free_port(),
                        "externalAccountBindingRequired": bool(accounts),
                        "externalAccountMACKeys": accounts,
                    }
                }
            )
        )
        self._processes: list[subprocess.Popen[bytes]] = []

    @classmethod
    def start(cls, base: Path, accounts: dict[str, str] | None = None) -> Pebble:
        """Skips the test where there is no pebble.

        With `accounts` (keys in base64url by their identifiers) it makes none but for those.
        """
        for program in ("pebble", "pebble-challtestsrv"):
            if shutil.which(program) is None:
                pytest.skip(f"{program} is not on this machine (apt-get install pebble)")
        made = cls(base, accounts or {})
        command = ["pebble-challtestsrv", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""]
        command += ["-http01", "", "-https01", "", "-tlsalpn01", "", "-dns01", made.dns]
        made._run("dns", [*command, "-management", f"127.0.0.1:{made._dns_management}"])
        made.resume()
        return made

    def resume(self) -> None:
        """Start the authority (again; it has forgotten everything)."""
        self._run("pebble", ["pebble", "-strict", "-config", str(self._config), "-dnsserver", self.dns])
        self.wait()

    def suspend(self) -> None:
        """Take the authority away."""
        process = self._processes.pop()
        process.kill()
        process.wait()

    def wait(self) -> None:
        end = time.monotonic() + DEADLINE_S
        while True:
            with contextlib.suppress(httpx.HTTPError):
                self.get(self.directory)
                return
            assert time.monotonic() < end, (self.base / "pebble.log").read_text()
            assert self._processes[-1].poll() is None, (self.base / "pebble.log").read_text()

    def get(self, url: str) -> bytes:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        return httpx.get(url, verify=context, trust_env=False, timeout=60).raise_for_status().content

    def roots(self) -> x509.Certificate:
        """Of what it issues."""
        return x509.load_pem_x509_certificate(self.get(f"{self._management}/roots/0"))

    def say(self, path: str, **values: object) -> None:
        """Tell the DNS server."""
        httpx.post(f"{self.management}/{path}", json=values, trust_env=False, timeout=60).raise_for_status()

    @property
    def log(self) -> str:
        return (self.base / "pebble.log").read_text()

    def orders(self) -> int:
        """How many orders it has had."""
        return self.log.count("Added order")

    def view(self, *domains: str, **more: object) -> CertificatesView:
        """The settings that name it."""
        values: dict[str, object] = {
            "domains": domains,
            "email": "me@example.test",
            "agree_tos": True,
            "directory": self.directory,
            "ca_file": self.ca_file,
            "staging": None,
            "profile": None,
            "hook": None,
            "dns_wait_s": 0.0,
        }
        return CertificatesView(**{**values, **more})  # type: ignore[arg-type]

    def close(self) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            process.wait()

    def _run(self, name: str, command: list[str]) -> None:
        environ = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "20", "PEBBLE_AUTHZREUSE": "0"}
        with (self.base / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._processes.append(process)


@contextlib.contextmanager
def running_pebble(base: Path, accounts: dict[str, str] | None = None) -> Iterator[Pebble]:
    """One that ends with the block; as `Pebble.start`."""
    made = Pebble.start(base, accounts)
    try:
        yield made
    finally:
        made.close()


class ChallengeServer:
    """What serves challenges from files on the port at which the authority looks."""

    def __init__(self, directory: Path, port: int) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Answer(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                file = directory / self.path.removeprefix(PATH)
                found = self.path.startswith(PATH) and file.is_file()
                self.send_response(200 if found else 404)
                self.end_headers()
                if found:
                    self.wfile.write(file.read_bytes())

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Answer)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextlib.contextmanager
def challenges(state: Path, port: int) -> Iterator[ChallengeServer]:
    server = ChallengeServer(state / "acme" / "challenges", port)
    try:
        yield server
    finally:
        server.close()
