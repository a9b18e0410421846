"""TLS over real sockets: versions, suites, names, resumption, changes of certificates, and clients that misbehave."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duck.exceptions import SSLError
from duck.net.limits import Limits
from duck.net.tls import TICKET_KEYS_S, Contexts, TlsConfig
from duck.net.tls_connection import MAX_UNHEARD_BYTES
from duck.testing import FakeTransport
from duck.wire.head import ResponseHead
from tests.certificates import Authority
from tests.net.front import Front
from tests.net.secure import GET, LOOPS, ask, read_answer, serving
from tests.waiting import wait_until

V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
both_versions = pytest.mark.parametrize("version", [V12, V13], ids=["1.2", "1.3"])
both_loops = pytest.mark.parametrize("make_loop", LOOPS, ids=["asyncio", "best"])


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def pair(authority):
    return authority.issue("a.example")


def names_of(client: ssl.SSLSocket) -> set[str]:
    return {value for _, value in client.getpeercert()["subjectAltName"]}


# -- what is spoken ---------------------------------------------------------------------------------------------------


@both_loops
@both_versions
def test_a_request_is_answered_and_is_https(authority, pair, version, make_loop):
    with serving(pair, make_loop=make_loop) as served, served.connect(authority.client(version=version)) as client:
        assert client.version() == f"TLSv1.{'2' if version is V12 else '3'}"
        assert ask(client).endswith(b"https /who")
        assert ask(client).endswith(b"https /who")  # kept alive
        assert served.tls_counts == {"handshakes": 1, "failed": 0}


def test_suites_of_tls_12_have_forward_secrecy_and_authenticated_encryption(pair):
    context = Contexts(TlsConfig((pair,))).front
    old = [suite for suite in context.get_ciphers() if suite["protocol"] != "TLSv1.3"]
    assert old and all(suite["kea"] == "kx-ecdhe" and suite["aead"] for suite in old)


@pytest.mark.parametrize("version", ["-tls1", "-tls1_1"])
def test_older_versions_are_refused(pair, version):
    with serving(pair) as served:
        # A security level of 0, or this OpenSSL would not even offer them.
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{served.address[1]}", version]
        done = subprocess.run(
            [*command, "-cipher", "ALL:@SECLEVEL=0"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert "alert protocol version" in done.stderr
        assert done.returncode != 0


def test_a_suite_without_forward_secrecy_is_refused(authority, pair):
    context = authority.client(version=V12)
    context.set_ciphers("AES128-GCM-SHA256")
    with serving(pair) as served, pytest.raises(ssl.SSLError):
        served.connect(context)


def test_alpn_chooses_what_is_offered_and_needs_no_choice(authority, pair):
    with serving(pair, protocols=("http/1.1",)) as served:
        context = authority.client()
        context.set_alpn_protocols(["h2", "http/1.1"])
        with served.connect(context) as client:
            assert client.selected_alpn_protocol() == "http/1.1"
            assert ask(client).endswith(b"https /who")
        context.set_alpn_protocols(["unknown"])
        with served.connect(context) as client:
            assert client.selected_alpn_protocol() is None
            assert ask(client).endswith(b"https /who")


def test_the_servers_order_of_protocols_counts(authority, pair):
    with serving(pair, protocols=("echo", "http/1.1")) as served:
        for offered, chosen in ((["http/1.1"], "http/1.1"), (["http/1.1", "echo"], "echo"), ([], None)):
            context = authority.client()
            if offered:
                context.set_alpn_protocols(offered)
            with served.connect(context) as client:
                assert client.selected_alpn_protocol() == chosen
                assert ask(client).endswith(b"https /who")  # what nobody has a class for is HTTP/1.1


def test_curl_verifies_and_is_answered(authority, pair):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    with serving(pair) as served:
        url = f"https://a.example:{served.address[1]}/x?y=%2f"
        resolve = f"a.example:{served.address[1]}:127.0.0.1"
        command = ["curl", "-sS", "--cacert", authority.file, "--resolve", resolve, url]
        assert subprocess.run(command, capture_output=True, timeout=30, check=True).stdout == b"https /x?y=%2f"


# -- names ------------------------------------------------------------------------------------------------------------


@both_versions
@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        ("a.example", "a.example"),
        ("A.EXAMPLE", "a.example"),
        ("b.example", "b.example"),
        ("x.wild.example", "*.wild.example"),
        ("exact.wild.example", "exact.wild.example"),
        ("x.y.wild.example", "a.example"),
        ("wild.example", "a.example"),
        ("unknown.example", "a.example"),
        (None, "a.example"),
    ],
)
def test_the_certificate_is_chosen_by_name(authority, pair, version, asked, answered):
    pairs = [pair, authority.issue("*.wild.example"), authority.issue("b.example", "exact.wild.example")]
    context = authority.client(version=version)
    context.check_hostname = False
    with serving(*pairs) as served, served.connect(context, asked) as client:
        assert answered in names_of(client)
        assert ask(client).endswith(b"https /who")


@pytest.mark.parametrize("name", [b"\xc3\xa4.example", b"\xff\xfe", b"a" * 250, b"127.0.0.1"])
def test_a_name_that_is_none_ends_at_most_its_own_connection_and_prints_nothing(authority, pair, name, capfd):
    hello = _client_hello(name)
    with serving(pair) as served:
        with served.plain() as client:
            client.sendall(hello)
            assert client.recv(65_536)[:1] in (b"\x16", b"\x15", b"")
        with served.connect(authority.client()) as client:
            assert ask(client).endswith(b"https /who")
    assert capfd.readouterr().err == ""


def _client_hello(name: bytes) -> bytes:
    """A ClientHello of OpenSSL's own, with `name` in place of a name of the same length."""
    stand_in = "".join("." if at % 50 == 49 else "n" for at in range(len(name)))
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    hello = b""
    while hello.count(stand_in.encode()) != 1:  # its random bytes may hold a short one, too
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        connection = context.wrap_bio(incoming, outgoing, server_hostname=stand_in)
        with contextlib.suppress(ssl.SSLWantReadError):
            connection.do_handshake()
        hello = outgoing.read()
    return hello.replace(stand_in.encode(), name)


