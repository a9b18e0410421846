"""A carrier: sends runs of automations to the project's Celery, and sees how they go on.

    App -> process    carry(run, attempt, task, kind, target, ..., was_sent)   interrupt(run, is_late)   forget(run)
    process -> App    sent(run)   unsent(run, reason)   refused(run, reason)   begun(run, worker)
                      ended(run, state, reason, output, printed)   silent(run, worker)   kept(run)
                      broker(reachable, reason)   waits(count, for_s)

What is said of a run names its attempt, too.

The main thread looks at the store, a second one speaks to the broker: either may wait for long, and the other goes on.
A message that no worker has begun is sent again after a while, as the same task: a broker may have lost it, and whoever
begins it writes a row that nobody else can write.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple

from .failure import StartError, message_of

if TYPE_CHECKING:
    from .control import Control

LOOK_S = 0.3
_AGAIN_MOST_S = 3600.0
_PROBE_S = (0.5, 15.0)
# A retry of Celery's own that is not begun so long after its time was lost.
_RETRY_S = 3600.0
_CONNECT_S = 5.0


class Carried:
    """One attempt that this process sees to."""

    def __init__(self, told: Dict[str, Any], again_s: float) -> None:
        self.told = told
        self.key: Tuple[int, int] = (int(told["run"]), int(told["attempt"]))
        self.is_begun = False
        self.is_sent = bool(told.get("was_sent"))
        self.is_sending = False
        self.since = time.monotonic()
        self.sent_at = self.since
        self.again_s = again_s
        self.again_at = self.since + again_s
        self.beats = -1
        self.seen_at = self.since


class Carrier:
    """The work of this process.

    Args:
        app: what `celery -A` would be given, or nothing: then it is looked for as Celery does.
        silent_s: an attempt that has not said for so long that it goes on is lost.
        again_s: after so long one that nobody has begun is sent again; twice as long each time.
    """

    def __init__(self, control: Control, app: str, silent_s: float, again_s: float) -> None:
        self._control = control
        self._silent_s = silent_s
        self._again_s = again_s
        self._commands: "queue.SimpleQueue[Optional[Dict[str, Any]]]" = queue.SimpleQueue()
        self._outgoing: "queue.SimpleQueue[Optional[Carried]]" = queue.SimpleQueue()
        self._carried: Dict[int, Carried] = {}
        self._is_blind = False  # the store is away
        self._begun_at = 0.0  # when a worker was last seen to have begun one
        self._begun_latest = 0.0  # and of all that were begun, when the latest was sent
        self._told_at = 0.0
        self._app, self._app_name = find_app(app)
        # Tasks are known by their names once the modules that hold them were imported.
        os.environ.setdefault("CELERY_SKIP_CHECKS", "1")
        self._app.loader.import_default_modules()
        self._app.finalize()
        from duck.automation.django.executions import Executions

        self._executions = Executions()
        self._sender = threading.Thread(target=self._send_all, name="duck-carrier", daemon=True)

    def take(self, command: Optional[Dict[str, Any]]) -> None:
        """A command, from any thread; None to end."""
        self._commands.put(command)

    def serve(self) -> None:
        """Until it is told to end."""
        self._sender.start()
        look_at = time.monotonic()
        while True:
            try:
                timeout = max(0.0, look_at - time.monotonic()) if self._carried else None
                command = self._commands.get(timeout=timeout)
            except queue.Empty:
                command = {}
            is_fresh = False
            while command is not None:
                is_fresh |= command.get("command") == "carry"
                self._obey(command)
                try:
                    command = self._commands.get_nowait()
                except queue.Empty:
                    break
            else:
                return
            if is_fresh or time.monotonic() >= look_at:
                self._look()
                look_at = time.monotonic() + LOOK_S

    def _obey(self, command: Dict[str, Any]) -> None:
        name = command.get("command")
        if name == "carry":
            carried = Carried(command, self._again_s)
            self._carried[carried.key[0]] = carried
        elif name == "forget":
            self._carried.pop(int(command["run"]), None)
        elif name == "interrupt":
            self._interrupt(int(command["run"]), is_late=bool(command.get("is_late")))

    # -- the store --------------------------------------------------------------------------------------------------

    def _look(self) -> None:
        open_ = list(self._carried.values())
        try:
            rows = self._executions.look([carried.key for carried in open_])
            over = [key for key, row in rows.items() if row["state"] not in ("running", "waiting")]
            told = self._executions.told(over) if over else {}
        except Exception as error:
            self._forgive(open_, error)
            return
        self._is_blind = False
        now = time.monotonic()
        for carried in open_:
            row = rows.get(carried.key)
            if row is None:
                self._send_when_due(carried, now)
            elif carried.key in told:
                self._begun_at, self._begun_latest = now, max(self._begun_latest, carried.sent_at)
                reason, output, printed = told[carried.key]
                self._end(carried, "ended", state=row["state"], reason=reason, output=output, printed=printed)
            else:
                self._watch(carried, row, now)
        self._tell_of_waiting(now)

    def _forgive(self, carried: List[Carried], error: Exception) -> None:
        """The store is away: nobody is silent for that."""
        from django.db import connections

        if not self._is_blind:
            self._is_blind = True
            sys.stderr.write(f"The store of automations cannot be looked at: {message_of(error)}\n")
        connections.close_all()
        for each in carried:
            each.seen_at = time.monotonic()

    def _watch(self, carried: Carried, row: Dict[str, Any], now: float) -> None:
        run = carried.key[0]
        if not carried.is_begun:
            carried.is_begun = True
            self._begun_at, self._begun_latest = now, max(self._begun_latest, carried.sent_at)
            self._control.send("begun", run=run, attempt=carried.key[1], worker=row["worker"])
        if row["beats"] != carried.beats:
            carried.beats = row["beats"]
            carried.seen_at = now
        silent_s = self._silent_s
        if row["state"] == "waiting":
            silent_s += row["waits_s"] + _RETRY_S
        if now - carried.seen_at > silent_s:
            self._end(carried, "silent", worker=row["worker"])

    def _send_when_due(self, carried: Carried, now: float) -> None:
        if carried.is_sending or (carried.is_sent and now < carried.again_at):
            return
        # While workers begin what was sent before it, in their order, its turn comes.
        if carried.is_sent and now < self._begun_at + self._again_s and self._begun_latest <= carried.sent_at:
            return
        if carried.is_sent:
            carried.again_s = min(2 * carried.again_s, _AGAIN_MOST_S)
        carried.is_sending = True
        carried.again_at = now + carried.again_s
        self._outgoing.put(carried)

    def _tell_of_waiting(self, now: float) -> None:
        open_ = list(self._carried.values())  # the other thread takes from them
        waits = [now - each.since for each in open_ if each.is_sent and not each.is_begun]
        longest_s = max(waits, default=0.0)
        if longest_s > self._again_s and now > self._told_at + 2 * self._again_s:
            self._told_at = now
            self._control.send("waits", count=len(waits), for_s=longest_s)

    def _end(self, carried: Carried, event: str, **facts: Any) -> None:
        if self._carried.get(carried.key[0]) is carried:  # and no later attempt
            del self._carried[carried.key[0]]
            self._control.send(event, run=carried.key[0], attempt=carried.key[1], **facts)

    def _interrupt(self, run: int, *, is_late: bool) -> None:
        """End one by force, which only a worker with processes of its own can.

        Where it is neither late nor unwanted, another node has it by now: then it is left to that one.
        """
        carried = self._carried.get(run)
        if carried is None:
            return
        try:
            is_wanted = self._executions.is_wanted(carried.key)
        except Exception as error:
            self._forgive([], error)
            is_wanted = False
        if is_wanted and not is_late:
            self._end(carried, "kept")
            return
        try:
            self._app.control.revoke(carried.told["task"], terminate=True, signal="SIGKILL")
        except Exception as error:
            sys.stderr.write(f"The task {carried.told['task']} cannot be revoked: {message_of(error)}\n")

    # -- the broker, on a thread of its own -------------------------------------------------------------------------

    def _send_all(self) -> None:
        connection: Any = None
        producer: Any = None
        while True:
            carried = self._outgoing.get()
            if carried is None:
                return
            try:
                message = self._message(carried.told)
            except Exception as error:
                self._end(carried, "refused", reason=message_of(error))
                continue
            try:
                if connection is None:
                    connection = self._connect()
                    producer = None
                producer = producer or self._app.amqp.Producer(connection)
                self._app.send_task(**message, producer=producer, retry=False)
            except (TypeError, ValueError) as error:  # kombu's EncodeError is one of them
                carried.is_sending = False
                self._end(carried, "refused", reason=message_of(error))
            except Exception as error:
                self._give_back(carried, message_of(error))
                _close(connection)
                connection = self._wait_for_broker(message_of(error))
                producer = None
            else:
                carried.is_sent, carried.is_sending, carried.sent_at = True, False, time.monotonic()
                self._control.send("sent", run=carried.key[0], attempt=carried.key[1])

    def _give_back(self, carried: Carried, reason: str) -> None:
        """What was to be sent, and is not; one that may have been before is kept, for its worker may begin it."""
        carried.is_sending = False
        if not carried.is_sent:
            self._end(carried, "unsent", reason=reason)

    def _wait_for_broker(self, reason: str) -> Any:
        self._control.send("broker", reachable=False, reason=reason)
        wait_s = _PROBE_S[0]
        while True:
            while True:
                try:
                    waiting = self._outgoing.get(timeout=wait_s)
                except queue.Empty:
                    break
                if waiting is not None:
                    self._give_back(waiting, reason)
            try:
                connection = self._connect()
            except Exception:
                wait_s = min(2 * wait_s, _PROBE_S[1])
                continue
            self._control.send("broker", reachable=True, reason="")
            return connection

    def _connect(self) -> Any:
        connection = self._app.connection_for_write(connect_timeout=_CONNECT_S)
        if connection.transport.driver_type == "redis":
            connection.transport_options = {
                "socket_connect_timeout": _CONNECT_S,
                "socket_timeout": 2 * _CONNECT_S,
                **connection.transport_options,
            }
        try:
            connection.ensure_connection(max_retries=1, timeout=2 * _CONNECT_S)
            connection.default_channel  # noqa: B018 - some speak to the broker only now
        except BaseException:
            _close(connection)
            raise
        return connection

    # -- what is sent -----------------------------------------------------------------------------------------------

    def _message(self, told: Dict[str, Any]) -> Dict[str, Any]:
        details = told["details"]
        header = {name: told.get(name) for name in ("run", "attempt", "timeout_s", "grace_s")}
        message: Dict[str, Any] = {"task_id": told["task"], "headers": {"duck_run": header}}
        task = self._own_task(told["target"]) if told["kind"] == "task" else None
        if task is None:
            message |= {"name": "duck.automation", "kwargs": {"told": told}}
        else:
            options = {name: value for name, value in task._get_exec_options().items() if value is not None}
            options.pop("expires", None)  # it would never be begun, and never be over
            message |= {**options, "name": f"duck:{task.name}", "route_name": task.name, "task_type": task}
            message |= {"args": details.get("args", []), "kwargs": details.get("kwargs", {})}
        if told.get("timeout_s") is not None:
            limit_s = told["timeout_s"] + (told.get("grace_s") or 0.0)
            message["time_limit"] = min(limit_s, message.get("time_limit") or limit_s)
        return message

    def _own_task(self, target: str) -> Any:
        """The task of Celery's that `target` names; None for one of django_tasks.

        Raises:
            StartError: it is neither.
        """
        from .job import resolve

        name = target.replace(":", ".")
        if name in self._app.tasks:
            return self._app.tasks[name]
        try:
            found = resolve(target)
        except (ImportError, AttributeError):
            found = None
        if getattr(found, "name", None) in self._app.tasks:
            return self._app.tasks[found.name]
        if callable(getattr(found, "enqueue", None)):
            return None
        known = f"no task of the Celery app {self._app_name} or of django_tasks has that name"
        raise StartError(f'task is "{target}", and {known}')


def find_app(named: str) -> Tuple[Any, str]:
    """The project's Celery app, and how it was found: `named`, as `celery -A` takes it, or the project's package.

    Raises:
        StartError: there is none.
    """
    try:
        from celery import Celery
        from celery.app.utils import find_app as find
    except ImportError:
        raise StartError(
            f'AUTOMATION_ENGINE is "celery", and Celery is not installed for {sys.executable}; install it there'
        ) from None
    candidates = [named] if named else []
    own = [""]
    if not named:
        own = (os.environ.get("DJANGO_SETTINGS_MODULE") or "").split(".")
        candidates = [".".join(own[:length]) for length in range(len(own) - 1, 0, -1)]
        candidates += [f"{each}.celery" for each in candidates]
    for candidate in candidates:
        try:
            found = find(candidate)
        except (ImportError, AttributeError) as error:
            if named:
                raise StartError(f'CELERY_APP is "{named}", and there is no Celery app: {message_of(error)}') from error
            is_there = isinstance(error, ImportError) and getattr(error, "name", None) not in (candidate, own[0])
            if is_there:
                raise StartError(f"the Celery app of {candidate} cannot be imported: {message_of(error)}") from error
            continue
        if isinstance(found, Celery):
            return found, candidate
    raise StartError(
        'AUTOMATION_ENGINE is "celery", and no Celery app of the project is found; set CELERY_APP to what '
        "`celery -A` is given, such as shop.celery"
    )


def _close(connection: Any) -> None:
    if connection is not None:
        try:
            connection.release()
        except Exception:
            pass
