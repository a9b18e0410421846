"""What `startproject` makes: on Django 4.2 with Python 3.10, and on Django 6.0 with Python 3.13."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.projects.browser import HOST
from tests.projects.recipes import ADMIN, Tool, make

if TYPE_CHECKING:
    from tests.projects.conftest import Serve
    from tests.projects.pair import Pair

pytestmark = pytest.mark.timeout(240)  # the first time an environment and a project are made
USER, PASSWORD = ADMIN["DJANGO_SUPERUSER_USERNAME"], ADMIN["DJANGO_SUPERUSER_PASSWORD"]

# The one thing written here: what a view sees of its request.
SEEN = """

from django.http import JsonResponse, StreamingHttpResponse
from django.views.decorators.csrf import csrf_exempt

ADDED = {"HTTP_X_FORWARDED_FOR", "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PROTO", "HTTP_FORWARDED", "HTTP_VIA"} | {
    "HTTP_X_REQUEST_ID"  # as the access log has it
}


@csrf_exempt
def seen(request, rest=""):
    names = ("REMOTE_ADDR", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "REQUEST_METHOD",
             "CONTENT_TYPE", "CONTENT_LENGTH", "wsgi.url_scheme", "SERVER_PROTOCOL")
    return JsonResponse({
        "is_secure": request.is_secure(), "host": request.get_host(),
        "uri": request.build_absolute_uri(), "other": request.build_absolute_uri("x?y"), "path": request.path,
        "rest": rest, "query": request.GET.lists() and list(map(list, request.GET.lists())),
        "cookies": request.COOKIES, "body": request.body.decode("latin-1"),
        "fields": {k: v for k, v in sorted(request.META.items()) if k.startswith("HTTP_") and k not in ADDED},
        # wsgiref says "" where Duck, as other servers, says nothing.
        "meta": {name: request.META.get(name) or None for name in names},
    })


def stream(request):
    return StreamingHttpResponse(b"%d\\n" % number for number in range(20000))


