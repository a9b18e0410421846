"""Which fields cross the proxy, and what is said of the client (RFC 9110 §7.6, RFC 7239).

Nothing a client sends is believed. Fields that only a proxy may write are dropped, whatever their spelling, unless the
connection comes from TRUSTED_PROXIES; then they say who the client is.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

from duck.net.peer import Peer
from duck.wire.fields import get_all, members, render_fields
from duck.wire.h1 import parse_request_head
from duck.wire.head import HTTP_2, HTTP_10, RequestHead

if TYPE_CHECKING:
    from duck.net.server import Trust
    from duck.wire.fields import Fields

# Where the value of a cookie goes: a byte that no field may hold.
_CUT: Final = b"\x7f"

# More proxies than stand before any server; a chain of a head's length would take the loop 80 ms.
MAX_HOPS: Final = 32

_PROTOCOLS: Final = {10: b"HTTP/1.0", 11: b"HTTP/1.1", 20: b"HTTP/2.0"}


class ForwardRules:
    """How requests are told to backends.

    Attributes:
        prefix: path prefix that moves from PATH_INFO to SCRIPT_NAME, as `/app`, or empty.
        secure_name, secure_value: the field and value of the project's SECURE_PROXY_SSL_HEADER, the name in lower case;
            empty where it has none.
        host: what a backend is told in Host instead of the client's own; empty for that.
    """

    __slots__ = ("_own_secure", "host", "prefix", "secure_name", "secure_value")

    def __init__(
        self, *, prefix: bytes = b"", secure_name: bytes = b"", secure_value: bytes = b"https", host: bytes = b""
    ) -> None:
        self.prefix = prefix
        self.host = host
        self.secure_name = secure_name
        self.secure_value = secure_value
        # Whether the project has a SECURE_PROXY_SSL_HEADER that only it knows.
        self._own_secure = secure_name != b"" and secure_name != b"x-forwarded-proto"

    def split_prefix(self, path: bytes) -> tuple[bytes, bytes]:
        """SCRIPT_NAME and the rest of `path`, both still percent-encoded; the first is empty outside of the prefix."""
        prefix = self.prefix
        if prefix and path.startswith(prefix):
            rest = path[len(prefix) :]
            if not rest or rest.startswith(b"/"):
                return prefix, rest
        return b"", path

    def link_head(
        self, request: RequestHead, peer: Peer, length: bytes, spool: bytes, request_id: bytes = b""
    ) -> bytes:
        """The head of a REQUEST frame (wire.link.REQUEST_ITEMS)."""
        path = request.path
        script = b""
        if self.prefix:
            script, path = self.split_prefix(path)
        block = request.block
        if peer.via or self._own_secure:
            items = b"\0".join(self._link_items(request, peer, request.fields))
        else:
            if block.link_items is None:
                self._keep_link_items(request, peer)
            items = block.link_items or b""
            if block.cookie_at >= 0:
                items = b"".join((items, request.cookie.strip(), block.link_tail))
        return b"\0".join(
            (
                request.method,
                script,
                path,
                request.query,
                request.target,
                peer.link_port,
                length,
                spool,
                request_id,
                _PROTOCOLS[request.version],
                peer.link_shared,
                items,
                peer.link_fields,
            )
        )

    def _keep_link_items(self, request: RequestHead, peer: Peer) -> None:
        """Keep what a worker is told of all requests with this block: what stands before a cookie, and behind it."""
        block = request.block
        fields = block.fields
        if block.cookie_at >= 0:
            fields = fields.copy()
            fields[block.cookie_at] = (fields[block.cookie_at][0], _CUT)
        items, _, block.link_tail = b"\0".join(self._link_items(request, peer, fields)).partition(_CUT)
        block.link_items = items

    def _link_items(self, request: RequestHead, peer: Peer, fields: Fields) -> list[bytes]:
        """Names and values that a worker gets; the body's length goes by itself."""
        dropped = self._dropped(request, peer)
        items: list[bytes] = []
        for index, pair in enumerate(fields):
            if index not in dropped and pair[0].lower() != b"content-length":
                items += pair
        if peer.via:
            items += (b"X-Forwarded-For", self._forwarded_for(request, peer))
        host = self._said(request, peer, b"x-forwarded-host") or request.authority
        if host:
            items += (b"X-Forwarded-Host", host)
        if self._own_secure and peer.scheme == b"https":
            items += (self.secure_name, self.secure_value)
        # A request with no field at all (HTTP/1.0) still says one thing that is true, so that the items stay pairs.
        return items or [b"Via", b"1.0 duck"]

    def http_head(
        self, request: RequestHead, peer: Peer, extra: bytes = b"", *, upgrade: bytes = b"", length: int | None = None
    ) -> bytes:
        """Request line and fields for an HTTP/1.1 backend, with the empty line; `extra`: whole lines of Duck's own.

        A body whose length was not told goes with `length`, or in chunks where that is not known either.
        """
        block = request.block
        cookie = tail = b""
        if peer.via or self._own_secure or self.host:  # what a block keeps is for all rules alike
            lines = b"\r\n".join(self._http_lines(request, peer, request.lines))
        else:
            if block.http_lines is None:
                self._keep_http_lines(request, peer)
            lines = block.http_lines or b""
            cookie = request.cookie
            tail = block.http_tail
        if request.version == HTTP_10:
            if not request.authority and not self.host:
                # HTTP/1.1 needs one; CGI would name the listener, too (RFC 3875 §4.1.14).
                extra += b"Host: " + _listener(peer) + b"\r\n"
            extra += b"Via: 1.0 duck\r\n"
        elif request.version == HTTP_2:
            extra += b"Via: 2.0 duck\r\n"  # the version that was received (RFC 9110 §7.6.3)
        else:
            extra += b"Via: 1.1 duck\r\n"
        if upgrade:
            extra += b"Connection: Upgrade\r\nUpgrade: " + upgrade + b"\r\n"
        elif block.accepts_trailers:
            extra += b"Connection: TE\r\nTE: trailers\r\n"
        if request.content_length is None:
            extra += b"Transfer-Encoding: chunked\r\n" if length is None else b"Content-Length: %d\r\n" % length
        return b"%b %b HTTP/1.1\r\n%b%b%b%b%b\r\n" % (
            request.method,
            request.target,
            lines,
            cookie,
            tail,
            peer.http_fields,
            extra,
        )

    def _keep_http_lines(self, request: RequestHead, peer: Peer) -> None:
        """Keep what a backend is told of all requests with this block: what stands before a cookie, and behind it."""
        block = request.block
        lines = block.lines
        if block.cookie_at >= 0 and lines is not None:
            lines = lines.copy()
            lines[block.cookie_at] += _CUT
        head, _, block.http_tail = b"\r\n".join(self._http_lines(request, peer, lines)).partition(_CUT)
        block.http_lines = head

    def _http_lines(self, request: RequestHead, peer: Peer, lines: list[bytes] | None) -> list[bytes]:
        """The field lines that an HTTP/1.1 backend gets, as received, and an empty one."""
        dropped = self._dropped(request, peer)
        if lines is None:
            lines = [b"%b: %b" % pair for pair in request.fields]
        if not request.authority or self.host:
            dropped.update(index for index, (name, _) in enumerate(request.fields) if name.lower() == b"host")
        kept = [line for index, line in enumerate(lines) if index not in dropped]
        if self.host:
            kept.insert(0, b"Host: " + self.host)
        if peer.via:
            kept.append(b"X-Forwarded-For: " + self._forwarded_for(request, peer))
        host = self._said(request, peer, b"x-forwarded-host") or request.authority
        if host:
            kept.append(b"X-Forwarded-Host: " + host)
        if self._own_secure and peer.scheme == b"https":
            kept.append(b"%b: %b" % (self.secure_name, self.secure_value))
        kept.append(b"")
        return kept

    def forward_trailers(self, request: RequestHead, trailers: Fields | None) -> Fields | None:
        """`trailers` without those that would not have passed as fields (wire.framing has dropped most of these)."""
        if trailers is None:
            return None
        return [pair for pair in trailers if not self._ends_here(request, pair[0].lower())]

    def _dropped(self, request: RequestHead, peer: Peer) -> set[int]:
        """Indexes of the fields that end here, or that the peer may not send."""
        block = request.block
        dropped = {*block.hops, *block.claims}
        if block.connection_named or self._own_secure:
            for index, (name, _) in enumerate(block.fields):
                if self._ends_here(request, name.lower()):
                    dropped.add(index)
        return dropped

    def _ends_here(self, request: RequestHead, lowered: bytes) -> bool:
        """Whether the field is Duck's own to write, or named by `Connection`."""
        if lowered == self.secure_name and self._own_secure:
            return True
        return lowered in request.block.connection_named and lowered not in _NEVER_NAMED

    def _forwarded_for(self, request: RequestHead, peer: Peer) -> bytes:
        """The chain that a trusted proxy tells, and that proxy."""
        said = members(get_all(request.fields, b"x-forwarded-for"))
        return b", ".join([*(said or [peer.host.encode() or b"unknown"]), peer.via.encode()])

    def _said(self, request: RequestHead, peer: Peer, name: bytes) -> bytes:
        """What a trusted proxy said in the field `name`."""
        if not peer.via or not request.block.claims:
            return b""
        values = get_all(request.fields, name)
        return values[-1] if values else b""


