"""Routes and sides."""

import uuid

import pytest

from duck.exceptions import SettingsError
from duck.http.routing import Match, NotAllowed, Resolver, Sides, include, match_path, path, re_path


def view(request):
    return "view"


def other(request):
    return "other"


def resolve(route, at, **more):
    return Resolver([path(route, view, **more)]).resolve(at)


@pytest.mark.parametrize(
    ("route", "at", "kwargs"),
    [
        ("", "/", {}),
        ("/", "/", {}),
        ("about/", "/about/", {}),
        ("/about/", "/about/", {}),
        ("<int:year>/", "/2024/", {"year": 2024}),
        ("<name>/x", "/Ente/x", {"name": "Ente"}),
        ("<str:name>", "/été", {"name": "été"}),
        ("<slug:s>", "/a-b_1", {"s": "a-b_1"}),
        ("files/<path:rest>", "/files/a/b/c.txt", {"rest": "a/b/c.txt"}),
        (
            "<uuid:key>",
            "/075194d3-6885-417e-a8a8-6c931e272f00",
            {"key": uuid.UUID("075194d3-6885-417e-a8a8-6c931e272f00")},
        ),
        ("<int:a>-<int:b>", "/1-2", {"a": 1, "b": 2}),
        ("a.b", "/a.b", {}),
    ],
)
def test_paths_that_match(route, at, kwargs):
    match = resolve(route, at)
    assert isinstance(match, Match)
    assert (match.view, match.kwargs) == (view, kwargs)


@pytest.mark.parametrize(
    ("route", "at"),
    [
        ("about/", "/about"),
        ("about", "/about/"),
        ("about", "/xabout"),
        ("<int:year>/", "/-1/"),
        ("<int:year>/", "/٣/"),
        ("<str:name>", "/a/b"),
        ("<str:name>", "/"),
        ("a.b", "/axb"),
        ("about", "/about\n"),
        ("<slug:s>", "/a b"),
    ],
)
def test_paths_that_do_not_match(route, at):
    assert resolve(route, at) is None


def test_the_first_route_that_matches_counts():
    resolver = Resolver([path("a/<str:x>", view), path("a/b", other)])
    assert resolver.resolve("/a/b").view is view


def test_included_routes_lie_below_their_prefix_and_get_its_parameters():
    inner = [path("", other, name="home"), path("<slug:page>/", view, name="page")]
    resolver = Resolver([path("shop/<int:shop>/", include(inner)), path("", view)])
    assert resolver.resolve("/shop/7/").kwargs == {"shop": 7}
    assert resolver.resolve("/shop/7/x/").kwargs == {"shop": 7, "page": "x"}
    assert resolver.resolve("/shop/") is None


def test_regular_expressions_give_named_groups_or_else_all_groups():
    resolver = Resolver([re_path(r"^year/(?P<year>\d+)$", view), re_path(r"^(\d+)/(\d+)/", other)])
    assert resolver.resolve("/year/12").kwargs == {"year": "12"}
    assert resolver.resolve("/year/12x") is None
    assert resolver.resolve("/1/2/and/more").args == ("1", "2")


def test_a_method_that_no_route_answers_is_told_from_a_path_that_is_not_there():
    resolver = Resolver([path("a", view, methods=["get"]), path("a", other, methods=["POST"])])
    assert resolver.resolve("/a", "POST").view is other
    assert resolver.resolve("/a", "HEAD").view is view
    refusal = resolver.resolve("/a", "DELETE")
    assert isinstance(refusal, NotAllowed)
    assert refusal.methods == {"GET", "HEAD", "POST"}
    assert resolver.resolve("/b", "DELETE") is None
    assert resolver.owns("/a")


def test_a_path_is_built_from_a_name():
    resolver = Resolver([path("a/<int:n>/", include([path("<path:p>", view, name="x")])), re_path("r", view, name="r")])
    assert resolver.reverse("x", n=1, p="é/b c") == "/a/1/%C3%A9/b%20c"
    for wrong in ({"n": 1}, {"n": "x", "p": "y"}, {"n": 1, "p": "y", "z": 1}):
        with pytest.raises(LookupError):
            resolver.reverse("x", **wrong)
    for name in ("missing", "r"):
        with pytest.raises(LookupError):
            resolver.reverse(name)


@pytest.mark.parametrize("route", ["<nope:x>", "<int:>", "<a-b>", "<int:x>/<int:x>", "<:x>"])
def test_a_route_that_cannot_be_is_named_when_it_is_made(route):
    with pytest.raises(SettingsError, match="route"):
        path(route, view)


def test_an_expression_that_is_none_is_named():
    with pytest.raises(SettingsError, match="regular expression"):
        re_path("(", view)
    with pytest.raises(SettingsError, match="DJANGO_SIDE_URLS"):
        Sides(Resolver(), django=["["])


def test_the_same_parameter_above_and_below_is_named():
    with pytest.raises(SettingsError, match="put together"):
        Resolver([path("<int:x>/", include([path("<int:x>/", view)]))])


@pytest.mark.parametrize(
    ("raw", "routed"),
    [
        (b"/", "/"),
        (b"/a%20b", "/a b"),
        (b"/%C3%A9", "/é"),
        (b"/%ff", "/�"),
        (b"/%2561", "/%61"),
        (b"/a%2Fb", "/a/b"),
        (b"/a/../b", "/b"),
        (b"/a/%2e%2e/admin", "/admin"),
        (b"/a/%2E./b", "/b"),
        (b"/./a/.", "/a/"),
        (b"/a/b/..", "/a/"),
        (b"/../../x", "/x"),
        (b"//a", "//a"),
        (b"/a/.b/..c", "/a/.b/..c"),
        (b"/a/...", "/a/..."),
    ],
)
def test_a_path_is_decoded_once_and_its_dot_segments_resolved(raw, routed):
    assert match_path(raw) == routed


class TestSides:
    def sides(self, **more):
        return Sides(Resolver([path("", view), path("shop/<path:rest>", view)]), **more)

    def test_what_urlpatterns_match_is_ducks_and_the_rest_is_djangos(self):
        sides = self.sides()
        assert [sides.decide(at) for at in ("/", "/shop/x", "/admin/", "/shop")] == ["duck", "duck", "django", "django"]

    def test_explicit_urls_are_ducks_even_where_no_view_is(self):
        assert self.sides(explicit=["/api/.*"]).decide("/api/x") == "duck"

    def test_django_side_urls_win(self):
        sides = self.sides(explicit=[".*"], django=["/shop/admin.*"])
        assert sides.decide("/shop/admin/x") == "django"
        assert sides.decide("/anything") == "duck"

    def test_an_expression_matches_the_whole_path(self):
        assert self.sides(django=["/shop/a"]).decide("/shop/ab") == "duck"

    def test_a_path_in_disguise_is_on_the_side_of_what_it_means(self):
        sides = self.sides(explicit=["/pub/.*"], django=["/admin/.*"])
        assert sides.decide(match_path(b"/pub/%2e%2e/admin/x")) == "django"
        assert sides.decide(match_path(b"/%61dmin/x")) == "django"

    def test_without_django_everything_is_ducks(self):
        assert self.sides(use_django=False, django=[".*"]).decide("/admin/") == "duck"
