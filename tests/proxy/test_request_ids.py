"""One id for a request: in the log, in Duck's messages, and at the backend."""

import re

import pytest

from duck.net.exchange_log import ExchangeLog
from tests.net.front import get, post
from tests.proxy.backends import answer, read_request, serve

FORGED = ("X-Request-ID: forged", "x-request-id: forged2", "X_Request_ID: forged3")


@pytest.fixture
def asked_link(link_backend):
    """A link worker that answers with the id that it was told."""

    def script(slot, items, fields, body):
        assert not [name for name, _ in fields if "request" in name.lower()]
        slot.answer(items["request_id"].encode())

    return link_backend(script)


@pytest.fixture
def asked_http(http_backend):
    """An HTTP server that does the same."""
    return http_backend(serve(lambda connection, line, fields, body: answer(fields[b"x-request-id"])))


@pytest.fixture(params=["asked_link", "asked_http"])
def backend(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize(
    "data", [get(), get("/", *FORGED), post(b"body", *FORGED), post(b"x" * 300_000)], ids=["", "forged", "body", "long"]
)
def test_the_backend_is_told_the_id_of_the_log_and_no_clients_own(front, backend, data):
    front.switch(backend.upstream())
    client = front.connect()
    told = [client.ask(data).body for _ in range(2)]
    front.wait_exchanges(2)
    assert told == [exchange.id for exchange in front.exchanges]
    assert len(set(told)) == 2
    assert all(re.fullmatch(rb"[0-9a-f]{18}", one) for one in told)


def test_a_trusted_proxy_names_it(make_front, backend):
    front = make_front(trusted_proxies=("127.0.0.1",))
    front.switch(backend.upstream())
    for extra in ((), ("X-Forwarded-For: 192.0.2.9",)):
        assert front.ask(get("/", "X-Request-ID: from-the-edge.1", *extra)).body == b"from-the-edge.1"
        assert front.ask(get("/", 'X-Request-ID: "no token"', *extra)).body != b'"no token"'
    written = []
    ExchangeLog("text", written.append).ended(front.exchanges[0])
    assert " from-the-edge.1 " in written[0]


def test_a_message_about_a_request_names_it(front, http_backend, caplog):
    def script(connection):
        read_request(connection)

    front.switch(http_backend(script).upstream())
    assert front.ask(get("/broken")).status == 502
    front.wait_exchanges(1)
    assert f"(request {front.exchanges[0].id.decode()})" in caplog.text


def test_a_websocket_has_one_too(front, http_backend):
    told = []

    def script(connection):
        told.append(read_request(connection)[1][b"x-request-id"])
        connection.send(answer(status="403 Forbidden"))

    front.switch(sockets=[http_backend(script).upstream()])
    upgrade = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x")
    assert front.ask(get("/", *upgrade)).status == 403
    front.wait_exchanges(1)
    assert told == [front.exchanges[0].id]
