"""The command for curl sends what was recorded; without secrets, unless they are asked for."""

import shlex
import shutil
import socket
import subprocess
import threading

import pytest

from duck.http.ducksight.curl import CannotRepeat, curl
from duck.http.ducksight.recording import MAX_BODY_BYTES, Recording
from duck.net.exchange import Exchange
from duck.net.peer import Peer
from duck.testing import FakeStream
from duck.wire.head import RequestHead

PEER = Peer("127.0.0.1", 4000, "127.0.0.1", 8000)


def recorded(method=b"GET", target=b"/", fields=(), body=b"", *, authority=b"localhost:8000", ended=True, **more):
    length = len(body) if body else 0
    request = RequestHead(
        method, target, [(b"Host", authority), *fields], authority=authority, content_length=length, **more
    )
    recording = Recording(1, Exchange(request, PEER, FakeStream(), 0.0, 1 << 30), 0.0)
    if body:
        recording.body.add(body)
        recording.body.ended = ended
    return recording


def words(recording, **more):
    return shlex.split(curl(recording, **more).replace("\\\n", ""))


def test_a_page():
    found = words(recorded(target=b"/a?b=1", fields=[(b"Accept", b"text/html"), (b"User-Agent", b"it's me")]))
    assert found == ["curl", "http://localhost:8000/a?b=1", "-H", "Accept: text/html", "-H", "User-Agent: it's me"]


def test_what_curl_writes_itself_is_left_out_and_what_it_would_add_is_not_added():
    fields = [(b"Connection", b"keep-alive"), (b"Accept-Encoding", b"gzip, br"), (b"Content-Length", b"0")]
    assert words(recorded(fields=fields)) == [
        "curl",
        "http://localhost:8000/",
        "-H",
        "User-Agent:",
        "-H",
        "Accept:",
        "--compressed",
    ]


def test_secrets_are_hidden_until_they_are_asked_for():
    fields = [(b"Cookie", b"sessionid=abc"), (b"Content-Type", b"application/x-www-form-urlencoded")]
    recording = recorded(b"POST", b"/login?token=abc", fields, b"user=ann&password=geheim")
    hidden, shown = curl(recording), curl(recording, with_secrets=True)
    assert "abc" not in hidden and "geheim" not in hidden and "user=ann&password=(hidden)" in hidden
    assert "sessionid=abc" in shown and "?token=abc" in shown and "password=geheim" in shown


@pytest.mark.parametrize(
    ("recording", "expected"),
    [
        (recorded(b"DELETE"), ["-X", "DELETE"]),
        (recorded(b"POST"), ["-X", "POST"]),
        (recorded(b"HEAD"), ["--head"]),
        (recorded(b"OPTIONS", b"*"), ["--request-target", "*"]),
        (recorded(target=b"/a[1]{2}"), ["--globoff"]),
        (recorded(target=b"/a/../b"), ["--path-as-is"]),
        (recorded(authority=b"shop.test:8000"), ["--connect-to", "::127.0.0.1:8000"]),
        (recorded(fields=[(b"X-Empty", b"")]), ["-H", "X-Empty;"]),
        (recorded(b"PUT", body=b"@file", fields=[(b"Content-Type", b"text/plain")]), ["--data-raw", "@file"]),
    ],
)
def test_what_needs_an_option_of_its_own(recording, expected):
    found = words(recording)
    assert [found[found.index(expected[0]) + at] for at in range(len(expected))] == expected


def test_what_is_not_here_cannot_be_sent_again():
    long = recorded(b"POST", body=b"x" * (MAX_BODY_BYTES + 1))
    with pytest.raises(CannotRepeat, match=r"only the first 262144 of 262145 bytes are kept"):
        curl(long)
    with pytest.raises(CannotRepeat, match="not read to its end"):
        curl(recorded(b"POST", body=b"x", ended=False))
    with pytest.raises(CannotRepeat, match="WebSocket"):
        curl(recorded(upgrade=b"WebSocket"))


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(20)
        yield made


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
@pytest.mark.parametrize(
    "body",
    [
        b"a=1&b='2'",
        b'$HOME `id` \\ "quoted" !x\n%s',
        b"\x1b[31mred\x7f\x01",
        b"\xff\xfe bytes \x00 and more",
        "Grüße €".encode(),
        b"@/etc/passwd",
        b"'" * 40_000,
        bytes(range(256)) * 1000,
    ],
    ids=range(8),
)
def test_curl_sends_the_same_bytes(listener, body):
    port = listener.getsockname()[1]
    fields = [(b"Content-Type", b"application/octet-stream"), (b"X-Odd", b"\xe2\x82\xac 'x' \\n"), (b"Accept", b"a/b")]
    target = b"/path/./x?a='b'&c=$d"
    recording = recorded(b"PUT", target, fields, body, authority=b"127.0.0.1:%d" % port)
    received = bytearray()

    def serve():
        client, _ = listener.accept()
        with client:
            client.settimeout(20)
            while b"\r\n\r\n" not in received:
                received.extend(client.recv(65536))
            if b"Expect: 100-continue" in received:
                client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            while len(received.partition(b"\r\n\r\n")[2]) < len(body):
                received.extend(client.recv(65536))
            client.sendall(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")

    thread = threading.Thread(target=serve)
    thread.start()
    shell = shutil.which("bash") or "sh"
    command = curl(recording, with_secrets=True).replace("curl ", "curl -sS --noproxy '*' ", 1)
    # As it is pasted: read by the shell, and no argument of it.
    done = subprocess.run([shell], input=command.encode(), capture_output=True, timeout=30)
    thread.join(20)
    assert done.returncode == 0, done.stderr
    head, _, sent = bytes(received).partition(b"\r\n\r\n")
    assert sent == body
    lines = head.split(b"\r\n")
    assert lines[0] == b"PUT " + target + b" HTTP/1.1"
    assert b"X-Odd: \xe2\x82\xac 'x' \\n" in lines and b"Accept: a/b" in lines
    assert not [line for line in lines if line.lower().startswith(b"user-agent")]
