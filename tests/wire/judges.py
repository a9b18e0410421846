"""How Duck, h11 and llhttp frame the same bytes.

Each judge reads a stream of requests, or of answers, and tells the messages it sees: what it takes for the method and
the target (or the status), for the body, and where the next message begins. `Ending` says why it saw no more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

import h11
import httptools

from duck.exceptions import ProtocolError
from duck.wire.framing import ChunkedReader
from duck.wire.h1 import parse_request_head, parse_response_head

MAX_HEAD_BYTES: Final = 32_768


class Message(NamedTuple):
    """One complete message; `end` is the offset of the byte after it."""

    start: bytes
    body: bytes
    end: int


Ending = Literal[
    "refused",  # what follows is no HTTP to this judge
    "closed",  # the connection is not used for another message
    "clean",  # the bytes end with the last message
    "head",  # the bytes end within a head
    "body",  # the bytes end within a body
]


class Framed(NamedTuple):
    """What one judge makes of a stream."""

    messages: list[Message]
    ending: Ending


Judge = Callable[[bytes], Framed]


def disagree(one: Framed, other: Framed) -> str:
    """How two judges frame a stream differently, as far as neither refuses it; empty where they do not."""
    for index in range(max(len(one.messages), len(other.messages))):
        pair = []
        for framed in (one, other):
            if index < len(framed.messages):
                pair.append(str(framed.messages[index]))
            elif framed.ending in ("refused", "closed"):
                return ""
            else:
                pair.append(f"nothing: {framed.ending}")
        if pair[0] != pair[1]:
            return f"message {index}: {pair[0]} <> {pair[1]}"
    # Line ends between messages are a head's beginning to one and nothing to another.
    endings = {"head" if ending == "clean" else ending for ending in (one.ending, other.ending)} - {"refused", "closed"}
    return " <> ".join(sorted(endings)) if len(endings) == 2 else ""


# -- requests ---------------------------------------------------------------------------------------------------------


def duck_requests(data: bytes) -> Framed:
    """Duck's parts, put together as `net.server_connection` does."""
    messages: list[Message] = []
    at = 0
    while True:
        if data.startswith(b"\r\n", at):
            at += 2
            if data.startswith(b"\r\n", at):
                return Framed(messages, "refused")
        end = data.find(b"\r\n\r\n", at, at + MAX_HEAD_BYTES)
        if end < 0:
            rest = data[at:]
            if rest.count(b"\n") != rest.count(b"\r\n"):
                return Framed(messages, "refused")
            return Framed(messages, "head" if rest else "clean")
        head = data[at : end + 2]
        at = end + 4
        try:
            request = parse_request_head(head)
            if request.content_length is None:
                reader = ChunkedReader()
                body = reader.feed(data[at:])
                if not reader.done:
                    return Framed(messages, "body")
                at = len(data) - len(reader.rest)
            else:
                body = data[at : at + request.content_length]
                if len(body) < request.content_length:
                    return Framed(messages, "body")
                at += len(body)
        except ProtocolError:
            return Framed(messages, "refused")
        # The judges tell an absolute form as it came; what Duck makes of it has tests of its own.
        target = request.target if head.split(b" ")[1].startswith(b"/") else head.split(b" ")[1]
        messages.append(Message(request.method + b" " + target, body, at))
        if not request.keep_alive or request.upgrade is not None:
            return Framed(messages, "closed")


def h11_requests(data: bytes) -> Framed:
    """h11 as a server that answers every request."""
    messages: list[Message] = []
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD_BYTES)
    connection.receive_data(data)
    start = b""
    body = b""
    ending: Ending = "head"
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                start, body, ending = event.method + b" " + event.target, b"", "body"
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                rest = connection.trailing_data[0]
                messages.append(Message(start, body, len(data) - len(rest)))
                if connection.their_state is not h11.DONE or connection.client_is_waiting_for_100_continue:
                    return Framed(messages, "closed")
                connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE:
                    return Framed(messages, "closed")
                connection.start_next_cycle()
                ending = "head" if rest else "clean"
            else:
                return Framed(messages, "closed" if event is h11.PAUSED else ending)
    except h11.RemoteProtocolError:
        return Framed(messages, "refused")


