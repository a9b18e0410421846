"""What is said at the start."""

from __future__ import annotations

from duck.app.banner import BannerFacts, banner, ready_line


def test_a_django_project_that_is_still_loading() -> None:
    text = banner(
        BannerFacts(
            version="1.0",
            addresses=["http://localhost:8000", "http://127.0.0.1:8001", "unix:/run/x.sock"],
            django="starting",
            project="/srv/site",
            settings_module="site.settings",
            python="/srv/site/.venv/bin/python",
            python_origin="/srv/site/.venv",
            python_version="3.12.1",
            django_version="5.2",
            reload="on changes",
            processes=[("Duck", 10), ("Django", 11)],
            warnings=["DUCK_PROT is no setting."],
        )
    )
    assert text.splitlines() == [
        "Duck 1.0 listens at http://localhost:8000/",
        "                    http://127.0.0.1:8001/",
        "                    unix:/run/x.sock",
        "  Django     all URLs; Django 5.2 is loading /srv/site with site.settings",
        "  Python     /srv/site/.venv/bin/python 3.12.1 (/srv/site/.venv)",
        "  Reload     on changes",
        "  Processes  Duck 10, Django 11",
        "  Stop       Ctrl-C here, or `duck stop` from elsewhere",
        "Warning: DUCK_PROT is no setting.",
    ]


def test_the_prefix_is_part_of_the_address() -> None:
    assert banner(BannerFacts("1.0", ["http://localhost:8000"], prefix="/app")).startswith(
        "Duck 1.0 listens at http://localhost:8000/app/\n"
    )


def test_a_server_that_runs_already_is_named_and_nothing_else_claimed() -> None:
    text = banner(BannerFacts("1.0", ["http://localhost:8000"], django="127.0.0.1:9000"))
    assert "all URLs go to 127.0.0.1:9000, which Duck neither starts nor stops" in text
    assert "Python" not in text
    assert "loading" not in text


def test_without_django_only_ducks_side_is_named() -> None:
    text = banner(BannerFacts("1.0", ["http://localhost:8000"], duck_side="its own urlpatterns"))
    assert "Duck  its own urlpatterns" in text
    assert "Django" not in text


def test_the_ready_line_says_what_the_project_reported() -> None:
    facts = {
        "django": "5.2",
        "settings": "site.settings",
        "debug": True,
        "static": {"installed": True, "url": "/static/", "finders": True, "root": None},
        "media": {"url": "/media/", "root": "/m", "served": True},
        "sockets_wanted": True,
        "asgi_server": "uvicorn 0.30",
    }
    assert ready_line(facts, 0.84, [11, 12]) == (
        "Django 5.2 is ready after 0.8 s in processes 11 and 12: site.settings, DEBUG on, "
        "static /static/ from finders, media /media/ from /m, WebSockets by uvicorn 0.30"
    )


def test_the_ready_line_of_a_bare_project_claims_nothing() -> None:
    assert ready_line({"django": "4.2", "settings": "s"}, 2.0) == "Django 4.2 is ready after 2.0 s: s"


def test_the_ready_line_says_why_there_are_no_static_files() -> None:
    static = {"installed": True, "url": "/static/", "finders": True, "root": "/s", "collected": True}

    def line(**changes: object) -> str:
        return ready_line({"django": "5.2", "settings": "s", "debug": False, "static": {**static, **changes}}, 1.0)

    assert line().endswith(": s, static /static/ from /s")
    assert line(collected=False).endswith("no static files at /static/ until `manage.py collectstatic` has made /s")
    assert line(root=None).endswith("no static files at /static/ (DEBUG is off and STATIC_ROOT is not set)")
