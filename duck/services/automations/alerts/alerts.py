"""Alerts: the observer of the dispatcher that tells people."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

from duck.exceptions import StoreError
from duck.services.automations.alerts import webhook
from duck.services.automations.alerts.alert import Alert, of_end, of_missed, of_silence, of_start
from duck.services.automations.alerts.outbox import Outbox
from duck.services.automations.due import was_missed
from duck.services.automations.run import State

if TYPE_CHECKING:
    from duck.services.automations.alerts.channel import Channel
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.engine import Engine
    from duck.services.automations.run import Run
    from duck.services.inbox import Inbox, Timer

logger = logging.getLogger("duck.automations")

# How often it is asked who has not run for long; what is missed meanwhile is told as one.
_LOOK_S: Final = 15.0
_GATHER_S: Final = 1.0
# How often it is looked whether all is sent, at the end.
_SENT_S: Final = 0.02
# One that is silent already is looked at less often.
_AGAIN: Final = timedelta(minutes=1)
_MOST_UNSURE: Final = 1000
# How many runs back a row of failures is followed.
_BEFORE: Final = 100


class Mail(Protocol):
    """Sends mail."""

    def send(self, subject: str, text: str, to: Sequence[str]) -> None:
        """Have it sent; nothing waits."""

    @property
    def is_busy(self) -> bool:
        """Whether some is on its way."""

    def give_up(self) -> None:
        """What is on its way will not be sent; that is logged."""


class Alerts:
    """An `Observer`. On the inbox's thread.

    Args:
        channels: by their names.
        sender: who tells it: this node and machine.
        mail: None where there is no project that could send it.
    """

    def __init__(
        self,
        inbox: Inbox,
        engine: Engine,
        channels: Mapping[str, Channel],
        sender: str,
        mail: Mail | None = None,
    ) -> None:
        self._inbox = inbox
        self._engine = engine
        self._channels: Mapping[str, Channel] = {}
        self._sender = sender
        self._mail = mail
        self._outboxes: dict[str, Outbox] = {}
        self._declared: dict[str, Declaration] = {}
        self._missed: dict[str, tuple[int, Run]] = {}
        self._unsure: dict[str, None] = {}  # what the store may have been told that this node tells it
        self._quiet_until: dict[str, datetime] = {}  # before which none of these can have been silent for too long
        self._timer: Timer | None = None
        self._until = float("inf")
        self._done: Callable[[], None] | None = None
        self.use(channels)

    def use(self, channels: Mapping[str, Channel]) -> None:
        """Tell these from now on; what waits for those that are gone, or changed, may not be sent any more."""
        before, self._channels = self._channels, channels
        for name in before:
            if before[name] != channels.get(name) and name in self._outboxes:
                self._outboxes.pop(name).discard()
        for name, each in channels.items():
            if each.webhook and name not in self._outboxes:
                self._outboxes[name] = Outbox(f"the channel {name}", partial(webhook.post, each.webhook))

    def declare(self, declarations: Iterable[Declaration]) -> None:
        """These, and no others, from now on."""
        self._declared = {each.name: each for each in declarations if each.alert and each.enabled}
        self._quiet_until = {}
        if self._timer is None:
            self._timer = self._inbox.call_later(_LOOK_S, self._look)

    def tell_all(self) -> None:
        """Gather nothing more: the store is given back soon."""
        if self._timer is not None:
            self._timer.cancel()
        self._tell_missed()

    def finish(self, within_s: float, done: Callable[[], None]) -> None:
        """Send what waits, as far as that is done within so many seconds, while the inbox serves; then `done`.

        May be said again, with a shorter time.
        """
        is_new = self._done is None
        self._done = done
        for name in self._missed:  # the store was away
            logger.error("The alert 'missed' of %s is not sent: Duck has ended before.", name)
        self._missed.clear()
        self._until = min(self._until, time.monotonic() + within_s)
        for outbox in self._outboxes.values():
            outbox.hurry()
        if is_new:
            self._see_sent()

    def _see_sent(self) -> None:
        is_busy = self._mail is not None and self._mail.is_busy
        if time.monotonic() < self._until and (is_busy or not all(each.is_over for each in self._outboxes.values())):
            self._inbox.call_later(_SENT_S, self._see_sent)
            return
        self.close(0.0)
        if self._done is not None:
            self._done()

    def close(self, within_s: float) -> None:
        """Send what waits, as far as that is done within so many seconds; then nothing more. What is not is logged."""
        self.tell_all()
        deadline = time.monotonic() + within_s
        for outbox in self._outboxes.values():
            outbox.close(max(0.0, deadline - time.monotonic()))
        if self._mail is not None:
            self._mail.give_up()

    # -- an Observer ----------------------------------------------------------------------------------------------

    def started(self, declaration: Declaration, run: Run) -> None:
        """See `Observer`."""
        if declaration.alert:
            self._tell(declaration, of_start(declaration, run))
            if run.missed and run.attempt == 1:
                self._note_missed(declaration, run.missed, run)

    def ended(self, declaration: Declaration, run: Run) -> None:
        """See `Observer`."""
        if declaration.alert:
            before = self._engine.runs(run.name, limit=_BEFORE, before=run.id)
            self._tell(declaration, of_end(declaration, run, before))

    def skipped(self, declaration: Declaration, run: Run) -> None:
        """See `Observer`."""
        if declaration.alert and was_missed(run):
            self._note_missed(declaration, 1, run)

    # -- below ----------------------------------------------------------------------------------------------------

    def _note_missed(self, declaration: Declaration, count: int, run: Run) -> None:
        """After an absence there may be a thousand."""
        before, _ = self._missed.get(declaration.name, (0, run))
        if not self._missed:
            self._inbox.call_later(_GATHER_S, self._tell_missed)
        self._missed[declaration.name] = (before + count, run)

    def _tell_missed(self) -> None:
        while self._missed:
            name, (count, run) = next(iter(self._missed.items()))
            declaration = self._declared.get(name)
            try:
                if declaration is not None:
                    self._tell(declaration, of_missed(name, count, run, self._engine.now()))
            except StoreError:  # the log says that it is away
                self._inbox.call_later(_LOOK_S, self._tell_missed)
                return
            del self._missed[name]

    def _look(self) -> None:
        """Who has not run for long?"""
        self._timer = self._inbox.call_later(_LOOK_S, self._look)
        watched = [each for each in self._declared.values() if each.alert_after_s is not None]
        if not watched:
            return
        try:
            now = self._engine.now()
            watched = [each for each in watched if self._quiet_until.get(each.name, now) <= now]
            if not watched:
                return
            paused, standings = self._engine.paused(), self._engine.standings()
            for declaration in watched:
                self._quiet_until[declaration.name] = now + _AGAIN
                if declaration.name in paused or declaration.name not in standings:
                    continue
                succeeded = self._engine.runs(declaration.name, limit=1, state=State.SUCCEEDED)
                if succeeded:
                    since = succeeded[0].ended or succeeded[0].planned
                else:
                    known = [each.created or now for each in self._engine.runs(declaration.name, limit=_BEFORE)]
                    since = min([*known, standings[declaration.name].since])
                over = since + timedelta(seconds=declaration.alert_after_s or 0.0)
                self._quiet_until[declaration.name] = max(over, now + _AGAIN)
                self._tell(declaration, of_silence(declaration, since, bool(succeeded), now))
        except StoreError:
            return

    def _tell(self, declaration: Declaration, alert: Alert | None) -> None:
        """Tell it, unless any node has.

        Raises:
            StoreError: the store cannot be asked; nothing was told, and it is to be tried again.
        """
        if alert is None or not self._is_ours(alert.key):
            return
        for name in declaration.alert:
            channel = self._channels.get(name)
            if channel is not None:
                self.send(channel, alert)

    def _is_ours(self, key: str) -> bool:
        """Whether it is for this node to tell what `key` names.

        Where an answer was lost, the store may have this node's word already, or another node's: rather than that
        nobody tells it, two may.
        """
        was_unsure = key in self._unsure
        self._unsure[key] = None
        while len(self._unsure) > _MOST_UNSURE:
            del self._unsure[next(iter(self._unsure))]
        is_first = self._engine.once(key)
        del self._unsure[key]
        return is_first or was_unsure

    def send(self, channel: Channel, alert: Alert) -> None:
        """Tell it there; nothing waits."""
        values: dict[str, Any] = alert.values(self._sender)
        if channel.log:
            logger.error("Alert: %s", alert.sentence)
        if channel.webhook:
            self._outboxes[channel.name].put(values)
        if channel.mail:
            if self._mail is None:
                logger.error("The alert %r of %s is not mailed: there is no project here.", alert.event, alert.name)
                return
            self._mail.send(f"[Duck] {alert.sentence}", _text(values), channel.mail)


def _text(values: dict[str, Any]) -> str:
    """What a mail says."""
    lines = [values["text"], ""]
    run = values["run"] or {}
    lines += [f"{key}: {value}" for key, value in run.items() if key != "output" and value not in (None, "")]
    if run.get("output"):
        lines += ["", "The end of its output:", "", run["output"]]
    return "\n".join(lines) + "\n"