class _Callbacks:
    """What llhttp calls."""

    def __init__(self) -> None:
        self.url = b""
        self.body = b""
        self.begun = False
        self.in_body = False
        self.complete = False

    def on_message_begin(self) -> None:
        self.url = self.body = b""
        self.begun = True
        self.in_body = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_headers_complete(self) -> None:
        self.in_body = True

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True
        self.begun = self.in_body = False


def llhttp_requests(data: bytes) -> Framed:
    """llhttp through httptools, byte by byte: so the end of each message is known."""
    messages: list[Message] = []
    seen = _Callbacks()
    parser = httptools.HttpRequestParser(seen)
    for at in range(len(data)):
        upgraded = False
        try:
            parser.feed_data(data[at : at + 1])
        except httptools.HttpParserUpgrade:
            upgraded = True
        except httptools.HttpParserError:
            return Framed(messages, "refused")
        if seen.complete:
            seen.complete = False
            messages.append(Message(parser.get_method() + b" " + seen.url, seen.body, at + 1))
            if upgraded or not parser.should_keep_alive():
                return Framed(messages, "closed")
    return Framed(messages, "body" if seen.in_body else "head" if seen.begun else "clean")


# -- answers, all to GET ----------------------------------------------------------------------------------------------


def duck_answers(data: bytes) -> Framed:
    """Duck's parts, put together as `net.upstream_connection` does; one final answer."""
    messages: list[Message] = []
    at = 0
    while True:
        end = data.find(b"\r\n\r\n", at)
        if end < 0:
            return Framed(messages, "head" if at < len(data) else "clean")
        try:
            facts = parse_response_head(data[at : end + 2], b"GET")
            at = end + 4
            start = b"%d" % facts.status
            if 100 <= facts.status < 200:
                messages.append(Message(start, b"", at))
                if facts.status == 101:
                    return Framed(messages, "closed")
                continue
            if facts.chunked:
                reader = ChunkedReader(status=502)
                body = reader.feed(data[at:])
                if not reader.done:
                    return Framed(messages, "body")
                at = len(data) - len(reader.rest)
            elif facts.length is None:
                return Framed(messages, "body")
            else:
                body = data[at : at + facts.length]
                if len(body) < facts.length:
                    return Framed(messages, "body")
                at += len(body)
        except ProtocolError:
            return Framed(messages, "refused")
        return Framed([*messages, Message(start, body, at)], "closed")


def h11_answers(data: bytes) -> Framed:
    """h11 as a client that sent one GET."""
    messages: list[Message] = []
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a"), ("Connection", "Upgrade, x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    start = b""
    body = b""
    ending: Ending = "head" if data else "clean"
    try:
        while True:
            event = connection.next_event()
            rest = connection.trailing_data[0]
            if isinstance(event, h11.InformationalResponse):
                messages.append(Message(b"%d" % event.status_code, b"", len(data) - len(rest)))
                ending = "head" if rest else "clean"
            elif isinstance(event, h11.Response):
                start, ending = b"%d" % event.status_code, "body"
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return Framed([*messages, Message(start, body, len(data) - len(rest))], "closed")
            else:
                return Framed(messages, "closed" if event is h11.PAUSED else ending)
    except h11.RemoteProtocolError:
        return Framed(messages, "refused")


def llhttp_answers(data: bytes) -> Framed:
    """llhttp through httptools, byte by byte, until the first final answer."""
    messages: list[Message] = []
    seen = _Callbacks()
    parser = httptools.HttpResponseParser(seen)
    for at in range(len(data)):
        upgraded = False
        try:
            parser.feed_data(data[at : at + 1])
        except httptools.HttpParserUpgrade:
            upgraded = True
        except httptools.HttpParserError:
            return Framed(messages, "refused")
        if seen.complete:
            seen.complete = False
            status = parser.get_status_code()
            messages.append(Message(b"%d" % status, seen.body, at + 1))
            if upgraded or status >= 200:
                return Framed(messages, "closed")
    return Framed(messages, "body" if seen.in_body else "head" if seen.begun else "clean")
