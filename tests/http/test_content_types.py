"""Types by name."""

import pytest

from duck.http.content_types import content_type, is_inert, media_type


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("app.js", b"text/javascript; charset=utf-8"),
        ("app.mjs", b"text/javascript; charset=utf-8"),
        ("css/site.CSS", b"text/css; charset=utf-8"),
        ("index.html", b"text/html; charset=utf-8"),
        ("robots.txt", b"text/plain; charset=utf-8"),
        ("app.js.map", b"application/json"),
        ("data.json", b"application/json"),
        ("feed.xml", b"application/xml"),
        ("logo.svg", b"image/svg+xml"),
        ("logo.avif", b"image/avif"),
        ("logo.webp", b"image/webp"),
        ("favicon.ico", b"image/x-icon"),
        ("app.wasm", b"application/wasm"),
        ("font.woff2", b"font/woff2"),
        ("site.webmanifest", b"application/manifest+json"),
        ("app.js.gz", b"application/gzip"),
        ("app.js.br", b"application/x-brotli"),
        ("backup.tar.gz", b"application/gzip"),
        ("apple-app-site-association", b"application/json"),
        ("LICENSE", b"application/octet-stream"),
        ("name.js/LICENSE", b"application/octet-stream"),
        ("what.ever", b"application/octet-stream"),
    ],
)
def test_a_type_follows_from_the_name(name, value):
    assert content_type(name) == value


@pytest.mark.parametrize(
    "name",
    ["a.png", "a.jpg", "a.webp", "a.pdf", "a.mp4", "a.mp3", "a.woff2", "a.txt", "a.csv", "a.json", "a.vtt", "a.PNG"],
)
def test_what_runs_nothing_is_inert(name):
    assert is_inert(media_type(name))


@pytest.mark.parametrize(
    "name",
    "a.html a.htm a.xhtml a.svg a.svgz a.xml a.xsl a.xslt a.rss a.atom a.js a.mjs a.css a.mht a.mhtml a.swf a.wasm a "
    "a.shtml a.HTML a.zip a.eml".split(),
)
def test_what_may_run_or_is_unknown_is_not_inert(name):
    assert not is_inert(media_type(name))
