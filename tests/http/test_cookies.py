"""Cookies: read as browsers mean them, written so that they cannot be misread."""

from datetime import UTC, datetime, timedelta

import pytest

from duck.http.cookies import EXPIRED, parse_cookies, render_cookie


@pytest.mark.parametrize(
    ("value", "cookies"),
    [
        ("", {}),
        ("a=1", {"a": "1"}),
        ("a=1; b=2", {"a": "1", "b": "2"}),
        ("a=1;b=2;;", {"a": "1", "b": "2"}),
        ("a=b=c", {"a": "b=c"}),
        ('a="quoted \\"text\\""', {"a": 'quoted "text"'}),
        ("bare", {"": "bare"}),
        ("a=1; a=2", {"a": "2"}),
        ("strange,name=1; fine=2", {"strange,name": "1", "fine": "2"}),
        ('half="', {"half": '"'}),
    ],
)
def test_cookie_fields(value, cookies):
    assert parse_cookies(value) == cookies


def test_a_plain_cookie_is_lax_and_for_the_whole_site():
    assert render_cookie("a", "1") == "a=1; Path=/; SameSite=Lax"


def test_every_attribute_is_written():
    line = render_cookie(
        "a",
        "1",
        max_age=timedelta(hours=1),
        path="/x",
        domain="example.org",
        secure=True,
        httponly=True,
        samesite="Strict",
    )
    parts = set(line.split("; "))
    assert {"a=1", "Max-Age=3600", "Path=/x", "Domain=example.org", "Secure", "HttpOnly", "SameSite=Strict"} <= parts


def test_no_age_means_expired():
    assert f"expires={EXPIRED}" in render_cookie("a", "", max_age=0)


def test_moments_are_written_in_gmt():
    assert "expires=Thu, 02 Jan 2025 03:04:05 GMT" in render_cookie(
        "a", "1", expires=datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)
    )
    assert "expires=Thu, 02 Jan 2025 03:04:05 GMT" in render_cookie("a", "1", expires=datetime(2025, 1, 2, 3, 4, 5))


def test_samesite_none_is_secure_since_browsers_drop_it_else():
    assert "Secure" in render_cookie("a", "1", samesite="None")


@pytest.mark.parametrize("value", ["a; Domain=evil.org", "a\r\nX: y", "a b", 'with "quotes"', "Grüße"])
def test_any_value_comes_back_as_it_was_set(value):
    line = render_cookie("a", value)
    assert "\r" not in line
    assert "\n" not in line
    pair = line.split("; Path")[0]
    assert parse_cookies(pair)["a"] == value


@pytest.mark.parametrize("name", ["", "a b", "a;b", "a=b", "a\n", "path"])
def test_impossible_names_are_refused(name):
    with pytest.raises(ValueError, match="cookie"):
        render_cookie(name, "1")


def test_attributes_cannot_carry_others():
    with pytest.raises(ValueError, match="path"):
        render_cookie("a", "1", path="/; Domain=evil.org")
