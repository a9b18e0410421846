"""The parts of the time add up, and none is below zero, whatever the clocks have said."""

from dataclasses import astuple

from hypothesis import given
from hypothesis import strategies as st

from duck.http.ducksight.timing import split

SECONDS = st.floats(-1, 100)


def test_a_request_to_django_that_was_measured():
    timing = split(
        total=1.0, received=0.1, waited=0.2, upstream=0.5, sent=0.1, in_django=0.4, database=0.15, template=0.05
    )
    assert [round(part, 6) for part in astuple(timing)] == [0.1, 0.2, 0.2, 0.2, 0.15, 0.05, 0.1, 1.0]


def test_without_measures_all_that_django_took_is_its():
    timing = split(total=1.0, upstream=0.7, sent=0.1)
    assert (timing.django, timing.database, timing.template) == (0.7, None, None)
    assert round(timing.front, 6) == 0.2


def test_a_request_that_was_held_before_its_body_was_read_has_waited():
    timing = split(total=3.0, received=2.1, waited=2.0, upstream=0.5)
    assert (timing.wait, round(timing.receive, 6)) == (2.0, 0.5)


def test_templates_and_queries_within_them_count_once():
    timing = split(total=1.0, upstream=0.9, in_django=0.8, database=0.6, template=0.7)
    assert round(timing.template, 6) == 0.2
    assert timing.django == 0


def test_a_stream_that_django_makes_while_it_is_sent():
    timing = split(total=1.0, upstream=0.1, sent=0.8, in_django=0.85, database=0.4, template=0.0)
    assert [round(part, 6) for part in astuple(timing)] == [0.0, 0.1, 0.0, 0.45, 0.4, 0.0, 0.05, 1.0]


@given(
    SECONDS,
    SECONDS,
    SECONDS,
    SECONDS,
    SECONDS,
    st.none() | SECONDS,
    st.none() | SECONDS,
    st.none() | SECONDS,
)
def test_parts_add_up_to_the_whole(total, received, waited, upstream, sent, in_django, database, template):
    timing = split(
        total=total,
        received=received,
        waited=waited,
        upstream=upstream,
        sent=sent,
        in_django=in_django,
        database=database,
        template=template,
    )
    *parts, whole = astuple(timing)
    assert whole == max(total, 0.0)
    assert all(part is None or part >= 0 for part in parts)
    assert abs(sum(part or 0.0 for part in parts) - whole) < 1e-6


def test_in_milliseconds():
    assert split(total=0.0123456).millis() == {
        "receive_ms": 0.0,
        "front_ms": 12.346,
        "wait_ms": 0.0,
        "django_ms": 0.0,
        "database_ms": None,
        "template_ms": None,
        "send_ms": 0.0,
        "total_ms": 12.346,
    }
