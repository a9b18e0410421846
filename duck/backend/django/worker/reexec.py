"""A manage.py that starts itself again under another interpreter, as some do to enter their environment.

Run plainly, what it starts would be Django's own server at a port of its own, which nobody here knows of. So where it
becomes another process, that one becomes a Django process of Duck's, by the same spec; where it starts a child, it is
told what to say instead.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, List, Optional, Sequence

from .failure import StartError
from .spec import VARIABLE

if TYPE_CHECKING:
    from .spec import Spec

_WORKER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py")


class Following:
    """Follows what `manage` starts in place of itself, until `end`."""

    def __init__(self, spec: Spec, manage: str) -> None:
        self._spec = spec
        self._manage = os.path.realpath(manage)
        self._execv, self._execve = os.execv, os.execve
        self._popen = subprocess.Popen.__init__
        following = self

        def start(process: Any, args: Any, *more: Any, **named: Any) -> None:
            following._refuse(args)
            following._popen(process, args, *more, **named)

        os.execv = os.execve = self._become  # type: ignore[assignment]
        subprocess.Popen.__init__ = start  # type: ignore[assignment,method-assign]

    def end(self) -> None:
        """Leave everything as it was; may be said again."""
        os.execv, os.execve = self._execv, self._execve
        subprocess.Popen.__init__ = self._popen  # type: ignore[method-assign]

    def _become(self, path: Any, arguments: Sequence[Any], environ: Optional[Any] = None) -> None:
        environ = dict(os.environ if environ is None else environ)
        texts = [os.fsdecode(argument) for argument in arguments]
        place = self._place_of_manage(texts)
        if place is None:
            self._execve(path, list(arguments), environ)
            raise AssertionError("this process should be another by now")
        spec = self._spec
        environ[VARIABLE] = spec.text
        points = [descriptor for ends in spec.points.values() for descriptor in ends.values()]
        for descriptor in (spec.control_fd, spec.lifeline_fd, spec.stack_fd, *points):
            if descriptor >= 0:
                os.set_inheritable(descriptor, True)
        sys.stdout.flush()
        sys.stderr.flush()
        # Between the program and manage.py stand options of the interpreter, `-X dev` for example.
        self._execve(path, [*texts[:place], _WORKER], environ)

    def _refuse(self, args: Any) -> None:
        texts = args.split() if isinstance(args, str) else [args] if isinstance(args, (bytes, os.PathLike)) else args
        texts = [os.fsdecode(text) for text in texts]
        if self._place_of_manage(texts) is not None:
            raise StartError(
                f"{self._manage} starts itself again in a child process, with {texts[0]}; "
                "say --python with the Python that it means"
            )

    def _place_of_manage(self, texts: List[str]) -> Optional[int]:
        """Where manage.py stands in a command that runs it as a server; None in every other command."""
        for place, text in enumerate(texts):
            if text.endswith(".py") and os.path.realpath(text) == self._manage and "runserver" in texts[place:]:
                return place
        return None
