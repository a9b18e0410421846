"""What backends are told, and what no client can make them believe (RFC 9110 §7.6, RFC 7239)."""

import pytest

from duck.net.peer import Peer
from duck.net.server import Trust
from duck.proxy.rules import MAX_HOPS, ForwardRules, identify
from duck.wire.h1 import parse_request_head
from duck.wire.head import HTTP_2, HTTP_10, HTTP_11
from duck.wire.link import FIELDS_AT, REQUEST_ITEMS

CLIENT = "192.0.2.7"


def parse(*fields: str, line: str = "GET / HTTP/1.1", host: str = "Host: example.org"):
    return parse_request_head("\r\n".join((line, host, *fields, "")).encode("latin-1"))


def client(scheme=b"http", **more):
    return Peer(CLIENT, 50_000, "127.0.0.1", 8000, scheme=scheme, **more)


def to_link(request, peer=None, rules=None, length=b"", spool=b""):
    """The items by name, and the fields, that a link worker gets."""
    items = (rules or ForwardRules()).link_head(request, peer or client(), length, spool).split(b"\0")
    assert len(items) >= FIELDS_AT and (len(items) - FIELDS_AT) % 2 == 0
    rest = items[FIELDS_AT:]
    return dict(zip(REQUEST_ITEMS, items, strict=False)), list(zip(rest[::2], rest[1::2], strict=True))


def to_http(request, peer=None, rules=None, **more):
    """The request line and the fields that an HTTP/1.1 backend gets."""
    block = (rules or ForwardRules()).http_head(request, peer or client(), **more)
    assert block.endswith(b"\r\n\r\n")
    line, *lines = block[:-4].split(b"\r\n")
    return line, [tuple(part.strip() for part in line.split(b":", 1)) for line in lines]


def values(fields, name):
    return [value for key, value in fields if key.lower() == name.lower()]


FORGED = [
    "X-Forwarded-For: 6.6.6.6",
    "x-forwarded-proto: https",
    "X-Forwarded-Host: evil.example",
    "X-Forwarded-Port: 443",
    "X-Forwarded-Server: evil",
    "X-Forwarded-Prefix: /evil",
    "Forwarded: for=6.6.6.6;proto=https",
    "X-Real-IP: 6.6.6.6",
    "X_Forwarded_Proto: https",
    "X-Forwarded_For: 6.6.6.6",
    "X_REAL_IP: 6.6.6.6",
    "Remote_User: admin",
    "Proxy: http://6.6.6.6",
    "PROXY: http://6.6.6.6",
    "Content_Length: 5",
]


@pytest.mark.parametrize("field", FORGED)
def test_what_only_a_proxy_may_say_is_dropped(field):
    for fields in (to_link(parse(field))[1], to_http(parse(field))[1]):
        name, _, value = field.partition(": ")
        assert value.encode() not in values(fields, name.encode())
        assert values(fields, b"x-forwarded-for") == [CLIENT.encode()]
        assert values(fields, b"x-forwarded-proto") == [b"http"]
        assert values(fields, b"x-forwarded-host") == [b"example.org"]
        assert not any(b"6.6.6.6" in value or b"evil" in value for _, value in fields)
        assert not any(b"_" in name for name, _ in fields)


@pytest.mark.parametrize("spelling", ["X-Secure", "x-secure", "X-SECURE", "X_Secure"])
def test_the_field_of_secure_proxy_ssl_header_is_ducks_alone(spelling):
    rules = ForwardRules(secure_name=b"x-secure", secure_value=b"on")
    request = parse(f"{spelling}: on")
    for tell in (lambda peer: to_link(request, peer, rules)[1], lambda peer: to_http(request, peer, rules)[1]):
        assert values(tell(client()), b"x-secure") == values(tell(client()), b"x_secure") == []
        assert values(tell(client(b"https")), b"x-secure") == [b"on"]


