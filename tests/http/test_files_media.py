"""Media files: made by strangers."""

import pytest

from tests.http.file_site import LARGE


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
