"""Meta: what the running App publishes about itself, for code that has no App at hand."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, ClassVar


class Meta:
    """Metadata of this process's App, by name; written by `App.record_metadata`, readable from any thread.

    Names: DUCK_SERVER_NAME, DUCK_SERVER_PORT, DUCK_SERVER_DOMAIN, DUCK_SERVER_PROTOCOL (`http` or `https`),
    DUCK_SERVER_URL, DUCK_USES_IPV6, DUCK_DJANGO_ADDR, DUCK_WORKERS, DUCK_PROCESS_ID.
    """

    _data: ClassVar[dict[str, Any]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    @classmethod
    def get_metadata(cls, name: str, default: Any = None) -> Any:
        """The value of `name`, or `default` before an App has published it."""
        return cls._data.get(name, default)

    @classmethod
    def set_metadata(cls, name: str, value: Any) -> None:
        """Publish one value."""
        cls.update_meta({name: value})

    @classmethod
    def update_meta(cls, data: Mapping[str, Any]) -> None:
        """Publish several values at once."""
        with cls._lock:
            cls._data = {**cls._data, **data}

    @classmethod
    def compile(cls) -> dict[str, Any]:
        """All that is published, as a dict of the caller's own."""
        return dict(cls._data)

    @classmethod
    def clear(cls) -> None:
        """Publish nothing any more: the App has ended."""
        with cls._lock:
            cls._data = {}

    @classmethod
    def get_absolute_server_url(cls) -> str:
        """The App's URL, without a final slash; empty before there is one."""
        return str(cls._data.get("DUCK_SERVER_URL", ""))
