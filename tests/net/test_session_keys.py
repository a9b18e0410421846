"""Sessions that are resumed with whoever has the same secret, as other processes of the same site have."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

import duck
from duck.net import session_keys
from duck.net.session_keys import SECRET_BYTES, keyed_context
from duck.net.tls import REQUESTED, TICKET_KEYS_S, Contexts, TlsConfig
from tests.certificates import Authority, Pair

SECRET = bytes(range(SECRET_BYTES))
VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.issue("a.example")


def sharing(pair: Pair, secret: bytes = SECRET, **more: object) -> Contexts:
    contexts = Contexts(TlsConfig((pair,), **more))  # type: ignore[arg-type]
    contexts.share_sessions(secret)
    assert contexts.shares_sessions, "this Python's OpenSSL has no such function"
    return contexts


def shake(contexts: Contexts, client: ssl.SSLContext, session: ssl.SSLSession | None = None) -> ssl.SSLObject:
    """The client's side of a handshake in memory, after it was sent a byte, and its tickets with that."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = contexts.front.wrap_bio(up, down, server_side=True)
    asking = client.wrap_bio(down, up, server_hostname="a.example", session=session)
    for _ in range(4):
        for side in (asking, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
    server.write(b"x")
    assert asking.read(1) == b"x"
    return asking


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_who_has_the_secret_resumes_and_nobody_else(authority: Authority, pair: Pair, version: ssl.TLSVersion) -> None:
    client = authority.client(version=version)
    first, second = sharing(pair), sharing(authority.issue("a.example"))
    begun = shake(first, client)
    assert not begun.session_reused
    assert shake(second, client, begun.session).session_reused
    assert shake(first, client, begun.session).session_reused
    for other in (Contexts(TlsConfig((pair,))), sharing(pair, bytes(SECRET_BYTES))):
        assert not shake(other, client, begun.session).session_reused


def test_a_session_that_asked_for_no_certificate_is_not_resumed_by_who_does(authority: Authority, pair: Pair) -> None:
    client = authority.client()
    begun = shake(sharing(pair), client)
    asking = sharing(pair, client_certificates=REQUESTED, client_ca=authority.file)
    assert not shake(asking, client, begun.session).session_reused


def test_what_is_shared_is_left_after_a_day(authority: Authority, pair: Pair) -> None:
    now = 1000.0
    contexts = Contexts(TlsConfig((pair,)), now=lambda: now)
    contexts.share_sessions(SECRET)
    client = authority.client()
    begun = shake(contexts, client)
    now += TICKET_KEYS_S + 1
    assert not shake(contexts, client, begun.session).session_reused
    assert not contexts.shares_sessions
    contexts.share_sessions(SECRET[::-1])
    assert contexts.shares_sessions


def test_a_change_of_certificates_keeps_what_is_shared(authority: Authority, pair: Pair) -> None:
    first, client = sharing(pair), authority.client()
    begun = shake(first, client)
    first.reload(TlsConfig((authority.issue("a.example"),)))
    assert shake(first, client, begun.session).session_reused
    assert shake(sharing(pair), client, begun.session).session_reused


@pytest.mark.parametrize(
    "library", [object(), type("Library", (), {"SSL_CTX_ctrl": print})()], ids=["no function", "one of two"]
)
def test_without_the_functions_contexts_have_keys_of_their_own(
    authority: Authority, pair: Pair, monkeypatch: pytest.MonkeyPatch, library: object
) -> None:
    monkeypatch.setattr(session_keys, "_loaded", [])
    monkeypatch.setattr(session_keys.ctypes, "CDLL", lambda name: library)
    contexts, client = Contexts(TlsConfig((pair,))), authority.client()
    contexts.share_sessions(SECRET)
    assert not contexts.shares_sessions
    begun = shake(contexts, client)
    assert shake(contexts, client, begun.session).session_reused


def test_a_library_that_makes_others_contexts_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it is told of comes from another one: then nothing is told, and nothing is set."""
    library = session_keys._openssl()
    assert library is not None
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context, is_shared = keyed_context(lambda: made, SECRET, b"")
    assert context is made and not is_shared


def test_contexts_are_made_in_many_threads_and_freed(tmp_path: Path) -> None:
    """In a process of its own: a wrong pointer would end it."""
    program = tmp_path / "program.py"
    program.write_text(
        "import gc, ssl, sys, threading\n"
        "from duck.net.session_keys import keyed_context\n"
        "def make():\n"
        "    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n"
        "def run():\n"
        "    for _ in range(200):\n"
        "        context, shared = keyed_context(make, bytes(32), b'')\n"
        "        assert shared\n"
        "        make()\n"
        "threads = [threading.Thread(target=run) for _ in range(4)]\n"
        "[thread.start() for thread in threads], [thread.join() for thread in threads]\n"
        "gc.collect()\n"
        "print('well')\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(Path(duck.__file__).resolve().parents[1])}
    command = [sys.executable, str(program)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "well\n"), done.stderr
