"""What the fields of a message say (RFC 9113 §8), as a request and as trailers."""

import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import given
from hypothesis import strategies as st

from duck.wire import h2_frames as frames
from duck.wire.h1 import parse_request_head
from duck.wire.h2_head import with_key
from duck.wire.head import HTTP_2, MAX_TOLD
from tests.wire.h2_peer import GET, POST, Peer, frame

CONNECT = (
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "https"),
    (":path", "/ws"),
    (":authority", "x"),
)
HUFFMAN = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


def ask(*fields, end=True, base=GET, **limits):
    peer = Peer(**limits)
    return peer, peer.ask(1, base, end=end, more=fields)


def without(name, base=GET):
    return tuple(pair for pair in base if pair[0] != name)


def instead(name, value, base=GET):
    return tuple((key, value if key == name else old) for key, old in base)


def test_a_request_says_what_it_would_under_http1():
    _, stream = ask(("accept", "*/*"), ("x-forwarded-for", "1.2.3.4"), ("a_b", "c"), base=instead(":path", "/a?b=c"))
    head = stream.head
    block = b"GET /a?b=c HTTP/1.1\r\nhost: x\r\naccept: */*\r\nx-forwarded-for: 1.2.3.4\r\na_b: c\r\n"
    same = parse_request_head(block, b"https")
    assert head.version == HTTP_2 and head.block is same.block
    for name in ("method", "target", "path", "query", "scheme", "authority", "content_length", "fields", "upgrade"):
        assert getattr(head, name) == getattr(same, name), name


def test_crumbs_of_a_cookie_are_joined():
    _, stream = ask(("cookie", "a=1"), ("accept", "x"), ("cookie", "b=2"), ("cookie", "c=3"))
    assert stream.head.fields == [(b"host", b"x"), (b"accept", b"x"), (b"cookie", b"a=1; b=2; c=3")]


def test_requests_that_differ_in_their_cookie_share_the_rest():
    peer = Peer()
    first = peer.ask(1, more=(("cookie", "a=1"),)).head
    second = peer.ask(3, more=(("cookie", "a=2"),)).head
    assert first.block is second.block and first.cookie != second.cookie


def test_the_same_request_again_is_the_same_object():
    peer = Peer()
    heads = [peer.ask(number, more=(("accept", "x"),)).head for number in (1, 3, 5, 7)]
    assert heads[1] is heads[2] is heads[3]
    assert peer.ask(9, more=(("accept", "y"),)).head is not heads[3]
    assert peer.ask(11, more=(("accept", "x"),)).head.fields[-1] == (b"accept", b"x")


def test_bytes_that_mean_another_field_now_are_read_again():
    peer = Peer()
    request = b"\x82\x87\x84\x01\x01x"
    indexed = request + b"\xbe"

    def ask(stream_id, block):
        peer.send(frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream_id, block))
        return peer.stream(stream_id).head.fields[-1]

    ask(1, request + b"\x40\x01a\x011")
    assert ask(3, indexed) == ask(5, indexed) == (b"a", b"1")
    ask(7, request + b"\x40\x01a\x012")
    assert ask(9, indexed) == ask(11, indexed) == (b"a", b"2")


def test_a_request_without_length_has_a_body_of_unknown_length():
    _, stream = ask(base=POST, end=False)
    assert stream.head.content_length is None
    _, stream = ask(("content-length", "3"), base=POST, end=False)
    assert stream.head.content_length == 3 and stream.declared_left == 3
    _, stream = ask(("content-length", "0"), base=POST, end=False)
    assert stream.head.content_length == 0
    _, stream = ask(("content-length", "0"), base=POST)
    assert stream.head.content_length == 0


def test_an_expectation_counts_where_there_is_a_body():
    assert ask(("expect", "100-continue"), base=POST, end=False)[1].head.expects_continue
    assert not ask(("expect", "100-continue"), base=POST)[1].head.expects_continue


