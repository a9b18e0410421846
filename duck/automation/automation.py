"""What an automation is, as code declares it: a decorated function, or an object with an `execute` of its own."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, TypeVar

from .trigger import AutomationTrigger, Trigger, any_of, at, condition, every, on

if TYPE_CHECKING:
    from .testing import Ran

Function = TypeVar("Function", bound=Callable[..., Any])

# Set on a decorated function; which automations a module has is found by looking for it.
MARK = "_duck_automation"


class Declared:
    """One automation, as code says it.

    Attributes:
        name: unique in the project.
        trigger: when it runs.
        target: what is called.
        options: as `automation` takes them; only those that were given.
    """

    __slots__ = ("name", "options", "target", "trigger")

    def __init__(self, name: str, trigger: Trigger, target: Callable[..., Any], options: dict[str, Any]) -> None:
        self.name = name
        self.trigger = trigger
        self.target = target
        self.options = options

    def run_for_test(self, **facts: Any) -> Ran:
        """Run it here and now, for a test; see `duck.automation.testing.run` for what it may be told."""
        from .testing import run

        return run(self.name, self.target, self.options.get("retry", 0), **facts)

    def report(self) -> dict[str, Any]:
        """What Duck is told of it: its name, a table as `duck.toml` would hold it, and where it is declared."""
        function = inspect.unwrap(self.target)
        code = getattr(function, "__code__", None)
        table = {**self.trigger.table, **self.options, "call": f"{self.target.__module__}:{self.target.__qualname__}"}
        if inspect.iscoroutinefunction(function):
            table.setdefault("run_in", "loop")
        sentence = (inspect.getdoc(function) or "").partition("\n")[0]
        if sentence:
            table["description"] = sentence
        origin = f"{code.co_filename}:{code.co_firstlineno}" if code is not None else self.target.__module__
        return {"name": self.name, "table": table, "origin": origin}


def automation(
    trigger: Trigger | type[AutomationTrigger] | None = None,
    *,
    name: str | None = None,
    missed: str | None = None,
    within: str | float | timedelta | None = None,
    overlap: str | None = None,
    timeout: str | float | timedelta | None = None,
    grace: str | float | timedelta | None = None,
    retry: int | None = None,
    backoff: str | float | timedelta | None = None,
    jitter: str | float | timedelta | None = None,
    on_crash: str | None = None,
    run_in: str | None = None,
    run_on: str | None = None,
    enabled: bool | None = None,
    alert: str | list[str] | None = None,
    alert_late: str | float | timedelta | None = None,
    alert_after: str | float | timedelta | None = None,
) -> Callable[[Function], Function]:
    """Declare that a function runs when `trigger` says; without one it runs when it is asked to.

    The function is given a `Context` where it takes an argument, and stays what it was for everybody else who calls it.
    It has a method more, `run_for_test()`; see `duck.automation.testing.run` for what that may be told.
    Times are seconds, `timedelta`, or texts such as `"30s"`, `"20m"`, `"1h30m"`.

    Args:
        name: by default the function's own.
        missed: of planned times at which nothing could run: `once` for the latest (the default), `all`, `skip`.
        within: how long after its time a missed one still runs; a day by default.
        overlap: where the run before has not ended: `skip` (the default), `queue_one`, `queue_all`, `replace`, `allow`.
        timeout: a run that lasts longer is ended, first by asking, by force after `grace`.
        retry: how often a run that failed is tried again.
        backoff: how long to wait before that: `"30s"`, or `"exp:30s..10m"`, twice as long each time.
        jitter: start up to so much later, always as much for one automation.
        on_crash: what becomes of a run whose machine was lost: `fail` (the default), or `retry` with the same key.
        run_in: `process` (the default), `thread` or `loop`; a coroutine function runs on a loop.
        run_on: `any` node (the default), `each` node, or those with a tag of this name.
        enabled: False to declare it and never run it.
        alert: the channel, or channels, of Duck's AUTOMATION_ALERTS that is told when something goes wrong.
        alert_late: a start so long after its time is told; five minutes by default.
        alert_after: that it has not succeeded for so long is told.
    """
    given = {key: value for key, value in locals().items() if key not in ("trigger", "name") and value is not None}

    def declare(function: Function) -> Function:
        found = name or str(getattr(function, "__name__", ""))
        when = condition(trigger) if isinstance(trigger, type) else trigger or Trigger({})
        declared = Declared(found, when, function, given)
        setattr(function, MARK, declared)
        setattr(function, "run_for_test", declared.run_for_test)  # noqa: B010 - which no type of it knows
        return function

    return declare


class Automation:
    """An automation as an object: made once, run as its schedule says. A subclass overrides `execute`.

    Args:
        callback: what is called where `execute` is not overridden.
        name: by default that of the class, or of the callback. Words that it has are joined with `-` where a name of
            one word is needed, as by commands: `Weekly report` is run by `duck automations run Weekly-report`.
        threaded: run in a thread of the job's process rather than in a process of its own.
        async_: run on a loop there, where `execute`, or the callback, is a coroutine function.
        start_time: the first time it runs: `datetime`, ISO 8601, or `"immediate"`.
        schedules: how often it runs in all; -1 for no end.
        interval: seconds between two runs, or a `timedelta`; with `schedules=-1` a text such as `"1h30m"`, too.
        description: a sentence for people.
        args, kwargs: for the callback.
    """

    def __init__(
        self,
        callback: Callable[..., Any] | None = None,
        name: str | None = None,
        threaded: bool = True,
        async_: bool = False,
        start_time: Any = "immediate",
        schedules: int = 1,
        interval: str | float | timedelta = 0,
        description: str | None = None,
        args: Any = (),
        kwargs: dict[str, Any] | None = None,
    ) -> None:
        self.callback = callback
        self.name: str = name or str(getattr(callback, "__name__", None) or type(self).__name__)
        self.threaded = threaded
        self.async_ = async_
        self.start_time = start_time
        self.schedules = schedules
        self.interval = interval
        own = getattr(callback, "__doc__", None) if callback is not None else type(self).__dict__.get("__doc__")
        self.description: str = inspect.cleandoc(description or own or "")
        self.args = tuple(args)
        self.kwargs = dict(kwargs or {})

    def on_start(self) -> None:
        """Called before a run; does nothing by itself."""

    def on_pre_execute(self) -> None:
        """Called between `on_start` and `execute`; does nothing by itself."""

    def on_post_execute(self) -> None:
        """Called between `execute` and `on_finish`; does nothing by itself."""

    def on_finish(self) -> None:
        """Called after a run that ended without an exception; does nothing by itself."""

    def on_error(self, error: BaseException) -> None:
        """Called after a run that failed with `error`, which has failed all the same; does nothing by itself."""

    def execute(self) -> Any:
        """The work; may be a coroutine function."""
        if self.callback is None:
            raise NotImplementedError(f"{type(self).__name__} has no callback, and its execute() is not overridden")
        return self.callback(*self.args, **self.kwargs)

    def __call__(self) -> Any:
        """One run, with what goes before and after it; of a coroutine function, what is to be awaited."""
        self.on_start()
        try:
            self.on_pre_execute()
            result = self.execute()
            if inspect.isawaitable(result):
                return self._awaited(result)
            self.on_post_execute()
        except BaseException as error:
            self.on_error(error)
            raise
        self.on_finish()
        return result

    async def _awaited(self, work: Any) -> Any:
        try:
            result = await work
            self.on_post_execute()
        except BaseException as error:
            self.on_error(error)
            raise
        self.on_finish()
        return result

    def run_for_test(self, **facts: Any) -> Ran:
        """One run here and now, for a test; see `duck.automation.testing.run` for what it may be told."""
        from .testing import run

        return run(self._one_word(), self, **facts)

    def _one_word(self) -> str:
        return re.sub(r"[^A-Za-z0-9_.-]+", "-", self.name).strip("-") or type(self).__name__

    def trigger(self) -> Trigger:
        """Its own times, as `start_time`, `schedules` and `interval` say them.

        Of a number of runs that begins `"immediate"`ly the first is at the start of a node, and the others are counted
        from now: a first planned time would have passed before the node plans.
        """
        first = None if self.start_time == "immediate" else self.start_time
        if self.schedules == -1 and self.interval:
            return every(self.interval, start=first)
        if self.schedules <= 1 or not self.interval:
            return on("start") if first is None else at(first)
        begin = first if isinstance(first, datetime) else datetime.fromisoformat(first) if first else _now()
        if isinstance(self.interval, str):
            raise ValueError(f"interval is {self.interval!r}: give seconds as a number where schedules is not -1")
        step = self.interval if isinstance(self.interval, timedelta) else timedelta(seconds=self.interval)
        moments = [begin + number * step for number in range(self.schedules)]
        return at(*moments) if first else any_of(on("start"), at(*moments[1:]))

    def _place(self) -> str:
        work = self.callback if self.callback is not None and type(self).execute is Automation.execute else self.execute
        if self.async_ and inspect.iscoroutinefunction(work):
            return "loop"
        return "thread" if self.threaded or self.async_ else "process"

    def report(self, place: str, origin: str) -> dict[str, Any]:
        """As `Declared.report`; `place` is `module:name`."""
        table = {**self.trigger().table, "call": place, "run_in": self._place()}
        name = self._one_word()
        description = self.description.partition("\n")[0] or ("" if name == self.name else self.name)
        if description:
            table["description"] = description
        return {"name": name, "table": table, "origin": origin}


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(microsecond=0)
