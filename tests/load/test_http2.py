"""HTTP/2 over TLS before a Django that is replaced, and a Duck that is: no request fails, streams end in order, and
clients resume their TLS sessions.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import Iterator

import pytest

from tests.certificates import Authority
from tests.h2_asyncio import Answer, Connection
from tests.load.project import make_project
from tests.load.served import Served

pytestmark = pytest.mark.timeout(150)

BODY = bytes(range(256)) * 400


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Served]:
    """`duck serve` with two front workers and two of Django, over HTTPS."""
    chain, key = authority.issue("localhost")
    site = make_project(tmp_path_factory.mktemp("made") / "site")
    duck = Served(site, arguments=("--https", "--certfile", chain, "--keyfile", key))
    duck.start()
    yield duck
    duck.stop()


class Asking:
    """Connections on each of which several ask one request after the other until `stop`.

    Attributes:
        failed: what was answered wrongly, or not at all.
        pids: of the Django processes that answered.
        connections: how many were opened; more than at first, where the server has said goodbye.
    """

    def __init__(self, port: int, context: ssl.SSLContext, *, connections: int = 3, each: int = 4) -> None:
        self._port = port
        self._context = context
        self._stopping = False
        self.failed: list[str] = []
        self.pids: set[int] = set()
        self.answered = 0
        self.connections = 0
        self._tasks = [asyncio.ensure_future(self._connection(each)) for _ in range(connections)]

    async def more(self, count: int) -> None:
        """Until so many more were answered."""
        wanted = self.answered + count
        async with asyncio.timeout(60):
            while self.answered < wanted and not self.failed:  # noqa: ASYNC110 - looked at, not told of
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def _connection(self, each: int) -> None:
        while not self._stopping:
            connection = await Connection.open(self._port, self._context)
            self.connections += 1
            await asyncio.gather(*(self._ask(connection, number) for number in range(each)))
            await connection.close()

    async def _ask(self, connection: Connection, number: int) -> None:
        while not (self._stopping or connection.is_leaving or connection.is_closed):
            if number:
                answer = await connection.ask("/pid")
            else:
                answer = await connection.ask("/echo", method="POST", body=BODY)
            if answer.gone_away and connection.is_leaving:
                continue  # never begun, as GOAWAY says: it is asked again elsewhere
            if answer.status != 200 or not answer.ended:
                self.failed.append(f"{number}: {answer.status} {answer.reset} {bytes(answer.body[:200])!r}")
                return
            said = json.loads(answer.body)
            if number == 0 and said["length"] != len(BODY):
                self.failed.append(f"{said['length']} bytes of the body have come")
            self.pids.add(said["pid"])
            self.answered += 1


def pids_of(answer: Answer) -> list[tuple[int, int]]:
    """Number and process of each event."""
    lines = [line.split()[1:] for line in bytes(answer.body).decode().splitlines() if line]
    return [(int(number), int(pid)) for number, pid in lines]


def connect(served: Served, context: ssl.SSLContext, session: ssl.SSLSession | None = None) -> ssl.SSLSocket:
    plain = socket.create_connection(("127.0.0.1", served.port), 20)
    return context.wrap_socket(plain, server_hostname="localhost", session=session)


class Session:
    """One that was begun by a whole handshake, and whose tickets were told with an answer."""

    def __init__(self, served: Served, context: ssl.SSLContext) -> None:
        self._served = served
        self._context = context
        with connect(served, context) as client:
            assert not client.session_reused
            client.sendall(b"GET /pid HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            while client.recv(65_536):
                pass
            self._session = client.session
        assert self._session is not None and self._session.has_ticket

    def is_resumed(self, count: int = 8) -> bool:
        """Whether each of `count` connections, to whichever worker, is spared the whole handshake."""
        found = []
        for _ in range(count):
            with connect(self._served, self._context, self._session) as client:
                found.append(bool(client.session_reused))
        return all(found)


@pytest.fixture
def sessions(served: Served, authority: Authority) -> list[Session]:
    versions = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    return [Session(served, authority.client(version=version)) for version in versions]


def test_reloads_fail_no_request_and_end_no_stream_of_the_generation_before(
    served: Served, authority: Authority, sessions: list[Session]
) -> None:
    assert all(session.is_resumed() for session in sessions)

    async def pid_of(connection: Connection) -> int:
        return int(json.loads((await connection.ask("/pid")).body)["pid"])

    async def work() -> None:
        asking = Asking(served.port, authority.client())
        await asking.more(50)
        connection = await Connection.open(served.port, authority.client())
        for _ in range(2):
            stream = connection.begin("/events?n=40&every=0.05")
            upload = connection.begin("/echo", method="POST", end=False)
            answers = [connection.answers[one] for one in (stream, upload)]
            await connection.send(upload, BODY)
            await connection.until(lambda: answers[0].body)  # noqa: B023
            ((_, begun), *_) = pids_of(answers[0])
            done = await served.command("reload")
            assert done.status == 0, done.text
            assert begun not in {await pid_of(connection) for _ in range(6)}
            await connection.send(upload, BODY, end=True)
            await connection.until(lambda: all(answer.is_over for answer in answers))  # noqa: B023
            assert all(answer.ended and answer.status == 200 for answer in answers)
            assert pids_of(answers[0]) == [(number, begun) for number in range(40)]
            assert json.loads(answers[1].body)["length"] == 2 * len(BODY)
            await asking.more(50)
        await asking.stop()
        assert asking.failed == []
        assert len(asking.pids) >= 4  # of three generations of two
        assert asking.connections == 3 and not connection.is_leaving  # connections are the front's, and stay
        await connection.close()

    asyncio.run(work())
    assert all(session.is_resumed() for session in sessions)


def test_a_reload_of_duck_itself_fails_no_request_and_clients_resume_their_sessions(
    served: Served, authority: Authority, sessions: list[Session]
) -> None:
    fronts = {each["pid"] for each in served.processes() if each["role"] == "front"}
    assert len(fronts) == 2

    async def work() -> None:
        asking = Asking(served.port, authority.client())
        await asking.more(50)
        before = asking.connections
        done = await served.command("reload", "--self")
        assert done.status == 0, done.text
        await asking.more(200)
        await asking.stop()
        assert asking.failed == []
        assert asking.connections > before  # the old workers have said goodbye

    asyncio.run(work())
    served.wait_until(lambda: not fronts & {each["pid"] for each in served.processes()}, "without its old workers")
    assert all(session.is_resumed() for session in sessions)


def test_a_certificate_changed_under_load_fails_no_request_and_ends_no_connection(
    served: Served, authority: Authority
) -> None:
    async def work() -> None:
        asking = Asking(served.port, authority.client())
        await asking.more(20)
        for _ in range(2):
            before = served.certificate()
            authority.issue("localhost")  # into the same files
            async with asyncio.timeout(30):
                while await asyncio.to_thread(served.certificate) == before:
                    await asking.more(5)
            await asking.more(20)
        await asking.stop()
        assert asking.failed == []
        assert asking.connections == 3

    asyncio.run(work())
