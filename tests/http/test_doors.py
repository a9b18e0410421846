"""The names that a Duck project imports."""

import json

import pytest

import duck.shortcuts
import duck.urls
import duck.views
from duck.exceptions import HttpError
from duck.shortcuts import jsonify, not_found, redirect, render
from tests.http.lane import request


@pytest.mark.parametrize("module", [duck.shortcuts, duck.urls, duck.views])
def test_every_name_is_there(module):
    for name in module.__all__:
        assert getattr(module, name) is not None


def test_shortcuts_make_responses(tmp_path):
    (tmp_path / "page.html").write_text("{{ who }}")
    made = request(b"/", (b"Accept", b"application/json"))
    made.settings = {"TEMPLATE_DIRS": [str(tmp_path)]}
    page = render(made, "page.html", {"who": "duck"}, 202)
    page.render()
    assert (page.status_code, page.content) == (202, b"duck")
    assert redirect("/x", permanent=True)["Location"] == "/x"
    assert jsonify([1]).content == b"[1]"
    assert json.loads(not_found(made, "No.").content)["detail"] == "No."


def test_a_refusal_says_status_and_detail():
    assert str(HttpError(403)) == "403"
    assert str(HttpError(403, "No.")) == "403: No."
