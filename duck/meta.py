"""What the running App publishes about itself, for the code of a Duck project and for embedding programs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any, ClassVar


class Meta:
    """The App's facts by name, from any thread. Kept in this process: no child inherits them.

    Known names, set by `App.record_metadata`: DUCK_SERVER_NAME, DUCK_SERVER_PROTOCOL (`http` or `https`),
    DUCK_SERVER_DOMAIN, DUCK_SERVER_ADDR, DUCK_SERVER_PORT, DUCK_SERVER_URL, DUCK_USES_IPV6, DUCK_DJANGO_ADDR,
    DUCK_PROCESS_ID, DUCK_DJANGO_PROCESS_IDS.
    """

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _facts: ClassVar[dict[str, Any]] = {}

    @classmethod
    def compile(cls) -> dict[str, Any]:
        """A copy of all facts."""
        with cls._lock:
            return dict(cls._facts)

    @classmethod
    def get_metadata(cls, name: str, default: Any = None) -> Any:
        """One fact, or `default` where the App has not told it."""
        return cls._facts.get(name, default)

    @classmethod
    def set_metadata(cls, name: str, value: Any) -> None:
        """Tell one fact."""
        with cls._lock:
            cls._facts[name] = value

    @classmethod
    def update_meta(cls, facts: Mapping[str, Any]) -> None:
        """Tell several facts; the others stay."""
        with cls._lock:
            cls._facts.update(facts)

    @classmethod
    def clear(cls) -> None:
        """Forget all; the App does so when it has stopped."""
        with cls._lock:
            cls._facts.clear()

    @classmethod
    def get_absolute_server_url(cls) -> str:
        """`http://domain:port`, without the scheme's own port; `""` while nothing runs."""
        return cls._url("")

    @classmethod
    def get_absolute_ws_server_url(cls) -> str:
        """The same for WebSockets: `ws://` or `wss://`."""
        return cls._url("ws")

    @classmethod
    def _url(cls, family: str) -> str:
        facts = cls.compile()
        domain, port = facts.get("DUCK_SERVER_DOMAIN"), facts.get("DUCK_SERVER_PORT")
        if not domain:
            return ""
        secure = facts.get("DUCK_SERVER_PROTOCOL") == "https"
        scheme = (family or "http") + ("s" if secure else "")
        host = f"[{domain}]" if ":" in domain and not domain.startswith("[") else domain
        return f"{scheme}://{host}" if port in (None, 0, 443 if secure else 80) else f"{scheme}://{host}:{port}"
