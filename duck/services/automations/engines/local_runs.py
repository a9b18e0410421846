"""Runs in the SQLite file: how new ones are made, and how they end. Everything here happens within one transaction."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from duck.automation.admission import REPLACED, Crowded, admit, check_room
from duck.automation.text import MOST_EVENT, clean, output_of, reason_of, remembered
from duck.exceptions import CrowdedError
from duck.services.automations.engines.local_rows import number, run_of
from duck.services.automations.run import Cause, Run, State

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.engine import Ended

# What a run leaves behind that has not begun: nothing of a long event.
_SHORT: Final = f"event = CASE WHEN size > {MOST_EVENT} THEN '' ELSE event END"


class LocalRuns:
    """The rows of runs in `db`."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def get(self, run_id: int | None) -> Run:
        """One that is there."""
        return run_of(self._db.execute("SELECT * FROM run WHERE id = ?", (run_id,)).fetchone())

    # -- that begin -----------------------------------------------------------------------------------------------

    def insert(
        self,
        declaration: Declaration,
        planned: int,
        cause: Cause,
        now: int,
        missed: int,
        *,
        skips: str = "",
        event: str = "",
        node: str = "",
        occasion: str = "",
    ) -> Run:
        """A new run, queued or skipped, by what of its automation waits and runs.

        Args:
            skips: why it is passed over; empty where it is not.

        Raises:
            CrowdedError: no schedule has planned it, and too much of the automation waits.
        """
        name = declaration.name
        state, reason = State.SKIPPED, skips
        if not skips:
            running = self._live(name, State.RUNNING, node)
            queued, kept = self._waiting(name, node)
            if cause is not Cause.SCHEDULE:
                try:
                    check_room(name, declaration.overlap, queued, kept, len(event))
                except Crowded as error:
                    raise CrowdedError(str(error)) from error
            admission = admit(declaration.overlap, running, queued)
            state, reason = State(admission.state), admission.reason
            if admission.replaces:
                which = "name = ? AND for_node = ? AND cause != 'backfill'"
                self.cancel(which, (name, node), now, REPLACED)
        return self.add(declaration, planned, cause, now, state, reason, missed, event, node, occasion)

    def add(
        self,
        declaration: Declaration,
        planned: int,
        cause: Cause,
        now: int,
        state: State,
        reason: str = "",
        missed: int = 0,
        event: str = "",
        node: str = "",
        occasion: str = "",
    ) -> Run:
        """A new run as it is told."""
        planned_by = (declaration.name, declaration.revision, planned, cause)
        event = clean(remembered(event) if state.is_over else event)
        cursor = self._db.execute(
            "INSERT INTO run (name, revision, planned, cause, state, reason, not_before, missed, event, size, created,"
            " ended, for_node, occasion) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(*planned_by, state, reason, now, missed, event, len(event)),
                *(now, now if state.is_over else None, node, occasion or None),
            ),
        )
        return self.get(cursor.lastrowid)

    def queued_for(self, name: str, node: str, occasion: str) -> Run | None:
        """The run of an automation that was queued for that; None where there is none."""
        found = self._db.execute(
            "SELECT * FROM run WHERE name = ? AND for_node = ? AND occasion = ?", (name, node, occasion)
        ).fetchone()
        return run_of(found) if found is not None else None

    def is_backfilled(self, declaration: Declaration, planned: int) -> bool:
        """Whether a planned time was backfilled."""
        found = self._db.execute(
            "SELECT 1 FROM run WHERE cause = 'backfill' AND name = ? AND revision = ? AND planned = ?",
            (declaration.name, declaration.revision, planned),
        ).fetchone()
        return found is not None

    def count(self, name: str, state: State, node: str) -> int:
        """How many runs of an automation have that state."""
        found = self._db.execute(
            f"SELECT count(*) FROM run WHERE name = ? AND state = '{state}' AND for_node = ?", (name, node)
        ).fetchone()
        return int(found[0])

    def _live(self, name: str, state: State, node: str) -> int:
        """Those that are backfilled stand behind all others, and keep none of them."""
        found = self._db.execute(
            f"SELECT count(*) FROM run WHERE name = ? AND state = '{state}' AND for_node = ? AND cause != 'backfill'",
            (name, node),
        ).fetchone()
        return int(found[0])

    def _waiting(self, name: str, node: str) -> tuple[int, int]:
        """How many wait, and how many bytes their events tell."""
        count, size = self._db.execute(
            "SELECT count(*), coalesce(sum(size), 0) FROM run"
            " WHERE name = ? AND state = 'queued' AND for_node = ? AND cause != 'backfill'",
            (name, node),
        ).fetchone()
        return count, size

    # -- that end -------------------------------------------------------------------------------------------------

    def finish(self, run: Run, ended: Ended, now: int) -> bool:
        """Say how `run` ended; whether it was still its node's to say."""
        found = self._db.execute(
            "SELECT cancels, CASE WHEN size > ? THEN event ELSE '' END AS long FROM run"
            " WHERE id = ? AND state = 'running' AND node = ? AND attempt = ?",
            (MOST_EVENT, run.id, run.node, run.attempt),
        ).fetchone()
        if found is None:
            return False
        how = (reason_of(ended.reason), ended.code, output_of(ended.output), ended.printed)
        if ended.retry_at is not None and not found["cancels"]:
            self._db.execute(
                "UPDATE run SET state = 'queued', reason = ?, code = ?, output = ?, printed = ?, not_before = ?,"
                " attempt = attempt - ? WHERE id = ?",
                (*how, number(ended.retry_at), not ended.counts, run.id),
            )
            return True
        state = State.CANCELLED if ended.state is State.QUEUED else ended.state
        self._db.execute(
            "UPDATE run SET state = ?, reason = ?, code = ?, output = ?, printed = ?, ended = ? WHERE id = ?",
            (state, *how, now, run.id),
        )
        self._forget_event(run.id, found["long"])
        return True

    def lose(self, run_id: int, reason: str, now: int) -> None:
        """Its node has gone."""
        (long,) = self._db.execute(
            "SELECT CASE WHEN size > ? THEN event ELSE '' END FROM run WHERE id = ?", (MOST_EVENT, run_id)
        ).fetchone()
        self._db.execute("UPDATE run SET state = 'lost', reason = ?, ended = ? WHERE id = ?", (reason, now, run_id))
        self._forget_event(run_id, long)

    def _forget_event(self, run_id: int, long: str) -> None:
        if long:
            self._db.execute("UPDATE run SET event = ? WHERE id = ?", (remembered(long), run_id))

    def skip(self, run_id: int, reason: str, now: int) -> None:
        """It has waited for too long."""
        self._db.execute(
            f"UPDATE run SET state = 'skipped', reason = ?, ended = ?, {_SHORT} WHERE id = ?", (reason, now, run_id)
        )

    def cancel(self, which: str, values: tuple[str | int, ...], now: int, reason: str) -> int:
        """Have runs end, or not start; how many."""
        queued = self._db.execute(
            f"UPDATE run SET state = 'cancelled', reason = ?, ended = ?, {_SHORT} WHERE state = 'queued' AND {which}",
            (reason, now, *values),
        )
        running = self._db.execute(
            f"UPDATE run SET cancels = 1, reason = ? WHERE state = 'running' AND {which}", (reason, *values)
        )
        return queued.rowcount + running.rowcount
