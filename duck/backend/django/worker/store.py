"""The store process: asks the project's database what Duck's dispatcher wants of it, through the project's ORM.

    App -> process    call: [name of a method of `duck.automation.django.store.Store`, its arguments by name]
    process -> App    {"ready": pid} or {"failed": sentence}, once
                      {"result": value, "now": microseconds of the store's clock, "read": what the steady clock of
                      this machine and its other one showed then, in seconds}
                      {"refused": sentence}: nothing was changed, or nobody knows; with "crowded" where a run more is
                      not queued, for too many wait

Each is four bytes of length and so many of JSON, on a socket of their own. The end of that ends the process.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from typing import Any, Dict, List, Optional

from .control import Control, die_with_parent, tie_group
from .failure import EXIT_FAILED, StartError, message_of
from .launch import enter_directory, run_aside, set_up
from .spec import Spec

VARIABLE = "_DUCK_STORE"

# As engines do on this machine (duck.services.automations.engines.local).
_BUSY_MS = 10_000
_APP = "duck.automation.django"
_LABEL = "duck_automations"


class StoreProcess:
    """This process."""

    def __init__(self, told: Dict[str, Any]) -> None:
        self.spec = Spec({**told, "address": ""})
        self.control = Control(self.spec.control_fd)
        self._peer = socket.socket(fileno=told["store_fd"])
        os.set_inheritable(told["store_fd"], False)
        self._store: Any = None
        self._is_migrated = False

    def run(self) -> int:
        """Serve until the other end closes; the exit code."""
        try:
            enter_directory(self.spec)
            run_aside(self.spec, self._serve)
        except BaseException as error:
            if self._store is not None:
                raise
            self._send({"failed": message_of(error)})
            return EXIT_FAILED
        return 0

    def _serve(self) -> None:
        set_up()
        self._store = self._open()
        self._send({"ready": os.getpid()})
        while True:
            call = self._receive()
            if call is None:
                return
            self._send(self._answer(call[0], call[1]))

    def _open(self) -> Any:
        from django.apps import apps
        from django.db.backends.signals import connection_created

        if not apps.is_installed(_APP):
            raise StartError(
                f'AUTOMATION_ENGINE is kept in the project\'s database, and INSTALLED_APPS has no "{_APP}"; '
                f"add it, and run `duck manage migrate {_LABEL}`"
            )
        from duck.automation.django.store import Store

        connection_created.connect(_made, weak=False)
        store = Store()
        # One for as long as this process lives: what is lost is made anew, and nothing is left to close it for its age.
        store.connection.close()
        store.connection.settings_dict["CONN_MAX_AGE"] = None
        return store

    def _answer(self, name: str, arguments: Dict[str, Any]) -> Dict[str, Any]:
        from django.db import Error

        from duck.automation.admission import Crowded
        from duck.automation.django.database import Refused

        try:
            self._check_migrated()
            result, now, read = self._store.answer(name, arguments)
        except (Refused, StartError) as error:
            return {"refused": str(error)}
        except Crowded as error:
            return {"refused": str(error), "crowded": True}
        except Error as error:
            self._store.connection.close()
            return {"refused": f"The database of the project's automations refuses: {_sentence(error)}"}
        except Exception as error:
            self._store.connection.close()
            return {"refused": f"The store of the project's automations failed: {message_of(error)}."}
        return {"result": result, "now": now, "read": read}

    def _check_migrated(self) -> None:
        """Whether the tables are those of this Duck; asked until they are."""
        if self._is_migrated:
            return
        from django.conf import settings
        from django.db.migrations.recorder import MigrationRecorder

        # A project may have migrations of its own for an application, or none.
        if _LABEL not in settings.MIGRATION_MODULES:
            applied = MigrationRecorder(self._store.connection).applied_migrations()
            missing = [name for name in _migrations() if (_LABEL, name) not in applied]
            if missing:
                raise StartError(
                    f"The tables of automations are not in the project's database, or older than this Duck (migration "
                    f"{missing[0]}); run `duck manage migrate {_LABEL}`."
                )
        self._is_migrated = True

    def _send(self, message: Dict[str, Any]) -> None:
        data = json.dumps(message).encode()
        try:
            self._peer.sendall(struct.pack("!I", len(data)) + data)
        except OSError:
            pass  # whoever asked is gone, as the next read says

    def _receive(self) -> Optional[Any]:
        head = self._read(4)
        body = self._read(struct.unpack("!I", head)[0]) if head is not None else None
        return json.loads(body) if body is not None else None

    def _read(self, size: int) -> Optional[bytes]:
        data = bytearray()
        while len(data) < size:
            try:
                part = self._peer.recv(min(size - len(data), 1 << 20))
            except OSError:
                return None
            if not part:
                return None
            data += part
        return bytes(data)


def _made(sender: Any, connection: Any, **kwargs: Any) -> None:
    """A connection waits for others as long as an engine does, and SQLite has on the disk what was committed."""
    statements: List[str] = []
    if connection.vendor == "sqlite":
        statements = [f"PRAGMA busy_timeout={_BUSY_MS}", "PRAGMA synchronous=FULL"]
    elif connection.vendor == "mysql":
        statements = [f"SET SESSION innodb_lock_wait_timeout={_BUSY_MS // 1000}"]
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def _migrations() -> Any:
    import pkgutil

    from duck.automation.django import migrations

    return sorted(name for _, name, is_package in pkgutil.iter_modules(migrations.__path__) if not is_package)


def _sentence(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if text.endswith(".") else f"{text}."


def main() -> int:
    """Run as told by the environment; the exit code."""
    told = json.loads(os.environ.pop(VARIABLE))
    die_with_parent(told["parent"], is_tied=tie_group(told["lifeline_fd"]))
    return StoreProcess(told).run()
