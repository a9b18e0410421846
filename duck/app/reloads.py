"""Reloads: new code beside the old, asked for by `duck reload` or SIGHUP; of Django, or of Duck itself."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from duck.app.deployed import Deployed
from duck.app.trial import Trial

if TYPE_CHECKING:
    from duck.app.lifecycle import Lifecycle
    from duck.backend.django.process import Failure
    from duck.services.ipc import Request

logger = logging.getLogger("duck.app")


class Reloads:
    """For the inbox's thread.

    Attributes:
        deployed: tells automations of new code.
    """

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self.deployed = Deployed(lifecycle)
        if lifecycle.succession.has_children:
            self.deployed.replaced()
        self._trial = Trial(lifecycle.inbox.post, self._passed, self._untried)
        self._waiting: list[Request] = []  # for the trial

    def asked(self, request: Request) -> None:
        """The command `reload`: answered when the new code serves, refused with the reason when it does not."""
        if self._lifecycle.ending.has_begun:
            request.refuse("Duck is about to end.")
        elif request.arguments.get("self"):
            request.progress("Seeing whether the new Duck can be loaded.")
            self._waiting.append(request)
            self._trial.begin()
        else:
            self._load(request)

    def hung_up(self) -> None:
        """SIGHUP, which says nothing back."""
        if not self._lifecycle.ending.has_begun:
            self._load(None)

    def restart(self) -> None:
        """Start Duck itself again, once it is known that its code can be loaded; nobody waits for an answer."""
        self._trial.begin()

    def stop(self) -> None:
        """Try nothing more."""
        self._trial.stop()

    # -- Django ---------------------------------------------------------------------------------------------------

    def _load(self, request: Request | None) -> None:
        django = self._lifecycle.django
        if (django is None or django.root is None) and self._lifecycle.automations.is_there:
            self._load_automations(request)
            return
        if django is None or django.root is None:
            sentence = "There is no Django process of Duck's own to load again; `duck reload --self` replaces Duck."
            logger.warning("%s", sentence)
            if request is not None:
                request.refuse(sentence)
            return
        began = time.monotonic()
        logger.info("Loading Django again beside what serves.")
        self._lifecycle.host.reloading()

        def outcome(failure: Failure | None, number: int) -> None:
            self._lifecycle.host.ready(
                f"generation {number}" if failure is None else f"not reloaded: {failure.message}"
            )
            if failure is None:
                self.deployed.reloaded(number)
            if request is None:
                return  # the log has it
            if failure is None:
                request.reply({"generation": number, "took_s": round(time.monotonic() - began, 2)})
            else:
                text = f"\n{failure.traceback.rstrip()}" if failure.traceback else ""
                goes_on = "what ran before serves on" if django.ready else "nothing serves"
                request.refuse(f"Django could not be loaded again, and {goes_on}: {failure.message}{text}")

        django.reload(outcome)

    def _load_automations(self, request: Request | None) -> None:
        """Where Duck has no Django of its own: what there is to load again is in the dispatcher."""
        began = time.monotonic()
        self._lifecycle.host.reloading()

        def outcome(failure: str) -> None:
            self._lifecycle.host.ready("automations loaded again" if not failure else f"not reloaded: {failure}")
            if request is not None and failure:
                request.refuse(f"The automations could not be loaded again: {failure}")
            elif request is not None:
                request.reply({"automations": True, "took_s": round(time.monotonic() - began, 2)})

        self._lifecycle.automations.reload(outcome)

    # -- Duck itself ----------------------------------------------------------------------------------------------

    def _passed(self) -> None:
        waiting, self._waiting = self._waiting, []
        lifecycle = self._lifecycle
        if lifecycle.ending.has_begun:
            for request in waiting:
                request.refuse("Duck is about to end.")
            return
        lifecycle.succession.failure = ""  # of an earlier attempt
        told: dict[str, Any] = {"run": lifecycle.succession.run, "replacing": True}
        for request in waiting:
            request.reply(told)
        # What was said is sent by then.
        lifecycle.inbox.call_later(0.05, lifecycle.replace_self)

    def _untried(self, output: str) -> None:
        waiting, self._waiting = self._waiting, []
        logger.error("The new Duck cannot be loaded; this one serves on.\n%s", output)
        for request in waiting:
            request.refuse(f"The new Duck cannot be loaded, and this one serves on:\n{output}")
