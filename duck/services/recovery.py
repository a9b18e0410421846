"""Recovery: which change of files may mend a Django project that could not be started, and whether it can."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from duck.backend.django.discover import child_environment
from duck.services.ducksight import RecoveryWatch, signature, syntax_error

if TYPE_CHECKING:
    from duck.backend.django.discover import Interpreter, Project
    from duck.backend.django.process import Failure
    from duck.services.inbox import Inbox

logger = logging.getLogger("duck.django")

_COMPILE_TIMEOUT_S: Final = 10.0
_NAMED_FILES: Final = 3
_COMPILE = "import sys; compile(open(sys.argv[1], 'rb').read(), sys.argv[1], 'exec', dont_inherit=True)"


class Recovery:
    """Of one project; without one it has nothing to watch.

    Args:
        mended: called on the inbox when a watched file has changed and compiles.
    """

    def __init__(
        self, inbox: Inbox, project: Project | None, interpreter: Interpreter | None, mended: Callable[[], None]
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

    def compiles(self, paths: list[str]) -> bool:
        """Whether the Python files among `paths` can be compiled; one that cannot is told of."""
        for path in paths:
            error = syntax_error(path) if path.endswith(".py") else None
            # The project's Python may know more syntax than Duck's own.
            if error is not None and not self._project_compiles(path):
                logger.error(
                    "%s:%s: %s; what runs keeps running until the file is mended.", path, error.lineno or 1, error.msg
                )
                return False
        return True

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
        if self.compiles(paths):
            logger.info("Changed: %s; starting Django again.", ", ".join(map(self._shown, paths)))
            self._mended_by = {path: signature(path) for path in paths}
            self._mended()
        elif self._watch is not None:
            self._watch.start()

    def _shown(self, path: str) -> str:
        return path.removeprefix(f"{self._project.root}{os.sep}") if self._project is not None else path

    def _project_compiles(self, path: str) -> bool:
        interpreter = self._interpreter
        if interpreter is None or interpreter.python_version.split(".")[:2] == [
            str(part) for part in sys.version_info[:2]
        ]:
            return False
        try:
            done = subprocess.run(
                [interpreter.path, "-I", "-S", "-c", _COMPILE, path],
                env=child_environment(os.environ, interpreter.path),
                capture_output=True,
                timeout=_COMPILE_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return done.returncode == 0
