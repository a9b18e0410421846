"""Static files, as a client sees them."""

import email
import os
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from duck.http.dates import render_date
from duck.http.file_cache import FileCache
from duck.http.file_roots import OpenRoot
from duck.http.files import StaticFiles
from duck.testing import record_exchange
from tests.http.file_site import LARGE, PAST, SMALL, Django, Now, Site


class TestStatic:
    def test_a_small_file_is_answered_with_all_that_belongs_to_it(self, site):
        answer = site.ask(b"/static/css/app.css")
        assert answer.status == 200 and answer.body == SMALL and answer.ended
        assert answer.head.content_length == len(SMALL)
        etag = f'"{PAST * 10**9:x}-{len(SMALL):x}"'
        assert dict(answer.head.fields) == {
            b"Content-Type": b"text/css; charset=utf-8",
            b"Accept-Ranges": b"bytes",
            b"Cache-Control": b"max-age=60, public",
            b"Access-Control-Allow-Origin": b"*",
            b"X-Content-Type-Options": b"nosniff",
            b"ETag": etag.encode(),
            b"Last-Modified": render_date(PAST),
        }

    def test_the_second_answer_is_the_same_as_the_first(self, site):
        for target in (b"/static/css/app.css", b"/static/video.mp4"):
            first, second = site.ask(target), site.ask(target)
            assert (first.head.block, first.body) == (second.head.block, second.body)

    def test_an_answer_that_is_changed_on_its_way_is_changed_for_nobody_else(self, site):
        class Mark:
            def __init__(self, sink):
                self._sink = sink

            def answer(self, head, body):
                head.fields = [*head.fields, (b"X-Mark", b"1")]
                self._sink.answer(head, body)

        first = site.ask(b"/static/css/app.css")
        for _ in range(2):
            exchange, stream = record_exchange(b"GET", b"/static/css/app.css", [])
            exchange.wrap(Mark)
            site.handler.handle(exchange)
            assert stream.head.fields == [*first.head.fields, (b"X-Mark", b"1")]
            again = site.ask(b"/static/css/app.css")
            assert (again.head.fields, again.body) == (first.head.fields, first.body)

    def test_a_query_changes_nothing(self, site):
        assert site.ask(b"/static/css/app.css?v=2").body == SMALL

    def test_a_large_file_is_sent_from_its_descriptor(self, site):
        answer = site.ask(b"/static/video.mp4")
        assert answer.status == 200 and answer.body == LARGE and answer.ended
        assert answer.chunks == [0]

    @pytest.mark.parametrize("target", [b"/static/css/app.css", b"/static/video.mp4"])
    def test_head_is_get_without_the_body(self, site, target):
        for _ in range(2):
            got, head = site.ask(target), site.ask(target, method=b"HEAD")
            assert head.ended and not head.body
            assert (head.status, head.head.fields, head.head.content_length) == (
                got.status,
                got.head.fields,
                got.head.content_length,
            )

    def test_an_empty_file_is_a_complete_answer(self, site):
        site.write("empty.txt", b"")
        answer = site.ask(b"/static/empty.txt")
        assert answer.status == 200 and answer.ended and answer.head.content_length == 0

    @pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"get", b"TRACE"])
    def test_other_methods_go_to_django(self, site, method):
        site.ask(b"/static/css/app.css")
        assert site.misses(b"/static/css/app.css", method=method)

    @pytest.mark.parametrize(
        "target",
        [b"/static/none.css", b"/static/css", b"/static/css/", b"/static/", b"/static/css/app.css/", b"/other", b"*"],
    )
    def test_what_is_no_file_goes_to_django(self, site, target):
        assert site.misses(target)

    def test_a_missing_root_is_a_miss(self, tmp_path):
        site = Site(tmp_path / "none", lambda s: StaticFiles("/static/", s.django, root=str(s.root), now=s.now))
        assert site.misses(b"/static/app.css")

    def test_links_are_followed(self, site):
        outside = site.root.parent / "outside.css"
        outside.write_bytes(b"linked")
        (site.root / "link.css").symlink_to(outside)
        assert site.ask(b"/static/link.css").body == b"linked"

    def test_hidden_files_and_parents_go_to_django(self, site):
        site.write(".env", b"SECRET")
        site.write("a/.git/config", b"SECRET")
        (site.root.parent / "secret").write_bytes(b"SECRET")
        for target in (b"/static/.env", b"/static/%2eenv", b"/static/a/.git/config", b"/static/..%2fsecret"):
            assert site.misses(target)

    def test_a_double_encoded_name_is_a_literal_name(self, site):
        site.write("a%20b.css", b"literal")
        site.write("a b.css", b"space")
        for _ in range(2):
            assert site.ask(b"/static/a%2520b.css").body == b"literal"
            assert site.ask(b"/static/a%20b.css").body == b"space"
        assert site.misses(b"/static/%252e%252e/secret")

    def test_other_spellings_of_a_path_share_one_place_in_memory(self, site):
        for target in (b"/static/css/app.css", b"/static/css/%61pp.css", b"/st%61tic/css%2fapp.css"):
            assert site.ask(target).body == SMALL
        assert len(site.handler._entries) == 1

    def test_a_url_that_is_not_local_is_refused(self, tmp_path):
        for url in ("https://cdn.example.org/", "/"):
            with pytest.raises(ValueError, match="no local path"):
                StaticFiles(url, Django(), root=str(tmp_path))
        with pytest.raises(ValueError, match="one of them"):
            StaticFiles("/static/", Django())


