"""Field lines as values, and lists in them: RFC 9110 §5.5, §5.6."""

import pytest

from duck.wire.fields import get, get_all, is_name, is_value, members, parse_fields, render_fields, tokens

FIELDS = [(b"A", b"1"), (b"b", b"2"), (b"a", b""), (b"B", b"\xff")]


def test_rendered_fields_are_read_as_they_were() -> None:
    assert render_fields(FIELDS) == b"A: 1\r\nb: 2\r\na: \r\nB: \xff\r\n"
    assert parse_fields(render_fields(FIELDS)) == FIELDS
    assert parse_fields(b"") == []


@pytest.mark.parametrize("block", [b"A: 1", b"A: 1\n", b"A\r\n", b"A : 1\r\n", b": 1\r\n", b"A: \x00\r\n", b"\r\n"])
def test_what_is_no_line_is_no_field(block: bytes) -> None:
    assert parse_fields(block) is None


def test_a_name_is_looked_up_in_any_spelling() -> None:
    assert get(FIELDS, b"b") == b"2"
    assert get(FIELDS, b"c") is None
    assert get_all(FIELDS, b"a") == [b"1", b""]
    assert get_all(FIELDS, b"c") == []


def test_lists_may_be_spread_over_lines_and_have_empty_members() -> None:
    assert members([b"a,B ,\tc", b"", b" , ,d"]) == [b"a", b"B", b"c", b"d"]
    assert tokens([b"A, \tbC"]) == [b"a", b"bc"]


def test_names_are_tokens_and_values_have_no_control_bytes() -> None:
    assert is_name(b"X-y_z!#$%&'*+.^`|~09")
    assert not any(is_name(name) for name in (b"", b" ", b"a b", b"a:", b"a\n", b"\xe9", b"a\x00", b"(", b"/", b"@"))
    assert all(is_value(value) for value in (b"", b"a \t\x80\xff", b"\t"))
    assert not any(is_value(b"a" + bytes((code,))) for code in (*range(9), *range(10, 32), 127))
