"""Fields of every answer: none unless said, HSTS over HTTPS alone, and never for this machine while one develops."""

import pytest

from duck.http.ducksight.access import is_loopback_name

HSTS = ("Strict-Transport-Security", "max-age=60")


@pytest.fixture
def site(make_front, link_backend, tmp_path):
    """A front with a page whose answer has `block`, and a static file."""
    (tmp_path / "a.css").write_bytes(b"a" * 300_000)

    def make(block=b"", **config):
        front = make_front(trusted_proxies=("127.0.0.1",), **config)

        def answer(slot, items, fields, body):
            slot.head(b"page", block=block, length=4, complete=True)
            slot.free()

        static = {"installed": True, "url": "/static/", "root": str(tmp_path), "finders": False}
        front.switch(link_backend(answer).upstream(), static=static)
        return front

    return make


def seen(front, path="/", scheme="http", host="example.org"):
    """The answer's fields; a balancer in front has ended TLS, or not."""
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nX-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: {scheme}\r\n\r\n"
    )
    answer = front.ask(request.encode())
    assert answer.status == 200
    assert answer.body == (b"page" if path == "/" else b"a" * 300_000)
    return {name.lower(): value for name, value in answer.getheaders()}


def test_without_a_word_nothing_is_added(site):
    front = site()
    for scheme in ("http", "https"):
        assert set(seen(front, scheme=scheme)) == {"content-length", "date"}


@pytest.mark.parametrize("path", ["/", "/static/a.css"])
def test_every_answer_gets_the_fields_and_those_over_https_theirs_too(site, path):
    front = site(fields=(("X-Frame-Options", "DENY"),), secure_fields=(HSTS,))
    plain, secure = seen(front, path), seen(front, path, "https")
    assert plain["x-frame-options"] == secure["x-frame-options"] == "DENY"
    assert "strict-transport-security" not in plain
    assert secure["strict-transport-security"] == "max-age=60"


def test_what_the_project_says_itself_is_kept(site):
    front = site(b"Strict-Transport-Security: max-age=9\r\n", secure_fields=(HSTS,))
    assert seen(front, scheme="https")["strict-transport-security"] == "max-age=9"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]:8000", "shop.localhost."])
def test_while_one_develops_no_browser_is_told_to_refuse_plain_http_to_this_machine(site, host):
    front = site(b"Strict-Transport-Security: max-age=9\r\nA: b\r\n", development=True, secure_fields=(HSTS,))
    answer = seen(front, scheme="https", host=host)
    assert "strict-transport-security" not in answer
    assert answer["a"] == "b"


def test_other_names_are_told_and_so_is_everybody_in_production(site):
    block = b"Strict-Transport-Security: max-age=9\r\n"
    assert seen(site(block, development=True), scheme="https")["strict-transport-security"] == "max-age=9"
    assert seen(site(block), scheme="https", host="localhost")["strict-transport-security"] == "max-age=9"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "localhost.example.org",
        "example.org",
        "127.0.0.1.example.org",
        "1270.0.0.1",
        "[::2]",
        "127.0.0",
        "xlocalhost",
    ],
)
def test_what_only_looks_like_a_name_of_this_machine_is_none(name):
    assert not is_loopback_name(name.encode())
