"""The client in the pages that a browser shows, and in nothing else."""

import gzip
import re

import pytest

from duck.exceptions import BackendError
from duck.http.ducksight.injection import Injection, is_page, known_tags, own_tag, wants_page, without_codings
from duck.testing import FakeStream
from duck.wire.head import ResponseHead
from tests.http.ducksight.asking import asked, head, peer

DOCUMENT = (b"Sec-Fetch-Dest", b"document")
HTML = (b"Accept", b"text/html,*/*;q=0.8")
PAGE = b"<!doctype html><html><head><title>x</title></head></html>"
TAG = re.compile(
    rb'<script async src="/\.duck/client\.js\?v=[0-9a-f]{12}&amp;token=t0ken"( nonce="([^"]+)")?'
    rb' data-duck-sight="r\.3 (\d+)"></script>'
)


class World:
    """One injection, and what it stands at."""

    def __init__(self):
        self.at = "r.3"
        self.is_on = True
        self.injection = Injection("t0ken", lambda: self.at, lambda: self.is_on)

    def begin(self, *fields, is_own=True, stream=None, **more):
        exchange, stream = asked("/", *fields, stream=stream, **more)
        self.injection.prepare(exchange, is_own=is_own)
        return exchange, stream

    def answer(self, body=PAGE, *fields, status=200, ask=(DOCUMENT,), pieces=None, **more):
        """What a client gets of an answer that comes whole, or in `pieces`."""
        exchange, stream = self.begin(*ask, **more)
        kind = [] if any(name == b"Content-Type" for name, _ in fields) else [(b"Content-Type", b"text/html")]
        length = len(body) if pieces is None or pieces < 0 else None
        given = ResponseHead(status, [*kind, *fields], content_length=length)
        if pieces is None:
            exchange.response.answer(given, body)
        else:
            exchange.response.head(given)
            for at in range(0, len(body), abs(pieces)):
                exchange.response.data(body[at : at + abs(pieces)])
            exchange.response.end(None)
        assert stream.ended
        return stream


@pytest.fixture
def world():
    return World()


# -- what is asked for ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ([DOCUMENT], True),
        ([(b"sec-fetch-dest", b"iframe")], True),
        ([(b"Sec-Fetch-Dest", b"frame")], True),
        ([(b"Sec-Fetch-Dest", b"empty"), HTML], None),
        ([(b"Sec-Fetch-Dest", b"image"), HTML], None),
        ([(b"Sec-Fetch-Dest", b"object"), HTML], None),
        ([HTML], False),
        ([], None),
        ([(b"Accept", b"*/*")], None),
        ([HTML, (b"HX-Request", b"true")], None),
        ([HTML, (b"X-Requested-With", b"XMLHttpRequest")], None),
        ([HTML, (b"Turbo-Frame", b"x")], None),
        ([DOCUMENT, (b"Range", b"bytes=0-")], None),
        ([HTML, (b"Range", b"bytes=0-")], None),
    ],
)
def test_a_browser_says_whether_it_wants_a_page(fields, wanted):
    assert wants_page(head("/", *fields), is_own=True) is wanted


@pytest.mark.parametrize("method", ["HEAD", "POST", "OPTIONS", "PUT"])
def test_only_get_is_meant(method):
    assert wants_page(head("/", DOCUMENT, method=method), is_own=True) is None


def test_a_page_of_another_origin_that_does_not_say_what_it_wants_gets_nothing():
    assert wants_page(head("/", HTML), is_own=False) is None
    assert wants_page(head("/", DOCUMENT), is_own=False) is True  # a link was followed


def test_codings_are_not_asked_for_and_what_others_share_is_left_alone():
    fields = [(b"Accept-Encoding", b"gzip, br"), (b"Cookie", b"a=b"), (b"Connection", b"keep-alive")]
    request = head("/a?b", DOCUMENT, *fields)
    changed = without_codings(request, "r.3")
    assert changed is not request and changed.block is not request.block
    assert dict(request.fields)[b"Accept-Encoding"] == b"gzip, br"
    names = [name for name, _ in changed.fields]
    assert names == [b"Host", b"Sec-Fetch-Dest", b"Cookie", b"Connection", b"Accept-Encoding"]
    assert changed.fields[-1] == (b"Accept-Encoding", b"identity")
    assert changed.fields[2] == (b"Cookie", b"a=b")
    for name in ("method", "target", "path", "query", "authority", "version", "content_length", "keep_alive"):
        assert getattr(changed, name) == getattr(request, name)
    assert changed.block.hops == [3] and changed.block.authority == request.block.authority


