"""Names for a Duck project's `urls.py`."""

from duck.http.routing import include, path, re_path, register_converter

__all__ = ["include", "path", "re_path", "register_converter"]
