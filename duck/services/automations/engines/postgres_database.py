"""A connection to PostgreSQL for one thread that must not wait for ever; opened when it is needed, and again once lost.

psycopg waits as long as a server takes. Here each answer has a deadline on this side, for a network that is cut says
nothing, and so has what servers of names are asked; and the server has deadlines of its own, so that a node which is
stopped in the middle of a transaction holds up the others for seconds only.
"""

from __future__ import annotations

import contextlib
import selectors
import time
from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, LiteralString, TypeVar

import psycopg
from procrastinate.connector import BaseConnector
from procrastinate.manager import JobManager, get_channel_for_queues
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from duck.exceptions import ProjectError, SettingsError, StoreError
from duck.services.automations.engines.postgres_address import Resolver
from duck.services.automations.engines.postgres_schema import SCHEMA, prepare

if TYPE_CHECKING:
    from duck.services.inbox import Inbox

_T = TypeVar("_T")
Row = dict[str, Any]

# Of one answer. The server gives up before, with an error that says why; a network that is cut gives none.
_ANSWER_S: Final = 6.0
_CONNECT_S: Final = 3
# In milliseconds, of a session. Whoever stands still within a transaction is cut off before the others give up.
_SESSION: Final = {
    "search_path": SCHEMA,
    "timezone": "UTC",
    # A commit is on the disk before it is acted on, whatever the database's default is.
    "synchronous_commit": "on",
    "idle_in_transaction_session_timeout": "2500",
    "lock_timeout": "4000",
    "statement_timeout": "5000",
    "application_name": "duck automations",
}
_RIGHTS: Final = (
    f"let the role use all of it: GRANT USAGE ON SCHEMA {SCHEMA}, and ALL ON ALL TABLES and SEQUENCES in it"
)
# What psycopg's generators ask for and are told, 1 to read and 2 to write, is what selectors have for it.
_Selector: Final[Callable[[], selectors.BaseSelector]] = getattr(selectors, "PollSelector", selectors.SelectSelector)


class _Connection(psycopg.Connection[Row]):
    """Gives up, and is closed, when an answer takes too long."""

    answer_s = _ANSWER_S

    def wait(self, gen: Generator[Any, Any, _T], interval: float = 0.0, timeout: float | None = None) -> _T:
        """Carry an exchange with the server out, by the deadline; psycopg's own has none before 3.3."""
        deadline = time.monotonic() + (self.answer_s if timeout is None else timeout)
        try:
            wanted = next(gen)
            with _Selector() as selector:
                selector.register(self.pgconn.socket, wanted)
                while True:
                    found = selector.select(deadline - time.monotonic())
                    if not found:
                        self.close()
                        raise psycopg.OperationalError(f"no answer within {self.answer_s:g} s")
                    wanted = gen.send(found[0][1])
                    selector.modify(self.pgconn.socket, wanted)
        except StopIteration as end:
            result: _T = end.value
            return result


class _Connector(BaseConnector):
    """What procrastinate asks through: the connection, within the transaction of whoever calls it.

    Nothing here waits for a loop: what procrastinate has as coroutines only, ends at its first step.
    """

    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._connection = connection

    def get_sync_connector(self) -> BaseConnector:
        """This one."""
        return self

    def execute_query(self, query: LiteralString, **arguments: Any) -> None:
        """Nothing comes back."""
        self._connection.execute(query, _as_sent(arguments))

    def execute_query_one(self, query: LiteralString, **arguments: Any) -> Row:
        """One row."""
        row = self._connection.execute(query, _as_sent(arguments)).fetchone()
        assert row is not None, query
        return row

    def execute_query_all(self, query: LiteralString, **arguments: Any) -> list[Row]:
        """All rows."""
        return self._connection.execute(query, _as_sent(arguments)).fetchall()

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:
        """See `execute_query`."""
        self.execute_query(query, **arguments)

    async def execute_query_one_async(self, query: LiteralString, **arguments: Any) -> Row:
        """See `execute_query_one`."""
        return self.execute_query_one(query, **arguments)

    async def execute_query_all_async(self, query: LiteralString, **arguments: Any) -> list[Row]:
        """See `execute_query_all`."""
        return self.execute_query_all(query, **arguments)


def _as_sent(arguments: Mapping[str, Any]) -> Row:
    return {key: _adapted(value) for key, value in arguments.items()}


def _adapted(value: Any) -> Any:
    """Dictionaries are JSON, also within the lists and tuples that stand for arrays and rows."""
    if isinstance(value, dict):
        return Jsonb(value)
    if isinstance(value, list):
        return [_adapted(each) for each in value]
    return tuple(_adapted(each) for each in value) if isinstance(value, tuple) else value


def complete(work: Coroutine[Any, Any, _T]) -> _T:
    """What a coroutine that waits for nothing gives."""
    try:
        work.send(None)
    except StopIteration as end:
        result: _T = end.value
        return result
    work.close()
    raise AssertionError("procrastinate waits for something other than the database")