def test_validators_are_those_of_the_page_as_django_knows_it():
    request = head(
        "/", (b"If-None-Match", b'"a;duck=r.3", W/"b;duck=r.3", "c;duck=r.2", "d"'), (b"If-Modified-Since", b"x")
    )
    assert dict(without_codings(request, "r.3").fields)[b"If-None-Match"] == b'"a", W/"b"'
    assert b"If-Modified-Since" not in dict(without_codings(request, "r.3").fields)
    assert b"If-None-Match" not in dict(without_codings(request, "r.4").fields)


@pytest.mark.parametrize("tag", [b'"a"', b'W/"a"', b'""', b'"a;duck=x"'])
def test_a_validator_comes_back_as_it_was(tag):
    assert known_tags(own_tag(tag, "r.3"), "r.3") == tag
    assert known_tags(own_tag(tag, "r.3"), "r.4") == b""


@pytest.mark.parametrize("tag", [b"a", b'"a', b"*", b"", b'"a" "b"'])
def test_what_is_no_validator_is_dropped(tag):
    assert own_tag(tag, "r.3") == b""
    assert known_tags(tag, "r.3") == b""


# -- what is answered -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "fields", "page"),
    [
        (200, [], True),
        (404, [], True),
        (500, [], True),
        (503, [], True),
        (201, [], False),
        (204, [], False),
        (206, [], False),
        (302, [], False),
        (304, [], False),
        (200, [(b"Content-Disposition", b"attachment; filename=a.html")], False),
        (200, [(b"Content-Disposition", b"inline")], True),
        (200, [(b"Cache-Control", b"private, No-Transform")], False),
        (200, [(b"Content-Range", b"bytes 0-1/2")], False),
        (200, [(b"Content-Encoding", b"br")], False),
        (200, [(b"Content-Encoding", b"gzip")], True),
        (200, [(b"Content-Encoding", b"gzip, gzip")], False),
        (200, [(b"Content-Security-Policy", b"sandbox")], False),
    ],
)
def test_not_every_answer_is_a_page_that_may_be_changed(status, fields, page):
    assert is_page(ResponseHead(status, [(b"Content-Type", b"text/html; charset=utf-8"), *fields])) is page


@pytest.mark.parametrize(
    ("kind", "page"),
    [
        (b"text/html", True),
        (b"Text/HTML;charset=latin-1", True),
        (b"text/html; charset=utf-16", False),
        (b"application/xhtml+xml", False),
        (b"text/plain", False),
        (b"text/htmlx", False),
        (b"application/json", False),
    ],
)
def test_only_html_is(kind, page):
    assert is_page(ResponseHead(200, [(b"Content-Type", kind)])) is page
    assert not is_page(ResponseHead(200, []))


@pytest.mark.parametrize("pieces", [None, 1, 7, 10_000, -10])
@pytest.mark.parametrize("ask", [(DOCUMENT,), (HTML,)])
def test_a_page_has_the_client_at_its_begin(world, ask, pieces):
    stream = world.answer(ask=ask, pieces=pieces)
    match = TAG.search(bytes(stream.body))
    assert match is not None and match[3] == b"200"
    assert bytes(stream.body) == PAGE.replace(b"<head>", b"<head>" + match[0])
    assert stream.head.content_length == (len(stream.body) if pieces is None else None)


@pytest.mark.parametrize("pieces", [None, 1, 10_000])
def test_what_is_no_whole_page_is_left_as_it_is(world, pieces):
    stream = world.answer(b"<p>part</p>", (b"ETag", b'"a"'), ask=(HTML,), pieces=pieces)
    assert bytes(stream.body) == b"<p>part</p>"
    assert stream.field("ETag") == '"a"'
    assert TAG.search(bytes(world.answer(b"<p>part</p>", pieces=pieces).body))  # a browser shows it as a page


