"""When uploaded files may be served without Django: every reason against it, on a real project."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.backend.conftest import MakeProject, MakeWorker

MEDIA = "MEDIA_URL = '/media/'\nMEDIA_ROOT = BASE_DIR / 'media'\n"
URLS = """
from django.conf import settings
from django.conf.urls.static import static
from django.http import HttpResponse
from django.urls import include, path, re_path
from django.views import View
def view(request, **kwargs):
    return HttpResponse("view")
urlpatterns = [{patterns}]
"""


@pytest.mark.parametrize(
    ("settings", "patterns", "why"),
    [
        (MEDIA, "", ""),
        (MEDIA, "*static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT)", ""),
        (MEDIA, "path('pages/<path:p>', view)", ""),
        (MEDIA, "re_path(r'^((?:[\\w\\-]+/)*)$', view)", ""),  # Wagtail's pages
        ("", "", "MEDIA_ROOT is not set"),
        ("MEDIA_ROOT = BASE_DIR / 'media'", "", "MEDIA_URL is '/'"),
        (MEDIA + "MEDIA_URL = 'https://cdn.example.org/'", "", "no path of this server"),
        (MEDIA + "MEDIA_ROOT = BASE_DIR", "", "manage.py"),
        (MEDIA + "MEDIA_ROOT = BASE_DIR / 'mysite'", "", "the settings"),
        (MEDIA + "DATABASES['default']['NAME'] = MEDIA_ROOT / 'db.sqlite3'", "", "a database"),
        (MEDIA + "STORAGES = {'default': {'BACKEND': 'django.core.files.storage.InMemoryStorage'},"
         " 'staticfiles': {'BACKEND': 'django.contrib.staticfiles.storage.StaticFilesStorage'}}", "", "not the file"),
        (MEDIA + "STORAGES = {'default': {'BACKEND': 'django.core.files.storage.FileSystemStorage',"
         " 'OPTIONS': {'location': '/elsewhere'}},"
         " 'staticfiles': {'BACKEND': 'django.contrib.staticfiles.storage.StaticFilesStorage'}}", "", "elsewhere"),
        (MEDIA, "path('media/<path:p>', view)", "A view of the project answers there: mysite.urls.view"),
        (MEDIA, "re_path(r'^media/private/(?P<p>.*)$', view)", "A view of the project"),
        (MEDIA, "path('media/', include([path('private/<int:p>', view)]))", "A view of the project"),
        (MEDIA, "re_path(r'^(?P<p>.*)$', view)", "A view of the project"),
        (MEDIA, "path('media/one', type('V', (View,), {}).as_view())", "A view of the project"),
    ],
)  # fmt: skip
def test_media_are_served_only_where_nothing_of_the_project_decides(
    make_project: MakeProject, make_worker: MakeWorker, settings: str, patterns: str, why: str
) -> None:
    project = make_project(urls=URLS.format(patterns=patterns), settings=settings)
    (project / "media").mkdir()
    media = make_worker(project).wait_ready().ready["media"]
    assert media["served"] is (why == ""), media
    assert why in media["why"]