# `Connection` must not take away what frames or routes the request (RFC 9110 §7.6.1, last paragraphs).
_NEVER_NAMED: Final = frozenset(
    (b"host", b"content-length", b"content-type", b"content-encoding", b"authorization", b"cookie", b"cache-control")
)


def forwards_left(request: RequestHead) -> int | None:
    """`Max-Forwards` of an OPTIONS or TRACE request (RFC 9110 §7.6.2); None where there is none or it is no number."""
    said = get_all(request.fields, b"max-forwards")
    return int(said[0]) if len(said) == 1 and len(said[0]) < 10 and said[0].isdigit() else None


def count_forward(request: RequestHead, left: int) -> RequestHead:
    """`request` with one of its forwards used up: such requests are rare, and parsed again."""
    fields = [
        (name, b"%d" % (left - 1) if name.lower() == b"max-forwards" else value) for name, value in request.fields
    ]
    protocol = b"HTTP/1.0" if request.version == HTTP_10 else b"HTTP/1.1"
    line = b"%b %b %b\r\n" % (request.method, request.target, protocol)
    counted = parse_request_head(line + render_fields(fields), request.scheme, max_fields=len(fields))
    counted.version = request.version
    counted.content_length = request.content_length  # HTTP/2 has no field that says so of a body without one
    return counted