@pytest.mark.parametrize(
    ("ask", "more"),
    [
        ([], {}),
        ([(b"Sec-Fetch-Dest", b"empty"), HTML], {}),
        ([HTML, (b"HX-Request", b"true")], {}),
        ([DOCUMENT], {"method": "POST"}),
    ],
)
@pytest.mark.parametrize("pieces", [None, 5])
def test_what_nobody_wants_as_a_page_is_not_touched(world, ask, more, pieces):
    stream = world.answer(ask=ask, pieces=pieces, **more)
    assert bytes(stream.body) == PAGE


def test_an_answer_to_head_is_as_it_was(world):
    exchange, stream = world.begin(DOCUMENT, method="HEAD")
    exchange.response.answer(ResponseHead(200, [(b"Content-Type", b"text/html")], content_length=9), b"")
    assert stream.head.content_length == 9


def test_an_error_page_is_one_and_says_so(world):
    assert TAG.search(bytes(world.answer(status=500).body))[3] == b"500"


def test_the_fields_are_those_of_another_page(world):
    fields = [
        (b"ETag", b'"a"'),
        (b"Last-Modified", b"x"),
        (b"Content-MD5", b"x"),
        (b"Digest", b"x"),
        (b"Repr-Digest", b"x"),
        (b"Content-Length", b"%d" % len(PAGE)),
        (b"X-Other", b"x"),
        (b"Set-Cookie", b"a=1"),
        (b"Set-Cookie", b"b=2"),
    ]
    for pieces in (None, 10):
        stream = world.answer(PAGE, *fields, pieces=pieces)
        names = [name for name, _ in stream.head.fields]
        assert names == [b"Content-Type", b"ETag", b"X-Other", b"Set-Cookie", b"Set-Cookie"]
        assert stream.field("ETag") == '"a;duck=r.3"'


def test_a_page_that_is_still_valid_keeps_its_validator(world):
    for pieces in (None, 10):
        stream = world.answer(b"", (b"ETag", b'W/"a"'), status=304, pieces=pieces)
        assert stream.field("ETag") == 'W/"a;duck=r.3"'


def test_a_head_that_many_answers_share_is_not_changed(world):
    shared = ResponseHead(200, [(b"Content-Type", b"text/html")], content_length=len(PAGE))
    shared.is_shared = True
    for _ in range(2):
        exchange, stream = world.begin(DOCUMENT)
        exchange.response.answer(shared, PAGE)
        assert TAG.search(bytes(stream.body))
    assert shared.content_length == len(PAGE)


@pytest.mark.parametrize("pieces", [None, 1, 50])
@pytest.mark.parametrize("members", [1, 2])
def test_what_is_compressed_all_the_same_is_sent_plain(world, pieces, members):
    large = PAGE + b"x" * 200_000 * (pieces != 1)
    half = len(large) // members
    body = b"".join(gzip.compress(large[at : at + half]) for at in range(0, len(large), half))
    stream = world.answer(body, (b"Content-Encoding", b"gzip"), pieces=pieces)
    assert TAG.sub(b"", bytes(stream.body)) == large
    assert TAG.search(bytes(stream.body))
    assert stream.field("Content-Encoding") is None


def test_where_nobody_has_called_it_a_page_what_is_compressed_is_left_alone(world):
    body = gzip.compress(PAGE)
    for pieces in (None, 10):
        stream = world.answer(body, (b"Content-Encoding", b"gzip"), ask=(HTML,), pieces=pieces)
        assert bytes(stream.body) == body
        assert stream.field("Content-Encoding") == "gzip"


def test_what_is_called_gzip_and_is_not_is_passed_on_or_cut(world):
    stream = world.answer(b"no gzip at all", (b"Content-Encoding", b"gzip"))
    assert bytes(stream.body) == b"no gzip at all" and stream.field("Content-Encoding") == "gzip"
    for body, ends in ((b"no gzip at all", False), (gzip.compress(PAGE)[:-4], True)):
        exchange, stream = world.begin(DOCUMENT)
        fields = [(b"Content-Type", b"text/html"), (b"Content-Encoding", b"gzip")]
        exchange.response.head(ResponseHead(200, fields))
        exchange.response.data(body)
        if ends:
            exchange.response.end(None)
        assert isinstance(stream.cut, BackendError)


