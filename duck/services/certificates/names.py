"""Names that certificates are for, and which of them a public certificate authority may be told."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509

from duck.exceptions import CertificateError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# RFC 2606, 6761, 6762, 7686, 8375, 9476, `.internal` by ICANN's resolution of 2024; and what routers make up.
_LOCAL_ENDS: Final = frozenset(
    "localhost test example invalid local onion alt arpa internal intranet private corp home lan localdomain".split()
)
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")


def canonical(name: str) -> str:
    """`name` as certificates and files have it: lower case, A-labels (RFC 5890), no final dot; IP addresses short.

    Raises:
        CertificateError: it is neither a host name nor an IP address.
    """
    text = name.strip().strip("[]").removesuffix(".").lower()
    address = address_of(text)
    if address is not None:
        return str(address)
    labels = text.removeprefix("*.").split(".")
    try:
        labels = [label if label.isascii() else label.encode("idna").decode("ascii") for label in labels]
    except UnicodeError:
        labels = [""]
    text = ("*." if text.startswith("*.") else "") + ".".join(labels)
    if len(text) > 253 or not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdecimal():
        raise CertificateError(
            f"{name!r} is no name that a certificate can be for; give one like example.org, *.example.org or an IP"
            " address.",
            kind="name",
        )
    return text


def address_of(name: str) -> Address | None:
    """The IP address that `name` is; None for a host name."""
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def is_wildcard(name: str) -> bool:
    """Whether `name` stands for one label more, any."""
    return name.startswith("*.")


def why_private(name: str) -> str:
    """Why `name`, canonical, is nobody's business outside; empty for a public one."""
    address = address_of(name)
    if address is not None:
        return "" if address.is_global and not address.is_multicast else "it is an address of a private network"
    labels = name.removeprefix("*.").split(".")
    if len(labels) < 2:
        return "it has no dot, so it is known in this network only"
    if labels[-1] in _LOCAL_ENDS:
        return f"names that end in .{labels[-1]} are not in the public DNS"
    return ""


def is_public_authority(directory: str, *, has_own_root: bool) -> bool:
    """Whether the certificate authority at `directory` may be one that publishes what it issues.

    One whose own certificate is checked by a given file (`has_own_root`), or whose name is a private one, is not.
    """
    try:
        host = canonical(urlsplit(directory).hostname or "")
    except (CertificateError, ValueError):
        return True
    return not has_own_root and not why_private(host)


def refuse_untellable(name: str, directory: str, *, has_own_root: bool, has_hook: bool) -> None:
    """Refuse what the authority at `directory` must not, or cannot, be asked for.

    Raises:
        CertificateError: a private name and a public authority; or a name that cannot be proved in the way that is set.
    """
    why = why_private(name)
    if why and is_public_authority(directory, has_own_root=has_own_root):
        raise CertificateError(
            f"No public certificate authority is asked for {name}: {why}. Make one with `duck cert local {name}`, or"
            " name your own authority with ACME_DIRECTORY and ACME_CA_FILE.",
            kind="name",
        )
    if is_wildcard(name) and not has_hook:
        raise CertificateError(
            f"{name} can be proved by the DNS alone: give a command that writes TXT records with --acme-dns-hook.",
            kind="name",
        )
    if address_of(name) is not None and has_hook:
        raise CertificateError(
            f"{name} is an IP address, which has to be proved over port 80: leave ACME_DNS_HOOK out.", kind="name"
        )


def is_allowed_host(name: str, allowed: Iterable[str]) -> bool:
    """Whether Django's ALLOWED_HOSTS lets requests for `name` pass (django.http.request.validate_host).

    Of a wildcard only a pattern that lets all of its names pass does.
    """
    for pattern in allowed:
        pattern = pattern.lower()
        if pattern == "*":
            return True
        if pattern.startswith("."):
            host = name.removeprefix("*.")
            if host.endswith(pattern) or host == pattern[1:]:
                return True
        elif name == pattern.strip("[]"):
            return True
    return False


def general_names(names: Iterable[str]) -> list[x509.GeneralName]:
    """`names`, canonical, as a certificate's subjectAltName has them (RFC 5280 §4.2.1.6)."""
    found: list[x509.GeneralName] = []
    for name in names:
        address = address_of(name)
        found.append(x509.DNSName(name) if address is None else x509.IPAddress(address))
    return found


def file_name(name: str) -> str:
    """A directory's name for `name`, canonical: no other one has it, and every file system takes it."""
    return f"[{name.replace(':', '-')}]" if ":" in name else name.replace("*", "+")


def name_of_file(name: str) -> str:
    """The name that `file_name` made `name` of."""
    return name.strip("[]").replace("-", ":") if name.startswith("[") else name.replace("+", "*")
