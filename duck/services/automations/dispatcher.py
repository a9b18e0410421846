"""Dispatcher: has planned times claimed when they are due, and runs carried out; one on each node.

    due ──claim──> won ──take──> started ──ended──> finished, or queued for another try
     ^               └─ skipped, with the reason              (`Ends`)
     └── schedules, from what the store says was decided last

Nodes do not know each other. Each says every few seconds that it lives; what a silent one ran is given up by the rest.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from duck.exceptions import CrowdedError, StoreError
from duck.services.automations.agenda import Agenda
from duck.services.automations.audience import Audience
from duck.services.automations.clock import ClockWatch, MachineClock
from duck.services.automations.crowd import Crowd
from duck.services.automations.declaration import EACH
from duck.services.automations.due import PUNCTUAL
from duck.services.automations.ends import Ends
from duck.services.automations.engine import Ended
from duck.services.automations.run import Cause, Run, State

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.engine import Engine
    from duck.services.automations.event_spool import EventSpool
    from duck.services.automations.executor import Executor
    from duck.services.automations.observer import Observer
    from duck.services.inbox import Inbox, Timer

logger = logging.getLogger("duck.automations")

# How often a node says that it lives, and sees what others have queued.
BEAT_S: Final = 2.0
LOOK_S: Final = 1.0
# A node that has not said so for so long is given up.
SILENT_S: Final = 30.0
# How often a node says that it is there, where something runs on each.
JOIN_S: Final = 10.0
# Of what others have kept so much is taken in one turn: it keeps no planned time waiting.
_MOST_EVENTS: Final = 50
# A store that cannot be reached is asked again after this, twice as long each time, up to the second.
_FIRST_AGAIN_S: Final = 0.5
_MOST_AGAIN_S: Final = 15.0
_PRUNE_S: Final = 3600.0
# Where so much was forgotten at once there may be more of it, which is not left to grow.
_MUCH_PRUNED: Final = 1000
_PRUNE_MUCH_S: Final = 300.0
# What is due waits no longer for the ends of others to be kept.
_MOST_SAYING_S: Final = 0.05
# Of runs that were given up while the store's answer was lost the latest so many are looked at.
_MOST_LOST: Final = 100
# A stop tells the store how the last runs ended for so long at least, though they took all of its time.
_LAST_S: Final = 0.5
# And no longer than this: others have given up by then what ran here.
_LAST_MOST_S: Final = 300.0


class Dispatcher:
    """A `Service`. For the inbox's thread.

    Args:
        node: this node's name, another one for each start.
        tags: runs of automations that name one of these are taken here.
        keep, keep_s: how many runs of each automation are kept whatever their age, and for how long all are.
        events: kept by others of this machine, for its nodes.
        observers: told of what becomes of runs here.
        clock: this machine's.
    """

    name = "automations"

    def __init__(
        self,
        inbox: Inbox,
        engine: Engine,
        executor: Executor,
        node: str,
        *,
        tags: Iterable[str] = (),
        keep: int = 100,
        keep_s: float = 30 * 86_400.0,
        events: EventSpool | None = None,
        observers: Sequence[Observer] = (),
        clock: MachineClock | None = None,
    ) -> None:
        self.node = node
        self._inbox = inbox
        self._engine = engine
        self._executor = executor
        self._tags = frozenset(tags)
        self._keep = keep
        self._keep_s = keep_s
        self._events = events
        self._crowd = Crowd(events)
        self._audience = Audience(observers)
        self._ends = Ends(engine, self._audience, self.happened)
        self._clocks = ClockWatch(engine.now, clock or MachineClock())
        self._agenda = Agenda()
        self._here: dict[str, Declaration] = {}  # those of what is declared that this node may run
        self._running: dict[int, tuple[Run, Declaration]] = {}
        self._tick: Timer | None = None
        self._again_s = 0.0
        self._broken_s = 0.0  # how long it waits after a turn that failed for another reason
        self._prune_s = _PRUNE_S
        self._last_beat = self._last_prune = self._last_join = datetime.min.replace(tzinfo=UTC)
        self._patient_until = datetime.min.replace(tzinfo=UTC)
        self._unheard: datetime | None = None  # since when runs may have been given up without its hearing of it
        self._is_flooded = False  # more events wait than were taken
        self._is_stopping = False
        self._has_stopped = False
        self._stop_until = 0.0
        self._done: Callable[[], None] | None = None

    # -- a Service ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin with what was declared."""
        self._engine.attend(self._inbox, self.wake)
        self.wake()

    def stop(self, deadline_s: float, done: Callable[[], None]) -> None:
        """Claim nothing more, let what runs end within `deadline_s` seconds, by force after that; then `done`.

        The store is told how it ended, again and again until then, where it fails; for some minutes at most.
        """
        self._is_stopping = True
        self._done = done
        self._stop_until = time.monotonic() + deadline_s
        self._executor.stop(deadline_s, self._stopped)

    def status(self) -> Mapping[str, Any]:
        """Plain values for `duck status`."""
        following = self._agenda.next
        return {
            "node": self.node,
            "automations": len(self._agenda.declared),
            "running": [f"{declaration.name} ({run.id})" for run, declaration in self._running.values()],
            "next": {"name": following[1], "at": following[0].isoformat()} if following is not None else None,
            "store": "unreachable" if self._again_s else "reachable",
            "clock_ahead_s": round(self._clocks.ahead_s, 3),
            "claims": not self._clocks.excludes,
            "refused": self._crowd.refused,
        }

    # -- what is there --------------------------------------------------------------------------------------------

    def declare(self, declarations: Sequence[Declaration]) -> None:
        """These, and no others, from now on; what runs goes on.

        Raises:
            StoreError: the store cannot be reached.
        """
        enabled = [each for each in declarations if each.enabled]
        standings = self._engine.register(enabled)
        paused, now = self._engine.paused(), self._engine.now()
        self._agenda.declare(enabled, standings, paused, now)
        self._here = {each.name: each for each in enabled if self.takes(each)}
        self._crowd.declare(enabled)
        self._last_join = datetime.min.replace(tzinfo=UTC)
        self._join(now)

    def wake(self) -> None:
        """Look now: something was queued, or another time has come."""
        if self._tick is not None:
            self._tick.cancel()
        self._tick = self._inbox.call_later(0.0, self._turn)

    def happened(
        self,
        event: str,
        details: Mapping[str, str],
        told: str = "",
        *,
        node: str = "",
        besides: Collection[str] = (),
        at: datetime | None = None,
        occasion: str = "",
    ) -> None:
        """An event: whatever waits for it is queued, but for what is paused, or counts it as missed (`within`).

        Args:
            details: of the event; a declaration's own have to be among them.
            told: JSON for `Context.event`.
            node: where it happened, if it is of no other's: what runs on each node runs there alone.
            besides: automations that it has come of, which are not queued.
            at: when it happened; now, where it is not said.
            occasion: what no other event is called: one that is told again runs nothing a second time.

        Raises:
            StoreError: the store cannot be reached; some of what waits for it may be queued, so say it again.
        """
        now = self._engine.now()
        at = min(at or now, now)
        for declaration in self._agenda.declared.values():
            name = declaration.name
            if name in besides or name in self._agenda.paused:
                continue
            if not any(each.is_met(event, details, at) for each in declaration.plan.events):
                continue
            if now - at > timedelta(seconds=declaration.within_s):
                logger.warning(
                    "%s is not run for the event %s of %s: that is longer ago than `within`.", name, event, at
                )
                continue
            for for_node in self._each_of(node) if declaration.is_for_each else ("",):
                try:
                    self._engine.enqueue(declaration, at, Cause.EVENT, told, node=for_node, occasion=occasion)
                except CrowdedError as error:
                    self._crowd.refuse(error)
        self.wake()

    def _each_of(self, node: str) -> list[str]:
        """On which nodes something runs that does on each: `node` alone, if it is named."""
        return [node] if node else [each.name for each in self._engine.nodes(SILENT_S) if each.takes_each]

    # -- a turn ---------------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        self._tick = None
        try:
            wait_s = self._say_last() if self._has_stopped else self._go_on()
            if self._again_s:
                logger.info("The store of automations can be reached again.")
            self._again_s = self._broken_s = 0.0
        except StoreError as error:
            if not self._again_s:
                logger.error("%s Planned times wait meanwhile; what runs goes on.", error)
            self._again_s = min(max(2 * self._again_s, _FIRST_AGAIN_S), _MOST_AGAIN_S)
            wait_s = self._again_s
        except Exception:
            # Whatever it was, it must not have been the last turn of a node that says it lives.
            wait_s = self._broken_s = min(max(2 * self._broken_s, _FIRST_AGAIN_S), _MOST_AGAIN_S)
            logger.exception("The dispatcher of automations failed; it goes on in %g s.", wait_s)
            if self._has_stopped:
                self._stop_until = 0.0
        if self._has_stopped:
            left_s = self._stop_until - time.monotonic()
            if left_s <= 0 or not (self._ends.waits or self._audience.waits):
                self._finish_stop()
                return
            wait_s = min(wait_s, left_s, LOOK_S)
        if self._tick is None:  # nothing that this turn did has asked for another one at once
            self._tick = self._inbox.call_later(wait_s, self._turn)

    def _go_on(self) -> float:
        """All there is to do now; after how many seconds there is more."""
        now = self._clocks.look()
        if self._clocks.jumped_s:
            self._see_jump(now)
        if self._again_s or self._clocks.jumped_s:
            # The others could not say that they live either, and are given the time to.
            self._patient_until = now + timedelta(seconds=SILENT_S)
        if not self._ends.say(_MOST_SAYING_S):
            self.wake()
        if now - self._last_beat >= timedelta(seconds=BEAT_S) or now < self._last_beat:
            self._beat(now)
        if not self._is_stopping and not self._clocks.excludes:
            if self._agenda.next is not None and now - self._agenda.next[0] > PUNCTUAL:
                self._take()  # what waits since long ago keeps nothing new from being queued
            self._claim(now)
            self._take_events()
            self._take()
        self._audience.tell_again()
        self._prune(now)
        return self._wait_s(self._engine.now())

    def _wait_s(self, now: datetime) -> float:
        if self._is_stopping or self._clocks.excludes:  # what comes is not for this node
            return LOOK_S
        if self._is_flooded:
            return 0.0
        if self._agenda.next is None:
            return LOOK_S
        return max(0.0, min(LOOK_S, (self._agenda.next[0] - now).total_seconds()))

    def _claim(self, now: datetime) -> None:
        """Claim what has become due; one transaction for all of it."""
        come = self._agenda.come(now)
        try:
            dues = [(declaration, each) for declaration in come for each in self._agenda.due(declaration, now)]
            won = self._engine.claim(dues, self.node) if dues else []
            self._agenda.decided(dues)
        finally:
            self._agenda.plan(come)  # where the store fails, what is still to be decided on
        for run in won:
            if run.state is State.SKIPPED:
                self._audience.tell("skipped", self._agenda.declared[run.name], run)

    def _take_events(self) -> None:
        """Queue what waits for events that others have kept for this machine's nodes."""
        if self._events is None:
            return
        with self._events.taken(_MOST_EVENTS) as found:
            self._is_flooded = len(found) == _MOST_EVENTS
            for each in found:
                besides = [str(name) for name in each.told.get("by", ())]
                told = json.dumps({**each.told, "id": each.id})
                try:
                    self.happened(each.event, each.details, told, besides=besides, at=each.at, occasion=each.id)
                except StoreError:
                    self._events.put_off(each)
                    raise
                self._events.done(each)

    def _take(self) -> None:
        """Start what is queued and has room."""
        for run in self._engine.take(self.node, self._here, self._executor.room()):
            declaration = self._agenda.declared.get(run.name)
            if declaration is None:  # taken by a turn whose answer was lost, and taken away since
                self._end(run, None, Ended(State.CANCELLED, "it is not declared any more"))
                continue
            if run.state is State.SKIPPED:
                self._audience.tell("skipped", declaration, run)
                continue
            if run.id in self._running:  # it was given up while this node was not heard, and goes on here still
                at = self._now() + timedelta(seconds=BEAT_S)
                told = (run.reason, run.code, run.output, at, run.printed)
                self._end(run, declaration, Ended(State.QUEUED, *told, counts=False))
                continue
            self._running[run.id] = (run, declaration)
            self._audience.tell("started", declaration, run)
            try:
                self._executor.start(run, declaration, partial(self._ended, run))
            except Exception as error:
                logger.exception("The run %s of %s cannot be started.", run.id, run.name)
                if run.id in self._running:
                    self._ended(run, Ended(State.FAILED, f"it cannot be started: {error}"))

    def takes(self, declaration: Declaration) -> bool:
        """Whether its runs may be carried out by this node."""
        return declaration.run_on in ("any", EACH, self.node) or declaration.run_on in self._tags

    def _beat(self, now: datetime) -> None:
        self._clocks.measure()
        for run_id in self._engine.beat(self.node, list(self._running), self._executor.printed()):
            if run_id in self._running:
                self._executor.cancel(run_id)
        if not timedelta() < self._patient_until - now <= timedelta(seconds=SILENT_S):
            self._give_up(now)
            self._ends.tell()
        self._join(now)
        self._agenda.see_pauses(self._engine.paused(), now)
        self._crowd.look(self._engine.crowded)
        self._last_beat = now

    def _give_up(self, now: datetime) -> None:
        """Have the runs of silent nodes given up, and see to what waits for their ends."""
        since = self._unheard if self._unheard is not None else now
        self._unheard = since  # until the answer has come: the store may have done it all the same
        runs = self._engine.give_up(SILENT_S, self._agenda.declared)
        if since < now:
            lost = self._engine.runs(state=State.LOST, limit=_MOST_LOST)
            unheard = {run.id: run for run in lost if run.ended and run.ended >= since and run.node != self.node}
            runs = list((unheard | {run.id: run for run in runs}).values())
        self._unheard = None
        for run in runs:
            logger.warning("The run %s of %s is given up: %s.", run.id, run.name, run.reason)
            declaration = self._agenda.declared.get(run.name)
            if declaration is not None:
                self._ends.given_up(declaration, run.id)

    def _prune(self, now: datetime) -> None:
        """Forget old history: last in a turn, and seldom though it fails, for nothing waits for it."""
        if now - self._last_prune >= timedelta(seconds=self._prune_s) or now < self._last_prune:
            self._last_prune, self._prune_s = now, _PRUNE_S
            if self._engine.prune(self._keep, self._keep_s) >= _MUCH_PRUNED:
                self._prune_s = _PRUNE_MUCH_S

    def _join(self, now: datetime) -> None:
        """Be one of the nodes that are known to live, and on each of which something may run."""
        if not now - timedelta(seconds=JOIN_S) < self._last_join <= now:
            takes_each = any(each.is_for_each for each in self._agenda.declared.values())
            self._engine.join(self.node, self._clocks.ahead_s, takes_each=takes_each)
            self._last_join = now

    def _see_jump(self, now: datetime) -> None:
        """The store's clock was set, or this machine has slept."""
        logger.warning("The clock went %+.0f s at once; what is due is looked at anew.", self._clocks.jumped_s)
        if self._clocks.jumped_s < 0:
            self._agenda.put_back(now)

    # -- the end of a run -----------------------------------------------------------------------------------------

    def _ended(self, run: Run, ended: Ended) -> None:
        _, declaration = self._running.pop(run.id)
        wait_s = None
        if ended.state in (State.FAILED, State.TIMED_OUT) and run.attempt <= declaration.retry:
            wait_s = declaration.backoff.wait_s(run.attempt)
        elif ended.state is State.LOST:  # what carried it out elsewhere is gone
            wait_s, reason = declaration.after_crash(run.attempt, ended.reason)
            ended = replace(ended, reason=reason)
        if wait_s is not None and not self._is_stopping:
            ended = replace(ended, state=State.QUEUED, retry_at=self._now() + timedelta(seconds=wait_s))
        self._end(run, declaration, ended)

    def _end(self, run: Run, declaration: Declaration | None, ended: Ended) -> None:
        self._ends.add(run, declaration, ended)
        self.wake()

    def _now(self) -> datetime:
        if self._again_s:
            return datetime.now(UTC)  # to ask a store that is out of reach takes seconds
        try:
            return self._engine.now()
        except StoreError:
            return datetime.now(UTC)

    # -- the end of all -------------------------------------------------------------------------------------------

    def _stopped(self) -> None:
        """Nothing runs any more."""
        self._has_stopped = True
        now = time.monotonic()
        self._stop_until = min(max(self._stop_until, now + _LAST_S), now + _LAST_MOST_S)
        self.wake()

    def _say_last(self) -> float:
        """How all has ended; after how many seconds it is tried again, where that was in vain."""
        self._ends.say(float("inf"), at_once=True)
        self._audience.tell_again(at_once=True)
        return _FIRST_AGAIN_S

    def _finish_stop(self) -> None:
        self._ends.give_up()
        self._audience.give_up()
        done, self._done = self._done, None
        try:
            self._engine.leave(self.node)
        except StoreError:
            pass  # it counts as silent soon
        except Exception:
            logger.exception("The store of automations was not told that this node ends.")
        self._engine.close()
        if done is not None:
            done()