def test_trailers_pass_by_the_rules_of_fields():
    rules = ForwardRules(secure_name=b"x-secure", secure_value=b"on")
    request = parse("Connection: x-private, cookie")
    trailers = [(b"X-Sum", b"1"), (b"X-SECURE", b"on"), (b"x-private", b"2")]
    assert rules.forward_trailers(request, trailers) == [(b"X-Sum", b"1")]
    assert ForwardRules().forward_trailers(request, trailers) == trailers[:2]
    assert rules.forward_trailers(request, None) is None


def test_rules_of_a_project_are_not_remembered_for_the_next():
    request = parse("X-Secure: on")
    assert values(to_link(request)[1], b"x-secure") == [b"on"]
    assert values(to_http(request)[1], b"x-secure") == [b"on"]
    rules = ForwardRules(secure_name=b"x-secure", secure_value=b"on")
    assert values(to_link(request, rules=rules)[1], b"x-secure") == []
    assert values(to_http(request, rules=rules)[1], b"x-secure") == []
    assert values(to_link(request)[1], b"x-secure") == [b"on"]


def test_equal_fields_from_two_clients_name_each_its_own():
    for scheme, host in ((b"http", "192.0.2.1"), (b"https", "192.0.2.2")):
        peer = Peer(host, 1, "127.0.0.1", 8000, scheme=scheme)
        items, fields = to_link(parse("X-Same: 1"), peer)
        assert (items["remote_host"], items["scheme"]) == (host.encode(), scheme)
        for told in (fields, to_http(parse("X-Same: 1"), peer)[1]):
            assert values(told, b"x-forwarded-for") == [host.encode()]
            assert values(told, b"x-forwarded-proto") == [scheme]


@pytest.mark.parametrize(
    "field",
    [
        "Connection: close",
        "Keep-Alive: 5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: Basic x",
        "Proxy-Authenticate: Basic",
        "TE: gzip",
        "Trailer: Digest",
        "Upgrade: h2c",
        "Expect: 100-continue",
    ],
)
def test_fields_of_the_connection_end_here(field):
    name, _, value = field.partition(": ")
    for fields in (to_link(parse(field))[1], to_http(parse(field))[1]):
        assert value.encode() not in values(fields, name.encode())


def test_fields_that_connection_names_end_here_but_not_what_routes_or_proves():
    kept = ["Authorization: a", "Cookie: c", "Content-Type: t", "Cache-Control: no-store", "Content-Encoding: br"]
    names = "x-private, host, content-length, authorization, cookie, content-type, cache-control, content-encoding"
    request = parse(f"Connection: {names}", "X-Private: 1", *kept, "Content-Length: 3", line="POST / HTTP/1.1")
    items, fields = to_link(request, length=b"3")
    assert items["length"] == b"3"
    lines = to_http(request)[1]
    assert values(lines, b"content-length") == [b"3"]
    for told in (fields, lines):
        assert values(told, b"x-private") == []
        assert values(told, b"host") == [b"example.org"]
        for field in kept:
            name, _, value = field.partition(": ")
            assert values(told, name.encode()) == [value.encode()]


def test_connection_cannot_take_away_what_duck_says():
    request = parse("Connection: x-forwarded-for, x-forwarded-proto, x-forwarded-host, via, x-secure")
    rules = ForwardRules(secure_name=b"x-secure")
    for fields in (to_link(request, client(b"https"), rules)[1], to_http(request, client(b"https"), rules)[1]):
        for name in (b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"x-secure"):
            assert len(values(fields, name)) == 1


def test_other_fields_keep_their_order_spelling_and_duplicates():
    sent = ["B: 1", "a: 2", "b: 3", "A:   4  ", "Cookie: x=1", "cookie: y=2", "Empty:", "Latin: \xe9"]
    expected = [(b"Host", b"example.org"), (b"B", b"1"), (b"a", b"2"), (b"b", b"3"), (b"A", b"4")]
    expected += [(b"Cookie", b"x=1"), (b"cookie", b"y=2"), (b"Empty", b""), (b"Latin", b"\xe9")]
    assert to_link(parse(*sent))[1][:9] == expected
    assert to_http(parse(*sent))[1][:9] == expected


