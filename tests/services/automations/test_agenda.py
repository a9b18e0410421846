"""What comes next of what is declared, whatever pauses, clocks and stores do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from duck.services.automations.agenda import Agenda
from duck.services.automations.engine import Standing
from tests.dispatcher_node import declared

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
HALF = timedelta(minutes=30)


def agenda_of(*declarations: Declaration, since: datetime = NOON, now: datetime = NOON + HALF) -> Agenda:
    agenda = Agenda()
    declare(agenda, *declarations, since=since, now=now)
    return agenda


def declare(agenda: Agenda, *declarations: Declaration, since: datetime = NOON, now: datetime = NOON + HALF) -> None:
    standings = {each.name: Standing(each.name, each.revision, since) for each in declarations}
    agenda.declare(declarations, standings, {}, now)


def planned(agenda: Agenda, now: datetime) -> dict[str, list[datetime]]:
    """What is due, by name; it is decided on."""
    come = agenda.come(now)
    dues = [(each, due) for each in come for due in agenda.due(each, now)]
    agenda.decided(dues)
    agenda.plan(come)
    return {each.name: [due.planned for of, due in dues if of is each] for each in come}


def test_what_comes_first_is_next_and_each_time_is_due_once() -> None:
    agenda = agenda_of(declared("slow", every="2h"), declared("fast", every="1h"), declared("by-hand"))
    assert agenda.next == (NOON + HOUR, "fast")
    assert planned(agenda, NOON + HOUR - timedelta(seconds=1)) == {}
    assert planned(agenda, NOON + HOUR) == {"fast": [NOON + HOUR]}
    assert planned(agenda, NOON + HOUR) == {}
    assert planned(agenda, NOON + 2 * HOUR) == {"fast": [NOON + 2 * HOUR], "slow": [NOON + 2 * HOUR]}


def test_what_could_not_be_decided_on_is_due_again() -> None:
    agenda = agenda_of(declared("job", every="1h"))
    come = agenda.come(NOON + HOUR)
    assert agenda.next is None
    agenda.plan(come)
    assert planned(agenda, NOON + HOUR) == {"job": [NOON + HOUR]}


def test_what_was_planned_in_a_pause_is_passed_over() -> None:
    agenda = agenda_of(declared("job", every="1h"))
    agenda.see_pauses({"job": NOON + 3 * HOUR}, NOON + HALF)
    assert planned(agenda, NOON + 2 * HOUR) == {}
    agenda.see_pauses({"job": NOON + 3 * HOUR}, NOON + 3 * HOUR)
    assert planned(agenda, NOON + 4 * HOUR) == {"job": [NOON + 4 * HOUR]}


def test_a_clock_that_is_put_back_plans_again_from_there() -> None:
    agenda = agenda_of(declared("job", every="1h"))
    assert planned(agenda, NOON + 5 * HOUR)
    agenda.put_back(NOON + HALF)
    assert agenda.next == (NOON + HOUR, "job")


def test_of_what_runs_on_each_node_one_knows_what_came_while_it_was_there() -> None:
    each = declared("each", every="1h", run_on="each")
    agenda = agenda_of(each, since=NOON - 5 * HOUR)
    assert agenda.next == (NOON + HOUR, "each"), "who was away makes up for none"
    declare(agenda, each, since=NOON - 5 * HOUR, now=NOON + HOUR + HALF)
    assert planned(agenda, NOON + 2 * HOUR) == {"each": [NOON + HOUR, NOON + 2 * HOUR]}
