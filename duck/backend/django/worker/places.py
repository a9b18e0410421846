"""Where the project keeps what a developer edits: templates, static files, translations, and code from elsewhere.

Told to the front in development, which watches it. What lies in installed packages nobody edits: it is left out.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from functools import lru_cache
from typing import Any, Dict, Iterable, Iterator, List, Set, Tuple

_INSTALLED = ("site-packages", "dist-packages")
# Of what a start reads: the settings are made of it. Other files may be written by the project as it runs.
_CONFIGURATION = (".env", ".json", ".toml", ".yaml", ".yml", ".ini", ".cfg", ".conf", ".properties")
_MOST_FILES = 200
_APP_DIRECTORIES = {
    "django.template.backends.django.DjangoTemplates": "templates",
    "django.template.backends.jinja2.Jinja2": "jinja2",
}


def place_facts(project: str, read: Iterable[str] = ()) -> Dict[str, Any]:
    """The facts `template_dirs`, `static_dirs` (prefix, directory), `locale_dirs`, `extra_roots`, `configuration` and
    `linked_files`.

    `project` is the directory of manage.py, `read` are the files that its start has read.
    """
    return {
        "template_dirs": _own(_template_dirs()),
        "static_dirs": [[prefix, path] for prefix, path in _static_dirs() if _is_own(path)],
        "locale_dirs": _own(_locale_dirs()),
        "extra_roots": extra_roots(project),
        "linked_files": linked_files(project),
        "configuration": [path for path in read if path.lower().endswith(_CONFIGURATION)][:_MOST_FILES],
    }


def _own(paths: Iterable[Any]) -> List[str]:
    found = [os.path.abspath(str(path)) for path in paths if path]
    return [path for path in dict.fromkeys(found) if _is_own(path)]


def _is_own(path: str) -> bool:
    """Whether `path` is no installed package's and none of Python itself."""
    if any(part in _INSTALLED for part in path.split(os.sep)):
        return False
    return not any(_is_at_or_below(path, one) for one in _python_directories())


@lru_cache(maxsize=None)
def _python_directories() -> Tuple[str, ...]:
    found = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
    return tuple({one for path in found for one in (path, os.path.realpath(path))})


def _is_at_or_below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip(os.sep) + os.sep)


def _template_dirs() -> Iterator[Any]:
    """By the settings where these say it all: to make the engines costs 5 ms and more, before anybody is answered."""
    from django.conf import settings
    from django.template.utils import get_app_template_dirs

    are_known = True
    for config in settings.TEMPLATES:
        name = _APP_DIRECTORIES.get(str(config.get("BACKEND")))
        if name is None or (config.get("OPTIONS") or {}).get("loaders"):
            are_known = False
            continue
        yield from config.get("DIRS", ())
        if config.get("APP_DIRS"):
            yield from get_app_template_dirs(name)
    if not are_known:
        yield from _dirs_of_engines()


def _dirs_of_engines() -> Iterator[Any]:
    from django.template import engines

    for backend in engines.all():
        yield from getattr(backend, "template_dirs", ())
        for loader in getattr(getattr(backend, "engine", None), "template_loaders", ()):
            yield from _dirs_of(loader)


def _dirs_of(loader: Any) -> Iterator[Any]:
    """Of a loader; one that caches has others within."""
    for inner in getattr(loader, "loaders", ()):
        yield from _dirs_of(inner)
    get_dirs = getattr(loader, "get_dirs", None)
    if get_dirs is not None:
        try:
            yield from get_dirs()
        except Exception:  # a loader of the project's: what it cannot tell is not watched
            return


def _static_dirs() -> Iterator[Tuple[str, str]]:
    from django.apps import apps

    if not apps.is_installed("django.contrib.staticfiles"):
        return
    from django.contrib.staticfiles.finders import get_finders

    for finder in get_finders():
        storages = getattr(finder, "storages", None)
        for storage in storages.values() if isinstance(storages, dict) else ():
            location = getattr(storage, "location", None)
            if location:
                prefix = str(getattr(storage, "prefix", "") or "").replace(os.sep, "/").strip("/")
                yield prefix, os.path.abspath(str(location))


