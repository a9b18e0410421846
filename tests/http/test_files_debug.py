"""Static files in DEBUG: where they are is asked of Django's finders."""

import os

import pytest

from duck.http.dates import render_date
from duck.http.files import StaticFiles
from tests.http.file_site import LARGE, PAST, SMALL, Site


class TestDebug:
    """Names are looked up by Django's finders."""

    @pytest.fixture
    def site(self, tmp_path, no_descriptor_is_left):
        root = tmp_path / "app"
        waiting = []

        def find(name, exchange, found):
            waiting.append((name, found))

        site = Site(root, lambda s: StaticFiles("/static/", s.django, find=find, now=s.now))
        site.waiting = waiting
        site.write("app.css", SMALL)
        site.write("app.css.gz", b"g")
        return site

    def found(self, site, path):
        site.waiting.pop()[1](os.fsencode(path) if path else b"")

    def test_a_found_file_is_answered_when_the_finder_answers(self, site):
        answer = site.ask(b"/static/x/app.css", (b"Accept-Encoding", b"gzip"))
        assert answer.head is None and site.waiting[0][0] == "x/app.css"
        self.found(site, site.root / "app.css")
        assert answer.body == SMALL and answer.field("cache-control") == "no-cache"
        assert answer.field("content-encoding") is None and answer.field("vary") is None
        assert answer.field("content-type") == "text/css; charset=utf-8"

    def test_nothing_is_remembered(self, site):
        for data in (b"one", b"two"):
            site.write("app.css", data)
            answer = site.ask(b"/static/app.css")
            self.found(site, site.root / "app.css")
            assert answer.body == data

    def test_an_unchanged_file_is_304(self, site):
        site.ask(b"/static/app.css")
        self.found(site, site.root / "app.css")
        answer = site.ask(b"/static/app.css", (b"If-Modified-Since", render_date(PAST)))
        self.found(site, site.root / "app.css")
        assert answer.status == 304

    def test_a_large_file_is_sent(self, site):
        path = site.write("large.bin", LARGE)
        answer = site.ask(b"/static/large.bin")
        self.found(site, path)
        assert answer.body == LARGE and answer.ended

    def test_what_the_finder_does_not_find_goes_to_django(self, site):
        for path in (None, site.root / "gone.css", site.root):
            site.ask(b"/static/none.css")
            self.found(site, path)
        assert site.django.taken == [b"/static/none.css"] * 3

    def test_a_client_that_leaves_meanwhile_is_not_answered(self, site):
        answer = site.ask(b"/static/app.css")
        answer.leave()
        self.found(site, site.root / "app.css")
        assert answer.head is None and not site.django.taken

    def test_no_dangerous_name_reaches_the_finder(self, site):
        for target in (b"/static/../x", b"/static/.env", b"/static/%2e%2e/x", b"/static/a%00", b"/static//etc/passwd"):
            assert site.misses(target)
        assert not site.waiting