def test_te_trailers_is_understood():
    assert ask(("te", "trailers"))[1].head.accepts_trailers


def test_host_stands_in_for_the_authority():
    _, stream = ask(("host", "y"), base=without(":authority"))
    assert stream.head.authority == b"y" and stream.head.fields == [(b"host", b"y")]
    _, stream = ask(("host", "x"))
    assert stream.head.fields == [(b"host", b"x")]


def test_options_may_ask_for_all():
    _, stream = ask(base=((":method", "OPTIONS"), *instead(":path", "*")[1:]))
    assert stream.head.target == b"*"


@pytest.mark.parametrize(
    ("base", "more"),
    [
        pytest.param(without(":method"), (), id="no method"),
        pytest.param(without(":path"), (), id="no path"),
        pytest.param(without(":scheme"), (), id="no scheme"),
        pytest.param(instead(":path", ""), (), id="an empty path"),
        pytest.param((*GET, GET[0]), (), id="two methods"),
        pytest.param((*GET, GET[1]), (), id="two schemes"),
        pytest.param((*GET, GET[2]), (), id="two authorities"),
        pytest.param((*GET, GET[3]), (), id="two paths"),
        pytest.param((*CONNECT, CONNECT[1]), (), id="two protocols"),
        pytest.param((*GET, (":status", "200")), (), id="a pseudo-field of answers"),
        pytest.param((*GET, (":unknown", "1")), (), id="an unknown pseudo-field"),
        pytest.param((("a", "b"), *GET), (), id="a field before pseudo-fields"),
        pytest.param((("cookie", "b"), *GET), (), id="a cookie before pseudo-fields"),
        pytest.param((("host", "x"), *GET), (), id="a host before pseudo-fields"),
        pytest.param(GET, (("A", "b"),), id="a capital"),
        pytest.param(GET, (("a b", "b"),), id="a name that is no token"),
        pytest.param(GET, (("a", "b\r\nc: d"),), id="CR and LF"),
        pytest.param(GET, (("a", "b\0"),), id="NUL"),
        pytest.param(GET, (("a", " b"),), id="a space before a value"),
        pytest.param(instead(":path", "/ HTTP/1.1\r\n"), (), id="CR and LF in a path"),
        pytest.param(instead(":authority", "x\ny"), (), id="LF in an authority"),
        pytest.param(GET, (("cookie", "a\nb"),), id="LF in a cookie"),
        pytest.param(GET, (("connection", "close"),), id="connection"),
        pytest.param(GET, (("transfer-encoding", "chunked"),), id="transfer-encoding"),
        pytest.param(GET, (("upgrade", "x"),), id="upgrade"),
        pytest.param(GET, (("te", "gzip"),), id="te"),
        pytest.param(GET, (("te", "trailers, gzip"),), id="te and more"),
        pytest.param(GET, (("host", "y"),), id="another host"),
        pytest.param(GET, (("host", "x"), ("host", "x")), id="two hosts"),
        pytest.param(GET, (("content-length", "1"),), id="a length without a body"),
        pytest.param(((":method", "CONNECT"), *GET[1:]), (), id="CONNECT with a path"),
        pytest.param(((":method", "CONNECT"),), (), id="CONNECT without authority"),
        pytest.param((*GET, (":protocol", "websocket")), (), id="a protocol without CONNECT"),
        pytest.param(without(":authority", CONNECT), (("host", "x"),), id="a protocol without authority"),
    ],
)
def test_malformed_requests_reset_their_stream(base, more):
    peer = Peer()
    heard = peer.send(peer.headers(1, base, more=more))
    assert heard == [("RST_STREAM", 0, 1, frames.PROTOCOL_ERROR.to_bytes(4, "big"))]
    assert peer.malformed_with and peer.stream(1).head is None and not peer.connection.streams
    assert peer.ask(3).head is not None and peer.code is None


