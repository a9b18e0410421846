"""Field lines of a request: RFC 9112 §5, §2.2; RFC 9110 §5, §7.2, §7.6, §7.8, §10.1."""

import pytest

from duck.exceptions import LimitExceeded, ProtocolError
from duck.wire.field_block import field_block, kind_of, request_fields, with_fields
from tests.wire.request_head import parse, refusal

# -- lines ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"X",
        b"Host",
        b"Content-Length",
        b"no colon",
        b": value",
        b":",
        b" : value",
        b"X : y",
        b"X\t: y",
        b"X\x0b: y",
        b"X\x0c: y",
        b"X\xa0: y",
        b" X: y",
        b"\tX: y",
        b"X y: z",
        b"X\x00: y",
        b"X\x1f: y",
        b"X\x7f: y",
        b"X\xc3\xa9: y",
        b"X(: y",
        b"X/: y",
        b"X@: y",
        b'"X": y',
        b"X[]: y",
        b"X{: y",
        b"X;: y",
        b"X=: y",
        b"X,: y",
        b"X\\: y",
        b"Content-Length : 5",
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding\t: chunked",
        b"Transfer-Encoding\x00: chunked",
    ],
)
def test_a_malformed_field_line_is_refused(line: bytes) -> None:
    assert refusal(line) == 400
    assert refusal(b"A: b", line, b"C: d") == 400


@pytest.mark.parametrize("byte", [bytes((code,)) for code in (*range(9), *range(10, 32), 127)])
def test_a_control_byte_in_a_value_is_refused(byte: bytes) -> None:
    assert refusal(b"X: a" + byte + b"b") == 400
    assert refusal(b"X: " + byte) == 400
    assert refusal(b"X: a" + byte) == 400


@pytest.mark.parametrize(
    "folded",
    [
        b"X: a\r\n b",
        b"X: a\r\n\tb",
        b"X: a\r\n ",
        b"X:\r\n a: b",
        b"Transfer-Encoding:\r\n chunked",
        b"X: a\r\n Content-Length: 5",
    ],
)
def test_a_folded_line_is_refused(folded: bytes) -> None:
    assert refusal(folded) == 400


def test_a_folded_first_line_is_refused() -> None:
    assert refusal(start=b"GET / HTTP/1.1\r\n X: y") == 400


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\r\n", b"\n\n", b"\n\r", b"\r\r"])
def test_a_line_end_that_is_not_one_crlf_is_refused(end: bytes) -> None:
    assert refusal(b"X: a" + end + b"Y: b") == 400
    assert refusal(b"X: a" + end) == 400
    assert refusal(start=b"GET / HTTP/1.1" + end + b"X: y") == 400


def test_a_block_that_does_not_end_with_a_line_is_refused() -> None:
    with pytest.raises(ProtocolError):
        field_block(b"Host: a\r\nX: y", 100)


def test_bytes_above_ascii_are_kept_as_they_are() -> None:
    value = bytes(range(0x80, 0x100)) + b"\tx \xa0"
    assert parse(b"X: " + value).fields[1] == (b"X", value)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b"X:", b""),
        (b"X: ", b""),
        (b"X:a", b"a"),
        (b"X: \t a \t ", b"a"),
        (b"X: a  b\tc", b"a  b\tc"),
        (b"X: a: b", b"a: b"),
        (b"X::", b":"),
        (b'X: "quoted, \\" "', b'"quoted, \\" "'),
    ],
)
def test_space_and_tab_around_a_value_are_no_part_of_it(line: bytes, value: bytes) -> None:
    assert parse(line).fields[1] == (b"X", value)


def test_order_duplicates_and_case_of_fields_are_kept() -> None:
    lines = [b"b: 1", b"A: 2", b"B: 3", b"a: 4", b"b: 1", b"!#$%&'*+-.^`|~09: 5"]
    request = parse(*lines)
    assert request.fields[1:] == [tuple(line.split(b": ")) for line in lines]
    assert request.lines == [b"Host: example.org", *lines]


def test_more_fields_than_allowed_are_431_whether_the_block_is_known_or_not() -> None:
    lines = [b"X-%d: many" % number for number in range(9)]
    assert refusal(*lines, max_fields=9) == 431
    assert refusal(*lines, max_fields=10) == 0
    assert refusal(*lines, max_fields=9) == 431
    with pytest.raises(LimitExceeded):
        field_block(b"A: b\r\nC: d\r\n", 1)


def test_names_that_nobody_repeats_do_not_push_out_the_learning_of_names() -> None:
    for number in range(3000):
        assert kind_of(b"X-Once-%d" % number) == 0
    assert kind_of(b"cOnTeNt-LeNgTh") == kind_of(b"Content-Length") != 0
    assert kind_of(b"N" * 200) == 0


