"""Where the client's tag goes, however the page comes."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duck.http.ducksight import insertion as insertions
from duck.http.ducksight.insertion import Insertion, find_place

TAG = b"<TAG>"

PAGES = [
    # The page, with | where the tag goes; and whether it looks like one.
    (b"<!doctype html><html><head>|<title>x</title></head><body></body></html>", True),
    (b"<!DOCTYPE html>\r\n<HTML lang='>'>\n<HEAD data-x=\">\">|<title>x", True),
    (b"<html><head/>|<title>x", True),
    (b"<!doctype html>|<title>x</title><p>x", True),
    (b"<!doctype html><html lang=en>|<title>x</title><p>x", True),
    (b"<!doctypehtml>|<p>x", True),
    (b"\xef\xbb\xbf  <!-- <head> --><!doctype html>\n<!-- a --><html><!-- b -->\n<head>|<x>", True),
    (b'<?xml version="1.0"?><!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0//EN" "x"><html><head>|</head>', True),
    (b"<!--><!doctype html>|<p>", True),
    (b"<!doctype html>|<!-- never ends <head>", True),
    (b"<!doctype html><html>|<header>x</header>", True),
    (b"<html>|<body><p>x", True),
    (b"<!doctype html>|<head", True),
    (b"<!doctype html>|<", True),
    (b"<!doctype html>|", True),
    (b"<!doctype html>   |", True),
    (b"|<p>x</p>", False),
    (b"|<div><head></div>", False),
    (b"<head>|<title>x", False),
    (b"|hello", False),
    (b"|<htmlx><head>", False),
    (b"|<!-- x", False),
    (b"\xef\xbb\xbf|hello", False),
]


def put(page, *, is_document=True, cuts=(), widen=lambda policy: policy):
    """What comes out for `page`, cut at `cuts`; and the insertion."""
    insertion = Insertion(TAG, widen, is_document=is_document)
    bounds = [0, *sorted(cuts), len(page)]
    out = [insertion.feed(page[a:b]) for a, b in itertools.pairwise(bounds) if a < b]
    return b"".join([*out, insertion.end()]), insertion


@pytest.mark.parametrize(("marked", "looks_like_one"), PAGES)
def test_the_tag_stands_at_the_begin_of_the_head(marked, looks_like_one):
    page = marked.replace(b"|", b"")
    out, insertion = put(page)
    assert insertion.inserted
    assert re.sub(rb"\s+", b"", out) == re.sub(rb"\s+", b"", marked).replace(b"|", TAG)
    assert out.replace(TAG, b"") == page


@pytest.mark.parametrize(("marked", "looks_like_one"), PAGES)
def test_what_nobody_calls_a_document_has_to_begin_like_one(marked, looks_like_one):
    page = marked.replace(b"|", b"")
    out, insertion = put(page, is_document=False)
    assert insertion.inserted is looks_like_one
    assert out.replace(TAG, b"") == page
    assert (TAG in out) is looks_like_one


@pytest.mark.parametrize(("marked", "looks_like_one"), PAGES)
@pytest.mark.parametrize("is_document", [True, False])
def test_every_single_cut_gives_the_same(marked, looks_like_one, is_document):
    page = marked.replace(b"|", b"")
    whole, _ = put(page, is_document=is_document)
    for cut in range(1, len(page)):
        assert put(page, is_document=is_document, cuts=[cut])[0] == whole, page[:cut]
    assert put(page, is_document=is_document, cuts=range(1, len(page)))[0] == whole


def test_a_page_without_a_byte_stays_so():
    assert put(b"")[0] == b""


def test_the_tag_is_sent_as_soon_as_its_place_has_come():
    insertion = Insertion(TAG, lambda policy: policy, is_document=True)
    assert insertion.feed(b"<!doctype html><ht") == b""
    assert insertion.feed(b"ml><head>") == b"<!doctype html><html><head><TAG>"
    assert insertion.feed(b"<p>one") == b"<p>one"


def test_not_more_than_so_much_is_looked_at():
    page = b"<!doctype html>" + b"<!-- x -->" * 3000 + b"<html><head>"
    out, insertion = put(page)
    assert out.startswith(b"<!doctype html><TAG><!-- x -->") and insertion.inserted
    assert put(page, cuts=range(0, len(page), 7))[0] == out
    assert put(b" " * 20_000 + b"<!doctype html>", is_document=False)[1].inserted is False


META = b'<meta http-equiv="Content-Security-Policy" content="default-src &#39;self&#39;">'
WIDENED = b'<meta http-equiv="Content-Security-Policy" content="default-src &#x27;self&#x27;; more">'


def widen(policy):
    return policy + "; more"


@pytest.mark.parametrize(
    ("head", "widened"),
    [
        (META, WIDENED),
        (b"<title>x</title>\n" + META + b"<p>", b"<title>x</title>\n" + WIDENED + b"<p>"),
        (META + META, WIDENED + WIDENED),
        (
            b"<META content='a b' HTTP-EQUIV=content-security-policy>",
            b'<META content="a b; more" HTTP-EQUIV=content-security-policy>',
        ),
        (b"<meta charset=utf-8><!--" + META + b"-->" + META, b"<meta charset=utf-8><!--" + META + b"-->" + WIDENED),
        (b"</head>" + META, b"</head>" + META),
        (b"<body>" + META, b"<body>" + META),
        (b"<metadata>" + META, b"<metadata>" + WIDENED),
        (b'<meta http-equiv="refresh" content="5">', b'<meta http-equiv="refresh" content="5">'),
        (b'<meta name="x" content="a">', b'<meta name="x" content="a">'),
        (b"<meta http-equiv=content-security-policy>", b"<meta http-equiv=content-security-policy>"),
        (b"<meta charset", b"<meta charset"),
        (b"<met", b"<met"),
        (b"<!-- never ends" + META, b"<!-- never ends" + META),
    ],
)
def test_a_policy_in_the_head_is_widened_however_it_is_cut(head, widened):
    page = b"<!doctype html><html><head>" + head
    whole, _ = put(page, widen=widen)
    assert whole == b"<!doctype html><html><head>" + TAG + widened
    for cut in range(1, len(page)):
        assert put(page, cuts=[cut], widen=widen)[0] == whole, page[:cut]


PIECES = st.sampled_from(
    [
        *(b"<!doctype html>", b"<html>", b"<head>", b"</head>", b"<body>", b"<p>", b"x", b" ", b"<", b">", b'"', b"'"),
        *(b"<!--", b"-->", b"<meta ", b"<meta charset=a>", META, b"<?", b"\xef\xbb\xbf", b"<he", b"ader>", b"-", b"!"),
    ]
)


@given(st.lists(PIECES, max_size=12).map(b"".join), st.booleans(), st.data())
def test_any_cuts_of_anything_give_the_same(page, is_document, data):
    cuts = data.draw(st.lists(st.integers(0, len(page)), max_size=6))
    whole, insertion = put(page, is_document=is_document, widen=widen)
    assert put(page, is_document=is_document, cuts=cuts, widen=widen)[0] == whole
    assert whole.count(TAG) == insertion.inserted
    if not insertion.inserted:
        assert whole == page


@given(st.lists(PIECES, max_size=30).map(b"".join), st.lists(st.integers(0, 400), max_size=6))
def test_so_they_do_where_the_bounds_are_met(page, cuts):
    before = insertions.MAX_AHEAD, insertions.MAX_HEAD
    insertions.MAX_AHEAD, insertions.MAX_HEAD = 24, 48
    try:
        whole, _ = put(page, widen=widen)
        assert put(page, cuts=[cut for cut in cuts if cut <= len(page)], widen=widen)[0] == whole
    finally:
        insertions.MAX_AHEAD, insertions.MAX_HEAD = before


def test_a_place_is_sure_only_where_more_cannot_change_it():
    page = b"<!-- a --><!doctype html> <html> <head lang=en> <title>"
    final = find_place(page)[0]
    for end in range(len(page)):
        place, is_sure, _ = find_place(page[:end])
        assert not is_sure or place == final
