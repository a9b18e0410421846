"""What the DNS says, asked of a name server: the system's own answers may come from a hosts file, which no authority
has.
"""

from __future__ import annotations

import ipaddress
from typing import Any, Final, Protocol

from duck.exceptions import CertificateError
from duck.services.certificates.caa import Caa

_LIFETIME_S: Final = 5.0


class Resolver(Protocol):
    """Answers, or raises a CertificateError of the kind `name`."""

    def addresses(self, name: str) -> list[str]:
        """The addresses of `name`, IPv4 first; none where it has none."""

    def caa(self, name: str) -> list[Caa]:
        """The CAA records at `name` itself."""


class DnsResolver:
    """Asks `nameserver` (`address` or `address:port`), by default those of the system."""

    def __init__(self, nameserver: str | None = None) -> None:
        import dns.resolver

        self._resolver: Any = dns.resolver.Resolver(configure=nameserver is None)
        self._resolver.lifetime = _LIFETIME_S
        if nameserver is not None:
            host, port = _split(nameserver)
            self._resolver.nameservers, self._resolver.port = [host], port

    def addresses(self, name: str) -> list[str]:
        """The addresses of `name`, IPv4 first; none where it has none."""
        return [record.address for kind in ("A", "AAAA") for record in self._ask(name, kind)]

    def caa(self, name: str) -> list[Caa]:
        """The CAA records at `name` itself."""
        return [
            Caa(record.flags, record.tag.decode("ascii", "replace"), record.value.decode("utf-8", "replace"))
            for record in self._ask(name, "CAA")
        ]

    def _ask(self, name: str, kind: str) -> Any:
        import dns.exception
        import dns.resolver

        try:
            return self._resolver.resolve(f"{name}.", kind, search=False)
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return ()
        except dns.exception.DNSException as error:
            raise CertificateError(
                f"The DNS does not answer for {name} ({kind}): {str(error).rstrip('.')}.", kind="name"
            ) from error


def _split(nameserver: str) -> tuple[str, int]:
    host, colon, port = nameserver.rpartition(":")
    if not colon or (":" in host and not host.startswith("[")):
        host, port = nameserver, "53"
    try:
        return str(ipaddress.ip_address(host.strip("[]"))), int(port)
    except ValueError as error:
        raise CertificateError(
            f"{nameserver!r} is no name server; give an address, or address:port, as in 9.9.9.9.", kind="name"
        ) from error