class TestFreshness:
    def test_a_change_shows_within_a_second(self, site):
        site.ask(b"/static/css/app.css")
        site.write("css/app.css", b"new", age=-10)
        site.now.time += 1.0
        assert site.ask(b"/static/css/app.css").body == b"new"

    def test_a_file_that_goes_away_is_a_miss_within_a_second(self, site):
        site.ask(b"/static/css/app.css")
        (site.root / "css/app.css").unlink()
        site.now.time += 1.0
        assert site.misses(b"/static/css/app.css")
        assert not site.handler._entries

    def test_an_unchanged_file_is_read_once(self, site):
        site.ask(b"/static/css/app.css")
        first = site.handler._entries[b"/static/css/app.css"]
        for _ in range(3):
            site.now.time += 1.0
            site.ask(b"/static/css/app.css")
        assert site.handler._entries[b"/static/css/app.css"] is first

    def test_what_is_said_of_a_large_file_is_of_the_bytes_that_are_sent(self, site):
        """It changes within the second in which it is not looked at again."""
        old = site.ask(b"/static/video.mp4")
        site.write("video.mp4", LARGE + b"more", age=-10)
        new = site.ask(b"/static/video.mp4", (b"If-Range", old.field("etag").encode()), (b"Range", b"bytes=0-9"))
        assert new.status == 200 and new.body == LARGE + b"more"
        assert new.field("etag") != old.field("etag")
        assert site.ask(b"/static/video.mp4").field("etag") == new.field("etag")

    def test_a_large_file_that_goes_away_within_the_second_is_a_miss(self, site):
        site.ask(b"/static/video.mp4")
        (site.root / "video.mp4").unlink()
        assert site.misses(b"/static/video.mp4")

    def test_a_sidecar_that_goes_away_within_the_second_is_not_missed(self, site):
        site.write("big.js", LARGE)
        site.write("big.js.gz", LARGE[:-1])
        assert site.ask(b"/static/big.js", (b"Accept-Encoding", b"gzip")).field("content-encoding") == "gzip"
        (site.root / "big.js.gz").unlink()
        assert site.ask(b"/static/big.js", (b"Accept-Encoding", b"gzip")).body == LARGE

    def test_a_time_to_come_is_not_sent(self, site):
        path = site.write("future.css", b"x")
        os.utime(path, (time.time() + 3600, time.time() + 3600))
        answer = site.ask(b"/static/future.css")
        assert answer.field("last-modified") is None and answer.field("etag") is not None

    def test_memory_is_bounded_and_the_least_used_goes_first(self, tmp_path):
        names = [f"{i}.bin" for i in range(6)]
        for name in names:
            (tmp_path / name).write_bytes(bytes(1000))
        now = Now()
        cache = FileCache(
            OpenRoot(str(tmp_path)), lambda name: (b"", b""), sidecars=False, now=now, limit_bytes=4 * 3048
        )
        for name in names[:4]:
            cache.get(name.encode(), name)
        now.time += 1.0
        cache.get(b"0.bin", "0.bin")
        for name in names[4:]:
            cache.get(name.encode(), name)
        assert list(cache.entries) == [b"3.bin", b"0.bin", b"4.bin", b"5.bin"]

    def test_an_entry_heavier_than_all_memory_is_answered_and_not_kept(self, tmp_path):
        (tmp_path / "a").write_bytes(b"x")
        cache = FileCache(OpenRoot(str(tmp_path)), lambda name: (b"", b""), sidecars=False, now=Now(), limit_bytes=1)
        assert cache.get(b"a", "a").plain.body == b"x"
        assert not cache.entries


