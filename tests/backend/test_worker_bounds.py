"""What clients and applications choose freely is remembered only up to a bound."""

from __future__ import annotations

from duck.backend.django.worker import answer, environ
from duck.backend.django.worker.wsgi import base_environ
from duck.wire.link import REQUEST_ITEMS

ITEMS = ["GET", "", "/", "", "/", "HTTP/1.1", "http", "192.0.2.1", "1", "localhost", "80", "", ""]


def test_the_items_of_these_tests_are_those_of_the_link() -> None:
    assert len(ITEMS) == len(REQUEST_ITEMS)


def test_field_names_are_remembered_up_to_a_bound() -> None:
    base = base_environ()
    for number in range(3000):
        made = environ.make_environ(base, [*ITEMS, f"X-Name-{number}", "1"], b"")
        assert made[f"HTTP_X_NAME_{number}"] == "1"
    environ.make_environ(base, [*ITEMS, "X" * 10_000, "1"], b"")
    assert len(environ._keys) <= 1024
    assert max(map(len, environ._keys)) <= 128


def test_an_environ_does_not_change_the_next_one() -> None:
    base = base_environ()
    before = dict(base)
    environ.make_environ(base, [*ITEMS, "Accept", "a", "accept", "b", "X_Y", "1"], b"")
    assert base == before
    assert "HTTP_ACCEPT" not in environ.make_environ(base, ITEMS, b"")


def test_the_first_of_two_content_types_counts() -> None:
    made = environ.make_environ(base_environ(), [*ITEMS, "Content-Type", "a/b", "content-type", "c/d"], b"")
    assert made["CONTENT_TYPE"] == "a/b"


def test_a_content_length_field_never_outlives_the_links_own() -> None:
    made = environ.make_environ(base_environ(), [*ITEMS, "Content-Length", "5"], b"")
    assert "CONTENT_LENGTH" not in made


def test_statuses_and_header_names_are_remembered_up_to_a_bound() -> None:
    for number in range(3000):
        assert answer.parse_status(f"200 Reason {number}") == (200, f"Reason {number}".encode())
        block, length = answer.render_headers([(f"X-Name-{number}", "1")], 200)
        assert (block, length) == (f"X-Name-{number}: 1\r\n".encode(), None)
    assert len(answer._statuses) <= 1024
    assert len(answer._kinds) <= 1024
