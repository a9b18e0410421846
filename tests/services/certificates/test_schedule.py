"""When a certificate is renewed: values in, values out, the clock among them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duck.services.certificates import schedule
from duck.services.certificates.schedule import (
    ASK,
    DAY,
    HOUR,
    MINUTE,
    ORDER,
    WAIT,
    Progress,
    Step,
    Term,
    failed,
    is_rehearsal,
    next_step,
    obtained,
    rehearsed,
    told,
    usual_renewal,
)

NOW = 1_800_000_000.0
QUARTER = Term(NOW, NOW + 90 * DAY)
WEEK = Term(NOW, NOW + 6 * DAY)


def test_where_there_is_none_it_is_ordered_at_once() -> None:
    assert next_step(NOW, None, Progress()) == Step(ORDER, NOW)


@pytest.mark.parametrize(("term", "days"), [(QUARTER, 60), (WEEK, 3)])
def test_of_a_long_life_two_thirds_pass_and_of_a_short_one_half(term: Term, days: float) -> None:
    assert usual_renewal(term, 0.0) == NOW + days * DAY
    assert NOW + days * DAY * 0.9 <= usual_renewal(term, 0.999) < NOW + days * DAY


def test_a_new_one_is_let_be_and_asked_for_after_hours() -> None:
    progress = obtained(QUARTER, "f", NOW, 0.5)
    step = next_step(NOW + 1, QUARTER, progress)
    assert step == Step(WAIT, NOW + 6 * HOUR)
    assert next_step(step.at, QUARTER, progress) == Step(ASK, step.at)


def test_what_the_authority_suggests_goes_before_the_age() -> None:
    progress = told(obtained(QUARTER, "f", NOW, 0.0), NOW + 3 * DAY, NOW + 6 * HOUR, NOW + HOUR)
    assert next_step(NOW + 2 * HOUR, QUARTER, progress) == Step(WAIT, NOW + 6 * HOUR)
    assert next_step(NOW + 3 * DAY, QUARTER, progress).what == ORDER


def test_where_it_suggests_nothing_the_age_counts_on() -> None:
    before = obtained(QUARTER, "f", NOW, 0.0)
    progress = told(before, None, NOW + 6 * HOUR, NOW)
    assert progress.renew_at == before.renew_at


@pytest.mark.parametrize(("said_s", "at_s"), [(0, MINUTE), (-5, MINUTE), (HOUR, HOUR), (30 * DAY, DAY)])
def test_it_is_asked_again_neither_too_soon_nor_too_late(said_s: float, at_s: float) -> None:
    assert told(Progress(), None, NOW + said_s, NOW).ask_at == NOW + at_s


def test_a_suggestion_beyond_the_end_does_not_let_it_expire() -> None:
    progress = told(obtained(QUARTER, "f", NOW, 0.0), NOW + 365 * DAY, NOW + HOUR, NOW)
    assert next_step(NOW + 81 * DAY, QUARTER, progress).what == ORDER


def test_an_expired_one_is_not_asked_about(term: Term = WEEK) -> None:
    """RFC 9773 section 4.3."""
    progress = failed(obtained(term, "f", NOW, 0.0), NOW + 7 * DAY, 0.0, error="x", kind="authority", term=term)
    assert next_step(NOW + 7 * DAY + 1, term, progress).what == WAIT


def test_each_failure_in_a_row_waits_longer_up_to_six_hours() -> None:
    progress, now, pauses = Progress(), NOW, []
    for _ in range(9):
        progress = failed(progress, now, 0.0, error="x", kind="authority")
        pauses.append(progress.next_at - now)
        assert next_step(now, None, progress) == Step(WAIT, progress.next_at)
        now = progress.next_at
        assert next_step(now, None, progress).what == ORDER
    assert pauses == [MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 6 * HOUR, 6 * HOUR]


def test_a_pause_has_jitter() -> None:
    pauses = {failed(Progress(), NOW, chance, error="x", kind="authority").next_at - NOW for chance in (0.0, 0.5, 0.99)}
    assert len(pauses) == 3
    assert all(MINUTE <= pause < 1.2 * MINUTE for pause in pauses)


def test_the_authority_may_have_it_wait_longer_and_not_shorter() -> None:
    later = failed(Progress(), NOW, 0.0, error="x", kind="limit", retry_after_s=DAY)
    assert later.next_at == NOW + DAY
    sooner = failed(Progress(), NOW, 0.0, error="x", kind="limit", retry_after_s=1)
    assert sooner.next_at == NOW + MINUTE


def test_near_the_end_it_is_tried_each_hour() -> None:
    progress = obtained(QUARTER, "f", NOW, 0.0)
    for _ in range(9):
        progress = failed(progress, NOW + 89.5 * DAY, 0.0, error="x", kind="authority", term=QUARTER)
    assert progress.next_at == NOW + 89.5 * DAY + HOUR


def test_staging_is_tried_after_two_failures_to_prove_the_name_until_it_works_there() -> None:
    progress = Progress()
    assert not is_rehearsal(progress, has_staging=True)
    for _ in range(2):
        progress = failed(progress, NOW, 0.0, error="x", kind="validation")
    assert is_rehearsal(progress, has_staging=True)
    assert not is_rehearsal(progress, has_staging=False)
    progress = failed(progress, NOW, 0.0, error="x", kind="authority")
    assert is_rehearsal(progress, has_staging=True)
    progress = rehearsed(progress, NOW)
    assert not is_rehearsal(progress, has_staging=True)
    assert next_step(NOW, None, progress).what == ORDER
    assert is_rehearsal(failed(progress, NOW, 0.0, error="x", kind="validation"), has_staging=True)


def test_an_authority_that_is_not_reached_is_no_reason_for_staging() -> None:
    progress = Progress()
    for _ in range(9):
        progress = failed(progress, NOW, 0.0, error="x", kind="authority")
    assert not is_rehearsal(progress, has_staging=True)


def test_of_another_certificate_nothing_is_remembered() -> None:
    """Its success could not be written: what is due now was due for the one before."""
    old = failed(obtained(QUARTER, "old", NOW, 0.0), NOW, 0.0, error="x", kind="disk")
    assert old.of("old") is old
    assert old.of("new") == Progress(certificate="new")
    assert next_step(NOW + DAY, QUARTER, old.of("new")).what == ASK


@pytest.mark.parametrize(
    "values", [None, [], {"renew_at": "soon", "failures": 1.5, "error": 3, "has_rehearsed": 1, "other": 1}]
)
def test_what_is_no_progress_is_a_beginning(values: object) -> None:
    assert Progress.from_values(values) == Progress()


moments = st.floats(0, 4e9)
progresses = st.builds(
    Progress,
    renew_at=moments,
    ask_at=moments,
    failures=st.integers(0, 20),
    next_at=moments,
    unproved=st.integers(0, 20),
    has_rehearsed=st.booleans(),
)


@given(progresses)
def test_progress_survives_json(progress: Progress) -> None:
    assert Progress.from_values(progress.as_values()) == progress


@given(st.floats(0, 4e9), st.none() | st.builds(lambda a, b: Term(a, a + b), moments, st.floats(1, 1e8)), progresses)
def test_something_is_always_due_and_a_wait_has_an_end(now: float, term: Term | None, progress: Progress) -> None:
    step = next_step(now, term, progress)
    if step.what == WAIT:
        assert step.at > now
        assert next_step(step.at, term, progress).what in (ORDER, ASK)
        if term is not None:
            assert step.at <= max(schedule.latest_renewal(term), progress.next_at)
    else:
        assert progress.next_at <= now