TARGETS = (
    r"""// /a//b /../etc/passwd /a/./b /%2F%2e%2E/ /%00 /a;b=c /a|b /? /?a?b /%zz /a+b%20 /'"<>\^`{} /a?q=//x/../y *"""
)


@pytest.mark.parametrize("target", TARGETS.split())
def test_targets_arrive_byte_for_byte(target):
    method = "OPTIONS" if target == "*" else "GET"
    request = parse(line=f"{method} {target} HTTP/1.1")
    path, _, query = target.partition("?")
    items, _ = to_link(request)
    assert (items["target"], items["path"], items["query"]) == (target.encode(), path.encode(), query.encode())
    assert to_http(request)[0] == f"{method} {target} HTTP/1.1".encode()


def test_an_absolute_target_becomes_origin_form_and_its_authority_the_host():
    request = parse(line="GET http://other.example/x?y HTTP/1.1")
    line, lines = to_http(request)
    assert line == b"GET /x?y HTTP/1.1"
    for fields in (lines, to_link(request)[1]):
        assert values(fields, b"host") == values(fields, b"x-forwarded-host") == [b"other.example"]


@pytest.mark.parametrize(
    ("path", "script", "rest"),
    [
        ("/app", b"/app", b""),
        ("/app/", b"/app", b"/"),
        ("/app/x%2Fy", b"/app", b"/x%2Fy"),
        ("/application", b"", b"/application"),
        ("/other", b"", b"/other"),
        ("//app/x", b"", b"//app/x"),
    ],
)
def test_a_prefix_moves_to_script_name(path, script, rest):
    items, _ = to_link(parse(line=f"GET {path}?q HTTP/1.1"), rules=ForwardRules(prefix=b"/app"))
    assert (items["script_name"], items["path"]) == (script, rest)
    assert (items["query"], items["target"]) == (b"q", path.encode() + b"?q")


def test_a_body_of_unknown_length_goes_to_http_backends_in_chunks():
    request = parse("Transfer-Encoding: chunked", line="POST / HTTP/1.1")
    fields = to_http(request)[1]
    assert values(fields, b"transfer-encoding") == [b"chunked"] and values(fields, b"content-length") == []
    assert values(to_link(request, length=b"5")[1], b"transfer-encoding") == []


def test_trailers_are_asked_for_where_the_client_takes_them():
    fields = to_http(parse("TE: trailers, gzip", "Connection: TE"))[1]
    assert values(fields, b"te") == [b"trailers"] and values(fields, b"connection") == [b"TE"]
    fields = to_http(parse("TE: gzip"))[1]
    assert values(fields, b"te") == values(fields, b"connection") == []


def test_an_upgrade_is_passed_on_only_where_it_is_wanted():
    request = parse("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: k")
    assert values(to_http(request)[1], b"upgrade") == []
    fields = to_http(request, upgrade=b"websocket")[1]
    assert values(fields, b"upgrade") == [b"websocket"] and values(fields, b"connection") == [b"Upgrade"]
    assert values(fields, b"sec-websocket-key") == [b"k"]


@pytest.mark.parametrize("line", ["", "Host:\r\n", "hOST: \t\r\n"])
@pytest.mark.parametrize(
    ("server", "port", "host"),
    [("127.0.0.1", 8000, b"127.0.0.1:8000"), ("::1", 8000, b"[::1]:8000"), ("localhost", 80, b"localhost")],
)
def test_a_request_without_a_host_names_the_listener_to_an_http_backend(line, server, port, host):
    request = parse_request_head(b"GET / HTTP/1.0\r\n" + line.encode())
    _, fields = to_http(request, Peer(CLIENT, 50_000, server, port))
    assert values(fields, b"host") == [host]
    assert values(fields, b"x-forwarded-host") == []


@pytest.mark.parametrize(("version", "via"), [(HTTP_10, b"1.0 duck"), (HTTP_11, b"1.1 duck"), (HTTP_2, b"2.0 duck")])
def test_a_backend_is_told_the_version_that_duck_received(version, via):
    request = parse()
    request.version = version
    assert values(to_http(request)[1], b"via") == [via]