class TestConditions:
    @pytest.mark.parametrize("target", [b"/static/css/app.css", b"/static/video.mp4"])
    def test_a_known_file_is_304_with_the_fields_a_cache_needs(self, site, target):
        whole = site.ask(target)
        for field in (b"If-None-Match", whole.field("etag").encode()), (b"If-Modified-Since", render_date(PAST)):
            answer = site.ask(target, field)
            assert answer.status == 304 and not answer.body and answer.ended
            for name in ("etag", "cache-control", "last-modified", "access-control-allow-origin"):
                assert answer.field(name) == whole.field(name)
            assert answer.field("content-type") is None and answer.head.content_length is None

    def test_a_failed_precondition_is_412_without_a_body(self, site):
        answer = site.ask(b"/static/css/app.css", (b"If-Match", b'"x"'))
        assert answer.status == 412 and answer.head.content_length == 0 and answer.ended


class TestRanges:
    @pytest.mark.parametrize("target,data", [(b"/static/css/app.css", SMALL), (b"/static/video.mp4", LARGE)])
    def test_one_range(self, site, target, data):
        answer = site.ask(target, (b"Range", b"bytes=10-19"))
        assert answer.status == 206 and answer.body == data[10:20]
        assert answer.field("content-range") == f"bytes 10-19/{len(data)}"
        assert answer.head.content_length == 10
        assert answer.field("content-type") == site.ask(target).field("content-type")

    @pytest.mark.parametrize("target,data", [(b"/static/css/app.css", SMALL), (b"/static/video.mp4", LARGE)])
    def test_several_ranges(self, site, target, data):
        answer = site.ask(target, (b"Range", b"bytes=50-59,0-4,-3"))
        assert answer.status == 206 and answer.field("content-range") is None
        message = email.message_from_bytes(
            b"Content-Type: " + answer.field("content-type").encode() + b"\r\n\r\n" + bytes(answer.body)
        )
        assert message.get_content_type() == "multipart/byteranges"
        parts = message.get_payload()
        assert [part["Content-Range"] for part in parts] == [
            f"bytes 50-59/{len(data)}",
            f"bytes 0-4/{len(data)}",
            f"bytes {len(data) - 3}-{len(data) - 1}/{len(data)}",
        ]
        assert {part["Content-Type"] for part in parts} == {site.ask(target).field("content-type")}
        pieces = bytes(answer.body).split(b"\r\n\r\n", 1)[1]
        assert pieces.startswith(data[50:60] + b"\r\n--")
        assert b"\r\n\r\n" + data[:5] + b"\r\n--" in bytes(answer.body)
        assert bytes(answer.body).endswith(b"--\r\n")

    def test_a_boundary_cannot_be_foreseen(self, site):
        asked = (b"Range", b"bytes=0-1,5-6")
        first, second = (site.ask(b"/static/css/app.css", asked).field("content-type") for _ in range(2))
        assert first != second

    def test_beyond_the_end_is_416_with_the_length(self, site):
        answer = site.ask(b"/static/css/app.css", (b"Range", b"bytes=5000-"))
        assert answer.status == 416 and answer.field("content-range") == f"bytes */{len(SMALL)}"
        assert answer.head.content_length == 0 and answer.field("cache-control") is None

    def test_overlapping_and_abusive_sets_get_the_whole_file_once(self, site):
        for value in (b"bytes=0-,0-", b"bytes=" + b",".join([b"0-0"] * 500)):
            answer = site.ask(b"/static/css/app.css", (b"Range", value))
            assert answer.status == 200 and answer.body == SMALL

    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)).map(sorted), min_size=1, max_size=5))
    def test_small_and_large_files_are_cut_alike_and_to_the_announced_length(self, site, specs):
        """FakeStream compares each body with its Content-Length."""
        value = b"bytes=" + b",".join(b"%d-%d" % tuple(spec) for spec in specs)
        small = site.ask(b"/static/css/app.css", (b"Range", value))
        large = site.ask(b"/static/video.mp4", (b"Range", value))
        assert small.ended and large.ended
        if small.status == large.status == 206 and len(specs) == 1:
            first, last = specs[0]
            assert small.body == SMALL[first : last + 1] and large.body == LARGE[first : last + 1]
