"""A body is shown as what it is: decoded, taken apart, bounded, its secrets hidden."""

import gzip
import json
import zlib

import pytest

from duck.http.ducksight.recording import MAX_BODY_BYTES, Captured
from duck.http.ducksight.shown_body import BINARY, FORM, GONE, JSON, MAX_DECODED_BYTES, NONE, TEXT, mask_body, show

LIMIT = 10_000


def shown(data, kind="", *, coding="", ended=True, limit=LIMIT):
    captured = Captured()
    captured.add(data)
    captured.ended = ended
    fields = [(b"Content-Type", kind.encode())] if kind else []
    if coding:
        fields.append((b"Content-Encoding", coding.encode()))
    return show(captured, fields, limit)


def multipart(*parts):
    lines = []
    for name, file, body in parts:
        more = f'; filename="{file}"' if file else ""
        lines.append(f'--xx\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + body + b"\r\n")
    return b"".join(lines) + b"--xx--\r\n"


def test_json_is_laid_out_and_its_secrets_are_hidden():
    body = shown(b'{"a":[1,2],"password":"x","\xc3\xa4":"\xe2\x82\xac"}', "application/json")
    assert (body.kind, body.type, body.note) == (JSON, "application/json", "")
    assert body.text == json.dumps({"a": [1, 2], "password": "(hidden)", "ä": "€"}, indent=2, ensure_ascii=False)


@pytest.mark.parametrize("data", [b"{no", b"[" * 100_000, b"1" * 5000, b'{"password": "x"'])
def test_what_only_says_that_it_is_json_is_text(data):
    body = shown(data, "application/problem+json", limit=1_000_000)
    assert body.kind in (TEXT, JSON)
    assert '"x"' not in body.text


def test_a_form():
    body = shown(b"name=Ann+B&password=x&empty=&%70assword=y", "application/x-www-form-urlencoded; charset=utf-8")
    assert body.kind == FORM
    assert body.fields == (("name", "Ann B"), ("password", "(hidden)"), ("empty", ""), ("password", "(hidden)"))


def test_a_form_with_files():
    data = multipart(("name", "", b"Ann"), ("password", "", b"x"), ("photo", "a.png", b"\x89PNG\0"))
    body = shown(data, "multipart/form-data; boundary=xx")
    assert body.fields == (("name", "Ann"), ("password", "(hidden)"), ("photo", "file a.png, 5 bytes"))


def test_a_form_with_files_that_was_cut_shows_what_is_there():
    data = multipart(("name", "", b"Ann"), ("photo", "a.png", b"x" * 100))[:-40]
    body = shown(data, 'multipart/form-data; boundary="xx"', ended=False)
    assert body.fields[0] == ("name", "Ann")
    assert "did not come to its end" in body.note


@pytest.mark.parametrize("kind", ["multipart/form-data", "multipart/form-data; boundary=other"])
def test_a_form_without_its_boundary_is_text(kind):
    assert shown(multipart(("a", "", b"b")), kind).kind == TEXT


@pytest.mark.parametrize(
    ("coding", "data"),
    [
        ("gzip", gzip.compress(b"text " * 9, mtime=0)),
        ("deflate", zlib.compress(b"text " * 9)),
        ("deflate", zlib.compress(b"text " * 9)[2:-4]),
    ],
)
def test_codings_are_undone(coding, data):
    body = shown(data, "text/plain", coding=coding)
    assert (body.kind, body.text, body.coding, body.size, body.note) == (TEXT, "text " * 9, coding, len(data), "")


def test_brotli_is_undone_where_its_library_is_there():
    brotli = pytest.importorskip("brotli")
    assert shown(brotli.compress(b"text " * 9), "text/plain", coding="br").text == "text " * 9


@pytest.mark.parametrize("coding", ["unknown", "gzip", "br"])
def test_what_cannot_be_undone_is_shown_as_bytes(coding):
    body = shown(b"\xff\xfe not that", "text/plain", coding=coding)
    assert body.kind == BINARY
    assert coding in body.note
    assert body.text.startswith("0000  ff fe 20")


def test_a_small_body_that_becomes_a_large_one_is_cut():
    bomb = gzip.compress(b"\0" * 50_000_000)
    assert len(bomb) < MAX_BODY_BYTES
    body = shown(bomb, "text/plain", coding="gzip", limit=10**9)
    assert len(body.text) == MAX_DECODED_BYTES
    assert body.note


def test_of_a_long_text_so_much_is_shown():
    body = shown(b"x" * 5000, "text/plain", limit=100)
    assert (body.text, body.note) == ("x" * 100, "Of its 5000 characters 100 are shown.")


def test_of_a_long_form_so_many_fields_are_shown():
    body = shown(
        b"&".join(b"name%d=%b" % (n, b"v" * 100) for n in range(50)), "application/x-www-form-urlencoded", limit=500
    )
    assert 3 <= len(body.fields) <= 6
    assert "Of its 50 fields" in body.note


def test_of_a_form_with_a_million_fields_its_text_is_shown():
    assert shown(b"a&" * 100_000, "application/x-www-form-urlencoded").kind == TEXT


def test_bytes_are_told_from_text():
    assert shown(b"plain").kind == TEXT
    assert shown("Grüße".encode()[:-1]).kind == TEXT  # cut within a character
    assert shown(b"\0\1\2").kind == BINARY
    assert shown(b"plain", "image/png").kind == BINARY
    assert shown(b'{"a": 1}').kind == JSON
    assert shown("Grüße".encode("latin-1"), "text/plain; charset=latin-1").text == "Grüße"
    assert shown(b"x", "text/plain; charset=idna").text == "x"
    assert shown(b"x", "text/plain; charset=latin-99").text == "x"


def test_no_body_and_one_that_is_not_kept():
    captured = Captured()
    assert show(captured, [], LIMIT).kind == NONE
    captured.skip(1000)
    assert (show(captured, [], LIMIT).kind, show(captured, [], LIMIT).size) == (GONE, 1000)


def test_the_first_bytes_of_a_long_body_are_kept():
    captured = Captured()
    for _ in range(3000):
        captured.add(b"x" * 100)
    captured.ended = True
    assert (captured.size, captured.kept, captured.is_whole) == (300_000, MAX_BODY_BYTES, False)
    assert captured.data == b"x" * MAX_BODY_BYTES
    assert "Of its 300000 bytes 262144 are kept." in show(captured, [], LIMIT).note


@pytest.mark.parametrize(
    ("kind", "data", "masked"),
    [
        ("application/x-www-form-urlencoded", b"a=1&pass%77ord=x", b"a=1&pass%77ord=(hidden)"),
        ("application/json", b'{"a":1,  "b":2}', b'{"a":1,  "b":2}'),
        ("application/json", b'{"a":1,"password":"x"}', b'{"a": 1, "password": "(hidden)"}'),
        ("application/json", b'{"password": "x"', b'{"password": "(hidden)"'),
        ("image/png", b"\x89password=x", b"\x89password=x"),
        ("text/plain", b"password='x'", b"password='(hidden)'"),
    ],
)
def test_a_body_to_be_sent_again_without_its_secrets(kind, data, masked):
    assert mask_body(data, [(b"content-type", kind.encode())]) == masked


def test_a_form_with_files_to_be_sent_again_without_its_secrets():
    parts = [("name", "", b"Ann"), ("password", "", b"geheim"), ("token", "a.txt", b"kept")]
    masked = multipart(parts[0], ("password", "", b"(hidden)"), parts[2])
    assert mask_body(multipart(*parts), [(b"content-type", b"multipart/form-data; boundary=xx")]) == masked