def test_http_1_0_without_a_host_is_told_in_http_1_1():
    request = parse_request_head(b"GET / HTTP/1.0\r\n")
    line, fields = to_http(request)
    assert (
        line == b"GET / HTTP/1.1"
        and values(fields, b"host") == [b"127.0.0.1:8000"]
        and values(fields, b"via") == [b"1.0 duck"]
    )
    items, fields = to_link(request)
    assert items["protocol"] == b"HTTP/1.0" and values(fields, b"host") == []
    # Under USE_X_FORWARDED_HOST Django refuses an empty one, and takes the listener's name where there is none.
    assert values(fields, b"x-forwarded-host") == []


# -- TRUSTED_PROXIES --------------------------------------------------------------------------------------------------

TRUSTED = Trust(["10.0.0.0/8", "2001:db8:1::/48", "192.0.2.200"])


def through(*fields, host="10.0.0.1", scheme=b"http"):
    peer = Peer(host, 40_000, "127.0.0.1", 8000, scheme=scheme, trusted=host in TRUSTED)
    return identify(parse(*fields), peer, TRUSTED)


@pytest.mark.parametrize(
    ("fields", "host"),
    [
        (["X-Forwarded-For: 192.0.2.1"], "192.0.2.1"),
        (["X-Forwarded-For: 6.6.6.6, 192.0.2.1"], "192.0.2.1"),
        (["X-Forwarded-For: 6.6.6.6, 192.0.2.1, 10.0.0.9, 192.0.2.200"], "192.0.2.1"),
        (["X-Forwarded-For: 6.6.6.6", "X-Forwarded-For: 192.0.2.1"], "192.0.2.1"),
        (["X-Forwarded-For: 10.0.0.5, 10.0.0.6"], "10.0.0.5"),
        (["X-Forwarded-For: 192.0.2.1:4711"], "192.0.2.1"),
        (["X-Forwarded-For: 2001:db8::1"], "2001:db8::1"),
        (["X-Forwarded-For: [2001:db8::1]:4711"], "2001:db8::1"),
        (["X-Forwarded-For: 6.6.6.6, [2001:db8::1], 2001:db8:1::7"], "2001:db8::1"),
        (["X-Forwarded-For: ::ffff:192.0.2.1"], "192.0.2.1"),
        (["X-Forwarded-For: 192.0.2.1, ::ffff:10.0.0.3"], "192.0.2.1"),
        (["X-Forwarded-For: 6.6.6.6, unknown"], "10.0.0.1"),
        (["X-Forwarded-For: 6.6.6.6, garbage, 10.0.0.4"], "10.0.0.4"),
        (["X-Forwarded-For: , ,"], "10.0.0.1"),
        # Behind a percent sign the `ipaddress` module takes any text for the name of a network interface.
        (['X-Forwarded-For: fe80::1%x","status":"1, 10.0.0.4'], "10.0.0.4"),
        (["X-Real-IP: fe80::1%a 1 evil.example 443"], "10.0.0.1"),
        (['Forwarded: for="[2001:db8::1%eth0]"'], "10.0.0.1"),
        (["X-Real-IP: 192.0.2.1"], "192.0.2.1"),
        (["X-Real-IP: 6.6.6.6", "X-Forwarded-For: 192.0.2.1"], "192.0.2.1"),
        (["Forwarded: for=192.0.2.1"], "192.0.2.1"),
        (['Forwarded: For="[2001:db8::1]:4711"'], "2001:db8::1"),
        (["Forwarded: for=6.6.6.6, for=192.0.2.1;by=x, for=10.0.0.2"], "192.0.2.1"),
        (["Forwarded: for=6.6.6.6", "Forwarded: for=192.0.2.1"], "192.0.2.1"),
        (["Forwarded: for=192.0.2.1", "X-Forwarded-For: 6.6.6.6"], "192.0.2.1"),
        (["Forwarded: for=6.6.6.6, for=_hidden"], "10.0.0.1"),
        (["Forwarded: for=6.6.6.6, for=unknown, for=10.0.0.2"], "10.0.0.2"),
        (["Forwarded: garbage;;=,"], "10.0.0.1"),
        (["Forwarded: proto=https"], "10.0.0.1"),
    ],
)
def test_the_client_is_the_first_address_from_the_right_that_is_not_trusted(fields, host):
    assert through(*fields).host == host


