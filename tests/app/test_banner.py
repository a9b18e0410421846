"""What is said at the start."""

from __future__ import annotations

import re

import pytest

from duck.app.banner import BannerFacts, banner, ready_line, refused_in_network


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
            network=["http://192.168.1.7:8000"],
            https="off; --https serves it",
            requests="http://localhost:8000/.duck/requests?token=x",
            keys=True,
            warnings=["DUCK_PROT is no setting."],
        )
    )
    assert text.splitlines() == [
        "Duck 1.0 listens at http://localhost:8000/",
        "                    http://127.0.0.1:8001/",
        "                    unix:/run/x.sock",
        "  Network    http://192.168.1.7:8000/",
        "  HTTPS      off; --https serves it",
        "  Django     all URLs; Django 5.2 is loading /srv/site with site.settings",
        "  Python     /srv/site/.venv/bin/python 3.12.1 (/srv/site/.venv)",
        "  Reload     on changes",
        "  Requests   http://localhost:8000/.duck/requests?token=x",
        "  Processes  Duck 10, Django 11",
        "  Keys       r reload, o open, m migrate, c clear, h help, q quit",
        "  Stop       Ctrl-C here, or `duck stop` from elsewhere",
        "Warning: DUCK_PROT is no setting.",
    ]


def test_colours_change_nothing_but_colours() -> None:
    facts = BannerFacts("1.0", ["http://localhost:8000"], django="127.0.0.1:9000", network=[], warnings=["Hm."])
    coloured = banner(facts, colour=True)
    assert "\x1b[36mhttp://localhost:8000/\x1b[0m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == banner(facts)
    assert "Network  this machine is in none that others could reach it by" in banner(facts)


@pytest.mark.parametrize(
    ("allowed", "refused"),
    [
        ([], ["192.168.1.7", "10.0.0.2"]),
        (["localhost", "10.0.0.2"], ["192.168.1.7"]),
        (["*"], []),
        (["192.168.1.7", "10.0.0.2"], []),
    ],
)
def test_addresses_that_django_refuses_are_told_in_one_sentence(allowed: list[str], refused: list[str]) -> None:
    facts = {"allowed_hosts": allowed, "settings": "site.settings", "debug": True}
    sentence = refused_in_network(facts, ["192.168.1.7", "10.0.0.2"])
    assert bool(sentence) is bool(refused)
    if refused:
        assert f"answered 400 at {' and '.join(refused)}, since ALLOWED_HOSTS in site.settings" in sentence
        assert sentence.count(". ") == 0 and sentence.endswith(".")


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
        "Django 5.2 is ready after 840 ms in processes 11 and 12: site.settings, DEBUG on, "
        "static /static/ from finders, media /media/ from /m, WebSockets by uvicorn 0.30"
    )


def test_the_ready_line_of_a_bare_project_claims_nothing() -> None:
    assert ready_line({"django": "4.2", "settings": "s"}, 2.0) == "Django 4.2 is ready after 2000 ms: s"
    assert ready_line({"django": "4.2", "settings": "s"}, 12.34) == "Django 4.2 is ready after 12.3 s: s"


def test_the_ready_line_says_why_there_are_no_static_files() -> None:
    static = {"installed": True, "url": "/static/", "finders": True, "root": "/s", "collected": True}

    def line(**changes: object) -> str:
        return ready_line({"django": "5.2", "settings": "s", "debug": False, "static": {**static, **changes}}, 1.0)

    assert line().endswith(": s, static /static/ from /s")
    assert line(collected=False).endswith("no static files at /static/ until `manage.py collectstatic` has made /s")
    assert line(root=None).endswith("no static files at /static/ (DEBUG is off and STATIC_ROOT is not set)")
