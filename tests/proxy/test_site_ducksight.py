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