# -- Host (RFC 9112 §3.2) ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        b"example.org",
        b"EXAMPLE.org.",
        b"example.org:80",
        b"example.org:",
        b"example.org:0",
        b"example.org:65535",
        b"localhost",
        b"127.0.0.1:8000",
        b"[::1]",
        b"[::1]:8000",
        b"[2001:DB8::ff]:443",
        b"[::ffff:127.0.0.1]",
        b"under_score.example",
        b"xn--bcher-kva.example",
        b"b%C3%BCcher.example",
        b"a~!$&'()*+,;=b",
        b"-",
    ],
)
def test_a_host_is_a_name_or_an_address_and_maybe_a_port(host: bytes) -> None:
    request = parse(host=host)
    assert (request.authority, request.fields) == (host, [(b"Host", host)])


@pytest.mark.parametrize(
    "host",
    [
        b"user@example.org",
        b"user:pw@example.org",
        b"@example.org",
        b"example.org@",
        b"example.org/",
        b"example.org/path",
        b"/",
        b"example.org?q",
        b"example.org#f",
        b"http://example.org",
        b"example.org\\evil",
        b"exa mple.org",
        b"example.org evil.example",
        b"example.org\tevil.example",
        b"example.org\x00",
        b"ex\xc3\xa4mple.org",
        b"\xff",
        b"example.org:80:80",
        b"example.org:x",
        b"example.org:-1",
        b"example.org:+80",
        b"example.org: 80",
        b"example.org:8_0",
        b"example.org:65536",
        b"example.org:99999",
        b"example.org:123456",
        b":80",
        b":",
        b"::1",
        b"fe80::1",
        b"[::1",
        b"::1]",
        b"[]",
        b"[]:80",
        b"[::1]x",
        b"[::1]:x",
        b"[::1][::2]",
        b"[::1%25eth0]",
        b"[::1%eth0]",
        b"[v1.fe]",
        b"[example.org]",
        b"[127.0.0.1]",
        b"[1:2:3]",
        b"[:::::]",
        b"[12345::]",
        b"%",
        b"a%2",
        b"a%zz",
        b"<script>",
        b'"example.org"',
        b"a|b",
        b"a^b",
        b"a`b",
        b"{a}",
    ],
)
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
def test_a_host_with_userinfo_path_bad_characters_or_no_possible_port_is_refused(host: bytes, version: bytes) -> None:
    assert refusal(host=host, start=b"GET / " + version) == 400


def test_http_1_1_needs_one_host_that_is_not_empty() -> None:
    assert refusal(host=None) == 400
    assert refusal(host=b"") == 400
    assert refusal(host=b" \t ") == 400
    assert refusal(b"X: y", host=None) == 400
    assert refusal(b"X-Host: example.org", host=None) == 400
    assert refusal(b"H\xc3\xb6st: example.org", host=None) == 400


@pytest.mark.parametrize("second", [b"Host: evil.example", b"Host: example.org", b"host: example.org", b"HOST:"])
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
def test_two_hosts_are_refused_even_when_equal_or_empty(second: bytes, version: bytes) -> None:
    assert refusal(second, start=b"GET / " + version) == 400
    assert refusal(second, host=b"", start=b"GET / " + version) == 400


def test_http_1_0_may_come_without_a_host() -> None:
    assert parse(host=None, start=b"GET / HTTP/1.0").authority == b""
    assert parse(host=b"", start=b"GET / HTTP/1.0").authority == b""
    assert parse(start=b"GET / HTTP/1.0").authority == b"example.org"


# -- what only a trusted proxy may say, and what ends here (RFC 9110 §7.6.1) ------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        b"X-Forwarded-For",
        b"x-forwarded-proto",
        b"X-FORWARDED-ANYTHING",
        b"Forwarded",
        b"X-Real-IP",
        b"Proxy",
        b"X_Forwarded_For",
        b"X-Forwarded_Host",
        b"X_Real_IP",
        b"Content_Length",
        b"Transfer_Encoding",
        b"HOST_",
        b"_",
    ],
)
def test_a_claim_is_marked_in_any_spelling_and_means_nothing_by_itself(name: bytes) -> None:
    request = parse(b"A: b", name + b": chunked", b"C: d")
    assert request.block.claims == [2]
    assert request.block.hops == []
    assert (request.content_length, request.authority) == (0, b"example.org")