@pytest.mark.parametrize(
    ("base", "more", "status"),
    [
        (without(":authority"), (), 400),
        (instead(":authority", ""), (), 400),
        (instead(":authority", "u@x"), (), 400),
        (instead(":authority", "x/y"), (), 400),
        (instead(":scheme", "ftp"), (), 400),
        (instead(":path", "x"), (), 400),
        (instead(":path", "*"), (), 400),
        (instead(":path", "/a#b"), (), 400),
        (instead(":path", "/a b"), (), 400),
        (instead(":path", "/\u00e9"), (), 400),
        (instead(":method", "G T"), (), 400),
        (instead(":method", "G" * 33), (), 501),
        (instead(":path", "/" * 101), (), 414),
        (((":method", "CONNECT"), (":authority", "x")), (), 501),
        (instead(":protocol", "other", CONNECT), (), 501),
        (CONNECT, (("content-length", "3"),), 400),
        (CONNECT, (), 400),  # it ends its stream
        (GET, (("content-length", "x"),), 400),
        (GET, (("content-length", "1"), ("content-length", "1")), 400),
        (GET, (("expect", "more"),), 417),
        (GET, tuple(("a", str(number)) for number in range(12)), 431),
        (GET, (("a", "b" * 600),), 431),
    ],
)
def test_other_requests_are_answered_with_a_refusal(base, more, status):
    peer = Peer(max_fields=10, max_head_bytes=700, max_target_bytes=100)
    assert peer.ask(1, base, more=more).refused.status == status
    assert peer.ask(3).head is not None and peer.code is None


def test_what_can_be_told_of_them_is_told():
    peer = Peer(max_target_bytes=2000, max_head_bytes=5000)
    path = ("/" + "a" * 3000,)
    peer.ask(1, (GET[0], *GET[1:3], (":path", *path)))
    peer.ask(3, POST, more=(("expect", "more"),))
    peer.ask(5, GET[1:])
    peer.ask(7, GET, more=(("a", "b" * 6000),))  # its fields are not kept
    told = [(b"GET", path[0].encode()[:MAX_TOLD]), (b"POST", b"/"), (b"-", b"/"), (b"-", b"-")]
    assert peer.told == told and peer.code is None


# -- WebSocket --------------------------------------------------------------------------------------------------------


def test_an_extended_connect_is_a_handshake():
    _, stream = ask(("sec-websocket-version", "13"), base=CONNECT, end=False)
    head = stream.head
    assert (head.method, head.target, head.upgrade, head.content_length) == (b"GET", b"/ws", b"websocket", 0)
    keyed = with_key(head, b"KEY")
    assert keyed.fields == [(b"host", b"x"), (b"sec-websocket-version", b"13"), (b"sec-websocket-key", b"KEY")]
    assert keyed.upgrade == b"websocket" and keyed.authority == b"x" and keyed.version == HTTP_2


def test_the_key_of_a_handshake_is_never_the_clients():
    _, stream = ask(("sec-websocket-key", "mine"), ("cookie", "a=b"), base=CONNECT, end=False)
    keyed = with_key(stream.head, b"KEY")
    assert keyed.fields == [(b"host", b"x"), (b"cookie", b"a=b"), (b"sec-websocket-key", b"KEY")]


# -- trailers ---------------------------------------------------------------------------------------------------------


def trail(*fields, end=True, **limits):
    peer = Peer(**limits)
    stream = peer.ask(1, POST, end=False)
    heard = peer.send(peer.headers(1, fields, end=end))
    return peer, stream, heard


def test_trailers_end_a_body():
    _, stream, _ = trail(("x-sum", "1"), ("x-sum", "2"))
    assert stream.ended and stream.trailers == [(b"x-sum", b"1"), (b"x-sum", b"2")]


def test_trailers_that_may_not_be_are_dropped():
    _, stream, _ = trail(
        ("cookie", "a"), ("host", "x"), ("content-length", "1"), ("x-forwarded-for", "x"), ("a_b", "c")
    )
    assert stream.ended and stream.trailers is None