@pytest.mark.parametrize("field", ["X-Forwarded-For: {}", "Forwarded: for={}"])
def test_a_chain_longer_than_any_is_followed_for_a_while(field):
    name, _, value = field.partition(" ")
    chain = [f"10.{number >> 8}.{number & 255}.1" for number in range(5000)]
    assert through(name + " " + ", ".join(map(value.format, chain))).host == chain[-MAX_HOPS]
    forged = ["6.6.6.6"] * 5000
    assert through(name + " " + ", ".join(map(value.format, [*forged, "192.0.2.1"]))).host == "192.0.2.1"


@pytest.mark.parametrize(
    ("fields", "scheme", "port"),
    [
        (["X-Forwarded-For: 192.0.2.1"], b"http", 8000),
        (["X-Forwarded-Proto: https"], b"https", 443),
        (["X-Forwarded-Proto: HTTPS"], b"https", 443),
        (["X-Forwarded-Proto: http, https"], b"https", 443),
        (["X-Forwarded-Proto: gopher"], b"http", 8000),
        (["X-Forwarded-Proto: https", "X-Forwarded-Port: 8443"], b"https", 8443),
        (["X-Forwarded-Port: 12345678"], b"http", 8000),
        (["X-Forwarded-Port: 0"], b"http", 8000),
        (["X-Forwarded-Port: 99999"], b"http", 8000),
        (["Forwarded: for=192.0.2.1;proto=https"], b"https", 443),
        (['Forwarded: for=192.0.2.1;proto="https"', "X-Forwarded-Proto: http"], b"https", 443),
        # What the client used is said where the client is named, not on the way between two proxies.
        (["Forwarded: for=192.0.2.1;proto=https, for=10.0.0.2;proto=http"], b"https", 443),
        (["Forwarded: for=6.6.6.6;proto=https, for=192.0.2.1;proto=http"], b"http", 8000),
        (["X-Forwarded-For: 192.0.2.1, 10.0.0.2", "X-Forwarded-Proto: https, http"], b"https", 443),
        (["X-Forwarded-For: 6.6.6.6, 192.0.2.1", "X-Forwarded-Proto: https, http"], b"http", 8000),
    ],
)
def test_a_trusted_proxy_says_scheme_and_port(fields, scheme, port):
    peer = through(*fields)
    assert (peer.scheme, peer.server_port) == (scheme, port)


@pytest.mark.parametrize("field", FORGED)
def test_nobody_else_says_anything(field):
    peer = through(field, host="192.0.2.66")
    assert (peer.host, peer.port, peer.scheme, peer.server_port, peer.via) == ("192.0.2.66", 40_000, b"http", 8000, "")


@pytest.mark.parametrize("field", ["X-Other: 1", "Proxy: x", "Remote_User: admin"])
def test_a_trusted_proxy_that_says_nothing_of_the_client_is_the_client(field):
    peer = through(field)
    assert (peer.host, peer.port, peer.via) == ("10.0.0.1", 40_000, "")
    assert values(to_http(parse(field), peer)[1], b"x-forwarded-for") == [b"10.0.0.1"]