class Database:
    """The database at the `address` that is told, once, when it is needed: a URL, or what else libpq reads.

    Raises, all of its methods:
        StoreError: it cannot be reached, or refuses.
    """

    def __init__(self, address: Callable[[], str]) -> None:
        self._tell_address = address
        self._address: str | None = None
        self._resolver = Resolver()
        self._connection: _Connection | None = None
        self._inbox: Inbox | None = None
        self._on_change: Callable[[], None] = lambda: None
        self._watched: int | None = None
        self._is_told = False

    def close(self) -> None:
        """Give the connection back."""
        if self._watched is not None and self._inbox is not None:
            self._inbox.unwatch(self._watched)
        self._watched = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def attend(self, inbox: Inbox, on_change: Callable[[], None]) -> None:
        """Have `on_change` called on the inbox's thread when another connection has queued something."""
        self._inbox = inbox
        self._on_change = on_change
        if self._connection is not None:
            with self._faults():
                self._listen(self._connection)

    def rows(self, statement: LiteralString | sql.Composed, *values: Any) -> list[Row]:
        """What one statement gives, in a transaction of its own."""
        with self._faults():
            cursor = self._open().execute(statement, values)
            return cursor.fetchall() if cursor.description is not None else []

    @contextlib.contextmanager
    def change(self) -> Iterator[tuple[psycopg.Connection[Row], JobManager]]:
        """One transaction, with procrastinate in it."""
        with self._faults():
            connection = self._open()
            connection.execute("BEGIN")
            try:
                yield connection, JobManager(_Connector(connection))
            except BaseException:
                if not connection.closed:
                    with contextlib.suppress(psycopg.Error):
                        connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    # -- below ----------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            what = "refuses"
            if self._connection is None or self._connection.closed:
                self.close()
                what = "cannot be reached" if isinstance(error, psycopg.OperationalError) else what
            said = " ".join(str(error).split()) or type(error).__name__
            if isinstance(error, psycopg.errors.InsufficientPrivilege):
                said = f"{error.diag.message_primary or said}; {_RIGHTS}"
            raise StoreError(
                f"The store of automations at {shown(self._address or '')} {what}: {said.rstrip('.?')}."
            ) from error

    def _open(self) -> _Connection:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        self.close()
        if self._address is None:
            try:
                self._address = self._tell_address()
            except (ProjectError, SettingsError) as error:
                raise StoreError(str(error)) from error
        if not _is_readable(self._address):
            # What libpq says of it would repeat it, or its password.
            raise StoreError(
                "The address of the store of automations cannot be read: give a URL such as"
                ' "postgresql://user@host:5432/name", with % and two digits for every %, / or : of a password.'
            )
        connection = _Connection.connect(
            self._resolver.resolve(self._address), autocommit=True, connect_timeout=_CONNECT_S, row_factory=dict_row
        )
        try:
            for name, value in _SESSION.items():
                connection.execute("SELECT set_config(%s, %s, false)", (name, value))
            prepare(connection)
            self._listen(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _listen(self, connection: _Connection) -> None:
        if self._inbox is None:
            return
        connection.add_notify_handler(self._notified)
        for channel in get_channel_for_queues():
            connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        self._watched = connection.pgconn.socket
        self._inbox.watch(self._watched, self._readable)

    def _readable(self) -> None:
        """Something has come that nobody has asked for: a notification, or the end."""
        connection = self._connection
        assert connection is not None
        try:
            connection.pgconn.consume_input()
            while (found := connection.pgconn.notifies()) is not None:
                if found.be_pid != connection.pgconn.backend_pid:
                    self._tell()
        except psycopg.Error:
            self.close()
            self._tell()  # who looks now connects again, or learns that it cannot

    def _notified(self, found: psycopg.Notify) -> None:
        """A notification came with an answer."""
        if self._connection is not None and found.pid != self._connection.pgconn.backend_pid:
            self._tell()

    def _tell(self) -> None:
        if not self._is_told and self._inbox is not None:
            self._is_told = True
            self._inbox.post(self._changed)

    def _changed(self) -> None:
        self._is_told = False
        self._on_change()


def shown(address: str) -> str:
    """`address` as it may be read by everybody: without password and parameters."""
    if not _is_readable(address):
        return "an address that cannot be read"
    parts = conninfo_to_dict(address)
    user = f"{parts['user']}@" if parts.get("user") else ""
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"postgresql://{user}{parts.get('host', '')}{port}/{parts.get('dbname', '')}"


def _is_readable(address: str) -> bool:
    """Whether libpq can read it, and takes no part of a password for a port."""
    try:
        port = conninfo_to_dict(address).get("port")
    except psycopg.Error:
        return False
    return all(each.isdecimal() for each in str(port or "").split(",") if each)