# -- resumption -------------------------------------------------------------------------------------------------------


@both_versions
def test_a_session_is_resumed_with_a_certificate_chosen_by_name(authority, pair, version):
    pairs = [pair, authority.issue("b.example")]
    context = authority.client(version=version)
    with serving(*pairs) as served:
        for name in ("a.example", "b.example"):
            with served.connect(context, name) as client:
                ask(client)  # TLS 1.3: tickets come with the answer
                session = client.session
                assert not client.session_reused
            with served.connect(context, name, session) as client:
                assert client.session_reused
                assert ask(client).endswith(b"https /who")


@both_versions
def test_a_session_is_resumed_across_a_change_of_certificates(authority, tmp_path, version):
    own = Authority(tmp_path)
    pair = own.issue("a.example")
    context = own.client(version=version)
    with serving(pair) as served:
        with served.connect(context) as client:
            ask(client)
            session = client.session
        own.issue("a.example")  # the same files
        served.contexts.reload()
        with served.connect(context, session=session) as client:
            assert client.session_reused
            assert ask(client).endswith(b"https /who")


def test_the_keys_of_tickets_do_not_live_for_ever(pair):
    now = 1000.0
    contexts = Contexts(TlsConfig((pair,)), now=lambda: now)
    first = contexts.front
    now += TICKET_KEYS_S - 1
    assert contexts.front is first
    now += 2
    assert contexts.front is not first


# -- changes ----------------------------------------------------------------------------------------------------------


@both_loops
@both_versions
def test_a_changed_certificate_is_for_new_connections_and_drops_none(tmp_path, version, make_loop):
    own = Authority(tmp_path)
    pair = own.issue("a.example")
    context = own.client(version=version)
    with serving(pair, make_loop=make_loop) as served, served.connect(context) as before:
        assert ask(before).endswith(b"https /who")
        own.issue("a.example", "new.example", file="a.example")
        served.contexts.reload()
        with served.connect(context, "new.example") as after:
            assert names_of(after) == {"a.example", "new.example"}
            assert ask(after).endswith(b"https /who")
        assert ask(before).endswith(b"https /who")


