"""The lane, compiled from settings; what is wrong in them is named."""

import sys
import types

import pytest

from duck.exceptions import SettingsError
from duck.http.core.lane import Lane, load_urlpatterns
from duck.http.routing import path


@pytest.fixture
def module():
    made = types.ModuleType("pond_urls")
    sys.modules["pond_urls"] = made
    yield made
    del sys.modules["pond_urls"]


def test_routes_come_from_a_module_or_a_list_or_are_none(module):
    module.urlpatterns = [path("a", print)]
    assert load_urlpatterns({"URLPATTERNS_MODULE": "pond_urls"}) is module.urlpatterns
    assert load_urlpatterns({"URLPATTERNS_MODULE": "pond_urls", "URLPATTERNS": []}) == []
    assert len(Lane({}).resolver) == 0


def test_a_module_that_is_not_there_or_has_no_routes_is_named(module):
    for name in ("pond_urls", "no_such_pond", "no_such_pond.urls"):
        with pytest.raises(SettingsError, match=name.split(".")[0]):
            load_urlpatterns({"URLPATTERNS_MODULE": name})


def test_a_module_that_fails_tells_its_own_failure(tmp_path, monkeypatch):
    (tmp_path / "broken_pond.py").write_text("import not_installed_anywhere")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        load_urlpatterns({"URLPATTERNS_MODULE": "broken_pond"})


def test_sides_and_chains_follow_the_settings():
    lane = Lane(
        {
            "URLPATTERNS": [path("mine", print)],
            "USE_DJANGO": True,
            "DJANGO_SIDE_URLS": ["/mine"],
            "MIDDLEWARES": ["duck.http.middleware.Middleware"],
            "DJANGO_SIDE_URLS_SKIP_MIDDLEWARES": True,
        }
    )
    assert lane.sides.decide("/mine") == "django"
    assert (len(lane.own), len(lane.proxied), len(lane.hosts)) == (1, 0, 1)
