"""Spares: copies of a start, kept at a point of it, from which a process goes on as soon as one is wanted.

    packages ──> start ──set up──> ──URLconf──> serves
       └─ spare          └─ spare     └─ spare
                              └─ a copy goes on from here when a view has changed

But for the first (see libraries) a spare is made by the start itself, as it comes by: nothing of the project runs twice
for it. It has one thread, waits in `select`, and ends when the App does. The process that goes on is a copy of it with
descriptors of its own, which the App sends along with what a new process is told. Before it is copied the spare looks
whether what it has read is still so (see seen), and declines where it is not.

    App -> spare    {"command": "copy", "told": {...}} with descriptors, {"command": "look", "at": [...]},
                    {"command": "libraries"} with a descriptor to write them to
    spare -> App    {"event": "spare", "pid": ...}, {"event": "copied", "pid": ...}, {"event": "declined", "why": ...},
                    {"event": "checked", "failed": null or as in `failed`}, {"event": "unmade", ...},
                    {"event": "libraries"}, {"event": "unspared", "stage": "libraries", "why": ...}
"""

from __future__ import annotations

import gc
import json
import os
import select
import socket
import sys
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, NoReturn, Optional

from .control import die_with_parent, end_group, tie_group
from .fitness import Fitness
from .flushing import flush
from .libraries import import_libraries, imported_libraries
from .looking import Look, Looking
from .orphan import fork_orphan
from .renewal import Renewal
from .seen import Seen
from .spec import VARIABLE

if TYPE_CHECKING:
    from .control import Control
    from .spec import Spec

LIBRARIES = "libraries"
SET_UP = "setup"
URLS = "urls"

_MOST_DESCRIPTORS = 32


class Points:
    """Where this process leaves copies behind; where it is told to. `looks` are what a spare looks at (see looking)."""

    def __init__(self, spec: Spec, control: Control, seen: Optional[Seen], looks: Mapping[str, Look]) -> None:
        self._spec = spec
        self._control = control
        self._seen = seen
        self._looks = looks
        self._why = ""

    def leave(self, stage: str) -> bool:
        """Leave a spare here, where one is wanted; whether there is one.

        Returns again in each process that is copied from the spare, whose `spec` then says what that was told.
        """
        ends = self._spec.points.pop(stage, None)
        if ends is None or self._seen is None:
            return False
        fitness = None if self._why or self._seen.excess else self._fitness(ends)
        why = self._why = self._why or self._seen.excess or (fitness.why if fitness is not None else "")
        if why or fitness is None:
            self._control.send("unspared", stage=stage, why=why)
        else:
            flush()
            gc.freeze()  # else the first collection in a copy would touch, and thereby copy, all of its memory
            try:
                pid = fork_orphan(self._spec.parent)
            except OSError as error:
                why = str(error)
                self._control.send("unspared", stage=stage, why=why)
            else:
                if pid == 0:
                    self._be_spare(stage, ends, self._seen, fitness.renewal)
                    return True
                self._control.send("left", stage=stage, pid=pid)
        for descriptor in ends.values():
            os.close(descriptor)
        return not why

    def _be_spare(self, stage: str, ends: Dict[str, int], seen: Seen, renewal: Renewal) -> None:
        """Returns in the copies of the spare."""
        try:
            renewal.carry_out()
            Spare(self._spec, stage, ends, seen, renewal, self._looks).wait()
            _seed()
        except BaseException:
            # Nothing of the project may run on here, as if it were the start.
            traceback.print_exc()
            end_group()
        self._control.send("traceable")

    def _fitness(self, ends: Dict[str, int]) -> Fitness:
        """What keeps this process from being copied, of what is not garbage."""
        fitness = Fitness(self._own(ends))
        if fitness.why and gc.collect():
            fitness = Fitness(self._own(ends))
        return fitness

    def end(self) -> None:
        """No more are left behind: what is read from now on is nobody's concern."""
        for ends in self._spec.points.values():
            for descriptor in ends.values():
                os.close(descriptor)
        self._spec.points = {}
        if self._seen is not None:
            self._seen.end()

    def _own(self, ends: Dict[str, int]) -> List[int]:
        """The descriptors that are Duck's."""
        spec = self._spec
        points = (number for one in (ends, *spec.points.values()) for number in one.values())
        return [spec.control_fd, spec.lifeline_fd, spec.stack_fd, *points]


