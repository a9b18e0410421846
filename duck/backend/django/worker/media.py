"""Whether uploaded files may be answered by the front without Django: only where nothing of the project decides."""

from __future__ import annotations

import os
import re
import sys
from typing import Any, Dict, Iterator, List, Tuple

# Names of classes, Django's LoginRequiredMiddleware and what derives from it among them.
_ASKS_WHO = re.compile(r"LoginRequired|RequireLogin|Lockdown|BasicAuth", re.IGNORECASE)
# Directories that packages keep for files which views hand out: django-sendfile2's first, and usual names.
_PRIVATE = ("SENDFILE_ROOT", "PRIVATE_STORAGE_ROOT", "PRIVATE_MEDIA_ROOT", "PROTECTED_MEDIA_ROOT")
_REGEX_META = re.compile(r"[\\.^$*+?{}\[\]|()]")


def media_facts(manage: str, base_dir: str) -> Dict[str, Any]:
    """The facts `url`, `root`, `served` and `why`: a sentence that tells why not."""
    from django.conf import settings

    url: str = settings.MEDIA_URL or ""
    root = str(settings.MEDIA_ROOT or "")
    facts: Dict[str, Any] = {"url": url or None, "root": os.path.abspath(root) if root else None}
    facts["why"] = _objection(url, root, manage, base_dir)
    facts["served"] = not facts["why"]
    return facts


def _objection(url: str, root: str, manage: str, base_dir: str) -> str:
    if not root:
        return "MEDIA_ROOT is not set."
    if not url.startswith("/") or url.startswith("//"):
        return f"MEDIA_URL is {url!r}, which is no path of this server."
    if url == "/" or not url.endswith("/"):
        return f"MEDIA_URL is {url!r}; a path like '/media/' is needed to tell media from pages."
    real = os.path.realpath(root)
    storage = _storage_objection(real, url)
    if storage:
        return storage
    for path, what in _precious(manage, base_dir):
        if _holds(real, path):
            return f"MEDIA_ROOT {root!r} holds {what}, which must never be served."
    return _middleware_objection() or _view_objection(url, real)


def _storage_objection(real: str, url: str) -> str:
    from django.core.files.storage import FileSystemStorage, default_storage

    try:
        if not isinstance(default_storage, FileSystemStorage):
            return f"The default storage is {default_storage.__class__.__name__}, not the file system."
        location = os.path.realpath(default_storage.location)
        given = default_storage.url("a.jpg")
    except Exception as error:
        return f"The default storage cannot be made: {error}."
    if location != real:
        return f"The default storage keeps its files in {location!r}, not in MEDIA_ROOT."
    if given != url + "a.jpg":
        return f"The default storage hands out its files as {given.partition('?')[0]!r}, by rules of its own."
    return ""


def _precious(manage: str, base_dir: str) -> Iterator[Tuple[str, str]]:
    from django.conf import settings

    if manage:
        yield manage, "manage.py"
    yield base_dir, "the project itself"
    module = sys.modules.get(getattr(settings, "SETTINGS_MODULE", ""))
    if getattr(module, "__file__", None):
        yield str(module.__file__), "the settings"  # type: ignore[union-attr]
    for name in _PRIVATE:
        if getattr(settings, name, None):
            yield str(getattr(settings, name)), name
    for database in settings.DATABASES.values():
        if "sqlite" in str(database.get("ENGINE", "")) and database.get("NAME"):
            yield str(database["NAME"]), "a database"


def _holds(directory: str, path: str) -> bool:
    real = os.path.realpath(path)
    return real == directory or real.startswith(directory.rstrip(os.sep) + os.sep)


def _middleware_objection() -> str:
    """What stands in front of every view and asks visitors who they are; it would not be asked for a file."""
    from django.conf import settings
    from django.utils.module_loading import import_string
    from django.views.static import serve

    for path in settings.MIDDLEWARE:
        try:
            middleware = import_string(path)
        except ImportError:
            continue  # Django itself tells of it
        names = [kind.__name__ for kind in getattr(middleware, "__mro__", [])] or [path.rpartition(".")[2]]
        if not any(_ASKS_WHO.search(name) for name in names):
            continue
        if getattr(serve, "login_required", True):  # False where the project says login_not_required(serve)
            return f"The middleware {path} decides who may see a page, and would not be asked."
    return ""


def _view_objection(url: str, real: str) -> str:
    from django.urls import get_script_prefix

    below = get_script_prefix()
    inner = "/" + url[len(below) :] if below != "/" and url.startswith(below) else url
    return _objection_at(inner, real)


def _objection_at(url: str, real: str) -> str:
    """The same for `url` as URL patterns see it, without SCRIPT_NAME."""
    from django.urls import Resolver404, get_resolver, resolve

    for probe in (url + "a.jpg", url + "a/b.jpg"):
        try:
            match = resolve(probe)
        except Resolver404:
            continue
        if not _is_static_view(match.func):
            return f"A view of the project answers there: {_name_of(match.func)}."
        if not _is_root(match.kwargs, real):
            return f"The project serves {str(match.kwargs.get('document_root'))!r} there, not MEDIA_ROOT."
    prefix = url[1:]
    for literal, callback, arguments in _leaves(get_resolver().url_patterns, ""):
        if literal.startswith(prefix) and not _is_static_view(callback):
            return f"A view of the project answers there: {_name_of(callback)}."
        if literal.startswith(prefix) and (literal != prefix or not _is_root(arguments, real)):
            return f"The project serves {str(arguments.get('document_root'))!r} at '/{literal}'."
    return ""


def _leaves(patterns: List[Any], before: str) -> Iterator[Tuple[str, Any, Dict[str, Any]]]:
    """Each view of `patterns` with the literal text that its path starts with, and its fixed arguments."""
    for pattern in patterns:
        literal, whole = _literal(pattern.pattern)
        if hasattr(pattern, "url_patterns"):
            if whole:
                yield from _leaves(pattern.url_patterns, before + literal)
            else:
                yield from ((before + literal, *leaf[1:]) for leaf in _leaves(pattern.url_patterns, ""))
        else:
            yield before + literal, pattern.callback, pattern.default_args


def _literal(pattern: Any) -> Tuple[str, bool]:
    """The literal text a pattern starts with, and whether that is all of it."""
    route = getattr(pattern, "_route", None)
    if isinstance(route, str):
        literal = route.partition("<")[0]
        return literal, literal == route
    regex = getattr(pattern, "_regex", None)
    if isinstance(regex, str):
        text = re.sub(r"\\([/\-_.])", lambda found: found[1] if found[1] != "." else "\0", regex.lstrip("^"))
        literal = _REGEX_META.split(text)[0].replace("\0", ".")
        return literal, literal == regex.lstrip("^")
    try:
        return str(pattern), True  # a language prefix
    except Exception:
        return "", False


def _is_static_view(callback: Any) -> bool:
    """Whether it is Django's own, bare: what is wrapped around it, `login_required` say, is the project's decision."""
    from django.views.static import serve

    return callback is serve


def _is_root(arguments: Dict[str, Any], real: str) -> bool:
    root = arguments.get("document_root")
    return root is not None and os.path.realpath(root) == real


def _name_of(callback: Any) -> str:
    view = getattr(callback, "view_class", callback)
    return f"{getattr(view, '__module__', '?')}.{getattr(view, '__qualname__', type(view).__name__)}"
