"""Static and media files, as a client sees them."""

import email
import json
import logging
import os
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from duck.exceptions import BackendCut, ClientGone
from duck.http.dates import render_date
from duck.http.file_cache import SMALL_BYTES, FileCache
from duck.http.file_roots import OpenRoot
from duck.http.files import MediaFiles, StaticFiles
from duck.testing import FakeStream, record_exchange

PAST = 1_700_000_000
LARGE = os.urandom(SMALL_BYTES + 1000)
SMALL = b"body { color: red }\n" * 10


class Now:
    """A clock that a test moves."""

    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time


class Django:
    """Takes the misses."""

    def __init__(self):
        self.taken = []

    def handle(self, exchange):
        self.taken.append(exchange.request.target)


class Site:
    """A root, its handler, and requests to it."""

    def __init__(self, root, make):
        self.root = root
        self.now = Now()
        self.django = Django()
        self.handler = make(self)

    def write(self, name, data, age=0):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (PAST - age, PAST - age))
        return path

    def ask(self, target, *fields, method=b"GET", stream=None):
        exchange, stream = record_exchange(method, target, list(fields), stream=stream)
        self.handler.handle(exchange)
        return stream

    def misses(self, target, **more):
        """Whether `target` went to Django, unanswered."""
        before = len(self.django.taken)
        stream = self.ask(target, **more)
        passed = len(self.django.taken) > before
        assert passed == (stream.head is None)
        return passed


@pytest.fixture(autouse=True)
def no_descriptor_is_left():
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    yield
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before


@pytest.fixture
def site(tmp_path):
    """A STATIC_ROOT with a small and a large file."""
    root = tmp_path / "static"
    root.mkdir()
    site = Site(root, lambda s: StaticFiles("/static/", s.django, root=str(root), now=s.now))
    site.write("css/app.css", SMALL)
    site.write("video.mp4", LARGE)
    return site


@pytest.fixture
def media(tmp_path):
    """A MEDIA_ROOT with a picture and a page."""
    root = tmp_path / "media"
    root.mkdir()
    site = Site(root, lambda s: MediaFiles("/media/", str(root), s.django, now=s.now))
    site.write("pic.png", b"png")
    site.write("pages/evil.html", b"<script>")
    return site


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


class TestDebug:
    """Names are looked up by Django's finders."""

    @pytest.fixture
    def site(self, tmp_path):
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


class TestMedia:
    def test_a_picture_is_shown_and_asked_for_again(self, media):
        answer = media.ask(b"/media/pic.png")
        assert answer.body == b"png" and answer.field("content-type") == "image/png"
        assert answer.field("cache-control") == "no-cache" and answer.field("x-content-type-options") == "nosniff"
        for name in ("content-disposition", "content-security-policy", "access-control-allow-origin"):
            assert answer.field(name) is None

    @pytest.mark.parametrize("name", ["a.html", "a.svg", "a.xml", "a.xhtml", "a.js", "a.HTM", "a.unknown", "noending"])
    def test_what_may_run_is_saved_and_sandboxed(self, media, name):
        media.write(name, b"x")
        answer = media.ask(b"/media/" + name.encode())
        assert answer.field("content-disposition") == f'attachment; filename="{name}"'
        assert "sandbox" in answer.field("content-security-policy")
        assert answer.field("x-content-type-options") == "nosniff"

    def test_a_304_keeps_the_sandbox(self, media):
        tag = media.ask(b"/media/pages/evil.html").field("etag").encode()
        answer = media.ask(b"/media/pages/evil.html", (b"If-None-Match", tag))
        assert answer.status == 304 and "sandbox" in answer.field("content-security-policy")

    def test_a_part_is_saved_and_sandboxed_like_the_whole(self, media):
        answer = media.ask(b"/media/pages/evil.html", (b"Range", b"bytes=0-1,3-4"))
        assert answer.status == 206 and answer.field("content-disposition") and answer.field("content-security-policy")

    def test_another_upload_is_never_taken_for_a_coding(self, media):
        media.write("pic.png.gz", b"g")
        answer = media.ask(b"/media/pic.png", (b"Accept-Encoding", b"gzip"))
        assert answer.body == b"png" and answer.field("vary") is None

    def test_no_link_leads_out_also_when_the_file_is_in_memory(self, media):
        secret = media.root.parent / "secret.png"
        secret.write_bytes(b"secret")
        (media.root / "link.png").symlink_to(secret)
        assert media.misses(b"/media/link.png")
        media.ask(b"/media/pic.png")
        (media.root / "pic.png").unlink()
        (media.root / "pic.png").symlink_to(secret)
        media.now.time += 1.0
        assert media.misses(b"/media/pic.png")

    def test_a_large_file_that_became_a_link_within_the_second_is_not_sent(self, media):
        media.write("film.mp4", LARGE)
        assert media.ask(b"/media/film.mp4").body == LARGE
        secret = media.root.parent / "secret.mp4"
        secret.write_bytes(LARGE)
        (media.root / "film.mp4").unlink()
        (media.root / "film.mp4").symlink_to(secret)
        assert media.misses(b"/media/film.mp4")

    def test_names_in_any_script_are_found(self, media):
        media.write("Größe 東京.png", b"x")
        assert media.ask("/media/Gr%C3%B6%C3%9Fe%20東京.png".encode()).body == b"x"


class TestFaults:
    def test_a_client_that_leaves_in_the_middle_closes_the_file(self, site):
        stream = FakeStream(hold_files=True)
        site.ask(b"/static/video.mp4", stream=stream)
        assert not stream.ended
        stream.leave()
        assert isinstance(stream.cut, ClientGone)

    def test_a_file_that_is_cut_while_it_is_sent_cuts_the_client(self, site):
        stream = FakeStream(hold_files=True)
        site.ask(b"/static/video.mp4", stream=stream)
        os.truncate(site.root / "video.mp4", 10)
        stream.release_file()
        assert isinstance(stream.cut, BackendCut) and not stream.ended and stream.body == LARGE[:10]

    def test_a_pipe_is_a_miss_and_does_not_wait(self, site, media):
        for place in (site, media):
            os.mkfifo(place.root / "pipe.css")
        assert site.misses(b"/static/pipe.css") and media.misses(b"/media/pipe.css")

    def test_a_file_that_changes_while_it_is_read_is_not_kept_in_memory(self, site, monkeypatch):
        path = site.root / "css/app.css"
        read = os.read

        def grow(descriptor, count):
            data = read(descriptor, count)
            with path.open("ab") as more:
                more.write(b"+")
            return data

        with monkeypatch.context() as patch:
            patch.setattr("duck.http.file_cache.os.read", grow)
            answer = site.ask(b"/static/css/app.css")
        assert answer.body == SMALL + b"+" and answer.head.content_length == len(SMALL) + 1

    def test_a_read_error_is_a_miss_with_a_log_line(self, site, monkeypatch, caplog):
        def fail(descriptor, count):
            raise OSError(5, "Input/output error")

        monkeypatch.setattr("duck.http.file_roots._told", set())
        with monkeypatch.context() as patch, caplog.at_level(logging.WARNING, "duck.files"):
            patch.setattr("duck.http.file_cache.os.read", fail)
            assert site.misses(b"/static/css/app.css")
        assert "Input/output error" in caplog.text
