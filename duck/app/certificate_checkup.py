"""`duck cert doctor`: what would keep a certificate from being obtained, looked at before an authority is asked for it.

Each finding has its remedy. Names, addresses and port 80 are seen as they are from here, which a firewall or a router
may have differ from what the authority sees.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import ipaddress
import secrets
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from duck.app.finding import ERROR, OK, WARNING, Finding
from duck.exceptions import CertificateError
from duck.net.certificate import in_utc
from duck.services.certificates.account import accepted_terms
from duck.services.certificates.caa import relevant, why_forbidden
from duck.services.certificates.challenge import DNS_01, HTTP_01, PATH, HttpProver
from duck.services.certificates.due import due, obtained_pair, remembered
from duck.services.certificates.ledger import Ledger, has_known_limits, reached
from duck.services.certificates.names import (
    address_of,
    canonical,
    is_public_authority,
    is_wildcard,
    refuse_untellable,
)
from duck.services.certificates.store import CertificateStore
from duck.services.ports import who_holds

if TYPE_CHECKING:
    from duck.services.certificates.resolver import Resolver
    from duck.settings.views import CertificatesView

_KNOWN_IDENTITIES: Final = {"acme-v02.api.letsencrypt.org": ("letsencrypt.org",)}
_CONNECT_S: Final = 5.0
# A nonce or a certificate that is valid from now on is not valid yet for a clock that is so late.
_CLOCK_S: Final = 60.0


class CertificateCheckup:
    """One look at what the settings name.

    Args:
        look: what an authority says of itself (`Authority.look`), by the address of its directory.
        port: at which the authority looks; 80 but for private ones.
    """

    def __init__(
        self,
        state: Path,
        view: CertificatesView,
        resolver: Resolver,
        look: Callable[[], dict[str, Any]],
        *,
        port: int = 80,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._state = state
        self._view = view
        self._resolver = resolver
        self._look = look
        self._port = port
        self._clock = clock
        self._identities: tuple[str, ...] = ()

    def findings(self) -> Iterator[Finding]:
        """What is found, as it is found."""
        view = self._view
        if not view.domains:
            yield Finding(ERROR, "names", "There is no name to look at: give --domain (DOMAINS).")
            return
        yield from self._authority()
        names = []
        for written in view.domains:
            try:
                name = canonical(written)
                refuse_untellable(
                    name, view.directory, has_own_root=view.ca_file is not None, has_hook=view.hook is not None
                )
            except CertificateError as error:
                yield Finding(ERROR, "name", str(error))
            else:
                names.append(name)
        for name in dict.fromkeys(names):
            yield from self._name(name)

    # -- the authority --------------------------------------------------------------------------------------------

    def _authority(self) -> Iterator[Finding]:
        view = self._view
        try:
            said = self._look()
        except CertificateError as error:
            yield Finding(ERROR, "authority", f"{error} Without it nothing is obtained or renewed.")
            return
        self._identities = tuple(identity.lower() for identity in said["caa"])
        yield Finding(OK, "authority", f"{view.directory} answers.")
        if said["binds_accounts"] and view.eab is None and not accepted_terms(self._state, view.directory):
            yield Finding(
                ERROR,
                "account",
                f"{view.directory} makes accounts only for those who have one there already; give --eab-kid"
                " (ACME_EAB_KID) and ACME_EAB_HMAC_KEY, as it told you them.",
            )
        ahead = said["clock_s"]
        if ahead is None:
            yield Finding(WARNING, "clock", "The authority does not say what time it is: see that this clock is right.")
        elif abs(ahead) > _CLOCK_S:
            late = "slow" if ahead > 0 else "fast"
            sentence = f"This machine's clock is {abs(ahead):.0f} s {late} by the authority's; set it, as by"
            yield Finding(ERROR, "clock", f"{sentence} `timedatectl set-ntp true`.")
        else:
            yield Finding(OK, "clock", f"This machine's clock agrees with the authority's within {_CLOCK_S:.0f} s.")
        if view.profile is not None and view.profile not in said["profiles"]:
            known = ", ".join(sorted(said["profiles"])) or "none"
            yield Finding(ERROR, "profile", f"There is no profile {view.profile!r}, but {known}; correct ACME_PROFILE.")

    # -- one name -------------------------------------------------------------------------------------------------

    def _name(self, name: str) -> Iterator[Finding]:
        addresses: list[str] = []
        if address_of(name) is not None:
            addresses = [name]
        elif not is_wildcard(name) or self._view.hook is None:
            found = self._addresses(name)
            addresses = found[1]
            yield found[0]
        if self._view.hook is None and addresses:
            yield from self._reachable(name, addresses)
        if address_of(name) is None:
            yield self._caa(name)
        yield self._limits(name)
        yield self._kept(name)

    def _addresses(self, name: str) -> tuple[Finding, list[str]]:
        try:
            addresses = self._resolver.addresses(name)
        except CertificateError as error:
            return Finding(ERROR, "name", f"{error} See that the name servers of the domain answer."), []
        if not addresses:
            remedy = "add an A record, and AAAA where this machine has IPv6, with its public address."
            return Finding(ERROR, "name", f"{name} has no address in the DNS; {remedy}"), []
        private = [address for address in addresses if not ipaddress.ip_address(address).is_global]
        has_public = is_public_authority(self._view.directory, has_own_root=self._view.ca_file is not None)
        if private and has_public and self._view.hook is None:
            sentence = f"{name} is {', '.join(private)} in the DNS, which no public authority can reach; give it the"
            return Finding(ERROR, "name", f"{sentence} public address, or prove it by --acme-dns-hook."), []
        return Finding(OK, "name", f"{name} is {', '.join(addresses)} in the DNS."), addresses

    def _reachable(self, name: str, addresses: list[str]) -> Iterator[Finding]:
        """Whether a challenge that lies in the state directory is answered at each of the name's addresses."""
        token, value = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        prover = HttpProver(self._state / "acme" / "challenges")
        try:
            prover.present(name, token, value)
        except CertificateError as error:
            yield Finding(ERROR, "state directory", str(error))
            return
        try:
            with _stand_in(self._port, token, value):
                for address in addresses:
                    yield self._reached(name, address, token, value)
        finally:
            prover.remove(name, token, value)

    def _reached(self, name: str, address: str, token: str, value: str) -> Finding:
        place = f"[{address}]:{self._port}" if ":" in address else f"{address}:{self._port}"
        try:
            status, said, server = _get(address, self._port, name, PATH + token)
        except OSError as error:
            why = "nobody answers in time" if isinstance(error, TimeoutError) else error.strerror or str(error)
            remedy = "start `duck serve`, and let port 80 through the firewall and the router"
            if self._port != 80:
                remedy = f"let port {self._port} through"
            return Finding(ERROR, "port 80", f"{name} is not reached at {place} ({why}); {remedy}.")
        except http.client.HTTPException:
            return Finding(ERROR, "port 80", f"What answers at {place} speaks no HTTP; end that, or move it.")
        if said.strip() == value.encode():
            return Finding(OK, "port 80", f"{name} is reached at {place}, and challenges are answered there.")
        who = who_holds("0.0.0.0", self._port) or (f" by {server}" if server else "")
        sentence = f"Challenges for {name} are answered at {place}{who} with status {status}, and not by Duck"
        return Finding(ERROR, "port 80", f"{sentence}; end that, or have it pass {PATH} on to Duck.")

    def _caa(self, name: str) -> Finding:
        host = self._view.directory.partition("//")[2].partition("/")[0]
        identities = self._identities or _KNOWN_IDENTITIES.get(host, ())
        try:
            where, records = relevant(name, self._resolver.caa)
        except CertificateError as error:
            remedy = "an authority issues nothing then; see that the name servers of the domain answer."
            return Finding(ERROR, "CAA", f"{error} Without an answer {remedy}")
        if not records:
            return Finding(OK, "CAA", f"No CAA record restricts who may issue for {name}.")
        if not identities:
            sentence = f"{where} has CAA records, and the authority does not say by which name it is known there"
            return Finding(WARNING, "CAA", f"{sentence}; see that one of them is its own.")
        method = HTTP_01 if self._view.hook is None else DNS_01
        why = why_forbidden(records, identities, wildcard=is_wildcard(name), method=method)
        if why:
            wanted = f'0 issue "{identities[0]}"'
            sentence = f"By the CAA records of {where} {why}, and not {identities[0]}"
            return Finding(ERROR, "CAA", f"{sentence}; add the record {wanted} at {where}.")
        return Finding(OK, "CAA", f"The CAA records of {where} let {identities[0]} issue for {name}.")

    def _limits(self, name: str) -> Finding:
        from duck.services.certificates.account import account_directory

        directory = self._view.directory
        if not has_known_limits(directory):
            return Finding(OK, "limits", f"No limits are known of {directory}.")
        events = Ledger(account_directory(self._state, directory) / "ledger.json").read()
        renews = obtained_pair(CertificateStore(self._state).entry(name), self._view) is not None
        bound = reached(events, name, self._clock(), renews=renews)
        if bound is None:
            return Finding(OK, "limits", f"There is room for {name} within the limits of {directory}.")
        until = in_utc(bound.until)
        return Finding(ERROR, "limits", f"{bound.sentence}; wait until {until}, and try things out in the staging.")

    def _kept(self, name: str) -> Finding:
        entry = CertificateStore(self._state).entry(name)
        pair = obtained_pair(entry, self._view)
        progress = remembered(entry, pair)
        then = in_utc(due(entry, self._view, self._clock()).at)
        failure = (f"Last failure: {progress.error}",) if progress.failures else ()
        if pair is None:
            level = WARNING if progress.failures else OK
            return Finding(level, "certificate", f"There is none for {name} yet; it is ordered {then}.", failure)
        if not pair.is_valid(self._clock()):
            sentence = f"The certificate for {name} has expired on {in_utc(pair.not_after)}"
            return Finding(
                ERROR, "certificate", f"{sentence}; mend what is told here, then `duck cert renew`.", failure
            )
        sentence = f"The certificate for {name} is valid until {in_utc(pair.not_after)}; next look: {then}."
        return Finding(WARNING if failure else OK, "certificate", sentence, failure)


def _get(address: str, port: int, host: str, path: str) -> tuple[int, bytes, str]:
    """Status, the first KiB of the body, and who says that it has answered."""
    connection = http.client.HTTPConnection(address, port, timeout=_CONNECT_S)
    try:
        connection.request("GET", path, headers={"Host": host, "Connection": "close"})
        answer = connection.getresponse()
        return answer.status, answer.read(1024), answer.headers.get("Server") or ""
    finally:
        connection.close()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().server_bind()


@contextlib.contextmanager
def _stand_in(port: int, token: str, value: str) -> Iterator[None]:
    """Answer the one challenge at `port` where nobody listens there and this user may; else whoever does has to."""

    class Answer(http.server.BaseHTTPRequestHandler):
        timeout = _CONNECT_S

        def do_GET(self) -> None:
            found = self.path == PATH + token
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(value.encode() if found else b"")

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    servers: list[_Server] = []
    for kind, address in ((_Server, "0.0.0.0"), (_Server6, "::")):
        with contextlib.suppress(OSError):
            servers.append(kind((address, port), Answer))
    threads = [threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for server, thread in zip(servers, threads, strict=True):
            server.shutdown()
            server.server_close()
            thread.join()
