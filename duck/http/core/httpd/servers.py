"""The servers, by their public names."""

from __future__ import annotations

from typing import Any, ClassVar

from duck.http.core.httpd.httpd import Application, BaseMicroServer, BaseServer


class HTTPServer(BaseServer):
    """Serves an App or a MicroApp; see `BaseServer`."""

    __instances: ClassVar[int] = 0

    def __init__(
        self,
        addr: tuple[str, int],
        application: Application,
        domain: str | None = None,
        uses_ipv6: bool = False,
        enable_ssl: bool = False,
        ssl_params: dict[str, Any] | None = None,
        no_logs: bool = False,
        workers: int | None = None,
        force_worker_processes: bool = False,
    ) -> None:
        super().__init__(
            addr,
            application,
            domain,
            uses_ipv6,
            enable_ssl,
            ssl_params,
            no_logs,
            workers,
            force_worker_processes,
        )
        HTTPServer.__instances += 1

    @classmethod
    def instances(cls) -> int:
        """How many servers were made in this process."""
        return cls.__instances


class MicroHTTPServer(BaseMicroServer, HTTPServer):
    """Serves a MicroApp on its own address."""

    def __init__(
        self,
        addr: tuple[str, int],
        microapp: Application,
        domain: str | None = None,
        uses_ipv6: bool = False,
        enable_ssl: bool = False,
        ssl_params: dict[str, Any] | None = None,
        no_logs: bool = True,
        workers: int | None = None,
        force_worker_processes: bool = False,
    ) -> None:
        super().__init__(
            addr,
            microapp,
            domain,
            uses_ipv6,
            enable_ssl,
            ssl_params,
            no_logs,
            workers,
            force_worker_processes,
        )
        self.name = "duck-micro"


__all__ = ["BaseMicroServer", "BaseServer", "HTTPServer", "MicroHTTPServer"]
