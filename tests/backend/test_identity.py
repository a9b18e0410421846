"""What an ASGI application is told of its client, out of band."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from duck.backend.django.worker.identity import Identified
from duck.net.peer import Peer

CERTIFICATE = (("SSL_CLIENT_VERIFY", "SUCCESS"), ("SSL_CLIENT_S_DN", r"CN=Ada & Co\, x=1,O=A B"))


def scope_of(identity: bytes) -> dict[str, Any]:
    seen: list[dict[str, Any]] = []

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        seen.append(scope)

    async def send(message: dict[str, Any]) -> None:
        pass

    headers = [(b"x-duck-identity", b"secret " + identity), (b"ssl-client-s-dn", b"CN=root")]
    scope = {"type": "http", "headers": headers, "extensions": {"other": {}}}
    asyncio.run(Identified(application, "X-Duck-Identity", "secret")(scope, None, send))  # type: ignore[arg-type]
    assert len(seen) == 1, "it was refused"
    return seen[0]


def test_the_subject_of_a_clients_certificate_is_in_the_tls_extension() -> None:
    peer = Peer("192.0.2.1", 4711, "example.org", 443, scheme=b"https", certificate=CERTIFICATE)
    scope = scope_of(peer.identity)
    assert scope["extensions"]["tls"]["client_cert_name"] == CERTIFICATE[1][1]
    assert "other" in scope["extensions"]
    assert (scope["scheme"], scope["client"], scope["server"]) == ("https", ["192.0.2.1", 4711], ["example.org", 443])


@pytest.mark.parametrize("certificate", [(), (("SSL_CLIENT_VERIFY", "NONE"),)])
def test_who_has_shown_none_has_no_name(certificate: tuple[tuple[str, str], ...]) -> None:
    scope = scope_of(Peer("192.0.2.1", 4711, "example.org", 443, scheme=b"https", certificate=certificate).identity)
    assert scope["extensions"].get("tls", {}).get("client_cert_name") is None
