"""What clients and applications choose freely is remembered only up to a bound."""

from __future__ import annotations

import pytest

from duck.backend.django.worker import answer, environ
from duck.backend.django.worker.wsgi import base_environ
from duck.wire.link import REQUEST_ITEMS, SHARED_AT, LinkError

ITEMS = ["GET", "", "/", "", "/", "1", "", "", "", "HTTP/1.1", "http", "192.0.2.1", "localhost", "80"]


def make(environs: environ.Environs, *fields: str, body: bytes = b"", **items: str) -> environ.Environ:
    values = [items.get(name, value) for name, value in zip(REQUEST_ITEMS, ITEMS, strict=True)]
    shared = "\0".join([*values[SHARED_AT:], *fields])
    return environs.make([*values[:SHARED_AT], shared], body)


def test_the_items_of_these_tests_are_those_of_the_link() -> None:
    assert len(ITEMS) == len(REQUEST_ITEMS)


def test_field_names_are_remembered_up_to_a_bound() -> None:
    environs = environ.Environs(base_environ())
    for number in range(3000):
        assert make(environs, f"X-Name-{number}", "1")[f"HTTP_X_NAME_{number}"] == "1"
    make(environs, "X" * 10_000, "1")
    assert len(environ._keys) <= 1024
    assert max(map(len, environ._keys)) <= 128


def test_environs_are_remembered_up_to_a_bound() -> None:
    environs = environ.Environs(base_environ())
    for number in range(3000):
        assert make(environs, "Cookie", f"session={number}")["HTTP_COOKIE"] == f"session={number}"
    assert make(environs, "Cookie", "c" * 10_000)["HTTP_COOKIE"] == "c" * 10_000
    kept = [*environs._known, *environs._older]
    assert 256 <= len(kept) <= 512
    assert max(map(len, kept)) <= 4096


def test_an_environ_does_not_change_the_next_one() -> None:
    base = base_environ()
    before = dict(base)
    environs = environ.Environs(base)
    first = make(environs, "Accept", "a", "accept", "b", "X_Y", "1", body=b"one", length="3", method="POST")
    assert first["HTTP_ACCEPT"] == "a,b"
    assert first.pop("wsgi.input").read() == b"one"
    expected = dict(first)
    first.clear()
    first["HTTP_ACCEPT"] = "another"
    again = make(environs, "Accept", "a", "accept", "b", "X_Y", "1", body=b"two", length="3", method="POST")
    assert again.pop("wsgi.input").read() == b"two"
    assert again == expected
    assert base == before
    bare = make(environs, "Accept", "a", "accept", "b", "X_Y", "1")
    assert "CONTENT_LENGTH" not in bare
    assert "HTTP_ACCEPT" not in make(environs)


def test_the_scheme_is_never_remembered_for_another() -> None:
    environs = environ.Environs(base_environ())
    assert make(environs, "Accept", "a", scheme="https")["HTTPS"] == "on"
    assert "HTTPS" not in make(environs, "Accept", "a")
    assert make(environs, "Accept", "a", remote_host="198.51.100.7")["REMOTE_ADDR"] == "198.51.100.7"
    assert make(environs, "Accept", "a")["REMOTE_ADDR"] == "192.0.2.1"


def test_the_first_of_two_content_types_counts() -> None:
    made = make(environ.Environs(base_environ()), "Content-Type", "a/b", "content-type", "c/d")
    assert made["CONTENT_TYPE"] == "a/b"


def test_a_content_length_field_never_outlives_the_links_own() -> None:
    environs = environ.Environs(base_environ())
    assert "CONTENT_LENGTH" not in make(environs, "Content-Length", "5")
    assert make(environs, "Content-Length", "5", length="7")["CONTENT_LENGTH"] == "7"


def test_items_that_are_no_pairs_are_an_error_of_the_link() -> None:
    with pytest.raises(LinkError, match="shared items"):
        make(environ.Environs(base_environ()), "Accept")


def test_rendered_headers_are_remembered_up_to_a_bound_and_cookies_not_at_all() -> None:
    for number in range(3000):
        answer.render_headers([("Location", f"/{number}"), ("Set-Cookie", f"secret={number}")], 200)
    answer.render_headers([("Location", "/" * 1000)], 200)
    assert len(answer._lines) <= 1024
    assert not any("secret" in value or len(value) > 256 for _, value in answer._lines)


def test_a_remembered_header_is_never_taken_for_a_value_that_is_only_equal_to_it() -> None:
    class Shouting(str):
        def __format__(self, spec: str) -> str:
            return self.upper()

    assert answer.render_headers([("X-One", "yes")], 200)[0] == b"X-One: yes\r\n"
    for value, text in ((1, b"1"), (True, b"True"), (1.0, b"1.0")):
        assert answer.render_headers([("X-Two", value)], 200)[0] == b"X-Two: %b\r\n" % text  # type: ignore[list-item]
    answer.render_headers([("X-Three", Shouting("yes"))], 200)
    assert answer.render_headers([("X-Three", "yes")], 200)[0] == b"X-Three: yes\r\n"


def test_statuses_and_header_names_are_remembered_up_to_a_bound() -> None:
    for number in range(3000):
        assert answer.parse_status(f"200 Reason {number}") == (200, f"Reason {number}".encode())
        block, length = answer.render_headers([(f"X-Name-{number}", "1")], 200)
        assert (block, length) == (f"X-Name-{number}: 1\r\n".encode(), None)
    assert len(answer._statuses) <= 1024
    assert len(answer._kinds) <= 1024


def test_the_id_of_a_request_is_not_remembered_for_the_next() -> None:
    environs = environ.Environs(base_environ())
    assert make(environs, "X-Same", "1", request_id="r1")["HTTP_X_REQUEST_ID"] == "r1"
    assert make(environs, "X-Same", "1", request_id="r2")["HTTP_X_REQUEST_ID"] == "r2"
    assert "HTTP_X_REQUEST_ID" not in make(environs, "X-Same", "1")
    assert len(environs._known) == 1
