"""A client of `Http2Connection` that may send anything, and what it hears."""

import hpack

from duck.wire import h2_frames as frames
from duck.wire.h2_connection import Http2Connection
from duck.wire.h2_stream import StreamState

NAMES = {
    frames.DATA: "DATA",
    frames.HEADERS: "HEADERS",
    frames.RST_STREAM: "RST_STREAM",
    frames.SETTINGS: "SETTINGS",
    frames.PING: "PING",
    frames.GOAWAY: "GOAWAY",
    frames.WINDOW_UPDATE: "WINDOW_UPDATE",
    frames.CONTINUATION: "CONTINUATION",
}
GET = ((":method", "GET"), (":scheme", "https"), (":authority", "x"), (":path", "/"))
POST = ((":method", "POST"), *GET[1:])


def frame(kind, flags=0, stream_id=0, payload=b""):
    """Any frame."""
    return frames.frame_header(len(payload), kind, flags, stream_id) + payload


def number(value):
    return value.to_bytes(4, "big")


def setting(name, value):
    return name.to_bytes(2, "big") + number(value)


SETTINGS = frame(frames.SETTINGS)
START = frames.PREFACE + SETTINGS


def parse(data):
    """The frames of `data`: name, flags, stream, payload."""
    found = []
    while data:
        length = int.from_bytes(data[:3], "big")
        assert len(data) >= 9 + length and length <= frames.FRAME_BYTES
        found.append((NAMES[data[3]], data[4], int.from_bytes(data[5:9], "big"), data[9 : 9 + length]))
        data = data[9 + length :]
    return found


class Stream:
    """A stream's state, and what was told of it."""

    def __init__(self, state):
        self.__dict__["state"] = state
        self.head = None
        self.refused = None
        self.body = b""
        self.ended = False
        self.trailers = None
        self.error = None
        self.emits = 0
        self.source = []
        self.was_sent = False
        self.keeps = False
        self.on_data = None

    def __getattr__(self, name):
        return getattr(self.state, name)

    def __setattr__(self, name, value):
        if hasattr(self.state, name):
            setattr(self.state, name, value)
        else:
            self.__dict__[name] = value


class Unwrapping:
    """The connection, for which a `Stream` is the state in it."""

    def __init__(self, connection):
        self.__dict__["connection"] = connection

    def __getattr__(self, name):
        found = getattr(self.connection, name)
        if not callable(found):
            return found

        def call(*args, **more):
            return found(*(arg.state if isinstance(arg, Stream) else arg for arg in args), **more)

        return call

    def __setattr__(self, name, value):
        setattr(self.connection, name, value)


class Peer:
    """One connection, begun; `hear` gives the frames that it has to send."""

    def __init__(self, start=START, **limits):
        self.connection = Unwrapping(Http2Connection(self, b"https", 0.0, **limits))
        self.encoder = hpack.Encoder()
        self.decoder = hpack.Decoder()
        self.opened = []
        self.malformed_with = []
        self.told = []
        self.goodbyes = 0
        self.now = 0.0
        self.greeting = []
        if start:
            self.greeting = self.send(start)

    # -- Http2Owner

    def make_stream(self, stream_id, send_window):
        stream = Stream(StreamState(stream_id, send_window))
        self.opened.append(stream)
        return stream.state

    def request(self, state, head):
        self.stream(state.id).head = head

    def refused(self, state, error, head):
        self.stream(state.id).refused = error
        self.told.append((head.method, head.target))

    def body(self, state, data):
        stream = self.stream(state.id)
        stream.body += data
        if not stream.keeps:
            self.connection.consumed(state, len(data))
        if stream.on_data is not None:
            stream.on_data(data)

    def body_end(self, state, fields):
        stream = self.stream(state.id)
        assert not stream.ended
        stream.ended = True
        stream.trailers = fields

    def was_reset(self, state, error):
        stream = self.stream(state.id)
        assert stream.error is None
        stream.error = error

    def emitted(self, state):
        self.stream(state.id).emits += 1

    def refill(self, state):
        stream = self.stream(state.id)
        if stream.source:
            state.put(stream.source.pop(0))
            state.refills = bool(stream.source)

    def sent_end(self, state):
        self.stream(state.id).was_sent = True

    def malformed(self, state, error, head):
        self.malformed_with.append(str(error))
        self.told.append((head.method, head.target))

    def goodbye_heard(self):
        self.goodbyes += 1

    # -- the client

    def send(self, *pieces):
        """Deliver bytes; gives what is sent because of them."""
        for piece in pieces:
            self.connection.feed(piece, self.now)
        return self.hear()

    def hear(self):
        self.connection.emit(1 << 30)
        data = b"".join(self.connection.out)
        self.connection.out.clear()
        return parse(data)

    def block(self, *fields):
        return self.encoder.encode(fields, huffman=True)

    def headers(self, stream_id=1, fields=GET, *, end=True, more=()):
        flags = frames.END_HEADERS | (frames.END_STREAM if end else 0)
        return frame(frames.HEADERS, flags, stream_id, self.block(*fields, *more))

    def ask(self, stream_id=1, fields=GET, **more):
        """Send a request; gives its stream."""
        self.send(self.headers(stream_id, fields, **more))
        return self.stream(stream_id)

    def stream(self, stream_id):
        return next(stream for stream in self.opened if stream.id == stream_id)

    @property
    def code(self):
        """Why the connection was closed, or None."""
        error = self.connection.error
        return None if error is None else error.code


def goaway_of(heard):
    """The last stream and the code of the GOAWAY in `heard`."""
    payload = next(payload for name, _, _, payload in heard if name == "GOAWAY")
    return int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big")
