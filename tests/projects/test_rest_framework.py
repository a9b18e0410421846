"""A Django REST framework project as its quickstart builds one: a router over users and groups, the browsable API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.projects.recipes import ADMIN, Tool, make

if TYPE_CHECKING:
    from tests.projects.conftest import Serve
    from tests.projects.pair import Pair

pytestmark = pytest.mark.timeout(240)  # the first time an environment and a project are made
USER, PASSWORD = ADMIN["DJANGO_SUPERUSER_USERNAME"], ADMIN["DJANGO_SUPERUSER_PASSWORD"]
JSON = ("Content-Type", "application/json")
BASIC = ("Authorization", "Basic YWRtaW46YS1EdWNrLWluLWEtcG9uZC05")

VIEWS = """
from django.contrib.auth.models import Group, User
from rest_framework import response, serializers, throttling, views, viewsets


class UserSerializer(serializers.HyperlinkedModelSerializer):
    class Meta:
        model = User
        fields = ["url", "username", "email", "groups"]


class GroupSerializer(serializers.HyperlinkedModelSerializer):
    class Meta:
        model = Group
        fields = ["url", "name"]


class UserViewSet(viewsets.ModelViewSet):
    queryset = User.objects.order_by("id")
    serializer_class = UserSerializer


class OpenView(views.APIView):
    permission_classes = []
    throttle_classes = [throttling.AnonRateThrottle]

    def get(self, request):
        return response.Response({"address": request.META["REMOTE_ADDR"], "url": request.build_absolute_uri()})


class GroupViewSet(viewsets.ModelViewSet):
    queryset = Group.objects.order_by("name")
    serializer_class = GroupSerializer
"""
URLS = """
from django.urls import include
from rest_framework import routers
from rest_framework.authtoken.views import obtain_auth_token

from quickstart import views

router = routers.DefaultRouter()
router.register("users", views.UserViewSet)
router.register("groups", views.GroupViewSet)
urlpatterns += [
    path("token/", obtain_auth_token),
    path("open/", views.OpenView.as_view()),
    path("api-auth/", include("rest_framework.urls", namespace="rest_framework")),
    path("", include(router.urls)),
]
"""
SETTINGS = """
REST_FRAMEWORK = {
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PAGINATION_CLASS": "rest_framework.pagination.PageNumberPagination",
    "DEFAULT_THROTTLE_RATES": {"anon": "3/day"},
    "PAGE_SIZE": 3,
}
"""


def quickstart(tool: Tool) -> None:
    tool.startproject("mysite", ".")
    tool.manage("startapp", "quickstart")
    tool.install("rest_framework", "rest_framework.authtoken")
    tool.append("mysite/settings.py", SETTINGS)
    tool.write("quickstart/views.py", VIEWS)
    tool.append("mysite/urls.py", URLS)
    tool.migrate()


@pytest.fixture(scope="module")
def site(serve: Serve) -> Pair:
    token = (r'(?<="token":")\w+', "TOKEN")
    throttled = (r"(?<=in )\d+(?= seconds)|(?<=^)8\d{4}$", "SECONDS")
    return serve(make(quickstart, "3.12", "djangorestframework", "Django>=5.2,<5.3"), normal=[token, throttled])


def test_who_is_not_logged_in_is_refused_and_slowed_down(site: Pair) -> None:
    site.fresh()
    body = b'{"username": "nobody", "password": "x"}'
    for _ in range(10):
        site.get("/users/?format=json")
        site.ask("POST", "/token/", [JSON], body)
    # Counted by REMOTE_ADDR, which what a client says of itself does not change.
    spoofed = ("X-Real-IP", "1.2.3.4")
    assert site.ask("GET", "/open/", [spoofed]).status == 200
    assert [site.ask("GET", "/open/", [spoofed]).status for _ in range(4)] == [200, 200, 429, 429]
    site.ask("POST", "/groups/", [JSON, BASIC], b'{"name": "\xc3\x84"}')
    site.check()


def test_the_interface_for_programs(site: Pair) -> None:
    site.fresh()
    answer = site.ask("POST", "/token/", [JSON], json.dumps({"username": USER, "password": PASSWORD}).encode())
    assert "token" in answer.text
    assert "http://localhost:8000/users/" in site.get("/", BASIC, ("Accept", "application/json")).text
    for name in ("A", "B", "C", "D", "Ä/ö"):
        answer = site.ask("POST", "/groups/", [JSON, BASIC], json.dumps({"name": name}).encode())
        assert answer.status == 201
        assert (answer.field("Location") or "").startswith("http://localhost:8000/groups/")
    listing = site.get("/groups/?format=json", BASIC).text
    assert '"next":"http://localhost:8000/groups/?format=json&page=2"' in listing
    site.get("/groups/?page=2&format=json&x=%C3%A4", BASIC)
    assert site.ask("PATCH", "/groups/2/", [JSON, BASIC], b'{"name": "E"}').status == 200
    assert site.ask("PUT", "/groups/2/", [JSON, BASIC], b'{"name": ""}').status == 400
    assert site.ask("DELETE", "/groups/3/", [BASIC]).status == 204
    assert site.ask("OPTIONS", "/groups/", [BASIC]).status == 200
    assert site.ask("POST", "/groups/", [JSON, BASIC], b'{"name": ').status == 400
    assert site.ask("POST", "/groups/", [("Content-Type", "text/csv"), BASIC], b"name").status == 415
    assert site.ask("TRACE", "/groups/", [BASIC]).status == 405
    assert site.get("/groups/", BASIC, ("Accept", "image/png")).status == 406
    assert site.ask("HEAD", "/users/", [BASIC]).status == 200
    assert site.get("/users/1", BASIC).status == 301
    site.check()


def test_the_browsable_interface(site: Pair) -> None:
    site.fresh()
    answer = site.submit("/api-auth/login/?next=/users/", username=USER, password=PASSWORD)
    assert answer.status == 302
    site.follow(answer)
    html = ("Accept", "text/html")
    for target in ("/", "/users/", "/users/1/", "/groups/?page=1", "/groups/1/"):
        assert site.get(target, html).is_page
    site.crawl("/users/", "/groups/", limit=25)
    answer = site.submit("/groups/", "name", fields=[html], shown=[html], name="By form")
    assert answer.status == 201
    site.check()