def test_a_change_that_is_wrong_changes_nothing(tmp_path):
    own = Authority(tmp_path)
    pair = own.issue("a.example")
    with serving(pair) as served:
        Path(pair[0]).write_text("nothing")
        with pytest.raises(SSLError):
            served.contexts.reload()
        with served.connect(own.client()) as client:
            assert ask(client).endswith(b"https /who")


# -- clients that misbehave -------------------------------------------------------------------------------------------


@both_loops
def test_plain_http_is_told_where_to_go(pair, make_loop):
    with serving(pair, make_loop=make_loop) as served, served.plain() as client:
        client.sendall(b"GET /a?b=%20c HTTP/1.1\r\nHost: a.example:8443\r\n\r\n")
        answer = read_answer(client)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"Content-Type: text/plain" in answer
        assert b"use https://a.example:8443/a?b=%20c" in answer
        assert client.recv(10) == b""
        wait_until(lambda: not served.worker.server.connections)


@pytest.mark.parametrize(
    "sent",
    [b"GET / HTTP/1.1\r\n\r\n", b"GET http://x/ HTTP/1.1\r\nHost: a b\r\n\r\n", b"HELO\r\n\r\n", b"X" * 5000],
    ids=["no host", "bad host", "no HTTP", "long"],
)
def test_plain_text_without_a_usable_address_is_told_too(pair, sent):
    with serving(pair) as served, served.plain() as client:
        client.sendall(sent)
        answer = read_answer(client)
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert b"without TLS; use https:// in its address" in answer


def test_a_plain_request_that_stops_within_its_head_is_answered_at_its_end(pair):
    with serving(pair) as served, served.plain() as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        client.shutdown(socket.SHUT_WR)
        assert read_answer(client).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("sent", [b"\x00\x01\x02", b"\x80\x2e\x01", b"\xff" * 100, b" ", b"\r\n"])
def test_what_is_neither_is_closed(pair, sent, caplog):
    with serving(pair) as served, served.plain() as client, caplog.at_level(logging.INFO):
        client.sendall(sent)
        assert _received(client) == b""
        wait_until(lambda: served.tls_counts["failed"] == 1)
        assert caplog.records == []


