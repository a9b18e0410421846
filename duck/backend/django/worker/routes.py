"""The URLconf of the project as a list, and what it answers for one path."""

from __future__ import annotations

import functools
from typing import Any, Dict, Iterator, List, Tuple


def routes() -> List[Dict[str, Any]]:
    """Every pattern in the order in which Django tries them: `pattern`, `name`, `namespace`, `view`."""
    from django.conf import settings
    from django.urls import get_resolver

    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    return list(_leaves(get_resolver().url_patterns, "", ()))


def decide(path: str) -> Dict[str, Any]:
    """What answers `path` (decoded, without the prefix that became SCRIPT_NAME); `found` is whether a pattern does."""
    from django.conf import settings
    from django.urls import Resolver404, resolve

    try:
        match = resolve(path)
    except Resolver404:
        return {"found": False, "slash": _is_redirected(path), "debug": bool(settings.DEBUG)}
    return {
        "found": True,
        "view": view_name(match.func),
        "pattern": "/" + match.route,
        "name": match.url_name,
        "namespace": ":".join(match.namespaces),
        "arguments": [str(argument) for argument in match.args]
        + [f"{name}={value}" for name, value in match.kwargs.items()],
    }


def _is_redirected(path: str) -> bool:
    """Whether CommonMiddleware sends the client to the same path with a slash behind it."""
    from django.conf import settings
    from django.urls import is_valid_path

    common = any(name.endswith(".CommonMiddleware") for name in settings.MIDDLEWARE)
    return common and settings.APPEND_SLASH and not path.endswith("/") and bool(is_valid_path(path + "/"))


def _leaves(patterns: List[Any], before: str, namespaces: Tuple[str, ...]) -> Iterator[Dict[str, Any]]:
    for pattern in patterns:
        text = before + _text(pattern.pattern, is_first=not before)
        if hasattr(pattern, "url_patterns"):
            named = (*namespaces, pattern.namespace) if pattern.namespace else namespaces
            yield from _leaves(pattern.url_patterns, text, named)
        else:
            yield {
                "pattern": "/" + text,
                "name": pattern.name,
                "namespace": ":".join(namespaces),
                "view": view_name(pattern.callback),
            }


def _text(pattern: Any, *, is_first: bool) -> str:
    """The pattern as the project wrote it; a `^` within a path says nothing."""
    text = str(pattern)
    return text if is_first else text.lstrip("^")


def view_name(view: Any) -> str:
    """The dotted name of a view: of its class, of the function within a partial or a decorator."""
    while isinstance(view, functools.partial):
        view = view.func
    view = getattr(view, "view_class", None) or getattr(view, "cls", None) or view  # the second is REST framework's
    name = getattr(view, "__qualname__", None) or type(view).__qualname__
    module = getattr(view, "__module__", None) or type(view).__module__
    return f"{module}.{name}"
