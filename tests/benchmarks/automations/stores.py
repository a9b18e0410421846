"""Stores that the nodes of one test share, and what can befall each."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Protocol

from tests.automation_project import database_of, migrate, write_project
from tests.benchmarks.servers import Missing
from tests.programs import find_program
from tests.relay import Relay


class Store(Protocol):
    """One store, with which nodes are connected each on its own way.

    Attributes:
        faults: what can befall it besides the faults of nodes: `stall` and `cut` of one node's way, `restart`.
        toml: what `duck.toml` says of it, at its top.
        root: the project that nodes are of, where it is the store's.
        settles: states that no row has when all is over. A node that was killed leaves some that are under way.
    """

    name: str
    faults: tuple[str, ...]
    toml: str
    settles: tuple[str, ...]
    root: Path | None

    def environment(self, node: int) -> dict[str, str]:
        """Variables of the node in that place."""

    def befall(self, fault: str, node: int) -> None:
        """Begin a fault of `faults`."""

    def mend(self, fault: str, node: int) -> None:
        """End it."""

    def close(self) -> None:
        """End what was started."""


class SqliteStore:
    """The file of one machine."""

    name = "sqlite"
    faults: tuple[str, ...] = ()
    toml = "use_django = false\n"
    settles = ("queued",)
    root: Path | None = None

    def __init__(self, directory: Path, nodes: int) -> None:
        pass

    def environment(self, node: int) -> dict[str, str]:
        """See `Store`."""
        return {}

    def befall(self, fault: str, node: int) -> None:
        """See `Store`."""
        raise AssertionError(fault)

    def mend(self, fault: str, node: int) -> None:
        """See `Store`."""
        raise AssertionError(fault)

    def close(self) -> None:
        """See `Store`."""


class PostgresStore:
    """A PostgreSQL whose commits are on the disk, and a relay before it for each node."""

    name = "postgres"
    faults: tuple[str, ...] = ("stall", "cut", "restart", "crash")
    settles: tuple[str, ...] = ("queued",)
    root: Path | None = None

    def __init__(self, directory: Path, nodes: int) -> None:
        if find_program("postgres") is None or find_program("initdb") is None:
            raise Missing("PostgreSQL is not on this machine (apt-get install postgresql)")
        from tests.postgres import Postgres

        self.server = Postgres.start(durable=True)
        self.database = self.server.make_database()
        self.relays = [Relay(self.server.port) for _ in range(nodes)]
        url = self.server.url(self.database)
        self.toml = f'use_django = false\nautomation_engine = "postgres"\nautomation_database = "{url}"\n'

    def environment(self, node: int) -> dict[str, str]:
        """See `Store`."""
        return {"DUCK_AUTOMATION_DATABASE": self.server.url(self.database, port=self.relays[node].port)}

    def befall(self, fault: str, node: int) -> None:
        """See `Store`."""
        if fault == "stall":
            self.relays[node].stall()
        elif fault == "cut":
            self.relays[node].cut()
        else:
            self.server.suspend(signal.SIGQUIT if fault == "crash" else signal.SIGINT)

    def mend(self, fault: str, node: int) -> None:
        """See `Store`."""
        if fault in ("stall", "cut"):
            self.relays[node].join()
        else:
            self.server.resume()

    def close(self) -> None:
        """See `Store`."""
        for relay in self.relays:
            relay.close()
        self.server.stop()


class DjangoStore(PostgresStore):
    """A project's own database, by its ORM, on such a server."""

    name = "django"

    def __init__(self, directory: Path, nodes: int) -> None:
        super().__init__(directory, nodes)
        database = database_of(self.server, self.database)
        database = f"{{**{database}, 'PORT': os.environ.get('STORE_PORT', {self.server.port})}}"
        self.root = write_project(directory, database=database)
        migrate(self.root)
        self.toml = 'automation_engine = "django"\n'

    def environment(self, node: int) -> dict[str, str]:
        """See `Store`."""
        return {"STORE_PORT": str(self.relays[node].port)}
