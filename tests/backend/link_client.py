"""A small blocking client of the link, and a Django worker started without the App: what tests speak through."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duck
from duck.wire import link
from duck.wire.fields import Fields, get, parse_fields

if TYPE_CHECKING:
    from tests.backend.warm import Forked, Warm

WORKER = Path(duck.__file__).parent / "backend" / "django" / "worker" / "__main__.py"
TIMEOUT_S = 60.0


@dataclass
class Answer:
    """One answer, as the frames told it."""

    status: int = 0
    reason: bytes = b""
    block: bytes = b""
    content_length: int | None = None
    chunks: list[bytes] = field(default_factory=list)
    complete_at_once: bool = False
    ended: bool = False
    cut: str | None = None
    freed: bool = False
    all_us: int = 0
    measures: list[tuple[int, int, int, int]] = field(default_factory=list)
    head_measures: int = 0  # how many of these came before the head

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def fields(self) -> Fields:
        parsed = parse_fields(self.block)
        assert parsed is not None, self.block
        return parsed

    def get(self, name: bytes) -> bytes | None:
        return get(self.fields, name)


class LinkClient:
    """One slot of a worker, asked for in the name of `front`."""

    def __init__(
        self, address: str | tuple[str, int] | list[Any], secret: str = "", front: bytes = b"the test"
    ) -> None:
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(TIMEOUT_S)
            try:
                self.socket.connect(address)
            except OSError:
                self.socket.close()
                raise
        else:
            self.socket = socket.create_connection((address[0], address[1]), timeout=TIMEOUT_S)
        if secret:
            self.socket.sendall(link.frame(link.AUTH, secret.encode()))
        self.socket.sendall(link.frame(link.ASK, front))
        self.reader = link.AnswerReader(self)
        self.recalled = 0
        self.answer = Answer()
        self.found: bytes | None = None
        self.hello = False

    def __enter__(self) -> LinkClient:
        return self

    def __exit__(self, *exc: object) -> None:
        self.socket.close()

    def wait_hello(self) -> None:
        while not self.hello:
            self.receive()

    def receive(self) -> None:
        """Read once and tell the reader; EOFError at the end of the stream."""
        data = self.socket.recv(65536)
        if not data:
            raise EOFError
        self.reader.feed(data)

    def send(
        self,
        method: str,
        target: str,
        fields: list[tuple[str, str]] | None = None,
        body: bytes = b"",
        *,
        length: int | None = None,
        spool: str = "",
        **items: str,
    ) -> None:
        """Send a REQUEST; `items` override those of `link.REQUEST_ITEMS`."""
        path, _, query = target.partition("?")
        values = {
            "method": method,
            "script_name": "",
            "path": path,
            "query": query,
            "target": target,
            "protocol": "HTTP/1.1",
            "scheme": "http",
            "remote_host": "192.0.2.1",
            "remote_port": "40000",
            "server_name": "127.0.0.1",
            "server_port": "8000",
            "length": str(len(body)) if body else "" if length is None else str(length),
            "spool": spool,
            "request_id": "",
            **items,
        }
        pairs = [("Host", "localhost:8000"), *(fields or [])]
        head = "\0".join([values[name] for name in link.REQUEST_ITEMS] + [text for pair in pairs for text in pair])
        self.answer = Answer()
        self.socket.sendall(link.request_frame(head.encode("latin-1"), body))

    def request(self, method: str, target: str, *args: Any, **kwargs: Any) -> Answer:
        """Send a request and read its answer up to FREE."""
        self.wait_hello()
        self.send(method, target, *args, **kwargs)
        return self.read_answer()

    def get(self, target: str, *args: Any, **kwargs: Any) -> Answer:
        return self.request("GET", target, *args, **kwargs)

    def read_answer(self) -> Answer:
        while not self.answer.freed:
            self.receive()
        return self.answer

    def abort(self) -> None:
        self.socket.sendall(link.frame(link.ABORT))

    def find(self, name: str) -> bytes:
        self.wait_hello()
        self.found = None
        self.socket.sendall(link.frame(link.FIND, name.encode()))
        while self.found is None:
            self.receive()
        return self.found

    # -- an AnswerReceiver ----------------------------------------------------------------------------------------

    def link_hello(self) -> None:
        self.hello = True

    def link_head(
        self, status: int, reason: bytes, block: bytes, content_length: int | None, body: bytes, complete: bool
    ) -> None:
        answer = self.answer
        answer.status, answer.reason, answer.block, answer.content_length = status, reason, block, content_length
        answer.complete_at_once = answer.ended = complete
        answer.head_measures = len(answer.measures)
        if body:
            answer.chunks.append(body)

    def link_data(self, chunk: bytes) -> None:
        self.answer.chunks.append(chunk)

    def link_end(self) -> None:
        self.answer.ended = True

    def link_cut(self, reason: str) -> None:
        self.answer.cut = reason

    def link_found(self, path: bytes) -> None:
        self.found = path

    def link_recall(self, level: int) -> None:
        self.recalled = level

    def link_measure(self, queries: int, database_us: int, template_us: int, all_us: int) -> None:
        assert not self.answer.ended, "what an answer has cost is told before its end"
        self.answer.measures.append((queries, database_us, template_us, all_us))

    def link_free(self, all_us: int) -> None:
        self.answer.freed = True
        self.answer.all_us = all_us


class Worker:
    """A Django process started as the App starts it, spoken to over its control socket."""

    def __init__(
        self, project: Path, directory: Path, python: str = sys.executable, warm: Warm | None = None, **spec: Any
    ) -> None:
        self.control, theirs = socket.socketpair()
        self.control.settimeout(TIMEOUT_S)
        self._lines = self.control.makefile("r")
        address = spec.pop("address", str(directory / f"{os.urandom(4).hex()}.sock"))
        environ = {key: value for key, value in os.environ.items() if not key.startswith(("DJANGO_", "PYTEST_"))}
        environ.update(spec.pop("environ", {}))
        environ["_DUCK_WORKER"] = json.dumps(
            {
                "manage": str(project / "manage.py"),
                "cwd": str(project),
                "settings": None,
                "role": "auto",
                "mode": "runserver",
                "threads": 2,
                "address": address,
                "secret": "",
                "identity_field": "x-duck-identity",
                "control_fd": theirs.fileno(),
                "bundle": None,
                "wsgi": None,
                "asgi": None,
                "parent": os.getpid(),
                **spec,
            }
        )
        self.output = directory / f"{os.urandom(4).hex()}.log"
        with open(self.output, "wb") as output:
            self.process: subprocess.Popen[bytes] | Forked = (
                subprocess.Popen if warm is None or python != sys.executable else warm.popen
            )(
                [python, str(WORKER)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                process_group=0,
                env=environ,
            )
        theirs.close()
        self.ready: dict[str, Any] = {}
        self.looked: dict[str, Any] = {}

    def event(self) -> dict[str, Any]:
        """The next event it sends; `{}` at the end. What its checks have said is kept as `looked`."""
        line = self._lines.readline()
        message: dict[str, Any] = json.loads(line) if line else {}
        if message.get("event") != "looked":
            return message
        self.looked = message
        return self.event()

    def wait_ready(self) -> Worker:
        event = self.event()
        assert event.get("event") == "ready", f"{event}\n{self.text()}"
        self.ready = event
        return self

    def client(self, front: bytes = b"the test") -> LinkClient:
        return LinkClient(self.ready["address"], front=front)

    def command(self, command: str, **facts: Any) -> None:
        self.control.sendall(json.dumps({"command": command, **facts}).encode() + b"\n")

    def text(self) -> str:
        return self.output.read_text()

    def wait_text(self, text: str) -> str:
        deadline = time.monotonic() + TIMEOUT_S
        while text not in self.text():
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.01)
        return self.text()

    def stop(self, deadline_s: float = 5.0) -> int:
        self.command("stop", deadline_s=deadline_s)
        return self.process.wait(TIMEOUT_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(TIMEOUT_S)
        self._lines.close()
        self.control.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
