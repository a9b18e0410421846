"""Headers: look-up without case, duplicates and order kept, nothing injected."""

import pytest

from duck.http.headers import Headers


def headers():
    return Headers([(b"Accept", b"a"), (b"X-One", b"1"), (b"accept", b"b"), (b"Set-Cookie", b"c=1")])


def test_names_are_found_in_any_case():
    assert headers()["x-ONE"] == "1"
    assert "ACCEPT" in headers()
    assert "Missing" not in headers()
    assert headers().get("Missing") is None
    with pytest.raises(KeyError):
        headers()["Missing"]


def test_duplicates_are_kept_in_order_and_joined_only_for_reading():
    assert headers().getlist("Accept") == ["a", "b"]
    assert headers()["Accept"] == "a, b"
    assert [name for name, _ in headers().items()] == ["Accept", "X-One", "accept", "Set-Cookie"]


def test_cookies_are_never_joined_with_commas():
    assert Headers([(b"Cookie", b"a=1"), (b"Cookie", b"b=2")])["Cookie"] == "a=1; b=2"


def test_assigning_replaces_all_lines_in_the_place_of_the_first():
    changed = headers()
    changed["Accept"] = "c"
    assert changed.items() == [("Accept", "c"), ("X-One", "1"), ("Set-Cookie", "c=1")]
    assert changed.changed


def test_adding_appends_and_deleting_removes_all_lines():
    changed = headers()
    changed.add("Set-Cookie", "d=2")
    assert changed.getlist("Set-Cookie") == ["c=1", "d=2"]
    del changed["set-cookie"]
    assert "Set-Cookie" not in changed


def test_nothing_is_changed_by_reading_or_by_deleting_what_is_not_there():
    read = headers()
    read.get("Accept")
    del read["Missing"]
    assert not read.changed


@pytest.mark.parametrize(
    ("name", "value"),
    [("X", "a\r\nSet-Cookie: b"), ("X", "a\nb"), ("X", "a\0"), ("X Y", "a"), ("", "a"), ("X:", "a"), ("X", "€")],
)
def test_what_would_break_the_message_is_refused(name, value):
    with pytest.raises(ValueError, match=r"field|value"):
        Headers()[name] = value


def test_iteration_gives_each_name_once():
    assert list(headers()) == ["Accept", "X-One", "Set-Cookie"]
    assert len(headers()) == 3
