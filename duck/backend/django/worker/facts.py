"""What the front must know of the project, read from its settings once it is set up."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional

from .declared import declares_automations
from .media import media_facts

if TYPE_CHECKING:
    from .spec import Spec


def project_facts(spec: Spec) -> Dict[str, Any]:
    """The facts of a `ready` event that come from the settings (JSON values only)."""
    import django
    from django.conf import settings

    manage = os.path.abspath(spec.manage) if spec.manage else ""
    base_dir = str(getattr(settings, "BASE_DIR", "") or (os.path.dirname(manage) if manage else spec.cwd))
    header = settings.SECURE_PROXY_SSL_HEADER
    return {
        "pid": os.getpid(),
        "python": ".".join(map(str, sys.version_info[:3])),
        "django": django.get_version(),
        "settings": getattr(settings, "SETTINGS_MODULE", None) or os.environ.get("DJANGO_SETTINGS_MODULE"),
        "debug": bool(settings.DEBUG),
        "secure_proxy_ssl_header": list(header) if header else None,
        "force_script_name": settings.FORCE_SCRIPT_NAME,
        "use_x_forwarded_host": bool(settings.USE_X_FORWARDED_HOST),
        "allowed_hosts": [str(host) for host in settings.ALLOWED_HOSTS],
        "secure_ssl_redirect": bool(settings.SECURE_SSL_REDIRECT),
        "static": _static_facts(),
        "media": media_facts(manage, base_dir),
        "base_dir": base_dir,
        "automations": declares_automations(),
    }


def _static_facts() -> Dict[str, Any]:
    from django.apps import apps
    from django.conf import settings

    installed = apps.is_installed("django.contrib.staticfiles")
    url: Optional[str] = settings.STATIC_URL or None
    if url is not None and (not url.startswith("/") or url.startswith("//") or url == "/"):
        url = None  # of another server, or of all pages
    root = settings.STATIC_ROOT
    return {
        "installed": installed,
        "url": url if installed else None,
        "root": os.path.abspath(str(root)) if root else None,
        "collected": bool(root) and os.path.isdir(str(root)),
        "finders": installed,
    }


def static_finder() -> Callable[[str], Optional[bytes]]:
    """A function from a static file's name to its absolute path, by the project's finders."""
    from django.apps import apps

    if not apps.is_installed("django.contrib.staticfiles"):
        return lambda name: None
    from django.contrib.staticfiles import finders
    from django.core.exceptions import SuspiciousOperation

    def find(name: str) -> Optional[bytes]:
        try:
            path: Any = finders.find(name)
        except (SuspiciousOperation, ValueError, OSError):
            return None
        return os.fsencode(os.path.abspath(path)) if path else None

    return find
