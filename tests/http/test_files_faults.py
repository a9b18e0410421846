"""Files that change, break or are left alone while they are answered."""

import logging
import os

from duck.exceptions import BackendCut, ClientGone
from duck.testing import FakeStream
from tests.http.file_site import LARGE, SMALL


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