def _received(client: socket.socket) -> bytes:
    try:
        return client.recv(65_536)
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize("sent", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01"], ids=["nothing", "a byte", "a part"])
@both_loops
def test_who_does_not_finish_the_handshake_is_closed_at_its_deadline(pair, sent, make_loop):
    limits = Limits(handshake_timeout_s=0.2)
    with serving(pair, limits=limits, make_loop=make_loop) as served, served.plain() as client:
        client.sendall(sent)
        assert _received(client) == b""
        assert served.worker.server.handshakes == 0
        assert not served.worker.server.connections


def test_a_client_that_refuses_the_certificate_is_counted_and_no_traceback_is_told(authority, tmp_path, pair, caplog):
    stranger = Authority(tmp_path).client()
    with serving(pair) as served, caplog.at_level(logging.DEBUG, "duck.net"):
        with pytest.raises(ssl.SSLCertVerificationError):
            served.connect(stranger)
        wait_until(lambda: served.tls_counts["handshakes"] + served.tls_counts["failed"] == 1)
        assert all(record.levelno == logging.DEBUG and not record.exc_info for record in caplog.records)


def test_handshakes_under_way_are_bounded_and_keep_nobody_out(authority, pair):
    with serving(pair, limits=Limits(max_handshakes=3)) as served:
        waiting = []
        try:
            for number in range(1, 4):
                waiting.append(served.plain())
                wait_until(lambda wanted=number: served.worker.server.handshakes == wanted)
            with served.connect(authority.client()) as client:
                assert ask(client).endswith(b"https /who")
            assert _received(waiting[0]) == b""  # the oldest
            assert served.worker.server.handshakes == 2
            assert served.tls_counts["failed"] == 1
        finally:
            for client in waiting:
                client.close()
        wait_until(lambda: served.worker.server.handshakes == 0)
        with served.connect(authority.client()) as client:
            assert ask(client).endswith(b"https /who")


def test_every_split_of_the_clients_bytes_is_read_alike(authority, pair):
    """A client whose every write arrives byte by byte."""
    with serving(pair) as served:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        connection = authority.client().wrap_bio(incoming, outgoing, server_hostname="a.example")
        with served.plain() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def step(action):
                while True:
                    try:
                        result = action()
                    except ssl.SSLWantReadError:
                        _dribble(client, outgoing.read())
                        incoming.write(client.recv(65_536))
                    else:
                        _dribble(client, outgoing.read())
                        return result

            step(connection.do_handshake)
            step(lambda: connection.write(GET))
            assert step(lambda: connection.read(65_536)).startswith(b"HTTP/1.1 200 ")


def _dribble(client: socket.socket, data: bytes) -> None:
    for at in range(len(data)):
        client.sendall(data[at : at + 1])


# -- bodies -----------------------------------------------------------------------------------------------------------


@both_loops
@both_versions
def test_large_bodies_go_both_ways_unchanged(authority, pair, version, make_loop):
    sent = hashlib.shake_128(b"x").digest(3_000_000)
    received = bytearray()

    class Collect:
        def __init__(self, exchange):
            self.exchange = exchange

        def data(self, chunk):
            received.extend(chunk)

        def end(self, trailers):
            self.exchange.response.answer(ResponseHead(200, [], content_length=len(sent)), sent)

        def abort(self, error):
            raise AssertionError(error)

    def answer(exchange):
        exchange.read_body(Collect(exchange))

    with (
        serving(pair, answer=answer, make_loop=make_loop) as served,
        served.connect(authority.client(version=version)) as client,
    ):
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(sent)
        assert ask(client, head + sent).partition(b"\r\n\r\n")[2] == sent
        assert bytes(received) == sent


def test_a_client_that_takes_nothing_of_its_answer_is_felt_above(authority, pair):
    paused = threading.Event()
    size = 64 << 20

    class Producer:
        def __init__(self, exchange):
            self.exchange = exchange
            self.left = size
            self.is_paused = False

        def go(self):
            while self.left and not self.is_paused:
                self.left -= 65_536
                self.exchange.response.data(b"x" * 65_536)
            if not self.left:
                self.exchange.response.end(None)

        def pause(self):
            self.is_paused = True
            paused.set()

        def resume(self):
            self.is_paused = False
            self.go()

        def cancel(self, error):
            self.left = 0

    def answer(exchange):
        producer = exchange.producer = Producer(exchange)
        exchange.response.head(ResponseHead(200, [], content_length=size))
        producer.go()

    with serving(pair, answer=answer) as served, served.connect(authority.client()) as client:
        client.sendall(GET)
        assert paused.wait(10)
        assert len(read_answer(client).partition(b"\r\n\r\n")[2]) == size


# -- ends -------------------------------------------------------------------------------------------------------------


@both_loops
@both_versions
def test_the_end_of_the_last_answer_is_told_by_close_notify(authority, pair, version, make_loop):
    with (
        serving(pair, make_loop=make_loop) as served,
        served.connect(authority.client(version=version)) as client,
    ):
        client.suppress_ragged_eofs = False  # an end without close_notify raises
        answer = ask(client, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert answer.endswith(b"https /who")
        assert client.recv(1) == b""


@both_loops
def test_a_client_that_closes_its_half_after_its_request_is_answered(authority, pair, make_loop):
    answers = []
    with (
        serving(pair, make_loop=make_loop, answer=answers.append) as served,
        served.connect(authority.client()) as client,
    ):
        client.sendall(GET)
        wait_until(lambda: answers)
        raw = socket.socket(fileno=socket.dup(client.fileno()))
        raw.shutdown(socket.SHUT_WR)
        raw.close()
        body = b"late"
        exchange = answers[0]
        served.worker.post(lambda: exchange.response.answer(ResponseHead(200, [], content_length=4), body))
        assert read_answer(client).endswith(b"late")


@both_loops
def test_a_drain_answers_what_is_under_way_and_lets_a_handshake_finish(authority, pair, make_loop):
    held = []
    done = threading.Event()
    with serving(pair, make_loop=make_loop, answer=held.append) as served:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        late = authority.client().wrap_bio(incoming, outgoing, server_hostname="a.example")
        with contextlib.suppress(ssl.SSLWantReadError):
            late.do_handshake()
        with served.connect(authority.client()) as busy, served.plain() as beginning:
            busy.sendall(GET)
            hello = outgoing.read()
            beginning.sendall(hello[:50])
            wait_until(lambda: held and served.worker.server.handshakes == 1)
            served.worker.drain(20, done.set)
            wait_until(lambda: served.worker.server.closes_idle)
            beginning.sendall(hello[50:])
            while True:
                try:
                    late.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    beginning.sendall(outgoing.read())
                    incoming.write(beginning.recv(65_536))
            late.write(GET)
            beginning.sendall(outgoing.read())
            wait_until(lambda: len(held) == 2)
            assert not done.is_set()
            for exchange in held:
                exchange_answer = ResponseHead(200, [], content_length=2)
                served.worker.post(lambda one=exchange, head=exchange_answer: one.response.answer(head, b"ok"))
            assert read_answer(busy).endswith(b"ok")
        assert done.wait(10)


@both_loops
def test_who_waits_in_the_backlog_when_the_last_worker_drains_is_answered(authority, pair, make_loop):
    with serving(pair, make_loop=make_loop) as served:
        going_on, held, drained = threading.Event(), threading.Event(), threading.Event()
        served.worker.post(lambda: (held.set(), going_on.wait(10)))
        held.wait(10)
        served.worker.drain(10, drained.set, takes_backlog=True)
        clients = [served.plain() for _ in range(5)]
        answers = []

        def talk(client):
            with authority.client().wrap_socket(client, server_hostname="a.example") as secure:
                answers.append(ask(secure))

        threads = [threading.Thread(target=talk, args=(client,)) for client in clients]
        for thread in threads:
            thread.start()
        going_on.set()
        for thread in threads:
            thread.join(15)
        assert len(answers) == 5 and all(answer.endswith(b"https /who") for answer in answers)
        assert drained.wait(10)


def test_nothing_is_left_of_connections_that_have_ended(authority, pair):
    """Contexts, buffers and connections are freed by their references, not by a collector that comes later."""
    import gc
    import weakref

    with serving(pair) as served:
        server = served.worker.server
        gc.disable()
        try:
            with served.connect(authority.client()) as client:
                ask(client)
                (connection,) = server.connections
                openssl = weakref.ref(connection._transport._ssl)
                del connection
            wait_until(lambda: not server.connections)
            wait_until(lambda: openssl() is None)
        finally:
            gc.enable()


@pytest.mark.skipif(sys.platform != "linux", reason="reads memory as Linux tells it")
@pytest.mark.parametrize("size", [10, 300_000])
def test_idle_connections_cost_less_than_64_kib_each_whatever_they_have_carried(authority, pair, size):
    """200 here, whose clients' half counts, too; docs/explanation/https.md has 2,000 of a process of their own."""
    import psutil

    def answer(exchange):
        exchange.response.answer(ResponseHead(200, [], content_length=size), b"x" * size)

    with serving(pair, answer=answer) as served:
        context = authority.client()
        clients = [served.connect(context) for _ in range(20)]
        for client in clients:
            ask(client)
        process = psutil.Process()
        before = process.memory_full_info().uss
        try:
            for _ in range(200):
                clients.append(served.connect(context))
                assert len(ask(clients[-1])) > size
            assert (process.memory_full_info().uss - before) / 200 < 65_536
        finally:
            for client in clients:
                client.close()


@both_loops
def test_certificates_change_under_load_with_no_failed_request(tmp_path, make_loop):
    own = Authority(tmp_path)
    pair = own.issue("a.example")
    failures, counts = [], [0] * 4
    stop = threading.Event()
    with serving(pair, make_loop=make_loop) as served:
        context = own.client()

        def talk(number):
            kept = served.connect(context)
            try:
                while not stop.is_set():
                    with served.connect(context) as fresh:
                        for client in (fresh, kept):
                            assert ask(client).endswith(b"https /who")
                            counts[number] += 1
            except Exception as error:
                failures.append(error)
            finally:
                kept.close()

        threads = [threading.Thread(target=talk, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(20):
                before = sum(counts)
                own.issue("a.example")
                served.contexts.reload()
                wait_until(lambda seen=before: failures or sum(counts) > seen + 8)
        finally:
            stop.set()
            for thread in threads:
                thread.join(20)
    assert failures == []
    assert sum(counts) > 160


def test_a_client_that_wants_to_renegotiate_is_told_no_and_goes_on(pair):
    with serving(pair) as served:
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{served.address[1]}", "-tls1_2"]
        client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert client.stdin is not None and client.stdout is not None
        client.stdin.write(b"R\n")
        client.stdin.flush()
        told = b""
        while b"no renegotiation" not in told:
            line = client.stdout.readline()
            assert line, told
            told += line
        client.stdin.close()
        client.stdout.close()
        client.wait(10)
        assert served.tls_counts["handshakes"] == 1


def _over_fakes(authority, pair, front):
    """A handshake in memory: the connection, its wire, and the client's session with what it reads and writes."""
    front.server.contexts = Contexts(TlsConfig((pair,)))
    connection = front.server.tls_protocol()
    wire = FakeTransport(connection, front.loop)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = authority.client().wrap_bio(incoming, outgoing, server_hostname="a.example")
    for _ in range(2):
        with contextlib.suppress(ssl.SSLWantReadError):
            client.do_handshake()
        wire.receive(outgoing.read())
        incoming.write(bytes(wire.sent))
        wire.sent.clear()
    return connection, wire, client, incoming, outgoing


def test_what_comes_while_nobody_reads_is_kept_in_order_and_so_is_the_end(authority, pair):
    front = Front()
    connection, wire, client, incoming, outgoing = _over_fakes(authority, pair, front)
    connection.pause_reading()
    client.write(GET)
    client.write(GET.replace(b"/who", b"/next"))
    connection.data_received(outgoing.read())  # a loop may have read it already
    assert connection.eof_received()
    front.loop.run()
    assert front.exchanges == []
    connection.resume_reading()
    front.loop.run()
    assert [exchange.request.target for exchange in front.exchanges] == [b"/who", b"/next"]
    incoming.write(bytes(wire.sent))
    assert client.read(65_536).startswith(b"HTTP/1.1 200 ")
    assert wire.closed or wire.wrote_eof


def test_who_makes_openssl_talk_and_does_not_listen_is_cut_off(authority, pair):
    """What waits for such a client is bounded; requests that come with it show that it is one that reads."""
    connection, wire, client, _, outgoing = _over_fakes(authority, pair, Front())
    wire.slow = True
    wire.write(b"x" * (MAX_UNHEARD_BYTES + 1))
    client.write(GET)
    connection._outgoing.write(b"alert")
    wire.receive(outgoing.read())
    assert not wire.aborted
    client.write(GET)
    connection._outgoing.write(b"alert")
    wire.receive(outgoing.read()[:10])
    assert wire.aborted


# -- what else passes -------------------------------------------------------------------------------------------------


@both_loops
@both_versions
def test_an_upgraded_connection_carries_bytes_both_ways_and_ends_by_halves(authority, pair, version, make_loop):
    """As a WebSocket's tunnel does; what the client sends right behind its request is not lost."""

    class Echo:
        def __init__(self, duplex):
            self.duplex = duplex
            duplex.connect(self)

        def duplex_data(self, data):
            self.duplex.write(data)

        def duplex_eof(self):
            self.duplex.write(b"bye")
            self.duplex.close()

        def duplex_lost(self, error):
            pass

        def duplex_pause(self):
            self.duplex.pause_reading()

        def duplex_resume(self):
            self.duplex.resume_reading()

    def answer(exchange):
        Echo(exchange.upgrade(ResponseHead(101, [])))

    request = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    with (
        serving(pair, answer=answer, make_loop=make_loop) as served,
        served.connect(authority.client(version=version)) as client,
    ):
        client.sendall(request + b"early")
        received = b""
        while not received.endswith(b"early"):
            received += client.recv(65_536)
        assert received.startswith(b"HTTP/1.1 101 ")
        sent = hashlib.shake_128(b"tunnel").digest(1_000_000)
        # In one thread: two of them in one SSLSocket at once lose each other's errors.
        echoed = bytearray()
        for at in range(0, len(sent), 65_536):
            client.sendall(sent[at : at + 65_536])
            while len(echoed) < min(at + 65_536, len(sent)):
                echoed += client.recv(65_536)
        assert bytes(echoed) == sent
        raw = socket.socket(fileno=socket.dup(client.fileno()))
        raw.shutdown(socket.SHUT_WR)
        raw.close()
        assert client.recv(10) == b"bye"
        assert client.recv(10) == b""


@both_loops
def test_a_file_is_sent_whole_to_a_client_that_reads_late(authority, pair, tmp_path, make_loop):
    content = hashlib.shake_128(b"file").digest(5_000_000)
    (tmp_path / "file").write_bytes(content)
    done = []

    def answer(exchange):
        descriptor = os.open(tmp_path / "file", os.O_RDONLY)

        def sent(error):
            os.close(descriptor)
            done.append(error)
            exchange.response.end(None)

        exchange.response.head(ResponseHead(200, [], content_length=len(content)))
        exchange.file(descriptor, 0, len(content), sent)

    with (
        serving(pair, answer=answer, make_loop=make_loop) as served,
        served.connect(authority.client()) as client,
    ):
        client.sendall(GET)
        server = served.worker.server
        wait_until(lambda: any(getattr(one, "_write_paused", False) for one in list(server.connections)))
        assert read_answer(client).partition(b"\r\n\r\n")[2] == content
        assert done == [None]
        assert ask(client).partition(b"\r\n\r\n")[2] == content


@settings(deadline=None)
@given(st.lists(st.binary(min_size=1, max_size=60), min_size=1, max_size=6), st.booleans())
def test_whatever_is_sent_instead_of_a_handshake_raises_nothing_and_leaves_nothing(fuzzed, pieces, like_tls):
    front, contexts = Front(), fuzzed
    front.server.contexts = contexts
    wire = FakeTransport(front.server.tls_protocol(), front.loop)
    for number, piece in enumerate(pieces):
        if not wire.is_closing():
            wire.receive(b"\x16\x03\x01" + piece if like_tls and number == 0 else piece)
    if not wire.is_closing():
        wire.receive_eof()
    front.loop.run()
    wire.lose()
    assert front.exchanges == []
    assert not front.server.connections and not front.clock.watched
    assert front.server.handshakes == 0


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_ends_the_connection_and_nothing_else(fuzzed_session, at, change):
    """In the handshake or behind it: the request that it is part of is not answered, and no exception leaves it."""
    authority, pair = fuzzed_session
    front = Front()
    connection, wire, client, _, outgoing = _over_fakes(authority, pair, front)
    client.write(GET)
    record = bytearray(outgoing.read())
    record[at % len(record)] ^= change
    connection.data_received(bytes(record))
    front.loop.run()
    assert front.exchanges == []
    assert wire.is_closing() or at % len(record) < 5  # a length changed: the rest of the record is waited for
    wire.lose()
    assert not front.server.connections


@pytest.fixture(scope="module")
def fuzzed(pair) -> Contexts:
    return Contexts(TlsConfig((pair,)))


@pytest.fixture(scope="module")
def fuzzed_session(authority, pair):
    return authority, pair