def _locale_dirs() -> Iterator[Any]:
    from django.apps import apps
    from django.conf import settings

    if not settings.USE_I18N:
        return
    yield "locale"
    yield from settings.LOCALE_PATHS
    for config in apps.get_app_configs():
        yield os.path.join(config.path, "locale")


# -- code from elsewhere ------------------------------------------------------------------------------------------


def extra_roots(project: str) -> List[str]:
    """Directories with code that the project imports from outside: packages installed editable, PYTHONPATH.

    Told by what Python itself goes by: `sys.path`, to which `.pth` files add; the finders that editable packages put on
    `sys.meta_path`; and where imported modules lie.
    """
    project = os.path.realpath(project)
    here = os.path.realpath(__file__)  # a checkout of Duck in the project's environment is no part of the project
    too_much = {project, os.path.realpath(os.path.expanduser("~")), os.sep}
    found: Set[str] = set()
    candidates = dict.fromkeys([*_on_path(), *_of_finders(), *_of_modules(), *_of_links(project)])
    for path in candidates:
        # By name first: most are installed, and each link that is resolved costs a look at the disk.
        if not _is_own(path) or (_is_at_or_below(path, project) and not os.path.islink(path)):
            continue
        path = os.path.realpath(path)
        if not _is_own(path) or _is_at_or_below(path, project) or _is_at_or_below(here, path):
            continue
        if not os.path.isdir(path):
            continue
        # What holds the project holds more than code: there only the packages that were imported count.
        if path in too_much or any(_is_at_or_below(one, path) for one in too_much):
            continue
        found.add(path)
    return sorted(path for path in found if not any(one != path and _is_at_or_below(path, one) for one in found))


def _on_path() -> Iterator[str]:
    for path in sys.path:
        # A zip has no files, an empty entry is the project's directory.
        if path and os.path.isdir(path) and not path.endswith("lib-dynload"):
            yield path


def _of_finders() -> Iterator[str]:
    """What editable packages map names to: by setuptools, by `editables` (Hatch, PDM), by scikit-build-core."""
    for finder in list(sys.meta_path):
        module = sys.modules.get(str(getattr(finder, "__module__", "")))
        for mapping in (
            getattr(module, "MAPPING", None),
            getattr(finder, "_redirections", None),
            getattr(finder, "known_source_files", None),
        ):
            for path in mapping.values() if isinstance(mapping, dict) else ():
                yield str(path) if os.path.isdir(str(path)) else os.path.dirname(str(path))


def _of_modules() -> Iterator[str]:
    for name, module in list(sys.modules.items()):
        if "." in name or name.startswith(("_duck", "__main__")):
            continue
        # A module alone, without a package, is found on the path or by a finder.
        for path in _paths_of(module):
            yield path


def _of_links(project: str) -> Iterator[str]:
    """Packages that a link in the project leads to."""
    for module in list(sys.modules.values()):
        for path in _paths_of(module):
            if _is_at_or_below(path, project) and os.path.islink(path):
                yield path


def linked_files(project: str) -> List[str]:
    """What modules of the project are links to: whoever edits the file edits it where it is."""
    project = os.path.realpath(project)
    found: Set[str] = set()
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None) if type(module) is type(sys) and not name.startswith("_duck") else None
        if isinstance(path, str) and _is_at_or_below(path, project) and os.path.islink(path):
            found.add(os.path.realpath(path))
    return sorted(path for path in found if _is_own(path))[:_MOST_FILES]


def _paths_of(module: Any) -> List[str]:
    """Of a package; asked for as Python keeps it, since a module may import others where it is asked for a name."""
    try:
        return [str(path) for path in vars(module).get("__path__") or ()]
    except Exception:  # no module at all, or a path that cannot be told
        return []
