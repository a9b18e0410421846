"""One origin for a page and its front end: what writes the URL of a development server leaves the server out.

django-vite writes `http://localhost:5173/static/src/main.js`, by whichever host and port its settings name. Where Duck
answers what is below `/static/` from that server itself, the path alone is right: at another address of Duck's, through
HTTPS, and at the port that the server has really got.
"""

from __future__ import annotations

from functools import wraps
from importlib import import_module
from typing import Any, Callable, List
from urllib.parse import urlsplit

# Where django-vite makes such a URL: since 3.0, and before.
_MAKERS = (
    ("django_vite.core.asset_loader", "DjangoViteAppClient", "get_dev_server_url"),
    ("django_vite.templatetags.django_vite", "DjangoViteAssetLoader", "_generate_vite_server_url"),
    ("django_vite.templatetags.django_vite", "DjangoViteAssetLoader", "generate_vite_server_url"),
)


def one_origin() -> List[str]:
    """Have such URLs written as paths; sentences for the log where they are not."""
    from django.apps import apps
    from django.conf import settings

    if not settings.DEBUG or not apps.is_installed("django_vite"):
        return []
    origins = _origins()
    if len(origins) > 1:
        return [f"django-vite has several development servers ({', '.join(origins)}); their URLs stay as they are."]
    for module_name, class_name, name in _MAKERS:
        owner = getattr(_module(module_name), class_name, None)
        # The descriptor: one of them is a static method in some versions.
        found = vars(owner).get(name) if owner is not None else None
        if isinstance(found, staticmethod):
            setattr(owner, name, staticmethod(_as_path(found.__func__)))
        elif callable(found):
            setattr(owner, name, _as_path(found))
    return []


def _module(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None  # of another version


def _as_path(make: Callable[..., str]) -> Callable[..., str]:
    @wraps(make)
    def made(*args: Any, **kwargs: Any) -> str:
        url = make(*args, **kwargs)
        parts = urlsplit(url)
        return url[len(f"{parts.scheme}://{parts.netloc}") :] if parts.netloc and parts.path else url

    return made


def _origins() -> List[str]:
    """Of the development servers that django-vite's applications name (since 3.0)."""
    loader = getattr(_module("django_vite.core.asset_loader"), "DjangoViteAssetLoader", None)
    if loader is None:
        return []
    clients = getattr(loader.instance(), "_apps", {}).values()
    found = {
        f"{client.dev_server_protocol}://{client.dev_server_host}:{client.dev_server_port}"
        for client in clients
        if getattr(client, "dev_mode", False)
    }
    return sorted(found)