def test_backends_are_told_the_chain_of_a_trusted_proxy():
    request = parse(
        "X-Forwarded-For: 6.6.6.6, 192.0.2.1",
        "X-Forwarded-Host: public.example",
        "X-Forwarded-Proto: https",
        "X_Forwarded_Proto: http",
        "Remote_User: admin",
    )
    peer = identify(request, Peer("10.0.0.1", 1, "127.0.0.1", 8000, trusted=True), TRUSTED)
    items, fields = to_link(request, peer)
    assert (items["remote_host"], items["scheme"], items["server_port"]) == (b"192.0.2.1", b"https", b"443")
    for told in (fields, to_http(request, peer)[1]):
        assert values(told, b"x-forwarded-for") == [b"6.6.6.6, 192.0.2.1, 10.0.0.1"]
        assert values(told, b"x-forwarded-host") == [b"public.example"]
        assert values(told, b"x-forwarded-proto") == [b"https"]
        assert not any(b"_" in name for name, _ in told)


def test_a_unix_socket_is_trusted_only_when_it_is_listed():
    request = parse("X-Forwarded-For: 192.0.2.1")
    for trust, host in ((Trust(["unix"]), "192.0.2.1"), (Trust(["10.0.0.0/8"]), "")):
        peer = Peer("", 0, "localhost", 80, trusted="" in trust)
        assert identify(request, peer, trust).host == host


@pytest.mark.parametrize(
    ("host", "trusted"),
    [
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("11.1.2.3", False),
        ("2001:db8:1::1", True),
        ("2001:db8:2::1", False),
        ("fe80::1%eth0", False),
        ("garbage", False),
        ("", False),
    ],
)
def test_networks_are_matched_by_family(host, trusted):
    assert (host in TRUSTED) is trusted


def test_an_entry_that_is_no_network_is_refused():
    with pytest.raises(ValueError, match="nonsense"):
        Trust(["nonsense"])


COOKIES = [["Cookie: a={}"], ["A: b", "cookie: a={}", "C: d"], ["Cookie: x=1", "Cookie: a={}"]]


@pytest.mark.parametrize("fields", COOKIES)
@pytest.mark.parametrize("via", ["", "192.0.2.200"])
@pytest.mark.parametrize("secure_name", [b"", b"x-secure", b"cookie"])
def test_each_client_s_cookie_goes_on_in_its_place_and_to_nobody_else_s_request(fields, via, secure_name):
    rules = ForwardRules(secure_name=secure_name)
    for number in (1, 22, 3):
        lines = [field.format(number) for field in ("Connection: cookie, Cookie", *fields)]
        request = parse(*lines)
        sent = [tuple(line.encode().split(b": ")) for line in ("Host: example.org", *lines[1:])]
        if secure_name == b"cookie":
            sent = [pair for pair in sent if pair[0].lower() != b"cookie"]
        for told in (to_link(request, client(via=via), rules)[1], to_http(request, client(via=via), rules)[1]):
            assert told[: len(sent)] == sent
            assert len([pair for pair in told if pair[0].lower() == b"cookie"]) == len(
                [pair for pair in sent if pair[0].lower() == b"cookie"]
            )


def test_an_empty_cookie_and_a_cookie_of_spaces_go_on_alike():
    for value in ("", "a=b", " ", "\t c=d \t", ""):
        request = parse("A: b", f"Cookie: {value}", "C: d")
        said = value.strip().encode()
        assert to_link(request)[1][1:4] == [(b"A", b"b"), (b"Cookie", said), (b"C", b"d")]
        assert to_http(request)[1][1:4] == [(b"A", b"b"), (b"Cookie", said), (b"C", b"d")]


def test_a_cookie_of_a_request_for_an_absolute_target_goes_on():
    for number in (b"1", b"2"):
        request = parse("Cookie: a=" + number.decode(), line="GET http://other.example/ HTTP/1.1")
        for told in (to_link(request)[1], to_http(request)[1]):
            assert told[:2] == [(b"Host", b"other.example"), (b"Cookie", b"a=" + number)]


def test_a_cookie_of_an_http_1_0_request_goes_on():
    for number in (b"1", b"2"):
        request = parse("Cookie: a=" + number.decode(), line="GET / HTTP/1.0", host="A: b")
        assert to_link(request)[1][:2] == [(b"A", b"b"), (b"Cookie", b"a=" + number)]
        assert values(to_http(request)[1], b"cookie") == [b"a=" + number]