@pytest.mark.parametrize(
    "line",
    [
        b"Connection: x",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"Proxy-Authorization: Basic x",
        b"Proxy-Authenticate: Basic",
        b"TE: trailers",
        b"Trailer: X",
        b"Transfer-Encoding: chunked",
        b"Upgrade: websocket",
        b"eXpEcT: 100-continue",
    ],
)
def test_what_ends_at_this_connection_is_marked(line: bytes) -> None:
    assert parse(b"A: b", line, b"C: d").block.hops == [2]


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ([b"Connection: X-Secret"], (b"x-secret",)),
        ([b"Connection: close, A, keep-alive,B,,upgrade"], (b"a", b"b")),
        ([b"Connection: a", b"connection:\tb"], (b"a", b"b")),
        ([b"Connection: Content-Length"], (b"content-length",)),
        ([b"Connection: Host"], (b"host",)),
        ([b"Connection: Transfer-Encoding"], (b"transfer-encoding",)),
        ([b"Connection:"], ()),
        ([b"Connection: , ,"], ()),
        ([b"Connection: \xff\xfe, (x)"], (b"\xff\xfe", b"(x)")),
    ],
)
def test_the_fields_that_connection_names_are_told(lines: list[bytes], named: tuple[bytes, ...]) -> None:
    assert parse(*lines).block.connection_named == named


def test_naming_a_field_in_connection_does_not_change_how_the_request_is_framed() -> None:
    request = parse(b"Connection: content-length, host, transfer-encoding", b"Content-Length: 5")
    assert (request.content_length, request.authority) == (5, b"example.org")
    request = parse(b"Connection: transfer-encoding", b"Transfer-Encoding: chunked")
    assert request.content_length is None
    assert refusal(b"Connection: content-length", b"Content-Length: 5", b"Transfer-Encoding: chunked") == 400


# -- Expect (RFC 9110 §10.1.1) ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "start", "expects"),
    [
        ([b"Expect: 100-continue", b"Content-Length: 5"], b"POST / HTTP/1.1", True),
        ([b"expect:100-Continue", b"Transfer-Encoding: chunked"], b"POST / HTTP/1.1", True),
        ([b"Expect: 100-continue"], b"GET / HTTP/1.1", False),
        ([b"Expect: 100-continue", b"Content-Length: 0"], b"POST / HTTP/1.1", False),
        ([b"Expect: 100-continue", b"Content-Length: 5"], b"POST / HTTP/1.0", False),
        ([b"Content-Length: 5"], b"POST / HTTP/1.1", False),
    ],
)
def test_100_continue_is_expected_with_a_body_under_http_1_1(lines: list[bytes], start: bytes, expects: bool) -> None:
    assert parse(*lines, start=start).expects_continue is expects


@pytest.mark.parametrize(
    "lines",
    [
        [b"Expect: 100-continues"],
        [b"Expect:"],
        [b"Expect: 200-ok"],
        [b"Expect: 100-continue, x"],
        [b"Expect: 100-continue;q=1"],
        [b"Expect: 100-continue", b"Expect: 100-continue"],
        [b'Expect: "100-continue"'],
        [b"Expect: 100 continue"],
    ],
)
def test_any_other_expectation_is_417(lines: list[bytes]) -> None:
    assert refusal(*lines, b"Content-Length: 5", start=b"POST / HTTP/1.1") == 417


# -- Upgrade (RFC 9110 §7.8) and TE (RFC 9110 §10.1.4) ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "upgrade"),
    [
        ([b"Connection: Upgrade", b"Upgrade: websocket"], b"websocket"),
        ([b"Connection: keep-alive, upGRADE", b"Upgrade: WebSocket"], b"WebSocket"),
        ([b"Upgrade: a", b"Connection: upgrade", b"Upgrade: b"], b"a, b"),
        ([b"Upgrade: websocket"], None),
        ([b"Connection: keep-alive", b"Upgrade: websocket"], None),
        ([b"Connection: Upgrade"], None),
        ([b"Connection: upgraded", b"Upgrade: websocket"], None),
    ],
)
def test_an_upgrade_is_one_that_connection_names(lines: list[bytes], upgrade: bytes | None) -> None:
    assert parse(*lines).upgrade == upgrade
    assert parse(*lines, start=b"GET / HTTP/1.0").upgrade is None


