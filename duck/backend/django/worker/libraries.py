"""The first spare: the packages that the last good start has imported, and nothing of the project.

It is a process of its own, started in the background, since it has to be clean: what a package reads as it is imported
must not be what the project sets later. So nothing is imported that touches the settings or asks whether there are any,
reads a variable that the project sets, imports a module of the project, comes from another file than in that start, or
leaves behind what cannot be copied. A copy of the process tries all modules and says which of them do; the process
imports the others, and looks again: where something was touched all the same it is not used.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Set

from .fitness import why_unfit
from .hook import when_imported
from .seen import Seen

_NICE = 10
_IN_C = tuple(EXTENSION_SUFFIXES)
_OWN = "_duck_worker"
_LAZY = os.path.join("django", "utils", "functional.py")
_SIGNALS = os.path.join("django", "dispatch", "dispatcher.py")


class Touched(BaseException):
    """What a package must not look at yet; no `except Exception` of its own hides it."""


def imported_libraries(seen: Seen, before: Dict[str, str]) -> Dict[str, Any]:
    """What this process has imported of packages, and the variables that are other than `before`; for JSON."""
    modules = []
    for name, module in tuple(sys.modules.items()):
        path = getattr(module, "__file__", None)
        is_plain = getattr(getattr(module, "__spec__", None), "name", None) == name
        if path and is_plain and name.partition(".")[0] != _OWN and seen.is_installed(os.path.abspath(path)):
            modules.append([name, path])
    return {"modules": modules, "variables": sorted(changed_variables(before)), "argv": sys.argv}


def changed_variables(before: Dict[str, str]) -> Set[str]:
    """Those that are other than `before`."""
    now = dict(os.environ)
    return {name for name in {*now, *before} if now.get(name) != before.get(name)}


def import_libraries(told: Dict[str, Any], own: Sequence[int]) -> str:
    """Import what `told` says, as `imported_libraries` gave it, as far as it can be; why this process is of no use.

    `own` are descriptors of sockets that are Duck's.
    """
    files = {name: path for name, path in told["modules"]}
    arguments, sys.argv = sys.argv, told["argv"]
    path = list(sys.path)
    sys.path.insert(0, os.getcwd())
    guard = _Guard(told["variables"], files)
    try:
        with guard:
            bad = _tried(guard, own)
            if bad is None:
                return "what can be imported early could not be tried"
            guard.bad = bad
            for name in files:
                why = guard.imports(name) if name not in bad else ""
                if why:
                    return f"{name} was imported otherwise than it was tried ({why})"
    finally:
        sys.argv = arguments
        sys.path[:] = path
    return why_unfit(own)


def _tried(guard: _Guard, own: Sequence[int]) -> Optional[Set[str]]:
    """The modules that cannot be imported yet, by a copy of this process that tries all; None where it fails."""
    out, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(out)
            os.nice(_NICE)
            for name in guard.files:
                if guard.imports(name) or why_unfit([*own, told]):
                    guard.refuse(name)
            with open(told, "wb") as file:
                file.write(json.dumps([name for name in guard.files if guard.refuses(name)]).encode())
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(0)
    os.close(told)
    with open(out, "rb") as file:
        said = file.read()
    os.waitpid(pid, 0)
    return set(json.loads(said)) if said else None


class _Guard(MetaPathFinder):
    """Around imports: raises where something is touched, and tells afterwards whether one was as it should be."""

    def __init__(self, variables: Iterable[str], files: Dict[str, str]) -> None:
        self.files = files
        self.bad: Set[str] = set()
        self._variables = {os.environ.encodekey(name) for name in variables}
        self._attempted: Set[str] = set()
        self._touched = 0
        self._restore: List[Callable[[], None]] = []
        self._is_on = False
        self._known = set(sys.modules)
        self._seen = Seen()

    def __enter__(self) -> _Guard:
        self._is_on = True
        sys.meta_path.insert(0, self)
        self._watch_variables()
        when_imported("django.conf", self._watch_settings)
        return self

    def __exit__(self, *exc: object) -> None:
        self._is_on = False
        sys.meta_path.remove(self)
        for restore in self._restore:
            restore()

    def find_spec(self, name: str, path: Optional[Sequence[str]], target: Any = None) -> Optional[ModuleSpec]:
        self._attempted.add(name)
        return None

    def imports(self, name: str) -> str:
        """Import module `name`; why that was not as it should be, or empty."""
        if self.refuses(name):
            return "of a package that is not imported"
        self._attempted.clear()
        touched = self._touched
        try:
            import_module(name)
        except BaseException as error:
            return type(error).__name__
        if self._touched != touched:
            return "touched"
        # A package that does without a module which cannot be imported yet would do so for good.
        if any(one in self.bad or (one in self.files and one not in sys.modules) for one in self._attempted):
            return "incomplete"
        for one in set(sys.modules) - self._known:
            path = getattr(sys.modules[one], "__file__", None)
            if path and one.partition(".")[0] != _OWN:
                if not self._seen.is_installed(os.path.abspath(path)):
                    return "of the project"
                if one in self.files and self.files[one] != path:
                    return "another file"
        self._known = set(sys.modules)
        return ""

    def refuse(self, name: str) -> None:
        """Module `name` is not to be imported; who does all the same is found out.

        What it has imported is tried again by itself: but for modules in C, which come once.
        """
        self.bad.add(name)
        for one in {name, *set(sys.modules).difference(self._known)}:
            module = sys.modules.get(one)
            if module is not None and not str(getattr(module, "__file__", "")).endswith(_IN_C):
                del sys.modules[one]
                package, _, last = one.rpartition(".")
                if getattr(sys.modules.get(package), last, None) is module:
                    delattr(sys.modules[package], last)
        self._known = set(sys.modules)

    def refuses(self, name: str) -> bool:
        """Whether module `name`, or a package that it is of, is not to be imported."""
        while name and name not in self.bad:
            name = name.rpartition(".")[0]
        return bool(name)

    def _touch(self, *args: Any, **kwargs: Any) -> Any:
        self._touched += 1
        raise Touched

    def _asked(self, settings: Any) -> bool:
        """Whether there are settings: Django asks as a receiver is connected, only to say what is wrong with it."""
        frame = sys._getframe(1)
        while frame.f_back is not None and frame.f_code.co_filename.endswith(_LAZY):
            frame = frame.f_back
        if not frame.f_code.co_filename.endswith(_SIGNALS):
            self._touch()
        return False

    def _watch_variables(self) -> None:
        kind: Any = type(os.environ)
        plain = kind.__getitem__

        def getitem(environ: Any, key: Any) -> Any:
            if environ is os.environ and environ.encodekey(key) in self._variables:
                self._touch()
            return plain(environ, key)

        kind.__getitem__ = getitem
        self._restore.append(lambda: setattr(kind, "__getitem__", plain))

    def _watch_settings(self, module: Any) -> None:
        if not self._is_on:
            return
        kind = module.LazySettings
        before = {name: kind.__dict__[name] for name in ("_setup", "configure", "configured")}
        kind._setup = kind.configure = self._touch
        kind.configured = property(self._asked)

        def restore() -> None:
            for name, value in before.items():
                setattr(kind, name, value)

        self._restore.append(restore)
