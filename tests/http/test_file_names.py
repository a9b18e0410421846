"""From paths to names: whatever could mean another file is refused, however it is encoded."""

import posixpath
from urllib.parse import quote, unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duck.http.file_names import attachment, file_name, file_path, url_prefix


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (b"/static/app.css", "app.css"),
        (b"/static/css/app.css", "css/app.css"),
        (b"/static/a%20b.css", "a b.css"),
        (b"/%73tatic/app.css", "app.css"),
        (b"/static%2Fcss%2fapp.css", "css/app.css"),
        (b"/static/na%C3%AFve.css", "naïve.css"),
        ("/static/naïve.css".encode(), "naïve.css"),
        (b"/static/a%2525", "a%25"),
        (b"/static/a%zz", "a%zz"),
        (b"/static/%252e%252e/x", "%2e%2e/x"),
        (b"/static/a..b", "a..b"),
        (b"/static/a.", "a."),
        (b"/static/ab:c", "ab:c"),
        (b"/static/~x", "~x"),
    ],
)
def test_a_path_is_decoded_once(path, name):
    assert file_name(path, "/static/", windows=False) == name


@pytest.mark.parametrize(
    "path",
    [
        b"/static/",
        b"/static",
        b"/staticapp.css",
        b"/other/app.css",
        b"*",
        b"/static/css/",
        b"/static/../secret",
        b"/static/css/../../secret",
        b"/static/css/..",
        b"/static/%2e%2e/secret",
        b"/static/.%2e/secret",
        b"/static/%2E./secret",
        b"/static/..%2fsecret",
        b"/static/..%5csecret",
        b"/static/..\\secret",
        b"/static/css\\app.css",
        b"/static/./app.css",
        b"/static/css/./app.css",
        b"/static/.env",
        b"/static/%2eenv",
        b"/static/.git/config",
        b"/static/css/.git/config",
        b"/static/.well-known/x",
        b"/static//etc/passwd",
        b"/static/%2fetc/passwd",
        b"/static/css//app.css",
        b"/static/C:/windows",
        b"/static/c%3A/windows",
        b"/static/c:x",
        b"/static/a%00.css",
        b"/static/a%0d%0ab",
        b"/static/a%7f",
        b"/static/%ff",
        b"/static/%c0%ae%c0%ae/secret",
        b"/static/%ed%a0%80",
        b"/foo/../static/app.css",
    ],
)
def test_what_could_mean_another_file_is_refused(path):
    assert file_name(path, "/static/", windows=False) is None


@pytest.mark.parametrize(
    "name", ["a.txt::$DATA", "a.css.", "a.css ", "ENV~1", "nul", "css/CON", "com1.txt", "a?b", "dir./x", "a|b"]
)
def test_windows_has_more_that_means_another_file(name):
    path = quote("/static/" + name).encode()
    assert file_name(path, "/static/", windows=True) is None
    assert file_name(path, "/static/", windows=False) == name


def test_ordinary_names_are_names_on_windows_too():
    for name in ("app.css", "css/app.3f2a.css", "console.js", "nullable.js", "a~b", "naïve-ü.png", "com.js/common.js"):
        assert file_name(quote("/static/" + name).encode(), "/static/", windows=True) == name


def encodings(text: str) -> st.SearchStrategy[bytes]:
    """Every byte of `text` as it is, or percent-encoded in either case."""
    return st.tuples(*[st.sampled_from([bytes([b]), b"%%%02x" % b, b"%%%02X" % b]) for b in text.encode("utf-8")]).map(
        b"".join
    )


DANGEROUS = ["..", ".", "...", ".env", ".git", "", "a\0", "\\", "..\\", "C:"]


@given(
    st.lists(st.sampled_from(["css", "a.js", "x y"]), max_size=2),
    st.sampled_from(DANGEROUS),
    st.lists(st.sampled_from(["css", "secret"]), max_size=2),
    st.data(),
)
def test_no_encoding_of_a_dangerous_segment_is_a_name(before, segment, after, data):
    if segment == "C:" and before:
        return  # a drive is one only in front
    text = "/".join([*before, segment, *after])
    path = b"/static/" + data.draw(encodings(text))
    assert file_name(path, "/static/", windows=False) is None


@given(st.one_of(st.binary(max_size=30), st.text("/.%2eEfF5c\\a:", max_size=30).map(str.encode)))
def test_a_name_never_leaves_the_root(rest):
    name = file_name(b"/static/" + rest, "/static/", windows=False)
    if name is not None:
        assert posixpath.normpath(posixpath.join("/root", name)) == "/root/" + name
        assert not any(segment.startswith(".") or not segment for segment in name.split("/"))
        assert "\0" not in name and "\\" not in name


@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20))
def test_the_canonical_path_leads_back_to_its_name_and_to_no_other(text):
    path = file_path(text, "/static/")
    assert unquote(path.decode()) == "/static/" + text
    name = file_name(path, "/static/", windows=False)
    assert name is None or (name == text and file_path(name, "/static/") == path)


@pytest.mark.parametrize(
    ("url", "prefix"),
    [
        ("/static/", "/static/"),
        ("/static", "/static/"),
        ("/a/b%20c/", "/a/b c/"),
        ("https://cdn.example.org/static/", None),
        ("//cdn.example.org/static/", None),
        ("static/", None),
        ("/", None),
        ("", None),
        ("/static/?v=", None),
    ],
)
def test_only_a_local_path_below_the_site_is_a_prefix(url, prefix):
    assert url_prefix(url) == prefix


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("a/b/page.html", b'attachment; filename="page.html"'),
        ('say "hi".html', b"attachment; filename=\"say _hi_.html\"; filename*=UTF-8''say%20%22hi%22.html"),
        ("naïve.svg", b"attachment; filename=\"na_ve.svg\"; filename*=UTF-8''na%C3%AFve.svg"),
        ("100%.html", b"attachment; filename=\"100_.html\"; filename*=UTF-8''100%25.html"),
    ],
)
def test_a_file_is_saved_under_its_own_name(name, value):
    assert attachment(name) == value
