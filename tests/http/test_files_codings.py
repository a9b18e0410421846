"""Static files in several codings, and names that never change."""

import json

import pytest

from tests.http.file_site import SMALL


class TestSidecars:
    @pytest.fixture
    def site(self, site):
        site.write("app.js", b"x" * 1000)
        site.write("app.js.br", b"b" * 100)
        site.write("app.js.zst", b"z" * 120)
        site.write("app.js.gz", b"g" * 200)
        return site

    @pytest.mark.parametrize(
        ("accept", "coding", "letter"),
        [
            (b"gzip, deflate, br, zstd", "br", b"b"),
            (b"gzip, deflate", "gzip", b"g"),
            (b"zstd;q=1, br;q=0.9", "zstd", b"z"),
            (b"identity", None, b"x"),
            (b"gzip;q=0, *;q=0, identity", None, b"x"),
            (b"identity;q=0, gzip", "gzip", b"g"),
            (None, None, b"x"),
        ],
    )
    def test_the_coding_is_the_clients_choice(self, site, accept, coding, letter):
        fields = [] if accept is None else [(b"Accept-Encoding", accept)]
        for _ in range(2):
            answer = site.ask(b"/static/app.js", *fields)
            assert answer.field("content-encoding") == coding and answer.body[:1] == letter
            assert answer.field("vary") == "Accept-Encoding"
            assert answer.field("content-type") == "text/javascript; charset=utf-8"

    def test_each_coding_has_a_tag_of_its_own_and_is_validated_by_it(self, site):
        tags = {
            accept: site.ask(b"/static/app.js", (b"Accept-Encoding", accept)).field("etag").encode()
            for accept in (b"br", b"zstd", b"gzip", b"identity")
        }
        assert len(set(tags.values())) == 4
        for accept, tag in tags.items():
            answer = site.ask(b"/static/app.js", (b"Accept-Encoding", accept), (b"If-None-Match", tag))
            assert answer.status == 304 and answer.field("vary") == "Accept-Encoding"
        crossed = site.ask(b"/static/app.js", (b"Accept-Encoding", b"br"), (b"If-None-Match", tags[b"gzip"]))
        assert crossed.status == 200

    def test_a_range_is_of_the_chosen_coding(self, site):
        answer = site.ask(b"/static/app.js", (b"Accept-Encoding", b"br"), (b"Range", b"bytes=0-9"))
        assert answer.status == 206 and answer.body == b"b" * 10
        assert answer.field("content-range") == "bytes 0-9/100" and answer.field("content-encoding") == "br"

    def test_a_file_without_sidecars_does_not_vary(self, site):
        assert site.ask(b"/static/css/app.css", (b"Accept-Encoding", b"br")).field("vary") is None

    def test_a_sidecar_alone_is_a_file_of_its_own_kind(self, site):
        site.write("alone.js.gz", b"g")
        assert site.misses(b"/static/alone.js")
        answer = site.ask(b"/static/alone.js.gz", (b"Accept-Encoding", b"gzip"))
        assert answer.field("content-type") == "application/gzip" and answer.field("content-encoding") is None

    def test_one_that_is_older_than_its_file_is_left_aside(self, site):
        site.write("app.js", b"y" * 1000, age=-60)
        answer = site.ask(b"/static/app.js", (b"Accept-Encoding", b"br"))
        assert answer.body == b"y" * 1000 and answer.field("vary") is None

    def test_one_that_is_no_smaller_is_left_aside(self, site):
        site.write("tiny.js", b"x")
        site.write("tiny.js.gz", b"gg")
        assert site.ask(b"/static/tiny.js", (b"Accept-Encoding", b"gzip")).body == b"x"
        entry = site.handler._entries[b"/static/tiny.js"]
        site.now.time += 1.0
        site.ask(b"/static/tiny.js")
        assert site.handler._entries[b"/static/tiny.js"] is entry

    def test_new_changed_and_removed_ones_are_seen_within_a_second(self, site):
        asked = (b"/static/css/app.css", (b"Accept-Encoding", b"gzip"))
        assert site.ask(*asked).body == SMALL
        for data in (b"one", b"three"):
            site.write("css/app.css.gz", data)
            site.now.time += 1.0
            assert site.ask(*asked).body == data
        (site.root / "css/app.css.gz").unlink()
        site.now.time += 1.0
        assert site.ask(*asked).body == SMALL

    def test_many_values_of_accept_encoding_do_not_fill_the_memory(self, site):
        for i in range(500):
            assert site.ask(b"/static/app.js", (b"Accept-Encoding", b"br, x%d" % i)).body[:1] == b"b"
        assert len(site.handler._entries[b"/static/app.js"].by_accept) <= 64

    def test_several_fields_are_one_list(self, site):
        answer = site.ask(b"/static/app.js", (b"Accept-Encoding", b"deflate"), (b"accept-encoding", b"zstd"))
        assert answer.field("content-encoding") == "zstd"


class TestHashedNames:
    FOR_EVER = "max-age=315360000, public, immutable"
    HASHED = "js/app.0123456789ab.js"

    @pytest.fixture
    def site(self, site):
        site.write(self.HASHED, b"hashed")
        return site

    def policy(self, site, name):
        return site.ask(b"/static/" + name.encode()).field("cache-control")

    def list_names(self, site, paths):
        site.write("staticfiles.json", json.dumps({"paths": paths, "version": "1.1", "hash": "x"}).encode())

    def test_without_a_manifest_the_form_of_the_name_decides(self, site):
        assert self.policy(site, self.HASHED) == self.FOR_EVER
        for name in (
            "a.0123456789.js",
            "a.0123456789AB.js",
            "a.0123456789abc.js",
            "0123456789ab.js",
            "a-0123456789ab.js",
        ):
            site.write(name, b"x")
            assert self.policy(site, name) == "max-age=60, public"

    def test_with_a_manifest_its_list_decides(self, site):
        site.write("old.ba9876543210.js", b"x")
        self.list_names(site, {"js/app.js": self.HASHED, "css/app.css": "css/app.css"})
        site.now.time += 1.0
        assert self.policy(site, self.HASHED) == self.FOR_EVER
        assert self.policy(site, "old.ba9876543210.js") == "max-age=60, public"
        assert self.policy(site, "css/app.css") == "max-age=60, public"

    def test_a_new_manifest_is_seen_within_a_second_also_for_files_in_memory(self, site):
        assert self.policy(site, self.HASHED) == self.FOR_EVER
        self.list_names(site, {})
        site.now.time += 1.0
        assert self.policy(site, self.HASHED) == "max-age=60, public"
        self.list_names(site, {"js/app.js": self.HASHED})
        site.now.time += 1.0
        assert self.policy(site, self.HASHED) == self.FOR_EVER

    @pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"paths": 3}', b"\xff"])
    def test_a_manifest_that_is_none_is_as_if_it_were_not_there(self, site, text):
        site.write("staticfiles.json", text)
        site.now.time += 1.0
        assert self.policy(site, self.HASHED) == self.FOR_EVER