@pytest.mark.parametrize("framing", [b"Content-Length: 3", b"Transfer-Encoding: chunked"])
def test_an_upgrade_with_a_body_is_refused_or_is_none(framing: bytes) -> None:
    assert refusal(b"Connection: Upgrade", b"Upgrade: h2c, WebSocket", framing) == 400
    request = parse(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", framing)
    assert request.upgrade is None
    assert request.content_length != 0
    assert parse(b"Connection: Upgrade", b"Upgrade: websocket", b"Content-Length: 0").upgrade == b"websocket"


@pytest.mark.parametrize(
    ("lines", "accepts"),
    [
        ([b"TE: trailers"], True),
        ([b"TE: gzip, Trailers"], True),
        ([b"TE: gzip", b"TE: trailers"], True),
        ([b"TE: gzip"], False),
        ([b"TE:"], False),
        ([b"Trailer: X"], False),
        ([], False),
    ],
)
def test_trailers_are_accepted_by_those_who_say_so(lines: list[bytes], accepts: bool) -> None:
    assert parse(*lines).accepts_trailers is accepts


# -- cookies, which differ where all else is the same -----------------------------------------------------------------


@pytest.mark.parametrize("name", [b"Cookie", b"cookie"])
def test_requests_that_differ_in_their_cookies_share_the_rest_and_no_cookie(name: bytes) -> None:
    lines = (b"A: b", name + b": sessionid=%d", b"C: d")
    requests = [parse(*(line.replace(b"%d", b"%d" % number) for line in lines)) for number in range(3)]
    assert requests[0].block is requests[1].block is requests[2].block
    for number, request in enumerate(requests):
        value = b"sessionid=%d" % number
        assert request.fields == [(b"Host", b"example.org"), (b"A", b"b"), (name, value), (b"C", b"d")]
        assert request.lines == [b"Host: example.org", b"A: b", name + b": " + value, b"C: d"]
    assert "sessionid" not in repr((requests[0].block.fields, requests[0].block.lines))


def test_a_cookie_in_another_spelling_is_a_field_like_others() -> None:
    for line in (b"COOKIE: a=b", b"Cookie:a=b", b"X-Cookie: a=b"):
        request = parse(line)
        assert (request.cookie, request.block.cookie_at) == (b"", -1)
        assert request.lines == [b"Host: example.org", line]


def test_of_several_cookies_each_stays_in_its_place() -> None:
    lines = [b"Cookie: a=1", b"X: y", b"cookie:  b=2 ", b"Cookie: c=3", b"Z: \xff"]
    for _ in range(2):
        request = parse(*lines)
        assert request.lines == [b"Host: example.org", *lines]
        assert request.fields[1:] == [
            (b"Cookie", b"a=1"),
            (b"X", b"y"),
            (b"cookie", b"b=2"),
            (b"Cookie", b"c=3"),
            (b"Z", b"\xff"),
        ]


@pytest.mark.parametrize("byte", [bytes((code,)) for code in (*range(9), *range(11, 32), 127)])
def test_a_control_byte_in_a_cookie_is_refused_where_all_else_is_known(byte: bytes) -> None:
    assert refusal(b"A: b", b"Cookie: x", b"C: d") == 0
    assert refusal(b"A: b", b"Cookie: x" + byte + b"y", b"C: d") == 400
    assert refusal(b"A: b", b"Cookie: " + byte, b"C: d") == 400


def test_a_block_that_looks_like_what_is_remembered_is_refused() -> None:
    assert refusal(b"Cookie: a", b"D: e") == 0
    assert refusal(b"C\0D: e") == 400
    assert refusal(b"C\0D: e", b"Cookie: a", b"D: e") == 400
    assert refusal(b"C\0D: e\r\nCookie: a") == 400


def test_a_cookie_line_without_an_end_is_refused() -> None:
    for _ in range(2):
        assert request_fields(b"Host: a\r\nCookie: a\r\n", 100)[1] == b"a"
        with pytest.raises(ProtocolError):
            request_fields(b"Host: a\r\nCookie: a", 100)


def test_the_cookie_counts_as_a_field() -> None:
    assert refusal(b"A: b", b"Cookie: c", max_fields=3) == 0
    assert refusal(b"A: b", b"Cookie: d", max_fields=2) == 431


def test_cookies_that_are_longer_than_what_is_remembered_leave_the_rest_to_be_shared() -> None:
    requests = [parse(b"Cookie: " + letter * 20_000) for letter in (b"a", b"b")]
    assert requests[0].block is requests[1].block
    assert requests[1].fields[1] == (b"Cookie", b"b" * 20_000)


def test_a_copy_of_a_request_says_the_same_and_is_changed_alone() -> None:
    request = parse(b"Cookie: a=b", b"Connection: upgrade", b"Upgrade: websocket", start=b"GET /a?b HTTP/1.1")
    copy = request.copy()
    for name in dir(request):
        if not name.startswith("_") and name != "copy":
            assert getattr(copy, name) == getattr(request, name)
    copy.authority = b"elsewhere.example"
    assert request.authority == b"example.org"
    assert request.fields is request.fields  # made once


def test_a_request_with_other_fields_is_framed_and_kept_alive_as_it_was() -> None:
    request = parse(b"Cookie: a=b", b"Content-Length: 3", b"Connection: close", start=b"POST /a?b HTTP/1.1")
    others = [(b"Accept", b"*/*"), (b"Transfer-Encoding", b"chunked"), (b"X-Forwarded-For", b"192.0.2.1")]
    changed = with_fields(request, others)
    assert changed.fields == others and request.cookie == b"a=b"
    assert (changed.method, changed.target, changed.authority) == (b"POST", b"/a?b", b"example.org")
    assert (changed.content_length, changed.keep_alive, changed.block.close) == (3, False, True)
    assert (changed.block.hops, changed.block.claims) == ([1], [2])
