"""The client's side of an HTTP/2 connection over a fake transport, framed by the `h2` library, a judge."""

import h2.config
import h2.connection
import h2.settings
import hpack

from duck.wire.h2_frames import PREFACE

FIELDS = ((":scheme", "http"), (":authority", "x"))


class Answer:
    """What came on one stream."""

    def __init__(self):
        self.fields = None
        self.informational = []
        self.body = bytearray()
        self.trailers = None
        self.ended = False
        self.reset = None

    @property
    def status(self):
        return int(dict(self.fields)[b":status"]) if self.fields else 0

    def field(self, name):
        return dict(self.fields).get(name.encode())


class Client:
    """One connection to a `Front`; what Duck sends, `h2` must take."""

    def __init__(self, front, *, initial_window=None, **extra):
        config = h2.config.H2Configuration(client_side=True, header_encoding=None)
        self.h2 = h2.connection.H2Connection(config)
        self.front = front
        self.answers = {}
        self.goaway = None
        self.goaways = []
        self.hpack = hpack.Decoder()
        self.judged = True
        self.heard = b""
        self.frames = []
        self.auto = True  # windows are opened as bytes are read
        self.pongs = True
        self.transport = front.connect(**extra)
        self.h2.initiate_connection()
        if initial_window is not None:
            self.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: initial_window})
        self.send()
        self.transport.connection = self.transport._protocol

    def send(self):
        """Deliver what the client has to send, and read what comes."""
        data = self.h2.data_to_send()
        if data:
            self.transport.receive(data)
        self.read()

    def leave(self):
        """Close the connection."""
        self.transport.receive_eof()
        self.transport.lose()

    def raw(self, data):
        """Deliver bytes that `h2` would not send; it judges no more from here on."""
        self.judged = False
        self.transport.receive(data)
        self.read()

    def read(self):
        while data := self.transport.pop_sent():
            self.heard += data
            while len(self.heard) >= 9:
                end = 9 + int.from_bytes(self.heard[:3], "big")
                assert len(self.heard) >= end, "a part of a frame"
                frame, self.heard = self.heard[:end], self.heard[end:]
                self.frames.append(frame)
                if self.judged and frame[3] not in (6, 7):  # it takes nothing behind a GOAWAY
                    self.h2.receive_data(frame)
                self.take(frame)
            data = self.h2.data_to_send() if self.judged else b""
            if data and self.transport.reading and not self.transport.is_closing():
                self.transport.receive(data)

    def take(self, frame):
        kind, flags, payload = frame[3], frame[4], frame[9:]
        stream_id = int.from_bytes(frame[5:9], "big")
        if stream_id and kind != 8:
            answer = self.answers.setdefault(stream_id, Answer())
            assert not answer.ended or kind == 3, "frames behind the end"
        if kind == 1:
            assert flags & 4
            fields = self.hpack.decode(payload, raw=True)
            fields = [(bytes(name), bytes(value)) for name, value in fields]
            if fields[0][0] == b":status" and fields[0][1].startswith(b"1"):
                answer.informational.append(fields)
            elif answer.fields is None:
                answer.fields = fields
            else:
                answer.trailers = fields
        elif kind == 0:
            answer.body += payload
            if self.auto and payload:
                if self.judged:
                    self.h2.acknowledge_received_data(len(payload), stream_id)
                elif not self.transport.is_closing():
                    self.transport.receive(b"\0\0\4\x08\0\0\0\0\0" + len(payload).to_bytes(4, "big"))
        elif kind == 3:
            answer.reset = int.from_bytes(payload, "big")
        elif kind == 7:
            self.goaways.append((int.from_bytes(payload[:4], "big"), int.from_bytes(payload[4:8], "big")))
            self.goaway = self.goaways[-1][1]
        elif kind == 6 and not flags & 1 and self.pongs and self.transport.reading:
            self.transport.receive(frame[:4] + b"\1" + frame[5:])
        if kind < 2 and flags & 1:
            answer.ended = True

    def open_window(self, size, stream_id=None):
        """Let Duck send so many bytes more."""
        self.h2.increment_flow_control_window(size, stream_id)
        self.send()

    def start(self, path="/", *fields, method="GET", end=True, pseudo=FIELDS):
        """Send a request's head; gives its stream's id."""
        stream_id = self.h2.get_next_available_stream_id()
        self.h2.send_headers(stream_id, [(":method", method), (":path", path), *pseudo, *fields], end_stream=end)
        self.send()
        return stream_id

    def ask(self, path="/", *fields, body=None, method="GET", **more):
        """A whole request; what came of it."""
        stream_id = self.start(path, *fields, method=method, end=body is None, **more)
        if body is not None:
            self.body(stream_id, body)
        return self.answers.setdefault(stream_id, Answer())

    def body(self, stream_id, data, end=True):
        """Send a body, as the windows allow."""
        while data:
            window = min(self.h2.local_flow_control_window(stream_id), self.h2.max_outbound_frame_size, len(data))
            assert window, "the window is shut"
            self.h2.send_data(stream_id, data[:window])
            data = data[window:]
            self.send()
        if end:
            self.h2.end_stream(stream_id)
            self.send()


__all__ = ["FIELDS", "PREFACE", "Answer", "Client"]
