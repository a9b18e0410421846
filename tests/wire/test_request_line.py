"""The request line and its target: RFC 9112 §2.3, §3, §3.2; RFC 9110 §9."""

import pytest

from duck.exceptions import ProtocolError
from duck.wire.h1 import check_partial_head
from duck.wire.head import HTTP_10, HTTP_11
from tests.wire.request_head import parse, refusal


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b" ",
        b"GET",
        b"GET ",
        b"GET /",
        b"GET / ",
        b"GET HTTP/1.1",
        b"GET  HTTP/1.1",
        b" GET / HTTP/1.1",
        b"\tGET / HTTP/1.1",
        b"GET  / HTTP/1.1",
        b"GET /  HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b"GET / HTTP/1.1\t",
        b"GET\t/\tHTTP/1.1",
        b"GET\x0b/\x0bHTTP/1.1",
        b"GET\xa0/\xa0HTTP/1.1",
        b"GET / x HTTP/1.1",
        b"GET /a b HTTP/1.1",
        b"GET /a\tb HTTP/1.1",
        b"GET /\x00 HTTP/1.1",
        b"GET /\x7f HTTP/1.1",
        b"GET /\xc3\xa9 HTTP/1.1",
        b"GET /a\rb HTTP/1.1",
        b"GET /a\nb HTTP/1.1",
        b"GET / HTTP/1.1\r",
        b"GET / HTTP/1.1\nX: y",
        b"GET /#fragment HTTP/1.1",
        b"G@T / HTTP/1.1",
        b"G\x00T / HTTP/1.1",
        b"G:T / HTTP/1.1",
        b"G(T / HTTP/1.1",
        b"\xffGET / HTTP/1.1",
        b'"GET" / HTTP/1.1',
    ],
)
def test_a_malformed_request_line_is_refused(line: bytes) -> None:
    assert refusal(start=line) == 400


@pytest.mark.parametrize(
    ("version", "status"),
    [
        (b"HTTP/1.1", 0),
        (b"HTTP/1.0", 0),
        (b"HTTP/0.9", 505),
        (b"HTTP/1.2", 505),
        (b"HTTP/1.9", 505),
        (b"HTTP/2.0", 505),
        (b"HTTP/2", 505),
        (b"HTTP/3", 505),
        (b"HTTP/9.9", 505),
        (b"http/1.1", 400),
        (b"Http/1.1", 400),
        (b"HTTP/1.10", 400),
        (b"HTTP/01.1", 400),
        (b"HTTP/1.01", 400),
        (b"HTTP/1,1", 400),
        (b"HTTP/1.", 400),
        (b"HTTP/.1", 400),
        (b"HTTP/+1.1", 400),
        (b"HTTP/1 .1", 400),
        (b"HTTP/x", 400),
        (b"HTTP/", 400),
        (b"HTTP/11", 400),
        (b"HTTPS/1.1", 400),
        (b"ICE/1.0", 400),
        (b"RTSP/1.0", 400),
        (b"HTTP\\1.1", 400),
        ("HTTP/1.\u0661".encode(), 400),
    ],
)
def test_a_version_of_http_that_is_not_spoken_is_505_and_what_is_no_version_400(version: bytes, status: int) -> None:
    assert refusal(start=b"GET / " + version) == status


def test_what_is_not_percent_encoded_is_named() -> None:
    with pytest.raises(ProtocolError, match="not percent-encoded"):
        parse(start=b"GET /?q=k\xc3\xa4se HTTP/1.1")
    with pytest.raises(ProtocolError, match="malformed"):
        parse(start=b"G\xc3\xa4T / HTTP/1.1")


def test_the_preface_of_http_2_is_a_version_that_is_not_spoken() -> None:
    assert refusal(start=b"PRI * HTTP/2.0", host=None) == 505


@pytest.mark.parametrize("method", [b"GET", b"get", b"PROPFIND", b"M-SEARCH", b"!#$%&'*+-.^_`|~1", b"X" * 32])
def test_any_token_is_a_method_and_kept_as_it_is(method: bytes) -> None:
    assert parse(start=method + b" / HTTP/1.1").method == method


@pytest.mark.parametrize("method", [b"X" * 33, b"X" * 1000])
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
def test_a_method_too_long_to_be_known_is_501(method: bytes, version: bytes) -> None:
    assert refusal(start=method + b" / " + version) == 501
    assert refusal(start=method + b" ") == 501


@pytest.mark.parametrize("target", [b"example.org:443", b"/", b"*"])
def test_connect_is_not_offered(target: bytes) -> None:
    assert refusal(start=b"CONNECT " + target + b" HTTP/1.1") == 501


@pytest.mark.parametrize(
    "target",
    [
        b"/",
        b"//",
        b"//evil.example/x",
        b"/a/../b/./c",
        b"/%2e%2e/%2f%00%0d%0a",
        b"/%zz%",
        b"/a?b?c=d&e",
        b"/?",
        b"/a;b=c,d",
        b"/[]{}|\\^`<>\"'",
        b"/http://example.org/",
        b"/*",
    ],
)
def test_origin_form_is_kept_byte_for_byte(target: bytes) -> None:
    request = parse(start=b"GET " + target + b" HTTP/1.1")
    assert request.target == target
    assert (request.path, request.query) == target.partition(b"?")[::2]


