"""A small ACME server for what pebble lacks: renewal information (RFC 9773), profiles, limits, odd answers.

It believes whatever it is told: that names are proved, and that requests are signed; pebble is there for that.
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from duck.services.certificates.leaf import new_key


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class SmallAuthority:
    """Attributes are what it does next.

    Attributes:
        requests: paths that it was asked for.
        orders: what was ordered: identifiers, profile, and what it replaces.
        accounts: what was said of accounts, when they were made and later.
        knows_replaced: with which error it takes no certificate for replaced; empty for none.
        takes_contacts: whether accounts' addresses may be changed.
        window: the renewal window that it suggests, as datetimes; None for 404.
        refusal: status, ACME error and Retry-After of the next orders; None for none.
        proves: whether names count as proved.
        life: of certificates.
    """

    def __init__(self) -> None:
        self.requests: list[str] = []
        self.orders: list[dict[str, Any]] = []
        self.accounts: list[dict[str, Any]] = []
        self.knows_replaced = ""
        self.takes_contacts = True
        self.meta: dict[str, Any] = {"termsOfService": "https://ca.test/terms"}
        self.window: tuple[datetime.datetime, datetime.datetime] | None = None
        self.has_renewal_info = True
        self.retry_after = "21600"
        self.refusal: tuple[int, str, str | None] | None = None
        self.proves = True
        self.life = datetime.timedelta(days=90)
        self.issues_for: str | None = None
        self.ari: list[str] = []
        self._key = new_key()
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "small authority")])
        self._chains: list[str] = []
        self._csrs: list[bytes] = []
        authority = self

        class Answer(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                authority._answer(self, None)

            def do_HEAD(self) -> None:
                authority._answer(self, None)

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                authority._answer(self, json.loads(unb64(body["payload"]) or b"null"))

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self.base = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.directory = f"{self.base}/dir"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, ask: http.server.BaseHTTPRequestHandler, payload: Any) -> None:
        path = ask.path
        self.requests.append(path)
        status, body, fields = self._of(path, payload)
        data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        ask.send_response(status)
        kind = "application/json" if status < 400 else "application/problem+json"
        for name, value in {
            "Content-Type": "application/pem-certificate-chain" if isinstance(body, str) else kind,
            "Content-Length": str(len(data)),
            "Replay-Nonce": b64(str(len(self.requests)).encode()),
            **fields,
        }.items():
            ask.send_header(name, value)
        ask.end_headers()
        if ask.command != "HEAD":
            ask.wfile.write(data)

    def _of(self, path: str, payload: Any) -> tuple[int, Any, dict[str, str]]:
        base = self.base
        kind, _, number = path.removeprefix("/").partition("/")
        if kind == "dir":
            found = {name: f"{base}/{name}" for name in ("newNonce", "newAccount", "newOrder", "revokeCert")}
            if self.has_renewal_info:
                found["renewalInfo"] = f"{base}/renewalInfo"
            return 200, {**found, "meta": self.meta}, {}
        if kind == "newAccount":
            self.accounts.append(payload)
            return 201, {"status": "valid"}, {"Location": f"{base}/account/1"}
        if kind == "account":
            if not self.takes_contacts:
                return 400, {"type": "urn:ietf:params:acme:error:invalidContact", "detail": "no such address"}, {}
            self.accounts.append(payload)
            return 200, {"status": "valid", **payload}, {}
        if kind == "newOrder":
            if self.knows_replaced and "replaces" in payload:
                error = f"urn:ietf:params:acme:error:{self.knows_replaced}"
                return 409 if self.knows_replaced == "alreadyReplaced" else 400, {"type": error, "detail": "no"}, {}
            if self.refusal is not None:
                status, error, after = self.refusal
                problem = {"type": f"urn:ietf:params:acme:error:{error}", "detail": "no more of that"}
                return status, problem, {} if after is None else {"Retry-After": after}
            self.orders.append(payload)
            number = str(len(self.orders) - 1)
            self._csrs.append(b"")
            self._chains.append("")
            return 201, self._order(number, "pending"), {"Location": f"{base}/order/{number}"}
        if kind == "authz":
            return 200, self._authorization(number), {}
        if kind == "challenge":
            return 200, self._challenge(number), {"Link": f'<{base}/authz/{number}>;rel="up"'}
        if kind == "finalize":
            self._issue(number, x509.load_der_x509_csr(unb64(payload["csr"])))
            return 200, self._order(number, "processing"), {}
        if kind == "order":
            return 200, self._order(number, "valid" if self._chains[int(number)] else "ready"), {}
        if kind == "cert":
            return 200, self._chains[int(number)], {}
        if kind == "renewalInfo" and self.window is not None:
            self.ari.append(number)
            start, end = (moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in self.window)
            return 200, {"suggestedWindow": {"start": start, "end": end}}, {"Retry-After": self.retry_after}
        return (200 if kind == "newNonce" else 404), {"type": "about:blank", "detail": "nothing here"}, {}

    def _order(self, number: str, status: str) -> dict[str, Any]:
        return {
            "status": status,
            "identifiers": self.orders[int(number)]["identifiers"],
            "authorizations": [f"{self.base}/authz/{number}"],
            "finalize": f"{self.base}/finalize/{number}",
            **({"certificate": f"{self.base}/cert/{number}"} if status == "valid" else {}),
        }

    def _authorization(self, number: str) -> dict[str, Any]:
        asked = f"/challenge/{number}" in self.requests
        status = ("valid" if self.proves else "invalid") if asked else "pending"
        return {
            "status": status,
            "identifier": self.orders[int(number)]["identifiers"][0],
            "challenges": [self._challenge(number)],
        }

    def _challenge(self, number: str) -> dict[str, Any]:
        failed = {"error": {"type": "urn:ietf:params:acme:error:connection", "detail": "nobody answers"}}
        return {
            "type": "http-01",
            "status": "pending",
            "url": f"{self.base}/challenge/{number}",
            "token": b64(b"token-of-16-bytes"),
            **({} if self.proves else failed),
        }

    def _issue(self, number: str, request: x509.CertificateSigningRequest) -> None:
        now = datetime.datetime.now(datetime.UTC)
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if self.issues_for is not None:
            names = x509.SubjectAlternativeName([x509.DNSName(self.issues_for)])
        own = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        made = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self._name)
            .public_key(request.public_key())  # type: ignore[arg-type]
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + self.life)
            .add_extension(names, critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), critical=False)
            .sign(self._key, SHA256())
        )
        self._chains[int(number)] = made.public_bytes(Encoding.PEM).decode()


@contextlib.contextmanager
def small_authority() -> Iterator[SmallAuthority]:
    made = SmallAuthority()
    try:
        yield made
    finally:
        made.close()
