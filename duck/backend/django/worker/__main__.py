"""The entry of a Django process: loads its siblings under a private name and runs them.

Run as a file. Its directory, which Python puts first on the path, is taken off before anything else is imported.
"""

import os
import sys

_HERE = os.path.dirname(os.path.abspath(__file__))


def _leave_path() -> None:
    """Take this file's directory off the path: no file of Duck may answer to an import of the project's."""
    if sys.path and os.path.realpath(sys.path[0] or os.curdir) == os.path.realpath(_HERE):
        del sys.path[0]


def _load() -> None:
    """Make the package `_duck_worker`: the tree of `duck`, without running its `__init__`."""
    import types
    from importlib.util import module_from_spec, spec_from_file_location

    root = os.path.dirname(os.path.dirname(os.path.dirname(_HERE)))
    package = types.ModuleType("_duck_worker", "Duck's part of this process.")
    package.__path__ = [root]
    sys.modules["_duck_worker"] = package
    # From its source: beside it may lie a native module, which is for the front's interpreter.
    name = "_duck_worker.wire.link"
    spec = spec_from_file_location(name, os.path.join(root, "wire", "link.py"))
    assert spec is not None and spec.loader is not None
    sys.modules[name] = module = module_from_spec(spec)
    spec.loader.exec_module(module)


if __name__ == "__main__":
    _leave_path()
    _load()
    from importlib import import_module

    _ROLES = {"_DUCK_COMMAND": "command", "_DUCK_JOBS": "jobs", "_DUCK_STORE": "store"}
    _NAME = next((_ROLES[variable] for variable in _ROLES if variable in os.environ), "run")
    sys.exit(import_module(f"_duck_worker.backend.django.worker.{_NAME}").main())
