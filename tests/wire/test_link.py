"""Frames between the front and a Django worker, however the bytes are split."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duck.wire.link import (
    CUT,
    DATA,
    END,
    FIELDS_AT,
    FOUND,
    FRAME,
    FREE,
    HEAD,
    HEAD_FIXED,
    HELLO,
    MAX_HEAD_BYTES,
    MAX_SMALL_FRAME,
    MEASURE,
    RECALL,
    REQUEST,
    SHARED_AT,
    AnswerReader,
    LinkError,
    frame,
    free_frame,
    head_frame,
    measure_frame,
    request_frame,
    split_request,
)


class Told:
    """What an AnswerReader told: events, with body bytes joined and `complete` written out as an end."""

    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []

    def _body(self, data: bytes) -> None:
        if data:
            if self.events and self.events[-1][0] == "body":
                self.events[-1] = ("body", self.events[-1][1] + data)  # type: ignore[operator]
            else:
                self.events.append(("body", data))

    def link_hello(self) -> None:
        self.events.append(("hello",))

    def link_head(
        self, status: int, reason: bytes, block: bytes, content_length: int | None, body: bytes, complete: bool
    ) -> None:
        self.events.append(("head", status, reason, block, content_length))
        self._body(body)
        if complete:
            self.events.append(("end",))

    def link_data(self, chunk: bytes) -> None:
        assert chunk, "nothing is told as data"
        self._body(chunk)

    def link_end(self) -> None:
        self.events.append(("end",))

    def link_cut(self, reason: str) -> None:
        self.events.append(("cut", reason))

    def link_found(self, path: bytes) -> None:
        self.events.append(("found", path))

    def link_recall(self, level: int) -> None:
        self.events.append(("recall", level))

    def link_measure(self, queries: int, database_us: int, template_us: int, all_us: int) -> None:
        self.events.append(("measure", queries, database_us, template_us, all_us))

    def link_free(self, all_us: int) -> None:
        self.events.append(("free", all_us))


def told(*pieces: bytes) -> list[tuple[object, ...]]:
    receiver = Told()
    reader = AnswerReader(receiver)
    for piece in pieces:
        reader.feed(piece)
    return receiver.events


CONVERSATION = b"".join(
    (
        frame(HELLO),
        head_frame(200, b"OK", b"A: b\r\n", 5, b"hello", complete=True),
        free_frame(7),
        head_frame(200, b"", b"", None, b"he", complete=False),
        frame(DATA, b"llo"),
        frame(DATA),
        frame(DATA, b"!"),
        frame(END),
        free_frame(7),
        head_frame(204, b"No Content", b"X: y\r\n", None, b"", complete=True),
        free_frame(7),
        head_frame(500, b"\xff", b"", 10, b"", complete=False),
        frame(CUT, "abgebrochen: \u00e9".encode()),
        free_frame(7),
        frame(FOUND, b"/static/\xff.css"),
        frame(FOUND),
        frame(RECALL, b"\2"),
        measure_frame(3, 1_000, 20, 2**40),
    )
)
EVENTS = [
    ("hello",),
    ("head", 200, b"OK", b"A: b\r\n", 5),
    ("body", b"hello"),
    ("end",),
    ("free", 7),
    ("head", 200, b"", b"", None),
    ("body", b"hello!"),
    ("end",),
    ("free", 7),
    ("head", 204, b"No Content", b"X: y\r\n", None),
    ("end",),
    ("free", 7),
    ("head", 500, b"\xff", b"", 10),
    ("cut", "abgebrochen: \u00e9"),
    ("free", 7),
    ("found", b"/static/\xff.css"),
    ("found", b""),
    ("recall", 2),
    ("measure", 3, 1_000, 20, 2**32 - 1),
]


def test_frames_are_told_in_order() -> None:
    assert told(CONVERSATION) == EVENTS


def test_every_cut_in_two_and_every_single_byte_tell_the_same() -> None:
    for at in range(len(CONVERSATION) + 1):
        assert told(CONVERSATION[:at], CONVERSATION[at:]) == EVENTS
    assert told(*(CONVERSATION[at : at + 1] for at in range(len(CONVERSATION)))) == EVENTS


_body = st.binary(max_size=40)
_answers = st.lists(
    st.one_of(
        st.builds(
            lambda status, reason, block, length, body: (
                head_frame(status, reason, block, length, body, complete=True) + free_frame(7)
            ),
            st.integers(200, 599),
            st.binary(max_size=20),
            st.binary(max_size=60),
            st.none() | st.integers(0, 2**62),
            _body,
        ),
        st.builds(
            lambda body, pieces, last: (
                head_frame(200, b"OK", b"", None, body, complete=False)
                + b"".join(frame(DATA, piece) for piece in pieces)
                + frame(last, b"" if last == END else b"why")
                + free_frame(7)
            ),
            _body,
            st.lists(_body, max_size=4),
            st.sampled_from((END, CUT)),
        ),
        st.builds(lambda path: frame(FOUND, path), st.binary(max_size=40)),
    ),
    max_size=5,
)


@settings(deadline=None, max_examples=150)
@given(answers=_answers, cuts=st.lists(st.integers(0, 600), max_size=8))
def test_any_conversation_in_any_pieces_tells_the_same(answers: list[bytes], cuts: list[int]) -> None:
    data = b"".join(answers)
    ends = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    assert told(*(data[at:end] for at, end in pairwise(ends))) == told(data)


def test_a_whole_answer_is_told_in_one_call() -> None:
    calls: list[tuple[bytes, bool]] = []

    class Once(Told):
        def link_head(
            self, status: int, reason: bytes, block: bytes, content_length: int | None, body: bytes, complete: bool
        ) -> None:
            calls.append((body, complete))

    AnswerReader(Once()).feed(head_frame(200, b"OK", b"", 5, b"hello", complete=True))
    assert calls == [(b"hello", True)]


def test_a_long_body_is_passed_on_and_not_gathered() -> None:
    receiver = Told()
    reader = AnswerReader(receiver)
    reader.feed(head_frame(200, b"OK", b"", None, b"", complete=False) + FRAME.pack(1 << 30, DATA))
    piece = b"x" * 65_536
    seen: list[bytes] = []
    receiver.link_data = seen.append  # type: ignore[method-assign]
    reader.feed(piece)
    assert seen[0] is piece


@pytest.mark.parametrize("content", [b"", b"payload"])
def test_a_frame_is_length_type_and_payload(content: bytes) -> None:
    assert frame(DATA, content) == len(content).to_bytes(4, "big") + b"\x12" + content


@pytest.mark.parametrize(
    "data",
    [
        frame(99),
        frame(0),
        frame(REQUEST),
        frame(RECALL),
        frame(MEASURE, b"\0" * 15),
        FRAME.pack(MAX_SMALL_FRAME + 1, CUT),
        FRAME.pack(2**32 - 1, FREE),
        FRAME.pack(HEAD_FIXED.size, HEAD) + HEAD_FIXED.pack(200, 0, -1, 1, 0),
        FRAME.pack(HEAD_FIXED.size, HEAD) + HEAD_FIXED.pack(200, 0, -1, 0, 1),
        FRAME.pack(3, HEAD) + HEAD_FIXED.pack(200, 0, -1, 0, 0),
        FRAME.pack(2**32 - 1, HEAD) + HEAD_FIXED.pack(200, 0, -1, 0, MAX_HEAD_BYTES),
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
)
def test_what_is_no_frame_ends_the_link(data: bytes) -> None:
    with pytest.raises(LinkError):
        told(data)


@settings(deadline=None, max_examples=150)
@given(data=st.binary(max_size=80))
def test_any_bytes_are_frames_or_a_link_error(data: bytes) -> None:
    try:
        told(data)
    except LinkError:
        pass


_item = st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=12)


@settings(deadline=None, max_examples=150)
@given(
    fixed=st.lists(_item, min_size=FIELDS_AT, max_size=FIELDS_AT),
    fields=st.lists(st.tuples(_item, _item), max_size=4),
    body=st.binary(max_size=60),
)
def test_a_request_is_read_as_it_was_written(fixed: list[str], fields: list[tuple[str, str]], body: bytes) -> None:
    items = [*fixed, *(item for pair in fields for item in pair)]
    data = request_frame("\0".join(items).encode("latin-1"), body)
    size, kind = FRAME.unpack_from(data)
    assert (size, kind) == (len(data) - FRAME.size, REQUEST)
    read, rest = split_request(data)
    assert ([*read[:SHARED_AT], *read[SHARED_AT].split("\0")], rest) == (items, body)


@pytest.mark.parametrize(
    "data",
    [
        frame(REQUEST),
        frame(REQUEST, b"\0\0\0"),
        frame(REQUEST, b"\0\0\0\5abcd"),
        request_frame(b""),
        request_frame(b"\0".join([b"x"] * SHARED_AT)),
    ],
)
def test_a_request_that_is_not_whole_is_a_link_error(data: bytes) -> None:
    with pytest.raises(LinkError):
        split_request(data)
