"""A failure to start, as the App shows it: one line, the traceback, and the files whose change may mend it."""

from __future__ import annotations

import os
import sys
import sysconfig
import traceback
from typing import Any, Dict, Iterator, List, Optional, Set

EXIT_FAILED = 3  # the failure has been reported; any other code is a crash

_DUCK = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))


class StartError(Exception):
    """Duck's own sentence about why the project cannot be started."""


def describe(error: BaseException, stage: str, extra_files: List[str], named_by: str = "manage.py") -> Dict[str, Any]:
    """The facts of a `failed` event for `error`; `extra_files` are project files to watch in any case.

    `named_by` says where the name of the settings module comes from.
    """
    if isinstance(error, ModuleNotFoundError) and _is_of_settings(error.name or ""):
        name = os.environ["DJANGO_SETTINGS_MODULE"]
        error = StartError(
            f"the settings module {name!r}, named by {named_by}, is not there ({error}); "
            "correct the name, or say --django-settings MODULE"
        )
    files = _project_files(error)
    files.extend(path for path in extra_files if path not in files and os.path.isfile(path))
    if isinstance(error, ModuleNotFoundError):
        # Its time changes as something is installed there, which may mend it as well as a change of a file.
        files.append(sysconfig.get_paths()["purelib"])
    message, text = message_of(error), text_of(error)
    return {
        "stage": stage,
        "message": message,
        "traceback": "" if text.strip() == message else text,
        "files": files,
        "transient": is_transient(error),
    }


def is_transient(error: BaseException) -> bool:
    """Whether the cause may pass by itself: a database or another server that cannot be reached now."""
    database = sys.modules.get("django.db.utils")
    kinds = (ConnectionError, TimeoutError, *((database.OperationalError,) if database is not None else ()))
    return any(isinstance(link, kinds) for link in _chain(error, set()))


def message_of(error: BaseException) -> str:
    """One line that says what is wrong."""
    if isinstance(error, StartError):
        return str(error)
    if _is_command_error(error):
        lines = [line for line in str(error).splitlines() if line.strip() and not line.rstrip().endswith(":")]
        return lines[0].strip() if lines else type(error).__name__
    text = " ".join(str(error).split())
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] not in sys.modules:
        return f"{text}; install it for {sys.executable}, or say with --python which Python has the project's packages"
    if isinstance(error, SyntaxError) and error.filename:
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _is_of_settings(module: str) -> bool:
    """Whether `module` is the settings module or a package that it lies in."""
    return bool(module) and (os.environ.get("DJANGO_SETTINGS_MODULE", "") + ".").startswith(module + ".")


def text_of(error: BaseException) -> str:
    """The traceback, without the frames of Duck and of the import system that lie between the project's."""
    if isinstance(error, StartError):
        return ""
    if _is_command_error(error):
        return str(error)
    told = traceback.TracebackException(type(error), error, error.__traceback__)
    link: Optional[traceback.TracebackException] = told
    while link is not None:
        link.stack = traceback.StackSummary.from_list([frame for frame in link.stack if not _is_ours(frame.filename)])
        link = link.__cause__ or link.__context__
    return "".join(told.format())


def _is_command_error(error: BaseException) -> bool:
    """Whether the error is a sentence of Django's to the user (a failed system check is), which has no traceback."""
    return any(kind.__module__ == "django.core.management.base" for kind in type(error).__mro__)


def _is_ours(filename: str) -> bool:
    return filename.startswith((_DUCK + os.sep, "<frozen "))


def _chain(error: BaseException, seen: Set[int]) -> Iterator[BaseException]:
    link: Optional[BaseException] = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or link.__context__


def _project_files(error: BaseException) -> List[str]:
    """Files of the project that the error and its causes name, innermost first, each once."""
    files: List[str] = []
    for link in _chain(error, set()):
        names = [frame.f_code.co_filename for frame, _ in traceback.walk_tb(link.__traceback__)]
        if isinstance(link, SyntaxError) and link.filename:
            names.append(link.filename)
        files.extend(path for path in map(os.path.abspath, reversed(names)) if path not in files and is_project(path))
    return files


def is_project(path: str) -> bool:
    """Whether `path` is a file somebody may edit: none of Python's, of an installed package or of Duck."""
    if not os.path.isfile(path) or "site-packages" in path or "dist-packages" in path:
        return False
    paths = sysconfig.get_paths()
    roots = {_DUCK, paths["stdlib"], paths["platstdlib"]}
    real = os.path.realpath(path)
    return not any(real.startswith(os.path.realpath(root) + os.sep) for root in roots)