def test_a_page_that_is_streamed_is_not_held_back(world):
    exchange, stream = world.begin(DOCUMENT)
    exchange.response.head(ResponseHead(200, [(b"Content-Type", b"text/html")]))
    assert stream.head is not None
    exchange.response.data(b"<!doctype html><html><head>")
    assert TAG.search(bytes(stream.body))
    exchange.response.data(b"<p>first")
    assert bytes(stream.body).endswith(b"<p>first")


def test_a_head_that_waits_is_sent_before_its_answer_is_cut(world):
    exchange, stream = world.begin(HTML)
    exchange.response.head(ResponseHead(200, [(b"Content-Type", b"text/html")]))
    exchange.response.data(b"<!doct")
    assert stream.head is None
    exchange.response.abort(BackendError("on purpose"))
    assert stream.head is not None and stream.cut is not None


def test_back_pressure_passes(world):
    exchange, _ = world.begin(DOCUMENT, stream=FakeStream(high_water=10))
    exchange.response.head(ResponseHead(200, [(b"Content-Type", b"text/html")]))
    exchange.response.data(PAGE)
    assert exchange.paused


def test_with_debug_off_there_is_nothing_in_it(world):
    exchange, stream = world.begin(DOCUMENT)
    world.is_on = False  # what the project says only once it has started
    exchange.response.answer(ResponseHead(200, [(b"Content-Type", b"text/html")], content_length=len(PAGE)), PAGE)
    assert bytes(stream.body) == PAGE


def test_it_is_put_in_once_however_often_a_request_is_looked_at(world):
    exchange, stream = world.begin(DOCUMENT)
    world.injection.prepare(exchange, is_own=True)
    exchange.response.answer(ResponseHead(200, [(b"Content-Type", b"text/html")], content_length=len(PAGE)), PAGE)
    assert len(TAG.findall(bytes(stream.body))) == 1


# -- policies ---------------------------------------------------------------------------------------------------------


def policy_of(stream):
    return stream.field_lines("Content-Security-Policy")


def test_a_nonce_of_the_policy_is_the_tags(world):
    for pieces in (None, 10):
        stream = world.answer(PAGE, (b"Content-Security-Policy", b"script-src 'nonce-abc'"), pieces=pieces)
        assert TAG.search(bytes(stream.body))[2] == b"abc"
        assert policy_of(stream) == ["script-src 'nonce-abc'"]


def test_without_one_the_clients_address_is_allowed(world):
    stream = world.answer(PAGE, (b"content-security-policy", b"default-src 'self'"), by=peer(scheme=b"https"))
    assert TAG.search(bytes(stream.body))[2] is None
    assert policy_of(stream) == [
        "default-src 'self'; script-src-elem 'self' https://localhost:8000/.duck/client.js;"
        " connect-src 'self' wss://localhost:8000"
    ]


def test_a_strict_policy_gets_a_nonce_that_nobody_can_guess(world):
    nonces = set()
    for _ in range(2):
        policy = (b"Content-Security-Policy", b"script-src 'sha256-AAAA' 'strict-dynamic'")
        stream = world.answer(PAGE, policy)
        nonce = TAG.search(bytes(stream.body))[2].decode()
        assert policy_of(stream) == [f"script-src 'sha256-AAAA' 'strict-dynamic' 'nonce-{nonce}'"]
        nonces.add(nonce)
    assert len(nonces) == 2 and all(len(nonce) >= 20 for nonce in nonces)


def test_what_a_policy_only_reports_is_not_reported(world):
    stream = world.answer(PAGE, (b"Content-Security-Policy-Report-Only", b"connect-src 'none'"))
    assert stream.field("Content-Security-Policy-Report-Only") == "connect-src 'self' ws://localhost:8000"


def test_a_policy_in_the_page_is_widened_too(world):
    meta = b"<meta http-equiv=Content-Security-Policy content=\"connect-src 'none'\">"
    stream = world.answer(PAGE.replace(b"<title>", meta + b"<title>"))
    assert b'content="connect-src &#x27;self&#x27; ws://localhost:8000"' in stream.body


def test_where_nothing_is_put_in_no_policy_is_widened(world):
    policy = (b"Content-Security-Policy", b"default-src 'self'")
    for pieces in (None, 5):
        assert policy_of(world.answer(b"<p>part", policy, ask=(HTML,), pieces=pieces)) == ["default-src 'self'"]
        assert policy_of(world.answer(PAGE, policy, ask=[], pieces=pieces)) == ["default-src 'self'"]
