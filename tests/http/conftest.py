"""Directories of static and media files."""

import os

import pytest

from duck.http.files import MediaFiles, StaticFiles
from tests.http.file_site import LARGE, SMALL, Site


@pytest.fixture
def no_descriptor_is_left():
    """Every descriptor that a test opens is closed at its end."""
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    yield
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before


@pytest.fixture
def site(tmp_path, no_descriptor_is_left):
    """A STATIC_ROOT with a small and a large file."""
    root = tmp_path / "static"
    root.mkdir()
    site = Site(root, lambda s: StaticFiles("/static/", s.django, root=str(root), now=s.now))
    site.write("css/app.css", SMALL)
    site.write("video.mp4", LARGE)
    return site


@pytest.fixture
def media(tmp_path, no_descriptor_is_left):
    """A MEDIA_ROOT with a picture and a page."""
    root = tmp_path / "media"
    root.mkdir()
    site = Site(root, lambda s: MediaFiles("/media/", str(root), s.django, now=s.now))
    site.write("pic.png", b"png")
    site.write("pages/evil.html", b"<script>")
    return site