@pytest.mark.parametrize(
    "fields",
    [
        ((":path", "/"),),
        ((":other", "/"),),
        (("A", "b"),),
        (("a", "b\r\n"),),
        (("connection", "close"),),
        tuple(("a", "b") for _ in range(51)),
        (("a", "b" * 17_000),),
    ],
)
def test_malformed_trailers_reset_their_stream(fields):
    peer, stream, heard = trail(*fields)
    assert [name for name, *_ in heard] == ["RST_STREAM"]
    assert stream.error is not None and not stream.ended and peer.code is None


def test_trailers_that_do_not_end_are_malformed():
    _, stream, heard = trail(("a", "b"), end=False)
    assert [name for name, *_ in heard] == ["RST_STREAM"] and stream.error is not None


def test_trailers_longer_than_any_head_are_malformed():
    peer, stream, _ = trail(("a", "b" * 200), max_head_bytes=150)
    assert stream.error is not None and peer.code is None


def test_trailers_within_a_body_of_known_length_are_malformed():
    peer = Peer()
    stream = peer.ask(1, POST, end=False, more=(("content-length", "3"),))
    peer.send(peer.headers(1, (("a", "b"),)))
    assert stream.error is not None and not stream.ended


def test_long_requests_are_not_remembered():
    peer = Peer()
    heads = [peer.ask(number, more=(("accept", "x" * 1500),)).head for number in (1, 3)]
    block = peer.block(*GET) + b"\x00\x01a\x7f\x81\x0f" + b"y" * 2048
    block = block.replace(b"\xbe", b"\x01\x01x")  # which no table has a part in
    for number in (5, 7, 9):
        peer.send(frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, number, block))
    assert peer.stream(9).head is not peer.stream(7).head
    assert peer.stream(5).head is not peer.stream(7).head and heads[0] is not heads[1]


# -- what was understood before ---------------------------------------------------------------------------------------

AROUND = b"\x82\x87\x01\x01x"  # GET, https, x


def literal(path, *, huffman=False):
    """`:path` as browsers send it."""
    if huffman:
        path = HUFFMAN.encode(path)
    assert len(path) < 127
    return b"\x04" + bytes([len(path) | (128 if huffman else 0)]) + path


def asks(peer, stream_id, block):
    peer.send(frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, stream_id, block))
    return peer.stream(stream_id)


@pytest.mark.parametrize("huffman", [False, True])
def test_a_request_with_another_path_is_the_same_but_for_that(huffman):
    peer = Peer()
    asks(peer, 1, AROUND + literal(b"/") + b"\x40\x01a\x011\x00\x06cookie\x03a=b")
    heads = [
        asks(peer, 2 * number + 3, b"\x82\x87" + literal(b"/%d?q" % number, huffman=huffman) + b"\x01\x01x\xbe").head
        for number in range(4)
    ]
    for number, head in enumerate(heads):
        assert (head.method, head.target, head.path, head.query) == (b"GET", b"/%d?q" % number, b"/%d" % number, b"q")
        assert head.fields == [(b"host", b"x"), (b"a", b"1")] and head.block is heads[0].block
        assert (head.version, head.scheme, head.authority, head.content_length) == (HTTP_2, b"https", b"x", 0)


@pytest.mark.parametrize(
    ("path", "status"),
    [(b"x", 400), (b"*", 400), (b"/a b", 400), (b"/#", 400), (b"/" * 101, 414), (b"/" + b"x" * 99, 0)],
)
def test_another_path_is_checked_like_the_first(path, status):
    peer = Peer(max_target_bytes=100)
    for number in (1, 3, 5):
        assert asks(peer, number, b"\x82\x87" + literal(b"/a") + b"\x01\x01x").head is not None
    stream = asks(peer, 7, b"\x82\x87" + literal(path) + b"\x01\x01x")
    assert (stream.refused.status if stream.refused else 0) == status
    assert asks(peer, 9, b"\x82\x87" + literal(b"/b") + b"\x01\x01x").head.target == b"/b"


