"""Dates (RFC 9110 §5.6.7)."""

import calendar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duck.http.dates import parse_date, render_date

EXAMPLE = calendar.timegm((1994, 11, 6, 8, 49, 37))


@pytest.mark.parametrize(
    "value",
    [b"Sun, 06 Nov 1994 08:49:37 GMT", b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994"],
)
def test_each_of_the_three_forms_is_read(value):
    assert parse_date(value, this_year=2026) == EXAMPLE


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"yesterday",
        b"Sun, 6 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 08:49:37 +0000",
        b"Sun, 06 Nov 1994 08:49:37",
        b"sun, 06 nov 1994 08:49:37 gmt",
        b"Sun, 31 Feb 1994 08:49:37 GMT",
        b"Sun, 00 Nov 1994 08:49:37 GMT",
        b"Sun, 06 Nov 1994 24:00:00 GMT",
        b"Sun, 06 Nov 1994 08:60:37 GMT",
        b"Sun, 06 Nov 0000 08:49:37 GMT",
        b'"1994"',
        b"784111777",
        b"Sun, 06 Nov 1994 08:49:37 GMT\n",
    ],
)
def test_what_is_no_date_is_none(value):
    assert parse_date(value) is None


def test_a_two_digit_year_is_never_more_than_fifty_years_ahead():
    assert parse_date(b"Sunday, 06-Nov-76 08:49:37 GMT", this_year=2026) == calendar.timegm((2076, 11, 6, 8, 49, 37))
    assert parse_date(b"Sunday, 06-Nov-77 08:49:37 GMT", this_year=2026) == calendar.timegm((1977, 11, 6, 8, 49, 37))


def test_a_leap_second_is_let_through():
    assert parse_date(b"Sat, 31 Dec 2016 23:59:60 GMT") == calendar.timegm((2017, 1, 1, 0, 0, 0))


@given(st.integers(0, 4_000_000_000))
def test_what_is_rendered_is_read_back(seconds):
    assert parse_date(render_date(seconds)) == seconds


@given(st.binary(max_size=40))
def test_no_bytes_raise(value):
    parse_date(value)