urlpatterns += [path("seen/", seen), path("seen/<path:rest>", seen), path("stream/", stream)]
"""


def plain(tool: Tool) -> None:
    tool.startproject("mysite", ".")
    tool.migrate()
    tool.append("mysite/urls.py", SEEN)


@pytest.fixture(
    scope="module", params=[("3.10", "Django==4.2.*"), ("3.13", "Django==6.0.*")], ids=lambda given: given[1]
)
def site(serve: Serve, request: pytest.FixtureRequest) -> Pair:
    # wsgiref says so where the client says nothing; Duck, as other servers, leaves it out.
    untyped = (r'"CONTENT_TYPE": "text/plain"', '"CONTENT_TYPE": null')
    return serve(make(plain, *request.param), normal=[untyped])


def test_the_admin_is_the_same(site: Pair) -> None:
    site.fresh()
    site.get("/")
    site.follow(site.get("/admin/"))
    assert site.submit("/admin/login/", username=USER, password="wrong").status == 200
    site.follow(site.submit("/admin/login/?next=/admin/", username=USER, password=PASSWORD))
    assert "Site administration" in site.get("/admin/").text
    answer = site.submit("/admin/auth/group/add/", name="Würfel & Co")
    assert answer.status == 302
    site.follow(answer)
    answer = site.submit(
        "/admin/auth/user/add/", username="ente", password1="a-Pond-to-swim-7", password2="a-Pond-to-swim-7"
    )
    assert answer.status == 302
    site.follow(answer)
    site.crawl("/admin/", limit=40)
    assert site.submit("/admin/auth/group/1/delete/", post="yes").status == 302
    site.crawl("/admin/password_change/", "/admin/jsi18n/", limit=4)
    site.check()


def test_a_form_without_its_token_or_from_elsewhere_is_refused(site: Pair) -> None:
    site.fresh()
    body = b"username=x&password=y"
    kind = ("Content-Type", "application/x-www-form-urlencoded")
    assert site.ask("POST", "/admin/login/", [kind], body).status == 403
    assert site.ask("POST", "/admin/login/", [kind, ("Origin", "http://elsewhere.example")], body).status == 403
    answer = site.submit("/admin/login/", fields=[("X-Requested-With", "XMLHttpRequest")], username="x", password="y")
    assert answer.status in (200, 302)
    site.check()


@pytest.mark.parametrize(
    "target",
    [
        "/seen/",
        "/seen/?",
        "/seen/?a=1&a=2&b=%C3%A4&c=%FF&d=+&e=%2B&;f&&=g",
        "/seen/?x=%00%0a",
        "/seen/?q=a?b#c"[:-2],
        "/seen/a%20b/%2F/c//d/./e",
        "/seen/%C3%A4/%FF/%E2%82",
        "/seen/a;b=c/@:!$&'()*+,=~-._",
        "/seen/..%2f..%2fetc/passwd",
        "/seen/%",
        "/seen/%zz",
        '/seen/<>|^`{}"[]\\',
        "/seen?x=1",
        "/nothing",
        "/" + "x" * 4000,
    ],
)
def test_a_view_sees_the_same_target(site: Pair, target: str) -> None:
    site.fresh()
    site.ask("GET", target)
    site.ask("HEAD", target)
    site.check()


@pytest.mark.parametrize(
    "target",
    [
        "/static/",
        "/static/nothing.css",
        "/static/admin",
        "/static/admin/css/base.css%00",
        "/static/%2e%2e/%2e%2e/manage.py",
        "/static/%2e%2e/mysite/settings.py",
    ],
)
def test_what_is_no_static_file_is_not_found_either(site: Pair, target: str) -> None:
    """The page is the project's own 404; runserver's is the one of its file server, or 500 for what leaves the root."""
    assert site.straight_alone("GET", target).status in (404, 500)
    assert site.duck_alone("GET", target).status == 404


@pytest.mark.parametrize(
    "fields",
    [
        [("Cookie", 'a=1; b="two"; c; =d; e=%3D')],
        [("X-Forwarded-Proto", "https"), ("X-Forwarded-For", "1.2.3.4"), ("X-Forwarded-Host", "evil.example")],
        [("Forwarded", "for=1.2.3.4;proto=https")],
        [("X-Two", "one"), ("X-Two", "two")],
        [("X_Underscore", "dropped by both")],
        [("Accept-Language", "de, en;q=0.5"), ("Accept-Encoding", "gzip, br")],
        [("Authorization", "Basic YTpi"), ("Range", "bytes=0-1"), ("If-None-Match", '"x"')],
        [("X-Latin", "caf\xe9")],
        [("Host", "127.0.0.1")],
        [("Host", "[::1]:8000")],
        [("Host", "LOCALHOST.:8000")],
    ],
    ids=lambda fields: fields[0][0] + "=" + fields[0][1].encode("ascii", "replace").decode(),
)
def test_a_view_sees_the_same_fields(site: Pair, fields: list[tuple[str, str]]) -> None:
    site.fresh()
    site.ask("GET", "/seen/", fields)
    site.check()


def test_a_host_that_is_not_allowed_is_refused_by_django(site: Pair) -> None:
    """The page shows the stack, in which runserver's own file server is one frame more."""
    for answer in (site.straight_alone, site.duck_alone):
        refused = answer("GET", "/seen/", [("Host", "elsewhere.example")])
        assert refused.status == 400
        assert "Invalid HTTP_HOST header: &#x27;elsewhere.example&#x27;" in refused.text


def test_the_field_proxy_reaches_no_view(site: Pair) -> None:
    """It would become HTTP_PROXY, which clients of other servers take for their setting."""
    assert "evil.example" not in site.duck_alone("GET", "/seen/", [("Proxy", "http://evil.example")]).text


def test_a_view_sees_the_client_the_host_and_the_scheme(site: Pair) -> None:
    answer = site.get("/seen/")
    assert '"is_secure": false' in answer.text
    assert f'"uri": "http://{HOST}/seen/"' in answer.text
    assert '"REMOTE_ADDR": "127.0.0.1"' in answer.text
    site.check()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
def test_methods_and_bodies_arrive(site: Pair, method: str) -> None:
    site.fresh()
    for body in (None, b"", b"x", bytes(range(256)) * 4096):
        site.ask(method, "/seen/", [("Content-Type", "application/octet-stream")], body)
    site.check()


def test_streams_files_and_conditions(site: Pair) -> None:
    assert len(site.get("/stream/").body) == sum(len(b"%d\n" % number) for number in range(20000))
    for target in ("/static/admin/css/base.css", "/static/admin/img/icon-yes.svg", "/stream/", "/"):
        site.conditional(target)
    site.check()
