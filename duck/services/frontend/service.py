"""FrontendService: one front-end server: started, listened to, started again, ended.

    starting ──it says where it listens──> serving ──exit──> starting, after a pause
       └──exit, or it cannot be run──> broken ──one of its files changes──> starting

A start that fails by its configuration would fail again; one after it has served is tried again by and by, too. Django
does not wait for it, and is served without it.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from duck.exceptions import ApplicationError
from duck.http.frontend import FrontendState
from duck.services.backoff import Backoff
from duck.services.child import Child
from duck.services.ducksight import RecoveryWatch
from duck.services.frontend import keeper
from duck.services.frontend.address import FrontendAddress, parse_address, plain, printed_address

if TYPE_CHECKING:
    from duck.services.frontend.plan import FrontendPlan
    from duck.services.inbox import Inbox, Timer

logger = logging.getLogger("duck.services")

STARTING: Final = "starting"
SERVING: Final = "serving"
BROKEN: Final = "broken"
STOPPED: Final = "stopped"

_KEPT_LINES: Final = 40
_ERROR: Final = re.compile(r"\berror\b|EADDRINUSE|already in use", re.IGNORECASE)
_SHOWN: Final = 200


class FrontendService:
    """For the inbox's thread.

    Args:
        environ: the variables of the project's processes.
        tell: the front, how things are with it.
        write: what it prints, whole lines.
        ready: called with seconds and address whenever it has begun to serve.

    Attributes:
        state: as drawn above, or `stopped`.
        address: where it listens; None before it has said so.
    """

    name = "the front-end server"

    def __init__(
        self,
        inbox: Inbox,
        plan: FrontendPlan,
        environ: Mapping[str, str],
        *,
        tell: Callable[[FrontendState], None],
        write: Callable[[str], None],
        ready: Callable[[float, FrontendAddress], None] = lambda took_s, address: None,
    ) -> None:
        self.plan = plan
        self.state = STOPPED
        self.address: FrontendAddress | None = None
        self._inbox = inbox
        self._environ = _environ_for(plan, environ)
        self._tell = tell
        self._write = write
        self._ready = ready
        self._child: Child | None = None
        self._again: Timer | None = None
        self._kill_timer: Timer | None = None
        self._recovery: RecoveryWatch | None = None
        self._backoff = Backoff(at_once=False)
        self._has_served = False
        self._failure = ""
        self._printed: deque[str] = deque(maxlen=_KEPT_LINES)
        self._dones: list[Callable[[], None]] = []

    # -- a Service ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start it, or use the one that runs already; what keeps it from starting is logged."""
        if self.plan.argv is None:
            assert self.plan.url is not None
            self._serve_at(parse_address(self.plan.url))
            return
        self._wait_no_more()
        missing = _missing(self.plan, self._environ.get("PATH"))
        if missing:
            self._break(f"{missing} is not installed; install it, or say --no-frontend")
            return
        self._printed.clear()
        self._set(STARTING)
        told = {"argv": list(self.plan.argv), "cwd": self.plan.cwd}
        command = [sys.executable, "-I", "-S", str(Path(keeper.__file__))]
        try:
            self._child = Child.spawn(self._inbox, command, keeper.VARIABLE, told, [], self._environ)
        except ApplicationError as error:
            self._break(str(error).rstrip("."))
            return
        self._attend(self._child)
        if self.plan.url is not None:
            self._serve_at(parse_address(self.plan.url))

    def stop(self, deadline_s: float, done: Callable[[], None]) -> None:
        """End it in order within `deadline_s` seconds, by force after that."""
        first = self.state is not STOPPED
        self._stopped()
        child = self._child
        if child is None:
            done()
            return
        self._dones.append(done)
        if first:
            child.send("stop")
        if self._kill_timer is not None:
            self._kill_timer.cancel()
        self._kill_timer = self._inbox.call_later(deadline_s, child.kill)

    def kill(self) -> None:
        """End it now."""
        self._stopped()
        if self._child is not None:
            self._child.kill()

    def status(self) -> Mapping[str, Any]:
        """Plain values for `duck status`."""
        said: dict[str, Any] = {"name": self.plan.name, "state": self.state}
        if self.address is not None:
            said["url"] = url_of(self.address)
        if self._failure:
            said["failure"] = self._failure
        return said

    # -- over an exec ---------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """Of the process that leads its group; None where none runs."""
        return self._child.pid if self._child is not None else None

    @property
    def uptime_s(self) -> float:
        """Seconds since it was started."""
        return self._child.uptime_s if self._child is not None else 0.0

    def hand_over(self) -> dict[str, Any]:
        """What the Duck that this process becomes needs to go on with it; nothing where it does not run."""
        if self._child is None or self.state is STOPPED:
            return {}
        address = None if self.address is None else asdict(self.address)
        return {"child": self._child.hand_over(), "plan": _mark_of(self.plan), "address": address}

    def take_over(self, values: Mapping[str, Any]) -> bool:
        """Go on with the server of the Duck that this process was; whether there is one, and it is still the wanted."""
        if not values:
            return False
        child = Child.take_over(self._inbox, values["child"])
        if values["plan"] != _mark_of(self.plan):
            child.kill()
            return False
        self._child = child
        self._attend(child)
        self._set(STARTING)
        if values["address"] is not None:
            self._serve_at(FrontendAddress(**values["address"]))
        return True

    @staticmethod
    def forget(inbox: Inbox, values: Mapping[str, Any]) -> None:
        """End the server of the Duck that this process was: none is wanted any more."""
        if values:
            Child.take_over(inbox, values["child"]).kill()

    # -- what happens to it ---------------------------------------------------------------------------------------

    def _attend(self, child: Child) -> None:
        child.on_message = self._said
        child.on_exit = lambda code: self._exited(child, code)

    def _said(self, message: dict[str, Any]) -> None:
        if message.get("event") == "failed":
            self._printed.append(f"error: {message['message']}")
            return
        text = str(message.get("text") or "")
        self._write(text)
        lines = [plain(line) for line in text.splitlines()]
        self._printed.extend(lines)
        if self.plan.url is not None or self.state not in (STARTING, SERVING):
            return
        for line in lines:
            address = printed_address(line)
            # One that changes its configuration may come back at another port.
            if address is not None and address != self.address and (self.address is None or "Local:" in line):
                self._serve_at(address)
                return

    def _serve_at(self, address: FrontendAddress) -> None:
        self.address = address
        if address.secure:
            self._break(f"it speaks HTTPS at {url_of(address)}, which Duck does before it; leave HTTPS to Duck")
            return
        self._failure = ""
        self._has_served = True
        self._set(SERVING)
        self._ready(self.uptime_s, address)

    def _exited(self, child: Child, code: int) -> None:
        self._child = None
        self.address = None
        if self._kill_timer is not None:
            self._kill_timer.cancel()
        if self.state is STOPPED:
            dones, self._dones = self._dones, []
            for done in dones:
                done()
            return
        if not self._has_served:
            self._break(self._reason(code))
            return
        self._backoff.lasted(child.uptime_s)
        wait_s = self._backoff.next_s()
        logger.error("%s has ended: %s. It is started again in %g s.", self.plan.name, self._reason(code), wait_s)
        self._set(STARTING)
        self._watch_files()
        self._again = self._inbox.call_later(wait_s, self.start)

    def _reason(self, code: int) -> str:
        """The last line that tells of an error, else the exit code."""
        said = next((line for line in reversed(self._printed) if _ERROR.search(line)), "")
        return said.strip()[:_SHOWN].rstrip(".") or f"exit code {code}"

    def _break(self, reason: str) -> None:
        """It does not serve, and will not before something is mended."""
        names = " or ".join(dict.fromkeys(os.path.basename(path) for path in self.plan.files))
        again = f" A change of {names} starts it again." if names else ""
        if reason != self._failure:
            logger.error("%s cannot be served: %s. Django is served without it.%s", self.plan.name, reason, again)
        self._failure = reason
        self._set(BROKEN)
        self._watch_files()

    def _watch_files(self) -> None:
        self._recovery = RecoveryWatch(self._inbox, self.plan.files, lambda paths: self._mended())
        self._recovery.start()

    def _mended(self) -> None:
        if self._child is None and self.state is not STOPPED:
            self.start()

    def _wait_no_more(self) -> None:
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._recovery is not None:
            self._recovery.stop()
            self._recovery = None

    def _stopped(self) -> None:
        self._wait_no_more()
        self.state = STOPPED

    def _set(self, state: str) -> None:
        self.state = state
        if state is SERVING and self.address is not None:
            where = (self.address.host, self.address.port)
            self._tell(FrontendState(where, self.address.base, patient=self.plan.argv is not None))
        else:
            self._tell(FrontendState(None, failure=self._failure if state is BROKEN else ""))


def url_of(address: FrontendAddress) -> str:
    """As a browser takes it."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    return f"{'https' if address.secure else 'http'}://{host}:{address.port}{address.base}"


def _environ_for(plan: FrontendPlan, environ: Mapping[str, str]) -> dict[str, str]:
    path = os.pathsep.join([*plan.tools, environ.get("PATH", os.defpath)])
    # Its browser would open at an address that is not Duck's.
    return {**environ, **dict(plan.environ), "PATH": path, "BROWSER": "none"}


def _missing(plan: FrontendPlan, path: str | None) -> str:
    """What it needs and is not installed; empty for nothing. The programs of packages are run by Node.js."""
    assert plan.argv is not None
    if shutil.which(plan.argv[0], path=path) is None:
        return plan.argv[0]
    is_of_package = any(os.path.dirname(plan.argv[0]) == tool for tool in plan.tools)
    return "Node.js" if is_of_package and shutil.which("node", path=path) is None else ""


def _mark_of(plan: FrontendPlan) -> list[Any]:
    """What has to be the same for a server to be the one that is wanted."""
    return [list(plan.argv or ()), plan.cwd, [list(pair) for pair in plan.environ], plan.url]