def _listener(peer: Peer) -> bytes:
    """The listener's address as a value of `Host`."""
    host = f"[{peer.server_host}]" if ":" in peer.server_host else peer.server_host
    return (
        host if peer.server_port == (443 if peer.scheme == b"https" else 80) else f"{host}:{peer.server_port}"
    ).encode()


def identify(request: RequestHead, peer: Peer, trust: Trust) -> Peer:
    """Who asks: `peer` itself, or whom a trusted proxy names.

    `Forwarded` (RFC 7239) wins over `X-Forwarded-*`, those over `X-Real-IP`. From the right, the first address that is
    not itself trusted is the client; what stands left of it anybody could have written.
    """
    if not peer.trusted or not request.block.claims:
        return peer
    nodes: list[bytes] = []
    protocols: list[bytes] = []
    port = 0
    forwarded = members(get_all(request.fields, b"forwarded"))
    if forwarded:
        elements = [_forwarded_pairs(element) for element in forwarded[-MAX_HOPS:]]
        nodes = [element.get(b"for", b"") for element in elements]
        protocols = [element.get(b"proto", b"") for element in elements]
        said = True
    else:
        nodes = members(get_all(request.fields, b"x-forwarded-for"))
        if not nodes:
            nodes = get_all(request.fields, b"x-real-ip")[-1:]
        protocols = members(get_all(request.fields, b"x-forwarded-proto"))
        ports = members(get_all(request.fields, b"x-forwarded-port"))
        if ports and ports[-1].isdigit() and len(ports[-1]) <= 5 and int(ports[-1]) <= 65_535:
            port = int(ports[-1])
        said = bool(nodes or protocols or ports or get_all(request.fields, b"x-forwarded-host"))
    if not said:
        return peer
    host = peer.host
    # Where every hop told its own protocol, the client's is told where the client is; else the nearest proxy says it.
    told = protocols[-1] if protocols else b""
    for index in range(len(nodes) - 1, max(len(nodes) - MAX_HOPS, 0) - 1, -1):
        candidate = _address(nodes[index])
        if not candidate:
            break  # obfuscated or no address: what is left of it cannot be placed
        host = candidate
        if len(protocols) == len(nodes):
            told = protocols[index]
        if candidate not in trust:
            break
    scheme = told.lower()
    if scheme not in (b"http", b"https"):
        scheme = peer.scheme
    if not port:
        port = peer.server_port if scheme == peer.scheme else (443 if scheme == b"https" else 80)
    return Peer(
        host,
        peer.port if host == peer.host else 0,
        peer.server_host,
        port,
        scheme=scheme,
        trusted=True,
        via=peer.host or "unix",
    )


def _forwarded_pairs(element: bytes) -> dict[bytes, bytes]:
    pairs: dict[bytes, bytes] = {}
    for pair in element.split(b";"):
        name, _, value = pair.strip().partition(b"=")
        pairs[name.lower()] = value.strip(b'"')
    return pairs


def _address(value: bytes) -> str:
    """The IP address in a node of `Forwarded` or `X-Forwarded-For`, with or without a port; else empty."""
    text = value.strip().strip(b'"').decode("latin-1")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    if "%" in text:
        return ""  # a zone means something to its own machine only, and may be any text: nobody's to pass on
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(address)
