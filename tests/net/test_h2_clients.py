"""HTTP/2 with clients that were not written here, over real sockets: curl, nghttp, h2load, httpx."""

import re
import shutil
import socket
import subprocess
import threading

import httpx
import pytest

from duck.net.limits import Limits
from duck.net.tls import protocols
from duck.net.worker import Worker
from duck.wire import h2_frames as frames
from duck.wire.head import ResponseHead
from tests.certificates import Authority
from tests.net.front import Body
from tests.net.secure import LOOPS, Served
from tests.wire.h2_peer import START, frame, parse

BIG = bytes(range(256)) * 4096
needs = {
    program: pytest.mark.skipif(not shutil.which(program), reason=f"{program} is not installed")
    for program in ("curl", "nghttp", "h2load")
}


def handle(exchange):
    """Answers with the body of a POST, with `BIG`, or with what was asked."""
    if exchange.request.method == b"POST":
        body = Body()
        body.on_end = lambda: exchange.response.answer(ResponseHead(200, []), bytes(body.data_seen))
        exchange.read_body(body)
    elif exchange.request.target == b"/big":
        exchange.response.answer(ResponseHead(200, []), BIG)
    elif exchange.request.target == b"/pieces":
        exchange.response.head(ResponseHead(200, []))
        for at in range(0, len(BIG), 100_000):
            exchange.response.data(BIG[at : at + 100_000])
        exchange.response.end(None)
    else:
        said = b"%d %b %b" % (exchange.request.version, exchange.peer.scheme, exchange.request.target)
        exchange.response.answer(ResponseHead(200, [(b"Content-Type", b"text/plain")]), said)


class Plain:
    """A worker without TLS."""

    def __init__(self, make_loop):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.worker = Worker("plain", [self.listener], lambda loop, clock: self, Limits(), make_loop=make_loop)
        self.worker.start()

    handle = staticmethod(handle)

    def close(self):
        self.worker.stop()
        self.listener.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(params=LOOPS, ids=["asyncio", "best"])
def make_loop(request):
    return request.param


@pytest.fixture
def plain(make_loop):
    served = Plain(make_loop)
    yield served
    served.close()


@pytest.fixture
def secure(authority, make_loop):
    served = Served(authority.issue("127.0.0.1"), answer=handle, make_loop=make_loop, protocols=("h2", "http/1.1"))
    served.url = f"https://127.0.0.1:{served.address[1]}"
    yield served
    served.close()


def run(*command, data=None):
    done = subprocess.run(command, capture_output=True, input=data, timeout=50)
    assert done.returncode == 0, done.stderr.decode("latin-1") + done.stdout[:2000].decode("latin-1")
    return done.stdout


def curl(url, *options, data=None):
    return run("curl", "--silent", "--show-error", "--insecure", *options, url, data=data)


# -- curl -------------------------------------------------------------------------------------------------------------


@needs["curl"]
def test_curl_without_tls(plain):
    known = "--http2-prior-knowledge"
    assert curl(plain.url + "/a?b=c", known) == b"20 http /a?b=c"
    assert curl(plain.url + "/big", known) == curl(plain.url + "/pieces", known) == BIG
    assert curl(plain.url, known, "--data-binary", "@-", data=BIG) == BIG
    assert curl(plain.url, known, "-H", "Expect: 100-continue", "--data-binary", "@-", data=BIG) == BIG
    head = curl(plain.url + "/a", known, "--head")
    assert head.startswith(b"HTTP/2 200 \r\n") and b"content-type: text/plain\r\n" in head
    assert curl(plain.url + "/a", "--http2") == b"11 http /a", "an upgrade that is offered is not taken"
    assert curl(plain.url + "/a", "--http1.1") == b"11 http /a"


@needs["curl"]
def test_curl_over_tls(secure, tmp_path):
    assert curl(secure.url + "/a") == b"20 https /a"
    assert curl(secure.url + "/a", "--http1.1") == b"11 https /a"
    assert curl(secure.url + "/big") == curl(secure.url + "/pieces") == BIG
    assert curl(secure.url, "--data-binary", "@-", data=BIG) == BIG
    curl(f"{secure.url}/[1-50]", "--parallel", "--output", f"{tmp_path}/#1")
    for number in range(1, 51):
        assert (tmp_path / str(number)).read_text() == f"20 https /{number}"


@needs["curl"]
def test_without_http2_the_same_port_speaks_http1(secure):
    secure.worker.server.http2 = False
    config = secure.contexts.config.__class__(secure.contexts.config.pairs, protocols=protocols(http2=False))
    secure.contexts.reload(config)
    assert curl(secure.url + "/a") == b"11 https /a"


# -- nghttp2 ----------------------------------------------------------------------------------------------------------


