"""The site of `wagtail start`: the newest Wagtail on Django 5.2 and Python 3.12."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import pytest

from tests.projects.recipes import ADMIN, Tool, make

if TYPE_CHECKING:
    from tests.projects.conftest import Serve
    from tests.projects.pair import Pair

pytestmark = pytest.mark.timeout(240)  # the first time an environment and a project are made
USER, PASSWORD = ADMIN["DJANGO_SUPERUSER_USERNAME"], ADMIN["DJANGO_SUPERUSER_PASSWORD"]


def wagtail(tool: Tool) -> None:
    tool.run("wagtail", "start", "mysite", ".")
    tool.migrate(settings="mysite/settings/base.py")


def png(width: int, height: int) -> bytes:
    """A picture in one colour (RFC 2083)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = (b"\0" + b"\x20\x80\xc0" * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def site(serve: Serve) -> Pair:
    # A set of model classes, which hash by their address.
    names = (r'"modelNames": \[[^]]*\]', '"modelNames": SET')
    # Whether models lack a migration is looked at in a spare: half as much work as all of these pages.
    return serve(make(wagtail, "3.12", "wagtail>=7", "Django>=5.2,<5.3"), normal=[names], spares=False)


def test_the_public_pages_search_and_what_is_not_there(site: Pair) -> None:
    visited = site.crawl("/", "/search/?query=%C3%A4+b%26c&page=2", "/nothing/", "/nothing", limit=40)
    assert len(visited) >= 5
    for target in ("/", "/static/css/mysite.css", "/search/", "/nothing/"):
        site.conditional(target)
    for target in ("/search//?query=x", "/search/?query=%FF%FE", "/%2e%2e/", "/search/?query=a;b&&=&q", "/a%20b/"):
        site.get(target)
    site.check()


def test_leading_slashes_are_kept_which_pythons_own_server_merges(site: Pair) -> None:
    """http.server makes one of them since 3.11.5, against redirects to `//host`; Django escapes those itself."""
    assert site.duck_alone("GET", "//").status == 404
    assert site.duck_alone("GET", "//evil.example/admin").field("Location") in (None, "/%2Fevil.example/admin/")
    assert site.duck_alone("GET", "//admin").status == 404
    site.check()


def test_the_editor_logs_in_and_sees_every_page_of_the_admin(site: Pair) -> None:
    site.get("/admin/")
    answer = site.submit("/admin/login/", username=USER, password="wrong")
    assert answer.status == 200
    answer = site.submit("/admin/login/?next=/admin/", username=USER, password=PASSWORD)
    assert answer.status == 302
    site.follow(answer)
    visited = site.crawl("/admin/", limit=60)
    assert len(visited) >= 40
    site.check()


def test_a_page_is_made_published_and_shown(site: Pair) -> None:
    answer = site.submit("/admin/pages/add/home/homepage/3/", title="Über Enten", slug="über-enten")
    assert answer.status in (200, 302), answer.text
    answer = site.submit(
        "/admin/pages/add/home/homepage/3/", title="Ducks", slug="ducks", **{"action-publish": "action-publish"}
    )
    assert answer.status == 302, answer.text
    site.follow(answer)
    assert site.get("/ducks/").status == 200
    assert site.get("/ducks").status == 301
    site.crawl("/ducks/", limit=10)
    site.check()


def test_pictures_and_documents_are_uploaded_shown_and_fetched(site: Pair) -> None:
    picture = png(400, 300)
    answer = site.submit(
        "/admin/images/add/", "title", files={"file": ("duck.png", "image/png", picture)}, title="Duck"
    )
    assert answer.status == 302, answer.text
    site.follow(answer)
    answer = site.get("/admin/images/1/")
    assert "/media/images/" in answer.text
    large = bytes(range(256)) * 16384
    answer = site.submit(
        "/admin/documents/add/", "title", files={"file": ("notes ä.pdf", "application/pdf", large)}, title="Notes"
    )
    assert answer.status == 302, answer.text
    listing = site.follow(answer)
    assert "/documents/1/" in listing.text
    site.crawl("/documents/1/", "/media/original_images/duck.png", "/admin/images/", limit=30)
    site.conditional("/media/original_images/duck.png")
    site.check()
