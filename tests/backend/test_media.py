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
from django.contrib.auth.decorators import login_required
from django.http import HttpResponse
from django.urls import include, path, re_path
from django.views import View
from django.views.static import serve
class BasicAuthMiddleware:
    def __init__(self, get_response):
        self.get_response = get_response
    def __call__(self, request):
        return self.get_response(request)
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
        (MEDIA + "STORAGES = {'default': {'BACKEND': 'django.core.files.storage.FileSystemStorage',"
         " 'OPTIONS': {'base_url': '/signed/'}},"
         " 'staticfiles': {'BACKEND': 'django.contrib.staticfiles.storage.StaticFilesStorage'}}", "", "/signed/a.jpg"),
        (MEDIA + "SENDFILE_ROOT = str(MEDIA_ROOT / 'private')", "", "holds SENDFILE_ROOT"),
        (MEDIA, "path('media/<path:p>', view)", "A view of the project answers there: mysite.urls.view"),
        (MEDIA, "re_path(r'^media/private/(?P<p>.*)$', view)", "A view of the project"),
        (MEDIA, "path('media/', include([path('private/<int:p>', view)]))", "A view of the project"),
        (MEDIA, "re_path(r'^(?P<p>.*)$', view)", "A view of the project"),
        (MEDIA, "re_path(r'^media/(?P<path>.*)$', login_required(serve), {'document_root': settings.MEDIA_ROOT})",
         "A view of the project answers there: django.views.static.serve"),
        (MEDIA, "*static('/media/', document_root='/elsewhere')", "The project serves '/elsewhere' there"),
        (MEDIA, "*static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),"
         " *static('/media/private/', document_root='/elsewhere')", "'/elsewhere' at '/media/private/'"),
        (MEDIA + "MIDDLEWARE += ['mysite.urls.BasicAuthMiddleware']",
         "*static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT)", "mysite.urls.BasicAuthMiddleware decides"),
        (MEDIA + "FORCE_SCRIPT_NAME = '/app'\nMEDIA_URL = 'media/'", "path('media/<path:p>', view)", "A view of the"),
        (MEDIA, "path('media/one', type('V', (View,), {}).as_view())", "A view of the project"),
    ],
)  # fmt: skip
def test_media_are_served_only_where_nothing_of_the_project_decides(
    make_project: MakeProject, make_warm_worker: MakeWorker, settings: str, patterns: str, why: str
) -> None:
    project = make_project(urls=URLS.format(patterns=patterns), settings=settings)
    (project / "media").mkdir()
    media = make_warm_worker(project).wait_ready().ready["media"]
    assert media["served"] is (why == ""), media
    assert why in media["why"]
