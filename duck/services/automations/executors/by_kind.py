"""The executor that a dispatcher has: each run goes to the one for what it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from duck.services.automations.declaration import LANES
from duck.services.automations.engine import Ended
from duck.services.automations.run import State

if TYPE_CHECKING:
    from duck.services.automations.declaration import Declaration
    from duck.services.automations.engine import Printed
    from duck.services.automations.executor import Executor
    from duck.services.automations.run import Run


class ByKind:
    """An `Executor` of executors.

    Args:
        executors: by what they are for: one of `declaration.TARGETS`. Those that are one share its room.
    """

    def __init__(self, executors: Mapping[str, Executor]) -> None:
        self._executors = executors
        self._distinct = list({id(each): each for each in executors.values()}.values())
        self._owners: dict[int, Executor] = {}

    def room(self) -> Mapping[str, int]:
        """See `Executor`; no two of them have a lane in common. What nobody can carry out is taken, to say so."""
        room = dict.fromkeys(LANES, 1)
        for each in self._distinct:
            room.update(each.room())
        return room

    def start(self, run: Run, declaration: Declaration, ended: Callable[[Ended], None]) -> None:
        """See `Executor`."""
        executor = self._executors.get(declaration.kind)
        if executor is None:
            ended(Ended(State.FAILED, f"there is no Django project here for {declaration.kind}"))
            return
        self._owners[run.id] = executor

        def over(how: Ended) -> None:
            self._owners.pop(run.id, None)
            ended(how)

        try:
            executor.start(run, declaration, over)
        except BaseException:
            self._owners.pop(run.id, None)
            raise

    def printed(self) -> Mapping[int, Printed]:
        """See `Executor`."""
        return {run_id: each for executor in self._distinct for run_id, each in executor.printed().items()}

    def cancel(self, run_id: int) -> None:
        """See `Executor`."""
        executor = self._owners.get(run_id)
        if executor is not None:
            executor.cancel(run_id)

    def stop(self, deadline_s: float, done: Callable[[], None]) -> None:
        """See `Executor`."""
        left = len(self._distinct)

        def stopped() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                done()

        for each in self._distinct:
            each.stop(deadline_s, stopped)

    def kill(self) -> None:
        """See `Executor`."""
        for each in self._distinct:
            each.kill()
