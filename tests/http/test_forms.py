"""Queries and forms."""

import io

import pytest

from duck.exceptions import LimitExceeded, ProtocolError
from duck.http.forms import MAX_URLENCODED_BYTES, MultiDict, parse_form, parse_query

MULTIPART = "multipart/form-data; boundary=XX"


def multipart(*parts):
    lines = b"".join(b"--XX\r\n" + head + b"\r\n\r\n" + body + b"\r\n" for head, body in parts)
    return lines + b"--XX--\r\n"


def parse(kind, body):
    return parse_form(kind, len(body), io.BytesIO(body))


def test_a_name_has_its_last_value_and_all_of_them():
    values = MultiDict([("a", "1"), ("b", ""), ("a", "2")])
    assert values["a"] == "2"
    assert values.get("a") == "2"
    assert values.getlist("a") == ["1", "2"]
    assert values.lists() == [("a", ["1", "2"]), ("b", [""])]
    assert values.get("missing") is None
    assert values.get("missing", "x") == "x"
    assert dict(values) == {"a": "2", "b": ""}
    with pytest.raises(KeyError):
        values["missing"]


@pytest.mark.parametrize(
    ("query", "lists"),
    [
        (b"", []),
        (b"a=1&a=2&b=", [("a", ["1", "2"]), ("b", [""])]),
        (b"a=%C3%A9+x%2B", [("a", ["é x+"])]),
        (b"a=%ff", [("a", ["�"])]),
        (b"a;b=1", [("a;b", ["1"])]),
    ],
)
def test_queries(query, lists):
    assert parse_query(query).lists() == lists


def test_too_many_pairs_are_refused():
    with pytest.raises(ProtocolError) as refusal:
        parse_query(b"&".join(b"a=1" for _ in range(1001)))
    assert refusal.value.status == 400


def test_an_urlencoded_form():
    post, files = parse("application/x-www-form-urlencoded; charset=utf-8", b"name=Donald&name=Daisy")
    assert post.getlist("name") == ["Donald", "Daisy"]
    assert not files


def test_an_urlencoded_form_has_a_bound_of_its_own():
    with pytest.raises(LimitExceeded) as refusal:
        parse("application/x-www-form-urlencoded", b"a" * (MAX_URLENCODED_BYTES + 1))
    assert refusal.value.status == 413


def test_a_multipart_form_with_a_file():
    body = multipart(
        (b'Content-Disposition: form-data; name="title"', "Küken".encode()),
        (b'Content-Disposition: form-data; name="file"; filename="../a.bin"\r\nContent-Type: x/y', b"\0\r\n\xff"),
    )
    post, files = parse(MULTIPART, body)
    assert post["title"] == "Küken"
    uploaded = files["file"]
    assert (uploaded.name, uploaded.content_type, uploaded.read()) == ("a.bin", "x/y", b"\0\r\n\xff")
    uploaded.close()


def test_a_large_file_goes_to_disk():
    body = multipart((b'Content-Disposition: form-data; name="file"; filename="a"', b"x" * 3_000_000))
    _, files = parse(MULTIPART, body)
    with files["file"] as uploaded:
        assert uploaded.size == 3_000_000
        assert uploaded.temporary_file_path()


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=" + "x" * 5000])
def test_a_form_that_cannot_be_read_is_the_clients_fault(kind):
    with pytest.raises(ProtocolError) as refusal:
        parse(kind, b"--XX--")
    assert refusal.value.status == 400


def test_too_many_multipart_fields_are_refused():
    part = (b'Content-Disposition: form-data; name="a"', b"1")
    with pytest.raises(ProtocolError):
        parse(MULTIPART, multipart(*[part] * 1001))


def test_too_much_text_is_refused():
    body = multipart((b'Content-Disposition: form-data; name="a"', b"x" * 3_000_000))
    with pytest.raises(LimitExceeded):
        parse(MULTIPART, body)


@pytest.mark.parametrize("kind", ["", "application/json", "text/plain"])
def test_what_is_no_form_has_no_fields(kind):
    post, files = parse(kind, b"a=1")
    assert (len(post), len(files)) == (0, 0)


def test_no_body_is_no_form():
    assert not parse(MULTIPART, b"")[0]