def test_another_path_counts():
    peer = Peer(max_head_bytes=250)
    for number in (1, 3, 5):
        assert asks(peer, number, b"\x82\x87" + literal(b"/a") + b"\x01\x01x").head is not None
    assert asks(peer, 7, b"\x82\x87" + literal(b"/" * 126) + b"\x01\x01x").refused.status == 431


def test_an_empty_path_and_a_malformed_one_are_found_out():
    peer = Peer()
    for number in (1, 3, 5):
        assert asks(peer, number, b"\x82\x87" + literal(b"/a") + b"\x01\x01x").head is not None
    peer.send(frame(frames.HEADERS, 5, 7, b"\x82\x87" + literal(b"") + b"\x01\x01x"))
    assert peer.malformed_with and peer.code is None
    peer.send(frame(frames.HEADERS, 5, 9, b"\x82\x87\x04\x81\xff\x01\x01x"))
    assert peer.code == frames.COMPRESSION_ERROR


def test_what_stands_around_a_path_means_another_thing_with_another_table():
    peer = Peer()
    for number, value in enumerate((b"1", b"2", b"3")):
        asks(peer, 6 * number + 1, AROUND + literal(b"/") + b"\x40\x01a\x01" + value)
        for more in (3, 5):
            head = asks(peer, 6 * number + more, AROUND + literal(b"/%d" % more) + b"\xbe").head
            assert head.fields[-1] == (b"a", value)


def test_few_requests_are_known_at_a_time():
    peer = Peer()
    for number in range(40):
        block = b"\x82\x87" + literal(b"/%d" % number) + b"\x01\x01x" + b"\x00\x01a\x01%c" % (65 + number % 20)
        assert asks(peer, 2 * number + 1, block).head.fields[-1] == (b"a", b"%c" % (65 + number % 20))
    assert len(peer.connection._repeats._known) <= 8


@given(st.lists(st.tuples(st.sampled_from([b"/", b"/a", b"/b c", b"", b"x"]), st.integers(0, 3)), max_size=12))
def test_whatever_is_known_is_what_would_be_read(requests):
    known, fresh = Peer(), Peer()
    suffixes = (b"", b"\x00\x01a\x01b", b"\x40\x01a\x011", b"\xbe")
    for number, (path, suffix) in enumerate(requests):
        block = b"\x82\x87" + literal(path) + b"\x01\x01x" + suffixes[suffix]
        fresh.connection.connection._repeats.__init__(0, 0)
        for peer in (known, fresh):
            peer.send(frame(frames.HEADERS, 5, 2 * number + 1, block))
        assert known.code == fresh.code
        if known.code is not None:
            return
        heads = [peer.stream(2 * number + 1).head for peer in (known, fresh)]
        assert (heads[0] is None) == (heads[1] is None)
        if heads[0] is not None:
            assert heads[0].target == heads[1].target and heads[0].fields == heads[1].fields


def test_a_block_shorter_than_any_that_is_known():
    peer = Peer()
    for number in (1, 3, 5):
        assert asks(peer, number, b"\x82\x87" + literal(b"/a") + b"\x01\x01x").head is not None
    assert asks(peer, 7, b"\x82").head is None and peer.malformed_with


def test_a_path_is_looked_for_where_the_known_one_was():
    # Without its fourth byte and what that would count, this is what stands around the first path; it is malformed.
    peer = Peer()
    for number in (1, 3):
        assert asks(peer, number, b"\x82\x87" + literal(b"/a") + b"\x01\x01x").head is not None
    assert asks(peer, 5, b"\x82" + literal(b"/a") + b"\x87\x01\x01x").head is not None
    peer.send(frame(frames.HEADERS, 5, 7, b"\x82\x87\x01/\x04\x01\x01x"))
    assert peer.code == frames.COMPRESSION_ERROR
