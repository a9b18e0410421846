"""What is below `/.duck/` is there for who may ask, and for nobody else."""

import pytest

from duck.http.ducksight.access import Access
from duck.http.ducksight.endpoints import Endpoints
from duck.wire.head import ResponseHead
from tests.http.ducksight.asking import COOKIE, TOKEN, asked, peer
from tests.http.lane import Backend


def says(text):
    def script(exchange):
        exchange.response.answer(ResponseHead(200, content_length=len(text)), text)

    return Backend(script)


@pytest.fixture
def endpoints():
    made = Endpoints(Access(TOKEN))
    made.add(b"/.duck/requests", says(b"requests"))
    made.add(b"/.duck/requests/replay", says(b"replay"))
    made.add(b"/.duck/socket", says(b"socket"), is_page=False)
    return made


def ask(endpoints, target, *fields, **more):
    exchange, stream = asked(target, *fields, **more)
    endpoints.handle(exchange)
    assert stream.ended
    return stream


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/.duck/requests", b"requests"),
        ("/.duck/requests?x", b"requests"),
        ("/.duck/requests/17", b"requests"),
        ("/.duck/requests/replay", b"replay"),
        ("/.duck/requests/replay/17", b"replay"),
        ("/.duck/socket", b"socket"),
    ],
)
def test_the_longest_path_answers(endpoints, target, body):
    assert bytes(ask(endpoints, target, COOKIE).body) == body


@pytest.mark.parametrize("target", ["/.duck/", "/.duck/other", "/.duck/requestsx", "/.duck/..", "/.duck//requests"])
def test_nothing_else_is_there(endpoints, target):
    assert ask(endpoints, target, COOKIE).status == 404


@pytest.mark.parametrize(
    "more",
    [
        {"by": peer("192.168.0.7")},
        {"host": "evil.example"},
        {"by": peer("127.0.0.1", via="10.0.0.1")},
    ],
)
def test_a_stranger_gets_what_he_would_get_if_it_were_not_there(endpoints, more):
    refused = ask(endpoints, "/.duck/requests", COOKIE, **more)
    missing = ask(endpoints, "/.duck/other", COOKIE)
    assert (refused.status, bytes(refused.body), refused.head.fields) == (404, bytes(missing.body), missing.head.fields)


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [(b"Cookie", b"duck-sight-8000=wrong")],
        [COOKIE, (b"Origin", b"http://evil.example")],
        [COOKIE, (b"Sec-Fetch-Site", b"same-site")],
        [COOKIE, (b"X-Forwarded-For", b"127.0.0.1")],
    ],
)
def test_without_token_or_from_another_page_there_is_nothing(endpoints, fields):
    assert ask(endpoints, "/.duck/requests", *fields).status == 404


def test_a_link_with_the_token_leaves_a_cookie_and_an_address_without_it(endpoints):
    answer = ask(endpoints, "/.duck/requests/17?a=b&token=t0ken")
    assert answer.status == 303
    assert answer.field("Location") == "/.duck/requests/17?a=b"
    assert answer.field("Set-Cookie") == "duck-sight-8000=t0ken; Path=/.duck/; HttpOnly; SameSite=Strict"
    assert answer.field("Cache-Control") == "no-store"
    assert answer.field("Referrer-Policy") == "no-referrer"
    assert ask(endpoints, "/.duck/requests?token=t0ken").field("Location") == "/.duck/requests"


def test_over_https_the_cookie_is_for_https_alone(endpoints):
    answer = ask(endpoints, "/.duck/requests?token=t0ken", by=peer(scheme=b"https"))
    assert answer.field("Set-Cookie").endswith("; Secure")


def test_what_is_no_page_is_answered_with_the_token_in_its_address(endpoints):
    assert bytes(ask(endpoints, "/.duck/socket?token=t0ken").body) == b"socket"
    assert bytes(ask(endpoints, "/.duck/requests?token=t0ken", method="POST").body) == b"requests"
