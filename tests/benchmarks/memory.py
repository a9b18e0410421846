"""What large bodies and idle connections add to a stack's memory."""

from __future__ import annotations

import resource
import socket
import ssl
import time
from typing import TYPE_CHECKING

from tests.benchmarks.project import DOWNLOAD_BYTES, MEGABYTE
from tests.benchmarks.servers import Failed, peak_bytes, reset_peaks, resident_bytes

if TYPE_CHECKING:
    from tests.benchmarks.stacks import Stack

UPLOAD_BYTES = 100 * MEGABYTE
SLOW_BYTES_PER_S = 25 * MEGABYTE
TIMEOUT_S = 120.0
SETTLE_S = 0.5


def upload(stack: Stack) -> float:
    """Bytes of memory that a request body of 100 MB adds at its peak, all processes together."""
    _warm(stack)
    before = _before(stack)
    with _connect(stack) as client:
        client.sendall(_head(stack, "POST", "/upload", f"Content-Length: {UPLOAD_BYTES}\r\n"))
        piece = bytes(MEGABYTE)
        for _ in range(UPLOAD_BYTES // MEGABYTE):
            client.sendall(piece)
        answer = _read_answer(client)
    if not answer.endswith(str(UPLOAD_BYTES).encode()):
        raise Failed(f"{stack.name} answered an upload with {answer[:200]!r}")
    return peak_bytes(stack.family()) - before


def download(stack: Stack) -> float:
    """Bytes of memory that a streamed answer of 100 MB adds at its peak, read at 25 MB/s."""
    _warm(stack)
    before = _before(stack)
    with _connect(stack, receive_buffer=65_536) as client:
        client.sendall(_head(stack, "GET", "/download"))
        received = 0
        started = time.monotonic()
        while chunk := client.recv(65_536):
            received += len(chunk)
            ahead = received / SLOW_BYTES_PER_S - (time.monotonic() - started)
            if ahead > 0.005:
                time.sleep(ahead)
            if received > DOWNLOAD_BYTES:
                break  # the head is counted in: this is the end
    if received <= DOWNLOAD_BYTES:
        raise Failed(f"{stack.name} sent {received} of {DOWNLOAD_BYTES} bytes")
    return peak_bytes(stack.family()) - before


def idle(stack: Stack, connections: int) -> float:
    """Bytes of memory for one connection that was answered once and is kept open.

    Of all of them, or of their second half, whichever is more: the first may find memory that the start has left over.
    """
    raise_file_limit(connections + 256)
    _warm(stack)
    half = connections // 2
    clients: list[socket.socket] = []
    before = resident_bytes(stack.family())
    try:
        _open(stack, clients, half)
        middle = resident_bytes(stack.family())
        _open(stack, clients, connections - half)
        after = resident_bytes(stack.family())
        closed = sum(map(_is_closed, clients))
    finally:
        for client in clients:
            client.close()
    if closed:
        raise Failed(f"{stack.name} closed {closed} of {connections} idle connections")
    return max((after - before) / connections, (after - middle) / (connections - half))


def _open(stack: Stack, clients: list[socket.socket], count: int) -> None:
    """Open so many connections more, and have each answered."""
    for _ in range(count):
        client = _connect(stack)
        clients.append(client)
        client.sendall(_head(stack, "GET", "/"))
        if not _read_answer(client).startswith(b"HTTP/1.1 200"):
            raise Failed(f"{stack.name} did not answer connection {len(clients)}")
    time.sleep(SETTLE_S)


def raise_file_limit(wanted: int) -> None:
    """Let this process, and the servers that it starts after, have so many open files.

    Raises:
        Failed: the system allows fewer.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise Failed(f"{wanted} open files are needed, and the system allows {hard}: raise `ulimit -Hn`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _warm(stack: Stack) -> None:
    """Have every lazy import, thread and buffer there before the memory is read."""
    for _ in range(10):
        clients = [_connect(stack) for _ in range(20)]
        for client in clients:
            client.sendall(_head(stack, "GET", "/"))
        for client in clients:
            _read_answer(client)
            client.close()
    with _connect(stack) as client:
        client.sendall(_head(stack, "POST", "/upload", "Content-Length: 5\r\n") + b"small")
        _read_answer(client)
    time.sleep(SETTLE_S)


def _before(stack: Stack) -> int:
    family = stack.family()
    reset_peaks(family)
    return resident_bytes(family)


def _connect(stack: Stack, *, receive_buffer: int = 0) -> socket.socket:
    client = socket.socket()
    client.settimeout(TIMEOUT_S)
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.connect(("127.0.0.1", stack.port))
    if stack.scheme == "https":
        return ssl._create_unverified_context().wrap_socket(client)
    return client


def _head(stack: Stack, method: str, path: str, fields: str = "") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{stack.port}\r\n{fields}\r\n".encode()


def _read_answer(client: socket.socket) -> bytes:
    """A small answer with a Content-Length, head and body; what came before the end where the server closes."""
    answer = b""
    while chunk := client.recv(65_536):
        answer += chunk
        head, found, body = answer.partition(b"\r\n\r\n")
        _, named, rest = head.lower().partition(b"content-length:")
        if found and named and len(body) >= int(rest.split(b"\r\n")[0]):
            break
    return answer


def _is_closed(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True