class Spare:
    """The life of a spare: this process, from the fork on."""

    def __init__(
        self,
        spec: Spec,
        stage: str,
        ends: Dict[str, int],
        seen: Seen,
        renewal: Renewal,
        looks: Mapping[str, Look],
    ) -> None:
        self._spec = spec
        self._seen = seen
        self._renewal = renewal
        self._socket = socket.socket(fileno=ends["control_fd"])
        self._socket.setblocking(True)
        self._lifeline = ends["lifeline_fd"]
        self._looking = Looking(looks, self._be_another)
        for descriptor in (ends["control_fd"], ends["lifeline_fd"]):
            os.set_inheritable(descriptor, False)
        _tie(ends["lifeline_fd"], spec.parent)
        # What the process had that went on; the numbers stay taken, for those of the copies to come.
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in (spec.control_fd, spec.lifeline_fd, spec.stack_fd):
            os.dup2(null, descriptor, inheritable=False)
        os.close(null)
        for descriptor in (1, 2):
            os.dup2(ends["output_fd"], descriptor)
        for name in ("output_fd", "stack_fd"):
            os.close(ends[name])
        for other in spec.points.values():
            for descriptor in other.values():
                os.close(descriptor)
        spec.points = {}
        self._say("spare", stage=stage, pid=os.getpid())

    def wait(self) -> None:
        """Serve the App; returns in each copy only, and ends this process with the App."""
        buffer = b""
        descriptors: List[int] = []
        while True:
            looking = self._looking.descriptor
            watched: List[Any] = [self._socket] if looking is None else [self._socket, looking]
            readable = select.select(watched, [], [])[0]
            if looking in readable:
                for event in self._looking.take():
                    self._say(**event)
            if self._socket not in readable:
                continue
            try:
                data, more, _flags, _address = socket.recv_fds(self._socket, 65536, _MOST_DESCRIPTORS)
            except OSError:
                data, more = b"", []
            if not data:
                end_group()
            descriptors += more
            *lines, buffer = (buffer + data).split(b"\n")
            for line in lines:
                command = json.loads(line)
                if command["command"] == "copy":
                    given, descriptors = descriptors, []
                    if self._copy(command["told"], given):
                        return
                elif command["command"] == "libraries":
                    given, descriptors = descriptors, []
                    with open(given[0], "wb") as file:
                        file.write(json.dumps(imported_libraries(self._seen, self._spec.environ)).encode())
                    self._say("libraries")
                elif command["command"] == "look":
                    flush()
                    self._looking.start(command["at"])

    def _copy(self, told: Dict[str, Any], given: List[int]) -> bool:
        """Whether this is the copy."""
        why = self._seen.what_changed()
        if not why:
            try:
                pid = fork_orphan(self._spec.parent)
            except OSError as error:
                why = str(error)
            else:
                if pid == 0:
                    self._be_another()
                    os.close(self._lifeline)
                    self._looking.forget()
                    self._become(told, given)
                    return True
                self._say("copied", pid=pid)
        if why:
            self._say("declined", why=why)
        for descriptor in given:
            os.close(descriptor)
        return False

    def _become(self, told: Dict[str, Any], given: List[int]) -> None:
        """Be the process that was asked for: `given` are the descriptors that `told` names by their places."""
        spec = self._spec
        control, lifeline, stack, output = (
            given[told[name]] for name in ("control_fd", "lifeline_fd", "stack_fd", "output_fd")
        )
        for descriptor, number in (
            (control, spec.control_fd),
            (lifeline, spec.lifeline_fd),
            (stack, spec.stack_fd),
        ):
            os.dup2(descriptor, number, inheritable=False)
            os.close(descriptor)
        for number in (1, 2):
            os.dup2(output, number)
        os.close(output)
        numbers = {name: getattr(spec, name) for name in ("control_fd", "lifeline_fd", "stack_fd")}
        points = {stage: {name: given[place] for name, place in ends.items()} for stage, ends in told["points"].items()}
        values = {**told, **numbers, "points": points}
        spec.tell(values, json.dumps(values))
        _tie(spec.lifeline_fd, spec.parent)

    def _be_another(self) -> None:
        """In a copy, first of all."""
        self._socket.close()
        self._renewal.carry_out()

    def _say(self, event: str, **facts: Any) -> None:
        try:
            self._socket.sendall(json.dumps({"event": event, **facts}).encode() + b"\n")
        except OSError:
            end_group()


def be_libraries(spec: Spec) -> None:
    """Be the spare of packages; returns in its copies, whose `spec` says what they were told."""
    try:
        os.chdir(spec.cwd)
        with open(spec.libraries_fd, "rb") as file:
            told = json.load(file)
        with _silence() as kept:
            why = import_libraries(told, [spec.control_fd, spec.lifeline_fd, spec.stack_fd, *kept])
        if why:
            os.write(spec.control_fd, json.dumps({"event": "unspared", "why": why}).encode() + b"\n")
            os._exit(0)
        gc.collect()
        gc.freeze()
        flush()
        ends = {"output_fd": os.dup(1)}
        ends |= {name: os.dup(getattr(spec, name)) for name in ("control_fd", "lifeline_fd", "stack_fd")}
        Spare(spec, LIBRARIES, ends, Seen(), Renewal(), {}).wait()
        _seed()
        spec.libraries_know = frozenset(told["variables"])
    except BaseException:
        traceback.print_exc()
        end_group()


def start_again(spec: Spec) -> NoReturn:
    """Be a process that was spawned: what was imported early was imported too early, as it turns out."""
    flush()
    numbers = [spec.control_fd, spec.lifeline_fd, spec.stack_fd]
    for descriptor in [*numbers, *(number for ends in spec.points.values() for number in ends.values())]:
        os.set_inheritable(descriptor, True)
    worker = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__main__.py")
    os.execve(sys.executable, [sys.executable, worker], {**spec.environ, VARIABLE: spec.text})


def _tie(lifeline: int, parent: int) -> None:
    """End with the App, whose end of the lifeline may be closed already."""
    is_tied = tie_group(lifeline)
    die_with_parent(parent, is_tied=is_tied)
    poll = select.poll()
    poll.register(lifeline, select.POLLIN)
    if poll.poll(0):
        end_group()


@contextmanager
def _silence() -> Iterator[List[int]]:
    """What packages say as they are imported was said by the start that imported them first. Gives what it keeps."""
    flush()
    copies = [os.dup(1), os.dup(2)]
    null = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(null, number)
    os.close(null)
    try:
        yield copies
    finally:
        flush()
        for number, copy in zip((1, 2), copies, strict=False):
            os.dup2(copy, number)
            os.close(copy)


def _seed() -> None:
    """Python's own generators are seeded anew in each copy by themselves; numpy's is not."""
    random = sys.modules.get("numpy.random")
    if random is not None:
        random.seed()
