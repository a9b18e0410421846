"""Backends that a test plays, over real sockets, each connection in a thread of its own."""

import contextlib
import os
import socket
import struct
import threading
from pathlib import Path

from duck.proxy.upstream import Upstream
from duck.wire import link

TIMEOUT_S = 20.0


class Backend:
    """Accepts connections and has `script(connection)` play each; faults of a script are kept in `faults`."""

    def __init__(self, script, *, address=None, backlog=128):
        if address is None:
            self.listener = socket.create_server(("127.0.0.1", 0), backlog=backlog)
            self.address = self.listener.getsockname()[:2]
        else:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(str(address))
            self.listener.listen(backlog)
            self.address = str(address)
        self.script = script
        self.connections = []
        self.faults = []
        self._threads = []
        self._lock = threading.Lock()
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.settimeout(TIMEOUT_S)
            connection = self.make(sock)
            with self._lock:
                connection.number = len(self.connections)
                self.connections.append(connection)
            thread = threading.Thread(target=self._play, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _play(self, connection):
        try:
            self.play(connection)
        except (EOFError, ConnectionError):
            pass
        except OSError as error:
            if connection.sock.fileno() >= 0:
                self.faults.append(error)
        except BaseException as error:
            self.faults.append(error)
        finally:
            connection.close()

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.connections:
            connection.close()
        self._accepting.join(TIMEOUT_S)
        for thread in self._threads:
            thread.join(TIMEOUT_S)
        if isinstance(self.address, str):
            Path(self.address).unlink(missing_ok=True)
        assert not self.faults, self.faults


class Connection:
    """One connection, as a backend sees it."""

    def __init__(self, sock):
        self.sock = sock
        self.number = 0
        self.buffer = b""
        self.requests = []
        self.ended = threading.Event()  # the front has closed it

    def fill(self):
        data = self.sock.recv(65_536)
        if not data:
            self.ended.set()
            raise EOFError
        self.buffer += data

    def read(self, count):
        while len(self.buffer) < count:
            self.fill()
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def read_until(self, end):
        while end not in self.buffer:
            self.fill()
        data, _, self.buffer = self.buffer.partition(end)
        return data

    def wait_end(self):
        """Wait until the front closes the connection; what it sends meanwhile is dropped."""
        with contextlib.suppress(EOFError, ConnectionError):
            while True:
                self.fill()
                self.buffer = b""
        self.ended.set()

    def send(self, data):
        self.sock.sendall(data)

    def close(self):
        """End the connection, with what waits to be read."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def reset(self):
        """End the connection by a reset, as the kernel does for a process that was killed with input unread."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


class HttpBackend(Backend):
    """Speaks HTTP/1.1 as its script does."""

    make = Connection

    def play(self, connection):
        self.script(connection)

    def upstream(self, slots=8, **more):
        more = {"patient": False, "name": "scripted", **more}
        return Upstream("http", self.address, slots, **more)


def read_request(connection):
    """Request line, fields (lower-case names) and body of the next request."""
    block = connection.read_until(b"\r\n\r\n")
    line, *lines = block.split(b"\r\n")
    fields = {}
    for field in lines:
        name, _, value = field.partition(b": ")
        fields[name.lower()] = value
    if fields.get(b"transfer-encoding") == b"chunked":
        body = b""
        while size := int(connection.read_until(b"\r\n"), 16):
            body += connection.read(size)
            connection.read(2)
        while connection.read_until(b"\r\n"):
            pass
    else:
        body = connection.read(int(fields.get(b"content-length", b"0")))
    connection.requests.append((line, fields, body))
    return line, fields, body


def answer(body=b"", *fields, status="200 OK"):
    """A whole answer."""
    lines = "".join(f"{field}\r\n" for field in fields)
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body


def serve(reply):
    """A script that answers each request by `reply(connection, line, fields, body)`: bytes, or None to end."""

    def script(connection):
        while True:
            said = reply(connection, *read_request(connection))
            if said is None:
                return
            connection.send(said)

    return script


class Slot(Connection):
    """One slot of a link worker."""

    def read_frame(self):
        size, kind = link.FRAME.unpack(self.read(link.FRAME.size))
        return kind, self.read(size)

    def read_call(self):
        """The items by name, the fields, and the body of the next REQUEST."""
        kind, payload = self.read_frame()
        while kind == link.ABORT:  # of a call that was over
            kind, payload = self.read_frame()
        assert kind == link.REQUEST, kind
        items, body = link.split_request(link.frame(kind, payload))
        items[link.SHARED_AT :] = items[link.SHARED_AT].split("\0")
        named = dict(zip(link.REQUEST_ITEMS, items, strict=False))
        fields = list(zip(items[link.FIELDS_AT :: 2], items[link.FIELDS_AT + 1 :: 2], strict=True))
        spool = os.fsdecode(named["spool"].encode("latin-1"))
        body = Path(spool).read_bytes() if spool else bytes(body)
        self.requests.append((named, fields, body))
        return named, fields, body

    def hello(self):
        """Grant the slot that was asked for."""
        kind, self.front = self.read_frame()
        assert kind == link.ASK, kind
        self.send(link.frame(link.HELLO))

    def head(self, body=b"", *, status=200, block=b"", length=None, complete=False):
        self.send(link.head_frame(status, b"OK", block, length, body, complete=complete))

    def answer(self, body=b"", status=200):
        """A whole answer, and the slot free."""
        self.head(body, status=status, length=len(body), complete=True)
        self.free()

    def data(self, body):
        self.send(link.frame(link.DATA, body))

    def end(self):
        self.send(link.frame(link.END))

    def cut(self, reason):
        self.send(link.frame(link.CUT, reason.encode()))

    def free(self):
        self.send(link.free_frame(0))


class LinkBackend(Backend):
    """A link worker: `script(slot, items, fields, body)` answers one call after the other."""

    make = Slot

    def play(self, slot):
        slot.hello()
        while True:
            self.script(slot, *slot.read_call())

    def upstream(self, slots=8, **more):
        more = {"patient": False, "name": "worker", **more}
        return Upstream("link", self.address, slots, **more)
