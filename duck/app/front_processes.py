"""FrontProcesses: the front of an App as worker processes: started, told of Django, replaced, drained.

    starting ──serving──> serving ──drain──> draining ──exit
       └──────exit, silence───┴──> another one in its place, at once or after a while

All of them accept from the same listening sockets, which stay open here: who waits in the backlog when one of them dies
is served by another.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from duck.app import front_worker
from duck.app.front_messages import drain_orders, generation_to_values
from duck.app.https import config_to_values
from duck.app.member import LOOK_S, Member
from duck.app.roll_call import RollCall
from duck.exceptions import ApplicationError
from duck.net.listener import speaks_tls
from duck.services.backoff import Backoff
from duck.services.child import Child
from duck.services.exit import exit_sentence

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from duck.app.app import App
    from duck.http.frontend import FrontendState
    from duck.http.site import SiteConfig
    from duck.net.tls import TlsConfig
    from duck.proxy.upstream import Generation
    from duck.services.inbox import Inbox
    from duck.settings.load import Settings

logger = logging.getLogger("duck.app")

STARTING: Final = "starting"
SERVING: Final = "serving"
DRAINING: Final = "draining"

_FIRST_BACKOFF_S: Final = 0.25
_START_S: Final = 60.0
_KILL_AFTER_S: Final = 1.0
_STATUS_S: Final = 0.5


class FrontProcess(Member):
    """One front worker process, as the App sees it.

    Attributes:
        number: of its place, from 1.
        figures: what it told of itself last, its counts aside.
    """

    def __init__(self, number: int, child: Child, state: str = STARTING) -> None:
        super().__init__(child, state)
        self.number = number
        self.figures: dict[str, Any] = {}


class FrontProcesses:
    """Has the same methods as `Front`; and those of its server, which `server` is once it was started.

    For the inbox's thread.

    Attributes:
        config: as of `Front`; each process makes its own, of the same settings.
        tls: as of `Front`.
        count: how many processes there are.
        restarts: how many processes were started in the place of others.
        on_ended: called with the name of a process that has gone (see `snapshots`), while it still has figures.
    """

    def __init__(self, inbox: Callable[[], Inbox], count: int) -> None:
        self.config: SiteConfig | None = None
        self.tls: TlsConfig | None = None
        self.server: FrontProcesses | None = None
        self.restarts = 0
        self.on_ended: Callable[[str], None] = lambda name: None
        self._make_inbox = inbox
        self.count = count
        self._members: list[FrontProcess] = []
        self._old: list[FrontProcess] = []  # of the Duck that this process was before, or being drained
        self._listeners: list[socket.socket] = []
        self._last: dict[str, Any] | None = None  # what each was told last
        self._secret = ""
        self._frontend: dict[str, Any] | None = None
        # Above those of the Duck that this process was, whose answers may still come.
        self._told_id = time.monotonic_ns()
        self._untold = RollCall[FrontProcess]()  # which generation serves
        self._unleft = RollCall[FrontProcess]()  # what is in flight at others
        self._asked = RollCall[FrontProcess]()  # for its figures
        self._backoffs = [Backoff(_FIRST_BACKOFF_S) for _ in range(count)]
        self._on_drained: Callable[[], None] | None = None
        self._drain: dict[str, Any] | None = None
        self._stopping = False
        self._deadlines: dict[str, Any] = {}
        self._silence_s = 0.0
        self._ended: dict[str, int] = {}  # figures of those that are gone

    # -- start ----------------------------------------------------------------------------------------------------

    @property
    def _inbox(self) -> Inbox:
        return self._make_inbox()

    def start(self, application: App, settings: Settings, listeners: Sequence[socket.socket], workers: int) -> None:
        """Start the processes; they serve `listeners`, each as soon as it can."""
        assert self.config is not None
        self._listeners = list(listeners)
        self._deadlines = drain_orders(settings)
        self._silence_s = settings["HEARTBEAT_TIMEOUT"] or float("inf")
        self.server = self
        for number in range(1, self.count + 1):
            self._spawn(number)
        self._inbox.call_later(LOOK_S, self._look)

    def take_over(self, values: Sequence[Mapping[str, Any]]) -> None:
        """Adopt the processes of the Duck that this process was: they serve until the new ones do, and are drained."""
        for value in values:
            member = FrontProcess(value["number"], Child.take_over(self._inbox, value), SERVING)
            self._attend(member)
            self._old.append(member)

    def hand_over(self) -> list[dict[str, Any]]:
        """What the next Duck of this process needs to adopt them."""
        return [{"number": member.number, **member.child.hand_over()} for member in (*self._members, *self._old)]

    def _spawn(self, number: int) -> None:
        assert self.config is not None
        descriptors = [listener.fileno() for listener in self._listeners]
        told = {
            "listeners": [(listener.fileno(), speaks_tls(listener)) for listener in self._listeners],
            "tls": config_to_values(self.tls),
            "number": number,
            "count": self.count,
            "use_django": self.config.use_django,
        }
        child = Child.spawn(self._inbox, [sys.executable, *sys.orig_argv[1:]], front_worker.VARIABLE, told, descriptors)
        member = FrontProcess(number, child)
        self._members.append(member)
        self._attend(member)
        if self._secret:
            child.send("share_sessions", secret=self._secret)  # and not by its environment, which stays readable
        for message in (self._frontend, self._last):
            if message is not None:
                child.send(**message)

    def _attend(self, member: FrontProcess) -> None:
        member.child.on_message = lambda message: self._said(member, message)
        member.child.on_exit = lambda code: self._exited(member, code)

    # -- what they are told of Django -----------------------------------------------------------------------------

    def switch(
        self, generation: Generation, acknowledged: Callable[[], None], left: Callable[[], None] = lambda: None
    ) -> None:
        """Send requests to `generation`; `acknowledged` is called once every process does so.

        `left` is called once none has anything in flight any more at what `generation` does without. Those that are
        drained count, too: they answer who asks on a connection that was kept.
        """
        self._told_id += 1
        number = self._told_id
        self._tell({"do": "switch", "id": number, "generation": generation_to_values(generation)})
        members = {*self._members, *self._old}
        self._untold.ask(number, members, acknowledged)
        self._unleft.ask(number, members, left)

    def hold(self, reason: str) -> None:
        """Let requests for Django wait until the next `switch` or `broken`."""
        self._tell({"do": "hold", "reason": reason})

    def broken(self, failure: Mapping[str, Any]) -> None:
        """Answer requests for Django with what its start reported."""
        self._tell({"do": "broken", "failure": dict(failure)})

    def tell_browsers(self, message: Mapping[str, Any]) -> None:
        """Nobody: a front of processes is for production, and has no DuckSight."""

    def turn_frontend(self, state: FrontendState) -> None:
        """Tell every process how things are with the front-end server."""
        self._frontend = {"do": "turn_frontend", "state": asdict(state)}
        for member in (*self._members, *self._old):
            member.child.send(**self._frontend)

    def reload_tls(self, config: TlsConfig) -> None:
        """Have every process serve new connections with `config`."""
        self.tls = config
        for member in (*self._members, *self._old):
            member.child.send("reload_tls", tls=config_to_values(config))

    def share_sessions(self, secret: bytes) -> None:
        """Have every process resume TLS sessions that began with whoever has `secret`."""
        self._secret = secret.hex()
        for member in (*self._members, *self._old):
            member.child.send("share_sessions", secret=self._secret)

    def _tell(self, message: dict[str, Any]) -> None:
        self._last = message
        for member in (*self._members, *self._old):
            member.child.send(**message)

    # -- what they say --------------------------------------------------------------------------------------------

    def _said(self, member: FrontProcess, message: dict[str, Any]) -> None:
        member.is_there()
        event = message.pop("event", "")
        if event == "serving":
            member.state = SERVING
            self._serving(member)
        elif event in ("alive", "status"):
            number = message.pop("id", None)
            member.snapshot = message.pop("snapshot")
            member.figures = message
            if number is not None:
                self._asked.answered(number, member)
        elif event == "told":
            self._untold.answered_up_to(message["id"], member)
        elif event == "left":
            self._unleft.answered_up_to(message["id"], member)
        elif event == "failed":
            logger.error("Front worker %d cannot serve: %s", member.child.pid, message["message"])

    def _serving(self, member: FrontProcess) -> None:
        if all(one.state is SERVING for one in self._members) and len(self._members) == self.count:
            for old in self._old:
                if old.state is SERVING:
                    self._drain_member(old)
        if self._drain is not None:  # it came while all were being drained
            self._drain_member(member)

    def _exited(self, member: FrontProcess, code: int) -> None:
        self.on_ended(member.name)
        was_member = member in self._members
        if was_member:
            self._members.remove(member)
        else:
            self._old.remove(member)
        for name in ("requests", "refused"):
            self._ended[name] = self._ended.get(name, 0) + member.figures.get(name, 0)
        for asked in (self._untold, self._unleft, self._asked):
            asked.gone(member)
        if was_member and self._drain is None and not self._stopping:
            self._replace(member, code)
        self._check_drained()

    def _replace(self, member: FrontProcess, code: int) -> None:
        backoff = self._backoffs[member.number - 1]
        backoff.lasted(member.child.uptime_s)
        delay = backoff.next_s()
        self.restarts += 1
        ended = exit_sentence(f"Front worker {member.child.pid}", code)
        logger.error("%s Another one is started%s.", ended, f" in {delay:g} s" if delay else "")

        def again() -> None:
            if self._drain is None and not self._stopping:
                try:
                    self._spawn(member.number)
                except ApplicationError as error:
                    logger.error("%s It is tried again.", error)
                    self._inbox.call_later(1.0, again)

        if delay:
            self._inbox.call_later(delay, again)
        else:
            again()

    def _look(self) -> None:
        """End who hangs."""
        if self._stopping:
            return
        self._inbox.call_later(LOOK_S, self._look)
        for member in (*self._members, *self._old):
            if member.state is not DRAINING:
                allowed_s = max(_START_S, self._silence_s) if member.state is STARTING else self._silence_s
                member.end_if_silent(allowed_s, f"Front worker {member.child.pid}", logger)

    # -- as the App's server --------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether connections are served."""
        return any(member.state is SERVING for member in (*self._members, *self._old))

    @property
    def pids(self) -> list[int]:
        """Of all processes."""
        return [member.child.pid for member in (*self._members, *self._old)]

    def drain(self, deadline_s: float, done: Callable[[], None], *, takes_backlog: bool = False) -> None:
        """Accept nothing more, finish what was begun for at most `deadline_s` seconds; then `done`."""
        self._on_drained = done
        self._drain = {**self._deadlines, "deadline_s": deadline_s, "takes_backlog": takes_backlog}
        for member in (*self._members, *self._old):
            if member.state is SERVING:
                self._drain_member(member)
            elif member.state is STARTING:
                member.child.kill()
        self._check_drained()

    def abort(self) -> None:
        """End now."""
        self._stopping = True
        for member in (*self._members, *self._old):
            member.child.send("stop")
            self._inbox.call_later(_KILL_AFTER_S, member.child.kill)

    def kill(self) -> None:
        """End all processes at once, for an App that ends without order."""
        self._stopping = True
        for member in (*self._members, *self._old):
            member.child.kill()

    def refresh(self, done: Callable[[], None]) -> None:
        """Ask all for their figures; `done` is called when they have come, or after a short while."""
        self._told_id += 1
        number = self._told_id
        members = {member for member in self._members if member.state is SERVING}
        self._asked.ask(number, members, done)
        for member in members:
            member.child.send("status", id=number)
        self._inbox.call_later(_STATUS_S, lambda: self._asked.end(number))

    def status(self) -> dict[str, Any]:
        """Counters over all processes, those that are gone included; not older than a second."""
        total: dict[str, Any] = dict(self._ended)
        for member in (*self._members, *self._old):
            for name, value in member.figures.items():
                if isinstance(value, int):
                    total[name] = total.get(name, 0) + value
        return total | {"workers": len(self._members), "restarts": self.restarts} if self.server is not None else {}

    def snapshots(self) -> dict[str, dict[str, Any]]:
        """What each process counts (`Server.snapshot`), by its name; not older than a second."""
        return {member.name: member.snapshot for member in (*self._members, *self._old) if member.snapshot}

    def processes(self) -> list[dict[str, Any]]:
        """What `duck status` shows of each."""
        return [
            {
                "role": "front",
                "pid": member.child.pid,
                "state": member.state,
                "uptime_s": round(member.child.uptime_s, 1),
                "requests": member.figures.get("requests", 0),
                "connections": member.figures.get("connections", 0),
                **_at_work(member.snapshot),
            }
            for member in (*self._members, *self._old)
        ]

    def _drain_member(self, member: FrontProcess) -> None:
        member.state = DRAINING
        orders = self._drain or self._deadlines
        member.child.send("drain", **orders)
        # Its own deadline comes first; this one is for one that hangs.
        longest_s = max(orders["deadline_s"], orders["streams_s"], orders["sockets_s"])
        self._inbox.call_later(longest_s + 2.0, member.child.kill)

    def _check_drained(self) -> None:
        if self._on_drained is not None and not self._members and not self._old:
            done, self._on_drained = self._on_drained, None
            done()


def _at_work(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    """Of `Server.snapshot`: requests under way and waiting, slots held, and how long requests waited in the mean."""
    if not snapshot:
        return {}
    now, waited = snapshot["now"], snapshot["wait"]
    count = sum(waited["counts"])
    return {
        "in_flight": now["in_flight"],
        "waiting": now.get("waiting", 0) + now.get("held", 0),
        "queue_wait_s": round(waited["sum"] / count, 6) if count else 0.0,
        "credits": now.get("slots", 0),
    }