@needs["nghttp"]
def test_nghttp(plain):
    said = run("nghttp", "--verbose", "--no-dep", "--multiply=8", "--padding=200", plain.url + "/a").decode("latin-1")
    assert said.count(":status: 200") == 8 and "GOAWAY" in said
    assert "PROTOCOL_ERROR" not in said and "FLOW_CONTROL_ERROR" not in said
    assert "SETTINGS_ENABLE_CONNECT_PROTOCOL(0x08):1" in said or "UNKNOWN(0x08):1" in said
    assert run("nghttp", "--window-bits=10", "--connection-window-bits=10", plain.url + "/big") == BIG
    continued = run("nghttp", "--continuation", "--null-out", "--stat", plain.url + "/a").decode()
    assert " 200 " in continued


@needs["nghttp"]
def test_nghttp_trailers_and_bodies(secure, tmp_path):
    path = tmp_path / "body"
    path.write_bytes(BIG)
    command = ["nghttp", "--no-verify-peer", f"--data={path}", "--trailer=x-sum: 1", "--expect-continue"]
    command += ["-H:method: POST"]
    if b"--no-verify-peer" not in subprocess.run(["nghttp", "--help"], capture_output=True).stdout:
        command.remove("--no-verify-peer")
    assert run(*command, secure.url + "/") == BIG


@needs["h2load"]
@pytest.mark.parametrize("path", ["/a", "/big"])
def test_h2load(plain, secure, path):
    for served in (plain, secure):
        count = 2000 if path == "/a" else 60
        said = run("h2load", f"--requests={count}", "--clients=6", "--max-concurrent-streams=20", served.url + path)
        told = said.decode()
        assert re.search(rf"{count} succeeded, 0 failed, 0 errored, 0 timeout", told), told
    assert not plain.worker.server.refused_count and not secure.worker.server.refused_count


# -- a drain ----------------------------------------------------------------------------------------------------------


def test_a_drain_loses_no_request(plain):
    """A client that asks on and on, and stops when it is told to: everything it asked before is answered."""
    block = b"\x82\x86\x84\x01\x01x"
    heard = b""
    asked, told, drained = [], [], threading.Event()
    with socket.create_connection(plain.listener.getsockname(), timeout=20) as client:
        client.sendall(START)

        def ask():
            asked.append(2 * len(asked) + 1)
            client.sendall(frame(frames.HEADERS, 5, asked[-1], block))

        for _ in range(50):
            ask()
        heard += client.recv(65_536)  # it was accepted
        plain.worker.drain(10, drained.set)
        while data := client.recv(65_536):
            heard += data
            whole = heard[: complete(heard)]
            said = parse(whole)
            if len(told) < 2 and len(asked) < 500:
                ask()  # it does not know yet
            goaways = [payload for name, _, _, payload in said if name == "GOAWAY"]
            if len(goaways) > len(told):
                told = goaways
                if len(told) == 1:
                    ping = next(payload for name, flags, _, payload in said if name == "PING" and not flags)
                    client.sendall(frame(frames.PING, 1, 0, ping))
    assert drained.wait(20)
    assert int.from_bytes(told[0][:4], "big") == frames.MAX_WINDOW
    last = int.from_bytes(told[-1][:4], "big")
    answered = [one for name, flags, one, _ in parse(heard) if name == "DATA" and flags & 1]
    assert sorted(answered) == [one for one in asked if one <= last]
    assert last >= 99
    assert len(told) == 2 and all(int.from_bytes(payload[4:8], "big") == frames.NO_ERROR for payload in told)


def complete(data):
    """Where the last whole frame of `data` ends."""
    at = 0
    while len(data) >= at + 9 and len(data) >= (end := at + 9 + int.from_bytes(data[at : at + 3], "big")):
        at = end
    return at


# -- httpx, by the `h2` library ---------------------------------------------------------------------------------------


def test_answers_are_equal_byte_for_byte(plain):
    with httpx.Client(http1=False, http2=True, timeout=60) as two, httpx.Client(timeout=60) as one:
        for path in ("/big", "/pieces", "/a?b=%20"):
            first, second = one.get(plain.url + path), two.get(plain.url + path)
            assert (first.http_version, second.http_version) == ("HTTP/1.1", "HTTP/2")
            assert first.status_code == second.status_code
            ours, theirs = dict(first.headers), dict(second.headers)
            for fields in (ours, theirs):
                fields.pop("date")
                fields.pop("transfer-encoding", None)
            assert ours == theirs
            # The target tells the version.
            assert first.content == second.content.replace(b"20 http", b"11 http", 1)
        assert one.post(plain.url, content=BIG).content == two.post(plain.url, content=BIG).content == BIG
        pieces = [BIG[at : at + 50_000] for at in range(0, len(BIG), 50_000)]
        assert two.post(plain.url, content=iter(pieces)).content == BIG