@pytest.mark.parametrize(
    ("absolute", "authority", "target"),
    [
        (b"http://other.example/a?b", b"other.example", b"/a?b"),
        (b"HTTP://Other.Example/", b"Other.Example", b"/"),
        (b"https://other.example:8443/x", b"other.example:8443", b"/x"),
        (b"http://other.example", b"other.example", b"/"),
        (b"http://other.example?q=/x", b"other.example", b"/?q=/x"),
        (b"http://other.example//x", b"other.example", b"//x"),
        (b"http://[::1]:80/x", b"[::1]:80", b"/x"),
        (b"http://other.example/http://third.example/", b"other.example", b"/http://third.example/"),
    ],
)
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
def test_absolute_form_becomes_origin_form_and_its_authority_replaces_host(
    absolute: bytes, authority: bytes, target: bytes, version: bytes
) -> None:
    request = parse(b"A: 1", b"X_b: 2", b"Connection: close", start=b"GET " + absolute + b" " + version)
    assert (request.target, request.authority) == (target, authority)
    assert request.scheme == b"http"  # the connection's, whatever the target says
    assert request.fields == [(b"Host", authority), (b"A", b"1"), (b"X_b", b"2"), (b"Connection", b"close")]
    assert request.block.authority == authority
    assert (request.block.claims, request.block.hops, request.block.lines) == ([2], [3], None)
    assert not request.keep_alive


def test_absolute_form_still_needs_a_host() -> None:
    assert refusal(start=b"GET http://other.example/ HTTP/1.1", host=None) == 400
    assert parse(start=b"GET http://other.example/ HTTP/1.0", host=None).authority == b"other.example"


@pytest.mark.parametrize("host", [b"a/b", b"user@a", b"a b"])
def test_a_bad_host_is_refused_beside_absolute_form_too(host: bytes) -> None:
    assert refusal(start=b"GET http://other.example/ HTTP/1.1", host=host) == 400


@pytest.mark.parametrize(
    "target",
    [
        b"example.org",
        b"example.org:80",
        b"example.org/",
        b"http:",
        b"http:/",
        b"http:/example.org/",
        b"http://",
        b"http:///",
        b"http://?",
        b"http://user@example.org/",
        b"http://user:pw@example.org/",
        b"http://example.org:80:80/",
        b"http://example.org:x/",
        b"http://example.org\\@evil.example/",
        b"http://exa|mple.org/",
        b"http://[::1/",
        b"ftp://example.org/",
        b"file:///etc/passwd",
        b"javascript:alert(1)",
        b"httpx://example.org/",
        b"?a=b",
        b"\\example.org\\",
        b"%2f",
        b".",
        b"*/",
        b"**",
        b"@example.org",
    ],
)
@pytest.mark.parametrize("method", [b"GET", b"OPTIONS"])
def test_a_target_of_no_known_form_is_refused(target: bytes, method: bytes) -> None:
    assert refusal(start=method + b" " + target + b" HTTP/1.1") == 400


def test_the_asterisk_is_for_options_alone() -> None:
    request = parse(start=b"OPTIONS * HTTP/1.1")
    assert (request.target, request.path, request.query) == (b"*", b"*", b"")
    assert request.authority == b"example.org"
    for method in (b"GET", b"POST", b"HEAD", b"options"):
        assert refusal(start=method + b" * HTTP/1.1") == 400


def test_options_of_an_absolute_form_without_a_path_is_the_asterisk() -> None:
    assert parse(start=b"OPTIONS http://example.org HTTP/1.1").target == b"*"
    assert parse(start=b"OPTIONS http://example.org/ HTTP/1.1").target == b"/"
    assert parse(start=b"OPTIONS http://example.org?a HTTP/1.1").target == b"/?a"


@pytest.mark.parametrize(
    ("version", "options", "kept"),
    [
        (b"HTTP/1.1", None, True),
        (b"HTTP/1.1", b"close", False),
        (b"HTTP/1.1", b"Close", False),
        (b"HTTP/1.1", b"keep-alive", True),
        (b"HTTP/1.1", b"keep-alive, close", False),
        (b"HTTP/1.1", b"x, ,\tclose", False),
        (b"HTTP/1.1", b"closed", True),
        (b"HTTP/1.0", None, False),
        (b"HTTP/1.0", b"keep-alive", True),
        (b"HTTP/1.0", b"Keep-Alive", True),
        (b"HTTP/1.0", b"close, keep-alive", False),
        (b"HTTP/1.0", b"close", False),
    ],
)
def test_the_connection_is_kept_as_version_and_connection_field_say(
    version: bytes, options: bytes | None, kept: bool
) -> None:
    lines = () if options is None else (b"Connection: " + options,)
    request = parse(*lines, start=b"GET / " + version)
    assert request.keep_alive is kept
    assert request.version == (HTTP_11 if version == b"HTTP/1.1" else HTTP_10)


def test_a_head_shows_what_it_is() -> None:
    assert repr(parse()) == "<RequestHead b'GET' b'/' of b'example.org'>"


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", None),
        (b"GET", None),
        (b"GET / HTTP/1.1\r\nHost: example.org", None),
        (b"GET / HTTP/1.1\r\nA: b\r\nC: d\r\n", None),
        (b"GET / HTTP/1.1\r\nA: b\r\nC: d\r\nE: f\r\n", 431),
        (b"GET / HTTP/1.1\nHost: example.org", 400),
        (b"GET / HTTP/1.1\r\nA: " + b"b" * 41, 431),
        (b"GET /" + b"a" * 60, 414),
    ],
)
def test_a_head_that_no_end_could_complete_is_refused_before_it(data: bytes, status: int | None) -> None:
    if status is None:
        check_partial_head(data, 60, 2)
        return
    with pytest.raises(ProtocolError) as caught:
        check_partial_head(data, 60, 2)
    assert caught.value.status == status
