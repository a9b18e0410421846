"""What a request costs in Django: statements to databases, and the time in these, in templates, and in all.

Counted in development only, where DEBUG is on: `install` puts itself around what Django runs, and nothing is around it
in production. A request's `Tally` is found by a context variable, which Django's own adapters carry from an event loop
into the threads that its views run in; what a view does in a thread or process of its own is not counted.
"""

from __future__ import annotations

import contextlib
import functools
import time
from contextvars import ContextVar
from typing import Any, Callable, Iterator, List, Optional

from .hook import when_imported

_ENGINES = ("django.template.backends.django", "django.template.backends.jinja2")

_clock = time.perf_counter


class Tally:
    """Of one request, while it runs. All times in seconds, on the wall.

    Attributes:
        queries: statements that were executed, a batch (`executemany`) as one.
        database_s: how long those took; not the fetching of their rows.
        template_s: in the rendering of templates, one within another once, without the queries made meanwhile.
    """

    __slots__ = ("_began", "_depth", "_in_render_s", "_name", "_render_began", "database_s", "queries", "template_s")

    def __init__(self, name: Callable[[], str]) -> None:
        self.queries = 0
        self.database_s = 0.0
        self.template_s = 0.0
        self._name = name
        self._began = _clock()
        self._depth = 0  # of templates that render each other
        self._render_began = 0.0
        self._in_render_s = 0.0  # of queries that the outermost of them has made

    @property
    def request(self) -> str:
        """Method and path, for people."""
        return self._name()

    def queried(self, seconds: float) -> None:
        """A statement has been executed, whatever came of it."""
        self.queries += 1
        self.database_s += seconds
        if self._depth:
            self._in_render_s += seconds

    def render_begins(self) -> None:
        """A template is rendered, perhaps within another."""
        if self._depth == 0:
            self._render_began = _clock()
            self._in_render_s = 0.0
        self._depth += 1

    def render_ends(self) -> None:
        """That template is rendered, or has failed."""
        self._depth -= 1
        if self._depth == 0:
            self.template_s += max(0.0, _clock() - self._render_began - self._in_render_s)

    def counts(self) -> List[int]:
        """Queries, and microseconds in databases, in templates, and in all so far: what the front is told."""
        seconds = (self.database_s, self.template_s, _clock() - self._began)
        return [self.queries, *(int(value * 1e6) for value in seconds)]


current: "ContextVar[Optional[Tally]]" = ContextVar("duck_tally", default=None)


@contextlib.contextmanager
def uncounted() -> Iterator[None]:
    """For what Duck itself asks of a database while a request runs."""
    before = current.set(None)
    try:
        yield
    finally:
        current.reset(before)


def install() -> None:
    """Count from now on: on every connection to a database that is made, and in every template that is rendered."""
    from django.db.backends.signals import connection_created

    connection_created.connect(_connected, dispatch_uid="duck.measure")
    for name in _ENGINES:
        when_imported(name, _measure_templates)


def _connected(sender: Any, connection: Any, **more: Any) -> None:
    wrappers: List[Any] = connection.execute_wrappers
    if _execute not in wrappers:
        # Before all others: a `with connection.execute_wrapper(...)` around this moment takes the last one away.
        wrappers.insert(0, _execute)


def _execute(execute: Callable[..., Any], sql: Any, params: Any, many: bool, context: Any) -> Any:
    __traceback_hide__ = True  # Django's error page leaves the frame out
    tally = current.get()
    if tally is None:
        return execute(sql, params, many, context)
    began = _clock()
    try:
        return execute(sql, params, many, context)
    finally:
        tally.queried(_clock() - began)


def _measure_templates(module: Any) -> None:
    render = module.Template.render
    if getattr(render, "_duck_measures", False):
        return

    @functools.wraps(render)
    def measured(*args: Any, **kwargs: Any) -> Any:
        __traceback_hide__ = True
        tally = current.get()
        if tally is None:
            return render(*args, **kwargs)
        tally.render_begins()
        try:
            return render(*args, **kwargs)
        finally:
            tally.render_ends()

    measured._duck_measures = True  # type: ignore[attr-defined]
    module.Template.render = measured
