"""DuckSight in a site: for who may use it, in DEBUG, and nowhere else."""

import pytest

from duck.http.ducksight.config import DuckSightConfig

CONFIG = DuckSightConfig("t0ken", run="r")


def get(target, *fields, host="localhost"):
    lines = "".join(f"{field}\r\n" for field in fields)
    return f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n".encode()


def told(slot, items, fields, body):
    slot.answer(f"django {items['path']}".encode())


@pytest.fixture
def duck(make_front, link_backend):
    front = make_front(development=True, ducksight=CONFIG)
    front.site.sight.endpoints.add(b"/.duck/here", front.site.proxy)
    front.upstream = link_backend(told).upstream()
    return front


def test_below_its_path_it_answers_while_debug_is_on(duck):
    duck.switch(duck.upstream, debug=True)
    mine = f"Cookie: duck-sight-{duck.address[1]}=t0ken"
    assert duck.ask(get("/.duck/here", mine)).body == b"django /.duck/here"
    assert duck.ask(get("/.duck/there", mine)).status == 404
    assert duck.ask(get("/.duck/here")).status == 404
    assert duck.ask(get("/.duck/here", mine, host="evil.example")).status == 404


def test_with_debug_off_the_path_is_djangos(duck):
    duck.switch(duck.upstream, debug=False)
    assert duck.ask(get("/.duck/here?token=t0ken")).body == b"django /.duck/here"
    assert duck.ask(get("/.duck/ready")).body == b"django /.duck/ready"
    duck.switch(duck.upstream, debug=True)
    assert duck.ask(get("/.duck/here?token=t0ken")).status == 303


def test_before_the_project_has_said_anything_it_is_there(duck):
    assert duck.ask(get("/.duck/here?token=t0ken")).status == 303
    assert duck.ask(get("/.duck/ready")).status == 503


@pytest.mark.parametrize("field", ["Origin: http://evil.example", "Sec-Fetch-Site: cross-site", "Via: 1.1 tunnel"])
def test_whether_the_project_is_ready_is_not_told_to_pages_of_strangers(duck, field):
    assert duck.ask(get("/.duck/ready", field)).status == 404
    assert duck.ask(get("/.duck/ready", host="rebound.example")).status == 404


PAGE = b"<!doctype html><html><head><title>x</title></head></html>"
DOCUMENT = ("Sec-Fetch-Dest: document", "Accept-Encoding: gzip, br")


def paged(seen):
    """A script that answers with a page, and keeps the fields that it was sent."""

    def script(slot, items, fields, body):
        seen.append({name.lower(): value for name, value in fields})
        slot.head(PAGE, block=b"Content-Type: text/html\r\n", length=len(PAGE), complete=True)
        slot.free()

    return script


def test_a_page_gets_the_client_and_django_is_not_asked_for_codings(duck, link_backend):
    seen = []
    duck.switch(link_backend(paged(seen)).upstream(), debug=True)
    client = duck.connect()
    for fields, has_it in ((DOCUMENT, True), ((), False), (DOCUMENT, True)):
        answer = client.ask(get("/", *fields))
        assert (b"/.duck/client.js" in answer.body) is has_it
        assert answer.getheader("Content-Length") == str(len(answer.body))
    assert [fields.get("accept-encoding") for fields in seen] == ["identity", None, "identity"]


@pytest.mark.parametrize(("host", "fields"), [("shop.test", ()), ("localhost", ("X-Forwarded-For: 192.0.2.1",))])
def test_pages_of_who_may_not_use_it_are_as_they_are(duck, link_backend, host, fields):
    seen = []
    duck.switch(link_backend(paged(seen)).upstream(), debug=True)
    assert duck.ask(get("/", *DOCUMENT, *fields, host=host)).body == PAGE
    assert seen[0]["accept-encoding"] == "gzip, br"


def test_with_debug_off_a_page_is_as_it_is_also_where_it_waited_for_the_project_to_say_so(duck, link_backend):
    upstream = link_backend(paged([])).upstream()
    waiting = duck.connect()
    waiting.sendall(get("/", *DOCUMENT))
    duck.call(lambda: None)
    duck.switch(upstream, debug=False)
    assert waiting.answer().body == PAGE
    assert duck.ask(get("/", *DOCUMENT)).body == PAGE


def test_the_client_is_sent_to_who_knows_the_token(duck):
    answer = duck.ask(get("/.duck/client.js?token=t0ken"))
    assert answer.getheader("Content-Type") == "text/javascript; charset=utf-8"
    assert "immutable" in answer.getheader("Cache-Control")
    assert b"new WebSocket" in answer.body
    assert duck.ask(get("/.duck/client.js")).status == 404
    assert duck.ask(get("/.duck/client.js?token=t0ken").replace(b"GET", b"POST")).status == 405


def test_an_error_page_of_ducks_own_is_a_page_too(duck):
    duck.call(duck.site.broken, {"message": "SyntaxError: x"})
    answer = duck.ask(get("/", *DOCUMENT, "Accept: text/html"))
    assert answer.status == 503
    assert b"/.duck/client.js" in answer.body and b"SyntaxError: x" in answer.body
    assert b"fetch('/.duck/ready')" not in answer.body
    assert "/.duck/client.js" in answer.getheader("Content-Security-Policy")
    other = duck.ask(get("/", *DOCUMENT, "Accept: text/html", host="shop.test"))
    assert b"/.duck/client.js" not in other.body
