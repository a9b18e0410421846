"""Recovery: which change of files may mend a Django project that could not be started, and whether it can."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from duck.backend.django.discover import child_environment
from duck.services.ducksight.recovery import RecoveryWatch, signature
from duck.services.ducksight.syntax import first_that_fails, syntax_error

if TYPE_CHECKING:
    from duck.backend.django.discover import Interpreter, Project
    from duck.backend.django.process import Failure
    from duck.services.inbox import Inbox

logger = logging.getLogger("duck.django")

# Compiled on the spot, a millisecond each; more are compiled by another process meanwhile.
_FEW: Final = 20
_NAMED_FILES: Final = 3


class Recovery:
    """Of one project; without one it has nothing to watch.

    Args:
        mended(paths): called on the inbox when watched files have changed and compile.
    """

    def __init__(
        self,
        inbox: Inbox,
        project: Project | None,
        interpreter: Interpreter | None,
        mended: Callable[[list[str]], None],
    ) -> None:
        self._inbox = inbox
        self._project = project
        self._interpreter = interpreter
        self._mended = mended
        self._watch: RecoveryWatch | None = None
        self._mended_by: dict[str, object] = {}  # files whose change started the project last, as they were then

    def watch(self, failure: Failure) -> None:
        """Wait for a change of the files of `failure`; not where the project is started again by itself."""
        if self._project is not None and failure.stage != "crash":
            self.forget()
            files = failure.files or (str(self._project.manage),)
            self._watch = RecoveryWatch(self._inbox, files, self._changed)
            self._watch.start()

    def forget(self) -> None:
        """Wait for nothing any more."""
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def check(self, paths: Sequence[str], checked: Callable[[SyntaxError | None], None]) -> None:
        """Whether the Python files among `paths` can be compiled; `checked` gets the first error, which is told of.

        A few are compiled at once, and `checked` called before this returns. Of many it is called later, and only those
        count that could be compiled in a few seconds: what else is wrong is found by who loads them.
        """
        python = [path for path in paths if path.endswith(".py")]
        if len(python) <= _FEW or self._interpreter is None:
            checked(self._first_error(python))
            return

        def found(path: str) -> None:
            checked(self._first_error([path] if path else []))

        run = partial(first_that_fails, self._interpreter.path, python, self._environment)
        threading.Thread(
            target=lambda: self._inbox.post(partial(found, run())), name="duck-syntax", daemon=True
        ).start()

    def has_seen(self, paths: list[str]) -> bool:
        """Whether all `paths` are as they were when a change of them mended the project."""
        return all(path in self._mended_by and signature(path) == self._mended_by[path] for path in paths)

    def sentence(self, failure: Failure) -> str:
        """What starts the project again after `failure`, as the end of a sentence."""
        if self._project is None or failure.stage == "crash" or failure.is_transient:
            return "Django is started again in a moment, and by itself"
        files = [path for path in failure.files if path.endswith(".py")] or [str(self._project.manage)]
        named = [self._shown(path) for path in files[:_NAMED_FILES]]
        more = len(files) - len(named)
        named += [f"{more} more file{'s' if more > 1 else ''} of the traceback"] if more else []
        listed = " or ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
        return f"a change of {listed} starts it again"

    def _changed(self, paths: list[str]) -> None:
        if self._first_error([path for path in paths if path.endswith(".py")]) is None:
            logger.info("Changed: %s; starting Django again.", ", ".join(map(self._shown, paths)))
            self._mended_by = {path: signature(path) for path in paths}
            self._mended(paths)
        elif self._watch is not None:
            self._watch.start()

    def _first_error(self, paths: Sequence[str]) -> SyntaxError | None:
        for path in paths:
            error = syntax_error(path)
            # The project's Python may know more syntax than Duck's own.
            if error is not None and not self._project_compiles(path):
                logger.error(
                    "%s:%s: %s; what runs keeps running until the file is mended.", path, error.lineno or 1, error.msg
                )
                return error
        return None

    @property
    def _environment(self) -> dict[str, str]:
        return child_environment(
            os.environ, self._interpreter.path if self._interpreter is not None else sys.executable
        )

    def _shown(self, path: str) -> str:
        return path.removeprefix(f"{self._project.root}{os.sep}") if self._project is not None else path

    def _project_compiles(self, path: str) -> bool:
        interpreter = self._interpreter
        if interpreter is None or interpreter.python_version.split(".")[:2] == [
            str(part) for part in sys.version_info[:2]
        ]:
            return False
        return not first_that_fails(interpreter.path, [path], self._environment)
