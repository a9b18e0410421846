"""`duck.automation`, that name and no other, for a project whose manage.py is run where Duck is not installed.

The directory around this one is put on PYTHONPATH (`duck manage` does); where Duck is installed, that is used.
"""

import os
import sys
from importlib.machinery import PathFinder
from importlib.util import module_from_spec, spec_from_file_location

_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_PROVIDED = os.path.join(os.path.dirname(_HERE), "worker", "provided.py")


def _become() -> None:
    module = sys.modules[__name__]
    others = [entry for entry in sys.path if os.path.realpath(entry or os.curdir) != os.path.realpath(_HERE)]
    found = PathFinder.find_spec("duck", others)
    if found is not None and found.loader is not None:
        module.__spec__, module.__file__ = found, found.origin or ""
        module.__path__ = list(found.submodule_search_locations or ())
        found.loader.exec_module(module)
        return
    module.__path__ = []
    spec = spec_from_file_location("_duck_provided", _PROVIDED)
    assert spec is not None and spec.loader is not None
    provided = module_from_spec(spec)
    spec.loader.exec_module(provided)
    provided.provide_automation()


_become()
