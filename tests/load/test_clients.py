"""The clients see what goes wrong, and say it by its name: a load that cannot fail would show nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

import pytest

from tests.benchmarks.servers import free_port
from tests.load import websocket
from tests.load.clients import Load, percentile
from tests.load.http1 import Answer, Request, ask, ask_pipelined, connect
from tests.load.misbehaving import Peer, Play, misbehaving
from tests.load.outcome import End, Outcome

T = TypeVar("T")
PID = "/pid"


def outcome(method: str = "GET", load_id: str = "one") -> Outcome:
    return Outcome(load_id, method, PID, time.monotonic())


async def ask_once(port: int, request: Request, *, deadline_s: float = 10.0, receive_buffer: int = 0) -> Outcome:
    told = outcome(request.method)
    connection = await connect(port, told, deadline_s, receive_buffer=receive_buffer)
    if connection is not None:
        await ask(connection, request, told, deadline_s)
        await connection.close()
    assert told.ended >= told.began
    return told


def ask_of(play: Play, request: Request | None = None, *, deadline_s: float = 10.0, receive_buffer: int = 0) -> Outcome:
    async def run() -> Outcome:
        async with misbehaving(play) as port:
            return await ask_once(
                port, request or Request("GET", PID), deadline_s=deadline_s, receive_buffer=receive_buffer
            )

    return asyncio.run(run())


def talk_to(play: Play) -> Outcome:
    async def run() -> Outcome:
        told = outcome()
        async with misbehaving(play) as port:
            await websocket.talk(port, "/ws", told, lambda: False, every_s=0.01)
        return told

    return asyncio.run(run())


class TestAnswers:
    def test_an_answer_in_order_tells_process_and_port(self) -> None:
        async def play(peer: Peer) -> None:
            await peer.head()
            await peer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n")
            await peer.answer(pid=42)

        told = ask_of(play)
        assert told.end is End.OK
        assert (told.pid, told.status) == (42, 200)
        assert told.port > 0
        assert told.sent is not None
        assert told.first_byte is not None
        assert told.began <= told.sent <= told.first_byte <= told.ended

    @pytest.mark.parametrize("status", ["502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout", "404 No"])
    def test_another_status_is_none(self, status: str) -> None:
        async def play(peer: Peer) -> None:
            await peer.head()
            await peer.answer(status=status)

        told = ask_of(play)
        assert told.end is End.STATUS
        assert told.status == int(status[:3])

    def test_an_answer_to_somebody_else_is_wrong(self) -> None:
        async def play(peer: Peer) -> None:
            await peer.head()
            await peer.answer(load_id="another")

        told = ask_of(play)
        assert told.end is End.WRONG
        assert "'another'" in told.detail

    def test_what_the_check_refuses_is_wrong(self) -> None:
        async def play(peer: Peer) -> None:
            await peer.head()
            await peer.answer()

        assert ask_of(play, Request("GET", PID, check=lambda answer: "too short")).end is End.WRONG

    def test_what_is_no_http_is_wrong(self) -> None:
        async def play(peer: Peer) -> None:
            await peer.head()
            await peer.write(b"hello\r\n\r\n")

        assert ask_of(play).end is End.WRONG

    def test_a_chunked_answer_is_read_to_its_end(self) -> None:
        bodies: list[bytes] = []

        async def play(peer: Peer) -> None:
            await peer.head()
            head = f"HTTP/1.1 200 OK\r\nX-Load-Id: {peer.load_id}\r\nTransfer-Encoding: chunked\r\n\r\n"
            await peer.write(head.encode() + b"3\r\nabc\r\n")
            await peer.write(b"2;x=y\r\nde\r\n0\r\nTrailer: 1\r\n\r\n")

        def check(answer: Answer) -> str:
            bodies.append(answer.body)
            return ""

        assert ask_of(play, Request("GET", PID, check=check)).end is End.OK
        assert bodies == [b"abcde"]


class TestConnections:
    def test_nobody_at_the_port_is_refused(self) -> None:
        assert asyncio.run(ask_once(free_port(), Request("GET", PID))).end is End.REFUSED

    def test_a_reset_before_the_body_is_sent_is_told_from_one_after(self) -> None:
        async def before(peer: Peer) -> None:
            await peer.head()
            peer.reset()

        body = Request("POST", PID, body=bytes(8 << 20), piece_bytes=65_536, pause_s=0.001)
        told = ask_of(before, body)
        assert told.end is End.RESET_BEFORE
        assert told.sent is None

        async def after(peer: Peer) -> None:
            await peer.head()
            await peer.reader.readexactly(5)
            peer.reset()

        told = ask_of(after, Request("POST", PID, body=b"12345"))
        assert told.end is End.RESET_AFTER
        assert told.sent is not None

    def test_a_close_without_an_answer_is_a_loss_after_it_was_sent(self) -> None:
        async def play(peer: Peer) -> None:
            await peer.head()

        told = ask_of(play)
        assert told.end is End.RESET_AFTER
        assert told.detail == "closed"

    @pytest.mark.parametrize(
        "written",
        [
            b"HTTP/1.1 200",
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345",
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        ],
        ids=["head", "body", "no body", "no last chunk", "chunk"],
    )
    @pytest.mark.parametrize("ends", ["closes", "resets"])
    def test_an_answer_that_ends_early_is_cut(self, written: bytes, ends: str) -> None:
        async def play(peer: Peer) -> None:
            await peer.head()
            await peer.write(written)
            if ends == "resets":
                await asyncio.sleep(0.05)  # a reset may overtake what was written
                peer.reset()

        told = ask_of(play)
        assert told.end is End.CUT or (ends == "resets" and written == b"HTTP/1.1 200" and told.end is End.RESET_AFTER)

    def test_silence_is_a_timeout(self) -> None:
        async def play(peer: Peer) -> None:
            await peer.head()
            await peer.reader.read()

        told = ask_of(play, deadline_s=0.2)
        assert told.end is End.TIMEOUT
        assert 0.2 <= told.taken_s < 5

    def test_an_early_answer_to_a_long_body_is_seen(self) -> None:
        async def play(peer: Peer) -> None:
            await peer.head()
            await peer.answer(status="413 Too Large", fields="Connection: close\r\n")
            await peer.reader.read()

        told = ask_of(play, Request("POST", PID, body=bytes(64 << 10), pause_s=0.01, piece_bytes=4096))
        assert (told.end, told.status) == (End.STATUS, 413)


class TestPace:
    def test_a_slow_sender_sends_slowly(self) -> None:
        arrived: list[float] = []

        async def play(peer: Peer) -> None:
            await peer.head()
            for _ in range(4):
                await peer.reader.readexactly(100)
                arrived.append(time.monotonic())
            await peer.answer()

        told = ask_of(play, Request("POST", PID, body=bytes(400), piece_bytes=100, pause_s=0.05))
        assert told.end is End.OK
        assert arrived[-1] - arrived[0] >= 0.14

    def test_a_slow_reader_stops_the_server(self) -> None:
        sent = 0

        async def play(peer: Peer) -> None:
            nonlocal sent
            await peer.head()
            await peer.write(f"HTTP/1.1 200 OK\r\nX-Load-Id: one\r\nContent-Length: {64 << 20}\r\n\r\n".encode())
            while True:
                await peer.write(bytes(65_536))
                sent += 65_536

        request = Request("GET", "/big", read_bytes_s=1024, read_for_s=0.6)
        told = ask_of(play, request, receive_buffer=4096)
        assert told.end is End.OK
        assert sent < 16 << 20


class TestPipelining:
    def pipeline(self, play: Play) -> tuple[int, list[Outcome]]:
        async def run() -> tuple[int, list[Outcome]]:
            told = [outcome(load_id=str(number)) for number in range(3)]
            async with misbehaving(play) as port:
                connection = await connect(port, told[0], 10)
                assert connection is not None
                taken = await ask_pipelined(connection, [Request("GET", PID)] * 3, told, 10)
                await connection.close()
            return taken, told

        return asyncio.run(run())

    def test_answers_come_in_order(self) -> None:
        async def play(peer: Peer) -> None:
            for _ in range(3):
                await peer.head()
                await peer.answer()

        taken, told = self.pipeline(play)
        assert taken == 3
        assert [each.end for each in told] == [End.OK] * 3
        assert [each.asked_before for each in told] == [0, 1, 2]

    def test_answers_out_of_order_are_wrong(self) -> None:
        async def play(peer: Peer) -> None:
            for _ in range(3):
                await peer.head()
            for load_id in ("0", "2", "1"):
                await peer.answer(load_id=load_id)

        assert [each.end for each in self.pipeline(play)[1]] == [End.OK, End.WRONG, End.WRONG]

    def test_what_follows_the_last_answer_of_a_connection_was_not_taken(self) -> None:
        async def play(peer: Peer) -> None:
            await peer.head()
            await peer.answer(fields="Connection: close\r\n")

        taken, told = self.pipeline(play)
        assert taken == 1
        assert told[0].end is End.OK

    def test_a_close_that_was_not_told_of_is_a_loss_of_the_rest(self) -> None:
        async def play(peer: Peer) -> None:
            await peer.head()
            await peer.answer()

        taken, told = self.pipeline(play)
        assert taken == 3
        assert [each.end for each in told] == [End.OK, End.RESET_AFTER, End.RESET_AFTER]


class TestWebSockets:
    @pytest.mark.parametrize("code", [1000, 1001, 1011, 1012])
    def test_a_close_is_told_with_its_code(self, code: int) -> None:
        async def play(peer: Peer) -> None:
            await peer.shake_hands()
            await peer.say_close(code)
            await peer.reader.read()

        told = talk_to(play)
        assert (told.end, told.code) == (End.CLOSED, code)
        assert told.status == 101

    @pytest.mark.parametrize("ends", ["closes", "resets"])
    def test_an_end_without_a_close_is_1006(self, ends: str) -> None:
        async def play(peer: Peer) -> None:
            await peer.shake_hands()
            if ends == "resets":
                peer.reset()

        told = talk_to(play)
        assert told.code == 1006 if told.end is End.CLOSED else told.end is End.RESET_AFTER

    def test_a_refused_handshake_is_told_with_its_status(self) -> None:
        async def play(peer: Peer) -> None:
            await peer.head()
            await peer.answer(status="503 Service Unavailable")

        told = talk_to(play)
        assert (told.end, told.status) == (End.STATUS, 503)

    def test_another_echo_is_wrong(self) -> None:
        async def play(peer: Peer) -> None:
            await peer.shake_hands()
            await peer.reader.read(1)
            text = b'{"pid": 1, "text": "no"}'
            await peer.write(bytes([0x81, len(text)]) + text)
            await peer.reader.read()

        assert talk_to(play).end is End.WRONG

    def test_nobody_at_the_port_is_refused(self) -> None:
        told = outcome()
        asyncio.run(websocket.talk(free_port(), "/ws", told, lambda: False))
        assert told.end is End.REFUSED


class TestLoad:
    def run_against(self, play: Play, *clients: Callable[[Load], None], enough: int = 5) -> Load:
        async def run() -> Load:
            async with misbehaving(play) as port:
                load = Load(port, deadline_s=5)
                for add in clients:
                    add(load)
                async with asyncio.timeout(20):
                    while len(load.outcomes) < enough:
                        load.check()
                        await asyncio.sleep(0.01)
                await load.stop()
                load.check()
                return load

        return asyncio.run(run())

    def test_a_kept_connection_is_used_again_until_the_server_ends_it(self) -> None:
        async def play(peer: Peer) -> None:
            for number in range(3):
                await peer.head()
                await peer.answer(fields="Connection: close\r\n" if number == 2 else "")

        load = self.run_against(
            play, lambda load: load.add(load.keep_asking(lambda: Request("GET", PID), every_s=0.001)), enough=9
        )
        assert [each.end for each in load.outcomes] == [End.OK] * len(load.outcomes)
        assert [each.asked_before for each in load.outcomes[:6]] == [0, 1, 2, 0, 1, 2]

    def test_every_failure_is_noted_and_the_client_goes_on(self) -> None:
        seen = 0

        async def play(peer: Peer) -> None:
            nonlocal seen
            seen += 1
            await peer.head()
            if seen % 2:
                await peer.answer()

        load = self.run_against(
            play,
            lambda load: load.add(load.keep_asking(lambda: Request("GET", PID), every_s=0.001, kept=False)),
            enough=4,
        )
        assert [each.end for each in load.outcomes[:4]] == [End.OK, End.RESET_AFTER, End.OK, End.RESET_AFTER]

    def test_an_error_of_a_client_itself_ends_the_load(self) -> None:
        async def play(peer: Peer) -> None:
            await peer.head()
            await peer.answer()

        def broken(answer: Answer) -> str:
            raise RuntimeError("the check is broken")

        with pytest.raises(RuntimeError, match="the check is broken"):
            self.run_against(
                play,
                lambda load: load.add(load.keep_asking(lambda: Request("GET", PID, check=broken), every_s=0.001)),
            )

    def test_load_ids_are_not_given_twice(self) -> None:
        async def play(peer: Peer) -> None:
            while True:
                await peer.head()
                await peer.answer()

        load = self.run_against(
            play,
            lambda load: load.add(load.keep_asking(lambda: Request("GET", PID), every_s=0.001)),
            lambda load: load.add(load.keep_pipelining(3, every_s=0.001)),
            enough=20,
        )
        assert len({each.load_id for each in load.outcomes}) == len(load.outcomes)


def test_percentiles() -> None:
    assert percentile([float(number) for number in range(1, 101)], 0.99) == 99.0
    assert percentile([5.0], 0.99) == 5.0
    assert percentile([float(number) for number in range(1, 1001)], 0.5) == 500.0
